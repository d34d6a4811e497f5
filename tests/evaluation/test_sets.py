"""The registry of benchmark sets: its facts, its readers on small sets of each layout, and the real label files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioclip_lib import RANKS
from bioclip_lib.errors import InputError
from bioclip_lib.evaluation.leaderboard import read_published
from bioclip_lib.evaluation.sets import class_table, load_set, read_registry, survey_sets
from bioclip_lib.evaluation.tasks import class_strings, report_strings

BIOCLIP = "birds525 plankton insects insects2 plantnet fungi plantvillage medicinal_leaf plantdoc rare_species".split()


@pytest.fixture(scope="module")
def annotations() -> Path:
    path = Path(__file__).resolve().parents[3] / "shared" / "annotations"
    if not path.is_dir():
        pytest.skip(f"real label files are looked for in {path}; not there")
    return path


def test_the_registry_holds_the_ten_sets_of_bioclip_and_says_where_each_is_had():
    registry = read_registry()
    assert list(registry.index[registry["group"] == "bioclip"]) == BIOCLIP
    assert set(registry["group"]) == {"bioclip", "bioclip2"}
    assert registry["source"].str.startswith("https://").all() and (registry["how_to_get"] != "").all()
    assert registry.index.is_unique
    for column in ("n_images", "n_classes"):
        assert registry[column].str.fullmatch(r"\d*").all()


def test_sets_of_one_folder_are_one_set():
    """PlantDoc of BioCLIP is Meta-Album's small one, that of BioCLIP 2's shots the whole one: another set of images."""
    registry = read_registry()
    assert registry["folder"].is_unique
    assert registry.loc[["plantdoc", "plantdoc_few_shot"], "n_images"].tolist() == ["1080", "2598"]


def test_published_numbers_are_fractions_of_known_sets_with_a_source():
    published = read_published()
    assert published["value"].between(0.01, 0.97).all() and (published["source"] != "").all()
    others = set(published["set"]) - set(read_registry().index)
    others = {name for name in others if not name.startswith(("mean of", "biobench"))}
    assert others == {"inquire_rerank", "cornell_bird", "plantid", "cub", "60 species of mammals and birds"}
    assert not published.duplicated(["set", "model", "task", "metric", "source"]).any()
    rare = published[(published["set"] == "rare_species") & (published["model"] == "BioCLIP")]
    zero_shot = rare[rare["task"] == "zero_shot"].set_index("source")["value"]
    assert sorted(zero_shot) == [0.371, 0.378, 0.3809, 0.392]  # four sources, four numbers
    by_com = published[published["task"] == "zero_shot/com"]
    assert dict(zip(by_com["model"], by_com["value"], strict=True)) == {
        "CLIP ViT-B/16": 0.3181,
        "OpenCLIP ViT-B/16": 0.2985,
    }
    assert rare.set_index("task").loc[["few_shot/1", "few_shot/5"], "value"].tolist() == [0.449, 0.657]


def test_published_numbers_are_those_of_the_collected_tables():
    """Guards the transcription: each cell of the tables of sections 3f and 3g is a row, and nothing else is."""
    path = Path(__file__).resolve().parents[3] / "shared" / "reference" / "published_numbers.md"
    if not path.is_file():
        pytest.skip(f"the collected tables are looked for in {path}; not there")
    published, text = read_published(), path.read_text(encoding="utf-8").split("### 3f.")[1].split("### 3h.")[0]
    text = text.replace("CLIP L/14", "CLIP ViT-L/14").replace("CLIP B/16", "CLIP ViT-B/16")
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    starts = [i for i, cells in enumerate(lines) if cells[0] == "---"]  # below a table's head
    ends = [*(start - 1 for start in starts[1:]), None]
    other, retrieval, bench = (lines[start + 1 : end] for start, end in zip(starts, ends, strict=True))
    found = published[published["source"].str.startswith("BioCLIP 2 site") & (published["task"] != "zero_shot")]
    assert cells_of(found) == sorted((row[0], round(float(v) / 100, 4)) for row in other for v in row[1:])
    found = published[published["task"].str.startswith("retrieval")]
    assert cells_of(found) == sorted((row[0], round(float(v) / 100, 4)) for row in retrieval for v in row[1:])
    found = published[published["source"].str.contains("729e229")]
    models = ("BioCLIP", "BioCLIP 2", "BioCLIP 2.5")
    assert cells_of(found) == sorted((m, float(v)) for row in bench for m, v in zip(models, row[1:], strict=True))


def cells_of(published):
    return sorted(zip(published["model"], published["value"].round(4), strict=True))


def test_the_means_of_the_site_are_those_of_its_ten_numbers():
    """Guards the transcription: the mean of each row of the table is a number of the table."""
    site = read_published()
    site = site[site["source"].str.startswith("BioCLIP site")]
    table = site.pivot(index="model", columns="set", values="value")
    np.testing.assert_allclose(table[BIOCLIP].mean(axis=1), table["mean of the ten"], atol=1e-3)  # the site cuts


def test_absent_sets_say_what_to_do(tmp_path):
    (tmp_path / "FNG_Mini.csv").write_text("filepath,class\n")
    survey = survey_sets(tmp_path)
    assert list(survey.index[survey["path"] != ""]) == ["fungi"]
    assert survey.loc["fungi", "to_do"] == ""
    assert list(survey.index) == list(read_registry().index)
    assert "https://huggingface.co/datasets/imageomics/rare-species" in survey.loc["rare_species", "to_do"]
    with pytest.raises(InputError, match=r"NABirds is not in .*; ask for the archive .*https://dl.allaboutbirds"):
        load_set("nabirds", tmp_path)
    with pytest.raises(InputError, match=r"unknown benchmark set 'birds'; choose one of birds525, plankton"):
        load_set("birds", tmp_path)
    with pytest.raises(InputError, match="protocol of its own"):
        load_set("newt", tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        survey_sets(tmp_path / "nothing")


def test_what_lies_there_and_is_not_asked_is_listed(tmp_path):
    for name in ("PLK_Mini", "plankton", "newt", ".cache"):
        (tmp_path / name).mkdir()
    (tmp_path / "FNG.csv").write_text("filepath,class\n")
    (tmp_path / "notes.txt").write_text("")
    survey = survey_sets(tmp_path)
    others = [f"{tmp_path.name}/{name}" for name in ("FNG.csv", "plankton")]
    there = survey[survey["path"] != ""]
    assert list(there.index) == ["plankton", "newt", *others]
    assert there.loc["plankton", "to_do"] == "" and "not implemented" in there.loc["newt", "to_do"]
    assert there.loc[others, "to_do"].str.startswith("not asked: rename it").all()


def test_meta_albums_own_layout_and_its_missing_image(tmp_path, write_image):
    folder = tmp_path / "PLK_Mini"
    write_image(folder / "images" / "a.png")
    (folder / "labels.csv").write_text("FILE_NAME,CATEGORY,SUPER_CATEGORY\na.png,Emiliania_huxleyi,\nb.png,mix,\n")
    plankton = load_set("plankton", tmp_path)
    assert (
        plankton.images["class_label"].tolist() == plankton.images["class_key"].tolist() == ["Emiliania_huxleyi", "mix"]
    )
    assert plankton.images["filepath"].iloc[0] == str(folder / "images" / "a.png")
    assert plankton.images["problem"].tolist() == ["", "file not found"]
    counts = ["2 images, 3,440 expected", "2 classes, 86 expected", "1 images: file not found"]
    assert plankton.differences[:-1] == counts and "order" in plankton.differences[-1]
    (folder / "labels.csv").write_text("CATEGORY\nx\n")
    with pytest.raises(InputError, match="has no column for the path"):
        load_set("plankton", tmp_path)


def test_class_folders_do_where_there_is_no_label_file(tmp_path, write_image):
    write_image(tmp_path / "birds525" / "BLUE JAY" / "1.jpg")
    birds = load_set("birds525", tmp_path)
    assert birds.images[["class_label", "problem"]].to_numpy().tolist() == [["BLUE JAY", ""]]
    write_image(tmp_path / "FNG_Mini" / "val" / "Amanita excelsa Gonn. & Rabenh." / "1.jpg")
    assert load_set("fungi", tmp_path).images["class_key"].tolist() == ["Amanita excelsa Gonn. & Rabenh."]


def test_camera_traps_as_the_registry_says_with_the_common_name_of_a_genus(tmp_path, write_image):
    folder = tmp_path / "camera_traps"
    lines = ["filepath,kingdom,phylum,class,order,family,genus,species,scientific_name,common_name"]
    lineage = "Animalia,Chordata,Mammalia,Carnivora"
    for i in range(4):
        write_image(folder / f"{i}.jpg", seed=i)
        taxon = "Felidae,Panthera,leo,Panthera leo,lion" if i % 2 else "Canidae,Vulpes,,Vulpes,fox"
        lines.append(f"{i}.jpg,{lineage},{taxon}")
    (folder / "metadata.csv").write_text("\n".join(lines))
    images = load_set("camera_traps", tmp_path).images
    assert (images["problem"] == "").all()
    strings = class_strings(class_table(images), "taxon_com")
    assert strings.str.replace("Animalia Chordata Mammalia Carnivora ", "").tolist() == [
        "Felidae Panthera leo with common name lion",
        "Canidae Vulpes  with common name fox",
    ]


def test_nabirds(tmp_path, write_image):
    folder = tmp_path / "nabirds"
    write_image(folder / "images" / "0295" / "a.jpg")
    (folder / "images.txt").write_text("id-a 0295/a.jpg\nid-b 0296/b.jpg\n")
    (folder / "classes.txt").write_text("295 American Kestrel (Female, immature)\n296 Merlin\n0 Birds\n")
    (folder / "image_class_labels.txt").write_text("id-b 296\nid-a 295\n")
    images = load_set("nabirds", tmp_path).images
    assert images["class_label"].tolist() == ["American Kestrel (Female, immature)", "Merlin"]
    assert images["problem"].tolist() == ["", "file not found"]
    (folder / "image_class_labels.txt").write_text("id-a 295\n")
    with pytest.raises(InputError, match="images without a class"):
        load_set("nabirds", tmp_path)
    (folder / "classes.txt").unlink()
    with pytest.raises(InputError, match=r"classes\.txt does not exist"):
        load_set("nabirds", tmp_path)


def test_rare_species_as_the_hub_gives_it(tmp_path, write_image):
    """Two species with one common name are two classes, keyed by taxon; sciName and common are understood."""
    import datasets

    ranks = ["Animalia", "Cnidaria", "Anthozoa", "Scleractinia", "Acroporidae", "Acropora"]
    rows = {rank: [value] * 2 for rank, value in zip(RANKS, ranks, strict=False)}
    rows |= {"species": ["millepora", "acuminata"], "sciName": ["Acropora millepora", "Acropora acuminata"]}
    rows |= {
        "common": ["staghorn coral"] * 2,
        "image": [str(write_image(tmp_path / f"{i}.png", seed=i)) for i in (0, 1)],
    }
    data = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    data.save_to_disk(tmp_path / "rare_species")
    rare = load_set("rare_species", tmp_path)
    assert rare.images["class_key"].tolist() == [" ".join([*ranks, species]) for species in rows["species"]]
    report = report_strings(class_strings(class_table(rare.images), "com"))
    assert (report.n_classes, report.n_strings) == (2, 1) and list(report.shared) == ["staghorn coral"]


def test_a_set_that_was_asked_otherwise_differs(tmp_path, write_image):
    """Camera traps: five sets there, pooled here. Cases are the original's, and subspecies are read."""
    ranks = dict(
        zip(RANKS, ("Animalia", "chordata", "Mammalia", "Carnivora", "Felidae", "panthera", "Leo"), strict=True)
    )
    files = [write_image(tmp_path / "camera_traps" / f"{i}.png", seed=i) for i in range(2)]
    table = pd.DataFrame({"path": [file.name for file in files], **ranks, "subspecies": ["persica", ""]})
    table.assign(scientific_name="Panthera leo", common_name="lion").to_csv(
        tmp_path / "camera_traps" / "metadata.csv", index=False
    )
    loaded = load_set("camera_traps", tmp_path)
    assert loaded.differences[-1].startswith("all pooled; asked there: five sets")
    strings = class_strings(class_table(loaded.images), "taxon")
    lion = "Animalia Chordata Mammalia Carnivora Felidae Panthera leo"
    assert sorted(strings) == [lion, f"{lion} persica"]


