"""What a run knows: its model, its species as candidates, and how far its probabilities can be trusted.

The temperature and the floor come from the run's validation images, which no training has seen. Features of whole
splits are computed once and kept in the run.
"""

import functools
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..catalog.splits import TRAINING, class_rows, usable
from ..catalog.table import read_catalog
from ..config import flat
from ..errors import InputError
from ..evaluation.contestants import project_trunk
from ..model import encode_images
from ..model.encode import image_rows
from ..model.features import (
    cached_features,
    digest_of_model,
    feature_digests,
    image_features,
    load_split,
    size_px,
    trunk_table,
)
from ..model.load import LoadedModel, load_model, preprocess_digest
from ..run import Run
from ..shards.read import read_image_ids, read_index
from ..training.objectives import CLASS_OBJECTIVES
from .asking import Trust
from .calibrate import KNOWN_PASS, TOO_FEW, conformal_floor, fit_temperature, places, wrong_up_to
from .candidates import labels_of_names
from .labels import LABEL, LabelSet, highest
from .naming import FLOOR, name_features
from .photographed import add_images, labels_of_images

_AT_ONCE = 1_024  # photographs


class Split(NamedTuple):
    """Images of a split: their rows of the catalog (``class_key``, ranks and so on) and features (n, D)."""

    rows: pd.DataFrame
    features: np.ndarray

    @property
    def classes(self) -> np.ndarray:
        """The class of each image."""
        return self.rows["class_key"].to_numpy()


