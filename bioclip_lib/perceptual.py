"""Perceptual hashes of images, and which of up to 10**7 hashes lie within a Hamming distance of each other.

Takes 8-bit grey pixels, returns one 64-bit hash an image; takes hashes, returns near pairs, groups and nearest matches,
exactly: nothing within the radius is missed. Refuses other pixels and a radius at which everything looks alike.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np
from scipy.fft import dct
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .errors import InputError

RADIUS = 2  # bits; see `bioclip_lib.dedup.mark_near_duplicates` for what it was chosen by
MAX_RADIUS = 16  # bits
FLAT = np.uint64(0)  # the hash of an image without structure
N_BITS = 64
_GRID_PX, _BLOCK = 32, 8
_POWERS = np.uint64(1) << np.arange(N_BITS - 2, -1, -1, dtype=np.uint64)
_FLAT_CONTRAST = 1.0  # grey levels
_CHUNK = 2**21  # pixels or candidate pairs in memory at once


def perceptual_hashes(images: np.ndarray) -> np.ndarray:
    """Hash images by the signs of their low frequencies: copies that were re-encoded or resized hash nearly alike.

    Parameters
    ----------
    images : np.ndarray of shape (N, H, W)
        uint8, grey (Pillow's mode L), at least one pixel.

    Returns
    -------
    np.ndarray of shape (N,)
        uint64; `FLAT` where an image has no structure to compare.

    Raises
    ------
    ValueError
        If `images` is not such an array.

    Notes
    -----
    After Zauner, "Implementation and benchmarking of perceptual image hash functions" (2010): averaged by area to
    32 x 32, orthonormal type-II DCT, the lowest 8 x 8 coefficients row by row from the highest bit; a bit is set
    where the coefficient is above the median. The constant term (brightness) takes no part in the median and its bit
    is never set. Hence 31 of 63 bits are set where no coefficients tie, and the distance of two such hashes is even.

    An image whose low frequencies differ from its mean by less than one grey level (root mean square) would hash the
    noise of its encoder. It is `FLAT`, and stands for no other image.

    Averaging and DCT are linear: one product a side does both.

    Examples
    --------
    >>> ramp = np.tile(np.arange(64, dtype=np.uint8), (1, 64, 1))
    >>> to_hex(perceptual_hashes(np.concatenate([ramp, ramp[:, ::-1], ramp.transpose(0, 2, 1)])))
    ['0000000000000000', '0000000000000000', '0000000000000000']
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 3 or 0 in images.shape[1:]:
        raise ValueError(f"images are {images.dtype} of shape {images.shape}; give uint8 of shape (N, H, W)")
    step = max(1, _CHUNK // images[:1].size) if len(images) else 1
    chunks = [_hash_chunk(images[start : start + step]) for start in range(0, len(images), step)]
    return np.concatenate([np.empty(0, np.uint64), *chunks])


def _hash_chunk(images: np.ndarray) -> np.ndarray:
    """Hash a few (N, H, W) images."""
    coefficients = _low_frequencies(images).reshape(len(images), -1)[:, 1:]  # (N, 63)
    median = np.partition(coefficients, 31, axis=1)[:, 31:32]  # of 63; np.median takes ten times as long
    hashes = (coefficients > median) @ _POWERS  # (N, 63) @ (63,) -> (N,)
    contrast = np.sqrt((coefficients**2).sum(axis=1)) / _GRID_PX
    return np.where(contrast < _FLAT_CONTRAST, FLAT, hashes)


def _low_frequencies(images: np.ndarray) -> np.ndarray:
    """Return the low DCT coefficients (N, 8, 8), float64, of (N, H, W) images.

    Rounded, so that coefficients that are equal on paper (of an even or symmetric image) tie on every machine.
    """
    n, height, width = images.shape
    left, right = _projection(height), _projection(width)
    block = np.zeros((n, _BLOCK, width))
    step = max(1, _CHUNK // (n * width))
    for top in range(0, height, step):
        block += left[:, top : top + step] @ images[:, top : top + step].astype(np.float64)  # (8, h) @ (N, h, W)
    return np.round(block @ right.T, 6)  # (N, 8, W) @ (W, 8) -> (N, 8, 8)


@lru_cache(maxsize=128)
def _projection(n_px: int) -> np.ndarray:
    """Return the matrix (8, n_px) that averages `n_px` pixels by area to 32 and takes their 8 lowest frequencies."""
    edges = np.arange(_GRID_PX + 1) * (n_px / _GRID_PX)
    pixels = np.arange(n_px)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)  # (32, n_px)
    area = overlap.clip(min=0) * (_GRID_PX / n_px)
    return dct(np.eye(_GRID_PX), axis=0, norm="ortho")[:_BLOCK] @ area  # (8, 32) @ (32, n_px) -> (8, n_px)


def to_hex(hashes: np.ndarray) -> list[str]:
    """Write hashes (N,), uint64, as 16 hexadecimal digits each.

    Examples
    --------
    >>> to_hex(np.array([255], dtype=np.uint64))
    ['00000000000000ff']
    """
    return [f"{value:016x}" for value in np.asarray(hashes, dtype=np.uint64).tolist()]


def from_hex(digits: list[str] | np.ndarray) -> np.ndarray:
    """Read hashes (N,), uint64, from 16 hexadecimal digits each; `InputError` where it is something else.

    Examples
    --------
    >>> from_hex(["00000000000000ff"])
    array([255], dtype=uint64)
    """
    try:
        data = bytes.fromhex("".join(digits))
    except ValueError:
        data = b""
    if len(data) != 8 * len(digits) or any(len(text) != 16 for text in digits):
        odd = next((text for text in digits if len(text) != 16), "other characters")
        raise InputError(f"phash is not 16 hexadecimal digits ({odd!r}); inspect the images again")
    return np.frombuffer(data, dtype=">u8").astype(np.uint64)


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
            labels, waiting = _merge(labels, waiting), []
    return _merge(labels, waiting)[inverse]


def _merge(labels: np.ndarray, links: list[np.ndarray]) -> np.ndarray:
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
    have one hash between them, `FLAT`.
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
