"""Few-shot scores on a small catalog, by hand: who is asked, on which folds, by which method, and against whom."""

import random
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bioclip_lib import RANKS
from bioclip_lib.config import EvaluateConfig
from bioclip_lib.errors import InputError
from bioclip_lib.evaluation import few_shot, metrics, statistics
from bioclip_lib.model.features import FeatureTable
from bioclip_lib.shards import captions

CONFIG = EvaluateConfig(shots=(1, 2), n_folds=3)
NAMES = ("Aa a", "Bb b", "Cc c", "Dd d", "Ee e", "Ff f")
UNSEEN = NAMES[3:]


def catalog_of(sizes, source="zoo"):
    """A catalog in which every species has `sizes[name]` evaluated images, and one that was trained on."""
    rows = []
    for name, n in sizes.items():
        ranks = dict(zip(RANKS, ("A", "B", "C", "D", "E", *name.split()), strict=True))
        for i in range(n + 1):
            split = "train" if i == n else "heldout_species" if name in UNSEEN else "test"
            row = {
                "image_id": f"{source}/{name}/{i}",
                "source": source,
                "split": split,
                "excluded": "",
                "rank": "species",
            }
            rows.append(
                {
                    **row,
                    **ranks,
                    "scientific_name": name,
                    "common_name": "",
                    "verbatim_name": name,
                    "taxon_id": "",
                    "class_key": name,
                }
            )
    return pd.DataFrame(rows).assign(class_key=lambda table: table["scientific_name"])


def features_of(table, noise, seed=0):
    images = few_shot.evaluated_images(table)
    rng = np.random.default_rng(seed)
    values = np.eye(len(NAMES))[[NAMES.index(name) for name in images["class_key"]]]
    return FeatureTable(list(images.index), (values + noise * rng.normal(size=values.shape)).astype(np.float32))


def encoder_of(table):
    """A text tower that knows each caption's species."""
    texts = captions.caption_table(table).set_index("class_key")
    known = {text: np.eye(len(NAMES))[NAMES.index(name)] for name, row in texts.iterrows() for text in row}
    return lambda asked: np.stack([known[text] for text in asked])


@pytest.fixture(scope="module")
def zoo():
    return catalog_of(dict.fromkeys(NAMES, 9))


@pytest.fixture(scope="module")
def scored(zoo):
    folds = few_shot.draw_folds(zoo, CONFIG)
    tables = {"good": features_of(zoo, 0.05), "poor": features_of(zoo, 0.6), "noise": features_of(zoo, 1e6)}
    encoders = {"good": encoder_of(zoo), "poor": encoder_of(zoo)}
    return tables, encoders, folds, *few_shot.score_few_shot(zoo, folds, tables, encoders, CONFIG)


def test_the_folds_of_every_part_by_their_ids(zoo, scored):
    folds = scored[2]
    assert set(folds["part"]) == set(few_shot.FOLD_PARTS) and set(folds["dataset"]) == {"zoo"}
    assert set(folds.loc[folds["part"] == "unseen", "class_key"]) == set(UNSEEN)
    images = few_shot.evaluated_images(zoo)
    labels = images["class_key"].to_numpy()
    for part, mode in (("all", "independent"), ("cumulative", "cumulative")):
        found = few_shot.folds_from_table(folds[folds["part"] == part], images.index, labels)
        expected = few_shot.few_shot_folds(labels, CONFIG.shots, CONFIG.n_folds, mode)
        for k, parts in expected.items():
            for one, other in zip(found[k], parts, strict=True):
                assert all((a == b).all() for a, b in zip(one, other, strict=True))
    trained_on = set(zoo.loc[zoo["split"] == "train", "image_id"])
    assert not trained_on & set(folds["image_id"])


