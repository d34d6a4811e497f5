"""The feature tables of a run: each evaluated image once for each contestant, computed once and cached by content.

Takes a run with shards (and a model); returns `FeatureTable`. The contestants are the run's model (``trained``), its
architecture before training (``random_init``), a thumbnail with a colour histogram (``pixels``), the pretrained
EfficientNet-Lite that it started from (``frozen``), and the models that ``evaluate.models`` names by their address.
Only test images and held-out species are embedded.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ..config import Config
from ..errors import InputError
from ..model import encode as embed
from ..model.encode import normalised, pixel_features
from ..model.features import (
    FeatureTable,
    cached_features,
    digest_of_model,
    feature_digests,
    image_features,
    size_px,
    stored_features,
    trunk_table,
    write_features,
)
from ..model.load import is_vision_only, load_model, preprocess_digest
from ..model.towers import LITES, build_model, project
from ..run import Run
from ..shards import read
from ..training.objectives import CLASS_OBJECTIVES
from .tasks import PARTS
from .zero_shot import ClassEncoder, zero_shot_weights

CONTESTANTS = ("trained", "random_init", "pixels", "frozen")
_THUMBNAIL_OF_PX = 64  # the size at which `pixels` takes its thumbnail and histogram


@dataclass(frozen=True)
class Contestant:
    """A loaded model, and its ``encoder`` of class names where it has a text tower that was trained."""

    model: torch.nn.Module
    encoder: ClassEncoder | None


class EvaluatedImages:
    """The evaluated images of a run: decoded once for all models of a size, one after the other."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.splits = [split for split in PARTS if split in set(read.read_index(run.shards)["split"])]
        if not self.splits:
            raise InputError(
                f"{run.root} has no image to test on, of species seen or held out; build it again with "
                "split.test_fraction or split.heldout_fraction above 0, and data.published_splits=false where the "
                "makers' splits leave none"
            )
        self.image_ids = [i for split in self.splits for i in read.read_image_ids(run.shards, split)]
        self._size_px, self._pixels = 0, None

    def pixels(self, size_px: int) -> np.ndarray:
        """Return the images at a size, uint8 (n, size_px, size_px, 3); those of another size are forgotten."""
        if self._size_px != size_px:
            self._pixels = None
            self._pixels = read.load_images(self.run.shards, self.splits, size_px)[1]
            self._size_px = size_px
        return self._pixels


def few_shot_contestants(config: Config) -> list[str]:
    """Return whom a run compares: ``frozen`` only where its image tower started from that pretrained tower."""
    own = [name for name in CONTESTANTS if name != "frozen" or config.model.image_tower in LITES]
    return [*own, *config.evaluate.models]


def zero_shot_contestants(config: Config) -> list[str]:
    """Return whom a run compares by naming images: those with a text tower, of its own model a trained one."""
    return [name for name in ("trained", "random_init", *config.evaluate.models) if can_name(config, name)]


def load_zero_shot(run: Run, config: Config) -> tuple[dict[str, FeatureTable], dict[str, ClassEncoder]]:
    """Return the features, and the encoders of class names, of all that can name images; none without test images."""
    names = zero_shot_contestants(config) if _has_images(run) else []
    return load_features(run, config, names), {name: class_encoder(run, config, name) for name in names}


def load_few_shot(run: Run, config: Config) -> tuple[dict[str, FeatureTable], dict[str, Callable]]:
    """Return the features of all contestants, and the text encoders of those that learned from texts."""
    names = few_shot_contestants(config) if _has_images(run) else []
    named = [name for name in names if name in ("trained", *config.evaluate.models) and can_name(config, name)]
    return load_features(run, config, names), {name: text_encoder(run, config, name) for name in named}


def _has_images(run: Run) -> bool:
    """Tell whether a run has images to test on."""
    return bool(set(PARTS) & set(read.read_index(run.shards)["split"]))


def load_features(run: Run, config: Config, names: Sequence[str]) -> dict[str, FeatureTable]:
    """Return the feature tables of the named contestants, in the same order of images; none of no names.

    Rows of models with a text tower have unit length, the others not. What was computed before is read, if it is of the
    same weights, layers, preprocessing and shards. All see the square that the shards give at their size.
    """
    unknown = sorted(name for name in set(names) - set(CONTESTANTS) if name not in LITES and ":" not in name)
    if unknown:
        raise InputError(
            f"unknown contestant {', '.join(unknown)}; choose from {', '.join(CONTESTANTS)}, or give a model's address"
        )
    if not len(names):
        return {}
    images = EvaluatedImages(run)
    special = {"pixels": _pixels, "frozen": _frozen}
    return {
        name: FeatureTable(images.image_ids, special.get(name, _embedded)(run, config, name, images)) for name in names
    }


def file_contestants(run: Run, config: Config, names: Sequence[str]) -> dict[str, Contestant]:
    """Load ``trained`` and models by their address, each once, for `file_features` of several tables."""
    found = {}
    for name in dict.fromkeys(names):
        clip, tokenizer = _model_of(run, config, name)
        found[name] = Contestant(clip, _encoder(run, name, clip, tokenizer) if can_name(config, name) else None)
    return found


