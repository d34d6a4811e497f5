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
WHOLE_MAP = ("trustworthiness", "continuity")
_PCA_DIMENSIONS, _NEIGHBOURS = 50, 15  # of UMAP
_MAX_POINTS = 5_000  # trustworthiness holds two (n, n) matrices: 400 MB


def project(features: np.ndarray, method: str = "umap", seed: int = 0) -> np.ndarray:
    """Project features (n, D) to two dimensions, (n, 2), by "umap" (McInnes et al. 2018) or "pca".

    Rows have unit length, and more than 50 dimensions go through principal components, which keep Euclidean distances
    but not angles. t-SNE (openTSNE 1.0.4) was tried: of the ten nearest it keeps more (0.31 -> 0.45 of 4,098 invented
    images, 0.52 -> 0.57 of 880 birds), trustworthiness and continuity stay, for three times the processor time.
    """
    points = _unit(features)
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}; choose {' or '.join(METHODS)}")
    from sklearn.decomposition import PCA

    if method == "pca":
        return PCA(2, svd_solver="full").fit_transform(points).astype(np.float32)
    return _umap(points, seed).astype(np.float32)


def reduced(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the main components, 50 at most, of features (n, D) scaled to unit length."""
    return _components(_unit(features), seed)


def _components(points: np.ndarray, seed: int) -> np.ndarray:
    """Reduce points of more than 50 dimensions to their main components."""
    from sklearn.decomposition import PCA

    n_dimensions = min(_PCA_DIMENSIONS, *points.shape)
    return points if points.shape[1] <= n_dimensions else PCA(n_dimensions, random_state=seed).fit_transform(points)


def _umap(points: np.ndarray, seed: int) -> np.ndarray:
    """Run UMAP on rows of unit length."""
    points = _components(points, seed)
    few = len(points) < 2 * _PCA_DIMENSIONS  # a spectral start needs more points than eigenvectors; these start by PCA
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Tensorflow not installed", category=ImportWarning)
        warnings.filterwarnings("ignore", message="Spectral initialisation failed")  # it then starts at random, seeded
        warnings.filterwarnings("ignore", message="'force_all_finite' was renamed", category=FutureWarning)
        import umap

        # n_jobs=1 is what a seed implies; said, so that umap does not warn of it
        neighbours = min(_NEIGHBOURS, len(points) - 1)
        reducer = umap.UMAP(n_neighbors=neighbours, init="pca" if few else "spectral", random_state=seed, n_jobs=1)
        return reducer.fit_transform(points)


def _unit(features: np.ndarray) -> np.ndarray:
    """Scale rows to unit length; a row of zeros stays. Refuse what cannot be mapped."""
    features = np.asarray(features)
    if features.ndim != 2 or len(features) < 4 or features.shape[1] < 2:
        raise InputError(f"a map needs at least 4 points of at least 2 features; features have shape {features.shape}")
    return unit_rows(features)


def faithful(features: np.ndarray, xy: np.ndarray, k: int, seed: int = 0) -> tuple[float, float]:
    """Return the trustworthiness and the continuity of a map (n, 2): how far neighbours on it are so, by cosine."""
    from sklearn.manifold import trustworthiness as of_all_pairs

    points, xy = _unit(features), np.asarray(xy)
    if len(xy) != len(points) or not np.isfinite(xy).all():
        raise InputError(f"{len(points)} points and a map of shape {xy.shape}; project these features again")
    if len(points) > _MAX_POINTS:
        chosen = np.random.default_rng(seed).choice(len(points), _MAX_POINTS, replace=False)
        points, xy = points[chosen], xy[chosen]
    k = max(1, min(k, (len(points) - 1) // 2))
    # unit length: Euclidean neighbours are cosine neighbours
    return tuple(float(of_all_pairs(*spaces, n_neighbors=k)) for spaces in ((points, xy), (xy, points)))


def place(
    table: pd.DataFrame, tables: Mapping[str, FeatureTable], models: Sequence[str], seed: int = 0
) -> pd.DataFrame:
    """Put the images of feature tables on a UMAP for each of some models, turned to lie as the first.

    Parameters
    ----------
    table : DataFrame
        The catalog.
    tables : mapping of model to FeatureTable
        All of the same images; ``models`` of these are mapped.

    Returns
    -------
    DataFrame
        Indexed by ``image_id``: the ranks, ``split``, and ``<model>_x, <model>_y`` of each model; no row where fewer
        than four images have features.

    Notes
    -----
    A map has no up and no left. Those after the first are turned and mirrored, never stretched, to where the same
    images lie on the first (orthogonal Procrustes, Schoenemann 1966), so that they can be compared by eye.
    """
    image_ids = next(iter(tables.values())).image_ids if tables else []
    placed = table.set_index("image_id").loc[image_ids if len(image_ids) > 3 else [], [*RANKS, "split"]]
    first = None
    for name in models if len(placed) else ():
        xy = project(tables[name].values, method="umap", seed=seed)
        first = xy if first is None else first
        xy = _turned(xy, first)
        placed = placed.assign(**{f"{name}_x": xy[:, 0], f"{name}_y": xy[:, 1]})
    return placed


def _turned(xy: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Turn and mirror a map (n, 2) to lie as another of the same points, about its own centre."""
    from scipy.linalg import orthogonal_procrustes

    if xy is to:
        return xy
    centre = xy.mean(axis=0)
    turn, _ = orthogonal_procrustes(xy - centre, to - to.mean(axis=0))
    return ((xy - centre) @ turn + centre).astype(np.float32)  # (n, 2) @ (2, 2) -> (n, 2)


def map_quality(tables: Mapping[str, FeatureTable], placed: pd.DataFrame, n_neighbors: int = 10) -> pd.DataFrame:
    """Measure how far each map of `place` keeps neighbours, and how far neighbours share a taxon.

    Returns
    -------
    DataFrame
        ``model, rank, embedding, map, chance, n, trustworthiness, continuity``: the share of an image's neighbours that
        belong to its taxon, in the embedding (cosine) and on the map, beside the share that random images give; of the
        whole map how far neighbours on it are neighbours in the embedding, and the other way round (Venna & Kaski 2001;
        1 if all are, about 0.5 on a random map; of more than 5,000 points that of a random 5,000, at a coarser scale).
        Images whose taxon is unknown at a rank are left out there.
    """
    rows, taxa = [], lineage_codes(placed) if len(placed) else None
    for name, features in tables.items():
        if f"{name}_x" not in placed:
            continue
        xy = placed[[f"{name}_x", f"{name}_y"]].to_numpy()
        quality = dict(zip(WHOLE_MAP, faithful(features.values, xy, n_neighbors), strict=True))
        near = {"embedding": _neighbours(_unit(features.values), n_neighbors), "map": _neighbours(xy, n_neighbors)}
        for rank, taxon in zip(RANKS, taxa.T, strict=True):
            known = taxon > 0
            if not known.any():
                continue
            counts = np.bincount(taxon)[taxon]
            same = (counts - 1) / (len(taxon) - 1)  # of all other images, those of the same taxon
            shares = {space: float((taxon[index] == taxon[:, None])[known].mean()) for space, index in near.items()}
            found = {**shares, "chance": float(same[known].mean()), "n": int(known.sum())}
            rows.append({"model": name, "rank": rank, **found, **quality})
    return pd.DataFrame(rows, columns=["model", "rank", "embedding", "map", "chance", "n", *WHOLE_MAP])


def _neighbours(points: np.ndarray, k: int) -> np.ndarray:
    """Return the k nearest other points of each, (n, k)."""
    from sklearn.neighbors import NearestNeighbors

    k = max(1, min(k, (len(points) - 1) // 2))
    return NearestNeighbors(n_neighbors=k).fit(points).kneighbors(return_distance=False)
