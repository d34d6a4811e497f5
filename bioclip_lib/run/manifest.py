"""What a run is made of: of each file size, time and SHA-256, of each stage what it was made from.

``manifest.jsonl`` in the run's folder holds a line a fact; the newest counts, and a line cut short by the end of its
process is passed over. A file is recorded before it takes its name (`writing.atomic`) or when its stage ends
(`stages`); whoever reads one asks `is_whole`. Takes paths, of a run or not; what no manifest lists is not judged.
"""

import contextlib
import functools
import json
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

NAME = "manifest.jsonl"
_LINKED = ("shards", "checkpoints", "embeddings", "model", "raw")  # they may lie on a larger disk
PARTS_FOLDER = ".parts"  # of stages that have not ended


class Manifest(NamedTuple):
    """The facts of a run, by path in its folder and by stage."""

    files: dict[str, dict]  # size, mtime_ns, sha256; and `before`, the digest of what it replaced
    stages: dict[str, dict]  # what a stage was made from, its files, and when and by which commit


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file of any size, as hexadecimal digits."""
    digest = sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def run_of(path: Path) -> Path | None:
    """Return the folder of the run in which a path lies, None outside runs."""
    return next((folder for folder in path.absolute().parents if _is_run(folder)), None)


def _is_run(folder: Path) -> bool:
    """Tell the folder of a run: others have files of that name, which are never written to."""
    file = folder / NAME
    return file.is_file() and (file.stat().st_size == 0 or (folder / "environment.json").is_file())


def read_manifest(root: Path) -> Manifest:
    """Read the manifest of a run; an empty one where there is none."""
    try:
        stat = (root / NAME).stat()
    except OSError:
        return Manifest({}, {})
    return _read(root / NAME, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _read(path: Path, size: int, mtime_ns: int) -> Manifest:
    """Read the lines of a manifest, as long as it does not change."""
    files: dict[str, dict] = {}
    stages: dict[str, dict] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):  # cut short
            fact = json.loads(line)
            if "stage" in fact:
                if isinstance(fact["made_of"], dict) and isinstance(fact["files"], list):
                    stages[fact.pop("stage")] = fact
            elif all(key in fact for key in ("size", "mtime_ns", "sha256")):
                name = fact.pop("file")
                old = files.get(name, {"sha256": "", "before": ""})
                files[name] = fact | {"before": old["before" if old["sha256"] == fact["sha256"] else "sha256"]}
    return Manifest(files, stages)


def append(root: Path, facts: list[dict]) -> None:
    """Add lines to the manifest of a run."""
    if facts:
        with open(root / NAME, "ab") as file:
            file.write(b"\n" + b"".join(json.dumps(fact, ensure_ascii=False).encode() + b"\n" for fact in facts))


def fact_of(path: str | Path, name: str) -> dict:
    """Return what there is to know of a file that has, or gets, a name in a run."""
    stat = os.stat(path)
    return {"file": name, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": file_sha256(path)}


def record(path: Path, content: Path) -> None:
    """Record a file, or the files of a folder, of a run, whose content still lies elsewhere: before it is renamed."""
    root = run_of(path)
    if (
        root is None
        or path.name == NAME
        or any(part.startswith(".") for part in path.absolute().relative_to(root).parts)
    ):
        return
    name = path.absolute().relative_to(root).as_posix()
    found = [(file, f"{name}/{below}") for below, file in walk(content)] if content.is_dir() else [(content, name)]
    append(root, [fact_of(file, name) for file, name in found])


def walk(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the files below a folder that belong to a run, by path in it and on disk: what is hidden does not."""
    start = len(str(folder)) + 1
    for parent, folders, files in os.walk(folder, followlinks=True):
        links = {name for name in folders if name not in _LINKED and os.path.islink(f"{parent}{os.sep}{name}")}
        folders[:] = sorted(name for name in folders if name[0] != "." and name not in links)
        for name in sorted(files):
            if name[0] != "." and name != NAME:
                path = f"{parent}{os.sep}{name}"
                yield path[start:].replace(os.sep, "/"), path


def is_whole(path: str | Path) -> bool:
    """Tell whether a file has the bytes with which it was written, as far as a manifest lists it; reads all of it.

    Before a file is renamed its digest is recorded: killed in between, a process leaves the file that was there.
    """
    fact = _fact(Path(path))
    return not fact or file_sha256(path) in (fact["sha256"], fact["before"])


def recorded_digest(path: Path) -> str:
    """Return the digest that a manifest lists for a file, '' where none does."""
    return _fact(path).get("sha256", "")


def _fact(path: Path) -> dict:
    """Return what a manifest lists of a file."""
    root = run_of(path)
    return read_manifest(root).files.get(path.absolute().relative_to(root).as_posix(), {}) if root else {}
