"""Photographs that were taken one after the other: of those without a group, which are one burst.

Takes the deciding columns of all rows; returns their groups. Those of one class and source are a burst where they lie
in one folder and were taken within seconds of each other, or look nearly alike. Decides nothing on splits.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .looks import FLAT
from .splits import usable

_RADIUS, _AGREEMENT = 8, 0.75  # bits, and cosine of details
_MOST_AT_ONCE = 20  # photographs of a class in one second: more, and the clock was not set


def find_bursts(rows: pd.DataFrame, within_s: float, describe: Callable | None = None) -> pd.Series:
    """Return the group of each row: the one that it has, ``burst <image_id of the first>``, or ''.

    `rows` has ``image_id, source, class_key, group, phash, taken`` (seconds, 0 where unknown), ``folder``; `describe`
    reads their details. Looks are alike within 8 bits where the details agree to 0.75: of 16 sequences of three
    photographs of birds this joins 14 whole and 2 in part, and of 2,000 others none; of leaves on paper 10 %.
    """
    seen = usable(rows) | rows["excluded"].str.contains("duplicate of ", regex=False)  # a copy may link two others
    columns = ["image_id", "source", "class_key", "phash", "taken", "folder"]
    alone = rows.loc[seen & (rows["group"] == ""), columns]
    if not within_s or alone.empty:
        return rows["group"]
    alone = alone.assign(of=alone.groupby(["source", "class_key"], observed=True).ngroup()).astype({"image_id": object})
    links = [*_by_time(alone.reset_index(drop=True), within_s), *_by_looks(alone, describe)]
    if not links:
        return rows["group"]
    i, j = np.concatenate(links, axis=1)
    joined = coo_array((np.ones(len(i), bool), (i, j)), shape=(len(alone), len(alone)))
    burst = pd.Series(connected_components(joined, directed=False)[1], index=alone.index)
    burst = burst[usable(rows)[burst.index]]
    burst = burst[burst.duplicated(keep=False)]
    first = alone.loc[burst.index, "image_id"].groupby(burst).transform("min")
    group = rows["group"].copy()
    group[first.index] = "burst " + first
    return group


def _by_time(alone: pd.DataFrame, within_s: float) -> Iterator[np.ndarray]:
    """Yield the pairs (2, L) of neighbours in time, by class and folder."""
    timed = alone[alone["taken"] > 0].sort_values(["of", "folder", "taken"], kind="stable")
    at_once = timed.groupby(["of", "folder", "taken"], observed=True)["taken"].transform("size")
    timed = timed[at_once <= _MOST_AT_ONCE]
    codes = timed.groupby(["of", "folder"], observed=True).ngroup().to_numpy()
    near = (np.diff(codes) == 0) & (np.diff(timed["taken"].to_numpy()) <= within_s)
    place = timed.index.to_numpy()
    if near.any():
        yield np.stack([place[:-1][near], place[1:][near]])


def _by_looks(alone: pd.DataFrame, describe: Callable | None) -> Iterator[np.ndarray]:
    """Yield the pairs (2, L) of a class that look nearly alike."""
    if describe is None:
        return
    of, phash = alone["of"].to_numpy(), alone["phash"].to_numpy()
    order = np.argsort(of, kind="stable")
    order = order[phash[order] != FLAT]
    pairs = [np.empty((2, 0), np.int64)]
    for step in range(1, len(order)):  # each with the one so many places further on in its class
        order_now = np.flatnonzero(of[order[:-step]] == of[order[step:]])
        if not len(order_now):
            break
        i, j = order[order_now], order[order_now + step]
        near = np.bitwise_count(phash[i] ^ phash[j]) <= _RADIUS
        pairs.append(np.stack([i[near], j[near]]))
    i, j = np.concatenate(pairs, axis=1)
    if not len(i):
        return
    asked = np.unique([i, j])
    details = describe(alone.iloc[asked], "frames").to_numpy()
    place = np.searchsorted(asked, np.stack([i, j]))  # (2, L)
    agree = np.einsum("ld,ld->l", details[place[0]], details[place[1]]) >= _AGREEMENT  # (L, D) . (L, D) -> (L,)
    yield np.stack([i[agree], j[agree]])
