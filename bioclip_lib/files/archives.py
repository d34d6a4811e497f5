"""Members of tar, tar.gz and zip archives, read where they are: nothing is unpacked, so no name can lead anywhere.

Takes a path; returns the members with their places, built once an archive and kept; then the bytes of a member by
random access, from several threads. Refuses (`ArchiveError`) links, devices, encrypted and oversized members, names
that leave the archive, and what is truncated or corrupt. Members before a damage stay readable.
"""

import functools
import io
import stat
import tarfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from .arrow import ARROW_SUFFIX, read_arrow_image
from .crops import split_crop
from .gzips import GzipPass, GzipReader
from .members import ArchiveError, Member, checked_name, plain_name
from .zips import DAMAGED, open_zip_member, zip_members

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
ARCHIVE_SUFFIXES = (*TAR_SUFFIXES, ".zip")
_SUFFIXES = (*ARCHIVE_SUFFIXES, ARROW_SUFFIX)
SEPARATOR = "::"
MAX_ARCHIVES = 128  # indices kept: TreeOfLife-10M has 63, BIOSCAN-1M 113
_WINDOW_BYTES = 2**22
_MAX_HEADER_BYTES = 2**20  # of one tar header, long names and pax records included


class Archive:
    """The members of an archive by name, in its order, and ``damage``: '' or where its reading stopped and why."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.members: dict[str, Member] = {}
        self.damage = ""
        self.gzip: GzipReader | None = None

    def add(self, name: str, member: Member) -> None:
        """Add a member; one whose name is taken gets ``#2`` and a problem."""
        name, problem = checked_name(name)
        unique, repeat = name, 1
        while unique in self.members:
            repeat += 1
            unique, problem = f"{name}#{repeat}", "second member of this name"
        self.members[unique] = member._replace(problem=problem) if problem else member

    def find(self, name: str) -> Member | None:
        """Return the member of a name, written with or without a leading ``./``."""
        return self.members.get(plain_name(name))


_locks: dict[str, threading.Lock] = {}


def open_archive(path: str | Path) -> Archive:
    """Return the members of an archive, indexed when first asked for, and again when the file changes."""
    path = Path(path)
    try:
        status = path.stat()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise ArchiveError("archive not found" if missing else f"archive unreadable ({error.strerror})") from None
    if not stat.S_ISREG(status.st_mode):
        raise ArchiveError("archive is not a regular file")
    with _locks.setdefault(str(path), threading.Lock()):  # two threads that ask for one archive wait for one index
        return _index(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(MAX_ARCHIVES)
def _index(path: Path, size: int, mtime_ns: int) -> Archive:
    """Build the index of an archive, as long as it does not change."""
    archive = Archive(path)
    try:
        if path.suffix.lower() == ".zip":
            members, archive.damage = zip_members(path)
            for name, member in members:
                archive.add(name, member)
        elif path.suffix.lower() in (".gz", ".tgz"):
            with GzipPass(path) as decoded:
                _add_tar_members(archive, _Headers(decoded))
                _mark_cut_members(archive, decoded.n_bytes)
            archive.gzip = GzipReader(path, decoded.checkpoints)
        else:
            with path.open("rb") as file:
                _add_tar_members(archive, _Headers(file))
            _mark_cut_members(archive, size)
    except OSError as error:
        raise ArchiveError(f"archive unreadable ({error.strerror})") from None
    return archive


class _Headers:
    """A file object through which `tarfile` cannot be made to read a header of gigabytes into memory."""

    def __init__(self, file) -> None:
        self._file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int) -> bytes:
        if size > _MAX_HEADER_BYTES:
            raise ArchiveError(f"tar header of {size} bytes")
        return self._file.read(size)


def _add_tar_members(archive: Archive, file: _Headers) -> None:
    """Add the members of a tar up to its end, or to the damage."""
    try:
        with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
            while (info := tar.next()) is not None:
                tar.members = []  # else a TarInfo a member stays in memory
                if not info.isdir():
                    archive.add(info.name, Member(info.offset_data, info.size, _tar_problem(info)))
            archive.damage = _end_damage(file, tar.offset)
    except (tarfile.TarError, ArchiveError, ValueError, OverflowError, EOFError) as error:
        archive.damage = str(error) if isinstance(error, ArchiveError) else f"tar is damaged ({error})"


def _tar_problem(info: tarfile.TarInfo) -> str:
    """Return why a tar member is not read, '' for a plain file."""
    if info.issym() or info.islnk():
        return "link inside an archive, not followed"
    return "" if info.isreg() and not info.issparse() and info.size >= 0 else "not a regular file in the archive"


