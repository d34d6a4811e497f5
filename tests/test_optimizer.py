"""Precision, gradient scaling and groups: what happens to the weights between a gradient and the next step."""

import numpy as np
import pytest
import torch
from test_accumulation import data_with_lineages, gradients_of_a_step
from test_train import _StopError, interrupt, tiny_config, train_tiny

from bioclip_lib import optimizer
from bioclip_lib.batches import Pairs
from bioclip_lib.errors import InputError
from bioclip_lib.model import autocast, build_model, model_digest
from bioclip_lib.objectives import Objective
from bioclip_lib.trainer import Trainer


def new_trainer(config, model=None):
    data = data_with_lineages()
    model, pairs = model or build_model(config.model), Pairs.of(data, torch.as_tensor(data.tokens))
    return Trainer(model, Objective(model, config.train, data), config.train, pairs, pairs)


@pytest.mark.parametrize("micro_batch_size", [0, 3])
def test_gradients_in_fp16_are_those_of_fp32_but_for_rounding(tmp_path, micro_batch_size):
    loss, exact = gradients_of_a_step(tmp_path, tiny_config(), data_with_lineages())
    config = tiny_config(precision="fp16", micro_batch_size=micro_batch_size)
    rounded_loss, rounded = gradients_of_a_step(tmp_path, config, data_with_lineages())
    assert rounded_loss == pytest.approx(loss, rel=2e-3) and rounded_loss != loss
    for name, gradient in exact.items():
        torch.testing.assert_close(rounded[name], gradient, rtol=0, atol=0.05 * gradient.abs().max().item() + 1e-6)


def test_a_gradient_that_overflows_fp16_skips_the_step(tmp_path, monkeypatch):
    monkeypatch.setattr(optimizer, "INITIAL_SCALE", 2.0**60)
    trainer = new_trainer(tiny_config(precision="fp16", grad_clip=1.0))
    before = model_digest(trainer.model)
    row, _ = trainer.train_step(tmp_path / "bad.csv")
    assert row["skipped"] == 1 and np.isfinite(row["loss"]) and not np.isfinite(row["grad_norm"])
    assert model_digest(trainer.model) == before
    assert trainer.optimizer.scaler.get_scale() == 2.0**59
    trainer.optimizer.scaler.load_state_dict({**trainer.optimizer.scaler.state_dict(), "scale": 2.0**10})
    row, _ = trainer.train_step(tmp_path / "bad.csv")
    assert row["skipped"] == 1 and np.isfinite(row["grad_norm"])
    assert model_digest(trainer.model) != before
    steps = {state["step"].item() for state in trainer.optimizer.adamw.state.values()}
    assert steps == {1.0}  # AdamW has not counted the step that was left out


def test_a_loss_that_is_not_finite_stops_training_in_fp16_too(tmp_path):
    config = tiny_config(precision="fp16")
    model = build_model(config.model)
    with torch.no_grad():
        model.visual.proj[0, 0] = torch.nan
    with pytest.raises(InputError, match="the loss is nan at step 1"):
        train_tiny(tmp_path, config, model=model)


def test_fp16_resumed_between_skipped_steps_ends_with_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(optimizer, "INITIAL_SCALE", 2.0**20)
    config = tiny_config(precision="fp16", steps=7, val_every_steps=7)
    model, log = train_tiny(tmp_path / "whole", config)
    assert log["skipped"].iloc[1] > 0 and log["skipped"].iloc[-1] < 7
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, 3)
        with pytest.raises(_StopError):
            train_tiny(tmp_path / "cut", config)
    resumed, resumed_log = train_tiny(tmp_path / "cut", config, resume=True)
    assert model_digest(resumed) == model_digest(model)
    assert resumed_log["skipped"].equals(log["skipped"])


def test_fp16_on_a_device_without_it_is_refused():
    with pytest.raises(InputError, match="precision fp16 does not run on meta"):
        autocast("fp16", torch.device("meta"))
