"""From gradients to weights: the recipe's steps and rates, gradients of batches in parts, AdamW and Muon, averages.

Takes a model and `TrainConfig`; changes the trained parameters in place. With fp16 a step whose gradient is not finite
is left out and counted, and the scale halved; with the other precisions nothing is scaled.
"""

import contextlib
import dataclasses
import math
import re
from collections.abc import Callable, Iterator

import torch

from ..config import Config, TrainConfig
from ..errors import InputError
from .adapt import BLOCK
from .distributed import add_up, alike, is_spread

INITIAL_SCALE = 2.0**16
_TOWERS = ("visual", "text")
_STEM = re.compile(
    r"\b(conv1|bn1|conv_stem|patch_embed|class_embedding|cls_token|positional_embedding|pos_embed|ln_pre|norm_pre"
    r"|token_embedding)\b"
)


def with_steps(config: Config, n_images: int) -> Config:
    """Return a configuration whose ``train.steps`` follows from ``train.epochs``, where that is positive."""
    if config.train.epochs <= 0:
        return config
    steps = max(1, round(config.train.epochs * n_images / min(config.train.batch_size, max(1, n_images))))
    return dataclasses.replace(config, train=dataclasses.replace(config.train, steps=steps, epochs=0.0))


def learning_rate(step: int, cfg: TrainConfig) -> float:
    """Return the learning rate of a step (from 0): a linear rise over `warmup_steps`, then half a cosine down to 0."""
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
    muon: bool = False,
) -> list[dict]:
    """Split what is trained into matrices, which decay, and the rest; by layer, what is spread, and the optimiser."""
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
        hidden = muon and parameter.ndim == 2 and BLOCK.search(name) is not None
        groups.setdefault((scales[name], matrix, is_spread(parameter), hidden), {})[name] = parameter
    return [
        {
            "params": list(groups[key].values()),
            "names": list(groups[key]),
            "weight_decay": weight_decay if key[1] else 0.0,
            "lr_scale": key[0],
            "muon": key[3],
        }
        for key in sorted(groups, reverse=True)
    ]


def layer_scales(names: list[str], decay: float) -> dict[str, float]:
    """Return the factor of each parameter's learning rate, lower towards the input of its tower, as BEiT has it."""
    if decay == 1:
        return dict.fromkeys(names, 1.0)
    block = {name: int(match[1]) for name in names if (match := BLOCK.search(name))}
    depth = {tower: 1 + max((i for n, i in block.items() if _tower(n) == tower), default=-1) for tower in _TOWERS}
    if not all(depth[_tower(name)] for name in names if name not in block and _STEM.search(name)):
        raise InputError("train.layer_decay needs towers of blocks, such as a ViT's; set it to 1")
    scales = {}
    for name in names:
        n = depth[_tower(name)]
        power = n - block[name] if name in block else (n + 1 if _STEM.search(name) else 0)  # of n blocks, from 0
        scales[name] = decay**power
    return scales


def _tower(name: str) -> str:
    return "visual" if name.startswith("visual.") else "text"


class Encoded:
    """Features of some rows of a batch, encoded in parts, with the gradient of the whole batch (Gao et al. 2021).

    A contrastive loss compares all pairs of a batch, so it cannot be summed over parts of it. But it needs the features
    alone: they are computed part by part without a graph, the loss gives their gradient, and a second pass over the
    same parts brings that into the parameters: https://arxiv.org/abs/2101.06983. Memory holds the activations of one.
    """

    def __init__(self, encode: Callable[[slice], torch.Tensor], rows: slice, part_size: int, n_parts: int = 1) -> None:
        self.encode, self.graph = encode, None
        n = rows.stop - rows.start
        step = part_size or max(1, n)
        starts = range(rows.start, rows.stop, step)
        self.parts = [slice(start, min(start + step, rows.stop)) for start in starts]
        self.n_idle = max(0, n_parts - len(self.parts))  # processes have to encode equally often
        self.parts += [slice(0, 1)] * self.n_idle
        if len(self.parts) == 1:
            self.graph = encode(self.parts[0])
            self.values = self.graph.detach()[:n]
        else:
            with torch.no_grad():
                self.values = torch.cat([encode(part) for part in self.parts])[:n]

    def backward(self, gradient: torch.Tensor) -> None:
        """Add the parameters' gradients, given that of the features of the whole batch, (B, D)."""
        for i, part in enumerate(self.parts, start=1):
            features = self.encode(part) if self.graph is None else self.graph
            idle = i > len(self.parts) - self.n_idle
            features.backward(torch.zeros_like(features) if idle else gradient[part])


