"""Photographs in folders (or an archive of folders) that name their classes, at any depth.

Takes a folder, zip or tar; returns the raw table, a row a file: an image or what pretends to be one. What only lies
beside photographs (sidecars, tables, films) is passed over. Refuses folders without classes.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ..errors import InputError
from ..files.archives import ARCHIVE_SUFFIXES, SEPARATOR, open_archive
from ..files.images import IMAGE_SUFFIXES
from ..files.members import ArchiveError
from .columns import SPLIT_COLUMN, split_word
from .layout import checked_layout, find_layout, is_plain
from .match import RAW_COLUMNS, escaped, link_problem

_IGNORED = {"thumbs.db", "desktop.ini", "__macosx", "@eadir"}
OTHER_IMAGES = (".heic", ".heif", ".avif", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".jp2")
_BESIDE = (
    *(".xmp", ".json", ".aae", ".thm", ".pp3", ".dop", ".pto", ".exif", ".gpx", ".csv", ".tsv", ".xml", ".yaml"),
    *(".yml", ".md", ".html", ".pdf", ".ini", ".db", ".mov", ".mp4", ".avi", ".mts", ".wav", ".mp3", ".lrv", ".npy"),
    *(".parquet", ".xlsx", ".sha256", ".md5"),
)
_OTHER_MEDIA = (".mov", ".mp4", ".avi", ".mts", ".wav", ".mp3", ".lrv")
_RANKS = ("kingdom", "phylum", "order", "family", "genus")  # "class" is a level of classes
EMPTY = "class folder without an image"


class NoClassFolderError(InputError):
    """A folder has no class folders; it may be of another layout."""


class FoundFile(NamedTuple):
    """A visible file: the folders on its way, its name, where it lies, and '' or why it is not read."""

    folders: tuple[str, ...]
    name: str
    location: str
    problem: str = ""


def files_of(root: Path, follow_links: bool = False) -> Iterator[FoundFile]:
    """Yield the visible files of a folder or archive, folder by folder; a folder without any has one of no name."""
    if root.is_file():
        yield from _members_of(root)
        return
    for folder, folders, files in _walked(root, follow_links):
        parts = Path(folder).relative_to(root).parts
        links = [] if follow_links else [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in links:
            yield FoundFile((*parts, name), "", str(Path(folder, name)), link_problem(Path(folder, name), root))
        folders[:] = [name for name in folders if name not in links]
        if not files and not folders and parts:
            yield FoundFile(parts, "", "", EMPTY)
        for name in files:
            path = os.path.join(folder, name)
            is_link = not follow_links and os.path.islink(path)
            yield FoundFile(parts, name, path, link_problem(Path(path), root) if is_link else "")


def _walked(root: Path, follow_links: bool) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk folders with what is visible in them, sorted; each once, though a link may lead to one above."""
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, onerror=_refuse, followlinks=follow_links):
        real = os.path.realpath(folder) if follow_links else folder
        folders[:] = [] if real in seen else sorted(filter(_is_visible, folders))
        if real not in seen:
            yield folder, folders, sorted(filter(_is_visible, files))
        seen.add(real)


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename} cannot be read ({error.strerror}); change its permissions or remove it")


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _IGNORED


def _members_of(path: Path) -> Iterator[FoundFile]:
    """Yield the files of an archive."""
    try:
        archive = open_archive(path)
    except ArchiveError as error:
        raise InputError(f"{path} cannot be read ({error}); pack it again") from None
    if archive.damage and not any(map(is_image_name, archive.members)):
        raise InputError(f"{path} cannot be read ({archive.damage}); pack it again")
    for member, place in archive.members.items():
        *folders, name = member.replace("\\", "/").split("/")
        if all(map(_is_visible, (*folders, name))) or place.problem:
            yield FoundFile(tuple(folders), name, f"{path}{SEPARATOR}{member}", place.problem)


def is_image_name(name: str) -> bool:
    """Tell the name of a photograph, by its suffix."""
    return name.lower().endswith((*IMAGE_SUFFIXES, *OTHER_IMAGES))


