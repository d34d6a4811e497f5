"""Scores with their uncertainty, and the tidy table that holds them.

Takes arrays of per-image values; returns point values and intervals. `append_metrics` writes metrics.csv, one row a
number, and refuses a number without n and an interval.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from .errors import InputError
from .paths import atomic

COLUMNS = (
    *("run", "profile", "notebook", "dataset", "model", "task", "metric"),
    *("value", "ci_low", "ci_high", "n", "seeds", "chance", "seconds"),
)
KEYS = ["run", "profile", "dataset", "model", "task", "metric"]
_CHUNK = 500  # bootstraps at a time, to bound the memory


def bootstrap_interval(
    values: np.ndarray,
    groups: np.ndarray | None = None,
    n_bootstraps: int = 2_000,
    seed: int = 0,
    level: float = 0.95,
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
        Percentiles of the bootstrapped means; for a single group they are the mean itself.

    Raises
    ------
    InputError
        If there are no values, or some are not finite.

    Notes
    -----
    Images of one species are not independent: resampling images alone gives intervals that are far too narrow for a
    claim about species. With fewer than about 10 groups percentile intervals are too narrow as well.

    Examples
    --------
    >>> bootstrap_interval(np.ones(4))
    (1.0, 1.0)
    """
    values = np.asarray(values, dtype=float)
    if not len(values) or not np.isfinite(values).all():
        raise InputError(f"{len(values)} values, {int((~np.isfinite(values)).sum())} of them not finite: no interval")
    _, index = np.unique(np.arange(len(values)) if groups is None else groups, return_inverse=True)
    sums, counts = np.bincount(index, values), np.bincount(index)
    rng, n_groups, means = np.random.default_rng(seed), len(counts), []
    for start in range(0, n_bootstraps, _CHUNK):
        n = min(_CHUNK, n_bootstraps - start)
        weights = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n)  # (n, n_groups)
        means.append((weights @ sums) / (weights @ counts))  # (n, n_groups) @ (n_groups,) -> (n,)
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    mean = values.mean()
    return float(min(low, mean)), float(max(high, mean))


def p_value_interval(p_value: float, n_permutations: int, level: float = 0.95) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a permutation p-value (b + 1) / (m + 1): what more permutations could give.

    Examples
    --------
    >>> low, high = p_value_interval(0.01, 99)
    >>> round(low, 4), round(high, 4)
    (0.0003, 0.0545)
    """
    n = n_permutations + 1
    hits = round(p_value * n)
    alpha = 1 - level
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
        If a row lacks a label, n or a finite value, interval or chance; or the value is outside its interval.
    """
    path = Path(path)
    rows = rows.assign(**labels)
    if "seconds" not in rows:
        rows["seconds"] = np.nan
    missing = [column for column in COLUMNS if column not in rows]
    if missing:
        raise ValueError(f"rows lack {', '.join(missing)}")
    rows = rows[list(COLUMNS)]
    numbers = rows[["value", "ci_low", "ci_high", "n", "chance"]].astype(float)
    bad = ~np.isfinite(numbers).all(axis=1) | (numbers["n"] < 1)
    bad |= (numbers["value"] < numbers["ci_low"] - 1e-9) | (numbers["value"] > numbers["ci_high"] + 1e-9)
    if bad.any():
        raise ValueError(f"a number without n or interval is not written: {rows[bad].iloc[0].to_dict()}")
    old = read_metrics(path) if path.is_file() else rows.iloc[:0]
    table = pd.concat([old, rows], ignore_index=True) if len(old) else rows
    table = table.drop_duplicates(KEYS, keep="last").sort_values(["dataset", "task", "model", "metric"], kind="stable")
    with atomic(path) as tmp:
        table.to_csv(tmp, index=False, float_format="%.6g")


def read_metrics(path: str | Path) -> pd.DataFrame:
    """Read metrics.csv; InputError where it is missing or of another form."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; run the notebooks 04_zero_shot to 08_hierarchy_probes first")
    table = pd.read_csv(path)
    if tuple(table.columns) != COLUMNS:
        raise InputError(f"{path} is no metrics table; delete it and run the notebooks again")
    return table
