"""The losses of the objectives by hand, their laws, and what each teaches a tiny tower."""

import dataclasses
import math

import bioclip_lib.model  # noqa: F401 (before open_clip)

# isort: split
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.model import CLIP

from bioclip_lib.config import OBJECTIVES, load_config
from bioclip_lib.errors import InputError
from bioclip_lib.evaluation import classifiers, few_shot
from bioclip_lib.evaluation.contestants import class_encoder
from bioclip_lib.model.encode import encode_images
from bioclip_lib.model.load import export_model, load_model
from bioclip_lib.model.towers import build_model
from bioclip_lib.training.batches import Batch, Pairs
from bioclip_lib.training.losses import (
    clip_loss,
    lineage_distance,
    path_weights,
    rank_cross_entropy,
    sigmoid_loss,
    sister_loss,
    soft_target_clip_loss,
    tree_weights,
)
from bioclip_lib.training.objectives import CLASS_OBJECTIVES, Objective
from tests.training.test_loop import tiny_config, tiny_images, train_tiny
from tests.training.test_parts_of_a_batch import LINEAGES, data_with_lineages

pytestmark = pytest.mark.numerical

SCALE, ALL_LABELS = torch.tensor(2.0), torch.tensor([0, 1, 2, 3, 0, 1])


def test_sigmoid_loss_by_hand():
    # logits 2 * [[1, 0], [0.6, 0.8]] - 1 = [[1, -1], [0.2, 0.6]]; text 0 is true of both images
    image, text = torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.eye(2)
    true = torch.tensor([[True, False], [True, True]])
    loss = sigmoid_loss(image, text, SCALE, torch.tensor(-1.0), true)
    terms = [math.log(1 + math.exp(-z)) for z in (1, 1, 0.2, 0.6)]  # signed: +1, -(-1), +0.2, +0.6
    assert loss.item() == pytest.approx(sum(terms) / 2, rel=1e-6)


def test_soft_targets_by_hand():
    # logits [[2, 0], [1.2, 1.6]], weights 3 : 1 and 1 : 1
    image, text = torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.eye(2)
    weights = torch.tensor([[3.0, 1.0], [1.0, 1.0]])
    loss = soft_target_clip_loss(image, text, SCALE, weights, torch.eye(2))
    rows = math.log(math.exp(2) + 1) - 0.75 * 2, math.log(math.exp(1.2) + math.exp(1.6)) - 1.4
    columns = math.log(math.exp(2) + math.exp(1.2)) - 2, math.log(1 + math.exp(1.6)) - 1.6
    assert loss.item() == pytest.approx((sum(rows) / 2 + sum(columns) / 2) / 2, rel=1e-6)


def test_rank_cross_entropy_by_hand():
    # rank 1: images 0 and 1 known; rank 2: image 2 alone; rank 3: nobody
    logits = [torch.tensor([[1.0, 0.0], [0.0, 0.0], [5.0, 5.0]]), torch.tensor([[9.0, 9.0, 9.0]] * 3), torch.ones(3, 1)]
    taxa = torch.tensor([[0, -1, -1], [1, -1, -1], [-1, 2, -1]])
    expected = (math.log(1 + math.exp(-1)) + math.log(2)) / 2 + math.log(3)
    assert rank_cross_entropy(logits, taxa).item() == pytest.approx(expected, rel=1e-6)


def test_sister_loss_by_hand():
    """Images 0 and 1 are species of one genus, 2 of another phylum, 3 of another kingdom; logits 2 * identity."""
    lineages = torch.tensor(LINEAGES)
    distance, true = lineage_distance(lineages, lineages), torch.eye(4, dtype=torch.bool)
    loss = sister_loss(torch.eye(4), torch.eye(4), SCALE, distance, (true, true))
    e = math.exp(2)
    species = 2 * math.log((e + 1) / e)  # of 0 and 1, one against the other
    phylum = 2 * math.log((e + 2) / (e + 1)) + math.log((e + 2) / e)  # both of 0's genus are right against 2
    kingdom = 2 * math.log((e + 3) / (e + 2)) + math.log((e + 3) / (e + 2)) + math.log((e + 3) / e)
    assert loss.item() == pytest.approx((species + phylum + kingdom) / 4, rel=1e-6)
    assert sister_loss(torch.eye(4), torch.eye(4), SCALE, torch.zeros(4, 4).long(), (true | True,) * 2).item() == 0


