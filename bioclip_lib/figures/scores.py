"""Figures of scores: value, interval and chance of every model.

Takes tables of scores, as metrics.csv holds them; returns Figures. Computes no score.
"""

import textwrap
from collections.abc import Hashable, Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from .. import RANKS
from .style import (
    COLUMN_IN,
    GREY,
    legend_above,
    model_colours,
    models_in_order,
    page_in,
    panels,
    say_empty,
    shorten,
    styled,
)
from .words import APART, PARTS, TEXT_TYPES, in_words, task_label, task_place

METRICS = ("macro_top1", "top1")  # the first of these that a table has is drawn
AXES = {
    "macro_top1": "top-1 accuracy, mean over species",
    "top1": "top-1 accuracy, mean over images",
    "spearman": "hierarchy: Spearman's ρ",
}
MIN_MISTAKES = 20  # of fewer, shares say nothing
_CHANCE = {"color": "black", "linestyle": ":", "linewidth": 0.9}


def main_metric(scores: pd.DataFrame) -> str:
    """Return the accuracy that figures show of a table."""
    return next((metric for metric in METRICS if (scores["metric"] == metric).any()), METRICS[-1])


def few_shot_rows(scores: pd.DataFrame) -> pd.DataFrame:
    """Return SimpleShot's rows with ``part`` and ``line``; cumulative folds repeat the original's protocol."""
    rows = in_words(scores[scores["metric"] == main_metric(scores)])
    rows = rows[rows["task"].str.fullmatch(r"few_shot/\d+(/unseen)?")]
    task = rows["task"].str.split("/")
    return rows.assign(part=task.str[2].fillna(""), line=task.str[1].astype(int))


def zero_shot_rows(scores: pd.DataFrame) -> pd.DataFrame:
    """Return rows of naming with ``part`` and, as ``line``, the text type; a task that names none is the one left."""
    rows = in_words(scores[scores["metric"] == main_metric(scores)])
    rows = rows[rows["task"].str.startswith("zero_shot/")]
    task = rows["task"].str.split("/")
    rows = rows.assign(part=task.str[1], line=task.str[2].fillna("as asked"))
    unnamed = {*TEXT_TYPES} - {"description", *rows["line"]}
    return rows.assign(line=rows["line"].replace("as asked", unnamed.pop())) if len(unnamed) == 1 else rows


@styled
def plot_zero_shot(scores: pd.DataFrame) -> Figure:
    """Draw accuracy by text type, a panel a data set and part, of `evaluation.score_zero_shot`."""
    rows = zero_shot_rows(scores)
    if rows.empty:
        return say_empty("no zero-shot scores")
    types = [name for name in (*TEXT_TYPES, "as asked") if (rows["line"] == name).any()]
    return dot_panels(rows, {name: TEXT_TYPES.get(name, name) for name in types}, AXES[rows["metric"].iloc[0]])


@styled
def plot_few_shot(scores: pd.DataFrame) -> Figure:
    """Draw accuracy of SimpleShot by shots, a panel a data set and part, of `evaluation.score_few_shot`."""
    rows = few_shot_rows(scores)
    if rows.empty:
        return say_empty("no few-shot scores")
    lines = {k: f"{k} shot{'s' * (k != 1)}" for k in sorted(set(map(int, rows["line"])))}
    return dot_panels(rows, lines, AXES[rows["metric"].iloc[0]])


def dot_panels(rows: pd.DataFrame, lines: dict[Hashable, str], xlabel: str, unit: str = "images") -> Figure:
    """Draw a panel a data set and part, lines by their code in ``line``, the models of a line below each other.

    Shares of images, or, of species, correlations.
    """
    groups, models = list(rows.groupby(["dataset", "part"])), models_in_order(rows["model"])
    fig, axs = panels(len(groups), height_of(len(lines), len(models)) + 0.55, panel_in=2.4, sharex=True, sharey=True)
    for ax, ((dataset, part), mine) in zip(axs, groups, strict=True):
        draw_dots(ax, mine, list(lines), models)
        ax.set_title(f"{shorten(dataset, 30)}\n{PARTS.get(part, part)}, {mine['n'].max():,.0f} {unit}")
        ax.set(xlim=(0 if unit == "images" else min(-0.05, rows["ci_low"].min()), 1), xlabel=xlabel)
        if unit == "images":
            ax.xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
        ax.tick_params(labelbottom=True)
    axs[0].set_yticks(range(len(lines)), list(lines.values()))
    legend_above(fig, handles_of(axs, models))
    return fig


