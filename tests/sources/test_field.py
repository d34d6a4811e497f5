"""Inputs in the shape of what people have, as shared/field/README.md lists them; and more of each kind."""

import json
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from bioclip_lib.config import DataConfig
from bioclip_lib.errors import InputError
from bioclip_lib.sources import look, read_names, read_source

FIELD = Path(__file__).resolve().parents[2].parent / "shared" / "field"
JAY, BOBOLINK, WREN = "Cyanocitta cristata", "Dolichonyx oryzivorus", "Campylorhynchus brunneicapillus"


@pytest.fixture(scope="module")
def field() -> Path:
    if not FIELD.is_dir():
        pytest.skip(f"inputs of the field are looked for in {FIELD}; not there")
    return FIELD


def config(path: Path, **settings) -> DataConfig:
    return DataConfig(source="photos", photos=str(path), **settings)


def read(path: Path, **settings) -> pd.DataFrame:
    raw = read_source(config(path, **settings))
    assert not raw.duplicated(["source", "source_id"]).any() and set(raw["location"].map(type)) == {str}
    usable = raw[raw["problem"] == ""]
    assert all(Path(place.partition("::")[0]).is_file() for place in usable["location"])
    assert not usable["location"].duplicated().any(), "one file for several rows"
    return raw


NAMES = {
    "folders/csv_split": {"Blue Jay", "Bobolink", "Cactus Wren", "Barn Swallow", "Brown Pelican", "Cedar Waxwing"},
    "folders/species_then_camera": {
        "Barn_Swallow", "Blue_Jay", "Bobolink", "Cactus_Wren", "Brown_Pelican", "Cedar_Waxwing"
    },
    "folders/imagefolder_names": {"Blue Jay", "Bobolink", "Brown Pelican", "Cactus Wren", "Barn Swallow"},
    "folders/csv3/category.csv": {JAY, BOBOLINK, WREN, "Hirundo rustica", "Pelecanus occidentalis"},
    "files/20_tables/darwin_core_term.csv": {"Parus major", "Vulpes vulpes"},
    "files/20_tables/number_beside_darwin_core_term.csv": {"Parus major", "Vulpes vulpes"},
    "files/20_tables/timelapse.csv": {"Parus major", "Vulpes vulpes"},
    "files/20_tables/family_only.csv": {"Hystricidae", "Parus major"},
    "files/20_tables/image_name.csv": {"Parus major L.", "Vulpes vulpes L."},
    "files/20_tables/kaggle_ids.csv": {"boston_bull", "whippet"},
    "files/21_folder_with_labels_csv": {"Parus major", "Vulpes vulpes"},
    "files/24_coco_camera_trap": {"empty", "lynx rufus", "odocoileus virginianus"},
    "files/26_CUB_200_2011": {"001.Black_footed_Albatross", "002.Laysan_Albatross"},
    "files/28_zip_of_class_folders.zip": {"Blue_Jay", "House_Wren"},
    "files/29_imagefolder_given_at_the_right_level": {"Blue_Jay", "House_Wren"},
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_are_names(field, name):
    assert set(read(field / name)["verbatim_name"]) == NAMES[name]


@pytest.mark.parametrize(
    "name", ["absolute_windows", "category", "dwc_camel", "dwc_snake", "name_plus_camel", "target_taxon"]
)
def test_tables_as_people_write_them(field, name):
    raw = read(field / "folders" / "csv3" / f"{name}.csv")
    assert len(raw) == 30 and set(raw["problem"]) == {""}
    if name.startswith(("dwc", "name")):
        assert (raw[["license", "rights_holder", "source_url"]] != "").all(axis=None)


@pytest.mark.parametrize("name", ["shifted", "shifted_later"])
def test_a_shifted_row_is_refused(field, name):
    with pytest.raises(InputError, match=r"row \d+: 4 fields in place of 3"):
        read(field / "folders" / "csv3" / f"{name}.csv")


SPLITS = {
    "folders/split_folders": {"train", "val", "test"},
    "folders/csv_split": {"train", "val", "test"},
    "files/29_imagefolder_given_at_the_right_level": {"train", "val", "test"},
    "files/26_CUB_200_2011": {"train", "test"},
    "folders/kaggle_flat": {"train"},
}


@pytest.mark.parametrize("name", SPLITS)
def test_the_users_splits_are_kept_and_said(field, name):
    raw = read(field / name)
    assert set(raw["source_split"]) == SPLITS[name]
    assert "splits: " in look(config(field / name))


ARCHIVES = {
    "files/01_dwca_partial_download": ["", "photos/102/original.jpg", ""],
    "files/02_dwca_address_without_suffix": ["media/0a1b2c3d.jpg", "format/large.jpg"],
    "files/04_dwca_audubon_core": ["assets/a1.jpg", "assets/a2.jpg"],
    "files/05_dwca_associated_media": ["a.jpg", ""],
    "files/09_dwca_core_in_two_files": ["a.jpg", "b.jpg"],
    "files/10_dwca_wrapped_in_a_folder.zip": ["", "photos/102/original.jpg", ""],
    "files/11_gbif_synonym_beside_its_species": ["a.jpg", "b.jpg", "c.jpg"],
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_images_of_archives_are_matched_where_that_is_certain(field, name):
    raw = read(field / name)
    places = raw["location"].tolist()
    assert all(
        place.endswith(end) and bool(place) == bool(end) for place, end in zip(places, ARCHIVES[name], strict=False)
    )
    assert (raw["problem"] == "").sum() == sum(map(bool, ARCHIVES[name]))


def test_audubon_core_and_the_accepted_species(field):
    raw = read(field / "files" / "04_dwca_audubon_core")
    assert set(raw["license"]) == {"http://creativecommons.org/licenses/by-nc/4.0/"}
    assert set(raw["rights_holder"]) == {"A Museum"}
    raw = read(field / "files" / "11_gbif_synonym_beside_its_species")
    assert raw["scientific_name"].tolist() == ["Amblyomma americanum", "Amblyomma americanum", "Porphyrio martinica"]


@pytest.mark.parametrize("name", ["dwca_query_url", "dwca_saved_by_id", "dwca_zip.zip"])
def test_one_archive_in_several_forms(field, name):
    columns = ["source_id", "verbatim_name", "problem", "license", "group"]
    ok, raw = read(field / "folders" / "dwca_ok"), read(field / "folders" / name)
    assert raw[columns].equals(ok[columns])
    assert [Path(place).read_bytes() for place in ok["location"] if place] == [_bytes(p) for p in raw["location"] if p]
    assert raw.loc[raw["problem"] == "", "group"].nunique() < (raw["problem"] == "").sum()


def _bytes(location: str) -> bytes:
    path, _, member = location.partition("::")
    return zipfile.ZipFile(path).read(member) if member else Path(path).read_bytes()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("files/06_dwca_first_row_short", "occurrence without an image"),
        ("files/07_dwca_event_core", "no table of occurrences.*export it with the occurrence extension"),
        ("folders/gbif_simple/0001234-2402.zip", "holds no image"),
    ],
)
def test_what_is_refused_says_what_to_give_instead(field, name, message):
    with pytest.raises(InputError, match=message):
        data = config(field / name)
        read_names(data, read_source(data))


