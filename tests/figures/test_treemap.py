"""The treemap: areas are counts, rectangles fill their parents, names stand whole within their own rectangle."""

import functools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.transforms import Bbox

from bioclip_lib import RANKS, figures
from bioclip_lib.config import SyntheticConfig
from bioclip_lib.figures import style
from bioclip_lib.figures.treemap import DRAWN, UNKNOWN, lay_out
from bioclip_lib.sources.synthetic.tree import grow_tree


def images(*rows: tuple[str, int]) -> pd.DataFrame:
    """Build counts of ("kingdom phylum class order", n) rows; - stands for an unknown rank."""
    taxa = [[*name.replace("-", "").split(" "), n] for name, n in rows]
    return pd.DataFrame(taxa, columns=[*DRAWN, "n_images"])


def synthetic_images() -> pd.DataFrame:
    taxa = grow_tree(SyntheticConfig()).taxa
    return taxa[[*RANKS, "n_images"]]


def rare_species() -> pd.DataFrame:
    path = Path(__file__).resolve().parents[3] / "shared" / "annotations" / "rare_species.csv"
    if not path.is_file():
        pytest.skip(f"the table of Rare Species is looked for in {path}; not there")
    table = pd.read_csv(path, dtype=str, keep_default_na=False).drop(columns="class").rename(columns={"cls": "class"})
    return table[list(RANKS)].assign(n_images=1)


BIRDS = images(
    ("Animalia Chordata Aves Passeriformes", 126),
    *(
        (f"Animalia Chordata Aves {order}", n)
        for n, order in enumerate(["Piciformes", "Caprimulgiformes", "Gaviidae"], 2)
    ),
)
SETS = {
    "birds": lambda: BIRDS,
    "synthetic": synthetic_images,
    "rare species": rare_species,
    "mixed": lambda: pd.concat(
        [rare_species(), synthetic_images(), BIRDS, images(("- - - -", 900), ("Fungi - - -", 9))]
    ),
}


def kingdoms(sizes, width, height):
    """Place kingdoms of these sizes; (n, 4): x, y, width, height."""
    table = images(*((f"K{i:03d} - - -", n) for i, n in enumerate(sizes)))
    tiles = lay_out(table, width, height)
    return tiles.loc[tiles["rank"] == "kingdom", ["x", "y", "width", "height"]].to_numpy()


@settings(max_examples=30)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=20), st.floats(0.05, 20), st.floats(0.1, 9))
def test_tiles_are_proportional_disjoint_and_fill_the_box(sizes, width, height):
    sizes = np.sort(sizes)[::-1]
    boxes = kingdoms(sizes, width, height)
    assert boxes[:, 2] * boxes[:, 3] == pytest.approx(sizes / sizes.sum() * width * height, rel=1e-6)
    left, top, right, bottom = boxes[:, 0], boxes[:, 1], boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]
    slack = 1e-9 * max(width, height)
    assert left.min() >= -slack and right.max() <= width + slack
    assert top.min() >= -slack and bottom.max() <= height + slack
    across = np.minimum.outer(right, right) - np.maximum.outer(left, left)
    down = np.minimum.outer(bottom, bottom) - np.maximum.outer(top, top)
    assert not ((across > slack) & (down > slack) & ~np.eye(len(sizes), dtype=bool)).any()


def test_the_published_example_is_squarified():
    # Bruls, Huizing & van Wijk 2000, figure 4: 6 6 4 3 2 2 1 in a box of 6 x 4
    boxes = kingdoms([6, 6, 4, 3, 2, 2, 1], 6, 4)
    assert boxes[:2, 2:] == pytest.approx(np.array([[3, 2], [3, 2]]))
    assert boxes[2:4, 2:] == pytest.approx(np.array([[12 / 7, 7 / 3], [9 / 7, 7 / 3]]))


def test_tiles_by_hand():
    table = images(("A B C D", 2), ("A B C D", 3), ("A B C E", 2), ("F G - -", 8))
    tiles = lay_out(table, 15, 10)
    assert tiles[["rank", "name", "n_images"]].to_numpy().tolist() == [
        *(["kingdom", "F", 8], ["phylum", "G", 8], ["class", "", 8], ["order", "", 8]),
        *(["kingdom", "A", 7], ["phylum", "B", 7], ["class", "C", 7], ["order", "D", 5], ["order", "E", 2]),
    ]
    assert (tiles["width"] * tiles["height"]).to_numpy() == pytest.approx((tiles["n_images"] * 10).to_numpy())
    assert set(tiles.loc[:3, "x"]) == {0} and tiles.loc[4:, "x"].min() == pytest.approx(8)


