"""Small pictures of the images in shards, as addresses that a page or a widget holds: nothing is loaded from elsewhere.

Takes the folder of `shards.write`; returns a function from an image id to a ``data:`` address, '' where there is none.
"""

import base64
import functools
import io
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from ..errors import InputError
from ..files.images import ImageError
from .read import SplitImages, decode_jpeg, read_index

_KEPT = 2_000  # pictures, of about 5 kB
_SIDE_PX = 128


def thumbnails(folder: str | Path) -> Callable[[str], str]:
    """Return what gives an image's square thumbnail as an address; without shards, moved away, '' of all."""
    try:
        splits = [SplitImages(folder, split) for split in dict.fromkeys(read_index(folder)["split"])]
    except InputError:
        splits = []

    @functools.lru_cache(_KEPT)
    def picture(image_id: str) -> str:
        for images in splits:
            if (number := images.number_of(image_id)) >= 0:
                try:
                    return _address(images.read(number))
                except ImageError:
                    return ""
        return ""

    return picture


def _address(jpeg: bytes) -> str:
    """Return a small picture as a ``data:`` address."""
    buffer = io.BytesIO()
    Image.fromarray(decode_jpeg(jpeg, _SIDE_PX)).save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
