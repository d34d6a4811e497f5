import dataclasses
import itertools
import math
import pickle
import warnings
import weakref

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_lib.config import TrainConfig, load_config
from bioclip_lib.errors import InputError
from bioclip_lib.model.encode import encode_images, trunk_features
from bioclip_lib.model.load import model_digest
from bioclip_lib.model.text import encode_tokens, tokenize
from bioclip_lib.model.towers import build_model
from bioclip_lib.run import Run
from bioclip_lib.training import loop as train
from bioclip_lib.training.batches import TrainData, augment, draw_crops, draw_types, drop_tokens
from bioclip_lib.training.checkpoints import list_checkpoints
from bioclip_lib.training.loaders import batch_indices
from bioclip_lib.training.loop import compact_vocabulary, fit
from bioclip_lib.training.optimizer import Optimizer, learning_rate, parameter_groups, with_steps
from bioclip_lib.training.trainer import MAX_LOGIT_SCALE, Trainer

TINY = {
    "model.image_size_px": 16,
    "model.vision_layers": 1,
    "model.vision_width": 32,
    "model.text_layers": 1,
    "model.text_width": 32,
    "model.text_heads": 2,
    "model.embed_dim": 16,
    "model.context_length": 16,
    "train.steps": 6,
    "train.batch_size": 8,
    "train.warmup_steps": 2,
    "train.val_every_steps": 3,
    "train.checkpoint_every_steps": 2,
    "train.precision": "fp32",
}
N_CLASSES = 4


def tiny_config(**train):
    return load_config("smoke", {**TINY, **{f"train.{name}": value for name, value in train.items()}})


def tiny_tokens(text_types=5):
    names = ["Alba rubra", "Cora nigra", "Doma viridis", "Fina lutea"]
    captions = [[f"a photo of {'wild ' * kind}{name}." for kind in range(text_types)] for name in names]
    return torch.stack([tokenize(row, 16) for row in captions])


