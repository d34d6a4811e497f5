"""How many held-out species show a hierarchy below kingdoms, and which probe answers to which signal.

``python -m speed.power`` grows worlds as `mini` does, puts a known signal into features of their held-out species, and
asks `structure`'s tests. Prints percentages of worlds; a fixed seed, minutes on one core. ``--draws 4`` is a toy run.
"""

import itertools

import numpy as np
import pandas as pd

from bioclip_lib import RANKS
from bioclip_lib.config import SyntheticConfig
from bioclip_lib.sources.synthetic.canvas import PLANS
from bioclip_lib.sources.synthetic.tree import evolve_genomes, grow_ranks
from bioclip_lib.structure import hierarchy
from bioclip_lib.taxonomy.ranks import tree_distance

from .intervals import random_tree
from .measuring import print_simulations

WORLDS = ((120, 0.2), (120, 0.4), (160, 0.3), (160, 0.4), (200, 0.3), (200, 0.4))  # species, share held out
SEES = (0.0, 0.3, 0.4, 0.5)  # of the run in README, in kingdoms: 0.29 of unseen species, 0.50 of seen ones
CHOICES = ("any", "balanced")
N_PERMUTATIONS = 499


def world(rng, n_species):
    """Ranks and genomes of a world, the names of its taxa being numbers."""
    nodes = grow_ranks(n_species, rng)
    genomes = evolve_genomes(nodes, SyntheticConfig().convergence, rng)[:, len(PLANS) :]
    return nodes.astype(str), genomes.astype(float)


def hold_out(rng, kingdoms, share, choice):
    """Choose species: any, or the same share of each kingdom."""
    if choice == "any":
        return np.sort(rng.permutation(len(kingdoms))[: round(share * len(kingdoms))])
    parts = [np.flatnonzero(kingdoms == name) for name in np.unique(kingdoms)]
    return np.sort(np.concatenate([rng.permutation(part)[: round(share * len(part))] for part in parts]))


def correlation_inside(a, b, kingdoms):
    """Rank correlation of the distances between species of one kingdom."""
    rows, columns = np.triu_indices(len(a), k=1)
    inside = kingdoms[rows] == kingdoms[columns]
    return pd.Series(a[rows, columns][inside]).corr(pd.Series(b[rows, columns][inside]), method="spearman")


def seen_by(rng, genomes, kingdoms, sees):
    """Centroids that keep of the genomes so much that distances inside kingdoms correlate with theirs by `sees`."""
    noise, truth = rng.normal(size=genomes.shape), hierarchy.embedding_distance(genomes - genomes.mean(axis=0))
    plans = 2 * rng.normal(size=(len(PLANS), genomes.shape[1]))[pd.factorize(kingdoms)[0]]
    if sees == 0:
        return noise + plans
    low, high = 0.0, 1.0  # share of the noise
    for _ in range(12):
        share = (low + high) / 2
        points = (1 - share) * genomes + share * noise + plans
        found = correlation_inside(hierarchy.embedding_distance(points - points.mean(axis=0)), truth, kingdoms)
        low, high = (share, high) if found > sees else (low, share)
    return points


def held_out_species(rng, n_draws):
    """How often p inside kingdoms is below 0.01, by number of held-out species and by what a model sees of genomes."""
    rows = {}
    for (n_species, share), choice, sees in itertools.product(WORLDS, CHOICES, SEES):
        found = []
        for _ in range(n_draws):
            ranks, genomes = world(rng, n_species)
            out = hold_out(rng, ranks["kingdom"].to_numpy(), share, choice)
            ranks, kingdoms = ranks.iloc[out], ranks["kingdom"].to_numpy()[out]
            points = seen_by(rng, genomes[out], kingdoms, sees)
            embedding = hierarchy.embedding_distance(points - points.mean(axis=0))
            strata = pd.factorize(kingdoms)[0]
            found.append(hierarchy.mantel(embedding, tree_distance(ranks), N_PERMUTATIONS, 0, strata)[1])
        keys = (n_species, round(share * n_species), choice)
        rows.setdefault(keys, {})[f"sees {sees}"] = (np.array(found) < 0.01).mean()
    return pd.DataFrame(rows).T.rename_axis(["species", "held out", "chosen"]).reset_index()


def signals_and_probes(rng, n_draws):
    """How often each probe has p < 0.05 (the nested ones after Holm) where one rank alone, all or none has a signal."""
    rows = {}
    ones = {rank: [2.0 * (r == rank) for r in RANKS[:-1]] + [1.0] for rank in RANKS[:-1]}
    for name, strengths in {"none": [0] * 6 + [1.0], **ones, "all ranks": [1.0] * 7}.items():
        found = []
        for _ in range(n_draws):
            ranks, points = random_tree(rng, strengths)
            tree, embedding = tree_distance(ranks), hierarchy.embedding_distance(points)
            p = {}
            for metric, rank in hierarchy.STRATA.items():
                strata = None if rank is None else pd.factorize(ranks[rank])[0]
                p[metric.replace("p_value", "Mantel")] = hierarchy.mantel(embedding, tree, 199, 0, strata)[1]
            nested = hierarchy.nested_tests(points, ranks, 999).set_index("rank")["p_holm"]
            found.append({**p, **{f"nested {rank}": nested.get(rank, 1.0) for rank in RANKS[:-1]}})
        rows[name] = (pd.DataFrame(found) < 0.05).mean()
    return pd.DataFrame(rows).T.rename_axis("signal at").reset_index()


SIMULATIONS = {held_out_species: 100, signals_and_probes: 40}


def main(arguments=None):
    """Print the tables."""
    print_simulations(SIMULATIONS, __doc__, arguments)


if __name__ == "__main__":
    main()
