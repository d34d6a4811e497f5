"""Common names of the taxa of a backbone, in one language (English, if not `data.language` says otherwise): the one
that tables show, and all by which a taxon is found.

Takes the table of vernacular names beside a checklist: ColDP's ``VernacularName``, the extension of a Darwin Core
Archive (GBIF, EOL, ITIS), iNaturalist's ``VernacularNames-english``. Of several names of a taxon the one stays
that comes first in this order: marked as preferred; exactly of the language, not a variety such as en-GB; for no
country in particular; given by most of the rows that are equal so far; the shorter; the first in the alphabet. The
order of rows does not count.
"""

import functools
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..config import LANGUAGES
from ..files.meta import described
from ..files.tables import first_column, list_files, read_batches
from .checklists import dump_english, tables_of
from .names import clean_label, vernacular_key, vernacular_words

MAX_CHARS = 80
_COLUMNS = {
    "id": ("taxonid", "coreid", "id", "taxon_id", "acceptedtaxonid"),
    "name": ("vernacularname", "name", "vernacular_name", "commonname"),
    "language": ("language", "languagecode", "lang"),
    "country": ("country", "countrycode", "locality", "area"),
    "preferred": ("preferred", "ispreferredname", "ispreferred"),
}
_KNOWN = {name for names in _COLUMNS.values() for name in names}
_STEMS = ("vernacularname", "vernacularnames", "vernacular", "vernaculars", "commonnames")
_ROMANCE = {"da", "de", "del", "di", "do", "du", "el", "la"}  # "granadilla de monte"
_ADDRESS = r"^https?://.*/"


def read_names(path: str | Path, problems: list[dict[str, str]], language: str = "en") -> pa.Table | None:
    """Read the names of a language beside a checklist: ``id, name, merit`` a row, None if there are none."""
    # in parts: 5 million rows, 2.3 million of them different English names, take 750 MB at their peak
    files = list_files(Path(path).expanduser())
    by_stem, dump = tables_of(files), dump_english(files)
    file = by_stem.get(f"vernacularnames{LANGUAGES[language][-1]}")  # iNaturalist's: meta.xml lists all languages
    if file is None and "meta.xml" in files and "nameusage" not in by_stem:
        file = described(files, "vernacularname")
    file = file or next((by_stem[stem] for stem in _STEMS if stem in by_stem), None)
    parts = [names_in(batch, language) for batch in read_batches(file, _KNOWN, problems)] if file else []
    parts += [names_in(dump, language)] if dump is not None else []
    return pa.concat_tables(parts).combine_chunks() if sum(map(len, parts)) else None


def with_english(usages: pa.Table, english: pa.Table | None) -> tuple[pa.Table, pa.Table]:
    """Give each linked usage its best English name as column ``english``; also return the table of all of them."""
    best = np.full(len(usages), "", object)
    rows, names = np.empty(0, np.int64), pa.array([], pa.string())
    if english is not None:
        ids = pc.replace_substring_regex(usages["id"], _ADDRESS, "").combine_chunks()  # iNaturalist's are addresses
        index = pc.index_in(english["id"], ids)
        english = english.filter(index.is_valid())
        rows = np.asarray(usages["accepted"])[np.asarray(index.drop_null())]
        names = english["name"].combine_chunks()
        taxa, chosen = best_names(rows, np.asarray(english["merit"]), english["name"])
        best[taxa] = np.asarray(chosen.to_pylist(), object)
    listed = list(zip(rows.tolist(), names.to_pylist(), strict=True))
    return usages.append_column("english", pa.array(best, pa.string())), word_table(listed, usages["key"])


NAME, ALIAS, TAIL, WORD, EPITHET = range(5)
"""Kinds of rows of the table of words: an English name of a taxon; another that its article gives; what is left of a
name without its first word or two; a word of the names; an epithet, with the number of its species as row."""


