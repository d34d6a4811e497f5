"""Readers of raw data, by the layout that is found: class folders, tables, and the sets that TreeOfLife is made of.

Takes a path; returns the raw table, one row an image: ``source, source_id, location, verbatim_name, problem`` and
whatever of `OPTIONAL_COLUMNS` the source gives, all strings. ``problem`` is '' or the reason why a row cannot be read.
Refuses what is not there, what holds no image, and a table without a path or name column. Names are kept verbatim.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from .. import RANKS
from ..config import DataConfig
from ..errors import InputError
from ..files.images import IMAGE_SUFFIXES
from ..files.tables import TABLE_SUFFIXES
from .bioscan import find_metadata, read_bioscan
from .columns import PATH_COLUMNS, find_column, read_known, said_of_names, verbatim_names
from .dwca import is_dwca, read_dwca
from .eol import FILE_NAME, find_manifests, read_eol
from .hub import HUB_NAME, has_metadata, is_saved, parquet_files, read_dataset
from .inat21 import is_inat21, read_inat21
from .match import RAW_COLUMNS, SPLIT_COLUMN, escape, is_unicode, link_problem
from .treeoflife import find_catalog, read_treeoflife

LAYOUTS = (
    "the folder of TreeOfLife-10M (metadata/catalog.csv), EOL media (a media manifest), iNat21 (train.json), BIOSCAN "
    "(BIOSCAN*metadata*), a Darwin Core Archive (meta.xml) or a data set of the library datasets"
)
NAMES_COLUMNS = ("class_name", "scientific_name", "common_name", *RANKS)
_IGNORED = {"thumbs.db", "desktop.ini", "__macosx"}


class NoClassFolderError(InputError):
    """A folder has no class folders; it may be of another layout."""


def read_source(data: DataConfig) -> pd.DataFrame:
    """Read the raw table of the user's photographs.

    Parameters
    ----------
    data : DataConfig
        ``data.photos`` is a folder of any layout, a CSV or Parquet file, a Darwin Core Archive, or a hub name.

    Returns
    -------
    pd.DataFrame
        The raw table, one row an image, sorted by source and path (folder) or in the file's order (table). Without
        ``data.published_splits`` it says nothing of its makers' splits.

    Raises
    ------
    InputError
        If nothing is given or there, or the format is none of these.
    """
    raw = _read_source(data)
    return raw if data.published_splits else raw.drop(columns=SPLIT_COLUMN, errors="ignore")


def _read_source(data: DataConfig) -> pd.DataFrame:
    """Read the raw table, published splits in it."""
    if not data.photos:
        raise InputError("no photographs given; pass PHOTOS=path/to/folder (or a CSV or Parquet file)")
    path = Path(data.photos).expanduser()
    reader = _reader(path)
    if reader is not None:
        return reader(path)
    if not path.exists() and HUB_NAME.fullmatch(data.photos) and path.suffix.lower() not in TABLE_SUFFIXES:
        return read_dataset(data.photos)
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a folder of class folders, a CSV or a Parquet file")
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise InputError(
            f"{path} is neither a folder nor one of {', '.join(TABLE_SUFFIXES)}, nor a Darwin Core Archive (a zip with "
            "meta.xml); give one of those"
        )
    return read_table(path)


def _reader(path: Path) -> Callable[[Path], pd.DataFrame] | None:
    """Recognise the layout of a folder, zip or Parquet file from what lies there; None for a plain table."""
    if is_dwca(path):
        return read_dwca
    if not path.is_dir():
        return read_dataset if path.is_file() and parquet_files(path) else None
    layouts = (
        (find_catalog, read_treeoflife),
        (find_metadata, read_bioscan),
        (_is_eol, read_eol),
        (is_inat21, read_inat21),
        (is_saved, read_dataset),
        (has_metadata, read_dataset),
        (parquet_files, read_dataset),
    )
    return next((reader for is_layout, reader in layouts if is_layout(path)), _read_class_folders)


def _is_eol(root: Path) -> bool:
    """Tell EOL media: a manifest, or images in it that are named by EOL."""
    named = (entry for pattern in ("*", "*/*") for entry in root.glob(f"{pattern}_eol-full-size-copy.*"))
    return bool(find_manifests(root)) or any(FILE_NAME.fullmatch(entry.name) for entry in named)


def _read_class_folders(root: Path) -> pd.DataFrame:
    """Read class folders, the layout of last resort; where there are none, name the others."""
    try:
        return read_image_folder(root)
    except NoClassFolderError as error:
        raise InputError(f"{error}; or give {LAYOUTS}") from None


def read_image_folder(path: str | Path) -> pd.DataFrame:
    """Read ``<class>/<file>``, or ``<set>/<class>/<file>`` where the folder holds several sets.

    Parameters
    ----------
    path : str or Path
        The set, or the folder of sets. Files directly in it (README, classes.csv) are not images of a class.

    Returns
    -------
    pd.DataFrame
        The raw table; ``source`` is the name of the set's folder, ``source_id`` the path inside it.

    Raises
    ------
    InputError
        If the folder is missing, holds no class folder with a file, or mixes classes and sets.

    Notes
    -----
    A class folder holds images directly, or has no folder in it; all files below it are its rows, images or not.
    Hidden files are ignored. No link to a folder is followed, and no link that leaves `path`: each is a row with
    its reason.
    """
    root = Path(path).expanduser().resolve()
    if not root.is_dir():
        raise InputError(f"{path} is not a folder; give a folder of class folders, <class name>/*.jpg")
    folders = _entries(root, folders=True)
    sets = [folder for folder in folders if not _is_class_folder(folder)]
    if sets and len(sets) < len(folders):
        other = next(folder for folder in folders if folder not in sets)
        raise InputError(
            f"{root} mixes a set of class folders ({sets[0].name}) and a class folder ({other.name}); "
            "put that class into a set, or give the set alone"
        )
    rows = [row for folder in (sets or [root]) for row in _set_rows(folder, root)]
    if not rows:
        loose = sum(entry.suffix.lower() in IMAGE_SUFFIXES for entry in _entries(root, folders=False))
        found = f"{loose} images directly in it" if loose else "no image"
        raise NoClassFolderError(
            f"{root} holds {found} and no class folder with a file; put the images into one folder a class, "
            "<class name>/*.jpg, or give a CSV with the columns path and name"
        )
    return pd.DataFrame(rows, columns=list(RAW_COLUMNS))


def _entries(folder: Path, folders: bool) -> list[Path]:
    """List the visible folders (links to folders among them), or the visible files, by name."""
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}); change its permissions or remove it") from None
    visible = [e for e in entries if not e.name.startswith(".") and e.name.lower() not in _IGNORED]
    return [entry for entry in visible if entry.is_dir() == folders]


def _is_class_folder(folder: Path) -> bool:
    """Tell a class folder (images in it, or no folder in it) from a set of class folders."""
    has_image = any(entry.suffix.lower() in IMAGE_SUFFIXES for entry in _entries(folder, folders=False))
    return folder.is_symlink() or has_image or not _entries(folder, folders=True)


def _set_rows(folder: Path, root: Path) -> list[tuple[str, ...]]:
    """Return the raw rows of one set."""
    files = [(child.name, file) for child in _entries(folder, folders=True) for file in _files_below(child)]
    rows = [
        (folder.name, file.relative_to(folder).as_posix(), str(file), name, link_problem(file, root))
        for name, file in files
    ]
    return [row if all(map(is_unicode, row)) else _escaped(row) for row in rows]


def _escaped(row: tuple[str, ...]) -> tuple[str, ...]:
    """Write the odd bytes of a row's paths as ``\\xe9``: no table can hold them as they are."""
    return (*map(escape, row[:-1]), "file name is not UTF-8; rename it")


