"""NCBI's taxdump, GBIF's simple.txt, TextTree and ACEF as backbones, in the forms that they are published in."""

import gzip

import pytest

from bioclip_lib.errors import InputError
from bioclip_lib.taxonomy.backbone import Backbone, open_checklist

LYNX = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Lynx", "rufus")


def ranks_of(checklist: Backbone, name: str) -> tuple[str, ...]:
    (usage,) = checklist.usages(name)
    return usage.taxon.ranks


def dmp(*rows: tuple) -> bytes:
    return "".join("\t|\t".join(map(str, row)) + "\t|\n" for row in rows).encode()


NODES = dmp(
    *((1, 1, "no rank"), (131567, 1, "cellular root"), (2759, 131567, "domain"), (33208, 2759, "kingdom")),
    *((7711, 33208, "phylum"), (40674, 7711, "class"), (33554, 40674, "order"), (9681, 33554, "family")),
    *((13124, 9681, "genus"), (61384, 13124, "species"), (9900, 61384, "subspecies")),
)
NAMES = dmp(
    *((1, "root", "", "scientific name"), (131567, "cellular organisms", "", "scientific name")),
    *((2759, "Eukaryota", "", "scientific name"), (33208, "Metazoa", "", "scientific name")),
    *((33208, "Animalia", "", "synonym"), (7711, "Chordata", "", "scientific name")),
    *((40674, "Mammalia", "", "scientific name"), (33554, "Carnivora", "", "scientific name")),
    *((9681, "Felidae", "", "scientific name"), (9681, "cat family", "", "genbank common name")),
    *((13124, "Lynx", "", "scientific name"), (13124, "Lynx Kerr, 1792", "", "authority")),
    *((61384, "Lynx rufus", "", "scientific name"), (61384, "Lynx rufus (Schreber, 1777)", "", "authority")),
    *((61384, "Felis rufa", "", "synonym"), (61384, "bobcat", "", "genbank common name")),
    *((61384, 'bay "lynx"', "", "common name"), (61384, "Lynx rufas", "", "misspelling")),
    *((9900, "Lynx rufus texensis", "", "scientific name"),),
)


@pytest.mark.parametrize("packed", ["", "taxdump.tar.gz", "taxdmp.zip"])
def test_taxdump_of_ncbi(tmp_path, write_archive, packed):
    files = {"nodes.dmp": NODES, "names.dmp": NAMES, "merged.dmp": b"12\t|\t74109\t|\n", "readme.txt": b"hello"}
    for name, data in files.items():
        (tmp_path / "taxdump").mkdir(exist_ok=True)
        (tmp_path / "taxdump" / name).write_bytes(data)
    checklist = open_checklist(write_archive(tmp_path / packed, files) if packed else tmp_path / "taxdump")
    assert ranks_of(checklist, "Lynx rufus") == LYNX and ranks_of(checklist, "Lynx rufus texensis") == LYNX
    (synonym,) = checklist.usages("Felis rufa")
    assert synonym.is_synonym and synonym.taxon.id == "61384" and synonym.taxon.common_name == "bobcat"
    assert checklist.usages("Lynx rufus")[0].authorship == "(Schreber, 1777)"
    assert [checklist.at(row).taxon.scientific_name for row in checklist.english("Cat Family")] == ["Felidae"]
    assert not checklist.usages("Lynx rufas")


def simple(*rows: tuple) -> str:
    """Return lines of 30 columns; a row is (id, parent, status, rank, canonical name, authorship)."""
    lines = []
    for key, parent, status, rank, name, author in rows:
        cells = [key, parent, r"\N", "t" if "SYNONYM" in status else "f", status, rank, "{}", "d7dd", "SOURCE", r"\N"]
        cells += [r"\N"] * 7 + ["99", f"{name} {author}".strip(), name, name.split()[0], r"\N", r"\N", r"\N", author]
        lines.append("\t".join(map(str, (cells + [r"\N"] * 30)[:30])) + "\n")
    return "".join(lines)


SIMPLE = simple(
    *((1, r"\N", "ACCEPTED", "KINGDOM", "Animalia", ""), (44, 1, "ACCEPTED", "PHYLUM", "Chordata", "")),
    *((359, 44, "ACCEPTED", "CLASS", "Mammalia", ""), (732, 359, "ACCEPTED", "ORDER", "Carnivora", "")),
    *((9703, 732, "ACCEPTED", "FAMILY", "Felidae", ""), (2435240, 9703, "ACCEPTED", "GENUS", "Lynx", "Kerr, 1792")),
    (2435246, 2435240, "ACCEPTED", "SPECIES", "Lynx rufus", "(Schreber, 1777)"),
    (5787, 2435246, "HETEROTYPIC_SYNONYM", "SPECIES", "Felis rufa", "Schreber, 1777"),
    (5788, 2435246, "MISAPPLIED", "SPECIES", "Felis lynx", "Linnaeus, 1758"),
)


