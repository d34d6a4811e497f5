"""From raw rows, their names and their inspected images to the catalog: the one way, in memory and in parts.

`survey` gives each row the integer of its name and collects the few columns that decide on duplicates and splits;
`decide` decides on all rows together; `assemble` writes out, part by part, what the integers stand for. Rows in = rows
out. Refuses names that were not resolved, and a catalog that cannot be worked with.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..config import Config, DataConfig, SplitConfig
from ..sources.columns import SPLIT_COLUMN
from .bursts import find_bursts
from .checks import check_input
from .descriptions import described
from .duplicates import (
    IMAGE_COLUMNS,
    describe_images,
    find_near_conflicts,
    find_near_images,
    mark_exact_duplicates,
    mark_near_duplicates,
)
from .extend import keep_exclusions, match_earlier
from .leaks import LEAK_COLUMNS, find_leaks, remove_leaks
from .licences import exclude_licenses
from .looks import from_hex
from .names import OF_RAW, SCHEMA, Names
from .splits import assign_splits, published_splits, usable
from .table import (
    COLUMNS,
    NUMBERS,
    broken_decisions,
    drop_summary,
    image_ids,
    read_catalog,
    refuse,
)

_LABELS = ("source", "license", "group", "excluded", SPLIT_COLUMN)  # few words, many rows
_NO_HASH = "0" * 16  # of files that were not read
_ARROW_STRING = pd.ArrowDtype(pa.string())


class Built(NamedTuple):
    """A catalog and what is to be looked at."""

    table: pd.DataFrame
    dropped: pd.DataFrame
    near_conflicts: pd.DataFrame
    leaks: pd.DataFrame


def build(
    raw: pd.DataFrame, names: pd.DataFrame, images: pd.DataFrame, config: Config, keep: Path | None = None
) -> Built:
    """Build the catalog: names joined, licences, duplicates and leaks excluded, images split.

    Parameters
    ----------
    raw : pd.DataFrame
        Of `sources.read_source`, n rows.
    names : pd.DataFrame
        One row a name of a source in a context, of `taxonomy.resolve`.
    images : pd.DataFrame
        Aligned with `raw`, of `inspect_images`.
    config : Config
        Its ``data`` and ``split`` are followed.
    keep : Path, optional
        As of `inspect_images`, for the details of images that look alike.

    Returns
    -------
    Built
        ``table``, the catalog, in the order of `raw`, whose ``excluded`` is '' or the reason; ``dropped``, the reasons
        counted; ``near_conflicts``, images that look the same under different classes; ``leaks`` into a benchmark.

    Raises
    ------
    InputError
        If the catalog cannot be worked with (`check_input`); the message gives the next action.

    Notes
    -----
    In this order: what ``data.extends`` excluded, licences, exact duplicates, near duplicates (hashes, then the details
    of the pixels), leaks, bursts, splits. Beyond memory `parts.build_catalog_file` goes through the same steps.
    """
    rows, found = _aligned(raw, images), Names(described(names, config.data.descriptions))
    locations = rows["location"].to_pandas()
    catalog, leaks, near, details = decide(
        *survey([rows], found, config.data),
        config.data,
        config.split,
        lambda near, what: describe_images(near.assign(location=locations[near.index]), keep and keep / what),
    )
    table = assemble(rows, found, catalog).to_pandas()
    return Built(table, drop_summary(table), find_near_conflicts(table.loc[near], details), leaks)


def join(raw: pd.DataFrame, names: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """Return the catalog with nothing decided: no duplicates, and no splits but published ones."""
    rows, found = _aligned(raw, images), Names(names)
    return assemble(rows, found, survey([rows], found, DataConfig())[0]).to_pandas()


def _aligned(raw: pd.DataFrame, images: pd.DataFrame) -> pa.Table:
    """Return the columns of raw rows and their images that a catalog is made of: text and sizes, never missing."""
    if len(raw) != len(images):
        raise ValueError(f"{len(raw)} raw rows, {len(images)} inspected images; inspect the same table")
    raw = raw.reset_index(drop=True)[[column for column in OF_RAW if column in raw]]
    images = images.reset_index(drop=True).reindex(columns=list(IMAGE_COLUMNS), fill_value="")
    sizes = images[list(NUMBERS)].fillna(0).astype("int64")
    text = pd.concat([raw, images.drop(columns=list(NUMBERS))], axis=1).fillna("").astype(str)
    return pa.Table.from_pandas(pd.concat([text, sizes], axis=1), preserve_index=False)


def survey(
    parts: Iterable[pa.Table], names: Names, data: DataConfig
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame | None, pd.DataFrame | None]:
    """Collect what decides on all rows; return it, the names in use, and the catalogs extended and spared, if any."""
    table = pa.concat_tables(_survey(part, names) for part in parts).unify_dictionaries()
    labels = [name for name in _LABELS if name in table.column_names]
    rows = table.to_pandas(types_mapper={pa.string(): _ARROW_STRING}.get, self_destruct=True)
    rows = rows.astype(dict.fromkeys(labels, object))  # rows of one word share it
    rows["image_id"] = pd.Series(pd.array(_hex(rows["image_id"].to_numpy()), _ARROW_STRING), rows.index)
    rows["class_key"] = names.rows["class_key"].to_numpy()[rows["name"]]
    rows["unnamed"] = (names.rows["rank"] == "").to_numpy()[rows["name"]]
    rows["split"] = published_splits(rows)
    named = names.rows.iloc[np.unique(rows.loc[usable(rows), "name"])].assign(excluded="")
    others = (read_catalog(path) if path else None for path in (data.extends, data.benchmark))
    earlier, benchmark = (None if other is None else other.assign(sha256=_digests(other["sha256"])) for other in others)
    return rows.drop(columns=SPLIT_COLUMN, errors="ignore"), named, earlier, benchmark


def _survey(part: pa.Table, names: Names) -> pa.Table:
    """Return the deciding columns of a part."""
    name = names.find(part)
    blank = pa.array((names.rows["verbatim_name"].str.strip() == "").to_numpy()[name])
    excluded = pc.if_else(pc.and_(pc.equal(part["problem"], ""), blank), "no name", part["problem"]).combine_chunks()
    out = pc.not_equal(excluded, "")
    digest = part["sha256"].combine_chunks()
    measured = pc.and_(pc.not_equal(digest, ""), pc.greater(pc.min_element_wise(part["width"], part["height"]), 0))
    refuse({"a usable image has no size or digest": not pc.all(pc.or_(out, measured), min_count=0).as_py()})
    columns = {
        "name": name,
        "image_id": image_ids(part["source"].to_pylist(), part["source_id"].to_pylist()),
        "source_id": pc.if_else(pc.less(part["width"], 1), part["source_id"], ""),
        "sha256": _digests(digest),
        "phash": from_hex(pc.if_else(out, _NO_HASH, part["phash"]).to_pylist()),
        "excluded": excluded.dictionary_encode(),
        **{number: part[number].cast(pa.int32()) for number in NUMBERS},
        **_moments(part),
        **{label: _label(part, label) for label in ("source", "license", "group")},
    }
    if SPLIT_COLUMN in part.column_names:
        columns[SPLIT_COLUMN] = _label(part, SPLIT_COLUMN)
    return pa.table(columns)


def _moments(part: pa.Table) -> dict[str, pa.Array]:
    """Return when the images of a part were taken, in seconds, 0 where unknown, and the folder of those."""
    if "taken" not in part.column_names:
        return {
            "taken": pa.array(np.zeros(len(part), np.int64)),
            "folder": pa.repeat("", len(part)).dictionary_encode(),
        }
    taken = pd.to_datetime(part["taken"].to_pandas().astype(object), format="%Y:%m:%d %H:%M:%S", errors="coerce")
    seconds = pa.array(taken.to_numpy("datetime64[s]").astype("int64")).cast(pa.int64())
    seconds = pa.array(np.where(taken.isna(), 0, seconds.to_numpy()))
    folder = pc.if_else(pc.equal(seconds, 0), "", pc.replace_substring_regex(part["location"], r"[^/\\\\]*$", ""))
    return {"taken": seconds, "folder": folder.combine_chunks().dictionary_encode()}


def _hex(numbers: np.ndarray) -> pa.Array:
    """Return uint64 numbers as text of 16 hexadecimal digits."""
    digits = pa.py_buffer(numbers.astype(">u8").tobytes().hex().encode())
    offsets = pa.py_buffer(np.arange(0, 16 * len(numbers) + 1, 16, np.int32))
    return pa.StringArray.from_buffers(len(numbers), offsets, digits)


def _label(part: pa.Table, name: str) -> pa.Array:
    """Return a column of a part as integers and words, '' where there is none."""
    there = part[name].combine_chunks() if name in part.column_names else pa.repeat("", len(part))
    return there.dictionary_encode()


def _digests(digests: pd.Series | pa.Array) -> np.ndarray:
    """Return the last 64 bits of SHA-256 digests, 0 where there is none: of 10^8 files two alike are not expected."""
    digests = pa.array(digests)
    return from_hex(pc.utf8_slice_codeunits(pc.if_else(pc.equal(digests, ""), 4 * _NO_HASH, digests), 48).to_pylist())


def decide(
    rows: pd.DataFrame,
    named: pd.DataFrame,
    earlier: pd.DataFrame | None,
    benchmark: pd.DataFrame | None,
    data: DataConfig,
    split: SplitConfig,
    describe: Callable | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.Index, pd.DataFrame | None]:
    """Decide ``excluded`` and ``split`` of all rows; return them, the leaks, and rows of near hashes."""
    if earlier is not None:
        rows = keep_exclusions(rows.assign(earlier_row=match_earlier(rows, earlier)), earlier)
    rows = mark_exact_duplicates(exclude_licenses(rows, data.licenses))
    near = rows.loc[find_near_images(rows).index]
    details = describe(near, "details") if describe else None
    excluded = rows["excluded"].copy()
    excluded[near.index] = mark_near_duplicates(near, details)["excluded"]
    rows, leaks = rows.assign(excluded=excluded), pd.DataFrame(columns=list(LEAK_COLUMNS))
    if benchmark is not None:
        leaks = find_leaks(rows, benchmark)
        rows = remove_leaks(rows, leaks)
    check_input(rows, data, split, named)
    if data.source == "photos":  # each invented image is of a moment of its own
        rows["group"] = find_bursts(rows, data.burst_s, describe)
    rows = rows.drop(columns=["source_id", "phash", "license", "unnamed", "taken", "folder", *NUMBERS])  # what decided
    rows = assign_splits(rows, split, earlier)
    refuse(broken_decisions(rows))
    return rows, leaks, near.index, details


def assemble(raw: pa.Table, names: Names, decided: pd.DataFrame) -> pa.Table:
    """Return the catalog of a part of the raw rows, in `COLUMNS`, from what was decided on them."""
    columns = dict(zip(raw.column_names, raw.columns, strict=True))
    of_names = names.take(decided["name"].to_numpy())
    columns |= dict(zip(of_names.column_names, of_names.columns, strict=True))
    columns |= {name: pa.array(decided[name], pa.string()) for name in ("image_id", "excluded", "split", "group")}
    blank = pa.repeat("", len(decided))
    return pa.table({name: columns.get(name, blank) for name in COLUMNS}, SCHEMA)
