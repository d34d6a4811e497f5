"""Variety of clades and convergence by hand, found where they were put, p-values uniform where there is nothing."""

import numpy as np
import pytest
from scipy import stats

from bioclip_lib.config import EvaluateConfig
from bioclip_lib.structure import morphospace, score_convergence, tell

from .test_traits import catalog, ranks_of


def test_spread_by_hand():
    points, clades = np.array([[0.0, 0], [2, 0], [5, 5], [5, 8], [5, 5]]), np.array([0, 0, 1, 1, 1])
    # about (1, 0): squares of 1; about (5, 6): 1, 4, 1; times n / (n - 1)
    assert morphospace.spread(points, clades) == pytest.approx([2, 2, 1.5, 6, 1.5])
    assert morphospace.spread(points, clades)[2:].mean() == pytest.approx(points[2:].var(axis=0, ddof=1).sum())


def test_clades_are_compared_by_hand():
    squares, clades = np.array([1.0, 1, 1, 1, 3, 3, 3, 3]), np.repeat([0, 1], 4)
    low, high = morphospace.compare_clades(squares, clades, 0)
    assert (low["value"], high["value"]) == (1 / 3, 3) and low["ci_low"] == pytest.approx(low["ci_high"])  # no spread
    # 2 of the 70 ways to deal them give all of one kind to a clade: each side has 1 in 70
    assert low["p_value"] == pytest.approx(2 / 70, abs=0.02) and high["p_holm"] >= high["p_value"]


def test_the_interval_covers_the_ratio_of_other_species():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(300):
        own, others = 2 * rng.chisquare(20, 8), rng.chisquare(20, 15)
        low, high = morphospace._ratio_interval(own, others)
        hits += low < 2 < high
    assert 0.92 < hits / 300 < 0.99  # 0.95 is meant; seeded


def test_p_is_uniform_where_clades_are_alike(monkeypatch):
    monkeypatch.setattr(morphospace, "N_PERMUTATIONS", 39)
    clades, found = np.repeat([0, 1, 2], [4, 6, 8]), []
    for seed in range(200):
        squares = np.random.default_rng(seed).chisquare(3, 18)
        found.append(morphospace.compare_clades(squares, clades, seed)[0]["p_value"])
    # two-sided: in steps of 2/40
    spread = np.array(found) - np.random.default_rng(0).random(200) / 20
    assert stats.kstest(spread, "uniform").pvalue > 0.01  # seeded


def test_a_varied_clade_is_found_in_a_catalog_and_sets_of_few_say_why():
    rng, ranks = np.random.default_rng(0), ranks_of(5)
    means = np.repeat(5 * rng.normal(size=(5, 40)), 6, axis=0)
    size = np.where(ranks["class"] == "c2", 3.0, 1.0)[:, None]
    table, tables = catalog(ranks, means + size * rng.normal(size=(30, 40)))
    found = morphospace.score_disparity(table, tables, EvaluateConfig()).set_index("clade")
    assert found.loc["c2", "value"] > 1.8 and found.loc["c2", "p_holm"] < 0.05 and found.loc["c2", "n"] == 6
    assert found.loc["c2", "ci_low"] < found.loc["c2", "value"] < found.loc["c2", "ci_high"]
    assert "Shown above chance: c2 (class) " in tell(found.reset_index())
    few, of_few = catalog(ranks_of(5, 1, 3), means[:15])
    why = morphospace.score_disparity(few, of_few, EvaluateConfig())
    assert why["why"].tolist() == ["0 clades (class) have 4 species; two are needed"]
    assert "two are needed" in tell(why)
    flat, of_flat = catalog(ranks, means)
    assert set(morphospace.score_disparity(flat, of_flat, EvaluateConfig())["why"]) == {
        "all species of a clade are one point"
    }


def test_four_species_by_hand():
    points, clades = np.array([[0.0, 1], [0, -1], [4, 1], [4, -1]]), np.array([0, 0, 1, 1])
    pairs, found, least = morphospace.closeness(points, clades, 0)
    # the means are 4 apart and each species 1 from its own: 16 + 1 + 1 by kinship alone; 16 side by side, 20 across
    assert pairs.T.tolist() == [[0, 2], [0, 3], [1, 2], [1, 3]]
    assert found == pytest.approx([16 / 18, 20 / 18, 20 / 18, 16 / 18])
    assert least == pytest.approx(16 / 18)  # of two species nothing but the side can be turned: some pair is alike


