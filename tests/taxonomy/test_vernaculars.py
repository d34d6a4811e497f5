"""English names of checklists: every layout, the order of preference, and what is no name."""

import random
import zipfile

import pandas as pd
import pytest

from bioclip_lib.config import DataConfig
from bioclip_lib.errors import InputError
from bioclip_lib.taxonomy.backbone import open_checklist
from bioclip_lib.taxonomy.ncbi import ncbi
from bioclip_lib.taxonomy.resolution import open_backbones, resolve

from .asking import resolve_records

TAXA = [  # id, parent, accepted, name, rank, status
    ("1", "", "", "Animalia", "kingdom", "accepted"),
    ("2", "1", "", "Paridae", "family", "accepted"),
    ("3", "2", "", "Parus", "genus", "accepted"),
    ("4", "3", "", "Parus major", "species", "accepted"),
    ("5", "4", "", "Parus major newtoni", "subspecies", "accepted"),
    ("6", "3", "", "Parus minor", "species", "accepted"),
    ("7", "", "4", "Parus robustus", "species", "synonym"),
    ("8", "3", "", "Parus cinereus", "species", "accepted"),
    ("9", "3", "", "Parus monticolus", "species", "accepted"),
]
NAMES = [  # taxon, name, language, country, preferred
    ("4", "Kohlmeise", "de", "", "true"),
    ("4", "Oxeye", "en", "", ""),
    ("4", "Great Tit", "en", "", ""),
    ("7", "great tit", "en", "", ""),  # of its synonym: with it, two rows say so
    ("5", "Newton's Great Tit", "en", "", "true"),  # of a subspecies
    ("6", "Eastern Great Tit", "en", "GB", ""),
    ("6", "Japanese Tit", "en", "", ""),  # of no country: before one of a country
    ("8", "Grey Tit", "en-GB", "", ""),
    ("8", "CINEREOUS TIT", "eng", "", ""),  # exactly English, and not in capitals
    ("9", "Himalayan Tit", "en", "", ""),
    ("9", "<i>Green-backed&nbsp;Tit</i>\x07", "en", "", "true"),  # preferred, and without its markup
    ("2", "!!", "en", "", "true"),
    ("2", "Tits & Chickadees", "English", "", ""),
    ("99", "Nobody", "en", "", ""),
]
EXPECTED = {
    "Parus major": "Great Tit",
    "Parus minor": "Japanese Tit",
    "Parus cinereus": "Cinereous tit",
    "Parus monticolus": "Green-backed Tit",
    "Paridae": "Tits & Chickadees",
}
DWC = "http://rs.tdwg.org/dwc/terms/"
META = f"""<archive xmlns="http://rs.tdwg.org/dwc/text/"><core fieldsTerminatedBy="\\t" ignoreHeaderLines="1"
 rowType="{DWC}Taxon"><files><location>taxa.txt</location></files><id index="0"/>
 {{}}</core><extension encoding="UTF-8" fieldsTerminatedBy="\\t" ignoreHeaderLines="0"
 rowType="http://rs.gbif.org/terms/1.0/VernacularName"><files><location>common.txt</location></files>
 <coreid index="0"/><field index="1" term="{DWC}vernacularName"/><field index="2" term="http://purl.org/dc/terms/language"/>
 <field index="3" term="{DWC}countryCode"/><field index="4" term="http://eol.org/isPreferredName"/></extension></archive>"""


def write(folder, layout: str, names=NAMES):
    folder.mkdir(parents=True, exist_ok=True)
    columns = ["taxonID", "parentNameUsageID", "acceptedNameUsageID", "scientificName", "taxonRank", "taxonomicStatus"]
    taxa = pd.DataFrame(TAXA, columns=columns)
    table = pd.DataFrame(names, columns=["taxonID", "vernacularName", "language", "country", "isPreferredName"])
    if layout == "coldp":
        parent = taxa.parentNameUsageID.where(taxa.acceptedNameUsageID == "", taxa.acceptedNameUsageID)
        usages = {"ID": taxa.taxonID, "parentID": parent, "scientificName": taxa.scientificName}
        usages |= {"rank": taxa.taxonRank, "status": taxa.taxonomicStatus}
        pd.DataFrame(usages).to_csv(folder / "NameUsage.tsv", sep="\t", index=False)
        table.columns = ["taxonID", "name", "language", "country", "preferred"]
        table.to_csv(folder / "VernacularName.tsv", sep="\t", index=False)
    elif layout == "dwca":  # the extension has no header: its columns are what meta.xml says
        terms = "".join(f'<field index="{i}" term="{DWC}{c}"/>' for i, c in enumerate(columns))
        (folder / "meta.xml").write_text(META.format(terms))
        taxa.to_csv(folder / "taxa.txt", sep="\t", index=False)
        table.to_csv(folder / "common.txt", sep="\t", index=False, header=False)
    elif layout == "gbif":
        taxa.to_csv(folder / "Taxon.tsv", sep="\t", index=False)
        table.to_csv(folder / "VernacularName.tsv", sep="\t", index=False)
    else:
        address = "https://www.inaturalist.org/taxa/"
        taxa.insert(0, "id", taxa.taxonID)
        for column in columns[:3]:
            taxa[column] = (address + taxa[column]).where(taxa[column] != "", "")
        taxa.to_csv(folder / "taxa.csv", index=False)
        table.rename(columns={"taxonID": "id"}).to_csv(folder / "VernacularNames-english.csv", index=False)
        table.head(1).to_csv(folder / "VernacularNames-german.csv", index=False)
    return folder


