"""Probes on a tree of four species by hand, beside scipy, scikit-learn and dendropy; p-values uniform by chance."""

import itertools
from functools import cache

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


def test_four_species_by_hand():
    assert probes.clades_found(GOOD)(FOUR) == 1 and probes.clades_found(BAD)(FOUR) == 0
    heights, pairs = np.array([0.1, 0.8, 0.8, 0.8, 0.8, 0.3]), np.array([1, 2, 2, 2, 2, 1])
    assert probes.cophenetic(GOOD)(FOUR) == pytest.approx(np.corrcoef(heights, pairs)[0, 1])
    silhouettes = [(0.8 - 0.1) / 0.8] * 2 + [(0.8 - 0.3) / 0.8] * 2
    assert probes.silhouette(GOOD, GENUS)(FOUR) == pytest.approx(np.mean(silhouettes))
    assert probes.purity(GOOD, GENUS)(FOUR) == 1 and probes.purity(BAD, GENUS)(FOUR) == 0
    total = (2 * 0.1 + 2 * 0.3 + 8 * 0.8) / 4
    assert probes.variance_share(GOOD, GENUS)(FOUR) == pytest.approx((total - 0.1 - 0.3) / total)
    assert probes.variance_share(GOOD, RANKS.index("family"))(FOUR) == 0


def test_a_rank_with_one_group_or_lonely_species_says_nothing():
    alone = np.array([[0, 2, 2], [2, 0, 2], [2, 2, 0]])
    for probe in (probes.silhouette, probes.purity):
        assert np.isnan(probe(GOOD, RANKS.index("kingdom"))(FOUR)) and np.isnan(probe(GOOD[:3, :3], GENUS)(alone))
    assert probes._tested(probes.cophenetic, (np.zeros((4, 4)), FOUR, np.zeros(4)), -1.0, None, 0) == []


def test_groups_nest():
    _, tree = random_world(0)
    depths = [probes.groups_at(tree, depth).max() + 1 for depth in range(-1, len(RANKS))]
    assert depths == [1, 1, 1, 1, 3, 6, 12, 24]


def test_whole_silhouettes_are_those_of_scikit_learn():
    distance, tree = random_world(1, signal=1.0)
    order = RANKS.index("order")  # its group above is all
    expected = silhouette_score(distance, probes.groups_at(tree, order), metric="precomputed")
    assert probes.silhouette(distance, order)(tree) == pytest.approx(expected)


def test_variance_adds_up_and_is_that_of_coordinates():
    distance, tree = random_world(2)
    shares = [probes.variance_share(distance, depth)(tree) for depth in range(len(RANKS))]
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
    assert probes.clades_found(distance)(tree) == pytest.approx(1 - differing / sum(n_clades))


@pytest.mark.parametrize(
    ("probe", "rank"),
    [(probes.cophenetic, ""), (probes.clades_found, ""), *[(p, "family") for p, _ in probes.BY_RANK.values()]],
)
def test_p_values_are_uniform_where_there_is_nothing_and_small_where_there_is(monkeypatch, probe, rank):
    monkeypatch.setattr(probes, "N_PERMUTATIONS", 9)
    depth = RANKS.index(rank) if rank else 0
    asked = (lambda some: probe(some, depth)) if rank else probe

    def p_value(seed, signal):
        distance, tree = random_world(seed, n_orders=2, signal=signal)
        distances = distance, tree, np.zeros(len(tree))
        return probes._tested(asked, distances, -1.0, depth if rank else None, seed)[0]["p_value"]

    found = np.array([p_value(seed, 0.0) for seed in range(200)])
    counts = np.bincount((found * 10 + 0.5).astype(int) - 1, minlength=10)
    if probe is not probes.clades_found:  # few clades are found by chance: ties make its p-values large
        assert stats.chisquare(counts).pvalue > 1e-3
    assert (found < 0.15).mean() < 0.18  # 0.1 is expected
    assert np.mean([p_value(seed, 1.5) for seed in range(10)]) < 0.25
