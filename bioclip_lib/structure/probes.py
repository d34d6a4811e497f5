"""Further probes of hierarchy, each a function of distances in the embedding and of the tree, with a null and interval.

Takes the catalog and features; returns a table. One centroid a species, cosine distances between centroids, as in
`hierarchy`. The null deals the species out: over the whole tree, or inside the group above the rank that is asked. What
cannot be asked has a row that says why. Of images no matrix is made but their features; of species those of distances.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import squareform

from .. import RANKS
from ..config import EvaluateConfig
from ..evaluation.statistics import holm
from ..evaluation.tasks import MIN_SPECIES, Features, unit_rows
from ..taxonomy.ranks import tree_distance
from .hierarchy import (
    clades_of,
    embedding_distance,
    features_of,
    orders_of,
    over_kept,
    p_value_of,
    species_sets,
    square_of,
    sums_of,
    take_both,
)

N_PERMUTATIONS, N_DEALS = 499, 99  # of species; of images over species
RIDGE = 1.0  # of the linear probe, beside a mean cosine of 1 of a species with itself
_COLUMNS = ["dataset", "part", "model", "probe", "rank", "value", "ci_low", "ci_high", "by_chance", "p_value", "p_holm"]
_COLUMNS += ["n", "why"]


class Tree(NamedTuple):
    """Distances (n, n) of species in the tree, and their ``groups`` (n, 8) at no rank and the seven, from 0 on."""

    distance: np.ndarray
    groups: np.ndarray

    @classmethod
    def of(cls, distance: np.ndarray) -> "Tree":
        """Number the groups of a tree."""
        together = [distance <= len(RANKS) - depth for depth in range(len(RANKS) + 1)]
        return cls(distance, _numbered(np.stack([of_rank.argmax(axis=1) for of_rank in together], axis=1)))

    def kept(self, rows: np.ndarray) -> "Tree":
        """Return the tree of some of its species."""
        return Tree(self.distance[np.ix_(rows, rows)], _numbered(self.groups[rows]))

    def rank(self, depth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the group of each species at a rank, the group above, and which have a relative and a sister group."""
        above, group = self.groups[:, depth], self.groups[:, depth + 1]
        size, all_there = np.bincount(group)[group], np.bincount(above)[above]
        return group, above, (size > 1) & (size < all_there)


def _numbered(groups: np.ndarray) -> np.ndarray:
    """Number the values of each column from 0."""
    return np.stack([np.unique(column, return_inverse=True)[1] for column in groups.T], axis=1)


Probe = Callable[[np.ndarray, Tree], Callable[[np.ndarray], float]]
"""Takes distances in the embedding, and the tree; returns what scores the tree with its species in another order."""


def cophenetic(embedding: np.ndarray, tree: Tree) -> Callable[[np.ndarray], float]:
    """Correlate heights of the centroids' dendrogram (average linkage) with the tree (Sokal & Rohlf 1962), -1 to 1."""
    n = len(embedding)
    pairs = cophenet(linkage(squareform(embedding, checks=False), "average")), squareform(tree.distance.astype(float))
    pairs = [of - of.mean() for of in pairs]
    lengths = [np.linalg.norm(of) for of in pairs]
    if min(lengths) < 1e-12:
        return lambda order: np.nan
    heights, known = (square_of(of / length, n) for of, length in zip(pairs, lengths, strict=True))
    return lambda order: float(np.vdot(take_both(known, order), heights) / 2)  # each pair is there twice


