"""Builds of shards that are killed, run out of disk, or read from compressed archives: the same bytes in the end."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from bioclip_lib.catalog.splits import assign_splits
from bioclip_lib.catalog.table import read_catalog, write_catalog
from bioclip_lib.config import ShardConfig, SplitConfig
from bioclip_lib.errors import InputError
from bioclip_lib.files.archives import in_compressed_tar
from bioclip_lib.files.gzips import GzipReader
from bioclip_lib.run.workers import map_threads
from bioclip_lib.shards import write
from bioclip_lib.shards.read import load_images, read_index, read_shards
from bioclip_lib.shards.samples import read_samples
from bioclip_lib.shards.write import UnfinishedShards, write_shards

CONFIG = ShardConfig(image_size_px=24, samples_per_shard=5)
N_EVENTS = 1 + 40 + 10 + 4 + 2  # journal begun, samples, tars, splits moved, indices

BUILD = """
import os, signal, sys
from pathlib import Path
from bioclip_lib.catalog import read_catalog
from bioclip_lib.config import ShardConfig
from bioclip_lib.run.workers import map_threads
from bioclip_lib.shards import write_shards

catalog, folder, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
n = 0

def event():
    global n
    n += 1
    if n == last:
        os.kill(os.getpid(), signal.SIGKILL)

def counted(function):
    def call(*args):
        result = function(*args)
        event()
        return result
    return call

def mapper(*call):
    for item in map_threads(*call):
        yield item
        event()

