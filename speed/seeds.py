"""How far results move with a seed: of training, or of the choice of the held-out species.

``python -m speed.seeds --profile mini --seeds 1 2 3`` runs all notebooks once a seed, by the same command as
`make reproduce` (runs that are there and whole are only read), and prints a row a task and model with a column a seed,
mean and standard deviation, beside half the width of its intervals. ``--vary split.seed`` holds other species out.
Fails if the seeds change nothing.
"""

import argparse
import contextlib
import sys
from pathlib import Path

import pandas as pd

from bioclip_lib import reproduce
from bioclip_lib.evaluation import read_metrics

from .measuring import print_table

KEYS = ["dataset", "task", "metric", "model"]
TASKS = r"zero_shot/(un)?seen|few_shot/\d+(/unseen)?|hierarchy/unseen"
METRICS = ("macro_top1", "spearman", "p_value_in_kingdoms")


def metrics_of(args, seed):
    """Run the notebooks with a seed; return its numbers."""
    folder = Path(args.folder) / f"{args.profile}-{args.vary}-{seed}"
    command = ["--profile", args.profile, "--run", str(folder), "--photos", args.photos]
    with contextlib.redirect_stdout(sys.stderr):  # its lines are no part of the table
        status = reproduce.main([*command, "--set", *args.set, f"{args.vary}={seed}"])
    if status:
        raise SystemExit(status)
    return read_metrics(folder / "metrics.csv").assign(seed=seed)


def spread(results):
    """A row a task and model: a column a seed, ``mean, sd``, half the mean width of the intervals, chance."""
    rows = results[results["task"].str.fullmatch(TASKS) & results["metric"].isin(METRICS)]
    wide = rows.pivot(index=KEYS, columns="seed", values="value")
    if (wide.nunique(axis=1) == 1).all():
        raise SystemExit("the seeds change nothing: no row differs between them")
    width = (rows["ci_high"] - rows["ci_low"]).groupby([rows[key] for key in KEYS]).mean() / 2
    chance = rows.groupby(KEYS)["chance"].first()
    return wide.assign(mean=wide.mean(axis=1), sd=wide.std(axis=1), half_interval=width, chance=chance).reset_index()


def main(argv=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="mini")
    parser.add_argument("--photos", default="")
    parser.add_argument("--vary", default="train.seed", choices=("train.seed", "split.seed"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--folder", default="runs/seeds")
    args = parser.parse_args(argv)
    table = spread(pd.concat([metrics_of(args, seed) for seed in args.seeds])).set_index(KEYS)
    print_table(table.map("{:.3f}".format).reset_index())


if __name__ == "__main__":
    main()
