"""Profiles as differences from the defaults, and how a configuration is made of one: `load_config`.

A profile's comment states its data, cost and expected result.
"""

import dataclasses
import difflib
import json
import os
import warnings
from pathlib import Path
from typing import Any, get_args

from ..errors import InputError
from .sections import FREE_SETTINGS, Config

_LENGTHS = {"train.steps": 0, "train.epochs": 0.0}  # of a training; one is given, the other off
RUN_VARIABLE = "BIOCLIP_RUN"  # the run that notebooks open
_PHOTOGRAPHS_224: dict[str, Any] = {"data.source": "photos", "shards.image_size_px": 224, "train.stream": True}
_PHOTOGRAPHS_224 |= {"train.other_code": "refuse"}  # days of work are not thrown away unasked

PROFILES: dict[str, dict[str, Any]] = {
    # Tests and CI: everything tiny, all notebooks in under 4 minutes on 2 cores. Its numbers mean nothing.
    "smoke": {
        "data.synthetic.n_species": 24, "data.synthetic.n_images": 720,
        "model.vision_layers": 2, "model.vision_width": 64, "model.text_layers": 1, "model.text_width": 64,
        "model.text_heads": 2, "model.embed_dim": 64,
        "train.steps": 60, "train.batch_size": 64, "train.warmup_steps": 10, "train.val_every_steps": 30,
        "train.checkpoint_every_steps": 30,
        "evaluate.n_permutations": 199, "evaluate.controls": ("shuffled", "ranks_dealt"), "evaluate.ablations": "two",
    },
    # The first run: the embedded tree of life, no download, minutes on 2 cores (README).
    "mini": {
        "data.synthetic.n_species": 160, "split.heldout_fraction": 0.3,  # 48 held out: speed/README.md, power
        # not shown to differ from AdamW with 250 steps of 256 pairs, in .55 of its time: speed/README.md, recipes
        "train.optimizer": "muon", "train.lr": 4e-3, "train.steps": 225, "train.batch_size": 128,
        "train.warmup_steps": 25,
        "evaluate.controls": ("shuffled", "ranks_dealt"), "evaluate.ablations": "few",
    },
    # The user's photographs: a frozen pretrained tower, its features computed once, a text tower trained on them.
    "photos": {
        "data.source": "photos",
        "split.test_fraction": 0.3,
        "shards.image_size_px": 224,
        "model.image_tower": "efficientnet-lite0", "model.image_size_px": 224, "model.embed_dim": 512,
        "train.freeze_image_tower": True,
        "model.text_layers": 1, "model.text_width": 256, "model.bag_of_words": True,  # docs/ablations.md
        "train.steps": 0, "train.epochs": 36.0, "train.batch_size": 128, "train.lr": 1e-3, "train.warmup_steps": 20,
        "train.higher_rank_share": 0.5, "train.token_dropout": 0.3, "train.other_code": "refuse",
    },
    # One's own set of about 10^6 images (data.photos), from CLIP's weights, on one GPU with 40 GB or more.
    # Cost: meant to end within a day; estimated from FLOPs, not measured (speed/README.md). Result: not known.
    "small": {
        **_PHOTOGRAPHS_224,
        "model.name": "ViT-B-16", "model.pretrained": "openai",
        "train.steps": 0, "train.epochs": 30.0, "train.batch_size": 4_096, "train.micro_batch_size": 512,
        "train.lr": 1e-4, "train.warmup_steps": 500, "train.checkpoint_every_steps": 500, "train.val_every_steps": 250,
    },
    # The recipe of BioCLIP, as published in its model card, training script and defaults (slurm/train.sh, params.py).
    # Data: TreeOfLife-10M, 10.4 million images (data.photos: its folder). Cost there: 8 A100 with 80 GB on 2 nodes,
    # 4 days, 132.71 kg CO2e. Result there, zero-shot top-1: 38.1 % on Rare Species (model card), 39.4 % in the mean of
    # ten sets (site); here not run. Each of the 8 processes encodes 4,096 pairs.
    # The images were normalised with ImageNet's mean and std in training by default and with CLIP's own in evaluation;
    # whether the released run did so is unknown. Here both follow model.normalisation: the model's own, or imagenet.
    # Not as there: images were squashed to 224 x 224, here the centre is cut out, and crops are bilinear; shards were
    # drawn with replacement, here an epoch has each image once; positional embeddings decayed, here they do not.
    "paper": {
        **_PHOTOGRAPHS_224,
        "train.processes": 8,
        "model.name": "ViT-B-16", "model.pretrained": "openai",
        "train.objective": "clip", "train.steps": 0, "train.epochs": 100.0, "train.batch_size": 32_768,
        "train.grad_checkpointing": True, "train.precision": "fp16", "train.lr": 1e-4,
        "train.warmup_steps": 1_000, "train.weight_decay": 0.2, "train.beta1": 0.9, "train.beta2": 0.98,
        "train.eps": 1e-6, "train.crop_area": (0.9, 1.0), "train.mirror": False, "train.text_mixture": "batch",
        "train.higher_rank_share": 0.0, "train.checkpoint_every_steps": 300, "train.val_every_steps": 300,
    },
    # The recipe of BioCLIP 2 (its slurm/train.sh): each of the 32 GPUs takes 2,816 pairs a step, and 320 general
    # image-text pairs of LAION (train.replay: a folder of its tars). There weights were bf16 throughout; here products
    # alone are. Its script names no augmentation, so that open_clip's default is taken.
    # Data: TreeOfLife-200M, 214 million images. Cost: 32 GPUs; their days are not in our sources. Result there,
    # zero-shot top-1: 55.6 % in the mean of ten sets (site); here not run. Needs 4 machines of 8 GPUs (`processes`).
    "bioclip2": {
        **_PHOTOGRAPHS_224,
        "model.name": "ViT-L-14", "model.pretrained": "laion2b_s32b_b82k",
        "train.objective": "clip", "train.steps": 0, "train.epochs": 30.0, "train.batch_size": 32 * 2_816,
        "train.replay_batch": 32 * 320, "train.grad_checkpointing": True, "train.precision": "bf16",
        "train.shard": True, "train.lr": 1e-4, "train.warmup_steps": 1_875, "train.crop_area": (0.9, 1.0),
        "train.mirror": False, "train.higher_rank_share": 0.0, "train.checkpoint_every_steps": 500,
        "train.val_every_steps": 500,
    },
}  # fmt: skip


