"""How files and folders are written: under a temporary name, on the disk for good, renamed when whole, recorded.

Takes a path and yields a temporary one. Names a full disk; removes what dead processes left.
"""

import contextlib
import ctypes
import errno
import json
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import psutil

from ..errors import InputError
from . import manifest

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OS_ERROR = re.compile(r"\(os error (\d+)\)")  # as libraries in Rust write it
_LEFT = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)-(?P<start>\d+)(-(?P<machine>\w+))?\.(?P<kind>tmp|old)")
_MACHINE = sha256(platform.node().encode()).hexdigest()[:8]
_DEAD_S = 86_400  # without a change, of a file of another machine
_MANY_FILES = 100  # of a folder: more are brought to the disk by one call
_AT_CWD, _EXCHANGE, _SWAP = -100, 2, 2  # of Linux's renameat2 and macOS's renamex_np


@contextlib.contextmanager
def full_disk_named(path: str | Path) -> Iterator[None]:
    """Turn the error of a full disk, quota or file system into an `InputError` that names it and the next action."""
    try:
        yield
    except Exception as error:
        found = _OS_ERROR.search(str(error))
        number = getattr(error, "errno", None) or (int(found[1]) if found else 0)
        if isinstance(error, InputError) or number not in _FULL:
            raise
        reason = os.strerror(number).lower()
        raise InputError(f"disk full while writing {path} ({reason}); free space and run again") from None


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, of a file or a folder; on success it becomes `path`, else it is removed.

    What has its name stays after a power cut: files and folders are brought to the disk before and after. A folder
    takes the place of another in one step where the system can (Linux, macOS). In a run the manifest is told.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = _beside(path, "tmp")
    remove(tmp)
    try:
        with full_disk_named(path):
            yield tmp
            _to_disk(tmp)
            manifest.record(path, tmp)
        if path.is_dir() or (tmp.is_dir() and path.exists()):
            _exchange(tmp, path)
            remove(tmp)
        else:
            os.replace(tmp, path)
        _folder_to_disk(path.parent)
    except BaseException:
        remove(tmp)
        raise


def _beside(path: Path, kind: str) -> Path:
    """Return the name of a temporary file of this process."""
    return path.with_name(f".{path.name}.{identity(os.getpid())}-{_MACHINE}.{kind}")


def identity(pid: int) -> str:
    """Return what tells a process from all others of this machine: a number is given again, but not at that time."""
    return f"{pid}-{_start(pid)}"


def _start(pid: int) -> int:
    """Return when a process was started, as the system counts; 0 where there is none."""
    try:  # Linux counts from its own start, whatever the clock is set to
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        with contextlib.suppress(psutil.Error):
            return round(100 * psutil.Process(pid).create_time())
    return 0


def remove_left(folder: Path) -> None:
    """Remove temporary files of dead processes from a folder; one that lay in for another gets its name back."""
    for path in folder.glob(".*.*-*.*"):
        left = _LEFT.fullmatch(path.name)
        with contextlib.suppress(FileNotFoundError):  # it may just have got its name
            if left and _is_dead(left, path):
                whole = path.with_name(left["name"])
                if left["kind"] == "old" and not whole.exists():
                    os.replace(path, whole)
                else:
                    remove(path)


def _is_dead(left: re.Match, path: Path) -> bool:
    """Tell whether the process that a temporary file is of has ended; a folder may be that of several machines."""
    if left["machine"] in (None, _MACHINE):
        return _start(int(left["pid"])) != int(left["start"])
    return time.time() - path.stat().st_mtime > _DEAD_S


def _to_disk(path: Path) -> None:
    """Bring a file, or all of a folder, to the disk."""
    if not path.is_dir():
        _sync(path)
        return
    files = [file for file in path.rglob("*") if file.is_file()]
    if len(files) > _MANY_FILES and hasattr(os, "sync"):
        os.sync()
        return
    for file in files:
        _sync(file)
    for folder in (path, *(file for file in path.rglob("*") if file.is_dir())):
        _folder_to_disk(folder)


def _sync(path: Path) -> None:
    """Bring the content of a file to the disk."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _folder_to_disk(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system has that."""
    if os.name == "posix":
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _exchange(new: Path, old: Path) -> None:
    """Let two folders change places; where no call does it at once, `remove_left` mends what a kill leaves."""
    library, names = ctypes.CDLL(None) if os.name == "posix" else None, (os.fsencode(new), os.fsencode(old))
    if hasattr(library, "renameat2") and library.renameat2(_AT_CWD, names[0], _AT_CWD, names[1], _EXCHANGE) == 0:
        return
    if sys.platform == "darwin" and library.renamex_np(*names, _SWAP) == 0:
        return
    aside = _beside(old, "old")
    os.rename(old, aside)
    os.rename(new, old)
    remove(aside)


def remove(path: Path) -> None:
    """Delete a file or a directory tree, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def json_text(content: dict | list) -> str:
    """Return JSON as it is written: indented and with a final newline."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def write_json(path: Path, content: dict | list) -> None:
    """Write JSON atomically."""
    write_text(path, json_text(content))


def write_text(path: str | Path, text: str) -> None:
    """Write text atomically, with one final newline."""
    with atomic(path) as tmp:
        tmp.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
