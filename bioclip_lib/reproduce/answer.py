"""What a run shows, read from its tables: verdicts in words, confused species, names and files that were left aside.

Takes tables; returns tables whose sentences are computed: above chance, or not shown to be. Asks no model.
"""

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from ..catalog import usable
from ..evaluation import compare_few_shot

ALPHA = 0.05
MIN_SPECIES = 5  # fewer give no verdict
_VERDICT = ["dataset", "question", "found", "chance", "verdict", "shown", "n"]
_QUESTIONS = {
    "zero_shot/seen": "New photographs of species it was trained on",
    "zero_shot/unseen": "Species it never saw, by their names alone",
    "zero_shot": "A published set, by names alone",
}


def verdicts(results: pd.DataFrame, queries: pd.DataFrame) -> pd.DataFrame:
    """Say what the run's own model can do, a row a question: ``found``, ``chance``, ``verdict`` and ``shown`` (a bool).

    `results` are the rows of metrics.csv; `queries` the answers to few-shot questions, for what training adds.
    """
    own = results[results["model"] == "trained"]
    rows = []
    for dataset, group in own.groupby("dataset"):
        accuracy = group[group["metric"] == "macro_top1"].set_index("task")
        if accuracy.empty:  # a control, of which no name is asked
            continue
        few_shot = sorted((task for task in accuracy.index if _is_main_few_shot(task)), key=lambda t: int(t[9:]))
        for task in [*(task for task in _QUESTIONS if task in accuracy.index), *few_shot]:
            row = accuracy.loc[task]
            rows.append((dataset, _question(task, row, queries), *_beside_chance(row)))
        rows += [(dataset, *row) for row in _tree_rows(group[group["task"].str.startswith("hierarchy/")])]
    rows += _training_rows(queries)
    return pd.DataFrame(rows, columns=_VERDICT)


def _is_main_few_shot(task: str) -> bool:
    return task.startswith("few_shot/") and task[9:].isdigit()


def _question(task: str, row: pd.Series, queries: pd.DataFrame) -> str:
    """Put a task in words, with the species that had photographs enough to be asked and what training saw of them."""
    if task in _QUESTIONS:
        return _QUESTIONS[task]
    n_shots = task.rpartition("/")[2]
    shots = "One labelled photograph" if n_shots == "1" else f"{n_shots} labelled photographs"
    asked = queries[queries["part"] == "unseen"]
    n, n_unseen = _n_species(row), asked.loc[asked["dataset"] == row["dataset"], "class_key"].nunique()
    of = {n: ", none of which it was trained on", 0: ""}.get(n_unseen, f", {n_unseen} of them never seen in training")
    return f"{shots} a species ({n} species{of})"


def _n_species(row: pd.Series) -> int:
    """Return among how many species was asked: guessing is right once in so many."""
    return round(1 / row["chance"])


def _side(low: str, high: str, level: str, n_species: int) -> str:
    """Say on which side of a level an interval lies, as it is printed: no verdict contradicts what stands beside it."""
    if n_species < MIN_SPECIES:
        return "few"
    return "above" if float(low) > float(level) else "below" if float(high) < float(level) else ""


def _beside_chance(row: pd.Series) -> tuple:
    """Say whether an accuracy is above chance."""
    chance, bounds = 100 * row["chance"], [100 * row[name] for name in ("ci_low", "ci_high")]
    digits = int(any(abs(bound - chance) < 1 for bound in bounds))
    value, low, high = (f"{x:.{digits}f}" for x in (100 * row["value"], *bounds))
    found, chance = f"{value} % ({low} to {high}) named right", f"{chance:.1f}"
    side = _side(low, high, chance, _n_species(row))
    verdict = {
        "few": f"too few species for a verdict ({_n_species(row)})",
        "above": "above chance",
        "below": "below chance: worse than guessing",
    }.get(side, "not shown to be above chance")
    return found, f"{chance} %", verdict, side == "above", f"{int(row['n']):,} photographs"


def _tree_rows(rows: pd.DataFrame) -> list[tuple]:
    """Say how deep the embedding is shown to follow the tree of life: at all, inside kingdoms, inside orders."""
    said = []
    for task, group in rows.groupby("task"):
        values = group.set_index("metric")
        if "spearman" not in values.index or "p_value" not in values.index:
            continue
        rho = values.loc["spearman"]
        low, high = (f"{rho[name]:.2f}" for name in ("ci_low", "ci_high"))
        whole = float(low) <= -1 and float(high) >= 1
        found = f"rank correlation {rho['value']:.2f} "
        found += "(too few groups for an interval)" if whole else f"({low} to {high})"
        tests = [("p_value_in_orders", "inside orders too"), ("p_value_in_kingdoms", "inside kingdoms, not orders")]
        tests.append(("p_value", "no deeper than kingdoms"))
        p_values = {name: float(values.loc[name, "value"]) for name, _ in tests if name in values.index}
        depth = next((words for name, words in tests if p_values.get(name, 1) <= ALPHA), "")
        side, p = _side(low, high, "0", int(rho["n"])), f"p {p_values['p_value']:.2g}"
        shown = bool(depth) and side == "above"
        verdict = f"shown, {depth} ({p} for any structure)" if shown else "not shown"
        if depth and not shown:  # an interval for other species reaches further than a test of these
            verdict = f"not shown beyond these species (among them {p})"
        verdict = f"too few species for a verdict ({rho['n']:.0f})" if side == "few" else verdict
        question = f"Relatives lie close to each other ({task.partition('/')[2]} species)"
        said.append((question, found, "0", verdict, shown, f"{int(rho['n'])} species"))
    return said


