"""Darwin Core Archives as GBIF and iNaturalist export them, and hostile ones."""

import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from bioclip_lib import RANKS
from bioclip_lib.config import DataConfig
from bioclip_lib.errors import InputError
from bioclip_lib.files.images import read_bytes
from bioclip_lib.sources.dwca import read_dwca
from bioclip_lib.sources.read import read_source

DWC, DC, GBIF = "http://rs.tdwg.org/dwc/terms/", "http://purl.org/dc/terms/", "http://rs.gbif.org/terms/1.0/"
CORE = ("gbifID", "license", "rightsHolder", "scientificName", *RANKS[:6], "species", "specificEpithet", "references")
MEDIA = ("gbifID", "type", "format", "identifier", "license", "rightsHolder")
DUBLIN_CORE = ("license", "rightsHolder", "identifier", "type")
BIRD = ("Animalia", "Chordata", "Aves", "Passeriformes", "Paridae", "Parus", "Parus major", "major")


def table_xml(kind: str, row_type: str, file: str, columns, style: dict[str, str], default: str = "") -> str:
    attributes = " ".join(f'{key}="{value}"' for key, value in style.items())
    fields = "".join(
        f'<field index="{i}" term="{DC if name in DUBLIN_CORE else DWC}{name}"/>' for i, name in enumerate(columns) if i
    )
    tag = "id" if kind == "core" else "coreid"
    return (
        f'<{kind} {attributes} rowType="{row_type}"><files><location>{file}</location></files>'
        f'<{tag} index="0"/>{fields}{default}</{kind}>'
    )


COMMON = {"encoding": "UTF-8", "linesTerminatedBy": "\\n", "ignoreHeaderLines": "1"}
STYLES = {
    "gbif": {**COMMON, "fieldsTerminatedBy": "\\t", "fieldsEnclosedBy": ""},
    "inat": {**COMMON, "fieldsTerminatedBy": ",", "fieldsEnclosedBy": "&quot;"},
}


def line(cells, style: str) -> str:
    return "\t".join(cells) + "\n" if style == "gbif" else ",".join(f'"{cell}"' for cell in cells) + "\n"


@pytest.fixture
def write_dwca(jpeg):
    """Write a seeded archive of three occurrences: two images, one image and a sound, none."""

    def write(root: Path, style: str = "gbif", extra=(), encoding: str = "utf-8", images: bool = True) -> Path:
        root.mkdir(parents=True, exist_ok=True)
        end = "txt" if style == "gbif" else "csv"
        default = f'<field default="great tit" term="{DWC}vernacularName"/>'
        core = table_xml("core", DWC + "Occurrence", f"occurrence.{end}", CORE, STYLES[style], default)
        media = table_xml("extension", GBIF + "Multimedia", f"multimedia.{end}", MEDIA, STYLES[style])
        verbatim = table_xml("extension", DWC + "Occurrence", f"verbatim.{end}", CORE, STYLES[style])
        xml = f'<archive xmlns="http://rs.tdwg.org/dwc/text/" metadata="metadata.xml">{core}{media}{verbatim}</archive>'
        (root / "meta.xml").write_text(xml, encoding="utf-8")
        author = "Linné, 1758" if style == "inat" else 'Linné "L.", 1758'
        lines = [("gbifID", *CORE[1:])]
        lines += [(i, "CC0", "Owner", f"Parus major {author}", *BIRD, f"http://o/{i}") for i in ("11", "12", "13")]
        (root / f"occurrence.{end}").write_text("".join(line(x, style) for x in lines), encoding=encoding)
        url = "https://inaturalist-open-data.s3.amazonaws.com/photos/{}/original.jpg?1545"
        rows = [
            ("11", "StillImage", "image/jpeg", url.format(1), "CC BY", "Zoë"),
            ("11", "StillImage", "image/jpeg", url.format(2), "", ""),
            ("12", "Sound", "audio/mpeg", "http://x/3.mp3", "", ""),
            ("12", "StillImage", "image/jpeg", "http://x/4.jpg", "", ""),
            *extra,
        ]
        text = "".join(line(x, style) for x in [MEDIA, *rows])
        (root / f"multimedia.{end}").write_text(text, encoding=encoding)
        for i, name in enumerate(("photos/1/original.jpg", "photos/2/original.jpg", "4.jpg") if images else ()):
            (root / "media" / name).parent.mkdir(parents=True, exist_ok=True)
            (root / "media" / name).write_bytes(jpeg(i))
        return root

    return write