os.replace, Path.rename = counted(os.replace), counted(Path.rename)
write_shards(read_catalog(catalog), folder, ShardConfig(image_size_px=24, samples_per_shard=5), mapper)
print(n)
"""


@pytest.fixture(scope="module")
def finished(catalog, tmp_path_factory) -> Path:
    """The path of a catalog with splits: 40 images, 10 tars."""
    path = tmp_path_factory.mktemp("catalog") / "catalog.parquet"
    write_catalog(assign_splits(catalog, SplitConfig(heldout_fraction=0.25)), path)
    return path


@pytest.fixture(scope="module")
def compressed(finished, write_archive, tmp_path_factory) -> Path:
    """The path of the same catalog with three quarters of its images in two tar.gz."""
    folder, table = tmp_path_factory.mktemp("compressed"), read_catalog(finished)
    files = [{}, {}]
    for i, location in enumerate(table["location"]):
        if i % 4:
            files[i % 2][f"{i}.jpg"] = Path(location).read_bytes()
            table.loc[i, "location"] = f"{folder / f'set{i % 2}.tar.gz'}::{i}.jpg"
    for i, content in enumerate(files):
        write_archive(folder / f"set{i}.tar.gz", content)
    write_catalog(table, folder / "catalog.parquet")
    return folder / "catalog.parquet"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(finished, tmp_path_factory) -> dict[str, bytes]:
    """The files of an uninterrupted build."""
    folder = tmp_path_factory.mktemp("run") / "shards"
    write_shards(read_catalog(finished), folder, CONFIG, mapper=partial(map_threads, workers=1))
    return contents(folder)


def build_and_kill(catalog: Path, folder: Path, event: int) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", BUILD, catalog, folder, str(event)], capture_output=True, text=True)


def refused(folder: Path) -> bool:
    for read in (read_index, lambda f: list(read_shards(f / "train")), lambda f: load_images(f, ["train"], 8)):
        with pytest.raises(InputError, match=r"index\.json is missing"):
            read(folder)
    return True


@pytest.mark.parametrize(("event", "workers"), [(4, 4), (29, 1), (47, 3), (N_EVENTS - 1, 2)])
def test_a_killed_build_looks_like_nothing_and_goes_on_to_the_same_bytes(finished, whole, tmp_path, event, workers):
    folder = tmp_path / "s"
    assert build_and_kill(finished, folder, event).returncode == -signal.SIGKILL
    assert refused(folder)
    assert event > 51 or not list(folder.glob("*/*.tar"))  # what a stock loader would find
    left = {path: path.stat().st_mtime_ns for path in folder.glob(".unfinished/*/*.tar")}
    encoded = []

    def mapper(*call):
        return (encoded.append(item) or item for item in map_threads(*call, workers=workers))

    write_shards(read_catalog(finished), folder, CONFIG, mapper)
    assert contents(folder) == whole
    kept = [path for path in folder.glob("*/*.tar") if path.stat().st_mtime_ns in left.values()]
    rows = json.loads(whole["index.json"])
    n_kept = sum(row["n_samples"] for row in rows if folder / row["split"] / row["shard"] in kept)
    assert len(encoded) == 40 - n_kept
    # one tar may have been renamed and not yet recorded; splits already moved are written again
    assert len(left) - 1 <= len(kept) <= len(left) and bool(left) == (5 < event < 54)


def test_an_unkilled_build_passes_every_event(finished, whole, tmp_path):
    assert build_and_kill(finished, tmp_path / "s", -1).stdout.split() == [str(N_EVENTS)]
    assert contents(tmp_path / "s") == whole


@pytest.fixture
def interrupted(finished, tmp_path):
    """A folder whose build stopped after 21 images: four tars are finished."""

    def mapper(*call):
        for n, item in enumerate(map_threads(*call)):
            if n == 20:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        write_shards(read_catalog(finished), tmp_path / "s", CONFIG, mapper)
    assert len(list((tmp_path / "s").glob(".unfinished/train/*.tar"))) == 4
    return tmp_path / "s"


def n_encoded(monkeypatch) -> list[int]:
    """Count what is encoded from now on."""
    calls, encode = [], write._encoded
    monkeypatch.setattr(write, "_encoded", lambda row, **settings: calls.append(1) or encode(row, **settings))
    return calls


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "journal", "no journal"])
def test_only_tars_that_are_provably_whole_are_kept(interrupted, finished, whole, monkeypatch, damage):
    tar, journal = interrupted / ".unfinished/train/shard-000001.tar", interrupted / ".unfinished/finished.jsonl"
    data, lines = tar.read_bytes(), journal.read_bytes()
    if damage == "flip":
        tar.write_bytes(data[:600] + bytes([data[600] ^ 1]) + data[601:])
    elif damage == "cut":
        tar.write_bytes(data[:-512])
    elif damage == "remove":
        tar.unlink()
    else:
        journal.write_bytes(lines[:-9] + b"\n[]\n\xff" if damage == "journal" else b"")
    calls = n_encoded(monkeypatch)
    write_shards(read_catalog(finished), interrupted, CONFIG)
    assert len(calls) == (40 if damage == "no journal" else 25)
    assert contents(interrupted) == whole


@pytest.mark.parametrize("change", ["name", "file", "order", "config"])
def test_a_changed_catalog_or_configuration_does_not_reuse_tars(interrupted, finished, tmp_path, monkeypatch, change):
    table, config, expected = read_catalog(finished), CONFIG, 25
    first = next(read_shards_of(interrupted / ".unfinished/train/shard-000000.tar"))
    row = table.index[table["image_id"] == first][0]
    if change == "name":
        table.loc[row, "license"] = "CC0"
    elif change == "file":
        other = table.index[table["split"] == "test"][0]
        table.loc[row, ["location", "sha256"]] = table.loc[other, ["location", "sha256"]]
    elif change == "order":
        table, expected = table.drop(index=row), 39  # all later tars begin with another image
    else:
        config, expected = replace(CONFIG, jpeg_quality=CONFIG.jpeg_quality - 1), 40
    calls = n_encoded(monkeypatch)
    write_shards(table, interrupted, config)
    assert len(calls) == expected
    write_shards(table, tmp_path / "fresh", config)
    assert contents(interrupted) == contents(tmp_path / "fresh")


def read_shards_of(tar: Path):
    return (sample.image_id for sample in read_samples(tar))


def test_two_builds_in_one_folder_are_refused(finished, tmp_path):
    with UnfinishedShards(tmp_path / "s"), pytest.raises(InputError, match=r"is being written \(process"):
        write_shards(read_catalog(finished), tmp_path / "s", CONFIG)
    assert len(write_shards(read_catalog(finished), tmp_path / "s", CONFIG)) == 10


FULL_DISK = """
import resource, sys
from bioclip_lib.errors import InputError
from bioclip_lib.catalog import read_catalog, write_catalog
from bioclip_lib.config import ShardConfig
from bioclip_lib.shards import write_shards

