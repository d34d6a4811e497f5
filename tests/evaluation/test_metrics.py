"""Point values by hand, intervals by their coverage, and a table that refuses what a reader could not judge."""

import itertools

import numpy as np
import pandas as pd
import pytest

from bioclip_lib.errors import InputError
from bioclip_lib.evaluation import metrics


def row(**changes):
    keys = {
        "run": "r",
        "profile": "mini",
        "notebook": "04",
        "dataset": "d",
        "model": "trained",
        "task": "zero_shot/seen",
    }
    values = {"metric": "top1", "value": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n": 10, "seeds": 1, "chance": 0.1}
    return pd.DataFrame([{**keys, **values, **changes}])


@pytest.mark.parametrize(
    "change",
    [
        *({column: np.nan} for column in ("value", "ci_low", "ci_high", "n", "seeds", "chance")),
        *({column: None} for column in metrics.LABELS),
        {"n": 0},
        {"seeds": 0},
        {"value": np.inf},
        {"value": 0.7},
        {"value": 0.3},
        {"model": ""},
    ],
    ids=str,
)
def test_a_number_that_cannot_be_judged_is_refused(tmp_path, change):
    path = tmp_path / "metrics.csv"
    metrics.append_metrics(path, row())
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not written"):
        metrics.append_metrics(path, row(**change))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("column", [*metrics.LABELS, "n", "ci_low"])
def test_a_missing_column_is_refused(tmp_path, column):
    with pytest.raises(ValueError, match=f"lack {column}"):
        metrics.append_metrics(tmp_path / "metrics.csv", row().drop(columns=column))
    assert not list(tmp_path.iterdir())


def test_the_same_key_is_replaced_and_another_is_kept(tmp_path):
    path = tmp_path / "metrics.csv"
    metrics.append_metrics(path, row(seconds=3.0))
    metrics.append_metrics(path, row(value=0.6, notebook="04b"))
    for key in metrics.KEYS:
        metrics.append_metrics(path, row(**{key: "other"}))
    table = metrics.read_metrics(path)
    assert len(table) == 1 + len(metrics.KEYS)
    same = table[(table[metrics.KEYS] != "other").all(axis=1)]
    assert same["value"].tolist() == [0.6] and same["notebook"].tolist() == ["04b"] and same["seconds"].isna().all()
    with pytest.raises(ValueError, match="two numbers"):
        metrics.append_metrics(path, pd.concat([row(value=0.4), row()], ignore_index=True))


def test_the_file_does_not_depend_on_the_order_of_calls(tmp_path):
    rows = [row(model=m, task=t, value=1 / 2.2) for m in ("b", "a") for t in ("x", "y")]
    rows[0] = rows[0].astype({"value": object})  # as a table has it that was put together from several
    written = set()
    for i, order in enumerate(itertools.permutations(rows)):
        for one in order:
            metrics.append_metrics(tmp_path / f"{i}.csv", one)
        written.add((tmp_path / f"{i}.csv").read_bytes())
    assert len(written) == 1


def test_labels_stay_text_and_counts_whole(tmp_path):
    path = tmp_path / "metrics.csv"
    for name in ("NA", "null", "007", "1e3", 'a,"b"', "Käfer"):
        metrics.append_metrics(path, row(n=1_234_567.0), dataset=name, run="007")
    metrics.append_metrics(path, row(), dataset="NA", run="007")
    table = metrics.read_metrics(path)
    assert sorted(table["dataset"]) == sorted(["NA", "null", "007", "1e3", 'a,"b"', "Käfer"])
    assert set(table["run"]) == {"007"} and sorted(table["n"]) == [10, *[1_234_567] * 5]
    assert table["n"].dtype == int and table["seeds"].dtype == int


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\x00\xff\xfe", b"<html>\n", None], ids=str)
def test_what_is_no_metrics_table_is_refused(tmp_path, content):
    path = tmp_path / "metrics.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"metrics\.csv"):
        metrics.read_metrics(path)


def test_text_for_a_number_in_the_file_is_refused(tmp_path):
    path = tmp_path / "metrics.csv"
    metrics.append_metrics(path, row())
    path.write_text(path.read_text().replace("0.5", "half"))
    with pytest.raises(InputError, match="no metrics table"):
        metrics.read_metrics(path)
