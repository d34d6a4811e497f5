"""Figures of the embedding: its map rank by rank, its distances against those of the tree.

Takes the tables of `structure`; returns Figures. Computes nothing.
"""

import textwrap

import matplotlib.colors
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .. import RANKS
from .style import (
    GREY,
    OTHERS,
    SMALLEST_PT,
    legend_above,
    model_colours,
    models_in_order,
    page_in,
    panels,
    say_empty,
    shorten,
    styled,
    taxon_colours,
    tint,
)
from .words import PARTS, in_words

MIN_PAIRS = 20  # of fewer, each is a dot and no box
N_GROUPS = 8


@styled
def plot_map(placed: pd.DataFrame, quality: pd.DataFrame, model: str, called: str = "") -> Figure:
    """Draw the map of a model, of `structure.place`, once a rank that tells images apart, coloured by taxon.

    Below it stands how far it can be trusted, of `structure.map_quality`. The largest groups of the first such rank
    have a colour; at the ranks below their parts have shades of it.
    """
    if placed.empty:
        return say_empty("fewer than four images to map")
    taxa = pd.DataFrame({rank: _taxa(placed, rank) for rank in RANKS})
    ranks = [rank for rank in RANKS if taxa[rank].replace("", np.nan).nunique() > 1] or [RANKS[-1]]
    first = taxa[ranks[0]]
    groups = first[first != ""].value_counts(sort=True).index[:N_GROUPS]
    colours = taxon_colours(groups)
    xy = placed[[f"{model}_x", f"{model}_y"]].to_numpy()
    fig, axs = panels(len(ranks), 2.3 if page_in() / len(ranks) > 2 else 2.35, panel_in=1.6)
    called = called or model
    fig.suptitle(f"{shorten(called, 60)}: {len(xy):,} images", fontsize=8, fontweight="bold")
    mine = quality[quality["model"] == called].head(1)
    said = [f"{name} {value:.2f}" for name in ("trustworthiness", "continuity") if name in mine for value in mine[name]]
    fig.supxlabel(", ".join(said), fontsize=SMALLEST_PT + 0.5)
    for ax, rank in zip(axs, ranks, strict=True):
        _draw_map(ax, xy, taxa[rank].to_numpy(), first.map(colours).fillna(OTHERS).to_numpy(), rank)
    return fig


def _taxa(rows: pd.DataFrame, rank: str) -> np.ndarray:
    """Return the taxon of each image at a rank, '' where unknown; a species by genus and epithet."""
    taxon = rows[rank].astype(str)
    if rank == "species":
        taxon = (rows["genus"].astype(str) + " " + taxon).where(taxon != "", "")
    return taxon.to_numpy()


def _draw_map(ax: Axes, xy: np.ndarray, taxon: np.ndarray, parents: np.ndarray, rank: str) -> None:
    """Draw one panel of a map; its largest groups take shades of their parents' colours and stand in the legend."""
    known = pd.Series(parents, index=taxon)[(taxon != "") & (parents != OTHERS)]
    largest = known.index.value_counts(sort=True).index[:N_GROUPS]
    home = {name: known[[name]].iloc[0] for name in largest}
    shades = {}
    for parent in dict.fromkeys(home.values()):
        mine = [name for name in largest if home[name] == parent]
        depth = np.linspace(-0.35, 0.5, len(mine)) if len(mine) > 1 else [0]
        shades |= {name: tint(parent, share) for name, share in zip(mine, depth, strict=True)}
    pale = {parent: parent if parent == OTHERS else tint(parent, 0.75) for parent in set(parents)}
    colour = [shades.get(name, pale[parent]) for name, parent in zip(taxon, parents, strict=True)]
    colour = np.array([matplotlib.colors.to_rgb(c) for c in colour])
    size = float(np.clip(4_000 / len(xy), 1, 9))
    order = np.random.default_rng(0).permutation(len(xy))  # so that no group lies on top of the others
    order = np.r_[order[~np.isin(taxon[order], largest)], order[np.isin(taxon[order], largest)]]
    ax.scatter(*xy[order].T, s=size, c=colour[order], linewidths=0, rasterized=True)
    dot = {"linestyle": "", "marker": "o", "markersize": 3.2, "markeredgewidth": 0}
    ax.legend(
        [Line2D([], [], color=shades[name], **dot) for name in largest],
        [_short_taxon(name, rank) for name in largest],
        prop={"size": SMALLEST_PT, "style": "italic" if rank in ("genus", "species") else "normal"},
        **{"loc": "upper center", "bbox_to_anchor": (0.5, 0.0), "ncols": 2, "handletextpad": 0.1},
        **{"columnspacing": 0.6, "borderaxespad": 0.3, "labelspacing": 0.25},
    )
    n_taxa = len(set(taxon) - {""})
    ax.set(title=f"{rank} ({n_taxa:,})", xticks=[], yticks=[])
    ax.margins(0.03)
    ax.spines[["left", "bottom"]].set_color("#bbbbbb")


def _short_taxon(name: str, rank: str) -> str:
    """Abbreviate the genus of a species; cut what is too long for a legend."""
    if rank == "species":
        genus, _, epithet = name.partition(" ")
        name = f"{genus[:1]}. {epithet}" if genus else epithet
    return shorten(name, 13)


