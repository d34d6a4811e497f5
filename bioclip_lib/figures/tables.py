"""Result tables as a paper takes them (Markdown, LaTeX, a CSV of rounded numbers, all of the same rows); an index."""

import json
import re
from pathlib import Path

import pandas as pd
from IPython.display import Markdown

from ..errors import InputError
from ..files.markdown import escape, markdown_table
from ..files.spreadsheets import harmless
from ..run import Run, atomic
from .style import models_in_order
from .words import DATASETS, MODELS, START, task_label, task_place

_MAIN = r"zero_shot(/(un)?seen|/unseen/taxon)?|few_shot/\d+(/unseen)?|hierarchy/(un)?seen"
_HEADLINES = r"zero_shot/(un)?seen|few_shot/[15]/unseen|hierarchy/unseen"
_NUMBER = re.compile(r"-?[\d.,]+( \[-?[\d.]+, -?[\d.]+\])?([,;] [\w. ]+)*")
_UNTRAINED = ("frozen", "pixels", "random_init")  # what there is without this training


def results_frame(results: pd.DataFrame, tasks: str = _MAIN) -> pd.DataFrame:
    """Lay out results of `metrics.read_metrics`: a line a data set and task, a column a model, chance and n; as text.

    Top-1 accuracy in percent, over species with its interval and over images; the rank correlation of the hierarchy
    probe with its interval and p, of any structure and inside kingdoms. Two runs of one data set are refused.
    """
    rows = _named(results)
    models = models_in_order(rows["model"])
    rows, lines = rows[rows["task"].str.fullmatch(tasks)], []
    for dataset, mine in rows.groupby("dataset"):
        for task in sorted(mine["task"].unique(), key=task_place):
            found = mine[mine["task"] == task]
            cells = [_cell(found[found["model"] == name].set_index("metric")) for name in models]
            asked = found[found["metric"].isin(["macro_top1", "top1", "spearman"])]
            if len(asked):
                lines.append((DATASETS.get(dataset, dataset), *_ends(task, asked)[0], *cells, *_ends(task, asked)[1]))
    return pd.DataFrame(lines, columns=["data set", "task", *models, "chance", "n"])


def headline_frame(results: pd.DataFrame) -> pd.DataFrame:
    """Lay out a front page's lines: the trained model beside the best baseline (dealt words are none)."""
    rows = _named(results).assign(code=results["model"])
    rows = rows[rows["task"].str.fullmatch(_HEADLINES) & rows["metric"].isin(["macro_top1", "spearman"])]
    lines = []
    for dataset, mine in rows.groupby("dataset"):
        for task in sorted(mine["task"].unique(), key=task_place):
            asked = mine[mine["task"] == task]
            trained, others = asked[asked["code"] == "trained"], asked[asked["code"].isin(_UNTRAINED)]
            best = others[others["value"] == others["value"].max()].head(1)
            cells = ["".join(_headline(row) for _, row in trained.iterrows())]
            cells += ["".join(f"{_headline(row)}, {row['model']}" for _, row in best.iterrows())]
            if cells[0]:
                lines.append(
                    (DATASETS.get(dataset, dataset), *_ends(task, trained)[0], *cells, *_ends(task, trained)[1])
                )
    return pd.DataFrame(lines, columns=["data set", "task", "trained", "best baseline", "chance", "n"])


def results_table(results: pd.DataFrame) -> str:
    """Format the main results of runs as Markdown: a line a data set and task, a column a model.

    Parameters
    ----------
    results : DataFrame
        Of `metrics.read_metrics`, of one run or several; two runs of one data set are an `InputError`.

    Returns
    -------
    str
        Top-1 accuracy in percent, over species with its interval and over images, and the rank correlation of the
        hierarchy probe with its interval and p, of any structure and inside kingdoms; each with chance and n.
    """
    return _markdown(results_frame(results), results)


def headline_table(results: pd.DataFrame) -> str:
    """Format the few lines of a front page as Markdown (`headline_frame`)."""
    return _markdown(headline_frame(results), results)


def _markdown(frame: pd.DataFrame, results: pd.DataFrame) -> str:
    """Return a table whose names are escaped, and a word where its numbers mean nothing."""
    frame = frame.rename(columns=escape)
    frame["data set"] = frame["data set"].map(escape)
    smoke = (results["profile"] == "smoke").any()
    return markdown_table(frame, escaped=False, n_left=2) + ("\n\nSmoke numbers: not a result." if smoke else "")