def tiny_images(n=24, seed=0, size=20):
    """Images whose mean colour tells their class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % N_CLASSES
    colours = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200], [120, 120, 120]])
    noise = rng.integers(0, 50, (n, size, size, 3))
    return TrainData((colours[labels][:, None, None] + noise).astype(np.uint8), labels, tiny_tokens())


@pytest.mark.numerical
def train_tiny(folder, config, resume=False, data=None, model=None, val=None):
    model = model or build_model(config.model, seed=config.train.seed)
    data, val = data or tiny_images(), val or tiny_images(8, seed=1)
    log = fit(model, data, val, config, Run(folder), resume=resume, progress=False)
    return model, log


def test_training_separates_four_colours(tmp_path):
    config = tiny_config(steps=40, lr=3e-3, warmup_steps=5)
    model, log = train_tiny(tmp_path, config)
    assert log["loss"].iloc[-5:].mean() < 0.75 * log["loss"].iloc[0]
    assert log["val_loss"].iloc[-1] < log["val_loss"].dropna().iloc[0]
    test = tiny_images(20, seed=2)
    with torch.no_grad():
        texts = torch.nn.functional.normalize(encode_tokens(model, test.tokens[:, 1]), dim=-1).numpy()
    predicted = (encode_images(model, test.inputs) @ texts.T).argmax(axis=1)
    assert (predicted == test.labels).mean() > 0.9
    assert not model.training


@pytest.mark.numerical
def test_log_has_one_row_a_step_and_is_written(tmp_path):
    _, log = train_tiny(tmp_path, tiny_config())
    assert list(log) == [
        "step",
        "loss",
        "val_loss",
        "val_top1",
        "lr",
        "logit_scale",
        "grad_norm",
        "skipped",
        "duplicates",
        "unreadable",
        "images_per_s",
        "data_wait",
        "gpu_gib",
        "wall_s",
    ]
    assert list(log["step"]) == [1, 2, 3, 4, 5, 6]
    assert list(log["step"][log["val_loss"].notna()]) == [3, 6]
    assert log["wall_s"].is_monotonic_increasing
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "tables" / "train_log.csv"), log)
    assert [path.name for path in list_checkpoints(tmp_path / "checkpoints")] == ["step-000004.pt", "step-000006.pt"]


def test_the_probe_of_the_log_is_zero_shot_on_the_validation_images(tmp_path):
    val = tiny_images(8, seed=1)
    model, log = train_tiny(tmp_path, tiny_config(steps=6, lr=3e-3), val=val)
    with torch.no_grad():
        texts = torch.nn.functional.normalize(encode_tokens(model, val.tokens[:, -1]), dim=-1).numpy()
    predicted = (encode_images(model, val.inputs) @ texts.T).argmax(axis=1)
    assert log["val_top1"].iloc[-1] == (predicted == val.labels).mean()
    assert log["val_top1"].notna().tolist() == log["val_loss"].notna().tolist()


def test_the_hook_gets_every_row_as_it_is_made(tmp_path):
    config, seen = tiny_config(), []
    model = build_model(config.model, seed=0)
    log = fit(model, tiny_images(), tiny_images(8), config, Run(tmp_path), progress=False, on_step=seen.append)
    pd.testing.assert_frame_equal(pd.DataFrame(seen), log)
    assert log["data_wait"].between(0, 1).all() and log["gpu_gib"].isna().all()


def test_what_a_hook_does_to_its_row_stays_with_the_hook(tmp_path):
    config = tiny_config(steps=1)
    data = tiny_images()
    log = fit(build_model(config.model), data, data, config, Run(tmp_path), progress=False, on_step=dict.clear)
    assert len(log) == 1 and log["loss"].notna().all()


class _StopError(Exception):
    pass


def interrupt(monkeypatch, after):
    """Stop training as a crash would, after some steps."""
    step = Trainer.train_step

    def stop(self, *args):
        if self.step == after:
            raise _StopError
        return step(self, *args)

    monkeypatch.setattr(Trainer, "train_step", stop)


@pytest.mark.numerical
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("after", [3, 4])
def test_resumed_training_ends_with_the_same_bits(tmp_path, precision, after):
    config = tiny_config(precision=precision)
    model, log = train_tiny(tmp_path / "whole", config)
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, after)
        with pytest.raises(_StopError):
            train_tiny(tmp_path / "cut", config)
    resumed, resumed_log = train_tiny(tmp_path / "cut", config, resume=True)
    assert model_digest(resumed) == model_digest(model)
    columns = ["step", "loss", "val_loss", "lr", "logit_scale", "grad_norm"]
    assert resumed_log[columns].equals(log[columns])


def test_resuming_a_finished_training_restores_it(tmp_path):
    config = tiny_config()
    model, log = train_tiny(tmp_path, config)
    again, same = train_tiny(tmp_path, config, resume=True)
    assert model_digest(again) == model_digest(model)
    assert same.equals(log)


def test_a_checkpoint_is_let_go_once_it_is_read(tmp_path, monkeypatch):
    train_tiny(tmp_path, tiny_config())
    list_checkpoints(tmp_path / "checkpoints")[-1].unlink()
    read, held = train.read_checkpoint, []

    def watched(*args):
        step, state = read(*args)
        held.append(weakref.ref(state["model"]["visual.proj"]))
        return step, state

    monkeypatch.setattr(train, "read_checkpoint", watched)
    config, data = tiny_config(), tiny_images(8, seed=1)
    seen = lambda row: held.append(held[0]())  # noqa: E731
    fit(build_model(config.model), tiny_images(), data, config, Run(tmp_path), True, False, seen)
    assert held[1:] == [None, None]


def test_damaged_checkpoint_falls_back_to_the_one_before(tmp_path):
    config = tiny_config()
    model, _ = train_tiny(tmp_path, config)
    newest = list_checkpoints(tmp_path / "checkpoints")[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.warns(UserWarning, match=r"step-000006.pt is damaged"):
        again, _ = train_tiny(tmp_path, config, resume=True)
    assert model_digest(again) == model_digest(model)


def test_pickled_code_in_a_checkpoint_is_not_run(tmp_path):
    marker = tmp_path / "ran"

    class Malicious:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    config = tiny_config()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step-000004.pt").write_bytes(pickle.dumps(Malicious(), protocol=2))
    with pytest.warns(UserWarning, match="damaged"):
        _, log = train_tiny(tmp_path, config, resume=True)
    assert not marker.exists()
    assert len(log) == config.train.steps


def test_checkpoint_of_other_settings_is_refused(tmp_path):
    train_tiny(tmp_path, tiny_config())
    with pytest.raises(InputError, match=r"another training \(train\.lr: 0\.001 there, 0\.01 wanted"):
        train_tiny(tmp_path, tiny_config(lr=0.01), resume=True)
    wider = load_config("smoke", {**TINY, "model.embed_dim": 8})
    with pytest.raises(InputError, match="another training"):
        train_tiny(tmp_path, wider, resume=True)
    with pytest.raises(InputError, match=r"another training \(initial_weights.*delete .*checkpoints to train anew"):
        train_tiny(tmp_path, tiny_config(), resume=True, model=build_model(tiny_config().model, seed=9))


def test_other_images_or_names_are_trained_on_from_the_start(tmp_path):
    images, config = tiny_images(), tiny_config(epochs=2.0, steps=0)
    train_tiny(tmp_path, config, data=images)
    assert len(train_tiny(tmp_path, config, resume=True, data=images)[1]) == 6
    one = images.inputs.copy()
    one[7, 0, 0] ^= 1
    for i, data in enumerate(
        (
            dataclasses.replace(images, inputs=one),
            dataclasses.replace(images, tokens=images.tokens.flip(0)),
            dataclasses.replace(images, labels=images.labels[::-1].copy()),
            tiny_images(32),  # an epoch has more steps
        )
    ):
        with pytest.warns(UserWarning, match=r"training starts anew, and step-00000\d.pt and older go: the photo"):
            model, log = train_tiny(tmp_path, config, resume=True, data=data)
        again, _ = train_tiny(tmp_path / str(i), config, data=data)
        assert model_digest(model) == model_digest(again) and len(log) == (8 if i == 3 else 6)
    with pytest.raises(InputError, match=r"another training \(train\.lr: 0\.001 there, 0\.01 wanted"):
        train_tiny(tmp_path, tiny_config(epochs=2.0, steps=0, lr=0.01), resume=True, data=images)


def test_starting_over_forgets_earlier_checkpoints(tmp_path):
    train_tiny(tmp_path, tiny_config())
    train_tiny(tmp_path, tiny_config(steps=2))
    assert [path.name for path in list_checkpoints(tmp_path / "checkpoints")] == ["step-000002.pt"]


def test_seed_decides_the_result_and_the_global_generator_does_not(tmp_path):
    config = tiny_config()
    torch.manual_seed(1)
    a, _ = train_tiny(tmp_path / "a", config)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    b, _ = train_tiny(tmp_path / "b", config)
    assert torch.equal(torch.get_rng_state(), state)
    c, _ = train_tiny(tmp_path / "c", tiny_config(seed=1))
    assert model_digest(a) == model_digest(b) != model_digest(c)


def test_loss_that_is_not_finite_stops_training(tmp_path):
    config = tiny_config()
    model = build_model(config.model)
    with torch.no_grad():
        model.visual.proj[0, 0] = math.nan
    with pytest.raises(InputError, match=r"the loss is nan at step 1; .*bad_batch.csv; lower train\.lr"):
        train_tiny(tmp_path, config, model=model)
    bad = pd.read_csv(tmp_path / "tables" / "bad_batch.csv")
    assert sorted(bad["row"]) == sorted(batch_indices(24, 8, 0, 0).tolist())
    assert list(bad["label"]) == list(bad["row"] % N_CLASSES)
    assert not bad["finite_image_features"].any()
    assert model.token_embedding.num_embeddings == 49_408
    assert not list_checkpoints(tmp_path / "checkpoints")


@pytest.mark.parametrize("steps", [4, 8])
def test_a_gradient_that_is_not_finite_stops_training_before_the_weights_take_it(tmp_path, monkeypatch, steps):
    backward = Optimizer.backward

    def overflow(self, loss):
        backward(self, loss)
        if loss_calls.append(1) or len(loss_calls) == 4:
            self.parameters[0].grad = torch.full_like(self.parameters[0], math.nan)

    loss_calls = []
    monkeypatch.setattr(Optimizer, "backward", overflow)
    config = tiny_config(steps=steps)
    model = build_model(config.model)
    with pytest.raises(InputError, match=r"the gradient's norm is nan at step 4; its batch is in .*bad_batch\.csv"):
        train_tiny(tmp_path, config, model=model)
    assert all(p.isfinite().all() for p in model.parameters())
    assert sorted(pd.read_csv(tmp_path / "tables" / "bad_batch.csv")["row"]) == sorted(
        batch_indices(24, 8, 3, 0).tolist()
    )
    assert [path.name for path in list_checkpoints(Run(tmp_path).checkpoints)] == ["step-000002.pt"]


def test_batch_larger_than_the_set(tmp_path):
    with pytest.warns(UserWarning) as said:
        _, log = train_tiny(tmp_path, tiny_config(batch_size=100, steps=2))
    assert [str(w.message) for w in said] == [
        "train.batch_size is 100, but there are 24 training images: a step takes all 24"
    ]
    assert np.isfinite(log["loss"]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train_tiny(tmp_path, tiny_config(batch_size=24, steps=2))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("lr", 1e-2), ("warmup_steps", 4), ("weight_decay", 0.0), ("beta1", 0.5), ("beta2", 0.9), ("eps", 1e-3),
        ("objective", "clip"), ("batch_size", 4), ("precision", "bf16"), ("text_mixture", "batch"),
        ("text_weights", (1.0, 2.0, 0.0, 0.0, 0.0)), ("crop_area", (0.9, 1.0)), ("mirror", False),
    ],
)  # fmt: skip
def test_every_setting_of_the_recipe_changes_the_weights(tmp_path, setting, value):
    base, _ = train_tiny(tmp_path / "base", tiny_config(steps=2))
    other, _ = train_tiny(tmp_path / "other", tiny_config(steps=2, **{setting: value}))
    assert model_digest(base) != model_digest(other)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"objective": "triplet"}, "unknown train.objective"),
        ({"text_types": ("com",)}, "hold 5 text types, train.text_types 1"),
        ({"freeze_image_tower": True}, "the training inputs are images"),
        ({"precision": "fp8"}, r"unknown train\.precision"),
        ({"text_mixture": "epoch"}, r"unknown train\.text_mixture 'epoch'; choose sample or batch"),
        ({"text_weights": (1.0, 2.0)}, r"text_weights \(1\.0, 2\.0\) do not fit 5"),
        ({"text_weights": (1.0, 1.0, 1.0, 1.0, -0.1)}, r"text_weights is -0\.1; give a number from 0 up"),
        ({"text_weights": (0.0,) * 5}, "not all 0"),
        ({"text_weights": (math.nan,) * 5}, r"text_weights is nan; give a number from 0 up"),
        ({"text_weights": (math.inf,) * 5}, r"text_weights is inf; give a number from 0 up"),
        ({"crop_area": (0.0, 1.0)}, r"train\.crop_area"),
        ({"crop_area": (0.9, 0.5)}, r"train\.crop_area"),
        ({"crop_area": (0.5, 1.1)}, r"train\.crop_area"),
        ({"crop_area": (0.5,)}, r"train\.crop_area"),
        ({"higher_rank_share": 1.5}, r"train\.higher_rank_share is 1\.5"),
        ({"decode_workers": 0}, r"train\.decode_workers is 0; give a number from 1"),
        ({"steps": 0}, r"train\.steps is 0"),
        ({"epochs": math.nan}, r"train\.epochs is nan"),
        ({"batch_size": 0}, r"train\.batch_size is 0"),
        ({"micro_batch_size": -1}, r"train\.micro_batch_size is -1"),
        ({"val_every_steps": 0}, r"train\.val_every_steps is 0"),
        ({"checkpoint_every_steps": 0}, r"train\.checkpoint_every_steps is 0"),
        ({"lr": -1.0}, r"train\.lr is -1; give a number from 0 up$"),
        ({"grad_clip": math.nan}, r"train\.grad_clip is nan"),
        ({"beta2": 1.0}, r"train\.beta2 is 1; give a number from 0 up, below 1"),
        ({"token_dropout": -0.1}, r"train\.token_dropout is -0\.1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, train, message):
    with pytest.raises(InputError, match=message):
        train_tiny(tmp_path, tiny_config(**train))


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": np.zeros((24, 20, 20, 3), np.float32)},
        {"inputs": np.zeros((23, 20, 20, 3), np.uint8)},
        {"labels": np.full(24, 4)},
        {"labels": np.full(24, -1)},
    ],
)
def test_data_that_do_not_belong_together_are_refused(change):
    with pytest.raises(ValueError, match=r"inputs|labels"):
        dataclasses.replace(tiny_images(), **change)


def test_validation_data_that_the_model_cannot_judge_are_refused(tmp_path):
    data = tiny_images(24)
    more = dataclasses.replace(data, tokens=np.concatenate([data.tokens, data.tokens]), groups=None)
    ones, twos = (TrainData(np.ones((24, n), np.float32), data.labels, data.tokens) for n in (8, 9))
    for val, changes, message in (
        (more, {"objective": "classification"}, "their classes are numbered apart"),
        (ones, {}, r"the inputs are \(20, 20, 3\) and \(8,\)"),
    ):
        config = tiny_config(**changes)
        with pytest.raises(InputError, match=message):
            fit(build_model(config.model), data, val, config, Run(tmp_path), progress=False)
    config = tiny_config(freeze_image_tower=True)
    with pytest.raises(InputError, match=r"the inputs are \(8,\) and \(9,\)"):
        fit(build_model(config.model), ones, twos, config, Run(tmp_path), progress=False)


@pytest.mark.numerical
def test_a_set_without_images(tmp_path):
    config, data = tiny_config(steps=3), tiny_images()
    nothing = dataclasses.replace(data, inputs=np.zeros((0, 1, 1, 3), np.uint8), labels=np.zeros(0, np.int64))
    with pytest.raises(InputError, match="no training images"):
        train_tiny(tmp_path, config, data=nothing)
    log = fit(build_model(config.model), data, nothing, config, Run(tmp_path), progress=False)
    assert log["val_loss"].isna().all()
    assert np.isfinite(log["loss"]).all()


def test_frozen_tower_trains_its_head_and_the_text_tower_alone(tmp_path):
    config = load_config("photos", {**TINY, "model.image_size_px": 32, "train.steps": 2})
    model = build_model(config.model)
    train, val = tiny_images(12, size=32), tiny_images(4, seed=1, size=32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    features = [dataclasses.replace(data, inputs=trunk_features(model, data.inputs)) for data in (train, val)]
    assert features[0].inputs.shape == (12, 1280)
    fit(model, *features, config, Run(tmp_path), progress=False)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith("visual.trunk") for name in changed)
    assert {"visual.head.proj.weight", "text_projection", "logit_scale", "token_embedding.weight"} <= changed


def test_unfrozen_tower_trains_its_trunk(tmp_path):
    config = load_config(
        "photos", {**TINY, "model.image_size_px": 32, "train.steps": 1, "train.freeze_image_tower": False}
    )
    model = build_model(config.model)
    before = {name: value.clone() for name, value in model.visual.trunk.state_dict().items()}
    fit(model, tiny_images(8, size=32), tiny_images(4, size=32), config, Run(tmp_path), progress=False)
    after = model.visual.trunk.state_dict()
    assert not torch.equal(after["conv_stem.weight"], before["conv_stem.weight"])
    assert not torch.equal(after["bn1.running_mean"], before["bn1.running_mean"])


def test_logit_scale_stays_in_its_bounds(tmp_path):
    config = tiny_config(steps=1)
    model = build_model(config.model)
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
    _, log = train_tiny(tmp_path, config, model=model)
    assert model.logit_scale.item() == pytest.approx(MAX_LOGIT_SCALE)
    assert log["logit_scale"].iloc[-1] == pytest.approx(100, rel=1e-6)


@given(n=st.integers(1, 40), batch_size=st.integers(1, 50), seed=st.integers(0, 5), epoch=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_an_epoch_sees_every_row_at_most_once(n, batch_size, seed, epoch):
    size = min(n, batch_size)
    n_batches = n // size
    rows = torch.cat([batch_indices(n, batch_size, epoch * n_batches + i, seed) for i in range(n_batches)]).tolist()
    assert len(set(rows)) == len(rows) == n_batches * size
    assert set(rows) <= set(range(n))


def test_the_order_of_an_epoch_is_drawn_once(monkeypatch):
    drawn, randperm = [], torch.randperm
    monkeypatch.setattr(torch, "randperm", lambda n, **kwargs: drawn.append(n) or randperm(n, **kwargs))
    for step in range(6):
        batch_indices(37, 12, step, 5)
    assert drawn == [37, 37]


def test_epochs_and_seeds_differ():
    draws = [tuple(batch_indices(30, 30, step, seed).tolist()) for step, seed in [(0, 0), (1, 0), (0, 1), (1, 1)]]
    assert len(set(draws)) == 4


def test_the_recipe_in_steps_and_rates_by_hand():
    config = tiny_config(steps=0, epochs=2.0, batch_size=100)
    assert [with_steps(config, n).train.steps for n in (1_000, 40, 1)] == [20, 2, 2]  # a small set is one batch
    assert with_steps(tiny_config(), 1_000) == tiny_config()
    cfg = TrainConfig(steps=100, warmup_steps=10, lr=1.0)
    assert [round(learning_rate(step, cfg), 2) for step in (0, 9, 10, 55, 100)] == [0.1, 1.0, 1.0, 0.5, 0.0]


@given(steps=st.integers(1, 200), warmup=st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_learning_rate_rises_then_falls_to_zero(steps, warmup):
    cfg = TrainConfig(steps=steps, warmup_steps=warmup, lr=1.0)
    rates = [learning_rate(step, cfg) for step in range(steps + 1)]
    assert all(0 <= rate <= 1 for rate in rates)
    assert all(a <= b for a, b in itertools.pairwise(rates[:warmup]))
    assert all(a >= b for a, b in itertools.pairwise(rates[warmup:]))
    if steps > warmup:
        assert rates[-1] == pytest.approx(0)


@pytest.mark.numerical
def test_only_matrices_decay():
    model = build_model(tiny_config().model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decay, rest = ([names[id(p)] for p in group["params"]] for group in parameter_groups(model, 0.2))
    assert {"token_embedding.weight", "text_projection", "visual.conv1.weight", "visual.proj"} <= set(decay)
    assert {"logit_scale", "positional_embedding", "visual.positional_embedding", "ln_final.weight"} <= set(rest)
    assert not any(name.endswith("bias") for name in decay)
    assert len(decay) + len(rest) == len(names)


@pytest.mark.numerical
def test_compact_vocabulary_is_exact_and_leaves_the_rest(tmp_path):
    model = build_model(tiny_config().model)
    tokens = tiny_tokens()
    full = model.token_embedding.weight.detach().clone()
    used = torch.unique(tokens)
    with torch.no_grad():
        expected = encode_tokens(model, tokens[:, 0])
        with compact_vocabulary(model, tokens, tokens[:1]) as (compact, part):
            assert model.token_embedding.num_embeddings == len(used)
            assert torch.equal(encode_tokens(model, compact[:, 0]), expected)
            assert torch.equal(part, compact[:1])
            model.token_embedding.weight += 1
    assert torch.equal(model.token_embedding.weight[used], full[used] + 1)
    others = torch.ones(len(full), dtype=torch.bool)
    others[used] = False
    assert torch.equal(model.token_embedding.weight[others], full[others])


@pytest.mark.numerical
def test_augmentation_of_a_constant_image_is_constant():
    images = torch.full((16, 20, 20, 3), 77, dtype=torch.uint8)
    out = augment(images, (12, 12), draw_crops(16, torch.Generator().manual_seed(0)), (0.5, 1.0), True)
    assert out.shape == (16, 3, 12, 12)
    torch.testing.assert_close(out, torch.full_like(out, 77.0))


def test_augmentation_cuts_half_to_all_of_the_image_and_mirrors_half():
    ramp = torch.arange(64, dtype=torch.uint8)
    images = torch.stack(
        [ramp.expand(64, 64), ramp[:, None].expand(64, 64), torch.zeros(64, 64, dtype=torch.uint8)], -1
    )
    out = augment(
        images.expand(400, -1, -1, -1), (32, 32), draw_crops(400, torch.Generator().manual_seed(0)), (0.5, 1.0), True
    )
    width = (out[:, 0, 16, -1] - out[:, 0, 16, 0]) / 31 * 32  # the ramp's rise over the cut, in pixels
    height = (out[:, 1, -1, 16] - out[:, 1, 0, 16]) / 31 * 32
    area = (width.abs() * height / 64**2).numpy()
    assert 0.45 < area.min() < 0.55
    assert 0.95 < area.max() <= 1.05
    assert (height > 0).all()  # never upside down
    assert 0.4 < (width < 0).float().mean() < 0.6
    assert out.min() >= 0
    assert out.max() <= 63


@pytest.mark.numerical
@pytest.mark.parametrize("least", [0.2, 0.9])
def test_crops_keep_the_area_that_is_asked_for_and_are_mirrored_if_asked(least):
    ramp = torch.arange(64, dtype=torch.uint8)
    images = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64), ramp.expand(64, 64)], -1)
    crops = draw_crops(400, torch.Generator().manual_seed(0))
    out = augment(images.expand(400, -1, -1, -1), (32, 32), crops, (least, 1.0), False)
    width = (out[:, 0, 16, -1] - out[:, 0, 16, 0]) / 31 * 32
    height = (out[:, 1, -1, 16] - out[:, 1, 0, 16]) / 31 * 32
    area = width * height / 64**2
    torch.testing.assert_close(area, least + (1 - least) * crops[0], atol=0.04, rtol=0)  # the border is clamped
    assert (width > 0).all()  # none mirrored
    ratio = width / height
    assert ratio.min() > 0.72 and ratio.max() < 1.39 and (ratio > 1.02).any() and (ratio < 0.98).any()
    whole = augment(images[None], (64, 64), crops[:, :1], (1.0, 1.0), False)
    torch.testing.assert_close(whole[0], images.permute(2, 0, 1).float(), atol=1e-3, rtol=0)


def test_dropped_tokens_are_those_between_start_and_end():
    tokens = torch.tensor([[8, 3, 4, 9, 0]])  # 9, the highest, is the end
    assert drop_tokens(tokens, 1.0, torch.Generator()).tolist() == [[8, 0, 0, 9, 0]]
    assert torch.equal(drop_tokens(tokens, 0.0, torch.Generator()), tokens)
    many = drop_tokens(tokens.repeat(2_000, 1), 0.25, torch.Generator().manual_seed(0))
    assert (many[:, 1:3] == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)  # 4 standard errors


def types_drawn(n=4_000, n_columns=5, seed=0, **train):
    return draw_types(n, tiny_config(**train).train, n_columns, torch.Generator().manual_seed(seed))


def test_text_types_are_drawn_as_often_as_their_weights_say():
    weights = (3.0, 0.0, 1.0, 2.0, 2.0)
    counts = torch.bincount(types_drawn(text_weights=weights), minlength=5).numpy()
    expected = 4_000 * np.array(weights) / 8
    assert counts[1] == 0
    assert (((counts - expected) ** 2)[expected > 0] / expected[expected > 0]).sum() < 16.3  # chi-squared, 3 df, 0.001
    counts = torch.bincount(types_drawn(), minlength=5).numpy()
    assert ((counts - 800) ** 2 / 800).sum() < 18.5  # 4 df
    with_higher = types_drawn(n_columns=8, text_weights=(0.0, 1.0, 0.0, 0.0, 0.0), higher_rank_share=0.25)
    shares = torch.bincount(with_higher, minlength=8) / 4_000
    assert shares[[0, 2, 3, 4]].sum() == 0
    assert shares[1].item() == pytest.approx(0.75, abs=0.03)


def test_one_text_type_a_batch_is_drawn_anew_each_step():
    draws = [types_drawn(16, 8, seed, text_mixture="batch") for seed in range(300)]
    assert all(len(set(draw.tolist())) == 1 and draw.shape == (16,) for draw in draws)
    counts = np.bincount([int(draw[0]) for draw in draws], minlength=8)  # half of five types, half of three taxa
    expected = 300 * np.array([0.1] * 5 + [0.5 / 3] * 3)
    assert ((counts - expected) ** 2 / expected).sum() < 24.3  # chi-squared, 7 df, 0.001


def test_augmentation_depends_on_its_generator_alone():
    images = torch.from_numpy(tiny_images().inputs)
    a, b, c = (
        augment(images, (16, 16), draw_crops(len(images), torch.Generator().manual_seed(seed)), (0.5, 1.0), True)
        for seed in (0, 0, 1)
    )
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
