"""Which level of nested folders names the classes, and what the others are: sets, splits, higher taxa, cameras.

Takes the folders that hold images; returns a word a level, as ``split/class`` or ``genus/epithet``. Names are looked
up in NCBI Taxonomy. Where two readings are possible both are named, with the setting that chooses; nothing is guessed.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection

import pandas as pd

from .. import RANKS
from ..errors import InputError
from ..taxonomy.resolution import resolve
from .columns import split_word

WORDS = ("set", "split", "class", "epithet", *RANKS, "-")
_PLAIN = set(
    "images image imgs img photos photo pictures pics pictures data dataset raw jpg jpeg png crops crop cropped media "
    "original originals all dcim files frames resized full thumbs video videos films movies clips audio sounds".split()
)
_CODE = re.compile(r"(?:[A-Za-z]{0,10}[\W_]*\d+[\W_]*)+[A-Za-z]?|\d{3}[A-Z_]{4,5}|(?=.*\d)[0-9a-f-]{8,}")
_GENUS, _EPITHET = re.compile(r"[A-Z][a-z]{2,}"), re.compile(r"[a-z]{3,}(?:-[a-z]+)?|spp?\.?")
_ONE_WORD = re.compile(r"[A-Za-z]{3,}(?:-[A-Za-z]+)?|spp?\.?", re.IGNORECASE)
_SEVERAL_WORDS = re.compile(r"[A-Z0-9][\w'.-]*?[ _][A-Za-z][\w' .-]+")
_RANK_ENDINGS = {"family": ("idae", "aceae"), "order": ("ales", "iformes", "ptera")}
_TRAINING = re.compile(r"train(ing)?(?![a-z])[\W_\w]*", re.IGNORECASE)  # no taxon is called so
_MOST, _N_ASKED = 0.9, 30


def is_code(name: str) -> bool:
    """Tell a number, date, camera or code from a name."""
    return _CODE.fullmatch(name) is not None


def is_plain(name: str) -> bool:
    """Tell words like "images" or "raw_images", that name no class."""
    words = [word for word in re.split(r"[\W_\d]+", name.lower()) if word]
    return bool(words) and set(words) <= _PLAIN


def find_layout(folders: Collection[tuple[str, ...]]) -> list[str]:
    """Return the word of each level (of `WORDS`) of folders that hold images, [] where no level can name classes."""
    depth = max(map(len, folders), default=0)
    levels = [sorted({folder[i] for folder in folders if len(folder) > i}) for i in range(depth)]
    words = [_word_of(names) for names in levels]
    unknown = [i for i, word in enumerate(words) if not word]
    if not unknown:  # codes may be classes: a table of names tells what they mean
        unknown = [i for i, word in enumerate(words) if word == "code"][:1]
    codes = [i for i, word in enumerate(words) if word == "code"]
    words = ["" if i in unknown else "-" if word == "code" else word for i, word in enumerate(words)]
    if not unknown:
        return []
    _name_levels(folders, words, unknown)
    classes = sorted({name for i, word in enumerate(words) if word in ("class", "species") for name in levels[i]})
    plain, others = list(filter(is_plain, classes)), [name for name in classes if not is_plain(name)]
    if plain and others:  # no taxon is called "images"
        raise InputError(
            f"folders {listed(plain)} name no class, beside {listed(others)}, which do; move them away, or say "
            "data.layout=class to take all of them as classes"
        )
    named = next(i for i, word in enumerate(words) if word in ("class", "epithet"))
    for i in codes:
        if i < named and not _recurs({(folder[i], folder[named]) for folder in folders if len(folder) > named}):
            words[i] = "set"  # "birds100" and "leaves40" hold classes of their own; cameras and dates share theirs
    return words


def _word_of(names: list[str]) -> str:
    """Return what the names of a level show by themselves: split, code, plain ("-"), or '' ."""
    splits = [name for name in names if split_word(name)]
    if len(splits) == len(names):
        return "split"
    if len(set(map(split_word, splits))) > 1 or any(map(_TRAINING.fullmatch, splits)):
        others = [name for name in names if name not in splits]
        raise InputError(
            f"folders {listed(splits)} are splits and {listed(others)} beside them none; rename these to train, val or "
            "test, move them away, or say data.layout=set/class to split all images anew"
        )
    if all(map(is_plain, names)):
        return "-"
    return "code" if sum(map(is_code, names)) >= _MOST * len(names) else ""


def _name_levels(folders: Collection[tuple[str, ...]], words: list[str], unknown: list[int]) -> None:
    """Fill the levels that are unknown."""
    first = unknown[0]
    whole = {folder[: first + 1] for folder in folders if len(folder) == first + 1}
    deeper = {folder[: first + 1] for folder in folders if len(folder) > unknown[-1]} if len(unknown) > 1 else set()
    if deeper - whole and whole:
        a, b = min(deeper - whole)[-1], min(whole)[-1]
        raise InputError(
            f"it mixes a set of class folders ({a}) and a class folder ({b}); put that class into a set, give the set "
            "alone, or say data.layout=class if folders in classes are no classes"
        )
    if whole or len(unknown) == 1:
        words[first] = "class"
    else:
        second = unknown[1]
        pairs = sorted({(folder[first], folder[second]) for folder in folders if len(folder) > second})
        words[first], words[second] = _two_levels(pairs)
        if len(unknown) > 2 and words[first] not in ("class", "genus"):  # a set or a higher taxon, then the next two
            words[second] = ""
            _name_levels([folder for folder in folders if len(folder) > second], words, unknown[1:])
    words[:] = [word or "-" for word in words]


def _two_levels(pairs: list[tuple[str, str]]) -> tuple[str, str]:
    """Return the words of two levels, by the names of the upper one and those below."""
    if _share(pairs, lambda a, b: re.split(r"[ _]", b.lower())[0] == a.lower() != b.lower()) >= _MOST:
        return "genus", "class"
    for rank, endings in _RANK_ENDINGS.items():
        if _share(pairs, lambda a, b, endings=endings: a.lower().endswith(endings)) >= _MOST:
            return rank, "class"
    if _are_parts(pairs):
        return "genus", "epithet"
    upper, lower = _sets_or_classes(pairs)
    return (_above(sorted({pair[0] for pair in pairs})) or upper, lower) if upper == "set" else (upper, lower)


def _are_parts(pairs: list[tuple[str, str]]) -> bool:
    """Tell genera with their epithets: most are species, in whatever case; or known names of the usual case."""
    if _share(pairs, lambda a, b: bool(_ONE_WORD.fullmatch(a) and _ONE_WORD.fullmatch(b))) < _MOST:
        return False
    joined = [f"{a.capitalize()} {b.lower()}" for a, b in pairs][:_N_ASKED]
    if 2 * ranks_of(joined).count("species") >= len(joined):
        return True
    usual = _share(pairs, lambda a, b: bool(_GENUS.fullmatch(a) and _EPITHET.fullmatch(b))) >= _MOST
    return usual and 2 * count_taxa(joined) >= len(joined) and not _above(sorted({a for a, _ in pairs}))


def _above(names: list[str]) -> str:
    """Return the rank of folders that are called as taxa above genera, "-" where it is not one, '' of other names."""
    ranks = [rank for rank in ranks_of(names[:_N_ASKED]) if rank in RANKS[:5]]
    if len(ranks) < _MOST * len(names[:_N_ASKED]):
        return ""
    return ranks[0] if len(set(ranks)) == 1 and ranks[0] != "class" else "-"


def _sets_or_classes(pairs: list[tuple[str, str]]) -> tuple[str, str]:
    """Tell sets of classes from classes with folders in them: by names of several words, then by what are taxa."""
    upper, lower = (sorted({pair[i] for pair in pairs}) for i in (0, 1))
    several = [sum(map(bool, map(_SEVERAL_WORDS.fullmatch, names))) / len(names) for names in (upper, lower)]
    if max(several) >= 0.5 and min(several) < 0.2:
        return ("class", "-") if several[0] > several[1] else ("set", "class")
    n_upper, n_lower = (count_taxa(names[:_N_ASKED]) / len(names[:_N_ASKED]) for names in (upper, lower))
    if max(n_upper, n_lower) >= 0.5:
        return ("set", "class") if n_lower >= 0.5 else ("class", "-")
    if _recurs(set(pairs)):
        raise InputError(
            f"it can be read in two ways: folders {listed(upper)} are the classes, and {listed(lower)} lie in them "
            f"(data.layout=class/-), or the classes are {listed(lower)}, in sets {listed(upper)} "
            "(data.layout=set/class); say which"
        )
    return "set", "class"


def _recurs(pairs: set[tuple[str, str]]) -> bool:
    """Tell whether most lower names lie in several upper folders."""
    counts = Counter(lower for _, lower in pairs)
    return 2 * sum(count > 1 for count in counts.values()) > len(counts)


def _share(pairs: list[tuple[str, str]], holds: Callable[[str, str], bool]) -> float:
    return sum(holds(a, b) for a, b in pairs) / len(pairs)


def listed(names: list[str], n_shown: int = 3) -> str:
    """Write the first of some names."""
    return ", ".join(names[:n_shown]) + (", ..." if len(names) > n_shown else "")


def checked_layout(layout: str) -> list[str]:
    """Split the setting ``data.layout`` into its words; `InputError` for one that there is not."""
    words = layout.split("/")
    unknown = [word for word in words if word not in WORDS]
    if unknown or sum(word in ("class", "species", "epithet") for word in words) != 1:
        raise InputError(
            f"data.layout={layout!r} is no layout: give a word a level, of {', '.join(WORDS)}, one of them class, "
            "species or epithet, as split/class or genus/epithet"
        )
    return words


def count_taxa(names: list[str]) -> int:
    """Count the names that NCBI Taxonomy knows."""
    found = resolve(pd.DataFrame({"source": "", "verbatim_name": names}))
    return int((~found["name_status"].isin(("unresolved", "ambiguous"))).sum())


def ranks_of(names: list[str]) -> list[str]:
    """Return the rank of which each name is the scientific name in NCBI Taxonomy, '' of any other."""
    rows = resolve(pd.DataFrame({"source": "", "verbatim_name": names})).to_dict("records")
    is_own = [name in (row.get(row["rank"]), row["scientific_name"]) for name, row in zip(names, rows, strict=True)]
    return [row["rank"] if own else "" for own, row in zip(is_own, rows, strict=True)]