def _without_sidecars(files: list[FoundFile]) -> list[FoundFile]:
    """Leave out what lies beside photographs, by its suffix or name; a folder of films alone is a class without any."""
    stems = {(file.folders, _stem(file.name)) for file in files if is_image_name(file.name)}
    beside = (*_BESIDE, *ARCHIVE_SUFFIXES)

    def stays(file: FoundFile) -> bool:
        is_beside = file.name.lower().endswith(beside) or (file.folders, _stem(file.name)) in stems
        return not file.name or is_image_name(file.name) or not is_beside

    kept = list(filter(stays, files))
    held = {file.folders[:n] for file in kept for n in range(len(file.folders) + 1)}
    films = {file.folders for file in files if file.folders and file.name.lower().endswith(_OTHER_MEDIA)}
    return kept + [FoundFile(folder, "", "", EMPTY) for folder in sorted(films - held) if not is_plain(folder[-1])]


def _stem(name: str) -> str:
    return name.partition(".")[0].lower()


def read_image_folder(path: str | Path, layout: str = "", follow_links: bool = False) -> pd.DataFrame:
    """Read class folders; ``source`` is the folder (or set) that they lie in, ``source_id`` the path inside it."""
    root = Path(path).expanduser().resolve()
    if not root.is_dir() and not root.is_file():
        raise InputError(f"{path} is not a folder; give a folder of class folders, <class name>/*.jpg")
    files = _without_sidecars(list(files_of(root, follow_links)))
    words = _words_of(root, files, layout)
    rows = [row for file in files if (row := _row(root, words, file))]
    columns = [*RAW_COLUMNS, SPLIT_COLUMN, *_RANKS]
    raw = pd.DataFrame(rows, columns=columns)
    used = [column for column in columns if column in RAW_COLUMNS or (raw[column] != "").any()]
    return raw.sort_values("source", kind="stable", ignore_index=True)[used]


def _words_of(root: Path, files: list[FoundFile], layout: str) -> list[str]:
    """Return the words of the levels, as the user says or as they are found."""
    if layout:
        return checked_layout(layout)
    holding = {file.folders for file in files if file.folders and file.name and is_image_name(file.name)}
    holding |= {file.folders for file in files if file.folders} if not holding and len(files) else set()
    try:
        words = find_layout(holding, count_taxa) if any(file.name for file in files) else []
    except InputError as error:
        raise InputError(f"{root}: {error}") from None
    if not words:
        n_loose = sum(is_image_name(file.name) for file in files)
        where = "in folders that name no class (images, train, ...)" if holding else "directly in it"
        found = f"{n_loose} images {where}" if n_loose else "no image"
        raise NoClassFolderError(
            f"{root} holds {found} and no class folder with a file; put the images into one folder a class, "
            "<class name>/*.jpg, or give a CSV with the columns path and name"
        )
    return words


def count_taxa(names: list[str]) -> int:
    """Count the names that NCBI Taxonomy knows."""
    from ..taxonomy.resolution import resolve

    raw = pd.DataFrame({"source": "", "verbatim_name": names})
    status = resolve(raw)["name_status"]
    return int((~status.isin(("unresolved", "ambiguous"))).sum())


def _row(root: Path, words: list[str], file: FoundFile) -> tuple | None:
    """Return the raw row of a file, None for one that lies above the classes."""
    said = dict(zip(words, file.folders, strict=False))
    key = next(word for word in words if word in ("class", "species", "epithet"))
    if key not in said or (file.problem == EMPTY and len(file.folders) > words.index(key) + 1):
        return None
    name = f"{said['genus']} {said['epithet']}" if key == "epithet" and "genus" in said else said[key]
    inside = [folder for i, folder in enumerate(file.folders) if words[i : i + 1] != ["set"]]
    source = said.get("set", root.name if root.is_dir() else root.name.partition(".")[0])
    source_id = "/".join([*inside, file.name] if file.name else inside)
    ranks = [said.get(rank, "") for rank in _RANKS]
    row = (source, source_id, "" if file.problem == EMPTY else file.location, name, file.problem)
    return escaped((*row, split_word(said.get("split", "")) or said.get("split", ""), *ranks), 4)
