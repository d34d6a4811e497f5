"""Features of images and texts, computed in batches.

Takes a model and images (uint8 arrays or files) or texts; returns float32 arrays, one row an item, in order. Refuses
files that are no images. Also the baseline that sees colours alone.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import InputError
from ..files.images import ImageError, open_image
from ..run.workers import map_threads, progress
from .load import VisionModel, image_transform
from .text import encode_tokens, tokenize
from .towers import autocast, device_of, feature_precision, image_trunk

Images = np.ndarray | Sequence[str | Path]
_CPU_TRUNK_BATCH = 4  # activations that fit the cache: 4 times the images/s of a batch of 64
_DECODED_AHEAD = 64
_OVERSIZE = 2  # a JPEG is decoded at this many times the size that a model takes, or more: see speed/README.md
_THUMBNAIL_PX = 8
_LEVELS = 4  # per channel, of the colour histogram


def encode_images(
    model: torch.nn.Module,
    images: Images,
    preprocess: Callable | None = None,
    batch_size: int = 64,
    precision: str = "auto",
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
        "fp32", "bf16" or "auto": bf16 where the processor or GPU has instructions for it and the image tower has at
        least 5 million parameters, else fp32.

    Returns
    -------
    ndarray of shape (n, D), float32
        Rows of unit length.

    Raises
    ------
    InputError
        If a file is no readable image, or an array is not (n, H, W, 3) uint8.

    Notes
    -----
    With "auto" the last digits depend on the machine: rows in bf16 have a cosine of about 0.9999 to those in fp32, in
    which published numbers are computed. A ViT-B/16 is two to three times as fast on a processor with instructions for
    bf16 (AVX512-BF16, AMX).

    Examples
    --------
    >>> from bioclip_lib.config import ModelConfig
    >>> from bioclip_lib.model import build_model
    >>> encode_images(build_model(ModelConfig()), np.zeros((2, 48, 48, 3), np.uint8)).shape
    (2, 128)
    """
    return _encode_images([(model, _image_tower(model), preprocess)], images, batch_size, precision)[0]


def encode_images_by(
    models: Sequence[torch.nn.Module], images: Images, batch_size: int = 64, precision: str = "fp32"
) -> list[np.ndarray]:
    """Embed images by several models in one pass: (n, D) each; a vision-only model's rows are not normalised."""
    return _encode_images([(model, _image_tower(model), None) for model in models], images, batch_size, precision)


def image_rows(
    model: torch.nn.Module, load: Callable[[], np.ndarray], batch_size: int, precision: str, of_trunk: bool = False
) -> Callable[[Sequence[int]], Iterator[np.ndarray]]:
    """Return what yields the features (D,) of some images of an array, by place; it is loaded if there are any.

    Whole batches of places follow each other: the rows are those of all images at once.
    """

    def rows(places: Sequence[int]) -> Iterator[np.ndarray]:
        images = load() if len(places) else None
        with image_trunk(model) if of_trunk else contextlib.nullcontext(_image_tower(model)) as tower:
            for start in range(0, len(places), batch_size):
                batch = places[start : start + batch_size]
                for found in _of_batches(
                    [(model, tower, None)], images[batch[0] : batch[-1] + 1], batch_size, precision
                ):
                    yield from found[0]

    return rows


def encode_prepared(model: torch.nn.Module, pixels: torch.Tensor, precision: str = "auto") -> np.ndarray:
    """Embed what the model's transform made of images, (B, 3, S, S), as `encode_images` does."""
    cut = _CPU_TRUNK_BATCH if _is_trunk_on_cpu(model) else len(pixels)
    return _encode(model, _image_tower(model), pixels.split(cut), feature_precision(model, precision))


def trunk_features(model: torch.nn.Module, images: Images, batch_size: int = 64) -> np.ndarray:
    """Compute what the image tower gives before its projection (`towers.image_trunk`), (n, F), in float32."""
    with image_trunk(model) as trunk:
        return _encode_images([(model, trunk, None)], images, batch_size, "fp32")[0]


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

    Examples
    --------
    >>> from bioclip_lib.config import ModelConfig
    >>> from bioclip_lib.model import build_model
    >>> encode_texts(build_model(ModelConfig()), ["Parus major", "great tit"]).shape
    (2, 128)
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


def normalised(features: torch.Tensor) -> torch.Tensor:
    """Scale rows to unit length, in float32."""
    return F.normalize(features.float(), dim=-1)


