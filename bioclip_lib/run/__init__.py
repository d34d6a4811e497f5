"""The folder of a run: where its artefacts lie (`folder`), what they are (`manifest`, `stages`), how they are written.

`writing` writes whole or not at all, and for good; `lock` keeps a second writer out; `parts` keeps what long work has
finished, `workers` share it. Takes a run directory, returns paths. Nothing is created at import.
"""

from .folder import REPOSITORY, Run, differences, environment, git_commit, open_run
from .lock import check_free, locked
from .manifest import file_sha256, is_whole
from .parts import in_parts
from .writing import atomic, full_disk_named, remove, remove_left, write_json, write_text

__all__ = [
    "REPOSITORY",
    "Run",
    "atomic",
    "check_free",
    "differences",
    "environment",
    "file_sha256",
    "full_disk_named",
    "git_commit",
    "in_parts",
    "is_whole",
    "locked",
    "open_run",
    "remove",
    "remove_left",
    "write_json",
    "write_text",
]
