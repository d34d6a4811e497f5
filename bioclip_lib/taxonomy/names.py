"""Parse verbatim names with gnparser, the taxonomists' name parser.

Takes class labels and names as found on folders and in tables, returns `ParsedName` records. Looks nothing up: that a
string parses like a binomial ("Whip poor Will") says nothing about whether such a taxon exists.
"""

import ctypes
import functools
import html
import importlib.util
import json
import platform
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from .authors import YEAR, without_accents

MAX_CHARS = 300  # a longer label is no name
BATCH = 5_000

OPEN_NOMENCLATURE = re.compile(
    r"(?<=\s)(spp?|SP|cf|aff|nr|near|prope|gr|ex gr|group|indet|undet|gen|species|morphotype|complex|agg|aggr)"
    r"(?![a-zA-Z])\.?(?=[\s\d]|$)|(?<=[a-z] )\?|(?<=[a-z])[?/](?=$| ?[a-z])"
)
_EITHER = re.compile(r"(?<=[a-z] )or(?= [a-z])")
_MARKER_WORDS = ("", "near", "prope", "species", "group", "complex", "morphotype", "or", "and", "vs")  # as reasons have
CULTIVAR = re.compile(r"(?<=\w)\.?\s+(?:(?:cv|cultivar)\b\.?\s*(?=\S)|(?=['‘\"“].+['’\"”]$))(.+)$")
_FINAL_MARKER = re.compile(r"(?<=\w )(sp|spp|indet|spec)\.?$")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,80}>")
_POSSESSIVE = re.compile(r"['’`´][sS]\b")
_HYBRID_SIGN = re.compile(r"^(?:×\s*|[xX✕]\s+)(?=[A-Z])")  # of a hybrid genus
_CAPITAL = re.compile(r"[^\W\d_]")
_APOSTROPHE = re.compile(r"['’`´]")
_QUOTES = frozenset("'\"‘’“”`´")
_CANDIDATUS = re.compile(r"^(?:Ca\.\s*|['‘]Candidatus\s+)(?=[A-Z])")
_NOT_WORD = re.compile(r"[\W_]+")
PARENTHESES = re.compile(r"\s*\([^()]*\)")
_BRITISH = {"grey": "gray", "colour": "color", "sulphur": "sulfur", "moustach": "mustach", "mould": "mold"}
_IN_BRITISH = re.compile("|".join(_BRITISH))

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


@dataclass(frozen=True)
class ParsedName:
    """What a name says by its form alone."""

    verbatim: str
    canonical: str = ""
    genus: str = ""
    epithet: str = ""
    infraspecific: str = ""
    stemmed: str = ""  # without Latin endings, so that spellings that differ in gender compare equal
    authorship: str = ""
    year: str = ""
    is_hybrid: bool = False
    open_nomenclature: str = ""  # a marker such as "sp." or "cf."
    rank_hint: str = ""  # "genus" (any uninomial), "species" or "infraspecific"

    @property
    def is_formula(self) -> bool:
        """Whether the name is that of two parents, such as "Mentha aquatica × Mentha spicata"."""
        return self.is_hybrid and " × " in self.canonical

    @property
    def formula_genus(self) -> str:
        """The one genus of both parents of a formula, '' if they are of two; the second may be abbreviated."""
        genera = {part.split(" ")[0] for part in self.canonical.split(" × ")} if self.is_formula else set()
        return self.genus if genera and genera <= {self.genus, f"{self.genus[0]}."} else ""


def clean_label(label: str) -> str:
    """Turn a folder or table label into plain words."""
    text = str(label)
    if "<" in text or "&" in text:
        text = _TAG.sub(" ", html.unescape(text))
    if text.isascii() and text.isprintable():
        return " ".join(text.replace("_", " ").split())
    text = "".join(" " if char == "_" or unicodedata.category(char)[0] in "CZ" else char for char in text)
    return " ".join(text.split())


def capitalise(label: str) -> str:
    """Write a label the way names are written: a capital first, and no word all in capitals."""
    words = label.split(" ")
    if len(words[0]) > 2 and label.upper() == label:
        label = label.lower()
    return label[:1].upper() + label[1:]


def vernacular_key(name: str) -> str:
    """Return a common name in American spelling, without case, accents, hyphens, spaces, possessives, a last plural."""
    return "".join(vernacular_words(name))


def vernacular_words(name: str) -> list[str]:
    """Split a common name into normalised words, the last in the singular (see `vernacular_key`)."""
    text = _APOSTROPHE.sub("", without_accents(_POSSESSIVE.sub("", name).lower()))  # "Aß" is no ass
    words = [word for word in _NOT_WORD.split(_IN_BRITISH.sub(lambda found: _BRITISH[found[0]], text)) if word]
    return [*words[:-1], singular(words[-1])] if words else []


