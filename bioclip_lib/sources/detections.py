"""Boxes that MegaDetector or SpeciesNet found, in JSON files beside the images.

Takes their folder; returns the raw table, a row a box of an animal, and an image without any. SpeciesNet and
classifiers after MegaDetector name the animals; where nothing does, the folders or the table beside them must. Refuses
a file that is cut short, and boxes without any name.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from ..config import DataConfig
from ..errors import InputError
from ..files.crops import NO_BOX, box_of
from .addresses import NOT_FOUND, match_addresses
from .boxes import BOX_COLUMN, CONFIDENCE_COLUMN, numbered
from .marks import NOTHING
from .match import check_some_image, find_images, missing_reason, placed
from .reasons import NO_TAXON
from .walk import globbed

_SNIFFED_BYTES = 4096
_ANIMAL = ("animal", "1")
_LABEL = ("class", "order", "family", "genus", "species", "common_name")  # of SpeciesNet, behind an id
_COLUMNS = ("file", "verbatim_name", *_LABEL, BOX_COLUMN, CONFIDENCE_COLUMN, "problem")
_ACTION = "put the images that its JSON names below that folder"
UNNAMED = f"{NO_TAXON}an animal without a name)"


def detection_files(root: Path) -> list[Path]:
    """Return the files of detections in a folder."""
    return [path for path in globbed(root, "*.json") if path.is_file() and is_detections(path)]


def is_detections(path: Path) -> bool:
    """Tell the beginning of a file of MegaDetector or SpeciesNet."""
    with path.open("rb") as file:
        start = file.read(_SNIFFED_BYTES).decode("utf-8", "ignore")
    of_image = '"file"' in start and ('"detections"' in start or '"failure"' in start)
    return of_image or '"detection_categories"' in start or ('"predictions"' in start and '"filepath"' in start)


def read_detections(
    root: Path, files: list[Path], data: DataConfig, labelled: Callable[[], pd.DataFrame]
) -> pd.DataFrame:
    """Read boxes and names; where the files name nothing, what `labelled` reads of the same folder says the names."""
    root = root.expanduser().resolve()
    rows = [row for path in files for row in _rows_of(path, data.min_confidence)]
    table = pd.DataFrame(rows, columns=list(_COLUMNS), dtype=object).fillna("").drop_duplicates(ignore_index=True)
    if not (table["problem"] == "").any() and (table["problem"] == UNNAMED).any():
        return _labelled(root, files, table, labelled, data)
    images, damaged = find_images(root)
    place = match_addresses(table["file"], table["file"], images["path"])
    raw = table.drop(columns="file").assign(source=root.name, source_id=numbered(table["file"], table[BOX_COLUMN]))
    return check_some_image(placed(raw, place, images, missing_reason(damaged)), root, damaged, _ACTION)


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


def _rows_of(path: Path, min_confidence: float) -> Iterator[tuple]:
    """Yield the rows of one file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        if isinstance(content, dict) and "predictions" in content:
            yield from (row for image in content["predictions"] for row in _of_speciesnet(image))
            return
        images = content if isinstance(content, list) else content["images"]
        said = content if isinstance(content, dict) else {}
        for image in images:
            yield from _of_megadetector(image, said, min_confidence)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(
            f"{path} is no whole output of MegaDetector or SpeciesNet ({error!r}); write it again"
        ) from None


def _row(file: str, name: str, label: tuple, box: str, confidence: object, problem: str) -> tuple:
    return (file.replace("\\", "/"), name, *(label or ("",) * len(_LABEL)), box, str(confidence), problem)


def _of_megadetector(image: dict, said: dict, min_confidence: float) -> Iterator[tuple]:
    """Yield the animals that are sure, else the surest; what is no animal, or failed, is a row without a box."""
    file = image.get("file") or image["im_id"]
    kinds = said.get("detection_categories", {})
    found = image.get("detections") or []
    animals = [d for d in found if kinds.get(str(d["category"]), d["category"]) in _ANIMAL]
    animals.sort(key=_confidence, reverse=True)
    sure = [d for d in animals if _confidence(d) >= min_confidence]
    if not animals or image.get("failure"):
        others = [kinds.get(str(d["category"]), str(d["category"])) for d in found if _confidence(d) >= min_confidence]
        what = image.get("failure") or (others or ["blank"])[0]
        yield _row(file, "", (), "", "", f"{NO_TAXON}{what})")
        return
    for detection in sure or animals[:1]:
        name, label = _named(detection, said)
        box = _box(detection["bbox"], isinstance(said.get("images"), list))
        problem = NO_BOX if not box else "" if name else UNNAMED
        yield _row(file, name, label, box, _confidence(detection), problem)


def _confidence(detection: dict) -> float:
    return float(detection.get("conf", detection.get("confidence", 1.0)))


def _box(values: list[float], in_shares: bool) -> str:
    """Return a box: in shares of the photograph, or as Microsoft writes it, two corners in pixels."""
    if in_shares:
        return box_of(values, 1, 1)
    left, upper, right, lower = values
    return box_of((left, upper, right - left, lower - upper))


def _named(detection: dict, said: dict) -> tuple[str, tuple]:
    """Return the name that a classifier gives a detection, and its lineage where the label has one."""
    classified = detection.get("classifications") or []
    if not classified:
        return "", ()
    key = str(max(classified, key=lambda pair: pair[1])[0])
    name = said["classification_categories"][key]
    label = _lineage(said.get("classification_category_descriptions", {}).get(key, ""))
    if label:
        return _deepest(label), label
    return ("" if name.lower() in NOTHING else name), ()


def _lineage(label: str) -> tuple[str, ...]:
    """Return the parts of a label of SpeciesNet, ``id;class;order;family;genus;species;common``, () for another."""
    parts = label.split(";")
    return tuple(part.capitalize() if i < 4 else part for i, part in enumerate(parts[1:])) if len(parts) == 7 else ()


def _deepest(label: tuple[str, ...]) -> str:
    """Return the name that a lineage ends in, '' where it says no more than "animal"."""
    *ranks, genus, species, common = label
    if genus and species:
        return f"{genus} {species}"
    return genus or next((rank for rank in reversed(ranks) if rank), "" if common.lower() in NOTHING else common)


def _of_speciesnet(image: dict) -> Iterator[tuple]:
    """Yield the animal that a prediction names: the surest detection, for it is the one that was classified."""
    file, text = image["filepath"], image.get("prediction", "")
    if not text:
        what = ", ".join(image.get("failures", [])) or "no prediction"
        yield _row(file, "", (), "", "", f"{NO_TAXON}{what})")
        return
    label = _lineage(text)
    name = _deepest(label) if label else ""
    if not name:
        yield _row(file, "", (), "", "", f"{NO_TAXON}{text.rpartition(';')[2] or text})")
        return
    animals = [d for d in image.get("detections") or [] if str(d["category"]) in _ANIMAL]
    box = _box(max(animals, key=_confidence)["bbox"], True) if animals else ""
    yield _row(file, name, label, box, image.get("prediction_score", ""), NO_BOX if animals and not box else "")
