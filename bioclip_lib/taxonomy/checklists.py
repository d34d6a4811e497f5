"""Read the files of a checklist: Catalogue of Life ColDP, Darwin Core taxa, lists of homonyms, and those of `dumps`.

Takes a folder, a zip archive or one table; returns one row a usage under the columns `COLUMNS`, whatever the layout,
and the rows that could not be read. Refuses what is no checklist and what is not encoded as it says: a name decoded
wrongly is another name.
"""

import re
from pathlib import Path, PurePosixPath

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import InputError
from ..files.dialect import TableFile
from ..files.meta import described
from ..files.tables import first_column, list_files, read_table
from .dumps import read_dump
from .lineages import HIGHER_RANKS
from .names import MAX_CHARS

COLUMNS = {
    "id": ("taxonid", "id"),
    "parent_id": ("parentnameusageid", "parentid"),
    "accepted_id": ("acceptednameusageid",),
    "accepted_name": ("acceptednameusage", "accepted_name"),
    "canonical": ("canonicalname",),
    "name": ("scientificname", "name"),
    "authorship": ("scientificnameauthorship", "authorship"),
    "rank": ("taxonrank", "rank"),
    "status": ("taxonomicstatus", "status"),
    "name_status": ("nomenclaturalstatus", "namestatus"),
    **{rank: (rank,) for rank in HIGHER_RANKS},
}
"""The columns of the table of usages, and what files call them (without prefix, in lower case)."""

_ATOMS = ("uninomial", "genericname", "infragenericepithet", "specificepithet", "infraspecificepithet")
_KNOWN = {name for names in COLUMNS.values() for name in names} | {"homonym", "nameid", *_ATOMS}
_SUFFIXES = (".tsv", ".csv", ".txt", ".tab")


def read_usages(path: str | Path) -> tuple[pa.Table, pd.DataFrame]:
    """Read the usages of a checklist."""
    files = list_files(Path(path).expanduser())
    problems: list[dict[str, str]] = []
    tables = {stem: file for stem, file in tables_of(files).items() if not stem.startswith("vernacular")}
    if (dump := read_dump(files, problems)) is not None:
        usages = _as_usages(dump, str(path))
    elif {"name", "taxon"} <= set(tables):
        stems = [stem for stem in ("name", "taxon", "synonym") if stem in tables]
        usages = _join_names(*(read_table(tables[stem], _KNOWN, problems) for stem in stems))
    elif "meta.xml" in files and "nameusage" not in tables:
        core = described(files)
        if core.row_type not in ("", "taxon"):
            what = f"an archive of {core.row_type}s, no checklist"
            raise InputError(f"{path} is {what}; give a list of taxa (rowType Taxon)")
        usages = _as_usages(read_table(core, _KNOWN, problems), str(path))
    else:
        stem = next((s for s in ("nameusage", "taxon", "taxa") if s in tables), None)
        if stem is None and len(tables) != 1:
            raise InputError(
                f"{path} holds no checklist: no NameUsage, no Name and Taxon (ColDP), no meta.xml or taxon table "
                f"(Darwin Core), no nodes.dmp (NCBI), AcceptedSpecies (ACEF), tree or simple.txt (GBIF); found "
                f"{', '.join(sorted(files)[:8]) or 'nothing'}; give the folder or zip of one"
            )
        usages = _as_usages(read_table(tables[stem or next(iter(tables))], _KNOWN, problems), str(path))
    usages = _with_plausible_names(usages, problems)
    if usages.num_rows == 0:
        raise InputError(f"{path} has no rows with a name; give a checklist with one row a name, in matching quotes")
    return usages, pd.DataFrame(problems, columns=["id", "name", "reason"], dtype=str)


def tables_of(files: dict[str, TableFile]) -> dict[str, TableFile]:
    """Return the tables by their names without hyphens and underscores, as ColDP has it: "name-usage" is NameUsage."""
    paths = {name: PurePosixPath(name) for name in files}
    return {re.sub("[-_]", "", path.stem): files[name] for name, path in paths.items() if path.suffix in _SUFFIXES}


def _with_plausible_names(usages: pa.Table, problems: list[dict[str, str]]) -> pa.Table:
    """Drop rows whose name is too long for one, or runs over several lines: a quotation mark is missing there."""
    is_long = pc.greater(pc.utf8_length(usages["name"]), MAX_CHARS)
    odd = pc.or_(is_long, pc.match_substring_regex(usages["name"], r"[\r\n]"))
    part = usages.filter(odd)
    reason = f"its name has more than {MAX_CHARS} characters, or several lines; check the quotation marks"
    rows = zip(part["id"].to_pylist(), part["name"].to_pylist(), strict=True)
    problems += [{"id": taxon_id[:80], "name": name[:80], "reason": reason} for taxon_id, name in rows]
    return usages.filter(pc.invert(odd))


