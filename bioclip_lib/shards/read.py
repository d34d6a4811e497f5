"""Shards read through their index: no header of a tar is passed over, of a sample only the JPEG is read.

Takes the folder of `shards.write`; returns image ids, decoded images, whole samples, or where each image of a split
lies. ``index.json`` lists the tars with their digests, ``index.parquet`` the images: ``image_id, class_key, split,
shard``, and of the JPEG ``offset, n_bytes, crc32``. Refuses what does not match them. A folder without a fitting
index.parquet gets it from its tars.
"""

import contextlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ..errors import InputError
from ..files.images import MAX_PIXELS, ImageError, identify, resize_and_crop, to_rgb
from ..run import atomic, file_sha256
from ..workers import map_threads, progress
from .captions import SHARD_TEXTS, check_text_type
from .samples import OVERSIZE, read_samples

try:
    import simplejpeg  # the same pixels in half the time, where it is installed
except ImportError:
    simplejpeg = None

INDEX_COLUMNS = ("split", "shard", "n_samples", "bytes", "sha256")
RERUN = "rerun 01_dataset_construction"
_CHUNK = 32  # images a thread decodes at a time
_BATCH_ROWS = 2**16  # of index.parquet, read at a time
_O_BINARY = getattr(os, "O_BINARY", 0)  # Windows
_IMAGE_COLUMNS = {
    "image_id": pa.string(),
    "class_key": pa.string(),
    "offset": pa.int64(),
    "n_bytes": pa.int32(),
    "crc32": pa.uint32(),
}


def read_index(folder: str | Path) -> pd.DataFrame:
    """Read the tars of a shards folder; `InputError` where there is no index (nothing written, or not finished)."""
    path = Path(folder) / "index.json"
    if not path.is_file():
        raise InputError(f"{path} is missing: no shards, or their writing was interrupted; {RERUN}")
    try:
        tars = pd.DataFrame(json.loads(path.read_text(encoding="utf-8")), columns=list(INDEX_COLUMNS))
        outside = any(Path(name).name != name for column in ("split", "shard") for name in tars[column])
        tars = tars.astype({"n_samples": np.int64, "bytes": np.int64})
    except (ValueError, TypeError):
        raise InputError(f"{path} is damaged; {RERUN}") from None
    if outside:
        raise InputError(f"{path} names files in other folders; {RERUN}")
    return tars


def image_table(rows: Iterable[tuple[str, str, int, int, int]]) -> pa.Table:
    """Return the part of index.parquet that is about one tar: a row an image, the values of `_IMAGE_COLUMNS`."""
    columns = list(zip(*rows, strict=True)) or [()] * len(_IMAGE_COLUMNS)
    types = _IMAGE_COLUMNS.values()
    arrays = [pa.array(values, kind) for values, kind in zip(columns, types, strict=True)]
    return pa.table(dict(zip(_IMAGE_COLUMNS, arrays, strict=True)))


def image_row(image_id: str, class_key: str, offset: int, image: bytes) -> tuple[str, str, int, int, int]:
    """Return the row of an image whose bytes lie at an offset of its tar."""
    return image_id, class_key, offset, len(image), zlib.crc32(image)


def table_of_tar(path: Path) -> pa.Table:
    """Read a tar that `shards.write` wrote: its `image_table`."""
    samples = read_samples(path)
    return image_table(
        image_row(s.image_id, json.loads(s.members["json"])["class_key"], s.offset, s.members["jpg"]) for s in samples
    )


def write_image_index(folder: Path, tars: pd.DataFrame, tables: Sequence[pa.Table]) -> None:
    """Write index.parquet of these tars; it is that of this index.json alone."""
    parts = []
    for split, shard, table in zip(tars["split"], tars["shard"], tables, strict=True):
        names = [pa.array([name] * len(table), pa.string()) for name in (split, shard)]
        parts.append(table.add_column(2, "split", names[0]).add_column(3, "shard", names[1]))
    if parts:
        table = pa.concat_tables(parts).combine_chunks()
        digest = _digest(tars, table.to_batches(max_chunksize=_BATCH_ROWS))
        with atomic(folder / "index.parquet") as tmp:
            pq.write_table(table.replace_schema_metadata({"sha256": digest}), tmp, row_group_size=_BATCH_ROWS)