def test_lineage_distance_and_weights_by_hand():
    lineages = torch.tensor(LINEAGES)
    distance = lineage_distance(lineages, lineages)
    # 0 and 1: species alone. 2 parts from both at the phylum. 3 is of another kingdom.
    assert distance.tolist() == [[0, 1, 6, 7], [1, 0, 6, 7], [6, 6, 0, 7], [7, 7, 7, 0]]
    unknown = torch.tensor([[0, 0, 0, -1, -1, -1, -1], [0, -1, -1, -1, -1, -1, 5], [-1] * 7])
    assert lineage_distance(unknown, lineages[:2]).tolist() == [[0, 0], [1, 1], [0, 0]]
    positives = torch.tensor([[True, False, False]])
    weights = tree_weights(torch.tensor([[0, 0, 2]]), positives, 0.5)  # unknown, but another class: distance 1
    total = 1 + math.exp(-2) + math.exp(-4)
    assert weights[0].tolist() == pytest.approx([1 / total, math.exp(-2) / total, math.exp(-4) / total], rel=1e-6)
    sharp = tree_weights(distance, distance == 0, 0.01)
    assert torch.allclose(sharp, torch.eye(4))  # as the temperature falls: multi-positive


def test_ranks_of_a_path_weigh_alike_by_hand():
    """Of image 0 two captions of its species are in the batch, one of its order, and one of its genus; image 1 none."""
    positives = torch.tensor([[True, True, True, True, False], [False] * 5])
    weights = path_weights(positives, torch.tensor([0, 0, 1, 3, 3]))
    assert weights.tolist() == [[0.5, 0.5, 1, 1, 0], [0] * 5]


def batch_of(labels, seed=0, n_types=5):
    types = torch.randint(n_types, (len(labels),), generator=torch.Generator().manual_seed(seed))
    return Batch(torch.arange(len(labels)), labels, types, None, None, None)


def features_of(n, seed):
    image, text = torch.randn(2, n, 16, generator=torch.Generator().manual_seed(seed))
    return image, torch.nn.functional.normalize(text, dim=-1)


def objective_of(name):
    data = data_with_lineages(8)
    objective = Objective(build_model(tiny_config().model), tiny_config(objective=name).train, data)
    for i, head in enumerate(objective.heads):
        torch.nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(i))
    return objective, Pairs.of(data, torch.as_tensor(data.tokens))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_order_does_not_matter_and_shares_average_to_the_whole(name):
    objective, data = objective_of(name)
    labels, types = ALL_LABELS, torch.tensor([0, 1, 0, 3, 0, 2])
    image, text = features_of(6, seed=1)
    text = text if objective.has_texts else None

    def loss(order, rows):
        batch = Batch(order, labels[order], types[order], None, None, None)
        return objective(image[order], None if text is None else text[order], data, batch, rows)

    plain, order = torch.arange(6), torch.tensor([3, 1, 5, 0, 2, 4])
    whole = loss(plain, slice(0, 6))
    torch.testing.assert_close(loss(order, slice(0, 6)), whole)
    shares = [loss(plain, slice(start, start + 2)) for start in (0, 2, 4)]
    torch.testing.assert_close(torch.stack(shares).mean(), whole)


@pytest.mark.parametrize("name", OBJECTIVES)
@given(seed=st.integers(0, 50))
@settings(max_examples=8, deadline=None)
def test_gradients_are_finite(name, seed):
    objective, data = objective_of(name)
    image, text = features_of(6, seed)
    image.requires_grad_()
    rows = slice(0, 6)
    loss = objective(image, text if objective.has_texts else None, data, batch_of(ALL_LABELS, seed), rows)
    loss.backward()
    assert loss > 0 and image.grad.isfinite().all() and image.grad.abs().max() > 0


def test_a_batch_of_unrelated_species_with_a_cold_temperature_is_plain_clip():
    objective, data = objective_of("hierarchical_contrastive")
    objective.temperature = 0.01
    image, text = features_of(4, seed=0)
    batch = batch_of(torch.arange(4))
    expected = clip_loss(torch.nn.functional.normalize(image, dim=-1), text, objective._clip[0].logit_scale.exp())
    torch.testing.assert_close(objective(image, text, data, batch, slice(0, 4)), expected)


def test_a_resnet_is_trained_on_classes():
    visual = {"layers": [1, 1, 1, 1], "width": 8, "image_size": 32, "patch_size": None}
    clip = CLIP(16, visual, {"context_length": 16, "width": 32, "heads": 2, "layers": 1})
    heads = Objective(clip, tiny_config(objective="classification").train, tiny_images()).heads
    assert [tuple(head.weight.shape) for head in heads] == [(4, 16)]


