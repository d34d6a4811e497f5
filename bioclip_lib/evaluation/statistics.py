"""Statistics of scores: intervals, paired tests, corrections, calibration, ranks over data sets, what n can show.

Takes arrays of values image by image, p-values, or a table of scores; returns numbers, without any draw. Knows no model
and no path. Refuses values that are not finite, and answers that are not paired.

Images of one species are not independent, so classes are the units: every interval and test below is for another set
of species of the same kind, unless it says "for these images". `speed/intervals.py` measures how often they hold.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import special, stats

from ..errors import InputError

LEVEL = 0.95  # coverage of intervals
ALPHA, POWER = 0.05, 0.8  # of what is detectable
MIN_SETS = 5  # of Friedman's test: by simulation its size is 3 to 6 % from here on
COMPARED = ("value", "ci_low", "ci_high", "p_value", "p_flips", "detectable", "n_classes")  # of `compare`
_EXACT_STEPS = 20_000  # differences that are no whole numbers are flipped in steps of a 20,000th of their sum
_ROUNDING = 1e-12  # of sums that are 0 but for the order in which they were added


class Jackknife(NamedTuple):
    """A mean, its standard error over classes, and the number of classes that it is worth, ``(sum n)^2 / sum n^2``."""

    mean: float
    error: float
    n_effective: float


class PairedDifference(NamedTuple):
    """Mean of a - b, interval, two-sided p-values of no difference (by t; by exact flips of signs), what n can show."""

    value: float
    ci_low: float
    ci_high: float
    p_value: float
    p_flips: float
    detectable: float


def jackknife(values: np.ndarray, groups: np.ndarray | None = None) -> Jackknife:
    """Leave out one group at a time, by default one value, with all its values (Efron & Stein 1981)."""
    return _jackknife(*_group_sums(values, groups))


def _jackknife(sums: np.ndarray, counts: np.ndarray) -> Jackknife:
    """Leave out one group at a time, given the sum and the number of the values of each, (G,)."""
    n_groups, total, n = len(counts), sums.sum(), counts.sum()
    if n_groups < 2:
        return Jackknife(float(total / n), 0.0, 1.0)
    without = (total - sums) / (n - counts)  # (G,)
    error = np.sqrt((n_groups - 1) / n_groups * ((without - without.mean()) ** 2).sum())
    return Jackknife(float(total / n), float(error), float(n**2 / (counts**2).sum()))


def mean_interval(
    values: np.ndarray, groups: np.ndarray | None = None, bounds: tuple[float, float] = (0.0, 1.0)
) -> tuple[float, float]:
    """Estimate a 95 % interval for a mean of values (n,) between `bounds`, for another set of `groups` of the kind.

    Student's t on the logit, with the jackknife's standard error and ``G_eff - 1`` degrees of freedom, where ``G_eff =
    (sum n)^2 / sum n^2`` counts uneven groups for what they are worth; by default each image is a group. Where no group
    differs from another, all right or all wrong above all, it is the exact binomial interval of G_eff draws: of all
    right ``[.025^(1 / G_eff), 1]``. By simulation it covers 92 to 99 % from 5 to 96 classes at accuracies of 0.1 to
    0.9, where the percentile bootstrap covered 73 to 95 (`speed/intervals.py`); near 0 or 1 no method is exact: at 0.02
    87 to 100 %.

    >>> low, high = mean_interval(np.ones(40), np.repeat(np.arange(4), 10))
    >>> round(low, 3), high
    (0.398, 1.0)
    """
    low, width = bounds[0], bounds[1] - bounds[0]
    mean, error, n = jackknife((np.asarray(values, dtype=float) - low) / width, groups)
    if not -_ROUNDING <= mean <= 1 + _ROUNDING:
        raise InputError(f"values have the mean {low + width * mean:g}, outside {bounds}; give the bounds of a value")
    if error <= _ROUNDING or min(mean, 1 - mean) <= _ROUNDING:
        ends = _binomial_interval(mean, n)
    else:
        reach = special.stdtrit(n - 1, (1 + LEVEL) / 2) * error / (mean * (1 - mean))
        ends = special.expit(special.logit(mean) + np.array([-reach, reach]))
    return float(low + width * min(ends[0], mean)), float(low + width * max(ends[1], mean))


def difference_interval(values: np.ndarray, groups: np.ndarray | None = None) -> tuple[float, float]:
    """Return the interval of a mean of values in [-1, 1]: Student's t with the jackknife's error, G_eff - 1 degrees."""
    return _difference_interval(jackknife(values, groups))


def _difference_interval(found: Jackknife) -> tuple[float, float]:
    """Return the interval of a difference with its error."""
    mean, error, n = found
    if error <= _ROUNDING:  # no group differs from another: what n draws may have missed
        missed = 1 - ((1 - LEVEL) / 2) ** (1 / n)
        return float(mean - missed * (1 + mean)), float(mean + missed * (1 - mean))
    reach = special.stdtrit(n - 1, (1 + LEVEL) / 2) * error
    return float(max(-1.0, mean - reach)), float(min(1.0, mean + reach))


def paired_difference(a: np.ndarray, b: np.ndarray, groups: np.ndarray | None = None) -> PairedDifference:
    """Compare two models, values in [0, 1], on the same images, for another set of classes of the same kind.

    Interval and ``p_value`` are Student's t with the jackknife's standard error over groups (each image's class; by
    default the image) and ``G_eff - 1`` degrees of freedom. ``p_flips`` flips the sign of each group's sum of
    differences, in all 2^G ways: exact where equal models might as well change names within a group. Where all groups
    differ by the same, it is both; 1 for models that never differ. Two intervals may overlap while the difference is
    certain: much of what makes an image hard is common to both. ``detectable`` is the true difference that would be
    found with these classes in four of five cases: ``(t(1 - ALPHA / 2) + t(POWER)) * error``; nan for one class.
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.shape != b.shape:
        raise InputError(f"a paired comparison needs the same images: {len(a)} and {len(b)} values given")
    sums, counts = _group_sums(a - b, groups)
    mean, error, n = found = _jackknife(sums, counts)
    p_flips = p_value = _sign_flips(sums)
    if error > _ROUNDING:
        p_value = 2 * float(special.stdtr(n - 1, -abs(mean) / error))
    detectable = float(stats.t.ppf([1 - ALPHA / 2, POWER], n - 1).sum() * error) if n > 1 else np.nan
    return PairedDifference(mean, *_difference_interval(found), p_value, p_flips, detectable)