def _files_below(folder: Path) -> list[Path]:
    """List the visible files at any depth below a folder; a link to a folder stands for itself."""
    if folder.is_symlink():
        return [folder]
    below = [file for child in _entries(folder, folders=True) for file in _files_below(child)]
    return _entries(folder, folders=False) + below


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a CSV or Parquet file with a column of paths and a column of names.

    Parameters
    ----------
    path : str or Path
        Paths in it are relative to its own folder, or absolute. A ``source`` column, if any, names the set.

    Returns
    -------
    pd.DataFrame
        The raw table in the file's order; a path that is listed again gets ``#2`` in its ``source_id``.

    Raises
    ------
    InputError
        If a column is missing (the message lists those found and those accepted), the file is empty, or none of
        its images exists.

    Notes
    -----
    ``class`` is a rank where the table has the other ranks beside it, else a name.
    """
    path = Path(path).expanduser().resolve()
    table = read_known(path)
    path_column = find_column(path, "path", table, PATH_COLUMNS)
    names = verbatim_names(path, table)
    files = table[path_column].str.replace("\\", "/", regex=False) if os.sep == "/" else table[path_column]
    location = pd.Series([os.path.normpath(path.parent / file) if file else "" for file in files], dtype=object)
    problem = ["no path" if not file else "" if os.path.isfile(file) else "file not found" for file in location]
    raw = pd.DataFrame({"source": table.get("source", pd.Series(path.stem, index=table.index)).replace("", path.stem)})
    raw["source_id"] = _numbered(raw["source"], files)
    raw = raw.assign(location=location, verbatim_name=names, problem=problem)
    raw = pd.concat([raw, said_of_names(table, names)], axis=1)
    if (raw["problem"] != "").all():
        raise InputError(
            f"none of the {len(raw)} images listed in {path} exists (first: {location.iloc[0] or 'no path'}); "
            f"paths are relative to {path.parent}: correct column {path_column!r} or move the table"
        )
    return raw


def _numbered(source: pd.Series, files: pd.Series) -> pd.Series:
    """Make ids of paths: the second mention of a path within a source ends in ``#2``, and so on."""
    repeat = files.groupby([source, files]).cumcount()
    return files.where(repeat == 0, files + "#" + (repeat + 1).astype(str))


