"""Measure the stages of the path on this machine: ``python -m speed``. Medians of repeats, one table."""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from bioclip_lib.catalog import duplicates, splits
from bioclip_lib.config import load_config
from bioclip_lib.model import encode
from bioclip_lib.model.text import tokenize
from bioclip_lib.model.towers import build_model
from bioclip_lib.run import Run
from bioclip_lib.shards import captions
from bioclip_lib.shards import read as shard_reader
from bioclip_lib.shards import write as shards
from bioclip_lib.synthetic import tree as synthetic
from bioclip_lib.taxonomy import resolve
from bioclip_lib.taxonomy.ncbi import ncbi
from bioclip_lib.training import TrainData, loop

from . import photographs, world
from .measuring import print_head, print_row, rate, shown

N_IMAGES, N_SPECIES = 2_000, 40
N_NAMES = 500
TRAIN_STEPS, N_LARGE = 6, 64
SPLITS = ("train", "val", "test", "heldout_species")
GENERA = ("Parus", "Turdus", "Quercus", "Solanum", "Salvia", "Astragalus")


def names_per_second():
    """Return the rate of first resolutions of names of birds and plants, and of the same names again."""
    names = [name for genus in GENERA for name in ncbi().congeners(genus)][:N_NAMES]
    start = time.perf_counter()
    resolve(names)
    first = len(names) / (time.perf_counter() - start)
    return first, rate(lambda: resolve(names), len(names))


def training_rates(folder, config, table):
    """Return images per second of training steps: multi-positive loss, and plain CLIP, on the mini model."""
    image_ids, images = shard_reader.load_images(folder / "shards", ["train"], config.shards.image_size_px)
    texts = captions.caption_table(table).set_index("class_key")
    key = table.set_index("image_id")["class_key"]
    labels = texts.index.get_indexer(key.loc[image_ids])
    tokens = torch.stack([tokenize(list(texts[t])) for t in config.train.text_types], dim=1)
    data = TrainData(images, labels, tokens)
    rates = {}
    for objective in ("multi_positive", "clip"):
        settings = {"train.steps": TRAIN_STEPS, "train.objective": objective, "train.val_every_steps": 1_000}
        clip = build_model(config.model)
        log = loop.fit(clip, data, data, load_config("mini", settings), Run(folder / objective), progress=False)
        rates[objective] = log["images_per_s"].iloc[1:].median()
    return rates


def rows(folder):
    """Measure the stages; yield (stage, unit, rate)."""
    config, tree, raw, table = world.build(folder, N_IMAGES, N_SPECIES)
    table = splits.assign_splits(table, config.split)
    species = np.arange(min(512, N_IMAGES)) % len(tree.taxa)
    yield "render 64 px", "images/s", rate(lambda: synthetic.render_images(tree, species, 0), len(species))
    yield "decode and check files", "images/s", rate(lambda: duplicates.inspect_images(raw), len(raw))
    write = lambda: shards.write_shards(table, folder / "shards", config.shards)  # noqa: E731
    yield "write shards", "images/s", rate(write, len(table))
    load = lambda: shard_reader.load_images(folder / "shards", SPLITS, 48)  # noqa: E731
    yield "decode shards", "images/s", rate(load, len(table))
    images, clip = load()[1][:256], build_model(config.model)
    yield "embed, mini ViT", "images/s", rate(lambda: encode.encode_images(clip, images), len(images))
    lite0 = build_model(load_config("photos").model)
    large = np.repeat(np.repeat(images[:N_LARGE], 4, axis=1), 4, axis=2)
    yield "embed, Lite0 at 224 px", "images/s", rate(lambda: encode.trunk_features(lite0, large), len(large))
    for objective, found in training_rates(folder, config, table).items():
        yield f"training step, mini ViT, {objective}", "images/s", found
    texts = list(captions.caption_table(table)["taxon_com"])
    yield "encode captions", "texts/s", rate(lambda: encode.encode_texts(clip, texts), len(texts))
    first, again = names_per_second()
    yield "resolve names, first time", "names/s", first
    yield "resolve names, again", "names/s", again


def main():
    """Print the table of the stages, and that of photographs."""
    print(f"{torch.get_num_threads()} threads\n")
    print_head("stage", "rate")
    with tempfile.TemporaryDirectory() as folder:
        for stage, unit, found in rows(Path(folder)):
            print_row(stage, f"{shown(found)} {unit}")
    print()
    photographs.main()


if __name__ == "__main__":
    main()
