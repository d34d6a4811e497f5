"""What a catalog is: its columns, its contract, and how it is written and read.

Takes names and tables; returns classes, ids and checked catalogs. Refuses what breaks the contract.
"""

from hashlib import blake2b
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from .. import RANKS
from ..config import DESCRIPTION
from ..errors import InputError
from ..run import atomic, is_whole
from ..sources.columns import STATE_COLUMNS
from ..taxonomy.names import clean_label
from ..taxonomy.resolution import STATUSES
from .splits import SPLITS, usable

COLUMNS = (
    *("image_id", "source", "source_id", "location", "verbatim_name"),
    *RANKS,
    *("scientific_name", "common_name", "rank", "name_status", "backbone", "taxon_id", "rule", "alternatives"),
    DESCRIPTION,
    *("license", "rights_holder", "source_url", "confidence", *STATE_COLUMNS),
    *("sha256", "phash", "width", "height"),
    *("split", "group", "class_key", "excluded"),
)
NUMBERS = ("width", "height")
_GROUP_ROWS = 2**14  # what a damage in one place takes with it


def image_ids(sources: list[str], source_ids: list[str]) -> np.ndarray:
    """Return the number, uint64, whose 16 hexadecimal digits stand for each image wherever the run lies."""
    keys = zip(sources, source_ids, strict=True)
    digests = (blake2b(f"{source}/{key}".encode(), digest_size=8).digest() for source, key in keys)
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


def name_classes(names: pd.DataFrame) -> pd.Series:
    """Return the class of each row of names or images: the species where it is known, else the cleaned verbatim name.

    Two morphotypes of one order are two classes; one species under two names is one class. Behind a name that stops at
    its genus stands the family, or the kingdom: a Laelia may be a moth or an orchid.
    """
    verbatim = names["verbatim_name"]
    labels = verbatim.map({name: clean_label(name) or name for name in verbatim.unique()}).astype(object)
    higher = names["family"].where(names["family"] != "", names["kingdom"])
    labels = labels.where(names["rank"] != "genus", labels + " (" + higher + ")")
    is_species = (names["rank"] == "species") & (names["scientific_name"] != "")
    return names["scientific_name"].where(is_species, labels).astype(object).rename("class_key")


def drop_summary(catalog: pd.DataFrame) -> pd.DataFrame:
    """Count the excluded images by reason, the most frequent first: ``reason, n_images, n_classes, example``.

    Duplicates are one reason; the example is a source_id.
    """
    dropped = catalog.loc[~usable(catalog), ["excluded", "source_id", "class_key"]]
    reason = dropped["excluded"].str.replace(r"duplicate of \w+$", "duplicate of a kept image", regex=True)
    groups = dropped.assign(reason=reason).groupby("reason")
    counts = groups.agg(
        n_images=("source_id", "size"), n_classes=("class_key", "nunique"), example=("source_id", "first")
    )
    return counts.sort_values(["n_images", "reason"], ascending=[False, True], kind="stable").reset_index()


def check_catalog(catalog: pd.DataFrame) -> None:
    """Check that a catalog keeps its contract.

    Raises
    ------
    InputError
        If columns, types or words are not those of a catalog, a usable image lacks what it needs, an image is there
        twice, or a held-out class has images elsewhere. The message lists all that is wrong.
    """
    if tuple(catalog.columns) != COLUMNS:
        odd = set(COLUMNS) ^ set(catalog.columns)
        raise InputError(
            f"not a catalog: columns {sorted(odd) or 'out of order'}; build it with 01_dataset_construction"
        )
    text, kept = catalog.drop(columns=list(NUMBERS)), catalog[usable(catalog)]
    refuse(
        {
            "sizes are not integers": any(catalog[column].dtype != np.int64 for column in NUMBERS),
            "text columns hold something else than text": any(
                pd.api.types.infer_dtype(text[column], skipna=False) not in ("string", "empty") for column in text
            ),
            **broken_names(catalog),
            "a usable image has no size or digest": (
                kept[list(NUMBERS)].lt(1).any(axis=1) | (kept["sha256"] == "")
            ).any(),
            **broken_decisions(catalog),
        }
    )


def broken_names(names: pd.DataFrame) -> dict[str, bool]:
    """Tell which rules of names are broken."""
    return {
        "unknown name_status": not names["name_status"].isin(STATUSES).all(),
        "unknown rank": not names["rank"].isin(("", *RANKS)).all(),
    }


def broken_decisions(catalog: pd.DataFrame) -> dict[str, bool]:
    """Tell which rules of exclusions and splits are broken."""
    kept, split = usable(catalog), catalog["split"]
    held, key = kept & (split == "heldout_species"), catalog["class_key"]
    return {
        "unknown split": not split.isin(("", *SPLITS)).all(),
        "an excluded image has a split": (split != "")[~kept].any(),
        "a usable image has no split": (split == "")[kept].any(),
        "image_id is not unique": not catalog["image_id"].is_unique,
        "a held-out class has images in another split": key[kept & ~held].isin(key[held].unique()).any(),
        "an image is kept twice": catalog.loc[kept, "sha256"].duplicated().any(),
    }


def refuse(broken: dict[str, bool]) -> None:
    """Raise `InputError` with the rules that are broken."""
    wrong = [what for what, is_broken in broken.items() if is_broken]
    if wrong:
        raise InputError(
            f"the catalog breaks its contract: {'; '.join(wrong)}; rebuild it with 01_dataset_construction"
        )


def write_catalog(catalog: pd.DataFrame, path: str | Path) -> None:
    """Check a catalog and write it as Parquet, atomically, in the order of its rows."""
    check_catalog(catalog)
    with atomic(path) as tmp:
        catalog.to_parquet(tmp, index=False, row_group_size=_GROUP_ROWS, write_page_checksum=True)


def read_catalog(path: str | Path) -> pd.DataFrame:
    """Read a catalog of `write_catalog` and check it.

    Returns
    -------
    pd.DataFrame
        One row an image; int64 ``width`` and ``height`` (pixels), text elsewhere, never missing.

    Raises
    ------
    InputError
        If there is none, it cannot be read (with the rows that are lost), or it breaks its contract.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; run make reproduce RUN={path.parent} (01_dataset_construction) first")
    try:
        if not is_whole(path):
            raise ValueError("damaged or changed since it was written")
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            catalog = file.read().to_pandas()
    except (OSError, ValueError) as error:
        lost = _lost_rows(path) or str(error).splitlines()[0]
        raise InputError(f"{path} is no whole catalog ({lost}); rebuild it with 01_dataset_construction") from None
    check_catalog(catalog)
    return catalog


def _lost_rows(path: Path) -> str:
    """Say which rows of a damaged catalog cannot be read; '' where that is not known."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            first, lost = 0, []
            for group in range(file.num_row_groups):
                n = file.metadata.row_group(group).num_rows
                try:
                    file.read_row_group(group)
                except (OSError, ValueError):
                    lost.append(f"{first} to {first + n - 1}")
                first += n
            return f"rows {', '.join(lost)} of {first} are lost" if lost else ""
    except (OSError, ValueError):
        return ""
