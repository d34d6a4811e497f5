"""The leaderboard from written tables: what stands beside what, by hand, and a JSON that reads back."""

import json

import numpy as np
import pandas as pd
import pytest

from bioclip_lib.config import EvaluateConfig
from bioclip_lib.errors import InputError
from bioclip_lib.evaluation import leaderboard, metrics, statistics

CONFIG = EvaluateConfig()


def write_run(folder, run, values, task="zero_shot"):
    """metrics.csv of a run from {(dataset, model): top-1}."""
    rows = [
        {"dataset": d, "model": m, "task": task, "metric": "top1", "value": v, "ci_low": v - 0.1, "ci_high": v + 0.1}
        for (d, m), v in values.items()
    ]
    path = folder / run / "metrics.csv"
    path.parent.mkdir(exist_ok=True)
    rows = pd.DataFrame(rows).assign(n=50, seeds=1, chance=0.01)
    metrics.append_metrics(path, rows, run=run, profile="photos", notebook="04")
    return path


def published_csv(folder, *rows):
    path = folder / "published.csv"
    path.write_text("\n".join(["set,model,task,metric,value,source", *rows]) + "\n")
    return path


@pytest.fixture
def board(tmp_path):
    first = write_run(tmp_path, "a", {("fungi", "trained"): 0.5, ("fungi", "pixels"): 0.2, ("rare", "trained"): 0.3})
    second = write_run(tmp_path, "b", {("fungi", "trained"): 0.6, ("rare", "trained"): 0.3})
    published = published_csv(
        tmp_path,
        "fungi,BioCLIP,zero_shot,top1,0.407,site",
        "fungi,BioCLIP,zero_shot,top1,0.518,card",
        "fungi,BioCLIP,few_shot/1,top1,0.9,nowhere asked",
        "birds525,BioCLIP,zero_shot,top1,0.721,site",
    )
    results = leaderboard.read_results([first, second])
    return leaderboard.build_leaderboard(
        results, leaderboard.read_published(published), {"fungi": "9 images, 8 expected"}
    )


def test_published_numbers_stand_beside_ours_with_their_source(board):
    fungi = board[board["dataset"] == "fungi"]
    assert fungi["model"].tolist() == ["trained (b)", "BioCLIP", "trained (a)", "BioCLIP", "pixels (a)"]
    assert fungi["published"].tolist() == [False, True, False, True, False]
    assert fungi["source"].tolist() == ["", "card", "", "site", ""]
    assert fungi.loc[fungi["published"], ["ci_low", "ci_high", "n", "chance"]].isna().all(axis=None)
    assert set(board["dataset"]) == {"fungi", "rare"} and set(board["task"]) == {"zero_shot"}


def test_the_best_is_first_also_where_low_is_good():
    rows = pd.DataFrame({"model": ["a", "b", "c"], "value": [0.3, 0.1, 0.2]}).assign(dataset="fungi", task="zero_shot")
    results = pd.concat([rows.assign(metric=metric) for metric in ("overconfidence", "mistake_distance", "top1")])
    results = results.assign(ci_low=0.0, ci_high=1.0, n=9, chance=0.0)
    board = leaderboard.build_leaderboard(results, leaderboard.read_published("none.csv"), {})
    assert "".join(board["model"]) == "bca" + "bca" + "acb"


def test_published_numbers_stand_in_the_table_without_an_interval(board):
    both = pd.concat([board, board[~board["published"]].assign(metric="macro_top1", value=0.45)])
    table = leaderboard.score_table(both)
    assert table.index.tolist()[:2] == [("fungi", "zero_shot", "macro_top1"), ("fungi", "zero_shot", "top1")]
    assert table["trained (a)"].tolist()[:2] == ["45.0 [40.0, 60.0]", "50.0 [40.0, 60.0]"]
    assert table["BioCLIP"].tolist() == ["", "51.8 (published); 40.7 (published)", "", ""]
    assert table.loc[("rare", "zero_shot", "top1"), "pixels (a)"] == ""


def test_ranks_are_of_the_sets_that_all_were_asked_and_published_numbers_have_none(board):
    ranks = leaderboard.ranks_over_sets(board).set_index("model")
    assert ranks["n_sets"].tolist() == [1, 1, 1] and "BioCLIP" not in ranks.index
    assert ranks["mean_rank"].to_dict() == {"trained (b)": 1, "trained (a)": 2, "pixels (a)": 3}
    two = leaderboard.ranks_over_sets(board[board["model"] != "pixels (a)"]).set_index("model")
    assert two["mean_rank"].to_dict() == {"trained (b)": 1.25, "trained (a)": 1.75}
    assert two["p_friedman"].isna().all()
    assert leaderboard.ranks_over_sets(board[board["published"]]).empty


def test_one_run_keeps_its_models_names_and_no_published_file_is_no_published_number(tmp_path):
    path = write_run(tmp_path, "a", {("fungi", "trained"): 0.5})
    published = leaderboard.read_published(tmp_path / "none.csv")
    board = leaderboard.build_leaderboard(leaderboard.read_results([path]), published, {})
    assert board["model"].tolist() == ["trained"] and not board["published"].any()


