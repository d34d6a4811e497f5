"""Cells side by side: means and intervals over seeds, the matrix of text types, and what is claimed of it, tested.

A seed is one observation: another world, or other held-out species, and other weights. Differences are taken inside a
seed, where both recipes meet the same images; intervals are Student's t over seeds, so that two seeds carry little.
"""

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats

from .. import TEXT_TYPES
from ..config import DESCRIPTION, OBJECTIVES
from .cells import DEALT, LOOKS, MIXTURE, READERS, SCRATCH, STARTS, TOWERS
from .confused import APART, WHOLE
from .data import HALF_IMAGES, HALF_SPECIES
from .data import PARTS as SHARES

LEVEL = 0.95
MARGIN = 0.05  # of accuracy: nearer than this to the best is "not far"
PARTS = ("seen", "unseen")
_OF_NAMES = (*TEXT_TYPES, MIXTURE)
RECIPES = (*_OF_NAMES, DEALT, *(name + kind for name in READERS for kind in ("", LOOKS)))
MEASURED = {
    ("zero_shot/seen", "macro_top1"): "zero-shot, seen species",
    ("zero_shot/unseen", "macro_top1"): "zero-shot, unseen species",
    ("few_shot/1", "macro_top1"): "1 shot",
    ("few_shot/5", "macro_top1"): "5 shots",
    ("few_shot/1/unseen", "macro_top1"): "1 shot, unseen species",
    ("few_shot/5/unseen", "macro_top1"): "5 shots, unseen species",
    ("hierarchy/seen", "spearman"): "hierarchy, seen species",
    ("hierarchy/unseen", "spearman"): "hierarchy, unseen species",
    ("hierarchy/seen/kingdom", "nearer"): "nearer in one kingdom, seen species",
    ("hierarchy/seen/order", "nearer"): "nearer in one order, seen species",
    ("hierarchy/seen/genus", "nearer"): "nearer in one genus, seen species",
}
"""What `compared` sets side by side: task and metric, and what they are called."""
QUESTIONS = {
    "objective": ("multi_positive", OBJECTIVES),
    "data": (MIXTURE, SHARES),
    "species or images": (HALF_IMAGES, (HALF_SPECIES,)),
    "image tower": (MIXTURE, tuple(TOWERS)),
    "start": (SCRATCH, tuple(STARTS)),
}
"""What `recipes` asks: of each choice the recipe that it is compared with, and the others."""


