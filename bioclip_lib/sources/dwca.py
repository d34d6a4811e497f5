"""Darwin Core Archives with occurrences and multimedia, as GBIF and iNaturalist export them: a folder or a zip.

Takes its path; returns the raw table, one row an image and one an occurrence without any. Images are found by the
path that ends their URL: nothing is downloaded. Refuses a meta.xml with a document type (entities can be declared
there), files outside the archive, and a core that is not of occurrences.
"""

import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd

from .. import RANKS
from ..errors import InputError
from ..files.dialect import TableFile, found_encoding, term_of
from ..files.meta import META, described
from ..files.tables import as_frame, list_files, read_table
from .match import check_some_image, find_images, lineage, match_images, missing_reason

_IMAGE_TYPES = ("", "stillimage", "image", "photo")
_TAILS = (3, 2, 1)  # components of a URL's path that name its image, the most telling first
_SAID_TWICE = ("license", "rightsHolder", "references")  # of the occurrence, and of its image
_CORE_TERMS = (*RANKS, "scientificName", "specificEpithet", "vernacularName", "license", "rightsHolder", "references")
_MEDIA_TERMS = ("identifier", "accessURI", "type", "format", "license", "rightsHolder", "references", "creator")
_ACTION = "download the images of its multimedia table into that folder (of a zip: the folder of its name beside it)"


def is_dwca(path: Path) -> bool:
    """Tell a folder with a meta.xml, or a zip with one at its top."""
    if path.is_dir():
        return (path / META).is_file()
    if path.suffix.lower() != ".zip" or not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as file:
            return META in file.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def read_dwca(path: str | Path) -> pd.DataFrame:
    """Read a Darwin Core Archive.

    Parameters
    ----------
    path : str or Path
        The folder with ``meta.xml``, or the zip. Images lie in it, or in the folder of the zip's name beside it.

    Returns
    -------
    pd.DataFrame
        The raw table; ``source`` is the archive's name, ``source_id`` ``<occurrence>/<n>``, ``verbatim_name`` the
        scientific name with its authors, as given.

    Raises
    ------
    InputError
        If meta.xml is missing, unsafe or describes no occurrences, a file is missing or cannot be parsed, or no image
        is there.

    Notes
    -----
    What the multimedia table says of licence and owner goes before what the occurrence says.
    """
    path = Path(path).expanduser().resolve()
    core, media = _tables(path)
    occurrences = _read(core, _CORE_TERMS)
    images = _read(media, _MEDIA_TERMS) if media else pd.DataFrame(columns=["id", *_MEDIA_TERMS], dtype=object)
    rows = _joined(occurrences, images).reset_index(drop=True)
    files, damaged = _images_of(path)
    keys = pd.DataFrame({str(n): rows["url"].map(lambda url, n=n: _tail(urlsplit(url).path, n)) for n in _TAILS})
    file_keys = pd.DataFrame({str(n): files["path"].map(lambda name, n=n: _tail(name, n)) for n in _TAILS})
    file_keys = file_keys.apply(lambda column: column.where(~column.duplicated(keep=False), ""))  # ambiguous: no key
    source = path.name if path.is_dir() else path.stem
    table = _described(rows, source)
    reason = missing_reason(damaged, what="image not downloaded")
    return check_some_image(match_images(table, keys, files, file_keys, missing=reason), path, damaged, _ACTION)


def _images_of(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Find the images in an archive, and of a zip those in the folder of its name beside it."""
    files, damaged = find_images(path)
    beside = path.with_suffix("")
    if path.is_file() and beside.is_dir():
        more, also = find_images(beside)
        return pd.concat([files, more], ignore_index=True), {**damaged, **also}
    return files, damaged


def _tail(path: str, n: int) -> str:
    """Return the last n components of a path, '' where it has fewer."""
    parts = [part for part in path.replace("\\", "/").split("/") if part]
    return "/".join(parts[-n:]) if len(parts) >= n else ""


def _tables(path: Path) -> tuple[TableFile, TableFile | None]:
    """Return the core, of occurrences, and the first extension of multimedia; links out of the archive are left out."""
    files = list_files(path)
    if path.is_dir():
        files = {name: file for name, file in files.items() if (path / file.where).resolve().is_relative_to(path)}
    core = described(files)
    if core.row_type != "occurrence" or "id" not in core.columns:
        problem = "has no id" if core.row_type == "occurrence" else f"is {core.row_type}, not occurrence"
        raise InputError(f"{path}: the core of the archive {problem}; export occurrences with their media")
    media = (described(files, row_type) for row_type in ("multimedia", "image"))
    return core, next((table for table in media if table and "id" in table.columns), None)


def _read(table: TableFile, terms: tuple[str, ...]) -> pd.DataFrame:
    """Read ``id`` and the wanted terms of a table, '' where missing."""
    read = as_frame(read_table(found_encoding(table), {"id", *(term.casefold() for term in terms)}))
    return pd.DataFrame({term: read.get(term.casefold(), "") for term in ("id", *terms)}, dtype=object)


def _joined(occurrences: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """Join images to occurrences: a row an image, a row an occurrence without one, in the order of the occurrences."""
    twice = occurrences["id"].duplicated()
    of_media = {"id": "_id", **{name: f"{name}_media" for name in _SAID_TWICE}}
    images = images.rename(columns=of_media).assign(is_media="yes", problem="")
    first = occurrences[~twice].merge(images, how="left", left_on="id", right_on="_id")
    orphans = images[~images["_id"].isin(occurrences["id"])]
    orphans = orphans.assign(id=orphans["_id"], problem="no occurrence of this id")
    again = occurrences[twice].assign(problem="occurrence listed again")
    rows = pd.concat([first, again, orphans], ignore_index=True).fillna("").astype(str)
    rows.loc[(rows["is_media"] == "") & (rows["problem"] == ""), "problem"] = "occurrence without an image"
    rows["url"] = rows["identifier"].where(rows["identifier"] != "", rows["accessURI"])
    kind = rows["type"].map(term_of)
    odd = (~kind.isin(_IMAGE_TYPES)) & (rows["problem"] == "")
    rows.loc[odd, "problem"] = "not an image (" + rows["type"] + ")"
    return rows


def _described(rows: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return what the archive says of each image."""
    species = rows["specificEpithet"].where(rows["specificEpithet"] != "", rows["species"])
    said = lineage(rows.assign(species=species))
    name = rows["scientificName"]
    said["verbatim_name"] = name.where(name != "", said["verbatim_name"])
    number = rows.groupby("id").cumcount() + 1
    said = said.assign(source=source, source_id=rows["id"] + "/" + number.astype(str))
    said["common_name"], said["problem"] = rows["vernacularName"], rows["problem"]
    said["license"] = rows["license_media"].where(rows["license_media"] != "", rows["license"])
    holder = rows["rightsHolder_media"].where(rows["rightsHolder_media"] != "", rows["rightsHolder"])
    said["rights_holder"] = holder.where(holder != "", rows["creator"])
    said["source_url"] = rows["url"].where(rows["url"] != "", rows["references"])
    return said
