"""Candidates of photographs, by themselves and beside texts, which lie elsewhere in the embedding."""

import numpy as np
import pandas as pd
import pytest

from bioclip_lib.errors import InputError
from bioclip_lib.identify import (
    LabelSet,
    add_images,
    labels_of_images,
    name_features,
    nearest_images,
    read_labels,
    write_labels,
)
from bioclip_lib.identify.photographed import read_classes
from bioclip_lib.identify.trained import Split

from .test_candidates import TABLE
from .test_naming import label_set

SCALE = 30.0
TAXA = pd.DataFrame({"genus": ["Parus", "Corvus"], "species": ["major", "corax"]}, index=["new 0", "new 1"])


def test_five_photographs_make_a_candidate(model):
    rng = np.random.default_rng(2)
    centres = np.linalg.qr(rng.standard_normal((16, 16)))[0][:3].astype(np.float32)
    own = np.repeat(["b", "a", "nobody's"], 5)
    features = np.repeat(centres, 5, axis=0) + 0.05 * rng.standard_normal((15, 16)).astype(np.float32)
    taxa = TABLE.iloc[:3].assign(key=["a", "b", "without an image"]).set_index("key").drop(columns="label")
    labels = labels_of_images(features, own, taxa, model)
    assert labels.names["label"].tolist() == ["a", "b"] and labels.names["genus"].tolist() == ["Parus", "Oenanthe"]
    assert np.linalg.norm(labels.weights, axis=1) == pytest.approx(1)
    assert name_features(centres[:2], labels, 20.0, "label").choices[:, 0].tolist() == [1, 0]
    assert labels.made_of["images"] == 10 and labels.made_of["fewest"] == 5
    with pytest.raises(InputError, match="no class has an image"):
        labels_of_images(features, own, taxa.iloc[2:])


@pytest.fixture(scope="module")
def apart():
    """Return texts of four classes, and images of six: all images share a direction, all texts another."""
    rng = np.random.default_rng(3)
    axes = np.linalg.qr(rng.standard_normal((24, 24)))[0].astype(np.float32)
    unit = lambda rows: rows / np.linalg.norm(rows, axis=-1, keepdims=True)  # noqa: E731
    rows = [(f"l{i}", "K", "P", "C", "O", "F", f"G{i}", "e", "") for i in range(4)]
    texts = label_set(rows, unit(axes[:4] + 1.5 * axes[7]))
    own = np.repeat(np.arange(6), 30)
    noise = 0.25 * rng.standard_normal((len(own), 24)).astype(np.float32)
    return texts, unit(axes[own] + 1.5 * axes[8] + noise), own


def test_classes_of_images_do_not_take_what_belongs_to_texts(apart):
    texts, features, own = apart
    new, known = own >= 4, own < 4
    shot = np.arange(len(own)) % 30 < 5
    names = np.array([f"l{i}" if i < 4 else f"new {i - 4}" for i in own])
    held = known & (np.arange(len(own)) % 2 == 0)
    images = features[new & shot], names[new & shot]
    both = add_images(texts, images, TAXA, (features[held], names[held]), SCALE)
    assert both.names["label"].tolist() == ["l0", "l1", "l2", "l3", "new 0", "new 1"]
    assert both.names["genus"].tolist()[4:] == ["Parus", "Corvus"]
    alone = labels_of_images(*images, TAXA)
    plain = LabelSet(both.names, np.concatenate([texts.weights, alone.weights]), {})
    asked = ~shot & ~held
    right = [
        (name_features(features[asked], each, SCALE, "label").choices[:, 0] == own[asked]) for each in (plain, both)
    ]
    assert right[0][own[asked] < 4].mean() < 0.2  # as they are, the new classes win
    assert right[1][own[asked] < 4].mean() > 0.8 and right[1][own[asked] >= 4].mean() > 0.8
    assert both.made_of["added"]["fewest"] == 5 and both.made_of["added"]["offset"] > 0


def test_what_was_added_is_saved_and_said(apart, tmp_path):
    texts, features, own = apart
    new, names = own >= 4, np.array([f"l{i}" if i < 4 else f"new {i - 4}" for i in own])
    both = add_images(texts, (features[new], names[new]), TAXA, (features[~new], names[~new]), SCALE)
    write_labels(both, tmp_path / "set")
    again = read_labels(tmp_path / "set")
    assert again.made_of["added"]["images"] == 60 and again.names.equals(both.names)
    np.testing.assert_allclose(again.weights, both.weights, atol=2e-3)
    assert again.digest != texts.digest


@pytest.mark.parametrize(
    ("classes", "known", "message"),
    [
        (["new 0", "new 0", "new 1"], "l1", "has a single one; give two"),
        (["l1", "l1", "l1"], "l1", "among the candidates already"),
        (["new 0"] * 3, "other", "none of the candidates"),
    ],
)
def test_what_cannot_be_added_is_refused(apart, classes, known, message):
    texts, features, _ = apart
    taxa = pd.DataFrame({"genus": ["a", "b", "c"]}, index=["new 0", "new 1", "l1"])
    with pytest.raises(InputError, match=message):
        add_images(texts, (features[:3], np.array(classes)), taxa, (features[3:5], np.array([known] * 2)), SCALE)


def test_folders_of_photographs_are_classes(tmp_path, write_image, model):
    for name in ("Parus major/1.jpg", "Parus major/2.jpg", "my gnome/1.jpg"):
        write_image(tmp_path / name, seed=len(name))
    (features, classes), taxa = read_classes(tmp_path, model)
    assert features.shape[0] == 3 and np.linalg.norm(features, axis=1) == pytest.approx(1)
    assert classes.tolist() == ["Parus major", "Parus major", "my gnome"]
    assert taxa.loc["Parus major", "family"] == "Paridae" and taxa.loc["my gnome", "genus"] == ""
    (tmp_path / "my gnome" / "2.jpg").write_bytes(b"no")
    with pytest.raises(InputError, match=r"1 photographs of .* cannot be read .*take them out"):
        read_classes(tmp_path, model)


def test_the_images_most_like_a_photograph_are_shown(monkeypatch):
    monkeypatch.setattr("bioclip_lib.identify.trained._AT_ONCE", 2)
    rows = pd.DataFrame({"class_key": list("abbc"), "scientific_name": list("ABBC"), "location": list("1234")})
    angles = np.array([0.0, 0.5, 0.5, 2.0])
    split = Split(rows.set_axis(pd.Index(list("wxyz"), name="image_id")), np.stack([np.cos(angles), np.sin(angles)], 1))
    asked = np.array([[1.0, 0.0], [np.cos(2.0), np.sin(2.0)], [np.cos(0.5), np.sin(0.5)]])
    found = nearest_images(asked, split, k=3)
    assert found.groupby("photograph")["image_id"].agg("".join).tolist() == ["wxy", "zxy", "xyw"]
    assert found["place"].tolist() == [1, 2, 3] * 3 and found["row"].tolist()[3:5] == [3, 1]
    assert found["cosine"].tolist()[:2] == pytest.approx([1, np.cos(0.5)])
    assert len(nearest_images(asked, split, k=9)) == 3 * 4
