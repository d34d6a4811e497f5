"""Darwin Core Archives with media, as GBIF, iNaturalist and museums export them: a folder, a zip or a tar.gz.

Takes its path; returns the raw table, one row an image and one an occurrence without any. The core is of occurrences,
events or taxa; without a meta.xml ``occurrence`` and ``multimedia`` are known by their names. Images are found by
their address or id (`addresses`): nothing is downloaded. Refuses an archive without occurrences, media or images.
"""

from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from .. import RANKS
from ..errors import InputError
from ..files.archives import ARCHIVE_SUFFIXES, open_archive
from ..files.dialect import TableFile, found_encoding, term_of
from ..files.members import ArchiveError
from ..files.meta import META, described
from ..files.tables import as_frame, list_files, read_table
from .addresses import NOT_FOUND, match_addresses
from .columns import GROUP_COLUMN
from .match import check_some_image, find_images, lineage, missing_reason, placed

_IMAGE_TYPES = ("", "stillimage", "image", "photo", "still image")
_CORES = ("occurrence", "taxon", "event")
_MEDIA = ("multimedia", "image", "media", "simplemultimedia", "audubon")
_NAMES = (*RANKS, "scientificName", "specificEpithet", "vernacularName", "acceptedScientificName")
_LICENCE = ("license", "rights", "UsageTerms", "WebStatement", "accessRights")
_HOLDER = ("rightsHolder", "Owner", "creator", "credit", "photographer", "recordedBy")
_CORE_TERMS = (*_NAMES, *_LICENCE, "rightsHolder", "references", "associatedMedia", "organismID", "occurrenceID")
_ADDRESS = ("accessURI", "identifier", "imageURL", "bestQualityAccessURI")
_MEDIA_TERMS = (*_ADDRESS, "type", "format", "references", *_LICENCE, *_HOLDER)
_ACTION = "download the images of its multimedia table into that folder (of a zip: the folder of its name beside it)"


def is_dwca(path: Path) -> bool:
    """Tell a folder or archive with a meta.xml at its top, or with tables of occurrences and of their media."""
    try:
        if path.is_dir():
            names = [p.name for p in path.iterdir()]
        elif path.is_file() and path.name.lower().endswith(ARCHIVE_SUFFIXES):
            members = [m for m in open_archive(path).members if not m.startswith("__MACOSX")]
            depth = min((m.count("/") for m in members), default=0)
            names = [PurePosixPath(m).name for m in members if m.count("/") == depth]
        else:
            return False
    except (ArchiveError, OSError):
        return False
    return META in names or _without_meta(dict.fromkeys(map(str.lower, names))) is not None


def _without_meta(files: dict) -> tuple[str, str] | None:
    """Return the names of the tables of occurrences and of media where no meta.xml describes them."""
    stems = {PurePosixPath(name).stem: name for name in files if name.endswith((".txt", ".csv", ".tsv"))}
    core = next((stems[stem] for stem in ("occurrence", "occurrences") if stem in stems), None)
    media = next((stems[stem] for stem in (*_MEDIA, "images") if stem in stems), None)
    return (core, media) if core and media else None


def read_dwca(path: str | Path) -> pd.DataFrame:
    """Read a Darwin Core Archive; ``source_id`` is ``<occurrence>/<n>``, the occurrence (or organism) is the group."""
    path = Path(path).expanduser().resolve()
    core, media = _tables(path)
    rows = _joined(core, media).reset_index(drop=True)
    files, damaged = _images_of(path)
    said = _described(rows, path.name if path.is_dir() else path.name.partition(".")[0])
    place = match_addresses(rows["url"], rows["id"], files["path"])
    no_image = rows["problem"].isin(("occurrence without an image", "occurrence listed again")).to_numpy()
    raw = placed(
        said, np.where(no_image, NOT_FOUND, place), files, missing_reason(damaged, what="image not downloaded")
    )
    return check_some_image(raw, path, damaged, f"{_looked_for(rows)}{_ACTION}")


