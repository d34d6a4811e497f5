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
    r"""Compute the symmetric cross-entropy against any distribution over the texts of an image, and the reverse.

    With logits :math:`z_{ij} = s \, u_i \cdot v_j` and weights :math:`w_{ij}` that sum to 1, the image-to-text half is

    .. math:: -\frac1b \sum_i \sum_j w_{ij} \log \frac{\exp z_{ij}}{\sum_k \exp z_{ik}}

    and the text-to-image half the same on the transposed logits; the loss is their mean. `by_image` and `by_text`,
    (b, B), bool or float, are the weights, scaled here to the sum 1. With equal weights for all texts that are true of
    an image it is supervised contrastive learning with the mean outside the logarithm (Khosla et al. 2020,
    https://arxiv.org/abs/2004.11362) between two modalities; with a single one each, `clip_loss`. Its minimum is the
    mean entropy of the weights: values from batches of other sizes or other class mixes are not comparable.
    """
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
    r"""Compute the pairwise sigmoid loss of SigLIP (Zhai et al. 2023, https://arxiv.org/abs/2303.15343, equation 2).

    .. math:: -\frac1B \sum_i \sum_j \log \sigma(y_{ij} (s \, u_i \cdot v_j + b))

    with :math:`y_{ij} = 1` where text j is true of image i (`by_image`, (b, B), bool), else -1. Each pair is its own
    yes-or-no question, so several true texts of an image need not share a whole.
    """
    logits = logit_scale * image_features[rows] @ text_features.T + logit_bias  # (b, D) @ (D, B) -> (b, B)
    signs = 2.0 * by_image.to(logits.dtype) - 1
    return -F.logsigmoid(signs * logits).sum() / len(logits)


def rank_cross_entropy(logits: list[torch.Tensor], taxa: torch.Tensor, rows: slice = ALL) -> torch.Tensor:
    """Add up the cross-entropies of several classifiers of one image, such as one a rank.

    Takes of R classifiers the logits of the images at `rows`, (b, n_taxa of the rank) each, and the `taxa` of all,
    (B, R), -1 where unknown. The sum over ranks of the mean over the images whose taxon is known there; a rank that no
    image knows adds nothing. A share among processes is scaled by B / b, so that the mean of equal shares is the loss
    of the batch although the images known at a rank are not shared equally.
    """
    share = len(taxa) / len(taxa[rows])
    total = logits[0].sum() * 0
    for of_rank, column in zip(logits, taxa.T, strict=True):
        n_known = int((column >= 0).sum())
        if n_known:
            total = total + F.cross_entropy(of_rank, column[rows], ignore_index=-1, reduction="sum") * (share / n_known)
    return total


def lineage_distance(images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    """Count the ranks from the deepest up at which lineages differ: (n, 7) and (m, 7), -1 where unknown, to (n, m).

    0 for one species, 1 for one genus, ..., 7 for two kingdoms. A rank that either lacks neither parts nor joins. Once
    parted, equal numbers further down (a homonym) do not count.
    """
    distance = torch.zeros(len(images), len(texts), dtype=torch.long, device=images.device)
    n_ranks = images.shape[1]
    for depth in reversed(range(n_ranks)):  # the highest difference is written last
        a, b = images[:, depth, None], texts[None, :, depth]
        distance[(a != b) & (a >= 0) & (b >= 0)] = n_ranks - depth
    return distance


def tree_weights(distance: torch.Tensor, positives: torch.Tensor, temperature: float) -> torch.Tensor:
    r"""Turn distances in the tree, (n, m), into soft targets whose rows sum to 1.

    .. math:: w_{ij} = \frac{\exp(-d_{ij} / \tau)}{\sum_k \exp(-d_{ik} / \tau)}

    with d = 0 where the text is true of the image (`positives`), else the distance of their lineages, at least 1:
    classes that the known ranks do not part (two morphotypes of one order) are still two. At a temperature
    :math:`\tau` of 0.5 a congener has 0.14 of the weight of the species itself, at 0.1 practically none.
    """
    d = torch.where(positives, 0, distance.clamp(min=1))
    return torch.softmax(-d / temperature, dim=1)
