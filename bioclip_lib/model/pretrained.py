"""Published models as starting points: architecture and weights of open_clip, by name and tag, hub or folder.

Takes an address, or the `name` and `pretrained` of a `ModelConfig`; returns open_clip's configuration or model.
Refuses addresses that do not load, weights of another architecture, and checkpoints that would have to be unpickled.
"""

import difflib
import os
from pathlib import Path

import open_clip
import torch
from open_clip.factory import get_model_config
from open_clip.model import CLIP, CustomTextCLIP

from ..config import ModelConfig
from ..errors import InputError
from ..run import file_sha256

CHECK_SUMS = "SHA256SUMS"
_TOKENIZER_OPTIONS = {"clean", "strip_sep_token", "language", "reduction_mask"}  # others reach other libraries
_MAX_NUMBER, _MAX_PARAMETERS = 10_000_000, 20_000_000_000
VOCABULARY_SIZE = 49_408
_FORMS = '"local-dir:<folder>", "hf-hub:<owner>/<name>" or "<open_clip name>:<pretrained tag>"'
_SCHEMAS = ("local-dir", "hf-hub")


def create_pretrained(address: str) -> torch.nn.Module:
    """Create a model with its weights, float32 on the CPU, by any address of open_clip's."""
    name, tag = split_address(address)
    if name.startswith("local-dir:"):
        _check_sums(Path(name.removeprefix("local-dir:")))
    # open_clip itself only warns where a hub model's weights cannot be fetched, and goes on with random ones; and where
    # weights were trained with QuickGELU, as OpenAI's, and the architecture of that name has GELU
    try:
        content = _config(name, tag)
        check_declared(content, address)
        quick = bool(content.get("quick_gelu"))
        return open_clip.create_model(name, tag, require_pretrained=True, force_quick_gelu=quick)
    except InputError:
        raise
    except Exception as error:  # hub, JSON, shape, unpickling: each library has its own exceptions
        raise loading_error(address, error) from error


