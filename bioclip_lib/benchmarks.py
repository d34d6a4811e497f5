"""The benchmarks of a run: which images are asked what, and the scores as rows of metrics.csv.

Takes the catalog and tables of features; returns tidy scores with n, interval and chance, and what each image got.
Each source is a data set of its own. *seen* are test images of species that were trained on, *unseen* all images of
held-out species; the candidates are the classes of the same part. Refuses features that do not cover the images.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from . import RANKS, catalog, few_shot, hierarchy, metrics
from .config import EvaluateConfig
from .errors import InputError

PARTS = {"test": "seen", "heldout_species": "unseen"}
_SCORE_COLUMNS = ["model", "dataset", "task", "metric", "value", "ci_low", "ci_high", "n", "seeds", "chance"]
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
    """Return features as a frame indexed by image; refuse a table that lacks an evaluated image."""
    frame = pd.DataFrame(features.values, index=features.image_ids)
    missing = images.index.difference(frame.index)
    if len(missing):
        raise InputError(f"{len(missing)} evaluated images have no features (e.g. {missing[0]}); rerun 03_training")
    return frame


def with_interval(values: np.ndarray, groups: np.ndarray, config: EvaluateConfig) -> dict:
    """Return ``value, ci_low, ci_high``: a mean and its interval, a bootstrap over classes with all their images."""
    low, high = metrics.bootstrap_interval(values, groups, n_bootstraps=config.n_bootstraps, seed=config.seed)
    return {"value": float(np.mean(values)), "ci_low": low, "ci_high": high}


def eligible_classes(table: pd.DataFrame, k: int) -> pd.DataFrame:
    """Tell which classes have the images for k shots and a query.

    Returns
    -------
    DataFrame
        ``dataset, class_key, n_images, eligible``, one row a class.
    """
    counts = evaluated_images(table).groupby(["dataset", "class_key"]).size().rename("n_images").reset_index()
    return counts.assign(eligible=counts["n_images"] > k)


def score_few_shot(table: pd.DataFrame, tables: Features, config: EvaluateConfig) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Classify by the nearest average of a few images, in both modes, for every model on the same folds.

    Parameters
    ----------
    table : DataFrame
        The catalog.
    tables : mapping of model to FeatureTable
    config : EvaluateConfig

    Returns
    -------
    scores : DataFrame
        Rows for `metrics.append_metrics`. Tasks: ``few_shot/<k>`` (independent folds over all eligible classes of a
        data set), ``few_shot/<k>/unseen`` (held-out species among themselves), ``few_shot/<k>/cumulative`` (the
        original's accumulating folds). ``value`` is the mean over folds; the interval is a bootstrap over classes.
    folds : DataFrame
        ``image_id, class_key, fold, shot, correct, model, dataset, k`` of the independent folds over all classes.
        Both are empty where no set has two classes with more images than shots.
    """
    images = evaluated_images(table)
    scores, folds = [], []
    for dataset, group in images.groupby("dataset"):
        sizes = group.groupby("class_key")["part"].transform("size")
        group = group[sizes > max(config.shots)]
        pools = {"": ("independent", group), "/cumulative": ("cumulative", group)}
        pools["/unseen"] = ("independent", group[group["part"] == "unseen"])
        for suffix, (mode, pool) in pools.items():
            if pool["class_key"].nunique() < 2:
                continue
            splits = few_shot.few_shot_folds(
                pool["class_key"].to_numpy(), config.shots, config.n_folds, mode, config.seed
            )
            for name, features in tables.items():
                values = rows_of(features, images).loc[pool.index].to_numpy()
                for k, parts in splits.items():
                    queries = _few_shot_queries(values, pool, parts)
                    keys = {"model": name, "dataset": dataset, "task": f"few_shot/{k}{suffix}"}
                    scores += _few_shot_rows(keys, queries[~queries["shot"]], config)
                    if not suffix:
                        folds.append(queries.assign(model=name, dataset=dataset, k=k))
    columns = ["image_id", "class_key", "fold", "shot", "correct", "model", "dataset", "k"]
    every = pd.concat(folds, ignore_index=True) if folds else pd.DataFrame(columns=columns).astype({"shot": bool})
    return pd.DataFrame(scores, columns=_SCORE_COLUMNS), every


def _few_shot_queries(values: np.ndarray, pool: pd.DataFrame, parts: Sequence[tuple]) -> pd.DataFrame:
    """Return shots and queries of every fold, with whether each query is right."""
    labels, rows = pool["class_key"].to_numpy(), []
    for fold, (shots, queries) in enumerate(parts):
        predicted = few_shot.simple_shot(values, labels, shots, queries)
        for index, is_shot in ((shots, True), (queries, False)):
            frame = pd.DataFrame(
                {"image_id": pool.index[index], "class_key": labels[index], "fold": fold, "shot": is_shot}
            )
            rows.append(frame.assign(correct=False if is_shot else predicted == labels[index]))
    return pd.concat(rows, ignore_index=True)


def _few_shot_rows(keys: dict, queries: pd.DataFrame, config: EvaluateConfig) -> list[dict]:
    """Return the rows of top1 (mean over folds) and of its standard deviation over folds."""
    per_fold = queries.groupby("fold")["correct"].mean()
    chance, n = 1 / queries["class_key"].nunique(), queries["image_id"].nunique()
    low, high = metrics.bootstrap_interval(
        queries["correct"].to_numpy(float),
        queries["class_key"].to_numpy(),
        n_bootstraps=config.n_bootstraps,
        seed=config.seed,
    )
    value = float(queries["correct"].mean())
    row = {"value": value, "ci_low": low, "ci_high": high, "n": n, "seeds": len(per_fold), "chance": chance}
    return [{**keys, "metric": "top1", **row}]


def compare_few_shot(folds: pd.DataFrame, reference: str, config: EvaluateConfig) -> pd.DataFrame:
    """Compare a model with each other one, paired on the same queries of the same folds.

    Returns
    -------
    DataFrame
        ``dataset, k, baseline, value, ci_low, ci_high, p_value, n``: accuracy of the reference minus the baseline's,
        with interval and p-value of a bootstrap over classes (`metrics.paired_difference`).
    """
    queries = folds[~folds["shot"]]
    index = ["dataset", "k", "fold", "image_id", "class_key"]
    wide = queries.assign(correct=queries["correct"].astype(float)).pivot(
        index=index, columns="model", values="correct"
    )
    rows = []
    for (dataset, k), group in wide.groupby(["dataset", "k"]):
        groups = group.index.get_level_values("class_key").to_numpy()
        for baseline in wide.columns.drop(reference):
            a, b = group[reference].to_numpy(), group[baseline].to_numpy()
            test = metrics.paired_difference(a, b, groups, config.n_bootstraps, config.seed)._asdict()
            rows.append({"dataset": dataset, "k": k, "baseline": baseline, **test, "n": len(group)})
    columns = ["dataset", "k", "baseline", "value", "ci_low", "ci_high", "p_value", "n"]
    return pd.DataFrame(rows, columns=columns)


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
    return pd.DataFrame(scores, columns=_SCORE_COLUMNS), details


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
