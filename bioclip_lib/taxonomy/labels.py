"""Labels as folders and tables have them, and the names that may stand in them.

Takes verbatim labels; returns for each its `Part`s: the whole, then what stands before or after a sign that parts a
name from something else (sex, view, locality, another name of the same taxon), and the sides of "A and B". Synset
numbers, counters, daggers and ranked lines ("k__Animalia;...") are read here. Looks nothing up.
"""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import unquote

from .. import RANKS
from .canonical import kingdom_of
from .names import MAX_CHARS, PARENTHESES, ParsedName, capitalise, clean_label, parse_names

NOT_KNOWN = frozenset(("", "nan", "none", "null", "na", "n/a", "unknown", "unidentified", "unclassified"))
NOT_KNOWN |= {"unassigned", "-", "?"}
"""What tables write where nothing is known, in lower case."""
NOT_SAID = NOT_KNOWN | {"blank", "empty", "car", "vehicle", "person", "people"}  # of camera traps
"""What tables write where nothing is known or seen, in lower case."""

_WORD = re.compile(r"\w+")
_PLAIN = re.compile(r"[A-Z][a-z]+ [a-z]{4,}")
_BRACKETS = re.compile(r"[(\[{]([^()\[\]{}]*)[)\]}]")
_SYNSET = re.compile(r"^n\d{8}[\s_-]+")
_NUMBER = re.compile(r"^\d+(?:[._ ]\s*|-(?=[A-Z]))(?=[^\W\d_])")
_PARTED = re.compile(r"(?<=[^\W\d_]{4})(?<![Nn]ear)_(?=[A-Z][a-z]+ [a-z-]{3,}$)")  # "House Sparrow_Passer domesticus"
_COPY = re.compile(r"\s*\(\d+\)$")
_INATURALIST = re.compile(r"(?:\d{5})?((?:_[A-Z][A-Za-z]+){5,6})((?:_[a-z-]+)+)")
_CAMERA = re.compile(r"^(?:[0-9a-f-]{30,36};)?([a-z]*;[a-z]*;[a-z]*;[a-z]*;[a-z-]*);([^;]*)$")  # SpeciesNet's
_SUFFIX = re.compile(r"\.(?:jpe?g|png|tiff?)$", re.I)
_RANK_WORD = re.compile(r"^(?:genus|family|order|class|species)(?::\s*|\s+)(?=[A-Z])", re.I)
_NOMINATE = re.compile(r"^([A-Z][a-z]+) ([a-z])\. (\2[a-z-]+)$")  # "Parus m. major"
_GROUPED = re.compile(r"^[A-Z][a-z]+: ([A-Z][a-z]+)$")  # "Coleoptera: Carabidae"
_RANKED = re.compile(r"^([dkpcofgs])__(.*)$")
_OF_LETTER = dict(zip("kpcofgs", RANKS, strict=True)) | {"d": "kingdom"}
_GTDB = re.compile(r"(?<=[a-z])_[A-Z]{1,2}\b")
_SEPARATOR = re.compile(r"\s*[;|>]\s*")
_JOINED = re.compile(r"(?<=[a-z]{3})[.+](?=[A-Za-z]{2})")
_INNER_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_DOUBT = re.compile(r"\s*\((?:\?|(?:cf|aff)\.?)\)$|(?<=[a-z])\s*\?$")
_INFRAGENERIC = re.compile(r"^([A-Z][a-z-]+) ((?:sub)?(?:sect|g|gen|genus|section|ser|series)\.? [A-Z][a-z]+.*)$")
_TAIL = re.compile(r"\s*[(\[{,:;*♂♀]|\.\s+(?=[^\W\d_])|\s[-–—]\s|\s\d+$")
_SEX = re.compile(r"^(.+ .+?) (?:(?:sub)?adult|immature|imm|juvenile|juv|(?:fe)?males?)\.?(?: .*)?$", re.I)
_SUBGENUS = re.compile(r"^[A-Z][a-z]+ \(([A-Z][a-z]+)\) ([a-z-]{3,})")
_WITHIN = re.compile(r"[(\[{][^()\[\]{}]*[)\]}]\s*[^\W\d_]")  # "Rattus (Mastomys) natalensis"
_DENIED = re.compile(r"^\W*(?:not?|non|without|like|parasite|mosaic)\b")
_EITHER = re.compile(
    r"\s+(?:and|or|vs\.?|versus|[&+])\s+|\s*/\s*|(?<=[a-z])\+(?=[A-Z][a-z]+ [a-z])"
    r"|\s*[,;|]\s*(?=[A-Z][a-z]+(?: [A-Za-z'-]{3,})+\s*(?:$|[,;|]))"
    r"|(?:\s*[;|]\s*|,(?=\S))(?=[A-Z][a-z]{3,}(?<!idae|ceae)\s*(?:$|[,;|]))"
)
_CROSS = re.compile(r"\s+[xX×]\s+")
_NOTHOSPECIES = re.compile(r"[A-Z].*[a-z]\s+[xX×]\s+[a-z]")  # "Mentha × piperita"
_HYBRID = re.compile(r"\s*\(?\bhybrids?\)?$|^hybrids?\b:?\s*", re.I)
_OF_BINOMIAL = re.compile(r"([A-Z][a-z-]+) [a-z-]{3,}")
_INVERTED = re.compile(r"((?:[A-Z][\w'-]+ ?){1,2}), ((?:[A-Z][\w'-]+ ?){1,3})(?: ?[(,].*)?")  # "Warbler, Yellow (male)"
_BEFORE = re.compile(r"^(?:(?:sub)?adult|immature|juvenile|(?:fe)?male)s? (?=[A-Z][a-z]+ [a-z])", re.I)
_PLANT = re.compile(r"(.+) (?:trees?|plants?|lea(?:f|ves)|flowers?|fruits?|seedlings?|saplings?)", re.I)
_WITHIN_GROUP = re.compile(r"\s*[:;,]\s+|\s[-–—]\s|\s*[|>]\s*|\s*\((?=[^()]*\)$)")
_GROUP_FIRST = re.compile(r"([A-Z][a-z]+)(?: [A-Z][a-z]+)* ([A-Z][a-z]+ [a-z-]{3,})")  # "Nymphalidae Vanessa atalanta"
_LEADING_DOUBT = re.compile(r"^(?:([Cc]f|[Aa]ff|nr)\.?\s+|\?\s*)(?=([A-Z][a-z-]+) [a-z-]{3,})")


