"""Result tables in Markdown, and the index of figures."""

import json

import pandas as pd

from ..figures.tables import headline_frame, results_frame
from ..files.markdown import escape, markdown_table
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
    return _markdown(results_frame(results), results)


def headline_table(results: pd.DataFrame) -> str:
    """Format the few lines of a front page as Markdown (`figures.tables.headline_frame`)."""
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
