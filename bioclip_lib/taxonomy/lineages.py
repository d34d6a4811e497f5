"""Usages linked to each other: accepted names, parents, and the rows of the seven ranks.

Takes the usages of a checklist (`checklists.COLUMNS`); returns the table that `backbone.Backbone` looks names up in,
sorted by key. Usages that contradict themselves (cycles, one id for several names, a synonym of nothing) are left out
and listed with the reason. Taxa that only columns name are added, without an id.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from .. import RANKS
from .canonical import KINGDOM_OF, CanonicalNames, canonical_names, kingdom_of

HIGHER_RANKS = RANKS[:-1]
SYNONYM, UNAVAILABLE, DOUBTFUL = 1, 2, 4
"""Flags of a usage; doubtful is a synonym that an encyclopaedia's article gives."""

_UNACCEPTED = r"^(invalid|not accepted|unaccepted)$|synonym|misapplied"
_RULED_OUT = r"illeg|(later|junior).homonym|unacceptable|unavailable|preoccupied|\b(inval|nud)"
_ABOVE_PHYLUM = {"kingdom", "domain", "superkingdom", "realm", "subkingdom", "infrakingdom", "clade"}
_ABOVE_PHYLUM |= {"unranked", "no rank", "no_rank"}
_KINGDOM, _CLADE = 0, 7  # slots: a row of a kingdom's rank, and one that implies a kingdom (Rhodophyta, a phylum)


