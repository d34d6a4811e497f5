"""Read the files of a checklist: Catalogue of Life ColDP, Darwin Core taxa, lists of homonyms.

Takes a folder, a zip archive or one table; returns one row a usage under the columns `COLUMNS`, whatever the layout,
and the rows that could not be read. Refuses what is no checklist and what is not encoded as it says: a name decoded
wrongly is another name. Nothing is extracted from an archive, and members whose names lead out of it are not looked at.
"""

import csv
import io
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from xml.etree import ElementTree

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from .errors import InputError

HIGHER_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")
COLUMNS = {
    "id": ("taxonid", "id"),
    "parent_id": ("parentnameusageid", "parentid"),
    "accepted_id": ("acceptednameusageid",),
    "accepted_name": ("acceptednameusage", "accepted_name"),
    "canonical": ("canonicalname",),
    "name": ("scientificname", "name"),
    "authorship": ("scientificnameauthorship", "authorship"),
    "rank": ("taxonrank", "rank"),
    "status": ("taxonomicstatus", "status"),
    "name_status": ("nomenclaturalstatus", "namestatus"),
    **{rank: (rank,) for rank in HIGHER_RANKS},
}
"""The columns of the table of usages, and what files call them (without prefix, in lower case)."""

_KNOWN = {name for names in COLUMNS.values() for name in names} | {"homonym", "nameid"}
_SUFFIXES = (".tsv", ".csv", ".txt", ".tab")
_MAX_KEPT = 100  # of the rows that cannot be read


@dataclass
class _File:
    """A table in a folder or archive, and how it is written; None is found out from the header."""

    where: str
    open: Callable[[], BinaryIO]
    columns: list[str] | None = None
    constants: dict[str, str] = field(default_factory=dict)
    delimiter: str | None = None
    quote: str | None = None
    encoding: str = "utf-8"
    n_header_lines: int = 1


def read_usages(path: str | Path) -> tuple[pa.Table, pd.DataFrame]:
    """Read the usages of a checklist.

    Parameters
    ----------
    path : str or Path
        A folder or zip archive with ``Name``, ``Taxon`` and perhaps ``Synonym`` (ColDP), ``NameUsage`` (ColDP),
        ``meta.xml`` and its core (Darwin Core Archive), or one table of taxa; or such a table itself.

    Returns
    -------
    usages : pyarrow.Table
        `COLUMNS`, strings, '' where missing; a synonym has an `accepted_id` or an `accepted_name`.
    problems : DataFrame
        ``id, name, reason`` of the rows that cannot be read.

    Raises
    ------
    InputError
        If `path` is missing, no checklist, broken, or not in its encoding (UTF-8, unless ``meta.xml`` says otherwise).
    """
    files = _list_files(Path(path).expanduser())
    problems: list[dict[str, str]] = []
    tables = {stem: file for name, file in files.items() for stem, suffix in [_split(name)] if suffix in _SUFFIXES}
    if {"name", "taxon"} <= set(tables):
        usages = _join_names(
            *(_read(tables[stem], problems) for stem in ("name", "taxon", "synonym") if stem in tables)
        )
    elif "meta.xml" in files and "nameusage" not in tables:
        usages = _as_usages(_read(_core_of(files), problems), str(path))
    else:
        stem = next((s for s in ("nameusage", "taxon", "taxa") if s in tables), None)
        if stem is None and len(tables) != 1:
            raise InputError(
                f"{path} holds no checklist: no NameUsage, no Name and Taxon (ColDP), no meta.xml or taxon table "
                f"(Darwin Core); found {', '.join(sorted(files)[:8]) or 'nothing'}; give the folder or zip of one"
            )
        usages = _as_usages(_read(tables[stem or next(iter(tables))], problems), str(path))
    if usages.num_rows == 0:
        raise InputError(f"{path} has no rows; give a checklist with one row a name")
    return usages, pd.DataFrame(problems, columns=["id", "name", "reason"], dtype=str)


def _split(name: str) -> tuple[str, str]:
    return PurePosixPath(name).stem, PurePosixPath(name).suffix


def _list_files(path: Path) -> dict[str, _File]:
    """Return the files of a folder or archive by their names in lower case, or the one file."""
    if path.is_dir():
        return {p.name.lower(): _File(str(p), lambda p=p: p.open("rb")) for p in sorted(path.iterdir()) if p.is_file()}
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a checklist: a folder, a zip or a table")
    if path.suffix.lower() != ".zip":
        return {path.name.lower(): _File(str(path), lambda: path.open("rb"))}
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{path} cannot be opened as a zip ({error}); download it again") from None
    members = [m for m in archive.infolist() if not m.is_dir() and _is_inside(m.filename)]
    depth = min((m.filename.count("/") for m in members), default=0)  # some archives wrap all files into a folder
    return {
        PurePosixPath(m.filename).name.lower(): _File(f"{path}::{m.filename}", lambda m=m: archive.open(m))
        for m in members
        if m.filename.count("/") == depth
    }


