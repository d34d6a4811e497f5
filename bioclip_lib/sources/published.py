"""Sets of photographs as their makers publish them: BIOSCAN, CUB-200-2011 and NABirds, iNat21, Pl@ntNet-300K, and
iNaturalist's open data.

Each has a function that recognises its folder and one that reads it. Takes the folder; returns the raw table, with the
makers' own split in ``source_split`` and an observation as a group where they state one.
"""

import json
import re
from pathlib import Path

import pandas as pd

from .. import RANKS
from ..errors import InputError
from .addresses import match_addresses
from .annotations import read_annotations
from .columns import GROUP_COLUMN, SPLIT_COLUMN
from .match import (
    base_names,
    by_keys,
    check_some_image,
    find_images,
    first_said,
    lineage,
    missing_reason,
    ordered,
    read_given,
    stems,
    unique_ids,
    with_images,
)
from .walk import globbed

PACKAGES = ("cropped_256", "original_256", "cropped", "original_full", "original")
_BIOSCAN = (
    *("processid", "sampleid", "image_file", "split", "copyright_license", "copyright_holder"),
    *("phylum", "class", "order", "family", "genus", "species"),
)
_UNKNOWN = ("not_classified", "nan", "None", "no_species")
_CUB = ("images.txt", "classes.txt", "image_class_labels.txt")
_INAT21 = ("train.json", "train_mini.json", "val.json")
CLASS_FOLDER = re.compile(r"\d{5}" + 6 * r"_([^_]*)" + r"_(.+)")
_PLANTNET, _PLANTNET_NAMES = "plantnet300K_metadata.json", "plantnet300K_species_id_2_name.json"
_OPEN_TABLES, _ENDS = ("photos", "observations", "taxa"), (".csv", ".csv.gz", ".tsv", ".tsv.gz")
_BUCKET = "https://inaturalist-open-data.s3.amazonaws.com/photos/"


def find_bioscan(root: Path) -> Path | None:
    """Return BIOSCAN's metadata table in a folder, or in a folder of it."""
    tables = globbed(root, "BIOSCAN*metadata*", "*/BIOSCAN*metadata*", "*/*/BIOSCAN*metadata*")
    return next((p for p in tables if p.suffix.lower() in (".tsv", ".csv", ".parquet") and p.is_file()), None)


def read_bioscan(root: Path) -> pd.DataFrame:
    """Read BIOSCAN-1M or 5M; of several packages of one image the first of `PACKAGES` is taken, as BioCLIP did."""
    table = read_given(find_bioscan(root), _BIOSCAN, {"processid"}).replace(list(_UNKNOWN), "")
    said = lineage(table).assign(source="bioscan", source_id=table["processid"])
    said["problem"] = pd.Series("", index=table.index).mask(table["processid"] == "", "no processid")
    said["license"], said["rights_holder"] = table["copyright_license"], table["copyright_holder"]
    said[SPLIT_COLUMN] = table["split"]
    files, damaged = find_images(root)
    files = _one_package(files)
    names = base_names(files["path"])
    place = by_keys((table["image_file"], names), (table["processid"], stems(files["path"])))
    action = "put the images or zips (BIOSCAN_5M_cropped_256.zip, part18.zip) below the folder of the metadata table"
    return with_images(said, place, files, root, action, damaged)


def _one_package(files: pd.DataFrame) -> pd.DataFrame:
    """Keep the images of the first of `PACKAGES` that is there; all where the paths name none."""
    for package in PACKAGES:
        # a zip may hold part folders only: then its own name states the package
        inside = files["path"].str.contains(rf"(?:^|[/_]){package}(?:/|$)", regex=True)
        named = files["location"].str.contains(rf"[/_]{package}(?:[/_.][^/]*)?(?:/|::)", regex=True)
        if (chosen := inside | named).any():
            return files[chosen].reset_index(drop=True)
    return files


def is_cub(root: Path) -> bool:
    """Tell CUB-200-2011 or NABirds as unpacked by their three lists."""
    return all((root / name).is_file() for name in _CUB)