_KINDS = {int: "a whole number", float: "a number", str: "a word or a path"}  # as messages name them


def load_config(profile: str, overrides: dict[str, Any] | None = None, run_dir: str = "") -> Config:
    """Build the configuration of a profile.

    Parameters
    ----------
    profile : str
        A key of `PROFILES`; ``""`` is the configuration of an earlier run, where there is one, and else ``mini``.
    overrides : dict of str to value, optional
        Dotted keys, ``{"train.steps": 100}``. A string value is converted to the field's type. Of ``train.steps`` and
        ``train.epochs`` the one that is given turns off the other.

    run_dir : str
        The earlier run; ``""`` is that in the environment's ``BIOCLIP_RUN``, which ``make lab RUN=...`` sets.

    Returns
    -------
    Config

    Raises
    ------
    InputError
        For an unknown profile or key, a value of another type, or one out of its limits.

    Examples
    --------
    >>> load_config("photos", {"train.steps": "7"}).train.steps, load_config("photos").train.epochs
    (7, 36.0)
    """
    earlier, given = {}, overrides or {}
    if not profile:
        profile, earlier = _of_run(run_dir or os.environ.get(RUN_VARIABLE, ""))
    if profile not in PROFILES:
        raise InputError(f"unknown profile {profile!r}; choose one of {', '.join(PROFILES)}")
    changes, names = {**PROFILES[profile], **earlier, **given}, setting_names()
    for key in changes:
        if key not in names:
            near = difflib.get_close_matches(key, names, cutoff=0.5) or names
            raise InputError(f"unknown setting {key!r}; you probably meant {', '.join(near)}")
    if len(said := _LENGTHS.keys() & given.keys()) == 1:
        changes |= {key: off for key, off in _LENGTHS.items() if key not in said}
    return _replaced(Config(profile=profile), changes)


