"""Asked again: by hand, on features that are words."""

import numpy as np
import pandas as pd
import pytest

from bioclip_lib import RANKS
from bioclip_lib.ablations.confused import APART, WHOLE, score_follow_up
from bioclip_lib.config import load_config
from bioclip_lib.evaluation.zero_shot import ClassEncoder
from bioclip_lib.model.features import FeatureTable

WORDS = ("red", "blue", "bird", "small", "one", "two", "three")


def encode(texts, templates=("{}",)):
    """Unit vectors of the words that a text has, in `WORDS`."""
    counts = np.array([[word in text.split() for word in WORDS] for text in texts], dtype=np.float32) + 1e-6
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


@pytest.fixture
def world():
    names = {"one": "a red bird small", "two": "a blue bird small", "three": "red"}
    rows = [
        {"image_id": f"{name}{i}", "class_key": name, "common_name": name, "description": looks}
        for name, looks in names.items()
        for i in range(2)
    ]
    table = pd.DataFrame(rows).assign(split="heldout_species", source="d", excluded="", rank="species")
    return table.assign(**dict.fromkeys((*RANKS, "scientific_name", "verbatim_name", "source_id", "group"), ""))


def test_what_tells_a_class_from_its_rivals_is_what_is_asked(world):
    config = load_config("mini", {"evaluate.text_type": "com"}).evaluate
    # by name all go to "two"; the words of the photographs are those of the descriptions
    looks = {"one": "red bird small two", "two": "blue bird small two", "three": "red two"}
    features = FeatureTable(list(world["image_id"]), encode(world["class_key"].map(looks)))
    found = score_follow_up(world, features, ClassEncoder(encode, 10.0), config).set_index("task")
    assert found.loc[f"zero_shot/unseen/{WHOLE}", "value"] == pytest.approx(1)
    # "one" is told from "three" by "bird small" and from "two" by "red"; "three" from "one" by nothing: its whole text
    assert found.loc[f"zero_shot/unseen/{APART}", "value"] == pytest.approx(1)
    assert found["chance"].tolist() == [pytest.approx(1 / 3)] * 2 and (found["n"] == 6).all()


def test_a_part_with_a_class_that_nothing_is_said_of_is_not_asked(world):
    world.loc[world["class_key"] == "two", "description"] = ""
    features = FeatureTable(list(world["image_id"]), encode(world["description"]))
    config = load_config("mini", {"evaluate.text_type": "com"}).evaluate
    assert score_follow_up(world, features, ClassEncoder(encode, 10.0), config).empty
