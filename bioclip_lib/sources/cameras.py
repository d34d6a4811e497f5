"""Camera traps: the data package Camtrap DP, Wildlife Insights' export, and Timelapse's table.

Takes a folder (of Wildlife Insights a zip, too); returns the raw table, a row a box, or an image and a taxon seen on
it. Images of one event, sequence or visit are a group; blank ones, people and vehicles are rows with their reason.
"""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import InputError
from ..files.crops import box_of
from ..files.tables import as_frame, list_files, read_table
from .addresses import NOT_FOUND, match_addresses
from .boxes import BOX_COLUMN, CONFIDENCE_COLUMN, numbered
from .columns import GROUP_COLUMN, NO_TAXON, NOT_AN_IMAGE, SEVERAL, STATE_COLUMNS
from .match import find_images, first_said, images_of, lineage, read_given, with_images

_PACKAGE = "datapackage.json"
_MEDIA = ("mediaid", "deploymentid", "filepath", "filename", "filemediatype", "sequenceid", "timestamp")
_BOX = ("bboxx", "bboxy", "bboxwidth", "bboxheight")  # in shares of the photograph
_OBSERVATIONS = (
    *("mediaid", "eventid", "sequenceid", "deploymentid", "observationtype", "scientificname", "observationlevel"),
    *("eventstart", "eventend", "individualid", "vernacularnames.en", "classificationprobability", *_BOX),
    *("sex", "lifestage"),
)
_SAID = ("is_blank", "identified_by", "class", "order", "family", "genus", "species", "common_name", "cv_confidence")
_IMAGES = ("image_id", "deployment_id", "filename", "location", "sequence_id", "license", *_SAID)
_SEQUENCES = ("sequence_id", "license", *_SAID)
_NOTHING = ("blank", "human", "vehicle", "no cv result", "misfire", "unknown", "homo sapiens", "homo", "animal")
VISIT_S = 60.0  # frames of one folder that follow each other within so many seconds are one visit


def is_camtrap(root: Path) -> bool:
    """Tell a folder with a data package of media and observations."""
    return (root / _PACKAGE).is_file() and (root / "media.csv").is_file() and (root / "observations.csv").is_file()


def read_camtrap(root: Path) -> pd.DataFrame:
    """Read a data package; ``source_id`` is the media's id."""
    media = read_given(root / "media.csv", _MEDIA, {"mediaid"})
    rows = _joined(media, read_given(root / "observations.csv", _OBSERVATIONS, {"scientificname"}))
    image = rows["filemediatype"].str.startswith("image") | (rows["filemediatype"] == "")
    box = pd.Series([box_of(values, 1, 1) for values in rows[list(_BOX)].to_numpy()], rows.index, dtype=object)
    reason = rows["observationtype"].where(rows["observationtype"] != "", "unclassified")
    problem = pd.Series("", rows.index, dtype=object)
    problem = problem.mask(rows["mediaid"].duplicated(keep=False) & (box == ""), SEVERAL)
    problem = problem.mask(rows["scientificname"] == "", NO_TAXON + reason + ")")
    problem = problem.mask(~image, NOT_AN_IMAGE + rows["filemediatype"] + ")")
    names = {"scientificname": "verbatim_name", "vernacularnames.en": "common_name", "mediaid": "record"}
    names |= {"classificationprobability": CONFIDENCE_COLUMN, "group": GROUP_COLUMN}
    names |= dict(zip(("sex", "lifestage"), STATE_COLUMNS, strict=True))
    said = rows[list(names)].rename(columns=names).assign(source=root.name, problem=problem, license=_license(root))
    address = rows["filepath"].where(rows["filepath"].str.contains("://"), "")
    said = said.assign(source_id=numbered(rows["mediaid"], box), source_url=address, address=address)
    files, damaged = find_images(root)
    place = match_addresses(first_said(rows, ("filepath", "filename")), rows["mediaid"], files["path"])
    action = "put the media of the data package below its folder"
    return with_images(said.assign(**{BOX_COLUMN: box}), place, files, root, action, damaged)


def _joined(media: pd.DataFrame, seen: pd.DataFrame) -> pd.DataFrame:
    """Join observations to their media: by the media's id, or an event's sequence of them."""
    event = first_said(seen, ("individualid", "eventid", "sequenceid"))
    seen = seen.assign(group=event.where(event != "", seen["deploymentid"] + " " + seen["eventstart"]))
    alone = (seen["mediaid"] == "") & (seen["sequenceid"] == "") & (seen["eventstart"] != "")
    of_event = seen["deploymentid"] + " " + seen["eventstart"] + " " + seen["eventend"]  # its place and time
    seen = seen.assign(sequenceid=seen["sequenceid"].mask(alone, of_event))
    seen = seen.sort_values("scientificname", kind="stable")
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
        licenses = json.loads((root / _PACKAGE).read_text(encoding="utf-8-sig")).get("licenses", [])
        names = [str(item.get("name") or item.get("path") or "") for item in licenses if item.get("scope") == "media"]
        return (names or [""])[0]
    except (ValueError, AttributeError, TypeError):
        return ""


