"""From a run's shards to what training reads.

Takes a run with catalog and shards; returns `TrainData` for the splits train and val. With a frozen image tower
the inputs are its features of each image and, in train, of its mirror image, computed once; else the images themselves,
in memory or, with ``train.stream``, left in the shards.
"""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits

from .. import RANKS
from ..catalog import table as catalog
from ..catalog.splits import class_rows, usable
from ..config import Config, TrainConfig
from ..errors import InputError
from ..model.features import trunk_table
from ..model.text import tokenize
from ..model.towers import LITES
from ..run import Run
from ..shards import captions, read
from ..shards.replay import ReplayPairs
from ..shards.stream import ShardStream
from ..taxonomy.ranks import rank_codes
from .batches import TrainData
from .loaders import ShardImages
from .trainer import MAX_VALIDATION_PAIRS

PROJECTION_STD = 0.083


def load_training_data(run: Run, config: Config, clip: torch.nn.Module) -> tuple[TrainData, TrainData]:
    """Load what a model is trained and validated on.

    Parameters
    ----------
    run : Run
    config : Config
    clip : open_clip model
        Its trunk is used where the image tower is frozen.

    Returns
    -------
    train, val : TrainData
        ``inputs`` is uint8 (n, H, W, 3) at the shards' size, so that crops can be cut, or float32 (n, F) features, 2 n
        rows of them in train; with ``train.stream`` `ShardImages` in train, and in val a seeded choice of as many
        images as validation looks at. ``labels`` index the same classes in both.

    Raises
    ------
    InputError
        If the run has no shards, or nothing to train on; for an unknown text type; if a frozen tower is to be streamed.

    Warns
    -----
    UserWarning
        Of captions that are longer than the text tower's context.
    """
    sizes = config.model
    pretrained = sizes.pretrained or ":" in sizes.name if sizes.name else sizes.image_tower in LITES
    if config.train.freeze_image_tower and not pretrained:
        raise InputError(
            "train.freeze_image_tower needs a pretrained image tower: set model.name and model.pretrained, or "
            "model.image_tower"
        )
    table = catalog.read_catalog(run.catalog)
    table = table[table["split"].isin(["train", "val"])]
    if not (table["split"] == "train").any():
        raise InputError("the catalog has no training images; rerun 01_dataset_construction")
    labels, captioned = captioned_classes(table, config)
    if config.train.stream:
        train, val = _streamed(run, config, table, labels, captioned)
    else:
        train, val = (_one_split(run, config, clip, split, labels, captioned) for split in ("train", "val"))
    return replace(train, replay=_replay(run, config)), val


def check_replay(cfg: TrainConfig) -> None:
    """Refuse a batch of replayed pairs without their folder."""
    if cfg.replay_batch > 0 and not (cfg.replay and Path(cfg.replay).is_dir()):
        raise InputError(
            f"train.replay_batch={cfg.replay_batch} needs train.replay: a folder of tars of image-text pairs, not "
            f"{cfg.replay!r}; without such pairs set train.replay_batch=0"
        )


def _replay(run: Run, config: Config) -> ReplayPairs | None:
    """Return the pairs of another collection that join the batches."""
    cfg = config.train
    if not cfg.replay_batch:
        return None
    check_replay(cfg)
    return ReplayPairs(cfg.replay, cfg.replay_batch, config.shards.image_size_px, run.tables / "replay_counts.json")


def captioned_classes(table: pd.DataFrame, config: Config) -> tuple[pd.Series, TrainData]:
    """Number the classes of a catalog and tokenize their captions: each image's class, and data without inputs yet."""
    texts = captions.caption_table(table, config.shards.unverified_genus).set_index("class_key")
    if not set(config.train.text_types) <= set(texts):
        raise InputError(
            "train.text_types has description, but no class that is trained on is described; see data.descriptions"
        )
    classes = pd.Series(np.arange(len(texts)), index=texts.index)
    labels = table.set_index("image_id")["class_key"].map(classes)
    texts = texts[list(config.train.text_types)]
    groups = np.repeat(np.arange(len(texts))[:, None], texts.shape[1], axis=1)
    if config.train.higher_rank_share > 0:
        higher = captions.higher_caption_table(table, config.shards.unverified_genus)
        texts = texts.join(higher)
        groups = np.concatenate([groups, higher.apply(lambda column: pd.factorize(column)[0]).to_numpy()], axis=1)
    _warn_of_long(texts, config.model.context_length)
    tokens = torch.stack([tokenize(list(texts[t]), config.model.context_length) for t in texts], dim=1)
    lineages = class_lineages(table, texts.index)
    captioned = TrainData(np.zeros((0, 1), np.float32), np.zeros(0, np.int64), tokens, groups, lineages)
    return labels, captioned


