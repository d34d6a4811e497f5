"""What the image files hold: digest, size, readability; and which of them are the same.

Takes the raw table, decodes every file once; later marks exact duplicates in the catalog. Decides nothing on splits.
"""

from collections.abc import Callable
from hashlib import sha256

import pandas as pd

from .images import ImageError, identify, map_threads, read_bytes, to_rgb, upright_size
from .splits import class_key, usable

IMAGE_COLUMNS = ("sha256", "phash", "width", "height", "problem")


def inspect_images(raw: pd.DataFrame, workers: int = 2, progress: Callable | None = None) -> pd.DataFrame:
    """Decode every image once.

    Parameters
    ----------
    raw : pd.DataFrame
        Of `bioclip_lib.sources`; rows with a ``problem`` are not opened.
    workers : int
        Threads.
    progress : callable, optional
        Wraps the iterable as ``tqdm`` does: ``progress(iterable, total=n, desc=..., unit=...)``.

    Returns
    -------
    pd.DataFrame
        Aligned with `raw`: ``sha256`` (of the file's bytes), ``phash`` (''), ``width`` and ``height`` (pixels, upright;
        0 where unreadable), ``problem`` ('' or the reason).

    Notes
    -----
    A header alone does not show a truncated file: the pixels are decoded, a JPEG's at 1/8 scale.
    """
    problems = raw["problem"] if "problem" in raw else [""] * len(raw)
    rows = map_threads(_inspect, zip(raw["location"], problems, strict=True), workers)
    if progress is not None:
        rows = progress(rows, total=len(raw), desc="inspect", unit="image")
    return pd.DataFrame(list(rows), columns=list(IMAGE_COLUMNS), index=raw.index)


def _inspect(row: tuple[str, str]) -> tuple[str, str, int, int, str]:
    """Return the row of one file."""
    location, problem = row
    digest = ""
    try:
        if problem:
            raise ImageError(problem)
        data = read_bytes(location)
        digest = sha256(data).hexdigest()
        image = identify(data)
        width, height = upright_size(image)
        to_rgb(image, short_side_px=1)
    except ImageError as error:
        return digest, "", 0, 0, str(error)
    return digest, "", width, height, ""


def mark_exact_duplicates(catalog: pd.DataFrame) -> pd.DataFrame:
    """Exclude all but one of the images whose files are the same, byte by byte.

    Parameters
    ----------
    catalog : pd.DataFrame

    Returns
    -------
    pd.DataFrame
        A copy; of the same file under one class the first in ``image_id`` order is kept, the others are excluded as
        ``duplicate of <image_id>``. A file under two classes is excluded everywhere: one of its names is wrong.

    Notes
    -----
    Sources are not told apart: a photograph in two sets would else be trained on in one and tested on in the other.
    """
    kept = usable(catalog)
    table = catalog.loc[kept, ["sha256", "image_id"]].assign(class_key=class_key(catalog[kept]))
    groups = table.sort_values("image_id").groupby("sha256")
    first, n_classes = groups["image_id"].transform("first"), groups["class_key"].transform("nunique")
    table = table.assign(first=first, n_classes=n_classes, reason="")
    table["reason"] = table["reason"].mask(table["first"] != table["image_id"], "duplicate of " + table["first"])
    table["reason"] = table["reason"].mask(table["n_classes"] > 1, "duplicate with conflicting names")
    return catalog.assign(excluded=catalog["excluded"].mask(kept, table["reason"]))
