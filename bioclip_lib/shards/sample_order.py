"""The order of samples that are streamed from shards: a new permutation an epoch, computed where it is needed.

Takes the sizes of the shards and a seed; returns which sample comes at a place of the sequence.
"""

from collections.abc import Iterator, Sequence

import numpy as np

WINDOW_SHARDS = 32  # shuffled together: 64,000 samples of the default shards, some hundred megabytes
_TRIES = 64  # samples drawn instead of an unreadable one


class SampleOrder:
    """An endless sequence of epochs, each a permutation of the same samples; nothing of the past is needed.

    Parameters
    ----------
    sizes : sequence of int
        Samples of each shard. They are numbered through, shard by shard.
    seed : int
    window_shards : int
        How many shards are shuffled together.

    Notes
    -----
    Shards are permuted, and within each window of `window_shards` of them their samples: a read is random among some
    shards, not among all, which a disk or a network file system can serve from its cache. A window of numbers is all
    that is held. The random bits are those of PCG64, which NumPy does not change from version to version.

    Examples
    --------
    >>> order = SampleOrder([3, 2, 4], seed=0, window_shards=2)
    >>> sorted(order.numbers(0, 9).tolist()) == sorted(order.numbers(9, 18).tolist()) == list(range(9))
    True
    >>> order.numbers(7, 12).tolist() == order.numbers(0, 18)[7:12].tolist()
    True
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
