"""The explorer in a browser: what a lasso takes is what lies inside it, and a point shows its photograph."""

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
import pytest
from matplotlib.path import Path as Polygon

from bioclip_lib.run import REPOSITORY
from bioclip_lib.run.workers import BARS
from tests.structure.test_explorer import made  # noqa: F401, a fixture

CHROMIUM = Path("/usr/bin/chromium")
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
def lab(made):  # noqa: F811
    """The address of a JupyterLab on the run; skipped where there is no browser."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
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


def circle(canvas, at):
    """A closed ring around the middle of a map, in pixels, from two pixels beyond a point on: a click marks that."""
    middle = np.array([canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2])
    x, y = (at - middle)[np.abs(np.linalg.norm(at - middle, axis=1) - 100).argmin()]
    angle = np.arctan2(y, x) + np.linspace(0, 2 * np.pi, 60)
    return middle + (np.hypot(x, y) + 2) * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def draw_lasso(page, ring):
    """Press, wait, move in many steps, as a hand does."""
    first, *others = ring
    page.mouse.move(*first)
    page.mouse.down()
    page.wait_for_timeout(300)
    for point in others:
        page.mouse.move(*point)
        page.wait_for_timeout(20)
    page.mouse.up()


def run_command(page, name):
    """Give JupyterLab a command without waiting for what it starts."""
    page.evaluate(f"() => {{ window.jupyterapp.commands.execute('{name}'); }}")


def wait_for_json(page, path):
    for _ in range(240):
        if path.is_file():
            return json.loads(path.read_text())
        page.wait_for_timeout(500)
    raise AssertionError(f"{path.name} was not written")


def test_a_browser_shows_photographs_and_a_lasso_is_a_table(made, lab, tmp_path):  # noqa: F811
    software = "--no-sandbox --use-angle=swiftshader --enable-unsafe-swiftshader --ignore-gpu-blocklist"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        arguments = [*software.split(), "--disable-background-networking"]
        browser = started.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page, asked = browser.new_page(viewport={"width": 1300, "height": 1000}), []
        page.set_default_timeout(60_000)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{lab}/lab/tree/explore.ipynb")
        page.get_by_text("| Idle").wait_for()
        run_command(page, "notebook:run-cell")
        page.locator("canvas").nth(1).wait_for()
        page.wait_for_timeout(3_000)
        canvas = page.locator("canvas").first.bounding_box()
        at = on_screen(made[2], canvas)
        ring = circle(canvas, at)
        draw_lasso(page, ring)
        page.get_by_text(re.compile(r"^[1-9]\d* marked$")).wait_for()
        inside = Polygon(ring).contains_points(at)
        page.mouse.move(*at[inside][0] + 2)
        page.mouse.move(*at[inside][0], steps=4)  # then the mouse rests, before anything is asserted
        page.locator("[style*='data:image/jpeg']").first.wait_for(state="attached")
        page.screenshot(path=tmp_path / "explorer.png")
        run_command(page, "notebook:move-cursor-down")
        run_command(page, "notebook:run-cell")
        marked = wait_for_json(page, made[0] / "marked.json")
        browser.close()
    assert sorted(marked) == sorted(made[2].index[inside]) and 0 < inside.sum() < 60
    assert not [url for url in asked if not url.startswith((lab, "data:", "blob:", lab.replace("http", "ws")))]
