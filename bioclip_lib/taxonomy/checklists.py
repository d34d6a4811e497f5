"""Checklists on disk as backbones: Catalogue of Life, GBIF, iNaturalist, ITIS, EOL and lists of homonyms.

Takes the files that `checklist_files` reads; returns the usages of a name, each with the seven ranks of its accepted
taxon. Ranks come from the chain of parents, and from columns where the chain has none. Usages that contradict
themselves (cycles, one id for several names, a synonym of nothing) are left out and listed with the reason.
"""

import bisect
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from .. import RANKS
from ..errors import InputError
from .backbone import Usage, kingdom_of
from .canonical import canonical_names
from .checklist_columns import UNACCEPTED, UNAVAILABLE, column_codes, with_implied_taxa
from .checklist_files import HIGHER_RANKS, read_usages
from .vernaculars import Vernaculars, read_vernaculars

_ABOVE_PHYLUM = (
    "kingdom",
    "domain",
    "superkingdom",
    "realm",
    "subkingdom",
    "infrakingdom",
    "clade",
    "unranked",
    "no rank",
)
_BINOMIAL = re.compile(r"[^\W\d_][^\W\d_]*(-[^\W\d_]+)?( x)?( [^\W\d_]{2,}(-[^\W\d_]+)*)+$")


