"""Answers at all ranks by hand on a tree of four species, beside hiclass, and by what chance gives."""

import numpy as np
import pandas as pd
import pytest

from bioclip_lib import RANKS
from bioclip_lib.config import EvaluateConfig
from bioclip_lib.errors import InputError
from bioclip_lib.evaluation.zero_shot import ClassEncoder
from bioclip_lib.model.features import FeatureTable
from bioclip_lib.structure import consistency

# two families; the first has genera G (a, b) and H (c), the second genus K (d, whose epithet is a again)
FOUR = pd.DataFrame(
    [("A", "P", "C", "O", *tail) for tail in ("FGa", "FGb", "FHc", "LKa")],
    columns=list(RANKS),
    index=["G a", "G b", "H c", "K a"],
)
TAXA, SPECIES = consistency.taxa_of(FOUR)
FULL, PRECISION, RECALL, BOTH, SHARED = consistency.MEASURES


def measures(answered, truth):
    found = consistency.measured(np.array([answered]), TAXA)(np.array([truth]))
    return [float(found[name][0]) for name in consistency.MEASURES]


def test_taxa_are_numbered_at_the_ranks_that_tell_them_apart():
    assert TAXA.ranks == ["family", "genus", "species"]
    assert TAXA.paths.tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3]] and SPECIES.tolist() == [0, 1, 2, 3]
    assert TAXA.names[0] == ["A P C O F", "A P C O L"] and TAXA.names[2][3] == "A P C O L K a"


def test_measures_by_hand():
    assert measures([0, 0, 0], [0, 0, 0]) == [1, 1, 1, 1, 3]
    assert measures([0, 0, 1], [0, 0, 0]) == pytest.approx([0, 2 / 3, 2 / 3, 2 / 3, 2])  # a sister species
    assert measures([1, 2, 3], [0, 0, 0]) == [0, 0, 0, 0, 0]
    # family L, genus H, species a of G: with ancestors L, F, H, G, a; of these F, G, a are right
    assert measures([1, 1, 0], [0, 0, 0]) == pytest.approx([0, 3 / 5, 1, 3 / 4, 3])
    answered = np.array([[0, 0, 0], [1, 1, 0], [0, 1, 1], [0, 1, 2], [1, 2, 3], [1, 0, 0]])
    assert consistency.inconsistent(answered, TAXA).tolist() == [0, 1, 1, 0, 0, 1]


def test_measures_are_those_of_hiclass():
    metrics = pytest.importorskip("hiclass.metrics", reason="hiclass is not installed")
    rng = np.random.default_rng(0)
    answered = np.stack([rng.integers(0, n, 60) for n in (2, 3, 4)], axis=1)
    truth = TAXA.paths[rng.integers(0, 4, 60)]
    up = [TAXA.ancestors(depth) for depth in range(3)]

    def labels(rows):  # each answer with its ancestors, as a set of nine that repeats itself
        return np.array(
            [[f"{e}:{up[d][row[d], e]}" for d in range(3) for e in (*range(d + 1), *[0] * (2 - d))] for row in rows]
        )

    found = consistency.measured(answered, TAXA)(truth)
    asked = {PRECISION: metrics.precision, RECALL: metrics.recall, BOTH: metrics.f1}
    for name, of_hiclass in asked.items():
        expected = of_hiclass(labels(truth), labels(answered), average="macro")
        assert found[name].mean() == pytest.approx(expected), name


def test_four_ways_to_answer_by_hand():
    species = np.array([[1.0, 0, 0], [0.9, 0.4, 0], [0, 1, 0], [0, 0, 1]])
    genera = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    families = np.array([[0.0, 0, 0.1], [0, 0, 1]])
    image = np.array([[0.5, 0.6, 0.1]])  # species b .69, c .6, a .5, d .1; genus H; family L
    found = consistency.answers(image, [families, genera, species], TAXA, 1.0)
    assert found["each rank by itself"].tolist() == [[1, 1, 1]] and found["of the species"].tolist() == [[0, 0, 1]]
    assert found["top down"].tolist() == [[1, 2, 3]]
    assert found["summed from species"].tolist() == [[0, 0, 1]]
    cold = consistency.answers(image, [families, genera, species], TAXA, 100.0)
    assert cold["summed from species"].tolist() == [[0, 0, 1]]
    # two species of a genus that are each second outweigh the first
    image = np.array([[0.58, 0.6, 0.0]])
    species[1] = [1.0, 0.01, 0]
    found = consistency.answers(image, [families, genera, species], TAXA, 1.0)
    assert found["summed from species"].tolist() == [[0, 0, 2]] and found["of the species"].tolist() == [[0, 1, 2]]