def _looked_for(rows: pd.DataFrame) -> str:
    """Say which names of files would have been taken for the first image."""
    first = rows[rows["url"] != ""].head(1)
    if first.empty:
        return ""
    tail = [part for part in first["url"].iloc[0].partition("?")[0].split("/") if part]
    return f"looked for {'/'.join(tail[-2:])!r}, its id or {first['id'].iloc[0]}_1.jpg; "


def _images_of(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Find the images in an archive, and of a packed one those in the folder of its name beside it."""
    files, damaged = find_images(path)
    beside = path.with_name(path.name.partition(".")[0]) if path.is_file() else path
    if path.is_file() and beside.is_dir():
        more, also = find_images(beside)
        return pd.concat([files, more], ignore_index=True), {**damaged, **also}
    return files, damaged


def _tables(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the occurrences (of an event core with its events, or taxa) and their media; no link out is followed."""
    files = list_files(path)
    if path.is_dir():
        files = {name: file for name, file in files.items() if (path / file.where).resolve().is_relative_to(path)}
    if META not in files:
        core, media = (files[name] for name in _without_meta(files))
        return _with_ids(_read(core, _CORE_TERMS)), _with_ids(_read(media, _MEDIA_TERMS))
    core = described(files)
    if core.row_type not in _CORES or "id" not in core.columns:
        problem = "has no id" if core.row_type in _CORES else f"is {core.row_type}, not occurrence"
        raise InputError(f"{path}: the core of the archive {problem}; export occurrences with their media")
    tables = [table for kind in _MEDIA if (table := described(files, kind)) and "id" in table.columns]
    media = next(
        (read for read in (_read(table, _MEDIA_TERMS) for table in tables) if len(read)), _no_rows(_MEDIA_TERMS)
    )
    if core.row_type == "event":
        return _of_events(path, core, described(files, "occurrence"), media)
    occurrences = _read(core, _CORE_TERMS)
    if core.row_type == "taxon":  # a taxon is no photograph that is missing
        occurrences = occurrences[occurrences["id"].isin(media["id"]) | (occurrences["associatedMedia"] != "")]
    return occurrences, media


def _of_events(
    path: Path, core: TableFile, extension: TableFile | None, media: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the occurrences of events; media of an event belong to its occurrence where it has one alone."""
    if extension is None or "id" not in extension.columns:
        raise InputError(
            f"{path}: the archive has events and no table of occurrences, so no name belongs to an image; export it "
            "with the occurrence extension, or as occurrences with their media"
        )
    events = set(_read(core, ())["id"])
    occurrences = _read(extension, _CORE_TERMS)
    event = occurrences["id"].where(occurrences["id"].isin(events), "")
    number = (occurrences.groupby("id").cumcount() + 1).astype(str)
    key = occurrences["occurrenceID"].where(occurrences["occurrenceID"] != "", event + "#" + number)
    alone = ~event.duplicated(keep=False)
    to_key = dict(zip(event[alone], key[alone], strict=True))
    return occurrences.assign(id=key), media.assign(id=media["id"].map(lambda event: to_key.get(event, event)))


def _with_ids(table: pd.DataFrame) -> pd.DataFrame:
    """Fill the id of a table without meta.xml from the column that names the occurrence."""
    return table.assign(id=table["gbifID"].where(table["gbifID"] != "", table["id"]))


def _no_rows(terms: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame(columns=["id", "gbifID", *terms], dtype=object)


def _read(table: TableFile, terms: tuple[str, ...]) -> pd.DataFrame:
    """Read ids and the wanted terms of a table, '' where missing."""
    wanted = ("id", "gbifID", *terms)
    read = as_frame(read_table(found_encoding(table), {term.casefold() for term in wanted}))
    blank = pd.Series("", index=read.index, dtype=object)
    return pd.DataFrame({term: read.get(term.casefold(), blank) for term in wanted}, dtype=object)


def _first(table: pd.DataFrame, columns: tuple[str, ...]) -> pd.Series:
    """Return what the first column says that says anything."""
    value = pd.Series("", index=table.index, dtype=object)
    for column in columns:
        if column in table:
            value = value.where(value != "", table[column])
    return value


def _joined(occurrences: pd.DataFrame, media: pd.DataFrame) -> pd.DataFrame:
    """Join images to occurrences: a row an image, a row an occurrence without one, in the order of the occurrences."""
    media = pd.DataFrame(
        {
            **{"id": media["id"], "url": _first(media, _ADDRESS), "type": media["type"], "is_media": "yes"},
            **{"license_media": _first(media, _LICENCE), "holder_media": _first(media, _HOLDER)},
        }
    )
    media = pd.concat([media, _associated(occurrences, media)], ignore_index=True).astype(object)
    twice = occurrences["id"].duplicated()
    first = occurrences[~twice].merge(media, how="left", on="id")
    orphans = media[~media["id"].isin(occurrences["id"])].assign(problem="no occurrence of this id")
    again = occurrences[twice].assign(problem="occurrence listed again")
    rows = pd.concat([first.assign(problem=""), again, orphans], ignore_index=True).fillna("").astype(str)
    rows.loc[(rows["is_media"] == "") & (rows["problem"] == ""), "problem"] = "occurrence without an image"
    odd = (~rows["type"].map({kind: term_of(kind) for kind in rows["type"].unique()}).isin(_IMAGE_TYPES)) & (
        rows["problem"] == ""
    )
    rows.loc[odd, "problem"] = "not an image (" + rows["type"] + ")"
    return rows


def _associated(occurrences: pd.DataFrame, media: pd.DataFrame) -> pd.DataFrame:
    """Return the addresses that occurrences without media of their own list in ``associatedMedia``."""
    listed = occurrences[(occurrences["associatedMedia"] != "") & ~occurrences["id"].isin(media["id"])]
    listed = listed[~listed["id"].duplicated()]
    urls = listed["associatedMedia"].str.split(r"\s*[|;]\s*|\s+(?=https?://)|,\s*(?=https?://)", regex=True).explode()
    table = pd.DataFrame({"id": listed["id"].reindex(urls.index), "url": urls}).assign(type="", is_media="yes")
    return table[table["url"] != ""].assign(license_media="", holder_media="")


def _described(rows: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return what the archive says of each image; GBIF's ``species`` is the accepted name, whatever else is given."""
    accepted = rows["species"].where(rows["species"].str.contains(" "), "")
    epithet = rows["specificEpithet"].where(rows["specificEpithet"] != "", rows["species"])
    said = lineage(rows.assign(species=accepted.where(accepted != "", epithet)))
    genus = accepted.str.partition(" ")[0]
    said["genus"] = said["genus"].where(genus == "", genus)
    said["species"] = said["species"].where(genus == "", accepted.str.partition(" ")[2])
    name = rows["scientificName"]
    said["verbatim_name"] = name.where(name != "", said["verbatim_name"])
    other = [bool(a) and not n.startswith(a) for a, n in zip(accepted, name, strict=True)]
    if any(other):  # a synonym, or the name of a cluster
        said["scientific_name"] = accepted.where(other, "")
    number = rows.groupby("id").cumcount() + 1
    said = said.assign(source=source, source_id=rows["id"] + "/" + number.astype(str))
    said["common_name"], said["problem"] = rows["vernacularName"], rows["problem"]
    said["license"] = rows["license_media"].where(rows["license_media"] != "", _first(rows, _LICENCE))
    said["rights_holder"] = rows["holder_media"].where(rows["holder_media"] != "", rows["rightsHolder"])
    said["source_url"] = rows["url"].where(rows["url"] != "", rows["references"])
    said[GROUP_COLUMN] = rows["organismID"].where(rows["organismID"] != "", rows["id"])
    return said
