"""EOL media: file names with content and page, manifests, the Dynamic Hierarchy."""

from pathlib import Path

import pytest

from bioclip_lib import RANKS
from bioclip_lib.config import DataConfig
from bioclip_lib.errors import InputError
from bioclip_lib.files.images import read_bytes
from bioclip_lib.sources.eol import read_eol, read_pages, read_vernaculars
from bioclip_lib.sources.read import read_source

MANIFEST = "EOL content ID,EOL page ID,Medium Source URL,EOL Full-Size Copy URL,License Name,Copyright Owner\n"
TAXA = (
    "taxonID\tsource\tacceptedNameUsageID\tparentNameUsageID\tscientificName\ttaxonRank\t"
    "taxonomicStatus\tcanonicalName\teolID\n"
)
HIERARCHY = (
    ("EOL-1", "", "Metazoa", "kingdom", "Metazoa", "1"),
    ("EOL-2", "EOL-1", "Aves", "class", "Aves", "2"),
    ("EOL-3", "EOL-2", "Corvidae Leach 1820", "family", "Corvidae", "3"),
    ("EOL-4", "EOL-3", "Pica Brisson 1760", "genus", "Pica", "4"),
    ("EOL-5", "EOL-4", 'Pica hudsonia "Sabine" 1823', "species", "Pica hudsonia", "45509"),
    ("EOL-6", "EOL-7", "Loopus", "genus", "Loopus", "66"),
    ("EOL-7", "EOL-6", "Loopidae", "family", "Loopidae", "67"),
)


@pytest.fixture
def write_eol(jpeg, write_archive):
    def write(root: Path, manifest: bool = True, taxa: bool = True) -> Path:
        names = ["101_45509", "102_45509", "103_66", "104_999"]
        files = {f"{name}_eol-full-size-copy.jpg": jpeg(i) for i, name in enumerate(names)}
        write_archive(root / "images" / "image_set_01.tar.gz", dict(list(files.items())[:3]))
        name = list(files)[3]
        (root / "images" / name).write_bytes(files[name])
        if manifest:
            rows = [
                f'{content},{page},http://src/{content},http://eol/{content}.jpg,cc-by-sa-3.0,"Ann Ó, Bob"\n'
                for content, page in (name.split("_") for name in [*names, "105_45509"])
            ]
            (root / "media_manifest.csv").write_text(MANIFEST + "".join(rows), encoding="utf-8")
        if taxa:
            rows = [f"{i}\ttrunk:1\t\t{p}\t{n}\t{r}\taccepted\t{c}\t{e}\n" for i, p, n, r, c, e in HIERARCHY]
            (root / "taxon.tab").write_text(TAXA + "".join(rows), encoding="utf-8")
        return root

    return write


def test_manifest_images_and_hierarchy(tmp_path, write_eol, jpeg):
    raw = read_source(DataConfig(source="photos", photos=str(write_eol(tmp_path))))
    assert raw["source_id"].tolist() == ["101_45509", "102_45509", "103_66", "104_999", "105_45509"]
    assert raw["problem"].tolist() == ["", "", "", "", "image not found"]
    assert [read_bytes(location) for location in raw["location"][:4]] == [jpeg(i) for i in range(4)]
    first = raw.iloc[0]
    assert first["verbatim_name"] == 'Pica hudsonia "Sabine" 1823'
    assert first[list(RANKS)].tolist() == ["Metazoa", "", "Aves", "", "Corvidae", "Pica", "hudsonia"]
    assert (first["license"], first["rights_holder"]) == ("cc-by-sa-3.0", "Ann Ó, Bob")
    assert first["source_url"] == "http://src/101"
    assert raw["verbatim_name"].tolist()[2:4] == ["Loopus", ""]  # a cycle of parents; a page without a taxon


def test_images_without_a_row_and_double_images(tmp_path, write_eol, jpeg):
    root = write_eol(tmp_path)
    for name in ("200_45509_eol-full-size-copy.jpg", "more/101_45509_eol-full-size-copy.jpg", "portrait.jpg"):
        (root / "images" / name).parent.mkdir(exist_ok=True)
        (root / "images" / name).write_bytes(jpeg(9))
    raw = read_eol(root).iloc[5:]
    assert set(raw["problem"]) == {"image that the table does not list"} and len(raw) == 3


