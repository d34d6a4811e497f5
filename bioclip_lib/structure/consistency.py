"""Are a model's answers at the seven ranks those of one taxon? Images and names of taxa in, answers in four ways out.

Each rank can be asked by itself, summed from the probabilities of species (as pybioclip does), top down among the
children of what was answered above, or read off the species that is named. Takes the catalog, features and encoders of
names; returns measures with interval and chance. Refuses features that are not finite or of length 0.

Mistake severity, the mean distance of mistakes in the tree, is not among the measures: it is a mean over mistakes
alone, so that a model which mends its near mistakes gets worse by it (arXiv 2503.07853). All measures here are over all
images, right ones among them.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from .. import RANKS
from ..config import EvaluateConfig
from ..evaluation.tasks import Features, evaluated_images, with_difference, with_interval
from ..evaluation.zero_shot import ClassEncoder
from ..model.text import read_templates
from ..taxonomy.ranks import lineage_codes
from .hierarchy import features_of, p_value_of

WAYS = ("each rank by itself", "summed from species", "top down", "of the species")
MEASURES = ("full path", "hierarchical precision", "hierarchical recall", "hierarchical F", "shared ranks")
_SAME = {  # by the way itself: precision and recall are F where answers are a path, species are those of the species
    **dict.fromkeys(WAYS[:2], ("shared ranks",)),
    **dict.fromkeys(WAYS[2:], ("hierarchical precision", "hierarchical recall")),
}
N_DEALS = 199
_SCORES = 4_000_000  # of images and taxa at a time, to bound the memory
_COLUMNS = ["dataset", "part", "model", "way", "measure", "value", "ci_low", "ci_high", "by_chance", "p_value"]
_COLUMNS += ["gain", "gain_low", "gain_high", "n", "n_species", "why"]


class Taxa(NamedTuple):
    """The candidates: ``paths`` (S, R) numbers each species' taxa from 0, rank by rank; ``names`` of each rank's."""

    ranks: list[str]
    paths: np.ndarray
    names: list[list[str]]

    def ancestors(self, depth: int) -> np.ndarray:
        """Return the taxa above those of a rank, and themselves, (G, depth + 1)."""
        return self.paths[np.unique(self.paths[:, depth], return_index=True)[1], : depth + 1]


def taxa_of(ranks: pd.DataFrame) -> tuple[Taxa, np.ndarray]:
    """Number the taxa of classes with all seven ranks, at ranks that tell these apart; return each class's species."""
    codes = lineage_codes(ranks) - 1
    first, species = np.unique(codes[:, -1], return_index=True, return_inverse=True)[1:]
    asked = [depth for depth in range(len(RANKS)) if codes[:, depth].any()]
    names = []
    for depth in asked:
        rows = np.unique(codes[:, depth], return_index=True)[1]
        names.append([" ".join(lineage) for lineage in ranks.iloc[rows, : depth + 1].to_numpy()])
    return Taxa([RANKS[depth] for depth in asked], codes[first][:, asked], names), species.ravel()


