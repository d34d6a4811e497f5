"""What is said of the class names of photographs, by a table of names or by the raw table itself.

Takes such a table, or the settings and the raw table; returns a row a class name with its scientific name, common name
and ranks. Refuses two meanings of one name, a table that names no class, and classes of which hardly any is a taxon.
"""

import contextlib
import json
import os
import unicodedata
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from .. import RANKS
from ..config import DataConfig
from ..errors import InputError
from ..files.tables import TABLE_SUFFIXES
from ..taxonomy.resolution import open_backbones, resolve
from .columns import NO_TAXON, find_column, read_known, said_of_names, verbatim_names
from .layout import is_code, is_plain, listed
from .listings import columns_of, tables_beside
from .walk import entries_of, is_folder

MEANING_COLUMNS = ("scientific_name", "common_name", *RANKS)
NAMES_COLUMNS = ("class_name", *MEANING_COLUMNS)
_HARDLY_ANY, _N_ASKED = 0.25, 100  # share of class names that are taxa, of so many that are looked up


def read_names(data: DataConfig, raw: pd.DataFrame) -> pd.DataFrame | None:
    """Read what is said about the class names of a source, if anything.

    Parameters
    ----------
    data : DataConfig
        ``data.names`` if given; else each set's own ``classes.csv``; else the raw table's common names, where it gives
        a class one. What else its rows say is the context in which their names are resolved.
    raw : pd.DataFrame
        The raw table of `read_source`.

    Returns
    -------
    pd.DataFrame or None
        As `read_names_csv`, names as the raw table writes them; None where nothing is said.

    Raises
    ------
    InputError
        As `read_names_csv`; if the table names no class of the raw table; or, unless ``data.taxa`` is false, if hardly
        any class is a taxon: numbers, seasons, sites, cameras, and nothing says what they mean.
    """
    used = raw[raw["problem"] == ""] if "problem" in raw else raw
    if len(used) and (used["verbatim_name"].str.strip() == "").all():
        raise InputError(
            f"{data.photos}: none of its {len(used):,} images has a name; fill in the column of names for those that "
            f"you know{_columns_seen(data)}"
        )
    said = given = _given(data, raw)
    if given is None or given.empty:  # lines that stay empty change nothing: what the raw table says of each class
        said = raw[[column for column in NAMES_COLUMNS if column in raw]].assign(class_name=raw["verbatim_name"])
        said = _stating(said.drop_duplicates().drop_duplicates("class_name", keep=False))
        said = one_meaning(said, Path(data.photos))
    if data.taxa:
        _check_names(raw, said, data)
    if said is given:
        return given
    common = said.loc[said["common_name"] != "", ["class_name", "common_name"]]  # all else is the context of its row
    return common.reset_index(drop=True) if len(common) else None


def _stating(said: pd.DataFrame) -> pd.DataFrame:
    """Return the lines that state something."""
    return said[(said.drop(columns="class_name") != "").any(axis=1)].reset_index(drop=True)


def _given(data: DataConfig, raw: pd.DataFrame) -> pd.DataFrame | None:
    """Read the table that the user gives, or that lies in the folder; names as the raw table writes them."""
    files = names_files(data)
    if not files:
        return None
    classes = pd.Series([name for name in raw["verbatim_name"].unique() if name], dtype=object)
    tables = [read_names_csv(file, set(classes) if len(files) == 1 else ()) for file in files]
    said = one_meaning(pd.concat(tables), f"{files[0]} and others")
    keys = classes.map(folded_name)
    to_class = classes[~keys.duplicated(keep=False)].set_axis(keys[~keys.duplicated(keep=False)])
    names = said["class_name"].where(said["class_name"].isin(classes))
    names = names.fillna(said["class_name"].map(folded_name).map(to_class)).fillna(said["class_name"])
    if len(classes) and not names.isin(classes).any():
        raise InputError(
            f"{files[0]} names no class of the photographs: it has {', '.join(said['class_name'][:5])}, they are "
            f"called {', '.join(classes[:5])}; write the latter into its first column"
        )
    return _stating(one_meaning(said.assign(class_name=names), files[0]))


def meant(data: DataConfig, raw: pd.DataFrame) -> set[str]:
    """Return the class names to which the user gives a meaning: whoever says what "Human" is means to have it."""
    with contextlib.suppress(InputError):  # `read_names` says what is wrong with it
        if (given := _given(data, raw)) is not None:
            return set(given["class_name"])
    return set()


def names_files(data: DataConfig) -> list[Path]:
    """Return the tables that say what the class names mean: the one that is given, else those of the folder."""
    if data.names:
        return [Path(data.names)]
    root = Path(data.photos).expanduser()
    folders = [str(root), *(entry.path for entry in entries_of(root) if is_folder(entry))]
    return sorted(Path(folder, "classes.csv") for folder in folders if os.path.isfile(f"{folder}/classes.csv"))


