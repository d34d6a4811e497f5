"""Wildlife Insights, Pl@ntNet-300K, iNaturalist's open data, TreeOfLife-200M and web data sets, as published."""

import gzip
import json
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioclip_lib import RANKS
from bioclip_lib.config import DataConfig
from bioclip_lib.errors import InputError
from bioclip_lib.files.images import read_bytes
from bioclip_lib.sources import look, read_source
from bioclip_lib.sources.download import wanted_of

LYNX = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Lynx", "rufus")
ACER = ("Plantae", "Tracheophyta", "Magnoliopsida", "Sapindales", "Sapindaceae", "Acer", "rubrum")


def read(path: Path, **settings) -> pd.DataFrame:
    data = DataConfig(source="photos", photos=str(path), **settings)
    raw = read_source(data)
    assert look(data)
    return raw


def put(root: Path, files: dict[str, bytes | str]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return root


WI = (
    "project_id,deployment_id,image_id,filename,location,is_blank,identified_by,wi_taxon_id,class,order,family,genus,"
    "species,common_name,uncertainty,timestamp,number_of_objects,cv_confidence,license"
)
MAMMAL = "Mammalia,Carnivora,Felidae,Lynx,rufus,Bobcat"
RANKED = "class,order,family,genus,species,common_name"
HUMAN = "Mammalia,Primates,Hominidae,Homo,sapiens,Human-Camera Trapper"
PROJECTS = "project_id,project_name,metadata_license,image_license\n1,P,CC0,CC-BY-4.0\n"


def insights(jpeg) -> dict[str, bytes | str]:
    """An export of images; cameras number their files alike."""
    gs = "gs://project/deployment"
    rows = [
        f"1,D1,i1,IMG_1.JPG,{gs}/D1/uuid-1.JPG,0,Ana,,{MAMMAL},,2021-01-01 10:00:00,1,,CC0",
        f"1,D2,i2,IMG_1.JPG,{gs}/D2/uuid-2.JPG,0,Computer Vision,,{MAMMAL},,2021-01-01 10:00:00,1,92,",
        f"1,D2,i3,IMG_2.JPG,{gs}/D2/uuid-3.JPG,0,Computer Vision,,{MAMMAL},,2021-01-01 10:00:00,1,7,",
        f"1,D1,i4,IMG_2.JPG,{gs}/D1/uuid-4.JPG,1,Ana,,,,,,,Blank,,2021-01-01 10:00:00,0,,",
        f"1,D1,i5,IMG_3.JPG,{gs}/D1/uuid-5.JPG,0,Ana,,{HUMAN},,x,1,,",
        f"1,D1,i6,IMG_4.JPG,{gs}/D1/uuid-6.JPG,0,Ana,,Mammalia,Carnivora,Felidae,,,Cat family,,x,1,,",
        f"1,D1,i7,IMG_5.JPG,{gs}/D1/uuid-7.JPG,0,Ana,,{MAMMAL},,x,1,,",
        f"1,D1,i7,IMG_5.JPG,{gs}/D1/uuid-7.JPG,0,Ana,,Mammalia,Carnivora,Canidae,Vulpes,vulpes,Red Fox,,x,1,,",
    ]
    return {
        "images_2000001.csv": "\n".join([WI, *rows]) + "\n",
        "deployments.csv": "project_id,deployment_id\n1,D1\n1,D2\n",
        "projects.csv": PROJECTS,
        "cameras.csv": "camera_id\n1\n",
        "D1/IMG_1.JPG": jpeg(1),
        "D2/IMG_1.JPG": jpeg(2),
        "D2/uuid-3.JPG": jpeg(3),
        **{f"D1/IMG_{i}.JPG": jpeg(i + 10) for i in range(2, 6)},
    }


@pytest.mark.parametrize("packed", [False, True])
def test_wildlife_insights(tmp_path, jpeg, write_archive, packed):
    files = insights(jpeg)
    path = write_archive(tmp_path / "wi.zip", files_of(files)) if packed else put(tmp_path / "wi", files)
    raw = read(path)
    assert raw["source_id"].tolist() == ["i1", "i2", "i3", "i4", "i5", "i6", "i7", "i7#2"]
    assert [read_bytes(place) for place in raw["location"][:3]] == [jpeg(1), jpeg(2), jpeg(3)]
    assert raw["verbatim_name"].tolist()[:6] == [
        "Lynx rufus",
        "Lynx rufus",
        "Lynx rufus",
        "",
        "Homo sapiens",
        "Felidae",
    ]
    several, nothing = "several taxa on one image", "image of no taxon ({})".format
    problems = raw["problem"].tolist()
    assert problems[:2] == ["", ""] and problems[2].startswith("a model is not sure of it (confidence 0.07")
    assert problems[3:] == [nothing("blank"), nothing("human-camera trapper"), "", several, several]
    assert raw["license"].tolist()[:2] == ["CC0", "CC-BY-4.0"] and raw["common_name"][0] == "Bobcat"
    assert raw["class"].tolist()[0] == "Mammalia" and raw["species"].tolist()[0] == "rufus"


def files_of(files: dict) -> dict[str, bytes]:
    return {name: data if isinstance(data, bytes) else data.encode() for name, data in files.items()}


def test_sequences_of_wildlife_insights(tmp_path, jpeg):
    heads = "project_id,deployment_id,image_id,filename,sequence_id,location,wi_taxon_id," + RANKED
    frames = [f"1,D1,i{i},{i}.jpg,s{i // 2},gs://x/D1/{i}.jpg,,,,,,," for i in range(6)]
    sequences = f"project_id,deployment_id,sequence_id,is_blank,identified_by,{RANKED},license\n"
    sequences += f"1,D1,s0,0,Ana,{MAMMAL},CC-BY\n1,D1,s1,1,Ana,,,,,,Blank,CC-BY\n1,D1,s2,0,Ana,{MAMMAL},CC-BY\n"
    tables = {
        "images_1.csv": "\n".join([heads, *frames]),
        "deployments.csv": "deployment_id\nD1\n",
        "projects.csv": PROJECTS,
    }
    raw = read(put(tmp_path / "wi", {**tables, "sequences.csv": sequences, **{f"{i}.jpg": jpeg(i) for i in range(6)}}))
    assert raw["group"].tolist() == ["s0", "s0", "s1", "s1", "s2", "s2"]
    assert raw["problem"].tolist() == ["", "", *["image of no taxon (blank)"] * 2, "", ""]
    assert raw["verbatim_name"].tolist() == ["Lynx rufus"] * 2 + [""] * 2 + ["Lynx rufus"] * 2


def test_plantnet(tmp_path, jpeg):
    species = {"1355868": "Acer rubrum L.", "1355869": "Rubus idaeus L."}
    images, files = {}, {}
    for i, split in enumerate(("train", "train", "val", "test")):
        key, of = f"{i:040x}", list(species)[i % 2]
        images[key] = {
            "species_id": of,
            "obs_id": f"10{i // 2}",
            "organ": "leaf",
            "author": "Zoë",
            "license": "cc-by-sa",
        }
        images[key]["split"] = split
        files[f"images/{split}/{of}/{key}.jpg"] = jpeg(i)
    files["plantnet300K_metadata.json"] = json.dumps(images)
    files["plantnet300K_species_id_2_name.json"] = json.dumps(species)
    for root in (put(tmp_path / "plantnet_300K", files), put(tmp_path / "above" / "plantnet_300K", files).parent):
        raw = read(root)
        assert raw["verbatim_name"].tolist() == ["Acer rubrum L.", "Rubus idaeus L."] * 2
        assert raw["source_split"].tolist() == ["train", "train", "val", "test"] and set(raw["problem"]) == {""}
        assert raw["group"].tolist() == ["100", "100", "101", "101"] and set(raw["license"]) == {"cc-by-sa"}
        assert [read_bytes(place) for place in raw["location"]] == [jpeg(i) for i in range(4)]
    (tmp_path / "plantnet_300K" / "plantnet300K_metadata.json").write_text('{"a": ')
    with pytest.raises(InputError, match="download it again"):
        read(tmp_path / "plantnet_300K")


def inat_open(root: Path, jpeg, images: bool = True, packed: bool = True) -> Path:
    """The four tables of the bucket, tab separated, and some photographs in two sizes."""
    tables = {
        "photos": "photo_uuid\tphoto_id\tobservation_uuid\tobserver_id\textension\tlicense\twidth\theight\tposition\n"
        "u1\t7\to1\t5\tjpg\tCC-BY-NC\t9\t9\t0\nu2\t8\to1\t5\tjpeg\tCC0\t9\t9\t1\nu3\t9\to2\t6\tjpg\tCC-BY\t9\t9\t0\n"
        "u4\t10\to3\t6\tjpg\tCC-BY\t9\t9\t0\n",
        "observations": "observation_uuid\tobserver_id\tlatitude\tlongitude\tpositional_accuracy\ttaxon_id\t"
        "quality_grade\tobserved_on\no1\t5\t1\t1\t1\t41976\tresearch\t2020-01-01\no2\t6\t1\t1\t1\t41944\tneeds_id\t2020-01-01\n"
        "o3\t6\t1\t1\t1\t\tcasual\t2020-01-01\n",
        "taxa": "taxon_id\tancestry\trank_level\trank\tname\tactive\n48460\t\t100\tstateofmatter\tLife\ttrue\n"
        "1\t48460\t70\tkingdom\tAnimalia\ttrue\n2\t48460/1\t60\tphylum\tChordata\ttrue\n"
        "40151\t48460/1/2\t50\tclass\tMammalia\ttrue\n41573\t48460/1/2/40151\t40\torder\tCarnivora\ttrue\n"
        "41944\t48460/1/2/40151/41573\t30\tfamily\tFelidae\ttrue\n41972\t48460/1/2/40151/41573/41944\t20\tgenus\tLynx\ttrue\n"
        "41976\t48460/1/2/40151/41573/41944/41972\t10\tspecies\tLynx rufus\ttrue\n",
        "observers": "observer_id\tlogin\tname\n5\tzoe\tZoë Z.\n6\tbob\t\n",
    }
    files: dict = {f"{n}.csv.gz": gzip.compress(t.encode()) for n, t in tables.items()}
    if not packed:
        files = {f"{n}.csv": t for n, t in tables.items()}
    photos = {"photos/7/original.jpg": jpeg(7), "photos/8/medium.jpeg": jpeg(8), "9/large.jpg": jpeg(9)}
    return put(root, files | (photos if images else {}))


@pytest.mark.parametrize("packed", [False, True])
def test_open_data_of_inaturalist(tmp_path, jpeg, packed):
    raw = read(inat_open(tmp_path / "inat", jpeg, packed=packed))
    assert raw["source_id"].tolist() == ["7", "8", "9", "10"] and raw["group"].tolist() == ["o1", "o1", "o2", "o3"]
    assert raw["verbatim_name"].tolist() == ["Lynx rufus", "Lynx rufus", "Felidae", ""]
    assert raw[list(RANKS)].iloc[0].tolist() == list(LYNX) and raw["genus"][2] == ""
    assert [read_bytes(place) for place in raw["location"][:3]] == [jpeg(7), jpeg(8), jpeg(9)]
    assert raw["problem"].tolist() == ["", "", "", "observation without a taxon"]
    assert raw["rights_holder"].tolist() == ["Zoë Z.", "Zoë Z.", "bob", "bob"] and raw["license"][1] == "CC0"


def test_open_data_names_the_addresses_to_download(tmp_path, jpeg):
    root = inat_open(tmp_path / "inat", jpeg, images=False)
    with pytest.raises(InputError, match=r"sources\.download"):
        read_source(DataConfig(source="photos", photos=str(root)))
    rows = wanted_of(root)
    assert rows["address"][1] == "https://inaturalist-open-data.s3.amazonaws.com/photos/8/medium.jpeg"


def tree_of_life(n: int = 6) -> tuple[pd.DataFrame, pd.DataFrame]:
    """catalog.parquet and provenance.parquet, of the columns that the card documents."""
    rng = np.random.default_rng(0)
    ids = [str(uuid.UUID(bytes=rng.bytes(16))) for _ in range(n)]
    lineages = [LYNX if i % 2 else ACER for i in range(n)]
    catalog = pd.DataFrame(
        {"uuid": ids, "source_dataset": ["gbif", "eol", "bioscan"] * (n // 3), "source_id": range(n)}
    )
    for i, rank in enumerate(RANKS):
        catalog[rank] = [line[i] for line in lineages]
    catalog["scientific_name"] = [f"{line[5]} {line[6]}" for line in lineages]
    catalog["common_name"] = ["bobcat" if line is LYNX else None for line in lineages]
    catalog.loc[n - 1, list(RANKS[4:])] = None  # known to its order
    provenance = pd.DataFrame({"uuid": ids[::-1], "source_url": [f"https://x.org/{i}.jpg" for i in range(n)]})
    return catalog, provenance.assign(license_name="cc-by", copyright_owner="not provided")


@pytest.mark.parametrize("layout", ["dataset", "flat"])
def test_treeoflife_200m(tmp_path, jpeg, write_archive, layout):
    catalog, provenance = tree_of_life()
    root = tmp_path / "tol"
    (root / ("dataset/metadata" if layout == "dataset" else ".")).mkdir(parents=True)
    catalog.to_parquet(root / ("dataset/catalog.parquet" if layout == "dataset" else "catalog.parquet"))
    provenance.to_parquet(root / ("dataset/metadata" if layout == "dataset" else ".") / "provenance.parquet")
    images = {f"{key}.jpg": jpeg(i) for i, key in enumerate(catalog["uuid"][:5])}
    texts = {f"{key}.com.txt": b"x" for key in catalog["uuid"]}
    write_archive(root / "shard-000000.tar", images | texts)
    raw = read(root)
    assert raw["source_id"].tolist() == catalog["uuid"].tolist()
    assert raw["source"].tolist() == catalog["source_dataset"].tolist()
    assert raw["verbatim_name"].tolist() == ["Acer rubrum", "Lynx rufus"] * 2 + ["Acer rubrum", "Carnivora"]
    assert raw["problem"].tolist() == [""] * 5 + ["image not found"] and raw["common_name"][1] == "bobcat"
    assert [read_bytes(place) for place in raw["location"][:5]] == [jpeg(i) for i in range(5)]
    assert raw["source_url"][0] == "https://x.org/5.jpg" and set(raw["rights_holder"]) == {""}


def test_web_data_sets(tmp_path, jpeg, write_archive):
    """Samples with the original's texts, and with a json of names; the folder of a tar is its split."""
    tag = "kingdom Animalia phylum Chordata class Mammalia order Carnivora family Felidae genus Lynx species rufus"
    texts = {
        "a.scientific_name.txt": b"Lynx rufus",
        "a.common_name.txt": b"bobcat",
        "a.taxonTag.txt": f"a photo of {tag}.".encode(),
    }
    other = {"b.json": json.dumps({"scientific_name": "Acer rubrum", "family": "Sapindaceae", "n": 3}).encode()}
    write_archive(tmp_path / "web/train/shard-000000.tar", {"a.jpg": jpeg(1), **texts, "c.txt": b"no image"})
    write_archive(tmp_path / "web/val/shard-000000.tar", {"b.jpg": jpeg(2), **other})
    raw = read(tmp_path / "web")
    assert raw["verbatim_name"].tolist() == ["Lynx rufus", "Acer rubrum"] and raw["source_split"].tolist() == [
        "train",
        "val",
    ]
    assert raw[list(RANKS)].iloc[0].tolist() == list(LYNX) and raw["family"][1] == "Sapindaceae"
    assert [read_bytes(place) for place in raw["location"]] == [jpeg(1), jpeg(2)]
    assert raw["source_id"].tolist() == ["train/shard-000000/a", "val/shard-000000/b"]


def test_timelapse(tmp_path, jpeg):
    """Its table beside cameras' folders: visits are groups, what shows no taxon is said."""
    rows = [
        ("cam1", "0:00", "Lynx rufus", "false"),
        ("cam1", "0:30", "Lynx rufus", "false"),
        ("cam1", "9:00", "", "false"),
    ]
    rows += [("cam2\\100", "0:00", "Lynx rufus", "true"), ("cam2\\100", "0:01", "Empty", "false")]
    rows += [("cam2\\100", "5:00", "Vulpes vulpes", "False")]
    lines = ["RootFolder,File,RelativePath,DateTime,DeleteFlag,Species,Count"]
    lines += [f"tl,I{i}.JPG,{c},2021-01-01 10:0{t},{d},{s},1" for i, (c, t, s, d) in enumerate(rows)]
    images = {f"{row[0]}/I{i}.JPG".replace("\\", "/"): jpeg(i) for i, row in enumerate(rows)}
    raw = read(put(tmp_path / "tl", {"TimelapseData.csv": "\n".join(lines), **images}))
    nothing = "image of no taxon ({})".format
    expected = ["", "", nothing("not labelled"), nothing("marked to be deleted"), nothing("empty"), ""]
    assert raw["problem"].tolist() == expected and raw["verbatim_name"][5] == "Vulpes vulpes"
    assert raw.groupby("group", sort=False)["source_id"].size().tolist() == [2, 1, 2, 1]