@pytest.mark.parametrize("name", ["simple.txt", "simple.txt.gz", "backbone-current-simple.txt.gz", "gbif.txt"])
def test_simple_txt_of_gbif(tmp_path, name):
    data = SIMPLE.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    checklist = open_checklist(tmp_path / name)
    assert ranks_of(checklist, "Lynx rufus") == LYNX
    (synonym,) = checklist.usages("Felis rufa")
    assert synonym.is_synonym and synonym.taxon.id == "2435246" and synonym.authorship == "Schreber, 1777"
    assert not checklist.usages("Felis lynx") and checklist.problems["name"].tolist() == ["Felis lynx Linnaeus, 1758"]


TREE = """# a tree
Animalia [kingdom]
  Chordata [phylum]
    Mammalia [class]
      Carnivora [order]  {ID=7}
        Felidae Fischer, [1817] [family]
          =Lyncidae Gray [in Gray & Harold], 1825 [family]
          Lynx Kerr, 1792 [genus]
            Lynx rufus (Schreber, 1777) [species] {VERN=en:bobcat} # the small one
              =$Felis rufa Schreber, 1777 [species]
              ≡ Felis ruffus [sic] Gmelin, 1788 [species]
              Lynx rufus texensis J. A. Allen, 1895 [subspecies]
            †Lynx issiodorensis [species]
"""


def test_text_tree(tmp_path):
    (tmp_path / "cats.txtree").write_text(TREE, encoding="utf-8")
    checklist = open_checklist(tmp_path / "cats.txtree")
    assert ranks_of(checklist, "Lynx rufus") == LYNX and checklist.problems.empty
    for name in ("Felis rufa", "Felis ruffus"):
        (synonym,) = checklist.usages(name)
        assert synonym.is_synonym and synonym.taxon.scientific_name == "Lynx rufus"
    assert checklist.usages("Lyncidae")[0].taxon.scientific_name == "Felidae"
    assert ranks_of(checklist, "Lynx issiodorensis")[5:] == ("Lynx", "issiodorensis")
    (tmp_path / "empty.txtree").write_text("# nothing\n")
    with pytest.raises(InputError, match="no line of a tree"):
        open_checklist(tmp_path / "empty.txtree")


def acef(prefix: str = "", separator: str = "\t", epithet: str = "SpeciesEpithet") -> dict[str, bytes]:
    """The tables of Species 2000, columns in the words of one of its versions."""

    def table(columns: str, *rows: str) -> bytes:
        heads = separator.join(prefix + column for column in columns.split())
        return "\n".join([heads, *(row.replace("|", separator) for row in rows)]).encode()

    accepted = f"AcceptedTaxonID Kingdom Phylum Class Order Family Genus {epithet} AuthorString Sp2000NameStatus"
    below = "AcceptedTaxonID ParentSpeciesID InfraSpeciesEpithet InfraSpeciesAuthorString InfraSpeciesMarker"
    synonyms = (
        f"ID AcceptedTaxonID Genus {epithet} AuthorString InfraSpeciesEpithet InfraSpeciesMarker Sp2000NameStatus"
    )
    return {
        "AcceptedSpecies": table(
            accepted, "1|Animalia|Chordata|Mammalia|Carnivora|Felidae|Lynx|rufus|(Schreber)|Accepted name"
        ),
        "AcceptedInfraSpecificTaxa": table(below, "i1|1|texensis|Allen|subsp."),
        "Synonyms": table(synonyms, "s1|1|Felis|rufa|Schreber|||Synonym", "s2|i1|Felis|rufa|Allen|texana|var.|Synonym",
                          "s3|1|Felis|lynx|L.|||Misapplied name"),
        "CommonNames": table("AcceptedTaxonID CommonName Language", "1|Rotluchs|German", "1|Bobcat|English"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("suffix", "form"),
    [(".txt", {}), (".csv", {"prefix": "acef:", "separator": ","}), (".tsv", {"epithet": "Species"})],
)
def test_acef_of_species_2000(tmp_path, write_archive, suffix, form):
    files = {f"{name}{suffix}": data for name, data in acef(**form).items()}
    checklist = open_checklist(write_archive(tmp_path / "legumes.zip", files))
    assert ranks_of(checklist, "Lynx rufus") == LYNX
    assert checklist.usages("Felis rufa")[0].taxon.common_name == "Bobcat"
    for name in ("Lynx rufus texensis", "Felis rufa texana"):
        (usage,) = checklist.usages(name)
        assert usage.taxon.scientific_name == "Lynx rufus" and usage.taxon.below_species == "Lynx rufus texensis"
    assert not checklist.usages("Felis lynx") and checklist.problems["name"].tolist() == ["Felis lynx"]
