"""Other ways to train the same towers: through low-rank factors of their matrices, compiled, by another attention.

Takes a model; within `low_rank` (Hu et al. 2021, https://arxiv.org/abs/2106.09685, with alpha / r at 1) its attention
and MLP matrices, that of queries, keys and values as one, carry factors; within `compiled` its towers are called
through `torch.compile`; afterwards it is as it was, with trained weights. Refuses a tower without such matrices.
"""

import contextlib
import re
import warnings
from collections.abc import Iterator

import torch
from torch._dynamo.exc import TorchDynamoException
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrize

from ..errors import InputError

BLOCK = re.compile(r"\b(?:resblocks|blocks)\.(\d+)\.")  # of open_clip's, and of timm's towers
COMPILER = "inductor"
_FEW_TOKENS = 128  # on a CPU in bf16 the fused attention's way back takes 8 times as long as products of so few
_TRAINED = ("logit_scale", "logit_bias", "text_projection", "text.text_projection", "visual.proj", "visual.head.")


class LowRank(torch.nn.Module):
    """The sum of a matrix (out, in) and ``up @ down``; 0 at first, as ``up`` is."""

    def __init__(self, weight: torch.Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        n_out, n_in = weight.shape
        down = torch.randn(rank, n_in, generator=generator) / n_in**0.5
        self.down = torch.nn.Parameter(down.to(weight.device))
        self.up = torch.nn.Parameter(weight.new_zeros(n_out, rank))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the adapted matrix, in float32 under autocast too."""
        with torch.autocast(weight.device.type, enabled=False):
            return weight + self.up @ self.down  # (out, r) @ (r, in) -> (out, in)


@contextlib.contextmanager
def low_rank(model: torch.nn.Module, rank: int, seed: int, frozen_image_tower: bool = False) -> Iterator[None]:
    """Train projections, and factors of the blocks' matrices that are merged at the end; at a rank of 0 do nothing."""
    if rank <= 0:
        yield
        return
    wanted = {name: p.requires_grad for name, p in model.named_parameters()}
    adapted = list(_matrices(model, frozen_image_tower))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(wanted[name] and name.startswith(_TRAINED))
    for module, name in adapted:
        parametrize.register_parametrization(module, name, LowRank(getattr(module, name), rank, generator))
    try:
        yield
    finally:
        for module, name in adapted:
            parametrize.remove_parametrizations(module, name)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(wanted.get(name, True))  # an objective may have added its own


def _matrices(model: torch.nn.Module, frozen_image_tower: bool) -> Iterator[tuple[torch.nn.Module, str]]:
    """Yield the modules in blocks of the towers, with the name of their matrix."""
    found = {"image": 0, "text": 0}
    for path, module in model.named_modules():
        tower = "image" if path.startswith("visual.") else "text"
        if not BLOCK.search(f"{path}.") or (frozen_image_tower and tower == "image"):
            continue
        name = "in_proj_weight" if isinstance(module, torch.nn.MultiheadAttention) else "weight"
        if isinstance(module, torch.nn.MultiheadAttention | torch.nn.Linear) and getattr(module, name) is not None:
            found[tower] += 1
            yield module, name
    if not found["text"] or not (found["image"] or frozen_image_tower):
        raise InputError("train.lora_rank needs towers of transformer blocks; set it to 0, or choose a ViT")


def quick_attention(n_tokens: int, device: torch.device) -> contextlib.AbstractContextManager:
    """Return the context in which attention over so many tokens is trained fastest: under bf16 on a CPU, unfused."""
    lowered = device.type == "cpu" and torch.is_autocast_enabled("cpu")
    return sdpa_kernel(SDPBackend.MATH) if lowered and n_tokens <= _FEW_TOKENS else contextlib.nullcontext()


def n_patches(visual: torch.nn.Module) -> int:
    """Return how many tokens an image tower sees of an image; 0 where it has no attention."""
    table = getattr(visual, "positional_embedding", getattr(getattr(visual, "trunk", None), "pos_embed", None))
    return 0 if table is None else table.shape[-2]


@contextlib.contextmanager
def compiled(model: torch.nn.Module, enabled: bool) -> Iterator[None]:
    """Compile both towers for a time (other rounding: no resume to the bit); where that fails, warn and go on."""
    if not enabled:
        yield
        return
    towers = [model.visual, model.text if hasattr(model, "text") else model.transformer]

    def undo() -> None:
        for tower in towers:
            tower._compiled_call_impl = None

    for tower in towers:
        tower.compile(backend=COMPILER)
        tower._compiled_call_impl = _or_eager(tower, tower._compiled_call_impl, undo)
    try:
        yield
    finally:
        undo()


def _or_eager(tower: torch.nn.Module, call, undo):
    """Return a call of a compiled tower that, where compiling fails, undoes it for all towers and goes on."""

    def guarded(*args, **kwargs):
        try:
            return call(*args, **kwargs)
        except TorchDynamoException as error:
            undo()
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
            warnings.warn(f"torch.compile failed ({reason}); training goes on without it", stacklevel=2)
            return tower(*args, **kwargs)

    return guarded