def _end_damage(file: _Headers, offset: int) -> str:
    """Return '' where a tar ends with its mark, a block of zeros; `tarfile` takes any bad header for the end."""
    file.seek(offset)
    block = file.read(tarfile.BLOCKSIZE)
    if block == bytes(tarfile.BLOCKSIZE):
        return ""
    return "tar is damaged (bad header)" if len(block) == tarfile.BLOCKSIZE else "tar is truncated"


def _mark_cut_members(archive: Archive, n_bytes: int) -> None:
    """Give the members that reach beyond the end of the archive a problem."""
    for name, member in archive.members.items():
        if not member.problem and member.offset + member.size > n_bytes:
            archive.members[name] = member._replace(problem="archive is truncated within this member")


def split_location(location: str) -> tuple[str, str] | None:
    """Split ``path/to.tar::member``; None for the location of a plain file."""
    path, separator, member = location.partition(SEPARATOR)
    while separator and not path.lower().endswith(_SUFFIXES):
        more, separator, member = member.partition(SEPARATOR)
        path = f"{path}{SEPARATOR}{more}"
    return (path, member) if separator else None


def in_compressed_tar(location: str) -> bool:
    """Tell whether an image lies in an archive that is slow to read but from front to end."""
    inside = split_location(location)
    return inside is not None and inside[0].lower().endswith((".gz", ".tgz"))


def reading_order(locations: Sequence[str]) -> list[int]:
    """Return the order in which to read images: plain files, then archive by archive, each from front to end."""
    keys: list[tuple] = []
    for i, location in enumerate(locations):
        inside = split_location(split_crop(location)[0])
        keys.append((inside[0], _offset(*inside), i) if inside else ("", 0, i))
    return [i for *_, i in sorted(keys)]


def _offset(path: str, name: str) -> int:
    """Return where a member lies in its archive, 0 where that is unknown."""
    try:
        member = None if path.lower().endswith(ARROW_SUFFIX) else open_archive(path).find(name)
    except ArchiveError:
        return 0
    return member.offset if member else 0


def read_member(path: str | Path, name: str, max_bytes: int) -> bytes:
    """Read one member (of an Arrow file ``<column>/<row>``) of at most so many bytes; `ArchiveError` says why not."""
    if str(path).lower().endswith(ARROW_SUFFIX):
        return read_arrow_image(path, name, max_bytes)
    archive, member = _usable_member(path, name)
    if max(member.size, member.packed) > max_bytes:
        raise ArchiveError(f"member of {member.size / 2**30:.1f} GiB (limit {max_bytes / 2**30:.0f})")
    try:
        with _opened(archive, member) as file:
            data = file.read(member.size)
    except DAMAGED as error:
        raise _damage_of(error) from None
    if len(data) != member.size:
        raise ArchiveError("archive is truncated within this member")
    return data


def open_member(path: str | Path, name: str) -> BinaryIO:
    """Open a member for reading from front to end, a few bytes of it in memory; `ArchiveError` as `read_member`."""
    archive, member = _usable_member(path, name)
    try:
        return _opened(archive, member)
    except OSError as error:
        raise _damage_of(error) from None


def _usable_member(path: str | Path, name: str) -> tuple[Archive, Member]:
    """Return an archive and the member of a name; `ArchiveError` where there is none or it is not to be read."""
    archive = open_archive(path)
    member = archive.find(name)
    if member is None:
        raise ArchiveError(f"not in the archive; {archive.damage}" if archive.damage else "not in the archive")
    if member.problem:
        raise ArchiveError(member.problem)
    return archive, member


def _opened(archive: Archive, member: Member) -> BinaryIO:
    if archive.path.suffix.lower() == ".zip":
        return open_zip_member(archive.path, member)
    read_at = archive.gzip.read if archive.gzip is not None else functools.partial(_read_tar, archive.path)
    return io.BufferedReader(_Window(read_at, member), min(max(member.size, 1), _WINDOW_BYTES))


def _read_tar(path: Path, position: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(position)
        return file.read(size)


def _damage_of(error: Exception) -> ArchiveError:
    """Say why a member cannot be read."""
    if isinstance(error, OSError):
        return ArchiveError(f"archive unreadable ({error.strerror or error})")
    if isinstance(error, EOFError):
        return ArchiveError("archive is truncated within this member")
    return ArchiveError("zip member is corrupt (checksum)" if "CRC" in str(error) else "zip member is corrupt")


class _Window(io.RawIOBase):
    """The bytes of a tar's member, by a function that reads at any place."""

    def __init__(self, read_at: Callable[[int, int], bytes], member: Member) -> None:
        self._read_at, self._at, self._end = read_at, member.offset, member.offset + member.size

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer) -> int:
        """Read on."""
        data = self._read_at(self._at, min(len(buffer), self._end - self._at))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
