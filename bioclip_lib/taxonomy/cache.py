"""Tables that are built once, and mapped into memory from a cache that may be deleted at will.

The cache lies in ``$BIOCLIP_CACHE``, else in ``bioclip_lib`` in the user's cache directory. Its tables appear whole
or not at all, whoever builds them at the same time; other code that builds them has a cache of its own, which goes when
nobody has opened it for a week. A cache that is not what was written is built again.
"""

import contextlib
import functools
import json
import os
import shutil
import threading
import time
import warnings
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ..errors import InputError
from ..run import atomic, remove_left, stages
from ..run.manifest import fact_of

_FACTS = "facts.json"  # size, time and digest of each table
_UNUSED_S = 7 * 24 * 3600
_TABLES = ("usages", "words", "problems")
_BUILDERS = ("authors", "avilist", "backbone", "canonical", "checklists", "lineages", "names", "ncbi")
_BUILDERS += ("vernaculars", "../files/dialect", "../files/meta", "../files/tables")
"""The modules whose code decides what stands in the tables."""

_BROKEN = (OSError, pa.ArrowInvalid, KeyError, ValueError, TypeError)
_building = threading.RLock()  # of this process; others write beside it


@functools.cache
def code_digest() -> str:
    """Return the digest of the code that builds the tables."""
    digest = blake2b(digest_size=6)
    for name in _BUILDERS:
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return digest.hexdigest()


def cache_folder() -> Path:
    """Return the folder of all caches."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("BIOCLIP_CACHE") or Path(base) / "bioclip_lib").expanduser()


def cached(key: str, build: Callable[[], tuple[pa.Table, pa.Table, pd.DataFrame]]) -> tuple:
    """Return usages, words and problems from the cache; build them where they are not there, and keep them."""
    folder = cache_folder() / f"{key}-{code_digest()}"
    with _building:
        with contextlib.suppress(*_BROKEN):
            return _opened(folder)
        usages, words, problems = tables = build()
        try:
            with atomic(folder) as tmp:
                tmp.mkdir()
                for name, table in zip(_TABLES, (usages, words, pa.Table.from_pandas(problems)), strict=True):
                    with pa.ipc.new_file(str(tmp / f"{name}.arrow"), table.schema) as file:
                        file.write_table(table.combine_chunks())
                facts = [fact_of(tmp / f"{name}.arrow", name) for name in _TABLES]
                (tmp / _FACTS).write_text(json.dumps(facts), encoding="utf-8")
            return _opened(folder)
        except (OSError, InputError) as error:
            warnings.warn(f"{folder} cannot be written ({error}); set BIOCLIP_CACHE to another folder", stacklevel=2)
            return tables


def _remove_unused(base: Path) -> None:
    """Remove what dead processes left, and caches of other code that nobody has used for a week."""
    with contextlib.suppress(OSError):
        remove_left(base)
        for folder in base.iterdir():
            is_other = (folder / f"{_TABLES[0]}.arrow").is_file() and not folder.name.endswith(f"-{code_digest()}")
            if is_other and time.time() - folder.stat().st_mtime > _UNUSED_S:
                shutil.rmtree(folder, ignore_errors=True)  # who has mapped it keeps what it has


def _opened(folder: Path) -> tuple[pa.Table, pa.Table, pd.DataFrame]:
    """Map the tables of a cache into memory; `OSError` if one is not what was written."""
    for fact in json.loads((folder / _FACTS).read_text(encoding="utf-8")):
        if not stages.is_same(str(folder / f"{fact['file']}.arrow"), fact):
            raise OSError(f"{folder} is damaged")
    with contextlib.suppress(OSError):  # it may be there for reading alone
        os.utime(folder)
    _remove_unused(folder.parent)
    files = (pa.memory_map(str(folder / f"{name}.arrow")) for name in _TABLES)
    usages, words, problems = (pa.ipc.open_file(file).read_all() for file in files)
    return usages, words, problems.to_pandas()
