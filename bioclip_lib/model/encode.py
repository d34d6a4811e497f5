"""Features of images and texts, computed in batches.

Takes a model and images (uint8 arrays or files) or texts; returns float32 arrays, one row an item, in order. Refuses
files that are no images.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from ..errors import InputError
from ..files.images import ImageError, open_image
from ..workers import map_threads, progress
from .load import VisionModel, image_transform
from .pixels import height_width, prepare_pixels
from .text import autocast, encode_tokens, image_trunk, normalised, tokenize

Images = np.ndarray | Sequence[str | Path]
_CPU_TRUNK_BATCH = 4  # activations that fit the cache: 4 times the images/s of a batch of 64
_DECODED_AHEAD = 64
_OVERSIZE = 2  # a JPEG is decoded at this many times the size that a model takes, or more: see speed/README.md


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
        Pixels are resized and normalised by the model's own settings; files are decoded in threads, a JPEG of more than
        4 times the size that the model takes at 1/2, 1/4 or 1/8 scale (with a `preprocess` of your own, in full).
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
    return _encode_images([(model, _image_tower(model), preprocess)], images, batch_size, precision)[0]


def encode_images_by(models: Sequence[torch.nn.Module], images: Images, batch_size: int = 64) -> list[np.ndarray]:
    """Embed images by several models in one pass: each file is decoded once, each model has its own preprocessing.

    Parameters
    ----------
    models : sequence of open_clip models or `loading.VisionModel`
    images, batch_size
        As of `encode_images`.

    Returns
    -------
    list of ndarray of shape (n, D), float32
        One a model: rows of unit length, of a vision-only model its trunk's output as it is.

    Raises
    ------
    InputError
        As of `encode_images`.
    """
    return _encode_images([(model, _image_tower(model), None) for model in models], images, batch_size, "fp32")


def _image_tower(model: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what maps pixels to features: normalised where there is a text tower to compare them with."""
    if isinstance(model, VisionModel):
        return model.visual.trunk
    return lambda pixels: normalised(model.encode_image(pixels))


def trunk_features(model: torch.nn.Module, images: Images, batch_size: int = 64) -> np.ndarray:
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
    with image_trunk(model) as trunk:
        return _encode_images([(model, trunk, None)], images, batch_size, "fp32")[0]


def _encode_images(towers: list[tuple], images: Images, batch_size: int, precision: str) -> list[np.ndarray]:
    """Apply towers (model, function of pixels, transform of files or None) to one pass over images."""
    models = [model for model, _, _ in towers]
    rows: list[list[np.ndarray]] = [[] for _ in towers]
    with progress("encode images", "images", len(images)) as bar:
        for batches in _pixel_batches(models, [transform for *_, transform in towers], images, batch_size):
            for found, (model, tower, _), batch in zip(rows, towers, batches, strict=True):
                cut = min(batch_size, _CPU_TRUNK_BATCH) if _is_trunk_on_cpu(model) else batch_size
                found.append(_encode(model, tower, batch.split(cut), precision))
            bar.update(len(batch))
    return [np.concatenate(found) if found else np.zeros((0, 0), dtype=np.float32) for found in rows]


def _encode(model: torch.nn.Module, tower: Callable, batches: Iterable[torch.Tensor], precision: str) -> np.ndarray:
    """Apply a tower to batches of inputs; stack its rows as float32."""
    device = _device(model)
    with evaluating(model), autocast(precision, device):
        rows = [tower(batch.to(device)).float().cpu().numpy() for batch in batches]
    return np.concatenate(rows) if rows else np.zeros((0, 0), dtype=np.float32)


def _device(model: torch.nn.Module) -> torch.device:
    return next(model.parameters()).device


def _is_trunk_on_cpu(model: torch.nn.Module) -> bool:
    return hasattr(model.visual, "trunk") and _device(model).type == "cpu"


def _pixel_batches(
    models: list[torch.nn.Module], transforms: list[Callable | None], images: Images, batch_size: int
) -> Iterator[Iterable[torch.Tensor]]:
    """Yield normalised batches (B, 3, S, S), one a model."""
    if isinstance(images, np.ndarray) and images.dtype == np.uint8:
        if images.ndim != 4 or images.shape[-1] != 3:
            raise InputError(f"images have shape {images.shape}; give (n, height, width, 3) uint8 or a list of files")
        if all(map(_is_trunk_on_cpu, models)):
            batch_size = min(batch_size, _CPU_TRUNK_BATCH)
        for start in range(0, len(images), batch_size):
            pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + batch_size]))
            yield (prepare_pixels(pixels.to(_device(model)), model.visual.preprocess_cfg) for model in models)
        return
    size_px = max(max(height_width(model.visual.preprocess_cfg)) for model in models)
    least = None if any(own is not None for own in transforms) else _OVERSIZE * size_px
    transforms = [own or image_transform(model) for own, model in zip(transforms, models, strict=True)]
    decoded = map_threads(partial(_transformed, transforms, least), images, ahead=max(batch_size, _DECODED_AHEAD))
    while batch := list(islice(decoded, batch_size)):
        yield map(torch.stack, zip(*batch, strict=True))


def _transformed(transforms: list[Callable], least: int | None, path: str | Path) -> list[torch.Tensor]:
    """Decode one file once, a large JPEG at a fraction of its size, and prepare it for each model."""
    image = _read(path, least)
    return [transform(image) for transform in transforms]


def _read(path: str | Path, short_side_px: int | None):
    """Open one image; an unreadable one names its file."""
    try:
        return open_image(path, short_side_px)
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
    # texts of a length go together: a batch is computed up to the end of its longest
    distinct = sorted(set(texts), key=lambda text: (len(text), text))
    tokenizer = tokenizer or (lambda batch: tokenize(batch, model.context_length))
    parts = [distinct[i : i + batch_size] for i in range(0, len(distinct), batch_size)]
    with progress("encode texts", "texts", len(distinct)) as bar:

        def encode(tokens: torch.Tensor) -> torch.Tensor:
            bar.update(len(tokens))
            return normalised(encode_tokens(model, tokens))

        features = _encode(model, encode, map(tokenizer, parts), "fp32")
    row = {text: i for i, text in enumerate(distinct)}
    return features[[row[text] for text in texts]] if distinct else features
