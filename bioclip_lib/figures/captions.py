"""The caption of each figure: what is drawn, n, interval, test and method; written beside it.

`CAPTIONS` takes the tables that a figure is drawn from, models in words.
"""

from collections.abc import Callable, Iterable

import pandas as pd

from .scores import AXES, few_shot_rows, main_metric, zero_shot_rows
from .words import PARTS, task_label

INTERVAL = (
    "Whiskers and bands: 95 % intervals for another set of species (jackknife over classes, Student's t on the logit)"
)
CHANCE = "Dotted: chance, a candidate drawn at random"


def _counts(rows: pd.DataFrame, unit: str = "images") -> str:
    """List n of each data set and part: its range, where tasks or models differ."""
    said = []
    for keys, mine in rows.groupby([c for c in ("dataset", "part") if c in rows]):
        low, high = int(mine["n"].min()), int(mine["n"].max())
        name = ", ".join(PARTS.get(key, key) for key in keys)
        said.append(f"{name}: {low:,}{f' to {high:,}' * (high > low)} {unit}")
    return "; ".join(said)


def _seeds(rows: pd.DataFrame) -> str:
    return ", ".join(f"{n:,}" for n in sorted(rows["seeds"].unique()))


def _models(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _training(log: pd.DataFrame, counts: pd.DataFrame) -> str:
    n = counts.loc[counts["split"] == "val", "class_key"].nunique()
    return (
        f"A training of {int(log['step'].max()):,} steps: contrastive loss (pale: each step; line: mean over a "
        f"window), zero-shot top-1 on the validation images of {n:,} classes (chance {100 / max(1, n):.1f} %), "
        "learning rate, and images a second. One run, no interval."
    )


def _zero_shot(scores: pd.DataFrame) -> str:
    rows = zero_shot_rows(scores)
    fewer = rows.groupby(["dataset", "part"])["n"].nunique().gt(1).any()
    unnamed = " Species without a name of a text type are left out there." if fewer else ""
    return (
        f"Zero-shot {AXES[main_metric(scores)]}, by the text type that the names are asked in ({_counts(rows)}; "
        f"training seeds: {_seeds(rows)}). {INTERVAL}. {CHANCE}.{unnamed} Models: {_models(rows['model'])}."
    )


def _few_shot(scores: pd.DataFrame) -> str:
    rows = few_shot_rows(scores)
    return (
        f"{AXES[main_metric(scores)].capitalize()}, of SimpleShot (nearest mean of 1 or more labelled images a "
        f"species, features centred and of unit length), mean over drawn folds ({_counts(rows)}; "
        f"training seeds: {_seeds(rows)}). "
        f"{INTERVAL}. {CHANCE}. Whether two models differ, the paired tests tell. Models: {_models(rows['model'])}."
    )


def _rank_accuracy(table: pd.DataFrame) -> str:
    mine = table[table["model"] == "trained"]
    same = [rank for rank in dict.fromkeys(mine["rank"]) if (mine.loc[mine["rank"] == rank, "chance"] >= 1).all()]
    left_out = f" Left out, since all candidates are of one taxon there: {', '.join(same)}." if same else ""
    return (
        f"Share of images whose predicted species is right at a rank, of the trained model ({_counts(mine)}). "
        f"{INTERVAL}. {CHANCE}.{left_out}"
    )


def _risk(table: pd.DataFrame) -> str:
    floors = table["floor"].nunique()
    return (
        "Share of images that are answered to a rank or deeper, and the share of these answers that is wrong at that "
        f"rank, for {floors:,} floors of an answer's calibrated probability from 0 (right end) to 1. An answer is one "
        "lineage; unseen species are not among the candidates, so that their species cannot be right and has no line."
    )


def _text_matrix(table: pd.DataFrame) -> str:
    seeds = f"{table['n_seeds'].max():.0f}" if len(table) else "0"
    return (
        "Zero-shot top-1 accuracy in percent, mean over species, of a small model trained on one text type or on their "
        f"mixture and asked with each; seeds: {seeds}, each another world, or other held-out species, and other "
        "weights. ±: half the 95 % interval over seeds (Student's t); none with one seed."
    )


def _recipes(table: pd.DataFrame) -> str:
    seeds = f"{table['n_seeds'].max():.0f}" if len(table) else "0"
    of = [
        f"{question}: {baseline}"
        for question, baseline in table.groupby("question", sort=False)["baseline"].first().items()
    ]
    return (
        "Small models with one thing changed, minus the recipe that they are compared with, seed by seed: points of "
        f"accuracy (means over species), or of Spearman's rho. Compared with, {'; '.join(of) or 'nothing yet'}. Bars: "
        f"95 % intervals over seeds ({seeds}; Student's t), none corrected for their number; one that crosses 0 is no "
        "evidence of equality."
    )


def _mistakes(table: pd.DataFrame) -> str:
    mine = table[(table["model"] == "trained") & (table["n"] > 0)]
    return (
        f"How far the trained model's mistakes fall in the tree ({_counts(mine, 'mistakes')}). Black: wrong "
        "candidates drawn at random. Distances that no candidate has are left out, and shares of fewer than 20 "
        "mistakes. No interval: mistakes of one species are not independent; `mistake_distance` in metrics.csv has "
        "one."
    )


def _mantel(nulls: pd.DataFrame) -> str:
    n = ", ".join(f"{n:,}" for n in sorted(nulls["n_permutations"].unique()))
    return (
        "Spearman's rank correlation between distances of species in the embedding (cosine, of centroids) and in the "
        f"tree: observed (line) and after {n} permutations of species (grey). p: one-sided Mantel test, any "
        "structure; p ≤: no permutation reached the observed value. tables/hierarchy.csv has the intervals, and p "
        "inside kingdoms and orders."
    )


def _distance_by_rank(pairs: pd.DataFrame) -> str:
    n = pairs.drop_duplicates(["dataset", "task", "rank"]).groupby(["dataset", "task"], sort=False)["n_pairs"].sum()
    counts = "; ".join(f"{dataset}, {task_label(task)}: {k:,} pairs" for (dataset, task), k in n.items())
    return (
        f"Cosine distance of two species' centroids by the deepest rank that they share ({counts}). Letter values "
        "(Hofmann et al. 2017): the line is the median, the widest box the quartiles; fewer than 20 pairs are dots. "
        "Of many pairs a random 2,000 a rank are drawn. Pairs share species: boxes are no test; the nested tests in "
        "tables/hierarchy.csv are."
    )


def _probes(scores: pd.DataFrame) -> str:
    n = scores.drop_duplicates(["dataset", "part"])
    counts = "; ".join(
        f"{row.dataset}, {PARTS.get(row.part, row.part)}: {row.n:,.0f} species" for row in n.itertuples()
    )
    return (
        f"Every probe of structure ({counts}). Whole tree: correlation of the centroids' dendrogram with the tree, and "
        "clades that both have. Rank by rank, inside the group above: silhouette, whether the nearest species is of "
        "the same group (purity), whether a ridge probe puts a species that it never saw into its group (linear "
        "probe), and the share of variance that the rank adds. Whiskers: 95 % intervals for another tree (jackknife "
        "over clades); over the whole range where there are fewer than five. Dotted: mean of 499 trees with species "
        "dealt out (averaged over models). Ranks that cannot be asked are left out; tables/structure_probes.csv has p, "
        "and why."
    )


def _consistency(scores: pd.DataFrame) -> str:
    kept = scores[scores["value"].notna()].drop_duplicates(["dataset", "part"])
    counts = "; ".join(
        f"{row.dataset}, {PARTS.get(row.part, row.part)}: {row.n:,.0f} images of {row.n_species:,.0f} species"
        for row in kept.itertuples()
    )
    return (
        f"How often a model is right at every rank, by four ways to ask it, and how often its answers at two ranks "
        f"contradict each other ({counts}; classes with all seven ranks, asked by their taxonomic names). {INTERVAL}. "
        "Dotted: species dealt out over the classes; of contradictions each rank's answers over the images. "
        "tables/consistency.csv has hierarchical precision, recall and F."
    )


def _overview(results: pd.DataFrame) -> str:
    rows = results[results["metric"].isin([main_metric(results), "spearman"])]
    counts = rows.groupby(["dataset", "task"])["n"].max()
    main = counts[
        counts.index.get_level_values("task").str.fullmatch(r"(zero_shot|few_shot|hierarchy)(/(un)?seen|/\d+)*")
    ]
    said = "; ".join(f"{dataset}, {task_label(task)}: {n:,}" for (dataset, task), n in main.items())
    return (
        f"All main results: {AXES[main_metric(results)]}, and Spearman's ρ between distances in the embedding and in "
        f"the tree. n, images or, for the hierarchy, species: {said}. {INTERVAL}; of ρ for another tree (jackknife "
        f"over clades). {CHANCE}, 0 for ρ. Models: " + _models(rows["model"]) + "."
    )


CAPTIONS: dict[str, Callable[..., str]] = {
    "contact_sheet": lambda sheet: (
        f"{len(sheet):,} images of {sheet['title'].nunique():,} classes in the order of their taxonomy, so that "
        "relatives stand beside each other; family and order below the name."
    ),
    "taxon_counts": lambda counts: (
        "Usable images of each class, from the largest to the smallest, and of each split (n = "
        f"{counts['n_images'].sum():,} images of {counts['class_key'].nunique():,} classes, "
        f"{counts['source'].nunique():,} data set{'s' * (counts['source'].nunique() != 1)}). Counts, no estimate. "
        "Held-out species are in no training image."
    ),
    "taxon_treemap": lambda counts: (
        f"Usable images by kingdom, phylum, class and order (n = {counts['n_images'].sum():,}). An area is in "
        "proportion to its number of images (squarified treemap, Bruls et al. 2000); a colour is a kingdom. What is "
        "too small for its name has none; tables/class_counts.csv has all."
    ),
    "caption_words": lambda words: (
        "Mean number of words that the captions of two species share, beyond those of the template, by text type and "
        f"by the deepest rank that the two share (n = {words['pairs'].sum():,} pairs of species). All pairs, no "
        "estimate."
    ),
    "training": _training,
    "zero_shot": _zero_shot,
    "few_shot": _few_shot,
    "rank_accuracy": _rank_accuracy,
    "risk": _risk,
    "saliency": lambda table: (
        f"{len(table):,} test images, drawn by a seed, and what speaks for the name that the model gives them: "
        "where the name gets less likely when a window is covered, and what the image tower looks at, weighed by the "
        "gradient of the name's probability. Bright speaks for the name; how far to believe it, the notebook tells."
    ),
    "text_matrix": _text_matrix,
    "recipes": _recipes,
    "mistakes": _mistakes,
    "map": lambda placed, _: (
        f"UMAP (McInnes et al. 2018; 15 neighbours by cosine, fixed seed) of n = {len(placed):,} test images and "
        "images of held-out species. The largest groups of the first rank that tells images apart have a colour; at "
        "ranks below, the largest of their parts have shades of it, further parts are pale, all else is grey. Ranks "
        "of one taxon are left out. Maps of several models are turned and mirrored to lie alike. A map distorts "
        "distances and proves nothing: trustworthiness is 1 where all neighbours on it are neighbours in the "
        "embedding, continuity where it is so the other way round (10 neighbours; by chance about 0.5); "
        "tables/map_quality.csv has shares of neighbours by rank."
    ),
    "mantel": _mantel,
    "distance_by_rank": _distance_by_rank,
    "probes": _probes,
    "power": lambda scores: (
        f"How often Mantel's test would find kinship of a known strength among these species, in "
        f"{scores['n'].max():.0f} made worlds on the tree of this run (32 dimensions, one random vector a taxon, each "
        "rank alike). Bands: 95 % intervals over worlds. At 0 only chance is found, 5 %. Where the line is low a large "
        "p says nothing."
    ),
    "consistency": _consistency,
    "image_text": lambda _: (
        "Spearman's rank correlation between distances of species (cosine) and in the tree: of the centroids of their "
        "images, and of the texts of their names. Whiskers: 95 % intervals for another tree (jackknife over clades; "
        "from -1 to 1 of fewer than five). Dotted: 0. By taxonomic names an untrained text tower follows the tree by "
        "the words that relatives share. tables/modalities.csv has the paired differences, the modality gap and the "
        "alignment at each rank."
    ),
    "overview": _overview,
}
"""By the name of a figure; maps of all models share one."""
