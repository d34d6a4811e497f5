"""Each row of the table of shared/field/README.md, by the steps of notebook 01: a row that is not asked here fails."""

import re

import pandas as pd
import pytest

from bioclip_lib import catalog, sources, taxonomy
from bioclip_lib.config import Config, DataConfig, SplitConfig
from bioclip_lib.errors import InputError
from tests.sources.test_field import FIELD, JAY, field, folders

__all__ = ["field"]  # the fixture
JAYS = {JAY, "Dolichonyx oryzivorus", "Campylorhynchus brunneicapillus", "Hirundo rustica"}


def built(path: str, **data) -> pd.DataFrame:
    """Build the catalog of an input as notebook 01 does."""
    settings = {key: str(FIELD / value) if key in ("names", "extends") else value for key, value in data.items()}
    split = SplitConfig(min_images=settings.pop("min_images", 1))
    config = Config("photos", DataConfig(source="photos", photos=str(FIELD / path), **settings), split)
    raw = sources.read_source(config.data)
    assert sources.look(config.data, raw)
    said = sources.read_names(config.data, raw)
    names = taxonomy.resolve(raw, taxonomy.open_backbones(config.data), said)
    table = catalog.build(raw, names, catalog.inspect_images(raw), config).table
    catalog.check_catalog(table)
    assert len(table) == len(raw)
    return table


def species(*wanted: str):
    """All usable images are of species, the wanted among them."""

    def check(table: pd.DataFrame) -> bool:
        kept = table[table["excluded"] == ""]
        return set(kept["rank"]) == {"species"} and set(wanted) <= set(kept["scientific_name"])

    return check


def sides(*wanted: str):
    return lambda table: set(wanted) <= set(table.loc[table["excluded"] == "", "split"])


def whole_groups(table: pd.DataFrame) -> bool:
    kept = table[(table["excluded"] == "") & (table["group"] != "")]
    return kept["group"].duplicated().any() and kept.groupby("group")["split"].nunique().max() == 1


def backbone(name: str) -> dict:
    return {"backbones": (str(FIELD / name), "ncbi")}


def columns_kept(table: pd.DataFrame) -> bool:
    return (table[["license", "rights_holder", "source_url"]] != "").all(axis=None)


