"""How the tests of names ask: one row a record, in order, whatever the others of its source are."""

import pandas as pd
import pyarrow.compute as pc

from bioclip_lib.taxonomy.backbone import Taxon
from bioclip_lib.taxonomy.decision import COLUMNS
from bioclip_lib.taxonomy.ncbi import ncbi
from bioclip_lib.taxonomy.resolution import read_contexts, resolve, resolve_pairs


def resolve_records(records: pd.DataFrame, backbones) -> pd.DataFrame:
    """Resolve each record's name in its context alone."""
    names = ["" if pd.isna(name) else str(name) for name in records["verbatim_name"]]
    table = resolve_pairs(names, read_contexts(records), backbones)
    return table.assign(verbatim_name=names)[list(COLUMNS)].set_axis(records.index)


def resolve_names(names, overrides=None, context=None, backbones=None) -> pd.DataFrame:
    """Resolve the names of one source through the face, in one context; a row for each, in order."""
    raw = pd.DataFrame({"verbatim_name": pd.Series(names, dtype=object), **(context or {})})
    table = resolve(raw, backbones, overrides).drop(columns=["source", "context"])
    places = {name: i for i, name in enumerate(table["verbatim_name"])}
    return table.iloc[[places[name] for name in names]].reset_index(drop=True)


def taxon_of_id(taxon_id: str, backbone=None) -> Taxon:
    """Return a taxon by its id."""
    backbone = backbone or ncbi()
    return backbone.taxon(int(pc.index(backbone._id.array, taxon_id).as_py()))
