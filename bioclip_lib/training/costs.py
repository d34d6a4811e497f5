"""What training costs: floating-point operations of a step, and hours and energy of a recipe at a measured rate."""

from collections.abc import Callable

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ..model.encode import evaluating
from ..model.text import encode_tokens


def estimate_cost(flops_per_pair: float, n_pairs: float, flops_per_s: float, watts: float) -> dict[str, float]:
    """Estimate what a training costs on a machine that has been measured.

    Parameters
    ----------
    flops_per_pair : float
        Operations of one image-text pair, of `training_flops`.
    n_pairs : float
        Pairs seen: images times epochs.
    flops_per_s : float
        What the machine sustains in training: images/s there times the operations of a pair there.
    watts : float
        What the machine draws under load; not measured here.

    Returns
    -------
    dict
        ``hours`` and ``kWh``.

    Notes
    -----
    A larger model usually sustains more of a machine's rate than a small one, so this errs on the high side.

    Examples
    --------
    >>> estimate_cost(1e9, 3.6e6, 1e12, 500)
    {'hours': 1.0, 'kWh': 0.5}
    """
    hours = flops_per_pair * n_pairs / flops_per_s / 3_600
    return {"hours": hours, "kWh": hours * watts / 1_000}


def training_flops(model: torch.nn.Module, n_images: int, n_texts: int, n_tokens: int) -> int:
    """Count the operations of one training step of an open_clip model.

    Parameters
    ----------
    model : open_clip model
    n_images, n_texts : int
        Images, and distinct captions, of the batch.
    n_tokens : int
        Tokens of the longest caption: the text tower computes no more of them.

    Returns
    -------
    int
        ``3 * (n_images * F_image + n_texts * F_text + 2 * n_images * n_texts * D)``, where F is a tower's forward pass
        of one item: 2 operations for each multiply-add of its matrix products and convolutions, attention's among them
        (torch.utils.flop_counter). The backward pass has twice the products of the forward pass, hence the 3; what
        checkpointing or parts of a batch compute again does not count, nor norms, activations and the optimiser.
    """
    device, size = model.logit_scale.device, model.visual.preprocess_cfg["size"]
    height, width = (size, size) if isinstance(size, int) else size
    tokens = torch.zeros(1, model.context_length, dtype=torch.long, device=device)
    tokens[0, n_tokens - 1] = model.vocab_size - 1  # the end token
    image = _forward_flops(model, lambda: model.encode_image(torch.zeros(1, 3, height, width, device=device)))
    text = _forward_flops(model, lambda: encode_tokens(model, tokens))
    with torch.no_grad():
        dimension = model.encode_text(tokens).shape[1]
    return 3 * (n_images * image + n_texts * text + 2 * n_images * n_texts * dimension)


def _forward_flops(model: torch.nn.Module, forward: Callable) -> int:
    """Count the operations of a forward pass, in plain products: the fused kernels of evaluation are not counted."""
    with evaluating(model), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.train()
        forward()
    return counter.get_total_flops()
