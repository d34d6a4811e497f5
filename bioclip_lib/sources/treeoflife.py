"""TreeOfLife-10M and TreeOfLife-200M as published, and the web data sets that are made of the latter.

The first is ``catalog.csv``, ``licenses.csv`` and ``image_set_XX.tar.gz`` of ``<treeoflife_id>.jpg``: these hold the
images from EOL; those of iNat21 and BIOSCAN-1M are found where their files lie in the same folder. Of the second
``catalog.parquet`` and ``provenance.parquet`` lie beside tars or files of ``<uuid>.jpg``; the samples of web data sets
say their own names. Takes the folder; returns the raw table, a row a row of the catalog, or a sample.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pandas as pd
import pyarrow.parquet as pq

from .. import RANKS
from ..files.archives import SEPARATOR, open_archive, read_member
from ..files.images import IMAGE_SUFFIXES
from ..files.members import ArchiveError
from .columns import LISTED_AGAIN, NOT_PUBLISHED, OPTIONAL_COLUMNS, SPLIT_COLUMN, split_word
from .match import (
    base_names,
    by_keys,
    check_some_image,
    find_images,
    lineage,
    missing_reason,
    ordered,
    read_given,
    stems,
    with_images,
)
from .walk import globbed

_FOLDERS = ("", "metadata", "dataset", "dataset/metadata")
_COLUMNS = ("split", "treeoflife_id", "eol_content_id", "bioscan_filename", "inat21_filename", *RANKS, "common")
_LICENSES = ("treeoflife_id", "license_name", "copyright_owner", "medium_source_url")
_COLUMNS_200 = ("uuid", "source_dataset", "source_id", *RANKS, "scientific_name", "common_name")
_PROVENANCE = ("uuid", "license_name", "copyright_owner", "source_url")
_TEXTS = ("json", "scientific_name.txt", "common_name.txt", "taxontag.txt")
_RANK = "|".join(RANKS)
_TAG = re.compile(rf"\b({_RANK}) (.+?)(?= (?:{_RANK}) |\.?$)")  # "kingdom Animalia phylum Chordata class Aves ..."
_MAX_TEXT_BYTES = 2**20


def find_catalog(root: Path) -> Path | None:
    """Return the catalog.csv of TreeOfLife-10M, in one of the folders where it is published."""
    for path in (path for folder in _FOLDERS if (path := root / folder / "catalog.csv").is_file()):
        with path.open("rb") as file:
            return path if b"treeoflife_id" in file.readline(65536) else None
    return None


def read_treeoflife(root: Path) -> pd.DataFrame:
    """Read TreeOfLife-10M in the order of its catalog; images of ``train_small`` are listed a second time there."""
    catalog = find_catalog(root)
    table = read_given(catalog, _COLUMNS, {"split", "treeoflife_id"})
    said = lineage(table, binomial=False).assign(source="eol", source_id=table["treeoflife_id"])
    for column in ("inat21_filename", "bioscan_filename"):
        said["source"] = said["source"].mask(table[column] != "", column.partition("_")[0])
    said["common_name"] = table["common"].where(_is_common(table["common"], said), "")
    said["problem"] = pd.Series("", index=table.index).mask(table["treeoflife_id"] == "", "no treeoflife_id")
    said[SPLIT_COLUMN] = table["split"]
    said = _with_licences(said, catalog.with_name("licenses.csv"), _LICENSES)
    files, damaged = find_images(root)
    names = base_names(files["path"])
    by_id = (table["treeoflife_id"], stems(files["path"]))
    place = by_keys(by_id, *((table[column], names) for column in ("bioscan_filename", "inat21_filename")))
    sets = [re.match(r"image_set_(\d+)", path.name) for path in root.rglob("image_set_*")]
    there = {int(number[1]) for number in sets if number}
    gone = [f"image_set_{i:02d}.tar.gz" for i in range(1, max(there, default=0)) if i not in there]
    missing = pd.Series(missing_reason(damaged, gone), index=said.index)
    elsewhere = NOT_PUBLISHED + ": get " + said["source"] + " from its makers"
    missing = missing.where(said["source"] == "eol", elsewhere)
    action = "put image_set_XX.tar.gz (or the images, <treeoflife_id>.jpg) below the folder of catalog.csv"
    raw = with_images(said, place, files, root, action, damaged, missing)
    raw["problem"] = raw["problem"].replace(LISTED_AGAIN, f"{LISTED_AGAIN}, as train_small is")
    return raw


def _with_licences(said: pd.DataFrame, path: Path | None, columns: tuple[str, ...]) -> pd.DataFrame:
    """Add licence, holder and address of each id, by a table of `columns` in that order, if it is there."""
    if path is None or not path.is_file():
        return said
    given = read_given(path, columns, columns[:1]).drop_duplicates(columns[0]).set_index(columns[0])
    given = given.reindex(said["source_id"]).fillna("").replace("not provided", "").set_index(said.index)
    return pd.concat([said, given.set_axis(["license", "rights_holder", "source_url"], axis=1)], axis=1)


def _is_common(common: pd.Series, ranks: pd.DataFrame) -> pd.Series:
    """Tell common names from the scientific names and chains of ranks that the catalog has where there is none."""
    plain = common.str.replace("-", " ").str.lower()
    scientific = ranks["verbatim_name"].str.replace("-", " ").str.lower()
    kingdom = ranks["kingdom"].str.lower()
    chain = (kingdom != "") & ((plain == kingdom) | (plain.map(lambda name: name.partition(" ")[0]) == kingdom))
    return (plain != scientific) & ~chain


def find_catalog_200(root: Path, name: str = "catalog.parquet") -> Path | None:
    """Return the catalog of TreeOfLife-200M, in one of the folders where it is published."""
    found = (path for folder in _FOLDERS if (path := root / folder / name).is_file())
    return next((path for path in found if "uuid" in pq.read_schema(path).names), None)


def read_treeoflife200(root: Path) -> pd.DataFrame:
    """Read the rows of the catalog whose images are there, or not; ``source_id`` is the uuid."""
    table = read_given(find_catalog_200(root), _COLUMNS_200, {"uuid"})
    said = lineage(table, binomial=False).assign(common_name=table["common_name"], source_id=table["uuid"])
    said["source"] = table["source_dataset"].where(table["source_dataset"] != "", "treeoflife200m")
    said["verbatim_name"] = said["verbatim_name"].where(said["verbatim_name"] != "", table["scientific_name"])
    said = _with_licences(said, find_catalog_200(root, "provenance.parquet"), _PROVENANCE)
    if "source_url" in said:
        said = said.assign(address=said["source_url"], record=table["uuid"])
    files, damaged = find_images(root)
    place = by_keys((table["uuid"], stems(files["path"])))
    return with_images(said, place, files, root, "put its tars, or the images <uuid>.jpg, below that folder", damaged)


def web_tars(root: Path) -> list[Path]:
    """Return the tars of a folder, or of folders in it, whose samples have an image and texts."""
    tars = sorted(globbed(root, "*.tar", "*/*.tar"))
    return tars if tars and next(_samples(tars[0]), None) is not None else []


def read_web_data_set(root: Path) -> pd.DataFrame:
    """Read samples of tars; ``source_id`` is ``<tar>/<key>``; the name of its folder may be its split."""
    rows, damaged = [], {}
    for tar in web_tars(root):
        inside = tar.relative_to(root).with_suffix("").as_posix()
        for key, place, texts in _samples(tar):
            said = _said(tar, texts)
            if split := split_word(tar.parent.name) if tar.parent != root else split_word(tar.stem):
                said[SPLIT_COLUMN] = split
            rows.append({"source": root.name, "source_id": f"{inside}/{key}", "location": place, "problem": "", **said})
        if damage := open_archive(tar).damage:
            damaged[inside] = damage
    raw = pd.DataFrame(rows).fillna("")
    ranks = lineage(raw, binomial=False)
    named = raw.get("scientific_name", raw.get("verbatim_name", ranks["verbatim_name"]))
    raw = raw.drop(columns=[*RANKS, "verbatim_name"], errors="ignore").join(ranks)
    raw["verbatim_name"] = named.where(named != "", raw["verbatim_name"])
    return check_some_image(ordered(raw), root, damaged, "download its tars again")


def _samples(tar: Path) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield key, location of the image, and kind -> member of the texts of each sample that has both."""
    samples: dict[str, tuple[str, dict[str, str]]] = {}
    try:
        members = open_archive(tar).members
    except ArchiveError:
        return
    for name, member in members.items():
        path = PurePosixPath(name)
        key, _, kind = path.name.partition(".")
        key = (path.parent / key).as_posix()
        image, texts = samples.get(key, ("", {}))
        if f".{kind.lower()}" in IMAGE_SUFFIXES and not member.problem:
            image = f"{tar}{SEPARATOR}{name}"
        elif kind.lower() in _TEXTS:
            texts[kind.lower()] = name
        samples[key] = (image, texts)
    yield from ((key, image, texts) for key, (image, texts) in samples.items() if image and texts)


def _said(tar: Path, texts: dict[str, str]) -> dict[str, str]:
    """Return what the texts of a sample say, in the words of the raw table."""
    read = {kind: read_member(tar, name, _MAX_TEXT_BYTES).decode("utf-8", "replace") for kind, name in texts.items()}
    try:
        content = json.loads(read.get("json", "{}"))
    except ValueError:
        content = {}
    known = (*OPTIONAL_COLUMNS, "verbatim_name")
    said = {key: str(content[key]) for key in known if isinstance(content, dict) and content.get(key)}
    if not said:
        said = {rank: name.strip() for rank, name in _TAG.findall(read.get("taxontag.txt", "").strip())}
        said |= {kind.removesuffix(".txt"): text.strip() for kind, text in read.items() if kind.endswith("_name.txt")}
    return said
