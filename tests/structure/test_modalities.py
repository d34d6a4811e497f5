"""Images beside texts: by hand on four species, planted kinship in one of the two, and nothing where nothing is."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bioclip_lib import RANKS
from bioclip_lib.config import EvaluateConfig
from bioclip_lib.evaluation.zero_shot import ClassEncoder
from bioclip_lib.model.features import FeatureTable
from bioclip_lib.structure import modalities, tell


def test_gap_by_hand():
    images, texts = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[-1.0, 0.0], [0.0, -1.0]])
    found = modalities.modality_gap(images, texts)  # differences (2, 0), (0, 2): their mean is (1, 1)
    assert found["value"] == pytest.approx(np.sqrt(2)) and found["n"] == 2
    assert found["by_chance"] == pytest.approx(np.sqrt(2)) and found["p_value"] == 1  # (1, 1) and (1, -1) are as long
    assert modalities.modality_gap(images, images)["value"] == 0


def test_alignment_by_hand():
    images = np.eye(4)
    texts = np.array([[1.0, 0, 0, 0], [0, 0.6, 0.8, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    found = modalities.alignment(images, texts, np.array([0, 0, 0, 1]))  # the fourth has no sister
    assert found["n"] == 3
    assert found["value"] == pytest.approx(np.mean([1 - 0, 0.6 - 0, 1 - 0.8 / 2]))
    assert found["ci_low"] < found["value"] < found["ci_high"] and abs(found["by_chance"]) < 0.05
    assert modalities.alignment(images, texts, np.arange(4)) is None


def test_nulls_are_uniform_where_texts_say_nothing(monkeypatch):
    monkeypatch.setattr(modalities, "N_PERMUTATIONS", 9)
    p = {"gap": [], "alignment": []}
    for seed in range(200):
        rng = np.random.default_rng(seed)
        images, texts = rng.normal(size=(2, 12, 5))
        p["gap"].append(modalities.modality_gap(images, texts, seed)["p_value"])
        p["alignment"].append(modalities.alignment(images, texts, np.repeat([0, 1, 2], 4), seed)["p_value"])
    for name, values in p.items():
        counts = np.bincount((np.array(values) * 10 + 0.5).astype(int) - 1, minlength=10)
        assert stats.chisquare(counts).pvalue > 1e-3, name


def world(images_follow=1.0, texts_follow=0.0, seed=0):
    """Held-out species of 6 orders, features and an encoder, in one or both of which kinship shows."""
    rng = np.random.default_rng(seed)
    ranks = pd.DataFrame(
        [("A", "P", "C", f"o{i // 6}", f"f{i // 3}", f"g{i // 3}", f"s{i}") for i in range(36)], columns=list(RANKS)
    )
    kin = rng.normal(size=(6, 12)).repeat(6, axis=0) + rng.normal(size=(12, 12)).repeat(3, axis=0)
    points, words = (follow * kin + rng.normal(size=(36, 12)) for follow in (images_follow, texts_follow))
    table = ranks.loc[np.repeat(range(36), 3)].reset_index(drop=True)
    table["class_key"] = table["genus"] + " " + table["species"]
    names = {"verbatim_name": "", "scientific_name": table["class_key"], "common_name": "word " + table["species"]}
    table = table.assign(image_id=[f"i{i}" for i in range(108)], source="made", split="heldout_species", **names)
    table = table.assign(excluded="", rank="species", group="")
    features = FeatureTable(list(table["image_id"]), np.repeat(points, 3, axis=0).astype(np.float32))
    place = {f"s{i}": i for i in range(36)}

    def weights(texts, _templates):
        rows = [words[place[text.split()[-1]]] if text.split()[-1] in place else rng.normal(size=12) for text in texts]
        return np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)

    return table, {"trained": features}, {"trained": ClassEncoder(weights, 10.0)}


def asked(found, question, text=""):
    return found[(found["question"] == question) & (found["text"] == text)].iloc[0]


@pytest.mark.parametrize(("images", "texts", "sign"), [(2.0, 0.0, -1), (0.0, 2.0, 1)])
def test_the_modality_with_kinship_follows_the_tree(images, texts, sign):
    found = modalities.score_modalities(*world(images, texts), EvaluateConfig())
    of_images, of_texts = asked(found, "images follow the tree"), asked(found, "texts follow the tree", "com")
    better, worse = (of_texts, of_images) if sign > 0 else (of_images, of_texts)
    assert better["p_value"] == 1 / 500 and better["value"] > 0.3 > abs(worse["value"])
    for text in modalities.TEXTS:
        more = asked(found, "texts more than images", text)
        assert more["value"] * sign > 0.2 and more["p_value"] < 0.05 and more["n"] == 36
        assert min(sign * more["ci_low"], sign * more["ci_high"]) > 0
    shown = re.findall(r"Shown (above|below) chance: ((?:[^:.]|\.\d)*)", tell(found))
    assert [where for where, which in shown if "texts more than images" in which] == ["above" if sign > 0 else "below"]


def test_what_cannot_be_asked_says_why():
    table, tables, encoders = world()
    table["common_name"] = table["common_name"].where(table["species"] == "s0", "")
    found = modalities.score_modalities(table, tables, encoders, EvaluateConfig())
    assert asked(found, "texts follow the tree", "com")["why"] == "1 of 36 species have such a name"
    ranks = found[found["question"] == "alignment"].set_index("rank")
    assert (
        ranks.loc["kingdom", "why"] == "no taxon of a species with all seven ranks has a sister"
        and ranks.loc["order", "why"] == ""
    )
    numbers = found[found["why"] == ""]
    assert numbers[["value", "ci_low", "ci_high", "by_chance", "p_value"]].notna().all(axis=None)
    assert (numbers["ci_low"] <= numbers["value"]).all() and (numbers["value"] <= numbers["ci_high"]).all()
    few = modalities.score_modalities(table[table["genus"] == "g0"], tables, encoders, EvaluateConfig())
    assert few["why"].tolist() == ["3 species, 4 of different kinship are needed"]
    assert "Not asked: anything (3 species, 4 of different kinship are needed)" in tell(few)
