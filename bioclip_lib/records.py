"""Resolve records against an ordered list of backbones, each name in the context of its own record.

Takes a table of verbatim names and whatever ranks stand beside them; returns one row a record, in the columns of
`taxonomy.COLUMNS` and ``alternatives``. A name is looked up in full, then by its stem, then as the species of an
infraspecific name, then as the genus; each step asks the backbones in order, and the first that knows a taxon which the
context allows decides. Homonyms are separated by the context, then by the author, else the record is "ambiguous" and
keeps what all of them share.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from . import RANKS, morphotypes
from .backbones import ncbi_backbone
from .errors import InputError
from .name_rules import Label
from .names import ParsedName, clean_label, parse_names
from .taxonomy import COLUMNS, deepest_rank
from .usages import Backbone, Usage, kingdom_of

CONTEXT_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")
RECORD_COLUMNS = (*COLUMNS, "alternatives")
MAX_ALTERNATIVES = 20
_DECIDING = CONTEXT_RANKS[:-1]
_AUTHOR = re.compile(r"[^\W\d_]{2,}")
_YEAR = re.compile(r"\b1[5-9]\d\d\b|\b20\d\d\b")
_EMPTY = {"", "nan", "none", "null", "unknown", "incertae sedis", "not assigned", "unassigned", "unclassified"}

Context = Mapping[str, str]


@dataclass(frozen=True)
class Lookup:
    """One thing to look for: canonical names, what finding them means, and which ranks count."""

    names: tuple[str, ...]
    rule: str
    status: str = "accepted"
    reason: str = ""
    only_rank: str = ""
    parsed: ParsedName | None = None


@dataclass(frozen=True)
class Candidate:
    """A usage and what the context says of it: how deep they agree (-1: nothing to compare), or why it is refused."""

    usage: Usage
    agreement: int = -1
    refusal: str = ""
    is_moved: bool = False


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
        `RECORD_COLUMNS`, all str, one row a record under the same index. ``name_status`` is accepted, synonym, corrected
        (an ending), ambiguous or unresolved; ``alternatives`` lists the taxa that an ambiguous name may mean.

    Raises
    ------
    InputError
        If there is no column ``verbatim_name``, or no backbone.

    Notes
    -----
    A taxon of another kingdom than the record's is never returned, nor one whose kingdom is unknown where no other rank
    agrees. Below kingdom, the deepest rank that record and backbone both give decides, since higher classifications
    differ by name; a family that differs within the same order counts as moved. Equal names in equal contexts are
    resolved once.
    """
    if "verbatim_name" not in records.columns:
        raise InputError(
            f"the records have no column verbatim_name; found {', '.join(map(str, records.columns)) or 'none'}"
        )
    if not backbones:
        raise InputError("no backbone given; give a checklist, or NcbiUsages()")
    names = ["" if pd.isna(name) else str(name) for name in records["verbatim_name"]]
    contexts = _read_contexts(records)
    pairs = list(zip(names, contexts, strict=True))
    labels = {label.verbatim: label for label in Label.read(list(dict.fromkeys(names)))}
    rows = {
        (name, context): _resolve(labels[name], dict(context), backbones)[0] for name, context in dict.fromkeys(pairs)
    }
    table = pd.DataFrame([rows[pair] for pair in pairs], columns=list(RECORD_COLUMNS), index=records.index, dtype=str)
    table["verbatim_name"] = names
    return table


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
    (label,) = Label.read([name])
    (given,) = _read_contexts(pd.DataFrame([dict(context or {})], index=[0]))
    row, steps = _resolve(label, dict(given), backbones)
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


def _read_contexts(records: pd.DataFrame) -> list[tuple[tuple[str, str], ...]]:
    """Return what each record says of its ranks; a kingdom is one of `usages.KINGDOMS`, or not said."""
    columns = {}
    for rank in (rank for rank in CONTEXT_RANKS if rank in records.columns):
        values = ["" if pd.isna(value) else clean_label(value) for value in records[rank]]
        values = ["" if value.casefold() in _EMPTY else value[:1].upper() + value[1:].lower() for value in values]
        columns[rank] = [kingdom_of(value) for value in values] if rank == "kingdom" else values
    rows = zip(*columns.values(), strict=True) if columns else [()] * len(records)
    return [tuple((rank, value) for rank, value in zip(columns, row, strict=True) if value) for row in rows]


def _resolve(label: Label, context: Context, backbones: Sequence[Backbone]) -> tuple[dict[str, str], list[dict]]:
    """Return the row of a name in a context, and the steps to it."""
    steps: list[dict] = []
    translated = [_translate(context, backbone) for backbone in backbones]
    refused = 0
    for lookup in _lookups(label):
        for backbone, known in zip(backbones, translated, strict=True):
            usages = _find(lookup, backbone)
            candidates = [_compare(usage, known, context, backbone) for usage in usages]
            chosen, rule = _choose(candidates, label.parsed)
            steps += _steps(lookup, backbone, candidates, chosen)
            if chosen:
                return _row(lookup, backbone, chosen, rule), steps
            refused += len(candidates)
    known = ", ".join(f"{rank} {name}" for rank, name in context.items())
    names = ", ".join(backbone.name for backbone in backbones)
    reason = f"only taxa outside {known} have this name" if refused else f"no taxon of {names} has this name"
    return _blank(reason if label.text else "the name is empty"), steps


