"""Tell the usages of a name apart by what a record says: its higher ranks first, then the author.

Takes usages and a context (rank -> name); returns which usages the record can mean, and what several of them share. A
usage of another kingdom is always refused, and one whose kingdom is unknown where no other rank agrees. Below kingdom
the deepest rank that both give decides, because higher classifications call the same group by different names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .. import RANKS
from .authors import equal_authors, same_authors
from .backbone import Backbone, Usage
from .labels import deepest_rank

CONTEXT_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")
_DECIDING = CONTEXT_RANKS[:-1]

LEGITIMACY = "legitimacy"
"""What decided where all other taxa bear a name as a later homonym or an illegitimate name."""

Context = Mapping[str, str]


@dataclass(frozen=True)
class Candidate:
    """A usage and what the context says of it.

    `agreement` is the position of the deepest rank at which both agree (-1: nothing to compare), `refusal` why they do
    not, `is_moved` whether the family differs within the same order.
    """

    usage: Usage
    agreement: int = -1
    refusal: str = ""
    is_moved: bool = False


def translate(context: Context, backbone: Backbone) -> dict[str, str]:
    """Say a context in a backbone's own words: add the ranks above its deepest name that means one taxon there."""
    for rank in reversed(CONTEXT_RANKS[1:]):
        usages = [u for u in backbone.usages(context[rank]) if u.rank == rank] if context.get(rank) else []
        higher = {r: name for r, name in context.items() if r in RANKS[: RANKS.index(rank)]}
        usages = [usage for usage in usages if not compare(usage, higher, higher).refusal]
        lines = {usage.ranks[: RANKS.index(rank) + 1] for usage in usages}
        if len(lines) == 1:
            return {**context, **{r: name for r, name in zip(RANKS, lines.pop(), strict=False) if name}}
    return dict(context)


def compare(usage: Usage, context: Context, translated: Context) -> Candidate:
    """Compare a usage with a context, as given and in the backbone's words (`translate`)."""
    ranks = dict(zip(RANKS, usage.ranks, strict=True))
    for words in (context, translated):
        if words.get("kingdom") and ranks["kingdom"] and words["kingdom"] != ranks["kingdom"]:
            return Candidate(usage, refusal=f"outside kingdom {words['kingdom']}")
    levels = [rank for rank in _DECIDING if ranks[rank] and (context.get(rank) or translated.get(rank))]
    agreeing = [rank for rank in levels if ranks[rank] in (context.get(rank), translated.get(rank))]
    if context.get("kingdom") and not ranks["kingdom"] and not agreeing:
        return Candidate(usage, refusal="its kingdom is not known")
    if not levels:
        return Candidate(usage)
    if agreeing[-1:] == levels[-1:]:
        return Candidate(usage, RANKS.index(levels[-1]))
    if levels[-1] == "family" and "order" in agreeing:
        return Candidate(usage, RANKS.index("order"), is_moved=True)
    return Candidate(usage, refusal=f"outside {levels[-1]} {context.get(levels[-1]) or translated[levels[-1]]}")


def choose(candidates: Sequence[Candidate], authorship: str) -> tuple[list[Usage], str]:
    """Return the usages that the evidence leaves, one a taxon, and what decided ('' if nothing had to).

    The context decides first, then the author, then legitimacy: of an accepted name and its later homonyms, which the
    codes rule out, the accepted one is meant where nobody is named.
    """
    allowed = [c for c in candidates if not c.refusal]
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
    if len(taxa) > len(available) == 1 and not authorship and not available[0].is_synonym:
        return available, LEGITIMACY
    return taxa, "context" if taxa and len(taxa) < len(distinct_taxa([c.usage for c in candidates])) else ""


def distinct_taxa(usages: Sequence[Usage]) -> list[Usage]:
    """Keep one usage a taxon, an accepted name rather than a synonym, and no taxon within another of them."""
    taxa: dict[tuple, Usage] = {}
    for usage in sorted(usages, key=lambda u: u.is_synonym):
        taxa.setdefault(taxon_of(usage), usage)
    ids = {usage.taxon_id for usage in taxa.values()} - {""}
    return [usage for usage in taxa.values() if not ids & usage.above]


def taxon_of(usage: Usage) -> tuple:
    """Return what is equal for two usages of one taxon; a taxon may lack an id."""
    return usage.taxon_id, usage.scientific_name, usage.ranks


def shared_ranks(taxa: Sequence[Usage]) -> tuple[dict[str, str], str]:
    """Return the ranks that different taxa share, down to the first at which two differ, and the id of the deepest.

    Only ranks above all of them count: two genera of one name share no genus.
    """
    ranks, taxon_id = dict.fromkeys(RANKS, ""), ""
    own = min(RANKS.index(deepest_rank(dict(zip(RANKS, u.ranks, strict=True))) or "kingdom") for u in taxa)
    for i, rank in enumerate(RANKS[:own]):
        names, ids = {u.ranks[i] for u in taxa}, {u.rank_ids[i] for u in taxa}
        if len(names - {""}) > 1 or len(ids - {""}) > 1:
            break
        if "" not in names:
            ranks[rank], taxon_id = names.pop(), ids.pop() if len(ids) == 1 else ""
    return ranks, taxon_id
