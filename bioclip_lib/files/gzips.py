"""Random access to a gzip file: one sequential pass keeps copies of the decoder, later reads start at the nearest.

Takes a path; returns the bytes at any place of the decompressed stream, without writing anything to disk. Refuses
(`ArchiveError`) what is truncated, corrupt, or expands like a decompression bomb.
"""

import bisect
import threading
import zlib
from pathlib import Path
from typing import BinaryIO

from .members import MAX_RATIO, ArchiveError

MIN_BOMB_BYTES = 2**30  # smaller streams may expand as they like
MAX_CHECKPOINTS = 1024  # of 32 to 48 kB each
MIN_SPACING_BYTES = 2**22
_BLOCK = 2**15  # compressed bytes a step: at most 33 MB of output
_GZIP = 31  # zlib's code for a gzip header and checksum
_MAX_CURSORS = 8


class _Cursor:
    """A place in the decompressed stream: the decoder, and the block that it gave last."""

    __slots__ = ("block", "decoder", "offset", "start")

    def __init__(self, start: int, offset: int, decoder) -> None:
        self.start, self.offset, self.decoder, self.block = start, offset, decoder, b""

    @property
    def end(self) -> int:
        """The place after the block."""
        return self.start + len(self.block)

    def advance(self, file: BinaryIO) -> bool:
        """Decode the next block; False at the end of the file."""
        file.seek(self.offset)
        data = file.read(_BLOCK)
        if self.decoder.eof:
            if not data.startswith(b"\x1f"):  # the end, or the zeros that tapes leave
                return False
            self.decoder = zlib.decompressobj(_GZIP)  # a file may hold several gzip streams
        if not data:
            raise ArchiveError("gzip file is truncated")
        self.start, self.block = self.end, b""
        try:
            self.block = self.decoder.decompress(data)
        except zlib.error as error:
            raise ArchiveError(f"gzip file is corrupt ({str(error).rpartition(': ')[2]})") from None
        self.offset += len(data) - len(self.decoder.unused_data)
        return True

    def read(self, file: BinaryIO, position: int, size: int) -> bytes:
        """Read from a position at or after the start of the block; fewer bytes at the end of the file."""
        parts = []
        while size > 0:
            if self.end > position:
                part = self.block[position - self.start : position - self.start + size]
                parts.append(part)
                position, size = position + len(part), size - len(part)
            elif not self.advance(file):
                break
        return b"".join(parts)


class GzipPass:
    """The sequential pass over a gzip file, as a file object for `tarfile`; leaves checkpoints, refuses bombs."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._cursor = _Cursor(0, 0, zlib.decompressobj(_GZIP))
        self._position, self._spacing = 0, MIN_SPACING_BYTES
        self.checkpoints = [(0, 0, zlib.decompressobj(_GZIP))]

    def __enter__(self) -> "GzipPass":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def n_bytes(self) -> int:
        """The number of bytes decoded so far."""
        return self._cursor.end

    def tell(self) -> int:
        """Return the position in the decompressed stream."""
        return self._position

    def seek(self, position: int) -> None:
        """Go to a position at or after the last one read."""
        self._position = position

    def read(self, size: int) -> bytes:
        """Read at the position."""
        while self._cursor.end <= self._position and self._cursor.advance(self._file):
            if self.n_bytes > MIN_BOMB_BYTES and self.n_bytes > MAX_RATIO * self._cursor.offset:
                raise ArchiveError(f"gzip file expands more than {MAX_RATIO} times (decompression bomb)")
            self._keep_checkpoint()
        data = self._cursor.read(self._file, self._position, size)
        self._position += len(data)
        return data

    def _keep_checkpoint(self) -> None:
        """Copy the decoder every so often; where there are too many copies, drop every other one."""
        cursor = self._cursor
        if cursor.end - self.checkpoints[-1][0] < self._spacing or cursor.decoder.eof:
            return
        self.checkpoints.append((cursor.end, cursor.offset, cursor.decoder.copy()))
        if len(self.checkpoints) > MAX_CHECKPOINTS:
            self.checkpoints, self._spacing = self.checkpoints[::2], 2 * self._spacing


class GzipReader:
    """Reads at any place of a gzip file, from several threads: from the nearest checkpoint, or where a read ended."""

    def __init__(self, path: Path, checkpoints: list[tuple]) -> None:
        self._path, self._checkpoints = path, checkpoints
        self._places = [place for place, _, _ in checkpoints]
        self._cursors: list[_Cursor] = []
        self._lock = threading.Lock()

    def read(self, position: int, size: int) -> bytes:
        """Read `size` bytes at a position, fewer at the end of the file; `ArchiveError` where it is damaged."""
        cursor = self._take(position)
        with self._path.open("rb") as file:
            data = cursor.read(file, position, size)
        with self._lock:
            self._cursors = [*self._cursors[-_MAX_CURSORS + 1 :], cursor]
        return data

    def _take(self, position: int) -> _Cursor:
        """Take the free cursor that is nearest before a position, or make one of a checkpoint."""
        i = bisect.bisect_right(self._places, position) - 1
        with self._lock:
            near = [cursor for cursor in self._cursors if self._places[i] <= cursor.start <= position]
            if near:
                cursor = max(near, key=lambda cursor: cursor.start)
                self._cursors.remove(cursor)
                return cursor
            place, offset, decoder = self._checkpoints[i]
            return _Cursor(place, offset, decoder.copy())