@functools.cache
def drawn(name):
    """Draw a set once for all that look at it."""
    table = SETS[name]()
    return table, figures.plot_taxon_treemap(table)


@pytest.mark.parametrize("name", SETS)
def test_the_drawn_areas_are_the_counts(name):
    table, fig = drawn(name)
    boxes = [p for p in fig.axes[0].patches if p.get_gid() == "order"]
    areas = sorted(box.get_width() * box.get_height() for box in boxes)
    counts = np.sort(table.groupby(list(DRAWN))["n_images"].sum())
    assert areas == pytest.approx(counts * sum(areas) / counts.sum())


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("smoke", [False, True])
def test_names_stand_within_their_rectangle_and_apart(name, smoke):
    table, fig = drawn(name)
    if smoke:
        style.mark_smoke(fig)
    fig.canvas.draw()
    (ax,) = fig.axes
    size = (ax.get_xlim()[1], ax.get_ylim()[0])
    tiles = lay_out(table, *size)
    texts = [text for text in ax.texts if text.get_visible()]
    assert len(texts) >= min(4, tiles.query("rank == 'order'")["name"].nunique())
    to_pt = ax.transData.inverted()
    boxes = []
    for text in texts:
        (x0, y1), (x1, y0) = to_pt.transform(text.get_window_extent().get_points())
        boxes.append(Bbox([[x0, y0], [x1, y1]]))
        said = text.get_text().split("\n")[0].replace(UNKNOWN, "")
        mine = tiles[(tiles["rank"] == text.get_gid()) & (tiles["name"] == said)]
        inside = (mine["x"] <= x0) & (mine["y"] <= y0 + 0.5) & (x1 <= mine["x"] + mine["width"])
        assert (inside & (y1 <= mine["y"] + mine["height"])).any(), text
        assert text.get_fontsize() >= style.SMALLEST_PT
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


def test_the_title_tells_what_all_share_and_the_legend_the_kingdoms():
    fig = figures.plot_taxon_treemap(BIRDS)
    assert fig.axes[0].get_title(loc="left") == "Animalia › Chordata › Aves: 135 images of 4 orders" and not fig.legends
    fig = figures.plot_taxon_treemap(images(("Animalia A B C", 3), ("- - - -", 2), ("Fungi D E -", 1)))
    of_orders = [text.get_text() for text in fig.axes[0].texts if text.get_gid() == "order"]
    assert of_orders == ["C\n3", "not known\n2", "not known\n1"]  # no box is without a label
    assert fig.axes[0].get_title(loc="left") == "6 images of 1 order"
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["Animalia (3)", "not known (2)", "Fungi (1)"]
    fig = figures.plot_taxon_treemap(BIRDS.iloc[:0])
    assert [t.get_text() for t in fig.axes[0].texts] == ["no usable image"]


@pytest.mark.parametrize("name", ["$\\bad{$", "a$b$c", "W" * 10_000, "<b>\n&"])
def test_any_name_is_drawn_as_text(name, recwarn):
    table = images(("Animalia - - -", 3), ("Plantae - - -", 2)).assign(source="s", class_key=list("xy"), split="train")
    for odd in (table.replace("Animalia", name), table.assign(kingdom=name, phylum=name), table.assign(source=name)):
        for fig in (figures.plot_taxon_treemap(odd), figures.plot_taxon_counts(odd)):
            fig.canvas.draw()
    assert not [str(w.message) for w in recwarn if "layout" in str(w.message)]


def test_a_long_title_is_broken_at_a_columns_width():
    with figures.with_style(width_mm=85):
        fig = figures.plot_taxon_treemap(
            images(("Plantae Streptophyta Magnoliopsida A", 700), ("Plantae Streptophyta Magnoliopsida B", 9))
        )
    title = fig.axes[0]._left_title
    assert "\n" in title.get_text() and title.get_window_extent().x1 < fig.bbox.width
