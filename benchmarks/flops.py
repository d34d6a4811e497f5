"""Floating-point operations of a training step, as they are counted for model-FLOPs utilisation."""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bioclip_lib.embed import evaluating
from bioclip_lib.model import encode_tokens


def training_flops(model, n_images, n_texts, n_tokens):
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


def _forward_flops(model, forward):
    """Count the operations of a forward pass, in plain products: the fused kernels of evaluation are not counted."""
    with evaluating(model), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.train()
        forward()
    return counter.get_total_flops()
