"""Few-shot: the same folds for every model and method, fold by fold, and paired comparisons.

`draw_folds` takes the catalog and returns folds as image ids; `score_few_shot` takes them with tables of features and
returns scores with n, interval and chance, and what each query got. Two protocols are named: ``cumulative``, the
original evaluation's, and ``independent``. Refuses classes without k shots and a query, folds that do not fit the
catalog, and features that do not cover the images. The methods are in `classifiers`.
"""

import random
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from ..catalog.splits import class_rows
from ..config import EvaluateConfig
from ..errors import InputError
from ..shards import captions
from .classifiers import nearest_shot, ridge_probe, simple_shot, text_anchored
from .statistics import COMPARED, compare, with_holm
from .tasks import ASIS, Features, evaluated_images, rows_of, score_frame, with_interval

MODES = ("independent", "cumulative")
METHODS = {"simple_shot": simple_shot, "nearest_shot": nearest_shot, "ridge": ridge_probe}
FOLD_PARTS = ("all", "cumulative", "unseen")  # which classes are asked of each other, and how: see `draw_folds`
FOLD_COLUMNS = ("k", "fold", "image_id", "class_key", "shot")
Fold = tuple[np.ndarray, np.ndarray]
QUERY_COLUMNS = ["image_id", "class_key", "fold", "correct", "model", "method", "dataset", "part", "k"]