def _warn_of_long(texts: pd.DataFrame, context_length: int) -> None:
    """Warn of captions whose end is cut off: with one more place for tokens, they fill that too."""
    distinct = pd.unique(texts.to_numpy().ravel())
    cut = distinct[(tokenize(distinct, context_length + 1)[:, -1] != 0).numpy()]
    if len(cut):
        warnings.warn(
            f"{len(cut)} of {len(distinct)} captions are longer than model.context_length={context_length} tokens and "
            f"lose their end, such as {cut[0]!r}; raise it, or leave long forms out of train.text_types",
            stacklevel=3,
        )


def class_lineages(table: pd.DataFrame, class_keys: pd.Index) -> np.ndarray:
    """Number the taxon of each class at each rank, (n_classes, 7), from 0, -1 where unknown; homonyms are two."""
    rows = class_rows(table).loc[class_keys, list(RANKS)].fillna("")
    taxa = rows.apply(lambda column: rows["kingdom"] + "|" + column)  # names are told apart by kingdom
    taxa["species"] = taxa["genus"] + "|" + rows["species"]  # epithets by genus too
    return rank_codes(taxa.where(rows != "", "")) - 1


def _one_split(
    run: Run, config: Config, clip: torch.nn.Module, split: str, labels: pd.Series, captioned: TrainData
) -> TrainData:
    """Load the inputs of one split; an empty val is no error."""
    if split not in set(read.read_index(run.shards)["split"]):
        return captioned
    if config.train.freeze_image_tower:
        views = [trunk_table(run, clip, [split], mirrored) for mirrored in (False, True)[: 1 + (split == "train")]]
        image_ids = [i for view in views for i in view.image_ids]
        inputs = np.concatenate([view.values for view in views])
    else:
        image_ids, inputs = read.load_images(run.shards, [split], config.shards.image_size_px)
    return replace(captioned, inputs=inputs, labels=labels.loc[image_ids].to_numpy())


def _streamed(
    run: Run, config: Config, table: pd.DataFrame, labels: pd.Series, captioned: TrainData
) -> tuple[TrainData, TrainData]:
    """Leave the training images in the shards; load a seeded choice of those of val."""
    if config.train.freeze_image_tower:
        raise InputError(
            "train.stream reads images, and of a frozen tower the features are trained on; set train.stream=false or "
            "train.freeze_image_tower=false"
        )
    size_px = config.shards.image_size_px
    classes = dict(zip(table["class_key"], labels.tolist(), strict=True))
    images = ShardImages(run.shards, "train", size_px, classes)
    of_train = labels[((table["split"] == "train") & usable(table)).to_numpy()].to_numpy()
    if len(images) != len(of_train):
        raise InputError(
            f"{len(of_train)} training images in the catalog, {len(images)} in {run.shards}; rerun "
            "01_dataset_construction"
        )
    train = replace(captioned, inputs=images, labels=of_train)
    if not len(ShardImages(run.shards, "val", size_px, classes)):
        return train, captioned
    batch = next(ShardStream(run.shards, "val", MAX_VALIDATION_PAIRS, size_px).batches(ahead=0))
    return train, replace(captioned, inputs=batch.images, labels=np.array([classes[key] for key in batch.class_keys]))


def start_projection(clip: torch.nn.Module, trunk_features: np.ndarray) -> None:
    """Let the projection of a frozen trunk start from the principal components of its features, half whitened.

    Parameters
    ----------
    clip : open_clip model
        A ViT keeps the projection that it came with. Of others ``visual.head.proj`` is set, in place: centre, rotate,
        and divide each component by the square root of its spread.
    trunk_features : ndarray of shape (n, F), float32
        Of training images.

    Notes
    -----
    A random projection throws away what the trunk knows and has to learn it back from few images. Features are only
    read by their direction, so the scale of the weights is free: it decides how far a step of a given learning rate
    turns them. With the one here, 12 epochs at 3e-3 refine the components instead of replacing them.
    """
    if not hasattr(clip.visual, "trunk"):
        return
    projection = clip.visual.head.proj
    mean = trunk_features.mean(axis=0, dtype=np.float64)
    centred = trunk_features - mean
    with threadpool_limits(1):  # the same bits in all processes, whatever number of threads each has
        variance, vectors = np.linalg.eigh(centred.T @ centred / len(centred))  # (n, F) -> (F, F), ascending
    spread = np.sqrt(np.clip(variance[::-1][: projection.out_features], 0, None))
    scale = np.where(spread > 1e-4 * spread[0], 1 / np.sqrt(np.maximum(spread, 1e-12)), 0)
    weight = vectors[:, ::-1][:, : projection.out_features].T * scale[:, None]  # (D, F)
    weight *= PROJECTION_STD / weight.std()
    with torch.no_grad():
        projection.weight.copy_(torch.from_numpy(weight))
        projection.bias.copy_(torch.from_numpy(-weight @ mean))
