"""Boxes of animals on photographs: each an image of its own, or the photographs whole.

Takes a raw table with a ``box`` (of `files.crops`) and, of models, a ``confidence`` a row; returns it with the location
of each crop, its photograph as the group. What a model is not sure of, and boxes that lie outside, are rows with their
reason.
"""

import numpy as np
import pandas as pd

from ..config import DataConfig
from ..files.crops import box_problem, crop_location, with_margin
from .columns import GROUP_COLUMN
from .marks import SEVERAL
from .match import unique_ids

BOX_COLUMN, CONFIDENCE_COLUMN = "box", "confidence"
DOUBTFUL = "a model is not sure of it"


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
    group = group.where((group != "") | ~boxed, photograph)
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


def numbered(files: pd.Series, boxes: pd.Series) -> np.ndarray:
    """Return the id of each row: its file, ``#<n>`` behind it for the n-th box of it."""
    boxed = (boxes != "").to_numpy()
    number = files[boxed].groupby(files[boxed]).cumcount() + 1
    ids = files.to_numpy(object).copy()
    ids[boxed] = files[boxed] + "#" + number.astype(str)
    return ids
