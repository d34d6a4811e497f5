import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_lib.training.losses import clip_loss, soft_target_clip_loss

pytestmark = pytest.mark.numerical


def multi_positive_clip_loss(image, text, scale, labels):
    """All texts of an image's class are its positives."""
    positives = labels[:, None] == labels
    return soft_target_clip_loss(image, text, scale, positives, positives.T)


def pairs(n, width=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    image, text = torch.randn(2, n, width, generator=generator, dtype=torch.float64)
    scale = torch.tensor(7.0, dtype=torch.float64)
    return torch.nn.functional.normalize(image, dim=-1), torch.nn.functional.normalize(text, dim=-1), scale


batches = {"n": st.integers(1, 9), "seed": st.integers(0, 100)}


def test_hand_computed_clip_loss():
    # logits [[2, 0], [1.2, 1.6]]
    image = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    text = torch.eye(2)
    loss = clip_loss(image, text, torch.tensor(2.0))
    rows = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1.2 - 1.6))) / 2
    columns = (math.log(1 + math.exp(1.2 - 2)) + math.log(1 + math.exp(-1.6))) / 2
    assert loss.item() == pytest.approx((rows + columns) / 2, rel=1e-6)


def test_hand_computed_multi_positive_loss():
    # logits 3 * identity; pairs 0 and 1 are of one class
    loss = multi_positive_clip_loss(torch.eye(3), torch.eye(3), torch.tensor(3.0), torch.tensor([4, 4, 9]))
    log_total = math.log(math.exp(3) + 2)
    shared = ((log_total - 3) + log_total) / 2
    alone = log_total - 3
    assert loss.item() == pytest.approx((2 * shared + alone) / 3, rel=1e-6)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_features_that_say_nothing_cost_log_n(n):
    features = torch.ones(n, 4) / 2
    assert clip_loss(features, features, torch.tensor(50.0)).item() == pytest.approx(math.log(n), abs=1e-6)
    labels = torch.zeros(n, dtype=torch.long)
    loss = multi_positive_clip_loss(features, features, torch.tensor(50.0), labels)
    assert loss.item() == pytest.approx(math.log(n), abs=1e-6)


def test_perfect_features_reach_the_minimum():
    features, labels = torch.eye(4)[[0, 0, 1, 2]], torch.tensor([0, 0, 1, 2])
    loss = multi_positive_clip_loss(features, features, torch.tensor(100.0), labels)
    assert loss.item() == pytest.approx(2 * math.log(2) / 4, abs=1e-6)  # the mean of log |P(i)|
    distinct = torch.eye(4)
    assert clip_loss(distinct, distinct, torch.tensor(100.0)).item() == pytest.approx(0, abs=1e-6)
    assert clip_loss(features, features, torch.tensor(100.0)) > 0.3  # the plain form pays for its false negatives


@given(**batches)
@settings(max_examples=40, deadline=None)
def test_distinct_labels_give_the_plain_loss(n, seed):
    image, text, scale = pairs(n, seed=seed)
    labels = torch.randperm(n, generator=torch.Generator().manual_seed(seed)) * 13
    torch.testing.assert_close(multi_positive_clip_loss(image, text, scale, labels), clip_loss(image, text, scale))


@given(**batches)
@settings(max_examples=40, deadline=None)
def test_order_of_the_batch_and_names_of_the_classes_do_not_matter(n, seed):
    image, text, scale = pairs(n, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    labels, order = torch.randint(3, (n,), generator=generator), torch.randperm(n, generator=generator)
    loss = multi_positive_clip_loss(image, text, scale, labels)
    torch.testing.assert_close(multi_positive_clip_loss(image[order], text[order], scale, labels[order]), loss)
    torch.testing.assert_close(multi_positive_clip_loss(image, text, scale, 100 - labels), loss)
    torch.testing.assert_close(multi_positive_clip_loss(text, image, scale, labels), loss)


@given(**batches)
@settings(max_examples=40, deadline=None)
def test_minimum_is_the_entropy_of_the_targets(n, seed):
    image, text, scale = pairs(n, seed=seed)
    labels = torch.randint(3, (n,), generator=torch.Generator().manual_seed(seed))
    floor = torch.log((labels[:, None] == labels).sum(1).double()).mean()
    assert multi_positive_clip_loss(image, text, scale, labels) >= floor - 1e-12


@pytest.mark.parametrize("loss", ["clip", "multi_positive"])
def test_gradients_agree_with_finite_differences(loss):
    image, text, scale = (tensor.clone().requires_grad_() for tensor in pairs(5))
    labels = torch.tensor([0, 1, 0, 2, 1])

    def compute(image, text, scale):
        if loss == "clip":
            return clip_loss(image, text, scale)
        return multi_positive_clip_loss(image, text, scale, labels)

    assert torch.autograd.gradcheck(compute, (image, text, scale))


def test_pairs_of_one_class_do_not_push_each_other_away():
    """A second pair of the class, aligned with the first, is no reason to move."""
    image = torch.eye(3)[[0, 0, 1]].requires_grad_()
    text = torch.eye(3)[[0, 0, 1]]
    scale, labels = torch.tensor(100.0), torch.tensor([0, 0, 1])
    multi = torch.autograd.grad(multi_positive_clip_loss(image, text, scale, labels), image)[0]
    assert multi.abs().max() < 1e-6
