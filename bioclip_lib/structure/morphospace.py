"""Morphospace: which clades are more varied than others, and which species of distant clades look alike?

Takes the catalog and features; returns tables. What cannot be asked has a row that says why. What looks alike to a
model may be background, or pose; older clades are more varied for their age alone: no claim on evolution.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import linalg, sparse, stats

from ..config import EvaluateConfig
from ..evaluation.statistics import LEVEL, holm
from ..evaluation.tasks import Features
from .hierarchy import clades_of, p_value_of, species_sets, sums_of

MIN_IN_CLADE = 4  # species
N_PERMUTATIONS = 999  # of species over clades
N_TURNS, N_PAIRS = 199, 10  # worlds of the null of convergence; pairs of a model that are listed
MAX_SPECIES = 1000
_COLUMNS = ["dataset", "part", "model", "rank", "clade", "value", "ci_low", "ci_high", "by_chance", "p_value", "p_holm"]
_COLUMNS += ["n", "why"]
_PAIRS = ["dataset", "part", "model", "rank", "species", "like", "value", "by_chance", "p_family", "n", "why"]


def score_disparity(table: pd.DataFrame, tables: Features, config: EvaluateConfig) -> pd.DataFrame:
    """Ask in which clades species vary more than in others.

    Parameters
    ----------
    table, tables, config
        As of `score_hierarchy`.

    Returns
    -------
    DataFrame
        ``dataset, part, model, rank`` (classes, or what has enough clades: `clades_of`), ``clade``, ``value``: the
        variance of the centroids of its species about their mean (Foote 1993) over that in the other clades, species
        alike: 1 where it is as elsewhere. Its interval for other species of the same clades (jackknife), ``by_chance``
        and the two-sided ``p_value`` of 999 deals of the squared distances over the species, ``p_holm`` over clades,
        ``n`` species of the clade. Clades of fewer than four species are left out. ``why``: what cannot be asked.
    """
    rows = []
    for keys, model, points, clades, names in _in_clades(table, tables):
        if model == "":
            rows.append({**keys, "clade": ""})
            continue
        squares = spread(points, clades)
        if np.bincount(clades, squares).min() < 1e-9:
            rows.append({**keys, "clade": "", "why": "all species of a clade are one point"})
            continue
        called = [names[keys["rank"]].to_numpy()[clades == i][0] for i in range(clades.max() + 1)]
        found = compare_clades(squares, clades, config.seed)
        rows += [{**keys, "clade": name, **row} for name, row in zip(called, found, strict=True)]
    return pd.DataFrame(rows, columns=_COLUMNS)


def score_convergence(table: pd.DataFrame, tables: Features, config: EvaluateConfig) -> pd.DataFrame:
    """Find the species of different clades that look more alike than their kinship tells.

    Parameters
    ----------
    table, tables, config
        As of `score_hierarchy`.

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
    No interval: a pair is itself, no sample.
    """
    rows = []
    for keys, model, points, clades, names in _in_clades(table, tables, MAX_SPECIES):
        if model == "":
            rows.append(keys)
            continue
        if np.ptp(points, axis=0).max() < 1e-9:
            rows.append({**keys, "why": "all species are one point"})
            continue
        (one, two), found, least = closeness(points, clades, config.seed)
        if not np.isfinite(found).all():
            rows.append({**keys, "why": "all species of two clades are one point"})
            continue
        for i in np.argsort(found, kind="stable")[:N_PAIRS]:
            pair = {"species": names.index[one[i]], "like": names.index[two[i]], "value": float(found[i])}
            tested = {"by_chance": float(least.mean()), "p_family": p_value_of(-found[i], -least)}
            rows.append({**keys, **pair, **tested, "n": len(found)})
    return pd.DataFrame(rows, columns=_PAIRS)


def _in_clades(
    table: pd.DataFrame, tables: Features, most: int | None = None
) -> Iterator[tuple[dict, str, np.ndarray, np.ndarray, pd.DataFrame]]:
    """Yield keys, model ('': the keys say why), centroids, clades from 0, and ranks of species in large clades."""
    for species in species_sets(table):
        rank, clades = clades_of(species.ranks)
        kept = np.flatnonzero(np.bincount(clades)[clades] >= MIN_IN_CLADE)
        number = np.unique(clades[kept], return_inverse=True)[1]
        keys, n_clades = {**species.keys, "rank": rank, "why": ""}, len(np.unique(number))
        if n_clades < 2:
            keys["why"] = f"{n_clades} clades ({rank}) have {MIN_IN_CLADE} species; two are needed"
        elif most and len(kept) > most:
            keys["why"] = f"{len(kept):,} species are more than the {most:,} that can be compared in a minute"
        if keys["why"]:
            yield {**keys, "model": ""}, "", np.zeros((0, 0)), number, species.ranks
            continue
        for model, features in tables.items():
            yield {**keys, "model": model}, model, species.centroids(features)[kept], number, species.ranks.iloc[kept]


def spread(points: np.ndarray, clades: np.ndarray) -> np.ndarray:
    """Return squared distances of species (n, D) from the mean of their clade, freed of their own share in it."""
    sizes = np.bincount(clades)
    means, sizes = sums_of(points, clades, len(sizes)) / sizes[:, None], sizes[clades]
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