def singular(word: str) -> str:
    """Return the singular of an English plural in -s; other words as they are."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def parse_names(names: Sequence[str]) -> list[ParsedName]:
    """Parse names, one record a name, in order."""
    labels = [capitalise(_HYBRID_SIGN.sub("", _unquoted(clean_label(name)))) for name in names]
    # fuzzed with 300,000 labels: gnparser 1.11.1 fails at a first hybrid sign or comma, and at "sect. Candidatus", by a
    # crash, which would end the process, or a line on stderr
    safe = [len(s) <= MAX_CHARS and bool(_CAPITAL.match(s)) and "andidatus" not in s[2:] for s in labels]
    # a final "sp" or "indet." as "sp.", the way gnparser knows it; without a cultivar
    texts = [_FINAL_MARKER.sub("sp.", CULTIVAR.sub("", s)) if ok else "" for s, ok in zip(labels, safe, strict=True)]
    entries = zip(names, texts, _gnparser_entries(texts), strict=True)
    return [_record(str(name), text, entry) for name, text, entry in entries]


def stems(name: ParsedName) -> frozenset[str]:
    """Return the stems that an epithet can have; several where a masculine in -er may drop its e (niger, nigra)."""
    if not name.epithet:
        return frozenset()
    stemmed = name.stemmed or parse_names([name.canonical])[0].stemmed
    stem = _COMPARATIVES.get(name.epithet) or stemmed.split(" ")[1]
    dropped = {stem[:-2] + "r"} if name.epithet.endswith("er") and len(stem) > 3 else set()
    return frozenset({stem, *dropped} - {""})


def variants(name: ParsedName) -> frozenset[str]:
    """Return the stems of an epithet in the one spelling that stands for all that the code equates."""
    return frozenset(folded(stem) for stem in stems(name))


@functools.lru_cache(65_536)
def folded(word: str) -> str:
    """Spell a word the one way that stands for all its variants."""
    for pattern, letter in _VARIANTS:
        word = pattern.sub(letter, word)
    return word


def unsigned(label: str) -> str:
    """Return a cleaned label without the sign of a hybrid genus or of a Candidatus."""
    return _HYBRID_SIGN.sub("", clean_label(label)).removeprefix("Candidatus ")


def _unquoted(label: str) -> str:
    """Take off quotation marks around a whole name, and write "Ca." in full."""
    inner = label[1:-1]
    if label[:1] in _QUOTES and label[-1:] in _QUOTES and not _QUOTES.intersection(inner):
        label = inner.strip()
    return _CANDIDATUS.sub("Candidatus ", label)


def _record(verbatim: str, text: str, entry: dict) -> ParsedName:
    """Turn one entry of gnparser's output into a record."""
    if not entry.get("parsed"):
        return ParsedName(verbatim)
    canonical = entry["canonical"]["simple"]
    words, authorship = canonical.split(" "), entry.get("authorship", {})
    is_formula = "hybrid" in entry and " × " in canonical
    either = _EITHER.search(text, len(" ".join(text.split(" ")[:2])))  # "Lasius niger or flavus"
    marker = OPEN_NOMENCLATURE.search(text) or either
    written = marker[0] if marker else ""
    if written not in _MARKER_WORDS and written[-1].isalpha():
        written = f"{written.lower()}."
    return ParsedName(
        verbatim=verbatim,
        canonical=canonical,
        genus=words[0],
        epithet=words[1] if len(words) > 1 and not is_formula else "",
        infraspecific=" ".join(words[2:]) if not is_formula else "",
        stemmed=entry["canonical"]["stemmed"],
        authorship=authorship.get("normalized", ""),
        year=(YEAR.findall(authorship.get("normalized", "")) or [""])[-1],
        is_hybrid="hybrid" in entry,
        open_nomenclature=written,
        rank_hint="" if is_formula else ("genus", "species", "infraspecific")[min(len(words), 3) - 1],
    )


def _gnparser_entries(texts: Sequence[str]) -> Iterator[dict]:
    """Yield gnparser's parsed JSON for each text."""
    parse, free = _load_gnparser()
    for start in range(0, len(texts), BATCH):
        batch = [text.encode("utf-8", "replace") for text in texts[start : start + BATCH]]
        array = (ctypes.c_char_p * len(batch))(*batch)
        pointer = parse(array, len(batch), b"compact", b"", 0, 0)
        try:
            content = ctypes.string_at(pointer)
        finally:
            free(pointer)  # the package's own wrapper leaves this out: at 10^7 names that is gigabytes
        yield from json.loads(content)


@functools.cache
def _load_gnparser() -> tuple:
    """Open gnparser's library once; return its batch parser and the function that frees a result."""
    # a Go library: once it has parsed a name, a process that was forked must not call it again
    suffix = {"Linux": "so", "Darwin": "dylib", "Windows": "dll"}.get(platform.system(), "so")
    spec = importlib.util.find_spec("gnparser")
    path = Path(spec.origin).parent / f"libgnparser.{suffix}" if spec and spec.origin else None
    if path is None or not path.is_file():
        system = platform.system()
        raise InputError(f"gnparser has no library for {system}; use Linux or macOS, or `pip install gnparser`")
    library = ctypes.CDLL(str(path))
    # char *ParseAryToString(char **names, int n, char *format, char *code, int details, int diaereses)
    parse = library.ParseAryToString
    parse.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, *[ctypes.c_char_p] * 2, *[ctypes.c_int] * 2]
    parse.restype = ctypes.c_void_p  # not c_char_p, which would copy and lose the pointer to free
    library.FreeMemory.argtypes = [ctypes.c_void_p]
    library.FreeMemory.restype = None
    return parse, library.FreeMemory
