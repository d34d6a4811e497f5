"""What training costs: floating-point operations of a step, and hours and energy of a recipe at a measured rate."""

import dataclasses
from collections.abc import Callable

import pandas as pd
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ..config import Config, load_config
from ..model.encode import evaluating
from ..model.text import encode_tokens
from ..model.towers import build_model

N_TOKENS = 40  # of the longest captions


def training_summary(log: pd.DataFrame, config: Config, n_images: int) -> pd.Series:
    """Sum up the log of a training on so many images: what was seen, how fast, and what it waited for.

    Examples
    --------
    >>> log = pd.DataFrame({"images_per_s": [10.0, 30.0], "data_wait": 0.5, "gpu_gib": 0.0})
    >>> log = log.assign(duplicates=0.1, wall_s=9.0)
    >>> training_summary(log, Config("mini"), n_images=128).to_dict()["epochs"]
    2.0
    """
    seen = len(log) * min(config.train.batch_size, n_images)
    return pd.Series(
        {
            "images seen": seen,
            "epochs": round(seen / n_images, 1),
            "images/s (median)": round(log["images_per_s"].median(), 1),
            "of a step spent waiting for images (%)": round(100 * log["data_wait"].median(), 1),
            "peak GPU memory (GiB)": round(log["gpu_gib"].max(), 1),
            "same-class pairs in a batch (%)": round(100 * log["duplicates"].mean(), 1),
            "wall time (s)": round(log["wall_s"].max(), 1),
        }
    )


def cost_at_this_rate(model: torch.nn.Module, log: pd.DataFrame, n_pairs: float, watts: float = 100) -> pd.Series:
    """Estimate what the model of the profile ``paper`` would cost on this machine, at the rate of a training here.

    Parameters
    ----------
    model : open_clip model
        What was trained, both towers.
    log : DataFrame
        Of `fit`.
    n_pairs : float
        Pairs that the large model is to see: images times epochs.
    watts : float
        What the machine draws under load; not measured here.

    Returns
    -------
    Series
        ``GFLOP/s sustained here``, ``hours`` and ``kWh``: high estimates, as a larger model usually sustains more.
    """
    sizes = dataclasses.replace(load_config("paper").model, pretrained="")  # its architecture, without its weights
    ours, theirs = (training_flops(each, 1, 1, N_TOKENS) for each in (model, build_model(sizes)))
    sustained = log["images_per_s"].median() * ours
    hours = theirs * n_pairs / sustained / 3_600
    return pd.Series({"GFLOP/s sustained here": sustained / 1e9, "hours": hours, "kWh": hours * watts / 1_000})


def cost_in_words(estimate: pd.Series) -> pd.Series:
    """Say an estimate of `cost_at_this_rate` as a person reads it.

    Examples
    --------
    >>> cost_in_words(pd.Series({"GFLOP/s sustained here": 88.4, "hours": 617_435.0, "kWh": 61_743.5})).tolist()
    ['88 GFLOP/s', '70 years', '62 MWh']
    """
    hours, kwh = estimate["hours"], estimate["kWh"]
    years, days = hours / (24 * 365.25), hours / 24
    long = f"{years:,.0f} years" if years >= 2 else f"{days:,.0f} days" if days >= 2 else f"{hours:,.1f} hours"
    energy = f"{kwh / 1_000:,.0f} MWh" if kwh >= 10_000 else f"{kwh:,.0f} kWh"
    said = {"sustained here": f"{estimate.iloc[0]:,.0f} GFLOP/s", "time": long, "energy": energy}
    return pd.Series(said, name="the published recipe, on this machine")


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
        of one item: 2 operations for each multiply-add of its products and convolutions. The backward pass has twice
        the products of the forward pass, hence the 3; what is computed again, norms and the optimiser do not count.
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
