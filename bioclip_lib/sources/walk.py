"""The visible files of a folder or an archive, one by one, in the order of their names.

Takes a path; yields `FoundFile` objects. A link that leaves the folder is followed only where the user allows it.
Refuses what cannot be read.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ..errors import InputError
from ..files.archives import SEPARATOR, open_archive
from ..files.images import IMAGE_SUFFIXES
from ..files.members import ArchiveError
from .reasons import EMPTY

OTHER_IMAGES = (".heic", ".heif", ".avif", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".jp2")
_IGNORED = {"thumbs.db", "desktop.ini", "__macosx", "@eadir"}


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
        parts = tuple(filter(None, folder[len(str(root)) :].split(os.sep)))
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


def link_problem(file: Path, root: Path) -> str:
    """Return why a link is not followed, '' for a plain file or a link within `root`."""
    if not file.is_symlink():
        return ""
    if not file.resolve().is_relative_to(root):
        return "link that leaves the folder, not followed"
    return "link to a folder, not followed" if file.is_dir() else ""


def refuse_links(raw: pd.DataFrame, follow_links: bool) -> pd.DataFrame:
    """Refuse links that are to be followed where the reader of their layout does not."""
    left = raw.loc[raw["problem"].str.endswith("not followed"), "source_id"]
    if follow_links and len(left):
        raise InputError(
            f"data.follow_links follows links in class folders and tables, and {left.iloc[0]} is one in a set of "
            "another layout; copy the set with the files that its links lead to (cp -rL)"
        )
    return raw
