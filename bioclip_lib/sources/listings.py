"""Tables of photographs: a row an image, its path (or id, or address), its name and what else is said of it.

Takes one or several tables; returns the raw table, a row a row, with the user's splits and groups. A path is relative
to its table; what is not there is looked for below the table's folder by the end of the path, or an id. Refuses a table
without a column of paths or names, and one none of whose images is there.
"""

import contextlib
import os
import re
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import numpy as np
import pandas as pd

from ..errors import InputError
from ..files.archives import SEPARATOR, open_archive, split_location
from ..files.crops import NO_BOX
from ..files.tables import TABLE_SUFFIXES, column_names
from .addresses import NOT_FOUND, match_addresses
from .boxes import BOX_COLUMN, CONFIDENCE_COLUMN, boxes_of, numbered
from .cameras import of_timelapse
from .columns import (
    GROUP_COLUMN,
    NO_TAXON,
    PATH_COLUMNS,
    SPLIT_COLUMN,
    beside_the_name,
    find_column,
    not_seen,
    read_known,
    said_of_names,
    split_of_folders,
    split_word,
    verbatim_names,
)
from .layout import count_taxa
from .match import find_images, ordered, unique_ids
from .walk import listed_names

_PLACES = ("path", "photo_id", "address", "source_url")
_SAY_ELSE = {*_PLACES, GROUP_COLUMN, SPLIT_COLUMN, "license", "rights_holder", "source", "qualifier"}
_OF_ELSE = re.compile(
    r"host|prey|diet|food|predict|previous|habitat|site|place|locat|camera|observer|note|remark|comment"
)
_N_ASKED, _MOST = 30, 0.75
_N_LOOKED_AT = 200  # rows of a table that lies beside images
_NO_LISTING = re.compile(  # what says what names mean, or is no label: a sample submission labels test images at random
    r"classes|readme|species|names|taxa|licenses|attribution|.*submission.*|.*predictions?"
)


def read_table(path: Path) -> pd.DataFrame:
    """Read one table; an image that it lists again gets ``#2`` in its ``source_id``."""
    table = read_known(path)
    return _checked(_raw_of(path, table, path.name.partition(".")[0]), path, table)


def read_tables(root: Path, paths: list[Path], source: str) -> pd.DataFrame:
    """Read tables that lie beside their images as one set; the name of a table or of its folder may tell its split."""
    parts = []
    for path in paths:
        raw = _raw_of(path, read_known(path), source)
        inside = folder_inside(root, path)
        raw["source_id"] = inside + "/" + raw["source_id"] if inside else raw["source_id"]
        word = split_word(path.name.rpartition(SEPARATOR)[2].partition(".")[0]) or split_word(inside)
        given = raw.get(SPLIT_COLUMN, pd.Series("", index=raw.index))
        parts.append(raw.assign(**{SPLIT_COLUMN: given.where(given != "", word)}))
    if len(paths) > 1:
        _check_agreement(root, paths, parts)
    raw = ordered(pd.concat(parts, ignore_index=True))
    raw = raw if (raw[SPLIT_COLUMN] != "").any() else raw.drop(columns=SPLIT_COLUMN)
    raw["source_id"] = unique_ids(raw["source_id"])
    return _checked(raw, paths[0], None)


def folder_inside(root: Path, table: Path) -> str:
    """Return the folder of a table inside a folder or an archive, '' at its top."""
    inside = split_location(str(table))
    folder = (PurePosixPath(inside[1]) if inside else table.relative_to(root)).parent.as_posix()
    return "" if folder == "." else folder


def _check_agreement(root: Path, paths: list[Path], parts: list[pd.DataFrame]) -> None:
    """Refuse tables that give most of the images that they share other names."""
    labels = pd.concat([part.drop_duplicates("location")[["location", "verbatim_name"]] for part in parts])
    labels = labels[(labels != "").all(axis=1)]
    shared = labels[labels["location"].duplicated(keep=False)]
    n_names = shared.groupby("location", sort=False)["verbatim_name"].nunique()
    differing = n_names.index[n_names > 1]
    if 2 * len(differing) > len(n_names):
        one, other = shared.loc[shared["location"] == differing[0], "verbatim_name"].unique()[:2]
        raise InputError(
            f"{root}: {', '.join(path.name for path in paths)} name the same images differently ({differing[0]}: "
            f"{one!r}, {other!r}); give the right table itself as data.photos"
        )


