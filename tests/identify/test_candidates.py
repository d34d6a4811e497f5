"""Label sets: made, cached, published, kept to a clade; and nothing is ever unpickled."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from bioclip_lib import RANKS
from bioclip_lib.config import ModelConfig
from bioclip_lib.errors import InputError
from bioclip_lib.evaluation.zero_shot import zero_shot_weights
from bioclip_lib.identify import candidates, labels_of_names, name_features, read_candidates, read_labels
from bioclip_lib.identify.asking import check_model
from bioclip_lib.model import build_model, encode_texts
from bioclip_lib.model.load import LoadedModel
from bioclip_lib.model.text import read_templates

TITS = ("Animalia", "Chordata", "Aves", "Passeriformes", "Paridae")
TABLE = pd.DataFrame(
    [
        ("great tit", *TITS, "Parus", "major", "species", "Great tit"),
        ("Oenanthe", "Animalia", "Chordata", "Aves", "Passeriformes", "Muscicapidae", "Oenanthe", "", "genus", ""),
        ("dropwort", "Plantae", "Tracheophyta", "Magnoliopsida", "Apiales", "Apiaceae", "Oenanthe", "", "genus", ""),
        ("chair, red", *[""] * 7, "", ""),
        ("Erdläufer Ø", "Animalia", "Arthropoda", "Chilopoda", "", "", "", "", "class", ""),
    ],
    columns=["label", *RANKS, "rank", "common_name"],
)


def write_published(folder, weights, names, stem="txt_emb_species"):
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{stem}.npy", weights)
    (folder / f"{stem}.json").write_text(json.dumps(names), encoding="utf-8")
    return folder


def test_texts_are_what_the_model_says_of_each_label(model):
    labels = labels_of_names(TABLE, model, templates="none")
    encode = lambda texts: encode_texts(model.model, texts, model.tokenizer)  # noqa: E731
    said = [f"{' '.join(TABLE.loc[0, list(RANKS)])} with common name Great tit", "chair, red"]
    np.testing.assert_allclose(labels.weights[[0, 3]], zero_shot_weights(encode, said), atol=1e-3)
    assert labels.names["label"].tolist() == TABLE["label"].tolist()
    asis = labels_of_names(TABLE, model, "asis", "none")
    np.testing.assert_allclose(asis.weights[[1]], zero_shot_weights(encode, ["Oenanthe"]), atol=1e-3)


def test_texts_are_encoded_once_and_again_where_anything_differs(model, cache, monkeypatch):
    first = labels_of_names(TABLE, model)
    assert isinstance(first.weights, np.memmap) and first.weights.dtype == np.float16
    asked = []
    monkeypatch.setattr(candidates, "encode_texts", lambda *args, **kw: asked.append(1) or encode_texts(*args, **kw))
    again = labels_of_names(TABLE, model)
    assert not asked and again.digest == first.digest
    assert {**again.made_of}["text_type"] == "taxon_com" and again.made_of["model_sha256"] == model.digest
    assert labels_of_names(TABLE, model, "asis").digest != first.digest and asked
    assert labels_of_names(TABLE.iloc[:4], model).digest != first.digest
    assert len(list(cache.iterdir())) == 3


def test_names_are_resolved_and_what_is_no_taxon_stands_for_itself(model):
    labels = labels_of_names(["Parus major", "a chair, red"], model)
    assert labels.names.loc[0, list(RANKS)].tolist() == [*TITS[:1], "Chordata", "Aves", *TITS[3:], "Parus", "major"]
    assert labels.names.loc[1, list(RANKS)].tolist() == [""] * 7


@pytest.mark.parametrize("names", [[], ["a", "a"], ["a", " "]])
def test_labels_are_given_once(model, names):
    with pytest.raises(InputError, match="give each candidate once"):
        labels_of_names(pd.DataFrame({"label": names}), model)


def test_a_file_of_names_keeps_commas_ranks_and_bins(tmp_path):
    (tmp_path / "names.txt").write_text("chair, red\nParus major\n\n", encoding="utf-8")
    assert read_candidates(tmp_path / "names.txt") == ["chair, red", "Parus major"]
    TABLE.assign(bin=list("aabbb")).to_csv(tmp_path / "names.csv", index=False)
    table = read_candidates(tmp_path / "names.csv")
    assert table["label"].tolist() == TABLE["label"].tolist() and table["group"].tolist() == list("aabbb")
    assert table[list(RANKS)].to_numpy().tolist() == TABLE[list(RANKS)].to_numpy().tolist()
    (tmp_path / "two.csv").write_text('name,bin\n"chair, red",furniture\nParus major,bird\n', encoding="utf-8")
    table = read_candidates(tmp_path / "two.csv")
    assert table[["label", "genus", "group"]].to_numpy().tolist() == [
        ["chair, red", "", "furniture"],
        ["Parus major", "Parus", "bird"],
    ]


def test_kept_candidates_are_those_of_the_taxa(model):
    labels = labels_of_names(TABLE, model)
    assert labels.only(["aves"]).names["label"].tolist() == ["great tit", "Oenanthe"]
    assert labels.only(["Parus major", "Chilopoda"]).names["label"].tolist() == ["great tit", "Erdläufer Ø"]
    assert labels.only(["Plantae > Oenanthe"]).names["label"].tolist() == ["dropwort"]
    np.testing.assert_array_equal(labels.only(["Great Tit"]).weights, labels.weights[:1])
    with pytest.raises(InputError, match=r"near: .*parus major"):
        labels.only(["Parus mayor"])


def test_a_name_of_two_lineages_is_refused_with_both(model):
    table = TABLE.assign(label=["great tit", "wheatear", "dropwort", "chair, red", "x"])
    with pytest.raises(InputError, match=r"(?s)several lineages .*Muscicapidae; .*Apiaceae.*'Muscicapidae > Oenanthe'"):
        labels_of_names(table, model).only(["Oenanthe"])


def test_published_embeddings_are_read_as_they_lie(tmp_path):
    weights = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    names = [[[*TITS, "Parus", "major"], "Great tit"], [[*TITS, "Parus", "ater"], None], [["Plantae", *[""] * 6], ""]]
    labels = read_labels(write_published(tmp_path / "embeddings", weights, names).parent)
    np.testing.assert_array_equal(labels.weights, weights.T)
    assert labels.names["label"].tolist() == ["Parus major", "Parus ater", "Plantae"]
    assert labels.names["common_name"].tolist() == ["Great tit", "", ""]
    candidates.write_labels(labels, tmp_path / "ours")
    ours = read_labels(tmp_path / "ours")
    np.testing.assert_allclose(ours.weights, weights.T, rtol=1e-3)
    assert ours.names.to_numpy().tolist() == labels.names.to_numpy().tolist() and ours.made_of["n_labels"] == 3
    assert name_features(weights.T[:1], ours, 9.0).choices[0, 0] == 0


def published_of(folder, model, stem="txt_emb_species"):
    """Write the texts of a model in the published layout: a column a name, all in one genus but two."""
    names = [[[*TITS, "Parus", f"s{n}"], ""] for n in range(18)] + [
        [["Plantae", *[""] * 6], ""],
        [[*TITS, "", ""], "tit"],
    ]
    strings = [
        " ".join(filter(None, ranks)) + (f" with common name {common}" if common else "") for ranks, common in names
    ]
    encode = lambda texts: encode_texts(model.model, texts, model.tokenizer)  # noqa: E731
    return write_published(folder, zero_shot_weights(encode, strings, read_templates("original")[:9]).T, names, stem)


def test_published_texts_are_of_the_model_that_is_asked(tmp_path, model):
    labels = read_labels(published_of(tmp_path / "own", model))
    check_model(labels, model)
    check_model(labels.only(["Plantae"]), model)
    for other, width in ((0, 512), (1, 64)):
        torch.manual_seed(other)
        clip = build_model(ModelConfig(image_size_px=16, vision_layers=1, text_layers=1, embed_dim=width))
        strange = LoadedModel(clip, model.preprocess, model.tokenizer, "run:other", "other")
        with pytest.raises(InputError, match=r"holds texts of another model than run:other .*or names instead"):
            check_model(labels, strange)


@pytest.mark.parametrize(
    ("address", "there", "found"),
    [
        ("bioclip", ["txt_emb_bioclip", "txt_emb_species"], "txt_emb_bioclip"),
        ("bioclip", ["txt_emb_species"], "txt_emb_species"),
        ("bioclip-2", ["txt_emb_bioclip-2", "txt_emb_species"], "txt_emb_bioclip-2"),
        ("bioclip-2.5-vith14", ["txt_emb_bioclip-2.5-vith14"], "txt_emb_bioclip-2.5-vith14"),
        ("biocap", ["txt_emb_biocap", "txt_emb_species"], "txt_emb_biocap"),
        ("biocap", ["txt_emb_species"], ""),  # another model's
    ],
)
def test_each_model_gets_the_texts_that_were_published_for_it(tmp_path, monkeypatch, address, there, found):
    for stem in there:
        write_published(tmp_path / "embeddings", np.zeros((4, 1), np.float32), [[[*TITS, "Parus", "major"], ""]], stem)

    def fetched(repo, name, repo_type):  # what the hub does: a path, or an error of its own
        if not (tmp_path / name).is_file():
            raise FileNotFoundError(f"404: {repo}/{name}")
        return str(tmp_path / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetched)
    if found:
        labels = candidates.published(f"hf-hub:imageomics/{address}")
        assert labels.made_of["published"].endswith(f"/{found}.npy") and len(labels) == 1
    else:
        with pytest.raises(
            InputError, match=r"txt_emb_biocap of imageomics/TreeOfLife-10M cannot be fetched .*--labels"
        ):
            candidates.published(f"hf-hub:imageomics/{address}")


class Trap:
    """What would leave a trace if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("kind", ["array of objects", "pickle"])
