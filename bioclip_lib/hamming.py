"""Which of up to 10**7 hashes of 64 bits lie within a Hamming distance of each other.

Takes hashes, returns near pairs, groups and nearest matches, exactly: nothing within the radius is missed. Refuses a
radius at which everything looks alike.
"""

from collections.abc import Iterator
from itertools import combinations
from math import comb

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .errors import InputError

RADIUS = 2  # bits; see `bioclip_lib.dedup.mark_near_duplicates` for what it was chosen by
MAX_RADIUS = 16  # bits
N_BITS = 64
_CHUNK = 2**21  # candidate pairs in memory at once


def near_pairs(hashes: np.ndarray, radius: int = RADIUS) -> tuple[np.ndarray, np.ndarray]:
    """Find the pairs of one set within a Hamming distance.

    Parameters
    ----------
    hashes : np.ndarray of shape (N,)
        uint64.
    radius : int
        0 to 16, in bits.

    Returns
    -------
    pairs : np.ndarray of shape (P, 2)
        int64 rows, the smaller first, in lexicographic order. Of rows with the same hash, the first stands for all:
        the others are paired with it alone, so that k equal hashes make k - 1 pairs and not k**2 / 2.
    distances : np.ndarray of shape (P,)
        uint8.

    Raises
    ------
    InputError
        If `radius` is outside 0 to 16.

    Examples
    --------
    >>> pairs, distances = near_pairs(np.array([0, 7, 1, 7], dtype=np.uint64), radius=2)
    >>> pairs.tolist(), distances.tolist()
    ([[0, 2], [1, 2], [1, 3]], [1, 2, 0])
    """
    distinct, first, inverse = _distinct(hashes)
    found = list(_search(distinct, None, radius))
    i, j, distances = (np.concatenate(parts) for parts in zip(*found, strict=True)) if found else _NONE
    pairs = np.sort(np.column_stack([first[i], first[j]]), axis=1)
    copies = _copies(first, inverse)
    pairs, distances = np.concatenate([pairs, copies]), np.concatenate([distances, np.zeros(len(copies), np.uint8)])
    order = np.lexsort(pairs.T[::-1])
    return pairs[order], distances[order]


def near_groups(hashes: np.ndarray, radius: int = RADIUS) -> np.ndarray:
    """Group a set into chains of neighbours within a Hamming distance: the components of `near_pairs`.

    Parameters
    ----------
    hashes : np.ndarray of shape (N,)
        uint64.
    radius : int
        0 to 16, in bits.

    Returns
    -------
    np.ndarray of shape (N,)
        int64, equal within a group; the groups are numbered from 0 by their smallest hash.

    Raises
    ------
    InputError
        If `radius` is outside 0 to 16.

    Notes
    -----
    Pairs are merged as they are found: memory is of order N whatever their number.

    Examples
    --------
    >>> near_groups(np.array([0, 255, 1, 3], dtype=np.uint64), radius=1).tolist()
    [0, 1, 0, 0]
    """
    distinct, _, inverse = _distinct(hashes)
    labels = np.arange(len(distinct))
    waiting: list[np.ndarray] = []
    for i, j, _ in _search(distinct, None, radius):
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


def near_matches(hashes: np.ndarray, others: np.ndarray, radius: int = RADIUS) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest of another set within a Hamming distance.

    Parameters
    ----------
    hashes : np.ndarray of shape (N,)
        uint64.
    others : np.ndarray of shape (M,)
        uint64.
    radius : int
        0 to 16, in bits.

    Returns
    -------
    matches : np.ndarray of shape (N,)
        int64 rows of `others`, the first of those equally near; -1 where none is within the radius.
    distances : np.ndarray of shape (N,)
        int64; -1 where there is none.

    Raises
    ------
    InputError
        If `radius` is outside 0 to 16.

    Examples
    --------
    >>> matches, distances = near_matches(*np.array([[0, 99], [3, 1]], dtype=np.uint64), radius=1)
    >>> matches.tolist(), distances.tolist()
    ([1, -1], [1, -1])
    """
    distinct, _, inverse = _distinct(hashes)
    others, first, _ = _distinct(others)
    none = np.iinfo(np.int64).max
    best = np.full(len(distinct), none)
    n = max(1, first.max(initial=0) + 1)
    for i, j, distance in _search(distinct, others, radius):
        np.minimum.at(best, i, distance.astype(np.int64) * n + first[j])
    distances, matches = np.divmod(best, n)
    matches[best == none], distances[best == none] = -1, -1
    return matches[inverse], distances[inverse]


_NONE = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8))


def _distinct(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the sorted distinct hashes (D,), the first row (D,) of each, and which of them (N,) a row has."""
    hashes = np.asarray(hashes)
    if hashes.dtype != np.uint64 or hashes.ndim != 1:
        raise ValueError(f"hashes are {hashes.dtype} of shape {hashes.shape}; give uint64 of shape (N,)")
    return np.unique(hashes, return_index=True, return_inverse=True)


