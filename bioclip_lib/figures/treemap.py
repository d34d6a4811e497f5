"""Taxa as nested rectangles whose areas are their numbers of images: kingdom, phylum, class, order.

Takes counts of images by taxon; returns a Figure. `lay_out` places the rectangles, without drawing.
"""

import textwrap

import numpy as np
import pandas as pd
import squarify
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from .. import RANKS
from .style import (
    OTHERS,
    PAGE_IN,
    legend_above,
    new_figure,
    page_in,
    say_empty,
    shorten,
    styled,
    taxon_colours,
    tint,
)

DRAWN = RANKS[:4]
UNKNOWN = "not known"
_EDGES = {"kingdom": 3.0, "phylum": 1.8, "class": 1.0, "order": 0.4}  # line widths
_FONTS = {"phylum": ("bold", (8.5, 7.5, 6.5, 6)), "class": ("bold", (7, 6)), "order": ("normal", (6.5, 6))}
_PAD, _SLACK = 3.0, 1.06  # points around a label; what another resolution may add to its size
_TINT = 0.5  # white in a tile, so that black type can be read on it


def lay_out(counts: pd.DataFrame, width: float, height: float) -> pd.DataFrame:
    """Place the taxa of a table of ranks and ``n_images``: a row a taxon of each rank of `DRAWN`, parents first."""
    rows = []

    def divide(images: pd.DataFrame, depth: int, box: dict[str, float]) -> None:
        counts = images.groupby(DRAWN[depth])["n"].sum().reset_index()
        counts = counts.sort_values(["n", DRAWN[depth]], ascending=[False, True])
        sizes = squarify.normalize_sizes(counts["n"].tolist(), box["dx"], box["dy"])
        boxes = squarify.squarify(sizes, **box)  # as square as may be (Bruls, Huizing & van Wijk 2000)
        for name, n, part in zip(counts[DRAWN[depth]], counts["n"], boxes, strict=True):
            below = images[images[DRAWN[depth]] == name]
            place_of = {"x": part["x"], "y": part["y"], "width": part["dx"], "height": part["dy"]}
            keys = {"rank": DRAWN[depth], "name": name, "kingdom": below[DRAWN[0]].iloc[0], "n_images": n}
            rows.append({**keys, **place_of})
            if depth + 1 < len(DRAWN):
                divide(below, depth + 1, part)

    if len(counts):
        of_orders = counts.groupby(list(DRAWN))["n_images"].sum().rename("n").reset_index()
        divide(of_orders, 0, {"x": 0.0, "y": 0.0, "dx": width, "dy": height})
    columns = ["rank", "name", "kingdom", "n_images", "x", "y", "width", "height"]
    return pd.DataFrame(rows, columns=columns)


@styled
def plot_taxon_treemap(counts: pd.DataFrame) -> Figure:
    """Draw usable images by taxon (`count_classes`) as nested rectangles, an area in proportion, a colour a kingdom.

    Ranks that all images share stand in the title; what is too small for its name has none.
    """
    if counts.empty:
        return say_empty("no usable image")
    fig = new_figure(PAGE_IN, 0.62 * page_in())
    ax = fig.subplots()
    shared = _shared_ranks(counts)
    ax.set_title(textwrap.fill(_title(counts, shared), int(72 * fig.get_figwidth() / 4.4)), loc="left")
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)
    kingdoms = counts.groupby("kingdom")["n_images"].sum().sort_values(ascending=False)
    colours = {"": OTHERS, **taxon_colours([name for name in kingdoms.index if name])}
    if len(kingdoms) > 1:
        labels = {f"{shorten(name or UNKNOWN, 24)} ({n:,})": tint(colours[name], _TINT) for name, n in kingdoms.items()}
        legend_above(fig, {label: Patch(color=colour) for label, colour in labels.items()})
    fig.draw_without_rendering()  # the layout decides the shape that is divided
    size = ax.get_window_extent().size * 72 / fig.dpi  # points
    ax.set(xlim=(0, size[0]), ylim=(size[1], 0))
    tiles = lay_out(counts, *size)
    _draw_tiles(ax, tiles, colours)
    _write_names(ax, tiles[~tiles["rank"].isin([*shared, "kingdom"])])
    return fig


