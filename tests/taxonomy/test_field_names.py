"""Names of real folders, tables and archives, through the readers: what came out wrong once comes out right.

The inputs lie beside the checkout, in ``shared/field``; its README says what should come out.
"""

import csv
import functools

import pandas as pd
import pytest

from bioclip_lib import RANKS
from bioclip_lib.config import DataConfig
from bioclip_lib.errors import InputError
from bioclip_lib.sources import read_names, read_source
from bioclip_lib.taxonomy import open_backbones

from .acceptance import CASES, SHARED, ncbi_line, one, resolved

FIELD = SHARED / "field"
pytestmark = pytest.mark.skipif(not FIELD.is_dir(), reason=f"inputs of the field are looked for in {FIELD}; not there")
LABELS = list(csv.DictReader((CASES / "field" / "labels.csv").open(encoding="utf-8", newline="")))
FIVE = {
    "Cyanocitta cristata": "Corvidae",
    "Dolichonyx oryzivorus": "Icteridae",
    "Campylorhynchus brunneicapillus": "Certhiidae",  # where NCBI has the wrens; Troglodytidae it does not know
    "Hirundo rustica": "Hirundinidae",
    "Pelecanus occidentalis": "Pelecanidae",
}
DECIDED = [*RANKS, "scientific_name", "rank", "name_status"]


def read_field(photos: str, names: str = "", backbones: tuple[str, ...] = ("ncbi",)) -> pd.DataFrame:
    """Read photographs and resolve their names, as the first notebook does; one row an image."""
    paths = tuple(b if b == "ncbi" else str(FIELD / b) for b in backbones)
    data = DataConfig(photos=str(FIELD / photos), names=str(FIELD / names) if names else "", backbones=paths)
    raw = read_source(data)
    table = resolved(raw, open_backbones(data), read_names(data, raw))
    return table.assign(source_id=raw["source_id"].to_numpy())


@functools.cache
def label_rows() -> pd.DataFrame:
    rows = pd.DataFrame({"source": [str(i) for i in range(len(LABELS))], "verbatim_name": [c["name"] for c in LABELS]})
    return resolved(rows)


@pytest.mark.parametrize("i", range(len(LABELS)), ids=[case["name"] for case in LABELS])
def test_a_label_is_read_as_a_taxonomist_would(i):
    """A label that "must" be read reaches its taxon; any other that, a taxon above it, an unverified genus, or none."""
    case, row = LABELS[i], label_rows().iloc[i]
    if case["certainty"] == "must":
        assert (row["rank"], row["scientific_name"]) == (case["rank"], case["scientific_name"]), row["reason"]
        return
    line = ncbi_line(case["scientific_name"], case["rank"])
    if row["name_status"] == "unverified":
        assert row["genus"] in case["name"]
    else:
        assert {rank: row[rank] for rank in RANKS if row[rank]}.items() <= line.items(), row["rule"]


def assert_five_birds(table: pd.DataFrame, statuses=("accepted",)):
    assert len(table) and set(table["scientific_name"]) == set(FIVE)
    assert set(table["name_status"]) <= set(statuses)
    for row in table.itertuples():
        assert row.family == FIVE[row.scientific_name]
        assert (row.kingdom, row.phylum, row.order != "") == ("Animalia", "Chordata", True)
        assert row.common_name


TABLES = [
    *(f"csv_family/{name}.csv" for name in ("name_class", "name_family", "sci_family", "sci_genus_family")),
    "csv_family/species_family.csv",
    "csv3/category.csv", "csv3/target_taxon.csv", "csv3/dwc_camel.csv", "csv3/dwc_snake.csv",
    "csv3/name_plus_camel.csv", "csv3/full_species_ranks.csv", "hf_parquet/train.parquet", "hf_parquet",
    "hf_parquet_plain",
]  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
def test_the_name_decides_whatever_stands_beside_it(table):
    assert_five_birds(read_field(f"folders/{table}"))


@pytest.mark.parametrize("table", ["bom_semicolon", "case_header", "folder_species", "label_scientificName", "dup"])
def test_tables_of_names_in_every_dress(table):
    assert_five_birds(read_field("folders/names_tables/set", f"folders/names_tables/{table}.csv"))


def test_one_rank_beside_a_name_in_the_users_table():
    table = read_field("folders/names_tables/set", "folders/names_tables/partial_ranks.csv")
    assert_five_birds(table)
    assert (table.loc[table["scientific_name"] == "Cyanocitta cristata", "order"] == "Passeriformes").all()


