"""Training samples streamed from shards, for sets that do not fit in memory.

Takes a folder of shards; returns batches of pixels with image ids and class keys, each a function of (index, seed,
batch size, step) alone, whatever came before. Stops where too many samples cannot be read.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..files.images import ImageError
from .read import RERUN, SplitImages, decode_jpeg

MAX_UNREADABLE = 0.01  # of the samples of the split; more stops the stream
WINDOW_SHARDS = 32  # shuffled together: 64,000 samples of the default shards, some hundred megabytes
_TRIES = 64  # samples drawn instead of an unreadable one
_CHUNK = 32  # samples a thread decodes at a time


class SampleOrder:
    """An endless sequence of epochs, each a permutation of the samples of shards of these sizes, numbered through.

    Shards are permuted, and within each window of them their samples: a read is random among some shards, not among
    all, which a disk or a network file system can serve from its cache. NumPy never changes the bits of PCG64.
    """

    def __init__(self, sizes: Sequence[int], seed: int, window_shards: int = WINDOW_SHARDS) -> None:
        self.sizes, self.seed, self.window_shards = np.asarray(sizes, np.int64), seed, window_shards
        self.first = np.concatenate([[0], np.cumsum(self.sizes)])  # number of each shard's first sample
        self.n = int(self.first[-1])
        self._kept: tuple[tuple[int, int], np.ndarray] = ((-1, -1), np.zeros(0, np.int64))

    def numbers(self, start: int, stop: int) -> np.ndarray:
        """Return the samples at the places `start` to `stop` of the sequence, int64."""
        parts = [np.zeros(0, np.int64)]
        while start < stop:
            window, place = self._window(start)
            parts.append(window[place : place + stop - start])
            start += len(parts[-1])
        return np.concatenate(parts)

    def others(self, place: int) -> Iterator[int]:
        """Yield samples to take instead of one at `place` that cannot be read: drawn from its window."""
        window, _ = self._window(place)
        for draw in self._bits(*divmod(place, self.n), purpose=2).random_raw(_TRIES):
            yield int(window[int(draw) % len(window)])

    def locate(self, number: int) -> tuple[int, int]:
        """Return the shard of a sample, and its position in there."""
        shard = int(np.searchsorted(self.first, number, side="right")) - 1
        return shard, int(number - self.first[shard])

    def _window(self, place: int) -> tuple[np.ndarray, int]:
        """Return the samples of the window around a place of the sequence, in their order, and the place in there."""
        epoch, place = divmod(place, self.n)
        shards = np.argsort(self._bits(epoch, 0, purpose=0).random_raw(len(self.sizes)), kind="stable")
        ends = np.cumsum(self.sizes[shards])[self.window_shards - 1 :: self.window_shards]
        i = int(np.searchsorted(ends, place, side="right"))
        key, window = self._kept
        if key != (epoch, i):
            members = shards[i * self.window_shards : (i + 1) * self.window_shards]
            numbers = np.concatenate([np.arange(self.first[s], self.first[s + 1]) for s in members])
            window = numbers[np.argsort(self._bits(epoch, i, purpose=1).random_raw(len(numbers)), kind="stable")]
            self._kept = (epoch, i), window
        return window, place - (int(ends[i - 1]) if i else 0)

    def _bits(self, epoch: int, i: int, purpose: int) -> np.random.PCG64:
        return np.random.PCG64(np.random.SeedSequence([self.seed, epoch, purpose, i]))


class Batch(NamedTuple):
    """What one process sees of a batch, a row an image."""

    images: np.ndarray  # uint8 (B, size_px, size_px, 3)
    image_ids: list[str]
    class_keys: list[str]
    numbers: np.ndarray  # of `SampleStream.numbers`, or of the readable sample that stands in for it


class SampleStream:
    """The batches of one process, decoded as they are needed; of `place` = (rank, world_size) its equal slice of each.

    An epoch has each sample once. Where the batch size does not divide it, a batch holds the end of one epoch and the
    beginning of the next. In place of a sample that cannot be read (``unreadable``: where, and why) another of its
    window is taken, the same one in every run.
    """

    remedy = RERUN

    def __init__(
        self, sizes: Sequence[int], source: str, batch_size: int, size_px: int, seed: int, place: tuple[int, int]
    ) -> None:
        rank, world_size = place
        if not 0 <= rank < world_size or batch_size < 1 or batch_size % world_size or size_px < 1 or seed < 0:
            raise InputError(
                f"batch_size={batch_size}, size_px={size_px}, seed={seed}, rank={rank} and world_size={world_size} "
                "do not fit; batch_size is a multiple of world_size, rank less than it, the seed not negative"
            )
        self.order = SampleOrder(sizes, seed)
        if self.order.n < world_size:
            raise InputError(f"{self.order.n} samples of {source} for {world_size} processes; {self.remedy}")
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
        """Yield what `batch` returns from a step on, without end; `workers` threads decode `ahead` batches before."""
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

    def _read(self, number: int) -> tuple[np.ndarray, str, str] | None:
        """Return pixels, id and class of a sample; None, and `_pass_over` is called, where it cannot be read."""
        raise NotImplementedError

    def image_ids(self, numbers: Iterable[int]) -> list[str]:
        """Return the ids of samples; '' where one has to be read for it and cannot."""
        samples = (self._read(int(number)) for number in numbers)
        return [sample[1] if sample else "" for sample in samples]

    def _pass_over(self, location: str, reason: str, n_samples: int = 1) -> None:
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


class ShardStream(SampleStream):
    """The batches of a split of a shards folder; of all tars the size is compared with the index, of images the CRC."""

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
        self.images = SplitImages(folder, split)
        sizes = self.images.tars["n_samples"].tolist()
        super().__init__(sizes, f"split {split!r} in {folder}", batch_size, size_px, seed, (rank, world_size))
        for tar, reason in self.images.damaged.items():
            self._pass_over(self.images.paths[tar], reason, sizes[tar])

    def _read(self, number: int) -> tuple[np.ndarray, str, str] | None:
        """Read and decode one image; None, and it is counted, where that is not possible."""
        if self.images.damaged and self.order.locate(number)[0] in self.images.damaged:
            return None
        try:
            pixels = decode_jpeg(self.images.read(number), self.size_px)
        except ImageError as error:
            self._pass_over(self.images.location(number), str(error))
            return None
        return pixels, self.images.image_id(number), self.images.class_key(number)

    def image_ids(self, numbers: Iterable[int]) -> list[str]:
        """Return the ids of samples; nothing is read."""
        return [self.images.image_id(int(number)) for number in numbers]
