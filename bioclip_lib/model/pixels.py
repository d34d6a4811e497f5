"""Pixels as numbers: what a model's tower takes in, and the baseline that sees colours alone.

Takes batches of uint8 images; returns float32. Shapes are checked by the callers.
"""

import numpy as np
import torch
import torch.nn.functional as F

_THUMBNAIL_PX = 8
_LEVELS = 4  # per channel, of the colour histogram


def prepare_pixels(images: torch.Tensor, preprocess_cfg: dict) -> torch.Tensor:
    """Resize, cut and normalise a batch of pixels, as the model's transform does with a file.

    Parameters
    ----------
    images : Tensor of shape (B, H, W, 3), uint8
    preprocess_cfg : dict
        open_clip's: ``size``, ``mean``, ``std``, ``interpolation``.

    Returns
    -------
    Tensor of shape (B, 3, S, S), float32
        The short edge resized to S (antialiased), the centre cut out, normalised.
    """
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
    """Describe images by their colours alone: the baseline that any trained model has to beat.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, 3), uint8

    Returns
    -------
    ndarray of shape (n, 256), float32
        An 8 x 8 RGB thumbnail (192 values) and the square roots of a 4 x 4 x 4 colour histogram (64), each column with
        mean 0 and standard deviation 1 over the images given; 0 where constant.

    Notes
    -----
    Standardised over the set: rows of two calls are not comparable.

    Examples
    --------
    >>> pixel_features(np.zeros((2, 16, 16, 3), np.uint8)).shape
    (2, 256)
    """
    thumbnails, histograms = [], []
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