def test_as_many_queries_of_each_class_are_of_those_of_the_fold_and_the_originals_folds_keep_theirs():
    table = catalog_of({name: 9 + 3 * i for i, name in enumerate(NAMES)})  # uneven
    keys = ["part", "k", "fold", "class_key"]
    every, some = (few_shot.draw_folds(table, replace(CONFIG, queries=n)) for n in (0, 2))
    counts = some[~some["shot"]].groupby(keys).size()
    drawn = counts.index.get_level_values("part") != "cumulative"
    assert set(counts[drawn]) == {2}
    assert set(map(tuple, some.values)) < set(map(tuple, every.values))
    every, some = (frame[frame["shot"] | (frame["part"] == "cumulative")] for frame in (every, some))
    assert some.reset_index(drop=True).equals(every.reset_index(drop=True))  # shots, and all of the original's


def test_no_shots_are_refused_by_name(zoo):
    with pytest.raises(InputError, match=r"evaluate\.shots is \[\]; give distinct numbers from 1 up"):
        few_shot.draw_folds(zoo, replace(CONFIG, shots=()))


def test_saved_folds_give_the_same_scores_and_a_changed_one_is_refused(zoo, scored, tmp_path):
    tables, encoders, folds, scores, _ = scored
    folds.to_csv(tmp_path / "folds.csv", index=False)
    again = pd.read_csv(tmp_path / "folds.csv", keep_default_na=False)
    shuffled = zoo.sample(frac=1, random_state=0)
    repeated, _ = few_shot.score_few_shot(shuffled, again, tables, encoders, CONFIG)
    pd.testing.assert_frame_equal(repeated, scores)
    swapped = zoo.assign(
        image_id=zoo["image_id"].map({"zoo/Aa a/0": "zoo/Bb b/0", "zoo/Bb b/0": "zoo/Aa a/0"}).fillna(zoo["image_id"])
    )
    with pytest.raises(InputError, match="mixed up"):
        few_shot.score_few_shot(swapped, again, tables, encoders, CONFIG)
    trained_on = again.replace({"image_id": {"zoo/Aa a/0": "zoo/Aa a/9"}})
    with pytest.raises(InputError, match="are not here"):
        few_shot.score_few_shot(zoo, trained_on, tables, encoders, CONFIG)


def test_every_method_of_every_model_on_the_same_queries(scored):
    _, _, folds, scores, queries = scored
    asked = queries.groupby(["part", "model"])["method"].agg(set)
    for model in ("good", "poor", "noise"):
        assert asked["cumulative", model] == {"simple_shot"}
        for part in ("all", "unseen"):
            assert asked[part, model] == {"simple_shot", "nearest_shot", "ridge"} | (
                {"text"} if model != "noise" else set()
            )
    of_table = folds[~folds["shot"]].groupby(["part", "k", "fold"])["image_id"].agg(list)
    for (part, k, fold, *_), ids in queries.groupby(["part", "k", "fold", "model", "method"])["image_id"]:
        assert ids.tolist() == of_table[part, k, fold]
    top1 = scores[scores["metric"] == "top1"].set_index(["model", "task"])
    assert (top1.loc["good", "value"] == 1).all()
    assert top1.loc[("noise", "few_shot/2"), "chance"] == 1 / 6
    assert top1.loc[("noise", "few_shot/2/unseen/ridge"), "chance"] == 1 / 3
    assert (top1.loc["noise", "value"] < 0.6).all()
    assert top1.loc[("poor", "few_shot/1/text"), "value"] > top1.loc[("poor", "few_shot/1"), "value"]


def test_rows_can_be_written_and_the_values_are_means_over_folds(scored, tmp_path):
    _, _, _, scores, queries = scored
    metrics.append_metrics(tmp_path / "m.csv", scores, run="r", profile="smoke", notebook="05")
    table = few_shot.fold_scores(scores, queries)
    assert len(table) == (scores["metric"] == "top1").sum()
    row = table[
        (table["model"] == "poor") & (table["method"] == "ridge") & (table["part"] == "all") & (table["k"] == 1)
    ].iloc[0]
    mine = queries[
        (queries["model"] == "poor") & (queries["method"] == "ridge") & (queries["part"] == "all") & (queries["k"] == 1)
    ]
    per_fold = [mine.loc[mine["fold"] == n, "correct"].mean() for n in range(3)]
    assert row[["fold_0", "fold_1", "fold_2"]].tolist() == pytest.approx(per_fold)
    assert row["mean"] == pytest.approx(np.mean(per_fold)) and row["std"] == pytest.approx(np.std(per_fold))
    task = scores[(scores["model"] == "poor") & (scores["task"] == "few_shot/1/ridge")].set_index("metric")["value"]
    assert task["top1"] == pytest.approx(row["mean"])
    assert task["macro_top1"] == row["macro"] == pytest.approx(mine.groupby("class_key")["correct"].mean().mean())


