"""Decoding of image files, with every doubtful file refused for a stated reason.

Takes a path, a place in an archive, or the bytes of a file; returns an upright 8-bit RGB `PIL.Image.Image`. Refuses
(`ImageError`) what is empty, truncated, too large, not a regular file, or of a format outside `FORMATS`: no exotic
decoder ever runs. The header is judged before anything is decoded, also of a JPEG that could be read at a smaller
scale: a file is usable everywhere or nowhere. An image at the limit takes 1 to 2.5 GB while it is decoded.

Transparent pixels are laid on white; of an animation, a TIFF's pages and a multi-picture JPEG the first is taken. Deep
grey is scaled by its bit depth, else 12 bits in a file of 16 were black; of 16-bit colour the high bytes are taken.
Pillow converts other modes; colour profiles are not applied.
"""

import functools
import io
import os
import stat
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from .archives import read_member, split_location
from .crops import OUTSIDE, pixels_of, split_crop
from .members import ArchiveError

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".avif")
MAX_PIXELS = 151_000_000  # the largest cameras have 150 megapixels; more is a mistake or a decompression bomb
MAX_SIDE_PX = 40_000  # a longer one is a map or a line scan, and no JPEG of the shards could hold it
MAX_ASPECT = 200  # long side to short side: at a short side of 224 px it would else need gigabytes
MAX_BYTES = 2**30
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")
_ORIENTATION, _EXIF_BLOCK, _TIME_TAKEN = 0x0112, 0x8769, 0x9003  # EXIF tags
_COMPRESSION, _PHOTOMETRIC, _TILE_WIDTH, _TILE_LENGTH = 259, 262, 322, 323  # TIFF tags
_KIND, _DNG_VERSION, _FILTER_ARRAY = 254, 50706, 32803
_HEIF = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_RAW = "camera's raw file, not decoded: develop it to JPEG"
_WHITE_IS_ZERO, _YCBCR, _UNCOMPRESSED = 0, 6, 1
_CHUNK_PX = 2**20  # as float64 at once
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ImageFile.LOAD_TRUNCATED_IMAGES = False  # Pillow's default; with True the missing part would become grey pixels


class ImageError(ValueError):
    """A file cannot be used as an image; the message is the reason, fit for the catalog."""


def read_bytes(location: str | Path) -> bytes:
    """Read a file, ``path/to.tar::member``, or a box of one, of at most `MAX_BYTES`; `ImageError` with the reason."""
    photograph, box = split_crop(str(location))
    if box:
        return _cut_out(read_bytes(photograph), box)
    inside = split_location(str(location))
    if inside is not None and Path(inside[0]).is_file():
        try:
            data = read_member(*inside, max_bytes=MAX_BYTES)
        except ArchiveError as error:
            raise ImageError(str(error)) from None
    else:
        data = _read_file(Path(location))
    if not data:
        raise ImageError("zero bytes")
    return data


def stamps(locations: Iterable[str]) -> list[tuple[int, int]]:
    """Return size and time (ns) of the file in which each image lies, -1 of one that is not there."""

    @functools.cache
    def stamp(path: str) -> tuple[int, int]:
        try:
            found = os.stat(path)
        except (OSError, ValueError):
            return -1, -1
        return found.st_size, found.st_mtime_ns

    return [stamp((split_location(place) or (place,))[0]) for place, _ in map(split_crop, locations)]


def _cut_out(data: bytes, box: str) -> bytes:
    """Return a box of a photograph, upright, as a file of plain pixels (BMP), so that it is the same file each time."""
    image = to_rgb(identify(data))
    place = pixels_of(box, *image.size)
    if place is None:
        raise ImageError(OUTSIDE)
    buffer = io.BytesIO()
    image.crop(place).save(buffer, "BMP")
    return buffer.getvalue()


def _read_file(path: Path) -> bytes:
    """Read a regular file of at most `MAX_BYTES`."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device would block for ever
            raise ImageError("not a regular file")
        if status.st_size > MAX_BYTES:
            raise ImageError(f"file of {status.st_size / 2**30:.1f} GiB (limit {MAX_BYTES / 2**30:.0f})")
        return path.read_bytes()
    except FileNotFoundError:
        raise ImageError("file not found") from None
    except OSError as error:
        raise ImageError(f"unreadable ({error.strerror})") from None


def open_image(location: str | Path, short_side_px: int | None = None) -> Image.Image:
    """Open an image file as an upright 8-bit RGB image; a JPEG at 1/2, 1/4 or 1/8 scale, its short side no shorter."""
    return to_rgb(identify(read_bytes(location)), short_side_px)


def identify(data: bytes) -> Image.Image:
    """Read an image's header: a lazily decoded image, of a safe format and size; else `ImageError`."""
    try:
        image = _open_heif(data) or Image.open(io.BytesIO(data), formats=FORMATS)
        problem = _size_problem(image) or _tiff_problem(image)
    except Image.DecompressionBombError:
        raise ImageError("too large (decompression bomb)") from None
    except Exception as error:  # a broken header may raise nearly anything
        if named := _other_format(data):
            raise ImageError(named) from None
        if data.startswith(_SIGNATURES):
            raise ImageError("truncated or corrupt") from None
        raise ImageError("not an image" if isinstance(error, UnidentifiedImageError) else _reason(error)) from None
    if problem:
        raise ImageError(problem)
    return image


def _open_heif(data: bytes) -> Image.Image | None:
    """Open a HEIC file where pillow-heif is installed; None for any other."""
    if data[4:8] != b"ftyp" or data[8:12] not in _HEIF or (data[8:12] == b"mif1" and b"avif" in data[12:40]):
        return None
    try:
        import pillow_heif
    except ImportError:
        return None
    return pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True).to_pillow()


