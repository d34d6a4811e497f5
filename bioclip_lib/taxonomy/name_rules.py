"""The rules that turn a label into taxa, the strongest evidence first (`RULES`).

A rule takes a `Label` and a backbone and returns a `Match` or None. It returns all taxa that fit; `taxonomy` decides
what several of them mean.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rapidfuzz import process
from rapidfuzz.distance import OSA

from . import morphotypes
from .epithets import stems
from .names import HYBRID_SIGN, ParsedName, capitalise, clean_label, parse_names, vernacular_words
from .ncbi import NcbiBackbone, ncbi_backbone

_WORD = re.compile(r"\w+")
_PARENTHESES = re.compile(r"\s*\(([^()]*)\)")


@dataclass(frozen=True)
class Match:
    """Taxa that a rule finds: one, or several that fit equally well."""

    taxon_ids: Sequence[int]
    rule: str
    status: str = "accepted"
    reason: str = ""


@dataclass(frozen=True)
class Label:
    """A name and its readings: as it stands, without parentheses, in lower case; and what the parentheses hold."""

    verbatim: str
    text: str
    readings: tuple[ParsedName, ...]
    inside: ParsedName

    @classmethod
    def read(cls, names: Sequence[str]) -> Iterator["Label"]:
        """Yield the label of each name; all readings are parsed in one batch."""
        texts = [clean_label(name) for name in names]
        spellings = [cls._spellings(text) for text in texts]
        inside = [(_PARENTHESES.findall(text) or [""])[-1] for text in texts]
        distinct = list(dict.fromkeys([*inside, *(text for group in spellings for text in group)]))
        parsed = dict(zip(distinct, parse_names(distinct), strict=True))
        for name, text, group, content in zip(names, texts, spellings, inside, strict=True):
            readings = [parsed[spelling] for spelling in group]
            yield cls(name, text, tuple(readings[:1] if readings[0].is_formula else readings), parsed[content])

    @staticmethod
    def _spellings(text: str) -> list[str]:
        plain = " ".join(_PARENTHESES.sub(" ", text).split())
        return list(dict.fromkeys([text, plain, capitalise(plain.lower())]))

    @property
    def parsed(self) -> ParsedName:
        """The name as it stands."""
        return self.readings[0]

    @property
    def words(self) -> list[str]:
        """The words of the label, in lower case."""
        return _WORD.findall(self.text.casefold())


def accepted_species(label: Label, backbone: NcbiBackbone) -> Match | None:
    """Find a binomial among the accepted names; a named hybrid also without its sign."""
    for parsed in label.readings:
        if parsed.epithet and not parsed.open_nomenclature:
            found = _species(parsed.genus, parsed.epithet, backbone)
            if found:
                return Match(found, "accepted name")
    return None


def open_nomenclature(label: Label, backbone: NcbiBackbone) -> Match | None:
    """Find the genus (or family) of "Hyptis sp.", of "Quercus cf. robur" and of a hybrid formula."""
    parsed = label.parsed
    genus, reason = genus_at_least(parsed)
    found = backbone.find(genus) if genus else []
    return Match(found, "open nomenclature", reason=reason) if found else None


def genus_at_least(parsed: ParsedName) -> tuple[str, str]:
    """Return the genus of a hybrid formula or of a name in open nomenclature, and why it goes no further; or ''."""
    if parsed.is_formula:
        return parsed.formula_genus, "a hybrid formula: its genus"
    return (
        (parsed.genus, f"{parsed.open_nomenclature}: not identified further") if parsed.open_nomenclature else ("", "")
    )


def uninomial(label: Label, backbone: NcbiBackbone) -> Match | None:
    """Find a single word, with or without its author or something in parentheses, among the accepted names.

    An author is one that looks like it: "Anna Hummingbird" parses as a genus with its author, too.
    """
    if is_epithet_only(label):
        return None
    for parsed in label.readings[:2]:
        has_author = any(sign in parsed.authorship for sign in ".&(") or parsed.year
        is_word = (
            parsed.rank_hint == "genus" and not parsed.authorship and " " not in HYBRID_SIGN.sub("", parsed.verbatim)
        )
        found = backbone.find_written(parsed.genus) if is_word or (parsed.rank_hint == "genus" and has_author) else []
        if found and is_word:
            others = backbone.find_vernacular(parsed.verbatim)
            found = [*found, *(i for i in others if not _related(i, found, backbone))]
        if found:
            return Match(found, "accepted name")
    return None


def vernacular(label: Label, backbone: NcbiBackbone) -> Match | None:
    """Find the whole label among the common names and encyclopaedia titles."""
    if "?" in label.text:
        return None
    for text in dict.fromkeys((label.text, _PARENTHESES.sub("", label.text))):
        found = backbone.find_vernacular(text)
        if found:
            return Match(found, "common name")
    return None


def synonym(label: Label, backbone: NcbiBackbone) -> Match | None:
    """Find a scientific name that an encyclopaedia article gives for the taxon."""
    for parsed in label.readings:
        if parsed.epithet and not parsed.open_nomenclature:
            found = backbone.find_synonym(f"{parsed.genus} {parsed.epithet}")
            if found:
                return Match(found, "synonym in the taxon's article", "synonym")
    return None


def alias(label: Label, backbone: NcbiBackbone) -> Match | None:
    """Find a second common name of two words or more.

    "White pelican" is what the great white pelican is also called, but as well what "American white pelican" ends
    with: both are returned.
    """
    if len(vernacular_words(label.text)) < 2:
        return None
    found = backbone.find_alias(label.text)
    longer = backbone.find_longer_vernacular(label.text)
    if found or len(longer) > 1:
        return Match(list(dict.fromkeys([*found, *longer])), "other common name")
    return None


def corrected_epithet(label: Label, backbone: NcbiBackbone) -> Match | None:
    """Find the species of a known genus whose epithet differs by its Latin ending, or by a slip in its spelling."""
    for parsed in label.readings:
        genera = backbone.find_genera(parsed.genus) if parsed.epithet and not parsed.open_nomenclature else []
        names = [name for genus in genera for name in backbone.species_of(genus)]
        similar = _similar_species(parsed, names, backbone)
        if similar:
            return Match([i for name in similar for i in backbone.find(name)], "spelling of the epithet", "corrected")
    return None


def corrected_genus(label: Label, backbone: NcbiBackbone) -> Match | None:
    """Find the species with this epithet in a genus of nearly this name, or the one name nearly like a single word."""
    parsed = label.parsed
    if len(parsed.genus) < 5 or parsed.is_formula or backbone.find(parsed.genus):
        return None
    limit = 1 if len(parsed.genus) < 9 else 2
    near = [name for name, n, _ in _near(parsed.genus, backbone.uninomials(parsed.genus[0], len(parsed.genus)), limit)]
    if parsed.epithet and not parsed.open_nomenclature:
        found = [i for genus in near for i in _species_by_stem(genus, parsed, backbone)]
        return Match(found, "spelling of the genus", "corrected") if found else None
    is_single = " " not in label.text and label.text[:1].isupper() and not backbone.is_vernacular_word(label.text)
    if len(parsed.genus) < 7 or len(near) != 1 or not (parsed.open_nomenclature or is_single):
        return None
    return Match(backbone.find(near[0]), "spelling of the name", "corrected")


def in_parentheses(label: Label, backbone: NcbiBackbone) -> Match | None:
    """Find the accepted name that stands in parentheses after another text."""
    parsed = label.inside
    if parsed.quality != 1 or parsed.authorship:
        return None
    if parsed.epithet:
        found = _species(parsed.genus, parsed.epithet, backbone)
    else:
        found = backbone.find(parsed.genus)
    return Match(found, "name in parentheses") if found else None


def phrase(label: Label, backbone: NcbiBackbone) -> Match | None:
    """Read a morphotype's label word by word: "copepod_calanoid_eggs" is a Calanoida."""
    taxon_id = morphotypes.taxon_of_words(label.words, backbone)
    return None if taxon_id is None else Match([taxon_id], "words of the label")


