"""A run in small: the calls of notebooks 01, 03 and 04 on a tiny world, and what its artefacts must be like."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

from bioclip_lib import catalog, evaluation, model, shards, sources, taxonomy, training
from bioclip_lib.catalog import duplicates
from bioclip_lib.config import load_config
from bioclip_lib.evaluation.contestants import load_features
from bioclip_lib.model import features
from bioclip_lib.run import Run, file_sha256, locked, open_run, stages
from bioclip_lib.sources import synthetic
from bioclip_lib.sources.synthetic.render import textures
from bioclip_lib.taxonomy import resolution
from bioclip_lib.training.checkpoints import made_by

CONFIG = load_config(
    "smoke",
    {
        **{"data.synthetic.n_species": 8, "data.synthetic.n_images": 48, "shards.samples_per_shard": 12},
        **{"model.vision_layers": 1, "model.vision_width": 32, "model.text_width": 32, "model.embed_dim": 16},
        **{"train.steps": 12, "train.batch_size": 16, "train.warmup_steps": 2, "train.checkpoint_every_steps": 2},
        "evaluate.precision": "fp32",
    },
)
STAGES = ("01_dataset_construction", "03_training", "04_zero_shot")


def small_parts() -> None:
    """Let each stage of so small a world have several parts; know what each process would compute again."""
    duplicates.AT_ONCE, features._AT_ONCE, resolution._AT_ONCE = 8, 8, 3
    textures()
    made_by()


def make(root: Path) -> None:
    """Bring a run to its end, from wherever it was left; a command like `reproduce`, without its notebooks."""
    with locked(root):
        run = open_run(root, CONFIG)
        stages.give_up(run.root, stages.damage(run.root))
        for name, execute in zip(STAGES, (build, train, evaluate), strict=True):
            stage = stages.Stage(name, {"settings": json.loads(json.dumps(CONFIG.to_dict()))}, ("catalog.parquet",))
            if stages.stale(run.root, stage):
                begun = stages.begin(run.root)
                execute(run)
                stages.finish(run.root, stage, begun)


def build(run: Run) -> None:
    tree = synthetic.grow_tree(CONFIG.data.synthetic, seed=0)
    raw = synthetic.write_images(tree, run.root / "raw", seed=0)
    said = sources.read_names_csv(run.root / "raw" / "classes.csv")
    names = taxonomy.resolve(raw, None, said, keep=run.parts)
    run.tables.mkdir(exist_ok=True)
    names.to_csv(run.tables / "names.csv", index=False)
    inspected = catalog.inspect_images(raw, keep=run.parts)
    built = catalog.build(raw, names, inspected, CONFIG, keep=run.parts)
    catalog.write_catalog(built.table, run.catalog)
    shards.write_shards(built.table, run.shards, CONFIG.shards)
    catalog.write_card(built.table, run.root, title="faults")


def train(run: Run) -> None:
    clip = model.build_model(CONFIG.model, seed=0)
    pairs, validation = training.load_training_data(run, CONFIG, clip)
    training.fit(clip, pairs, validation, CONFIG, run, resume=True, progress=False)
    model.export_model(clip, CONFIG.model, run.model)


def evaluate(run: Run) -> None:
    tables = load_features(run, CONFIG, ["trained", "pixels"])
    value = float(np.abs(tables["trained"].values).mean())
    labels = {"dataset": "synthetic", "model": "trained", "task": "zero_shot/seen", "metric": "top1"}
    numbers = {"value": value, "ci_low": 0, "ci_high": 1, "n": 9, "seeds": 1, "chance": 0.1, "seconds": 0.0}
    rows = pd.DataFrame([{**labels, **numbers}])
    evaluation.append_metrics(run.metrics_csv, rows, run=run.name, profile="smoke", notebook="04_zero_shot")


def artefacts(root: Path) -> dict[str, str]:
    """Return the digests of all that must be the same whatever happened on the way; the newest checkpoint among it."""
    rows = catalog.read_catalog(root / "catalog.parquet").drop(columns="location")  # where the run lies
    names = ["attribution.csv", "metrics.csv", "model/open_clip_model.safetensors"]
    names += [f"embeddings/{name}.parquet" for name in ("trained", "pixels")]
    names += sorted(str(path.relative_to(root)) for path in (root / "shards").rglob("*.*") if path.is_file())
    digests = {name: file_sha256(root / name) for name in names if (root / name).is_file()}
    return digests | {"catalog.parquet": str(pd.util.hash_pandas_object(rows).sum())}


def leftovers(root: Path) -> list[str]:
    """Return temporary files, folders and parts that nobody needs any more."""
    ends = (".tmp", ".old", ".parts")
    return [name for _, folders, files in os.walk(root) for name in [*folders, *files] if name.endswith(ends)]
