"""CUB-200-2011 and NABirds as they are unpacked: files of lines ``<id> <value>``, and the folder ``images``.

Takes their folder; returns the raw table with the makers' own split. Refuses a list that does not fit the others.
"""

from pathlib import Path

import pandas as pd

from ..errors import InputError
from .columns import SPLIT_COLUMN
from .match import ordered

_FILES = ("images.txt", "classes.txt", "image_class_labels.txt")


def is_cub(root: Path) -> bool:
    """Tell their folder by its three lists."""
    return all((root / name).is_file() for name in _FILES)


def read_cub(path: str | Path) -> pd.DataFrame:
    """Read images and their classes; ``source_id`` is the path below ``images``."""
    root = Path(path).expanduser().resolve()
    images, classes, labels = (_lines(root / name) for name in _FILES)
    labels = labels.reindex(images.index)
    lost = labels.index[labels.isna() | ~labels.isin(classes.index)]
    if len(lost):
        raise InputError(f"{root}: image {lost[0]} has no class, or one without a name; unpack the archive again")
    location = [root / "images" / name for name in images]
    raw = pd.DataFrame({"source": root.name, "source_id": images, "location": [str(file) for file in location]})
    raw["verbatim_name"] = classes.reindex(labels).to_numpy()
    raw["problem"] = ["" if file.is_file() else "file not found" for file in location]
    if (root / "train_test_split.txt").is_file():
        split = _lines(root / "train_test_split.txt").reindex(images.index)
        raw[SPLIT_COLUMN] = split.map({"1": "train", "0": "test"}).fillna("")
    return ordered(raw)


def _lines(file: Path) -> pd.Series:
    """Read lines of an id, a blank (after a comma, as some pass it on) and the rest."""
    lines = [line.strip().partition(" ") for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return pd.Series(
        [value.strip() for _, _, value in lines], index=[key.rstrip(",") for key, _, _ in lines], dtype=object
    )
