"""What tables of this package show, in sentences with their numbers: a table in, Markdown out."""

import pandas as pd

from .consistency import MEASURES, WAYS
from .traits import ALL
from .within import SHARE

MODEL = "trained"  # of whom it is said
_NAMES = {"taxon": "taxonomic", "sci": "scientific", "com": "common"}


def _percent(row: pd.Series) -> str:
    """Put a share and its interval in percent."""
    value, low, high = (100 * row[name] for name in ("value", "ci_low", "ci_high"))
    return f"{value:.0f} % [{low:.0f}, {high:.0f}]"


def _verdict(low: float, high: float, better: str, worse: str, none: str) -> str:
    """Choose the words for an interval of a difference."""
    return better if low > 0 else worse if high < 0 else none


def tell_consistency(scores: pd.DataFrame) -> str:
    """Say what `score_consistency` found of a model, a line a data set and part; why, where there is nothing."""
    lines = []
    for (dataset, part), group in scores.groupby(["dataset", "part"], sort=False):
        rows = group[group["model"] == MODEL].set_index(["way", "measure"])
        lines += [f"- *{dataset}, {part} species*: {why}." for why in group["why"] if why]
        if len(rows):
            lines.append(_consistent(rows, f"{dataset}, {part} species"))
    return "\n".join(lines) or "*The trained model names nothing.*"


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


def tell_modalities(scores: pd.DataFrame) -> str:
    """Say what `score_modalities` found of a model, a line a data set and part, beside what others found."""
    lines = [f"- *{row.dataset}, {row.part} species*: {row.why}." for row in scores[scores["model"] == ""].itertuples()]
    mine = scores[scores["model"] == MODEL]
    for (dataset, part), group in mine.groupby(["dataset", "part"], sort=False):
        others = scores[(scores["dataset"] == dataset) & (scores["part"] == part) & (scores["model"] == "random_init")]
        lines.append(f"- *{dataset}, {part} species*: {_image_and_text(group)}{_untrained(others)}")
    shown = mine[(mine["question"] == "texts more than images") & mine["value"].notna()]
    texts, images = int((shown["ci_low"] > 0).sum()), int((shown["ci_high"] < 0).sum())
    if len(shown):
        lines.append(
            "\nSchwalbe et al. (arXiv 2603.26798) find in 13 pretrained models, by trees of clusters, that texts "
            f"follow human taxonomies more closely than images do. Of the {len(shown)} comparisons above texts do in "
            f"{texts}, images in {images}; {len(shown) - texts - images} stay open."
        )
    return "\n".join(lines) or "*The trained model reads no names.*"


def _image_and_text(rows: pd.DataFrame) -> str:
    """Return the sentences of one data set and part."""
    of = {question: group for question, group in rows[rows["value"].notna()].groupby("question")}
    said, none = [], rows.iloc[:0]
    for row in of.get("images follow the tree", none).itertuples():
        said.append(f"images of {row.n:.0f} species follow the tree with rho {_number(row)}")
    for row in of.get("texts follow the tree", none).itertuples():
        said.append(f"their {_NAMES[row.text]} names with {_number(row)}")
    for row in of.get("texts more than images", none).itertuples():
        verdict = _verdict(
            row.ci_low, row.ci_high, "texts follow it more closely", "images do", "no difference is shown"
        )
        said.append(
            f"compared by {_NAMES[row.text]} names {verdict} ({row.value:+.2f} [{row.ci_low:.2f}, {row.ci_high:.2f}])"
        )
    for row in of.get("gap", none).itertuples():
        said.append(f"the modality gap is {_number(row)}, swapped at random {row.by_chance:.2f}")
    ranks = of.get("alignment", none)
    near = list(ranks.loc[ranks["p_holm"] < 0.05, "rank"])
    said.append(
        f"taxa are shown to lie nearer to their own text than to their sisters' at {', '.join(near) or 'no rank'}"
    )
    return "; ".join(said) + "."


def _untrained(rows: pd.DataFrame) -> str:
    """Say what taxonomic names give without any training: the words that relatives share."""
    rows = rows[(rows["question"] == "texts follow the tree") & (rows["text"] == "taxon") & rows["value"].notna()]
    return "".join(f" An untrained text tower: {_number(row)}, by shared words alone." for row in rows.itertuples())


def _number(row) -> str:
    """Put a value and its interval; one over the whole range says nothing."""
    said = (
        f"[{row.ci_low:.2f}, {row.ci_high:.2f}]" if row.ci_high - row.ci_low < 2 else "(too few clades for an interval)"
    )
    return f"{row.value:.2f} {said}"


