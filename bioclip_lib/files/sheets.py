"""Spreadsheets (.xlsx) as the text of a table: the first sheet that holds anything.

Takes a path and its open file; returns CSV in UTF-8, which is then read as any other. Refuses a damaged file, one with
several sheets of rows, and any without openpyxl (the extra ``sheets``).
"""

import csv
import io
import zipfile
from pathlib import Path
from typing import BinaryIO

from ..errors import InputError

SHEET_SUFFIX = ".xlsx"
_BROKEN = (zipfile.BadZipFile, KeyError, ValueError, OSError, TypeError)


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
