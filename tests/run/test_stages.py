"""When a stage is up to date, and what of a run is missing or damaged."""

import json
import os
import shutil

import nbformat
import pytest

from bioclip_lib.config import load_config
from bioclip_lib.run import atomic, manifest, open_run, stages

IMPORTS = "from bioclip_lib import catalog, figures\nfrom bioclip_lib.config import load_config"
HEAD = "# A question?\n\n| | |\n| --- | --- |\n| Reads | `catalog.parquet`, `shards/` |\n| Writes | `a.csv` |"


@pytest.fixture
def notebook(tmp_path):
    cells = [nbformat.v4.new_markdown_cell(HEAD), nbformat.v4.new_code_cell(IMPORTS)]
    path = tmp_path / "03_training.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


@pytest.fixture
def run(tmp_path):
    run = open_run(tmp_path / "run", load_config("smoke"))
    begun = stages.begin(run.root)
    (run.shards / "train").mkdir(parents=True)
    (run.shards / "train" / "shard-000000.tar").write_bytes(b"tar")
    for path, text in ((run.catalog, "catalog"), (run.metrics_csv, "numbers")):
        with atomic(path) as tmp:
            tmp.write_text(text)
    stages.finish(run.root, stages.Stage("01_dataset_construction", {}, ()), begun)
    return run


def settings(**changed):
    return json.loads(json.dumps(load_config("smoke", changed).to_dict()))


def made(run, notebook, writes=("tables/a.csv",), **changed):
    """Let a stage write files, and end."""
    stage = stages.stage_of(notebook, settings(**changed), "data")
    begun = stages.begin(run.root)
    for name in writes:
        (run.root / name).parent.mkdir(exist_ok=True)
        (run.root / name).write_text(f"{name} made")
    stages.finish(run.root, stage, begun)
    return stage


def test_a_stage_is_up_to_date_until_something_of_it_changes(run, notebook):
    assert stages.stale(run.root, stages.stage_of(notebook, settings(), "data")) == ["never ended here"]
    stage = made(run, notebook)
    assert stages.stale(run.root, stages.stage_of(notebook, settings(), "data")) == []
    free = settings(**{"train.checkpoint_every_steps": 7, "train.other_code": "resume"})
    assert stages.stale(run.root, stages.stage_of(notebook, free, "data")) == []
    other = stages.stage_of(notebook, settings(**{"train.steps": 61}), "other photographs")
    assert stages.stale(run.root, other) == ["other settings (train.steps)", "other data"]
    changed = stage._replace(made_of={**stage.made_of, "code": {**stage.made_of["code"], "figures": "0"}})
    assert stages.stale(run.root, changed) == ["other code (figures)"]
    newer = stage._replace(made_of={**stage.made_of, "versions": {**stages.versions(), "torch": "2"}})
    assert stages.stale(run.root, newer) == ["other versions (torch)"]
    with atomic(run.catalog) as tmp:
        tmp.write_text("catalog")
    assert stages.stale(run.root, stage) == [], "the same content is the same input"
    with atomic(run.catalog) as tmp:
        tmp.write_text("another")
    assert stages.stale(run.root, stage) == ["other inputs (catalog.parquet)"]
    notebook.write_text(notebook.read_text().replace("A question", "Another"))
    assert "other notebook" in stages.stale(run.root, stages.stage_of(notebook, settings(), "data"))


def test_the_code_of_a_stage_is_what_it_imports_and_no_more():
    training = stages.code_digests(["bioclip_lib.training"])
    assert {"training", "model", "shards", "catalog", "run", "config"} <= set(training)
    assert not {"figures", "evaluation", "structure", "report", "reproduce"} & set(training)
    assert "figures" in stages.code_digests(["bioclip_lib.figures"])
    assert stages.code_digests(["numpy"]) == {}


