"""From addresses to files: the images that an archive or a table names are fetched, checked and kept.

Takes what `read_source` reads, and a folder; returns one row an address with its file, or the reason why there is none,
as ``downloads.csv`` in that folder has it. Files are named so that the archive finds them again. Few connections are
made to a host, and its waits are kept; what is there already is not asked for again.
"""

import argparse
import csv
import os
import queue
import re
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

import numpy as np
import pandas as pd

from .. import __version__
from ..config import DataConfig
from ..errors import InputError, as_command
from ..files.images import IMAGE_SUFFIXES
from ..files.tables import TABLE_SUFFIXES
from ..run import atomic, full_disk_named
from ..run.workers import progress
from .addresses import match_addresses
from .columns import BY_DESIGN
from .listings import addresses_in
from .match import NoImageError
from .read import reading_of
from .transfer import MAX_BYTES, MAX_WAIT_S, Client, TransferError, check_address

JOURNAL = "downloads.csv"
COLUMNS = ("address", "file", "bytes", "sha256", "problem")
N_TRIES = 4
_N_CONNECTIONS, _MAX_CONNECTIONS = 4, 32
_N_DEAF = 8  # on end: a host that does not answer is given up
_TURN_S = 0.02  # a host that is to be left alone is looked at again after so long
_MAX_NAME, _ODD = 120, re.compile(r'^\.|[. ]$|[<>:"|?*\x00-\x1f]')  # some file systems hold no such name
_PARTS = re.compile(r"[/?&=#;]")  # of an address: the last with a digit may be an id
_AGENT = f"bioclip_lib/{__version__} (image data set for research; contact: {{}})"


class Wanted(NamedTuple):
    """An address, and the path below the folder that its file gets."""

    address: str
    file: str


def download(
    photos: str | Path,
    folder: str | Path,
    *,
    contact: str = "",
    connections: int = _N_CONNECTIONS,
    max_bytes: int = MAX_BYTES,
    allow_private: bool = False,
) -> pd.DataFrame:
    """Fetch the images that an archive or a table names and does not have, to where `read_source` looks for them.

    That is, below a table's or an archive's folder; of a packed archive the folder of its name beside it. `contact`, an
    e-mail or web address, is told to the hosts; `connections` at once, to one host; `max_bytes` of one file. Returns
    ``address, file, bytes, sha256, problem``, a row a distinct address: ``problem`` is '' where the image was fetched,
    decodes to its end and lies there. After an interruption the same call goes on; what failed is asked again.
    """
    if not 1 <= connections <= _MAX_CONNECTIONS:
        raise InputError(f"connections is {connections}; give a number from 1 to {_MAX_CONNECTIONS}, to one host")
    folder = Path(folder).expanduser()
    rows = wanted_of(photos)
    wanted = named(rows)
    client = Client(_AGENT.format(contact or "none given"), connections, max_bytes, allow_private)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with full_disk_named(folder), _Journal(folder) as journal:
            todo = [item for item in wanted if item.address not in journal.done]
            for done in progress("download", "images", len(todo), _fetched(todo, folder, client, connections)):
                journal.add(done)
    except OSError as error:
        raise InputError(
            f"{error.filename or folder} cannot be written ({error.strerror}); pass another --to"
        ) from None
    return journal.publish([item.address for item in wanted])


def wanted_of(photos: str | Path) -> pd.DataFrame:
    """Return the addresses of a source whose images are not there: ``address, record, path``, one row an address."""
    path = Path(photos).expanduser()
    is_table = path.is_file() and path.name.lower().endswith(TABLE_SUFFIXES)
    rows = addresses_in(path) if is_table else _read(photos)
    rows = rows.reindex(columns=["address", "record", "path", "problem"], fill_value="")
    rows = rows[(rows["address"] != "") & ~rows["problem"].str.startswith(BY_DESIGN)]
    if rows.empty:
        raise InputError(
            f"{photos} names no address of an image; give a Darwin Core Archive with media, or a table with a column "
            "such as image_url"
        )
    return rows.drop_duplicates("address", ignore_index=True)


def _read(photos: str | Path) -> pd.DataFrame:
    """Read a source, whether it has images or not."""
    try:
        return reading_of(DataConfig(source="photos", photos=str(photos))).read()
    except NoImageError as error:
        return error.raw