def zipped(root: Path) -> Path:
    path = root.parent / f"{root.name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in sorted(root.rglob("*")):
            file.write(name, name.relative_to(root).as_posix())
    return path


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize("style", ["gbif", "inat"])
def test_exports(tmp_path, write_dwca, jpeg, style, as_zip):
    root = write_dwca(tmp_path / "birds", style)
    path = zipped(root) if as_zip else root
    if as_zip:
        root.rename(tmp_path / "elsewhere")
    raw = read_source(DataConfig(source="photos", photos=str(path)))
    assert raw["source_id"].tolist() == ["11/1", "11/2", "12/1", "12/2", "13/1"] and set(raw["source"]) == {"birds"}
    assert raw["problem"].tolist() == ["", "", "not an image (Sound)", "", "occurrence without an image"]
    assert [read_bytes(raw["location"][i]) for i in (0, 1, 3)] == [jpeg(i) for i in range(3)]
    assert raw[list(RANKS)].to_numpy().tolist() == 5 * [[*BIRD[:6], "major"]]
    assert raw["verbatim_name"][0].startswith("Parus major Linné")
    assert raw["license"].tolist() == ["CC BY", "CC0", "CC0", "CC0", "CC0"]
    assert raw["rights_holder"].tolist()[:2] == ["Zoë", "Owner"] and set(raw["common_name"]) == {"great tit"}
    assert raw["source_url"].tolist()[3:] == ["http://x/4.jpg", "http://o/13"]


@pytest.mark.parametrize(
    ("pattern", "instead"),
    [
        (r'<(core)?id index="0"/>', f'<field index="0" term="{GBIF}gbifID"/>'),  # an archive that states no id
        (r'<(core)?id index="0"/>', f'<field index="0" term="{DWC}occurrenceID"/>'),
        (r"\\t", "\t"),  # a tab itself, which XML reads as a blank
        (r"><files><location>(.*?)</location></files>", r' location="\1">'),  # as the first archives have it
    ],
)
def test_the_same_archive_described_otherwise(tmp_path, write_dwca, pattern, instead):
    root = write_dwca(tmp_path / "birds")
    plain = read_dwca(root)
    xml, n = re.subn(pattern, instead, (root / "meta.xml").read_text())
    (root / "meta.xml").write_text(xml)
    assert n > 1 and read_dwca(root).equals(plain)


@pytest.mark.parametrize(
    "name", ["{gbif}_{n}.jpg", "{gbif}-{n}.jpeg", "m:{id} {n}.JPG", "{id}.{n}.png", "{cat}_{n}.jpg"]
)
def test_files_called_by_any_id_of_their_occurrence(tmp_path, jpeg, name):
    rows = [f"{i}\thttp://m.org/o{i}x\tQ-{i}\tParus major" for i in (901, 902, 903)]
    (tmp_path / "occurrence.txt").write_text("\n".join(["gbifID\toccurrenceID\tcatalogNumber\tscientificName", *rows]))
    media = [f"{i}\thttp://m.org/iiif/{i}{n}/full/0/default.jpg" for i, n in ((901, 1), (902, 1), (902, 2))]
    (tmp_path / "multimedia.txt").write_text("\n".join(["gbifID\tidentifier", *media]))
    for i, n in ((901, 1), (902, 1), (902, 2)):
        (tmp_path / name.format(gbif=i, id=f"o{i}x", cat=f"Q-{i}", n=n).rpartition(":")[2]).write_bytes(jpeg(i + n))
    raw = read_dwca(tmp_path)
    assert raw["problem"].tolist() == ["", "", "", "occurrence without an image"]
    assert [read_bytes(place) for place in raw["location"][:3]] == [jpeg(i) for i in (902, 903, 904)]


