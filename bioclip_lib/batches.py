"""What a training step sees: the pairs in memory, which of them make a batch, and how images are augmented.

Takes arrays, a step's number and a seed; returns tensors. Refuses arrays that do not belong together.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

_CROP_AREA = (0.5, 1.0)
_CROP_RATIO = (3 / 4, 4 / 3)


@dataclass(frozen=True)
class TrainData:
    """Image-text pairs in memory; none is allowed (a split without images).

    Parameters
    ----------
    inputs : ndarray of shape (N, H, W, 3), uint8, or (N, F), float32
        Images, or features of a frozen trunk (`bioclip_lib.embed.trunk_features`).
    labels : ndarray of shape (N,), int
        Class of each input: the first index of `tokens`.
    tokens : ndarray or Tensor of shape (n_classes, n_text_types, L), int64
        The captions of each class, one a text type, in the order of ``config.train.text_types``; after them may come
        captions of higher taxa.
    groups : ndarray of shape (n_classes, n_text_types), int, optional
        What each caption stands for: captions in one column with equal numbers are true of each other's images. By
        default each class stands for itself.
    """

    inputs: np.ndarray
    labels: np.ndarray
    tokens: np.ndarray | torch.Tensor
    groups: np.ndarray | None = None

    def __post_init__(self) -> None:
        form = (self.inputs.dtype, self.inputs.ndim)
        if form not in ((np.uint8, 4), (np.float32, 2)):
            raise ValueError(f"inputs are {form[0]} {self.inputs.shape}; give uint8 images or float32 features")
        if len(self.inputs) != len(self.labels):
            raise ValueError(f"{len(self.inputs)} inputs with {len(self.labels)} labels; give one label an input")
        if len(self.labels) and not 0 <= np.min(self.labels) <= np.max(self.labels) < len(self.tokens):
            raise ValueError(f"labels up to {np.max(self.labels)}, but tokens of {len(self.tokens)} classes")
        if self.groups is None:
            own = np.repeat(np.arange(len(self.tokens))[:, None], self.tokens.shape[1], axis=1)
            object.__setattr__(self, "groups", own)
        if self.groups.shape != tuple(self.tokens.shape[:2]):
            raise ValueError(f"groups {self.groups.shape} do not fit tokens {tuple(self.tokens.shape)}")

    @property
    def holds_features(self) -> bool:
        """Whether the inputs are features, not images."""
        return self.inputs.ndim == 2

    def digest(self) -> str:
        """Return the SHA-256 of the shapes, labels, tokens and some 64 inputs."""
        sample = self.inputs[:: max(1, len(self.inputs) // 64)]
        digest = hashlib.sha256(repr((self.inputs.shape, tuple(self.tokens.shape))).encode())
        for array in (self.labels, self.tokens, self.groups, sample):
            digest.update(np.ascontiguousarray(array).view(np.uint8))
        return digest.hexdigest()


def batch_indices(n: int, batch_size: int, step: int, seed: int) -> torch.Tensor:
    """Return the rows of a step's batch: each epoch is a new permutation, in which every row comes at most once.

    Parameters
    ----------
    n : int
        Rows of the set.
    batch_size : int
        The last, partial batch of an epoch is dropped; a set smaller than a batch is one batch.
    step : int
    seed : int

    Returns
    -------
    Tensor of shape (min(n, batch_size),), int64

    Examples
    --------
    >>> sorted(torch.cat([batch_indices(6, 2, step, seed=0) for step in range(3)]).tolist())
    [0, 1, 2, 3, 4, 5]
    """
    size = min(n, batch_size)
    epoch, position = divmod(step, n // size)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed * 1_000_003 + 500_009 + epoch))
    return order[position * size : (position + 1) * size]


def drop_tokens(tokens: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """Blank out a share of the words between the start and end tokens of each caption, at random.

    Parameters
    ----------
    tokens : Tensor of shape (n, L), int64
        The end token has the highest id.
    share : float
        0 to 1.
    generator : torch.Generator

    Returns
    -------
    Tensor of shape (n, L), int64

    Examples
    --------
    >>> drop_tokens(torch.tensor([[8, 3, 4, 9, 0]]), 1.0, torch.Generator()).tolist()
    [[8, 0, 0, 9, 0]]
    """
    position = torch.arange(tokens.shape[1])
    inside = (position > 0) & (position < tokens.argmax(dim=1, keepdim=True))  # (n, L)
    return tokens.masked_fill(inside & (torch.rand(tokens.shape, generator=generator) < share), 0)


def augment(images: torch.Tensor, size: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
    """Cut a random rectangle out of each image, resize it, and mirror every other one.

    Parameters
    ----------
    images : Tensor of shape (B, H, W, 3), uint8
    size : pair of int
        Height and width of the result.
    generator : torch.Generator
        On the CPU, so that a seed gives the same crops on every device.

    Returns
    -------
    Tensor of shape (B, 3, height, width), float32
        In [0, 255].

    Notes
    -----
    The rectangle has 50 to 100 % of the image's area and an aspect ratio of 3:4 to 4:3. It is resized bilinearly
    without a low-pass filter: images more than about twice as large as the result should be made smaller before.
    """
    n = len(images)
    area, ratio, x, y, mirror = torch.rand(5, n, generator=generator)
    area = _CROP_AREA[0] + (_CROP_AREA[1] - _CROP_AREA[0]) * area
    ratio = torch.exp(math.log(_CROP_RATIO[0]) + math.log(_CROP_RATIO[1] / _CROP_RATIO[0]) * ratio)
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    theta = torch.zeros(n, 2, 3)  # from the result's coordinates, -1 to 1, to the image's
    theta[:, 0, 0] = torch.where(mirror < 0.5, -width, width)
    theta[:, 1, 1] = height
    theta[:, 0, 2] = (2 * x - 1) * (1 - width)
    theta[:, 1, 2] = (2 * y - 1) * (1 - height)
    grid = F.affine_grid(theta.to(images.device), [n, 3, *size], align_corners=False)  # (B, height, width, 2)
    pixels = images.permute(0, 3, 1, 2).float()
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
