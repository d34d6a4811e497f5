"""Figures of images, of a catalog and its captions, and of a training run."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from .. import TEXT_TYPES
from ..catalog.splits import SPLITS
from .style import (
    COLUMN_IN,
    PAGE_IN,
    PALETTE,
    colours_of,
    one_panel,
    panels,
    shorten,
    styled,
)

_BINOMIAL = re.compile(r"[A-Z][a-zäëïöü-]+ [a-zäëïöü-]{3,}")  # set in italics


@styled
def plot_contact_sheet(images: np.ndarray, titles: Sequence[str], n_columns: int = 12) -> Figure:
    """Show images (n, H, W, 3), uint8, side by side; neighbours with one title share it, binomials stand in italics."""
    n_rows, size = -(-len(images) // n_columns), PAGE_IN / n_columns
    fig, axs = panels(n_rows * n_columns, size + 0.12, n_columns)
    fig.set_size_inches(PAGE_IN, n_rows * (size + 0.12) + 0.1)
    strip = 0.1 / fig.get_figheight()  # above the first row, for its titles
    fig.get_layout_engine().set(w_pad=0.01, h_pad=0.005, wspace=0, hspace=0, rect=(0, 0, 1, 1 - strip))
    for i, ax in enumerate(axs):
        ax.axis("off")
        if i >= len(images):
            continue
        ax.imshow(images[i], interpolation="lanczos")
        if i % n_columns == 0 or titles[i] != titles[i - 1]:
            row = list(titles[i : i - i % n_columns + n_columns])
            n_same = next((j for j, title in enumerate(row) if title != row[0]), len(row))
            _title_image(ax, titles[i], 0.96 * n_same * size * fig.dpi)
    return fig


def _title_image(ax: Axes, title: str, width_px: float) -> None:
    """Set a title above an image, cut to a width."""
    italic = "italic" if _BINOMIAL.fullmatch(title) else "normal"
    text = ax.set_title(title, fontsize=5.5, fontstyle=italic, loc="left", pad=1.5)
    text.set_in_layout(False)  # the rows leave room for it; its width must not move the images
    for n_characters in range(len(title), 0, -1):
        text.set_text(shorten(title, n_characters))
        if text.get_window_extent().width <= width_px:
            return


@styled
def plot_taxon_counts(catalog: pd.DataFrame) -> Figure:
    """Draw a catalog's usable images a class in falling order (the long tail), a line a source, and images a split."""
    kept = catalog[catalog["excluded"] == ""]
    fig, axs = panels(2, 2.2, width_ratios=[1.7, 1])
    fig.set_figwidth(PAGE_IN)
    colours = colours_of(list(kept["source"].unique()), {})
    for source, rows in kept.groupby("source"):
        counts = rows["class_key"].value_counts().to_numpy()
        sizes = f"{counts.min():,}–{counts.max():,}" if counts.min() < counts.max() else f"{counts.max():,}"
        label = f"{shorten(source, 24)}: {len(counts):,} classes, {sizes} images"
        axs[0].plot(np.arange(1, len(counts) + 1), counts, color=colours[source], label=label)
    axs[0].set(xlabel="class, by number of images", ylabel="images", yscale="log", title="Images per class")
    axs[0].xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axs[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axs[0].yaxis.set_major_formatter("{x:,.0f}")
    axs[0].yaxis.set_minor_formatter(NullFormatter())
    axs[0].set_ylim(top=axs[0].get_ylim()[1] * 1.6)  # room for the legend
    axs[0].legend(loc="upper right")
    counts = kept["split"].value_counts().reindex(SPLITS[::-1]).fillna(0)
    bars = axs[1].barh([split.replace("_", " ") for split in counts.index], counts, color="#8fb8d6")
    axs[1].bar_label(bars, fmt="{:,.0f}", padding=2, fontsize=6.5)
    axs[1].set(title="Images per split", xlim=(0, max(1, counts.max()) * 1.25))
    axs[1].xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axs[1].xaxis.set_major_formatter("{x:,.0f}")
    axs[1].grid(axis="y", visible=False)
    return fig


@styled
def plot_shared_words(by_rank: pd.DataFrame, *, ax: Axes | None = None) -> Figure:
    """Draw the words that two captions share by deepest shared rank, a line a text type (`shared_words_by_rank`)."""
    fig, ax = one_panel(ax, 1.35 * COLUMN_IN, 2.3)
    text_types = by_rank.columns.drop("pairs")
    colours = colours_of(list(text_types), dict(zip(TEXT_TYPES, PALETTE, strict=False)))
    for marker, text_type in zip("osD^v" * len(text_types), text_types, strict=False):
        ax.plot(by_rank.index, by_rank[text_type], marker + "-", color=colours[text_type], label=text_type)
    ax.set_xticks(range(len(by_rank)), [f"{rank}\n{n:,}" for rank, n in by_rank["pairs"].items()])
    ax.set(xlabel="deepest rank that two species share, number of pairs", ylabel="shared words (mean)")
    ax.legend(title="text type", loc="upper left")
    return fig


@styled
def plot_training(log: pd.DataFrame) -> Figure:
    """Draw loss, the zero-shot probe, learning rate and images per second of a training log against steps."""
    fig, axs = panels(4, 1.9, width_ratios=[1.5, 1, 1, 1], sharex=True)
    axs[0].plot(log["step"], log["loss"], color="#a9cbe3", linewidth=0.7, label="train, each step")
    smooth = log["loss"].rolling(max(3, len(log) // 20), min_periods=1, center=True).mean()
    axs[0].plot(log["step"], smooth, color=PALETTE[0], label="train, smoothed")
    val = log.dropna(subset=["val_loss"])
    axs[0].plot(val["step"], val["val_loss"], "o-", color=PALETTE[5], label="validation")
    axs[0].set(ylabel="loss (nats)", title="Contrastive loss")
    axs[0].legend()
    axs[1].plot(val["step"], 100 * val["val_top1"], "o-", color=PALETTE[5])
    axs[1].set(ylabel="top-1 (%)", title="Zero-shot on validation", ylim=(0, None))
    axs[2].plot(log["step"], log["lr"], color=PALETTE[2])
    axs[2].set(ylabel="learning rate", title="Schedule", ylim=(0, None))
    axs[2].ticklabel_format(axis="y", style="sci", scilimits=(-2, 4))
    rate = log["images_per_s"].rolling(9, min_periods=1, center=True).median()
    axs[3].plot(log["step"], rate, color=PALETTE[3])
    axs[3].set(ylabel="images / s", title="Throughput", ylim=(0, rate.max() * 1.1))
    axs[3].yaxis.set_major_formatter("{x:,.0f}")
    for ax in axs:
        ax.set_xlabel("step")
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return fig
