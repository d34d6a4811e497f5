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
from ..errors import InputError
from ..sources.columns import SPLIT_COLUMN
from ..sources.match import BY_DESIGN
from ..sources.walk import EMPTY
from ..taxonomy.resolution import CONTEXT_COLUMNS, KEY, context_of
from .bursts import find_bursts
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
from .splits import TRAINING, assign_splits, published_splits, usable
from .table import (
    COLUMNS,
    NUMBERS,
    broken_decisions,
    broken_names,
    drop_summary,
    image_ids,
    name_classes,
    read_catalog,
    refuse,
)

SCHEMA = pa.schema([(name, pa.int64() if name in NUMBERS else pa.string()) for name in COLUMNS])
_RESOLVED = COLUMNS[COLUMNS.index("kingdom") : COLUMNS.index("license")]
_SCHEMA_OF_NAMES = pa.schema([SCHEMA.field(name) for name in (*_RESOLVED, "class_key")])
_LABELS = ("source", "license", "group", "excluded", SPLIT_COLUMN)  # few words, many rows
OF_RAW = (
    *("source", "source_id", "location", "verbatim_name", "license", "rights_holder", "source_url", "confidence"),
    *("group", *CONTEXT_COLUMNS, SPLIT_COLUMN),
)
_UNRESOLVED = "each name must be resolved once;{} resolve the names of this table"
_AS_ASKED = ("no name", "licence ", "leak into ")  # how reasons begin that the user, or nobody, gave a class for
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
        ``table``, the catalog, n rows in the order of `raw`, whose ``excluded`` is '' or the reason; ``dropped``, the
        reasons counted; ``near_conflicts``, images that look the same under different classes; ``leaks`` into
        ``data.benchmark`` (`leaks.find_leaks`).

    Raises
    ------
    InputError
        If the catalog cannot be worked with (`check_input`); the message gives the next action.
    ValueError
        If a name is not resolved exactly once, or `images` is not aligned with `raw`.

    Notes
    -----
    In this order: what ``data.extends`` excluded, licences, exact duplicates, near duplicates (hashes, then the details
    of the pixels), leaks, bursts, splits. Beyond memory `parts.build_catalog_file` goes through the same steps.
    """
    rows, found = _aligned(raw, images), Names(names)
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


class Names:
    """The resolved names as a table of integers' meanings, and the integer of each raw row."""

    def __init__(self, names: pd.DataFrame) -> None:
        table = pa.Table.from_pandas(names[[*KEY, *_RESOLVED]].fillna(""), preserve_index=False)
        table = encoded(table)  # rows of one word share it: a million names take little memory
        rows = table.select([*KEY[:2], "family", "kingdom", "rank", "name_status", "scientific_name"]).to_pandas()
        rows = rows.astype(object)
        refuse(broken_names(rows))
        rows["class_key"] = name_classes(rows)
        self.rows = rows.drop(columns=["family", "kingdom", "name_status"])
        self._table = table.select(_RESOLVED).append_column(
            "class_key", pa.array(rows["class_key"]).dictionary_encode()
        )
        columns = {name: table[name].combine_chunks() for name in KEY}
        self._words = {name: pd.Index(column.dictionary.to_pandas()) for name, column in columns.items()}
        self._index = pd.Index(self._code({name: column.indices.to_numpy() for name, column in columns.items()}))
        if not self._index.is_unique:
            raise ValueError(_UNRESOLVED.format(""))

    def _code(self, numbers: dict[str, np.ndarray]) -> np.ndarray:
        """Return one integer for the numbers of source, name and context; -1 where one of them is not known."""
        code = np.zeros(len(numbers["source"]), np.int64)
        for name in KEY:
            code = code * len(self._words[name]) + numbers[name].astype(np.int64)
        return np.where(np.minimum.reduce([numbers[name] for name in KEY]) < 0, -1, code)

    def find(self, raw: pa.Table) -> np.ndarray:
        """Return the row of each raw row's name in its context, int32 (n,)."""
        words = encoded(raw.select(["source", "verbatim_name"]))
        numbers = {}
        for name, column in zip(words.column_names, words.columns, strict=True):
            column = column.combine_chunks()
            numbers[name] = self._words[name].get_indexer(column.dictionary.to_pandas())[column.indices.to_numpy()]
        contexts = raw.select([rank for rank in CONTEXT_COLUMNS if rank in raw.column_names])
        number = row_numbers(contexts) if contexts.num_columns else np.zeros(len(raw), int)
        first = np.unique(number, return_index=True)[1]
        said = contexts.take(first).to_pandas() if contexts.num_columns else pd.DataFrame(index=[0])
        numbers["context"] = self._words["context"].get_indexer(context_of(said))[number]
        rows = self._index.get_indexer(self._code(numbers))
        if (rows < 0).any():
            missing = raw["verbatim_name"].filter(pa.array(rows < 0)).unique().to_pylist()
            raise ValueError(_UNRESOLVED.format(f" missing: {missing[:5]};"))
        return rows.astype(np.int32)

    def take(self, rows: np.ndarray) -> pa.Table:
        """Return what the integers stand for."""
        return self._table.take(pa.array(rows)).cast(_SCHEMA_OF_NAMES)


