"""Long work in parts, each kept as it is finished: what was killed goes on there.

Takes a folder, items and a function from items to rows; returns the rows. A part is read again where its items, what it
is made of, the code, the versions and its own bytes are the same; parts of anything else are thrown away.
"""

import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from .stages import code_digests, versions
from .writing import atomic, remove, remove_left

_N_DIGEST = sha256().digest_size  # bytes before the rows
_ARRAY = b"\x93NUMPY"


def in_parts(
    folder: Path | None,
    items: Sequence,
    compute: Callable[[Sequence], Iterable],
    n_items: int,
    code: str,
    made_of: object = "",
) -> Iterator[Any]:
    """Yield the row of each item, in order; each `n_items` rows are kept in a folder and read from there the next time.

    Parameters
    ----------
    folder : Path or None
        Of this work alone; the end of a stage removes it (`stages.finish`). None, and few items: nothing is kept.
    items : sequence
        Each with a ``repr`` that says all that decides its row; of a file, size and time.
    compute : function
        Yields the rows of items, one each: arrays of one shape, or what JSON holds.
    code : str
        The module of `compute`: it and all that it imports decide the rows, too; and what `made_of` says.
    """
    if folder is None or len(items) <= n_items:
        yield from compute(items)
        return
    made = f"{made_of!r} {code_digests([code])} {versions()}"
    chunks = [items[start : start + n_items] for start in range(0, len(items), n_items)]
    paths = [folder / sha256(f"{made} {list(chunk)!r}".encode()).hexdigest() for chunk in chunks]
    remove_left(folder)
    for path in set(folder.glob("[!.]*")) - set(paths):
        remove(path)
    parts = list(zip(paths, chunks, strict=True))
    todo = [(path, chunk) for path, chunk in parts if _read(path) is None]
    rows = iter(compute([item for _, chunk in todo for item in chunk]))
    missing = {path for path, _ in todo}
    for path, chunk in parts:
        if path in missing:
            found = list(itertools.islice(rows, len(chunk)))
            _write(path, found)
        yield from found if path in missing else _read(path)


def _write(path: Path, rows: list) -> None:
    """Write rows after their digest."""
    import numpy as np

    buffer = io.BytesIO()
    if isinstance(rows[0], np.ndarray):
        np.save(buffer, np.stack(rows), allow_pickle=False)
    else:
        buffer.write(json.dumps(rows).encode())
    with atomic(path) as tmp:
        tmp.write_bytes(sha256(buffer.getvalue()).digest() + buffer.getvalue())


def _read(path: Path) -> Sequence | None:
    """Read rows; None where there are none, or they are damaged."""
    import numpy as np

    data = path.read_bytes() if path.is_file() else b""
    if sha256(data[_N_DIGEST:]).digest() != data[:_N_DIGEST]:
        return None
    is_array = data[_N_DIGEST:].startswith(_ARRAY)
    return np.load(io.BytesIO(data[_N_DIGEST:]), allow_pickle=False) if is_array else json.loads(data[_N_DIGEST:])
