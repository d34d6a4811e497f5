"""A map of photographs in JupyterLab on which one points, selects, searches and corrects labels.

Takes a run, its maps and features; draws with jupyter-scatter, which loads nothing from elsewhere. Photographs come
from the shards as they are asked for. What is marked on the map is a table in the next cell. Where no widget can run,
under `reproduce`, a figure stands in its place.
"""

import html
import os
from collections.abc import Callable, Mapping, Sequence

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
        self._picture, self._instead = picture, instead
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
            from .panel import build

            build(self)
        return self.box

    def colourings(self) -> list[str]:
        """Return what the points can be coloured by: ranks that tell them apart, label, split and what a model says."""
        return [name for name in (*RANKS, "label", "split", "named", "right", "confidence") if self._varies(name)]

    def _varies(self, name: str) -> bool:
        return name in self.table and self.table[name].nunique() > 1

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
            said, address = self.table.iloc[row], self._picture(self.table.index[row])
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
