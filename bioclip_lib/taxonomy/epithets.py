"""Tell whether two epithets of one genus are the same word: in another gender, or in a spelling that the codes equate.

Takes parsed names. Endings are Latin declensions (niger/nigra/nigrum, vulgaris/vulgare, major/majus); spellings are
those that make homonyms of two names in a genus by ICZN article 58 (europeus/europaeus, smithi/smithii).
"""

import functools
import re

from .names import ParsedName

_COMPARATIVES = {"majus": "maior", "maius": "maior", "minus": "minor", "melius": "melior", "pejus": "peior"}
_VARIANTS = (  # ICZN 58.1-58.14, of the letters of a stem
    (re.compile(r"ae|oe"), "e"),
    (re.compile(r"ei|y"), "i"),
    (re.compile("ph"), "f"),
    (re.compile(r"(?<=[crt])h"), ""),
    (re.compile(r"k|q"), "c"),
    (re.compile(r"w|u"), "v"),
    (re.compile("j"), "i"),
    (re.compile(r"(.)\1"), r"\1"),
    (re.compile("(?<=.)ct"), "t"),
    (re.compile(r"-"), ""),
)


def stems(name: ParsedName) -> frozenset[str]:
    """Return the stems that the epithet of a binomial can have; several where a masculine in -er may drop its e.

    Examples
    --------
    >>> from bioclip_lib.taxonomy.names import parse_names
    >>> niger, nigra, aspera = parse_names(["Aus niger", "Aus nigra", "Aus aspera"])
    >>> sorted(stems(niger)), sorted(stems(nigra)), sorted(stems(aspera))
    (['niger', 'nigr'], ['nigr'], ['asper'])
    """
    if not name.epithet:
        return frozenset()
    stem = _COMPARATIVES.get(name.epithet) or name.stemmed.split(" ")[1]
    dropped = {stem[:-2] + "r"} if name.epithet.endswith("er") and len(stem) > 3 else set()
    return frozenset({stem, *dropped} - {""})


def variants(name: ParsedName) -> frozenset[str]:
    """Return the stems of an epithet in the one spelling that stands for all that the code equates.

    Examples
    --------
    >>> from bioclip_lib.taxonomy.names import parse_names
    >>> one, other = parse_names(["Lepus europeus", "Lepus europaeus"])
    >>> variants(one) == variants(other)
    True
    """
    return frozenset(folded(stem) for stem in stems(name))


@functools.lru_cache(65_536)
def folded(word: str) -> str:
    """Spell a word the one way that stands for all its variants."""
    for pattern, letter in _VARIANTS:
        word = pattern.sub(letter, word)
    return word
