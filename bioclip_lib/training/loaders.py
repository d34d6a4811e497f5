"""Where the images of a training step come from: memory, or shards that are read while earlier steps compute.

Takes the number of a step; returns which samples its batch has, their classes, and the inputs of this process's rows.
Refuses shards of classes that the catalog lacks. Which samples a step sees depends on (data, seed, batch size, step)
alone, whatever number of processes share it.
"""

import functools
import hashlib
import math
import warnings
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ..config import TrainConfig
from ..errors import InputError
from ..model.text import tokenize
from ..shards.read import read_index
from ..shards.replay import ReplayPairs, ReplayStream
from ..shards.stream import Batch, ShardStream
from .distributed import gather_rows, own_rows, world


class Drawn(NamedTuple):
    """The B pairs of a step, of all processes, before captions are chosen."""

    index: torch.Tensor  # (B,), int64: rows of the set in memory, or numbers of streamed samples
    labels: torch.Tensor  # (B,), int64: their classes; -1 for pairs of another collection
    inputs: torch.Tensor  # (b, H, W, 3), uint8, or (b, F), float32: those of this process
    first: int = 0  # the place in the batch of the first of `inputs`
    n_unreadable: int = 0  # samples that cannot be read, for which others stand in
    texts: torch.Tensor | None = None  # (r, L), int64: tokens of the texts of pairs of another collection, in order


class ShardImages:
    """Images that stay in the shards of a split until a step needs them: what `TrainData.inputs` holds then.

    `classes` has the class of each class key. `shape`, `dtype` and `ndim` are those of the array that they would be.
    """

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, folder: str | Path, split: str, size_px: int, classes: Mapping[str, int]) -> None:
        self.folder, self.split, self.size_px, self.classes = Path(folder), split, size_px, classes
        index = read_index(folder)
        self._index = index[index["split"] == split]
        self.shape = (int(self._index["n_samples"].sum()), size_px, size_px, 3)

    def __len__(self) -> int:
        return self.shape[0]

    def digest(self) -> str:
        """Return the SHA-256 of the index (which has those of the tars) and the classes; no image is read."""
        content = (self._index.to_numpy().tolist(), sorted(self.classes.items()), self.shape)
        return hashlib.sha256(repr(content).encode()).hexdigest()


class MemoryLoader:
    """The batches of inputs and labels in memory: each epoch is a new permutation."""

    def __init__(self, inputs: torch.Tensor, labels: torch.Tensor, batch_size: int, seed: int) -> None:
        self.inputs, self.labels, self.batch_size, self.seed = inputs, labels, batch_size, seed

    def draw(self, step: int) -> Drawn:
        """Return the batch of a step, with this process's inputs."""
        index = batch_indices(len(self.labels), self.batch_size, step, self.seed)
        rows = own_rows(len(index))
        return Drawn(index, self.labels[index], self.inputs[index[rows]], rows.start)

    def names(self, index: torch.Tensor) -> dict:
        """Return what a user finds samples by: a column of a table."""
        return {"row": index.numpy()}

    def close(self) -> None:
        """Nothing is open."""


class Reader:
    """The batches of a stream by their steps, decoded by a number of threads some steps ahead."""

    def __init__(self, stream: ShardStream, workers: int) -> None:
        self.stream, self.workers = stream, workers
        self._batches: Generator[Batch] | None = None
        self._next = -1  # the step of the next of them

    def read(self, step: int) -> Batch:
        """Return this process's slice of a step's batch; go on in order, or start at any step."""
        if step != self._next:
            self._stop()
            self._batches = self.stream.batches(step, self.workers)
        batch = next(self._batches)
        self._next = step + 1
        return batch

    def close(self, what: str) -> None:
        """Stop reading ahead; warn of what this process could not read."""
        self._stop()
        if self.stream.unreadable:
            warnings.warn(
                f"{self.stream.n_unreadable} of {self.stream.order.n} {what} cannot be read; others stood in for them: "
                f"{self.stream.examples()}",
                stacklevel=3,
            )

    def _stop(self) -> None:
        if self._batches is not None:
            self._batches.close()