def test_cumulative_accuracies_are_the_original_ones(zoo, scored):
    """The original's evaluation from protocol.md, "Few-shot": features shuffled in place, class by class."""
    tables, _, _, scores, queries = scored
    images = few_shot.evaluated_images(zoo)
    order = list(images["class_key"])
    pooled = {name: [] for name in dict.fromkeys(order)}  # first-seen order
    for name, row in zip(order, tables["poor"].values.astype(float), strict=True):
        pooled[name].append(row)
    state, found = random.getstate(), {}
    for k in CONFIG.shots:
        for n in range(CONFIG.n_folds):
            random.seed(n)
            train, test = [], []
            for name, rows in pooled.items():
                random.shuffle(rows)
                train += [(row, name) for row in rows[:k]]
                test += [(row, name) for row in rows[k:]]
            mean = np.mean([row for row, _ in train], axis=0)
            unit = {name: [] for name in pooled}
            for row, name in train:
                unit[name].append((row - mean) / np.linalg.norm(row - mean))
            centroids = {name: np.mean(rows, axis=0) for name, rows in unit.items()}
            hits = []
            for row, name in test:
                query = (row - mean) / np.linalg.norm(row - mean)
                hits.append(min(centroids, key=lambda c: np.linalg.norm(query - centroids[c])) == name)
            found.setdefault(k, []).append(np.mean(hits))
    random.setstate(state)
    table = few_shot.fold_scores(scores, queries)
    table = table[(table["part"] == "cumulative") & (table["model"] == "poor")].set_index("k")
    for k, accuracies in found.items():
        assert table.loc[k, ["fold_0", "fold_1", "fold_2"]].tolist() == pytest.approx(accuracies)
        assert 100 * table.loc[k, "mean"] == pytest.approx(100 * np.mean(accuracies))
        assert 100 * table.loc[k, "std"] == pytest.approx(100 * np.std(accuracies))
    assert 0.2 < np.mean(found[1]) < 0.95 and np.std(found[1]) > 0
    independent = few_shot.fold_scores(scores, queries).query("part == 'all' and model == 'poor' and k == 2")
    simple = independent[independent["method"] == "simple_shot"]
    assert simple[["fold_0", "fold_1", "fold_2"]].to_numpy()[0].tolist() != pytest.approx(found[2])


@pytest.mark.parametrize(("text_type", "text"), [("asis", "a photo of Aa a."), ("common_name", "the Aa a")])
def test_texts_are_those_of_every_text_type(zoo, scored, text_type, text):
    asked = []
    encoders = {"good": lambda texts: asked.extend(texts) or np.eye(len(NAMES))[: len(texts)]}
    zoo = zoo.assign(verbatim_name=zoo["scientific_name"], common_name="the " + zoo["scientific_name"])
    config = replace(CONFIG, text_type=text_type)
    few_shot.score_few_shot(zoo, scored[2], {"good": scored[0]["good"]}, encoders, config)
    assert text in asked
    with pytest.raises(InputError, match=r"unknown evaluate\.text_type 'latin'"):
        few_shot.score_few_shot(zoo, scored[2], {}, {}, replace(CONFIG, text_type="latin"))


