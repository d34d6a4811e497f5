"""Compare authorships of names as they are written: abbreviated, with initials and particles, with or without a year.

Two authorships can be the same if every author of the shorter stands in the longer one, no initial or "f." (filius)
contradicts, and a year is common to both or missing in one.
"""

import re
import unicodedata
from dataclasses import dataclass

YEAR = re.compile(r"\b1[5-9]\d\d\b|\b20\d\d\b")
_CONCEPT = re.compile(r"\s+\[?(sensu|auctt?|auctorum|non|nec|emend)\b.*")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?\.?")
_PARTICLES = frozenset("le la de du des da di dos van von der den zu mac mc st d".split())
_JOINED = re.compile(r"^(Le|La|De|Du|Des|Da|Di|Van|Von|Mac|Mc)([A-Z].*)$")
_ELISION = re.compile(r"\b[dD]['’](?=[A-Z])")
_UMLAUT = re.compile("(?<=[aou])e")  # Mueller is Müller
_FILIUS = {"f.", "fil.", "filius", "jr", "jr."}
_WELL_KNOWN = {"l.": ("Linnaeus", ""), "linné": ("Linnaeus", ""), "linne": ("Linnaeus", ""), "dc.": ("Candolle", "ap")}


@dataclass(frozen=True)
class Author:
    """One surname: its spellings in lower case (with and without a particle), initials, and whether "f." follows."""

    spellings: frozenset[str]
    initials: str = ""
    is_filius: bool = False


def same_authors(one: str, other: str) -> bool:
    """Tell whether two authorships can be the same, though one is shortened or leaves someone out."""
    if not _years_agree(one, other):
        return False
    shorter, longer = sorted([read_authors(one), read_authors(other)], key=len)
    return bool(shorter) and all(any(_can_be(a, b) for b in longer) for a in shorter)


def equal_authors(one: str, other: str) -> bool:
    """Tell whether two authorships name the same authors in full, none abbreviated or left out."""
    authors = read_authors(one)
    return _years_agree(one, other) and bool(authors) and set(authors) == set(read_authors(other))


def without_concept(name: str) -> str:
    """Cut off in whose sense a name is used; who is named there is not its author."""
    return _CONCEPT.sub("", name)


def read_authors(authorship: str) -> list[Author]:
    """Return the surnames of an authorship, in order."""
    authors: list[Author] = []
    initials, particle = "", ""
    for word in _WORD.findall(_ELISION.sub("d ", without_accents(YEAR.sub(" ", authorship)))):
        key = word.casefold()
        if key in _FILIUS and authors and not initials:
            authors[-1] = Author(authors[-1].spellings, authors[-1].initials, True)
        elif key in _WELL_KNOWN and word[0].isupper():
            surname, known = _WELL_KNOWN[key]
            authors.append(Author(_spellings(surname, ""), initials or known))
            initials = particle = ""
        elif key.rstrip(".'’") in _PARTICLES and not (len(key) == 2 and key.endswith(".")):
            particle += key.rstrip(".'’")
        elif word[0].isupper() and len(key.rstrip(".")) == 1:
            initials += key[0]
        elif word[0].isupper():
            authors.append(Author(_spellings(word, particle), initials))
            initials = particle = ""
    return authors


def _spellings(word: str, particle: str) -> frozenset[str]:
    joined = _JOINED.match(word)
    if joined:
        particle, word = particle + joined[1].casefold(), joined[2]
    name = _UMLAUT.sub("", re.sub(r"['’]", "", word.casefold()))
    return frozenset({name, particle.replace("mac", "mc") + name})


def without_accents(text: str) -> str:
    """Return a text without its accents."""
    if text.isascii():
        return text
    return "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))


def _years_agree(one: str, other: str) -> bool:
    if any(f" {text}" != without_concept(f" {text}") for text in (one, other)):
        return False
    years = set(YEAR.findall(one)), set(YEAR.findall(other))
    return not all(years) or bool(years[0] & years[1])


def _can_be(one: Author, other: Author) -> bool:
    """Tell whether two can be one author: surnames equal or abbreviated, and nothing that contradicts."""
    a, b = one.initials, other.initials  # the same, or the first of the same; A.DC. is not DC. (A.P. de Candolle)
    agree = not (a and b) or a == b or ({a, b} != {"a", "ap"} and (a.startswith(b) or b.startswith(a)))
    is_one = one.is_filius == other.is_filius and agree
    return is_one and any(_is_short_for(a, b) for a in one.spellings for b in other.spellings)


def _is_short_for(one: str, other: str) -> bool:
    """Tell whether two surnames are equal, or one abbreviates the other with a full stop: Mill., Rchb."""
    short, long = sorted([one, other], key=len)
    stem = short.rstrip(".")
    if stem == long.rstrip("."):
        return True
    rest = iter(long)  # a contraction has letters of the name in their order, from the first
    in_order = stem[:1] == long[:1] and all(letter in rest for letter in stem)
    is_contraction = in_order and len(stem) > 2 and not re.search("[aeiouy]", stem[1:])
    return short.endswith(".") and (long.startswith(stem) or is_contraction)
