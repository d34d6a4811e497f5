"""Licences in the words of many sources, and the images that come under those asked for.

Takes what a source says of an image's licence; returns a short key, whatever the version. Refuses to accept a licence
that it does not know.
"""

import re
from collections.abc import Collection

import pandas as pd

from ..errors import InputError
from .splits import usable

NOT_STATED = "not-stated"
OTHER = "other"  # said, but none of the keys
KEYS = (
    *("cc0", "public-domain", "no-known-copyright"),
    *("cc-by", "cc-by-sa", "cc-by-nd", "cc-by-nc", "cc-by-nc-sa", "cc-by-nc-nd"),
    *("all-rights-reserved", OTHER, NOT_STATED),
)
_WORDS = (  # in this order; what stands on the left becomes one word
    (r"non ?commercial", "nc"),
    (r"share ?alike", "sa"),
    (r"no ?deriv(ative|s|ative works|atives)?( works)?", "nd"),
    (r"attribution", "by"),
    (r"creative ?commons( org)?( licenses)?", "cc"),
    (r"(cc )?public ?domain dedication|(cc )?public ?domain zero|cc zero|cc 0", "cc0"),
    (r"(cc )?public ?domain( mark)?|cc pd(m)?", "pdm"),
)
_NOTHING = {"", "none", "na", "n a", "nan", "null", "unknown", "unspecified", "not stated", "not provided", "not given"}
_PHRASES = (
    (r"\bno known (copyright|restrictions)\b|\bnkc\b|flickr com commons usage", "no-known-copyright"),
    (r"\ball rights reserved\b|rightsstatements org (vocab|page) inc\b|^c$|^copyright$", "all-rights-reserved"),
)
_ALONE = re.compile(
    r"^((?:(?:by|nc|sa|nd)\b ?)+)(?:(?:licen[cs]e|international|unported|generic)\b ?|\d+(?: [a-z]{2}$)? ?)*$"
)
"""Terms without "cc": "by" is a word of English too ("by permission only"), so nothing but a version may follow."""
_REFUSAL = re.compile(
    r"\b(not?|permissions?|unless|except|only|without|contact|requests?|restricted|forbidden|prohibited|private|pending|similar)\b"
)
"""What takes back, or limits, what a licence beside it grants."""


def license_key(text: str) -> str:
    """Return the key of `KEYS` for a licence as iNaturalist, GBIF, EOL, BIOSCAN and people write it.

    Versions and countries are left out. What names two licences, or one that is not there, is ``other``; '' and its
    like are ``not-stated``.
    """
    words = " ".join(re.findall(r"[^\W_]+", text.lower()))
    if words in _NOTHING:
        return NOT_STATED
    for pattern, word in _WORDS:
        words = re.sub(rf"\b({pattern})\b", word, words)
    found = {key for pattern, key in _PHRASES if re.search(pattern, words)}
    said = re.sub("|".join(pattern for pattern, _ in _PHRASES), "", words)
    found |= {"cc0"} if re.search(r"\bcc0\b", words) else set()
    found |= {"public-domain"} if re.search(r"\bpdm\b", words) else set()
    terms = re.findall(r"\bcc((?: (?:by|nc|sa|nd)\b)+)(?! (?:nc|sa|nd))", words)
    for term in terms + _ALONE.findall(words):
        found.add("-".join(["cc", *sorted(set(term.split()), key=["by", "nc", "sa", "nd"].index)]))
    if found == {"cc0"}:
        said = said.replace("no rights reserved", "")  # its own words
    if len(found) != 1 or _REFUSAL.search(said):
        return OTHER
    (key,) = found
    return key if key in KEYS else OTHER


def exclude_licenses(catalog: pd.DataFrame, accepted: Collection[str]) -> pd.DataFrame:
    """Return a copy without the images whose licence is not among those accepted, in any words; none accepts all."""
    if not accepted:
        return catalog
    accepted_keys = check_licenses(accepted)
    key = keys_of(catalog["license"])
    out = usable(catalog) & ~key.isin(accepted_keys)
    return catalog.assign(excluded=catalog["excluded"].mask(out, "licence " + key + " not among those asked for"))


def check_licenses(accepted: Collection[str]) -> list[str]:
    """Return the keys of the licences that a user accepts; raise `InputError` where one is not known."""
    keys = {name: license_key(name) for name in accepted}
    unknown = [name for name, key in keys.items() if key == OTHER and name != OTHER]
    if unknown:
        raise InputError(f"data.licenses: {', '.join(map(repr, unknown))} is not known; take of {', '.join(KEYS)}")
    return list(keys.values())


def keys_of(licenses: pd.Series) -> pd.Series:
    """Return the key of each licence of a column; each wording is read once."""
    return licenses.map({text: license_key(text) for text in licenses.unique()}).astype(object)
