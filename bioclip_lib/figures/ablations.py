"""What a choice of the recipe contributes: accuracy by what was trained on and what is asked."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .. import TEXT_TYPES as ORDER
from .style import GREY, in_order, panels, say_empty, shorten, styled
from .words import PARTS, TEXT_TYPES

_MEASURED = (
    *("zero-shot, seen species", "zero-shot, unseen species", "5 shots", "5 shots, unseen species"),
    *("hierarchy, seen species", "hierarchy, unseen species"),
)


@styled
def plot_text_matrix(table: pd.DataFrame) -> Figure:
    """Draw `ablations.text_matrix` of seen and unseen species: a row a training, a column a question, in percent."""
    if table.empty:
        return say_empty("no training has ended")
    groups = list(table.groupby("part"))
    rows = in_order(table["trained"], ORDER)
    columns = [name for name in TEXT_TYPES if (table["tested"] == name).any()]
    fig, axs = panels(len(groups), 0.55 + 0.3 * len(rows), panel_in=2.9, sharey=True)
    for ax, (part, mine) in zip(axs, groups, strict=True):
        values = 100 * mine.pivot(index="trained", columns="tested", values="value").reindex(
            index=rows, columns=columns
        )
        ax.imshow(values, cmap="viridis", aspect="auto", vmin=0, vmax=max(1.0, 100 * table["value"].max()))
        for found in mine.itertuples():
            dark = found.value < 0.6 * table["value"].max()
            reach = 100 * (found.ci_high - found.value)
            text = f"{100 * found.value:.0f}" + f"±{reach:.0f}" * (reach < 100)
            place = columns.index(found.tested), rows.index(found.trained)
            ax.text(*place, text, ha="center", va="center", fontsize=6, color="white" if dark else "black")
        ax.set_xticks(range(len(columns)), [_short(name).replace(" + common", "\n+ com.") for name in columns])
        ax.set_yticks(range(len(rows)), [_short(name) for name in rows])
        ax.grid(False)
        ax.tick_params(length=0)
        ax.set(title=f"{PARTS.get(part, part)} (chance {100 * mine['chance'].mean():.0f})", xlabel="asked with")
    axs[0].set_ylabel("trained on")
    return fig


@styled
def plot_recipes(table: pd.DataFrame) -> Figure:
    """Draw `ablations.recipes`: how far each choice is from its baseline, a line a choice, a panel a measure."""
    table = table[table["measured"].isin(_MEASURED)].dropna(subset="difference")
    if table.empty:
        return say_empty("other choices are trained under SET=evaluate.ablations=all")
    lines = list(table[["question", "baseline", "recipe"]].drop_duplicates().itertuples(index=False, name=None))
    measured = [name for name in _MEASURED if (table["measured"] == name).any()]
    fig, axs = panels(len(measured), 0.6 + 0.17 * len(lines), panel_in=2.2, sharey=True)
    for ax, name in zip(axs, measured, strict=True):
        mine = table[table["measured"] == name]
        scale = 1 if name.startswith("hierarchy") else 100
        place = [
            lines.index(line) for line in mine[["question", "baseline", "recipe"]].itertuples(index=False, name=None)
        ]
        ends = scale * mine[["difference", "difference_low", "difference_high"]].replace([-np.inf, np.inf], np.nan)
        reach = (ends["difference_high"] - ends["difference"]).fillna(0)
        ax.axvline(0, color=GREY, linewidth=0.8)
        ax.errorbar(ends["difference"], place, xerr=reach, fmt="o", markersize=3, color="C0")
        ax.set_title(name.replace(", ", ",\n"))
        ax.set_xlabel("rho" if scale == 1 else "points")
        ax.grid(axis="y", visible=False)
    last = [question for question, _, _ in lines]
    for i in range(1, len(lines)):
        if last[i] != last[i - 1]:
            for ax in axs:
                ax.axhline(i - 0.5, color=GREY, linewidth=0.4)
    axs[0].set_yticks(range(len(lines)), [f"{shorten(recipe, 40)}" for _, _, recipe in lines])
    axs[0].set_ylim(len(lines) - 0.5, -0.5)
    return fig


def _short(name: str) -> str:
    """Return a text type in words that fit beside a cell."""
    return TEXT_TYPES.get(name, name).replace(" name", "").replace("scientific", "sci.").replace("taxonomic", "taxon.")
