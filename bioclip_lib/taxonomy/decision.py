"""How one label is decided: the first evidence that leaves a taxon, and the row that it gives.

Takes a `labels.Label`, its context and the backbones; returns the row of `COLUMNS`, and every usage that was
considered where somebody asks. Where several taxa are left, the row is "ambiguous" and keeps what all of them share.
"""

import functools
from collections.abc import Sequence

from .. import RANKS
from .backbone import Backbone, Taxon, Usage
from .evidence import Lookup, authorship_of, lookups, of_rank
from .homonyms import LEGITIMACY, OLDER, Candidate, Context, Said, choose, compare, distinct_taxa, shared_ranks
from .labels import NOT_SAID, Label
from .names import MAX_CHARS
from .ncbi import ncbi
from .ranks import deepest_rank

COLUMNS = ("verbatim_name", *RANKS, "scientific_name", "common_name", "rank", "name_status", "backbone", "taxon_id")
COLUMNS += ("rule", "reason", "alternatives")
"""The columns of a resolved name."""

MAX_ALTERNATIVES = 20


def blank(reason: str) -> dict[str, str]:
    """Return the row of a name that stays unresolved."""
    return {**dict.fromkeys(COLUMNS, ""), "name_status": "unresolved", "reason": reason}


class Decision:
    """How one label is decided in its context; with `steps`, every usage that was considered is listed there."""

    def __init__(
        self, label: Label, context: Context, asked: Sequence[tuple[Backbone, Said]], steps: list | None = None
    ):
        self._label, self._context, self._asked, self._steps = label, context, asked, steps
        self._author = authorship_of(label) if label.parts else ""
        self._refused: dict[str, str] = {}

    def row(self) -> dict[str, str]:
        """Return the row of the first evidence that leaves a taxon, else of the record's own ranks."""
        for lookup in lookups(self._label, self._context):
            if lookup.rule == "words of the label" and self._refused:
                continue  # its words are those of another taxon
            if row := self.ask(lookup):
                return row
        return self._of_record() or blank(self._why_nothing())

    def ask(self, lookup: Lookup) -> dict[str, str] | None:
        """Ask the backbones for one piece of evidence, in their order."""
        for backbone, said in self._asked:
            groups = [[compare(usage, said) for usage in usages] for usages in lookup.find(backbone)]
            candidates = [candidate for group in groups for candidate in group]
            taxa, decided_by = self._choose(lookup, groups)
            if self._steps is not None:
                self._steps += _steps(lookup, backbone, candidates, taxa)
            if len(taxa) > 1:
                return _ambiguous_row(lookup, backbone, taxa)
            if taxa:
                backbones = [backbone, *(other for other, _ in self._asked)]
                row = _row(self._explained(lookup, taxa[0]), backbones, taxa[0], decided_by)
                if decided_by == LEGITIMACY:  # of those that bear the name against the codes
                    others = [c.usage for c in candidates if not c.refusal]
                    others = [usage for usage in others if usage.taxon.identity != taxa[0].taxon.identity]
                    row["alternatives"] = _listed(distinct_taxa(others))
                return row
            if candidates:
                self._refused.setdefault(lookup.looked_up, candidates[0].refusal)
        return None

    def _choose(self, lookup: Lookup, groups: Sequence[Sequence[Candidate]]) -> tuple[list[Usage], str]:
        """Return the taxa that a lookup leaves: of the sides of "A and B", those of all, if each has one."""
        if len(groups) < 2:
            return choose(groups[0], self._author, lookup.is_full) if groups else ([], "")
        chosen = [choose(group, "")[0] for group in groups]
        return (distinct_taxa([usage for taxa in chosen for usage in taxa]), "") if all(chosen) else ([], "")

    def _explained(self, lookup: Lookup, usage: Usage) -> Lookup:
        """Give a lookup the reason that this record has: an epithet that is not known or refused, an older rank."""
        if lookup.is_genus:
            refusal = self._refused.get(lookup.looked_up)
            what = f"is {refusal}" if refusal and refusal.startswith("outside") else refusal or "is not known"
            return lookup._replace(reason=f"{lookup.looked_up} {what}: its genus")
        if not self._context:
            return lookup
        ranks = dict(zip(RANKS, usage.taxon.ranks, strict=True))
        older = [
            f"the record's {rank} is {self._context[rank]}, here {ranks[rank] or 'none'}"
            for rank in OLDER
            if self._context.get(rank, ranks[rank]) != ranks[rank] and ranks["species"]
        ]
        return lookup._replace(reason="; ".join([*filter(None, [lookup.reason]), *older])) if older else lookup

    def _of_record(self) -> dict[str, str] | None:
        """Return the row of the deepest taxon that the record itself names and that is one taxon in a backbone."""
        for rank in (rank for rank in reversed(RANKS[1:6]) if rank in self._context and self._label.text):
            name, genus = self._context[rank], self._label.whole.parsed.genus  # it may name another, known or cut
            is_known = genus.endswith(".") or any(backbone.usages(genus) for backbone, _ in self._asked)
            if rank == "genus" and genus not in ("", name) and is_known:
                continue
            find = functools.partial(of_rank, name, rank)
            reason = f"{self._what_is_wrong()}: the record's {rank}"
            row = self.ask(Lookup(f"{rank} of the record", name, find, reason=reason))
            if row and rank == "genus" and self._label.whole.parsed.genus == name and self._label.whole.parsed.epithet:
                row["name_status"] = "unverified"
            if row and row["name_status"] != "ambiguous":
                return row
        return None

    def _what_is_wrong(self) -> str:
        text = self._label.text
        if text.casefold() in NOT_SAID:
            return "no name is given"
        refusal = self._refused.get(text) or next(iter(self._refused.values()), "")
        return f"{text} is {refusal}" if refusal.startswith("outside") else f"{text} is not known"

    def _why_nothing(self) -> str:
        text, parsed = self._label.text, self._label.whole.parsed
        if len(self._label.verbatim) > MAX_CHARS:
            return f"a label of more than {MAX_CHARS} characters is no name"
        if not text:
            return "the name is empty"
        if text.casefold() in NOT_SAID or not any(char.isalpha() for char in text):
            return f"{text} is no name"
        if self._refused:
            known = ", ".join(f"{rank} {name}" for rank, name in self._context.items())
            return f"only taxa outside {known} have this name" if known else next(iter(self._refused.values()))
        if parsed.is_formula:
            return "a hybrid whose parents are not both known, or share none of the seven ranks"
        if " " not in text and text.islower() and any(backbone.is_epithet(text) for backbone, _ in self._asked):
            return "an epithet alone is no name"
        return f"no taxon of {', '.join(backbone.name for backbone, _ in self._asked)} has this name"


