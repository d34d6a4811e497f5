"""The control of the hierarchy probe: a world whose looks ignore its tree.

Takes a run on the synthetic tree of life; builds the same tree, names and captions with the genomes permuted over
species, trains the same recipe there, and returns the probe's scores.
"""

from dataclasses import replace

import pandas as pd

from ..catalog import assembly, duplicates
from ..catalog import table as catalog
from ..config import Config
from ..evaluation import contestants
from ..evaluation.tasks import SCORE_COLUMNS
from ..model.load import export_model
from ..model.towers import build_model
from ..run import Run, open_run
from ..shards import write
from ..sources.listings import read_names_csv
from ..synthetic import tree as synthetic
from ..taxonomy import resolution
from ..training import data, loop
from .hierarchy import score_hierarchy

DATASET = "synthetic_shuffled"


def score_shuffled_world(run: Run, config: Config) -> tuple[pd.DataFrame, dict]:
    """Train in the shuffled world and probe it; everything lies in ``<run>/control``.

    Parameters
    ----------
    run : Run
    config : Config
        Of the run; only ``data.synthetic.shuffle_traits`` differs in the control.

    Returns
    -------
    scores : DataFrame
    details : dict
        As `score_hierarchy`, with the data set "synthetic_shuffled"; both empty for photographs.
    """
    if config.data.source != "synthetic":  # photographs look as they do
        return pd.DataFrame(columns=SCORE_COLUMNS), {}
    shuffled = replace(config.data.synthetic, shuffle_traits=True)
    config = replace(config, data=replace(config.data, synthetic=shuffled))
    run = open_run(run.root / "control", config)
    table = build(run, config)
    clip = build_model(config.model, seed=config.train.seed)
    training, validation = data.load_training_data(run, config, clip)
    loop.fit(clip, training, validation, config, run, resume=True, progress=False)
    export_model(clip, config.model, run.model)
    tables = contestants.load_features(run, config, ["trained", "pixels"])
    return score_hierarchy(table, tables, config.evaluate)


def build(run: Run, config: Config) -> pd.DataFrame:
    """Build the catalog and the shards of a synthetic world; return the catalog."""
    folder = run.root / "raw" / DATASET
    tree = synthetic.grow_tree(config.data.synthetic, seed=config.split.seed)
    raw = synthetic.write_images(tree, folder, seed=config.split.seed).assign(source=DATASET)
    names = resolution.resolve(raw, said=read_names_csv(folder / "classes.csv"))
    table = assembly.build(raw, names, duplicates.inspect_images(raw), config).table
    catalog.write_catalog(table, run.catalog)
    write.write_shards(table, run.shards, config.shards)
    return table