def tell_probes(scores: pd.DataFrame) -> str:
    """Say what `score_probes` found of a model, a line a data set and part, and what could not be asked, and why."""
    lines = []
    for (dataset, part), group in scores.groupby(["dataset", "part"], sort=False):
        rows = group[group["model"].isin([MODEL, ""])]
        if len(rows):
            lines.append(f"- *{dataset}, {part} species* ({rows['n'].iloc[0]:.0f}): " + " ".join(_probed(rows)))
    return "\n".join(lines) or "*Nothing is known of the trained model.*"


def _probed(rows: pd.DataFrame) -> list[str]:
    """Return the sentences of one data set and part."""
    asked, whole = rows[rows["value"].notna()], rows["probe"] == "effective dimension"
    said = []
    for words, found in (("Shown", asked["p_holm"] < 0.05), ("Not shown", asked["p_holm"] >= 0.05)):
        those = asked[found & ~whole.loc[asked.index]]
        names = [f"{probe} ({', '.join(ranks)})" if any(ranks) else probe for probe, ranks in _ranks(those).items()]
        said += [f"{words} beyond chance: {', '.join(names)}."] if names else []
    for row in asked[whole.loc[asked.index]].itertuples():
        said.append(
            f"Species vary in about {row.value:.0f} directions [{row.ci_low:.0f}, {row.ci_high:.0f}], random groups of "
            f"the same images in {row.by_chance:.0f} (p {row.p_value:.2g})."
        )
    for why, left in rows[rows["why"] != ""].groupby("why", sort=False):
        ranks = ", ".join(dict.fromkeys(rank for rank in left["rank"] if rank)) or "all"
        said.append(f"Not asked: {ranks} ({why}).")
    return said


def _ranks(rows: pd.DataFrame) -> dict[str, list[str]]:
    """Return the ranks of each probe."""
    return {probe: list(of["rank"]) for probe, of in rows.groupby("probe", sort=False)}


def tell_within(scores: pd.DataFrame) -> str:
    """Say what `score_within` found of a model, a line a data set, part and state; why, where there is nothing."""
    mine, lines = scores[scores["model"] == MODEL], []
    for why, rows in scores[scores["model"] == ""].groupby("why", sort=False):
        sets = dict.fromkeys(f"{row.dataset}, {row.part} species" for row in rows.itertuples())
        lines.append(f"- *{'; '.join(sets)}*: {why}.")
    for (dataset, part, state), group in mine.groupby(["dataset", "part", "state"], sort=False):
        first, state = group.iloc[0], state.replace("_", " ")
        said = [
            f"- *{dataset}, {part} species* ({first['n']:.0f} species, {first['n_observations']:,.0f} observations)"
        ]
        for row in group[group["value"].notna()].itertuples():
            if row.question == SHARE:
                value, low, high = (100 * number for number in (row.value, row.ci_low, row.ci_high))
                ends = f"[{low:.1f}, {high:.1f}]" if high - low < 200 else "(too few species for an interval)"
                said.append(f"{state} has {value:.1f} % of the variance within species {ends}, {_p(row.p_value)}")
                continue
            verdict = "less" if row.value < row.by_chance else "more"
            verdict = f"{verdict} than all else within species" if row.p_value < 0.05 else "no difference is shown"
            said.append(
                f"of what it changes {row.value:.2f} {_ends(row)} lies where species differ, of all else within "
                f"species {row.by_chance:.2f} ({verdict}, {_p(row.p_value)})"
            )
        said += [why for why in group["why"] if why]
        lines.append(f"{said[0]}: {'; '.join(said[1:])}.")
    return "\n".join(lines) or "*Nothing is known of the trained model.*"