def _of_run(run_dir: str) -> tuple[str, dict[str, Any]]:
    """Return profile and settings of an earlier run; those that are newer have their default, what was done then."""
    path = Path(run_dir, "config.json")
    if not run_dir or not path.is_file():
        return "mini", {}
    try:
        found = flat(json.loads(path.read_text(encoding="utf-8")))
        profile = found.pop("profile")
    except (ValueError, KeyError, AttributeError):
        raise InputError(f"{path} is damaged; give the profile and the settings that the run was made with") from None
    then = {key: value for key, value in flat(Config(profile).to_dict()).items() if key != "profile"}
    if gone := sorted(found.keys() - then.keys()):
        left_out = f"settings that are no more are left out: {', '.join(gone)}"
        warnings.warn(f"{path} is of another version of this code; {left_out}", stacklevel=3)
    return profile, {key: found.get(key, value) for key, value in then.items()}


def _replaced(node: Any, changes: dict[str, Any], prefix: str = "") -> Any:
    """Return `node` with its settings among `changes`, all at once: some fit only together."""
    new = {}
    for f in dataclasses.fields(node):
        key, old = prefix + f.name, getattr(node, f.name)
        if dataclasses.is_dataclass(old):
            new[f.name] = _replaced(old, changes, f"{key}.")
        elif key in changes:
            item_types = get_args(f.type)  # of a tuple
            new[f.name] = _convert(changes[key], old, key, item_types[0]() if item_types else "")
    return dataclasses.replace(node, **new)


def _convert(value: Any, old: Any, key: str, example: Any = "") -> Any:
    """Convert a value, maybe from a command line, to the type of the field's default, items to that of `example`."""
    if isinstance(old, bool):
        if str(value).lower() in ("true", "1", "false", "0"):
            return str(value).lower() in ("true", "1")
        raise InputError(f"{key} takes true or false, not {value!r}")
    if isinstance(old, tuple):
        if value == "" and not old:
            return ()
        if not isinstance(value, str | list | tuple):
            raise InputError(f"{key} takes a list, not {value!r}")
        items = value.split(",") if isinstance(value, str) else value
        return tuple(_convert(item, example, key) for item in items)
    part = isinstance(old, int) and isinstance(value, float) and not value.is_integer()  # 2.5 steps
    if part or isinstance(value, bool) or (isinstance(old, str) and not isinstance(value, str)):
        raise InputError(f"{key} takes {_KINDS[type(old)]}, not {value!r}")
    try:
        return type(old)(value)
    except (TypeError, ValueError):
        raise InputError(f"{key} takes {_KINDS[type(old)]}, not {value!r}") from None


def flat(settings: dict, prefix: str = "") -> dict[str, Any]:
    """Return nested settings under their dotted names.

    Examples
    --------
    >>> flat({"profile": "mini", "train": {"steps": 7}})
    {'profile': 'mini', 'train.steps': 7}
    """
    items = {}
    for key, value in settings.items():
        items |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return items


def deciding(settings: dict) -> dict[str, Any]:
    """Return nested settings under their dotted names, but for those that change no result (`FREE_SETTINGS`)."""
    return {key: value for key, value in flat(settings).items() if key not in FREE_SETTINGS}


def setting_names() -> list[str]:
    """List the dotted names of all settings."""
    return [name for name in flat(Config(profile="mini").to_dict()) if name != "profile"]
