"""The seven ranks: lineages numbered, compared, and how far two taxa are from each other in the tree.

Takes a table with the seven ranks, '' where unknown; returns codes, distances and at which ranks a name is right.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from .. import RANKS
from ..errors import InputError


def correct_by_rank(ranks: pd.DataFrame, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Tell at which ranks the predicted class belongs to the image's taxon.

    Parameters
    ----------
    ranks : DataFrame of shape (C, 7)
        The seven ranks of each class; '' where unknown.
    true, predicted : ndarray of shape (n,), int
        Class indices.

    Returns
    -------
    ndarray of shape (n, 7), float64
        1 right, 0 wrong, NaN where the image's own taxon is unknown at that rank.

    Notes
    -----
    Of two lineages that part, a name that occurs again further down (a homonym) joins nothing. A rank that one of them
    lacks decides nothing for those below, as in `hierarchy.tree_distance`; a prediction that lacks it is wrong there.

    Examples
    --------
    >>> rows = [("A", "B", "C", "D", "E", "F", s) for s in ("g", "h")]
    >>> correct_by_rank(pd.DataFrame(rows, columns=list(RANKS)), np.array([0]), np.array([1]))[0, 5:].tolist()
    [1.0, 0.0]
    """
    codes = rank_codes(ranks)
    mine, theirs = codes[true], codes[predicted]  # (n, 7)
    together = np.logical_and.accumulate((mine == theirs) | (mine == 0) | (theirs == 0), axis=1)
    return np.where(mine == 0, np.nan, together & (mine == theirs))


def rank_codes(ranks: pd.DataFrame) -> np.ndarray:
    """Number the taxa of each rank from 1, rank by rank; 0 where a rank is unknown.

    Parameters
    ----------
    ranks : DataFrame of shape (n, 7)
        '' or a missing value where unknown.

    Returns
    -------
    ndarray of shape (n, 7), int64

    Examples
    --------
    >>> rank_codes(pd.DataFrame([["A", "", "", "", "", "", ""], ["B"] + [""] * 6], columns=list(RANKS)))[:, :2].tolist()
    [[1, 0], [2, 0]]
    """
    missing = [rank for rank in RANKS if rank not in ranks]
    if missing:
        raise InputError(f"a table of ranks lacks {', '.join(missing)}; give all seven, '' where unknown")
    columns = [pd.factorize(ranks[rank].where(ranks[rank] != ""))[0] for rank in RANKS]  # -1 where missing
    return np.stack(columns, axis=1).astype(np.int64) + 1


def tree_distance(ranks: pd.DataFrame) -> np.ndarray:
    """Count the ranks below the deepest one that two taxa share.

    Parameters
    ----------
    ranks : DataFrame of shape (n, 7)
        The seven ranks; '' where unknown.

    Returns
    -------
    ndarray of shape (n, n), int64
        0 for the same species, 1 for the same genus, ..., 7 for different kingdoms.

    Notes
    -----
    Two taxa share a rank only if they share all ranks above it, so an epithet or a genus name that occurs twice does
    not join strangers. An unknown rank is never shared, unless a deeper known one is: then the gap is passed over. Two
    rows that are known only to the same order are at distance 3, not 0; only a row and itself are at 0.

    Examples
    --------
    >>> rows = [("A", "B", "C", "D", "E", "F", s) for s in ("g", "h")]
    >>> tree_distance(pd.DataFrame(rows, columns=list(RANKS))).tolist()
    [[0, 1], [1, 0]]
    """
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