def test_nothing_is_unpickled(tmp_path, kind):
    folder, trace = tmp_path / "labels", tmp_path / "trace"
    write_published(folder, np.array([[Trap(trace)]], dtype=object) if kind == "array of objects" else [0.0], [])
    if kind == "pickle":
        (folder / "txt_emb_species.npy").write_bytes(pickle.dumps(Trap(trace)))
    trace.unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"nothing is unpickled: save it again"):
        read_labels(folder)
    assert not trace.exists()


@pytest.mark.parametrize("names", [[], [[["x"] * 7, ""]], [["x" * 7]], {"a": 1}])
def test_names_that_do_not_fit_the_array_are_refused(tmp_path, names):
    with pytest.raises(InputError, match=r"column of numbers a name|is no list of"):
        read_labels(write_published(tmp_path / "labels", np.zeros((4, 3), np.float32), names))


def test_several_published_sets_are_not_chosen_from(tmp_path):
    names = [[[*TITS, "Parus", "major"], ""]]
    write_published(tmp_path, np.zeros((4, 1), np.float32), names)
    write_published(tmp_path, np.ones((4, 1), np.float32), names, "txt_emb_bioclip-2")
    with pytest.raises(InputError, match="itself, or the folder"):
        read_labels(tmp_path)
    assert read_labels(tmp_path / "txt_emb_bioclip-2.npy").weights[0, 0] == 1


def test_a_damaged_set_of_ours_says_what_to_do(tmp_path, model):
    candidates.write_labels(labels_of_names(TABLE, model), tmp_path / "ours")
    (tmp_path / "ours" / "names.parquet").write_bytes(b"no")
    with pytest.raises(InputError, match="delete it and make it again"):
        read_labels(tmp_path / "ours")
