"""Three further forms, and more, of kinds of which shared/field has one or two."""

import importlib.util
import tarfile
import unicodedata
from pathlib import Path

import pytest

from bioclip_lib.files.images import read_bytes
from bioclip_lib.sources import look
from bioclip_lib.sources.dwca import read_dwca
from tests.sources.test_dwca import COMMON, DWC, GBIF, table_xml
from tests.sources.test_field import config, folders, read

STYLE = {**COMMON, "fieldsTerminatedBy": "\\t", "fieldsEnclosedBy": ""}
AC = "http://rs.tdwg.org/ac/terms/Multimedia"


def archive(root: Path, jpeg, *tables: tuple[str, str, str], images=("1.jpg", "2.jpg")) -> Path:
    """Write an archive of tables (row type, tab-separated header, rows), the core first."""
    folders(root, jpeg, *images)
    xml = []
    for i, (row_type, header, rows) in enumerate(tables):
        (root / f"{i}.txt").write_text(f"{header}\n{rows}\n".replace(" ", "\t").replace("_", " "))
        xml.append(table_xml("extension" if i else "core", row_type, f"{i}.txt", header.split(), STYLE))
    (root / "meta.xml").write_text(f'<archive xmlns="http://rs.tdwg.org/dwc/text/">{"".join(xml)}</archive>')
    return root


@pytest.mark.parametrize(
    "path",
    [r"C:\photos\in\1.jpg", r"\\server\share\in\1.jpg", "/home/jo/in/1.jpg", "file:///data/in/1.jpg", r".\in\1.jpg"],
)
def test_paths_of_another_machine_find_the_file_beside_the_table(tmp_path, jpeg, path):
    folders(tmp_path, jpeg, "in/1.jpg", "in/2.jpg")
    (tmp_path / "t.csv").write_text(f"path,name\n{path},Parus major\nin/2.jpg,Acer rubrum\n")
    assert read(tmp_path / "t.csv")["location"][0].endswith("in/1.jpg")


@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
def test_accents_in_paths_compare_in_normal_form(tmp_path, jpeg, written, on_disk):
    name = "Grèbe huppé/é 1.jpg"
    folders(tmp_path, jpeg, unicodedata.normalize(on_disk, name), "2.jpg")
    rows = f"path,name\n{unicodedata.normalize(written, name)},Podiceps cristatus\n2.jpg,Acer rubrum\n"
    (tmp_path / "t.csv").write_text(rows, encoding="utf-8")
    assert read(tmp_path / "t.csv")["problem"].tolist() == ["", ""]


@pytest.mark.parametrize(
    "beside",
    ["1.xmp", "1.jpg.xmp", "1.jpg.json", "1.jpg.supplemental-metadata.json", "1.MOV", "1.AAE", "1.thm", "1.dop"],
)
def test_sidecars_are_passed_over_and_counted(tmp_path, jpeg, beside):
    root = folders(tmp_path, jpeg, "Robin/1.jpg", "Blue_Jay/2.jpg", f"Robin/{beside}")
    assert len(read(root)) == 2 and f"passed over: 1 {Path(beside).suffix.lower()}" in look(config(root))


@pytest.mark.parametrize("table", ["table.csv", ""])
@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz"])
def test_a_tar_made_inside_a_folder_has_its_table_and_its_class_folders(tmp_path, jpeg, name, table):
    root = folders(tmp_path / "s", jpeg, "Parus major/a.jpg", "Acer rubrum/b.jpg")
    if table:
        (root / table).write_text("path,name\nParus major/a.jpg,Turdus merula\nAcer rubrum/b.jpg,Picea abies\n")
    with tarfile.open(tmp_path / name, "w:gz" if name.endswith("gz") else "w") as tar:
        tar.add(root, ".")  # as `tar -cf x.tar .`: ./table.csv
    raw = read(tmp_path / name).set_index("verbatim_name")
    assert set(raw.index) == ({"Turdus merula", "Picea abies"} if table else {"Parus major", "Acer rubrum"})
    assert set(raw["problem"]) == {""}
    location = raw.loc["Turdus merula" if table else "Parus major", "location"]
    for place in (location, location.replace("::", "::./")):  # as it may be written elsewhere
        assert read_bytes(place) == (root / "Parus major" / "a.jpg").read_bytes()


