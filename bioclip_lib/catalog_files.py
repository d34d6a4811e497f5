"""Catalogs that do not fit in memory: the same functions as in notebook 01, a part of the rows at a time.

Takes a Parquet file of raw rows; writes the catalog that the functions of `resolution`, `catalog`, `dedup` and `splits`
would make of the whole table. In memory are the distinct names, one part, and of all rows the few columns that decide
on duplicates and splits.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .catalog import COLUMNS, assign_splits, build_catalog, check_rows, check_set
from .config import DataConfig, SplitConfig
from .dedup import IMAGE_COLUMNS, inspect_images, mark_exact_duplicates, mark_near_duplicates
from .errors import InputError
from .homonyms import CONTEXT_RANKS
from .images import map_threads
from .paths import atomic
from .perceptual import from_hex
from .resolution import KEY, context_of, open_backbones, resolve_raw_names
from .splits import class_key

PART_ROWS = 100_000
_NO_HASH = "0" * 16  # of files that were not read
_LABELS = ("source", "class_key", "excluded", "split")
_SCHEMA = pa.schema([(name, pa.int64() if name in ("width", "height") else pa.string()) for name in COLUMNS])


def inspect_file(raw: str | Path, out: str | Path, mapper: Callable = map_threads) -> None:
    """Decode every image of a file of raw rows once.

    Parameters
    ----------
    raw : str or Path
        Parquet, the columns of the raw table.
    out : str or Path
        Takes the same rows beside the columns of `bioclip_lib.dedup.inspect_images`; it appears when it is whole.
    mapper : callable
        As of `inspect_images`: `bioclip_lib.cluster.map_ray` spreads the images over a cluster.
    """
    with atomic(out) as tmp:
        parts = (_inspected(part, mapper) for part in _parts(raw))
        first = pa.Table.from_pandas(next(parts), preserve_index=False)
        rest = (pa.Table.from_pandas(part, first.schema, preserve_index=False) for part in parts)
        _write(itertools.chain([first], rest), tmp, first.schema)


def _inspected(part: pd.DataFrame, mapper: Callable) -> pd.DataFrame:
    images = inspect_images(part, mapper=mapper)
    return pd.concat([part.drop(columns="problem", errors="ignore"), images], axis=1)


def resolve_file(raw: str | Path, data: DataConfig, overrides: pd.DataFrame | None = None) -> pd.DataFrame:
    """Resolve the distinct names of a file of raw rows.

    Parameters
    ----------
    raw : str or Path
        Parquet, the columns of the raw table.
    data : DataConfig
        Its backbones are read.
    overrides : pd.DataFrame, optional

    Returns
    -------
    pd.DataFrame
        As `bioclip_lib.resolution.resolve_raw_names`.
    """
    columns = ["source", "verbatim_name", *CONTEXT_RANKS, "common_name"]
    names, waiting = pd.DataFrame(), []
    for part in _parts(raw, columns):
        waiting.append(_distinct_names(part))
        if sum(map(len, waiting)) > max(len(names), PART_ROWS):
            names, waiting = _distinct_names(pd.concat([names, *waiting])), []
    return resolve_raw_names(_distinct_names(pd.concat([names, *waiting])), overrides, open_backbones(data))


def _distinct_names(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep one row of each name in its context, one with a common name if there is one."""
    if "common_name" in rows:
        rows = rows.sort_values("common_name", ascending=False, kind="stable")
    return rows.assign(context=context_of(rows)).drop_duplicates(list(KEY)).drop(columns="context").sort_index()


def build_catalog_file(raw: str | Path, names: pd.DataFrame, out: str | Path, split: SplitConfig) -> pd.Series:
    """Build the catalog of a file of raw rows: names joined, duplicates marked, splits assigned.

    Parameters
    ----------
    raw : str or Path
        Parquet, of `inspect_file`.
    names : pd.DataFrame
        Of `resolve_file`.
    out : str or Path
        ``catalog.parquet``; it appears when it is whole.
    split : SplitConfig

    Returns
    -------
    pd.Series
        Images by split, '' for those that are excluded.

    Raises
    ------
    InputError
        If a column is missing, or the catalog breaks its contract.

    Notes
    -----
    The result is that of the functions on the whole table, row by row.
    """
    lacking = set(IMAGE_COLUMNS) - set(pq.read_schema(raw).names)
    if lacking:
        raise InputError(f"{raw} has no columns {sorted(lacking)}; inspect its images first")
    out = Path(out)
    joined = out.with_name(f".{out.name}.joined")
    try:
        schema = _SCHEMA.append(pa.field("class_key", pa.string()))
        parts = (build_catalog(part, names, part) for part in _parts(raw))
        parts = (part.assign(class_key=class_key(part)) for part in parts)
        _write((pa.Table.from_pandas(part, schema, preserve_index=False) for part in parts), joined, schema)
        decided = assign_splits(mark_near_duplicates(mark_exact_duplicates(_decisive_columns(joined))), split)
        check_set(decided)
        with atomic(out) as tmp:
            _write(_with_decisions(joined, decided[["excluded", "split"]].astype(str)), tmp, _SCHEMA)
    finally:
        joined.unlink(missing_ok=True)
    return decided["split"].astype(str).value_counts()


def _parts(path: str | Path, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
    """Read a Parquet file part by part, with a running index."""
    file, start = pq.ParquetFile(path), 0
    there = None if columns is None else [name for name in columns if name in file.schema_arrow.names]
    for batch in file.iter_batches(PART_ROWS, columns=there):
        part = batch.to_pandas()
        yield part.set_index(pd.RangeIndex(start, start + len(part)))
        start += len(part)


def _write(tables: Iterator[pa.Table], path: Path, schema: pa.Schema) -> None:
    """Write parts of a catalog as row groups of one file."""
    with pq.ParquetWriter(path, schema) as writer:
        for table in tables:
            writer.write_table(table)


def _decisive_columns(path: Path) -> pd.DataFrame:
    """Read what duplicates and splits depend on: digests as numbers, equal where they are; ids as Arrow strings."""
    digests = pc.dictionary_encode(pq.read_table(path, columns=["sha256"])["sha256"].combine_chunks()).indices
    numbers = {"sha256": digests.to_numpy()}
    parts = _parts(path, ["phash", "excluded"])
    hashes = (part["phash"].mask(part["excluded"] != "", _NO_HASH).to_numpy() for part in parts)
    numbers["phash"] = np.concatenate([from_hex(part) for part in hashes])
    columns = ["image_id", "width", "height", *_LABELS]
    table = pq.read_table(path, columns=columns, read_dictionary=list(_LABELS)).unify_dictionaries()
    rows = table.to_pandas(types_mapper={pa.string(): pd.ArrowDtype(pa.string())}.get, self_destruct=True)
    return rows.astype(dict.fromkeys(_LABELS, object)).assign(**numbers)  # rows of a category share one string


def _with_decisions(path: Path, decided: pd.DataFrame) -> Iterator[pa.Table]:
    """Read the catalog part by part, with what was decided on the whole."""
    start = 0
    for batch in pq.ParquetFile(path).iter_batches(PART_ROWS, columns=list(COLUMNS)):
        rows = decided.iloc[start : start + batch.num_rows]
        start += batch.num_rows
        table = pa.Table.from_batches([batch])
        for name in decided:
            table = table.set_column(COLUMNS.index(name), name, pa.array(rows[name], pa.string()))
        check_rows(table.to_pandas())
        yield table
