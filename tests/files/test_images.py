"""Decoding: what is refused, for which reason, and what becomes of every odd mode."""

import contextlib
import io
import os
import struct
import zlib

import numpy as np
import PIL.features
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bioclip_lib.files import images
from bioclip_lib.files.images import (
    ImageError,
    identify,
    open_image,
    resize_and_crop,
    to_rgb,
    upright_size,
)

import bioclip_lib.model  # isort: skip  # noqa: F401 (before torchvision)
import torchvision  # isort: skip
from bioclip_lib.run.workers import map_threads

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


COLOUR, GREY, WHITE = (200, 100, 50), (90, 90, 90), (255, 255, 255)
PIXEL = {"RGB": COLOUR, "RGBA": (*COLOUR, 255), "L": GREY[:1], "LA": (GREY[0], 0)}


def plain(mode: str = "RGB", colour=None) -> Image.Image:
    return Image.new(mode, (16, 16), PIXEL[mode] if colour is None else colour)


def tiff(values, bits, photometric, compression=1, byte_order="<", side=16, **tags) -> bytes:
    """A TIFF of one strip; `values` of a pixel, repeated; tags by number as ``_322=...``."""
    data = np.tile(values, side * side).tobytes()
    data = zlib.compress(data) if compression == 8 else data
    n = bits.count(bits[0])
    fields = {256: [side], 257: [side], 258: bits, 259: [compression], 262: [photometric], 277: [n], 278: [side]}
    fields |= {273: [0], 279: [len(data)]} | {int(tag[1:]): value for tag, value in tags.items()}
    place = 8 + 2 + 12 * len(fields) + 4
    fields[273 if 324 not in fields else 324] = [place + 2 * n]
    entries = b""
    for tag, value in sorted(fields.items()):
        short = tag == 258 or tag == 530 or tag == 338
        kind, letter = (3, "H") if short else (4, "I")
        raw = struct.pack(f"{byte_order}{len(value)}{letter}", *value)
        raw = raw if len(raw) <= 4 else struct.pack(f"{byte_order}I", place)  # the bits of several channels
        entries += struct.pack(f"{byte_order}HHI", tag, kind, len(value)) + raw.ljust(4, b"\0")
    head = (b"II*\0" if byte_order == "<" else b"MM\0*") + struct.pack(f"{byte_order}IH", 8, len(fields))
    return head + entries + bytes(4) + struct.pack(f"{byte_order}{n}H", *bits) + data


