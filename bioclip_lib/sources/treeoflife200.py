"""TreeOfLife-200M as published, and the web data sets that are made of it.

Of the first ``catalog.parquet`` and ``provenance.parquet`` lie beside tars or files of ``<uuid>.jpg``; the samples of
the others say their own names.

Takes their folder; returns the raw table, a row a row of the catalog, or a sample.
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
from .columns import OPTIONAL_COLUMNS, SPLIT_COLUMN, split_word
from .match import check_some_image, find_images, lineage, match_images, missing_reason, ordered, read_given, stems
from .walk import globbed

_FOLDERS = ("", "dataset", "metadata", "dataset/metadata")
_CATALOG = ("uuid", "source_dataset", "source_id", *RANKS, "scientific_name", "common_name")
_PROVENANCE = ("uuid", "source_url", "license_name", "copyright_owner")
_TEXTS = ("json", "scientific_name.txt", "common_name.txt", "taxontag.txt")
_RANK = "|".join(RANKS)
_TAG = re.compile(rf"\b({_RANK}) (.+?)(?= (?:{_RANK}) |\.?$)")  # "kingdom Animalia phylum Chordata class Aves ..."
_MAX_TEXT_BYTES = 2**20
_ACTION = "put its tars, or the images <uuid>.jpg, below that folder"


def find_catalog(root: Path, name: str = "catalog.parquet") -> Path | None:
    """Return the catalog, in one of the folders where it is published."""
    found = (path for folder in _FOLDERS if (path := root / folder / name).is_file())
    return next((path for path in found if "uuid" in pq.read_schema(path).names), None) if root.is_dir() else None


def read_treeoflife200(path: str | Path) -> pd.DataFrame:
    """Read the rows of the catalog whose images are there, or not; ``source_id`` is the uuid."""
    root = Path(path).expanduser().resolve()
    table = read_given(find_catalog(root), _CATALOG, {"uuid"})
    said = lineage(table, binomial=False).assign(source=table["source_dataset"], source_id=table["uuid"])
    said["source"] = said["source"].where(said["source"] != "", "treeoflife200m")
    said["common_name"] = table["common_name"]
    said["verbatim_name"] = said["verbatim_name"].where(said["verbatim_name"] != "", table["scientific_name"])
    provenance = find_catalog(root, "provenance.parquet")
    if provenance:
        given = read_given(provenance, _PROVENANCE, {"uuid"}).replace("not provided", "").drop_duplicates("uuid")
        given = given.set_index("uuid").reindex(table["uuid"]).fillna("").set_index(said.index)
        said = pd.concat([said, given.set_axis(["source_url", "license", "rights_holder"], axis=1)], axis=1)
        said = said.assign(address=said["source_url"], record=table["uuid"])
    files, damaged = find_images(root)
    keys = pd.DataFrame({"id": stems(files["path"])})
    raw = match_images(said, table[["uuid"]].set_axis(["id"], axis=1), files, keys, missing=missing_reason(damaged))
    return check_some_image(raw, root, damaged, _ACTION)


def web_tars(root: Path) -> list[Path]:
    """Return the tars of a folder, or of folders in it, whose samples have an image and texts."""
    tars = sorted(globbed(root, "*.tar", "*/*.tar"))
    return tars if tars and next(_samples(tars[0]), None) is not None else []


def read_web_data_set(path: str | Path) -> pd.DataFrame:
    """Read samples of tars; ``source_id`` is ``<tar>/<key>``; the name of its folder may be its split."""
    root = Path(path).expanduser().resolve()
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
    if "json" in read:
        try:
            content = json.loads(read["json"])
        except ValueError:
            content = {}
        known = (*OPTIONAL_COLUMNS, "verbatim_name")
        said = {key: str(content[key]) for key in known if isinstance(content, dict) and content.get(key)}
        if said:
            return said
    said = {rank: name.strip() for rank, name in _TAG.findall(read.get("taxontag.txt", "").strip())}
    names = {kind.removesuffix(".txt"): text.strip() for kind, text in read.items() if kind.endswith("_name.txt")}
    return said | names