def test_models_and_methods_are_compared_in_pairs(scored):
    _, _, _, scores, queries = scored
    top1 = scores[scores["metric"] == "top1"].set_index(["model", "task"])["value"]
    models = few_shot.compare_few_shot(queries, "model", "good")
    row = models.set_index(["part", "k", "method", "baseline"]).loc[("all", 2, "ridge", "poor")]
    assert row["value"] == pytest.approx(top1["good", "few_shot/2/ridge"] - top1["poor", "few_shot/2/ridge"])
    assert row["detectable"] > 0 and row["p_holm"] >= row["p_value"]
    n = scores.query("model == 'good' and task == 'few_shot/2/ridge' and metric == 'top1'")["n"].item()
    assert row["n"] == n < len(queries.query("model == 'good' and k == 2 and method == 'ridge' and part == 'all'"))
    family = models[(models["part"] == "all") & (models["method"] == "ridge")]
    assert len(family) == 4  # two baselines, two shots, one data set
    assert family["p_holm"].tolist() == statistics.holm(family["p_value"].to_numpy()).tolist()
    methods = few_shot.compare_few_shot(queries, "method", "simple_shot")
    row = methods.set_index(["part", "k", "model", "baseline"]).loc[("all", 1, "poor", "text")]
    assert row["value"] == pytest.approx(top1["poor", "few_shot/1"] - top1["poor", "few_shot/1/text"])
    assert not ((methods["model"] == "noise") & (methods["baseline"] == "text")).any()
    assert few_shot.compare_few_shot(queries[queries["model"] == "good"], "model", "good").empty
    assert few_shot.compare_few_shot(queries.iloc[:0], "model", "good").empty
    with pytest.raises(InputError, match="no answers of frozen; there are those of good, noise, poor"):
        few_shot.compare_few_shot(queries, "model", "frozen")


def test_small_classes_are_left_out_and_sets_are_scored_apart():
    sizes = {"Aa a": 4, "Bb b": 4, "Cc c": 2}
    table = pd.concat([catalog_of(sizes, source) for source in ("zoo", "park")])
    eligible = few_shot.eligible_classes(table, 2).set_index(["dataset", "class_key"])["eligible"]
    assert eligible["zoo"].to_dict() == {"Aa a": True, "Bb b": True, "Cc c": False}
    folds = few_shot.draw_folds(table, CONFIG)
    assert set(folds["class_key"]) == {"Aa a", "Bb b"} and set(folds["part"]) == {"all", "cumulative"}
    scores, _ = few_shot.score_few_shot(table, folds, {"m": features_of(table, 0.01)}, {}, CONFIG)
    assert set(scores["dataset"]) == {"zoo", "park"} and (scores["n"] <= 8).all()
    short = features_of(table, 0.01)
    with pytest.raises(InputError, match="have no features"):
        few_shot.score_few_shot(table, folds, {"m": FeatureTable(short.image_ids[1:], short.values[1:])}, {}, CONFIG)


def test_a_burst_counts_once(zoo):
    """Nine images of three bursts are three: enough for two shots, and no burst is on both sides."""
    table = zoo.assign(group=zoo["class_key"] + (zoo.groupby("class_key").cumcount() // 3).astype(str))
    assert (
        few_shot.eligible_classes(table, 2)["eligible"].all()
        and not few_shot.eligible_classes(table, 3)["eligible"].any()
    )
    folds = few_shot.draw_folds(table, CONFIG).merge(table[["image_id", "group"]], on="image_id")
    sides = folds.groupby(["part", "k", "fold", "group"])["shot"]
    assert (sides.nunique() == 1).all() and sides.sum().max() == 1


@pytest.mark.parametrize("sizes", [{"Aa a": 2, "Bb b": 2}, {"Aa a": 9}])
def test_too_few_images_or_one_class_are_no_score_and_no_crash(sizes):
    table = catalog_of(sizes)
    folds = few_shot.draw_folds(table, CONFIG)
    scores, queries = few_shot.score_few_shot(table, folds, {"m": features_of(table, 1)}, {}, CONFIG)
    assert folds.empty and scores.empty and queries.empty
    assert few_shot.compare_few_shot(queries, "model", "m").empty
    assert few_shot.fold_scores(scores, queries).empty
