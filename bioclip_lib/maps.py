"""Maps: the embedding in two dimensions, and how far such a map can be trusted.

Takes features; returns coordinates and measures of the map's quality. A map is a look, not evidence.
"""

import warnings

import numpy as np
import pandas as pd

from . import RANKS
from .errors import InputError

_PCA_DIMENSIONS = 50


def project(features: np.ndarray, method: str = "umap", seed: int = 0, n_neighbors: int = 15) -> np.ndarray:
    """Project features to two dimensions.

    Parameters
    ----------
    features : ndarray of shape (n, D)
    method : str
        "umap" (McInnes et al. 2018; cosine neighbours) or "pca".
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
    """
    if len(features) < 4 or not np.isfinite(features).all():
        raise InputError(f"a map needs at least 4 finite points; {len(features)} given")
    from sklearn.decomposition import PCA

    if method == "pca":
        return PCA(2, random_state=seed).fit_transform(features).astype(np.float32)
    if method != "umap":
        raise InputError(f"unknown method {method!r}; choose umap or pca")
    import umap

    points = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    n_dimensions = min(_PCA_DIMENSIONS, *points.shape)
    if points.shape[1] > n_dimensions:
        points = PCA(n_dimensions, random_state=seed).fit_transform(points)
    reducer = umap.UMAP(n_neighbors=min(n_neighbors, len(points) - 1), metric="cosine", random_state=seed, n_jobs=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Spectral initialisation failed")  # it then starts at random, seeded
        warnings.filterwarnings("ignore", category=FutureWarning, module="sklearn")
        return reducer.fit_transform(points).astype(np.float32)


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
    """
    from sklearn.manifold import trustworthiness
    from sklearn.neighbors import NearestNeighbors

    rows = []
    for name, features in tables.items():
        k = min(n_neighbors, (len(features) - 1) // 2)
        trust = trustworthiness(features, xy[name], n_neighbors=k, metric="cosine")
        near = {
            "embedding": NearestNeighbors(n_neighbors=k, metric="cosine")
            .fit(features)
            .kneighbors(return_distance=False),
            "map": NearestNeighbors(n_neighbors=k).fit(xy[name]).kneighbors(return_distance=False),
        }
        for rank in RANKS:
            taxon = ranks[list(RANKS[: RANKS.index(rank) + 1])].agg("/".join, axis=1).to_numpy()
            known = (ranks[rank] != "").to_numpy()
            if not known.any():
                continue
            shares = {space: float((taxon[index] == taxon[:, None])[known].mean()) for space, index in near.items()}
            counts = pd.Series(taxon).map(pd.Series(taxon).value_counts()).to_numpy()
            chance = float(((counts - 1) / (len(taxon) - 1))[known].mean())
            rows.append(
                {
                    "model": name,
                    "rank": rank,
                    **shares,
                    "chance": chance,
                    "n": int(known.sum()),
                    "trustworthiness": trust,
                }
            )
    return pd.DataFrame(rows)
