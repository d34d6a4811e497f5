"""Encoding in parts gives the gradient of the whole batch: through real towers, for every objective."""

import dataclasses

import numpy as np
import pytest
import torch

from bioclip_lib.config import OBJECTIVES, load_config
from bioclip_lib.errors import InputError
from bioclip_lib.model.encode import trunk_features
from bioclip_lib.model.towers import build_model
from bioclip_lib.training.batches import Pairs
from bioclip_lib.training.loop import fit
from bioclip_lib.training.objectives import Objective
from bioclip_lib.training.optimizer import Encoded
from bioclip_lib.training.trainer import Trainer
from tests.training.test_loop import TINY, tiny_config, tiny_images, train_tiny

pytestmark = pytest.mark.numerical

LINEAGES = np.array([[0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1], [0, 1, 1, -1, 1, 1, 2], [1, 2, 2, 1, -1, -1, -1]])


def data_with_lineages(n=24, seed=0, size=20):
    return dataclasses.replace(tiny_images(n, seed, size), lineages=LINEAGES)


def gradients_of_a_step(folder, config, data, **model_settings):
    """Return the loss and the parameters' gradients of one step from the same start."""
    model = build_model(config.model)
    tokens = torch.as_tensor(data.tokens)
    pairs = Pairs.of(data, tokens)
    trainer = Trainer(model, Objective(model, config.train, data), config.train, pairs, pairs)
    if trainer.objective.heads:  # from 0 they would give the features no gradient
        for i, head in enumerate(trainer.objective.heads):
            torch.nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(i))
    row, _ = trainer.train_step(folder / "bad.csv")
    named = [*model.named_parameters(), *trainer.objective.named_parameters()]
    return row["loss"], {name: p.grad for name, p in named if p.grad is not None}


@pytest.mark.parametrize("micro_batch_size", [1, 3, 8, 16])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_gradients_of_parts_are_those_of_the_whole_batch(tmp_path, objective, micro_batch_size):
    train = {"objective": objective, "batch_size": 16, "token_dropout": 0.3}
    loss, whole = gradients_of_a_step(tmp_path, tiny_config(**train), data_with_lineages())
    config = tiny_config(**train, micro_batch_size=micro_batch_size)
    same_loss, parts = gradients_of_a_step(tmp_path, config, data_with_lineages())
    assert same_loss == pytest.approx(loss, rel=1e-6)
    assert parts.keys() == whole.keys()
    assert ("text_projection" in whole) == ("logit_scale" in whole) == ("classification" not in objective)
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-5, atol=1e-5 * gradient.abs().max().item())


@pytest.mark.parametrize("objective", ["multi_positive", "siglip", "hierarchical_classification"])
def test_gradients_of_parts_on_features_of_a_frozen_trunk(tmp_path, objective):
    settings = {**TINY, "model.image_size_px": 32, "train.batch_size": 10, "train.objective": objective}
    config = load_config("photos", settings)
    data = data_with_lineages(12, size=32)
    data = dataclasses.replace(data, inputs=trunk_features(build_model(config.model), data.inputs))
    _, whole = gradients_of_a_step(tmp_path, config, data)
    parted = load_config("photos", {**settings, "train.micro_batch_size": 4})
    _, parts = gradients_of_a_step(tmp_path, parted, data)
    assert "visual.head.proj.weight" in whole and "visual.trunk.conv_stem.weight" not in whole
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-5, atol=1e-5 * gradient.abs().max().item())


def test_gradient_checkpointing_gives_the_same_gradient(tmp_path):
    config, lean = tiny_config(), tiny_config(grad_checkpointing=True, micro_batch_size=3)
    _, plain = gradients_of_a_step(tmp_path, config, data_with_lineages())
    _, again = gradients_of_a_step(tmp_path, lean, data_with_lineages())
    for name, gradient in plain.items():
        torch.testing.assert_close(again[name], gradient, rtol=1e-5, atol=1e-5 * gradient.abs().max().item())
    model, _ = train_tiny(tmp_path, lean)
    assert not model.transformer.grad_checkpointing and not model.visual.transformer.grad_checkpointing


def test_parts_are_encoded_twice_and_never_more_than_asked():
    seen = []

    def encode(rows):
        seen.append(rows.stop - rows.start)
        return torch.arange(10.0)[rows, None] * weight

    weight = torch.ones(2, requires_grad=True)
    encoded = Encoded(encode, slice(1, 8), 3)
    assert seen == [3, 3, 1]
    assert encoded.values.tolist() == [[i, i] for i in range(1, 8)] and not encoded.values.requires_grad
    encoded.backward(torch.ones(10, 2))
    assert seen == [3, 3, 1] * 2
    assert weight.grad.tolist() == [28.0, 28.0]
    seen.clear()
    whole = Encoded(encode, slice(0, 10), 0)
    whole.backward(torch.ones(10, 2))
    assert seen == [10]
    assert Encoded(encode, slice(4, 4), 3).values.shape == (0, 2)


def test_clipping_scales_a_long_gradient_and_leaves_a_short_one(tmp_path):
    def norm(grad_clip):
        _, gradients = gradients_of_a_step(tmp_path, tiny_config(grad_clip=grad_clip), data_with_lineages())
        return torch.nn.utils.get_total_norm(list(gradients.values())).item()

    free = norm(0.0)
    assert norm(free / 10) == pytest.approx(free / 10, rel=1e-4)
    assert norm(free * 10) == pytest.approx(free, rel=1e-6)
    _, log = train_tiny(tmp_path, tiny_config(grad_clip=free / 10))
    assert log["grad_norm"].iloc[0] == pytest.approx(free, rel=1e-5)  # the log keeps the norm before clipping


def test_a_trunk_with_batch_norm_is_not_encoded_in_parts(tmp_path):
    settings = {**TINY, "model.image_size_px": 32, "train.freeze_image_tower": False, "train.micro_batch_size": 4}
    config = load_config("photos", settings)
    data = tiny_images(8, size=32)
    with pytest.raises(InputError, match=r"BatchNorm.*micro_batch_size=0"):
        fit(build_model(config.model), data, data, config, None, progress=False)
