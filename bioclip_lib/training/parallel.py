"""Training in several processes that `torchrun` starts: who they are, which rows each takes, and sums over them.

Without `torchrun` there is one process, and everything here does nothing. Tensors of all sizes go through one
collective, a sum; a process that ends or falls silent ends the others with an `InputError`.
"""

import atexit
import contextlib
import datetime
import os
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.distributed as dist

from ..errors import InputError

LOST = "another training process ended or fell silent"
TIMEOUT_S = 600  # longest wait for another process: its checkpoint, its validation


class World(NamedTuple):
    """The number of a process and how many there are; the first one, 0, writes files."""

    rank: int
    size: int


def world() -> World:
    """Return which of how many processes this one is; (0, 1) without `torchrun`."""
    if not dist.is_torchelastic_launched():
        return World(0, 1)
    return World(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


@contextlib.contextmanager
def joined(device: torch.device, timeout_s: float = TIMEOUT_S) -> Iterator[World]:
    """Connect the processes of `torchrun`, once for their life: by nccl between GPUs, by gloo between CPUs.

    Raises
    ------
    InputError
        If another one cannot be reached within the timeout.
    """
    here = world()
    if here.size == 1 or dist.is_initialized():
        yield here
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with _peers_named():
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=datetime.timedelta(seconds=timeout_s))
    atexit.register(dist.destroy_process_group)  # not after each training: a second meeting would find old addresses
    yield here


@contextlib.contextmanager
def _peers_named() -> Iterator[None]:
    """Turn the error of a lost connection into an `InputError`."""
    try:
        yield
    except RuntimeError as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise InputError(f"{LOST} ({reason}); see its own message, then start all again with resume=True") from error


def own_rows(n: int) -> slice:
    """Return the rows that this process takes of n: consecutive, shares that differ by one at most.

    Examples
    --------
    >>> own_rows(5)
    slice(0, 5, None)
    """
    rank, size = world()
    return slice(n * rank // size, n * (rank + 1) // size)


def add_up(values: torch.Tensor) -> torch.Tensor:
    """Replace a tensor, in place, by its sum over the processes; all must give the same shape."""
    if world().size > 1:
        with _peers_named():
            dist.all_reduce(values)
    return values


def gather_rows(values: torch.Tensor, rows: slice, n: int) -> torch.Tensor:
    """Put together what the processes hold of n rows: from (b, D), the rows at `rows`, to (n, D)."""
    if world().size == 1:
        return values
    whole = values.new_zeros(n, values.shape[1])
    whole[rows] = values
    return add_up(whole)


def add_up_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """Sum gradients over the processes, in place, in one message; a gradient that one process lacks is 0 there."""
    if world().size == 1:
        return
    device = parameters[0].device
    used = add_up(torch.tensor([float(p.grad is not None) for p in parameters], device=device)).tolist()
    parameters = [p for p, n in zip(parameters, used, strict=True) if n]
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])
    add_up(flat)
    for p, gradient in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        p.grad = gradient.view_as(p)


def check_agreement(content: object, what: str) -> None:
    """Refuse processes whose `content`, plain data, differs from the first one's."""
    here = world()
    if here.size == 1:
        return
    found: list = [None] * here.size
    with _peers_named():
        dist.all_gather_object(found, content)
    if any(other != found[0] for other in found):
        raise InputError(f"the processes differ in {what}; give all of them the same data, seed and run directory")