def genus_only(label: Label, backbone: NcbiBackbone) -> Match | None:
    """Find the genus of a binomial whose epithet is not known.

    Not where both words are English words of common names: "Anna hummingbird" is no Anna (Gesneriaceae).
    """
    parsed = label.parsed
    others = [parsed.epithet] if parsed.epithet else [word for word in label.words[1:] if not word.isdigit()]
    if morphotypes.is_denied(label.words) or parsed.is_formula or not others or len(parsed.genus) < 4:
        return None
    if backbone.is_vernacular_word(parsed.genus) and any(backbone.is_vernacular_word(word) for word in others):
        return None
    found = backbone.find_genera(parsed.genus)
    reason = f"{parsed.genus} {others[0]} is not in {backbone.name}: its genus"
    return Match(found, "genus of the name", reason=reason) if found else None


RULES: tuple[Callable[[Label, NcbiBackbone], Match | None], ...] = (
    accepted_species,
    open_nomenclature,
    uninomial,
    vernacular,
    synonym,
    alias,
    corrected_epithet,
    in_parentheses,
    phrase,
    corrected_genus,
    genus_only,
)
"""From the strongest evidence to the weakest; the first that finds a taxon decides."""


def is_epithet_only(label: Label) -> bool:
    """Tell whether a label is one word in lower case that several species bear as their epithet: "major", "alba"."""
    word = label.text
    if " " in word or not word.islower() or not ncbi_backbone().is_known_epithet(word):
        return False
    return not ncbi_backbone().find_vernacular(word)


