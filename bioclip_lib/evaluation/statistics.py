"""Statistics of scores: intervals, paired tests, corrections, calibration, ranks over data sets, what n can show.

Takes arrays of values image by image, p-values, or a table of scores; returns numbers. Knows no model and no path.
Refuses values that are not finite, and answers that are not paired.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from ..errors import InputError

LEVEL = 0.95  # coverage of intervals
ALPHA, POWER = 0.05, 0.8  # of `detectable_difference`
MIN_SETS = 10  # fewer, and the chi-square approximation of Friedman's test is poor (Demšar 2006, section 3.2.2)
_DRAWS = 2_000_000  # group counts drawn at a time, to bound the memory
_ROUNDING = 1e-9  # a mean and its bootstraps are summed in different orders


class PairedDifference(NamedTuple):
    """Mean of a - b, its interval, and the two-sided p-value of no difference."""

    value: float
    ci_low: float
    ci_high: float
    p_value: float


class McNemar(NamedTuple):
    """Images that only a, or only b, gets right, and the exact two-sided p-value of equal models."""

    only_a: int
    only_b: int
    p_value: float


def bootstrap_interval(
    values: np.ndarray,
    groups: np.ndarray | None = None,
    n_bootstraps: int = 2_000,
    seed: int = 0,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Estimate an interval for a mean by resampling groups with all their values.

    Parameters
    ----------
    values : ndarray of shape (n,)
        One value an image, such as 1.0 for a right answer.
    groups : ndarray of shape (n,), optional
        What is drawn: each image's class, so that the interval holds for another set of species of the same kind.
        By default each image is a group.
    n_bootstraps, seed : int
    level : float
        Coverage, in (0, 1).

    Returns
    -------
    low, high : float
        Percentiles of the bootstrapped means, widened to contain the mean where rounding or skew leaves it outside.

    Raises
    ------
    InputError
        If there are no values, some are not finite, or the level is not in (0, 1).

    Notes
    -----
    Images of one species are not independent: resampling images alone gives intervals that are far too narrow for a
    claim about species. With fewer than about 10 groups percentile intervals are too narrow as well, and one group, or
    values that are all equal, give an interval of width 0: that is no certainty.

    Examples
    --------
    >>> bootstrap_interval(np.ones(4))
    (1.0, 1.0)
    """
    means, mean = _bootstrap_means(values, groups, n_bootstraps, seed)
    return _percentiles(means, mean, level)


def paired_difference(
    a: np.ndarray,
    b: np.ndarray,
    groups: np.ndarray | None = None,
    n_bootstraps: int = 2_000,
    seed: int = 0,
) -> PairedDifference:
    """Compare two models on the same images by a bootstrap of their differences.

    Parameters
    ----------
    a, b : ndarray of shape (n,)
        Values of both models, image by image in the same order.
    groups, n_bootstraps, seed
        As of `bootstrap_interval`.

    Returns
    -------
    PairedDifference
        ``value`` is mean(a) - mean(b); the p-value is twice the smaller share of bootstraps on one side of 0, at least
        2 / (n_bootstraps + 1) and, of G groups, 2^(1 - G): as often do equal models differ to one side in all groups.
        1 for models that never differ.

    Raises
    ------
    InputError
        If the models were not asked the same number of images, or as of `bootstrap_interval`.

    Notes
    -----
    Two intervals may overlap while the difference is certain: much of what makes an image hard is common to both.
    With few groups the interval is too narrow and the p-value too small: of equal models, p was below 0.05 in 14 of
    100 cases with 6 groups, in 10 with 10, in 6 with 24.

    Examples
    --------
    >>> paired_difference(np.array([1, 1, 0, 1]), np.array([1, 1, 0, 1]))
    PairedDifference(value=0.0, ci_low=0.0, ci_high=0.0, p_value=1.0)
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.shape != b.shape:
        raise InputError(f"a paired comparison needs the same images: {len(a)} and {len(b)} values given")
    means, mean = _bootstrap_means(a - b, groups, n_bootstraps, seed)
    low, high = _percentiles(means, mean, LEVEL)
    tail = min((means <= _ROUNDING).sum(), (means >= -_ROUNDING).sum())
    n_groups = len(a if groups is None else np.unique(groups))
    p_value = max(2 * (tail + 1) / (n_bootstraps + 1), 2.0 ** (1 - n_groups))
    return PairedDifference(mean, low, high, float(min(1.0, p_value)))


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
    _, index = np.unique(groups, return_inverse=True)
    return np.bincount(index, values), np.bincount(index)


def _bootstrap_means(
    values: np.ndarray, groups: np.ndarray | None, n_bootstraps: int, seed: int
) -> tuple[np.ndarray, float]:
    """Return bootstrapped means (n_bootstraps,) and the mean; groups are drawn with all their values."""
    if n_bootstraps < 1:
        raise InputError(f"evaluate.n_bootstraps is {n_bootstraps}; take 1,000 or more")
    sums, counts = _group_sums(values, groups)
    rng, n_groups, means = np.random.default_rng(seed), len(counts), []
    chunk = max(1, _DRAWS // n_groups)
    for start in range(0, n_bootstraps, chunk):
        n = min(chunk, n_bootstraps - start)
        weights = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n)  # (n, n_groups)
        means.append((weights @ sums) / (weights @ counts))  # (n, n_groups) @ (n_groups,) -> (n,)
    return np.concatenate(means), float(sums.sum() / counts.sum())


def _percentiles(means: np.ndarray, mean: float, level: float) -> tuple[float, float]:
    """Return the central interval of bootstrapped means, widened to contain the mean itself."""
    if not 0 < level < 1:
        raise InputError(f"an interval's level lies between 0 and 1, not at {level}")
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(min(low, mean)), float(max(high, mean))


def p_value_interval(p_value: float, n_permutations: int) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a permutation p-value (b + 1) / (m + 1): what more draws could give."""
    n = n_permutations + 1
    low, high = stats.binomtest(round(p_value * n), n).proportion_ci(LEVEL)
    return float(low), float(high)


