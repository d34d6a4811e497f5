"""Backbones: mapped tables that are built once, English names, what a table of birds gives, and the quirks of NCBI."""

import ast
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from bioclip_lib import RANKS, taxonomy
from bioclip_lib.config import DataConfig
from bioclip_lib.errors import InputError
from bioclip_lib.taxonomy import backbone
from bioclip_lib.taxonomy import cache as tables_cache
from bioclip_lib.taxonomy.cache import cache_folder
from bioclip_lib.taxonomy.labels import plain_label, read_labels
from bioclip_lib.taxonomy.ncbi import ncbi

TABLE = "taxonID\tparentNameUsageID\tscientificName\ttaxonRank\n1\t\tAnimalia\tkingdom\n2\t1\tParus\tgenus\n"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Keep every checklist, however small, in a cache of its own."""
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(backbone, "_SMALL", 0)
    (tmp_path / "taxa.tsv").write_text(TABLE)
    return tmp_path / "cache"


def test_tables_are_built_once_and_again_where_the_source_or_the_cache_changed(cache, tmp_path, monkeypatch):
    read, calls = backbone.read_usages, []
    monkeypatch.setattr(backbone, "read_usages", lambda path: calls.append(1) or read(path))
    for _ in range(2):
        assert backbone.open_checklist(tmp_path / "taxa.tsv").names() == ["Animalia", "Parus"]
    assert len(calls) == 1 and len(list(cache.iterdir())) == 1
    (tmp_path / "taxa.tsv").write_text(TABLE + "3\t2\tParus major\tspecies\n")
    assert backbone.open_checklist(tmp_path / "taxa.tsv").names() == ["Animalia", "Parus", "Parus major"]
    assert len(calls) == 2
    for folder in cache.iterdir():
        (folder / "usages.arrow").write_bytes(b"damaged")
    assert backbone.open_checklist(tmp_path / "taxa.tsv").names() == ["Animalia", "Parus", "Parus major"]
    assert len(calls) == 3 and not [path for path in cache.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", ["usages", "words", "problems"])
def test_no_flipped_bit_of_a_cache_is_read(cache, tmp_path, name):
    backbone.open_checklist(tmp_path / "taxa.tsv")
    (file,) = cache.glob(f"*/{name}.arrow")
    whole = file.read_bytes()
    place = len(whole) // 2
    file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    assert backbone.open_checklist(tmp_path / "taxa.tsv").names() == ["Animalia", "Parus"]
    assert file.read_bytes() == whole


def test_caches_of_other_code_go_when_nobody_has_used_them_for_a_week(cache, tmp_path, monkeypatch):
    code = tables_cache.code_digest()
    monkeypatch.setattr(tables_cache, "code_digest", lambda: "old")
    read = backbone.open_checklist(tmp_path / "taxa.tsv")
    monkeypatch.setattr(tables_cache, "code_digest", lambda: code)
    (cache / "labels").mkdir()
    (cache / ".checklist-x.999999999-1.tmp").mkdir()  # of a process that is no more
    backbone.open_checklist(tmp_path / "taxa.tsv")
    assert len(list(cache.iterdir())) == 3
    for folder in cache.iterdir():
        os.utime(folder, (0, 0))
    backbone.open_checklist(tmp_path / "taxa.tsv")
    names = sorted(folder.name for folder in cache.iterdir())
    assert len(names) == 2 and names[0].endswith(code) and names[1] == "labels"
    assert read.names() == ["Animalia", "Parus"], "who has opened one keeps what it has"


def test_builders_at_the_same_time_do_not_disturb_each_other(cache, tmp_path):
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: backbone.open_checklist(tmp_path / "taxa.tsv"), range(8)))
    assert {tuple(each.names()) for each in opened} == {("Animalia", "Parus")}
    assert [path.name[:10] for path in cache.iterdir()] == ["checklist-"]


def test_cache_that_cannot_be_written_is_said_and_done_without(cache, tmp_path):
    cache.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="BIOCLIP_CACHE"):
        assert backbone.open_checklist(tmp_path / "taxa.tsv").names() == ["Animalia", "Parus"]


def test_cache_lies_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.delenv("BIOCLIP_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "bioclip_lib"
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"


def test_a_process_that_names_one_bird_needs_little_memory():
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of another process is read from /proc, which is not there")
    ncbi()  # the tables are there
    code = (
        "from bioclip_lib import taxonomy; assert taxonomy.resolve(['Parus major'])['rank'][0];"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert int(run.stdout) / 1024 < 300  # MiB


def test_a_plain_binomial_is_read_without_the_parser_as_with_it():
    names = ["Parus major", "Quercus robur", "Rana pipiens", "Citrus limon", "Escherichia coli", "Homo sapiens"]
    for name, label in zip(names, read_labels(names), strict=True):
        plain = plain_label(name)
        assert (plain.text, plain.at_least, plain.said) == (label.text, label.at_least, label.said)
        assert (label.whole.parsed.canonical, label.whole.parsed.authorship) == (name, "")
    assert not any(map(plain_label, ["parus major", "Parus major L.", "Parus", "Parus sp", "PARUS MAJOR", ""]))


def test_other_code_that_builds_the_tables_has_a_cache_of_its_own(cache, tmp_path, monkeypatch):
    backbone.open_checklist(tmp_path / "taxa.tsv")
    monkeypatch.setattr(tables_cache, "code_digest", lambda: "changed")
    backbone.open_checklist(tmp_path / "taxa.tsv")
    assert len(list(cache.iterdir())) == 2


def test_the_digest_of_a_cache_covers_all_code_of_the_package_that_builds_it():
    folder, seen, waiting = Path(tables_cache.__file__).parent, set(), ["ncbi", "avilist", "backbone"]
    while waiting:
        name = waiting.pop()
        seen.add(name)
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module not in seen:
                waiting.append(node.module)
    assert seen - {"cache"} == {name for name in tables_cache._BUILDERS if not name.startswith("..")}


def test_informal_taxa_of_ncbi_are_no_species():
    names = ncbi().names()
    assert not [name for name in names if " sp." in name or name.startswith(("uncultured", "unclassified"))]
    (goose,) = ncbi().english("goose")
    assert (ncbi().rank(goose), ncbi().at(goose).name) == ("genus", "Anser")


def test_birds_of_avilist():
    pytest.importorskip("birdnames")
    birds = taxonomy.open_backbones(DataConfig(backbones=("avilist",)))
    names = ["Blue Jay", "Cyanocitta cristata", "Corvus corax principalis", "Larus xqzensis", "Corvidae"]
    table = taxonomy.resolve(names, birds)
    found = ["Cyanocitta cristata", "Cyanocitta cristata", "Corvus corax", "Larus", "Corvidae"]
    assert table["scientific_name"].tolist() == found
    assert table["name_status"].tolist() == ["accepted"] * 3 + ["unverified", "accepted"]
    assert table.loc[0, [*RANKS, "common_name"]].tolist() == [
        *("Animalia", "Chordata", "Aves", "Passeriformes", "Corvidae", "Cyanocitta", "cristata", "Blue Jay")
    ]
    assert birds[0].problems.empty and set(table["backbone"]) == {"AviList 2025"}


def test_avilist_without_its_package_names_the_extra(monkeypatch):
    from bioclip_lib.taxonomy import avilist

    monkeypatch.setattr(avilist.importlib.util, "find_spec", lambda name: None)
    avilist.avilist.cache_clear()
    with pytest.raises(InputError, match=r"pip install bioclip_lib\[birds\]"):
        taxonomy.open_backbones(DataConfig(backbones=("avilist",)))


@pytest.mark.parametrize("accepted", ["s1|s2", "s1; s2"])
def test_a_synonym_with_two_accepted_ids_in_one_cell_is_ambiguous(tmp_path, accepted):
    columns = ["taxonID", "parentNameUsageID", "acceptedNameUsageID", "scientificName", "taxonRank", "taxonomicStatus"]
    rows = [("k", "", "", "Plantae", "kingdom", "accepted"), ("g", "k", "", "Aus", "genus", "accepted")]
    rows += [(i, "g", "", f"Aus {name}", "species", "accepted") for i, name in (("s1", "albus"), ("s2", "niveus"))]
    rows += [("y", "", accepted, "Aus duplex", "species", "synonym")]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "taxa.tsv", sep="\t", index=False)
    row = taxonomy.resolve(["Aus duplex"], [backbone.open_checklist(tmp_path / "taxa.tsv")]).iloc[0]
    assert (row["name_status"], row["genus"]) == ("ambiguous", "Aus")
    assert "Aus albus" in row["alternatives"] and "Aus niveus" in row["alternatives"]