class Part(NamedTuple):
    """A text that may be a name, and its readings: as it stands, without parentheses, in lower case."""

    text: str
    readings: tuple[ParsedName, ...]

    @property
    def parsed(self) -> ParsedName:
        """The name as it stands."""
        return self.readings[0]

    @property
    def words(self) -> list[str]:
        """The words of the text, in lower case."""
        return _WORD.findall(self.text.casefold())


class Label(NamedTuple):
    """A label: its parts, the likeliest first; the sides of "A and B", in each way to read them; its own ranks.

    `within` is a group and what may be a taxon of it ("Nymphalidae - Vanessa atalanta"), if it can be read so. Before
    its texts are parsed, these stand for their `Part`s, and `parts` are those beside the whole.
    """

    text: str
    parts: tuple[Part, ...] = ()
    sides: tuple[tuple[Part, ...], ...] = ()
    said: Mapping[str, str] = MappingProxyType({})
    at_least: tuple[str, ...] = ("", "", "")  # the genus of "Carex subg. Vignea" or "cf. Carex nigra", status, reason
    within: tuple[Part, ...] = ()
    plant: tuple[Part, ...] = ()  # the plants, and which of them: mango, of "Mango tree - plot 3"
    verbatim: str = ""

    @property
    def whole(self) -> Part:
        """The label as one name."""
        return self.parts[0]


def plain_label(text: str) -> Label | None:
    """Return the label of a plain binomial, without parts; None of any other text."""
    return Label(text) if _PLAIN.fullmatch(text) else None


def read_labels(labels: Sequence[str]) -> list[Label]:
    """Read labels; all names in them are parsed in one batch."""
    drafts = [_draft(label)._replace(verbatim=label) for label in labels]
    listed = ((d.text, *d.parts, *d.within, *d.plant, *itertools.chain(*d.sides)) for d in drafts)
    spellings = {text: _spellings(text) for text in dict.fromkeys(itertools.chain(*listed))}
    distinct = list(dict.fromkeys(itertools.chain(*spellings.values())))
    parsed = dict(zip(distinct, parse_names(distinct), strict=True))
    parts = {}
    for text, group in spellings.items():
        readings = tuple(parsed[spelling] for spelling in group)
        parts[text] = Part(text, readings[:1] if readings[0].is_formula else readings)

    def of(texts: Iterable[str]) -> tuple[Part, ...]:
        return tuple(parts[text] for text in texts)

    return [
        d._replace(
            parts=of(dict.fromkeys((d.text, *d.parts))),
            sides=tuple(map(of, d.sides)),
            within=of(d.within),
            plant=of(d.plant),
        )
        for d in drafts
    ]


