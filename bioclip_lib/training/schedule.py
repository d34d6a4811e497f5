"""The recipe as numbers: how many steps, the learning rate of each, and which parameters decay.

Takes a configuration, a step or a model; returns a configuration, a rate or AdamW's groups.
"""

import dataclasses
import math
import re

import torch

from ..config import Config, TrainConfig
from ..errors import InputError
from .lora import BLOCK
from .sharding import is_spread

_TOWERS = ("visual", "text")
_STEM = re.compile(
    r"\b(conv1|bn1|conv_stem|patch_embed|class_embedding|cls_token|positional_embedding|pos_embed|ln_pre|norm_pre"
    r"|token_embedding)\b"
)


def with_steps(config: Config, n_images: int) -> Config:
    """Return a configuration whose ``train.steps`` follows from ``train.epochs``, where that is positive.

    Examples
    --------
    >>> with_steps(Config("mini", train=TrainConfig(epochs=2, batch_size=100)), 1_000).train.steps
    20
    """
    if config.train.epochs <= 0:
        return config
    steps = max(1, round(config.train.epochs * n_images / min(config.train.batch_size, max(1, n_images))))
    return dataclasses.replace(config, train=dataclasses.replace(config.train, steps=steps))


def learning_rate(step: int, cfg: TrainConfig) -> float:
    """Return the learning rate of a step (from 0): a linear rise over `warmup_steps`, then half a cosine down to 0.

    Examples
    --------
    >>> cfg = TrainConfig(steps=100, warmup_steps=10, lr=1.0)
    >>> [round(learning_rate(step, cfg), 2) for step in (0, 9, 10, 55, 100)]
    [0.1, 1.0, 1.0, 0.5, 0.0]
    """
    if step < cfg.warmup_steps:
        return cfg.lr * (step + 1) / cfg.warmup_steps
    done = (step - cfg.warmup_steps) / max(1, cfg.steps - cfg.warmup_steps)
    return cfg.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def parameter_groups(
    model: torch.nn.Module,
    weight_decay: float,
    features: bool = False,
    heads: torch.nn.Module | None = None,
    layer_decay: float = 1.0,
) -> list[dict]:
    """Split what is trained into matrices, which decay, and the rest, which does not; and into layers.

    Parameters
    ----------
    model : open_clip model
    weight_decay : float
    features : bool
        Of the image tower train its head alone.
    heads : torch.nn.Module, optional
        Classifiers on the image features; with any, the text tower is not trained.
    layer_decay : float
        As of `layer_scales`; with 1 all layers are one.

    Returns
    -------
    list of dicts
        AdamW's groups, with the names of their parameters: of matrices and of the rest for each ``lr_scale``, the
        factor of their learning rate, and apart where they are spread over processes. Gains, biases, positional
        embeddings and the logit scale do not decay.
    """
    classifiers = [] if heads is None else list(heads.named_parameters())
    named = [*model.named_parameters(), *classifiers]
    scales = layer_scales([name for name, _ in named], layer_decay)
    groups = {}
    for name, parameter in named:
        if features and name.startswith("visual.") and not name.startswith(("visual.head.", "visual.proj")):
            continue
        if classifiers and not name.startswith(("visual.", "heads.")):
            continue
        if not parameter.requires_grad:
            continue
        matrix = parameter.ndim >= 2 and "positional_embedding" not in name
        groups.setdefault((scales[name], matrix, is_spread(parameter)), {})[name] = parameter
    return [
        {
            "params": list(groups[key].values()),
            "names": list(groups[key]),
            "weight_decay": weight_decay if key[1] else 0.0,
            "lr_scale": key[0],
        }
        for key in sorted(groups, reverse=True)
    ]


def layer_scales(names: list[str], decay: float) -> dict[str, float]:
    """Return the factor of each parameter's learning rate, lower towards the input of its tower.

    Parameters
    ----------
    names : list of str
        As of ``model.named_parameters()``.
    decay : float
        In (0, 1]. In a tower of n blocks, block i (from 0) has ``decay ** (n - i)``, what comes before the blocks
        ``decay ** (n + 1)``, and what comes after them, such as the projection and the logit scale, 1.

    Raises
    ------
    InputError
        For a decay out of its range, or a tower without blocks.

    Notes
    -----
    As in ELECTRA and BEiT (Clark et al. 2020, https://arxiv.org/abs/2003.10555, Bao et al. 2022,
    https://arxiv.org/abs/2106.08254), in both towers.

    Examples
    --------
    >>> layer_scales(["visual.conv1.weight", "visual.transformer.resblocks.0.ln_1.weight", "visual.proj"], 0.5)
    {'visual.conv1.weight': 0.25, 'visual.transformer.resblocks.0.ln_1.weight': 0.5, 'visual.proj': 1.0}
    """
    if not 0 < decay <= 1:
        raise InputError(f"train.layer_decay is {decay:g}; give a number above 0, at most 1")
    if decay == 1:
        return dict.fromkeys(names, 1.0)
    block = {name: int(match[1]) for name in names if (match := BLOCK.search(name))}
    depth = {tower: 1 + max((i for n, i in block.items() if _tower(n) == tower), default=-1) for tower in _TOWERS}
    if not all(depth[_tower(name)] for name in names if name not in block and _STEM.search(name)):
        raise InputError("train.layer_decay needs towers of blocks, such as a ViT's; set it to 1")
    scales = {}
    for name in names:
        n = depth[_tower(name)]
        power = n - block[name] if name in block else (n + 1 if _STEM.search(name) else 0)
        scales[name] = decay**power
    return scales


def _tower(name: str) -> str:
    return "visual" if name.startswith("visual.") else "text"