def word_table(
    names: Sequence[tuple[int, str]],
    keys: pa.ChunkedArray,
    titles: Sequence[tuple[int, str]] = (),
    aliases: Sequence[tuple[int, str]] = (),
) -> pa.Table:
    """Return ``key, kind, row``, sorted: every way to look a taxon up by English names; and the epithets of `keys`."""
    # titles are names, too, but their words need not be English
    entries: set[tuple[str, int, int]] = {(vernacular_key(name), ALIAS, row) for row, name in aliases}
    entries.update((word, WORD, -1) for _, name in names for word in vernacular_words(name))
    for row, name in itertools.chain(names, titles):
        words = vernacular_words(name)
        entries.add(("".join(words), NAME, row))
        entries.update(("".join(words[n:]), TAIL, row) for n in (1, 2) if len(words) - n >= 2)
    binomials = pc.unique(keys.filter(pc.match_substring_regex(keys, "^[A-Z][a-z]+ [a-z-]+$")))
    epithets = pc.value_counts(pc.list_element(pc.split_pattern(binomials, " "), 1)) if len(binomials) else []
    entries.update((e["values"].as_py(), EPITHET, e["counts"].as_py()) for e in epithets if e["counts"].as_py() > 2)
    ordered = sorted(entry for entry in entries if entry[0])  # by code points, as their bytes are
    columns = list(zip(*ordered, strict=True)) or [(), (), ()]
    types = (pa.string(), pa.int8(), pa.int32())
    return pa.table({n: pa.array(c, t) for n, c, t in zip(("key", "kind", "row"), columns, types, strict=True)})


def of_other_families(
    names: Sequence[tuple[int, str]],
    vouched: Sequence[tuple[int, str]],
    is_species: np.ndarray,
    families: np.ndarray,
) -> list[tuple[int, str]]:
    """Return who else bears the one word by which `names` call one species: a "bream" is no one species.

    They are added where another family than its own (a row each, -1: none) has three taxa whose name ends in the word,
    and more than its own, and nothing `vouched` calls the species so.
    """
    single, ending = defaultdict(set), defaultdict(set)
    for row, said in ((row, vernacular_words(name)) for row, name in names):
        (single if len(said) == 1 else ending)[said[-1] if said else ""].add(row)
    sure = {(row, vernacular_key(name)) for row, name in vouched}
    others = []
    for word, (row, *more) in sorted(single.items()):
        n_in = Counter(families[other] for other in ending[word] if families[other] >= 0)
        least = max(3, n_in.pop(families[row], 0) + 1)
        is_sure = more or not is_species[row] or (row, word) in sure
        if not is_sure and max(n_in.values(), default=0) >= least:
            others += [(other, word) for other in sorted(ending[word])]
    return others


def english_heads(sure: Sequence[str], likely: Sequence[str]) -> Callable[[str], bool]:
    """Return a test of names whose language nobody states: English ones end as others do ("woodlandsnail").

    Their last word ends two of the `sure` names or five of all, or itself ends in a word that ends five.
    """
    first, more = (Counter(words[-1] for words in map(vernacular_words, names) if words) for names in (sure, likely))
    heads = {word for word, n in first.items() if n >= 2}
    frequent = {word for word, n in (first + more).items() if n >= 5}

    def is_english(name: str) -> bool:
        words = vernacular_words(name)
        if not words or (len(words) > 1 and words[-2] in _ROMANCE):
            return False
        head = words[-1]
        ends = (head[i:] for i in range(1, len(head) - 3))
        return head in heads or head in frequent or any(end in frequent for end in ends)

    return is_english


def english_qualifiers(sure: Sequence[str]) -> Callable[[str], bool]:
    """Return a test of names: in English ones a word that twenty of the `sure` have stands before the last."""
    before = Counter(word for words in map(vernacular_words, sure) for word in words[:-1] if len(word) > 3)
    qualifiers = {word for word, n in before.items() if n >= 20}

    def is_english(name: str) -> bool:
        words = vernacular_words(name)
        return not qualifiers.isdisjoint(words[:-1]) and _ROMANCE.isdisjoint(words)

    return is_english


