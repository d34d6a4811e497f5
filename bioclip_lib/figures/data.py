"""Figures of images, of a catalog and its captions, and of a training run."""

import io

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from PIL import Image

from .. import RANKS
from ..files.images import png
from .style import (
    GREY,
    SMALLEST_PT,
    legend_above,
    model_colours,
    new_figure,
    page_in,
    panels,
    say_empty,
    shorten,
    styled,
)
from .words import SPLITS, TEXT_TYPES

_IMAGE_IN = 0.58  # of a contact sheet


def contact_sheet_table(images: np.ndarray, taxa: pd.DataFrame) -> pd.DataFrame:
    """Return what a contact sheet is drawn from: a row an image, relatives beside each other, pixels as PNG.

    Takes images (n, H, W, 3), uint8, and of each its ranks and ``scientific_name``, or ``verbatim_name`` where
    nothing is known. A title is in italics below the family.
    """
    rows = taxa.reset_index(drop=True)
    label = rows["scientific_name"].where(rows["scientific_name"] != "", rows.get("verbatim_name", ""))
    family = rows["family"].where(rows["family"] != rows["scientific_name"], "")
    group = family.where(family != "", rows["order"].where(rows["order"] != rows["scientific_name"], ""))
    italic = (rows["genus"] != "") & (rows["scientific_name"] != "")
    table = pd.DataFrame({"title": label, "group": group, "italic": italic, "png": list(map(png, images))})
    order = rows.assign(title=label).sort_values([*RANKS, "title"], kind="stable").index
    return table.loc[order].reset_index(drop=True)