def test_what_cannot_be_shown_is_refused(tmp_path):
    path = write_run(tmp_path, "a", {("fungi", "trained"): 0.5})
    with pytest.raises(InputError, match="run a occurs twice"):
        leaderboard.read_results([path, path])
    with pytest.raises(InputError, match="no metrics"):
        leaderboard.read_results([])
    for row in ("fungi,BioCLIP,zero_shot,top1,,site", "fungi,BioCLIP,zero_shot,top1,0.5,"):
        with pytest.raises(InputError, match="value or a source"):
            leaderboard.read_published(published_csv(tmp_path, row))
    (tmp_path / "published.csv").write_text("set,value\nfungi,0.5\n")
    with pytest.raises(InputError, match="are wanted"):
        leaderboard.read_published(tmp_path / "published.csv")


def predictions():
    """Two sets of 40 images in 10 classes: `good` errs on class 0 of each, `bad` on all but class 0 in set x."""
    rows = []
    for dataset in ("x", "y"):
        for i in range(40):
            true = f"c{i % 10}"
            right = {"good": i % 10 != 0, "bad": dataset == "y" or i % 10 == 0}
            for model, hit in right.items():
                row = {
                    "image_id": f"{dataset}{i}",
                    "group": f"{dataset}{i}",
                    "model": model,
                    "dataset": dataset,
                    "part": "seen",
                }
                rows.append({**row, "class_key": true, "predicted": true if hit else "c-"})
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def test_paired_tests_by_hand():
    table = leaderboard.compare_zero_shot(predictions(), "good").set_index("dataset")
    assert table.loc["x", ["value", "only_reference", "only_baseline", "n"]].tolist() == [0.8, 36, 4, 40]
    assert table.loc["y", ["value", "only_reference", "only_baseline", "n"]].tolist() == pytest.approx([-0.1, 0, 4, 40])
    assert table.loc["y", "p_mcnemar"] == table.loc["y", "p_mcnemar_holm"] == 2 / 2**4  # the larger of two: as it is
    assert table.loc["x", "p_mcnemar_holm"] == 2 * table.loc["x", "p_mcnemar"] < 1e-6
    bursts = predictions().assign(group=lambda rows: rows["class_key"])  # all that `bad` does better is one burst
    assert leaderboard.compare_zero_shot(bursts, "good").set_index("dataset").loc["y", "p_mcnemar"] == 1
    assert table["p_holm"].tolist() == statistics.holm(table["p_value"].to_numpy()).tolist()
    with pytest.raises(InputError, match="no predictions of frozen"):
        leaderboard.compare_zero_shot(predictions(), "frozen")


def test_the_json_reads_back(board, tmp_path):
    tests = leaderboard.compare_zero_shot(predictions(), "good")
    path = tmp_path / "leaderboard.json"
    leaderboard.write_leaderboard(path, scores=board, ranks=leaderboard.ranks_over_sets(board), tests=tests)
    text = path.read_text()
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert set(found) == {"scores", "ranks", "tests"}
    said = {(row["dataset"], row["published"]): row["differs"] for row in found["scores"]}
    assert said == {("fungi", False): "9 images, 8 expected", ("fungi", True): "", ("rare", False): ""}
    assert {row["p_mcnemar"] for row in found["tests"]} == set(tests["p_mcnemar"])  # to the last digit
    again = pd.DataFrame(found["scores"]).replace({None: np.nan})
    pd.testing.assert_frame_equal(again, board, check_dtype=False)


def test_a_model_that_names_nothing_is_compared_with_nobody():
    rest = predictions().query("model != 'good'")
    for named in (rest, rest.iloc[:0]):
        assert leaderboard.compare_zero_shot(named, "trained").empty


def test_scores_are_laid_out_by_hand():
    keys = {"dataset": "zoo", "task": "zero_shot/seen", "n": 9, "chance": 0.25}
    rows = [
        {**keys, "model": "pixels", "metric": "top1", "value": 0.5, "ci_low": 0.25, "ci_high": 1.0},
        {**keys, "model": "trained", "metric": "top1", "value": 1.0, "ci_low": 0.5, "ci_high": 1.0},
        {**keys, "model": "trained", "metric": "macro_top1", "value": 0.75, "ci_low": 0.5, "ci_high": 0.9},
        {**keys, "model": "trained", "metric": "overconfidence", "value": 0.1, "ci_low": -0.5, "ci_high": 0.5},
    ]
    table = leaderboard.score_table(pd.DataFrame(rows))
    assert list(table) == ["trained", "pixels", "chance", "n"] and table.index.get_level_values(2).tolist() == [
        "macro_top1",
        "top1",
    ]
    assert table.iloc[0].tolist() == ["75.0 [50.0, 90.0]", "", "25.0", 9]
    assert table.iloc[1].tolist() == ["100.0 [50.0, 100.0]", "50.0 [25.0, 100.0]", "25.0", 9]
    assert leaderboard.score_table(pd.DataFrame(rows), ["overconfidence"])["trained"].tolist() == [
        "0.100 [-0.500, 0.500]"
    ]
    mistakes = pd.DataFrame(rows[:2]).assign(n=[121, 6], chance=[0.5, 0.25])  # as many as each model makes
    assert leaderboard.score_table(mistakes)[["chance", "n"]].iloc[0].tolist() == ["25.0 / 50.0", "6 / 121"]
    other = mistakes.iloc[:1].assign(task="other", model="frozen", n=7)
    table = leaderboard.score_table(pd.concat([mistakes, other]))
    assert list(table) == ["trained", "pixels", "frozen", "chance", "n"]
    assert table["n"].tolist() == [7, "6 / 121 / –"] and table["chance"].tolist() == ["50.0", "25.0 / 50.0 / –"]
    assert leaderboard.score_table(pd.DataFrame(rows).iloc[:0]).empty
