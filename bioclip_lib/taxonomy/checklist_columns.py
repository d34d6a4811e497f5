"""What the columns of a checklist say of taxa: the ranks above each usage, and taxa that have no row of their own.

Lists without a chain of parents name the higher taxa in columns, and some name the accepted taxon of a synonym instead
of its id. Both are taxa of the list, so they are added as usages without an id, under the ranks that the columns give.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from .canonical import canonical_names
from .checklist_files import HIGHER_RANKS

UNACCEPTED = r"^(invalid|not accepted|unaccepted)$|synonym|misapplied"
"""The statuses (in lower case) of what is not the name of a taxon."""
UNAVAILABLE = r"illeg|(later|junior).homonym|unacceptable|unavailable|preoccupied|\b(inval|nud)"
"""The nomenclatural statuses (in lower case) of what the codes rule out as the name of its taxon."""


def with_implied_taxa(usages: pa.Table) -> pa.Table:
    """Add the taxa that only columns name.

    Returns
    -------
    pyarrow.Table
        The usages with ``implied`` (not in the file) and ``implied_by`` (the row of the accepted taxon, for a synonym
        that gives its name only; -1 for others).
    """
    target, accepted = _accepted_by_name(usages)
    added = pd.concat([accepted, *_higher_taxa(usages)], ignore_index=True)
    added = added.reindex(columns=usages.column_names).fillna("")
    table = pa.concat_tables([usages, pa.Table.from_pandas(added, usages.schema, preserve_index=False)])
    is_added = np.repeat([False, True], [len(usages), len(added)])
    table = table.combine_chunks().append_column("implied", pa.array(is_added))
    target = np.concatenate([target, np.full(len(added), -1, np.int32)])
    return table.append_column("implied_by", pa.array(target))


def _accepted_by_name(usages: pa.Table) -> tuple[np.ndarray, pd.DataFrame]:
    """Return the row of the accepted taxon that a synonym gives by name, -1 for others; and the rows to add for them.

    A row is the taxon if it has that name and the same ranks above it; else the synonym's own ranks are the taxon's.
    """
    unaccepted = np.asarray(pc.match_substring_regex(pc.utf8_lower(usages["status"]), UNACCEPTED))
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
        tables.append(table.rename(columns={rank: "name"}).assign(rank=rank, status="accepted"))
    return tables


def column_codes(usages: pa.Table) -> tuple[np.ndarray, list[str]]:
    """Return the ranks that columns give, as (n, 6) positions in a list of names; -1 where there is none."""
    columns = [usages[rank].combine_chunks().dictionary_encode() for rank in HIGHER_RANKS]
    labels: list[str] = []
    codes = np.full((len(usages), len(columns)), -1, np.int32)
    for i, column in enumerate(columns):
        raw = pa.chunked_array([column.dictionary])
        names = canonical_names(raw, pa.chunked_array([[""] * len(raw)], pa.string())).display.to_pylist()
        positions = np.array([len(labels) + j if name else -1 for j, name in enumerate(names)], np.int32)
        labels += names
        codes[:, i] = positions[np.asarray(column.indices)] if len(positions) else -1
    return codes, labels
