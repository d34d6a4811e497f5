"""What to look for, given a label: one ordered list of lookups, the strongest evidence first (`lookups`).

Takes a `labels.Label` and what its record says; yields `Lookup` objects. Each is asked of the backbones in their order,
and the first that finds a taxon which the record allows decides (`decision`). A lookup finds all usages that fit; it
decides nothing. Labels that say nothing ("unknown", "NA", "?") yield none.
"""

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from rapidfuzz import process
from rapidfuzz.distance import OSA

from . import morphotypes
from .authors import YEAR, same_authors, without_concept
from .backbone import Backbone, Usage
from .canonical import PLACEHOLDER
from .labels import NOT_SAID, Label, Part
from .names import (
    CULTIVAR,
    PARENTHESES,
    ParsedName,
    clean_label,
    folded,
    parse_names,
    singular,
    stems,
    unsigned,
    variants,
    vernacular_words,
)
from .vernaculars import ALIAS, TAIL

_ABBREVIATED = re.compile(r"^([A-Z])[a-z]?\.\s*(?=[a-z-]{3})")
_CROSSED = re.compile(r"^[xX](?=[a-z]{3})")
_OPEN_ENGLISH = re.compile(r"(?:cf|aff)\.?\s+(.+)|(.+?)\s+(?:spp?|cf|aff|indet)\.?")
_NOT_KNOWN = r"(?:unknown|unidentified|unid|undetermined|undet|unspecified|indet|other)\.?"
_UNKNOWN_ENGLISH = re.compile(rf"{_NOT_KNOWN}\s+(.+)|(.+?)\s+{_NOT_KNOWN}", re.IGNORECASE)
_TWO_CAPITALS = re.compile(r"([A-Z][a-z]{2,}(?:-[a-z]+)?) ([A-Z][a-z]{2,}(?:-[a-z]+)?)")
_ENDING = 5  # letters by which an ending and a spelling may differ: minus, minor; caeruleus, coerulea
Finder = Callable[[Backbone], Sequence[Usage]]


class Lookup(NamedTuple):
    """One thing to look for: how it is found in a backbone, and what finding it means."""

    rule: str
    looked_up: str
    finder: Finder = lambda backbone: ()
    status: str = "accepted"
    reason: str = ""
    is_full: bool = False  # a whole binomial, which an older order or family does not refute
    is_genus: bool = False  # the genus of a name whose epithet is not known
    sides: tuple[Part, ...] = ()

    def find(self, backbone: Backbone) -> list[Sequence[Usage]]:
        """Return the usages, in one group; of "A and B" a group a side, none where a side has no usage."""
        if not self.sides:
            return [self.finder(backbone)]
        groups = [_exactly(side, backbone) for side in self.sides]
        return groups if all(groups) else [[]]


def _exactly(part: Part, backbone: Backbone) -> Sequence[Usage]:
    """Return what the first exact evidence of a part that has any finds."""
    return next(filter(None, (look.finder(backbone) for look in exact(part))), [])


def _inside(group: Part, part: Part, backbone: Backbone) -> list[Usage]:
    """Return the taxa that a part names within those that a group names."""
    rows = {usage.taxon.row for usage in _exactly(group, backbone)}
    return [usage for usage in _exactly(part, backbone) if rows & usage.above] if rows else []


def with_genus(name: str, genus: str) -> str:
    """Write out a genus that is abbreviated, if the record names one with that letter: "Q. robur", of Quercus."""
    short = _ABBREVIATED.match(clean_label(name)) if genus else None
    return f"{genus} {clean_label(name)[short.end() :]}" if short and genus.startswith(short[1]) else name


def authorship_of(label: Label) -> str:
    """Return the author and all years of a name, '' where it says in whose sense it is used."""
    parsed = label.whole.parsed
    if not parsed.authorship or without_concept(label.text) != label.text:
        return ""
    return f"{parsed.authorship} {' '.join(YEAR.findall(label.text))}".strip()


def lookups(label: Label, said: Mapping[str, str]) -> Iterator[Lookup]:
    """Yield what to look for, the strongest evidence first; `said` are the ranks of the record."""
    if label.at_least[0]:
        genus, status, reason = label.at_least
        yield Lookup("open nomenclature", genus, functools.partial(of_rank, genus, "genus"), status, reason)
    elif label.text.casefold() not in NOT_SAID:
        yield from _strong(label)
        yield from _weak(label, said)


