"""Training that is killed, told to stop, or runs out of disk: what is left, and what it says."""

import os
import signal
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from bioclip_lib.errors import InputError
from bioclip_lib.model.load import model_digest
from bioclip_lib.training import loop
from bioclip_lib.training.checkpoints import list_checkpoints, write_checkpoint
from bioclip_lib.training.loop import StopRequest
from bioclip_lib.training.trainer import Trainer
from tests.training.started import start
from tests.training.test_loop import tiny_config, tiny_images, train_tiny


def train_100(folder, resume=False):
    torch.set_num_threads(1)
    config = tiny_config(steps=100, checkpoint_every_steps=1)
    return train_tiny(folder, config, resume=resume)


def train_or_say(folder):
    """Train; leave the error in said.txt."""
    try:
        train_100(folder)
    except InputError as error:
        (folder / "said.txt").write_text(str(error))


def fill_the_disk(folder):
    """Write a checkpoint that fits and one that does not; leave the error in said.txt."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    write_checkpoint(folder / "checkpoints", 1, {}, {"x": torch.zeros(10)}, keep=1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    try:
        write_checkpoint(folder / "checkpoints", 2, {}, {"x": torch.zeros(200_000), "y": torch.zeros(100_000)}, keep=1)
    except InputError as error:
        (folder / "said.txt").write_text(str(error))


def wait_for_checkpoints(process, folder):
    """Wait until training is under way."""
    while process.is_alive() and len(list_checkpoints(folder / "checkpoints")) < 2:
        time.sleep(0.005)


def kill(process):
    """End a process at once."""
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_a_killed_training_resumes_with_the_same_bits(tmp_path):
    threads = torch.get_num_threads()
    model, log = train_100(tmp_path / "whole")
    process = start(train_100, tmp_path / "cut")
    wait_for_checkpoints(process, tmp_path / "cut")
    kill(process)
    newest = list_checkpoints(tmp_path / "cut" / "checkpoints")[-1]
    assert 2 <= int(newest.stem[5:]) < 100
    resumed, resumed_log = train_100(tmp_path / "cut", resume=True)
    torch.set_num_threads(threads)
    assert model_digest(resumed) == model_digest(model)
    assert resumed_log[["loss", "grad_norm"]].equals(log[["loss", "grad_norm"]])


def test_sigterm_checkpoints_and_says_how_to_go_on(tmp_path):
    process = start(train_or_say, tmp_path)
    wait_for_checkpoints(process, tmp_path)
    process.terminate()
    process.join()
    said = (tmp_path / "said.txt").read_text()
    step = int(list_checkpoints(tmp_path / "checkpoints")[-1].stem[5:])
    assert 2 <= step < 100
    assert said.startswith(f"stopped after step {step} of 100, as SIGTERM asked; run 03_training again, or fit(")
    assert "\n" not in said


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
    start(fill_the_disk, tmp_path).join()
    said, checkpoints = (tmp_path / "said.txt").read_text(), tmp_path / "checkpoints"
    assert said.startswith(f"disk full while writing {checkpoints}/step-000002.pt") and "\n" not in said
    assert [path.name for path in checkpoints.iterdir()] == ["step-000001.pt"]


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
