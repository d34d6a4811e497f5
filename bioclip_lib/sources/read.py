"""Which layout lies at an address, and its reader.

Takes the settings of the data; returns the raw table, one row an image: ``source, source_id, location, verbatim_name,
problem`` and whatever of `columns.OPTIONAL_COLUMNS`, ``source_split`` and ``group`` the source gives, all strings.
``problem`` is '' or the reason why a row cannot be read. Names are kept verbatim. Refuses what is not there, what
holds no image, what two readers would read differently, and names that are numbers or codes without a meaning.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ..config import DataConfig
from ..errors import InputError
from ..files.archives import ARCHIVE_SUFFIXES
from ..files.members import ArchiveError
from ..files.tables import TABLE_SUFFIXES
from ..taxonomy.resolution import open_backbones, resolve
from .bioscan import find_metadata, read_bioscan
from .boxes import cropped
from .camtrap import is_camtrap, read_camtrap
from .coco import annotation_files, read_coco
from .columns import SPLIT_COLUMN, checked_splits
from .cub import is_cub, read_cub
from .detections import detection_files, read_detections
from .dwca import is_dwca, read_dwca
from .eol import is_eol, read_eol
from .folders import NoClassFolderError, of_file_names, read_image_folder, without_media
from .frames import with_sequences
from .hub import HUB_NAME, is_saved, parquet_files, read_dataset
from .inat21 import is_inat21, read_inat21
from .inat_open import is_inat_open, read_inat_open
from .insights import is_insights, read_insights
from .layout import is_code, is_plain, listed
from .listings import (
    NAMES_COLUMNS,
    columns_of,
    folded_name,
    folder_inside,
    listings_beside,
    one_meaning,
    read_names_csv,
    read_table,
    read_tables,
    tables_beside,
)
from .marks import marked
from .plantnet import find_plantnet, read_plantnet
from .reasons import NO_TAXON
from .taxa import count_taxa
from .treeoflife import find_catalog, read_treeoflife
from .treeoflife200 import find_catalog as find_catalog_200
from .treeoflife200 import read_treeoflife200, read_web_data_set, web_tars
from .walk import entries_of, is_folder, listed_once, refuse_links

LAYOUTS = (
    "one of the layouts that docs/photographs.md lists, such as a Darwin Core Archive (meta.xml), Camtrap DP "
    "(datapackage.json), COCO or MegaDetector (a .json beside its images) or a data set of the library datasets"
)
TABLE, FOLDERS = "table beside its images", "class folders"
_MANY, _HARDLY_ANY = 0.5, 0.25  # shares of class names that are taxa
_N_COMPARED, _N_ASKED = 30, 100  # names looked up to tell


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
    raw = owned(marked(raw, partial(_meant, data, raw)) if data.taxa else raw, data.owner)
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
    """Recognise the layout."""
    if not data.photos:
        raise InputError("no photographs given; pass PHOTOS=path/to/folder (or a CSV or Parquet file)")
    path = Path(data.photos).expanduser()
    if not path.exists():
        if HUB_NAME.fullmatch(data.photos) and not path.name.lower().endswith((*TABLE_SUFFIXES, *ARCHIVE_SUFFIXES)):
            return Reading("data set of the hub", (), partial(read_dataset, data.photos))
        raise InputError(f"{path} does not exist; give a folder of class folders, a CSV or a Parquet file")
    if data.layout and path.is_file() and not path.name.lower().endswith(ARCHIVE_SUFFIXES):
        raise InputError(f"data.layout={data.layout!r} says what folders are, and {path} is a file; leave it out")
    if data.layout:
        return Reading(FOLDERS, (), partial(_read_class_folders, path, data))
    return _of_folder(path, data) if path.is_dir() else _of_file(path, data)


def _of_file(path: Path, data: DataConfig) -> Reading:
    """Recognise a file."""
    name = path.name.lower()
    if is_dwca(path):
        return Reading("Darwin Core Archive", (), partial(read_dwca, path))
    if name.endswith(ARCHIVE_SUFFIXES) and is_insights(path):
        return Reading("Wildlife Insights", (), partial(read_insights, path))
    if name.endswith(ARCHIVE_SUFFIXES):
        with contextlib.suppress(ArchiveError):
            if not data.layout and (tables := listings_beside(path.resolve())):
                return _of_tables(path.resolve(), tables, data)
        return Reading(f"archive of {FOLDERS}", (), partial(_read_class_folders, path, data))
    if annotation_files(path):
        return Reading("annotations of COCO", (path,), partial(read_coco, path))
    if parquet_files(path):
        return Reading("Parquet with images", (path,), partial(read_dataset, path))
    if name.endswith(TABLE_SUFFIXES):
        return Reading("table of photographs", (path,), partial(read_table, path))
    raise InputError(
        f"{path} is neither a folder nor one of {', '.join(TABLE_SUFFIXES)}, nor an archive of class folders or of "
        f"Darwin Core ({', '.join(ARCHIVE_SUFFIXES)}); give one of those"
    )


def _of_folder(path: Path, data: DataConfig) -> Reading:
    """Recognise a folder by what lies there; boxes may lie beside what names the images."""
    found = detection_files(path)
    if not found:
        return _of_images(path, data)
    reader = partial(read_detections, path, found, data, lambda: _of_images(path, data).read())
    return Reading("boxes of MegaDetector or SpeciesNet", tuple(found), reader)


def _of_images(path: Path, data: DataConfig) -> Reading:
    """Recognise a folder by all else."""
    layouts = (
        ("Darwin Core Archive", is_dwca, read_dwca),
        ("TreeOfLife-10M", find_catalog, read_treeoflife),
        ("BIOSCAN", find_metadata, read_bioscan),
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
    for layout, is_layout, reader in layouts:
        if is_layout(path):
            return Reading(layout, (), partial(reader, path))
    if inside := _only_archive(path):
        return Reading("Darwin Core Archive", (), partial(read_dwca, inside, path.resolve()))
    packed = Path(f"{path.resolve()}.zip")  # of which this folder has the images
    if packed.is_file() and is_dwca(packed):
        return Reading("Darwin Core Archive", (packed,), partial(read_dwca, packed))
    tables = listings_beside(path)
    if tables:
        return _of_tables(path, tables, data)
    return Reading(FOLDERS, (), partial(_read_class_folders, path, data))


def _only_archive(path: Path) -> Path | None:
    """Return the Darwin Core Archive that is the only folder in a folder, or its only file beside folders of images."""
    entries = [entry for entry in os.scandir(path) if not entry.name.startswith((".", "__MACOSX"))]
    files = [entry for entry in entries if os.path.isfile(entry)] if len(entries) > 1 else entries
    return Path(files[0].path) if len(files) == 1 and is_dwca(Path(files[0].path)) else None


def _of_tables(path: Path, tables: list[Path], data: DataConfig) -> Reading:
    """Read tables beside their images, unless folders that name classes say otherwise: where one of the two is taxa."""
    raw = read_tables(path, tables, path.resolve().name.partition(".")[0] if path.is_file() else path.resolve().name)
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
    taxa = [_share_of_taxa(of.unique()) for of in (shared, names)]
    if max(taxa) >= _MANY and min(taxa) <= _HARDLY_ANY:
        return by_table if taxa[0] >= _MANY else Reading(FOLDERS, (), lambda: folders)
    if not _agree(names, shared):
        raise InputError(
            f"{path} can be read in two ways: by {tables[0].name} (first name {labels.iloc[0]!r}) or by its folders "
            f"(first name {names.iloc[0]!r}); give the table itself as data.photos, or say data.layout=class"
        )
    return by_table


def _share_of_taxa(names: Sequence[str]) -> float:
    """Return the share of taxa among some of the names."""
    asked = list(names[:: -(-len(names) // _N_COMPARED)])
    return count_taxa(asked) / len(asked)


def _agree(names: pd.Series, labels: pd.Series) -> bool:
    """Tell whether two kinds of labels part the same images in the same way."""
    pairs = pd.DataFrame({"a": names.to_numpy(), "b": labels.reindex(names.index).to_numpy()}).drop_duplicates()
    return len(pairs) <= max(pairs["a"].nunique(), pairs["b"].nunique())


def _read_class_folders(root: Path, data: DataConfig) -> pd.DataFrame:
    """Read class folders, the layout of last resort; where there are none, name the others."""
    try:
        return read_image_folder(root, data.layout, data.follow_links)
    except NoClassFolderError as error:
        hint = without_media(root) or (of_file_names(error.loose) if error.loose else f"or give {LAYOUTS}")
        columns = columns_of(tables_beside(root) if root.is_dir() else [])
        raise InputError(f"{error}{columns}{hint and f'; {hint}'}") from None


def read_names(data: DataConfig, raw: pd.DataFrame) -> pd.DataFrame | None:
    """Read what is said about the class names of a source, if anything.

    Parameters
    ----------
    data : DataConfig
        ``data.names`` if given; else each set's own ``classes.csv``; else the raw table's common names, where it gives
        a class one. What else its rows say is the context in which their names are resolved.
    raw : pd.DataFrame
        The raw table of `read_source`.

    Returns
    -------
    pd.DataFrame or None
        As `read_names_csv`, names as the raw table writes them; None where nothing is said.

    Raises
    ------
    InputError
        As `read_names_csv`; if the table names no class of the raw table; or, unless ``data.taxa`` is false, if hardly
        any class is a taxon: numbers, seasons, sites, cameras, and nothing says what they mean.
    """
    _refuse_nameless(raw, data)
    given = _given(data, raw)
    given = None if given is None or given.empty else given  # lines that stay empty change nothing
    said = _of_rows(data, raw) if given is None else given
    if data.taxa:
        _check_names(raw, said, data)
    if given is not None:
        return given
    common = said.loc[said["common_name"] != "", ["class_name", "common_name"]]  # all else is the context of its row
    return common.reset_index(drop=True) if len(common) else None


def _given(data: DataConfig, raw: pd.DataFrame) -> pd.DataFrame | None:
    """Read the table of names that the user gives, or that lies in the folder, without lines that state nothing."""
    files = names_files(data)
    if not files:
        return None
    classes = set(raw["verbatim_name"]) - {""}
    tables = [read_names_csv(file, classes if len(files) == 1 else ()) for file in files]
    said = _matched(one_meaning(pd.concat(tables), f"{files[0]} and others"), raw, files[0])
    return said[(said.drop(columns="class_name") != "").any(axis=1)].reset_index(drop=True)


def _meant(data: DataConfig, raw: pd.DataFrame) -> set[str]:
    """Return the class names to which the user gives a meaning: whoever says what "Human" is means to have it."""
    with contextlib.suppress(InputError):  # `read_names` says what is wrong with it
        return set(given["class_name"]) if (given := _given(data, raw)) is not None else set()
    return set()


def names_files(data: DataConfig) -> list[Path]:
    """Return the tables that say what the class names mean: the one that is given, else those of the folder."""
    if data.names:
        return [Path(data.names)]
    root = Path(data.photos).expanduser()
    folders = [str(root), *(entry.path for entry in entries_of(root) if is_folder(entry))]
    return sorted(Path(folder, "classes.csv") for folder in folders if os.path.isfile(f"{folder}/classes.csv"))


def _of_rows(data: DataConfig, raw: pd.DataFrame) -> pd.DataFrame:
    """Return what the raw table's own columns say of the classes to which they give one meaning."""
    said = raw[[column for column in NAMES_COLUMNS if column in raw]].assign(class_name=raw["verbatim_name"])
    said = said.drop_duplicates()
    said = said[~said["class_name"].duplicated(keep=False)]
    said = said[(said.drop(columns="class_name") != "").any(axis=1)]
    return one_meaning(said, Path(data.photos))


