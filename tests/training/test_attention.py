"""Attention in training on a CPU: which kernel computes it, and that it is the same attention."""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from bioclip_lib.model.towers import autocast, build_model
from bioclip_lib.training.adapt import n_patches, quick_attention

from .test_loop import tiny_config

CPU = torch.device("cpu")


def attend(n_tokens, precision, chosen=True):
    """Values and gradients of an attention of 2 heads, and the operations that computed them."""
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(3, 2, n_tokens, 8, generator=generator).requires_grad_() for _ in range(3)]
    with profile(activities=[ProfilerActivity.CPU]) as seen, autocast(precision, CPU):
        with quick_attention(n_tokens if chosen else 10_000, CPU):
            values = torch.nn.functional.scaled_dot_product_attention(*parts)
        values.float().square().sum().backward()
    return [values.float(), *(part.grad for part in parts)], {event.key for event in seen.key_averages()}


@pytest.mark.parametrize(
    ("n_tokens", "precision", "fused"), [(9, "bf16", False), (200, "bf16", True), (9, "fp32", True)]
)
def test_few_tokens_in_bf16_are_attended_to_unfused_and_nothing_else_is(n_tokens, precision, fused):
    operations = attend(n_tokens, precision)[1]
    assert any("flash_attention_for_cpu_backward" in name for name in operations) == fused


@pytest.mark.numerical
def test_both_are_the_same_attention():
    exact = attend(9, "fp32")[0]
    for chosen in (True, False):
        for found, right in zip(attend(9, "bf16", chosen)[0], exact, strict=True):
            assert (found - right).abs().max() <= 0.03 * right.abs().max()  # bf16 keeps 8 bits; sums over 9 tokens


def test_the_tokens_of_an_image_are_counted_in_towers_of_both_libraries():
    import timm  # after the library's torchvision

    clip = build_model(tiny_config().model, seed=0)  # 16 px in patches of 8, and the class token
    of_timm = torch.nn.Module()
    of_timm.trunk = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1)
    assert (n_patches(clip.visual), n_patches(of_timm), n_patches(torch.nn.Conv2d(3, 4, 1))) == (5, 5, 0)
