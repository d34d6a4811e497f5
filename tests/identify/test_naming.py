"""Trees by hand and by law: sums, ties, gaps, one lineage, the floor."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_lib import RANKS
from bioclip_lib.errors import InputError
from bioclip_lib.identify import LabelSet, answers, combine, name_features
from bioclip_lib.identify.labels import COLUMNS, Tree
from bioclip_lib.identify.naming import trusted_depth

BIRDS = ("Animalia", "Chordata", "Aves")
ROWS = [
    ("tit", *BIRDS, "Passeriformes", "Paridae", "Parus", "major", "Great tit"),
    ("blue", *BIRDS, "Passeriformes", "Paridae", "Cyanistes", "caeruleus", "Blue tit"),
    ("again", *BIRDS, "Passeriformes", "Paridae", "Parus", "major", "Titmouse"),
    ("eggs", "Animalia", "Arthropoda", "Copepoda", "", "", "", "", ""),
    ("gap", *BIRDS, "", "Podargidae", "Podargus", "ocellatus", "Frogmouth"),
    ("gap2", *BIRDS, "Podargiformes", "Podargidae", "Podargus", "papuensis", "Other frogmouth"),
    ("tree", "Plantae", "Tracheophyta", "Magnoliopsida", "Sapindales", "Sapindaceae", "Acer", "rubrum", "Érable rouge"),
    ("a chair, red", *[""] * 7, ""),
]


def label_set(rows=ROWS, weights=None, group=""):
    names = pd.DataFrame(rows, columns=["label", *RANKS, "common_name"]).assign(group=group)
    names = names.reindex(columns=list(COLUMNS), fill_value="")
    return LabelSet(names, np.eye(len(rows), dtype=np.float32) if weights is None else weights, {})


def features_for(probabilities):
    """Return features whose softmax over one-hot labels has these probabilities."""
    return np.log(np.atleast_2d(probabilities)).astype(np.float32)


P = [0.3, 0.2, 0.15, 0.05, 0.1, 0.08, 0.07, 0.05]  # of the rows above


def test_probabilities_add_up_the_tree():
    labels = label_set()
    sums = dict(zip(RANKS, labels.tree.sums(np.array([P])), strict=True))
    assert sums["species"][0] == pytest.approx([0.45, 0.2, 0.05, 0.1, 0.08, 0.07, 0.05])
    assert sums["genus"][0] == pytest.approx([0.45, 0.2, 0.05, 0.1, 0.08, 0.07, 0.05])
    assert sums["family"][0] == pytest.approx([0.65, 0.05, 0.1, 0.08, 0.07, 0.05])  # Podargidae in two orders is two
    assert sums["class"][0] == pytest.approx([0.83, 0.05, 0.07, 0.05])
    assert sums["kingdom"][0] == pytest.approx([0.88, 0.07, 0.05])


def test_choices_of_each_rank():
    labels = label_set(group=["green", "green", "green", "", "odd", "odd", "green", "odd"])
    asked = {rank: name_features(features_for(P), labels, 1.0, rank, k=3) for rank in (*RANKS, "label", "group")}
    called = {rank: list(labels.called(found.choices[0], rank)) for rank, found in asked.items()}
    assert called["species"] == ["Parus major", "Cyanistes caeruleus", "Podargus ocellatus"]
    assert called["label"] == ["tit", "blue", "again"]
    assert called["family"] == ["Paridae", "Podargidae", "Podargidae"]
    assert called["kingdom"] == ["Animalia", "Plantae", "a chair, red"]
    assert called["group"] == ["green", "odd", ""]
    assert asked["group"].scores[0] == pytest.approx([0.72, 0.23, 0.05])
    assert asked["kingdom"].scores[0] == pytest.approx([0.88, 0.07, 0.05])
    order = labels.called(name_features(features_for(P), labels, 1.0, "order", k=9).choices[0], "order")
    assert list(order) == ["Passeriformes", "Aves", "Podargiformes", "Sapindales", "Copepoda", "a chair, red"]


@pytest.mark.parametrize(
    ("floor", "taxon", "rank", "score", "common"),
    [
        (0.4, "Parus major", "species", 0.45, "Great tit"),
        (0.46, "Paridae", "family", 0.65, ""),
        (0.8, "Aves", "class", 0.83, ""),
        (0.88, "Animalia", "kingdom", 0.88, ""),
        (0.9, "", "", np.nan, ""),
    ],
)
def test_the_answer_is_the_deepest_that_clears_the_floor(floor, taxon, rank, score, common):
    labels = label_set()
    row = answers(name_features(features_for(P), labels, 1.0), labels, floor).iloc[0]
    assert (row["taxon"], row["rank"], row["common_name"]) == (taxon, rank, common)
    assert row["score"] == pytest.approx(score, nan_ok=True)
    known = [row[name] for name in RANKS]
    assert [bool(value) for value in known] == [True] * (RANKS.index(rank) + 1 if rank else 0) + [False] * (
        6 - RANKS.index(rank) if rank else 7
    )


def test_one_lineage_never_the_winner_of_each_rank():
    rows = [(f"a{i}", "A", "A1", "A2", "A3", "A4", f"A5{i}", f"e{i}", "") for i in range(4)]
    rows += [("b", "B", "B1", "B2", "B3", "B4", "B5", "f", "")]
    labels = label_set(rows)
    found = name_features(features_for([0.16, 0.15, 0.14, 0.15, 0.4]), labels, 1.0)
    assert labels.called(found.choices[:, 0], "species")[0] == "B5 f"  # wins its rank
    row = answers(found, labels, 0.3).iloc[0]
    assert (row["taxon"], row["rank"]) == ("A4", "family")  # the kingdom that wins does not hold it


def test_absent_middle_ranks_are_passed_and_a_blank_is_no_answer():
    labels = label_set()
    gap = answers(name_features(features_for([0.01] * 4 + [0.93] + [0.01] * 3), labels, 1.0), labels).iloc[0]
    assert (gap["taxon"], gap["order"], gap["family"]) == ("Podargus ocellatus", "", "Podargidae")
    eggs = answers(name_features(features_for([0.01] * 3 + [0.93] + [0.01] * 4), labels, 1.0), labels).iloc[0]
    assert (eggs["taxon"], eggs["rank"]) == ("Copepoda", "class")
    odd = answers(name_features(features_for([0.01] * 7 + [0.93]), labels, 1.0), labels).iloc[0]
    assert (odd["taxon"], odd["rank"], odd["kingdom"]) == ("a chair, red", "", "")


def test_a_label_that_is_called_like_a_kingdom_stands_for_itself():
    rows = [("tit", *BIRDS, "Passeriformes", "Paridae", "Parus", "major", ""), ("Animalia", *[""] * 7, "")]
    for dtype in (object, "str"):
        names = label_set(rows).names.astype({"label": dtype})
        assert [len(first) for first in Tree(names).first] == [2] * 7


def test_labels_that_differ_by_their_common_name_alone_are_one_species_and_two_labels():
    labels = label_set(ROWS[:3])
    found = name_features(features_for([0.3, 0.4, 0.3]), labels, 1.0, "species", k=3)
    assert found.scores[0].tolist() == pytest.approx([0.6, 0.4])
    row = answers(found, labels, 0.5).iloc[0]
    assert (row["taxon"], row["common_name"]) == ("Parus major", "Great tit")
    by_label = name_features(features_for([0.3, 0.4, 0.3]), labels, 1.0, "label", k=3)
    assert labels.called(by_label.choices[0], "label").tolist() == ["blue", "tit", "again"]


def test_ties_go_to_the_first_label_wherever_it_stands():
    rng = np.random.default_rng(0)
    one = rng.standard_normal(37).astype(np.float32)
    rows = [(f"l{i}", "K", "P", "C", "O", "F", f"G{i}", "e", "") for i in range(301)]
    labels = label_set(rows, np.tile(one, (301, 1)))
    found = name_features(rng.standard_normal((5, 37)).astype(np.float32), labels, 10.0, k=4)
    assert (found.choices == np.arange(4)).all()
    assert found.scores == pytest.approx(1 / 301)


def test_one_label_and_more_choices_than_labels():
    labels = label_set(ROWS[:1])
    found = name_features(np.ones((2, 1), np.float32), labels, 100.0, k=5)
    assert found.choices.tolist() == [[0], [0]] and found.scores == pytest.approx(1)
    assert answers(found, labels)["taxon"].tolist() == ["Parus major"] * 2


@pytest.mark.parametrize(
    ("features", "rank", "k"), [((2, 3), "species", 5), ((2, 8), "tribe", 5), ((2, 8), "genus", 0)]
)
def test_what_does_not_fit_is_refused(features, rank, k):
    with pytest.raises(InputError, match=r"choose a rank|same model"):
        name_features(np.ones(features, np.float32), label_set(), 1.0, rank, k)


def test_nan_is_refused():
    with pytest.raises(InputError, match="NaN"):
        name_features(np.full((1, 8), np.nan, np.float32), label_set(), 1.0)


def test_memory_is_that_of_a_batch(monkeypatch):
    labels, rng = label_set(), np.random.default_rng(1)
    features = rng.standard_normal((23, 8)).astype(np.float32)
    whole = name_features(features, labels, 5.0)
    monkeypatch.setattr("bioclip_lib.identify.naming._SCORES", 24)
    monkeypatch.setattr("bioclip_lib.identify.naming._BLOCK", 3)
    parts = name_features(features, labels, 5.0)
    for a, b in zip(whole[1:], parts[1:], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


ranks = st.lists(st.sampled_from(["", "x", "y"]), min_size=7, max_size=7)


@settings(max_examples=20)
@given(st.lists(ranks, min_size=1, max_size=9), st.integers(0, 2**31))
def test_laws_of_the_tree(rows, seed):
    names = pd.DataFrame(rows, columns=list(RANKS)).assign(label=[f"l{i}" for i in range(len(rows))])
    tree = Tree(names)
    p = np.random.default_rng(seed).dirichlet(np.ones(len(rows)), size=3)
    sums = tree.sums(p)
    for values in sums:
        assert values.sum(axis=1) == pytest.approx(1)
    taxa, trust = tree.lineages(sums)
    assert (np.diff(trust, axis=1) <= 1e-12).all()
    for depth in range(1, 7):
        assert (tree.above[depth][taxa[:, depth]] == taxa[:, depth - 1]).all()
        assert (tree.above[depth][tree.codes[depth]] == tree.codes[depth - 1]).all()
    labels = LabelSet(names.reindex(columns=list(COLUMNS), fill_value=""), np.eye(len(rows), dtype=np.float32), {})
    naming = name_features(features_for(p + 1e-9), labels, 1.0)
    deeper = [trusted_depth(naming, labels, floor) for floor in (0.9, 0.5, 0.1)]
    assert (deeper[0] <= deeper[1]).all() and (deeper[1] <= deeper[2]).all()


def test_photographs_of_an_event_are_named_by_the_mean_of_their_logits():
    labels = label_set()
    one, other = [0.5, 0.3, *[0.2 / 6] * 6], [0.3, 0.6, *[0.1 / 6] * 6]
    names, features = combine(features_for([one, other, P]), np.array(["b", "b", "a"]))
    assert names.tolist() == ["a", "b"]
    product = np.sqrt(np.array(one) * np.array(other))  # the mean of logits is the geometric mean of odds
    found = name_features(features, labels, 1.0, "label", k=8)
    assert found.scores[1] == pytest.approx(sorted(product / product.sum(), reverse=True))
    assert labels.called(found.choices[:, 0], "label").tolist() == ["tit", "blue"]