@styled
def plot_contact_sheet(sheet: pd.DataFrame) -> Figure:
    """Show the images of a `contact_sheet_table` side by side: neighbours of one title share it, and the family's."""
    images = [np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) for png in sheet["png"]]
    px = len(images[0])
    n_columns = int(page_in() / _IMAGE_IN / 2) * 2  # pairs stay in a row
    size = page_in() / n_columns
    head = round(px * 0.26 / size)  # pixels above an image, for two lines of type
    canvas = np.full((-(-len(images) // n_columns) * (px + head), n_columns * px, 3), 255, dtype=np.uint8)
    fig = new_figure(page_in(), page_in() * canvas.shape[0] / canvas.shape[1])
    ax = fig.add_axes((0, 0, 1, 1))
    titles, gap = list(sheet["title"]), px // 40
    for i, row in enumerate(sheet.itertuples()):
        x, y = i % n_columns * px, i // n_columns * (px + head)
        canvas[y + head : y + head + px - gap, x : x + px - gap] = images[i][: px - gap, : px - gap]
        if x == 0 or row.title != titles[i - 1]:
            of_row = titles[i : i - i % n_columns + n_columns]
            n_same = next((j for j, title in enumerate(of_row) if title != row.title), len(of_row))
            style = {"fontstyle": "italic" if row.italic else "normal"}
            _write(ax, x, y + 0.55 * head, row.title, 0.97 * n_same * size, **style)
            _write(ax, x, y + 0.95 * head, row.group, 0.97 * n_same * size, color="#606060")
    ax.imshow(canvas, aspect="auto")
    ax.axis("off")
    fig.set_layout_engine("none")
    return fig


def _write(ax: Axes, x: float, y: float, words: str, width_in: float, **style: str) -> None:
    """Write a line, cut to a width."""
    text = ax.text(x, y, "", fontsize=SMALLEST_PT, va="bottom", **style)
    for n_characters in range(min(len(words), 80), 0, -1):
        text.set_text(shorten(words, n_characters))
        if text.get_window_extent().width <= width_in * ax.figure.dpi:
            return


@styled
def plot_taxon_counts(counts: pd.DataFrame) -> Figure:
    """Draw usable images a class in falling order, a line a source, and images a split (`catalog.count_classes`)."""
    if counts.empty:
        return say_empty("no usable image")
    fig, axs = panels(2, 1.9, panel_in=2.4)
    dashes = ("-", "--", ":", "-.")
    per_class = counts.groupby(["source", "class_key"])["n_images"].sum()
    for i, (source, n) in enumerate(per_class.groupby("source")):
        n = np.sort(n.to_numpy())[::-1]
        sizes = f"{n[-1]:,}–{n[0]:,}" if n[0] > n[-1] else f"{n[0]:,}"
        label = f"{shorten(source, 24)}: {len(n):,} classes, {sizes} images each"
        edges = np.arange(len(n) + 1) + 0.5
        axs[0].stairs(n, edges, baseline=None, label=label, color="black", linestyle=dashes[i % 4])
    _count_axis(axs[0], per_class.to_numpy(), int(per_class.groupby("source").size().max()))
    splits = counts.groupby("split").agg(images=("n_images", "sum"), classes=("class_key", "nunique"))
    splits = splits.reindex(list(SPLITS)[::-1]).fillna(0).astype(int)
    bars = axs[1].barh([SPLITS[name] for name in splits.index], splits["images"], color=GREY, height=0.7)
    labels = [f"{row.images:,} of {row.classes:,} classes" for row in splits.itertuples()]
    axs[1].bar_label(bars, labels, padding=2, fontsize=SMALLEST_PT + 0.5)
    axs[1].set(xlabel="images a split", xlim=(0, max(1, splits["images"].max()) * 1.6))
    axs[1].xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axs[1].xaxis.set_major_formatter("{x:,.0f}")
    axs[1].grid(axis="y", visible=False)
    axs[1].tick_params(axis="y", length=0)
    handles, labels = axs[0].get_legend_handles_labels()
    legend_above(fig, dict(zip(labels, handles, strict=True)))
    return fig


def _count_axis(ax: Axes, counts: np.ndarray, n_classes: int) -> None:
    """Count images from 0 on, or, where classes differ tenfold, by powers of ten, and say so."""
    ax.set(xlabel="classes, from the largest to the smallest", xlim=(0.5, n_classes + 0.5))
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    if counts.max() < 10 * counts.min():
        ax.set(ylabel="images", ylim=(0, 1.08 * counts.max()))
        ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    else:
        ax.set(ylabel="images (log scale)", yscale="log", ylim=(max(0.8, 0.8 * counts.min()), 1.3 * counts.max()))
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if counts.max() < 100 * counts.min() else (1,)))
        ax.yaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter("{x:,.0f}")


@styled
def plot_shared_words(by_rank: pd.DataFrame) -> Figure:
    """Write how many words two captions share, a line a text type, a column a deepest shared rank, darker for more."""
    if by_rank.empty:
        return say_empty("fewer than two classes are known to species")
    types = [name for name in TEXT_TYPES if name in by_rank]
    fig, (ax,) = panels(1, 0.7 + 0.24 * len(types))
    values = by_rank[types].to_numpy(float).T
    ax.imshow(values, aspect="auto", vmin=0, vmax=max(1, 1.7 * np.nanmax(values, initial=0)))
    for (i, j), value in np.ndenumerate(values):
        ax.text(j, i, f"{value:.1f}", ha="center", va="center", fontsize=6.5)
    ax.set_xticks(range(len(by_rank)), [f"{rank}\n{n:,}" for rank, n in by_rank["pairs"].items()])
    ax.set_yticks(range(len(types)), [TEXT_TYPES[name].replace(" + ", " +\n") for name in types])
    ax.set(xlabel="deepest rank that two species share, and pairs", title="words that two captions share (mean)")
    ax.tick_params(labelsize=SMALLEST_PT)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.grid(False)
    return fig


@styled
def plot_training(log: pd.DataFrame, chance: float | None = None) -> Figure:
    """Draw loss, the zero-shot probe with its chance, learning rate and speed of a training log against steps."""
    fig, axs = panels(4, 1.6, sharex=True)
    colour = model_colours(["trained"])["trained"]
    axs[0].plot(log["step"], log["loss"], color=colour, alpha=0.35, linewidth=0.7)
    smooth = log["loss"].rolling(max(3, len(log) // 20), min_periods=1, center=True).mean()
    axs[0].plot(log["step"], smooth, color=colour, label="training (smoothed)")
    val = log.dropna(subset=["val_loss"])
    dots = {"marker": "o", "color": "black", "linestyle": "--"}
    axs[0].set(title="loss (nats)")
    if len(val):  # an empty line that is not clipped pushes the panels aside
        axs[0].plot(val["step"], val["val_loss"], label="validation", **dots)
        axs[1].plot(val["step"], 100 * val["val_top1"], clip_on=False, zorder=3, **dots)
    axs[1].set(title="validation top-1 (%)", ylim=(0, 100))
    if chance is not None:
        axs[1].axhline(100 * chance, color="black", linestyle=":", linewidth=0.9, label=f"chance: {100 * chance:.1f} %")
    axs[2].plot(log["step"], log["lr"], color=GREY)
    axs[2].set(title="learning rate", ylim=(0, None))
    axs[2].yaxis.set_major_formatter("{x:.2g}")
    rate = log["images_per_s"].rolling(9, min_periods=1, center=True).median()
    axs[3].plot(log["step"], rate, color=GREY)
    axs[3].set(title="images a second", ylim=(0, rate.max() * 1.1))
    axs[3].yaxis.set_major_formatter("{x:,.0f}")
    for ax in axs:
        ax.set_xlabel("step")
        ax.tick_params(labelbottom=True)
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    found = [ax.get_legend_handles_labels() for ax in axs[:2]]
    legend_above(fig, {label: handle for of in found for handle, label in zip(*of, strict=True)})
    return fig
