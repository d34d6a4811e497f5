"""The report: the results table, the index of figures, and what the README shows of a named run.

``python -m bioclip_lib.report --run runs/mini`` copies a run's figures to ``figures/``, its numbers to
``data/results.csv``, and writes the table into README.md. Computes no result.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import pandas as pd

from . import metrics
from .errors import InputError
from .paths import REPOSITORY, Run, atomic

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
RESULTS_CSV = REPOSITORY / "data" / "results.csv"
README_FIGURES = ("contact_sheet", "overview", "umap_trained")  # tracked: only these
TASKS = {
    "zero_shot/seen": "zero-shot, seen species",
    "zero_shot/unseen": "zero-shot, unseen species",
    "few_shot/1": "1 shot",
    "few_shot/5": "5 shots",
    "few_shot/1/unseen": "1 shot, unseen species",
    "few_shot/5/unseen": "5 shots, unseen species",
}
MODELS = ("trained", "frozen", "pixels", "random_init")


def results_table(results: pd.DataFrame) -> str:
    """Format the main results as Markdown.

    Parameters
    ----------
    results : DataFrame
        Of `metrics.read_metrics`.

    Returns
    -------
    str
        Per data set and task: top-1 accuracy in percent with its interval for each model, chance and n; and the rank
        correlation of the hierarchy probe.
    """
    models = [name for name in MODELS if name in set(results["model"])]
    lines = [
        "| data set | task | " + " | ".join(models) + " | chance | n |",
        "| --- | --- |" + " ---: |" * (len(models) + 2),
    ]
    top1 = results[results["metric"] == "top1"]
    for dataset in sorted(top1["dataset"].unique()):
        for task, label in TASKS.items():
            rows = top1[(top1["dataset"] == dataset) & (top1["task"] == task)].set_index("model")
            if len(rows):
                cells = [_percent(rows.loc[name]) if name in rows.index else "" for name in models]
                chance, n = rows["chance"].iloc[0], int(rows["n"].iloc[0])
                lines.append(f"| {dataset} | {label}, top-1 % | {' | '.join(cells)} | {100 * chance:.1f} | {n:,} |")
    lines += _hierarchy_lines(results[results["task"].str.startswith("hierarchy/")], models)
    smoke = set(results["profile"]) == {"smoke"}
    note = "\n\nSmoke numbers: not a result." if smoke else ""
    return "\n".join(lines) + note


def _percent(row: pd.Series) -> str:
    """Format a fraction and its interval in percent."""
    return f"{100 * row['value']:.1f} [{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}]"


def _hierarchy_lines(rows: pd.DataFrame, models: list[str]) -> list[str]:
    """Format rho, its interval and p for each data set and part."""
    lines = []
    for (dataset, task), group in rows.groupby(["dataset", "task"]):
        wide = group.pivot(index="model", columns="metric", values=["value", "ci_low", "ci_high"])
        cells = []
        for name in models:
            found = name in wide.index
            row = wide.loc[name] if found else None
            interval = f"[{row['ci_low', 'spearman']:.2f}, {row['ci_high', 'spearman']:.2f}]" if found else ""
            cells.append(f"{row['value', 'spearman']:.2f} {interval}, p {row['value', 'p_value']:.2g}" if found else "")
        n = int(group["n"].iloc[0])
        label = f"hierarchy, {task.removeprefix('hierarchy/')} species, Spearman's rho"
        lines.append(f"| {dataset} | {label} | {' | '.join(cells)} | 0 | {n} species |")
    return lines


def figure_index(run: Run) -> pd.DataFrame:
    """List a run's figures with the notebook, the inputs and the commit they come from."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(run.figures.glob("*.json"))]
    table = pd.DataFrame(rows, columns=["figure", "notebook", "inputs", "git_commit", "made"])
    return table.assign(inputs=table["inputs"].map(lambda inputs: ", ".join(inputs)))


def write_text(path: str | Path, text: str) -> None:
    """Write text atomically, with a final newline."""
    with atomic(path) as tmp:
        tmp.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def update_readme(readme: str | Path, table: str) -> None:
    """Put the table between the markers of a README; InputError if they are missing."""
    text = Path(readme).read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise InputError(f"{readme} needs the lines {BEGIN} and {END}, once each, in this order")
    before, _, rest = text.partition(BEGIN)
    write_text(readme, f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}")


def read_committed_metrics() -> pd.DataFrame:
    """Read the numbers that the README shows."""
    return metrics.read_metrics(RESULTS_CSV)


def export_run(run: Run) -> None:
    """Copy a run's figures and numbers to where the README shows them, and write its table."""
    results = metrics.read_metrics(run.metrics_csv)
    folder = REPOSITORY / "figures"
    for path in sorted([*run.figures.glob("*.pdf"), *run.figures.glob("*.png"), *run.figures.glob("*.json")]):
        shutil.copyfile(path, folder / path.name)
    with atomic(RESULTS_CSV) as tmp:
        shutil.copyfile(run.metrics_csv, tmp)
    update_readme(REPOSITORY / "README.md", results_table(results))


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bioclip_lib.report", description="Export a run's figures and numbers."
    )
    parser.add_argument("--run", default=str(REPOSITORY / "runs" / "mini"), help="run directory (default: runs/mini)")
    args = parser.parse_args(argv)
    try:
        export_run(Run(args.run))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"figures/, data/results.csv and README.md now show {args.run}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
