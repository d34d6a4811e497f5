"""Zero-shot classification: class names become weights, images are ranked against them.

Takes unit-length features; returns class weights and ranked predictions. Knows no model and no path.
"""

from collections.abc import Callable, Sequence

import numpy as np

from .errors import InputError

TOP_K = 5
_CHUNK = 4_096  # images at a time


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
        If a class name is empty, or a template has no ``{}``.
    """
    if any(not name.strip() for name in classnames):
        raise InputError("a class has an empty name; give it a name or leave it out of the candidates")
    if any(template.count("{}") != 1 for template in templates):
        raise InputError("every prompt template needs exactly one {}")
    total = sum(encode([template.format(name) for name in classnames]) for template in templates)
    return (total / np.linalg.norm(total, axis=1, keepdims=True)).astype(np.float32)


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
        If a feature is not finite.

    Notes
    -----
    Images go in chunks, so memory does not grow with their number.
    """
    if not (np.isfinite(features).all() and np.isfinite(weights).all()):
        raise InputError("features hold NaN or infinity; compute them again")
    ranked = [
        np.argsort(-(features[i : i + _CHUNK] @ weights.T), axis=1, kind="stable")[:, :k]  # (n, D) @ (D, C) -> (n, C)
        for i in range(0, len(features), _CHUNK)
    ]
    return np.concatenate(ranked) if ranked else np.zeros((0, min(k, len(weights))), dtype=np.int64)
