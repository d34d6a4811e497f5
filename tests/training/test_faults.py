"""Training that is killed, told to stop, or runs out of disk: what is left, and what it says."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from bioclip_lib.errors import InputError
from bioclip_lib.model.load import model_digest
from bioclip_lib.training import loop
from bioclip_lib.training.checkpoints import list_checkpoints, write_checkpoint
from bioclip_lib.training.loop import StopRequest
from bioclip_lib.training.trainer import Trainer
from tests.training.test_loop import tiny_config, tiny_images, train_tiny

TRAIN = """
import sys
sys.path.insert(0, TESTS)
import torch
torch.set_num_threads(1)
from pathlib import Path
from tests.training.test_faults import train_200
print("ready", flush=True)
try:
    train_200(Path(sys.argv[1]))
except ValueError as error:
    sys.exit(str(error))
"""
FULL = """
import resource, signal, sys
import torch
from pathlib import Path
from bioclip_lib.training.checkpoints import write_checkpoint
from bioclip_lib.errors import InputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path(sys.argv[1])
write_checkpoint(folder, 1, {}, {"x": torch.zeros(10)}, keep=1)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    write_checkpoint(folder, 2, {}, {"x": torch.zeros(200_000), "y": torch.zeros(100_000)}, keep=1)
except InputError as error:
    sys.exit(str(error))
"""


def train_200(folder, resume=False):
    torch.set_num_threads(1)
    config = tiny_config(steps=200, checkpoint_every_steps=1)
    return train_tiny(folder, config, resume=resume)


def start(code, folder):
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    code = code.replace("TESTS", repr(str(Path(__file__).parent)))
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, str(folder)],
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for_checkpoints(process, folder):
    """Wait until training is under way."""
    while process.poll() is None and len(list_checkpoints(folder / "checkpoints")) < 2:
        time.sleep(0.005)


def test_a_killed_training_resumes_with_the_same_bits(tmp_path):
    threads = torch.get_num_threads()
    model, log = train_200(tmp_path / "whole")
    process = start(TRAIN, tmp_path / "cut")
    wait_for_checkpoints(process, tmp_path / "cut")
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.communicate()
    newest = list_checkpoints(tmp_path / "cut" / "checkpoints")[-1]
    assert 2 <= int(newest.stem[5:]) < 200
    resumed, resumed_log = train_200(tmp_path / "cut", resume=True)
    torch.set_num_threads(threads)
    assert model_digest(resumed) == model_digest(model)
    assert resumed_log[["loss", "grad_norm"]].equals(log[["loss", "grad_norm"]])


def test_sigterm_checkpoints_and_says_how_to_go_on(tmp_path):
    process = start(TRAIN, tmp_path)
    wait_for_checkpoints(process, tmp_path)
    process.terminate()
    _, said = process.communicate(timeout=60)
    step = int(list_checkpoints(tmp_path / "checkpoints")[-1].stem[5:])
    assert process.returncode == 1 and 2 <= step < 200
    assert said.startswith(f"stopped after step {step} of 200, as SIGTERM asked; run 03_training again, or fit(")
    assert said.count("\n") == 1


@pytest.mark.parametrize(("asks", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Stop")])
def test_a_request_to_stop_saves_and_is_then_taken_as_before(tmp_path, asks, name):
    config, step = tiny_config(checkpoint_every_steps=100), Trainer.train_step

    def asked(self, *args):
        if self.step == 2:
            os.kill(os.getpid(), asks)
        return step(self, *args)

    before = signal.getsignal(asks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "train_step", asked)
        with pytest.raises(InputError, match=rf"stopped after step [34] of 6, as {name} asked"):
            train_tiny(tmp_path / "cut", config)
    assert signal.getsignal(asks) is before
    resumed, log = train_tiny(tmp_path / "cut", config, resume=True)
    whole, _ = train_tiny(tmp_path / "whole", config)
    assert len(log) == 6 and model_digest(resumed) == model_digest(whole)


def test_a_second_stop_ends_at_once():
    with StopRequest() as stop, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.made
        os.kill(os.getpid(), signal.SIGINT)


def test_a_checkpoint_is_due_a_minute_after_the_last_and_later_where_writing_takes_long(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: clock.now))
    due = loop.SaveDue()
    for clock.now, is_due in ((59.0, False), (60.0, True)):
        assert due.now() == is_due
    with due:
        clock.now = 70.0  # 10 s to write
    for clock.now, is_due in ((130.0, False), (269.0, False), (270.0, True)):
        assert due.now() == is_due


def test_a_checkpoint_that_is_due_is_written(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(loop.SaveDue, "now", lambda self: True)
    monkeypatch.setattr(loop, "write_checkpoint", lambda folder, step, *_: saved.append(step))
    train_tiny(tmp_path, tiny_config(checkpoint_every_steps=100))
    assert saved == [1, 2, 3, 4, 5, 6]


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_full_disk_is_named_and_the_checkpoint_before_stays(tmp_path):
    process = start(FULL, tmp_path)
    _, said = process.communicate(timeout=60)
    assert said.startswith(f"disk full while writing {tmp_path}/step-000002.pt") and said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001.pt"]


def test_other_errors_of_the_writer_are_not_hidden(tmp_path):
    with pytest.raises((RuntimeError, AttributeError, TypeError)):
        write_checkpoint(tmp_path, 1, {}, {"x": (i for i in "a")}, keep=1)
    assert not list(tmp_path.iterdir())


def test_duplicates_are_the_share_of_pairs_with_a_twin_in_the_batch(tmp_path):
    _, log = train_tiny(tmp_path, tiny_config(batch_size=24, steps=2))
    assert list(log["duplicates"]) == [1.0, 1.0]
    _, log = train_tiny(tmp_path, tiny_config(batch_size=1, steps=2))
    assert list(log["duplicates"]) == [0.0, 0.0]
    data = tiny_images(5)  # classes 0 1 2 3 0
    _, log = train_tiny(tmp_path, tiny_config(batch_size=5, steps=1), data=data)
    assert list(log["duplicates"]) == [0.4]
