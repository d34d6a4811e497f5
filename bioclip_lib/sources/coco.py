"""Annotations in the form of COCO, as iNaturalist's competitions, iWildCam, LILA's camera traps and Herbarium have it.

Takes JSON files with ``images``, ``annotations`` and ``categories``; returns the raw table, a row a box, and where
there are none an image and a taxon on it. Frames of a sequence are a group. An image without an annotation, of a
category as "empty", or with several taxa and no boxes is a row with its reason.
"""

import json
from pathlib import Path

import pandas as pd

from .. import RANKS
from ..errors import InputError
from ..files.crops import NO_BOX, box_of
from .addresses import match_addresses
from .boxes import BOX_COLUMN, numbered
from .columns import GROUP_COLUMN, SPLIT_COLUMN, split_word, verbatim_names
from .detections import is_detections
from .marks import NOTHING, plain
from .match import check_some_image, find_images, missing_reason, placed
from .reasons import NO_TAXON, SEVERAL
from .walk import globbed

_SNIFFED_BYTES = 4096
_KEYS = ("images", "annotations", "categories", "info", "licenses", "type")
_GROUPS = ("seq_id", "sequence_id", "video_id", "individual_id", "specimen_id", "observation_id", "group")
_ACTION = "put the images that its JSON names below that folder"


def annotation_files(root: Path) -> list[Path]:
    """Return the files of annotations in a folder, or in ``annotations/`` of it; or the file that is given itself.

    Where there are none, those of its folders: Roboflow writes one beside the images of each split.
    """
    if root.is_file():
        return [root] if root.suffix.lower() == ".json" and _is_coco(root) else []
    for patterns in (("*.json", "annotations/*.json"), ("*/*annotations*.json",)) if root.is_dir() else ():
        found = sorted(path for path in globbed(root, *patterns) if path.is_file())
        if found := [path for path in found if _is_coco(path) and not is_detections(path)]:
            return found
    return []


