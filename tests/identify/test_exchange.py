"""What field teams exchange: every form keeps what it was given, and comes back as it went out."""

import copy
import io
import json

import pandas as pd
import pytest
from PIL import Image

from bioclip_lib import RANKS
from bioclip_lib.errors import InputError
from bioclip_lib.identify import Trust, exchange, identify, labels_of_names, list_photos
from bioclip_lib.identify import __main__ as command

from .test_candidates import TABLE

CONTENT = {
    "info": {"format_version": "1.4", "detector": "md_v5a.0.0"},
    "detection_categories": {"1": "animal", "2": "person"},
    "images": [
        {
            "file": "site 1/a.jpg",
            "detections": [
                {"category": "1", "conf": 0.9, "bbox": [0.25, 0.25, 0.5, 0.5]},
                {"category": "2", "conf": 0.8, "bbox": [0, 0, 0.1, 0.1]},
                {"category": "1", "conf": 0.05, "bbox": [0, 0, 0.1, 0.1]},
            ],
        },
        {"file": "b.jpg", "detections": [{"category": "1", "conf": 0.4, "bbox": [0.9, 0.9, 0.1, 0.1]}]},
        {"file": "lost.jpg", "detections": [{"category": "1", "conf": 0.7, "bbox": [0, 0, 1, 1]}]},
        {"file": "c.jpg", "failure": "Failure image access", "detections": None},
    ],
}


@pytest.fixture
def named(tmp_path, write_image, model):
    for name in ("site 1/a.jpg", "b.jpg"):
        write_image(tmp_path / name, size=(80, 60), seed=len(name))
    (tmp_path / "md.json").write_text(json.dumps(CONTENT))
    content, photos = exchange.boxes_of_megadetector(tmp_path / "md.json")
    labels = labels_of_names(TABLE, model)
    table = identify(photos, labels, model, k=3, trust=Trust(floor=0.15))
    return content, table, labels, exchange.provenance(model.address, labels, Trust())


def test_boxes_are_named_and_all_else_stays(tmp_path, named, model):
    content, table, labels, made = named
    assert table["file_name"].tolist() == ["site 1/a.jpg#0", "b.jpg#0", "lost.jpg#0"]
    assert table["problem"].tolist() == ["", "", "file not found"]
    crop = Image.open(tmp_path / "site 1/a.jpg").convert("RGB").crop((20, 15, 60, 45))
    alone = identify([crop], labels, model, k=3)
    assert alone.loc[0, "max_logit"] == pytest.approx(table.loc[0, "max_logit"], abs=1e-4)
    before = copy.deepcopy(content)
    out = exchange.to_megadetector(content, table, labels, made)
    assert content == before == CONTENT
    pairs = out["images"][0]["detections"][0].pop("classifications")
    told, sure = ([f"{what}_{i}" for i in (1, 2, 3)] for what in ("choice", "score"))
    assert [out["classification_categories"][key] for key, _ in pairs] == table.loc[0, told].tolist()
    assert [score for _, score in pairs] == pytest.approx(table.loc[0, sure].tolist(), abs=1e-6)
    assert (
        out["images"][1]["detections"][0].pop("classifications") and json.loads(out["info"].pop("classifier")) == made
    )
    descriptions = out.pop("classification_category_descriptions")
    names = out.pop("classification_categories")
    assert out == CONTENT  # nothing else was touched: the box of a person, the unsure one, the lost and the failed file
    described = {names[key]: text for key, text in descriptions.items()}
    whole = {"Parus major": ";aves;passeriformes;paridae;parus;major;great tit", "Chilopoda": ";chilopoda;;;;;"}
    whole |= {"chair, red": ";;;;;;chair, red", "Oenanthe": described.get("Oenanthe")}
    assert described == {name: whole[name] for name in described}


def test_a_file_of_names_can_be_read_and_named_again(tmp_path, named):
    content, table, labels, made = named
    out = exchange.to_megadetector(content, table, labels, made)
    (tmp_path / "named.json").write_text(json.dumps(out))
    again, photos = exchange.boxes_of_megadetector(tmp_path / "named.json")
    assert [photo.name for photo in photos] == table["file_name"].tolist()
    assert exchange.to_megadetector(again, table, labels, made) == out


