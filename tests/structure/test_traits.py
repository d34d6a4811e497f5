"""Traits beyond relatives, by hand and by construction; p-values uniform where traits and embedding have one tree."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bioclip_lib import RANKS
from bioclip_lib.config import EvaluateConfig, load_config
from bioclip_lib.errors import InputError
from bioclip_lib.model.features import FeatureTable
from bioclip_lib.structure import read_traits, tell, traits
from bioclip_lib.taxonomy.ranks import lineage_codes


def ranks_of(n_classes, n_genera=2, n_species=3):
    """Classes of genera of species."""
    rows = [
        ("A", "C", f"c{c}", f"o{c}", f"f{c}", f"g{c}{g}", f"s{s}")
        for c, g, s in itertools.product(range(n_classes), range(n_genera), range(n_species))
    ]
    return pd.DataFrame(rows, columns=list(RANKS))


def down_the_tree(ranks, width, rng):
    """Brownian motion: a random vector a taxon, each rank alike."""
    return sum(rng.normal(size=(column.max() + 1, width))[column] for column in lineage_codes(ranks).T)


def test_relatives_by_hand():
    # two sisters, a cousin of both, and one of another family: its relatives are all three
    tree = np.array([[0, 1, 2, 3], [1, 0, 2, 3], [2, 2, 0, 3], [3, 3, 3, 0]])
    third = 1 / 3
    expected = [[0, 1, 0, 0], [1, 0, 0, 0], [0.5, 0.5, 0, 0], [third, third, third, 0]]
    assert traits.relatives(tree) == pytest.approx(np.array(expected))


def test_the_ridge_is_that_of_scikit_learn_with_each_clade_left_out():
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    points, values, clades = rng.normal(size=(12, 5)), rng.normal(size=(12, 2)), np.repeat([0, 1, 2], 4)
    alpha = traits.RIDGE * (points**2).sum(axis=1).mean()  # squares of length 1 on average
    for clade in range(3):
        out = clades == clade
        model = Ridge(alpha=alpha, fit_intercept=False).fit(points[~out], values[~out])
        assert (traits.ridge_hat(points, clades) @ values)[out] == pytest.approx(model.predict(points[out]))


def test_what_is_explained_by_hand():
    values = np.array([[1.0, 0], [-1, 0]])
    assert traits.explained(values, np.array([[0.5, 1], [-1, 1]])).tolist()[0] == 1 - 0.25 / 2
    assert np.isnan(traits.explained(values, values)[1])  # nothing is left open


def test_a_trait_that_is_seen_is_told_beyond_relatives_and_one_that_is_not_is_not():
    rng, ranks = np.random.default_rng(1), ranks_of(8)
    points = down_the_tree(ranks, 6, rng)
    unseen = down_the_tree(ranks, 1, rng)[:, 0]
    seen, unseen, both = traits.beyond_relatives(points, np.stack([points[:, 0], unseen], axis=1), ranks, 0)
    assert seen["value"] > 0.5 and seen["p_value"] < 0.02 and seen["ci_low"] > 0
    assert unseen["value"] < 0.1 and unseen["p_value"] > 0.05
    assert both["value"] == pytest.approx((seen["value"] + unseen["value"]) / 2)
    assert seen["by_relatives"] > 0.3 and (seen["n"], seen["n_clades"]) == (48, 8)


def test_p_is_uniform_where_trait_and_embedding_follow_one_tree(monkeypatch):
    monkeypatch.setattr(traits, "N_FLIPS", 39)
    ranks, found = ranks_of(8), []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        rows = traits.beyond_relatives(down_the_tree(ranks, 6, rng), down_the_tree(ranks, 1, rng), ranks, seed)
        found.append(rows[0]["p_value"])
    spread = np.array(found) - np.random.default_rng(0).random(200) / 40  # evenly over each step of 1/40
    assert stats.kstest(spread, "uniform").pvalue > 0.01  # seeded


def catalog(ranks, points):
    ids = [f"i{i}" for i in range(2 * len(ranks))]
    table = ranks.loc[np.repeat(np.arange(len(ranks)), 2)].reset_index(drop=True)
    table = table.assign(image_id=ids, source="made", split="heldout_species", excluded="", rank="species", group="")
    table = table.assign(class_key=table["genus"] + " " + table["species"], phash="", verbatim_name="")
    values = np.repeat(points, 2, axis=0).astype(np.float32)
    return table, {"trained": FeatureTable(ids, values)}


def test_a_catalog_is_asked_and_says_what_cannot_be():
    rng, ranks = np.random.default_rng(2), ranks_of(6)
    points = down_the_tree(ranks, 12, rng)
    names = ranks["genus"] + " " + ranks["species"]
    known = pd.DataFrame({"size": np.exp(points[:, 0]), "flat": 1.0, "rare": np.nan}, names)
    known.iloc[:4, 2] = range(4)
    table, tables = catalog(ranks, points)
    found = traits.score_traits(table, tables, known, EvaluateConfig()).set_index("trait")
    assert found.loc["size", "value"] > 0.2 and found.loc["size", "p_family"] < 0.1
    assert found.loc["flat", "why"] == "all relatives are alike in it"
    assert found.loc["rare", "why"] == "it is known of 4 species"
    assert "Not asked: flat (all relatives are alike in it)" in tell(found.reset_index())
    few, of_few = catalog(ranks_of(2), points[:12])
    assert "0 clades have relatives" in traits.score_traits(few, of_few, known[["size"]], EvaluateConfig())["why"][0]
    nothing = traits.score_traits(table, tables, pd.DataFrame(), EvaluateConfig())
    assert tell(nothing) == "*no traits of these species are given (evaluate.traits).*"
    strangers = traits.score_traits(table, tables, known.set_axis("x" + names), EvaluateConfig())
    assert strangers["why"].tolist() == ["none of the 36 species of the traits is evaluated (the first is 'xg00 s0')"]


def test_traits_of_the_invented_world_and_of_a_table(tmp_path):
    config = load_config("smoke")
    genome = read_traits(config)
    assert {"hue", "tail_length"} <= set(genome) and len(genome) == config.data.synthetic.n_species
    path = tmp_path / "traits.csv"
    path.write_text("scientific_name,mass,habitat\nParus major,18,woods\nParus_major,20,woods\nPica pica,210,\n")
    found = read_traits(load_config("photos", {"data.photos": str(tmp_path), "evaluate.traits": str(path)}))
    assert found.to_dict() == {"mass": {"Parus major": 19.0, "Pica pica": 210.0}}
    assert read_traits(load_config("photos", {"data.photos": str(tmp_path)})).empty


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Bild,Masse\nx,1\n", "no column of scientific names among Bild, Masse"),
        ("species,mass\nx,heavy\n", "no column of numbers"),
    ],
)
def test_tables_without_names_or_numbers_are_refused(tmp_path, text, message):
    (tmp_path / "traits.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        traits._read(tmp_path / "traits.csv")
