"""TreeOfLife-10M as published: ``catalog.csv``, ``licenses.csv``, ``image_set_XX.tar.gz`` of ``<treeoflife_id>.jpg``.

Takes its folder; returns the raw table with the catalog's own split in ``source_split``. The published archives hold
the images from EOL; those of iNat21 and BIOSCAN-1M are found where their files lie in the same folder.
"""

import re
from pathlib import Path

import pandas as pd

from ..errors import InputError
from .columns import SPLIT_COLUMN
from .match import (
    base_names,
    check_some_image,
    find_images,
    lineage,
    match_images,
    missing_reason,
    read_given,
    stems,
)
from .reasons import LISTED_AGAIN, NOT_PUBLISHED

CATALOG = "catalog.csv"
_COLUMNS = (
    *("split", "treeoflife_id", "eol_content_id", "bioscan_filename", "inat21_filename"),
    *("kingdom", "phylum", "class", "order", "family", "genus", "species", "common"),
)
_LICENSES = ("treeoflife_id", "license_name", "copyright_owner", "medium_source_url")
_ACTION = "put image_set_XX.tar.gz (or the images, <treeoflife_id>.jpg) below the folder of catalog.csv"


def find_catalog(root: Path) -> Path | None:
    """Return the catalog.csv of TreeOfLife-10M in a folder, in ``metadata/`` or ``dataset/metadata/`` of it."""
    for folder in (root, root / "metadata", root / "dataset" / "metadata"):
        path = folder / CATALOG
        if path.is_file():
            with path.open("rb") as file:
                return path if b"treeoflife_id" in file.readline(65536) else None
    return None


def read_treeoflife(path: str | Path) -> pd.DataFrame:
    """Read TreeOfLife-10M in the order of its catalog; images of ``train_small`` are listed a second time there."""
    root = Path(path).expanduser().resolve()
    catalog = find_catalog(root)
    if catalog is None:
        raise InputError(f"{root} has no catalog.csv with a column treeoflife_id; download metadata/catalog.csv")
    table = read_given(catalog, _COLUMNS, {"split", "treeoflife_id"})
    files, damaged = find_images(root)
    names = base_names(files["path"])
    file_keys = pd.DataFrame({"treeoflife_id": stems(files["path"]), "bioscan": names, "inat21": names})
    keys = table[["treeoflife_id", "bioscan_filename", "inat21_filename"]].set_axis(file_keys.columns, axis=1)
    reason = missing_reason(damaged, _missing_sets(root))
    raw = match_images(_described(table, catalog), keys, files, file_keys, missing=reason)
    raw.loc[raw["problem"] == LISTED_AGAIN, "problem"] = f"{LISTED_AGAIN}, as train_small is"
    elsewhere = raw["source"].isin(("inat21", "bioscan")) & raw["problem"].str.startswith("image not found")
    raw.loc[elsewhere, "problem"] = NOT_PUBLISHED + ": get " + raw["source"] + " from its makers"
    return check_some_image(raw, root, damaged, _ACTION)


def _described(table: pd.DataFrame, catalog: Path) -> pd.DataFrame:
    """Return what the catalog and licenses.csv say of each image."""
    ranks = lineage(table, binomial=False)
    source = pd.Series("eol", index=table.index, dtype=object)
    source = source.mask(table["inat21_filename"] != "", "inat21").mask(table["bioscan_filename"] != "", "bioscan")
    common = table["common"].where(_is_common(table["common"], ranks), "")
    said = ranks.assign(source=source, source_id=table["treeoflife_id"], common_name=common)
    said["problem"] = pd.Series("", index=table.index).mask(table["treeoflife_id"] == "", "no treeoflife_id")
    said[SPLIT_COLUMN] = table["split"]
    licenses = catalog.with_name("licenses.csv")
    if not licenses.is_file():
        return said
    given = read_given(licenses, _LICENSES, ())
    given = given.drop_duplicates("treeoflife_id").set_index("treeoflife_id").reindex(table["treeoflife_id"]).fillna("")
    given = given.replace("not provided", "").set_axis(["license", "rights_holder", "source_url"], axis=1)
    return pd.concat([said, given.set_index(said.index)], axis=1)


def _is_common(common: pd.Series, ranks: pd.DataFrame) -> pd.Series:
    """Tell common names from the scientific names and chains of ranks that the catalog has where there is none."""
    plain = common.str.replace("-", " ").str.lower()
    scientific = ranks["verbatim_name"].str.replace("-", " ").str.lower()
    kingdom = ranks["kingdom"].str.lower()
    chain = (kingdom != "") & ((plain == kingdom) | (plain.map(lambda name: name.partition(" ")[0]) == kingdom))
    return (plain != scientific) & ~chain


def _missing_sets(root: Path) -> list[str]:
    """List the gaps in the numbers of the image sets that are there."""
    found = {int(match[1]) for path in root.rglob("image_set_*") if (match := re.match(r"image_set_(\d+)", path.name))}
    return [f"image_set_{number:02d}.tar.gz" for number in range(1, max(found, default=0)) if number not in found]
