"""From a taxon to the text that a model reads.

Takes a row with the seven ranks and the names; returns captions for training and class strings for evaluation, in the
forms of the original project. Refuses an unknown text type. A class that is not a species (a morphotype, a genus) has
its own cleaned label where a species has its common name, so that two morphotypes of one order keep apart.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from .. import RANKS
from ..catalog.splits import class_rows
from ..config import BARE_NAMES, CAPTIONS, DESCRIPTION
from ..errors import InputError
from ..taxonomy.names import clean_label
from ..taxonomy.ranks import tree_distance

TEMPLATES_ONE = ("a photo of {}.",)
SHARD_TEXTS = {text_type: f"{text_type}.txt" for text_type in (*CAPTIONS, *BARE_NAMES)}
"""Text type -> suffix of its member in a shard: captions, and bare names."""
CUT_AFTER = ("order", "family", "genus")
DEFAULT_TEXT = "taxon_com"
"""The caption that stands in the plain ``.txt`` for stock trainers."""
_BARE = dict(zip(BARE_NAMES, ("sci", "taxon", "com"), strict=True))
_UNSURE = dict.fromkeys(("genus", "species", "scientific_name"), "")


def caption(row: Mapping[str, str], text_type: str, unverified_genus: bool = False) -> str:
    """Return the training caption of a taxon, ``a photo of {X}.``, or a bare name; never empty where there is any name.

    Parameters
    ----------
    row : mapping
        A catalog row: the seven ranks, ``scientific_name, common_name, rank, name_status, verbatim_name``.
    text_type : str
        A key of `SHARD_TEXTS`, or ``description``; any other is an `InputError`.
    unverified_genus : bool
        Whether the genus of a name whose ``name_status`` is "unverified" is said; else what is above it.

    Notes
    -----
    What is missing is replaced, so that each text type exists for each image: the common name by the scientific, that
    by the taxonomic one. Evaluation strings follow other rules: `name_string`.

    Examples
    --------
    >>> ranks = ("Animalia", "Chordata", "Aves", "Piciformes", "Picidae", "Picoides", "dorsalis")
    >>> row = dict(zip(RANKS, ranks), rank="species", common_name="American Three-toed Woodpecker")
    >>> caption(row, "sci_com")
    'a photo of Picoides dorsalis with common name American Three-toed Woodpecker.'
    >>> caption(row, "taxonTag")[:43]
    'a photo of kingdom Animalia phylum Chordata'
    """
    check_text_type(text_type)
    row = row if unverified_genus else _sure(row)
    if text_type in _BARE:
        return _name(row, _BARE[text_type])
    name, _, with_common = text_type.partition("_")
    text = _name(row, name)
    return TEMPLATES_ONE[0].format(f"{text} with common name {_name(row, 'com')}" if with_common else text)


def name_string(row: Mapping[str, str], text_type: str) -> str:
    """Return the class string of a taxon in evaluation: nothing stands in for a missing name, as in the original.

    An unverified genus is said: what is asked for is the class as it is labelled, what is trained on only what is sure.
    """
    check_text_type(text_type)
    name, _, with_common = _BARE.get(text_type, text_type).partition("_")
    common = _common(row)
    if name in ("com", DESCRIPTION):
        return common if name == "com" else " ".join(row.get(DESCRIPTION, "").split())
    tagged = name == "taxonTag"
    if name == "sci" or not row.get("kingdom", "").strip():
        text = _name(row, "sci")
    else:
        text = _name(row, "taxonTag") if tagged else " ".join(row.get(rank, "") for rank in RANKS)
    return f"{text} with common name {common}" if with_common and common else text


def check_text_type(text_type: str) -> None:
    """Raise `InputError` for a text type that is neither a key of `SHARD_TEXTS` nor ``description``."""
    if text_type not in (*SHARD_TEXTS, DESCRIPTION):
        raise InputError(f"unknown text type {text_type!r}; choose one of {', '.join((*SHARD_TEXTS, DESCRIPTION))}")


def _sure(row: Mapping[str, str]) -> Mapping[str, str]:
    """Return a row without its genus where only that was found of a binomial: it may be another one's by now."""
    return {**row, **_UNSURE} if row.get("name_status") == "unverified" else row


