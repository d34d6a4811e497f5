"""Training in processes that a notebook starts: real ones, on gloo."""

import dataclasses
import math
import os
import sys

import numpy as np
import pytest
import torch

from bioclip_lib.errors import InputError
from bioclip_lib.model.towers import build_model
from bioclip_lib.run import Run, open_run
from bioclip_lib.training import data, loop, processes
from bioclip_lib.training.checkpoints import list_checkpoints
from tests.training.test_loaders import config_of, write_run


@pytest.fixture
def make_run(catalog, tmp_path):
    """Build a run up to its shards; returns it and its configuration."""

    def make(name="run", **settings):
        config = config_of(**{"batch_size": 4, "steps": 6, "val_every_steps": 3, "eps": 1e-3, **settings})
        return write_run(open_run(tmp_path / name, config), catalog), config

    return make


def finish(run, config):
    """Do what notebook 03 does; return its log and weights, and the rows that were watched."""
    clip, rows = build_model(config.model, seed=config.train.seed), []
    processes.train_in_processes(run, config, rows.append)
    n_watched = len(rows)
    log = loop.fit(clip, *data.load_training_data(run, config, clip), config, run, True, False, on_step=rows.append)
    return log, clip.state_dict(), n_watched, rows


def test_the_notebook_goes_on_with_what_the_processes_trained(make_run):
    log, weights, n_watched, rows = finish(*make_run("two", processes=2, shard=True))
    assert n_watched == len(rows) == len(log) == 6  # nothing was left to do for the notebook
    assert [row["loss"] for row in rows] == log["loss"].tolist() and math.isnan(rows[0]["val_loss"])
    alone, same_weights, n_watched, _ = finish(*make_run("one"))
    assert n_watched == 0
    np.testing.assert_allclose(log["loss"], alone["loss"], atol=1e-5)
    for name, value in weights.items():
        torch.testing.assert_close(value, same_weights[name], atol=1e-5, rtol=0, msg=name)


def test_a_mistake_is_one_message_whichever_process_finds_it(make_run, monkeypatch, tmp_path):
    run, config = make_run(processes=2, batch_size=5)
    with pytest.raises(InputError, match="2 processes cannot share a batch of 5 pairs evenly"):
        processes.train_in_processes(run, config)
    other = dataclasses.replace(config, train=dataclasses.replace(config.train, lr=0.5))
    with pytest.raises(InputError, match=r"another configuration \(train\.lr: 0\.001 there, 0\.5 wanted\)"):
        processes.train_in_processes(run, other)
    monkeypatch.setenv("PYTHONHASHSEED", "no number")  # Python itself refuses to start
    with pytest.raises(InputError, match=r"a training process failed; its messages are in .*processes\.log"):
        processes.train_in_processes(run, config)
    assert "PYTHONHASHSEED" in (run.root / "processes.log").read_text()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match=r"train\.processes is 2, but there are 1 GPUs"):
        processes.train_in_processes(run, config)


NOISY = """
import os, sys
if "RANK" in os.environ:
    sys.stdout.buffer.write(b"ERROR of a library\\nSTEP 1\\n\\xff and no end of line")
    sys.stdout.flush()
    from bioclip_lib.training.trainer import Trainer
    step = Trainer.train_step
    def failing(self, *args):
        if self.step == 2 and os.environ["RANK"] == "1":
            raise MemoryError("no memory is left")
        return step(self, *args)
    Trainer.train_step = failing
"""


def test_a_process_that_fails_is_found_in_the_log_whatever_libraries_write(make_run, monkeypatch, tmp_path):
    run, config = make_run("a run, größer", processes=2)
    (tmp_path / "sitecustomize.py").write_text(NOISY)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    rows = []
    with pytest.raises(InputError, match=r"a training process failed; its messages are in .*größer.processes\.log"):
        processes.train_in_processes(run, config, rows.append)
    assert [row["step"] for row in rows] == [1, 2]
    assert "no memory is left" in (run.root / "processes.log").read_text()


SLOW = """
import os, time
if "RANK" in os.environ:
    from bioclip_lib.training.trainer import Trainer
    step = Trainer.train_step
    def slow(self, *args):
        time.sleep(4 if self.step >= 3 else 0)
        return step(self, *args)
    Trainer.train_step = slow
"""


def test_an_interrupt_leaves_a_checkpoint(make_run, monkeypatch, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(SLOW)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "1")  # torchrun's own patience; ours is longer
    run, config = make_run(processes=2, steps=5_000, checkpoint_every_steps=1_000)

    def interrupt(row):
        if row["step"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        processes.train_in_processes(run, config, interrupt)
    (checkpoint,) = list_checkpoints(run.checkpoints)
    assert "step-000003.pt" < checkpoint.name < "step-001000.pt"  # none was due by then


def test_what_is_no_run_is_said_so(tmp_path, capsys):
    assert processes.main(str(tmp_path)) == 2
    assert "is no run; begin it by make reproduce RUN=" in capsys.readouterr().out


def test_the_run_of_the_processes_has_the_notebooks_configuration(make_run, monkeypatch):
    run, config = make_run(processes=2, text_types=("sci", "com"), crop_area=(0.5, 0.75))
    seen = []
    monkeypatch.setattr(processes.loop, "fit", lambda *args, **_: seen.append(args[3]))
    assert processes.main(str(run.root)) == 0
    assert dataclasses.asdict(seen[0]) == dataclasses.asdict(config) and Run(run.root).name == run.name
