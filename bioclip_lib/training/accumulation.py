"""Encoding a batch in parts, with the gradient of the whole batch (Gao et al. 2021, https://arxiv.org/abs/2101.06983).

A contrastive loss compares all pairs of a batch, so it cannot be summed over parts of it. But it needs the features
alone: they are computed part by part without a graph, the loss gives their gradient, and a second pass over the parts
brings that into the parameters. Memory holds the activations of one part; each image and text is encoded twice.
"""

from collections.abc import Callable

import torch


class Encoded:
    """The features of some rows of a batch, ready for back-propagation.

    Parameters
    ----------
    encode : callable
        From a slice of the batch to features (n, D). Called again for the same slice, it must see the same input:
        the same crops, the same dropped tokens.
    rows : slice
        With start and stop.
    part_size : int
        Rows that are encoded at once; 0 takes all, whose graph is kept instead of encoding them twice.
    n_parts : int
        Least number of parts, for processes that have to encode equally often: row 0 is encoded again, with a gradient
        of 0.

    Attributes
    ----------
    values : Tensor of shape (n, D), float32
        Without a graph.
    """

    def __init__(self, encode: Callable[[slice], torch.Tensor], rows: slice, part_size: int, n_parts: int = 1) -> None:
        self.encode, self.graph = encode, None
        n = rows.stop - rows.start
        step = part_size or max(1, n)
        starts = range(rows.start, rows.stop, step)
        self.parts = [slice(start, min(start + step, rows.stop)) for start in starts]
        self.n_idle = max(0, n_parts - len(self.parts))
        self.parts += [slice(0, 1)] * self.n_idle
        if len(self.parts) == 1:
            self.graph = encode(self.parts[0])
            self.values = self.graph.detach()[:n]
        else:
            with torch.no_grad():
                self.values = torch.cat([encode(part) for part in self.parts])[:n]

    def backward(self, gradient: torch.Tensor) -> None:
        """Add the parameters' gradients, given that of the features of the whole batch, (B, D)."""
        for i, part in enumerate(self.parts, start=1):
            features = self.encode(part) if self.graph is None else self.graph
            idle = i > len(self.parts) - self.n_idle
            features.backward(torch.zeros_like(features) if idle else gradient[part])
