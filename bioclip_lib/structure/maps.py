"""Maps: the embedding in two dimensions, and how far such a map can be trusted.

Takes features; returns coordinates and measures of the map's quality. A map is a look, not evidence. Refuses features
that are not finite and fewer than 4 points.
"""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from .. import RANKS
from ..errors import InputError
from ..evaluation.tasks import unit_rows
from ..model.features import FeatureTable
from ..taxonomy.ranks import lineage_codes

METHODS = ("umap", "pca")
_PCA_DIMENSIONS = 50
_MAX_POINTS = 5_000  # trustworthiness holds two (n, n) matrices: 400 MB


def project(features: np.ndarray, method: str = "umap", seed: int = 0, n_neighbors: int = 15) -> np.ndarray:
    """Project features (n, D) to two dimensions, (n, 2), by "umap" (McInnes et al. 2018) or "pca".

    Rows are scaled to unit length, and more than 50 dimensions go through principal components first: between rows of
    unit length Euclidean neighbours are cosine neighbours, and components keep Euclidean distances but not angles.
    Distances between groups, and sizes of groups, mean nothing on a UMAP; one seed gives one map on one machine.
    """
    points = _unit(features)
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}; choose {' or '.join(METHODS)}")
    from sklearn.decomposition import PCA

    if method == "pca":
        return PCA(2, svd_solver="full").fit_transform(points).astype(np.float32)
    return _umap(points, min(max(2, n_neighbors), len(points) - 1), seed).astype(np.float32)


def reduced(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the main components, 50 at most, of features (n, D) scaled to unit length."""
    return _components(_unit(features), seed)


def _components(points: np.ndarray, seed: int) -> np.ndarray:
    """Reduce points of more than 50 dimensions to their main components."""
    from sklearn.decomposition import PCA

    n_dimensions = min(_PCA_DIMENSIONS, *points.shape)
    return points if points.shape[1] <= n_dimensions else PCA(n_dimensions, random_state=seed).fit_transform(points)


def _umap(points: np.ndarray, n_neighbors: int, seed: int) -> np.ndarray:
    """Run UMAP on rows of unit length."""
    points = _components(points, seed)
    few = len(points) < 2 * _PCA_DIMENSIONS  # a spectral start needs more points than eigenvectors; these start by PCA
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Tensorflow not installed", category=ImportWarning)
        warnings.filterwarnings("ignore", message="Spectral initialisation failed")  # it then starts at random, seeded
        warnings.filterwarnings("ignore", message="'force_all_finite' was renamed", category=FutureWarning)
        import umap

        # n_jobs=1 is what a seed implies; said, so that umap does not warn of it
        reducer = umap.UMAP(n_neighbors=n_neighbors, init="pca" if few else "spectral", random_state=seed, n_jobs=1)
        return reducer.fit_transform(points)


def _unit(features: np.ndarray) -> np.ndarray:
    """Scale rows to unit length; a row of zeros stays. Refuse what cannot be mapped."""
    features = np.asarray(features)
    if features.ndim != 2 or len(features) < 4 or features.shape[1] < 2:
        raise InputError(f"a map needs at least 4 points of at least 2 features; features have shape {features.shape}")
    return unit_rows(features)


def trustworthiness(features: np.ndarray, xy: np.ndarray, k: int = 10, seed: int = 0) -> float:
    """Measure how far neighbours on the map (n, 2) are neighbours, by cosine, in the embedding (Venna & Kaski 2001).

    1 if all are, about 0.5 on a random map. It needs all pairs: of more than 5,000 points it is the value of a random
    5,000, at a coarser scale than k of all.
    """
    from sklearn.manifold import trustworthiness as of_all_pairs

    points, xy = _unit(features), np.asarray(xy)
    if len(xy) != len(points) or not np.isfinite(xy).all():
        raise InputError(f"{len(points)} points and a map of shape {xy.shape}; project these features again")
    if len(points) > _MAX_POINTS:
        chosen = np.random.default_rng(seed).choice(len(points), _MAX_POINTS, replace=False)
        points, xy = points[chosen], xy[chosen]
    k = max(1, min(k, (len(points) - 1) // 2))
    return float(of_all_pairs(points, xy, n_neighbors=k))  # unit length: Euclidean neighbours are cosine neighbours


def place(
    table: pd.DataFrame, tables: Mapping[str, FeatureTable], models: Sequence[str], seed: int = 0
) -> pd.DataFrame:
    """Put the images of feature tables on a UMAP for each of some models.

    Parameters
    ----------
    table : DataFrame
        The catalog.
    tables : mapping of model to FeatureTable
        All of the same images.
    models : sequence of str
        Those that are mapped.
    seed : int

    Returns
    -------
    DataFrame
        Indexed by ``image_id``: the ranks, ``split``, and ``<model>_x, <model>_y`` of each model; no row where fewer
        than four images have features.
    """
    image_ids = next(iter(tables.values())).image_ids if tables else []
    placed = table.set_index("image_id").loc[image_ids if len(image_ids) > 3 else [], [*RANKS, "split"]]
    for name in models if len(placed) else ():
        xy = project(tables[name].values, method="umap", seed=seed)
        placed = placed.assign(**{f"{name}_x": xy[:, 0], f"{name}_y": xy[:, 1]})
    return placed


def map_quality(tables: Mapping[str, FeatureTable], placed: pd.DataFrame, n_neighbors: int = 10) -> pd.DataFrame:
    """Measure how far each map keeps neighbours, and how far neighbours share a taxon.

    Parameters
    ----------
    tables : mapping of model to FeatureTable
    placed : DataFrame
        Of `place`.
    n_neighbors : int

    Returns
    -------
    DataFrame
        ``model, rank, embedding, map, chance, n, trustworthiness``: the share of an image's neighbours that belong to
        its taxon, in the embedding (cosine) and on the map, beside the share that random images give. Images whose
        taxon is unknown at a rank are left out there.

    Raises
    ------
    InputError
        As of `trustworthiness`.
    """
    rows, taxa = [], lineage_codes(placed) if len(placed) else None
    for name, features in tables.items():
        if f"{name}_x" not in placed:
            continue
        xy = placed[[f"{name}_x", f"{name}_y"]].to_numpy()
        quality = trustworthiness(features.values, xy, n_neighbors)
        near = {"embedding": _neighbours(_unit(features.values), n_neighbors), "map": _neighbours(xy, n_neighbors)}
        for rank, taxon in zip(RANKS, taxa.T, strict=True):
            known = taxon > 0
            if not known.any():
                continue
            counts = np.bincount(taxon)[taxon]
            same = (counts - 1) / (len(taxon) - 1)  # of all other images, those of the same taxon
            shares = {space: float((taxon[index] == taxon[:, None])[known].mean()) for space, index in near.items()}
            found = {**shares, "chance": float(same[known].mean()), "n": int(known.sum())}
            rows.append({"model": name, "rank": rank, **found, "trustworthiness": quality})
    return pd.DataFrame(rows, columns=["model", "rank", "embedding", "map", "chance", "n", "trustworthiness"])


def _neighbours(points: np.ndarray, k: int) -> np.ndarray:
    """Return the k nearest other points of each, (n, k)."""
    from sklearn.neighbors import NearestNeighbors

    k = max(1, min(k, (len(points) - 1) // 2))
    return NearestNeighbors(n_neighbors=k).fit(points).kneighbors(return_distance=False)
