"""WebDataset tars: written from the catalog, read back by any stock loader.

Takes a catalog with splits; writes ``<split>/shard-%06d.tar`` and ``index.json``. A sample is ``<image_id>.jpg``, a
text member per text type, a plain ``.txt`` and a ``.json``. Refuses shards that do not match their index.
"""

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from . import RANKS
from .captions import DEFAULT_TEXT, SHARD_TEXTS, caption, check_text_type
from .config import ShardConfig
from .errors import InputError
from .images import ImageError, identify, map_threads, orientation, read_bytes, to_rgb
from .paths import atomic, remove, write_json
from .splits import SPLITS, class_key, seeded_order, usable

INDEX_COLUMNS = ("split", "shard", "n_samples", "bytes", "sha256")
_JSON_FIELDS = (
    *("image_id", "source", "source_id", "verbatim_name", "class_key", *RANKS, "scientific_name", "common_name"),
    *("rank", "name_status", "backbone", "taxon_id", "license", "rights_holder", "source_url", "split"),
)
_BLOCK = tarfile.BLOCKSIZE
_HEADER = tarfile.TarInfo().tobuf(tarfile.USTAR_FORMAT)
_RERUN = "rerun 01_dataset_construction"


def write_shards(
    catalog: pd.DataFrame, folder: str | Path, config: ShardConfig, progress: Callable | None = None
) -> pd.DataFrame:
    """Write the usable images of a catalog as shards, split by split.

    Parameters
    ----------
    catalog : pd.DataFrame
        With splits assigned.
    folder : str or Path
        Shards of an earlier call are replaced.
    config : ShardConfig
    progress : callable, optional
        Wraps the iterable as ``tqdm`` does: ``progress(iterable, total=n, desc=..., unit=...)``.

    Returns
    -------
    pd.DataFrame
        The index: ``split, shard, n_samples, bytes, sha256``, one row a tar.

    Raises
    ------
    InputError
        If an image cannot be read, or is not the one that the catalog describes.

    Notes
    -----
    The bytes depend on catalog and configuration alone. A split appears when it is whole, index.json when all splits
    are: without it nothing is read. Within a split the order is pseudo-random, so that a tar is a mixed sample.
    """
    folder = Path(folder)
    if min(config.samples_per_shard, config.image_size_px) < 1 or not 1 <= config.jpeg_quality <= 100:
        raise InputError(f"{config} cannot be written; sizes are at least 1, the quality is 1 to 100")
    kept = catalog[usable(catalog)]
    kept = kept.assign(class_key=class_key(kept), draw=seeded_order(kept["image_id"], seed=0))
    for path in (folder / "index.json", *folder.glob(".*.tmp")):  # the latter of a killed process
        remove(path)
    rows: list[dict] = []
    for split in SPLITS:
        remove(folder / split)
        samples = kept[kept["split"] == split].sort_values(["draw", "image_id"]).to_dict("records")
        if not samples:
            continue
        encoded = map_threads(partial(_encode_sample, config=config), samples)
        if progress is not None:
            encoded = progress(encoded, total=len(samples), desc=f"shards/{split}", unit="image")
        with atomic(folder / split) as tmp:
            tmp.mkdir()
            rows += _write_split(tmp, split, iter(encoded), config.samples_per_shard)
    write_json(folder / "index.json", rows)
    return pd.DataFrame(rows, columns=list(INDEX_COLUMNS))


def _write_split(folder: Path, split: str, samples: Iterator[dict[str, bytes]], samples_per_shard: int) -> list[dict]:
    """Write the tars of one split; return their index rows."""
    rows: list[dict] = []
    sample = next(samples, None)
    while sample is not None:
        path, n_samples = folder / f"shard-{len(rows):06d}.tar", 0
        with path.open("wb") as tar:
            while sample is not None and n_samples < samples_per_shard:
                tar.writelines(_tar_member(name, data) for name, data in sample.items())
                n_samples += 1
                sample = next(samples, None)
            tar.write(bytes(2 * _BLOCK))
        n_bytes, digest = path.stat().st_size, _file_sha256(path)
        rows.append({"split": split, "shard": path.name, "n_samples": n_samples, "bytes": n_bytes, "sha256": digest})
    return rows


