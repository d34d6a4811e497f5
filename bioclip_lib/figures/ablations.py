"""What a choice of the recipe contributes: accuracy by what was trained on and what is asked."""

import pandas as pd
from matplotlib.figure import Figure

from .. import TEXT_TYPES as ORDER
from .style import in_order, panels, say_empty, styled
from .words import PARTS, TEXT_TYPES


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


def _short(name: str) -> str:
    """Return a text type in words that fit beside a cell."""
    return TEXT_TYPES.get(name, name).replace(" name", "").replace("scientific", "sci.").replace("taxonomic", "taxon.")
