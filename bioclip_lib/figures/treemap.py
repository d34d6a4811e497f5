"""Taxa as nested rectangles whose areas are their numbers of images: kingdom, phylum, class, order.

Takes a catalog; returns a Figure. `lay_out` places the rectangles, without drawing.
"""

import matplotlib.colors
import numpy as np
import pandas as pd
import squarify
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.transforms import Bbox

from .. import RANKS
from .style import KINGDOM_COLOURS, OTHERS, PAGE_IN, colours_of, one_panel, say_empty, shorten, styled

DRAWN = RANKS[:4]
UNKNOWN = "not known"
_EDGES = {"kingdom": 3.0, "phylum": 1.8, "class": 1.0, "order": 0.4}  # line widths
_FONTS = {"phylum": ("bold", (8.5, 7.5, 6.5, 5.5)), "class": ("bold", (7, 6, 5)), "order": ("normal", (6.5, 5.75, 5))}
_PAD, _SLACK = 3.0, 1.06  # points around a label; what another resolution may add to its size


def lay_out(catalog: pd.DataFrame, width: float, height: float) -> pd.DataFrame:
    """Place the taxa of a catalog's usable images: a row a taxon of each rank of `DRAWN`, parents first."""
    kept = catalog[catalog["excluded"] == ""]
    rows = []

    def divide(images: pd.DataFrame, depth: int, box: dict[str, float]) -> None:
        counts = images.groupby(DRAWN[depth])["n"].sum().reset_index()
        counts = counts.sort_values(["n", DRAWN[depth]], ascending=[False, True])
        sizes = squarify.normalize_sizes(counts["n"].tolist(), box["dx"], box["dy"])
        boxes = squarify.squarify(sizes, **box)  # as square as may be (Bruls, Huizing & van Wijk 2000)
        for place, (name, n, part) in enumerate(zip(counts[DRAWN[depth]], counts["n"], boxes, strict=True)):
            below = images[images[DRAWN[depth]] == name]
            place_of = {"x": part["x"], "y": part["y"], "width": part["dx"], "height": part["dy"], "place": place}
            keys = {"rank": DRAWN[depth], "name": name, "kingdom": below[DRAWN[0]].iloc[0], "n_images": n}
            rows.append({**keys, **place_of})
            if depth + 1 < len(DRAWN):
                divide(below, depth + 1, part)

    if len(kept):
        counts = kept.groupby(list(DRAWN)).size().rename("n").reset_index()
        divide(counts, 0, {"x": 0.0, "y": 0.0, "dx": width, "dy": height})
    columns = ["rank", "name", "kingdom", "n_images", "x", "y", "width", "height", "place"]
    return pd.DataFrame(rows, columns=columns)


@styled
def plot_taxon_treemap(catalog: pd.DataFrame, *, ax: Axes | None = None) -> Figure:
    """Draw a catalog's usable images by taxon as nested rectangles, an area in proportion, a colour a kingdom.

    Ranks that all images share stand in the title; of the others a name is written where there is room for it.
    """
    fig, ax = one_panel(ax, PAGE_IN, 0.55 * PAGE_IN)
    kept = catalog[catalog["excluded"] == ""]
    if kept.empty:
        return say_empty(fig, "no usable image")
    shared = _shared_ranks(kept)
    ax.set_title(_title(kept, shared), loc="left")
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)
    kingdoms = kept["kingdom"].value_counts()
    colours = {"": OTHERS, **colours_of([name for name in kingdoms.index if name], KINGDOM_COLOURS)}
    if len(kingdoms) > 1:
        labels = [f"{shorten(name or UNKNOWN, 24)} ({n:,})" for name, n in kingdoms.items()]
        handles = [
            Patch(color=_tint(colours[name], 0.45), label=text)
            for name, text in zip(kingdoms.index, labels, strict=True)
        ]
        fig.legend(handles=handles, loc="outside lower left", ncols=4, handlelength=0.9)
    fig.draw_without_rendering()  # the layout decides the shape that is divided
    size = ax.get_window_extent().size * 72 / fig.dpi  # points
    ax.set(xlim=(0, size[0]), ylim=(size[1], 0))
    tiles = lay_out(kept, *size)
    _draw_tiles(ax, tiles, colours)
    _write_names(ax, tiles[~tiles["rank"].isin([*shared, "kingdom"])])
    return fig


