"""The image table: its schema, validation, classes and splits.

Takes the raw table, the resolved names and what the inspection of the files found; returns the catalog of DESIGN.md,
one row an image: rows in = rows out. Refuses rows that do not match and a table that breaks the contract.
"""

from hashlib import blake2b
from pathlib import Path

import numpy as np
import pandas as pd

from .. import RANKS
from ..config import DataConfig, SplitConfig
from ..errors import InputError
from ..run import atomic
from ..sources.match import BY_DESIGN
from ..taxonomy.resolution import KEY, STATUSES, context_of
from .extend import decided_splits
from .splits import SPLITS, TRAINING, class_key, published_splits, split_images, usable

COLUMNS = (
    *("image_id", "source", "source_id", "location", "verbatim_name"),
    *RANKS,
    *("scientific_name", "common_name", "rank", "name_status", "backbone", "taxon_id", "rule", "alternatives"),
    *("license", "rights_holder", "source_url", "sha256", "phash", "width", "height", "split", "excluded"),
)
_RESOLVED = COLUMNS[COLUMNS.index(RANKS[0]) : COLUMNS.index("license")]
_NUMBERS = ("width", "height")


def build_catalog(raw: pd.DataFrame, resolved: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """Join the raw table, the resolved names and the inspected files into the catalog.

    Parameters
    ----------
    raw : pd.DataFrame
        Of `sources.read`, n rows.
    resolved : pd.DataFrame
        One row a name of a source in a context, of `taxonomy.resolve`.
    images : pd.DataFrame
        Aligned with `raw`, of `catalog.duplicates.inspect_images`.

    Returns
    -------
    pd.DataFrame
        n rows in the order of `raw`, the columns `COLUMNS`; ``split`` as the makers published it, else still ''.

    Raises
    ------
    ValueError
        If a name is not resolved exactly once, or `images` is not aligned with `raw`.
    """
    if len(raw) != len(images):
        raise ValueError(f"{len(raw)} raw rows, {len(images)} inspected images; inspect the same table")
    rows = _rows_of_names(raw.assign(context=context_of(raw)), resolved)
    catalog = raw.reset_index(drop=True).reindex(columns=list(COLUMNS), fill_value="")
    catalog["image_id"] = [image_id(*key) for key in zip(catalog["source"], catalog["source_id"], strict=True)]
    for column in _RESOLVED:
        catalog[column] = resolved[column].to_numpy()[rows]
    for column in ("sha256", "phash", *_NUMBERS):
        catalog[column] = images[column].to_numpy() if column in images else ""
    catalog["excluded"] = images["problem"].to_numpy()
    catalog["split"] = published_splits(raw).to_numpy()
    nameless = (catalog["verbatim_name"].fillna("").str.strip() == "") & (catalog["excluded"] == "")
    catalog.loc[nameless, "excluded"] = "no name"
    return _typed(catalog)


def _rows_of_names(raw: pd.DataFrame, resolved: pd.DataFrame) -> np.ndarray:
    """Return the row of `resolved` that holds each raw row's name in its context."""
    known, wanted = (_joined(table[list(KEY)]) for table in (resolved, raw))
    if not known.is_unique:
        raise ValueError("each name must be resolved once; resolve the names of this table")
    rows = known.get_indexer(wanted)
    if (rows < 0).any():
        missing = raw.loc[rows < 0, "verbatim_name"].drop_duplicates().tolist()
        raise ValueError(f"each name must be resolved once; missing: {missing[:5]}; resolve the names of this table")
    return rows


def _joined(columns: pd.DataFrame) -> pd.Index:
    """Join text columns into one, so that rows which differ stay different whatever signs they hold."""
    first, *others = (columns[name].fillna("").str.replace("\0", "\0.", regex=False) for name in columns)
    return pd.Index(first.str.cat(others, sep="\0,"))


def _typed(catalog: pd.DataFrame) -> pd.DataFrame:
    """Give every column its type: int64 for sizes, str (never missing) for the others."""
    types = {column: "int64" if column in _NUMBERS else str for column in COLUMNS}
    return catalog.fillna({column: "" for column in COLUMNS if column not in _NUMBERS}).astype(types)


def image_id(source: str, source_id: str) -> str:
    """Return 16 hexadecimal digits that stand for an image wherever the run lies.

    Examples
    --------
    >>> image_id("birds100", "Blue_Jay/0001.jpg")
    'b7c2076156848191'
    """
    return blake2b(f"{source}/{source_id}".encode(), digest_size=8).hexdigest()


def assign_splits(catalog: pd.DataFrame, split: SplitConfig, earlier: pd.DataFrame | None = None) -> pd.DataFrame:
    """Assign train, val, test and heldout_species: `catalog.splits.split_images` on the usable images.

    Parameters
    ----------
    catalog : pd.DataFrame
        Published splits stay; images without one are split.
    split : SplitConfig
    earlier : pd.DataFrame, optional
        A catalog that this one extends. Its images keep their split, its held-out classes stay held out, in new
        sources too, and the classes that it has seen are seen; this goes before published splits.

    Returns
    -------
    pd.DataFrame
        A copy, in the same order, with ``split`` set; '' on excluded rows.

    Raises
    ------
    InputError
        If a fraction is outside [0, 1), val and test together leave nothing to train on, or a class of the earlier
        catalog would be on both sides.

    Notes
    -----
    Without `earlier`, a source whose classes and images are its own moves no image of another source; one that shares
    classes may, as a class held out in one source is held out in all.
    """
    kept = usable(catalog)
    table, seen = catalog.loc[kept, ["source", "image_id", "split"]].assign(class_key=class_key(catalog[kept])), set()
    if earlier is not None:
        table["split"], seen = decided_splits(catalog[kept], earlier)
    names = np.full(len(catalog), "", dtype=object)
    names[kept] = split_images(table.reset_index(drop=True), split, seen)
    return catalog.assign(split=names)


def drop_summary(catalog: pd.DataFrame) -> pd.DataFrame:
    """Count the excluded images by reason.

    Returns
    -------
    pd.DataFrame
        ``reason, n_images, n_classes, example`` (a source_id), the most frequent first. Duplicates are one reason.
    """
    dropped = catalog[~usable(catalog)]
    reason = dropped["excluded"].str.replace(r"duplicate of \w+$", "duplicate of a kept image", regex=True)
    table = pd.DataFrame({"reason": reason, "class_key": class_key(dropped), "example": dropped["source_id"]})
    groups = table.groupby("reason").agg(
        n_images=("example", "size"), n_classes=("class_key", "nunique"), example=("example", "first")
    )
    return groups.sort_values(["n_images", "reason"], ascending=[False, True], kind="stable").reset_index()


def find_synonym_classes(catalog: pd.DataFrame) -> pd.DataFrame:
    """Find species that one source holds under more than one class name.

    Returns
    -------
    pd.DataFrame
        ``source, scientific_name, verbatim_names`` (a sorted list), one row such a species.
    """
    species = catalog[usable(catalog) & (catalog["rank"] == "species")]
    names = species.groupby(["source", "scientific_name"])["verbatim_name"].agg(lambda column: sorted(column.unique()))
    names = names[names.map(len) > 1] if len(names) else names
    return names.rename("verbatim_names").reset_index()


def check_input(catalog: pd.DataFrame, data: DataConfig, split: SplitConfig) -> None:
    """Refuse a catalog that cannot be worked with, before it is split.

    Parameters
    ----------
    catalog : pd.DataFrame
        With duplicates marked.
    data, split : DataConfig, SplitConfig

    Raises
    ------
    InputError
        If too many files are unreadable, two class names of one source stand for one species, a class has fewer than
        ``split.min_images`` usable images, fewer than two classes are left, or published splits leave nothing to test
        on. The message gives the next action. Rows that have no file by the design of their data set do not count as
        unreadable.
    """
    files = catalog[~catalog["excluded"].str.startswith(BY_DESIGN)]
    unreadable = files[(files["width"] == 0) & ~usable(files)]
    if len(unreadable) > data.max_unreadable * len(files):
        named = unreadable["source"] + "/" + unreadable["source_id"] + " (" + unreadable["excluded"] + ")"
        raise InputError(
            f"{len(unreadable)} of {len(files)} files cannot be read: {_some(named)}; replace or remove them, "
            f"or SET=data.max_unreadable={len(unreadable) / len(files) + 0.005:.2f}"
        )
    synonyms = find_synonym_classes(catalog)
    if len(synonyms) and not data.merge_synonyms:
        pairs = [
            f"{' and '.join(map(repr, names))} are both {taxon} (in {source})"
            for source, taxon, names in synonyms.itertuples(index=False)
        ]
        raise InputError(
            f"class names that stand for one species: {_some(pairs)}; merge those folders, tell them apart in a "
            "names CSV (NAMES=...), or SET=data.merge_synonyms=true"
        )
    sizes = class_key(catalog)[usable(catalog)].value_counts()
    small = sizes[sizes < split.min_images].sort_index()
    if len(small):
        counts = [f"{name!r} ({n})" for name, n in small.items()]
        raise InputError(
            f"{len(small)} classes have fewer than {split.min_images} usable images: {_some(counts)}; add images, "
            "or SET=split.min_images=1 to keep such classes for training only"
        )
    if len(sizes) < 2:
        raise InputError(f"{len(sizes)} class with usable images; at least two are needed: add images of another class")
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


def check_catalog(catalog: pd.DataFrame) -> None:
    """Raise `InputError`, listing what is wrong, where a catalog breaks its contract."""
    check_rows(catalog)
    check_set(catalog)


def check_rows(catalog: pd.DataFrame) -> None:
    """Check what holds row by row: columns, types, vocabularies, and that a usable image has what it needs."""
    if tuple(catalog.columns) != COLUMNS:
        odd = set(COLUMNS) ^ set(catalog.columns)
        raise InputError(
            f"not a catalog: columns {sorted(odd) or 'out of order'}; build it with 01_dataset_construction"
        )
    text = catalog.drop(columns=list(_NUMBERS))
    kept = usable(catalog)
    _refuse(
        {
            "sizes are not integers": any(catalog[column].dtype != np.int64 for column in _NUMBERS),
            "text columns hold something else than text": any(
                pd.api.types.infer_dtype(text[column], skipna=False) not in ("string", "empty") for column in text
            ),
            "image_id is empty": (catalog["image_id"] == "").any(),
            "unknown name_status": not catalog["name_status"].isin(STATUSES).all(),
            "unknown rank": not catalog["rank"].isin(("", *RANKS)).all(),
            "unknown split": not catalog["split"].isin(("", *SPLITS)).all(),
            "an excluded image has a split": (catalog["split"] != "")[~kept].any(),
            "a usable image has no split": (catalog["split"] == "")[kept].any(),
            "a usable image has no size or digest": (
                (catalog["width"] < 1) | (catalog["height"] < 1) | (catalog["sha256"] == "")
            )[kept].any(),
        }
    )


def check_set(catalog: pd.DataFrame) -> None:
    """Check what holds of all rows together: ids, digests and held-out classes."""
    kept = usable(catalog)
    _refuse(
        {
            "image_id is not unique": not catalog["image_id"].is_unique,
            "a held-out class has images in another split": _heldout_leaks(catalog[kept]),
            "an image is kept twice": catalog.loc[kept, "sha256"].duplicated().any(),
        }
    )


def _refuse(broken: dict[str, bool]) -> None:
    wrong = [what for what, is_broken in broken.items() if is_broken]
    if wrong:
        raise InputError(
            f"the catalog breaks its contract: {'; '.join(wrong)}; rebuild it with 01_dataset_construction"
        )


def _heldout_leaks(kept: pd.DataFrame) -> bool:
    """Tell whether a class is both held out and elsewhere."""
    held = kept["split"] == "heldout_species"
    key = class_key(kept)
    return bool(set(key[held]) & set(key[~held]))


def write_catalog(catalog: pd.DataFrame, path: str | Path) -> None:
    """Check a catalog and write it as Parquet, atomically, in the order of its rows."""
    check_catalog(catalog)
    with atomic(path) as tmp:
        catalog.to_parquet(tmp, index=False)


def read_catalog(path: str | Path) -> pd.DataFrame:
    """Read a catalog and check it; `InputError` where there is none or it breaks its contract."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; run 01_dataset_construction first")
    try:
        catalog = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a catalog ({error}); rebuild it with 01_dataset_construction") from None
    check_catalog(catalog)
    return catalog