def _checked(raw: pd.DataFrame, path: Path, table: pd.DataFrame | None) -> pd.DataFrame:
    """Return the rows; `InputError` where none of their images is there."""
    if len(raw) and (raw["problem"] != "").all():
        columns = () if table is None else table.columns
        column = next((name for name in (*PATH_COLUMNS[:-1], "address", "photo_id") if name in columns), "")
        if column == "address":
            raise InputError(
                f"none of the {len(raw)} images whose addresses {path} lists is below {path.parent} (first: "
                f"{table[column].iloc[0]}); download them there: python -m bioclip_lib.sources.download {path} --to "
                f"{path.parent}"
            )
        raise InputError(
            f"none of the {len(raw)} images listed in {path} exists (first: {raw['location'].iloc[0] or 'no path'}); "
            f"paths are relative to {path.parent}: correct column {column!r}, put the images below that folder, or "
            "move the table"
        )
    return raw


def _raw_of(path: Path, table: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return the raw rows of a table."""
    if table.columns.intersection(_PLACES[:3]).empty and GROUP_COLUMN in table:
        table = table.assign(photo_id=table[GROUP_COLUMN])  # files may be called by their record
    elif table.columns.intersection(_PLACES[:3]).empty:
        find_column(path, "path", table, PATH_COLUMNS)
    names = _names(path, table)
    ids, location, problem = _places(path, table)
    problem = np.where(not_seen(table) & (np.array(problem) == ""), NO_TAXON + "absent)", problem)
    sources = table.get("source", pd.Series(source, index=table.index)).replace("", source)
    repeat = ids.groupby([sources, ids]).cumcount()  # the second mention of a path within a source ends in #2
    numbers = ids.where(repeat == 0, ids + "#" + (repeat + 1).astype(str))
    raw = pd.DataFrame({"source": sources, "source_id": numbers})
    raw = raw.assign(location=location, verbatim_name=names, problem=problem)
    raw = pd.concat([raw, said_of_names(table, names), beside_the_name(table)], axis=1)
    if SPLIT_COLUMN not in raw:
        top = path.parent.as_posix() if SEPARATOR in str(path) else str(path.parent)
        inside = raw["location"].str.removeprefix(top).where(raw["problem"] == "", "")
        splits = split_of_folders(inside[inside != ""]).reindex(raw.index).fillna("")
        raw = raw.assign(**{SPLIT_COLUMN: splits}) if (splits != "").any() else raw
    raw = of_timelapse(table, raw)
    boxes = boxes_of(table)
    if boxes is None:
        return raw
    problem = raw["problem"].mask((raw["problem"] == "") & (boxes == NO_BOX), NO_BOX)
    boxes = boxes.replace(NO_BOX, "")
    sure = {CONFIDENCE_COLUMN: table["confidence"]} if "confidence" in table else {}
    raw = raw.assign(problem=problem, **{BOX_COLUMN: boxes}, **sure)
    return raw.assign(source_id=np.where(boxes != "", numbered(ids, boxes), raw["source_id"]))


def _names(path: Path, table: pd.DataFrame) -> pd.Series:
    """Return the column of names; of a table that calls none so, the only column that holds taxa."""
    try:
        return verbatim_names(path, table)
    except InputError:
        columns = [name for name in table if name not in _SAY_ELSE and not _OF_ELSE.search(name)]
        values = {name: [text for text in table[name].unique() if re.search(r"[^\W\d_]{3}", text)] for name in columns}
        asked = {name: texts[:: max(1, len(texts) // _N_ASKED)] for name, texts in values.items() if len(texts) > 1}
        of_taxa = [name for name, texts in asked.items() if count_taxa(texts) >= _MOST * len(texts)]
        if len(of_taxa) != 1:
            raise
        return table[of_taxa[0]]


def addresses_in(path: Path) -> pd.DataFrame:
    """Return ``address, record, path`` of each row of a table, or of a list of addresses, one a line."""
    table = read_known(path)
    first = str(table.columns[0])
    if len(table.columns) == 1 and "://" in first:
        lines = path.read_text(encoding="utf-8-sig").split()
        return pd.DataFrame({"address": lines}, dtype=object)
    blank = pd.Series("", index=table.index, dtype=object)
    path_of, address = table.get("path", blank), table.get("address", blank)
    record = table.get(GROUP_COLUMN, table.get("photo_id", blank))
    if (address == "").all():  # some keep addresses where others keep paths
        address = path_of if path_of.str.contains("://", regex=False).any() else table.get("source_url", blank)
    return pd.DataFrame(
        {"address": address, "record": record, "path": path_of.where(~path_of.str.contains("://", regex=False), "")}
    )


def _places(path: Path, table: pd.DataFrame) -> tuple[pd.Series, list[str], list[str]]:
    """Return what names each row's image, where it lies, and '' or the problem."""
    columns = [column for column in _PLACES if column in table] or [GROUP_COLUMN]
    texts = {column: _slashed(table[column]).str.removeprefix("file://") for column in columns}
    paths = texts.get("path", pd.Series(dtype=object)).astype(str)  # as in addresses: "my%20pictures"
    quoted = paths.str.contains(r"%[0-9A-F]{2}").any() and not paths.str.contains(" ").any()
    if "path" in texts and "folder" in table:
        folder = _slashed(table["folder"]).str.strip("/")
        texts["path"] = (folder + "/" + texts["path"]).where((folder != "") & (texts["path"] != ""), texts["path"])
    if quoted:  # a file may be called so: "IMG%20001.jpg"
        written = texts["path"]
        texts["path"] = written.where([os.path.isfile(path.parent / text) for text in written], written.map(unquote))
    first = texts[columns[0]]
    archive, member = split_location(str(path)) or ("", "")
    root = Path(archive) if archive else path.parent
    beside = PurePosixPath(member).parent if archive else path.parent
    location = pd.Series([os.path.normpath(beside / text) if text else "" for text in first], dtype=object)
    if archive:
        there = location.isin([name for name, of in open_archive(archive).members.items() if not of.problem]).to_numpy()
        location = (archive + SEPARATOR + location).where(location != "", "")
    else:
        there = np.array([bool(place) and os.path.isfile(place) for place in location])
    if not there.all():
        blank = pd.Series("", index=table.index, dtype=object)
        ids = table.get(GROUP_COLUMN, table.get("photo_id", blank))  # a file may be named by its record
        location, there = _searched(root, list(texts.values()), ids, location, there)
    ids = first
    for text in texts.values():
        ids = ids.where(ids != "", text)
    problem = np.where(there, "", np.where((ids == "").to_numpy(), "no path", "file not found"))
    return ids, location.tolist(), problem.tolist()


def _slashed(paths: pd.Series) -> pd.Series:
    return paths.str.replace("\\", "/", regex=False)


def _searched(
    folder: Path, texts: list[pd.Series], ids: pd.Series, location: pd.Series, there: np.ndarray
) -> tuple[pd.Series, np.ndarray]:
    """Look for the rows without a file below the folder of the table, by the end of their path and by ids."""
    taken = set(location[there])
    files, _ = find_images(folder)
    files = files[(files["problem"] == "") & ~files["location"].isin(taken)].reset_index(drop=True)
    for text in texts:
        left = text.where(~there, "")
        if files.empty or not (left != "").any():
            continue
        place = match_addresses(left, ids.where(~there & (left != ""), ""), files["path"])
        new = (place != NOT_FOUND) & ~there
        location = location.mask(new, files["location"].reindex(place).to_numpy())
        there = there | new
    return location, there


def listings_beside(root: Path) -> list[Path]:
    """Return the tables in a folder, or in a folder of it, that list images with their names."""
    listing = [path for path in tables_beside(root) if _lists_images(path)]
    return [path for path in listing if not folder_inside(root, path)] or listing


def tables_beside(root: Path) -> list[Path]:
    """Return the tables in a folder, or in a folder of it, or at most so deep in an archive, that may list images."""
    if root.is_file():
        names = [name for name, of in open_archive(root).members.items() if not of.problem and name.count("/") < 3]
        return [Path(f"{root}{SEPARATOR}{name}") for name in names if _may_list(name)]
    names = [sorted(filter(_may_list, level), key=lambda name: name.split("/")) for level in listed_names(root, 2)]
    return [path for level in names for name in level if (path := root / name).is_file()]


def columns_of(tables: Collection[Path]) -> str:
    """Say what the columns of some tables are, as far as they can be read."""
    seen = []
    for path in [path for path in tables if path.suffix != ".zip"][:3]:
        with contextlib.suppress(InputError):
            seen.append(f"{path.name} ({', '.join(column_names(path))})")
    return f"; tables there: {', '.join(seen)}" if seen else ""


def _may_list(path: str) -> bool:
    name = path.rpartition("/")[2].lower()
    if path.startswith(".") or name.startswith((".", "~$")):
        return False
    return name.endswith(TABLE_SUFFIXES) and not _NO_LISTING.fullmatch(name.partition(".")[0])


def _lists_images(path: Path) -> bool:
    """Tell a table with a name and a path, or an id, most of whose first images are there."""
    try:
        table = read_known(path)
        if table.columns.intersection((*_PLACES[:3], GROUP_COLUMN)).empty:
            return False
        _names(path, table)
        _, _, problem = _places(path, table.head(_N_LOOKED_AT))
    except InputError:
        return False
    return problem.count("") * 2 > len(problem)
