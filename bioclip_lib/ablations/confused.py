"""Asked again: the few classes that names leave in question are told apart by how they look.

Takes a catalog with descriptions, features of its images and a text tower; returns scores. Each of an image's first
classes by name is described by the words that its rivals' descriptions lack (after FuDD, https://arxiv.org/abs/2311.07593,
which asks a language model for them), or by its whole description, and the best of these few is taken.
"""

import re

import numpy as np
import pandas as pd

from ..config import DESCRIPTION, EvaluateConfig
from ..evaluation.tasks import class_strings, classes_of, evaluated_images, rows_of, score_frame, with_interval
from ..evaluation.zero_shot import ClassEncoder, zero_shot_predict
from ..model.features import FeatureTable

N_ASKED = 5  # classes that are asked again
WHOLE, APART = "described", "told apart"  # behind the task of names


def score_follow_up(
    table: pd.DataFrame, features: FeatureTable, encoder: ClassEncoder, config: EvaluateConfig
) -> pd.DataFrame:
    """Return ``macro_top1`` of ``zero_shot/<part>/described`` and ``.../told apart``, of parts described whole."""
    images, rows = evaluated_images(table), []
    values, classes = rows_of(features, images), classes_of(table)
    for (dataset, part), group in images.groupby(["dataset", "part"]):
        of = classes.loc[np.unique(group["class_key"])]
        names, looks = class_strings(of, config.text_type), class_strings(of, DESCRIPTION)
        if len(of) < 2 or (names == "").any() or (looks == "").any():
            continue
        mine, keys = values.loc[group.index].to_numpy(), group["class_key"].to_numpy()
        named = zero_shot_predict(mine, encoder.weights(list(names), ("{}",)), N_ASKED)  # (n, k)
        for way, weights in ((WHOLE, _whole), (APART, _apart)):
            scores = np.einsum("nd,nkd->nk", mine, weights(list(looks), named, encoder))
            chosen = np.take_along_axis(named, scores.argmax(axis=1)[:, None], axis=1)[:, 0]
            right = pd.Series(of.index.to_numpy()[chosen] == keys, dtype=float).groupby(keys).mean().to_numpy()
            found = {"dataset": dataset, "task": f"zero_shot/{part}/{way}", "model": "trained", "metric": "macro_top1"}
            interval = with_interval(right, np.arange(len(right)))
            rows.append({**found, **interval, "n": len(group), "seeds": 1, "chance": 1 / len(of)})
    return score_frame(rows)


def _whole(looks: list[str], named: np.ndarray, encoder: ClassEncoder) -> np.ndarray:
    """Return the weights of the whole descriptions of each image's classes, (n, k, D)."""
    return encoder.weights(looks, ("{}",))[named]


def _apart(looks: list[str], named: np.ndarray, encoder: ClassEncoder) -> np.ndarray:
    """Return the mean weights of what tells each of an image's classes from each of its rivals, (n, k, D)."""
    words = [dict.fromkeys(re.findall(r"[^\W\d_]+", text.lower())) for text in looks]
    pairs = {(a, b) for row in named for a in row for b in row if a != b}
    texts = {(a, b): " ".join(w for w in words[a] if w not in words[b]) or looks[a] for a, b in pairs}
    distinct = {text: i for i, text in enumerate(dict.fromkeys(texts.values()))}
    weights = encoder.weights(list(distinct), ("{}",))
    place = {pair: distinct[text] for pair, text in texts.items()}
    rivals = [[[place[a, b] for b in row if b != a] for a in row] for row in named]
    total = weights[np.array(rivals)].mean(axis=2)  # (n, k, k - 1, D) -> (n, k, D)
    return total / np.linalg.norm(total, axis=2, keepdims=True)
