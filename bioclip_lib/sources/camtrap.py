"""Camtrap DP: camera traps as a data package, with ``datapackage.json``, ``media.csv`` and ``observations.csv``.

Takes its folder; returns the raw table, a row a box, or an image and a taxon seen on it. Images of one event are a
group; blank ones, people and vehicles are rows with their reason.
"""

import json
from pathlib import Path

import pandas as pd

from ..files.crops import box_of
from .addresses import match_addresses
from .boxes import BOX_COLUMN, CONFIDENCE_COLUMN, numbered
from .columns import GROUP_COLUMN, STATE_COLUMNS
from .match import check_some_image, find_images, first_said, missing_reason, placed, read_given
from .reasons import NO_TAXON, NOT_AN_IMAGE, SEVERAL

PACKAGE = "datapackage.json"
_MEDIA = ("mediaid", "deploymentid", "filepath", "filename", "filemediatype", "sequenceid", "timestamp")
_BOX = ("bboxx", "bboxy", "bboxwidth", "bboxheight")  # in shares of the photograph
_OBSERVATIONS = (
    *("mediaid", "eventid", "sequenceid", "deploymentid", "observationtype", "scientificname", "observationlevel"),
    *("eventstart", "eventend", "individualid", "vernacularnames.en", "classificationprobability", *_BOX),
    *("sex", "lifestage"),
)
_ACTION = "put the media of the data package below its folder"


def is_camtrap(root: Path) -> bool:
    """Tell a folder with a data package of media and observations."""
    return (root / PACKAGE).is_file() and (root / "media.csv").is_file() and (root / "observations.csv").is_file()


def read_camtrap(path: str | Path) -> pd.DataFrame:
    """Read a data package; ``source_id`` is the media's id."""
    root = Path(path).expanduser().resolve()
    media = read_given(root / "media.csv", _MEDIA, {"mediaid"})
    rows = _joined(media, read_given(root / "observations.csv", _OBSERVATIONS, {"scientificname"}))
    image = rows["filemediatype"].str.startswith("image") | (rows["filemediatype"] == "")
    box = pd.Series([box_of(values, 1, 1) for values in rows[list(_BOX)].to_numpy()], rows.index, dtype=object)
    several = rows["mediaid"].duplicated(keep=False) & (box == "")
    reason = rows["observationtype"].where(rows["observationtype"] != "", "unclassified")
    problem = pd.Series("", index=rows.index, dtype=object).mask(several, SEVERAL)
    problem = problem.mask(rows["scientificname"] == "", NO_TAXON + reason + ")")
    problem = problem.mask(~image, NOT_AN_IMAGE + rows["filemediatype"] + ")")
    said = pd.DataFrame(
        {
            **{"source": root.name, "source_id": numbered(rows["mediaid"], box)},
            **{"verbatim_name": rows["scientificname"]},
            **{"common_name": rows["vernacularnames.en"], "license": _license(root), "problem": problem},
            **{"source_url": rows["filepath"].where(rows["filepath"].str.contains("://"), "")},
            **{"address": rows["filepath"].where(rows["filepath"].str.contains("://"), ""), "record": rows["mediaid"]},
            **dict(zip(STATE_COLUMNS, (rows["sex"], rows["lifestage"]), strict=True)),
            **{BOX_COLUMN: box, CONFIDENCE_COLUMN: rows["classificationprobability"], GROUP_COLUMN: rows["group"]},
        }
    )
    files, damaged = find_images(root)
    place = match_addresses(first_said(rows, ("filepath", "filename")), rows["mediaid"], files["path"])
    return check_some_image(placed(said, place, files, missing_reason(damaged)), root, damaged, _ACTION)