def _digest(tars: pd.DataFrame, images: Iterable[pa.RecordBatch]) -> str:
    """Return a SHA-256 of both indices: Parquet's own checksums leave 7 of 1,000 flipped bits unnoticed."""
    digest = sha256(repr(tars.to_numpy().tolist()).encode())
    for batch in images:
        for column in batch.columns:
            digest.update(_content(column))
    return digest.hexdigest()


def _content(column: pa.Array) -> bytes:
    """Return the values of a column as bytes, the same wherever they lie in memory."""
    if not pa.types.is_string(column.type):
        return column.to_numpy().tobytes()
    _, ends, text = column.buffers()
    ends = np.frombuffer(ends, np.int32)[column.offset :][: len(column) + 1]
    return (ends - ends[0]).tobytes() + text[ends[0] : ends[-1]].to_pybytes()


class SplitImages:
    """The images of a split, numbered through tar by tar: where each lies, its id and its class.

    ``damaged``: number of a tar -> why it is not the one that the index lists. About 50 bytes an image are kept.
    """

    def __init__(self, folder: str | Path, split: str) -> None:
        folder, tars = Path(folder), read_index(folder)
        chosen = (tars["split"] == split) & (tars["n_samples"] > 0)
        self.tars = tars[chosen]
        self.paths = [str(folder / split / name) for name in self.tars["shard"]]
        self.damaged: dict[int, str] = {}
        rows = np.repeat(chosen.to_numpy(), tars["n_samples"])
        table = _stored_images(folder, tars, rows)
        if table is None:
            table, reasons = _made_images(folder, tars)
            table = table.filter(rows)
            self.damaged = {n: reasons[i] for n, i in enumerate(np.flatnonzero(chosen)) if i in reasons}
        for n, (path, n_bytes) in enumerate(zip(self.paths, self.tars["bytes"], strict=True)):
            if reason := _size_problem(path, n_bytes):
                self.damaged[n] = reason
        self._ids, classes = table["image_id"].combine_chunks(), table["class_key"].dictionary_encode().combine_chunks()
        self._classes, self._class_names = classes.indices.to_numpy(), classes.dictionary.to_pylist()
        self._offsets, self._sizes, self._crcs = (table[name].to_numpy() for name in list(_IMAGE_COLUMNS)[2:])
        self._tars = np.repeat(np.arange(len(self.tars), dtype=np.int32), self.tars["n_samples"])

    def __len__(self) -> int:
        return len(self._tars)

    def image_ids(self) -> list[str]:
        """Return all image ids."""
        return self._ids.to_pylist()

    def image_id(self, number: int) -> str:
        """Return the id of an image."""
        return self._ids[number].as_py()

    def class_key(self, number: int) -> str:
        """Return the class of an image."""
        return self._class_names[self._classes[number]]

    def location(self, number: int) -> str:
        """Return the place of an image, ``shard.tar::member``."""
        return f"{self.paths[self._tars[number]]}::{self.image_id(number)}.jpg"

    def read(self, number: int) -> bytes:
        """Read the JPEG of an image; `ImageError` where it is not what was written."""
        try:
            file = os.open(self.paths[self._tars[number]], os.O_RDONLY | _O_BINARY)
            try:
                os.lseek(file, self._offsets[number], os.SEEK_SET)
                data = os.read(file, self._sizes[number])
            finally:
                os.close(file)
        except OSError as error:
            raise ImageError(error.strerror or "unreadable") from None
        if len(data) != self._sizes[number] or zlib.crc32(data) != self._crcs[number]:
            raise ImageError("truncated or changed since it was written")
        return data