def _check_sums(folder: Path) -> None:
    """Refuse a model's folder whose files are not those that were exported, as far as its ``SHA256SUMS`` tells."""
    if not (folder / CHECK_SUMS).is_file():
        return
    for line in (folder / CHECK_SUMS).read_text(encoding="utf-8", errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        path = folder / Path(name).name
        if not path.is_file() or file_sha256(path) != digest:
            raise InputError(
                f"{path} is damaged or changed since it was exported; export it again (03_training), or remove "
                f"{CHECK_SUMS} beside it if the change is yours"
            )


def check_declared(content: dict, address: str) -> None:
    """Refuse a configuration that declares a model beyond all sizes, or options of a tokenizer that are not its own."""
    options = set((content.get("text_cfg") or {}).get("tokenizer_kwargs") or {})
    if odd := sorted(options - _TOKENIZER_OPTIONS):
        raise InputError(
            f"{address} passes {', '.join(odd)} on to a tokenizer's library; remove that from its open_clip_config.json"
        )
    towers = [content, *(value for value in content.values() if isinstance(value, dict))]
    n_parameters, largest = 0, 0
    for tower in towers:
        numbers = [n for value in tower.values() for n in (value if isinstance(value, list) else [value])]
        largest = max([largest, *(n for n in numbers if isinstance(n, int | float))])
        layers, width = tower.get("layers", 0), tower.get("width", 0)
        layers = sum(layers) if isinstance(layers, list) else layers
        n_parameters += 12 * layers * width**2 + tower.get("vocab_size", 0) * width
    if largest > _MAX_NUMBER or n_parameters > _MAX_PARAMETERS:
        raise InputError(f"{address} declares {n_parameters:,} parameters; check its open_clip_config.json")


def loading_error(address: str, error: Exception) -> InputError:
    """Return the error of a model that cannot be loaded: what a library said, and the next action."""
    return InputError(f"{address} cannot be loaded ({_reason(error)}); {_advice(address)}")


def named_config(config: ModelConfig) -> dict:
    """Return open_clip's ``model_cfg`` of the architecture that `config` names, if it reads our tokens."""
    name, tag = split_address(_address(config))
    try:
        found = _config(name, tag)
        check_declared(found, config.name)
        text = found["text_cfg"]
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{config.name} has no readable configuration ({_reason(error)}); {_advice(name)}") from error
    own_tokens = "hf_tokenizer_name" in text or text.get("vocab_size", VOCABULARY_SIZE) != VOCABULARY_SIZE
    if own_tokens or "multimodal_cfg" in found:
        raise InputError(f"{config.name} does not read CLIP's {VOCABULARY_SIZE:,} tokens; choose a CLIP, as ViT-B-16")
    length = text.get("context_length", 77)
    if length != config.context_length:
        raise InputError(f"{config.name} reads {length} tokens; set model.context_length={length}")
    return found


def build_named(config: ModelConfig, weights: bool) -> torch.nn.Module:
    """Create the model that `config` names; without weights, or a tag, from torch's global generator."""
    content, address = named_config(config), _address(config)
    if weights and not address.endswith(":"):
        return create_pretrained(address)
    custom_text = content.pop("custom_text", False)
    content["vision_cfg"].pop("timm_model_pretrained", None)
    return (CustomTextCLIP if custom_text else CLIP)(**content)


def _address(config: ModelConfig) -> str:
    """Return the address of what `config` names; "<name>:" is an architecture without weights."""
    if not config.name.startswith(tuple(f"{schema}:" for schema in _SCHEMAS)):
        return f"{config.name}:{config.pretrained}"
    if config.pretrained:
        raise InputError(f"{config.name} comes with its weights; leave model.pretrained={config.pretrained!r} out")
    return config.name


def _config(name: str, tag: str | None) -> dict:
    """Return ``model_cfg`` of a model, with the activation that its weights were trained with."""
    content = get_model_config(name)
    if tag and (open_clip.get_pretrained_cfg(name, tag) or {}).get("quick_gelu"):
        content["quick_gelu"] = True
    return content


def split_address(address: str) -> tuple[str, str | None]:
    """Return open_clip's model name and pretrained tag of an address, checked as far as the disk can tell."""
    schema, _, rest = address.partition(":")
    if schema in _SCHEMAS and rest:
        if schema == "local-dir" and not (Path(rest) / "open_clip_config.json").is_file():
            raise InputError(f"{rest} holds no open_clip_config.json; give a folder that export_model wrote")
        return address, None
    if schema in _SCHEMAS or ":" not in address:
        raise InputError(f"{address!r} is not a model's address; give {_FORMS}")
    if schema not in open_clip.list_models():
        near = difflib.get_close_matches(schema, open_clip.list_models()) or ["see open_clip.list_models()"]
        raise InputError(f"unknown model {schema!r} in {address!r} (near: {', '.join(near)}); give {_FORMS}")
    tags = open_clip.list_pretrained_tags_by_model(schema)
    if rest and rest not in tags and not Path(rest).is_file():
        raise InputError(f"{schema} has no pretrained tag {rest!r}; there is {', '.join(tags) or 'none'}")
    return schema, rest or None


def _advice(address: str) -> str:
    """Return the next action after a failure to load."""
    if address.startswith("local-dir:"):
        return "export it again; the folder must hold open_clip_config.json and plain safetensors weights"
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "on", "yes", "true"):
        return "HF_HUB_OFFLINE is set: unset it, or give a model that is on this disk as local-dir:<folder>"
    return "check the name and the network, or give a model that is on this disk as local-dir:<folder>"


def _reason(error: Exception) -> str:
    """Return what an exception says, in one line of at most 200 characters."""
    lines = (str(error).strip() or type(error).__name__).splitlines()
    if lines[0].startswith("Error(s) in loading state_dict") and len(lines) > 1:
        return f"its weights are of another architecture: {lines[1].strip()}"[:200]
    return lines[0][:200]
