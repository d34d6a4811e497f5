"""What is trained on: all of a run's images, half of them by image or by species, or with labels moved to a sister.

A name stands for a function that loads training and validation data as `training.load_training_data` does. Validation
is left as it is; held-out species and the images that are asked are the same for all.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from .. import RANKS
from ..config import Config
from ..run import Run
from ..structure import control
from ..structure.planted import moved_labels
from ..training import TrainData, load_training_data

HALF_IMAGES, HALF_SPECIES = "half of the images of each species", "all images of half of the species"
MOVED = {"10 % of labels moved to a sister": 0.1, "30 % of labels moved to a sister": 0.3}
PARTS = (HALF_IMAGES, HALF_SPECIES, *MOVED)


def loader(name: str) -> Callable[..., tuple[TrainData, TrainData]]:
    """Return how the data of that name are loaded; '' for all as they are, a control for its dealt words."""
    if not name:
        return load_training_data
    if name in control.DEALT:
        return control.load_dealt(name)

    def load(run: Run, config: Config, clip):
        train, validation = load_training_data(run, config, clip)
        n_views = 2 if config.train.freeze_image_tower else 1  # each image, then each image's mirror image
        return _changed(train, name, n_views, config.split.seed), validation

    return load


def _changed(train: TrainData, name: str, n_views: int, seed: int) -> TrainData:
    """Return a part of training data, or all of it with labels moved."""
    labels = train.labels[: len(train.labels) // n_views]
    if name in MOVED:
        classes = pd.DataFrame(np.where(train.lineages < 0, "", train.lineages.astype(str)), columns=list(RANKS))
        return replace(train, labels=np.tile(moved_labels(labels, classes, MOVED[name], seed), n_views))
    rows = kept_rows(labels, name == HALF_SPECIES, seed)
    rows = np.concatenate([rows + view * len(labels) for view in range(n_views)])
    return replace(train, inputs=train.inputs[rows], labels=train.labels[rows])


def kept_rows(labels: np.ndarray, by_species: bool, seed: int) -> np.ndarray:
    """Return rows of half of the images, (n // 2,): of every species, or of some species nearly all.

    Species are taken at random until their images are enough; the last one gives what is wanting.
    """
    rng = np.random.default_rng([seed, 6])
    shuffled = rng.permutation(len(labels))
    order = pd.Series(shuffled).groupby(labels[shuffled]).cumcount().to_numpy()  # an image's place in its species
    species = rng.permutation(labels.max() + 1)[labels[shuffled]]
    sizes = np.bincount(labels)[labels[shuffled]]
    first = species if by_species else (order + 0.5) / sizes
    return np.sort(shuffled[np.argsort(first, kind="stable")[: len(labels) // 2]])
