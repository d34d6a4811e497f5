"""Comparisons of models: tests on the same images, corrected over data sets; ranks over data sets; what n can show.

Takes right and wrong answers image by image, p-values, or a table of scores; returns p-values, ranks and differences.
The paired bootstrap over classes is `metrics.paired_difference`. Refuses answers that are not paired.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from ..errors import InputError

LEVEL, POWER = 0.05, 0.8  # of `detectable_difference`
MIN_SETS = 10  # fewer, and the chi-square approximation of Friedman's test is poor (Demšar 2006, section 3.2.2)


class McNemar(NamedTuple):
    """Images that only a, or only b, gets right, and the exact two-sided p-value of equal models."""

    only_a: int
    only_b: int
    p_value: float


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


def detectable_difference(a: np.ndarray, b: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Tell how large a true difference of two models must be to be found with these images or classes.

    Found is: in four of five cases (`POWER`), by a two-sided test at 0.05 (`LEVEL`).

    Parameters
    ----------
    a, b : ndarray of shape (n,)
        Values of both models, image by image in the same order, from which the variance of differences is taken.
    groups : ndarray of shape (n,), optional
        Each image's class, where classes are what is drawn; by default each image is a group.

    Returns
    -------
    float
        ``(z(1 - LEVEL / 2) + z(POWER)) * s / sqrt(G)``, where z are quantiles of the normal distribution, G is the
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
    z = stats.norm.ppf(1 - LEVEL / 2) + stats.norm.ppf(POWER)
    return float(z * np.sqrt(variance / len(counts)))
