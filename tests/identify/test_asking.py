"""Photographs of every kind in, a row each out; broken ones with their reason; the command line, interrupted."""

import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bioclip_lib import RANKS
from bioclip_lib.errors import InputError
from bioclip_lib.identify import Photo, answers, asking, identify, labels_of_names, list_photos, name_features, photos
from bioclip_lib.identify import __main__ as command
from bioclip_lib.model import encode_images
from bioclip_lib.model.features import read_features

NAMES = pd.DataFrame({"label": ["one", "two, three", "four"]})


@pytest.fixture
def labels(model):
    return labels_of_names(NAMES, model)


def test_a_folder_is_named_row_by_row_with_the_reasons(tmp_path, write_image, model, labels):
    files = [write_image(tmp_path / "new" / "deep" / f"{i}.jpg", seed=i) for i in range(7)]
    (tmp_path / "new" / "broken.jpg").write_bytes(files[0].read_bytes()[:300])
    (tmp_path / "new" / "notes.txt").write_text("x")
    table = identify(tmp_path / "new", labels, model, k=2, batch_size=3)
    assert table["file_name"].tolist() == [str(tmp_path / "new" / "broken.jpg"), *map(str, files)]
    assert table["problem"].tolist() == ["truncated or corrupt", *[""] * 7]
    assert table.loc[0, "choice_1"] == "" and np.isnan(table.loc[0, "score_1"])
    scale = model.model.logit_scale.exp().item()
    wanted = answers(name_features(encode_images(model.model, files), labels, scale, k=2), labels)
    pd.testing.assert_frame_equal(table.loc[1:, list(wanted)].reset_index(drop=True), wanted, atol=1e-5)


def test_photographs_come_in_every_form(tmp_path, write_image):
    files = [write_image(tmp_path / "new" / f"{name}.png", seed=1) for name in "ab"]
    (tmp_path / "list.csv").write_text("path,name\nnew/b.png,x\nnew/a.png,y\nnew/c.png,z\n")
    named = lambda given: [photo.name for photo in list_photos(given)]  # noqa: E731
    assert named(tmp_path / "new") == named(f"{tmp_path}/new/*.png") == named(files) == list(map(str, files))
    assert named(tmp_path / "list.csv") == ["new/b.png", "new/a.png", "new/c.png"]
    image = Image.open(files[0])
    assert named([image, np.asarray(image), Photo("mine", image)]) == ["0", "1", "mine"]


@pytest.mark.parametrize("given", [[], "nowhere.jpg", "nothing/*.jpg"])
def test_no_photograph_is_a_mistake(given):
    with pytest.raises(InputError, match="give photographs"):
        list_photos(given)


def test_pixels_boxes_and_files_are_the_same_photograph(tmp_path, write_image, model):
    path = write_image(tmp_path / "a.png", size=(60, 40))
    image = Image.open(path)
    wide = Image.new("RGB", (120, 80))
    wide.paste(image, (30, 20))
    wide.save(tmp_path / "wide.png")
    forms = [str(path), image, np.asarray(image), f"{tmp_path}/wide.png#xywh=percent:25,25,50,50"]
    ((problems, features),) = photos.features_of(list_photos(forms), model)
    assert problems == [""] * 4
    for row in features[1:]:
        np.testing.assert_allclose(row, features[0], atol=1e-5)
    odd = [f"{path}#xywh=percent:100,0,50,100", np.zeros((2, 2, 7), np.uint8), np.zeros((2, 2))]
    ((problems, features),) = photos.features_of(list_photos(odd), model)
    assert (
        problems[0] == "box outside the photograph"
        and all("not an image" in p for p in problems[1:])
        and not len(features)
    )


