"""One sample of a shard: its image encoded, its texts, and their bytes in a tar.

Takes a row of the catalog, or a tar; returns the members of a sample, name or suffix -> bytes. Refuses an image that is
not the one the catalog describes.
"""

import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from math import ceil
from pathlib import Path
from typing import NamedTuple

from PIL import Image, features

from .. import RANKS, __version__
from ..config import ShardConfig
from ..errors import InputError
from ..files.images import ImageError, identify, orientation, read_bytes, to_rgb
from .captions import DEFAULT_TEXT, SHARD_TEXTS, caption

_JSON_FIELDS = (
    *("image_id", "source", "source_id", "verbatim_name", "class_key", *RANKS, "scientific_name", "common_name"),
    *("rank", "name_status", "backbone", "taxon_id", "license", "rights_holder", "source_url", "split"),
)
OVERSIZE = 1.5  # a large JPEG is decoded at 1/2, 1/4 or 1/8 scale, to no less than so many times the size wanted
_BLOCK = tarfile.BLOCKSIZE
_HEADER = tarfile.TarInfo().tobuf(tarfile.USTAR_FORMAT)


def text_members(row: Mapping[str, str], config: ShardConfig) -> dict[str, bytes]:
    """Return the members of a sample other than its image, suffix -> bytes: its texts, ``txt`` and ``json``."""
    texts = {suffix: caption(row, text_type, config.unverified_genus) for text_type, suffix in SHARD_TEXTS.items()}
    texts["txt"] = caption(row, DEFAULT_TEXT, config.unverified_genus)
    texts["json"] = json.dumps({field: row[field] for field in _JSON_FIELDS}, ensure_ascii=False)
    return {suffix: text.encode() for suffix, text in texts.items()}


def image_member(row: Mapping[str, str], config: ShardConfig) -> bytes:
    """Read and encode the image of a row; `InputError` if it is not the one that the catalog describes."""
    try:
        data = read_bytes(row["location"])
        if sha256(data).hexdigest() != row["sha256"]:
            raise ImageError("changed since the catalog was built")
        return encode_image(data, config.image_size_px, config.jpeg_quality)
    except ImageError as error:
        raise InputError(f"{row['location']}: {error}; rerun 01_dataset_construction") from None


def encode_image(data: bytes, image_size_px: int, jpeg_quality: int) -> bytes:
    """Return an image file as JPEG whose short side is at most `image_size_px`; no image is scaled up.

    A small upright baseline RGB JPEG is returned as it is, without another loss. A large JPEG is decoded at a fraction
    of its size, to no less than `OVERSIZE` times the size wanted: 4 times as fast for 12 megapixels, and 33 dB or more
    (peak signal to noise) from the full decode of natural images; down to the very size wanted it would be 28 dB.
    """
    image = identify(data)
    plain = image.format == "JPEG" and image.mode == "RGB" and not image.info.get("progressive")
    if plain and min(image.size) <= image_size_px and orientation(image) == 1:
        return data
    image = to_rgb(image, short_side_px=ceil(OVERSIZE * image_size_px))
    short = min(image.size)
    if short > image_size_px:
        size = tuple(max(1, round(side * image_size_px / short)) for side in image.size)
        image = image.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=jpeg_quality, subsampling=0 if jpeg_quality >= 90 else 2)
    return buffer.getvalue()


def _settings_digest(config: ShardConfig) -> str:
    """Return a SHA-256 of all that decides what becomes of an image file: settings, and versions of the encoder."""
    versions = [__version__, *(features.version(name) or "" for name in ("pil", "jpg", "libjpeg_turbo", "webp"))]
    return sha256(json.dumps([config.image_size_px, config.jpeg_quality, *versions]).encode()).hexdigest()


def recipe(samples: Iterable[tuple[str, Mapping[str, bytes]]], config: ShardConfig) -> str:
    """Return a SHA-256 of all that a tar is made of: the SHA-256 of each image's file, and its `text_members`."""
    digest = sha256(_settings_digest(config).encode())
    for file_sha256, texts in samples:
        for value in (
            file_sha256.encode(),
            *(part for suffix, text in texts.items() for part in (suffix.encode(), text)),
        ):
            digest.update(len(value).to_bytes(8, "big") + value)
    return digest.hexdigest()


def tar_sample(image_id: str, image: bytes, texts: Mapping[str, bytes]) -> bytes:
    """Return the tar members of a sample, the image first."""
    members = {"jpg": image, **texts}
    return b"".join(tar_member(f"{image_id}.{suffix}", data) for suffix, data in members.items())


def tar_member(name: str, data: bytes) -> bytes:
    """Return a plain ustar member; owner and time are 0, so that equal samples are equal bytes.

    `tarfile` needs ten times as long for a header, and a sample has thirteen.
    """
    header = bytearray(_HEADER)
    header[: len(name)] = name.encode("ascii")
    header[124:135] = b"%011o" % len(data)
    header[148:156] = b" " * 8  # the checksum counts its own field as blanks
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data + bytes(-len(data) % _BLOCK)


class Sample(NamedTuple):
    """A sample in a tar: suffix -> bytes of its members, and the offset of its image."""

    image_id: str
    offset: int
    members: dict[str, bytes]


def read_samples(path: Path) -> Iterator[Sample]:
    """Yield the samples of one tar that `tar_sample` wrote, in order; it is known to be whole."""
    sample = Sample("", 0, {})
    with path.open("rb") as tar:
        while name := (header := tar.read(_BLOCK))[:100].rstrip(b"\0").decode("ascii"):
            image_id, _, suffix = name.partition(".")
            if image_id != sample.image_id:
                if sample.members:
                    yield sample
                sample = Sample(image_id, tar.tell(), {})
            size = int(header[124:135], 8)
            sample.members[suffix] = tar.read(size)
            tar.seek(-size % _BLOCK, os.SEEK_CUR)
    if sample.members:
        yield sample
