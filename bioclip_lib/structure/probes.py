"""Further probes of hierarchy, each a function of distances in the embedding and in the tree, with a null and interval.

Takes the catalog and features; returns a table. One centroid a species, cosine distances between centroids, as in
`hierarchy`. The null deals the species out: over the whole tree, or inside the group above the rank that is asked.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import squareform

from .. import RANKS
from ..config import EvaluateConfig
from ..evaluation.statistics import holm
from ..evaluation.tasks import MIN_SPECIES, Features, evaluated_images, rows_of
from ..taxonomy.ranks import tree_distance
from .hierarchy import _orders, _p_value, centroids, clades_of, embedding_distance, over_clades

Probe = Callable[[np.ndarray], Callable[[np.ndarray], float]]
"""Takes distances in the embedding, once; returns what scores a tree beside them."""

N_PERMUTATIONS = 499
_COLUMNS = ["dataset", "part", "model", "probe", "rank", "value", "ci_low", "ci_high", "by_chance", "p_value", "p_holm"]


def cophenetic(embedding: np.ndarray) -> Callable[[np.ndarray], float]:
    """Correlate heights of the centroids' dendrogram (average linkage) with the tree (Sokal & Rohlf 1962), -1 to 1."""
    heights = cophenet(linkage(squareform(embedding, checks=False), "average"))

    def of_tree(tree: np.ndarray) -> float:
        pairs = squareform(tree.astype(float), checks=False)
        constant = heights.std() == 0 or pairs.std() == 0
        return np.nan if constant else float(np.corrcoef(heights, pairs)[0, 1])

    return of_tree


