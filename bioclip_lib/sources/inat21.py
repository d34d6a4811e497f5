"""iNat21: ``train.json`` and/or class folders ``00000_Kingdom_Phylum_Class_Order_Family_Genus_species/``.

Takes their folder, the images loose or in archives (``train.tar.gz``); returns the raw table with the set's own split
in ``source_split``.
"""

import re
from pathlib import Path

import pandas as pd

from .. import RANKS
from ..errors import InputError
from .coco import read_annotations
from .columns import SPLIT_COLUMN
from .match import check_some_image, find_images, match_images, missing_reason, ordered, unique_ids

ANNOTATIONS = ("train.json", "train_mini.json", "val.json")
CLASS_FOLDER = re.compile(r"\d{5}" + 6 * r"_([^_]*)" + r"_(.+)")
_ACTION = "put the class folders, or train.tar.gz, below the folder of train.json"


def is_inat21(root: Path) -> bool:
    """Tell a folder with iNat21's annotations or class folders, in it or in ``train/`` or ``val/``."""
    if any((root / name).is_file() for name in ANNOTATIONS):
        return True
    folders = [root, root / "train", root / "train_mini", root / "val"]
    return any(CLASS_FOLDER.fullmatch(p.name) and p.is_dir() for f in folders if f.is_dir() for p in f.iterdir())


def read_inat21(path: str | Path) -> pd.DataFrame:
    """Read iNat21; ``source_id`` is ``<class folder>/<file>``; of an image listed again the first row stands."""
    root = Path(path).expanduser().resolve()
    files, damaged = find_images(root)
    file_keys = pd.DataFrame({"path": _last_two(files["path"])})
    found = [root / name for name in ANNOTATIONS if (root / name).is_file()]
    if found:
        parts = [read_annotations(path, one_taxon=True).assign(**{SPLIT_COLUMN: path.stem}) for path in found]
        table = pd.concat(parts, ignore_index=True).assign(source="inat21")
        table["source_id"] = _last_two(table["source_id"])
        keys = pd.DataFrame({"path": table["source_id"]})
        raw = match_images(table, keys, files, file_keys, missing=missing_reason(damaged))
    else:
        raw = _folder_rows(files, file_keys["path"])
    if raw.empty:
        raise InputError(f"{root} lists no image; {_ACTION}")
    return check_some_image(raw, root, damaged, _ACTION)


def _last_two(paths: pd.Series) -> pd.Series:
    """Return ``<class folder>/<file>`` of paths at any depth."""
    return paths.astype(str).str.replace("\\", "/", regex=False).str.extract(r"((?:[^/]*/)?[^/]*)$", expand=False)


def _folder_rows(files: pd.DataFrame, keys: pd.Series) -> pd.DataFrame:
    """Return the raw rows that class folders alone give."""
    folders = keys.map(lambda key: key.rpartition("/")[0]).astype(str)
    named = folders.str.extract(CLASS_FOLDER, expand=True).fillna("").set_axis(list(RANKS), axis=1)
    name = (named["genus"] + " " + named["species"]).str.strip()
    raw = named.assign(source="inat21", source_id=files["path"], location=files["location"], verbatim_name=name)
    problem = pd.Series("", index=files.index).mask(name == "", "folder is not a class of iNat21")
    raw["problem"] = files["problem"].where(files["problem"] != "", problem)
    raw["source_id"] = unique_ids(raw["source_id"])
    above = files["path"].astype(str).str.extract(r"(?:^|/)(train|train_mini|val)/[^/]*/[^/]*$", expand=False)
    raw[SPLIT_COLUMN] = above.fillna("")
    return ordered(raw)
