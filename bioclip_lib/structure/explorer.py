"""A map of photographs in JupyterLab on which one points, selects, searches and corrects labels.

Takes a run, its maps and features; draws with jupyter-scatter, which loads nothing from elsewhere. Photographs come
from the shards as they are asked for: jupyter-scatter asks Python for what stands beside a point by a method that is
private to it (`_handle_tooltip`), which is replaced. What is marked on the map is a table in the next cell. Where no
widget can run, under `reproduce`, a figure stands in its place.
"""

import html
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from .. import RANKS
from ..errors import InputError
from ..evaluation.tasks import unit_rows
from ..model.features import FeatureTable
from ..run import Run
from ..run.workers import BARS
from ..shards.thumbnails import thumbnails

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000")  # Okabe and Ito
OTHER = "#b8b8b8"
N_FOUND = 50  # by free text
_N_NEAR, _N_SHOWN = 5, 24
HEIGHT_PX = 480
SAID = ["file", "label", "named", "confidence", "nearest"]  # beside a photograph on the map
_FIGURE = "<figure style='display:inline-block;width:132px;margin:4px;font-size:12px;vertical-align:top'>{}</figure>"


class Explorer:
    """One map a model, marked together; what `explore` returns.

    ``table`` has a row an image, by ``image_id``: what can be coloured and searched; ``corrections`` is `relabel`'s.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        tables: Mapping[str, FeatureTable],
        picture: Callable[[str], str],
        encoders: Mapping[str, Callable],
        instead: object = None,
    ) -> None:
        self.table, self.corrections = table, pd.DataFrame(columns=["image_id", "label"], dtype=object)
        self.models = [name for name in tables if f"{name}_x" in table]
        self.picture, self._instead = picture, instead
        self._features = {name: unit_rows(tables[name].values) for name in self.models}
        self._encoders = {name: encoders[name] for name in self.models if name in encoders}
        self.scatters, self.box, self.selection = [], None, np.zeros(0, int)

    def _ipython_display_(self) -> None:
        from IPython.display import Markdown, display

        if os.environ.get(BARS) and self._instead is not None:
            display(self._instead)
        elif self.table.empty or not self.models:
            display(Markdown("*No image has a place on a map.*"))
        else:
            display(self.widget())

    def widget(self):
        """Return the maps, the search and the photographs of the selection as one widget; made once."""
        if self.box is None:
            _widgets(self)
        return self.box

    def colourings(self) -> list[str]:
        """Return what the points can be coloured by: ranks that tell them apart, label, split and what a model says."""
        names = (*RANKS, "label", "split", "named", "right", "confidence")
        return [name for name in names if name in self.table and self.table[name].nunique() > 1]

    def colour_column(self, name: str) -> pd.Series:
        """Return a column to colour by: the numbers, or the largest groups as categories and all others as one."""
        values = self.table[name]
        if name == "confidence":
            return values.astype(float).fillna(0.0)
        known = values[values != ""].value_counts()
        kept = list(known.index[: len(COLOURS)])
        other = "other" if "other" not in kept else "all others"
        return pd.Categorical(values.where(values.isin(kept), other), [*kept, other])

    def record(self, row: int) -> dict[str, str]:
        """Return what is said of an image at a row, its nearest images among it."""
        said = self.table.iloc[row]
        near = ", ".join(self.table["label"].iloc[self.nearest(row)])
        number = said.get("confidence", np.nan)
        sure = "" if pd.isna(number) else f"{100 * float(number):.0f} %"
        values = {"file": said["file"], "label": said["label"], "named": said.get("named", "")}
        return {**values, "confidence": sure, "nearest": near}

    def nearest(self, row: int, n: int = _N_NEAR) -> np.ndarray:
        """Return the rows of the images nearest to one, by cosine in the first model."""
        values = self._features[self.models[0]]
        cosine = values @ values[row]  # (n, D) @ (D,) -> (n,)
        cosine[row] = -np.inf
        n = min(n, len(cosine) - 1)
        return np.argsort(-cosine, kind="stable")[:n]

    def select(self, image_ids: Sequence[str]) -> None:
        """Mark images on all maps; those that are not on them are passed over."""
        rows = self.table.index.get_indexer(list(image_ids))
        self.selection = rows[rows >= 0]
        for scatter in self.scatters:
            scatter.selection(self.selection)

    def selected(self) -> pd.DataFrame:
        """Return the rows of `table` that are marked, as they stand there."""
        return self.table.iloc[np.sort(np.asarray(self.selection, int))]

    def search(self, words: str, n: int = N_FOUND) -> pd.DataFrame:
        """Mark the images whose file or names contain the words; where none does, the n nearest to them as a text.

        Returns the rows of `table` that are marked now, those of a description with ``cosine``, the nearest first.
        Refuses words that no name contains, where no model of the map reads texts.
        """
        words = " ".join(words.replace("_", " ").split())
        columns = [name for name in ("file", "label", "common_name", *RANKS) if name in self.table]
        found = np.zeros(len(self.table), bool)
        for column in columns if words else ():
            text = self.table[column].str.replace("_", " ")
            found |= text.str.contains(words, case=False, regex=False).to_numpy(bool)
        if found.any() or not words:
            self.select(self.table.index[found])
            return self.selected()
        if not self._encoders:
            raise InputError(
                f"no file and no name contains {words!r}, and no model on the map reads texts; give a part of a name"
            )
        name, encode = next(iter(self._encoders.items()))
        cosine = self._features[name] @ np.asarray(encode([words]))[0]  # (n, D) @ (D,) -> (n,)
        rows = np.argsort(-cosine, kind="stable")[:n]
        self.select(self.table.index[rows])
        return self.table.iloc[rows].assign(cosine=cosine[rows])

    def relabel(self, label: str, image_ids: Sequence[str] | None = None) -> pd.DataFrame:
        """Note another label of the marked images, or of these; '' leaves them out. Return all corrections so far."""
        marked = self.selected().index if image_ids is None else list(image_ids)
        new = pd.DataFrame({"image_id": list(marked), "label": label}, dtype=object)
        both = pd.concat([self.corrections, new], ignore_index=True)
        self.corrections = both.drop_duplicates("image_id", keep="last", ignore_index=True)
        return self.corrections

    def photographs(self, rows: Sequence[int]) -> str:
        """Return photographs, each with its label and what it was named, as HTML."""
        figures = []
        for row in list(rows)[:_N_SHOWN]:
            said, address = self.table.iloc[row], self.picture(self.table.index[row])
            picture = f"<img src='{address}' width=128 height=128>" if address else "<i>no picture</i>"
            named = said.get("named", "")
            words = html.escape(said["label"]) + (f"<br>named {html.escape(named)}" if named else "")
            figures.append(_FIGURE.format(f"{picture}<figcaption>{words}</figcaption>"))
        return "".join(figures)


def explore(
    run: Run,
    placed: pd.DataFrame,
    tables: Mapping[str, FeatureTable],
    encoders: Mapping[str, Callable] | None = None,
    instead: object = None,
) -> Explorer:
    """Open maps of photographs to point at, select, search and correct.

    Parameters
    ----------
    run : Run
        With catalog and shards; where notebook 04 has named its images, what it named them is shown too.
    placed : DataFrame
        Of `place`. Each model that has coordinates and features (``tables``, in the same order) has a map.
    encoders : mapping of model to a function of texts, optional
        Of `evaluation.load_few_shot`; with them free text can be searched.
    instead : optional
        A figure that is shown where no widget can run.

    Returns
    -------
    Explorer
        As the last line of a cell it is shown. ``selected()`` is what is marked, ``search("spotted")`` marks,
        ``relabel("Parus major")`` notes a label, and ``write_corrected(run, explorer.corrections)`` writes the table
        that the next run reads.
    """
    from ..catalog.table import read_catalog

    rows = read_catalog(run.catalog).set_index("image_id").reindex(placed.index)
    table = placed.assign(file=rows["source_id"], label=rows["class_key"], common_name=rows["common_name"])
    path = run.tables / "zero_shot_predictions.csv"
    if path.is_file():
        said = pd.read_csv(path, dtype={"image_id": str}, keep_default_na=False)
        said = said[said["model"] == "trained"].set_index("image_id").reindex(placed.index)
        right = np.where(said["predicted"] == table["label"], "right", "wrong")
        table = table.assign(named=said["predicted"].fillna(""), confidence=said["confidence"].astype(float))
        table["right"] = np.where(said["predicted"].notna(), right, "")
    kept = {name: tables[name] for name in tables if f"{name}_x" in placed}
    return Explorer(table, kept, thumbnails(run.shards), encoders or {}, instead)


def _widgets(view: Explorer) -> None:
    """Make the widgets of an explorer: maps, a search, a label to give, photographs of what is marked."""
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
    preview = view.picture(view.table.index[row])
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
