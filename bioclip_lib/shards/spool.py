"""Encoded images on disk, between the order in which archives are read and the order of the shards.

Takes images by the SHA-256 of their file; returns them in any order. What a killed process left is used again as far as
it is whole.
"""

import os
import struct
import threading
import zlib
from pathlib import Path

_RECORD = struct.Struct("<32sQI")  # SHA-256 of the image's file; size and CRC-32 of the encoded image, which follows


class Spool:
    """A file of encoded images.

    Parameters
    ----------
    path : Path
        Made where it is missing; a spool of other settings starts anew.
    settings : str
        Of `shards.samples.settings_digest`.

    Notes
    -----
    In memory lie the place and size of each image, about 300 bytes.
    """

    def __init__(self, path: Path, settings: str) -> None:
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
        self._places: dict[bytes, tuple[int, int]] = {}
        self._lock = threading.Lock()
        header = bytes.fromhex(settings)
        if self._file.read(len(header)) == header:
            self._scan(path.stat().st_size)
        else:
            self._file.seek(0)
            self._file.truncate()
            self._file.write(header)

    def _scan(self, n_bytes: int) -> None:
        """Find the whole records, cut off what comes after them."""
        while True:
            start = self._file.tell()
            record = self._file.read(_RECORD.size)
            key, size, crc = _RECORD.unpack(record) if len(record) == _RECORD.size else (b"", n_bytes, 0)
            place = start + _RECORD.size
            if place + size > n_bytes or zlib.crc32(self._file.read(size)) != crc:
                break
            self._places[key] = (place, size)
        self._file.seek(start)
        self._file.truncate()

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __contains__(self, sha256: str) -> bool:
        return bytes.fromhex(sha256) in self._places

    def add(self, sha256: str, image: bytes) -> None:
        """Append an image."""
        with self._lock:
            place = self._file.seek(0, os.SEEK_END) + _RECORD.size
            self._file.write(_RECORD.pack(bytes.fromhex(sha256), len(image), zlib.crc32(image)) + image)
            self._places[bytes.fromhex(sha256)] = (place, len(image))

    def get(self, sha256: str) -> bytes | None:
        """Return an image, None where it is not here."""
        place = self._places.get(bytes.fromhex(sha256))
        if place is None:
            return None
        with self._lock:
            self._file.seek(place[0])
            return self._file.read(place[1])
