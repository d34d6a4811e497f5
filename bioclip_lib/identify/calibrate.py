"""How far an answer can be trusted, from images whose taxa are known: a temperature, and a floor with stated coverage.

The floor is split conformal on the nodes of the tree. Of a known image the score is the highest probability that its
lineage gives a taxon which is wrong; an answer is reported above the quantile of these scores. Then the share of
images whose answer is wrong stays below the stated one, over draws of exchangeable images, whatever the model; no
answer counts as right (Vovk et al. 2005; the answers of falling floors are nested: Gupta et al. 2022).
"""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.stats import betabinom

from .. import RANKS
from ..errors import InputError
from .labels import LABEL, LabelSet, Tree
from .naming import Naming, logits_of

UNKNOWN, ABSENT = -2, -1
TOO_FEW = 2.0  # as a floor: nothing is answered
KNOWN_PASS = 0.95  # share of known images that the threshold of unknown ones lets pass, as FPR95 asks
_LOG_TEMPERATURES = (-3.0, 3.0)
_SCORES = 2**25  # of images and candidates that the temperature is fitted on


def places(taxa: pd.DataFrame, labels: LabelSet) -> np.ndarray:
    """Find taxa, rows with seven ranks, in the tree of candidates, (n, 7): `ABSENT`; `UNKNOWN` where a row lacks it."""
    rows = taxa[list(RANKS)].fillna("").reset_index(drop=True)
    both = pd.concat([labels.names[[LABEL, *RANKS]], rows.assign(**{LABEL: ""})], ignore_index=True)
    tree, n = Tree(both), len(labels)  # numbered as they first occur: the candidates keep their numbers
    codes = np.stack([codes[n:] for codes in tree.codes], axis=1)
    n_taxa = [len(first) for first in labels.tree.first]
    return np.where((rows == "").to_numpy(), UNKNOWN, np.where(codes < n_taxa, codes, ABSENT))


def fit_temperature(features: np.ndarray, candidates: np.ndarray, labels: LabelSet, scale: float) -> float:
    """Fit the temperature that makes the candidates of images likeliest (Guo et al. 2017, arXiv 1706.04599)."""
    step = max(1, -(-len(features) * len(labels) // _SCORES))
    logits, own = logits_of(features[::step], labels, scale), candidates[::step]
    logits -= logits.max(axis=1, keepdims=True)
    right = logits[np.arange(len(own)), own]

    def surprise(log_t: float) -> float:
        t = np.exp(log_t)
        return float((np.log(np.exp(logits / t).sum(axis=1)) - right / t).mean())

    return float(np.exp(minimize_scalar(surprise, bounds=_LOG_TEMPERATURES, method="bounded").x))


def wrong_up_to(naming: Naming, labels: LabelSet, truth: np.ndarray) -> np.ndarray:
    """Return the highest probability of a wrong named taxon in each lineage, (n,), given `places` (n, 7); 0: none."""
    named = np.stack([labels.tree.is_named[d][naming.lineage[:, d]] for d in range(len(RANKS))], axis=1)
    wrong = named & (truth != UNKNOWN) & (truth != naming.lineage)
    return np.where(wrong, naming.trust, 0).max(axis=1)


def conformal_floor(scores: np.ndarray, coverage: float, classes: np.ndarray | None = None) -> float:
    """Return the floor above which 1 - coverage of images are answered wrongly; above 1 where they are too few.

    With `classes` (n,) coverage is the mean over classes.
    """
    if not 0 < coverage < 1 or not len(scores):
        raise InputError(f"coverage {coverage} of {len(scores)} images: give a coverage between 0 and 1, and images")
    weights = np.ones(len(scores))
    if classes is not None:
        _, index, counts = np.unique(classes, return_inverse=True, return_counts=True)
        weights = 1 / counts[index]
    order = np.argsort(scores, kind="stable")
    above = weights.sum() - np.cumsum(weights[order])  # weight of later ones; of equal ones the last counts
    enough = above + weights.mean() <= (1 - coverage) * (weights.sum() + weights.mean()) + 1e-12
    return float(np.nextafter(scores[order][enough.argmax()], 2)) if enough.any() else TOO_FEW


def expected_share(coverage: float, n_fit: int, n_asked: int) -> tuple[float, float]:
    """Return between which shares right of `n_asked` images lie in 95 % of draws, given a floor read off `n_fit`.

    The share is beta-binomial (Vovk 2012; Angelopoulos & Bates 2021, arXiv 2107.07511, 3.2), where no scores are equal.
    """
    place = int(np.ceil(coverage * (n_fit + 1) - 1e-9))
    if place > n_fit:  # nothing is answered
        return 1.0, 1.0
    low, high = betabinom.ppf((0.025, 0.975), n_asked, place, n_fit + 1 - place) / n_asked
    return float(low), float(high)
