"""Files of checklists that are broken, hostile or odd: refused with what to do, or read, what is left out listed."""

import zipfile

import pytest

from bioclip_lib.errors import InputError
from bioclip_lib.taxonomy.backbone import Backbone, open_checklist

HEADER = "taxonID\tparentNameUsageID\tscientificName\ttaxonRank\n"
TABLE = HEADER + "1\t\tAnimalia\tkingdom\n2\t1\tParus\tgenus\n"
META = """<archive xmlns="http://rs.tdwg.org/dwc/text/"><core encoding="{encoding}" fieldsTerminatedBy="{delimiter}"
 fieldsEnclosedBy="{quote}" ignoreHeaderLines="{n_header_lines}" rowType="x/Taxon">
 <files><location>{location}</location></files>
 <id index="{index}"/><field index="2" term="x/scientificName"/></core></archive>"""
DEFAULTS = {
    **{"encoding": "UTF-8", "delimiter": "\\t", "quote": "", "n_header_lines": "1"},
    **{"location": "Taxon.tsv", "index": "0"},
}


def write(path, content) -> Backbone:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_checklist(path)


@pytest.mark.parametrize(
    "name",
    ["A" * 1_000_000, "Aus bus " * 200_000, "Parus\nPica", "A" * 20_000_000],
    ids=["word", "words", "lines", "larger than a block"],
)
def test_name_that_is_none_is_left_out(tmp_path, name):
    quoted = TABLE.replace("\t", ",") + f'3,1,"{name}",genus\n4,1,Pica,genus\n'
    checklist = write(tmp_path / "taxa.csv", quoted)
    assert checklist.names() == ["Animalia", "Parus", "Pica"]
    assert checklist.problems["id"].tolist() == ["3"] and checklist.problems["name"].str.len().max() <= 80
    assert "quotation marks" in checklist.problems["reason"].iloc[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('taxonID,scientificName\n1,"Parus\n2,Pica\n3,Sula\n', "matching quotes"),
        (TABLE.encode() + b"3\t1\tPar\xffus\tgenus\n", "save it as UTF-8"),
        (TABLE.encode("utf-16"), "save it as UTF-8"),
        (TABLE.encode("utf-16-le"), "UTF-16"),
        ("taxonID\ttaxonRank\n1\tgenus\n", "no columns taxonID"),
        ("scientificName\ttaxonRank\nParus\tgenus\n", "no columns taxonID"),
    ],
    ids=["open quote", "one bad byte", "UTF-16", "UTF-16 without mark", "no name", "no id"],
)
def test_unusable_table_is_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        write(tmp_path / "taxa.csv", content)


def test_names_in_parts_without_a_whole_one(tmp_path):
    rows = ["1,Paridae,,", "2,Paridae,Parus,", "3,Paridae,Parus,major", ",,,"]
    checklist = write(tmp_path / "taxa.csv", "\n".join(["taxonID,family,genus,specificEpithet", *rows]))
    assert checklist.names() == ["Paridae", "Parus", "Parus major"]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + TABLE.encode(),
        TABLE.replace("\n", "\r\n"),
        TABLE.replace("\n", "\r"),
        TABLE + "\n\n",
        TABLE.replace("Parus", "Pa\0rus"),
    ],
    ids=["byte order mark", "CRLF", "CR", "blank lines", "NUL"],
)
def test_odd_table_is_read(tmp_path, content):
    checklist = write(tmp_path / "taxa.tsv", content)
    assert checklist.names() in (["Animalia", "Parus"], ["Animalia", "Pa rus"]) and checklist.problems.empty


def test_chain_of_100_000_parents_is_followed(tmp_path):
    rows = "".join(f"{i}\t{i - 1 if i > 1 else ''}\tAus{chr(97 + i % 26)}\tclade\n" for i in range(1, 100_000))
    checklist = write(tmp_path / "taxa.tsv", HEADER + "0\t\tAnimalia\tkingdom\n" + rows + "100000\t99999\tZus\tgenus\n")
    (usage,) = checklist.usages("Zus")
    assert len(usage.above) == 99_999 and usage.taxon.ranks[0] == ""


def flip(data: bytes, marker: bytes, offset: int, value: int) -> bytes:
    """Return an archive with one byte changed, at an offset from the first marker."""
    i = data.index(marker) + offset
    return data[:i] + bytes([data[i] ^ value]) + data[i + 1 :]


@pytest.mark.parametrize("member", ["taxa.tsv", "meta.xml"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: flip(data, b"PK\x01\x02", 16, 0xFF), "damaged .*CRC"),
        (lambda data: flip(flip(data, b"PK\x01\x02", 8, 1), b"PK\x03\x04", 6, 1), "damaged .*encrypted"),
        (lambda data: flip(flip(data, b"PK\x01\x02", 10, 99), b"PK\x03\x04", 8, 99), "damaged .*compression method"),
        (lambda data: data[:-30], "cannot be opened as a zip"),
    ],
    ids=["checksum", "password", "method", "cut off"],
)
def test_damaged_zip_is_refused(tmp_path, member, change, message):
    with zipfile.ZipFile(tmp_path / "list.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, TABLE)
    data = change((tmp_path / "list.zip").read_bytes())
    with pytest.raises(InputError, match=message):
        write(tmp_path / "list.zip", data)


def test_zip_that_claims_to_unpack_to_gigabytes_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "list.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("taxa.tsv", TABLE)
    data = bytearray((tmp_path / "list.zip").read_bytes())
    i = data.index(b"PK\x01\x02") + 24  # the unpacked size in the directory
    data[i : i + 4] = (3_000_000_000).to_bytes(4, "little")
    with pytest.raises(InputError, match="decompression bomb"):
        write(tmp_path / "list.zip", bytes(data))


def test_zip_with_two_files_of_one_name_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "list.zip", "w") as archive:
        archive.writestr("taxa.tsv", TABLE)
        archive.writestr("TAXA.tsv", TABLE)
    with pytest.raises(InputError, match=r"several files taxa\.tsv"):
        open_checklist(tmp_path / "list.zip")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("encoding", "nonsense-8"),
        ("delimiter", "||"),
        ("delimiter", "&#10;"),
        ("quote", "&quot;&quot;"),
        ("n_header_lines", "x"),
        ("n_header_lines", "-5"),
        ("n_header_lines", "999999999"),
        ("location", "../../etc/passwd"),
        ("location", ""),
        ("index", "99999999999"),
        ("index", "-1"),
        ("index", "7"),
    ],
)
def test_meta_that_describes_what_is_not_there_is_refused(tmp_path, key, value):
    (tmp_path / "Taxon.tsv").write_text(TABLE)
    (tmp_path / "meta.xml").write_text(META.format(**DEFAULTS))
    assert open_checklist(tmp_path).names() == ["Animalia", "Parus"]
    (tmp_path / "meta.xml").write_text(META.format(**{**DEFAULTS, key: value}))
    with pytest.raises(InputError):
        open_checklist(tmp_path)


@pytest.mark.parametrize("content", ["<archive>" + "<a>" * 400_000, "<a>" * 10_000 + "</a>" * 10_000, "<a/>" * 2, "\0"])
def test_meta_that_is_no_description_is_refused(tmp_path, content):
    (tmp_path / "meta.xml").write_text(content)
    with pytest.raises(InputError, match=r"meta\.xml"):
        open_checklist(tmp_path)