def _is_coco(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(_SNIFFED_BYTES).decode("utf-8", "ignore").lstrip("\ufeff \r\n\t{")
    key = start.partition(":")[0].strip().strip('"')
    return key in _KEYS and ("file_name" in start or key != "images" or len(start) < 100)


def read_coco(path: str | Path) -> pd.DataFrame:
    """Read a folder with annotations and images, or one file beside them; ``source_id`` is the path that it states."""
    root = Path(path).expanduser().resolve()
    table = pd.concat([_of_folder(file, root) for file in annotation_files(root)], ignore_index=True).fillna("")
    root = root.parent if root.is_file() else root
    root = root.parent if root.name == "annotations" else root
    table = table.assign(source=root.name)
    named = table["source_id"]
    _mark_contradictions(table)
    table["source_id"] = numbered(named, table[BOX_COLUMN])
    files, damaged = find_images(root)
    place = match_addresses(named, named, files["path"])
    return check_some_image(placed(table, place, files, missing_reason(damaged)), root, damaged, _ACTION)


def _of_folder(file: Path, root: Path) -> pd.DataFrame:
    """Read one file; of one in a folder of splits the images lie beside it."""
    table = read_annotations(file)
    if root.is_file() or file.parent == root or file.parent.name == "annotations":
        return table
    inside = f"{file.parent.name}/"
    split = table[SPLIT_COLUMN].where(table[SPLIT_COLUMN] != "", split_word(file.parent.name))
    ids = table["source_id"].where(table["source_id"].str.startswith(inside), inside + table["source_id"])
    return table.assign(source_id=ids, **{SPLIT_COLUMN: split})


def _mark_contradictions(table: pd.DataFrame) -> None:
    """Give an image that is listed twice with two taxa, and no boxes to tell them apart, its reason."""
    free = (table["problem"] == "") & (table[BOX_COLUMN] == "")
    n_names = table[free].groupby("source_id")["verbatim_name"].nunique()
    table.loc[free & table["source_id"].isin(n_names.index[n_names > 1]), "problem"] = SEVERAL


def read_annotations(path: Path, one_taxon: bool = False) -> pd.DataFrame:
    """Read one file of annotations: a row an image and a taxon on it (or the first), named as the categories are."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        images, classes, licenses = (_by_id(content.get(key, [])) for key in ("images", "categories", "licenses"))
        labels = pd.DataFrame(content["annotations"]).reindex(columns=["image_id", "category_id", "bbox", *_GROUPS])
        labels["image_id"], labels["category_id"] = labels["image_id"].map(_id), labels["category_id"].map(_id)
        labels = _labels(labels, images, one_taxon)
        table = images.join(labels, suffixes=("", "_of_label"))
        names = classes.reindex(table["category_id"]).fillna("").astype(str).reset_index(drop=True)
        files = table["file_name"].astype(str).str.replace("\\", "/", regex=False).reset_index(drop=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not an annotation file of iNat21 or COCO ({error!r}); download it again") from None
    several = pd.Series(table.index.duplicated(keep=False)) & (table[BOX_COLUMN].fillna("") == "").to_numpy()
    table = table.reset_index(drop=True)
    raw = names.rename(columns={"name": "verbatim_name", "specific_epithet": "species"})
    raw = raw.reindex(columns=["verbatim_name", *RANKS, "common_name"], fill_value="")
    if "species" in names and raw["verbatim_name"].str.isdigit().all():
        raw["verbatim_name"] = verbatim_names(path, names)
    raw["problem"] = _problems(raw["verbatim_name"]).mask(several, SEVERAL)
    raw[BOX_COLUMN] = table[BOX_COLUMN].fillna("")
    raw["problem"] = raw["problem"].mask(raw[BOX_COLUMN] == NO_BOX, NO_BOX)
    raw[BOX_COLUMN] = raw[BOX_COLUMN].replace(NO_BOX, "")
    raw["license"] = _text(table, "license", licenses.get("name"))
    raw["rights_holder"] = _text(table, "rights_holder")
    raw[SPLIT_COLUMN] = _text(table, "split") if "split" in table else split_of(path)
    groups = [_text(table, column) for column in (*_GROUPS, *(f"{c}_of_label" for c in _GROUPS)) if column in table]
    group = next((group for group in groups if (group != "").any()), None)
    return raw.assign(source_id=files, **({} if group is None else {GROUP_COLUMN: group}))


def _by_id(rows: list[dict]) -> pd.DataFrame:
    """Return the rows of a list by their ids, the first of each."""
    table = pd.DataFrame(rows) if rows else pd.DataFrame(columns=["id"])
    table = table.set_index(table.pop("id").map(_id))
    return table[~table.index.duplicated()]


def _id(value: object) -> str:
    """Write an id as text: some quote it in one table alone, and pandas makes 1 to 1.0 beside a blank."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _labels(labels: pd.DataFrame, images: pd.DataFrame, one_taxon: bool) -> pd.DataFrame:
    """Return the annotations that say something of their own: each box, else each taxon of an image once."""
    if one_taxon:
        return labels.drop_duplicates("image_id").drop(columns="bbox").assign(**{BOX_COLUMN: ""}).set_index("image_id")
    sizes = images.reindex(columns=["width", "height"]).apply(pd.to_numeric, errors="coerce").fillna(0)
    sizes = sizes.reindex(labels["image_id"]).fillna(0).to_numpy()
    boxes = [
        "" if not isinstance(box, (list, tuple)) or not box else box_of(box, *size) or NO_BOX
        for box, size in zip(labels["bbox"], sizes, strict=True)
    ]
    labels = labels.drop(columns="bbox").assign(**{BOX_COLUMN: boxes})
    labels = labels[~labels.duplicated(["image_id", "category_id", BOX_COLUMN])]
    key = pd.MultiIndex.from_frame(labels[["image_id", "category_id"]])
    boxed = (labels[BOX_COLUMN] != "").to_numpy()
    return labels[boxed | ~key.isin(key[boxed])].set_index("image_id")


def split_of(path: Path) -> str:
    """Return the split that the name of a file of annotations tells, '' where it tells none."""
    words = [split_word(word) for word in path.stem.replace("-", "_").split("_")]
    return next((word for word in words if word), "")


def _problems(names: pd.Series) -> pd.Series:
    """Return why images of these names are none of a taxon."""
    name = names.map(plain)
    problem = pd.Series("", index=names.index, dtype=object).mask(name == "", "no annotation")
    return problem.mask(name.isin(NOTHING), NO_TAXON + name + ")")


def _text(table: pd.DataFrame, column: str, meaning: pd.Series | None = None) -> pd.Series:
    """Return a column as text, '' where it says nothing."""
    if column not in table:
        return pd.Series("", index=table.index, dtype=object)
    values = table[column] if meaning is None else table[column].map(_id).map(meaning)
    return values.map(lambda value: "" if pd.isna(value) else str(value)).astype(object)
