"""The strings under which the classes of a benchmark are offered to a model.

Takes a table of classes; returns a string a class, and what is wrong with them: classes without one, and classes that
share one. Classes are keyed by taxon, never by their string. Refuses an unknown text type.
"""

from typing import NamedTuple

import pandas as pd

from ..errors import InputError
from ..shards.captions import SHARD_TEXTS, name_string

ASIS = "asis"
"""The text type that takes the label as published (``Tomato___Late_blight``), untouched."""


class StringReport(NamedTuple):
    """How classes and their strings fit: counts, the classes without a string, and those that share one."""

    n_classes: int
    n_strings: int
    unnamed: list[str]
    shared: dict[str, list[str]]


def class_strings(classes: pd.DataFrame, text_type: str) -> pd.Series:
    """Return the string of each class, to be put into prompt templates.

    Parameters
    ----------
    classes : DataFrame
        Indexed by class: the seven ranks, ``common_name, rank, verbatim_name`` (and ``scientific_name``).
    text_type : str
        `ASIS`, or a text type of `captions`.

    Returns
    -------
    Series
        Of str, in the same order; '' where a class has no such name (`captions.name_string`).

    Raises
    ------
    InputError
        For an unknown text type.
    """
    if text_type == ASIS:
        return classes["verbatim_name"].rename(text_type)
    if text_type not in SHARD_TEXTS:
        raise InputError(f"unknown text type {text_type!r}; choose one of {', '.join((ASIS, *SHARD_TEXTS))}")
    strings = [name_string(row, text_type) for row in classes.to_dict("records")]
    return pd.Series(strings, index=classes.index, name=text_type, dtype=object)


def report_strings(strings: pd.Series) -> StringReport:
    """Tell which classes cannot be told apart, or not be named at all, by their strings.

    Notes
    -----
    Of classes with one string the first wins every image; the accuracy that can be reached is below 1. By common name,
    Rare Species has 398 strings for 400 species.

    Examples
    --------
    >>> report_strings(pd.Series({"Acropora millepora": "staghorn coral", "Acropora acuminata": "staghorn coral"}))[1:]
    (1, [], {'staghorn coral': ['Acropora millepora', 'Acropora acuminata']})
    """
    named = strings[strings.str.strip() != ""]
    shared = {text: list(group.index) for text, group in named.groupby(named, sort=False) if len(group) > 1}
    return StringReport(len(strings), named.nunique(), list(strings.index.difference(named.index)), shared)
