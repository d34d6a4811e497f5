"""Sex and life stage come from tables, Darwin Core Archives and Camtrap DP into the catalog, as they are written."""

import json

import datasets
import numpy as np
import pytest

from bioclip_lib.catalog.assembly import join
from bioclip_lib.catalog.duplicates import inspect_images
from bioclip_lib.config import DataConfig
from bioclip_lib.sources import read_source
from bioclip_lib.sources.folders import read_image_folder


def read(path):
    raw = read_source(DataConfig(source="photos", photos=str(path)))
    return raw.sort_values("source_id").set_index("source_id")[["sex", "life_stage"]]


@pytest.fixture
def photographs(tmp_path, jpeg):
    for i in range(3):
        (tmp_path / f"{i}.jpg").write_bytes(jpeg(i))
    return tmp_path


def test_of_a_table(photographs):
    (photographs / "birds.csv").write_text(
        "file,species,Sex,lifeStage\n0.jpg,Parus major,M,adult\n1.jpg,Parus major,,\n"
    )
    assert read(photographs / "birds.csv").to_numpy().tolist() == [["M", "adult"], ["", ""]]


def test_of_a_darwin_core_archive(photographs):
    rows = ("11\tParus major\tMALE\t", "12\tParus major\tFEMALE\tJuvenile")
    (photographs / "occurrence.txt").write_text("\n".join(["gbifID\tscientificName\tsex\tlifeStage", *rows]))
    media = ("11\thttp://x/0.jpg", "12\thttp://x/1.jpg", "12\thttp://x/2.jpg")
    (photographs / "multimedia.txt").write_text("\n".join(["gbifID\tidentifier", *media]))
    assert read(photographs).to_numpy().tolist() == [["MALE", ""], *[["FEMALE", "Juvenile"]] * 2]


def test_of_camera_traps_and_of_none_where_an_image_shows_both(photographs):
    (photographs / "datapackage.json").write_text(json.dumps({}))
    (photographs / "media.csv").write_text(
        "mediaID,deploymentID,filePath\n" + "".join(f"m{i},d,{i}.jpg\n" for i in "012")
    )
    (photographs / "observations.csv").write_text(
        "mediaID,eventID,observationType,scientificName,sex,lifeStage\nm0,e0,animal,Lynx rufus,male,adult\n"
        "m0,e0,animal,Lynx rufus,female,adult\nm1,e1,animal,Lynx rufus,female,\nm2,e2,animal,Lynx rufus,,\n"
    )
    assert read(photographs).to_numpy().tolist() == [["", "adult"], ["female", ""], ["", ""]]


def test_the_catalog_keeps_them(image_folder, resolve):
    raw = read_image_folder(image_folder)
    images, names = inspect_images(raw), resolve(raw)
    raw["sex"] = np.resize(["male", "", "F"], len(raw))
    found = join(raw, names, images)
    assert found["sex"].tolist() == raw["sex"].tolist() and set(found["life_stage"]) == {""}


def test_of_a_data_set_of_the_hub(tmp_path, jpeg):
    features = datasets.Features(
        image=datasets.Image(), label=datasets.Value("string"), lifeStage=datasets.Value("string")
    )
    rows = {"image": [{"bytes": jpeg(i), "path": None} for i in range(2)], "label": ["Pica pica"] * 2}
    made = datasets.Dataset.from_dict(rows | {"lifeStage": ["Juvenile", ""]}, features)
    made.save_to_disk(str(tmp_path / "set"))
    raw = read_source(DataConfig(source="photos", photos=str(tmp_path / "set")))
    assert raw["life_stage"].tolist() == ["Juvenile", ""]