def read_names_csv(path: str | Path) -> pd.DataFrame:
    """Read what a user says about class names: scientific name, common name or ranks.

    Parameters
    ----------
    path : str or Path
        A CSV or Parquet file with ``class_name`` (or another of `NAME_COLUMNS`) and any of ``scientific_name``,
        ``common_name`` and the seven ranks.

    Returns
    -------
    pd.DataFrame
        `NAMES_COLUMNS`, one row a class name, '' where nothing is said.

    Raises
    ------
    InputError
        If there is no name column, nothing is said of the names, or one name is given two meanings.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"{path} is not a file; give a CSV with class_name and scientific_name, common_name or ranks")
    table = read_known(path)
    names = verbatim_names(path, table)
    said = said_of_names(table, names)
    find_column(path, "meaning of a name", table, NAMES_COLUMNS[1:])
    return _one_meaning(said.assign(class_name=names), path)


def _one_meaning(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Keep one row a class name; refuse two that differ."""
    table = table.reindex(columns=list(NAMES_COLUMNS), fill_value="")
    table = table[table["class_name"] != ""].drop_duplicates(ignore_index=True)
    twice = table.loc[table["class_name"].duplicated(), "class_name"].unique()
    if len(twice):
        raise InputError(
            f"{path} gives {len(twice)} class names more than one meaning ({', '.join(twice[:5])}); keep one row a name"
        )
    return table


def read_names(data: DataConfig, raw: pd.DataFrame) -> pd.DataFrame | None:
    """Read what is said about the class names of a source, if anything.

    Parameters
    ----------
    data : DataConfig
        ``data.names`` if given; else each set's own ``classes.csv``; else the raw table's own columns, where they give
        a name one meaning: of another, each row's ranks are the context in which it is resolved.
    raw : pd.DataFrame
        The raw table of `read_source`.

    Returns
    -------
    pd.DataFrame or None
        As `read_names_csv`; None where nothing is said.

    Raises
    ------
    InputError
        As `read_names_csv`.
    """
    if data.names:
        return read_names_csv(data.names)
    root = Path(data.photos).expanduser()
    if root.is_dir():
        tables = [read_names_csv(file) for file in sorted([*root.glob("classes.csv"), *root.glob("*/classes.csv")])]
        return _one_meaning(pd.concat(tables), root / "*/classes.csv") if tables else None
    said = raw[[column for column in NAMES_COLUMNS if column in raw]].assign(class_name=raw["verbatim_name"])
    said = said.drop_duplicates()
    said = said[~said["class_name"].duplicated(keep=False)]
    return _one_meaning(said, root) if said.shape[1] > 1 and len(said) else None
