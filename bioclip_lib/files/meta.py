"""The meta.xml of a Darwin Core Archive: which tables there are, and how they are written.

Takes the files of an archive; returns the core or an extension as a `TableFile`. Refuses a document type (entities can
be declared there), and knows a file by its name alone: none outside the archive is reached.
"""

from pathlib import PurePosixPath
from xml.etree import ElementTree
from xml.parsers import expat

from ..errors import InputError
from .dialect import TableFile, term_of
from .members import ArchiveError
from .zips import DAMAGED

META = "meta.xml"
_IDS = ("gbifid", "occurrenceid", "taxonid")  # of an archive that states no id
_MAX_BYTES = 1 << 20
_MAX_COLUMNS = 1_000


def described(files: dict[str, TableFile], row_type: str = "") -> TableFile | None:
    """Return the core table as meta.xml describes it, or the extension of a row type, None without one."""
    meta = files[META]
    elements = [e for e in _parsed(meta).iter() if term_of(e.tag) == ("extension" if row_type else "core")]
    if row_type:
        elements = [e for e in elements if term_of(e.get("rowType")) == row_type and _locations(e)]
    if not elements and row_type:
        return None
    try:
        return _of_element(elements[0], files)
    except KeyError as error:
        raise InputError(f"{meta.where} names a file {error} that is not there; download the archive again") from None
    except (IndexError, AttributeError, ValueError, TypeError) as error:
        what = f"a table of {row_type}" if row_type else "a core table"
        raise InputError(f"{meta.where} does not describe {what} ({error!r}); give the table itself") from None


def _parsed(meta: TableFile) -> ElementTree.Element:
    """Parse a meta.xml; a document type is refused before anything is expanded."""

    def refuse(*_: object) -> None:
        raise InputError(f"{meta.where} declares a document type, which no archive needs; remove the declaration")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    try:
        with meta.open() as stream:
            content = stream.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise InputError(f"{meta.where} has more than {_MAX_BYTES:,} bytes; give the table itself")
        parser.Parse(content, True)
        return ElementTree.fromstring(content)
    except (ArchiveError, *DAMAGED) as error:
        raise InputError(f"{meta.where} is damaged ({error}); download it again") from None
    except (expat.ExpatError, ElementTree.ParseError, LookupError) as error:
        raise InputError(f"{meta.where} is not well-formed ({error}); give the table itself") from None


def _locations(element: ElementTree.Element) -> list[str]:
    """Return the files of a table; the oldest archives name one in an attribute."""
    stated = (element.get("location") or "").strip()
    texts = [(e.text or "").strip() for e in element.iter() if term_of(e.tag) == "location"]
    return [stated] if stated else [text for text in texts if text]


def _of_element(element: ElementTree.Element, files: dict[str, TableFile]) -> TableFile:
    """Return the table that a core or an extension describes; its first column is "id", whatever else it is called."""
    fields = [(term_of(f.get("term")), f) for f in element.iter() if term_of(f.tag) == "field"]
    columns = {term: int(item.get("index")) for term, item in reversed(fields) if item.get("index")}
    ids = {"id": int(e.get("index")) for e in element if term_of(e.tag) in ("id", "coreid")}  # noqa: B035
    columns |= ids or {"id": columns[term] for term in reversed(_IDS) if term in columns}  # noqa: B035
    n_header_lines = int(element.get("ignoreHeaderLines") or 0)
    if n_header_lines < 0 or any(not 0 <= i < _MAX_COLUMNS for i in columns.values()):
        raise ValueError("a number of a column or of lines is impossible")
    tables = [
        TableFile(
            **{"where": file.where, "open": file.open, "columns": columns, "n_header_lines": n_header_lines},
            row_type=term_of(element.get("rowType")),
            defaults={term: item.get("default") for term, item in fields if item.get("default")},
            delimiter=(element.get("fieldsTerminatedBy") or "").strip(" ").replace("\\t", "\t"),  # "": found out
            quote=element.get("fieldsEnclosedBy"),
            encoding=element.get("encoding") or "utf-8",
        )
        for file in (files[PurePosixPath(location.replace("\\", "/")).name.lower()] for location in _locations(element))
    ]
    tables[0].rest = tuple(tables[1:])
    return tables[0]
