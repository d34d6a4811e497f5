"""Rows whose image is of no taxon, or of several: what cameras and people mark so, and images that are named twice.

Takes the raw table; returns it with those rows' reason. Names that the user gives a meaning stay.
"""

import re
from collections.abc import Callable

import pandas as pd

from ..taxonomy.labels import NOT_SAID
from .match import by_value
from .reasons import NO_TAXON, SEVERAL

_OF_ENGLISH = (
    *("nothing", "no animal", "no animals", "background", "background google", "misfire", "human", "humans", "trash"),
    *("animal", "no cv result", "unsorted", "unlabelled", "unlabeled", "not identified", "unidentifiable"),
    *("no name", "no id", "indet", "unsure", "not sure", "unclear", "to identify", "to sort", "todo", "to do", "misc"),
    *("miscellaneous", "rejected", "rejects", "discarded", "deleted", "junk", "duplicate", "duplicates", "blurry"),
    *("blurred", "unusable", "review", "to review", "to check", "mixed", "other", "others", "various", "nest", "nests"),
    *("vehicles", "new folder", "untitled folder"),
)
_OF_OTHERS = (
    *("unbestimmt", "unbekannt", "sonstige", "sonstiges", "gemischt", "leer", "neuer ordner", "nueva carpeta", "otros"),
    *("otras", "varios", "sin identificar", "no identificado", "desconocido", "indeterminado", "inconnu", "autres"),
    *("indéterminé", "non identifié", "nouveau dossier", "onbekend", "overige", "outros", "desconhecido", "nova pasta"),
)


def plain(name: str) -> str:
    """Write a name in lower case, without signs."""
    return re.sub(r"[\W_]+", " ", name).strip().casefold()


NOTHING = frozenset(map(plain, (*NOT_SAID, *_OF_ENGLISH, *_OF_OTHERS))) - {"", "na"}  # NA may be a code
"""Names that are of no taxon, as `plain` writes them."""


def marked(raw: pd.DataFrame, meant: Callable[[], set[str]] = set) -> pd.DataFrame:
    """Give images of `NOTHING`, unless the name is `meant`, and those of two names their reason."""
    names = by_value(raw["verbatim_name"], plain)
    words = by_value(names, lambda name: re.sub(r" \d+$", "", name))  # "New folder (2)"
    nothing = (raw["problem"] == "") & words.isin(NOTHING)
    nothing &= ~raw["verbatim_name"].isin(meant() if nothing.any() else set())
    problem = raw["problem"].mask(nothing, NO_TAXON + words + ")")
    counts = (problem == "") & (raw["location"] != "") & (names != "")  # a row without a name contradicts none
    named = pd.DataFrame({"location": raw["location"], "name": names})[counts]
    named = named[named["location"].duplicated(keep=False)].drop_duplicates()
    twice = named.loc[named["location"].duplicated(), "location"]
    return raw.assign(problem=problem.mask((problem == "") & raw["location"].isin(twice), SEVERAL))
