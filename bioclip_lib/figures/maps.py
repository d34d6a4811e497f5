"""Figures of the embedding: its map rank by rank, its distances against those of the tree.

Takes coordinates, distances and null distributions; returns Figures. Computes none of them.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .. import RANKS
from .style import (
    KINGDOM_COLOURS,
    MODEL_COLOURS,
    OTHERS,
    PAGE_IN,
    PALETTE,
    colours_of,
    in_order,
    model_colour,
    panels,
    say_empty,
    shorten,
    styled,
)


@styled
def plot_map(placed: pd.DataFrame, model: str, n_groups: int = 8) -> Figure:
    """Draw the map of a model, of `structure.place`, once a rank, coloured by taxon; beyond the largest groups grey."""
    if placed.empty:
        return say_empty(panels(1, 1.2)[0], "fewer than four images to map")
    fig, axs = panels(len(RANKS) + 1, 2.15)
    xy = placed[[f"{model}_x", f"{model}_y"]].to_numpy()
    for ax, rank in zip(axs, RANKS, strict=False):
        _draw_map(ax, xy, _taxa(placed, rank), rank, n_groups)
    axs[-1].axis("off")
    note = f"{len(xy):,} images\ncolour: the largest groups,\nup to {n_groups} a rank\ngrey: all others"
    axs[-1].text(0.02, 0.98, shorten(model, 24), va="top", fontsize=9, fontweight="bold")
    axs[-1].text(0.02, 0.83, note, va="top", linespacing=1.4)
    return fig


def _taxa(rows: pd.DataFrame, rank: str) -> np.ndarray:
    """Return the taxon of each image at a rank, '' where unknown; a species by genus and epithet."""
    taxon = rows[rank].astype(str)
    if rank == "species":
        taxon = (rows["genus"].astype(str) + " " + taxon).where(taxon != "", "")
    return taxon.to_numpy()


def _draw_map(ax: Axes, xy: np.ndarray, taxon: np.ndarray, rank: str, n_groups: int) -> None:
    """Draw one panel of a map with its legend."""
    names, counts = np.unique(taxon[taxon != ""], return_counts=True)
    largest = names[np.argsort(-counts, kind="stable")][:n_groups]
    colours = (
        colours_of(largest, KINGDOM_COLOURS) if rank == "kingdom" else dict(zip(largest, PALETTE * 9, strict=False))
    )
    shown = np.isin(taxon, largest)
    size = float(np.clip(3_000 / len(xy), 0.8, 6))
    ax.scatter(*xy[~shown].T, s=0.7 * size, color=OTHERS, linewidths=0, rasterized=True)
    order = np.random.default_rng(0).permutation(np.flatnonzero(shown))  # so that no group lies on top of the others
    ax.scatter(*xy[order].T, s=size, c=[colours[t] for t in taxon[order]], linewidths=0, rasterized=True)
    dots = [
        Line2D([], [], linestyle="", marker="o", markersize=2.8, markeredgewidth=0, color=colours[t]) for t in largest
    ]
    italic = "italic" if rank in ("genus", "species") else "normal"
    ax.legend(
        dots,
        [_short_taxon(name, rank) for name in largest],
        prop={"size": 5, "style": italic},
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        ncols=2,
        handletextpad=0.1,
        columnspacing=0.6,
        borderaxespad=0.3,
        labelspacing=0.3,
    )
    ax.set(title=f"{rank} ({len(names):,})", xticks=[], yticks=[])
    ax.set_aspect("equal", adjustable="datalim")
    ax.spines[["left", "bottom"]].set_color("#bbbbbb")


def _short_taxon(name: str, rank: str) -> str:
    """Abbreviate the genus of a species; cut what is too long for a legend."""
    if rank == "species":
        genus, _, epithet = name.partition(" ")
        name = f"{genus[:1]}. {epithet}" if genus else epithet
    return shorten(name, 17)


@styled
def plot_mantel(details: dict, task: str) -> Figure:
    """Draw null distribution and observed value of `structure.score_hierarchy`, a panel a data set and model."""
    found = {(dataset, model): value for (dataset, of, model), value in details.items() if of == task}
    if not found:
        return say_empty(panels(1, 1.2)[0], f"no data set has enough species for {task}")
    datasets, models = sorted({key[0] for key in found}), in_order({key[1] for key in found}, MODEL_COLOURS)
    keys = [(dataset, model) for dataset in datasets for model in models if (dataset, model) in found]
    fig, axs = panels(len(keys), 1.45, n_columns=min(4, len(models)) if len(keys) > len(models) else 4)
    values = np.concatenate([np.append(value["null"], value["observed"]) for value in found.values()])
    low, high = np.nanmin(values), np.nanmax(values)
    margin = 0.05 * (high - low) or 0.1
    for ax, (dataset, model) in zip(axs, keys, strict=True):
        ax.set_title(f"{shorten(dataset, 18)}, {task.removeprefix('hierarchy/')}\n{shorten(model, 24)}")
        ax.set(yticks=[], xlabel="Spearman's ρ", xlim=(low - margin, high + margin))
        ax.spines["left"].set_visible(False)
        ax.grid(visible=False)
        _draw_null(ax, found[dataset, model]["observed"], found[dataset, model]["null"], model)
    return fig


def _draw_null(ax: Axes, observed: float, null: np.ndarray, model: str) -> None:
    """Draw a null distribution, the observed value, and a note on the side where that is not."""
    if not np.isfinite(observed):
        ax.text(0.5, 0.5, "all distances are equal", ha="center", transform=ax.transAxes)
        return
    ax.hist(null, bins=40, color="#c8c8c8")
    ax.axvline(observed, color=model_colour(model), linewidth=1.8)
    ax.set_ylim(top=ax.get_ylim()[1] * 1.5)  # room for the note
    p_value = (1 + (null >= observed - 1e-12).sum()) / (1 + len(null))
    note = f"ρ = {round(observed, 2) + 0:.2f}\np = {p_value:.2g}"
    left = observed > np.mean(ax.get_xlim())
    ax.text(0.03 if left else 0.97, 0.98, note, ha="left" if left else "right", va="top", transform=ax.transAxes)


@styled
def plot_distance_by_rank(details: dict, task: str, model: str) -> Figure:
    """Draw distances in the embedding by the deepest rank that two species share, of `structure.score_hierarchy`.

    Letter values (Hofmann et al. 2017): the line is the median, the widest box the quartiles, each next one half of
    what is left, as far as the number of pairs can tell. Pairs share species, so boxes are no test.
    """
    found = {dataset: value for (dataset, *rest), value in details.items() if tuple(rest) == (task, model)}
    fig, axs = panels(len(found), 2.2, n_columns=2, sharey=True)
    if not found:
        return say_empty(fig, f"no data set has enough species for {task} by {model}")
    import seaborn  # here: it takes half a second

    for ax, (dataset, distances) in zip(axs, sorted(found.items()), strict=True):
        upper = np.triu_indices(len(distances["tree"]), k=1)
        shared, embedding = len(RANKS) - distances["tree"][upper], distances["embedding"][upper]
        ranks, counts = np.unique(shared, return_counts=True)
        style = {"color": model_colour(model), "linewidth": 0.4, "line_kws": {"color": "black", "linewidth": 1}}
        fliers = {"s": 1, "facecolor": "#999999", "linewidth": 0, "rasterized": True}
        seaborn.boxenplot(x=shared, y=embedding, order=ranks, width=0.65, flier_kws=fliers, ax=ax, **style)
        names = [("none", *RANKS)[rank] for rank in ranks]
        ax.set_xticks(range(len(ranks)), [f"{name}\n{n:,}" for name, n in zip(names, counts, strict=True)])
        part = task.removeprefix("hierarchy/")
        ax.set(title=f"{shorten(dataset, 26)}, {part}, {shorten(model, 20)}", ylabel="")
        ax.set_xlabel("deepest shared rank, number of pairs")
        ax.grid(axis="x", visible=False)
    axs[0].set_ylabel("cosine distance of centroids")
    if len(found) == 1:
        fig.set_figwidth(PAGE_IN * 0.66)
    return fig
