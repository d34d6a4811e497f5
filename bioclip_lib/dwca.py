"""Darwin Core Archives with occurrences and multimedia, as GBIF and iNaturalist export them: a folder or a zip.

Takes its path; returns the raw table, one row an image and one an occurrence without any. Images are found by the
path that ends their URL: nothing is downloaded. Refuses a meta.xml with a document type (entities can be declared
there), files outside the archive, and a core that is not of occurrences.
"""

import csv
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit
from xml.etree import ElementTree
from xml.parsers import expat

import pandas as pd

from . import RANKS
from .errors import InputError
from .image_files import check_some_image, find_images, lineage, match_images, missing_reason

META = "meta.xml"
_MAX_META_BYTES = 2**20
_IMAGE_TYPES = ("", "stillimage", "image", "photo")
_TAILS = (3, 2, 1)  # components of a URL's path that name its image, the most telling first
_ESCAPES = {"\\t": "\t", "\\n": "\n", "\\r": "\r"}
_SAID_TWICE = ("license", "rightsHolder", "references")  # of the occurrence, and of its image
_CORE_TERMS = (*RANKS, "scientificName", "specificEpithet", "vernacularName", "license", "rightsHolder", "references")
_MEDIA_TERMS = ("identifier", "accessURI", "type", "format", "license", "rightsHolder", "references", "creator")
_ACTION = "download the images of its multimedia table into that folder (of a zip: the folder of its name beside it)"


@dataclass(frozen=True)
class _Table:
    """One file of an archive, as meta.xml describes it."""

    file: str
    row_type: str
    id_index: int
    terms: dict[str, int]
    defaults: dict[str, str]
    options: dict


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
    occurrences = _read(path, core, _CORE_TERMS).rename(columns={"_id": "id"})
    images = _read(path, media, _MEDIA_TERMS) if media else pd.DataFrame(columns=["_id", *_MEDIA_TERMS], dtype=object)
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


@contextmanager
def _opened(path: Path, name: str) -> Iterator[BinaryIO]:
    """Open a file of the archive; `InputError` where it lies outside, or is missing."""
    if name.startswith(("/", "\\")) or ":" in name or ".." in name.replace("\\", "/").split("/"):
        raise InputError(f"{path}: {META} names a file outside the archive ({name}); repair or remove the archive")
    try:
        if path.is_dir():
            inside = (path / name).resolve()
            if not inside.is_relative_to(path) or not inside.is_file():
                raise FileNotFoundError
            with inside.open("rb") as file:
                yield file
            return
        with zipfile.ZipFile(path) as archive:
            if stat.S_ISLNK(archive.getinfo(name).external_attr >> 16):
                raise FileNotFoundError
            with archive.open(name) as file:
                yield file
    except (FileNotFoundError, KeyError):
        raise InputError(f"{path} has no file {name}, which {META} names; download the archive again") from None
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        raise InputError(f"{path} cannot be read ({error}); download the archive again") from None


def _tables(path: Path) -> tuple[_Table, _Table | None]:
    """Read meta.xml: the core, of occurrences, and the first extension of multimedia."""
    with _opened(path, META) as file:
        data = file.read(_MAX_META_BYTES + 1)
    root = _parsed(path, data)
    tables = [_described_table(path, node) for node in root if _term(node.tag) in ("core", "extension")]
    core = next((table for table in tables if table.row_type == "Occurrence"), None)
    if core is None or tables[0] is not core:
        raise InputError(
            f"{path}: the core of the archive is {tables[0].row_type if tables else 'missing'}, not Occurrence; "
            "export occurrences with their media"
        )
    media = [table for table in tables if table.row_type in ("Multimedia", "Image")]
    return core, media[0] if media else None


