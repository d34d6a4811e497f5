"""What would be mislabelled in silence: splits of unknown words, classes that are no taxa, rows that are shifted."""

import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from bioclip_lib.errors import InputError
from bioclip_lib.sources import look, read_names, read_source
from bioclip_lib.sources.marks import sequence_of
from tests.sources.test_field import coco, config, folders, read, table_of


def splits_of(root: Path, jpeg, header: str, values: str, **settings) -> list[str]:
    rows = [f"{i}.jpg,Parus major,{value}" for i, value in enumerate(values.split(" "), 1)]
    return read(table_of(root, jpeg, f"image,species,{header}", *rows), **settings)["source_split"].tolist()


@pytest.mark.parametrize(
    ("header", "values", "expected"),
    [
        ("Usage", "Training Training PublicTest PrivateTest", "train train test test"),
        ("usage", "train train Public Private", "train train test test"),
        ("fold", "train train val test", "train train val test"),
        ("subset", "training  validation testing", "train  val test"),
        ("partition", "Train trainval dev holdout", "train train val test"),
        ("dataset", "train_2017 train_2017 val test", "train train val test"),
        ("in_train", "yes yes no no", "train train test test"),
        ("used_for_training", "1 1 0 0", "train train test test"),
        ("test", "0 0 1 true", "train train test test"),
        ("part", "train train val test", "train train val test"),
        ("type", "Training_set Training_set Test_set", "train train test"),
        ("group", "train train test train", "train train test train"),
    ],
)
def test_splits_by_whatever_name(tmp_path, jpeg, header, values, expected):
    assert splits_of(tmp_path, jpeg, header, values) == expected.split(" ")


@pytest.mark.parametrize(
    ("header", "values", "words"),
    [
        ("split", "train train test extra", "'extra'"),
        ("split", "a a b b", "'a', 'b'"),
        ("fold", "0 1 2 3", "'0', '1', '2', '3'"),
        ("partition", "0 0 1 2", "'0', '1', '2'"),
        ("set", "train train test unlabelled", "'unlabelled'"),
        ("Usage", "Training Public Ignored Ignored", "'Ignored'"),
        ("is_train", "1 1 0 maybe", "'1', '0', 'maybe'"),
    ],
)
def test_words_that_are_no_split_are_refused_and_a_setting_splits_anew(tmp_path, jpeg, header, values, words):
    with pytest.raises(InputError, match=rf"{words} \(first: .\.jpg\).*data.published_splits=false"):
        splits_of(tmp_path, jpeg, header, values)
    assert "source_split" not in read(tmp_path / "t.csv", published_splits=False)


@pytest.mark.parametrize("top", ["", "images/"])
@pytest.mark.parametrize("named", [True, False])
def test_splits_by_the_folders_of_a_tables_images(tmp_path, jpeg, top, named):
    paths = [f"{top}{split}/{i}.jpg" for i, split in enumerate(("train", "valid", "test"))]
    folders(tmp_path, jpeg, *paths)
    rows = [f"{path if named else path.rpartition('/')[2]},Parus major" for path in paths]
    (tmp_path / "t.csv").write_text("\n".join(["image,species", *rows]))
    assert read(tmp_path / "t.csv")["source_split"].tolist() == ["train", "val", "test"]
    rows = ["{},{},Parus major".format(*path.rpartition("/")[::2]) for path in paths]
    (tmp_path / "t.csv").write_text("\n".join(["folder,image,species", *rows]))
    assert read(tmp_path / "t.csv")["source_split"].tolist() == ["train", "val", "test"]
    assert "source_split" not in read(tmp_path / "t.csv", published_splits=False)


@pytest.mark.parametrize("header", ["invalid", "is_valid", "fortest", "in_garden"])
def test_a_column_that_only_sounds_like_a_split_is_none(tmp_path, jpeg, header):
    values = ("yes", "no", "checked", "") if header == "is_valid" else ("1", "0", "0", "1")
    rows = [f"{i}.jpg,Parus major,{value}" for i, value in enumerate(values, 1)]
    assert "source_split" not in read(table_of(tmp_path, jpeg, f"image,species,{header}", *rows))