class ShardLoader:
    """The batches of images in shards; over `device` processes tell each other their labels."""

    def __init__(self, images: ShardImages, batch_size: int, seed: int, workers: int, device: torch.device) -> None:
        self.images, self.device = images, device
        batch_size = min(batch_size, len(images))
        self.stream = ShardStream(images.folder, images.split, batch_size, images.size_px, seed, *world())
        self.reader = Reader(self.stream, workers)

    def draw(self, step: int) -> Drawn:
        """Return the batch of a step, with this process's inputs; go on in order, or start at any step."""
        batch = self.reader.read(step)
        own = torch.tensor(np.stack([batch.numbers, self._labels(batch.class_keys)], axis=1))  # (b, 2)
        rows = own_rows(self.stream.batch_size)
        index, labels = gather_rows(own.to(self.device), rows, self.stream.batch_size).cpu().T.contiguous()
        n_unreadable = int((index.numpy() != self.stream.numbers(step)).sum())
        return Drawn(index, labels, torch.from_numpy(batch.images), rows.start, n_unreadable)

    def _labels(self, class_keys: list[str]) -> list[int]:
        try:
            return [self.images.classes[key] for key in class_keys]
        except KeyError as error:
            raise InputError(
                f"{self.images.folder} holds class {error.args[0]!r}, which the catalog lacks; rerun "
                "01_dataset_construction"
            ) from None

    def names(self, index: torch.Tensor) -> dict:
        """Return what a user finds samples by: a column of a table. Their shards are read for it."""
        return {"image_id": self.stream.image_ids(index.tolist())}

    def close(self) -> None:
        """Stop reading ahead; warn of what could not be read."""
        self.reader.close("training images")


class ReplayLoader:
    """The batches of another loader, with pairs of another collection, and their texts, spread evenly over each."""

    def __init__(
        self,
        loader: MemoryLoader | ShardLoader,
        pairs: ReplayPairs,
        cfg: TrainConfig,
        context_length: int,
        device: torch.device,
    ) -> None:
        self.loader, self.context_length, self.device = loader, context_length, device
        self.reader = Reader(ReplayStream(pairs, cfg.seed, *world()), cfg.decode_workers)

    def draw(self, step: int) -> Drawn:
        """Return the batch of a step, with this process's inputs and all texts."""
        drawn, batch, stream = self.loader.draw(step), self.reader.read(step), self.reader.stream
        n, n_more = len(drawn.index), stream.batch_size
        tokens = tokenize(batch.class_keys, self.context_length)
        own = torch.cat([torch.from_numpy(batch.numbers)[:, None], tokens], dim=1)  # (b, 1 + L)
        found = gather_rows(own.to(self.device), own_rows(n_more), n_more).cpu()
        numbers, texts = found[:, 0], found[:, 1:]
        parts = math.gcd(n, n_more)  # equal for all numbers of processes, which take whole parts
        spread = lambda a, b, k: torch.cat([a.unflatten(0, (k, -1)), b.unflatten(0, (k, -1))], 1).flatten(0, 1)  # noqa: E731
        return Drawn(
            spread(drawn.index, -1 - numbers, parts),
            spread(drawn.labels, torch.full_like(numbers, -1), parts),
            spread(drawn.inputs, torch.from_numpy(batch.images), parts // world().size),
            own_rows(n + n_more).start,
            drawn.n_unreadable + int((numbers.numpy() != stream.numbers(step)).sum()),
            texts,
        )

    def names(self, index: torch.Tensor) -> dict:
        """Return what a user finds pairs by: a column of a table."""
        replayed = (index < 0).numpy()
        ((column, known),) = self.loader.names(index[index >= 0]).items()
        found = np.empty(len(index), dtype=object)
        found[~replayed] = known
        found[replayed] = self.reader.stream.image_ids((-1 - index[index < 0]).tolist())
        return {column: found}

    def close(self) -> None:
        """Stop reading ahead; warn of what could not be read."""
        self.loader.close()
        self.reader.close("pairs to replay")


def batch_indices(n: int, batch_size: int, step: int, seed: int) -> torch.Tensor:
    """Return the rows of a step's batch: each epoch is a new permutation, in which every row comes at most once.

    The last, partial batch of an epoch is dropped; a set smaller than a batch is one batch.
    """
    size = min(n, batch_size)
    epoch, position = divmod(step, n // size)
    return _epoch_order(n, seed, epoch)[position * size : (position + 1) * size]


@functools.lru_cache(maxsize=1)
def _epoch_order(n: int, seed: int, epoch: int) -> torch.Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed * 1_000_003 + 500_009 + epoch))
