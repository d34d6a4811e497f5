"""Which of up to 10**7 hashes of 64 bits lie within `RADIUS` bits (Hamming distance) of each other.

Takes hashes; returns groups and nearest matches, exactly: nothing within the radius is missed.
"""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

RADIUS = 2  # bits; see `catalog.duplicates.mark_near_duplicates` for what it was chosen by
_BANDS = [np.uint64(sum(1 << bit for bit in range(k, 64, RADIUS + 1))) for k in range(RADIUS + 1)]
_CHUNK = 2**21  # candidate pairs in memory at once


def near_groups(hashes: np.ndarray) -> np.ndarray:
    """Group a set into chains of neighbours within `RADIUS`.

    Parameters
    ----------
    hashes : np.ndarray of shape (N,)
        uint64.

    Returns
    -------
    np.ndarray of shape (N,)
        int64, equal within a group; the groups are numbered from 0 by their smallest hash.

    Notes
    -----
    Pairs are merged as they are found: memory is of order N whatever their number.

    Examples
    --------
    >>> near_groups(np.array([0, 255, 1, 7], dtype=np.uint64)).tolist()
    [0, 1, 0, 0]
    """
    distinct, _, inverse = _distinct(hashes)
    labels = np.arange(len(distinct))
    waiting: list[np.ndarray] = []
    for i, j, _ in _search(distinct, None):
        waiting.append(np.stack([i, j]))
        if sum(part.shape[1] for part in waiting) > max(len(distinct), _CHUNK):
            labels, waiting = merge_groups(labels, waiting), []
    return merge_groups(labels, waiting)[inverse]


def merge_groups(labels: np.ndarray, links: list[np.ndarray]) -> np.ndarray:
    """Join the groups (N,) that links, arrays of (2, L) rows, connect; numbered by their first member."""
    n = len(labels)
    i, j = labels[np.concatenate([np.empty((2, 0), np.int64), *links], axis=1)]
    _, joined = connected_components(coo_array((np.ones(len(i), bool), (i, j)), shape=(n, n)), directed=False)
    _, first, inverse = np.unique(joined[labels], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def near_matches(hashes: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest of another set within `RADIUS`.

    Parameters
    ----------
    hashes : np.ndarray of shape (N,)
        uint64.
    others : np.ndarray of shape (M,)
        uint64.

    Returns
    -------
    matches : np.ndarray of shape (N,)
        int64 rows of `others`, the first of those equally near; -1 where none is within the radius.
    distances : np.ndarray of shape (N,)
        int64; -1 where there is none.

    Examples
    --------
    >>> matches, distances = near_matches(*np.array([[0, 99], [7, 1]], dtype=np.uint64))
    >>> matches.tolist(), distances.tolist()
    ([1, -1], [1, -1])
    """
    distinct, _, inverse = _distinct(hashes)
    others, first, _ = _distinct(others)
    none = np.iinfo(np.int64).max
    best = np.full(len(distinct), none)
    n = max(1, first.max(initial=0) + 1)
    for i, j, distance in _search(distinct, others):
        np.minimum.at(best, i, distance.astype(np.int64) * n + first[j])
    distances, matches = np.divmod(best, n)
    matches[best == none], distances[best == none] = -1, -1
    return matches[inverse], distances[inverse]


def _distinct(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the sorted distinct hashes (D,), the first row (D,) of each, and which of them (N,) a row has."""
    hashes = np.asarray(hashes)
    if hashes.dtype != np.uint64 or hashes.ndim != 1:
        raise ValueError(f"hashes are {hashes.dtype} of shape {hashes.shape}; give uint64 of shape (N,)")
    return np.unique(hashes, return_index=True, return_inverse=True)


def _search(hashes: np.ndarray, others: np.ndarray | None) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield chunks of row, other row and distance of all pairs within `RADIUS`, each pair once.

    Without `others`, the unordered pairs of `hashes`. Both must be distinct: k equal hashes would make k**2 pairs.

    Notes
    -----
    Multi-index hashing (Norouzi, Punjani and Fleet, CVPR 2012): the bits are dealt to `RADIUS` + 1 bands, so that two
    hashes that are near are equal in one band at least. What is equal in a band is compared in full. Neighbouring bits
    are correlated and go to different bands.

    Equal hashes count once and at most `_CHUNK` candidates (or one row's) are held, so memory is linear whatever the
    hashes. Time is quadratic only in distinct hashes that share a band; images without structure, which crowd there,
    have one hash between them, `catalog.perceptual.FLAT`.
    """
    for number, band in enumerate(_BANDS):
        for i, j in _join(hashes & band, None if others is None else others & band):
            apart = hashes[i] ^ (hashes if others is None else others)[j]
            near = np.flatnonzero(np.bitwise_count(apart) <= RADIUS)
            for earlier in _BANDS[:number]:  # which has brought together what is equal there
                near = near[(apart[near] & earlier) != 0]
            if len(near):
                yield i[near], j[near], np.bitwise_count(apart[near])


def _join(values: np.ndarray, others: np.ndarray | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows (K,) and other rows (K,) of equal values, in chunks; without `others` each pair of values once."""
    order = np.argsort(values)
    values = values[order]
    other_order = order if others is None else np.argsort(others)
    others = values if others is None else others[other_order]
    end = np.searchsorted(others, values, side="right")
    begin = np.arange(1, len(values) + 1) if other_order is order else np.searchsorted(others, values)
    for row, other in _expand(begin, end):
        yield order[row], other_order[other]


def _expand(begin: np.ndarray, end: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield each position (K,) with each of its partners ``begin[position]`` to ``end[position] - 1`` (K,), in chunks.

    Examples
    --------
    >>> [(row.tolist(), other.tolist()) for row, other in _expand(np.array([5, 0, 7]), np.array([7, 0, 8]))]
    [([0, 0, 2], [5, 6, 7])]
    """
    rows = np.flatnonzero(end > begin)
    lengths = (end - begin)[rows]
    total = np.cumsum(lengths)
    start = 0
    while start < len(rows):
        done = total[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(total, done + _CHUNK, side="right")))
        n = lengths[start:stop]
        first = np.repeat(begin[rows[start:stop]] - (total[start:stop] - n - done), n)
        yield np.repeat(rows[start:stop], n), first + np.arange(len(first))
        start = stop
