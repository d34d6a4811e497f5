"""The benchmarks of a run: which images are asked what, and hierarchy scores as rows of metrics.csv.

Takes the catalog and tables of features; returns tidy scores with n, interval and chance, and what each image got.
Each source is a data set of its own. *seen* are test images of species that were trained on, *unseen* all images of
held-out species; the candidates are the classes of the same part. Refuses features that do not cover the images.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from . import RANKS, catalog, hierarchy, metrics
from .config import EvaluateConfig
from .errors import InputError

PARTS = {"test": "seen", "heldout_species": "unseen"}
SCORE_COLUMNS = ["model", "dataset", "task", "metric", "value", "ci_low", "ci_high", "n", "seeds", "chance"]
MIN_SPECIES = 4  # fewer have too few pairs to correlate
Features = Mapping[str, "features.FeatureTable"]  # noqa: F821 (features is above this module)


def evaluated_images(table: pd.DataFrame) -> pd.DataFrame:
    """Return the images that are evaluated.

    Parameters
    ----------
    table : DataFrame
        The catalog.

    Returns
    -------
    DataFrame
        Indexed by ``image_id``: ``dataset`` (the source), ``part`` ("seen" or "unseen"), ``class_key``, and the ranks.
    """
    rows = table[catalog.usable(table) & table["split"].isin(list(PARTS))]
    columns = rows[["image_id", "source", *RANKS, "rank"]].rename(columns={"source": "dataset"})
    return columns.assign(part=rows["split"].map(PARTS), class_key=catalog.class_key(rows)).set_index("image_id")


def rows_of(features, images: pd.DataFrame) -> pd.DataFrame:
    """Return features as a frame indexed by image; refuse a table that lacks an evaluated image, or has one twice."""
    frame = pd.DataFrame(features.values, index=features.image_ids)
    if not frame.index.is_unique:
        raise InputError(f"{frame.index[frame.index.duplicated()][0]} has two rows of features; compute them again")
    missing = images.index.difference(frame.index)
    if len(missing):
        raise InputError(f"{len(missing)} evaluated images have no features (e.g. {missing[0]}); rerun 03_training")
    return frame


def with_interval(values: np.ndarray, groups: np.ndarray, config: EvaluateConfig) -> dict:
    """Return ``value, ci_low, ci_high``: a mean and its interval, a bootstrap over classes with all their images."""
    low, high = metrics.bootstrap_interval(values, groups, n_bootstraps=config.n_bootstraps, seed=config.seed)
    return {"value": float(np.mean(values)), "ci_low": low, "ci_high": high}


def score_hierarchy(table: pd.DataFrame, tables: Features, config: EvaluateConfig) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Correlate distances between species in the embedding with their distances in the tree.

    Parameters
    ----------
    table : DataFrame
        The catalog; only images known to species take part.
    tables : mapping of model to FeatureTable
    config : EvaluateConfig

    Returns
    -------
    scores : DataFrame
        Rows for `metrics.append_metrics`. Tasks ``hierarchy/seen`` and ``hierarchy/unseen``; metrics ``spearman``
        (interval: bootstrap over species; chance 0) and ``p_value`` (Mantel permutations; interval: Clopper-Pearson).
        Sets of fewer than `MIN_SPECIES`, or whose species are all equally related, are left out.
    details : dict
        ``(dataset, task, model)`` to a dict of ``observed``, ``null`` (n_permutations,), ``tree`` and ``embedding``,
        the two distance matrices.
    """
    images = evaluated_images(table)
    images = images[images["rank"] == "species"]
    scores, details = [], {}
    for (dataset, part), group in images.groupby(["dataset", "part"]):
        classes, labels = np.unique(group["class_key"], return_inverse=True)
        ranks = group.drop_duplicates("class_key").set_index("class_key").loc[classes, list(RANKS)]
        tree = hierarchy.tree_distance(ranks)
        if len(classes) < MIN_SPECIES or len(np.unique(tree)) < 3:  # 0 and one distance: nothing to correlate with
            continue
        for name, features in tables.items():
            values = rows_of(features, images).loc[group.index].to_numpy()
            embedding = hierarchy.embedding_distance(hierarchy.centroids(values - values.mean(axis=0), labels))
            observed, p_value, null = hierarchy.mantel(embedding, tree, config.n_permutations, config.seed)
            low, high = hierarchy.bootstrap_rho(embedding, tree, config.n_bootstraps, config.seed)
            keys = {"model": name, "dataset": dataset, "task": f"hierarchy/{part}", "n": len(classes), "seeds": 1}
            scores.append(
                {**keys, "metric": "spearman", "value": observed, "ci_low": low, "ci_high": high, "chance": 0.0}
            )
            low, high = metrics.p_value_interval(p_value, config.n_permutations)
            scores.append(
                {**keys, "metric": "p_value", "value": p_value, "ci_low": low, "ci_high": high, "chance": 0.5}
            )
            found = {"observed": observed, "null": null, "tree": tree, "embedding": embedding}
            details[dataset, f"hierarchy/{part}", name] = found
    return pd.DataFrame(scores, columns=SCORE_COLUMNS), details


def shared_words_by_rank(texts: pd.DataFrame, ranks: pd.DataFrame) -> pd.DataFrame:
    """Count the words that the captions of two species share, by the deepest rank that the two share.

    Parameters
    ----------
    texts : DataFrame of shape (n, n_text_types)
        A caption a species and text type.
    ranks : DataFrame of shape (n, 7)
        In the same order.

    Returns
    -------
    DataFrame
        Mean number of shared words, beyond those of the template; one row a shared rank ("none" first), one column a
        text type, and the number of ``pairs`` of species.
    """
    distance = hierarchy.tree_distance(ranks)
    upper = np.triu_indices(len(ranks), k=1)
    shared_rank = np.array(["none", *RANKS])[len(RANKS) - distance[upper].astype(int)]
    counts = {}
    for text_type in texts:
        words = [
            set(text.rstrip(".").split()) - {"a", "photo", "of", "with", "common", "name"} for text in texts[text_type]
        ]
        counts[text_type] = [len(words[i] & words[j]) for i, j in zip(*upper, strict=True)]
    by_rank = pd.DataFrame(counts).groupby(shared_rank)
    table = by_rank.mean().assign(pairs=by_rank.size())
    return table.reindex([rank for rank in ("none", *RANKS) if rank in table.index])