def _lookups(label: Label) -> Iterator[Lookup]:
    """Yield what to look for, the strongest evidence first."""
    parsed = label.parsed
    is_formula = parsed.is_hybrid and " × " in parsed.canonical
    if parsed.open_nomenclature or is_formula:
        if is_formula and {part.split(" ")[0] for part in parsed.canonical.split(" × ")} != {parsed.genus}:
            return
        reason = "a hybrid formula: its genus" if is_formula else f"{parsed.open_nomenclature}: not identified further"
        yield Lookup((parsed.genus,), "open nomenclature", reason=reason)
        return
    if not parsed.canonical:
        yield Lookup((label.text,), "accepted name")
    species = [reading for reading in label.readings if reading.epithet and not reading.open_nomenclature]
    yield from (Lookup((reading.canonical,), "accepted name") for reading in species)
    yield from (Lookup((reading.genus,), "accepted name") for reading in label.readings[:2] if _is_uninomial(reading))
    yield from (Lookup((), "ending of the name", "corrected", parsed=reading) for reading in species)
    for reading in species:
        if reading.infraspecific:
            binomial, reason = (
                f"{reading.genus} {reading.epithet}",
                f"{reading.infraspecific} is not known: its species",
            )
            yield Lookup((binomial,), "species of the name", reason=reason)
    if species and not _is_english(label):
        reason = f"{species[0].genus} {species[0].epithet} is not known: its genus"
        yield Lookup((species[0].genus,), "genus of the name", reason=reason, only_rank="genus")


def _is_uninomial(parsed: ParsedName) -> bool:
    """Tell a single name, with or without an author that looks like one, from two words of English."""
    has_author = any(sign in parsed.authorship for sign in ".&(") or bool(parsed.year)
    return parsed.rank_hint == "genus" and (has_author or (not parsed.authorship and " " not in parsed.verbatim))


def _is_english(label: Label) -> bool:
    """Tell whether the words are those of common names: "Anna hummingbird" is no Anna (Gesneriaceae)."""
    known = [ncbi_backbone().is_vernacular_word(word) for word in label.words]
    return morphotypes.is_denied(label.words) or (known[:1] == [True] and any(known[1:]))


def _find(lookup: Lookup, backbone: Backbone) -> list[Usage]:
    """Return the usages that a lookup finds in a backbone."""
    names = lookup.names
    if lookup.parsed:
        parsed = lookup.parsed
        start = f"{parsed.genus} {parsed.epithet[:3]}"
        near = [name for name in backbone.congeners(parsed.genus) if name.startswith(start)]
        stem = " ".join(parsed.stemmed.split(" ")[:2])
        names = tuple(entry.verbatim for entry in parse_names(near) if entry.stemmed == stem)
    usages = [usage for name in names for usage in backbone.usages(name)]
    return [usage for usage in usages if lookup.only_rank in ("", usage.rank)]


def _translate(context: Context, backbone: Backbone) -> dict[str, str]:
    """Say a context in a backbone's own words: the ranks above the deepest name that it knows for sure."""
    for rank in reversed(CONTEXT_RANKS[1:]):
        usages = [usage for usage in backbone.usages(context.get(rank, "")) if usage.rank == rank]
        usages = [usage for usage in usages if _same_kingdom(usage, context)]
        lines = {usage.ranks[: RANKS.index(rank) + 1] for usage in usages}
        if len(lines) == 1:
            return {**context, **{r: name for r, name in zip(RANKS, lines.pop(), strict=False) if name}}
    return dict(context)


def _same_kingdom(usage: Usage, context: Context) -> bool:
    return context.get("kingdom", "") in ("", usage.ranks[0])


def _compare(usage: Usage, translated: Context, context: Context, backbone: Backbone) -> Candidate:
    """Compare a usage with the context, as given and in the backbone's words."""
    ranks = dict(zip(RANKS, usage.ranks, strict=True))
    for words in (context, translated):
        if words.get("kingdom") and ranks["kingdom"] and words["kingdom"] != ranks["kingdom"]:
            return Candidate(usage, refusal=f"outside kingdom {words['kingdom']}")
    levels = [rank for rank in _DECIDING if ranks[rank] and (context.get(rank) or translated.get(rank))]
    agree = [rank for rank in levels if ranks[rank] in (context.get(rank), translated.get(rank))]
    if context.get("kingdom") and not ranks["kingdom"] and not agree:
        return Candidate(usage, refusal=f"{backbone.name} does not say its kingdom")
    if not levels:
        return Candidate(usage)
    if agree and agree[-1] == levels[-1]:
        return Candidate(usage, RANKS.index(levels[-1]))
    if levels[-1] == "family" and "order" in agree:
        return Candidate(usage, RANKS.index("order"), is_moved=True)
    said = translated.get(levels[-1]) or context.get(levels[-1])
    return Candidate(usage, refusal=f"outside {levels[-1]} {said}")


