"""Which pixels of a photograph speak for its name: two maps of saliency, and how far they can be believed.

`saliency_examples` maps test images of a run; `saliency_scores` judges the maps on new images of the synthetic world,
where the pixels of the organism are known. `occlusion` covers a window at a time and asks how much less likely the name
gets; `gradient_map` weighs what the image tower attends to, or its last map of features, by the gradient of the name's
score. Refuses a tower that has neither attention nor a map of features that can be read.
"""

import contextlib
import math
from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from ..config import SyntheticConfig
from ..errors import InputError
from ..evaluation.tasks import with_interval
from ..files.images import png
from ..model import encode_images
from ..model.encode import normalised, prepare_pixels
from ..model.features import load_split, size_px
from ..model.load import LoadedModel
from ..model.towers import device_of
from ..sources.synthetic import grow_tree
from ..sources.synthetic.render import body_shares, render
from .labels import LABEL, LabelSet
from .naming import logits_of, name_features
from .trained import TrainedRun

MAPS = ("occlusion", "gradient")
CELLS = 12  # of a map, along each side
WINDOW = 3  # cells that are covered at once, along each side
STEPS = 9  # of deletion and insertion
_SHOWN, _DRAWN = 5, 40  # test images; invented ones
_ROWS = 512  # altered images at once


def saliency_examples(run: TrainedRun) -> pd.DataFrame:
    """Map what speaks for the names of some test images.

    Returns
    -------
    DataFrame
        ``title`` (the name given), ``png`` (the image), and a column a map of `MAPS`: its values, row by row.
        A tower of which the gradient cannot be read (`gradient_map`) has the first map alone.
    """
    split = run.split("test")
    if not len(split.rows):
        return pd.DataFrame(columns=["title", "png", *MAPS])
    rows = np.sort(np.random.default_rng(0).permutation(len(split.rows))[:_SHOWN])
    pixels = load_split(run.run, run.model.model, "test")[rows]
    named = name_features(split.features[rows], run.labels, run.calibrated_scale, LABEL, k=1).choices[:, 0]
    table = pd.DataFrame({"title": run.labels.called(named, LABEL), "png": list(map(png, pixels))})
    maps = _maps(run, pixels, named)
    return table.assign(**{name: list(values.reshape(len(rows), -1)) for name, values in maps.items()})


def saliency_scores(run: TrainedRun) -> pd.DataFrame:
    """Score both maps on new images of the synthetic world; a table without rows for a run of photographs.

    Returns
    -------
    DataFrame
        The columns of `judge_maps`, of the right name of each image; intervals are for other species.
    """
    if run.settings["data.source"] != "synthetic":
        return pd.DataFrame()
    prefix = "data.synthetic."
    settings = {key.removeprefix(prefix): value for key, value in run.settings.items() if key.startswith(prefix)}
    config = SyntheticConfig(**settings)
    tree, rng = grow_tree(config, run.settings["split.seed"]), np.random.default_rng([0, 77])
    known = pd.Index(run.labels.names[LABEL]).get_indexer(tree.taxa["scientific_name"])
    index = rng.choice(np.flatnonzero(known >= 0), _DRAWN)
    seeds = rng.integers(0, 2**63, _DRAWN, dtype=np.uint64)
    drawn = tree.genomes[index], seeds, size_px(run.model.model), config.noise
    pixels, named = render(*drawn), known[index]
    asked = run.labels, named, run.calibrated_scale
    return judge_maps(pixels, _maps(run, pixels, named), run.model, asked, body_shares(*drawn), index)


def _maps(run: TrainedRun, pixels: np.ndarray, named: np.ndarray) -> dict[str, np.ndarray]:
    """Return both maps of images; the first alone where the tower cannot be read."""
    asked = pixels, run.model, run.labels, named, run.calibrated_scale
    made = {MAPS[0]: occlusion(*asked)}
    with contextlib.suppress(InputError):
        made[MAPS[1]] = gradient_map(*asked)
    return made


