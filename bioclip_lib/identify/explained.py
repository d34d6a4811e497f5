"""What the model of a run looks at: saliency of test images, scored where the pixels of the organism are known.

Takes a `trained.TrainedRun`; returns tables. In the synthetic world new images of the candidates are drawn, with the
share of the organism in each pixel, and with each trait changed in turn: what changes then are the pixels of the trait.
"""

import contextlib

import numpy as np
import pandas as pd

from ..config import SyntheticConfig
from ..errors import InputError
from ..evaluation.tasks import with_interval
from ..files.images import png
from ..model.features import load_split, size_px
from ..sources.synthetic import grow_tree
from ..sources.synthetic.canvas import PLANS, TRAITS
from ..sources.synthetic.render import body_shares, render
from .naming import name_features
from .saliency import CELLS, by_cell, gradient_map, judge_maps, occlusion
from .trained import TrainedRun
from .tree import LABEL

MAPS = ("occlusion", "gradient")
_SHOWN, _DRAWN = 5, 40  # test images; invented ones
_CHANGED = 12  # of 255: a pixel that differs by more belongs to a trait
_TRAIT = 2.0  # by which a trait is changed, in standard deviations over species


def saliency_examples(run: TrainedRun) -> pd.DataFrame:
    """Map what speaks for the names of some test images.

    Returns
    -------
    DataFrame
        ``title`` (the name given), ``png`` (the image), and a column a map of `MAPS`: its values, row by row.
        A tower of which the gradient cannot be read (`saliency.gradient_map`) has the first map alone.
    """
    split = run.split("test")
    if not len(split.rows):
        return pd.DataFrame(columns=["title", "png", *MAPS])
    rows = np.sort(np.random.default_rng(0).permutation(len(split.rows))[:_SHOWN])
    pixels = load_split(run.run, run.model.model, "test")[rows]
    scale = run.calibrated_scale
    named = name_features(split.features[rows], run.labels, scale, LABEL, k=1).choices[:, 0]
    maps = _maps(run, pixels, named, scale)
    table = pd.DataFrame({"title": run.labels.called(named, LABEL), "png": list(map(png, pixels))})
    return table.assign(**{name: list(values.reshape(len(rows), -1)) for name, values in maps.items()})


def saliency_scores(run: TrainedRun) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score both maps on new images of the synthetic world; two tables without rows for a run of photographs.

    Returns
    -------
    scores : DataFrame
        The columns of `saliency.judge_maps`, of the right name of each image; intervals are for other species.
    traits : DataFrame
        ``trait, map, value, ci_low, ci_high, n``: how much more saliency lies on a trait's pixels than on as many
        others; at 1 the map does not tell them apart. Only traits of which images show pixels.
    """
    settings = {key: value for key, value in run.settings.items() if key.startswith("data.synthetic.")}
    if run.settings["data.source"] != "synthetic":
        return pd.DataFrame(), pd.DataFrame()
    config = SyntheticConfig(**{key.rpartition(".")[2]: value for key, value in settings.items()})
    tree, rng = grow_tree(config, run.settings["split.seed"]), np.random.default_rng([0, 77])
    known = pd.Index(run.labels.names[LABEL]).get_indexer(tree.taxa["scientific_name"])
    index = rng.choice(np.flatnonzero(known >= 0), _DRAWN)
    seeds, genomes, size = (
        rng.integers(0, 2**63, _DRAWN, dtype=np.uint64),
        tree.genomes[index],
        size_px(run.model.model),
    )
    pixels, named = render(genomes, seeds, size, config.noise), known[index]
    scale = run.calibrated_scale
    maps = _maps(run, pixels, named, scale)
    body = body_shares(genomes, seeds, size, config.noise)
    scores = judge_maps(pixels, maps, run.model, (run.labels, named, scale), body, index)
    return scores, _by_trait(maps, pixels, (genomes, seeds, size, config.noise), index)


def _maps(run: TrainedRun, pixels: np.ndarray, named: np.ndarray, scale: float) -> dict[str, np.ndarray]:
    """Return both maps of images; the first alone where the tower cannot be read."""
    made = {MAPS[0]: occlusion(pixels, run.model, run.labels, named, scale)}
    with contextlib.suppress(InputError):
        made[MAPS[1]] = gradient_map(pixels, run.model, run.labels, named, scale)
    return made


def _by_trait(maps: dict, pixels: np.ndarray, drawn: tuple, species: np.ndarray) -> pd.DataFrame:
    """Return how much saliency lies on the pixels of each trait, over what as many others have."""
    genomes, seeds, size, noise = drawn
    rows = []
    for place, trait in enumerate(TRAITS, len(PLANS)):
        other = genomes.copy()
        other[:, place] -= _TRAIT * np.where(other[:, place] > 0, 1, -1)
        changed = np.abs(render(other, seeds, size, noise).astype(int) - pixels).max(axis=3) > _CHANGED
        share = by_cell(changed.astype(np.float32))
        there = share.sum(axis=(1, 2)) > 0
        for name, values in maps.items():
            weight = np.maximum(values[there], 0)
            inside = (weight * share[there]).sum(axis=(1, 2)) / np.maximum(weight.sum(axis=(1, 2)), 1e-12)
            lift = inside / share[there].mean(axis=(1, 2))
            if len(np.unique(species[there])) > 1:
                interval = with_interval(lift, species[there], (0.0, float(CELLS**2)))
                rows.append({"trait": trait, "map": name, **interval, "n": len(lift)})
    return pd.DataFrame(rows)