def figure_index(run: Run) -> pd.DataFrame:
    """List a run's figures with the notebook, the inputs and the commit they come from."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(run.figures.glob("*.json"))]
    table = pd.DataFrame(rows, columns=["figure", "notebook", "inputs", "git_commit", "made"])
    return table.assign(inputs=table["inputs"].map(lambda inputs: ", ".join(inputs)))


def or_say(table: pd.DataFrame, sentence: str) -> pd.DataFrame | Markdown:
    """Return a table to be shown or, where it has no row, a sentence that says what this means."""
    return table if len(table) else Markdown(f"*{sentence}*")


def _named(results: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with each model's name as a reader knows it; two runs of one data set are refused."""
    twice = results[results.duplicated(["dataset", "model", "task", "metric"])]
    if len(twice):
        runs = ", ".join(sorted(results["run"].unique()))
        raise InputError(f"of the runs {runs} several have the data set {twice['dataset'].iloc[0]}; take one of each")
    pretrained = results.groupby("run")["model"].transform(lambda models: (models == "frozen").any())
    starts = results["model"].mask(pretrained & (results["model"] == "random_init"), START)
    return results.assign(model=starts.map(lambda name: MODELS.get(name, name)))


def _ends(task: str, rows: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return what stands before the models on a line, and what after them."""
    if task.startswith("hierarchy"):
        return [f"{task_label(task)}, Spearman's rho"], ["0", f"{_counts(rows['n'])} species"]
    return [f"{task_label(task)}, top-1 %"], [f"{100 * rows['chance'].iloc[0]:.1f}", _counts(rows["n"])]


def _cell(of: pd.DataFrame) -> str:
    """Return what a model reached at one task, by metric: the mean over species first; '' where it was not asked."""
    said = []
    if "spearman" in of.index:
        said = [_interval(of.loc["spearman"], 1, 2)]
        for metric, where in (("p_value", "p"), ("p_value_in_kingdoms", "p inside kingdoms")):
            said += [f"{where} {of.loc[metric, 'value']:.2g}"] if metric in of.index else []
        return ", ".join(said)
    if "macro_top1" in of.index:
        said.append(_interval(of.loc["macro_top1"], 100, 1))
    if "top1" in of.index:
        said.append(f"{100 * of.loc['top1', 'value']:.1f} of images")
    return "; ".join(said)


def _headline(row: pd.Series) -> str:
    """Return a number of a front page: of a correlation two digits."""
    return _interval(row, 1, 2) if row["metric"] == "spearman" else _interval(row, 100, 1)


def _interval(row: pd.Series, factor: int, digits: int) -> str:
    """Format a value and its interval, in percent with the factor 100."""
    value, low, high = (f"{factor * row[name]:.{digits}f}" for name in ("value", "ci_low", "ci_high"))
    return f"{value} [{low}, {high}]"


def _counts(n: pd.Series) -> str:
    """Format n, or its range where models were asked different images."""
    low, high = int(n.min()), int(n.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as ``path``.tex (booktabs), .md and .csv; names are escaped in each."""
    latex = table.to_latex(index=False, escape=True, column_format="l" * table.shape[1])
    texts = {"tex": latex, "md": markdown_table(table) + "\n", "csv": table.map(_shown).to_csv(index=False)}
    for suffix, text in texts.items():
        with atomic(path.with_name(f"{path.name}.{suffix}")) as tmp:
            tmp.write_text(text, encoding="utf-8")


def _shown(cell: object) -> object:
    """Return a cell that a spreadsheet shows as it is; a number with its interval and words is no formula, -2+3 is."""
    return cell if _NUMBER.fullmatch(str(cell)) else harmless(cell)


def write_tables(run: Run, folder: Path) -> list[str]:
    """Write a run's main results, and its accuracy by text type, to a folder; return their names."""
    if not run.metrics_csv.is_file():
        return []
    results = pd.read_csv(
        run.metrics_csv, dtype={"dataset": str, "model": str, "run": str}, keep_default_na=False, na_values=[""]
    )
    tables = {"results": _MAIN, "results_by_text_type": r"zero_shot/(un)?seen(/\w+)?"}
    for name, tasks in tables.items():
        write_table(results_frame(results, tasks), folder / name)
    return list(tables)