def _other_format(data: bytes) -> str:
    """Name a format that is not decoded, '' where it is none of them."""
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF:
        return "HEIC, not decoded: save it as JPEG, or install pillow-heif"
    return _RAW if data[4:12] == b"ftypcrx " else ""


def _size_problem(image: Image.Image) -> str:
    """Return why an image of this size is not decoded, '' where it is."""
    short, long = sorted(image.size)
    if short * long > MAX_PIXELS or long > MAX_SIDE_PX:
        return f"too large ({image.width} x {image.height} pixels)"
    return f"too narrow ({image.width} x {image.height} pixels)" if long > MAX_ASPECT * short else ""


def _tiff_problem(image: Image.Image) -> str:
    """Return why a TIFF is not decoded, '' where it is."""
    tags = getattr(image, "tag_v2", {})
    if not tags:
        return ""
    if _DNG_VERSION in tags or tags.get(_KIND, 0) & 1 or tags.get(_PHOTOMETRIC) == _FILTER_ARRAY:
        return _RAW  # what Pillow would give is its thumbnail
    tile = [np.max(tags.get(tag, 0)) for tag in (_TILE_WIDTH, _TILE_LENGTH)]
    if max(tile) > MAX_SIDE_PX or np.prod(tile, dtype=float) > MAX_PIXELS:  # decoded whole, whatever the image's size
        return "too large (decompression bomb)"
    raw_ycbcr = tags.get(_PHOTOMETRIC) == _YCBCR and tags.get(_COMPRESSION, _UNCOMPRESSED) == _UNCOMPRESSED
    return "unreadable (uncompressed YCbCr TIFF)" if raw_ycbcr else ""


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) to 8; 1 where there is none or the EXIF block is broken."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a broken EXIF block does not make the pixels unusable
        return 1
    return value if value in _UPRIGHT else 1


def time_taken(image: Image.Image) -> str:
    """Return when a photograph was taken, as its EXIF block says, "2024:05:01 12:00:00"; '' where it does not."""
    try:
        return str(image.getexif().get_ifd(_EXIF_BLOCK).get(_TIME_TAKEN, ""))[:19].strip("\0 ")
    except Exception:  # a broken EXIF block does not make the pixels unusable
        return ""


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return (width, height) in pixels after the EXIF orientation is applied."""
    return (image.height, image.width) if orientation(image) >= 5 else image.size


def to_rgb(image: Image.Image, short_side_px: int | None = None) -> Image.Image:
    """Decode what `identify` returned into an upright RGB image; `ImageError` if its pixels cannot be read."""
    turn = orientation(image)
    try:
        if short_side_px is not None:
            image.draft(None, (short_side_px, short_side_px))  # JPEG only: never below this size
        image.load()
        rgb = _eight_bit_rgb(image)
    except Exception as error:  # decoders raise nearly anything
        raise ImageError(_reason(error)) from None
    rgb.info = {}  # else its EXIF block would tell the next reader to turn the pixels again
    return rgb.transpose(_UPRIGHT[turn]) if turn in _UPRIGHT else rgb


def _eight_bit_rgb(image: Image.Image) -> Image.Image:
    """Return an image in mode RGB: the same one where it is such a JPEG."""
    if image.format == "JPEG" and image.mode == "RGB":
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        grey = _scale_to_bytes(np.asarray(image))
        if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
            grey = 255 - grey
        return Image.fromarray(grey).convert("RGB")
    if "transparency" in image.info or "A" in image.mode or "a" in image.mode:
        rgba = image.convert("RGBA")
        white = Image.new("RGB", rgba.size, "white")
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return image.convert("RGB")


def _scale_to_bytes(values: np.ndarray) -> np.ndarray:
    """Scale deep grey values (H, W) to uint8 by the smallest bit depth >= 8 that holds them; up to 1 are fractions."""
    step = max(1, _CHUNK_PX // values.shape[1])
    chunks = [slice(top, top + step) for top in range(0, len(values), step)]
    maximum = max(_positive(values[rows]).max() for rows in chunks)
    full = 1.0 if maximum <= 1.0 else 2.0 ** max(8, int(np.ceil(np.log2(maximum + 1)))) - 1
    scaled = np.empty(values.shape, np.uint8)
    for rows in chunks:
        scaled[rows] = np.rint(_positive(values[rows]) * (255.0 / full))
    return scaled


def _positive(values: np.ndarray) -> np.ndarray:
    """Return values as float64, what is negative or no finite number as 0."""
    return np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0).clip(min=0.0)


def _reason(error: Exception) -> str:
    """Turn a decoder's exception into a short reason."""
    message = str(error).strip().lower()
    if any(sign in message for sign in ("truncated", "not enough image data", "end of file", "eof", "broken data")):
        return "truncated"
    return f"unreadable ({message.splitlines()[0][:80] if message else type(error).__name__})"


def png(pixels: np.ndarray) -> bytes:
    """Write pixels (H, W, 3), uint8, as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def resize_and_crop(image: Image.Image, size_px: int) -> Image.Image:
    """Resize the short edge to `size_px` and crop the centre, with torchvision's rounding."""
    width, height = image.size
    short = min(width, height)
    size = (size_px * width // short, size_px * height // short)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    if size == (size_px, size_px):
        return image
    left, top = round((size[0] - size_px) / 2), round((size[1] - size_px) / 2)
    return image.crop((left, top, left + size_px, top + size_px))
