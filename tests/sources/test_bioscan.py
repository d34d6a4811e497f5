"""BIOSCAN-1M and 5M: metadata tables, zips and folders of parts, labels down to the family only."""

from pathlib import Path

import pytest

from bioclip_lib import RANKS
from bioclip_lib.config import DataConfig
from bioclip_lib.errors import InputError
from bioclip_lib.files.images import read_bytes
from bioclip_lib.sources.published import read_bioscan
from bioclip_lib.sources.read import read_source

LINEAGES = (
    ("Arthropoda", "Insecta", "Diptera", "Sciaridae", "", ""),
    ("Arthropoda", "Insecta", "Diptera", "Cecidomyiidae", "Lestremia", "Lestremia cinerea"),
    ("Arthropoda", "Insecta", "Diptera", "Phoridae", "Megaselia", "Megaselia sp. BOLD:AAA1234"),
)
TAXA = "\t".join(("phylum", "class", "order", "family", "subfamily", "tribe", "genus", "species", "subspecies"))
HEADER_1M = (
    f"sampleid\tprocessid\turi\tname\t{TAXA}\tnucraw\timage_file\tlarge_diptera_family\tchunk_number\t"
    "copyright_license\tcopyright_holder\n"
)
HEADER_5M = (
    "processid,sampleid,taxon,phylum,class,order,family,subfamily,genus,species,dna_bin,country,coord-lat,split,chunk\n"
)


def write_metadata(root: Path, edition: str, n: int = 6) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    if edition == "1M":
        lines = []
        for i in range(n):
            phylum, kind, order, family, genus, species = (name or "not_classified" for name in LINEAGES[i % 3])
            taxa = (phylum, kind, order, family, "not_classified", "not_classified", genus, species, "not_classified")
            cells = (f"S{i}", f"P{i}", f"BOLD:{i}", family, *taxa, "ACGT", f"40{i}.jpg", "train", str(i // 3 + 1))
            lines.append("\t".join((*cells, "CC BY", "BIOUG, Guelph")) + "\n")
        path = root / "BIOSCAN_Insect_Dataset_metadata.tsv"
        path.write_text(HEADER_1M + "".join(lines), encoding="utf-8")
    else:
        lines = []
        for i in range(n):
            phylum, kind, order, family, genus, species = LINEAGES[i % 3]
            taxa = f"{phylum},{kind},{order},{family},,{genus},{species}"
            lines.append(f"P{i},S{i},{family},{taxa},BOLD:{i},Canada,1.5,{'pretrain' if i % 2 else 'train'},{i:x}\n")
        path = root / "BIOSCAN_5M_Insect_Dataset_metadata.csv"
        path.write_text(HEADER_5M + "".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def write_bioscan(jpeg, write_archive):
    def write(root: Path, edition: str, zipped: bool) -> Path:
        write_metadata(root, edition)
        for package, offset in (("cropped_256", 0), ("original_256", 50)):
            if edition == "1M":
                files = {f"part{i // 3 + 1}/40{i}.jpg": jpeg(offset + i) for i in range(6)}
                where = Path("bioscan/images") / package
            else:
                splits = ["pretrain/ab" if i % 2 else "train/c" for i in range(6)]
                files = {f"bioscan5m/images/{package}/{splits[i]}/P{i}.jpg": jpeg(offset + i) for i in range(6)}
                where = Path()
            if zipped:
                write_archive(root / f"BIOSCAN_{package}.zip", files)
            else:
                for name, data in files.items():
                    (root / where / name).parent.mkdir(parents=True, exist_ok=True)
                    (root / where / name).write_bytes(data)
        return root

    return write


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("edition", ["1M", "5M"])
def test_both_editions(tmp_path, write_bioscan, jpeg, edition, zipped):
    raw = read_source(DataConfig(source="photos", photos=str(write_bioscan(tmp_path, edition, zipped))))
    assert raw["source_id"].tolist() == [f"P{i}" for i in range(6)] and set(raw["problem"]) == {""}
    assert [read_bytes(location) for location in raw["location"]] == [jpeg(i) for i in range(6)]  # the cropped ones
    assert raw["verbatim_name"].tolist()[:3] == ["Sciaridae", "Lestremia cinerea", "Megaselia sp. BOLD:AAA1234"]
    assert raw[list(RANKS)].to_numpy().tolist()[:2] == [
        ["", "Arthropoda", "Insecta", "Diptera", "Sciaridae", "", ""],
        ["", "Arthropoda", "Insecta", "Diptera", "Cecidomyiidae", "Lestremia", "cinerea"],
    ]
    if edition == "5M":
        assert raw["source_split"].tolist() == ["train", "pretrain"] * 3
    else:
        assert set(raw["license"]) == {"CC BY"} and set(raw["rights_holder"]) == {"BIOUG, Guelph"}


def test_one_part_is_missing_and_one_is_broken(tmp_path, jpeg, write_archive):
    write_metadata(tmp_path, "1M", n=9)
    parts = [
        write_archive(tmp_path / f"part{p + 1}.zip", {f"40{i}.jpg": jpeg(i) for i in range(3 * p, 3 * p + 3)})
        for p in range(3)
    ]
    parts[0].unlink()
    data = parts[2].read_bytes()
    parts[2].write_bytes(data[: data.rindex(b"PK\3\4")])
    raw = read_bioscan(tmp_path)
    problems = raw["problem"].tolist()
    assert problems[3:8] == [""] * 5 and len(raw) == 9
    assert problems[0] == problems[8] and problems[0].startswith("image not found (part3.zip: zip is truncated")
    assert read_bytes(raw["location"][6]) == jpeg(6)


def test_duplicates_missing_ids_and_unlisted_images(tmp_path, write_bioscan, jpeg):
    root = write_bioscan(tmp_path, "5M", zipped=False)
    with (root / "BIOSCAN_5M_Insect_Dataset_metadata.csv").open("a") as file:
        file.write("P0,S0,Sciaridae,Arthropoda,Insecta,Diptera,Sciaridae,,,,,,,train,0\n,S9,x,,,,,,,,,,,,\n")
    (root / "bioscan5m/images/cropped_256/train/c/P99.jpg").write_bytes(jpeg(99))
    raw = read_bioscan(root).iloc[6:]
    assert raw["problem"].tolist() == ["listed again", "no processid", "image that the table does not list"]


def test_what_cannot_be_used(tmp_path):
    path = write_metadata(tmp_path, "5M")
    with pytest.raises(InputError, match=r"none of the 6 images .* put the images or zips"):
        read_bioscan(tmp_path)
    path.write_text("sampleid,family\nS1,x\n")
    with pytest.raises(InputError, match="no column processid"):
        read_bioscan(tmp_path)


def test_the_notebook_builds_a_data_set_of_it(tmp_path, write_bioscan, build_data_set):
    table = build_data_set(write_bioscan(tmp_path / "bioscan", "1M", zipped=True))["table"]
    assert (table["kingdom"][table["excluded"] == ""] == "Animalia").all()
