"""The benchmarks of a run: which images are asked what, and hierarchy scores as rows of metrics.csv.

Takes the catalog and tables of features; returns tidy scores with n, interval and chance, and what each image got.
Each source is a data set of its own. *seen* are test images of species that were trained on, *unseen* all images of
held-out species; the candidates are the classes of the same part. Refuses features that do not cover the images.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from .. import RANKS
from ..catalog import table as catalog
from ..config import EvaluateConfig
from ..errors import InputError
from . import metrics

PARTS = {"test": "seen", "heldout_species": "unseen"}
SCORE_COLUMNS = ["model", "dataset", "task", "metric", "value", "ci_low", "ci_high", "n", "seeds", "chance"]
Features = Mapping[str, "features.FeatureTable"]  # noqa: F821 (features is above this module)


def evaluated_images(table: pd.DataFrame) -> pd.DataFrame:
    """Return the images that are evaluated.

    Parameters
    ----------
    table : DataFrame
        The catalog.

    Returns
    -------
    DataFrame
        Indexed by ``image_id``: ``dataset`` (the source), ``part`` ("seen" or "unseen"), ``class_key``, and the ranks.
    """
    rows = table[catalog.usable(table) & table["split"].isin(list(PARTS))]
    columns = rows[["image_id", "source", *RANKS, "rank"]].rename(columns={"source": "dataset"})
    return columns.assign(part=rows["split"].map(PARTS), class_key=catalog.class_key(rows)).set_index("image_id")


def rows_of(features, images: pd.DataFrame) -> pd.DataFrame:
    """Return features as a frame indexed by image; refuse a table that lacks an evaluated image, or has one twice."""
    frame = pd.DataFrame(features.values, index=features.image_ids)
    if not frame.index.is_unique:
        raise InputError(f"{frame.index[frame.index.duplicated()][0]} has two rows of features; compute them again")
    missing = images.index.difference(frame.index)
    if len(missing):
        raise InputError(f"{len(missing)} evaluated images have no features (e.g. {missing[0]}); rerun 03_training")
    return frame


def with_interval(values: np.ndarray, groups: np.ndarray, config: EvaluateConfig) -> dict:
    """Return ``value, ci_low, ci_high``: a mean and its interval, a bootstrap over classes with all their images."""
    low, high = metrics.bootstrap_interval(values, groups, n_bootstraps=config.n_bootstraps, seed=config.seed)
    return {"value": float(np.mean(values)), "ci_low": low, "ci_high": high}