@pytest.mark.parametrize(
    "name", ["bom_semicolon", "case_header", "dup", "folder_species", "label_scientificName", "partial_ranks"]
)
def test_names_tables(field, name):
    data = config(field / "folders/names_tables/set", names=str(field / f"folders/names_tables/{name}.csv"))
    said = read_names(data, read_source(data)).set_index("class_name")
    assert said.loc["sp_0", "scientific_name"] == JAY and len(said) == 5


def test_names_match_whatever_the_case_and_the_accents(field):
    for name, n in (("names_case", 6), ("nfd", 5), ("names_partial", 3)):
        data = config(field / "folders" / name)
        raw = read_source(data)
        said = read_names(data, raw)
        assert len(set(said["class_name"]) & set(raw["verbatim_name"])) == n


def test_a_names_table_that_names_no_class_gives_both_lists(tmp_path, jpeg):
    (tmp_path / "set" / "Blue_Jay").mkdir(parents=True)
    (tmp_path / "set" / "Blue_Jay" / "1.jpg").write_bytes(jpeg(0))
    (tmp_path / "n.csv").write_text("class_name,scientific_name\nsp9,Parus major\n")
    data = config(tmp_path / "set", names=str(tmp_path / "n.csv"))
    with pytest.raises(InputError, match=r"names no class .* it has sp9, they are called Blue_Jay"):
        read_names(data, read_source(data))


def test_seasons_exif_sidecars_and_empty_classes(field):
    raw = read(field / "folders" / "imagefolder_seasons")
    assert len(raw) == 50 and set(raw["problem"]) == {""}
    assert set(read(field / "folders" / "imagefolder_semicolon")["verbatim_name"]) >= {"Blue Jay", "Bobolink"}
    assert "Blue_Jay" in set(read(field / "folders" / "classes_with_exif")["verbatim_name"])
    assert "tables not used: metadata.csv" in look(config(field / "folders" / "classes_with_exif"))
    pairs = config(field / "folders" / "xmp_pairs")
    assert set(read_source(pairs)["problem"]) == {""} and "24 .xmp" in look(pairs)
    raw = read(field / "folders" / "heic_class")
    assert raw["source_id"].str.endswith(".HEIC").sum() == 6