CSV3, NUMBER = "folders/csv3/", "number_beside_darwin_core_term"
TITS = species("Parus major", "Cyanistes caeruleus", "Periparus ater")
ROWS = {
    "folders/csv_family/,": [
        *((f"folders/csv_family/{name}.csv", {}, species(JAY)) for name in ("name_family", "sci_family", "name_class")),
        *((f"folders/csv_family/{name}.csv", {}, species(JAY)) for name in ("sci_genus_family", "species_family")),
        ("folders/csv_synonyms/names_only.csv", backbone("folders/coldp"), TITS),
        ("folders/csv_synonyms/with_ranks.csv", backbone("folders/coldp"), TITS),
        ("folders/names_tables/set", {"names": "folders/names_tables/partial_ranks.csv"}, species(JAY)),
    ],
    "folders/dwca_zip.zip": [
        ("folders/dwca_ok", {}, lambda t: t["class_key"].equals(built("folders/dwca_zip.zip")["class_key"])),
        ("folders/hf_parquet/train.parquet", {}, lambda t: len(t) == len(built("folders/hf_parquet"))),
    ],
    "folders/split_folders,": [
        ("folders/split_folders", {}, sides("train", "val", "test")),
        ("folders/csv_split/labels.csv", {}, sides("train", "val", "test")),
        ("folders/kaggle_flat", {}, species(JAY)),
        ("files/29_imagefolder_given_at_the_right_level", {}, sides("train", "val", "test")),
    ],
    "folders/grow": [("folders/grow/first", {}, lambda t: (t["excluded"] == "").any())],
    "folders/species_then_camera,": [
        ("folders/species_then_camera", {}, species(JAY)),
        ("folders/genus_species", {}, lambda t: set(t["rank"]) <= {"species", "genus"}),
        ("files/21_folder_with_labels_csv", {}, species("Parus major", "Vulpes vulpes")),
        ("files/25_camtrap_dp", {}, "1 class with usable images"),
        ("files/24_coco_camera_trap", {}, species("Lynx rufus", "Odocoileus virginianus")),
    ],
    "folders/one_genus,": [
        ("folders/one_genus", {}, lambda t: t["genus"].nunique() == 1),
        ("folders/one_image", {}, lambda t: (t["split"] != "").any()),
        ("folders/above_genus", {}, lambda t: "species" not in set(t["rank"])),
        ("folders/names_case", {}, species(JAY)),
    ],
    "folders/imagefolder_seasons,": [
        ("folders/imagefolder_seasons", {}, lambda t: len(t) == 50 and species(JAY)(t)),
        ("folders/imagefolder_names", {}, species(JAY)),
        ("folders/imagefolder_semicolon", {}, species(JAY)),
        ("folders/classes_with_exif", {}, species(JAY)),
    ],
    "folders/heic_class,": [
        ("folders/heic_class", {"min_images": 2}, r"fewer than 2 usable images: 'Bombycilla cedrorum' \(0\)"),
        ("folders/empty_class", {"min_images": 2}, species(JAY)),  # a copy by git has no empty folder: test_mislabelled
    ],
    "folders/csv3/category,": [
        *((f"{CSV3}{name}.csv", {}, species(*JAYS)) for name in ("category", "target_taxon", "absolute_windows")),
        *((f"{CSV3}{name}.csv", {}, columns_kept) for name in ("dwc_camel", "dwc_snake", "name_plus_camel")),
    ],
    "folders/csv3/full_species_ranks,": [
        (f"{CSV3}full_species_ranks.csv", {}, species(JAY)),
        (f"{CSV3}sci_plus_ranks.csv", {}, lambda t: {JAY, "Icteridae"} <= set(t["scientific_name"])),
    ],
    "folders/csv3/shifted,": [
        *((f"{CSV3}{name}.csv", {}, r"row \d+: 4 fields in place of 3") for name in ("shifted", "shifted_later")),
    ],
    "folders/names_tables/": [
        *(
            ("folders/names_tables/set", {"names": f"folders/names_tables/{name}.csv"}, species(JAY))
            for name in ("bom_semicolon", "case_header", "dup", "folder_species", "label_scientificName")
        ),
    ],
    "folders/nfd": [("folders/nfd", {}, lambda t: t.loc[t["rank"] == "species", "class_key"].nunique() == 4)],
    "folders/dwca_query_url,": [
        *((f"folders/{name}", {}, whole_groups) for name in ("dwca_query_url", "dwca_saved_by_id")),
        ("files/02_dwca_address_without_suffix", {}, lambda t: (t["excluded"] == "").sum() == 2),
        *(
            (f"files/{name}", {}, r"2 of 3 images .*1/1 \(image not downloaded\).*3/1 .*sources.download")
            for name in ("01_dwca_partial_download", "10_dwca_wrapped_in_a_folder.zip")
        ),
        ("files/01_dwca_partial_download", {"max_unreadable": 1.0}, "1 class with usable images.*2 x image not downl"),
        ("files/05_dwca_associated_media", {"max_unreadable": 0.5}, "1 class with usable images"),
    ],
    "folders/cub_names;": [
        ("folders/cub_names", {}, species(JAY)),
        ("files/26_CUB_200_2011", {}, lambda t: sides("train")(t) and set(t["source_id"].str[:4]) == {"001.", "002."}),
    ],
    "folders/xmp_pairs": [("folders/xmp_pairs", {}, lambda t: (t["excluded"] == "").all())],
    "folders/burst,": [
        ("folders/burst", {}, whole_groups),
        ("folders/inat_export", {}, lambda t: (t["group"] != "").all()),
    ],
    "files/04_": [("files/04_dwca_audubon_core", {}, lambda t: set(t["rights_holder"]) == {"A Museum"})],
    "files/06_,": [
        ("files/06_dwca_first_row_short", {}, "occurrence without an image"),
        ("folders/csv_synonyms/names_only.csv", backbone("files/44_short_rows.tsv"), lambda t: (t["rank"] != "").all()),
    ],
    "files/07_,": [
        ("files/07_dwca_event_core", {}, "export it with the occurrence extension"),
        ("files/09_dwca_core_in_two_files", {}, lambda t: len(t) == 2),
    ],
    "files/11_": [
        (
            *("files/11_gbif_synonym_beside_its_species", {"merge_synonyms": True}),
            species("Amblyomma americanum", "Porphyrio martinica"),
        ),
    ],
    "files/12_": [("files/12_order_changed_since", {}, "1 class with usable images")],
    "files/20_tables/": [
        *((f"files/20_tables/{name}.csv", {}, species("Parus major")) for name in ("timelapse", "image_name")),
        *((f"files/20_tables/{name}.csv", {}, species("Parus major")) for name in ("darwin_core_term", NUMBER)),
        ("files/20_tables/family_only.csv", {}, lambda t: t["scientific_name"][0] == "Hystricidae"),
        ("files/20_tables/inat_export.csv", {}, r"whose addresses .*photos/1/medium.jpg\); download them there"),
        ("files/20_tables/kaggle_ids.csv", {}, r"none of the 2 class names .*boston_bull, whippet.*\(id, breed\)"),
        ("files/20_tables/kaggle_ids.csv", {"taxa": False}, lambda t: t["class_key"][0] == "boston bull"),
    ],
    "files/28_": [("files/28_zip_of_class_folders.zip", {}, species(JAY))],
    "files/40_,": [
        ("folders/split_folders", backbone("files/40_coldp_hyphens"), species(JAY)),
        ("folders/split_folders", backbone("files/42_coldp_atoms"), species(JAY)),
    ],
    "files/47_,": [
        ("folders/split_folders", backbone("files/47_invalid_points_to_itself.tsv"), species(JAY)),
        ("folders/split_folders", backbone("files/48_occurrences_as_backbone"), "no checklist"),
        ("folders/split_folders", backbone("files/49_no_known_columns.txt"), r"has no|no column|known column"),
    ],
}  # fmt: skip
ELSEWHERE = ("folders/names/labels.txt,", "files/licence_texts.txt")  # names alone, and wordings: their packages' tests


