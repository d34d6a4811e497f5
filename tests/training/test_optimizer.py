"""Precision, gradient scaling and groups: what happens to the weights between a gradient and the next step."""

import warnings

import bioclip_lib.model  # noqa: F401 (before open_clip)

# isort: split
import numpy as np
import open_clip
import pytest
import torch

from bioclip_lib.config import load_config
from bioclip_lib.errors import InputError
from bioclip_lib.model.load import export_model, model_digest
from bioclip_lib.model.towers import autocast, build_model
from bioclip_lib.training import adapt, optimizer
from bioclip_lib.training.adapt import low_rank
from bioclip_lib.training.batches import Pairs
from bioclip_lib.training.checkpoints import list_checkpoints
from bioclip_lib.training.objectives import Objective
from bioclip_lib.training.optimizer import layer_scales, learning_rate
from bioclip_lib.training.trainer import Trainer
from tests.training.test_loop import TINY, _StopError, interrupt, tiny_config, train_tiny
from tests.training.test_parts_of_a_batch import data_with_lineages, gradients_of_a_step

pytestmark = pytest.mark.numerical


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
    steps = {state["step"].item() for state in trainer.optimizer.optimizers["adamw"].state.values()}
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


def test_learning_rates_of_layers():
    """Two blocks in the image tower, one in the text tower, decay 1/2."""
    model = build_model(load_config("smoke", {**TINY, "model.vision_layers": 2}).model)
    scales = layer_scales([name for name, _ in model.named_parameters()], 0.5)
    by_hand = {
        "visual.conv1.weight": 1 / 8, "visual.class_embedding": 1 / 8, "visual.positional_embedding": 1 / 8,
        "visual.ln_pre.weight": 1 / 8, "visual.transformer.resblocks.0.attn.in_proj_weight": 1 / 4,
        "visual.transformer.resblocks.1.mlp.c_fc.bias": 1 / 2, "visual.ln_post.weight": 1, "visual.proj": 1,
        "token_embedding.weight": 1 / 4, "positional_embedding": 1 / 4, "transformer.resblocks.0.ln_1.weight": 1 / 2,
        "ln_final.weight": 1, "text_projection": 1, "logit_scale": 1,
    }  # fmt: skip
    assert {name: scales[name] for name in by_hand} == by_hand
    assert set(layer_scales(list(scales), 1.0).values()) == {1.0}


def test_each_layer_steps_at_its_own_rate(tmp_path):
    config = tiny_config(layer_decay=0.5, warmup_steps=4, weight_decay=0.0, lr=1e-3)
    trainer = new_trainer(config)
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train_step(tmp_path / "bad.csv")
    rate = learning_rate(0, config.train)
    for name, scale in (("visual.proj", 1), ("visual.transformer.resblocks.0.mlp.c_fc.weight", 0.5),
                        ("visual.conv1.weight", 0.25)):  # fmt: skip
        moved = (dict(trainer.model.named_parameters())[name] - before[name]).abs()
        assert moved.max().item() == pytest.approx(rate * scale, rel=0.02)  # Adam's first step is the rate itself


def test_muon_steps_along_the_orthogonal_matrix_nearest_to_the_gradient_and_adamw_takes_the_rest(tmp_path):
    """The first step of each: rate * 0.2 * sqrt(longer side) * U V^T of the gradient, and rate * its sign."""
    config = tiny_config(optimizer="muon", warmup_steps=1, weight_decay=0.0, lr=1e-3)
    trainer = new_trainer(config)
    parameters = dict(trainer.model.named_parameters())
    before = {name: p.detach().clone() for name, p in parameters.items()}
    trainer.train_step(tmp_path / "bad.csv")
    moved = {name: (p.detach() - before[name]) for name, p in parameters.items()}
    for name in ("visual.transformer.resblocks.0.mlp.c_fc.weight", "transformer.resblocks.0.attn.in_proj_weight"):
        u, strengths, vh = torch.linalg.svd(parameters[name].grad, full_matrices=False)
        strong = strengths > 0.1 * strengths[0]  # five iterations leave weak directions short
        along = -(u.T @ moved[name] @ vh.T).diagonal() / (1e-3 * 0.2 * max(moved[name].shape) ** 0.5)
        assert strong.sum() > 1 and along[strong].min() > 0.6 and along.max() < 1.3
    for name in ("visual.proj", "visual.conv1.weight", "token_embedding.weight"):
        assert moved[name].abs().max().item() == pytest.approx(1e-3, rel=0.02)


def test_muon_is_resumed_to_the_same_bits(tmp_path):
    config = tiny_config(optimizer="muon", precision="bf16", steps=4, ema_decay=0.6, layer_decay=0.8, grad_clip=1.0)
    model, log = train_tiny(tmp_path / "whole", config)
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, 3)
        with pytest.raises(_StopError):
            train_tiny(tmp_path / "cut", config)
    resumed, resumed_log = train_tiny(tmp_path / "cut", config, resume=True)
    assert model_digest(resumed) == model_digest(model) != model_digest(train_tiny(tmp_path, tiny_config(steps=4))[0])
    assert resumed_log["val_loss"].equals(log["val_loss"])


@pytest.mark.parametrize("setting", [{"shard": True}, {"precision": "fp16"}])
def test_muon_refuses_parts_of_matrices_and_scaled_gradients(setting):
    with pytest.raises(InputError, match=r"muon needs whole matrices.*set train\.optimizer=adamw"):
        tiny_config(optimizer="muon", **setting)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"layer_decay": 0.0}, "layer_decay is 0"),
        ({"layer_decay": 1.5}, "layer_decay is 1.5"),
        ({"ema_decay": 1.0}, "ema_decay is 1"),
    ],
)
def test_decays_out_of_range_are_refused(setting, message):
    with pytest.raises(InputError, match=message):
        new_trainer(tiny_config(**setting))


