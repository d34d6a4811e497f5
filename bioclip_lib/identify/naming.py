"""Names for image features: the likeliest taxa of a rank, one lineage, and how far it can be trusted.

Takes unit features (n, D) and a `labels.LabelSet`; returns arrays, an image a row. Memory is bounded by a batch of
images, whatever their number. Refuses features of another model's width.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from .. import RANKS
from ..errors import InputError
from ..evaluation.classifiers import class_means
from .labels import GROUP, LABEL, LabelSet, grouped, highest

FLOOR = 0.65
_SCORES = 2**25  # of images and candidates at once, in float32: 128 MiB
_IMAGES = 256  # at once, at most
_BLOCK = 2**13  # candidates whose weights are read at once


class Naming(NamedTuple):
    """What was found for n images; ``rank`` is that of the choices."""

    rank: str
    choices: np.ndarray  # (n, k): taxa of that rank
    scores: np.ndarray  # (n, k): their probabilities
    lineage: np.ndarray  # (n, 7): taxa from kingdom to species, each within the one before
    trust: np.ndarray  # (n, 7): their probabilities, never rising
    max_logit: np.ndarray  # (n,): the highest cosine times the scale
    energy: np.ndarray  # (n,): log of the sum of exp(logit) over candidates


def name_features(features: np.ndarray, labels: LabelSet, scale: float, rank: str = "species", k: int = 5) -> Naming:
    """Name images by their features.

    Parameters
    ----------
    features : ndarray of shape (n, D)
        Of unit length, of the model whose texts the labels are.
    scale : float
        Multiplies cosines before the softmax: the model's ``logit_scale``, over a temperature where it was calibrated.
    rank : str
        Of the choices: one of `RANKS`, "label" (each candidate by itself) or "group".
    k : int
        Choices of an image; fewer where there are fewer taxa.

    Notes
    -----
    The probability of a taxon is the sum over the candidates in it. Of equal ones the first of the label set is taken.
    """
    if features.ndim != 2 or features.shape[1] != labels.weights.shape[1]:
        raise InputError(
            f"features of shape {features.shape} do not fit labels of width {labels.weights.shape[1]}; take labels "
            "that were made with the same model"
        )
    if k < 1 or rank not in labels.ranks:
        raise InputError(f"rank={rank!r}, k={k}: choose a rank of {', '.join(labels.ranks)} and k from 1 up")
    n_images = int(np.clip(_SCORES // len(labels), 1, _IMAGES))
    parts = [
        _named(labels, logits_of(features[start : start + n_images], labels, scale), rank, k)
        for start in range(0, max(1, len(features)), n_images)
    ]
    return Naming(rank, *(np.concatenate(values) for values in zip(*parts, strict=True)))


def combine(features: np.ndarray, events: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Put the photographs of each individual or event together, before they are named.

    Takes features (n, D) of unit length, and the event of each, (n,). Returns the events (m,), sorted, and their means
    (m, D), *not* of unit length: what `name_features` makes of one has the mean of the logits.
    """
    names, index = np.unique(events, return_inverse=True)
    return names, class_means(features, index)


def logits_of(features: np.ndarray, labels: LabelSet, scale: float) -> np.ndarray:
    """Return logits (n, C) of a batch of images, float32; of candidates with equal weights they are equal."""
    logits = np.empty((len(features), len(labels)), dtype=np.float32)
    scaled = features.astype(np.float32) * np.float32(scale)
    for start in range(0, len(labels), _BLOCK):
        block = labels.weights[start : start + _BLOCK].astype(np.float32, copy=False)
        np.matmul(scaled, block.T, out=logits[:, start : start + _BLOCK])  # (n, D) @ (D, b) -> (n, b)
    again, first = labels.repeats
    logits[:, again] = logits[:, first]  # products of equal columns differ in the last digit, by where they stand
    if not np.isfinite(logits).all():
        raise InputError("features or labels hold NaN or infinity; compute them again")
    return logits


def _named(labels: LabelSet, logits: np.ndarray, rank: str, k: int) -> tuple[np.ndarray, ...]:
    """Return the fields of a `Naming` behind its rank; logits are used up."""
    top = logits.max(axis=1)
    logits -= top[:, None]
    probabilities = np.exp(logits, out=logits)
    total = probabilities.sum(axis=1, dtype=np.float64)
    probabilities /= total[:, None]
    sums = labels.tree.sums(probabilities)
    values = {LABEL: lambda: probabilities, GROUP: lambda: grouped(probabilities, *labels.groups)}
    chosen = values[rank]() if rank in values else sums[RANKS.index(rank)]
    return (*highest(chosen, k), *labels.tree.lineages(sums), top, top + np.log(total))


def trusted_depth(naming: Naming, labels: LabelSet, floor: float) -> np.ndarray:
    """Return how deep each lineage clears the floor, as the place of a named rank in `RANKS`, (n,); -1: nowhere."""
    named = np.stack([labels.tree.is_named[d][naming.lineage[:, d]] for d in range(len(RANKS))], axis=1)
    clears = named & (naming.trust >= floor)  # (n, 7)
    return np.where(clears.any(axis=1), len(RANKS) - 1 - clears[:, ::-1].argmax(axis=1), -1)


def answers(naming: Naming, labels: LabelSet, floor: float = FLOOR) -> pd.DataFrame:
    """Write what was found as a table, an image a row.

    The answer is the deepest taxon of the lineage whose probability reaches the floor.

    Returns
    -------
    DataFrame
        ``taxon, rank, score, common_name``, the seven ranks down to the answer's ('' where nothing clears the floor),
        ``max_logit``, and ``choice_1, score_1`` and so on.
    """
    depth = trusted_depth(naming, labels, floor)
    each = np.arange(len(depth))
    taxon = naming.lineage[each, depth]
    candidate = np.array([labels.tree.first[d][t] for d, t in zip(depth, taxon, strict=True)], dtype=np.int64)
    table = labels.taxa(candidate, depth)
    none = depth < 0
    table.loc[none] = ""
    table.insert(2, "score", np.where(none, np.nan, naming.trust[each, depth]))
    table["max_logit"] = naming.max_logit
    called = labels.called(naming.choices.ravel(), naming.rank).to_numpy().reshape(naming.choices.shape)
    for place in range(naming.choices.shape[1]):
        table[f"choice_{place + 1}"], table[f"score_{place + 1}"] = called[:, place], naming.scores[:, place]
    return table