def test_what_a_table_does_not_name_is_counted_and_the_first_is_named(tmp_path, jpeg):
    root = folders(tmp_path, jpeg, "phone/1.jpg", "phone/2.jpg", "phone/3.jpg")
    (root / "t.csv").write_text("path;name\nphone\\2.jpg;Parus major\n")
    assert "passed over: 2 images (.jpg) (first image: phone/1.jpg)" in look(config(root))


@pytest.mark.parametrize("is_there", [True, False])
def test_photographs_of_telephones_that_are_not_decoded_are_said(tmp_path, jpeg, monkeypatch, is_there):
    root = folders(tmp_path, jpeg, "Robin/1.HEIC", "Robin/2.jpg", "Blue_Jay/3.heic")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: (name == "pillow_heif" and is_there) or None)
    assert ("left out: 2 HEIC, until pip install pillow-heif" in look(config(root))) is not is_there


@pytest.mark.parametrize(
    ("header", "row", "license_says", "holder"),
    [
        ("id accessURI identifier UsageTerms Owner", "7 http://x/1.jpg Z-1 CC_BY A_Museum", "CC BY", "A Museum"),
        ("id identifier WebStatement creator", "7 http://x/1.jpg http://c.org/by Jo_Doe", "http://c.org/by", "Jo Doe"),
        ("id bestQualityAccessURI rights rightsHolder", "7 http://x/1.jpg CC0 A_Museum", "CC0", "A Museum"),
        ("id accessURI license UsageTerms credit", "7 http://x/1.jpg CC-BY all_rights Jo", "CC-BY", "Jo"),
    ],
)  # fmt: skip
def test_audubon_core_in_several_dresses(tmp_path, jpeg, header, row, license_says, holder):
    core = (DWC + "Occurrence", "id scientificName", "7 Parus_major")
    raw = read_dwca(archive(tmp_path, jpeg, core, (AC, header, row), images=("1.jpg",)))
    assert raw[["problem", "license", "rights_holder"]].to_numpy().tolist() == [["", license_says, holder]]


@pytest.mark.parametrize(
    ("occurrences", "media", "named"),
    [
        (
            "e1 o1 Parus_major\ne2 o2 Acer_rubrum",
            "e1 http://x/1.jpg\ne2 http://x/2.jpg",
            ["Parus major", "Acer rubrum"],
        ),
        (
            "e1 o1 Parus_major\ne1 o2 Acer_rubrum",
            "o1 http://x/1.jpg\no2 http://x/2.jpg",
            ["Parus major", "Acer rubrum"],
        ),
        ("e1 o1 Parus_major\ne1 o2 Acer_rubrum", "o2 http://x/1.jpg\no2 http://x/2.jpg", ["Acer rubrum"] * 2),
    ],
)
def test_media_of_events_go_to_their_occurrence(tmp_path, jpeg, occurrences, media, named):
    core = (DWC + "Event", "id eventDate", "e1 2020\ne2 2021")
    of_events = (DWC + "Occurrence", "id occurrenceID scientificName", occurrences)
    raw = read_dwca(archive(tmp_path, jpeg, core, of_events, (GBIF + "Multimedia", "id identifier", media)))
    assert raw.loc[raw["problem"] == "", "verbatim_name"].tolist() == named


def test_media_of_an_event_with_two_occurrences_belong_to_neither(tmp_path, jpeg):
    core = (DWC + "Event", "id eventDate", "e1 2020\ne2 2020")
    rows = "e1 o1 Parus_major\ne1 o2 Acer_rubrum\ne2 o3 Acer_rubrum"
    of_events = (DWC + "Occurrence", "id occurrenceID scientificName", rows)
    media = (GBIF + "Multimedia", "id identifier", "e1 http://x/1.jpg\ne2 http://x/2.jpg")
    raw = read_dwca(archive(tmp_path, jpeg, core, of_events, media))
    assert raw.loc[raw["problem"] == "", "verbatim_name"].tolist() == ["Acer rubrum"]
    assert (raw["problem"] == "no occurrence of this id").sum() == 1


@pytest.mark.parametrize(
    ("name", "species", "accepted"),
    [
        ("Parus_caeruleus", "Cyanistes_caeruleus", "Cyanistes caeruleus"),
        ("BOLD:AAA1234", "Parus_major", "Parus major"),
        ("Parus_major_L.", "Parus_major", ""),
        ("Parus_sp.", "-", ""),
    ],
)
def test_the_accepted_species_beside_other_names(tmp_path, jpeg, name, species, accepted):
    species = "" if species == "-" else species
    core = (DWC + "Occurrence", "id scientificName genus species", f"7 {name} Parus {species}")
    raw = read_dwca(archive(tmp_path, jpeg, core, (GBIF + "Multimedia", "id identifier", "7 http://x/1.jpg")))
    assert raw.get("scientific_name", raw["problem"])[0] == accepted