def test_cmyk_deep_turned_and_animated_images(tmp_path, model, labels):
    grey = np.linspace(0, 60_000, 40 * 30).reshape(30, 40).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    Image.new("CMYK", (40, 30), (0, 90, 10, 0)).save(tmp_path / "cmyk.jpg")
    frames = [Image.new("P", (40, 30), n) for n in range(3)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    half = Image.new("RGB", (40, 30), "white")
    half.paste("black", (0, 0, 40, 15))
    exif = Image.Exif()
    exif[0x0112] = 6
    half.rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    half.save(tmp_path / "upright.png")
    table = identify(tmp_path, labels, model).set_index("file_name")
    assert (table["problem"] == "").all() and len(table) == 5
    turned, upright = (table.loc[str(tmp_path / f"{n}.png"), "max_logit"] for n in ("turned", "upright"))
    assert turned == pytest.approx(upright, abs=1e-4)


def test_photographs_of_which_none_can_be_read_keep_their_rows(tmp_path, model):
    (tmp_path / "a.jpg").write_text("no")
    (tmp_path / "b.docx").write_text("no")
    rows = [("great tit", "A", "B", "C", "D", "E", "F", "g"), ("coal tit", "A", "B", "C", "D", "E", "F", "h")]
    kin = labels_of_names(pd.DataFrame(rows, columns=["label", *RANKS]), model)
    for rank in ("species", "kingdom", "label"):
        table = identify([str(tmp_path / "a.jpg"), str(tmp_path / "b.docx")], kin, model, rank, k=2)
        assert table["problem"].tolist() == ["not an image", "not an image"] and (table["taxon"] == "").all()
        assert table["choice_1"].tolist() == ["", ""] and table["score"].isna().all()


def test_labels_of_another_model_and_hyperbolic_ones_are_refused(model, labels, image_folder):
    other = model.__class__(model.model, model.preprocess, model.tokenizer, "test:other", "0")
    with pytest.raises(InputError, match="were made with test:small, not with test:other"):
        identify(image_folder, labels, other)
    curved = model.__class__(model.model, model.preprocess, None, "hf-hub:imageomics/bioclip-hc-hyperbolic", "0")
    with pytest.raises(InputError, match="no cosine"):
        identify(image_folder, labels, curved)


@pytest.mark.parametrize("ending", ["csv", "parquet", "json"])
def test_the_command_goes_on_where_it_was_stopped(tmp_path, write_image, model, monkeypatch, capsys, ending):
    for i in range(6):
        write_image(tmp_path / "new" / f"{i}.jpg", seed=i)
    (tmp_path / "labels.txt").write_text("one\ntwo, three\nfour\n")
    monkeypatch.setattr(command, "load_model", lambda address: model)
    monkeypatch.setattr(asking, "_PART", 2)
    out = tmp_path / f"names.{ending}"
    argv = [str(tmp_path / "new"), "--model", "x", "--labels", str(tmp_path / "labels.txt"), "--out", str(out)]
    seen, whole = [], asking.features_of

    def stopped(some, *args):
        seen.extend(photo.name for photo in some)
        if len(seen) == 4:
            raise KeyboardInterrupt
        return whole(some, *args)

    monkeypatch.setattr(asking, "features_of", stopped)
    assert command.main(argv) == 130 and not out.exists() and len(seen) == 4
    assert command.main(argv) == 0
    assert len(seen) == 8  # the first two were not named again
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet, "json": pd.read_json}[ending](out)
    assert read["choice_1"].isin(NAMES["label"]).all() and len(read) == 6
    assert json.loads((tmp_path / f"names.{ending}.made_of.json").read_text())["n_photographs"] == 6
    assert "6 of 6 photographs read" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir() if "parts" in path.name) == []


