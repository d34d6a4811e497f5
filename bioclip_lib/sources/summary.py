"""What lies at an address, in a few lines: looked at before anything is decoded or built.

Takes the settings of the data; returns text. Refuses what `read.read_source` refuses.
"""

import contextlib
import importlib.util
import itertools
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from .. import RANKS
from ..config import DataConfig
from ..errors import InputError
from ..files.crops import split_crop
from ..files.images import ImageError, open_image, resize_and_crop
from ..files.tables import TABLE_SUFFIXES
from ..taxonomy import open_backbones, resolve
from .classes import names_files, read_names
from .columns import GROUP_COLUMN, SPLIT_COLUMN, split_word
from .layout import listed
from .read import FOLDERS, TABLE, Reading, read_as, read_source, reading_of
from .walk import files_of, is_image_name

_N_SHOWN = 5


def look(data: DataConfig, raw: pd.DataFrame | None = None, reading: Reading | None = None) -> str:
    """Say in a few lines what lies at an address and how it is read, before anything is built.

    Parameters
    ----------
    data : DataConfig
        As for `read_source`.
    raw : pd.DataFrame, optional
        What `read_source` returned; read here without it.
    reading : Reading, optional
        What `read.reading_of` returned; recognised here without it.

    Returns
    -------
    str
        The layout; the tables that it uses and those that it does not; images, names, splits, groups; and what cannot
        be read or is passed over, with its reason; last, after ``stops:``, why the names cannot be read.

    Raises
    ------
    InputError
        As `read_source`.
    """
    reading = reading or reading_of(data)
    raw = read_as(reading, data) if raw is None else raw
    lines = [f"{data.photos}: {reading.layout}"]
    if reading.tables:
        lines.append(f"read from: {listed([path.name for path in reading.tables], _N_SHOWN)}")
    lines += _levels(raw) if reading.layout.endswith(FOLDERS) else []
    said, stops = _said(data, raw)
    lines += _classes(raw) + said + _parts(raw) + _problems(raw)
    names = raw.loc[raw["problem"] == "", "location"].str.lower()
    n = names.str.endswith((".heic", ".heif")).sum()
    if n and importlib.util.find_spec("pillow_heif") is None:
        lines.append(f"left out: {n:,} HEIC, until pip install pillow-heif, or saved as JPEG")
    if reading.layout == FOLDERS:  # files that are no image by their suffix: each is opened, and most are no photograph
        others = Counter(os.path.splitext(name)[1] for name in names if not is_image_name(name))
        what = ", ".join(f"{n:,} {suffix}" for suffix, n in others.most_common(_N_SHOWN) if suffix)
        lines += [f"of these not named as images: {what}"] if what else []
    path = Path(data.photos).expanduser()
    has_files = path.is_dir() or (path.exists() and reading.layout.endswith(FOLDERS))
    return "\n".join(lines + (_not_read(path, raw, reading, data) if has_files else []) + stops)


def first_images(data: DataConfig, n_per_name: int, n_images: int, size_px: int) -> tuple[np.ndarray, pd.DataFrame]:
    """Show what came in: the first readable images of each name, and the taxon that the name is resolved to.

    Returns
    -------
    pixels : ndarray of shape (n, size_px, size_px, 3), uint8
        At most `n_images`, name by name.
    taxa : DataFrame
        As `taxonomy.resolve` returns it, a row an image.

    Raises
    ------
    InputError
        As `read_source`; and if no image can be read.
    """
    raw = read_source(data)
    shown = list(itertools.islice(_readable(raw[raw["problem"] == ""], n_per_name, size_px), n_images))
    if not shown:
        raise InputError(f"none of the {len(raw)} images can be read; 01_dataset_construction says why, one by one")
    labels, pixels = zip(*shown, strict=True)
    labelled = raw[raw["verbatim_name"].isin(labels)]
    found = resolve(labelled, open_backbones(data), read_names(data, raw)).drop_duplicates("verbatim_name")
    return np.stack(pixels), found.set_index("verbatim_name").loc[list(labels)].reset_index()


