"""Scores on published benchmark sets, asked as their published numbers were.

Takes a run and a folder of sets (``evaluate.sets``); returns rows of metrics.csv whose data set and task are those of
the published numbers. The run's model and those of ``evaluate.models`` see the files themselves, not shards: each by
its own preprocessing. Sets that are absent are listed with what to do; refuses a set without two classes.
"""

import numpy as np
import pandas as pd

from . import benchmark_sets, features, few_shot, few_shot_scores, zero_shot_scores
from .benchmarks import SCORE_COLUMNS
from .class_names import class_strings
from .config import Config
from .errors import InputError
from .paths import Run

TEMPLATES = "original"


def score_sets(run: Run, config: Config) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Score the run's model, and those of ``evaluate.models``, on the sets that lie in ``evaluate.sets``.

    Parameters
    ----------
    run : Run
        With a trained model.
    config : Config

    Returns
    -------
    scores : dict of set to DataFrame
        Rows for `metrics.append_metrics`: ``zero_shot`` (the text type of the set, the 81 templates of the original,
        all images) of models with a text tower, ``few_shot/<k>`` (SimpleShot on the original's cumulative folds, of
        classes with more than the most shots). Empty where ``evaluate.sets`` is.
    found : DataFrame
        Indexed by set: ``title, n_images`` that were asked, ``differs`` from what was published (a score beside a
        published number is worth what is empty here), ``to_do`` to get an absent set.

    Raises
    ------
    InputError
        If a set has no two classes with readable images; as of `benchmark_sets.load_set`.
    """
    if not config.evaluate.sets:
        return {}, pd.DataFrame(columns=["title", "n_images", "differs", "to_do"])
    survey = benchmark_sets.survey_sets(config.evaluate.sets)
    survey = survey[benchmark_sets.read_registry()["layout"] != ""]
    scores, found = {}, survey[["title", "to_do"]].assign(n_images=0, differs="")
    for name in survey.index[survey["path"] != ""]:
        loaded = benchmark_sets.load_set(name, config.evaluate.sets)
        images = loaded.images[(loaded.images["problem"] == "") & (loaded.images["class_label"] != "")]
        if images["class_key"].nunique() < 2:
            lines = "; ".join(loaded.differences)
            raise InputError(f"{loaded.facts['title']} has no two classes with readable images ({lines}); complete it")
        scores[name] = _score_set(run, config, name, images, loaded.facts["text_type"])
        found.loc[name, ["n_images", "differs"]] = [len(images), "; ".join(loaded.differences)]
    return scores, found[["title", "n_images", "differs", "to_do"]]


def _score_set(run: Run, config: Config, name: str, images: pd.DataFrame, text_type: str) -> pd.DataFrame:
    """Return the zero- and few-shot rows of all models on one set; a set without text type is asked few-shot alone."""
    labels, candidates = images["class_key"].to_numpy(), np.unique(images["class_key"])
    rows = []
    models = ("trained", *config.evaluate.models)
    by_model = features.file_features(run, config, models, name, list(images["filepath"]))
    for model, values in by_model.items():
        if text_type and features.can_name(config, model):
            strings = class_strings(benchmark_sets.class_table(images), text_type)
            encoder = features.class_encoder(run, config, model)
            weights = zero_shot_scores.class_weights(strings, encoder, TEMPLATES)
            keys = {"model": model, "dataset": name, "task": "zero_shot"}
            found = (values, labels, candidates, weights, encoder.logit_scale, config.evaluate)
            rows += zero_shot_scores.score_candidates(keys, *found)[0]
        enough = images.groupby("class_key")["class_key"].transform("size").to_numpy() > max(config.evaluate.shots)
        if len(np.unique(labels[enough])) < 2:
            continue
        pool, ids = values[enough], pd.Index(images["filepath"][enough], name="image_id")
        asked = (labels[enough], config.evaluate.shots, config.evaluate.n_folds, "cumulative", config.evaluate.seed)
        for k, folds in few_shot.few_shot_folds(*asked).items():
            answers = few_shot_scores.fold_answers(pool, labels[enough], ids, folds, few_shot.simple_shot)
            keys = {"model": model, "dataset": name, "part": "all", "k": k, "method": "simple_shot"}
            rows += few_shot_scores.score_answers(keys, answers, config.evaluate)
    return pd.DataFrame(rows, columns=SCORE_COLUMNS)
