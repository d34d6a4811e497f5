"""From a run's shards to the arrays that training reads.

Takes a run with catalog and shards; returns `train.TrainData` for the splits train and val. With a frozen image tower
the inputs are its features, computed once; else the images themselves.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from . import captions, catalog, features, model, shards
from .config import Config
from .errors import InputError
from .paths import Run
from .train import TrainData


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
        ``inputs`` is uint8 (n, H, W, 3) at the shards' size, so that crops can be cut, or float32 (n, F) features;
        ``labels`` index the same classes in both.

    Raises
    ------
    InputError
        If the run has no shards, or nothing to train on.
    """
    table = catalog.read_catalog(run.catalog)
    table = table[table["split"].isin(["train", "val"])]
    if not (table["split"] == "train").any():
        raise InputError("the catalog has no training images; rerun 01_dataset_construction")
    texts = captions.caption_table(table).set_index("class_key")
    classes = pd.Series(np.arange(len(texts)), index=texts.index)
    labels = catalog.class_key(table).map(classes).set_axis(table["image_id"])
    tokens = torch.stack(
        [model.tokenize(list(texts[t]), config.model.context_length) for t in config.train.text_types], 1
    )
    return tuple(_one_split(run, config, clip, split, labels, tokens) for split in ("train", "val"))


def _one_split(
    run: Run, config: Config, clip: torch.nn.Module, split: str, labels: pd.Series, captioned: TrainData
) -> TrainData:
    """Load the inputs of one split; an empty val is no error."""
    if split not in set(shards.read_index(run.shards)["split"]):
        return captioned
    if config.train.freeze_image_tower:
        trunk = features.trunk_table(run, clip, [split])
        image_ids, inputs = trunk.image_ids, trunk.values
    else:
        image_ids, inputs = shards.load_images(run.shards, [split], config.shards.image_size_px)
    return replace(captioned, inputs=inputs, labels=labels.loc[image_ids].to_numpy())
