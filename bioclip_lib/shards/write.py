"""WebDataset tars, written from the catalog for any stock loader.

Takes a catalog with splits; writes ``<split>/shard-%06d.tar``, and last index.parquet and index.json (`shards.read`). A
sample is ``<image_id>.jpg``, a text member per text type, a plain ``.txt`` and a ``.json``. Refuses images that are not
those of the catalog, and a folder in which another process writes.
"""

import contextlib
import itertools
import json
import tarfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from ..catalog.splits import SPLITS, seeded_order, usable
from ..config import ShardConfig
from ..files.archives import in_compressed_tar, reading_order
from ..run import atomic, file_sha256, full_disk_named, locked, remove, write_json
from ..run.workers import map_threads, progress
from .read import INDEX_COLUMNS, image_row, image_table, table_of_tar, write_image_index
from .samples import image_member, recipe, tar_sample, text_members

_UNPACKED = "unpacked"  # beside the splits, until these are written


def write_shards(
    catalog: pd.DataFrame,
    folder: str | Path,
    config: ShardConfig,
    mapper: Callable = map_threads,
) -> pd.DataFrame:
    """Write the usable images of a catalog as shards, split by split.

    Parameters
    ----------
    catalog : pd.DataFrame
        With splits assigned.
    folder : str or Path
        Shards of an earlier call are replaced; a call that was interrupted is gone on with.
    config : ShardConfig
    mapper : callable
        `run.workers.map_threads` or `run.workers.map_ray`: who encodes.

    Returns
    -------
    pd.DataFrame
        The index: ``split, shard, n_samples, bytes, sha256``, one row a tar.

    Raises
    ------
    InputError
        If an image is not the one that the catalog describes, the disk is full, or another process writes there.

    Notes
    -----
    The bytes depend on catalog and configuration alone, in a pseudo-random order, so that a tar is a mixed sample. Tars
    lie in ``.unfinished`` until all are written; then they are moved to their splits, and index.parquet and index.json
    follow: without the latter nothing is read. A compressed archive cannot be read in a random order: its images are
    first encoded in its own, into tars that need as much space again and are deleted at the end.
    """
    folder = Path(folder)
    tars = _plan(catalog, config.samples_per_shard)
    with full_disk_named(folder), UnfinishedShards(folder) as unfinished:
        todo = unfinished.reuse([*_plan_unpacked(tars, config.samples_per_shard), *tars], config)
        encoded: dict[str, tuple] = {}
        for split in dict.fromkeys(tar.split for tar in todo):
            of_split = [tar for tar in todo if tar.split == split]
            encoded = encoded or (unfinished.unpacked() if split != _UNPACKED else {})  # all of them are written first
            rows = (row for tar in of_split for row in tar.table.to_dict("records"))
            rows = ((row, encoded.get(row["image_id"])) for row in rows)
            n = sum(len(tar.table) for tar in of_split)
            samples = iter(
                progress(f"shards/{split}", "images", n, mapper(partial(_encoded, split=split, config=config), rows))
            )
            for tar in of_split:
                _write_tar(unfinished, tar, itertools.islice(samples, len(tar.table)), config)
            next(samples, None)  # none is left; a progress bar ends
        return unfinished.publish(tars)


class PlannedTar(NamedTuple):
    """A tar that a catalog and a configuration ask for, and its rows of the catalog."""

    split: str
    shard: str
    table: pd.DataFrame


def _plan(catalog: pd.DataFrame, samples_per_shard: int) -> list[PlannedTar]:
    """Return the tars of a catalog, each with its rows, in the order of splits and shards."""
    kept = catalog[usable(catalog)]
    kept = kept.assign(draw=seeded_order(kept["image_id"], seed=0))
    tables = {split: kept[kept["split"] == split].sort_values(["draw", "image_id"]) for split in SPLITS}
    return [tar for split, table in tables.items() for tar in _tars(split, table, samples_per_shard)]


def _plan_unpacked(tars: Sequence[PlannedTar], samples_per_shard: int) -> list[PlannedTar]:
    """Return the tars to which the images of compressed archives are written first, in the order of these."""
    columns = ["image_id", "class_key", "location", "sha256"]
    tables = [tar.table.loc[tar.table["location"].map(in_compressed_tar), columns] for tar in tars]
    if not any(map(len, tables)):
        return []
    table = pd.concat(tables)
    return _tars(_UNPACKED, table.iloc[reading_order(table["location"].tolist())], samples_per_shard)


def _tars(split: str, table: pd.DataFrame, samples_per_shard: int) -> list[PlannedTar]:
    """Return the tars of some rows, in their order."""
    parts = [table.iloc[start : start + samples_per_shard] for start in range(0, len(table), samples_per_shard)]
    return [PlannedTar(split, f"shard-{i:06d}.tar", part) for i, part in enumerate(parts)]


