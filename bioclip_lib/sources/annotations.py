"""JSON files beside the images: annotations in the form of COCO, and boxes that MegaDetector or SpeciesNet found.

COCO's form is that of iNaturalist's competitions, iWildCam, LILA's camera traps and Herbarium. Takes their folder, or
a file of COCO; returns the raw table, a row a box, and where there are none an image and a taxon on it; frames of a
sequence are a group, what is of no taxon has its reason. SpeciesNet and classifiers after MegaDetector name the
animals; where nothing does, the folders or the table beside them must. Refuses a file that is cut short, and boxes
without any name.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from .. import RANKS
from ..config import DataConfig
from ..errors import InputError
from ..files.crops import NO_BOX, box_of
from .addresses import NOT_FOUND, match_addresses
from .boxes import BOX_COLUMN, CONFIDENCE_COLUMN, numbered
from .columns import GROUP_COLUMN, NO_TAXON, SEVERAL, SPLIT_COLUMN, split_word, verbatim_names
from .marks import NOTHING, plain
from .match import find_images, with_images
from .walk import globbed

_SNIFFED_BYTES = 4096
_KEYS = ("images", "annotations", "categories", "info", "licenses", "type")
_GROUPS = ("seq_id", "sequence_id", "video_id", "individual_id", "specimen_id", "observation_id", "group")
_ACTION = "put the images that its JSON names below that folder"
_ANIMAL = ("animal", "1")
_LABEL = ("class", "order", "family", "genus", "species", "common_name")  # of SpeciesNet, behind an id
_COLUMNS = ("file", "verbatim_name", *_LABEL, BOX_COLUMN, CONFIDENCE_COLUMN, "problem")
UNNAMED = f"{NO_TAXON}an animal without a name)"


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


def _start(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_SNIFFED_BYTES).decode("utf-8", "ignore")


def _is_coco(path: Path) -> bool:
    start = _start(path).lstrip("\ufeff \r\n\t{")
    key = start.partition(":")[0].strip().strip('"')
    return key in _KEYS and ("file_name" in start or key != "images" or len(start) < 100)


def read_coco(root: Path) -> pd.DataFrame:
    """Read a folder with annotations and images, or one file beside them; ``source_id`` is the path that it states."""
    table = pd.concat([_of_folder(file, root) for file in annotation_files(root)], ignore_index=True).fillna("")
    root = root.parent if root.is_file() else root
    root = root.parent if root.name == "annotations" else root
    named = table["source_id"]
    free = (table["problem"] == "") & (table[BOX_COLUMN] == "")
    n_names = table[free].groupby("source_id")["verbatim_name"].nunique()
    table.loc[free & table["source_id"].map(n_names).gt(1), "problem"] = SEVERAL  # listed twice with two taxa
    table = table.assign(source=root.name, source_id=numbered(named, table[BOX_COLUMN]))
    files, damaged = find_images(root)
    return with_images(table, match_addresses(named, named, files["path"]), files, root, _ACTION, damaged)


def _of_folder(file: Path, root: Path) -> pd.DataFrame:
    """Read one file; of one in a folder of splits the images lie beside it."""
    table = read_annotations(file)
    if root.is_file() or file.parent == root or file.parent.name == "annotations":
        return table
    inside = f"{file.parent.name}/"
    split = table[SPLIT_COLUMN].where(table[SPLIT_COLUMN] != "", split_word(file.parent.name))
    ids = table["source_id"].where(table["source_id"].str.startswith(inside), inside + table["source_id"])
    return table.assign(source_id=ids, **{SPLIT_COLUMN: split})


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
    name = raw["verbatim_name"].map(plain)
    problem = pd.Series("", index=raw.index, dtype=object).mask(name == "", "no annotation")
    raw["problem"] = problem.mask(name.isin(NOTHING), NO_TAXON + name + ")").mask(several, SEVERAL)
    raw[BOX_COLUMN] = table[BOX_COLUMN].fillna("")
    raw["problem"] = raw["problem"].mask(raw[BOX_COLUMN] == NO_BOX, NO_BOX)
    raw[BOX_COLUMN] = raw[BOX_COLUMN].replace(NO_BOX, "")
    raw["license"] = _text(table, "license", licenses.get("name"))
    split_of_file = next(filter(None, map(split_word, re.split("[-_]", path.stem))), "")
    raw["rights_holder"] = _text(table, "rights_holder")
    raw[SPLIT_COLUMN] = _text(table, "split") if "split" in table else split_of_file
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


def _text(table: pd.DataFrame, column: str, meaning: pd.Series | None = None) -> pd.Series:
    """Return a column as text, '' where it says nothing."""
    if column not in table:
        return pd.Series("", index=table.index, dtype=object)
    values = table[column] if meaning is None else table[column].map(_id).map(meaning)
    return values.map(lambda value: "" if pd.isna(value) else str(value)).astype(object)


def detection_files(root: Path) -> list[Path]:
    """Return the files of detections in a folder."""
    return [path for path in globbed(root, "*.json") if path.is_file() and is_detections(path)]


def is_detections(path: Path) -> bool:
    """Tell the beginning of a file of MegaDetector or SpeciesNet."""
    start = _start(path)
    of_image = '"file"' in start and ('"detections"' in start or '"failure"' in start)
    return of_image or '"detection_categories"' in start or ('"predictions"' in start and '"filepath"' in start)


def read_detections(
    root: Path, files: list[Path], data: DataConfig, labelled: Callable[[], pd.DataFrame]
) -> pd.DataFrame:
    """Read boxes and names; where the files name nothing, what `labelled` reads of the same folder says the names."""
    rows = [row for path in files for row in _rows_of(path, data.min_confidence)]
    table = pd.DataFrame(rows, columns=list(_COLUMNS), dtype=object).fillna("").drop_duplicates(ignore_index=True)
    if not (table["problem"] == "").any() and (table["problem"] == UNNAMED).any():
        return _labelled(root, files, table, labelled, data)
    images, damaged = find_images(root)
    place = match_addresses(table["file"], table["file"], images["path"])
    raw = table.drop(columns="file").assign(source=root.name, source_id=numbered(table["file"], table[BOX_COLUMN]))
    return with_images(raw, place, images, root, _ACTION, damaged)


def _labelled(root: Path, files: list[Path], table: pd.DataFrame, labelled: Callable, data: DataConfig) -> pd.DataFrame:
    """Give the images that something else names their boxes."""
    try:
        raw = labelled()
    except InputError as error:
        raise InputError(
            f"{files[0]} has boxes and no names, and nothing else names the images ({error}); put them into class "
            "folders, give a label table beside them, or the output of a classifier such as SpeciesNet"
        ) from None
    images, _ = find_images(root)
    place = match_addresses(table["file"], table["file"], images["path"])
    found = table.assign(location=[images["location"][i] if i != NOT_FOUND else "" for i in place])
    boxes = found.loc[
        (found[BOX_COLUMN] != "") & (found["location"] != ""), ["location", BOX_COLUMN, CONFIDENCE_COLUMN]
    ]
    rows = raw.drop(columns=[BOX_COLUMN, CONFIDENCE_COLUMN], errors="ignore").merge(boxes, "left", on="location")
    rows = rows.fillna("")
    bare = (rows[BOX_COLUMN] == "") & (rows["problem"] == "")
    if data.boxes == "crop":
        listed = rows["location"].isin(found["location"])
        rows["problem"] = rows["problem"].mask(bare & ~listed, f"not listed in {files[0].name}")
        rows["problem"] = rows["problem"].mask(bare & listed, f"{NO_TAXON}no box of an animal)")
    return rows.assign(source_id=numbered(rows["source_id"], rows[BOX_COLUMN]))


def _rows_of(path: Path, min_confidence: float) -> Iterator[dict]:
    """Yield the rows of one file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        said = content if isinstance(content, dict) else {}
        by_speciesnet = "predictions" in said
        images = content if isinstance(content, list) else content["predictions" if by_speciesnet else "images"]
        for image in images:
            file = image["filepath"] if by_speciesnet else image.get("file") or image["im_id"]
            rows = [_of_speciesnet(image)] if by_speciesnet else _of_megadetector(image, said, min_confidence)
            yield from ({"file": file.replace("\\", "/"), "problem": "", **row} for row in rows)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(
            f"{path} is no whole output of MegaDetector or SpeciesNet ({error!r}); write it again"
        ) from None