def _image_tower(model: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what maps pixels to features: normalised where there is a text tower to compare them with."""
    if isinstance(model, VisionModel):
        return model.visual.trunk
    return lambda pixels: normalised(model.encode_image(pixels))


def _encode_images(towers: list[tuple], images: Images, batch_size: int, precision: str) -> list[np.ndarray]:
    """Apply towers (model, function of pixels, transform of files or None) to one pass over images."""
    rows: list[list[np.ndarray]] = [[] for _ in towers]
    with progress("encode images", "images", len(images)) as bar:
        for batch in _of_batches(towers, images, batch_size, precision):
            for found, features in zip(rows, batch, strict=True):
                found.append(features)
            bar.update(len(features))
    return [np.concatenate(found) if found else np.zeros((0, 0), dtype=np.float32) for found in rows]


def _of_batches(towers: list[tuple], images: Images, batch_size: int, precision: str) -> Iterator[list[np.ndarray]]:
    """Yield what each tower gives for a batch, (B, D)."""
    models, transforms = [model for model, *_ in towers], [transform for *_, transform in towers]
    for batches in _pixel_batches(models, transforms, images, batch_size):
        found = []
        for (model, tower, _), batch in zip(towers, batches, strict=True):
            cut = min(batch_size, _CPU_TRUNK_BATCH) if _is_trunk_on_cpu(model) else batch_size
            found.append(_encode(model, tower, batch.split(cut), feature_precision(model, precision)))
        yield found


def _encode(model: torch.nn.Module, tower: Callable, batches: Iterable[torch.Tensor], precision: str) -> np.ndarray:
    """Apply a tower to batches of inputs; stack its rows as float32."""
    device = device_of(model)
    with evaluating(model), autocast(precision, device):
        rows = [tower(batch.to(device)).float().cpu().numpy() for batch in batches]
    return np.concatenate(rows) if rows else np.zeros((0, 0), dtype=np.float32)


def _is_trunk_on_cpu(model: torch.nn.Module) -> bool:
    return hasattr(model.visual, "trunk") and device_of(model).type == "cpu"


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
            yield (prepare_pixels(pixels.to(device_of(model)), model.visual.preprocess_cfg) for model in models)
        return
    size_px = max(max(height_width(model.visual.preprocess_cfg)) for model in models)
    least = None if any(own is not None for own in transforms) else _OVERSIZE * size_px
    transforms = [own or image_transform(model) for own, model in zip(transforms, models, strict=True)]
    decoded = map_threads(partial(_transformed, transforms, least), images, ahead=max(batch_size, _DECODED_AHEAD))
    while batch := list(islice(decoded, batch_size)):
        yield map(torch.stack, zip(*batch, strict=True))


def _transformed(transforms: list[Callable], least: int | None, path: str | Path) -> list[torch.Tensor]:
    """Decode one file once, a large JPEG at a fraction of its size, and prepare it for each model."""
    try:
        image = open_image(path, least)
    except ImageError as error:
        raise InputError(f"{path}: {error}; exclude it in 01_dataset_construction, or repair the file") from None
    return [transform(image) for transform in transforms]


def prepare_pixels(images: torch.Tensor, preprocess_cfg: dict) -> torch.Tensor:
    """Resize, cut and normalise pixels, (B, H, W, 3) to (B, 3, S, S), as the model's transform does with a file."""
    height, width = height_width(preprocess_cfg)
    x = images.permute(0, 3, 1, 2).float()  # (B, H, W, 3) -> (B, 3, H, W)
    if x.shape[-2:] != (height, width):
        scale = max(height / x.shape[-2], width / x.shape[-1])
        size = [max(height, round(x.shape[-2] * scale)), max(width, round(x.shape[-1] * scale))]
        x = F.interpolate(x, size, mode=preprocess_cfg.get("interpolation", "bicubic"), antialias=True)
        x = x.round().clamp(0, 255)  # 8-bit again, as a file would be
        top, left = (size[0] - height) // 2, (size[1] - width) // 2
        x = x[..., top : top + height, left : left + width]
    return normalise_pixels(x, preprocess_cfg)


def normalise_pixels(x: torch.Tensor, preprocess_cfg: dict) -> torch.Tensor:
    """Map pixels (B, 3, H, W) in [0, 255] to the model's scale: (x / 255 - mean) / std, channel by channel."""
    mean = 255 * torch.tensor(preprocess_cfg["mean"], device=x.device).view(3, 1, 1)
    std = 255 * torch.tensor(preprocess_cfg["std"], device=x.device).view(3, 1, 1)
    return (x - mean) / std


def height_width(preprocess_cfg: dict) -> tuple[int, int]:
    """Return what open_clip's ``size``, an int or a pair, says."""
    size = preprocess_cfg["size"]
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def pixel_features(images: np.ndarray) -> np.ndarray:
    """Describe images by colours alone, (n, H, W, 3) -> (n, 256), standardised over them: the baseline to beat."""
    thumbnails, histograms = [], []  # 8 x 8 RGB (192 values), and square roots of 4 x 4 x 4 colour cells (64)
    for start in range(0, len(images), 256):
        batch = images[start : start + 256]
        x = torch.from_numpy(np.ascontiguousarray(batch)).permute(0, 3, 1, 2).float()
        thumbnails.append(F.adaptive_avg_pool2d(x, _THUMBNAIL_PX).flatten(1).numpy())  # (B, 3, H, W) -> (B, 192)
        histograms.append(_colour_histogram(batch))
    features = np.concatenate([np.concatenate(thumbnails), np.sqrt(np.concatenate(histograms))], axis=1)
    spread = features.std(axis=0)
    constant = spread < 1e-6
    return ((features - features.mean(axis=0)) / np.where(constant, 1, spread) * ~constant).astype(np.float32)


def _colour_histogram(images: np.ndarray) -> np.ndarray:
    """Return the share of each image's pixels in each of the 64 colour cells, (B, H, W, 3) -> (B, 64)."""
    level = images.reshape(len(images), -1, 3).astype(np.int64) * _LEVELS // 256  # (B, H * W, 3)
    cell = (level[..., 0] * _LEVELS + level[..., 1]) * _LEVELS + level[..., 2]
    n_cells = _LEVELS**3
    counts = np.bincount((cell + n_cells * np.arange(len(images))[:, None]).ravel(), minlength=n_cells * len(images))
    return counts.reshape(len(images), n_cells) / max(1, cell.shape[1])