def row_numbers(table: pa.Table) -> np.ndarray:
    """Return which of its distinct rows each row of a table of text is, numbered as they appear: int (n,)."""
    words = encoded(table).to_pandas()
    return words.groupby(list(words), sort=False, observed=True).ngroup().to_numpy()


def encoded(table: pa.Table) -> pa.Table:
    """Return a table of text with each column as integers and words."""
    columns = zip(table.column_names, table.columns, strict=True)
    return pa.table({name: column.combine_chunks().cast(pa.string()).dictionary_encode() for name, column in columns})


def survey(
    parts: Iterable[pa.Table], names: Names, data: DataConfig
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame | None, pd.DataFrame | None]:
    """Collect what decides on all rows; return it, the names in use, and the catalogs extended and spared, if any."""
    tables, digests = zip(*(_survey(part, names) for part in parts), strict=True)
    earlier, benchmark = (read_catalog(path) if path else None for path in (data.extends, data.benchmark))
    others = [_digests(pa.array(catalog["sha256"])) for catalog in (earlier, benchmark) if catalog is not None]
    numbers = _numbered(np.concatenate([*digests, *others], axis=1))
    table = pa.concat_tables(tables).unify_dictionaries()
    labels = [name for name in _LABELS if name in table.column_names]
    del tables, digests
    rows = table.to_pandas(types_mapper={pa.string(): _ARROW_STRING}.get, self_destruct=True)
    rows = rows.astype(dict.fromkeys(labels, object))  # rows of one word share it
    rows["image_id"] = pd.Series(pd.array(_hex(rows["image_id"].to_numpy()), _ARROW_STRING), rows.index)
    rows = rows.assign(sha256=numbers[: len(rows)], class_key=names.rows["class_key"].to_numpy()[rows["name"]])
    rows["unnamed"] = (names.rows["rank"] == "").to_numpy()[rows["name"]]
    rows["split"], place = published_splits(rows), len(rows)
    named = names.rows.iloc[np.unique(rows.loc[usable(rows), "name"])].assign(excluded="")
    found = []
    for catalog in (earlier, benchmark):
        n = 0 if catalog is None else len(catalog)
        found.append(catalog if catalog is None else catalog.assign(sha256=numbers[place : place + n]))
        place += n
    return rows.drop(columns=SPLIT_COLUMN, errors="ignore"), named, *found


def _survey(part: pa.Table, names: Names) -> tuple[pa.Table, np.ndarray]:
    """Return the deciding columns of a part, and its digests (2, n)."""
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
        "phash": from_hex(pc.if_else(out, _NO_HASH, part["phash"]).to_pylist()),
        "excluded": excluded.dictionary_encode(),
        **{number: part[number].cast(pa.int32()) for number in NUMBERS},
        **_moments(part),
        **{label: _label(part, label) for label in ("source", "license", "group")},
    }
    if SPLIT_COLUMN in part.column_names:
        columns[SPLIT_COLUMN] = _label(part, SPLIT_COLUMN)
    return pa.table(columns), _digests(digest)


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


def _digests(digests: pa.Array) -> np.ndarray:
    """Return the last 128 bits of SHA-256 digests as uint64 (2, n), 0 where there is none: more tell no more apart."""
    digests = pc.if_else(pc.equal(digests, ""), 4 * _NO_HASH, digests)
    return np.stack([from_hex(pc.utf8_slice_codeunits(digests, k, k + 16).to_pylist()) for k in (32, 48)])


def _numbered(words: np.ndarray) -> np.ndarray:
    """Number the distinct columns of an array (w, n): int32 (n,), equal where all words are equal."""
    order = np.lexsort(words[::-1])
    is_new = np.zeros(len(order), bool)
    for word in words:
        word = word[order]
        is_new[1:] |= word[1:] != word[:-1]
    numbers = np.empty(len(order), np.int32)
    numbers[order] = np.cumsum(is_new)
    return numbers


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


