"""Resolve the class names of published benchmark sets, and compare ranks where the set gives them.

``python -m speed.annotations --folder path`` takes a folder with ``rare_species.csv`` and Meta-Album label files
(``*_Mini.csv``). Prints, a set a row, how many of its distinct names came out how, and to which rank; then the
agreement of each rank with rare_species.csv, over the species where both sides have that rank, and the disagreements.
"""

import argparse
from pathlib import Path

import pandas as pd

from bioclip_lib import RANKS, taxonomy

from .measuring import print_table

SETS = {"INS": "insects", "INS_2": "insects 2", "PLT_NET": "PlantNet", "FNG": "fungi", "PLK": "plankton"}


def outcome(title, names):
    """Return the row of one set: names by status, and by the deepest rank known."""
    table = taxonomy.resolve(names)
    depth = table["rank"].replace("", "none").value_counts()
    row = {"set": title, "names": len(table), **table["name_status"].value_counts()}
    deeper = {rank: int(depth.get(rank, 0)) for rank in ("species", "genus", "family", "none")}
    return row | deeper | {"other rank": len(table) - sum(deeper.values())}, table


def agreement(species, resolved):
    """Return, rank by rank, on how many species both sides have a name, and on how many it is the same."""
    rows = []
    for rank in RANKS:
        given, found = species[rank].fillna("").to_numpy(), resolved[rank].to_numpy()
        both = (given != "") & (found != "")
        same = both & (given == found)
        rows.append({"rank": rank, "both": both.sum(), "agree": same.sum(), "share": same.sum() / max(1, both.sum())})
    return pd.DataFrame(rows)


def disagreements(species, resolved):
    """Return the distinct pairs of names that differ at a rank, and how many species each concerns."""
    pairs = []
    for rank in RANKS:
        table = pd.DataFrame({"given": species[rank].fillna("").to_numpy(), "found": resolved[rank].to_numpy()})
        table = table[(table["given"] != "") & (table["found"] != "") & (table["given"] != table["found"])]
        pairs.append(table.value_counts().rename("species").reset_index().assign(rank=rank))
    return pd.concat(pairs)[["rank", "given", "found", "species"]]


def main(argv=None):
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("../shared/annotations"))
    folder = parser.parse_args(argv).folder
    species = pd.read_csv(folder / "rare_species.csv", index_col=0)
    species = species.drop(columns="class").rename(columns={"cls": "class"}).drop_duplicates(["genus", "species"])
    names = (species["genus"] + " " + species["species"]).tolist()
    first, resolved = outcome("Rare Species", names)
    rows = [first]
    for key, title in SETS.items():
        classes = pd.read_csv(folder / f"{key}_Mini.csv")["class"].dropna().unique().tolist()
        rows.append(outcome(title, classes)[0])
    for table in (
        pd.DataFrame(rows).fillna(0).convert_dtypes(),
        agreement(species, resolved),
        disagreements(species, resolved),
    ):
        print_table(table)
        print()


if __name__ == "__main__":
    main()
