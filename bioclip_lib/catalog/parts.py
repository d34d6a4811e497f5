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

from ..config import DataConfig, SplitConfig
from ..errors import InputError
from ..run import atomic
from ..sources.match import SPLIT_COLUMN
from ..taxonomy.resolution import CONTEXT_COLUMNS, KEY, context_of, open_backbones, resolve
from ..workers import map_threads
from .duplicates import IMAGE_COLUMNS, find_near_images, inspect_images, mark_exact_duplicates, mark_near_duplicates
from .duplicates import read_details as read_details_of
from .extend import keep_exclusions
from .leaks import find_leaks, remove_leaks
from .licences import exclude_licenses
from .perceptual import from_hex
from .splits import class_key, published_splits
from .table import COLUMNS, assign_splits, build_catalog, check_rows, check_set, read_catalog

PART_ROWS = 100_000
_NO_HASH = "0" * 16  # of files that were not read
_LABELS = ("source", "class_key", "license", "excluded", "split")
_NUMBERS = ("width", "height")
_ARROW_STRING = pd.ArrowDtype(pa.string())
_SCHEMA = pa.schema([(name, pa.int64() if name in _NUMBERS else pa.string()) for name in COLUMNS])


def inspect_file(raw: str | Path, out: str | Path, mapper: Callable = map_threads) -> None:
    """Decode every image of a file of raw rows once.

    Parameters
    ----------
    raw : str or Path
        Parquet, the columns of the raw table.
    out : str or Path
        Takes the same rows beside the columns of `catalog.duplicates.inspect_images`; it appears when it is whole.
    mapper : callable
        As of `inspect_images`: `workers.map_ray` spreads the images over a cluster.
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
        As `taxonomy.resolve`, as Arrow strings: a million names take a fifth of the memory.
    """
    columns = ["source", "verbatim_name", *CONTEXT_COLUMNS, "common_name"]
    names, waiting = pd.DataFrame(), []
    for part in _parts(raw, columns):
        waiting.append(_distinct_names(part))
        if sum(map(len, waiting)) > max(len(names), PART_ROWS):
            names, waiting = _distinct_names(pd.concat([names, *waiting])), []
    names = _distinct_names(pd.concat([names, *waiting]))
    del waiting, part
    return resolve(names, open_backbones(data), overrides).astype(_ARROW_STRING)


