"""The leaderboard: models by data sets and tasks, from metrics.csv of one or several runs, beside published numbers.

Takes tables of results, and answers image by image; returns tables and writes them as JSON. Computes no score. A
published number is shown as published, with its source, and takes part in no rank and no test.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import InputError
from ..run import REPOSITORY, Run, write_json
from .contestants import CONTESTANTS
from .metrics import KEYS, read_metrics
from .statistics import COMPARED, compare, mcnemar, rank_table, with_holm

PUBLISHED_CSV = REPOSITORY / "data" / "published_numbers.csv"
PUBLISHED_COLUMNS = ("set", "model", "task", "metric", "value", "source")
LOWER_IS_BETTER = ("mistake_distance",)  # overconfidence is best at 0
_PAIRS = ("only_reference", "only_baseline", "p_mcnemar")
_KEYS = ["dataset", "task", "metric"]
_COLUMNS = [*_KEYS, "model", "value", "ci_low", "ci_high", "n", "chance", "differs", "published", "source"]


def read_results(paths: Sequence[str | Path]) -> pd.DataFrame:
    """Read metrics.csv of several runs; where there are several, a model is named with its run."""
    if not len(paths):
        raise InputError("no metrics.csv given; pass one of each run")
    table = pd.concat([read_metrics(path) for path in paths], ignore_index=True)
    if table.duplicated(KEYS).any():
        twice = table[table.duplicated(KEYS)].iloc[0]
        raise InputError(f"run {twice['run']} occurs twice with {twice['task']} of {twice['model']}; rename one run")
    if table["run"].nunique() > 1:
        table["model"] = table["model"] + " (" + table["run"] + ")"
    return table


def read_published(path: str | Path = PUBLISHED_CSV) -> pd.DataFrame:
    """Read published numbers, fractions: ``set, model, task, metric, value, source``; none where there is no file."""
    if not Path(path).is_file():
        return pd.DataFrame(columns=list(PUBLISHED_COLUMNS))
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if tuple(table.columns) != PUBLISHED_COLUMNS:
        raise InputError(f"{path} has columns {', '.join(table)}; {', '.join(PUBLISHED_COLUMNS)} are wanted")
    table = table.assign(value=pd.to_numeric(table["value"], errors="coerce"))
    if table["value"].isna().any() or (table["source"] == "").any():
        raise InputError(f"{path} has a row without a value or a source; fill it in or take it out")
    return table


def read_board(run: Run) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the leaderboard of one run, and those of its benchmark sets that differ from the published ones."""
    sets = pd.read_csv(run.tables / "benchmark_sets.csv", index_col="set", keep_default_na=False)
    board = build_leaderboard(read_results([run.metrics_csv]), read_published(), sets["differs"])
    return board, sets.loc[sets["differs"] != "", ["title", "n_images", "differs"]]


def build_leaderboard(results: pd.DataFrame, published: pd.DataFrame, differs: Mapping[str, str]) -> pd.DataFrame:
    """Set results and published numbers of a data set, task and metric below each other, the best first; `_COLUMNS`."""
    # interval, n and chance of a published number stay empty; one whose `differs` is not must not be compared with them
    ours = results[~results["metric"].str.startswith("p_")].assign(published=False, source="")
    ours["differs"] = [differs.get(dataset, "") for dataset in ours["dataset"]]
    theirs = published.rename(columns={"set": "dataset"}).assign(published=True, differs="")
    theirs = theirs.merge(ours[_KEYS].drop_duplicates(), on=_KEYS)
    board = pd.concat([ours, theirs.astype({"value": float})], ignore_index=True) if len(theirs) else ours
    badness = board["value"].where(board["metric"].isin(LOWER_IS_BETTER), -board["value"])
    badness = badness.where(board["metric"] != "overconfidence", board["value"].abs())
    board = board.assign(badness=badness).sort_values([*_KEYS, "badness"], kind="stable")
    return board[_COLUMNS].reset_index(drop=True)


