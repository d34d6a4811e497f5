"""The rule of the benchmark Rare Species: threatened species with enough images of one source, and in no other.

Takes a catalog and the user's export of the IUCN Red List; returns the chosen images as a catalog of their own, whose
species are held out. `data.benchmark` keeps its images and its species out of training. Refuses a list without names
or categories, and a catalog in which no species satisfies the rule. ``python -m bioclip_lib.catalog.rare_species
catalog.parquet redlist.csv --out rare.parquet`` does it, before training: ``SET=data.benchmark=rare.parquet`` follows.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from ..errors import InputError, as_command
from ..files.tables import read_strings
from ..sources.columns import find_column
from .splits import seeded_order, usable
from .table import read_catalog, write_catalog

CATEGORIES = {
    **{"near threatened": "NT", "vulnerable": "VU", "endangered": "EN", "critically endangered": "CR"},
    **{"extinct in the wild": "EW", "lower risk/near threatened": "NT", "lr/nt": "NT"},
}
"""Near threatened to extinct in the wild, as exports of the Red List write them; the codes are taken too."""
_NAMES = ("scientificname", "scientific_name", "species", "name")
_STATUS = ("redlistcategory", "red_list_category", "iucn_category", "threatstatus", "category", "status")


def read_red_list(path: str | Path) -> pd.Series:
    """Read the threatened species of an export of the IUCN Red List: their category by scientific name.

    Of an export with a column ``scopes`` global assessments count; of several categories of a species the first row.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"{path} does not exist; give an export of the IUCN Red List, as CSV")
    table = read_strings(path)
    name = find_column(path, "scientific name", table, _NAMES)
    category = find_column(path, "Red List category", table, _STATUS)
    if "scopes" in table:
        table = table[(table["scopes"] == "") | table["scopes"].str.contains("global", case=False)]
    status = table[category].str.lower()
    status = status.map(CATEGORIES).fillna(status.str.upper().where(status.str.upper().isin(CATEGORIES.values()), ""))
    status.index = table[name].str.split().str.join(" ").rename("scientific_name")
    status = status[status != ""].rename("category")
    return status[~status.index.duplicated()]


def choose_rare_species(
    catalog: pd.DataFrame,
    red_list: pd.Series,
    *,
    source: str = "eol",
    n_species: int = 400,
    n_images: int = 30,
    seed: int = 0,
) -> pd.DataFrame:
    """Choose species of a list and images of them as Rare Species was made: a catalog, all of it held out.

    A species is taken if `source` has `n_images` usable images of it and no other source names it. Species and images
    are ranked by a hash of name or id and the seed, so another species moves neither.
    """
    key = catalog["class_key"].where(catalog["rank"] == "species", "")
    elsewhere = set(key[catalog["source"] != source])
    images = catalog[usable(catalog) & (catalog["source"] == source) & key.isin(red_list.index) & ~key.isin(elsewhere)]
    table = pd.DataFrame({"key": key[images.index], "draw": seeded_order(images["image_id"], seed)}, index=images.index)
    sizes = table["key"].value_counts()
    species = pd.Series(sorted(sizes.index[sizes >= n_images]), dtype=object)
    if species.empty:
        raise InputError(
            f"no species of {source!r} is on the list, has {n_images} usable images and is in no other source; "
            f"sources here: {', '.join(sorted(set(catalog['source'])))}"
        )
    chosen = species[seeded_order(species, seed).argsort(kind="stable")[:n_species]]
    table = table[table["key"].isin(chosen)].sort_values("draw", kind="stable")
    rows = table.groupby("key").head(n_images).index
    return catalog[catalog.index.isin(rows)].assign(split="heldout_species").reset_index(drop=True)


@as_command
def main(argv: list[str] | None = None) -> int:
    """Choose a benchmark from a catalog, and write it."""
    parser = argparse.ArgumentParser("python -m bioclip_lib.catalog.rare_species", description="Choose rare species.")
    parser.add_argument("catalog", help="catalog.parquet of a run: of 01_dataset_construction")
    parser.add_argument("red_list", help="export of the IUCN Red List, with scientific name and category")
    parser.add_argument("--out", required=True, help="the benchmark's catalog, for data.benchmark")
    parser.add_argument("--source", default="eol", help="whose images are taken (default: eol)")
    parser.add_argument("--species", type=int, default=400, help="at most (default: 400)")
    parser.add_argument("--images", type=int, default=30, help="of each species (default: 30)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice (default: 0)")
    args = parser.parse_args(argv)
    sizes = {"source": args.source, "n_species": args.species, "n_images": args.images, "seed": args.seed}
    chosen = choose_rare_species(read_catalog(args.catalog), read_red_list(args.red_list), **sizes)
    write_catalog(chosen, args.out)
    n_species = chosen["class_key"].nunique()
    sys.stdout.write(f"{n_species} species, {len(chosen):,} images: SET=data.benchmark={args.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
