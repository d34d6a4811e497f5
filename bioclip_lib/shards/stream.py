"""Training samples streamed from shards, for sets that do not fit in memory.

Takes a folder of shards (`shards.write.write_shards`); returns batches of pixels with image ids and class keys.
Refuses shards without samples, and stops where too many samples cannot be read.

Which samples make the batch of a step is a function of (index, seed, batch size, step) alone. Hence an interrupted run
goes on at any step without reading what came before, and each of several processes finds its own slice.
"""

import json
import os
import tarfile
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, count
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..files.images import MAX_BYTES, ImageError, identify, resize_and_crop, to_rgb
from .sample_order import WINDOW_SHARDS, SampleOrder
from .write import read_index

MAX_UNREADABLE = 0.01  # of the samples of the split; more stops the stream
_BLOCK = tarfile.BLOCKSIZE
_OVERSIZE = 1.5  # as in `shards.samples.encode_image`
_CHUNK = 32  # samples a thread decodes at a time


class Batch(NamedTuple):
    """What one process sees of a batch: uint8 (B, size_px, size_px, 3); of each image its id, class and number.

    The number is that of `ShardStream.numbers`, or of the readable sample that stands in for it.
    """

    images: np.ndarray
    image_ids: list[str]
    class_keys: list[str]
    numbers: np.ndarray