@pytest.mark.parametrize("header", ["stage", "set", "dataset", "usage"])
def test_a_set_of_another_kind_is_no_split(tmp_path, jpeg, header):
    rows = [f"{i}.jpg,Parus major,{value}" for i, value in enumerate(("larva", "larva", "adult", ""), 1)]
    assert "source_split" not in read(table_of(tmp_path, jpeg, f"image,species,{header}", *rows))


@pytest.mark.parametrize(
    "names",
    [
        ["train/Blue_Jay/1.jpg", "test/Blue_Jay/2.jpg", "extra/Blue_Jay/3.jpg"],
        ["Training/Blue_Jay/1.jpg", "unlabelled/Blue_Jay/2.jpg"],
        ["Blue_Jay/train/1.jpg", "Blue_Jay/val/2.jpg", "Robin/more/3.jpg"],
        ["set/train/Blue_Jay/1.jpg", "set/test/Robin/2.jpg", "set/test_hard/Robin/3.jpg"],
    ],
)
def test_folders_beside_splits_are_refused(tmp_path, jpeg, names):
    with pytest.raises(InputError, match=r"are splits and .* none; rename .* data.layout=set/class"):
        read(folders(tmp_path, jpeg, *names))
    layout = {3: "set/class", 4: "-/set/class"}[names[0].count("/") + 1] if names[0][0] != "B" else "class/-"
    assert set(read(tmp_path, layout=layout)["verbatim_name"]) <= {"Blue_Jay", "Robin"}


def test_a_layout_with_splits_of_unknown_words_is_refused(tmp_path, jpeg):
    root = folders(tmp_path, jpeg, "train/Blue_Jay/1.jpg", "extra/Robin/2.jpg")
    with pytest.raises(InputError, match=r"'extra' \(first: extra/Robin/2.jpg\)"):
        read(root, layout="split/class")


def test_a_class_called_as_a_split_is_a_class(tmp_path, jpeg):
    root = folders(tmp_path, jpeg, "tests/1.jpg", "copepod/2.jpg", "amphipods/3.jpg")
    assert set(read(root)["verbatim_name"]) == {"tests", "copepod", "amphipods"}


NO_TAXA = [
    ("winter", "spring", "summer", "autumn"),
    ("Kruger", "Etosha", "Serengeti"),
    ("CAM01", "CAM02"),
    ("north_site", "south_site", "pond edge"),
    ("001", "002", "003"),
    ("Reconyx HC500", "Bushnell Trophy"),
    ("monday", "tuesday", "wednesday"),
    ("good", "bad", "blurred"),
]


@pytest.mark.parametrize("names", NO_TAXA)
def test_classes_that_are_no_taxa_are_refused_and_a_setting_takes_them(tmp_path, jpeg, names):
    root = folders(tmp_path / "s", jpeg, *(f"{name}/{i}.jpg" for i, name in enumerate(names)))
    (root / "records.csv").write_text("file,observer\nx.jpg,me\n")
    data = config(root)
    with pytest.raises(
        InputError, match=rf"none of .* class names .*{names[0]}.*records.csv \(file, observer\)"
    ) as error:
        read_names(data, read_source(data))
    assert look(data).endswith(f"\nstops: {error.value}")
    assert read_names(config(root, taxa=False), read_source(data)) is None
    (tmp_path / "n.csv").write_text(
        "\n".join(["class_name,scientific_name", *(f"{name},Parus major" for name in names)])
    )
    assert len(read_names(config(root, names=str(tmp_path / "n.csv")), read_source(data))) == len(names)


TAXA = [
    ("copepod", "unknown stick", "marine snow"),
    ("ducks", "geese"),
    ("Aves", "Mammalia", "other"),
    ("Vulpes sp.", "empty", "human"),
]


@pytest.mark.parametrize("names", TAXA)
def test_some_taxa_are_enough(tmp_path, jpeg, names):
    data = config(folders(tmp_path, jpeg, *(f"{name}/{i}.jpg" for i, name in enumerate(names))))
    assert read_names(data, read_source(data)) is None


