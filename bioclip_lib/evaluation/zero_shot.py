"""Zero-shot: class names become weights, images are ranked against them.

`score_zero_shot` takes the catalog, features of its images and encoders of class names, and returns scores with n,
interval and chance, and what each image was called. Refuses features that are not finite or lack an
image, and sets in which there is nothing to choose from.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..config import EvaluateConfig
from ..errors import InputError
from ..model.text import read_templates
from .statistics import expected_calibration_error
from .tasks import (
    Features,
    asked_types,
    class_strings,
    classes_of,
    evaluated_images,
    report_strings,
    rows_of,
    score_frame,
    with_difference,
    with_interval,
)

TOPS = (1, 3, 5)
_PREDICTED = ["image_id", "file", "class_key", "group", "model", "dataset", "part"]
_PREDICTED += ["predicted", "second", "confidence", "second_confidence"]
N_BINS = 15  # of the expected calibration error
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
    """Average text features of classes over templates with one ``{}`` each, (C, D) (Radford et al. 2021)."""
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


def zero_shot_predict(features: np.ndarray, weights: np.ndarray, k: int = max(TOPS)) -> np.ndarray:
    """Rank the classes for each image, (n, min(k, C)): the best first, equal scores in the order of classes."""
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
    """Return the probability that the softmax over classes gives to each image's first class, (n,), in [1 / C, 1]."""
    best, total = np.full(len(features), -np.inf), np.zeros(len(features))  # of the softmax, the best at exp(0)
    for rows, _, scores in _score_blocks(features, weights):
        highest = np.maximum(best[rows], scores.max(axis=1))
        total[rows] *= np.exp(logit_scale * (best[rows] - highest))
        total[rows] += np.exp(logit_scale * (scores.astype(float) - highest[:, None])).sum(axis=1)  # (c, b) -> (c,)
        best[rows] = highest
    return 1 / total