def _spellings(text: str) -> list[str]:
    if _PLAIN.fullmatch(text):
        return [text]
    plain = " ".join(PARENTHESES.sub(" ", text).split())
    return list(dict.fromkeys([text, plain, capitalise(plain.lower())]))


def _draft(label: str) -> Label:
    """Return the texts that may be names, of one label."""
    if _PLAIN.fullmatch(label):
        return Label(label, plant=_plant([label]))
    label = unquote(label) if "%" in label else label
    label = _SYNSET.sub("", label.strip())
    if len(label) > MAX_CHARS:
        return Label("")
    if line := _line(label):
        return line
    text = _PARTED.sub(" - ", _SUFFIX.sub("", label)).replace("___", ": ")
    text = clean_label(text.replace(" cfr. ", " cf. "))
    text = _NOMINATE.sub(r"\1 \3", _RANK_WORD.sub("", text))
    text = _COPY.sub("", _NUMBER.sub("", text)).lstrip("†‡*+ ")
    if " " not in text:
        text = _JOINED.sub(" ", text)
    if below := _INFRAGENERIC.match(text):
        return Label(text, at_least=(below[1], "accepted", f"{below[2]}: below its genus"))
    if hybrid := _HYBRID.search(text) and _OF_BINOMIAL.fullmatch(_HYBRID.sub("", text).strip()):
        return Label(text, at_least=(hybrid[1], "accepted", "a hybrid of unknown parents: its genus"))
    if doubt := _LEADING_DOUBT.match(text):
        return Label(text, at_least=(doubt[2], "unverified", f"{doubt[0].strip()} stands before the whole name"))
    text = _doubtful(text)
    others = _others(text)
    return Label(text, tuple(others), tuple(_sides(text)), within=_within(text), plant=_plant([text, *others]))


