"""How far results move with the seed of training: a run's recipe, trained again on its own pictures.

``python -m speed.seeds runs/mini --seeds 1 2 3`` takes a finished run. For each seed the functions of notebooks 03, 04,
05 and 08 train, embed and score on the run's catalog and shards; a seed that was finished before is only read. Prints a
row a task and model with a column a seed, mean and standard deviation, beside half the width of its intervals, then how
much the trained model is better than the pretrained tower; the rows lie in ``<folder>/<run>.csv``. Fails if the seeds
change nothing.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd

from bioclip_lib import evaluation, training
from bioclip_lib.catalog import read_catalog
from bioclip_lib.config import flat, load_config
from bioclip_lib.errors import InputError
from bioclip_lib.evaluation import contestants
from bioclip_lib.run import Run, atomic, open_run
from bioclip_lib.structure import control, score_hierarchy

from .measuring import print_table

KEYS = ["dataset", "task", "metric", "model"]
TASKS = r"zero_shot/(un)?seen|few_shot/\d+(/unseen)?|hierarchy/(un)?seen|few_shot/\d+ (simple_shot|ridge)"
METRICS = ("macro_top1", "spearman", "p_value_in_kingdoms", "difference")


def config_of(run):
    """Return the configuration of a run."""
    if not run.config_json.is_file() or not run.catalog.is_file():
        raise InputError(f"{run.root} is no finished run; make it with `make reproduce` first")
    settings = flat(json.loads(run.config_json.read_text(encoding="utf-8")))
    return load_config(settings.pop("profile"), settings)


def trained_with(run, config, seed, folder):
    """Train and score a run's recipe with a seed of training; return the rows of metrics.csv and of differences."""
    config = replace(config, train=replace(config.train, seed=seed))
    out = open_run(folder, config)
    differences = out.tables / "differences.csv"
    if not out.metrics_csv.is_file():
        control.borrow(out, run)
        control.train(out, run, config, training.load_training_data)
        scores, paired = scored(out, read_catalog(run.catalog), config)
        with atomic(differences) as tmp:
            paired.to_csv(tmp, index=False)
        evaluation.append_metrics(out.metrics_csv, scores, run=out.name, profile=config.profile, notebook="seeds")
    found = [evaluation.read_metrics(out.metrics_csv), pd.read_csv(differences)]
    return pd.concat(found).assign(seed=seed)


def scored(run, table, config):
    """Ask the trained model, and the pretrained tower where there is one, what notebooks 04, 05 and 08 ask."""
    own = [name for name in contestants.few_shot_contestants(config) if name in ("trained", "frozen")]
    features, asked = contestants.load_features(run, config, own), config.evaluate
    trained, encoders, text = {"trained": features["trained"]}, {}, {}
    if contestants.can_name(config, "trained"):
        encoders = {"trained": contestants.class_encoder(run, config, "trained")}
        text = {"trained": contestants.text_encoder(run, config, "trained")}
    named = evaluation.score_zero_shot(table, trained if encoders else {}, encoders, asked)[0]
    shown, queries = evaluation.score_few_shot(table, evaluation.draw_folds(table, asked), features, text, asked)
    paired = evaluation.compare_few_shot(queries, "model", "trained")
    paired = paired[(paired["part"] == "all") & paired["method"].isin(["simple_shot", "ridge"])]
    task = "few_shot/" + paired["k"].astype(str) + " " + paired["method"]
    paired = paired.assign(task=task, metric="difference", model="trained - " + paired["baseline"], chance=0.0)
    near = score_hierarchy(table, trained, asked)[0]
    return pd.concat([named, shown, near]), paired[[*KEYS, "value", "ci_low", "ci_high", "chance"]]


def spread(results):
    """A row a task and model: a column a seed, ``mean, sd``, half the mean width of the intervals, chance."""
    rows = results[results["task"].str.fullmatch(TASKS) & results["metric"].isin(METRICS)]
    wide = rows.pivot(index=KEYS, columns="seed", values="value")
    if len(wide.columns) > 1 and (wide.nunique(axis=1) == 1).all():
        raise SystemExit("the seeds change nothing: no row differs between them")
    width = (rows["ci_high"] - rows["ci_low"]).groupby([rows[key] for key in KEYS]).mean() / 2
    chance = rows.groupby(KEYS)["chance"].first()
    return wide.assign(mean=wide.mean(axis=1), sd=wide.std(axis=1), half_interval=width, chance=chance).reset_index()


def main(argv=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a finished run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--folder", default="runs/seeds", help="for what each seed makes, and the table")
    args = parser.parse_args(argv)
    run = Run(args.run)
    config, folder = config_of(run), Path(args.folder)
    results = [trained_with(run, config, seed, folder / f"{run.name}-{seed}") for seed in args.seeds]
    table = spread(pd.concat(results))
    with atomic(folder / f"{run.name}.csv") as tmp:
        table.to_csv(tmp, index=False)
    print_table(table.set_index(KEYS).map("{:.3f}".format).reset_index())


if __name__ == "__main__":
    main()
