"""A model in training: one step of it, its validation, and the state that a checkpoint holds.

Takes a model, an objective and pairs as tensors; changes the model in place. Refuses a loss or gradient that is not
finite.
"""

import contextlib
import math
import time
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F

from ..config import TrainConfig
from ..errors import InputError
from ..model.encode import evaluating, normalise_pixels, normalised, prepare_pixels
from ..model.text import encode_tokens
from ..model.towers import autocast, project
from ..run import atomic
from .adapt import n_patches, quick_attention
from .batches import Batch, Pairs, augment, draw_batch, draw_types
from .distributed import add_up, add_up_gradients, alike, gather_rows, own_rows, whole, world
from .loaders import Drawn, MemoryLoader, ReplayLoader, ShardImages, ShardLoader
from .objectives import Objective
from .optimizer import Encoded, Optimizer, learning_rate

MAX_LOGIT_SCALE = math.log(100)
MAX_VALIDATION_PAIRS = 2_048  # a seeded choice; the loss only has to show over-fitting


class Trainer:
    """A model in training: objective, optimiser, data, number of steps done, log."""

    def __init__(
        self, model: torch.nn.Module, objective: Objective, cfg: TrainConfig, train: Pairs, val: Pairs
    ) -> None:
        self.model, self.objective, self.cfg, self.train, self.val = model, objective, cfg, train, val
        self.device = model.logit_scale.device
        self.step, self.log = 0, []
        if isinstance(train.inputs, ShardImages):
            self.loader = ShardLoader(train.inputs, cfg.batch_size, cfg.seed, cfg.decode_workers, self.device)
        else:
            self.loader = MemoryLoader(train.inputs, train.labels, cfg.batch_size, cfg.seed)
        if train.replay is not None:
            self.loader = ReplayLoader(self.loader, train.replay, cfg, train.tokens.shape[-1], self.device)
        self.optimizer = Optimizer(model, cfg, train.inputs.ndim == 2, objective)
        if cfg.grad_checkpointing:
            model.set_grad_checkpointing(True)
        self.model.train()

    def state(self) -> dict:
        """Return what a checkpoint holds, whole in the first process; a step's randomness follows from its number."""
        state = {
            "model": self.model.state_dict(),
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "log": self.log,
        }
        return whole(state, keep=world().rank == 0)

    def load_state(self, step: int, state: dict) -> None:
        """Go back to a checkpoint."""
        own = self.model.state_dict()
        self.model.load_state_dict({name: alike(value, own[name]) for name, value in state["model"].items()})
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.log = step, state["log"]

    def train_step(self, bad_batch: Path, stop: bool = False) -> tuple[dict[str, float], bool]:
        """Do one step; return its row of the log, and whether any process was asked to stop, as this one by `stop`."""
        start, cfg = time.perf_counter(), self.cfg
        generator = torch.Generator().manual_seed(cfg.seed * 1_000_003 + self.step)
        drawn = self.loader.draw(self.step)
        waited = time.perf_counter() - start
        lr = learning_rate(self.step, cfg)
        types = draw_types(len(drawn.index), cfg, self.train.tokens.shape[1], generator)
        batch = draw_batch(self.train, drawn, types, cfg.token_dropout, generator)
        loss, stopping = self._compute_gradients(batch, bad_batch, stop)
        grad_norm = self.optimizer.step(lr)
        if not math.isfinite(grad_norm) and cfg.precision != "fp16":
            raise self._not_finite("the gradient's norm", grad_norm, batch, bad_batch)
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)
        self.optimizer.update_average()
        self.step += 1
        seconds = time.perf_counter() - start
        val_loss, val_top1 = self.validate() if self._validates() else (math.nan, math.nan)
        row = {
            "step": self.step,
            "loss": loss,
            "val_loss": val_loss,
            "val_top1": val_top1,
            "lr": lr,
            "logit_scale": self.model.logit_scale.exp().item(),
            "grad_norm": grad_norm,
            "skipped": self.optimizer.n_skipped,
            "duplicates": _duplicates(batch.labels[batch.labels >= 0]),
            "unreadable": drawn.n_unreadable,
            "images_per_s": len(drawn.index) / seconds,
            "data_wait": waited / seconds,
            "gpu_gib": torch.cuda.max_memory_allocated() / 2**30 if self.device.type == "cuda" else math.nan,
            "wall_s": (self.log[-1]["wall_s"] if self.log else 0.0) + time.perf_counter() - start,
        }
        self.log.append(row)
        return row, stopping

    def _compute_gradients(self, batch: Batch, bad_batch: Path, stop: bool) -> tuple[float, bool]:
        """Set the gradients of the loss of a batch; return the loss, and whether any process was asked to stop."""
        # every process gets the features of the whole batch, as numbers; the loss of its own rows has a gradient in all
        # of them; the sum of these goes back through each one's own graph, and the parameters' gradients are summed
        size, rows = self.cfg.micro_batch_size, own_rows(len(batch.index))
        encoded = [Encoded(lambda part: self._encode_images(batch, part), rows, size)]
        all_rows = [(rows, len(batch.index))]
        if self.objective.has_texts:
            n = len(batch.tokens)
            most = -(-n // world().size)  # rows of the process that has the most
            all_rows.append((own_rows(n), n))
            n_parts = -(-most // (size or most))
            encoded.append(Encoded(lambda part: self._encode_texts(batch, part), all_rows[1][0], size, n_parts))
        leaves = [gather_rows(part.values, *r).requires_grad_() for part, r in zip(encoded, all_rows, strict=True)]
        loss = self._loss(self.train, batch, rows, *leaves) / world().size
        total, n_asked = add_up(torch.tensor([loss.item(), stop], dtype=torch.float64, device=self.device)).tolist()
        if not math.isfinite(total):
            raise self._not_finite("the loss", total, batch, bad_batch, leaves[0].detach())
        self.optimizer.backward(loss)
        for part, leaf in zip(encoded, leaves, strict=True):
            part.backward(add_up(leaf.grad))
        add_up_gradients(self.optimizer.own)
        return total, n_asked > 0

    def _not_finite(
        self, what: str, value: float, batch: Batch, path: Path, images: torch.Tensor | None = None
    ) -> InputError:
        """Return the error of a number that is not finite; save its batch."""
        if world().rank == 0:
            table = {**self.loader.names(batch.index), "label": batch.labels, "text_type": batch.types}
            finite = True if images is None else images.isfinite().all(dim=1).cpu()
            with atomic(path) as tmp:
                pd.DataFrame({**table, "finite_image_features": finite}).to_csv(tmp, index=False)
        return InputError(
            f"{what} is {value} at step {self.step + 1}; its batch is in {path}; lower train.lr ({self.cfg.lr:g}), "
            f"raise train.warmup_steps ({self.cfg.warmup_steps}) or set train.precision=fp32"
        )

    def _validates(self) -> bool:
        return self.step % self.cfg.val_every_steps == 0 or self.step == self.cfg.steps

    def validate(self) -> tuple[float, float]:
        """Compute loss and zero-shot top-1 of the averaged weights, on the same pairs each time, not augmented."""
        if not len(self.val.labels):
            return math.nan, math.nan
        n, n_types = len(self.val.labels), len(self.cfg.text_types)
        order = torch.randperm(n, generator=torch.Generator().manual_seed(0))[:MAX_VALIDATION_PAIRS]
        batches = order.split(self.cfg.batch_size)
        if len(batches) > 1 and len(batches[-1]) < self.cfg.batch_size:
            batches = batches[:-1]  # the loss depends on the batch's size
        found = torch.zeros(2, len(batches), dtype=torch.float64, device=self.device)
        here = world()
        with evaluating(self.model), self.optimizer.averaged():
            candidates = self._class_texts() if self.objective.has_texts else None
            for i in range(here.rank, len(batches) + (-len(batches) % here.size), here.size):
                rows = batches[i % len(batches)]  # all processes encode equally often
                drawn = Drawn(rows, self.val.labels[rows], self.val.inputs[rows])
                scores = self._evaluate(draw_batch(self.val, drawn, rows % n_types, 0.0, None), candidates)
                if i < len(batches):
                    found[:, i] = scores
        loss, top1 = add_up(found).mean(dim=1).tolist()
        return loss, top1

    def _class_texts(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the classes of the validation pairs, (C,), and the features of their last captions, (C, D)."""
        classes = torch.unique(self.val.labels)
        tokens = self.val.tokens[classes, len(self.cfg.text_types) - 1]
        with autocast(self.cfg.precision, self.device):
            parts = [encode_tokens(self.model, part.to(self.device)) for part in tokens.split(self.cfg.batch_size)]
        return classes, normalised(torch.cat(parts).float())

    def _evaluate(self, batch: Batch, candidates: tuple[torch.Tensor, torch.Tensor] | None) -> torch.Tensor:
        """Return loss and top-1 of a validation batch, (2,)."""
        texts = self._encode_texts(batch, slice(None)) if self.objective.has_texts else None
        rows = slice(0, len(batch.index))
        images = self._encode_images(batch, rows)
        loss, top1 = self._loss(self.val, batch, rows, images, texts), math.nan
        if candidates is not None:
            classes, features = candidates
            named = classes[(normalised(images) @ features.T).argmax(dim=1).cpu()]  # (B, D) @ (D, C) -> (B, C)
            top1 = (named == batch.labels).double().mean().item()
        return torch.tensor([loss.item(), top1], dtype=torch.float64)

    def _encode_images(self, batch: Batch, rows: slice) -> torch.Tensor:
        """Project features of the frozen trunk (B, F), or encode images (B, H, W, 3), to float32 (b, D)."""
        inputs = batch.inputs[rows.start - batch.first : rows.stop - batch.first].to(self.device)
        with autocast(self.cfg.precision, self.device), self._attention(n_patches(self.model.visual)):
            if inputs.ndim == 2:
                return project(self.model, inputs).float()
            cfg = self.model.visual.preprocess_cfg
            if batch.crops is None:
                return self.model.encode_image(prepare_pixels(inputs, cfg)).float()
            pixels = augment(inputs, cfg["size"], batch.crops[:, rows], self.cfg.crop_area, self.cfg.mirror)
            return self.model.encode_image(normalise_pixels(pixels, cfg)).float()

    def _encode_texts(self, batch: Batch, rows: slice) -> torch.Tensor:
        """Encode some of the distinct captions to float32 (b, D)."""
        with autocast(self.cfg.precision, self.device), self._attention(batch.tokens.shape[1]):
            return encode_tokens(self.model, batch.tokens[rows].to(self.device)).float()

    def _attention(self, n_tokens: int) -> contextlib.AbstractContextManager:
        """Return the context of a tower's attention: as it is where activations are computed again outside of it."""
        return contextlib.nullcontext() if self.cfg.grad_checkpointing else quick_attention(n_tokens, self.device)

    def _loss(
        self, data: Pairs, batch: Batch, rows: slice, images: torch.Tensor, texts: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the loss of `rows` from features of the images (B, D) and of the distinct captions (n_captions, D)."""
        if texts is not None:
            texts = F.embedding(batch.inverse.to(self.device), normalised(texts))  # (n_captions, D) -> (B, D)
        return self.objective(images, texts, data, batch, rows)


def _duplicates(labels: torch.Tensor) -> float:
    """Return the share of a batch's pairs whose class occurs in it twice or more."""
    return (torch.bincount(labels)[labels] > 1).double().mean().item()