class Checklist:
    """A checklist read from files, as a `usages.Backbone`.

    Parameters
    ----------
    path : str or Path
        A folder, zip archive or table in a layout that `checklist_files.read_usages` knows.
    name : str, optional
        The name that tables give; the file's own by default.

    Attributes
    ----------
    problems : DataFrame
        ``id, name, reason``: rows that could not be read, usages that are left out, and usages whose parent is missing
        (they stay, with the ranks that are known).

    Raises
    ------
    InputError
        If the files are no checklist, or no usage is left.

    Notes
    -----
    A taxon between or below the seven ranks has the ranks above it; a subspecies is raised to its species. The genus of
    a species is the first word of its name, wherever the chain puts it.
    """

    def __init__(self, path: str | Path, name: str | None = None):
        self.name = name or Path(path).expanduser().resolve().stem
        usages, self.problems = read_usages(path)
        usages = with_implied_taxa(self._with_distinct_ids(usages))
        self._id, self._authorship = usages["id"].combine_chunks(), usages["authorship"].combine_chunks()
        self._rank = pc.utf8_lower(usages["rank"].combine_chunks()).dictionary_encode()
        names = canonical_names(_first(usages["canonical"], usages["name"]), usages["authorship"])
        self._display = names.display
        self._note(usages, np.asarray(pc.equal(_first(usages["canonical"], usages["name"]), "")), "it has no name")
        self._accepted, self._is_synonym, left_out = self._link_synonyms(usages)
        self._is_unavailable = np.asarray(pc.match_substring_regex(pc.utf8_lower(usages["name_status"]), UNAVAILABLE))
        self._parent, self._lineage, in_cycle = self._link_parents(usages, left_out | self._is_synonym)
        left_out |= in_cycle | in_cycle[self._accepted]
        self._columns, self._labels = column_codes(usages)
        self._index_names(names.key, ~left_out, np.asarray(usages["implied"]))
        self._vernaculars = self._read_vernaculars(path)
        self._taxa: dict[int, tuple] = {}
        if not len(self._keys):
            raise InputError(
                f"{path} has no usage that can be looked up; see what is wrong with it: {self._first_problem()}"
            )

    def usages(self, name: str) -> list[Usage]:
        """Return every usage of a canonical name, to the letter."""
        start = self._position(name)
        stop = start
        while stop < len(self._keys) and self._keys[stop].as_py() == name:
            stop += 1
        return [self._usage(name, int(i)) for i in self._rows[start:stop]] if name else []

    def congeners(self, genus: str) -> list[str]:
        """Return the canonical binomials that begin with a genus, synonyms among them."""
        start, stop = self._position(f"{genus} "), self._position(f"{genus}!")  # "!" is the character after " "
        names = pc.unique(self._keys.slice(start, stop - start)).to_pylist()
        return [name for name in names if name.count(" ") == 1]

    def __len__(self) -> int:
        """The number of usages that can be looked up."""
        return len(self._keys)

    def names(self) -> list[str]:
        """Return the distinct canonical names, in order."""
        return pc.unique(self._keys).to_pylist()

    def _read_vernaculars(self, path: str | Path) -> Vernaculars:
        problems: list[dict[str, str]] = []
        found = read_vernaculars(path, self._id, self._accepted, problems)
        self.problems = pd.concat([self.problems, pd.DataFrame(problems, columns=["id", "name", "reason"], dtype=str)])
        self.problems = self.problems.reset_index(drop=True)
        return found

    def _position(self, key: str) -> int:
        return bisect.bisect_left(range(len(self._keys)), key, key=lambda i: self._keys[i].as_py())

    def _first_problem(self) -> str:
        return self.problems["reason"].iloc[0] if len(self.problems) else "all names are placeholders"

    def _note(self, usages: pa.Table, rows: np.ndarray, reason: str, column: str | None = None) -> None:
        """Add usages to `problems`; "{}" in the reason is the value of a column."""
        part = usages.take(pa.array(np.flatnonzero(rows)))
        values = part[column].to_pylist() if column else [""] * len(part)
        table = pd.DataFrame({"id": part["id"].to_pylist(), "name": part["name"].to_pylist()}, dtype=str)
        table["reason"] = [reason.format(value) for value in values]
        if len(table):
            self.problems = pd.concat([self.problems, table], ignore_index=True)

    def _with_distinct_ids(self, usages: pa.Table) -> pa.Table:
        """Drop repeated rows, and all rows of an id that stands for different usages."""
        ids = usages["id"].combine_chunks().dictionary_encode()
        codes = np.asarray(ids.indices)
        again = (np.bincount(codes, minlength=len(ids.dictionary)) > 1)[codes]
        again &= np.asarray(pc.not_equal(usages["id"], ""))
        rows = usages.filter(pa.array(again)).to_pandas().set_index(np.flatnonzero(again))
        repeated = rows.duplicated()
        different = rows["id"].isin(rows.loc[~repeated, "id"][lambda ids: ids.duplicated()])
        keep = np.ones(len(usages), bool)
        keep[rows.index[different]] = False
        self._note(usages, ~keep, "its id stands for several usages")
        keep[rows.index[repeated]] = False
        return usages.filter(pa.array(keep))

    def _link_synonyms(self, usages: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the row of each usage's accepted taxon, which are synonyms, and which to leave out."""
        own, by_name = np.arange(len(usages)), np.asarray(usages["implied_by"])
        target = np.where(by_name >= 0, by_name, _rows_of(usages["accepted_id"], usages["id"]))
        named = np.asarray(pc.not_equal(usages["accepted_id"], "")) | (by_name >= 0)
        status = pc.utf8_lower(usages["status"])
        misapplied = np.asarray(pc.match_substring(status, "misapplied"))
        is_synonym = (named & (target != own)) | np.asarray(pc.match_substring_regex(status, UNACCEPTED))
        orphan = is_synonym & ((target < 0) | (target == own))
        accepted, endless = _ends(np.where(is_synonym & ~orphan, target, -1))
        lost = orphan[accepted] & ~orphan
        self._note(usages, misapplied, "a misapplied name is no synonym")
        self._note(usages, orphan & named & ~misapplied, "its accepted name {} is not there", "accepted_id")
        self._note(usages, orphan & ~named & ~misapplied, "a synonym without an accepted name")
        self._note(usages, lost, "a synonym of a synonym that leads nowhere")
        self._note(usages, endless, "its synonyms lead in a circle")
        return accepted, is_synonym, misapplied | orphan | lost | endless

    def _link_parents(self, usages: pa.Table, skip: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return each row's parent (-1: none), the rows of its seven ranks (n, 7), and which parents form a cycle."""
        parent = _rows_of(usages["parent_id"], usages["id"])
        parent = np.where(parent >= 0, self._accepted[parent], -1).astype(np.int32)
        parent[skip | (parent == np.arange(len(parent))) | skip[parent]] = -1
        dangling = np.asarray(pc.not_equal(usages["parent_id"], "")) & (parent < 0) & ~skip
        dangling &= np.asarray(pc.not_equal(usages["parent_id"], usages["id"]))  # a root may name itself
        self._note(usages, dangling, "its parent {} is not there: ranks above it are unknown", "parent_id")
        _, endless = _ends(parent)
        self._note(usages, endless, "its parents form a circle, or lead into one")
        parent[endless] = -1
        return parent, _nearest(parent, self._own_slots(skip | endless)), endless

    def _own_slots(self, skip: np.ndarray) -> np.ndarray:
        """Return which of the seven ranks each row is itself, -1 for none."""
        codes = np.asarray(self._rank.indices)
        of_rank = [(RANKS.index(rank) if rank in RANKS[1:] else -1) for rank in self._rank.dictionary.to_pylist()]
        slots = np.array(of_rank, np.int8)[codes]
        is_high = np.array([rank in _ABOVE_PHYLUM for rank in self._rank.dictionary.to_pylist()])[codes]
        high_names = pc.unique(self._display.filter(pa.array(is_high))).to_pylist()
        kingdoms = pa.array([name for name in high_names if kingdom_of(name)], pa.string())
        slots[is_high & np.asarray(pc.is_in(self._display, kingdoms))] = 0
        slots[skip | np.asarray(pc.equal(self._display, ""))] = -1
        return slots

    def _index_names(self, keys: pa.StringArray, kept: np.ndarray, implied: np.ndarray) -> None:
        """Sort the usages by key; a taxon that is implied by its synonyms only where no row has its name."""
        own = keys.filter(pa.array(kept & ~implied))
        kept = kept & ~(implied & np.asarray(pc.is_in(keys, own))) & np.asarray(pc.not_equal(keys, ""))
        rows = np.flatnonzero(kept)
        keys = keys.take(pa.array(rows))
        order = pc.sort_indices(keys)
        self._keys, self._rows = keys.take(order), rows[np.asarray(order)]

    def _taxon(self, row: int) -> tuple[str, str, tuple[str, ...], tuple[str, ...], str, str]:
        """Return id, scientific name, ranks, their ids, the name below species and the English one of a taxon."""
        if row not in self._taxa:
            self._taxa[row] = self._read_taxon(row)
        return self._taxa[row]

    def _read_taxon(self, row: int) -> tuple[str, str, tuple[str, ...], tuple[str, ...], str, str]:
        line, display = self._lineage[row], self._display[row].as_py()
        given = ["" if code < 0 else self._labels[code] for code in self._columns[row]]
        names = [self._display[i].as_py() if i >= 0 else text for i, text in zip(line[:6], given, strict=True)]
        ids = [self._id[int(i)].as_py() if i >= 0 else "" for i in line]
        names[0] = kingdom_of(names[0])
        own_rank = self._rank[row].as_py()
        if own_rank in HIGHER_RANKS:
            own = RANKS.index(own_rank)
            names[own:] = [display if own else names[0]] + [""] * (5 - own)
        binomial = self._display[line[6]].as_py() if line[6] >= 0 else display
        genus, species, epithet = _parts(binomial, names)
        if own_rank in HIGHER_RANKS or not epithet or (line[6] < 0 and names[0] == "Viruses" and own_rank != "species"):
            return self._id[row].as_py(), display, (*names, ""), tuple(ids), "", self._vernaculars.of(row)
        ids[5] = ids[5] if names[5] == genus else ""
        names[5], taxon_id = genus, ids[6] or self._id[row].as_py()
        below = display if display != species else ""
        english = self._vernaculars.of(int(line[6])) if line[6] >= 0 or not below else ""
        return taxon_id, species, (*names, epithet), (*ids[:6], taxon_id), below, english

    def _usage(self, name: str, row: int) -> Usage:
        accepted = int(self._accepted[row])
        taxon_id, scientific_name, ranks, rank_ids, below, english = self._taxon(accepted)
        return Usage(
            name=name,
            authorship=self._authorship[row].as_py(),
            rank=self._rank[row].as_py(),
            is_synonym=bool(self._is_synonym[row]),
            taxon_id=taxon_id,
            scientific_name=scientific_name,
            ranks=ranks,
            rank_ids=rank_ids,
            above=self._above(accepted) - {taxon_id},
            below_species=below,
            common_name=english,
            is_unavailable=bool(self._is_unavailable[row]),
        )

    def _above(self, row: int) -> frozenset[str]:
        """Return the ids of all taxa above a row."""
        ids = set()
        while (row := int(self._parent[row])) >= 0:
            ids.add(self._id[row].as_py())
        return frozenset(ids)


def _parts(name: str, ranks: Sequence[str]) -> tuple[str, str, str]:
    """Return genus, species and epithet of a name at species level or below; no epithet if it is none.

    A virus has a name of its own: "Tobacco mosaic virus" is no Tobacco.
    """
    if ranks[0] == "Viruses":
        return ranks[5], name, name.removeprefix(f"{ranks[5]} ")
    words = name.split(" ")
    if not _BINOMIAL.match(name):
        return "", name, ""
    epithet = " ".join(words[1:3]) if words[1] == "x" else words[1]
    return words[0], f"{words[0]} {epithet}", epithet


def _first(preferred: pa.ChunkedArray, other: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.equal(preferred, ""), other, preferred)


def _rows_of(ids: pa.ChunkedArray, all_ids: pa.ChunkedArray) -> np.ndarray:
    """Return the row of each id, -1 where there is none."""
    rows = pc.fill_null(pc.index_in(ids, all_ids.combine_chunks()), -1)
    return np.where(np.asarray(pc.equal(ids, "")), -1, np.asarray(rows)).astype(np.int32)


def _ends(following: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the last row of the chain that starts at each row, and which chains never end.

    Each pass doubles the steps, so that chains through n rows take log2(n) passes.

    Examples
    --------
    >>> end, endless = _ends(np.array([1, 2, -1, 4, 3]))
    >>> end[:3].tolist(), endless.tolist()
    ([2, 2, 2], [False, False, False, True, True])
    """
    end = np.where(following < 0, np.arange(len(following)), following).astype(np.int32)
    for _ in range(len(following).bit_length()):
        end = end[end]
    return end, following[end] >= 0


def _nearest(parent: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """Return the nearest row of each slot on the way up from each row, itself included; -1 where there is none.

    Returns an (n, 7) int32 array. Parents form no cycle; each pass doubles the steps.
    """
    nearest = np.full((len(parent), len(RANKS)), -1, np.int32)
    rows = np.flatnonzero(slots >= 0)
    nearest[rows, slots[rows]] = rows
    jump = parent.copy()
    while len(rows := np.flatnonzero(jump >= 0)):
        above = nearest[jump[rows]]  # (n_rows, 7)
        nearest[rows] = np.where(nearest[rows] >= 0, nearest[rows], above)
        jump[rows] = jump[jump[rows]]
    return nearest
