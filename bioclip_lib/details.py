"""Whether images of near hashes agree in their details, which 64 bits do not hold.

Takes the places of the images, reads and describes each; splits groups of near hashes where the details differ. Refuses
images that cannot be read any more.
"""

from collections.abc import Sequence

import numpy as np

from .archives import reading_order
from .errors import InputError
from .hamming import RADIUS, merge_groups
from .images import ImageError, map_threads, open_image
from .perceptual import perceptual_details

AGREEMENT = 0.8  # cosine; see `bioclip_lib.dedup.mark_near_duplicates` for what it was chosen by
_DECODED_PX = 256  # short side: JPEGs may be decoded at a smaller scale
_CHUNK = 2**21  # pairs in memory at once


def image_details(locations: Sequence[str]) -> np.ndarray:
    """Read images and describe their details.

    Parameters
    ----------
    locations : sequence of str
        N of them.

    Returns
    -------
    np.ndarray of shape (N, 513)
        float32, of `bioclip_lib.perceptual.perceptual_details`.

    Raises
    ------
    InputError
        If an image cannot be read.
    """
    order = reading_order(locations)
    rows = map_threads(_details_of, (locations[i] for i in order))
    details = np.empty((len(order), 513), np.float32)
    for i, row in zip(order, rows, strict=True):
        details[i] = row
    return details


def _details_of(location: str) -> np.ndarray:
    """Describe one image: (513,)."""
    try:
        grey = open_image(location, short_side_px=_DECODED_PX).convert("L")
    except ImageError as error:
        raise InputError(f"{location}: {error}; inspect the images again") from None
    return perceptual_details(np.asarray(grey)[None])[0]


def confirmed_groups(groups: np.ndarray, hashes: np.ndarray, details: np.ndarray) -> np.ndarray:
    """Split groups of near hashes into chains of neighbours whose details agree as well.

    Parameters
    ----------
    groups : np.ndarray of shape (N,)
        Of `bioclip_lib.hamming.near_groups`.
    hashes : np.ndarray of shape (N,)
        uint64.
    details : np.ndarray of shape (N, D)
        float32, of norm 1.

    Returns
    -------
    np.ndarray of shape (N,)
        int64, equal within a group.

    Notes
    -----
    All pairs of a group are compared, a block of rows at a time.
    """
    labels, waiting = np.arange(len(groups)), []
    order = np.argsort(groups, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        step = max(1, _CHUNK // max(1, len(rows)))
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            near = np.bitwise_count(hashes[block][:, None] ^ hashes[rows]) <= RADIUS  # (B, R)
            near &= details[block] @ details[rows].T >= AGREEMENT  # (B, D) @ (D, R) -> (B, R)
            i, j = np.nonzero(near)
            waiting.append(np.stack([block[i], rows[j]])[:, block[i] < rows[j]])
            if sum(part.shape[1] for part in waiting) > max(len(groups), _CHUNK):
                labels, waiting = merge_groups(labels, waiting), []
    return merge_groups(labels, waiting)
