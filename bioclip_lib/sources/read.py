"""Which layout lies at an address, and its reader.

Takes the settings of the data; returns the raw table, one row an image: ``source, source_id, location, verbatim_name,
problem`` and whatever of `columns.OPTIONAL_COLUMNS`, ``source_split`` and ``group`` the source gives, all strings.
``problem`` is '' or the reason why a row cannot be read. Names are kept verbatim. Refuses what is not there, what
holds no image, what two readers would read differently, and names that are numbers or codes without a meaning.
"""

import contextlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ..config import DataConfig
from ..errors import InputError
from ..files.archives import ARCHIVE_SUFFIXES
from ..files.members import ArchiveError
from ..files.tables import TABLE_SUFFIXES
from .annotations import annotation_files, detection_files, read_coco, read_detections
from .boxes import cropped
from .cameras import is_camtrap, is_insights, read_camtrap, read_insights
from .classes import folded_name, meant
from .columns import SPLIT_COLUMN, checked_splits
from .dwca import is_dwca, read_dwca
from .eol import is_eol, read_eol
from .folders import NoClassFolderError, of_file_names, read_image_folder, without_media
from .hub import HUB_NAME, is_saved, parquet_files, read_dataset
from .layout import count_taxa
from .listings import columns_of, folder_inside, listings_beside, read_table, read_tables, tables_beside
from .marks import marked, with_sequences
from .published import (
    find_bioscan,
    find_plantnet,
    is_cub,
    is_inat21,
    is_inat_open,
    read_bioscan,
    read_cub,
    read_inat21,
    read_inat_open,
    read_plantnet,
)
from .treeoflife import (
    find_catalog,
    find_catalog_200,
    read_treeoflife,
    read_treeoflife200,
    read_web_data_set,
    web_tars,
)
from .walk import listed_once, refuse_links

LAYOUTS = (
    "one of the layouts that docs/photographs.md lists, such as a Darwin Core Archive (meta.xml), Camtrap DP "
    "(datapackage.json), COCO or MegaDetector (a .json beside its images) or a data set of the library datasets"
)
TABLE, FOLDERS, DWCA = "table beside its images", "class folders", "Darwin Core Archive"
_READERS = (  # of files and folders: its name, what tells it, what reads it
    (DWCA, is_dwca, read_dwca),
    ("TreeOfLife-10M", find_catalog, read_treeoflife),
    ("BIOSCAN", find_bioscan, read_bioscan),
    ("media of EOL", is_eol, read_eol),
    ("iNat21", is_inat21, read_inat21),
    ("TreeOfLife-200M", find_catalog_200, read_treeoflife200),
    ("Pl@ntNet-300K", find_plantnet, read_plantnet),
    ("iNaturalist's open data", is_inat_open, read_inat_open),
    ("Wildlife Insights", is_insights, read_insights),
    ("Camtrap DP", is_camtrap, read_camtrap),
    ("annotations of COCO", annotation_files, read_coco),
    ("CUB-200-2011 or NABirds", is_cub, read_cub),
    ("data set of the library datasets", is_saved, read_dataset),
    ("Parquet with images", parquet_files, read_dataset),
    ("web data set", web_tars, read_web_data_set),
)
_MANY, _HARDLY_ANY = 0.5, 0.25  # shares of class names that are taxa
_N_COMPARED = 30  # names looked up to tell


class Reading(NamedTuple):
    """How an address is read: the name of the layout, the tables that this uses, and the reader."""

    layout: str
    tables: tuple[Path, ...]
    read: Callable[[], pd.DataFrame]


