"""How well wrong labels are found: some are moved to a sister species, so that the truth is known.

Takes features, labels and ranks; returns shares with intervals and chance. Photographs that came with a wrong label
count as right ones here, so that the shares are a little too low.
"""

import numpy as np
import pandas as pd

from .. import RANKS
from ..catalog.splits import class_rows
from ..evaluation.tasks import with_difference, with_interval
from ..run import Run
from ..taxonomy.ranks import tree_distance
from .labels import centred, judged_images, left_out_scores, suspicious_labels, units_of

SHARE, N_DRAWS, MAX_IMAGES = 0.05, 3, 5_000
_COLUMNS = ["question", "value", "ci_low", "ci_high", "chance", "n"]


def moved_labels(labels: np.ndarray, classes: pd.DataFrame, share: float, seed: int) -> np.ndarray:
    """Return labels (n,) of which a share is moved to a sister: of the classes nearest in the tree, one at random."""
    rng, moved = np.random.default_rng(seed), labels.copy()
    distance = tree_distance(classes[list(RANKS)]).astype(float)
    np.fill_diagonal(distance, np.inf)
    codes = classes.index.get_indexer(labels)
    for row in rng.permutation(len(labels))[: round(share * len(labels))]:
        nearest = distance[codes[row]]
        moved[row] = classes.index[rng.choice(np.flatnonzero(nearest == nearest.min()))]
    return moved


def score_planted(run: Run, table: pd.DataFrame) -> pd.DataFrame:
    """Move 5 % of a run's labels to a sister species, look for them, correct them, and tell what that is worth.

    Three draws are pooled; of more than 5,000 images it is a seeded part.

    Returns
    -------
    DataFrame
        ``question, value, ci_low, ci_high, chance, n``: precision among as many as were moved; precision and recall of
        the clear ones; recall of all that are listed; how often the suggestion is the true species; then the accuracy
        of a ridge probe, which the image's own unit does not teach, by the true labels, by the moved ones, and with the
        clear suggestions accepted unseen; last what that regains, the difference of the two. Intervals are for another
        set of species. No row where there are fewer than two classes.
    """
    rows, features = judged_images(run, table)
    if len(rows) > MAX_IMAGES:
        kept = np.sort(np.random.default_rng(0).choice(len(rows), MAX_IMAGES, replace=False))
        rows, features = rows.iloc[kept], features[kept]
    labels, groups = rows["class_key"].to_numpy(str), rows["group"].to_numpy(str)
    classes = class_rows(table).loc[np.unique(labels)]
    if len(classes) < 2:
        return pd.DataFrame(columns=_COLUMNS)
    draws = [_draw(features, labels, groups, moved_labels(labels, classes, SHARE, seed)) for seed in range(N_DRAWS)]
    found = []
    for question in draws[0]:
        values, of, chance = (np.concatenate([draw[question][i] for draw in draws]) for i in range(3))
        if len(values):
            interval = (with_difference if question.startswith("regained") else with_interval)(values, of)
            found.append({"question": question, **interval, "chance": chance.mean(), "n": len(values)})
    return pd.DataFrame(found, columns=_COLUMNS)


def _draw(features: np.ndarray, labels: np.ndarray, groups: np.ndarray, moved: np.ndarray) -> dict[str, tuple]:
    """Return of each question the answers, the species that each is about, and what chance gives."""
    wrong, found = moved != labels, suspicious_labels(features, moved, groups)
    row, clear = found["row"].to_numpy(int), found["clear"].to_numpy(bool)
    listed, is_clear = np.zeros(len(labels), bool), np.zeros(len(labels), bool)
    listed[row], is_clear[row[clear]] = True, True
    suggested, corrected = moved.copy(), moved.copy()
    suggested[row] = found["suggested"]
    corrected[row[clear]] = found["suggested"][clear]
    first, n_classes = row[: wrong.sum()], len(np.unique(labels))
    clear_rows, planted, every = row[clear], np.flatnonzero(wrong), np.arange(len(labels))
    looked_at = np.where(np.isin(np.arange(len(labels)), row[: wrong.sum()]), labels, moved)
    taught = {"true labels": labels, "labels moved": moved, "clear ones taken over": corrected}
    taught["as many as are wrong looked at"] = looked_at
    named = {name: _named_right(features, groups, by, labels) for name, by in taught.items()}
    asked = {
        "of the first as many as are wrong: wrong": (first, wrong, wrong.mean()),
        "of the clear ones: wrong": (clear_rows, wrong, wrong.mean()),
        "of the wrong ones: clear": (planted, is_clear, is_clear.mean()),
        "of the wrong ones: listed": (planted, listed, listed.mean()),
        "of the wrong ones: suggested as it was": (planted, suggested == labels, 1 / (n_classes - 1)),
        **{f"named right, {name}": (every, hits, 1 / n_classes) for name, hits in named.items()},
        **{f"regained, {name}": (every, named[name] - named["labels moved"], 0.0) for name in list(taught)[2:]},
    }
    return {
        question: (answers[rows].astype(float), labels[rows], np.full(len(rows), chance))
        for question, (rows, answers, chance) in asked.items()
    }


def _named_right(features: np.ndarray, groups: np.ndarray, taught: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Tell which images a ridge probe names right by the labels that the other units are given, (n,) of 0 and 1."""
    names, codes = np.unique(taught, return_inverse=True)
    values, units = centred(features), units_of(groups)
    return (names[left_out_scores(values, codes, units).argmax(axis=1)] == labels).astype(float)