def _as_usages(table: pa.Table, where: str) -> pa.Table:
    """Bring one table with all there is of a usage to `COLUMNS`."""
    table = _composed(table)
    columns = {column: first_column(table, *names) for column, names in COLUMNS.items()}
    if not {"taxonid", "id"} & set(table.column_names) or not {"scientificname", "name"} & set(table.column_names):
        raise InputError(
            f"{where} has no columns taxonID (or ID) and scientificName; of those that are known there are "
            f"{', '.join(table.column_names) or 'none'}; give a taxon table of ColDP or Darwin Core"
        )
    if "homonym" in table.column_names:  # the list of homonyms of IRMNG holds genera
        columns["rank"] = pa.chunked_array([pa.array(["genus"] * table.num_rows)])
    if "parentid" in table.column_names:  # ColDP: the parent of a synonym is its accepted name
        synonym = pc.match_substring(pc.utf8_lower(columns["status"]), "synonym")
        columns["accepted_id"] = pc.if_else(synonym, columns["parent_id"], columns["accepted_id"])
    usages = pa.table(columns)
    return _with_each_accepted(usages.filter(pc.not_equal(pc.utf8_lower(columns["status"]), "bare name")))


def _with_each_accepted(usages: pa.Table) -> pa.Table:
    """Give a synonym with several accepted ids in one cell a row for each."""
    several = pc.match_substring_regex(usages["accepted_id"], r"[|;]")
    if not pc.any(several).as_py():
        return usages
    lists = pc.split_pattern_regex(usages["accepted_id"].combine_chunks(), r"\s*[|;]\s*")
    rows, ids = usages.take(pc.list_parent_indices(lists)), pa.chunked_array([pc.list_flatten(lists)])
    return rows.set_column(rows.column_names.index("accepted_id"), "accepted_id", ids)


def _composed(table: pa.Table) -> pa.Table:
    """Write a name from its parts (uninomial, genericName and epithets; ranks) where it is not given whole."""
    whole = first_column(table, "scientificname", "name")
    columns = set(table.column_names)
    of_ranks = "genus" in columns and columns.isdisjoint(("scientificname", "name", "genericname", "uninomial"))
    if columns.isdisjoint(("uninomial", "genericname")) and not of_ranks:
        return table
    genus, single = (
        ("genus", HIGHER_RANKS[-2::-1]) if of_ranks else ("genericname", ("uninomial", "infragenericepithet"))
    )
    parts = [first_column(table, atom) for atom in (genus, "specificepithet", "infraspecificepithet")]
    composed = pc.utf8_trim_whitespace(pc.binary_join_element_wise(*parts, " "))
    for column in single:
        composed = pc.if_else(pc.equal(composed, ""), first_column(table, column), composed)
    table = table.drop_columns([c for c in ("scientificname",) if c in table.column_names])
    return table.append_column("scientificname", pc.if_else(pc.equal(whole, ""), composed, whole))


def _join_names(names: pa.Table, taxa: pa.Table, synonyms: pa.Table | None = None) -> pa.Table:
    """Bring ColDP's Name, Taxon and Synonym to `COLUMNS`."""
    names = _composed(names)
    needed = {"Taxon": (taxa, "nameID"), "Name": (names, "scientificName")}
    missing = [f"{file}: {name}" for file, (table, name) in needed.items() if name.lower() not in table.column_names]
    if missing:
        lacks = f"a column is missing ({', '.join(missing)})"
        raise InputError(f"{lacks}; give Name and Taxon of one ColDP archive, with whole names")
    ids = first_column(taxa, "id")
    parts = [_named(names, first_column(taxa, "nameid")) | {"id": ids, "parent_id": first_column(taxa, "parentid")}]
    parts[0] |= {rank: first_column(taxa, rank) for rank in HIGHER_RANKS} | {"status": _constant("accepted", taxa)}
    if synonyms is not None:
        name_ids = first_column(synonyms, "nameid")  # so that a synonym of a synonym finds it
        taken = pc.or_(pc.is_in(name_ids, ids.combine_chunks()), pc.is_in(name_ids, _repeated(name_ids)))
        status = first_column(synonyms, "status")
        parts.append(
            _named(names, name_ids)
            | {"id": pc.if_else(taken, "", name_ids), "accepted_id": first_column(synonyms, "taxonid")}
            | {"status": pc.if_else(pc.equal(status, ""), "synonym", status)}
        )
    whole = [{column: part.get(column, _constant("", part["status"])) for column in COLUMNS} for part in parts]
    return pa.concat_tables([pa.table(part).combine_chunks() for part in whole])


def _repeated(ids: pa.Array | pa.ChunkedArray) -> pa.Array:
    counts = pc.value_counts(ids)
    return counts.field("values").filter(pc.greater(counts.field("counts"), 1))


def _constant(value: str, like: pa.Table | pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array([value] * len(like), pa.string())])


def _named(names: pa.Table, name_ids: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    """Return what is known of each name id, '' where there is no such name, or several."""
    ids = first_column(names, "id").combine_chunks()
    index = pc.index_in(name_ids, ids)
    index = pc.if_else(pc.is_in(name_ids, _repeated(ids)), None, index)
    columns = {"name": "scientificname", "authorship": "authorship", "rank": "rank", "name_status": "status"}
    return {key: pc.fill_null(first_column(names, column).take(index), "") for key, column in columns.items()}
