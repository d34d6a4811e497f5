"""Figures of scores: value, interval and chance of every model.

Takes tables of scores, as metrics.csv holds them; returns Figures. Computes no score.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from .. import RANKS, TEXT_TYPES
from .style import (
    MODEL_COLOURS,
    PAGE_IN,
    PART_COLOURS,
    colours_of,
    in_order,
    panels,
    say_empty,
    shorten,
    styled,
    task_label,
)

_CHANCE = {"color": "black", "linestyle": ":", "linewidth": 0.9}
_LEGEND_IN = 0.25  # height that a legend above the panels takes


def _legend(fig: Figure, handles: dict[str, object], chance: bool = True) -> None:
    """Put one legend above the panels; the dotted line of chance is its last entry."""
    handles = {**handles, **({"chance": Line2D([], [], **_CHANCE)} if chance else {})}
    labels = [shorten(label, 40) for label in handles]
    fig.legend(list(handles.values()), labels, loc="outside upper center", ncols=6 if sum(map(len, labels)) < 80 else 3)


def _handles(axs: Iterable[Axes], first: Iterable[str]) -> dict[str, object]:
    """Return what the panels drew by its label, each label once."""
    found = {label: handle for ax in axs for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    return {label: found[label] for label in in_order(found, first)}


def _draw_scores(ax: Axes, rows: pd.DataFrame, x: dict, colours: dict[str, str], line: str) -> None:
    """Draw value and interval of each model at x[row["x"]], models side by side, and chance dotted."""
    for chance in rows["chance"].unique():
        ax.axhline(chance, **_CHANCE)
    models = in_order(rows["model"], MODEL_COLOURS)
    spread = 0.3 if line else 0.6
    for i, name in enumerate(models):
        mine = rows[rows["model"] == name]
        mine = mine.iloc[np.argsort([x[value] for value in mine["x"]], kind="stable")]
        places = np.array([x[value] for value in mine["x"]]) + spread * ((i + 0.5) / len(models) - 0.5)
        error = np.abs([mine["value"] - mine["ci_low"], mine["ci_high"] - mine["value"]])
        ax.errorbar(places, mine["value"], yerr=error, fmt="o" + line, color=colours[name], label=name)
    ax.set_xticks(list(x.values()), list(x))
    ax.set_xlim(-0.5, len(x) - 0.5)
    ax.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    ax.grid(axis="x", visible=False)


def _plot_scores(rows: pd.DataFrame, x: dict, line: str) -> tuple[Figure, list[Axes]]:
    """Draw a panel a data set and part on one scale; rows hold ``x`` and ``part`` beside the columns of metrics.csv."""
    groups = list(rows.groupby(["dataset", "part"]))
    n_columns = 2 if len(groups) == 2 else 4
    fig, axs = panels(len(groups), 1.75, n_columns=n_columns, sharey=True)
    fig.set_figheight(fig.get_figheight() + _LEGEND_IN)
    colours = colours_of(list(rows["model"].unique()), MODEL_COLOURS)
    for ax, ((dataset, part), mine) in zip(axs, groups, strict=True):
        _draw_scores(ax, mine, x, colours, line)
        ax.set_title(f"{shorten(dataset, 26)}\n{part}: {mine['n'].max():,} images")
        ax.tick_params(labelleft=True)
    top = min(1.02, 1.08 * rows["ci_high"].max())
    axs[0].set_ylim(-0.03 * top, top)
    axs[0].yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    for ax in axs[::n_columns]:
        ax.set_ylabel("top-1 accuracy")
    _legend(fig, _handles(axs, MODEL_COLOURS))
    return fig, axs


@styled
def plot_zero_shot(scores: pd.DataFrame) -> Figure:
    """Draw top-1 accuracy by text type, a panel a data set and part, of `evaluation.score_zero_shot`."""
    rows = scores[(scores["metric"] == "top1") & scores["task"].str.startswith("zero_shot/")]
    if rows.empty:
        return say_empty(panels(1, 1.5)[0], "no zero-shot scores")
    task = rows["task"].str.split("/")
    rows = rows.assign(part=task.str[1], x=task.str[2].fillna("reported"))
    unnamed = set(TEXT_TYPES) - set(rows["x"])
    if len(unnamed) == 1:
        rows["x"] = rows["x"].replace("reported", unnamed.pop())
    fig, axs = _plot_scores(rows, {name: i for i, name in enumerate(in_order(rows["x"], TEXT_TYPES))}, "")
    for ax in axs:
        ax.tick_params(axis="x", rotation=35)
    return fig


@styled
def plot_few_shot(scores: pd.DataFrame) -> Figure:
    """Draw top-1 accuracy of SimpleShot against shots, a line a model, all species and unseen ones, with chance.

    Scores are of `evaluation.score_few_shot`, or metrics.csv. Cumulative folds are left out: they repeat the original's
    protocol, not another measurement.
    """
    main = scores["task"].str.fullmatch(r"few_shot/\d+(/unseen)?")
    rows = scores[(scores["metric"] == "top1") & main]
    if rows.empty:
        return say_empty(panels(1, 1.5)[0], "no few-shot scores")
    task = rows["task"].str.split("/")
    rows = rows.assign(x=task.str[1].astype(int), part=task.str[2].fillna("all"))
    fig, axs = _plot_scores(rows, {k: i for i, k in enumerate(sorted(rows["x"].unique()))}, "-")
    for ax in axs:
        ax.set_xlabel("shots")
    return fig


@styled
def plot_rank_accuracy(table: pd.DataFrame, model: str = "trained") -> Figure:
    """Draw accuracy at each rank, of `evaluation.rank_accuracy`, with intervals as bands and chance dotted."""
    table = table[table["model"] == model]
    groups = list(table.groupby("dataset"))
    fig, axs = panels(len(groups), 1.9, sharey=True)
    if table.empty:
        return say_empty(fig, f"no predictions of {model}")
    fig.set_figheight(fig.get_figheight() + _LEGEND_IN)
    for ax, (dataset, mine) in zip(axs, groups, strict=True):
        for part, rows in mine.groupby("part"):
            x, colour = [RANKS.index(rank) for rank in rows["rank"]], PART_COLOURS[part]
            ax.plot(x, rows["value"], "o-", color=colour, label=f"{part} species")
            ax.fill_between(x, rows["ci_low"], rows["ci_high"], color=colour, alpha=0.18, linewidth=0)
            ax.plot(x, rows["chance"], color=colour, linestyle=":", linewidth=1)
        ax.set_xticks(range(len(RANKS)), RANKS, rotation=40)
        ax.set(title=f"{shorten(dataset, 22)}, {shorten(model, 20)}", ylim=(-0.02, 1.03))
        ax.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
        ax.tick_params(labelleft=True)
    axs[0].set_ylabel("accuracy at this rank")
    _legend(fig, _handles(axs, ()))
    return fig


@styled
def plot_mistakes(table: pd.DataFrame, model: str = "trained") -> Figure:
    """Draw tree distances of mistakes, of `evaluation.mistake_distances`, beside those of random wrong candidates."""
    table = table[(table["model"] == model) & (table["n"] > 0)]
    groups = list(table.groupby(["dataset", "part"]))
    n_columns = 2 if len(groups) == 2 else 4
    fig, axs = panels(len(groups), 1.75, n_columns=n_columns, sharey=True)
    if table.empty:
        return say_empty(fig, f"no mistakes of {model} between species")
    fig.set_figheight(fig.get_figheight() + _LEGEND_IN)
    for ax, ((dataset, part), rows) in zip(axs, groups, strict=True):
        x = rows["distance"]
        ax.bar(x, rows["share"], color=PART_COLOURS[part], width=0.72, label=f"mistakes, {part}")
        ax.hlines(rows["chance"], x - 0.45, x + 0.45, color="black", linewidth=1.4, label="random mistakes")
        n = rows["n"].iloc[0]
        ax.set_title(f"{shorten(dataset, 26)}\n{part}: {n:,} mistake{'' if n == 1 else 's'}")
        ax.set(xlabel="tree distance of the mistake", xticks=range(1, 8))
        ax.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
        ax.grid(axis="x", visible=False)
        ax.tick_params(labelleft=True)
    for ax in axs[::n_columns]:
        ax.set_ylabel("share of mistakes")
    _legend(fig, _handles(axs, ()), chance=False)
    return fig


@styled
def plot_results_overview(results: pd.DataFrame) -> Figure:
    """Draw the main tasks of metrics.csv: accuracy, and the hierarchy's rank correlation; with intervals and chance."""
    main = results["task"].str.fullmatch(r"zero_shot(/(un)?seen)?|few_shot/\d+|hierarchy/(un)?seen")
    rows = results[main & results["metric"].isin(["top1", "spearman"])]
    kinds = {"top1": "top-1 accuracy", "spearman": "Spearman's ρ"}
    kinds = {metric: label for metric, label in kinds.items() if (rows["metric"] == metric).any()}
    fig, axs = panels(len(kinds), 1.0, n_columns=2, width_ratios=[1.7, 1][: len(kinds) or 1])
    if rows.empty:
        return say_empty(fig, "no scores of the main tasks")
    lines = {metric: _lines_of_overview(rows[rows["metric"] == metric]) for metric in kinds}
    n_lines, models = max(map(len, lines.values())), in_order(rows["model"], MODEL_COLOURS)
    fig.set_size_inches(PAGE_IN, (0.09 + 0.045 * len(models)) * n_lines + 0.75)
    colours = colours_of(models, MODEL_COLOURS)
    for ax, (metric, label) in zip(axs, kinds.items(), strict=True):
        y = lines[metric]
        _draw_overview(ax, rows[rows["metric"] == metric], y, models, colours)
        ax.set_yticks(list(y.values()), [task_label(task) if task else shorten(dataset, 26) for dataset, task in y])
        ax.set(xlabel=label, ylim=(n_lines - 0.4, -0.6))
        for (_, task), text in zip(y, ax.get_yticklabels(), strict=True):
            text.set_fontweight("normal" if task else "bold")
    if "top1" in kinds:
        axs[0].set_xlim(-0.015, 1.02)
        axs[0].xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    _legend(fig, _handles(axs, MODEL_COLOURS))
    return fig


