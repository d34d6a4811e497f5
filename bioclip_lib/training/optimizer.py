"""From gradients to weights: AdamW over the groups of `schedule.parameter_groups`, clipping, fp16's scaled loss, and a
moving average of the weights.

Takes a model and `TrainConfig`; changes the trained parameters in place. With fp16 a step whose gradient is not finite
is left out and counted, and the scale halved; with the other precisions nothing is scaled.
"""

import contextlib
from collections.abc import Iterator

import torch

from ..config import TrainConfig
from ..errors import InputError
from .parallel import add_up
from .schedule import parameter_groups
from .sharding import alike, is_spread

INITIAL_SCALE = 2.0**16


class Optimizer:
    """AdamW with its gradient scaler and, with ``train.ema_decay``, the average of what it trains.

    Parameters
    ----------
    model : open_clip model
    cfg : TrainConfig
    features : bool
        Of the image tower train its head alone.
    heads : torch.nn.Module
        Classifiers on the image features, maybe none.

    Raises
    ------
    InputError
        For a decay, of layers or of the average, out of its range.

    Attributes
    ----------
    parameters : list of Parameter
        What is trained.
    spread, own : list of Parameter
        Those of it that are spread over the processes, and those that each process has.
    n_skipped : int
        Steps left out because a gradient in fp16 was not finite.
    average : list of Tensor
        The moving average of `parameters`, from their values at the start; empty without.

    Notes
    -----
    fp16 ends at 65,504 and rounds what is under 6e-8 to 0. The loss is therefore multiplied by a power of two, 65,536
    at first, and the gradients are divided by it before they are used (Micikevicius et al. 2018,
    https://arxiv.org/abs/1710.03740). Gradients that overflow halve it; 2,000 steps without double it.
    """

    def __init__(self, model: torch.nn.Module, cfg: TrainConfig, features: bool, heads: torch.nn.Module) -> None:
        if not 0 <= cfg.ema_decay < 1:
            raise InputError(
                f"train.ema_decay is {cfg.ema_decay:g}; give a number below 1, such as 0.999, or 0 for none"
            )
        groups = parameter_groups(model, cfg.weight_decay, features, heads, cfg.layer_decay)
        self.parameters = [p for group in groups for p in group["params"]]
        self.spread = [p for p in self.parameters if is_spread(p)]
        self.own = [p for p in self.parameters if not is_spread(p)]
        self.grad_clip, self.ema_decay, self.n_skipped = cfg.grad_clip, cfg.ema_decay, 0
        self.average = [p.detach().clone() for p in self.parameters] if cfg.ema_decay > 0 else []
        self.adamw = torch.optim.AdamW(
            groups, lr=cfg.lr, betas=(cfg.beta1, cfg.beta2), eps=cfg.eps, fused=True, foreach=False
        )
        self.scaler = torch.amp.GradScaler(
            model.logit_scale.device.type, init_scale=INITIAL_SCALE, enabled=cfg.precision == "fp16"
        )

    def named(self) -> dict[str, torch.nn.Parameter]:
        """Return `parameters` by their names, in order."""
        names = [name for group in self.adamw.param_groups for name in group["names"]]
        return dict(zip(names, self.parameters, strict=True))

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients of a loss anew, scaled under fp16; more may be added to them before `step`."""
        self.adamw.zero_grad()
        self.scaler.scale(loss).backward()

    def step(self, lr: float) -> float:
        """Change the parameters by their gradients, at a learning rate; return the gradient's norm before clipping.

        Where that is not finite nothing is changed; fp16 then goes on with a smaller scale.
        In several processes the gradients are summed before, so that all of them skip the same steps.
        """
        for group in self.adamw.param_groups:
            group["lr"] = lr * group["lr_scale"]
        self.scaler.unscale_(self.adamw)
        norm = self._gradient_norm()
        if not (norm.isfinite() or self.scaler.is_enabled()):
            return norm.item()
        if self.grad_clip > 0:
            for parameters in (self.own, self.spread):
                torch.nn.utils.clip_grads_with_norm_(parameters, self.grad_clip, norm)
        scale = self.scaler.get_scale()
        self.scaler.step(self.adamw)
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
        return {
            "adamw": {name: self.adamw.state[p] for name, p in self.named().items() if p in self.adamw.state},
            "scaler": self.scaler.state_dict(),
            "n_skipped": self.n_skipped,
            "average": dict(zip(self.named(), self.average, strict=False)),  # none, or all
        }

    def load_state_dict(self, state: dict) -> None:
        """Go back to a checkpoint."""
        moments = {
            i: {key: alike(value, p) for key, value in state["adamw"].get(name, {}).items()}
            for i, (name, p) in enumerate(self.named().items())
        }
        self.adamw.load_state_dict({**self.adamw.state_dict(), "state": moments})
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
        self.n_skipped = state["n_skipped"]
        for name, mean in zip(self.named(), self.average, strict=False):
            mean.copy_(alike(state["average"][name], mean))
