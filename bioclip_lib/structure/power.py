"""What the species of a run could show: kinship of a known strength put into made centroids, and how often it is found.

Takes the catalog, no features; the tree is the run's own. So a large p can be read: where little would be found that is
there, it says nothing.
"""

import numpy as np
import pandas as pd

from .. import RANKS
from ..config import EvaluateConfig
from ..evaluation.tasks import MIN_SPECIES, with_interval
from ..taxonomy.ranks import lineage_codes, tree_distance
from .hierarchy import STRATA, embedding_distance, mantel, species_sets

SIGNALS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)  # share of the variance between species that is kinship
N_DRAWS, N_PERMUTATIONS, N_SPECIES, WIDTH = 30, 59, 120, 32
TESTS = {"p_value": "any structure", "p_value_in_kingdoms": "inside kingdoms", "p_value_in_orders": "inside orders"}
_COLUMNS = ["dataset", "part", "test", "signal", "value", "ci_low", "ci_high", "n", "n_species"]


def score_power(table: pd.DataFrame, config: EvaluateConfig) -> pd.DataFrame:
    """Tell how often Mantel's tests would find kinship of a known strength among the species of a catalog.

    Each source and part by itself, of more than 120 species a seeded part.

    Returns
    -------
    DataFrame
        ``dataset, part, test`` (`TESTS`), ``signal`` (the share of the variance between species that is the sum of one
        random vector a taxon, each rank alike), ``value`` (how often p < 0.05 in 30 made worlds of 32 dimensions, 59
        permutations each), its interval, ``n`` worlds, ``n_species``. No row of a set too small for a probe.
    """
    rows = []
    for species in species_sets(table):
        ranks, rng = species.ranks, np.random.default_rng(config.seed)
        ranks = ranks.iloc[np.sort(rng.permutation(len(ranks))[:N_SPECIES])]
        tree, codes = tree_distance(ranks), lineage_codes(ranks)
        if len(ranks) < MIN_SPECIES or len(np.unique(tree)) < 3:
            continue
        strata = {metric: None if rank is None else codes[:, RANKS.index(rank)] for metric, rank in STRATA.items()}
        for signal in SIGNALS:
            worlds = [embedding_distance(_centroids(rng, codes, signal)) for _ in range(N_DRAWS)]
            for metric, inside in strata.items():
                p = [mantel(world, tree, N_PERMUTATIONS, i, inside)[1] for i, world in enumerate(worlds)]
                found = with_interval((np.array(p) < 0.05).astype(float), np.arange(N_DRAWS))
                keys = {**species.keys, "test": TESTS[metric], "signal": signal}
                rows.append({**keys, **found, "n": N_DRAWS, "n_species": len(ranks)})
    return pd.DataFrame(rows, columns=_COLUMNS)


def _centroids(rng: np.random.Generator, codes: np.ndarray, signal: float) -> np.ndarray:
    """Make centroids (n, D) of species with taxa (n, 7), of whose variance a share is kinship."""
    above = codes[:, :-1]
    kin = sum(rng.normal(size=(column.max() + 1, WIDTH))[column] for column in above.T) / np.sqrt(above.shape[1])
    points = np.sqrt(signal) * kin + np.sqrt(1 - signal) * rng.normal(size=(len(codes), WIDTH))
    return points - points.mean(axis=0)
