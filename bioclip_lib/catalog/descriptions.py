"""Descriptions: what a table of the user says of how taxa look, beside their names.

Takes resolved names and a table; returns the names with a text each, '' where nothing is said. Refuses a table that
describes none of them, or one of them twice; warns of lines that describe none.
"""

import warnings
from pathlib import Path

import pandas as pd

from ..config import DESCRIPTION
from ..errors import InputError
from ..files.tables import column_names
from ..sources.classes import folded_name
from ..sources.columns import read_known
from ..sources.layout import listed

_OF = ("scientific_name", "class_name", "label", "name", "species", "class")


def described(names: pd.DataFrame, path: str) -> pd.DataFrame:
    """Return names with ``description``: of the table's line that bears their scientific name, or their class name."""
    if not path:
        return names.assign(**{DESCRIPTION: ""})
    texts = read_descriptions(path)
    keys = names[["scientific_name", "verbatim_name"]].map(folded_name)
    found = keys["scientific_name"].map(texts.get)
    found = found.where(found.notna(), keys["verbatim_name"].map(texts.get)).astype(object).fillna("")
    of_species = found[found != ""].groupby(keys["scientific_name"]).first().drop("", errors="ignore")
    found = found.where(found != "", keys["scientific_name"].map(of_species).astype(object).fillna(""))
    if len(names) and not (found != "").any():
        raise InputError(
            f"{path} describes none of the {len(names):,} names: it has {', '.join(texts.index[:3])}, they are "
            f"{', '.join(names['scientific_name'][:3])}; write the latter into its column of names"
        )
    if unused := sorted({*texts.index} - {*keys["scientific_name"], *keys["verbatim_name"]}):
        warnings.warn(
            f"{path}: {len(unused)} of {len(texts)} lines describe no class: {listed(unused, 5)}", stacklevel=2
        )
    return names.assign(**{DESCRIPTION: found})


def read_descriptions(path: str) -> pd.Series:
    """Read a text a name, names folded: of a table with ``description`` and a scientific name, or a class name."""
    file = Path(path).expanduser()
    table = read_known(file)
    if {"genus", "species"} <= set(table):
        epithet = table["species"].str.fullmatch(r"[\w-]+")
        table = table.assign(species=table["species"].where(~epithet, table["genus"] + " " + table["species"]))
    named = [column for column in _OF if column in table]
    if not named or DESCRIPTION not in table:
        raise InputError(
            f"{path} has columns {', '.join(column_names(file))}; call one scientific_name and one description"
        )
    of = table[named].replace("", None).bfill(axis=1).iloc[:, 0].fillna("")  # of each line the first that it has
    texts = table[DESCRIPTION].str.split().str.join(" ").set_axis(of.map(folded_name))
    texts = texts[(texts != "") & (texts.index != "")]
    if texts.empty:
        raise InputError(f"{path} describes nothing: no line has both a name and a description; fill in the latter")
    if len(twice := texts.index[texts.index.duplicated()]):
        raise InputError(f"{path} describes {twice[0]!r} twice; leave one line a name")
    return texts