def _sign_flips(sums: np.ndarray) -> float:
    """Return how often flipped signs give a sum at least as far from 0 as these, exactly: by the sums' distribution."""
    sums = np.abs(sums[np.abs(sums) > _ROUNDING]), abs(sums.sum())
    if not len(sums[0]):
        return 1.0
    whole = np.allclose(sums[0], np.round(sums[0]), rtol=0, atol=1e-9) and sums[0].sum() <= _EXACT_STEPS
    unit = 1.0 if whole else sums[0].sum() / _EXACT_STEPS
    steps = np.round(sums[0] / unit).astype(int)
    reachable, chance = int(steps.sum()), np.zeros(int(steps.sum()) + 1)  # of the sum of those that are not flipped
    chance[0] = 1.0
    for step in steps:
        moved = np.zeros_like(chance)
        moved[step:] = chance[: len(chance) - step]
        chance = (chance + moved) / 2
    reached = np.abs(2 * np.arange(reachable + 1) - reachable) >= sums[1] / unit - 0.5 * (1 if whole else len(steps))
    return float(min(1.0, chance[reached].sum()))


def compare(a: np.ndarray, b: np.ndarray, groups: np.ndarray) -> dict:
    """Return `paired_difference` with ``n_classes``, as a row of a table."""
    codes, names = pd.factorize(groups)
    return {**paired_difference(a, b, codes)._asdict(), "n_classes": len(names)}


def with_holm(table: pd.DataFrame, family: list[str]) -> pd.DataFrame:
    """Set beside each column of p-values its correction within a family: ``p_holm`` of ``p_value``, else ``_holm``."""
    for column in [column for column in table if column.startswith("p_")]:
        corrected = table.groupby(family)[column].transform(lambda p: holm(p.to_numpy()))
        name = "p_holm" if column == "p_value" else f"{column}_holm"
        table.insert(table.columns.get_loc(column) + 1, name, corrected)
    return table


