"""Weights spread over the processes of `torchrun` (FSDP2): each keeps a share of the blocks of both towers.

Takes a model; within `sharded` a copy of it is trained whose blocks are gathered one by one, as they are needed, so
that weights, gradients and AdamW's averages of a large tower take memory once over all processes, not once in each.
"""

import contextlib
import copy
import re
from collections.abc import Iterator

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from ..config import TrainConfig
from ..errors import InputError
from .parallel import world

_BLOCKS = re.compile(r"(?:.*\.)?(?:resblocks|blocks)")  # of open_clip's, and of timm's towers


@contextlib.contextmanager
def sharded(model: torch.nn.Module, cfg: TrainConfig) -> Iterator[torch.nn.Module]:
    """Give the model to train; with ``train.shard`` and several processes a copy whose blocks are spread over them.

    Parameters
    ----------
    model : open_clip model
        Gets the trained weights at the end; meanwhile it waits in the memory of the CPU.
    cfg : TrainConfig

    Yields
    ------
    torch.nn.Module
        The model itself where nothing is spread. Of the copy, the parameters of open_clip's blocks, and all of a timm
        trunk that holds blocks directly, are `DTensor`, whose gradients are summed over the processes as they arise;
        the rest stays whole in each process.

    Raises
    ------
    InputError
        For a model without blocks, or with settings that do not go together with spread weights.

    Notes
    -----
    All processes have to encode equally often: a block is gathered from all of them. Zhao et al. 2023,
    https://arxiv.org/abs/2304.11277, as ``torch.distributed.fsdp.fully_shard``.
    """
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
    stacks = [path for path, _ in model.named_modules() if _BLOCKS.fullmatch(path)]
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
    """Gather what is spread in a state of dicts and lists, to the CPU; all processes have to take part.

    One that does not `keep` the result has None in its places.
    """
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
