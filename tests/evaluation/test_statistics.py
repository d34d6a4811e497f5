"""Tests of models against each other: by hand, by simulation, and against the explicit procedure."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_lib.errors import InputError
from bioclip_lib.evaluation import statistics

# McNemar


def test_mcnemar_by_hand():
    a = np.array([1] * 5 + [0] + [1] * 10 + [0] * 4)
    b = np.array([0] * 5 + [1] + [1] * 10 + [0] * 4)
    found = statistics.mcnemar(a, b)
    assert (found.only_a, found.only_b) == (5, 1)
    assert found.p_value == pytest.approx(2 * (1 + 6) / 2**6)  # 0 or 1 of six tosses, both sides
    assert statistics.mcnemar(b, a) == (1, 5, found.p_value)
    assert statistics.mcnemar(a.astype(bool), b.astype(bool)) == found
    assert statistics.mcnemar(a, a) == (0, 0, 1.0)


def test_mcnemar_keeps_its_level_for_equal_models():
    rng = np.random.default_rng(0)
    p = [statistics.mcnemar(rng.random(200) < 0.6, rng.random(200) < 0.6).p_value for _ in range(600)]
    assert 0.01 < np.mean(np.array(p) < 0.05) < 0.06  # exact tests stay below 0.05; sd 0.009


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [([1, 0], [1], "same images"), ([], [], "same images"), ([0.5], [1], "not scores"), ([np.nan], [1], "not scores")],
)
def test_what_is_not_paired_is_refused(a, b, message):
    with pytest.raises(InputError, match=message):
        statistics.mcnemar(np.array(a), np.array(b))


# Holm


def test_holm_by_hand():
    assert statistics.holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm(np.array([0.6, 0.7])).tolist() == [1, 1]
    assert statistics.holm(np.array([0.04])).tolist() == [0.04] and len(statistics.holm(np.array([]))) == 0
    with pytest.raises(InputError, match="p-value"):
        statistics.holm(np.array([0.1, np.nan]))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.randoms())
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values, rng):
    rejected, ordered = set(), sorted(range(len(p_values)), key=p_values.__getitem__)
    for step, i in enumerate(ordered):
        if p_values[i] * (len(p_values) - step) > 0.05:
            break
        rejected.add(i)
    adjusted = statistics.holm(np.array(p_values))
    assert {i for i, p in enumerate(adjusted) if p <= 0.05} == rejected
    assert (adjusted >= p_values).all()
    order = rng.sample(range(len(p_values)), len(p_values))
    assert statistics.holm(np.array(p_values)[order]).tolist() == adjusted[order].tolist()


# Ranks


def test_ranks_by_hand():
    scores = pd.DataFrame({"a": [0.9, 0.5, 0.7], "b": [0.8, 0.5, 0.9], "c": [0.1, 0.2, 0.3]}, index=["x", "y", "z"])
    scores.loc["w"] = [0.1, 0.2, np.nan]  # c was not asked: no ranks of this set
    table, p_value = statistics.rank_table(scores)
    assert table.index.tolist() == ["a", "b", "c"] and (table["n_sets"] == 3).all()
    assert table["mean_rank"].tolist() == [1.5, 1.5, 3] and table["best"].tolist() == [2, 2, 0]
    assert np.isnan(p_value)


def test_friedmans_test_by_hand():
    # Ten sets, three models, always in the same order: chi^2 = 12 n / (k (k + 1)) sum (R - (k + 1) / 2)^2 = 20.
    scores = pd.DataFrame({"a": np.arange(10) + 0.2, "b": np.arange(10) + 0.1, "c": np.arange(10) + 0.0})
    assert statistics.rank_table(scores)[1] == pytest.approx(np.exp(-20 / 2))  # chi-square with two degrees
    assert np.isnan(statistics.rank_table(scores.iloc[:9])[1]) and np.isnan(
        statistics.rank_table(scores[["a", "b"]])[1]
    )
    assert statistics.rank_table(scores.assign(b=scores["a"], c=scores["a"]))[1] == 1
    noise = pd.DataFrame(np.random.default_rng(1).random((30, 4)))
    assert statistics.rank_table(noise)[1] > 0.05


# What n can show


def test_the_detectable_difference_by_hand():
    # Differences 1 -1 0 0: variance 2/3. Groups (1, -1) and (0, 0): both sums are 0, nothing varies.
    a, b = np.array([1, 0, 1, 0]), np.array([0, 1, 1, 0])
    z = 1.959964 + 0.841621
    assert statistics.detectable_difference(a, b) == pytest.approx(z * np.sqrt(2 / 3 / 4), rel=1e-5)
    assert statistics.detectable_difference(a, b, np.array([0, 0, 1, 1])) == 0
    # Groups (1), (-1, 0, 0), d = 0, mean size 2: s^2 = (1 + 1) / (4 * 1), two groups.
    uneven = statistics.detectable_difference(a, b, np.array([0, 1, 1, 1]))
    assert uneven == pytest.approx(z * np.sqrt(0.5 / 2), rel=1e-5)
    for groups, other in ((None, b[1:]), (np.zeros(4), b), (np.zeros(3), b)):
        with pytest.raises(InputError):
            statistics.detectable_difference(a, other, groups)


def test_the_detectable_difference_is_found_in_four_of_five_cases():
    rng = np.random.default_rng(2)
    classes = np.repeat(np.arange(60), 5)

    def pair(effect):
        of_class = np.clip(0.5 + effect + 0.2 * rng.normal(size=60), 0, 1)[classes]
        return (rng.random(300) < of_class).astype(float), (rng.random(300) < 0.5).astype(float)

    effect = np.mean([statistics.detectable_difference(*pair(0.0), classes) for _ in range(20)])
    found = [statistics.paired_difference(*pair(effect), classes, 200).p_value < 0.05 for _ in range(150)]
    assert 0.7 < np.mean(found) < 0.92  # 0.8, sd 0.033; the bootstrap is a little liberal


# Calibration


def test_calibration_error_by_hand():
    # Two bins: 0.2 and 0.5 (an edge belongs below) with accuracy 1/2, 0.8 and 1.0 with accuracy 1/2.
    confidence, correct = np.array([0.2, 0.8, 0.5, 1.0]), np.array([False, True, True, False])
    assert statistics.expected_calibration_error(confidence, correct, 2) == pytest.approx((0.3 + 0.8) / 4)
    # One bin: accuracy 0.5, mean confidence 0.625. Ten bins: each image alone.
    assert statistics.expected_calibration_error(confidence, correct, 1) == pytest.approx(0.125)
    assert statistics.expected_calibration_error(confidence, correct, 10) == pytest.approx((0.2 + 0.2 + 0.5 + 1.0) / 4)
    assert statistics.expected_calibration_error(np.array([0.0, 1.0]), np.array([False, True])) == 0
    assert statistics.expected_calibration_error(np.array([0.0, 1.0]), np.array([True, False])) == 1


def test_calibrated_answers_have_almost_no_calibration_error():
    rng = np.random.default_rng(0)
    confidence = rng.random(100_000)
    right = rng.random(100_000) < confidence
    assert statistics.expected_calibration_error(confidence, right) < 0.01  # about 0.4 / sqrt(n / bins)
    assert statistics.expected_calibration_error(confidence**2, right) > 0.1  # E|p - p^2| = 1/6


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
        statistics.expected_calibration_error(np.array(confidence), np.array(correct), n_bins)


# Intervals


def test_two_groups_are_drawn_whole():
    values, groups = np.array([1.0, 1.0, 1.0, 0.0]), np.array(list("aaab"))
    assert statistics.bootstrap_interval(values, groups, 4_000) == (
        0.0,
        1.0,
    )  # each is drawn twice in a quarter of draws
    low, high = statistics.bootstrap_interval(values, groups, 4_000, level=0.4)
    assert (low, high) == (0.75, 0.75)  # half the draws hold both: 3 of 4 images


def test_cluster_bootstrap_is_the_explicit_one():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(12), rng.integers(2, 9, size=12))
    values = rng.random(len(groups)) + groups / 12
    members = [values[groups == g] for g in range(12)]
    draws = [np.concatenate([members[g] for g in rng.integers(12, size=12)]).mean() for _ in range(20_000)]
    expected = np.quantile(draws, [0.025, 0.975])
    found = statistics.bootstrap_interval(values, groups, 20_000)
    assert found == pytest.approx(expected, abs=0.01)  # Monte Carlo error of a quantile of 20,000 draws, sd 0.1


def test_the_interval_covers_a_binomial_share():
    rng = np.random.default_rng(2)
    covered = []
    for _ in range(400):
        low, high = statistics.bootstrap_interval((rng.random(100) < 0.3).astype(float), n_bootstraps=400)
        covered.append(low <= 0.3 <= high)
    assert 0.91 <= np.mean(covered) <= 0.98  # nominal 0.95, sd 0.011; percentile intervals are a little narrow


def test_only_the_cluster_bootstrap_covers_when_species_differ():
    rng, hits = np.random.default_rng(3), {"species": 0, "images": 0}
    for _ in range(200):
        species = np.repeat(np.arange(30), 20)
        values = (rng.random(600) < rng.beta(2, 2, size=30)[species]).astype(float)  # mean over species 0.5
        for name, groups in (("species", species), ("images", None)):
            low, high = statistics.bootstrap_interval(values, groups, n_bootstraps=300)
            hits[name] += low <= 0.5 <= high
    assert hits["species"] / 200 > 0.88  # nominal 0.95, sd 0.016; 30 groups
    assert hits["images"] / 200 < 0.75


def test_every_parameter_of_the_interval_matters_and_order_does_not(monkeypatch):
    rng = np.random.default_rng(4)
    values, groups = rng.random(60), np.arange(60) % 15
    first = statistics.bootstrap_interval(values, groups)
    assert first[0] < values.mean() < first[1]
    for change in ({"seed": 1}, {"level": 0.9}, {"n_bootstraps": 1_000}):
        assert statistics.bootstrap_interval(values, groups, **change) != first
    assert statistics.bootstrap_interval(values) != first
    order = rng.permutation(60)
    assert statistics.bootstrap_interval(values[order], groups[order]) == pytest.approx(first, abs=1e-12)
    monkeypatch.setattr(statistics, "_DRAWS", 40)  # two bootstraps at a time
    assert statistics.bootstrap_interval(values, groups) == first


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
        statistics.bootstrap_interval(np.array(values), groups, **options)


def test_paired_difference_by_hand():
    a, b = np.array([1, 1, 1, 0.0]), np.array([0, 0, 0, 0.0])
    found = statistics.paired_difference(a, b, np.array(list("xxyy")), n_bootstraps=999)
    assert found.value == 0.75
    assert (found.ci_low, found.ci_high) == (0.5, 1.0)  # groups x and y differ by 1 and 0.5
    assert found.p_value == 0.5  # no bootstrap at or below 0; but two groups of equal models agree every other time
    swapped = statistics.paired_difference(b, a, np.array(list("xxyy")), n_bootstraps=999)
    assert swapped == (-found.value, -found.ci_high, -found.ci_low, found.p_value)


@pytest.mark.parametrize(("n_groups", "p_value"), [(1, 1.0), (2, 0.5), (5, 1 / 16), (12, 2 / 1_000)])
def test_few_groups_show_little_however_clear_each_is(n_groups, p_value):
    """Of equal models in two groups 4 of 10 had p < 0.05."""
    groups = np.repeat(np.arange(n_groups), 30)
    found = statistics.paired_difference(np.ones(len(groups)), np.zeros(len(groups)), groups, n_bootstraps=999)
    assert found.p_value == pytest.approx(p_value)


def test_pairing_sees_what_two_intervals_hide():
    rng = np.random.default_rng(5)
    difficulty = rng.random(400)
    a, b = (difficulty < 0.55).astype(float), (difficulty < 0.50).astype(float)
    apart = [statistics.bootstrap_interval(x) for x in (a, b)]
    assert apart[0][0] < apart[1][1]  # they overlap
    found = statistics.paired_difference(a, b)
    assert found.ci_low > 0 and found.p_value < 0.01


def test_p_values_of_equal_models_are_about_uniform():
    rng = np.random.default_rng(6)
    p = [
        statistics.paired_difference(rng.random(80) < 0.5, rng.random(80) < 0.5, n_bootstraps=300, seed=s).p_value
        for s in range(300)
    ]
    assert 0.06 < np.mean(np.array(p) < 0.1) < 0.17  # nominal 0.1, sd 0.017; a little liberal at n = 80
    assert 0.42 < np.mean(p) < 0.58
    with pytest.raises(InputError, match="same images"):
        statistics.paired_difference(np.ones(3), np.ones(4))


@given(st.integers(1, 10_000), st.data())
def test_the_interval_of_a_p_value_holds_it(n_permutations, data):
    hits = data.draw(st.integers(1, n_permutations + 1))
    p = hits / (n_permutations + 1)
    low, high = statistics.p_value_interval(p, n_permutations)
    assert 0 <= low <= p <= high <= 1


# metrics.csv