def _strong(label: Label) -> Iterator[Lookup]:
    """Look for names to the letter, in the whole label and then in its parts."""
    if label.within:
        find = functools.partial(_inside, *label.within)
        yield Lookup("name within its group", label.within[1].text, find)
    if label.sides and not label.whole.parsed.formula_genus:
        yield _english(label.whole)
        yield from (Lookup("two taxa", label.text, sides=sides) for sides in label.sides)
    for part in label.parts:
        if part is not label.whole and morphotypes.is_denied(label.whole.words):
            return
        yield from exact(part)
    if label.plant:
        yield Lookup("common name of a plant", label.plant[1].text, functools.partial(_inside, *label.plant))


def full_name(name: str) -> Lookup:
    """Look for a binomial or a name below it."""
    return Lookup("accepted name", name, functools.partial(_named, name), is_full=True)


def exact(part: Part) -> Iterator[Lookup]:
    """Look for a part as an accepted name, in open nomenclature, in English, as a synonym."""
    parsed = part.parsed
    readings = {r.canonical: r for r in part.readings if r.epithet and not r.open_nomenclature}
    yield from map(full_name, readings)
    if parsed.open_nomenclature or parsed.is_formula:
        genus = parsed.formula_genus if parsed.is_formula else parsed.genus
        reason = f"{parsed.open_nomenclature}: not identified further"
        reason = "a hybrid formula: its genus" if parsed.is_formula else reason
        if genus:
            yield Lookup("open nomenclature", genus, functools.partial(_named, genus), reason=reason)
    yield from _open_english(part, _OPEN_ENGLISH)
    if not parsed.canonical and not PLACEHOLDER.search(part.text):
        yield Lookup("accepted name", part.text, functools.partial(_named, part.text))
    if pair := _TWO_CAPITALS.fullmatch(part.text):
        yield Lookup("two taxa", part.text, functools.partial(_two_genera, *pair.groups()), reason="two genera")
    yield from (_uninomial(part, reading) for reading in part.readings[:2] if reading.rank_hint == "genus")
    if not parsed.is_formula:
        yield _english(part)
    for name in readings:
        find = functools.partial(_named, name, doubtful=True)
        yield Lookup("synonym in the taxon's article", name, find, "synonym")
    if not parsed.is_formula:
        yield Lookup("other common name", part.text, functools.partial(_aliases, part.text))


def _weak(label: Label, said: Mapping[str, str]) -> Iterator[Lookup]:
    """Look for what a label says nearly, or at least: another spelling, the record's species, its group, its genus."""
    part, parsed = label.whole, label.whole.parsed
    species = [r for r in {r.canonical: r for r in part.readings}.values() if r.epithet and not r.open_nomenclature]
    for reading in species:
        yield from _infraspecific(reading)
    for reading in species:
        own, by = reading.infraspecific, functools.partial
        reason = f"{own} is not known: its species" if own else ""
        for find in (by(_spelt_like, stems, reading), by(_spelt_like, variants, reading)):
            yield Lookup("spelling of the epithet", reading.canonical, find, "corrected")
        yield Lookup("spelling of the epithet", reading.canonical, by(_by_likeness, reading), "corrected", reason)
    if said.get("species"):
        yield from _species_of_record(said["species"])
    if not parsed.is_formula:
        yield Lookup("words of the label", part.text, functools.partial(morphotypes.of_words, part.words))
        yield Lookup("spelling of the genus", parsed.genus, functools.partial(_near_genus, part), "corrected")
    others = [parsed.epithet] if parsed.epithet else [word for word in part.words[1:] if not word.isdigit()]
    is_long = len(parsed.genus) > (2 if parsed.epithet else 3)
    if others and is_long and not parsed.is_formula and not morphotypes.is_denied(part.words):

        def genus(backbone: Backbone) -> list[Usage]:
            is_english = _is_english(parsed.genus, others, backbone)
            return [] if is_english else of_rank(parsed.genus, "genus", backbone)

        yield Lookup("genus of the name", parsed.canonical, genus, "unverified", is_genus=True)
    yield from _open_english(part, _UNKNOWN_ENGLISH)


def _named(name: str, backbone: Backbone, doubtful: bool = False) -> list[Usage]:
    return [usage for usage in backbone.usages(name) if usage.is_doubtful == doubtful]


def of_rank(name: str, rank: str, backbone: Backbone) -> list[Usage]:
    """Return the usages of a name that have a rank."""
    return [usage for usage in backbone.usages(name) if usage.rank == rank]


