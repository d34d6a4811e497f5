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
from .addresses import NOT_FOUND, match_addresses, match_other_ids
from .columns import (
    GROUP_COLUMN,
    NO_IMAGE,
    NO_TAXON,
    NOT_AN_IMAGE,
    OCCURRENCE_AGAIN,
    STATE_COLUMNS,
    by_value,
    qualified,
)
from .match import find_images, first_said, images_of, lineage, missing_reason, with_images

_OTHER_TYPES = ("movingimage", "moving image", "video", "sound", "audio", "text", "interactiveresource", "dataset")
_IMAGE_TYPES = ("", "stillimage", "image", "photo", "still image")
_CORES = ("occurrence", "taxon", "event", "darwincore", "simpledarwinrecord", "darwinrecord")
_MEDIA = ("multimedia", "image", "media", "simplemultimedia", "audubon")
_QUALIFIER, _VERBATIM, _STATUS = "identificationQualifier", "verbatimIdentification", "occurrenceStatus"
_NAMES = (*RANKS, "scientificName", _QUALIFIER, "specificEpithet", "vernacularName", "acceptedScientificName")
_LICENCE = ("license", "rights", "UsageTerms", "WebStatement", "accessRights")
_HOLDER = ("rightsHolder", "Owner", "creator", "credit", "photographer", "recordedBy")
_OTHER_IDS = ("occurrenceID", "catalogNumber")
_CORE_TERMS = (
    *(*_OTHER_IDS, *_NAMES, _VERBATIM, _STATUS, *_LICENCE),
    *("rightsHolder", "references", "associatedMedia", "organismID", "sex", "lifeStage"),
)
_ADDRESS = ("accessURI", "identifier", "imageURL", "bestQualityAccessURI")
_MEDIA_TERMS = (*_ADDRESS, "type", "format", "references", *_LICENCE, *_HOLDER)
_EPITHET = ("specificEpithet", "species")
_ACTION = (
    "download the images of its multimedia table into that folder, of a zip the folder of its name beside it "
    "(python -m bioclip_lib.sources.download ARCHIVE --to FOLDER)"
)


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


def read_dwca(path: Path, images: Path | None = None) -> pd.DataFrame:
    """Read an archive and its images, by default beside it; the occurrence (or organism) is the group."""
    core, media = _tables(path)
    source = path.name if path.is_dir() else path.name.partition(".")[0]
    rows = _joined(core, _media_of(core, media), source).rename(columns={"url": "address", "id": "record"})
    files, damaged = find_images(images) if images else images_of(path)
    place = match_addresses(rows["address"], rows["record"], files["path"])
    for other in _OTHER_IDS:
        place = match_other_ids(place, rows["record"], rows.pop(other), files["path"])
    place = np.where(rows["problem"].isin((NO_IMAGE, OCCURRENCE_AGAIN)), NOT_FOUND, place)
    missing = missing_reason(damaged, what="image not downloaded")
    action = _ACTION
    for address, record in rows.loc[rows["address"] != "", ["address", "record"]].head(1).to_numpy():
        tail = [part for part in address.partition("?")[0].split("/") if part]
        action = f"looked for {'/'.join(tail[-2:])!r}, its id or {record}_1.jpg; {_ACTION}"
    return with_images(rows, place, files, path, action, damaged, missing)


