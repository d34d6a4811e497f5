"""A synthetic world as the scripts here use it: images, catalog, shards."""

from bioclip_lib.catalog import assembly, duplicates
from bioclip_lib.catalog import table as catalog
from bioclip_lib.config import load_config
from bioclip_lib.run import Run
from bioclip_lib.shards import write
from bioclip_lib.sources import read_names_csv
from bioclip_lib.sources.synthetic import tree as synthetic
from bioclip_lib.taxonomy import resolution


def build(folder, n_images, n_species=120):
    """Write the images of a synthetic world; return its configuration, tree, raw rows and catalog without splits."""
    sizes = {"data.synthetic.n_images": n_images, "data.synthetic.n_species": n_species}
    config = load_config("mini", sizes | {"shards.samples_per_shard": 400})
    tree = synthetic.grow_tree(config.data.synthetic)
    raw = synthetic.write_images(tree, folder / "raw" / "synthetic")
    names = resolution.resolve(raw, said=read_names_csv(folder / "raw" / "synthetic" / "classes.csv"))
    table = assembly.join(raw, names, duplicates.inspect_images(raw))
    return config, tree, raw, duplicates.mark_exact_duplicates(table)


def write_shards(folder, n_images):
    """Write synthetic images as shards, all of them for training; return the folder of the shards."""
    run = Run(folder)
    config, _, _, table = build(folder, n_images + max(20, n_images // 16), min(120, n_images // 2))
    table = table[table["excluded"] == ""].sample(n_images, random_state=0).assign(split="train")
    catalog.write_catalog(table, run.catalog)
    write.write_shards(table, run.shards, config.shards)
    return run.shards