def clades_found(embedding: np.ndarray, tree: Tree) -> Callable[[np.ndarray], float]:
    """Return 1 - the normalised Robinson-Foulds distance of the centroids' dendrogram to the taxonomy, 0 to 1.

    The distance is the number of clades, of two species and more but not of all, that one of the two trees has and the
    other not, over the number of clades in both (Robinson & Foulds 1981, of rooted trees). A dendrogram forks in two
    and a taxonomy in many, so that 1 is out of reach: compare with what chance gives.
    """
    n, known = len(embedding), {}
    for column in tree.groups.T:
        known |= {members.tobytes(): members for members in (np.flatnonzero(column == g) for g in np.unique(column))}
    clades = [members for members in known.values() if 1 < len(members) < n]
    if not clades:
        return lambda order: np.nan
    # a clade is told by the sum of random numbers of its species, modulo 2**64
    marks = np.empty(2 * n - 2, np.uint64)
    marks[:n] = np.random.default_rng(0).integers(0, 2**63, n, dtype=np.uint64)
    for k, joined in enumerate(linkage(squareform(embedding, checks=False), "average")[:-1, :2].astype(int), n):
        marks[k] = marks[joined].sum()
    marks, found = marks[:n], marks[n:]
    members, starts = np.concatenate(clades), np.cumsum([0, *map(len, clades[:-1])])

    def in_order(order: np.ndarray) -> float:
        place = np.empty(n, np.int64)
        place[order] = np.arange(n)
        shared = np.isin(np.add.reduceat(marks[place[members]], starts), found).sum()
        return float(2 * shared / (len(found) + len(clades)))

    return in_order


def silhouette(embedding: np.ndarray, tree: Tree, depth: int) -> Callable[[np.ndarray], float]:
    """Average the silhouettes (Rousseeuw 1987) of species in their group at a rank against its sisters, -1 to 1."""
    group, above, asked = tree.rank(depth)
    sizes, parent = np.bincount(group), above[np.unique(group, return_index=True)[1]]
    far = np.where(parent[None, :] == above[:, None], 0, np.inf)  # (n, G)

    def in_order(order: np.ndarray) -> float:
        mine, kept = group[order], np.flatnonzero(asked[order])
        if not len(kept):
            return np.nan
        sums, mine = sums_of(embedding, mine, len(sizes)).T[kept], mine[kept]
        own = sums[np.arange(len(kept)), mine] / (sizes[mine] - 1)
        others = sums / sizes + far[kept]
        others[np.arange(len(kept)), mine] = np.inf
        nearest = others.min(axis=1)
        return float(((nearest - own) / np.maximum(np.maximum(nearest, own), 1e-12)).mean())

    return in_order


def purity(embedding: np.ndarray, tree: Tree, depth: int) -> Callable[[np.ndarray], float]:
    """Tell how often the nearest other species of the group above is of the same group at a rank, 0 to 1."""
    group, above, asked = tree.rank(depth)
    others = (above[:, None] == above[None, :]) & ~np.eye(len(above), dtype=bool)
    nearest = np.where(others, embedding, np.inf).argmin(axis=1)

    def in_order(order: np.ndarray) -> float:
        mine, kept = group[order], asked[order]
        return float((mine[nearest] == mine)[kept].mean()) if kept.any() else np.nan

    return in_order


def linear(embedding: np.ndarray, tree: Tree, depth: int) -> Callable[[np.ndarray], float]:
    """Tell how often a ridge probe, taught by the other species, puts a species into its group at a rank, 0 to 1.

    It chooses among the groups of the group above (cosine, ridge of 1, one species one example); nan where none can.
    """
    group, above, asked = tree.rank(depth)
    parent = above[np.unique(group, return_index=True)[1]]
    far = np.where(parent[None, :] == above[:, None], 0, -np.inf)  # (n, G)
    kernel = 1 - embedding
    hat = np.linalg.solve(kernel + RIDGE * np.eye(len(kernel)), kernel)  # (n, n), symmetric: both factors commute
    alone = np.diag(hat)

    def in_order(order: np.ndarray) -> float:
        mine, kept = group[order], np.flatnonzero(asked[order])
        if not len(kept):
            return np.nan
        scores = sums_of(hat, mine, far.shape[1]).T
        scores[np.arange(len(mine)), mine] -= alone  # left out: up to a factor that all groups share
        return float(((scores + far)[kept].argmax(axis=1) == mine[kept]).mean())

    return in_order


