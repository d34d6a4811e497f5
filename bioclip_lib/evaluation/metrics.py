"""metrics.csv: one row a number, with its n, interval and chance.

`append_metrics` writes it and refuses a number without n and an interval; `read_metrics` reads it.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import InputError
from ..run import atomic, is_whole

LABELS = ("run", "profile", "notebook", "dataset", "model", "task", "metric")
COLUMNS = (*LABELS, "value", "ci_low", "ci_high", "n", "seeds", "chance", "seconds")
KEYS = ["run", "profile", "dataset", "model", "task", "metric"]  # not the notebook: one number has one row
_ROUNDING = 1e-9  # a mean and its interval are summed in different orders


def append_metrics(path: str | Path, rows: pd.DataFrame, **labels: str) -> None:
    """Add rows to metrics.csv; rows of the same run, data set, model, task and metric are replaced.

    Rows have some of `COLUMNS`, labels what is the same in all of them, as ``run="mini"``.

    Raises
    ------
    ValueError
        If a row lacks a label, n, seeds or a finite value, interval or chance; if the value is outside its interval; or
        if two of the rows have the same key.

    Notes
    -----
    ``seeds`` counts trainings (`speed.seeds` repeats them), not draws of folds. The order of the file does not depend
    on the order of the calls. The notebook is no part of the key: a number that moves to another notebook is replaced,
    not doubled.
    """
    path = Path(path)
    rows = _checked(rows.assign(**labels))
    old = read_metrics(path) if path.is_file() else rows.iloc[:0]
    table = pd.concat([old, rows], ignore_index=True) if len(old) else rows
    table = table.drop_duplicates(KEYS, keep="last").sort_values(["dataset", "task", "model", "metric", *KEYS])
    with atomic(path) as tmp:
        table.to_csv(tmp, index=False, float_format="%.6g")


def remove_rows_of(path: str | Path, notebook: str) -> None:
    """Remove the rows of a notebook, if there are any: it is executed again, and may ask less than before."""
    path = Path(path)
    if path.is_file():
        table = read_metrics(path)
        kept = table[table["notebook"] != notebook]
        if len(kept) < len(table):
            with atomic(path) as tmp:
                kept.to_csv(tmp, index=False, float_format="%.6g")


def _checked(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows in the form of metrics.csv; ValueError for a number that must not be written."""
    if "seconds" not in rows:
        rows = rows.assign(seconds=np.nan)
    missing = [column for column in COLUMNS if column not in rows]
    if missing:
        raise ValueError(f"rows lack {', '.join(missing)}")
    rows = rows[list(COLUMNS)]
    numbers = rows[["value", "ci_low", "ci_high", "n", "seeds", "chance"]].astype(float)
    bad = ~np.isfinite(numbers).all(axis=1) | (numbers["n"] < 1) | (numbers["seeds"] < 1)
    bad |= (numbers["value"] < numbers["ci_low"] - _ROUNDING) | (numbers["value"] > numbers["ci_high"] + _ROUNDING)
    if bad.any():
        raise ValueError(f"a number without n or interval is not written: {rows[bad].iloc[0].to_dict()}")
    unlabelled = rows[list(LABELS)].isna().any(axis=1) | (rows[list(LABELS)].astype(str) == "").any(axis=1)
    if unlabelled.any():
        raise ValueError(f"a number without a label is not written: {rows[unlabelled].iloc[0].to_dict()}")
    if rows.duplicated(KEYS).any():
        raise ValueError(f"two numbers for one key: {rows[rows.duplicated(KEYS)].iloc[0].to_dict()}")
    kinds = {**dict.fromkeys(COLUMNS, float), **dict.fromkeys(LABELS, str), "n": int, "seeds": int}
    return rows.astype(kinds)  # numbers in a column of objects would be written with all their digits


def read_metrics(path: str | Path) -> pd.DataFrame:
    """Read metrics.csv; InputError where it is missing or of another form.

    Notes
    -----
    Labels stay text: a data set named ``NA`` or a run named ``007`` comes back as it was written.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; run the notebooks 04_zero_shot to 08_hierarchy_probes first")
    numbers = [column for column in COLUMNS if column not in LABELS]
    if not is_whole(path):
        raise InputError(
            f"{path} is damaged, or was changed since it was written; delete it and run the notebooks again"
        )
    try:
        table = pd.read_csv(
            path,
            dtype={**dict.fromkeys(LABELS, str), **dict.fromkeys(numbers, float)},
            keep_default_na=False,
            na_values={column: [""] for column in numbers},
        )
        if tuple(table.columns) != COLUMNS:
            raise ValueError(f"columns {', '.join(map(str, table.columns))}")
        return table.astype({"n": int, "seeds": int})
    except ValueError as error:  # of pandas too: no columns, a line too long, text for a number
        raise InputError(f"{path} is no metrics table ({error}); delete it and run the notebooks again") from None