def png(width, height, depth, colour_type, pixels: bytes) -> bytes:
    """A PNG with whatever header, its filtered rows in `pixels`."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def gif(screen: int, frame: int) -> bytes:
    """A GIF whose only frame may be larger than its screen."""
    head = b"GIF89a" + struct.pack("<HHBBB", screen, screen, 0x80, 0, 0) + bytes(6)
    return head + b"," + struct.pack("<HHHHB", 0, 0, frame, frame, 0) + b"\2\2L\1\0;"


def bmp(width: int, height: int) -> bytes:
    header = encoded(Image.new("1", (8, 8)), "BMP")
    return header[:18] + struct.pack("<ii", width, height) + header[26:]


def jpeg_of_size(width: int, height: int) -> bytes:
    """A small JPEG whose header states another size."""
    data = encoded(plain(), "JPEG")
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def turned(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return encoded(Image.new("RGB", (32, 16), COLOUR), "JPEG", exif=exif, quality=95)


def clear(image: Image.Image) -> Image.Image:
    """The same with nothing but transparent pixels."""
    return Image.new("RGBA", image.size, (*COLOUR, 0))


TREATMENTS = {  # name: (file, colour of its middle, or the reason of refusal)
    "CMYK JPEG, Adobe's inverted": (encoded(plain().convert("CMYK"), "JPEG"), COLOUR),
    "CMYK TIFF": (encoded(plain().convert("CMYK"), "TIFF"), COLOUR),
    "YCbCr TIFF, compressed": (tiff(np.array(plain().convert("YCbCr"))[0, 0], [8] * 3, 6, 8, _530=[1, 1]), COLOUR),
    "YCbCr TIFF, uncompressed": (tiff(np.uint8([1, 2, 3]), [8] * 3, 6), r"unreadable \(uncompressed YCbCr TIFF\)"),
    "Lab TIFF": (encoded(plain().convert("LAB"), "TIFF"), COLOUR),
    "JPEG in TIFF": (encoded(plain(), "TIFF", compression="jpeg"), COLOUR),
    "grey JPEG": (encoded(plain("L"), "JPEG"), GREY),
    "1-bit PNG": (encoded(Image.new("1", (16, 16), 1), "PNG"), WHITE),
    "1-bit fax TIFF": (encoded(Image.new("1", (16, 16), 1), "TIFF", compression="group4"), WHITE),
    "palette GIF": (encoded(plain().quantize(4), "GIF"), COLOUR),
    "palette PNG": (encoded(plain().quantize(4), "PNG"), COLOUR),
    "palette PNG, transparent": (encoded(clear(plain()).quantize(4), "PNG"), WHITE),
    "palette PNG, one colour transparent": (encoded(plain().quantize(4), "PNG", transparency=0), WHITE),
    "palette GIF, transparent": (encoded(clear(plain()).quantize(4), "GIF", transparency=0), WHITE),
    "RGB PNG, one colour transparent": (encoded(plain(), "PNG", transparency=COLOUR), WHITE),
    "grey PNG, transparent": (encoded(plain("LA"), "PNG"), WHITE),
    "RGBA PNG, opaque": (encoded(plain("RGBA"), "PNG"), COLOUR),
    "RGBA WebP, transparent": (encoded(clear(plain()), "WEBP", lossless=True), WHITE),
    "TIFF, half transparent": (tiff(np.uint8([*COLOUR, 128]), [8] * 4, 2, _338=[2]), (227, 177, 152)),
    "TIFF, half transparent, premultiplied": (
        tiff(np.uint8([100, 50, 25, 128]), [8] * 4, 2, _338=[1]),
        (227, 177, 152),
    ),
    "TIFF with a channel of unknown use": (tiff(np.uint8([*COLOUR, 0]), [8] * 4, 2, _338=[0]), COLOUR),
    "grey TIFF, zero is white": (tiff(np.uint8([155]), [8], 0), (100, 100, 100)),
    "16-bit grey PNG": (encoded(Image.fromarray(np.full((16, 16), 51_400, np.uint16)), "PNG"), (200, 200, 200)),
    "16-bit grey TIFF, big-endian": (tiff(np.array([51_400], ">u2"), [16], 1, byte_order=">"), (200, 200, 200)),
    "16-bit grey TIFF, zero is white": (tiff(np.array([39_835], "<u2"), [16], 0), (100, 100, 100)),
    "16-bit RGB TIFF": (tiff(np.array(COLOUR, "<u2") * 256, [16] * 3, 2), COLOUR),
    "16-bit RGB PNG": (
        png(16, 16, 16, 2, 16 * (b"\0" + 16 * (np.array(COLOUR) * 256).astype(">u2").tobytes())),
        COLOUR,
    ),
    "16-bit RGBA PNG": (png(16, 16, 16, 6, 16 * (b"\0" + bytes(128))), WHITE),
    "2-bit grey PNG": (png(16, 16, 2, 0, 16 * b"\0\xaa\xaa\xaa\xaa"), (170, 170, 170)),
    "32-bit float TIFF": (encoded(Image.new("F", (16, 16), 0.5), "TIFF"), (128, 128, 128)),
    "turned by EXIF": (turned(6), COLOUR),
    "animated GIF": (encoded(plain(), "GIF", save_all=True, append_images=[plain("L")]), COLOUR),
    "animated WebP": (encoded(plain(), "WEBP", save_all=True, append_images=[plain("L")], lossless=True), COLOUR),
    "animated PNG": (encoded(plain(), "PNG", save_all=True, append_images=[plain("L")]), COLOUR),
    "TIFF of pages": (encoded(plain(), "TIFF", save_all=True, append_images=[plain("L")]), COLOUR),
    "multi-picture JPEG of a phone": (encoded(plain(), "MPO", save_all=True, append_images=[plain("L")]), COLOUR),
    "TIFF of five inks": (tiff(np.uint8([0] * 5), [8] * 5, 5), "truncated or corrupt"),
    "PNG cut short": (encoded(Image.effect_noise((64, 64), 50), "PNG")[:2000], "truncated"),
    "long side, PNG": (png(40_001, 300, 8, 2, b""), r"too large \(40001 x 300 pixels\)"),
    "long side, TIFF": (tiff(np.uint8([0]), [8], 1, _256=[40_001], _257=[300]), r"too large \(40001 x 300 pixels\)"),
    "long side, JPEG": (jpeg_of_size(300, 40_001), r"too large \(300 x 40001 pixels\)"),
    "line scan": (png(2_001, 10, 8, 2, b""), r"too narrow \(2001 x 10 pixels\)"),
    "many pixels, BMP": (bmp(13_000, 13_000), r"too large \(13000 x 13000 pixels\)"),
    "many pixels, PNG": (png(13_000, 13_000, 8, 2, b""), r"too large \(13000 x 13000 pixels\)"),
    "many pixels, JPEG": (jpeg_of_size(13_000, 13_000), r"too large \(13000 x 13000 pixels\)"),
    "bomb, BMP": (bmp(60_000, 60_000), r"too large \(decompression bomb\)"),
    "bomb, frame of a GIF": (gif(10, 13_000), r"too large \(13000 x 13000 pixels\)"),
    "bomb, screen of a GIF": (gif(65_000, 10), r"too large \(decompression bomb\)"),
    "bomb, tile of a TIFF": (
        tiff(np.uint8([0]), [8], 1, 8, _322=[26_000], _323=[26_000], _324=[0], _325=[9]),
        r"too large \(decompression bomb\)",
    ),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.parametrize(("data", "outcome"), TREATMENTS.values(), ids=TREATMENTS)
def test_every_odd_file_has_a_treatment(data, outcome):
    if isinstance(outcome, str):
        with pytest.raises(ImageError, match=f"^{outcome}$"):
            to_rgb(identify(data), short_side_px=8)
        return
    image = to_rgb(identify(data))
    assert image.mode == "RGB" and image.size == ((16, 32) if data == TREATMENTS["turned by EXIF"][0] else (16, 16))
    # 3 levels: the rounding of JPEG and of colour spaces
    assert np.abs(np.array(image.getpixel((8, 8))) - outcome).max() <= 3


def test_a_tile_bomb_is_not_decoded_although_its_image_is_small():
    data = tiff(np.uint8([0]), [8], 1, _322=[16], _323=[16], _324=[0], _325=[256])
    assert to_rgb(identify(data)).size == (16, 16)  # the same with an honest tile


@pytest.mark.filterwarnings("ignore")
def test_damaged_headers_are_refused_or_read_and_nothing_else():
    rng = np.random.default_rng(0)
    files = [data for name, (data, _) in TREATMENTS.items() if not name.startswith(("bomb", "many"))]
    for data in files:
        for _ in range(8):
            damaged = np.frombuffer(data, np.uint8).copy()
            damaged[rng.integers(0, min(len(data), 200), 3)] = rng.integers(0, 256, 3)
            with contextlib.suppress(ImageError):
                assert to_rgb(identify(damaged.tobytes()), short_side_px=8).mode == "RGB"


def test_twelve_bits_are_scaled_to_eight():
    assert images._scale_to_bytes(np.array([[0.0, 2047.5, 4095.0]])).tolist() == [[0, 128, 255]]


def test_deep_images_are_scaled_in_parts_of_rows(monkeypatch):
    values = np.arange(60, dtype=np.uint16).reshape(6, 10) * 1000
    whole = images._scale_to_bytes(values)
    monkeypatch.setattr(images, "_CHUNK_PX", 25)
    assert np.array_equal(images._scale_to_bytes(values), whole) and whole[5, 9] == round(59_000 * 255 / 65_535)


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


def test_the_crop_is_central():
    pixels = np.zeros((8, 12, 3), np.uint8)
    pixels[:, 2:10] = 255  # the central square
    assert (np.asarray(resize_and_crop(Image.fromarray(pixels), 8)) == 255).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(5, 90), st.integers(5, 90), st.integers(4, 40))
def test_geometry_is_torchvisions(width, height, size_px):
    transforms = torchvision.transforms

    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    stock = transforms.CenterCrop(size_px)(transforms.Resize(size_px, transforms.InterpolationMode.BICUBIC)(image))
    assert np.array_equal(np.asarray(resize_and_crop(image, size_px)), np.asarray(stock))


def test_formats_of_phones_and_cameras_are_called_by_their_name(tmp_path):
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    with pytest.raises(ImageError, match="HEIC, not decoded: save it as JPEG"):
        images.identify(heic)
    with pytest.raises(ImageError, match="raw file, not decoded: develop it"):
        images.identify(b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(100))
    for tags in ({254: 1}, {50706: b"\1\4\0\0"}):  # the thumbnail that NEF, ARW and DNG hold first
        Image.new("RGB", (32, 24)).save(tmp_path / "raw.nef", "TIFF", tiffinfo=tags)
        with pytest.raises(ImageError, match="raw file, not decoded"):
            open_image(tmp_path / "raw.nef")


def test_avif_is_read(tmp_path):
    if not PIL.features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    Image.new("RGB", (32, 24), "red").save(tmp_path / "a.avif")
    assert open_image(tmp_path / "a.avif").size == (32, 24)