class ShardStream:
    """The batches of one process, decoded as they are needed.

    Parameters
    ----------
    folder : str or Path
        The shards folder, with index.json.
    split : str
    batch_size : int
        Of all processes together, a multiple of `world_size`. A set smaller than a batch is one batch.
    size_px : int
        Height and width of the images: short edge resized, centre cropped.
    seed : int
        Not negative.
    rank, world_size : int
        This process takes the `rank`-th of `world_size` equal slices of every batch.

    Attributes
    ----------
    unreadable : dict of str to str
        What was passed over so far, and why: ``shard.tar::member``, or whole shards.
    n_unreadable : int
        The same as a number of samples.

    Raises
    ------
    InputError
        If there are no samples, or the numbers do not fit together; at any time, if more than `MAX_UNREADABLE` of the
        samples cannot be read.

    Notes
    -----
    An epoch has each sample once. Where the batch size does not divide it, a batch holds the end of one epoch and the
    beginning of the next. In place of an unreadable sample another of its window is taken, the same one in every run.

    The sizes of all tars are compared with the index, their digests are not. A tar's headers are read once, when its
    first sample is asked for; 4 bytes a sample are kept. Nothing is written.
    """

    remedy = "rerun 01_dataset_construction"

    def __init__(
        self,
        folder: str | Path,
        split: str,
        batch_size: int,
        size_px: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        index = read_index(folder)
        index = index[(index["split"] == split) & (index["n_samples"] > 0)]
        if any(Path(name).name != name for name in [split, *index["shard"]]):
            raise InputError(f"{folder}/index.json names files in other folders; {self.remedy}")
        paths = [Path(folder) / split / name for name in index["shard"]]
        tars = dict(zip(paths, index["n_samples"], strict=True))
        self._open(tars, f"split {split!r} in {folder}", batch_size, size_px, seed, (rank, world_size))
        for shard, n_bytes in enumerate(index["bytes"]):
            if found := _size_problem(paths[shard], n_bytes):
                self._pass_over_shard(shard, found)

    def _open(
        self, tars: dict[Path, int], source: str, batch_size: int, size_px: int, seed: int, place: tuple[int, int]
    ) -> None:
        """Prepare to read tars that hold so many samples each, in the `place[0]`-th of `place[1]` processes."""
        rank, world_size = place
        if not 0 <= rank < world_size or batch_size < 1 or batch_size % world_size or size_px < 1 or seed < 0:
            raise InputError(
                f"batch_size={batch_size}, size_px={size_px}, seed={seed}, rank={rank} and world_size={world_size} "
                "do not fit; batch_size is a multiple of world_size, rank less than it, the seed not negative"
            )
        self.order = SampleOrder(list(tars.values()), seed)
        if self.order.n < world_size:
            raise InputError(f"{self.order.n} samples of {source} for {world_size} processes; {self.remedy}")
        self._paths = list(tars)
        self._starts: list[np.ndarray | None] = [None] * len(self._paths)
        self._indexing = [threading.Lock() for _ in self._paths]
        self._counting = threading.Lock()
        self.size_px, self.rank, self.world_size = size_px, rank, world_size
        self.batch_size = min(batch_size, self.order.n // world_size * world_size)
        self.unreadable: dict[str, str] = {}
        self.n_unreadable = 0

    def __len__(self) -> int:
        """Return the whole batches of an epoch."""
        return self.order.n // self.batch_size

    def numbers(self, step: int) -> np.ndarray:
        """Return the samples of a step's batch, of all processes, int64 (batch_size,); nothing is read."""
        return self.order.numbers(step * self.batch_size, (step + 1) * self.batch_size)

    def batch(self, step: int) -> Batch:
        """Read this process's slice of a step's batch."""
        return _joined(self._decode(*chunk) for chunk in self._chunks(step))

    def batches(self, start_step: int = 0, workers: int = 2, ahead: int = 2) -> Iterator[Batch]:
        """Yield the batches from a step on, without end.

        Parameters
        ----------
        start_step : int
        workers : int
            Threads that decode; Pillow releases the interpreter lock.
        ahead : int
            Batches that are decoded before they are asked for.

        Yields
        ------
        Batch
            The same as `batch` returns.
        """
        with ThreadPoolExecutor(workers, thread_name_prefix="stream") as pool:
            waiting: deque[list[Future]] = deque()
            try:
                for step in count(start_step):
                    waiting.append([pool.submit(self._decode, *chunk) for chunk in self._chunks(step)])
                    if len(waiting) > ahead:
                        yield _joined(chunk.result() for chunk in waiting.popleft())
            finally:  # also where the reader stops reading: what is waiting is not decoded
                pool.shutdown(wait=False, cancel_futures=True)

    def _chunks(self, step: int) -> list[tuple[int, np.ndarray]]:
        """Return this process's slice in chunks: the place of the first sample in the sequence, and the samples."""
        each = self.batch_size // self.world_size
        start = step * self.batch_size + self.rank * each
        numbers = self.order.numbers(start, start + each)
        return [(start + i, numbers[i : i + _CHUNK]) for i in range(0, each, _CHUNK)]

    def _decode(self, start: int, numbers: np.ndarray) -> Batch:
        """Decode the samples from a place on."""
        samples = [self._sample(place, int(number)) for place, number in enumerate(numbers, start)]
        pixels, image_ids, class_keys, read = zip(*samples, strict=True)
        return Batch(np.stack(pixels), list(image_ids), list(class_keys), np.array(read, np.int64))

    def _sample(self, place: int, number: int) -> tuple[np.ndarray, str, str, int]:
        """Decode a sample, or the first readable one of those that may stand in for it."""
        sample = self._read(number)
        others = self.order.others(place)
        while sample is None:
            other = next(others, None)
            if other is None:
                raise InputError(
                    f"a window of {WINDOW_SHARDS} shards is all but unreadable: {self.examples()}; {self.remedy}"
                )
            number, sample = other, self._read(other)
        return *sample, number

    def image_ids(self, numbers: Iterable[int]) -> list[str]:
        """Read the image ids of samples; '' where one cannot be read."""
        samples = (self._read(int(number)) for number in numbers)
        return [sample[1] if sample else "" for sample in samples]

    def _read(self, number: int) -> tuple[np.ndarray, str, str] | None:
        """Read and decode one sample; None, and it is counted, where that is not possible."""
        shard, i = self.order.locate(number)
        starts = self._index(shard)
        if not len(starts):
            return None
        name = f"sample {i}"
        try:
            data = _read_bytes(self._paths[shard], int(starts[i]) * _BLOCK, int(starts[i + 1]) * _BLOCK)
            members = dict(_members(data))
            name = next(iter(members))
            pixels = decode_pixels(next(data for key, data in members.items() if key.endswith(".jpg")), self.size_px)
            record = json.loads(next(data for key, data in members.items() if key.endswith(".json")))
            return pixels, str(record["image_id"]), str(record["class_key"])
        except OSError as error:
            self._pass_over(f"{self._paths[shard]}::{name}", error.strerror or "unreadable", 1)
        except (ImageError, ValueError, RecursionError) as error:
            self._pass_over(f"{self._paths[shard]}::{name}", str(error), 1)
        except (StopIteration, KeyError, TypeError):
            self._pass_over(f"{self._paths[shard]}::{name}", "no image, or no image_id and class_key", 1)
        return None

    def _index(self, shard: int) -> np.ndarray:
        """Return `_sample_starts` of a shard, empty where it cannot be read."""
        with self._indexing[shard]:  # threads that ask for one shard wait for one index
            if self._starts[shard] is None:
                try:
                    self._starts[shard] = _sample_starts(self._paths[shard], int(self.order.sizes[shard]))
                except (OSError, ValueError) as error:
                    self._pass_over_shard(shard, getattr(error, "strerror", None) or str(error))
            return self._starts[shard]

    def _pass_over_shard(self, shard: int, reason: str) -> None:
        self._starts[shard] = np.zeros(0, np.uint32)
        self._pass_over(str(self._paths[shard]), reason, int(self.order.sizes[shard]))

    def _pass_over(self, location: str, reason: str, n_samples: int) -> None:
        """Count what cannot be read; stop where it is too much."""
        with self._counting:
            if location not in self.unreadable:
                self.unreadable[location] = reason
                self.n_unreadable += n_samples
        if self.n_unreadable > MAX_UNREADABLE * self.order.n:
            raise InputError(
                f"{self.n_unreadable} of {self.order.n} samples cannot be read (limit {MAX_UNREADABLE:.0%}): "
                f"{self.examples()}; {self.remedy}"
            )

    def examples(self) -> str:
        """Name up to ten of the samples and shards that were passed over, each with the reason."""
        with self._counting:
            found = [f"{location} ({reason})" for location, reason in self.unreadable.items()]
        return "; ".join(found[:10]) + (f"; and {len(found) - 10} more" if len(found) > 10 else "")


def _joined(chunks: Iterator[Batch]) -> Batch:
    """Join the chunks of a batch."""
    images, image_ids, class_keys, numbers = zip(*chunks, strict=True)
    return Batch(np.concatenate(images), list(chain(*image_ids)), list(chain(*class_keys)), np.concatenate(numbers))


def decode_pixels(data: bytes, size_px: int) -> np.ndarray:
    """Decode one image: uint8 (size_px, size_px, 3). A large JPEG is decoded at a fraction of its size."""
    image = to_rgb(identify(data), short_side_px=ceil(_OVERSIZE * size_px))
    return np.asarray(resize_and_crop(image, size_px))


def _size_problem(path: Path, n_bytes: int) -> str:
    """Return why a tar cannot be the one that the index lists, '' where it can."""
    try:
        found = path.stat().st_size
    except OSError as error:
        return error.strerror or "unreadable"
    return "" if found == n_bytes else f"{found} bytes, {n_bytes} listed"


def _sample_starts(path: Path, n_samples: int) -> np.ndarray:
    """Read the headers of a tar: the block at which each sample begins, and the last ends, uint32 (n_samples + 1,)."""
    starts, key, offset = [], None, 0
    with path.open("rb", buffering=2**20) as file:
        n_bytes = os.fstat(file.fileno()).st_size
        while (member := _header(file.read(_BLOCK))) is not None:
            name, size = member
            stem = name.partition(".")[0]
            if stem != key:
                starts.append(offset // _BLOCK)
                key = stem
            offset += _BLOCK + size + -size % _BLOCK
            if offset > n_bytes or offset - starts[-1] * _BLOCK > MAX_BYTES:
                raise ValueError("damaged tar: a member larger than can be")
            file.seek(offset)
    if len(starts) != n_samples:
        raise ValueError(f"damaged tar: {len(starts)} samples, {n_samples} listed")
    return np.array([*starts, offset // _BLOCK], np.uint32)


def _header(block: bytes) -> tuple[str, int] | None:
    """Return name and size of a tar member; None at the end of the tar, `ValueError` for anything else."""
    if block == bytes(_BLOCK):
        return None
    if len(block) < _BLOCK or block[257:262] != b"ustar" or block[156:157] not in (b"0", b"\0"):
        raise ValueError("damaged tar: no header of a plain file where one is due")
    digits = block[124:135]
    if not digits.isdigit():
        raise ValueError("damaged tar: a size that is no number")
    return block[:100].rstrip(b"\0").decode("ascii"), int(digits, 8)


def _read_bytes(path: Path, start: int, stop: int) -> bytes:
    """Read a part of a file."""
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        data = file.read(stop - start)
    if len(data) < stop - start:
        raise ValueError("truncated")
    return data


def _members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the members of one sample."""
    offset = 0
    while offset < len(data):
        name, size = _header(data[offset : offset + _BLOCK]) or ("", 0)
        yield name, data[offset + _BLOCK : offset + _BLOCK + size]
        offset += _BLOCK + size + -size % _BLOCK