def english(checklist) -> dict[str, str]:
    rows = resolve_records(pd.DataFrame({"verbatim_name": list(EXPECTED)}), [checklist])
    return dict(zip(rows.verbatim_name, rows.common_name, strict=True))


@pytest.mark.parametrize("layout", ["coldp", "dwca", "gbif", "inaturalist"])
def test_every_layout_gives_the_same_english_names(tmp_path, layout):
    checklist = open_checklist(write(tmp_path / layout, layout))
    assert english(checklist) == EXPECTED
    assert checklist.problems.empty


@pytest.mark.parametrize("layout", ["coldp", "inaturalist"])
def test_another_language_is_taken_from_the_checklist_alone(tmp_path, layout):
    write(tmp_path / "list", layout)
    data = DataConfig(backbones=(str(tmp_path / "list"), "ncbi"), language="de")
    rows = resolve(["Kohlmeise", "Parus major", "Parus minor", "Blue Jay"], open_backbones(data))
    assert rows["scientific_name"].tolist() == ["Parus major", "Parus major", "Parus minor", "Cyanocitta cristata"]
    assert rows["common_name"].tolist() == ["Kohlmeise", "Kohlmeise", "", ""]  # no English name among German ones
    english = resolve(["Parus major"], open_backbones(DataConfig(backbones=data.backbones)))
    assert english["common_name"].tolist() == ["Great Tit"]


def test_a_language_that_no_backbone_has_is_refused():
    with pytest.raises(InputError, match=r"data\.language=de: .* English names alone; add a checklist"):
        open_backbones(DataConfig(language="de"))
    with pytest.raises(InputError, match=r"data\.language .*xx.*choose"):
        DataConfig(language="xx")


def test_order_of_rows_does_not_count(tmp_path):
    rng = random.Random(0)
    for i in range(5):
        names = rng.sample(NAMES, len(NAMES))
        assert english(open_checklist(write(tmp_path / str(i), "coldp", names))) == EXPECTED


def test_ties_are_broken_by_length_then_alphabet(tmp_path):
    names = [("4", name, "en", "", "") for name in ("Saw-sharpener", "Tom Tit", "Oxeyes", "Oxeyed")]
    assert english(open_checklist(write(tmp_path, "gbif", names)))["Parus major"] == "Oxeyed"


def test_zip_has_them_too(tmp_path):
    folder = write(tmp_path / "any", "dwca")
    with zipfile.ZipFile(tmp_path / "list.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    assert english(open_checklist(tmp_path / "list.zip")) == EXPECTED


def test_name_of_a_subspecies_is_not_that_of_its_species(tmp_path):
    checklist = open_checklist(write(tmp_path, "gbif", [("5", "Newton's Great Tit", "en", "", "true")]))
    row = resolve_records(pd.DataFrame({"verbatim_name": ["Parus major newtoni"]}), [checklist]).iloc[0]
    assert row.scientific_name == "Parus major" and row.common_name.lower() == "great tit"  # NCBI's


def test_ncbi_fills_in_what_the_checklist_lacks_in_the_same_kingdom_only(tmp_path):
    checklist = open_checklist(write(tmp_path, "gbif", []))
    rows = resolve_records(pd.DataFrame({"verbatim_name": ["Parus major", "Parus monticolus"]}), [checklist])
    assert rows.common_name.str.lower().tolist() == ["great tit", "green-backed tit"]
    (tmp_path / "plants").mkdir()
    table = "taxonID\tparentNameUsageID\tscientificName\ttaxonRank\n1\t\tPlantae\tkingdom\n2\t1\tParus major\tspecies\n"
    (tmp_path / "plants" / "taxa.tsv").write_text(table)
    rows = resolve_records(pd.DataFrame({"verbatim_name": ["Parus major"]}), [open_checklist(tmp_path / "plants")])
    assert rows[["kingdom", "common_name"]].values.tolist() == [["Plantae", ""]]
    rows = resolve_records(pd.DataFrame({"verbatim_name": ["Parus major", "Xxus"]}), [ncbi()])
    assert rows.common_name.str.lower().tolist() == ["great tit", ""]


def test_broken_table_is_refused_and_its_odd_rows_are_listed(tmp_path):
    folder = write(tmp_path, "gbif")
    table = (folder / "VernacularName.tsv").read_text(encoding="utf-8")
    (folder / "VernacularName.tsv").write_text(table + "4\tOne too\tmany\tfields\there\tx\n", encoding="utf-8")
    checklist = open_checklist(folder)
    assert english(checklist) == EXPECTED
    assert "6 fields in place of 5" in checklist.problems["reason"].iloc[0]
    (folder / "VernacularName.tsv").write_bytes((table + "4\tMésange\tfr\t\t\n").encode("cp1252"))
    with pytest.raises(InputError, match=r"VernacularName\.tsv.*save it as UTF-8"):
        open_checklist(folder)
    (folder / "VernacularName.tsv").write_text("taxonID\tx\n1\t2\n")
    assert english(open_checklist(folder))["Paridae"] != "Tits & Chickadees"  # no such column: no names from it
