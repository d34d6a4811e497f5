"""Probes on a tree of four species by hand, beside scipy, scikit-learn and dendropy; p-values uniform by chance."""

import itertools
from functools import cache, partial

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import silhouette_score

from bioclip_lib import RANKS
from bioclip_lib.structure import probes
from bioclip_lib.taxonomy.ranks import tree_distance

# two genera of two species: a, b | c, d
FOUR = np.array([[0, 1, 2, 2], [1, 0, 2, 2], [2, 2, 0, 1], [2, 2, 1, 0]])
GOOD = np.array([[0, 0.1, 0.8, 0.8], [0.1, 0, 0.8, 0.8], [0.8, 0.8, 0, 0.3], [0.8, 0.8, 0.3, 0]])
BAD = GOOD[np.ix_([0, 2, 1, 3], [0, 2, 1, 3])]  # a lies beside c, b beside d
GENUS = RANKS.index("genus")
PROBES = [probe for probe, _ in probes.BY_RANK.values()]


@cache
def tree_of(n_orders):
    """Orders of two families of two genera of two species each."""
    rows = [
        ("A", "C", "V", f"o{o}", f"f{o}{f}", f"g{o}{f}{g}", f"s{s}")
        for o, f, g, s in itertools.product(range(n_orders), range(2), range(2), range(2))
    ]
    return tree_distance(pd.DataFrame(rows, columns=list(RANKS)))


def random_world(seed, n_orders=3, signal=0.0):
    """Distances of species whose order and family show as far as `signal` says, and their tree."""
    rng = np.random.default_rng(seed)
    kin = rng.normal(size=(n_orders, 8)).repeat(8, axis=0) + rng.normal(size=(2 * n_orders, 8)).repeat(4, axis=0)
    points = signal * kin + rng.normal(size=(8 * n_orders, 8))
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    distance = 1 - unit @ unit.T
    np.fill_diagonal(distance, 0)
    return (distance + distance.T) / 2, tree_of(n_orders)


def score(probe, embedding, tree, *depth):
    return probe(embedding, probes.Tree.of(tree), *depth)(np.arange(len(tree)))


def test_four_species_by_hand():
    assert score(probes.clades_found, GOOD, FOUR) == 1 and score(probes.clades_found, BAD, FOUR) == 0
    heights, pairs = np.array([0.1, 0.8, 0.8, 0.8, 0.8, 0.3]), np.array([1, 2, 2, 2, 2, 1])
    assert score(probes.cophenetic, GOOD, FOUR) == pytest.approx(np.corrcoef(heights, pairs)[0, 1])
    silhouettes = [(0.8 - 0.1) / 0.8] * 2 + [(0.8 - 0.3) / 0.8] * 2
    assert score(probes.silhouette, GOOD, FOUR, GENUS) == pytest.approx(np.mean(silhouettes))
    assert score(probes.purity, GOOD, FOUR, GENUS) == 1 and score(probes.purity, BAD, FOUR, GENUS) == 0
    assert score(probes.linear, GOOD, FOUR, GENUS) == 1 and score(probes.linear, BAD, FOUR, GENUS) == 0
    total = (2 * 0.1 + 2 * 0.3 + 8 * 0.8) / 4
    assert score(probes.variance_share, GOOD, FOUR, GENUS) == pytest.approx((total - 0.1 - 0.3) / total)
    assert score(probes.variance_share, GOOD, FOUR, RANKS.index("family")) == 0


@pytest.mark.parametrize("probe", [*PROBES, probes.cophenetic, probes.clades_found])
def test_an_order_of_the_species_is_another_tree(probe):
    distance, tree = random_world(5, signal=0.7)
    depth = () if probe in (probes.cophenetic, probes.clades_found) else (RANKS.index("order"),)
    rng = np.random.default_rng(0)
    for _ in range(3):
        order = rng.permutation(len(tree))
        moved = probe(distance, probes.Tree.of(tree), *depth)(order)
        assert moved == pytest.approx(score(probe, distance, tree[np.ix_(order, order)], *depth))


ALONE = np.array([[0, 2, 2], [2, 0, 2], [2, 2, 0]])


