"""Decoding: what is refused, for which reason, and what becomes of every odd mode."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from bioclip_lib import images
from bioclip_lib.images import ImageError, identify, map_threads, open_image, to_rgb, upright_size

GRADIENT = np.linspace(0, 255, 64 * 48 * 3).reshape(48, 64, 3).astype(np.uint8)
FORMATS = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("PNG", {}),
    ("GIF", {}),
    ("BMP", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("WEBP", {}),
]


def encoded(image: Image.Image, format: str, **save) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **save)
    return buffer.getvalue()


@pytest.mark.parametrize(("format", "save"), FORMATS)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_each_format_is_read_and_its_truncation_found(format, save):
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), format, **save)
    image = to_rgb(identify(data))
    assert (image.mode, image.size) == ("RGB", (64, 48))
    for share in (0.02, 0.3, 0.6, 0.95):
        with pytest.raises(ImageError, match="truncated"):
            to_rgb(identify(data[: int(share * len(data))]), short_side_px=1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "zero bytes"), (b"hello", "not an image"), (b"<html>404</html>", "not an image"), (None, "file not found")],
)
def test_files_that_are_no_images(tmp_path, content, reason):
    path = tmp_path / "a.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=f"^{reason}$"):
        open_image(path)


def test_formats_outside_the_list_are_not_decoded():
    with pytest.raises(ImageError, match="not an image"):
        identify(encoded(Image.fromarray(GRADIENT), "PPM"))
    with pytest.raises(ImageError, match="not an image"):
        identify(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")


def test_pipes_and_folders_are_refused_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", tmp_path):
        with pytest.raises(ImageError, match="not a regular file"):
            open_image(path)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("side", "reason"), [(13_000, "13000 x 13000"), (60_000, "decompression bomb")])
def test_decompression_bombs_are_refused_before_decoding(side, reason):
    header = encoded(Image.new("1", (8, 8)), "BMP")
    bomb = header[:18] + side.to_bytes(4, "little") * 2 + header[26:]
    with pytest.raises(ImageError, match=f"too large.*{reason}"):
        identify(bomb)


def test_a_file_over_the_limit_is_not_read(tmp_path):
    with (tmp_path / "slide.tif").open("wb") as file:
        file.truncate(images.MAX_BYTES + 1)  # sparse
    with pytest.raises(ImageError, match=r"file of 1\.0 GiB"):
        open_image(tmp_path / "slide.tif")


@pytest.mark.parametrize("value", range(1, 9))
def test_exif_orientation_is_applied_once(tmp_path, value):
    upright = Image.fromarray(GRADIENT)
    undo = {v: k for k, v in {5: 5, 6: 8, 7: 7, 8: 6}.items()} | {1: 1, 2: 2, 3: 3, 4: 4}
    stored = upright if value == 1 else upright.transpose(images._UPRIGHT[undo[value]])
    exif = Image.Exif()
    exif[0x0112] = value
    stored.save(tmp_path / "a.png", exif=exif)
    image = open_image(tmp_path / "a.png")
    assert np.array_equal(np.asarray(image), GRADIENT)
    assert upright_size(Image.open(tmp_path / "a.png")) == (64, 48)
    assert image.getexif().get(0x0112, 1) == 1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_broken_exif_block_does_not_cost_the_image(tmp_path):
    Image.fromarray(GRADIENT).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert open_image(tmp_path / "a.jpg").size == (64, 48)


def test_transparency_is_laid_on_white():
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[:2] = (255, 0, 0, 255)
    for image in (Image.fromarray(rgba), Image.fromarray(rgba).quantize(4)):
        pixels = np.asarray(to_rgb(identify(encoded(image, "PNG"))))
        assert pixels[0, 0].tolist() == [255, 0, 0] and pixels[3, 3].tolist() == [255, 255, 255]


@pytest.mark.parametrize(("maximum", "bits"), [(255, 8), (1023, 10), (4095, 12), (65535, 16)])
def test_deep_grey_images_keep_their_contrast(maximum, bits):
    values = np.array([[0, maximum // 2, maximum]], np.uint16)
    pixels = np.asarray(to_rgb(identify(encoded(Image.fromarray(values), "PNG"))))
    assert pixels.shape == (1, 3, 3)
    assert pixels[0, :, 0].tolist() == [0, round(255 * (maximum // 2) / (2**bits - 1)), 255]


def test_float_images_up_to_one_are_fractions():
    values = np.array([[0.0, 0.5, 1.0, np.nan, -3.0]], np.float32)
    pixels = np.asarray(to_rgb(identify(encoded(Image.fromarray(values), "TIFF"))))
    assert pixels[0, :, 1].tolist() == [0, 128, 255, 0, 0]


@pytest.mark.parametrize(
    ("mode", "format"), [("CMYK", "JPEG"), ("L", "JPEG"), ("P", "GIF"), ("1", "PNG"), ("LA", "PNG")]
)
def test_other_modes_become_rgb_of_about_the_same_colour(mode, format):
    colour = Image.new("RGB", (16, 16), (90, 90, 90) if mode != "1" else (255, 255, 255))
    image = to_rgb(identify(encoded(colour.quantize(4) if mode == "P" else colour.convert(mode), format)))
    assert image.mode == "RGB"
    # 3 grey levels: JPEG's rounding
    assert np.abs(np.asarray(image).astype(int) - np.asarray(colour).astype(int)).max() <= 3


def test_a_multi_picture_jpeg_of_a_phone_is_its_first_picture():
    pictures = [Image.new("RGB", (16, 16), colour) for colour in ("white", "black")]
    data = encoded(pictures[0], "MPO", save_all=True, append_images=pictures[1:])
    assert to_rgb(identify(data)).getpixel((3, 3)) == (255, 255, 255)


def test_an_animation_is_its_first_frame():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert to_rgb(identify(data)).getpixel((3, 3)) == (255, 0, 0)


def test_a_reduced_decode_never_falls_below_the_size_asked_for():
    data = encoded(Image.fromarray(GRADIENT).resize((640, 480)), "JPEG")
    for short_side_px, expected in ((480, 480), (241, 480), (240, 240), (100, 120), (1, 60)):
        assert min(to_rgb(identify(data), short_side_px).size) == expected


def test_threads_keep_order_and_pass_errors_on():
    assert list(map_threads(lambda x: x * x, range(1000), workers=3, ahead=7)) == [x * x for x in range(1000)]
    with pytest.raises(ZeroDivisionError):
        list(map_threads(lambda x: 1 / x, [2, 1, 0]))


def test_threads_do_not_run_ahead_of_the_reader():
    taken = []
    results = map_threads(abs, (taken.append(i) or i for i in range(100)), ahead=10)
    next(results)
    assert len(taken) == 10