def _parsed(path: Path, data: bytes) -> ElementTree.Element:
    """Parse meta.xml; a document type, where entities are declared, is refused before anything is expanded."""

    def refuse(*_: object) -> None:
        raise InputError(f"{path}: {META} declares a document type, which no archive needs; remove the declaration")

    if len(data) > _MAX_META_BYTES:
        raise InputError(f"{path}: {META} is larger than {_MAX_META_BYTES // 2**20} MiB; download the archive again")
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
        return ElementTree.fromstring(data)
    except (expat.ExpatError, ElementTree.ParseError, LookupError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: {META} is not well-formed ({error}); download the archive again") from None


def _term(text: str) -> str:
    """Return the last part of a term's address or of a namespaced tag."""
    return text.rstrip("/").rpartition("/")[2].rpartition("}")[2].rpartition("#")[2]


def _described_table(path: Path, node: ElementTree.Element) -> _Table:
    """Read the description of one file."""
    children = [(_term(child.tag), child) for child in node.iter()]
    location = next((child.text or "" for tag, child in children if tag == "location"), "").strip()
    fields = [child for tag, child in children if tag == "field"]
    ids = [child.get("index", "") for tag, child in children if tag in ("id", "coreid")]
    try:
        id_index = int(ids[0])
        terms = {_term(f.get("term", "")): int(f.get("index", "")) for f in fields if f.get("index")}
    except (IndexError, ValueError):
        raise InputError(f"{path}: {META} gives {location or 'a file'} no id; download the archive again") from None
    defaults = {_term(f.get("term", "")): f.get("default", "") for f in fields if f.get("default")}
    return _Table(location, _term(node.get("rowType", "")), id_index, terms, defaults, _options(node))


def _options(node: ElementTree.Element) -> dict:
    """Turn the description of a text file into options of `pandas.read_csv`."""
    separator = node.get("fieldsTerminatedBy", ",")
    quote = node.get("fieldsEnclosedBy", '"')
    header = node.get("ignoreHeaderLines", "0")
    return {
        "sep": _ESCAPES.get(separator, separator) or ",",
        "quoting": csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        "quotechar": quote[:1] or '"',
        "skiprows": int(header) if header.isdecimal() else 0,
        "encoding": node.get("encoding", "utf-8"),
    }


def _read(path: Path, table: _Table, terms: tuple[str, ...]) -> pd.DataFrame:
    """Read ``_id`` and the wanted terms of one file, '' where missing."""
    columns = {"_id": table.id_index, **{term: table.terms[term] for term in terms if term in table.terms}}
    try:
        try:
            read = _read_text(path, table, columns, {})
        except UnicodeDecodeError:  # another encoding than meta.xml states
            read = _read_text(path, table, columns, {"encoding": "cp1252", "encoding_errors": "replace"})
    except pd.errors.EmptyDataError:
        read = pd.DataFrame(columns=sorted(set(columns.values())), dtype=object)
    except (OSError, ValueError, LookupError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: {table.file} cannot be read as {META} describes it ({error}); download the archive again"
        ) from None
    result = pd.DataFrame({name: read[index] for name, index in columns.items()}, dtype=object)
    for term in terms:
        blank = table.defaults.get(term, "")
        result[term] = result[term].where(result[term] != "", blank) if term in result else blank
    return result.astype(object)


def _read_text(path: Path, table: _Table, columns: dict[str, int], other: dict) -> pd.DataFrame:
    """Read the wanted columns of one text file by their index."""
    with _opened(path, table.file) as file:
        read = pd.read_csv(
            file,
            header=None,
            dtype=str,
            keep_default_na=False,
            usecols=sorted(set(columns.values())),
            **{**table.options, **other},
        )
    return read.fillna("").apply(lambda column: column.str.strip())


def _joined(occurrences: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """Join images to occurrences: a row an image, a row an occurrence without one, in the order of the occurrences."""
    twice = occurrences["id"].duplicated()
    of_media = {name: f"{name}_media" for name in _SAID_TWICE}
    images = images.rename(columns=of_media).assign(is_media="yes", problem="")
    first = occurrences[~twice].merge(images, how="left", left_on="id", right_on="_id")
    orphans = images[~images["_id"].isin(occurrences["id"])]
    orphans = orphans.assign(id=orphans["_id"], problem="no occurrence of this id")
    again = occurrences[twice].assign(problem="occurrence listed again")
    rows = pd.concat([first, again, orphans], ignore_index=True).fillna("").astype(str)
    rows.loc[(rows["is_media"] == "") & (rows["problem"] == ""), "problem"] = "occurrence without an image"
    rows["url"] = rows["identifier"].where(rows["identifier"] != "", rows["accessURI"])
    kind = rows["type"].map(_term).str.lower()
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
