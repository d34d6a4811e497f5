"""Folders and tables as people have them."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioclip_lib import RANKS
from bioclip_lib.config import DataConfig, load_config
from bioclip_lib.errors import InputError
from bioclip_lib.sources import first_images, look, read_names, read_names_csv, read_source
from bioclip_lib.sources.columns import RAW_COLUMNS
from bioclip_lib.sources.folders import read_image_folder
from bioclip_lib.sources.listings import read_table
from bioclip_lib.taxonomy.resolution import resolve


def touch(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def photos_config(path, names="") -> DataConfig:
    return DataConfig(source="photos", photos=str(path), names=str(names))


def test_a_folder_of_class_folders(image_folder):
    raw = read_source(photos_config(image_folder))
    assert tuple(raw.columns) == RAW_COLUMNS
    assert len(raw) == 40 and set(raw["source"]) == {"garden"} and set(raw["problem"]) == {""}
    first = raw.iloc[0]
    assert (first["source_id"], first["verbatim_name"]) == ("Acer rubrum/0.jpg", "Acer rubrum")
    assert Path(first["location"]).is_absolute() and Path(first["location"]).is_file()


def test_a_folder_of_sets(tmp_path):
    for name in ("birds/Parus_major/1.jpg", "birds/classes.csv", "leaves/Acer/1.JPG", "leaves/SOURCE.txt", "README.md"):
        touch(tmp_path / name)
    raw = read_image_folder(tmp_path)
    assert raw[["source", "source_id", "verbatim_name"]].to_numpy().tolist() == [
        ["birds", "Parus_major/1.jpg", "Parus_major"],
        ["leaves", "Acer/1.JPG", "Acer"],
    ]


def test_each_visible_file_below_a_class_folder_is_a_row(tmp_path):
    for name in ("a/1.jpg", "a/notes.txt", "a/.DS_Store", "a/Thumbs.db", "a/more/2.jpg", ".git/b/3.jpg", "c/scan"):
        touch(tmp_path / "s" / name)
    (tmp_path / "s" / "empty").mkdir()
    raw = read_image_folder(tmp_path / "s")
    assert raw["source_id"].tolist() == ["a/1.jpg", "a/notes.txt", "a/more/2.jpg", "c/scan", "empty"]
    assert raw["verbatim_name"].tolist() == ["a", "a", "a", "c", "empty"]
    assert raw["problem"].tolist() == ["", "", "", "", "class folder without an image"]


def test_links_that_leave_the_folder_are_rows_with_a_reason(tmp_path):
    secret = touch(tmp_path / "outside" / "x.jpg")
    inside = touch(tmp_path / "s" / "a" / "1.jpg")
    (tmp_path / "s" / "a" / "2.jpg").symlink_to(secret)
    (tmp_path / "s" / "a" / "3.jpg").symlink_to(inside)
    (tmp_path / "s" / "a" / "loop").symlink_to(tmp_path / "s")
    (tmp_path / "s" / "b").symlink_to(tmp_path / "outside")
    raw = read_image_folder(tmp_path / "s").set_index("source_id")["problem"].to_dict()
    assert raw == {
        "a/1.jpg": "",
        "a/2.jpg": "link that leaves the folder, not followed",
        "a/3.jpg": "",
        "a/loop": "link to a folder, not followed",
        "b": "link that leaves the folder, not followed",
    }


def test_the_folder_itself_may_be_a_link(tmp_path):
    touch(tmp_path / "real" / "a" / "1.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert read_image_folder(tmp_path / "link")["problem"].tolist() == [""]


def test_file_names_that_are_not_utf8_are_rows_with_a_reason(tmp_path):
    folder = os.fsencode(tmp_path) + b"/s/caf\xe9"
    try:
        os.makedirs(folder)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with open(folder + b"/1.jpg", "wb") as file:
        file.write(b"x")
    raw = read_image_folder(tmp_path / "s")
    assert raw["verbatim_name"].tolist() == [r"caf\xe9"]
    assert raw["problem"].tolist() == ["file name is not UTF-8; rename it"]
    raw.to_parquet(tmp_path / "raw.parquet")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "s holds no file; give the folder, the table or the archive of the photographs$"),
        (["a/"], "s holds no file; give"),
        (["1.jpg", "2.png"], "2 images directly in it.*one folder a class.*columns path and name$"),
        (["Blue_Jay_001.jpg", "Blue_Jay_2.jpg", "Bobolink 1.jpg"], r"files are called as taxa \(Blue_Jay_001.jpg\)"),
        (["set/a/1.jpg", "b/1.jpg"], r"mixes a set of class folders \(set\) and a class folder \(b\)"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, files, message):
    root = tmp_path / "s"
    root.mkdir()
    for name in files:
        (root / name).mkdir() if name.endswith("/") else touch(root / name)
    with pytest.raises(InputError, match=message):
        read_source(photos_config(root))


def test_a_layout_deeper_than_the_folders_is_refused(tmp_path):
    touch(tmp_path / "s" / "Corvidae" / "1.jpg")
    with pytest.raises(InputError, match=r"names at level 2 of folders, and its images lie at level 1; leave"):
        read_source(DataConfig(source="photos", photos=str(tmp_path / "s"), layout="family/species"))


def test_a_table_without_a_name_is_refused(tmp_path):
    touch(tmp_path / "1.jpg")
    (tmp_path / "t.csv").write_text("path,name\n1.jpg,\n")
    config = photos_config(tmp_path / "t.csv")
    with pytest.raises(InputError, match=r"none of its 1 images has a name; fill in .*t.csv \(path, name\)"):
        read_names(config, read_source(config))


def test_what_is_no_source(tmp_path):
    with pytest.raises(InputError, match="no photographs given; pass PHOTOS="):
        read_source(photos_config(""))
    with pytest.raises(InputError, match=r"nowhere does not exist; give a folder"):
        read_source(photos_config(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"a\.doc is neither a folder nor one of \.csv"):
        read_source(photos_config(touch(tmp_path / "a.doc")))
    with pytest.raises(InputError, match=r"a\.zip cannot be read .*pack it again"):
        read_source(photos_config(touch(tmp_path / "a.zip")))


def write_table(folder: Path, text: str | bytes, name: str = "list.csv") -> Path:
    for file in ("x/1.jpg", "x/2.jpg"):
        touch(folder / file)
    return touch(folder / name, text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "path,name\nx/1.jpg,Añil\nx/2.jpg,NA\n",
        "\ufeffPath;Name\nx/1.jpg;Añil\nx/2.jpg;NA\n",
        "file name\tClass Name\nx/1.jpg\t Añil \nx/2.jpg\tNA\n",
        '"image","label"\r\n"x/1.jpg","Añil"\r\n"x\\2.jpg","NA"\r\n',
        "path,name\nx/1.jpg,Añil\nx/2.jpg,NA\n".encode("latin-1"),
        "path,name\nx/1.jpg,Añil\nx/2.jpg,NA\n".encode("utf-16"),
        "filepath,label,species\nx/1.jpg,0,Añil\nx/2.jpg,1,NA\n",
        ",filepath,class\n0,x/1.jpg,Añil\n1,x/2.jpg,NA\n",
        "Bilddatei;Artname\nx/1.jpg;Añil\nx/2.jpg;NA\n",
        "Dateiname;Art\nx/1.jpg;Añil\nx/2.jpg;NA\n",
        "fichier,nom d'espèce\nx/1.jpg,Añil\nx/2.jpg,NA\n",
        "fichier,espèce\nx/1.jpg,Añil\nx/2.jpg,NA\n",
        "archivo,especie\nx/1.jpg,Añil\nx/2.jpg,NA\n",
        "imagem,nome científico\nx/1.jpg,Añil\nx/2.jpg,NA\n",
        "path,predicted_species,true_species\nx/1.jpg,x,Añil\nx/2.jpg,x,NA\n",
        "\n\n,,\nfile,species\nx/1.jpg,Añil\nx/2.jpg,NA\n",
        "# made by Jo\n# 2020, all of them\nfile,species\nx/1.jpg,Añil\nx/2.jpg,NA\n",
        "Survey of 2020\nPlace: Kruger\n\nfile,species\nx/1.jpg,Añil\nx/2.jpg,NA\n",
    ],
)
def test_tables_in_every_dress(tmp_path, text):
    raw = read_source(photos_config(write_table(tmp_path, text)))
    assert raw["verbatim_name"].tolist() == ["Añil", "NA"]
    assert raw["location"].tolist() == [str(tmp_path / "x" / "1.jpg"), str(tmp_path / "x" / "2.jpg")]
    assert raw["problem"].tolist() == ["", ""] and set(raw["source"]) == {"list"}


def test_parquet_is_read_like_csv(tmp_path):
    write_table(tmp_path, "")
    pd.DataFrame({"path": ["x/1.jpg", None], "name": ["a", None]}).to_parquet(tmp_path / "list.parquet")
    raw = read_table(tmp_path / "list.parquet")
    assert raw["verbatim_name"].tolist() == ["a", ""] and raw["problem"].tolist() == ["", "no path"]


def test_ranks_licence_and_source_are_carried(tmp_path):
    header = "path,kingdom,class,order,genus,species,licence,source\n"
    text = header + "x/1.jpg,Plantae,Magnoliopsida,Sapindales,Acer,rubrum,CC0,s1\n"
    raw = read_table(write_table(tmp_path, text)).iloc[0]
    assert raw["verbatim_name"] == "Acer rubrum"
    assert (raw["class"], raw["genus"], raw["license"], raw["source"]) == ("Magnoliopsida", "Acer", "CC0", "s1")


def test_a_path_listed_twice_stays_two_rows(tmp_path):
    raw = read_table(write_table(tmp_path, "path,name\nx/1.jpg,a\nx/1.jpg,b\nx/2.jpg,a\n"))
    assert raw["source_id"].tolist() == ["x/1.jpg", "x/1.jpg#2", "x/2.jpg"]


def test_missing_images_are_rows_with_a_reason_unless_all_are_missing(tmp_path):
    raw = read_table(write_table(tmp_path, "path,name\nx/1.jpg,a\nx/9.jpg,a\n,b\n"))
    assert raw["problem"].tolist() == ["", "file not found", "no path"]
    with pytest.raises(InputError, match=r"none of the 1 images listed .* exists .*paths are relative to"):
        read_table(write_table(tmp_path, "path,name\ny/1.jpg,a\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Bilddatei,colour\nx/1.jpg,red\n", "no column for the name: found Bilddatei, colour; name one of them 'name'"),
        ("where,name\nx/1.jpg,a\n", "no column for the path: found where, name; name one of them 'path' or"),
        ("path,name\n", "has no rows"),
        ("", "cannot be read as a table"),
        ('path,name\nx/1.jpg,"a\n', "cannot be read as a table"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_table(write_table(tmp_path, text))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.csv", "x"]


def test_a_broken_parquet_gives_one_message(tmp_path):
    with pytest.raises(InputError, match="cannot be read as a table"):
        read_table(touch(tmp_path / "a.parquet", b"PAR1 no"))


def test_names_csv(tmp_path):
    path = touch(tmp_path / "n.csv", b"class_name,scientific_name,kingdom\nA_b,Acer rubrum,Plantae\n")
    names = read_names_csv(path)
    assert names.columns.tolist() == ["class_name", "scientific_name", "common_name", *RANKS]
    assert names.iloc[0].tolist() == ["A_b", "Acer rubrum", "", "Plantae", *[""] * 6]
    taxa = touch(
        tmp_path / "taxa.csv", b"species_id,genus,species,class,order,scientific_name\nsp1,Aa,bb,Cc,Oo,Aa bb\n"
    )
    assert read_names_csv(taxa).iloc[0]["class_name"] == "Aa bb"


def test_one_word_beside_no_genus_is_no_epithet(tmp_path):
    table = touch(
        tmp_path / "n.csv", b"label,common_name,species,family\n1,tiger,tiger,Felidae\n2,cat,Felis catus,Felidae\n"
    )
    said = read_names_csv(table)[["common_name", "genus", "species", "family"]]
    assert said.to_numpy().tolist() == [["tiger", "", "", "Felidae"], ["cat", "Felis", "catus", "Felidae"]]


def test_names_csv_that_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match="is not a file"):
        read_names_csv(tmp_path / "n.csv")
    with pytest.raises(InputError, match="meaning of a name: found label, colour"):
        read_names_csv(touch(tmp_path / "n.csv", b"label,colour\na,red\n"))
    with pytest.raises(InputError, match=r"more than one meaning \(a\)"):
        read_names_csv(touch(tmp_path / "n.csv", b"label,common_name\na,b\na,c\na,b\n"))


def test_what_is_said_of_names_is_found_beside_the_images(tmp_path):
    touch(tmp_path / "s1" / "ants" / "1.jpg")
    touch(tmp_path / "s2" / "bees" / "1.jpg")
    raw = read_image_folder(tmp_path)
    assert read_names(photos_config(tmp_path), raw) is None
    touch(tmp_path / "s2" / "classes.csv", b"class_name,common_name\nbees,bee\n")
    assert read_names(photos_config(tmp_path), raw)["common_name"].tolist() == ["bee"]
    own = touch(tmp_path / "own.csv", b"class_name,common_name\nants,ant\n")
    assert read_names(photos_config(tmp_path, own), raw)["common_name"].tolist() == ["ant"]


@pytest.mark.parametrize(
    ("header", "row", "said"),
    [
        ("class", "Parus major", {}),
        ("species", "Parus major", {}),
        ("scientific_name", "Parus major", {}),
        ("genus,species", "Parus,major", {}),
        ("label,genus,species", "x,Parus,major", {"scientific_name": "Parus major"}),
        ("label,species", "x,Parus major", {"scientific_name": "Parus major"}),
        ("label,family,species", "x,Paridae,Parus major", {"family": "Paridae", "genus": "Parus", "species": "major"}),
        ("name,class,order", "x,Aves,Passeriformes", {"class": "Aves", "order": "Passeriformes"}),
        ("cls,order,class", "Aves,Passeriformes,x", {"class": "Aves", "order": "Passeriformes"}),
        ("label,common_name", "x,great tit", {"common_name": "great tit"}),
    ],
)
def test_a_lineage_is_told_from_a_name(tmp_path, header, row, said):
    path = write_table(tmp_path, f"path,{header}\nx/1.jpg,{row}\n")
    raw = read_table(path)
    assert raw["verbatim_name"].tolist() == ["x" if "x" in row.split(",") else "Parus major"]
    assert raw.drop(columns=list(RAW_COLUMNS)).iloc[0].to_dict() == said
    names = read_names(photos_config(path), raw)
    assert (names is None) == ("common_name" not in said)  # ranks are the context of their own rows


def test_a_species_in_a_row_without_a_lineage_is_a_name_to_be_looked_up(tmp_path):
    rows = ["Blue_Jay,", "Blue Jay,", "Parus major,Paridae", "Parus major,", "Blue_Jay,Corvidae"]
    lines = [f"x/1.jpg,{row}" for row in rows]
    path = write_table(tmp_path, "path,species,family\n" + "\n".join(lines) + "\n")
    raw = read_table(path)
    names = resolve(raw, said=read_names(photos_config(path), raw)).set_index(["verbatim_name", "context"])
    jay, tit = "Cyanocitta cristata", "Parus major"
    assert names["scientific_name"].tolist() == [jay, jay, tit, tit, jay]


def test_ranks_of_a_table_say_what_its_names_mean(tmp_path):
    path = write_table(tmp_path, "path,name,order,genus\nx/1.jpg,a,Sapindales,Acer\nx/2.jpg,a,Sapindales,Acer\n")
    row = resolve(read_table(path)).iloc[0]
    assert row[["verbatim_name", "family", "genus", "rule"]].tolist() == [
        "a",
        "Sapindaceae",
        "Acer",
        "genus of the record",
    ]


def test_real_photographs(photos):
    raw = read_image_folder(photos)
    assert raw.groupby("source").size().to_dict() == {
        "birds100": 2000, "leaves40": 800, "plankton111": 2140, "pollen73": 1450
    }  # fmt: skip
    assert raw.groupby("source")["verbatim_name"].nunique().sum() == 324
    assert len(read_names(photos_config(photos), raw)) == 100


def test_files_that_are_not_named_as_images_are_counted_apart(tmp_path, write_image):
    write_image(tmp_path / "garden" / "Parus major" / "a.jpg")
    write_image(tmp_path / "garden" / "Parus major" / "b.jpg", seed=1)
    (tmp_path / "garden" / "Acer rubrum").mkdir()
    for name in ("notes.py", "c.py"):
        (tmp_path / "garden" / "Acer rubrum" / name).write_text("import os")
    said = look(DataConfig(source="photos", photos=str(tmp_path / "garden")))
    assert "of these not named as images: 2 .py" in said.splitlines()


def test_photographs_that_state_no_licence_are_their_owners(tmp_path, write_image):
    for i in range(3):
        write_image(tmp_path / f"{i}.jpg", seed=i)
    rows = "path,name,license,rights_holder\n0.jpg,Parus major,,\n1.jpg,Parus major,CC0,\n2.jpg,Parus ater,,A. Smith\n"
    (tmp_path / "list.csv").write_text(rows)
    config = load_config("photos", {"data.photos": str(tmp_path / "list.csv"), "data.owner": "CC BY 4.0, Jo Doe"})
    raw = read_source(config.data)
    assert raw[["license", "rights_holder"]].values.tolist() == [
        ["CC BY 4.0", "Jo Doe"],
        ["CC0", ""],
        ["CC BY 4.0", "A. Smith"],
    ]
    with pytest.raises(InputError, match=r"data\.owner is 'mine'; give licence and holder"):
        read_source(load_config("photos", {"data.photos": str(tmp_path / "list.csv"), "data.owner": "mine"}).data)


def test_the_first_readable_images_of_each_name_are_shown_under_its_taxon(tmp_path, write_image):
    for name, images in {"Blue_Jay": "2345", "Parus_major": "6"}.items():
        for image in images:
            write_image(tmp_path / "s" / name / f"{image}.png", seed=int(image))
    touch(tmp_path / "s" / "Blue_Jay" / "0.png", b"no image")
    data = photos_config(tmp_path)
    pixels, taxa = first_images(data, n_per_name=2, n_images=48, size_px=8)
    assert pixels.shape == (3, 8, 8, 3) and pixels.dtype == np.uint8 and len(np.unique(pixels, axis=0)) == 3
    assert taxa["verbatim_name"].tolist() == ["Blue_Jay", "Blue_Jay", "Parus_major"]
    assert taxa["scientific_name"].tolist() == ["Cyanocitta cristata", "Cyanocitta cristata", "Parus major"]
    assert first_images(data, n_per_name=2, n_images=1, size_px=8)[1]["verbatim_name"].tolist() == ["Blue_Jay"]
    with pytest.raises(InputError, match=r"none of the 1 images can be read; 01_dataset_construction says why"):
        first_images(photos_config(touch(tmp_path / "bad" / "b" / "c" / "0.png").parents[2]), 2, 48, 8)
