"""Resolve records against an ordered list of backbones, each name in the context of its own record.

Takes a table of verbatim names and whatever ranks stand beside them; returns one row a record, in the columns of
`taxonomy.COLUMNS` and ``alternatives``. A name is looked up in full, then by its stem, then as the species of an
infraspecific name, then as the genus; each step asks the backbones in order, and the first that knows a taxon which the
context allows decides. Homonyms are separated by the context, then by the author, else the record is "ambiguous" and
keeps what all of them share.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pandas as pd
import pyarrow as pa

from .. import RANKS
from ..errors import InputError
from .backbone import Backbone, Usage, common_name_in_ncbi, kingdom_of
from .canonical import canonical_names
from .homonyms import (
    CONTEXT_RANKS,
    LEGITIMACY,
    Candidate,
    Context,
    choose,
    compare,
    distinct_taxa,
    shared_ranks,
    taxon_of,
    translate,
)
from .labels import COLUMNS, deepest_rank
from .lookups import NOT_SAID, Lookup, authorship_of, find, lookups, with_genus
from .name_rules import Label
from .names import clean_label

RECORD_COLUMNS = (*COLUMNS, "alternatives")
MAX_ALTERNATIVES = 20
_AT_ONCE = 20_000  # pairs: a row being made takes far more memory than a row of a table


def resolve_records(records: pd.DataFrame, backbones: Sequence[Backbone]) -> pd.DataFrame:
    """Resolve each record's name in its context.

    Parameters
    ----------
    records : DataFrame
        ``verbatim_name``, which may hold the author, and any of `CONTEXT_RANKS`: what the record says of its taxon.
    backbones : sequence of Backbone
        `checklists.Checklist` or `usages.NcbiUsages`, the most trusted first.

    Returns
    -------
    DataFrame
        `RECORD_COLUMNS`, all str, one row a record under the same index. ``name_status`` is accepted, synonym,
        corrected (an ending or a spelling), ambiguous or unresolved; ``alternatives`` lists the taxa that a name may
        mean as well. ``common_name`` is English: the deciding backbone's, else NCBI's for that name in that kingdom.

    Raises
    ------
    InputError
        If there is no column ``verbatim_name``, or no backbone.

    Notes
    -----
    How contexts decide is described in `homonyms`. A backbone in which a name is ambiguous decides, too: that a later
    one lists fewer homonyms does not make the name clear. The species of a genus that is a synonym may have gone
    anywhere: an unknown epithet in it stays at the family. Equal names in equal contexts are resolved once.
    """
    if "verbatim_name" not in records.columns:
        raise InputError(
            f"the records have no column verbatim_name; found {', '.join(map(str, records.columns)) or 'none'}"
        )
    if not backbones:
        raise InputError("no backbone given; give a checklist, or NcbiUsages()")
    names = ["" if pd.isna(name) else str(name) for name in records["verbatim_name"]]
    contexts = read_contexts(records)
    texts = [with_genus(name, dict(context).get("genus", "")) for name, context in zip(names, contexts, strict=True)]
    rows = {pair: i for i, pair in enumerate(dict.fromkeys(zip(texts, contexts, strict=True)))}
    pairs = list(rows)
    parts = [_resolve_pairs(pairs[i : i + _AT_ONCE], backbones) for i in range(0, len(pairs), _AT_ONCE)]
    table = pd.concat(parts) if parts else pd.DataFrame(columns=list(RECORD_COLUMNS), dtype=str)
    table = table.iloc[[rows[pair] for pair in zip(texts, contexts, strict=True)]].set_index(records.index)
    return table.assign(verbatim_name=names)


def _resolve_pairs(pairs: Sequence[tuple], backbones: Sequence[Backbone]) -> pd.DataFrame:
    """Resolve distinct pairs of a name and its context; a row each."""
    labels = {label.verbatim: label for label in Label.read(list(dict.fromkeys(name for name, _ in pairs)))}
    translated = {context: _translations(context, backbones) for context in dict.fromkeys(c for _, c in pairs)}
    rows = [_resolve(labels[name], dict(context), translated[context])[0] for name, context in pairs]
    return pd.DataFrame(rows, columns=list(RECORD_COLUMNS), dtype=str)


def explain(name: str, backbones: Sequence[Backbone], context: Context | None = None) -> pd.DataFrame:
    """Return how a name is decided: every usage that was considered, in order, with the verdict on it.

    Returns
    -------
    DataFrame
        One row a usage under ``step, backbone, looked_up, authorship, usage_status, scientific_name``, `CONTEXT_RANKS`
        and ``verdict``; a lookup that finds nothing is a row, too. The last row is the result.

    Raises
    ------
    InputError
        If `context` has a key that is not in `CONTEXT_RANKS`, or there is no backbone.
    """
    unknown = sorted(set(context or {}) - set(CONTEXT_RANKS))
    if unknown:
        raise InputError(f"context has no rank {', '.join(unknown)}; use {', '.join(CONTEXT_RANKS)}")
    if not backbones:
        raise InputError("no backbone given; give a checklist, or NcbiUsages()")
    (label,) = Label.read([with_genus(name, (context or {}).get("genus", ""))])
    (given,) = read_contexts(pd.DataFrame([dict(context or {})], index=[0]))
    row, steps = _resolve(label, dict(given), _translations(given, backbones))
    verdict = f"{row['name_status']}: {row['reason'] or row['rule']}"
    result = {"step": "result", "backbone": row["backbone"], "looked_up": name, "verdict": verdict}
    columns = [
        "step",
        "backbone",
        "looked_up",
        "authorship",
        "usage_status",
        "scientific_name",
        *CONTEXT_RANKS,
        "verdict",
    ]
    return pd.DataFrame([*steps, {**row, **result}], columns=columns).fillna("")


def read_contexts(records: pd.DataFrame) -> list[tuple[tuple[str, str], ...]]:
    """Return what each record says of its ranks; a kingdom is one of `usages.KINGDOMS`, or not said."""
    columns = {}
    for rank in (rank for rank in CONTEXT_RANKS if rank in records.columns):
        values = ["" if pd.isna(value) else clean_label(value) for value in records[rank]]
        distinct = sorted({value for value in values if value.casefold() not in NOT_SAID})
        authors = pa.chunked_array([[""] * len(distinct)], pa.string())
        names = canonical_names(pa.chunked_array([distinct], pa.string()), authors).display.to_pylist()
        names = [kingdom_of(name) for name in names] if rank == "kingdom" else names
        said = dict(zip(distinct, names, strict=True))
        columns[rank] = [said.get(value, "") for value in values]
    rows = zip(*columns.values(), strict=True) if columns else [()] * len(records)
    return [tuple((rank, value) for rank, value in zip(columns, row, strict=True) if value) for row in rows]


def _translations(context: Iterable[tuple[str, str]], backbones: Sequence[Backbone]) -> list[tuple[Backbone, Context]]:
    """Return each backbone with a context in its words."""
    return [(backbone, translate(dict(context), backbone)) for backbone in backbones]


def _resolve(
    label: Label, context: Context, backbones: Sequence[tuple[Backbone, Context]]
) -> tuple[dict[str, str], list[dict]]:
    """Return the row of a name in a context, and the steps to it."""
    steps: list[dict] = []
    is_refused = False
    authorship = authorship_of(label)
    for lookup in lookups(label):
        for backbone, translated in backbones:
            candidates = [compare(usage, context, translated) for usage in find(lookup, backbone)]
            chosen, decided_by = choose(candidates, authorship)
            steps += _steps(lookup, backbone, candidates, chosen)
            if chosen:
                row = _row(lookup, backbone, chosen, decided_by)
                return (_with_others(row, candidates, chosen[0]) if decided_by == LEGITIMACY else row), steps
            is_refused |= bool(candidates)
    if label.text and not is_refused:
        row = _row_of_record(label, context, backbones)
        if row:
            return row, steps
    known = ", ".join(f"{rank} {name}" for rank, name in context.items())
    names = ", ".join(backbone.name for backbone, _ in backbones)
    reason = f"only taxa outside {known} have this name" if is_refused else f"no taxon of {names} has this name"
    return _blank(reason if label.text else "the name is empty"), steps


def _row_of_record(
    label: Label, context: Context, backbones: Sequence[tuple[Backbone, Context]]
) -> dict[str, str] | None:
    """Return the row of the deepest taxon that the record itself names and that is one taxon in a backbone.

    Its kingdom alone is no name, and its genus none where the name has another.
    """
    ranks = [rank for rank in reversed(CONTEXT_RANKS[1:]) if rank in context]
    for rank in ranks[1:] if label.parsed.genus not in ("", context.get("genus")) and "genus" in ranks else ranks:
        lookup = Lookup(
            context[rank], f"{rank} of the record", reason=f"{label.text} is not known: the record's {rank}"
        )
        for backbone, translated in backbones:
            usages = [usage for usage in backbone.usages(lookup.name) if usage.rank == rank]
            taxa, decided_by = choose([compare(usage, context, translated) for usage in usages], "")
            if len(taxa) == 1:
                return _row(lookup, backbone, taxa, decided_by)
    return None


def _row(lookup: Lookup, backbone: Backbone, taxa: Sequence[Usage], decided_by: str) -> dict[str, str]:
    """Return the row of one taxon, or of what several share."""
    if len(taxa) > 1:
        return _ambiguous_row(lookup, backbone, taxa)
    usage = _at_family(taxa[0]) if lookup.only_rank == "genus" and taxa[0].is_synonym else taxa[0]
    status = "synonym" if usage.is_synonym and lookup.status == "accepted" else lookup.status
    ranks = dict(zip(RANKS, usage.ranks, strict=True))
    rank = deepest_rank(ranks)
    reason = lookup.reason or (f"{usage.name} is a synonym of {usage.scientific_name}" if usage.is_synonym else "")
    if lookup.only_rank and usage.is_synonym:
        reason = f"{lookup.reason.removesuffix(': its genus')}, its genus a synonym: {usage.scientific_name}"
    if usage.below_species and not usage.is_synonym:
        reason = f"{usage.below_species}: its species"
    rule = "synonym" if usage.is_synonym and lookup.rule == "accepted name" else lookup.rule
    return {
        **_blank(reason or ("" if rank == "species" else f"named to {rank or 'no rank'} only")),
        **ranks,
        "scientific_name": usage.scientific_name if rank else "",
        "common_name": _common_name(usage, rank),
        "rank": rank,
        "name_status": status if rank else "unresolved",
        "backbone": backbone.name if rank else "",
        "taxon_id": usage.taxon_id if rank else "",
        "rule": f"{rule}; by {decided_by}" if decided_by else rule,
    }


def _common_name(usage: Usage, rank: str) -> str:
    """Return the English name of a taxon: the deciding backbone's, else NCBI's for the same name and kingdom."""
    return usage.common_name or (common_name_in_ncbi(usage.scientific_name, usage.ranks[0], rank) if rank else "")


def _at_family(usage: Usage) -> Usage:
    """Return a usage raised from its genus to the deepest rank above it."""
    known = [i for i in range(5) if usage.ranks[i]] or [0]
    name, taxon_id = usage.ranks[known[-1]], usage.rank_ids[known[-1]]
    return replace(usage, scientific_name=name, taxon_id=taxon_id, ranks=(*usage.ranks[:5], "", ""), common_name="")


def _ambiguous_row(lookup: Lookup, backbone: Backbone, taxa: Sequence[Usage]) -> dict[str, str]:
    """Return the row of what several taxa share."""
    ranks, taxon_id = shared_ranks(taxa)
    rank = deepest_rank(ranks)
    alternatives = [_describe(usage) for usage in taxa]
    more = [f"{len(taxa) - MAX_ALTERNATIVES} more"] if len(taxa) > MAX_ALTERNATIVES else []
    return {
        **_blank(f"{len(taxa)} taxa have this name: {', '.join(alternatives[:4])}"),
        **ranks,
        "scientific_name": ranks[rank] if rank else "",
        "rank": rank,
        "name_status": "ambiguous",
        "backbone": backbone.name,
        "taxon_id": taxon_id,
        "rule": lookup.rule,
        "alternatives": "; ".join([*alternatives[:MAX_ALTERNATIVES], *more]),
    }


def _with_others(row: dict[str, str], candidates: Sequence[Candidate], chosen: Usage) -> dict[str, str]:
    """Return a row with the taxa that bear the name against the codes as its alternatives."""
    others = distinct_taxa([c.usage for c in candidates if not c.refusal and taxon_of(c.usage) != taxon_of(chosen)])
    return {**row, "alternatives": "; ".join(_describe(usage) for usage in others[:MAX_ALTERNATIVES])}


def _describe(usage: Usage) -> str:
    """Return a taxon with the group that tells it apart, and its id."""
    group = next((name for name in reversed(usage.ranks[:5]) if name and name != usage.scientific_name), "no rank")
    name = f"{usage.name} {usage.authorship}".strip()
    name = f"{name} = {usage.scientific_name}" if usage.is_synonym else name
    return f"{name} ({group})" + (f" [{usage.taxon_id}]" if usage.taxon_id else "")


def _blank(reason: str) -> dict[str, str]:
    """Return the row of a name that stays unresolved."""
    return {**dict.fromkeys(RECORD_COLUMNS, ""), "name_status": "unresolved", "reason": reason}


def _steps(lookup: Lookup, backbone: Backbone, candidates: Sequence[Candidate], chosen: Sequence[Usage]) -> list[dict]:
    """Return the rows of `explain` for one lookup in one backbone."""
    looked_up = f"{lookup.name} {lookup.like.epithet}" if lookup.like else lookup.name
    common = {"step": lookup.rule, "backbone": backbone.name, "looked_up": looked_up}
    if not candidates:
        return [{**common, "verdict": "not found"}]
    taxa = {taxon_of(usage) for usage in chosen}
    return [
        {
            **common,
            "authorship": c.usage.authorship,
            "usage_status": "synonym" if c.usage.is_synonym else "accepted",
            "scientific_name": c.usage.scientific_name,
            **dict(zip(CONTEXT_RANKS, c.usage.ranks, strict=False)),
            "verdict": c.refusal or _verdict(c.usage, taxa),
        }
        for c in candidates
    ]


def _verdict(usage: Usage, taxa: set[tuple]) -> str:
    if taxon_of(usage) not in taxa:
        return "another fits better"
    return "chosen" if len(taxa) == 1 else f"one of {len(taxa)} that fit"
