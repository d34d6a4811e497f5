"""Few-shot classifiers: SimpleShot as BioCLIP uses it, the nearest shot, a ridge probe, centroids blended with texts.

Take features (n, D), labels (n,), and the indices of shots and queries of a fold; return a label a query, of equal
ones the first in sorted order. All see the same: rows minus the mean of the shots, scaled to unit length. What they
choose, they choose by leaving out shots, one of every class at a time; a query is looked at by itself and decides
nothing. Refuses features that are not finite, and texts that do not fit the classes.

One of every class: when a single shot is left out, its class has fewer shots than the others and loses to them, however
good the features are. The worst choice then looks best (on the features of `mini`, 5 shots, penalty 1,000: 4 % of the
left-out shots came out right where 36 % of the queries did; with one of every class, 40 %).
"""

import numpy as np

from ..errors import InputError
from .tasks import unit_rows

PENALTIES = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1)  # of the ridge probe; a shot has length 1
BLENDS = tuple(np.linspace(0, 1, 11).round(1).tolist())  # weights of the text
BLEND_OF_ONE_SHOT = 0.5
_VALUES = 4_000_000  # numbers of a chunk of queries, features and scores together


def simple_shot(features: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Predict the class whose shots have the nearest average, CL2N (Wang et al. 2019, https://arxiv.org/abs/1911.04623).

    The average is *not* normalised again. For a query x of unit length the nearest centroid c maximises x.c - |c|^2 /
    2.
    """
    classes, index, mean, shots = shots_of(features, labels, train)
    centroids = class_means(shots, index)  # (C, D)
    return classes[highest_score(features, test, mean, centroids.T, 0.5 * (centroids**2).sum(axis=1))]


def nearest_shot(features: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Predict the class of the shot with the largest cosine: kNN with one neighbour (Cover & Hart 1967)."""
    classes, index, mean, shots = shots_of(features, labels, train)
    return classes[index[highest_score(features, test, mean, shots.T)]]


def ridge_probe(features: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Predict by ridge regression onto one-hot classes, its penalty chosen by leaving out shots.

    With the thin decomposition X = U S V' of the shots and the shrinkage D = S^2 / (S^2 + p) of a penalty p, the fits
    without shots B give these U_B D (I - U_B' U_B D)^-1 U_K' Y_K, where K are the shots kept (Woodbury; Hastie et al.
    2009, section 7.10, for one shot): no fit is repeated. The penalty with which most left-out shots come out right is
    taken, the strongest of equal ones, and the strongest where a class has one shot. The mean that is subtracted is
    that of all shots. There is no intercept: classes have equally many shots.
    """
    classes, index, mean, shots = shots_of(features, labels, train)
    u, s, vt = np.linalg.svd(shots.astype(np.float64), full_matrices=False)  # (n, r), (r,), (r, D)
    sums = class_means(u, index).T * np.bincount(index)  # (r, C)
    penalty = PENALTIES[0]
    if np.bincount(index).min() > 1:
        penalty = max(PENALTIES, key=lambda p: _hits_of_ridge(u, s**2 / (s**2 + p), sums, index))
    weights = vt.T @ ((s / (s**2 + penalty))[:, None] * sums)  # (D, r) @ (r, C) -> (D, C)
    return classes[highest_score(features, test, mean, weights)]


def _hits_of_ridge(u: np.ndarray, shrinkage: np.ndarray, sums: np.ndarray, index: np.ndarray) -> int:
    """Count the shots that the fits without them get right, given the sums of u (n, r) over each class, (r, C)."""
    hits = 0
    for out in _one_of_every_class(index):
        rows, shrunk, kept = u[out], u[out] * shrinkage, sums.copy()  # (m, r), (m, r), (r, C)
        kept[:, index[out]] -= rows.T
        if len(out) < len(sums):  # the smaller of two systems with one solution
            scores = np.linalg.solve(np.eye(len(out)) - shrunk @ rows.T, shrunk @ kept)  # (m, m), (m, C) -> (m, C)
        else:
            scores = shrunk @ np.linalg.solve(np.eye(len(sums)) - rows.T @ shrunk, kept)  # (m, r) @ (r, C) -> (m, C)
        hits += int((scores.argmax(axis=1) == index[out]).sum())
    return hits


def _one_of_every_class(index: np.ndarray) -> list[np.ndarray]:
    """Part shots, by the class index of each, into groups with at most one of every class: first ones, second ones."""
    order, counts = np.argsort(index, kind="stable"), np.bincount(index)
    place = np.empty(len(index), dtype=np.int64)  # of a shot among those of its class
    place[order] = np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)
    return [np.flatnonzero(place == n) for n in range(counts.max())]


def text_anchored(
    features: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray, text_features: np.ndarray
) -> np.ndarray:
    """Predict the nearest of prototypes between the centroid of a class and its text, (C, D) in sorted order.

    Texts are centred by their own mean and scaled to unit length, so that what all captions have in common and the gap
    between images and texts cancel out. The weight of the text is that of `BLENDS` with which most shots come out right
    when left out of the centroids, the smallest of equal ones: with 0 this is SimpleShot. Where a class has one shot,
    nothing remains when it is left out, and the weight is `BLEND_OF_ONE_SHOT`.
    """
    classes, index, mean, shots = shots_of(features, labels, train)
    wanted = (len(classes), features.shape[1])
    if text_features.shape != wanted or not np.isfinite(text_features).all():
        raise InputError(f"text features of shape {text_features.shape} given, {wanted} wanted, all finite")
    texts = unit_rows(text_features - text_features.mean(axis=0))
    blend = BLEND_OF_ONE_SHOT
    if np.bincount(index).min() > 1:
        blend = max(BLENDS, key=lambda b: _hits_of_prototypes(shots, index, texts, b))
    prototypes = (1 - blend) * class_means(shots, index) + blend * texts  # (C, D)
    return classes[highest_score(features, test, mean, prototypes.T, 0.5 * (prototypes**2).sum(axis=1))]


def _hits_of_prototypes(shots: np.ndarray, index: np.ndarray, texts: np.ndarray, blend: float) -> int:
    """Count the shots that come out right with prototypes made without them."""
    hits = 0
    for out in _one_of_every_class(index):
        kept = np.delete(np.arange(len(index)), out)
        prototypes = (1 - blend) * class_means(shots[kept], index[kept]) + blend * texts
        scores = shots[out] @ prototypes.T - 0.5 * (prototypes**2).sum(axis=1)  # (m, D) @ (D, C) -> (m, C)
        hits += int((scores.argmax(axis=1) == index[out]).sum())
    return hits


def shots_of(
    features: np.ndarray, labels: np.ndarray, train: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the sorted classes, the class index of each shot, the mean of the shots, (D,), and the shots centred."""
    classes, index = np.unique(np.asarray(labels)[train], return_inverse=True)
    mean = features[train].mean(axis=0, dtype=np.float64)  # a sum of many float32 rows would lose digits
    return classes, index, mean, _centred(features[train], mean)


def class_means(shots: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Average the shots (n, D) of each class, given the class index of each (n,); (C, D), *not* normalised again."""
    order, counts = np.argsort(index, kind="stable"), np.bincount(index)
    return np.add.reduceat(shots[order], np.cumsum(counts) - counts) / counts[:, None].astype(shots.dtype)


def highest_score(
    features: np.ndarray, test: np.ndarray, mean: np.ndarray, weights: np.ndarray, offset: np.ndarray | float = 0.0
) -> np.ndarray:
    """Return for each query, centred and of unit length, the column of weights (D, C) with the highest x.w - offset."""
    best = np.empty(len(test), dtype=np.int64)
    chunk = max(1, _VALUES // sum(weights.shape))
    weights = weights.astype(np.result_type(features.dtype, np.float32), copy=False)
    for start in range(0, len(test), chunk):
        scores = _centred(features[test[start : start + chunk]], mean) @ weights  # (q, D) @ (D, C) -> (q, C)
        scores -= offset  # in place: a new array of this size costs more than the sum
        best[start : start + chunk] = scores.argmax(axis=1)
    return best


def _centred(rows: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Subtract the mean and scale rows to unit length, in their own precision; a row of zeros stays."""
    mean = np.where(np.isfinite(mean), mean, np.nan)  # inf - inf would warn before the error
    return unit_rows(rows - mean.astype(np.result_type(rows.dtype, np.float32)))
