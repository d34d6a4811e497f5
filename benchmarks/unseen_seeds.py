"""Repeat training and evaluation over choices of the held-out species.

``python -m benchmarks.unseen_seeds --run runs/photos`` takes a finished run of the profile photos (its frozen features
are read, not computed), prints a row a task with a column a seed, and the mean. The run itself is not changed.
"""

import argparse
import dataclasses
import tempfile

import numpy as np
import pandas as pd

from bioclip_lib import benchmarks, catalog, embed, features, model, train, train_data
from bioclip_lib.config import load_config
from bioclip_lib.paths import Run


def read_trunk(run):
    """Return the frozen features of all images of a run, indexed by image."""
    tables = [embed.read_features(path) for path in sorted(run.embeddings.glob("trunk_*.parquet"))]
    return pd.concat([pd.DataFrame(values, index=image_ids) for image_ids, values, _ in tables])


def score(table, trunk, config):
    """Train and score one choice of held-out species; return the top1 rows."""
    clip = model.build_model(config.model, seed=config.train.seed)
    training = table[table["split"].isin(["train", "val"])]
    labels, captioned = train_data.captioned_classes(training, config)
    parts = []
    for split in ("train", "val"):
        ids = table.loc[table["split"] == split, "image_id"]
        inputs = trunk.loc[ids].to_numpy(np.float32)
        parts.append(dataclasses.replace(captioned, inputs=inputs, labels=labels.loc[ids].to_numpy()))
    train_data.start_projection(clip, parts[0].inputs)
    with tempfile.TemporaryDirectory() as folder:
        train.fit(clip, *parts, config, Run(folder), progress=False)
    ids = list(table.loc[table["split"].isin(features.EVALUATED_SPLITS), "image_id"])
    values = trunk.loc[ids].to_numpy(np.float32)
    tables = {
        "trained": features.FeatureTable(ids, features.project_trunk(clip, values)),
        "frozen": features.FeatureTable(ids, values),
    }
    encoders = {"trained": lambda texts: embed.encode_texts(clip, texts)}
    zero_shot, _ = benchmarks.score_zero_shot(table, {"trained": tables["trained"]}, encoders, config.evaluate)
    few_shot, _ = benchmarks.score_few_shot(table, tables, config.evaluate)
    scores = pd.concat([zero_shot, few_shot])
    main = ["zero_shot/seen", "zero_shot/unseen", "few_shot/1", "few_shot/5"]
    return scores[(scores["metric"] == "top1") & scores["task"].isin(main)]


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", default="runs/photos")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2, 3, 4])
    args = parser.parse_args()
    run = Run(args.run)
    table, trunk = catalog.read_catalog(run.catalog), read_trunk(run)
    rows = []
    for seed in args.seeds:
        config = load_config("photos", {"split.seed": seed})
        scores = score(catalog.assign_splits(table, config.split), trunk, config)
        rows.append(scores.assign(split_seed=seed))
    scores = pd.concat(rows)
    keys = ["dataset", "task", "model"]
    wide = scores.pivot_table(index=keys, columns="split_seed", values="value")
    wide = wide.assign(mean=wide.mean(axis=1), std=wide.std(axis=1), chance=scores.groupby(keys)["chance"].mean())
    print((100 * wide).round(1).to_string())


if __name__ == "__main__":
    main()
