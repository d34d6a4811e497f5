"""What a catalog cannot be worked with: refused with the next action, what rows tell alone before images are read."""

import pandas as pd
import pyarrow as pa

from ..config import Config, DataConfig, SplitConfig
from ..errors import InputError
from ..sources.match import BY_DESIGN
from ..sources.walk import EMPTY
from .licences import exclude_licenses
from .names import OF_RAW, Names
from .splits import TRAINING, usable

_AS_ASKED = ("no name", "licence ", "leak into ")  # how reasons begin that the user, or nobody, gave a class for


def check_classes(raw: pd.DataFrame, names: pd.DataFrame, config: Config) -> None:
    """Refuse, before an image is read, classes with too few images; `build` counts again what can be used.

    Parameters
    ----------
    raw, names, config
        As of `build`.

    Raises
    ------
    InputError
        If a class has fewer than ``split.min_images`` images. Where another catalog decides which images are left out
        (``data.extends``, ``data.benchmark``), only `build` can tell.
    """
    if config.data.extends or config.data.benchmark:
        return
    found = Names(names)
    text = raw[[column for column in OF_RAW if column in raw]].fillna("").astype(str)
    place = found.find(pa.Table.from_pandas(text, preserve_index=False))
    rows = pd.DataFrame({"class_key": found.rows["class_key"].to_numpy()[place]})
    rows["license"] = text["license"].to_numpy() if "license" in text else ""
    rows["excluded"] = raw["problem"].fillna("").to_numpy() if "problem" in raw else ""
    rows = exclude_licenses(rows, config.data.licenses)
    named = text["verbatim_name"].str.strip().to_numpy() != ""
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


def _some(items: list[str] | pd.Series, n: int = 10) -> str:
    """Join the first n items and count the rest."""
    items = list(items)
    return ", ".join(items[:n]) + (f" and {len(items) - n} more" if len(items) > n else "")
