"""Read the files of a checklist: Catalogue of Life ColDP, Darwin Core taxa, lists of homonyms, NCBI's taxdump, GBIF's
simple.txt, TextTree, and the ACEF of Species 2000.

Takes a folder, a zip archive or one table; returns one row a usage under the columns `COLUMNS`, whatever the layout,
and the rows that could not be read. Refuses what is no checklist and what is not encoded as it says: a name decoded
wrongly is another name.
"""

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import InputError
from ..files.dialect import TableFile, head_of, told
from ..files.meta import described
from ..files.tables import first_column, list_files, read_table
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
_SIMPLE = {
    **{"taxonid": 0, "parentid": 1, "taxonomicstatus": 4, "taxonrank": 5, "nomenclaturalstatus": 6},
    **{"scientificname": 18, "canonicalname": 19, "scientificnameauthorship": 24},
}
_SIMPLE_ROW = re.compile(r"\d+\t(\d+|\\N)\t(\d+|\\N)\t[tf]\t[A-Z_]+\t[A-Z_]+\t")
_NODES, _NAMES = {"id": 0, "parent": 2, "rank": 4}, {"id": 0, "name": 2, "class": 6}
_SYNONYMS = ("synonym", "equivalent name", "genbank synonym", "anamorph", "teleomorph", "genbank anamorph")
_ENGLISH = {"genbank common name": "true", "common name": ""}  # the first is the preferred one
_TREE_LINE = re.compile(  # authors have brackets of their own: "Wocke, [1876] [genus]"
    r"(?P<indent> *)(?P<sign>(?:[=≡$†?×+] ?)*)(?P<name>[^ ].*?) *"
    r"(?:\[(?P<rank>[a-z][a-z _-]*)\])? *(?:\{.*\})? *(?:#.*)?"
)
_TREE_SUFFIXES = (".txtree", ".tree", ".texttree")
_ACEF = ("acceptedspecies", "acceptedinfraspecifictaxa", "synonyms")
_ACEF_COLUMNS = (
    *("id", "acceptedtaxonid", "parentspeciesid", "kingdom", "phylum", "class", "order", "family", "genus"),
    *("speciesepithet", "species", "authorstring", "infraspeciesepithet", "infraspecies", "infraspeciesmarker"),
    *("infraspeciesauthorstring", "sp2000namestatus", "gsdnamestatus"),
)


def read_usages(path: str | Path) -> tuple[pa.Table, pd.DataFrame]:
    """Read the usages of a checklist."""
    files = list_files(Path(path).expanduser())
    problems: list[dict[str, str]] = []
    tables = {stem: file for stem, file in tables_of(files).items() if not stem.startswith("vernacular")}
    if (dump := _dump(files, problems)) is not None:
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


def _dump(files: dict[str, TableFile], problems: list[dict[str, str]]) -> pa.Table | None:
    """Read a checklist in a form of its own, as `_as_usages` takes it; None where it is in none of these."""
    if {"nodes.dmp", "names.dmp"} <= set(files):
        return _taxdump(files["nodes.dmp"], files["names.dmp"])
    stems = {PurePosixPath(name).stem: file for name, file in files.items()}
    if _ACEF[0] in stems:
        return _acef({stem: stems[stem] for stem in _ACEF if stem in stems}, problems)
    trees = [file for name, file in files.items() if name.endswith(_TREE_SUFFIXES)]
    if len(trees) == 1:
        return _text_tree(trees[0], problems)
    simple = [file for name, file in files.items() if name.endswith("simple.txt") or len(files) == 1]
    if not simple or not simple[0].where.lower().endswith((".txt", ".txt.gz", ".tsv", ".tsv.gz")):
        return None
    line = head_of(simple[0])[0]
    is_simple = _SIMPLE_ROW.match(line) and line.count("\t") >= max(_SIMPLE.values())
    return _simple(simple[0]) if is_simple else None


