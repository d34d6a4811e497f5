"""One writer a run: a lock that ends with its process, whatever ends it.

Takes the folder of a run. Refuses, by name, where another command is at work there, or what a killed one had started.
Where a folder has no locks (Windows, some network folders) what stands in the file ``.lock`` is believed.
"""

import contextlib
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import psutil

from ..errors import InputError
from .writing import identity

try:
    import fcntl
except ImportError:
    fcntl = None

_LOCK = ".lock"
_OWN = "BIOCLIP_LOCKED"  # the folders whose lock this process, or one that started it, holds
_WAIT_S = 15  # for the kernel of a killed command: it looks every second whether that lives


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the lock of a run; `InputError` with who holds it, where it is not free. It reaches to child processes."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        opened = open(root / _LOCK, "a+", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{root} cannot be written ({error.strerror}); pass another RUN=") from None
    with opened as file:
        _take(root, file)
        file.truncate(0)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        json.dump({"process": identity(os.getpid()), "machine": platform.node(), "since": since}, file)
        file.flush()
        before = os.environ.get(_OWN, "")
        os.environ[_OWN] = "\n".join([*_own(os.environ), str(root)])
        try:
            yield
        finally:
            os.environ[_OWN] = before
            file.truncate(0)


def check_free(root: Path) -> None:
    """Refuse a run in which a command is at work that did not start this process."""
    lock = root / _LOCK
    if lock.is_file() and not any(root.is_relative_to(folder) for folder in _own(os.environ)):
        with open(lock, "r+" if os.access(lock, os.W_OK) else "r", encoding="utf-8") as file:  # NFS asks for it
            _take(root, file)


def _own(environment: Mapping[str, str]) -> list[str]:
    """Return the folders whose lock a process of this environment, or one that started it, holds."""
    return environment.get(_OWN, "").split("\n") if environment.get(_OWN) else []


def _take(root: Path, file: IO) -> None:
    """Take the lock of a file until it is closed; refuse a run that is not free."""
    is_held = False
    file.seek(0)
    said = file.read()  # a command that ends leaves nothing in the file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        is_held = True
    except (OSError, AttributeError):
        is_held = bool(said) and _lives(said)
    if is_held:
        raise InputError(f"{root} is being written ({_holder(said)}); wait for it, stop it, or pass another RUN=")
    until = time.monotonic() + _WAIT_S
    while said and (left := _orphans(root)):
        if time.monotonic() > until:
            which = ", ".join(map(str, left))
            raise InputError(f"{root} is being written by what a killed command had started; end process {which}")
        time.sleep(0.1)


def _lives(said: str) -> bool:
    """Tell whether the process that a lock names lives; of another machine nobody knows, and it is taken to."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        process, machine = (json.loads(said)[key] for key in ("process", "machine"))
        return machine != platform.node() or identity(int(process.partition("-")[0])) == process
    return False


def _holder(said: str) -> str:
    """Say who holds a lock."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        who = json.loads(said)
        return f"process {who['process'].partition('-')[0]} on {who['machine']} since {who['since']}"
    return "another process"


def _orphans(root: Path) -> list[int]:
    """Return the processes that whoever held the lock of a run has started and left behind."""
    here = {os.getpid(), *(one.pid for one in psutil.Process().parents())}
    found = psutil.process_iter(["environ"])
    return [one.pid for one in found if one.pid not in here and str(root) in _own(one.info["environ"] or {})]