def variance_share(embedding: np.ndarray, tree: Tree, depth: int) -> Callable[[np.ndarray], float]:
    """Return the share of all variance between species that a rank explains beyond the rank above, 0 to 1.

    (SS within the groups above - SS within the groups) / SS, sums of squares of distances as in PERMANOVA (Anderson
    2001). Every grouping explains something: compare with what chance gives.
    """
    group, above, _ = tree.rank(depth)

    def within(of: np.ndarray) -> float:
        # squares of Euclidean distances of unit vectors are twice their cosine distances
        sizes = np.bincount(of)
        return float((sums_of(embedding, of, len(sizes))[of, np.arange(len(of))] / sizes[of]).sum())

    total, outer = embedding.mean() * len(embedding), within(above)
    return lambda order: (outer - within(group[order])) / total if total > 1e-12 else np.nan


WHOLE = {"cophenetic": (cophenetic, -1.0), "clades found": (clades_found, 0.0)}
BY_RANK = {
    "silhouette": (silhouette, -1.0),
    "purity": (purity, 0.0),
    "linear probe": (linear, 0.0),
    "variance share": (variance_share, 0.0),
}
DIMENSION = "effective dimension"


def effective_dimension(points: np.ndarray) -> float:
    """Estimate in how many directions points (n, D) vary: the participation ratio of their covariance, 1 to D.

    ``(tr S)^2 / tr(S^2)``, of which the second is freed of what few points add (Srivastava 2005, exact for normal
    points): the plain ratio of n points is below n whatever they are.
    """
    return _dimensions(_concentration(points), points.shape[1])


def _dimensions(concentration: float, width: int) -> float:
    """Return 1 / concentration, 1 to D; of few points the estimate can be 0 and below."""
    return float(np.clip(1 / concentration, 1, width)) if concentration > 1 / width else float(width)


def _concentration(points: np.ndarray) -> float:
    """Estimate ``tr(S^2) / (tr S)^2`` of the covariance of points (n, D); nan of one point or fewer than three."""
    centred, m = points - points.mean(axis=0), len(points) - 1
    gram = centred @ centred.T if m < points.shape[1] else centred.T @ centred
    trace = np.trace(gram) / m if m > 1 else 0.0
    if trace < 1e-12:
        return np.nan
    return float(m**2 / ((m + 2) * (m - 1)) * ((gram**2).sum() / (m * trace) ** 2 - 1 / m))


def score_probes(table: pd.DataFrame, tables: Features, config: EvaluateConfig) -> pd.DataFrame:
    """Ask the probes of this module of all models.

    Parameters
    ----------
    table, tables, config
        As of `score_hierarchy`.

    Returns
    -------
    DataFrame
        ``dataset, part, model, probe`` (cophenetic, clades found, effective dimension; by rank silhouette, purity,
        linear probe, variance share), ``rank`` ('' of the whole tree), ``value``, its interval for another tree
        (`over_kept`; all it can be where there are too few clades), ``by_chance`` (the mean of the null), one-sided
        ``p_value`` of 499 permutations of species (of the dimension two-sided, of 99 deals of images over species),
        ``p_holm`` over the ranks of a probe, ``n`` species, and ``why``: a row without numbers says what cannot be
        asked.
    """
    rows = []
    for species in species_sets(table):
        tree, n = Tree.of(tree_distance(species.ranks)), len(species.ranks)
        keys = {**species.keys, "n": n}
        if n < MIN_SPECIES or len(np.unique(tree.distance)) < 3:
            why = f"{n} species; {MIN_SPECIES} that are not all equally related are needed"
            rows.append({**keys, "model": "", "probe": "all", "rank": "", "why": why})
            continue
        clades = clades_of(species.ranks)[1]
        for model, features in tables.items():
            found = [_dimension(features_of(features, species.images), species.labels, clades, config.seed)]
            found += _of_model(embedding_distance(species.centroids(features)), tree, clades, config.seed)
            rows += [{"why": "", **keys, "model": model, **row} for row in found]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _dimension(values: np.ndarray, labels: np.ndarray, clades: np.ndarray, seed: int) -> dict:
    """Return the row of the effective dimension of centroids; by chance those of images dealt out over species."""
    values, row = unit_rows(values.astype(np.float64)), {"probe": DIMENSION, "rank": ""}
    n_images = np.bincount(labels)[:, None]
    of = lambda order: sums_of(values, labels[order], len(n_images)) / n_images  # noqa: E731
    points, rng, width = of(np.arange(len(labels))), np.random.default_rng(seed), values.shape[1]
    value = _concentration(points)
    null = np.array([_concentration(of(rng.permutation(len(labels)))) for _ in range(N_DEALS)])
    if not np.isfinite([value, *null]).all():
        return {**row, "why": "all centroids are one point, or there are fewer than three"}
    p_value = min(1.0, 2 * min(p_value_of(value, null), p_value_of(-value, -null)))
    low, high, _ = over_kept(lambda kept: effective_dimension(points[kept]) / width, clades)
    ends = {"ci_low": max(1.0, width * low), "ci_high": max(1.0, width * high)}
    means = {"by_chance": _dimensions(null.mean(), width), "p_value": p_value, "p_holm": p_value}
    return {**row, "value": _dimensions(value, width), **ends, **means}


