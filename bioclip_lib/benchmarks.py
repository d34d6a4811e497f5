"""The benchmarks of a run: which images are asked what, zero-shot and hierarchy scores as rows of metrics.csv.

Takes the catalog and tables of features; returns tidy scores with n, interval and chance, and what each image got.
Each source is a data set of its own. *seen* are test images of species that were trained on, *unseen* all images of
held-out species; the candidates are the classes of the same part. Refuses features that do not cover the images.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from . import RANKS, TEXT_TYPES, captions, catalog, hierarchy, metrics, zero_shot
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


def score_zero_shot(
    table: pd.DataFrame,
    tables: Features,
    encoders: Mapping[str, Callable[[Sequence[str]], np.ndarray]],
    config: EvaluateConfig,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Name each image among the classes of its data set and part, for every model and text type.

    Parameters
    ----------
    table : DataFrame
        The catalog.
    tables : mapping of model to FeatureTable
        Unit-length image features.
    encoders : mapping of model to callable
        From n texts to unit-length text features, (n, D).
    config : EvaluateConfig

    Returns
    -------
    scores : DataFrame
        Rows for `metrics.append_metrics`: top1, top5 and macro_top1. The task of the configured text type is
        ``zero_shot/seen`` or ``zero_shot/unseen``; the others append their text type.
    predictions : DataFrame
        ``image_id, model, dataset, part, class_key, predicted``, for the configured text type.
    """
    images = evaluated_images(table)
    texts = captions.caption_table(table).set_index("class_key")
    scores, predictions = [], []
    for name, features in tables.items():
        values = rows_of(features, images)
        encoded = {t: zero_shot.zero_shot_weights(encoders[name], list(texts[t])) for t in TEXT_TYPES}
        for (dataset, part), group in images.groupby(["dataset", "part"]):
            candidates = np.unique(group["class_key"])
            if len(candidates) < 2:  # nothing to choose from
                continue
            true = np.searchsorted(candidates, group["class_key"])
            position = texts.index.get_indexer(candidates)
            for text_type in TEXT_TYPES:
                ranked = zero_shot.zero_shot_predict(values.loc[group.index].to_numpy(), encoded[text_type][position])
                suffix = "" if text_type == config.text_type else f"/{text_type}"
                keys = {"model": name, "dataset": dataset, "task": f"zero_shot/{part}{suffix}"}
                scores += _accuracy_rows(keys, ranked == true[:, None], true, len(candidates), config)
                if not suffix:
                    picked = {"model": name, "dataset": dataset, "part": part, "predicted": candidates[ranked[:, 0]]}
                    predictions.append(group[["class_key"]].assign(**picked).reset_index())
    if not predictions:
        raise InputError("no data set has two classes with test images, seen or held out; add classes or images")
    return pd.DataFrame(scores), pd.concat(predictions, ignore_index=True)


def rows_of(features, images: pd.DataFrame) -> pd.DataFrame:
    """Return features as a frame indexed by image; refuse a table that lacks an evaluated image."""
    frame = pd.DataFrame(features.values, index=features.image_ids)
    missing = images.index.difference(frame.index)
    if len(missing):
        raise InputError(f"{len(missing)} evaluated images have no features (e.g. {missing[0]}); rerun 03_training")
    return frame


def _accuracy_rows(
    keys: dict, hits: np.ndarray, true: np.ndarray, n_classes: int, config: EvaluateConfig
) -> list[dict]:
    """Return the rows of top1, top5 and macro_top1 from hits (n, k) in ranked order."""
    top1, top5 = hits[:, 0].astype(float), hits[:, :5].any(axis=1).astype(float)
    per_class = pd.Series(top1).groupby(true).mean().to_numpy()
    measured = {
        "top1": (top1, true, 1 / n_classes),
        "top5": (top5, true, min(5, n_classes) / n_classes),
        "macro_top1": (per_class, np.arange(len(per_class)), 1 / n_classes),
    }
    return [
        {
            **keys,
            "metric": metric,
            **with_interval(values, groups, config),
            "n": len(top1),
            "seeds": 1,
            "chance": chance,
        }
        for metric, (values, groups, chance) in measured.items()
    ]


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
        text type.
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
    table = pd.DataFrame(counts).groupby(shared_rank).mean()
    return table.reindex([rank for rank in ("none", *RANKS) if rank in table.index])
