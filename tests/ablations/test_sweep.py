"""The sweep over tiny worlds: kept, gone on with, equal, and a failing cell that leaves the others."""

import multiprocessing
import os

import numpy as np
import pandas as pd
import pytest

from bioclip_lib import ablations
from bioclip_lib.ablations import Cell, sweep
from bioclip_lib.ablations.data import HALF_IMAGES, PARTS, _changed, kept_rows
from bioclip_lib.config import load_config
from bioclip_lib.run import Run, stages
from bioclip_lib.training import TrainData

TINY = {
    "data.synthetic.n_species": 12, "data.synthetic.n_images": 144, "data.synthetic.image_size_px": 16,
    "split.heldout_fraction": 0.34, "shards.image_size_px": 16, "model.image_size_px": 16,
    "model.vision_layers": 1, "model.vision_width": 32, "model.text_width": 32, "model.embed_dim": 16,
    "train.batch_size": 16, "train.warmup_steps": 1,
}  # fmt: skip
SHORT = {"data.synthetic.n_images": 144, "train.steps": 3, "train.batch_size": 16}
GOOD = Cell("mixture", 0, SHORT)
BROKEN = Cell("too fast", 0, {**SHORT, "train.lr": 1e30})


class Deadly(Cell):
    """A cell that ends the process that trains it."""

    def config(self, config):
        if multiprocessing.parent_process():
            os._exit(9)
        return super().config(config)


@pytest.fixture(scope="module")
def config():
    return load_config("smoke", TINY)


@pytest.fixture(scope="module")
def grid(tmp_path_factory, config):
    run = Run(tmp_path_factory.mktemp("sweep"))
    return run, *ablations.run_grid(run, config, [BROKEN, GOOD], workers=1)


def kept(run):
    return {path: path.stat().st_mtime_ns for path in (run.root / "ablations").glob("*.parquet")}


def test_a_failing_cell_leaves_the_others_and_is_listed(grid):
    _, scores, failed = grid
    assert failed[["recipe", "seed"]].values.tolist() == [["too fast", 0]]
    assert "lower train.lr" in failed["why"][0]
    assert set(scores["recipe"]) == {"mixture"}
    assert {"zero_shot/seen", "zero_shot/unseen/taxon", "few_shot/1/unseen", "hierarchy/unseen"} <= set(scores["task"])


def test_so_does_a_cell_without_the_model_that_it_starts_from(grid, config):
    run, _, _ = grid
    start = {"model.name": f"local-dir:{run.model}", "train.freeze_image_tower": True}
    scores, failed = ablations.run_grid(run, config, [Cell("frozen", 0, SHORT | start), GOOD], workers=1)
    assert failed["recipe"].tolist() == ["frozen"] and "holds no open_clip_config.json" in failed["why"][0]
    assert set(scores["recipe"]) == {"mixture"}


def test_all_code_that_decides_a_cell_is_there():
    assert all((stages.LIBRARY / package / "__init__.py").is_file() for package in sweep._DECIDES)
    own = {path.name for path in (stages.LIBRARY / "ablations").glob("*.py")}
    assert own - set(sweep._OWN) == {"__init__.py", "cells.py", "summary.py"}  # settings, and what is made of scores


def test_a_grid_goes_on_after_its_last_finished_cell(grid, config):
    run, scores, _ = grid
    before = kept(run)
    other = Cell("clip", 0, {**SHORT, "train.objective": "classification"})
    more, failed = ablations.run_grid(run, config, [GOOD, other], workers=1)
    assert failed.empty
    assert before.items() < kept(run).items()
    pd.testing.assert_frame_equal(more[more["recipe"] == "mixture"], scores)
    assert not more.loc[more["recipe"] == "clip", "task"].str.startswith("zero_shot").any()  # no texts were trained


def test_the_same_cell_twice_gives_the_same_numbers_and_another_seed_another_world(grid, config):
    run, scores, _ = grid
    for path in kept(run):
        path.unlink()
    again, _ = ablations.run_grid(run, config, [GOOD, Cell("mixture", 1, SHORT)], workers=1)
    first = again[again["seed"] == 0]
    pd.testing.assert_frame_equal(first.drop(columns="seconds"), scores.drop(columns="seconds"))
    assert len(list((run.root / "ablations").glob("world-*"))) == 2
    values = again[again["task"] == "few_shot/1"].pivot(index="metric", columns="seed", values="value")
    assert (values[0] != values[1]).any()


def test_dealt_words_are_another_cell(grid, config):
    run, *_ = grid
    ranks, _ = ablations.run_grid(run, config, [GOOD, Cell("dealt", 0, SHORT, data="ranks_dealt")], workers=1)
    values = ranks[ranks["metric"] == "macro_top1"].pivot(index="task", columns="recipe", values="value")
    assert (values["dealt"] != values["mixture"]).any()


@pytest.mark.parametrize("part", PARTS)
def test_a_share_of_the_data_is_another_cell(grid, config, part):
    run, *_ = grid
    scores, failed = ablations.run_grid(run, config, [GOOD, Cell(part, 0, SHORT, data=part)], workers=1)
    assert failed.empty
    values = scores[scores["metric"] == "macro_top1"].pivot(index="task", columns="recipe", values="value")
    assert (values[part] != values["mixture"]).any()


def test_halves_are_of_every_species_or_of_some():
    labels = np.repeat([0, 1, 2, 3], [2, 4, 6, 8])  # 20 images
    counts = np.bincount(labels[kept_rows(labels, by_species=False, seed=0)], minlength=4)
    assert counts.tolist() == [1, 2, 3, 4]
    for seed in range(20):
        rows = kept_rows(labels, by_species=True, seed=seed)
        whole = np.bincount(labels[rows], minlength=4) / [2, 4, 6, 8]
        assert len(rows) == len(set(rows)) == 10
        assert ((whole > 0) & (whole < 1)).sum() <= 1  # all images of a species, or none; of one what is wanting
    assert len({tuple(kept_rows(labels, True, seed)) for seed in range(20)}) > 3


def test_a_share_of_labels_is_moved_to_sisters_and_mirror_images_follow():
    lineages = np.array([[0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1, 2], [1, 1, 1, 1, 1, 2, 3]])
    labels, tokens = np.repeat([0, 1, 2, 3], 25), np.zeros((4, 1, 3), np.int64)
    inputs = np.arange(200, dtype=np.float32)[:, None]
    train = TrainData(inputs, np.tile(labels, 2), tokens, lineages=lineages)
    moved = _changed(train, "30 % of labels moved to a sister", 2, seed=0)
    assert (moved.labels[:100] == moved.labels[100:]).all() and (moved.labels[:100] != labels).sum() == 30
    sister = {0: 1, 1: 0, 2: 3, 3: 2}
    assert all(sister[old] == new for old, new in zip(labels, moved.labels, strict=False) if old != new)
    half = _changed(train, HALF_IMAGES, 2, seed=0)
    assert half.inputs[:50, 0].tolist() == (half.inputs[50:, 0] - 100).tolist()
    assert (half.labels == labels[half.inputs[:, 0].astype(int) % 100]).all()


def test_a_process_that_dies_takes_no_other_cell_with_it(grid, config):
    run, *_ = grid
    for path in kept(run):
        path.unlink()
    scores, failed = ablations.run_grid(
        run, config, [Deadly("deadly", 0, {**SHORT, "train.steps": 4}), GOOD], workers=2
    )
    assert failed["recipe"].tolist() == ["deadly"]
    assert "process died" in failed["why"][0]
    assert set(scores["recipe"]) == {"mixture"}
