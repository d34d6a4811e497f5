"""The recipe as numbers: how many steps, the learning rate of each, and which parameters decay.

Takes a configuration, a step or a model; returns a configuration, a rate or AdamW's groups.
"""

import dataclasses
import math

import torch

from .config import Config, TrainConfig


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
    model: torch.nn.Module, weight_decay: float, features: bool = False, heads: torch.nn.Module | None = None
) -> list[dict]:
    """Split what is trained into matrices, which decay, and the rest, which does not.

    Parameters
    ----------
    model : open_clip model
    weight_decay : float
    features : bool
        Of the image tower train its head alone.
    heads : torch.nn.Module, optional
        Classifiers on the image features; with any, the text tower is not trained.

    Returns
    -------
    list of two dicts
        AdamW's groups. Gains, biases, positional embeddings and the logit scale do not decay.
    """
    classifiers = [] if heads is None else list(heads.named_parameters())
    decay, rest = [], []
    for name, parameter in [*model.named_parameters(), *classifiers]:
        if features and name.startswith("visual.") and not name.startswith("visual.head."):
            continue
        if classifiers and not name.startswith(("visual.", "heads.")):
            continue
        matrix = parameter.ndim >= 2 and "positional_embedding" not in name
        (decay if matrix else rest).append(parameter)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
