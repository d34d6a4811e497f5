"""What is trained: a cell a recipe and seed; a seed is another world, or other held-out species, and other weights."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import TEXT_TYPES
from ..config import DESCRIPTION, OBJECTIVES, Config, flat, load_config
from ..run import Run
from .data import PARTS

MIXTURE, DEALT = "mixture", "mixture, ranks dealt"
READERS = {
    "attention": {"model.bag_of_words": False},
    "bag of words": {"model.bag_of_words": True, "model.text_layers": 1},
}
LOOKS = ", described"  # behind a reader
_FROZEN, _ALL_LAYERS = ({"train.freeze_image_tower": is_frozen, "train.lora_rank": 0} for is_frozen in (True, False))
_OWN_SIZES = {"model.name": "", "model.pretrained": "", "model.normalisation": ""}  # whatever model the run has
# of photographs, beside the mixture; what is trained takes long: small images, few passes
_LITE0 = _OWN_SIZES | {"model.image_tower": "efficientnet-lite0"}
_AT_112 = _LITE0 | {"model.image_size_px": 112, "shards.image_size_px": 128}
TOWERS = {
    "Lite2, frozen": _OWN_SIZES | _FROZEN | {"model.image_tower": "efficientnet-lite2"},
    "ViT from scratch": _OWN_SIZES
    | _ALL_LAYERS
    | {"model.image_tower": "vit", "model.image_size_px": 64, "shards.image_size_px": 96, "train.epochs": 18.0},
    "Lite0 at 112 px, frozen": _AT_112 | _FROZEN,
    "Lite0 at 112 px, all layers trained": _AT_112 | _ALL_LAYERS | {"train.epochs": 6.0, "train.lr": 3e-4},
}
# of an invented tree: from a model of another one
SCRATCH = "from scratch"
STARTS = {
    "image tower frozen": _FROZEN,
    "low rank": _ALL_LAYERS | {"train.lora_rank": 8},
    "all layers trained": _ALL_LAYERS,
}
SEEDS = {"none": 0, "two": 1, "few": 2, "all": 5}
# of a world from scratch: 42 of 60 species trained on, about 20 s of processor time a cell
SMALL = {
    "data.synthetic.n_species": 60, "data.synthetic.n_images": 2_400, "split.heldout_fraction": 0.3,
    "model.image_size_px": 32, "model.text_layers": 1,
    "train.batch_size": 64, "train.steps": 100, "train.epochs": 0.0, "train.warmup_steps": 10, "train.lr": 4e-3,
    "train.optimizer": "muon",
}  # fmt: skip


TOY = {"data.synthetic.n_images": 240, "train.steps": 10, "train.batch_size": 32}


@dataclass(frozen=True)
class Cell:
    """A training: the name of its recipe, its seed, what it changes in the configuration, and what is trained on."""

    recipe: str
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)
    data: str = ""  # of `data.loader`

    def config(self, config: Config) -> Config:
        """Return the configuration of this cell of a run: small where the world is invented."""
        invented = TOY if config.profile == "smoke" else SMALL
        small = invented if config.data.source == "synthetic" else {}
        seeds = {"train.seed": self.seed, "split.seed": self.seed}
        run = {key: value for key, value in flat(config.to_dict()).items() if key != "profile"}
        fixed = {"evaluate.controls": (), "evaluate.models": (), "evaluate.n_permutations": 999}
        return load_config(config.profile, {**run, **small, **fixed, **seeds, **self.settings})


def text_types(grid: str) -> list[Cell]:
    """List the cells of each text type alone, of their mixture, and of the mixture with ranks dealt out.

    Parameters
    ----------
    grid : str
        ``none``; ``two``: one seed of ``taxon`` and of the mixture; ``few``: two seeds of these and of ``com``;
        ``all``: five seeds of all.

    Returns
    -------
    list of Cell
        Seed by seed, so that an unfinished grid has whole seeds.
    """
    alone = {"none": (), "two": ("taxon",), "few": ("com", "taxon"), "all": TEXT_TYPES}[grid]
    mixture = {"train.text_types": TEXT_TYPES}
    rows = [*((name, {"train.text_types": (name,)}, "") for name in alone), (MIXTURE, mixture, "")]
    rows += [(DEALT, mixture, "ranks_dealt")] if grid == "all" else []
    return _each_seed(rows, grid)


def objectives(grid: str, names: Sequence[str] = OBJECTIVES) -> list[Cell]:
    """List the cells of each objective, all with the mixture and as many pairs: only under ``all``."""
    rows = [(name, {"train.objective": name}, "") for name in names]
    return _each_seed(rows, grid) if grid == "all" else []


def descriptions(grid: str, path: str) -> list[Cell]:
    """List the cells of the mixture, without and with descriptions, by two readers: under ``all``, where given."""
    texts = {"": {"train.text_types": TEXT_TYPES}, LOOKS: {"train.text_types": (*TEXT_TYPES, DESCRIPTION)}}
    rows = [(name + kind, reader | types, "") for name, reader in READERS.items() for kind, types in texts.items()]
    return _each_seed(rows, grid) if grid == "all" and path else []


def data_shares(grid: str) -> list[Cell]:
    """List the cells of the mixture on halves of the images, and with wrong labels: only under ``all``."""
    return _each_seed([(name, {}, name) for name in PARTS], grid) if grid == "all" else []


def backbones(grid: str, run: Run, config: Config) -> list[Cell]:
    """List the cells of each start of the image tower: only under ``all``.

    Of photographs those of `TOWERS`; compare them with the mixture. On an invented tree the run's own model is trained
    on other trees, whole or in part, beside the same towers from scratch: their seeds follow on the run's.
    """
    if grid != "all":
        return []
    if config.data.source != "synthetic":
        return _each_seed([(name, settings, "") for name, settings in TOWERS.items()], grid)
    same = {f"model.{name}": getattr(config.model, name) for name in ("image_size_px", "text_layers")}
    start = {"model.name": f"local-dir:{run.model}"}
    rows = [
        (SCRATCH, _ALL_LAYERS | {"model.pretrained": ""} | same, ""),
        *((name, start | settings, "") for name, settings in STARTS.items()),
    ]
    return _each_seed(rows, grid, first=config.split.seed + 1)


def _each_seed(rows: list[tuple], grid: str, first: int = 0) -> list[Cell]:
    seeds = range(first, first + SEEDS[grid])
    return [Cell(name, seed, settings, part) for seed, (name, settings, part) in itertools.product(seeds, rows)]