def _is_inside(member: str) -> bool:
    """Tell whether the name of a zip's member stays inside the archive."""
    name = member.replace("\\", "/")
    return not name.startswith("/") and ".." not in name.split("/") and ":" not in name.split("/")[0]


def _core_of(files: dict[str, _File]) -> _File:
    """Return the core table of a Darwin Core Archive, as its meta.xml describes it."""
    meta = files["meta.xml"]
    with meta.open() as stream:
        content = stream.read()
    try:
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
            raise ElementTree.ParseError("a document type is not allowed")
        root = ElementTree.fromstring(content)
        core = next(element for element in root.iter() if _term(element.tag) == "core")
        location = next(element.text.strip() for element in core.iter() if _term(element.tag) == "location")
        fields = {_term(f.get("term")): f for f in core.iter() if _term(f.tag) == "field"}
        indexed = {int(f.get("index")): term for term, f in fields.items() if f.get("index")}
        indexed |= {
            int(e.get("index")): "id" for e in core if _term(e.tag) == "id" and int(e.get("index")) not in indexed
        }
        file = files[PurePosixPath(location).name.lower()]
        n_header_lines = int(core.get("ignoreHeaderLines") or 0)
    except (ElementTree.ParseError, StopIteration, AttributeError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{meta.where} does not describe a core table ({error!r}); give the table itself") from None
    return _File(
        where=file.where,
        open=file.open,
        columns=[indexed.get(i, f"_{i}") for i in range(max(indexed, default=0) + 1)],
        constants={term: f.get("default") for term, f in fields.items() if f.get("default") and not f.get("index")},
        delimiter=(core.get("fieldsTerminatedBy") or ",").replace("\\t", "\t"),
        quote=core.get("fieldsEnclosedBy") or "",
        encoding=core.get("encoding") or "utf-8",
        n_header_lines=n_header_lines,
    )


def _term(name: str | None) -> str:
    """Reduce a column's or element's name: "dwc:taxonID", ".../dwc/terms/taxonID" and "{...}taxonID" are "taxonid"."""
    return re.split(r"[:/#}]", str(name or "").strip())[-1].casefold()


def _read(file: _File, problems: list[dict[str, str]]) -> pa.Table:
    """Read a table as strings, under terms; rows that have another number of fields go to `problems`."""
    header = _header(file)
    delimiter = file.delimiter or max("\t,;|", key=header.count)
    quote = file.quote if file.quote is not None else ("" if delimiter == "\t" and '"' not in header else '"')
    fields = next(csv.reader([header], delimiter=delimiter, quotechar=quote or None, quoting=0 if quote else 3), [])
    terms = file.columns or [_term(column) for column in fields]
    terms += [f"_{i}" for i in range(len(terms), len(fields))]  # columns that meta.xml does not name
    terms = [term if term not in terms[:i] else f"_{i}" for i, term in enumerate(terms)]
    wanted = [t for t in terms if t in _KNOWN]
    bad: list[str] = []

    def skip(row: arrow_csv.InvalidRow) -> str:
        bad.append(f"{row.actual_columns} fields in place of {row.expected_columns}: {row.text[:80]}")
        return "skip"

    try:
        with file.open() as stream:
            table = arrow_csv.read_csv(
                stream,
                arrow_csv.ReadOptions(
                    encoding=file.encoding, column_names=terms, skip_rows=file.n_header_lines, block_size=1 << 24
                ),
                arrow_csv.ParseOptions(
                    delimiter=delimiter,
                    quote_char=quote or False,
                    newlines_in_values=bool(quote),
                    invalid_row_handler=skip,
                ),
                arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(wanted, pa.string()), include_columns=wanted, strings_can_be_null=False
                ),
            )
    except (pa.ArrowInvalid, UnicodeError, LookupError, OSError, zipfile.BadZipFile, RuntimeError) as error:
        raise InputError(f"{file.where} cannot be read as {file.encoding} ({error}); save it as UTF-8") from None
    if len(bad) > table.num_rows:
        raise InputError(f"{file.where}: {len(bad)} rows have {bad[0]}; check its delimiter and quotes")
    problems += [{"id": "", "name": "", "reason": f"{file.where}: {reason}"} for reason in bad[:_MAX_KEPT]]
    for term, value in file.constants.items():
        table = table.append_column(term, pa.array([value] * table.num_rows, pa.string())) if term in _KNOWN else table
    return table


