"""What the columns of a table of photographs are called, and what they say.

Takes a table; returns it under the names that this project uses, the column of names, and what else is said of them.
Refuses a table without a column that is needed; the message lists those found and those accepted.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from .. import RANKS
from ..errors import InputError
from ..files.dialect import normal_name
from ..files.tables import read_strings

OPTIONAL_COLUMNS = (*RANKS, "scientific_name", "common_name", "license", "rights_holder", "source_url")
NAME_COLUMNS = ("name", "class_name", "verbatim_name", "label", "scientific_name", "species", "class", "common_name")
PATH_COLUMNS = ("path", "file", "filename", "filepath", "file_path", "file_name", "image", "image_path")
_ALIASES = {
    **{"licence": "license", "url": "source_url", "vernacular_name": "common_name"},
    **{"common": "common_name", "sciname": "scientific_name"},  # Rare Species, on the hub
}


def read_known(path: Path) -> pd.DataFrame:
    """Read a table that a user wrote, as strings, its columns under the names that they have here."""
    return known_columns(read_strings(path))


def known_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Name columns as this project calls them; of two that become one the first is kept."""
    columns = [column_name(column) for column in table.columns]
    if "cls" in columns and "class" in columns:  # Rare Species: cls is the rank, class the label
        columns = [{"class": "class_name", "cls": "class"}.get(column, column) for column in columns]
    table = table.set_axis(columns, axis=1)
    return table.loc[:, ~table.columns.duplicated()]


def column_name(column: object) -> str:
    """Write the name of a column as `normal_name`, and as this project calls it where it has another name elsewhere.

    Examples
    --------
    >>> column_name("sciName")
    'scientific_name'
    """
    name = normal_name(column)
    return _ALIASES.get(name, name)


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
