"""Probes of hierarchy: do distances in the embedding follow distances in the tree, at which rank, and beyond chance?

`score_hierarchy` takes the catalog and features; one centroid a species, cosine distances between centroids. It returns
rows of metrics.csv and the details of each probe, which `null_table` and `pair_table` keep for figures. Refuses
features and distances that are not finite, and matrices that are not symmetric. Source and background of the
photographs are no part of the tree: each source is a data set of its own, and what a taxon's photographs share by habit
(a museum's drawer, the sea) is confounded with it.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse, stats

from .. import RANKS
from ..config import EvaluateConfig
from ..errors import InputError
from ..evaluation.statistics import LEVEL, holm, p_value_interval
from ..evaluation.tasks import MIN_SPECIES, Features, evaluated_images, rows_of, score_frame, unit_rows
from ..model.features import FeatureTable
from ..taxonomy.ranks import lineage_codes, tree_distance

MIN_CLADES = 5  # fewer give no interval
STRATA = {"p_value": None, "p_value_in_kingdoms": "kingdom", "p_value_in_orders": "order"}  # of Mantel's permutations

_BINS, _MAX_PAIRS = 40, 2_000  # of a null distribution; drawn of the pairs of one rank
_NULL = ["dataset", "task", "model", "observed", "p_value", "n_permutations", "n_species", "low", "high", "n"]


class SpeciesSet(NamedTuple):
    """The species of a data set and part: ``keys`` of its rows, images, the species of each image, ranks of species."""

    keys: dict[str, str]
    images: pd.DataFrame
    labels: np.ndarray  # (n,): rows of ranks
    ranks: pd.DataFrame

    def centroids(self, features: FeatureTable) -> np.ndarray:
        """Return the centroids (C, D) of features from which the mean of all images is taken off."""
        values = features_of(features, self.images)
        return centroids(values - values.mean(axis=0, dtype=float), self.labels)


def species_sets(table: pd.DataFrame) -> Iterator[SpeciesSet]:
    """Yield the evaluated images of a catalog that are known to species, each data set and part by itself."""
    images = evaluated_images(table)
    for (dataset, part), group in images[images["rank"] == "species"].groupby(["dataset", "part"]):
        names, labels = np.unique(group["class_key"], return_inverse=True)
        ranks = group.drop_duplicates("class_key").set_index("class_key").loc[names, list(RANKS)]
        yield SpeciesSet({"dataset": dataset, "part": part}, group, labels, ranks)


def centroids(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Average the unit-length features (n, D) of each label 0..C-1; (C, D), float64, not normalised again."""
    counts = np.bincount(labels)
    if not len(counts) or not counts.all():
        raise InputError("a species has no image to average; number the species that occur from 0 (np.unique)")
    return sums_of(unit_rows(np.asarray(features, dtype=np.float64)), labels, len(counts)) / counts[:, None]


def sums_of(rows: np.ndarray, labels: np.ndarray, n_labels: int) -> np.ndarray:
    """Sum rows (n, D) by label, (n_labels, D)."""
    members = sparse.csr_matrix((np.ones(len(labels)), labels, np.arange(len(labels) + 1)), (len(labels), n_labels))
    return members.T @ rows


def features_of(features: FeatureTable, images: pd.DataFrame) -> np.ndarray:
    """Return the features (n, D) of images; refuse what has no direction: NaN, infinity, zeros."""
    frame = rows_of(features, images)
    values = frame.to_numpy()[frame.index.get_indexer(images.index)]  # row by row in memory, as what follows reads it
    empty = ~np.isfinite(values).all(axis=1) | ~values.any(axis=1)
    if empty.any():
        raise InputError(
            f"{empty.sum()} images have features that are NaN, infinite or all zero (e.g. {images.index[empty][0]}); "
            "delete the run's embeddings/ and run 03_training and 04_zero_shot again"
        )
    return values


def embedding_distance(points: np.ndarray) -> np.ndarray:
    """Return cosine distances, 0 to 2, between rows (C, D), as (C, C); exactly symmetric."""
    unit = unit_rows(np.asarray(points, dtype=np.float64))
    distance = np.clip(1 - unit @ unit.T, 0, 2)  # (C, D) @ (D, C) -> (C, C)
    distance = (distance + distance.T) / 2  # a product is symmetric only up to rounding
    np.fill_diagonal(distance, 0)
    return distance


