"""The library of the BioCLIP notebooks: one package a stage, from raw photographs to figures.

`sources` gives the raw table (`sources.synthetic` an invented one), `taxonomy` what its names mean, `catalog` one row
an image; `shards` has their captions and tars, `model` the towers, `training` their weights; `evaluation` asks how well
a model names, `structure` what its embedding looks like inside; `ablations` trains again with one thing changed,
`identify` names photographs, `figures` draws. `config` has every setting, `run` the folder that all of it goes to,
`files` what lies on disk, `errors` what a user is told. `reproduce` runs all notebooks in order and writes the answer
page.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin take the processor from those that work

__version__ = "0.1.0"

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
"""The seven Linnaean ranks, from the root down. ``species`` holds the epithet."""

TEXT_TYPES = ("com", "sci", "taxon", "sci_com", "taxon_com")
"""The caption types that training draws from (common, scientific, taxonomic name and their mixes)."""
