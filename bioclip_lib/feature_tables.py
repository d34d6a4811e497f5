"""Features on disk: Parquet tables that are reused where they are of the same model, preprocessing and images.

Takes ids, features and digests; returns what is stored, or computes and stores it. Refuses files that are no feature
tables.
"""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .errors import InputError
from .paths import atomic


def write_features(
    path: str | Path, image_ids: Sequence[str], features: np.ndarray, model_digest: str, preprocess_digest: str
) -> None:
    """Write a feature table: Parquet, ``image_id`` and a fixed-size list of float32, the digests as metadata."""
    if len(image_ids) != len(features) or features.ndim != 2:
        raise ValueError(f"{len(image_ids)} image ids do not fit features of shape {features.shape}")
    flat = pa.array(np.ascontiguousarray(features, dtype=np.float32).ravel())
    table = pa.table(
        {
            "image_id": pa.array(list(image_ids), pa.string()),
            "features": pa.FixedSizeListArray.from_arrays(flat, features.shape[1]),
        }
    )
    table = table.replace_schema_metadata({"model_digest": model_digest, "preprocess_digest": preprocess_digest})
    with atomic(path) as tmp:
        pq.write_table(table, tmp)


def read_features(path: str | Path) -> tuple[list[str], np.ndarray, dict[str, str]]:
    """Read a feature table.

    Returns
    -------
    image_ids : list of str
    features : ndarray of shape (n, D), float32
    meta : dict
        ``model_digest`` and ``preprocess_digest``.

    Raises
    ------
    InputError
        If the file is missing or no feature table.
    """
    try:
        table = pq.read_table(path, columns=["image_id", "features"])
        values = table["features"].combine_chunks()
        features = values.flatten().to_numpy().reshape(len(table), values.type.list_size)
        meta = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        return table["image_id"].to_pylist(), features, meta
    except (OSError, KeyError, ValueError, AttributeError, pa.ArrowException) as error:
        raise InputError(f"{path} is no feature table ({error}); delete it and run the notebook again") from error


def cached_features(
    path: str | Path, image_ids: Sequence[str], digests: dict[str, str], compute: Callable[[], np.ndarray]
) -> np.ndarray:
    """Return stored features, or compute and store them.

    Parameters
    ----------
    path : str or Path
        The table; used only if it holds exactly these ids, in this order, under exactly these digests.
    image_ids : sequence of str
    digests : dict
        ``model_digest`` and ``preprocess_digest``.
    compute : callable
        Returns the features, (n, D).

    Returns
    -------
    ndarray of shape (n, D), float32
    """
    features = stored_features(path, image_ids, digests)
    if features is None:
        features = np.asarray(compute(), dtype=np.float32)
        write_features(path, image_ids, features, **digests)
    return features


def stored_features(path: str | Path, image_ids: Sequence[str], digests: dict[str, str]) -> np.ndarray | None:
    """Return the stored features, (n, D) float32, of exactly these ids under exactly these digests, if there are."""
    with contextlib.suppress(InputError):
        found, features, meta = read_features(path)
        if found == list(image_ids) and all(meta.get(key) == value for key, value in digests.items()):
            return features
    return None