def test_comments_and_docstrings_make_no_other_training(tmp_path, monkeypatch):
    shutil.copytree(stages.LIBRARY / "training", tmp_path / "training", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(stages, "LIBRARY", tmp_path)
    before, path = stages.code_without_comments(("training",)), tmp_path / "training" / "losses.py"
    path.write_text('"""Another docstring."""\n# and a comment\n' + path.read_text().split('"""', 2)[2])
    stages.code_without_comments.cache_clear()
    assert stages.code_without_comments(("training",)) == before
    path.write_text(path.read_text() + "\nSCALE = 2\n")
    stages.code_without_comments.cache_clear()
    assert stages.code_without_comments(("training",)) != before
    stages.code_without_comments.cache_clear()


def test_what_is_missing_or_damaged_is_named(run, notebook):
    made(run, notebook, ["tables/a.csv", "tables/b.csv", "tables/c.csv", "tables/d.csv", "x.log"])
    assert stages.damage(run.root) == {} == stages.damage(run.root, by_digest=True)
    a, b, c, d = (run.tables / f"{name}.csv" for name in "abcd")
    a.unlink()
    b.write_text("shorter")
    stat = c.stat()
    c.write_text(c.read_text().replace("made", "maDe"))
    os.utime(d, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))  # touched, the same bytes
    found = {"tables/a.csv": "missing", "tables/b.csv": "damaged or changed", "tables/c.csv": "damaged or changed"}
    assert stages.damage(run.root) == found
    os.utime(c, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # a bit that flips changes no time
    del found["tables/c.csv"]
    assert stages.damage(run.root) == found
    assert stages.damage(run.root, by_digest=True) == found | {"tables/c.csv": "damaged or changed"}
    stage = stages.stage_of(notebook, settings(), "data")
    assert stages.stale(run.root, stage) == []
    assert stages.stale(run.root, stage, {"tables/b.csv": "damaged"}) == ["tables/b.csv is damaged"]
    stages.give_up(run.root, stages.damage(run.root))
    a.write_text("made again by another stage")
    assert stages.stale(run.root, stage) == ["tables/a.csv is missing", "tables/b.csv is damaged or changed"]
    assert not b.exists() and d.exists()
    made(run, notebook, ["tables/a.csv", "tables/b.csv"])
    assert stages.stale(run.root, stage) == []


def test_what_was_changed_by_hand_is_set_aside_and_a_damaged_tar_is_not(run, notebook):
    made(run, notebook, ["notebooks/a.ipynb", "shards/b.tar"])
    for name in ("notebooks/a.ipynb", "shards/b.tar"):
        (run.root / name).write_text("a biologist's notes")
    kept = stages.give_up(run.root, stages.damage(run.root))
    assert list(kept) == ["notebooks/a.ipynb"] and kept["notebooks/a.ipynb"].read_text() == "a biologist's notes"
    assert not (run.root / "notebooks" / "a.ipynb").exists() and not (run.root / "shards" / "b.tar").exists()
    made(run, notebook, ["notebooks/a.ipynb", "shards/b.tar"])
    assert stages.damage(run.root) == {} and kept["notebooks/a.ipynb"].exists()


def test_a_folder_of_the_run_may_lie_on_another_disk_and_photographs_linked_there_are_not_read(run, notebook, tmp_path):
    os.rename(run.shards, tmp_path / "disk")
    run.shards.symlink_to(tmp_path / "disk")
    (run.root / "photographs").symlink_to(tmp_path)
    assert stages.damage(run.root) == {}
    made(run, notebook)
    assert stages.damage(run.root) == {} and "shards/train/shard-000000.tar" in manifest.read_manifest(run.root).files
    (tmp_path / "disk" / "train" / "shard-000000.tar").unlink()
    assert stages.damage(run.root) == {"shards/train/shard-000000.tar": "missing"}


def test_a_file_of_two_stages_belongs_to_both_and_that_of_nobody_to_none(run, notebook, tmp_path):
    made(run, notebook, ["tables/a.csv"])
    (run.root / "notes.txt").write_text("mine")
    second = shutil.copy(notebook, tmp_path / "04_zero_shot.ipynb")
    made(run, type(notebook)(second), ["tables/a.csv", "tables/e.csv"])
    owners = [name for name, fact in manifest.read_manifest(run.root).stages.items() if "tables/a.csv" in fact["files"]]
    assert owners == ["03_training", "04_zero_shot"]
    (run.root / "notes.txt").unlink()
    assert stages.damage(run.root) == {}


def test_a_cut_manifest_is_read_as_far_as_it_goes(run, notebook):
    made(run, notebook)
    path, stage = run.root / "manifest.jsonl", stages.stage_of(notebook, settings(), "data")
    whole = path.read_bytes()
    for n in (0, len(whole) // 3, len(whole) - 5):
        path.write_bytes(whole[:n])
        assert stages.stale(run.root, stage), n  # the line of the stage is the last
        with atomic(run.catalog) as tmp:
            tmp.write_text("catalog")
        assert stages.damage(run.root) == {}
    (run.root / "tables" / "a.csv").unlink()
    for place in range(0, len(whole), 97):  # no bit of it makes a traceback, nor a run whole that is not
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert stages.stale(run.root, stage, stages.damage(run.root)), place
    path.write_bytes(b"\xff[1]\nnull\n{}\n" + whole)
    assert stages.stale(run.root, stage) == []