def _plant(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the plants and what stands before "tree", "leaf" or the like, if something does."""
    return next((("Plantae", match[1]) for match in map(_PLANT.fullmatch, texts) if match), ())


def _within(text: str) -> tuple[str, ...]:
    """Return what stands before the first sign and after the last, if that may be a group and a taxon of it."""
    spaced = _GROUP_FIRST.fullmatch(text)
    group, *rest = spaced.groups() if spaced else _WITHIN_GROUP.split(text)
    taxon = rest[-1].rstrip(")") if rest else ""
    return (group, taxon) if group[:1].isupper() and taxon[:1].isupper() else ()


def _doubtful(text: str) -> str:
    """Write a doubt that stands at the end of a name where open nomenclature has it: in a binomial, after English."""
    words = _DOUBT.sub("", text).split(" ")
    if not _DOUBT.search(text):
        return text
    is_binomial = len(words) > 1 and words[1].isalpha() and words[1].islower() and words[0][:1].isupper()
    return f"{words[0]} cf. {' '.join(words[1:])}" if is_binomial else f"{' '.join(words)} cf."


def _others(text: str) -> list[str]:
    """Return the other texts of a label that may be its name: before and after a sign, or without its sex."""
    grouped = _GROUPED.match(text)
    others = [grouped[1]] if grouped else []
    inverted = _INVERTED.fullmatch(text)
    others += [f"{inverted[2].strip()} {inverted[1].strip()}"] if inverted else []
    others += [_BEFORE.sub("", text)] if _BEFORE.match(text) else []
    tail = _TAIL.search(text)
    if tail and not _DENIED.match(text[tail.end() :]) and not _WITHIN.match(text[tail.end() - 1 :]):
        others.append(text[: tail.start()])
        if tail[0].strip() in tuple("-–—"):
            others.append(text[tail.end() :])
    subgenus = _SUBGENUS.match(text)
    others += [f"{subgenus[1]} {subgenus[2]}"] if subgenus else _BRACKETS.findall(text)[-1:]
    sex = _SEX.match(text)
    others += [sex[1]] if sex else []
    if " " not in text:
        others += [_INNER_CAPITAL.sub(" ", text), text.replace("-", " ")]
    return [other.strip() for other in others if other.strip() not in ("", text)]


def _sides(text: str) -> list[list[str]]:
    """Return the names that a label joins with "and", "or", "vs", a stroke or a cross; none if it is one name."""
    text = _HYBRID.sub("", text)
    sides = [side.strip() for side in _EITHER.split(text)]
    if len(sides) == 1 and _CROSS.search(text) and not _NOTHOSPECIES.match(text):
        sides = [side.strip() for side in _CROSS.split(text)]
    if len(sides) < 2 or not all(sides):
        return []
    genus = sides[0].partition(" ")[0]
    is_short = [side.isalpha() and side.islower() and " " in sides[0] and genus[:1].isupper() for side in sides]
    abbreviated = re.compile(rf"^{re.escape(genus[:1])}\.\s*(?=[a-z])")
    pairs = zip(sides, is_short, strict=True)
    written = [f"{genus} {side}" if short else abbreviated.sub(f"{genus} ", side) for side, short in pairs]
    *_, last = PARENTHESES.sub("", sides[-1]).split(" ")
    shared = [PARENTHESES.sub("", s) if " " in s else f"{s} {last}" for s in sides]  # "Greater/Lesser Scaup"
    return [shared, written] if "/" in text and " " in sides[-1] and " " not in sides[0] else [written]


def _line(label: str) -> Label | None:
    """Read a label that gives its ranks one after the other, or with their letters; None if it is no such line."""
    camera = _CAMERA.match(label)
    if camera:
        ranks = dict(zip(RANKS[2:], map(capitalise, camera[1].split(";")), strict=True))
        ranks["species"] = ranks["species"].lower()
        named = _of_ranks({rank: name for rank, name in ranks.items() if name})
        return named._replace(parts=(camera[2],)) if named.text and camera[2] else named
    inaturalist = _INATURALIST.fullmatch(label if label[:1].isdigit() else f"_{label}")
    if inaturalist and kingdom_of(inaturalist[1].split("_")[1]):
        names = inaturalist[1].split("_")[1:]
        epithet = inaturalist[2].replace("_", " ").strip()
        ranks = (*RANKS[:5], "genus")[: len(names)] if len(names) == 6 else ("kingdom", *RANKS[2:6])
        return Label(f"{names[-1]} {epithet}", said=dict(zip(ranks[:-1], names, strict=False)))
    items = [clean_label(_GTDB.sub("", item)) if "__" not in item else item for item in _SEPARATOR.split(label)]
    lettered = [_RANKED.match(item) for item in items]
    if all(lettered):
        ranks = {_OF_LETTER[m[1]]: clean_label(_GTDB.sub("", m[2])) for m in lettered if m[2].strip("_ ")}
    elif len(items) >= 3 and all(re.fullmatch(r"[^\W\d][\w .-]*", item) for item in items):
        if 2 * sum(" " in item for item in items[:-1]) >= len(items) - 1:  # several taxa: "Red deer;Red fox;Wild boar"
            return None
        ranks = _guessed(items)
    else:
        return None
    return _of_ranks(ranks)


def _guessed(items: list[str]) -> dict[str, str]:
    """Give the names of a line their ranks: all seven, or those that show by themselves."""
    items = [capitalise(item) for item in items[:-1]] + items[-1:]
    if len(items) == len(RANKS):
        return dict(zip(RANKS, items, strict=True))
    ranks = {"kingdom": items[0]} if kingdom_of(items[0]) else {}
    for item in items[:-1]:
        ends = {"order": ("ales", "formes"), "family": ("idae", "aceae")}
        ranks |= {rank: item for rank, suffixes in ends.items() if item.endswith(suffixes)}
    last = items[-1]
    if " " in last:
        return ranks | {"species": last}
    is_epithet = last.islower() and not items[-2].endswith(("idae", "aceae", "ales", "formes"))
    return ranks | ({"genus": items[-2], "species": last} if is_epithet else {"name": capitalise(last)})


def _of_ranks(ranks: dict[str, str]) -> Label:
    """Return the deepest name of ranks, the others as what the label says."""
    genus, species = ranks.get("genus", ""), ranks.pop("species", "")
    if species and genus and not species.startswith(genus):
        species = f"{genus} {species}"
    deepest = next((rank for rank in reversed(RANKS) if rank in ranks), "")
    name = species or ranks.pop("name", "") or ranks.pop(deepest, "")
    return Label(name, said={rank: value for rank, value in ranks.items() if rank != "genus"})
