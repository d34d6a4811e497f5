"""What a catalog cannot be worked with: refused with the next action, what rows tell alone before images are read."""

import pandas as pd
import pyarrow as pa

from ..config import Config, DataConfig, SplitConfig
from ..errors import InputError
from ..sources.columns import BY_DESIGN, EMPTY
from .licences import exclude_licenses
from .names import OF_RAW, Names
from .splits import TRAINING, usable

_AS_ASKED = ("no name", "licence ", "leak into ")  # how reasons begin that the user, or nobody, gave a class for
_N_SHOWN = 10


def check_classes(raw: pd.DataFrame, names: pd.DataFrame, config: Config) -> None:
    """Refuse, before an image is read, too many files that are not there, and classes with too few images.

    Raises
    ------
    InputError
        If more than ``data.max_unreadable`` of the files cannot be read, or a class has fewer than
        ``split.min_images``. `build` counts again what can be used; where another catalog decides which images are left
        out (``data.extends``, ``data.benchmark``), it alone can tell.
    """
    if config.data.extends or config.data.benchmark:
        return
    text = raw[[column for column in OF_RAW if column in raw]].fillna("").astype(str)
    rows = text[[column for column in ("source", "source_id", "license") if column in text]]
    rows = rows.assign(excluded=raw["problem"].fillna("") if "problem" in raw else "")
    _refuse_unreadable(rows, config.data, rows["excluded"] != "")
    found = Names(names)
    place = found.find(pa.Table.from_pandas(text, preserve_index=False))
    rows["class_key"] = found.rows["class_key"].to_numpy()[place]
    if "license" in rows:
        rows = exclude_licenses(rows, config.data.licenses)
    named = text["verbatim_name"].str.strip() != ""
    _refuse_small(rows["class_key"][usable(rows) & named].value_counts(), config.split)


def find_synonym_classes(catalog: pd.DataFrame) -> pd.DataFrame:
    """Find species that one source holds under several class names: ``source, scientific_name, verbatim_names``."""
    species = catalog[usable(catalog) & (catalog["rank"] == "species")]
    pairs = species[["source", "scientific_name", "verbatim_name"]].drop_duplicates()
    pairs = pairs[pairs.duplicated(["source", "scientific_name"], keep=False)]
    names = pairs.groupby(["source", "scientific_name"])["verbatim_name"].agg(sorted)
    return names.rename("verbatim_names").reset_index()


def check_input(catalog: pd.DataFrame, data: DataConfig, split: SplitConfig, named: pd.DataFrame | None = None) -> None:
    """Refuse a catalog that cannot be worked with; files that are not there by design do not count."""
    _refuse_unreadable(catalog, data, (catalog["width"] == 0) & ~usable(catalog))
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


def _refuse_unreadable(rows: pd.DataFrame, data: DataConfig, is_lost: pd.Series) -> None:
    """Refuse too many files that cannot be read; those that are not there by design do not count."""
    meant = rows["excluded"].str.startswith(BY_DESIGN)
    n_files, lost = int((~meant).sum()), rows[is_lost & ~meant]
    if len(lost) > data.max_unreadable * n_files:
        first = lost.head(_N_SHOWN)
        which = _some(first["source"] + "/" + first["source_id"] + " (" + first["excluded"] + ")", len(lost))
        count, limit = f"{len(lost)} of {n_files}", f"SET=data.max_unreadable={len(lost) / n_files + 0.005:.2f}"
        if lost["excluded"].str.startswith("image not downloaded").all():
            tool = f"python -m bioclip_lib.sources.download {data.photos} --to FOLDER"
            raise InputError(f"{count} images are not there: {which}; download them ({tool}), or {limit}")
        raise InputError(f"{count} files cannot be read: {which}; replace or remove them, or {limit}")


def _check_sizes(catalog: pd.DataFrame, data: DataConfig, split: SplitConfig) -> None:
    """Refuse classes that are too small, too few classes, and splits without a test."""
    key, reasons = catalog["class_key"], catalog["excluded"]
    sizes = key[usable(catalog)].value_counts()
    meant = (*(reason for reason in BY_DESIGN if reason != EMPTY), *_AS_ASKED)
    is_lost = ~(reasons.str.startswith(meant) | (reasons == ""))
    if "unnamed" in catalog:  # "to sort" may hold nothing but copies of what is well named
        is_lost &= ~(catalog["unnamed"] & reasons.str.startswith(("duplicate of", "near duplicate of")))
    lost = set(key[is_lost]) - set(key[~is_lost]) - {""}
    if split.min_images > 1:  # who lowered it does without classes that have no image at all
        sizes = pd.concat([sizes, pd.Series(0, index=sorted(lost))])
    _refuse_small(sizes, split)
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


def _refuse_small(sizes: pd.Series, split: SplitConfig) -> None:
    """Refuse classes of too few images."""
    small = sizes[sizes < split.min_images].sort_index()
    if len(small):
        counts = [f"{name!r} ({n})" for name, n in small.items()]
        raise InputError(
            f"{len(small)} classes have fewer than {split.min_images} usable images: {_some(counts)}; add images, "
            "or SET=split.min_images=1 to keep such classes for training only, and to do without those of 0"
        )


def _some(items: list[str] | pd.Series, n_items: int = 0) -> str:
    """Join the first items and count the rest."""
    items = list(items)
    n_more = max(n_items, len(items)) - _N_SHOWN
    return ", ".join(items[:_N_SHOWN]) + (f" and {n_more} more" if n_more > 0 else "")