def _matched(said: pd.DataFrame, raw: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Write the class names of a names table as the raw table does; refuse a table that names none of its classes."""
    classes = pd.Series([name for name in raw["verbatim_name"].unique() if name], dtype=object)
    keys = classes.map(folded_name)
    to_class = dict(zip(keys[~keys.duplicated(keep=False)], classes[~keys.duplicated(keep=False)], strict=True))
    exact = set(classes)
    names = said["class_name"].map(lambda name: name if name in exact else to_class.get(folded_name(name), name))
    if len(classes) and not names.isin(exact).any():
        raise InputError(
            f"{path} names no class of the photographs: it has {', '.join(said['class_name'][:5])}, they are called "
            f"{', '.join(classes[:5])}; write the latter into its first column"
        )
    return one_meaning(said.assign(class_name=names), path)


def _refuse_nameless(raw: pd.DataFrame, data: DataConfig) -> None:
    """Refuse a table whose column of names nobody filled in."""
    used = raw[raw["problem"] == ""] if "problem" in raw else raw
    if len(used) and (used["verbatim_name"].str.strip() == "").all():
        raise InputError(
            f"{data.photos}: none of its {len(used):,} images has a name; fill in the column of names for those that "
            f"you know{_columns_seen(data)}"
        )


def _check_names(raw: pd.DataFrame, said: pd.DataFrame, data: DataConfig) -> None:
    """Refuse classes of which hardly any is a taxon, where nothing says what they mean; some of many are looked up."""
    named = raw["verbatim_name"] != ""
    named &= ~raw["problem"].str.startswith(NO_TAXON) if "problem" in raw else True
    rows = raw[named].drop_duplicates("verbatim_name")
    known = set(said["class_name"])
    asked = rows.iloc[:: max(1, -(-len(rows) // _N_ASKED))]
    odd = asked[~asked["verbatim_name"].isin(known)]
    named = odd[[not is_code(name) and not is_plain(name) for name in odd["verbatim_name"]]]
    n_taxa = len(asked) - len(odd)
    if len(named) and n_taxa <= _HARDLY_ANY * len(asked):
        found = resolve(named, open_backbones(data))
        n_taxa += found.loc[found["name_status"] != "unresolved", "verbatim_name"].nunique()
    if len(asked) and n_taxa <= _HARDLY_ANY * len(asked):
        count = f"{n_taxa or 'none'} of {'the' if len(asked) == len(rows) else 'some'} {len(asked)}"
        raise InputError(
            f"{data.photos}: {count} class names is a name of a taxon: {listed(odd['verbatim_name'].tolist(), 5)}"
            f"{_columns_seen(data)}; give a table with class_name and scientific_name as data.names, the level of "
            "folders that names the classes as data.layout, a table of photographs with another column of names, or "
            "SET=data.taxa=false for classes of something else; make sort groups photographs without names"
        )


def _columns_seen(data: DataConfig) -> str:
    """Say what the columns are of the tables that are read, or lie beside the images."""
    root = Path(data.photos).expanduser()
    return columns_of(reading_of(data).tables or (tables_beside(root) if root.is_dir() else []))
