"""Image against text: do the two lie together, and which of them follows the tree of life more closely?

Takes the catalog, features and encoders of names; one image centroid and one text a species, and one a taxon. Returns a
table with intervals and nulls. Refuses features that are not finite or of length 0.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pandas as pd

from .. import RANKS
from ..config import EvaluateConfig
from ..evaluation.statistics import holm
from ..evaluation.tasks import MIN_SPECIES, Features, class_strings, classes_of, unit_rows, with_difference
from ..evaluation.zero_shot import ClassEncoder
from ..model.features import FeatureTable
from ..model.text import read_templates
from ..taxonomy.ranks import lineage_codes, tree_distance
from .hierarchy import (
    MIN_CLADES,
    SpeciesSet,
    centroids,
    clades_of,
    embedding_distance,
    features_of,
    mantel,
    orders_of,
    over_clades,
    over_kept,
    p_value_of,
    spearman,
    species_sets,
)

TEXTS = ("taxon", "sci", "com")
N_PERMUTATIONS = 499
_COLUMNS = ["dataset", "part", "model", "question", "text", "rank", "value", "ci_low", "ci_high", "by_chance"]
_COLUMNS += ["p_value", "p_holm", "n", "why"]


def modality_gap(images: np.ndarray, texts: np.ndarray, seed: int = 0) -> dict:
    """Measure the gap of images and texts of species, (C, D): the length of the mean difference (Liang et al. 2022).

    The null swaps the two in random species; the interval leaves out one species at a time.
    """
    apart, rng = images - texts, np.random.default_rng(seed)
    value, n = float(np.linalg.norm(apart.mean(axis=0))), len(apart)
    without = np.linalg.norm((apart.sum(axis=0) - apart) / (n - 1), axis=1)
    error = 2.0 * np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum())
    signs = rng.choice([-1.0, 1.0], (N_PERMUTATIONS, n))
    null = np.linalg.norm(signs @ apart / n, axis=1)  # (P, C) @ (C, D) -> (P, D)
    ends = {"ci_low": max(0.0, value - error), "ci_high": min(2.0, value + error)}
    return {"value": value, **ends, "by_chance": float(null.mean()), "p_value": p_value_of(value, null), "n": n}


def alignment(images: np.ndarray, texts: np.ndarray, above: np.ndarray, seed: int = 0) -> dict | None:
    """Tell by how much taxa lie nearer to their own text than to those of their sisters, as a cosine, -2 to 2.

    Mean images and texts, (G, D), and the taxon above each, (G,). The null deals the texts out among sisters; the
    interval is over the taxa above or, where these are few, over the taxa. None where no taxon has a sister.
    """
    sisters = (above[:, None] == above[None, :]) & ~np.eye(len(above), dtype=bool)
    kept = np.flatnonzero(sisters.any(axis=1))
    if not len(kept):
        return None
    cosine, sisters, above = (
        (unit_rows(images) @ unit_rows(texts).T)[np.ix_(kept, kept)],
        sisters[np.ix_(kept, kept)],
        above[kept],
    )
    n_sisters = sisters.sum(axis=1)

    def margins(order: np.ndarray) -> np.ndarray:
        own = cosine[np.arange(len(order)), order]
        return own - ((cosine * sisters).sum(axis=1) + np.diag(cosine) - own) / n_sisters

    values = margins(np.arange(len(kept)))
    null = np.array([margins(order).mean() for order in orders_of(len(kept), N_PERMUTATIONS, seed, above)])
    clades = above if len(np.unique(above)) >= MIN_CLADES else None
    means = {"by_chance": float(null.mean()), "p_value": p_value_of(values.mean(), null)}
    return {**with_difference(values, clades, 2.0), **means, "n": len(kept)}


def score_modalities(
    table: pd.DataFrame, tables: Features, encoders: Mapping[str, ClassEncoder], config: EvaluateConfig
) -> pd.DataFrame:
    """Ask whether images and texts lie together, and which of the two follows the tree more closely.

    Parameters
    ----------
    table, tables, config
        As of `score_hierarchy`.
    encoders : mapping of model to ClassEncoder
        Asked in ``evaluate.templates``.

    Returns
    -------
    DataFrame
        ``dataset, part, model, question, text, rank, value``, its interval, ``by_chance, p_value, p_holm`` (over the
        rows of a question and model), ``n`` and ``why``: a row without numbers says what cannot be asked. Questions:
        ``images follow the tree`` and ``texts follow the tree`` (Spearman's rho of distances between species and in the
        tree, each centred; ``text`` is taxonomic, scientific or common name; interval over clades, Mantel's p),
        ``texts more than images`` (the difference on the same species; interval and two-sided p over clades), ``gap``
        (`modality_gap`) and ``alignment`` by rank (`alignment`, with taxonomic names).
    """
    rows = []
    for species in species_sets(table):
        n = len(species.ranks)
        if n < MIN_SPECIES or len(np.unique(tree_distance(species.ranks))) < 3:
            rows.append({**species.keys, "why": f"{n} species, {MIN_SPECIES} of different kinship are needed"})
            continue
        classes = classes_of(table).loc[species.ranks.index]
        for name in (name for name in tables if name in encoders):
            found = pd.DataFrame(_of_model(species, tables[name], classes, encoders[name], config))
            found = found.assign(**species.keys, model=name)
            tested = found["p_value"].notna()
            found.loc[tested, "p_holm"] = found[tested].groupby("question")["p_value"].transform(lambda p: holm(p))
            rows += found.to_dict("records")
    scores = pd.DataFrame(rows, columns=_COLUMNS)
    said = ["model", "question", "text", "rank", "why"]
    return scores.assign(**{column: scores[column].astype(object).fillna("") for column in said})


def _of_model(
    species: SpeciesSet, features: FeatureTable, classes: pd.DataFrame, encoder: ClassEncoder, config: EvaluateConfig
) -> Iterator[dict]:
    """Yield the rows of one model."""
    templates, tree = read_templates(config.templates), tree_distance(species.ranks)
    points, clades = species.centroids(features), clades_of(species.ranks)[1]
    means = centroids(features_of(features, species.images), species.labels)
    yield {"question": "images follow the tree", **_follows(embedding_distance(points), tree, clades, config.seed)}
    for text in TEXTS:
        strings = class_strings(classes, text)
        kept = np.flatnonzero(strings.str.strip() != "")
        if len(kept) < MIN_SPECIES or len(np.unique(tree[np.ix_(kept, kept)])) < 3:
            why = f"{len(kept)} of {len(classes)} species have such a name"
            yield {"question": "texts follow the tree", "text": text, "why": why}
            continue
        words = encoder.weights(list(strings.iloc[kept]), templates).astype(np.float64)
        both = [embedding_distance(of) for of in (points[kept], words - words.mean(axis=0))]
        asked = (tree[np.ix_(kept, kept)], clades[kept], config.seed)
        yield {"question": "texts follow the tree", "text": text, **_follows(both[1], *asked)}
        yield {"question": "texts more than images", "text": text, **_difference(*both, *asked[:2])}
        if text == TEXTS[0]:
            yield {"question": "gap", "text": text, **modality_gap(means[kept], words, config.seed)}
    weights = lambda names: encoder.weights(names, templates).astype(np.float64)  # noqa: E731
    yield from _by_rank(means, species.ranks, weights, config.seed)


def _follows(embedding: np.ndarray, tree: np.ndarray, clades: np.ndarray, seed: int) -> dict:
    """Return rho, its interval over clades and Mantel's p."""
    value, p_value, _ = mantel(embedding, tree, N_PERMUTATIONS, seed)
    if not np.isfinite(value):
        return {"why": "all lie equally far apart"}
    low, high = over_clades(spearman, embedding, tree, clades)
    return {"value": value, "ci_low": low, "ci_high": high, "by_chance": 0.0, "p_value": p_value, "n": len(tree)}


def _difference(images: np.ndarray, texts: np.ndarray, tree: np.ndarray, clades: np.ndarray) -> dict:
    """Return by how much texts follow the tree more closely than images of the same species do."""

    def half(kept: np.ndarray) -> float:
        of = [spearman(distance[np.ix_(kept, kept)], tree[np.ix_(kept, kept)]) for distance in (images, texts)]
        return (of[1] - of[0]) / 2

    value, (low, high, p_value) = 2 * half(np.arange(len(tree))), over_kept(half, clades)
    ends = {"ci_low": 2 * low, "ci_high": 2 * high, "by_chance": 0.0, "p_value": p_value, "n": len(tree)}
    return {"value": value, **ends} if np.isfinite(value) else {"why": "all lie equally far apart"}


def _by_rank(
    means: np.ndarray, ranks: pd.DataFrame, weights: Callable[[list[str]], np.ndarray], seed: int
) -> Iterator[dict]:
    """Yield the alignment at each rank of species with all seven; the texts are taxonomic names down to the rank."""
    codes = lineage_codes(ranks)
    known = (codes > 0).all(axis=1)
    means, ranks, codes = means[known], ranks[known], codes[known]
    for depth, rank in enumerate(RANKS):
        taxa, first, group = np.unique(codes[:, depth], return_index=True, return_inverse=True)
        found = None
        if len(taxa) > 1:
            names = [" ".join(lineage) for lineage in ranks.iloc[first, : depth + 1].to_numpy()]
            points = np.stack([means[group == taxon].mean(axis=0) for taxon in range(len(taxa))])
            above = codes[first, depth - 1] if depth else np.zeros(len(taxa), np.int64)
            found = alignment(points, weights(names), above, seed)
        yield {
            "question": "alignment",
            "rank": rank,
            **(found or {"why": "no taxon of a species with all seven ranks has a sister"}),
        }
