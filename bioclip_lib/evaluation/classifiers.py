"""Few-shot classifiers beside SimpleShot: the nearest shot, a ridge probe, centroids blended with class texts.

Takes features, labels, and the shots and queries of a fold; returns predicted labels. All see what SimpleShot sees:
rows minus the mean of the shots, scaled to unit length. What they choose, they choose by leaving out shots, one of
every class at a time; a query is looked at by itself and decides nothing. Refuses features that are not finite, and
texts that do not fit the classes.

One of every class: when a single shot is left out, its class has fewer shots than the others and loses to them, however
good the features are. The worst choice then looks best (on the features of `mini`, 5 shots, penalty 1,000: 4 % of the
left-out shots came out right where 36 % of the queries did; with one of every class, 40 %).
"""

import numpy as np

from ..errors import InputError
from .few_shot import class_means, highest_score, shots_of

PENALTIES = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1)  # of the ridge probe; a shot has length 1
BLENDS = tuple(np.linspace(0, 1, 11).round(1).tolist())  # weights of the text
BLEND_OF_ONE_SHOT = 0.5


def nearest_shot(features: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Predict the class of the shot with the largest cosine (Cover & Hart 1967): kNN with one neighbour.

    Parameters
    ----------
    features, labels, train, test
        As of `few_shot.simple_shot`.

    Returns
    -------
    ndarray of shape (n_queries,)
        Labels; of equally near shots the first.

    Notes
    -----
    With one shot a class this is SimpleShot.

    Examples
    --------
    >>> nearest_shot(np.eye(2).repeat(2, axis=0), np.array(list("aabb")), np.array([0, 2]), np.array([1, 3])).tolist()
    ['a', 'b']
    """
    classes, index, mean, shots = shots_of(features, labels, train)
    return classes[index[highest_score(features, test, mean, shots.T)]]


def ridge_probe(features: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Predict by ridge regression onto one-hot classes, its penalty chosen by leaving out shots.

    Parameters
    ----------
    features, labels, train, test
        As of `few_shot.simple_shot`.

    Returns
    -------
    ndarray of shape (n_queries,)
        Labels; of equal scores the first in sorted order.

    Notes
    -----
    With the thin decomposition X = U S V' of the shots and the shrinkage D = S^2 / (S^2 + p) of a penalty p, the fits
    without shots B give these U_B D (I - U_B' U_B D)^-1 U_K' Y_K, where K are the shots kept (Woodbury; Hastie et al.
    2009, section 7.10, for one shot): no fit is repeated. The penalty with which most left-out shots come out right is
    taken, the strongest of equal ones, and the strongest where a class has one shot. The mean that is subtracted is
    that of all shots. There is no intercept: classes have equally many shots.

    Examples
    --------
    >>> ridge_probe(np.eye(2).repeat(2, axis=0), np.array(list("aabb")), np.array([0, 2]), np.array([1, 3])).tolist()
    ['a', 'b']
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
    """Predict the nearest of prototypes that lie between the centroid of a class and its text.

    Parameters
    ----------
    features, labels, train, test
        As of `few_shot.simple_shot`.
    text_features : ndarray of shape (C, D)
        Of the classes of the shots, in sorted order, from the same model's text tower.

    Returns
    -------
    ndarray of shape (n_queries,)
        Labels; of equally near prototypes the first in sorted order.

    Raises
    ------
    InputError
        If the texts are not as many as the classes, of another width, or not finite; as of `few_shot.simple_shot`.

    Notes
    -----
    Texts are centred by their own mean and scaled to unit length, so that what all captions have in common and the gap
    between images and texts cancel out. The weight of the text is that of `BLENDS` with which most shots come out right
    when left out of the centroids, the smallest of equal ones: with 0 this is SimpleShot. Where a class has one shot,
    nothing remains when it is left out, and the weight is `BLEND_OF_ONE_SHOT`.

    Examples
    --------
    >>> text_anchored(np.eye(2), np.array(list("ab")), np.arange(2), np.arange(2), np.eye(2)).tolist()
    ['a', 'b']
    """
    classes, index, mean, shots = shots_of(features, labels, train)
    wanted = (len(classes), features.shape[1])
    if text_features.shape != wanted or not np.isfinite(text_features).all():
        raise InputError(f"text features of shape {text_features.shape} given, {wanted} wanted, all finite")
    texts = text_features - text_features.mean(axis=0)
    length = np.linalg.norm(texts, axis=1, keepdims=True)
    texts = texts / np.where(length > 0, length, 1)
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
