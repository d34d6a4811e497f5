"""Photographs that somebody wants named: found, decoded, embedded; what cannot be read keeps its reason.

Takes files, folders, archives, patterns, tables with a column of paths, arrays and PIL images; returns `Photo` objects,
and features a batch at a time. One broken file stops nothing. Refuses what is not there, and a folder without images.
"""

import glob
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image

from ..errors import InputError
from ..files.archives import ARCHIVE_SUFFIXES, split_location
from ..files.crops import crop_location, split_crop
from ..files.dialect import normal_name
from ..files.images import ImageError, open_image, to_rgb
from ..files.tables import TABLE_SUFFIXES, read_strings
from ..model.encode import encode_prepared, height_width
from ..model.load import LoadedModel
from ..run.workers import map_threads
from ..sources.boxes import BOX_COLUMN
from ..sources.cameras import is_camtrap, read_camtrap
from ..sources.columns import GROUP_COLUMN, PATH_COLUMNS, find_column, known_columns
from ..sources.folders import files_of, is_image_name
from ..sources.match import NoImageError

WORKERS = min(8, os.cpu_count() or 1)
FOLDER = "folder"
"""As events: photographs of one folder are one."""
_OVERSIZE = 2  # as in `model.encode`
Source = str | Path | Image.Image | np.ndarray | ImageError
_NO_ANIMAL = ("blank", "human", "vehicle")


class Photo(NamedTuple):
    """A photograph by its name: where it lies, maybe a box of it, its pixels, or why it has none; maybe its event."""

    name: str
    source: Source
    event: str = ""


def list_photos(given: Source | Photo | Sequence, events: str = "") -> list[Photo]:
    """List the photographs of what a user gives.

    Parameters
    ----------
    given : path, PIL image, array (H, W, 3) of uint8, Photo, or a sequence of these
        A path is that of a file, a folder or archive of them at any depth (of a Camtrap DP its boxes, else its images,
        named by media), a pattern as ``new/*.jpg``, or a table with a column of paths, which are relative to it.
    events : str
        What photographs of one individual or event have in common: "folder", or a column of that
        table; of a Camtrap DP its own events.

    Examples
    --------
    >>> list_photos(np.zeros((4, 6, 3), np.uint8))[0].name
    '0'
    """
    items = list(given) if isinstance(given, list | tuple) and not isinstance(given, Photo) else [given]
    photos = [photo for place, item in enumerate(items) for photo in _photos_of(item, place, events)]
    if not photos:
        raise InputError(f"no image is in {', '.join(map(str, items[:3])) or 'nothing'}; give photographs or a folder")
    return photos


def _photos_of(item: Source | Photo, place: int, events: str) -> Iterator[Photo]:
    """Yield the photographs of one item."""
    if isinstance(item, Photo):
        yield item
    elif not isinstance(item, str | Path):
        yield Photo(str(place), item)
    else:
        path = os.path.expanduser(item)
        if not os.path.exists(path) and glob.has_magic(path):
            yield from (
                photo for found in sorted(glob.glob(path, recursive=True)) for photo in _files_at(found, events)
            )
        else:
            yield from _files_at(path, events)


def _files_at(path: str, events: str) -> Iterator[Photo]:
    """Yield the photographs that a path leads to."""
    name = path.lower()
    if os.path.isfile(path) and name.endswith(TABLE_SUFFIXES):
        yield from _listed(Path(path), events)
        return
    if os.path.isdir(path) and is_camtrap(Path(path)):
        yield from _of_camtrap(path, events)
        return
    if os.path.isdir(path) or (os.path.isfile(path) and name.endswith(ARCHIVE_SUFFIXES)):
        files = list(files_of(Path(path), follow_links=True))
        found = [file.location for file in files if is_image_name(file.name)]
        empty = [os.path.join(path, *file.folders) for file in files if file.folders and not file.name]
        yield from (Photo(place, ImageError("an empty folder, no image")) for place in filter(is_image_name, empty))
    elif os.path.isfile((split_location(split_crop(path)[0]) or split_crop(path))[0]):  # or a member, or a box
        found = [path]
    else:
        raise InputError(f"{path} does not exist; give photographs, a folder, a pattern or a table of paths")
    if events not in ("", FOLDER):
        raise InputError(f"{path} is no table and has no column {events!r}; give a table, or {FOLDER!r} for events")
    yield from (Photo(place, place, os.path.dirname(place) if events else "") for place in found)


def _of_camtrap(path: str, events: str) -> Iterator[Photo]:
    """Yield the boxes and images of a Camtrap DP; those that are said to show no animal keep that as their reason."""
    try:
        table = read_camtrap(Path(path).resolve())
    except NoImageError as error:  # none has a name: that is what is asked for
        table = error.raw
    for row in table.to_dict("records"):
        place = crop_location(row["location"], row[BOX_COLUMN]) if row[BOX_COLUMN] else row["location"]
        said = str(row["problem"])
        is_blank = any(f"({kind})" in said for kind in _NO_ANIMAL) or said.startswith("not an image")
        source = ImageError(said) if is_blank or not place else place
        yield Photo(str(row["source_id"]), source, str(row[GROUP_COLUMN]) if events else "")


def _listed(path: Path, events: str) -> Iterator[Photo]:
    """Yield the photographs of a table."""
    given = read_strings(path)
    table = known_columns(given)
    rows = table[find_column(path, "path", table, PATH_COLUMNS)]
    event = rows.map(os.path.dirname) if events == FOLDER else pd.Series("", index=rows.index)
    if events not in ("", FOLDER):
        event = given[find_column(path, "event", given, (normal_name(events),))]
    for row, of in zip(rows, event, strict=True):
        yield Photo(row, os.path.join(path.parent, row.replace("\\", "/")), of)


def features_of(
    photos: Iterable[Photo], model: LoadedModel, batch_size: int = 64
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Embed photographs a batch at a time: '' or why each is not read, and features (n_read, D) of the others."""
    least = _OVERSIZE * max(height_width(model.model.visual.preprocess_cfg))
    prepared = map_threads(partial(_prepared, model, least), photos, WORKERS, ahead=max(batch_size, 64))
    while batch := list(itertools.islice(prepared, batch_size)):
        problems = [item if isinstance(item, str) else "" for item in batch]
        pixels = [item for item in batch if not isinstance(item, str)]
        if pixels:
            yield problems, encode_prepared(model.model, torch.stack(pixels))
        else:
            yield problems, np.zeros((0, 0), dtype=np.float32)


def _prepared(model: LoadedModel, least: int, photo: Photo) -> torch.Tensor | str:
    """Return what the model takes, (3, S, S), or why there is nothing."""
    try:
        return model.preprocess(_decoded(photo.source, least))
    except ImageError as error:
        return str(error)


def _decoded(source: Source, least: int | None) -> Image.Image:
    """Decode a file, or turn pixels upright, to RGB."""
    if isinstance(source, ImageError):
        raise source
    if isinstance(source, Image.Image):
        try:
            return to_rgb(source.copy())  # to_rgb forgets what an image says of its own
        except OSError as error:
            raise ImageError(f"unreadable ({error})") from None
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim not in (2, 3) or source.shape[2:] not in ((), (3,), (4,)):
            raise ImageError(f"not an image: an array {source.dtype} of shape {source.shape}")
        return to_rgb(Image.fromarray(source))
    return open_image(source, least)