def _training_rows(queries: pd.DataFrame) -> list[tuple]:
    """Say what training adds to the tower it started from, with the most shots: what SimpleShot and ridge both show."""
    asked = queries[(queries["part"] == "all") & queries["model"].isin(["trained", "frozen"])]
    asked = asked[asked["method"].isin(["simple_shot", "ridge"]) & (asked["k"] == asked["k"].max())]
    if asked["model"].nunique() < 2:
        return []
    rows = []
    for dataset, group in compare_few_shot(asked, "model", "trained").groupby("dataset"):
        row, side = _deciding(group)
        value, low, high = _points(row)
        p = f"p {row['p_value']:.2g}"
        verdict = {
            "few": f"too few species for a verdict ({row['n_classes']})",
            "above": f"shown ({p})",
            "below": f"it harms ({p})",
            "one harms": f"not shown: it harms by this classifier alone ({p})",
        }.get(side, f"not shown ({p})")
        found = f"{value} points ({low} to {high}) beside the pretrained tower, {row['k']} shots"
        found += " by ridge probe" if row["method"] == "ridge" else " by SimpleShot"
        rows.append((dataset, "Training helps", found, "0", verdict, side == "above", f"{row['n']:,} photographs"))
    return rows


def _points(row: pd.Series) -> list[str]:
    """Print a difference and its interval."""
    return [f"{100 * row[name]:+.1f}" for name in ("value", "ci_low", "ci_high")]


def _deciding(compared: pd.DataFrame) -> tuple[pd.Series, str]:
    """Return the comparison that decides and what both show: that of the lower end, of the upper one if both harm."""
    sides = [_side(*_points(row)[1:], "0", row["n_classes"]) for _, row in compared.iterrows()]
    if set(sides) == {"below"}:
        return compared.loc[compared["ci_high"].idxmax()], "below"
    harmful = compared[[side == "below" for side in sides]]
    row = (harmful if len(harmful) else compared).sort_values("ci_low").iloc[0]
    return row, "one harms" if len(harmful) else next((side for side in sides if side != "above"), "above")


def headline(table: pd.DataFrame) -> list[str]:
    """Return the verdicts as sentences, as the page and the terminal begin with them."""
    one = table["dataset"].nunique() < 2
    rows = table.to_dict("records")
    return [("" if one else f"{r['dataset']}: ") + f"{r['question']}: {r['found']}; {r['verdict']}." for r in rows]


def confused_pairs(predictions: pd.DataFrame) -> pd.DataFrame:
    """Count the pairs of species taken for each other: ``part, one, other, n, n_one, n_other`` (their images).

    The most frequent first, species that were trained on before those that were not.
    """
    wrong = predictions[predictions["class_key"] != predictions["predicted"]]
    pairs = pd.DataFrame(np.sort(wrong[["class_key", "predicted"]].to_numpy(str), axis=1), columns=["one", "other"])
    counts = pairs.assign(part=wrong["part"].to_numpy()).value_counts(sort=False).rename("n").reset_index()
    n_images = predictions["class_key"].value_counts()
    for side in ("one", "other"):
        counts[f"n_{side}"] = counts[side].map(n_images).fillna(0).astype(int)
    order = ["part", "n", "one", "other"]
    return counts.sort_values(order, ascending=[True, False, True, True], ignore_index=True)


def species_scores(predictions: pd.DataFrame) -> pd.DataFrame:
    """Score each species: ``part, class_key, right, n, value, ci_low, ci_high`` (Wilson), the best first."""
    right = predictions["class_key"] == predictions["predicted"]
    counts = right.groupby([predictions["part"], predictions["class_key"]]).agg(right="sum", n="size").reset_index()
    counts["value"] = counts["right"] / counts["n"]
    found = [binomtest(*row).proportion_ci(method="wilson") for row in counts[["right", "n"]].to_numpy().tolist()]
    counts = counts.assign(ci_low=[interval.low for interval in found], ci_high=[interval.high for interval in found])
    return counts.sort_values(["value", "ci_low", "class_key"], ascending=[False, False, True], ignore_index=True)


def dropped_files(catalog: pd.DataFrame) -> pd.DataFrame:
    """List the photographs that were left out, file by file: ``source, file, name, reason``."""
    rows = catalog.loc[~usable(catalog), ["source", "source_id", "verbatim_name", "excluded"]]
    file_of = catalog.set_index("image_id")["source_id"]
    reason = rows["excluded"].str.replace(r"\w{16}$", lambda found: file_of.get(found[0], found[0]), regex=True)
    named = rows.assign(excluded=reason)
    return named.set_axis(["source", "file", "name", "reason"], axis=1).sort_values(
        ["reason", "file"], ignore_index=True
    )


def few_images(catalog: pd.DataFrame, least: int = 10) -> pd.DataFrame:
    """List the species with fewer than `least` photographs to train on: ``class_key, n``, the fewest first."""
    trained = catalog[usable(catalog) & (catalog["split"] == "train")]
    counts = trained["class_key"].value_counts().rename("n").rename_axis("class_key").reset_index()
    return counts[counts["n"] < least].sort_values(["n", "class_key"], ignore_index=True)
