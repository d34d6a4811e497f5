"""Catalogs that do not fit in memory: the steps of `assembly`, a part of the rows at a time.

Takes a Parquet file of raw rows; writes the catalog that `assembly.build` makes of the whole table. In memory are the
distinct names, one part, and of all rows the few columns that decide on duplicates and splits.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..config import DataConfig, SplitConfig
from ..errors import InputError
from ..files import write_csv
from ..run import atomic, remove
from ..run.workers import map_threads
from ..taxonomy.resolution import CONTEXT_COLUMNS, open_backbones, resolve
from .assembly import assemble, decide, survey
from .descriptions import described
from .duplicates import IMAGE_COLUMNS, describe_images, inspect_images
from .names import OF_RAW, SCHEMA, Names, row_numbers
from .table import NUMBERS

PART_ROWS = 100_000


def inspect_file(raw: str | Path, out: str | Path, mapper: Callable = map_threads) -> None:
    """Decode every image of a Parquet file of raw rows once; write the rows beside what was found, whole or not."""
    kept = _kept(out)
    with atomic(out) as tmp:
        parts = (_inspected(part.to_pandas(), mapper, kept / str(i)) for i, part in enumerate(_parts(raw)))
        first = pa.Table.from_pandas(next(parts), preserve_index=False)
        rest = (pa.Table.from_pandas(part, first.schema, preserve_index=False) for part in parts)
        _write(itertools.chain([first], rest), tmp, first.schema)
    remove(kept)


def _kept(out: str | Path) -> Path:
    """Return where parts of a file are kept until it is whole."""
    return Path(out).with_name(f".{Path(out).name}.parts")


def _inspected(part: pd.DataFrame, mapper: Callable, keep: Path) -> pd.DataFrame:
    images = inspect_images(part, mapper, keep)
    return pd.concat([part.drop(columns="problem", errors="ignore"), images], axis=1)


def resolve_file(raw: str | Path, data: DataConfig) -> pd.DataFrame:
    """Resolve the distinct names of a Parquet file of raw rows, as Arrow strings: a fifth of the memory."""
    names, waiting = None, []
    for part in _parts(raw, ["source", "verbatim_name", *CONTEXT_COLUMNS, "common_name"]):
        waiting.append(_distinct(part))
        if sum(map(len, waiting)) > PART_ROWS + (0 if names is None else len(names)):
            names, waiting = _distinct(pa.concat_tables([*([] if names is None else [names]), *waiting])), []
    names = _distinct(pa.concat_tables([*([] if names is None else [names]), *waiting])).to_pandas()
    return resolve(names, open_backbones(data)).astype(pd.ArrowDtype(pa.string()))


def _distinct(rows: pa.Table) -> pa.Table:
    """Return the first of equal rows."""
    return rows.take(np.unique(row_numbers(rows), return_index=True)[1])


def build_catalog_file(
    raw: str | Path,
    names: pd.DataFrame,
    out: str | Path,
    split: SplitConfig,
    data: DataConfig | None = None,
    read_details: bool = True,
) -> pd.Series:
    """Build the catalog of a file of raw rows; return the numbers of images by split, '' for those excluded.

    `raw` is of `inspect_file`, `names` of `resolve_file`; beside `out`, ``catalog.parquet``, lies ``leaks.csv`` where
    `data` names a benchmark. With `read_details` images of near hashes are read again.
    """
    lacking = set(IMAGE_COLUMNS) - {"taken"} - set(_open(raw).schema_arrow.names)
    if lacking:
        raise InputError(f"{raw} has no columns {sorted(lacking)}; inspect its images first")
    out, data = Path(out), data or DataConfig()
    found = Names(described(names, data.descriptions))
    kept = _kept(out)
    del names  # of millions of rows, unless the caller holds it
    describe = (
        (lambda near, what: describe_images(near.assign(location=_locations(raw, near.index)), kept / what))
        if read_details
        else None
    )
    surveyed = survey(_parts(raw, [*OF_RAW, *IMAGE_COLUMNS]), found, data)
    decided, leaks, *_ = decide(*surveyed, data, split, describe)
    if data.benchmark:
        write_csv(leaks, out.with_name("leaks.csv"))
    with atomic(out) as tmp:
        _write(_assembled(raw, found, decided), tmp, SCHEMA)
    remove(kept)
    return decided["split"].value_counts()


def _assembled(raw: str | Path, names: Names, decided: pd.DataFrame) -> Iterator[pa.Table]:
    """Yield the catalog of every part."""
    start = 0
    for part in _parts(raw):
        yield assemble(part, names, decided.iloc[start : start + len(part)])
        start += len(part)


def _locations(path: str | Path, rows: pd.Index) -> pd.Series:
    """Read where the images of some rows lie."""
    found, start = [], 0
    for part in _parts(path, ["location"]):
        here = rows[(rows >= start) & (rows < start + len(part))]
        found.append(pd.Series(part["location"].take(pa.array(here - start)).to_pylist(), index=here, dtype=object))
        start += len(part)
    return pd.concat(found)


def _parts(path: str | Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Read a Parquet file part by part: all but sizes and lists as text, never missing."""
    file = _open(path)
    there = None if columns is None else [name for name in columns if name in file.schema_arrow.names]
    for batch in file.iter_batches(PART_ROWS, columns=there):
        columns = zip(batch.schema.names, batch.columns, strict=True)
        yield pa.table({name: _value(name, column) for name, column in columns})


def _open(path: str | Path) -> pq.ParquetFile:
    """Open a Parquet file that has rows."""
    file = pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20)  # else all that was read stays in memory
    if not file.metadata.num_rows:
        raise InputError(f"{path} has no rows; write one row an image")
    return file


def _value(name: str, column: pa.Array) -> pa.Array:
    """Return a column as text, '' where missing; sizes as integers, lists as they are."""
    if name in NUMBERS:
        return column.cast(pa.int64()).fill_null(0)
    return column if pa.types.is_nested(column.type) else column.cast(pa.string()).fill_null("")


def _write(tables: Iterator[pa.Table], path: Path, schema: pa.Schema) -> None:
    """Write parts of a catalog as row groups of one file."""
    with pq.ParquetWriter(path, schema) as writer:
        for table in tables:
            writer.write_table(table)