def _open_english(part: Part, form: re.Pattern) -> Iterator[Lookup]:
    """Look for a group: "duck sp." is no more said to be an Anas than "ducks" of other genera are."""
    doubtful = form.fullmatch(part.text)
    if doubtful:
        name, reason = doubtful[1] or doubtful[2], "not identified further"

        def families(backbone: Backbone) -> list[Usage]:
            return [usage._replace(taxon=usage.taxon.at_family()) for usage in _in_english(name, backbone)]

        yield Lookup("common name", name, families, reason=reason)


def _two_genera(one: str, other: str, backbone: Backbone) -> list[Usage]:
    """Return what two genera share, both where that is nothing; none where one is none, as an author, or the other."""
    rows = [[usage.taxon.row for usage in of_rank(name, "genus", backbone)] for name in (one, other)]
    if not all(rows) or rows[0] == rows[1]:
        return []
    both = [*rows[0], *rows[1]]
    shared = backbone.common_ancestor(both)
    return [backbone.at(row) for row in (both if shared is None else [shared])]


def _uninomial(part: Part, parsed: ParsedName) -> Lookup:
    """Look for a single name; what follows it must look like an author, or be that of a usage."""
    name = unsigned(parsed.verbatim)
    text = CULTIVAR.sub("", name)
    # "Anna Hummingbird" parses as a genus with its author, too
    has_author = any(sign in parsed.authorship for sign in ".&(") or bool(parsed.year)
    is_bare = not parsed.authorship and " " not in without_concept(text)
    reason = f"a cultivar of it: {name}" if text != name else ""
    author = "" if has_author or is_bare else parsed.authorship or text.partition(" ")[2]
    find = functools.partial(_one_word, part.text, parsed.genus, author)
    return Lookup("accepted name", parsed.genus, find, reason=reason)


def _is_folded(text: str) -> bool:
    """Return whether a text is so short that, without its accents, it is another word: "ÀÀ" an orchid, Aa."""
    return sum(map(str.isalpha, text)) < 4 and not text.isascii()


def _one_word(text: str, name: str, author: str, backbone: Backbone) -> list[Usage]:
    """Return the usages of a single name, and other taxa that are called so in English."""
    if _is_folded(text):
        return []
    is_lower = " " not in text and text.islower()
    english = _in_english(text, backbone) if " " not in text else []
    if is_lower and not english and backbone.is_epithet(text):  # "alba"
        return []
    usages = [u for u in _named(name, backbone) if not author or same_authors(author, u.authorship)]
    if not usages or author:
        return usages
    rows, families = {u.taxon.row for u in usages}, {u.taxon.ranks[4] for u in usages} - {""}
    line = rows.union(*(usage.above for usage in usages))
    others = [u for u in english if u.taxon.row not in line and not rows & u.above and u.taxon.ranks[4] not in families]
    species = [u for u in english if u.taxon.ranks[6]]  # "puma" says more than its genus
    return species if is_lower and len(species) == 1 and rows & species[0].above else [*usages, *others]


def _english(part: Part) -> Lookup:
    return Lookup("common name", part.text, functools.partial(_in_english, part.text))


def _in_english(text: str, backbone: Backbone) -> list[Usage]:
    """Return the taxa with an English name; of a species and groups above it, the species: horse, of the horses."""
    if "?" in text or _is_folded(text):
        return []
    plain = PARENTHESES.sub("", text)
    possessive = " ".join(map(singular, plain.split()))  # "Coopers Hawk" is Cooper's
    spellings = dict.fromkeys([text, plain, possessive])
    found = next((rows for spelling in spellings if (rows := backbone.english(spelling))), [])
    usages = [backbone.at(row) for row in found]
    above = frozenset().union(*(usage.above for usage in usages)) if len(usages) > 1 else frozenset()
    leaves = {usage.taxon.row: usage for usage in usages if usage.taxon.row not in above}
    species = [usage for usage in leaves.values() if usage.taxon.ranks[6]]
    return species if len(leaves) == len(species) == 1 else usages


def _aliases(text: str, backbone: Backbone) -> list[Usage]:
    """Return the taxa that an article calls so, too."""
    # a "white pelican" is the great white pelican, but as well what "American white pelican" ends with; one word
    # ("cod") may be any, but "oleander", as well the epithet
    if _is_folded(text):
        return []
    if len(vernacular_words(text)) == 1:
        usages = map(backbone.at, backbone.english(text, ALIAS))
        return [usage for usage in usages if usage.taxon.ranks[6] == text.lower()]
    found, longer = (backbone.english(text, kind) for kind in (ALIAS, TAIL))
    return [backbone.at(row) for row in dict.fromkeys([*found, *longer])] if found or len(longer) > 1 else []


