"""One writer a run: a lock that ends with its process, whatever ends it.

Takes the folder of a run. Refuses, by name, where another command is at work there.
"""

import contextlib
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..errors import InputError

try:
    import fcntl
except ImportError:  # Windows: two writers are not noticed there
    fcntl = None

_LOCK = ".lock"
_OWN = "BIOCLIP_LOCKED"  # the folders whose lock this process, or one that started it, holds


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the lock of a run; `InputError` with who holds it, where it is not free. It reaches to child processes."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        opened = open(root / _LOCK, "a+", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{root} cannot be written ({error.strerror}); pass another RUN=") from None
    with opened as file:
        if not _take(file):
            raise InputError(_holder(root, file))
        file.truncate(0)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        json.dump({"pid": os.getpid(), "machine": platform.node(), "since": since}, file)
        file.flush()
        before = os.environ.get(_OWN, "")
        os.environ[_OWN] = f"{before}{os.pathsep}{root}"
        try:
            yield
        finally:
            os.environ[_OWN] = before
            file.truncate(0)


def check_free(root: Path) -> None:
    """Refuse a run in which a command is at work that did not start this process."""
    own = os.environ.get(_OWN, "").split(os.pathsep)
    if not (root / _LOCK).is_file() or any(root.is_relative_to(folder) for folder in own if folder):
        return
    with open(root / _LOCK, encoding="utf-8") as file:
        if not _take(file):
            raise InputError(_holder(root, file))


def _take(file: IO) -> bool:
    """Take the lock of a file until it is closed; return whether it was free."""
    with contextlib.suppress(OSError):
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _holder(root: Path, file: IO) -> str:
    """Say who holds a lock."""
    file.seek(0)
    try:
        said = json.loads(file.read())
        who = f"process {said['pid']} on {said['machine']} since {said['since']}"
    except (ValueError, KeyError, TypeError):
        who = "another process"
    return f"{root} is being written ({who}); wait for it, stop it, or pass another RUN="
