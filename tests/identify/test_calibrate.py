"""Temperature, coverage and unknowns by hand, by law, by simulation, and beside crepes where the tree is flat."""

import numpy as np
import pandas as pd
import pytest
from crepes import ConformalClassifier
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from bioclip_lib import RANKS
from bioclip_lib.errors import InputError
from bioclip_lib.identify import LabelSet, name_features
from bioclip_lib.identify.calibrate import (
    ABSENT,
    UNKNOWN,
    conformal_floor,
    expected_share,
    fit_temperature,
    places,
    wrong_up_to,
)
from bioclip_lib.identify.labels import COLUMNS
from bioclip_lib.identify.trials import compare_rules, coverage_over_draws, judge, risk_by_floor
from bioclip_lib.identify.unknown import attached, folds, known_scores, left_out, nearest_taxon, no_organism, separation

from .test_naming import ROWS, P, features_for, label_set

GRID = [(f"{g}{s}", "K", "P", "C", "O", "F", f"G{g}", f"s{s}", "") for g in range(4) for s in range(3)]


def taxa_of(labels):
    return labels.names[list(RANKS)]


def drawn(labels, n, seed, sharpness=1.0):
    """Draw features whose softmax is a Dirichlet over the candidates, and truths by it; sharper is over-confident."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(len(labels), 0.3), size=n)
    truth = np.array([rng.choice(len(labels), p=row) for row in p])
    return sharpness * features_for(p + 1e-6), truth


def test_places_are_those_of_the_tree():
    labels = label_set()
    asked = pd.DataFrame(
        [
            tuple(taxa_of(labels).iloc[2]),
            (*taxa_of(labels).iloc[0][:5], "Poecile", "montanus"),
            (*taxa_of(labels).iloc[0][:4], "", "", ""),
            ("Fungi", *[""] * 6),
        ],
        columns=list(RANKS),
    )
    found = places(asked, labels)
    assert found[0].tolist() == [labels.tree.codes[d][2] for d in range(7)]
    assert found[1].tolist() == [*found[0][:5], ABSENT, ABSENT]
    assert found[2].tolist() == [*found[0][:4], UNKNOWN, UNKNOWN, UNKNOWN]
    assert found[3, 0] == ABSENT
    assert nearest_taxon(found).tolist() == ["species", "family", "order", ""]


def test_the_score_is_the_highest_probability_of_a_wrong_taxon():
    labels = label_set()
    naming = name_features(features_for([P] * 4), labels, 1.0)  # Parus major .45, Paridae .65, Aves .83, Animalia .88
    asked = taxa_of(labels).iloc[[0, 1, 4, 6]]
    wrong = wrong_up_to(naming, labels, places(asked, labels))
    assert wrong == pytest.approx([0.0, 0.45, 0.65, 0.88])  # right; other genus; other order; other kingdom


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_over_confidence(sharpness):
    labels = label_set(GRID)
    features, truth = drawn(labels, 4_000, 0, sharpness)
    assert fit_temperature(features, truth, labels, 1.0) == pytest.approx(sharpness, rel=0.08)


def test_the_floor_by_hand():
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    assert conformal_floor(scores, 0.5) == pytest.approx(0.5)  # the fifth of (9 + 1) x 0.5
    assert conformal_floor(scores, 0.9) == pytest.approx(0.9)
    assert conformal_floor(scores, 0.91) > 1  # too few images to say
    assert conformal_floor(scores, 0.5) > 0.5  # above it, not at it
    rare = np.array([*["common"] * 8, "rare"])
    assert conformal_floor(scores, 0.6, rare) == pytest.approx(0.9)  # the rare class alone weighs half
    with pytest.raises(InputError, match="give a coverage"):
        conformal_floor(scores, 1.0)


def test_classes_of_one_size_change_nothing():
    scores = np.random.default_rng(0).random(40)
    of = np.arange(40) % 8
    assert conformal_floor(scores, 0.8, of) == conformal_floor(scores, 0.8)


@given(st.integers(0, 10_000), st.sampled_from([0.8, 0.9, 0.95]), st.integers(5, 60))
def test_a_flat_tree_decides_as_crepes(seed, coverage, n):
    rng = np.random.default_rng(seed)
    scores, asked = rng.integers(0, 12, n) / 12, rng.integers(0, 12, 50) / 12
    oracle = ConformalClassifier()
    oracle.fit(scores)
    p = oracle.predict_p(asked[:, None], smoothing=False)[:, 0]
    assert ((asked >= conformal_floor(scores, coverage)) == (p <= 1 - coverage + 1e-12)).all()


@pytest.mark.parametrize("sharpness", [1.0, 4.0])
def test_the_stated_coverage_is_that_of_new_images(sharpness):
    labels = label_set(GRID)
    features, own = drawn(labels, 4_000, 1, sharpness)
    truth = places(taxa_of(labels).iloc[own], labels)
    found = coverage_over_draws(name_features(features, labels, 1.0), labels, (truth, own), (0.7, 0.9))
    mean = found.groupby(["coverage", "of"])["right"].mean()
    for (coverage, _), right in mean.items():
        assert right == pytest.approx(coverage, abs=0.02)  # 5 halves of 2,000 images: standard error 0.5 points


def test_no_floor_covers_less_than_none():
    labels = label_set(GRID)
    features, own = drawn(labels, 400, 5, 6.0)
    naming, truth = name_features(features, labels, 1.0), places(taxa_of(labels).iloc[own], labels)
    found = coverage_over_draws(naming, labels, (truth, own), (0.01, 0.8))
    least = found["least"].to_numpy()
    assert (found["right"] >= least).all() and 0.05 < least.min() and least.max() < 0.8
    low = found[found["coverage"] == 0.01]
    assert (low["right"] == low["least"]).all() and (low["depth"] == 7).all()


def test_the_share_that_one_run_may_show():
    rng = np.random.default_rng(0)
    floors = np.array([conformal_floor(rng.random(60), 0.9) for _ in range(2_000)])
    shares = rng.binomial(500, floors) / 500  # of 500 uniform scores, those below
    low, high = expected_share(0.9, 60, 500)
    assert np.mean((shares >= low) & (shares <= high)) == pytest.approx(0.95, abs=0.015)  # standard error 0.005
    assert expected_share(0.9, 8, 40) == (1.0, 1.0)  # too few: nothing is answered
    assert expected_share(0.9, 1_000_000, 1_000_000) == pytest.approx((0.9, 0.9), abs=0.001)


def test_rules_beside_each_other():
    rows = [(f"a{i}", "A", "A1", "A2", "A3", "A4", f"A5{i}", f"e{i}", "") for i in range(4)]
    labels = label_set([*rows, ("b", "B", "B1", "B2", "B3", "B4", "B5", "f", "")])
    features = features_for([[0.16, 0.15, 0.14, 0.15, 0.4], [0.9, 0.025, 0.025, 0.025, 0.025]])
    truth = places(taxa_of(labels).iloc[[1, 0]], labels), np.array(["x", "y"])
    table = compare_rules(features, truth, labels, 1.0, {"low": 0.3, "high": 0.65}).set_index(["rule", "taxa"])
    ours, theirs = table.loc[("low", "one lineage")], table.loc[("low", "winner of each rank")]
    assert (ours["value"], ours["depth"], ours["broken"]) == (1.0, 6.0, 0.0)  # family and species
    assert (theirs["value"], theirs["depth"], theirs["broken"]) == (0.5, 7.0, 0.5)  # B5 f below the kingdom A
    assert table.loc[("high", "winner of each rank"), "broken"] == 0
    assert judge(name_features(features, labels, 1.0), labels, truth[0], 0.98)["depth"].tolist() == [0, 0]
    risk = risk_by_floor(name_features(features, labels, 1.0), labels, truth[0])
    species = risk[risk["rank"] == "species"].set_index("floor")
    assert species.loc[0.0, ["answered", "risk"]].tolist() == [1.0, 0.5]
    assert (species["answered"].diff().dropna() <= 0).all()


def test_where_an_unknown_belongs():
    labels = label_set()
    naming = name_features(features_for([P] * 7), labels, 1.0)  # Parus major, of Paridae, of Passeriformes
    own = taxa_of(labels)
    asked = pd.DataFrame(
        [
            (*own.iloc[0][:5], "Poecile", "montanus"),  # joins at Paridae
            (*own.iloc[0][:4], "Corvidae", "Corvus", "corax"),  # at Passeriformes
            (*own.iloc[0][:3], "Podargiformes", "Podargidae", "Batrachostomus", "auritus"),  # at a family elsewhere
            ("Fungi", *[""] * 6),  # at nothing
        ]
        + [(*own.iloc[0][:5], "Poecile", "montanus")] * 3,
        columns=list(RANKS),
    )
    depth = np.array([4, 4, 4, -1, 6, 3, -1])
    found = attached(naming, places(asked, labels), depth)
    assert found.tolist() == ["exact", "below", "elsewhere", "exact", "below", "above", "above"]


def test_folds_leave_out_each_candidate_once():
    labels = label_set(GRID)
    classes = np.array([row[0] for row in GRID])
    found = list(folds(labels, classes))
    assert len(found) == 5 and sum(out for _, out in found).tolist() == [1] * len(GRID)
    assert all(not out[np.isin(classes, kept.names["label"])].any() for kept, out in found)


def test_separation_is_that_of_scikit_learn():
    rng = np.random.default_rng(3)
    known, unknown = pd.DataFrame({"s": rng.integers(2, 9, 60)}), pd.DataFrame({"s": rng.integers(0, 7, 40)})
    row = separation(known, unknown, np.arange(40) % 6).iloc[0]
    truth = np.r_[np.ones(60), np.zeros(40)]
    assert row["auroc"] == pytest.approx(roc_auc_score(truth, np.r_[known["s"], unknown["s"]]))
    assert row["fpr95"] == (unknown["s"] >= np.quantile(known["s"], 0.05)).mean()
    assert row["auroc_low"] < row["auroc"] < row["auroc_high"] and (row["n"], row["n_species"]) == (40, 6)


def test_unknown_taxa_score_lower_on_features_that_know_them():
    rng = np.random.default_rng(4)
    centres = np.linalg.qr(rng.standard_normal((20, 20)))[0].astype(np.float32)
    rows = [(f"l{i}", "K", "P", "C", "O", "F", f"G{i}", "e", "") for i in range(10)]
    names = pd.DataFrame(rows, columns=["label", *RANKS, "common_name"]).reindex(columns=list(COLUMNS), fill_value="")
    labels = LabelSet(names, centres[:10], {})
    own = np.repeat(np.arange(20), 12)
    features = centres[own] + 0.2 * rng.standard_normal((240, 20)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    seen, gallery = own < 10, features[:120][::2]
    scores = known_scores(name_features(features, labels, 20.0), features, gallery)
    found = separation(scores[seen], scores[~seen], own[~seen]).set_index("score")
    assert (found["auroc"] > 0.9).all() and (found["fpr95"] < 0.5).all()
    classes = np.array([f"l{i}" for i in own[seen]])
    asked = left_out(features[seen], classes, (features[seen], classes), labels, 20.0)
    assert asked["n"].eq(120).all() and (asked["auroc"] > 0.9).all()


def test_images_of_no_organism_keep_their_pixels_or_none():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 17, 24, 3), dtype=np.uint8)
    made = no_organism(pixels)
    side = 17 // 8
    assert np.array_equal(np.sort(made["tiles"], axis=None), np.sort(pixels[:, : 17 // side * side], axis=None))
    assert (made["one colour"].std(axis=(1, 2)) == 0).all() and made["noise"].shape == pixels.shape
    assert not np.array_equal(made["tiles"], pixels[:, : 17 // side * side])


def test_a_candidate_without_ranks_is_found_by_no_taxon():
    labels = label_set(ROWS[-1:])
    assert (places(pd.DataFrame([[""] * 7], columns=list(RANKS)), labels) == UNKNOWN).all()
