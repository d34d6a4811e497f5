"""Features of images and texts, computed in batches, stored as Parquet and reused.

Takes a model and images (uint8 arrays or files) or texts; returns float32 arrays, one row an item, in order. Refuses
files that are no images, and stored tables that are no feature tables.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from .errors import InputError
from .images import ImageError, map_threads, open_image
from .model import PreprocessCfg, autocast, encode_tokens, image_transform_v2, image_trunk, normalised, tokenize
from .paths import atomic
from .pixels import pixel_features, prepare_pixels

__all__ = [
    "cached_features",
    "encode_images",
    "encode_texts",
    "evaluating",
    "pixel_features",
    "preprocess_digest",
    "read_features",
    "trunk_features",
    "write_features",
]

Images = np.ndarray | Sequence[str | Path]
_CPU_TRUNK_BATCH = 4  # activations that fit the cache: 4 times the images/s of a batch of 64
_DECODED_AHEAD = 64


def preprocess_digest(model: torch.nn.Module) -> str:
    """Return the SHA-256 of a model's image preprocessing (size, interpolation, normalisation)."""
    return hashlib.sha256(json.dumps(model.visual.preprocess_cfg, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Switch to evaluation without gradients; a model that was training goes back to it."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def encode_images(
    model: torch.nn.Module,
    images: Images,
    preprocess: Callable | None = None,
    batch_size: int = 64,
    precision: str = "fp32",
) -> np.ndarray:
    """Embed images.

    Parameters
    ----------
    model : open_clip model
    images : ndarray of shape (n, H, W, 3), uint8, or sequence of paths
        Pixels are resized and normalised by the model's own settings; files are decoded in threads.
    preprocess : callable, optional
        For files: PIL image to Tensor (3, S, S). Default: the model's own.
    batch_size : int
    precision : str
        "fp32", "bf16" or "auto". bf16 moves cosines by about 0.01; benchmark numbers are float32's.

    Returns
    -------
    ndarray of shape (n, D), float32
        Rows of unit length.

    Raises
    ------
    InputError
        If a file is no readable image, or an array is not (n, H, W, 3) uint8.
    """
    tower = lambda pixels: normalised(model.encode_image(pixels))  # noqa: E731
    return _encode(model, tower, _pixel_batches(model, images, preprocess, batch_size), precision)


def trunk_features(
    model: torch.nn.Module,
    images: Images,
    preprocess: Callable | None = None,
    batch_size: int = 64,
    precision: str = "fp32",
) -> np.ndarray:
    """Compute what the image tower gives before its projection (`model.image_trunk`).

    Parameters
    ----------
    As of `encode_images`.

    Returns
    -------
    ndarray of shape (n, F), float32
        Not normalised; F is 1280 for EfficientNet-Lite0, 768 for ViT-B/16.

    Raises
    ------
    InputError
        If the image tower has no projection that can be left out.
    """
    batches = _pixel_batches(model, images, preprocess, batch_size)
    with image_trunk(model) as trunk:
        return _encode(model, trunk, batches, precision)


def _encode(model: torch.nn.Module, tower: Callable, batches: Iterator[torch.Tensor], precision: str) -> np.ndarray:
    """Apply a tower to batches of inputs; stack its rows as float32."""
    device = model.logit_scale.device
    with evaluating(model), autocast(precision, device):
        rows = [tower(batch.to(device)).float().cpu().numpy() for batch in batches]
    return np.concatenate(rows) if rows else np.zeros((0, 0), dtype=np.float32)


def _pixel_batches(
    model: torch.nn.Module, images: Images, preprocess: Callable | None, batch_size: int
) -> Iterator[torch.Tensor]:
    """Yield normalised batches (B, 3, S, S)."""
    cfg, device = model.visual.preprocess_cfg, model.logit_scale.device
    if device.type == "cpu" and hasattr(model.visual, "trunk"):
        batch_size = min(batch_size, _CPU_TRUNK_BATCH)
    if isinstance(images, np.ndarray) and images.dtype == np.uint8:
        if images.ndim != 4 or images.shape[-1] != 3:
            raise InputError(f"images have shape {images.shape}; give (n, height, width, 3) uint8 or a list of files")
        for start in range(0, len(images), batch_size):
            pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + batch_size]))
            yield prepare_pixels(pixels.to(device), cfg)
        return
    transform = preprocess or image_transform_v2(PreprocessCfg(**cfg), is_train=False)
    decoded = map_threads(lambda path: transform(_read(path)), images, ahead=max(batch_size, _DECODED_AHEAD))
    while batch := [x for x, _ in zip(decoded, range(batch_size), strict=False)]:
        yield torch.stack(batch)


def _read(path: str | Path):
    """Open one image; an unreadable one names its file."""
    try:
        return open_image(path)
    except ImageError as error:
        raise InputError(f"{path}: {error}; exclude it in 01_dataset_construction, or repair the file") from None


def encode_texts(
    model: torch.nn.Module, texts: Sequence[str], tokenizer: Callable | None = None, batch_size: int = 256
) -> np.ndarray:
    """Embed texts; each distinct one is computed once.

    Parameters
    ----------
    model : open_clip model
    texts : sequence of str
    tokenizer : callable, optional
        list of str to int64 tokens. Default: CLIP's, at the model's context length; pass a loaded model's own.
    batch_size : int

    Returns
    -------
    ndarray of shape (n, D), float32
        Rows of unit length.
    """
    distinct, inverse = np.unique(np.asarray(list(texts), dtype=object), return_inverse=True)
    tokenizer = tokenizer or (lambda batch: tokenize(batch, model.context_length))
    batches = (tokenizer(list(distinct[i : i + batch_size])) for i in range(0, len(distinct), batch_size))
    return _encode(model, lambda tokens: normalised(encode_tokens(model, tokens)), batches, "fp32")[inverse]


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
    wanted = list(image_ids)
    with contextlib.suppress(InputError):
        found, features, meta = read_features(path)
        if found == wanted and all(meta.get(key) == value for key, value in digests.items()):
            return features
    features = np.asarray(compute(), dtype=np.float32)
    write_features(path, wanted, features, **digests)
    return features