def _choose(candidates: Sequence[Candidate], parsed: ParsedName) -> tuple[list[Usage], str]:
    """Return the usages that context and author leave, distinct by taxon, and what decided."""
    allowed = [c for c in candidates if not c.refusal]
    best = max(((not c.is_moved, c.agreement) for c in allowed), default=None)
    left = [c.usage for c in allowed if (not c.is_moved, c.agreement) == best]
    if not left:
        return [], ""
    taxa = _distinct_taxa(left)
    rule = "" if len(taxa) == len(_distinct_taxa([c.usage for c in candidates])) else "context"
    if len(taxa) > 1 and parsed.authorship:
        by_author = _distinct_taxa([usage for usage in left if _same_author(parsed.authorship, usage.authorship)])
        if len(by_author) == 1:
            return by_author, "author"
    return taxa, rule


def _distinct_taxa(usages: Sequence[Usage]) -> list[Usage]:
    """Keep one usage a taxon, an accepted name rather than a synonym, and no taxon within another of them."""
    taxa: dict[tuple, Usage] = {}
    for usage in sorted(usages, key=lambda u: u.is_synonym):
        taxa.setdefault((usage.taxon_id, usage.scientific_name, usage.ranks), usage)
    ids = {usage.taxon_id for usage in taxa.values()} - {""}
    return [usage for usage in taxa.values() if not ids & usage.above]


def _same_author(one: str, other: str) -> bool:
    """Tell whether two authorships can be the same: no other year, and a surname in common, which may be shortened."""
    years = [set(_YEAR.findall(text)) for text in (one, other)]
    if all(years) and not years[0] & years[1]:
        return False
    names = [_surnames(text) for text in (one, other)]
    return any(a.startswith(b) or b.startswith(a) for a in names[0] for b in names[1])


def _surnames(authorship: str) -> list[str]:
    """Return the words of an authorship that can be surnames, in plain lower-case letters."""
    text = unicodedata.normalize("NFKD", authorship)
    words = _AUTHOR.findall("".join(char for char in text if not unicodedata.combining(char)))
    return [word.casefold() for word in words if word[0].isupper() and len(word) > 2]


def _row(lookup: Lookup, backbone: Backbone, taxa: Sequence[Usage], decided_by: str) -> dict[str, str]:
    """Return the row of one taxon, or of what several share."""
    if len(taxa) > 1:
        return _ambiguous_row(lookup, backbone, taxa)
    (usage,) = taxa
    status = "synonym" if usage.is_synonym and lookup.status == "accepted" else lookup.status
    ranks = dict(zip(RANKS, usage.ranks, strict=True))
    rank = deepest_rank(ranks)
    reason = lookup.reason or (f"{usage.name} is a synonym of {usage.scientific_name}" if usage.is_synonym else "")
    if usage.below_species and not usage.is_synonym:
        reason = f"{usage.below_species}: its species"
    rule = "synonym" if usage.is_synonym and lookup.rule == "accepted name" else lookup.rule
    return {
        **_blank(reason or ("" if rank == "species" else f"named to {rank or 'no rank'} only")),
        **ranks,
        "scientific_name": usage.scientific_name if rank else "",
        "rank": rank,
        "name_status": status if rank else "unresolved",
        "backbone": backbone.name if rank else "",
        "taxon_id": usage.taxon_id if rank else "",
        "rule": f"{rule}; by {decided_by}" if decided_by else rule,
    }


def _ambiguous_row(lookup: Lookup, backbone: Backbone, taxa: Sequence[Usage]) -> dict[str, str]:
    """Return the row of what several taxa share."""
    ranks, taxon_id = _shared_ranks(taxa)
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


def _shared_ranks(taxa: Sequence[Usage]) -> tuple[dict[str, str], str]:
    """Return the ranks that taxa share, down to the first at which two differ, and the id of the deepest.

    A rank that is a taxon itself is not shared by another taxon of the same name.
    """
    ranks, taxon_id = dict.fromkeys(RANKS, ""), ""
    own = min(RANKS.index(deepest_rank(dict(zip(RANKS, u.ranks, strict=True))) or "kingdom") for u in taxa)
    for i, rank in enumerate(RANKS[:own]):
        names, ids = ({u.ranks[i] for u in taxa}, {u.rank_ids[i] for u in taxa})
        if len(names - {""}) > 1 or len(ids - {""}) > 1:
            break
        if "" not in names:
            ranks[rank], taxon_id = names.pop(), ids.pop() if len(ids) == 1 else ""
    return ranks, taxon_id


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
    looked_up = ", ".join(lookup.names) or f"{lookup.parsed.stemmed if lookup.parsed else ''}-"
    common = {"step": lookup.rule, "backbone": backbone.name, "looked_up": looked_up}
    if not candidates:
        return [{**common, "verdict": "not found"}]
    taxa = {(usage.taxon_id, usage.scientific_name, usage.ranks) for usage in chosen}
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
    if (usage.taxon_id, usage.scientific_name, usage.ranks) not in taxa:
        return "another fits better"
    return "chosen" if len(taxa) == 1 else f"one of {len(taxa)} that fit"
