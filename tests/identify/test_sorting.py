"""A folder without labels: what looks alike is a group, nothing is lost, and the next run reads the table."""

import numpy as np
import pytest
from PIL import Image

from bioclip_lib.config import load_config
from bioclip_lib.errors import InputError
from bioclip_lib.identify import Trust, labels_of_names, sorting
from bioclip_lib.sources.read import read_source

COLOURS = [(250, 20, 20), (20, 20, 250), (240, 240, 240)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve photographs of each of three colours, and one that cannot be read."""
    folder, rng = tmp_path_factory.mktemp("unlabelled"), np.random.default_rng(0)
    for i in range(36):
        pixels = np.array(COLOURS[i % 3]) + rng.integers(-12, 13, (24, 24, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i:02d}.png")
    (folder / "broken.jpg").write_bytes(b"no photograph")
    return folder


def test_what_looks_alike_is_a_group_and_the_next_run_reads_it(folder, model, tmp_path):
    labels = labels_of_names(["Parus major", "Acer rubrum"], model)
    table = sorting.sort_photographs(folder, labels, model, Trust(floor=0.0), n_groups=3)
    assert len(table) == 37 and table["problem"].ne("").tolist() == [False] * 36 + [True]
    colour = table["path"][:36].str.extract(r"(\d+)\.png")[0].astype(int) % 3
    assert (
        table[:36].groupby("cluster").size().tolist() == [12] * 3
        and colour.groupby(table["cluster"]).nunique().eq(1).all()
    )
    assert table["cluster"].tolist() == [0] * 12 + [1] * 12 + [2] * 12 + [-1]
    assert table[:36].groupby("cluster")["unlike"].apply(lambda values: values.is_monotonic_increasing).all()
    assert set(table["suggested"][:36]) <= {"Parus major", "Acer rubrum"} and table["class_name"][36] == ""
    corrected = table.assign(class_name=table["class_name"].where(table["cluster"] != 0, "Parus ater"))
    corrected.to_csv(tmp_path / "sorted.csv", index=False)
    raw = read_source(load_config("photos", {"data.photos": str(tmp_path / "sorted.csv")}).data)
    assert "group" not in raw, "a group of the next run is one observation: never on two sides of a split"
    assert len(raw) == 37 and raw["verbatim_name"].tolist() == corrected["class_name"].tolist()


def test_nothing_is_named_before_a_person_has_looked(folder, model):
    labels = labels_of_names(["Parus major", "Acer rubrum"], model)
    table = sorting.sort_photographs(folder, labels, model, Trust(floor=1.1), n_groups=3)
    assert (table["suggested"] == "").all()
    assert table["class_name"].tolist() == ["group 0"] * 12 + ["group 1"] * 12 + ["group 2"] * 12 + [""]


def test_no_group_has_its_reason_and_the_number_of_groups_helps(folder, model):
    labels = labels_of_names(["Parus major", "Acer rubrum"], model)
    some = [f"{folder}/{i:02d}.png" for i in range(4)]
    said = sorting._summary(sorting.sort_photographs(some, labels, model, Trust()), "sorted.csv")
    assert "4 of 4 photographs sorted into 0 groups" in said
    assert "a group is 5 photographs or more" in said and "GROUPS=8" in said and "make reproduce" not in said
    said = sorting._summary(sorting.sort_photographs(some, labels, model, Trust(), n_groups=2), "sorted.csv")
    assert "into 2 groups" in said and said.endswith("make reproduce PHOTOS=sorted.csv")


def test_too_few_photographs_are_refused(tmp_path, write_image, model):
    write_image(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="at least 4"):
        sorting.sort_photographs(tmp_path, labels_of_names(["Parus major"], model), model, Trust())
