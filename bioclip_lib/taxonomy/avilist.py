"""AviList 2025, the world list of birds, as a backbone: 11,131 species with their English names.

Read from the package `birdnames` (CC BY 4.0, AviList Core Team 2025, doi:10.2173/avilist.v2025); nothing is downloaded.
"""

import functools
import importlib.util
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import InputError
from .backbone import Backbone
from .cache import cached
from .checklists import COLUMNS
from .lineages import Linker
from .vernaculars import with_english

_TABLE = "data/processed/avilist_2025_taxonomy.csv"


@functools.cache
def avilist() -> Backbone:
    """Return AviList 2025; `InputError` where its package is not installed."""
    spec = importlib.util.find_spec("birdnames")
    path = Path(spec.origin).parent / _TABLE if spec and spec.origin else None
    if path is None or not path.is_file():
        raise InputError(
            "AviList comes with the package birdnames; pip install bioclip_lib[birds], or pip install birdnames"
        )
    return Backbone("AviList 2025", *cached(f"avilist-2025-{path.stat().st_size}", lambda: _tables(path)))


def _tables(path: Path) -> tuple[pa.Table, pa.Table, pd.DataFrame]:
    """Return the linked usages, the words and the problems of the package's table."""
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    rank, name = rows["avilist_taxon_rank"], rows["scientific_name"]
    ids = rows["avilist_avibase_id"].where(rows["avilist_avibase_id"] != "", name)
    ids = ids.where(~ids.duplicated(keep=False), name)
    higher = {"kingdom": "Animalia", "phylum": "Chordata", "class": "Aves"}
    genus = rows["genus"].where(~rank.isin(["order", "family"]), "")
    table = pd.DataFrame({"id": ids, "name": name, "rank": rank}).assign(**higher)
    table = table.assign(order=rows["avilist_order"], family=rows["avilist_family"], genus=genus)
    # the id of the taxon above each: the species, genus, family, order, or the birds
    above = {"order": "Aves", "family": table["order"], "genus": table["family"], "species": table["genus"]}
    above["subspecies"] = name.str.split(" ").str[:2].str.join(" ")
    parents = pd.Series("", index=table.index)
    for of_rank, names in above.items():
        parents = parents.mask(rank == of_rank, names)
    table["parent_id"] = parents.map(dict(zip(name, ids, strict=True))).fillna(parents)
    tops = pd.DataFrame({"id": higher.values(), "name": higher.values(), "rank": higher.keys()})
    tops["parent_id"] = ["", "Animalia", "Chordata"]
    table = (
        pd.concat([tops, table], ignore_index=True)
        .assign(status="accepted")
        .reindex(columns=list(COLUMNS), fill_value="")
    )
    text = pa.schema([(column, pa.string()) for column in COLUMNS])
    linker = Linker(pa.Table.from_pandas(table.fillna(""), text, preserve_index=False))
    linked = linker.link()
    english = pa.table({"id": pa.array(ids, pa.string()), "name": pa.array(rows["avilist_common_name"], pa.string())})
    english = english.filter(pc.not_equal(english["name"], ""))
    english = english.append_column("merit", pa.array([0] * len(english), pa.int8()))
    return *with_english(linked, english), pd.concat(linker.problems, ignore_index=True)
