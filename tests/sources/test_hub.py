"""Data sets of the library `datasets`: saved, imagefolder, Parquet, and hub names without a network."""

import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bioclip_lib.config import DataConfig
from bioclip_lib.errors import InputError
from bioclip_lib.files.arrow import read_arrow_image
from bioclip_lib.files.images import ImageError, open_image, read_bytes
from bioclip_lib.files.members import ArchiveError
from bioclip_lib.sources.hub import read_dataset
from bioclip_lib.sources.read import read_source

NAMES = ["Parus major", "Acer rubrum"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


@pytest.fixture
def dataset(jpeg) -> datasets.Dataset:
    images = [{"bytes": jpeg(i), "path": f"{i}.jpg"} for i in range(6)]
    columns = {"image": [*images, None], "label": [0, 1] * 3 + [-1], "family": ["Paridae", "Sapindaceae"] * 3 + [None]}
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=NAMES), family=datasets.Value("string")
    )
    return datasets.Dataset.from_dict(columns, features=features)


def check(raw, jpeg, split="train"):
    assert raw["source_id"].tolist() == [f"{split}/{i}" for i in range(7)]
    assert raw["problem"].tolist() == [*[""] * 6, "no image"]
    assert [read_bytes(location) for location in raw["location"][:6]] == [jpeg(i) for i in range(6)]
    assert raw["verbatim_name"].tolist() == [*NAMES * 3, ""] and raw["family"].tolist()[:2] == [
        "Paridae",
        "Sapindaceae",
    ]
    assert set(raw["source_split"]) == {split}
    assert all(isinstance(value, str) for value in raw.to_numpy().ravel())


def test_saved_to_disk(tmp_path, dataset, jpeg):
    dataset.save_to_disk(str(tmp_path / "saved"), num_shards=3)
    check(read_source(DataConfig(source="photos", photos=str(tmp_path / "saved"))), jpeg)


def test_splits_and_a_selection(tmp_path, dataset, jpeg):
    splits = datasets.DatasetDict(train=dataset.select([3, 1]), test=dataset.select([0]))
    splits.save_to_disk(str(tmp_path / "saved"))
    raw = read_source(DataConfig(source="photos", photos=str(tmp_path / "saved")))
    assert raw["source_id"].tolist() == ["train/0", "train/1", "test/0"]
    assert [read_bytes(location) for location in raw["location"]] == [jpeg(3), jpeg(1), jpeg(0)]
    assert raw["source_split"].tolist() == ["train", "train", "test"]


@pytest.mark.parametrize("in_folder", [True, False])
def test_parquet_with_an_image_column(tmp_path, dataset, jpeg, in_folder):
    path = tmp_path / "set" / "data" / "train-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    dataset.to_parquet(str(path))
    check(read_source(DataConfig(source="photos", photos=str(tmp_path / "set" if in_folder else path))), jpeg)


def test_an_imagefolder_with_metadata(tmp_path, jpeg):
    for split in ("train", "test"):
        (tmp_path / "set" / split).mkdir(parents=True)
        rows = []
        for i in range(3):
            (tmp_path / "set" / split / f"{i}.jpg").write_bytes(jpeg(i))
            rows.append(json.dumps({"file_name": f"{i}.jpg", "label": NAMES[i % 2]}))
        (tmp_path / "set" / split / "metadata.jsonl").write_text("\n".join(rows))
    raw = read_source(DataConfig(source="photos", photos=str(tmp_path / "set")))
    assert sorted(raw["source_id"]) == [f"{split}/{i}.jpg" for split in ("test", "train") for i in range(3)]
    assert [read_bytes(location) for location in raw["location"]] == [jpeg(i) for i in range(3)] * 2
    assert all(Path(location).is_relative_to(tmp_path / "set") for location in raw["location"])
    assert raw["verbatim_name"].tolist() == [NAMES[0], NAMES[1], NAMES[0]] * 2


def test_a_hub_name_without_a_network(monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        InputError, match=r"data set nobody/nothing-here cannot be loaded .* with a network unset HF_HUB"
    ):
        read_source(DataConfig(source="photos", photos="nobody/nothing-here"))


def test_what_cannot_be_used(tmp_path):
    plain = datasets.Dataset.from_dict({"label": ["a"]})
    plain.save_to_disk(str(tmp_path / "plain"))
    with pytest.raises(InputError, match="no image column: found label"):
        read_dataset(tmp_path / "plain")
    for path in (tmp_path / "plain").glob("*.arrow"):
        path.write_bytes(b"broken")
    with pytest.raises(InputError, match=r"cannot be loaded .* repair or save it again"):
        read_dataset(tmp_path / "plain")


def test_paths_that_leave_the_data_set_are_not_followed(tmp_path, jpeg):
    for name in ("secret.jpg", "set/inside.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(jpeg(0))
    paths = ["set/inside.jpg", "secret.jpg", "set/../secret.jpg", "set/none.jpg"]
    images = pa.array([{"bytes": None, "path": f"{tmp_path}/{path}"} for path in paths])
    features = datasets.Features(image=datasets.Image(), label=datasets.Value("string"))
    schema = features.arrow_schema
    pq.write_table(pa.table({"image": images, "label": ["a"] * 4}).cast(schema), tmp_path / "set" / "train.parquet")
    leaves = "path that leaves the data set, not followed"
    assert read_dataset(tmp_path / "set")["problem"].tolist() == ["", leaves, leaves, "file not found"]


def test_places_that_do_not_exist_give_a_reason(tmp_path, dataset):
    dataset.save_to_disk(str(tmp_path / "saved"))
    path = next((tmp_path / "saved").glob("*.arrow"))
    assert open_image(f"{path}::image/0").size == (16, 12)
    for place, reason in (
        ("image/6", "no image"),
        ("image/7", "no such row"),
        ("x/0", "cannot be read"),
        ("0", "cannot"),
    ):
        with pytest.raises(ImageError, match=reason):
            read_bytes(f"{path}::{place}")
    with pytest.raises(ArchiveError, match="limit"):
        read_arrow_image(path, "image/0", 10)


def test_the_notebook_builds_a_data_set_of_it(tmp_path, dataset, build_data_set):
    dataset.save_to_disk(tmp_path / "saved")
    table = build_data_set(tmp_path / "saved")["table"]
    assert table["excluded"].tolist() == [*[""] * 6, "no image"] and table["family"].ne("")[:6].all()
