"""How a table of text is written: encoding, delimiter, quotes, and what stands above its header.

Takes a `TableFile`; returns it with what its first lines show. Refuses what is empty, and what is not encoded as it
says.
"""

import codecs
import contextlib
import csv
import functools
import gzip
import io
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from ..errors import InputError
from .archives import open_member, split_location
from .members import ArchiveError
from .spreadsheets import SHEET_SUFFIX, sheet_as_csv
from .zips import DAMAGED

PARQUET_SUFFIXES = (".parquet", ".pq")
DELIMITERS = ",;\t|"
_NO_DELIMITER = "\x1f"  # of a table of one column: commas belong to its values
_HEAD_BYTES, _HEAD_LINES = 1 << 20, 100
_BROKEN = (pa.ArrowException, UnicodeError, LookupError, csv.Error)


def term_of(name: str | None) -> str:
    """Reduce a column's or element's name: "dwc:taxonID", ".../dwc/terms/taxonID" and "{...}taxonID" are "taxonid"."""
    return re.split(r"[:/#}]", str(name or "").strip().rstrip("/"))[-1].casefold()


def normal_name(column: object) -> str:
    """Write the name of a column in lower-case snake_case."""
    return str(column).strip().lower().replace(" ", "_").replace("-", "_")


@dataclass
class TableFile:
    """A table and how it is written; None and '' are found out from its first lines."""

    where: str
    open: Callable[[], BinaryIO]
    row_type: str = ""
    columns: dict[str, int] | None = None  # of a meta.xml: term -> index, several terms may share one
    defaults: dict[str, str] = field(default_factory=dict)
    delimiter: str = ""
    quote: str | None = None
    encoding: str = "utf-8"
    n_header_lines: int = 1
    rest: tuple["TableFile", ...] = ()  # the other files of a table in several
    name: Callable[[str], str] = term_of  # of a column, as it is asked for


def table_at(path: Path, name: Callable[[str], str] = term_of) -> TableFile:
    """Return the table that is a file, or a member of an archive (``path/to.zip::member``)."""
    inside = split_location(str(path))

    def opened() -> BinaryIO:
        file = open_member(*inside) if inside else path.open("rb")
        return gzip.GzipFile(fileobj=file) if path.suffix.lower() == ".gz" else file

    @functools.cache
    def sheet() -> bytes:
        return sheet_as_csv(path, io.BytesIO(opened().read()))

    is_sheet = path.suffix.lower() == SHEET_SUFFIX
    return TableFile(str(path), (lambda: io.BytesIO(sheet())) if is_sheet else opened, name=name)


@contextlib.contextmanager
def told(file: TableFile) -> Iterator[None]:
    """Turn what goes wrong in reading a table into an InputError that says which."""
    how = "as meta.xml describes it" if file.columns else "as a table"
    try:
        yield
    except OSError as error:
        raise InputError(f"{file.where} cannot be read ({error.strerror or error}); download it again") from None
    except (ArchiveError, *DAMAGED) as error:
        raise InputError(f"{file.where} is damaged ({error}); download it again") from None
    except _BROKEN as error:
        reason = str(error).strip()[:200]
        raise InputError(
            f"{file.where} cannot be read {how}, in {file.encoding} ({reason}); save it as UTF-8 CSV"
        ) from None


def head_of(file: TableFile) -> list[str]:
    """Return the first lines of a table."""
    with told(file), file.open() as stream:
        start = stream.read(_HEAD_BYTES)
        whole = len(start) < _HEAD_BYTES
        text = start.decode(file.encoding, "strict" if whole else "ignore").lstrip("\ufeff")
    lines = re.split(r"\r\n|\r|\n", text, maxsplit=_HEAD_LINES)[:_HEAD_LINES]
    if "\0" in lines[0]:
        raise InputError(f"{file.where} is not {file.encoding} (it looks like UTF-16); save it as UTF-8")
    if not text.strip() and not file.columns:
        raise InputError(f"{file.where} cannot be read as a table: it is empty; give a table with a header line")
    return lines