def named(rows: pd.DataFrame) -> list[Wanted]:
    """Give each address the path of its file: the end of the address, else its record's id, as `match_addresses` finds.

    A name is taken only where that finds the very file again, whichever others are there or fail.
    """
    address, record = rows["address"].reset_index(drop=True), rows["record"].reset_index(drop=True)
    number = (record.groupby(record).cumcount() + 1).astype(str)
    of_record = record.str.extract(r"([^/:]*)$", expand=False).fillna("") + "_" + number + ".jpg"
    ends = address.map(lambda text: "/".join([part for part in _parts(text).path.split("/")[-3:] if part]))
    ids = address.map(lambda text: ([""] + [part for part in _PARTS.split(text) if re.search(r"\d", part)])[-1])
    choices = (rows["path"], ends, ids, of_record.where(record != "", ""))
    files = address.map(lambda text: f"{sha256(text.encode()).hexdigest()[:16]}.jpg")  # the last resort
    settled = np.zeros(len(rows), bool)
    for choice in choices:
        tried = choice.map(_safe).reset_index(drop=True)
        taken, keys = set(files[settled].str.casefold()), tried.str.casefold()
        folders = set(chain.from_iterable(map(_folders, chain(keys, taken))))
        free = ~keys.duplicated(keep=False) & (tried != "") & ~keys.isin(taken | folders)
        free &= keys.map(lambda key, taken=taken: taken.isdisjoint(_folders(key)))  # 1.jpg is no folder of 1.jpg/o.jpg
        attempt = files.where(settled | ~free, tried)
        place = match_addresses(address, record, attempt)
        settled |= free & (place == np.arange(len(rows)))
        files = files.where(~settled, attempt)
    return [Wanted(*pair) for pair in zip(address, files, strict=True)]


def _folders(path: str) -> set[str]:
    """Return the folders on the way to a file."""
    parts = path.split("/")
    return {"/".join(parts[:n]) for n in range(1, len(parts))}


def _parts(address: str) -> SplitResult:
    """Split an address; one that is none has no parts, and is refused when its turn comes."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _safe(path: str) -> str:
    """Return a path that any file system holds and no other folder, '' where there is none; with an image's suffix."""
    path = path.replace("\\", "/").removeprefix("./")
    parts = [part for part in path.split("/") if part]
    if not parts or path.startswith("/") or any(len(part) > _MAX_NAME or _ODD.search(part) for part in parts):
        return ""
    return "/".join(parts) + ("" if path.lower().endswith(IMAGE_SUFFIXES) else ".jpg")


@dataclass
class _Host:
    """What is left to ask of a host, when it may be asked, and how many on end it did not answer."""

    left: queue.SimpleQueue = field(default_factory=queue.SimpleQueue)
    not_before: float = 0.0
    n_deaf: int = 0


def _fetched(wanted: Sequence[Wanted], folder: Path, client: Client, connections: int) -> Iterator[tuple]:
    """Yield the rows of the journal as the files come; the hosts in turn, each asked for `connections` at once."""
    hosts: defaultdict[str, _Host] = defaultdict(_Host)
    for item in wanted:
        hosts[_parts(item.address).netloc.lower()].left.put((item, 0))
    rows, stopped = queue.SimpleQueue(), threading.Event()
    pool = ThreadPoolExecutor(min(_MAX_CONNECTIONS, connections * len(hosts)) or 1)
    ask = partial(_ask, folder=folder, client=client, rows=rows)
    try:
        for host in [*hosts.values()] * connections:
            pool.submit(_turn, host, pool, stopped, rows, ask)
        for _ in wanted:
            row = rows.get()
            if isinstance(row, BaseException):
                raise row
            yield row
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)


def _turn(
    host: _Host, pool: ThreadPoolExecutor, stopped: threading.Event, rows: queue.SimpleQueue, ask: Callable
) -> None:
    """Ask a host once, and again when its turn comes; one that is to be left alone keeps no other waiting."""
    try:
        wait_s = host.not_before - time.monotonic()
        if stopped.wait(min(max(0.0, wait_s), _TURN_S)):
            return
        if wait_s <= _TURN_S:
            ask(host)
        pool.submit(_turn, host, pool, stopped, rows, ask)
    except queue.Empty:
        return
    except BaseException as error:  # a full disk, or our own mistake: told where it is seen
        rows.put(error)


def _ask(host: _Host, folder: Path, client: Client, rows: queue.SimpleQueue) -> None:
    """Fetch one of the images left of a host, to be asked for again where that may help; give up a deaf host."""
    item, n_tries = host.left.get_nowait()
    row, wait_s, is_deaf = _tried(item, folder, client)
    if wait_s is not None and n_tries + 1 < N_TRIES:
        host.not_before = max(host.not_before, time.monotonic() + wait_s * 2**n_tries)
        host.left.put((item, n_tries + 1))
        return
    rows.put(row)
    host.n_deaf = host.n_deaf + 1 if is_deaf else 0
    while host.n_deaf >= _N_DEAF:
        rows.put((*host.left.get_nowait()[0], 0, "", "host did not answer, not asked again"))


