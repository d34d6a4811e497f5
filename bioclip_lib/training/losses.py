"""Losses on a batch of image-text pairs, or of images with their classes.

The contrastive ones take L2-normalised features of shape (B, D); pairs are rows: image i belongs to text i. All return
a scalar. Where a batch is shared among processes, `rows` are the pairs whose images and texts a process answers for,
compared with all others; by default all. The mean of equal shares is the loss of the batch.
"""

import torch
import torch.nn.functional as F

ALL = slice(None)


def clip_loss(
    image_features: torch.Tensor, text_features: torch.Tensor, logit_scale: torch.Tensor, rows: slice = ALL
) -> torch.Tensor:
    """Compute the symmetric contrastive loss of CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020).

    Parameters
    ----------
    image_features, text_features : Tensor of shape (B, D)
        L2-normalised.
    logit_scale : Tensor of shape ()
        The factor itself, ``exp`` of the model's parameter; 1 to 100.
    rows : slice
        The pairs to answer for.

    Returns
    -------
    Tensor of shape ()
        Mean cross-entropy over both directions, in nats; log(B) for features that say nothing.

    Examples
    --------
    >>> features = torch.eye(2)
    >>> round(float(clip_loss(features, features, torch.tensor(1.0))), 4)  # log(1 + exp(-1))
    0.3133
    """
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

    and the text-to-image half the same on the transposed logits; the loss is their mean. With equal weights for all
    texts that are true of an image it is supervised contrastive learning with the mean outside the logarithm (Khosla et
    al. 2020, https://arxiv.org/abs/2004.11362) between two modalities; with a single one each, `clip_loss`.

    Parameters
    ----------
    image_features, text_features : Tensor of shape (B, D)
        L2-normalised.
    logit_scale : Tensor of shape ()
        The factor itself, ``exp`` of the model's parameter.
    by_image : Tensor of shape (b, B), bool or float
        Weight of each text for each image of `rows`; scaled here to the sum 1.
    by_text : Tensor of shape (b, B), bool or float
        Weight of each image for each text of `rows`.
    rows : slice
        b of the B pairs.

    Returns
    -------
    Tensor of shape ()
        In nats; at least the mean entropy of the weights.

    Notes
    -----
    Values from batches of other sizes or other class mixes are not comparable: the minimum is not 0.

    Examples
    --------
    >>> soft = torch.tensor([[3.0, 1.0], [1.0, 3.0]])  # 0.3133 + a quarter of the logits' difference
    >>> round(float(soft_target_clip_loss(torch.eye(2), torch.eye(2), torch.tensor(1.0), soft, soft)), 4)
    0.5633
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

    with :math:`y_{ij} = 1` where text j is true of image i, else -1. Each pair is its own yes-or-no question,
    so several true texts of an image need not share a whole.

    Parameters
    ----------
    image_features, text_features : Tensor of shape (B, D)
        L2-normalised.
    logit_scale : Tensor of shape ()
        The factor itself; 10 at the start.
    logit_bias : Tensor of shape ()
        -10 at the start, as nearly all pairs are false.
    by_image : Tensor of shape (b, B), bool
        Whether each text is true of each image of `rows`.
    rows : slice
        b of the B pairs.

    Returns
    -------
    Tensor of shape ()
        In nats, summed over texts, averaged over images.

    Examples
    --------
    >>> loss = sigmoid_loss(torch.eye(2), torch.eye(2), torch.tensor(2.0), torch.tensor(-1.0), torch.eye(2) > 0)
    >>> round(float(loss), 4)  # 2 log(1 + exp(-1))
    0.6265
    """
    logits = logit_scale * image_features[rows] @ text_features.T + logit_bias  # (b, D) @ (D, B) -> (b, B)
    signs = 2.0 * by_image.to(logits.dtype) - 1
    return -F.logsigmoid(signs * logits).sum() / len(logits)


def rank_cross_entropy(logits: list[torch.Tensor], taxa: torch.Tensor, rows: slice = ALL) -> torch.Tensor:
    """Add up the cross-entropies of several classifiers of one image, such as one a rank.

    Parameters
    ----------
    logits : list of R Tensors of shape (b, n_taxa of the rank)
        Of the images at `rows`.
    taxa : Tensor of shape (B, R), int64
        -1 where unknown.
    rows : slice
        b of the B images.

    Returns
    -------
    Tensor of shape ()
        In nats: the sum over ranks of the mean over the images whose taxon is known at that rank. A rank that no image
        knows adds nothing.

    Notes
    -----
    A share among processes is scaled by B / b, so that the mean of equal shares is the loss of the batch although the
    images known at a rank are not shared equally.

    Examples
    --------
    >>> taxa = torch.tensor([[0, -1], [1, 0]])
    >>> round(float(rank_cross_entropy([torch.zeros(2, 2), torch.zeros(2, 4)], taxa)), 4)  # log 2 + log 4
    2.0794
    """
    share = len(taxa) / len(taxa[rows])
    total = logits[0].sum() * 0
    for of_rank, column in zip(logits, taxa.T, strict=True):
        n_known = int((column >= 0).sum())
        if n_known:
            total = total + F.cross_entropy(of_rank, column[rows], ignore_index=-1, reduction="sum") * (share / n_known)
    return total


def lineage_distance(images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    """Count the ranks from the deepest up at which lineages differ.

    Parameters
    ----------
    images : Tensor of shape (n, 7), int64
    texts : Tensor of shape (m, 7), int64
        Taxa of the seven ranks, -1 where unknown.

    Returns
    -------
    Tensor of shape (n, m), int64
        0 for one species, 1 for one genus, ..., 7 for two kingdoms: from the highest rank at which both are known and
        differ down to species.

    Notes
    -----
    A rank that either lacks tells nothing: it neither parts nor joins. Once parted, equal numbers further down (a
    homonym) do not count.

    Examples
    --------
    >>> a, b = torch.tensor([[0, 0, 0, 0, 0, 0, 0]]), torch.tensor([[0, 0, 0, 0, 0, 0, 1], [0, 0, 0, -1, 2, -1, -1]])
    >>> lineage_distance(a, b).tolist()
    [[1, 3]]
    """
    distance = torch.zeros(len(images), len(texts), dtype=torch.long, device=images.device)
    n_ranks = images.shape[1]
    for depth in reversed(range(n_ranks)):  # the highest difference is written last
        a, b = images[:, depth, None], texts[None, :, depth]
        distance[(a != b) & (a >= 0) & (b >= 0)] = n_ranks - depth
    return distance


def tree_weights(distance: torch.Tensor, positives: torch.Tensor, temperature: float) -> torch.Tensor:
    r"""Turn distances in the tree into soft targets.

    The weight of text j for image i is

    .. math:: w_{ij} = \frac{\exp(-d_{ij} / \tau)}{\sum_k \exp(-d_{ik} / \tau)}

    with d = 0 where the text is true of the image, else the distance of their lineages, at least 1: classes that the
    known ranks do not part (two morphotypes of one order) are still two.

    Parameters
    ----------
    distance : Tensor of shape (n, m), int64
        Of `lineage_distance`.
    positives : Tensor of shape (n, m), bool
    temperature : float
        :math:`\tau`; at 0.5 a congener has 0.14 of the weight of the species itself, at 0.1 practically none.

    Returns
    -------
    Tensor of shape (n, m), float32
        Rows sum to 1.

    Examples
    --------
    >>> tree_weights(torch.tensor([[0, 1]]), torch.tensor([[True, False]]), 1.0).numpy().round(2)
    array([[0.73, 0.27]], dtype=float32)
    """
    d = torch.where(positives, 0, distance.clamp(min=1))
    return torch.softmax(-d / temperature, dim=1)
