"""Resolve verbatim names to seven ranks against a backbone.

Takes distinct names as they stand on folders and in tables, returns one row a name: the seven ranks, the accepted name,
and which rule decided. The rules stand in `RULES`, the strongest evidence first. No rule returns a taxon that the name
does not support: what fits several taxa is "ambiguous" and keeps what they share, what fits none is "unresolved", and
both say why.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from .. import RANKS
from ..errors import InputError
from .name_rules import RULES, Label, Match, phrase
from .names import clean_label, stem_of_epithet
from .ncbi import NcbiBackbone, ncbi_backbone

COLUMNS = (
    "verbatim_name",
    *RANKS,
    "scientific_name",
    "common_name",
    "rank",
    "name_status",
    "backbone",
    "taxon_id",
    "rule",
    "reason",
)
STATUSES = ("accepted", "synonym", "corrected", "ambiguous", "unresolved")
OVERRIDE_COLUMNS = ("class_name", "scientific_name", "common_name", *RANKS)


def resolve_names(
    names: Sequence[str],
    backbone: NcbiBackbone | None = None,
    overrides: pd.DataFrame | None = None,
    context: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Resolve names to the seven ranks.

    Parameters
    ----------
    names : sequence of str
        Verbatim names; one row comes back for each, in order.
    backbone : NcbiBackbone, optional
        `backbones.ncbi_backbone` by default.
    overrides : DataFrame, optional
        The user's own table (`OVERRIDE_COLUMNS`; only ``class_name`` must be there). A row with ranks is taken as it
        is; a row with a scientific name is resolved by that name, and its common name is kept.
    context : mapping of rank to name, optional
        What all names are known to be, as ``{"kingdom": "Plantae"}``; other taxa are not considered.

    Returns
    -------
    DataFrame
        `COLUMNS`, all str. ``rank`` is the deepest of the seven ranks that is known, '' if none. ``scientific_name``
        is the taxon's own name, which may lie between two ranks ("Caridea" has the rank order). ``name_status`` is one
        of `STATUSES`; ``reason`` says why a name is not resolved, or not to species.

    Raises
    ------
    InputError
        If `overrides` lacks ``class_name`` or names one class twice, or `context` has a key that is no rank.

    Notes
    -----
    A name that homonyms of several kingdoms bear follows the other names where those are of one kingdom; its rule says
    so. NCBI's synonyms are not in the offline files; those that the encyclopaedia's articles name are. A synonym that
    neither knows stays at its genus. `species` is the epithet, with "x" before it for a named hybrid.

    Examples
    --------
    >>> table = resolve_names(["Chuck_will_Widow", "hyptis_sp"])
    >>> table[["scientific_name", "rank", "name_status"]].values.tolist()
    [['Antrostomus carolinensis', 'species', 'accepted'], ['Hyptis', 'genus', 'accepted']]
    """
    backbone = ncbi_backbone() if backbone is None else backbone
    unknown = sorted(set(context or {}) - set(RANKS))
    if unknown:
        raise InputError(f"context has no rank {', '.join(unknown)}; use {', '.join(RANKS)}")
    given = _override_rows(overrides)
    rows = [given.get(name) or given.get(clean_label(name)) or {} for name in names]
    texts = [
        row.get("scientific_name") or row.get("common_name") or name for name, row in zip(names, rows, strict=True)
    ]
    resolved = _resolve_texts(texts, backbone, context or {})
    common = [
        row.get("common_name", "") if r["rank"] != "species" else "" for row, r in zip(rows, resolved, strict=True)
    ]
    second = _resolve_texts(common, backbone, context or {})
    table = [
        _user_row(row) or _with_common_name(_agreeing(first, by_common, row), row)
        for row, first, by_common in zip(rows, resolved, second, strict=True)
    ]
    table = [{**row, "verbatim_name": name} for name, row in zip(names, table, strict=True)]
    return pd.DataFrame(table, columns=list(COLUMNS), dtype=str)