@pytest.mark.parametrize("name", ["birds100", "leaves40", "pollen73", "plankton111"])
def test_sets_of_taxa_are_not_refused(photos, name):
    raw = pd.DataFrame(
        {"source": name, "verbatim_name": sorted(p.name for p in (photos / name).iterdir() if p.is_dir())}
    )
    read_names(config(photos / "none"), raw)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["Blue Jay", "Robin", "Blue Jay", "Robin"], {"Blue Jay", "Robin"}),
        (["Parus major", "Turdus merula", "Parus major", "Turdus merula"], {"Parus major", "Turdus merula"}),
    ],
)
def test_a_column_text_labels_images_in_folders_of_seasons(tmp_path, jpeg, labels, classes):
    files = ["summer/1.jpg", "summer/2.jpg", "winter/3.jpg", "winter/4.jpg"]
    folders(tmp_path, jpeg, *files)
    (tmp_path / "metadata.csv").write_text(
        "\n".join(["file_name,text", *map(",".join, zip(files, labels, strict=True))])
    )
    assert set(read(tmp_path)["verbatim_name"]) == classes
    assert "read from: metadata.csv" in look(config(tmp_path))


@pytest.mark.parametrize("column", ["text", "label", "category"])
def test_folders_of_taxa_beside_a_column_of_something_else(tmp_path, jpeg, column):
    files = ["Blue_Jay/1.jpg", "Blue_Jay/2.jpg", "Robin/3.jpg", "Robin/4.jpg"]
    folders(tmp_path, jpeg, *files)
    values = ["blurred", "sharp", "sharp", "blurred"]
    (tmp_path / "metadata.csv").write_text(
        "\n".join([f"file_name,{column}", *map(",".join, zip(files, values, strict=True))])
    )
    assert set(read(tmp_path)["verbatim_name"]) == {"Blue_Jay", "Robin"}
    assert "tables not used: metadata.csv" in look(config(tmp_path))


def test_captions_in_folders_of_seasons_are_two_readings(tmp_path, jpeg):
    files = ["summer/1.jpg", "summer/2.jpg", "winter/3.jpg", "winter/4.jpg"]
    folders(tmp_path, jpeg, *files)
    rows = [f"{file},photo number {i % 2} from the garden" for i, file in enumerate(files)]
    (tmp_path / "metadata.csv").write_text("\n".join(["file_name,text", *rows]))
    with pytest.raises(InputError, match=r"two ways: by metadata.csv .* or by its folders .*data.layout=class"):
        data = config(tmp_path)
        read_names(data, read_source(data))


SHIFTED = [
    ("path,author,label", "{},L.,Robin", "{},Robin"),  # a field too few in the middle
    ("path,label,split", "{},Robin,train", "{},train"),
    ("path,label,lat", "{},Robin,48.1", "{},48.2"),
    ("author,path,label", "L.,{},Robin", "{},Robin"),  # at the start
    ("path,label,link", "{},Robin,https://a.org/{}", "{},https://a.org/9"),
    ("path,label,split", "{},Robin,train", "{},,Robin,"),  # a blank one too many
]


@pytest.mark.parametrize(("header", "row", "odd"), SHIFTED)
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_a_row_with_fields_too_few_or_too_many_in_the_middle_is_refused_at_its_line(
    tmp_path, jpeg, header, row, odd, suffix
):
    rows = [row.replace("{}", f"{i}.jpg") for i in (1, 2, 3)]
    rows.insert(2, odd.replace("{}", "4.jpg"))
    text = "\n".join([header, *rows]).replace(",", "," if suffix == "csv" else "\t")
    folders(tmp_path, jpeg, "1.jpg", "2.jpg", "3.jpg", "4.jpg")
    (tmp_path / f"t.{suffix}").write_text(text)
    with pytest.raises(InputError, match=r"row 3: \d fields in place of 3"):
        read(tmp_path / f"t.{suffix}")


def test_rows_without_their_trailing_blanks_are_read(tmp_path, jpeg):
    rows = ("1.jpg,Robin,train,x", "2.jpg,Blue Jay,train", "3.jpg,Robin", "4.jpg,Wren,,")
    raw = read(table_of(tmp_path, jpeg, "path,label,split,remark", *rows))
    assert raw["verbatim_name"].tolist() == ["Robin", "Blue Jay", "Robin", "Wren"]
    assert raw["source_split"].tolist() == ["train", "train", "", ""]


