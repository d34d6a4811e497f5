"""Figures of what an embedding looks like inside: value, interval and chance of every probe and model."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from .. import RANKS
from .scores import _draw_dots, _handles, _height
from .style import GREY, legend_above, models_in_order, panels, say_empty, shorten, styled
from .words import PARTS, TEXT_TYPES

ANSWERED = {
    ("full path", "of the species"): "right: by the species named",
    ("full path", "summed from species"): "right: summed from species",
    ("full path", "top down"): "right: top down",
    ("full path", "each rank by itself"): "right: rank by rank",
    ("inconsistent", "each rank by itself"): "contradictory: rank by rank",
    ("inconsistent", "summed from species"): "contradictory: summed",
}


@styled
def plot_consistency(table: pd.DataFrame) -> Figure:
    """Draw how often answers at all ranks are right, and contradict each other, of `structure.score_consistency`."""
    rows = table[table["value"].notna()]
    places = {key: i for i, key in enumerate(ANSWERED)}
    rows = rows.assign(line=[places.get(key, -1) for key in zip(rows["measure"], rows["way"], strict=True)])
    rows = rows[rows["line"] >= 0].rename(columns={"by_chance": "chance"})
    if rows.empty:
        return say_empty("no model names taxa at several ranks")
    groups, models, lines = (
        list(rows.groupby(["dataset", "part"])),
        models_in_order(rows["model"]),
        list(places.values()),
    )
    fig, axs = panels(len(groups), _height(len(lines), len(models)) + 0.55, panel_in=2.4, sharex=True, sharey=True)
    for ax, ((dataset, part), mine) in zip(axs, groups, strict=True):
        _draw_dots(ax, mine.assign(chance=mine.groupby("line")["chance"].transform("mean")), lines, models)
        ax.set_title(f"{shorten(dataset, 30)}\n{PARTS.get(part, part)}, {mine['n'].max():,.0f} images")
        ax.set(xlim=(0, 1), xlabel="share of images")
        ax.xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
        ax.tick_params(labelbottom=True)
    axs[0].set_yticks(lines, list(ANSWERED.values()))
    legend_above(fig, _handles(axs, models))
    return fig


@styled
def plot_image_text(table: pd.DataFrame) -> Figure:
    """Draw how closely images and texts follow the tree of life, of `structure.score_modalities`."""
    rows = table[table["question"].isin(["images follow the tree", "texts follow the tree"]) & table["value"].notna()]
    if rows.empty:
        return say_empty("no model reads the names of enough species")
    lines = {"": "images", **{text: TEXT_TYPES[text] for text in ("taxon", "sci", "com")}}
    rows = rows.rename(columns={"text": "line", "by_chance": "chance"})
    groups, models = list(rows.groupby(["dataset", "part"])), models_in_order(rows["model"])
    fig, axs = panels(len(groups), _height(len(lines), len(models)) + 0.55, panel_in=2.4, sharex=True, sharey=True)
    for ax, ((dataset, part), mine) in zip(axs, groups, strict=True):
        _draw_dots(ax, mine, list(lines), models)
        ax.set_title(f"{shorten(dataset, 30)}\n{PARTS.get(part, part)}, {mine['n'].max():,.0f} species")
        ax.set(xlim=(min(-0.05, rows["ci_low"].min()), 1), xlabel="Spearman's ρ with the tree")
        ax.tick_params(labelbottom=True)
    axs[0].set_yticks(range(len(lines)), list(lines.values()))
    legend_above(fig, _handles(axs, models))
    return fig


@styled
def plot_probes(table: pd.DataFrame) -> Figure:
    """Draw every probe of every model, rank by rank, of `structure.score_probes`; a panel a probe."""
    rows = table[table["value"].notna() & (table["probe"] != "effective dimension")]
    if rows.empty:
        return say_empty("no data set has enough species for a probe")
    rows = rows.assign(line=rows["rank"].where(rows["rank"] != "", rows["probe"]), chance=rows["by_chance"])
    rows = rows.assign(panel=rows["probe"].where(rows["rank"] != "", "whole tree"))
    groups, models = list(rows.groupby(["dataset", "part", "panel"], sort=False)), models_in_order(rows["model"])
    n_lines = rows.groupby(["dataset", "part", "panel"])["line"].nunique().max()
    fig, axs = panels(len(groups), _height(n_lines, len(models)) + 0.75, panel_in=1.35)
    for ax, ((dataset, part, panel), mine) in zip(axs, groups, strict=True):
        lines = [name for name in ("cophenetic", "clades found", *RANKS) if (mine["line"] == name).any()]
        _draw_dots(ax, mine.assign(chance=mine.groupby("line")["chance"].transform("mean")), lines, models)
        ax.set_title(f"{shorten(dataset, 20)}\n{PARTS.get(part, part)}\n{panel}")
        ax.set(xlim=(-1, 1) if panel in ("whole tree", "silhouette") else (0, 1))
        ax.set_yticks(range(len(lines)), [line.replace("clades found", "clades") for line in lines])
    legend_above(fig, _handles(axs, models))
    return fig


@styled
def plot_power(table: pd.DataFrame) -> Figure:
    """Draw how often kinship of a known strength would be found, of `structure.score_power`, a panel a data set."""
    if table.empty:
        return say_empty("no data set has enough species for a probe")
    groups, handles = list(table.groupby(["dataset", "part"])), {}
    fig, axs = panels(len(groups), 1.9, panel_in=2.4, sharey=True)
    for ax, ((dataset, part), mine) in zip(axs, groups, strict=True):
        for i, (test, rows) in enumerate(mine.groupby("test", sort=False)):
            style = {"color": "black", "linestyle": ("-", "--", ":")[i % 3], "marker": "o", "markersize": 3}
            (handles[test],) = ax.plot(rows["signal"], rows["value"], clip_on=False, **style)
            ax.fill_between(rows["signal"], rows["ci_low"], rows["ci_high"], color=GREY, alpha=0.2, linewidth=0)
        ax.set_title(f"{shorten(dataset, 30)}\n{PARTS.get(part, part)}, {mine['n_species'].iloc[0]:,.0f} species")
        ax.set(xlim=(0, None), ylim=(0, 1), xlabel="variance between species by kinship")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axs[0].set_ylabel("worlds with p < 0.05")
    legend_above(fig, handles)
    return fig