def read_source(data: DataConfig) -> pd.DataFrame:
    """Read the raw table of the user's photographs.

    Parameters
    ----------
    data : DataConfig
        ``data.photos`` is a folder or archive of any layout, a table, a Darwin Core Archive, or a hub name;
        ``data.layout`` says what its levels of folders are, where that is not plain; ``data.owner`` whose photographs
        those are that state no licence.

    Returns
    -------
    pd.DataFrame
        The raw table, one row an image, sorted by source and path (folder) or in the file's order (table). Without
        ``data.published_splits`` it says nothing of its makers' splits.

    Raises
    ------
    InputError
        If nothing is given or there, the format is none of these, it can be read in two ways, or a split has a word
        that is none.
    """
    return read_as(reading_of(data), data)


def read_as(reading: Reading, data: DataConfig) -> pd.DataFrame:
    """Read the raw table of `read_source` as the address was recognised: among 10^5 folders that takes its time."""
    raw = refuse_links(reading.read(), data.follow_links)
    raw = raw.drop(columns=["address", "record"], errors="ignore")  # they are for `download`
    raw = owned(marked(raw, partial(meant, data, raw)) if data.taxa else raw, data.owner)
    raw = with_sequences(raw) if data.burst_s else raw
    if not data.published_splits or SPLIT_COLUMN not in raw:
        return raw.drop(columns=SPLIT_COLUMN, errors="ignore")
    return checked_splits(raw, data.photos)


def owned(raw: pd.DataFrame, owner: str) -> pd.DataFrame:
    """Give the rows that state no licence that of their owner, "licence, holder"; a holder that they state stays."""
    licence, _, holder = (part.strip() for part in owner.partition(","))
    if not owner:
        return raw
    if not (licence and holder):
        raise InputError(f"data.owner is {owner!r}; give licence and holder, as 'CC BY 4.0, Jo Doe'")
    stated = raw.reindex(columns=["license", "rights_holder"], fill_value="").fillna("")
    free = stated["license"] == ""
    mine = free & (stated["rights_holder"] == "")
    return raw.assign(
        license=stated["license"].mask(free, licence), rights_holder=stated["rights_holder"].mask(mine, holder)
    )


def reading_of(data: DataConfig) -> Reading:
    """Recognise the layout of what lies at an address; boxes that it has become what the settings say."""
    reading = _layout_of(data)
    return reading._replace(read=lambda: cropped(reading.read(), data))


@listed_once()
def _layout_of(data: DataConfig) -> Reading:
    """Recognise the layout; boxes may lie beside what names the images."""
    if not data.photos:
        raise InputError("no photographs given; pass PHOTOS=path/to/folder (or a CSV or Parquet file)")
    path = Path(data.photos).expanduser()
    may_be_folders = path.is_dir() or path.name.lower().endswith(ARCHIVE_SUFFIXES)
    if not path.exists():
        if HUB_NAME.fullmatch(data.photos) and not path.name.lower().endswith((*TABLE_SUFFIXES, *ARCHIVE_SUFFIXES)):
            return Reading("data set of the hub", (), partial(read_dataset, data.photos))
        raise InputError(f"{path} does not exist; give a folder of class folders, a CSV or a Parquet file")
    if data.layout and not may_be_folders:
        raise InputError(f"data.layout={data.layout!r} says what folders are, and {path} is a file; leave it out")
    if data.layout:
        return Reading(FOLDERS, (), partial(_read_class_folders, path, data))
    path = path.resolve() if path.is_dir() else path.parent.resolve() / path.name  # images lie beside a link
    if not (boxes := detection_files(path)):
        return _without_boxes(path, may_be_folders, data)
    labelled = partial(_without_boxes, path, may_be_folders, data)
    reader = partial(read_detections, path, boxes, data, lambda: labelled().read())
    return Reading("boxes of MegaDetector or SpeciesNet", tuple(boxes), reader)