def test_camera_traps(field):
    raw = read(field / "files" / "25_camtrap_dp")
    assert raw["verbatim_name"].tolist() == ["Vulpes vulpes", ""] and raw["problem"][1] == "image of no taxon (blank)"
    assert set(raw["license"]) == {"CC-BY-4.0"} and raw["group"].nunique() == 2
    raw = read(field / "files" / "24_coco_camera_trap")
    assert (raw["problem"] == "image of no taxon (empty)").sum() == 2


def folders(root: Path, jpeg, *names: str) -> Path:
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(jpeg(i % 5))
    return root


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["Training/Blue_Jay/1.jpg", "validation/Robin/2.jpg"], {("Blue_Jay", "train"), ("Robin", "val")}),
        (["Blue_Jay/train/1.jpg", "Robin/test/2.jpg"], {("Blue_Jay", "train"), ("Robin", "test")}),
        (["images/train/Blue_Jay/1.jpg", "images/val/Robin/2.jpg"], {("Blue_Jay", "train"), ("Robin", "val")}),
        (["Blue_Jay/images/1.jpg", "Robin/images/2.jpg"], {("Blue_Jay", ""), ("Robin", "")}),
        (["Blue_Jay/2020-05-01/1.jpg", "Robin/100MEDIA/2.jpg"], {("Blue_Jay", ""), ("Robin", "")}),
        ([f"CAM0{i}/{name}/{i}.jpg" for i in (1, 2) for name in ("Acer", "Robin")], {("Acer", ""), ("Robin", "")}),
        (["Paridae/Parus/major/1.jpg", "Turdidae/Turdus/merula/2.jpg"], {("Parus major", ""), ("Turdus merula", "")}),
        (["Paridae/Parus major/1.jpg", "Turdidae/Turdus merula/2.jpg"], {("Parus major", ""), ("Turdus merula", "")}),
        (["Citrus/Citrus maxima/1.jpg", "Rubus/Rubus idaeus/2.jpg"], {("Citrus maxima", ""), ("Rubus idaeus", "")}),
        (["2019/Parus major/1.jpg", "2020/Turdus merula/2.jpg"], {("Parus major", ""), ("Turdus merula", "")}),
        (["Aves/Parus major/1.jpg", "Plantae/Acer rubrum/2.jpg"], {("Parus major", ""), ("Acer rubrum", "")}),
        (["parus/major/1.jpg", "turdus/merula/2.jpg"], {("parus major", ""), ("turdus merula", "")}),
        (["PARUS/MAJOR/1.jpg", "TURDUS/MERULA/2.jpg"], {("PARUS MAJOR", ""), ("TURDUS MERULA", "")}),
        (["Animalia/lion/1.jpg", "Plantae/oak/2.jpg"], {("lion", ""), ("oak", "")}),
        (["Bombus/terrestris/1.jpg", "Bombus/lucorum/2.jpg"], {("Bombus terrestris", ""), ("Bombus lucorum", "")}),
        (["entraînement/lion/1.jpg", "validación/oak/2.jpg"], {("lion", "train"), ("oak", "val")}),
        (["Trainingsdaten/lion/1.jpg", "Testdaten/oak/2.jpg"], {("lion", "train"), ("oak", "test")}),
        (["treino/lion/1.jpg", "teste/oak/2.jpg"], {("lion", "train"), ("oak", "test")}),
    ],
)  # fmt: skip
def test_nested_folders(tmp_path, jpeg, names, expected):
    raw = read(folders(tmp_path, jpeg, *names))
    split = raw.get("source_split", pd.Series("", index=raw.index))
    assert set(zip(raw["verbatim_name"], split, strict=True)) == expected


def test_a_higher_folder_is_the_context_of_the_name(tmp_path, jpeg):
    raw = read(folders(tmp_path, jpeg, "Paridae/Parus major/1.jpg", "Turdidae/Turdus merula/2.jpg"))
    assert raw["family"].tolist() == ["Paridae", "Turdidae"]


@pytest.mark.parametrize(
    ("names", "ranks"),
    [
        (["Passeriformes/Paridae/Parus major/1.jpg", "Carnivora/Canidae/Vulpes vulpes/2.jpg"], ["order", "family"]),
        (["Aves/Passeriformes/Parus major/1.jpg", "Mammalia/Carnivora/Vulpes vulpes/2.jpg"], ["order"]),
        (["Chordata/Paridae/Parus/major/1.jpg", "Chordata/Canidae/Vulpes/vulpes/2.jpg"], ["phylum", "family"]),
        (["train/Passeriformes/Parus major/1.jpg", "val/Carnivora/Vulpes vulpes/2.jpg"], ["order"]),
    ],
)
def test_folders_of_higher_taxa_are_context_and_no_sets(tmp_path, jpeg, names, ranks):
    raw = read(folders(tmp_path, jpeg, *names)).sort_values("verbatim_name")
    lineage = {"order": "Passeriformes", "family": "Paridae", "phylum": "Chordata"}
    assert raw["source"].nunique() == 1 and raw["verbatim_name"].tolist() == ["Parus major", "Vulpes vulpes"]
    assert raw[ranks].iloc[0].tolist() == [lineage[rank] for rank in ranks]
    assert {c for c in raw if c in lineage} == set(ranks)


