"""Media of the Encyclopedia of Life: ``<content>_<page>_eol-full-size-copy.jpg``, a media manifest and ``taxon.tab``.

Takes their folder; returns the raw table, names and ranks from EOL's Dynamic Hierarchy by page, common names from its
table of vernaculars, licence and owner from the manifest. Without a manifest each image file is a row.
"""

import re
from pathlib import Path

import pandas as pd

from .. import RANKS
from ..errors import InputError
from ..files.tables import read_columns
from .match import base_names, check_some_image, find_images, match_images, missing_reason, ordered, unique_ids

FILE_NAME = re.compile(r"(\d+)_(\d+)_eol-full-size-copy\.\w+")
_MANIFEST = (
    *("eol_content_id", "eol_page_id", "medium_source_url", "eol_full_size_copy_url"),
    *("license_name", "copyright_owner"),
)
_TAXA = ("taxonid", "parentnameusageid", "scientificname", "taxonrank", "canonicalname", "eolid")
_VERNACULARS = ("page_id", "vernacular_string", "language_code", "is_preferred_by_eol")
_ACTION = "put the images, <content>_<page>_eol-full-size-copy.jpg, or tars of them below that folder"


def find_manifests(root: Path) -> list[Path]:
    """Return the media manifests in a folder: CSV files with a column "EOL content ID"."""
    found = []
    for path in sorted({*root.glob("*manifest*.csv"), *root.glob("*manifest*/*.csv")}):
        with path.open("rb") as file:
            if b"eol content id" in file.readline(65536).lower().replace(b"_", b" "):
                found.append(path)
    return found


def read_eol(path: str | Path) -> pd.DataFrame:
    """Read EOL media; ``source_id`` is ``<content>_<page>``, and the page, whose id hardly changes, gives the name."""
    root = Path(path).expanduser().resolve()
    manifests = find_manifests(root)
    files, damaged = find_images(root)
    ids = base_names(files["path"]).str.extract(FILE_NAME, expand=True).fillna("") if len(files) else pd.DataFrame()
    if not manifests and (files.empty or (ids[0] == "").all()):
        raise InputError(f"{root} has no EOL media manifest and no EOL image; {_ACTION}")
    if manifests:
        table = pd.concat([read_columns(manifest, _MANIFEST) for manifest in manifests], ignore_index=True)
        table = table.reindex(columns=list(_MANIFEST), fill_value="")
        file_keys = pd.DataFrame({"id": (ids[0] + "_" + ids[1]).replace("_", "")} if len(files) else {"id": []})
        keys = pd.DataFrame({"id": table["eol_content_id"] + "_" + table["eol_page_id"]})
        described = _described(table, root)
        raw = match_images(described, keys, files, file_keys.astype(object), missing=missing_reason(damaged))
    else:
        table = pd.DataFrame({"eol_content_id": ids[0], "eol_page_id": ids[1]})
        odd = pd.Series("", index=ids.index).mask(ids[0] == "", "file name without EOL's ids")
        raw = _described(table.reindex(columns=list(_MANIFEST), fill_value=""), root)
        raw["source_id"] = raw["source_id"].where(ids[0] != "", files["path"])
        problem = files["problem"].where(files["problem"] != "", odd)
        raw = raw.assign(location=files["location"], problem=problem)
        again = raw["source_id"].duplicated()
        raw.loc[again & (raw["problem"] == ""), "problem"] = "second image of this id"
        raw = ordered(raw.assign(source_id=unique_ids(raw["source_id"])))
    return check_some_image(raw, root, damaged, _ACTION)


def _described(table: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Return what manifest and hierarchy say of each image."""
    said = pd.DataFrame({"source": "eol", "source_id": table["eol_content_id"] + "_" + table["eol_page_id"]})
    said["license"], said["rights_holder"] = table["license_name"], table["copyright_owner"]
    said["source_url"] = table["medium_source_url"].where(
        table["medium_source_url"] != "", table["eol_full_size_copy_url"]
    )
    pages = set(table["eol_page_id"])
    vernaculars = sorted(root.rglob("vernacular*.csv"))
    if vernaculars:
        said["common_name"] = table["eol_page_id"].map(read_vernaculars(vernaculars[0], pages)).fillna("")
    hierarchy = next((path for path in sorted(root.rglob("taxon.tab")) if path.is_file()), None)
    if hierarchy is None:
        return said.assign(verbatim_name="")
    named = read_pages(hierarchy, pages).reindex(table["eol_page_id"]).fillna("").set_index(said.index)
    return pd.concat([said, named], axis=1)


def _read(path: Path, columns: tuple[str, ...], what: str) -> pd.DataFrame:
    """Read the columns of one of EOL's tables; refuse one that lacks any."""
    table = read_columns(path, columns)
    lacking = [column for column in columns if column not in table]
    if lacking:
        raise InputError(f"{path} has no column {', '.join(lacking)}; download EOL's {what} again")
    return table


def read_vernaculars(path: Path, pages: set[str]) -> dict[str, str]:
    """Read the English name of EOL pages: the one that EOL prefers, then the first of the alphabet."""
    table = _read(path, _VERNACULARS, "vernacular names")
    table = table[table["language_code"].isin(("eng", "en")) & table["page_id"].isin(pages)]
    table = table[table["vernacular_string"] != ""].assign(other=table["is_preferred_by_eol"] == "")
    table = table.sort_values(["other", "vernacular_string"]).drop_duplicates("page_id")
    return dict(zip(table["page_id"], table["vernacular_string"], strict=True))


def read_pages(path: Path, pages: set[str]) -> pd.DataFrame:
    """Read names (with authors) and the seven ranks of EOL pages from a ``taxon.tab``, indexed by page id."""
    table = _read(path, _TAXA, "Dynamic Hierarchy")
    taxa = {
        row[0]: (row[1], row[4] or row[2], row[3].lower())
        for row in table[list(_TAXA)].itertuples(index=False, name=None)
    }
    wanted = table[table["eolid"].isin(pages - {""})].drop_duplicates("eolid")
    rows = [_lineage_of(taxon, taxa) for taxon in wanted["taxonid"]]
    named = pd.DataFrame(rows, columns=list(RANKS), index=wanted["eolid"].to_numpy(), dtype=object)
    named.insert(0, "verbatim_name", wanted["scientificname"].to_numpy())
    return named


def _lineage_of(taxon: str, taxa: dict[str, tuple[str, str, str]]) -> list[str]:
    """Climb from a taxon to the root; species is the epithet."""
    ranks, seen = dict.fromkeys(RANKS, ""), set()
    while taxon in taxa and taxon not in seen:  # a cycle ends the climb
        seen.add(taxon)
        taxon, name, rank = taxa[taxon]
        if rank in ranks:
            ranks[rank] = ranks[rank] or name
    ranks["species"] = ranks["species"].removeprefix(f"{ranks['genus']} ")
    return list(ranks.values())
