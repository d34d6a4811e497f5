"""A seeded synthetic tree of life: taxa at seven ranks, genomes evolved down the tree, images drawn from genomes.

Takes a `SyntheticConfig`; returns a `TreeOfLife` whose ground truth (tree and genomes) stays available, its images, or
a folder of JPEG files with a classes.csv, as a user would bring. Refuses fewer species than body plans.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ... import RANKS
from ...config import SyntheticConfig
from ...run import atomic
from .canvas import PLANS, TRAITS
from .names import common_names, name_nouns, name_taxa
from .render import hash_uniform, mix64, render

RANK_VARIANCE = dict(zip(RANKS, (0.12, 0.2, 0.17, 0.15, 0.14, 0.12, 0.1), strict=True))
"""Variance that a trait gains on the branch to a taxon of each rank; together 1."""

NEW_TAXON = {"phylum": 0.5, "class": 0.4, "order": 0.4, "family": 0.45, "genus": 0.7}
"""Concentration of the partition at each rank: higher, more and smaller taxa."""

KINGDOM_SHARES = (0.46, 0.26, 0.14, 0.14)
STATES = {
    "sex": ("female", "male", {"chroma": 0.5, "accent_chroma": 0.5, "pattern_contrast": 0.5, "tail_length": 0.5}),
    "life_stage": ("juvenile", "adult", {"body_length": 0.6, "appendage_length": 0.6, "lightness": -0.6}),
}
"""What states look like where `SyntheticConfig.states` is set: the second adds this to traits, the first loses it."""

_STATE_STREAM = 9  # of `hash_uniform`; `render` has those below
MIN_IMAGES = 12
JPEG_QUALITY = 92
RENDER_CHUNK = 512


@dataclass(frozen=True)
class TreeOfLife:
    """The ground truth.

    Attributes
    ----------
    taxa : DataFrame
        One row a species: species_id, the seven ranks (species is the epithet), scientific_name, common_name, n_images.
    genomes : ndarray of shape (n_species, n_traits), float32
        What is rendered: `canvas.PLANS` indicators, then `canvas.TRAITS`, standard normal over species.
    config : SyntheticConfig
    """

    taxa: pd.DataFrame
    genomes: np.ndarray
    config: SyntheticConfig


def grow_tree(config: SyntheticConfig, seed: int = 0) -> TreeOfLife:
    """Grow a tree, evolve genomes down it and name its taxa.

    Notes
    -----
    A trait is Brownian motion with variance `RANK_VARIANCE` a rank. `convergence` is 1 - Pagel's lambda (Pagel 1999,
    Nature 401:877): it scales all covariances between species and leaves the variances.

    Examples
    --------
    >>> tree = grow_tree(SyntheticConfig(n_species=24, n_images=720))
    >>> len(tree.taxa), int(tree.taxa["n_images"].sum()), int(tree.taxa["kingdom"].nunique())
    (24, 720, 4)
    """
    tree_rng, trait_rng, name_rng, count_rng = (np.random.default_rng([seed, k]) for k in range(4))
    nodes = grow_ranks(config.n_species, tree_rng)
    plans = [PLANS[kingdom] for kingdom in nodes["kingdom"]]
    genomes = evolve_genomes(nodes, config.convergence, trait_rng)
    taxa = name_taxa(nodes, plans, name_rng)
    taxa.insert(0, "species_id", [f"sp{number:04d}" for number in range(1, len(taxa) + 1)])
    taxa["scientific_name"] = taxa["genus"] + " " + taxa["species"]
    taxa["common_name"] = common_names(genomes, plans, name_nouns(nodes, genomes, plans, name_rng))
    taxa["n_images"] = count_images(config.n_species, config.n_images, count_rng)
    return TreeOfLife(taxa, genomes, config)


def grow_ranks(n_species: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return node numbers, a row a species and a column a rank: a nested partition in which large taxa grow larger.

    Each species in turn joins a child taxon with a probability in proportion to its size, or founds a new one
    (a Chinese restaurant process at each rank). Rows are sorted, so that relatives are neighbours.
    """
    children: dict[tuple, dict[int, int]] = {}
    n_nodes = dict.fromkeys(RANKS, 0)
    rows = []
    for number in range(n_species):
        kingdom = number if number < len(PLANS) else int(rng.choice(len(PLANS), p=KINGDOM_SHARES))
        row = [kingdom]
        for rank, concentration in NEW_TAXON.items():
            sizes = children.setdefault((rank, row[-1]), {})
            odds = np.array([*sizes.values(), concentration], float)
            choice = int(rng.choice(len(odds), p=odds / odds.sum()))
            if choice == len(sizes):
                sizes[n_nodes[rank]] = 0
                n_nodes[rank] += 1
            node = list(sizes)[choice]
            sizes[node] += 1
            row.append(node)
        rows.append([*row, number])
    nodes = pd.DataFrame(rows, columns=list(RANKS)).sort_values(list(RANKS), ignore_index=True)
    nodes["species"] = range(n_species)
    return nodes


