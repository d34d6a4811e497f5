"""Few-shot classification by SimpleShot (Wang et al. 2019, https://arxiv.org/abs/1911.04623), as BioCLIP uses it.

Takes features and labels; returns folds and predictions. Knows no model and no path. Two protocols are named:
``cumulative``, the original evaluation's, and ``independent``.
"""

import random
from collections.abc import Sequence

import numpy as np

from .errors import InputError

MODES = ("independent", "cumulative")
Fold = tuple[np.ndarray, np.ndarray]


def few_shot_folds(
    labels: np.ndarray, shots: Sequence[int], n_folds: int, mode: str = "independent", seed: int = 0
) -> dict[int, list[Fold]]:
    """Draw shots and queries.

    Parameters
    ----------
    labels : ndarray of shape (n,)
    shots : sequence of int
        Numbers of shots k, in the order in which they are evaluated.
    n_folds : int
    mode : str
        "independent": each fold shuffles the images of each class from their given order. "cumulative": as the original
        code, which seeds a generator with the fold's number and shuffles each class's list in place. The lists keep
        their order from fold to fold and from one k to the next, so 5-shot folds depend on the 1-shot folds before.
    seed : int
        Added to the fold's number; the original has 0.

    Returns
    -------
    dict of int to list of (shots, queries)
        For each k, n_folds pairs of index arrays; classes in the order in which they are first seen, k shots each.

    Raises
    ------
    InputError
        For an unknown mode, or classes without k + 1 images; the message names them.

    Notes
    -----
    `random.Random(n)` gives the stream that the original's ``random.seed(n)`` gives to the global generator, without
    touching it.
    """
    if mode not in MODES:
        raise InputError(f"unknown few-shot mode {mode!r}; choose {' or '.join(MODES)}")
    images: dict = {}
    for index, label in enumerate(np.asarray(labels).tolist()):
        images.setdefault(label, []).append(index)
    small = [str(label) for label, members in images.items() if len(members) <= max(shots)]
    if small:
        raise InputError(
            f"{len(small)} classes have no {max(shots)} shots and a query: {', '.join(small[:5])}; leave them out "
            "(benchmarks.eligible_classes) or lower evaluate.shots"
        )
    folds: dict[int, list[Fold]] = {}
    for k in shots:
        folds[k] = []
        for fold in range(n_folds):
            rng = random.Random(seed + fold)
            order = images if mode == "cumulative" else {label: list(members) for label, members in images.items()}
            for members in order.values():
                rng.shuffle(members)
            train = [i for members in order.values() for i in members[:k]]
            test = [i for members in order.values() for i in members[k:]]
            folds[k].append((np.array(train), np.array(test)))
    return folds


def simple_shot(features: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Predict the queries of one fold: centre, normalise, nearest average of the shots (CL2N).

    Parameters
    ----------
    features : ndarray of shape (n, D)
    labels : ndarray of shape (n,)
    train, test : ndarray of int
        Shots and queries.

    Returns
    -------
    ndarray of shape (n_queries,)
        Labels.

    Raises
    ------
    InputError
        If a feature is not finite.

    Notes
    -----
    The mean of the shots is subtracted from all, rows are normalised, a class is the average of its normalised shots and
    is *not* normalised again; the distance is Euclidean. For a query x of unit length the nearest centroid c minimises
    |c|^2 - 2 x.c, so a product of matrices does, and no (classes, queries, D) array is built.

    Examples
    --------
    >>> simple_shot(np.eye(2).repeat(2, axis=0), np.array(list("aabb")), np.array([0, 2]), np.array([1, 3])).tolist()
    ['a', 'b']
    """
    used = features[np.concatenate([train, test])]
    if not np.isfinite(used).all():
        raise InputError("features hold NaN or infinity; compute them again")
    mean = features[train].mean(axis=0)
    classes, index = np.unique(labels[train], return_inverse=True)
    shots, queries = _unit(features[train] - mean), _unit(features[test] - mean)
    centroids = np.zeros((len(classes), features.shape[1]), dtype=shots.dtype)
    np.add.at(centroids, index, shots)
    centroids /= np.bincount(index)[:, None]
    # (q, D) @ (D, C) -> (q, C)
    return classes[((centroids**2).sum(axis=1) - 2 * queries @ centroids.T).argmin(axis=1)]


def _unit(rows: np.ndarray) -> np.ndarray:
    """Scale rows to unit length; a row of zeros stays."""
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norm > 0, norm, 1)
