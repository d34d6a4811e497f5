"""What a training step sees: pairs, the captions that are drawn for them, and how images are augmented.

Takes arrays, or images in shards, and a step's generator; returns tensors. Refuses data that do not belong together.
"""

import hashlib
import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from .. import RANKS
from ..config import TrainConfig
from ..shards.replay import ReplayPairs
from .loaders import Drawn, ShardImages

_MAX_CROP_RATIO = 4 / 3


@dataclass(frozen=True)
class TrainData:
    """Image-text pairs, in memory or with images in shards; none is allowed (a split without images).

    Parameters
    ----------
    inputs : ndarray of shape (N, H, W, 3), uint8, or (N, F), float32; or ShardImages
        Images, or features of a frozen trunk. Images in shards bring their own labels.
    labels : ndarray of shape (N,), int
        Class of each input: the first index of `tokens`.
    tokens : ndarray or Tensor of shape (n_classes, n_captions, L), int64
        The captions of each class, in the order of ``config.train.text_types``, then those of higher taxa, if any.
    groups : ndarray of shape (n_classes, n_captions), int, optional
        Captions in one column with equal numbers are true of each other's images. Default: each class for itself.
    lineages : ndarray of shape (n_classes, 7), int, optional
        The taxon of each class at each of the seven ranks, from 0, -1 where unknown; for the hierarchical objectives.
    replay : ReplayPairs, optional
        Pairs of another collection, some of which join each batch.
    """

    inputs: np.ndarray | ShardImages
    labels: np.ndarray
    tokens: np.ndarray | torch.Tensor
    groups: np.ndarray | None = None
    lineages: np.ndarray | None = None
    replay: ReplayPairs | None = None

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
        if self.lineages is not None and self.lineages.shape != (len(self.tokens), len(RANKS)):
            raise ValueError(f"lineages {self.lineages.shape} do not fit {len(self.tokens)} classes and 7 ranks")

    @property
    def holds_features(self) -> bool:
        """Whether the inputs are features, not images."""
        return self.inputs.ndim == 2

    @property
    def streamed(self) -> bool:
        """Whether the inputs are read from shards as they are needed."""
        return isinstance(self.inputs, ShardImages)

    def digest(self) -> str:
        """Return the SHA-256 of the shapes, labels, tokens and inputs, or the digests of the shards."""
        if self.streamed:
            inputs = np.frombuffer(self.inputs.digest().encode(), np.uint8)
        else:
            inputs = self.inputs
        digest = hashlib.sha256(repr((self.inputs.shape, tuple(self.tokens.shape))).encode())
        lineages = () if self.lineages is None else (self.lineages,)
        for array in (self.labels, self.tokens, self.groups, inputs, *lineages):
            digest.update(np.ascontiguousarray(array).view(np.uint8))
        if self.replay is not None:
            digest.update(self.replay.digest().encode())
        return digest.hexdigest()


class Pairs(NamedTuple):
    """`TrainData` as tensors on the CPU."""

    inputs: torch.Tensor | ShardImages
    labels: torch.Tensor
    tokens: torch.Tensor
    groups: torch.Tensor
    lineages: torch.Tensor | None
    replay: ReplayPairs | None = None

    @classmethod
    def of(cls, data: TrainData, tokens: torch.Tensor) -> "Pairs":
        """Share the inputs' memory; take renumbered tokens."""
        inputs = data.inputs
        if not data.streamed:
            inputs = torch.from_numpy(inputs if inputs.flags.writeable else inputs.copy())  # torch: none is read-only
        arrays = (data.labels, data.groups, data.lineages)
        labels, groups, lineages = (
            None if array is None else torch.from_numpy(np.array(array, dtype=np.int64))
            for array in arrays  # copies
        )
        return cls(inputs, labels, tokens, groups, lineages, data.replay)


class Batch(NamedTuple):
    """What is drawn for B pairs of a `Pairs`, each distinct caption once."""

    index: torch.Tensor  # (B,), int64: rows of the set, or numbers of streamed samples
    labels: torch.Tensor  # (B,), int64: their classes; -1 for pairs of another collection
    types: torch.Tensor  # (B,), int64: the column of each one's caption
    tokens: torch.Tensor  # (n_captions, L), int64: the distinct captions
    inverse: torch.Tensor  # (B,), int64: the caption of each pair
    crops: torch.Tensor | None  # (5, B): the augmentation of each image (`draw_crops`); None for none
    inputs: torch.Tensor | None = None  # (b, ...): the images or features of this process's rows
    first: int = 0  # the row of the first of `inputs`


