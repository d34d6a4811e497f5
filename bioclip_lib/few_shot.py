"""Few-shot classification by SimpleShot (Wang et al. 2019, https://arxiv.org/abs/1911.04623), as BioCLIP uses it.

Takes features and labels; returns folds, predictions and scores. Knows no model and no path. Two protocols are named:
``cumulative``, the original evaluation's, and ``independent``. Refuses classes without k shots and a query.
"""

import random
from collections.abc import Sequence

import numpy as np

from .errors import InputError

MODES = ("independent", "cumulative")
Fold = tuple[np.ndarray, np.ndarray]
_VALUES = 4_000_000  # numbers of a chunk of queries, features and scores together


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
        0 gives the original's folds; any other one other shuffles in all folds.

    Returns
    -------
    dict of int to list of (shots, queries)
        For each k, n_folds pairs of index arrays; classes in the order in which they are first seen, k shots each.

    Raises
    ------
    InputError
        For an unknown mode, numbers below 1 or twice the same, or classes without k + 1 images; the message names them.

    Notes
    -----
    `random.Random(n)` gives the stream that the original's ``random.seed(n)`` gives to the global generator, without
    touching it. In the independent mode the shots of a smaller k are among those of a larger one in the same fold.

    Examples
    --------
    >>> few_shot_folds(np.array(list("aab" "b")), [1], 1)[1][0][0].tolist()
    [0, 2]
    """
    if mode not in MODES:
        raise InputError(f"unknown few-shot mode {mode!r}; choose {' or '.join(MODES)}")
    if not len(shots) or min(shots) < 1 or len(set(shots)) < len(shots) or n_folds < 1:
        raise InputError(f"evaluate.shots {list(shots)} and n_folds {n_folds} must be distinct numbers from 1")
    images = _images_of_classes(labels, max(shots))
    folds: dict[int, list[Fold]] = {}
    for k in shots:
        folds[k] = []
        for fold in range(n_folds):
            rng = random.Random(1_000 * seed + fold)  # no stream of one seed is another seed's, below 1,000 folds
            order = images if mode == "cumulative" else [list(members) for members in images]
            for members in order:
                rng.shuffle(members)
            train = [i for members in order for i in members[:k]]
            test = [i for members in order for i in members[k:]]
            folds[k].append((np.array(train), np.array(test)))
    return folds


def _images_of_classes(labels: np.ndarray, k: int) -> list[list[int]]:
    """List the images of each class, classes in first-seen order; refuse a class without k + 1 of them."""
    images: dict = {}
    for index, label in enumerate(np.asarray(labels).tolist()):
        images.setdefault(label, []).append(index)
    small = [str(label) for label, members in images.items() if len(members) <= k]
    if small or not images:
        raise InputError(
            f"{len(small)} of {len(images)} classes have no {k} shots and a query: {', '.join(small[:5])}"
            f"{', ...' if len(small) > 5 else ''}; leave them out or lower evaluate.shots"
        )
    return list(images.values())


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
        Labels; of equally near classes the first in sorted order.

    Raises
    ------
    InputError
        If a feature is not finite.

    Notes
    -----
    The mean of the shots is subtracted from all, rows are normalised, a class is the average of its normalised
    shots, *not* normalised again; the distance is Euclidean. For a query x of unit length the nearest centroid c
    maximises x.c - |c|^2 / 2, so a product of matrices does, in chunks: no (classes, queries, D) array is built.

    Examples
    --------
    >>> simple_shot(np.eye(2).repeat(2, axis=0), np.array(list("aabb")), np.array([0, 2]), np.array([1, 3])).tolist()
    ['a', 'b']
    """
    labels = np.asarray(labels)
    classes, index = np.unique(labels[train], return_inverse=True)
    mean = features[train].mean(axis=0, dtype=np.float64)  # a sum of many float32 rows would lose digits
    shots = _centred(features[train], mean)
    order, counts = np.argsort(index, kind="stable"), np.bincount(index)
    centroids = np.add.reduceat(shots[order], np.cumsum(counts) - counts) / counts[:, None].astype(
        shots.dtype
    )  # (C, D)
    offset = 0.5 * (centroids**2).sum(axis=1)  # (C,)
    nearest = np.empty(len(test), dtype=np.int64)
    chunk = max(1, _VALUES // (features.shape[1] + len(classes)))
    for start in range(0, len(test), chunk):
        scores = _centred(features[test[start : start + chunk]], mean) @ centroids.T  # (q, D) @ (D, C) -> (q, C)
        scores -= offset  # in place: a new array of this size costs more than the sum
        nearest[start : start + chunk] = scores.argmax(axis=1)
    return classes[nearest]


def _centred(rows: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Subtract the mean and scale rows to unit length, in their own precision and in place; a row of zeros stays."""
    rows = rows.astype(np.result_type(rows.dtype, np.float32), copy=False)
    rows -= mean.astype(rows.dtype)
    norm = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    if not np.isfinite(norm).all():
        raise InputError("features hold NaN or infinity; compute them again")
    rows /= np.where(norm > 0, norm, 1)
    return rows
