"""Losses on a batch of image-text pairs, or of images with their classes; each a scalar in nats.

The contrastive ones take L2-normalised features of shape (B, D), in which image i belongs to text i, and the logit
scale as the factor itself, ``exp`` of the model's parameter. Where a batch is shared among processes, `rows` are the b
pairs whose images and texts a process answers for, compared with all others; by default all. The mean of equal shares
is the loss of the batch.
"""

import torch
import torch.nn.functional as F

ALL = slice(None)


def clip_loss(
    image_features: torch.Tensor, text_features: torch.Tensor, logit_scale: torch.Tensor, rows: slice = ALL
) -> torch.Tensor:
    """Compute the symmetric contrastive loss of CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020)."""
    labels = torch.arange(len(image_features), device=image_features.device)[rows]
    by_image, by_text = _logits(image_features, text_features, logit_scale, rows)
    return (F.cross_entropy(by_image, labels) + F.cross_entropy(by_text, labels)) / 2


def soft_target_clip_loss(
    image_features: torch.Tensor,
    text_features: torch.Tensor,
    logit_scale: torch.Tensor,
    by_image: torch.Tensor,
    by_text: torch.Tensor,
    rows: slice = ALL,
) -> torch.Tensor:
    """Compute the cross-entropy against any weights of the texts of an image, (b, B), and the reverse; their mean."""
    # equal weights of all true texts: Khosla et al. 2020, https://arxiv.org/abs/2004.11362, mean outside the logarithm
    losses = []
    for logits, weights in zip(
        _logits(image_features, text_features, logit_scale, rows), (by_image, by_text), strict=True
    ):
        targets = weights.to(logits.dtype)
        losses.append(F.cross_entropy(logits, targets / targets.sum(dim=1, keepdim=True)))
    return (losses[0] + losses[1]) / 2


def _logits(
    image_features: torch.Tensor, text_features: torch.Tensor, logit_scale: torch.Tensor, rows: slice
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits of the images at `rows` over all texts, and of the texts at `rows` over all images: (b, B)."""
    logits = logit_scale * image_features[rows] @ text_features.T  # (b, D) @ (D, B) -> (b, B)
    if len(logits) == len(image_features):
        return logits, logits.T
    return logits, logit_scale * text_features[rows] @ image_features.T  # (b, D) @ (D, B) -> (b, B)


def sigmoid_loss(
    image_features: torch.Tensor,
    text_features: torch.Tensor,
    logit_scale: torch.Tensor,
    logit_bias: torch.Tensor,
    by_image: torch.Tensor,
    rows: slice = ALL,
) -> torch.Tensor:
    """Compute the pairwise sigmoid loss of SigLIP (Zhai et al. 2023, https://arxiv.org/abs/2303.15343, equation 2)."""
    logits = logit_scale * image_features[rows] @ text_features.T + logit_bias  # (b, D) @ (D, B) -> (b, B)
    # each pair is its own question, so that several true texts of an image need not share a whole
    signs = 2.0 * by_image.to(logits.dtype) - 1
    return -F.logsigmoid(signs * logits).sum() / len(logits)


def rank_cross_entropy(logits: list[torch.Tensor], taxa: torch.Tensor, rows: slice = ALL) -> torch.Tensor:
    """Add up the mean cross-entropies of several classifiers of one image, of `taxa`, (B, R), those that are not -1."""
    share = len(taxa) / len(taxa[rows])  # images known at a rank are not shared equally among processes
    total = logits[0].sum() * 0
    for of_rank, column in zip(logits, taxa.T, strict=True):
        n_known = int((column >= 0).sum())
        if n_known:
            total = total + F.cross_entropy(of_rank, column[rows], ignore_index=-1, reduction="sum") * (share / n_known)
    return total


def lineage_distance(images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    """Count the ranks from the highest at which both lineages, (n, 7) and (m, 7), are known and differ: (n, m)."""
    distance = torch.zeros(len(images), len(texts), dtype=torch.long, device=images.device)
    n_ranks = images.shape[1]
    for depth in reversed(range(n_ranks)):  # the highest difference is written last: a homonym below it does not count
        a, b = images[:, depth, None], texts[None, :, depth]
        distance[(a != b) & (a >= 0) & (b >= 0)] = n_ranks - depth
    return distance


def sister_loss(
    image_features: torch.Tensor,
    text_features: torch.Tensor,
    logit_scale: torch.Tensor,
    distance: torch.Tensor,
    positives: tuple[torch.Tensor, torch.Tensor],
    rows: slice = ALL,
) -> torch.Tensor:
    """Add up, over ranks, what it costs to tell an image's taxon from its sisters of one parent, and the reverse.

    Of `lineage_distance`, (b, B), and what is true of what, twice (b, B). At each rank the candidates are those that
    share all ranks above: negatives are sisters alone (BioCLIP-HC, https://arxiv.org/abs/2606.21838, draws the rank;
    here all ranks count). A rank at which a batch has no sister costs nothing.
    """
    total = torch.zeros((), device=image_features.device)
    for logits, true in zip(_logits(image_features, text_features, logit_scale, rows), positives, strict=True):
        d = torch.where(true, 0, distance.clamp(min=1))  # classes that no known rank parts are still two
        for level in d.unique()[d.unique() > 0].tolist():
            asked = (d == level).any(dim=1)
            among, right = (logits[asked].masked_fill(d[asked] > far, -torch.inf) for far in (level, level - 1))
            total = total + (among.logsumexp(dim=1) - right.logsumexp(dim=1)).sum() / len(logits)
    return total / 2


def tree_weights(distance: torch.Tensor, positives: torch.Tensor, temperature: float) -> torch.Tensor:
    """Turn distances in the tree, (n, m), into soft targets: exp(-distance / temperature), in rows that sum to 1."""
    d = torch.where(positives, 0, distance.clamp(min=1))  # classes that no known rank parts are still two
    return torch.softmax(-d / temperature, dim=1)


def path_weights(positives: torch.Tensor, ranks: torch.Tensor) -> torch.Tensor:
    """Weigh true texts, (b, B), so that each rank, of `ranks`, (B,), has an equal share of its row.

    The path of an image through the tree as the target (after TP-KL, https://arxiv.org/abs/2512.21529, which asks all
    taxa of all ranks; here the texts of the batch are asked).
    """
    of_rank = F.one_hot(ranks).float()  # (B, R)
    return positives / (positives.float() @ of_rank)[:, ranks].clamp(min=1)
