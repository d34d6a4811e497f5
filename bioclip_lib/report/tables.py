"""Result tables in Markdown, the index of figures, and what is shown where a table is empty."""

import json

import pandas as pd
from IPython.display import Markdown

from ..errors import InputError
from ..figures.style import models_in_order
from ..figures.words import MODELS, START, task_label
from ..run import Run


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
    twice = results[results.duplicated(["dataset", "model", "task", "metric"])]
    if len(twice):
        runs = ", ".join(sorted(results["run"].unique()))
        raise InputError(f"of the runs {runs} several have the data set {twice['dataset'].iloc[0]}; take one of each")
    models = models_in_order(results["model"])
    words = {**MODELS, "random_init": START} if "frozen" in models else MODELS
    lines = [
        _line("data set", "task", *(words.get(name, name) for name in models), "chance", "n"),
        "| --- | --- |" + " ---: |" * (len(models) + 2),
    ]
    for dataset, rows in results.groupby("dataset"):
        lines += _accuracy_lines(dataset, rows[rows["metric"].isin(["macro_top1", "top1"])], models)
        lines += _hierarchy_lines(dataset, rows[rows["task"].str.startswith("hierarchy/")], models)
    smoke = (results["profile"] == "smoke").any()
    return "\n".join(lines) + ("\n\nSmoke numbers: not a result." if smoke else "")


def _line(*cells: str) -> str:
    """Join cells to a line of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _accuracy_lines(dataset: str, rows: pd.DataFrame, models: list[str]) -> list[str]:
    """Format top-1 accuracy of the main zero-shot and few-shot tasks, and of unseen species by their ranks alone."""
    main = rows["task"].str.fullmatch(r"zero_shot(/(un)?seen|/unseen/taxon)?|few_shot/\d+(/unseen)?")
    tasks = sorted(rows.loc[main, "task"].unique(), key=lambda t: (t.startswith("few"), t.count("/"), len(t), t))
    lines = []
    for task in tasks:
        found = rows[rows["task"] == task].sort_values("metric")  # over species first
        cells = [_accuracies(found[found["model"] == name]) for name in models]
        chance = f"{100 * found['chance'].iloc[0]:.1f}"
        lines.append(_line(dataset, f"{task_label(task)}, top-1 %", *cells, chance, _counts(found["n"])))
    return lines


def _accuracies(rows: pd.DataFrame) -> str:
    """Format a model's accuracy over species, then that over images; '' of none."""
    over = {"macro_top1": lambda row: _interval(row, 100, 1), "top1": lambda row: f"{100 * row['value']:.1f} of images"}
    return "; ".join(over[row["metric"]](row) for _, row in rows.iterrows())


def _hierarchy_lines(dataset: str, rows: pd.DataFrame, models: list[str]) -> list[str]:
    """Format rho, its interval and p for each part."""
    lines = []
    for task, group in rows.groupby("task"):
        rho = group[group["metric"] == "spearman"].set_index("model")
        said = dict.fromkeys(models, "")
        for metric, where in (("p_value", ""), ("p_value_in_kingdoms", " inside kingdoms")):
            found = group[group["metric"] == metric]
            said |= {m: f"{said[m]}, p{where} {p:.2g}" for m, p in zip(found["model"], found["value"], strict=True)}
        cells = [_interval(rho.loc[name], 1, 2) + said[name] if name in rho.index else "" for name in models]
        if len(rho):
            label = f"{task_label(task)}, Spearman's rho"
            lines.append(_line(dataset, label, *cells, "0", f"{_counts(rho['n'])} species"))
    return lines


def _interval(row: pd.Series, factor: int, digits: int) -> str:
    """Format a value and its interval, in percent with the factor 100."""
    value, low, high = (f"{factor * row[name]:.{digits}f}" for name in ("value", "ci_low", "ci_high"))
    return f"{value} [{low}, {high}]"


def _counts(n: pd.Series) -> str:
    """Format the number of images, or its range where models were asked different ones."""
    low, high = int(n.min()), int(n.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def or_say(table: pd.DataFrame, sentence: str) -> pd.DataFrame | Markdown:
    """Return a table to be shown or, where it has no row, a sentence that says what this means."""
    return table if len(table) else Markdown(f"*{sentence}*")


def figure_index(run: Run) -> pd.DataFrame:
    """List a run's figures with the notebook, the inputs and the commit they come from."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(run.figures.glob("*.json"))]
    table = pd.DataFrame(rows, columns=["figure", "notebook", "inputs", "git_commit", "made"])
    return table.assign(inputs=table["inputs"].map(lambda inputs: ", ".join(inputs)))
