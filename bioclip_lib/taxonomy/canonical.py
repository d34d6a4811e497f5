"""Canonical names of millions of usages: without authors, rank markers and signs, as gnparser would write them.

Most names are already so, or become so by cutting off their author; gnparser reads the rest. What it refuses ("Tobacco
mosaic virus", "BOLD:AAB1234") is its own key; what names no taxon ("incertae sedis", "N.N.", "Parus sp.") has none.
"""

import functools
import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from .names import clean_label, parse_names

KINGDOMS = ("Animalia", "Plantae", "Fungi", "Chromista", "Protozoa", "Bacteria", "Archaea", "Viruses")
_CLADES = {
    "Animalia": ("Metazoa",),
    "Plantae": ("Viridiplantae", "Rhodophyta", "Glaucocystophyceae"),
    "Fungi": ("Fungi",),
    "Chromista": ("Sar", "Haptista", "Cryptophyceae"),
    "Protozoa": ("Amoebozoa", "Discoba", "Metamonada", "Choanoflagellata", "Ichthyosporea", "Filasterea"),
    **{kingdom: (kingdom,) for kingdom in KINGDOMS[5:]},
}
KINGDOM_OF = {clade: kingdom for kingdom, clades in _CLADES.items() for clade in clades}
"""The kingdom of a clade. NCBI ranks three kingdoms of eukaryotes; the others follow Ruggiero et al. 2015 (PLoS ONE
10:e0119248), as the sources of the original project do. A protist outside these clades has no kingdom."""

_KINGDOM_NAMES = {
    **{name.casefold(): kingdom for name, kingdom in KINGDOM_OF.items()},
    **{name.casefold(): name for name in KINGDOMS},
    **{"animals": "Animalia", "eubacteria": "Bacteria", "archaebacteria": "Archaea", "virus": "Viruses"},
    **dict.fromkeys(("plants", "archaeplastida", "chloroplastida"), "Plantae"),
    **dict.fromkeys(("straminipila", "harosa", "hacrobia"), "Chromista"),
}
CHUNK = 100_000
_PLAIN = r"^[A-Z][a-z]+(-[a-z]+)?( [a-z]{2,}(-[a-z]+)*){0,3}$"
_WORDS = r"^\p{Lu}[\p{L}-]+( x)?( [\p{Ll}-]{2,}){0,3}$"
_MARKER = r" (subsp|ssp|subspecies|var|subvar|f|fo|forma|subf|nothosubsp|nothovar)\.? "
_PLACEHOLDER = (
    r"(?i)\b(incertae|sedis|(not |un)assigned|unknown|unnamed|unidentified|unclassified|undetermined|unplaced|"
    r"uncultured|environmental|questionable|awaiting|n\. ?n|spp?|indet|cf|aff)\b"
)
PLACEHOLDER = re.compile(_PLACEHOLDER)
"""What shows that a name is that of no taxon."""


@functools.lru_cache(4096)
def kingdom_of(name: str) -> str:
    """Return which of `KINGDOMS` a kingdom, domain or realm is, '' if none."""
    key = clean_label(name).casefold()
    if key.endswith(("virae", "viria", "viruses")):
        return "Viruses"
    return _KINGDOM_NAMES.get(key, "")


@dataclass(frozen=True)
class CanonicalNames:
    """`display` is a name as tables show it, `key` what it is looked up by; both are '' for what names no taxon."""

    display: pa.StringArray
    key: pa.StringArray


def canonical_names(names: pa.ChunkedArray, authorship: pa.ChunkedArray) -> CanonicalNames:
    """Return the canonical form of scientific names that may end with their authors."""
    text = pc.utf8_trim(pc.replace_substring_regex(names.combine_chunks(), r"[\s_]+", " "), " \"'“”‘’†?")
    shouted = pc.match_substring_regex(text, r"^\p{Lu}{3,}$")  # a single word in capitals
    display = key = pc.if_else(shouted, pc.utf8_capitalize(text), text)
    rest = pc.invert(pc.match_substring_regex(key, _PLAIN))
    if pc.any(rest).as_py():
        texts, authors = (column.filter(rest).to_pylist() for column in (key, authorship.combine_chunks()))
        raw = [text.removesuffix(author).rstrip(" ,") for text, author in zip(texts, authors, strict=True)]
        tidy = _tidy(pa.array(raw, pa.string()))
        display = pc.replace_with_mask(display, rest, tidy.display)
        key = pc.replace_with_mask(key, rest, tidy.key)
    named = pc.invert(pc.match_substring_regex(display, _PLACEHOLDER))
    return CanonicalNames(pc.if_else(named, display, ""), pc.if_else(named, key, ""))


def _tidy(names: pa.Array) -> CanonicalNames:
    """Remove rank markers and hybrid signs; let gnparser read what is still no plain name."""
    unsigned = pc.replace_substring_regex(names, r"^[×xX] ?(\p{Lu})", r"\1")
    display = pc.replace_substring_regex(unsigned, r" [×xX] ?", " x ")
    marked = pc.match_substring_regex(display, _PLAIN.replace("$", "") + _MARKER)
    display = pc.if_else(marked, pc.replace_substring_regex(display, _MARKER, " "), display)
    key = pc.replace_substring(display, " x ", " ")
    is_known = [pc.match_substring_regex(key, _PLAIN), pc.match_substring_regex(names, _PLACEHOLDER)]
    odd = pc.invert(pc.or_(*is_known))
    distinct = pc.unique(names.filter(odd)).to_pylist()
    canonical: dict[str, str] = {}
    for start in range(0, len(distinct), CHUNK):
        part = distinct[start : start + CHUNK]
        canonical |= {name: parsed.canonical for name, parsed in zip(part, parse_names(part), strict=True)}
    words = pc.match_substring_regex(display, _WORDS).filter(odd).to_pylist()
    texts = list(zip(names.filter(odd).to_pylist(), display.filter(odd).to_pylist(), words, strict=True))
    keys = [canonical[name] or clean_label(name) for name, _, _ in texts]
    shown = [text if is_words else key for (_, text, is_words), key in zip(texts, keys, strict=True)]
    return CanonicalNames(
        pc.replace_with_mask(display, odd, pa.array(shown, pa.string())),
        pc.replace_with_mask(key, odd, pa.array(keys, pa.string())),
    )
