"""Perceptual hashes: 64 bits an image, nearly the same for copies that were saved again or resized; and its details.

Takes 8-bit grey pixels, returns one hash an image, also as the hexadecimal digits of the catalog's ``phash``, or the
finer details that a hash does not hold. Refuses other pixels and other digits. `catalog.hamming` finds which hashes
are near each other.
"""

from functools import lru_cache

import numpy as np
from scipy.fft import dct

from ..errors import InputError

FLAT = np.uint64(0)  # the hash of an image without structure
_GRID_PX, _BLOCK = 32, 8
_DETAIL_GRID_PX, _DETAIL_BLOCK = 64, 24
N_DETAILS = _DETAIL_BLOCK**2 - _BLOCK**2 + 1
_POWERS = np.uint64(1) << np.arange(62, -1, -1, dtype=np.uint64)
_FLAT_CONTRAST = 1.0  # grey levels
_CHUNK = 2**21  # pixels in memory at once as float64


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
    """Describe images by the frequencies above those of their hash: the cosine of two says whether details agree.

    Parameters
    ----------
    images : np.ndarray of shape (N, H, W)
        uint8, grey, few at a time.

    Returns
    -------
    np.ndarray of shape (N, 513)
        float32, of norm 1.

    Raises
    ------
    ValueError
        If `images` is not such an array.

    Notes
    -----
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
    """Return the `n` x `n` lowest DCT coefficients (N, n, n), float64, of (N, H, W) images on a grid.

    Rounded, so that coefficients that are equal on paper (of an even or symmetric image) tie on every machine.
    """
    n_images, height, width = images.shape
    left, right = _projection(height, grid_px, n), _projection(width, grid_px, n)
    block = np.zeros((n_images, n, width))
    step = max(1, _CHUNK // max(1, n_images * width))
    for top in range(0, height, step):
        block += left[:, top : top + step] @ images[:, top : top + step].astype(np.float64)  # (n, h) @ (N, h, W)
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
    """Write hashes (N,), uint64, as 16 hexadecimal digits each.

    Examples
    --------
    >>> to_hex(np.array([255], dtype=np.uint64))
    ['00000000000000ff']
    """
    return [f"{value:016x}" for value in np.asarray(hashes, dtype=np.uint64).tolist()]


def from_hex(digits: list[str] | np.ndarray) -> np.ndarray:
    """Read hashes (N,), uint64, from 16 hexadecimal digits each; `InputError` where it is something else.

    What is uint64 already comes back as it is.

    Examples
    --------
    >>> from_hex(["00000000000000ff"])
    array([255], dtype=uint64)
    """
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