def mantel(
    a: np.ndarray, b: np.ndarray, n_permutations: int = 9_999, seed: int = 0, strata: np.ndarray | None = None
) -> tuple[float, float, np.ndarray]:
    """Test whether distance matrices (n, n) are correlated (Mantel 1967), by Spearman's coefficient of the pairs.

    Returns rho (nan if a matrix is constant), the one-sided p-value ``(1 + permutations with at least this correlation)
    / (1 + n_permutations)``, and the correlations when the objects of `a` are permuted, inside the strata (n,) where
    there are some. n objects have only n! orders: five cannot give p < 1 / 120.
    """
    rank_a, rank_b = (_standard_ranks(pairs) for pairs in _pairs(a, b))
    if rank_a is None or rank_b is None:
        return float("nan"), 1.0, np.zeros(n_permutations)
    n = len(a)
    square_a, square_b = square_of(rank_a, n), square_of(rank_b, n)
    null = np.empty(n_permutations)
    for i, order in enumerate(orders_of(n, n_permutations, seed, strata)):
        null[i] = np.vdot(take_both(square_a, order), square_b) / 2  # each pair is there twice
    rho = float(rank_a @ rank_b)
    return rho, p_value_of(rho, null), null


def take_both(square: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return rows and columns of a square matrix in another order."""
    # whole rows first; mode="clip" writes the columns unbuffered: 8 times as fast as square[order][:, order]
    return np.take(square[order], order, axis=1, out=np.empty_like(square), mode="clip")


def orders_of(n: int, n_permutations: int, seed: int, strata: np.ndarray | None):
    """Yield random orders of n objects, each of which stays inside its stratum."""
    rng = np.random.default_rng(seed)
    if strata is None:
        for _ in range(n_permutations):
            yield rng.permutation(n)
        return
    home = np.argsort(strata, kind="stable")  # objects, stratum by stratum
    for _ in range(n_permutations):
        order = np.empty(n, dtype=np.int64)
        order[home] = home[np.lexsort((rng.random(n), np.asarray(strata)[home]))]
        yield order


def p_value_of(observed: float, null: np.ndarray) -> float:
    """Return the one-sided p-value of a permutation test."""
    return (int((null >= observed - 1e-12).sum()) + 1) / (len(null) + 1)


def _pairs(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the upper triangles of two distance matrices; refuse what are none."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.ndim != 2 or a.shape != b.shape or a.shape[0] != a.shape[1] or len(a) < 3:
        raise InputError(f"distances of shapes {a.shape} and {b.shape}; give two square ones of at least 3 objects")
    if not all(np.isfinite(d).all() and np.allclose(d, d.T) for d in (a, b)):
        raise InputError("distances must be finite and symmetric; compute them again")
    upper = np.triu_indices(len(a), k=1)
    return a[upper], b[upper]


def square_of(pairs: np.ndarray, n: int) -> np.ndarray:
    """Return the symmetric matrix (n, n) of an upper triangle, 0 on the diagonal."""
    square = np.zeros((n, n))
    square[np.triu_indices(n, k=1)] = pairs
    return square + square.T


def _standard_ranks(values: np.ndarray) -> np.ndarray | None:
    """Return ranks with mean 0 and unit length, so that a product of two is Spearman's rho; None if constant."""
    ranks = stats.rankdata(values)
    ranks -= ranks.mean()
    length = np.linalg.norm(ranks)
    return ranks / length if length > 0 else None


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Correlate the pairs of two distance matrices by rank; nan if one is constant."""
    rank_a, rank_b = (_standard_ranks(pairs) for pairs in _pairs(a, b))
    return float("nan") if rank_a is None or rank_b is None else float(rank_a @ rank_b)


def triplet_accuracy(embedding: np.ndarray, tree: np.ndarray) -> float:
    """Tell how often the nearer of two relatives in the tree is the nearer in the embedding, 0.5 by chance.

    For each species, and each distance at which others part from it: the share of pairs of a relative and one that
    parted there, where the relative is nearer (of equal ones half). Averaged over species, then over distances, so that
    no split weighs more because more pairs lie there; nan where no species has both.
    """
    n, depths = len(tree), np.arange(1, len(RANKS) + 1)
    others = ~np.eye(n, dtype=bool)
    near, wins = np.stack([(tree < d).sum(axis=1) - 1 for d in depths], axis=1), np.zeros((n, len(depths)))
    for sign in (1, -1):  # equal distances once in favour of the relative, once against: half
        order = np.lexsort((sign * tree, embedding), axis=1)
        level, other = (np.take_along_axis(x, order, axis=1) for x in (tree, others))
        for column, d in enumerate(depths):
            before = np.cumsum((level < d) & other, axis=1)  # relatives that are nearer
            wins[:, column] += np.where((level == d) & other, before, 0).sum(axis=1) / 2
    pairs = near * np.stack([(tree == d).sum(axis=1) for d in depths], axis=1)
    asked = [wins[pairs[:, j] > 0, j] / pairs[pairs[:, j] > 0, j] for j in range(len(depths))]
    means = [shares.mean() for shares in asked if len(shares)]
    return float(np.mean(means)) if means else float("nan")


def over_clades(
    statistic: Callable[[np.ndarray, np.ndarray], float], embedding: np.ndarray, tree: np.ndarray, clades: np.ndarray
) -> tuple[float, float]:
    """Return the interval of a correlation for another tree: Student's t on atanh, a jackknife over clades.

    Related species share what moves it: leaving out single ones gives an interval for these clades alone. (-1, 1) for
    fewer than `MIN_CLADES` clades.
    """
    return over_kept(lambda kept: statistic(embedding[np.ix_(kept, kept)], tree[np.ix_(kept, kept)]), clades)[:2]


def over_kept(statistic: Callable[[np.ndarray], float], clades: np.ndarray) -> tuple[float, float, float]:
    """Return the interval of `over_clades` of a statistic of the species kept, and the two-sided p-value of 0 by t."""
    names, every = np.unique(clades), np.arange(len(clades))
    if len(names) < MIN_CLADES:
        return -1.0, 1.0, 1.0
    values = [statistic(np.flatnonzero(clades != name)) for name in names]
    value, z = statistic(every), np.arctanh(np.clip(values, -1 + 1e-9, 1 - 1e-9))
    if not np.isfinite(z).all() or not np.isfinite(value):
        return -1.0, 1.0, 1.0
    n = len(names)
    error = np.sqrt((n - 1) / n * ((z - z.mean()) ** 2).sum())
    middle, reach = np.arctanh(np.clip(value, -1 + 1e-9, 1 - 1e-9)), stats.t.ppf((1 + LEVEL) / 2, n - 1) * error
    low, high = np.tanh([middle - reach, middle + reach])
    p_value = 2 * stats.t.sf(abs(middle) / error, n - 1) if error > 0 else float(middle == 0)
    return float(min(low, value)), float(max(high, value)), float(p_value)


def nested_tests(points: np.ndarray, ranks: pd.DataFrame, n_permutations: int = 9_999, seed: int = 0) -> pd.DataFrame:
    """Test rank by rank whether taxa of one group lie nearer than those of its sisters, within the group above.

    Takes centroids of species (C, D) and their ranks; only species with all seven take part. A row a rank from kingdom
    to genus: ``rank, nearer`` (by how much of the mean distance inside the group above units of one group lie nearer
    than units of two), ``p_value`` (one-sided), ``p_holm`` over ranks, ``n_units``. The units of a rank are the taxa
    of the next rank below, each the mean of its species; they are permuted inside the taxa of the rank above. Ranks
    that offer no second arrangement have no row: of them nothing can be said.
    """
    rows, codes = [], lineage_codes(ranks)
    known = (codes > 0).all(axis=1)
    points, codes = points[known], codes[known]
    for depth, rank in enumerate(RANKS[:-1]):
        first = np.unique(codes[:, depth + 1], return_index=True)[1]
        units = np.stack([points[codes[:, depth + 1] == codes[i, depth + 1]].mean(axis=0) for i in first] or [[]])
        group = codes[first, depth]
        above = codes[first, depth - 1] if depth else np.zeros(len(first), dtype=np.int64)
        found = _nested_test(units, group, above, n_permutations, seed)
        if found:
            rows.append({"rank": rank, **found})
    table = pd.DataFrame(rows, columns=["rank", "nearer", "p_value", "n_units"])
    table.insert(3, "p_holm", holm(table["p_value"].to_numpy()) if len(table) else [])
    return table


def _nested_test(
    units: np.ndarray, group: np.ndarray, above: np.ndarray, n_permutations: int, seed: int
) -> dict | None:
    """Compare distances within groups with those between groups inside the group above; None if all is one or apart."""
    inside = [set(group[above == a]) for a in above]
    kept = np.array(
        [len(g) > 1 and len(g) < (above == a).sum() for g, a in zip(inside, above, strict=True)], dtype=bool
    )
    if not kept.any():
        return None
    distance, group, above = embedding_distance(units[kept]), group[kept], above[kept]
    sisters = above[:, None] == above[None, :]
    np.fill_diagonal(sisters, False)
    together = (group[:, None] == group[None, :]) & sisters
    scale = distance[sisters].mean()
    apart, n_together = distance[sisters & ~together].sum(), together.sum()
    nearness = -np.where(sisters, distance, 0)
    null, (one, two) = np.empty(n_permutations), np.nonzero(together)
    for i, order in enumerate(orders_of(len(group), n_permutations, seed, above)):
        null[i] = nearness[order[one], order[two]].sum()
    observed = float(nearness[one, two].sum())
    nearer = (apart / (sisters.sum() - n_together) + observed / n_together) / scale if scale > 0 else 0.0
    return {"nearer": float(nearer), "p_value": p_value_of(observed, null), "n_units": int(kept.sum())}


def clades_of(ranks: pd.DataFrame) -> tuple[str, np.ndarray]:
    """Return the rank of the clades that intervals are over, and each species' clade: classes, or what has enough."""
    codes = lineage_codes(ranks)
    for depth in range(RANKS.index("class"), len(RANKS)):
        if len(np.unique(codes[:, depth])) >= MIN_CLADES:
            break
    return RANKS[depth], codes[:, depth]


def score_hierarchy(table: pd.DataFrame, tables: Features, config: EvaluateConfig) -> tuple[pd.DataFrame, dict]:
    """Ask whether distances between species in the embedding follow their distances in the tree, and at which rank.

    Parameters
    ----------
    table : DataFrame
        The catalog; only images known to species take part.
    tables : mapping of model to FeatureTable
    config : EvaluateConfig

    Returns
    -------
    scores : DataFrame
        Rows for `append_metrics`, and ``clades``, the number of clades that intervals are over. Tasks
        ``hierarchy/seen`` and ``hierarchy/unseen``; metrics ``spearman`` and ``triplets`` (`triplet_accuracy`), whose
        intervals are for another tree (`over_clades`), and `STRATA`: Mantel's p-values, of any structure and of
        structure inside kingdoms and inside orders (intervals: Clopper-Pearson, of more permutations). Tasks
        ``hierarchy/<part>/<rank>``, metric ``p_holm``: `nested_tests`. Sets of fewer than `MIN_SPECIES`, or whose
        species are all equally related, are left out.
    details : dict
        ``(dataset, task, model)`` to a dict of ``observed``, ``null`` (n_permutations,), ``tree`` and ``embedding``,
        the two distance matrices, ``clades`` (n,), what intervals leave out, and ``nested``.
    """
    scores, details = [], {}
    for species in species_sets(table):
        tree = tree_distance(species.ranks)
        if len(tree) < MIN_SPECIES or len(np.unique(tree)) < 3:  # 0 and one distance: nothing to correlate with
            continue
        dataset, task = species.keys["dataset"], f"hierarchy/{species.keys['part']}"
        for name, features in tables.items():
            rows, found = _probe(species.centroids(features), species.ranks, tree, config)
            keys = {"model": name, "dataset": dataset, "seeds": 1}
            scores += [{**keys, **row, "task": task + row.get("rank", "")} for row in rows]
            details[dataset, task, name] = found
    return score_frame(scores, ["clades"]), details


def _centred_triplets(embedding: np.ndarray, tree: np.ndarray) -> float:
    """Scale `triplet_accuracy` to -1 ... 1, as `over_clades` wants it."""
    return 2 * triplet_accuracy(embedding, tree) - 1


def _probe(
    points: np.ndarray, ranks: pd.DataFrame, tree: np.ndarray, config: EvaluateConfig
) -> tuple[list[dict], dict]:
    """Return the rows and the details of one model's centroids of one part."""
    embedding, (_, clades), n = embedding_distance(points), clades_of(ranks), config.n_permutations
    counts, codes = {"n": len(tree), "clades": len(np.unique(clades))}, lineage_codes(ranks)
    rows, found = [], {"tree": tree, "embedding": embedding, "clades": clades}
    for metric, statistic, chance in (("spearman", spearman, 0.0), ("triplets", _centred_triplets, 0.5)):
        ends = np.array([statistic(embedding, tree), *over_clades(statistic, embedding, tree, clades)])
        value, low, high = ends if metric == "spearman" else (ends + 1) / 2
        rows.append({**counts, "metric": metric, "value": value, "ci_low": low, "ci_high": high, "chance": chance})
    for metric, rank in STRATA.items():
        depth = 0 if rank is None else RANKS.index(rank) + 1
        strata = None if rank is None else np.unique(codes[:, :depth], axis=0, return_inverse=True)[1].ravel()
        observed, p_value, null = mantel(embedding, tree, n, config.seed, strata)
        rows.append({**counts, "metric": metric, **_p_row(p_value, n)})
        if rank is None:
            found |= {"observed": observed, "null": null}
    found["nested"] = nested_tests(points, ranks, n, config.seed)
    for test in found["nested"].itertuples():
        row = _p_row(test.p_value, n, test.p_holm / test.p_value)
        rows.append({**counts, "n": test.n_units, "rank": f"/{test.rank}", "metric": "p_holm", **row})
    return rows, found


def _p_row(p_value: float, n_permutations: int, factor: float = 1.0) -> dict:
    """Return value, interval and chance of a permutation p-value, multiplied by what Holm's correction does to it."""
    low, high = p_value_interval(p_value, n_permutations)
    value, low, high = (min(1.0, factor * p) for p in (p_value, low, high))
    return {"value": value, "ci_low": low, "ci_high": high, "chance": 0.5}


def null_table(details: dict) -> pd.DataFrame:
    """Return Mantel's null distributions as histograms, a row a bin, beside what was observed.

    Takes the details of `score_hierarchy`; returns ``dataset, task, model, observed, p_value, n_permutations,
    n_species``, and ``low, high, n`` of each bin.
    """
    rows = []
    for (dataset, task, model), found in details.items():
        null, observed = found["null"], found["observed"]
        p_value = p_value_of(observed, null) if np.isfinite(observed) else 1.0
        counts, edges = np.histogram(null, bins=_BINS)
        keys = (dataset, task, model, observed, p_value, len(null), len(found["tree"]))
        rows += [(*keys, *bar) for bar in zip(edges[:-1], edges[1:], counts, strict=True)]
    return pd.DataFrame(rows, columns=_NULL)


def pair_table(details: dict) -> pd.DataFrame:
    """Return the distance in the embedding of pairs of species by the deepest rank that they share.

    Takes the details of `score_hierarchy`; returns ``dataset, task, model, rank, distance``, and ``n_pairs``, all that
    there are of this rank: of more than 2,000 these are a seeded part, the same of each model.
    """
    tables = [pd.DataFrame(columns=["dataset", "task", "model", "rank", "distance", "n_pairs"])]
    for (dataset, task, model), found in details.items():
        upper = np.triu_indices(len(found["tree"]), k=1)
        shared, distance = len(RANKS) - found["tree"][upper].astype(int), found["embedding"][upper]
        for depth in np.unique(shared):
            of_rank = np.flatnonzero(shared == depth)
            kept = np.random.default_rng(0).permutation(of_rank)[:_MAX_PAIRS]
            keys = {"dataset": dataset, "task": task, "model": model, "rank": ("none", *RANKS)[depth]}
            tables.append(pd.DataFrame({**keys, "distance": distance[kept], "n_pairs": len(of_rank)}))
    return pd.concat(tables[1:] or tables, ignore_index=True)