def _check_names(raw: pd.DataFrame, said: pd.DataFrame, data: DataConfig) -> None:
    """Refuse classes of which hardly any is a taxon, where nothing says what they mean; some of many are looked up."""
    rows = raw[raw["verbatim_name"] != ""]
    rows = rows[~rows["problem"].str.startswith(NO_TAXON)] if "problem" in raw else rows
    rows = rows.drop_duplicates("verbatim_name")
    asked = rows.iloc[:: max(1, -(-len(rows) // _N_ASKED))]
    odd = asked[~asked["verbatim_name"].isin(said["class_name"])]
    named = odd[[not is_code(name) and not is_plain(name) for name in odd["verbatim_name"]]]
    n_taxa = len(asked) - len(odd)
    if len(named) and n_taxa <= _HARDLY_ANY * len(asked):
        found = resolve(named, open_backbones(data))
        n_taxa += found.loc[found["name_status"] != "unresolved", "verbatim_name"].nunique()
    if len(asked) and n_taxa <= _HARDLY_ANY * len(asked):
        count = f"{n_taxa or 'none'} of {'the' if len(asked) == len(rows) else 'some'} {len(asked)}"
        raise InputError(
            f"{data.photos}: {count} class names is a name of a taxon: {listed(odd['verbatim_name'].tolist(), 5)}"
            f"{_columns_seen(data)}; give a table with class_name and scientific_name as data.names, the level of "
            "folders that names the classes as data.layout, a table of photographs with another column of names, or "
            "SET=data.taxa=false for classes of something else; make sort groups photographs without names"
        )


def _columns_seen(data: DataConfig) -> str:
    """Say what the columns are of the table that is read, or of those that lie beside the images."""
    root = Path(data.photos).expanduser()
    is_table = root.is_file() and root.name.lower().endswith(TABLE_SUFFIXES)
    return columns_of([root] if is_table else tables_beside(root) if root.exists() else [])


def folded_name(name: str) -> str:
    """Reduce a class name to what two ways of writing it share."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().replace("_", " ").replace("-", " ").split())


def read_names_csv(path: str | Path, classes: Collection[str] = ()) -> pd.DataFrame:
    """Read what a user says about class names: scientific name, common name or ranks.

    Parameters
    ----------
    path : str or Path
        A CSV, Parquet or JSON file ({"1": "a name"}) with ``class_name`` (or another of
        `columns.NAME_COLUMNS`) and any of ``scientific_name``, ``common_name`` and the seven ranks.
    classes : Collection of str
        The classes of the photographs: where that column has none of them, the first column with one takes its place.

    Returns
    -------
    pd.DataFrame
        ``class_name``, ``scientific_name``, ``common_name`` and the seven ranks, one row a class name, '' where
        nothing is said.

    Raises
    ------
    InputError
        If there is no name column, nothing is said of the names, or one name is given two meanings.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"{path} is not a file; give a CSV with class_name and scientific_name, common_name or ranks")
    table = _of_json(path) if path.suffix.lower() == ".json" else read_known(path)
    key = next((column for column in ("class_name", "folder", "label", "name") if column in table), None)
    names = table[key] if key else verbatim_names(path, table)
    wanted = set(map(folded_name, classes))
    if wanted and wanted.isdisjoint(names.map(folded_name)):
        key = next((column for column in table if not wanted.isdisjoint(table[column].map(folded_name))), None)
        names, table = (table[key], table.drop(columns=key)) if key else (names, table)
        if key and table.columns.intersection(MEANING_COLUMNS).empty:  # a number and a name
            table = table.assign(scientific_name=verbatim_names(path, table))
    find_column(path, "meaning of a name", table, MEANING_COLUMNS)
    return one_meaning(said_of_names(table, names).assign(class_name=names), path)


def _of_json(path: Path) -> pd.DataFrame:
    """Read an object such as {"1": "Parus major"}."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        if all(isinstance(name, str) for name in content.values()):
            return pd.DataFrame({"class_name": list(content), "scientific_name": list(content.values())}, dtype=object)
    except (ValueError, AttributeError):
        pass
    raise InputError(f"{path} is no JSON object of names by class; give a CSV with class_name and scientific_name")


def one_meaning(table: pd.DataFrame, where: object) -> pd.DataFrame:
    """Keep one row a class name, what its rows say taken together; refuse two that contradict each other."""
    table = table.reindex(columns=list(NAMES_COLUMNS), fill_value="")
    table = table[table["class_name"] != ""].drop_duplicates(ignore_index=True)
    again = table["class_name"].duplicated(keep=False)
    if not again.any():
        return table
    said = table[again].replace("", pd.NA).groupby("class_name", sort=False)
    twice = said.nunique().gt(1).any(axis=1)
    if twice.any():
        names = ", ".join(twice.index[twice][:5])
        raise InputError(
            f"{where} gives {twice.sum()} class names more than one meaning ({names}); keep one row a name"
        )
    first = said.first().reset_index()
    table = pd.concat([table[~again], first], ignore_index=True).fillna("").astype(object)
    return table[list(NAMES_COLUMNS)]