def test_events_are_named_by_all_their_photographs(tmp_path, write_image, model, labels):
    files = [write_image(tmp_path / f"{i}.jpg", seed=i) for i in range(5)]
    (tmp_path / "broken.jpg").write_bytes(b"no")
    rows = zip([*files[:4], tmp_path / "broken.jpg", files[4]], ["fox", "cat", "fox", "fox", "lost", ""], strict=True)
    pd.DataFrame(rows, columns=["path", "Animal"]).to_csv(tmp_path / "list.csv", index=False)
    listed = list_photos(tmp_path / "list.csv", events="Animal")
    out, vectors = tmp_path / "names.csv", tmp_path / "vectors.parquet"
    whole = asking.write_answers(out, listed, labels, model, "label", 2, asking.Trust(), 2, embeddings=vectors)
    table = pd.read_csv(tmp_path / "names.events.csv")
    assert table["event"].tolist() == ["fox", "cat", "lost", str(files[4])]
    assert table["n_photographs"].tolist() == [3, 1, 0, 1]
    assert table["problem"].fillna("").tolist() == ["", "", "no photograph could be read", ""]
    features = encode_images(model.model, files)
    scale = model.model.logit_scale.exp().item()
    mean = features[[0, 2, 3]].mean(axis=0, keepdims=True)  # the mean of logits
    found = name_features(mean, labels, scale, "label", k=2)
    assert table.loc[0, ["score_1", "score_2"]].tolist() == pytest.approx(found.scores[0].tolist(), abs=1e-4)
    one = table.loc[1, ["choice_1", "score_1"]].tolist()
    assert one[0] == whole.loc[1, "choice_1"] and one[1] == pytest.approx(whole.loc[1, "score_1"], abs=1e-4)
    names, stored, digests = read_features(vectors)
    assert names == [str(file) for file in files]
    np.testing.assert_allclose(stored, features, atol=1e-5)
    assert digests["model_digest"] == model.digest


def test_photographs_of_a_folder_are_an_event(tmp_path, write_image):
    for name in ("a/1.jpg", "a/2.jpg", "b/3.jpg"):
        write_image(tmp_path / name)
    assert [Path(photo.event).name for photo in list_photos(tmp_path, events="folder")] == ["a", "a", "b"]
    assert {photo.event for photo in list_photos(tmp_path)} == {""}
    with pytest.raises(InputError, match="is no table and has no column 'animal'"):
        list_photos(tmp_path, events="animal")
    (tmp_path / "list.csv").write_text("path,name\na/1.jpg,x\n")
    with pytest.raises(InputError, match="no column for the event"):
        list_photos(tmp_path / "list.csv", events="animal")


