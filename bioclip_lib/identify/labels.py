"""A label set: the candidates, their place in the tree of life, and the weights of their texts.

`candidates` makes and reads them. Weights may lie on disk, mapped into memory. In the `Tree` probabilities of
candidates add up to those of their genera, families and so on, and every image gets one lineage from the root down, in
which each taxon contains the next. Refuses names that fit no candidate, or taxa of several lineages.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from rapidfuzz import process

from .. import RANKS
from ..errors import InputError
from ..run import file_sha256

LABEL, GROUP = "label", "group"
COLUMNS = (LABEL, *RANKS, "scientific_name", "common_name", "rank", GROUP)
_KEY_COLUMNS = 4  # of the weights: candidates that are equal in these are compared in all


class Tree:
    """The taxa of candidates (C) at each rank: ``codes`` (C,) a rank, ``first`` candidate and ``above`` of each taxon.

    Taxa are whole lineages, numbered as they first occur: a family in two orders is two. A rank that a candidate lacks
    does not end its lineage: what has no family forms a taxon without a name below its order. A candidate without any
    rank stands for itself, at every rank.
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


@dataclass(frozen=True)
class LabelSet:
    """Candidates: ``names`` (a row each, `COLUMNS`), ``weights`` (C, D), and what they were made of."""

    names: pd.DataFrame
    weights: np.ndarray
    made_of: dict

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def tree(self) -> Tree:
        """The candidates as a tree."""
        return Tree(self.names)

    @property
    def ranks(self) -> tuple[str, ...]:
        """At which ranks images can be named."""
        return (*RANKS, LABEL, *([GROUP] if (self.names[GROUP] != "").any() else []))

    @cached_property
    def groups(self) -> tuple[np.ndarray, int]:
        """The group of each candidate, numbered as they first occur, and how many there are."""
        codes, values = pd.factorize(self.names[GROUP])
        return codes, len(values)

    @cached_property
    def repeats(self) -> tuple[np.ndarray, np.ndarray]:
        """Candidates whose weights an earlier one has too, and that earlier one."""
        key = pd.DataFrame(np.ascontiguousarray(self.weights[:, :_KEY_COLUMNS]))
        like = np.flatnonzero(key.duplicated(keep=False))  # of these alone the whole is compared
        content = pd.Series([self.weights[i].tobytes() for i in like], dtype=object)
        first = like[content.groupby(pd.factorize(content)[0]).transform(lambda same: same.index[0]).astype(int)]
        return like[first != like], first[first != like]

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of names and weights; of a set from disk, that of its files."""
        if "sha256" in self.made_of:
            return self.made_of["sha256"]
        if files := self.made_of.get("files"):
            return hashlib.sha256("".join(map(file_sha256, files)).encode()).hexdigest()
        names = pd.util.hash_pandas_object(self.names.astype(str), index=False).to_numpy()
        return hashlib.sha256(names.tobytes() + np.ascontiguousarray(self.weights).tobytes()).hexdigest()

    def taxa(self, candidates: np.ndarray, depth: np.ndarray) -> pd.DataFrame:
        """Name the taxa that candidates belong to at a depth: ``taxon, rank, common_name`` and the seven ranks."""
        rows = self.names.iloc[candidates].reset_index(drop=True)
        alone = (rows[list(RANKS)] == "").all(axis=1)
        ranks = rows[list(RANKS)].where(np.arange(len(RANKS)) <= depth[:, None], "")
        known = np.where(ranks != "", np.arange(len(RANKS)), -1).max(axis=1)  # the deepest
        taxon = pd.Series(ranks.to_numpy()[np.arange(len(ranks)), known], dtype=object)
        is_species = known == len(RANKS) - 1
        taxon = taxon.mask(is_species, binomial(ranks)).mask(alone, rows[LABEL])
        common = rows["common_name"].where(is_species | alone, "")
        rank = np.where(alone, "", np.array(RANKS, dtype=object)[known])
        return pd.DataFrame({"taxon": taxon, "rank": rank, "common_name": common, **ranks})

    def called(self, chosen: np.ndarray, rank: str) -> pd.Series:
        """Return what the chosen taxa of a rank are called; what lacks the rank is called by the deepest above it."""
        if rank in (LABEL, GROUP):
            names = self.names[LABEL] if rank == LABEL else pd.Series(pd.unique(self.names[GROUP]))
            return names.iloc[chosen].reset_index(drop=True)
        depth = RANKS.index(rank)
        return self.taxa(self.tree.first[depth][chosen], np.full(len(chosen), depth))["taxon"]

    def only(self, taxa: Sequence[str]) -> "LabelSet":
        """Keep the candidates of some taxa: names of any rank, species with their genus, labels, common names.

        ``Aves > Oenanthe`` where a name stands for taxa of several lineages, which alone is refused.
        """
        known = _known_names(self.names)
        keep, unknown = np.zeros(len(self), dtype=bool), []
        for asked in dict.fromkeys(taxa):
            *above, name = (part.strip().casefold() for part in asked.split(">"))
            rows = known.get(name, np.empty(0, dtype=np.int64))
            for part in above:
                rows = np.intersect1d(rows, known.get(part, np.empty(0, dtype=np.int64)))
            if len(rows):
                _check_one_lineage(self.names.iloc[rows], name, asked)
            else:
                unknown.append(asked)
            keep[rows] = True
        if unknown:
            near = [found[0] for found in process.extract(unknown[0].casefold(), list(known), limit=3, score_cutoff=70)]
            raise InputError(
                f"{len(unknown)} of {len(taxa)} taxa are not among the candidates (first: {unknown[0]!r}; near: "
                f"{', '.join(near) or 'none'}); write them as the label set does, or leave them out"
            )
        return self.rows(np.flatnonzero(keep))

    def rows(self, kept: np.ndarray) -> "LabelSet":
        """Keep candidates by their place."""
        made = {key: value for key, value in self.made_of.items() if key not in ("sha256", "files")}
        names = self.names.iloc[kept].reset_index(drop=True)
        return LabelSet(names, self.weights[kept], {**made, "kept": f"{len(kept)} of {len(self)}"})


def binomial(ranks: pd.DataFrame) -> pd.Series:
    """Write genus and epithet; an epithet that has its genus with it stays as it is."""
    whole = ranks["species"].str.contains(" ") | (ranks["genus"] == "") | (ranks["species"] == "")
    return (ranks["genus"] + " " + ranks["species"]).mask(whole, ranks["species"])


def _known_names(names: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the candidates that each name stands for, in lower case."""
    columns = [names[column] for column in (*RANKS[:-1], "scientific_name", "common_name", LABEL)]
    texts = pd.concat([*columns, binomial(names)]).str.casefold()
    texts = texts[texts != ""]
    return {name: np.unique(rows) for name, rows in pd.Series(texts.index, texts).groupby(level=0, sort=False)}


def _check_one_lineage(rows: pd.DataFrame, name: str, asked: str) -> None:
    """Refuse a name that stands for higher taxa of several lineages."""
    for depth, rank in enumerate(RANKS[:-1]):
        above = rows.loc[rows[rank].str.casefold() == name, list(RANKS[:depth])].drop_duplicates()
        if len(above) > 1:
            parents = [" > ".join(filter(None, row)) for row in above.to_numpy()[:2]]
            example = f"{parents[0].rpartition('> ')[2]} > {asked}"
            raise InputError(
                f"{asked!r} is a {rank} of several lineages ({'; '.join(parents)}); give it with a taxon above it, as "
                f"{example!r}"
            )


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
