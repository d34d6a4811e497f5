"""iNaturalist's open data: the tables of photos, observations, taxa and observers, as its bucket has them.

Takes their folder; returns the raw table, a row a photograph. An observation is a group; a taxon's ancestry gives its
ranks. Images lie below, as ``photos/<photo id>/<size>.<extension>``, or are downloaded from the addresses.
"""

from pathlib import Path

import pandas as pd

from .. import RANKS
from .addresses import match_addresses
from .columns import GROUP_COLUMN
from .match import check_some_image, find_images, first_said, lineage, missing_reason, placed, read_given

_TABLES = ("photos", "observations", "taxa")
_ENDS = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
_BUCKET = "https://inaturalist-open-data.s3.amazonaws.com/photos/"
_ACTION = "download them (python -m bioclip_lib.sources.download FOLDER --to FOLDER)"


def _table(root: Path, name: str) -> Path | None:
    return next((path for end in _ENDS if (path := root / f"{name}{end}").is_file()), None)


def is_inat_open(root: Path) -> bool:
    """Tell a folder with the tables."""
    return root.is_dir() and all(_table(root, name) for name in _TABLES)


def read_inat_open(path: str | Path) -> pd.DataFrame:
    """Read the tables; ``source_id`` is the id of the photograph."""
    root = Path(path).expanduser().resolve()
    photos = read_given(
        _table(root, "photos"),
        ("photo_id", "observation_uuid", "observer_id", "extension", "license", "position"),
        {"photo_id", "observation_uuid", "extension"},
    ).drop_duplicates("photo_id", ignore_index=True)
    columns = ("observation_uuid", "taxon_id", "quality_grade")
    observations = read_given(_table(root, "observations"), columns, set(columns[:2]))
    taxon = _looked_up(photos["observation_uuid"], observations.set_index("observation_uuid")["taxon_id"])
    lineages = _lineages(root, set(taxon))
    ranks = lineages.reindex(taxon).fillna("").reset_index(drop=True)
    said = lineage(ranks, binomial=False).assign(source=root.name, source_id=photos["photo_id"])
    name = ranks["name"].where(ranks["name"] != "", said["verbatim_name"])  # at whatever rank it is
    problem = pd.Series("", index=name.index, dtype=object).mask(taxon == "", "observation without a taxon")
    holder = _holder(root, photos)
    said = said.assign(verbatim_name=name, problem=problem, license=photos["license"], rights_holder=holder)
    address = _BUCKET + photos["photo_id"] + "/medium." + photos["extension"]
    said = said.assign(address=address, record=photos["photo_id"], **{GROUP_COLUMN: photos["observation_uuid"]})
    said["source_url"] = "https://www.inaturalist.org/photos/" + photos["photo_id"]
    files, damaged = find_images(root)
    # any size will do: the folder is the id
    ids = files["path"].str.extract(r"(?:^|/)(\d+)/[^/]+$", expand=False).fillna(files["path"])
    place = match_addresses(photos["photo_id"], photos["photo_id"], ids + ".jpg")
    raw = placed(said, place, files, missing_reason(damaged, what="image not downloaded"))
    return check_some_image(raw, root, damaged, _ACTION)


def _looked_up(keys: pd.Series, values: pd.Series) -> pd.Series:
    return keys.map(values[~values.index.duplicated()]).fillna("").astype(object)


def _lineages(root: Path, wanted: set[str]) -> pd.DataFrame:
    """Return name and ranks of taxa, from the ids of their ancestry."""
    columns = ("taxon_id", "ancestry", "rank", "name")
    taxa = read_given(_table(root, "taxa"), columns, set(columns)).drop_duplicates("taxon_id").set_index("taxon_id")
    here = taxa[taxa.index.isin(wanted)]
    above = here["ancestry"].str.split("/").explode()
    above = pd.concat([above, pd.Series(here.index, here.index)])
    rank, name = above.map(taxa["rank"]), above.map(taxa["name"])
    kept = rank.isin(RANKS).to_numpy()
    ranks = pd.DataFrame({"id": above.index[kept], "rank": rank[kept].to_numpy(), "name": name[kept].to_numpy()})
    table = ranks.drop_duplicates(["id", "rank"]).pivot(index="id", columns="rank", values="name")
    table = table.reindex(index=here.index, columns=list(RANKS)).fillna("")
    epithet = table["species"].str.partition(" ")[2]
    return table.assign(species=epithet, name=here["name"])


def _holder(root: Path, photos: pd.DataFrame) -> pd.Series:
    """Return the name of each photograph's observer, or the login."""
    path = _table(root, "observers")
    if path is None:
        return pd.Series("", index=photos.index, dtype=object)
    observers = read_given(path, ("observer_id", "login", "name"), {"observer_id"}).set_index("observer_id")
    return _looked_up(photos["observer_id"], first_said(observers, ("name", "login")))