@pytest.mark.parametrize(
    ("tree", "rank", "why"),
    [
        (FOUR, "kingdom", "all are of one group"),
        (ALONE, "genus", "no species has both a relative in its group and a sister group inside the group above"),
        (FOUR, "genus", ""),
    ],
)
@pytest.mark.parametrize("probe", PROBES)
def test_a_rank_that_cannot_be_asked_says_why(probe, tree, rank, why):
    depth, n = RANKS.index(rank), len(tree)
    distances = (GOOD[:n, :n], probes.Tree.of(tree), np.zeros(n))
    found = probes._tested(partial(probe, depth=depth), distances, -1.0, depth, 0)
    assert found.get("why", "") == why and ("value" in found) == (why == "")


def test_species_that_are_all_alike_say_so():
    flat = (np.zeros((4, 4)), probes.Tree.of(FOUR), np.zeros(4))
    assert probes._tested(probes.cophenetic, flat, -1.0, None, 0) == {"why": "all lie equally far apart"}


def test_groups_nest():
    _, tree = random_world(0)
    assert (probes.Tree.of(tree).groups.max(axis=0) + 1).tolist() == [1, 1, 1, 1, 3, 6, 12, 24]


def test_the_linear_probe_is_ridge_of_scikit_learn_with_each_species_left_out():
    from sklearn.linear_model import RidgeClassifier

    rng = np.random.default_rng(7)
    points = 0.6 * rng.normal(size=(3, 8)).repeat(8, axis=0) + rng.normal(size=(24, 8))
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    labels, hits = np.arange(24) // 8, []
    for i in range(24):
        others = np.arange(24) != i
        model = RidgeClassifier(alpha=1.0, fit_intercept=False).fit(unit[others], labels[others])
        hits.append(model.predict(unit[[i]])[0] == labels[i])
    assert 0.3 < np.mean(hits) < 1
    assert score(probes.linear, 1 - unit @ unit.T, tree_of(3), RANKS.index("order")) == pytest.approx(np.mean(hits))


def test_the_effective_dimension_counts_directions_however_few_points_there_are():
    cross = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]] * 500)
    assert probes.effective_dimension(cross) == pytest.approx(2, rel=0.01)
    assert probes.effective_dimension(cross * [1.0, 0.0]) == pytest.approx(1, rel=0.01)
    assert np.isnan(probes._concentration(np.ones((5, 3)))) and np.isnan(probes._concentration(np.eye(2)))
    rng = np.random.default_rng(0)
    spectrum = np.array([4.0] * 4 + [1.0] * 16)  # (16 + 16)^2 / (4 * 16 + 16) = 12.8
    few = [probes.effective_dimension(np.sqrt(spectrum) * rng.normal(size=(15, 20))) for _ in range(400)]
    assert 1 / np.mean(1 / np.array(few)) == pytest.approx(12.8, rel=0.1)  # the plain ratio gives 7


def test_fewer_directions_between_species_than_between_random_groups_of_images():
    rng = np.random.default_rng(1)
    labels, clades = np.repeat(np.arange(10), 6), np.repeat(np.arange(5), 2)
    means = rng.normal(size=(10, 2)) @ rng.normal(size=(2, 12))
    found = probes._dimension(means[labels] + rng.normal(size=(60, 12)), labels, clades, 0)
    assert found["value"] < 4 < 5 < found["by_chance"] and found["p_value"] == 0.02
    assert found["ci_low"] <= found["value"] <= found["ci_high"]


