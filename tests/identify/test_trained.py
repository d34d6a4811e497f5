"""A run as a namer: its held-out species are candidates, what is none is named, and a floor without images is said."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bioclip_lib import RANKS
from bioclip_lib.errors import InputError
from bioclip_lib.identify import Trust, load_run, name_features, rules
from bioclip_lib.identify import __main__ as command
from bioclip_lib.identify.naming import FLOOR
from bioclip_lib.identify.trained import Split, TrainedRun

from .test_naming import label_set

SCALE = 30.0
SPECIES = ["Parus major", "Parus ater", "Corvus corax", "Pica pica", "Sitta europaea", "Certhia familiaris", "gnome"]


@pytest.fixture
def run(tmp_path):
    """A run of seven species: four trained on, two held out, one held out with a single photograph."""
    rng, unit = np.random.default_rng(0), lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
    axes = np.linalg.qr(rng.standard_normal((24, 24)))[0].astype(np.float32)
    of = np.repeat(range(7), [24] * 6 + [1])
    images = unit(axes[of] + 1.5 * axes[8] + 0.25 * rng.standard_normal((len(of), 24)).astype(np.float32))
    place = np.arange(len(of)) % 24
    split = np.where(of >= 4, "heldout_species", np.select([place < 8, place < 16], ["train", "val"], "test"))
    table = pd.DataFrame({"image_id": [f"{i:03d}" for i in range(len(of))], "class_key": np.array(SPECIES)[of]})
    ranks = [("K", "P", "C", "O", "F", *name.split()) if " " in name else ("",) * 7 for name in table["class_key"]]
    table = table.assign(split=split, excluded="", common_name="", scientific_name=table["class_key"])
    table[list(RANKS)] = ranks
    made = object.__new__(TrainedRun)
    made.catalog, made.scale, made.run = table, SCALE, SimpleNamespace(root=tmp_path)
    rows = [(name, "K", "P", "C", "O", "F", *name.split(), "") for name in SPECIES[:4]]
    made.labels = label_set(rows, unit(axes[:4] + 1.5 * axes[7]))
    of_split = {name: split == name for name in set(split)}
    made._splits = {name: Split(table[mask].set_index("image_id"), images[mask]) for name, mask in of_split.items()}
    return made


def test_held_out_species_are_candidates_by_their_photographs(run):
    labels = run.candidates()
    assert labels.names["label"].tolist() == [*SPECIES[:4], *sorted(SPECIES[4:6])]
    assert run.none_of(labels) == ["gnome"] and run.none_of(run.labels) == sorted(SPECIES[4:])
    trust = run.trust(labels=labels)
    right = {}
    for part in ("test", "heldout_species"):
        split = run.split(part)
        found = name_features(split.features, labels, SCALE / trust.temperature, "label", k=1)
        called = labels.names["label"].to_numpy()[found.choices[:, 0]]
        right[part] = np.mean(called == split.classes)
    assert right["test"] > 0.8 and right["heldout_species"] > 0.8
    assert "32 validation images of 4 classes that it was trained on" in trust.said


def test_photographs_that_are_added_join_those_of_the_run(run):
    new = run.split("heldout_species").features[:3]
    taxa = pd.DataFrame({"genus": ["", "Homo"]}, index=["gnome", "me"])
    labels = run.candidates((new, np.array(["gnome", "me", "me"], dtype=object)), taxa)
    assert labels.names["label"].tolist()[4:] == ["Certhia familiaris", "Sitta europaea", "gnome", "me"]
    assert labels.made_of["added"]["images"] == 48 + 1 + 3 and run.none_of(labels) == []
    with pytest.raises(InputError, match="'Pica pica' is among the candidates already"):
        run.candidates((new, np.array(["Pica pica"] * 3, dtype=object)), taxa)


def test_a_few_photographs_make_no_class_that_takes_all(run):
    """What few images tell apart wholly has no likeliest factor: without a prior it is 5 here, and 70 on real ones."""
    val = run.split("val")
    run._splits["val"] = Split(val.rows[::4], val.features[::4])
    added = run.candidates().made_of["added"]
    assert 0.5 < added["factor"] < 2 and abs(added["offset"]) < 2


def test_too_few_images_for_a_floor_are_said(run):
    val = run.split("val")
    run._splits["val"] = Split(val.rows[::4], val.features[::4])  # eight: nine are the fewest for 90 %
    trust = run.trust(0.9)
    assert trust.floor == FLOOR and trust.said == "not calibrated, as 8 validation images are too few to state 90%"
    assert run.trust(0.8).said.startswith("80% right of 8 validation images")
    run._splits["val"] = Split(val.rows[:0], val.features[:0])
    assert run.trust() == Trust() and run.candidates() is run.labels


def test_a_run_that_is_not_calibrated_states_no_share(run):
    assert rules(run)["expected_low"].notna().sum() == 2  # of its floor and species seen, by either kind of answer
    val = run.split("val")
    run._splits["val"] = Split(val.rows[:0], val.features[:0])
    del run.calibrated_scale
    found = rules(run)
    assert len(found) == 16 and found[["expected_low", "expected_high"]].isna().all(axis=None)


def test_the_command_says_who_is_a_candidate_and_who_is_not(run):
    labels = run.candidates()
    told = command._of_candidates(run, labels, Trust(floor=0.7, said="as it was"))
    assert told[0] == (
        "candidates: 4 classes that it was trained on, and 2 by photographs that it was not trained on; floor 0.70: "
        "as it was"
    )
    assert "no candidates, as held out with too few photographs: gnome; to add them" in told[1] and "ADD=" in told[1]
    bare = command._of_candidates(run, label_set([("gnome", *[""] * 8)], labels.weights[:1]), Trust())
    assert any("candidates without ranks, so that no kingdom gets their part: gnome;" in line for line in bare)


def test_what_is_named_by_nothing_has_its_reason(run):
    table = pd.DataFrame({"problem": ["", ""], "taxon": ["", "Parus"], "rank": ["", "genus"], "unknown": ["", ""]})
    said = command._summary(table.assign(score_1=[0.42, 0.9], file_name=""), "names.csv", ["candidates: 4"])
    assert said.splitlines()[0] == "2 of 2 photographs read; named: 1 to genus, 1 not even to kingdom"
    assert "no taxon reaches the floor (the best choice has 0.42)" in said and "choice_1" in said
    assert "without a name" not in command._summary(table[1:].assign(score_1=0.9, file_name=""), "names.csv")


def test_a_folder_that_is_no_finished_run_says_how_to_make_one(tmp_path):
    with pytest.raises(
        InputError, match=r"no finished run, without settings, a catalog, a model; .* make reproduce PHOTOS="
    ):
        load_run(tmp_path)