@styled
def plot_mantel(nulls: pd.DataFrame) -> Figure:
    """Draw null distributions and observed values of `structure.null_table`, a panel a data set, on one scale."""
    nulls = in_words(nulls)
    if nulls.empty:
        return say_empty("no data set has enough species for a probe")
    groups, models = list(nulls.groupby(["dataset", "task"], sort=False)), models_in_order(nulls["model"])
    fig, axs = panels(len(groups), 0.22 * len(models) + 0.72, panel_in=2.4, sharex=True)
    for ax, ((dataset, task), mine) in zip(axs, groups, strict=True):
        found = [name for name in models if (mine["model"] == name).any()]
        for y, name in enumerate(found):
            _draw_null(ax, mine[mine["model"] == name], y, model_colours([name])[name])
        ax.set_yticks(np.arange(len(found)) + 0.6, [textwrap.fill(shorten(name, 44), 20) for name in found])
        n = mine["n_species"].iloc[0]
        ax.set_title(f"{shorten(dataset, 40)}\n{PARTS.get(task.rpartition('/')[2], task)}, {n:,} species")
        ax.set(xlabel="Spearman's ρ", ylim=(len(found) + 0.1, -0.1))
        ax.tick_params(axis="y", length=0)
        ax.tick_params(labelbottom=True)
        ax.grid(axis="y", visible=False)
    return fig


def _draw_null(ax: Axes, rows: pd.DataFrame, y: int, colour: str) -> None:
    """Draw a null distribution as a strip, the observed value as a line, and p at the right."""
    observed, p_value, n = rows[["observed", "p_value", "n_permutations"]].iloc[0]
    if not np.isfinite(observed):
        ax.text(0.5, y + 0.6, "all distances are equal", ha="center", transform=ax.get_yaxis_transform())
        return
    heights = 0.8 * rows["n"] / rows["n"].max()
    edges = [*rows["low"], rows["high"].iloc[-1]]
    ax.stairs(y + 0.95 - heights, edges, baseline=y + 0.95, fill=True, color=OTHERS)
    ax.vlines(observed, y + 0.1, y + 0.95, color=colour, linewidth=1.8)
    sign = "≤" if p_value * (n + 1) < 1.5 else "="
    ax.text(1.01, y + 0.6, f"p {sign} {p_value:.2g}", va="center", fontsize=6.5, transform=ax.get_yaxis_transform())


@styled
def plot_distance_by_rank(pairs: pd.DataFrame) -> Figure:
    """Draw distances in the embedding by the deepest rank that two species share, of `structure.pair_table`.

    Letter values (Hofmann et al. 2017): the line is the median, the widest box the quartiles, each next one half of
    what is left, as far as the number of pairs can tell. Pairs share species, so boxes are no test.
    """
    pairs = in_words(pairs)
    if pairs.empty:
        return say_empty("no data set has enough species for a probe")
    groups, models = list(pairs.groupby(["dataset", "task"], sort=False)), models_in_order(pairs["model"])
    fig, axs = panels(len(groups), 1.8, panel_in=page_in())
    fig.set_figwidth(page_in())
    for ax, ((dataset, task), mine) in zip(axs, groups, strict=True):
        _draw_distances(ax, mine, models)
        ax.set_title(f"{shorten(dataset, 40)}, {PARTS.get(task.rpartition('/')[2], task)}")
    axs[-1].set_xlabel("deepest shared rank, number of pairs")
    handles = {name: Line2D([], [], color=colour, linewidth=4) for name, colour in model_colours(models).items()}
    legend_above(fig, {name: handles[name] for name in models})
    return fig


def _draw_distances(ax: Axes, pairs: pd.DataFrame, models: list[str]) -> None:
    """Draw boxes of all models at each rank, and dots where pairs are few."""
    import seaborn  # here: it takes half a second

    ranks = [rank for rank in ("none", *RANKS) if (pairs["rank"] == rank).any()]
    n_pairs = pairs.groupby("rank")["n_pairs"].first()
    axes = {
        "x": "rank",
        "y": "distance",
        "hue": "model",
        "order": ranks,
        "hue_order": models,
        "legend": False,
        "ax": ax,
    }
    colours = {"palette": model_colours(models)}
    many = pairs[pairs["n_pairs"] >= MIN_PAIRS]
    if len(many):
        fliers = {"s": 1, "facecolor": GREY, "linewidth": 0, "rasterized": True, "zorder": 0.5}  # drawn together
        lines = {"linewidth": 0.3, "line_kws": {"color": "black", "linewidth": 1}}
        seaborn.boxenplot(many, width=0.8, gap=0.1, flier_kws=fliers, **lines, **axes, **colours)
    few = pairs[pairs["n_pairs"] < MIN_PAIRS]
    if len(few):
        seaborn.stripplot(few, dodge=True, jitter=False, size=2.5, **axes, **colours)
    ax.set_xticks(range(len(ranks)), [f"{rank}\n{n_pairs[rank]:,}" for rank in ranks])
    ax.set(xlabel="", ylabel="cosine distance")
    ax.grid(axis="x", visible=False)