def test_two_readings_are_refused_and_a_setting_chooses(tmp_path, jpeg):
    names = [f"{a}/{b}/{i}.jpg" for a in ("xqa", "xqb") for b in ("wet", "dry") for i in range(2)]
    root = folders(tmp_path, jpeg, *names)
    with pytest.raises(InputError, match=r"two ways.*xqa, xqb.*data.layout=class/-.*data.layout=set/class"):
        read(root)
    assert set(read(root, layout="class/-")["verbatim_name"]) == {"xqa", "xqb"}
    assert set(read(root, layout="set/class")["verbatim_name"]) == {"wet", "dry"}
    with pytest.raises(InputError, match="is no layout"):
        read(root, layout="class/camera")


@pytest.mark.parametrize("pair", [("001", "002"), ("CAM01", "CAM02"), ("images_1", "images_2")])
def test_numbers_cameras_and_plain_words_are_no_classes(tmp_path, jpeg, pair):
    data = config(folders(tmp_path, jpeg, *(f"{folder}/1.jpg" for folder in pair)))
    with pytest.raises(InputError, match=r"class names is a name of a taxon|that name no class"):
        read_names(data, read_source(data))


def test_a_table_that_contradicts_the_folders_is_refused(tmp_path, jpeg):
    root = folders(tmp_path, jpeg, "Blue_Jay/1.jpg", "Robin/2.jpg", "Blue_Jay/3.jpg")
    (root / "labels.csv").write_text(
        "file,species\nBlue_Jay/1.jpg,Parus major\nRobin/2.jpg,Parus major\nBlue_Jay/3.jpg,x y\n"
    )
    with pytest.raises(InputError, match=r"two ways: by labels.csv .* or by its folders"):
        read(root)
    assert set(read(root, layout="class")["verbatim_name"]) == {"Blue_Jay", "Robin"}
    assert set(read(root / "labels.csv")["verbatim_name"]) == {"Parus major", "x y"}


@pytest.mark.parametrize("packed", ["a.zip", "a.tar", "a.tar.gz"])
def test_class_folders_in_archives(tmp_path, jpeg, write_archive, packed):
    files = {"set/train/Blue_Jay/1.jpg": jpeg(0), "set/test/Robin/2.jpg": jpeg(1), "set/README.md": b"x"}
    raw = read(write_archive(tmp_path / packed, files))
    assert raw[["verbatim_name", "source_split"]].to_numpy().tolist() == [["Blue_Jay", "train"], ["Robin", "test"]]


def test_links_are_followed_where_the_user_allows_it(tmp_path, jpeg):
    store = folders(tmp_path / "store", jpeg, "1.jpg", "deep/2.jpg")
    root = folders(tmp_path / "set", jpeg, "Robin/3.jpg")
    (root / "Robin" / "1.jpg").symlink_to(store / "1.jpg")
    (root / "Robin" / "deep").symlink_to(store / "deep")
    (root / "Robin" / "loop").symlink_to(root)
    assert (read(root)["problem"] == "").sum() == 1
    raw = read(root, follow_links=True)
    assert (raw["problem"] == "").sum() == 3 and set(raw["verbatim_name"]) == {"Robin"}


COLUMNS = [
    ("Image Path", "Scientific Name"),
    ("SourceFile", "taxon"),
    ("img_name", "Label"),
    ("filepaths", "labels"),
    ("dwc:fileName", "dwc:scientificName"),
    ("photo", "binomial"),
    ("mediaFile", "acceptedScientificName"),
    ("image_filename", "latin_name"),
    ("image_name", "vernacularName"),
]


@pytest.mark.parametrize(("path", "name"), COLUMNS)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_column_names_of_the_field(tmp_path, jpeg, path, name, delimiter):
    folders(tmp_path, jpeg, "1.jpg", "2.jpg")
    rows = [("id", path, name, "class_id"), ("7", "1.jpg", "Parus major", "3"), ("8", "2.jpg", "Turdus merula", "4")]
    (tmp_path / "t.csv").write_text("\n".join(delimiter.join(row) for row in rows))
    assert read(tmp_path / "t.csv")["verbatim_name"].tolist() == ["Parus major", "Turdus merula"]