def tell_traits(scores: pd.DataFrame) -> str:
    """Say what `score_traits` found of a model, a line a data set and part; why, where there is nothing."""
    mine, lines = scores[scores["model"] == MODEL], []
    for (dataset, part), group in mine.groupby(["dataset", "part"], sort=False):
        whole, each = (group[(group["trait"] == ALL) == is_all] for is_all in (True, False))
        asked = each[each["value"].notna()].sort_values("value", ascending=False)
        said = []
        for row in whole[whole["value"].notna()].itertuples():
            value, low, high, chance = (100 * of for of in (row.value, row.ci_low, row.ci_high, row.by_chance))
            said.append(
                f"of what relatives leave open of {len(asked)} traits the embedding tells {value:.0f} % "
                f"[{low:.0f}, {high:.0f}] (by chance {chance:.0f}), {_p(row.p_value)} ({row.n:.0f} species, "
                f"{row.n_clades:.0f} clades; by relatives alone {100 * row.by_relatives:.0f} % of the traits)"
            )
        found = asked[asked["p_family"] < 0.05]
        names = [f"{row.trait} ({100 * row.value:.0f} %)" for row in found.head(8).itertuples()]
        more = f" and {len(found) - 8} more" if len(found) > 8 else ""
        said += [f"shown by itself: {', '.join(names) or 'no trait'}{more}"] if len(asked) else []
        said += [f"not asked: {len(of)} ({why})" for why, of in each[each["value"].isna()].groupby("why", sort=False)]
        lines.append(f"- *{dataset}, {part} species*: {'; '.join(said)}.")
    return "\n".join(lines) or f"*{'; '.join(scores['why'].unique()) or 'Nothing is known of the trained model'}.*"


def tell_disparity(scores: pd.DataFrame) -> str:
    """Say which clades `score_disparity` found more or less varied, a line a data set and part; or why none."""
    lines = [f"- *{row.dataset}, {row.part} species*: {row.why}." for row in scores[scores["why"] != ""].itertuples()]
    mine = scores[(scores["model"] == MODEL) & scores["value"].notna()]
    for (dataset, part, rank), group in mine.groupby(["dataset", "part", "rank"], sort=False):
        said = [f"{len(group)} clades ({rank}) of {group['n'].sum():.0f} species are compared"]
        for words, found in (("more", group["value"] > 1), ("less", group["value"] < 1)):
            those = group[found & (group["p_holm"] < 0.05)]
            names = [f"{r.clade} ({r.value:.2f} [{r.ci_low:.2f}, {r.ci_high:.2f}])" for r in those.itertuples()]
            said.append(f"{words} varied than the others: {', '.join(names) or 'none is shown'}")
        lines.append(f"- *{dataset}, {part} species*: {'; '.join(said)}.")
    return "\n".join(lines) or "*Nothing is known of the trained model.*"


def tell_convergence(scores: pd.DataFrame) -> str:
    """Say which species of different clades `score_convergence` found alike, a line a data set and part."""
    lines = [f"- *{row.dataset}, {row.part} species*: {row.why}." for row in scores[scores["why"] != ""].itertuples()]
    mine = scores[(scores["model"] == MODEL) & scores["value"].notna()]
    for (dataset, part, rank), group in mine.groupby(["dataset", "part", "rank"], sort=False):
        first, shown = group.iloc[0], group[group["p_family"] < 0.05]
        pairs = [f"{r.species} and {r.like} ({r.value:.2f}, {_p(r.p_family)})" for r in shown.itertuples()]
        none = f"none is shown (the nearest, {first['species']} and {first['like']}: {first['value']:.2f}, "
        none += f"by chance {first['by_chance']:.2f}, {_p(first['p_family'])})"
        what = f"more alike than kinship tells, of {first['n']:,.0f} pairs of different clades ({rank})"
        lines.append(f"- *{dataset}, {part} species*: {what}: {', '.join(pairs) or none}.")
    return "\n".join(lines) or "*Nothing is known of the trained model.*"


def _p(value: float) -> str:
    """Put a p-value; of a small one the size is not known."""
    return f"p {value:.2g}" if value >= 0.001 else "p < 0.001"


def _ends(row) -> str:
    """Put an interval; one over the whole range says nothing."""
    return f"[{row.ci_low:.2f}, {row.ci_high:.2f}]" if row.ci_high - row.ci_low < 2 else "(too few species for one)"


def tell_power(scores: pd.DataFrame, signal: float = 0.2) -> str:
    """Say how often kinship of a strength would be found, of `score_power`, a line a data set and part."""
    if scores.empty:
        return "*Every set is too small for a probe.*"
    lines, rows = [], scores[scores["signal"] == signal]
    for (dataset, part), group in rows.groupby(["dataset", "part"], sort=False):
        found = ", ".join(f"{row.test} in {_percent(pd.Series(row._asdict()))}" for row in group.itertuples())
        lines.append(
            f"- *{dataset}, {part} species* ({group['n_species'].iloc[0]} species): kinship that makes "
            f"{100 * signal:.0f} % of the variance between species would be found as {found} of worlds."
        )
    return "\n".join(lines)
