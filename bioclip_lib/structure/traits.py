"""Traits: does the embedding tell of a species what its relatives do not?

Takes the catalog, features, and traits of species; returns a table. Kinship is taken off both sides: a species stands
by its difference from its nearest relatives. What cannot be asked has a row that says why.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from ..config import Config, EvaluateConfig
from ..errors import InputError
from ..evaluation.tasks import Features
from ..files.tables import column_names
from ..sources.columns import read_known
from ..sources.synthetic import grow_tree
from ..sources.synthetic.canvas import PLANS, TRAITS
from ..taxonomy.ranks import tree_distance
from .hierarchy import MIN_CLADES, clades_of, over_kept, p_value_of, species_sets

N_FLIPS = 999
RIDGE = 3.0  # beside a mean square of 1; the genome itself tells of `mini` .71 by 1, .51 by 3, .27 by 10; by chance
# -.29, -.11, -.02
ALL = "all traits"
_NAMED = ("scientific_name", "species", "label", "name")
_COLUMNS = ["dataset", "part", "model", "trait", "value", "ci_low", "ci_high", "by_chance", "p_value", "p_family"]
_COLUMNS += ["by_relatives", "n", "n_clades", "why"]


def read_traits(config: Config) -> pd.DataFrame:
    """Return the traits of species, by scientific name: of the invented world its genome, else ``evaluate.traits``.

    A column a trait, float, missing where it is not known; no column where no traits are given. Refuses a table without
    a column of scientific names, or without a column of numbers.
    """
    if config.evaluate.traits:
        return _read(Path(config.evaluate.traits).expanduser())
    if config.data.source != "synthetic":
        return pd.DataFrame()
    tree = grow_tree(config.data.synthetic, seed=config.split.seed)
    return pd.DataFrame(tree.genomes[:, len(PLANS) :], tree.taxa["scientific_name"], TRAITS).astype(float)


def _read(path: Path) -> pd.DataFrame:
    """Read a table of species and numbers; several rows of a species are averaged."""
    table = read_known(path)
    named = next((column for column in _NAMED if column in table), None)
    if named is None:
        raise InputError(
            f"{path} has no column of scientific names among {', '.join(column_names(path))}; call one scientific_name"
        )
    said = table.drop(columns=named).replace("", np.nan)
    numbers = said.apply(pd.to_numeric, errors="coerce")
    kept = [c for c in numbers if numbers[c].notna().sum() == said[c].notna().sum() and numbers[c].nunique() > 1]
    if not kept:
        raise InputError(f"{path} has no column of numbers that differ among {', '.join(said.columns)}")
    return numbers[kept].groupby(table[named].str.replace("_", " ").str.strip()).mean()


def relatives(tree: np.ndarray) -> np.ndarray:
    """Return the weights (n, n) that average, for each species, its nearest relatives in the tree."""
    far = tree + np.where(np.eye(len(tree), dtype=bool), np.inf, 0.0)
    near = (far == far.min(axis=1, keepdims=True)).astype(float)
    return near / near.sum(axis=1, keepdims=True)


def ridge_hat(points: np.ndarray, clades: np.ndarray) -> np.ndarray:
    """Return what predicts from points (n, D) by ridge, each clade by the others: (n, n), 0 inside clades."""
    kernel = points @ points.T  # (n, D) @ (D, n) -> (n, n)
    kernel /= max(np.trace(kernel) / len(kernel), 1e-12)
    hat = np.zeros_like(kernel)
    for clade in np.unique(clades):
        mine, others = np.flatnonzero(clades == clade), np.flatnonzero(clades != clade)
        taught = kernel[np.ix_(others, others)] + RIDGE * np.eye(len(others))
        hat[np.ix_(mine, others)] = np.linalg.solve(taught, kernel[np.ix_(others, mine)]).T
    return hat


def explained(values: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return 1 - the squares of the errors over those of values (n, T), by trait: at most 1; nan of zeros alone."""
    squares = (values**2).sum(axis=0)
    return 1 - ((values - predicted) ** 2).sum(axis=0) / np.where(squares > 1e-12, squares, np.nan)


def normal_scores(values: np.ndarray) -> np.ndarray:
    """Put numbers (n,) at the places of a normal distribution in their order, so that a few giants do not decide."""
    return stats.norm.ppf((stats.rankdata(values) - 0.5) / len(values))


