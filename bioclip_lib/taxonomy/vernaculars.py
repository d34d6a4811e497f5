"""English names of the taxa of a checklist, one a taxon.

Takes the table of vernacular names beside a checklist: ColDP's ``VernacularName``, the extension of a Darwin Core
Archive (GBIF, EOL, ITIS), iNaturalist's ``VernacularNames-english``. Of several English names of a taxon the one stays
that comes first in this order: marked as preferred; language exactly English, not a variety such as en-GB; for no
country in particular; given by most of the rows that are equal so far; the shorter; the first in the alphabet. The
order of rows does not count.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..files.dialect import TableFile
from ..files.meta import described
from ..files.tables import first_column, list_files, read_batches
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
_ADDRESS = r"^https?://.*/"


@dataclass(frozen=True)
class Vernaculars:
    """English names by the rows of their taxa, in order."""

    rows: np.ndarray
    names: pa.StringArray

    def of(self, row: int) -> str:
        """Return the English name of a row, '' if it has none."""
        i = int(np.searchsorted(self.rows, row))
        return self.names[i].as_py() if i < len(self.rows) and self.rows[i] == row else ""


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
    The table is read in parts, and only its English rows are kept: 5 million rows, 2.3 million of them different
    English names, take 750 MB at their peak.
    """
    file = _table_of(path)
    parts = [_english(batch) for batch in read_batches(file, _KNOWN, problems)] if file else []
    if not sum(map(len, parts)):
        return Vernaculars(np.empty(0, np.int32), pa.array([], pa.string()))
    table = pa.concat_tables(parts)
    parts.clear()
    ids = pc.replace_substring_regex(ids, _ADDRESS, "")  # iNaturalist's core has addresses
    index = pc.index_in(table["id"], ids)
    table = table.drop_columns("id").filter(index.is_valid())
    rows = accepted[np.asarray(index.drop_null())]
    return _best(rows, np.asarray(table["merit"]), table["name"])


def _best(rows: np.ndarray, merit: np.ndarray, names: pa.ChunkedArray) -> Vernaculars:
    """Return the best name of each row, of parallel arrays: the greatest merit, then what most of those say."""
    greatest = np.full(rows.max(initial=-1) + 1, -1, np.int8)
    np.maximum.at(greatest, rows, merit)
    is_best = merit == greatest[rows]
    encoded = names.filter(pa.array(is_best)).combine_chunks().dictionary_encode()
    spellings = encoded.dictionary
    keys = pc.utf8_lower(spellings)
    sorting = [("length", "ascending"), ("key", "ascending"), ("name", "ascending")]
    order = pc.sort_indices(pa.table({"length": pc.utf8_length(keys), "key": keys, "name": spellings}), sorting)
    position = np.empty(len(spellings), np.int64)  # of each spelling, the shortest first
    position[np.asarray(order)] = np.arange(len(spellings))
    first = np.full(len(spellings), len(spellings))  # the first position of all spellings of one key
    key_codes = np.asarray(keys.dictionary_encode().indices)
    np.minimum.at(first, key_codes, position)
    code = first[key_codes[np.asarray(encoded.indices)]]  # (n,): of each row's name, regardless of capitals
    pairs, counts = np.unique(rows[is_best].astype(np.int64) * len(spellings) + code, return_counts=True)
    taxa, code = np.divmod(pairs, len(spellings))
    by_merit = np.lexsort((code, -counts, taxa))
    chosen = by_merit[np.flatnonzero(np.diff(taxa[by_merit], prepend=-1))]
    return Vernaculars(taxa[chosen].astype(np.int32), spellings.take(order.take(pa.array(code[chosen]))))


def _table_of(path: str | Path) -> TableFile | None:
    """Return the table of vernacular names beside a checklist, None if there is none."""
    files = list_files(Path(path).expanduser())
    by_stem = {PurePosixPath(name).stem: file for name, file in files.items()}
    if "vernacularnames-english" in by_stem:  # one of many, and meta.xml lists them all
        return by_stem["vernacularnames-english"]
    if "meta.xml" in files and "nameusage" not in by_stem:
        extension = described(files, "vernacularname")
        if extension is not None:
            return extension
    return next((by_stem[stem] for stem in _STEMS if stem in by_stem), None)


def _english(batch: pa.Table) -> pa.Table:
    """Reduce a part of the table to its English names: the id of the taxon, the name, and its merit."""
    table = pa.table({term: first_column(batch, *names) for term, names in _COLUMNS.items()})
    language = pc.utf8_lower(table["language"])
    is_english = pc.match_substring_regex(language, _VARIETY)
    table, language = table.filter(is_english), language.filter(is_english)
    names = _cleaned(table["name"].combine_chunks())
    is_preferred = pc.match_substring_regex(pc.utf8_lower(table["preferred"]), r"^(true|t|1|yes|y)$")
    is_exact, is_anywhere = pc.match_substring_regex(language, _ENGLISH), pc.equal(table["country"], "")
    merit = sum(
        weight * np.asarray(flags, np.int8) for weight, flags in ((4, is_preferred), (2, is_exact), (1, is_anywhere))
    )
    ids = pc.replace_substring_regex(table["id"], _ADDRESS, "")
    return pa.table({"id": ids, "name": names, "merit": pa.array(merit, pa.int8())}).filter(pc.not_equal(names, ""))


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
