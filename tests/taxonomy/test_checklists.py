"""Checklists read from files, and records resolved against them: real lists, synthetic ones in every layout, laws."""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bioclip_lib import RANKS, taxonomy
from bioclip_lib.errors import InputError
from bioclip_lib.taxonomy.backbone import Backbone, open_checklist
from bioclip_lib.taxonomy.canonical import KINGDOMS, kingdom_of
from bioclip_lib.taxonomy.decision import COLUMNS
from bioclip_lib.taxonomy.names import parse_names
from bioclip_lib.taxonomy.ncbi import ncbi as open_ncbi
from bioclip_lib.taxonomy.ranks import deepest_rank
from bioclip_lib.taxonomy.resolution import STATUSES, explain

from .asking import resolve_records

HIGHER = ["kingdom", "phylum", "class", "order", "family"]
TAXA = [  # id, parent, accepted, name, author, rank, status
    ("A", "", "", "Animalia", "", "kingdom", "accepted"),
    ("A1", "A", "", "Chordata", "", "phylum", "accepted"),
    ("A2", "A1", "", "Aves", "", "class", "accepted"),
    ("A3", "A2", "", "Passeriformes", "", "order", "accepted"),
    ("A4", "A3", "", "Paridae", "", "family", "accepted"),
    ("A4a", "A4", "", "Parinae", "", "subfamily", "accepted"),
    ("A5", "A4a", "", "Parus", "Linnaeus, 1758", "genus", "accepted"),
    ("A6", "A5", "", "Parus major", "Linnaeus, 1758", "species", "accepted"),
    ("A7", "A6", "", "Parus major excelsus", "Buvry, 1857", "subspecies", "accepted"),
    ("A8", "A5", "", "Parus niger", "Vieillot, 1818", "species", "accepted"),
    ("s1", "", "A6", "Parus robustus", "Brehm, 1831", "species", "synonym"),
    ("s2", "", "s1", "Fringilla robusta", "Brehm, 1831", "species", "synonym"),
    ("B2", "A2", "", "Suliformes", "", "order", "accepted"),
    ("B3", "B2", "", "Sulidae", "", "family", "accepted"),
    ("B4", "B3", "", "Morus", "Vieillot, 1816", "genus", "accepted"),
    ("B5", "B4", "", "Morus bassanus", "(Linnaeus, 1758)", "species", "accepted"),
    ("P", "", "", "Plantae", "", "kingdom", "accepted"),
    ("P1", "P", "", "Tracheophyta", "", "phylum", "accepted"),
    ("P2", "P1", "", "Magnoliopsida", "", "class", "accepted"),
    ("P3", "P2", "", "Rosales", "", "order", "accepted"),
    ("P4", "P3", "", "Moraceae", "", "family", "accepted"),
    ("P5", "P4", "", "Morus", "L.", "genus", "accepted"),
    ("P6", "P5", "", "Morus alba", "L.", "species", "accepted"),
    ("P7", "P5", "", "Morus nigra", "L.", "species", "accepted"),
    ("s3", "", "P7", "Morus alba", "Bory", "species", "synonym"),
    ("P8", "P4", "", "Ficus", "L.", "genus", "accepted"),
    ("P9", "P8", "", "Ficus × hybrida", "Mill.", "species", "accepted"),
    ("s4", "", "P8", "Caprificus", "Gasp.", "genus", "synonym"),
    ("s5", "", "P8", "Ficus misnamed", "auct.", "species", "misapplied"),
    ("Q1", "P3", "", "Incertae sedis", "", "family", "accepted"),
    ("Q2", "Q1", "", "Rosalia", "L.", "genus", "accepted"),
]
LAYOUTS = ("coldp", "coldp_single", "gbif", "col_dwca", "inaturalist", "itis", "eol")


def write(path: Path, rows: pd.DataFrame, sep: str = "\t") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_csv(path, sep=sep, index=False)


def frame(taxa=TAXA) -> pd.DataFrame:
    columns = ["taxonID", "parentNameUsageID", "acceptedNameUsageID", "name", "author", "rank", "status"]
    return pd.DataFrame(taxa, columns=columns)


def denormalise(t: pd.DataFrame) -> pd.DataFrame:
    """Give each taxon the ranks above it as columns, found by walking up."""
    by_id = t.set_index("taxonID")
    rows = []
    for taxon in t.itertuples():
        accepted, ranks = taxon.taxonID, dict.fromkeys(RANKS, "")
        while by_id.acceptedNameUsageID[accepted]:
            accepted = by_id.acceptedNameUsageID[accepted]
        while accepted:
            if by_id["rank"][accepted] in ranks:
                ranks[by_id["rank"][accepted]] = by_id.name[accepted]
            accepted = by_id.parentNameUsageID[accepted]
        rows.append(ranks)
    return pd.DataFrame(rows)


