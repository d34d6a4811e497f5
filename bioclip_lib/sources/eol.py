"""Media of the Encyclopedia of Life: ``<content>_<page>_eol-full-size-copy.jpg``, a media manifest and ``taxon.tab``.

Takes their folder; returns the raw table, names and ranks from EOL's Dynamic Hierarchy by page, common names from its
table of vernaculars, licence and owner from the manifest. Without a manifest each image file is a row.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from .. import RANKS
from .columns import LISTED_AGAIN, SECOND_OF_ID
from .match import base_names, by_keys, find_images, first_said, read_given, with_images
from .walk import globbed

FILE_NAME = re.compile(r"(\d+)_(\d+)_eol-full-size-copy\.\w+")
_MANIFEST = (
    *("eol_content_id", "eol_page_id", "medium_source_url", "eol_full_size_copy_url"),
    *("license_name", "copyright_owner"),
)
_TAXA = ("taxonid", "parentnameusageid", "scientificname", "taxonrank", "eolid")
_VERNACULARS = {
    **{"page_id": "id", "vernacular_string": "name", "language_code": "language"},
    "is_preferred_by_eol": "preferred",
}
_ACTION = "put the images, <content>_<page>_eol-full-size-copy.jpg, or tars of them below that folder"


def find_manifests(root: Path) -> list[Path]:
    """Return the media manifests in a folder: CSV files with a column "EOL content ID"."""
    found = []
    for path in sorted(globbed(root, "*manifest*.csv", "*manifest*/*.csv")):
        with path.open("rb") as file:
            if b"eol content id" in file.readline(65536).lower().replace(b"_", b" "):
                found.append(path)
    return found


def is_eol(root: Path) -> bool:
    """Tell EOL media: a manifest, or images in it that are named by EOL."""
    named = globbed(root, "*_eol-full-size-copy.*", "*/*_eol-full-size-copy.*")
    return bool(find_manifests(root)) or any(FILE_NAME.fullmatch(path.name) for path in named)


def read_eol(root: Path) -> pd.DataFrame:
    """Read EOL media; ``source_id`` is ``<content>_<page>``, and the page, whose id hardly changes, gives the name."""
    manifests = find_manifests(root)
    files, damaged = find_images(root)
    ids = base_names(files["path"]).astype(str).str.extract(FILE_NAME, expand=True).fillna("")
    if manifests:
        table = pd.concat([read_given(manifest, _MANIFEST, ()) for manifest in manifests], ignore_index=True)
        keys = table["eol_content_id"] + "_" + table["eol_page_id"]
        place = by_keys((keys, (ids[0] + "_" + ids[1]).replace("_", "")))
        return with_images(_described(table, root), place, files, root, _ACTION, damaged)
    table = pd.DataFrame({"eol_content_id": ids[0], "eol_page_id": ids[1]}).reindex(columns=_MANIFEST, fill_value="")
    raw = _described(table, root)
    raw["problem"] = pd.Series("", index=ids.index).mask(ids[0] == "", "file name without EOL's ids")
    raw["problem"] = files["problem"].where(files["problem"] != "", raw["problem"])
    raw["source_id"] = raw["source_id"].where(ids[0] != "", files["path"])
    raw = with_images(raw, files.index.to_numpy(), files, root, _ACTION, damaged)
    return raw.assign(problem=raw["problem"].replace(LISTED_AGAIN, SECOND_OF_ID))


def _described(table: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Return what manifest and hierarchy say of each image."""
    said = pd.DataFrame({"source": "eol", "source_id": table["eol_content_id"] + "_" + table["eol_page_id"]})
    said["license"], said["rights_holder"] = table["license_name"], table["copyright_owner"]
    said["source_url"] = first_said(table, ("medium_source_url", "eol_full_size_copy_url"))
    pages = set(table["eol_page_id"])
    vernaculars = sorted(root.rglob("vernacular*.csv"))
    if vernaculars:
        said["common_name"] = table["eol_page_id"].map(read_vernaculars(vernaculars[0], pages)).fillna("")
    hierarchy = next((path for path in sorted(root.rglob("taxon.tab")) if path.is_file()), None)
    if hierarchy is None:
        return said.assign(verbatim_name="")
    named = read_pages(hierarchy, pages).reindex(table["eol_page_id"]).fillna("").set_index(said.index)
    return pd.concat([said, named], axis=1)


def read_vernaculars(path: Path, pages: set[str]) -> dict[str, str]:
    """Read the English name of EOL pages, chosen as `vernaculars` does: the one that EOL prefers first."""
    from ..taxonomy.vernaculars import best_names, names_in

    table = read_given(path, tuple(_VERNACULARS), _VERNACULARS).rename(columns=_VERNACULARS)
    english = names_in(pa.Table.from_pandas(table[table["id"].isin(pages)], preserve_index=False))
    rows, found = pd.factorize(english["id"].to_pandas())
    taxa, names = best_names(rows, np.asarray(english["merit"]), english["name"])
    return dict(zip(found[taxa], names.to_pylist(), strict=True))


def read_pages(path: Path, pages: set[str]) -> pd.DataFrame:
    """Read names (with authors) and the seven ranks of EOL pages from a ``taxon.tab``, indexed by page id."""
    from ..taxonomy.backbone import open_checklist

    table = read_given(path, _TAXA, _TAXA)
    table = table[table["eolid"].isin(pages - {""})].drop_duplicates("eolid").set_index("eolid")
    hierarchy = open_checklist(path)
    ranks = [hierarchy.lineage(row) if row >= 0 else [""] * 7 for row in hierarchy.rows_of_ids(table["taxonid"])]
    named = pd.DataFrame(ranks, columns=list(RANKS), index=table.index, dtype=object)
    named["species"] = [s.removeprefix(f"{g} ") for g, s in zip(named["genus"], named["species"], strict=True)]
    named.insert(0, "verbatim_name", table["scientificname"])
    return named
