"""Figures of what an embedding looks like inside: value, interval and chance of every probe and model."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from .. import RANKS
from .scores import dot_panels, draw_dots, handles_of, height_of
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
    table = table.assign(line=list(zip(table["measure"], table["way"], strict=True)), chance=table["by_chance"])
    rows = table[table["value"].notna() & table["line"].isin(list(ANSWERED))]
    if rows.empty:
        return say_empty("no model names taxa at several ranks")
    chance = rows.groupby(["dataset", "part", "line"])["chance"].transform("mean")
    return dot_panels(rows.assign(chance=chance), ANSWERED, "share of images")


@styled
def plot_image_text(table: pd.DataFrame) -> Figure:
    """Draw how closely images and texts follow the tree of life, of `structure.score_modalities`."""
    rows = table[table["question"].isin(["images follow the tree", "texts follow the tree"]) & table["value"].notna()]
    if rows.empty:
        return say_empty("no model reads the names of enough species")
    lines = {"": "images", **{text: TEXT_TYPES[text] for text in ("taxon", "sci", "com")}}
    rows = rows.rename(columns={"text": "line", "by_chance": "chance"})
    return dot_panels(rows, lines, "Spearman's ρ with the tree", unit="species")


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
    fig, axs = panels(len(groups), height_of(n_lines, len(models)) + 0.75, panel_in=1.35)
    for ax, ((dataset, part, panel), mine) in zip(axs, groups, strict=True):
        lines = [name for name in ("cophenetic", "clades found", *RANKS) if (mine["line"] == name).any()]
        draw_dots(ax, mine.assign(chance=mine.groupby("line")["chance"].transform("mean")), lines, models)
        ax.set_title(f"{shorten(dataset, 20)}\n{PARTS.get(part, part)}\n{panel}")
        ax.set(xlim=(-1, 1) if panel in ("whole tree", "silhouette") else (0, 1))
        ax.set_yticks(range(len(lines)), [line.replace("clades found", "clades") for line in lines])
    legend_above(fig, handles_of(axs, models))
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