def _of_model(embedding: np.ndarray, tree: Tree, clades: np.ndarray, seed: int) -> list[dict]:
    """Return the rows of one model's distances."""
    rows = []
    for name, (probe, lowest) in WHOLE.items():
        rows.append({"probe": name, "rank": "", **_tested(probe, (embedding, tree, clades), lowest, None, seed)})
        rows[-1]["p_holm"] = rows[-1].get("p_value", np.nan)
    for name, (probe, lowest) in BY_RANK.items():
        found = []
        for depth, rank in enumerate(RANKS[:-1]):
            tested = _tested(partial(probe, depth=depth), (embedding, tree, clades), lowest, depth, seed)
            found.append({"probe": name, "rank": rank, **tested})
        asked = [row for row in found if "p_value" in row]
        for row, p_holm in zip(asked, holm(np.array([row["p_value"] for row in asked])), strict=True):
            row["p_holm"] = p_holm
        rows += found
    return rows


def _tested(
    probe: Probe, distances: tuple[np.ndarray, Tree, np.ndarray], lowest: float, depth: int | None, seed: int
) -> dict:
    """Return value, interval, null mean and p-value of a probe, at least `lowest`; why, where it cannot be asked."""
    embedding, tree, clades = distances
    strata = None if depth is None else tree.groups[:, depth]
    if depth is not None and not tree.rank(depth)[2].any():
        return {"why": _nobody(tree, depth)}
    in_order = probe(embedding, tree)
    value = in_order(np.arange(len(clades)))
    if not np.isfinite(value):
        return {"why": "all lie equally far apart"}
    null = np.array([in_order(order) for order in orders_of(len(clades), N_PERMUTATIONS, seed, strata)])
    if depth is not None and np.ptp([*null, value]) < 1e-12:
        return {"why": "the species have no second arrangement inside the groups above"}

    def of_kept(kept: np.ndarray) -> float:
        return probe(embedding[np.ix_(kept, kept)], tree.kept(kept))(np.arange(len(kept)))

    low, high, _ = over_kept(of_kept, clades)
    low = max(low, lowest)
    if high - low < 1e-9:  # no clade left out changes it: of another tree nothing is known
        low, high = lowest, 1.0
    means = {"by_chance": float(null.mean()), "p_value": p_value_of(value, null)}
    return {"value": value, "ci_low": low, "ci_high": high, **means}


def _nobody(tree: Tree, depth: int) -> str:
    """Say why no species can be asked at a rank."""
    n_groups = len(np.unique(tree.groups[:, depth + 1]))
    if n_groups == 1:
        return "all are of one group"
    return "no species has both a relative in its group and a sister group inside the group above"
