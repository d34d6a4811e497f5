"""Tables in a folder, a zip archive or alone, as their header or the meta.xml of a Darwin Core Archive describes them.

Takes a path; returns `TableFile` objects, and reads the wanted columns of one as strings. Refuses what is not encoded
as it says. Nothing is extracted from an archive, and members whose names lead out of it are not looked at.
"""

import contextlib
import csv
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from xml.etree import ElementTree
from xml.parsers import expat

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from ..errors import InputError
from .images import IMAGE_SUFFIXES

_MAX_KEPT = 100  # of the rows that cannot be read
_MAX_META = 1 << 20  # bytes
_MAX_COLUMNS = 1_000
_MAX_RATIO, _MAX_PACKED = 200, 1 << 28  # text packs 3 to 20 times; what claims more than that is a bomb
DAMAGED = (OSError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError)


@dataclass
class TableFile:
    """A table in a folder or archive, and how it is written; None is found out from the header."""

    where: str
    open: Callable[[], BinaryIO]
    row_type: str = ""
    id_column: int | None = None
    columns: list[str] | None = None
    defaults: dict[str, str] = field(default_factory=dict)
    delimiter: str | None = None
    quote: str | None = None
    encoding: str = "utf-8"
    n_header_lines: int = 1


def list_files(path: Path) -> dict[str, TableFile]:
    """Return the files of a folder or zip, the images of a zip left out, by their names in lower case; or the one."""
    if path.is_dir():
        return {
            p.name.lower(): TableFile(str(p), lambda p=p: p.open("rb")) for p in sorted(path.iterdir()) if p.is_file()
        }
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a folder, a zip or a table")
    if path.suffix.lower() != ".zip":
        return {path.name.lower(): TableFile(str(path), lambda: path.open("rb"))}
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{path} cannot be opened as a zip ({error}); download it again") from None
    members = [m for m in archive.infolist() if not m.is_dir() and _is_inside(m.filename)]
    members = [m for m in members if not m.filename.lower().endswith(IMAGE_SUFFIXES)]
    bombs = [m for m in members if m.file_size > _MAX_PACKED and m.file_size > _MAX_RATIO * m.compress_size]
    if bombs:
        raise InputError(f"{path}::{bombs[0].filename} unpacks to {bombs[0].file_size:,} bytes; no table is so packed")
    depth = min((m.filename.count("/") for m in members), default=0)  # some archives wrap all files into a folder
    members = [m for m in members if m.filename.count("/") == depth]
    names = [PurePosixPath(m.filename).name.lower() for m in members]
    if len(set(names)) < len(names):
        raise InputError(f"{path} has several files {max(names, key=names.count)}; keep one")
    return {
        name: TableFile(f"{path}::{m.filename}", lambda m=m: archive.open(m))
        for name, m in zip(names, members, strict=True)
    }


def _is_inside(member: str) -> bool:
    """Tell whether the name of a zip's member stays inside the archive."""
    name = member.replace("\\", "/")
    return not name.startswith("/") and ".." not in name.split("/") and ":" not in name.split("/")[0]


def described(files: dict[str, TableFile], row_type: str = "") -> TableFile | None:
    """Return the core table of a Darwin Core Archive as its meta.xml describes it, or the extension of a row type.

    Without such an extension the result is None. A file is known by its name alone: none outside `files` is reached.
    """
    meta = files["meta.xml"]
    elements = [e for e in _parsed(meta).iter() if term_of(e.tag) == ("extension" if row_type else "core")]
    elements = [e for e in elements if not row_type or term_of(e.get("rowType")) == row_type]
    if not elements and row_type:
        return None
    try:
        return _of_element(elements[0], files)
    except KeyError as error:
        raise InputError(f"{meta.where} names a file {error} that is not there; download the archive again") from None
    except (IndexError, StopIteration, AttributeError, ValueError, TypeError) as error:
        what = f"a table of {row_type}" if row_type else "a core table"
        raise InputError(f"{meta.where} does not describe {what} ({error!r}); give the table itself") from None


