"""Image files of a data set and their match with its table: rows in = rows out."""

import os
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_lib import RANKS
from bioclip_lib.config import DataConfig
from bioclip_lib.errors import InputError
from bioclip_lib.files.tables import read_columns
from bioclip_lib.sources.columns import split_word
from bioclip_lib.sources.layout import is_code
from bioclip_lib.sources.match import by_keys, find_images, lineage, placed, unique_ids
from bioclip_lib.sources.read import read_source

KEYS = st.lists(st.sampled_from(["", "a", "b", "c", "a#2", "d"]), max_size=8)


@given(KEYS, KEYS)
def test_each_row_and_each_image_stays_once(ids, names):
    table = pd.DataFrame({"source": "s", "source_id": ids, "verbatim_name": "x"}, dtype=object)
    files = pd.DataFrame({"path": names, "location": [f"/{i}" for i in range(len(names))], "problem": ""}, dtype=object)
    raw = placed(table, by_keys((table["source_id"], files["path"])), files, "image not found")
    n = len(ids)
    assert (raw["verbatim_name"][:n] == "x").all() and raw["source_id"].is_unique
    assert set(raw["location"]) - {""} == set(files["location"])
    named = {key for key in names if key and key in ids}
    assert len(raw) == n + len(names) - len(named)
    assert (raw["problem"] == "").sum() == len(named)
    first = [names.index(key) if key in named else None for key in ids]
    assert raw["location"][:n].tolist() == ["" if i is None else f"/{i}" for i in first]
    assert set(raw["problem"][n:]) <= {"image that the table does not list"}


def test_images_are_found_at_any_depth_and_in_archives(tmp_path, jpeg, write_archive):
    write_archive(tmp_path / "b.zip", {"z/2.jpg": jpeg(0), "a/1.JPG": jpeg(1), "x.txt": b"", "__MACOSX/._2.jpg": b"x"})
    for name in ("a/1.jpg", ".hidden/2.jpg", "a/.3.jpg", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(jpeg(2))
    (tmp_path / "broken.tar").write_bytes(b"x" * 2000)
    (tmp_path / "out.jpg").symlink_to("/etc/passwd")
    (tmp_path / "out.zip").symlink_to("/etc/passwd")
    files, damaged = find_images(tmp_path)
    assert sorted(files["path"]) == ["a/1.JPG", "a/1.jpg", "out.jpg", "z/2.jpg"]
    assert files.set_index("path")["problem"]["out.jpg"] == "link that leaves the folder, not followed"
    assert damaged == {
        "broken.tar": damaged["broken.tar"],
        "out.zip": "link that leaves the folder, not followed",
    }


def test_file_names_that_are_not_utf8(tmp_path, jpeg, write_archive):
    try:
        folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    (folder / "1.jpg").write_bytes(jpeg(0))
    write_archive(folder / "a.tar", {"2.jpg": jpeg(1)})
    files, _ = find_images(tmp_path)
    assert set(files["problem"]) == {"file name is not UTF-8; rename it"} and len(files) == 2
    files.to_parquet(tmp_path / "files.parquet")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("Paridae", "Parus", "major"), ("Parus", "major", "Parus major")),
        (("Paridae", "Parus", "Parus major"), ("Parus", "major", "Parus major")),
        (("Paridae", "", "Parus major"), ("Parus", "major", "Parus major")),
        (("Phoridae", "Megaselia", "sp. BOLD:AAA1"), ("Megaselia", "sp. BOLD:AAA1", "Megaselia sp. BOLD:AAA1")),
        (("Paridae", "Parus", ""), ("Parus", "", "Parus")),
        (("Paridae", "", ""), ("", "", "Paridae")),
        (("", "", ""), ("", "", "")),
    ],
)
def test_the_deepest_name(given, expected):
    table = pd.DataFrame([given], columns=["family", "genus", "species"])
    row = lineage(table).iloc[0]
    assert tuple(row[["genus", "species", "verbatim_name"]]) == expected
    assert list(row.index) == [*RANKS, "verbatim_name"]


def test_ids_that_are_taken_are_not_given_again():
    assert unique_ids(pd.Series(["a", "b", "a", "a#2", "a"])).tolist() == ["a", "b", "a#3", "a#2", "a#4"]


def test_words_of_splits_and_codes():
    words = ("Training", "images_val", "test2017", "Testudo")
    assert [split_word(word) for word in words] == ["train", "val", "test", ""]
    assert all(map(is_code, ("CAM01", "site 0", "2020-05-01", "100MEDIA")))
    assert not is_code("001.Blue_Jay") and not is_code("Parus major")


def test_a_folder_of_no_layout_says_where_they_are_listed(tmp_path, write_archive):
    write_archive(tmp_path / "images.tar.gz", {"1.jpg": b"x"})
    with pytest.raises(InputError, match=r"no image and no class folder .*docs/photographs.md lists, .* Darwin Core"):
        read_source(DataConfig(source="photos", photos=str(tmp_path)))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_columns_of_large_tables(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    table = pd.DataFrame({"EOL content ID": ["1", "NA"], "other": ["x", "y"], "Family": [" Paridaé ", None]})
    table.to_parquet(path) if suffix == ".parquet" else table.to_csv(
        path, sep="," if suffix == ".csv" else "\t", index=False
    )
    read = read_columns(path, ["eol_content_id", "family", "genus"])
    assert read.to_dict("list") == {"eol_content_id": ["1", "NA"], "family": ["Paridaé", ""]}


def test_quotes_in_tab_separated_tables_are_text(tmp_path):
    (tmp_path / "taxon.tab").write_text('id\tname\n1\t"Aus bus\n2\tCus "dus"\n')
    assert read_columns(tmp_path / "taxon.tab", ["name"])["name"].tolist() == ['"Aus bus', 'Cus "dus"']
