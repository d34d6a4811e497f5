"""The search among hashes, against comparing every pair."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_lib.catalog import looks
from bioclip_lib.catalog.looks import RADIUS, near_groups, near_matches


def apart(hashes: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.array([[bin(int(a) ^ int(b)).count("1") for b in others] for a in hashes]).reshape(
        len(hashes), len(others)
    )


def related_hashes(seed: int, n: int) -> np.ndarray:
    """Random hashes, some equal, some a few bits from another, some in one crowded corner."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, n, dtype=np.uint64)
    hashes[rng.random(n) < 0.3] &= np.uint64(0xFF)
    for i in np.flatnonzero(rng.random(n) < 0.5):
        bits = rng.choice(64, rng.integers(0, RADIUS + 3), replace=False)
        hashes[i] = hashes[rng.integers(n)] ^ np.bitwise_or.reduce(np.uint64(1) << bits.astype(np.uint64), initial=0)
    return hashes


searches = given(st.integers(0, 2**32), st.integers(0, 40), st.sampled_from([1, 7, 2**21]))


@settings(max_examples=60, deadline=None)
@searches
def test_groups_are_the_chains_of_comparing_all(seed, n, chunk):
    hashes = related_hashes(seed, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(looks, "_CHUNK", chunk)
        groups = near_groups(hashes)
    reached = apart(hashes, hashes) <= RADIUS
    for _ in range(n):
        reached = reached @ reached
    assert np.array_equal(groups[:, None] == groups[None], reached)
    order = np.random.default_rng(seed).permutation(n)
    np.testing.assert_array_equal(near_groups(hashes[order]), groups[order])


@settings(max_examples=60, deadline=None)
@searches
def test_matches_are_the_nearest_of_comparing_all(seed, n, chunk):
    hashes, others = np.split(related_hashes(seed, n), [n // 3])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(looks, "_CHUNK", chunk)
        matches, distances = near_matches(hashes, others)
    for row, match, distance in zip(apart(hashes, others), matches, distances, strict=True):
        nearest = row.min(initial=65)
        assert (match, distance) == ((row.argmin(), nearest) if nearest <= RADIUS else (-1, -1))


def test_no_pair_at_the_radius_is_missed_with_many_hashes():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 20_000, dtype=np.uint64)
    flips = [sum(1 << int(bit) for bit in rng.choice(64, RADIUS, replace=False)) for _ in hashes]
    matches, distances = near_matches(hashes, hashes ^ np.array(flips, dtype=np.uint64))
    assert set(distances) == {RADIUS} and np.array_equal(matches, np.arange(len(hashes)))


def test_bands_hold_all_bits_once():
    assert sum(map(int, looks._BANDS)) == 2**64 - 1 and len(looks._BANDS) == RADIUS + 1


def test_equal_hashes_do_not_make_quadratic_work():
    n = 200_000
    hashes = np.full(n, 5, dtype=np.uint64)
    hashes[::2] = 4
    tracemalloc.start()
    matches, _ = near_matches(hashes, hashes)
    groups = near_groups(hashes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert set(groups) == {0} and set(matches) == {0, 1}
    assert peak < 500 * n + 2**29  # bytes; all pairs would take 3 * 10**11


def test_a_crowd_of_distinct_neighbours_is_merged_in_linear_memory(monkeypatch):
    monkeypatch.setattr(looks, "_CHUNK", 2**12)
    hashes = np.arange(2**14, dtype=np.uint64)  # 860,160 pairs within 2 bits, 60 MiB if they were kept
    tracemalloc.start()
    groups = near_groups(hashes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert set(groups) == {0}
    assert peak < 2**23


def test_wrong_hashes_are_refused():
    hashes = np.arange(3, dtype=np.uint64)
    with pytest.raises(ValueError, match="give uint64"):
        near_groups(hashes.astype(np.int64))
    with pytest.raises(ValueError, match="give uint64"):
        near_matches(hashes, hashes[None])