def best_names(rows: np.ndarray, merit: np.ndarray, names: pa.ChunkedArray) -> tuple[np.ndarray, pa.StringArray]:
    """Return the best name of each row, of parallel arrays: the greatest merit, then what most of those say."""
    greatest = np.full(rows.max(initial=-1) + 1, -1, np.int8)
    np.maximum.at(greatest, rows, merit)
    is_best = merit == greatest[rows]
    encoded = names.filter(pa.array(is_best)).combine_chunks().dictionary_encode()
    spellings = encoded.dictionary
    keys = pc.utf8_lower(spellings)
    sorting = [("length", "ascending"), ("key", "ascending"), ("name", "ascending")]
    order = pc.sort_indices(pa.table({"length": pc.utf8_length(keys), "key": keys, "name": spellings}), sorting)
    position = np.empty(len(spellings), np.int64)  # of each spelling, the shortest first
    position[np.asarray(order)] = np.arange(len(spellings))
    first = np.full(len(spellings), len(spellings))  # the first position of all spellings of one key
    key_codes = np.asarray(keys.dictionary_encode().indices)
    np.minimum.at(first, key_codes, position)
    code = first[key_codes[np.asarray(encoded.indices)]]  # (n,): of each row's name, regardless of capitals
    pairs, counts = np.unique(rows[is_best].astype(np.int64) * len(spellings) + code, return_counts=True)
    taxa, code = np.divmod(pairs, len(spellings))
    by_merit = np.lexsort((code, -counts, taxa))
    chosen = by_merit[np.flatnonzero(np.diff(taxa[by_merit], prepend=-1))]
    return taxa[chosen], spellings.take(order.take(pa.array(code[chosen])))


def names_in(batch: pa.Table, language: str = "en") -> pa.Table:
    """Reduce a part of the table to the names of a language: the id of the taxon, the name, and its merit."""
    words = "|".join((language, *LANGUAGES[language]))
    exact, variety = rf"^({words})$", rf"^({words})([-_ (].*)?$"
    table = pa.table({term: first_column(batch, *names) for term, names in _COLUMNS.items()})
    given = pc.utf8_lower(table["language"])
    is_wanted = pc.match_substring_regex(given, variety)
    table, given = table.filter(is_wanted), given.filter(is_wanted)
    names = _cleaned(table["name"].combine_chunks())
    is_preferred = pc.match_substring_regex(pc.utf8_lower(table["preferred"]), r"^(true|t|1|yes|y|preferred)$")
    is_exact, is_anywhere = pc.match_substring_regex(given, exact), pc.equal(table["country"], "")
    merits = ((4, is_preferred), (2, is_exact), (1, is_anywhere))
    merit = sum(weight * np.asarray(flags, np.int8) for weight, flags in merits)
    ids = pc.replace_substring_regex(table["id"], _ADDRESS, "")
    return pa.table({"id": ids, "name": names, "merit": pa.array(merit, pa.int8())}).filter(pc.not_equal(names, ""))


def _cleaned(names: pa.StringArray) -> pa.StringArray:
    """Remove markup and control characters; a name in capitals gets one, what is no name becomes ''."""
    odd = pc.match_substring_regex(names, r"[<&_\p{C}\p{Z}]{2}|[<&_\p{C}]|^\s|\s$|[^\S ]")
    if pc.any(odd).as_py():
        clean = functools.cache(clean_label)
        tidy = [clean(name) for name in names.filter(odd).to_pylist()]
        names = pc.replace_with_mask(names, odd, pa.array(tidy, pa.string()))
    shouted = pc.match_substring_regex(names, r"^[^\p{Ll}]*\p{Lu}{2}[^\p{Ll}]*$")
    names = pc.if_else(shouted, pc.utf8_capitalize(pc.utf8_lower(names)), names)
    is_name = pc.and_(pc.match_substring_regex(names, r"\p{L}{2}"), pc.less_equal(pc.utf8_length(names), MAX_CHARS))
    return pc.if_else(is_name, names, "")
