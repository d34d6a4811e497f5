"""Members of archives: where each lies, and why one is not read.

Takes a member's name; returns one that a table can hold, and '' or the reason why it is refused.
"""

import re
import zipfile
from typing import NamedTuple

LEAVES = "member name leaves the archive"
MAX_RATIO = 100  # photographs hardly shrink; deflate reaches 1,032


class ArchiveError(ValueError):
    """An archive, or a member of it, cannot be read; the message is the reason, fit for the catalog."""


class Member(NamedTuple):
    """Where a member lies; ``problem`` is '' or why it cannot be read."""

    offset: int  # of the data in a tar, of the local header in a zip
    size: int
    problem: str = ""
    packed: int = 0  # zip: bytes in the archive
    method: int = zipfile.ZIP_STORED
    crc: int = 0


def escape(text: str) -> str:
    """Write the odd bytes of a path that is not UTF-8 as ``\\xe9``: no table can hold them as they are."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def plain_name(name: str) -> str:
    """Return a member's name without the ``./`` that ``tar -cf x.tar .`` puts before each."""
    return re.sub(r"(\.[/\\]+)+", "", name, count=1) if name.startswith("./") else name


def checked_name(name: str) -> tuple[str, str]:
    """Return a name that a table can hold, and '' or why the member is not read."""
    name = plain_name(name) or name
    text = escape(name)
    if text != name:
        return text, "member name is not UTF-8"
    path = name.replace("\\", "/")
    if path.startswith("/") or path[1:3] == ":/" or ".." in path.split("/"):
        return name, LEAVES
    return name, ""