def _copies(first: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Pair (C, 2) every later row of a hash with the first."""
    rows = np.arange(len(inverse))
    pairs = np.column_stack([first[inverse], rows])
    return pairs[pairs[:, 0] != rows]


def _search(hashes: np.ndarray, others: np.ndarray | None, radius: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield chunks of row, other row and distance of all pairs within the radius, each pair once.

    Without `others`, the unordered pairs of `hashes`. Both must be distinct: k equal hashes would make k**2 pairs.

    Notes
    -----
    Multi-index hashing (Norouzi, Punjani and Fleet, CVPR 2012). The bits are dealt to m bands with allowances that add
    up to ``radius - m + 1``: were two hashes apart by more than the allowance in each band, they would be apart by
    ``radius + 1`` or more. So each band's buckets are joined with those that differ in at most so many bits; what they
    bring together is compared in full. Neighbouring bits are correlated and go to different bands.

    Equal hashes count once and at most `_CHUNK` candidates (or one row's) are held, so memory is linear whatever the
    hashes. Time is quadratic only in distinct hashes that share a band; images without structure, which crowd there,
    have one hash between them, `bioclip_lib.perceptual.FLAT`.
    """
    if not 0 <= radius <= MAX_RADIUS:
        raise InputError(
            f"radius={radius} is outside 0 to {MAX_RADIUS} bits; different photographs are about 32 apart, "
            f"re-encoded copies mostly within {RADIUS}: set a smaller radius"
        )
    within = others is None
    others = hashes if within else others
    if not len(hashes) or not len(others):
        return
    bands = _bands(len(hashes), len(others), radius)
    for number, (n_bits, allowance) in enumerate(bands):
        for i, j in _join(hashes, others, (number, len(bands), n_bits, allowance), within):
            apart = hashes[i] ^ others[j]
            near = np.flatnonzero(np.bitwise_count(apart) <= radius)
            near = near[~_found_before(apart[near], bands, number)]
            if len(near):
                yield i[near], j[near], np.bitwise_count(apart[near])


def _bands(n: int, n_others: int, radius: int) -> list[tuple[int, int]]:
    """Choose the bands, each (number of bits, allowed bits apart; below 0 none), that cost least for hashes at random.

    Examples
    --------
    >>> _bands(10**7, 10**7, radius=4)
    [(22, 1), (21, 1), (21, 0)]
    >>> _bands(10**3, 10**3, radius=4)
    [(13, 0), (13, 0), (13, 0), (13, 0), (12, 0)]
    """
    choices = []
    for n_bands in range(3, max(3, radius + 1) + 1):
        sizes = [N_BITS // n_bands + (k < N_BITS % n_bands) for k in range(n_bands)]
        base, extra = divmod(radius - n_bands + 1, n_bands)
        bands = [(n_bits, base + (k < extra)) for k, n_bits in enumerate(sizes)]
        cost = sum(_n_masks(*band) * (n + n * n_others / 2 ** band[0]) + 2 ** band[0] for band in bands)
        choices.append((cost, bands))
    return min(choices)[1]


def _n_masks(n_bits: int, allowance: int) -> int:
    """Count the ways to change at most `allowance` of `n_bits` bits."""
    return sum(comb(n_bits, k) for k in range(allowance + 1))


def _band_mask(number: int, n_bands: int) -> np.uint64:
    """Return the bits that band `number` holds: every `n_bands`-th."""
    return np.uint64(sum(1 << bit for bit in range(number, N_BITS, n_bands)))


def _band_values(hashes: np.ndarray, number: int, n_bands: int) -> np.ndarray:
    """Pack the bits of a band into int32 (N,)."""
    values = np.zeros(len(hashes), np.int32)
    for k, bit in enumerate(range(number, N_BITS, n_bands)):
        values |= ((hashes >> np.uint64(bit)) & np.uint64(1)).astype(np.int32) << k
    return values


def _found_before(apart: np.ndarray, bands: list[tuple[int, int]], number: int) -> np.ndarray:
    """Tell which differences (K,), uint64, an earlier band has brought together already."""
    found = np.zeros(len(apart), bool)
    for earlier, (_, allowance) in enumerate(bands[:number]):
        found |= np.bitwise_count(apart & _band_mask(earlier, len(bands))).astype(int) <= allowance
    return found


def _join(hashes: np.ndarray, others: np.ndarray, band: tuple[int, ...], within: bool) -> Iterator[tuple]:
    """Yield the rows (K,) and other rows (K,) whose values in a band are at most its allowance apart, in chunks."""
    number, n_bands, n_bits, allowance = band
    if allowance < 0:
        return
    values = _band_values(hashes, number, n_bands)
    order = np.argsort(values, kind="stable")
    values = values[order]
    other_values = values if within else _band_values(others, number, n_bands)
    other_order = order if within else np.argsort(other_values, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(other_values, minlength=2**n_bits))])
    for k in range(allowance + 1):
        for flipped in combinations(range(n_bits), k):
            partner = values ^ np.int32(sum(1 << bit for bit in flipped))
            begin, end = starts[partner], starts[partner + 1]
            if within:  # each unordered pair once
                begin = np.maximum(begin, np.arange(1, len(values) + 1))
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
