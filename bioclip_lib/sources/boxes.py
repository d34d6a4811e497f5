"""Boxes of animals on photographs: each an image of its own, or the photographs whole.

Takes a raw table with a ``box`` (of `files.crops`) and, of models, a ``confidence`` a row; returns it with the location
of each crop, its photograph as the group. What a model is not sure of, and boxes that lie outside, are rows with their
reason.
"""

import numpy as np
import pandas as pd

from ..config import DataConfig
from ..files.crops import NO_BOX, box_of, box_problem, crop_location, with_margin
from .columns import DOUBTFUL, GROUP_COLUMN, SEVERAL
from .match import unique_ids

BOX_COLUMN, CONFIDENCE_COLUMN = "box", "confidence"
_CORNERS = [
    tuple(f"{prefix}{side}" for side in sides)
    for sides in (("xmin", "ymin", "xmax", "ymax"), ("left", "top", "right", "bottom"), ("x1", "y1", "x2", "y2"))
    for prefix in ("", "bbox", "box")
]


def cropped(raw: pd.DataFrame, data: DataConfig) -> pd.DataFrame:
    """Make the rows of boxes what the settings say."""
    if CONFIDENCE_COLUMN in raw:
        sure = pd.to_numeric(raw[CONFIDENCE_COLUMN], errors="coerce").fillna(1.0) >= data.min_confidence
        why = f"{DOUBTFUL} (confidence " + raw[CONFIDENCE_COLUMN] + f", data.min_confidence={data.min_confidence:g})"
        raw = raw.assign(problem=raw["problem"].mask((raw["problem"] == "") & ~sure, why))
    if BOX_COLUMN not in raw:
        return raw
    boxed = (raw[BOX_COLUMN] != "").to_numpy()
    if data.boxes == "whole" or not boxed.any():
        return _whole(raw) if boxed.any() else raw.drop(columns=BOX_COLUMN)
    problems = {box: box_problem(box) for box in raw.loc[boxed, BOX_COLUMN].unique()}
    problem = raw["problem"].mask((raw["problem"] == "") & boxed, raw[BOX_COLUMN].map(problems))
    usable = boxed & (problem == "").to_numpy()
    pairs = zip(raw.loc[usable, "location"], raw.loc[usable, BOX_COLUMN], strict=True)
    location = raw["location"].to_numpy(object).copy()
    location[usable] = [crop_location(place, with_margin(box, data.box_margin)) for place, box in pairs]
    group = raw.get(GROUP_COLUMN, pd.Series("", index=raw.index))
    photograph = raw["source"] + "/" + raw["source_id"].str.replace(r"#\d+$", "", regex=True)
    several = photograph.duplicated(keep=False) & boxed  # one box alone may belong to a burst
    group = group.where((group != "") | ~several, photograph)
    raw = raw.assign(location=location, problem=problem, **{GROUP_COLUMN: group})
    return raw.drop(columns=BOX_COLUMN)


def _whole(raw: pd.DataFrame) -> pd.DataFrame:
    """Take photographs whole: a row a taxon on each; with several taxa it is no image of one."""
    boxed = raw[BOX_COLUMN] != ""
    name = raw["source_id"].where(~boxed, raw["source_id"].str.replace(r"#\d+$", "", regex=True))
    raw = raw.assign(source_id=name).drop(columns=BOX_COLUMN)
    sure_first = raw.sort_values("problem", key=lambda problem: problem != "", kind="stable")
    again = sure_first.duplicated(["source", "source_id", "verbatim_name"]).reindex(raw.index)
    named = set(raw.loc[raw["problem"] == "", "source_id"])
    doubtful = raw["problem"].str.startswith(DOUBTFUL) & raw["source_id"].isin(named)  # beside a sure one
    kept = raw[~(boxed & (again | doubtful))]
    again = kept.duplicated(["source", "source_id"], keep=False) & (kept["problem"] == "") & (kept["location"] != "")
    kept = kept.assign(problem=kept["problem"].mask(again, SEVERAL)).reset_index(drop=True)
    return kept.assign(source_id=unique_ids(kept["source_id"]))


def boxes_of(table: pd.DataFrame) -> pd.Series | None:
    """Return the boxes that a table gives by two corners, in pixels or in shares; None where it gives none."""
    squeezed = {column.replace("_", ""): column for column in table}
    corners = next((names for names in _CORNERS if squeezed.keys() >= set(names)), None)
    if corners is None:
        return None
    values = table[[squeezed[name] for name in corners]].apply(pd.to_numeric, errors="coerce")
    left, upper, right, lower = (values.iloc[:, i].to_numpy() for i in range(4))
    size = (1, 1) if values.max(axis=None) <= 1 else (0, 0)
    sides = zip(left, upper, right - left, lower - upper, strict=True)
    given = (table[[squeezed[name] for name in corners]] != "").any(axis=1)
    boxes = pd.Series([box_of(box, *size) or NO_BOX for box in sides], index=table.index, dtype=object)
    return boxes.where(given, "")


def numbered(files: pd.Series, boxes: pd.Series) -> np.ndarray:
    """Return the id of each row: its file, ``#<n>`` behind it for the n-th box of it."""
    boxed = (boxes != "").to_numpy()
    number = files[boxed].groupby(files[boxed]).cumcount() + 1
    ids = files.to_numpy(object).copy()
    ids[boxed] = files[boxed] + "#" + number.astype(str)
    return ids