def beyond_relatives(points: np.ndarray, traits: np.ndarray, ranks: pd.DataFrame, seed: int) -> list[dict] | str:
    """Ask of traits (n, T) what centroids (n, D) tell beyond nearest relatives: a row a trait, one of all; or why not.

    Whole clades are left out of the ridge that predicts them, and change their sign together in the null: in a clade
    differences from relatives depend on each other (of two sisters they are opposite), between clades they do not.
    """
    if len(ranks) < MIN_CLADES:
        return f"it is known of {len(ranks)} species"
    clades, near = clades_of(ranks)[1], relatives(tree_distance(ranks))
    kept = (near * (clades[:, None] != clades[None, :])).sum(axis=1) == 0  # relatives of another clade are left out
    names, clade = np.unique(clades[kept], return_inverse=True)
    if len(names) < MIN_CLADES:
        return f"{len(names)} clades have relatives of which the trait is known; {MIN_CLADES} are needed"
    by_relatives = explained(traits - traits.mean(axis=0), near @ traits - traits.mean(axis=0))
    left, unlike = ((of - near @ of)[kept] for of in (traits, points))
    hat, rng = ridge_hat(unlike, clade), np.random.default_rng(seed)
    predicted = hat @ left
    value = explained(left, predicted)
    signs = rng.choice([-1.0, 1.0], (N_FLIPS, len(names)))[:, clade]
    null = np.stack([explained(sign * left, hat @ (sign * left)) for sign in signs[:, :, None]])  # (N_FLIPS, T)
    many, largest = {"n": int(kept.sum()), "n_clades": len(names)}, np.fmax.reduce(null, axis=1)
    rows = []
    for of in [*range(traits.shape[1]), slice(None)]:
        if not np.isfinite(value[of]).any():
            rows.append({"why": "all relatives are alike in it"})
            continue
        mine, dealt = (np.nanmean(at[..., of].reshape(len(at), -1), axis=1) for at in (value[None], null))
        low, high, _ = over_kept(lambda some, of=of: _mean(left[some], predicted[some], of), clade)
        means = {"by_chance": float(dealt.mean()), "p_value": p_value_of(mine[0], dealt)}
        means["p_family"] = p_value_of(mine[0], largest if isinstance(of, int) else dealt)
        ends = {
            "value": float(mine[0]),
            "ci_low": low,
            "ci_high": high,
            "by_relatives": float(np.mean(by_relatives[of])),
        }
        rows.append({**ends, **means, **many})
    return rows


def _mean(values: np.ndarray, predicted: np.ndarray, of: int | slice) -> float:
    """Return what is explained of a trait, or of all on average."""
    found = explained(values, predicted)[of]
    return float(found if np.ndim(found) == 0 else np.nanmean(found))


def score_traits(table: pd.DataFrame, tables: Features, traits: pd.DataFrame, config: EvaluateConfig) -> pd.DataFrame:
    """Ask which traits of species the embedding tells beyond what their relatives tell.

    Parameters
    ----------
    table, tables, config
        As of `score_hierarchy`.
    traits : DataFrame
        Of `read_traits`; each is put at the places of a normal distribution in its order.

    Returns
    -------
    DataFrame
        ``dataset, part, model, trait`` (and `ALL`, their mean), ``value``: of the squared differences of a trait from
        the mean of the species' nearest relatives by taxonomy, the share that a ridge probe predicts from the same
        differences of centroids, taught by other clades; 1 at most, below 0 where it misleads. Its interval (jackknife
        over clades), ``by_chance`` and the one-sided ``p_value`` of 999 changes of sign of whole clades, ``p_family``
        over all traits, by the largest of them in each change (Westfall & Young 1993). ``by_relatives``: the share of
        the trait's own variance that the relatives predict. ``n`` species and ``n_clades`` that have relatives inside
        their clade; ``why``, where nothing can be asked.

    Notes
    -----
    Differences from relatives stand for independent contrasts (Felsenstein 1985). With c clades p is at least 2^(1-c).
    """
    rows = []
    for species in species_sets(table[table["class_key"].isin(traits.index)]):
        known = traits.loc[species.ranks.index]
        for model, features in tables.items():
            found = _of_model(species.centroids(features), known, species.ranks, config.seed)
            rows += [{**species.keys, "why": "", "model": model, **row} for row in found]
    if not rows:
        why = "no traits of these species are given (evaluate.traits)"
        if len(traits):
            why = f"none of the {len(traits):,} species of the traits is evaluated (the first is {traits.index[0]!r})"
        rows.append({"why": why})
    return pd.DataFrame(rows, columns=_COLUMNS)


def _of_model(points: np.ndarray, traits: pd.DataFrame, ranks: pd.DataFrame, seed: int) -> list[dict]:
    """Return the rows of one model; traits that are known of the same species are asked together."""
    rows, alike = [], {}
    for name in traits:
        alike.setdefault(tuple(traits[name].notna()), []).append(name)
    for known, names in alike.items():
        places = np.flatnonzero(known)
        scores = traits.iloc[places][names].apply(normal_scores).to_numpy()
        found = beyond_relatives(points[places], scores, ranks.iloc[places], seed)
        if isinstance(found, str):
            rows += [{"trait": name, "why": found} for name in names]
            continue
        rows += [{"trait": name, **row} for name, row in zip(names, found[:-1], strict=True)]
        if len(names) == traits.shape[1] > 1:
            rows.append({"trait": ALL, **found[-1]})
    for row in rows:  # traits that are known of other species are another family
        if "p_family" in row and row["trait"] != ALL:
            row["p_family"] = min(1.0, row["p_family"] * len(alike))
    return rows