def _joined(media: pd.DataFrame, seen: pd.DataFrame) -> pd.DataFrame:
    """Join observations to their media: by the media's id, or an event's sequence of them."""
    event = first_said(seen, ("individualid", "eventid", "sequenceid"))
    seen = seen.assign(group=event.where(event != "", seen["deploymentid"] + " " + seen["eventstart"]))
    seen = seen.sort_values("scientificname", kind="stable").assign(sequenceid=_events(seen))
    media = media.assign(sequenceid=_event_of(media, seen))
    seen = seen.drop(columns=["deploymentid"])
    direct = media.merge(seen[seen["mediaid"] != ""].drop(columns="sequenceid"), how="left", on="mediaid")
    of_events = seen[(seen["mediaid"] == "") & (seen["sequenceid"] != "")].drop(columns="mediaid")
    left = direct["observationtype"].isna()
    by_event = direct.loc[left, list(media.columns)].merge(of_events, how="left", on="sequenceid")
    rows = pd.concat([direct[~left], by_event], ignore_index=True).fillna("").astype(object)
    place = ["mediaid", "scientificname", *_BOX]
    for state in ("sex", "lifestage") if len(rows) else ():  # a male and a female of one image: it shows neither alone
        rows[state] = rows[state].where(rows.groupby(place)[state].transform("nunique") == 1, "")
    rows = rows.drop_duplicates(place) if len(rows) else rows
    boxed, seen_on = (rows[_BOX[0]] != "").to_numpy(), pd.MultiIndex.from_frame(rows[["mediaid", "scientificname"]])
    rows = rows[boxed | ~seen_on.isin(seen_on[boxed])]
    named = rows.loc[rows["scientificname"] != "", "mediaid"]
    rows = rows[(rows["scientificname"] != "") | ~rows["mediaid"].isin(named)]  # an animal beside a person is seen
    order = pd.Series(range(len(media)), index=media["mediaid"])
    order = order[~order.index.duplicated()]
    return rows.iloc[rows["mediaid"].map(order).argsort(kind="stable")].reset_index(drop=True)


def _events(seen: pd.DataFrame) -> pd.Series:
    """Return the sequence of each observation; of one of an event alone, the event's place and time."""
    alone = (seen["mediaid"] == "") & (seen["sequenceid"] == "") & (seen["eventstart"] != "")
    return seen["sequenceid"].mask(alone, seen["deploymentid"] + " " + seen["eventstart"] + " " + seen["eventend"])


def _event_of(media: pd.DataFrame, seen: pd.DataFrame) -> pd.Series:
    """Return the sequence of each media file; where it has none, the event of its camera within whose time it is."""
    times = {
        name: pd.to_datetime(seen[name], errors="coerce", format="ISO8601", utc=True)
        for name in ("eventstart", "eventend")
    }
    events = seen.assign(**times)[seen["mediaid"] == ""].dropna(subset=["eventstart", "eventend"])
    taken = pd.to_datetime(media["timestamp"], errors="coerce", format="ISO8601", utc=True)
    asked = media.assign(taken=taken)[(media["sequenceid"] == "") & taken.notna()].drop(columns="sequenceid")
    if events.empty or asked.empty:
        return media["sequenceid"]
    keys = {"left_on": "taken", "right_on": "eventstart", "by": "deploymentid"}
    events = events[["deploymentid", "eventstart", "eventend", "sequenceid"]].sort_values("eventstart")
    found = pd.merge_asof(asked.reset_index().sort_values("taken"), events, **keys).set_index("index")
    found = found.loc[found["taken"] <= found["eventend"], "sequenceid"]
    return media["sequenceid"].where(~media.index.isin(found.index), found.reindex(media.index))


def _license(root: Path) -> str:
    """Return the licence of the media, as the package states it."""
    try:
        licenses = json.loads((root / PACKAGE).read_text(encoding="utf-8-sig")).get("licenses", [])
        names = [str(item.get("name") or item.get("path") or "") for item in licenses if item.get("scope") == "media"]
        return (names or [""])[0]
    except (ValueError, AttributeError, TypeError):
        return ""