def _lines_of_overview(rows: pd.DataFrame) -> dict[tuple, int]:
    """Return the line of each (dataset, task) among the rows of one metric; a data set's own line has the task ''."""
    order = {"zero_shot": 0, "few_shot": 1, "hierarchy": 0}
    y = {}
    for dataset, mine in rows.groupby("dataset"):
        tasks = sorted(mine["task"].unique(), key=lambda task: (order[task.split("/")[0]], len(task), task))
        for task in ["", *tasks]:
            y[dataset, task] = len(y)
    return y


def _draw_overview(ax: Axes, rows: pd.DataFrame, y: dict[tuple, int], models: list[str], colours: dict) -> None:
    """Draw value and interval of each model on the line of its task, and chance dotted."""
    for key, found in rows.groupby(["dataset", "task"]):
        ax.vlines(found["chance"].unique(), y[key] - 0.45, y[key] + 0.45, **_CHANCE)
    for i, name in enumerate(models):
        mine = rows[rows["model"] == name]
        lines = np.array([y[key] for key in zip(mine["dataset"], mine["task"], strict=True)])
        error = np.abs([mine["value"] - mine["ci_low"], mine["ci_high"] - mine["value"]])
        places = lines + 0.8 * ((i + 0.5) / len(models) - 0.5)
        ax.errorbar(mine["value"], places, xerr=error, fmt="o", markersize=2.5, color=colours[name], label=name)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