def score_zero_shot(
    table: pd.DataFrame, tables: Features, encoders: Mapping[str, ClassEncoder], config: EvaluateConfig
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Name each image among the classes of its data set and part, for every model and text type.

    Parameters
    ----------
    table : DataFrame
        The catalog.
    tables : mapping of model to FeatureTable
        Unit-length image features.
    encoders : mapping of model to ClassEncoder
    config : EvaluateConfig

    Returns
    -------
    scores : DataFrame
        Rows for `append_metrics`: top1, top3, top5, macro_top1 and, of the configured text type, overconfidence
        (`calibration`). The task of the configured text type is ``zero_shot/seen`` or ``zero_shot/unseen``; the others
        append their text type. Images of classes without such a name take no part, and a text type that names fewer
        than two candidates has no rows.
    predictions : DataFrame
        ``image_id, file, class_key, group, model, dataset, part, predicted, second`` and the ``confidence`` of both,
        for the configured text type.

    Notes
    -----
    Class strings are those of the original's evaluation (`captions.name_string`), in ``evaluate.templates``.
    """
    images = evaluated_images(table)
    classes = classes_of(table).loc[np.unique(images["class_key"])]  # no text of a class that is nobody's candidate
    scores, predictions = [], []
    for name, features in tables.items():
        values = rows_of(features, images)
        for text_type in asked_types(classes, config):
            reported = text_type == config.text_type
            strings = class_strings(classes, text_type)
            weights = class_weights(strings, encoders[name], config.templates)
            for (dataset, part), group in images.groupby(["dataset", "part"]):
                group = group[group["class_key"].isin(weights.index)]  # the others `string_reports` counts
                candidates = strings[np.unique(group["class_key"])]
                if len(candidates) < 2:  # nothing to choose from
                    continue
                task = f"zero_shot/{part}" + ("" if reported else f"/{text_type}")
                scale = encoders[name].logit_scale if reported else None
                asked = (
                    values.loc[group.index].to_numpy(),
                    group["class_key"].to_numpy(),
                    candidates,
                    weights.loc[candidates.index],
                    scale,
                )
                rows, picked = score_candidates({"model": name, "dataset": dataset, "task": task}, *asked)
                scores += rows
                if reported:
                    keys = {"model": name, "dataset": dataset, "part": part}
                    of = group[["class_key"]].assign(group=group["group"].str.replace("\x1f", "/"))  # a file's text
                    predictions.append(of.assign(**keys, **picked).reset_index())
    file_of = table.set_index("image_id")["source_id"]
    choices = images.groupby(["dataset", "part"])["class_key"].nunique()
    if not predictions and tables and (choices > 1).any():
        raise InputError(
            f"no data set has two classes with test images, seen or held out, and a name for evaluate.text_type="
            f"{config.text_type}; add classes, images or names, or choose another evaluate.text_type"
        )
    if not predictions:  # nothing to choose from
        return score_frame([]), pd.DataFrame(columns=_PREDICTED)
    found = pd.concat(predictions, ignore_index=True)
    return pd.DataFrame(scores), found.assign(file=found["image_id"].map(file_of))[_PREDICTED]


def class_weights(strings: pd.Series, encoder: ClassEncoder, templates: str) -> pd.DataFrame:
    """Return the weights of the classes that have a string, indexed by class, (C, D)."""
    named = strings[strings.str.strip() != ""]
    return pd.DataFrame(
        encoder.weights(list(named), read_templates(templates)) if len(named) else None, index=named.index
    )


def score_candidates(
    keys: dict,
    features: np.ndarray,
    labels: np.ndarray,
    candidates: pd.Series,
    weights: pd.DataFrame,
    logit_scale: float | None,
) -> tuple[list[dict], dict[str, np.ndarray]]:
    """Return the rows of images scored against the weights of named candidates, and what each image is called.

    Candidates are strings by class, '' where there is none. Without a scale there is no confidence.
    """
    names, values = weights.index.to_numpy(), weights.to_numpy()
    ranked = zero_shot_predict(features, values, max(TOPS))  # (n, k)
    two = ranked[:, [0, min(1, ranked.shape[1] - 1)]]
    hits = names[ranked] == labels[:, None]
    rows = _accuracy_rows(keys, hits, labels, candidates)
    picked = {"predicted": names[two[:, 0]], "second": names[two[:, 1]]}
    if logit_scale is not None:
        picked["confidence"] = zero_shot_confidence(features, values, logit_scale)
        behind = [value @ (values[j] - values[i]) for value, (i, j) in zip(features, two, strict=True)]
        picked["second_confidence"] = picked["confidence"] * np.exp(logit_scale * np.array(behind, float))
        over = picked["confidence"] - hits[:, 0]
        found = with_difference(over, labels)
        rows.append({**keys, "metric": "overconfidence", **found, "n": len(over), "seeds": 1, "chance": 0.0})
    return rows, picked


def reachable(strings: pd.Series) -> pd.Series:
    """Tell of each class whether its images can be right: it has a string, and is the first of those that share it."""
    return (strings.str.strip() != "") & ~strings.duplicated()


def _accuracy_rows(keys: dict, hits: np.ndarray, labels: np.ndarray, candidates: pd.Series) -> list[dict]:
    """Return the rows of top1, top3, top5 and macro_top1 from hits (n, k) in ranked order; chance draws a string."""
    named, first, measured = candidates.str.strip() != "", reachable(candidates), {}
    chance = first / first.sum()  # of each class
    for k in TOPS:
        among = chance if k == 1 else named * min(k, named.sum()) / named.sum()
        measured[f"top{k}"] = (hits[:, :k].any(axis=1).astype(float), labels, among[labels].mean())
    per_class = pd.Series(measured["top1"][0]).groupby(labels).mean()
    measured["macro_top1"] = (per_class.to_numpy(), np.arange(len(per_class)), chance[per_class.index].mean())
    return [
        {**keys, "metric": metric, **with_interval(values, of), "n": len(hits), "seeds": 1, "chance": chance}
        for metric, (values, of, chance) in measured.items()
    ]


def calibration(predictions: pd.DataFrame) -> pd.DataFrame:
    """Tell how far the models' confidence is from their accuracy.

    Returns
    -------
    DataFrame
        ``model, dataset, part, accuracy, confidence, overconfidence`` (their difference, with ``ci_low, ci_high`` for
        another set of classes), ``ece`` (`expected_calibration_error`, debiased, without an interval), ``n``.
    """
    rows = []
    for keys, group in predictions.groupby(["model", "dataset", "part"]):
        right, sure = (group["class_key"] == group["predicted"]).to_numpy(float), group["confidence"].to_numpy(float)
        over = with_difference(sure - right, group["class_key"].to_numpy()).values()
        ece = expected_calibration_error(sure, right, N_BINS)
        rows.append((*keys, right.mean(), sure.mean(), *over, ece, len(group)))
    columns = ["model", "dataset", "part", "accuracy", "confidence", "overconfidence", "ci_low", "ci_high", "ece", "n"]
    return pd.DataFrame(rows, columns=columns)


def string_reports(table: pd.DataFrame, config: EvaluateConfig) -> pd.DataFrame:
    """Tell, for every part and text type, how many classes have no string, and which share one.

    Returns
    -------
    DataFrame
        ``dataset, part, text_type, n_classes, n_strings, unnamed`` (their number), ``ceiling`` (the accuracy that can
        be reached: images of the first class of a string, among those of classes that have one) and ``shared`` (the
        strings that several classes have, joined by "; ").
    """
    images, classes = evaluated_images(table), classes_of(table)
    rows = []
    for (dataset, part), group in images.groupby(["dataset", "part"]):
        for text_type in asked_types(classes, config):
            strings = class_strings(classes.loc[np.unique(group["class_key"])], text_type)
            report, named = report_strings(strings), strings[strings.str.strip() != ""]
            ceiling = reachable(named)[group.loc[group["class_key"].isin(named.index), "class_key"]].mean()
            counts = {"n_classes": report.n_classes, "n_strings": report.n_strings, "unnamed": len(report.unnamed)}
            keys = {"dataset": dataset, "part": part, "text_type": text_type}
            rows.append({**keys, **counts, "ceiling": ceiling, "shared": "; ".join(report.shared)})
    return pd.DataFrame(rows)
