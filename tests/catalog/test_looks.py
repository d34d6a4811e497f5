"""Perceptual hashes against a plain DCT, and on copies of photographs."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.fft import dctn

from bioclip_lib.catalog import looks
from bioclip_lib.catalog.duplicates import AGREEMENT, confirmed_groups
from bioclip_lib.catalog.looks import FLAT, RADIUS, from_hex, perceptual_details, perceptual_hashes, to_hex
from bioclip_lib.errors import InputError
from bioclip_lib.files.images import open_image


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


@pytest.mark.parametrize("size", [(64, 96), (32, 32), (37, 50), (20, 11), (1, 7)])
def test_hashes_are_those_of_the_definition(size):
    images = np.concatenate([natural_images(4, *size), np.random.default_rng(1).integers(0, 256, (2, *size), np.uint8)])
    assert [int(h) for h in perceptual_hashes(images)] == [plain_hash(image) for image in images]


def test_the_number_of_images_and_of_rows_at_once_changes_nothing(monkeypatch):
    images = natural_images(7, 40, 30)
    expected = perceptual_hashes(images)
    for chunk in (1, 100, 3000):
        monkeypatch.setattr(looks, "_CHUNK", chunk)
        np.testing.assert_array_equal(perceptual_hashes(images), expected)


@pytest.mark.parametrize("size", [(64, 128), (100, 70), (20, 30)])
def test_details_are_the_frequencies_above_the_hash_and_one_grey_level(size):
    image = natural_images(1, *size)[0]
    square = np.repeat(np.repeat(image.astype(float), 64, axis=0), 64, axis=1)
    square = square.reshape(64, size[0], 64, size[1]).mean(axis=(1, 3))
    coefficients = dctn(square, norm="ortho")[:24, :24]
    coefficients[:8, :8] = np.nan
    expected = np.append(coefficients[~np.isnan(coefficients)], 64)
    details = perceptual_details(image[None])
    assert details.shape == (1, 513) and details.dtype == np.float32
    np.testing.assert_allclose(details[0], expected / np.linalg.norm(expected), atol=1e-6)


def test_smooth_images_agree_and_images_with_other_details_do_not():
    ramps = np.stack([np.tile(np.linspace(0, 90 * k, 64), (64, 1)) for k in (1, 2)]).astype(np.uint8)
    a, b = perceptual_details(ramps)
    assert a @ b > AGREEMENT
    noise = np.random.default_rng(0).integers(0, 256, (2, 64, 64), dtype=np.uint8)
    a, b = perceptual_details(noise)
    assert abs(a @ b) < 0.2


def test_groups_are_split_where_details_differ_and_chains_are_followed(monkeypatch):
    groups = np.array([0, 1, 0, 0, 1, 0, 2])
    hashes = np.array([0, 9, 0, 0, 9, 255, 7], dtype=np.uint64)  # the last of group 0 is 8 bits away
    x, y = np.eye(2, dtype=np.float32)
    between = (x + y) / np.sqrt(np.float32(2))
    details = np.stack([x, x, y, x, x, x, y])
    for chunk in (1, 2**21):
        monkeypatch.setattr("bioclip_lib.catalog.duplicates._CHUNK", chunk)
        labels = confirmed_groups(groups, hashes, details)
        assert labels[0] == labels[3] and labels[1] == labels[4] and len(set(labels)) == 5
        monkeypatch.setattr("bioclip_lib.catalog.duplicates.AGREEMENT", 0.7)
        details[0] = between  # near both, so that 2 and 3 are in one chain
        assert len({*confirmed_groups(groups, hashes, details)[[0, 2, 3]]}) == 1
        monkeypatch.setattr("bioclip_lib.catalog.duplicates.AGREEMENT", AGREEMENT)
        details[0] = x


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
        near = np.bitwise_count(hash_all(images) ^ hashes) <= RADIUS
        assert near.mean() >= 0.9, what  # 0.94 and more on all photographs
    distances = apart(hashes, hashes)[np.triu_indices(len(hashes), 1)]
    assert (distances <= RADIUS).mean() < 0.001


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
