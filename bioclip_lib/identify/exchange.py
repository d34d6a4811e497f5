"""Answers in the forms that field teams exchange: MegaDetector's JSON, Camtrap DP observations, Darwin Core.

Takes the table of `asking.identify`; returns tables and JSON, and reads boxes of MegaDetector as photographs. What a
file of boxes says stays in it, names come on top. Each form keeps model, hash of the label set, rank and probability.
"""

import copy
import datetime
import json
from pathlib import Path

import pandas as pd

from .. import RANKS
from ..errors import InputError
from ..files.crops import box_of, crop_location
from .asking import Trust
from .labels import LabelSet
from .photos import Photo

MIN_CONFIDENCE = 0.2
_ANIMAL = ("animal", "1")
_CHOICE = "choice_"


def boxes_of_megadetector(path: str | Path) -> tuple[dict, list[Photo]]:
    """Read MegaDetector's file, and its sure boxes of animals as photographs beside it: ``<file>#<detection>``."""
    path = Path(path).expanduser()
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        kinds = content["detection_categories"]
        photos = [
            Photo(f"{image['file']}#{n}", crop_location(str(path.parent / image["file"]), _box(found)))
            for image in content["images"]
            for n, found in enumerate(image.get("detections") or [])
            if kinds.get(found["category"], found["category"]) in _ANIMAL and found["conf"] >= MIN_CONFIDENCE
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no batch output of MegaDetector ({error!r}); write it again") from None
    return content, photos


def _box(found: dict) -> str:
    """Return the box of a detection, in shares of the photograph; ValueError if it is none."""
    box = box_of(found["bbox"], 1, 1)
    if not box:
        raise ValueError(f"bbox {found['bbox']}")
    return box


def to_megadetector(content: dict, table: pd.DataFrame, labels: LabelSet, made: dict) -> dict:
    """Add names to its boxes, as other classifiers do: ``classifications``, the best first; all else stays."""
    content, answers = copy.deepcopy(content), table.set_index("file_name")
    n_choices = sum(column.startswith(_CHOICE) for column in table)
    keys: dict[str, str] = {}
    for image in content["images"]:
        for n, found in enumerate(image.get("detections") or []):
            name = f"{image['file']}#{n}"
            if name not in answers.index or answers.at[name, "problem"]:
                continue
            row = answers.loc[name]
            pairs = [(row[f"{_CHOICE}{i}"], row[f"score_{i}"]) for i in range(1, n_choices + 1)]
            pairs = [(taxon, float(score)) for taxon, score in pairs if taxon]
            found["classifications"] = [[keys.setdefault(t, str(len(keys))), round(score, 6)] for t, score in pairs]
    content["classification_categories"] = {key: taxon for taxon, key in keys.items()}
    content["classification_category_descriptions"] = {key: _described(labels, taxon) for taxon, key in keys.items()}
    content.setdefault("info", {})["classifier"] = json.dumps(made, default=str)
    return content


def _described(labels: LabelSet, taxon: str) -> str:
    """Describe a taxon as SpeciesNet does: ``id;class;order;family;genus;species;common name``, in lower case."""
    rows = labels.names[(labels.names[list(RANKS)] == taxon).any(axis=1)]
    if rows.empty:
        genus, _, epithet = taxon.partition(" ")
        rows = labels.names[(labels.names["genus"] == genus) & (labels.names["species"] == epithet)]
        depth = len(RANKS)
    else:
        depth = 1 + list(rows.iloc[0][list(RANKS)]).index(taxon)
    if rows.empty:
        return f";;;;;;{taxon}"
    known = [rows.iloc[0][rank] if n < depth else "" for n, rank in enumerate(RANKS)][2:]
    common = rows.iloc[0]["common_name"] if depth == len(RANKS) else ""
    return ";".join(["", *known, common]).lower()


def provenance(address: str, labels: LabelSet, trust: Trust) -> dict:
    """Return what an answer was made with: model, label set and its hash, calibration, day."""
    day = datetime.date.today().isoformat()
    return {
        "model": address,
        "labels_sha256": labels.digest,
        "floor": trust.floor,
        "calibration": trust.said,
        "date": day,
    }


def to_darwin_core(table: pd.DataFrame, made: dict) -> pd.DataFrame:
    """Write answers as identifications of Darwin Core, a row a photograph that was answered."""
    found = table[(table["problem"] == "") & (table["taxon"] != "")].reset_index(drop=True)
    said = [json.dumps({**made, "probability": round(float(score), 6)}) for score in found["score"]]
    rows = {"identificationID": found["file_name"] + "#" + made["labels_sha256"][:12]}
    rows |= {"associatedMedia": found["file_name"], "scientificName": found["taxon"], "taxonRank": found["rank"]}
    rows |= {rank: found[rank] for rank in RANKS[:-1]} | {"specificEpithet": found["species"]}
    rows |= {"vernacularName": found["common_name"], "identifiedBy": made["model"], "dateIdentified": made["date"]}
    rows |= {"identificationVerificationStatus": "unverified", "identificationRemarks": said}
    return pd.DataFrame(rows)


def to_camtrap_dp(table: pd.DataFrame, media: pd.DataFrame, made: dict) -> pd.DataFrame:
    """Write answers as observations of Camtrap DP 1.0 for the rows of its media.csv, found by the end of their path."""
    at: dict[str, list[int]] = {}
    for n, file in enumerate(media["filePath"].str.replace("\\", "/")):
        at.setdefault(file, []).append(n)
    place = [
        _ends_with(at, name.replace("\\", "/")) for name in table["file_name"].str.replace(r"#\d+$", "", regex=True)
    ]
    of = media.iloc[place].reset_index(drop=True)
    found = table.reset_index(drop=True)
    named = (found["problem"] == "") & (found["taxon"] != "")
    rows = {"observationID": of["mediaID"] + "#" + (found.index + 1).astype(str), "deploymentID": of["deploymentID"]}
    rows |= {"mediaID": of["mediaID"], "eventStart": of["timestamp"], "eventEnd": of["timestamp"]}
    rows |= {"observationLevel": "media", "observationType": named.map({True: "animal", False: "unclassified"})}
    rows |= {"scientificName": found["taxon"], "classificationMethod": "machine", "classifiedBy": made["model"]}
    rows |= {"classificationTimestamp": f"{made['date']}T00:00:00Z", "classificationProbability": found["score"]}
    remarks = [json.dumps({"taxonRank": rank, "labels_sha256": made["labels_sha256"]}) for rank in found["rank"]]
    return pd.DataFrame({**rows, "observationComments": remarks})


def _ends_with(at: dict[str, list[int]], name: str) -> int:
    """Return the place of the one media file that a path ends with; of several ends the longest."""
    parts = name.split("/")
    match = next((at[end] for i in range(len(parts)) if (end := "/".join(parts[i:])) in at), [])
    if len(match) != 1:
        raise InputError(f"{name} is {len(match)} files of the media table; give the media.csv of these photographs")
    return match[0]
