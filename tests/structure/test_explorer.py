"""The explorer: what is searched, marked and noted by hand; in a browser, what a lasso takes and what a point shows."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from matplotlib.path import Path as Polygon

from bioclip_lib import RANKS, catalog, shards
from bioclip_lib.catalog.table import COLUMNS
from bioclip_lib.config import ShardConfig, load_config
from bioclip_lib.errors import InputError
from bioclip_lib.model.features import FeatureTable, write_features
from bioclip_lib.run import REPOSITORY, file_sha256, open_run
from bioclip_lib.structure import explore
from bioclip_lib.workers import BARS

CHROMIUM = Path("/usr/bin/chromium")
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
    assert view.search("Site 1").shape[0] == 20
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


# In JupyterLab

FIRST = """
import pandas as pd
from bioclip_lib import structure
from bioclip_lib.model.features import FeatureTable, read_features
from bioclip_lib.run import Run
placed = pd.read_csv("placed.csv", keep_default_na=False, dtype={"image_id": str}).set_index("image_id")
tables = {name: FeatureTable(*read_features(f"{name}.parquet")[:2]) for name in "ab"}
view = structure.explore(Run("run"), placed, tables)
view
"""
SECOND = """
import json, pathlib
pathlib.Path("marked.json").write_text(json.dumps(list(view.selected().index)))
"""


@pytest.fixture
def lab(made):
    """The address of a JupyterLab on the run."""
    cells = [nbformat.v4.new_code_cell(source) for source in (FIRST, SECOND)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), made[0] / "explore.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {f"JUPYTER{name}": str(made[0] / "jupyter") for name in ("_CONFIG_DIR", "_DATA_DIR", "LAB_SETTINGS_DIR")}
    options = ["--no-browser", "--allow-root", "--IdentityProvider.token=", "--expose-app-in-browser"]
    command = [sys.executable, "-m", "jupyterlab", f"--port={port}", f"--ServerApp.root_dir={made[0]}", *options]
    environment = {name: value for name, value in os.environ.items() if name != BARS} | own
    environment["PYTHONPATH"] = str(REPOSITORY)
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/api", timeout=5)
                break
            except OSError:
                time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait()


def on_screen(placed, canvas):
    """Where the points of the first map lie on the screen, in pixels (n, 2): its height holds -1 to 1."""
    at = []
    for axis, sign, side in (("x", 1, "width"), ("y", -1, "height")):
        values = placed[f"a_{axis}"].to_numpy(float)
        unit = 2 * (values - values.min()) / (values.max() - values.min()) - 1
        at.append(canvas[axis] + canvas[side] / 2 + sign * unit * canvas["height"] / 2)
    return np.stack(at, axis=1)


def circle(canvas):
    """A ring around the middle of a map, in pixels."""
    angle = np.linspace(0, 2 * np.pi, 60)
    middle = [canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2]
    return middle + 100 * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def draw_lasso(page, canvas):
    """Press, wait, move in many steps, as a hand does."""
    first, *others = circle(canvas)
    page.mouse.move(*first)
    page.mouse.down()
    page.wait_for_timeout(300)
    for point in others:
        page.mouse.move(*point)
        page.wait_for_timeout(20)
    page.mouse.up()


def wait_for_json(page, path):
    for _ in range(240):
        if path.is_file():
            return json.loads(path.read_text())
        page.wait_for_timeout(500)
    raise AssertionError(f"{path.name} was not written")


def test_a_browser_shows_photographs_and_a_lasso_is_a_table(made, lab, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    software = "--no-sandbox --use-angle=swiftshader --enable-unsafe-swiftshader --ignore-gpu-blocklist"
    with playwright.sync_playwright() as started:
        arguments = [*software.split(), "--disable-background-networking"]
        browser = started.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page, asked = browser.new_page(viewport={"width": 1300, "height": 1000}), []
        page.set_default_timeout(240_000)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{lab}/lab/tree/explore.ipynb")
        page.wait_for_function("window.jupyterapp && document.querySelector('.jp-Notebook .jp-Cell')")
        page.evaluate("window.jupyterapp.commands.execute('notebook:run-cell-and-select-next')")
        page.locator("canvas").nth(1).wait_for()
        page.wait_for_timeout(3_000)
        canvas = page.locator("canvas").first.bounding_box()
        at = on_screen(made[2], canvas)
        draw_lasso(page, canvas)
        page.get_by_text(re.compile(r"^\d+ marked$")).wait_for()
        page.mouse.move(*at[0])  # rest the mouse before anything is asserted
        page.locator("[style*='data:image/jpeg']").first.wait_for(state="attached")
        page.screenshot(path=tmp_path / "explorer.png")
        page.evaluate("window.jupyterapp.commands.execute('notebook:run-cell-and-select-next')")
        marked = wait_for_json(page, made[0] / "marked.json")
        browser.close()
    inside = Polygon(circle(canvas)).contains_points(at)
    assert sorted(marked) == sorted(made[2].index[inside]) and 0 < inside.sum() < 60
    assert not [url for url in asked if not url.startswith((lab, "data:", "blob:", lab.replace("http", "ws")))]
