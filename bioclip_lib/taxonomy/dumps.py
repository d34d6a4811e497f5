"""Checklists in forms of their own: NCBI's taxdump, GBIF's simple.txt, TextTree, and the ACEF of Species 2000.

Takes the files of a checklist; returns its usages as `checklists.COLUMNS` names them, None where they are of no such
form; and the English names that a taxdump has.
"""

import re
from dataclasses import replace
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from ..errors import InputError
from ..files.dialect import TableFile, head_of, told
from ..files.tables import first_column, read_table
from .lineages import HIGHER_RANKS

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


def read_dump(files: dict[str, TableFile], problems: list[dict[str, str]]) -> pa.Table | None:
    """Read the usages of one of these forms; those of `_as_usages` are brought to `COLUMNS` there."""
    if {"nodes.dmp", "names.dmp"} <= set(files):
        return _taxdump(files["nodes.dmp"], files["names.dmp"])
    stems = {PurePosixPath(name).stem: file for name, file in files.items()}
    if _ACEF[0] in stems:
        return _acef({stem: stems[stem] for stem in _ACEF if stem in stems}, problems)
    trees = [file for name, file in files.items() if name.endswith(_TREE_SUFFIXES)]
    if len(trees) == 1:
        return _text_tree(trees[0], problems)
    simple = [file for name, file in files.items() if name.endswith("simple.txt") or len(files) == 1]
    return _simple(simple[0]) if simple and _is_simple(simple[0]) else None


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


def _is_simple(file: TableFile) -> bool:
    if not file.where.lower().endswith((".txt", ".txt.gz", ".tsv", ".tsv.gz")):
        return False
    line = head_of(file)[0]
    return bool(_SIMPLE_ROW.match(line)) and line.count("\t") >= max(_SIMPLE.values())


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
