"""The widgets of the explorer: jupyter-scatter's maps, a search, a label to give, and photographs of the selection.

Takes an `Explorer`; gives it ``scatters`` and ``box``. jupyter-scatter asks Python for what stands beside a point by a
method that is private to it (`_handle_tooltip`), which is replaced: so photographs are read when they are pointed at.
"""

import html
from functools import partial

import numpy as np
import pandas as pd

from ..errors import InputError
from .explorer import COLOURS, HEIGHT_PX, OTHER, SAID, Explorer


def build(view: Explorer) -> None:
    """Make the widgets of an explorer."""
    import ipywidgets as widgets
    import jscatter

    columns = {name: view.colour_column(name) for name in view.colourings()}
    data = pd.DataFrame({f"by {name}": column for name, column in columns.items()})
    data = data.assign(**dict.fromkeys(SAID, ""), photograph="").reset_index(drop=True)
    for model in view.models:
        data[f"{model}_x"], data[f"{model}_y"] = (view.table[f"{model}_{axis}"].to_numpy(np.float32) for axis in "xy")
    view.scatters = [_scatter(jscatter, data, model) for model in view.models]
    maps = jscatter.compose(
        list(zip(view.scatters, view.models, strict=True)), sync_selection=True, sync_hover=True, row_height=HEIGHT_PX
    )
    for scatter in view.scatters:
        scatter.widget._handle_tooltip = partial(_answer, view, scatter.widget)
    colour = widgets.Dropdown(options=list(columns), description="colour")
    words = widgets.Text(description="search", placeholder="a name, or what it looks like", continuous_update=False)
    label = widgets.Text(description="label", placeholder="of what is marked; empty: leave out")
    give = widgets.Button(description="note this label", layout={"width": "auto"})
    said, photographs = widgets.HTML("0 marked; draw a ring around points, or search"), widgets.HTML()
    colour.observe(lambda change: _colour(view, change["new"]), "value")
    words.observe(lambda change: _search(view, change["new"], said), "value")
    give.on_click(lambda _: _note(view, label.value, said))
    view.scatters[0].widget.observe(lambda change: _marked(view, change["new"], said, photographs), "selection")
    if len(columns):
        _colour(view, colour.value)
    view.box = widgets.VBox([widgets.HBox([colour, words, label, give]), said, maps, photographs])


def _scatter(jscatter, data: pd.DataFrame, model: str):
    """Return the map of a model."""
    scatter = jscatter.Scatter(data=data, x=f"{model}_x", y=f"{model}_y", height=HEIGHT_PX)
    scatter.axes(False).background("white").mouse("lasso").options({"performanceMode": len(data) > 100_000})
    # to the widget a ring that ends where it began is a click as well, which marks one point: of a slow press, and
    # off the very pixel, it is none
    scatter.lasso(initiator=True, min_dist=1)
    scatter.size(default=max(2, round(12 - 2 * np.log10(len(data)))))  # pixels
    properties = {"properties": SAID, "histograms": False, "preview": "photograph", "preview_type": "image"}
    scatter.tooltip(True, **properties, preview_image_height=128, preview_image_size="contain", size="small")
    return scatter.legend(True)


def _colour(view: Explorer, name: str) -> None:
    """Colour all maps by a column."""
    for scatter in view.scatters:
        if name == "confidence":
            scatter.color(by=f"by {name}", map="cividis")
            continue
        *groups, other = view.colour_column(name).categories
        colours = dict(zip(groups, COLOURS[: len(groups)], strict=True))
        scatter.color(by=f"by {name}", map={**colours, other: OTHER})


def _answer(view: Explorer, widget, event: dict) -> None:
    """Send what stands beside a point: the photograph, names, and the nearest images."""
    row = int(event["index"])
    record = view.record(row)
    properties = {name: record[name] for name in event["properties"] if name in record}
    preview = view._picture(view.table.index[row])
    widget.send({"type": event["type"], "index": row, "preview": preview, "properties": properties})


def _marked(view: Explorer, rows: np.ndarray, said, photographs) -> None:
    """Show what is marked: a few photographs, and of a single one those nearest to it."""
    view.selection = np.asarray(rows, int)
    shown = [*view.selection, *view.nearest(int(view.selection[0]))] if len(view.selection) == 1 else view.selection
    said.value = f"{len(view.selection):,} marked" + (", and the nearest" if len(view.selection) == 1 else "")
    photographs.value = view.photographs(shown)


def _search(view: Explorer, words: str, said) -> None:
    """Mark what is searched, and say how it was found."""
    try:
        found = view.search(words)
        how = "nearest to these words as a text" if "cosine" in found else "with these words in a name"
        said.value = f"{len(found):,} {how}"
    except InputError as error:
        said.value = html.escape(str(error))


def _note(view: Explorer, label: str, said) -> None:
    """Note a label of what is marked."""
    n = len(view.selected())
    view.relabel(label.strip())
    what = f"labelled {html.escape(label)}" if label.strip() else "to be left out"
    said.value = f"{n:,} {what}; {len(view.corrections):,} corrections noted"
