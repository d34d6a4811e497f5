"""Timelapse's table: a row an image, with a flag for those to be deleted, and columns of the user's template.

Takes the table and its raw rows; returns them with frames of one visit as a group, and the images that show no taxon,
or were marked to be deleted, with their reason.
"""

import pandas as pd

from .columns import GROUP_COLUMN
from .reasons import NO_TAXON

VISIT_S = 60.0  # frames of one folder that follow each other within so many seconds are one visit


def is_timelapse(table: pd.DataFrame) -> bool:
    """Tell the table by its own columns."""
    return "deleteflag" in table and {"path", "folder"} <= set(table.columns)


def of_timelapse(table: pd.DataFrame, raw: pd.DataFrame) -> pd.DataFrame:
    """Say of each image what Timelapse does."""
    unnamed = raw["verbatim_name"].str.strip() == ""
    problem = raw["problem"].mask((raw["problem"] == "") & unnamed, f"{NO_TAXON}not labelled)")
    deleted = table["deleteflag"].str.lower() == "true"
    problem = problem.mask((problem == "") & deleted, f"{NO_TAXON}marked to be deleted)")
    raw = raw.assign(problem=problem)
    return raw if GROUP_COLUMN in raw else raw.assign(**{GROUP_COLUMN: _visits(table)})


def _visits(table: pd.DataFrame) -> pd.Series:
    """Return folder and time of the first frame of each visit, '' where no time can be read."""
    blank = pd.Series("", index=table.index, dtype=object)
    text = table["datetime"] if "datetime" in table else (table.get("date", blank) + " " + table.get("time", blank))
    time = pd.to_datetime(text.str.strip(), errors="coerce", format="mixed")
    ordered = pd.DataFrame({"folder": table["folder"], "time": time}).dropna().sort_values(["folder", "time"])
    gap = ordered.groupby("folder")["time"].diff().dt.total_seconds()
    first = ordered["time"].where(~(gap <= VISIT_S)).ffill()
    visit = ordered["folder"].str.replace("\\", "/", regex=False) + " " + first.astype(str)
    return visit.reindex(table.index).fillna("").astype(object)
