"""Two label sets: what became of each taxon, by hand and on a real checklist; old answers that stay true."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioclip_lib import RANKS
from bioclip_lib.config import DataConfig
from bioclip_lib.identify import answers, compare_labels, map_answers, name_features
from bioclip_lib.taxonomy import open_backbones

from .test_naming import features_for, label_set

TITS = ("Animalia", "Chordata", "Aves", "Passeriformes", "Paridae")
GULLS = ("Animalia", "Chordata", "Aves", "Charadriiformes", "Laridae")
OLD = [
    ("great", *TITS, "Parus", "major", "Great tit"),
    ("blue", *TITS, "Parus", "caeruleus", "Blue tit"),
    ("coal", *TITS, "Parus", "ater", "Coal tit"),
    ("herring", *GULLS, "Larus", "argentatus", "Herring gull"),
    ("thayer", *GULLS, "Larus", "thayeri", "Thayer's gull"),
    ("iceland", *GULLS, "Larus", "glaucoides", "Iceland gull"),
    ("wren", "Animalia", "Chordata", "Aves", "Passeriformes", "Troglodytidae", "Troglodytes", "troglodytes", "Wren"),
    ("moss", "Plantae", "Bryophyta", "Bryopsida", "Hypnales", "Hylocomiaceae", "Hylocomium", "", ""),
    ("dodo", "Animalia", "Chordata", "Aves", "Columbiformes", "Raphidae", "Raphus", "cucullatus", "Dodo"),
    ("a chair", *[""] * 7, ""),
]
NEW = [
    ("great", *TITS, "Parus", "major", "Great tit"),
    ("blue", *TITS, "Cyanistes", "caeruleus", "Eurasian blue tit"),
    ("coal", *TITS, "Periparus", "ater", "Coal Tit"),
    ("herring", *GULLS, "Larus", "argentatus", "European herring gull"),
    ("smith", *GULLS, "Larus", "smithsonianus", "American herring gull"),
    ("iceland", *GULLS, "Larus", "glaucoides", "Iceland gull"),
    ("wren", "Animalia", "Chordata", "Aves", "Passeriformes", "Certhiidae", "Troglodytes", "troglodytes", "Wren"),
    ("moss", "Plantae", "Bryophyta", "Bryopsida", "Hypnales", "Hylocomiaceae", "Hylocomium", "splendens", ""),
    ("A Chair", *[""] * 7, ""),
    ("new", *GULLS, "Rissa", "tridactyla", "Kittiwake"),
]
LINKS = pd.DataFrame(
    [
        ("Parus caeruleus", "Cyanistes caeruleus"),
        ("Larus argentatus", "larus smithsonianus"),
        ("Larus thayeri", "Larus glaucoides"),
        ("Hylocomium", "Hylocomium splendens"),
    ],
    columns=["old", "new"],
)


@pytest.fixture(scope="module")
def sets():
    old, new = label_set(OLD), label_set(NEW)
    return old, new, compare_labels(old, new, links=LINKS)


def test_what_became_of_each(sets):
    table = sets[2].set_index(["old", "new"])
    assert table["change"].to_dict() == {
        ("Parus major", "Parus major"): "same",
        ("Parus caeruleus", "Cyanistes caeruleus"): "renamed",
        ("Parus ater", "Periparus ater"): "renamed",
        ("Larus argentatus", "Larus argentatus"): "split",
        ("Larus argentatus", "Larus smithsonianus"): "split",
        ("Larus thayeri", "Larus glaucoides"): "lump",
        ("Larus glaucoides", "Larus glaucoides"): "lump",
        ("Troglodytes troglodytes", "Troglodytes troglodytes"): "moved",
        ("Hylocomium", "Hylocomium splendens"): "other rank",
        ("a chair", "A Chair"): "same",
        ("Raphus cucullatus", ""): "gone",
        ("", "Rissa tridactyla"): "added",
    }
    assert table.loc[("Parus ater", "Periparus ater"), "evidence"] == "epithet and common name"
    assert table.loc[("Troglodytes troglodytes",) * 2, "detail"] == "family: Troglodytidae -> Certhiidae"
    assert table.loc[("Parus caeruleus", "Cyanistes caeruleus"), ["evidence", "detail"]].tolist() == [
        "given",
        "genus: Parus -> Cyanistes",
    ]


def answered(labels, depths):
    """Answer each candidate at a depth of its lineage."""
    naming = name_features(features_for(np.eye(len(labels)) + 1e-9), labels, 1.0)
    table = answers(naming, labels, 0.5)
    for row, depth in enumerate(depths):
        table.loc[row, list(RANKS)] = [*table.loc[row, list(RANKS[: depth + 1])], *[""] * (6 - depth)]
        if depth < 6:
            table.loc[row, ["taxon", "rank", "common_name"]] = table.loc[row, RANKS[depth]], RANKS[depth], ""
    return table


def test_old_answers_are_moved_where_they_stay_true(sets):
    old, new, changes = sets
    whole = answers(name_features(features_for(np.eye(len(OLD)) + 1e-9), old, 1.0), old)
    table = map_answers(whole, old, new, changes)
    assert table["old_taxon"].tolist() == whole["taxon"].tolist() and len(table) == len(OLD)
    wanted = ["Parus major", "Cyanistes caeruleus", "Periparus ater", "", "Larus glaucoides", "Larus glaucoides"]
    assert table["taxon"].tolist() == [*wanted, "Troglodytes troglodytes", "Hylocomium splendens", "", "A Chair"]
    assert table["change"].tolist() == "same,renamed,renamed,split,lump,lump,moved,other rank,gone,same".split(",")
    assert table["within"].tolist()[3] == "Larus" and table["within"].tolist()[8] == ""
    assert table.loc[6, "family"] == "Certhiidae" and table["score"].tolist() == whole["score"].tolist()


def test_answers_above_species_hold_what_they_held(sets):
    old, new, changes = sets
    table = answered(old, [5, 4, 3, 4, 5, 2, 4])
    found = map_answers(table, old, new, changes).iloc[:7]
    assert table["taxon"].tolist()[:7] == [
        "Parus",
        "Paridae",
        "Passeriformes",
        "Laridae",
        "Larus",
        "Aves",
        "Troglodytidae",
    ]
    assert found["taxon"].tolist() == ["", "Paridae", "Passeriformes", "Laridae", "Larus", "Aves", "Certhiidae"]
    assert found["within"].tolist()[0] == "Paridae"  # of three genera now
    assert found["change"].tolist() == ["moved", "same", "same", "same", "same", "same", "renamed"]


def test_the_same_set_changes_nothing(sets):
    old = sets[0]
    table = compare_labels(old, old)
    assert (table["change"] == "same").all() and len(table) == len(old)
    whole = answered(old, range(7))
    again = map_answers(whole, old, old, table)
    pd.testing.assert_frame_equal(again[list(whole)], whole, check_dtype=False)


def test_homonyms_of_other_kingdoms_are_not_one():
    bird = ("Animalia", "Chordata", "Aves", "Passeriformes", "Muscicapidae", "Oenanthe", "", "")
    plant = ("Plantae", "Tracheophyta", "Magnoliopsida", "Apiales", "Apiaceae", "Oenanthe", "", "")
    both, one = label_set([("b", *bird), ("p", *plant)]), label_set([("p", *plant)])
    assert compare_labels(both, one)["change"].tolist() == ["same", "gone"]
    assert compare_labels(one, both)["change"].tolist() == ["same", "added"]


CYCADS = Path(__file__).parents[3] / "shared" / "backbones" / "cycads_coldp"


@pytest.mark.skipif(not CYCADS.is_dir(), reason="needs the checklist of cycads")
def test_synonyms_of_a_real_checklist_are_found():
    line = ("Plantae", "Cycadophyta", "Cycadopsida", "Cycadales", "Zamiaceae")
    species = ["Ceratozamia intermedia", "Ceratozamia longifolia", "Ceratozamia mexicana", "Ceratozamia boliviana"]
    was = label_set([(name, *line, *name.split(), "") for name in species])
    now = label_set([(name, *line, *name.split(), "") for name in (species[2], "Zamia boliviana")])
    backbone = open_backbones(DataConfig(backbones=(str(CYCADS),)))
    found = compare_labels(was, now, backbone).set_index("old")
    assert found["change"].to_dict() == dict(zip(species, ["lump", "lump", "lump", "renamed"], strict=True))
    assert found["evidence"].to_dict() == dict(zip(species, ["synonym", "synonym", "name", "synonym"], strict=True))
    assert compare_labels(now, was, backbone)["change"].tolist() == ["split"] * 3 + ["renamed"]
