"""The one reader of tables: dialects, encodings, broken rows, containers; nothing shifted, nothing lost in silence."""

import csv
import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_lib.errors import InputError
from bioclip_lib.files import tables
from bioclip_lib.files.dialect import normal_name, table_at
from bioclip_lib.files.meta import described
from bioclip_lib.files.tables import list_files, read_batches, read_columns, read_strings, read_table

TWO_ROWS = {"path": ["a", "b"], "name": ["1", "2"]}


def write(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


def test_names_of_columns_are_written_in_one_way():
    assert normal_name(" EOL content ID") == "eol_content_id"


@pytest.mark.parametrize(
    "text",
    [
        "path,name\na,1\nb,2\n",
        "path,name\r\na,1\r\nb,2",
        "path,name\ra,1\rb,2\r",
        "\ufeffpath;name\na;1\nb;2\n",
        "path\tname\na\t1\nb\t2\n",
        "path|name\na|1\nb|2\n",
        "sep=;\npath;name\na;1\nb;2\n",
        '"sep=\t"\npath\tname\na\t1\nb\t2\n',
        "My birds of 2020\npath,name\na,1\nb,2\n",
        "My birds,\npath,name\na,1\nb,2\n",
        "\n\npath,name\na,1\n\nb,2\n\n",
        ' Path ,"NAME"\n" a ","1"\nb,2\n',
        "path,name,path\na,1,x\nb,2,y\n",
        "path,name\na,1\nb,2\n".encode("utf-16"),
        "path,name\na,1,,\nb,2,\n",
    ],
)
def test_dialects(tmp_path, text):
    read = read_strings(write(tmp_path, text))
    assert read[["path", "name"]].to_dict("list") == TWO_ROWS
    assert len(read.columns) == 2


@pytest.mark.parametrize("name", ["t.csv.gz", "t.parquet", "t.jsonl"])
def test_containers(tmp_path, name):
    path, table = tmp_path / name, pd.DataFrame(TWO_ROWS)
    if name == "t.csv.gz":
        path.write_bytes(gzip.compress(table.to_csv(index=False).encode()))
    elif name == "t.parquet":
        table.to_parquet(path)
    else:
        table.to_json(path, orient="records", lines=True)
    assert read_strings(path).to_dict("list") == TWO_ROWS
    assert read_columns(path, ["name", "none"]).to_dict("list") == {"name": ["1", "2"]}


def test_a_nul_stays_in_its_cell(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"path,name\n1.jpg,Parus\0 major\n2.jpg,Pica\n")
    assert read_strings(tmp_path / "t.csv")["name"].tolist() == ["Parus\0 major", "Pica"]


def test_a_parquet_file_of_too_many_rows_is_refused_before_they_take_memory(tmp_path, monkeypatch):
    pq.write_table(pa.table({"path": pa.repeat("a.jpg", 10**6).dictionary_encode()}), tmp_path / "t.parquet")
    monkeypatch.setattr(tables, "_MAX_ROWS", 10**5)
    monkeypatch.setattr(pq.ParquetFile, "read", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(
        InputError, match=r"t\.parquet declares 1,000,000 rows, more than 100,000; give it in several files"
    ):
        read_strings(tmp_path / "t.parquet")


def test_types_become_text(tmp_path):
    table = pd.DataFrame({"i": [1, None], "f": [0.5, 2.0], "b": [True, None], "s": [["x"], None]})
    table.astype({"i": "Int64"}).to_parquet(tmp_path / "t.parquet")
    read = read_strings(tmp_path / "t.parquet")
    assert read[["i", "f", "s"]].to_numpy().tolist() == [["1", "0.5", "['x']"], ["", "2", ""]]


def test_old_excel_is_windows_1252(tmp_path):
    assert read_strings(write(tmp_path, "n\nAñil “x”\n".encode("cp1252")))["n"].tolist() == ["Añil “x”"]
    late = "n\n" + "a\n" * 10**6 + "Añil\n"
    assert read_columns(write(tmp_path, late.encode("cp1252")), ["n"])["n"].iloc[-1] == "Añil"


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_other_encodings_are_read_block_by_block(tmp_path, encoding, monkeypatch):
    monkeypatch.setattr("bioclip_lib.files.dialect._HEAD_BYTES", 4099)  # no character ends with a block
    names = [f"Añil “{i}”" for i in range(3000)]
    table = read_strings(write(tmp_path, "\n".join(["n", *names]).encode(encoding)))
    assert table["n"].tolist() == names


def test_commas_belong_to_the_only_column(tmp_path):
    names = ["Parus major (Linnaeus, 1758)", "Parus ater Linnaeus, 1758"]
    assert read_strings(write(tmp_path, "name\n" + "\n".join(names)))["name"].tolist() == names


def test_rows_without_their_trailing_blanks_stay_in_their_places(tmp_path):
    rows = [["1", "x", "y"], ["2"], ["3", "a\nb"], ["4", "", "z"], ["5", "q,r"]]
    text = io.StringIO()
    csv.writer(text).writerows([["id", "b", "c"], *rows])
    path = write(tmp_path, text.getvalue())
    expected = [[*row, "", ""][:3] for row in rows]
    assert read_strings(path).to_numpy().tolist() == expected
    batches = [batch for batch in read_batches(table_at(path), {"id", "b", "c"}, [])]
    assert sorted(row for batch in batches for row in zip(*batch.to_pydict().values(), strict=True)) == sorted(
        map(tuple, expected)
    )


@pytest.mark.parametrize("place", [0, 1, 5000])
def test_an_unquoted_comma_is_refused_at_its_row(tmp_path, place):
    rows = [f"{i}.jpg,(Linnaeus),tit" for i in range(5001)]
    rows[place] = f"{place}.jpg,(Linnaeus, 1758),tit"
    path = write(tmp_path, "path,author,label\n" + "\n".join(rows))
    with pytest.raises(InputError, match=rf"row {place + 1}: 4 fields in place of 3: {place}\.jpg.*put quotes"):
        read_strings(path)
    problems = []
    assert read_table(table_at(path), {"path"}, problems).num_rows == 5000
    assert len(problems) == 1 and f"row {place + 1}:" in problems[0]["reason"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("a,b\n", "has no rows"),
        ('a,b\n1,"2\n3,4\n', "never closed"),
        ('a,b\n"1,2\n3,4\n', "fields in place of"),
        ("a,b\n1,2\n".encode("utf-16-le"), "looks like UTF-16"),
    ],
)
def test_what_is_no_table(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_strings(write(tmp_path, text))


def test_what_is_not_there_or_damaged(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_columns(tmp_path / "none.csv", ["a"])
    cut = gzip.compress(b"a,b\n" + b"1,2\n" * 10_000)[:40]
    with pytest.raises(InputError, match="download it again"):
        read_strings(write(tmp_path, cut, "t.csv.gz"))


CELLS = st.text(st.sampled_from("ab \t,;|\"'\né#"), max_size=5).map(lambda text: text.replace("\n", " "))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=6), st.sampled_from(",;\t|"))
def test_what_was_written_is_read(tmp_path_factory, rows, delimiter):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("x", "y", "z"), *rows])
    assert read_strings(path).to_numpy().tolist() == [[cell.strip() for cell in row] for row in rows]