def _of_megadetector(image: dict, said: dict, min_confidence: float) -> list[dict]:
    """Return the animals that are sure, else the surest; what is no animal, or failed, is a row without a box."""
    kinds = said.get("detection_categories", {})
    found = sorted(image.get("detections") or [], key=_confidence, reverse=True)
    sure = [d for d in found if _confidence(d) >= min_confidence]
    animals = [d for d in found if kinds.get(str(d["category"]), d["category"]) in _ANIMAL]
    if not animals or image.get("failure"):
        others = [kinds.get(str(d["category"]), str(d["category"])) for d in sure]
        return [{"problem": f"{NO_TAXON}{image.get('failure') or (others or ['blank'])[0]})"}]
    rows = []
    for detection in [d for d in animals if d in sure] or animals[:1]:
        row = _named(detection, said)
        box = _box(detection["bbox"], isinstance(said.get("images"), list))
        problem = NO_BOX if not box else "" if row["verbatim_name"] else UNNAMED
        rows.append({**row, BOX_COLUMN: box, CONFIDENCE_COLUMN: str(_confidence(detection)), "problem": problem})
    return rows


def _confidence(detection: dict) -> float:
    return float(detection.get("conf", detection.get("confidence", 1.0)))


def _box(values: list[float], in_shares: bool) -> str:
    """Return a box: in shares of the photograph, or as Microsoft writes it, two corners in pixels."""
    if in_shares:
        return box_of(values, 1, 1)
    left, upper, right, lower = values
    return box_of((left, upper, right - left, lower - upper))


