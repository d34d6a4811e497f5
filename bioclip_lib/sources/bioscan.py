"""BIOSCAN-1M and BIOSCAN-5M: a metadata table, and images in zips or in folders of parts.

Takes their folder; returns the raw table with ranks as given, many of them down to the family only, and BIOSCAN-5M's
own split in ``source_split``.
"""

from pathlib import Path

import pandas as pd

from ..errors import InputError
from .columns import SPLIT_COLUMN
from .match import (
    base_names,
    check_some_image,
    find_images,
    lineage,
    match_images,
    missing_reason,
    read_given,
    stems,
)
from .walk import globbed

PACKAGES = ("cropped_256", "original_256", "cropped", "original_full", "original")
_COLUMNS = (
    *("processid", "sampleid", "image_file", "split", "copyright_license", "copyright_holder"),
    *("phylum", "class", "order", "family", "genus", "species"),
)
_UNKNOWN = ("not_classified", "nan", "None", "no_species")
_ACTION = "put the images or zips (BIOSCAN_5M_cropped_256.zip, part18.zip) below the folder of the metadata table"


def find_metadata(root: Path) -> Path | None:
    """Return BIOSCAN's metadata table in a folder, or in a folder of it."""
    tables = [
        path
        for path in globbed(root, "BIOSCAN*metadata*", "*/BIOSCAN*metadata*", "*/*/BIOSCAN*metadata*")
        if path.suffix.lower() in (".tsv", ".csv", ".parquet") and path.is_file()
    ]
    return tables[0] if tables else None


def read_bioscan(path: str | Path) -> pd.DataFrame:
    """Read BIOSCAN-1M or 5M; of several packages of one image the first of `PACKAGES` is taken, as BioCLIP did."""
    root = Path(path).expanduser().resolve()
    metadata = find_metadata(root)
    if metadata is None:
        raise InputError(f"{root} has no BIOSCAN*metadata table (.tsv, .csv); put it there")
    table = read_given(metadata, _COLUMNS, {"processid"}).replace(list(_UNKNOWN), "")
    files, damaged = find_images(root)
    files = _one_package(files)
    names = base_names(files["path"])
    raw = match_images(
        _described(table),
        pd.DataFrame({"file": table["image_file"], "id": table["processid"]}),
        files,
        pd.DataFrame({"file": names, "id": stems(files["path"])}),
        missing=missing_reason(damaged),
    )
    return check_some_image(raw, root, damaged, _ACTION)


def _described(table: pd.DataFrame) -> pd.DataFrame:
    """Return what the metadata say of each image."""
    said = lineage(table).assign(source="bioscan", source_id=table["processid"])
    said["problem"] = pd.Series("", index=table.index).mask(table["processid"] == "", "no processid")
    said["license"], said["rights_holder"] = table["copyright_license"], table["copyright_holder"]
    said[SPLIT_COLUMN] = table["split"]
    return said


def _one_package(files: pd.DataFrame) -> pd.DataFrame:
    """Keep the images of the first of `PACKAGES` that is there; all where the paths name none."""
    for package in PACKAGES:
        # a zip may hold part folders only: then its own name states the package
        inside = files["path"].str.contains(rf"(?:^|[/_]){package}(?:/|$)", regex=True)
        named = files["location"].str.contains(rf"[/_]{package}(?:[/_.][^/]*)?(?:/|::)", regex=True)
        if (chosen := inside | named).any():
            return files[chosen].reset_index(drop=True)
    return files
