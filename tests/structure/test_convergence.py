"""Convergence by hand, found where it was put, p uniform where species deviate from their clades at random."""

import numpy as np
import pytest
from scipy import stats

from bioclip_lib.config import EvaluateConfig
from bioclip_lib.structure import convergence, score_convergence, tell_convergence

from .test_traits import catalog, ranks_of


def test_four_species_by_hand():
    points, clades = np.array([[0.0, 1], [0, -1], [4, 1], [4, -1]]), np.array([0, 0, 1, 1])
    pairs, found, least = convergence.closeness(points, clades, 0)
    # the means are 4 apart and each species 1 from its own: 16 + 1 + 1 by kinship alone; 16 side by side, 20 across
    assert pairs.T.tolist() == [[0, 2], [0, 3], [1, 2], [1, 3]]
    assert found == pytest.approx([16 / 18, 20 / 18, 20 / 18, 16 / 18])
    assert least == pytest.approx(16 / 18)  # of two species nothing but the side can be turned: some pair is alike


def test_turning_keeps_the_mean_and_what_species_vary_by():
    turn = convergence.turned(5, np.random.default_rng(0))
    assert turn.sum(axis=0) == pytest.approx(np.zeros(5)) and turn @ turn.T == pytest.approx(np.eye(5) - 1 / 5)


def test_a_species_that_comes_toward_another_clade_is_nearer_too():
    points, clades = np.array([[0.0, 0], [2, 0], [8, 0], [10, 0]]), np.array([0, 0, 1, 1])
    _, found, _ = convergence.closeness(points, clades, 0)
    assert found == pytest.approx(np.array([64, 100, 36, 64]) / (64 + 1 + 1))


def test_p_is_uniform_where_species_deviate_at_random(monkeypatch):
    monkeypatch.setattr(convergence, "N_TURNS", 19)
    clades, found = np.repeat([0, 1, 2], [5, 7, 6]), []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        points = 2 * rng.normal(size=(3, 12))[clades] + rng.normal(size=(18, 12))
        _, ratios, least = convergence.closeness(points, clades, seed)
        found.append(convergence.p_value_of(-ratios.min(), -least))
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
    assert f"{first['species']} and {first['like']}" in tell_convergence(found.assign(model="trained"))
    few, of_few = catalog(ranks_of(5, 1, 3), points[:15])
    why = score_convergence(few, of_few, EvaluateConfig())
    assert why["why"].tolist() == ["0 clades (class) have 4 species; two are needed"]
    assert "two are needed" in tell_convergence(why)
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
    monkeypatch.setattr(convergence, "MAX_SPECIES", 29)
    why = score_convergence(alone, of_alone, EvaluateConfig())
    assert why["why"].tolist() == ["30 species are more than the 29 that can be compared in a minute"]
    assert why["why"][0] in tell_convergence(why)