def _row(lookup: Lookup, backbones: Sequence[Backbone], usage: Usage, decided_by: str) -> dict[str, str]:
    """Return the row of one taxon; the first of the backbones has decided it."""
    taxon = usage.taxon.at_family() if lookup.is_genus and usage.is_synonym else usage.taxon
    ranks = dict(zip(RANKS, taxon.ranks, strict=True))
    rank = deepest_rank(ranks)
    if not rank:
        return blank(f"{taxon.scientific_name} has none of the seven ranks")
    is_synonym = usage.is_synonym and lookup.status in ("accepted", "unverified")
    reason = lookup.reason
    if usage.is_synonym:
        moved = f"{usage.name} is a synonym of {usage.taxon.scientific_name}"
        its_genus = f"{reason.removesuffix(': its genus')}, its genus a synonym: {taxon.scientific_name}"
        reason = its_genus if lookup.is_genus else "; ".join(filter(None, [reason, moved]))
    elif taxon.below_species:
        reason = f"{taxon.below_species}: its species"
    rule = "synonym" if is_synonym and lookup.rule == "accepted name" else lookup.rule
    return {
        **blank(reason or ("" if rank == "species" else f"named to {rank} only")),
        **ranks,
        "scientific_name": taxon.scientific_name,
        "common_name": _common_name(taxon, rank, backbones),
        "rank": rank,
        "name_status": "synonym" if is_synonym else lookup.status,
        "backbone": backbones[0].name,
        "taxon_id": taxon.id,
        "rule": f"{rule}; by {decided_by}" if decided_by else rule,
    }


