"""Rows whose image is of no taxon, or of several: what cameras and people mark so, and images that are named twice.

Takes the raw table; returns it with those rows' reason. Names that the user gives a meaning stay.
"""

import re
from collections.abc import Callable

import pandas as pd

from .match import by_value
from .reasons import NO_TAXON, SEVERAL

NOTHING = frozenset(
    (
        *("empty", "blank", "nothing", "none", "no animal", "no animals", "background", "background google", "misfire"),
        *("human", "humans", "person", "people", "vehicle", "vehicles", "car", "animal", "no cv result", "unsorted"),
        *("unknown", "unidentified", "unclassified", "unlabelled", "unlabeled", "not identified", "unidentifiable"),
        *("null", "nan", "n a", "no name", "no id", "indet", "unsure", "not sure", "unclear", "to identify"),
        *("to sort", "todo", "to do", "misc", "miscellaneous", "rejected", "rejects", "discarded", "deleted", "trash"),
        *("junk", "duplicate", "duplicates", "blurry", "blurred", "unusable", "review", "to review", "to check"),
    )
)
"""Names that are of no taxon, in lower case."""


def plain(name: str) -> str:
    """Write a name in lower case, without signs."""
    return re.sub(r"[\W_]+", " ", name).strip().casefold()


def marked(raw: pd.DataFrame, meant: Callable[[], set[str]] = set) -> pd.DataFrame:
    """Give images of `NOTHING`, unless the name is `meant`, and those of two names their reason."""
    names = by_value(raw["verbatim_name"], plain)
    nothing = (raw["problem"] == "") & names.isin(NOTHING)
    nothing &= ~raw["verbatim_name"].isin(meant() if nothing.any() else set())
    problem = raw["problem"].mask(nothing, NO_TAXON + names + ")")
    counts = (problem == "") & (raw["location"] != "") & (names != "")  # a row without a name contradicts none
    named = pd.DataFrame({"location": raw["location"], "name": names})[counts]
    named = named[named["location"].duplicated(keep=False)].drop_duplicates()
    twice = named.loc[named["location"].duplicated(), "location"]
    return raw.assign(problem=problem.mask((problem == "") & raw["location"].isin(twice), SEVERAL))
