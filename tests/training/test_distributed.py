"""Several processes train as one does: real processes, started by torchrun, on gloo."""

import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bioclip_lib.config import ModelConfig
from bioclip_lib.errors import InputError
from bioclip_lib.model.encode import trunk_features
from bioclip_lib.model.towers import LITE0, build_model
from bioclip_lib.run import Run
from bioclip_lib.shards import stream
from bioclip_lib.shards.replay import ReplayPairs
from bioclip_lib.training import distributed, optimizer
from bioclip_lib.training.loop import fit
from tests.shards.test_replay import write_pairs
from tests.training.test_loaders import break_one, config_of, train_streamed, write_run
from tests.training.test_loop import tiny_config, tiny_images
from tests.training.test_parts_of_a_batch import data_with_lineages

WORKER = """
import os, signal, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import torch
torch.set_num_threads(1)
from tests.training import test_distributed as tests
from bioclip_lib.training import optimizer
from bioclip_lib.errors import InputError
from bioclip_lib.training.trainer import Trainer
rank, folder = int(os.environ["RANK"]), Path(sys.argv[1])
tests.train_all(folder)
tests.train_shards(folder)
tests.train_spread(folder)
optimizer.INITIAL_SCALE = 2.0**20
tests.train_all(folder, ["multi_positive"], precision="fp16", steps=8)
(folder / f"done-{rank}.txt").touch()
step = Trainer.train_step
def dying(self, *args):
    if self.step == 2 and rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *args)
for fault, values in (("odd", {"batch_size": 7}), ("other data", {"seed": rank}), ("dies", {})):
    Trainer.train_step = dying if fault == "dies" else step
    try:
        tests.train_all(folder / fault, ["multi_positive"], **values)
    except InputError as error:
        (folder / f"{fault}-{rank}.txt").write_text(str(error))
"""


OBJECTIVES = ("multi_positive", "hierarchical_classification")
STEPS = 7  # rounding that grows from step to step shows after these


def train_all(folder, objectives=OBJECTIVES, seed=0, batch_size=8, precision="fp32", steps=STEPS):
    """Train each objective for some steps; save the final weights of each."""
    data = data_with_lineages(seed=seed)
    for objective in objectives:
        config = tiny_config(
            objective=objective,
            precision=precision,
            batch_size=batch_size,
            steps=steps,
            micro_batch_size=3,
            val_every_steps=3,
            eps=1e-3,  # at 1e-6 Adam turns the rounding of gradients that are 0 (the keys' bias) into steps
        )
        model = build_model(config.model)
        run = Run(Path(folder) / (objective if precision == "fp32" else precision))
        fit(model, data, tiny_images(12, seed=1) if "class" not in objective else data, config, run, progress=False)
        if distributed.world().rank == 0:
            torch.save(model.state_dict(), Path(folder) / f"{run.name}.pt")


def train_shards(folder):
    """The same on images streamed from shards, of which one is broken; as train_all, into "streamed"."""
    config = config_of(batch_size=8, steps=STEPS, micro_batch_size=3, val_every_steps=3, eps=1e-3)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(stream, "MAX_UNREADABLE", 0.05)
        warnings.filterwarnings("ignore", message=".*cannot be read")
        model, _ = train_streamed(Run(Path(folder) / "run"), Path(folder) / "streamed", config)
    if distributed.world().rank == 0:
        torch.save(model.state_dict(), Path(folder) / "streamed.pt")


SPREAD = {
    "spread": {"grad_checkpointing": True, "grad_clip": 0.5, "ema_decay": 0.9},
    "spread_siglip": {"objective": "siglip", "lora_rank": 2},
    "spread_classes": {"objective": "classification", "micro_batch_size": 0},
    "spread_frozen": {"objective": "classification", "freeze_image_tower": True},  # nothing that is trained is spread
    "muon": {"optimizer": "muon", "shard": False},
    "replay": {"objective": "clip", "replay_batch": 4, "shard": False},
}


def train_spread(folder):
    """Train with train.shard, which changes nothing in one process; go on from step 3 once, as an interrupted run."""
    images = data_with_lineages()
    for name, values in SPREAD.items():
        values = {"shard": True, "micro_batch_size": 3, "val_every_steps": 3, "eps": 1e-3} | values
        config = tiny_config(batch_size=8, steps=STEPS, checkpoint_every_steps=3, keep_checkpoints=3, **values)
        data = images
        if name == "replay":
            counts = Path(folder) / f"counts-{distributed.world().rank}.json"
            data = replace(images, replay=ReplayPairs(Path(folder) / "tars", 4, 20, counts))
        if config.train.freeze_image_tower:
            data = replace(images, inputs=trunk_features(build_model(config.model), images.inputs))
        run, before = Run(Path(folder) / name), None
        for resume in (False, True):
            model = build_model(config.model)
            fit(model, data, data, config, run, resume, progress=False)
            state = model.state_dict()
            assert resume is False or all(torch.equal(before[key], value) for key, value in state.items())
            before = state
            if distributed.world().rank == 0:
                torch.save(state, Path(folder) / f"{name}.pt")
                for step in (6, STEPS):
                    (run.checkpoints / f"step-{step:06d}.pt").unlink()
            distributed.check_agreement(0, "nothing: a barrier")
    check_shares(model, replace(config.train, shard=True))


