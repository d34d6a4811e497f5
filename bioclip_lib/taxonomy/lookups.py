"""What to look for, given a name: the whole of it, its spellings, then what it says at least, one after the other.

Takes a `name_rules.Label`; yields `Lookup` objects, the strongest evidence first, and finds their usages in a backbone.
Names that say nothing ("unknown", "NA", "?") and hybrids of two genera yield none.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from . import morphotypes
from .authors import YEAR, same_authors, without_concept
from .backbone import Backbone, Usage
from .canonical import PLACEHOLDER
from .epithets import folded, stems, variants
from .name_rules import Label, genus_at_least, is_epithet_only
from .names import CULTIVAR, HYBRID_SIGN, ParsedName, clean_label, parse_names
from .ncbi import ncbi_backbone

NOT_SAID = ("", "nan", "none", "null", "na", "n/a", "unknown", "unidentified", "unclassified", "unassigned", "-", "?")
"""What tables write where nothing is known, in lower case."""

_ABBREVIATED = re.compile(r"^([A-Z])[a-z]?\.\s*(?=[a-z-]{3})")


@dataclass(frozen=True)
class Lookup:
    """One thing to look for: a canonical name, what finding it means, and which usages count.

    With `like`, species of the genus `name` are looked for whose epithet is that of `like` in another ending, else in
    another spelling; with `by_author`, an author's usages.
    """

    name: str
    rule: str
    status: str = "accepted"
    reason: str = ""
    only_rank: str = ""
    by_author: str = ""
    like: ParsedName | None = None


def with_genus(name: str, genus: str) -> str:
    """Write out a genus that is abbreviated, if the record names one with that letter.

    Examples
    --------
    >>> with_genus("Q. robur L.", "Quercus"), with_genus("Q. robur", "Acer")
    ('Quercus robur L.', 'Q. robur')
    """
    short = _ABBREVIATED.match(clean_label(name)) if genus else None
    return f"{genus} {clean_label(name)[short.end() :]}" if short and genus.startswith(short[1]) else name


def authorship_of(label: Label) -> str:
    """Return the author and all years of a name, '' where it says in whose sense it is used."""
    years = "" if not label.parsed.authorship else " ".join(YEAR.findall(label.text))
    return f"{label.parsed.authorship} {years}".strip() if without_concept(label.text) == label.text else ""


def lookups(label: Label) -> Iterator[Lookup]:
    """Yield what to look for, the strongest evidence first."""
    parsed = label.parsed
    if label.text.casefold() in NOT_SAID or is_epithet_only(label):
        return
    if parsed.open_nomenclature or parsed.is_formula:
        genus, reason = genus_at_least(parsed)
        yield from [Lookup(genus, "open nomenclature", reason=reason)] if genus else []
        return
    if not parsed.canonical and not PLACEHOLDER.search(label.text):
        yield Lookup(label.text, "accepted name")
    readings = {r.canonical: r for r in reversed(label.readings) if r.epithet and not r.open_nomenclature}
    species = list(readings.values())[::-1]
    yield from (Lookup(reading.canonical, "accepted name") for reading in species)
    yield from (_uninomial(reading) for reading in label.readings[:2] if reading.rank_hint == "genus")
    yield from (lookup for reading in species if reading.infraspecific for lookup in _infraspecific(reading))
    yield from (Lookup(r.genus, "spelling of the epithet", "corrected", like=r) for r in species)
    if parsed.epithet and not is_english(label):
        reason = f"{parsed.genus} {parsed.epithet} is not known: its genus"
        yield Lookup(parsed.genus, "genus of the name", reason=reason, only_rank="genus")


def _uninomial(parsed: ParsedName) -> Lookup:
    """Look for a single name; what follows it must look like an author, or be that of a usage.

    "Anna Hummingbird" parses as a genus with its author, too.
    """
    name = HYBRID_SIGN.sub("", clean_label(parsed.verbatim))
    text = CULTIVAR.sub("", name)
    has_author = any(sign in parsed.authorship for sign in ".&(") or bool(parsed.year)
    is_bare = not parsed.authorship and " " not in without_concept(text)
    reason = f"a cultivar of it: {name}" if text != name else ""
    by_author = "" if has_author or is_bare else parsed.authorship or text.partition(" ")[2]
    return Lookup(parsed.genus, "accepted name", reason=reason, by_author=by_author)


def _infraspecific(parsed: ParsedName) -> Iterator[Lookup]:
    """Look for "Capsella bursa pastoris" with a hyphen, then for the species of an infraspecific name."""
    hyphened = f"{parsed.epithet}-{parsed.infraspecific.replace(' ', '-')}"
    yield Lookup(f"{parsed.genus} {hyphened}", "hyphen of the name", "corrected")
    reason = f"{parsed.infraspecific} is not known: its species"
    yield Lookup(f"{parsed.genus} {parsed.epithet}", "species of the name", reason=reason)


def is_english(label: Label) -> bool:
    """Tell whether the words are those of common names: "Anna hummingbird" is no Anna (Gesneriaceae)."""
    words = [label.parsed.genus, label.parsed.epithet]
    return morphotypes.is_denied(label.words) or all(map(ncbi_backbone().is_vernacular_word, words))


def find(lookup: Lookup, backbone: Backbone) -> list[Usage]:
    """Return the usages that a lookup finds in a backbone."""
    names = _like(lookup.name, lookup.like, backbone) if lookup.like else [lookup.name]
    usages = [usage for name in names for usage in backbone.usages(name)]
    usages = [usage for usage in usages if lookup.only_rank in ("", usage.rank)]
    return [u for u in usages if not lookup.by_author or same_authors(lookup.by_author, u.authorship)]


def _like(genus: str, wanted: ParsedName, backbone: Backbone) -> list[str]:
    """Return the binomials of a genus whose epithet is that of a name but for its ending, else for its spelling."""
    start, n = folded(wanted.epithet[:4])[:2], len(genus) + 1
    near = parse_names([name for name in backbone.congeners(genus) if folded(name[n : n + 4]).startswith(start)])
    by_ending = [entry.verbatim for entry in near if stems(entry) & stems(wanted)]
    return by_ending or [entry.verbatim for entry in near if variants(entry) & variants(wanted)]
