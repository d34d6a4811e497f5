"""Measure the stages of the path on this machine: ``python -m speed``. Medians of repeats, by processor time."""

import tempfile
from pathlib import Path

import numpy as np

from bioclip_lib.catalog import duplicates, splits
from bioclip_lib.config import load_config
from bioclip_lib.model import encode
from bioclip_lib.model.towers import build_model
from bioclip_lib.shards import captions
from bioclip_lib.shards import read as shard_reader
from bioclip_lib.shards import write as shards
from bioclip_lib.sources.synthetic import tree as synthetic

from . import photographs, world
from .measuring import print_head, print_row, rate, shown

N_IMAGES, N_SPECIES, N_LARGE = 2_000, 40, 64
SPLITS = ("train", "val", "test", "heldout_species")


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
    texts = list(captions.caption_table(table)["taxon_com"])
    yield "encode captions", "texts/s", rate(lambda: encode.encode_texts(clip, texts), len(texts))


def main():
    """Print the table of the stages, and that of photographs."""
    print_head("stage", "rate, of processor time")
    with tempfile.TemporaryDirectory() as folder:
        for stage, unit, found in rows(Path(folder)):
            print_row(stage, f"{shown(found)} {unit}")
    print()
    photographs.main()


if __name__ == "__main__":
    main()
