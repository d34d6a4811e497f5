"""Processor time and peak memory of the whole probe set: ``python -m speed.probes`` asks it of 50,000 x 512 features.

Made features of species whose kinship shows, under a tree of seven ranks; one model, one part. `--images` and
`--species` for another size.
"""

import argparse
import resource
import time

import numpy as np
import pandas as pd

from bioclip_lib import RANKS
from bioclip_lib.config import EvaluateConfig
from bioclip_lib.evaluation.zero_shot import ClassEncoder
from bioclip_lib.model.features import FeatureTable
from bioclip_lib.structure import score_consistency, score_hierarchy, score_modalities, score_probes

from .measuring import print_head, print_row

BRANCHES = (4, 2, 2, 3, 3, 3)  # of a kingdom, phylum ... genus; species fill the genera


def world(n_images, n_species, width, seed=0):
    """Return a catalog, its features, and an encoder of names whose texts follow kinship as well."""
    rng = np.random.default_rng(seed)
    sizes = [min(n_species, int(n)) for n in (*np.cumprod(BRANCHES), n_species)]
    codes = np.stack([np.arange(n_species) * size // n_species for size in sizes], axis=1)
    means = sum(rng.normal(size=(size, width))[column] for size, column in zip(sizes, codes.T, strict=True))
    ranks = pd.DataFrame({r: [f"{r}{code}" for code in column] for r, column in zip(RANKS, codes.T, strict=True)})
    labels = np.arange(n_images) % n_species
    table = ranks.iloc[labels].reset_index(drop=True)
    names = {"class_key": table["genus"] + " " + table["species"], "common_name": "a " + table["species"]}
    table = table.assign(**names, verbatim_name="", scientific_name=names["class_key"], source="made", group="")
    ids = [f"{i:08d}" for i in range(n_images)]
    table = table.assign(image_id=ids, split="heldout_species", excluded="", rank="species")
    values = (means[labels] + 2 * rng.normal(size=(n_images, width))).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    place = {name: i for i, name in enumerate(ranks["species"])}

    def weights(texts, _templates):
        rows = [means[place[t.split()[-1]]] if t.split()[-1] in place else rng.normal(size=width) for t in texts]
        rows = np.array(rows) + 2 * rng.normal(size=(len(texts), width))
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    return table, {"made": FeatureTable(ids, values)}, {"made": ClassEncoder(weights, 100.0)}


def main(arguments=None):
    """Print a row a function: processor time, and the peak memory of the process so far."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--species", type=int, default=500)
    parser.add_argument("--width", type=int, default=512)
    args = parser.parse_args(arguments)
    table, tables, encoders = world(args.images, args.species, args.width)
    config, asked = EvaluateConfig(), (table, tables)
    print_head("asked", "rows", "processor s", "peak GB so far")
    for name, way in {
        "the world alone": lambda: [],
        "score_probes": lambda: score_probes(*asked, config),
        "score_consistency": lambda: score_consistency(*asked, encoders, config),
        "score_modalities": lambda: score_modalities(*asked, encoders, config),
        f"score_hierarchy ({config.n_permutations:,} permutations)": lambda: score_hierarchy(*asked, config)[0],
    }.items():
        start = time.process_time()
        rows = way()
        seconds = time.process_time() - start
        print_row(name, len(rows), seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)


if __name__ == "__main__":
    main()
