"""Candidate taxa as a tree: probabilities of candidates add up to those of their genera, families and so on.

Takes the ranks of the candidates, and scores of images for each of them; returns the likeliest taxa of a rank, and of
every image one lineage from the root down, in which each taxon contains the next. Nodes are whole lineages, numbered as
they first occur among the candidates: a family in two orders is two, and of equal taxa the first is taken.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .. import RANKS

LABEL, GROUP = "label", "group"


class Tree:
    """The taxa of candidates (C) at each rank: ``codes`` (C,) a rank, ``first`` candidate and ``above`` of each taxon.

    A rank that a candidate lacks does not end its lineage: what has no family forms a taxon without a name below its
    order. A candidate without any rank stands for itself, at every rank.
    """

    def __init__(self, names: pd.DataFrame) -> None:
        ranks = names[list(RANKS)]
        alone = (ranks == "").all(axis=1)
        root = ranks["kingdom"].mask(alone, "\x1f" + names[LABEL])
        self.codes, self.first, self.above, self.is_named, self._within = [], [], [], [], []
        lineage = np.zeros(len(names), dtype=np.int64)
        for rank in RANKS:
            code, values = pd.factorize(root if rank == "kingdom" else ranks[rank])
            below, _ = pd.factorize(lineage * (len(values) + 1) + code)
            first = np.unique(below, return_index=True)[1]
            self.above.append(lineage[first])
            self.codes.append(below)
            self.first.append(first)
            self.is_named.append(((ranks[rank] != "") | alone).to_numpy()[first])
            order = np.argsort(self.above[-1], kind="stable")
            self._within.append((order, np.append(0, np.cumsum(np.bincount(self.above[-1])))))
            lineage = below

    def sums(self, probabilities: np.ndarray) -> list[np.ndarray]:
        """Add up probabilities of the candidates, (n, C), to those of the taxa of each rank, (n, taxa)."""
        found, values, codes = [], probabilities, self.codes[-1]
        for depth in reversed(range(len(RANKS))):
            values = grouped(values, codes, len(self.first[depth]))
            found.append(values)
            codes = self.above[depth]
        return found[::-1]

    def lineages(self, sums: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Go down from the root, always to the likeliest taxon within the one above: taxa (n, 7), probabilities."""
        taxa = np.empty((len(sums[0]), len(RANKS)), dtype=np.int64)
        taxa[:, 0] = sums[0].argmax(axis=1)
        for depth in range(1, len(RANKS)):
            order, starts = self._within[depth]
            for i, above in enumerate(taxa[:, depth - 1]):
                within = order[starts[above] : starts[above + 1]]
                taxa[i, depth] = within[sums[depth][i, within].argmax()]
        each = np.arange(len(taxa))
        return taxa, np.stack([values[each, taxa[:, depth]] for depth, values in enumerate(sums)], axis=1)


def grouped(values: np.ndarray, codes: np.ndarray, n: int) -> np.ndarray:
    """Add up the columns of values (n_rows, C) that share a code, to (n_rows, n) of float64; as it is where none do."""
    if n == len(codes):  # codes are numbered as they first occur
        return values
    sums = np.empty((len(values), n))
    for i, row in enumerate(values):
        sums[i] = np.bincount(codes, weights=row, minlength=n)
    return sums


def highest(values: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return columns and values of the k highest of each row, (n, min(k, columns)), equal ones in their order."""
    k, columns = min(k, values.shape[1]), np.arange(values.shape[1])
    chosen = np.empty((len(values), k), dtype=np.int64)
    for i, row in enumerate(values):
        among = columns if k == len(row) else np.flatnonzero(row >= np.partition(row, -k)[-k])
        chosen[i] = among[np.argsort(-row[among], kind="stable")[:k]]
    return chosen, np.take_along_axis(values, chosen, axis=1)
