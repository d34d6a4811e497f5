"""Perceptual hashes against a plain DCT, and the Hamming search against comparing every pair."""

import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.fft import dctn

from bioclip_lib import perceptual
from bioclip_lib.errors import InputError
from bioclip_lib.images import open_image
from bioclip_lib.perceptual import (
    FLAT,
    MAX_RADIUS,
    from_hex,
    near_groups,
    near_matches,
    near_pairs,
    perceptual_hashes,
    to_hex,
)


def natural_images(n: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth random grey images (n, height, width)."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (n, 12, 12), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(x).resize((width, height), Image.Resampling.BICUBIC)) for x in small])


def plain_hash(image: np.ndarray) -> int:
    """Hash one grey image by loops: the definition."""
    height, width = image.shape
    square = np.repeat(np.repeat(image.astype(float), 32, axis=0), 32, axis=1)  # each cell is now whole pixels
    square = square.reshape(32, height, 32, width).mean(axis=(1, 3))
    block = dctn(square, norm="ortho")[:8, :8].ravel().round(6)  # an image of one row has 56 zeros
    median = np.median(block[1:])
    return sum(1 << (63 - k) for k in range(1, 64) if block[k] > median)


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


@pytest.mark.parametrize("size", [(64, 96), (32, 32), (37, 50), (20, 11), (1, 7)])
def test_hashes_are_those_of_the_definition(size):
    images = np.concatenate([natural_images(4, *size), np.random.default_rng(1).integers(0, 256, (2, *size), np.uint8)])
    assert [int(h) for h in perceptual_hashes(images)] == [plain_hash(image) for image in images]


def test_the_number_of_images_and_of_rows_at_once_changes_nothing(monkeypatch):
    images = natural_images(7, 40, 30)
    expected = perceptual_hashes(images)
    for chunk in (1, 100, 3000):
        monkeypatch.setattr(perceptual, "_CHUNK", chunk)
        np.testing.assert_array_equal(perceptual_hashes(images), expected)


def test_distinct_images_have_31_bits_of_63_and_lie_far_apart():
    hashes = perceptual_hashes(natural_images(50, 100, 80))
    assert set(np.bitwise_count(hashes)) == {31} and (hashes < 2**63).all()
    distances = apart(hashes, hashes)[np.triu_indices(50, 1)]
    assert distances.min() > 10 and abs(distances.mean() - 32) < 2  # 2 * 31 * 32 / 63 = 31.5 for bits at random


def test_brightness_and_contrast_do_not_matter():
    images = natural_images(20, 60, 60) // 2
    np.testing.assert_array_equal(perceptual_hashes(images + 100), perceptual_hashes(images))
    np.testing.assert_array_equal(perceptual_hashes(images * 2), perceptual_hashes(images))


def test_a_negative_and_a_mirror_image_are_other_images():
    images = natural_images(20, 60, 60)
    for changed in (255 - images, images[:, :, ::-1], images.transpose(0, 2, 1)):
        assert np.bitwise_count(perceptual_hashes(changed) ^ perceptual_hashes(images)).min() > 10


def test_images_without_structure_are_flat_and_those_with_little_are_not():
    rng = np.random.default_rng(0)
    blank = np.stack([np.full((50, 70), value, np.uint8) for value in (0, 128, 255)])
    noise = rng.integers(126, 129, (3, 200, 200), np.uint8)
    assert (perceptual_hashes(blank) == FLAT).all() and (perceptual_hashes(noise) == FLAT).all()
    step = np.full((1, 64, 64), 128, np.uint8)
    step[:, :20, :30] += 10
    assert perceptual_hashes(step)[0] != FLAT


def test_no_images_have_no_hashes_and_other_arrays_are_refused():
    assert perceptual_hashes(np.empty((0, 4, 4), np.uint8)).shape == (0,)
    for wrong in (np.zeros((1, 4, 4)), np.zeros((4, 4), np.uint8), np.zeros((1, 0, 4), np.uint8)):
        with pytest.raises(ValueError, match="give uint8"):
            perceptual_hashes(wrong)


@pytest.mark.parametrize("name", ["birds100", "leaves40", "pollen73"])
def test_copies_are_near_and_other_photographs_are_not(photos, name):
    paths = sorted((photos / name).glob("*/*.jpg"))[::25]
    originals, copies = [], {"saved again": [], "half": [], "0.7": [], "twice": []}
    for path in paths:
        image = open_image(path)
        originals.append(image)
        copies["saved again"].append(resaved(image, image.size, 40))
        for what, scale in (("half", 0.5), ("0.7", 0.7), ("twice", 2)):
            copies[what].append(resaved(image, tuple(round(scale * side) for side in image.size), 85))
    hashes = hash_all(originals)
    for what, images in copies.items():
        near = np.bitwise_count(hash_all(images) ^ hashes) <= perceptual.RADIUS
        assert near.mean() >= 0.9, what  # 0.94 and more on all photographs
    distances = apart(hashes, hashes)[np.triu_indices(len(hashes), 1)]
    assert (distances <= perceptual.RADIUS).mean() < 0.001


def resaved(image: Image.Image, size: tuple[int, int], quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def hash_all(images: list[Image.Image]) -> np.ndarray:
    return np.concatenate([perceptual_hashes(np.asarray(image.convert("L"))[None]) for image in images])


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_hexadecimal_digits_are_read_as_written(values):
    hashes = np.array(values, dtype=np.uint64)
    digits = to_hex(hashes)
    assert all(len(text) == 16 and int(text, 16) == value for text, value in zip(digits, values, strict=True))
    np.testing.assert_array_equal(from_hex(digits), hashes)


@pytest.mark.parametrize("digits", [[""], ["12"], ["0" * 15 + "g"], ["0" * 15, "0" * 17], ["0" * 7 + " " + "0" * 8]])
def test_other_digits_are_refused(digits):
    with pytest.raises(InputError, match="inspect the images again"):
        from_hex(digits)


searches = given(st.integers(0, 2**32), st.integers(0, 40), st.integers(0, MAX_RADIUS), st.sampled_from([1, 7, 2**21]))


@settings(max_examples=60, deadline=None)
@searches
def test_pairs_are_those_of_comparing_all(seed, n, radius, chunk):
    hashes = related_hashes(seed, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perceptual, "_CHUNK", chunk)
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
        patch.setattr(perceptual, "_CHUNK", chunk)
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
        patch.setattr(perceptual, "_CHUNK", chunk)
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
    bands = perceptual._bands(n, n, radius)
    masks = [perceptual._band_mask(k, len(bands)) for k in range(len(bands))]
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
    monkeypatch.setattr(perceptual, "_CHUNK", 2**12)
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
