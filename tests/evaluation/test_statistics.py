"""Tests of models against each other: by hand, by simulation, and against the explicit procedure."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bioclip_lib.errors import InputError
from bioclip_lib.evaluation import statistics

# McNemar


def test_mcnemar_by_hand():
    a = np.array([1] * 5 + [0] + [1] * 10 + [0] * 4)
    b = np.array([0] * 5 + [1] + [1] * 10 + [0] * 4)
    found = statistics.mcnemar(a, b)
    assert found[:2] == (5, 1)
    assert found[2] == pytest.approx(2 * (1 + 6) / 2**6)  # 0 or 1 of six tosses, both sides
    assert statistics.mcnemar(b, a) == (1, 5, found[2])
    assert statistics.mcnemar(a.astype(bool), b.astype(bool)) == found
    assert statistics.mcnemar(a, a) == (0, 0, 1.0)


def test_mcnemar_of_images_by_themselves_is_the_binomial_test():
    rng = np.random.default_rng(1)
    for n in (1, 7, 60):
        a, b = rng.random((2, n)) < [[0.7], [0.4]]
        only_a, only_b, p_value = statistics.mcnemar(a, b)
        differ = only_a + only_b
        assert p_value == pytest.approx(stats.binomtest(only_a, differ).pvalue if differ else 1)


@pytest.mark.parametrize("burst", [1, 5])
def test_mcnemar_keeps_its_level_for_equal_models_and_images_in_bursts(burst):
    """Within a burst all images are alike: taken as independent, equal models would differ in half of the cases."""
    rng, groups, plain, grouped = np.random.default_rng(0), np.repeat(np.arange(200), burst), [], []
    for _ in range(400):
        a, b = (np.repeat(rng.random(200) < 0.6, burst) for _ in range(2))
        plain.append(statistics.mcnemar(a, b)[2])
        grouped.append(statistics.mcnemar(a, b, groups)[2])
    assert 0.01 < np.mean(np.array(grouped) < 0.05) < 0.07  # exact tests stay below 0.05; sd 0.011
    assert burst == 1 or np.mean(np.array(plain) < 0.05) > 0.25


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
    # Ten sets, three models: chi^2 = 12 n / (k (k + 1)) sum (R - (k + 1) / 2)^2 with mean ranks 1.2, 1.9, 2.9.
    scores = pd.DataFrame({"a": np.arange(10) + 0.2, "b": np.arange(10) + 0.1, "c": np.arange(10) + 0.0})
    assert statistics.rank_table(scores)[1] == pytest.approx(6.0**-9)  # all agree: as often as nine follow the tenth
    scores.loc[:1, ["a", "b"]] = scores.loc[:1, ["b", "a"]].to_numpy()  # two sets turn a and b round,
    scores.loc[2, ["b", "c"]] = scores.loc[2, ["c", "b"]].to_numpy()  # one b and c
    chi_square = 12 * 10 / 12 * ((1.2 - 2) ** 2 + (1.9 - 2) ** 2 + (2.9 - 2) ** 2)
    f = 9 * chi_square / (10 * 2 - chi_square)
    assert statistics.rank_table(scores)[1] == pytest.approx(1 - stats.f.cdf(f, 2, 18), rel=1e-6)
    few = statistics.MIN_SETS - 1
    assert np.isnan(statistics.rank_table(scores.iloc[:few])[1])
    assert np.isnan(statistics.rank_table(scores[["a", "b"]])[1])
    assert statistics.rank_table(scores.assign(b=scores["a"], c=scores["a"]))[1] == 1


def test_friedmans_test_has_its_size():
    rng = np.random.default_rng(1)
    p = [statistics.rank_table(pd.DataFrame(rng.random((10, 4))))[1] for _ in range(400)]
    assert 0.025 < np.mean(np.array(p) < 0.05) < 0.085  # sd 0.011


# What n can show


def test_the_detectable_difference_by_hand():
    # Differences 1 -1 0 0: variance 2/3, four groups: three degrees.
    a, b = np.array([1, 0, 1, 0]), np.array([0, 1, 1, 0])
    t = stats.t.ppf(0.975, 3) + stats.t.ppf(0.8, 3)
    assert statistics.paired_difference(a, b).detectable == pytest.approx(t * np.sqrt(2 / 3 / 4))
    assert statistics.paired_difference(a, b, np.array([0, 0, 1, 1])).detectable == 0  # both sums are 0, nothing varies
    # Groups (1), (-1, 0, 0): left out, the means are -1/3 and 1; G_eff = 16 / 10.
    t = stats.t.ppf(0.975, 0.6) + stats.t.ppf(0.8, 0.6)
    uneven = statistics.paired_difference(a, b, np.array([0, 1, 1, 1])).detectable
    assert uneven == pytest.approx(t * np.sqrt(1 / 2 * 2 * (2 / 3) ** 2))
    assert np.isnan(statistics.paired_difference(a, b, np.zeros(4)).detectable)  # one group has no variance
    for groups, other in ((None, b[1:]), (np.zeros(3), b)):
        with pytest.raises(InputError):
            statistics.paired_difference(a, other, groups)


def test_the_detectable_difference_is_found_in_four_of_five_cases():
    rng = np.random.default_rng(2)
    classes = np.repeat(np.arange(60), 5)

    def pair(effect):
        of_class = np.clip(0.5 + effect + 0.2 * rng.normal(size=60), 0, 1)[classes]
        return (rng.random(300) < of_class).astype(float), (rng.random(300) < 0.5).astype(float)

    effect = np.mean([statistics.paired_difference(*pair(0.0), classes).detectable for _ in range(20)])
    found = [statistics.paired_difference(*pair(effect), classes).p_value < 0.05 for _ in range(300)]
    assert 0.72 < np.mean(found) < 0.88  # 0.8, sd 0.023


# Calibration


def plain_error(confidence, correct, n_bins):
    place = np.ceil(confidence * n_bins).astype(int)  # an edge belongs below
    return sum(abs((correct - confidence)[place == k].sum()) for k in set(place.tolist())) / len(place)


def test_calibration_error_by_hand():
    # Two bins: 0.2 and 0.5 (an edge belongs below) with accuracy 1/2, 0.8 and 1.0 with accuracy 1/2; gaps 0.15 and 0.4.
    confidence, correct = np.array([0.2, 0.8, 0.5, 1.0]), np.array([False, True, True, False])
    error = np.sqrt(0.25 / 2)  # of an accuracy of (1 + 0.5) / (2 + 1)
    folded = [np.abs(gap + error * np.random.default_rng(0).normal(size=400_000)).mean() for gap in (0.15, 0.4)]
    expected = np.mean([2 * 0.15 - folded[0], 2 * 0.4 - folded[1]])
    assert statistics.expected_calibration_error(confidence, correct, 2) == pytest.approx(expected, abs=0.002)
    many = np.repeat(confidence, 10_000), np.repeat(correct, 10_000)  # nothing is left to noise
    for n_bins in (1, 2, 10):
        assert statistics.expected_calibration_error(*many, n_bins) == pytest.approx(
            plain_error(*many, n_bins), abs=0.005
        )


def test_noise_is_no_calibration_error():
    """The plain error of 400 calibrated answers is 0.06, and that of an error of 0.05 is 0.074."""
    rng, found = np.random.default_rng(0), {0.0: [], 0.05: []}
    for _, error in itertools.product(range(60), found):
        sure = rng.uniform(0.2, 1, 400)
        found[error].append(statistics.expected_calibration_error(sure, rng.random(400) < sure - error))
    assert np.mean(found[0.0]) < 0.045 and np.mean(found[0.05]) == pytest.approx(0.05, abs=0.01)


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


def test_jackknife_by_hand():
    values, groups = np.array([1.0, 1.0, 1.0, 0.0, 0.0]), np.array(list("aaabc"))
    mean, error, n = statistics.jackknife(values, groups)
    without = np.array([0, 3 / 4, 3 / 4])
    assert (mean, n) == (pytest.approx(0.6), pytest.approx(25 / 11))
    assert error == pytest.approx(np.sqrt(2 / 3 * ((without - without.mean()) ** 2).sum()))
    assert statistics.jackknife(values)[1] == pytest.approx(values.std(ddof=1) / np.sqrt(5))  # single values: the usual


def test_the_interval_by_hand():
    values, groups = np.array([1.0, 1.0, 1.0, 0.0, 0.0]), np.array(list("aaabc"))
    _, error, n = statistics.jackknife(values, groups)
    reach = stats.t.ppf(0.975, n - 1) * error / (0.6 * 0.4)
    ends = 1 / (1 + np.exp(-(np.log(1.5) + np.array([-reach, reach]))))
    assert statistics.mean_interval(values, groups) == pytest.approx(ends)
    assert statistics.mean_interval(1 + 6 * values, groups, (1, 7)) == pytest.approx(1 + 6 * ends)


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_all_right_or_all_wrong_is_no_certainty(right):
    groups = np.repeat(np.arange(4), [10, 10, 10, 10])
    low, high = statistics.mean_interval(np.full(40, right), groups)
    assert (low, high) == pytest.approx((0.025**0.25, 1) if right else (0, 1 - 0.025**0.25))
    uneven = statistics.mean_interval(np.full(40, right), np.repeat(np.arange(4), [37, 1, 1, 1]))
    assert np.diff(uneven) > np.diff((low, high))  # worth 1.2 classes
    assert statistics.mean_interval(np.full(9, right), np.zeros(9)) == pytest.approx(
        (0.025, 1) if right else (0, 0.975)
    )


def test_one_class_or_equal_classes_give_no_width_of_nothing():
    low, high = statistics.mean_interval(np.array([1.0, 0.0] * 8), np.repeat(np.arange(8), 2))  # each class half right
    assert (low, high) == pytest.approx(stats.binomtest(4, 8).proportion_ci(0.95), abs=1e-9)
    low, high = statistics.mean_interval(np.array([1.0, 0.0]), np.zeros(2))
    assert low < 0.1 and high > 0.9


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1)), min_size=1, max_size=30))
def test_the_interval_holds_the_mean_within_the_bounds(pairs):
    groups, values = np.array(pairs).T
    low, high = statistics.mean_interval(values.astype(float), groups)
    assert 0 <= low <= values.mean() + 1e-12 and values.mean() - 1e-12 <= high <= 1
    mirrored = statistics.mean_interval(1.0 - values, groups)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9)


@pytest.mark.parametrize(("n_classes", "uneven"), [(5, True), (10, False), (24, True)])
def test_intervals_cover_where_the_percentile_bootstrap_did_not(n_classes, uneven):
    """It held the truth in 74, 86 and 91 of 100 cases (`speed/intervals.py`)."""
    rng, held = np.random.default_rng(3), 0
    for _ in range(200):
        sizes = np.maximum(1, (20 * rng.lognormal(0, 1 * uneven, n_classes)).astype(int))
        groups = np.repeat(np.arange(n_classes), sizes)
        values = (rng.random(len(groups)) < rng.beta(0.8, 3.2, n_classes)[groups]).astype(float)  # mean 0.2
        low, high = statistics.mean_interval(values, groups)
        held += low <= 0.2 <= high
    assert held >= 184  # 92 %; nominal 0.95, sd 0.015


def test_images_of_a_species_are_not_independent():
    rng, held = np.random.default_rng(3), {"species": 0, "images": 0}
    for _ in range(200):
        species = np.repeat(np.arange(30), 20)
        values = (rng.random(600) < rng.beta(2, 2, size=30)[species]).astype(float)  # mean over species 0.5
        for name, groups in (("species", species), ("images", None)):
            low, high = statistics.mean_interval(values, groups)
            held[name] += low <= 0.5 <= high
    assert held["species"] / 200 > 0.9 and held["images"] / 200 < 0.75


def test_every_parameter_of_the_interval_matters_and_order_does_not():
    rng = np.random.default_rng(4)
    values, groups = rng.random(60), np.arange(60) % 15
    first = statistics.mean_interval(values, groups)
    assert first[0] < values.mean() < first[1]
    for changed in ((values, None), (values, groups, (0, 2))):
        assert statistics.mean_interval(*changed) != first
    order = rng.permutation(60)
    assert statistics.mean_interval(values[order], groups[order]) == pytest.approx(first, abs=1e-12)


@pytest.mark.parametrize(
    ("values", "groups", "options", "message"),
    [
        ([], None, {}, "shape"),
        ([1.0, np.nan], None, {}, "1 of them not finite"),
        ([1.0, np.inf], None, {}, "1 of them not finite"),
        ([1.0, 0.0], ["a"], {}, "1 groups"),
        ([3.0, 4.0], None, {}, "outside"),
    ],
)
def test_no_interval_for_what_has_no_mean(values, groups, options, message):
    with pytest.raises(InputError, match=message):
        statistics.mean_interval(np.array(values), groups, **options)


# Paired differences


def test_paired_difference_by_hand():
    a, b, groups = np.array([1, 1, 1, 1, 1, 0.0]), np.array([0, 0, 0, 0, 1, 0.0]), np.array(list("xxyyzz"))
    found = statistics.paired_difference(a, b, groups)  # the groups differ by 1, 1 and 0
    error = np.sqrt(2 / 3 * (np.array([0.5, 0.5, 1]) ** 2 - 4 / 9).sum())
    assert found.value == pytest.approx(2 / 3)
    assert found.p_value == pytest.approx(2 * stats.t.sf(2 / 3 / error, 2))
    assert found.ci_low == pytest.approx(2 / 3 - stats.t.ppf(0.975, 2) * error) and found.ci_high == 1
    assert found.p_flips == 0.5  # two of four signs of the groups that differ: ++ and --
    swapped = statistics.paired_difference(b, a, groups)
    assert swapped == pytest.approx((-found.value, -found.ci_high, -found.ci_low, *found[3:]))
    same = statistics.paired_difference(a, a, groups)
    assert (same.value, same.p_value, same.p_flips) == (0, 1, 1)
    assert (same.ci_low, same.ci_high) == pytest.approx((0.025 ** (1 / 3) - 1, 1 - 0.025 ** (1 / 3)))


@given(st.lists(st.integers(-6, 6), min_size=1, max_size=9), st.sampled_from([1.0, 0.37]))
def test_sign_flips_are_those_of_all_signs(sums, unit):
    sums = unit * np.array(sums, dtype=float)
    every = np.array([np.dot(signs, sums) for signs in itertools.product((1, -1), repeat=len(sums))])
    exact = (np.abs(every) >= abs(sums.sum()) - 1e-9).mean()
    assert statistics._sign_flips(sums) == pytest.approx(exact)


@pytest.mark.parametrize(("n_groups", "p_value"), [(1, 1.0), (2, 0.5), (5, 1 / 16), (40, 2.0**-39)])
def test_few_groups_show_little_and_many_have_no_floor(n_groups, p_value):
    """The bootstrap's p of at least 2 / (B + 1) left 0 of 68 such differences significant after Holm."""
    groups = np.repeat(np.arange(n_groups), 30)
    found = statistics.paired_difference(np.ones(len(groups)), np.zeros(len(groups)), groups)
    assert (found.p_value, found.p_flips) == pytest.approx((p_value, p_value))
    assert found.ci_high == 1 and found.ci_low < 1


