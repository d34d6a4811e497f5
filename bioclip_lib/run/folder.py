"""Where the artefacts of a run lie, and what it is a run of.

Takes a run directory and a configuration; refuses a directory of another one, or of something else.
"""

import contextlib
import json
import os
import platform
import subprocess
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from .. import __version__
from ..config import PROFILES, RUN_VARIABLE, Config, deciding, flat
from ..errors import InputError
from .lock import check_free
from .manifest import NAME, PARTS_FOLDER, is_whole, read_manifest, recorded_digest
from .writing import json_text, remove_left, write_json

REPOSITORY = Path(__file__).resolve().parents[2]


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
        self.parts = self.root / PARTS_FOLDER

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
    run = run_at(root, config)
    wanted = json.loads(json.dumps(config.to_dict()))
    is_same = check_run(run, wanted)
    try:
        check_free(run.root)
        run.root.mkdir(parents=True, exist_ok=True)
        if not (run.root / NAME).exists():
            (run.root / NAME).touch()
        for folder in (run.root, *filter(Path.is_dir, run.root.iterdir())):
            remove_left(folder)
        if not is_same:
            write_json(run.environment_json, environment())
            write_json(run.config_json, wanted)
    except OSError as error:
        raise InputError(f"{run.root} cannot be written ({error.strerror}); pass another RUN=") from None
    return run


def run_at(root: str | Path, config: Config) -> Run:
    """Return the run at a root, as `open_run` takes it; refuse one of photographs that are not named."""
    if config.data.source == "photos" and not config.data.photos:
        raise InputError(
            f"the profile {config.profile} needs photographs: pass PHOTOS=path/to/folder, a CSV or a Parquet file; set "
            'overrides = {"data.photos": "path/to/folder"} in a notebook'
        )
    return Run(root or _run_of_environment(config.profile) or REPOSITORY / "runs" / config.profile)


def _run_of_environment(profile: str) -> str:
    """Return the run that ``make lab RUN=...`` opened, if it has this profile, or ''."""
    root = os.environ.get(RUN_VARIABLE, "")
    found = _configuration(Run(root)) if root else None
    return root if found and found["profile"] == profile else ""


def check_run(run: Run, wanted: dict) -> bool:
    """Return whether a run has a configuration; refuse a run of another one, and a directory of something else."""
    if not run.config_json.is_file():
        there = {path.name for path in run.root.iterdir()} if run.root.is_dir() else {run.root.name}
        if run.root.exists() and {name for name in there if name[0] != "."} - {NAME, "environment.json"}:
            raise InputError(f"{run.root} is not a run directory and not empty; pass another RUN=")
        return False
    found = _configuration(run)
    if found is None:
        is_wanted = recorded_digest(run.config_json) == sha256(json_text(wanted).encode()).hexdigest()
        if run.catalog.exists() and not is_wanted:
            raise InputError(
                f"{run.config_json} is damaged; give the settings that the run was made with, or pass another RUN="
            )
        return False
    lines = differences(deciding(_completed(found)), deciding({**wanted, "evaluate": found["evaluate"]}))
    if lines and run.catalog.exists():
        what = f"{run.root} belongs to another configuration ({'; '.join(lines[:4])})"
        way = "give RUN= alone to go on with its own" if is_whole(run.config_json) else "undo the change of config.json"
        raise InputError(f"{what}; {way}, pass another RUN=, or delete that directory")
    return found == wanted and is_whole(run.config_json)


def _configuration(run: Run) -> dict | None:
    """Return what config.json holds or, where it is damaged, what the last stage was made by; None where nothing is."""
    facts = read_manifest(run.root).stages.values()
    stages = [fact["made_of"]["settings"] for fact in facts if "settings" in fact["made_of"]]
    with contextlib.suppress(ValueError, KeyError, TypeError):
        found = json.loads(run.config_json.read_text(encoding="utf-8"))
        if found["profile"] and isinstance(found["evaluate"], dict) and (is_whole(run.config_json) or not stages):
            return found
    return stages[-1] if stages else None


def _completed(found: dict) -> dict:
    """Give settings that are newer than a run their default, what was done before; leave out those that are gone."""
    if found["profile"] not in PROFILES:
        return found
    newest = json.loads(json.dumps(Config(found["profile"]).to_dict()))
    return _merged(newest, found) | {"evaluate": found["evaluate"]}


def _merged(newer: dict, found: dict) -> dict:
    """Return the settings of `newer`, each with its value in `found` where that has it."""
    return {
        key: _merged(value, found.get(key, {})) if isinstance(value, dict) else found.get(key, value)
        for key, value in newer.items()
    }


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
