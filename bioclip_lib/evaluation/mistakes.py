"""How wrong the wrong names are: right at which rank, and how far in the tree, beside what a random candidate gives.

Takes what `zero_shot` called each image, and the catalog; returns tables. Knows no model.
"""

import numpy as np
import pandas as pd

from .. import RANKS
from ..catalog.splits import class_rows
from ..taxonomy.ranks import correct_by_rank, tree_distance
from .tasks import score_frame, with_interval

_PAIRS = 300_000  # pairs of classes at a time, to bound the memory
_COLUMNS = ["model", "dataset", "part", "rank", "value", "ci_low", "ci_high", "chance", "n"]
_COLUMNS += ["given", "given_low", "given_high", "given_chance", "given_n"]


def rank_accuracy(predictions: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Tell at which ranks the predicted taxon is right, of the images whose own taxon is known at that rank.

    Returns
    -------
    DataFrame
        ``model, dataset, part, rank, value, ci_low, ci_high, chance, n``; chance is the accuracy of a random candidate.
        ``given, given_low, given_high, given_chance, given_n``: the same of the images that are right at the rank
        above, among the candidates of its taxon. Where this is no better than its chance, what is known ends above.
    """
    ranks = class_rows(table)[list(RANKS)]
    rows = []
    for (name, dataset, part), group in predictions.groupby(["model", "dataset", "part"]):
        candidates, labels = np.unique(group["class_key"]), group["class_key"].to_numpy()
        true, predicted = (np.searchsorted(candidates, group[column]) for column in ("class_key", "predicted"))
        hits = correct_by_rank(ranks.loc[candidates], true, predicted)  # (n, 7)
        by_chance = _chance_by_rank(ranks.loc[candidates])[true]  # (n, 7)
        for depth, rank in enumerate(RANKS):
            known = ~np.isnan(hits[:, depth])
            if not known.any():
                continue
            right_above = known & (hits[:, depth - 1] == 1) if depth else known
            chance = by_chance[:, depth] / (by_chance[:, depth - 1] if depth else 1.0)
            keys = {"model": name, "dataset": dataset, "part": part, "rank": rank}
            plain = _accuracy(hits[:, depth], labels, by_chance[:, depth], known)
            given = _accuracy(hits[:, depth], labels, chance, right_above)
            rows.append([*keys.values(), *plain, *given])
    return pd.DataFrame(rows, columns=_COLUMNS)


def _accuracy(hits: np.ndarray, labels: np.ndarray, chance: np.ndarray, kept: np.ndarray) -> list[float]:
    """Return value, interval, chance and n of the images kept; NaN of none."""
    if not kept.any():
        return [np.nan, np.nan, np.nan, np.nan, 0]
    return [*with_interval(hits[kept], labels[kept]).values(), chance[kept].mean(), int(kept.sum())]


def _chance_by_rank(ranks: pd.DataFrame) -> np.ndarray:
    """Return how often a candidate drawn at random is right for an image of each class, (C, 7)."""
    every, rows = np.arange(len(ranks)), max(1, _PAIRS // len(ranks))
    chance = []
    for start in range(0, len(ranks), rows):
        true = every[start : start + rows]
        pairs = correct_by_rank(ranks, np.repeat(true, len(every)), np.tile(every, len(true)))
        chance.append(pairs.reshape(len(true), len(every), -1).mean(axis=1))  # (c * C, 7) -> (c, C, 7) -> (c, 7)
    return np.concatenate(chance)


def mistake_distances(predictions: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Count mistakes by their tree distance from the truth, and what a random wrong candidate would give.

    Returns
    -------
    DataFrame
        ``model, dataset, part, distance`` (1 to 7), ``share`` of the mistakes, ``chance`` (share of a random wrong
        candidate), ``n`` mistakes. Only classes known to species.
    """
    rows = []
    for (name, dataset, part), group in predictions.groupby(["model", "dataset", "part"]):
        found = _distances_of_mistakes(group, table)
        if found is None:
            continue
        _, observed, expected = found
        for d in range(1, len(RANKS) + 1):
            share = float((observed == d).mean()) if len(observed) else np.nan
            chance = float(expected[:, d].sum() / max(1, expected[:, 1:].sum()))
            keys = {"model": name, "dataset": dataset, "part": part, "distance": d}
            rows.append({**keys, "share": share, "chance": chance, "n": len(observed)})
    return pd.DataFrame(rows, columns=["model", "dataset", "part", "distance", "share", "chance", "n"])


def mean_distances(predictions: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Average the tree distance of mistakes from the truth.

    Returns
    -------
    DataFrame
        Rows for `append_metrics`: tasks ``zero_shot/seen`` and ``zero_shot/unseen``, metric
        ``mistake_distance``, 1 (another species of the genus) to 7 (another kingdom); chance is the mean over random
        wrong candidates, n the number of mistakes. Only classes known to species; no row where there is no mistake.
    """
    rows = []
    for (name, dataset, part), group in predictions.groupby(["model", "dataset", "part"]):
        found = _distances_of_mistakes(group, table)
        if found is None or not len(found[1]):
            continue
        wrong, observed, expected = found
        interval = with_interval(observed.astype(float), wrong["class_key"].to_numpy(), (1, len(RANKS)))
        keys = {"model": name, "dataset": dataset, "task": f"zero_shot/{part}", "metric": "mistake_distance"}
        chance = (expected * np.arange(len(RANKS) + 1)).sum() / expected[:, 1:].sum()
        rows.append({**keys, **interval, "n": len(wrong), "seeds": 1, "chance": chance})
    return score_frame(rows)


def _distances_of_mistakes(
    group: pd.DataFrame, table: pd.DataFrame
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray] | None:
    """Return mistakes (m rows), their distances (m,) and how many candidates lie at 0 to 7 (m, 8); None of one."""
    ranks = class_rows(table)[list(RANKS)]
    candidates = ranks.index[ranks["species"] != ""].intersection(np.unique(group["class_key"]))
    if len(candidates) < 2:
        return None
    distance = tree_distance(ranks.loc[candidates])
    known = group["class_key"].isin(candidates) & group["predicted"].isin(candidates)
    wrong = group[known & (group["class_key"] != group["predicted"])]
    true, predicted = (candidates.get_indexer(wrong[column]) for column in ("class_key", "predicted"))
    counts = np.stack([(distance == d).sum(axis=1) for d in range(len(RANKS) + 1)], axis=1)  # (C, 8)
    return wrong, distance[true, predicted], counts[true]
