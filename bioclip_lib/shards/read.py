"""Shards read through their index: of a sample only the JPEG is read, no header of a tar is passed over.

``index.json`` lists the tars, ``index.parquet`` the images: ``image_id, class_key, split, shard``, and of the JPEG
``offset, n_bytes, crc32``. Takes the folder of `shards.write`; returns samples, ids, or decoded images. Refuses what
does not match the indices. A folder without a fitting index.parquet gets it from its tars.
"""

import contextlib
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from ..errors import InputError
from ..files.images import MAX_PIXELS, ImageError, identify, resize_and_crop, to_rgb
from ..run import atomic, file_sha256
from ..run.workers import map_threads, progress
from .captions import SHARD_TEXTS, check_text_type
from .samples import read_samples

try:
    import simplejpeg  # the same pixels in half the time, where it is installed
except ImportError:
    simplejpeg = None

INDEX_COLUMNS = ("split", "shard", "n_samples", "bytes", "sha256")
RERUN = "rerun 01_dataset_construction"
_CHUNK = 32  # images a thread decodes at a time
_BATCH_ROWS = 2**16  # of index.parquet, read at a time
_O_BINARY = getattr(os, "O_BINARY", 0)  # Windows
_OF_JPEG = {"offset": pa.int64(), "n_bytes": pa.int32(), "crc32": pa.uint32()}
_IMAGES = pa.schema({**dict.fromkeys(("image_id", "class_key", "split", "shard"), pa.string()), **_OF_JPEG})


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


def image_row(image_id: str, class_key: str, tar: tuple[str, str], offset: int, image: bytes) -> dict:
    """Return the row of an image whose bytes lie at an offset of a tar, given as split and shard."""
    return dict(zip(_IMAGES.names, (image_id, class_key, *tar, offset, len(image), zlib.crc32(image)), strict=True))


def image_table(rows: Iterable[dict]) -> pa.Table:
    """Return the part of index.parquet that is about one tar."""
    return pa.Table.from_pylist(list(rows), _IMAGES)


def table_of_tar(path: Path) -> pa.Table:
    """Return the `image_table` of a tar that `shards.write` wrote."""
    tar, samples = (path.parent.name, path.name), read_samples(path)
    return image_table(
        image_row(s.image_id, json.loads(s.members["json"])["class_key"], tar, s.offset, s.members["jpg"])
        for s in samples
    )


def write_image_index(folder: Path, tars: pd.DataFrame, tables: Sequence[pa.Table]) -> pa.Table:
    """Write index.parquet of these tars, and return it; it fits this index.json alone."""
    images = pa.concat_tables([_IMAGES.empty_table(), *tables]).combine_chunks()
    digest = _digest(tars)
    for batch in images.to_batches(max_chunksize=_BATCH_ROWS):
        _add(digest, batch)
    with atomic(folder / "index.parquet") as tmp:
        table = images.replace_schema_metadata({"sha256": digest.hexdigest()})
        pq.write_table(table, tmp, row_group_size=_BATCH_ROWS)
    return images


def _digest(tars: pd.DataFrame) -> "hashlib._Hash":
    """Begin the SHA-256 of both indices: Parquet's own checksums leave 7 of 1,000 flipped bits unnoticed."""
    return hashlib.sha256(repr(tars.to_numpy().tolist()).encode())


def _add(digest: "hashlib._Hash", batch: pa.RecordBatch) -> None:
    """Add the values of a batch, wherever they lie in memory."""
    for column in batch.columns:
        if pa.types.is_string(column.type):
            _, ends, text = column.buffers()
            ends = np.frombuffer(ends, np.int32)[column.offset :][: len(column) + 1]
            digest.update((ends - ends[0]).tobytes())
            digest.update(text[ends[0] : ends[-1]])
        else:
            digest.update(column.to_numpy().tobytes())


class SplitImages:
    """The images of a split, numbered through tar by tar: where each lies, its id and its class.

    ``damaged``: number of a tar -> why it is not the one that the index lists. About 50 bytes an image are kept.
    """

    def __init__(self, folder: str | Path, split: str) -> None:
        folder, tars = Path(folder), read_index(folder)
        chosen = (tars["split"] == split).to_numpy()
        self.tars = tars[chosen]
        self.paths = [str(folder / split / name) for name in self.tars["shard"]]
        rows = np.repeat(chosen, tars["n_samples"])
        table, damaged = _stored_images(folder, tars, rows), {}
        if table is None:
            table, damaged = _made_images(folder, tars)
            table = table.filter(rows)
        found = [_size_problem(path, n_bytes) for path, n_bytes in zip(self.paths, self.tars["bytes"], strict=True)]
        found = [size or damaged.get(i, "") for size, i in zip(found, np.flatnonzero(chosen), strict=True)]
        self.damaged = {n: reason for n, reason in enumerate(found) if reason}
        self._ids, classes = table["image_id"].combine_chunks(), table["class_key"].dictionary_encode().combine_chunks()
        self._classes, self._class_names = classes.indices.to_numpy(), classes.dictionary.to_pylist()
        self._offsets, self._sizes, self._crcs = (table[name].to_numpy() for name in _OF_JPEG)
        self._tars = np.repeat(np.arange(len(self.tars), dtype=np.int32), self.tars["n_samples"])

    def __len__(self) -> int:
        return len(self._tars)

    def image_ids(self) -> list[str]:
        """Return all image ids."""
        return self._ids.to_pylist()

    def number_of(self, image_id: str) -> int:
        """Return the number of an image, -1 of one that is not of this split."""
        return pc.index(self._ids, image_id).as_py()

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


