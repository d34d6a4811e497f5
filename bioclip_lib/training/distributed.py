"""Training in several processes that `torchrun` starts: their rows, their sums, and weights spread over them.

Without `torchrun` there is one process, and everything here does nothing. Tensors of all sizes go through one
collective, a sum; a process that ends or falls silent ends the others with an `InputError`. Within `sharded` each
process keeps a share of the blocks of both towers (FSDP, Zhao et al. 2023, https://arxiv.org/abs/2304.11277), gathered
one by one as they are needed, by all processes equally often; the copy's other weights stay whole in each, and the
model itself waits in the memory of the CPU for the trained weights.
"""

import atexit
import contextlib
import copy
import datetime
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from ..config import TrainConfig
from ..errors import InputError

LOST = "another training process ended or fell silent"
TIMEOUT_S = 600  # longest wait for another process: its checkpoint, its validation
_STACKS = re.compile(r"(?:.*\.)?(?:resblocks|blocks)")  # of blocks, in open_clip's, and in timm's towers


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
    """Connect the processes of `torchrun`, once for their life: by nccl between GPUs, by gloo between CPUs."""
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
    """Return the rows that this process takes of n: consecutive, shares that differ by one at most."""
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
    gathered = values.new_zeros(n, values.shape[1])
    gathered[rows] = values
    return add_up(gathered)


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


@contextlib.contextmanager
def sharded(model: torch.nn.Module, cfg: TrainConfig) -> Iterator[torch.nn.Module]:
    """Give the model to train: itself, or with ``train.shard`` a copy whose blocks are spread over the processes."""
    if not cfg.shard or world().size == 1:
        yield model
        return
    if cfg.compile or cfg.precision == "fp16":
        raise InputError("train.shard goes neither with train.compile nor with fp16; set train.precision=bf16")
    device = model.logit_scale.device
    trained = copy.deepcopy(model).to(memory_format=torch.contiguous_format)  # channels last cannot be spread
    model.cpu()
    try:
        _spread(trained, device)
        yield trained
        model.logit_bias = trained.logit_bias  # an objective may have added it
        model.load_state_dict(whole(trained.state_dict()))
    finally:
        model.to(device)


def _spread(model: torch.nn.Module, device: torch.device) -> None:
    """Spread each block, and each stack of blocks with what is left of it, over the processes."""
    mesh = init_device_mesh(device.type, (world().size,))
    stacks = [path for path, _ in model.named_modules() if _STACKS.fullmatch(path)]
    if not stacks:
        raise InputError("train.shard needs towers of blocks, such as a ViT's; set it to false")
    for path in stacks:
        for module in (*model.get_submodule(path), model.get_submodule(path.rpartition(".")[0])):
            fully_shard(module, mesh=mesh, reshard_after_forward=True)
            module.set_gradient_divide_factor(1.0)  # a sum, not a mean
            module.set_force_sum_reduction_for_comms(True)  # gloo has no other


def is_spread(tensor: torch.Tensor) -> bool:
    """Tell whether a tensor is spread over the processes."""
    return isinstance(tensor, DTensor)


def whole(state: object, keep: bool = True) -> object:
    """Gather to the CPU what is spread in dicts and lists, by all processes; one that does not `keep` it has None."""
    if isinstance(state, dict):
        return {key: whole(value, keep) for key, value in state.items()}
    if isinstance(state, list):
        return [whole(value, keep) for value in state]
    if not is_spread(state):
        return state
    tensor = state.full_tensor()
    return tensor.cpu() if keep else None


def alike(value: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Spread a whole tensor that every process has as `other` of its shape is, if that is."""
    if not is_spread(other) or value.shape != other.shape:
        return value
    value = value.to(other.to_local())  # its device and dtype
    return distribute_tensor(value, other.device_mesh, other.placements, src_data_rank=None)