def test_pairing_sees_what_two_intervals_hide():
    rng = np.random.default_rng(5)
    difficulty = rng.random(400)
    a, b = (difficulty < 0.55).astype(float), (difficulty < 0.50).astype(float)
    apart = [statistics.mean_interval(x) for x in (a, b)]
    assert apart[0][0] < apart[1][1]  # they overlap
    found = statistics.paired_difference(a, b)
    assert found.ci_low > 0 and found.p_value < 0.01 and found.p_flips < 0.01


@pytest.mark.parametrize("n_classes", [6, 24])
def test_equal_models_differ_in_one_of_twenty_cases(n_classes):
    """By the bootstrap in 15 and 8 of 100."""
    rng, found = np.random.default_rng(6), []
    for _ in range(300):
        groups = np.repeat(np.arange(n_classes), np.maximum(1, (20 * rng.lognormal(0, 1, n_classes)).astype(int)))
        of_class = np.clip(0.5 + 0.2 * rng.normal(size=(2, n_classes)), 0, 1)
        a, b = ((rng.random(len(groups)) < p[groups]).astype(float) for p in of_class)
        found.append(statistics.paired_difference(a, b, groups)[3:5])
    assert (np.mean(np.array(found) < 0.05, axis=0) < 0.085).all()  # nominal 0.05, sd 0.0126
    with pytest.raises(InputError, match="same images"):
        statistics.paired_difference(np.ones(3), np.ones(4))


def test_what_knows_nothing_stays_below_the_bound():
    rng = np.random.default_rng(7)
    chance = pd.Series([1 / 2, 1 / 24, 1 / 400])
    bound = statistics.chance_bound(chance)
    assert bound[0] == 1 and bound[1] == pytest.approx(6 / 24) and 1 / 400 < bound[2] < 0.03
    for n_classes, most in zip((24, 400), bound[1:], strict=True):
        right = [(rng.integers(n_classes, size=n_classes) == np.arange(n_classes)).mean() for _ in range(500)]
        assert np.max(right) <= most  # in 500 draws of 10,000


@given(st.integers(1, 10_000), st.data())
def test_the_interval_of_a_p_value_holds_it(n_permutations, data):
    hits = data.draw(st.integers(1, n_permutations + 1))
    p = hits / (n_permutations + 1)
    low, high = statistics.p_value_interval(p, n_permutations)
    assert 0 <= low <= p <= high <= 1


# metrics.csv