def test_files_called_by_the_records_of_a_table(tmp_path, jpeg):
    folders(tmp_path, jpeg, "in/901.jpg", "in/902.jpg", "in/903_1.jpg")
    rows = [f"{i}\ta\t{name}" for i, name in ((901, "Parus major"), (902, "Turdus merula"), (903, "Acer rubrum"))]
    (tmp_path / "0001-2.csv").write_text("\n".join(["gbifID\tdatasetKey\tscientificName", *rows]))
    assert read(tmp_path)["location"].map(lambda place: Path(place).name).tolist() == [
        "901.jpg",
        "902.jpg",
        "903_1.jpg",
    ]


def test_paths_written_as_addresses(tmp_path, jpeg):
    folders(tmp_path, jpeg, "my pics/1 a.jpg", "my pics/2.jpg")
    (tmp_path / "t.csv").write_text("image,label\nmy%20pics/1%20a.jpg,Robin\nmy%20pics/2.jpg,Blue Jay\n")
    assert read(tmp_path / "t.csv")["problem"].tolist() == ["", ""]


def test_a_table_that_names_nothing_is_said_with_its_columns(tmp_path, jpeg):
    folders(tmp_path, jpeg, "1.jpg", "2.jpg")
    (tmp_path / "labels.csv").write_text("image,blue_jay,robin\n1.jpg,1,0\n2.jpg,0,1\n")
    with pytest.raises(InputError, match=r"tables there: labels.csv \(image, blue_jay, robin\)"):
        read(tmp_path)


def test_splits_and_groups_of_a_table(tmp_path, jpeg):
    folders(tmp_path, jpeg, "1.jpg", "2.jpg", "3.jpg")
    text = "image_name;species;obs_id;learn_tag\n1.jpg;Aa b;o1;train\n2.jpg;Aa b;o1;Train\n3.jpg;Aa b;o2;TEST\n"
    (tmp_path / "t.csv").write_text(text)
    raw = read(tmp_path / "t.csv")
    assert raw["source_split"].tolist() == ["train", "train", "test"] and raw["group"].tolist() == ["o1", "o1", "o2"]


def test_genus_and_epithet_in_parts(tmp_path, jpeg):
    folders(tmp_path, jpeg, "1.jpg")
    (tmp_path / "t.csv").write_text("path,Genus,specificEpithet,family\n1.jpg,Parus,major,Paridae\n")
    raw = read(tmp_path / "t.csv")
    assert raw["verbatim_name"].tolist() == ["Parus major"] and raw["family"].tolist() == ["Paridae"]


@pytest.mark.parametrize(
    ("header", "row", "name"),
    [
        ("scientificName,identificationQualifier", "Parus major,cf.", "Parus cf. major"),
        ("scientificName,identificationQualifier", "Parus major L.,aff. major", "Parus aff. major L."),
        ("scientificName,identificationQualifier", "Parus major,?", "Parus cf. major"),
        ("scientificName,identificationQualifier", "Parus major,agg.", "Parus major agg."),
        ("scientificName,identificationQualifier", "Parus major,sensu Smith", "Parus major"),
        ("scientificName,identificationQualifier", "Parus cf. major,cf.", "Parus cf. major"),
        ("genus,qualifier,species", "Parus,cf.,major", "Parus cf. major"),
        ("genus,species", "Parus,cf. major", "Parus cf. major"),
        ("genus,species", "Quercus,robur x petraea", "Quercus robur x petraea"),
        ("genus,species", "Parus,sp. 1", "Parus sp. 1"),
        ("genus,species", "Parus,P. major", "Parus major"),
        ("genus,species", "Vulpes,red fox", "red fox"),
        ("genus,species", "Parus,NA", "Parus"),
        ("family,genus,species", "Paridae,nan,None", "Paridae"),
    ],
)
def test_what_doubts_a_name_stays_with_it(tmp_path, jpeg, header, row, name):
    raw = read(table_of(tmp_path, jpeg, f"path,{header}", f"1.jpg,{row}"))
    assert raw["verbatim_name"].tolist() == [name]


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("classes.csv", "class_id,class_name\n0,Parus major\n1,Acer rubrum"),
        ("classes.csv", "name,id\nParus major,0\nAcer rubrum,1"),
        ("n.csv", "idx;species\n0;Parus major\n1;Acer rubrum"),
        ("cat_to_name.json", '{"0": "Parus major", "1": "Acer rubrum"}'),
    ],
)
def test_numbers_of_classes_and_what_they_mean(tmp_path, jpeg, file, says):
    table_of(tmp_path, jpeg, "file,class_id", "1.jpg,0", "2.jpg,1", name="labels.csv")
    with pytest.raises(InputError, match=r"none of the 2 class names .*0, 1"):
        read_names(config(tmp_path), read_source(config(tmp_path)))
    (tmp_path / file).write_text(says)
    data = config(tmp_path, names="" if file == "classes.csv" else str(tmp_path / file))
    said = read_names(data, read_source(data))
    assert said[["class_name", "scientific_name"]].to_numpy().tolist() == [["0", "Parus major"], ["1", "Acer rubrum"]]


