"""Tell the usages of a name apart by what a record says: its higher ranks first, then the author.

Takes usages and a context (rank -> name); returns which usages the record can mean, and what several of them share. A
usage of another kingdom is always refused, and one whose kingdom is unknown where no other rank agrees. Below kingdom
the deepest rank that both give decides, because higher classifications call the same group by different names. A word
that the backbone does not know is no evidence; a taxon that lies anywhere above the usage agrees, whatever its rank.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from .. import RANKS
from .authors import equal_authors, same_authors
from .backbone import Backbone, Usage
from .ranks import deepest_rank

_DECIDING = RANKS[:5]
OLDER = ("order", "family")
"""Ranks of a record that may be those of an older classification."""

LEGITIMACY = "legitimacy"
"""What decided where all other taxa bear a name as a later homonym or an illegitimate name."""

Context = Mapping[str, str]
_NOTHING: Mapping = MappingProxyType({})


class Said(NamedTuple):
    """A context in a backbone's own words."""

    context: Context = _NOTHING
    given: Context = _NOTHING  # the words that are taxa of that rank there
    translated: Context = _NOTHING  # also the ranks above the deepest that means one taxon
    rows: Mapping[str, frozenset[int]] = _NOTHING  # all taxa above genus that a word means


class Candidate(NamedTuple):
    """A usage and what the context says of it."""

    usage: Usage
    agreement: int = -1  # the position of the deepest rank at which both agree; -1: nothing to compare
    refusal: str = ""
    is_moved: bool = False  # the family differs within the same order
    is_older: bool = False  # order and family alone differ


def read_said(context: Context, backbone: Backbone) -> Said:
    """Say a context in a backbone's own words."""
    if not context:
        return Said()
    known = [rank for rank in _DECIDING[1:] if context.get(rank)]
    higher = {rank: [u for u in backbone.usages(context[rank]) if not u.taxon.ranks[5]] for rank in known}
    given = {rank: context[rank] for rank, usages in higher.items() if any(u.rank == rank for u in usages)}
    given |= {rank: context[rank] for rank in ("kingdom", "genus") if context.get(rank)}
    rows = {rank: frozenset(u.taxon.row for u in usages) for rank, usages in higher.items()}
    said = Said(context, given, given, rows)
    for rank in reversed(RANKS[1:6]):
        usages = [u for u in backbone.usages(given[rank]) if u.rank == rank] if rank in given else []
        above = {r: given[r] for r in RANKS[: RANKS.index(rank)] if r in given}
        usages = [usage for usage in usages if not compare(usage, Said(above, above, above)).refusal]
        lines = {usage.taxon.ranks[: RANKS.index(rank) + 1] for usage in usages}
        if len(lines) == 1:
            translated = {**given, **{r: name for r, name in zip(RANKS, lines.pop(), strict=False) if name}}
            return Said(context, given, translated, rows)
    return said


def compare(usage: Usage, said: Said) -> Candidate:
    """Compare a usage with a context."""
    if not said.context:
        return Candidate(usage)
    kingdom = usage.taxon.ranks[0]
    for words in (said.given, said.translated):
        if words.get("kingdom") and kingdom and words["kingdom"] != kingdom:
            return Candidate(usage, refusal=f"outside kingdom {words['kingdom']}")
    agrees = _agreements(usage, said)
    if said.given.get("kingdom") and not kingdom and not any(agrees.values()):
        return Candidate(usage, refusal="its kingdom is not known")
    if not agrees:
        return Candidate(usage)
    deepest = list(agrees)[-1]
    if agrees[deepest]:
        return Candidate(usage, RANKS.index(deepest))
    if deepest == "family" and agrees.get("order"):
        return Candidate(usage, RANKS.index("order"), is_moved=True)
    refusal = f"outside {deepest} {said.given.get(deepest) or said.translated[deepest]}"
    return Candidate(usage, refusal=refusal, is_older={rank for rank in agrees if not agrees[rank]} <= set(OLDER))


def _agreements(usage: Usage, said: Said) -> dict[str, bool]:
    """Tell of each rank that usage and context both speak of, from the kingdom down, whether they agree."""
    line = usage.above | {usage.taxon.row} if said.rows else frozenset()
    agrees = {}
    for rank, own in zip(_DECIDING, usage.taxon.ranks, strict=False):
        words = [word for word in (said.given.get(rank), said.translated.get(rank)) if word and own]
        # within what the word means, whatever its rank; or a name that only columns give
        is_inside = bool(said.rows.get(rank, frozenset()) & line) or bool(own and own == said.context.get(rank))
        if words or is_inside:
            agrees[rank] = is_inside or own in words
    return agrees


def choose(candidates: Sequence[Candidate], authorship: str, is_full: bool = False) -> tuple[list[Usage], str]:
    """Return the usages that context, author and legitimacy leave, one a taxon, and which decided ('' if none)."""
    allowed = [c for c in candidates if not c.refusal]
    if len(allowed) == len(candidates) == 1:
        return [allowed[0].usage], ""
    if not allowed and is_full and all(c.is_older for c in candidates):
        older = distinct_taxa([c.usage for c in candidates])
        return (older, "") if len(older) == 1 else ([], "")
    best = max(((not c.is_moved, c.agreement) for c in allowed), default=None)
    left = [c.usage for c in allowed if (not c.is_moved, c.agreement) == best]
    taxa = distinct_taxa(left)
    if len(taxa) > 1 and authorship:
        for match in (equal_authors, same_authors):
            by_author = distinct_taxa([usage for usage in left if match(authorship, usage.authorship)])
            if by_author:
                break
        if len(by_author) == 1:
            return by_author, "author"
    available = distinct_taxa([usage for usage in left if not usage.is_unavailable])
    # where nobody is named, the accepted name is meant and not its later homonyms, which the codes rule out
    if len(taxa) > len(available) == 1 and not authorship and not available[0].is_synonym:
        return available, LEGITIMACY
    return taxa, "context" if taxa and len(taxa) < len(distinct_taxa([c.usage for c in candidates])) else ""


def distinct_taxa(usages: Sequence[Usage]) -> list[Usage]:
    """Keep one usage a taxon, an accepted name rather than a synonym, and no taxon within another of them."""
    if len(usages) < 2:
        return list(usages)
    taxa: dict[tuple, Usage] = {}
    for usage in sorted(usages, key=lambda u: u.is_synonym):
        taxa.setdefault(usage.taxon.identity, usage)
    rows = {usage.taxon.row for usage in taxa.values()}
    return [usage for usage in taxa.values() if not rows & usage.above]


def shared_ranks(taxa: Sequence[Usage], below: bool) -> tuple[dict[str, str], str]:
    """Return the ranks that different taxa share, down to the first at which two differ, and the id of the deepest."""
    ranks, taxon_id = dict.fromkeys(RANKS, ""), ""
    lines = [u.taxon for u in taxa]  # two genera of one name share no genus, unless `below`
    own = min(RANKS.index(deepest_rank(dict(zip(RANKS, t.ranks, strict=True))) or "kingdom") for t in lines) + below
    for i, rank in enumerate(RANKS[:own]):
        names, ids = {t.ranks[i] for t in lines}, {t.rank_ids[i] for t in lines}
        if len(names - {""}) > 1 or len(ids - {""}) > 1:
            break
        if "" not in names:
            ranks[rank], taxon_id = names.pop(), ids.pop() if len(ids) == 1 else ""
    return ranks, taxon_id
