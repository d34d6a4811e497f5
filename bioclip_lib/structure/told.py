"""What a table of this package shows of a model, in sentences with its numbers: a table in, Markdown out."""

import pandas as pd

_ABOUT = ("state", "way", "measure", "question", "text", "probe", "trait", "rank", "clade", "species", "like")
_P_VALUES = ("p_family", "p_holm", "p_value")  # of these the first that a row has: corrected ones before
_MOST = 8  # rows that are named one by one


def tell(scores: pd.DataFrame, model: str = "trained") -> str:
    """Say what is shown of a model, what is not, and what could not be asked, a line a data set and part.

    Parameters
    ----------
    scores : DataFrame
        Of `score_probes`, `score_consistency`, `score_modalities`, `score_within`, `score_traits`, `score_disparity` or
        `score_convergence`. Shown is what has a p-value below 0.05: corrected for the number of questions, where it is.
    model : str

    Returns
    -------
    str
        Markdown.
    """
    if scores.empty:
        return "*Nothing can be asked of these images.*"
    rows = scores[scores["model"].astype(object).fillna("").isin([model, ""])]
    about = rows[[column for column in rows if column in _ABOUT]].astype(object).fillna("")
    p_values = rows[[column for column in _P_VALUES if column in rows]].bfill(axis=1).iloc[:, 0]
    rows = rows.assign(
        about=[_named(*filter(None, of)) for of in about.to_numpy()],
        p=p_values.astype(float),
        why=rows["why"].astype(object).fillna(""),
    )
    lines = []
    for (dataset, part), group in rows.groupby(["dataset", "part"], sort=False):
        asked, told = group[group["value"].notna()], []
        shown, below = asked["p"] < 0.05, asked["value"] < asked["by_chance"]
        each = {"Shown above chance": shown & ~below, "Shown below chance": shown & below, "Not shown": ~shown}
        for words, found in each.items():
            told += [f"{words}: {_some([_numbers(row) for row in asked[found].itertuples()])}"] if found.any() else []
        for why, left in group[group["value"].isna()].groupby("why", sort=False):
            told.append(f"Not asked: {_some([name for name in left['about'] if name] or ['anything'])} ({why})")
        lines.append(f"- *{dataset}, {part} species*: " + ". ".join(told) + ".")
    whole = rows.loc[rows["dataset"].isna(), "why"]
    return "\n".join([*lines, *(f"*{why}.*" for why in whole)]) or f"*Nothing is known of the model {model}.*"


def _named(first: str = "", *rest: str) -> str:
    """Name what a row is about: ``purity (genus)``."""
    return (first + (f" ({', '.join(rest)})" if rest else "")).replace("_", " ")


def _some(said: list[str]) -> str:
    """Name some of many."""
    return ", ".join(said[:_MOST]) + (f" and {len(said) - _MOST} more" if len(said) > _MOST else "")


def _numbers(row) -> str:
    """Put value, interval, chance and p of a row; an interval over the whole range says nothing."""
    ends = f" [{row.ci_low:.2f}, {row.ci_high:.2f}]" if hasattr(row, "ci_low") else ""
    ends = " (too few for an interval)" if ends in (" [-1.00, 1.00]", " [-2.00, 2.00]", " [0.00, 1.00]") else ends
    p_value = f"p {row.p:.2g}" if row.p >= 0.001 else "p < 0.001"
    return f"{row.about} {row.value:.2f}{ends} (chance {row.by_chance:.2f}, {p_value})"