def _header(file: _File) -> str:
    """Return the first line of a table."""
    try:
        with file.open() as stream:
            line = io.BufferedReader(stream).readline(1 << 20).decode(file.encoding).lstrip("\ufeff")
    except (UnicodeError, LookupError, OSError, zipfile.BadZipFile, RuntimeError) as error:
        raise InputError(f"{file.where} cannot be read as {file.encoding} ({error}); save it as UTF-8") from None
    if not line.strip():
        raise InputError(f"{file.where} is empty; give a table with a header line")
    if "\0" in line:
        raise InputError(f"{file.where} is not {file.encoding} (it looks like UTF-16); save it as UTF-8")
    return line.rstrip("\r\n")


def _column(table: pa.Table, *names: str) -> pa.ChunkedArray:
    """Return the first of some columns that there is, stripped; '' everywhere if none is."""
    for name in names:
        if name in table.column_names:
            return pc.utf8_trim_whitespace(table[name])
    return pa.chunked_array([pa.array([""] * table.num_rows, pa.string())])


def _as_usages(table: pa.Table, where: str) -> pa.Table:
    """Bring one table with all there is of a usage to `COLUMNS`."""
    columns = {column: _column(table, *names) for column, names in COLUMNS.items()}
    if not {"taxonid", "id"} & set(table.column_names) or not {"scientificname", "name"} & set(table.column_names):
        raise InputError(
            f"{where} has no columns taxonID (or ID) and scientificName; of those that are known there are "
            f"{', '.join(table.column_names) or 'none'}; give a taxon table of ColDP or Darwin Core"
        )
    if "homonym" in table.column_names:  # the list of homonyms of IRMNG holds genera
        columns["rank"] = pa.chunked_array([pa.array(["genus"] * table.num_rows)])
    if "parentid" in table.column_names:  # ColDP: the parent of a synonym is its accepted name
        synonym = pc.match_substring(pc.utf8_lower(columns["status"]), "synonym")
        columns["accepted_id"] = pc.if_else(synonym, columns["parent_id"], columns["accepted_id"])
    return pa.table(columns)


def _join_names(names: pa.Table, taxa: pa.Table, synonyms: pa.Table | None = None) -> pa.Table:
    """Bring ColDP's Name, Taxon and Synonym to `COLUMNS`.

    A synonym is known by its name's id, so that a synonym of a synonym finds it, unless a taxon has that id or several
    synonyms do.
    """
    needed = {"Taxon": (taxa, "nameID"), "Name": (names, "scientificName")}
    missing = [
        f"{file}: {column}" for file, (table, column) in needed.items() if column.lower() not in table.column_names
    ]
    if missing:
        raise InputError(
            f"a column is missing ({', '.join(missing)}); give Name and Taxon of one ColDP archive, with whole names"
        )
    ids = _column(taxa, "id")
    parts = [_named(names, _column(taxa, "nameid")) | {"id": ids, "parent_id": _column(taxa, "parentid")}]
    parts[0] |= {rank: _column(taxa, rank) for rank in HIGHER_RANKS} | {"status": _constant("accepted", taxa)}
    if synonyms is not None:
        name_ids = _column(synonyms, "nameid")
        taken = pc.or_(pc.is_in(name_ids, ids.combine_chunks()), pc.is_in(name_ids, _repeated(name_ids)))
        status = _column(synonyms, "status")
        parts.append(
            _named(names, name_ids)
            | {"id": pc.if_else(taken, "", name_ids), "accepted_id": _column(synonyms, "taxonid")}
            | {"status": pc.if_else(pc.equal(status, ""), "synonym", status)}
        )
    tables = [
        pa.table({c: part.get(c, _constant("", part["status"])) for c in COLUMNS}).combine_chunks() for part in parts
    ]
    return pa.concat_tables(tables)


def _repeated(ids: pa.Array | pa.ChunkedArray) -> pa.Array:
    counts = pc.value_counts(ids)
    return counts.field("values").filter(pc.greater(counts.field("counts"), 1))


def _constant(value: str, like: pa.Table | pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array([value] * len(like), pa.string())])


def _named(names: pa.Table, name_ids: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    """Return what is known of each name id, '' where there is no such name, or several."""
    ids = _column(names, "id").combine_chunks()
    index = pc.index_in(name_ids, ids)
    index = pc.if_else(pc.is_in(name_ids, _repeated(ids)), None, index)
    columns = {"name": "scientificname", "authorship": "authorship", "rank": "rank", "name_status": "status"}
    return {key: pc.fill_null(_column(names, column).take(index), "") for key, column in columns.items()}