def _tried(item: Wanted, folder: Path, client: Client) -> tuple[tuple, float | None, bool]:
    """Fetch an image, written whole or not at all; return its row, when to ask again, and whether nobody answered."""
    try:
        check_address(item.address)
        data = client.image(item.address)
        with atomic(folder / item.file) as tmp:
            tmp.write_bytes(data)
        return (*item, len(data), sha256(data).hexdigest(), ""), None, False
    except TransferError as error:
        if error.wait_s is not None and error.wait_s > MAX_WAIT_S:
            why = f"{error}; asks to wait {error.wait_s / 60:.0f} minutes"
            return (*item, 0, "", why), None, error.is_deaf
        return (*item, 0, "", str(error)), error.wait_s, error.is_deaf


class _Journal:
    """What was fetched so far, a line an address, as the files come; written anew in order when all have."""

    def __init__(self, folder: Path) -> None:
        self._path, self._rows = folder / JOURNAL, {}
        if self._path.is_file():
            with self._path.open(encoding="utf-8", newline="") as file:
                rows = [row for row in csv.reader(file) if len(row) == len(COLUMNS)]  # the last may be cut
            self._rows = {row[0]: row for row in rows[1:]}
        good = {key: (folder / row[1], int(row[2])) for key, row in self._rows.items() if not row[4]}
        self.done = {key for key, (file, size) in good.items() if file.is_file() and file.stat().st_size == size}

    def __enter__(self) -> "_Journal":
        self._publish(self._rows)
        self._file = self._path.open("a", encoding="utf-8", newline="")
        self._lines = csv.writer(self._file)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, row: tuple) -> None:
        """Write a line."""
        self._rows[row[0]] = [str(value) for value in row]
        self._lines.writerow(row)
        self._file.flush()

    def publish(self, addresses: Sequence[str]) -> pd.DataFrame:
        """Write the table in the order of the addresses, others of earlier calls after them; return their rows."""
        order = dict.fromkeys([*addresses, *self._rows])
        self._publish([key for key in order if key in self._rows])
        rows = pd.DataFrame([self._rows[key] for key in addresses], columns=list(COLUMNS), dtype=object)
        return rows.astype({"bytes": int})

    def _publish(self, addresses: Sequence[str]) -> None:
        with atomic(self._path) as tmp, tmp.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *(self._rows[key] for key in addresses)])


@as_command
def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit status (0 all fetched, 1 some not, 2 a mistake in the input)."""
    parser = argparse.ArgumentParser(
        "python -m bioclip_lib.sources.download", description="Fetch the images of a table."
    )
    parser.add_argument("table", help="Darwin Core Archive, or table with addresses of images")
    parser.add_argument("--to", required=True, help="folder of the files")
    parser.add_argument("--contact", default="", help="your e-mail or web address, told to the hosts")
    parser.add_argument("--connections", type=int, default=_N_CONNECTIONS, help="at once, to one host (default: 4)")
    parser.add_argument("--max-megabytes", type=float, default=MAX_BYTES / 2**20, help="of one file (default: 100)")
    parser.add_argument("--allow-private", action="store_true", help="ask hosts on private networks, too")
    args = parser.parse_args(argv)
    limits = {"connections": args.connections, "max_bytes": int(args.max_megabytes * 2**20)}
    table = download(args.table, args.to, contact=args.contact, allow_private=args.allow_private, **limits)
    print(summary(table, args.table, args.to))
    return int((table["problem"] != "").any())


def summary(table: pd.DataFrame, photos: str | Path, folder: str | Path) -> str:
    """Say how many files there are, why others are not, and how many the source finds again."""
    there = table["problem"] == ""
    n_bytes = table.loc[there, "bytes"].sum() / 2**20
    lines = [f"{there.sum():,} of {len(table):,} images lie in {folder} ({n_bytes:,.1f} MiB)"]
    reasons = table.loc[~there, "problem"].value_counts()
    lines += [f"not fetched: {n:,} x {reason}" for reason, n in reasons.head(8).items()]
    if len(reasons):
        lines.append(f"which, and why: {os.path.join(folder, JOURNAL)}; the same command asks them again")
    try:
        found = set(_read(photos)["location"])
    except InputError as error:  # a list of addresses without names is no set of photographs
        return "\n".join([*lines, f"no set of photographs yet: {error}"])
    at = {str((Path(folder).expanduser() / file).resolve()) for file in table.loc[there, "file"]}
    n_found = len(at & found)
    if n_found < len(at):
        lines.append(
            f"data.photos={photos} finds {n_found:,} of them: it looks below its own folder (packed: x/ of x.zip)"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
