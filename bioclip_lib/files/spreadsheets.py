"""CSV that people open in a spreadsheet: no cell of a stranger's text is computed there, or steers what shows it.

Takes a table; text that begins like a formula gets an apostrophe before it, as spreadsheets themselves write it, and
control characters, those that turn the direction of writing among them, become U+FFFD. Numbers stay numbers. A program
that needs the text as it is reads the Parquet files of a run.
"""

import re
from pathlib import Path

import pandas as pd

from ..run import atomic

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