def _parsed(meta: TableFile) -> ElementTree.Element:
    """Parse a meta.xml; a document type, where entities are declared, is refused before anything is expanded."""

    def refuse(*_: object) -> None:
        raise InputError(f"{meta.where} declares a document type, which no archive needs; remove the declaration")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    try:
        with meta.open() as stream:
            content = stream.read(_MAX_META + 1)
        if len(content) > _MAX_META:
            raise InputError(f"{meta.where} has more than {_MAX_META:,} bytes; give the table itself")
        parser.Parse(content, True)
        return ElementTree.fromstring(content)
    except DAMAGED as error:
        raise InputError(f"{meta.where} is damaged ({error}); download it again") from None
    except (expat.ExpatError, ElementTree.ParseError, LookupError) as error:
        raise InputError(f"{meta.where} is not well-formed ({error}); give the table itself") from None


def _of_element(element: ElementTree.Element, files: dict[str, TableFile]) -> TableFile:
    """Return the table that a core or an extension describes; its first column is "id", whatever it is called."""
    location = next(e.text.strip() for e in element.iter() if term_of(e.tag) == "location")
    fields = {term_of(f.get("term")): f for f in element.iter() if term_of(f.tag) == "field"}
    indexed = {int(f.get("index")): term for term, f in fields.items() if f.get("index")}
    ids = [int(e.get("index")) for e in element if term_of(e.tag) in ("id", "coreid")]
    indexed |= {i: "id" for i in ids if i not in indexed}
    if any(not 0 <= i < _MAX_COLUMNS for i in [*indexed, *ids]):
        raise ValueError("a column has an impossible number")
    file = files[PurePosixPath(location.replace("\\", "/")).name.lower()]
    return TableFile(
        where=file.where,
        open=file.open,
        row_type=term_of(element.get("rowType")),
        id_column=ids[0] if ids else None,
        columns=[indexed.get(i, f"_{i}") for i in range(max(indexed, default=0) + 1)],
        defaults={term: f.get("default") for term, f in fields.items() if f.get("default")},
        delimiter=(element.get("fieldsTerminatedBy") or ",").replace("\\t", "\t"),
        quote=element.get("fieldsEnclosedBy"),
        encoding=element.get("encoding") or "utf-8",
        n_header_lines=int(element.get("ignoreHeaderLines") or 0),
    )


def term_of(name: str | None) -> str:
    """Reduce a column's or element's name: "dwc:taxonID", ".../dwc/terms/taxonID" and "{...}taxonID" are "taxonid"."""
    return re.split(r"[:/#}]", str(name or "").strip().rstrip("/"))[-1].casefold()


@dataclass
class _Format:
    """How arrow is to read a table: its options, and the rows that it had to skip."""

    read: arrow_csv.ReadOptions
    parse: arrow_csv.ParseOptions
    convert: arrow_csv.ConvertOptions
    bad: list[str]


def read_table(file: TableFile, known: Collection[str], problems: list[dict[str, str]]) -> pa.Table:
    """Read the known columns of a table as strings; rows that have another number of fields go to `problems`."""
    form = _format(file, known)
    with _told(file), file.open() as stream:
        table = arrow_csv.read_csv(stream, form.read, form.parse, form.convert)
    _note_bad(file, form.bad, table.num_rows, problems)
    return _with_defaults(file, table, known)


def read_batches(file: TableFile, known: Collection[str], problems: list[dict[str, str]]) -> Iterator[pa.Table]:
    """Read a table like `read_table`, in parts of some 16 MB."""
    form, n_rows = _format(file, known), 0
    with _told(file), file.open() as stream:
        for batch in arrow_csv.open_csv(stream, form.read, form.parse, form.convert):
            n_rows += batch.num_rows
            yield _with_defaults(file, pa.Table.from_batches([batch]), known)
    _note_bad(file, form.bad, n_rows, problems)


