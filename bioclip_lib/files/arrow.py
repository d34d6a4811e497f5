"""Encoded images in Arrow files that the library `datasets` writes, read at random from a memory map.

Takes a path, a column and a row; returns the bytes. Refuses (`ArchiveError`) what is no such file.
"""

import functools
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from .members import ArchiveError

ARROW_SUFFIX = ".arrow"


@functools.lru_cache(maxsize=128)
def _table(path: str, mtime_ns: int) -> pa.Table:
    """Map an Arrow file, stream or random access: nothing is read before it is asked for."""
    source = pa.memory_map(path)
    try:
        return pa.ipc.open_stream(source).read_all()
    except pa.ArrowInvalid:
        return pa.ipc.open_file(source).read_all()


def _column(path: str | Path, column: str) -> pa.ChunkedArray:
    path = Path(path)
    try:
        return _table(str(path), path.stat().st_mtime_ns).column(column)
    except (OSError, ValueError, KeyError) as error:  # Arrow's errors are of these kinds
        raise ArchiveError(f"Arrow file cannot be read ({str(error).splitlines()[0][:80]})") from None


def image_places(path: str | Path, column: str) -> Iterator[tuple[bool, str]]:
    """Yield, row by row, whether the file holds the image's bytes, and the path that it states."""
    for chunk in _column(path, column).chunks:
        if not pa.types.is_struct(chunk.type):  # bytes alone
            yield from ((present, "") for present in chunk.is_valid().to_pylist())
            continue
        for present, name in zip(
            chunk.field("bytes").is_valid().to_pylist(), chunk.field("path").to_pylist(), strict=True
        ):
            yield present, name or ""


def read_arrow_image(path: str | Path, name: str, max_bytes: int) -> bytes:
    """Read the image ``<column>/<row>`` of an Arrow file; `ArchiveError` with the reason where there is none."""
    column, _, row = name.rpartition("/")
    images = _column(path, column)
    if not row.isdecimal() or int(row) >= len(images):
        raise ArchiveError("no such row in the Arrow file")
    value = images[int(row)]
    if value.is_valid and pa.types.is_struct(value.type):
        value = value["bytes"]
    data = value.as_buffer() if value.is_valid else None
    if data is None:
        raise ArchiveError("no image in this row")
    if data.size > max_bytes:
        raise ArchiveError(f"image of {data.size / 2**30:.1f} GiB (limit {max_bytes / 2**30:.0f})")
    return data.to_pybytes()
