"""Tree distances by hand, the Mantel test by its null, the bootstrap by its plain form."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bioclip_lib import RANKS
from bioclip_lib.errors import InputError
from bioclip_lib.structure import hierarchy
from bioclip_lib.taxonomy.ranks import tree_distance


def lineages(*rows):
    return pd.DataFrame(rows, columns=list(RANKS))


def random_distance(rng, n):
    points = rng.normal(size=(n, 3))
    return np.linalg.norm(points[:, None] - points[None], axis=2)


LION = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Panthera", "leo")

# Tree distance


@pytest.mark.parametrize("depth", range(7))
def test_distance_counts_the_ranks_below_the_last_shared_one(depth):
    other = [name if i < depth else "x" + name for i, name in enumerate(LION)]
    assert tree_distance(lineages(LION, other))[0, 1] == 7 - depth


def test_homonyms_join_nobody():
    tree = tree_distance(
        lineages(
            ("Animalia", "Mollusca", "Bivalvia", "O1", "F1", "Morus", "alba"),
            ("Plantae", "Tracheophyta", "Magnoliopsida", "O2", "F2", "Morus", "alba"),
            ("Animalia", "Mollusca", "Bivalvia", "O1", "F9", "Genus", "alba"),
        )
    )
    assert tree.tolist() == [[0, 7, 3], [7, 0, 7], [3, 7, 0]]


def test_missing_ranks_are_never_shared():
    order = ("Animalia", "Arthropoda", "Copepoda", "", "", "", "")
    unknown = ("",) * 7
    gap = ("", "Chordata", "Mammalia", "", "Felidae", "Panthera", "leo")
    tree = tree_distance(lineages(order, order, unknown, unknown, LION, gap))
    assert tree[0, 1] == 4 and tree[2, 3] == 7 and tree[2, 4] == 7 and tree[0, 4] == 6
    assert tree[4, 5] == 0  # a gap is passed over where deeper ranks agree
    assert np.diag(tree).tolist() == [0] * 6


lineage = st.tuples(*[st.sampled_from(["A", "B", ""])] * 7)


@given(st.lists(lineage, min_size=1, max_size=8), st.randoms())
def test_tree_distance_is_a_property_of_pairs(rows, rnd):
    tree = tree_distance(lineages(*rows))
    assert (tree == tree.T).all() and ((0 <= tree) & (tree <= 7)).all() and (np.diag(tree) == 0).all()
    order = list(range(len(rows)))
    rnd.shuffle(order)
    assert (tree_distance(lineages(*[rows[i] for i in order])) == tree[np.ix_(order, order)]).all()


@given(st.lists(st.tuples(*[st.sampled_from("AB")] * 7), min_size=3, max_size=8))
def test_whole_lineages_are_ultrametric(rows):
    tree = tree_distance(lineages(*rows))
    assert (tree[:, None, :] <= np.maximum(tree[:, :, None], tree[None, :, :])).all()


# Centroids and distances


def test_centroids_by_hand():
    features = np.array([[3.0, 0.0], [0.0, 0.5], [0.0, 9.0], [0.0, 0.0]], dtype=np.float32)
    assert hierarchy.centroids(features, np.array([1, 1, 0, 2])).tolist() == [[0, 1], [0.5, 0.5], [0, 0]]


def test_centroids_refuse_gaps_and_nan():
    with pytest.raises(InputError, match="no image to average"):
        hierarchy.centroids(np.eye(2), np.array([0, 2]))
    with pytest.raises(InputError, match="NaN"):
        hierarchy.centroids(np.array([[np.nan, 1.0]]), np.array([0]))
    with pytest.raises(InputError, match="NaN"):
        hierarchy.embedding_distance(np.array([[np.nan, 1.0]]))


def test_embedding_distance_is_exactly_symmetric_and_ignores_lengths():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(40, 20))
    distance = hierarchy.embedding_distance(points)
    assert (distance == distance.T).all() and (np.diag(distance) == 0).all()
    scaled = hierarchy.embedding_distance(points * rng.uniform(0.1, 9, size=(40, 1)))
    assert scaled == pytest.approx(distance, abs=1e-12)
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    assert distance == pytest.approx(((unit[:, None] - unit[None]) ** 2).sum(axis=2) / 2, abs=1e-12)


# Mantel


def test_a_matrix_correlates_with_itself_and_its_reverse():
    a = random_distance(np.random.default_rng(1), 12)
    rho, p_value, null = hierarchy.mantel(a, a, 499)
    assert rho == pytest.approx(1) and p_value == 1 / 500 and len(null) == 499 and (null < 1).all()
    rho, p_value, _ = hierarchy.mantel(a, -a, 499)
    assert rho == pytest.approx(-1) and p_value == 1


def test_rho_is_spearmans_and_monotone_maps_keep_it():
    rng = np.random.default_rng(2)
    a, b = random_distance(rng, 15), np.round(random_distance(rng, 15))  # with ties
    upper = np.triu_indices(15, k=1)
    rho = hierarchy.mantel(a, b, 9)[0]
    assert rho == pytest.approx(stats.spearmanr(a[upper], b[upper]).statistic)
    assert hierarchy.mantel(np.exp(a), b**3, 9)[0] == pytest.approx(rho)
    assert hierarchy.mantel(b, a, 9)[0] == pytest.approx(rho)
    order = rng.permutation(15)
    assert hierarchy.mantel(a[np.ix_(order, order)], b[np.ix_(order, order)], 9)[0] == pytest.approx(rho)


def test_the_null_is_that_of_all_orders_of_the_objects():
    rng = np.random.default_rng(3)
    a, b = random_distance(rng, 5), random_distance(rng, 5)
    upper = np.triu_indices(5, k=1)
    exact = [
        stats.spearmanr(a[np.ix_(o, o)][upper], b[upper]).statistic for o in map(list, itertools.permutations(range(5)))
    ]
    rho, p_value, null = hierarchy.mantel(a, b, 20_000)
    assert set(np.round(null, 9)) <= set(np.round(exact, 9))
    assert p_value == pytest.approx(np.mean(np.array(exact) >= rho - 1e-9), abs=0.015)  # 4 standard errors
    assert null.mean() == pytest.approx(np.mean(exact), abs=0.015)


def test_p_values_of_unrelated_matrices_are_uniform():
    p = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        p.append(hierarchy.mantel(random_distance(rng, 10), random_distance(rng, 10), 99, seed)[1])
    assert stats.kstest(p, "uniform").pvalue > 0.01  # seeded
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.09


def test_a_tree_in_the_features_is_found_and_a_shuffled_one_is_not():
    rng = np.random.default_rng(4)
    codes = np.stack([np.arange(40) // d for d in (20, 10, 8, 6, 4, 2, 1)], axis=1)
    tree = tree_distance(lineages(*[[f"{r}{c}" for r, c in zip(RANKS, row, strict=True)] for row in codes]))
    steps = [rng.normal(size=(code.max() + 1, 12))[code] for code in codes.T]
    points = np.sum(steps, axis=0)
    rho, p_value, _ = hierarchy.mantel(hierarchy.embedding_distance(points), tree, 999)
    assert rho > 0.3 and p_value == 1 / 1_000
    shuffled = hierarchy.embedding_distance(points[rng.permutation(40)])
    assert hierarchy.mantel(shuffled, tree, 999)[1] > 0.05


def test_seed_and_number_of_permutations_matter():
    rng = np.random.default_rng(5)
    a, b = random_distance(rng, 9), random_distance(rng, 9)
    first = hierarchy.mantel(a, b, 99)[2]
    assert (hierarchy.mantel(a, b, 99)[2] == first).all()
    assert (hierarchy.mantel(a, b, 99, seed=1)[2] != first).any()


def test_a_constant_matrix_has_no_correlation():
    a, constant = random_distance(np.random.default_rng(6), 6), np.ones((6, 6))
    rho, p_value, null = hierarchy.mantel(a, constant, 99)
    assert np.isnan(rho) and p_value == 1 and len(null) == 99
    assert hierarchy.bootstrap_rho(a, constant, 99) == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.ones((4, 4)), np.ones((5, 5))),
        (np.ones((4, 5)), np.ones((4, 5))),
        (np.ones((2, 2)), np.ones((2, 2))),
        (np.full((4, 4), np.nan), np.ones((4, 4))),
        (np.arange(16.0).reshape(4, 4), np.ones((4, 4))),
    ],
    ids=["sizes", "not square", "two objects", "nan", "not symmetric"],
)
def test_what_is_no_distance_is_refused(a, b):
    for probe in (hierarchy.mantel, hierarchy.bootstrap_rho):
        with pytest.raises(InputError, match="distances"):
            probe(a, b, 9)


# Bootstrap


def test_the_weighted_bootstrap_is_the_plain_one():
    rng = np.random.default_rng(7)
    a, b = random_distance(rng, 11), np.round(2 * random_distance(rng, 11))
    draws = np.random.default_rng(3)
    upper = np.triu_indices(11, k=1)
    rhos = []
    for _ in range(300):
        drawn = draws.integers(11, size=11)
        i, j = drawn[upper[0]], drawn[upper[1]]
        rhos.append(stats.spearmanr(a[i, j][i != j], b[i, j][i != j]).statistic)
    assert hierarchy.bootstrap_rho(a, b, 300, seed=3) == pytest.approx(np.quantile(rhos, [0.025, 0.975]))
    first = hierarchy.bootstrap_rho(a, b, 300, seed=3)
    for change in ({"seed": 4}, {"n_bootstraps": 200}):
        assert hierarchy.bootstrap_rho(a, b, **{"n_bootstraps": 300, "seed": 3, **change}) != first


def test_the_interval_holds_the_estimate():
    rng = np.random.default_rng(8)
    for n in (3, 4, 8, 30):
        a, b = random_distance(rng, n), random_distance(rng, n)
        low, high = hierarchy.bootstrap_rho(a, b, 200)
        assert -1 <= low <= hierarchy.mantel(a, b, 1)[0] <= high <= 1


# Nearest neighbours


def table_of(kingdoms, genera):
    return lineages(*[(k, "", "", "", "", g, "") for k, g in zip(kingdoms, genera, strict=True)])
