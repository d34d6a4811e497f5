"""Tables that are built once, and mapped into memory from a cache that may be deleted at will.

The cache lies in ``$BIOCLIP_CACHE``, else in ``bioclip_lib`` in the user's cache directory. Its tables appear whole
or not at all, whoever builds them at the same time; other code that builds them has a cache of its own.
"""

import functools
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import pandas as pd
import pyarrow as pa

_TABLES = ("usages", "words", "problems")
_BUILDERS = ("authors", "avilist", "backbone", "canonical", "checklists", "dumps", "lineages", "names", "ncbi")
_BUILDERS += ("vernaculars", "../files/dialect", "../files/meta", "../files/tables")
"""The modules whose code decides what stands in the tables."""


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
    try:
        return _opened(folder)
    except (OSError, pa.ArrowInvalid, KeyError):
        pass
    usages, words, problems = tables = build()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".building-") as temporary:
            os.mkdir(f"{temporary}/whole")
            for name, table in zip(_TABLES, (usages, words, pa.Table.from_pandas(problems)), strict=True):
                with pa.ipc.new_file(f"{temporary}/whole/{name}.arrow", table.schema) as file:
                    file.write_table(table.combine_chunks())
            _move(Path(temporary) / "whole", folder)
        return _opened(folder)
    except OSError as error:
        warnings.warn(f"{folder} cannot be written ({error}); set BIOCLIP_CACHE to another folder", stacklevel=2)
        return tables


def _move(whole: Path, folder: Path) -> None:
    """Put a built cache in its place; where another process was faster, its tables are the same."""
    try:
        os.rename(whole, folder)
    except OSError:
        try:
            _opened(folder)
        except (OSError, pa.ArrowInvalid, KeyError):  # a damaged one is in the way
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(whole, folder)


def _opened(folder: Path) -> tuple[pa.Table, pa.Table, pd.DataFrame]:
    """Map the tables of a cache into memory."""
    files = (pa.memory_map(str(folder / f"{name}.arrow")) for name in _TABLES)
    usages, words, problems = (pa.ipc.open_file(file).read_all() for file in files)
    return usages, words, problems.to_pandas()