@pytest.mark.parametrize("name", BIOCLIP[1:])
def test_the_real_label_files_have_the_published_counts(annotations, name):
    loaded = load_set(name, annotations)
    assert [line for line in loaded.differences if "file not found" not in line] == []  # in the original's order too
    assert len(loaded.images) == int(loaded.facts["n_images"])
    strings = class_strings(class_table(loaded.images), loaded.facts["text_type"].split()[0])
    report = report_strings(strings)
    assert report.n_classes == report.n_strings == int(loaded.facts["n_classes"]) and not report.unnamed


def test_rare_species_has_398_common_names_for_400_species(annotations):
    classes = class_table(load_set("rare_species", annotations).images)
    assert report_strings(class_strings(classes, "com"))[:2] == (400, 398)
    shared = report_strings(class_strings(classes, "com")).shared
    assert {text: [key.split()[-2:] for key in keys] for text, keys in shared.items()} == {
        "Yunnan Newt": [["Tylototriton", "shanjing"], ["Tylototriton", "verrucosus"]],
        "staghorn coral": [["Acropora", "acuminata"], ["Acropora", "millepora"]],
    }
    for text_type in ("sci", "taxon", "sci_com", "taxon_com"):
        assert report_strings(class_strings(classes, text_type))[:2] == (400, 400)


def test_labels_are_taken_as_published(annotations):
    classes = class_table(load_set("plantvillage", annotations).images)
    assert class_strings(classes, "asis")["Tomato___Late_blight"] == "Tomato___Late_blight"


def test_unnamed_classes_are_reported():
    row = dict.fromkeys(RANKS, "x") | {
        "genus": "Acacia",
        "species": "dealbata",
        "rank": "species",
        "verbatim_name": "a",
        "class_key": "a",
    }
    classes = pd.DataFrame([row | {"common_name": ""}, row | {"common_name": "wattle"}], index=["one", "two"])
    report = report_strings(class_strings(classes, "com"))
    assert report == (2, 1, ["one"], {})
    assert class_strings(classes, "sci_com").tolist() == ["Acacia dealbata", "Acacia dealbata with common name wattle"]
    with pytest.raises(InputError, match="unknown text type 'latin'; choose one of asis, com"):
        class_strings(classes, "latin")
