"""The seven ranks: lineages numbered, compared, and how far two taxa are from each other in the tree.

Takes a table with the seven ranks, '' where unknown; returns codes, distances and at which ranks a name is right.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from .. import RANKS
from ..errors import InputError


def correct_by_rank(ranks: pd.DataFrame, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Tell at which ranks the predicted class is the image's, (n, 7): 1, 0, and NaN where its own is unknown."""
    codes = rank_codes(ranks)
    # below the rank at which two lineages part nothing joins them; a rank that one lacks decides nothing
    mine, theirs = codes[true], codes[predicted]  # (n, 7)
    together = np.logical_and.accumulate((mine == theirs) | (mine == 0) | (theirs == 0), axis=1)
    return np.where(mine == 0, np.nan, together & (mine == theirs))


def rank_codes(ranks: pd.DataFrame) -> np.ndarray:
    """Number the taxa of each rank from 1, rank by rank; 0 where a rank is unknown."""
    missing = [rank for rank in RANKS if rank not in ranks]
    if missing:
        raise InputError(f"a table of ranks lacks {', '.join(missing)}; give all seven, '' where unknown")
    columns = [pd.factorize(ranks[rank].where(ranks[rank] != ""))[0] for rank in RANKS]  # -1 where missing
    return np.stack(columns, axis=1).astype(np.int64) + 1


def tree_distance(ranks: pd.DataFrame) -> np.ndarray:
    """Count the ranks below the deepest that two taxa share, (n, n): 0 for one species, 7 for two kingdoms."""
    # only what shares all ranks above shares a rank; two rows known only to one order are at distance 3
    deepest = np.zeros((len(ranks), len(ranks)), dtype=np.int64)
    together = np.ones(deepest.shape, dtype=bool)
    for depth, column in enumerate(rank_codes(ranks).T):
        known = (column > 0)[:, None] & (column > 0)[None, :]
        equal = column[:, None] == column[None, :]
        together &= equal | ~known  # a rank that either lacks decides nothing
        deepest[together & known & equal] = depth + 1
    np.fill_diagonal(deepest, len(RANKS))
    return len(RANKS) - deepest


def deepest_rank(ranks: Mapping[str, str]) -> str:
    """Return the deepest of the seven ranks that is not '', or ''."""
    return next((rank for rank in reversed(RANKS) if ranks[rank]), "")


def lineage_codes(ranks: pd.DataFrame) -> np.ndarray:
    """Number the taxa of each rank from 1 by their whole lineage, (n, 7); homonyms differ; 0 where unknown."""
    codes, lineage = rank_codes(ranks), np.zeros(len(ranks), dtype=np.int64)
    found = np.zeros_like(codes)
    for depth, column in enumerate(codes.T):
        lineage = np.unique(np.stack([lineage, column]), axis=1, return_inverse=True)[1].ravel()
        found[:, depth] = np.where(column > 0, lineage + 1, 0)
    return found