META = """<archive xmlns="http://rs.tdwg.org/dwc/text/"><core encoding="UTF-8" fieldsTerminatedBy="\\t"
 linesTerminatedBy="\\n" fieldsEnclosedBy="" ignoreHeaderLines="1" rowType="http://rs.tdwg.org/dwc/terms/Taxon">
 <files><location>Taxon.tsv</location></files><id index="0"/>{}</core></archive>"""


def write_meta(folder: Path, columns) -> None:
    terms = [f'<field index="{i}" term="http://rs.tdwg.org/dwc/terms/{c}"/>' for i, c in enumerate(columns)]
    (folder / "meta.xml").write_text(META.format("".join(terms)), encoding="utf-8")


def write_layout(folder: Path, layout: str, taxa=TAXA) -> Path:
    """Write the taxa as one of the sources does, under its own file and column names."""
    t = frame(taxa)
    with_author = (t.name + " " + t.author).str.strip()
    dwc = t.rename(columns={"author": "scientificNameAuthorship", "rank": "taxonRank", "status": "taxonomicStatus"})
    if layout == "coldp":
        names = t[["taxonID", "name", "author", "rank"]].assign(taxonID="n" + t.taxonID)
        names.columns = ["ID", "scientificName", "authorship", "rank"]
        write(folder / "Name.tsv", names)
        kept = t[t.acceptedNameUsageID == ""]
        write(folder / "Taxon.tsv", kept.assign(nameID="n" + kept.taxonID).rename(
            columns={"taxonID": "ID", "parentNameUsageID": "parentID"})[["ID", "nameID", "parentID"]])  # fmt: skip
        synonyms = t[t.acceptedNameUsageID != ""]
        target = synonyms.acceptedNameUsageID.where(~synonyms.acceptedNameUsageID.str.startswith("s"), "ns1")
        write(folder / "Synonym.tsv", pd.DataFrame(
            {"taxonID": target, "nameID": "n" + synonyms.taxonID, "status": synonyms.status}))  # fmt: skip
    elif layout == "coldp_single":
        parent = t.parentNameUsageID.where(t.acceptedNameUsageID == "", t.acceptedNameUsageID)
        status = t.status.replace("misapplied", "misapplied synonym")
        single = pd.DataFrame(
            {"col:ID": t.taxonID, "col:parentID": parent, "col:status": status, "col:rank": t["rank"]}
        )
        write(
            folder / "NameUsage.csv", single.assign(**{"col:scientificName": t.name, "col:authorship": t.author}), ","
        )
    elif layout == "gbif":
        write(folder / "Taxon.tsv", pd.concat(
            [dwc.assign(scientificName=with_author, canonicalName=t.name).drop(columns="name"), denormalise(t)], axis=1)
        )  # fmt: skip
    elif layout == "col_dwca":
        table = dwc.assign(scientificName=with_author).drop(columns="name")
        table.columns = [f"dwc:{column}" for column in table.columns]
        write(folder / "Taxon.tsv", table)
        write_meta(folder, [column.removeprefix("dwc:") for column in table.columns])
    elif layout == "inaturalist":  # accepted taxa only, addresses for ids
        kept = t[t.acceptedNameUsageID == ""]
        address = "https://www.inaturalist.org/taxa/"
        ids = {"id": kept.taxonID, "taxonID": address + kept.taxonID}
        parent = (address + kept.parentNameUsageID).where(kept.parentNameUsageID != "", "")
        table = pd.DataFrame({**ids, "parentNameUsageID": parent, "scientificName": kept.name})
        write(folder / "taxa.csv", table.assign(taxonRank=kept["rank"]), ",")
    else:
        status = {"accepted": "valid", "synonym": "invalid"} if layout == "itis" else {"synonym": "not accepted"}
        names = dwc.assign(taxonRank=t["rank"].str.title() if layout == "itis" else t["rank"])
        names = names.assign(taxonomicStatus=t.status.replace(status)).rename(columns={"name": "scientificName"})
        write(folder / ("taxon.tab" if layout == "eol" else "taxa.csv"), names, "\t" if layout == "eol" else ",")
    return folder


@pytest.fixture(scope="module")
def checklist(tmp_path_factory):
    return open_checklist(write_layout(tmp_path_factory.mktemp("list") / "small list", "coldp_single"))


def resolve(names, *backbones, **context) -> pd.DataFrame:
    return resolve_records(pd.DataFrame({"verbatim_name": names, **context}), backbones)


def one(name, *backbones, **context) -> pd.Series:
    return resolve([name], *backbones, **context).iloc[0]


