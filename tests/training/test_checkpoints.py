"""Checkpoints: nothing damaged is read, nothing of other code is gone on from in silence."""

import numpy as np
import pytest
import torch

from bioclip_lib.errors import InputError
from bioclip_lib.training import checkpoints
from bioclip_lib.training.checkpoints import list_checkpoints, read_checkpoint, write_checkpoint

SETTINGS = {"train": {"steps": 9}}


def written(folder, n=2):
    state = {"weights": torch.arange(60.0), "log": [{"loss": 0.5, "step": 1}], "kind": "adam"}
    for step in range(1, n + 1):
        write_checkpoint(folder, step, SETTINGS, state, keep=n)
    return list_checkpoints(folder)


def same(one, other):
    return torch.equal(one["weights"], other["weights"]) and one["log"] == other["log"] and one["kind"] == other["kind"]


@pytest.mark.filterwarnings("ignore:.*is damaged")
def test_no_flipped_bit_changes_what_is_read(tmp_path):
    first, newest = written(tmp_path)
    step, state = read_checkpoint(tmp_path, SETTINGS)
    whole, rng, passed_over = newest.read_bytes(), np.random.default_rng(0), 0
    for place, bit in zip(rng.integers(0, len(whole), 300), rng.integers(0, 8, 300), strict=True):
        data = bytearray(whole)
        data[place] ^= 1 << bit
        newest.write_bytes(data)
        found, read = read_checkpoint(tmp_path, SETTINGS)
        passed_over += found == 1
        assert found in (1, step) and same(read, state), place
    assert passed_over > 150  # the others are in no one's data: dates, fillings
    first.unlink()
    newest.write_bytes(whole[:-100])
    assert read_checkpoint(tmp_path, SETTINGS) is None


def test_a_checkpoint_of_other_code_is_refused_begun_again_or_gone_on_from(tmp_path, monkeypatch):
    written(tmp_path)
    other = {**checkpoints.made_by(), "code": "other", "torch": "9.9"}
    monkeypatch.setattr(checkpoints, "made_by", lambda: other)
    with pytest.raises(InputError, match=r"made by other code .*'other' wanted.*train\.other_code=restart.*=resume"):
        read_checkpoint(tmp_path, SETTINGS)
    with pytest.warns(UserWarning, match=r"made by other code .*: resume"):
        assert read_checkpoint(tmp_path, SETTINGS, "resume")[0] == 2
    with pytest.warns(UserWarning, match=r"torch.*'9.9' wanted\): restart"):
        assert read_checkpoint(tmp_path, SETTINGS, "restart") is None
    assert not list_checkpoints(tmp_path)
    written(tmp_path)
    assert read_checkpoint(tmp_path, SETTINGS)[0] == 2
    with pytest.raises(InputError, match=r"another training \(train\.steps: 9 there, 8 wanted\)"):
        read_checkpoint(tmp_path, {"train": {"steps": 8}}, "resume")


def test_initial_weights_that_other_code_makes_are_no_other_training(tmp_path, monkeypatch):
    written(tmp_path)
    moved = {**SETTINGS, "initial_weights": "b"}
    with pytest.raises(InputError, match="another training"):
        read_checkpoint(tmp_path, moved, "restart")
    monkeypatch.setattr(checkpoints, "made_by", lambda: {"code": "other"})
    with pytest.raises(InputError, match="made by other code"):
        read_checkpoint(tmp_path, moved)
    with pytest.warns(UserWarning, match=r"made by other code .*: resume"):
        assert read_checkpoint(tmp_path, moved, "resume")[0] == 2
    with pytest.raises(InputError, match="made by other code"):  # days of work are not thrown away unasked
        read_checkpoint(tmp_path, {**moved, "training_data": "b"})
    for decided in ("resume", "restart"):
        written(tmp_path)
        with pytest.warns(UserWarning, match="training starts anew"):
            assert read_checkpoint(tmp_path, {**moved, "training_data": "b"}, decided) is None
        assert not list_checkpoints(tmp_path)