def test_turning_keeps_the_mean_and_what_species_vary_by():
    turn = morphospace.turned(5, np.random.default_rng(0))
    assert turn.sum(axis=0) == pytest.approx(np.zeros(5)) and turn @ turn.T == pytest.approx(np.eye(5) - 1 / 5)


def test_a_species_that_comes_toward_another_clade_is_nearer_too():
    points, clades = np.array([[0.0, 0], [2, 0], [8, 0], [10, 0]]), np.array([0, 0, 1, 1])
    _, found, _ = morphospace.closeness(points, clades, 0)
    assert found == pytest.approx(np.array([64, 100, 36, 64]) / (64 + 1 + 1))


def test_p_is_uniform_where_species_deviate_at_random(monkeypatch):
    monkeypatch.setattr(morphospace, "N_TURNS", 19)
    clades, found = np.repeat([0, 1, 2], [5, 7, 6]), []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        points = 2 * rng.normal(size=(3, 12))[clades] + rng.normal(size=(18, 12))
        _, ratios, least = morphospace.closeness(points, clades, seed)
        found.append(morphospace.p_value_of(-ratios.min(), -least))
    spread = np.array(found) - np.random.default_rng(0).random(200) / 20
    assert stats.kstest(spread, "uniform").pvalue > 0.01  # seeded


def test_a_pair_that_was_made_alike_is_found_in_a_catalog_and_sets_of_few_say_why():
    rng, ranks = np.random.default_rng(0), ranks_of(5)
    points = np.repeat(5 * rng.normal(size=(5, 40)), 6, axis=0) + 2 * rng.normal(size=(30, 40))
    points[7] = points[20] + 0.5 * rng.normal(size=40)
    table, tables = catalog(ranks, points)
    found = score_convergence(table, tables, EvaluateConfig())
    first, shown = found.iloc[0], found[found["p_family"] < 0.05]
    named = (ranks["genus"] + " " + ranks["species"]).to_numpy()
    assert {first["species"], first["like"]} == set(named[[7, 20]]) and len(found) == 10
    assert first["value"] < 0.2 and first["p_family"] == 1 / 200 and first["n"] == 30 * 24 / 2
    assert ((shown["species"] == named[7]) | (shown["like"] == named[7])).all()  # it lies among the other clade now
    assert f"Shown below chance: class ({first['species']}, {first['like']}) 0." in tell(found.assign(model="trained"))
    few, of_few = catalog(ranks_of(5, 1, 3), points[:15])
    why = score_convergence(few, of_few, EvaluateConfig())
    assert why["why"].tolist() == ["0 clades (class) have 4 species; two are needed"]
    assert "Not asked: class (0 clades (class) have 4 species; two are needed)" in tell(why)
    flat, of_flat = catalog(ranks, np.ones((30, 40)))
    assert score_convergence(flat, of_flat, EvaluateConfig())["why"].tolist() == ["all species are one point"]


@pytest.mark.filterwarnings("error")
def test_clades_that_are_one_point_and_too_many_species_say_why(monkeypatch):
    points = np.random.default_rng(0).normal(size=(30, 40))
    one, of_one = catalog(ranks_of(5), np.concatenate([points[:18], np.full((12, 40), 0.3)]))
    assert score_convergence(one, of_one, EvaluateConfig())["why"].tolist() == [
        "all species of two clades are one point"
    ]
    alone, of_alone = catalog(ranks_of(5), np.concatenate([points[:24], np.full((6, 40), 0.3)]))
    found = score_convergence(alone, of_alone, EvaluateConfig())
    assert set(found["why"]) == {""} and found["value"].notna().all()
    monkeypatch.setattr(morphospace, "MAX_SPECIES", 29)
    why = score_convergence(alone, of_alone, EvaluateConfig())
    assert why["why"].tolist() == ["30 species are more than the 29 that can be compared in a minute"]
    assert why["why"][0] in tell(why)
