"""Variation within species: what sex or life stage has of it, and whether it lies in what tells species apart.

Takes the catalog, which says the states, and features; returns a table. Observations are what is dealt out, not images:
photographs of one animal are of one sex. What cannot be asked has a row that says why.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..config import EvaluateConfig
from ..evaluation.tasks import Features, unit_rows
from ..sources.columns import STATE_COLUMNS
from .hierarchy import features_of, orders_of, over_kept, p_value_of, species_sets, sums_of

N_PERMUTATIONS = 199
MIN_EACH = 2  # observations of a state of a species
SUBSPACE = 0.9  # share of the variance between species that the main directions hold
SHARE, INSIDE = "share of the variance within species", "share of it where species differ"
_UNKNOWN = ("not recorded", *"unknown undetermined indeterminate indet unsexed none na n/a u -".split())
_SAME = {**dict.fromkeys(("m", "♂", "males"), "male"), **dict.fromkeys(("f", "♀", "females"), "female")}
_SAME |= {"adults": "adult", "ad": "adult", "juveniles": "juvenile", "juv": "juvenile", "larvae": "larva"}
_COLUMNS = ["dataset", "part", "state", "model", "question", "value", "ci_low", "ci_high", "by_chance", "p_value"]
_COLUMNS += ["n", "n_observations", "why"]


class Sums(NamedTuple):
    """Sums of squares of each of S species, between its ``k`` states and within them, and its ``n`` observations."""

    between: np.ndarray
    within: np.ndarray
    k: np.ndarray
    n: np.ndarray

    def freed(self) -> np.ndarray:
        """Return what the states have of the sum of squares beyond what as many random groups would have, (S,)."""
        return self.between - (self.k - 1) * self.within / (self.n - self.k)


def state_sums(points: np.ndarray, species: np.ndarray, states: np.ndarray) -> Sums:
    """Sum squares of points (n, D) of species and states, both numbered from 0, the states throughout."""
    n_states = int(states.max()) + 1
    cell = np.unique(species * n_states + states, return_inverse=True)[1]
    home = np.zeros(cell.max() + 1, np.int64)
    home[cell] = species
    between, each = _squares(points, cell), np.bincount(species)
    k = np.bincount(home)
    of_states = np.bincount(home, between)
    total = np.bincount(species, np.einsum("nd,nd->n", points, points))
    middle = _squares(points, species)
    return Sums(of_states - middle, total - of_states, k, each)


def _squares(points: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return n |mean|^2 of the points of each group."""
    sums = sums_of(points, group, group.max() + 1)  # (G, D)
    return np.einsum("gd,gd->g", sums, sums) / np.bincount(group)


def share_of_states(sums: Sums) -> float:
    """Return the share of the variance within species that states have, freed of what chance gives: 0 by chance, to 1.

    Epsilon squared (Kelley 1935) of the sums of squares of PERMANOVA (Anderson 2001), pooled over species.
    """
    return float(sums.freed().sum() / (sums.between + sums.within).sum())


def share_inside(whole: Sums, inside: Sums) -> tuple[float, float]:
    """Return the share of what states change that lies in some directions, and that of all other variation within."""
    return float(inside.freed().sum() / whole.freed().sum()), float(inside.within.sum() / whole.within.sum())