def find_synonym_classes(catalog: pd.DataFrame) -> pd.DataFrame:
    """Find species that one source holds under several class names: ``source, scientific_name, verbatim_names``."""
    species = catalog[usable(catalog) & (catalog["rank"] == "species")]
    pairs = species[["source", "scientific_name", "verbatim_name"]].drop_duplicates()
    pairs = pairs[pairs.duplicated(["source", "scientific_name"], keep=False)]
    names = pairs.groupby(["source", "scientific_name"])["verbatim_name"].agg(sorted)
    return names.rename("verbatim_names").reset_index()


def check_input(catalog: pd.DataFrame, data: DataConfig, split: SplitConfig, named: pd.DataFrame | None = None) -> None:
    """Refuse a catalog that cannot be worked with; files that are not there by design do not count."""
    files = catalog[~catalog["excluded"].str.startswith(BY_DESIGN)]
    unreadable = files[(files["width"] == 0) & ~usable(files)]
    if len(unreadable) > data.max_unreadable * len(files):
        which = unreadable["source"] + "/" + unreadable["source_id"] + " (" + unreadable["excluded"] + ")"
        count = f"{len(unreadable)} of {len(files)}"
        limit = f"SET=data.max_unreadable={len(unreadable) / len(files) + 0.005:.2f}"
        if unreadable["excluded"].str.startswith("image not downloaded").all():
            tool = f"python -m bioclip_lib.sources.download {data.photos} --to FOLDER"
            raise InputError(f"{count} images are not there: {_some(which)}; download them ({tool}), or {limit}")
        raise InputError(f"{count} files cannot be read: {_some(which)}; replace or remove them, or {limit}")
    synonyms = find_synonym_classes(catalog if named is None else named)
    if len(synonyms) and not data.merge_synonyms:
        pairs = [
            f"{' and '.join(map(repr, names))} are both {taxon} (in {source})"
            for source, taxon, names in synonyms.itertuples(index=False)
        ]
        raise InputError(
            f"class names that stand for one species: {_some(pairs)}; merge those folders, tell them apart in a "
            "names CSV (NAMES=...), or SET=data.merge_synonyms=true"
        )
    _check_sizes(catalog, data, split)


def _check_sizes(catalog: pd.DataFrame, data: DataConfig, split: SplitConfig) -> None:
    """Refuse classes that are too small, too few classes, and splits without a test."""
    key, reasons = catalog["class_key"], catalog["excluded"]
    sizes = key[usable(catalog)].value_counts()
    meant = (*(reason for reason in BY_DESIGN if reason != EMPTY), *_AS_ASKED)
    is_lost = ~(reasons.str.startswith(meant) | (reasons == ""))
    lost = set(key[is_lost]) - set(key[~is_lost]) - {""}
    if split.min_images > 1:  # who lowered it does without classes that have no image at all
        sizes = pd.concat([sizes, pd.Series(0, index=sorted(lost))])
    small = sizes[sizes < split.min_images].sort_index()
    if len(small):
        counts = [f"{name!r} ({n})" for name, n in small.items()]
        raise InputError(
            f"{len(small)} classes have fewer than {split.min_images} usable images: {_some(counts)}; add images, "
            "or SET=split.min_images=1 to keep such classes for training only, and to do without those of 0"
        )
    if len(sizes) < 2:
        lost = [f"{n:,} x {reason}" for reason, n in reasons[reasons != ""].value_counts().items()]
        left_out = f" (left out: {_some(lost)})" if lost else ""
        raise InputError(
            f"{len(sizes)} class with usable images{left_out}; at least two are needed: add images of another class"
        )
    decided = catalog[usable(catalog)]
    if split.test_fraction + split.heldout_fraction and not data.extends and decided["split"].isin(TRAINING).all():
        raise InputError(
            f"{' and '.join(sorted(decided['source'].unique()))} came with images to train and validate on and none to "
            "test on; SET=data.published_splits=false to split all anew, or "
            'SET="split.test_fraction=0 split.heldout_fraction=0" for training alone'
        )


def _some(items: list[str] | pd.Series, n: int = 10) -> str:
    """Join the first n items and count the rest."""
    items = list(items)
    return ", ".join(items[:n]) + (f" and {len(items) - n} more" if len(items) > n else "")
