"""Repeat training and evaluation over choices of the held-out species.

``python -m speed.unseen_seeds --run runs/photos`` takes a finished run of the profile photos (its frozen features
are read, only those of mirror images are computed), prints a row a task with a column a seed, and the mean.
"""

import argparse
import dataclasses
import functools
import tempfile

import numpy as np
import pandas as pd

from bioclip_lib.catalog import splits
from bioclip_lib.catalog import table as catalog
from bioclip_lib.config import load_config
from bioclip_lib.evaluation import contestants, few_shot, zero_shot
from bioclip_lib.model import encode as embed
from bioclip_lib.model import features
from bioclip_lib.model.towers import build_model
from bioclip_lib.run import Run
from bioclip_lib.shards import read
from bioclip_lib.training import data, loop

from .measuring import print_table


def read_trunk(run, mirrored=False):
    """Return the frozen features of all images of a run, indexed by image; what is missing is computed."""
    clip = build_model(load_config("photos").model)
    table = features.trunk_table(run, clip, sorted(set(read.read_index(run.shards)["split"])), mirrored)
    return pd.DataFrame(table.values, index=table.image_ids)


def score(table, trunk, mirrored, config):
    """Train and score one choice of held-out species; return the top1 rows."""
    clip = build_model(config.model, seed=config.train.seed)
    training = table[table["split"].isin(["train", "val"])]
    labels, captioned = data.captioned_classes(training, config)
    parts = []
    for split in ("train", "val"):
        ids = table.loc[table["split"] == split, "image_id"]
        views = [trunk.loc[ids], mirrored.loc[ids]] if split == "train" else [trunk.loc[ids]]
        inputs, classes = np.concatenate(views), np.tile(labels.loc[ids].to_numpy(), len(views))
        parts.append(dataclasses.replace(captioned, inputs=inputs.astype(np.float32), labels=classes))
    data.start_projection(clip, parts[0].inputs)
    with tempfile.TemporaryDirectory() as folder:
        loop.fit(clip, *parts, config, Run(folder), progress=False)
    ids = list(table.loc[table["split"].isin(contestants.EVALUATED_SPLITS), "image_id"])
    values = trunk.loc[ids].to_numpy(np.float32)
    tables = {
        "trained": features.FeatureTable(ids, contestants.project_trunk(clip, values)),
        "frozen": features.FeatureTable(ids, values),
    }
    encode = functools.partial(embed.encode_texts, clip)
    weights = functools.partial(zero_shot.zero_shot_weights, encode)
    encoders = {"trained": zero_shot.ClassEncoder(weights, clip.logit_scale.exp().item())}
    named, _ = zero_shot.score_zero_shot(table, {"trained": tables["trained"]}, encoders, config.evaluate)
    folds = few_shot.draw_folds(table, config.evaluate)
    shots, _ = few_shot.score_few_shot(table, folds, tables, {}, config.evaluate)
    scores = pd.concat([named, shots])
    main = ["zero_shot/seen", "zero_shot/unseen", "few_shot/1", "few_shot/5"]
    return scores[(scores["metric"] == "top1") & scores["task"].isin(main)]


def main(argv=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", default="runs/photos")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2, 3, 4])
    args = parser.parse_args(argv)
    run = Run(args.run)
    table, trunk, mirrored = catalog.read_catalog(run.catalog), read_trunk(run), read_trunk(run, mirrored=True)
    rows = []
    for seed in args.seeds:
        config = load_config("photos", {"split.seed": seed})
        scores = score(splits.assign_splits(table, config.split), trunk, mirrored, config)
        rows.append(scores.assign(split_seed=seed))
    scores = pd.concat(rows)
    keys = ["dataset", "task", "model"]
    wide = scores.pivot_table(index=keys, columns="split_seed", values="value")
    wide = wide.assign(mean=wide.mean(axis=1), std=wide.std(axis=1), chance=scores.groupby(keys)["chance"].mean())
    print_table((100 * wide).round(1).reset_index()[["task", "model", *args.seeds, "mean", "std", "chance"]])


if __name__ == "__main__":
    main()