def mcnemar(a: np.ndarray, b: np.ndarray) -> McNemar:
    """Test whether two models are right equally often on the same images (McNemar 1947), exactly.

    Parameters
    ----------
    a, b : ndarray of shape (n,), bool
        Whether each model is right, image by image in the same order; each image once.

    Returns
    -------
    McNemar
        The p-value is that of a binomial of only_a + only_b draws with 1/2; 1 for models that never differ.

    Raises
    ------
    InputError
        If there are no answers, not the same number, or other values than right and wrong.

    Notes
    -----
    Images are taken as independent, so this is a statement about these species. For another set of species take
    `metrics.paired_difference` with the classes as groups. Queries that return in several folds are not independent.

    Examples
    --------
    >>> mcnemar(np.array([1, 1, 1, 0]), np.array([1, 0, 0, 0]))
    McNemar(only_a=2, only_b=0, p_value=0.5)
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise InputError(f"a paired test needs the same images: answers of shapes {a.shape} and {b.shape} given")
    if not (np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all()):
        raise InputError("McNemar's test takes right (1) and wrong (0) answers, not scores")
    only_a, only_b = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
    differ = only_a + only_b
    return McNemar(only_a, only_b, float(stats.binomtest(only_a, differ).pvalue) if differ else 1.0)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Correct p-values for their number (Holm 1979): below 0.05 in the result, below 0.05 for the whole family.

    Parameters
    ----------
    p_values : ndarray of shape (m,)
        One a data set, or whatever is tested at once; in [0, 1].

    Returns
    -------
    ndarray of shape (m,)
        Adjusted, in the same order, at most 1.

    Raises
    ------
    InputError
        If a p-value is not in [0, 1].

    Examples
    --------
    >>> holm(np.array([0.04, 0.01, 0.03])).round(3).tolist()
    [0.06, 0.03, 0.06]
    """
    p_values = np.asarray(p_values, dtype=float)
    if not ((p_values >= 0) & (p_values <= 1)).all():  # NaN fails as well
        raise InputError("a p-value is not in [0, 1]; leave out what was not tested")
    order = np.argsort(p_values, kind="stable")
    raised = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(raised, 1)
    return adjusted