def dump_english(files: dict[str, TableFile]) -> pa.Table | None:
    """Return the English names of a taxdump as a table of vernacular names, None where it is none."""
    if not {"nodes.dmp", "names.dmp"} <= set(files):
        return None
    names = _read_dmp(files["names.dmp"], _NAMES)
    names = names.filter(pc.is_in(names["class"], pa.array([*_ENGLISH])))
    preferred = pa.array([_ENGLISH[kind] for kind in names["class"].to_pylist()], pa.string())
    english = pa.array(["en"] * len(names), pa.string())
    return pa.table({"taxonid": names["id"], "vernacularname": names["name"], "language": english}).append_column(
        "preferred", preferred
    )


def _read_dmp(file: TableFile, columns: dict[str, int]) -> pa.Table:
    """Read a table whose fields end in tab, bar, tab."""
    return read_table(replace(file, columns=columns, delimiter="\t", quote="", n_header_lines=0), set(columns))


def _taxdump(nodes: TableFile, names: TableFile) -> pa.Table:
    """Read nodes.dmp and names.dmp: a scientific name each, synonyms of it, and its authority."""
    node, name = _read_dmp(nodes, _NODES), _read_dmp(names, _NAMES)
    ids = node["id"].combine_chunks()
    scientific = name.filter(pc.equal(name["class"], "scientific name"))
    own = scientific["name"].take(pc.index_in(ids, scientific["id"].combine_chunks()))
    own = pc.fill_null(own, "")
    authority = name.filter(pc.equal(name["class"], "authority"))
    said = pc.fill_null(authority["name"].take(pc.index_in(ids, authority["id"].combine_chunks())), "")
    pairs = zip(said.to_pylist(), own.to_pylist(), strict=True)
    authors = [text[len(of) :].strip() if text.startswith(of) else "" for text, of in pairs]
    parent = pc.if_else(pc.equal(node["parent"], node["id"]), "", node["parent"])
    synonyms = name.filter(pc.is_in(name["class"], pa.array(_SYNONYMS)))
    rank = pc.fill_null(node["rank"].take(pc.index_in(synonyms["id"].combine_chunks(), ids)), "")
    blank, status = ([text] * len(synonyms) for text in ("", "synonym"))
    columns = {
        "taxonid": [*ids.to_pylist(), *blank],
        "scientificname": [*own.to_pylist(), *synonyms["name"].to_pylist()],
        "scientificnameauthorship": [*authors, *blank],
        "parentnameusageid": [*parent.to_pylist(), *blank],
        "acceptednameusageid": [*[""] * len(ids), *synonyms["id"].to_pylist()],
        "taxonrank": [*node["rank"].to_pylist(), *rank.to_pylist()],
        "taxonomicstatus": [*["accepted"] * len(ids), *status],
    }
    return pa.table({key: pa.array(values, pa.string()) for key, values in columns.items()})


def _simple(file: TableFile) -> pa.Table:
    """Read GBIF's simple.txt, without a header: the parent of a synonym is its accepted name."""
    table = read_table(replace(file, columns=_SIMPLE, delimiter="\t", quote="", n_header_lines=0), set(_SIMPLE))
    columns = {key: pc.if_else(pc.equal(table[key], "\\N"), "", table[key]) for key in table.column_names}
    status = pc.utf8_lower(columns["taxonomicstatus"])
    columns["parentid"] = pc.if_else(pc.equal(status, "misapplied"), "", columns["parentid"])
    return pa.table(columns | {"taxonomicstatus": status})