class Linker:
    """The steps from a table of usages to the linked one; `problems` collects what is left out, and why."""

    def __init__(self, usages: pa.Table, names: CanonicalNames | None = None):
        self.problems: list[pd.DataFrame] = []
        usages = usages if names else self._with_distinct_ids(usages)
        self._table, self._by_name = (usages, np.full(len(usages), -1, np.int32)) if names else with_implied(usages)
        canonical, name = self._table["canonical"], self._table["name"]
        written = pc.if_else(pc.equal(canonical, ""), name, canonical)
        self._names = names or canonical_names(written, self._table["authorship"])
        self._note(np.asarray(pc.equal(written, "")), "it has no name")
        self._rank = pc.utf8_lower(self._table["rank"].combine_chunks()).dictionary_encode()

    def link(self) -> pa.Table:
        """Return the linked usages, sorted by key; those that are not to be found have the key ''."""
        accepted, synonym, left_out = self._link_synonyms()
        parent, lineage, in_cycle = self._link_parents(accepted, left_out | synonym)
        left_out |= in_cycle | in_cycle[accepted]
        # '' for what is left out, and for a taxon that only columns name where a row has its name
        implied, keys = np.asarray(pc.equal(self._table["status"], "implied")), self._names.key
        own = keys.filter(pa.array(~left_out & ~implied))
        hidden = left_out | (implied & np.asarray(pc.is_in(keys, own)))
        keys = pc.if_else(pa.array(hidden), "", keys)
        order = np.asarray(pc.sort_indices(keys))
        place = np.empty(len(order), np.int32)
        place[order] = np.arange(len(order), dtype=np.int32)
        by_name = place[np.maximum(-2 - lineage, 0)]
        moved = np.where(lineage >= 0, place[np.maximum(lineage, 0)], np.where(lineage <= -2, -2 - by_name, -1))
        parent = np.where(parent >= 0, place[np.maximum(parent, 0)], -1)
        unavailable = np.asarray(pc.match_substring_regex(pc.utf8_lower(self._table["name_status"]), _RULED_OUT))
        doubtful = np.asarray(pc.equal(self._table["status"], "article synonym"))
        columns = {
            "key": keys,
            "display": self._names.display,
            "authorship": self._table["authorship"].combine_chunks(),
            "rank": self._rank,
            "id": self._table["id"].combine_chunks(),
            "accepted": pa.array(place[accepted]),
            "parent": pa.array(parent.astype(np.int32)),
            "lineage": pa.FixedSizeListArray.from_arrays(pa.array(moved.astype(np.int32).ravel()), len(RANKS)),
            "flags": pa.array((SYNONYM * synonym + UNAVAILABLE * unavailable + DOUBTFUL * doubtful).astype(np.uint8)),
        }
        return pa.table(columns).take(pa.array(order)).combine_chunks()

    def _note(self, rows: np.ndarray, reason: str, column: str | None = None) -> None:
        """Add usages to `problems`; "{}" in the reason is the value of a column."""
        part = self._table.take(pa.array(np.flatnonzero(rows)))
        values = part[column].to_pylist() if column else [""] * len(part)
        table = pd.DataFrame({"id": part["id"].to_pylist(), "name": part["name"].to_pylist()}, dtype=str)
        self.problems.append(table.assign(reason=[reason.format(value) for value in values]))

    def _with_distinct_ids(self, usages: pa.Table) -> pa.Table:
        """Drop repeated rows, and all rows of an id that stands for different usages."""
        self._table = usages
        ids = usages["id"].combine_chunks().dictionary_encode()
        codes = np.asarray(ids.indices)
        again = (np.bincount(codes, minlength=len(ids.dictionary)) > 1)[codes]
        again &= np.asarray(pc.not_equal(usages["id"], ""))
        rows = usages.filter(pa.array(again)).to_pandas().set_index(np.flatnonzero(again))
        repeated = rows.duplicated()
        several = rows[~repeated]
        same = several.assign(accepted_id="", parent_id="").duplicated(keep=False) & (several["accepted_id"] != "")
        # a synonym that is listed once for each of its accepted taxa stays, each time, without its id
        of_several_taxa = several.index[same.groupby(several["id"]).transform("all")] if len(several) else several.index
        different = several["id"][several["id"].duplicated(keep=False)].drop(of_several_taxa)
        keep = np.ones(len(usages), bool)
        keep[rows.index[rows["id"].isin(different)]] = False
        self._note(~keep, "its id stands for several usages")
        keep[rows.index[repeated]] = False
        if len(of_several_taxa):
            ids = usages["id"].to_numpy(zero_copy_only=False)
            ids[of_several_taxa] = ""
            usages = usages.set_column(usages.column_names.index("id"), "id", pa.chunked_array([pa.array(ids)]))
        return usages.filter(pa.array(keep))

    def _link_synonyms(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the row of each usage's accepted taxon, which are synonyms, and which to leave out."""
        own = np.arange(len(self._table))
        target = np.where(self._by_name >= 0, self._by_name, _rows_of(self._table["accepted_id"], self._table["id"]))
        named = np.asarray(pc.not_equal(self._table["accepted_id"], "")) | (self._by_name >= 0)
        status = pc.utf8_lower(self._table["status"])
        misapplied = np.asarray(pc.match_substring(status, "misapplied"))
        synonym = (named & (target != own)) | np.asarray(pc.match_substring_regex(status, _UNACCEPTED))
        itself = synonym & named & (target == own)
        orphan = synonym & ((target < 0) | itself)
        accepted, endless = _ends(np.where(synonym & ~orphan, target, -1))
        lost = orphan[accepted] & ~orphan
        self._note(misapplied, "a misapplied name is no synonym")
        self._note(itself & ~misapplied, "not accepted, and its accepted name is itself")
        self._note(orphan & named & ~itself & ~misapplied, "its accepted name {} is not there", "accepted_id")
        self._note(orphan & ~named & ~misapplied, "a synonym without an accepted name")
        self._note(lost, "a synonym of a synonym that leads nowhere")
        self._note(endless, "its synonyms lead in a circle")
        return accepted, synonym, misapplied | orphan | lost | endless

    def _link_parents(self, accepted: np.ndarray, skip: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return each row's parent (-1: none), the rows of its seven ranks (n, 7), and which parents form a cycle."""
        parent = _rows_of(self._table["parent_id"], self._table["id"])
        parent = np.where(parent >= 0, accepted[parent], -1).astype(np.int32)
        parent[skip | (parent == np.arange(len(parent))) | skip[parent]] = -1
        dangling = np.asarray(pc.not_equal(self._table["parent_id"], "")) & (parent < 0) & ~skip
        dangling &= np.asarray(pc.not_equal(self._table["parent_id"], self._table["id"]))  # a root may name itself
        self._note(dangling, "its parent {} is not there: ranks above it are unknown", "parent_id")
        _, endless = _ends(parent)
        self._note(endless, "its parents form a circle, or lead into one")
        parent[endless] = -1
        slots = self._slots(skip | endless)
        in_clade = pc.is_in(self._names.display, pa.array(sorted(KINGDOM_OF), pa.string()))
        clades = np.flatnonzero(np.asarray(in_clade) & ~(skip | endless))  # with a kingdom of their own, as in NCBI
        ranked = np.flatnonzero(slots >= 0)
        slots = np.concatenate([slots[ranked], np.full(len(clades), _CLADE)])
        lineage = nearest(parent, np.concatenate([ranked, clades]), slots, len(RANKS) + 1)
        named = self._named_by_columns()
        lineage[:, :6] = np.where(lineage[:, :6] >= 0, lineage[:, :6], named)
        lineage[:, _KINGDOM] = np.where(lineage[:, _KINGDOM] == -1, lineage[:, _CLADE], lineage[:, _KINGDOM])
        return parent, lineage[:, : len(RANKS)], endless

    def _slots(self, skip: np.ndarray) -> np.ndarray:
        """Return which of the seven ranks each row is itself, -1 for none."""
        codes, ranks = np.asarray(self._rank.indices), self._rank.dictionary.to_pylist()
        slots = np.array([(RANKS.index(rank) if rank in RANKS[1:] else -1) for rank in ranks], np.int8)[codes]
        is_high = np.array([rank in _ABOVE_PHYLUM for rank in ranks], bool)[codes]
        display = self._names.display
        kingdoms = [name for name in pc.unique(display.filter(pa.array(is_high))).to_pylist() if kingdom_of(name)]
        slots[is_high & np.asarray(pc.is_in(display, pa.array(kingdoms, pa.string())))] = _KINGDOM
        slots[skip | np.asarray(pc.equal(display, ""))] = -1
        return slots

    def _named_by_columns(self) -> np.ndarray:
        """Return, as -2 - row, a row that has the name which a column gives; -1 where there is none. (n, 6)."""
        named = np.full((len(self._table), len(HIGHER_RANKS)), -1, np.int64)
        ranks, display = self._rank, np.asarray(pc.not_equal(self._names.display, ""))
        for i, rank in enumerate(HIGHER_RANKS):
            column = self._table[rank].combine_chunks()
            of_rank = np.flatnonzero(np.asarray(pc.equal(ranks, rank)) & display)
            for source in ("name", "canonical"):
                names = self._table[source].combine_chunks().take(pa.array(of_rank))
                found = np.asarray(pc.fill_null(pc.index_in(column, names), -1))
                there = (found >= 0) & np.asarray(pc.not_equal(column, ""))
                named[there, i] = -2 - of_rank[found[there]]
        return named


def with_implied(usages: pa.Table) -> tuple[pa.Table, np.ndarray]:
    """Add the taxa that only columns name; also return the accepted row of each synonym that gives a name only."""
    target, accepted = _accepted_by_name(usages)
    added = pd.concat([accepted, *_higher_taxa(usages)], ignore_index=True).assign(status="implied")
    added = added.reindex(columns=usages.column_names, fill_value="").fillna("")
    table = pa.concat_tables([usages, pa.Table.from_pandas(added, usages.schema, preserve_index=False)])
    return table.combine_chunks(), np.concatenate([target, np.full(len(added), -1, np.int32)])


def _accepted_by_name(usages: pa.Table) -> tuple[np.ndarray, pd.DataFrame]:
    """Return the row of the accepted taxon that each synonym gives by name, -1 for others, and the rows to add."""
    unaccepted = np.asarray(pc.match_substring_regex(pc.utf8_lower(usages["status"]), _UNACCEPTED))
    by_name = unaccepted | np.asarray(pc.not_equal(usages["accepted_name"], usages["name"]))
    by_name &= np.asarray(pc.equal(usages["accepted_id"], "")) & np.asarray(pc.not_equal(usages["accepted_name"], ""))
    key = ["name", *HIGHER_RANKS[:-1]]
    synonyms = usages.filter(pa.array(by_name)).to_pandas()
    synonyms["name"], synonyms["status"] = synonyms["accepted_name"], "accepted"
    named = np.asarray(pc.is_in(usages["name"], pa.array(synonyms["name"].unique(), pa.string())))
    is_taxon = named & ~by_name & ~unaccepted
    taxa = usages.filter(pa.array(is_taxon)).to_pandas().set_index(np.flatnonzero(is_taxon))
    rows = taxa.drop_duplicates(key, keep=False).reset_index(names="row")[[*key, "row"]]
    found = synonyms[key].merge(rows, how="left", on=key)["row"].to_numpy()
    added = synonyms[np.isnan(found)].drop_duplicates(key)[[*key, "rank", "status"]]
    new = added[key].assign(row=len(usages) + np.arange(len(added)))
    found = np.where(np.isnan(found), synonyms[key].merge(new, how="left", on=key)["row"].to_numpy(), found)
    target = np.full(len(usages), -1, np.int32)
    target[by_name] = found.astype(np.int32)
    return target, added


def _higher_taxa(usages: pa.Table) -> list[pd.DataFrame]:
    """Return rows for the taxa that columns name and no row of that rank has, one table a rank."""
    tables = []
    ranks = pc.utf8_lower(usages["rank"])
    for i, rank in enumerate(HIGHER_RANKS):
        of_rank = usages.filter(pc.equal(ranks, rank))
        known = pa.concat_arrays([of_rank[c].combine_chunks() for c in ("canonical", "name")] + [pa.array([""])])
        unknown = usages.filter(pc.invert(pc.is_in(usages[rank], known))).select(HIGHER_RANKS[: i + 1])
        table = unknown.group_by(unknown.column_names).aggregate([]).to_pandas()
        tables.append(table.rename(columns={rank: "name"}).assign(rank=rank))
    return tables


def _rows_of(ids: pa.ChunkedArray, all_ids: pa.ChunkedArray) -> np.ndarray:
    """Return the row of each id, -1 where there is none."""
    rows = pc.fill_null(pc.index_in(ids, all_ids.combine_chunks()), -1)
    return np.where(np.asarray(pc.equal(ids, "")), -1, np.asarray(rows)).astype(np.int32)


def _ends(following: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the last row of the chain that starts at each row, and which chains never end."""
    # each pass doubles the steps, so that chains through n rows take log2(n) passes
    end = np.where(following < 0, np.arange(len(following)), following).astype(np.int32)
    for _ in range(len(following).bit_length()):
        end = end[end]
    return end, following[end] >= 0


def nearest(parent: np.ndarray, rows: np.ndarray, slots: np.ndarray, n_slots: int) -> np.ndarray:
    """Return the nearest row of each slot at or above each row, (n, n_slots) int32, -1: none; parents form no cycle."""
    found = np.full((len(parent), n_slots), -1, np.int32)
    found[rows, slots] = rows
    jump = parent.copy()
    while len(rows := np.flatnonzero(jump >= 0)):
        above = found[jump[rows]]  # (n_rows, n_slots)
        found[rows] = np.where(found[rows] >= 0, found[rows], above)
        jump[rows] = jump[jump[rows]]
    return found
