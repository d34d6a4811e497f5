"""Models by one string: open_clip's, the hub's, runs of ours, and towers that see but do not read.

Takes an address; returns the model with its own preprocessing, and its tokenizer where it has a text tower. Refuses
addresses that do not load, and checkpoints that would have to be unpickled.
"""

import difflib
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import _torchvision_ops  # noqa: F401 (before open_clip and timm)

# isort: split
import open_clip
import torch
from open_clip.model import set_model_preprocess_cfg
from open_clip.transform import PreprocessCfg, image_transform_v2

from .config import ModelConfig
from .errors import InputError
from .towers import LITE0, load_lite0_trunk, place, preprocess_config_dict

_TIMM = "timm:"
_FORMS = (
    '"local-dir:<folder>", "run:<folder of a run>", "hf-hub:<owner>/<name>", "<open_clip name>:<pretrained tag>", '
    f'"timm:<timm name>" or "{LITE0}"'
)


@dataclass(frozen=True)
class LoadedModel:
    """A model with what belongs to it: image transform, tokenizer, where it came from and its `model_digest`.

    A model without a text tower has no tokenizer, None: it can be asked few-shot only.
    """

    model: torch.nn.Module
    preprocess: Callable
    tokenizer: Callable | None
    address: str
    digest: str


class VisionModel(torch.nn.Module):
    """An image tower alone, where open_clip's models have it: ``visual.trunk``, preprocessing in ``visual``."""

    def __init__(self, trunk: torch.nn.Module, preprocess_cfg: dict) -> None:
        super().__init__()
        self.visual = torch.nn.Module()
        self.visual.trunk = trunk
        set_model_preprocess_cfg(self, preprocess_cfg)


def is_vision_only(address: str) -> bool:
    """Tell from its address whether a model has no text tower.

    Examples
    --------
    >>> is_vision_only("timm:vit_small_patch14_dinov2.lvd142m"), is_vision_only("ViT-B-16:openai")
    (True, False)
    """
    return address == LITE0 or address.startswith(_TIMM)


def load_model(address: str) -> LoadedModel:
    """Load a model with its preprocessing and tokenizer.

    Parameters
    ----------
    address : str
        ``local-dir:<folder>`` (open_clip's layout), ``run:<folder>`` (a run of ours), ``hf-hub:<owner>/<name>``,
        ``<open_clip name>:<pretrained tag>``; without text tower ``timm:<name>`` (whatever timm loads with pretrained
        weights, ``timm:local-dir:<folder>`` among it) or ``efficientnet-lite0`` (of its Python package).

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
    open_clip itself only warns where a hub model's weights cannot be fetched, and goes on with random ones. The short
    edge of an image becomes the size that the tower takes: timm's margin around the centre crop is left out.
    """
    try:
        model, tokenizer = (_vision_model if is_vision_only(address) else _clip_model)(address)
    except InputError:
        raise
    except Exception as error:  # hub, JSON, shape, unpickling: each library has its own exceptions
        raise InputError(f"{address} cannot be loaded ({_first_line(error)}); {_advice(address)}") from error
    return LoadedModel(place(model), image_transform(model), tokenizer, address, model_digest(model))


def image_transform(model: torch.nn.Module) -> Callable:
    """Return a model's own evaluation transform, from a PIL image to a Tensor (3, S, S)."""
    return image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)


def _clip_model(address: str) -> tuple[torch.nn.Module, Callable]:
    """Load an image and a text tower with their tokenizer."""
    name, pretrained = _split_address(address)
    return open_clip.create_model(name, pretrained, require_pretrained=True), open_clip.get_tokenizer(name)


def _vision_model(address: str) -> tuple[VisionModel, None]:
    """Load an image tower that has no text tower."""
    if address == LITE0:
        trunk = load_lite0_trunk()
        trunk.reset_classifier(0)
        return VisionModel(trunk, preprocess_config_dict(ModelConfig(image_tower=LITE0, image_size_px=224))), None
    import timm

    name = address.removeprefix(_TIMM)
    if ":" not in name and not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(pretrained=True)) or ["see timm.list_models()"]
        raise InputError(f"timm has no model {name!r} (near: {', '.join(near)}); give {_FORMS}")
    trunk = timm.create_model(name, pretrained=True, num_classes=0)
    data = timm.data.resolve_model_data_config(trunk)
    cfg = {"size": data["input_size"][1:], **{key: data[key] for key in ("mean", "std", "interpolation")}}
    return VisionModel(trunk, {**cfg, "mode": "RGB", "resize_mode": "shortest", "fill_color": 0}), None


def _split_address(address: str) -> tuple[str, str | None]:
    """Return open_clip's model name and pretrained tag of an address, checked as far as the disk can tell."""
    schema, _, rest = address.partition(":")
    if not rest:
        raise InputError(f"{address!r} is not a model's address; give {_FORMS}")
    if schema == "hf-hub":
        return address, None
    if schema in ("local-dir", "run"):
        folder = Path(rest).expanduser() / ("model" if schema == "run" else "")
        if not (folder / "open_clip_config.json").is_file():
            wanted = "run 03_training first" if schema == "run" else "give a folder that export_model wrote"
            raise InputError(f"{folder} holds no open_clip_config.json; {wanted}")
        return f"local-dir:{folder}", None
    if schema not in open_clip.list_models():
        near = difflib.get_close_matches(schema, open_clip.list_models()) or ["see open_clip.list_models()"]
        raise InputError(f"unknown model {schema!r} in {address!r} (near: {', '.join(near)}); give {_FORMS}")
    tags = open_clip.list_pretrained_tags_by_model(schema)
    if rest not in tags and not Path(rest).is_file():
        raise InputError(f"{schema} has no pretrained tag {rest!r}; there is {', '.join(tags) or 'none'}")
    return schema, rest


def _advice(address: str) -> str:
    """Return the next action after a failure to load."""
    if address.startswith(("local-dir:", "run:")):
        return "export it again; the folder must hold open_clip_config.json and plain safetensors weights"
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "on", "yes", "true"):
        return "HF_HUB_OFFLINE is set: unset it, or give a model that is on this disk as local-dir:<folder>"
    return "check the name and the network, or give a model that is on this disk as local-dir:<folder>"


def _first_line(error: Exception) -> str:
    """Return the first line of an exception's message, at most 200 characters."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def model_digest(model: torch.nn.Module) -> str:
    """Return the SHA-256 of a model's state: names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