def score_table(scores: pd.DataFrame, metrics: Sequence[str] = ("macro_top1", "top1")) -> pd.DataFrame:
    """Lay out rows of metrics.csv or a board: a line a data set, task and metric, a column a model, chance and n.

    Cells are value [interval], accuracies in percent; "(published)" where a number has no interval; '' where a model
    was not asked. Of models with another n or chance each one's stands there, in the order of columns: "6 / – / 121".
    """
    rows = scores[scores["metric"].isin(metrics)].reset_index(drop=True)
    factor = rows["metric"].str.contains("top").map({True: 100, False: 1})
    numbers = rows[["value", "ci_low", "ci_high", "chance"]].mul(factor, axis=0).to_numpy()
    said = []
    for (value, low, high, chance), n, digits in zip(numbers, rows["n"], np.where(factor > 1, 1, 3), strict=True):
        ends = "(published)" if np.isnan(low) else f"[{low:.{digits}f}, {high:.{digits}f}]"
        of_all = (None, None) if np.isnan(chance) else (f"{chance:.{digits}f}", int(n))
        said.append((f"{value:.{digits}f} {ends}", *of_all))
    found = pd.DataFrame(said, columns=["cell", "chance", "n"], dtype=object)
    found = rows[[*_KEYS, "model"]].join(found).groupby([*_KEYS, "model"])
    wide = found["cell"].agg("; ".join).unstack("model").fillna("")
    models = [name for name in CONTESTANTS if name in wide] + sorted(set(wide) - set(CONTESTANTS))
    order = sorted(wide.index, key=lambda key: (key[0], key[1], list(metrics).index(key[2])))
    shared = {}
    for name in ("chance", "n"):
        each = found[name].first().unstack("model").reindex(columns=models)
        shared[name] = [_one_or_each(values) for values in each.to_numpy()]
    return wide[models].assign(**shared).loc[order]


def _one_or_each(values: np.ndarray) -> object:
    """Return what all models share, or each one's, in the order of columns: mistakes are as many as a model makes."""
    asked = pd.unique(values[pd.notna(values)])
    return asked[0] if len(asked) == 1 else " / ".join("–" if pd.isna(value) else str(value) for value in values)


def ranks_over_sets(board: pd.DataFrame) -> pd.DataFrame:
    """Rank the models within each data set, by top-1, and average over the sets that all were asked (`rank_table`)."""
    ours = board[(board["metric"] == "top1") & ~board["published"]]
    tables = [pd.DataFrame(columns=["task", "model", "mean_rank", "best", "n_sets", "p_friedman"])]
    for task, rows in ours.groupby("task"):
        table, p_value = rank_table(rows.pivot(index="dataset", columns="model", values="value"))
        if table["n_sets"].iloc[0]:
            tables.append(table.rename_axis("model").reset_index().assign(task=task, p_friedman=p_value))
    return pd.concat(tables[1:] or tables, ignore_index=True)[list(tables[0].columns)]


def compare_zero_shot(predictions: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Compare a model with each other one on the images of `score_zero_shot`, corrected over data sets and baselines.

    Returns ``dataset, part, baseline``, the columns of `compare` of the reference minus the baseline, for another set
    of classes; ``only_reference, only_baseline, p_mcnemar`` (exact, for these images alone, a group changing models as
    a whole); ``n`` images. Each p-value with its ``_holm``.
    """
    right = predictions.assign(correct=(predictions["class_key"] == predictions["predicted"]).astype(float))
    wide = right.pivot(index=["dataset", "part", "image_id", "class_key", "group"], columns="model", values="correct")
    if reference not in wide.columns and len(wide.columns) and reference != "trained":  # it may have learned no names
        raise InputError(f"no predictions of {reference}; there are those of {', '.join(map(str, wide.columns))}")
    rows = []
    for (dataset, part), group in wide.groupby(["dataset", "part"]):
        for baseline in wide.columns.drop(reference) if reference in wide else ():
            both = group[[reference, baseline]].dropna()
            if both.empty:
                continue
            a, b = both[reference].to_numpy(), both[baseline].to_numpy()
            classes, groups = (both.index.get_level_values(level).to_numpy() for level in ("class_key", "group"))
            found, pairs = compare(a, b, classes), dict(zip(_PAIRS, mcnemar(a, b, groups), strict=True))
            rows.append({"dataset": dataset, "part": part, "baseline": baseline, **found, **pairs, "n": len(both)})
    return with_holm(pd.DataFrame(rows, columns=["dataset", "part", "baseline", *COMPARED, *_PAIRS, "n"]), ["part"])


def write_leaderboard(path: str | Path, **tables: pd.DataFrame) -> None:
    """Write tables as one JSON object: a list of rows under each name, null where a number is missing."""
    plain = {name: table.astype(object).where(table.notna(), None) for name, table in tables.items()}
    write_json(Path(path), {name: table.to_dict("records") for name, table in plain.items()})
