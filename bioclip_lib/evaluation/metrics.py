"""Scores with their uncertainty, and the tidy table that holds them.

Takes arrays of per-image values; returns point values, chance levels and intervals. `append_metrics` writes
metrics.csv, one row a number, and refuses a number without n and an interval.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from ..errors import InputError
from ..run import atomic

LABELS = ("run", "profile", "notebook", "dataset", "model", "task", "metric")
COLUMNS = (*LABELS, "value", "ci_low", "ci_high", "n", "seeds", "chance", "seconds")
KEYS = ["run", "profile", "dataset", "model", "task", "metric"]  # not the notebook: one number has one row
LEVEL = 0.95  # coverage of intervals
_DRAWS = 2_000_000  # group counts drawn at a time, to bound the memory
_ROUNDING = 1e-9  # a mean and its bootstraps are summed in different orders


class PairedDifference(NamedTuple):
    """Mean of a - b, its interval, and the two-sided p-value of no difference."""

    value: float
    ci_low: float
    ci_high: float
    p_value: float


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
    """Return the Clopper-Pearson interval of a permutation p-value (b + 1) / (m + 1): what more draws could give.

    Examples
    --------
    >>> low, high = p_value_interval(0.01, 99)
    >>> round(low, 4), round(high, 4)
    (0.0003, 0.0545)
    """
    n = n_permutations + 1
    hits = round(p_value * n)
    alpha = 1 - LEVEL
    low = stats.beta.ppf(alpha / 2, hits, n - hits + 1) if hits else 0.0
    high = stats.beta.ppf(1 - alpha / 2, hits + 1, n - hits) if hits < n else 1.0
    return float(low), float(high)


def append_metrics(path: str | Path, rows: pd.DataFrame, **labels: str) -> None:
    """Add rows to metrics.csv; rows of the same run, data set, model, task and metric are replaced.

    Parameters
    ----------
    path : str or Path
        Written whole or not at all.
    rows : DataFrame
        Some of `COLUMNS`.
    **labels
        Columns that are the same in all rows, as ``run="mini"``.

    Raises
    ------
    ValueError
        If a row lacks a label, n, seeds or a finite value, interval or chance; if the value is outside its interval; or
        if two of the rows have the same key.

    Notes
    -----
    The order of the file does not depend on the order of the calls. The notebook is no part of the key: a number that
    moves to another notebook is replaced, not doubled.
    """
    path = Path(path)
    rows = _checked(rows.assign(**labels))
    old = read_metrics(path) if path.is_file() else rows.iloc[:0]
    table = pd.concat([old, rows], ignore_index=True) if len(old) else rows
    table = table.drop_duplicates(KEYS, keep="last").sort_values(["dataset", "task", "model", "metric", *KEYS])
    with atomic(path) as tmp:
        table.to_csv(tmp, index=False, float_format="%.6g")


def _checked(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows in the form of metrics.csv; ValueError for a number that must not be written."""
    if "seconds" not in rows:
        rows = rows.assign(seconds=np.nan)
    missing = [column for column in COLUMNS if column not in rows]
    if missing:
        raise ValueError(f"rows lack {', '.join(missing)}")
    rows = rows[list(COLUMNS)]
    numbers = rows[["value", "ci_low", "ci_high", "n", "seeds", "chance"]].astype(float)
    bad = ~np.isfinite(numbers).all(axis=1) | (numbers["n"] < 1) | (numbers["seeds"] < 1)
    bad |= (numbers["value"] < numbers["ci_low"] - _ROUNDING) | (numbers["value"] > numbers["ci_high"] + _ROUNDING)
    if bad.any():
        raise ValueError(f"a number without n or interval is not written: {rows[bad].iloc[0].to_dict()}")
    unlabelled = rows[list(LABELS)].isna().any(axis=1) | (rows[list(LABELS)].astype(str) == "").any(axis=1)
    if unlabelled.any():
        raise ValueError(f"a number without a label is not written: {rows[unlabelled].iloc[0].to_dict()}")
    if rows.duplicated(KEYS).any():
        raise ValueError(f"two numbers for one key: {rows[rows.duplicated(KEYS)].iloc[0].to_dict()}")
    return rows.astype({**dict.fromkeys(LABELS, str), "n": int, "seeds": int})


def read_metrics(path: str | Path) -> pd.DataFrame:
    """Read metrics.csv; InputError where it is missing or of another form.

    Notes
    -----
    Labels stay text: a data set named ``NA`` or a run named ``007`` comes back as it was written.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; run the notebooks 04_zero_shot to 08_hierarchy_probes first")
    numbers = [column for column in COLUMNS if column not in LABELS]
    try:
        table = pd.read_csv(
            path,
            dtype={**dict.fromkeys(LABELS, str), **dict.fromkeys(numbers, float)},
            keep_default_na=False,
            na_values={column: [""] for column in numbers},
        )
        if tuple(table.columns) != COLUMNS:
            raise ValueError(f"columns {', '.join(map(str, table.columns))}")
        return table.astype({"n": int, "seeds": int})
    except ValueError as error:  # of pandas too: no columns, a line too long, text for a number
        raise InputError(f"{path} is no metrics table ({error}); delete it and run the notebooks again") from None
