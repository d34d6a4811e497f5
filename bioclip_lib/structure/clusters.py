"""An unlabelled folder, sorted: features in, groups of photographs that look alike out, and what such groups are worth.

Takes features; returns a number a photograph, -1 where it is like no group. Groups are a proposal: `score_clusters`
measures on labelled photographs how far they are species, and how many clicks they save. Refuses features that are not
finite, fewer than 4 of them, and methods that need the number of groups without it.
"""

import numpy as np
import pandas as pd

from ..errors import InputError
from ..evaluation.tasks import evaluated_images, rows_of, with_interval
from ..model.features import FeatureTable
from .maps import METHODS as REDUCTIONS
from .maps import project, reduced

METHODS = ("hdbscan", "agglomerative", "kmeans")
MIN_IMAGES = 5  # of a group of HDBSCAN
MAX_DRAWS = 5  # of species
_COLUMNS = ["dataset", "model", "reduction", "method", "number given", "measure", "value", "ci_low", "ci_high", "n"]


def cluster(
    features: np.ndarray, reduction: str = "umap", method: str = "hdbscan", n_clusters: int = 0, seed: int = 0
) -> np.ndarray:
    """Sort photographs into groups that look alike.

    Parameters
    ----------
    features : ndarray of shape (n, D)
    reduction : {"umap", "pca"}
        Two dimensions of a UMAP, or 50 principal components, of rows of unit length.
    method : {"hdbscan", "agglomerative", "kmeans"}
        HDBSCAN (Campello et al. 2013) finds the number of groups, and leaves out what belongs to none; Ward's and
        k-means need the number and leave nothing out.
    n_clusters : int
        The number of groups, as of species; 0 where it is not known. HDBSCAN does not use it.

    Returns
    -------
    ndarray of shape (n,)
        Groups numbered from 0, the largest first; -1 is none.
    """
    if reduction not in REDUCTIONS or method not in METHODS:
        raise InputError(
            f"unknown way to sort {reduction!r}, {method!r}; choose {' or '.join(REDUCTIONS)}, and one of "
            f"{', '.join(METHODS)}"
        )
    if method != "hdbscan" and not 1 < n_clusters <= len(features):
        raise InputError(
            f"{method} needs the number of groups, 2 to {len(features)}, not {n_clusters}; give n_clusters, or take "
            "hdbscan, which finds it"
        )
    return _groups(_points(features, reduction, seed), method, n_clusters, seed)


def _points(features: np.ndarray, reduction: str, seed: int) -> np.ndarray:
    """Reduce features (n, D) to two dimensions of a UMAP or to main components."""
    return project(features, "umap", seed) if reduction == "umap" else reduced(features, seed)


def _groups(points: np.ndarray, method: str, n_clusters: int, seed: int) -> np.ndarray:
    """Group points; number the groups from 0, the largest first, -1 is none."""
    if method == "hdbscan" and len(points) < MIN_IMAGES:
        return np.full(len(points), -1)
    found = _clusterer(method, n_clusters, seed).fit_predict(points.astype(np.float64))
    counts = np.bincount(found[found >= 0])
    order = np.empty(len(counts), int)
    order[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return np.where(found >= 0, order[found] if len(order) else -1, -1)


def _clusterer(method: str, n_clusters: int, seed: int):
    """Return scikit-learn's estimator."""
    from sklearn import cluster as sk

    if method == "hdbscan":
        return sk.HDBSCAN(min_cluster_size=MIN_IMAGES, copy=True)
    if method == "agglomerative":
        return sk.AgglomerativeClustering(n_clusters)
    return sk.KMeans(n_clusters, n_init=4, random_state=seed)


def clicks(groups: np.ndarray, truth: np.ndarray) -> int:
    """Count the clicks to label all: one a group for its commonest species, and one each for all others."""
    table = pd.DataFrame({"group": groups, "truth": truth})
    inside = table[table["group"] >= 0]
    sizes = inside.value_counts().groupby("group").max()
    return int(len(sizes) + (len(inside) - sizes.sum()) + (len(table) - len(inside)))


def score_clusters(table: pd.DataFrame, tables: dict[str, FeatureTable], n_species: int = 20) -> pd.DataFrame:
    """Sort labelled photographs as if they had no labels, and compare the groups with the species.

    Asked are draws of `n_species`, at most five, which share no species, so that they are independent.

    Returns
    -------
    DataFrame
        ``dataset, model, reduction, method, number given`` (whether the number of species was), ``measure, value,
        ci_low, ci_high, n`` (draws). Measures: ``v_measure`` (Rosenberg & Hirschberg 2007: the harmonic mean of
        homogeneity and completeness, 0 to 1) of the photographs in a group, ``in no group`` (share), ``groups`` a
        species, and ``clicks`` a photograph (`clicks`). Intervals are over draws of species; of one draw nearly
        the whole range.
        No row of a data set with fewer than two species.
    """
    rows, images = [], evaluated_images(table)
    for dataset, group in images.groupby("dataset"):
        species = np.random.default_rng(0).permutation(np.unique(group["class_key"]))
        n = min(n_species, len(species))
        draws = [species[i : i + n] for i in range(0, len(species) - n + 1, n)][:MAX_DRAWS] if n > 1 else []
        for model, features in tables.items() if draws else ():
            values = rows_of(features, images)
            found = pd.DataFrame(
                row for draw in draws for row in _scored(values, group.loc[group["class_key"].isin(draw), "class_key"])
            )
            for way, of_way in found.groupby(_COLUMNS[2:5], sort=False):
                keys = dict(zip(_COLUMNS[:5], (dataset, model, *way), strict=True))
                measures = of_way.drop(columns=_COLUMNS[2:5])
                for name, values_of in measures.items():
                    bounds = (0.0, len(group) / n if name == "groups" else 1.0)
                    interval = with_interval(values_of.to_numpy(), np.arange(len(draws)), bounds)
                    rows.append({**keys, "measure": name, **interval, "n": len(draws)})
    return pd.DataFrame(rows, columns=_COLUMNS)


def _scored(values: pd.DataFrame, truth: pd.Series) -> list[dict]:
    """Return the measures of one draw of species, by each way to sort their images."""
    from sklearn.metrics import v_measure_score

    rows, n_species, features = [], truth.nunique(), values.loc[truth.index].to_numpy()
    for reduction in REDUCTIONS:
        points = _points(features, reduction, 0)
        for method in METHODS:
            groups, given = _groups(points, method, n_species, 0), method != "hdbscan"
            inside = groups >= 0
            measures = {
                "v_measure": v_measure_score(truth[inside], groups[inside]) if inside.any() else 0.0,
                "in no group": 1 - inside.mean(),
                "groups": (groups.max() + 1) / n_species,
                "clicks": clicks(groups, truth.to_numpy()) / len(truth),
            }
            rows.append(dict(zip(_COLUMNS[2:5], (reduction, method, given), strict=True)) | measures)
    return rows
