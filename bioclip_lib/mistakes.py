"""How wrong the wrong names are: the right family or not, near or far in the tree.

Takes the predictions of `benchmarks.score_zero_shot` and the catalog; returns tables by rank and by tree distance, each
with what a random candidate would give. Classes that are not known to a rank do not count there.
"""

import numpy as np
import pandas as pd

from . import RANKS, catalog, hierarchy, zero_shot
from .benchmarks import with_interval
from .config import EvaluateConfig


def rank_accuracy(predictions: pd.DataFrame, table: pd.DataFrame, config: EvaluateConfig) -> pd.DataFrame:
    """Tell at which ranks the predicted taxon is right, where both taxa are known at that rank.

    Returns
    -------
    DataFrame
        ``model, dataset, part, rank, value, ci_low, ci_high, chance, n``; chance is the accuracy of a random candidate.
    """
    ranks = _ranks_of_classes(table)
    rows = []
    for (name, dataset, part), group in predictions.groupby(["model", "dataset", "part"]):
        candidates = np.unique(group["class_key"])
        true, predicted = (np.searchsorted(candidates, group[column]) for column in ("class_key", "predicted"))
        of_candidates, every = ranks.loc[candidates], np.arange(len(candidates))
        hits = zero_shot.correct_by_rank(of_candidates, true, predicted)  # (n, 7)
        pairs = zero_shot.correct_by_rank(of_candidates, np.repeat(every, len(every)), np.tile(every, len(every)))
        by_chance = pairs.reshape(len(every), len(every), -1).mean(axis=1)  # (C, 7): a candidate drawn at random
        for depth, rank in enumerate(RANKS):
            known = ~np.isnan(hits[:, depth])
            if not known.any():
                continue
            interval = with_interval(hits[known, depth], group["class_key"].to_numpy()[known], config)
            chance = by_chance[true[known], depth].mean()
            keys = {"model": name, "dataset": dataset, "part": part, "rank": rank}
            rows.append({**keys, **interval, "chance": chance, "n": int(known.sum())})
    return pd.DataFrame(rows, columns=["model", "dataset", "part", "rank", "value", "ci_low", "ci_high", "chance", "n"])


def mistake_distances(predictions: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Count mistakes by their tree distance from the truth, and what a random wrong candidate would give.

    Returns
    -------
    DataFrame
        ``model, dataset, part, distance`` (1 to 7), ``share`` of the mistakes, ``chance`` (share of a random wrong
        candidate), ``n`` mistakes. Only classes known to species.
    """
    ranks = _ranks_of_classes(table)
    ranks = ranks[ranks["species"] != ""]
    rows = []
    for (name, dataset, part), group in predictions.groupby(["model", "dataset", "part"]):
        candidates = ranks.index.intersection(np.unique(group["class_key"]))
        if len(candidates) < 2:
            continue
        distance = pd.DataFrame(hierarchy.tree_distance(ranks.loc[candidates]), candidates, candidates)
        known = group["class_key"].isin(candidates) & group["predicted"].isin(candidates)
        wrong = group[known & (group["class_key"] != group["predicted"])]
        observed = distance.to_numpy()[
            candidates.get_indexer(wrong["class_key"]), candidates.get_indexer(wrong["predicted"])
        ]
        expected = distance.loc[wrong["class_key"]].to_numpy()
        for d in range(1, len(RANKS) + 1):
            share = float((observed == d).mean()) if len(wrong) else np.nan
            chance = float((expected == d).sum() / max(1, (expected > 0).sum()))
            keys = {"model": name, "dataset": dataset, "part": part, "distance": d}
            rows.append({**keys, "share": share, "chance": chance, "n": len(wrong)})
    return pd.DataFrame(rows, columns=["model", "dataset", "part", "distance", "share", "chance", "n"])


def _ranks_of_classes(table: pd.DataFrame) -> pd.DataFrame:
    """Return the seven ranks of each class, indexed by class."""
    usable = table[catalog.usable(table)]
    return (
        usable.assign(class_key=catalog.class_key(usable))
        .drop_duplicates("class_key")
        .set_index("class_key")[list(RANKS)]
    )
