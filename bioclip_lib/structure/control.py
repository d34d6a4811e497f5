"""Controls: the run's recipe where looks, or words, are dealt out at random.

Takes a run; trains once for each control that ``evaluate.controls`` names, and asks what the run's own model is asked.
``shuffled`` is the synthetic world with genomes dealt out over all species, ``shuffled_in_kingdoms`` inside kingdoms:
the same tree and captions, looks that ignore the tree. ``ranks_dealt`` and ``names_dealt`` are the run's own pictures,
with the ranks, or the common names, of the trained species dealt out among these. Refuses to shuffle photographs.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from .. import RANKS
from ..catalog import assembly, duplicates
from ..catalog import table as catalog
from ..catalog.splits import TRAINING, class_rows
from ..config import Config
from ..errors import InputError
from ..evaluation import contestants, few_shot
from ..evaluation.tasks import score_frame
from ..model.load import export_model
from ..model.towers import build_model
from ..run import Run, open_run
from ..shards import write
from ..sources.classes import read_names_csv
from ..sources.synthetic import tree as synthetic
from ..taxonomy import resolution
from ..training import data, loop
from .hierarchy import score_hierarchy

DEALT = {"ranks_dealt": [*RANKS, "scientific_name"], "names_dealt": ["common_name"]}


def score_controls(run: Run, config: Config) -> tuple[pd.DataFrame, dict, pd.DataFrame]:
    """Train and probe the controls of a run; each lies in ``<run>/controls/<control>``.

    Returns
    -------
    scores : DataFrame
        Rows for `append_metrics`. A shuffled world is a data set of its own, ``synthetic_<control>``, of the models
        ``trained`` and ``pixels``: `score_hierarchy`. Dealt words make another model of the run's data sets, named as
        the control: `score_hierarchy`, and SimpleShot of unseen species on the run's own folds.
    details : dict
        As of `score_hierarchy`.
    paired : DataFrame
        `evaluation.compare_few_shot` of the run's model with those of dealt words, on unseen species.
    """
    check_controls(config)
    found = [_shuffled(run, config, name) for name in config.evaluate.controls if name not in DEALT]
    dealt = {name: _dealt(run, config, name) for name in config.evaluate.controls if name in DEALT}
    paired = few_shot.compare_few_shot(pd.DataFrame(columns=few_shot.QUERY_COLUMNS), "model", "trained")
    if dealt:
        table, features = catalog.read_catalog(run.catalog), contestants.load_features(run, config, ["trained"])
        found.append(score_hierarchy(table, dealt, config.evaluate))
        folds = few_shot.draw_folds(table, config.evaluate)
        asked = (table, folds[folds["part"] == "unseen"], features | dealt, {}, config.evaluate)
        rows, queries = few_shot.score_few_shot(*asked)
        queries = queries[queries["method"] == "simple_shot"]
        found.append((rows[rows["model"].isin(list(dealt)) & ~rows["task"].str.contains("/unseen/")], {}))
        paired = few_shot.compare_few_shot(queries, "model", "trained")
    scores = pd.concat([score_frame([]), *(rows for rows, _ in found if len(rows))])
    return scores, {key: value for _, details in found for key, value in details.items()}, paired


def check_controls(config: Config) -> None:
    """Refuse to shuffle photographs."""
    shuffled = [name for name in config.evaluate.controls if name not in DEALT]
    if shuffled and config.data.source != "synthetic":
        raise InputError(
            f"evaluate.controls={shuffled[0]} deals out looks, and photographs look as they do; choose "
            f"{' or '.join(DEALT)}"
        )


def _shuffled(run: Run, config: Config, name: str) -> tuple[pd.DataFrame, dict]:
    """Build a synthetic world whose genomes are dealt out over species, train and probe there."""
    world = open_run(run.root / "controls" / name, config)
    table = build(world, config, name)
    train(world, world, config, data.load_training_data)
    tables = contestants.load_features(world, config, ["trained", "pixels"])
    return score_hierarchy(table, tables, config.evaluate)


def build(run: Run, config: Config, name: str = "") -> pd.DataFrame:
    """Build the catalog and the shards of a shuffled world, or of the true one; return the catalog."""
    folder = run.root / "raw" / ("synthetic" + f"_{name}" * bool(name))
    tree = synthetic.grow_tree(config.data.synthetic, seed=config.split.seed)
    if name:
        strata = tree.taxa["kingdom"].to_numpy() if name == "shuffled_in_kingdoms" else np.zeros(len(tree.taxa))
        tree = replace(tree, genomes=tree.genomes[dealt_inside(strata, config.split.seed)])
    raw = synthetic.write_images(tree, folder, seed=config.split.seed).assign(source=folder.name)
    names = resolution.resolve(raw, resolution.open_backbones(config.data), read_names_csv(folder / "classes.csv"))
    table = assembly.build(raw, names, duplicates.inspect_images(raw), config).table
    catalog.write_catalog(table, run.catalog)
    write.write_shards(table, run.shards, config.shards)
    return table


def dealt_inside(strata: np.ndarray, seed: int) -> np.ndarray:
    """Return whose each object's becomes: another's of its stratum, at random; its own where it is alone there."""
    rng, result = np.random.default_rng([seed, 4]), np.arange(len(strata))
    for stratum in np.unique(strata):
        order = rng.permutation(np.flatnonzero(strata == stratum))
        result[order] = np.roll(order, 1)  # one cycle through all: nothing stays
    return result


def _dealt(run: Run, config: Config, name: str):
    """Train on the run's pictures with words dealt out among the trained species; return the features."""
    folder = open_run(run.root / "controls" / name, config)
    borrow(folder, run)
    train(folder, run, config, load_dealt(name))
    return contestants.load_features(folder, config, ["trained"])["trained"]


