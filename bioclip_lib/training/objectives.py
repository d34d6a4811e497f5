"""What training optimises: from the features of a batch and its classes to the loss, with the weights only it needs.

Takes a model, `TrainConfig` and the classes of the data; returns scalars.

==============================  ====================================================================================
``clip``                        each image against the batch's texts; images of one species are negatives of each other
``multi_positive``              every text that is true of an image is a positive of it
``tree_path``                   as ``multi_positive``, the ranks of an image's true texts weighing alike
``siglip``                      each pair on its own, true or not, with a learned bias
``hierarchical_contrastive``    the texts of related taxa are true in part, the nearer the more
``hierarchical_sisters``        rank by rank, the texts of sisters of one parent are the negatives, and no others
``classification``              no texts: a linear classifier of the classes on the image features
``hierarchical_classification`` no texts: a linear classifier a rank
==============================  ====================================================================================
"""

import math

import torch

from ..config import TrainConfig
from ..model.encode import normalised
from .batches import Batch, Pairs, TrainData
from .losses import (
    clip_loss,
    lineage_distance,
    path_weights,
    rank_cross_entropy,
    sigmoid_loss,
    sister_loss,
    soft_target_clip_loss,
    tree_weights,
)

CLASS_OBJECTIVES = ("classification", "hierarchical_classification")
SIGLIP_SCALE = math.log(10)


class Objective(torch.nn.Module):
    """An objective and its own weights: linear classifiers, which start from 0; none with texts.

    For ``siglip`` a model without a logit bias gets one, in place, and starts from the scale 10 and a bias at which one
    pair of a batch is true of each image, ``-log(batch_size)``: -10.4 for the paper's 32,768, which sets -10. open_clip
    stores the bias with the model.
    """

    def __init__(self, model: torch.nn.Module, cfg: TrainConfig, train: TrainData) -> None:
        super().__init__()
        self.name, self.temperature = cfg.objective, cfg.tree_temperature
        self.n_types = len(cfg.text_types)
        self._clip = [model]  # in a list, so that its weights are not the objective's
        self.heads = torch.nn.ModuleList()
        if self.name == "siglip" and getattr(model, "logit_bias", None) is None:
            model.logit_bias = torch.nn.Parameter(torch.full_like(model.logit_scale, -math.log(cfg.batch_size)))
            with torch.no_grad():
                model.logit_scale.fill_(SIGLIP_SCALE)
        if self.has_texts:
            return
        width = _feature_width(model)
        n_taxa = [len(train.tokens)] if self.name == "classification" else (train.lineages.max(axis=0) + 1).tolist()
        for n in n_taxa:
            head = torch.nn.utils.skip_init(torch.nn.Linear, width, max(1, n))  # draws nothing
            torch.nn.init.zeros_(head.weight)
            torch.nn.init.zeros_(head.bias)
            self.heads.append(head.to(model.logit_scale.device))

    @property
    def has_texts(self) -> bool:
        """Whether the text tower is trained."""
        return self.name not in CLASS_OBJECTIVES

    def forward(
        self, images: torch.Tensor, texts: torch.Tensor | None, data: Pairs, batch: Batch, rows: slice
    ) -> torch.Tensor:
        """Compute the loss of the pairs at `rows`: of image features, (B, D), and normalised texts, (B, D), if any."""
        device = images.device
        if texts is None:
            taxa = batch.labels[:, None] if self.name == "classification" else data.lineages[batch.labels]  # (B, R)
            return rank_cross_entropy([head(images[rows]) for head in self.heads], taxa.to(device), rows)
        model = self._clip[0]
        images, scale = normalised(images), model.logit_scale.exp()
        if self.name == "clip":
            return clip_loss(images, texts, scale, rows)
        by_image, by_text = _positives(data, batch, rows, device)
        if self.name == "siglip":
            return sigmoid_loss(images, texts, scale, model.logit_bias, by_image, rows)
        if self.name == "tree_path":  # captions of higher taxa are in the columns after the text types
            by_image = path_weights(by_image, (batch.types.to(device) - self.n_types + 1).clamp(min=0))
        if self.name.startswith("hierarchical"):
            lineages = data.lineages[batch.labels].to(device)  # (B, 7)
            distance = lineage_distance(lineages[rows], lineages)  # (b, B)
            if self.name == "hierarchical_sisters":
                return sister_loss(images, texts, scale, distance, (by_image, by_text), rows)
            by_image, by_text = (tree_weights(distance, true, self.temperature) for true in (by_image, by_text))
        return soft_target_clip_loss(images, texts, scale, by_image, by_text, rows)


def _positives(data: Pairs, batch: Batch, rows: slice, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Tell which texts are true of the images at `rows`, and of which images the texts at `rows` are true: (b, B)."""
    groups, types = data.groups[batch.labels].to(device), batch.types.to(device)  # (B, n_types), (B,)
    meaning = groups.gather(1, types[:, None])[:, 0]  # (B,)
    return groups[rows][:, types] == meaning, groups.T[types[rows]] == meaning[rows, None]


def _feature_width(model: torch.nn.Module) -> int:
    """Return the width D of the image features."""
    visual = model.visual
    return visual.head.proj.out_features if hasattr(visual, "trunk") else visual.output_dim
