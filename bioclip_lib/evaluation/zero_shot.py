"""Zero-shot classification: class names become weights, images are ranked against them.

Takes unit-length features; returns class weights, ranked predictions, and how wrong the wrong ones are in the tree.
Knows no model and no path. Refuses features that are not finite.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..errors import InputError

TOP_K = 5
_SCORES = 4_000_000  # image-class scores at a time, to bound the memory
_IMAGES = 256  # at least so many at a time: fewer, and reading the weights takes longer than the products


@dataclass(frozen=True)
class ClassEncoder:
    """A text tower as a namer of classes.

    ``weights`` maps class names and templates to class weights, (C, D), as `zero_shot_weights` does; ``logit_scale``
    multiplies cosines before the softmax.
    """

    weights: Callable[[Sequence[str], Sequence[str]], np.ndarray]
    logit_scale: float


def zero_shot_weights(
    encode: Callable[[Sequence[str]], np.ndarray], classnames: Sequence[str], templates: Sequence[str] = ("{}",)
) -> np.ndarray:
    """Average the text features of each class over prompt templates (Radford et al. 2021, section 3.1.4).

    Parameters
    ----------
    encode : callable
        From n texts to unit-length features, (n, D).
    classnames : sequence of str
    templates : sequence of str
        Each with one ``{}``.

    Returns
    -------
    ndarray of shape (C, D), float32
        Unit length: the mean over templates is normalised again.

    Raises
    ------
    InputError
        If a class name is empty, a template has no ``{}``, or the text features are not finite or cancel out.

    Notes
    -----
    Two classes with the same name get the same weights, and the first of them wins every image: give candidates that
    differ (by common name, Rare Species has 398 candidates for 400 species).

    Examples
    --------
    >>> zero_shot_weights(lambda texts: np.eye(2)[[len(t) % 2 for t in texts]], ["ab", "abc"]).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    if not len(classnames) or any(not name.strip() for name in classnames):
        raise InputError("a class has an empty name; give it a name or leave it out of the candidates")
    if not len(templates) or any(template.count("{}") != 1 for template in templates):
        raise InputError("every prompt template needs exactly one {}")
    total = np.zeros(1)
    for template in templates:
        total = total + encode([template.format(name) for name in classnames])
    length = np.linalg.norm(total, axis=1, keepdims=True)  # (C, 1)
    if not (np.isfinite(length).all() and (length > 0).all()):
        raise InputError("text features hold NaN or infinity, or cancel out over the templates; check the text tower")
    return (total / length).astype(np.float32)


def zero_shot_predict(features: np.ndarray, weights: np.ndarray, k: int = TOP_K) -> np.ndarray:
    """Rank the classes for each image.

    Parameters
    ----------
    features : ndarray of shape (n, D)
    weights : ndarray of shape (C, D)
    k : int
        At most C are returned.

    Returns
    -------
    ndarray of shape (n, min(k, C)), int64
        Class indices, the best first; equal scores in the order of classes.

    Raises
    ------
    InputError
        If a feature is not finite, or the shapes do not fit.

    Notes
    -----
    Images and classes go in blocks of about 4 million scores, so memory grows with the number of neither.

    Examples
    --------
    >>> zero_shot_predict(np.array([[1.0, 0.0], [0.6, 0.8]]), np.eye(2)).tolist()
    [[0, 1], [1, 0]]
    """
    if features.ndim != 2 or features.shape[1:] != weights.shape[1:] or not len(weights) or k < 1:
        raise InputError(f"features {features.shape} do not fit class weights {weights.shape} and k {k}")
    k = min(k, len(weights))
    ranked, best = np.zeros((len(features), k), dtype=np.int64), np.full((len(features), k), -np.inf)
    for rows, first, scores in _score_blocks(features, weights):
        columns, values = _highest(scores, k)
        values = np.concatenate([best[rows], values], axis=1)  # of equal ones, those of earlier classes come first
        columns = np.concatenate([ranked[rows], first + columns], axis=1)
        order = np.argsort(-values, axis=1, kind="stable")[:, :k]
        best[rows], ranked[rows] = (np.take_along_axis(each, order, axis=1) for each in (values, columns))
    return ranked