@pytest.mark.parametrize("says", ["[1]", '{"0": ["x"]}', "{"])
def test_json_that_names_nothing_is_one_message(tmp_path, jpeg, says):
    table_of(tmp_path, jpeg, "file,class_id", "1.jpg,0", "2.jpg,1", name="labels.csv")
    (tmp_path / "n.json").write_text(says)
    data = config(tmp_path, names=str(tmp_path / "n.json"))
    with pytest.raises(InputError, match=r"n.json is no JSON object of names by class; give a CSV"):
        read_names(data, read_source(data))


@pytest.mark.parametrize("header", ["bird", "Nome do peixe", "kind of animal", "fruit_type"])
def test_the_only_column_of_taxa_is_the_names_whatever_it_is_called(tmp_path, jpeg, header):
    rows = ["1.jpg,Parus major,sunny,3,Acer", "2.jpg,Blue Jay,rain,4,Quercus", "3.jpg,Vulpes vulpes,sunny,5,Acer"]
    raw = read(table_of(tmp_path, jpeg, f"file,{header},weather,n,host_plant", *rows))
    assert raw["verbatim_name"].tolist() == ["Parus major", "Blue Jay", "Vulpes vulpes"]
    rows = [row.replace("sunny", "Bombus").replace("rain", "Apis mellifera") for row in rows]
    with pytest.raises(InputError, match=r"no column for the name: found file, .*weather"):
        read(table_of(tmp_path, jpeg, f"file,{header},weather,n,host_plant", *rows))


@pytest.mark.parametrize("header", ["identifier,mediaIdentifier", "photo_url,identifier", "imageURL,identifier"])
def test_a_number_is_no_address_where_one_stands_beside_it(tmp_path, jpeg, header):
    values = ["{}7,http://x/{}.jpg", "http://x/{}.jpg,{}7"][header[0] != "i" or header[1] == "m"]
    rows = [f"{values.replace('{}', str(i))},Parus major" for i in (1, 2, 3)]
    raw = read(table_of(tmp_path, jpeg, f"{header},species", *rows))
    assert raw["location"].str[-5:].tolist() == ["1.jpg", "2.jpg", "3.jpg"]


def test_a_missing_folder_is_not_replaced_by_another(tmp_path, jpeg):
    folders(tmp_path, jpeg, "site0/001.jpg", "site0/002.jpg")
    (tmp_path / "t.csv").write_text("path,name\nsite1/001.jpg,Parus major\nsite0/002.jpg,Turdus merula\n")
    assert read(tmp_path / "t.csv")["problem"].tolist() == ["file not found", ""]


def coco(root: Path, categories=("Parus major", "empty"), **image) -> Path:
    images = [{"id": i, "file_name": f"a/{i}.jpg", "seq_id": f"s{i // 2}", **image} for i in range(4)]
    labels = [{"id": i, "image_id": i, "category_id": i % len(categories), "bbox": [1, 1, 9, 9]} for i in range(4)]
    content = {
        "images": images,
        "annotations": labels,
        "categories": [{"id": i, "name": n} for i, n in enumerate(categories)],
    }
    (root / "x.json").write_text(json.dumps(content))
    return root


@pytest.mark.parametrize("quoted", ["images", "annotations", "categories"])
def test_coco_ids_quoted_in_one_table_alone(tmp_path, jpeg, quoted):
    root = coco(folders(tmp_path, jpeg, *(f"a/{i}.jpg" for i in range(4))))
    whole, content = read(root, boxes="whole"), json.loads((root / "x.json").read_text())
    for row in content[quoted]:
        row.update({key: str(row[key]) for key in ("id", "image_id", "category_id") if key in row})
    (root / "x.json").write_text(json.dumps(content))
    assert read(root, boxes="whole").equals(whole)


def test_coco_beside_the_images_of_each_split(tmp_path, jpeg):
    for split in ("train", "valid", "test"):
        root = coco(folders(tmp_path / split, jpeg, *(f"a/{i}.jpg" for i in range(4))))
        (root / "x.json").rename(root / "_annotations.coco.json")
    raw = read(tmp_path, boxes="whole")
    kept = raw[raw["problem"] == ""]
    assert kept["source_split"].value_counts().to_dict() == {"train": 2, "val": 2, "test": 2}
    assert all(place.endswith(key) for place, key in zip(kept["location"], kept["source_id"], strict=True))