def test_whole_silhouettes_are_those_of_scikit_learn():
    distance, tree = random_world(1, signal=1.0)
    order = RANKS.index("order")  # its group above is all
    expected = silhouette_score(distance, np.arange(24) // 8, metric="precomputed")
    assert score(probes.silhouette, distance, tree, order) == pytest.approx(expected)


def test_variance_adds_up_and_is_that_of_coordinates():
    distance, tree = random_world(2)
    shares = [score(probes.variance_share, distance, tree, depth) for depth in range(len(RANKS))]
    assert sum(shares) == pytest.approx(1) and min(shares) >= 0


def test_clades_are_those_of_dendropy():
    dendropy = pytest.importorskip("dendropy", reason="dendropy is not installed")
    from dendropy.calculate import treecompare

    distance, tree = random_world(3, signal=0.6)
    names = dendropy.TaxonNamespace([str(i) for i in range(len(tree))])
    steps = [str(i) for i in range(len(tree))]
    for one, other in linkage(squareform(distance), "average")[:, :2].astype(int):
        steps.append(f"({steps[one]},{steps[other]})")
    known = {frozenset(np.flatnonzero(row)) for level in range(1, 8) for row in tree <= level}
    nested = sorted((clade for clade in known if len(clade) > 1), key=len)
    text = {frozenset([i]): str(i) for i in range(len(tree))}
    for clade in nested:
        inside = [other for other in text if other < clade]
        parts = [other for other in inside if not any(other < more for more in inside)]
        text[clade] = "(" + ",".join(text[part] for part in parts) + ")"
    both = [f"[&R] {steps[-1]};", f"[&R] {text[frozenset(range(len(tree)))]};"]
    one, other = (dendropy.Tree.get(data=newick, schema="newick", taxon_namespace=names) for newick in both)
    differing = treecompare.symmetric_difference(one, other)
    n_clades = [sum(1 for node in t.preorder_internal_node_iter(exclude_seed_node=True)) for t in (one, other)]
    assert score(probes.clades_found, distance, tree) == pytest.approx(1 - differing / sum(n_clades))


def test_the_variance_share_is_that_of_permanova_in_scikit_bio():
    stats_of = pytest.importorskip("skbio.stats.distance", reason="scikit-bio is not installed")
    for seed in range(5):
        distance, tree = random_world(seed, signal=0.3 * seed)
        # squares of Euclidean distances of unit vectors are twice their cosine distances; 3 orders of 24 species
        found = stats_of.permanova(stats_of.DistanceMatrix(np.sqrt(2 * distance)), np.arange(24) // 8, permutations=0)
        share = score(probes.variance_share, distance, tree, RANKS.index("order"))
        assert share / (3 - 1) / ((1 - share) / (24 - 3)) == pytest.approx(found["test statistic"], rel=1e-9)


@pytest.mark.parametrize(
    ("probe", "rank"), [(probes.cophenetic, ""), (probes.clades_found, ""), *[(probe, "family") for probe in PROBES]]
)
def test_p_values_are_uniform_where_there_is_nothing_and_small_where_there_is(monkeypatch, probe, rank):
    monkeypatch.setattr(probes, "N_PERMUTATIONS", 9)
    depth = RANKS.index(rank) if rank else None
    asked = partial(probe, depth=depth) if rank else probe
    known, rng, ranks = probes.Tree.of(tree_of(2)), np.random.default_rng(0), []

    def p_value(value, null):  # where equal values are put in a random order, p is uniform whatever takes few values
        ties = (np.abs(null - value) < 1e-12).sum()
        ranks.append((null > value + 1e-12).sum() + rng.integers(ties + 1))
        return of_probes(value, null)

    def tested(seed, signal):
        distances = random_world(seed, n_orders=2, signal=signal)[0], known, np.zeros(16)
        return probes._tested(asked, distances, -1.0, depth, seed)["p_value"]

    of_probes = probes.p_value_of
    monkeypatch.setattr(probes, "p_value_of", p_value)
    found = np.array([tested(seed, 0.0) for seed in range(200)])
    assert stats.chisquare(np.bincount(ranks, minlength=10)).pvalue > 1e-3
    assert (found >= (np.array(ranks) + 1) / 10 - 1e-9).all()  # equal values only make p larger
    assert np.mean([tested(seed, 1.5) for seed in range(10)]) < 0.25


def test_p_values_of_the_dimension_are_uniform_where_species_are_random_groups(monkeypatch):
    monkeypatch.setattr(probes, "N_DEALS", 19)
    labels, clades = np.repeat(np.arange(6), 4), np.zeros(6)
    points = [np.random.default_rng(seed).normal(size=(24, 4)) for seed in range(200)]
    found = np.array([probes._dimension(of, labels, clades, seed)["p_value"] for seed, of in enumerate(points)])
    assert stats.chisquare(np.bincount((found * 10 + 0.5).astype(int) - 1, minlength=10)).pvalue > 1e-3
