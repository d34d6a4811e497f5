"""How images look: 64 bits each, nearly the same for copies that were saved again or resized; and finer details.

Takes 8-bit grey pixels, returns hashes, also as the hexadecimal digits of the catalog's ``phash``, and details; takes
up to 10**7 hashes, returns which lie within `RADIUS` bits (Hamming distance) of each other, exactly. Refuses other
pixels and other digits.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from scipy.fft import dct
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..errors import InputError

FLAT = np.uint64(0)  # the hash of an image without structure
_GRID_PX, _BLOCK = 32, 8
_DETAIL_GRID_PX, _DETAIL_BLOCK = 64, 24
N_DETAILS = _DETAIL_BLOCK**2 - _BLOCK**2 + 1
RADIUS = 2  # bits; see `catalog.duplicates.mark_near_duplicates` for what it was chosen by
_POWERS = np.uint64(1) << np.arange(62, -1, -1, dtype=np.uint64)
_FLAT_CONTRAST = 1.0  # grey levels
_BANDS = [np.uint64(sum(1 << bit for bit in range(k, 64, RADIUS + 1))) for k in range(RADIUS + 1)]
_CHUNK = 2**21  # pixels, as float64, or candidate pairs in memory at once


def perceptual_hashes(images: np.ndarray) -> np.ndarray:
    """Return a hash (N,), uint64, of each grey image (N, H, W), uint8; `FLAT` where there is no structure.

    After Zauner, "Implementation and benchmarking of perceptual image hash functions" (2010): averaged by area to
    32 x 32, orthonormal type-II DCT, the lowest 8 x 8 coefficients row by row from the highest bit; a bit is set
    where the coefficient is above the median. The constant term takes no part and its bit is never set, so that 31 of
    63 bits are set. An image within one grey level of its mean would hash the noise of its encoder.
    """
    images = _checked(images)
    step = max(1, _CHUNK // images[:1].size) if len(images) else 1
    chunks = [_hash_chunk(images[start : start + step]) for start in range(0, len(images), step)]
    return np.concatenate([np.empty(0, np.uint64), *chunks])


def _checked(images: np.ndarray) -> np.ndarray:
    """Return images as an array, `ValueError` if they are not (N, H, W) uint8."""
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 3 or 0 in images.shape[1:]:
        raise ValueError(f"images are {images.dtype} of shape {images.shape}; give uint8 of shape (N, H, W)")
    return images


def perceptual_details(images: np.ndarray) -> np.ndarray:
    """Return details (N, 513), float32 of norm 1, of grey images (N, H, W): the cosine of two says whether they agree.

    Averaged by area to 64 x 64, orthonormal type-II DCT, of the lowest 24 x 24 coefficients those outside the lowest
    8 x 8. A constant that stands for one grey level (root mean square) follows: images smoother than that agree.
    """
    coefficients = _low_frequencies(_checked(images), _DETAIL_GRID_PX, _DETAIL_BLOCK)  # (N, 24, 24)
    fine = np.ones((_DETAIL_BLOCK, _DETAIL_BLOCK), bool)
    fine[:_BLOCK, :_BLOCK] = False
    constant = np.full((len(coefficients), 1), _FLAT_CONTRAST * _DETAIL_GRID_PX)
    details = np.concatenate([coefficients[:, fine], constant], axis=1)  # (N, 513)
    return (details / np.linalg.norm(details, axis=1, keepdims=True)).astype(np.float32)


def _hash_chunk(images: np.ndarray) -> np.ndarray:
    """Hash a few (N, H, W) images."""
    coefficients = _low_frequencies(images).reshape(len(images), -1)[:, 1:]  # (N, 63)
    median = np.partition(coefficients, 31, axis=1)[:, 31:32]  # of 63; np.median takes ten times as long
    hashes = (coefficients > median) @ _POWERS  # (N, 63) @ (63,) -> (N,)
    contrast = np.sqrt((coefficients**2).sum(axis=1)) / _GRID_PX
    return np.where(contrast < _FLAT_CONTRAST, FLAT, hashes)


def _low_frequencies(images: np.ndarray, grid_px: int = _GRID_PX, n: int = _BLOCK) -> np.ndarray:
    """Return the `n` x `n` lowest DCT coefficients (N, n, n), float64, of (N, H, W) images on a grid."""
    n_images, height, width = images.shape
    left, right = _projection(height, grid_px, n), _projection(width, grid_px, n)
    block = np.zeros((n_images, n, width))
    step = max(1, _CHUNK // max(1, n_images * width))
    for top in range(0, height, step):
        block += left[:, top : top + step] @ images[:, top : top + step].astype(np.float64)  # (n, h) @ (N, h, W)
    # rounded, so that coefficients that are equal on paper (of a symmetric image) tie on every machine
    return np.round(block @ right.T, 6)  # (N, n, W) @ (W, n) -> (N, n, n)


@lru_cache(maxsize=128)
def _projection(n_px: int, grid_px: int, n: int) -> np.ndarray:
    """Return the matrix (n, n_px) that averages pixels by area to a grid and takes its `n` lowest frequencies."""
    edges = np.arange(grid_px + 1) * (n_px / grid_px)
    pixels = np.arange(n_px)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)  # (grid_px, n_px)
    area = overlap.clip(min=0) * (grid_px / n_px)
    return dct(np.eye(grid_px), axis=0, norm="ortho")[:n] @ area  # (n, grid_px) @ (grid_px, n_px) -> (n, n_px)


def to_hex(hashes: np.ndarray) -> list[str]:
    """Write hashes (N,), uint64, as 16 hexadecimal digits each."""
    return [f"{value:016x}" for value in np.asarray(hashes, dtype=np.uint64).tolist()]


def from_hex(digits: list[str] | np.ndarray) -> np.ndarray:
    """Read hashes (N,), uint64, from 16 hexadecimal digits each; what is uint64 already comes back as it is."""
    if getattr(digits, "dtype", None) == np.uint64:
        return digits
    try:
        data = bytes.fromhex("".join(digits))
    except ValueError:
        data = b""
    if len(data) != 8 * len(digits) or any(len(text) != 16 for text in digits):
        odd = next((text for text in digits if len(text) != 16), "other characters")
        raise InputError(f"phash is not 16 hexadecimal digits ({odd!r}); inspect the images again")
    return np.frombuffer(data, dtype=">u8").astype(np.uint64)


def near_groups(hashes: np.ndarray) -> np.ndarray:
    """Group hashes (N,) into chains of neighbours within `RADIUS`: int64 (N,), numbered from 0 by the smallest hash.

    Pairs are merged as they are found: memory is of order N whatever their number.
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
    """Return the row of `others` (M,) nearest to each hash (N,) and its distance in bits; -1 beyond `RADIUS`.

    Of rows equally near it is the first.
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
    """Yield chunks of row, other row and distance of all pairs of distinct hashes within `RADIUS`, each pair once.

    Multi-index hashing (Norouzi, Punjani and Fleet, CVPR 2012): the bits are dealt to `RADIUS` + 1 bands, so that two
    hashes that are near are equal in one band at least. At most `_CHUNK` candidates (or one row's) are held. Time is
    quadratic only in distinct hashes that share a band; images without structure, which crowd there, share `FLAT`.
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
    """Yield each position (K,) with each of its partners ``begin[position]`` to ``end[position] - 1``, in chunks."""
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
