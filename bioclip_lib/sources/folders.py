"""Photographs in folders (or an archive of folders) that name their classes, at any depth.

Takes a folder, zip or tar; returns the raw table, a row a file: an image or what pretends to be one. What only lies
beside photographs (sidecars, tables, films) is passed over. Refuses folders without classes.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..errors import InputError
from ..files.archives import ARCHIVE_SUFFIXES
from ..files.dialect import dialect_of, found_encoding, term_of
from ..files.tables import TABLE_SUFFIXES, list_files
from .columns import EMPTY, RAW_COLUMNS, SPLIT_COLUMN
from .layout import checked_layout, count_taxa, find_layout, is_code, is_plain
from .match import escaped
from .walk import FoundFile, files_of, is_image_name

_BESIDE = (
    *(".xmp", ".json", ".aae", ".thm", ".pp3", ".dop", ".pto", ".exif", ".gpx", ".csv", ".tsv", ".xml", ".yaml"),
    *(".yml", ".md", ".html", ".pdf", ".ini", ".db", ".mov", ".mp4", ".avi", ".mts", ".wav", ".mp3", ".lrv", ".npy"),
    *(".parquet", ".xlsx", ".sha256", ".md5"),
)
_OTHER_MEDIA = (".mov", ".mp4", ".avi", ".mts", ".wav", ".mp3", ".lrv")
_KINDS = r"(?:masks?|segmentations?|segs?|trimaps?|annotations?|labels?|gt|groundtruth|heatmaps?|overlays?|depth)"
_OF_DRAWN, _DRAWN = re.compile(rf"(?:.*[\W_])?{_KINDS}", re.IGNORECASE), re.compile(rf"[\W_]+{_KINDS}\d*$")
_N_ASKED = 30  # file names looked up
_CLASS = ("class", "species", "epithet")  # levels that name what is on the images
_RANKS = ("kingdom", "phylum", "order", "family", "genus")  # "class" is a level of classes


class NoClassFolderError(InputError):
    """A folder has no class folders, but images that lie `loose`, or is of another layout."""

    def __init__(self, message: str, loose: Sequence[str]) -> None:
        super().__init__(message)
        self.loose = loose


def _without_sidecars(files: list[FoundFile]) -> list[FoundFile]:
    """Leave out what lies beside photographs; a folder of films or archives alone is a class without an image."""
    stems = {(file.folders, _stem(file.name)) for file in files if is_image_name(file.name)}
    beside = (*_BESIDE, *ARCHIVE_SUFFIXES)
    images = [file for file in files if is_image_name(file.name)]
    of_drawn = {folders for folders in {file.folders for file in images} if any(map(_OF_DRAWN.fullmatch, folders))}
    photographs = {stem for folders, stem in stems if folders not in of_drawn} if of_drawn else set()

    def is_drawn(file: FoundFile) -> bool:  # a mask, by a folder or the end of the photograph's name beside it
        photograph = _DRAWN.sub("", _stem(file.name))
        if file.folders in of_drawn:
            return photograph in photographs
        return photograph != _stem(file.name) and (file.folders, photograph) in stems

    drawn = set(filter(is_drawn, images))
    drawn = drawn if len(drawn) < len(images) else set()

    def stays(file: FoundFile) -> bool:
        if file in drawn:
            return False
        is_beside = file.name.lower().endswith(beside) or (file.folders, _stem(file.name)) in stems
        return not file.name or is_image_name(file.name) or not is_beside

    kept = list(filter(stays, files))
    held = {file.folders[:n] for file in kept for n in range(len(file.folders) + 1)}
    others = (*_OTHER_MEDIA, *ARCHIVE_SUFFIXES)
    films = {file.folders for file in files if file.folders and file.name.lower().endswith(others)}
    return kept + [FoundFile(folder, "", "", EMPTY) for folder in sorted(films - held) if not is_plain(folder[-1])]


def _stem(name: str) -> str:
    return name.partition(".")[0].lower()


def read_image_folder(path: str | Path, layout: str = "", follow_links: bool = False) -> pd.DataFrame:
    """Read class folders; ``source`` is the folder (or set) that they lie in, ``source_id`` the path inside it."""
    root = Path(path).expanduser().resolve()
    if not root.is_dir() and not root.is_file():
        raise InputError(f"{path} is not a folder; give a folder of class folders, <class name>/*.jpg")
    found = list(files_of(root, follow_links))
    if not any(file.name for file in found):
        raise InputError(f"{root} holds no file; give the folder, the table or the archive of the photographs")
    files = _without_sidecars(found)
    words = _words_of(root, files, layout)
    rows = [row for file in files if (row := _row(root, words, file))]
    if not rows:
        depth = max((len(file.folders) for file in files), default=0)
        level = next(i for i, word in enumerate(words, 1) if word in _CLASS)
        raise InputError(
            f"{root}: data.layout={layout!r} has the names at level {level} of folders, and its images lie "
            f"{f'at level {depth}' if depth else 'directly in it'}; leave data.layout out, or give each level its word"
        )
    columns = [*RAW_COLUMNS, SPLIT_COLUMN, *_RANKS]
    raw = pd.DataFrame(rows, columns=columns)
    keys, is_empty = pd.MultiIndex.from_frame(raw[["source", "verbatim_name"]]), raw["problem"] == EMPTY
    raw = raw[~is_empty | ~(keys.isin(keys[~is_empty]) | keys.duplicated())]  # a class without any image, once
    used = [column for column in columns if column in RAW_COLUMNS or (raw[column] != "").any()]
    return raw.sort_values("source", kind="stable", ignore_index=True)[used]


def _words_of(root: Path, files: list[FoundFile], layout: str) -> list[str]:
    """Return the words of the levels, as the user says or as they are found."""
    if layout:
        return checked_layout(layout)
    holding = {file.folders for file in files if file.folders and file.name and is_image_name(file.name)}
    holding |= {file.folders for file in files if file.folders} if not holding and len(files) else set()
    try:
        words = find_layout(holding) if any(file.name for file in files) else []
    except InputError as error:
        raise InputError(f"{root}: {error}") from None
    if not words:
        loose = [file.name for file in files if is_image_name(file.name)]
        where = "in folders that name no class (images, train, ...)" if holding else "directly in it"
        found = f"{len(loose):,} images {where}" if loose else "no image"
        raise NoClassFolderError(
            f"{root} holds {found} and no class folder with a file; put the images into one folder a class, "
            "<class name>/*.jpg, or give a CSV with the columns path and name",
            loose,
        )
    return words


def _row(root: Path, words: list[str], file: FoundFile) -> tuple | None:
    """Return the raw row of a file, None for one that lies above the classes."""
    said = dict(zip(words, file.folders, strict=False))
    key = next(word for word in words if word in _CLASS)
    if key not in said:
        return None
    if file.problem == EMPTY:  # in a class it says nothing unless all is empty there
        file = file._replace(folders=file.folders[: words.index(key) + 1])
    name = f"{said['genus']} {said['epithet']}" if key == "epithet" and "genus" in said else said[key]
    inside = [folder for i, folder in enumerate(file.folders) if words[i : i + 1] != ["set"]]
    source = said.get("set", root.name if root.is_dir() else root.name.partition(".")[0])
    source_id = "/".join([*inside, file.name] if file.name else inside)
    ranks = [said.get(rank, "") for rank in _RANKS]
    row = (source, source_id, "" if file.problem == EMPTY else file.location, name, file.problem)
    return escaped((*row, said.get("split", ""), *ranks), 4)


def of_file_names(names: Sequence[str]) -> str:
    """Say that file names are the names of their taxa, '' where they are not."""
    stems = {re.sub(r"[\W\d_]+$", "", Path(name).stem): name for name in reversed(names)}
    asked = [stem for stem in list(stems)[:_N_ASKED] if not is_code(stem)]
    if len(asked) < 2 or 2 * count_taxa(asked) < len(asked):
        return ""
    return f"its files are called as taxa ({stems[asked[-1]]}): that part is what each folder is to be called"


def without_media(root: Path) -> str:
    """Say what to do with a packed data package, or to ask GBIF for instead of occurrences alone, '' of all else."""
    try:
        files = list_files(root)
        if root.is_file() and any(name.endswith(".json") for name in files):
            return "what JSON files say of images (Camtrap DP, COCO) is read from a folder: unpack it"
        tables = [file for name, file in files.items() if name.endswith(TABLE_SUFFIXES)]
        columns = [{term_of(name) for name in dialect_of(found_encoding(file))[1]} for file in tables]
    except InputError:
        return ""
    if any({"gbifid", "occurrenceid"} & names and "scientificname" in names for names in columns):
        return (
            "its table is of occurrences without media, as GBIF's simple download: ask it for the Darwin Core Archive"
        )
    return ""