def clades_found(embedding: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return 1 - the normalised Robinson-Foulds distance of the centroids' dendrogram to the taxonomy, 0 to 1.

    The distance is the number of clades, of two species and more but not of all, that one of the two trees has and the
    other not, over the number of clades in both (Robinson & Foulds 1981, of rooted trees). A dendrogram forks in two
    and a taxonomy in many, so that 1 is out of reach: compare with what chance gives.
    """
    n, found = len(embedding), set()
    parts = [frozenset([i]) for i in range(n)]
    for one, other in linkage(squareform(embedding, checks=False), "average")[:-1, :2].astype(int):
        parts.append(parts[one] | parts[other])
        found.add(parts[-1])

    def of_tree(tree: np.ndarray) -> float:
        known = {
            frozenset(np.flatnonzero(row)) for depth in range(len(RANKS)) for row in tree <= len(RANKS) - 1 - depth
        }
        known = {clade for clade in known if 1 < len(clade) < n}
        return 2 * len(found & known) / (len(found) + len(known)) if known else np.nan

    return of_tree


def groups_at(tree: np.ndarray, depth: int) -> np.ndarray:
    """Number the groups at a rank from 0, (n,); depth -1 is one group of all."""
    together = tree <= len(RANKS) - 1 - depth
    return np.unique(together.argmax(axis=1), return_inverse=True)[1]


def silhouette(embedding: np.ndarray, depth: int) -> Callable[[np.ndarray], float]:
    """Average the silhouettes (Rousseeuw 1987) of species in their group at a rank, against its sisters, -1 to 1.

    The nearest other group is looked for inside the group above alone; species that are alone in their group, or whose
    group has no sister there, are left out; nan where that leaves none.
    """

    def of_tree(tree: np.ndarray) -> float:
        group, above = groups_at(tree, depth), groups_at(tree, depth - 1)
        members = np.eye(group.max() + 1)[group]  # (n, G)
        sizes, sums = members.sum(axis=0), embedding @ members  # (n, n) @ (n, G) -> (n, G)
        each = np.arange(len(group))
        parent = np.zeros(len(sizes), int)
        parent[group] = above
        others = np.where((parent[None, :] == above[:, None]), sums / sizes, np.inf)
        others[each, group] = np.inf
        nearest, size = others.min(axis=1), sizes[group]
        kept = (size > 1) & np.isfinite(nearest)
        if not kept.any():
            return np.nan
        own = sums[each, group][kept] / (size[kept] - 1)
        return float(((nearest[kept] - own) / np.maximum(np.maximum(nearest[kept], own), 1e-12)).mean())

    return of_tree


def purity(embedding: np.ndarray, depth: int) -> Callable[[np.ndarray], float]:
    """Tell how often the nearest other species of the group above is of the same group at a rank, 0 to 1.

    Asked are species that have both a relative in the group and a species of a sister group; nan where none has.
    """

    def of_tree(tree: np.ndarray) -> float:
        group, above = groups_at(tree, depth), groups_at(tree, depth - 1)
        same = (group[:, None] == group[None, :]) & ~np.eye(len(group), dtype=bool)
        sisters = (above[:, None] == above[None, :]) & (group[:, None] != group[None, :])
        kept = same.any(axis=1) & sisters.any(axis=1)
        if not kept.any():
            return np.nan
        nearest = np.where(same | sisters, embedding, np.inf)[kept].argmin(axis=1)
        return float(same[kept][np.arange(kept.sum()), nearest].mean())

    return of_tree


def variance_share(embedding: np.ndarray, depth: int) -> Callable[[np.ndarray], float]:
    """Return the share of all variance between species that a rank explains beyond the rank above, 0 to 1.

    (SS within the groups above - SS within the groups) / SS, sums of squares of distances as in PERMANOVA (Anderson
    2001). Every grouping explains something: compare with what chance gives.
    """

    def within(group: np.ndarray) -> float:
        members = np.eye(group.max() + 1)[group]
        # squares of Euclidean distances of unit vectors are twice their cosine distances
        return float((np.einsum("ig,ij,jg->g", members, embedding, members, optimize=True) / members.sum(axis=0)).sum())

    def of_tree(tree: np.ndarray) -> float:
        total = within(np.zeros(len(tree), int))
        return (within(groups_at(tree, depth - 1)) - within(groups_at(tree, depth))) / total if total > 0 else np.nan

    return of_tree


BY_RANK = {"silhouette": (silhouette, -1.0), "purity": (purity, 0.0), "variance share": (variance_share, 0.0)}


def score_probes(table: pd.DataFrame, tables: Features, config: EvaluateConfig) -> pd.DataFrame:
    """Ask the probes of this module of all models.

    Parameters
    ----------
    table : DataFrame
        The catalog; only images known to species take part, each source by itself.
    tables : mapping of model to FeatureTable
    config : EvaluateConfig

    Returns
    -------
    DataFrame
        ``dataset, part, model, probe`` (cophenetic, clades found; by rank silhouette, purity, variance share), ``rank``
        ('' of the whole tree), ``value``, its interval for another tree (`over_clades`; all it can be where there are
        too few clades), ``by_chance`` (the mean of the null), one-sided ``p_value`` of 499 permutations, and ``p_holm``
        over the ranks of a probe. A rank that offers no second arrangement has no row.
    """
    images = evaluated_images(table)
    images = images[images["rank"] == "species"]
    rows = []
    for (dataset, part), group in images.groupby(["dataset", "part"]):
        classes, labels = np.unique(group["class_key"], return_inverse=True)
        ranks = group.drop_duplicates("class_key").set_index("class_key").loc[classes, list(RANKS)]
        tree = tree_distance(ranks)
        if len(classes) < MIN_SPECIES or len(np.unique(tree)) < 3:
            continue
        for model, features in tables.items():
            values = rows_of(features, images).loc[group.index].to_numpy()
            embedding = embedding_distance(centroids(values - values.mean(axis=0), labels))
            found = _of_model(embedding, tree, clades_of(ranks)[1], config.seed)
            rows += [{"dataset": dataset, "part": part, "model": model, **row} for row in found]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _of_model(embedding: np.ndarray, tree: np.ndarray, clades: np.ndarray, seed: int) -> list[dict]:
    """Return the rows of one model's distances."""
    rows, distances = [], (embedding, tree, clades)
    for name, probe, lowest in (("cophenetic", cophenetic, -1.0), ("clades found", clades_found, 0.0)):
        rows += [{"probe": name, "rank": "", **row} for row in _tested(probe, distances, lowest, None, seed)]
    for name, (probe, lowest) in BY_RANK.items():
        found = []
        for depth, rank in enumerate(RANKS[:-1]):
            tested = _tested(partial(probe, depth=depth), distances, lowest, depth, seed)
            found += [{"probe": name, "rank": rank, **row} for row in tested]
        for row, p_holm in zip(found, holm(np.array([row["p_value"] for row in found])), strict=True):
            rows.append({**row, "p_holm": p_holm})
    return rows


def _tested(
    probe: Probe, distances: tuple[np.ndarray, np.ndarray, np.ndarray], lowest: float, depth: int | None, seed: int
) -> list[dict]:
    """Return value, interval, null mean and p-value of a probe; nothing where it cannot be asked.

    `distances` are those of the embedding and of the tree, and the clades; the probe is at least `lowest`.
    """
    embedding, tree, clades = distances
    strata = None if depth is None else groups_at(tree, depth - 1)
    of_tree = probe(embedding)
    value = of_tree(tree)
    orders = _orders(len(tree), N_PERMUTATIONS, seed, strata)
    null = np.array([of_tree(tree[np.ix_(order, order)]) for order in orders]) if np.isfinite(value) else np.zeros(1)
    if not np.isfinite(value) or (depth is not None and np.ptp([*null, value]) < 1e-12):  # no second arrangement
        return []
    low, high = over_clades(lambda some, trees: probe(some)(trees), embedding, tree, clades)
    low = max(low, lowest)
    if high - low < 1e-9:  # no clade left out changes it: of another tree nothing is known
        low, high = lowest, 1.0
    p_value = _p_value(value, null)
    means = {"by_chance": float(null.mean()), "p_value": p_value, "p_holm": p_value}
    return [{"value": value, "ci_low": low, "ci_high": high, **means}]