def load_dealt(name: str) -> Callable:
    """Return `load_training_data` with a control's words dealt out among the trained species."""

    def load(run: Run, config: Config, clip):
        dealt = deal_words(catalog.read_catalog(run.catalog), DEALT[name], config.split.seed)
        captioned = data.captioned_classes(dealt[dealt["split"].isin(TRAINING)], config)[1]
        words = {part: getattr(captioned, part) for part in ("tokens", "groups", "lineages")}
        return [replace(part, **words) for part in data.load_training_data(run, config, clip)]

    return load


def borrow(folder: Run, run: Run) -> None:
    """Let a run in a folder of its own look at another's shards, and at what a frozen trunk saw there."""
    folder.shards = run.shards
    folder.embeddings.mkdir(exist_ok=True)
    for path in run.embeddings.glob("*trunk_*.parquet"):
        if not (folder.embeddings / path.name).exists():
            shutil.copyfile(path, folder.embeddings / path.name)


def deal_words(table: pd.DataFrame, columns: list[str], seed: int) -> pd.DataFrame:
    """Return a catalog in which these columns of each trained species, where none is empty, are another one's."""
    classes = class_rows(table[table["split"].isin(TRAINING)])
    classes = classes[(classes["rank"] == "species") & (classes[columns] != "").all(axis=1)]
    given = classes[columns].iloc[dealt_inside(np.zeros(len(classes)), seed)].set_axis(classes.index)
    told = table["class_key"].isin(classes.index)
    result = table.copy()
    result.loc[told, columns] = given.loc[table.loc[told, "class_key"]].to_numpy()
    return result


def train(folder: Run, pictures: Run, config: Config, load: Callable) -> None:
    """Train the recipe on what `load` gives of a run's pictures; checkpoints and model lie in the folder."""
    clip = build_model(config.model, seed=config.train.seed)
    training, validation = load(pictures, config, clip)
    if config.train.freeze_image_tower:
        data.start_projection(clip, training.inputs)
    loop.fit(clip, training, validation, config, folder, resume=True, progress=False)
    export_model(clip, config.model, folder.model)
