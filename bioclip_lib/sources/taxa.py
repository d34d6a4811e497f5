"""Which names are taxa: asked of NCBI Taxonomy, to tell names from numbers, sites and codes before anything is read.

Takes names; returns how many are known, or the rank that each is the scientific name of.
"""

import pandas as pd

from ..taxonomy.resolution import resolve


def count_taxa(names: list[str]) -> int:
    """Count the names that NCBI Taxonomy knows."""
    return int((~_looked_up(names)["name_status"].isin(("unresolved", "ambiguous"))).sum())


def ranks_of(names: list[str]) -> list[str]:
    """Return the rank of which each name is the scientific name in NCBI Taxonomy, '' of any other."""
    found = _looked_up(names)
    return [
        row["rank"] if row["rank"] and name in (row[row["rank"]], row["scientific_name"]) else ""
        for name, (_, row) in zip(names, found.iterrows(), strict=True)
    ]


def _looked_up(names: list[str]) -> pd.DataFrame:
    return resolve(pd.DataFrame({"source": "", "verbatim_name": names}))