def _text_tree(file: TableFile, problems: list[dict[str, str]]) -> pa.Table:
    """Read a tree by its indentation: "=", "≡" and "$" are synonyms of the taxon above; † is extinct, ? in doubt."""
    with told(file), file.open() as stream:
        lines = stream.read().decode("utf-8-sig").splitlines()
    rows: list[tuple[str, ...]] = []
    above: list[tuple[int, str]] = []  # indentation and id of the taxa on the way down
    for number, line in enumerate(lines, 1):
        match = _TREE_LINE.fullmatch(line.replace("\t", "  "))
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if match is None:
            problems.append({"id": str(number), "name": line.strip()[:80], "reason": "no line of a tree"})
            continue
        indent = len(match["indent"])
        above = [(at, key) for at, key in above if at < indent]
        parent, is_synonym = above[-1][1] if above else "", any(sign in match["sign"] for sign in "=≡$")
        hybrid = "× " if "×" in match["sign"] else ""
        status = "synonym" if is_synonym else "accepted"
        rows.append((str(number), parent, hybrid + match["name"].strip(), (match["rank"] or "").lower(), status))
        if not is_synonym:
            above.append((indent, str(number)))
    if not rows:
        raise InputError(f"{file.where} has no line of a tree; give one name a line, indented by two blanks a level")
    names = ("taxonid", "parentid", "scientificname", "taxonrank", "taxonomicstatus")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    return pa.table({key: pa.array(values, pa.string()) for key, values in columns.items()})


def _acef(tables: dict[str, TableFile], problems: list[dict[str, str]]) -> pa.Table:
    """Read accepted species, taxa below them, and synonyms; names are given in parts."""
    read = {stem: read_table(file, _ACEF_COLUMNS, problems) for stem, file in tables.items()}
    species, below, synonyms = (read.get(stem) for stem in _ACEF)
    parts = [_acef_part(species, first_column(species, "acceptedtaxonid"), "accepted")]
    parts[0] |= {rank: first_column(species, rank) for rank in HIGHER_RANKS}
    if below is not None:
        parent = first_column(below, "parentspeciesid")
        index = pc.index_in(parent, first_column(species, "acceptedtaxonid").combine_chunks())
        whole = pc.fill_null(parts[0]["scientificname"].take(index), "")
        part = _acef_part(below, first_column(below, "acceptedtaxonid"), "accepted")
        part["scientificname"] = _joined(whole, part["scientificname"])
        parts.append(part | {"parentnameusageid": parent})
    if synonyms is not None:
        part = _acef_part(synonyms, first_column(synonyms, "id"), "synonym")
        parts.append(part | {"acceptednameusageid": first_column(synonyms, "acceptedtaxonid")})
    names = list(dict.fromkeys(name for part in parts for name in part))
    blank = {id(part): pa.chunked_array([pa.array([""] * len(part["taxonid"]), pa.string())]) for part in parts}
    return pa.concat_tables([pa.table({name: part.get(name, blank[id(part)]) for name in names}) for part in parts])


def _acef_part(table: pa.Table, ids: pa.ChunkedArray, status: str) -> dict[str, pa.ChunkedArray]:
    """Return the columns of one of the tables: the name, joined, its author, rank and status."""
    epithet = first_column(table, "infraspeciesepithet", "infraspecies")
    marker = pc.if_else(pc.equal(epithet, ""), "", first_column(table, "infraspeciesmarker"))
    name = _joined(first_column(table, "genus"), first_column(table, "speciesepithet", "species"), marker, epithet)
    author = first_column(table, "infraspeciesauthorstring")
    author = pc.if_else(pc.equal(epithet, ""), first_column(table, "authorstring"), author)
    given = pc.utf8_lower(first_column(table, "sp2000namestatus", "gsdnamestatus"))
    said = pc.if_else(pc.match_substring_regex(given, "misapplied|ambiguous|pro parte"), given, status)
    rank = pc.if_else(pc.equal(epithet, ""), "species", "infraspecific name")
    columns = {"taxonid": ids, "scientificname": name, "scientificnameauthorship": author}
    return columns | {"taxonrank": rank, "taxonomicstatus": said}


def _joined(*parts: pa.ChunkedArray) -> pa.ChunkedArray:
    joined = pc.binary_join_element_wise(*parts, " ")
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(joined, " {2,}", " "))