def detectable_difference(a: np.ndarray, b: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Tell how large a true difference of two models must be to be found with these images or classes.

    Found is: in four of five cases (`POWER`), by a two-sided test at 0.05 (`ALPHA`).

    Parameters
    ----------
    a, b : ndarray of shape (n,)
        Values of both models, image by image in the same order, from which the variance of differences is taken.
    groups : ndarray of shape (n,), optional
        Each image's class, where classes are what is drawn; by default each image is a group.

    Returns
    -------
    float
        ``(z(1 - ALPHA / 2) + z(POWER)) * s / sqrt(G)``, where z are quantiles of the normal distribution, G is the
        number of groups and s the standard deviation of a group's contribution: with d the mean difference, n_g images
        in group g whose differences sum to S_g, and m images a group on average,
        ``s^2 = sum_g (S_g - n_g d)^2 / (m^2 (G - 1))``.

    Raises
    ------
    InputError
        If the models were not asked the same images, or there are fewer than two groups.

    Examples
    --------
    >>> round(detectable_difference(np.array([1, 0, 1, 0] * 25), np.array([0, 1, 1, 0] * 25)), 3)
    0.199
    """
    difference = np.asarray(a, dtype=float) - np.asarray(b, dtype=float) if len(a) == len(b) else np.empty(0)
    if not len(difference) or (groups is not None and len(groups) != len(difference)):
        raise InputError(f"a paired comparison needs the same images: {len(a)} and {len(b)} values given")
    index = np.unique(np.arange(len(difference)) if groups is None else groups, return_inverse=True)[1]
    counts, sums = np.bincount(index), np.bincount(index, difference)
    if len(counts) < 2:
        raise InputError("one group has no variance; compare on at least two classes")
    residuals = sums - counts * difference.mean()
    variance = (residuals**2).sum() / (counts.mean() ** 2 * (len(counts) - 1))
    z = stats.norm.ppf(1 - ALPHA / 2) + stats.norm.ppf(POWER)
    return float(z * np.sqrt(variance / len(counts)))


def rank_table(scores: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Rank models within each data set, 1 the best, and average over the sets.

    Parameters
    ----------
    scores : DataFrame of shape (n_sets, n_models)
        Higher is better. Sets that lack a model's score are left out.

    Returns
    -------
    table : DataFrame
        Indexed by model, the best first: ``mean_rank``, ``best`` (sets where no model is better), ``n_sets``.
    p_value : float
        Of Friedman's test that all models are equal; NaN for fewer than three models or `MIN_SETS` sets.

    Notes
    -----
    Models with equal scores share the mean of their ranks.

    Examples
    --------
    >>> table, _ = rank_table(pd.DataFrame({"a": [0.9, 0.5], "b": [0.8, 0.5]}))
    >>> table["mean_rank"].to_dict()
    {'a': 1.25, 'b': 1.75}
    """
    whole = scores.dropna()
    ranks = whole.rank(axis=1, ascending=False)
    best = whole.eq(whole.max(axis=1), axis=0).sum()
    table = pd.DataFrame({"mean_rank": ranks.mean(), "best": best, "n_sets": len(whole)}).sort_values("mean_rank")
    if len(whole) < MIN_SETS or whole.shape[1] < 3:
        return table, np.nan
    if ranks.nunique(axis=1).eq(1).all():  # the statistic would be 0 / 0
        return table, 1.0
    return table, float(stats.friedmanchisquare(*whole.to_numpy().T).pvalue)


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, n_bins: int = 15) -> float:
    """Average over bins of confidence how far accuracy and mean confidence lie apart (Guo et al. 2017, section 2).

    Parameters
    ----------
    confidence : ndarray of shape (n,)
        Probability of the predicted class, in [0, 1].
    correct : ndarray of shape (n,), bool
        Whether the prediction is right.
    n_bins : int
        Bins of equal width; a value on an edge belongs to the bin below, 0 to the first.

    Returns
    -------
    float
        In [0, 1]: the sum over bins of (images in the bin / n) * abs(accuracy - mean confidence).

    Raises
    ------
    InputError
        If there are no values, their numbers differ, a confidence is not in [0, 1], or n_bins is below 1.

    Notes
    -----
    It depends on the bins, and is biased upwards where they hold few images: compare models with the same n and n_bins.

    Examples
    --------
    >>> expected_calibration_error(np.array([0.75, 0.75]), np.array([True, False]))
    0.25
    """
    gaps, counts = calibration_gaps(confidence, correct, np.zeros(np.shape(confidence)), n_bins)
    return float(np.abs(gaps).sum() / counts.sum())


def calibration_gaps(
    confidence: np.ndarray, correct: np.ndarray, groups: np.ndarray, n_bins: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sum right answers minus confidence by group and bin, (G, n_bins), and count the images of each group, (G,).

    Their sums over groups, or over groups drawn, give the error of these: `expected_calibration_error`.
    """
    confidence, correct = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    if confidence.ndim != 1 or confidence.shape != correct.shape or not len(confidence):
        raise InputError(f"{confidence.shape} confidences and {correct.shape} answers; give each image one of both")
    if not ((confidence >= 0) & (confidence <= 1)).all():  # NaN fails as well
        raise InputError("a confidence is not in [0, 1]; pass the softmax of the scores, not the scores")
    if n_bins < 1:
        raise InputError(f"n_bins is {n_bins}; take 1 or more")
    place = np.digitize(confidence, np.linspace(0, 1, n_bins + 1)[1:-1], right=True)  # 0 to n_bins - 1
    index = np.unique(groups, return_inverse=True)[1]
    counts = np.bincount(index)
    gaps = np.bincount(index * n_bins + place, correct - confidence, minlength=len(counts) * n_bins)
    return gaps.reshape(-1, n_bins), counts