def _tar_member(name: str, data: bytes) -> bytes:
    """Return a plain ustar member; owner and time are 0, so that equal samples are equal bytes.

    `tarfile` needs ten times as long for a header, and a sample has thirteen.
    """
    header = bytearray(_HEADER)
    header[: len(name)] = name.encode("ascii")
    header[124:135] = b"%011o" % len(data)
    header[148:156] = b" " * 8  # the checksum counts its own field as blanks
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data + bytes(-len(data) % _BLOCK)


def _file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file of any size."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _encode_sample(row: dict[str, str], config: ShardConfig) -> dict[str, bytes]:
    """Return the members of one sample, name -> bytes, the image first."""
    try:
        data = read_bytes(row["location"])
        if sha256(data).hexdigest() != row["sha256"]:
            raise ImageError("changed since the catalog was built")
        image = encode_image(data, config.image_size_px, config.jpeg_quality)
    except ImageError as error:
        raise InputError(f"{row['location']}: {error}; {_RERUN}") from None
    texts = {suffix: caption(row, text_type) for text_type, suffix in SHARD_TEXTS.items()}
    texts["txt"] = caption(row, DEFAULT_TEXT)
    texts["json"] = json.dumps({field: row[field] for field in _JSON_FIELDS}, ensure_ascii=False)
    return {
        f"{row['image_id']}.jpg": image,
        **{f"{row['image_id']}.{end}": text.encode() for end, text in texts.items()},
    }


def encode_image(data: bytes, image_size_px: int, jpeg_quality: int) -> bytes:
    """Return an image file as JPEG whose short side is at most `image_size_px`.

    A small upright baseline RGB JPEG is returned as it is, without another loss; others are scaled down (never up) and
    encoded again.
    """
    image = identify(data)
    plain = image.format == "JPEG" and image.mode == "RGB" and not image.info.get("progressive")
    if plain and min(image.size) <= image_size_px and orientation(image) == 1:
        return data
    image = to_rgb(image, short_side_px=image_size_px)
    short = min(image.size)
    if short > image_size_px:
        size = tuple(max(1, round(side * image_size_px / short)) for side in image.size)
        image = image.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=jpeg_quality, subsampling=0 if jpeg_quality >= 90 else 2)
    return buffer.getvalue()


def read_index(folder: str | Path) -> pd.DataFrame:
    """Read the index of a shards folder; `InputError` where there is none (nothing written, or not finished)."""
    path = Path(folder) / "index.json"
    if not path.is_file():
        raise InputError(f"{path} is missing: no shards, or their writing was interrupted; {_RERUN}")
    return pd.DataFrame(json.loads(path.read_text(encoding="utf-8")), columns=list(INDEX_COLUMNS))


def _checked_tars(folder: Path) -> pd.DataFrame:
    """Return the index rows of one split after comparing them with what is on disk."""
    index = read_index(folder.parent)
    index = index[index["split"] == folder.name]
    found = {path.name: path.stat().st_size for path in folder.glob("*.tar")}
    listed = dict(zip(index["shard"], index["bytes"], strict=True))
    if set(found) != set(listed):
        odd = ", ".join(sorted(set(found) ^ set(listed))[:5])
        raise InputError(f"{len(listed)} shards listed, {len(found)} on disk in {folder} ({odd}); {_RERUN}")
    changed = [name for name in listed if found[name] != listed[name]]
    if changed:
        raise InputError(f"{folder / changed[0]} has {found[changed[0]]} bytes, {listed[changed[0]]} listed; {_RERUN}")
    return index


