"""What names alone say of rows: images of no taxon, as cameras and people mark them, or of two; frames of a sequence.

Takes the raw table; returns it with those rows' reason, or a ``group`` for frames that no source gives one. Names that
the user gives a meaning stay; only file names that say so are frames: "seq0_1", "IMG_7_BURST003"; numbers say nothing.
"""

import re
from collections.abc import Callable

import pandas as pd

from ..taxonomy.labels import NOT_SAID
from .columns import GROUP_COLUMN, NO_TAXON, SEVERAL, by_value

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
_NAMES = (
    r".*burst(?P<burst>\d{8,})(?!\d).*",  # the moment of a burst, as phones write it
    r"(?P<shot>.+?)[\W_]*burst[\W_]*\d{1,4}(?:[\W_]*cover)?",
    r"(?P<video>.+?)[\W_]*(?:frames?|frm)[\W_]*\d+",
    r"(?P<sequence>(?:.*[\W_])?(?:seq|sequence|video|vid|clip|track|burst|mov|mvi|gopr|dji)[a-z]?[\W_]*\d+)[\W_]+\d+",
)
_FRAME = re.compile("|".join(f"(?:{name})" for name in _NAMES), re.IGNORECASE)
_NUMBERED = re.compile(r"(?:frames?|frm)[\W_]*\d+", re.IGNORECASE)


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