def file_features(
    run: Run, config: Config, contestants: Mapping[str, Contestant], table: str, files: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return the features of image files, (n, D), of `file_contestants`; cached while the files stay."""
    stats = [Path(file.partition("::")[0]).stat() for file in files]  # of an archive's member: the archive
    precision = "fp32" if config.evaluate.precision == "auto" else config.evaluate.precision  # as published numbers
    content = json.dumps([(stat.st_size, stat.st_mtime_ns) for stat in stats])
    found, missing = {}, {}
    for name, contestant in contestants.items():
        clip = contestant.model
        prepared = hashlib.sha256((preprocess_digest(clip, precision) + content).encode()).hexdigest()
        digests = {"model_digest": digest_of_model(clip), "preprocess_digest": prepared}
        found[name] = stored_features(_table_path(run, f"{table}_{name}"), files, digests)
        if found[name] is None:
            missing[name] = (clip, digests)
    if missing:
        clips = [clip for clip, _ in missing.values()]
        computed = embed.encode_images_by(clips, files, config.evaluate.batch_size, precision)
        for (name, (_, digests)), values in zip(missing.items(), computed, strict=True):
            write_features(_table_path(run, f"{table}_{name}"), files, values, **digests)
            found[name] = values
    return found


def can_name(config: Config, name: str) -> bool:
    """Tell whether a contestant has a text tower that was trained."""
    return not (is_vision_only(name) or (name == "trained" and config.train.objective in CLASS_OBJECTIVES))


def class_encoder(run: Run, config: Config, name: str) -> ClassEncoder:
    """Return what maps class names to weights, cached by content; refuse a model without a trained text tower."""
    if name == "trained" and config.train.objective in CLASS_OBJECTIVES:
        raise InputError(
            f"a model of train.objective={config.train.objective} is trained without texts and cannot name images "
            "zero-shot; use few-shot (05_few_shot), or train with a contrastive objective"
        )
    if is_vision_only(name):
        raise InputError(f"{name} has no text tower and cannot name images zero-shot; use few-shot (05_few_shot)")
    return _encoder(run, name, *_model_of(run, config, name))


def _encoder(run: Run, name: str, clip: torch.nn.Module, tokenizer: Callable | None) -> ClassEncoder:
    """Return what maps class names to weights by a loaded model."""
    encode = partial(embed.encode_texts, clip, tokenizer=tokenizer)
    digest = digest_of_model(clip)

    def weights(classnames: Sequence[str], templates: Sequence[str]) -> np.ndarray:
        asked = hashlib.sha256(json.dumps([list(classnames), list(templates)]).encode()).hexdigest()
        digests = {"model_digest": digest, "preprocess_digest": asked}
        path = _table_path(run, f"classes_{name}_{asked[:12]}")
        return cached_features(path, classnames, digests, lambda: zero_shot_weights(encode, classnames, templates))

    return ClassEncoder(weights, clip.logit_scale.exp().item())


def text_encoder(run: Run, config: Config, name: str) -> Callable[[Sequence[str]], np.ndarray]:
    """Return the function from texts to unit-length text features, (n, D); cached, and refused, as `class_encoder`."""
    return partial(class_encoder(run, config, name).weights, templates=("{}",))


def project_trunk(clip: torch.nn.Module, values: np.ndarray) -> np.ndarray:
    """Map trunk features (n, F) to unit-length image features (n, D) by the model's projection."""
    with torch.no_grad(), embed.evaluating(clip):
        inputs = torch.from_numpy(values).to(clip.logit_scale.device)
        return normalised(project(clip, inputs)).cpu().numpy()


def _table_path(run: Run, name: str) -> Path:
    """Return where a table of a run lies; an address becomes a file name."""
    return run.embeddings / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)}.parquet"


def _model_of(run: Run, config: Config, name: str) -> tuple[torch.nn.Module, Callable | None]:
    """Return the model and the tokenizer (None: CLIP's) of a contestant."""
    if name == "random_init":
        return _untrained(config), None
    if name == "trained" and not run.model.is_dir():
        raise InputError(f"{run.model} does not exist; run 03_training, or make reproduce RUN={run.root}, first")
    loaded = load_model(f"local-dir:{run.model}" if name == "trained" else name)
    return loaded.model, loaded.tokenizer


def _untrained(config: Config) -> torch.nn.Module:
    """Build the run's architecture with weights that no training has seen, and that no training starts from."""
    return build_model(config.model, seed=config.train.seed + 10_000, weights=False)


def _embedded(run: Run, config: Config, name: str, images: EvaluatedImages) -> np.ndarray:
    """Return what a model sees; the frozen trunk of the run's own models is not computed again."""
    clip = _model_of(run, config, name)[0]
    frozen = name in CONTESTANTS and config.train.freeze_image_tower
    precision = "fp32" if frozen else config.evaluate.precision  # what was trained on the trunk is asked of the same

    digests = feature_digests(run, images.splits, digest_of_model(clip), preprocess_digest(clip, precision))
    path, batch_size = _table_path(run, name), config.evaluate.batch_size
    if frozen:
        compute = lambda: project_trunk(clip, trunk_table(run, clip, images.splits).values)  # noqa: E731
        return cached_features(path, images.image_ids, digests, compute)
    rows = embed.image_rows(clip, lambda: images.pixels(size_px(clip)), batch_size, precision)
    return image_features(path, images.image_ids, digests, rows, batch_size)


def _pixels(run: Run, config: Config, name: str, images: EvaluatedImages) -> np.ndarray:
    digests = feature_digests(run, images.splits, name, str(_THUMBNAIL_OF_PX))
    compute = lambda: pixel_features(images.pixels(_THUMBNAIL_OF_PX))  # noqa: E731
    return cached_features(_table_path(run, name), images.image_ids, digests, compute)


def _frozen(run: Run, config: Config, name: str, images: EvaluatedImages) -> np.ndarray:
    return trunk_table(run, build_model(config.model), images.splits).values
