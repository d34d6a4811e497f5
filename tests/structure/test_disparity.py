"""Variety of clades by hand, found where it is there, p-values uniform where clades are alike."""

import numpy as np
import pytest
from scipy import stats

from bioclip_lib.config import EvaluateConfig
from bioclip_lib.structure import disparity, tell_disparity

from .test_traits import catalog, ranks_of


def test_spread_by_hand():
    points, clades = np.array([[0.0, 0], [2, 0], [5, 5], [5, 8], [5, 5]]), np.array([0, 0, 1, 1, 1])
    # about (1, 0): squares of 1; about (5, 6): 1, 4, 1; times n / (n - 1)
    assert disparity.spread(points, clades) == pytest.approx([2, 2, 1.5, 6, 1.5])
    assert disparity.spread(points, clades)[2:].mean() == pytest.approx(points[2:].var(axis=0, ddof=1).sum())


def test_clades_are_compared_by_hand():
    squares, clades = np.array([1.0, 1, 1, 1, 3, 3, 3, 3]), np.repeat([0, 1], 4)
    low, high = disparity.compare_clades(squares, clades, 0)
    assert (low["value"], high["value"]) == (1 / 3, 3) and low["ci_low"] == pytest.approx(low["ci_high"])  # no spread
    # 2 of the 70 ways to deal them give all of one kind to a clade: each side has 1 in 70
    assert low["p_value"] == pytest.approx(2 / 70, abs=0.02) and high["p_holm"] >= high["p_value"]


def test_the_interval_covers_the_ratio_of_other_species():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(300):
        own, others = 2 * rng.chisquare(20, 8), rng.chisquare(20, 15)
        low, high = disparity._ratio_interval(own, others)
        hits += low < 2 < high
    assert 0.92 < hits / 300 < 0.99  # 0.95 is meant; seeded


def test_p_is_uniform_where_clades_are_alike(monkeypatch):
    monkeypatch.setattr(disparity, "N_PERMUTATIONS", 39)
    clades, found = np.repeat([0, 1, 2], [4, 6, 8]), []
    for seed in range(200):
        squares = np.random.default_rng(seed).chisquare(3, 18)
        found.append(disparity.compare_clades(squares, clades, seed)[0]["p_value"])
    # two-sided: in steps of 2/40
    spread = np.array(found) - np.random.default_rng(0).random(200) / 20
    assert stats.kstest(spread, "uniform").pvalue > 0.01  # seeded


def test_a_varied_clade_is_found_in_a_catalog_and_sets_of_few_say_why():
    rng, ranks = np.random.default_rng(0), ranks_of(5)
    means = np.repeat(5 * rng.normal(size=(5, 40)), 6, axis=0)
    size = np.where(ranks["class"] == "c2", 3.0, 1.0)[:, None]
    table, tables = catalog(ranks, means + size * rng.normal(size=(30, 40)))
    found = disparity.score_disparity(table, tables, EvaluateConfig()).set_index("clade")
    assert found.loc["c2", "value"] > 1.8 and found.loc["c2", "p_holm"] < 0.05 and found.loc["c2", "n"] == 6
    assert found.loc["c2", "ci_low"] < found.loc["c2", "value"] < found.loc["c2", "ci_high"]
    assert "more varied than the others: c2 (" in tell_disparity(found.reset_index())
    few, of_few = catalog(ranks_of(5, 1, 3), means[:15])
    why = disparity.score_disparity(few, of_few, EvaluateConfig())
    assert why["why"].tolist() == ["0 clades (class) have 4 species; two are needed"]
    assert "two are needed" in tell_disparity(why)
    flat, of_flat = catalog(ranks, means)
    assert set(disparity.score_disparity(flat, of_flat, EvaluateConfig())["why"]) == {
        "all species of a clade are one point"
    }