def test_each_row_of_the_table_is_asked(field):
    lines = [line for line in (field / "README.md").read_text().splitlines() if re.match(r"\| f(older|ile)", line)]
    assert sorted(line.split()[1] for line in lines) == sorted([*ROWS, *ELSEWHERE])


CASES = [(row, *case) for row, cases in ROWS.items() for case in cases]


@pytest.mark.parametrize(
    ("row", "path", "settings", "expected"), CASES, ids=[f"{c[1]}{i}" for i, c in enumerate(CASES)]
)
def test_what_comes_out_is_what_the_table_says(field, row, path, settings, expected):
    if not isinstance(expected, str):
        assert expected(built(path, **settings))
        return
    with pytest.raises(InputError, match=expected):
        built(path, **settings)


def test_a_table_that_grows_in_the_middle_moves_no_image(field, tmp_path):
    first = built("folders/grow/first")
    catalog.write_catalog(first, tmp_path / "c.parquet")
    second = built("folders/grow/second", extends=str(tmp_path / "c.parquet"))
    now, then = (t[t["excluded"] == ""].set_index("sha256")["split"] for t in (second, first))
    assert len(now) > len(then) and now[then.index].equals(then)


ONE_GENUS = [
    ["Bombus terrestris/1.jpg", "Bombus lucorum/2.jpg"],
    ["bombus/terrestris/1.jpg", "bombus/lucorum/2.jpg"],
    ["Bombus_terrestris_L./1.jpg", "Bombus sp./2.jpg"],
    ["Apidae/Bombus/terrestris/1.jpg", "Apidae/Bombus/lucorum/2.jpg"],
]


@pytest.mark.parametrize("names", ONE_GENUS)
def test_a_collection_of_one_genus_or_of_classes_of_one_image(tmp_path, jpeg, names):
    table = built(str(folders(tmp_path, jpeg, *names)))
    assert set(table["genus"]) == {"Bombus"} and table["class_key"].nunique() == 2
    assert (table["split"] == "train").all()  # of one image each: none is tested, none held out


@pytest.mark.parametrize("header", ["genus,species", "Gattung;Art", "scientificName\tsex"])
def test_a_table_of_one_genus(tmp_path, jpeg, header):
    rows = {",": "Bombus,terrestris", ";": "Bombus;terrestris", "\t": "Bombus terrestris\tf"}
    sign = next(sign for sign in rows if sign in header)
    rows = [rows[sign], rows[sign].replace("terrestris", "lucorum")]
    text = [f"{i}.jpg{sign}{row}" for i, row in enumerate(rows, 1)]
    (folders(tmp_path, jpeg, "1.jpg", "2.jpg") / "t.csv").write_text("\n".join([f"file{sign}{header}", *text]))
    table = built(str(tmp_path / "t.csv"))
    assert set(table["scientific_name"]) == {"Bombus terrestris", "Bombus lucorum"}


def test_epithets_alone_are_no_taxa(tmp_path, jpeg):
    with pytest.raises(InputError, match="none of the 2 class names is a name of a taxon: lucorum, terrestris"):
        built(str(folders(tmp_path, jpeg, "terrestris/1.jpg", "lucorum/2.jpg")))
