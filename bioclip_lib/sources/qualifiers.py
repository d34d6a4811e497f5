"""Doubt that a column of its own says of a name: "cf." beside "Parus major".

Takes names and the qualifiers of their rows; returns names that say it themselves, as labels do, for whoever resolves
them.
"""

import re

import pandas as pd

MARKED = (
    r"(?i)(?:cf|aff|nr|sp|spp|spec|ssp|subsp|indet|x|×|\?)(?:[. ]|$)|.*/"
    r"|.* (?:x|×|or|agg\.?|group|complex|s\.|sensu|var\.|ssp\.|subsp\.|f\.)(?:\s|$)"
)
"""Epithets that say more than one word and still lack their genus."""
_DOUBT = re.compile(r"(?i)(?:cf|aff|nr|near|conf|prob|poss|\?|uncertain|doubtful|sp)(?:[. ]|$|ably|ibly|ine)")
_AGGREGATE = re.compile(
    r"(?i)agg(?:\.|$|reg)|(?:species )?(?:group|complex)$|s\. ?l\.|s\. ?str\.|sensu (?:lato|stricto)"
)


def qualified(names: pd.Series, qualifiers: pd.Series) -> pd.Series:
    """Write qualifiers into names: "cf. major", "Parus cf. major", "Parus major agg."; other words say nothing."""

    def with_word(name: str, qualifier: str) -> str:
        genus, _, epithet = name.partition(" ") if name[:1].isupper() else ("", "", name)
        if name and _AGGREGATE.match(qualifier) and qualifier.lower() not in name.lower():
            return f"{name} {qualifier}"
        doubt = _DOUBT.match(qualifier)
        if not name or not doubt or doubt[0].strip(". ").lower() in re.split(r"[ .]+", name.lower()):
            return name
        return f"{genus} {'aff.' if doubt[0].lower().startswith('aff') else 'cf.'} {epithet or 'sp.'}".strip()

    said = (qualifiers != "").to_numpy()
    if not said.any():
        return names
    written = names.to_numpy(object).copy()
    written[said] = [*map(with_word, names[said], qualifiers[said])]
    return pd.Series(written, index=names.index, dtype=object)
