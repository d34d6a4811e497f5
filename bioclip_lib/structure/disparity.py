"""Morphospace: in which clades do species vary more, or less, than in others?

Takes the catalog and features; returns a table. A clade of more species is no more varied by that. What cannot be asked
has a row that says why.
"""

import numpy as np
import pandas as pd
from scipy import stats

from .. import RANKS
from ..config import EvaluateConfig
from ..evaluation.statistics import LEVEL, holm
from ..evaluation.tasks import Features, evaluated_images
from .hierarchy import centroids, clades_of, features_of, p_value_of

N_PERMUTATIONS, MIN_IN_CLADE = 999, 4  # of species over clades; species of a clade
_COLUMNS = ["dataset", "part", "model", "rank", "clade", "value", "ci_low", "ci_high", "by_chance", "p_value", "p_holm"]
_COLUMNS += ["n", "why"]


def spread(points: np.ndarray, clades: np.ndarray) -> np.ndarray:
    """Return how far each species (n, D) lies from the mean of its clade, numbered from 0: the square, (n,).

    Freed of the share that a species has in that mean: the average over a clade is its variance.
    """
    sizes = np.bincount(clades)[clades]
    means = np.stack([points[clades == clade].mean(axis=0) for clade in range(clades.max() + 1)])
    return ((points - means[clades]) ** 2).sum(axis=1) * sizes / (sizes - 1)


def compare_clades(squares: np.ndarray, clades: np.ndarray, seed: int) -> list[dict]:
    """Compare the mean of squares (n,) of each clade with that of the others; dealt out over species for the null."""
    rng, number = np.random.default_rng(seed), np.bincount(clades)
    sums = np.stack([np.bincount(clades, of) for of in (squares, *map(rng.permutation, [squares] * N_PERMUTATIONS))])
    ratios = sums / number / ((squares.sum() - sums) / (len(squares) - number))  # (1 + N_PERMUTATIONS, clades)
    rows = []
    for clade, (value, *dealt) in enumerate(ratios.T):
        dealt = np.array(dealt)
        p_value = min(1.0, 2 * min(p_value_of(value, dealt), p_value_of(-value, -dealt)))
        low, high = _ratio_interval(squares[clades == clade], squares[clades != clade])
        means = {"by_chance": float(dealt.mean()), "p_value": p_value, "n": int(number[clade])}
        rows.append({"value": float(value), "ci_low": low, "ci_high": high, **means})
    for row, p_holm in zip(rows, holm(np.array([row["p_value"] for row in rows])), strict=True):
        row["p_holm"] = p_holm
    return rows


def _ratio_interval(own: np.ndarray, others: np.ndarray) -> tuple[float, float]:
    """Return the interval of the ratio of two means for other species: jackknife, Student's t on the logarithm."""
    value, variance = np.log(own.mean() / others.mean()), 0.0
    for of in (own, others):
        left = np.log((of.sum() - of) / (len(of) - 1))
        variance += (len(of) - 1) / len(of) * ((left - left.mean()) ** 2).sum()
    reach = stats.t.ppf((1 + LEVEL) / 2, min(len(own), len(others)) - 1) * np.sqrt(variance)
    return float(np.exp(value - reach)), float(np.exp(value + reach))


def score_disparity(table: pd.DataFrame, tables: Features, config: EvaluateConfig) -> pd.DataFrame:
    """Ask in which clades species vary more than in others.

    Parameters
    ----------
    table : DataFrame
        The catalog; only images known to species take part, each source and part by itself.
    tables : mapping of model to FeatureTable
    config : EvaluateConfig

    Returns
    -------
    DataFrame
        ``dataset, part, model, rank`` (classes, or what has enough clades: `clades_of`), ``clade``, ``value``: the
        variance of the centroids of its species about their mean (Foote 1993) over that in the other clades, species
        alike: 1 where it is as elsewhere. Its interval for other species of the same clades (jackknife), ``by_chance``
        and the two-sided ``p_value`` of 999 deals of the squared distances over the species, ``p_holm`` over clades,
        ``n`` species of the clade. Clades of fewer than four species are left out. ``why``: what cannot be asked.

    Notes
    -----
    Older clades are more varied for their age alone, and a few photographs a species blur it: no claim on evolution.
    """
    images, rows = evaluated_images(table), []
    images = images[images["rank"] == "species"]
    for (dataset, part), group in images.groupby(["dataset", "part"]):
        names, labels = np.unique(group["class_key"], return_inverse=True)
        ranks = group.drop_duplicates("class_key").set_index("class_key").loc[names, list(RANKS)]
        rank, clades = clades_of(ranks)
        kept = np.flatnonzero(np.bincount(clades)[clades] >= MIN_IN_CLADE)
        clade, number = np.unique(clades[kept], return_inverse=True)
        keys = {"dataset": dataset, "part": part, "rank": rank, "why": ""}
        if len(clade) < 2:
            why = f"{len(clade)} clades ({rank}) have {MIN_IN_CLADE} species; two are needed"
            rows.append({**keys, "model": "", "clade": "", "why": why})
            continue
        called = [ranks[rank].to_numpy()[kept][number == i][0] for i in range(len(clade))]
        for model, features in tables.items():
            values = features_of(features, images, group.index)
            squares = spread(centroids(values - values.mean(axis=0, dtype=float), labels)[kept], number)
            if np.bincount(number, squares).min() < 1e-9:
                rows.append({**keys, "model": model, "clade": "", "why": "all species of a clade are one point"})
                continue
            found = compare_clades(squares, number, config.seed)
            rows += [{**keys, "model": model, "clade": name, **row} for name, row in zip(called, found, strict=True)]
    return pd.DataFrame(rows, columns=_COLUMNS)
