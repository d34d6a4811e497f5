"""Features on disk: Parquet tables that are reused where they are of the same model, preprocessing and images.

Takes ids, features and digests; returns what is stored, or computes and stores it. Refuses files that are no feature
tables.
"""

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ..errors import InputError
from ..run import Run, atomic, in_parts, is_whole, remove
from ..run.workers import progress
from ..shards.read import load_images, read_image_ids, read_index
from .encode import height_width, image_rows
from .load import model_digest, preprocess_digest
from .towers import image_trunk

_AT_ONCE = 2_048  # images of a part that is kept


def write_features(
    path: str | Path, image_ids: Sequence[str], features: np.ndarray, model_digest: str, preprocess_digest: str
) -> None:
    """Write a feature table: Parquet, ``image_id`` and a fixed-size list of float32, the digests as metadata."""
    table = feature_rows(image_ids, features, {"model_digest": model_digest, "preprocess_digest": preprocess_digest})
    with atomic(path) as tmp:
        pq.write_table(table, tmp, write_page_checksum=True)


def feature_rows(image_ids: Sequence[str], features: np.ndarray, digests: dict[str, str]) -> pa.Table:
    """Return features (n, D) as rows of a feature table."""
    if len(image_ids) != len(features) or features.ndim != 2:
        raise ValueError(f"{len(image_ids)} image ids do not fit features of shape {features.shape}")
    flat = pa.array(np.ascontiguousarray(features, dtype=np.float32).ravel())
    table = pa.table(
        {
            "image_id": pa.array(list(image_ids), pa.string()),
            "features": pa.FixedSizeListArray.from_arrays(flat, features.shape[1]),
        }
    )
    return table.replace_schema_metadata(digests)


def read_features(path: str | Path) -> tuple[list[str], np.ndarray, dict[str, str]]:
    """Read a feature table: the ids, the features (n, D) float32, and the two digests."""
    try:
        if not is_whole(path):
            raise ValueError("damaged or changed since it was written")
        table = pq.read_table(path, columns=["image_id", "features"], page_checksum_verification=True)
        values = table["features"].combine_chunks()
        features = values.flatten().to_numpy().reshape(len(table), values.type.list_size)
        meta = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        return table["image_id"].to_pylist(), features, meta
    except (OSError, KeyError, ValueError, AttributeError, pa.ArrowException) as error:
        raise InputError(f"{path} is no feature table ({error}); delete it and run the notebook again") from error


def cached_features(
    path: str | Path, image_ids: Sequence[str], digests: dict[str, str], compute: Callable[[], np.ndarray]
) -> np.ndarray:
    """Return the features, (n, D), stored for exactly these ids and digests, or compute and store them."""
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


def image_features(
    path: Path, image_ids: Sequence[str], digests: dict[str, str], rows: Callable, batch_size: int = 64
) -> np.ndarray:
    """Return the features, as `cached_features`, of images: what was computed of them is kept until all are."""
    folder, n = path.with_name(f".{path.name}.parts"), len(image_ids)
    n_items = max(1, _AT_ONCE // batch_size) * batch_size

    def compute() -> np.ndarray:
        found = in_parts(folder, range(n), rows, n_items, __name__, digests)
        return np.stack(list(progress("encode images", "images", n, found)))

    features = cached_features(path, image_ids, digests, compute)
    remove(folder)
    return features


@dataclass(frozen=True)
class FeatureTable:
    """Features of images: ``image_ids`` (n) and ``values``, float32 of shape (n, D)."""

    image_ids: list[str]
    values: np.ndarray


def trunk_table(run: Run, clip: torch.nn.Module, splits: Sequence[str], mirrored: bool = False) -> FeatureTable:
    """Return what a pretrained trunk gives for whole splits, maybe mirrored left to right; cached, a table a split."""
    with image_trunk(clip) as trunk:
        digest = digest_of_model(trunk)
    tables = []
    step = -1 if mirrored else 1  # along the width of (n, H, W, 3)
    for split in splits:
        image_ids = read_image_ids(run.shards, split)
        path = run.embeddings / f"{'mirrored_' if mirrored else ''}trunk_{split}.parquet"
        digests = feature_digests(run, [split], digest, preprocess_digest(clip))
        load = lambda split=split: load_split(run, clip, split)[:, :, ::step]  # noqa: E731
        values = image_features(path, image_ids, digests, image_rows(clip, load, 64, "fp32", of_trunk=True))
        tables.append((image_ids, values))
    return FeatureTable([i for ids, _ in tables for i in ids], np.concatenate([values for _, values in tables]))


def load_split(run: Run, clip: torch.nn.Module, split: str) -> np.ndarray:
    """Load a split at the size that a model takes, uint8 (n, S, S, 3)."""
    return load_images(run.shards, [split], size_px(clip))[1]


def size_px(clip: torch.nn.Module) -> int:
    """Return the side of the square that a model takes."""
    return height_width(clip.visual.preprocess_cfg)[0]


def digest_of_model(module: torch.nn.Module) -> str:
    """Return the SHA-256 of weights and layers: with other activations the same weights give other features."""
    return hashlib.sha256(f"{model_digest(module)} {module}".encode()).hexdigest()


def feature_digests(run: Run, splits: Sequence[str], model_digest: str, preprocessing: str) -> dict[str, str]:
    """Return what image features depend on; the preprocessing begins with the tars of the splits, by content."""
    index = read_index(run.shards)
    tars = index.loc[index["split"].isin(list(splits)), "sha256"]
    prepared = hashlib.sha256(" ".join([preprocessing, *tars]).encode()).hexdigest()
    return {"model_digest": model_digest, "preprocess_digest": prepared}