@pytest.mark.parametrize("names", [["Red_Fox/cam1/"], ["Red_Fox/cam1/x.mp4"], ["Red_Fox/a.zip"], ["Red_Fox/a/b/"]])
def test_a_class_of_empty_folders_films_or_archives_is_a_class_without_an_image(tmp_path, jpeg, names):
    root = folders(tmp_path, jpeg, "Blue_Jay/cam1/1.jpg", "Robin/cam1/2.jpg", "Robin/cam2/3.jpg")
    (root / "Blue_Jay" / "cam2").mkdir()
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).mkdir() if name.endswith("/") else (root / name).write_bytes(b"x")
    raw = read(root, layout="class/-")
    lost = raw[raw["problem"] != ""]
    assert lost["verbatim_name"].tolist() == ["Red_Fox"] and set(lost["problem"]) == {"class folder without an image"}


def test_a_simple_download_of_gbif_says_what_to_ask_for(tmp_path):
    text = "gbifID\tspecies\tscientificName\n1\tParus major\tParus major L.\n"
    with zipfile.ZipFile(tmp_path / "0001.zip", "w") as file:
        file.writestr("0001.csv", text)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "0001.csv").write_text(text)
    for path in ("0001.zip", "d"):
        with pytest.raises(InputError, match=r"occurrences without media.*ask it for the Darwin Core Archive"):
            read(tmp_path / path)


@pytest.mark.parametrize("name", ["datapackage.json", "annotations.json"])
def test_a_packed_data_package_is_to_be_unpacked(tmp_path, jpeg, write_archive, name):
    files = {name: b"{}", "media/1.jpg": jpeg(1), "media.csv": b"mediaID"}
    with pytest.raises(InputError, match=r"what JSON files say of images .* is read from a folder: unpack it"):
        read(write_archive(tmp_path / "a.zip", files))


def test_one_file_of_annotations_is_read_with_the_images_beside_it(tmp_path, jpeg):
    root = coco(folders(tmp_path, jpeg, *(f"a/{i}.jpg" for i in range(4))))
    assert read_source(config(root / "x.json")).equals(read_source(config(root)))
    (root / "annotations").mkdir()
    (root / "x.json").rename(root / "annotations" / "train.json")
    assert set(read_source(config(root / "annotations" / "train.json"))["source_split"]) == {"train"}


def test_look_names_the_first_that_is_not_found(tmp_path, jpeg):
    table = table_of(tmp_path, jpeg, "path,name", "1.jpg,Parus major", "9.jpg,Parus major")
    assert "not read: 1 x file not found (first: 9.jpg)" in look(config(table))


@pytest.mark.parametrize("top", ["", "set/"])
@pytest.mark.parametrize("packed", ["s.zip", "s.tar"])
def test_a_table_in_an_archive_of_images(tmp_path, jpeg, write_archive, packed, top):
    names = ("images/1.jpg", "images/2.jpg", "images/3.jpg")
    text = "\n".join(["file,species,split", *(f"{n},{s},{t}" for n, s, t in zip(names, "aba", "xyx", strict=True))])
    text = text.replace(",a,", ",Parus major,").replace(",b,", ",Turdus merula,").replace(",x", ",train")
    files = {
        **{f"{top}{name}": jpeg(i) for i, name in enumerate(names)},
        f"{top}labels.csv": text.replace(",y", ",test").encode(),
    }
    raw = read(write_archive(tmp_path / packed, files))
    assert raw["verbatim_name"].tolist() == ["Parus major", "Turdus merula", "Parus major"]
    assert raw["source_split"].tolist() == ["train", "test", "train"]
    assert raw["location"][0].endswith(f"{packed}::{top}images/1.jpg")


def test_spreadsheets(tmp_path, jpeg, monkeypatch):
    openpyxl = pytest.importorskip("openpyxl")
    folders(tmp_path, jpeg, "1.jpg", "2.jpg")
    book = openpyxl.Workbook()
    for row in (
        ["Survey of 2024"],
        ["Image", "Species", "Count"],
        ["1.jpg", "Parus major", 3],
        ["2.jpg", "Turdus merula"],
    ):
        book.active.append(row)
    book.create_sheet("empty")
    book.save(tmp_path / "t.xlsx")
    assert read(tmp_path / "t.xlsx")["verbatim_name"].tolist() == ["Parus major", "Turdus merula"]
    assert set(read(tmp_path)["verbatim_name"]) == {"Parus major", "Turdus merula"}  # beside its images
    book.create_sheet("more").append(["x"])
    book.save(tmp_path / "two.xlsx")
    with pytest.raises(InputError, match=r"several sheets with rows .*Sheet, more.*save"):
        read(tmp_path / "two.xlsx")
    (tmp_path / "broken.xlsx").write_bytes(b"PK")
    with pytest.raises(InputError, match="cannot be read as a spreadsheet"):
        read(tmp_path / "broken.xlsx")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(InputError, match="takes openpyxl: pip install openpyxl"):
        read(tmp_path / "t.xlsx")


