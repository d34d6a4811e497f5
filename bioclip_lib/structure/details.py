"""What a run keeps of the hierarchy probe, so that its figures can be drawn again: nulls and pairs as tables."""

import numpy as np
import pandas as pd

from .. import RANKS

_BINS, _MAX_PAIRS = 40, 2_000  # of a null distribution; drawn of the pairs of one rank
_NULL = ["dataset", "task", "model", "observed", "p_value", "n_permutations", "n_species", "low", "high", "n"]


def null_table(details: dict) -> pd.DataFrame:
    """Return Mantel's null distributions as histograms, a row a bin, beside what was observed.

    Parameters
    ----------
    details : dict
        Of `score_hierarchy`.

    Returns
    -------
    DataFrame
        ``dataset, task, model, observed, p_value, n_permutations, n_species``, and ``low, high, n`` of each bin.
    """
    rows = []
    for (dataset, task, model), found in details.items():
        null, observed = found["null"], found["observed"]
        p_value = (1 + (null >= observed - 1e-12).sum()) / (1 + len(null)) if np.isfinite(observed) else 1.0
        counts, edges = np.histogram(null, bins=_BINS)
        keys = (dataset, task, model, observed, p_value, len(null), len(found["tree"]))
        rows += [(*keys, *bar) for bar in zip(edges[:-1], edges[1:], counts, strict=True)]
    return pd.DataFrame(rows, columns=_NULL)


def pair_table(details: dict) -> pd.DataFrame:
    """Return the distance in the embedding of pairs of species by the deepest rank that they share.

    Parameters
    ----------
    details : dict
        Of `score_hierarchy`.

    Returns
    -------
    DataFrame
        ``dataset, task, model, rank, distance``, and ``n_pairs``, all that there are of this rank: of more than 2,000
        these are a seeded part, the same of each model.
    """
    tables = [pd.DataFrame(columns=["dataset", "task", "model", "rank", "distance", "n_pairs"])]
    for (dataset, task, model), found in details.items():
        upper = np.triu_indices(len(found["tree"]), k=1)
        shared, distance = len(RANKS) - found["tree"][upper].astype(int), found["embedding"][upper]
        for depth in np.unique(shared):
            of_rank = np.flatnonzero(shared == depth)
            kept = np.random.default_rng(0).permutation(of_rank)[:_MAX_PAIRS]
            keys = {"dataset": dataset, "task": task, "model": model, "rank": ("none", *RANKS)[depth]}
            tables.append(pd.DataFrame({**keys, "distance": distance[kept], "n_pairs": len(of_rank)}))
    return pd.concat(tables[1:] or tables, ignore_index=True)
