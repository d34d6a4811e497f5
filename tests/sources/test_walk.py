"""Folders are listed once, and as `Path.glob` and `os.walk` would."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from bioclip_lib import catalog
from bioclip_lib.config import DataConfig
from bioclip_lib.sources import read_names, read_source
from bioclip_lib.sources.read import reading_of
from bioclip_lib.sources.walk import files_of, globbed


@pytest.fixture
def tree(tmp_path) -> Path:
    root = tmp_path / "set"
    for name in (
        "a.csv",
        "a/b.csv",
        "a b/x.tar",
        "a/c/b.csv",
        "a/c/d/deep.csv",
        ".hidden/b.csv",
        "a/.b.csv",
        "b+[1]/x.tar",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    (root / "empty").mkdir()
    if sys.platform != "win32":
        (root / "link").symlink_to(root / "a")
        (root / "loop").symlink_to(root / "loop")
    return root


@pytest.mark.parametrize("pattern", ["*.csv", "*/*.csv", "*/*/*.csv", "*/b*", "*", "a/*", "*[1]/*", "none/*"])
def test_globbed_names_what_glob_does(tree, pattern):
    literal = pattern.replace("[1]", "[[]1]")  # of ours only the star is a sign
    assert globbed(tree, pattern) == sorted(tree.glob(literal))


def test_patterns_keep_their_order_and_what_is_not_there_has_none(tree):
    assert globbed(tree, "*/b.csv", "*.csv") == [*sorted(tree.glob("*/b.csv")), tree / "a.csv"]
    assert globbed(tree / "nowhere", "*") == globbed(tree / "a.csv", "*") == []


def test_a_folder_is_listed_once_for_all_layouts_and_anew_the_next_time(tree, monkeypatch):
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or scandir(path))
    assert reading_of(DataConfig(source="photos", photos=str(tree))).layout == "class folders"
    assert listed.count(str(tree / "a")) == 1
    (tree / "a" / "BIOSCAN_metadata.csv").write_text("processid\nx\n")
    assert reading_of(DataConfig(source="photos", photos=str(tree))).layout == "BIOSCAN"


def test_a_folder_is_listed_once_for_all_patterns_and_no_deeper_than_these(tree, monkeypatch):
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or scandir(path))
    assert globbed(tree, "*.csv", "a*/*.csv", "*/x.tar")
    assert listed.count(str(tree / "a")) == listed.count(str(tree)) == 1 and str(tree / "a" / "c") not in listed


def test_files_come_as_os_walk_has_them_without_what_is_hidden(tree):
    wanted = []
    for folder, folders, files in os.walk(tree):
        folders[:] = sorted(name for name in folders if name[0] != "." and not os.path.islink(f"{folder}/{name}"))
        wanted += [os.path.join(folder, name) for name in sorted(files) if name[0] != "."]
    found = [file for file in files_of(tree) if not file.problem]
    assert [file.location for file in found if file.name] == wanted
    assert all(Path(tree, *file.folders, file.name) == Path(file.location) for file in found)


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_a_link_that_leads_to_itself_is_an_image_that_cannot_be_read(image_folder, tmp_path):
    root = Path(shutil.copytree(image_folder, tmp_path / "garden"))
    link = next(folder for folder in root.iterdir() if folder.is_dir()) / "loop.jpg"
    link.symlink_to(link)
    (root / "loop").symlink_to(root / "loop")
    data = DataConfig(source="photos", photos=str(root))
    raw = read_source(data)
    assert read_names(data, raw) is None
    problems = catalog.inspect_images(raw).loc[raw["source_id"].str.endswith("loop.jpg"), "problem"]
    assert len(problems) == 1 and problems.iloc[0].startswith("unreadable")
