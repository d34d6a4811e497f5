"""Decoding of image files, with every doubtful file refused for a stated reason.

Takes a path, a place in an archive, or the bytes of a file; returns an upright 8-bit RGB `PIL.Image.Image`. Refuses
(`ImageError`) what is empty, truncated, too large, not a regular file, or of a format outside `FORMATS`: no exotic
decoder ever runs.
"""

import io
import itertools
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from .archives import read_member, split_location
from .members import ArchiveError

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp")
MAX_PIXELS = 151_000_000  # the largest cameras have 150 megapixels; more is a mistake or a decompression bomb
MAX_BYTES = 2**30
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")
_ORIENTATION = 0x0112  # the EXIF tag
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
    """Read a file of at most `MAX_BYTES`.

    Parameters
    ----------
    location : str or Path
        A path, or ``path/to.tar::member`` (``.tar``, ``.tar.gz``, ``.tgz``, ``.zip``).

    Returns
    -------
    bytes

    Raises
    ------
    ImageError
        Where it is missing, empty, too large, or not a regular file.
    """
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
    """Open an image file as an upright 8-bit RGB image.

    Parameters
    ----------
    location : str or Path
    short_side_px : int, optional
        A JPEG may be decoded at 1/2, 1/4 or 1/8 scale as long as its short side does not fall below this.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, fully decoded.

    Raises
    ------
    ImageError
        With the reason: file not found, zero bytes, not an image, truncated, too large, unreadable.

    Notes
    -----
    EXIF orientation is applied. Transparent pixels are laid on white. Of an animation the first frame is taken.
    Images of more than 8 bits are scaled by the smallest bit depth that holds their maximum (a 12-bit microscope
    image in a 16-bit file would otherwise be black, or clipped to white as Pillow does). CMYK and other colour spaces
    are converted by Pillow; colour profiles are not applied.
    """
    return to_rgb(identify(read_bytes(location)), short_side_px)


def identify(data: bytes) -> Image.Image:
    """Read an image's header: a lazily decoded image, of a safe format and size; else `ImageError`."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise ImageError("too large (decompression bomb)") from None
    except Exception as error:  # a broken header may raise nearly anything
        if data.startswith(_SIGNATURES):
            raise ImageError("truncated or corrupt") from None
        raise ImageError("not an image" if isinstance(error, UnidentifiedImageError) else _reason(error)) from None
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"too large ({image.width} x {image.height} pixels)")
    return image


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) to 8; 1 where there is none or the EXIF block is broken."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a broken EXIF block does not make the pixels unusable
        return 1
    return value if value in _UPRIGHT else 1


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
    """Return a copy in mode RGB."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_scale_to_bytes(np.asarray(image, dtype=np.float64))).convert("RGB")
    if "transparency" in image.info or "A" in image.mode or "a" in image.mode:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _scale_to_bytes(values: np.ndarray) -> np.ndarray:
    """Scale deep grey values (H, W) to uint8 by the smallest bit depth >= 8 that holds their maximum.

    Floats up to 1 are taken as fractions.

    Examples
    --------
    >>> _scale_to_bytes(np.array([[0.0, 2047.5, 4095.0]]))  # 12 bits
    array([[  0, 128, 255]], dtype=uint8)
    """
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0).clip(min=0.0)
    maximum = values.max(initial=0.0)
    full = 1.0 if maximum <= 1.0 else 2.0 ** max(8, int(np.ceil(np.log2(maximum + 1)))) - 1
    return np.rint(values * (255.0 / full)).astype(np.uint8)


def _reason(error: Exception) -> str:
    """Turn a decoder's exception into a short reason."""
    message = str(error).strip().lower()
    if any(sign in message for sign in ("truncated", "not enough image data", "end of file", "eof", "broken data")):
        return "truncated"
    return f"unreadable ({message.splitlines()[0][:80] if message else type(error).__name__})"


def map_threads(function: Callable, items: Iterable, workers: int = 2, ahead: int = 256) -> Iterator:
    """Apply `function` in threads, in order, at most `ahead` results waiting.

    Pillow and hashlib release the interpreter lock, so threads decode in parallel.

    Examples
    --------
    >>> list(map_threads(abs, [-1, -2, 3]))
    [1, 2, 3]
    """
    iterator = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        while chunk := list(itertools.islice(iterator, ahead)):
            yield from pool.map(function, chunk)
