"""Which photographs are frames of one video, sequence or burst, by their names alone.

Takes the raw table; returns it with a ``group`` for those that no source gives one. Only names that say so count:
"seq0_1", "clipA_frame_012", "IMG_7_BURST003"; numbers alone say nothing.
"""

import re

import pandas as pd

from .columns import GROUP_COLUMN

_NAMES = (
    r".*burst(?P<burst>\d{8,})(?!\d).*",  # the moment of a burst, as phones write it
    r"(?P<shot>.+?)[\W_]*burst[\W_]*\d{1,4}(?:[\W_]*cover)?",
    r"(?P<video>.+?)[\W_]*(?:frames?|frm)[\W_]*\d+",
    r"(?P<sequence>(?:.*[\W_])?(?:seq|sequence|video|vid|clip|track|burst|mov|mvi|gopr|dji)[a-z]?[\W_]*\d+)[\W_]+\d+",
)
_FRAME = re.compile("|".join(f"(?:{name})" for name in _NAMES), re.IGNORECASE)
_NUMBERED = re.compile(r"(?:frames?|frm)[\W_]*\d+", re.IGNORECASE)


def sequence_of(path: str) -> str:
    """Return what names the video, sequence or burst of a path, '' where it is none's frame."""
    folder, _, name = path.rpartition("/")
    stem = name.partition(".")[0]
    if _NUMBERED.fullmatch(stem):
        return folder if "/" in folder else ""  # of a class folder alone nobody knows how many videos it has
    match = _FRAME.fullmatch(stem)
    return f"{folder}/{next(filter(None, match.groups()))}" if match else ""


def with_sequences(raw: pd.DataFrame) -> pd.DataFrame:
    """Group the frames of one sequence, where the source says nothing else."""
    given = raw.get(GROUP_COLUMN, pd.Series("", index=raw.index, dtype=object))
    asked = (given == "") & (raw["problem"] == "")
    frames = raw.loc[asked, "source_id"].map(sequence_of)
    frames = frames[frames != ""]
    return raw if frames.empty else raw.assign(**{GROUP_COLUMN: frames.reindex(raw.index).fillna(given)})
