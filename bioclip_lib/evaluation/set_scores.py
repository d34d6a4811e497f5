"""Scores on published benchmark sets, asked as their published numbers were.

Takes a run and a folder of sets (``evaluate.sets``); returns rows of metrics.csv whose data set and task are those of
the published numbers. The run's model and those of ``evaluate.models`` see the files themselves, not shards: each by
its own preprocessing. Sets that are absent are listed with what to do; refuses a set without two classes.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from ..catalog import table
from ..config import Config
from ..errors import InputError
from ..run import Run
from . import benchmark_sets, few_shot, few_shot_scores, zero_shot_scores
from . import contestants as features
from .benchmark_sets import BenchmarkSet
from .class_names import class_strings
from .tasks import SCORE_COLUMNS

TEMPLATES = "original"


def score_sets(run: Run, config: Config) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Score the run's model, and those of ``evaluate.models``, on the sets that lie in ``evaluate.sets``.

    Parameters
    ----------
    run : Run
        With a catalog and a trained model.
    config : Config

    Returns
    -------
    scores : dict of set to DataFrame
        Rows for `metrics.append_metrics`: ``zero_shot`` (the text type of the set, the 81 templates of the original,
        all images) of models with a text tower, ``few_shot/<k>`` (SimpleShot on the original's cumulative folds, of
        classes with more than the most shots). Empty where ``evaluate.sets`` is.
    found : DataFrame
        Indexed by set: ``title, n_images`` that were asked, ``differs`` from what was published (a score beside a
        published number is worth what is empty here), ``notes`` (where published numbers were asked otherwise, among
        others), ``to_do`` to get an absent set, or so that one that lies there can be asked.

    Raises
    ------
    InputError
        If a set has no two classes with readable images, or the name of a data set of the run; as of
        `benchmark_sets.load_set`. Nothing is embedded before.
    """
    if not config.evaluate.sets:
        return {}, pd.DataFrame(columns=["title", "n_images", "differs", "notes", "to_do"])
    few_shot.check_shots(config.evaluate.shots, config.evaluate.n_folds)
    survey = benchmark_sets.survey_sets(config.evaluate.sets)
    survey = survey.join(benchmark_sets.read_registry()[["layout", "notes"]]).fillna({"notes": ""})
    survey = survey.query("layout != '' or path != ''")
    found = survey.assign(n_images=0, differs="")[["title", "n_images", "differs", "notes", "to_do"]]
    sets = {name: _readable(name, config) for name in survey.index[survey["to_do"] == ""]}
    if not sets:
        return {}, found
    own = sorted(set(table.read_catalog(run.catalog)["source"]) & set(sets))
    if own:
        raise InputError(
            f"{', '.join(own)}: this run has a data set of the same name, and their few-shot scores would replace each "
            "other; rename the folder of photographs and build again, or take the published set away"
        )
    contestants, scores = features.file_contestants(run, config, ("trained", *config.evaluate.models)), {}
    for name, loaded in sets.items():
        scores[name] = _score_set(run, config, loaded, contestants)
        found.loc[name, ["n_images", "differs"]] = [len(loaded.images), "; ".join(loaded.differences)]
    return scores, found


def _readable(name: str, config: Config) -> BenchmarkSet:
    """Load a set without the images that cannot be read or have no label."""
    loaded = benchmark_sets.load_set(name, config.evaluate.sets)
    images = loaded.images[(loaded.images["problem"] == "") & (loaded.images["class_label"] != "")]
    if images["class_key"].nunique() < 2:
        lines = "; ".join(loaded.differences)
        raise InputError(f"{loaded.facts['title']} has no two classes with readable images ({lines}); complete it")
    return replace(loaded, images=images)


def _score_set(
    run: Run, config: Config, loaded: BenchmarkSet, contestants: Mapping[str, features.Contestant]
) -> pd.DataFrame:
    """Return the zero- and few-shot rows of all models on one set; a set without text type is asked few-shot alone."""
    name, images, text_type = loaded.name, loaded.images, loaded.facts["text_type"]
    labels, candidates = images["class_key"].to_numpy(), np.unique(images["class_key"])
    rows = []
    by_model = features.file_features(run, config, contestants, name, list(images["filepath"]))
    for model, values in by_model.items():
        encoder = contestants[model].encoder
        if text_type and encoder:
            strings = class_strings(benchmark_sets.class_table(images), text_type)
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