@pytest.mark.parametrize(
    ("path", "sequence"),
    [
        ("Blue_Jay/seq0_1.jpg", "Blue_Jay/seq0"),
        ("fox/clipA_frame_0012.png", "fox/clipA"),
        ("fox/video-7_00031.jpg", "fox/video-7"),
        ("fox/MVI_0123_frame10.jpg", "fox/MVI_0123"),
        ("fox/2020_site3_vid12_4.jpg", "fox/2020_site3_vid12"),
        ("fox/IMG_20200501_101112_BURST003.jpg", "fox/IMG_20200501_101112"),
        ("fox/00100_BURST20200501101112_COVER.jpg", "fox/20200501101112"),
        ("fox/video12/frame_001.jpg", "fox/video12"),
        ("fox/frame_001.jpg", ""),
        ("fox/IMG_0001.jpg", ""),
        ("fox/DJI_0001.jpg", ""),
        ("fox/Black_footed_Albatross_0001_796111.jpg", ""),
        ("fox/photo_12.jpg", ""),
        ("fox/burst_1.jpg", ""),
        ("fox/subsequence12.jpg", ""),
    ],
)
def test_frames_by_their_names(path, sequence):
    assert sequence_of(path) == sequence


def test_frames_are_groups_unless_the_source_gives_some(tmp_path, jpeg):
    root = folders(tmp_path, jpeg, "fox/seq0_0.jpg", "fox/seq0_1.jpg", "jay/seq0_0.jpg", "jay/x.jpg")
    assert read(root)["group"].tolist() == ["fox/seq0", "fox/seq0", "jay/seq0", ""]
    assert "groups: 2 of 3 images" in look(config(root)) and "group" not in read(root, burst_s=0)
    rows = ("fox/seq0_0.jpg,fox,a", "fox/seq0_1.jpg,fox,b", "jay/seq0_0.jpg,jay,c")
    (tmp_path / "t.csv").write_text("\n".join(("path,species,individual", *rows)))
    assert read(tmp_path / "t.csv")["group"].tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("folder", ["raw_images", "images", "all photos", "Frames"])
def test_a_folder_of_images_beside_class_folders_is_no_class(tmp_path, jpeg, folder):
    root = folders(tmp_path, jpeg, "cats/1.jpg", "dogs/2.jpg", f"{folder}/3.jpg")
    with pytest.raises(InputError, match=rf"folders {folder} name no class, beside cats, dogs.*move them away"):
        read(root)
    assert len(read(root, layout="class")) == 3


def test_cub_as_others_pass_it_on_with_commas(tmp_path, jpeg):
    folders(tmp_path, jpeg, "images/Jay/1.jpg", "images/Robin/2.jpg")
    lists = {"images": ("Jay/1.jpg", "Robin/2.jpg"), "classes": ("Blue_Jay", "Robin")}
    lists |= {"image_class_labels": ("0", "1"), "train_test_split": ("1", "0")}
    for name, values in lists.items():
        (tmp_path / f"{name}.txt").write_text("".join(f"{i}, {value}\n" for i, value in enumerate(values)))
    raw = read(tmp_path)
    assert raw["verbatim_name"].tolist() == ["Blue_Jay", "Robin"] and raw["source_split"].tolist() == ["train", "test"]


def test_sp_beside_epithets_loses_no_epithet(tmp_path, jpeg):
    for i, name in enumerate(("Turdus/merula", "Turdus/philomelos", "Parus/major", "Turdus/sp")):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "1.jpg").write_bytes(jpeg(i))
    assert set(read(tmp_path / "set")["verbatim_name"]) == {
        "Turdus merula",
        "Turdus philomelos",
        "Parus major",
        "Turdus sp",
    }