FACTS = [  # verbatim name, context, scientific name, rank, status
    ("Parus major", {}, "Parus major", "species", "accepted"),
    ("PARUS_MAJOR L.", {}, "Parus major", "species", "accepted"),
    ("Parus major excelsus", {}, "Parus major", "species", "accepted"),
    ("Parus major ssp. newtoni", {}, "Parus major", "species", "accepted"),
    ("Parus robustus Brehm, 1831", {}, "Parus major", "species", "synonym"),
    ("Fringilla robusta", {}, "Parus major", "species", "synonym"),  # a synonym of a synonym
    ("Morus nigrum", {}, "Morus nigra", "species", "corrected"),
    ("Parus ignotus", {}, "Parus", "genus", "unverified"),
    ("Parus cf. major", {}, "Parus", "genus", "accepted"),
    ("Parus sp.", {}, "Parus", "genus", "accepted"),
    ("Parus major x Parus niger", {}, "Parus", "genus", "accepted"),
    ("Paridae", {}, "Paridae", "family", "accepted"),
    ("Parinae", {}, "Parinae", "family", "accepted"),
    ("Caprificus", {}, "Ficus", "genus", "synonym"),
    ("Caprificus ignota", {}, "Moraceae", "family", "synonym"),  # its species may have gone anywhere
    ("Ficus hybrida", {}, "Ficus x hybrida", "species", "accepted"),
    ("Ficus ×hybrida", {}, "Ficus x hybrida", "species", "accepted"),
    ("Ficus misnamed", {}, "Ficus", "genus", "unverified"),
    ("Rosalia", {}, "Rosalia", "genus", "accepted"),
    ("Morus", {}, "", "", "ambiguous"),
    ("Morus", {"kingdom": "Plantae"}, "Morus", "genus", "accepted"),
    ("Morus", {"family": "Sulidae"}, "Morus", "genus", "accepted"),
    ("Morus", {"order": "Rosales"}, "Morus", "genus", "accepted"),
    ("Morus", {"genus": "Ficus"}, "Morus", "genus", "accepted"),  # in its family, says the list
    ("Morus", {"genus": "Morus", "family": "Sulidae"}, "Morus", "genus", "accepted"),
    ("Morus", {"kingdom": "Animalia", "family": "Moraceae"}, "", "", "unresolved"),  # contradicts itself
    ("Morus", {"kingdom": "Fungi"}, "", "", "unresolved"),
    ("Morus L.", {}, "Morus", "genus", "accepted"),
    ("Morus Vieillot, 1816", {}, "Morus", "genus", "accepted"),
    ("Morus Vieillot, 1816", {"kingdom": "Plantae"}, "Morus", "genus", "accepted"),  # the kingdom is the stronger
    ("Morus alba", {}, "Morus", "genus", "ambiguous"),
    ("Morus alba L.", {}, "Morus alba", "species", "accepted"),
    ("Morus alba Bory", {}, "Morus nigra", "species", "synonym"),
    ("Morus alba Mill.", {}, "Morus", "genus", "ambiguous"),
    ("Morus bassanus", {"kingdom": "Plantae"}, "Morus", "genus", "unverified"),
    ("Morus ignota", {}, "", "", "ambiguous"),
    ("Parus major", {"kingdom": "Metazoa", "family": "Aegithalidae", "order": "Passeriformes"}, "Parus major",
     "species", "accepted"),  # a family within the order
    ("Parus major", {"family": "Moraceae"}, "Moraceae", "family", "accepted"),
    ("Parus major", {"phylum": "Vertebrata", "class": "Aves"}, "Parus major", "species", "accepted"),
    ("Parus major", {"kingdom": "incertae sedis", "class": None}, "Parus major", "species", "accepted"),
    ("Incertae sedis", {}, "", "", "unresolved"),
    ("Anna hummingbird", {}, "", "", "unresolved"),
    ("", {}, "", "", "unresolved"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "context", "scientific_name", "rank", "status"), FACTS)
def test_facts(checklist, name, context, scientific_name, rank, status):
    row = one(name, checklist, **context)
    assert (row.scientific_name, row["rank"], row.name_status) == (scientific_name, rank, status), row.reason
    if "kingdom" in context and row.kingdom:
        assert row.kingdom == kingdom_of(context["kingdom"]) or not kingdom_of(context["kingdom"])
    assert bool(row.alternatives) == (status == "ambiguous")
    assert row.reason or rank == "species"


@pytest.mark.parametrize(
    ("name", "context", "taxon_id"),
    [
        ("Morus", {"kingdom": "Plantae"}, "P5"),
        ("Morus", {"family": "Sulidae"}, "B4"),
        ("Morus", {"order": "Rosales"}, "P5"),
        ("Morus", {"genus": "Ficus"}, "P5"),
        ("Morus", {"genus": "Morus", "family": "Sulidae"}, "B4"),
        ("Morus L.", {}, "P5"),
        ("Morus Vieillot, 1816", {}, "B4"),
        ("Morus Vieillot, 1816", {"kingdom": "Plantae"}, "P5"),
        ("Morus ignota", {"class": "Aves"}, "B4"),
        ("Morus sp.", {"phylum": "Tracheophyta"}, "P5"),
        ("Parus major newtoni", {}, "A6"),
        ("Morus alba", {}, "P5"),  # of both its meanings
    ],
)
def test_context_and_author_choose_the_homonym(checklist, name, context, taxon_id):
    assert one(name, checklist, **context).taxon_id == taxon_id


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_taxa(tmp_path, checklist, layout):
    other = open_checklist(write_layout(tmp_path / "any", layout), name=checklist.name)
    has_synonyms, has_authors = layout != "inaturalist", layout != "inaturalist"
    facts = [
        f for f in FACTS if (has_synonyms or f[4] != "synonym") and (has_authors or not any(c in f[0] for c in ".&,"))
    ]
    facts = [f for f in facts if has_authors or f[0] not in ("Morus alba", "Caprificus ignota")]
    for name, context, scientific_name, rank, status in facts:
        row = one(name, other, **context)
        assert (row.scientific_name, row["rank"], row.name_status) == (scientific_name, rank, status), (
            name,
            row.reason,
        )
    line = one("Parus major", other)[list(RANKS)].tolist()
    assert line == ["Animalia", "Chordata", "Aves", "Passeriformes", "Paridae", "Parus", "major"]
    assert one("Rosalia", other).family == ""  # "Incertae sedis" is no family
    if has_synonyms:
        assert set(other.problems["reason"]) == {"a misapplied name is no synonym"}