def few_shot_folds(
    labels: np.ndarray,
    shots: Sequence[int],
    n_folds: int,
    mode: str = "independent",
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> dict[int, list[Fold]]:
    """Draw (shots, queries), index arrays, n_folds of each k: classes as first seen, k shots each.

    "independent": each fold shuffles the images of each class from their given order. "cumulative": as the original
    code, which seeds a generator with the fold's number and shuffles each class's list in place: the lists keep their
    order from fold to fold and from one k to the next. Seed 0 gives the original's folds.

    Images of one group (n,), a burst or an individual, are never on both sides: k shots are of k groups of their class,
    one image each, and the other images of these groups are no queries.
    """
    if mode not in MODES:
        raise InputError(f"unknown few-shot mode {mode!r}; choose {' or '.join(MODES)}")
    if not len(shots) or min(shots) < 1 or len(set(shots)) < len(shots) or n_folds < 1:
        raise InputError(f"shots {list(shots)} and n_folds {n_folds} must be distinct numbers from 1")
    groups = np.arange(len(labels)) if groups is None else pd.factorize(groups)[0]
    classes = _groups_of_classes(labels, groups, max(shots))
    folds: dict[int, list[Fold]] = {}
    for k in shots:
        folds[k] = []
        for fold in range(n_folds):
            # below 1,000 folds no stream of one seed is another's; those of seed 0 are of the original's `random.seed`
            rng = random.Random(1_000 * seed + fold)
            order = classes if mode == "cumulative" else [list(members) for members in classes]
            for members in order:
                rng.shuffle(members)
            train = [rng.choice(unit) if len(unit) > 1 else unit[0] for members in order for unit in members[:k]]
            test = np.array([i for members in order for unit in members[k:] for i in unit])
            folds[k].append((np.array(train), test[~np.isin(groups[test], groups[train])]))
    return folds


def train_to_test_folds(
    labels: np.ndarray, is_shot: np.ndarray, shots: Sequence[int], n_folds: int, seed: int = 0
) -> dict[int, list[Fold]]:
    """Draw k shots of each class among the images that may be shots; the others, of these classes, are all queries."""
    folds: dict[int, list[Fold]] = {}
    for k in shots:
        members = [np.flatnonzero(is_shot & (labels == label)) for label in np.unique(labels)]
        members = [found for found in members if len(found) >= k]
        asked = {labels[found[0]] for found in members}
        queries = np.flatnonzero(~is_shot & np.isin(labels, list(asked)))
        if len(members) < 2 or not len(queries):
            continue
        rngs = [np.random.default_rng([seed, fold]) for fold in range(n_folds)]
        folds[k] = [(np.concatenate([rng.choice(found, k, False) for found in members]), queries) for rng in rngs]
    return folds


def _groups_of_classes(labels: np.ndarray, groups: np.ndarray, k: int) -> list[list[list[int]]]:
    """List the images of each group of each class, both in first-seen order; refuse a class without k + 1 groups."""
    classes: dict = {}
    for index, (label, group) in enumerate(zip(np.asarray(labels).tolist(), groups.tolist(), strict=True)):
        classes.setdefault(label, {}).setdefault(group, []).append(index)
    small = [str(label) for label, members in classes.items() if len(members) <= k]
    if small or not classes:
        raise InputError(
            f"{len(small)} of {len(classes)} classes have no {k} shots and a query: {', '.join(small[:5])}"
            f"{', ...' if len(small) > 5 else ''}; leave them out or lower evaluate.shots"
        )
    return [list(members.values()) for members in classes.values()]


def folds_table(folds: dict[int, list[Fold]], image_ids: Sequence[str], labels: np.ndarray) -> pd.DataFrame:
    """Write folds down as image ids, `FOLD_COLUMNS`, a row an image and fold in the folds' order."""
    image_ids, labels = np.asarray(image_ids), np.asarray(labels)
    rows = [
        pd.DataFrame({"k": k, "fold": n, "image_id": image_ids[index], "class_key": labels[index], "shot": is_shot})
        for k, parts in folds.items()
        for n, part in enumerate(parts)
        for index, is_shot in zip(part, (True, False), strict=True)
    ]
    return pd.concat(rows, ignore_index=True)


def folds_from_table(table: pd.DataFrame, image_ids: Sequence[str], labels: np.ndarray) -> dict[int, list[Fold]]:
    """Read the folds of one data set and part back as indices into image_ids, however these stand now."""
    missing = [column for column in FOLD_COLUMNS if column not in table]
    if missing:
        raise InputError(f"a table of folds lacks {', '.join(missing)}; it needs {', '.join(FOLD_COLUMNS)}")
    position = pd.Index(image_ids)
    if not position.is_unique:
        raise InputError(f"{position[position.duplicated()][0]} occurs twice among the images; give each its own id")
    place = position.get_indexer(table["image_id"])
    if (place < 0).any():
        absent = table["image_id"][place < 0].unique()
        raise InputError(
            f"{len(absent)} images of the folds are not here (e.g. {absent[0]}); add them or draw new folds"
        )
    other = np.asarray(labels)[place] != table["class_key"].to_numpy()
    if other.any():
        image_id, was = table.loc[other, ["image_id", "class_key"]].iloc[0]
        raise InputError(
            f"{image_id} is of class {was} in the folds and of {np.asarray(labels)[place[other][0]]} here; the folds "
            "belong to another catalog, or the ids are mixed up"
        )
    folds: dict[int, list[Fold]] = {}
    for (k, fold), rows in table.assign(place=place).groupby(["k", "fold"], sort=False):
        _check_fold(rows, k, fold)
        shot = rows["shot"].to_numpy(bool)
        folds.setdefault(int(k), []).append((rows["place"].to_numpy()[shot], rows["place"].to_numpy()[~shot]))
    return folds


def _check_fold(rows: pd.DataFrame, k: int, fold: int) -> None:
    """Refuse a fold that holds an image twice, or not k shots of each class."""
    twice = rows["image_id"][rows["image_id"].duplicated()]
    if len(twice):
        raise InputError(
            f"{twice.iloc[0]} stands twice in fold {fold} of k = {k}; shots must be no queries; of several data sets "
            "or parts give the rows of one"
        )
    shots = rows.groupby("class_key")["shot"].sum()
    if (shots != k).any():
        raise InputError(
            f"fold {fold} of k = {k} has {shots[shots != k].iloc[0]} shots of {shots[shots != k].index[0]}"
        )


def eligible_classes(table: pd.DataFrame, k: int) -> pd.DataFrame:
    """Tell which classes have the images for k shots and a query, each of a group of its own.

    Returns
    -------
    DataFrame
        ``dataset, class_key, n_images, n_groups, eligible``, one row a class; an image of no group is one by itself.
    """
    groups = evaluated_images(table).groupby(["dataset", "class_key"])["group"]
    counts = groups.agg(n_images="size", n_groups="nunique").reset_index()
    return counts.assign(eligible=counts["n_groups"] > k)


def draw_folds(table: pd.DataFrame, config: EvaluateConfig) -> pd.DataFrame:
    """Draw the folds of every data set, as image ids: saved, they repeat the evaluation exactly.

    Returns
    -------
    DataFrame
        ``dataset, part`` and `FOLD_COLUMNS`. Parts: ``all`` (independent folds over all classes
        with a group more than the most shots), ``unseen`` (held-out species among themselves), ``cumulative`` (all
        classes in the original's accumulating folds; all queries). Empty where no set has two such classes.
    """
    drawn = [pd.DataFrame(columns=["dataset", "part", *FOLD_COLUMNS])]
    for dataset, group in evaluated_images(table).groupby("dataset"):
        sizes = group.groupby("class_key")["group"].transform("nunique")
        group = group[sizes > max(config.shots)]
        for part in FOLD_PARTS:
            pool = group[group["part"] == "unseen"] if part == "unseen" else group
            if pool["class_key"].nunique() < 2:
                continue
            labels, mode = pool["class_key"].to_numpy(), "cumulative" if part == "cumulative" else "independent"
            folds = few_shot_folds(labels, config.shots, config.n_folds, mode, config.seed, pool["group"].to_numpy())
            rows = folds_table(folds, pool.index, labels)
            if config.queries and mode == "independent":  # a class's queries stand in the order that was drawn
                place = rows.groupby(["k", "fold", "class_key", "shot"], sort=False).cumcount()
                rows = rows[rows["shot"] | (place < config.queries)].reset_index(drop=True)
            rows.insert(0, "dataset", dataset)
            rows.insert(1, "part", part)
            drawn.append(rows)
    return pd.concat(drawn[1:] or drawn, ignore_index=True)


def score_few_shot(
    table: pd.DataFrame,
    folds: pd.DataFrame,
    tables: Features,
    encoders: Mapping[str, Callable[[Sequence[str]], np.ndarray]],
    config: EvaluateConfig,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Classify the queries of every fold by every model and method.

    Parameters
    ----------
    folds : DataFrame
        Of `draw_folds`, or read from where they were saved.
    encoders : mapping of model to callable
        From n texts to text features, (n, D), of the models that have a text tower: only they blend in the captions of
        the configured text type.

    Returns
    -------
    scores : DataFrame
        Rows for `append_metrics`: top1 (mean over folds) and macro_top1 (mean over classes of their accuracy in all
        folds); the intervals are for another set of classes. The task ``few_shot/<k>`` is SimpleShot on the folds of
        ``all``; ``/unseen``, ``/cumulative`` and then the other methods are appended. Cumulative folds are asked of
        SimpleShot only: they repeat the original's protocol.
    queries : DataFrame
        ``image_id, class_key, fold, correct, model, method, dataset, part, k``, a row an answer.
    """
    images = evaluated_images(table)
    texts = _class_texts(table, config.text_type)
    values = {name: rows_of(features, images) for name, features in tables.items()}
    scores, queries = [], []
    for (dataset, part), rows in folds.groupby(["dataset", "part"]):
        pool = images[images["dataset"] == dataset]
        labels = pool["class_key"].to_numpy()
        splits = folds_from_table(rows, pool.index, labels)
        classes = np.unique(rows["class_key"])
        for name in tables:
            features = values[name].loc[pool.index].to_numpy()
            methods = _methods(part, list(texts[classes]), encoders.get(name))
            for k, parts in splits.items():
                for method, predict in methods.items():
                    answers = fold_answers(features, labels, pool.index, parts, predict)
                    keys = {"model": name, "method": method, "dataset": dataset, "part": part, "k": k}
                    queries.append(answers.assign(**keys))
                    scores += score_answers(keys, answers)
    every = pd.concat(queries, ignore_index=True) if queries else pd.DataFrame(columns=QUERY_COLUMNS)
    return score_frame(scores), every


def _class_texts(table: pd.DataFrame, text_type: str) -> pd.Series:
    """Return the caption of each class, or its label in the caption's template, indexed by class."""
    classes = class_rows(table)
    if text_type == ASIS:
        return classes["verbatim_name"].map(captions.TEMPLATES_ONE[0].format)
    texts = [captions.caption(row, text_type) for row in classes.to_dict("records")]
    return pd.Series(texts, index=classes.index, dtype=object)


def _methods(part: str, texts: list[str], encode: Callable | None) -> dict[str, Callable]:
    """Return the methods of a part, from features, labels, shots and queries to labels; texts in order of classes."""
    if part == "cumulative":
        return {"simple_shot": simple_shot}
    if encode is None:
        return METHODS
    encoded = encode(texts)
    return {**METHODS, "text": lambda *fold: text_anchored(*fold, encoded)}


def fold_answers(
    features: np.ndarray, labels: np.ndarray, image_ids: pd.Index, parts: Sequence[Fold], predict: Callable
) -> pd.DataFrame:
    """Return the queries of every fold, with whether each is right."""
    rows = []
    for fold, (shots, queries) in enumerate(parts):
        correct = predict(features, labels, shots, queries) == labels[queries]
        keys = {"image_id": image_ids[queries], "class_key": labels[queries], "fold": fold}
        rows.append(pd.DataFrame({**keys, "correct": correct}))
    return pd.concat(rows, ignore_index=True)


def task_of(part: str, k: int, method: str) -> str:
    """Name a task of metrics.csv."""
    words = ["few_shot", str(k), *([part] if part != "all" else []), *([method] if method != "simple_shot" else [])]
    return "/".join(words)


def score_answers(keys: dict, answers: pd.DataFrame) -> list[dict]:
    """Return the rows of top1 and macro_top1."""
    per_class = answers.groupby("class_key")["correct"].mean()
    row = {"model": keys["model"], "dataset": keys["dataset"]}
    row["task"] = task_of(keys["part"], keys["k"], keys["method"])
    counts = {"n": answers["image_id"].nunique(), "seeds": 1, "chance": 1 / len(per_class)}
    values, classes = answers["correct"].to_numpy(float), answers["class_key"].to_numpy()
    top1 = with_interval(values, classes)
    macro = with_interval(per_class.to_numpy(), per_class.index.to_numpy())
    return [{**row, "metric": "top1", **top1, **counts}, {**row, "metric": "macro_top1", **macro, **counts}]


def fold_scores(scores: pd.DataFrame, queries: pd.DataFrame) -> pd.DataFrame:
    """Set the accuracy of each fold beside mean, spread, interval and chance, of `score_few_shot`.

    Returns
    -------
    DataFrame
        ``dataset, part, k, model, method, macro, ci_low, ci_high, mean, std, fold_0 ..., n, chance``: ``macro`` is the
        mean over classes, with its interval, the others are over images. ``std`` is that of the population, over folds,
        as the original reports it: it tells how much the draw of shots matters, and is no interval, because folds share
        their images.
    """
    keys = ["dataset", "part", "k", "model", "method"]
    per_fold = queries.groupby([*keys, "fold"])["correct"].mean().unstack("fold").add_prefix("fold_")
    table = per_fold.assign(mean=per_fold.mean(axis=1), std=per_fold.std(axis=1, ddof=0)).reset_index()
    tasks = [task_of(row.part, row.k, row.method) for row in table.itertuples()]
    table["task"] = pd.Series(tasks, index=table.index, dtype=object)  # text, of no rows too
    shared = ["dataset", "model", "task"]
    macro = scores.loc[scores["metric"] == "macro_top1", [*shared, "value", "ci_low", "ci_high", "n", "chance"]]
    table = table.merge(macro.rename(columns={"value": "macro"}), on=shared, validate="1:1")
    return table[[*keys, "macro", "ci_low", "ci_high", "mean", "std", *per_fold.columns, "n", "chance"]]


def compare_few_shot(queries: pd.DataFrame, column: str, reference: str) -> pd.DataFrame:
    """Compare a model, or a method, with each other one, paired on the same queries of the same folds.

    Parameters
    ----------
    queries : DataFrame
        Of `score_few_shot`.
    column : str
        What is compared: "model" within each method, or "method" within each model; `reference` is one of these.

    Returns
    -------
    DataFrame
        ``dataset, part, k``, the other of model and method, ``baseline``, and the reference's accuracy minus the
        baseline's: ``value, ci_low, ci_high, p_value, p_flips`` (`paired_difference`, over classes), each p-value with
        its ``_holm``, corrected over data sets, baselines and shots of a part; ``detectable`` (the difference that
        would be found with a power of 80 %), ``n_classes``, ``n`` images, however many folds ask them.
    """
    kept = "method" if column == "model" else "model"
    question = ["part", "k", kept]
    names = sorted(queries[column].unique())
    if names and reference not in names:
        raise InputError(f"no answers of {reference}; there are those of {', '.join(map(str, names))}")
    image, label = pd.factorize(queries["image_id"])[0], pd.factorize(queries["class_key"])[0]
    asked = queries["fold"].to_numpy() * (image.max(initial=0) + 1) + image
    right, rows = queries["correct"].to_numpy(float), []
    places = queries.groupby(["dataset", *question, column]).indices
    for (*keys, baseline), theirs in sorted(places.items()):
        ours = places.get((*keys, reference))
        if baseline == reference or ours is None:
            continue
        ours, theirs = (place[np.argsort(asked[place], kind="stable")] for place in (ours, theirs))
        if np.array_equal(asked[ours], asked[theirs]):  # else not asked here
            found = compare(right[ours], right[theirs], label[ours])
            question_asked = dict(zip(["dataset", *question], keys, strict=True))
            rows.append({**question_asked, "baseline": baseline, **found, "n": len(np.unique(image[ours]))})
    return with_holm(pd.DataFrame(rows, columns=["dataset", *question, "baseline", *COMPARED, "n"]), ["part", kept])
