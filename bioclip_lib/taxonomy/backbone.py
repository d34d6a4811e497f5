"""Backbones: what names exist, what each may mean, and where each taxon stands among the seven ranks.

A backbone is a name and two Arrow tables, `usages` and `words`, sorted by key, built once per digest of their source
(`cache`). It decides nothing: where a name stands for several taxa, it returns them all.
"""

import bisect
import functools
import re
import warnings
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from .. import RANKS
from ..errors import InputError
from ..files.dialect import told
from ..files.tables import list_files
from .cache import cached
from .canonical import kingdom_of
from .checklists import read_usages
from .lineages import DOUBTFUL, HIGHER_RANKS, SYNONYM, UNAVAILABLE, Linker
from .names import vernacular_key
from .vernaculars import EPITHET, NAME, WORD, read_names, with_english

_SMALL = 1 << 20  # bytes: a smaller checklist is read again in less time than it takes to tell
_BLOCK = 512  # rows: the search for a key among millions begins in a list of every 512th
_BINOMIAL = re.compile(r"[^\W\d_][^\W\d_]*(-[^\W\d_]+)?( x)?( [^\W\d_]{2,}(-[^\W\d_]+)*)+$")


class Taxon(NamedTuple):
    """An accepted taxon, raised to its species where it lies below."""

    id: str
    scientific_name: str
    ranks: tuple[str, ...]  # the seven, '' where unknown
    rank_ids: tuple[str, ...]  # '' where the backbone gives a name only
    below_species: str
    common_name: str
    row: int

    @property
    def identity(self) -> tuple:
        """What is equal for one taxon, though it may lack an id."""
        return self.id, self.scientific_name, self.ranks

    def at_family(self) -> "Taxon":
        """Return the taxon raised to its family, or the deepest rank that is known above it."""
        known = [i for i in range(5) if self.ranks[i]] or [0]
        name, taxon_id = self.ranks[known[-1]], self.rank_ids[known[-1]]
        return self._replace(scientific_name=name, id=taxon_id, ranks=(*self.ranks[:5], "", ""), common_name="")


class Usage(NamedTuple):
    """One meaning of a name: its own `name`, `authorship` and `rank`, and the `taxon` that it is taken for."""

    name: str
    authorship: str
    rank: str
    taxon: Taxon
    backbone: "Backbone"
    is_synonym: bool = False
    is_unavailable: bool = False  # the codes rule the name out for this taxon: a later homonym, an illegitimate name
    is_doubtful: bool = False  # an encyclopaedia's article alone gives it as a synonym

    @property
    def above(self) -> frozenset[int]:
        """The rows of all taxa above the taxon."""
        return self.backbone.above(self.taxon.row)


class _Strings:
    """A column of strings, read one by one straight from its buffers."""

    def __init__(self, column: pa.ChunkedArray):
        array = _array(column)
        _, offsets, data = array.buffers()
        self.array, self._n = array, len(array)
        self._offsets = memoryview(offsets).cast("B").cast("i") if self._n else ()
        self._data = memoryview(data) if data is not None else memoryview(b"")

    def __getitem__(self, row: int) -> str:
        return str(self._data[self._offsets[row] : self._offsets[row + 1]], "utf-8")

    def position(self, key: str) -> int:
        """Return the first row whose text is not before a key, of sorted texts."""
        wanted = key.encode("utf-8", "surrogatepass")
        block = bisect.bisect_left(self._block_starts, wanted)
        rows = range(max(0, block - 1) * _BLOCK, min(block * _BLOCK, self._n))
        return rows.start + bisect.bisect_left(rows, wanted, key=self._bytes)

    @functools.cached_property
    def _block_starts(self) -> list[bytes]:
        """The first text of each block of rows."""
        return [self._bytes(row) for row in range(0, self._n, _BLOCK)]

    def _bytes(self, row: int) -> bytes:
        return bytes(self._data[self._offsets[row] : self._offsets[row + 1]])

    def rows(self, key: str) -> range:
        """Return the rows of a text, of sorted texts."""
        start = stop = self.position(key) if key else 0
        while key and stop < self._n and self[stop] == key:
            stop += 1
        return range(start, stop)


