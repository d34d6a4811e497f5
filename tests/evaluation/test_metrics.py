"""Point values by hand, intervals by their coverage, and a table that refuses what a reader could not judge."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_lib.errors import InputError
from bioclip_lib.evaluation import metrics


def row(**changes):
    keys = {
        "run": "r",
        "profile": "mini",
        "notebook": "04",
        "dataset": "d",
        "model": "trained",
        "task": "zero_shot/seen",
    }
    values = {"metric": "top1", "value": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n": 10, "seeds": 1, "chance": 0.1}
    return pd.DataFrame([{**keys, **values, **changes}])


# Calibration


def test_calibration_error_by_hand():
    # Two bins: 0.2 and 0.5 (an edge belongs below) with accuracy 1/2, 0.8 and 1.0 with accuracy 1/2.
    confidence, correct = np.array([0.2, 0.8, 0.5, 1.0]), np.array([False, True, True, False])
    assert metrics.expected_calibration_error(confidence, correct, 2) == pytest.approx((0.3 + 0.8) / 4)
    # One bin: accuracy 0.5, mean confidence 0.625. Ten bins: each image alone.
    assert metrics.expected_calibration_error(confidence, correct, 1) == pytest.approx(0.125)
    assert metrics.expected_calibration_error(confidence, correct, 10) == pytest.approx((0.2 + 0.2 + 0.5 + 1.0) / 4)
    assert metrics.expected_calibration_error(np.array([0.0, 1.0]), np.array([False, True])) == 0
    assert metrics.expected_calibration_error(np.array([0.0, 1.0]), np.array([True, False])) == 1


def test_calibrated_answers_have_almost_no_calibration_error():
    rng = np.random.default_rng(0)
    confidence = rng.random(100_000)
    right = rng.random(100_000) < confidence
    assert metrics.expected_calibration_error(confidence, right) < 0.01  # about 0.4 / sqrt(n / bins)
    assert metrics.expected_calibration_error(confidence**2, right) > 0.1  # E|p - p^2| = 1/6


@pytest.mark.parametrize(
    ("confidence", "correct", "n_bins", "message"),
    [
        ([], [], 15, "confidences"),
        ([0.5], [True, False], 15, "confidences"),
        ([1.5], [True], 15, "softmax"),
        ([-0.1], [True], 15, "softmax"),
        ([np.nan], [True], 15, "softmax"),
        ([0.5], [True], 0, "n_bins"),
    ],
)
def test_what_is_no_confidence_is_refused(confidence, correct, n_bins, message):
    with pytest.raises(InputError, match=message):
        metrics.expected_calibration_error(np.array(confidence), np.array(correct), n_bins)


# Intervals


def test_two_groups_are_drawn_whole():
    values, groups = np.array([1.0, 1.0, 1.0, 0.0]), np.array(list("aaab"))
    assert metrics.bootstrap_interval(values, groups, 4_000) == (0.0, 1.0)  # each is drawn twice in a quarter of draws
    low, high = metrics.bootstrap_interval(values, groups, 4_000, level=0.4)
    assert (low, high) == (0.75, 0.75)  # half the draws hold both: 3 of 4 images


def test_cluster_bootstrap_is_the_explicit_one():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(12), rng.integers(2, 9, size=12))
    values = rng.random(len(groups)) + groups / 12
    members = [values[groups == g] for g in range(12)]
    draws = [np.concatenate([members[g] for g in rng.integers(12, size=12)]).mean() for _ in range(20_000)]
    expected = np.quantile(draws, [0.025, 0.975])
    found = metrics.bootstrap_interval(values, groups, 20_000)
    assert found == pytest.approx(expected, abs=0.01)  # Monte Carlo error of a quantile of 20,000 draws, sd 0.1


def test_the_interval_covers_a_binomial_share():
    rng = np.random.default_rng(2)
    covered = []
    for _ in range(400):
        low, high = metrics.bootstrap_interval((rng.random(100) < 0.3).astype(float), n_bootstraps=400)
        covered.append(low <= 0.3 <= high)
    assert 0.91 <= np.mean(covered) <= 0.98  # nominal 0.95, sd 0.011; percentile intervals are a little narrow


def test_only_the_cluster_bootstrap_covers_when_species_differ():
    rng, hits = np.random.default_rng(3), {"species": 0, "images": 0}
    for _ in range(200):
        species = np.repeat(np.arange(30), 20)
        values = (rng.random(600) < rng.beta(2, 2, size=30)[species]).astype(float)  # mean over species 0.5
        for name, groups in (("species", species), ("images", None)):
            low, high = metrics.bootstrap_interval(values, groups, n_bootstraps=300)
            hits[name] += low <= 0.5 <= high
    assert hits["species"] / 200 > 0.88  # nominal 0.95, sd 0.016; 30 groups
    assert hits["images"] / 200 < 0.75


def test_every_parameter_of_the_interval_matters_and_order_does_not(monkeypatch):
    rng = np.random.default_rng(4)
    values, groups = rng.random(60), np.arange(60) % 15
    first = metrics.bootstrap_interval(values, groups)
    assert first[0] < values.mean() < first[1]
    for change in ({"seed": 1}, {"level": 0.9}, {"n_bootstraps": 1_000}):
        assert metrics.bootstrap_interval(values, groups, **change) != first
    assert metrics.bootstrap_interval(values) != first
    order = rng.permutation(60)
    assert metrics.bootstrap_interval(values[order], groups[order]) == pytest.approx(first, abs=1e-12)
    monkeypatch.setattr(metrics, "_DRAWS", 40)  # two bootstraps at a time
    assert metrics.bootstrap_interval(values, groups) == first


@pytest.mark.parametrize(
    ("values", "groups", "options", "message"),
    [
        ([], None, {}, "shape"),
        ([1.0, np.nan], None, {}, "1 of them not finite"),
        ([1.0, np.inf], None, {}, "1 of them not finite"),
        ([1.0, 0.0], ["a"], {}, "1 groups"),
        ([1.0, 0.0], None, {"level": 1.0}, "level"),
        ([1.0, 0.0], None, {"n_bootstraps": 0}, "n_bootstraps"),
    ],
)
def test_no_interval_for_what_has_no_mean(values, groups, options, message):
    with pytest.raises(InputError, match=message):
        metrics.bootstrap_interval(np.array(values), groups, **options)


def test_paired_difference_by_hand():
    a, b = np.array([1, 1, 1, 0.0]), np.array([0, 0, 0, 0.0])
    found = metrics.paired_difference(a, b, np.array(list("xxyy")), n_bootstraps=999)
    assert found.value == 0.75
    assert (found.ci_low, found.ci_high) == (0.5, 1.0)  # groups x and y differ by 1 and 0.5
    assert found.p_value == 0.5  # no bootstrap at or below 0; but two groups of equal models agree every other time
    swapped = metrics.paired_difference(b, a, np.array(list("xxyy")), n_bootstraps=999)
    assert swapped == (-found.value, -found.ci_high, -found.ci_low, found.p_value)


@pytest.mark.parametrize(("n_groups", "p_value"), [(1, 1.0), (2, 0.5), (5, 1 / 16), (12, 2 / 1_000)])
def test_few_groups_show_little_however_clear_each_is(n_groups, p_value):
    """Of equal models in two groups 4 of 10 had p < 0.05."""
    groups = np.repeat(np.arange(n_groups), 30)
    found = metrics.paired_difference(np.ones(len(groups)), np.zeros(len(groups)), groups, n_bootstraps=999)
    assert found.p_value == pytest.approx(p_value)


def test_pairing_sees_what_two_intervals_hide():
    rng = np.random.default_rng(5)
    difficulty = rng.random(400)
    a, b = (difficulty < 0.55).astype(float), (difficulty < 0.50).astype(float)
    apart = [metrics.bootstrap_interval(x) for x in (a, b)]
    assert apart[0][0] < apart[1][1]  # they overlap
    found = metrics.paired_difference(a, b)
    assert found.ci_low > 0 and found.p_value < 0.01


def test_p_values_of_equal_models_are_about_uniform():
    rng = np.random.default_rng(6)
    p = [
        metrics.paired_difference(rng.random(80) < 0.5, rng.random(80) < 0.5, n_bootstraps=300, seed=s).p_value
        for s in range(300)
    ]
    assert 0.06 < np.mean(np.array(p) < 0.1) < 0.17  # nominal 0.1, sd 0.017; a little liberal at n = 80
    assert 0.42 < np.mean(p) < 0.58
    with pytest.raises(InputError, match="same images"):
        metrics.paired_difference(np.ones(3), np.ones(4))


@given(st.integers(1, 10_000), st.data())
def test_the_interval_of_a_p_value_holds_it(n_permutations, data):
    hits = data.draw(st.integers(1, n_permutations + 1))
    p = hits / (n_permutations + 1)
    low, high = metrics.p_value_interval(p, n_permutations)
    assert 0 <= low <= p <= high <= 1


# metrics.csv


@pytest.mark.parametrize(
    "change",
    [
        *({column: np.nan} for column in ("value", "ci_low", "ci_high", "n", "seeds", "chance")),
        *({column: None} for column in metrics.LABELS),
        {"n": 0},
        {"seeds": 0},
        {"value": np.inf},
        {"value": 0.7},
        {"value": 0.3},
        {"model": ""},
    ],
    ids=str,
)
def test_a_number_that_cannot_be_judged_is_refused(tmp_path, change):
    path = tmp_path / "metrics.csv"
    metrics.append_metrics(path, row())
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not written"):
        metrics.append_metrics(path, row(**change))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("column", [*metrics.LABELS, "n", "ci_low"])
def test_a_missing_column_is_refused(tmp_path, column):
    with pytest.raises(ValueError, match=f"lack {column}"):
        metrics.append_metrics(tmp_path / "metrics.csv", row().drop(columns=column))
    assert not list(tmp_path.iterdir())


def test_the_same_key_is_replaced_and_another_is_kept(tmp_path):
    path = tmp_path / "metrics.csv"
    metrics.append_metrics(path, row(seconds=3.0))
    metrics.append_metrics(path, row(value=0.6, notebook="04b"))
    for key in metrics.KEYS:
        metrics.append_metrics(path, row(**{key: "other"}))
    table = metrics.read_metrics(path)
    assert len(table) == 1 + len(metrics.KEYS)
    same = table[(table[metrics.KEYS] != "other").all(axis=1)]
    assert same["value"].tolist() == [0.6] and same["notebook"].tolist() == ["04b"] and same["seconds"].isna().all()
    with pytest.raises(ValueError, match="two numbers"):
        metrics.append_metrics(path, pd.concat([row(value=0.4), row()], ignore_index=True))


def test_the_file_does_not_depend_on_the_order_of_calls(tmp_path):
    rows = [row(model=m, task=t) for m in ("b", "a") for t in ("x", "y")]
    written = set()
    for i, order in enumerate(itertools.permutations(rows)):
        for one in order:
            metrics.append_metrics(tmp_path / f"{i}.csv", one)
        written.add((tmp_path / f"{i}.csv").read_bytes())
    assert len(written) == 1


def test_labels_stay_text_and_counts_whole(tmp_path):
    path = tmp_path / "metrics.csv"
    for name in ("NA", "null", "007", "1e3", 'a,"b"', "Käfer"):
        metrics.append_metrics(path, row(n=1_234_567.0), dataset=name, run="007")
    metrics.append_metrics(path, row(), dataset="NA", run="007")
    table = metrics.read_metrics(path)
    assert sorted(table["dataset"]) == sorted(["NA", "null", "007", "1e3", 'a,"b"', "Käfer"])
    assert set(table["run"]) == {"007"} and sorted(table["n"]) == [10, *[1_234_567] * 5]
    assert table["n"].dtype == int and table["seeds"].dtype == int


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\x00\xff\xfe", b"<html>\n", None], ids=str)
def test_what_is_no_metrics_table_is_refused(tmp_path, content):
    path = tmp_path / "metrics.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"metrics\.csv"):
        metrics.read_metrics(path)


def test_text_for_a_number_in_the_file_is_refused(tmp_path):
    path = tmp_path / "metrics.csv"
    metrics.append_metrics(path, row())
    path.write_text(path.read_text().replace("0.5", "half"))
    with pytest.raises(InputError, match="no metrics table"):
        metrics.read_metrics(path)
