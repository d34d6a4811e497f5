"""Tables: CSV in whatever encoding and dialect, Parquet, JSON lines; alone, in a folder, an archive, or a meta.xml.

Takes a path; returns `TableFile` objects, and the wanted columns of one as strings: '' where there is nothing, ``NA``
and ``None`` as they stand, for there are taxa of such names. A row that lacks only fields at its end is read; one with
more fields than the header, or whose fields belong to other columns, goes to a list of problems, or the table is
refused at that row: none is shifted.
Refuses what is not encoded as it says. Nothing is extracted from an archive.
"""

import csv
import io
import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv as arrow_csv

from ..errors import InputError
from .archives import ARCHIVE_SUFFIXES, open_archive, open_member
from .dialect import PARQUET_SUFFIXES, TableFile, dialect_of, found_encoding, head_of, normal_name, table_at, told
from .images import IMAGE_SUFFIXES
from .members import LEAVES, ArchiveError
from .spreadsheets import SHEET_SUFFIX

_TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".tab")
TABLE_SUFFIXES = (
    *_TEXT_SUFFIXES,
    *(f"{suffix}.gz" for suffix in _TEXT_SUFFIXES),
    ".jsonl",
    SHEET_SUFFIX,
    *PARQUET_SUFFIXES,
)
_MAX_KEPT = 100  # of the rows that cannot be read
_MAX_ROWS = 250_000_000  # of a Parquet file, whose columns are read at once
_BLOCK_BYTES = 1 << 24
_KINDS = [re.compile(p) for p in (r"[-+]?[\d.,]+", r"https?://\S+", r"\d{4}-\d\d-\d\d.*", r".*\.\w{3,4}")]


def list_files(path: Path) -> dict[str, TableFile]:
    """Return the files of a folder, or of an archive's top folder without its images, by name in lower case."""
    if path.is_dir():
        return {_key(p.name): table_at(p) for p in sorted(path.iterdir()) if p.is_file()}
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a folder, an archive or a table")
    if not path.name.lower().endswith(ARCHIVE_SUFFIXES):
        return {_key(path.name): table_at(path)}
    try:
        archive = open_archive(path)
    except ArchiveError as error:
        raise InputError(f"{path} cannot be opened ({error}); download it again") from None
    if archive.damage:
        raise InputError(
            f"{path} cannot be opened as a {path.suffix[1:].lower()} ({archive.damage}); download it again"
        )
    parts = {m: PurePosixPath(m).parts for m, member in archive.members.items() if member.problem != LEAVES}
    parts = {m: names for m, names in parts.items() if _may_be_table(names)}
    depth = min(map(len, parts.values()), default=0)  # some archives wrap all files into a folder
    members = [m for m, names in parts.items() if len(names) == depth]
    names = [_key(parts[m][-1]) for m in members]
    if len(set(names)) < len(names):
        raise InputError(f"{path} has several files {max(names, key=names.count)}; keep one")
    files = [TableFile(f"{path}::{m}", lambda m=m: open_member(path, m)) for m in members]
    return dict(zip(names, files, strict=True))


def _key(name: str) -> str:
    return name.lower().removesuffix(".gz")


def _may_be_table(parts: tuple[str, ...]) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    return bool(parts) and not hidden and not parts[-1].lower().endswith(IMAGE_SUFFIXES)