def _distinct_names(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep one row of each name in its context, one with a common name if there is one."""
    if "common_name" in rows:
        rows = rows.sort_values("common_name", ascending=False, kind="stable")
    return rows.assign(context=context_of(rows)).drop_duplicates(list(KEY)).drop(columns="context").sort_index()


def build_catalog_file(
    raw: str | Path,
    names: pd.DataFrame,
    out: str | Path,
    split: SplitConfig,
    data: DataConfig | None = None,
    read_details: bool = True,
) -> pd.Series:
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
    data : DataConfig, optional
        Its ``extends``, ``licenses`` and ``benchmark`` are followed; of a benchmark, ``leaks.csv`` beside the catalog
        says what leaked and why.
    read_details : bool
        Whether images of near hashes are read again, to see whether their details agree; without it the hashes decide.

    Returns
    -------
    pd.Series
        Images by split, '' for those that are excluded.

    Raises
    ------
    InputError
        If a column is missing, there are no rows, or the catalog breaks its contract; and as `extend.keep_exclusions`,
        `licenses.exclude_licenses` and `dedup.read_details`.

    Notes
    -----
    The result is that of the functions on the whole table, row by row.
    """
    lacking = set(IMAGE_COLUMNS) - set(pq.read_schema(raw).names)
    if lacking:
        raise InputError(f"{raw} has no columns {sorted(lacking)}; inspect its images first")
    out, data = Path(out), data or DataConfig()
    out.parent.mkdir(parents=True, exist_ok=True)
    joined = out.with_name(f".{out.name}.joined")
    try:
        _join(raw, names, joined)
        with pd.option_context("mode.copy_on_write", True):  # columns that a step leaves as they are stay uncopied
            decided, leaks = _decided(joined, split, data, read_details)
        if data.benchmark:
            with atomic(out.with_name("leaks.csv")) as tmp:
                leaks.to_csv(tmp, index=False)
        with atomic(out) as tmp:
            _write(_with_decisions(joined, decided[["excluded", "split"]].astype(str)), tmp, _SCHEMA)
    finally:
        joined.unlink(missing_ok=True)
    return decided["split"].astype(str).value_counts()


def _decided(
    joined: Path, split: SplitConfig, data: DataConfig, read_details: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return ``excluded`` and ``split`` of all rows, and the leaks into the benchmark."""
    earlier = read_catalog(data.extends) if data.extends else None
    decided, leaks = _decisive_columns(joined), pd.DataFrame()
    if earlier is not None:
        decided = keep_exclusions(decided, earlier)
    decided = mark_exact_duplicates(exclude_licenses(decided, data.licenses), earlier)
    near = decided.loc[find_near_images(decided).index]
    details = read_details_of(near.assign(location=_locations(joined, near.index))) if read_details else None
    decided.loc[near.index, "excluded"] = mark_near_duplicates(near, details=details, earlier=earlier)["excluded"]
    if data.benchmark:
        leaks = _leaks(joined, decided, read_catalog(data.benchmark))
        decided = remove_leaks(decided, leaks)
    decided = decided.drop(columns=["phash", *_NUMBERS, "license"])
    decided = assign_splits(decided, split, earlier)
    check_set(decided)
    return decided, leaks


def _join(raw: str | Path, names: pd.DataFrame, path: Path) -> None:
    """Write the catalog of every part, with its classes and published splits."""
    columns = ["source", SPLIT_COLUMN]
    said = pd.concat(part.drop_duplicates() for part in _parts(raw, columns)).drop_duplicates()
    schema = _SCHEMA.append(pa.field("class_key", pa.string()))

    def joined(part: pd.DataFrame) -> pa.Table:
        known = names[names["verbatim_name"].isin(part["verbatim_name"].unique())]  # the other keys need no joining
        catalog = build_catalog(part, known.astype(object), part)
        if SPLIT_COLUMN in part:  # whether a source has one split only is seen from all parts
            catalog["split"] = published_splits(pd.concat([part[columns], said])).to_numpy()[: len(part)]
        return pa.Table.from_pandas(catalog.assign(class_key=class_key(catalog)), schema, preserve_index=False)

    _write(map(joined, _parts(raw)), path, schema)


def _leaks(path: Path, decided: pd.DataFrame, benchmark: pd.DataFrame) -> pd.DataFrame:
    """Find the leaks of every part, as far as its images were not excluded by now."""
    columns = ["image_id", "sha256", "phash", "class_key"]
    parts = (part.assign(**decided.loc[part.index, ["excluded", "split"]]) for part in _parts(path, columns))
    leaks = pd.concat(find_leaks(part, benchmark) for part in parts)
    return leaks.sort_values(["image_id", "benchmark", "kind"], ignore_index=True)


def _locations(path: Path, rows: pd.Index) -> pd.Series:
    """Read where the images of some rows lie."""
    return pd.concat(part.loc[part.index.intersection(rows), "location"] for part in _parts(path, ["location"]))


def _parts(path: str | Path, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
    """Read a Parquet file part by part, with a running index: all but sizes and lists as text, never missing."""
    file, start = pq.ParquetFile(path), 0
    if not file.metadata.num_rows:
        raise InputError(f"{path} has no rows; write one row an image")
    there = None if columns is None else [name for name in columns if name in file.schema_arrow.names]
    for batch in file.iter_batches(PART_ROWS, columns=there):
        values = {
            name: column if name in _NUMBERS or pa.types.is_nested(column.type) else _text(column)
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        }
        part = pa.table(values).to_pandas()
        yield part.set_index(pd.RangeIndex(start, start + len(part)))
        start += len(part)


def _text(column: pa.Array) -> pa.Array:
    """Return a column as text, '' where missing."""
    return pc.fill_null(column.cast(pa.string()), "")


def _write(tables: Iterator[pa.Table], path: Path, schema: pa.Schema) -> None:
    """Write parts of a catalog as row groups of one file."""
    with pq.ParquetWriter(path, schema) as writer:
        for table in tables:
            writer.write_table(table)


def _decisive_columns(path: Path) -> pd.DataFrame:
    """Read what duplicates and splits depend on: digests as numbers, equal where they are; ids as Arrow strings."""
    n = pq.read_metadata(path).num_rows
    digests, hashes = np.empty((4, n), np.uint64), np.empty(n, np.uint64)
    for part in _parts(path, ["sha256", "phash", "excluded"]):
        rows = slice(part.index[0], part.index[-1] + 1)
        digest = part["sha256"].mask(part["sha256"] == "", 4 * _NO_HASH)
        for word in range(4):
            digests[word, rows] = from_hex(digest.str[16 * word : 16 * word + 16].to_numpy())
        hashes[rows] = from_hex(part["phash"].mask(part["excluded"] != "", _NO_HASH).to_numpy())
    numbers = {"sha256": _numbered(digests), "phash": hashes}
    del digests, part
    columns = ["image_id", *_NUMBERS, *_LABELS]
    table = pq.read_table(path, columns=columns, read_dictionary=list(_LABELS)).unify_dictionaries()
    rows = table.to_pandas(types_mapper={pa.string(): _ARROW_STRING}.get, self_destruct=True)
    return rows.astype(dict.fromkeys(_LABELS, object)).assign(**numbers)  # rows of a category share one string


def _numbered(words: np.ndarray) -> np.ndarray:
    """Number the distinct columns of an array (w, n): equal numbers, int32 (n,), where all words are equal.

    Examples
    --------
    >>> _numbered(np.array([[7, 5, 7, 7], [1, 1, 2, 1]])).tolist()
    [1, 0, 2, 1]
    """
    order = np.lexsort(words[::-1])
    is_new = np.zeros(len(order), bool)
    for word in words:
        word = word[order]
        is_new[1:] |= word[1:] != word[:-1]
    numbers = np.empty(len(order), np.int32)
    numbers[order] = np.cumsum(is_new)
    return numbers


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