def test_a_content_that_is_listed_twice(tmp_path, write_eol):
    root = write_eol(tmp_path)
    with (root / "media_manifest.csv").open("a", encoding="utf-8") as file:
        file.write("101,45509,,,cc0,\n")
    raw = read_eol(root).iloc[-1]
    assert (raw["source_id"], raw["problem"]) == ("101_45509#2", "listed again")


def test_images_alone(tmp_path, write_eol, jpeg):
    root = write_eol(tmp_path, manifest=False)
    (root / "1_2_eol-full-size-copy.jpg").write_bytes(jpeg(7))
    (root / "images" / "odd.jpg").write_bytes(jpeg(8))
    raw = read_source(DataConfig(source="photos", photos=str(root))).set_index("source_id")
    assert len(raw) == 6 and raw.loc["101_45509", "species"] == "hudsonia"
    assert raw.loc["images/odd.jpg", "problem"] == "file name without EOL's ids"
    assert (raw.drop("images/odd.jpg")["problem"] == "").all()
    (root / "images" / "1_2_eol-full-size-copy.jpg").write_bytes(jpeg(9))
    again = read_eol(root).set_index("source_id")["problem"]
    assert again["1_2"] == "" and again["1_2#2"] == "second image of this id" and len(again) == 7


def test_without_a_hierarchy_names_are_empty(tmp_path, write_eol):
    assert set(read_eol(write_eol(tmp_path, taxa=False))["verbatim_name"]) == {""}


def test_what_cannot_be_used(tmp_path, write_eol):
    root = write_eol(tmp_path)
    (root / "taxon.tab").write_text("taxonID\tscientificName\n1\tx\n")
    with pytest.raises(InputError, match="has no column parentnameusageid"):
        read_eol(root)
    with pytest.raises(InputError, match="cannot be read"):
        read_pages(tmp_path / "none.tab", {"1"})


def test_a_page_stands_in_the_hierarchy_whatever_is_missing_there(tmp_path):
    rows = ("k\t\t\t\tMetazoa\tkingdom\t\t\t1", "g\t\t\tk\tPica Brisson 1760\tgenus\t\t\t4")
    more = ("s\t\t\tg\tPica pica (Linnaeus 1758)\tspecies\t\t\t5", "u\t\t\ts\tPica pica alba\tsubspecies\t\t\t6")
    (tmp_path / "taxon.tab").write_text(TAXA + "\n".join((*rows, *more)) + "\n", encoding="utf-8")
    read = read_pages(tmp_path / "taxon.tab", {"5", "6", "7", ""})
    assert read.index.tolist() == ["5", "6"]
    assert read["verbatim_name"].tolist() == ["Pica pica (Linnaeus 1758)", "Pica pica alba"]
    assert read[["kingdom", "genus", "species"]].to_numpy().tolist() == [["Metazoa", "Pica", "pica"]] * 2


def test_the_notebook_builds_a_data_set_of_it(tmp_path, write_eol, build_data_set):
    built = build_data_set(write_eol(tmp_path / "eol"), **{"data.max_unreadable": 0.5})
    assert len(built["table"]) == len(built["raw"]) and set(built["table"]["source"]) == {"eol"}


def test_common_names_come_by_page_the_preferred_one_first(tmp_path, write_eol):
    root = write_eol(tmp_path)
    header = "page_id,canonical_form,vernacular_string,language_code,resource_name,is_preferred_by_resource,"
    rows = [
        "45509,Pica hudsonia,American magpie,eng,r,,",
        "45509,Pica hudsonia,Black-billed Magpie,eng,r,preferred,preferred",
        "45509,Pica hudsonia,Elster,deu,r,preferred,preferred",
        "66,Loopus,zebra loop,eng,r,,",
        "66,Loopus,common loop,eng,r,,",
        "999,,Specht,deu,r,,preferred",
    ]
    for order in (rows, rows[::-1]):
        (root / "vernacularnames.csv").write_text("\n".join([header + "is_preferred_by_eol", *order]), encoding="utf-8")
        raw = read_eol(root)
        magpie, loop = "Black-billed Magpie", "zebra loop"  # of two equal ones the shorter, as everywhere
        assert raw["common_name"].tolist() == [magpie, magpie, loop, "", magpie]
    (root / "vernacularnames.csv").write_text("page_id,name\n66,x\n")
    with pytest.raises(InputError, match="has no column vernacular_string, language_code"):
        read_vernaculars(root / "vernacularnames.csv", {"66"})
