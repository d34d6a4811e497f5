"""The search among hashes, against comparing every pair."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_lib import hamming
from bioclip_lib.errors import InputError
from bioclip_lib.hamming import MAX_RADIUS, near_groups, near_matches, near_pairs


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
        bits = rng.choice(64, rng.integers(0, 13), replace=False)
        hashes[i] = hashes[rng.integers(n)] ^ np.bitwise_or.reduce(np.uint64(1) << bits.astype(np.uint64), initial=0)
    return hashes


searches = given(st.integers(0, 2**32), st.integers(0, 40), st.integers(0, MAX_RADIUS), st.sampled_from([1, 7, 2**21]))


@settings(max_examples=60, deadline=None)
@searches
def test_pairs_are_those_of_comparing_all(seed, n, radius, chunk):
    hashes = related_hashes(seed, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming, "_CHUNK", chunk)
        pairs, distances = near_pairs(hashes, radius)
    all_apart = apart(hashes, hashes)
    first = [int(np.flatnonzero(hashes == h)[0]) for h in hashes]
    expected = [
        (i, j, all_apart[i, j])
        for i in range(n)
        for j in range(i + 1, n)
        if first[i] == i and (first[j] == i or (first[j] == j and all_apart[i, j] <= radius))
    ]
    assert [(*pair, distance) for pair, distance in zip(pairs.tolist(), distances, strict=True)] == expected


@settings(max_examples=60, deadline=None)
@searches
def test_groups_are_the_chains_of_comparing_all(seed, n, radius, chunk):
    hashes = related_hashes(seed, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming, "_CHUNK", chunk)
        groups = near_groups(hashes, radius)
    reached = apart(hashes, hashes) <= radius
    for _ in range(n):
        reached = reached @ reached
    assert np.array_equal(groups[:, None] == groups[None], reached)
    order = np.random.default_rng(seed).permutation(n)
    np.testing.assert_array_equal(near_groups(hashes[order], radius), groups[order])


@settings(max_examples=60, deadline=None)
@searches
def test_matches_are_the_nearest_of_comparing_all(seed, n, radius, chunk):
    hashes, others = np.split(related_hashes(seed, n), [n // 3])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming, "_CHUNK", chunk)
        matches, distances = near_matches(hashes, others, radius)
    for row, match, distance in zip(apart(hashes, others), matches, distances, strict=True):
        nearest = row.min(initial=65)
        assert (match, distance) == ((row.argmin(), nearest) if nearest <= radius else (-1, -1))


@pytest.mark.parametrize("radius", range(MAX_RADIUS + 1))
def test_no_pair_at_the_radius_is_missed_with_many_hashes(radius):
    rng = np.random.default_rng(radius)
    hashes = rng.integers(0, 2**64, 2000, dtype=np.uint64)
    flips = [sum(1 << int(bit) for bit in rng.choice(64, radius, replace=False)) for _ in hashes]
    _, distances = near_matches(hashes, hashes ^ np.array(flips, dtype=np.uint64), radius)
    assert ((distances >= 0) & (distances <= radius)).all()  # at 15 and 16 bits a few are nearer by chance


@pytest.mark.parametrize("n", [10, 10**4, 10**7, 10**9])
@pytest.mark.parametrize("radius", range(MAX_RADIUS + 1))
def test_bands_hold_all_bits_and_promise_the_radius(n, radius):
    bands = hamming._bands(n, n, radius)
    masks = [hamming._band_mask(k, len(bands)) for k in range(len(bands))]
    assert np.bitwise_xor.reduce(masks) == np.uint64(2**64 - 1)
    assert [int(np.bitwise_count(mask)) for mask in masks] == [n_bits for n_bits, _ in bands]
    assert sum(max(allowance, -1) + 1 for _, allowance in bands) == radius + 1


def test_equal_hashes_do_not_make_quadratic_work():
    n = 200_000
    hashes = np.full(n, 5, dtype=np.uint64)
    hashes[::2] = 4
    tracemalloc.start()
    pairs, _ = near_pairs(hashes, 2)
    matches, _ = near_matches(hashes, hashes, 2)
    groups = near_groups(hashes, 2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(pairs) == n - 1 and set(groups) == {0} and set(matches) == {0, 1}
    assert peak < 500 * n + 2**29  # bytes; all pairs would take 3 * 10**11


def test_a_crowd_of_distinct_neighbours_is_merged_in_linear_memory(monkeypatch):
    monkeypatch.setattr(hamming, "_CHUNK", 2**12)
    hashes = np.arange(2**13, dtype=np.uint64)  # within 13 bits of each other: 3 * 10**7 pairs
    tracemalloc.start()
    groups = near_groups(hashes, 4)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert set(groups) == {0}
    assert peak < 2**27  # tables of 2**22 buckets; the 4 * 10**6 pairs as int64 would take 2**26 more


def test_wrong_hashes_and_radii_are_refused():
    hashes = np.arange(3, dtype=np.uint64)
    for radius in (-1, MAX_RADIUS + 1):
        with pytest.raises(InputError, match="set a smaller radius"):
            near_groups(hashes, radius)
    with pytest.raises(ValueError, match="give uint64"):
        near_pairs(hashes.astype(np.int64), 2)
    with pytest.raises(ValueError, match="give uint64"):
        near_matches(hashes, hashes[None], 2)