catalog, folder, limit, what = read_catalog(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))  # the signal is ignored by Python
try:
    if what == "catalog":
        write_catalog(catalog, folder)
    else:
        write_shards(catalog, folder, ShardConfig(image_size_px=24, samples_per_shard=5))
except InputError as error:
    print(error)
"""


def run_out_of_disk(catalog: Path, folder: Path, limit: int, what: str) -> str:
    command = [sys.executable, "-c", FULL_DISK, catalog, folder, str(limit), what]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout


def test_a_full_disk_is_one_clear_error_and_the_build_goes_on_later(finished, whole, tmp_path, monkeypatch):
    folder, sizes = tmp_path / "s", [row["bytes"] for row in json.loads(whole["index.json"])]
    largest = max(sizes)
    i = sizes.index(largest)
    message = run_out_of_disk(finished, folder, largest - 1, "shards")
    assert message.startswith(f"disk full while writing {folder}/.unfinished/")
    assert message.endswith("free space and run again\n") and len(message.splitlines()) == 1
    assert refused(folder) and not list(folder.rglob("*.tmp"))
    assert len(list(folder.glob(".unfinished/*/*.tar"))) == i > 0
    write_shards(read_catalog(finished), folder, CONFIG, mapper=partial(map_threads, workers=3))
    assert contents(folder) == whole


def test_a_full_disk_while_archives_are_read(compressed, whole, tmp_path):
    assert "disk full" in run_out_of_disk(compressed, tmp_path / "s", 4_000, "shards")
    assert refused(tmp_path / "s")
    write_shards(read_catalog(compressed), tmp_path / "s", CONFIG)
    assert contents(tmp_path / "s") == whole


def test_a_full_disk_leaves_no_half_catalog(finished, tmp_path):
    path = tmp_path / "catalog.parquet"
    message = run_out_of_disk(finished, path, 5_000, "catalog")
    assert message == f"disk full while writing {path} (file too large); free space and run again\n"
    assert list(tmp_path.iterdir()) == []


def test_compressed_archives_are_read_from_front_to_end_and_give_the_same_bytes(
    compressed, whole, tmp_path, monkeypatch
):
    reads, read = [], GzipReader.read
    monkeypatch.setattr(
        GzipReader, "read", lambda self, place, size: reads.append((str(self._path), place)) or read(self, place, size)
    )
    write_shards(read_catalog(compressed), tmp_path / "s", CONFIG, mapper=partial(map_threads, workers=1))
    assert len(reads) == 30 and reads == sorted(reads)
    assert contents(tmp_path / "s") == whole


@pytest.mark.parametrize("event", [12, 40])
def test_a_build_killed_among_compressed_archives_does_not_read_them_again(
    compressed, whole, tmp_path, monkeypatch, event
):
    assert build_and_kill(compressed, tmp_path / "s", event).returncode == -signal.SIGKILL
    reads, read = [], write.image_member
    monkeypatch.setattr(write, "image_member", lambda row, config: reads.append(row["location"]) or read(row, config))
    write_shards(read_catalog(compressed), tmp_path / "s", CONFIG)
    n_read = sum(map(in_compressed_tar, reads))
    assert n_read == 0 if event > 31 else n_read <= 30
    assert contents(tmp_path / "s") == whole


def test_the_index_of_a_resumed_build_is_what_it_returns(interrupted, finished):
    index = write_shards(read_catalog(finished), interrupted, CONFIG)
    pd.testing.assert_frame_equal(index, read_index(interrupted))