def _common_name(taxon: Taxon, rank: str, backbones: Sequence[Backbone]) -> str:
    """Return the taxon's common name, of the first of the backbones that has one; the first is that of the taxon.

    Those that state the language of their names come first. English ones NCBI Taxonomy has as well, then other dumps of
    NCBI; a name in another language than the one that was asked for is none.
    """
    language = next((each.language for each in backbones if each.language != "en"), "en")
    stating = [each for each in backbones if each.says_language and each.language == language]
    unsure = (None, *(each for each in backbones if not each.says_language)) if language == "en" else ()
    for each in (*stating, *unsure):
        each = each or ncbi()  # opened where it is needed
        name = (
            taxon.common_name if each is backbones[0] else _named_in(each, taxon.scientific_name, taxon.ranks[0], rank)
        )
        if name:
            return name
    return ""


@functools.lru_cache(65_536)
def _named_in(backbone: Backbone, name: str, kingdom: str, rank: str) -> str:
    """Return the common name of the one taxon of a kingdom and rank that a backbone names so, else ''."""
    found = [u for u in map(backbone.at, backbone.rows(name)) if u.rank == rank and u.taxon.ranks[0] == kingdom]
    return found[0].taxon.common_name if kingdom and len(found) == 1 else ""


def _ambiguous_row(lookup: Lookup, backbone: Backbone, taxa: Sequence[Usage]) -> dict[str, str]:
    """Return the row of what several taxa share."""
    is_list = lookup.rule == "two taxa"
    ranks, taxon_id = shared_ranks(taxa, below=is_list)
    rank = deepest_rank(ranks)
    what = "taxa are named" if is_list else "taxa have this name"
    return {
        **blank(f"{len(taxa)} {what}: {', '.join(map(_describe, taxa[:4]))}"),
        **ranks,
        "scientific_name": ranks[rank] if rank else "",
        "rank": rank,
        "name_status": "accepted" if is_list and rank else "ambiguous",
        "backbone": backbone.name,
        "taxon_id": taxon_id,
        "rule": lookup.rule,
        "alternatives": "" if is_list and rank else _listed(taxa),
    }


def _listed(taxa: Sequence[Usage]) -> str:
    """Return what a name may mean, and how many more."""
    more = [f"{len(taxa) - MAX_ALTERNATIVES} more"] if len(taxa) > MAX_ALTERNATIVES else []
    return "; ".join([*map(_describe, taxa[:MAX_ALTERNATIVES]), *more])


def _describe(usage: Usage) -> str:
    """Return a taxon with the group that tells it apart, and its id."""
    taxon = usage.taxon
    group = next((name for name in reversed(taxon.ranks[:5]) if name and name != taxon.scientific_name), "no rank")
    name = f"{usage.name} {usage.authorship}".strip()
    name = f"{name} = {taxon.scientific_name}" if usage.is_synonym else name
    return f"{name} ({group})" + (f" [{taxon.id}]" if taxon.id else "")


def _steps(lookup: Lookup, backbone: Backbone, candidates: Sequence[Candidate], chosen: Sequence[Usage]) -> list[dict]:
    """Return the rows of `explain` for one lookup in one backbone."""
    common = {"step": lookup.rule, "backbone": backbone.name, "looked_up": lookup.looked_up}
    if not candidates:
        return [{**common, "verdict": "not found"}]
    taxa = {usage.taxon.identity for usage in chosen}
    verdict = "chosen" if len(taxa) == 1 else f"one of {len(taxa)} that fit"
    return [
        {
            **common,
            "authorship": c.usage.authorship,
            "usage_status": "synonym" if c.usage.is_synonym else "accepted",
            "scientific_name": c.usage.taxon.scientific_name,
            **dict(zip(RANKS, c.usage.taxon.ranks, strict=True)),
            "verdict": verdict if c.usage.taxon.identity in taxa else c.refusal or "another fits better",
        }
        for c in candidates
    ]