def _shared_ranks(counts: pd.DataFrame) -> list[str]:
    """Return the ranks, from the kingdom on, in which all images are of one taxon."""
    shared = []
    for rank in DRAWN:
        if counts[rank].nunique() > 1 or not counts[rank].iloc[0]:
            break
        shared.append(rank)
    return shared


def _title(counts: pd.DataFrame, shared: list[str]) -> str:
    """Say what is drawn, and what all images share."""
    lineage = " › ".join(shorten(name, 24) for name in counts[shared].iloc[0]) if shared else ""
    n_images, n_orders = (
        int(counts["n_images"].sum()),
        len(counts.loc[counts["order"] != "", list(DRAWN)].drop_duplicates()),
    )
    said = f"{n_images:,} image{'s' * (n_images > 1)} of {n_orders:,} order{'s' * (n_orders != 1)}"
    return f"{lineage}: {said}" if lineage else said[0].upper() + said[1:]


def _draw_tiles(ax: Axes, tiles: pd.DataFrame, colours: dict[str, str]) -> None:
    """Draw the orders in their kingdom's colour, then the borders, those of high ranks last and widest."""
    for tile in tiles[tiles["rank"] == "order"].itertuples():
        face = tint(colours[tile.kingdom], _TINT)
        ax.add_patch(Rectangle((tile.x, tile.y), tile.width, tile.height, facecolor=face, gid="order"))
    for rank in reversed(DRAWN):
        for tile in tiles[tiles["rank"] == rank].itertuples():
            edge = {"facecolor": "none", "edgecolor": "white", "linewidth": _EDGES[rank], "gid": f"edge of {rank}"}
            ax.add_patch(Rectangle((tile.x, tile.y), tile.width, tile.height, **edge))


def _write_names(ax: Axes, tiles: pd.DataFrame) -> None:
    """Write the names that fit, higher ranks and larger taxa first, in the corner of their first order."""
    taken: list[Bbox] = []
    orders = tiles[tiles["rank"] == "order"]
    tiles = tiles.assign(depth=tiles["rank"].map(DRAWN.index))
    for tile in tiles.sort_values(["depth", "n_images"], ascending=[True, False], kind="stable").itertuples():
        weight, sizes = _FONTS[tile.rank]
        name = shorten(tile.name, 40) or (UNKNOWN if tile.rank == "order" else "")
        if not name:
            continue
        corner = orders.loc[np.isclose(orders["x"], tile.x) & np.isclose(orders["y"], tile.y)].iloc[0]
        words = (f"{name}\n{tile.n_images:,}", name) if tile.rank == "order" else (name,)
        tries = [(text, size, angle) for angle in (0, 90) for text in words for size in sizes]
        text = ax.text(0, 0, "", va="top", ha="left", weight=weight, color="#202020", linespacing=1.05, gid=tile.rank)
        room = Bbox.from_bounds(
            tile.x + _PAD, tile.y + _PAD, corner["width"] - 1.5 * _PAD, corner["height"] - 1.5 * _PAD
        )
        if not _set_first(text, tries, room, taken):
            text.remove()


def _set_first(text: Text, tries: list[tuple[str, float, int]], room: Bbox, taken: list[Bbox]) -> bool:
    """Set the first of some words that has a place in a room, and take it; False if none has."""
    for words, size, angle in tries:
        text.set(text=words, fontsize=size, rotation=angle)
        box = _place(text.get_window_extent().size * 72 / text.figure.dpi * _SLACK, room, taken)
        if box is not None:
            text.set_position((box.x0, box.y0))
            taken.append(box)
            return True
    return False


def _place(size: np.ndarray, room: Bbox, taken: list[Bbox]) -> Bbox | None:
    """Return the topmost box of a size at the left of a room, below the boxes taken there; None if it has no place."""
    box = Bbox.from_bounds(room.x0, room.y0, *size)
    while box.x1 <= room.x1 and box.y1 <= room.y1:
        above = [other.y1 for other in taken if other.overlaps(box)]
        if not above:
            return box
        box = Bbox.from_bounds(room.x0, max(above) + 0.5, *size)
    return None
