"""None of these: does a run notice taxa that are not among its candidates, or no organism, and where do they belong?

Takes features of images, what they were named, and a gallery of training features; returns scores, the higher the more
like a candidate, and how well each separates known from unknown images. Which score is best is asked of validation
species alone, each in turn left out of the candidates and of the gallery.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
import pandas as pd

from .. import RANKS
from ..evaluation.tasks import with_interval
from ..model import encode_images
from ..model.features import load_split
from .calibrate import KNOWN_PASS, places
from .labels import LABEL, LabelSet
from .naming import FLOOR, Naming, name_features, trusted_depth
from .trained import TrainedRun
from .trials import COVERAGE, N_STEPS, named

NEIGHBOURS = 5
BOTH = "max_logit + neighbours"
N_NOTHING = 200  # images of which some without an organism are made
_AT_ONCE = 1_024


def unknowns(run: TrainedRun) -> pd.DataFrame:
    """Ask which score tells images of the candidates from others, by how far these others are.

    Returns
    -------
    DataFrame
        ``others`` and the columns of `separation`. "validation species left out" chooses a score, all below it
        judge: held-out species by the rank at which they join the candidates, and images of no organism.
    """
    train, val, test, unseen = (run.split(name) for name in ("train", "val", "test", "heldout_species"))
    if min(len(train.rows), len(val.rows), len(test.rows)) == 0:
        return pd.DataFrame()
    scale = run.calibrated_scale
    tables = [left_out(val.features, val.classes, (train.features, train.classes), run.labels, scale)]
    tables[0]["others"] = "validation species left out"

    def scored(features: np.ndarray) -> pd.DataFrame:
        return known_scores(name_features(features, run.labels, scale), features, train.features)

    like = scored(val.features)
    known = with_both(scored(test.features), like)
    if len(unseen.rows):
        found, join = with_both(scored(unseen.features), like), nearest_taxon(places(unseen.rows, run.labels))
        tables.append(separation(known, found, unseen.classes).assign(others="all held-out species"))
        for rank in (r for r in ("", *RANKS) if (join == r).any()):
            of = separation(known, found[join == rank], unseen.classes[join == rank])
            tables.append(of.assign(others=f"of a known {rank}" if rank else "of another kingdom"))
    images = load_split(run.run, run.model.model, "test")
    for kind, pixels in no_organism(images[:: max(1, len(images) // N_NOTHING)][:N_NOTHING]).items():
        features = encode_images(run.model.model, pixels, precision=run.precision)
        tables.append(separation(known, with_both(scored(features), like), np.arange(len(pixels))).assign(others=kind))
    return pd.concat(tables, ignore_index=True)


def attachments(run: TrainedRun) -> pd.DataFrame:
    """Ask where unknown species belong: is the answer the taxon at which they join the candidates?

    An unknown species is none of the candidates, so that answers end above species, at a rank and a floor.

    Returns
    -------
    DataFrame
        A row a ``rule``: ``value, ci_low, ci_high`` (the share of images of held-out species whose answer is exactly
        that taxon, for another set of species), the shares ``above`` it, ``below`` it and ``elsewhere``, ``n``,
        ``n_species``. "floor ..., down to ..." and "always to ..." (no floor) are the best for validation species, a
        fifth of them at a time left out of the candidates; the others are as in `rules`.
    """
    val, unseen = run.split("val"), run.split("heldout_species")
    if min(len(val.rows), len(unseen.rows)) == 0:
        return pd.DataFrame()
    species = len(RANKS) - 1
    options = list(product(np.linspace(0, 1, N_STEPS + 1), range(species)))
    hits: list[list] = [[] for _ in options]
    for kept, out in folds(run.labels, val.classes):
        naming, truth = name_features(val.features[out], kept, run.calibrated_scale), places(val.rows[out], kept)
        for found, option in zip(hits, options, strict=True):
            found.extend(attached(naming, truth, _depth(naming, kept, *option)) == "exact")
    share = dict(zip(options, np.mean(hits, axis=1), strict=True))
    floor, deepest = max(options, key=share.get)
    always = max((option for option in options if option[0] == 0), key=share.get)[1]
    asked = {
        f"floor {floor:.2f}, down to {RANKS[deepest]}": (floor, deepest),
        f"always to {RANKS[always]}": (0.0, always),
    }
    asked |= {f"{COVERAGE:.0%} of images": (run.trust(COVERAGE).floor, species), f"{FLOOR}": (FLOOR, species)}
    naming, truth = named(run, unseen)
    rows = []
    for name, option in asked.items():
        found = attached(naming, truth, _depth(naming, run.labels, *option))
        row = {"rule": name, **with_interval((found == "exact").astype(float), unseen.classes)}
        row |= {where: (found == where).mean() for where in ("above", "below", "elsewhere")}
        rows.append({**row, "n": len(found), "n_species": len(set(unseen.classes))})
    return pd.DataFrame(rows)


def _depth(naming: Naming, labels: LabelSet, floor: float, deepest: int) -> np.ndarray:
    """Return how deep answers go: to where they clear a floor, and no deeper than one rank."""
    return np.minimum(trusted_depth(naming, labels, floor), deepest)


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