def test_coco_classes_called_by_numbers_beside_their_species(tmp_path, jpeg):
    root = coco(folders(tmp_path, jpeg, *(f"a/{i}.jpg" for i in range(4))), categories=("0", "1"))
    content = json.loads((root / "x.json").read_text())
    for row, name in zip(content["categories"], ("Parus major", "Acer rubrum"), strict=True):
        row["species"] = name
    (root / "x.json").write_text(json.dumps(content))
    assert read(root, boxes="whole")["verbatim_name"].tolist() == ["Parus major", "Acer rubrum"] * 2


def test_coco_sequences_are_groups_and_two_taxa_are_said(tmp_path, jpeg):
    root = coco(folders(tmp_path, jpeg, *(f"images/a/{i}.jpg" for i in range(4))))
    content = json.loads((root / "x.json").read_text())
    content["annotations"] += [{"id": 9, "image_id": 0, "category_id": 1}, {"id": 10, "image_id": 2, "category_id": 0}]
    (root / "x.json").write_text(json.dumps(content))
    several, empty = "several taxa on one image", "image of no taxon (empty)"
    assert read_source(config(root))["problem"].tolist() == ["", several, empty, "", empty]  # a bird in its box
    raw = read_source(config(root, boxes="whole"))
    assert raw["problem"].tolist() == [several, several, empty, "", empty]
    assert raw["group"].tolist() == ["s0", "s0", "s0", "s1", "s1"]


def test_the_command_line_looks_before_anything_is_built(tmp_path, jpeg, capsys):
    from bioclip_lib.reproduce.__main__ import main

    root = folders(tmp_path, jpeg, "train/Blue_Jay/1.jpg", "test/Robin/2.jpg", "notes.csv")
    assert main(["--profile", "photos", "--photos", str(root), "--look"]) == 0
    said = capsys.readouterr().out
    lines = ["class folders", "2 images, 2 names", "splits: test 1, train 1", "tables not used: notes.csv"]
    lines += ["folders: test (split) / Robin (name)", "read as: Blue_Jay = Cyanocitta cristata", "make reproduce, with"]
    for line in lines:
        assert line in said
    assert main(["--profile", "photos", "--photos", str(tmp_path / "none"), "--look"]) == 2
    assert look(config(root), read(root)) == look(config(root))


def test_folders_are_said_level_by_level(tmp_path, jpeg):
    root = folders(tmp_path, jpeg, "Paridae/Parus/major/1.jpg", "Corvidae/Cyanocitta/cristata/cam/2.jpg")
    said = look(config(root, layout="family/genus/epithet/-"))
    assert "folders: Corvidae (family) / Cyanocitta (genus) / cristata (epithet) / cam (not used)" in said.splitlines()
    said = look(config(root, layout="-/class"))
    assert "folders: Corvidae (not used) / Cyanocitta (name) / cristata (not used) / cam (not used)" in said


def test_a_table_of_addresses_finds_what_was_downloaded_or_says_what_to_download(tmp_path, jpeg):
    rows = [f"https://m.org/photos/{i}/medium.jpg?x=1,Parus major" for i in (7001, 7002)]
    (tmp_path / "t.csv").write_text("\n".join(["image_url,scientificName", *rows]))
    with pytest.raises(InputError, match=r"none of the 2 images whose addresses .*7001/medium.jpg.*download them"):
        read(tmp_path / "t.csv")
    folders(tmp_path, jpeg, "photos/7002.jpg", "medium.jpg")
    assert read(tmp_path / "t.csv")["problem"].tolist() == ["file not found", ""]


def table_of(root: Path, jpeg, header: str, *rows: str, name: str = "t.csv") -> Path:
    """Write a table beside four images, one a row."""
    folders(root, jpeg, "1.jpg", "2.jpg", "3.jpg", "4.jpg")
    (root / name).write_text("\n".join([header, *rows]))
    return root / name


@pytest.mark.parametrize(
    ("header", "values", "expected"),
    [
        ("is_train", "1 1 0 0", "train train test test"),
        ("isTest", "False False True True", "train train test test"),
        ("is_training_image", "1.0 1.0 1.0 0.0", "train train train test"),
        ("is_train,is_val", "1,0 0,1 0,0 1,0", "train val  train"),
    ],
)
def test_splits_as_flags(tmp_path, jpeg, header, values, expected):
    rows = [f"{i}.jpg,Parus major,{value}" for i, value in enumerate(values.split(), 1)]
    raw = read(table_of(tmp_path, jpeg, f"image,species,{header}", *rows))
    assert raw["source_split"].tolist() == expected.split(" ")


@pytest.mark.parametrize("header", ["image,target,target_name", "image,label,label_name", "image,taxon,scientificName"])
def test_a_number_is_no_name_where_one_stands_beside_it(tmp_path, jpeg, header):
    rows = ("1.jpg,0,Blue Jay", "2.jpg,1,Robin", "3.jpg,0,Blue Jay", "4.jpg,1,Robin")
    assert read(table_of(tmp_path, jpeg, header, *rows))["verbatim_name"].tolist() == ["Blue Jay", "Robin"] * 2