def test_a_number_of_two_collections_names_no_file(tmp_path, jpeg):
    rows = ["901\t7\tParus major", "902\t7\tTurdus merula", "903\t8\tAcer rubrum"]
    (tmp_path / "occurrence.txt").write_text("\n".join(["gbifID\tcatalogNumber\tscientificName", *rows]))
    media = [f"{i}\thttp://m.org/iiif/{i}/full/0/default.jpg" for i in (901, 902, 903)]
    (tmp_path / "multimedia.txt").write_text("\n".join(["gbifID\tidentifier", *media]))
    for name in ("7_1", "7_2", "8"):
        (tmp_path / f"{name}.jpg").write_bytes(jpeg(int(name[0])))
    assert read_dwca(tmp_path)["problem"].tolist()[:3] == ["image not downloaded", "image not downloaded", ""]


def test_images_beside_a_zip(tmp_path, write_dwca, jpeg):
    path = zipped(write_dwca(tmp_path / "birds", images=False))
    (tmp_path / "unrelated.jpg").write_bytes(jpeg(9))
    (tmp_path / "birds" / "4.jpg").write_bytes(jpeg(5))
    raw = read_dwca(path)
    assert raw["problem"].tolist()[:4] == ["image not downloaded"] * 2 + ["not an image (Sound)", ""]
    assert len(raw) == 5 and read_bytes(raw["location"][3]) == jpeg(5)


def test_a_zip_in_the_folder_of_its_images(tmp_path, write_dwca, jpeg):
    write_dwca(tmp_path / "in" / "birds", images=False)
    zipped(tmp_path / "in" / "birds").rename(tmp_path / "in" / "0001-2.zip")
    (tmp_path / "in" / "birds").rename(tmp_path / "elsewhere")
    (tmp_path / "in" / "photos").mkdir()
    (tmp_path / "in" / "photos" / "4.jpg").write_bytes(jpeg(5))
    raw = read_source(DataConfig(source="photos", photos=str(tmp_path / "in")))
    assert raw["problem"].tolist()[:4] == ["image not downloaded"] * 2 + ["not an image (Sound)", ""]


def test_images_of_a_zip_may_differ_by_case_alone(tmp_path, write_dwca, jpeg):
    root = write_dwca(tmp_path / "birds")
    for name in ("5.jpg", "5.JPG"):
        (root / name).write_bytes(jpeg(6))
    path = zipped(root)
    root.rename(tmp_path / "elsewhere")
    assert (read_dwca(path)["problem"] == "image that the table does not list").sum() == 2