def _infraspecific(parsed: ParsedName) -> Iterator[Lookup]:
    """Look for "bursa pastoris" with a hyphen, for "xhispanica" without its x, for the species of a subspecies."""
    crossed = _CROSSED.sub("", parsed.epithet)
    if crossed != parsed.epithet:
        name = f"{parsed.genus} {crossed}"
        yield Lookup("accepted name", name, functools.partial(_named, name))
    if parsed.infraspecific:
        hyphened = f"{parsed.genus} {parsed.epithet}-{parsed.infraspecific.replace(' ', '-')}"
        yield Lookup("hyphen of the name", hyphened, functools.partial(_named, hyphened), "corrected")
        species = f"{parsed.genus} {parsed.epithet}"
        reason = f"{parsed.infraspecific} is not known: its species"
        for doubtful in (False, True):
            find = functools.partial(_named, species, doubtful=doubtful)
            yield Lookup("species of the name", species, find, reason=reason, is_full=not doubtful)


def _species_of_record(name: str) -> Iterator[Lookup]:
    """Look for the species that the record gives beside the name, in another ending too."""
    (parsed,) = parse_names([name])
    if parsed.epithet and not parsed.open_nomenclature:
        for find in (functools.partial(_named, name), functools.partial(_spelt_like, stems, parsed)):
            yield Lookup("species of the record", name, find, reason=f"the record's species is {name}", is_full=True)


def _spelt_like(forms: Callable, wanted: ParsedName, backbone: Backbone) -> list[Usage]:
    """Return the species of the genus whose epithet has a form (`stems`, `variants`) in common with the wanted one."""
    near = _similar(wanted, backbone)
    return [u for entry in near if forms(entry) & forms(wanted) for u in _named(entry.verbatim, backbone)]


@functools.lru_cache(1024)
def _similar(wanted: ParsedName, backbone: Backbone) -> list[ParsedName]:
    """Return the species of the genus whose epithets are near enough to differ by their ending or spelling alone."""
    start, n = folded(wanted.epithet[:4])[:2], len(wanted.genus) + 1
    names = [name for name in backbone.congeners(wanted.genus) if folded(name[n : n + 4]).startswith(start)]
    names = [name for name in names if OSA.distance(name[n:], wanted.epithet, score_cutoff=_ENDING) <= _ENDING]
    return parse_names(names) if names else []


def _by_likeness(wanted: ParsedName, backbone: Backbone) -> list[Usage]:
    """Return the species of the genus whose epithet is nearest in spelling."""
    word = wanted.epithet
    if len(word) < 7 or backbone.is_epithet(word):  # microcarpa is no slip for macrocarpa
        return []
    epithets = {name.partition(" ")[2]: name for name in backbone.congeners(wanted.genus)}
    near = _near(word, list(epithets), 1 if len(word) < 10 else 2)
    return [usage for found in near for usage in _named(epithets[found], backbone)]


def _near(word: str, words: Sequence[str], limit: int) -> list[str]:
    """Return the words within an edit distance (transpositions count 1), the nearest only."""
    near = process.extract(word, words, scorer=OSA.distance, score_cutoff=limit, limit=None)
    return [found for found, distance, _ in near if distance == near[0][1]]


def _near_genus(part: Part, backbone: Backbone) -> list[Usage]:
    """Return the species with this epithet in a genus of nearly this name, or the one name like a single word."""
    parsed = part.parsed
    if len(parsed.genus) < 5 or backbone.usages(parsed.genus) or _is_english(parsed.genus, part.words[1:], backbone):
        return []
    names = backbone.uninomials(parsed.genus[0], len(parsed.genus))
    near = _near(parsed.genus, names, 1 if len(parsed.genus) < 9 else 2)
    if parsed.epithet and not parsed.open_nomenclature:
        wanted = [replace(parsed, genus=genus, canonical=f"{genus} {parsed.epithet}") for genus in near]
        return [u for name in wanted for u in _named(name.canonical, backbone) or _spelt_like(stems, name, backbone)]
    is_single = (" " not in part.text and part.text[:1].isupper()) or parsed.open_nomenclature
    if len(parsed.genus) < 7 or len(near) != 1 or not is_single or backbone.is_word(part.text):
        return []
    return _named(near[0], backbone)


def _is_english(genus: str, others: Sequence[str], backbone: Backbone) -> bool:
    """Tell whether a name is made of the words of common names: "Anna hummingbird" is no Anna (Gesneriaceae)."""
    return backbone.is_word(genus) and any(map(backbone.is_word, others))