def _size_problem(path: str, n_bytes: int) -> str:
    """Return why a tar cannot be the one that the index lists, '' where it can."""
    try:
        found = os.stat(path).st_size
    except OSError as error:
        return error.strerror or "unreadable"
    return "" if found == n_bytes else f"{found} bytes, {n_bytes} listed"


def _stored_images(folder: Path, tars: pd.DataFrame, rows: np.ndarray) -> pa.Table | None:
    """Read these rows (a mask) of index.parquet; None where it is missing, damaged, or of other tars."""
    kept = []

    def batches(file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
        start = 0
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            kept.append(batch.select(list(_IMAGE_COLUMNS)).filter(rows[start : start + len(batch)]))
            start += len(batch)
            yield batch

    with contextlib.suppress(OSError, ValueError, KeyError, pa.ArrowException):
        with pq.ParquetFile(folder / "index.parquet") as file:  # `read_table` waits for ever on some damaged files
            stored = (file.schema_arrow.metadata or {}).get(b"sha256", b"").decode()
            if stored == _digest(tars, batches(file)):
                return pa.Table.from_batches(kept)
    return None


def _made_images(folder: Path, tars: pd.DataFrame) -> tuple[pa.Table, dict[int, str]]:
    """Make index.parquet from the tars, which are compared with their digests; return it, and what is damaged.

    It is kept where all tars are whole and the folder can be written.
    """
    rows = [(folder / row.split / row.shard, row) for row in tars.itertuples()]
    found = list(progress("shards: index of the images", "tars", len(rows), map_threads(_checked_table, rows)))
    reasons = {i: reason for i, (_, reason) in enumerate(found) if reason}
    tables = [table for table, _ in found]
    if not reasons:
        with contextlib.suppress(OSError, InputError):
            write_image_index(folder, tars, tables)
    return pa.concat_tables([image_table(()), *tables]), reasons


def _checked_table(item: tuple[Path, tuple]) -> tuple[pa.Table, str]:
    """Return the `image_table` of a tar and ''; of a damaged one empty rows, and the reason."""
    path, row = item
    try:
        if file_sha256(path) != row.sha256:
            raise ValueError("its bytes are not those that index.json lists")
        table = table_of_tar(path)
        if len(table) != row.n_samples:
            raise ValueError(f"{len(table)} samples, {row.n_samples} listed")
        return table, ""
    except (OSError, ValueError, KeyError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return image_table([("", "", 0, 0, 0)] * row.n_samples), f"damaged tar: {reason}"


def _checked_tars(folder: Path) -> pd.DataFrame:
    """Return the index rows of one split after comparing them with what is on disk."""
    index = read_index(folder.parent)
    index = index[index["split"] == folder.name]
    found = {path.name: path.stat().st_size for path in folder.glob("*.tar")}
    listed = dict(zip(index["shard"], index["bytes"], strict=True))
    if set(found) != set(listed):
        odd = ", ".join(sorted(set(found) ^ set(listed))[:5])
        raise InputError(f"{len(listed)} shards listed, {len(found)} on disk in {folder} ({odd}); {RERUN}")
    changed = [name for name in listed if found[name] != listed[name]]
    if changed:
        raise InputError(f"{folder / changed[0]} has {found[changed[0]]} bytes, {listed[changed[0]]} listed; {RERUN}")
    return index


def read_shards(folder: str | Path, text_type: str | None = None) -> Iterator[dict]:
    """Read the samples of one split.

    Parameters
    ----------
    folder : str or Path
        ``shards/<split>``.
    text_type : str, optional
        A key of `SHARD_TEXTS`; the plain ``.txt`` if not given.

    Yields
    ------
    dict
        ``image_id``, ``image`` (PIL, decoded when first used), ``json`` (dict), ``text``.

    Raises
    ------
    InputError
        If tars are missing, too many, or of another size than the index lists; before the first sample of a tar whose
        bytes are not those that were written; for an unknown text type.
    """
    folder, suffix = Path(folder), "txt"
    if text_type is not None:
        check_text_type(text_type)
        suffix = SHARD_TEXTS[text_type]
    for tar in _checked_tars(folder).itertuples():
        path = folder / tar.shard
        if file_sha256(path) != tar.sha256:
            raise InputError(f"{path} is damaged: its bytes are not those that index.json lists; {RERUN}")
        for sample in read_samples(path):
            yield {
                "image_id": sample.image_id,
                "image": identify(sample.members["jpg"]),
                "json": json.loads(sample.members["json"]),
                "text": sample.members[suffix].decode(),
            }


def _checked_images(folder: Path, split: str) -> SplitImages:
    """Return the images of a split whose tars are all there."""
    _checked_tars(folder / split)
    images = SplitImages(folder, split)
    for tar, reason in images.damaged.items():
        raise InputError(f"{images.paths[tar]}: {reason}; {RERUN}")
    return images


def read_image_ids(folder: str | Path, split: str) -> list[str]:
    """Read the image ids of one split, in the order of `load_images`; no tar is read."""
    return _checked_images(Path(folder), split).image_ids()


def load_images(folder: str | Path, splits: Sequence[str], size_px: int) -> tuple[list[str], np.ndarray]:
    """Load whole splits into memory: image ids in the order of splits and shards, uint8 (n, size_px, size_px, 3).

    The geometry is that of CLIP's evaluation: the short edge resized (bicubic, antialiased), the centre cropped. 10,000
    images of 224 pixels take 1.5 GB. Raises `InputError` for an unknown split, and for what does not match the index.
    """
    folder = Path(folder)
    known = set(read_index(folder)["split"])
    if unknown := set(splits) - known:
        raise InputError(f"no shards for split {sorted(unknown)} in {folder}; there are {sorted(known)}")
    found = [_checked_images(folder, split) for split in splits]
    pixels = np.empty((sum(map(len, found)), size_px, size_px, 3), np.uint8)
    image_ids: list[str] = []
    for images in found:
        rest = pixels[len(image_ids) :]
        starts = range(0, len(images), _CHUNK)
        for _ in map_threads(partial(_decode_into, rest, images, size_px=size_px), starts):
            pass
        image_ids += images.image_ids()
    return image_ids, pixels


def _decode_into(pixels: np.ndarray, images: SplitImages, start: int, size_px: int) -> None:
    """Decode the images from `start` on, as many as a thread does at a time, into their rows."""
    for number in range(start, min(start + _CHUNK, len(images))):
        try:
            pixels[number] = decode_upright(images.read(number), size_px, scaled=False)
        except ImageError as error:
            raise InputError(f"{images.location(number)}: {error}; {RERUN}") from None


def decode_pixels(data: bytes, size_px: int, scaled: bool = True) -> np.ndarray:
    """Decode one image: uint8 (size_px, size_px, 3); a large JPEG, if `scaled`, at a fraction of its size."""
    image = to_rgb(identify(data), short_side_px=ceil(OVERSIZE * size_px) if scaled else None)
    return np.asarray(resize_and_crop(image, size_px))


def decode_upright(data: bytes, size_px: int, scaled: bool = True) -> np.ndarray:
    """Do as `decode_pixels` does with a JPEG that has no orientation, as those of our shards."""
    with contextlib.suppress(ValueError, AttributeError):  # what it refuses, the other decoder judges
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        alike = colours in ("YCbCr", "RGB") and height * width <= MAX_PIXELS
        if alike and not (scaled and min(height, width) >= 2 * ceil(OVERSIZE * size_px)):
            pixels = simplejpeg.decode_jpeg(data)
            if min(height, width) != size_px:
                return np.asarray(resize_and_crop(Image.fromarray(pixels), size_px))
            top, left = round((height - size_px) / 2), round((width - size_px) / 2)
            return pixels[top : top + size_px, left : left + size_px]
    return decode_pixels(data, size_px, scaled)