def _size_problem(path: str | Path, n_bytes: int) -> str:
    """Return why a tar cannot be the one that the index lists, '' where it can."""
    try:
        found = os.stat(path).st_size
    except OSError as error:
        return error.strerror or "unreadable"
    return "" if found == n_bytes else f"{found} bytes, {n_bytes} listed"


def _problem(path: Path, tar: tuple) -> str:
    """Return why a tar, of which all bytes are read, is not the one that the index lists, '' where it is."""
    with contextlib.suppress(OSError):
        if file_sha256(path) == tar.sha256:
            return ""
    return _size_problem(path, tar.bytes) or "its bytes are not those that index.json lists"


def _stored_images(folder: Path, tars: pd.DataFrame, rows: np.ndarray) -> pa.Table | None:
    """Read these rows (a mask) of index.parquet; None where it is missing, damaged, or of other tars."""
    digest, kept, start = _digest(tars), [], 0
    with contextlib.suppress(OSError, ValueError, KeyError, pa.ArrowException):
        with pq.ParquetFile(folder / "index.parquet") as file:  # `read_table` waits for ever on some damaged files
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                _add(digest, batch)
                kept.append(batch.select(["image_id", "class_key", *_OF_JPEG]).filter(rows[start : start + len(batch)]))
                start += len(batch)
            if (file.schema_arrow.metadata or {}).get(b"sha256") == digest.hexdigest().encode():
                return pa.Table.from_batches(kept) if kept else _IMAGES.empty_table()
    return None


def _made_images(folder: Path, tars: pd.DataFrame) -> tuple[pa.Table, dict[int, str]]:
    """Make index.parquet from the tars; return it, and what is damaged. It is kept where nothing is, and it can be."""
    rows = [(folder / row.split / row.shard, row) for row in tars.itertuples()]
    found = list(progress("shards: index of the images", "tars", len(rows), map_threads(_checked_table, rows)))
    reasons = {i: reason for i, (_, reason) in enumerate(found) if reason}
    tables = [table for table, _ in found]
    if not reasons:
        with contextlib.suppress(OSError, InputError):
            return write_image_index(folder, tars, tables), {}
    return pa.concat_tables([_IMAGES.empty_table(), *tables]), reasons


def _checked_table(item: tuple[Path, tuple]) -> tuple[pa.Table, str]:
    """Return the `image_table` of a tar and ''; of a damaged one empty rows, and the reason."""
    path, tar = item
    table, reason = _IMAGES.empty_table(), _problem(path, tar)
    if not reason:
        table = table_of_tar(path)
        reason = "" if len(table) == tar.n_samples else f"{len(table)} samples, {tar.n_samples} listed"
    return (image_table([image_row("", "", ("", ""), 0, b"")] * tar.n_samples) if reason else table), reason


def _listed_tars(folder: Path) -> pd.DataFrame:
    """Return the index rows of one split, whose tars are all there and no other."""
    index = read_index(folder.parent)
    index = index[index["split"] == folder.name]
    found = {path.name for path in folder.glob("*.tar")}
    if odd := sorted(found ^ set(index["shard"])):
        where = f"{folder} ({', '.join(odd[:5])})"
        raise InputError(f"{len(index)} shards listed, {len(found)} on disk in {where}; {RERUN}")
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
        If tars are missing, too many or damaged (before the first sample of such a one); for an unknown text type.
    """
    folder, suffix = Path(folder), "txt"
    if text_type is not None:
        check_text_type(text_type)
        suffix = SHARD_TEXTS[text_type]
    for tar in _listed_tars(folder).itertuples():
        path = folder / tar.shard
        if reason := _problem(path, tar):
            raise InputError(f"{path}: damaged tar: {reason}; {RERUN}")
        for sample in read_samples(path):
            yield {
                "image_id": sample.image_id,
                "image": identify(sample.members["jpg"]),
                "json": json.loads(sample.members["json"]),
                "text": sample.members[suffix].decode(),
            }


def _checked_images(folder: Path, split: str) -> SplitImages:
    """Return the images of a split whose tars are all there."""
    _listed_tars(folder / split)
    images = SplitImages(folder, split)
    for tar, reason in images.damaged.items():
        raise InputError(f"{images.paths[tar]}: damaged tar: {reason}; {RERUN}")
    return images


def read_image_ids(folder: str | Path, split: str) -> list[str]:
    """Read the image ids of one split, in the order of `load_images`; no tar is read."""
    return _checked_images(Path(folder), split).image_ids()


def load_images(folder: str | Path, splits: Sequence[str], size_px: int) -> tuple[list[str], np.ndarray]:
    """Load splits into memory, in the order of shards: ids, and uint8 (n, size_px, size_px, 3) as `decode_jpeg`."""
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
            pixels[number] = decode_jpeg(images.read(number), size_px)
        except ImageError as error:
            raise InputError(f"{images.location(number)}: {error}; {RERUN}") from None


def decode_jpeg(data: bytes, size_px: int) -> np.ndarray:
    """Decode an image of the shards: short edge resized (bicubic, antialiased) to `size_px`, centre cropped, uint8."""
    with contextlib.suppress(ValueError, AttributeError):  # what simplejpeg refuses, or reads otherwise, Pillow judges
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if colours in ("YCbCr", "RGB") and height * width <= MAX_PIXELS:
            pixels = simplejpeg.decode_jpeg(data)
            if min(height, width) != size_px:
                return np.asarray(resize_and_crop(Image.fromarray(pixels), size_px))
            top, left = round((height - size_px) / 2), round((width - size_px) / 2)
            return pixels[top : top + size_px, left : left + size_px]
    return np.asarray(resize_and_crop(to_rgb(identify(data)), size_px))
