"""Long work goes on where it was killed, and from nothing that is not its own."""

import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from bioclip_lib import taxonomy
from bioclip_lib.catalog import duplicates
from bioclip_lib.config import ModelConfig
from bioclip_lib.model import build_model, encode_images, features
from bioclip_lib.model.encode import image_rows
from bioclip_lib.run import in_parts, parts, stages
from bioclip_lib.sources.folders import read_image_folder
from bioclip_lib.taxonomy import backbone, resolution

NAMES = [f"{genus} {epithet}" for genus in ("Aus", "Bus") for epithet in ("albus", "ater", "niger", "ruber", "viridis")]
CODE = "bioclip_lib.run.workers"
RESOLVED = 9
RESOLVE = f"""
import os, sys
from pathlib import Path
from bioclip_lib.taxonomy import backbone, resolution
folder, names = Path(sys.argv[1]), sys.argv[2:]
resolution._AT_ONCE, decide = 4, resolution._decide
resolution._decide = lambda pairs, known: os._exit({RESOLVED}) if pairs[0][0] == names[8] else decide(pairs, known)
resolution.resolve(names, [backbone.open_checklist(folder / "taxa.tsv")], keep=folder / "kept")
"""


def killed(work, n_parts: int) -> None:
    """Do work in another process, which SIGKILL ends as soon as so many parts are kept."""
    child = os.fork()
    if not child:
        torch.set_num_threads(1)
        write, kept = parts._write, []

        def last(path, rows):
            write(path, rows)
            kept.append(path)
            if len(kept) == n_parts:
                os.kill(os.getpid(), signal.SIGKILL)

        parts._write = last
        try:
            work()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.fixture
def checklist(tmp_path):
    rows = [f"{i}\t\taccepted\tspecies\t{name}\n" for i, name in enumerate(NAMES)]
    (tmp_path / "taxa.tsv").write_text("ID\tparentID\tstatus\trank\tscientificName\n" + "".join(rows))
    return backbone.open_checklist(tmp_path / "taxa.tsv")


@pytest.fixture
def inspection(image_folder):
    raw = read_image_folder(image_folder)
    return lambda keep=None: duplicates.inspect_images(raw, keep=keep), "_inspect", len(raw)


@pytest.fixture
def details(image_folder):
    raw = read_image_folder(image_folder).assign(image_id=lambda table: table["source_id"])
    return lambda keep=None: duplicates.describe_images(raw, keep), "_details_of", len(raw)


@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("stage", ["inspection", "details"])
def test_images_that_were_read_are_not_read_again_after_a_kill(request, tmp_path, monkeypatch, stage):
    work, function, n = request.getfixturevalue(stage)
    whole, read, asked = work(), getattr(duplicates, function), []
    monkeypatch.setattr(duplicates, "AT_ONCE", 3)
    killed(lambda: work(tmp_path), n_parts=2)
    monkeypatch.setattr(duplicates, function, lambda item: asked.append(item[0]) or read(item))
    pd.testing.assert_frame_equal(work(tmp_path), whole)
    assert len(asked) == n - 6
    pd.testing.assert_frame_equal(work(tmp_path), whole)
    assert len(asked) == n - 6, "a stage that is killed later finds all of it"


def test_names_that_were_resolved_are_not_resolved_again_after_a_kill(tmp_path, monkeypatch, checklist):
    names = [*NAMES, "Aus sp.", "blob 7", "Cus dus", "Bus nigr"]
    whole, decide, asked = taxonomy.resolve(names, [checklist]), resolution._decide, []
    monkeypatch.setattr(resolution, "_AT_ONCE", 4)
    command = [sys.executable, "-c", RESOLVE, str(tmp_path), *names]  # the parser of names survives no fork
    assert subprocess.run(command, check=False).returncode == RESOLVED
    monkeypatch.setattr(resolution, "_decide", lambda pairs, known: asked.extend(pairs) or decide(pairs, known))
    pd.testing.assert_frame_equal(taxonomy.resolve(names, [checklist], keep=tmp_path / "kept"), whole)
    assert [text for text, _ in asked] == names[8:]
    (tmp_path / "taxa.tsv").write_text(
        "ID\tparentID\tstatus\trank\tscientificName\n1\t\taccepted\tspecies\tAus albus\n"
    )
    other = backbone.open_checklist(tmp_path / "taxa.tsv")
    found = taxonomy.resolve(names, [other], keep=tmp_path / "kept")
    assert found["rank"].tolist() == taxonomy.resolve(names, [other])["rank"].tolist(), "of another backbone"
    assert found["rank"].tolist() != whole["rank"].tolist()


@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_features_that_were_computed_are_not_computed_again_after_a_kill(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "_AT_ONCE", 4)
    clip, images = build_model(ModelConfig()), np.random.default_rng(0).integers(0, 256, (11, 48, 48, 3), np.uint8)
    path, digests, asked = tmp_path / "a.parquet", {"model_digest": "m", "preprocess_digest": "p"}, []
    rows = image_rows(clip, lambda: images, 2, "fp32")
    ids = [str(i) for i in range(11)]
    killed(lambda: features.image_features(path, ids, digests, rows, 2), n_parts=2)
    assert not path.exists()
    counted = lambda places: asked.extend(places) or rows(places)  # noqa: E731
    found = features.image_features(path, ids, digests, counted, 2)
    assert asked == [8, 9, 10]
    assert (found == encode_images(clip, images, batch_size=2, precision="fp32")).all()
    assert [p.name for p in tmp_path.iterdir()] == ["a.parquet"]


def test_a_part_is_of_its_items_its_code_and_its_bytes_alone(tmp_path, monkeypatch):
    asked = []

    def compute(items):
        asked.extend(items)
        return ([item, str(item)] for item in items)

    def work(items, made_of=""):
        asked.clear()
        assert list(in_parts(tmp_path, items, compute, 3, CODE, made_of)) == [[i, str(i)] for i in items]
        return list(asked)

    assert work(range(8)) == list(range(8))
    assert work(range(8)) == []
    assert work([*range(7), 9]) == [6, 9], "what changed, and no more"
    assert len(list(tmp_path.iterdir())) == 3, "parts of other items are thrown away"
    damaged = sorted(tmp_path.iterdir())[0]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    assert len(work([*range(7), 9])) in (2, 3)
    assert work([*range(7), 9], made_of="another") == [*range(7), 9]
    monkeypatch.setattr(parts, "code_digests", lambda _: "other code")
    assert work([*range(7), 9], made_of="another") == [*range(7), 9]


def test_a_little_work_and_work_without_a_folder_keep_nothing(tmp_path):
    for folder, n in ((None, 9), (tmp_path / "a", 3)):
        assert list(in_parts(folder, range(n), iter, 3, CODE)) == list(range(n))
    assert not list(tmp_path.iterdir())


def test_a_stage_that_has_ended_leaves_no_parts(tmp_path):
    (tmp_path / "manifest.jsonl").touch()
    begun = stages.begin(tmp_path)
    list(in_parts(tmp_path / ".parts" / "a", range(9), iter, 3, CODE))
    stages.finish(tmp_path, stages.Stage("01", {}, ()), begun)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.jsonl"]