def summarise_resolution(table: pd.DataFrame) -> pd.DataFrame:
    """Count names by status (rows) and deepest known rank (columns, from species up; "none" last).

    Examples
    --------
    >>> table = pd.DataFrame({"name_status": ["accepted", "unresolved"], "rank": ["species", ""]})
    >>> int(summarise_resolution(table).loc["accepted", "species"])
    1
    """
    ranks = table["rank"].replace("", "none")
    counts = pd.crosstab(table["name_status"], ranks)
    return counts.reindex(index=list(STATUSES), columns=[*RANKS[::-1], "none"], fill_value=0)


def _resolve_texts(texts: Sequence[str], backbone: NcbiBackbone, context: Mapping[str, str]) -> list[dict]:
    """Resolve each text by the first rule that applies; equal texts are resolved once."""
    distinct = list(dict.fromkeys(texts))
    labels = list(Label.read(distinct))
    rows = {label.verbatim: _resolve_label(label, backbone, context) for label in labels}
    kingdom = kingdom_of_most(rows.values())
    for label in labels:
        if kingdom and rows[label.verbatim]["name_status"] == "ambiguous" and not rows[label.verbatim]["kingdom"]:
            again = _resolve_label(label, backbone, {**context, "kingdom": kingdom})
            if again["kingdom"] == kingdom and again["rule"] == rows[label.verbatim]["rule"]:
                rows[label.verbatim] = {**again, "rule": f"{again['rule']}; {kingdom}, as the other names"}
    return [rows[text] for text in texts]


def kingdom_of_most(rows: Iterable[Mapping[str, str]]) -> str:
    """Return the kingdom of at least nine in ten of the genera and species that are clear, if those are ten or more."""
    kingdoms = Counter(
        r["kingdom"] for r in rows if r["rank"] in ("genus", "species") and r["name_status"] != "ambiguous"
    )
    kingdom, n = max(kingdoms.items(), key=lambda item: item[1], default=("", 0))
    return kingdom if n >= 10 and n >= 0.9 * kingdoms.total() else ""


def _resolve_label(label: Label, backbone: NcbiBackbone, context: Mapping[str, str]) -> dict:
    """Apply the rules in order; return the row of the first whose taxa the context allows."""
    excluded = False
    for rule in RULES:
        match = None if excluded and rule is phrase else rule(label, backbone)  # its words are those of another taxon
        if match is None:
            continue
        allowed = [i for i in match.taxon_ids if _is_in(backbone.lineage(i), context)]
        if allowed:
            return _row(match, _distinct_taxa(allowed, backbone), backbone)
        excluded = True
    known = ", ".join(f"{rank} {name}" for rank, name in context.items())
    reason = f"only taxa outside {known} have this name" if excluded else f"no taxon of {backbone.name} has this name"
    return _blank_row(reason if label.text else "the name is empty")


def _is_in(lineage: Mapping[str, str], context: Mapping[str, str]) -> bool:
    """Return whether a lineage does not contradict the context; a rank that the backbone lacks contradicts nothing."""
    return all(lineage[rank] in ("", name) for rank, name in context.items())


def _distinct_taxa(taxon_ids: Sequence[int], backbone: NcbiBackbone) -> list[int]:
    """Reduce taxa to those that differ at species level or above, without the descendants of others among them."""
    raised = {_species_or_above(i, backbone) for i in taxon_ids}
    return sorted(i for i in raised if not raised.intersection(backbone.ancestors(i)[1:]))


def _species_or_above(taxon_id: int, backbone: NcbiBackbone) -> int:
    """Return the species of a subspecies or strain; a taxon above stays."""
    species = [i for i in backbone.ancestors(taxon_id) if backbone.rank(i) == "species"]
    return species[0] if species else taxon_id