def evolve_genomes(nodes: pd.DataFrame, convergence: float, rng: np.random.Generator) -> np.ndarray:
    """Return genomes, float32 (n_species, len(PLANS) + len(TRAITS)): Brownian motion down the tree, and convergence."""
    inherited = np.zeros((len(nodes), len(TRAITS)))
    for rank in RANKS:
        steps = rng.standard_normal((int(nodes[rank].max()) + 1, len(TRAITS))) * np.sqrt(RANK_VARIANCE[rank])
        inherited += steps[nodes[rank]]
    own = rng.standard_normal(inherited.shape)
    traits = np.sqrt(1 - convergence) * inherited + np.sqrt(convergence) * own
    return np.concatenate([np.eye(len(PLANS))[nodes["kingdom"]], traits], axis=1).astype(np.float32)


def count_images(n_species: int, n_images: int, rng: np.random.Generator) -> np.ndarray:
    """Return the number of images a species, long-tailed (lognormal), summing to `n_images`; >= 12 where it can be."""
    floor = min(MIN_IMAGES, n_images // n_species)
    share = rng.lognormal(0, 0.75, n_species)
    exact = (n_images - floor * n_species) * share / share.sum()
    counts = floor + np.floor(exact).astype(int)
    largest_rests = np.argsort(np.floor(exact) - exact, kind="stable")
    counts[largest_rests[: n_images - counts.sum()]] += 1
    return counts


def image_seeds(seed: int, species_index: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Return the 64-bit seed of image `number` of a species, uint64 of shape (n,)."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    state = mix64(np.array([seed % 2**64], np.uint64) + golden)
    for part in (species_index, number):  # one after the other: combined by xor, equal parts would cancel
        state = mix64(state + (np.asarray(part, np.uint64) + np.uint64(1)) * golden)
    return state


def image_states(seeds: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """Return sex and life stage of the organism of each image seed, and what they add to its genome (n, n_traits)."""
    second = hash_uniform(seeds, _STATE_STREAM, len(STATES)) < 0.5
    added = np.zeros((len(second), len(PLANS) + len(TRAITS)), np.float32)
    words = {}
    for is_second, (state, (first, other, traits)) in zip(second.T, STATES.items(), strict=True):
        words[state] = np.where(is_second, other, first)
        for trait, size in traits.items():
            added[:, len(PLANS) + TRAITS.index(trait)] += np.where(is_second, size, -size)
    return pd.DataFrame(words), added


def render_images(
    tree: TreeOfLife,
    species_index: np.ndarray,
    seed: int | np.ndarray,
    size_px: int | None = None,
    noise: float | None = None,
) -> np.ndarray:
    """Draw images of species: uint8 (n, size_px, size_px, 3).

    Parameters
    ----------
    tree : TreeOfLife
    species_index : ndarray of shape (n,), int
        Rows of `tree.taxa`.
    seed : int or ndarray of shape (n,)
        One seed an image (`image_seeds`), which with its genome alone decides it; or one from which, with the image's
        position, they are made.
    size_px, noise : optional
        Side of the images; scale of pose, light, background and individual variation: as the tree's configuration.
    """
    index = np.asarray(species_index, int)
    seeds = image_seeds(seed, index, np.arange(len(index))) if np.ndim(seed) == 0 else np.asarray(seed, np.uint64)
    size_px = tree.config.image_size_px if size_px is None else size_px
    genomes = tree.genomes[index] + image_states(seeds)[1] if tree.config.states else tree.genomes[index]
    return render(genomes, seeds, size_px, tree.config.noise if noise is None else noise)


def write_images(tree: TreeOfLife, folder: str | Path, seed: int = 0) -> pd.DataFrame:
    """Write all images of the tree as JPEG files, with a classes.csv that names the folders.

    Parameters
    ----------
    tree : TreeOfLife
    folder : str or Path
        Becomes ``<folder>/<Genus epithet>/<00001>.jpg``; replaced when it exists, and only when all is written.
    seed : int

    Returns
    -------
    DataFrame
        The raw table, one row an image: source, source_id, location, verbatim_name, the seven ranks, scientific_name,
        common_name, license; sex and life_stage where ``states`` is set.
    """
    folder = Path(folder).resolve()
    species = np.repeat(np.arange(len(tree.taxa)), tree.taxa["n_images"])
    number = np.concatenate([np.arange(n) for n in tree.taxa["n_images"]])
    seeds = image_seeds(seed, species, number)
    class_names = tree.taxa["scientific_name"].to_numpy()[species]
    source_ids = [f"{name}/{k + 1:05d}.jpg" for name, k in zip(class_names, number, strict=True)]
    names = tree.taxa[[*RANKS, "scientific_name", "common_name"]]
    with atomic(folder) as tmp:
        for class_name in tree.taxa["scientific_name"]:
            (tmp / class_name).mkdir(parents=True)
        for start in range(0, len(species), RENDER_CHUNK):
            rows = slice(start, start + RENDER_CHUNK)
            images = render_images(tree, species[rows], seeds[rows])
            for image, source_id in zip(images, source_ids[rows], strict=True):
                Image.fromarray(image).save(tmp / source_id, quality=JPEG_QUALITY)
        names.assign(class_name=names["scientific_name"]).to_csv(
            tmp / "classes.csv", index=False, columns=["class_name", *names.columns]
        )
    raw = pd.DataFrame({"source": "synthetic", "source_id": source_ids, "verbatim_name": class_names, "problem": ""})
    raw.insert(2, "location", [str(folder / source_id) for source_id in source_ids])
    raw = raw.join(image_states(seeds)[0]) if tree.config.states else raw
    return raw.join(names.iloc[species].reset_index(drop=True)).assign(license="CC0-1.0")
