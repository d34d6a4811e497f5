"""What an answer costs, how many are given to a rank and how many of these are wrong; and which pixels speak for it."""

import io

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from PIL import Image

from .style import legend_above, new_figure, page_in, panels, say_empty, shorten, styled
from .words import PARTS

SHOWN = ("species", "genus", "family", "order", "class")
MAPS = {"occlusion": "covered", "gradient": "gradient"}
_N_IMAGES = 6
_CHARACTER_IN = 0.06


@styled
def plot_risk(table: pd.DataFrame) -> Figure:
    """Draw the risk of answers against the share of images answered, a line a rank, of `identify.risk`."""
    no_candidate = (table["part"] == "unseen") & (table["rank"] == "species")  # it cannot be right
    table = table[table["risk"].notna() & table["rank"].isin(SHOWN) & ~no_candidate]
    if table.empty:
        return say_empty("no test image was answered")
    groups = list(table.groupby("part", sort=False))
    fig, axs = panels(len(groups), 1.9, panel_in=2.4, sharey=True)
    colours = dict(zip(SHOWN, matplotlib.colormaps["viridis"].resampled(len(SHOWN) + 1).colors, strict=False))
    handles = {}
    for ax, (part, mine) in zip(axs, groups, strict=True):
        for rank in (rank for rank in SHOWN if (mine["rank"] == rank).any()):
            rows = mine[mine["rank"] == rank].sort_values("floor")
            (handles[rank],) = ax.plot(rows["answered"], rows["risk"], color=colours[rank], clip_on=False)
        ax.set(title=shorten(PARTS.get(part, part), 30), xlabel="answered to this rank or deeper", xlim=(0, 1))
        ax.xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axs[0].yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axs[0].set(ylabel="of these, wrong there", ylim=(0, 1.02 * table["risk"].max() + 0.01))
    legend_above(fig, handles)
    return fig


@styled
def plot_saliency(table: pd.DataFrame) -> Figure:
    """Show images of `identify.saliency_examples` above both maps, each over its image, dark where nothing speaks."""
    table = table.head(_N_IMAGES)
    if table.empty:
        return say_empty("no image is kept for tests")
    maps = {name: words for name, words in MAPS.items() if name in table}
    size = page_in() / max(len(table), 4)
    fig = new_figure(page_in(), size * (1 + len(maps)) + 0.2)
    axs = fig.subplots(1 + len(maps), len(table), squeeze=False)
    for column, row in enumerate(table.itertuples()):
        image = np.asarray(Image.open(io.BytesIO(row.png)).convert("RGB"))
        axs[0, column].imshow(image)
        words = [shorten(word, max(6, int(size / _CHARACTER_IN))) for word in row.title.split(" ", 1)]
        axs[0, column].set_title("\n".join(words), style="italic")
        for ax, name in zip(axs[1:, column], maps, strict=True):
            values = np.asarray(getattr(row, name), dtype=float)
            side = int(np.sqrt(len(values)))
            ax.imshow(image.mean(axis=2), cmap="gray", alpha=0.6)
            ax.imshow(
                np.maximum(values, 0).reshape(side, side),
                cmap="magma",
                alpha=0.6,
                extent=(-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5),
                interpolation="bilinear",
            )
    for ax in axs.flat:
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
    for ax, words in zip(axs[:, 0], ("image", *maps.values()), strict=True):
        ax.set_ylabel(words)
    return fig