@pytest.mark.parametrize(
    ("qualifier", "name"), [("cf.", "Parus cf. major L."), ("?", "Parus cf. major L."), ("agg.", "Parus major L. agg.")]
)
def test_a_doubt_beside_the_accepted_species_is_one(tmp_path, jpeg, qualifier, name):
    header = "id scientificName identificationQualifier genus species"
    core = (DWC + "Occurrence", header, f"7 Parus_major_L. {qualifier} Parus Parus_major")
    raw = read_dwca(archive(tmp_path, jpeg, core, (GBIF + "Multimedia", "id identifier", "7 http://x/1.jpg")))
    assert raw["verbatim_name"][0] == name and raw["species"][0] == ""


def test_what_was_not_seen_is_on_no_image(tmp_path, jpeg):
    core = (DWC + "Occurrence", "id occurrenceStatus scientificName", "1 present Parus_major\n2 ABSENT Acer_rubrum")
    media = (GBIF + "Multimedia", "id identifier", "1 http://x/1.jpg\n2 http://x/2.jpg")
    raw = read_dwca(archive(tmp_path, jpeg, core, media))
    assert raw["problem"].tolist() == ["", "image of no taxon (absent)"]


@pytest.mark.parametrize("kind", ["Image_fixe", "photograph", "-", "http://purl.org/dc/dcmitype/StillImage", "Sound"])
def test_the_format_tells_an_image_whatever_its_type_is_called(tmp_path, jpeg, kind):
    core = (DWC + "Occurrence", "id verbatimIdentification", "1 Parus_major")
    sound, media = "1 Sound audio/wav http://x/1.wav", f"1 {kind} image/jpeg http://x/1.jpg"
    rows = (GBIF + "Multimedia", "id type format identifier", f"{media}\n{sound}\n2 - image/jpeg http://x/2.jpg")
    core = (core[0], core[1], core[2] + "\n2 Acer_rubrum")
    raw = read_dwca(archive(tmp_path, jpeg, core, rows))
    assert (
        raw["problem"].tolist() == ["not an image (Sound)" if kind == "Sound" else "", "not an image (Sound)", ""][:3]
    )
    assert raw["verbatim_name"][0] == "Parus major"


def test_media_of_camtrap_dp_are_of_the_event_in_whose_time_they_are(tmp_path, jpeg):
    folders(tmp_path, jpeg, *(f"{i}.jpg" for i in range(5)))
    moments = ("01T00:00:01Z", "01T00:00:05+00:00", "02T00:00:03Z", "03T00:00:00Z", "")
    media = [f"m{i},{'d2' if i == 2 else 'd1'},2020-01-{moment},{i}.jpg" for i, moment in enumerate(moments)]
    (tmp_path / "media.csv").write_text("\n".join(["mediaID,deploymentID,timestamp,filePath", *media]))
    rows = (
        "d1,2020-01-01T00:00:00Z,2020-01-01T00:00:05Z,Parus major",
        "d2,2020-01-02,2020-01-02T01:00:00Z,Acer rubrum",
    )
    head = "deploymentID,eventStart,eventEnd,scientificName,observationLevel"
    text = "\n".join([head, *(f"{row},event" for row in rows)])
    (tmp_path / "observations.csv").write_text(text)
    (tmp_path / "datapackage.json").write_text("{}")
    raw = read(tmp_path)
    assert raw["verbatim_name"].tolist() == ["Parus major", "Parus major", "Acer rubrum", "", ""]
    assert raw["group"].nunique() == 3 and set(raw["problem"][3:]) == {"image of no taxon (unclassified)"}


@pytest.mark.parametrize(
    "names", [("001.Blue_Jay", "002.Robin"), ("1_Blue_Jay", "2_Robin"), ("01-Blue_Jay", "02-Robin")]
)
def test_numbered_classes_are_classes(tmp_path, jpeg, names):
    raw = read(folders(tmp_path, jpeg, *(f"{name}/{i}.jpg" for i, name in enumerate(names))))
    assert tuple(raw["verbatim_name"]) == names