def few_shot_accuracy(model, data):
    features = encode_images(model, data.inputs)
    folds = few_shot.few_shot_folds(data.labels, [1], 20)[1]
    hits = [classifiers.simple_shot(features, data.labels, *fold) == data.labels[fold[1]] for fold in folds]
    return float(np.mean(np.concatenate(hits)))


def muddy_images(n, seed):
    """Images of four near colours under noise and a light of their own, which an untrained tower does not see past."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 4
    colours = np.array([[140, 110, 110], [110, 140, 110], [110, 110, 140], [125, 125, 110]])
    light = rng.integers(-60, 60, (n, 1, 1, 1))
    pixels = colours[labels][:, None, None] + light + rng.integers(-30, 30, (n, 20, 20, 3))
    data = dataclasses.replace(tiny_images(n), inputs=pixels.clip(0, 255).astype(np.uint8), labels=labels)
    return dataclasses.replace(data, lineages=LINEAGES)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_objective_teaches_the_image_tower(tmp_path, name):
    config = tiny_config(
        objective=name,
        steps=300 if name == "siglip" else 60,  # its bias of -10 expects one true text in thousands; here 1 in 4
        batch_size=32,
        lr=3e-3,
        warmup_steps=5,
        val_every_steps=100,
        checkpoint_every_steps=1_000,
    )
    test = muddy_images(80, seed=7)
    before = few_shot_accuracy(build_model(config.model), test)
    model = build_model(config.model)
    train_tiny(tmp_path, config, data=muddy_images(160, seed=1), model=model, val=muddy_images(8, seed=2))
    loaded = load_model(f"local-dir:{export_model(model, config.model, tmp_path / 'model')}").model
    after = few_shot_accuracy(loaded, test)
    assert after > before + 0.1
    assert (getattr(loaded, "logit_bias", None) is not None) == (name == "siglip")


def test_siglip_starts_as_published_and_goes_on_from_a_trained_bias(tmp_path):
    assert math.log(32_768) == pytest.approx(10, rel=0.05)  # the paper's batch, and the bias that it starts from
    config = tiny_config(objective="siglip")
    model = build_model(config.model)
    Objective(model, config.train, data_with_lineages())
    assert model.logit_scale.exp().item() == pytest.approx(10)
    assert model.logit_bias.item() == pytest.approx(-math.log(config.train.batch_size))
    trained, log = train_tiny(tmp_path, config)
    assert log["logit_scale"].iloc[0] == pytest.approx(10, rel=0.01)
    bias = trained.logit_bias.item()
    assert bias != pytest.approx(-math.log(config.train.batch_size), abs=1e-6)
    Objective(trained, config.train, data_with_lineages())
    assert trained.logit_bias.item() == bias


@pytest.mark.parametrize("name", CLASS_OBJECTIVES)
def test_a_model_without_texts_is_resumed_and_refused_zero_shot(tmp_path, name):
    config = tiny_config(objective=name, steps=4)
    data = data_with_lineages()
    _, log = train_tiny(tmp_path, config, data=data, val=data)
    again, same = train_tiny(tmp_path, config, data=data, val=data, resume=True)
    assert same.equals(log)
    untrained = build_model(config.model)
    assert torch.equal(again.text_projection, untrained.text_projection)
    assert not torch.equal(again.visual.proj, untrained.visual.proj)
    with pytest.raises(InputError, match=f"train.objective={name} is trained without texts.*few-shot"):
        class_encoder(None, config, "trained")


@pytest.mark.parametrize("name", [n for n in OBJECTIVES if n.startswith("hierarchical")])
def test_ranks_are_asked_for_where_they_are_needed(tmp_path, name):
    with pytest.raises(InputError, match=r"needs the ranks of each class"):
        train_tiny(tmp_path, tiny_config(objective=name))
    with pytest.raises(InputError, match=r"needs the ranks of each class; give the validation data lineages"):
        train_tiny(tmp_path, tiny_config(objective=name), data=data_with_lineages(), val=tiny_images(8))
    with pytest.raises(ValueError, match="lineages"):
        dataclasses.replace(tiny_images(), lineages=np.zeros((4, 6), int))
    with pytest.raises(InputError, match=r"tree_temperature is 0; give a number above 0"):
        train_tiny(tmp_path, load_config("smoke", {"train.tree_temperature": 0}))
