"""Result tables as a paper takes them: LaTeX, Markdown and a CSV of rounded numbers."""

from pathlib import Path

import pandas as pd

from ..files.markdown import markdown_table
from ..run import Run, atomic
from .style import models_in_order
from .words import in_words, model_words, task_label

_SHOWN = {
    "results_zero_shot": ("tables/zero_shot.csv", ("macro_top1", "top1")),
    "results_few_shot": ("tables/few_shot.csv", ("macro_top1", "top1")),
    "results_hierarchy": ("tables/hierarchy.csv", ("spearman", "triplets", "p_value", "p_value_in_kingdoms")),
}
_METRICS = {
    "macro_top1": "top-1 %, mean over species",
    "top1": "top-1 %, mean over images",
    "spearman": "Spearman's rho",
    "triplets": "triplets right",
    "p_value": "Mantel p",
    "p_value_in_kingdoms": "Mantel p inside kingdoms",
}


def result_frame(scores: pd.DataFrame, metrics: tuple[str, ...]) -> pd.DataFrame:
    """Lay out scores: a line a data set, task and metric, a column a model, value [95 % interval], chance and n."""
    rows = in_words(scores[scores["metric"].isin(metrics)])
    models, lines = models_in_order(rows["model"]), []
    for (dataset, task, metric), mine in rows.groupby(["dataset", "task", "metric"], sort=False):
        percent = 100 if metric.endswith("top1") else 1
        cells = {row.model: _cell(row, percent) for row in mine.itertuples()}
        first = {"data set": dataset, "task": task_label(task), "measure": _METRICS[metric]}
        n, chance = f"{mine['n'].max():,}", f"{percent * mine['chance'].iloc[0]:.3g}"
        lines.append({**first, **{name: cells.get(name, "") for name in models}, "chance": chance, "n": n})
    return pd.DataFrame(lines, columns=["data set", "task", "measure", *models, "chance", "n"])


def _cell(row: tuple, percent: int) -> str:
    """Return a value and its interval, rounded to what can be told."""
    digits = 1 if percent > 1 else 2
    if row.metric.startswith("p_"):
        return f"{row.value:.2g}"
    return " ".join(
        [f"{percent * row.value:.{digits}f}", _interval(percent * row.ci_low, percent * row.ci_high, digits)]
    )


def _interval(low: float, high: float, digits: int) -> str:
    return f"[{low:.{digits}f}, {high:.{digits}f}]"


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as ``path``.tex (booktabs), .md and .csv; names are escaped in each."""
    latex = table.to_latex(index=False, escape=True, column_format="l" * table.shape[1])
    texts = {"tex": latex, "md": markdown_table(table) + "\n", "csv": table.to_csv(index=False)}
    for suffix, text in texts.items():
        with atomic(path.with_name(f"{path.name}.{suffix}")) as tmp:
            tmp.write_text(text, encoding="utf-8")


def write_tables(run: Run, folder: Path) -> list[str]:
    """Write the result tables of a run to a folder; return their names."""
    written = []
    for name, (source, metrics) in _SHOWN.items():
        if (run.root / source).is_file():
            scores = in_words(pd.read_csv(run.root / source, keep_default_na=False, na_values=[""]), model_words(run))
            write_table(result_frame(scores, metrics), folder / name)
            written.append(name)
    return written