def _encoded(item: tuple[dict, tuple | None], split: str, config: ShardConfig) -> tuple[dict, bytes, dict]:
    """Encode a row of the catalog, unless its image is already encoded; return it, its image and its other members."""
    row, place = item
    if place is None:
        return row, image_member(row, config), _texts(row, split, config)
    path, offset, n_bytes = place
    with open(path, "rb") as file:
        file.seek(offset)
        return row, file.read(n_bytes), _texts(row, split, config)


def _texts(row: dict[str, str], split: str, config: ShardConfig) -> dict[str, bytes]:
    """Return the members of a sample beside its image; where that is kept for a while only, what its index needs."""
    if split == _UNPACKED:
        return {"json": json.dumps({"class_key": row["class_key"]}).encode()}
    return text_members(row, config)


def _write_tar(unfinished: "UnfinishedShards", tar: PlannedTar, samples: Iterable[tuple], config: ShardConfig) -> None:
    """Write a tar under a temporary name, rename it when whole, and record it."""
    digest, n_bytes, made_of, images = sha256(), 0, [], []
    with atomic(unfinished.path(tar)) as tmp, tmp.open("wb") as file:
        for row, image, texts in samples:
            place = (tar.split, tar.shard), n_bytes + tarfile.BLOCKSIZE
            images.append(image_row(row["image_id"], row["class_key"], *place, image))
            made_of.append((row["sha256"], texts))
            data = tar_sample(row["image_id"], image, texts)
            n_bytes += file.write(data)
            digest.update(data)
        data = bytes(2 * tarfile.BLOCKSIZE)
        n_bytes += file.write(data)
        digest.update(data)
    unfinished.add(tar, n_bytes, digest.hexdigest(), recipe(made_of, config), image_table(images))


class UnfinishedShards:
    """A build in progress: the folder ``.unfinished`` in a folder of shards; as a context, which locks the build.

    Entering removes what an earlier build published, the index first; `InputError` if another process builds there. A
    line of ``finished.jsonl`` is the index row of a finished tar and its ``recipe``, a digest of all it was made of. A
    tar is used again where recipe and bytes are the same, so that a build that goes on ends in the same bytes.
    """

    def __init__(self, folder: Path) -> None:
        self.published, self.folder = folder, folder / ".unfinished"
        self.rows: dict[tuple[str, str], dict] = {}
        self.images: dict[tuple[str, str], pa.Table] = {}
        self._journal = self.folder / "finished.jsonl"
        self._lock = locked(self.folder)

    def __enter__(self) -> "UnfinishedShards":
        self._lock.__enter__()
        left = self.published.glob(".*.tmp")  # of a killed process
        for path in (self.published / "index.json", self.published / "index.parquet", *left):
            remove(path)
        for split in SPLITS:
            remove(self.published / split)
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.__exit__(*error)

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
                self.images[tar.split, tar.shard] = table_of_tar(self.path(tar))
        kept = {self.folder / split / shard for split, shard in self.rows}
        for path in {*self.folder.glob("*/*")} - kept:
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

    def add(self, tar: PlannedTar, n_bytes: int, digest: str, made_of: str, images: pa.Table) -> None:
        """Record a finished tar, and where its images lie."""
        values = (tar.split, tar.shard, len(tar.table), n_bytes, digest)
        row = dict(zip(INDEX_COLUMNS, values, strict=True)) | {"recipe": made_of}
        with self._journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.rows[tar.split, tar.shard], self.images[tar.split, tar.shard] = row, images

    def unpacked(self) -> dict[str, tuple[Path, int, int]]:
        """Return where the images of compressed archives lie, as far as they are written: path, offset, bytes by id."""
        found = {}
        for (split, shard), table in self.images.items():
            if split == _UNPACKED:
                path, columns = self.folder / split / shard, (table[name] for name in ("image_id", "offset", "n_bytes"))
                rows = zip(*(column.to_pylist() for column in columns), strict=True)
                found |= {image_id: (path, offset, n_bytes) for image_id, offset, n_bytes in rows}
        return found

    def publish(self, tars: Sequence[PlannedTar]) -> pd.DataFrame:
        """Move the tars to their place and write the indices, index.json last; return it."""
        keys = [(tar.split, tar.shard) for tar in tars]
        rows = [{column: self.rows[key][column] for column in INDEX_COLUMNS} for key in keys]
        index = pd.DataFrame(rows, columns=list(INDEX_COLUMNS))
        for split in dict.fromkeys(tar.split for tar in tars):
            (self.folder / split).rename(self.published / split)
        write_image_index(self.published, index, [self.images[key] for key in keys])
        write_json(self.published / "index.json", rows)
        remove(self.folder)
        return index


def _recipe(tar: PlannedTar, config: ShardConfig) -> str:
    """Return what a tar is to be made of."""
    rows = tar.table.to_dict("records")
    return recipe(((row["sha256"], _texts(row, tar.split, config)) for row in rows), config)
