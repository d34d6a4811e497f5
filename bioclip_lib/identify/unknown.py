"""None of these: scores that tell photographs of the candidates from those of other taxa, or of no organism.

Takes features of images, what they were named, and a gallery of training features; returns scores, the higher the more
like a candidate, and how well each separates known from unknown images. Which score is best is asked of validation
species alone, each in turn left out of the candidates and of the gallery.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from .. import RANKS
from ..evaluation.tasks import with_interval
from .labels import LabelSet
from .naming import Naming, name_features
from .tree import LABEL

NEIGHBOURS = 5
KNOWN_PASS = 0.95  # share of known images that a threshold lets pass, as FPR95 asks
BOTH = "max_logit + neighbours"
_AT_ONCE = 1_024


def known_scores(naming: Naming, features: np.ndarray, gallery: np.ndarray) -> pd.DataFrame:
    """Score how much images look like the candidates, the higher the more; ``neighbours`` are of the gallery (m, D)."""
    k, near = min(NEIGHBOURS, len(gallery)), []
    for start in range(0, max(1, len(features)), _AT_ONCE):
        cosines = features[start : start + _AT_ONCE] @ gallery.T  # (b, D) @ (D, m) -> (b, m)
        near.append(np.partition(cosines, -k, axis=1)[:, -k:].mean(axis=1))
    confidence = np.exp(naming.max_logit - naming.energy)
    found = {"probability": confidence, "max_logit": naming.max_logit, "energy": naming.energy}
    return pd.DataFrame({**found, "neighbours": np.concatenate(near)})


def with_both(scores: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """Add the sum of two scores, each in standard deviations of `like`, scores of known images."""
    both = sum((scores[name] - like[name].mean()) / (like[name].std() or 1) for name in ("max_logit", "neighbours"))
    return scores.assign(**{BOTH: both})


def separation(known: pd.DataFrame, unknown: pd.DataFrame, species: np.ndarray) -> pd.DataFrame:
    """Tell how well scores separate, as AUROC (ties count half) and FPR95, with intervals for other unknown species."""
    rows = []
    for name in known.columns:
        mine, others = np.sort(known[name].to_numpy()), unknown[name].to_numpy()
        above = 1 - (np.searchsorted(mine, others, "left") + np.searchsorted(mine, others, "right")) / (2 * len(mine))
        passes = (others >= np.quantile(mine, 1 - KNOWN_PASS)).astype(float)
        auroc, fpr = with_interval(above, species), with_interval(passes, species)
        found = {"score": name, "auroc": auroc["value"], "auroc_low": auroc["ci_low"], "auroc_high": auroc["ci_high"]}
        found |= {"fpr95": fpr["value"], "fpr95_low": fpr["ci_low"], "fpr95_high": fpr["ci_high"]}
        rows.append({**found, "n": len(others), "n_species": len(set(species))})
    return pd.DataFrame(rows)


def left_out(
    features: np.ndarray, classes: np.ndarray, gallery: tuple[np.ndarray, np.ndarray], labels: LabelSet, scale: float
) -> pd.DataFrame:
    """Ask each score of images whose species are left out of candidates and gallery, a fifth at a time."""
    known, unknown, species = [], [], []
    for kept, out in folds(labels, classes):
        scores = known_scores(
            name_features(features, kept, scale), features, gallery[0][np.isin(gallery[1], kept.names[LABEL])]
        )
        scores = with_both(scores, scores[~out])
        known.append(scores[~out])
        unknown.append(scores[out])
        species.append(classes[out])
    return separation(pd.concat(known), pd.concat(unknown), np.concatenate(species))


def folds(labels: LabelSet, classes: np.ndarray) -> Iterator[tuple[LabelSet, np.ndarray]]:
    """Leave out a fifth of the candidates at a time: yield those kept, and which images are of the others."""
    fold = np.arange(len(labels)) % 5
    for part in range(5):
        if 0 < (fold != part).sum() < len(labels):
            kept = labels.rows(np.flatnonzero(fold != part))
            yield kept, ~np.isin(classes, kept.names[LABEL])


def nearest_taxon(places: np.ndarray) -> np.ndarray:
    """Say at which rank unknown taxa join the candidates: the deepest of their `calibrate.places` there, or ''."""
    there = places >= 0
    deepest = len(RANKS) - 1 - there[:, ::-1].argmax(axis=1)
    return np.where(there.any(axis=1), np.array(RANKS, dtype=object)[deepest], "")


def no_organism(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Make images (n, H, W, 3) without an organism of others: their tiles shuffled, one colour, noise."""
    rng = np.random.default_rng(0)
    n, height, width, _ = pixels.shape
    side = max(1, min(height, width) // 8)
    cut = pixels[:, : height // side * side, : width // side * side]
    tiles = cut.reshape(n, height // side, side, width // side, side, 3).swapaxes(2, 3).reshape(n, -1, side, side, 3)
    tiles = np.stack([each[rng.permutation(len(each))] for each in tiles])
    shuffled = tiles.reshape(n, height // side, width // side, side, side, 3).swapaxes(2, 3).reshape(cut.shape)
    colour = pixels.mean(axis=(1, 2), keepdims=True).astype(np.uint8)
    noise = rng.integers(0, 256, pixels.shape, dtype=np.uint8)
    return {"tiles": shuffled, "one colour": np.broadcast_to(colour, pixels.shape).copy(), "noise": noise}