def test_a_mistake_on_the_command_line_is_one_line(tmp_path, capsys):
    assert command.main([str(tmp_path / "none.jpg")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_what_looks_like_no_candidate_is_counted(image_folder, model, labels):
    photos = list_photos(sorted(map(str, image_folder.rglob("1.jpg"))))
    logits = identify(photos, labels, model)["max_logit"]
    table = identify(photos, labels, model, trust=asking.Trust(known_from=logits.max()))
    assert (table["unknown"] == "yes").tolist() == (logits < logits.max()).tolist()
    assert "3 look like none of the candidates: yes in column unknown" in command._summary(table, "names.csv")


def test_classes_are_added_to_those_of_a_run_alone(tmp_path, image_folder, model, monkeypatch, capsys):
    monkeypatch.setattr(command, "load_model", lambda address: model)
    (tmp_path / "labels.txt").write_text("one\ntwo\n")
    argv = [str(image_folder), "--model", "x", "--labels", str(tmp_path / "labels.txt"), "--add", str(image_folder)]
    assert command.main(argv) == 2 and "give --run" in capsys.readouterr().err


def huge_png(side_px: int) -> bytes:
    """A PNG that says it has this size, and holds nothing."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", side_px, side_px, 8, 2, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(x)) + kind + x + struct.pack(">I", zlib.crc32(kind + x)) for kind, x in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


BROKEN = {
    "cut": (lambda path, good: path.write_bytes(good[: len(good) // 3]), "truncated"),
    "zero": (lambda path, _: path.write_bytes(b""), "zero bytes"),
    "text": (lambda path, _: path.write_text("a list of birds"), "not an image"),
    "page": (lambda path, _: path.write_text("<!DOCTYPE html><html>404</html>"), "not an image"),
    "huge": (lambda path, _: path.write_bytes(huge_png(60_000)), "too large"),
    "folder": (lambda path, _: path.mkdir(), "an empty folder"),
    "gone": (lambda path, _: path.symlink_to("nowhere.jpg"), "file not found"),
    "circle": (lambda path, _: path.symlink_to(path.name), "unreadable"),
    "pipe": (lambda path, _: os.mkfifo(path), "not a regular file"),
    "locked": (lambda path, good: (path.write_bytes(good), path.chmod(0)), "unreadable (Permission denied)"),
}
"""By kind: how a file is broken, and how the reason begins."""
if os.name == "nt":
    BROKEN = {kind: BROKEN[kind] for kind in ("cut", "zero", "text", "page", "huge", "folder")}
elif os.geteuid() == 0:  # who may read everything
    del BROKEN["locked"]


def test_what_is_broken_in_a_large_folder_stops_nothing(tmp_path, write_image, model, monkeypatch, capsys):
    good = write_image(tmp_path / "good.jpg", size=(20, 16)).read_bytes()
    (tmp_path / "new" / "site").mkdir(parents=True)
    for i in range(300):
        (tmp_path / "new" / "site" / f"{i:03d}.jpg").write_bytes(good)
    for i, (how, _) in enumerate(BROKEN.values()):
        how(tmp_path / "new" / "site" / f"{300 + i}.jpg", good)
    (tmp_path / "labels.txt").write_text("one\ntwo, three\nfour\n")
    monkeypatch.setattr(command, "load_model", lambda address: model)
    monkeypatch.setattr(asking, "_PART", 100)
    argv = [f"{tmp_path}/new", "--model", "x", "--labels", f"{tmp_path}/labels.txt", "--out", f"{tmp_path}/n.csv"]
    calls, whole = [], asking.features_of

    def stopped_once(some, *args):
        calls.append(len(some))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(some, *args)

    monkeypatch.setattr(asking, "features_of", stopped_once)
    assert command.main(argv) == 130 and command.main(argv) == 0
    assert calls == [100, 100, 100, 100, len(BROKEN)]  # the first two parts were not named again
    table = pd.read_csv(tmp_path / "n.csv", keep_default_na=False).set_index("file_name")["problem"]
    assert len(table) == 300 + len(BROKEN) and table.index.is_unique and (table == "").sum() == 300
    for i, (kind, (_, reason)) in enumerate(BROKEN.items()):
        assert table[f"{tmp_path}/new/site/{300 + i}.jpg"].startswith(reason), kind
    said = capsys.readouterr().out
    assert f"300 of {300 + len(BROKEN)} photographs read" in said and "more, in column problem" in said


def test_boxes_of_a_camtrap_package_are_photographs(tmp_path, write_image, model, labels):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        write_image(tmp_path / "dp" / "media" / name, size=(80, 60), seed=len(name))
    (tmp_path / "dp" / "datapackage.json").write_text("{}")
    (tmp_path / "dp" / "media.csv").write_text(
        "mediaID,deploymentID,timestamp,filePath,fileMediatype\n"
        + "".join(f"m{n},d,2024-05-01T10:00:00Z,media/{n}.jpg,image/jpeg\n" for n in "abcx")
    )
    (tmp_path / "dp" / "observations.csv").write_text(
        "observationID,deploymentID,mediaID,eventID,observationType,scientificName,bboxX,bboxY,bboxWidth,bboxHeight\n"
        "1,d,ma,e1,animal,,0.25,0.25,0.5,0.5\n2,d,mb,e1,unclassified,,,,,\n3,d,mc,e2,human,,,,,\n4,d,mx,e2,animal,,,,,\n"
    )
    photos = list_photos(tmp_path / "dp", events="event")
    assert [photo.event for photo in photos] == ["e1", "e1", "e2", "e2"]
    table = identify(photos, labels, model, k=1)
    assert table["problem"].tolist()[:2] == ["", ""] and "(human)" in table["problem"][2]
    assert table["problem"][3] != "" and table["file_name"][0].startswith("ma")
    box = Image.open(tmp_path / "dp/media/a.jpg").crop((20, 15, 60, 45))
    assert identify([box], labels, model, k=1).loc[0, "max_logit"] == pytest.approx(table.loc[0, "max_logit"], abs=1e-4)


def test_without_a_run_or_a_model_nothing_is_named(image_folder, capsys):
    assert command.main([str(image_folder)]) == 2
    assert "no model is given; pass RUN=path/to/run" in capsys.readouterr().err
