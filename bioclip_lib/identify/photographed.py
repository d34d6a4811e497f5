"""Candidates that are photographs: five of them make a class, by itself or beside classes that are texts.

Takes unit features of images and their classes; returns a `labels.LabelSet`. Images lie apart from texts in the
embedding (Liang et al. 2022, arXiv 2203.02053): put beside texts as they are, classes of images win nearly always, also
images of the texts' own classes. What evens that out is fitted on known images, so that none is guessed. Refuses
classes of a single image, and images of a class that is among the texts.
"""

import datetime
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import logsumexp

from ..errors import InputError
from ..evaluation.classifiers import class_means
from ..evaluation.tasks import unit_rows
from ..model.load import LoadedModel
from .candidates import resolved
from .labels import COLUMNS, LABEL, LabelSet
from .naming import logits_of
from .photos import features_of, list_photos

_SCORES = 2**25  # of known images and candidates that are looked at
_EXPECTED = (0.0, 0.5)  # log of the factor, and offset: the means of normal priors with standard deviation 1


def labels_of_images(
    features: np.ndarray, classes: np.ndarray, taxa: pd.DataFrame, model: LoadedModel | None = None
) -> LabelSet:
    """Make a label set of photographs: a class is the mean of the features of its own, five of them are enough.

    Parameters
    ----------
    features, classes : ndarray of shape (n, D) and (n,)
        Of unit length; the class of each.
    taxa : DataFrame
        Indexed by class: any of the ranks, ``scientific_name``, ``common_name``. Classes without an image are left out.
    model : LoadedModel, optional
        Whose features they are: others are refused later.
    """
    known = np.isin(classes, taxa.index)
    if not known.any():
        raise InputError("no class has an image; give the classes of the images, as the table of taxa names them")
    found, index, counts = np.unique(classes[known], return_inverse=True, return_counts=True)
    names = taxa.loc[found].rename_axis(LABEL).reset_index().reindex(columns=list(COLUMNS), fill_value="")
    made = {"model": model.address, "model_sha256": model.digest} if model else {}
    made |= {"images": int(known.sum()), "fewest": int(counts.min()), "date": datetime.date.today().isoformat()}
    return LabelSet(names.fillna(""), unit_rows(class_means(features[known], index)), made)


def read_classes(folder: str | Path, model: LoadedModel) -> tuple[tuple[np.ndarray, np.ndarray], pd.DataFrame]:
    """Embed a folder with a folder of photographs a class, taxa where they are some, for `add_images`."""
    photos, root = list_photos(folder), Path(folder).expanduser()
    paths, n_above = [Path(photo.name) for photo in photos], len(root.parts) if root.is_dir() else 0
    wrong = [path for path in paths if n_above and len(path.parts) != n_above + 2]
    if wrong:
        raise InputError(f"{wrong[0]} does not lie in a folder of its class, one below {folder}; give each class one")
    problems, features = zip(*features_of(photos, model), strict=True)
    broken = [f"{photo.name}: {why}" for photo, why in zip(photos, chain(*problems), strict=True) if why]
    if broken:
        raise InputError(f"{len(broken)} photographs of {folder} cannot be read (first: {broken[0]}); take them out")
    classes = np.array([path.parent.name for path in paths], dtype=object)
    taxa = resolved(sorted(set(classes))).set_index(LABEL)
    return (np.concatenate(features), classes), taxa


def add_images(
    labels: LabelSet,
    images: tuple[np.ndarray, np.ndarray],
    taxa: pd.DataFrame,
    known: tuple[np.ndarray, np.ndarray],
    scale: float,
) -> LabelSet:
    """Put classes of photographs beside candidates that are texts: returns the candidates, then the new ones.

    Parameters
    ----------
    images : features of shape (n, D), unit length, and classes of shape (n,)
        Of the new classes: two of each at least, five are better.
    taxa : DataFrame
        As `labels_of_images` takes it.
    known : features of shape (m, D) and classes of shape (m,)
        Images of candidates that are there, by their label, none of which the model was trained on.
    scale : float
        As `name_features` will be given.

    Notes
    -----
    The logit of a new class is a x.c - b x.m, c the unit mean of its images, m the direction of the mean of all known
    images, which all share. `a` and `b` maximise the likelihood of the known images and of the new ones, both weighing
    the same, each new image with the mean of the others of its class: probabilities are calibrated as the scale is. A
    normal prior of the weight of one image keeps them finite where a few images can be told apart wholly.
    """
    features, classes = images
    found = labels_of_images(features, classes, taxa)
    there = pd.Index(labels.names[LABEL])
    own = there.get_indexer(known[1])
    twice = found.names.loc[found.names[LABEL].isin(there), LABEL]
    if found.made_of["fewest"] < 2:
        raise InputError("a class of photographs has a single one; give two at least, better five")
    if len(twice):
        raise InputError(f"{twice.iloc[0]!r} is among the candidates already; leave it out of one of both")
    if not len(own) or (own < 0).any():
        raise InputError("the known images are of none of the candidates, or there are none; give images of these")
    step = max(1, -(-len(own) * (len(labels) + len(found)) // _SCORES))
    kept = np.isin(classes, found.names[LABEL])
    new = pd.Index(found.names[LABEL]).get_indexer(classes[kept])
    shared = unit_rows(known[0].mean(axis=0, keepdims=True))
    a, b = _evened(labels, found, (known[0][::step], own[::step]), (features[kept], new), shared, scale)
    weights = np.concatenate([labels.weights, a * found.weights - b * shared])
    made = {key: value for key, value in labels.made_of.items() if key not in ("sha256", "files")}
    made |= {"added": {**found.made_of, "classes": len(found), "factor": a, "offset": b}}
    return LabelSet(pd.concat([labels.names, found.names], ignore_index=True), weights, made)


def _evened(
    labels: LabelSet, found: LabelSet, known: tuple, images: tuple, shared: np.ndarray, scale: float
) -> tuple[float, float]:
    """Return factor and offset of the logits of classes of images, as `add_images` says."""
    n, step = np.bincount(images[1]), max(1, -(-len(images[1]) * (len(labels) + len(found)) // _SCORES))
    sums = class_means(*images) * n[:, None]
    features, new = (each[::step] for each in images)
    others = unit_rows(sums[new] - features)  # what its class is without the image
    texts, old, offsets = [], [], []
    for asked in (known[0], features):
        texts.append(logits_of(asked, labels, scale))
        old.append(logits_of(asked, found, scale))
        offsets.append(scale * (asked @ shared.T))  # (n, D) @ (D, 1) -> (n, 1)
    each = np.arange(len(new))
    old[1][each, new] = scale * np.einsum("nd,nd->n", features, others)

    def surprise(x: np.ndarray) -> float:
        both = [
            np.concatenate([text, np.exp(x[0]) * image - x[1] * offset], axis=1)
            for text, image, offset in zip(texts, old, offsets, strict=True)
        ]
        right = both[0][np.arange(len(known[1])), known[1]], both[1][each, len(labels) + new]
        fit = sum((logsumexp(logits, axis=1) - own).mean() for logits, own in zip(both, right, strict=True))
        return float(fit + ((x - _EXPECTED) ** 2).sum() / (2 * min(len(known[1]), len(new))))

    log_a, b = minimize(surprise, np.array(_EXPECTED), method="Nelder-Mead").x
    return float(np.exp(log_a)), float(b)