def test_orphans_duplicates_and_unlisted_images(tmp_path, write_dwca, jpeg):
    extra = [("99", "StillImage", "", "http://x/9.jpg", "CC0", ""), ("13", "StillImage", "", "http://x/8.jpg", "", "")]
    root = write_dwca(tmp_path / "a", extra=extra)
    lines = (root / "occurrence.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    (root / "occurrence.txt").write_text("".join([*lines, lines[1]]), encoding="utf-8")
    (root / "media" / "7.jpg").write_bytes(jpeg(7))
    raw = read_dwca(root)
    assert raw["source_id"].is_unique
    assert raw["problem"].tolist()[4:] == [
        "image not downloaded",
        "occurrence listed again",
        "no occurrence of this id",
        "image that the table does not list",
    ]


def test_an_ambiguous_file_name_is_no_match(tmp_path, write_dwca, jpeg):
    root = write_dwca(tmp_path / "a")
    (root / "media" / "again").mkdir()
    (root / "media" / "again" / "4.jpg").write_bytes(jpeg(8))
    assert read_dwca(root)["problem"][3] == "image not downloaded"


def test_another_encoding_than_stated(tmp_path, write_dwca):
    raw = read_dwca(write_dwca(tmp_path / "a", encoding="cp1252"))
    assert raw["verbatim_name"][0].startswith("Parus major Linné") and raw["rights_holder"][0] == "Zoë"


ENTITY = '<?xml version="1.0"?><!DOCTYPE archive [<!ENTITY x SYSTEM "file:///etc/passwd">]><archive>&x;</archive>'
LAUGHS = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><archive>&b;</archive>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("xml", [ENTITY, LAUGHS, '<!DOCTYPE archive SYSTEM "http://x/y.dtd"><archive/>'])
def test_a_document_type_is_refused(tmp_path, write_dwca, xml, encoding):
    root = write_dwca(tmp_path / "a")
    (root / "meta.xml").write_text(xml.replace('<?xml version="1.0"?>', ""), encoding=encoding)
    with pytest.raises(InputError, match="declares a document type"):
        read_dwca(root)


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize("name", ["../secret.txt", "/etc/passwd", "..\\secret.txt", "file:///etc/passwd"])
def test_files_outside_the_archive_are_refused(tmp_path, write_dwca, name, as_zip):
    (tmp_path / "secret.txt").write_text("1\tsecret\n")
    root = write_dwca(tmp_path / "a")
    meta = (root / "meta.xml").read_text()
    (root / "meta.xml").write_text(meta.replace(">occurrence.txt<", f">{name}<"))
    with pytest.raises(InputError, match=r"names a file .* that is not there"):
        read_dwca(zipped(root) if as_zip else root)


def test_links_that_a_reader_does_not_follow_are_refused_where_they_should_be(tmp_path, write_dwca):
    root = write_dwca(tmp_path / "birds")
    (root / "media" / "4.jpg").rename(tmp_path / "4.jpg")
    (root / "media" / "4.jpg").symlink_to(tmp_path / "4.jpg")
    data = DataConfig(source="photos", photos=str(root))
    assert read_source(data)["problem"][3].startswith("link that leaves the folder")
    with pytest.raises(InputError, match=r"follow_links .* 12/2 is one .*copy the set"):
        read_source(replace(data, follow_links=True))


def test_a_link_out_of_the_archive_is_not_followed(tmp_path, write_dwca):
    root = write_dwca(tmp_path / "a")
    (root / "occurrence.txt").rename(tmp_path / "secret.txt")
    (root / "occurrence.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(InputError, match=r"names a file 'occurrence\.txt' that is not there"):
        read_dwca(root)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<archive", "<archive <", "not well-formed"),
        ("terms/Occurrence", "terms/Reference", "core of the archive is reference, not occurrence"),
        ('<id index="0"/>', "", "has no id"),
        ('<id index="0"/>', '<id index="40"/>', "cannot be read as meta.xml describes"),
        ('encoding="UTF-8"', 'encoding="klingon"', "cannot be read as meta.xml describes"),
        (">multimedia.txt<", ">none.txt<", r"names a file 'none\.txt' that is not there"),
    ],
)
def test_broken_archives(tmp_path, write_dwca, old, new, message):
    root = write_dwca(tmp_path / "a")
    meta = (root / "meta.xml").read_text()
    (root / "meta.xml").write_text(meta.replace(old, new))
    with pytest.raises(InputError, match=message):
        read_dwca(root)


def test_no_image_at_all(tmp_path, write_dwca):
    with pytest.raises(InputError, match=r"none of the 5 images .* download the images of its multimedia table"):
        read_dwca(write_dwca(tmp_path / "a", images=False))


def test_the_notebook_builds_a_data_set_of_it(tmp_path, write_dwca, build_data_set):
    root = write_dwca(tmp_path / "archive")
    lines = (root / "occurrence.txt").read_text().splitlines(keepends=True)
    (root / "occurrence.txt").write_text("".join([*lines[:2], lines[2].replace("major", "monticolus"), *lines[3:]]))
    table = build_data_set(root, **{"data.max_unreadable": 0.9})["table"]
    assert table["scientific_name"].tolist() == ["Parus major"] * 2 + ["Parus monticolus"] * 2 + ["Parus major"]
    assert (table["excluded"] == "").tolist() == [True, True, False, True, False]


def test_images_of_an_archive_that_is_a_link_lie_beside_the_link(tmp_path, jpeg, write_archive):
    """Caches of the hub keep files under other names and links to them."""
    media = b"gbifID\ttype\tidentifier\n1\tStillImage\thttps://x.org/a.jpg\n"
    tables = {"occurrence.txt": b"gbifID\tscientificName\n1\tParus major\n", "multimedia.txt": media}
    blob = write_archive(tmp_path / "blobs" / "0a1b.zip", tables)
    (tmp_path / "birds.zip").symlink_to(blob)
    (tmp_path / "birds").mkdir()
    (tmp_path / "birds" / "a.jpg").write_bytes(jpeg(1))
    raw = read_source(DataConfig(source="photos", photos=str(tmp_path / "birds.zip")))
    assert raw[["source", "problem"]].values.tolist() == [["birds", ""]]
