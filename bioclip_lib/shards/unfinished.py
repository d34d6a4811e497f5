"""A build of shards in progress: the finished tars and what each was made of, hidden until all are there.

Takes the folder of the shards; keeps the tars of an interrupted build that are provably those of this one. Refuses a
folder in which another process builds.
"""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ..catalog.splits import SPLITS
from ..config import ShardConfig
from ..errors import InputError
from ..run import atomic, file_sha256, remove, write_json
from .samples import recipe, text_members

try:
    import fcntl
except ImportError:  # Windows: two builds in one folder are not noticed there
    fcntl = None

INDEX_COLUMNS = ("split", "shard", "n_samples", "bytes", "sha256")


class PlannedTar(NamedTuple):
    """A tar that a catalog and a configuration ask for, and its rows of the catalog."""

    split: str
    shard: str
    table: pd.DataFrame


class UnfinishedShards:
    """The folder ``.unfinished`` in a folder of shards, as a context: with it the build is locked.

    Parameters
    ----------
    folder : Path
        Of the shards. Entering removes what an earlier build published there, the index first.

    Raises
    ------
    InputError
        On entering, if another process builds in this folder.

    Notes
    -----
    A line of ``finished.jsonl`` is the index row of a finished tar and its ``recipe``, a digest of all it was made of.
    A tar is used again where recipe and bytes are the same, so that a build that goes on ends in the same bytes.
    """

    def __init__(self, folder: Path) -> None:
        self.published, self.folder = folder, folder / ".unfinished"
        self.rows: dict[tuple[str, str], dict] = {}
        self._journal = self.folder / "finished.jsonl"

    def __enter__(self) -> "UnfinishedShards":
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / "lock").open("w")
        try:
            if fcntl is not None:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise InputError(f"another process writes shards in {self.published}; wait for it or stop it") from None
        for path in (self.published / "index.json", *self.published.glob(".*.tmp")):  # the latter of a killed process
            remove(path)
        for split in SPLITS:
            remove(self.published / split)
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def path(self, tar: PlannedTar) -> Path:
        """Return where a tar is written."""
        return self.folder / tar.split / tar.shard

    def reuse(self, tars: Sequence[PlannedTar], config: ShardConfig) -> list[PlannedTar]:
        """Keep the finished tars that this build asks for, delete the others; return the tars to be written."""
        recorded = self._recorded()
        for tar in tars:
            row = recorded.get((tar.split, tar.shard), {})
            if row and self._is_whole(tar, row) and row.get("recipe") == _recipe(tar, config):
                self.rows[tar.split, tar.shard] = row
        kept = {self.folder / split / shard for split, shard in self.rows}
        for path in [path for split in SPLITS for path in (self.folder / split).glob("*") if path not in kept]:
            remove(path)
        with atomic(self._journal) as tmp:
            tmp.write_text("".join(json.dumps(row) + "\n" for row in self.rows.values()), encoding="utf-8")
        return [tar for tar in tars if (tar.split, tar.shard) not in self.rows]

    def _recorded(self) -> dict[tuple[str, str], dict]:
        """Read the journal, as far as it can be read."""
        rows = {}
        with contextlib.suppress(FileNotFoundError):
            for line in self._journal.read_text(encoding="utf-8", errors="replace").splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):  # a line cut short by the end of its process
                    row = json.loads(line)
                    rows[row["split"], row["shard"]] = row
        return rows

    def _is_whole(self, tar: PlannedTar, row: dict) -> bool:
        path = self.path(tar)
        return path.is_file() and path.stat().st_size == row.get("bytes") and file_sha256(path) == row.get("sha256")

    def add(self, tar: PlannedTar, n_bytes: int, digest: str, made_of: str) -> None:
        """Record a finished tar."""
        values = (tar.split, tar.shard, len(tar.table), n_bytes, digest)
        row = dict(zip(INDEX_COLUMNS, values, strict=True)) | {"recipe": made_of}
        with self._journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.rows[tar.split, tar.shard] = row

    def publish(self, tars: Sequence[PlannedTar]) -> pd.DataFrame:
        """Move the tars to their place and write the index, last; return it."""
        rows = [self.rows[tar.split, tar.shard] for tar in tars]
        rows = [{column: row[column] for column in INDEX_COLUMNS} for row in rows]
        for split in dict.fromkeys(tar.split for tar in tars):
            (self.folder / split).rename(self.published / split)
        write_json(self.published / "index.json", rows)
        remove(self.folder)
        return pd.DataFrame(rows, columns=list(INDEX_COLUMNS))


def _recipe(tar: PlannedTar, config: ShardConfig) -> str:
    """Return what a tar is to be made of."""
    return recipe(((row["sha256"], text_members(row)) for row in tar.table.to_dict("records")), config)