def is_insights(path: Path) -> bool:
    """Tell an export of Wildlife Insights by its tables."""
    needed = ("deployments.csv", "projects.csv")
    if path.is_dir():
        return all((path / name).is_file() for name in needed) and any(path.glob("images*.csv"))
    try:
        files = list_files(path)
    except InputError:
        return False
    return all(name in files for name in needed) and any(re.fullmatch(r"images.*\.csv", name) for name in files)


def read_insights(path: Path) -> pd.DataFrame:
    """Read ``images*.csv``, or ``sequences.csv`` where these say nothing; ``source_id`` is the id of the image."""
    tables = list_files(path)
    images = pd.concat([_read(file, _IMAGES) for name, file in sorted(tables.items()) if name.startswith("images")])
    same = [column for column in images if column not in ("identified_by", "cv_confidence")]  # seen alike by two
    rows = images.drop_duplicates(same, ignore_index=True)
    if (images[list(_SAID)] == "").all(axis=None) and "sequences.csv" in tables:
        seen = _read(tables["sequences.csv"], _SEQUENCES).drop_duplicates()
        rows = rows[["image_id", "deployment_id", "filename", "location", "sequence_id"]]
        rows = rows.merge(seen, "left", on="sequence_id").fillna("").astype(object)
    projects = _read(tables["projects.csv"], ("image_license", "metadata_license"))
    raw = _described(rows, projects["image_license"].unique().tolist()).assign(source=path.name.partition(".")[0])
    files, damaged = images_of(path)
    address = rows["location"].where(rows["location"].str.contains("://"), "")
    place = match_addresses(first_said(rows, ("location", "filename")), rows["image_id"], files["path"])
    left = np.flatnonzero(place == NOT_FOUND)
    free = ~np.isin(np.arange(len(files)), place)
    of_camera = (rows["deployment_id"] + "/" + rows["filename"]).where(rows["filename"] != "", "").iloc[left]
    place[left] = match_addresses(of_camera, rows["image_id"].iloc[left], files["path"].where(free, ""))
    action = "put the images of the export below that folder (of a zip: into the folder of its name beside it)"
    return with_images(raw.assign(address=address, record=rows["image_id"]), place, files, path, action, damaged)


def _read(file, columns: tuple[str, ...]) -> pd.DataFrame:
    return as_frame(read_table(file, columns)).reindex(columns=list(columns), fill_value="")


def _described(rows: pd.DataFrame, licences: list[str]) -> pd.DataFrame:
    """Return what is said of each image."""
    said = lineage(rows, binomial=False)
    name, common = said["verbatim_name"], rows["common_name"].str.lower()
    nothing = rows["is_blank"].str.lower().isin(("1", "true", "t", "yes"))
    what = common.where(common != "", "unclassified").mask(nothing, "blank")
    no_taxon = nothing | name.str.lower().isin(("", *_NOTHING)) | common.str.startswith(_NOTHING)
    problem = pd.Series("", index=rows.index, dtype=object).mask(rows["image_id"].duplicated(keep=False), SEVERAL)
    problem = problem.mask(no_taxon, NO_TAXON + what + ")")
    share = pd.to_numeric(rows["cv_confidence"].where(rows["identified_by"] == "Computer Vision", ""), errors="coerce")
    share = share / (100 if share.max() > 1 else 1)
    licence = rows["license"].where(rows["license"] != "", licences[0] if len(licences) == 1 else "")
    said = said.assign(source_id=rows["image_id"], common_name=rows["common_name"], license=licence, problem=problem)
    said[CONFIDENCE_COLUMN] = share.map(lambda value: "" if pd.isna(value) else f"{value:g}")
    return said.assign(**{GROUP_COLUMN: rows["sequence_id"]})


def of_timelapse(table: pd.DataFrame, raw: pd.DataFrame) -> pd.DataFrame:
    """Say of each image what Timelapse does: not labelled, to be deleted, of which visit; other tables say nothing."""
    if not {"deleteflag", "path", "folder"} <= set(table.columns):
        return raw
    unnamed = raw["verbatim_name"].str.strip() == ""
    problem = raw["problem"].mask((raw["problem"] == "") & unnamed, f"{NO_TAXON}not labelled)")
    deleted = table["deleteflag"].str.lower() == "true"
    raw = raw.assign(problem=problem.mask((problem == "") & deleted, f"{NO_TAXON}marked to be deleted)"))
    return raw if GROUP_COLUMN in raw else raw.assign(**{GROUP_COLUMN: _visits(table)})


def _visits(table: pd.DataFrame) -> pd.Series:
    """Return folder and time of the first frame of each visit, '' where no time can be read."""
    blank = pd.Series("", index=table.index, dtype=object)
    text = table["datetime"] if "datetime" in table else (table.get("date", blank) + " " + table.get("time", blank))
    time = pd.to_datetime(text.str.strip(), errors="coerce", format="mixed")
    ordered = pd.DataFrame({"folder": table["folder"], "time": time}).dropna().sort_values(["folder", "time"])
    gap = ordered.groupby("folder")["time"].diff().dt.total_seconds()
    first = ordered["time"].where(~(gap <= VISIT_S)).ffill()
    visit = ordered["folder"].str.replace("\\", "/", regex=False) + " " + first.astype(str)
    return visit.reindex(table.index).fillna("").astype(object)