def draw_types(n: int, cfg: TrainConfig, n_columns: int, generator: torch.Generator) -> torch.Tensor:
    """Draw which caption each of n pairs gets.

    Parameters
    ----------
    n : int
    cfg : TrainConfig
        Its text types, weights, mixture and share of higher taxa are followed.
    n_columns : int
        Captions a class: the text types, and after them those of higher taxa, if any.
    generator : torch.Generator

    Returns
    -------
    Tensor of shape (n,), int64
        Columns, in [0, n_columns).
    """
    if cfg.text_mixture == "batch":
        return draw_types(1, replace(cfg, text_mixture="sample"), n_columns, generator).repeat(n)
    n_types = len(cfg.text_types)
    if cfg.text_weights:
        types = torch.multinomial(torch.tensor(cfg.text_weights), n, replacement=True, generator=generator)
    else:
        types = torch.randint(n_types, (n,), generator=generator)
    if n_columns == n_types:
        return types
    higher = torch.rand(n, generator=generator) < cfg.higher_rank_share
    return torch.where(higher, torch.randint(n_types, n_columns, (n,), generator=generator), types)


def draw_batch(
    data: Pairs, drawn: Drawn, types: torch.Tensor, token_dropout: float, generator: torch.Generator | None
) -> Batch:
    """Put given pairs and caption types together; without a generator nothing is dropped or augmented."""
    table, crops = data.tokens.flatten(0, 1), None
    caption = drawn.labels * data.tokens.shape[1] + types  # (B,)
    replayed = drawn.labels < 0
    caption[replayed] = len(table) + torch.arange(int(replayed.sum()))  # each its own text
    captions, inverse = torch.unique(caption, return_inverse=True)
    tokens = table[captions[captions < len(table)]]
    if drawn.texts is not None:
        tokens = torch.cat([tokens, drawn.texts])
    if generator is not None:
        tokens = drop_tokens(tokens, token_dropout, generator)
        crops = draw_crops(len(drawn.index), generator) if drawn.inputs.ndim == 4 else None
    return Batch(drawn.index, drawn.labels, types, tokens, inverse, crops, drawn.inputs, drawn.first)


def drop_tokens(tokens: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """Blank out a share of the tokens, (n, L), between the start and end of each caption, at random."""
    position = torch.arange(tokens.shape[1])
    inside = (position > 0) & (position < tokens.argmax(dim=1, keepdim=True))  # (n, L)
    return tokens.masked_fill(inside & (torch.rand(tokens.shape, generator=generator) < share), 0)


def draw_crops(n: int, generator: torch.Generator) -> torch.Tensor:
    """Draw what `augment` does to each of n images: numbers in [0, 1), (5, n), on the CPU, so equal on every device."""
    return torch.rand(5, n, generator=generator)


def augment(
    images: torch.Tensor, size: tuple[int, int], crops: torch.Tensor, crop_area: tuple[float, float], mirror: bool
) -> torch.Tensor:
    """Cut a random rectangle out of each image, (B, H, W, 3) to float32 (B, 3, *size), and mirror every other one.

    Its aspect ratio is 3:4 to 4:3, or as much of that as fits in. It is resized bilinearly without a low-pass filter:
    images more than about twice as large as the result should be made smaller before.
    """
    n = len(images)
    area, ratio, x, y, side = crops
    area = crop_area[0] + (crop_area[1] - crop_area[0]) * area
    widest = (-area.log()).clamp(max=math.log(_MAX_CROP_RATIO))  # a narrower or a wider one would not fit in
    ratio = torch.exp((2 * ratio - 1) * widest)
    width, height = (area * ratio).sqrt(), (area / ratio).sqrt()
    theta = torch.zeros(n, 2, 3)  # from the result's coordinates, -1 to 1, to the image's
    theta[:, 0, 0] = torch.where(side < 0.5, -width, width) if mirror else width
    theta[:, 1, 1] = height
    theta[:, 0, 2] = (2 * x - 1) * (1 - width)
    theta[:, 1, 2] = (2 * y - 1) * (1 - height)
    grid = F.affine_grid(theta.to(images.device), [n, 3, *size], align_corners=False)  # (B, height, width, 2)
    pixels = images.permute(0, 3, 1, 2).float()
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
