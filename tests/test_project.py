"""The repository's own promises: one set of pins, notebooks to the style, nothing committed that should not be."""

import ast
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from bioclip_lib import figures
from bioclip_lib.evaluation import metrics
from bioclip_lib.figures.tables import headline_table
from bioclip_lib.reproduce.readme import RESULTS_CSV
from bioclip_lib.run import REPOSITORY

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))


def pins(path: Path) -> set[str]:
    return {line.strip(" -") for line in path.read_text().splitlines() if re.match(r"\s*-?\s*[\w-]+==", line)}


def test_conda_and_pip_users_get_the_same_pins():
    wanted = pins(REPOSITORY / "requirements.txt") | pins(REPOSITORY / "requirements-dev.txt")
    assert pins(REPOSITORY / "environment.yml") == wanted
    constrained = {line.split(" ;")[0].lower().replace("_", "-") for line in pins(REPOSITORY / "constraints.txt")}
    assert {pin.lower().replace("_", "-") for pin in wanted} <= constrained


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_anatomy(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    prose = [c for c in notebook.cells if c.cell_type == "markdown"]
    assert 15 <= len(notebook.cells) <= 30
    assert len(prose) >= len(code)
    lengths = [c.source.count("\n") + 1 for c in code]
    assert statistics.median(lengths) < 8 and max(lengths) <= 25
    headings = [line for c in prose for line in c.source.splitlines() if line.startswith("#")]
    assert headings[0].startswith("# ") and prose[0] is notebook.cells[0]
    assert sum(line.startswith("# ") for line in headings) == 1
    assert {"## Checks", "## What we learned"} <= set(headings)
    for word in ("Reads", "Writes", "mini", "Expected"):
        assert word in notebook.cells[0].source, word


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_cells_are_narrative_calls_and_looks(path):
    notebook = nbformat.read(path, as_version=4)
    tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    for node in ast.parse(tagged[0].source).body:
        assert isinstance(node, ast.Assign) and ast.literal_eval(node.value) is not None
    for cell in (c for c in notebook.cells if c.cell_type == "code"):
        assert not cell.outputs and cell.execution_count is None
        assert not re.search(r"^\s*[%!]|sys\.path|filterwarnings\(.ignore.\)", cell.source, re.M)
        assert not re.search(r"""["']/(?!/)\w+/""", cell.source), "an absolute path"
        assert ".to_csv(" not in cell.source, "files.write_csv writes whole files, in which no name is a formula"
        tree = ast.parse(cell.source)
        assert not [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)]


def test_readme_shows_the_results_that_are_committed():
    results = metrics.read_metrics(RESULTS_CSV)
    assert figures.results_table(results) in (REPOSITORY / "docs" / "results.md").read_text(encoding="utf-8")
    assert headline_table(results) in (REPOSITORY / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("stem", ["05_few_shot", "07_embedding_maps", "08_hierarchy_probes"])
def test_further_models_are_asked_wherever_images_alone_are_needed(stem):
    source = (REPOSITORY / "notebooks" / f"{stem}.ipynb").read_text()
    assert "load_few_shot(run, config)" in source or "*config.evaluate.models" in source


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "README.md"])
def test_files_that_a_page_names_are_there(page):
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    for path in re.findall(r"`((?:bioclip_lib|speed|tests|notebooks|data)/[\w/.]+)`", text):
        assert (REPOSITORY / path).exists(), f"{page} names {path}"


def test_the_tree_of_the_readme_is_that_of_the_library():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8").partition("## What is where")[2].split("```")[1]
    shown = {name.rstrip("/") for name in re.findall(r"^  (\w+/?) ", text, re.M)}
    there = {
        p.stem for p in (REPOSITORY / "bioclip_lib").iterdir() if (p / "__init__.py").is_file() or p.suffix == ".py"
    }
    assert shown == there - {"__init__", "__main__", "errors"}


PACKAGES = sorted(path.parent for path in (REPOSITORY / "bioclip_lib").rglob("__init__.py"))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_the_face_of_a_package_names_its_modules(package):
    face = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8")))
    there = {p.stem for p in package.iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    assert not {name for name in there if name[0] != "_"} - set(re.findall(r"`(\w+)", face))


@pytest.mark.parametrize(("given", "wanted"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_threads_that_wait_do_not_spin_unless_the_user_says_so(given, wanted):
    kept = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    code = "import bioclip_lib, os; print(os.environ['OMP_WAIT_POLICY'])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=kept | given, cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == wanted