class TrainedRun:
    """A trained run as a namer: ``model``, ``labels`` (the classes it was trained on), ``scale``, features by split.

    Classes are their texts; of a model that was trained without texts, the means of their training images. What is
    asked of held-out species is asked among `labels`; new photographs are named among `candidates`.
    """

    def __init__(self, root: str | Path) -> None:
        self.run, self._splits = Run(root), {}
        needed = {"settings": self.run.config_json, "a catalog": self.run.catalog, "a model": self.run.model}
        if lacking := [what for what, path in needed.items() if not path.exists()]:
            raise InputError(
                f"{self.run.root} is no finished run, without {', '.join(lacking)}; give the folder of a trained one, "
                f"or train it first: make reproduce PHOTOS=path/to/folder RUN={self.run.root}"
            )
        self.settings = flat(json.loads(self.run.config_json.read_text(encoding="utf-8")))  # maybe an older version's
        self.catalog = read_catalog(self.run.catalog)
        self.model: LoadedModel = load_model(f"run:{self.run.root}")
        self.scale = self.model.model.logit_scale.exp().item()
        trained_on = usable(self.catalog) & self.catalog["split"].isin(TRAINING)
        classes = class_rows(self.catalog).loc[sorted(set(self.catalog.loc[trained_on, "class_key"]))]
        if self.settings["train.objective"] in CLASS_OBJECTIVES:  # without texts: a class is where its images lie
            train = self.split("train")
            self.labels: LabelSet = labels_of_images(train.features, train.classes, classes, self.model)
        else:
            texts = self.settings["evaluate.text_type"], self.settings["evaluate.templates"]
            self.labels = labels_of_names(classes.rename_axis(LABEL).reset_index(), self.model, *texts)

    @property
    def precision(self) -> str:
        """The precision of image features: what was trained on a frozen trunk is asked of the same."""
        return "fp32" if self.settings["train.freeze_image_tower"] else self.settings["evaluate.precision"]

    def split(self, name: str) -> Split:
        """Return the images of a split, none where the run has no such one."""
        if name not in self._splits:
            self._splits[name] = self._embedded(name)
        return self._splits[name]

    def _embedded(self, name: str) -> Split:
        """Compute the features of a split, or read them."""
        rows = self.catalog.set_index("image_id")
        clip = self.model.model
        if name not in set(read_index(self.run.shards)["split"]):
            blank = np.zeros((1, size_px(clip), size_px(clip), 3), np.uint8)
            return Split(rows.iloc[:0], encode_images(clip, blank)[:0])
        ids = read_image_ids(self.run.shards, name)

        preprocessing = preprocess_digest(clip, self.precision)
        digests = feature_digests(self.run, [name], digest_of_model(clip), preprocessing)
        path = self.run.embeddings / f"identify_{name}.parquet"
        if self.settings["train.freeze_image_tower"]:
            compute = lambda: project_trunk(clip, trunk_table(self.run, clip, [name]).values)  # noqa: E731
            return Split(rows.loc[ids], cached_features(path, ids, digests, compute))
        computed = image_rows(clip, lambda: load_split(self.run, clip, name), 64, self.precision)
        return Split(rows.loc[ids], image_features(path, ids, digests, computed))

    def candidates(self, images: tuple[np.ndarray, np.ndarray] | None = None, taxa: pd.DataFrame | None = None):
        """Return all species of the run: held-out ones, and given ones as of `add_images`, by their photographs.

        By names alone held-out species lose: of 20 birds and 8 leaves 5 and 0 % of the images are named right, by ten
        photographs 85 and 94 %; that takes 8 and 3 points from the others. One with a single photograph stays out.
        """
        val, unseen = self.split("val"), self.split("heldout_species")
        features, classes, of_run = unseen.features, unseen.classes, class_rows(self.catalog)
        if images is not None:
            features, classes = (np.concatenate(pair) for pair in zip((features, classes), images, strict=True))
            of_run = pd.concat([of_run, taxa.loc[~taxa.index.isin(of_run.index)]])
        elif not self._calibrates(val):
            return self.labels
        alone = ~pd.Series(classes, dtype=object).duplicated(keep=False).to_numpy() & np.isin(classes, unseen.classes)
        if alone.all():
            return self.labels
        images = features[~alone], classes[~alone]
        return add_images(self.labels, images, of_run, (val.features, val.classes), self.calibrated_scale)

    def none_of(self, labels: LabelSet) -> list[str]:
        """Return the species of the run that are none of some candidates."""
        return sorted(set(class_rows(self.catalog).index) - set(labels.names[LABEL]))

    def _calibrates(self, val: Split) -> bool:
        """Tell whether there are validation images, all of classes that were trained on."""
        return bool(len(val.rows)) and bool(np.isin(val.classes, self.labels.names[LABEL]).all())

    @functools.cached_property
    def calibrated_scale(self) -> float:
        """What cosines are multiplied by, so that probabilities are those of validation images."""
        return self.scale / self.trust().temperature

    def trust(self, coverage: float = 0.9, labels: LabelSet | None = None) -> Trust:
        """Calibrate on validation images: at least `coverage` of the answers are right, over known species.

        The floor is never below `naming.FLOOR`, as species that the run has never seen come on top, nor stated where
        there are too few images. `labels` are the candidates.
        """
        val, labels = self.split("val"), labels or self.labels
        if not self._calibrates(val):
            return Trust()
        candidates = pd.Index(self.labels.names[LABEL]).get_indexer(val.classes)
        temperature = fit_temperature(val.features, candidates, self.labels, self.scale)
        found = name_features(val.features, labels, self.scale / temperature)
        floor = conformal_floor(wrong_up_to(found, labels, places(val.rows, labels)), coverage)
        known_from, n = float(np.quantile(found.max_logit, 1 - KNOWN_PASS)), len(val.rows)
        if floor >= TOO_FEW:
            said = f"not calibrated, as {n} validation images are too few to state {coverage:.0%}"
            return Trust(temperature, FLOOR, said, known_from, floor)
        said = (
            f"{coverage:.0%} right of {n} validation images of {len(set(val.classes))} classes that it was trained on"
        )
        return Trust(temperature, max(FLOOR, floor), said, known_from, floor)


def nearest_images(features: np.ndarray, split: Split, k: int = 5) -> pd.DataFrame:
    """Show the images of a split that are most like others, whose features (n, D) have unit length.

    Returns
    -------
    DataFrame
        ``photograph`` (the row of `features`), ``place`` (from 1), ``image_id, class_key, scientific_name, location``
        of the image, ``cosine``, and ``row``, its place in the split. Equal ones come in the order of the split.
    """
    found = []
    for start in range(0, len(features), _AT_ONCE):
        rows, values = highest(features[start : start + _AT_ONCE] @ split.features.T, k)  # (b, D) @ (D, m) -> (b, m)
        table = split.rows.iloc[rows.ravel()][["class_key", "scientific_name", "location"]].reset_index()
        table.insert(0, "photograph", start + np.repeat(np.arange(len(rows)), rows.shape[1]))
        table.insert(1, "place", 1 + np.tile(np.arange(rows.shape[1]), len(rows)))
        found.append(table.assign(cosine=values.ravel(), row=rows.ravel()))
    return pd.concat(found, ignore_index=True)


def load_run(root: str | Path) -> TrainedRun:
    """Load a trained run as a namer, with ``model``, ``labels``, ``split(name)`` and ``trust(coverage)``."""
    return TrainedRun(root)