def read_cub(root: Path) -> pd.DataFrame:
    """Read files of lines ``<id> <value>`` and the folder ``images``; ``source_id`` is the path below it."""
    images, classes, labels = (_lines(root / name) for name in _CUB)
    labels = labels.reindex(images.index)
    lost = labels.index[labels.isna() | ~labels.isin(classes.index)]
    if len(lost):
        raise InputError(f"{root}: image {lost[0]} has no class, or one without a name; unpack the archive again")
    location = [root / "images" / name for name in images]
    raw = pd.DataFrame({"source": root.name, "source_id": images, "location": [str(file) for file in location]})
    raw["verbatim_name"] = classes.reindex(labels).to_numpy()
    raw["problem"] = ["" if file.is_file() else "file not found" for file in location]
    if (root / "train_test_split.txt").is_file():
        split = _lines(root / "train_test_split.txt").reindex(images.index)
        raw[SPLIT_COLUMN] = split.map({"1": "train", "0": "test"}).fillna("")
    return ordered(raw)


def _lines(file: Path) -> pd.Series:
    """Read lines of an id, a blank (after a comma, as some pass it on) and the rest."""
    lines = [line.strip().partition(" ") for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return pd.Series(
        [value.strip() for _, _, value in lines], index=[key.rstrip(",") for key, _, _ in lines], dtype=object
    )


def is_inat21(root: Path) -> bool:
    """Tell a folder with iNat21's annotations or class folders, in it or in ``train/`` or ``val/``."""
    if any((root / name).is_file() for name in _INAT21):
        return True
    folders = [root, root / "train", root / "train_mini", root / "val"]
    return any(CLASS_FOLDER.fullmatch(p.name) and p.is_dir() for f in folders if f.is_dir() for p in f.iterdir())


def read_inat21(root: Path) -> pd.DataFrame:
    """Read iNat21, by its annotations or, without, by its class folders; ``source_id`` is ``<class folder>/<file>``."""
    action = "put the class folders, or train.tar.gz, below the folder of train.json"
    files, damaged = find_images(root)
    keys = _last_two(files["path"])
    found = [root / name for name in _INAT21 if (root / name).is_file()]
    if found:
        parts = [read_annotations(path, one_taxon=True).assign(**{SPLIT_COLUMN: path.stem}) for path in found]
        table = pd.concat(parts, ignore_index=True).assign(source="inat21")
        table["source_id"] = _last_two(table["source_id"])
        raw = with_images(table, by_keys((table["source_id"], keys)), files, root, action, damaged)
    else:
        raw = check_some_image(_of_class_folders(files, keys), root, damaged, action)
    if raw.empty:
        raise InputError(f"{root} lists no image; {action}")
    return raw


def _last_two(paths: pd.Series) -> pd.Series:
    """Return ``<class folder>/<file>`` of paths at any depth."""
    return paths.astype(str).str.replace("\\", "/", regex=False).str.extract(r"((?:[^/]*/)?[^/]*)$", expand=False)


def _of_class_folders(files: pd.DataFrame, keys: pd.Series) -> pd.DataFrame:
    """Return the raw rows that folders ``00000_Kingdom_Phylum_Class_Order_Family_Genus_species`` alone give."""
    folders = keys.map(lambda key: key.rpartition("/")[0]).astype(str)
    named = folders.str.extract(CLASS_FOLDER, expand=True).fillna("").set_axis(list(RANKS), axis=1)
    name = (named["genus"] + " " + named["species"]).str.strip()
    problem = pd.Series("", index=files.index).mask(name == "", "folder is not a class of iNat21")
    raw = named.assign(source="inat21", location=files["location"], verbatim_name=name)
    raw["source_id"] = unique_ids(files["path"])
    raw["problem"] = files["problem"].where(files["problem"] != "", problem)
    above = files["path"].astype(str).str.extract(r"(?:^|/)(train|train_mini|val)/[^/]*/[^/]*$", expand=False)
    raw[SPLIT_COLUMN] = above.fillna("")
    return ordered(raw)


def find_plantnet(root: Path) -> Path | None:
    """Return the metadata of Pl@ntNet-300K's images, in a folder or in a folder of it."""
    found = (root / _PLANTNET, *globbed(root, f"*/{_PLANTNET}"))
    return next((path for path in found if path.is_file()), None)


def read_plantnet(root: Path) -> pd.DataFrame:
    """Read two JSON files and ``images/<split>/<species id>/<id>.jpg``; ``source_id`` is the id of the image."""
    metadata = find_plantnet(root)
    names, images = (_object(metadata.with_name(name)) for name in (_PLANTNET_NAMES, _PLANTNET))
    columns = ["species_id", "obs_id", "author", "license", "split"]
    table = pd.DataFrame.from_dict(images, orient="index").reindex(columns=columns).fillna("").astype(str)
    said = table.rename_axis("source_id").reset_index().assign(source="plantnet300k")
    said["verbatim_name"] = said.pop("species_id").map(names).fillna("")
    columns = {"author": "rights_holder", "split": SPLIT_COLUMN, "obs_id": GROUP_COLUMN}
    files, damaged = find_images(root)
    place = by_keys((said["source_id"], stems(files["path"])))
    action = "put the folder images/ beside its JSON files"
    return with_images(said.rename(columns=columns), place, files, root, action, damaged)


def _object(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(key): value for key, value in content.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is not a file of Pl@ntNet-300K ({error}); download it again") from None


def _open_table(root: Path, name: str) -> Path | None:
    return next((path for end in _ENDS if (path := root / f"{name}{end}").is_file()), None)


def is_inat_open(root: Path) -> bool:
    """Tell a folder with the tables of iNaturalist's open data, as its bucket has them."""
    return root.is_dir() and all(_open_table(root, name) for name in _OPEN_TABLES)


def read_inat_open(root: Path) -> pd.DataFrame:
    """Read photos, observations, taxa and observers; images are ``photos/<photo id>/<size>.<extension>``, or not there.

    ``source_id`` is the photograph's id, an observation is a group, a taxon's ancestry gives its ranks.
    """
    photos = read_given(
        _open_table(root, "photos"),
        ("photo_id", "observation_uuid", "observer_id", "extension", "license", "position"),
        {"photo_id", "observation_uuid", "extension"},
    ).drop_duplicates("photo_id", ignore_index=True)
    columns = ("observation_uuid", "taxon_id", "quality_grade")
    observations = read_given(_open_table(root, "observations"), columns, set(columns[:2]))
    taxon = _looked_up(photos["observation_uuid"], observations.set_index("observation_uuid")["taxon_id"])
    ranks = _lineages(root, set(taxon)).reindex(taxon).fillna("").reset_index(drop=True)
    said = lineage(ranks, binomial=False).assign(source=root.name, source_id=photos["photo_id"])
    said["verbatim_name"] = ranks["name"].where(ranks["name"] != "", said["verbatim_name"])  # at whatever rank it is
    said["problem"] = pd.Series("", index=said.index, dtype=object).mask(taxon == "", "observation without a taxon")
    said = said.assign(license=photos["license"], record=photos["photo_id"])
    if path := _open_table(root, "observers"):
        observers = read_given(path, ("observer_id", "login", "name"), {"observer_id"}).set_index("observer_id")
        said["rights_holder"] = _looked_up(photos["observer_id"], first_said(observers, ("name", "login")))
    said["address"] = _BUCKET + photos["photo_id"] + "/medium." + photos["extension"]
    said["source_url"] = "https://www.inaturalist.org/photos/" + photos["photo_id"]
    said[GROUP_COLUMN] = photos["observation_uuid"]
    files, damaged = find_images(root)
    # any size will do: the folder is the id
    ids = files["path"].str.extract(r"(?:^|/)(\d+)/[^/]+$", expand=False).fillna(files["path"])
    place = match_addresses(photos["photo_id"], photos["photo_id"], ids + ".jpg")
    action = "download them (python -m bioclip_lib.sources.download FOLDER --to FOLDER)"
    missing = missing_reason(damaged, what="image not downloaded")
    return with_images(said, place, files, root, action, damaged, missing)


def _looked_up(keys: pd.Series, values: pd.Series) -> pd.Series:
    return keys.map(values[~values.index.duplicated()]).fillna("").astype(object)


def _lineages(root: Path, wanted: set[str]) -> pd.DataFrame:
    """Return name and ranks of taxa, from the ids of their ancestry."""
    columns = ("taxon_id", "ancestry", "rank", "name")
    taxa = read_given(_open_table(root, "taxa"), columns, set(columns)).drop_duplicates("taxon_id")
    taxa = taxa.set_index("taxon_id")
    here = taxa[taxa.index.isin(wanted)]
    above = pd.concat([here["ancestry"].str.split("/").explode(), pd.Series(here.index, here.index)])
    ranks = pd.DataFrame({"id": above.index, "rank": above.map(taxa["rank"]), "name": above.map(taxa["name"])})
    ranks = ranks[ranks["rank"].isin(RANKS)].drop_duplicates(["id", "rank"])
    table = ranks.pivot(index="id", columns="rank", values="name")
    table = table.reindex(index=here.index, columns=list(RANKS)).fillna("")
    return table.assign(species=table["species"].str.partition(" ")[2], name=here["name"])
