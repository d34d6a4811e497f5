"""What the user's own table says of class names: it decides, and overrides only what it states.

Takes the table; returns, for the row that the backbones gave a class, the row with what is stated: a name to look up, a
common name, ranks.
"""

from collections.abc import Callable, Mapping

import pandas as pd

from .. import RANKS
from ..errors import InputError
from ..files.spreadsheets import as_it_was
from .decision import blank
from .names import clean_label, parse_names, stems
from .ranks import deepest_rank

SAID_COLUMNS = ("class_name", "scientific_name", "common_name", *RANKS)


def stated_by_user(said: pd.DataFrame | None) -> dict[str, dict[str, str]]:
    """Return what is stated of each class name, by the name as it stands and cleaned; only what is not empty."""
    if said is None:
        return {}
    if "class_name" not in said.columns:
        raise InputError(f"the table of names has no column class_name; it has {', '.join(map(str, said.columns))}")
    doubled = said.loc[said["class_name"].duplicated(), "class_name"]
    if len(doubled):
        raise InputError(f"the table of names has class {doubled.iloc[0]!r} twice; keep one row")
    table = said.reindex(columns=list(SAID_COLUMNS), fill_value="").fillna("").astype(str)
    rows = {}
    for row in table.to_dict("records"):
        stated = {column: value.strip() for column, value in row.items() if value.strip()}
        rows[row["class_name"]] = stated | _binomial(stated)
    as_named = {as_it_was(name): row for name, row in rows.items()}
    return {**{clean_label(name): row for name, row in as_named.items()}, **as_named, **rows}


def _binomial(stated: Mapping[str, str]) -> dict[str, str]:
    """Return genus and epithet of a species that is stated with its genus, its author too, or beside its genus."""
    genus, species = stated.get("genus", ""), stated.get("species", "").removeprefix(f"{stated.get('genus')} ")
    if not species or not (genus or " " in species):
        return {}
    (parsed,) = parse_names([f"{genus} {species}".strip()])
    if not parsed.epithet or parsed.infraspecific or parsed.open_nomenclature:
        return {"species": species} if genus else dict(zip(("genus", "species"), species.split(" ", 1), strict=True))
    return {"genus": genus or parsed.genus, "species": parsed.epithet}


def ranks_of(said: Mapping[str, str]) -> dict[str, str]:
    """Return the ranks that are stated."""
    return {rank: said[rank] for rank in RANKS if said.get(rank)}


def is_complete(said: Mapping[str, str]) -> bool:
    """Tell whether the user states all ranks down to the deepest, so that nothing is to be looked up."""
    ranks = ranks_of(said)
    return len(ranks) > 1 and list(ranks) == list(RANKS[: len(ranks)])


def name_of_user(said: Mapping[str, str]) -> str:
    """Return the scientific name that is stated, by itself or as genus and species."""
    ranks = ranks_of(said)
    species = f"{ranks['genus']} {ranks['species']}" if {"genus", "species"} <= set(ranks) else ""
    return said.get("scientific_name") or species


def user_row(
    row: dict[str, str], said: Mapping[str, str], resolve_one: Callable[[str], dict[str, str]]
) -> dict[str, str]:
    """Return a resolved row with what the user states of the class."""
    common = said.get("common_name", "")
    if said.get("species") and not said.get("genus"):
        reason = f"the table of names gives the epithet {said['species']} without its genus"
        return {**blank(reason), "common_name": common}
    if common and row["rank"] != "species" and not is_complete(said):
        by_common = resolve_one(common)
        if name_of_user(said):
            row = _agreeing(row, by_common, name_of_user(said))
        elif _depth(by_common["rank"]) > _depth(row["rank"]) and by_common.get(row["rank"]) == row.get(row["rank"]):
            row = by_common
    row = _with_ranks(row, said)
    return {**row, "common_name": common or row["common_name"]}


def _with_ranks(row: dict[str, str], said: Mapping[str, str]) -> dict[str, str]:
    """Return a row with the stated ranks in their places; where they go deeper, the taxon is the user's.

    Beside a name that was found they have been its context; stated down from the kingdom, they are its lineage.
    """
    stated = ranks_of(said)
    is_context = name_of_user(said) and not is_complete(said) and row["rank"]
    if not stated or (is_context and _depth(list(stated)[-1]) <= _depth(row["rank"])):
        return row
    ranks = {rank: stated.get(rank) or row[rank] for rank in RANKS}
    rank = deepest_rank(ranks)
    deepest = list(stated)[-1]
    if _depth(deepest) < _depth(row["rank"]) or (deepest == row["rank"] and row[deepest] == stated[deepest]):
        return {**row, **ranks}
    name = f"{ranks['genus']} {ranks['species']}" if rank == "species" and ranks["genus"] else ranks[rank]
    return {
        **blank("" if rank == "species" else f"named to {rank} only"),
        **ranks,
        "scientific_name": (is_complete(said) and said.get("scientific_name")) or name,
        "rank": rank,
        "name_status": "accepted",
        "backbone": "user",
        "rule": "user's ranks",
    }


def _agreeing(by_scientific: dict, by_common: dict, name: str) -> dict:
    """Prefer the species of the user's common name where the scientific name leads only to its genus or nowhere."""
    # both must agree, in genus or in epithet: "Dryobates borealis, red-cockaded woodpecker" is Picoides borealis
    if by_common["rank"] != "species":
        return by_scientific
    one, other = parse_names([name, by_common["scientific_name"]])
    if by_scientific["genus"] != by_common["genus"] and not stems(one) & stems(other):
        return by_scientific
    return {**by_common, "name_status": "synonym", "rule": f"user's common name: {by_common['rule']}"}


def _depth(rank: str) -> int:
    return RANKS.index(rank) if rank else -1