def between_species(points: np.ndarray, species: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Return the main directions (r, D), orthonormal, that hold nine tenths of the variance between species.

    A species is the mean of the means of its states, so that one with more males is not told by that.
    """
    cells = pd.DataFrame(points).groupby([species, states]).mean()
    means = cells.groupby(level=0).mean().to_numpy()
    _, size, directions = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    held = np.cumsum(size**2) / max((size**2).sum(), 1e-12)
    return directions[: int(np.searchsorted(held, SUBSPACE)) + 1]


def states_of(column: pd.Series) -> pd.Series:
    """Write states alike, '' where unknown: ``M`` and ``males`` are ``male``."""
    said = column.astype(str).str.strip().str.lower().str.rstrip(".")
    return said.replace(_SAME).where(~said.isin(_UNKNOWN), "")


def score_within(table: pd.DataFrame, tables: Features, config: EvaluateConfig) -> pd.DataFrame:
    """Ask what sex and life stage have of the variation within species, and where it lies.

    Parameters
    ----------
    table : DataFrame
        The catalog, of which ``sex`` and ``life_stage`` say the states; only images known to species take part.
    tables, config
        As of `score_hierarchy`.

    Returns
    -------
    DataFrame
        ``dataset, part, state`` (sex, life_stage), ``model, question``: `SHARE` (`share_of_states`; ``by_chance`` the
        mean, and the one-sided ``p_value``, of 199 deals of the states over the observations of each species) and,
        where that is shown, `INSIDE` (`share_inside` of the directions in which species differ; ``by_chance`` is the
        share of all other variation within species, and the two-sided p is of the difference between them).
        Intervals: a jackknife over species (`over_kept`; from -1 to 1 of fewer than five). ``n`` species of which two
        states have two observations each, ``n_observations`` of these. ``why``: a row without numbers says what cannot
        be asked.

    Notes
    -----
    That variation within species lies across what tells species apart is reported of BioCLIP 2 (arXiv 2505.23883).
    A state that is photographed elsewhere, or by other people, than the other is not told from that.
    """
    said, rows = table.set_index("image_id").reindex(columns=list(STATE_COLUMNS), fill_value=""), []
    for state, species in product(STATE_COLUMNS, species_sets(table)):
        keys, group = {**species.keys, "state": state}, species.images
        kept, why = _asked(group.assign(state=states_of(said.loc[group.index, state])), state.replace("_", " "))
        if why:
            rows.append({**keys, "model": "", "question": "", "why": why})
            continue
        for model, features in tables.items():
            values = unit_rows(features_of(features, kept).astype(np.float64))
            rows += [{"why": "", **keys, "model": model, **row} for row in _of_model(values, kept, config.seed)]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _asked(group: pd.DataFrame, state: str) -> tuple[pd.DataFrame, str]:
    """Return the images that can be asked, or why there are none."""
    known = group[group["state"] != ""]
    if known.empty:
        return known, f"the catalog states no {state}"
    each = known.groupby(["class_key", "state"])["group"].transform("nunique")
    known = known[each >= MIN_EACH]
    known = known[known.groupby("class_key")["state"].transform("nunique") > 1]
    why = f"no species has {MIN_EACH} observations each of two states ({state})" if known.empty else ""
    return known, why


def _of_model(values: np.ndarray, kept: pd.DataFrame, seed: int) -> list[dict]:
    """Return the rows of one model and state, of the features (n, D) of images."""
    frame = pd.DataFrame(values).groupby([kept[c].to_numpy() for c in ("class_key", "state", "group")]).mean()
    points = frame.to_numpy()
    species, states = (pd.factorize(frame.index.get_level_values(i))[0] for i in (0, 1))
    points = points - pd.DataFrame(points).groupby(species).transform("mean").to_numpy()
    sums = state_sums(points, species, states)
    names, many = np.arange(len(sums.n)), {"n": len(sums.n), "n_observations": len(points)}
    if (sums.between + sums.within).sum() < 1e-12:
        return [{"question": SHARE, **many, "why": "all observations of a species are one point"}]
    value = share_of_states(sums)
    orders = orders_of(len(species), N_PERMUTATIONS, seed, species)
    null = [share_of_states(state_sums(points, species, states[order])) for order in orders]
    low, high, _ = over_kept(lambda kept: share_of_states(_some(sums, kept)), names)
    means = {"by_chance": float(np.mean(null)), "p_value": p_value_of(value, np.array(null))}
    rows = [{"question": SHARE, "value": value, "ci_low": low, "ci_high": high, **means, **many}]
    if means["p_value"] >= 0.05 or value <= 0:
        return [*rows, {"question": INSIDE, **many, "why": "no difference between the states is shown"}]
    inside = state_sums(points @ between_species(frame.to_numpy(), species, states).T, species, states)

    def share(kept: np.ndarray) -> tuple[float, float]:
        return share_inside(_some(sums, kept), _some(inside, kept))

    value, rest = share(names)
    low, high, _ = over_kept(lambda kept: share(kept)[0], names)
    p_value = over_kept(lambda kept: share(kept)[0] - share(kept)[1], names)[2]
    ends = {"value": value, "ci_low": low, "ci_high": high, "by_chance": rest, "p_value": p_value}
    return [*rows, {"question": INSIDE, **ends, **many}]


def _some(sums: Sums, kept: np.ndarray) -> Sums:
    """Return the sums of some species."""
    return Sums(*(of[kept] for of in sums))