@contextlib.contextmanager
def _told(file: TableFile) -> Iterator[None]:
    """Turn what goes wrong in reading a table into an InputError that says which."""
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowKeyError, UnicodeError, LookupError, csv.Error) as error:
        raise InputError(f"{file.where} cannot be read as {file.encoding} ({error}); save it as UTF-8") from None
    except DAMAGED as error:
        raise InputError(f"{file.where} is damaged ({error}); download it again") from None


def _format(file: TableFile, known: Collection[str]) -> _Format:
    header = _header(file)
    delimiter = file.delimiter or max("\t,;|", key=header.count)
    quote = file.quote if file.quote is not None else ("" if delimiter == "\t" and '"' not in header else '"')
    if len(delimiter) != 1 or len(quote) > 1:
        raise InputError(f"{file.where} has fields between {delimiter!r} and {quote!r}; use one character of each")
    with _told(file):
        fields = next(csv.reader([header], delimiter=delimiter, quotechar=quote or None, quoting=0 if quote else 3), [])
    terms = list(file.columns or [term_of(column) for column in fields])
    terms += [f"_{i}" for i in range(len(terms), len(fields))]  # columns that meta.xml does not name
    terms = [term if term not in terms[:i] else f"_{i}" for i, term in enumerate(terms)]
    wanted = [t for t in terms if t in known]
    bad: list[str] = []

    def skip(row: arrow_csv.InvalidRow) -> str:
        bad.append(f"{row.actual_columns} fields in place of {row.expected_columns}: {row.text[:80]}")
        return "skip"

    types = dict.fromkeys(wanted, pa.string())
    return _Format(
        arrow_csv.ReadOptions(
            encoding=file.encoding, column_names=terms, skip_rows=file.n_header_lines, block_size=1 << 24
        ),
        arrow_csv.ParseOptions(
            delimiter=delimiter, quote_char=quote or False, newlines_in_values=bool(quote), invalid_row_handler=skip
        ),
        arrow_csv.ConvertOptions(column_types=types, include_columns=wanted, strings_can_be_null=False),
        bad,
    )


def _note_bad(file: TableFile, bad: Sequence[str], n_rows: int, problems: list[dict[str, str]]) -> None:
    if len(bad) > n_rows:
        raise InputError(f"{file.where}: {len(bad)} rows have {bad[0]}; check its delimiter and quotes")
    problems += [{"id": "", "name": "", "reason": f"{file.where}: {reason}"} for reason in bad[:_MAX_KEPT]]


def _with_defaults(file: TableFile, table: pa.Table, known: Collection[str]) -> pa.Table:
    """Write a column's default where it is empty, or is not there at all."""
    for term, value in file.defaults.items():
        if term in table.column_names:
            filled = pc.if_else(pc.equal(table[term], ""), value, table[term])
            table = table.set_column(table.column_names.index(term), term, filled)
        elif term in known:
            table = table.append_column(term, pa.array([value] * table.num_rows, pa.string()))
    return table


def first_column(table: pa.Table, *names: str) -> pa.ChunkedArray:
    """Return the first of some columns that there is, stripped; '' everywhere if none is."""
    for name in names:
        if name in table.column_names:
            return pc.utf8_trim_whitespace(table[name])
    return pa.chunked_array([pa.array([""] * table.num_rows, pa.string())])


def _header(file: TableFile) -> str:
    """Return the first line of a table."""
    with _told(file), file.open() as stream:
        line = io.BufferedReader(stream).readline(1 << 20).decode(file.encoding).lstrip("\ufeff")
    if not line.strip():
        raise InputError(f"{file.where} is empty; give a table with a header line")
    if "\0" in line:
        raise InputError(f"{file.where} is not {file.encoding} (it looks like UTF-16); save it as UTF-8")
    return line.rstrip("\r\n")
