"""Probes of hierarchy: do distances in the embedding follow distances in the tree, and could that be chance?

Takes features, labels and ranks; returns distances, correlations and their null distributions. Draws nothing. Refuses
features and distances that are not finite, and matrices that are not symmetric.
"""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from .. import RANKS
from ..config import EvaluateConfig
from ..errors import InputError
from ..evaluation.statistics import LEVEL, p_value_interval
from ..evaluation.tasks import SCORE_COLUMNS, Features, evaluated_images, rows_of
from ..taxonomy.ranks import tree_distance

MIN_SPECIES = 4  # fewer have too few pairs to correlate


def centroids(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Average the unit-length features of each label 0..C-1.

    Parameters
    ----------
    features : ndarray of shape (n, D)
    labels : ndarray of shape (n,), int
        Every number from 0 to the largest occurs.

    Returns
    -------
    ndarray of shape (C, D), float64
        Not normalised.

    Raises
    ------
    InputError
        If a feature is not finite, or a label has no image.

    Examples
    --------
    >>> centroids(np.array([[2.0, 0.0], [0.0, 3.0], [5.0, 0.0]]), np.array([0, 0, 1])).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    counts = np.bincount(labels)
    if not len(counts) or not counts.all():
        raise InputError("a species has no image to average; number the species that occur from 0 (np.unique)")
    sums = np.zeros((len(counts), features.shape[1]))
    np.add.at(sums, labels, _unit(features))
    return sums / counts[:, None]


def embedding_distance(points: np.ndarray) -> np.ndarray:
    """Return cosine distances, 0 to 2, between rows (C, D), as (C, C).

    Raises
    ------
    InputError
        If a value is not finite.

    Examples
    --------
    >>> embedding_distance(np.array([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])).tolist()
    [[0.0, 1.0, 2.0], [1.0, 0.0, 1.0], [2.0, 1.0, 0.0]]
    """
    unit = _unit(points)
    distance = np.clip(1 - unit @ unit.T, 0, 2)  # (C, D) @ (D, C) -> (C, C)
    distance = (distance + distance.T) / 2  # a product is symmetric only up to rounding
    np.fill_diagonal(distance, 0)
    return distance


def _unit(rows: np.ndarray) -> np.ndarray:
    """Scale rows to unit length in float64; a row of zeros stays."""
    rows = np.asarray(rows, dtype=np.float64)
    if not np.isfinite(rows).all():
        raise InputError("features hold NaN or infinity; compute them again")
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)


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

    Raises
    ------
    InputError
        If the matrices are not square, symmetric, finite and of one shape.

    Notes
    -----
    Pairs share objects and are not independent; permuting objects, not pairs, keeps that. Ranks are computed once,
    since permuting objects only reorders the pairs. n objects have only n! orders: five cannot give p < 1 / 120.

    Examples
    --------
    >>> a = np.abs(np.subtract.outer(np.arange(8.0), np.arange(8.0)))
    >>> rho, p_value, null = mantel(a, a**2, n_permutations=999)
    >>> round(rho, 6), p_value < 0.01, len(null)
    (1.0, True, 999)
    """
    rank_a, rank_b = (_standard_ranks(pairs) for pairs in _pairs(a, b))
    if rank_a is None or rank_b is None:
        return float("nan"), 1.0, np.zeros(n_permutations)
    n = len(a)
    square_a, square_b = _square(rank_a, n), _square(rank_b, n)
    rng, null, permuted = np.random.default_rng(seed), np.empty(n_permutations), np.empty((n, n))
    for i in range(n_permutations):
        order = rng.permutation(n)
        # whole rows first; mode="clip" writes the columns unbuffered: 8 times as fast as square_a[order][:, order]
        np.take(square_a[order], order, axis=1, out=permuted, mode="clip")
        null[i] = np.vdot(permuted, square_b) / 2  # each pair is there twice
    rho = float(rank_a @ rank_b)
    hits = int((null >= rho - 1e-12).sum())
    return rho, (hits + 1) / (n_permutations + 1), null


def _pairs(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the upper triangles of two distance matrices; refuse what are none."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.ndim != 2 or a.shape != b.shape or a.shape[0] != a.shape[1] or len(a) < 3:
        raise InputError(f"distances of shapes {a.shape} and {b.shape}; give two square ones of at least 3 objects")
    if not all(np.isfinite(d).all() and np.allclose(d, d.T) for d in (a, b)):
        raise InputError("distances must be finite and symmetric; compute them again")
    upper = np.triu_indices(len(a), k=1)
    return a[upper], b[upper]


def _square(pairs: np.ndarray, n: int) -> np.ndarray:
    """Return the symmetric matrix (n, n) of an upper triangle, 0 on the diagonal."""
    square = np.zeros((n, n))
    square[np.triu_indices(n, k=1)] = pairs
    return square + square.T


def _standard_ranks(values: np.ndarray) -> np.ndarray | None:
    """Return ranks with mean 0 and unit length, so that a product of two is Spearman's rho; None if constant."""
    ranks = rankdata(values)
    ranks -= ranks.mean()
    length = np.linalg.norm(ranks)
    return ranks / length if length > 0 else None