def test_darwin_core_comes_back_as_it_went_out(named):
    _, table, _, made = named
    text = exchange.to_darwin_core(table, made).to_csv(index=False)
    back = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    sent = table[(table["problem"] == "") & (table["taxon"] != "")].reset_index(drop=True)
    assert len(sent) == 2
    terms = {
        "file_name": "associatedMedia",
        "taxon": "scientificName",
        "rank": "taxonRank",
        "species": "specificEpithet",
    }
    terms |= {"common_name": "vernacularName"} | {rank: rank for rank in RANKS[:-1]}
    assert back[list(terms.values())].to_numpy().tolist() == sent[list(terms)].to_numpy().tolist()
    scores = [json.loads(said)["probability"] for said in back["identificationRemarks"]]
    assert scores == pytest.approx(sent["score"].tolist(), abs=1e-6)


def test_camtrap_observations_belong_to_their_media(named):
    _, table, _, made = named
    media = pd.DataFrame({"mediaID": ["m1", "m2", "m3"], "deploymentID": ["d", "d", "e"]})
    media = media.assign(timestamp="2024-05-01T10:00:00Z", filePath=["b.jpg", "site 1/a.jpg", "lost.jpg"])
    rows = exchange.to_camtrap_dp(table, media, made)
    assert rows["mediaID"].tolist() == ["m2", "m1", "m3"] and rows["observationID"].is_unique
    assert rows["observationType"].tolist() == ["animal", "animal", "unclassified"]
    assert rows["scientificName"].tolist() == table["taxon"].tolist()
    assert json.loads(rows["observationComments"][0])["labels_sha256"] == made["labels_sha256"]
    with pytest.raises(InputError, match=r"give the media.csv"):
        exchange.to_camtrap_dp(table, media.iloc[:1], made)


@pytest.mark.parametrize("text", ["{", "[]", '{"images": []}', '{"detection_categories": {}, "images": [{"a": 1}, 3]}'])
def test_what_is_no_file_of_boxes_is_refused(tmp_path, text):
    (tmp_path / "md.json").write_text(text)
    with pytest.raises(InputError, match="no batch output of MegaDetector"):
        exchange.boxes_of_megadetector(tmp_path / "md.json")


def test_boxes_are_photographs(named, tmp_path):
    _, photos = exchange.boxes_of_megadetector(tmp_path / "md.json")
    assert list_photos(photos) == photos


def test_the_command_writes_the_forms(tmp_path, named, model, monkeypatch):
    monkeypatch.setattr(command, "load_model", lambda address: model)
    (tmp_path / "labels.txt").write_text("one\ntwo\n")
    (tmp_path / "media.csv").write_text(
        "mediaID,deploymentID,timestamp,filePath\n1,d,t,b.jpg\n2,d,t,site 1/a.jpg\n3,d,t,lost.jpg\n"
    )
    paths = {
        name: str(tmp_path / name) for name in ("md.json", "labels.txt", "out.csv", "named.json", "dwc.csv", "obs.csv")
    }
    argv = [
        paths["md.json"],
        "--model",
        "x",
        "--labels",
        paths["labels.txt"],
        "--out",
        paths["out.csv"],
        "--floor",
        "0",
    ]
    argv += ["--megadetector", paths["named.json"], "--darwin-core", paths["dwc.csv"]]
    assert command.main([*argv, "--camtrap-dp", str(tmp_path / "media.csv"), paths["obs.csv"]]) == 0
    assert len(json.loads((tmp_path / "named.json").read_text())["classification_categories"]) == 2
    assert pd.read_csv(paths["dwc.csv"])["scientificName"].isin(["one", "two"]).all()
    assert pd.read_csv(paths["obs.csv"])["mediaID"].tolist() == [2, 1, 3]
    assert command.main([str(tmp_path / "b.jpg"), *argv[1:]]) == 2
