"""What a backbone says of a name: its usages, whichever backbone it is.

A usage is one meaning of a name: the taxon that a backbone takes it for, with the taxon's seven ranks. `Backbone` is
all that `records` asks of a backbone; `checklists.Checklist` is one for files, `NcbiUsages` for NCBI Taxonomy.
"""

import functools
from dataclasses import dataclass
from typing import Protocol

from .names import clean_label
from .ncbi import KINGDOM_OF, NcbiBackbone, ncbi_backbone

KINGDOMS = ("Animalia", "Plantae", "Fungi", "Chromista", "Protozoa", "Bacteria", "Archaea", "Viruses")
_KINGDOM_NAMES = {
    **{name.casefold(): kingdom for name, kingdom in KINGDOM_OF.items()},
    **{name.casefold(): name for name in KINGDOMS},
    "animals": "Animalia",
    "plants": "Plantae",
    "archaeplastida": "Plantae",
    "chloroplastida": "Plantae",
    "straminipila": "Chromista",
    "harosa": "Chromista",
    "hacrobia": "Chromista",
    "eubacteria": "Bacteria",
    "archaebacteria": "Archaea",
    "virus": "Viruses",
}

_NO_ORGANISM = frozenset({12908, 28384})  # NCBI's "unclassified sequences" and "other sequences"


@dataclass(frozen=True)
class Usage:
    """One meaning of a name.

    `name`, `authorship` and `rank` are those of the name itself; `taxon_id`, `scientific_name` and `ranks` (the seven,
    '' where unknown) those of the accepted taxon, raised to its species where it lies below. `rank_ids` are the ids of
    the taxa in `ranks`, '' where the backbone gives a name only; `above` are the ids of all taxa above it.
    `is_unavailable` tells that the codes rule the name out for this taxon: a later homonym, an illegitimate name.
    `common_name` is the accepted taxon's, in English.
    """

    name: str
    authorship: str
    rank: str
    is_synonym: bool
    taxon_id: str
    scientific_name: str
    ranks: tuple[str, ...]
    rank_ids: tuple[str, ...]
    above: frozenset[str]
    below_species: str = ""
    is_unavailable: bool = False
    common_name: str = ""


class Backbone(Protocol):
    """What `records.resolve_records` asks of a backbone."""

    @property
    def name(self) -> str:
        """The name that tables give."""

    def usages(self, name: str) -> list[Usage]:
        """Return every usage of a canonical name (no author, no rank marker, no hybrid sign), to the letter."""

    def congeners(self, genus: str) -> list[str]:
        """Return the canonical binomials that begin with a genus, synonyms among them."""


class NcbiUsages:
    """NCBI Taxonomy as a `Backbone`; its synonyms are those that the encyclopaedia's articles name."""

    def __init__(self, backbone: NcbiBackbone | None = None):
        self._backbone = ncbi_backbone() if backbone is None else backbone

    @property
    def name(self) -> str:
        """The name that tables give: with the day of the NCBI dump."""
        return self._backbone.name

    def usages(self, name: str) -> list[Usage]:
        """Return every usage of a canonical name, to the letter."""
        found = self._backbone.find_written(name)
        found = [i for i in found if not _NO_ORGANISM.intersection(self._backbone.ancestors(i))]
        synonyms = [] if found or " " not in name else self._backbone.find_synonym(name)
        return [self._usage(name, i, is_synonym=i in synonyms) for i in [*found, *synonyms]]

    def congeners(self, genus: str) -> list[str]:
        """Return the accepted binomials of a genus."""
        names = [name for i in self._backbone.find_genera(genus) for name in self._backbone.species_of(i)]
        return [name.replace(" x ", " ") for name in names]

    def _usage(self, name: str, found_id: int, is_synonym: bool) -> Usage:
        backbone = self._backbone
        line = {backbone.rank(i): i for i in reversed(backbone.ancestors(found_id))}
        taxon_id = line.get("species", found_id)
        ranks = backbone.lineage(taxon_id)
        below = backbone.scientific_name(found_id) if taxon_id != found_id else ""
        return Usage(
            name=name,
            authorship="",
            rank=backbone.rank(found_id),
            is_synonym=is_synonym,
            taxon_id=str(taxon_id),
            scientific_name=backbone.scientific_name(taxon_id),
            ranks=tuple(ranks.values()),
            rank_ids=tuple(str(line[rank]) if rank in line and ranks[rank] else "" for rank in ranks),
            above=frozenset(map(str, backbone.ancestors(taxon_id)[1:])),
            below_species=below,
            common_name=backbone.common_name(taxon_id),
        )


@functools.lru_cache(65_536)
def common_name_in_ncbi(name: str, kingdom: str, rank: str) -> str:
    """Return NCBI's English name of the one taxon of a kingdom and rank that has a scientific name, else ''.

    Examples
    --------
    >>> common_name_in_ncbi("Morus", "Animalia", "genus"), common_name_in_ncbi("Parus major", "Plantae", "species")
    ('Gannet', '')
    """
    backbone = ncbi_backbone()
    found = [i for i in backbone.find_written(name) if backbone.rank(i) == rank]
    found = [i for i in found if kingdom and backbone.lineage(i)["kingdom"] == kingdom]
    return backbone.common_name(found[0]) if len(found) == 1 else ""


@functools.lru_cache(4096)
def kingdom_of(name: str) -> str:
    """Return which of `KINGDOMS` a kingdom, domain or realm is, '' if none.

    Examples
    --------
    >>> [kingdom_of(name) for name in ("Metazoa", "ARCHAEA ", "Orthornavirae", "Protista", "incertae sedis")]
    ['Animalia', 'Archaea', 'Viruses', '', '']
    """
    key = clean_label(name).casefold()
    if key.endswith(("virae", "viria", "viruses")):
        return "Viruses"
    return _KINGDOM_NAMES.get(key, "")
