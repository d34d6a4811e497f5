"""Wildlife Insights' export: ``images*.csv`` beside ``deployments.csv``, ``projects.csv`` and maybe ``sequences.csv``.

Takes its folder, or zip; returns the raw table, a row an image and a taxon on it. Frames of a sequence are a group;
blank images, people and vehicles are rows with their reason.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import InputError
from ..files.tables import as_frame, list_files, read_table
from .addresses import NOT_FOUND, match_addresses
from .boxes import CONFIDENCE_COLUMN
from .columns import GROUP_COLUMN
from .match import check_some_image, first_said, images_of, lineage, missing_reason, placed
from .reasons import NO_TAXON, SEVERAL

_SAID = ("is_blank", "identified_by", "class", "order", "family", "genus", "species", "common_name", "cv_confidence")
_IMAGES = ("image_id", "deployment_id", "filename", "location", "sequence_id", "license", *_SAID)
_SEQUENCES = ("sequence_id", "license", *_SAID)
_NOTHING = ("blank", "human", "vehicle", "no cv result", "misfire", "unknown", "homo sapiens", "homo", "animal")
_ACTION = "put the images of the export below that folder (of a zip: into the folder of its name beside it)"


def is_insights(path: Path) -> bool:
    """Tell an export by its tables."""
    needed = ("deployments.csv", "projects.csv")
    if path.is_dir():
        return all((path / name).is_file() for name in needed) and any(path.glob("images*.csv"))
    try:
        files = list_files(path)
    except InputError:
        return False
    return all(name in files for name in needed) and any(re.fullmatch(r"images.*\.csv", name) for name in files)


def read_insights(path: str | Path) -> pd.DataFrame:
    """Read an export; ``source_id`` is the id of the image."""
    path = Path(path).expanduser().resolve()
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
    raw = placed(raw.assign(address=address, record=rows["image_id"]), place, files, missing_reason(damaged))
    return check_some_image(raw, path, damaged, _ACTION)


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
