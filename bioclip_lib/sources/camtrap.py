"""Camtrap DP: camera traps as a data package, with ``datapackage.json``, ``media.csv`` and ``observations.csv``.

Takes its folder; returns the raw table, a row an image and a taxon seen on it. Images of one event are a group; blank
ones, people and vehicles are rows with their reason.
"""

import json
from pathlib import Path

import pandas as pd

from ..errors import InputError
from ..files.dialect import found_encoding, table_at
from ..files.tables import as_frame, read_table
from .addresses import match_addresses
from .coco import SEVERAL
from .columns import GROUP_COLUMN
from .match import check_some_image, find_images, missing_reason, placed

PACKAGE = "datapackage.json"
_MEDIA = ("mediaid", "deploymentid", "filepath", "filename", "filemediatype", "sequenceid")
_OBSERVATIONS = (
    *("mediaid", "eventid", "sequenceid", "deploymentid", "observationtype", "scientificname", "observationlevel"),
    *("eventstart", "eventend", "individualid", "vernacularnames.en"),
)
_ACTION = "put the media of the data package below its folder"


def is_camtrap(root: Path) -> bool:
    """Tell a folder with a data package of media and observations."""
    return (root / PACKAGE).is_file() and (root / "media.csv").is_file() and (root / "observations.csv").is_file()


def read_camtrap(path: str | Path) -> pd.DataFrame:
    """Read a data package; ``source_id`` is the media's id."""
    root = Path(path).expanduser().resolve()
    media, seen = _table(root / "media.csv", _MEDIA), _table(root / "observations.csv", _OBSERVATIONS)
    if "mediaid" not in media or "scientificname" not in seen:
        raise InputError(f"{root}: media.csv has no mediaID, or observations.csv no scientificName; export it again")
    for column in {*_MEDIA, *_OBSERVATIONS}:
        media = media if column in media or column not in _MEDIA else media.assign(**{column: ""})
        seen = seen if column in seen or column not in _OBSERVATIONS else seen.assign(**{column: ""})
    rows = _joined(media, seen)
    image = rows["filemediatype"].str.startswith("image") | (rows["filemediatype"] == "")
    several = rows["mediaid"].duplicated(keep=False)
    reason = rows["observationtype"].where(rows["observationtype"] != "", "unclassified")
    problem = pd.Series("", index=rows.index, dtype=object).mask(several, SEVERAL)
    problem = problem.mask(rows["scientificname"] == "", "image of no taxon (" + reason + ")")
    problem = problem.mask(~image, "not an image (" + rows["filemediatype"] + ")")
    said = pd.DataFrame(
        {
            **{"source": root.name, "source_id": rows["mediaid"], "verbatim_name": rows["scientificname"]},
            **{"common_name": rows["vernacularnames.en"], "license": _license(root), "problem": problem},
            **{"source_url": rows["filepath"].where(rows["filepath"].str.contains("://"), "")},
            GROUP_COLUMN: rows["group"],
        }
    )
    files, damaged = find_images(root)
    address = rows["filepath"].where(rows["filepath"] != "", rows["filename"])
    place = match_addresses(address, rows["mediaid"], files["path"])
    return check_some_image(placed(said, place, files, missing_reason(damaged)), root, damaged, _ACTION)


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    return as_frame(read_table(found_encoding(table_at(path)), set(columns)))


def _joined(media: pd.DataFrame, seen: pd.DataFrame) -> pd.DataFrame:
    """Join observations to their media: by the media's id, or an event's sequence of them."""
    event = _first(seen, ("individualid", "eventid", "sequenceid"))
    seen = seen.assign(group=event.where(event != "", seen["deploymentid"] + " " + seen["eventstart"]))
    seen = seen.drop(columns=["deploymentid"]).sort_values("scientificname", kind="stable")
    direct = media.merge(seen[seen["mediaid"] != ""].drop(columns="sequenceid"), how="left", on="mediaid")
    of_events = seen[(seen["mediaid"] == "") & (seen["sequenceid"] != "")].drop(columns="mediaid")
    left = direct["observationtype"].isna()
    by_event = direct.loc[left, list(media.columns)].merge(of_events, how="left", on="sequenceid")
    rows = pd.concat([direct[~left], by_event], ignore_index=True).fillna("").astype(object)
    rows = rows.drop_duplicates(["mediaid", "scientificname"]) if len(rows) else rows
    named = rows.loc[rows["scientificname"] != "", "mediaid"]
    rows = rows[(rows["scientificname"] != "") | ~rows["mediaid"].isin(named)]  # an animal beside a person is seen
    order = pd.Series(range(len(media)), index=media["mediaid"])
    order = order[~order.index.duplicated()]
    return rows.iloc[rows["mediaid"].map(order).argsort(kind="stable")].reset_index(drop=True)


def _first(table: pd.DataFrame, columns: tuple[str, ...]) -> pd.Series:
    value = pd.Series("", index=table.index, dtype=object)
    for column in columns:
        value = value.where(value != "", table[column])
    return value


def _license(root: Path) -> str:
    """Return the licence of the media, as the package states it."""
    try:
        licenses = json.loads((root / PACKAGE).read_text(encoding="utf-8-sig")).get("licenses", [])
        names = [str(item.get("name") or item.get("path") or "") for item in licenses if item.get("scope") == "media"]
        return (names or [""])[0]
    except (ValueError, AttributeError, TypeError):
        return ""
