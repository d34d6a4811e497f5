"""English names of the taxa of a checklist, one a taxon.

Takes the table of vernacular names beside a checklist: ColDP's ``VernacularName``, the extension of a Darwin Core
Archive (GBIF, EOL, ITIS), iNaturalist's ``VernacularNames-english``. Of several English names of a taxon the one stays
that comes first in this order: marked as preferred; language exactly English, not a variety such as en-GB; for no
country in particular; given by most rows; the shorter; the first in the alphabet. The order of rows does not count.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .checklist_tables import TableFile, described, list_files, read_batches
from .names import clean_label

MAX_CHARS = 80
_COLUMNS = {
    "id": ("taxonid", "coreid", "id", "taxon_id"),
    "name": ("vernacularname", "name", "vernacular_name"),
    "language": ("language", "languagecode", "lang"),
    "country": ("country", "countrycode", "locality", "area"),
    "preferred": ("preferred", "ispreferredname", "ispreferred"),
}
_KNOWN = {name for names in _COLUMNS.values() for name in names}
_STEMS = (
    "vernacularname",
    "vernacularnames-english",
    "vernacularnames",
    "vernacular",
    "vernacular_name",
    "vernaculars",
)
_ENGLISH, _VARIETY = r"^(en|eng|english)$", r"^(en|eng|english)([-_ (].*)?$"
_BATCH = 1_000_000  # rows that are reduced at a time


@dataclass(frozen=True)
class Vernaculars:
    """English names by the rows of their taxa, in order."""

    rows: np.ndarray
    names: pa.StringArray

    def of(self, row: int) -> str:
        """Return the English name of a row, '' if it has none."""
        i = int(np.searchsorted(self.rows, row))
        return self.names[i].as_py() if i < len(self.rows) and self.rows[i] == row else ""


def is_vernacular_table(file_name: str) -> bool:
    """Tell whether a file is by its name a table of vernacular names."""
    return PurePosixPath(file_name.lower()).stem in _STEMS


def read_vernaculars(
    path: str | Path, ids: pa.StringArray, accepted: np.ndarray, problems: list[dict[str, str]]
) -> Vernaculars:
    """Read the English names of a checklist's taxa.

    Parameters
    ----------
    path : str or Path
        The checklist.
    ids : pyarrow.StringArray of shape (n_usages,)
    accepted : int ndarray of shape (n_usages,)
        The row of the accepted taxon of each usage: a name given to a synonym is its taxon's.
    problems : list
        Rows that cannot be read are added here.

    Returns
    -------
    Vernaculars
        Empty if there is no such table.

    Raises
    ------
    InputError
        If the table is broken, or not in its encoding.

    Notes
    -----
    The table is read in parts, and only its English rows are kept: GBIF's 5 million rows take some 200 MB.
    """
    file = _table_of(path)
    ids = pc.replace_substring_regex(ids, r"^https?://.*/", "")  # iNaturalist's core has addresses
    parts: list[pa.Table] = []
    for batch in read_batches(file, _KNOWN, problems) if file else ():
        parts.append(_english(batch, ids, accepted))
        if sum(map(len, parts)) > _BATCH:
            parts = [_counted(pa.concat_tables(parts))]
    if not sum(map(len, parts)):
        return Vernaculars(np.empty(0, np.int32), pa.array([], pa.string()))
    table = _counted(pa.concat_tables(parts))
    keys = ["row", "preferred", "exact", "anywhere", "n", "length", "key"]
    order = dict.fromkeys(keys, "ascending") | dict.fromkeys(("preferred", "exact", "anywhere", "n"), "descending")
    table = table.append_column("length", pc.utf8_length(table["key"])).sort_by(list(order.items()))
    rows = np.asarray(table["row"])
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    return Vernaculars(rows[first], table["name"].combine_chunks().take(pa.array(first)))


def _table_of(path: str | Path) -> TableFile | None:
    """Return the table of vernacular names beside a checklist, None if there is none."""
    files = list_files(Path(path).expanduser())
    by_stem = {PurePosixPath(name).stem: file for name, file in files.items() if is_vernacular_table(name)}
    if "vernacularnames-english" in by_stem:  # one of many, and meta.xml lists them all
        return by_stem["vernacularnames-english"]
    if "meta.xml" in files and "nameusage" not in {PurePosixPath(name).stem for name in files}:
        extension = described(files, "vernacularname")
        if extension is not None:
            return extension
    return next((by_stem[stem] for stem in _STEMS if stem in by_stem), None)


def _english(batch: pa.Table, ids: pa.StringArray, accepted: np.ndarray) -> pa.Table:
    """Reduce a part of the table to its English names of known taxa: a row, a name, its key and what speaks for it."""
    columns = {term: _column(batch, names) for term, names in _COLUMNS.items()}
    columns["language"] = pc.utf8_lower(columns["language"])
    table = pa.table(columns).filter(pc.match_substring_regex(columns["language"], _VARIETY))
    index = pc.index_in(pc.replace_substring_regex(table["id"], r"^https?://.*/", ""), ids)
    index = pc.fill_null(index, -1)
    known = pc.greater_equal(index, 0)
    table, rows = table.filter(known), accepted[np.asarray(index.filter(known))]
    names = _cleaned(table["name"].combine_chunks())
    is_preferred = pc.match_substring_regex(pc.utf8_lower(table["preferred"]), r"^(true|t|1|yes|y)$")
    columns = {
        "row": pa.array(rows.astype(np.int32)),
        "name": names,
        "key": pc.utf8_lower(names),
        "preferred": pc.cast(is_preferred, pa.int8()),
        "exact": pc.cast(pc.match_substring_regex(table["language"], _ENGLISH), pa.int8()),
        "anywhere": pc.cast(pc.equal(table["country"], ""), pa.int8()),
        "n": pa.array(np.ones(len(table), np.int32)),
    }
    return pa.table(columns).filter(pc.not_equal(names, ""))


def _counted(table: pa.Table) -> pa.Table:
    """Join the rows of one name of one taxon: what speaks for one speaks for it, and how many there are."""
    best = [(column, "max") for column in ("preferred", "exact", "anywhere")]
    counted = table.group_by(["row", "key"], use_threads=False).aggregate([("name", "min"), *best, ("n", "sum")])
    counted = counted.rename_columns([name.rsplit("_", 1)[0] if "_" in name else name for name in counted.column_names])
    return counted.select(table.column_names).cast(table.schema)


def _cleaned(names: pa.StringArray) -> pa.StringArray:
    """Remove markup and control characters; a name in capitals gets one, what is no name becomes ''."""
    odd = pc.match_substring_regex(names, r"[<&_\p{C}\p{Z}]{2}|[<&_\p{C}]|^\s|\s$|[^\S ]")
    if pc.any(odd).as_py():
        cleaned: Mapping[str, str] = {name: clean_label(name) for name in pc.unique(names.filter(odd)).to_pylist()}
        names = pc.replace_with_mask(
            names, odd, pa.array([cleaned[name] for name in names.filter(odd).to_pylist()], pa.string())
        )
    shouted = pc.match_substring_regex(names, r"^[^\p{Ll}]*\p{Lu}{2}[^\p{Ll}]*$")
    names = pc.if_else(shouted, pc.utf8_capitalize(pc.utf8_lower(names)), names)
    is_name = pc.and_(pc.match_substring_regex(names, r"\p{L}{2}"), pc.less_equal(pc.utf8_length(names), MAX_CHARS))
    return pc.if_else(is_name, names, "")


def _column(table: pa.Table, names: tuple[str, ...]) -> pa.ChunkedArray:
    for name in names:
        if name in table.column_names:
            return pc.utf8_trim_whitespace(table[name])
    return pa.chunked_array([pa.array([""] * table.num_rows, pa.string())])