def _array(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, without a copy where it is one (`combine_chunks` copies what is mapped)."""
    return column.chunk(0) if column.num_chunks == 1 and column.chunk(0).offset == 0 else column.combine_chunks()


class Backbone:
    """Two tables that names are looked up in."""

    language = "en"  # of its common names
    says_language = True  # itself, of each; NCBI does not

    def __init__(self, name: str, usages: pa.Table, words: pa.Table, problems: pd.DataFrame):
        self.name, self.problems, self._tables = name, problems, (usages, words)
        self._keys, self._display, self._authorship, self._id, self._english = (
            _Strings(usages[column]) for column in ("key", "display", "authorship", "id", "english")
        )
        rank = _array(usages["rank"])
        self._rank_names, self._rank = rank.dictionary.to_pylist(), np.asarray(rank.indices)
        self._accepted, self._parent, self._flags = (
            np.asarray(_array(usages[column])) for column in ("accepted", "parent", "flags")
        )
        self._lineage = np.asarray(_array(usages["lineage"]).values).reshape(-1, len(RANKS))
        self._words, self._word_rows = _Strings(words["key"]), np.asarray(_array(words["row"]))
        self._kinds = np.asarray(_array(words["kind"]))
        self.taxon, self.above = (functools.lru_cache(65_536)(f) for f in (self._taxon, self._above))
        self._place = functools.lru_cache(65_536)(self._named)
        self._letter = functools.lru_cache(64)(self._names_of_letter)

    @functools.cached_property
    def digest(self) -> str:
        """What tells its tables from all others."""
        found = blake2b(repr([self.name, self._rank_names]).encode(), digest_size=12)
        arrays = (array for table in self._tables for column in table.columns for array in column.chunks)
        for buffer in filter(None, (buffer for array in arrays for buffer in array.buffers())):
            found.update(buffer)
        return found.hexdigest()

    def usages(self, name: str) -> list[Usage]:
        """Return every usage of a canonical name to the letter; an article's synonym where nothing else has it."""
        rows = list(self._keys.rows(name))
        sure = [row for row in rows if not self._flags[row] & DOUBTFUL]
        return [self._usage(name, row) for row in self._plain(name, sure) or rows]

    def rows(self, name: str) -> list[int]:
        """Return the rows of the accepted taxa with a canonical name."""
        return [row for row in self._keys.rows(name) if not self._flags[row] & SYNONYM or self._is_kingdom(row)]

    def rows_of_ids(self, ids: Sequence[str]) -> list[int]:
        """Return the row of each id, -1 where there is none."""
        return pc.fill_null(pc.index_in(pa.array(ids, pa.string()), self._id.array), -1).to_pylist()

    def lineage(self, row: int) -> list[str]:
        """Return the seven ranks of a row's taxon as the backbone writes them, '' where unknown."""
        return [self._place(i)[0] for i in self._lineage[self._accepted[row]].tolist()]

    def at(self, row: int) -> Usage:
        """Return the usage of an accepted taxon's own name."""
        row = int(self._accepted[row])
        return self._usage(self._display[row], row)

    def congeners(self, genus: str) -> list[str]:
        """Return the canonical binomials that begin with a genus, synonyms among them."""
        start, stop = self._keys.position(f"{genus} "), self._keys.position(f"{genus}!")  # "!" comes after " "
        names = [self._keys[row] for row in range(start, stop) if not self._flags[row] & DOUBTFUL]
        return [name for name in dict.fromkeys(names) if name.count(" ") == 1]

    def uninomials(self, first_letter: str, n_letters: int) -> list[str]:
        """List the names of one word that begin with a letter and are about (+-2) as long."""
        by_length = self._letter(first_letter)
        return [name for n in range(n_letters - 2, n_letters + 3) for name in by_length.get(n, ())]

    def english(self, name: str, kind: int = NAME) -> list[int]:
        """Return the rows of the taxa with an English name, in any of its spellings (`names.vernacular_key`)."""
        return self._rows_of_word(vernacular_key(name), kind)

    def is_word(self, word: str) -> bool:
        """Tell whether a word occurs in English names."""
        return bool(self.english(word, WORD))

    def is_epithet(self, word: str) -> bool:
        """Tell whether several species bear an epithet, so that it is no misspelling."""
        return bool(self._rows_of_word(word, EPITHET))

    def _rows_of_word(self, key: str, kind: int) -> list[int]:
        found = self._words.rows(key)
        return list(dict.fromkeys(int(self._word_rows[i]) for i in found if self._kinds[i] == kind))

    def rank(self, row: int) -> str:
        """Return the rank of a row, as the backbone gives it."""
        return self._rank_names[self._rank[row]] if self._rank[row] >= 0 else ""

    def names(self) -> list[str]:
        """Return the distinct canonical names, in order."""
        return pc.unique(self._keys.array.slice(self._keys.position("\0"))).to_pylist()

    def ancestors(self, row: int) -> list[int]:
        """Return the rows from a taxon up to the root, both included."""
        rows = []
        while row >= 0:
            rows.append(row)
            row = int(self._parent[row])
        return rows

    def common_ancestor(self, rows: Sequence[int]) -> int | None:
        """Return the deepest taxon that all the given taxa belong to."""
        shared = set.intersection(*(set(self.ancestors(row)) for row in rows))
        return next((row for row in self.ancestors(rows[0]) if row in shared), None)

    def _above(self, row: int) -> frozenset[int]:
        return frozenset(self.ancestors(row)[1:])

    def _plain(self, name: str, rows: list[int]) -> list[int]:
        """Prefer a name as it stands to one with a hybrid sign or "Candidatus"."""
        same = [row for row in rows if self._display[row] == name] if len(rows) > 1 else []
        signed = [row for row in rows if self._display[row].startswith("x ") or " x " in self._display[row]]
        return [row for row in rows if row not in signed] if same and signed else rows

    def _is_kingdom(self, row: int) -> bool:
        """Tell a kingdom under its other name: Animalia, where the backbone calls it Metazoa."""
        kingdom = kingdom_of(self._display[row])
        return bool(kingdom) and kingdom == kingdom_of(self._display[int(self._accepted[row])])

    def _usage(self, name: str, row: int) -> Usage:
        flags = int(self._flags[row])
        return Usage(
            name=name,
            authorship=self._authorship[row],
            rank=self.rank(row),
            taxon=self.taxon(int(self._accepted[row])),
            backbone=self,
            is_synonym=bool(flags & SYNONYM) and not self._is_kingdom(row),
            is_unavailable=bool(flags & UNAVAILABLE),
            is_doubtful=bool(flags & DOUBTFUL),
        )

    def _taxon(self, row: int) -> Taxon:
        """Return an accepted row as a taxon."""
        line, display = self._lineage[row].tolist(), self._display[row]
        names, ids = map(list, zip(*map(self._place, line[:-1]), strict=True))
        species = line[-1]
        ids.append(self._place(species)[1] if species != row else self._id[row])
        names[0] = kingdom_of(names[0])
        own_rank = self.rank(row)
        if own_rank in HIGHER_RANKS:
            own = RANKS.index(own_rank)
            names[own:] = [display if own else names[0]] + [""] * (5 - own)
        genus, binomial, epithet = _parts(self._display[species] if 0 <= species != row else display, names)
        is_virus = species < 0 and names[0] == "Viruses" and own_rank != "species"
        if own_rank in HIGHER_RANKS or not epithet or is_virus:
            return Taxon(self._id[row], display, (*names, ""), tuple(ids), "", self._english[row], row)
        ids[5] = ids[5] if names[5] == genus else ""
        names[5] = genus
        taxon_id = ids[6] or self._id[row]
        below = display if display != binomial else ""
        english = self._english[species if species >= 0 else row] if species >= 0 or not below else ""
        at = species if species >= 0 else row
        return Taxon(taxon_id, binomial, (*names, epithet), (*ids[:6], taxon_id), below, english, at)

    def _named(self, place: int) -> tuple[str, str]:
        """Return name and id of a rank of a lineage: a row, a name alone (-2 - row), or nothing (-1)."""
        if place < 0:
            return (self._display[-2 - place] if place < -1 else ""), ""
        return self._display[place], self._id[place]

    def _names_of_letter(self, letter: str) -> dict[int, list[str]]:
        """Return the names of one word that begin with a letter, by their length."""
        start, stop = self._keys.position(letter), self._keys.position(chr(ord(letter) + 1))
        keys = self._keys.array.slice(start, stop - start)
        by_length: dict[int, list[str]] = {}
        for name in pc.unique(keys.filter(pc.match_substring_regex(keys, r"^\p{Lu}[\p{Ll}-]{3,}$"))).to_pylist():
            by_length.setdefault(len(name), []).append(name)
        return by_length


def _parts(name: str, ranks: Sequence[str]) -> tuple[str, str, str]:
    """Return genus, species and epithet of a name at species level or below; no epithet if it is none."""
    if ranks[0] == "Viruses":  # "Tobacco mosaic virus" is no Tobacco
        return ranks[5], name, name.removeprefix(f"{ranks[5]} ")
    if name.startswith("["):  # NCBI's sign that the genus is not right
        return ranks[5], name, name.partition(" ")[2]
    title = next((title for title in ("Candidatus ", "x ") if name.startswith(title)), "")
    plain = name.removeprefix(title)
    words = plain.split(" ")
    if not _BINOMIAL.match(plain):
        return "", name, ""
    epithet = " ".join(words[1:3]) if words[1] == "x" else words[1]
    return (title if title == "x " else "") + words[0], f"{title}{words[0]} {epithet}", epithet


def open_checklist(path: str | Path, name: str | None = None, language: str = "en") -> Backbone:
    """Open a checklist on disk as a backbone, with the common names that it has in a language."""
    name = name or Path(path).expanduser().resolve().stem
    digest, n_bytes = _digest(path)
    kind = "" if language == "en" else f"-{language}"

    def build() -> tuple[pa.Table, pa.Table, pd.DataFrame]:
        usages, problems = read_usages(path)
        linker, more = Linker(usages), []
        linked = linker.link()
        usages, words = with_english(linked, read_names(path, more, language))
        columns = ["id", "name", "reason"]
        problems = pd.concat([problems, *linker.problems, pd.DataFrame(more, columns=columns, dtype=str)])
        problems = problems.reset_index(drop=True)
        if not pc.any(pc.not_equal(usages["key"], "")).as_py():
            why = problems["reason"].iloc[0] if len(problems) else "all names are placeholders"
            raise InputError(f"{path} has no usage that can be looked up; see what is wrong with it: {why}")
        return usages, words, problems

    usages, words, problems = build() if n_bytes < _SMALL else cached(f"checklist-{digest}{kind}", build)
    broken = problems.loc[problems["reason"].str.contains("fields in place of"), "reason"]
    if len(broken):
        warnings.warn(f"{len(broken)} rows are left out of this checklist ({broken.iloc[0]}); mend them", stacklevel=2)
    backbone = Backbone(name, usages, words, problems)
    backbone.language = language
    backbone.says_language = "names.dmp" not in list_files(Path(path).expanduser())  # a dump of NCBI's
    return backbone


def _digest(path: str | Path) -> tuple[str, int]:
    """Return the digest of a checklist's files, and their size in bytes."""
    digest, n_bytes = blake2b(digest_size=12), 0
    for name, file in sorted(list_files(Path(path).expanduser()).items()):
        digest.update(name.encode() + b"\0")
        with told(file), file.open() as stream:
            for block in iter(functools.partial(stream.read, 1 << 20), b""):
                digest.update(block)
                n_bytes += len(block)
    return digest.hexdigest(), n_bytes