def height_of(n_lines: int, n_models: int) -> float:
    """Return the height of so many lines of dots, in inches."""
    return n_lines * (0.09 + 0.075 * n_models)


def handles_of(axs: Iterable[Axes], models: Iterable[str], chance: bool = True) -> dict[str, object]:
    """Return what the panels drew by its label, each label once, and the dotted line of chance."""
    found = {label: handle for ax in axs for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    order = [*[name for name in models if name in found], *[label for label in found if label not in set(models)]]
    return {label: found[label] for label in order} | ({"chance": Line2D([], [], **_CHANCE)} if chance else {})


def draw_dots(ax: Axes, rows: pd.DataFrame, lines: list[Hashable], models: list[str]) -> None:
    """Draw value and interval of each model at the line of each row, and chance dotted; lines are bands."""
    colours, place = model_colours(models), {line: i for i, line in enumerate(lines)}
    for i in range(1, len(lines), 2):
        ax.axhspan(i - 0.5, i + 0.5, color="#f4f4f4", linewidth=0, zorder=0)
    for line, found in rows.groupby("line"):
        y = place[line]
        ax.vlines(found["chance"].unique(), y - 0.48, y + 0.48, **_CHANCE)
    for i, name in enumerate(models):
        mine = rows[rows["model"] == name]
        if len(mine):
            y = mine["line"].map(place) + 0.8 * ((i + 0.5) / len(models) - 0.5)
            error = np.abs([mine["value"] - mine["ci_low"], mine["ci_high"] - mine["value"]])
            bar = {"color": colours[name], "label": name, "clip_on": False, "zorder": 3}
            for artist in ax.errorbar(mine["value"], y, xerr=error, fmt="o", markersize=3, **bar).get_children():
                artist.set_clip_on(False)  # a whisker that ends at 100 % keeps its end
    ax.set_ylim(len(lines) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)


@styled
def plot_rank_accuracy(table: pd.DataFrame) -> Figure:
    """Draw accuracy at each rank that tells candidates apart, of `evaluation.rank_accuracy`, intervals and chance."""
    table = in_words(table[(table["model"] == "trained") & (table["chance"] < 1)])
    if table.empty:
        return say_empty("no predictions of the trained model")
    groups, colour = list(table.groupby("dataset")), model_colours(["trained"])["trained"]
    fig, axs = panels(len(groups), 1.9, panel_in=2.4, sharey=True)
    for ax, (dataset, mine) in zip(axs, groups, strict=True):
        ranks = [rank for rank in RANKS if (mine["rank"] == rank).any()]
        for part, rows in mine.groupby("part"):
            x, seen = rows["rank"].map(ranks.index), part == "seen"
            style = {
                "color": colour,
                "linestyle": "-" if seen else "--",
                "markerfacecolor": colour if seen else "white",
            }
            ax.plot(x, rows["value"], marker="o", label=PARTS[part], clip_on=False, zorder=3, **style)
            ax.fill_between(x, rows["ci_low"], rows["ci_high"], color=colour, alpha=0.25 if seen else 0.1, linewidth=0)
            ax.plot(
                x, rows["chance"], **{**_CHANCE, "color": "black" if seen else GREY}, label=f"chance, {PARTS[part]}"
            )
        ax.set_xticks(range(len(ranks)), ranks)
        ax.set(title=f"{shorten(dataset, 30)}, trained", ylim=(0, 1), xlim=(-0.3, len(ranks) - 0.7))
        ax.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axs[0].set_ylabel("right at this rank")
    legend_above(fig, handles_of(axs, (), chance=False))
    return fig


@styled
def plot_mistakes(table: pd.DataFrame) -> Figure:
    """Draw how far mistakes fall, of `evaluation.mistake_distances`, beside those of random wrong candidates."""
    possible = (table["share"] > 0) | (table["chance"] > 0)
    table = in_words(table[(table["model"] == "trained") & (table["n"] > 0) & possible])
    if table.empty:
        return say_empty("no mistakes of the trained model between species")
    groups, colour = list(table.groupby(["dataset", "part"])), model_colours(["trained"])["trained"]
    distances = sorted(table["distance"].unique())
    fig, axs = panels(len(groups), 0.17 * len(distances) + 0.75, panel_in=2.4, sharex=True, sharey=True)
    for ax, ((dataset, part), rows) in zip(axs, groups, strict=True):
        n, y = int(rows["n"].iloc[0]), rows["distance"].map(distances.index)
        if n < MIN_MISTAKES:
            ax.text(0.5, 0.5, "too few for shares", ha="center", transform=ax.transAxes)
        else:
            face = colour if part == "seen" else "white"
            ax.barh(y, rows["share"], height=0.7, color=face, edgecolor=colour, label=f"mistakes, {PARTS[part]}")
            ax.vlines(rows["chance"], y - 0.45, y + 0.45, color="black", linewidth=1.4, label="random mistakes")
        ax.set_title(f"{shorten(dataset, 30)}\n{PARTS[part]}, {n:,} mistake{'' if n == 1 else 's'}")
        ax.set(xlabel="share of mistakes", ylim=(-0.6, len(distances) - 0.4))
        ax.xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
        ax.tick_params(labelbottom=True)
        ax.grid(axis="y", visible=False)
    axs[0].set_xlim(0, None)
    axs[0].set_yticks(range(len(distances)), [APART[int(d) - 1] for d in distances])
    legend_above(fig, handles_of(axs, (), chance=False))
    return fig


@styled
def plot_results_overview(results: pd.DataFrame) -> Figure:
    """Draw the main tasks of metrics.csv: accuracy, and the hierarchy's rank correlation; with intervals and chance."""
    main = results["task"].str.fullmatch(r"zero_shot(/(un)?seen)?|few_shot/\d+(/unseen)?|hierarchy/(un)?seen")
    metrics = [main_metric(results[main]), "spearman"]
    rows = in_words(results[main & results["metric"].isin(metrics)])
    metrics = [metric for metric in metrics if (rows["metric"] == metric).any()]
    if rows.empty:
        return say_empty("no scores of the main tasks")
    rows = rows.assign(line=list(zip(rows["dataset"], rows["task"], strict=True)))
    lines = {metric: _lines_of_overview(rows[rows["metric"] == metric]) for metric in metrics}
    models = models_in_order(rows["model"])
    heights = [height_of(len(of), len(models)) + 0.45 for of in lines.values()]
    beside = page_in() > 1.5 * COLUMN_IN
    ratios = {"width_ratios": [1.5, 1][: len(metrics)]} if beside else {"height_ratios": heights}
    fig, axs = panels(len(metrics), 1, panel_in=2.4 if beside else page_in(), **ratios)
    fig.set_figheight(max(heights) if beside else sum(heights))
    for ax, metric in zip(axs, metrics, strict=True):
        mine = rows[(rows["metric"] == metric) & rows["value"].notna()]
        draw_dots(ax, mine, lines[metric], models)
        labels = [task_label(task) if task else shorten(dataset, 34) for dataset, task in lines[metric]]
        ax.set_yticks(range(len(labels)), [text.removeprefix("hierarchy, ") for text in labels])
        ax.set_xlabel(textwrap.fill(AXES[metric], 20))
        _limits(ax, mine, metric)
        for (_, task), text in zip(lines[metric], ax.get_yticklabels(), strict=True):
            text.set_fontweight("normal" if task else "bold")
    legend_above(fig, handles_of(axs, models))
    return fig


def _limits(ax: Axes, rows: pd.DataFrame, metric: str) -> None:
    """Take an axis of shares from 0 to 100 %, one of correlations as far as their intervals."""
    if metric != "spearman":
        ax.set_xlim(0, 1)
        ax.xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    else:
        ax.set_xlim(min(0, rows["ci_low"].min()) - 0.02, max(0, rows["ci_high"].max()) + 0.02)
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def _lines_of_overview(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the (dataset, task) of each line among the rows of one metric; a data set's own line has the task ''."""
    tasks = rows.groupby("dataset")["task"].unique()
    return [(dataset, task) for dataset, mine in tasks.items() for task in ["", *sorted(mine, key=task_place)]]
