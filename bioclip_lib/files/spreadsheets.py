"""What people open in a spreadsheet: CSV in which no stranger's text is computed or steers what shows it; and .xlsx.

Text that begins like a formula gets an apostrophe before it, as spreadsheets themselves write it, and control
characters, those that turn the direction of writing among them, become U+FFFD. Numbers stay numbers. A program that
needs the text as it is reads the Parquet files of a run. Of a spreadsheet the first sheet that holds anything is read,
as CSV in UTF-8. Refuses a damaged one, one with several sheets of rows, and any without openpyxl (the extra
``sheets``).
"""

import csv
import io
import re
import zipfile
from pathlib import Path
from typing import BinaryIO

import pandas as pd

from ..errors import InputError
from ..run import atomic

SHEET_SUFFIX = ".xlsx"
_BROKEN = (zipfile.BadZipFile, KeyError, ValueError, OSError, TypeError)
_FORMULA = re.compile(r"(?=[=+\-@\t\r])(?![+-]?(\d[\d,]*\.?\d*|\.\d+)([eE][+-]?\d+)?%?$)")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def write_csv(table: pd.DataFrame, path: str | Path, index: bool = False, digits: int | None = None) -> None:
    """Write a table as CSV, whole or not at all.

    Parameters
    ----------
    table : DataFrame
    path : str or Path
    index : bool
        Whether the index is a column.
    digits : int, optional
        Of numbers; by default all.

    Examples
    --------
    >>> harmless("=1+1"), harmless("-3.5"), harmless("Parus major")
    ("'=1+1", '-3.5', 'Parus major')
    """
    table = table.reset_index() if index else table
    text = table.select_dtypes(exclude=["number", "bool"]).columns
    table = table.assign(**{str(name): table[name].map(harmless) for name in text})
    with atomic(path) as tmp:
        table.to_csv(tmp, index=False, float_format=digits and f"%.{digits}g", encoding="utf-8")


def as_it_was(text: str) -> str:
    """Return text from before `harmless`, for a name in a table that came back from a spreadsheet."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text[1:]) else text


def harmless(value: object) -> object:
    """Return text that a spreadsheet shows as it is; anything else stays."""
    if not isinstance(value, str):
        return value
    value = _CONTROL.sub("\ufffd", value)
    return f"'{value}" if _FORMULA.match(value) else value


def sheet_as_csv(path: Path, file: BinaryIO) -> bytes:
    """Return the rows of a spreadsheet as CSV, as they are shown: no blank rows, none of the columns' formats."""
    try:
        import openpyxl
    except ImportError:
        raise InputError(
            f"{path} is a spreadsheet, which takes openpyxl: pip install openpyxl, or save it as CSV"
        ) from None
    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        sheets = {sheet.title: rows for sheet in book.worksheets if (rows := _rows(sheet))}
        book.close()
    except _BROKEN as error:
        raise InputError(f"{path} cannot be read as a spreadsheet ({error}); save it again, or as CSV") from None
    if len(sheets) > 1:
        raise InputError(f"{path} has several sheets with rows ({', '.join(sheets)}); save the one to read as CSV")
    text = io.StringIO()
    csv.writer(text).writerows(next(iter(sheets.values()), []))
    return text.getvalue().encode()


def _rows(sheet) -> list[list[str]]:
    """Return the rows of a sheet that say something, without the blank columns behind the last."""
    rows = [[_text(value) for value in row] for row in sheet.iter_rows(values_only=True)]
    rows = [row for row in rows if any(row)]
    width = max((i + 1 for row in rows for i, cell in enumerate(row) if cell), default=0)
    return [(row + [""] * width)[:width] for row in rows]


def _text(value: object) -> str:
    """Write a cell: a whole number without its ".0"."""
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