def _name(row: Mapping[str, str], kind: str) -> str:
    """Return the bare name of a kind, with the fallbacks of `caption`, blanks collapsed."""
    known = [(rank, row[rank]) for rank in RANKS if row.get(rank, "").strip()]
    taxon = " ".join(value for _, value in known)
    names = {
        "com": _common(row),
        "sci": _scientific(row),
        "taxon": taxon,
        "taxonTag": " ".join(f"{rank} {value}" for rank, value in known),
        DESCRIPTION: row.get(DESCRIPTION, ""),
    }
    text = names[kind] or _scientific(row) or taxon or _label(row)
    return " ".join(text.split())


def _common(row: Mapping[str, str]) -> str:
    """Return a species' common name, any other class's cleaned label."""
    if row.get("rank", "") == "species":
        return " ".join(row.get("common_name", "").split())
    return _label(row)


def _label(row: Mapping[str, str]) -> str:
    """Return the cleaned verbatim name; as it is, where nothing is left of it."""
    verbatim = row.get("verbatim_name", "")
    return clean_label(verbatim) or " ".join(verbatim.split())


def _scientific(row: Mapping[str, str]) -> str:
    """Return "Genus epithet", else the scientific name, else the deepest rank known; '' if there is none."""
    genus, epithet = row.get("genus", "").strip(), row.get("species", "").strip()
    if genus and epithet:
        return f"{genus[0].upper()}{genus[1:]} {epithet}"
    deepest = (row[rank].strip() for rank in reversed(RANKS) if row.get(rank, "").strip())
    return row.get("scientific_name", "").strip() or next(deepest, "")


def caption_table(catalog: pd.DataFrame, unverified_genus: bool = False) -> pd.DataFrame:
    """Return the captions of every class that has a usable image, sorted by class.

    Returns
    -------
    pd.DataFrame
        ``class_key`` and a column per caption type (`config.CAPTIONS`; ``description`` where a class has one).
    """
    classes = class_rows(catalog)
    rows = classes.to_dict("records")
    types = (*CAPTIONS, *([DESCRIPTION] if has_descriptions(classes) else []))
    table = {text_type: [caption(row, text_type, unverified_genus) for row in rows] for text_type in types}
    return pd.DataFrame({"class_key": classes.index, **table})


def has_descriptions(classes: pd.DataFrame) -> bool:
    """Tell whether any class of a table is described."""
    return DESCRIPTION in classes and bool((classes[DESCRIPTION] != "").any())


def higher_caption_table(catalog: pd.DataFrame, unverified_genus: bool = False) -> pd.DataFrame:
    """Return of each class the taxonomic captions cut after `CUT_AFTER`; its own where nothing is known there."""
    classes = class_rows(catalog)
    rows = classes.to_dict("records")
    shown, table = rows if unverified_genus else [_sure(row) for row in rows], {}
    for last in CUT_AFTER:
        ranks = RANKS[: RANKS.index(last) + 1]
        names = [" ".join(row[rank] for rank in ranks if row[rank]) for row in shown]
        table[last] = [
            TEMPLATES_ONE[0].format(name) if name else caption(row, "com")
            for name, row in zip(names, rows, strict=True)
        ]
    return pd.DataFrame(table, index=classes.index)


def shared_words_by_rank(texts: pd.DataFrame, ranks: pd.DataFrame) -> pd.DataFrame:
    """Count the words that the captions of two species share, by the deepest rank that the two share.

    Parameters
    ----------
    texts : DataFrame of shape (n, n_text_types)
        A caption a species and text type.
    ranks : DataFrame of shape (n, 7)
        In the same order.

    Returns
    -------
    DataFrame
        Mean number of shared words, beyond those of the template; a row a shared rank ("none" first), a column a text
        type, and the number of ``pairs`` of species.
    """
    distance = tree_distance(ranks)
    upper = np.triu_indices(len(ranks), k=1)
    shared_rank = np.array(["none", *RANKS])[len(RANKS) - distance[upper].astype(int)]
    counts = {}
    for text_type in texts:
        words = [
            set(text.rstrip(".").split()) - {"a", "photo", "of", "with", "common", "name"} for text in texts[text_type]
        ]
        counts[text_type] = [len(words[i] & words[j]) for i, j in zip(*upper, strict=True)]
    by_rank = pd.DataFrame(counts).groupby(shared_rank)
    table = by_rank.mean().assign(pairs=by_rank.size())
    return table.reindex([rank for rank in ("none", *RANKS) if rank in table.index])
