"""What the image files hold: digest, size, readability; which of them are the same.

Takes the raw table, decodes every file once; later marks exact and near duplicates in the catalog. Sources are not told
apart: a photograph in two sets would else be trained on in one and tested on in the other. Decides nothing on splits.
"""

from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import InputError
from ..files.archives import reading_order
from ..files.crops import split_crop
from ..files.images import ImageError, identify, open_image, read_bytes, stamps, time_taken, to_rgb, upright_size
from ..run import in_parts
from ..run.workers import map_threads, progress
from .looks import (
    FLAT,
    N_DETAILS,
    RADIUS,
    from_hex,
    merge_groups,
    near_groups,
    perceptual_details,
    perceptual_hashes,
    to_hex,
)
from .splits import usable

IMAGE_COLUMNS = ("sha256", "phash", "width", "height", "taken", "problem")
AGREEMENT = 0.8  # cosine of details; see `mark_near_duplicates` for what it was chosen by
AT_ONCE = 4_096  # images of a part that is kept: half a minute's work
_CHUNK = 2**21  # pairs in memory at once
_CONFLICT = " with conflicting names"
_DECODED_PX = 256  # a JPEG decoded below its size has a last row and column that stand for less than a pixel


def inspect_images(raw: pd.DataFrame, mapper: Callable = map_threads, keep: Path | None = None) -> pd.DataFrame:
    """Decode every image once.

    Parameters
    ----------
    raw : pd.DataFrame
        Of `sources.read_source`; rows with a ``problem`` are not opened.
    mapper : callable
        `run.workers.map_threads` or `run.workers.map_ray`: who decodes.
    keep : Path, optional
        ``run.parts``, where what is finished is kept: killed, the same call goes on there.

    Returns
    -------
    pd.DataFrame
        Aligned with `raw`: ``sha256`` (of the file's bytes), ``phash`` (of the upright pixels, see `catalog.looks`),
        ``width`` and ``height`` (pixels, upright), ``taken`` (when, of its EXIF), ``problem`` ('' or the reason; such a
        row has no phash and size 0). The pixels are decoded: a header alone does not show a truncated file.
    """
    locations = raw["location"].tolist()
    problems = raw["problem"].tolist() if "problem" in raw else [""] * len(raw)
    order = [i for i in reading_order(locations) if not problems[i]]
    items = _items([locations[i] for i in order], keep)
    rows = in_parts(keep and keep / "inspected", items, partial(mapper, _inspect), AT_ONCE, __name__)
    rows = list(progress("inspect", "images", len(order), rows))
    found = pd.DataFrame(rows, columns=list(IMAGE_COLUMNS), index=order)
    others = [i for i, problem in enumerate(problems) if problem]
    unread = pd.DataFrame({**dict.fromkeys(IMAGE_COLUMNS, ""), "width": 0, "height": 0}, index=others)
    said = pd.Series([problems[i] for i in others], others, dtype=str)
    found = pd.concat([found, unread.assign(problem=said)])
    return found.astype({"width": "int64", "height": "int64"}).reindex(range(len(raw))).set_axis(raw.index)


def _items(locations: Sequence[str], keep: Path | None) -> list[tuple]:
    """Return images with, where parts are kept, the stamp of their file."""
    return list(zip(locations, stamps(locations) if keep else locations, strict=True))


def _inspect(item: tuple) -> tuple[str, str, int, int, str, str]:
    """Return the row of one file."""
    location, digest = item[0], ""
    try:
        data = read_bytes(location)
        digest = sha256(data).hexdigest()
        image = identify(data)
        photograph, box = split_crop(location)
        (width, height), taken = upright_size(image), time_taken(identify(read_bytes(photograph)) if box else image)
        grey = to_rgb(image, short_side_px=_DECODED_PX).convert("L")
    except ImageError as error:
        return digest, "", 0, 0, "", str(error)
    (phash,) = to_hex(perceptual_hashes(np.asarray(grey)[None]))  # (1, H, W) -> (1,)
    return digest, phash, width, height, taken, ""


def mark_exact_duplicates(catalog: pd.DataFrame) -> pd.DataFrame:
    """Return a copy that keeps one of the images of one class whose files are the same: the first by ``image_id``.

    A file under two taxa is excluded everywhere: one of its names is wrong. What an earlier catalog decided stays.
    """
    marked = usable(catalog) | (catalog["excluded"] == "duplicate" + _CONFLICT)
    ranked = catalog.loc[marked, ["image_id", "sha256"]]
    ranked = ranked[ranked["sha256"].duplicated(keep=False)].sort_values("image_id")
    return _keep_first(catalog, ranked.rename(columns={"sha256": "same"}), "duplicate")


def describe_images(catalog: pd.DataFrame, keep: Path | None = None) -> pd.DataFrame:
    """Read images again: their details (float32), indexed by ``image_id``; finished parts are kept in a folder."""
    locations = catalog["location"].tolist()
    order = reading_order(locations)
    details = np.empty((len(order), N_DETAILS), np.float32)
    items = _items([locations[i] for i in order], keep)
    rows = in_parts(keep, items, partial(map_threads, _details_of), AT_ONCE, __name__)
    for i, row in zip(order, progress("read details", "images", len(order), rows), strict=True):
        details[i] = row
    return pd.DataFrame(details, index=catalog["image_id"])


def _details_of(item: tuple) -> np.ndarray:
    """Read one image and describe its details: (513,)."""
    location = item[0]
    try:
        grey = open_image(location, short_side_px=_DECODED_PX).convert("L")
    except ImageError as error:
        raise InputError(f"{location}: {error}; inspect the images again") from None
    return perceptual_details(np.asarray(grey)[None])[0]


