"""What tables of this package show, in sentences with their numbers: a table in, Markdown out."""

import pandas as pd

from .consistency import MEASURES, WAYS


def _percent(row: pd.Series) -> str:
    """Put a share and its interval in percent."""
    value, low, high = (100 * row[name] for name in ("value", "ci_low", "ci_high"))
    return f"{value:.0f} % [{low:.0f}, {high:.0f}]"


def _verdict(low: float, high: float, better: str, worse: str, none: str) -> str:
    """Choose the words for an interval of a difference."""
    return better if low > 0 else worse if high < 0 else none


def tell_consistency(scores: pd.DataFrame, model: str = "trained") -> str:
    """Say what `score_consistency` found of a model, a line a data set and part; why, where there is nothing."""
    lines = []
    for (dataset, part), group in scores.groupby(["dataset", "part"], sort=False):
        rows = group[group["model"] == model].set_index(["way", "measure"])
        lines += [f"- *{dataset}, {part} species*: {why}." for why in group["why"] if why]
        if len(rows):
            lines.append(_consistent(rows, f"{dataset}, {part} species"))
    return "\n".join(lines) or f"*{model} names nothing.*"


def _consistent(rows: pd.DataFrame, title: str) -> str:
    """Return the line of a data set and part."""
    named, alone = rows.loc[(WAYS[3], MEASURES[0])], rows.loc[(WAYS[0], "inconsistent")]
    said = [
        f"- *{title}* ({named['n']:,} images of {named['n_species']} species): every rank is right in "
        f"{_percent(named)} by the species that is named (chance {100 * named['by_chance']:.0f})"
    ]
    for way in WAYS[:3]:
        row = rows.loc[(way, MEASURES[0])]
        gain, low, high = (100 * row[name] for name in ("gain", "gain_low", "gain_high"))
        verdict = _verdict(low, high, "better", "worse", "no difference shown")
        said.append(f"{way} in {100 * row['value']:.0f} % ({verdict}: {gain:+.0f} points [{low:.0f}, {high:.0f}])")
    share, chance = _percent(alone), 100 * alone["by_chance"]
    return (
        "; ".join(said) + f". Asked rank by rank, {share} get answers that contradict each other (chance {chance:.0f})."
    )
