"""Models: tokenize, encode texts, export. Everything is open_clip's, in open_clip's formats.

Takes an `open_clip` model, as `model.towers` builds and `model.load` loads it; returns tokens, features,
or a folder that open_clip loads.
"""

import contextlib
import functools
import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import _torchvision_ops  # noqa: F401 (before open_clip and timm)

# isort: split
import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from safetensors.torch import save_file

from ..config import ModelConfig
from ..errors import InputError
from ..run import atomic
from .load import load_model, model_digest
from .towers import LITE0, build_model, count_parameters, image_trunk, model_config_dict, project

__all__ = [
    "LITE0",
    "autocast",
    "build_model",
    "compact_vocabulary",
    "count_parameters",
    "encode_tokens",
    "export_model",
    "image_trunk",
    "is_causal_clip",
    "load_model",
    "model_config_dict",
    "model_digest",
    "normalised",
    "project",
    "tokenize",
]

_WEIGHTS = "open_clip_model.safetensors"


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager:
    """Return the context of mixed precision: "fp32", "bf16", "fp16", or "auto" (bf16 where it is native, else fp32).

    Raises
    ------
    InputError
        For another precision, or fp16 on a device that does not compute in it.

    Notes
    -----
    Every CPU accepts bf16; one without the instructions emulates it, slower than float32 and no more exact. Matrix
    products are computed in bf16 or fp16 then; parameters, normalisation layers and losses stay in float32.
    """
    if precision not in ("auto", "fp32", "bf16", "fp16"):
        raise InputError(f"unknown precision {precision!r}; choose auto, fp32, bf16 or fp16")
    if precision == "fp16" and not _runs_fp16(device):
        raise InputError(f"precision fp16 does not run on {device.type}; choose auto, fp32 or bf16")
    use_bf16 = precision == "bf16" or (precision == "auto" and _has_bf16(device))
    if precision == "fp16" or use_bf16:
        return torch.autocast(device.type, torch.bfloat16 if use_bf16 else torch.float16)
    return contextlib.nullcontext()


def _has_bf16(device: torch.device) -> bool:
    """Tell whether the device has instructions for bf16 products."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@functools.cache
def _runs_fp16(device: torch.device) -> bool:
    """Tell, by trying, whether autocast to fp16 has an effect on the device; on some it only warns."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            context = torch.autocast(device.type, torch.float16)
        with context:
            x = torch.ones(2, 2, device=device)
            return (x @ x).dtype == torch.float16
    except RuntimeError:
        return False


@functools.cache
def _clip_tokenizer() -> open_clip.SimpleTokenizer:
    return open_clip.SimpleTokenizer()


def tokenize(texts: Sequence[str], context_length: int = 77) -> torch.Tensor:
    """Tokenize with CLIP's byte-pair vocabulary.

    Returns
    -------
    Tensor of shape (n, context_length), int64
        Start token, text (cut where too long), end token (the highest id), zeros.

    Notes
    -----
    0 is also the token of "!": a text's length is the position of its end token, not its count of non-zeros.

    Examples
    --------
    >>> tokenize(["a bird"], context_length=6).tolist()
    [[49406, 320, 3329, 49407, 0, 0]]
    """
    if not len(texts):
        return torch.zeros(0, context_length, dtype=torch.long)
    return _clip_tokenizer()(list(texts), context_length=context_length)


def encode_tokens(model: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Encode tokenized texts; as ``model.encode_text``, without computing the padding.

    Parameters
    ----------
    model : open_clip model
    tokens : Tensor of shape (n, context_length), int64

    Returns
    -------
    Tensor of shape (n, D)
        Not normalised; differentiable.

    Notes
    -----
    In a causal tower that pools at the end token, nothing after that token reaches the output, so cutting all texts
    after the longest is exact. Other towers take the whole context.
    """
    if not is_causal_clip(model):
        return model.encode_text(tokens)
    end = tokens.argmax(dim=-1)  # (n,); the end token has the highest id
    length = int(end.max()) + 1
    x = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]  # (n, L, W)
    x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    x = model.ln_final(x[torch.arange(len(x), device=x.device), end])  # (n, L, W) -> (n, W)
    return x @ model.text_projection  # (n, W) @ (W, D) -> (n, D)


def is_causal_clip(model: torch.nn.Module) -> bool:
    """Tell whether the text tower is CLIP's own: causal, pooled at the end token, projected by a matrix."""
    return (
        isinstance(model, CLIP)
        and model.text_pool_type == "argmax"
        and model.attn_mask is not None
        and isinstance(model.text_projection, torch.Tensor)
    )


@contextlib.contextmanager
def compact_vocabulary(model: torch.nn.Module, *tokens: np.ndarray | torch.Tensor) -> Iterator[list[torch.Tensor]]:
    """Shrink the token table to the tokens that occur; put the trained rows back at the end.

    Parameters
    ----------
    model : open_clip model
    *tokens : arrays of int64

    Yields
    ------
    list of Tensor
        The same tokens, renumbered in order (the end token keeps the highest number).

    Notes
    -----
    49,408 rows are most of a small model, and AdamW visits each at every step though captions use a few hundred.
    """
    tensors = [torch.as_tensor(array) for array in tokens]
    if not is_causal_clip(model):
        yield tensors
        return
    table = model.token_embedding
    occurs = torch.zeros(table.num_embeddings, dtype=torch.bool)
    for tensor in tensors:
        occurs[tensor.flatten()] = True
    used, row = occurs.nonzero()[:, 0], occurs.cumsum(0) - 1
    model.token_embedding = torch.nn.Embedding.from_pretrained(
        table.weight.detach()[used.to(table.weight.device)], freeze=False
    )
    try:
        yield [row[tensor] for tensor in tensors]
    finally:
        with torch.no_grad():
            table.weight[used.to(table.weight.device)] = model.token_embedding.weight
        model.token_embedding = table


def normalised(features: torch.Tensor) -> torch.Tensor:
    """Scale rows to unit length, in float32."""
    return F.normalize(features.float(), dim=-1)


def export_model(model: CLIP, config: ModelConfig, folder: str | Path) -> Path:
    """Write a model in open_clip's local directory layout.

    Parameters
    ----------
    model : open_clip.model.CLIP
        Of the architecture that `config` describes.
    config : ModelConfig
    folder : str or Path
        Written whole or not at all; an existing one is replaced.

    Returns
    -------
    Path
        The folder, for ``open_clip.create_model_and_transforms(f"local-dir:{folder}")`` anywhere.
    """
    folder = Path(folder)
    content = {"model_cfg": model_config_dict(config), "preprocess_cfg": model.visual.preprocess_cfg}
    if getattr(model, "logit_bias", None) is not None:  # of a sigmoid loss
        content["model_cfg"]["init_logit_bias"] = model.logit_bias.item()
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with atomic(folder) as tmp:
        tmp.mkdir()
        (tmp / "open_clip_config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        save_file(state, tmp / _WEIGHTS, metadata={"format": "pt"})
    return folder