def _species(genus: str, epithet: str, backbone: NcbiBackbone) -> list[int]:
    """Return the accepted species with a binomial, as a hybrid too."""
    return backbone.find_written(f"{genus} {epithet}")


def _related(taxon_id: int, others: Sequence[int], backbone: NcbiBackbone) -> bool:
    """Return whether a taxon is an ancestor or a descendant of one of the others, or it itself."""
    return any(i in backbone.ancestors(taxon_id) or taxon_id in backbone.ancestors(i) for i in others)


def _near(word: str, words: Sequence[str], limit: int) -> list[tuple[str, int, int]]:
    """Return the words within an edit distance (transpositions count 1), the nearest only."""
    near = process.extract(word, words, scorer=OSA.distance, score_cutoff=limit, limit=None)
    return [hit for hit in near if hit[1] == near[0][1]]


def _similar_species(parsed: ParsedName, names: Sequence[str], backbone: NcbiBackbone) -> list[str]:
    """Return the binomials whose stem is the same, else those nearest in spelling.

    An epithet that several other species bear is no misspelling: microcarpa is not a slip for macrocarpa.
    """
    if not names:
        return []
    epithets = {name.split(" ")[-1]: name for name in names}
    near = [word for word, _, _ in process.extract(parsed.epithet, list(epithets), scorer=OSA.distance, score_cutoff=3)]
    entries = zip(near, parse_names([epithets[w] for w in near]), strict=True)
    same_stem = [epithets[word] for word, entry in entries if stems(entry) & stems(parsed)]
    if same_stem or len(parsed.epithet) < 7 or backbone.is_known_epithet(parsed.epithet):
        return same_stem
    limit = 1 if len(parsed.epithet) < 10 else 2
    return [epithets[word] for word, _, _ in _near(parsed.epithet, near, limit)]


def _species_by_stem(genus: str, parsed: ParsedName, backbone: NcbiBackbone) -> list[int]:
    """Return the species of a genus whose epithet is that of a name, but for its Latin ending."""
    exact = _species(genus, parsed.epithet, backbone)
    if exact:
        return exact
    names = [name for i in backbone.find_genera(genus) for name in backbone.species_of(i)]
    names = [name for name in names if name.split(" ")[-1][:3] == parsed.epithet[:3]]
    return [i for name in parse_names(names) if stems(name) & stems(parsed) for i in backbone.find(name.verbatim)]
