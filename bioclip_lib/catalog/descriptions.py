"""Descriptions: what a table of the user says of how taxa look, beside their names.

Takes resolved names and a table; returns the names with a text each, '' where nothing is said. Refuses a table that
describes none of them, or one of them twice.
"""

from pathlib import Path

import pandas as pd

from ..config import DESCRIPTION
from ..errors import InputError
from ..sources.columns import read_known
from ..sources.listings import folded_name

_OF = ("scientific_name", "class_name", "species", "label", "name", "class")


def described(names: pd.DataFrame, path: str) -> pd.DataFrame:
    """Return names with ``description``: of the table's line that bears their scientific name, or their class name.

    Parameters
    ----------
    names : DataFrame
        Of `taxonomy.resolve`.
    path : str
        A table with a column ``description`` and one of names, ``scientific_name`` for instance; '': none.

    Raises
    ------
    InputError
        If the table lacks one of the two columns, names a taxon twice, or names none of these.
    """
    if not path:
        return names.assign(**{DESCRIPTION: ""})
    texts = _read(Path(path).expanduser())
    by_class, by_name = (names[of].map(folded_name).map(texts.get) for of in ("verbatim_name", "scientific_name"))
    found = by_name.where(by_name.notna(), by_class).astype(object).fillna("")
    if len(names) and not (found != "").any():
        raise InputError(
            f"{path} describes none of the {len(names):,} names: it has {', '.join(texts.index[:3])}, they are "
            f"{', '.join(names['scientific_name'][:3])}; write the latter into its column of names"
        )
    return names.assign(**{DESCRIPTION: found})


def _read(path: Path) -> pd.Series:
    """Read a text a name, names folded."""
    table = read_known(path)
    of = next((column for column in _OF if column in table), None)
    if of is None or DESCRIPTION not in table:
        raise InputError(f"{path} has columns {', '.join(table.columns)}; call one scientific_name and one description")
    texts = table[DESCRIPTION].str.split().str.join(" ").set_axis(table[of].map(folded_name))
    texts = texts[(texts != "") & (texts.index != "")]
    if len(twice := texts.index[texts.index.duplicated()]):
        raise InputError(f"{path} describes {twice[0]!r} twice; leave one line a name")
    return texts
