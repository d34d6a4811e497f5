"""Contrastive training, in memory, on one device: batches, augmentation, schedule, step, log, checkpoints.

Takes a model, `TrainData` (images, or features of a frozen trunk, with their captions as tokens) and a `Config`;
trains the model in place and returns the log. Refuses data that do not fit together, and a loss that is not finite.

Everything random at a step is a function of (seed, step) alone. Hence an interrupted run that goes on from a checkpoint
ends with the same bits as one that was never interrupted, on the same machine.
"""

import dataclasses
import math
import time
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from tqdm import tqdm

from .batches import TrainData, augment, batch_indices, drop_tokens
from .captions import HIGHER_RANKS
from .checkpoints import delete_checkpoints, read_checkpoint, write_checkpoint
from .config import Config, TrainConfig
from .embed import evaluating
from .errors import InputError
from .losses import clip_loss, positive_sets_clip_loss
from .model import autocast, compact_vocabulary, encode_tokens, model_digest, normalised
from .paths import Run, atomic
from .pixels import normalise_pixels, prepare_pixels

MAX_LOGIT_SCALE = math.log(100)
MAX_VALIDATION_PAIRS = 2_048  # a seeded choice; the loss only has to show over-fitting


def fit(
    model: torch.nn.Module,
    train: TrainData,
    val: TrainData,
    config: Config,
    run: Run,
    resume: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Train a model in place.

    Parameters
    ----------
    model : open_clip model
        Where `train` holds features of its frozen trunk, only ``model.visual.head`` of its image tower is trained.
    train, val : TrainData
    config : Config
        Its `train` part.
    run : Run
        Takes ``tables/train_log.csv`` and ``checkpoints/step-%06d.pt``.
    resume : bool
        Go on from the newest whole checkpoint, if there is one; otherwise earlier checkpoints are deleted.
    progress : bool
        Show a bar with loss and images/s.

    Returns
    -------
    DataFrame
        One row a step: step, loss, val_loss (where evaluated), lr, logit_scale (the factor), grad_norm, images_per_s,
        wall_s (of training, over all sittings).

    Raises
    ------
    InputError
        If the data do not fit the configuration, a checkpoint belongs to other settings, or the loss is not finite.

    Notes
    -----
    Rows of the token table that no caption uses stay as they were initialised, without weight decay.
    """
    config = with_steps(config, len(train.labels))
    cfg = config.train
    _check(train, val, cfg)
    settings = _settings(model, train, val, config)
    with compact_vocabulary(model, train.tokens, val.tokens) as (train_tokens, val_tokens):
        trainer = _Trainer(model, cfg, _Pairs.of(train, train_tokens), _Pairs.of(val, val_tokens))
        if not resume:
            delete_checkpoints(run.checkpoints)
        elif checkpoint := read_checkpoint(run.checkpoints, settings):
            trainer.load_state(*checkpoint)
        with tqdm(
            total=cfg.steps, initial=trainer.step, desc="train", unit="step", mininterval=0.5, disable=not progress
        ) as bar:
            while trainer.step < cfg.steps:
                row = trainer.train_step()
                bar.set_postfix_str(f"loss {row['loss']:.3f}, {row['images_per_s']:.0f} images/s", refresh=False)
                bar.update()
                if trainer.step % cfg.checkpoint_every_steps == 0 or trainer.step == cfg.steps:
                    write_checkpoint(run.checkpoints, trainer.step, settings, trainer.state(), cfg.keep_checkpoints)
    model.eval()
    log = pd.DataFrame(trainer.log)
    with atomic(run.tables / "train_log.csv") as tmp:
        log.to_csv(tmp, index=False)
    return log


class _Pairs(NamedTuple):
    """`TrainData` as tensors on the CPU."""

    inputs: torch.Tensor
    labels: torch.Tensor
    tokens: torch.Tensor
    groups: torch.Tensor

    @classmethod
    def of(cls, data: TrainData, tokens: torch.Tensor) -> "_Pairs":
        """Share the inputs' memory; take renumbered tokens."""
        inputs = data.inputs if data.inputs.flags.writeable else data.inputs.copy()  # torch has no read-only tensors
        labels, groups = (torch.as_tensor(np.asarray(array, dtype=np.int64)) for array in (data.labels, data.groups))
        return cls(torch.from_numpy(inputs), labels, tokens, groups)


class _Trainer:
    """A model in training: optimiser, data, number of steps done, log."""

    def __init__(self, model: torch.nn.Module, cfg: TrainConfig, train: _Pairs, val: _Pairs) -> None:
        self.model, self.cfg, self.train, self.val = model, cfg, train, val
        self.device = model.logit_scale.device
        self.step, self.log = 0, []
        groups = parameter_groups(model, cfg.weight_decay, features=train.inputs.ndim == 2)
        self.parameters = [p for group in groups for p in group["params"]]
        self.optimizer = torch.optim.AdamW(
            groups, lr=cfg.lr, betas=(cfg.beta1, cfg.beta2), eps=cfg.eps, fused=True, foreach=False
        )
        self.model.train()

    def state(self) -> dict:
        """Return what a checkpoint holds; no generator among it, as a step's randomness depends on its number alone."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "log": self.log}

    def load_state(self, step: int, state: dict) -> None:
        """Go back to a checkpoint."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.log = step, state["log"]

    def train_step(self) -> dict[str, float]:
        """Do one step; return its row of the log, which is also appended."""
        start, cfg = time.perf_counter(), self.cfg
        generator = torch.Generator().manual_seed(cfg.seed * 1_000_003 + self.step)
        index = batch_indices(len(self.train.labels), cfg.batch_size, self.step, cfg.seed)
        lr = learning_rate(self.step, cfg)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        types = self._draw_types(len(index), generator)
        loss = self._loss(self.train, index, types, generator)
        if not math.isfinite(loss.item()):
            raise InputError(
                f"the loss is {loss.item()} at step {self.step + 1}; lower train.lr ({cfg.lr:g}), raise "
                f"train.warmup_steps ({cfg.warmup_steps}) or set train.precision=fp32"
            )
        self.optimizer.zero_grad()
        loss.backward()
        grad_norm = torch.nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)
        self.step += 1
        seconds = time.perf_counter() - start
        row = {
            "step": self.step,
            "loss": loss.item(),
            "val_loss": self.validation_loss() if self._validates() else math.nan,
            "lr": lr,
            "logit_scale": self.model.logit_scale.exp().item(),
            "grad_norm": grad_norm.item(),
            "images_per_s": len(index) / seconds,
            "wall_s": (self.log[-1]["wall_s"] if self.log else 0.0) + time.perf_counter() - start,
        }
        self.log.append(row)
        return row

    def _draw_types(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Draw which caption each of n pairs gets: one of the text types, or of the higher taxa where there are any."""
        n_types, n_columns = len(self.cfg.text_types), self.train.tokens.shape[1]
        types = torch.randint(n_types, (n,), generator=generator)
        if n_columns == n_types:
            return types
        higher = torch.rand(n, generator=generator) < self.cfg.higher_rank_share
        return torch.where(higher, torch.randint(n_types, n_columns, (n,), generator=generator), types)

    def _validates(self) -> bool:
        return self.step % self.cfg.val_every_steps == 0 or self.step == self.cfg.steps

    def validation_loss(self) -> float:
        """Compute the loss on the same pairs and text types each time, without augmentation; nan without pairs."""
        if not len(self.val.labels):
            return math.nan
        n, n_types = len(self.val.labels), len(self.cfg.text_types)
        order = torch.randperm(n, generator=torch.Generator().manual_seed(0))[:MAX_VALIDATION_PAIRS]
        batches = order.split(self.cfg.batch_size)
        if len(batches) > 1 and len(batches[-1]) < self.cfg.batch_size:
            batches = batches[:-1]  # the loss depends on the batch's size
        with evaluating(self.model):
            losses = [self._loss(self.val, index, index % n_types).item() for index in batches]
        return float(np.mean(losses))

    def _loss(
        self, data: _Pairs, index: torch.Tensor, types: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Return the loss of the pairs at `index` (B,) with captions of `types` (B,); a generator augments."""
        labels = data.labels[index]
        captions, inverse = torch.unique(labels * data.tokens.shape[1] + types, return_inverse=True)
        tokens = data.tokens.flatten(0, 1)[captions]
        if generator is not None:
            tokens = drop_tokens(tokens, self.cfg.token_dropout, generator)
        with autocast(self.cfg.precision, self.device):
            image_features = self._image_features(data.inputs[index].to(self.device), generator)  # (B, D)
            text_features = encode_tokens(self.model, tokens.to(self.device))
        text_features = F.embedding(inverse.to(self.device), normalised(text_features))  # (n_captions, D) -> (B, D)
        scale = self.model.logit_scale.exp()
        if self.cfg.objective == "clip":
            return clip_loss(normalised(image_features), text_features, scale)
        positives = data.groups[labels][:, types] == data.groups[labels, types]  # (B images, B texts)
        return positive_sets_clip_loss(normalised(image_features), text_features, scale, positives.to(self.device))

    def _image_features(self, inputs: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        """Project features of the frozen trunk (B, F), or encode images (B, H, W, 3), to (B, D)."""
        if inputs.ndim == 2:
            return self.model.visual.head(inputs)
        cfg = self.model.visual.preprocess_cfg
        if generator is None:
            return self.model.encode_image(prepare_pixels(inputs, cfg))
        return self.model.encode_image(normalise_pixels(augment(inputs, cfg["size"], generator), cfg))


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


def parameter_groups(model: torch.nn.Module, weight_decay: float, features: bool = False) -> list[dict]:
    """Split what is trained into matrices, which decay, and the rest, which does not.

    Parameters
    ----------
    model : open_clip model
    weight_decay : float
    features : bool
        Of the image tower train its head alone.

    Returns
    -------
    list of two dicts
        AdamW's groups. Gains, biases, positional embeddings and the logit scale do not decay.
    """
    decay, rest = [], []
    for name, parameter in model.named_parameters():
        if features and name.startswith("visual.") and not name.startswith("visual.head."):
            continue
        matrix = parameter.ndim >= 2 and "positional_embedding" not in name
        (decay if matrix else rest).append(parameter)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def _check(train: TrainData, val: TrainData, cfg: TrainConfig) -> None:
    """Refuse settings and data that do not fit together."""
    if not len(train.labels):
        raise InputError("there are no training images; rerun 01_dataset_construction")
    if cfg.objective not in ("clip", "multi_positive"):
        raise InputError(f"unknown train.objective {cfg.objective!r}; choose clip or multi_positive")
    for name, data in (("training", train), ("validation", val)):
        if data.tokens.shape[1] - len(cfg.text_types) not in (0, len(HIGHER_RANKS)):
            raise InputError(
                f"the {name} captions hold {data.tokens.shape[1]} text types, train.text_types {len(cfg.text_types)}; "
                "load the data again under this configuration"
            )
    if cfg.freeze_image_tower != train.holds_features:
        raise InputError(
            f"train.freeze_image_tower={cfg.freeze_image_tower}, but the training inputs are "
            f"{'features' if train.holds_features else 'images'}; load the data again under this configuration"
        )


def _settings(model: torch.nn.Module, train: TrainData, val: TrainData, config: Config) -> dict:
    """Return what decides the trained weights, as a checkpoint records it."""
    recipe = dataclasses.asdict(config.train)
    for name in ("checkpoint_every_steps", "keep_checkpoints", "val_every_steps"):
        del recipe[name]
    return {
        "train": recipe,
        "model": dataclasses.asdict(config.model),
        "initial_weights": model_digest(model),
        "training_data": train.digest(),
        "validation_data": val.digest(),
    }
