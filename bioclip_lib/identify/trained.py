"""What a run knows: its model, the classes that it was trained on, and how far its probabilities can be trusted."""

import json
from pathlib import Path

import pandas as pd

from ..catalog.splits import TRAINING, class_rows, usable
from ..catalog.table import read_catalog
from ..config import Config, flat, load_config
from ..errors import InputError
from ..evaluation.contestants import can_name
from ..model.load import LoadedModel, load_model
from ..run import Run
from .candidates import labels_of_catalog
from .labels import LabelSet


def config_of(run: Run) -> Config:
    """Return the configuration that a run was started with."""
    if not run.config_json.is_file():
        raise InputError(f"{run.root} is no run; start it with 01_dataset_construction")
    settings = flat(json.loads(run.config_json.read_text(encoding="utf-8")))
    return load_config(settings.pop("profile"), settings)


def known_classes(table: pd.DataFrame) -> pd.DataFrame:
    """Return the classes of a catalog that were trained on, as `class_rows`."""
    kept = table[usable(table) & table["split"].isin(TRAINING)]
    return class_rows(table).loc[sorted(set(kept["class_key"]))]


def load_run(root: str | Path) -> tuple[LoadedModel, LabelSet]:
    """Load the model of a run, and its trained classes as candidates.

    Parameters
    ----------
    root : str or Path
        The folder of a run that was trained.

    Raises
    ------
    InputError
        If there is no run or no model, or it was trained without texts.
    """
    run = Run(root)
    config = config_of(run)
    if not can_name(config, "trained"):
        raise InputError(
            f"the model of {run.root} was trained without texts and cannot name by them; train with a contrastive "
            "objective"
        )
    model = load_model(f"run:{run.root}")
    classes = known_classes(read_catalog(run.catalog))
    return model, labels_of_catalog(classes, model, config.evaluate.text_type, config.evaluate.templates)