def _read_samples(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield (image_id, suffix -> bytes) of one tar that `_tar_member` wrote, in order."""
    key, members = "", {}
    with path.open("rb") as tar:
        while name := (header := tar.read(_BLOCK))[:100].rstrip(b"\0").decode("ascii"):
            stem, _, suffix = name.partition(".")
            if stem != key and members:
                yield key, members
                members = {}
            size = int(header[124:135], 8)
            key, members[suffix] = stem, tar.read(size)
            tar.seek(-size % _BLOCK, os.SEEK_CUR)
    if members:
        yield key, members


def read_shards(folder: str | Path, text_type: str | None = None) -> Iterator[dict]:
    """Read the samples of one split.

    Parameters
    ----------
    folder : str or Path
        ``shards/<split>``.
    text_type : str, optional
        A key of `bioclip_lib.captions.SHARD_TEXTS`; the plain ``.txt`` if not given.

    Yields
    ------
    dict
        ``image_id``, ``image`` (PIL, decoded when first used), ``json`` (dict), ``text``.

    Raises
    ------
    InputError
        If tars are missing, too many, or of another size than the index lists; for an unknown text type.
    """
    folder, suffix = Path(folder), "txt"
    if text_type is not None:
        check_text_type(text_type)
        suffix = SHARD_TEXTS[text_type]
    for shard in _checked_tars(folder)["shard"]:
        for image_id, members in _read_samples(folder / shard):
            yield {
                "image_id": image_id,
                "image": identify(members["jpg"]),
                "json": json.loads(members["json"]),
                "text": members[suffix].decode(),
            }


def read_image_ids(folder: str | Path, split: str) -> list[str]:
    """Read the image ids of one split, in the order of `load_images`, without its images."""
    folder = Path(folder) / split
    names = []
    for shard in _checked_tars(folder)["shard"]:
        with tarfile.open(folder / shard, "r:") as tar:
            names += [name for name in tar.getnames() if name.endswith(".jpg")]
    return [name.removesuffix(".jpg") for name in names]


def load_images(folder: str | Path, splits: Sequence[str], size_px: int) -> tuple[list[str], np.ndarray]:
    """Load whole splits into memory, at one size.

    Parameters
    ----------
    folder : str or Path
        The shards folder, with index.json.
    splits : sequence of str
    size_px : int
        The short edge is resized to this (bicubic, antialiased), then the centre is cropped: the geometry of CLIP's
        evaluation transform.

    Returns
    -------
    image_ids : list of str
        In the order of splits and shards.
    images : ndarray of shape (n, size_px, size_px, 3), uint8

    Raises
    ------
    InputError
        As in `read_shards`, and for an unknown split.

    Notes
    -----
    For sets that fit in memory: 10,000 images of 224 pixels take 1.5 GB.
    """
    folder = Path(folder)
    index = read_index(folder)
    unknown = set(splits) - set(index["split"])
    if unknown:
        raise InputError(f"no shards for split {sorted(unknown)} in {folder}; there are {sorted(set(index['split']))}")
    tars = [folder / split / shard for split in splits for shard in _checked_tars(folder / split)["shard"]]
    n = int(index.set_index("split").loc[list(splits), "n_samples"].sum())
    images = np.empty((n, size_px, size_px, 3), np.uint8)
    image_ids: list[str] = []
    samples = (sample for tar in tars for sample in _read_samples(tar))
    for image_id, pixels in map_threads(partial(_decode, size_px=size_px), samples):
        images[len(image_ids)] = pixels
        image_ids.append(image_id)
    return image_ids, images


def _decode(sample: tuple[str, dict[str, bytes]], size_px: int) -> tuple[str, np.ndarray]:
    """Decode, resize and crop one sample: (image_id, uint8 (size_px, size_px, 3))."""
    image_id, members = sample
    return image_id, np.asarray(resize_and_crop(to_rgb(identify(members["jpg"])), size_px))


def resize_and_crop(image: Image.Image, size_px: int) -> Image.Image:
    """Resize the short edge to `size_px` and crop the centre, with torchvision's rounding."""
    width, height = image.size
    short = min(width, height)
    size = (size_px * width // short, size_px * height // short)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = round((size[0] - size_px) / 2), round((size[1] - size_px) / 2)
    return image.crop((left, top, left + size_px, top + size_px))
