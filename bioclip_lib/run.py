"""Where the artefacts of a run lie, and how they are written: under a temporary name, renamed when whole.

Takes a run directory; returns paths. Nothing is created at import.
"""

import contextlib
import errno
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from . import __version__
from .config import RUN_VARIABLE, Config, flat
from .errors import InputError

REPOSITORY = Path(__file__).resolve().parent.parent


class Run:
    """A run directory, ``runs/<run>``, and the paths of its artefacts."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).resolve()
        self.name = self.root.name
        self.config_json = self.root / "config.json"
        self.environment_json = self.root / "environment.json"
        self.catalog = self.root / "catalog.parquet"
        self.shards = self.root / "shards"
        self.model = self.root / "model"
        self.checkpoints = self.root / "checkpoints"
        self.embeddings = self.root / "embeddings"
        self.tables = self.root / "tables"
        self.figures = self.root / "figures"
        self.notebooks = self.root / "notebooks"
        self.metrics_csv = self.root / "metrics.csv"

    def __repr__(self) -> str:
        return f"Run({os.path.relpath(self.root)})"


def open_run(root: str | Path, config: Config) -> Run:
    """Open a run directory, or start it: config.json and environment.json are written.

    Parameters
    ----------
    root : str or Path
        ``""`` stands for the run in the environment's ``BIOCLIP_RUN`` if it has this profile, else for
        ``runs/<profile>`` in the repository.
    config : Config
        What the run is to be.

    Raises
    ------
    InputError
        If the directory holds a catalog of another configuration (one that differs in ``evaluate`` alone is the same),
        is not a run and not empty, or cannot be written; for photographs that are not named.
    """
    if config.data.source == "photos" and not config.data.photos:
        raise InputError(
            f"the profile {config.profile} needs photographs: pass PHOTOS=path/to/folder, a CSV or a Parquet file; set "
            'overrides = {"data.photos": "path/to/folder"} in a notebook'
        )
    run = Run(root or _run_of_environment(config.profile) or REPOSITORY / "runs" / config.profile)
    wanted = json.loads(json.dumps(config.to_dict()))
    if run.config_json.is_file():
        try:
            found = json.loads(run.config_json.read_text(encoding="utf-8"))
        except ValueError:
            raise InputError(
                f"{run.config_json} is not readable JSON; delete {run.root} or pass another RUN="
            ) from None
        if found == wanted:
            return run
        same_model = found == {**wanted, "evaluate": found.get("evaluate")}
        if run.catalog.exists() and not same_model:
            raise InputError(
                f"{run.root} belongs to another configuration ({'; '.join(differences(found, wanted)[:4])}); "
                "pass another RUN=, or delete that directory"
            )
    elif run.root.exists() and (not run.root.is_dir() or any(run.root.iterdir())):
        raise InputError(f"{run.root} is not a run directory and not empty; pass another RUN=")
    try:
        write_json(run.environment_json, environment())
        write_json(run.config_json, wanted)
    except OSError as error:
        raise InputError(f"{run.root} cannot be written ({error.strerror}); pass another RUN=") from None
    return run


def _run_of_environment(profile: str) -> str:
    """Return the run that ``make lab RUN=...`` opened, if it has this profile, or ''."""
    root = os.environ.get(RUN_VARIABLE, "")
    path = Path(root, "config.json")
    same = root and path.is_file() and json.loads(path.read_text(encoding="utf-8"))["profile"] == profile
    return root if same else ""


def differences(found: dict, wanted: dict) -> list[str]:
    """List the settings in which two nested configurations differ, as ``key: found there, wanted now``."""
    old, new = flat(found), flat(wanted)
    changed = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    return [f"{key}: {old.get(key)!r} there, {new.get(key)!r} wanted" for key in changed]


def environment() -> dict:
    """Return what a reader of the results needs to know of the machine: versions, commit, CPU, GPU."""
    import torch

    packages = "torch open_clip_torch timm datasets numpy scikit-learn umap-learn gnparser taxoniq".split()
    return {
        "bioclip_lib": __version__,
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "n_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "",
        "packages": {name: metadata.version(name) for name in packages},
    }


def git_commit() -> str:
    """Return the commit of the repository, with ``-dirty`` where the tree differs from it; '' outside git."""
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


@contextlib.contextmanager
def full_disk_named(path: str | Path) -> Iterator[None]:
    """Turn the error of a full disk, quota or file system into an `InputError` that names it and the next action."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        reason = os.strerror(error.errno).lower()
        raise InputError(f"disk full while writing {path} ({reason}); free space and run again") from None


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, of a file or a folder; rename it to `path` on success, else remove it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    remove(tmp)
    try:
        with full_disk_named(path):
            yield tmp
        if tmp.is_dir():
            remove(path)
        os.replace(tmp, path)
    except BaseException:
        remove(tmp)
        raise


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file of any size, as hexadecimal digits."""
    digest = sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def remove(path: Path) -> None:
    """Delete a file or a directory tree, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, content: dict | list) -> None:
    """Write JSON atomically, indented and with a final newline."""
    with atomic(path) as tmp:
        tmp.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