def _named(detection: dict, said: dict) -> dict[str, str]:
    """Return the name that a classifier gives a detection, and its lineage where the label has one."""
    classified = detection.get("classifications") or []
    if not classified:
        return {"verbatim_name": ""}
    key = str(max(classified, key=lambda pair: pair[1])[0])
    name = said["classification_categories"][key]
    label = _of_label(said.get("classification_category_descriptions", {}).get(key, ""))
    return label or {"verbatim_name": "" if name.lower() in NOTHING else name}


def _of_label(label: str) -> dict[str, str]:
    """Return what a label of SpeciesNet says, ``id;class;order;family;genus;species;common``, {} of another.

    Its name is the one that the lineage ends in, '' where it says no more than "animal".
    """
    parts = label.split(";")
    if len(parts) != 7:
        return {}
    *ranks, genus, species, common = (*map(str.capitalize, parts[1:5]), *parts[5:])
    deepest = next(filter(None, reversed(ranks)), "" if common.lower() in NOTHING else common)
    name = f"{genus} {species}" if genus and species else genus or deepest
    return {"verbatim_name": name, **dict(zip(_LABEL, (*ranks, genus, species, common), strict=True))}


def _of_speciesnet(image: dict) -> dict[str, str]:
    """Return the animal that a prediction names: the surest detection, for it is the one that was classified."""
    text = image.get("prediction", "")
    label = _of_label(text)
    if not label.get("verbatim_name"):
        failure = ", ".join(image.get("failures", [])) or "no prediction"
        return {"problem": f"{NO_TAXON}{(text.rpartition(';')[2] or text) if text else failure})"}
    animals = [d for d in image.get("detections") or [] if str(d["category"]) in _ANIMAL]
    box = _box(max(animals, key=_confidence)["bbox"], True) if animals else ""
    sure = {BOX_COLUMN: box, CONFIDENCE_COLUMN: str(image.get("prediction_score", ""))}
    return {**label, **sure, "problem": NO_BOX if animals and not box else ""}
