"""The sweep over tiny worlds: kept, gone on with, equal, and a failing cell that leaves the others."""

import multiprocessing
import os

import pandas as pd
import pytest

from bioclip_lib import ablations
from bioclip_lib.ablations import Cell
from bioclip_lib.config import load_config
from bioclip_lib.run import Run

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
    ranks, _ = ablations.run_grid(run, config, [GOOD, Cell("dealt", 0, SHORT, control="ranks_dealt")], workers=1)
    values = ranks[ranks["metric"] == "macro_top1"].pivot(index="task", columns="recipe", values="value")
    assert (values["dealt"] != values["mixture"]).any()


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