class _Rows:
    """How arrow is to read one file, and the rows that it had to skip: mended, or beyond that."""

    def __init__(self, file: TableFile, wanted: Collection[str] | None) -> None:
        self.file, fields = dialect_of(file)
        self.is_blank = bool(file.columns) and not any(head_of(file))
        columns = dict(file.columns or {})
        for i, column in enumerate([] if columns else fields):
            columns.setdefault(file.name(column), i)
        self.places = {name: i for name, i in columns.items() if wanted is None or name in wanted}
        self.defaults = {name: value for name, value in self.file.defaults.items() if wanted is None or name in wanted}
        self.names = [str(i) for i in range(len(fields))]
        self.mended: dict[int, list[str]] = {}
        self.lacking: dict[int, int] = {}  # fields of a mended row; negative where it has blank ones too many
        self.bad: dict[int, str] = {}

    def options(self) -> tuple:
        """Return arrow's options; rows in one thread, else they have no numbers."""
        used = sorted({*self.places.values(), len(self.names) - 1})  # an open quote shows in the last
        return (
            arrow_csv.ReadOptions(
                use_threads=False,
                encoding=self.file.encoding,
                column_names=self.names,
                skip_rows=self.file.n_header_lines,
                block_size=_BLOCK_BYTES,
            ),
            arrow_csv.ParseOptions(
                delimiter=self.file.delimiter,
                quote_char=self.file.quote or False,
                newlines_in_values=bool(self.file.quote),
                invalid_row_handler=self._mend,
            ),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(self.names, pa.string()),
                include_columns=[self.names[i] for i in used],
                strings_can_be_null=False,
            ),
        )

    def _mend(self, row: arrow_csv.InvalidRow) -> str:
        """Keep a row that lacks fields at its end, or has blank ones too many; note any other."""
        number = row.number - self.file.n_header_lines - 1
        quote = self.file.quote
        options = {"quotechar": quote, "strict": True} if quote else {"quoting": csv.QUOTE_NONE}
        try:
            parsed = list(csv.reader(io.StringIO(row.text, newline=""), delimiter=self.file.delimiter, **options))
            cells = [cell for part in parsed for cell in part]
            if len(parsed) == 1 and not any(cell.strip() for cell in cells[len(self.names) :]):
                self.mended[number] = (cells + [""] * len(self.names))[: len(self.names)]
                self.lacking[number] = len(self.names) - len(cells)
                return "skip"
        except csv.Error:
            pass
        self._refuse(number, row.actual_columns, row.text)
        return "skip"

    def _refuse(self, number: int, n_fields: int, text: str) -> None:
        self.bad[number] = f"row {number + 1}: {n_fields} fields in place of {len(self.names)}: {text[:80]}"

    def refuse_shifted(self, read: pa.Table) -> None:
        """Refuse mended rows whose fields belong to other columns, by what stands there in whole rows."""
        kinds = {int(name): _Kind(read[name]) for name in read.column_names} if self.mended else {}
        for number, cells in list(self.mended.items()):
            by = self.lacking[number]
            places = [i for i, cell in enumerate(cells) if cell.strip() and i in kinds and i + by in kinds]
            if any(kinds[i + by].fits(cells[i]) and not kinds[i].fits(cells[i]) for i in places):
                del self.mended[number]
                self._refuse(number, len(self.names) - by, self.file.delimiter.join(cells))

    def named(self, table: pa.Table) -> pa.Table:
        """Name the columns of what arrow read, and write the defaults where they are empty or not there at all."""
        columns = {name: table[self.names[i]] for name, i in self.places.items()}
        for term, value in self.defaults.items():
            if term in columns:
                columns[term] = pc.if_else(pc.equal(columns[term], ""), value, columns[term])
            else:
                columns[term] = pa.chunked_array([pa.array([value] * table.num_rows, pa.string())])
        return pa.table(columns)

    def mended_rows(self) -> pa.Table:
        """Return the rows that were mended."""
        rows = self.mended.values()
        used = sorted(set(self.places.values()))
        return self.named(pa.table({self.names[i]: pa.array([row[i] for row in rows], pa.string()) for i in used}))