def _tables(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the occurrences (of an event core with its events, or taxa) and their media; no link out is followed."""
    files = list_files(path)
    if path.is_dir():
        files = {name: file for name, file in files.items() if (path / file.where).resolve().is_relative_to(path)}
    if META not in files:
        names = zip(_without_meta(files), (_CORE_TERMS, _MEDIA_TERMS), strict=True)
        core, media = (_read(files[name], terms) for name, terms in names)
        return tuple(table.assign(id=first_said(table, ("gbifID", "id"))) for table in (core, media))
    core = described(files)
    if core.row_type not in _CORES or "id" not in core.columns:
        problem = "has no id" if core.row_type in _CORES else f"is {core.row_type}, not occurrence"
        raise InputError(f"{path}: the core of the archive {problem}; export occurrences with their media")
    tables = [table for kind in _MEDIA if (table := described(files, kind)) and "id" in table.columns]
    no_rows = pd.DataFrame(columns=["id", "gbifID", *_MEDIA_TERMS], dtype=object)
    media = next((read for read in (_read(table, _MEDIA_TERMS) for table in tables) if len(read)), no_rows)
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


def _read(table: TableFile, terms: tuple[str, ...]) -> pd.DataFrame:
    """Read ids and the wanted terms of a table, '' where missing."""
    wanted = ("id", "gbifID", *terms)
    read = as_frame(read_table(found_encoding(table), {term.casefold() for term in wanted}))
    blank = pd.Series("", index=read.index, dtype=object)
    return pd.DataFrame({term: read.get(term.casefold(), blank) for term in wanted}, dtype=object, copy=False)


def _media_of(occurrences: pd.DataFrame, media: pd.DataFrame) -> pd.DataFrame:
    """Reduce media to ``id, url, type, license, holder``, with those that occurrences list themselves."""
    said = {"url": _ADDRESS, "license": _LICENCE, "holder": _HOLDER}
    columns = {name: first_said(media, terms) for name, terms in said.items()}
    is_format = by_value(media["format"], lambda text: text.startswith("image/")).astype(bool)
    is_image = is_format & ~by_value(media["type"], lambda text: term_of(text) in _OTHER_TYPES).astype(bool)
    media = pd.DataFrame({"id": media["id"], "type": media["type"].mask(is_image, "image"), **columns})
    listed = occurrences[(occurrences["associatedMedia"] != "") & ~occurrences["id"].isin(media["id"])]
    if listed.empty:
        return media
    urls = listed.drop_duplicates("id").set_index("id")["associatedMedia"]
    urls = urls.str.split(r"\s*[|;]\s*|\s+(?=https?://)|,\s*(?=https?://)", regex=True).explode()
    own = urls[urls != ""].rename("url").reset_index()
    return pd.concat([media, own], ignore_index=True).fillna("")


def _joined(occurrences: pd.DataFrame, media: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return what is said of each image, in the order of the occurrences, and of each occurrence without one."""
    first = np.flatnonzero(~occurrences["id"].duplicated())
    again = np.flatnonzero(occurrences["id"].duplicated())
    found = pd.Index(occurrences["id"].to_numpy()[first]).get_indexer(media["id"])
    of_media = np.where(found >= 0, first[found], -1) if len(first) else np.full(len(media), -1)
    alone = np.setdiff1d(first, of_media)
    orphans, held = np.flatnonzero(of_media < 0), np.flatnonzero(of_media >= 0)
    which = np.concatenate([of_media[held], alone])  # the occurrence of each row, and its image, -1 for none
    image = np.concatenate([held, np.full(len(alone), -1)])
    order = np.argsort(which, kind="stable")
    which = np.concatenate([which[order], again, np.full(len(orphans), -1)])
    image = np.concatenate([image[order], np.full(len(again), -1), orphans])

    said = {name: _at(column, which) for name, column in _described(occurrences).items()}
    own = {name: _at(column, image) for name, column in media.items()}
    ids = np.where(which >= 0, said.pop("id"), own["id"])
    problem = np.where(image >= 0, "", NO_IMAGE).astype(object)
    problem[len(order) : len(order) + len(again)] = OCCURRENCE_AGAIN
    problem[which < 0] = "no occurrence of this id"
    problem[(said.pop(_STATUS) == "absent") & (problem == "")] = NO_TAXON + "absent)"
    kinds = {kind: term_of(kind) in _IMAGE_TYPES for kind in pd.unique(own["type"])}
    odd = ~pd.Series(own["type"]).map(kinds).to_numpy(bool) & (problem == "")
    problem[odd] = NOT_AN_IMAGE + own["type"][odd] + ")"
    for name, column in (("license", "license"), ("rights_holder", "holder"), ("source_url", "url")):
        said[name] = np.where(own[column] != "", own[column], said[name])
    said[GROUP_COLUMN] = np.where(said[GROUP_COLUMN] != "", said[GROUP_COLUMN], ids)
    codes = pd.factorize(ids)[0]
    number = pd.Series(codes).groupby(codes).cumcount().to_numpy()
    said["source_id"] = ids + np.array([f"/{n + 1}" for n in range(number.max(initial=0) + 1)], object)[number]
    said |= {"id": ids, "url": own["url"], "problem": problem, "source": np.full(len(ids), source, object)}
    return pd.DataFrame(said, dtype=object, copy=False)


def _at(column: pd.Series, places: np.ndarray) -> np.ndarray:
    """Return the values at places, '' at -1."""
    return np.append(column.to_numpy(object), "")[places]


def _described(occurrences: pd.DataFrame) -> pd.DataFrame:
    """Return what is said of each occurrence; GBIF's ``species`` is the accepted name, whatever else is given."""
    given = first_said(occurrences, ("scientificName", _VERBATIM))
    name = qualified(given, occurrences[_QUALIFIER])
    is_doubted = name != given  # GBIF's species does not know of it
    occurrences = occurrences.assign(**{term: occurrences[term].mask(is_doubted, "") for term in _EPITHET})
    species = occurrences["species"]
    accepted = by_value(species, lambda text: text if " " in text else "")
    said = lineage(occurrences.assign(species=accepted.where(accepted != "", first_said(occurrences, _EPITHET))))
    genus, epithet = (by_value(accepted, lambda text, i=i: text.partition(" ")[i]) for i in (0, 2))
    said["genus"], said["species"] = (
        said[rank].where(genus == "", parts) for rank, parts in (("genus", genus), ("species", epithet))
    )
    said["verbatim_name"] = name.where(name != "", said["verbatim_name"])
    other = [bool(a) and not n.startswith(a) for a, n in zip(accepted, name, strict=True)]
    if any(other):  # a synonym, or the name of a cluster
        said["scientific_name"] = accepted.where(other, "")
    said["common_name"], said["license"] = occurrences["vernacularName"], first_said(occurrences, _LICENCE)
    said["rights_holder"], said["source_url"] = occurrences["rightsHolder"], occurrences["references"]
    said[list(STATE_COLUMNS)] = occurrences[["sex", "lifeStage"]]
    said[list(_OTHER_IDS)], said[_STATUS] = occurrences[list(_OTHER_IDS)], by_value(occurrences[_STATUS], str.lower)
    return said.assign(**{GROUP_COLUMN: occurrences["organismID"], "id": occurrences["id"]})