def check_shares(model, cfg):
    """Each of the processes keeps its share of the blocks, and settings that do not go with that are refused."""
    n_blocks = sum(p.numel() for name, p in model.named_parameters() if "resblocks" in name)
    with distributed.sharded(model, cfg) as trained:
        spread = [p for p in trained.parameters() if distributed.is_spread(p)]
        if distributed.world().size > 1:
            kept = sum(p.to_local().numel() for p in spread)
            assert sum(p.numel() for p in spread) == n_blocks and abs(kept / n_blocks - 1 / 2) < 0.01
            state = distributed.whole(trained.state_dict(), keep=distributed.world().rank == 0)
            assert all(
                (value is None) == (distributed.world().rank > 0) for key, value in state.items() if "blocks" in key
            )
            lite0 = build_model(ModelConfig(image_tower=LITE0, image_size_px=32, text_layers=1))  # channels last
            with distributed.sharded(lite0, cfg) as trained:
                assert all(map(distributed.is_spread, trained.visual.trunk.parameters()))
            with (
                pytest.raises(InputError, match=r"train\.compile"),
                distributed.sharded(model, replace(cfg, compile=True)),
            ):
                pass
        else:
            assert trained is model and not spread


@pytest.fixture(scope="module")
def two(tmp_path_factory, catalog):
    """What two processes of one start leave: trainings that end, and then three that cannot."""
    folder = tmp_path_factory.mktemp("processes")
    write_inputs(folder, catalog)
    (folder / "worker.py").write_text(WORKER)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(folder / "worker.py"), str(folder)], env=env, capture_output=True, text=True, timeout=600
    )
    assert {path.name for path in folder.glob("done-*")} == {"done-0.txt", "done-1.txt"}, done.stderr[-2000:]
    return folder


def write_inputs(folder, catalog):
    """Write a run whose shards have a broken image, and tars of pairs to replay."""
    write_pairs(folder / "tars" / "0.tar", range(5))
    write_pairs(folder / "tars" / "1.tar", range(5, 14))
    break_one(write_run(Run(folder / "run"), catalog))


def test_two_processes_train_as_one(two, tmp_path, catalog, monkeypatch):
    one = tmp_path
    write_inputs(one, catalog)
    train_all(one)
    train_shards(one)
    train_spread(one)
    for objective in ("multi_positive", "hierarchical_classification", "streamed", *SPREAD):
        near = 1e-3 if objective == "muon" else 1e-5  # Muon's iterations are in bf16, whatever the gradients' precision
        logs = [pd.read_csv(root / objective / "tables" / "train_log.csv") for root in (one, two)]
        for column in ("loss", "val_loss", "grad_norm"):
            np.testing.assert_allclose(*(log[column].dropna() for log in logs), atol=near, rtol=near)
        if objective == "streamed":
            assert logs[0]["unreadable"].tolist() == logs[1]["unreadable"].tolist() and logs[0]["unreadable"].sum() > 0
        weights = [torch.load(root / f"{objective}.pt", weights_only=True) for root in (one, two)]
        for name, value in weights[0].items():
            torch.testing.assert_close(weights[1][name], value, atol=near, rtol=0, msg=f"{objective} {name}")
        assert not list((two / objective / "checkpoints").glob(".*"))
    monkeypatch.setattr(optimizer, "INITIAL_SCALE", 2.0**20)
    train_all(one, ["multi_positive"], precision="fp16", steps=8)
    alone, shared = (pd.read_csv(root / "fp16" / "tables" / "train_log.csv") for root in (one, two))
    assert list(alone["skipped"]) == list(shared["skipped"]) and 0 < alone["skipped"].iloc[-1] < 8
    np.testing.assert_allclose(alone["loss"], shared["loss"], rtol=0.01)  # half precision keeps three digits


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("odd", "2 processes cannot share a batch of 7 pairs evenly"),
        ("other data", "the processes differ in settings, data"),
        ("dies", "another training process ended or fell silent"),
    ],
)
def test_processes_that_cannot_go_on_together_say_so(two, fault, message):
    assert message in (two / f"{fault}-0.txt").read_text()


def test_shares_cover_all_rows_once(monkeypatch):
    for size in (1, 2, 3, 7):
        for n in (0, 1, 5, 14):
            rows = []
            for rank in range(size):
                monkeypatch.setattr(distributed, "world", lambda rank=rank, size=size: distributed.World(rank, size))
                rows += range(n)[distributed.own_rows(n)]
            assert rows == list(range(n))
