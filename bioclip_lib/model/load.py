"""Models by one string: open_clip's, the hub's, runs of ours, and towers that see but do not read.

Takes an address; returns the model with its own preprocessing, and its tokenizer where it has a text tower; or takes a
model and exports it as a folder that open_clip loads. Refuses addresses that do not load, and checkpoints that would
have to be unpickled.
"""

import difflib
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import open_clip
import torch
from open_clip.model import CLIP, set_model_preprocess_cfg
from open_clip.transform import PreprocessCfg, image_transform_v2
from safetensors.torch import save_file

from ..config import ModelConfig
from ..errors import InputError
from ..run import atomic, file_sha256
from .pretrained import CHECK_SUMS, create_pretrained, loading_error, split_address
from .towers import LITES, feature_precision, load_lite_trunk, model_config_dict, place, preprocess_config_dict

_TIMM = "timm:"
_RUN = "run:"
_WEIGHTS = "open_clip_model.safetensors"


@dataclass(frozen=True)
class LoadedModel:
    """A model with image transform, tokenizer (None without a text tower), where it came from, and `model_digest`."""

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
    """Tell from its address whether a model has no text tower."""
    return address in LITES or address.startswith(_TIMM)


def load_model(address: str) -> LoadedModel:
    """Load a model with its preprocessing and tokenizer.

    Parameters
    ----------
    address : str
        ``local-dir:<folder>`` (open_clip's layout), ``run:<folder>`` (a run of ours), ``hf-hub:<owner>/<name>``,
        ``<open_clip name>:<pretrained tag>``; without text tower ``timm:<name>`` (whatever timm loads with pretrained
        weights, ``timm:local-dir:<folder>`` among it) or ``efficientnet-lite0`` (or ``-lite2``: of its Python package).

    Returns
    -------
    LoadedModel
        In evaluation mode, float32, on `default_device`.

    Raises
    ------
    InputError
        If the address is of no such form or names nothing, if the weights cannot be downloaded or are of another
        architecture, or if the checkpoint would have to be unpickled.

    Notes
    -----
    The short edge of an image becomes the size that the tower takes: timm's margin around the crop is left out.

    Examples
    --------
    >>> load_model("efficientnet-lite0").tokenizer is None
    True
    """
    model, tokenizer = (_vision_model if is_vision_only(address) else _clip_model)(address)
    return LoadedModel(place(model), image_transform(model), tokenizer, address, model_digest(model))


def image_transform(model: torch.nn.Module) -> Callable:
    """Return a model's own evaluation transform, from a PIL image to a Tensor (3, S, S)."""
    return image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)


def check_address(address: str) -> None:
    """Raise `InputError` for the address of a model that is not there, as far as that is known without the network."""
    if address in LITES:
        return
    if not address.startswith(_TIMM):
        split_address(_local(address))
        return
    import timm

    name = address.removeprefix(_TIMM)
    if ":" not in name and not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(pretrained=True)) or ["see timm.list_models()"]
        raise InputError(f"timm has no model {name!r} (near: {', '.join(near)}); choose one of timm's")


def _local(address: str) -> str:
    """Return the address of a run's exported model as ``local-dir:<folder>``, any other as it is."""
    if not address.startswith(_RUN):
        return address
    folder = Path(address.removeprefix(_RUN)).expanduser() / "model"
    if not folder.is_dir():
        raise InputError(
            f"{folder} does not exist; give a finished run, or finish it: make reproduce RUN={folder.parent}"
        )
    return f"local-dir:{folder}"


def _clip_model(address: str) -> tuple[torch.nn.Module, Callable]:
    """Load an image and a text tower with their tokenizer."""
    address = _local(address)
    name, _ = split_address(address)
    if address.endswith(":"):
        raise InputError(f"{address!r} names no weights; give a pretrained tag behind the colon")
    return create_pretrained(address), open_clip.get_tokenizer(name)


def _vision_model(address: str) -> tuple[VisionModel, None]:
    """Load an image tower that has no text tower."""
    if address in LITES:
        trunk = load_lite_trunk(address)
        trunk.reset_classifier(0)
        return VisionModel(trunk, preprocess_config_dict(ModelConfig(image_tower=address, image_size_px=224))), None
    import timm

    check_address(address)
    try:
        trunk = timm.create_model(address.removeprefix(_TIMM), pretrained=True, num_classes=0)
    except Exception as error:  # as in `create_pretrained`
        raise loading_error(address, error) from error
    data = timm.data.resolve_model_data_config(trunk)
    cfg = {"size": data["input_size"][1:], **{key: data[key] for key in ("mean", "std", "interpolation")}}
    return VisionModel(trunk, {**cfg, "mode": "RGB", "resize_mode": "shortest", "fill_color": 0}), None


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
        The folder, for ``open_clip.create_model_and_transforms(f"local-dir:{folder}")`` anywhere. Its ``SHA256SUMS``
        is compared whenever it is loaded here; ``sha256sum --check`` does the same.
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
        sums = "".join(f"{file_sha256(path)}  {path.name}\n" for path in sorted(tmp.iterdir()))
        (tmp / CHECK_SUMS).write_text(sums, encoding="utf-8")
    return folder


def model_digest(model: torch.nn.Module) -> str:
    """Return the SHA-256 of a model's state: names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def preprocess_digest(model: torch.nn.Module, precision: str = "fp32") -> str:
    """Return the SHA-256 of a model's image preprocessing (size, interpolation, normalisation) and lower precision."""
    used = feature_precision(model, precision)
    content = json.dumps(model.visual.preprocess_cfg, sort_keys=True) + (used if used != "fp32" else "")
    return hashlib.sha256(content.encode()).hexdigest()
