"""Few-shot classification by SimpleShot (Wang et al. 2019, https://arxiv.org/abs/1911.04623), as BioCLIP uses it.

Takes features and labels; returns folds, predictions and scores. Knows no model and no path. Two protocols are named:
``cumulative``, the original evaluation's, and ``independent``. Refuses classes without k shots and a query, and a table
of folds that does not fit the images.
"""

import random
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..errors import InputError

MODES = ("independent", "cumulative")
FOLD_COLUMNS = ("k", "fold", "image_id", "class_key", "shot")
Fold = tuple[np.ndarray, np.ndarray]
_VALUES = 4_000_000  # numbers of a chunk of queries, features and scores together


def check_shots(shots: Sequence[int], n_folds: int) -> None:
    """Raise `InputError` for shots and folds that cannot be drawn."""
    if not len(shots) or min(shots) < 1 or len(set(shots)) < len(shots) or n_folds < 1:
        raise InputError(f"evaluate.shots {list(shots)} and n_folds {n_folds} must be distinct numbers from 1")


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
    check_shots(shots, n_folds)
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


def folds_table(folds: dict[int, list[Fold]], image_ids: Sequence[str], labels: np.ndarray) -> pd.DataFrame:
    """Write folds down as image ids, so that they can be repeated elsewhere.

    Parameters
    ----------
    folds : dict of int to list of (shots, queries)
        Of `few_shot_folds`, from these labels.
    image_ids : sequence of str
    labels : ndarray of shape (n,)

    Returns
    -------
    DataFrame
        ``k, fold, image_id, class_key, shot``: a row an image and fold, in the folds' order.
    """
    image_ids, labels = np.asarray(image_ids), np.asarray(labels)
    rows = [
        pd.DataFrame({"k": k, "fold": n, "image_id": image_ids[index], "class_key": labels[index], "shot": is_shot})
        for k, parts in folds.items()
        for n, part in enumerate(parts)
        for index, is_shot in zip(part, (True, False), strict=True)
    ]
    return pd.concat(rows, ignore_index=True)


def folds_from_table(table: pd.DataFrame, image_ids: Sequence[str], labels: np.ndarray) -> dict[int, list[Fold]]:
    """Read folds back from their image ids, whatever the order in which the images now stand.

    Parameters
    ----------
    table : DataFrame
        Of `folds_table`; of a run's ``few_shot_folds.csv`` the rows of one data set and part.
    image_ids : sequence of str
        Images that have features now; more than the folds hold do no harm.
    labels : ndarray of shape (n,)
        Their classes.

    Returns
    -------
    dict of int to list of (shots, queries)
        As of `few_shot_folds`: indices into image_ids, in the table's order.

    Raises
    ------
    InputError
        For missing columns, ids that occur twice, images that are not there or belong to another class now, a fold
        that holds an image twice, or a fold without k shots of each class.

    Examples
    --------
    >>> labels = np.array(list("aabb"))
    >>> table = folds_table(few_shot_folds(labels, [1], 1), ["w", "x", "y", "z"], labels)
    >>> folds_from_table(table, ["z", "y", "x", "w"], labels[::-1])[1][0][0].tolist()
    [3, 1]
    """
    missing = [column for column in FOLD_COLUMNS if column not in table]
    if missing:
        raise InputError(f"a table of folds lacks {', '.join(missing)}; it needs {', '.join(FOLD_COLUMNS)}")
    position = pd.Index(image_ids)
    if not position.is_unique:
        raise InputError(f"{position[position.duplicated()][0]} occurs twice among the images; give each its own id")
    place = position.get_indexer(table["image_id"])
    if (place < 0).any():
        absent = table["image_id"][place < 0].unique()
        raise InputError(
            f"{len(absent)} images of the folds are not here (e.g. {absent[0]}); add them or draw new folds"
        )
    other = np.asarray(labels)[place] != table["class_key"].to_numpy()
    if other.any():
        image_id, was = table.loc[other, ["image_id", "class_key"]].iloc[0]
        raise InputError(
            f"{image_id} is of class {was} in the folds and of {np.asarray(labels)[place[other][0]]} here; the folds "
            "belong to another catalog, or the ids are mixed up"
        )
    folds: dict[int, list[Fold]] = {}
    for (k, fold), rows in table.assign(place=place).groupby(["k", "fold"], sort=False):
        _check_fold(rows, k, fold)
        shot = rows["shot"].to_numpy(bool)
        folds.setdefault(int(k), []).append((rows["place"].to_numpy()[shot], rows["place"].to_numpy()[~shot]))
    return folds


def _check_fold(rows: pd.DataFrame, k: int, fold: int) -> None:
    """Refuse a fold that holds an image twice, or not k shots of each class."""
    twice = rows["image_id"][rows["image_id"].duplicated()]
    if len(twice):
        raise InputError(
            f"{twice.iloc[0]} stands twice in fold {fold} of k = {k}; shots must be no queries; of several data sets "
            "or parts give the rows of one"
        )
    shots = rows.groupby("class_key")["shot"].sum()
    if (shots != k).any():
        raise InputError(
            f"fold {fold} of k = {k} has {shots[shots != k].iloc[0]} shots of {shots[shots != k].index[0]}"
        )


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
    classes, index, mean, shots = shots_of(features, labels, train)
    centroids = class_means(shots, index)  # (C, D)
    return classes[highest_score(features, test, mean, centroids.T, 0.5 * (centroids**2).sum(axis=1))]


def shots_of(
    features: np.ndarray, labels: np.ndarray, train: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the classes, sorted, the class index of each shot, the mean of the shots, (D,), and the shots centred.

    Centred rows have unit length, in the features' own precision.
    """
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
    """Subtract the mean and scale rows to unit length, in their own precision and in place; a row of zeros stays."""
    rows = rows.astype(np.result_type(rows.dtype, np.float32), copy=False)
    rows -= np.where(np.isfinite(mean), mean, np.nan).astype(rows.dtype)  # inf - inf would warn before the error
    norm = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    if not np.isfinite(norm).all():
        raise InputError("features hold NaN or infinity; compute them again")
    rows /= np.where(norm > 0, norm, 1)
    return rows
