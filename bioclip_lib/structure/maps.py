"""Maps: the embedding in two dimensions, and how far such a map can be trusted.

Takes features; returns coordinates and measures of the map's quality. A map is a look, not evidence. Refuses features
that are not finite and fewer than 4 points.
"""

import warnings

import numpy as np
import pandas as pd

from .. import RANKS
from ..errors import InputError

METHODS = ("umap", "pca")
_PCA_DIMENSIONS = 50
_MAX_POINTS = 5_000  # trustworthiness holds two (n, n) matrices: 400 MB


def project(features: np.ndarray, method: str = "umap", seed: int = 0, n_neighbors: int = 15) -> np.ndarray:
    """Project features to two dimensions.

    Parameters
    ----------
    features : ndarray of shape (n, D)
        Rows are scaled to unit length first, so that distances are those of cosines.
    method : str
        "umap" (McInnes et al. 2018) or "pca".
    seed : int
    n_neighbors : int
        Of UMAP; lowered where there are fewer points.

    Returns
    -------
    ndarray of shape (n, 2), float32

    Raises
    ------
    InputError
        For an unknown method, fewer than 4 points, or features that are not finite.

    Notes
    -----
    More than 50 dimensions go through principal components first. Between rows of unit length Euclidean neighbours are
    cosine neighbours, and components keep Euclidean distances but not angles, so UMAP is given the former. Distances
    between groups, and sizes of groups, mean nothing on a UMAP; the same seed gives the same map on the same machine.
    """
    points = _unit(features)
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}; choose {' or '.join(METHODS)}")
    from sklearn.decomposition import PCA

    if method == "pca":
        return PCA(2, svd_solver="full").fit_transform(points).astype(np.float32)
    return _umap(points, min(max(2, n_neighbors), len(points) - 1), seed).astype(np.float32)


def _umap(points: np.ndarray, n_neighbors: int, seed: int) -> np.ndarray:
    """Run UMAP on rows of unit length."""
    from sklearn.decomposition import PCA

    n_dimensions = min(_PCA_DIMENSIONS, *points.shape)
    if points.shape[1] > n_dimensions:
        points = PCA(n_dimensions, random_state=seed).fit_transform(points)
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
    if not np.isfinite(features).all():
        raise InputError("features hold NaN or infinity; compute them again")
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(length > 0, length, 1)


def trustworthiness(features: np.ndarray, xy: np.ndarray, k: int = 10, seed: int = 0) -> float:
    """Measure how far neighbours on the map are neighbours in the embedding (Venna & Kaski 2001).

    Parameters
    ----------
    features : ndarray of shape (n, D)
        Compared by cosine.
    xy : ndarray of shape (n, 2)
    k : int
        Neighbours; lowered below n / 2.
    seed : int
        Which 5,000 of more points are compared.

    Returns
    -------
    float
        1 if all neighbours on the map are so in the embedding. A random map has about 0.5.

    Raises
    ------
    InputError
        If the points cannot be mapped (see `project`), or numbers do not match.

    Notes
    -----
    It needs all pairs: of more than 5,000 points it is the value of a random 5,000, at a coarser scale than k of all.
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


def map_quality(
    tables: dict[str, np.ndarray], xy: dict[str, np.ndarray], ranks: pd.DataFrame, n_neighbors: int = 10
) -> pd.DataFrame:
    """Measure how far each map keeps neighbours, and how far neighbours share a taxon.

    Parameters
    ----------
    tables : dict of model to ndarray of shape (n, D)
    xy : dict of model to ndarray of shape (n, 2)
    ranks : DataFrame with the seven ranks, n rows
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
    taxa = {rank: _paths(ranks, rank) for rank in RANKS if (ranks[rank] != "").any()}
    rows = []
    for name, features in tables.items():
        quality = trustworthiness(features, xy[name], n_neighbors)
        near = {"embedding": _neighbours(_unit(features), n_neighbors), "map": _neighbours(xy[name], n_neighbors)}
        for rank, taxon in taxa.items():
            known = taxon != ""
            counts = np.unique(taxon, return_inverse=True, return_counts=True)
            same = (counts[2][counts[1]] - 1) / (len(taxon) - 1)  # of all other images, those of the same taxon
            shares = {space: float((taxon[index] == taxon[:, None])[known].mean()) for space, index in near.items()}
            found = {**shares, "chance": float(same[known].mean()), "n": int(known.sum())}
            rows.append({"model": name, "rank": rank, **found, "trustworthiness": quality})
    return pd.DataFrame(rows)


def _paths(ranks: pd.DataFrame, rank: str) -> np.ndarray:
    """Return the lineage of each image down to a rank, (n,); '' where that rank is unknown."""
    lineage = ranks[list(RANKS[: RANKS.index(rank) + 1])].agg("/".join, axis=1)
    return lineage.where(ranks[rank] != "", "").to_numpy(dtype=str)


def _neighbours(points: np.ndarray, k: int) -> np.ndarray:
    """Return the k nearest other points of each, (n, k)."""
    from sklearn.neighbors import NearestNeighbors

    k = max(1, min(k, (len(points) - 1) // 2))
    return NearestNeighbors(n_neighbors=k).fit(points).kneighbors(return_distance=False)