def test_the_average_of_weights_by_hand_is_validated_and_left_in_the_model(tmp_path):
    config = tiny_config(ema_decay=0.5, steps=3, warmup_steps=1, lr=1e-2)
    trainer = new_trainer(config)
    weights = [trainer.model.visual.proj.detach().clone()]
    for _ in range(3):
        row, _ = trainer.train_step(tmp_path / "bad.csv")
        weights.append(trainer.model.visual.proj.detach().clone())
    expected = 0.125 * weights[0] + 0.125 * weights[1] + 0.25 * weights[2] + 0.5 * weights[3]
    trainer.optimizer.finish()
    torch.testing.assert_close(trainer.model.visual.proj.detach(), expected, rtol=1e-5, atol=1e-7)
    assert not torch.allclose(expected, weights[3], atol=1e-4)
    trainer.optimizer.average = []
    assert trainer.validate()[0] == pytest.approx(row["val_loss"], rel=1e-6)


def test_fit_leaves_the_average_in_the_model(tmp_path):
    still, _ = train_tiny(tmp_path, tiny_config(ema_decay=1 - 1e-9, steps=2))
    start = build_model(tiny_config().model)
    torch.testing.assert_close(still.visual.proj, start.visual.proj, atol=1e-6, rtol=0)


def test_low_rank_training_changes_matrices_by_that_rank_and_stock_open_clip_loads_the_export(tmp_path):
    config = tiny_config(lora_rank=2, lr=1e-2)
    start = build_model(config.model).state_dict()
    model, _ = train_tiny(tmp_path, config)
    assert model.state_dict().keys() == start.keys() and all(p.requires_grad for p in model.parameters())
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, start[name])}
    blocks = [f"{tower}transformer.resblocks.0" for tower in ("visual.", "")]
    names = ("attn.in_proj_weight", "attn.out_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
    matrices = {f"{block}.{name}" for block in blocks for name in names}
    assert changed == matrices | {"visual.proj", "text_projection", "logit_scale"}
    for name in matrices:
        values = torch.linalg.svdvals(model.state_dict()[name] - start[name])
        assert values[1] > 1e-5 and values[2] < 1e-3 * values[0]
    stock, _, _ = open_clip.create_model_and_transforms(
        f"local-dir:{export_model(model, config.model, tmp_path / 'model')}"
    )
    pixels = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(stock.eval().encode_image(pixels), model.encode_image(pixels), atol=1e-6, rtol=0)


def test_factors_and_a_bias_of_the_objective_are_trained_together(tmp_path):
    model, _ = train_tiny(tmp_path, tiny_config(lora_rank=2, objective="siglip", steps=2))
    assert model.logit_bias.requires_grad and model.logit_bias != -10
    assert all(p.requires_grad for p in model.parameters())


def test_factors_start_at_nothing_and_need_blocks():
    model = build_model(tiny_config().model)
    before, pixels = model_digest(model), torch.ones(1, 3, 16, 16)
    with torch.no_grad():
        expected = model.encode_image(pixels)
        with low_rank(model, 3, seed=0):
            assert torch.equal(model.encode_image(pixels), expected)
            assert model.visual.transformer.resblocks[0].attn.parametrizations.in_proj_weight[0].up.shape == (96, 3)
    assert model_digest(model) == before
    trunk = build_model(load_config("photos", {**TINY, "model.image_size_px": 32}).model)
    with pytest.raises(InputError, match="lora_rank needs towers"), low_rank(trunk, 2, seed=0):
        pass
    with low_rank(trunk, 2, seed=0, frozen_image_tower=True):
        assert not any("parametrizations" in name for name, _ in trunk.visual.named_parameters())


def test_training_with_every_option_is_resumed_to_the_same_bits(tmp_path):
    options = {"layer_decay": 0.8, "lora_rank": 2, "ema_decay": 0.6, "grad_checkpointing": True, "steps": 4,
               "micro_batch_size": 5, "grad_clip": 1.0, "precision": "bf16"}  # fmt: skip
    config = tiny_config(**options)
    model, log = train_tiny(tmp_path / "whole", config)
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, 3)
        with pytest.raises(_StopError):
            train_tiny(tmp_path / "cut", config)
    saved = torch.load(list_checkpoints(tmp_path / "cut" / "checkpoints")[-1], weights_only=True)["state"]
    assert any(name.endswith("in_proj_weight.0.up") for name in saved["model"])
    resumed, resumed_log = train_tiny(tmp_path / "cut", config, resume=True)
    assert model_digest(resumed) == model_digest(model)
    assert resumed_log["val_loss"].equals(log["val_loss"])


def test_compiled_towers_train_as_plain_ones_and_what_fails_is_said_once(tmp_path, monkeypatch):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    plain, log = train_tiny(tmp_path / "plain", tiny_config(steps=2))
    monkeypatch.setattr(adapt, "COMPILER", backend)
    torch.compiler.reset()
    compiled, compiled_log = train_tiny(tmp_path / "compiled", tiny_config(steps=2, compile=True))
    assert len(graphs) >= 2
    np.testing.assert_allclose(compiled_log["loss"], log["loss"], rtol=1e-5)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    assert compiled.visual._compiled_call_impl is None

    def fails(graph, inputs):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(adapt, "COMPILER", fails)
    torch.compiler.reset()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        eager, _ = train_tiny(tmp_path / "eager", tiny_config(steps=2, compile=True))
    assert len([w for w in said if "torch.compile failed" in str(w.message)]) == 1
    assert model_digest(eager) == model_digest(plain)