def bootstrap_rho(a: np.ndarray, b: np.ndarray, n_bootstraps: int = 2_000, seed: int = 0) -> tuple[float, float]:
    """Estimate an interval for Spearman's correlation of two distance matrices by resampling objects.

    Parameters
    ----------
    a, b : ndarray of shape (n, n)
        Symmetric distances.
    n_bootstraps, seed : int

    Returns
    -------
    low, high : float
        Percentiles, widened to contain the estimate; (-1, 1) if a matrix is constant.

    Raises
    ------
    InputError
        As of `mantel`.

    Notes
    -----
    An object drawn twice is at distance 0 from its copy in both matrices; such pairs are left out, else they would make
    any correlation look better. A pair of objects drawn r and s times counts r s times, so ranks are weighted mid-ranks
    and each matrix is sorted once, not once a bootstrap. With fewer than about 10 objects the interval says little.
    """
    pairs_a, pairs_b = _pairs(a, b)
    observed = _standard_ranks(pairs_a), _standard_ranks(pairs_b)
    if observed[0] is None or observed[1] is None:
        return -1.0, 1.0
    n = len(a)
    by_a = np.argsort(pairs_a, kind="stable")  # in this order the ranks of `a` are read and written in sequence
    first, second = (index[by_a] for index in np.triu_indices(n, k=1))
    level_a, level_b = (np.unique(pairs[by_a], return_inverse=True)[1] for pairs in (pairs_a, pairs_b))
    rng, rhos = np.random.default_rng(seed), []
    for _ in range(n_bootstraps):
        times = np.bincount(rng.integers(n, size=n), minlength=n).astype(float)
        rhos.append(_weighted_spearman(level_a, level_b, times[first] * times[second]))
    rhos = np.array(rhos)[np.isfinite(rhos)]
    rho = float(observed[0] @ observed[1])
    low, high = np.quantile(rhos, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if len(rhos) else (-1.0, 1.0)
    return float(min(low, rho)), float(max(high, rho))


def _weighted_spearman(level_a: np.ndarray, level_b: np.ndarray, weights: np.ndarray) -> float:
    """Correlate the weighted mid-ranks of two sets of levels 0, 1, ... (N,); nan if one is constant."""
    total = weights.sum()
    centred = []
    for levels in (level_a, level_b):
        share = np.bincount(levels, weights)
        middle = np.cumsum(share) - share / 2  # of each level's ranks
        centred.append((middle - total / 2)[levels])  # the weighted mean of mid-ranks is half the total
    x, y = centred
    wx = weights * x
    scale = np.sqrt((wx @ x) * ((weights * y) @ y))
    return float(wx @ y / scale) if scale > 0 else float("nan")


def score_hierarchy(table: pd.DataFrame, tables: Features, config: EvaluateConfig) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Correlate distances between species in the embedding with their distances in the tree.

    Parameters
    ----------
    table : DataFrame
        The catalog; only images known to species take part.
    tables : mapping of model to FeatureTable
    config : EvaluateConfig

    Returns
    -------
    scores : DataFrame
        Rows for `append_metrics`. Tasks ``hierarchy/seen`` and ``hierarchy/unseen``; metrics ``spearman``
        (interval: bootstrap over species; chance 0) and ``p_value`` (Mantel permutations; interval: Clopper-Pearson).
        Sets of fewer than `MIN_SPECIES`, or whose species are all equally related, are left out.
    details : dict
        ``(dataset, task, model)`` to a dict of ``observed``, ``null`` (n_permutations,), ``tree`` and ``embedding``,
        the two distance matrices.
    """
    images = evaluated_images(table)
    images = images[images["rank"] == "species"]
    scores, details = [], {}
    for (dataset, part), group in images.groupby(["dataset", "part"]):
        classes, labels = np.unique(group["class_key"], return_inverse=True)
        ranks = group.drop_duplicates("class_key").set_index("class_key").loc[classes, list(RANKS)]
        tree = tree_distance(ranks)
        if len(classes) < MIN_SPECIES or len(np.unique(tree)) < 3:  # 0 and one distance: nothing to correlate with
            continue
        for name, features in tables.items():
            values = rows_of(features, images).loc[group.index].to_numpy()
            embedding = embedding_distance(centroids(values - values.mean(axis=0), labels))
            observed, p_value, null = mantel(embedding, tree, config.n_permutations, config.seed)
            low, high = bootstrap_rho(embedding, tree, config.n_bootstraps, config.seed)
            keys = {"model": name, "dataset": dataset, "task": f"hierarchy/{part}", "n": len(classes), "seeds": 1}
            scores.append(
                {**keys, "metric": "spearman", "value": observed, "ci_low": low, "ci_high": high, "chance": 0.0}
            )
            low, high = p_value_interval(p_value, config.n_permutations)
            scores.append(
                {**keys, "metric": "p_value", "value": p_value, "ci_low": low, "ci_high": high, "chance": 0.5}
            )
            found = {"observed": observed, "null": null, "tree": tree, "embedding": embedding}
            details[dataset, f"hierarchy/{part}", name] = found
    return pd.DataFrame(scores, columns=SCORE_COLUMNS), details
