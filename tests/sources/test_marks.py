"""Images of no taxon, of two, and those that are no photographs: said, and never a class."""

import pandas as pd
import pytest

from bioclip_lib.sources import look, read_names, read_source
from tests.sources.test_field import config, folders, read, table_of

NOTHING = ("Empty", "BLANK", "Human", "Person", "vehicle", "no_animal", "Unknown", "_unsorted", "to sort", "Rejected")
NOTHING += (
    "mixed",
    "others",
    "otros",
    "unbestimmt",
    "sin_identificar",
    "New folder",
    "New folder (2)",
    "nest",
)


@pytest.mark.parametrize("name", NOTHING)
def test_what_cameras_see_beside_animals_is_no_class(tmp_path, jpeg, name):
    root = folders(tmp_path, jpeg, f"{name}/1.jpg", "Robin/2.jpg", "Blue_Jay/3.jpg")
    raw = read(root).set_index("verbatim_name")
    assert raw["problem"].to_dict()[name].startswith("image of no taxon (") and len(raw) == 3
    assert (raw.loc[["Robin", "Blue_Jay"], "problem"] == "").all()
    assert "not read: 1 x image of no taxon" in look(config(root))
    assert (read(root, taxa=False)["problem"] == "").all()
    (root / "classes.csv").write_text(f"class_name,scientific_name\n{name},\nRobin,\n")  # a line that stays empty
    pd.testing.assert_frame_equal(read(root).set_index("verbatim_name"), raw)
    assert read_names(config(root), raw.reset_index()) is None
    (root / "classes.csv").write_text(f"class_name,scientific_name\n{name},Homo sapiens\n")  # who says so means it
    assert (read(root)["problem"] == "").all()


def test_reasons_and_names_are_counted_to_the_last(tmp_path, jpeg):
    marks = ("empty", "human", "vehicle", "unknown", "misfire", "blank", "trash")
    rows = (*(f"{mark}.jpg,{mark}" for mark in marks), "1.jpg,Blue Jay", "2.jpg,Bobolink", "3.jpg,")
    folders(tmp_path, jpeg, *(f"{mark}.jpg" for mark in marks))
    said = look(config(table_of(tmp_path, jpeg, "image,label", *rows)))
    assert "3 images, 2 names" in said and "not read: 2 more, for 2 other reasons" in said
    assert said.count("not read: 1 x ") == 5


@pytest.mark.parametrize("name", ["Human_Botfly", "Caracal", "Empty_nest_bird", "Vehicle_Ant", "Divers", "Nestor"])
def test_a_name_that_only_begins_so_is_a_class(tmp_path, jpeg, name):
    assert (read(folders(tmp_path, jpeg, f"{name}/1.jpg", "Robin/2.jpg"))["problem"] == "").all()


@pytest.mark.parametrize("packed", ["labels.csv", "train.csv"])
def test_an_image_of_two_names_is_of_neither(tmp_path, jpeg, packed):
    rows = (
        "1.jpg,Blue Jay",
        "1.jpg,Robin",
        "2.jpg,Robin",
        "3.jpg,blue_jay",
        "3.jpg,Blue Jay",
        "4.jpg,Robin",
        "4.jpg,Human",
    )
    path = table_of(tmp_path, jpeg, "image,label", *rows, name=packed)
    for raw in (read_source(config(path)), read_source(config(tmp_path))):
        several, human = "several taxa on one image", "image of no taxon (human)"
        assert raw["problem"].tolist() == [several, several, "", "", "", "", human]


@pytest.mark.parametrize(
    ("header", "values"),
    [
        ("occurrenceStatus", "present absent PRESENT present"),
        ("present", "1 0 1 1"),
        ("presence", "True False True True"),
        ("individualCount", "2 0 1 7"),
    ],
)
def test_rows_that_state_an_absence_name_no_image(tmp_path, jpeg, header, values):
    names = ("1.jpg,Robin", "1.jpg,Blue Jay", "2.jpg,Blue Jay", "3.jpg,Wren")
    rows = [f"{name},{value}" for name, value in zip(names, values.split(), strict=True)]
    raw = read(table_of(tmp_path, jpeg, f"file,label,{header}", *rows))
    assert raw["problem"].tolist() == ["", "image of no taxon (absent)", "", ""]
    table_of(tmp_path, jpeg, f"file,label,{header}", *(f"{i}.jpg,Robin,0" for i in (1, 2)))
    assert set(read(tmp_path / "t.csv")["problem"]) == {""}  # of all nobody filled it in


def test_a_row_without_a_name_contradicts_none(tmp_path, jpeg):
    path = table_of(tmp_path, jpeg, "image,label", "1.jpg,Blue Jay", "1.jpg,", "2.jpg,Robin")
    assert (read_source(config(path))["problem"] == "").all()


def test_photographs_in_folders_called_like_drawings_stay(tmp_path, jpeg):
    root = folders(tmp_path, jpeg, "field/Robin/1.jpg", "field/Blue_Jay/2.jpg", "museum_labels/Robin/3.jpg")
    assert len(read(root)) == 3


def test_files_are_called_as_they_are_written(tmp_path, jpeg):
    folders(tmp_path, jpeg, "IMG%20001.jpg")
    path = table_of(tmp_path, jpeg, "image,label", "IMG%20001.jpg,Blue Jay", "2.jpg,Robin")
    assert (read_source(config(path))["problem"] == "").all()


def test_two_occurrences_of_one_image_are_of_neither(tmp_path, jpeg):
    folders(tmp_path, jpeg, "1.jpg", "2.jpg")
    (tmp_path / "occurrence.txt").write_text(
        "gbifID\tscientificName\n7\tParus major\n8\tTurdus merula\n9\tAcer rubrum\n"
    )
    addresses = "gbifID\tidentifier\n7\thttp://x/1.jpg\n8\thttp://x/1.jpg\n9\thttp://x/2.jpg\n"
    (tmp_path / "multimedia.txt").write_text(addresses)
    assert read_source(config(tmp_path))["problem"].tolist() == [*["several taxa on one image"] * 2, ""]


@pytest.mark.parametrize(
    "names",
    [
        ["images/Robin/1.jpg", "images/Blue_Jay/2.jpg", "masks/Robin/1.png", "masks/Blue_Jay/2.png"],
        ["images/Robin/1.jpg", "images/Blue_Jay/2.jpg", "annotations/trimaps/1.png"],
        ["Robin/1.jpg", "Robin/1_mask.png", "Blue_Jay/2.jpg", "Blue_Jay/2_segmentation.png"],
        ["train/Robin/1.jpg", "val/Blue_Jay/2.jpg", "train_labels/Robin/1.png"],
    ],
)
def test_masks_are_no_photographs(tmp_path, jpeg, names):
    root = folders(tmp_path, jpeg, *names)
    raw = read(root)
    assert sorted(raw["verbatim_name"]) == ["Blue_Jay", "Robin"] and (raw["problem"] == "").all()
    assert "images (.png)" in look(config(root))


def test_folders_of_labels_alone_are_classes(tmp_path, jpeg):
    raw = read(folders(tmp_path, jpeg, "labels/Robin/1.jpg", "labels/Blue_Jay/2.jpg"))
    assert sorted(raw["verbatim_name"]) == ["Blue_Jay", "Robin"]


def test_a_table_beside_the_one_that_is_read_is_named(tmp_path, jpeg):
    table_of(tmp_path, jpeg, "image,label", "1.jpg,Robin", "2.jpg,Blue Jay", name="train.csv")
    (tmp_path / "test.csv").write_text("image\n3.jpg\n")
    assert "tables not used: test.csv" in look(config(tmp_path))
