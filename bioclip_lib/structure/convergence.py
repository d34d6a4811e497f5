"""Convergence: which species of distant clades look more alike than their kinship tells?

Takes the catalog and features; returns a table of pairs. What cannot be asked has a row that says why.
"""

import numpy as np
import pandas as pd
from scipy import linalg, sparse

from .. import RANKS
from ..config import EvaluateConfig
from ..evaluation.tasks import Features, evaluated_images
from .disparity import MIN_IN_CLADE
from .hierarchy import centroids, clades_of, features_of, p_value_of, sums_of

N_TURNS, N_PAIRS = 199, 10  # worlds of the null; pairs of a model that are listed
MAX_SPECIES = 1000
_COLUMNS = ["dataset", "part", "model", "rank", "species", "like", "value", "by_chance", "p_family", "n", "why"]


def closeness(points: np.ndarray, clades: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compare squared distances of species (n, D) of different clades, numbered from 0, with what kinship tells.

    Returns the pairs (2, P), `ratios` of these, and the least ratio of each of `N_TURNS` worlds in which the deviations
    of species from the mean of their clade are turned at random, clade by clade.
    """
    pairs, rng = np.array(np.nonzero(np.triu(clades[:, None] != clades[None, :]))), np.random.default_rng(seed)
    sizes, order = np.bincount(clades), np.argsort(np.argsort(clades, kind="stable"))
    means = (sums_of(points, clades, len(sizes)) / sizes[:, None])[clades]
    aside = points - means
    of_means, mixed, of_aside = means @ means.T, aside @ means.T, aside @ aside.T  # (n, D) @ (D, n) -> (n, n)
    least = []
    for _ in range(N_TURNS):
        turn = sparse.block_diag([turned(size, rng) for size in sizes], "csr")[order][:, order]
        new = turn @ mixed
        least.append(ratios(of_means + new + new.T + turn @ (turn @ of_aside).T, clades, pairs).min())
    return pairs, ratios(points @ points.T, clades, pairs), np.array(least)


def turned(n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a rotation of n deviations from a mean that keeps their sum 0 (Langsrud 2005), (n, n)."""
    basis = linalg.helmert(n)  # (n - 1, n)
    drawn, signs = np.linalg.qr(rng.normal(size=(n - 1, n - 1)))
    return basis.T @ (drawn * np.sign(np.diag(signs))) @ basis


def ratios(products: np.ndarray, clades: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the squared distances of pairs (2, P) over what kinship tells, (P,), from products of species (n, n).

    Kinship puts a species at the mean of its clade, and itself anywhere about it: the square is then that of the two
    means and of both deviations, added. NaN where that is 0.
    """
    sizes, (one, two) = np.bincount(clades), pairs
    of_mean = sums_of(products, clades, len(sizes)) / sizes[:, None]  # (C, n)
    of_means = sums_of(of_mean.T, clades, len(sizes)) / sizes[:, None]  # (C, C), symmetric
    own, length = np.diag(products), np.diag(of_means)
    aside = own - 2 * of_mean[clades, np.arange(len(own))] + length[clades]
    a, b = clades[one], clades[two]
    apart = length[a] + length[b] - 2 * of_means[a, b] + aside[one] + aside[two]
    near, is_apart = own[one] + own[two] - 2 * products[one, two], apart > 1e-12 * own.max()
    return np.divide(near, apart, out=np.full(len(apart), np.nan), where=is_apart)


def score_convergence(table: pd.DataFrame, tables: Features, config: EvaluateConfig) -> pd.DataFrame:
    """Find the species of different clades that look more alike than their kinship tells.

    Parameters
    ----------
    table : DataFrame
        The catalog; only images known to species take part, each source and part by itself.
    tables : mapping of model to FeatureTable
    config : EvaluateConfig

    Returns
    -------
    DataFrame
        The ten nearest pairs of a model: ``dataset, part, model, rank`` (of the clades: `clades_of`), ``species``,
        ``like``, ``value``: the squared distance of their centroids over what it would be if both lay about the means
        of their clades without regard to each other (1; 0 is one point), ``by_chance``, the mean of the least such
        ratio among all pairs in 199 worlds whose species deviate from their clades in directions that are turned at
        random, and ``p_family``, how often that is as small: corrected for the choice among all pairs. ``n`` pairs are
        compared; clades of fewer than four species are left out. ``why``: what cannot be asked, also of more than 1,000
        species: 200, 400 and 800 take about 0.5, 1.5 and 8 to 13 s of processor time a model, by the sizes of clades.

    Notes
    -----
    Turning (Langsrud 2005) is exact for deviations that are normal, and held where they were skewed or had long tails.
    No interval: a pair is itself, no sample. What looks alike to a model may be background, or pose.
    """
    images, rows = evaluated_images(table), []
    images = images[images["rank"] == "species"]
    for (dataset, part), group in images.groupby(["dataset", "part"]):
        names, labels = np.unique(group["class_key"], return_inverse=True)
        ranks = group.drop_duplicates("class_key").set_index("class_key").loc[names, list(RANKS)]
        rank, clades = clades_of(ranks)
        kept = np.flatnonzero(np.bincount(clades)[clades] >= MIN_IN_CLADE)
        number = np.unique(clades[kept], return_inverse=True)[1]
        keys = {"dataset": dataset, "part": part, "rank": rank, "why": ""}
        if len(np.unique(number)) < 2:
            why = f"{len(np.unique(number))} clades ({rank}) have {MIN_IN_CLADE} species; two are needed"
            rows.append({**keys, "model": "", "why": why})
            continue
        if len(kept) > MAX_SPECIES:
            why = f"{len(kept):,} species are more than the {MAX_SPECIES:,} that can be compared in a minute"
            rows.append({**keys, "model": "", "why": why})
            continue
        for model, features in tables.items():
            values = features_of(features, images, group.index)
            points = centroids(values - values.mean(axis=0, dtype=float), labels)[kept]
            if np.ptp(points, axis=0).max() < 1e-9:
                rows.append({**keys, "model": model, "why": "all species are one point"})
                continue
            (one, two), found, least = closeness(points, number, config.seed)
            if not np.isfinite(found).all():
                rows.append({**keys, "model": model, "why": "all species of two clades are one point"})
                continue
            for i in np.argsort(found, kind="stable")[:N_PAIRS]:
                pair = {"species": names[kept][one[i]], "like": names[kept][two[i]], "value": float(found[i])}
                tested = {"by_chance": float(least.mean()), "p_family": p_value_of(-found[i], -least)}
                rows.append({**keys, "model": model, **pair, **tested, "n": len(found)})
    return pd.DataFrame(rows, columns=_COLUMNS)