def _without_boxes(path: Path, may_be_folders: bool, data: DataConfig) -> Reading:
    """Recognise a layout by its own marks, then tables, then folders."""
    own = () if may_be_folders else (path,)
    for layout, is_layout, reader in _READERS:
        if is_layout(path):
            return Reading(layout, own, partial(reader, path))
    if not may_be_folders and path.name.lower().endswith(TABLE_SUFFIXES):
        return Reading("table of photographs", own, partial(read_table, path))
    if not may_be_folders:
        raise InputError(
            f"{path} is neither a folder nor one of {', '.join(TABLE_SUFFIXES)}, nor an archive of class folders or of "
            f"Darwin Core ({', '.join(ARCHIVE_SUFFIXES)}); give one of those"
        )
    if inside := path.is_dir() and _only_archive(path):
        return Reading(DWCA, (), partial(read_dwca, inside.resolve(), path))
    packed = Path(f"{path}.zip")  # of which this folder has the images
    if packed.is_file() and is_dwca(packed):
        return Reading(DWCA, (packed,), partial(read_dwca, packed))
    with contextlib.suppress(ArchiveError):
        if tables := listings_beside(path):
            return _of_tables(path, tables, data)
    layout = FOLDERS if path.is_dir() else f"archive of {FOLDERS}"
    return Reading(layout, (), partial(_read_class_folders, path, data))


def _only_archive(path: Path) -> Path | None:
    """Return the Darwin Core Archive that is the only folder in a folder, or its only file beside folders of images."""
    entries = [entry for entry in os.scandir(path) if not entry.name.startswith((".", "__MACOSX"))]
    files = [entry for entry in entries if os.path.isfile(entry)] if len(entries) > 1 else entries
    return Path(files[0].path) if len(files) == 1 and is_dwca(Path(files[0].path)) else None


def _of_tables(path: Path, tables: list[Path], data: DataConfig) -> Reading:
    """Read tables beside their images, unless folders that name classes say otherwise: where one of the two is taxa."""
    raw = read_tables(path, tables, path.name.partition(".")[0] if path.is_file() else path.name)
    by_table = Reading(TABLE, tuple(tables), lambda: raw)
    if len(tables) > 1 and folder_inside(path, tables[0]):  # a table in each of several folders
        return by_table
    try:
        folders = read_image_folder(path, follow_links=data.follow_links)
    except InputError:
        return by_table
    names = folders.set_index("location")["verbatim_name"].reindex(raw["location"]).fillna("")
    names = names[(names != "").to_numpy() & (raw["problem"] == "").to_numpy()]
    labels = raw.loc[raw["problem"] == "", ["location", "verbatim_name"]].set_index("location")["verbatim_name"]
    shared = labels[labels.index.isin(names.index)]
    if names.nunique() < 2 or set(map(folded_name, names.unique())) == set(map(folded_name, shared.unique())):
        return by_table
    asked = [list(of.unique()[:: -(-of.nunique() // _N_COMPARED)]) for of in (shared, names)]
    taxa = [count_taxa(some) / len(some) for some in asked]  # the share of each
    if max(taxa) >= _MANY and min(taxa) <= _HARDLY_ANY:
        return by_table if taxa[0] >= _MANY else Reading(FOLDERS, (), lambda: folders)
    pairs = pd.DataFrame({"a": names.to_numpy(), "b": labels.reindex(names.index).to_numpy()}).drop_duplicates()
    if len(pairs) > pairs.nunique().max():  # they do not part the same images in the same way
        raise InputError(
            f"{path} can be read in two ways: by {tables[0].name} (first name {labels.iloc[0]!r}) or by its folders "
            f"(first name {names.iloc[0]!r}); give the table itself as data.photos, or say data.layout=class"
        )
    return by_table


def _read_class_folders(root: Path, data: DataConfig) -> pd.DataFrame:
    """Read class folders, the layout of last resort; where there are none, name the others."""
    try:
        return read_image_folder(root, data.layout, data.follow_links)
    except NoClassFolderError as error:
        hint = without_media(root) or (of_file_names(error.loose) if error.loose else f"or give {LAYOUTS}")
        columns = columns_of(tables_beside(root) if root.is_dir() else [])
        raise InputError(f"{error}{columns}{hint and f'; {hint}'}") from None
