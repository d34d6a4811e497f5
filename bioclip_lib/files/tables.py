"""Tables that users write: CSV in whatever encoding and delimiter their spreadsheet chose, or Parquet.

Takes a path; returns text columns under normalised names, the column of names, and what else is said of them. Refuses
what cannot be parsed, has no rows, or no column of names.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from .. import RANKS
from ..errors import InputError

PARQUET_SUFFIXES = (".parquet", ".pq")
TABLE_SUFFIXES = (".csv", ".tsv", ".txt", *PARQUET_SUFFIXES)
OPTIONAL_COLUMNS = (*RANKS, "scientific_name", "common_name", "license", "rights_holder", "source_url")
NAME_COLUMNS = ("name", "class_name", "verbatim_name", "label", "scientific_name", "species", "class", "common_name")
_ALIASES = {
    **{"licence": "license", "url": "source_url", "vernacular_name": "common_name"},
    **{"common": "common_name", "sciname": "scientific_name"},  # Rare Species, on the hub
}


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
        if path.suffix.lower() in PARQUET_SUFFIXES:
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
    columns = [column_name(column) for column in table.columns]
    if "cls" in columns and "class" in columns:  # Rare Species: cls is the rank, class the label
        columns = [{"class": "class_name", "cls": "class"}.get(column, column) for column in columns]
    table.columns = pd.Index(columns)
    return table.loc[:, ~table.columns.duplicated()].map(str.strip)


def read_columns(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read some columns of a large table that a data set comes with, as text.

    Parameters
    ----------
    path : Path
        CSV, or tab-separated without quotes (``.tsv``, ``.tab``, ``.txt``); or Parquet.
    columns : sequence of str
        In lower-case snake_case; those that the file lacks are left out.

    Returns
    -------
    pd.DataFrame
        Stripped strings, '' where missing.

    Raises
    ------
    InputError
        If it cannot be parsed.

    Notes
    -----
    `read_strings` looks closer at encoding and delimiter, and holds the whole file in memory as text several times.
    Here a file that is not UTF-8 is taken for Windows-1252.
    """
    try:
        table = (
            _parquet_columns(path, columns) if path.suffix.lower() in PARQUET_SUFFIXES else _csv_columns(path, columns)
        )
    except (OSError, ValueError) as error:  # pandas' and Arrow's errors are of these kinds
        raise InputError(f"{path} cannot be read as a table ({str(error).strip()}); download it again") from None
    return table.apply(lambda column: column.str.strip())


def normal_name(column: object) -> str:
    """Write the name of a column in lower-case snake_case.

    Examples
    --------
    >>> normal_name(" EOL content ID")
    'eol_content_id'
    """
    return str(column).strip().lower().replace(" ", "_").replace("-", "_")


def column_name(column: object) -> str:
    """Write the name of a column as `normal_name`, and as this project calls it where it has another name elsewhere.

    Examples
    --------
    >>> column_name("sciName")
    'scientific_name'
    """
    name = normal_name(column)
    return _ALIASES.get(name, name)


def _parquet_columns(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    names = {normal_name(name): name for name in pq.read_schema(path).names}
    table = pd.read_parquet(path, columns=[names[column] for column in columns if column in names])
    table = table.astype(object).where(table.notna(), "").astype(str)
    return table.rename(columns=normal_name)


def _csv_columns(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    tabs = path.suffix.lower() in (".tsv", ".tab", ".txt")
    wanted = set(columns)
    options = {
        "sep": "\t" if tabs else ",",
        "quoting": csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
        "usecols": lambda name: normal_name(name) in wanted,
        "dtype": str,
        "keep_default_na": False,
        "index_col": False,
    }
    try:
        table = pd.read_csv(path, encoding="utf-8-sig", **options)
    except UnicodeDecodeError:
        table = pd.read_csv(path, encoding="cp1252", encoding_errors="replace", **options)
    return table.fillna("").rename(columns=normal_name)


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


def verbatim_names(path: Path, table: pd.DataFrame) -> pd.Series:
    """Return the column of names; ``genus`` and a one-word ``species`` are joined."""
    candidates = table.drop(columns="class", errors="ignore") if _has_ranks(table) else table
    # numbers are class indices; a column of words beside them is the name
    words = [name for name in NAME_COLUMNS if name in candidates and not table[name].str.fullmatch(r"[\d.]*").all()]
    column = words[0] if words else find_column(path, "name", candidates, NAME_COLUMNS)
    return _binomials(table) if column == "species" else table[column]


def _has_ranks(table: pd.DataFrame) -> bool:
    """Tell whether ``class`` stands among other ranks (then it is a rank, not a label)."""
    return bool({"phylum", "order", "family"} & set(table.columns))


def _binomials(table: pd.DataFrame) -> pd.Series:
    """Return "Genus epithet" of the columns ``genus`` and ``species``, whichever there are."""
    blank = pd.Series("", index=table.index, dtype=object)
    genus, species = table.get("genus", blank), table.get("species", blank)
    return species.where(species.str.contains(" "), genus + " " + species).str.strip()


def said_of_names(table: pd.DataFrame, names: pd.Series) -> pd.DataFrame:
    """Return the `OPTIONAL_COLUMNS` of a table, as far as they say more than the name itself.

    Ranks are a lineage only in rows where one above the genus is given; ``genus`` and ``species`` alone are a name, to
    be looked up, and one word (``Blue_Jay``) without a genus is no epithet.
    """
    said = table[[column for column in OPTIONAL_COLUMNS if column in table]].copy()
    if not _has_ranks(table):
        said = said.drop(columns=["class"], errors="ignore")
    if "species" in said and "genus" not in said:
        first, _, rest = (said["species"].str.partition(" ")[i] for i in range(3))
        said["genus"], said["species"] = first.where(rest != "", ""), rest
    above = said[[rank for rank in ("kingdom", "phylum", "class", "order", "family") if rank in said]]
    alone = (above == "").all(axis=1)
    if alone.any():
        said["scientific_name"] = table.get("scientific_name", _binomials(table).where(alone, ""))
        said.loc[alone, said.columns.intersection(["genus", "species"])] = ""
    if not len(above.columns):
        said = said.drop(columns=["genus", "species"], errors="ignore")
    if "scientific_name" in said and said["scientific_name"].where(said["scientific_name"] != "", names).equals(names):
        said = said.drop(columns="scientific_name")
    return said


def find_column(path: Path, what: str, table: pd.DataFrame, accepted: Sequence[str]) -> str:
    """Return the first accepted column that a table has; `InputError`, which lists those found, where it has none."""
    column = next((column for column in accepted if column in table), None)
    if column is None:
        raise InputError(
            f"{path} has no column for the {what}: found {', '.join(table.columns)}; "
            f"name one of them {' or '.join(repr(name) for name in accepted)}"
        )
    return column
