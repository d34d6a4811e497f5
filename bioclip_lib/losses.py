"""Contrastive losses on a batch of image-text pairs.

Take L2-normalised features of shape (B, D), return a scalar. Pairs are rows: image i belongs to text i.
"""

import torch
import torch.nn.functional as F


def clip_loss(image_features: torch.Tensor, text_features: torch.Tensor, logit_scale: torch.Tensor) -> torch.Tensor:
    """Compute the symmetric contrastive loss of CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020).

    Parameters
    ----------
    image_features, text_features : Tensor of shape (B, D)
        L2-normalised.
    logit_scale : Tensor of shape ()
        The factor itself, ``exp`` of the model's parameter; 1 to 100.

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
    labels = torch.arange(len(image_features), device=image_features.device)
    logits = logit_scale * image_features @ text_features.T  # (B, D) @ (D, B) -> (B, B)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def multi_positive_clip_loss(
    image_features: torch.Tensor, text_features: torch.Tensor, logit_scale: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    r"""Compute the contrastive loss in which pairs of one class are not each other's negatives.

    With logits :math:`z_{ij} = s \, u_i \cdot v_j` and :math:`P(i) = \{j : y_j = y_i\}`, the image-to-text half is

    .. math:: \frac1B \sum_i \frac{1}{|P(i)|} \sum_{j \in P(i)} -\log \frac{\exp z_{ij}}{\sum_k \exp z_{ik}}

    and the text-to-image half the same on the transposed logits; the loss is their mean. This is the form of
    supervised contrastive learning with the mean outside the logarithm (Khosla et al. 2020,
    https://arxiv.org/abs/2004.11362) between two modalities.

    Parameters
    ----------
    image_features, text_features : Tensor of shape (B, D)
        L2-normalised.
    logit_scale : Tensor of shape ()
        The factor itself, ``exp`` of the model's parameter.
    labels : Tensor of shape (B,), int64
        Class of each pair.

    Returns
    -------
    Tensor of shape ()
        In nats. Equal to `clip_loss` where all labels differ.

    Notes
    -----
    Its minimum is not 0: it is the mean of :math:`\log |P(i)|`, the entropy of the uniform targets. Values from
    batches of other sizes or other class mixes are not comparable.

    Examples
    --------
    >>> features = torch.eye(2)
    >>> round(float(multi_positive_clip_loss(features, features, torch.tensor(1.0), torch.tensor([7, 7]))), 4)
    0.8133
    """
    return positive_sets_clip_loss(image_features, text_features, logit_scale, labels[:, None] == labels[None, :])


def positive_sets_clip_loss(
    image_features: torch.Tensor, text_features: torch.Tensor, logit_scale: torch.Tensor, positives: torch.Tensor
) -> torch.Tensor:
    """Compute the contrastive loss in which each text is true of a set of images, such as all images of its family.

    Parameters
    ----------
    image_features, text_features : Tensor of shape (B, D)
        L2-normalised.
    logit_scale : Tensor of shape ()
        The factor itself.
    positives : Tensor of shape (B, B), bool
        Whether text j is true of image i; each row and column has one at least.

    Returns
    -------
    Tensor of shape ()
        In nats. `multi_positive_clip_loss` is the case in which the sets are classes.

    Examples
    --------
    >>> features = torch.eye(2)
    >>> round(float(positive_sets_clip_loss(features, features, torch.tensor(1.0), torch.eye(2) > 0)), 4)
    0.3133
    """
    logits = logit_scale * image_features @ text_features.T  # (B, D) @ (D, B) -> (B, B)
    targets = positives.to(logits.dtype)
    by_image = targets / targets.sum(dim=1, keepdim=True)
    by_text = targets.T / targets.T.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits, by_image) + F.cross_entropy(logits.T, by_text)) / 2
