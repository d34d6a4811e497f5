"""Zip archives: their directory, or what is left without one, and access to a member.

Takes a path; returns members, then the content of one. Refuses (`ArchiveError`) what is encrypted, compressed by a
method that Python does not know, corrupt, or expands like a decompression bomb.
"""

import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .members import MAX_RATIO, ArchiveError, Member

_MIN_BOMB_BYTES = 2**26
_LOCAL = struct.Struct("<4s5H3L2H")  # the local file header
_ENCRYPTED, _SIZE_FOLLOWS, _UTF8 = 0x1, 0x8, 0x800
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_BAD_ZIP = (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error, EOFError)
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError)


def zip_members(path: Path) -> tuple[list[tuple[str, Member]], str]:
    """List the members of a zip's directory, or without one those found from the front, and '' or its damage."""
    try:
        with zipfile.ZipFile(path) as file:
            return [(info.filename, _member(info)) for info in file.infolist() if not info.is_dir()], ""
    except _BAD_ZIP as error:
        return list(_walk_zip(path)), f"zip is truncated or damaged ({str(error)[:60]})"


def _member(info: zipfile.ZipInfo) -> Member:
    place = (info.header_offset, info.file_size, _zip_problem(info))
    return Member(*place, info.compress_size, info.compress_type, info.CRC)


def _zip_problem(info: zipfile.ZipInfo) -> str:
    """Return why a zip member is not read, '' for a plain file."""
    mode = info.external_attr >> 16
    if stat.S_ISLNK(mode):
        return "link inside an archive, not followed"
    if stat.S_IFMT(mode) and not stat.S_ISREG(mode):
        return "not a regular file in the archive"
    return _content_problem(info.flag_bits, info.compress_type, info.file_size, info.compress_size)


def _content_problem(flags: int, method: int, size: int, packed: int) -> str:
    """Return why the content of a zip member is not decoded, '' where it is."""
    if flags & _ENCRYPTED:
        return "encrypted"
    if method not in _METHODS:
        return f"compression method {method} is not supported"
    bomb = size > _MIN_BOMB_BYTES and size > MAX_RATIO * packed
    return f"expands more than {MAX_RATIO} times (decompression bomb)" if bomb else ""


def _walk_zip(path: Path) -> Iterator[tuple[str, Member]]:
    """Yield the members of a zip by their local headers, as far as these follow each other."""
    n_bytes, offset = path.stat().st_size, 0
    with path.open("rb") as file:
        while len(header := file.read(_LOCAL.size)) == _LOCAL.size and header[:4] == b"PK\3\4":
            _, _, flags, method, _, _, crc, packed, size, n_name, n_extra = _LOCAL.unpack(header)
            raw, next_offset = file.read(n_name), offset + _LOCAL.size + n_name + n_extra + packed
            if flags & _SIZE_FOLLOWS or next_offset > n_bytes:
                return  # written to a pipe: the size stands after the data; or cut
            name = raw.decode("utf-8" if flags & _UTF8 else "cp437", "surrogateescape")
            if not name.endswith("/"):
                yield name, Member(offset, size, _content_problem(flags, method, size, packed), packed, method, crc)
            offset = next_offset
            file.seek(offset)


def open_zip_member(path: Path, member: Member) -> BinaryIO:
    """Open one member for reading from front to end, by random access; what is corrupt raises one of `DAMAGED`."""
    info = zipfile.ZipInfo()  # an index of members takes a fifth of the memory of the directory's ZipInfos
    info.compress_type, info.compress_size = member.method, member.packed
    info.file_size, info.CRC = member.size, member.crc
    file = path.open("rb")
    try:
        file.seek(member.offset)
        header = file.read(_LOCAL.size)
        if len(header) < _LOCAL.size or header[:4] != b"PK\3\4":
            raise ArchiveError("zip is damaged (bad local header)")
        file.seek(member.offset + _LOCAL.size + sum(_LOCAL.unpack(header)[-2:]))
        return zipfile.ZipExtFile(file, "r", info, close_fileobj=True)
    except BaseException:
        file.close()
        raise
