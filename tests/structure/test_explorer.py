"""The explorer: what is searched, marked and noted by hand; in a browser, what a lasso takes and what a point shows."""

import numpy as np
import pandas as pd
import pytest

from bioclip_lib import RANKS, catalog, shards
from bioclip_lib.catalog.table import COLUMNS
from bioclip_lib.config import ShardConfig, load_config
from bioclip_lib.errors import InputError
from bioclip_lib.model.features import FeatureTable, write_features
from bioclip_lib.run import file_sha256, open_run
from bioclip_lib.run.workers import BARS
from bioclip_lib.structure import explore

NAMES = ["Parus major", "Parus ater", "Acer rubrum"]


@pytest.fixture(scope="module")
def made(tmp_path_factory, write_image):
    """A run of 3 x 20 photographs, a map and features of two models, and what one of them named."""
    folder = tmp_path_factory.mktemp("explorer")
    run = open_run(folder / "run", load_config("photos", {"data.photos": str(folder)}))
    rows = []
    for i in range(60):
        path = write_image(folder / "images" / f"{i}.jpg", seed=i)
        genus, species = NAMES[i // 20].split()
        rows.append({"image_id": f"{i:016x}", "source_id": f"Site_{i % 3}/{i}.jpg", "location": str(path)})
        rows[-1] |= {"genus": genus, "species": species, "class_key": NAMES[i // 20], "split": "test"}
    table = pd.DataFrame(rows).reindex(columns=COLUMNS, fill_value="")
    table = table.assign(kingdom="A", source="set", verbatim_name=table["class_key"], width=40, height=30)
    table = table.assign(name_status="accepted", sha256=table["location"].map(file_sha256))
    catalog.write_catalog(table, run.catalog)
    shards.write_shards(table, run.shards, ShardConfig(image_size_px=30))
    run.tables.mkdir()
    named = table["class_key"].where(table.index != 0, "Parus ater")
    said = table[["image_id", "class_key"]].assign(model="trained", predicted=named, confidence=0.25)
    said.to_csv(run.tables / "zero_shot_predictions.csv", index=False)
    xy = np.random.default_rng(0).uniform(-1, 1, (60, 4)).astype(np.float32)
    placed = table.set_index("image_id")[[*RANKS, "split"]]
    placed = placed.assign(**dict(zip(("a_x", "a_y", "b_x", "b_y"), xy.T, strict=True)))
    placed.to_csv(folder / "placed.csv")
    angle = np.linspace(0, 2, 60)
    values = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    tables = {name: FeatureTable(list(table["image_id"]), values) for name in "ab"}
    for name in "ab":
        write_features(folder / f"{name}.parquet", list(table["image_id"]), values, "m", "p")
    return folder, run, placed, tables


def test_names_are_searched_before_descriptions(made):
    _, run, placed, tables = made
    view = explore(run, placed, tables, {"a": lambda texts: np.array([[1.0, 0.0]] * len(texts))})
    assert view.search("parus").shape[0] == 40 and view.search("ACER  rubrum").index.tolist() == list(placed.index[40:])
    assert view.search("Site 1").shape[0] == view.search("Site_1/").shape[0] == 20
    found = view.search("something white", n=3)
    assert found.index.tolist() == list(placed.index[:3]) and found["cosine"].is_monotonic_decreasing
    assert view.selected().index.tolist() == list(placed.index[:3])
    assert view.search("").empty and view.selected().empty
    with pytest.raises(InputError, match="give a part of a name"):
        explore(run, placed, tables).search("white")


def test_what_is_noted_is_kept_once(made):
    _, run, placed, tables = made
    view = explore(run, placed, tables)
    view.select([placed.index[3], placed.index[1], "unknown"])
    view.relabel("Parus ater")
    assert view.relabel("", [placed.index[3]]).to_numpy().tolist() == [
        [placed.index[1], "Parus ater"],
        [placed.index[3], ""],
    ]


def test_what_stands_beside_a_point_is_asked_of_python(made):
    _, run, placed, tables = made
    view = explore(run, placed, tables)
    view.widget()
    widget, sent = view.scatters[1].widget, []
    widget.send = sent.append
    widget._handle_custom_msg({"type": "tooltip", "index": 0, "properties": ["label", "named", "nearest"]}, [])
    assert sent[0]["preview"].startswith("data:image/jpeg;base64,") and sent[0]["index"] == 0
    near = ", ".join(["Parus major"] * 5)
    assert sent[0]["properties"] == {"label": "Parus major", "named": "Parus ater", "nearest": near}
    view.select(placed.index[[5, 7]])
    assert [scatter.widget.selection.tolist() for scatter in view.scatters] == [[5, 7], [5, 7]]
    assert "2 marked" in view.box.children[1].value and view.box.children[3].value.count("<img") == 2
    assert view.colourings() == ["genus", "species", "label", "named", "right"]
    assert view.colour_column("label").categories.tolist() == [*NAMES, "other"]


def test_a_figure_stands_in_its_place_where_no_widget_runs(made, monkeypatch, capsys):
    _, run, placed, tables = made
    monkeypatch.setenv(BARS, "1")
    explore(run, placed, tables, instead="the figure")._ipython_display_()
    assert "the figure" in capsys.readouterr().out


def test_photographs_that_are_gone_have_no_picture(made):
    _, run, placed, tables = made
    away = run.shards.rename(run.root / "away")
    try:
        assert "no picture" in explore(run, placed, tables).photographs([0])
    finally:
        away.rename(run.shards)
