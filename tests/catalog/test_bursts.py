"""Photographs of one moment stay together, though nobody says that they belong together."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bioclip_lib.catalog.assembly import build
from bioclip_lib.catalog.bursts import find_bursts
from bioclip_lib.catalog.duplicates import inspect_images
from bioclip_lib.config import Config, DataConfig, SplitConfig
from bioclip_lib.sources.folders import read_image_folder
from bioclip_lib.sources.read import read_source
from tests.catalog.test_groups import torn


def built(root, resolve, **data) -> pd.DataFrame:
    raw = read_image_folder(root)
    names = resolve(raw)
    split = SplitConfig(min_images=1, heldout_fraction=0, test_fraction=0.4)
    return build(raw, names, inspect_images(raw), Config("photos", DataConfig(source="photos", **data), split)).table


def groups(table: pd.DataFrame) -> list[list[str]]:
    """List the files of each group."""
    of = table[table["group"] != ""].groupby("group")["source_id"]
    return sorted(sorted(name.rpartition("/")[2] for name in names) for _, names in of)


def photograph(path, write_image, seed: int, taken: str = "") -> None:
    exif = Image.Exif()
    if taken:
        exif.get_ifd(0x8769)[0x9003] = taken
    write_image(path, seed=seed, exif=exif)


@pytest.mark.parametrize(
    ("times", "within_s", "expected"),
    [
        (["10:00:00", "10:00:02", "10:00:04", "10:01:00"], 5, [["0.jpg", "1.jpg", "2.jpg"]]),
        (["10:00:00", "10:00:06", "10:00:30", "10:00:32"], 5, [["2.jpg", "3.jpg"]]),
        (["10:00:00", "10:00:06", "10:00:30", "10:00:32"], 30, [["0.jpg", "1.jpg", "2.jpg", "3.jpg"]]),
        (["10:00:00", "10:00:00", "99:99:99", ""], 5, [["0.jpg", "1.jpg"]]),
        (["10:00:00", "10:00:00", "10:00:00", "10:00:01"], 0, []),
    ],
)
def test_photographs_within_seconds_are_a_group(tmp_path, write_image, resolve, times, within_s, expected):
    for i, time in enumerate(times):
        photograph(tmp_path / "s" / "Parus major" / f"{i}.jpg", write_image, i, f"2024:05:01 {time}" if time else "")
    for i in range(4):  # another class, and another folder, at the same time
        photograph(tmp_path / "s" / "Acer rubrum" / f"{i}a.jpg", write_image, 10 + i, f"2024:05:01 1{i}:00:00")
    table = built(tmp_path / "s", resolve, burst_s=within_s)
    assert groups(table) == expected and not torn(table)


def test_boxes_of_photographs_within_seconds_are_a_group(tmp_path, write_image, resolve):
    for i, time in enumerate(["10:00:00", "10:00:02", "10:01:00", "10:02:00"]):
        photograph(tmp_path / f"{i}.jpg", write_image, i, f"2024:05:01 {time}")
    boxes = [f"{i}.jpg,Parus major,{x},0,{x + 16},20" for i, x in ((0, 0), (1, 8), (2, 0), (2, 20))]
    rows = ["path,name,xmin,ymin,xmax,ymax", *boxes, "3.jpg,Acer rubrum,0,0,20,20"]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    data = DataConfig(source="photos", photos=str(tmp_path / "t.csv"))
    raw = read_source(data)
    config = Config("photos", data, SplitConfig(min_images=1, heldout_fraction=0))
    table = build(raw, resolve(raw), inspect_images(raw), config).table
    assert groups(table) == [["0.jpg#1", "1.jpg#1"], ["2.jpg#1", "2.jpg#2"]]


def test_another_folder_of_the_class_is_another_burst(tmp_path, write_image, resolve):
    for i in range(4):
        photograph(tmp_path / f"s/Parus major/cam{i % 2}/{i}.jpg", write_image, i, "2024:05:01 10:00:00")
        photograph(tmp_path / f"s/Acer rubrum/cam{i % 2}/{i}.jpg", write_image, 9 + i)
    assert groups(built(tmp_path / "s", resolve)) == [["0.jpg", "2.jpg"], ["1.jpg", "3.jpg"]]


def test_a_clock_that_was_never_set_joins_nothing(tmp_path, write_image, resolve):
    for i in range(25):
        photograph(tmp_path / "s" / "Parus major" / f"{i}.jpg", write_image, i, "2000:01:01 00:00:00")
    photograph(tmp_path / "s" / "Acer rubrum" / "a.jpg", write_image, 99)
    assert groups(built(tmp_path / "s", resolve)) == []


def test_siblings_that_look_nearly_alike_are_a_group(tmp_path, photos, resolve):
    bursts = photos.parent / "field" / "folders" / "burst"
    if not bursts.is_dir():
        pytest.skip(f"sequences of photographs are looked for in {bursts}; not there")
    table = built(bursts, resolve)  # <class>/seq<number>_<number>.jpg, 16 sequences of 3
    kept = table[table["excluded"] == ""]
    sequence = kept["source_id"].str.replace(r"_\d\.jpg$", "", regex=True)
    assert kept.loc[kept["group"] != ""].groupby("group").agg(lambda of: sequence[of.index].nunique()).max().max() == 1
    n_sides = kept["split"].groupby(sequence).nunique()
    assert (n_sides > 1).sum() <= 2
    apart = built(bursts, resolve, burst_s=0)
    apart = apart[apart["excluded"] == ""]
    assert groups(apart) == [] and (apart["split"].groupby(sequence).nunique() > 1).sum() >= 7


def test_groups_that_are_given_stay():
    rows = pd.DataFrame({"image_id": list("abc"), "source": "s", "class_key": "x", "excluded": "", "folder": "f"})
    rows = rows.assign(group=["g", "", ""], phash=np.arange(3, dtype=np.uint64) + 1, taken=[7, 7, 8])
    assert find_bursts(rows, 5).tolist() == ["g", "burst b", "burst b"]
    assert find_bursts(rows.iloc[::-1], 5).sort_index().tolist() == ["g", "burst b", "burst b"]
    assert find_bursts(rows.assign(excluded=["", "", "gone"]), 5).tolist() == ["g", "", ""]
    assert find_bursts(rows.assign(source=["s", "s", "t"]), 5).tolist() == ["g", "", ""]