def test_ranks_and_a_name_with_its_author():
    table = read_field("folders/csv3/sci_plus_ranks.csv").drop_duplicates("verbatim_name").set_index("scientific_name")
    assert table.loc["Cyanocitta cristata", "rank"] == "species"
    assert table.loc["Campylorhynchus brunneicapillus", "order"] == "Passeriformes"  # the gap is filled
    assert table.loc["Campylorhynchus brunneicapillus", "common_name"].casefold() == "cactus wren"
    assert set(table["rank"]) == {"species", "genus", "family"}
    assert table.loc["Icteridae", "reason"]  # a number of BOLD is no name: its family


@pytest.mark.parametrize("table", ["names_only", "with_ranks"])
@pytest.mark.parametrize("backbones", [("folders/coldp", "ncbi"), ("folders/coldp",)], ids=["first", "alone"])
def test_synonyms_of_a_checklist_are_found_beside_ranks(table, backbones):
    rows = read_field(f"folders/csv_synonyms/{table}.csv", backbones=backbones).drop_duplicates("verbatim_name")
    found = rows.set_index("verbatim_name")[["scientific_name", "name_status"]]
    assert found.loc["Parus caeruleus"].tolist() == ["Cyanistes caeruleus", "synonym"]
    assert found.loc["Parus ater"].tolist() == ["Periparus ater", "synonym"]
    assert found.loc["Parus major"].tolist() == ["Parus major", "accepted"]


def test_the_same_archive_as_zip_and_as_folder():
    by_id = [
        read_field(f"folders/{photos}").set_index("source_id")[DECIDED].sort_index()
        for photos in ("dwca_ok", "dwca_zip.zip")
    ]
    pd.testing.assert_frame_equal(*by_id)
    assert "Cyanocitta cristata" in set(by_id[0]["scientific_name"])


def test_the_same_set_as_hub_folder_and_as_file():
    first, second = (read_field(f"folders/{photos}") for photos in ("hf_parquet", "hf_parquet/train.parquet"))
    pd.testing.assert_frame_equal(first[DECIDED], second[DECIDED])


def test_the_same_rows_as_table_and_as_hub_set_and_as_table_of_names():
    table, hub = (read_field(f"folders/{photos}") for photos in ("csv_family/sci_family.csv", "hf_parquet"))
    said = read_field("folders/names_tables/set", "folders/names_tables/label_scientificName.csv")
    mine, theirs, third = (
        rows.drop_duplicates("scientific_name").sort_values("scientific_name")[DECIDED].reset_index(drop=True)
        for rows in (table, hub, said)
    )
    pd.testing.assert_frame_equal(mine, theirs)
    pd.testing.assert_frame_equal(mine[[*RANKS, "scientific_name", "rank"]], third[[*RANKS, "scientific_name", "rank"]])


def test_gbifs_accepted_species_stands_beside_a_synonym():
    table = read_field("files/11_gbif_synonym_beside_its_species")
    names = dict(zip(table["source_id"].str[0], table["scientific_name"], strict=True))
    assert sorted(table["scientific_name"]) == ["Amblyomma americanum", "Amblyomma americanum", "Porphyrio martinica"]
    assert len(names) == 3 or len(table) == 3


def test_an_exact_name_under_an_old_order():
    row = read_field("files/12_order_changed_since").iloc[0]
    assert (row["scientific_name"], row["rank"]) == ("Caperea marginata", "species")
    assert "Cetacea" in row["reason"] or "Balaenidae" in row["reason"]


@pytest.mark.parametrize("folder", ["40_coldp_hyphens", "42_coldp_atoms", "44_short_rows.tsv"])
def test_checklists_whose_files_or_names_are_written_otherwise(folder):
    opened = open_backbones(DataConfig(backbones=(str(FIELD / "files" / folder),)))
    row = one("Parus major", opened)
    assert (row["scientific_name"], row["rank"], row["name_status"]) == ("Parus major", "species", "accepted")
    if folder == "40_coldp_hyphens":
        assert one("great tits", opened)["scientific_name"] == "Parus major"


def test_a_usage_that_points_to_itself_has_a_true_reason():
    opened = open_backbones(DataConfig(backbones=(str(FIELD / "files" / "47_invalid_points_to_itself.tsv"),)))
    assert one("Aus", opened)["scientific_name"] == "Aus"
    reasons = " ".join(getattr(opened[0], "problems", pd.DataFrame({"reason": [""]}))["reason"])
    assert "is not there" not in reasons


@pytest.mark.parametrize("file", ["48_occurrences_as_backbone", "49_no_known_columns.txt"])
def test_what_is_no_checklist_is_refused_in_one_message(file):
    with pytest.raises(InputError) as error:
        open_backbones(DataConfig(backbones=(str(FIELD / "files" / file),)))
    assert "Abeille" not in str(error.value) and "Boddaert" not in str(error.value)  # rows are no columns