def _row(match: Match, taxon_ids: list[int], backbone: NcbiBackbone) -> dict:
    """Return the row of one taxon, or of what several share."""
    taxon_id = backbone.common_ancestor(taxon_ids)
    ranks = backbone.lineage(taxon_id)
    rank = deepest_rank(ranks)
    is_ambiguous = len(taxon_ids) > 1
    names = ", ".join(f"{backbone.scientific_name(i)} ({_group(i, backbone)})" for i in taxon_ids[:4])
    reason = f"{len(taxon_ids)} taxa have this name: {names}" if is_ambiguous else match.reason
    return {
        **ranks,
        "scientific_name": backbone.scientific_name(taxon_id) if rank else "",
        "common_name": backbone.common_name(taxon_id) if rank else "",
        "rank": rank,
        "name_status": "ambiguous" if is_ambiguous else match.status,
        "backbone": backbone.name if rank else "",
        "taxon_id": str(taxon_id) if rank else "",
        "rule": match.rule,
        "reason": reason or ("" if rank == "species" else f"named to {rank} only"),
    }


def _group(taxon_id: int, backbone: NcbiBackbone) -> str:
    """Return a word that tells homonyms apart: the family, or the deepest rank above the taxon that is known."""
    ranks = backbone.lineage(taxon_id)
    return next((ranks[rank] for rank in ("family", "order", "class", "phylum", "kingdom") if ranks[rank]), "no rank")


def deepest_rank(ranks: Mapping[str, str]) -> str:
    """Return the deepest of the seven ranks that is not '', or ''.

    Examples
    --------
    >>> deepest_rank({**dict.fromkeys(RANKS, ""), "kingdom": "Plantae", "family": "Poaceae"})
    'family'
    """
    return next((rank for rank in reversed(RANKS) if ranks[rank]), "")


def _blank_row(reason: str) -> dict:
    """Return the row of a name that stays unresolved."""
    return {**dict.fromkeys(COLUMNS, ""), "name_status": "unresolved", "reason": reason}


def _override_rows(overrides: pd.DataFrame | None) -> dict[str, dict[str, str]]:
    """Return the user's rows by class name, verbatim and cleaned."""
    if overrides is None:
        return {}
    if "class_name" not in overrides.columns:
        raise InputError(
            f"the table of names has no column class_name; it has {', '.join(map(str, overrides.columns))}"
        )
    doubled = overrides.loc[overrides["class_name"].duplicated(), "class_name"]
    if len(doubled):
        raise InputError(f"the table of names has class {doubled.iloc[0]!r} twice; keep one row")
    table = overrides.reindex(columns=list(OVERRIDE_COLUMNS)).fillna("").astype(str)
    rows = {row["class_name"]: {key: value.strip() for key, value in row.items()} for row in table.to_dict("records")}
    return {**{clean_label(name): row for name, row in rows.items()}, **rows}


def _user_row(row: Mapping[str, str]) -> dict | None:
    """Return the row that the user's ranks give, or None where there are none."""
    ranks = {rank: row.get(rank, "") for rank in RANKS}
    rank = deepest_rank(ranks)
    if not rank:
        return None
    if rank == "species" and ranks["genus"]:
        ranks["species"] = ranks["species"].removeprefix(ranks["genus"] + " ")
        name = f"{ranks['genus']} {ranks['species']}"
    else:
        name = ranks[rank]
    return {
        **_blank_row("" if rank == "species" else f"named to {rank} only"),
        **ranks,
        "scientific_name": row.get("scientific_name") or name,
        "common_name": row.get("common_name", ""),
        "rank": rank,
        "name_status": "accepted",
        "backbone": "user",
        "rule": "user's ranks",
    }


def _agreeing(by_scientific: dict, by_common: dict, given: Mapping[str, str]) -> dict:
    """Prefer the species of the user's common name where the scientific name leads only to its genus or nowhere.

    Both must agree, in genus or in epithet: "Dryobates borealis, red-cockaded woodpecker" is Picoides borealis.
    """
    if by_scientific["rank"] == "species" or by_common["rank"] != "species":
        return by_scientific
    stems = {stem_of_epithet(row["scientific_name"]) for row in (given, by_common)}
    if by_scientific["genus"] != by_common["genus"] and (len(stems) > 1 or "" in stems):
        return by_scientific
    return {**by_common, "name_status": "synonym", "rule": f"user's common name: {by_common['rule']}"}


def _with_common_name(row: dict, given: Mapping[str, str]) -> dict:
    """Return a row with the user's common name, if there is one."""
    return {**row, "common_name": given.get("common_name") or row["common_name"]}
