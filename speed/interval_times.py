"""Processor time of a run's intervals and paired tests, here and as an older commit had them.

``python -m speed.interval_times runs/mini runs/birds100 --base ddcf194`` takes finished runs and asks of their answers
what notebooks 04, 05, 08 and 10 ask: intervals of accuracies, paired differences, intervals of rank correlations. The
older commit, which drew 2,000 bootstraps for each, is checked out into a temporary folder. Permutation tests, which
both have, are not counted, nor the intervals of triplets, which the older commit had not; the last line is 999
permutations inside strata, of 400 species.
"""

import argparse
import os
import pickle
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

KINDS = ("means", "differences", "correlations")


def questions(root):
    """Return the arrays of a run's questions by kind: values, groups; a, b, groups; embedding, tree, clades."""
    from bioclip_lib.catalog import read_catalog
    from bioclip_lib.evaluation import load_few_shot
    from bioclip_lib.run import Run
    from bioclip_lib.structure import score_hierarchy

    from .seeds import config_of

    run = Run(root)
    config, found = config_of(run), {kind: [] for kind in KINDS}
    named = pd.read_csv(run.tables / "zero_shot_predictions.csv", dtype=str, keep_default_na=False)
    named = named.assign(correct=named["class_key"] == named["predicted"], k=0, fold=0, method="zero_shot")
    answers = pd.concat([named, pd.read_parquet(run.tables / "few_shot_queries.parquet")], ignore_index=True)
    for _, rows in answers.sort_values(["fold", "image_id"]).groupby(["dataset", "part", "k", "method"]):
        right = {name: own["correct"].to_numpy(float) for name, own in rows.groupby("model")}
        of = {name: own["class_key"].to_numpy(object) for name, own in rows.groupby("model")}
        for name, values in right.items():
            per_class = pd.Series(values).groupby(of[name]).mean()
            found["means"] += [(values, of[name]), (per_class.to_numpy(), per_class.index.to_numpy(object))]
        found["differences"] += [
            (right["trained"], right[name], of[name]) for name in set(right) - {"trained"} if "trained" in right
        ]
    once = replace(config.evaluate, n_permutations=1)
    details = score_hierarchy(read_catalog(run.catalog), load_few_shot(run, config)[0], once)[1]
    found["correlations"] = [(one["embedding"], one["tree"], one["clades"]) for one in details.values()]
    return found


def ways_of_base():
    """How an older commit answers: percentiles of bootstraps."""
    from bioclip_lib import hierarchy, metrics

    return {
        "means": metrics.bootstrap_interval,
        "differences": metrics.paired_difference,
        "correlations": lambda embedding, tree, _: hierarchy.bootstrap_rho(embedding, tree),
    }


def ways_here():
    """How this tree answers."""
    from bioclip_lib.evaluation import statistics
    from bioclip_lib.structure import hierarchy

    return {
        "means": statistics.mean_interval,
        "differences": statistics.compare,
        "correlations": lambda *asked: hierarchy.over_clades(hierarchy.spearman, *asked),
    }


def seconds(path, ways):
    """Answer the questions of a file; return the processor time of each kind."""
    asked, found = pickle.loads(Path(path).read_bytes()), []  # noqa: S301 (written by `main`)
    for kind, way in ways().items():
        for question in asked[kind][:1]:
            way(*question)  # warm up
        start = time.process_time()
        for question in asked[kind]:
            way(*question)
        found.append(time.process_time() - start)
    return found


def stratified_permutations(n=400, n_permutations=999):
    """Return the processor time of Mantel's test inside ten strata."""
    from bioclip_lib.structure import hierarchy

    points = np.random.default_rng(0).normal(size=(n, 16))
    a, b = (hierarchy.embedding_distance(x) for x in (points, points + np.random.default_rng(1).normal(size=(n, 16))))
    start = time.process_time()
    hierarchy.mantel(a, b, n_permutations, 0, np.arange(n) % 10)
    return time.process_time() - start


def main(argv=None):
    """Print a row a run and kind; or, for the process of the older commit, the seconds of each kind."""
    from .measuring import print_head, print_row
    from .names import checkouts

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--base", default="", help="an older commit, measured beside this tree")
    args = parser.parse_args(argv)
    print_head("run", "what", "asked", args.base or "older, s", "here, s", "times")
    with checkouts(args.base) as trees, tempfile.TemporaryDirectory() as folder:
        for root in args.runs:
            asked, path = questions(root), Path(folder) / "asked"
            path.write_bytes(pickle.dumps(asked))
            here, older = seconds(path, ways_here), [float("nan")] * len(KINDS)
            if args.base:
                environment = {**os.environ, "PYTHONPATH": str(trees[args.base])}
                command = [sys.executable, __file__, str(path)]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
                older = [float(part) for part in done.stdout.split()]
            counts = [len(asked[kind]) for kind in KINDS]
            for row in zip(("all", *KINDS), *([sum(x), *x] for x in (counts, older, here)), strict=True):
                if row[1]:
                    print_row(Path(root).name, *row, row[2] / row[3])
    print_row("400 species", "999 permutations inside strata", 1, "", stratified_permutations(), "")


if __name__ == "__main__":
    if __package__:
        main()
    else:  # by its path, in the process of the older commit
        print(*seconds(sys.argv[1], ways_of_base))