def over_seeds(values: np.ndarray) -> dict[str, float]:
    """Return ``value, ci_low, ci_high, n_seeds``: the mean of (n_seeds,) values and its interval, by Student's t.

    Examples
    --------
    >>> {key: round(value, 2) for key, value in over_seeds([1.0, 2.0, 3.0]).items()}
    {'value': 2.0, 'ci_low': -0.48, 'ci_high': 4.48, 'n_seeds': 3}
    """
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    n = len(values)
    if not n:
        return {"value": np.nan, "ci_low": np.nan, "ci_high": np.nan, "n_seeds": 0}
    reach = stats.t.ppf((1 + LEVEL) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else np.inf
    mean, reach = float(values.mean()), float(reach)
    return {"value": mean, "ci_low": mean - reach, "ci_high": mean + reach, "n_seeds": n}


def text_matrix(scores: pd.DataFrame, text_type: str) -> pd.DataFrame:
    """Set what a model was trained on beside what it is asked with.

    Parameters
    ----------
    scores : DataFrame
        Of `run_grid`.
    text_type : str
        The configured ``evaluate.text_type``.

    Returns
    -------
    DataFrame
        ``part, trained, tested, value, ci_low, ci_high, n_seeds, chance``: accuracies, means over species, of seen and
        of unseen species; intervals over seeds.
    """
    rows = [
        {"part": part, "trained": recipe, "tested": tested, **over_seeds(found["value"]), "chance": _chance(found)}
        for part in PARTS
        for (recipe, tested), found in _asked(scores, text_type, part).groupby(["recipe", "tested"], sort=False)
        if recipe in RECIPES
    ]
    columns = ["part", "trained", "tested", "value", "ci_low", "ci_high", "n_seeds", "chance"]
    return pd.DataFrame(rows, columns=columns)


def _chance(rows: pd.DataFrame) -> float:
    return float(rows["chance"].mean())


def _asked(scores: pd.DataFrame, text_type: str, part: str) -> pd.DataFrame:
    """Return the zero-shot scores of a part with the text type that each was asked with, ``tested``."""
    rows = scores[scores["task"].str.fullmatch(rf"zero_shot/{part}(/\w+)?") & (scores["metric"] == "macro_top1")]
    tested = rows["task"].map(lambda task: re.sub(r"^zero_shot/\w+/?", "", task) or text_type)
    rows = rows.assign(tested=tested)[tested.isin((*TEXT_TYPES, DESCRIPTION))].astype({"value": float, "chance": float})
    keys = ["seed", "recipe", "tested"]  # of several data sets, their mean: a seed is one observation
    return rows.groupby(keys, sort=False, as_index=False)[["value", "chance"]].mean()


def compared(scores: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Set recipes beside a baseline, seed by seed.

    Parameters
    ----------
    scores : DataFrame
        Of `run_grid`.
    baseline : str
        A recipe.

    Returns
    -------
    DataFrame
        ``recipe, measured``, then ``value, ci_low, ci_high, n_seeds, chance``, and ``difference`` from the baseline on
        the same seeds with ``difference_low, difference_high``; no row where a recipe was not asked.
    """
    rows = []
    for (task, metric), called in MEASURED.items():
        asked = scores[(scores["task"] == task) & (scores["metric"] == metric)]
        wide = asked.pivot_table(index="seed", columns="recipe", values="value", sort=False)
        for recipe in wide:
            found = {"recipe": recipe, "measured": called, **over_seeds(wide[recipe]), "chance": _chance(asked)}
            gap = over_seeds(wide[recipe] - wide[baseline]) if baseline in wide and recipe != baseline else {}
            names = {"value": "difference", "ci_low": "difference_low", "ci_high": "difference_high"}
            rows.append(found | {name: gap.get(key, np.nan) for key, name in names.items()})
    columns = ["recipe", "measured", "value", "ci_low", "ci_high", "n_seeds", "chance"]
    return pd.DataFrame(rows, columns=[*columns, "difference", "difference_low", "difference_high"])


def recipes(scores: pd.DataFrame) -> pd.DataFrame:
    """Set all other choices beside what they are compared with, each `compared` with its own baseline.

    Parameters
    ----------
    scores : DataFrame
        Of `run_grid`.

    Returns
    -------
    DataFrame
        ``question`` (a key of `QUESTIONS`) and ``baseline``, then the columns of `compared`; no row of a question that
        was not trained. What data give is asked of unseen species alone, which are the same for all.
    """
    tables = []
    for question, (baseline, others) in QUESTIONS.items():
        mine = scores[scores["recipe"].isin([baseline, *others])]
        mine = mine[mine["task"].str.contains("unseen")] if question == "data" else mine
        table = compared(mine if mine["recipe"].nunique() > 1 else mine.iloc[:0], baseline)
        tables.append(table.assign(question=question, baseline=baseline))
    found = pd.concat(tables, ignore_index=True)
    return found[["question", "baseline", *found.columns.drop(["question", "baseline"])]]


def claims(scores: pd.DataFrame, text_type: str) -> pd.DataFrame:
    """Test what is said of text types.

    Returns
    -------
    DataFrame
        ``claim, against, difference, ci_low, ci_high, n_seeds, verdict``, a row a comparison. "The mixture is never far
        from the best" for each tested text type of both parts: its accuracy minus that of the best other row (by its
        mean: a choice that favours the other), holds where the interval lies above ``-MARGIN``. "Taxonomic names carry
        unseen species": unseen species asked by ``taxon``, minus chance, and minus the same recipe with ranks dealt out
        over species; holds where the interval lies above 0. "Descriptions carry unseen species further than names": a
        training with them, asked by them, minus the same without, asked by names, both above their chance; likewise.
        "The first five by name are told apart better" by their descriptions (`confused`) than by what the same model
        says at once; likewise. ``verdict`` is holds, fails (the interval lies on the other side) or open.
    """
    rows = []
    for part in PARTS:
        asked = _asked(scores[scores["recipe"].isin(_OF_NAMES)], text_type, part)
        for tested, found in asked[asked["tested"] != DESCRIPTION].groupby("tested", sort=False):
            wide = found.pivot(index="seed", columns="recipe", values="value")
            others = wide.drop(columns=MIXTURE, errors="ignore")
            if MIXTURE in wide and others.shape[1]:
                best = others.mean().idxmax()
                said = f"the mixture is not far from the best, {part} species asked by {tested}"
                rows.append({"claim": said, "against": best, **_tested(wide[MIXTURE] - wide[best], -MARGIN)})
    asked = _asked(scores, text_type, "unseen")
    wide = asked[asked["tested"] == "taxon"].pivot(index="seed", columns="recipe", values="value")
    chance = asked[asked["tested"] == "taxon"].groupby("seed")["chance"].first()
    for recipe in [name for name in ("taxon", MIXTURE) if name in wide]:
        said = f"taxonomic names carry unseen species, trained on {recipe}"
        rows.append({"claim": said, "against": "chance", **_tested(wide[recipe] - chance, 0)})
        if recipe == MIXTURE and DEALT in wide:
            rows.append({"claim": said, "against": DEALT, **_tested(wide[recipe] - wide[DEALT], 0)})
    asked = asked.assign(above=asked["value"] - asked["chance"])  # not every candidate need be described
    by_looks, by_names = (
        asked[asked["tested"] == tested].pivot(index="seed", columns="recipe", values="above")
        for tested in (DESCRIPTION, text_type)
    )
    for reader in READERS if text_type != DESCRIPTION else ():
        if reader + LOOKS in by_looks and reader in by_names:
            said = f"descriptions carry unseen species further than names, {reader}"
            gap = by_looks[reader + LOOKS] - by_names[reader]
            rows.append({"claim": said, "against": f"asked by {text_type}", **_tested(gap, 0)})
    rows += [row for part in PARTS for row in _asked_again(scores, part, text_type)]
    return pd.DataFrame(rows)


def _asked_again(scores: pd.DataFrame, part: str, text_type: str) -> Iterator[dict]:
    """Yield what it gives to ask for looks, of the same models, where names leave a few classes in question."""
    task = f"zero_shot/{part}"
    for recipe in [reader + LOOKS for reader in READERS]:
        mine = scores[(scores["recipe"] == recipe) & (scores["metric"] == "macro_top1")]
        by = mine.pivot_table(index="seed", columns="task", values="value")
        for way in (WHOLE, APART):
            for against in (task, f"{task}/{DESCRIPTION}", f"{task}/{WHOLE}"):
                if {f"{task}/{way}", against} <= set(by) and against != f"{task}/{way}":
                    said = f"the first five by name, {way}, are told apart better, {part} species, {recipe}"
                    named = {task: f"asked by {text_type}"}.get(against, f"asked by {against.rpartition('/')[2]}")
                    gap = by[f"{task}/{way}"] - by[against]
                    yield {"claim": said, "against": named, **_tested(gap, 0)}


def _tested(differences: pd.Series, bound: float) -> dict:
    """Return the mean difference over seeds with its interval, and on which side of a bound that lies."""
    found = over_seeds(differences)
    verdict = "holds" if found["ci_low"] > bound else "fails" if found["ci_high"] < bound else "open"
    return {"difference": found.pop("value"), **found, "verdict": verdict}