def occlusion(pixels: np.ndarray, model: LoadedModel, labels: LabelSet, named: np.ndarray, scale: float) -> np.ndarray:
    """Map by how much covering a cell makes a name less likely (Zeiler & Fergus 2014), (n, CELLS, CELLS)."""
    starts = [(row, column) for row in range(CELLS - WINDOW + 1) for column in range(CELLS - WINDOW + 1)]
    windows = np.zeros((len(starts), CELLS, CELLS), dtype=bool)
    for window, (row, column) in zip(windows, starts, strict=True):
        window[row : row + WINDOW, column : column + WINDOW] = True
    ask = partial(_log_probability, model=model, labels=labels, scale=scale)
    whole = ask(pixels, named)
    maps = np.empty((len(pixels), CELLS, CELLS), dtype=np.float32)
    for i, image in enumerate(pixels):
        drop = whole[i] - ask(covered(image, windows), np.full(len(windows), named[i]))
        maps[i] = np.tensordot(drop, windows, 1) / windows.sum(axis=0)  # (w,) @ (w, CELLS, CELLS)
    return maps


def gradient_map(
    pixels: np.ndarray, model: LoadedModel, labels: LabelSet, named: np.ndarray, scale: float
) -> np.ndarray:
    """Map what the image tower looks at, weighed by the gradient of a name's log-probability, as `occlusion` does."""
    clip = model.model
    weights = torch.from_numpy(np.asarray(labels.weights, dtype=np.float32)).to(device_of(clip))
    maps, size = [], max(1, _ROWS // 8)
    for start in range(0, len(pixels), size):
        batch = torch.from_numpy(np.ascontiguousarray(pixels[start : start + size])).to(device_of(clip))
        x = prepare_pixels(batch, clip.visual.preprocess_cfg)
        with torch.enable_grad():
            features, relevance = (_of_trunk if hasattr(clip.visual, "trunk") else _of_attention)(clip.visual, x)
            logits = scale * normalised(features) @ weights.T  # (n, D) @ (D, C) -> (n, C)
            own = torch.from_numpy(named[start : start + size]).to(logits.device)
            score = logits.log_softmax(dim=1).gather(1, own[:, None]).sum()
            found = relevance(score)
        maps.append(F.interpolate(found[:, None], (CELLS, CELLS), mode="bilinear")[:, 0].cpu().numpy())
    return np.concatenate(maps)


def judge_maps(
    pixels: np.ndarray,
    maps: Mapping[str, np.ndarray],
    model: LoadedModel,
    asked: tuple[LabelSet, np.ndarray, float],
    on_organism: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> pd.DataFrame:
    """Compare maps with a random order, and with the distance from the middle: ``map, measure, value``, interval, n.

    The mean probability of the name while cells are taken away, the most salient first ("deletion", less is better),
    and put back ("insertion", more is better; Petsiuk et al. 2018, arXiv 1806.07421); the share of images whose most
    salient cell is mostly organism ("pointing", Zhang et al. 2018, arXiv 1608.00507), given its share (n, S, S).
    Intervals are for other `groups` (n,), by default images.
    """
    labels, named, scale = asked
    n, rng = len(pixels), np.random.default_rng(0)
    axis = np.arange(CELLS) - (CELLS - 1) / 2
    middle = -np.hypot(axis[:, None], axis)
    orders = {**maps, "middle": np.broadcast_to(middle, (n, CELLS, CELLS)), "random": rng.random((n, CELLS, CELLS))}
    if on_organism is not None:
        body = by_cell(on_organism)
        orders["organism"] = body
    rows = []
    for name, values in orders.items():
        rank = (-values.reshape(n, -1)).argsort(axis=1, kind="stable").argsort(axis=1).reshape(values.shape)
        found = {}
        for measure in ("deletion", "insertion"):
            curve = []
            for k in np.linspace(0, CELLS**2, STEPS):
                taken = (rank < k) == (measure == "deletion")
                altered = np.concatenate([covered(x, mask[None]) for x, mask in zip(pixels, taken, strict=True)])
                curve.append(np.exp(_log_probability(altered, named, model, labels, scale)))
            found[measure] = np.mean(curve, axis=0)
        if on_organism is not None:
            found["pointing"] = (body[rank == 0] > 0.5).astype(float)
        for measure, value in found.items():
            interval = with_interval(value, np.arange(n) if groups is None else groups)
            rows.append({"map": name, "measure": measure, **interval, "n": n})
    return pd.DataFrame(rows)


def covered(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return an image (S, S, 3) with cells (m, CELLS, CELLS) in its mean colour, (m, S, S, 3)."""
    cell = np.arange(len(image)) * CELLS // len(image)
    mean = image.mean(axis=(0, 1)).round().astype(np.uint8)
    return np.where(masks[:, cell][:, :, cell, None], mean, image)


def by_cell(values: np.ndarray) -> np.ndarray:
    """Return the mean of pixels (n, S, S) in each cell."""
    return F.adaptive_avg_pool2d(torch.from_numpy(values)[:, None], CELLS)[:, 0].numpy()


def _log_probability(
    pixels: np.ndarray, named: np.ndarray, model: LoadedModel, labels: LabelSet, scale: float
) -> np.ndarray:
    """Return the log-probability of candidates for images, (n,)."""
    found = []
    for start in range(0, len(pixels), _ROWS):
        features = encode_images(model.model, pixels[start : start + _ROWS], precision="fp32")
        logits = torch.from_numpy(logits_of(features, labels, scale)).log_softmax(dim=1).numpy()
        found.append(logits[np.arange(len(logits)), named[start : start + _ROWS]])
    return np.concatenate(found)


def _of_trunk(visual: torch.nn.Module, x: torch.Tensor) -> tuple:
    """Return features, and what makes Grad-CAM of a score (Selvaraju et al. 2017, arXiv 1610.02391)."""
    last = visual.trunk.forward_features(x)
    if last.ndim != 4:
        raise InputError(
            "this image tower has no map of features; choose a vision transformer of open_clip's, or a CNN"
        )
    last.requires_grad_() if last.is_leaf else last.retain_grad()
    features = visual.head(visual.trunk.forward_head(last))

    def relevance(score: torch.Tensor) -> torch.Tensor:
        (gradient,) = torch.autograd.grad(score, last)
        weight = gradient.mean(dim=(2, 3), keepdim=True)
        return (weight * last).sum(dim=1).relu().detach()  # (n, F, h, w) -> (n, h, w)

    return features, relevance


def _of_attention(visual: torch.nn.Module, x: torch.Tensor) -> tuple:
    """Return features, and what makes the relevance of patches of a score (Chefer et al. 2021, arXiv 2103.15679)."""
    modules = [m for m in visual.modules() if isinstance(m, torch.nn.MultiheadAttention)]
    if not modules or not hasattr(visual, "conv1"):
        raise InputError(
            "this image tower has no attention to read; choose a vision transformer of open_clip's, or a CNN"
        )
    seen: list[torch.Tensor] = []
    own = [module.forward for module in modules]
    try:
        for module in modules:
            module.forward = partial(_attend, module, seen)
        features = visual(x)
    finally:
        for module, forward in zip(modules, own, strict=True):
            module.forward = forward

    def relevance(score: torch.Tensor) -> torch.Tensor:
        n_tokens = seen[0].shape[-1]
        side = math.isqrt(n_tokens - 1)
        if side**2 != n_tokens - 1:
            raise InputError(
                "this image tower has no class token beside a square of patches; choose another to explain"
            )
        total = torch.eye(n_tokens, device=x.device).expand(len(x), n_tokens, n_tokens)
        for attention, gradient in zip(seen, torch.autograd.grad(score, seen), strict=True):
            step = (gradient * attention).relu().mean(dim=1).detach()  # (n, heads, t, t) -> (n, t, t)
            total = total + step @ total
        return total[:, 0, 1:].reshape(-1, side, side)  # what the class token takes from each patch

    return features, relevance


def _attend(module: torch.nn.MultiheadAttention, seen: list, query: torch.Tensor, *_: object, **__: object) -> tuple:
    """Do what self-attention does, and keep its weights (torch returns a view of these, which has no gradient)."""
    x = query if module.batch_first else query.transpose(0, 1)
    n, t, width = x.shape
    parts = F.linear(x, module.in_proj_weight, module.in_proj_bias).reshape(n, t, 3, module.num_heads, -1)
    q, k, v = parts.permute(2, 0, 3, 1, 4)  # each (n, heads, t, width / heads)
    attention = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(dim=-1)
    if not attention.requires_grad:
        attention.requires_grad_()
    seen.append(attention)
    out = module.out_proj((attention @ v).transpose(1, 2).reshape(n, t, width))
    return (out if module.batch_first else out.transpose(0, 1)), None