class _Kind:
    """What a column holds in its whole rows: its values, or all numbers, addresses, files."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        values = pc.unique(pc.utf8_trim_whitespace(column)).to_pylist()
        self.values = {value for value in values if value}
        self.pattern = next((p for p in _KINDS if self.values and all(map(p.fullmatch, self.values))), None)

    def fits(self, value: str) -> bool:
        """Tell whether a value may stand in this column."""
        return value.strip() in self.values or bool(self.pattern and self.pattern.fullmatch(value.strip()))


def _read_rows(rows: _Rows) -> pa.Table:
    """Read one file whole, mended rows in their places."""
    if rows.is_blank:
        return rows.mended_rows()
    with told(rows.file), rows.file.open() as stream:
        read = arrow_csv.read_csv(stream, *rows.options())
    last = read.slice(max(read.num_rows - 1, 0)).to_pylist()
    if any("\n" in value for row in last for value in row.values()):
        _check_closed(rows.file)
    if not rows.file.columns:  # what a meta.xml describes is written by programs, which leave out blanks at the end
        rows.refuse_shifted(read)
    table = rows.named(read)
    if not rows.mended:
        return table
    n_rows = table.num_rows + len(rows.mended) + len(rows.bad)
    kept = np.setdiff1d(np.arange(n_rows), [*rows.mended, *rows.bad])
    order = np.argsort(np.concatenate([kept, [*rows.mended]]), kind="stable")
    return pa.concat_tables([table, rows.mended_rows()]).take(pa.array(order))


def _check_closed(file: TableFile) -> None:
    """Refuse a table that ends within quotes: its last row may have swallowed others."""
    with told(file), io.TextIOWrapper(file.open(), file.encoding, newline="") as stream:
        reader = csv.reader(stream, delimiter=file.delimiter, quotechar=file.quote, strict=True)
        while True:
            try:
                next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if "end of data" in str(error):
                    raise InputError(
                        f"{file.where} cannot be read as a table: a quotation mark is never closed; put fields into "
                        "matching quotes"
                    ) from None


def read_table(
    file: TableFile, wanted: Collection[str] | None, problems: list[dict[str, str]] | None = None
) -> pa.Table:
    """Read the wanted columns (None: all) of a table as strings; broken rows go to `problems`, or are refused."""
    parts = []
    for part in (file, *file.rest):
        if part.where.lower().endswith((*PARQUET_SUFFIXES, ".jsonl")):
            parts.append(_read_typed(part, wanted))
            continue
        rows = _Rows(part, wanted)
        parts.append(_read_rows(rows))
        _note_bad(rows, parts[-1].num_rows, problems)
    return pa.concat_tables(parts)


def read_batches(file: TableFile, wanted: Collection[str], problems: list[dict[str, str]]) -> Iterator[pa.Table]:
    """Read a table like `read_table`, in parts of some 16 MB, in any order."""
    for part in (file, *file.rest):
        rows, n_rows = _Rows(part, wanted), 0
        if rows.is_blank:
            continue
        with told(part), part.open() as stream:
            for batch in arrow_csv.open_csv(stream, *rows.options()):
                n_rows += batch.num_rows
                yield rows.named(pa.Table.from_batches([batch]))
        if rows.mended:
            yield rows.mended_rows()
        _note_bad(rows, n_rows + len(rows.mended), problems)


def _note_bad(rows: _Rows, n_rows: int, problems: list[dict[str, str]] | None) -> None:
    where, bad = rows.file.where, [*rows.bad.values()]
    if bad and problems is None:
        raise InputError(
            f"{where} cannot be read as a table: {bad[0]} ({len(bad)} such); put quotes around a field that holds "
            f"{rows.file.delimiter!r}"
        )
    if len(bad) > n_rows:
        raise InputError(f"{where}: {len(bad)} rows are broken ({bad[0]}); check its delimiter and quotes")
    if bad:
        problems += [{"id": "", "name": "", "reason": f"{where}: {reason}"} for reason in bad[:_MAX_KEPT]]


def _read_typed(file: TableFile, wanted: Collection[str] | None) -> pa.Table:
    """Read a table whose columns have types."""
    with told(file), file.open() as stream:
        try:
            if file.where.lower().endswith(".jsonl"):
                text = io.TextIOWrapper(stream, file.encoding)
                table = pa.Table.from_pandas(pd.read_json(text, lines=True, dtype=False))
            else:
                table = pq.ParquetFile(stream)
                if table.metadata.num_rows > _MAX_ROWS:  # a few bytes can stand for any number of equal rows
                    n_rows = f"{table.metadata.num_rows:,} rows, more than {_MAX_ROWS:,}"
                    raise InputError(f"{file.where} declares {n_rows}; give it in several files")
                names = [n for n in table.schema_arrow.names if wanted is None or file.name(n) in wanted]
                table = table.read(columns=names)
        except ValueError as error:  # pandas' and Arrow's errors are of this kind
            raise csv.Error(str(error)) from None
    chosen: dict[str, str] = {}
    for column in table.column_names:
        chosen.setdefault(file.name(column), column)
    return pa.table({name: _text(table[old]) for name, old in chosen.items() if wanted is None or name in wanted})


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Write values as strings."""
    try:
        column = column.cast(pa.string())
    except pa.ArrowException:
        texts = [None if value is None else str(value) for value in column.to_pylist()]
        column = pa.chunked_array([pa.array(texts, pa.string())])
    return pc.fill_null(column, "")


def read_strings(path: Path) -> pd.DataFrame:
    """Read all of a table that a user wrote: stripped strings, columns in lower-case snake_case, never no row."""
    file = found_encoding(replace(table_at(path, normal_name), quote='"'))
    table = as_frame(read_table(file, None))
    if table.empty:
        raise InputError(f"{path} has no rows; give a table with one row an image, or a class")
    return table


def column_names(path: Path) -> list[str]:
    """Return what the columns of a table are called, as it writes them."""
    if path.suffix.lower() in PARQUET_SUFFIXES:
        return pq.read_schema(path).names
    file = found_encoding(table_at(path, str))
    return read_table(file, None).column_names if path.suffix == ".jsonl" else [n for n in dialect_of(file)[1] if n]


def read_columns(path: Path, columns: Collection[str]) -> pd.DataFrame:
    """Read the columns that there are of a data set's table, as stripped strings; quotes between tabs are text."""
    return as_frame(read_table(found_encoding(table_at(path, normal_name)), columns))


def as_frame(table: pa.Table) -> pd.DataFrame:
    """Turn a table of strings into one of pandas, stripped."""
    columns = {name: pc.utf8_trim_whitespace(table[name]).to_numpy() for name in table.column_names}
    return pd.DataFrame(columns, range(len(table)), dtype=object, copy=False)


def first_column(table: pa.Table, *names: str) -> pa.ChunkedArray:
    """Return the first of some columns that there is, stripped; '' everywhere if none is."""
    for name in names:
        if name in table.column_names:
            return pc.utf8_trim_whitespace(table[name])
    return pa.chunked_array([pa.array([""] * table.num_rows, pa.string())])


def digest_of_table(table: pd.DataFrame) -> str:
    """Return a digest of a table's rows, in their order, and its columns."""
    rows = pd.util.hash_pandas_object(table, index=False)
    return sha256(str(list(table.columns)).encode() + rows.to_numpy().tobytes()).hexdigest()
