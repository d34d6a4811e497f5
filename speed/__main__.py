"""Measure the stages of the path on this machine: ``python -m speed``. Medians of repeats, one table."""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from bioclip_lib.catalog import duplicates
from bioclip_lib.catalog import table as catalog
from bioclip_lib.config import load_config
from bioclip_lib.model import encode
from bioclip_lib.model.text import tokenize
from bioclip_lib.model.towers import build_model
from bioclip_lib.run import Run
from bioclip_lib.shards import captions
from bioclip_lib.shards import read as shard_reader
from bioclip_lib.shards import write as shards
from bioclip_lib.sources import read
from bioclip_lib.synthetic import tree as synthetic
from bioclip_lib.taxonomy import labels as taxonomy
from bioclip_lib.taxonomy import resolution
from bioclip_lib.training import loop

from . import photographs

N_IMAGES = 2_000


def measure(function, n_items, repeats=3):
    """Return the median of items per second over repeats, after one call to warm up."""
    function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return n_items / statistics.median(seconds)


def build(folder):
    """Write a synthetic world; return its catalog."""
    config = load_config("mini", {"data.synthetic.n_images": N_IMAGES, "data.synthetic.n_species": 40})
    tree = synthetic.grow_tree(config.data.synthetic)
    raw = synthetic.write_images(tree, folder / "raw" / "synthetic")
    names = resolution.resolve_raw_names(raw, read.read_names_csv(folder / "raw" / "synthetic" / "classes.csv"))
    table = catalog.build_catalog(raw, names, duplicates.inspect_images(raw))
    return config, tree, raw, catalog.assign_splits(duplicates.mark_exact_duplicates(table), config.split)


def names_per_second():
    """Return the rate of first resolutions of 500 names of birds and plants, and of the same names again."""
    backbone = taxonomy.ncbi_backbone()
    genera = [backbone.find(name)[0] for name in ("Parus", "Turdus", "Quercus", "Solanum", "Salvia", "Astragalus")]
    names = [name for genus in genera for name in backbone.species_of(genus)][:500]
    start = time.perf_counter()
    taxonomy.resolve_names(names, backbone)
    first = len(names) / (time.perf_counter() - start)
    return first, measure(lambda: taxonomy.resolve_names(names, backbone), len(names))


def training_rates(folder, config, table):
    """Return images per second of training steps: multi-positive loss, and plain CLIP, on the mini model."""
    image_ids, images = shard_reader.load_images(folder / "shards", ["train"], config.shards.image_size_px)
    texts = captions.caption_table(table).set_index("class_key")
    key = catalog.class_key(table).set_axis(table["image_id"])
    labels = texts.index.get_indexer(key.loc[image_ids])
    tokens = torch.stack([tokenize(list(texts[t])) for t in config.train.text_types], dim=1)
    data = loop.TrainData(images, labels, tokens)
    rates = {}
    for objective in ("multi_positive", "clip"):
        settings = {"train.steps": 6, "train.objective": objective, "train.val_every_steps": 1_000}
        clip = build_model(config.model)
        log = loop.fit(clip, data, data, load_config("mini", settings), Run(folder / objective), progress=False)
        rates[objective] = log["images_per_s"].iloc[1:].median()
    return rates


def main():
    """Print the table."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config, tree, raw, table = build(folder)
        species = np.arange(512) % len(tree.taxa)
        rows.append(
            ("render 64 px", "images/s", measure(lambda: synthetic.render_images(tree, species, 0), len(species)))
        )
        rows.append(("decode and check files", "images/s", measure(lambda: duplicates.inspect_images(raw), len(raw))))
        write = lambda: shards.write_shards(table, folder / "shards", config.shards)  # noqa: E731
        rows.append(("write shards", "images/s", measure(write, len(table))))
        splits = ["train", "val", "test", "heldout_species"]
        load = lambda: shard_reader.load_images(folder / "shards", splits, 48)  # noqa: E731
        rows.append(("decode shards", "images/s", measure(load, len(table))))
        images = load()[1][:256]
        clip = build_model(config.model)
        rows.append(("embed, mini ViT", "images/s", measure(lambda: encode.encode_images(clip, images), len(images))))
        lite0 = build_model(load_config("photos").model)
        large = np.repeat(np.repeat(images[:64], 4, axis=1), 4, axis=2)
        rows.append(
            ("embed, Lite0 at 224 px", "images/s", measure(lambda: encode.trunk_features(lite0, large), len(large)))
        )
        for objective, rate in training_rates(folder, config, table).items():
            rows.append((f"training step, mini ViT, {objective}", "images/s", rate))
        texts = list(captions.caption_table(table)["taxon_com"])
        rows.append(("encode captions", "texts/s", measure(lambda: encode.encode_texts(clip, texts), len(texts))))
        first, again = names_per_second()
        rows.append(("resolve names, first time", "names/s", first))
        rows.append(("resolve names, again", "names/s", again))
    rows += photographs.rows()
    frame = pd.DataFrame(rows, columns=["stage", "unit", "rate"])
    print(f"{torch.get_num_threads()} threads")
    print(
        frame.to_string(index=False, formatters={"rate": lambda rate: f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"})
    )


if __name__ == "__main__":
    main()
