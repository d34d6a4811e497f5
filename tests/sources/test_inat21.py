"""iNat21: annotations, class folders, images loose and in a tar.gz."""

import json
from pathlib import Path

import pytest

from bioclip_lib import RANKS
from bioclip_lib.config import DataConfig
from bioclip_lib.errors import InputError
from bioclip_lib.files.images import read_bytes
from bioclip_lib.sources.published import read_inat21
from bioclip_lib.sources.read import read_source

CLASSES = (
    ("Animalia", "Annelida", "Clitellata", "Haplotaxida", "Lumbricidae", "Lumbricus", "terrestris"),
    ("Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", "Rubus", "idaeus-x"),
)
FOLDERS = [f"{i:05d}_{'_'.join(lineage)}" for i, lineage in enumerate(CLASSES)]


@pytest.fixture
def write_inat(jpeg, write_archive):
    def write(root: Path, layout: str, split: str = "train") -> Path:
        names = [f"{split}/{FOLDERS[i % 2]}/{split}-{i}.jpg" for i in range(6)]
        if layout.endswith("json") or layout == "tar":
            (root / f"{split}.json").parent.mkdir(parents=True, exist_ok=True)
            (root / f"{split}.json").write_text(json.dumps(annotations(names)), encoding="utf-8")
        files = {name: jpeg(i) for i, name in enumerate(names)}
        if layout == "tar":
            write_archive(root / f"{split}.tar.gz", files)
        else:
            for name, data in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(data)
        return root

    return write


def annotations(names: list[str]) -> dict:
    keys = [*RANKS[:-1], "specific_epithet"]
    return {
        "info": {"year": 2021},
        "images": [
            {"id": 10 * i, "file_name": name, "license": i % 2, "rights_holder": f"Zoë {i}", "width": 16, "height": 12}
            for i, name in enumerate(names)
        ],
        "annotations": [{"id": i, "image_id": 10 * i, "category_id": i % 2} for i in range(len(names))],
        "categories": [
            {
                "id": i,
                "name": f"{lineage[5]} {lineage[6]}",
                "common_name": ["Common Earthworm", "Red Raspberry"][i],
                "supercategory": "x",
                "image_dir_name": FOLDERS[i],
                **dict(zip(keys, lineage, strict=True)),
            }
            for i, lineage in enumerate(CLASSES)
        ],
        "licenses": [{"id": 0, "name": "CC BY", "url": "x"}, {"id": 1, "name": "CC0", "url": "y"}],
    }


@pytest.mark.parametrize("layout", ["json", "tar"])
def test_annotations(tmp_path, write_inat, jpeg, layout):
    raw = read_source(DataConfig(source="photos", photos=str(write_inat(tmp_path, layout))))
    assert raw["source_id"].tolist() == [f"{FOLDERS[i % 2]}/train-{i}.jpg" for i in range(6)]
    assert set(raw["problem"]) == {""} and set(raw["source_split"]) == {"train"}
    assert [read_bytes(location) for location in raw["location"]] == [jpeg(i) for i in range(6)]
    first = raw.iloc[0]
    assert first[list(RANKS)].tolist() == list(CLASSES[0])
    assert (first["verbatim_name"], first["common_name"]) == ("Lumbricus terrestris", "Common Earthworm")
    assert raw["license"].tolist()[:2] == ["CC BY", "CC0"] and first["rights_holder"] == "Zoë 0"


def test_class_folders_alone(tmp_path, write_inat):
    raw = read_source(DataConfig(source="photos", photos=str(write_inat(tmp_path, "folders"))))
    assert len(raw) == 6 and set(raw["problem"]) == {""} and set(raw["source_split"]) == {"train"}
    assert sorted(set(raw["verbatim_name"])) == ["Lumbricus terrestris", "Rubus idaeus-x"]
    assert raw.iloc[0][list(RANKS)].tolist() == list(CLASSES[0])


def test_several_splits_and_a_row_listed_again(tmp_path, write_inat):
    root = write_inat(write_inat(tmp_path, "json"), "json", split="val")
    (root / "train_mini.json").write_text(json.dumps(annotations([f"train_mini/{FOLDERS[0]}/train-0.jpg"])))
    raw = read_inat21(root)
    assert raw["source_split"].value_counts().to_dict() == {"train": 6, "val": 6, "train_mini": 1}
    assert raw[raw["problem"] != ""][["source_split", "problem"]].to_numpy().tolist() == [
        ["train_mini", "listed again"]
    ]


def test_missing_and_unlisted_images_and_odd_folders(tmp_path, write_inat, jpeg):
    root = write_inat(tmp_path, "json")
    (root / "train" / FOLDERS[0] / "train-0.jpg").rename(root / "train" / FOLDERS[0] / "new.jpg")
    raw = read_inat21(root)
    assert raw["problem"].tolist() == ["image not found", *[""] * 5, "image that the table does not list"]
    (root / "train.json").unlink()
    (root / "train" / "odd").mkdir()
    (root / "train" / "odd" / "1.jpg").write_bytes(jpeg(1))
    problems = read_inat21(root).set_index("source_id")["problem"]
    assert problems["train/odd/1.jpg"] == "folder is not a class of iNat21" and (problems != "").sum() == 1


def test_an_image_without_annotation(tmp_path, write_inat):
    root = write_inat(tmp_path, "json")
    content = json.loads((root / "train.json").read_text())
    content["annotations"].pop(2)
    content["annotations"].append({"id": 99, "image_id": 0, "category_id": 1})  # a second one: the first stands
    (root / "train.json").write_text(json.dumps(content))
    raw = read_inat21(root)
    assert raw["problem"].tolist() == ["", "", "no annotation", "", "", ""]
    assert raw["verbatim_name"][0] == "Lumbricus terrestris"


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"images": 3}', '{"images": [{"id": 1}], "annotations": []}', "\x00"]
)
def test_broken_annotations(tmp_path, text):
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(InputError, match=r"train\.json is not an annotation file of iNat21"):
        read_inat21(tmp_path)


def test_no_image(tmp_path, write_inat):
    root = write_inat(tmp_path, "tar")
    (root / "train.tar.gz").write_bytes((root / "train.tar.gz").read_bytes()[:200])
    with pytest.raises(
        InputError, match=r"none of the 6 images .*train\.tar\.gz: gzip file is truncated.*put the class"
    ):
        read_inat21(root)


def test_the_notebook_builds_a_data_set_of_it(tmp_path, write_inat, build_data_set):
    table = build_data_set(write_inat(tmp_path / "inat", "json"))["table"]
    assert len(table) == 6 and (table["excluded"] == "").all() and table["scientific_name"].nunique() == 2