def answers(features: np.ndarray, weights: list[np.ndarray], taxa: Taxa, logit_scale: float) -> dict[str, np.ndarray]:
    """Return the taxa that images (n, D) are given in each of `WAYS`, (n, R), by weights (G, D) of each rank."""
    found = {way: np.empty((len(features), len(taxa.ranks)), np.int64) for way in WAYS}
    children = [np.zeros(taxa.paths[:, 0].max() + 1, np.int64)]  # whose child each taxon is; all of the first rank's
    children += [taxa.ancestors(depth)[:, -2] for depth in range(1, len(taxa.ranks))]
    size = max(1, _SCORES // len(taxa.paths))
    for start in range(0, len(features), size):
        rows = slice(start, start + size)
        scores = [features[rows] @ of.T for of in weights]  # (b, D) @ (D, G) -> (b, G)
        by_species = np.exp(logit_scale * (scores[-1] - scores[-1].max(axis=1, keepdims=True)).astype(float))
        above = np.zeros(len(by_species), np.int64)
        for depth, of_rank in enumerate(scores):
            found[WAYS[0]][rows, depth] = of_rank.argmax(axis=1)
            members = np.eye(of_rank.shape[1])[taxa.paths[:, depth]]  # (S, G)
            found[WAYS[1]][rows, depth] = (by_species @ members).argmax(axis=1)  # (b, S) @ (S, G) -> (b, G)
            above = np.where(children[depth] == above[:, None], of_rank, -np.inf).argmax(axis=1)
            found[WAYS[2]][rows, depth] = above
        found[WAYS[3]][rows] = taxa.paths[scores[-1].argmax(axis=1)]
    return found


def measured(answered: np.ndarray, taxa: Taxa) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Take answers (n, R); return what measures them, image by image, against the lineages (n, R) of the truth.

    An answer stands for all its ancestors, as the truth does (Kiritchenko et al. 2006): hierarchical precision is the
    share of the answered taxa that are the truth's, recall the share of the truth's that are answered, F their harmonic
    mean, each 0 to 1; ``full path`` is 1 where all ranks are right, ``shared ranks`` the depth of the lowest common
    ancestor of the species answered and the true one, 0 to R. Ranks of one taxon, the same for all, count for nothing.
    Answers that contradict each other name more taxa: recall, and F a little, rise by that alone.
    """
    n_ranks, up = len(taxa.ranks), [taxa.ancestors(depth) for depth in range(len(taxa.ranks))]
    told = [np.stack([up[d][answered[:, d], e] for d in range(e, n_ranks)]) for e in range(n_ranks)]  # (R - e, n)
    n_told = sum(1 + (np.diff(np.sort(of_rank, axis=0), axis=0) > 0).sum(axis=0) for of_rank in told)
    each, of_species = np.ascontiguousarray(answered.T), np.ascontiguousarray(up[-1][answered[:, -1]].T)  # (R, n)

    def against(truth: np.ndarray) -> dict[str, np.ndarray]:
        truth = np.ascontiguousarray(truth.T)
        hits = sum((of_rank == truth[e]).any(axis=0) for e, of_rank in enumerate(told)).astype(float)
        full = (each == truth).all(axis=0).astype(float)
        shared = (of_species == truth).sum(axis=0).astype(float)
        both = 2 * hits / (n_told + n_ranks)
        return dict(zip(MEASURES, (full, hits / n_told, hits / n_ranks, both, shared), strict=True))

    return against


def inconsistent(answered: np.ndarray, taxa: Taxa) -> np.ndarray:
    """Tell which answers (n, R) are no path: some taxon is not the child of the one answered above it; 0 or 1, (n,)."""
    wrong = np.zeros(len(answered), bool)
    for depth in range(1, len(taxa.ranks)):
        wrong |= taxa.ancestors(depth)[answered[:, depth], -2] != answered[:, depth - 1]
    return wrong.astype(float)


def score_consistency(
    table: pd.DataFrame, tables: Features, encoders: Mapping[str, ClassEncoder], config: EvaluateConfig
) -> pd.DataFrame:
    """Ask models for the taxon of each image at every rank, in four ways, and measure the answers in the tree.

    Parameters
    ----------
    table : DataFrame
        The catalog; only classes with all seven ranks take part.
    tables, config
        As of `score_hierarchy`.
    encoders : mapping of model to ClassEncoder
        A taxon is asked by its taxonomic name down to its rank, in ``evaluate.templates``.

    Returns
    -------
    DataFrame
        ``dataset, part, model, way`` (`WAYS`), ``measure`` (`measured`, and ``inconsistent``, the share of images whose
        answers are no path; what a way makes equal to another row is left out), ``value`` with its interval for another
        set of species (`mean_interval`), ``by_chance`` and the one-sided ``p_value`` of 199 deals (the species dealt
        out over the classes; of ``inconsistent``: each rank's answers over the images), ``gain`` over the way ``of the
        species`` with its paired interval, ``n`` images, ``n_species``, and ``why``: where a data set cannot be asked,
        a row without numbers says it.
    """
    images, rows = evaluated_images(table), []
    for (dataset, part), group in images.groupby(["dataset", "part"]):
        ranks = group.drop_duplicates("class_key").set_index("class_key")[list(RANKS)].sort_index()
        ranks = ranks[(ranks != "").all(axis=1)]
        taxa, species = taxa_of(ranks)
        kept = group[group["class_key"].isin(ranks.index)]
        if len(taxa.paths) < 2:
            why = f"{len(taxa.paths)} species have all seven ranks; two are needed"
            rows.append({"dataset": dataset, "part": part, "why": why})
            continue
        labels = species[ranks.index.get_indexer(kept["class_key"])]
        for name in (name for name in tables if name in encoders):
            values, encoder = features_of(tables[name], kept), encoders[name]
            weights = [encoder.weights(names, read_templates(config.templates)) for names in taxa.names]
            found = _scored(answers(values, weights, taxa, encoder.logit_scale), taxa, labels, config.seed)
            keys = {"dataset": dataset, "part": part, "model": name, "n": len(labels), "n_species": len(taxa.paths)}
            rows += [{**keys, **row, "why": ""} for row in found]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _scored(answered: dict[str, np.ndarray], taxa: Taxa, labels: np.ndarray, seed: int) -> list[dict]:
    """Return the rows of one model's answers, given the species of each image (n,)."""
    rng, rows = np.random.default_rng(seed), []
    deals = [rng.permutation(len(taxa.paths)) for _ in range(N_DEALS)]
    against = {way: measured(of_way, taxa) for way, of_way in answered.items()}
    found = {way: of_way(taxa.paths[labels]) for way, of_way in against.items()}
    for way in WAYS:
        dealt = [against[way](taxa.paths[order[labels]]) for order in deals]
        for measure, values in found[way].items():
            if measure in _SAME[way]:
                continue
            bounds = (0.0, float(len(taxa.ranks)) if measure == "shared ranks" else 1.0)
            null = np.array([of_deal[measure].mean() for of_deal in dealt])
            gain = with_difference(values - found[WAYS[-1]][measure], labels, bounds[1]) if way != WAYS[-1] else {}
            gain = dict(zip(("gain", "gain_low", "gain_high"), gain.values(), strict=False))
            rows.append({"way": way, "measure": measure, **_row(values, labels, bounds, null, 1), **gain})
        if way in WAYS[:2]:
            null = [_shuffled(answered[way], taxa, rng) for _ in range(N_DEALS)]
            values = inconsistent(answered[way], taxa)
            rows.append({"way": way, "measure": "inconsistent", **_row(values, labels, (0.0, 1.0), null, -1)})
    return rows


def _shuffled(answered: np.ndarray, taxa: Taxa, rng: np.random.Generator) -> float:
    """Return the share of inconsistent answers when each rank's are dealt out over the images."""
    return float(inconsistent(rng.permuted(answered, axis=0), taxa).mean())


def _row(values: np.ndarray, labels: np.ndarray, bounds: tuple[float, float], null: np.ndarray, sign: int) -> dict:
    """Return value, interval, chance and p-value; with the sign -1 less is better."""
    p_value = p_value_of(sign * values.mean(), sign * np.asarray(null))
    return {**with_interval(values, labels, bounds), "by_chance": float(np.mean(null)), "p_value": p_value}