def mark_near_duplicates(catalog: pd.DataFrame, details: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return a copy that keeps one of the images that look the same: copies that were saved again or resized.

    Of images of one class that a chain of near hashes connects, in one source or in several, the one with the most
    pixels (then the first in ``image_id`` order) is kept, the others are ``near duplicate of <image_id>``; of a chain
    of two classes each keeps one (`find_near_conflicts`). With `details` only images whose details agree count.

    `looks.RADIUS` was chosen on 6,390 photographs of four sets. Within 2 bits lie 94 to 100 % of copies that were saved
    again or resized, 49 to 96 % of those made brighter by a fifth, 44 to 89 % of those cropped by 1 %; details lose at
    most 1 % of each. Of different files both agree for 0 % (birds in nature) to 1.5 % (leaves on paper).
    """
    ranked = find_near_images(catalog, details)
    ranked["same"] = ranked.groupby(["chain", "class_key"]).ngroup()
    n_px = catalog.loc[ranked.index, ["width", "height"]].astype("int64").prod(axis=1)
    ranked = ranked.assign(n_px=-n_px).sort_values(["n_px", "image_id"])
    return _keep_first(catalog, ranked, "near duplicate")


def find_near_conflicts(catalog: pd.DataFrame, details: pd.DataFrame | None = None) -> pd.DataFrame:
    """List ``group, source, source_id, class_key`` of images that look the same under different classes."""
    near = find_near_images(catalog, details)
    near = near[near.groupby("chain")["class_key"].transform("nunique") > 1]
    table = catalog.loc[near.index, ["source", "source_id", "class_key"]].assign(group=near["chain"])
    table = table.sort_values(["group", "class_key", "source", "source_id"], ignore_index=True)
    return table.assign(group=pd.factorize(table["group"])[0])[["group", "source", "source_id", "class_key"]]


def find_near_images(catalog: pd.DataFrame, details: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return ``image_id``, ``chain`` and ``class_key`` of the usable images that look like another one."""
    table = hashed_images(catalog, usable(catalog))
    table["chain"] = near_groups(table["hash"].to_numpy())
    table = table[table["chain"].duplicated(keep=False)].copy()
    if details is not None:
        if not table["image_id"].isin(details.index).all():
            raise InputError("the details are not of these images; read them again")
        values = details.loc[table["image_id"]].to_numpy()
        table["chain"] = confirmed_groups(table["chain"].to_numpy(), table["hash"].to_numpy(), values)
        table = table[table["chain"].duplicated(keep=False)]
    return table.drop(columns="hash").assign(class_key=catalog.loc[table.index, "class_key"])


def confirmed_groups(groups: np.ndarray, hashes: np.ndarray, details: np.ndarray) -> np.ndarray:
    """Split groups (N,) of near hashes (N,) into chains of neighbours whose details (N, D) agree too: int64 (N,)."""
    labels, waiting = np.arange(len(groups)), []
    order = np.argsort(groups, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        step = max(1, _CHUNK // max(1, len(rows)))
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            near = np.bitwise_count(hashes[block][:, None] ^ hashes[rows]) <= RADIUS  # (B, R)
            near &= details[block] @ details[rows].T >= AGREEMENT  # (B, D) @ (D, R) -> (B, R)
            i, j = np.nonzero(near)
            waiting.append(np.stack([block[i], rows[j]])[:, block[i] < rows[j]])
            if sum(part.shape[1] for part in waiting) > max(len(groups), _CHUNK):
                labels, waiting = merge_groups(labels, waiting), []
    return merge_groups(labels, waiting)


def hashed_images(catalog: pd.DataFrame, rows: pd.Series) -> pd.DataFrame:
    """Return ``image_id, hash`` (uint64) of those of the rows (bool) whose images have structure."""
    table = catalog.loc[rows, ["image_id"]].assign(hash=from_hex(catalog.loc[rows, "phash"].to_numpy()))
    return table[table["hash"] != FLAT]


def _keep_first(catalog: pd.DataFrame, ranked: pd.DataFrame, what: str) -> pd.DataFrame:
    """Exclude, as `what`, all but the first of the ranked rows (``image_id, same``, best first) that are the ``same``.

    Where they are of two classes all are excluded; a class that names no taxon (``unnamed``, as "to sort") loses.
    """
    ranked = ranked[ranked["same"].duplicated(keep=False)].astype({"image_id": object})
    new = catalog.loc[ranked.index, "earlier_row"] < 0 if "earlier_row" in catalog else True
    unnamed = (catalog["unnamed"] if "unnamed" in catalog else catalog["rank"] == "")[ranked.index]
    ranked = ranked.assign(new=new, unnamed=unnamed, class_key=catalog.loc[ranked.index, "class_key"])
    ranked = ranked.sort_values(["new", "unnamed"], kind="stable").assign(
        taxon=lambda rows: rows["class_key"].where(~rows["unnamed"])
    )
    same = ranked.groupby("same")
    first, n_classes = same["image_id"].transform("first"), same["taxon"].transform("nunique")
    n_classes = n_classes.where(n_classes > 0, same["class_key"].transform("nunique"))
    reason = (what + " of " + first).where(first != ranked["image_id"], "")
    reason = reason.mask(n_classes > 1, what + _CONFLICT)[ranked["new"]]
    excluded = catalog["excluded"].copy()
    excluded[reason.index] = reason
    return catalog.assign(excluded=excluded)
