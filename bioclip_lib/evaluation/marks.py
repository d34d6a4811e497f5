"""What stands beside the accuracy on unseen species: who knows a rank, who needs no text, all names; kinds of words."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from .. import RANKS
from ..catalog.splits import TRAINING, class_rows
from ..config import EvaluateConfig
from ..shards.captions import caption
from ..taxonomy.ranks import lineage_codes, tree_distance
from .tasks import (
    ASIS,
    Features,
    asked_types,
    class_strings,
    classes_of,
    evaluated_images,
    rows_of,
    unit_rows,
    with_interval,
)
from .zero_shot import ClassEncoder, class_weights, zero_shot_predict

_KINDS = ("unknown", "of one species", "of a taxon", "of no taxon")
_COLUMNS = ["dataset", "model", "what", "value", "ci_low", "ci_high", "n"]


def beside_chance(
    table: pd.DataFrame, tables: Features, encoders: Mapping[str, ClassEncoder], config: EvaluateConfig
) -> pd.DataFrame:
    """Set marks beside the zero-shot accuracy on unseen species: a name is read only by a model that passes them.

    Returns
    -------
    DataFrame
        ``dataset, model, what, value, ci_low, ci_high, n``, over images. Without a model: who draws a candidate
        at random, and who knows the kingdom ... genus of the image and draws among its candidates. Of each
        model: ``without text`` (the seen species whose test images lie nearest, then the candidate next to it
        in the tree, ties shared), and with the names of seen and unseen species as candidates (generalised
        zero-shot, Xian et al. 2018) the accuracy on unseen and on seen ones, their harmonic mean, and how many
        images of unseen species are called a seen one. Empty where a set has not two classes of either kind.
    """
    images, classes, rows = evaluated_images(table), classes_of(table), []
    for dataset, group in images.groupby("dataset"):
        seen, unseen = (np.unique(group.loc[group["part"] == part, "class_key"]) for part in ("seen", "unseen"))
        if min(len(seen), len(unseen)) < 2:
            continue
        asked = group[group["part"] == "unseen"]
        rows += [(dataset, "", *found, None) for found in _who_knows_a_rank(classes.loc[unseen], asked["class_key"])]
        for model, features in tables.items():
            values = unit_rows(rows_of(features, images).loc[group.index].to_numpy())
            found = _without_text(values, group, classes.loc[np.concatenate([seen, unseen])], len(seen))
            rows.append((dataset, model, "without text", found, asked["class_key"]))
            strings = class_strings(classes.loc[np.sort(np.concatenate([seen, unseen]))], config.text_type)
            weights = class_weights(strings, encoders[model], config.templates)
            if len(weights) > 1:
                predicted = weights.index.to_numpy()[zero_shot_predict(values, weights.to_numpy(), 1)[:, 0]]
                rows += [(dataset, model, *found) for found in _all_names(group, predicted, seen)]
    told = [
        {"dataset": dataset, "model": model, "what": what, **_told(values, of), "n": len(values)}
        for dataset, model, what, values, of in rows
    ]
    return pd.DataFrame(told, columns=_COLUMNS)


def _told(values: np.ndarray, classes: pd.Series | None) -> dict:
    """Return a mean and its interval; of what is counted, not measured, the mean alone."""
    if classes is None:
        return {"value": float(np.mean(values)), "ci_low": np.nan, "ci_high": np.nan}
    return with_interval(np.asarray(values, dtype=float), classes.to_numpy())


def _who_knows_a_rank(classes: pd.DataFrame, labels: pd.Series) -> list[tuple]:
    """Return for each image one over the candidates of its taxon, where nothing and where each rank is known."""
    codes = lineage_codes(classes)
    size = np.full(len(classes), float(len(classes)))
    found = [("a random candidate", 1 / size)]
    for depth, rank in enumerate(RANKS[:-1]):
        known = codes[:, depth] > 0
        size = np.where(known, np.bincount(codes[:, depth])[codes[:, depth]], size)  # unknown: what is known above
        found.append((f"who knows the {rank}", 1 / size))
    place = classes.index.get_indexer(labels)
    return [(what, share[place]) for what, share in found]


def _without_text(values: np.ndarray, group: pd.DataFrame, classes: pd.DataFrame, n_seen: int) -> np.ndarray:
    """Return for each unseen image its share of being right by the nearest seen species and the tree alone."""
    is_seen = (group["part"] == "seen").to_numpy()
    place = classes.index.get_indexer(group["class_key"])  # seen classes come first
    means = np.stack([values[is_seen & (place == i)].mean(axis=0) for i in range(n_seen)])
    nearest = zero_shot_predict(values[~is_seen], unit_rows(means), 1)[:, 0]
    distance = tree_distance(classes[list(RANKS)])[:n_seen, n_seen:]  # (S, U)
    among = distance == distance.min(axis=1, keepdims=True)
    share = among / among.sum(axis=1, keepdims=True)
    return share[nearest, place[~is_seen] - n_seen]


def _all_names(group: pd.DataFrame, predicted: np.ndarray, seen: np.ndarray) -> list[tuple]:
    """Return the answers where all names are candidates."""
    right, is_seen = (group["class_key"] == predicted).to_numpy(), (group["part"] == "seen").to_numpy()
    labels, taken = group["class_key"], np.isin(predicted, seen)
    a, b = right[is_seen].mean(), right[~is_seen].mean()
    return [
        ("all names, unseen species", right[~is_seen], labels[~is_seen]),
        ("all names, seen species", right[is_seen], labels[is_seen]),
        ("all names, harmonic mean", np.full(len(group), 2 * a * b / (a + b) if a + b else 0.0), None),
        ("all names, unseen called seen", taken[~is_seen], labels[~is_seen]),
    ]


def word_kinds(table: pd.DataFrame, config: EvaluateConfig) -> pd.DataFrame:
    """Tell through which words the names of unseen species can be read: what training knew of them.

    Returns
    -------
    DataFrame
        ``dataset, text_type, words`` (distinct ones a name), and the shares of them that no caption of a trained class
        has (``unknown``), that one alone has (``of one species``), that several of one kingdom or lower taxon have
        (``of a taxon``), and that classes of several kingdoms have (``of no taxon``: words for looks, above all).
    """
    trained = class_rows(table[table["split"].isin(TRAINING)]).to_dict("records")
    images, classes, rows = evaluated_images(table), classes_of(table), []
    for dataset, group in images[images["part"] == "unseen"].groupby("dataset"):
        for text_type in asked_types(classes, config):
            bearers: dict[str, list] = {}
            for row in trained if text_type != ASIS else ():
                for word in _words(caption(row, text_type)):
                    bearers.setdefault(word, []).append(row["kingdom"])
            names = class_strings(classes.loc[np.unique(group["class_key"])], text_type).map(_words)
            kinds = pd.Series([_kind(bearers.get(word, [])) for name in names for word in name], dtype=object)
            shares = {kind: (kinds == kind).mean() for kind in _KINDS}
            rows.append({"dataset": dataset, "text_type": text_type, "words": names.map(len).mean(), **shares})
    return pd.DataFrame(rows, columns=["dataset", "text_type", "words", *_KINDS])


def _words(text: str) -> set[str]:
    """Return the words of a name or caption, without those that all captions have."""
    return set(text.lower().rstrip(".").split()) - {"a", "photo", "of", "with", "common", "name"}


def _kind(kingdoms: list[str]) -> str:
    """Return the kind of a word whose trained bearers are of these kingdoms."""
    if len(kingdoms) < 2:
        return _KINDS[len(kingdoms)]
    return _KINDS[2] if len(set(kingdoms)) == 1 and kingdoms[0] else _KINDS[3]