@pytest.mark.parametrize("inner", ["", "wrapped/"])
def test_zip_is_read_like_its_folder(tmp_path, checklist, inner):
    folder = write_layout(tmp_path / "any", "col_dwca")
    with zipfile.ZipFile(tmp_path / "list.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, inner + path.name)
        archive.writestr("../Taxon.tsv", "taxonID\tscientificName\n1\tEvilus\n")
        archive.writestr("/etc/Taxon.tsv", "taxonID\tscientificName\n1\tEvilus\n")
        archive.writestr("C:\\meta.xml", "<x/>")
    other = open_checklist(tmp_path / "list.zip")
    assert other.name == "list"
    assert other.names() == checklist.names()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["any", "list.zip"]  # nothing is extracted


def test_zip_of_paths_that_lead_out_is_no_checklist(tmp_path):
    with zipfile.ZipFile(tmp_path / "list.zip", "w") as archive:
        archive.writestr("../../Taxon.tsv", "taxonID\tscientificName\n1\tEvilus\n")
    with pytest.raises(InputError, match="no checklist"):
        open_checklist(tmp_path / "list.zip")


GOOD = "taxonID\tparentNameUsageID\tscientificName\ttaxonRank\n1\t\tAnimalia\tkingdom\n2\t1\tÆolis Kœnig\tgenus\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD.encode("cp1252"), "save it as UTF-8"),
        (GOOD.encode("utf-16"), "save it as UTF-8"),
        (b"", "is empty"),
        (b"name,label\n1,2\n", "no columns taxonID"),
        (b"taxonID\tscientificName\n", "has no rows with a name"),
        (b"taxonID\tscientificName\n1\tN.N.\n", "no usage that can be looked up"),
        (b"taxonID\tscientificName\n1\ta\tb\n2\ta\tb\n3\tParus\n", "3 fields in place of 2"),
    ],
)
def test_unusable_table_is_refused(tmp_path, content, message):
    (tmp_path / "taxa.tsv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_checklist(tmp_path / "taxa.tsv")


@pytest.mark.parametrize("make", [Path.mkdir, lambda p: p.write_bytes(b"PK\x03\x04 no"), lambda p: None])
def test_what_is_no_checklist_is_refused(tmp_path, make):
    path = tmp_path / "list.zip"
    make(path)
    with pytest.raises(InputError, match=r"list\.zip"):
        open_checklist(path)


@pytest.mark.parametrize("meta", ["<archive/>", "no xml", "<!DOCTYPE a [<!ENTITY x 'y'>]><archive/>", META.format("")])
def test_unusable_meta_is_refused(tmp_path, meta):
    (tmp_path / "meta.xml").write_text(meta)
    with pytest.raises(InputError):
        open_checklist(tmp_path)


def test_meta_names_encoding_and_constants(tmp_path):
    terms = (
        '<field index="1" term="http://rs.tdwg.org/dwc/terms/scientificName"/><field default="Plantae" term="kingdom"/>'
    )
    meta = META.format(terms + '<field index="2" term="taxonRank"/>').replace("UTF-8", "ISO-8859-1")
    (tmp_path / "meta.xml").write_text(meta.replace('ignoreHeaderLines="1"', 'ignoreHeaderLines="0"'))
    (tmp_path / "Taxon.tsv").write_bytes("1\tIsoëtes\tgenus\n".encode("latin-1"))
    row = one("Isoetes", open_checklist(tmp_path))
    assert (row.scientific_name, row.kingdom, row.taxon_id) == ("Isoëtes", "Plantae", "1")


def test_meta_gives_the_default_of_an_empty_cell(tmp_path):
    field = '<field index="{}" term="{}" default="{}"/>'
    terms = field.format(1, "scientificName", "") + field.format(2, "taxonRank", "genus")
    (tmp_path / "meta.xml").write_text(META.format(terms).replace('ignoreHeaderLines="1"', 'ignoreHeaderLines="0"'))
    (tmp_path / "Taxon.tsv").write_text("1\tIsoetes\t\n2\tFungi\tkingdom\n")
    assert [open_checklist(tmp_path).usages(name)[0].rank for name in ("Isoetes", "Fungi")] == ["genus", "kingdom"]


def test_a_document_type_is_refused_in_any_encoding(tmp_path):
    (tmp_path / "meta.xml").write_text("<!DOCTYPE a [<!ENTITY x 'y'>]>" + META.format(""), encoding="utf-16")
    with pytest.raises(InputError, match="declares a document type"):
        open_checklist(tmp_path)


def small(tmp_path, rows) -> Backbone:
    columns = ["taxonID", "parentNameUsageID", "acceptedNameUsageID", "scientificName", "taxonRank", "taxonomicStatus"]
    write(tmp_path / "taxa.tsv", pd.DataFrame(rows, columns=columns))
    return open_checklist(tmp_path / "taxa.tsv")


def reasons(checklist) -> dict[str, str]:
    return dict(zip(checklist.problems["id"], checklist.problems["reason"], strict=True))


def test_contradictions_are_left_out_with_their_reason(tmp_path):
    checklist = small(
        tmp_path,
        [
            ("1", "", "", "Animalia", "kingdom", "accepted"),
            ("2", "2", "", "Plantae", "kingdom", "accepted"),  # a root that names itself
            ("3", "4", "", "Aus", "family", "accepted"),
            ("4", "3", "", "Bus", "order", "accepted"),
            ("5", "3", "", "Cus", "genus", "accepted"),
            ("6", "99", "", "Dus", "genus", "accepted"),
            ("7", "1", "", "Eus", "genus", "accepted"),
            ("7", "2", "", "Fus", "genus", "accepted"),
            ("8", "1", "", "Gus", "genus", "accepted"),
            ("8", "1", "", "Gus", "genus", "accepted"),
            ("9", "7", "", "Eus minor", "species", "accepted"),
            ("10", "", "98", "Hus", "genus", "synonym"),
            ("11", "", "10", "Ius", "genus", "synonym"),
            ("12", "", "13", "Jus", "genus", "synonym"),
            ("13", "", "12", "Kus", "genus", "synonym"),
            ("14", "", "", "Lus", "genus", "synonym"),
            ("15", "", "5", "Mus", "genus", "synonym"),
        ],
    )
    found = reasons(checklist)
    assert {i for i, reason in found.items() if "circle" in reason} == {"3", "4", "5", "12", "13"}
    assert {i for i, reason in found.items() if "accepted name" in reason} == {"10", "14"}
    assert "leads nowhere" in found["11"] and "several usages" in found["7"]
    assert "99 is not there" in found["6"] and "7 is not there" in found["9"]
    assert checklist.names() == ["Animalia", "Dus", "Eus minor", "Gus", "Plantae"]
    assert one("Dus", checklist)[["kingdom", "genus", "rank"]].tolist() == ["", "Dus", "genus"]
    assert one("Dus", checklist, kingdom="Animalia").name_status == "unresolved"  # its kingdom is not known
    assert one("Gus", checklist).kingdom == "Animalia"


@pytest.mark.parametrize("row", ["2,Pica,genus,x", "2,genus", "Pica,genus"])
def test_rows_that_cannot_be_read_are_listed_and_said(tmp_path, row):
    (tmp_path / "taxa.csv").write_text(f'taxonID,scientificName,taxonRank\n1,"Parus",genus\n{row}\n3,Sula,genus\n')
    with pytest.warns(UserWarning, match=r"1 rows are left out .* row 2: \d fields in place of 3"):
        checklist = open_checklist(tmp_path / "taxa.csv")
    assert checklist.names() == ["Parus", "Sula"]
    assert " fields in place of 3" in checklist.problems["reason"].iloc[0]


def test_name_id_of_several_names_is_no_name(tmp_path):
    names = [("n1", "Parus"), ("n2", "Pica"), ("n2", "Sula")]
    write(tmp_path / "Name.tsv", pd.DataFrame(names, columns=["ID", "scientificName"]))
    write(tmp_path / "Taxon.tsv", pd.DataFrame({"ID": ["1", "2"], "nameID": ["n1", "n2"]}))
    checklist = open_checklist(tmp_path)
    assert checklist.names() == ["Parus"] and reasons(checklist) == {"2": "it has no name"}
    write(tmp_path / "Name.tsv", pd.DataFrame(names, columns=["ID", "label"]))
    with pytest.raises(InputError, match="Name: scientificName"):
        open_checklist(tmp_path)


def test_quotes_in_a_tsv_mean_something_only_where_its_header_has_them(tmp_path):
    (tmp_path / "a.tsv").write_text('"taxonID"\t"scientificName"\n"1"\t"Parus"\n')
    (tmp_path / "b.tsv").write_text('taxonID\tscientificName\n1\t"Parus\n2\tPica\n')
    assert open_checklist(tmp_path / "a.tsv").names() == ["Parus"]
    assert open_checklist(tmp_path / "b.tsv").names() == ["Parus", "Pica"]


def test_viruses_codes_and_aggregates_are_no_binomials(tmp_path):
    checklist = small(
        tmp_path,
        [
            ("1", "", "", "Riboviria", "realm", ""),
            ("2", "1", "", "Orthornavirae", "kingdom", ""),
            ("3", "2", "", "Tobamovirus", "genus", ""),
            ("4", "3", "", "Tobacco mosaic virus", "species", ""),
            ("5", "", "", "Metazoa", "kingdom", ""),
            ("6", "5", "", "BOLD:AAB1234", "unranked", ""),
            ("7", "5", "", "SH1 09FU", "unranked", ""),
        ],
    )
    virus, bin_, code = (one(name, checklist) for name in ("Tobacco mosaic virus", "BOLD:AAB1234", "SH1 09FU"))
    assert virus[["kingdom", "genus", "species"]].tolist() == ["Viruses", "Tobamovirus", "Tobacco mosaic virus"]
    for row in (bin_, code):
        assert row[list(RANKS)].tolist() == ["Animalia", *[""] * 6]


def test_stronger_evidence_comes_before_the_order_of_backbones(tmp_path, checklist):
    rows = [("1", "", "", "Animalia", "kingdom", ""), ("2", "1", "", "Parus", "genus", "")]
    (tmp_path / "other").mkdir()
    other = small(tmp_path / "other", [*rows, ("3", "1", "", "Morus", "genus", "")])
    assert one("Parus major", other, checklist).backbone == checklist.name
    assert one("Parus", other, checklist).backbone == other.name
    assert one("Morus", checklist, other).name_status == "ambiguous"  # that one list has one Morus settles nothing
    assert one("Morus alba", other, checklist, kingdom="Plantae").backbone == checklist.name


def test_ncbi_takes_part_in_the_list(checklist):
    ncbi = open_ncbi()
    rows = resolve(["Parus major", "Quercus robur", "Citrus limon", "Trema micrantha"], checklist, ncbi)
    assert rows["backbone"].tolist() == [checklist.name, *[ncbi.name] * 3]
    assert rows["scientific_name"].tolist()[1:] == ["Quercus robur", "Citrus x limon", "Trema micranthum"]
    assert one("Morus", ncbi, kingdom="Plantae").family == "Moraceae"
    assert one("Morus", ncbi).name_status == "ambiguous"


def test_explain_shows_what_was_considered(checklist):
    table = explain("Morus", [checklist], {"kingdom": "Plantae"})
    assert table["verdict"].tolist() == ["outside kingdom Plantae", "chosen", "accepted: named to genus only"]
    assert explain("Xxus", [checklist])["verdict"].iloc[0] == "not found"
    with pytest.raises(InputError, match="tribe"):
        explain("Morus", [checklist], {"tribe": "x"})


def test_unusable_records_are_refused(checklist):
    with pytest.raises(InputError, match="verbatim_name"):
        taxonomy.resolve(pd.DataFrame({"name": ["a"]}), [checklist])
    with pytest.raises(InputError, match="no backbone"):
        taxonomy.resolve(["a"], [])


WORDS = "Parus Morus Ficus alba major minor nigra nigrum L. Bory cf. sp. × x ssp. excelsus Paridae virus _ (Parus) 1758"
texts = st.one_of(st.text(max_size=30), st.lists(st.sampled_from(WORDS.split()), max_size=5).map(" ".join))
contexts = st.fixed_dictionaries(
    {"kingdom": st.one_of(st.sampled_from(["", "Animalia", "PLANTAE", "Metazoa", "Fungi"]), st.text(max_size=8))},
    optional={"family": st.one_of(st.sampled_from(["Moraceae", "Sulidae", "Nowhere"]), st.text(max_size=8))},
)


def test_two_genera_that_share_nothing_are_neither(checklist):
    """The checklist has no taxon above kingdoms: neither genus may be taken, as if the other were its author."""
    row = resolve_records(pd.DataFrame({"verbatim_name": ["Parus Morus"], "kingdom": "", "family": ""}), [checklist])
    assert row[["name_status", "rank"]].values.tolist() == [["ambiguous", ""]]


@given(st.lists(st.tuples(texts, contexts), max_size=6))
@example([("ParusMorus", {"kingdom": ""})])
@settings(max_examples=200, deadline=None)
def test_any_text_gives_a_row_and_no_invented_taxon(checklist, records):
    table = pd.DataFrame([{"verbatim_name": name, **context} for name, context in records])
    table = table.reindex(columns=["verbatim_name", "kingdom", "family"])
    rows = resolve_records(table, [checklist])
    assert rows["verbatim_name"].tolist() == [name for name, _ in records]
    assert list(rows.columns) == list(COLUMNS)
    known = {name.replace("×", "x") for *_, name, _, _, _ in TAXA}
    epithets = {name.partition(" ")[2] for name in known}
    for (_, context), row in zip(records, rows.to_dict("records"), strict=True):
        ranks = {rank: row[rank] for rank in RANKS}
        assert row["rank"] == deepest_rank(ranks)
        assert row["name_status"] in STATUSES and row["kingdom"] in ("", *KINGDOMS)
        assert {row[rank] for rank in RANKS[:6]} <= known | {""} and row["species"] in epithets
        assert row["scientific_name"] in known | {""}
        assert bool(row["rank"]) == bool(row["taxon_id"]) == bool(row["scientific_name"])
        assert row["name_status"] != "unresolved" or not row["rank"]
        if row["rank"] and kingdom_of(context["kingdom"]):
            assert row["kingdom"] == kingdom_of(context["kingdom"])


def test_same_rows_whatever_their_order_and_number(checklist):
    rng = np.random.default_rng(0)
    facts = [FACTS[i] for i in rng.integers(0, len(FACTS), 200)]
    table = pd.DataFrame(
        [{"verbatim_name": name, **context} for name, context, *_ in facts], index=rng.permutation(200)
    )
    rows = resolve_records(table, [checklist])
    assert rows.index.equals(table.index)
    pd.testing.assert_frame_equal(resolve_records(table[::-1], [checklist]), rows[::-1])
    for fact, (_, row) in zip(facts, rows.iterrows(), strict=True):
        assert (row.scientific_name, row["rank"], row.name_status) == fact[2:]


def test_resolving_the_resolved_name_changes_nothing(checklist):
    facts = [fact for fact in FACTS if fact[3] and fact[4] != "ambiguous"]
    first = pd.concat([resolve([name], checklist, **context) for name, context, *_ in facts], ignore_index=True)
    again = first[[*RANKS]].assign(verbatim_name=first.scientific_name)
    authors = {"Morus alba": "Morus alba L."}  # which of its homonyms it is, no rank says
    again["verbatim_name"] = again["verbatim_name"].replace(authors)
    again = resolve_records(again, [checklist])
    assert again["taxon_id"].tolist() == first["taxon_id"].tolist()
    assert set(again["name_status"]) == {"accepted"}


@pytest.fixture(scope="session")
def real() -> Path:
    path = Path(__file__).resolve().parents[3] / "shared" / "backbones"
    if not path.is_dir():
        pytest.skip(f"real checklists are looked for in {path}; not there")
    return path


def test_list_of_cycads_is_read_whole(real):
    """404 taxa and 348 synonyms, 53 of them synonyms of synonyms; four lead in a circle; 16 taxa only in columns."""
    checklist = open_checklist(real / "cycads_coldp")
    n_usages = sum(len(checklist.usages(name)) for name in checklist.names())
    assert n_usages == 404 + 348 - 4 + 16 and len(checklist.problems) == 4
    assert one("Cycas ignota", checklist)[["family", "genus", "species"]].tolist() == ["Cycadaceae", "Cycas", ""]
    assert set(checklist.problems["reason"]) == {"its synonyms lead in a circle"}
    names = pd.read_csv(real / "cycads_coldp" / "Name.tsv", sep="\t", dtype=str, keep_default_na=False)
    taxa = pd.read_csv(real / "cycads_coldp" / "Taxon.tsv", sep="\t", dtype=str, keep_default_na=False)
    accepted = taxa.merge(names, left_on="nameID", right_on="ID", suffixes=("", "_name"))
    rows = resolve((accepted.scientificName + " " + accepted.authorship).tolist(), checklist, kingdom="Plantae")
    species = accepted.scientificName.str.split(" ").str[:2].str.join(" ")
    formula = accepted.scientificName.str.contains(" x ")
    assert (rows.scientific_name == species.where(~formula, accepted.genus)).all() and formula.sum() == 3
    assert rows.family.tolist() == accepted.family.tolist()
    assert (rows["rank"] == np.where(formula, "genus", "species")).all()


def test_hierarchy_of_the_catalogue_of_life_is_read_whole(real):
    checklist = open_checklist(real / "col_hierarchy_coldp")
    table = pd.read_csv(real / "col_hierarchy_coldp" / "NameUsage.csv", dtype=str, keep_default_na=False)
    assert checklist.problems.empty
    orders = table[(table["rank"] == "order") & (table.status == "accepted") & table.scientificName.str.isalpha()]
    rows = resolve(orders.scientificName.tolist(), checklist)
    assert (rows.name_status.isin(["accepted", "ambiguous"])).all()
    assert (rows.loc[rows.name_status == "accepted", "kingdom"] != "").all()
    assert set(rows.kingdom) <= {*KINGDOMS, ""}
    assert one("Passeriformes", checklist)[["kingdom", "phylum"]].tolist() == ["Animalia", "Chordata"]


@pytest.fixture(scope="module")
def homonyms(real) -> tuple[pd.DataFrame, Backbone]:
    path = real / "irmng_genus_homonyms_A-L.tsv"
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    table["accepted"] = table.accepted_name.where(table.status == "synonym", table.name)
    table["key"] = [name.canonical for name in parse_names(table.name.tolist())]  # Aëtia and Aetia are homonyms, too
    return table, open_checklist(path)


def outcomes(table: pd.DataFrame, rows: pd.DataFrame) -> pd.Series:
    """Judge each row: right, ambiguous, unresolved, higher (true, but above genus) or wrong."""
    right = rows.scientific_name == table.accepted
    for rank in HIGHER:  # what the list and the row both say
        said = table[rank].where(table[rank].str.fullmatch(r"[A-Z][a-z-]+"), "")
        right &= (rows[rank] == said) | (said == "") | (rows[rank] == "") | ((rank == "kingdom") & ~said.isin(KINGDOMS))
    higher = (rows.genus == "") & (rows.family == table.family)
    judged = right.map({True: "right", False: "wrong"}).mask(higher & ~right, "higher")
    return judged.mask(rows.name_status.isin(["ambiguous", "unresolved"]), rows.name_status)


def taxon_keys(table: pd.DataFrame) -> pd.Series:
    """Tell taxa apart: an accepted usage by its id, that of a synonym by its name and ranks."""
    by_name = table[["accepted", *HIGHER]].agg("|".join, axis=1)
    accepted = table[table.status != "synonym"]
    listed = by_name[accepted.index][~by_name[accepted.index].duplicated(keep=False)]
    ids = dict(zip(listed, accepted.id[listed.index], strict=True))
    return by_name.map(ids).fillna(by_name).where(table.status == "synonym", table.id)


def test_homonyms_are_all_ambiguous_without_context(homonyms):
    table, checklist = homonyms
    assert checklist.problems.empty and len(table) == 43_242 and table["name"].nunique() == 18_027
    names = table.drop_duplicates("name")[::3]  # of 18,027
    rows = resolve(names.name.tolist(), checklist)
    n_taxa = table.assign(taxon=taxon_keys(table)).groupby("key")["taxon"].nunique()
    several = names.key.map(n_taxa).to_numpy() > 1
    assert len(rows) == 6_009 and several.sum() > 5_000
    assert set(rows.loc[several, "name_status"]) == {"ambiguous"}
    assert (rows.loc[several, ["genus", "species"]] == "").all(axis=None)
    assert set(rows.loc[~several, "name_status"]) == {"accepted", "synonym"}  # all usages of one taxon


def test_homonyms_are_separated_by_their_context(homonyms):
    table, checklist = homonyms
    rows = resolve_records(table[HIGHER].assign(verbatim_name=table.name), [checklist])
    judged = outcomes(table, rows)
    assert judged.value_counts().to_dict() == {"right": 35_310, "ambiguous": 7_932}
    n_taxa = table.assign(taxon=taxon_keys(table)).groupby(["key", "kingdom", "family"])["taxon"].transform("nunique")
    separate = (n_taxa == 1) & table.family.str.fullmatch("[A-Z][a-z]+") & table.kingdom.isin(KINGDOMS)
    assert set(judged[separate]) == {"right"} and separate.sum() == 29_127
    assert set(judged[(n_taxa > 1) & (table.family != "")]) == {"ambiguous"}


def test_homonyms_are_separated_by_their_kingdom_alone(homonyms):
    table, checklist = homonyms
    n_taxa = table.assign(taxon=taxon_keys(table)).groupby(["key", "kingdom"])["taxon"].transform("nunique")
    table, n_taxa = table[::10], n_taxa[::10]  # of 43,242
    rows = resolve_records(table[["kingdom"]].assign(verbatim_name=table.name), [checklist])
    judged = outcomes(table, rows)
    is_kingdom = table.kingdom.isin(KINGDOMS)
    assert set(judged[(n_taxa == 1) & is_kingdom]) == {"right"}
    assert set(judged[(n_taxa > 1) | ~is_kingdom]) == {"ambiguous"}


def test_no_homonym_comes_from_another_group_than_its_record_says(homonyms):
    """Contexts of other names, drawn at random."""
    table, checklist = homonyms
    rng = np.random.default_rng(0)
    names, said = table.iloc[rng.integers(0, len(table), 5_000)], table.iloc[rng.integers(0, len(table), 5_000)]
    records = said[HIGHER].assign(verbatim_name=(names.name + " ignota").to_numpy()).reset_index(drop=True)
    rows = resolve_records(records, [checklist])
    placed = rows["rank"] != ""
    assert placed.sum() > 20
    is_kingdom = records.kingdom.isin(KINGDOMS)
    assert (rows.kingdom == records.kingdom)[placed & is_kingdom].all()
    comparable = (rows.family != "") & records.family.str.fullmatch("[A-Z][a-z]+")
    assert ((rows.family == records.family) | (rows.order == records.order))[comparable].all()


def test_homonyms_are_separated_by_their_authors(homonyms):
    """A tenth of them; what is not separated has no author, or one whose name the parser reads otherwise."""
    table, checklist = homonyms[0][::10].reset_index(drop=True), homonyms[1]
    rows = resolve((table.name + " " + table.authorship).tolist(), checklist)
    counts = outcomes(table, rows).value_counts().to_dict()
    assert counts.get("wrong", 0) == 0
    assert counts["right"] > 4_200 and counts.get("unresolved", 0) < 5
