"""The visible files of a folder or an archive, one by one, in the order of their names.

Takes a path; yields `FoundFile` objects. A link that leaves the folder is followed only where the user allows it.
Refuses what cannot be read.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ..errors import InputError
from ..files.archives import SEPARATOR, open_archive
from ..files.images import IMAGE_SUFFIXES
from ..files.members import ArchiveError
from .columns import EMPTY

OTHER_IMAGES = (".heic", ".heif", ".avif", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".jp2")
_LISTED: ContextVar[dict[Path, list[list[str]]] | None] = ContextVar("listed", default=None)
_DEPTH = 3  # of what published sets are recognised by
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
        links = [] if follow_links else [entry for entry in folders if entry.is_symlink()]
        for entry in links:
            yield FoundFile((*parts, entry.name), "", entry.path, link_problem(Path(entry.path), root))
        if not files and len(links) == len(folders) and parts:
            yield FoundFile(parts, "", "", EMPTY)
        for entry in files:
            is_link = not follow_links and entry.is_symlink()
            yield FoundFile(parts, entry.name, entry.path, link_problem(Path(entry.path), root) if is_link else "")


def _walked(root: Path, follow_links: bool) -> Iterator[tuple[str, list[os.DirEntry], list[os.DirEntry]]]:
    """Walk folders with what is visible in them, sorted; each once, though a link may lead to one above."""
    seen: set[str] = set()
    left = [str(root)]
    while left:  # `os.walk` asks the disk of each entry whether it is a link
        folder = left.pop()
        real = os.path.realpath(folder) if follow_links else folder
        if real not in seen:
            seen.add(real)
            entries = _visible(folder)
            folders = [entry for entry in entries if is_folder(entry)]
            yield folder, folders, [entry for entry in entries if not is_folder(entry)]
            left += [entry.path for entry in reversed(folders) if follow_links or not entry.is_symlink()]


def _visible(folder: str) -> list[os.DirEntry]:
    """Return the visible entries of a folder, sorted."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if _is_visible(entry.name)), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(
            f"{error.filename} cannot be read ({error.strerror}); change its permissions or remove it"
        ) from None


def is_folder(entry: os.DirEntry) -> bool:
    """Tell a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


@contextlib.contextmanager
def listed_once() -> Iterator[None]:
    """Let a folder be listed once in this context, however many layouts are looked for in it."""
    token = _LISTED.set({})
    try:
        yield
    finally:
        _LISTED.reset(token)


def entries_of(folder: str | Path) -> Iterator[os.DirEntry]:
    """Yield what is visible in a folder, nothing where it cannot be read: who reads its images says what is wrong."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        yield from (entry for entry in entries if not entry.name.startswith("."))


def listed_names(root: Path, depth: int) -> list[list[str]]:
    """Return the paths in a folder, in its folders, and so on: a list a level; of what cannot be read none."""
    known = _LISTED.get()
    if known is not None and root in known:
        return known[root][:depth]
    levels, folders = [], [(str(root), "")]
    for _ in range(depth if known is None else _DEPTH):
        level, below = [], []
        for folder, inside in folders:
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    level.append(f"{inside}{entry.name}")
                    if is_folder(entry):
                        below.append((entry.path, f"{level[-1]}/"))
        levels.append(level)
        folders = below
    if known is not None:
        known[root] = levels
    return levels[:depth]


def globbed(root: Path, *patterns: str) -> list[Path]:
    """Return what `Path.glob` does for patterns of at most three levels, sorted for each, from one list of names."""
    names, found = listed_names(root, 1 + max(pattern.count("/") for pattern in patterns)), []
    for pattern in patterns:
        fits = re.compile(re.escape(pattern).replace(r"\*", "[^/]*")).fullmatch
        found += sorted(root / name for name in names[pattern.count("/")] if fits(name))
    return found


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
    if not Path(os.path.realpath(file)).is_relative_to(root):  # `resolve` has no answer for one that leads to itself
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
