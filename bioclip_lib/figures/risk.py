"""What an answer costs: how many images are answered to a rank, and how many of these answers are wrong."""

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from .style import legend_above, panels, say_empty, shorten, styled
from .words import PARTS

SHOWN = ("species", "genus", "family", "order", "class")


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