def _fields(line: str, delimiter: str, quote: str = '"') -> list[str]:
    quoting = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    return next(csv.reader([line], delimiter=delimiter, quotechar=quote or None, quoting=quoting), [])


def dialect_of(file: TableFile) -> tuple[TableFile, list[str]]:
    """Find out delimiter, quotes and lines before the rows; return the table with them, and its header's fields."""
    lines = head_of(file)
    n_before = 0 if file.columns else next(i for i, line in enumerate(lines) if line.strip())
    stated = None if file.columns else re.fullmatch(r'"?sep=(.)"?', lines[n_before].rstrip(",;| "), re.IGNORECASE)
    if not file.columns:
        n_before += 1 if stated else _n_titles(lines[n_before:])
    header = lines[n_before] if n_before < len(lines) else ""
    delimiter = stated[1] if stated else file.delimiter or _delimiter(header)
    quote = file.quote if file.quote is not None else ("" if delimiter == "\t" and '"' not in header else '"')
    if len(delimiter) != 1 or len(quote) > 1:
        raise InputError(f"{file.where} has fields between {delimiter!r} and {quote!r}; use one character of each")
    with told(file):
        n_fields = max(len(_fields(line, delimiter, quote)) for line in (lines if file.columns else [header]))
        fields = _fields(header, delimiter, quote)
    widest = max((file.columns or {"": 0}).values()) + 1
    needed = max((file.columns or {}).get("id", 0) + 1, (widest + 1) // 2)  # rows may lack blanks at their end, no more
    if file.columns and any(lines) and needed > n_fields:
        described = f"cannot be read as meta.xml describes it: column {widest} of {n_fields}"
        raise InputError(f"{file.where} {described}; download the archive again")
    fields += [""] * (max(n_fields, widest) - len(fields))
    return replace(file, delimiter=delimiter, quote=quote, n_header_lines=file.n_header_lines + n_before), fields


def _delimiter(header: str) -> str:
    """Return the delimiter that splits a header into most fields; of one field none, commas belong to its values."""
    n_fields = {character: len(_fields(header, character)) for character in DELIMITERS}
    best = max(n_fields, key=n_fields.get)
    return best if n_fields[best] > 1 else _NO_DELIMITER


def _n_titles(lines: list[str]) -> int:
    """Count lines of title above the header, as spreadsheets export it: one cell at most, or a comment, "# "."""
    titles = itertools.takewhile(lambda line: line.startswith("# ") or not re.search(r"\w.*[,;\t|].*\w", line), lines)
    n = sum(1 for _ in titles)
    if not 0 < n < len(lines) - 1:
        return 0
    delimiter = _delimiter(lines[n])
    title, header, row = ([cell.strip() for cell in _fields(line, delimiter)] for line in (lines[0], *lines[n : n + 2]))
    names = all(re.match(r"[^\W\d]", cell) for cell in header if cell) and sum(map(bool, header)) > 1
    one = sum(map(bool, title)) == 0 or len(title) == len(header) or " " in title[0]
    return n if one and names and len(row) == len(header) and len(set(header)) == len(header) else 0


def found_encoding(file: TableFile) -> TableFile:
    """Return a table in the encoding that it has: UTF-16 by its mark, what it states, else Windows-1252 (old Excel)."""
    if file.where.lower().endswith(PARQUET_SUFFIXES):
        return file
    with told(file), file.open() as stream:
        start = stream.read(2)
        if start in (b"\xff\xfe", b"\xfe\xff"):
            return replace(file, encoding="utf-16")
        decoder = codecs.getincrementaldecoder(file.encoding)()
        try:
            decoder.decode(start)
            while block := stream.read(_HEAD_BYTES):
                decoder.decode(block)
            decoder.decode(b"", final=True)
            return file
        except UnicodeDecodeError:
            return replace(file, encoding="cp1252")
