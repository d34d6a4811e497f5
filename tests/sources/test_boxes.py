"""Boxes become crops: COCO, Camtrap DP, MegaDetector and SpeciesNet, with margins, outside, and without a name."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bioclip_lib.catalog.duplicates import inspect_images
from bioclip_lib.config import DataConfig, ShardConfig
from bioclip_lib.errors import InputError
from bioclip_lib.files.crops import (
    NO_AREA,
    NO_BOX,
    OUTSIDE,
    box_of,
    box_problem,
    crop_location,
    pixels_of,
    split_crop,
    with_margin,
)
from bioclip_lib.files.images import ImageError, open_image, read_bytes
from bioclip_lib.shards.samples import image_member
from bioclip_lib.sources import look, read_source

WIDTH, HEIGHT = 80, 60


def photograph() -> Image.Image:
    """Each pixel says where it is."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return Image.fromarray(np.stack([x * 3, y * 4, 0 * x], axis=-1).astype(np.uint8))


@pytest.fixture
def camera(tmp_path):
    """Write a folder of photographs, PNG so that pixels are exact; returns it."""
    for name in ("a/1.png", "a/2.png", "b/3.png", "b/4.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        photograph().save(tmp_path / "set" / name)
    return tmp_path / "set"


def read(root: Path, **settings) -> pd.DataFrame:
    return read_source(DataConfig(source="photos", photos=str(root), **{"box_margin": 0.0, **settings}))


def pixels(location: str) -> list:
    """Return the coordinates of the first and the last pixel, and the size."""
    image = np.asarray(open_image(location)).astype(int)
    corners = [(int(p[0]) // 3, int(p[1]) // 4) for p in (image[0, 0], image[-1, -1])]
    return [*corners, image.shape[1::-1]]


def write(root: Path, content: object, name: str = "x.json") -> Path:
    (root / name).write_text(json.dumps(content))
    return root


def coco(boxes: list, sizes: bool = True, names=("Lynx rufus", "Vulpes vulpes"), files=("a/1.png", "a/2.png")) -> dict:
    """Annotations as COCO Camera Traps has them; a box is (image, category, bbox)."""
    size = {"width": WIDTH, "height": HEIGHT} if sizes else {}
    return {
        "images": [{"id": f"i{n}", "file_name": file, **size} for n, file in enumerate(files)],
        "annotations": [
            {"id": n, "image_id": f"i{i}", "category_id": c, "bbox": box} for n, (i, c, box) in enumerate(boxes)
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names)],
    }


@pytest.mark.parametrize("sizes", [True, False])
def test_a_box_of_coco_is_cut_to_its_pixels(camera, sizes):
    boxes = [(0, 0, [10, 20, 30, 15]), (0, 1, [50, 5, 20, 20]), (1, 0, [0, 0, 80, 60])]
    raw = read(write(camera, coco(boxes, sizes)))
    raw = raw[raw["verbatim_name"] != ""]
    assert raw["problem"].tolist() == ["", "", ""] and raw["source_id"].tolist() == [
        "a/1.png#1",
        "a/1.png#2",
        "a/2.png#1",
    ]
    assert raw["verbatim_name"].tolist() == ["Lynx rufus", "Vulpes vulpes", "Lynx rufus"]
    assert pixels(raw["location"][0]) == [(10, 20), (39, 34), (30, 15)]
    assert pixels(raw["location"][1]) == [(50, 5), (69, 24), (20, 20)]
    assert pixels(raw["location"][2])[2] == (80, 60)
    assert raw["group"].tolist()[:2] == ["set/a/1.png"] * 2  # never on two sides of a split


def test_the_margin_is_a_share_of_the_box_and_ends_at_the_edge(camera):
    raw = read(write(camera, coco([(0, 0, [10, 20, 30, 20]), (1, 0, [60, 40, 20, 20])])), box_margin=0.5)
    assert pixels(raw["location"][0]) == [(0, 10), (54, 49), (55, 40)]
    assert pixels(raw["location"][1]) == [(50, 30), (79, 59), (30, 30)]


def test_whole_photographs_where_the_user_says_so(camera):
    boxes = [(0, 0, [10, 20, 30, 15]), (0, 0, [50, 5, 20, 20]), (1, 0, [0, 0, 9, 9]), (1, 1, [20, 20, 9, 9])]
    raw = read(write(camera, coco(boxes)), boxes="whole")
    raw = raw[raw["verbatim_name"] != ""]
    assert raw["source_id"].tolist() == ["a/1.png", "a/2.png", "a/2.png#2"]
    assert raw["problem"].tolist() == ["", *["several taxa on one image"] * 2]
    assert pixels(raw["location"][0])[2] == (80, 60)


ODD = {
    "beyond the right": ([100, 10, 20, 20], OUTSIDE),
    "above": ([10, -30, 20, 20], OUTSIDE),
    "mostly outside": ([70, 10, 30, 20], OUTSIDE),
    "a little outside": ([-2, -2, 20, 20], ""),
    "no width": ([10, 10, 0, 20], NO_AREA),
    "corners taken for sizes": ([30, 30, -20, -20], NO_AREA),
    "three numbers": ([1, 2, 3], NO_BOX),
    "words": (["a", 1, 2, 3], NO_BOX),
    "no number": ([float("nan"), 1, 2, 3], NO_BOX),
}


@pytest.mark.parametrize("odd", ODD)
def test_a_box_that_is_none_of_the_photograph_is_a_row_with_its_reason(camera, odd):
    box, problem = ODD[odd]
    raw = read(write(camera, coco([(0, 0, box), (1, 0, [1, 1, 30, 30])])))
    assert raw["problem"][0] == problem and raw["problem"][1] == ""


def test_a_box_in_pixels_outside_its_photograph_is_found_when_it_is_read(camera):
    raw = read(write(camera, coco([(0, 0, [200, 10, 20, 20]), (1, 0, [1, 1, 30, 30])], sizes=False)))
    with pytest.raises(ImageError, match="outside"):
        read_bytes(raw["location"][0])
    assert inspect_images(raw)["problem"].tolist()[:2] == [OUTSIDE, ""]


def test_an_image_listed_twice_with_two_species_is_of_neither(camera):
    content = coco([], files=("a/1.png", "a/1.png", "a/2.png", "a/2.png"))
    content["annotations"] = [{"id": i, "image_id": f"i{i}", "category_id": int(i == 1)} for i in range(4)]
    raw = read(write(camera, content))
    several = "several taxa on one image"
    assert raw["problem"].tolist()[:4] == [several, several, "", "listed again"]


@pytest.mark.parametrize("cut", [20, 200, 400])
def test_json_that_is_cut_short_is_one_message(camera, cut):
    text = json.dumps(coco([(0, 0, [1, 1, 9, 9])]))
    (camera / "x.json").write_text(text[:cut] if cut < len(text) else text[:-2])
    with pytest.raises(InputError, match=r"x\.json|two ways"):
        read(camera)


@pytest.mark.parametrize("without", ["annotations", "categories"])
def test_coco_without_a_part_is_one_message(camera, without):
    content = coco([(0, 0, [1, 1, 9, 9])])
    with pytest.raises(InputError, match="annotation file"):
        read(write(camera, {k: v if k != without else {"a": 1} for k, v in content.items()}))


def megadetector(named: bool = True) -> dict:
    """The output of run_detector_batch, format 1.5, with a classifier's names behind the boxes."""
    label = {"classifications": [["3", 0.4], ["7", 0.6]]} if named else {}
    animal = {"category": "1", "conf": 0.93, "bbox": [0.125, 0.25, 0.5, 0.5], **label}
    doubtful = {"category": "1", "conf": 0.06, "bbox": [0.1, 0.1, 0.1, 0.1], **label}
    person = {"category": "2", "conf": 0.9, "bbox": [0, 0, 1, 1]}
    classes = {"classification_categories": {"3": "Vulpes vulpes", "7": "Lynx rufus"}} if named else {}
    return {
        "images": [
            {"file": "a\\1.png", "detections": [animal, doubtful, person]},
            {"file": "a/2.png", "detections": [doubtful]},
            {"file": "b/3.png", "detections": [person]},
            {"file": "b/4.png", "detections": None, "failure": "Failure image access"},
        ],
        "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
        "info": {"format_version": "1.5", "detector": "md_v5a.0.0.pt"},
        **classes,
    }


def test_megadetector_with_a_classifier(camera):
    raw = read(write(camera, megadetector()))
    assert raw["verbatim_name"].tolist() == ["Lynx rufus", "Lynx rufus", "", ""]
    assert raw["confidence"].tolist()[:2] == ["0.93", "0.06"] and pixels(raw["location"][0]) == [
        (10, 15),
        (49, 44),
        (40, 30),
    ]
    assert raw["problem"].tolist() == [
        "",
        "a model is not sure of it (confidence 0.06, data.min_confidence=0.2)",
        "image of no taxon (person)",
        "image of no taxon (Failure image access)",
    ]
    assert read(camera, min_confidence=0.01)["problem"].tolist()[:3] == ["", "", ""]


def test_megadetector_without_names_takes_those_of_folders(camera):
    (camera / "a").rename(camera / "Lynx rufus")
    (camera / "b").rename(camera / "Vulpes vulpes")
    content = megadetector(named=False)
    for image, file in zip(
        content["images"], ("Lynx rufus/1.png", "Lynx rufus/2.png", "Vulpes vulpes/3.png"), strict=False
    ):
        image["file"] = "C:/photos/" + file  # as the detector's machine had it
    raw = read(write(camera, content))
    assert raw["verbatim_name"].tolist() == ["Lynx rufus", "Lynx rufus", "Vulpes vulpes", "Vulpes vulpes"]
    assert raw["problem"].tolist()[0] == "" and "not sure" in raw["problem"][1]
    assert raw["problem"].tolist()[2] == "image of no taxon (no box of an animal)"
    assert raw["problem"].tolist()[3].startswith("not listed in ")
    assert (read(camera, boxes="whole")["problem"] == "").sum() == 3


def test_images_that_are_not_there_multiply_no_empty_folder(camera):
    (camera / "a").rename(camera / "Lynx rufus")
    (camera / "b").rename(camera / "Vulpes vulpes")
    for name in ("Parus major", "Pica pica"):
        (camera / name).mkdir()
    content = megadetector(named=False)
    content["images"] += [content["images"][0] | {"file": f"elsewhere/{i}.png"} for i in range(3)]
    raw = read(write(camera, content))
    assert (raw["problem"] == "class folder without an image").sum() == 2


def test_boxes_that_nothing_names_are_refused(camera):
    content = megadetector(named=False)
    content["images"] = [{**image, "file": image["file"][2:]} for image in content["images"]]
    for file in camera.rglob("*.png"):
        file.rename(camera / file.name)
    for folder in "ab":
        (camera / folder).rmdir()
    with pytest.raises(InputError, match=r"has boxes and no names.*SpeciesNet"):
        read(write(camera, content))


def test_megadetector_as_microsoft_writes_it(camera):
    """A list of images; a box is two corners in pixels."""
    animal = {"category": "animal", "confidence": 0.9, "bbox": [10.0, 15.0, 50.0, 45.0]}
    (camera / "a").rename(camera / "Lynx rufus")
    (camera / "b").rename(camera / "Vulpes vulpes")
    content = [{"file": "Lynx rufus/1.png", "detections": [animal]}, {"file": "Vulpes vulpes/3.png", "detections": []}]
    raw = read(write(camera, content))
    assert pixels(raw["location"][raw["problem"].tolist().index("")]) == [(10, 15), (49, 44), (40, 30)]


LYNX = "cf34;mammalia;carnivora;felidae;lynx;rufus;bobcat"


def speciesnet() -> dict:
    animals = [
        {"category": "1", "label": "animal", "conf": c, "bbox": [x, 0.25, 0.5, 0.5]} for c, x in ((0.4, 0), (0.9, 0.25))
    ]
    images = [
        {"filepath": "a/1.png", "detections": animals, "prediction": LYNX, "prediction_score": 0.97},
        {"filepath": "a/2.png", "detections": [], "prediction": "f185;;;;;;blank", "prediction_score": 0.9},
        {"filepath": "b/3.png", "detections": animals, "prediction": "1f;;;;;;animal", "prediction_score": 0.9},
        {"filepath": "b/4.png", "failures": ["CLASSIFIER"], "detections": []},
    ]
    family = {"filepath": "b/4.png", "detections": animals, "prediction": "ab;mammalia;carnivora;felidae;;;cat family"}
    return {"predictions": [*images, family | {"prediction_score": 0.1}]}


def test_speciesnet(camera):
    raw = read(write(camera, speciesnet()))
    assert raw["verbatim_name"].tolist() == ["Lynx rufus", "", "", "", "Felidae"]
    assert raw["common_name"].tolist()[0] == "bobcat" and raw["family"].tolist()[0] == "Felidae"
    assert pixels(raw["location"][0]) == [(20, 15), (59, 44), (40, 30)]  # of the surest, which was classified
    assert raw["problem"].tolist()[:4] == ["", *(f"image of no taxon ({x})" for x in ("blank", "animal", "CLASSIFIER"))]
    assert "not sure" in raw["problem"][4]


def camtrap(root: Path) -> Path:
    """A data package of Camtrap DP 1.0 with boxes, as an AI's observations have them."""
    (root / "datapackage.json").write_text(json.dumps({"licenses": [{"name": "CC0-1.0", "scope": "media"}]}))
    (root / "media.csv").write_text(
        "mediaID,deploymentID,filePath,fileMediatype\nm1,d,a/1.png,image/png\nm2,d,a/2.png,image/png\n"
    )
    (root / "observations.csv").write_text(
        "mediaID,eventID,observationType,scientificName,bboxX,bboxY,bboxWidth,bboxHeight,classificationProbability\n"
        "m1,e1,animal,Lynx rufus,0.125,0.25,0.5,0.5,0.8\nm1,e1,animal,Vulpes vulpes,0.5,0.5,0.5,0.5,0.7\n"
        "m1,e1,animal,Lynx rufus,,,,,\nm2,e2,animal,Lynx rufus,,,,,\n"
    )
    return root


def test_camtrap_boxes(camera):
    raw = read(camtrap(camera))
    raw = raw[raw["verbatim_name"] != ""]
    assert raw["source_id"].tolist() == ["m1#1", "m1#2", "m2"] and set(raw["problem"]) == {""}
    assert pixels(raw["location"][0]) == [(10, 15), (49, 44), (40, 30)] and pixels(raw["location"][2])[2] == (80, 60)
    assert raw["confidence"].tolist() == ["0.8", "0.7", ""] and raw["group"].tolist() == ["e1", "e1", "e2"]


def test_what_a_catalog_and_shards_make_of_a_crop(camera, write_archive):
    """The crop is one image everywhere: same digest each time, its own size, encoded from its pixels alone."""
    raw = read(write(camera, coco([(0, 0, [10, 20, 30, 15]), (0, 1, [50, 5, 20, 20])])))
    first, again = inspect_images(raw), inspect_images(raw)
    assert first.equals(again) and first["width"].tolist()[:2] == [30, 20] and first["sha256"][:2].is_unique
    row = {"location": raw["location"][0], "sha256": first["sha256"][0]}
    jpeg = Image.open(io.BytesIO(image_member(row, ShardConfig(image_size_px=64))))
    assert jpeg.size == (30, 15) and abs(np.asarray(jpeg)[7, 15, 0] / 3 - 25) < 3
    packed = write_archive(camera / "x.zip", {"1.png": (camera / "a" / "1.png").read_bytes()})
    assert read_bytes(crop_location(f"{packed}::1.png", "pixel:10,20,30,15")) == read_bytes(raw["location"][0])
    assert "boxes" in look(DataConfig(source="photos", photos=str(camera)))


@given(st.tuples(*[st.floats(-50, 150)] * 2, *[st.floats(0.1, 200)] * 2), st.integers(1, 500), st.integers(1, 500))
def test_boxes_keep_their_place(values, width, height):
    """A location gives back its box; pixels lie on the photograph; without a reason a box has some."""
    for box in (box_of(values, 100, 100), box_of(values)):
        assert split_crop(crop_location("x/ü#1.jpg", box)) == ("x/ü#1.jpg", box)
        place = pixels_of(box, width, height)
        if place:
            left, upper, right, lower = place
            assert 0 <= left < right <= width and 0 <= upper < lower <= height
        if box.startswith("percent") and not box_problem(box):
            assert place and pixels_of(with_margin(box, 0.3), width, height)
    assert split_crop("a#b.jpg") == ("a#b.jpg", "")


@pytest.mark.parametrize(
    ("corners", "values"),
    [
        ("xmin,ymin,xmax,ymax", "20,10,60,50"),
        ("x_min,y_min,x_max,y_max", "20.0,10.0,60.0,50.0"),
        ("bbox_left,bbox_top,bbox_right,bbox_bottom", "20,10,60,50"),
        ("x1,y1,x2,y2", "0.25,0.1666667,0.75,0.8333333"),
    ],
)
def test_boxes_of_a_table_by_two_corners(camera, corners, values):
    rows = [f"a/1.png,Lynx rufus,{values}", f"b/3.png,Vulpes vulpes,{values}", "a/2.png,Lynx rufus,,,,"]
    (camera / "labels.csv").write_text("\n".join([f"filename,class,{corners}", *rows]))
    raw = read(camera / "labels.csv")
    assert raw["source_id"].tolist() == ["a/1.png#1", "b/3.png#1", "a/2.png"] and set(raw["problem"]) == {""}
    assert [pixels(place) for place in raw["location"][1:]] == [
        [(20, 10), (59, 49), (40, 40)],
        [(0, 0), (79, 59), (80, 60)],
    ]
    (camera / "labels.csv").write_text(
        "\n".join([f"filename,class,{corners}", rows[0], rows[0].replace("Lynx", "Aus")])
    )
    assert set(read(camera / "labels.csv")["problem"]) == {"several taxa on one image"}  # one box, two names


def test_a_table_of_detections_with_paths_from_elsewhere(camera):
    header = "absolute_path,relative_path,label,confidence,bbox_left,bbox_top,bbox_right,bbox_bottom"
    rows = ["D:/x/a/1.png,a/1.png,red fox,0.9,9,9,20,20", "D:/x/a/2.png,a/2.png,person,0.9,9,9,20,20"]
    rows += ["D:/x/b/3.png,b/3.png,red fox,0.1,9,9,20,20", "D:/x/b/4.png,b/4.png,red fox,0.9,9,9,x,20"]
    (camera / "results_detections.csv").write_text("\n".join([header, *rows]))
    problems = read(camera)["problem"].tolist()
    assert problems[:2] == ["", "image of no taxon (person)"] and problems[3] == NO_BOX
    assert problems[2].startswith("a model is not sure of it (confidence 0.1")