def packed(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
@pytest.mark.parametrize("top", ["", "export-1/", "./", "./export-1/"])
def test_tables_of_an_archive(tmp_path, suffix, top):
    files = {"Taxon.tsv": b"id\tname\n1\tParus\n", "list.csv.gz": gzip.compress(b"id\n7\n"), "more/x.csv": b"y"}
    files |= {"1.JPG": b"x", "__MACOSX/._Taxon.tsv": b"x"}
    found = list_files(packed(tmp_path / f"a{suffix}", {f"{top}{name}": data for name, data in files.items()}))
    assert set(found) == {"taxon.tsv", "list.csv"}
    assert read_table(found["taxon.tsv"], None).to_pydict() == {"id": ["1"], "name": ["Parus"]}


def test_a_table_over_several_blocks_is_read_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_BLOCK_BYTES", 1000)
    lines = [f'{i},"x\n{i}"' if i % 7 else str(i) for i in range(2000)]
    read = read_strings(write(tmp_path, "n,text\n" + "\n".join(lines)))
    assert read["n"].tolist() == [str(i) for i in range(2000)]
    assert read["text"].tolist() == [f"x\n{i}" if i % 7 else "" for i in range(2000)]


META = """<archive xmlns="http://rs.tdwg.org/dwc/text/"><core ignoreHeaderLines="1" {dialect} rowType="x/Taxon">
<files>{files}</files><id index="0"/><field index="0" term="x/taxonID"/><field index="1" term="x/scientificName"/>
<field index="2" term="x/taxonRemarks"/><field default="species" term="x/taxonRank"/></core>
<extension rowType="x/VernacularName"><files/><coreid index="0"/></extension></archive>"""


def core_of(folder: Path, dialect: str, *parts: str):
    names = [f"<location>part{i}.txt</location>" for i in range(len(parts))]
    (folder / "meta.xml").write_text(META.format(dialect=dialect, files="".join(names)))
    for i, part in enumerate(parts):
        (folder / f"part{i}.txt").write_text(part)
    return described(list_files(folder))


def test_a_table_in_several_files_two_terms_of_a_column_and_a_default(tmp_path):
    core = core_of(tmp_path, 'fieldsTerminatedBy=","', "i,n,r\n1,Aa,x\n", "i,n,r\n2,Bb\n")
    assert read_table(core, {"id", "taxonid", "scientificname", "taxonremarks", "taxonrank"}).to_pydict() == {
        "id": ["1", "2"], "taxonid": ["1", "2"], "scientificname": ["Aa", "Bb"], "taxonremarks": ["x", ""],
        "taxonrank": ["species", "species"],
    }  # fmt: skip
    assert described(list_files(tmp_path), "vernacularname") is None  # of no file


@pytest.mark.parametrize("text", ["i\tn\tr\n1\tAa\tx\n", "i,n,r\n1,Aa,x\n", "i\tn\tr\n1\tAa\n"])
def test_a_delimiter_that_meta_xml_leaves_out_is_found(tmp_path, text):
    assert read_table(core_of(tmp_path, "", text), {"scientificname"}).to_pydict() == {"scientificname": ["Aa"]}


def test_an_empty_table_of_an_archive_has_no_rows_and_another_delimiter_is_refused(tmp_path):
    assert read_table(core_of(tmp_path, "", ""), {"scientificname"}).num_rows == 0
    with pytest.raises(InputError, match=r"column 3 of 1; download the archive again"):
        read_table(core_of(tmp_path, 'fieldsTerminatedBy=","', "i\tn\tr\n1\tAa\tx\n"), {"scientificname"})
