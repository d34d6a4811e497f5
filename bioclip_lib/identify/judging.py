"""Answers beside the truth: how often they are right and how deep they go, by which rule, and over how many draws."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from .. import RANKS
from ..evaluation.tasks import with_interval
from .calibrate import UNKNOWN, conformal_floor, wrong_up_to
from .labels import LabelSet
from .naming import Naming, name_features, trusted_depth

N_STEPS = 50


def judge(naming: Naming, labels: LabelSet, truth: np.ndarray, floor: float) -> pd.DataFrame:
    """Tell of each image how many ranks are answered, and whether that is right, as no answer is."""
    depth = trusted_depth(naming, labels, floor)
    answer, own = naming.lineage[np.arange(len(depth)), depth], truth[np.arange(len(depth)), depth]
    return pd.DataFrame({"depth": depth + 1, "right": (depth < 0) | (own == answer) | (own == UNKNOWN)})


def attached(naming: Naming, truth: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Tell of images of unknown taxa where an answer down to a depth (n,) lies beside the taxon that they join.

    "exact", "above" (right, and less deep), "below" (of a taxon inside that holds it not), or "elsewhere".
    """
    rank, each = np.arange(len(RANKS)), np.arange(len(depth))
    there = truth >= 0
    join = np.where(there, rank, -1).max(axis=1)
    same = (naming.lineage == truth) & there
    right = (depth < 0) | same[each, depth]
    below = (depth > join) & ((join < 0) | same[each, join])
    return np.select([below, ~right, depth < join], ["below", "elsewhere", "above"], "exact")


def winners_of_ranks(features: np.ndarray, labels: LabelSet, scale: float) -> tuple[Naming, np.ndarray]:
    """Take the likeliest taxon of each rank by itself: in place of a lineage, and down to where it is none, (n, 7)."""
    found = [name_features(features, labels, scale, rank, k=1) for rank in RANKS]
    taxa, trust = (np.concatenate([getattr(each, what) for each in found], axis=1) for what in ("choices", "scores"))
    apart = np.zeros(taxa.shape, dtype=bool)
    for depth in range(1, len(RANKS)):
        apart[:, depth] = labels.tree.above[depth][taxa[:, depth]] != taxa[:, depth - 1]
    return found[-1]._replace(lineage=taxa, trust=trust), np.logical_or.accumulate(apart, axis=1)


def compare_rules(
    features: np.ndarray,
    taxa: tuple[np.ndarray, np.ndarray],
    labels: LabelSet,
    scale: float,
    floors: Mapping[str, float],
) -> pd.DataFrame:
    """Compare floors, and one lineage with the winner of each rank, on images with `places` and classes.

    Gives the share of right answers with its interval for another set of classes, ``macro`` (the mean over classes),
    ``depth`` (the mean number of ranks), the share answered to species, and ``broken``, the share of answers whose taxa
    do not contain each other.
    """
    truth, classes = taxa
    winners, apart = winners_of_ranks(features, labels, scale)
    namings = {"one lineage": name_features(features, labels, scale), "winner of each rank": winners}
    rows = []
    for name, floor in floors.items():
        for kind, naming in namings.items():
            found = judge(naming, labels, truth, floor)
            deepest = found["depth"].to_numpy() - 1
            broken = apart[np.arange(len(apart)), deepest] & (deepest >= 0) & (kind != "one lineage")
            row = {"rule": name, "taxa": kind, "floor": floor, **with_interval(found["right"].to_numpy(float), classes)}
            row |= {"macro": found.groupby(classes)["right"].mean().mean(), "depth": found["depth"].mean()}
            rows.append({**row, "species": (found["depth"] == 7).mean(), "broken": broken.mean(), "n": len(found)})
    return pd.DataFrame(rows)


def coverage_over_draws(
    naming: Naming, labels: LabelSet, taxa: tuple[np.ndarray, np.ndarray], coverages=(0.8, 0.9, 0.95), seeds=range(5)
) -> pd.DataFrame:
    """Part known images into halves, calibrate on one and count right answers in the other, over images and classes.

    ``least`` is the share that is right without a floor: no answer goes deeper, so that no floor covers less.
    """
    truth, classes = taxa
    scores, rows = wrong_up_to(naming, labels, truth), []
    deepest = judge(naming, labels, truth, 0.0)["right"]
    for seed in seeds:
        order = np.random.default_rng(seed).permutation(len(scores))
        fit, rest = order[: len(order) // 2], order[len(order) // 2 :]
        for coverage in coverages:
            for of in ("images", "classes"):
                floor = conformal_floor(scores[fit], coverage, classes[fit] if of == "classes" else None)
                found = judge(naming, labels, truth, floor).iloc[rest]
                unit = rest if of == "images" else classes[rest]
                right, least = (x.groupby(unit).mean().mean() for x in (found["right"], deepest.iloc[rest]))
                row = {"coverage": coverage, "of": of, "seed": seed, "floor": floor, "right": right, "least": least}
                rows.append({**row, "depth": found["depth"].mean()})
    return pd.DataFrame(rows)


def risk_by_floor(naming: Naming, labels: LabelSet, truth: np.ndarray) -> pd.DataFrame:
    """Trace what a floor costs: ``floor, rank``, the share ``answered`` to that rank or deeper, and their ``risk``."""
    rows = []
    for floor in np.linspace(0, 1, N_STEPS + 1):
        depth = trusted_depth(naming, labels, floor)
        for d, rank in enumerate(RANKS):
            answered = depth >= d
            wrong = (truth[:, d] != UNKNOWN) & (truth[:, d] != naming.lineage[:, d])
            risk = wrong[answered].mean() if answered.any() else np.nan
            rows.append({"floor": floor, "rank": rank, "answered": answered.mean(), "risk": risk})
    return pd.DataFrame(rows)