def test_british_licences_and_pages_are_kept(tmp_path, jpeg):
    rows = [f"{i}.jpg;Parus major;https://creativecommons.org/licenses/by/4.0/;https://a.org/{i}" for i in range(1, 5)]
    raw = read(table_of(tmp_path, jpeg, "image;species;Licence URL;Web Page", *rows))
    assert raw["license"].str.contains("/by/").all() and raw["source_url"][0] == "https://a.org/1"


def test_tables_that_name_the_same_images_differently_are_refused(tmp_path, jpeg):
    table_of(tmp_path, jpeg, "file,label", "1.jpg,Robin", "2.jpg,Robin", "3.jpg,Blue Jay", name="labels.csv")
    table_of(tmp_path, jpeg, "file,label", "1.jpg,Blue Jay", "2.jpg,Blue Jay", "4.jpg,Robin", name="second.csv")
    with pytest.raises(InputError, match=r"labels.csv, second.csv name .* differently .*'Robin', 'Blue Jay'.*give"):
        read_source(config(tmp_path))
    table_of(tmp_path, jpeg, "file,label", "1.jpg,Robin", "2.jpg,Robin", "4.jpg,Robin", name="second.csv")
    assert len(read_source(config(tmp_path))) == 6


@pytest.mark.parametrize("name", ["sample_submission.csv", "sampleSubmission.csv", "my_predictions.csv"])
def test_a_table_to_hand_in_labels_no_test_image(tmp_path, jpeg, name):
    table_of(tmp_path, jpeg, "file,label", "1.jpg,Robin", "2.jpg,Blue Jay", "3.jpg,Blue Jay", name="train.csv")
    table_of(tmp_path, jpeg, "file,label", "4.jpg,Robin", "5.jpg,Robin", "6.jpg,Robin", name=name)
    assert read(tmp_path)["source_id"].tolist() == ["1.jpg", "2.jpg", "3.jpg"]
    assert f"tables not used: {name}" in look(config(tmp_path))


def test_a_class_of_films_is_a_class_without_an_image(tmp_path, jpeg):
    root = folders(tmp_path, jpeg, "Blue_Jay/1.jpg", "Robin/2.jpg", "Red_Fox/1.mp4", "Robin/2.mov", "videos/3.avi")
    raw = read(root)
    lost = raw[raw["problem"] != ""]
    assert lost["verbatim_name"].tolist() == ["Red_Fox"] and set(lost["problem"]) == {"class folder without an image"}
    assert len(read(folders(tmp_path, jpeg, "notes/x.json"))) == len(raw)


def test_look_says_which_names_match_nothing_and_no_used_table_is_called_unused(field):
    said = look(config(field / "folders" / "names_partial"))
    assert "names that are no class: Barn_Swallow_y, Brown_Pelican_y; classes of which nothing is said" in said
    for path in ("folders/names_case", "folders/hf_parquet", "folders/dwca_ok", "files/26_CUB_200_2011"):
        said = look(config(field / path))
        assert "not used" not in said and "passed over" not in said


@pytest.mark.parametrize("text", ["id;Species;Family\nsp-0;Parus major;Paridae", "code,common name\nSP_0,Great Tit"])
def test_the_column_that_has_the_classes_is_the_key_of_a_names_table(tmp_path, jpeg, text):
    root = folders(tmp_path / "set", jpeg, "sp-0/1.jpg", "sp-1/2.jpg")
    (tmp_path / "n.csv").write_text(text)
    data = config(root, names=str(tmp_path / "n.csv"))
    said = read_names(data, read_source(data))
    assert said["class_name"].tolist() == ["sp-0"]
    assert {"Parus", "Great Tit"} & set(said.iloc[0])


def test_the_folder_of_images_beside_an_archive_is_that_archive(field):
    assert read(field / "folders/dwca_zip").equals(read(field / "folders/dwca_zip.zip"))


def test_reasons_are_true_of_a_table_with_a_layout_and_of_half_a_download(tmp_path, jpeg, field):
    table = table_of(tmp_path, jpeg, "file,label", "1.jpg,Robin")
    with pytest.raises(InputError, match=r"data.layout='class' says what folders are, and .* is a file; leave it out"):
        read_source(config(table, layout="class"))
    (tmp_path / "half.zip").write_bytes((field / "folders/dwca_zip.zip").read_bytes()[:9000])
    with pytest.raises(InputError, match=r"half.zip cannot be read \(.*(truncated|damaged).*\); pack it again"):
        read_source(config(tmp_path / "half.zip"))
