"""Probes of hierarchy: do distances in the embedding follow distances in the tree, and could that be chance?

Takes features, labels and ranks; returns distances, correlations and their null distributions. Draws nothing.
"""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from . import RANKS


def tree_distance(ranks: pd.DataFrame) -> np.ndarray:
    """Count the ranks below the deepest one that two taxa share.

    Parameters
    ----------
    ranks : DataFrame of shape (n, 7)
        The seven ranks; '' where unknown.

    Returns
    -------
    ndarray of shape (n, n), int64
        0 for the same species, 1 for the same genus, ..., 7 for different kingdoms.

    Notes
    -----
    Two taxa share a rank only if they share all ranks above it, so an epithet or a genus name that occurs twice does not
    join strangers. An unknown rank is never shared, unless a deeper known one is: then the gap is passed over.

    Examples
    --------
    >>> rows = [("A", "B", "C", "D", "E", "F", s) for s in ("g", "h")]
    >>> tree_distance(pd.DataFrame(rows, columns=list(RANKS))).tolist()
    [[0, 1], [1, 0]]
    """
    values = ranks[list(RANKS)].to_numpy(dtype=str)
    together = np.ones((len(values), len(values)), dtype=bool)
    deepest = np.zeros(together.shape, dtype=np.int64)
    for depth in range(len(RANKS)):
        column = values[:, depth]
        known = (column != "")[:, None] & (column != "")[None, :]
        equal = column[:, None] == column[None, :]
        together &= equal | ~known  # a rank that either lacks decides nothing
        deepest[together & known & equal] = depth + 1
    np.fill_diagonal(deepest, len(RANKS))
    return len(RANKS) - deepest


def centroids(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Average the unit-length features of each label 0..C-1.

    Returns
    -------
    ndarray of shape (C, D)
        Not normalised.
    """
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    sums = np.zeros((labels.max() + 1, features.shape[1]))
    np.add.at(sums, labels, unit)
    return sums / np.bincount(labels)[:, None]


def embedding_distance(points: np.ndarray) -> np.ndarray:
    """Return cosine distances, 0 to 2, between rows (C, D), as (C, C)."""
    unit = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    distance = np.clip(1 - unit @ unit.T, 0, 2)  # (C, D) @ (D, C) -> (C, C)
    np.fill_diagonal(distance, 0)
    return distance


def mantel(a: np.ndarray, b: np.ndarray, n_permutations: int = 9_999, seed: int = 0) -> tuple[float, float, np.ndarray]:
    """Test whether two distance matrices are correlated (Mantel 1967), by Spearman's coefficient.

    Parameters
    ----------
    a, b : ndarray of shape (n, n)
        Symmetric distances.
    n_permutations, seed : int

    Returns
    -------
    rho : float
        Spearman correlation of the n (n - 1) / 2 pairs; nan if a matrix is constant.
    p_value : float
        One-sided: (1 + permutations with at least this correlation) / (1 + n_permutations).
    null : ndarray of shape (n_permutations,)
        The correlations when the objects of `a` are permuted.

    Notes
    -----
    Pairs share objects and are not independent; permuting objects, not pairs, keeps that. Ranks are computed once, since
    permuting objects only reorders the pairs.
    """
    n = len(a)
    upper = np.triu_indices(n, k=1)
    rank_a, rank_b = _standard_ranks(a[upper]), _standard_ranks(b[upper])
    if rank_a is None or rank_b is None:
        return float("nan"), 1.0, np.zeros(n_permutations)
    square = np.zeros((n, n))
    square[upper] = rank_a
    square += square.T
    rng, null = np.random.default_rng(seed), np.empty(n_permutations)
    for i in range(n_permutations):
        order = rng.permutation(n)
        null[i] = square[order[upper[0]], order[upper[1]]] @ rank_b
    rho = float(rank_a @ rank_b)
    hits = int((null >= rho - 1e-12).sum())
    return rho, (hits + 1) / (n_permutations + 1), null


def _standard_ranks(values: np.ndarray) -> np.ndarray | None:
    """Return ranks with mean 0 and unit length, so that a product of two is Spearman's rho; None if constant."""
    ranks = rankdata(values)
    ranks -= ranks.mean()
    length = np.linalg.norm(ranks)
    return ranks / length if length > 0 else None


def bootstrap_rho(
    a: np.ndarray, b: np.ndarray, n_bootstraps: int = 2_000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Estimate an interval for Spearman's correlation of two distance matrices by resampling objects.

    Returns
    -------
    low, high : float
        Basic percentiles, widened to contain the estimate.

    Notes
    -----
    An object drawn twice is at distance 0 from its copy in both matrices; such pairs are left out, else they would make any
    correlation look better.
    """
    n, rng = len(a), np.random.default_rng(seed)
    upper = np.triu_indices(n, k=1)
    rho = []
    for _ in range(n_bootstraps):
        drawn = rng.integers(n, size=n)
        i, j = drawn[upper[0]], drawn[upper[1]]
        apart = i != j
        ranks = _standard_ranks(a[i, j][apart]), _standard_ranks(b[i, j][apart])
        if ranks[0] is not None and ranks[1] is not None:
            rho.append(float(ranks[0] @ ranks[1]))
    point = _standard_ranks(a[upper]), _standard_ranks(b[upper])
    if not rho or point[0] is None or point[1] is None:
        return -1.0, 1.0
    low, high = np.quantile(rho, [(1 - level) / 2, (1 + level) / 2])
    observed = float(point[0] @ point[1])
    return float(min(low, observed)), float(max(high, observed))
