"""The feature tables of a run: each evaluated image once for each contestant, computed once and cached by content.

Takes a run with shards (and a model); returns `FeatureTable`. The contestants are the run's model (``trained``), its
architecture before training (``random_init``), a thumbnail with a colour histogram (``pixels``) and a pretrained
EfficientNet-Lite0 without training here (``frozen``). Only test images and held-out species are embedded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from . import embed, model, shards
from .config import Config
from .errors import InputError
from .objectives import CLASS_OBJECTIVES
from .paths import Run

EVALUATED_SPLITS = ("test", "heldout_species")
CONTESTANTS = ("trained", "random_init", "pixels", "frozen")


@dataclass(frozen=True)
class FeatureTable:
    """Features of images: ``image_ids`` (n) and ``values``, float32 of shape (n, D)."""

    image_ids: list[str]
    values: np.ndarray


def contestants(config: Config) -> list[str]:
    """Return whom a run compares: ``frozen`` only where its image tower started from that pretrained tower."""
    return [name for name in CONTESTANTS if name != "frozen" or config.model.image_tower == model.LITE0]


def load_features(run: Run, config: Config, names: Sequence[str]) -> dict[str, FeatureTable]:
    """Return the feature tables of the named contestants, in the same order of images.

    Parameters
    ----------
    run : Run
    config : Config
    names : sequence of str
        Some of `CONTESTANTS`.

    Returns
    -------
    dict of str to FeatureTable
        ``trained`` and ``random_init`` have rows of unit length, the others not.

    Raises
    ------
    InputError
        For an unknown contestant, or a run without shards, model or images to test on.
    """
    unknown = sorted(set(names) - set(CONTESTANTS))
    if unknown:
        raise InputError(f"unknown contestant {', '.join(unknown)}; choose from {', '.join(CONTESTANTS)}")
    splits = [split for split in EVALUATED_SPLITS if split in set(shards.read_index(run.shards)["split"])]
    if not splits:
        raise InputError(
            f"{run.root} has no image to test on, of species seen or held out; build it again with split.test_fraction "
            "or split.heldout_fraction above 0, and data.published_splits=false where the makers' splits leave none"
        )
    compute = {"trained": _trained, "random_init": _random_init, "pixels": _pixels, "frozen": _frozen}
    return {name: compute[name](run, config, splits) for name in names}


def trunk_table(run: Run, clip: torch.nn.Module, splits: Sequence[str], mirrored: bool = False) -> FeatureTable:
    """Return what a pretrained trunk gives for whole splits, before any projection; computed once a split and cached.

    Parameters
    ----------
    run : Run
    clip : open_clip model
        With a pretrained image tower (`model.image_trunk`).
    splits : sequence of str
    mirrored : bool
        Embed the images mirrored left to right.

    Returns
    -------
    FeatureTable
        float32 of shape (n, 1280) for Lite0.
    """
    with model.image_trunk(clip) as trunk:
        digests = {"model_digest": model.model_digest(trunk), "preprocess_digest": embed.preprocess_digest(clip)}
    tables = []
    step = -1 if mirrored else 1  # along the width of (n, H, W, 3)
    for split in splits:
        image_ids = shards.read_image_ids(run.shards, split)
        path = run.embeddings / f"{'mirrored_' if mirrored else ''}trunk_{split}.parquet"
        values = embed.cached_features(
            path,
            image_ids,
            digests,
            lambda split=split: embed.trunk_features(clip, _load(run, clip, split)[:, :, ::step]),
        )
        tables.append((image_ids, values))
    return FeatureTable([i for ids, _ in tables for i in ids], np.concatenate([values for _, values in tables]))


def text_encoder(run: Run, config: Config, name: str) -> Callable[[Sequence[str]], np.ndarray]:
    """Return the function from texts to unit-length text features, (n, D), of ``trained`` or ``random_init``.

    Raises
    ------
    InputError
        If the trained model has no trained text tower.
    """
    if name == "trained":
        if config.train.objective in CLASS_OBJECTIVES:
            raise InputError(
                f"a model of train.objective={config.train.objective} is trained without texts and cannot name images "
                "zero-shot; use few-shot (05_few_shot), or train with a contrastive objective"
            )
        loaded = model.load_model(f"local-dir:{run.model}")
        return lambda texts: embed.encode_texts(loaded.model, texts, loaded.tokenizer)
    clip = _untrained(config)
    return lambda texts: embed.encode_texts(clip, texts)


def project_trunk(clip: torch.nn.Module, values: np.ndarray) -> np.ndarray:
    """Map trunk features (n, F) to unit-length image features (n, D) by the model's projection."""
    with torch.no_grad(), embed.evaluating(clip):
        inputs = torch.from_numpy(values).to(clip.logit_scale.device)
        return model.normalised(model.project(clip, inputs)).cpu().numpy()


def _load(run: Run, clip: torch.nn.Module, split: str) -> np.ndarray:
    """Load a split at the size that a model takes, uint8 (n, S, S, 3)."""
    size = clip.visual.preprocess_cfg["size"]
    return shards.load_images(run.shards, [split], size if isinstance(size, int) else size[0])[1]


def _embedded(run: Run, config: Config, clip: torch.nn.Module, name: str, splits: Sequence[str]) -> FeatureTable:
    """Embed whole splits by a model; a frozen trunk is not computed again."""
    if config.train.freeze_image_tower:
        table = trunk_table(run, clip, splits)
        return FeatureTable(table.image_ids, project_trunk(clip, table.values))
    image_ids = [i for split in splits for i in shards.read_image_ids(run.shards, split)]
    digests = {"model_digest": model.model_digest(clip), "preprocess_digest": embed.preprocess_digest(clip)}
    values = embed.cached_features(
        run.embeddings / f"{name}.parquet",
        image_ids,
        digests,
        lambda: np.concatenate(
            [embed.encode_images(clip, _load(run, clip, s), batch_size=config.evaluate.batch_size) for s in splits]
        ),
    )
    return FeatureTable(image_ids, values)


def _trained(run: Run, config: Config, splits: Sequence[str]) -> FeatureTable:
    if not run.model.is_dir():
        raise InputError(f"{run.model} does not exist; run 03_training first")
    return _embedded(run, config, model.load_model(f"local-dir:{run.model}").model, "trained", splits)


def _random_init(run: Run, config: Config, splits: Sequence[str]) -> FeatureTable:
    return _embedded(run, config, _untrained(config), "random_init", splits)


def _untrained(config: Config) -> torch.nn.Module:
    """Build the run's architecture with weights that no training has seen, and that no training starts from."""
    return model.build_model(config.model, seed=config.train.seed + 10_000, weights=False)


def _pixels(run: Run, config: Config, splits: Sequence[str]) -> FeatureTable:
    image_ids, images = shards.load_images(run.shards, splits, size_px=64)
    return FeatureTable(image_ids, embed.pixel_features(images))


def _frozen(run: Run, config: Config, splits: Sequence[str]) -> FeatureTable:
    return trunk_table(run, model.build_model(config.model), splits)