class Optimizer:
    """AdamW, or Muon for the blocks' matrices, with gradient scaler and, with ``train.ema_decay``, an average.

    Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) steps along the orthogonal matrix next to the
    gradient's momentum, scaled to the length of AdamW's steps, so that both share rate and decay.
    fp16 ends at 65,504 and rounds what is under 6e-8 to 0: the loss is multiplied by a power of two, and the gradients
    are divided by it (Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740). Gradients that overflow halve it.
    """

    def __init__(self, model: torch.nn.Module, cfg: TrainConfig, features: bool, heads: torch.nn.Module) -> None:
        by_muon = cfg.optimizer == "muon"
        groups = parameter_groups(model, cfg.weight_decay, features, heads, cfg.layer_decay, by_muon)
        rest = [group for group in groups if not group["muon"]]
        adamw = torch.optim.AdamW(rest, betas=(cfg.beta1, cfg.beta2), eps=cfg.eps, fused=True, foreach=False)
        self.optimizers = {"adamw": adamw}
        if hidden := [group for group in groups if group["muon"]]:
            self.optimizers["muon"] = torch.optim.Muon(hidden, adjust_lr_fn="match_rms_adamw")
        self.parameters = list(self.named().values())
        self.spread = [p for p in self.parameters if is_spread(p)]
        self.own = [p for p in self.parameters if not is_spread(p)]
        self.grad_clip, self.ema_decay, self.n_skipped = cfg.grad_clip, cfg.ema_decay, 0
        self.average = [p.detach().clone() for p in self.parameters] if cfg.ema_decay > 0 else []
        self.scaler = torch.amp.GradScaler(
            model.logit_scale.device.type, init_scale=INITIAL_SCALE, enabled=cfg.precision == "fp16"
        )

    def named(self) -> dict[str, torch.nn.Parameter]:
        """Return `parameters` by their names, in order."""
        return {
            name: p
            for optimizer in self.optimizers.values()
            for group in optimizer.param_groups
            for name, p in zip(group["names"], group["params"], strict=True)
        }

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients of a loss anew, scaled under fp16; more may be added to them before `step`."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        self.scaler.scale(loss).backward()

    def step(self, lr: float) -> float:
        """Change the parameters by their gradients, unless they are not finite; return their norm before clipping."""
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = lr * group["lr_scale"]
            self.scaler.unscale_(optimizer)
        norm = self._gradient_norm()
        if not (norm.isfinite() or self.scaler.is_enabled()):
            return norm.item()
        if self.grad_clip > 0:
            for parameters in (self.own, self.spread):
                torch.nn.utils.clip_grads_with_norm_(parameters, self.grad_clip, norm)
        scale = self.scaler.get_scale()
        for optimizer in self.optimizers.values():
            self.scaler.step(optimizer)
        self.scaler.update()
        self.n_skipped += self.scaler.get_scale() < scale
        return norm.item()

    def _gradient_norm(self) -> torch.Tensor:
        """Return the length of the gradient of all parameters, (); the same in each process."""
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.own if p.grad is not None])
        if not self.spread:
            return norm
        shares = [p.grad.to_local() for p in self.spread if p.grad is not None]
        squares = torch.nn.utils.get_total_norm(shares).to(norm.device) ** 2
        return (norm**2 + add_up(squares)).sqrt()

    @torch.no_grad()
    def update_average(self) -> None:
        """Move the average towards the parameters: average = decay * average + (1 - decay) * parameters."""
        for mean, p in zip(self.average, self.parameters, strict=bool(self.average)):
            mean.lerp_(p, 1 - self.ema_decay)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the model its averaged weights, where there are any, for the time of the context."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        """Exchange the parameters and their average."""
        for mean, p in zip(self.average, self.parameters, strict=bool(self.average)):
            value = p.detach().clone()
            p.copy_(mean)
            mean.copy_(value)

    @torch.no_grad()
    def finish(self) -> None:
        """Leave the averaged weights in the model, where there are any."""
        for mean, p in zip(self.average, self.parameters, strict=bool(self.average)):
            p.copy_(mean)

    def state_dict(self) -> dict:
        """Return what a checkpoint holds; by the names of parameters, so that other groups of them can load it."""
        named = self.named()
        return {
            "scaler": self.scaler.state_dict(),
            "n_skipped": self.n_skipped,
            "average": dict(zip(named, self.average, strict=False)),  # none, or all
        } | {
            kind: {name: optimizer.state[p] for name, p in named.items() if p in optimizer.state}
            for kind, optimizer in self.optimizers.items()
        }

    def load_state_dict(self, state: dict) -> None:
        """Go back to a checkpoint."""
        for kind, optimizer in self.optimizers.items():
            names = [name for group in optimizer.param_groups for name in group["names"]]
            moments = {
                i: {key: alike(value, self.named()[name]) for key, value in state[kind].get(name, {}).items()}
                for i, name in enumerate(names)
            }
            optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
        self.n_skipped = state["n_skipped"]
        for name, mean in zip(self.named(), self.average, strict=False):
            mean.copy_(alike(state["average"][name], mean))