def _highest(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return columns and values of the k highest scores (or all) of each row, the best first; scores are used up."""
    image, columns, values = np.arange(len(scores)), [], []
    for _ in range(min(k, scores.shape[1])):  # k passes: for few of many classes far cheaper than sorting all
        columns.append(scores.argmax(axis=1))
        values.append(scores[image, columns[-1]])
        scores[image, columns[-1]] = -np.inf
    return np.stack(columns, axis=1), np.stack(values, axis=1)


def _score_blocks(features: np.ndarray, weights: np.ndarray) -> Iterator[tuple[slice, int, np.ndarray]]:
    """Yield slices of images, the first class of a block, and their scores (c, b); all blocks of some images, then on.

    Raises InputError if a score is not finite.
    """
    n_images = max(_IMAGES, _SCORES // len(weights))
    n_classes = max(1, _SCORES // n_images)
    classes, group, shared = _equal_classes(weights)
    for start in range(0, len(features), n_images):
        rows = slice(start, start + n_images)
        with np.errstate(invalid="ignore"):  # infinity times 0; refused below
            equal = features[rows] @ shared.T  # (c, D) @ (D, s) -> (c, s)
        for first in range(0, len(weights), n_classes):
            with np.errstate(invalid="ignore"):
                scores = features[rows] @ weights[first : first + n_classes].T  # (c, D) @ (D, b) -> (c, b)
            inside = (classes >= first) & (classes < first + n_classes)
            scores[:, classes[inside] - first] = equal[:, group[inside]]
            if not np.isfinite(scores).all():
                raise InputError("features hold NaN or infinity; compute them again")
            yield rows, first, scores


def _equal_classes(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the classes whose weights others have too, the row of each in the weights that they share, and those.

    A product of matrices rounds equal columns differently, by where they stand: that would share images out among them.
    """
    hashes = pd.Series(np.fromiter((hash(row.tobytes()) for row in weights), np.int64, len(weights)))
    classes = np.flatnonzero(hashes.duplicated(keep=False))  # of these alone the bytes are compared
    content = pd.Series([weights[i].tobytes() for i in classes], dtype=object)
    shared = content.duplicated(keep=False).to_numpy()
    place, _ = pd.factorize(content[shared])
    classes = classes[shared]
    return classes, place, weights[classes[np.unique(place, return_index=True)[1]]]


def zero_shot_confidence(features: np.ndarray, weights: np.ndarray, logit_scale: float) -> np.ndarray:
    """Return the probability that the softmax over classes gives to each image's first class.

    Parameters
    ----------
    features : ndarray of shape (n, D)
        Unit length.
    weights : ndarray of shape (C, D)
        Unit length.
    logit_scale : float
        What multiplies the cosines: the exponential of the model's ``logit_scale``.

    Returns
    -------
    ndarray of shape (n,), float64
        In [1 / C, 1].

    Raises
    ------
    InputError
        If a feature is not finite.

    Examples
    --------
    >>> zero_shot_confidence(np.array([[1.0, 0.0]]), np.eye(2), np.log(3)).round(3).tolist()
    [0.75]
    """
    best, total = np.full(len(features), -np.inf), np.zeros(len(features))  # of the softmax, the best at exp(0)
    for rows, _, scores in _score_blocks(features, weights):
        highest = np.maximum(best[rows], scores.max(axis=1))
        total[rows] *= np.exp(logit_scale * (best[rows] - highest))
        total[rows] += np.exp(logit_scale * (scores.astype(float) - highest[:, None])).sum(axis=1)  # (c, b) -> (c,)
        best[rows] = highest
    return 1 / total