def _readable(raw: pd.DataFrame, n_per_name: int, size_px: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and pixels of the first images of each name that can be read."""
    for name, rows in raw.groupby("verbatim_name", sort=False):
        n_left = n_per_name
        for location in rows["location"]:
            with contextlib.suppress(ImageError):
                yield name, np.asarray(resize_and_crop(open_image(location), size_px))
                n_left -= 1
            if not n_left:
                break


def _levels(raw: pd.DataFrame) -> list[str]:
    """Say what each folder on the way to a photograph was taken for, where there are several."""
    deep = raw[(raw["problem"] == "") & (raw["source_id"].str.count("/") > 1)]
    if deep.empty:
        return []
    row = deep.iloc[0]
    folders, name = row["source_id"].split("/")[:-1], row["verbatim_name"]
    said = {row[rank]: rank for rank in RANKS if row.get(rank)} | {name: "name"}
    said |= {folder: "epithet" for folder in folders if f"{row.get('genus', '')} {folder}" == name}
    said |= {folder: "split" for folder in folders if row.get(SPLIT_COLUMN) and split_word(folder)}
    levels = [f"{folder} ({said.get(folder, 'not used')})" for folder in folders]
    return [f"folders: {' / '.join(levels)}"]


def _classes(raw: pd.DataFrame) -> list[str]:
    usable = raw[raw["problem"] == ""]
    names = usable.assign(verbatim_name=usable["verbatim_name"].replace("", None)).groupby("source")["verbatim_name"]
    counts = names.agg(["size", "nunique"])
    lines = [
        f"{source}: {n:,} {'image' if n == 1 else 'images'}, {k:,} {'name' if k == 1 else 'names'}"
        for source, n, k in counts.head(_N_SHOWN).itertuples()
    ]
    lines += [f"and {len(counts) - _N_SHOWN:,} more sets"] if len(counts) > _N_SHOWN else []
    first = [name for name in usable["verbatim_name"].unique() if name][: _N_SHOWN + 1]
    return [*lines, f"names: {listed(first, _N_SHOWN)}"]


def _said(data: DataConfig, raw: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return what is said of names, and why they cannot be read."""
    try:
        said = read_names(data, raw)
    except InputError as error:
        return [], [f"stops: {error}"]
    if said is None:
        return [], []
    lines = [f"said of names: {', '.join(c for c in said if (said[c] != '').any())}"]
    classes, named = set(raw["verbatim_name"]) - {""}, set(said["class_name"])
    if named - classes and classes - named:
        left, unsaid = (listed(sorted(names), _N_SHOWN) for names in (named - classes, classes - named))
        lines.append(f"names that are no class: {left}; classes of which nothing is said: {unsaid}")
    return lines, []


def _parts(raw: pd.DataFrame) -> list[str]:
    """Count splits, groups and boxes."""
    lines = []
    cut = [photograph for photograph, box in map(split_crop, raw.loc[raw["problem"] == "", "location"]) if box]
    if cut:
        lines.append(f"boxes: {len(cut):,} of {len(set(cut)):,} photographs (data.boxes=whole takes these whole)")
    if SPLIT_COLUMN in raw:
        counts = raw[SPLIT_COLUMN].replace("", "none").value_counts()
        lines.append(f"splits: {', '.join(f'{name} {n:,}' for name, n in counts.items())}")
    if GROUP_COLUMN in raw:
        groups = raw.loc[raw[GROUP_COLUMN] != "", GROUP_COLUMN]
        lines.append(f"groups: {groups.nunique():,} of {len(groups):,} images")
    return lines


def _problems(raw: pd.DataFrame) -> list[str]:
    """Count what is not read by its reason, with the id of the first, and the address or path looked for."""
    lost = raw[raw["problem"] != ""]
    counts = lost["problem"].value_counts()
    first = lost.drop_duplicates("problem").set_index("problem")
    address = first.get("source_url", pd.Series("", index=first.index))
    named = first["source_id"] + (" " + address).where(address != "", "")
    said = [f"not read: {n:,} x {problem} (first: {named[problem]})" for problem, n in counts[:_N_SHOWN].items()]
    left = counts[_N_SHOWN:]
    return said + ([f"not read: {left.sum():,} more, for {len(left)} other reasons"] if len(left) else [])


def _not_read(path: Path, raw: pd.DataFrame, reading: Reading, data: DataConfig) -> list[str]:
    """Name the tables that are not used, and count what is passed over."""
    root = path.resolve()
    read = {split_crop(place)[0] for place in raw["location"]}
    tables = {str(table.resolve()) for table in reading.tables}
    tables |= {str(file.resolve()) for file in names_files(data)}
    with_tables = reading.layout.endswith((TABLE, FOLDERS))  # what else the others have is read
    kinds: Counter[str] = Counter()
    unused, images = [], []
    for file in files_of(root, data.follow_links):
        is_image, name = is_image_name(file.name), "/".join((*file.folders, file.name))
        if not file.name or file.location in read or file.location in tables or not (with_tables or is_image):
            continue
        if name.lower().endswith((*TABLE_SUFFIXES, ".json")):
            unused.append(name)
        suffix = Path(file.name).suffix.lower() or "without suffix"
        kinds[f"images ({suffix})" if is_image else suffix] += 1
        images += [name] if is_image and not images else []
    lines = [f"tables not used: {', '.join(unused[:_N_SHOWN])}"] if unused and with_tables else []
    over = ", ".join(f"{n:,} {kind}" for kind, n in kinds.most_common(_N_SHOWN))
    first = f" (first image: {images[0]})" if images else ""
    return lines + ([f"passed over: {over}{first}"] if over else [])