def _group_sums(values: np.ndarray, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return sum and count of each group's values; refuse what has no mean."""
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        wrong = int((~np.isfinite(values)).sum())
        raise InputError(f"values of shape {values.shape}, {wrong} of them not finite: no mean and no interval")
    if groups is None:
        return values, np.ones(len(values))
    if len(groups) != len(values):
        raise InputError(f"{len(values)} values but {len(groups)} groups; give each value its group")
    index = pd.factorize(np.asarray(groups))[0]  # by hashes: names need no sorting
    return np.bincount(index, values), np.bincount(index)


def _binomial_interval(share: float, n: float) -> tuple[float, float]:
    """Return Clopper and Pearson's interval of a share of n draws, which need not be whole numbers."""
    hits, tail = np.clip(share, 0, 1) * n, (1 - LEVEL) / 2
    low = stats.beta.ppf(tail, hits, n - hits + 1) if hits > _ROUNDING else 0.0
    high = stats.beta.isf(tail, hits + 1, n - hits) if n - hits > _ROUNDING else 1.0
    return float(low), float(high)


def chance_bound(chance: pd.Series) -> np.ndarray:
    """Return the mean accuracy over classes that names dealt out at random exceed in one of 10,000 cases.

    Chance is one over the number of classes; at worst a model that knows nothing calls all images of a class the same.
    """
    return stats.binom.ppf(1 - 1e-4, np.round(1 / chance), chance) * chance.to_numpy()


def p_value_interval(p_value: float, n_permutations: int) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a permutation p-value (b + 1) / (m + 1): what more draws could give."""
    n = n_permutations + 1
    low, high = stats.binomtest(round(p_value * n), n).proportion_ci(LEVEL)
    return float(low), float(high)


def mcnemar(a: np.ndarray, b: np.ndarray, groups: np.ndarray | None = None) -> tuple[int, int, float]:
    """Test exactly whether models, each right or wrong on the same images, are right equally often (McNemar 1947).

    Returns how many images only a, and only b, gets right, and the two-sided p-value of equal models. A statement for
    these images alone; for another set of species take `paired_difference`. Images are independent, or those of one
    group (a burst, an individual; queries of several folds: the image) change models together.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise InputError(f"a paired test needs the same images: answers of shapes {a.shape} and {b.shape} given")
    if not (np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all()):
        raise InputError("McNemar's test takes right (1) and wrong (0) answers, not scores")
    only_a, only_b = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
    return only_a, only_b, _sign_flips(_group_sums(a.astype(float) - b, groups)[0])


def holm(p_values: np.ndarray) -> np.ndarray:
    """Correct p-values (m,) for their number (Holm 1979): below 0.05 in the result, below 0.05 for the whole family."""
    p_values = np.asarray(p_values, dtype=float)
    if not ((p_values >= 0) & (p_values <= 1)).all():  # NaN fails as well
        raise InputError("a p-value is not in [0, 1]; leave out what was not tested")
    order = np.argsort(p_values, kind="stable")
    raised = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(raised, 1)
    return adjusted


def rank_table(scores: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Rank models (columns) within each data set (rows), 1 the highest score, and average over sets that all have.

    Returns ``mean_rank, best`` (sets where no model is better), ``n_sets`` by model, the best first, and the p-value of
    Friedman's test that all are equal, by Iman and Davenport's F (1980), whose size is right where chi-square's is too
    small; NaN for fewer than three models or `MIN_SETS` sets. Models with equal scores share the mean of their ranks.
    """
    whole = scores.dropna()
    ranks = whole.rank(axis=1, ascending=False)
    best = whole.eq(whole.max(axis=1), axis=0).sum()
    table = pd.DataFrame({"mean_rank": ranks.mean(), "best": best, "n_sets": len(whole)}).sort_values("mean_rank")
    n, k = whole.shape
    if n < MIN_SETS or k < 3:
        return table, np.nan
    if ranks.nunique(axis=1).eq(1).all():  # the statistic would be 0 / 0
        return table, 1.0
    chi_square, most = stats.friedmanchisquare(*whole.to_numpy().T).statistic, n * (k - 1)
    if chi_square >= most - 1e-9:  # all sets agree: F is infinite
        return table, float(np.exp((1 - n) * np.log(np.arange(2, k + 1)).sum()))  # as often do sets by chance, k!^(1-n)
    f = (n - 1) * chi_square / (most - chi_square)
    return table, float(stats.f.sf(f, k - 1, (k - 1) * (n - 1)))


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, n_bins: int = 15) -> float:
    """Return how far accuracy and mean confidence lie apart, averaged over bins (Guo et al. 2017), without its bias.

    Bins have equal width; a value on an edge belongs to the bin below. Noise alone puts a bin's accuracy apart from its
    confidence: with the gap g of a bin and its standard error s, E|N(g, s)| - |g| is taken off (as Kumar et al. 2019 do
    by simulation). Of 400 calibrated answers 0.03 remains, where the plain error is 0.06. It depends on the bins, and
    has no interval: take the signed over-confidence, `difference_interval` of confidence - correct.
    """
    confidence, correct = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    if confidence.ndim != 1 or confidence.shape != correct.shape or not len(confidence):
        raise InputError(f"{confidence.shape} confidences and {correct.shape} answers; give each image one of both")
    if not ((confidence >= 0) & (confidence <= 1)).all():  # NaN fails as well
        raise InputError("a confidence is not in [0, 1]; pass the softmax of the scores, not the scores")
    if n_bins < 1:
        raise InputError(f"n_bins is {n_bins}; take 1 or more")
    place = np.digitize(confidence, np.linspace(0, 1, n_bins + 1)[1:-1], right=True)  # 0 to n_bins - 1
    counts = np.bincount(place, minlength=n_bins)
    hits, gaps = (np.bincount(place, x, n_bins)[counts > 0] for x in (correct, correct - confidence))
    n = counts[counts > 0]
    share = (hits + 0.5) / (n + 1)  # never 0 or 1: a bin of few images is not certain
    error, gap = np.sqrt(share * (1 - share) / n), np.abs(gaps) / n
    folded = error * np.sqrt(2 / np.pi) * np.exp(-((gap / error) ** 2) / 2) + gap * (1 - 2 * stats.norm.sf(gap / error))
    return float(max(0.0, (n * (2 * gap - folded)).sum() / n.sum()))