def _shared_ranks(kept: pd.DataFrame) -> list[str]:
    """Return the ranks, from the kingdom on, in which all images are of one taxon."""
    shared = []
    for rank in DRAWN:
        if kept[rank].nunique() > 1 or not kept[rank].iloc[0]:
            break
        shared.append(rank)
    return shared


def _title(kept: pd.DataFrame, shared: list[str]) -> str:
    """Say what is drawn, and what all images share."""
    lineage = " › ".join(shorten(name, 24) for name in kept[shared].iloc[0]) if shared else ""
    n_orders = len(kept.loc[kept["order"] != "", list(DRAWN)].drop_duplicates())
    counts = f"{len(kept):,} image{'s' * (len(kept) > 1)} of {n_orders:,} order{'s' * (n_orders != 1)}"
    return f"{lineage}: {counts}" if lineage else counts[0].upper() + counts[1:]


def _draw_tiles(ax: Axes, tiles: pd.DataFrame, colours: dict[str, str]) -> None:
    """Draw the orders in tints of their kingdom's colour, then the borders, those of high ranks last and widest."""
    shade = 0.0
    for tile in tiles.itertuples():
        if tile.rank == "class":
            shade = 0.45 + 0.11 * (tile.place % 3)
        if tile.rank == "order":
            colour = _tint(colours[tile.kingdom], shade + (0.06 * (tile.place % 2)))
            box = Rectangle((tile.x, tile.y), tile.width, tile.height, facecolor=colour, gid="order")
            ax.add_patch(box)
    for rank in reversed(DRAWN):
        for tile in tiles[tiles["rank"] == rank].itertuples():
            edge = {"facecolor": "none", "edgecolor": "white", "linewidth": _EDGES[rank], "gid": f"edge of {rank}"}
            ax.add_patch(Rectangle((tile.x, tile.y), tile.width, tile.height, **edge))


def _tint(colour: str, share: float) -> tuple[float, float, float]:
    """Mix a colour with a share of white."""
    return tuple(share + (1 - share) * channel for channel in matplotlib.colors.to_rgb(colour))


def _write_names(ax: Axes, tiles: pd.DataFrame) -> None:
    """Write the names that fit, higher ranks and larger taxa first, each below those that stand in its corner."""
    taken: list[Bbox] = []
    orders = tiles[tiles["rank"] == "order"]
    tiles = tiles.assign(depth=tiles["rank"].map(DRAWN.index))
    for tile in tiles.sort_values(["depth", "n_images"], ascending=[True, False], kind="stable").itertuples():
        weight, sizes = _FONTS[tile.rank]
        if not tile.name or min(tile.width, tile.height) < sizes[-1]:
            continue
        if tile.rank == "order":
            words = (f"{tile.name}\n{tile.n_images:,}", tile.name)
            tries = [(text, size, angle, tile.width) for angle in (0, 90) for text in words for size in sizes]
        else:  # rather small than across the borders inside
            corner = orders.loc[np.isclose(orders["x"], tile.x) & np.isclose(orders["y"], tile.y), "width"].iloc[0]
            tries = [(tile.name, size, 0, corner) for size in sizes]
            tries += [(tile.name, size, 0, tile.width) for size in sizes[-2:]]
        text = ax.text(0, 0, "", va="top", ha="left", weight=weight, color="#202020", linespacing=1.05, gid=tile.rank)
        for words, size, angle, width in tries:
            text.set(text=words, fontsize=size, rotation=angle)
            room = Bbox.from_bounds(tile.x + _PAD, tile.y + _PAD, width - 1.5 * _PAD, tile.height - 1.5 * _PAD)
            box = _place(text.get_window_extent().size * 72 / text.figure.dpi * _SLACK, room, taken)
            if box is not None:
                break
        else:
            text.remove()
            continue
        text.set_position((box.x0, box.y0))
        taken.append(box)


def _place(size: np.ndarray, room: Bbox, taken: list[Bbox]) -> Bbox | None:
    """Return the topmost box of a size at the left of a room, below the boxes taken there; None if it has no place."""
    box = Bbox.from_bounds(room.x0, room.y0, *size)
    while box.x1 <= room.x1 and box.y1 <= room.y1:
        above = [other.y1 for other in taken if other.overlaps(box)]
        if not above:
            return box
        box = Bbox.from_bounds(room.x0, max(above) + 0.5, *size)
    return None
