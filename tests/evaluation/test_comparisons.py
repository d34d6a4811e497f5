"""Tests of models against each other: by hand, by simulation, and against the explicit procedure."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_lib.errors import InputError
from bioclip_lib.evaluation import comparisons, metrics

# McNemar


def test_mcnemar_by_hand():
    a = np.array([1] * 5 + [0] + [1] * 10 + [0] * 4)
    b = np.array([0] * 5 + [1] + [1] * 10 + [0] * 4)
    found = comparisons.mcnemar(a, b)
    assert (found.only_a, found.only_b) == (5, 1)
    assert found.p_value == pytest.approx(2 * (1 + 6) / 2**6)  # 0 or 1 of six tosses, both sides
    assert comparisons.mcnemar(b, a) == (1, 5, found.p_value)
    assert comparisons.mcnemar(a.astype(bool), b.astype(bool)) == found
    assert comparisons.mcnemar(a, a) == (0, 0, 1.0)


def test_mcnemar_keeps_its_level_for_equal_models():
    rng = np.random.default_rng(0)
    p = [comparisons.mcnemar(rng.random(200) < 0.6, rng.random(200) < 0.6).p_value for _ in range(600)]
    assert 0.01 < np.mean(np.array(p) < 0.05) < 0.06  # exact tests stay below 0.05; sd 0.009


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [([1, 0], [1], "same images"), ([], [], "same images"), ([0.5], [1], "not scores"), ([np.nan], [1], "not scores")],
)
def test_what_is_not_paired_is_refused(a, b, message):
    with pytest.raises(InputError, match=message):
        comparisons.mcnemar(np.array(a), np.array(b))


# Holm


def test_holm_by_hand():
    assert comparisons.holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert comparisons.holm(np.array([0.6, 0.7])).tolist() == [1, 1]
    assert comparisons.holm(np.array([0.04])).tolist() == [0.04] and len(comparisons.holm(np.array([]))) == 0
    with pytest.raises(InputError, match="p-value"):
        comparisons.holm(np.array([0.1, np.nan]))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.randoms())
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values, rng):
    rejected, ordered = set(), sorted(range(len(p_values)), key=p_values.__getitem__)
    for step, i in enumerate(ordered):
        if p_values[i] * (len(p_values) - step) > 0.05:
            break
        rejected.add(i)
    adjusted = comparisons.holm(np.array(p_values))
    assert {i for i, p in enumerate(adjusted) if p <= 0.05} == rejected
    assert (adjusted >= p_values).all()
    order = rng.sample(range(len(p_values)), len(p_values))
    assert comparisons.holm(np.array(p_values)[order]).tolist() == adjusted[order].tolist()


# Ranks


def test_ranks_by_hand():
    scores = pd.DataFrame({"a": [0.9, 0.5, 0.7], "b": [0.8, 0.5, 0.9], "c": [0.1, 0.2, 0.3]}, index=["x", "y", "z"])
    scores.loc["w"] = [0.1, 0.2, np.nan]  # c was not asked: no ranks of this set
    table, p_value = comparisons.rank_table(scores)
    assert table.index.tolist() == ["a", "b", "c"] and (table["n_sets"] == 3).all()
    assert table["mean_rank"].tolist() == [1.5, 1.5, 3] and table["best"].tolist() == [2, 2, 0]
    assert np.isnan(p_value)


def test_friedmans_test_by_hand():
    # Ten sets, three models, always in the same order: chi^2 = 12 n / (k (k + 1)) sum (R - (k + 1) / 2)^2 = 20.
    scores = pd.DataFrame({"a": np.arange(10) + 0.2, "b": np.arange(10) + 0.1, "c": np.arange(10) + 0.0})
    assert comparisons.rank_table(scores)[1] == pytest.approx(np.exp(-20 / 2))  # chi-square with two degrees
    assert np.isnan(comparisons.rank_table(scores.iloc[:9])[1]) and np.isnan(
        comparisons.rank_table(scores[["a", "b"]])[1]
    )
    assert comparisons.rank_table(scores.assign(b=scores["a"], c=scores["a"]))[1] == 1
    noise = pd.DataFrame(np.random.default_rng(1).random((30, 4)))
    assert comparisons.rank_table(noise)[1] > 0.05


# What n can show


def test_the_detectable_difference_by_hand():
    # Differences 1 -1 0 0: variance 2/3. Groups (1, -1) and (0, 0): both sums are 0, nothing varies.
    a, b = np.array([1, 0, 1, 0]), np.array([0, 1, 1, 0])
    z = 1.959964 + 0.841621
    assert comparisons.detectable_difference(a, b) == pytest.approx(z * np.sqrt(2 / 3 / 4), rel=1e-5)
    assert comparisons.detectable_difference(a, b, np.array([0, 0, 1, 1])) == 0
    # Groups (1), (-1, 0, 0), d = 0, mean size 2: s^2 = (1 + 1) / (4 * 1), two groups.
    uneven = comparisons.detectable_difference(a, b, np.array([0, 1, 1, 1]))
    assert uneven == pytest.approx(z * np.sqrt(0.5 / 2), rel=1e-5)
    for groups, other in ((None, b[1:]), (np.zeros(4), b), (np.zeros(3), b)):
        with pytest.raises(InputError):
            comparisons.detectable_difference(a, other, groups)


def test_the_detectable_difference_is_found_in_four_of_five_cases():
    rng = np.random.default_rng(2)
    classes = np.repeat(np.arange(60), 5)

    def pair(effect):
        of_class = np.clip(0.5 + effect + 0.2 * rng.normal(size=60), 0, 1)[classes]
        return (rng.random(300) < of_class).astype(float), (rng.random(300) < 0.5).astype(float)

    effect = np.mean([comparisons.detectable_difference(*pair(0.0), classes) for _ in range(20)])
    found = [metrics.paired_difference(*pair(effect), classes, 200).p_value < 0.05 for _ in range(150)]
    assert 0.7 < np.mean(found) < 0.92  # 0.8, sd 0.033; the bootstrap is a little liberal
