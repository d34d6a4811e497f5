"""Tables that users write: CSV in whatever encoding and delimiter their spreadsheet chose, or Parquet.

Takes a path; returns text columns under normalised names. Refuses what cannot be parsed or has no rows.
"""

import csv
import io
from pathlib import Path

import pandas as pd

from .errors import InputError

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".pq")
_ALIASES = {"licence": "license", "url": "source_url", "vernacular_name": "common_name"}


def read_strings(path: Path) -> pd.DataFrame:
    """Read a CSV or Parquet file as text.

    Parameters
    ----------
    path : Path
        Of a suffix in `TABLE_SUFFIXES`; a CSV's encoding and delimiter are found out.

    Returns
    -------
    pd.DataFrame
        Stripped strings, '' where missing; columns in lower-case snake_case.

    Raises
    ------
    InputError
        If it cannot be parsed, or has no rows.

    Notes
    -----
    ``NA`` and ``None`` are text like any other: there are taxa of such names.
    """
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            table = pd.read_parquet(path)
            table = table.astype(object).where(table.notna(), "").astype(str)
        else:
            text = _decode_text(path)
            # index_col=False: no column is taken for an index
            table = pd.read_csv(
                io.StringIO(text), sep=_delimiter(text), dtype=str, keep_default_na=False, index_col=False
            ).fillna("")
    except (OSError, ValueError) as error:  # pandas' and Arrow's errors are of these kinds
        raise InputError(
            f"{path} cannot be read as a table ({str(error).strip()}); save it again as UTF-8 CSV"
        ) from None
    if table.empty:
        raise InputError(f"{path} has no rows; give a table with one row an image, or a class")
    columns = [str(column).strip().lower().replace(" ", "_").replace("-", "_") for column in table.columns]
    columns = [_ALIASES.get(column, column) for column in columns]
    if "cls" in columns and "class" in columns:  # Rare Species: cls is the rank, class the label
        columns = [{"class": "class_name", "cls": "class"}.get(column, column) for column in columns]
    table.columns = pd.Index(columns)
    return table.loc[:, ~table.columns.duplicated()].map(str.strip)


def _decode_text(path: Path) -> str:
    """Decode a text file: UTF-8 with or without BOM, UTF-16 with one, else Windows-1252 (what old Excel writes)."""
    data = path.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _delimiter(text: str) -> str:
    """Return the delimiter of a CSV: the one that splits the header into most fields, outside quotes."""
    header = text.lstrip().split("\n", 1)[0]
    return max(",;\t", key=lambda delimiter: len(next(csv.reader([header], delimiter=delimiter), [])))