def world(n_species=12, n_images=6, noise=0.0, seed=0):
    """A catalog of held-out species, features of its images, and an encoder whose texts are means of their species."""
    rng = np.random.default_rng(seed)
    ranks = [("A", "P", "C", f"o{i // 6}", f"f{i // 4}", f"g{i // 2}", f"s{i}") for i in range(n_species)]
    rows = [(*path, f"{i}-{k}") for i, path in enumerate(ranks) for k in range(n_images)]
    table = pd.DataFrame(rows, columns=[*RANKS, "image_id"])
    table["class_key"] = table["genus"] + " " + table["species"]
    table = table.assign(source="made", split="heldout_species", excluded="", rank="species", group="")
    kin = [rng.normal(size=(20, 16))[np.arange(n_species) // step] for step in (6, 4, 2, 1)]
    means = np.sum(kin, axis=0)
    points = np.repeat(means, n_images, axis=0) + noise * rng.normal(size=(len(table), 16))
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)

    def weights(names, _templates):
        found = [means[[" ".join(path).startswith(name) for path in ranks]].mean(axis=0) for name in names]
        return np.array(found) / np.linalg.norm(found, axis=1, keepdims=True)

    return table, FeatureTable(list(table["image_id"]), unit.astype(np.float32)), ClassEncoder(weights, 100.0)


def test_a_perfect_model_is_right_in_all_ways_and_a_deaf_one_at_chance():
    table, features, encoder = world()
    deaf = ClassEncoder(lambda names, _: np.random.default_rng(len(names)).normal(size=(len(names), 16)), 100.0)
    both = {"good": features, "deaf": features}
    found = consistency.score_consistency(table, both, {"good": encoder, "deaf": deaf}, EvaluateConfig())
    assert set(found["n"]) == {72} and set(found["n_species"]) == {12} and set(found["part"]) == {"unseen"}
    rows = found.set_index(["model", "way", "measure"])
    assert rows.loc[("good", "of the species", FULL), "value"] == 1
    assert rows.loc[("good", "of the species", SHARED), "value"] == 4  # order, family, genus, species
    assert (rows["ci_low"] <= rows["value"]).all() and (rows["value"] <= rows["ci_high"]).all()
    good, lost = (rows.loc[(name, "each rank by itself", "inconsistent")] for name in ("good", "deaf"))
    assert good["value"] < good["by_chance"] and good["p_value"] == 1 / 200 and lost["p_value"] > 0.01
    chance = rows.loc[("deaf", "of the species", FULL)]
    assert chance["by_chance"] == pytest.approx(1 / 12, abs=0.03) and chance["p_value"] > 0.05
    assert not rows.index.duplicated().any()
    same = consistency.score_consistency(table, both, {"good": encoder, "deaf": deaf}, EvaluateConfig())
    pd.testing.assert_frame_equal(found, same)


def test_gain_is_the_paired_difference_to_the_named_species():
    table, features, encoder = world(noise=2.0)
    found = consistency.score_consistency(table, {"m": features}, {"m": encoder}, EvaluateConfig())
    rows = found.set_index(["way", "measure"])
    for way in consistency.WAYS[:3]:
        row, named = rows.loc[(way, BOTH)], rows.loc[("of the species", BOTH)]
        assert row["gain"] == pytest.approx(row["value"] - named["value"])
        assert row["gain_low"] <= row["gain"] <= row["gain_high"]


def test_missing_ranks_are_left_out_and_one_species_says_why():
    table, features, encoder = world()
    table.loc[table["species"] == "s3", "family"] = ""
    found = consistency.score_consistency(table, {"m": features}, {"m": encoder}, EvaluateConfig())
    assert set(found["n_species"]) == {11} and set(found["n"]) == {66}
    table["family"] = table["family"].where(table["species"] == "s0", "")
    found = consistency.score_consistency(table, {"m": features}, {"m": encoder}, EvaluateConfig())
    assert found["why"].tolist() == ["1 species have all seven ranks; two are needed"] and found["value"].isna().all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_features_without_a_direction_are_refused(bad):
    table, features, encoder = world()
    features.values[5] = bad
    with pytest.raises(InputError, match="1 images have features that are NaN, infinite or all zero"):
        consistency.score_consistency(table, {"m": features}, {"m": encoder}, EvaluateConfig())
