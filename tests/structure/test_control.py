"""Controls: what is dealt out is another's, the rest stays, and held-out species keep their own."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_lib import RANKS
from bioclip_lib.config import load_config
from bioclip_lib.errors import InputError
from bioclip_lib.run import Run
from bioclip_lib.shards.captions import caption
from bioclip_lib.structure import control, score_controls

SPLITS = ("train", "train", "train", "val", "heldout_species", "test")


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.integers(0, 9))
def test_each_gets_anothers_of_its_stratum(strata, seed):
    strata = np.array(strata)
    whose = control.dealt_inside(strata, seed)
    assert sorted(whose) == list(range(len(strata)))
    assert (strata[whose] == strata).all()
    alone = np.array([(strata == stratum).sum() == 1 for stratum in strata])
    assert ((whose == np.arange(len(strata))) == alone).all()


@pytest.fixture
def table():
    """Five species of a family each; the fourth has no common name, the fifth is held out; and a morphotype."""
    rows = []
    for i, split in enumerate(SPLITS):
        ranks = {rank: f"{rank}{i}" for rank in RANKS} | ({"species": "", "genus": ""} if i == 5 else {})
        name = "" if i == 3 else f"name {i}"
        said = {"common_name": name, "scientific_name": f"Genus{i} s", "verbatim_name": f"label{i}"}
        row = {**ranks, **said, "class_key": f"k{i}", "split": split, "excluded": "", "rank": "species"}
        rows += [{**row, "image_id": f"{i}{j}", "rank": "family" if i == 5 else "species"} for j in range(2)]
    table = pd.DataFrame(rows)
    table.loc[11, "split"] = "train"  # of the morphotype
    return table


@pytest.mark.parametrize(
    ("name", "dealt"), [("ranks_dealt", {"k0", "k1", "k2", "k3"}), ("names_dealt", {"k0", "k1", "k2"})]
)
def test_words_are_dealt_out_among_trained_species_alone(table, name, dealt):
    columns = control.DEALT[name]
    found = control.deal_words(table, columns, 0)
    assert found.drop(columns=columns).equals(table.drop(columns=columns))
    changed = (found[columns] != table[columns]).any(axis=1)
    assert set(table.loc[changed, "class_key"]) == dealt and changed.groupby(table["class_key"]).nunique().eq(1).all()
    assert sorted(map(tuple, found[columns].to_numpy())) == sorted(map(tuple, table[columns].to_numpy()))
    own, other = (
        caption(found.iloc[0], text_type) for text_type in ("com", "sci")[:: 1 if name == "ranks_dealt" else -1]
    )
    assert "0" in own and "0" not in other  # what is not dealt out stays with its pictures


def test_photographs_are_not_shuffled(tmp_path):
    config = load_config("photos", {"evaluate.controls": "shuffled"})
    with pytest.raises(InputError, match="photographs look as they do; choose ranks_dealt or names_dealt"):
        score_controls(Run(tmp_path), config)


def test_without_controls_there_is_nothing(tmp_path):
    config = load_config("photos")
    scores, details, paired = score_controls(Run(tmp_path), replace(config))
    assert scores.empty and not details and paired.empty and not list(tmp_path.iterdir())
