"""From the names of raw rows to taxa: what the user says, then the backbones in order, then the looser rules.

Takes the raw table, the user's table of names and an ordered list of backbones; returns one row for each distinct name
in its context. `records` decides where a checklist is given or the rows give ranks. The looser rules of `taxonomy`
(common names, misspellings) decide alone where neither is so, and else help where nothing deeper is found.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from .. import RANKS
from ..config import DataConfig
from ..errors import InputError
from .backbone import Backbone, NcbiUsages, Usage, kingdom_of
from .checklists import Checklist
from .homonyms import CONTEXT_RANKS, Context, compare, translate
from .labels import COLUMNS, kingdom_of_most, resolve_names
from .names import clean_label
from .records import RECORD_COLUMNS, read_contexts, resolve_records

NCBI = "ncbi"  # as an item of data.backbones
KEY = ("source", "verbatim_name", "context")
_LAST_RULES = "genus of the name|of the record"


def check_backbones(data: DataConfig) -> list[str]:
    """Return the paths of the checklists in ``data.backbones``.

    Raises
    ------
    InputError
        If no backbone is given, one is given twice, or a path does not exist.
    """
    if not all(data.backbones) or len(set(data.backbones)) < len(data.backbones) or not data.backbones:
        raise InputError(
            f"data.backbones={','.join(data.backbones)} has an empty item or one twice; give paths of checklists and "
            f"{NCBI}, the most trusted first"
        )
    paths = [path for path in data.backbones if path != NCBI]
    missing = [path for path in paths if not Path(path).exists()]
    if missing:
        raise InputError(f"no backbone at {missing[0]}; give the folder, zip or table of a checklist, or {NCBI}")
    return paths


def open_backbones(data: DataConfig) -> list[Backbone]:
    """Open the backbones of a run, in the order of ``data.backbones``; `InputError` where one cannot be read."""
    paths = check_backbones(data)
    return [Checklist(name) if name in paths else NcbiUsages() for name in data.backbones]


def context_of(raw: pd.DataFrame) -> pd.Series:
    """Return what each raw row says of its taxon's higher ranks, as text.

    Examples
    --------
    >>> context_of(pd.DataFrame({"kingdom": ["Plantae", ""], "family": ["Orchidaceae", ""]})).tolist()
    ['kingdom Plantae, family Orchidaceae', '']
    """
    text = pd.Series("", index=raw.index, dtype=object)
    for rank, said in _said_ranks(raw).items():
        comma = (text != "").map({True: ", ", False: ""})
        text = text.where(said == "", text + comma + f"{rank} " + said)
    return text.rename("context")


def _said_ranks(raw: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of `homonyms.CONTEXT_RANKS` that there are, stripped and never missing."""
    ranks = raw[[rank for rank in CONTEXT_RANKS if rank in raw]].fillna("").astype(str)
    return ranks.apply(lambda column: column.str.strip())


def resolve_raw_names(
    raw: pd.DataFrame, overrides: pd.DataFrame | None = None, backbones: Sequence[Backbone] | None = None
) -> pd.DataFrame:
    """Resolve the distinct names of each source, one source at a time: the names of a set give each other context.

    Parameters
    ----------
    raw : pd.DataFrame
        Of `sources.read`. Its columns of `homonyms.CONTEXT_RANKS`, if any, are the contexts of its names.
    overrides : pd.DataFrame, optional
        What the user says about class names, of `sources.read.read_names`; it decides where it speaks.
    backbones : sequence of Backbone, optional
        The most trusted first, of `open_backbones`; NCBI Taxonomy alone by default.

    Returns
    -------
    pd.DataFrame
        `KEY` and the columns of `taxonomy.records.resolve_records`, one row a name of a source in a context.

    Raises
    ------
    InputError
        As `taxonomy.resolve_names` for the user's table.

    Notes
    -----
    A name that stays ambiguous, and of which the rows say no kingdom, follows the other names of its source where
    those are of one kingdom; its rule says so. The looser rules know NCBI Taxonomy alone, and are left out where it is
    not among the backbones. A common name that the rows give fills the place of one that no backbone has.
    """
    backbones = [NcbiUsages()] if backbones is None else backbones
    named = raw[["source", "verbatim_name"]].fillna("")
    names = pd.concat([named, _said_ranks(raw)], axis=1).assign(context=context_of(raw))
    names["given_name"] = raw["common_name"] if "common_name" in raw else ""
    names = names.sort_values("given_name", ascending=False, kind="stable").drop_duplicates(list(KEY)).sort_index()
    names = names.reset_index(drop=True)
    ncbi_alone = len(backbones) == 1 and isinstance(backbones[0], NcbiUsages)
    has_context = (names["context"] != "").groupby(names["source"]).transform("any")
    records = resolve_records(names[has_context | (not ncbi_alone)], backbones)  # sources share names: each once
    tables = [
        _resolve_source(rows, records.loc[records.index.intersection(rows.index)], overrides, backbones)
        for _, rows in names.groupby("source", sort=False)
    ]
    return pd.concat([pd.DataFrame(columns=list(KEY), dtype=object), *tables], ignore_index=True)


def _resolve_source(
    rows: pd.DataFrame, records: pd.DataFrame, overrides: pd.DataFrame | None, backbones: Sequence[Backbone]
) -> pd.DataFrame:
    """Resolve the distinct names of one source; `records` are its rows of `resolve_records`, none for NCBI alone."""
    if records.empty:
        table = resolve_names(rows["verbatim_name"], overrides=overrides).set_axis(rows.index)
    else:
        table = _resolve_in_context(rows, records, overrides, backbones)
    no_common_name = (table["common_name"] == "") & (table["rank"] == "species")
    table["common_name"] = table["common_name"].mask(no_common_name, rows["given_name"])
    table = pd.concat([rows[["source", "context"]], table], axis=1)
    return table.reindex(columns=[*KEY, *RECORD_COLUMNS[1:]]).fillna("")


def _resolve_in_context(
    rows: pd.DataFrame, records: pd.DataFrame, overrides: pd.DataFrame | None, backbones: Sequence[Backbone]
) -> pd.DataFrame:
    """Resolve by the backbones in order; the looser rules help where they do not come down to a species."""
    has_ncbi = any(isinstance(backbone, NcbiUsages) for backbone in backbones)
    table = _with_common_kingdom(rows, records.copy(), lambda part: resolve_records(part, backbones))
    stated = _stated_names(rows, overrides)
    if stated.any():
        table.loc[stated, list(COLUMNS)] = _resolve_by_kingdom(rows[stated], overrides)
        table.loc[stated, "alternatives"] = ""
    is_open = (table["name_status"] == "unresolved") | table["rule"].str.contains(_LAST_RULES)
    is_open &= ~stated & has_ncbi
    if is_open.any():
        looser = _with_common_kingdom(rows[is_open], _resolve_by_kingdom(rows[is_open]), _resolve_by_kingdom)
        deeper = looser["rank"].map(_depth) > table.loc[is_open, "rank"].map(_depth)
        said = dict(zip(looser.index, read_contexts(rows[is_open]), strict=True))
        better = looser[[deeper[i] and _agrees(looser.loc[i], dict(said[i])) for i in looser.index]]
        table.loc[better.index, list(COLUMNS)] = better
        table.loc[better.index, "alternatives"] = ""
    return table


def _stated_names(rows: pd.DataFrame, overrides: pd.DataFrame | None) -> pd.Series:
    """Tell the names of which the user's table speaks."""
    stated = set() if overrides is None else {clean_label(name) for name in overrides["class_name"]}
    return rows["verbatim_name"].map(lambda name: clean_label(name) in stated).astype(bool)


def _resolve_by_kingdom(rows: pd.DataFrame, overrides: pd.DataFrame | None = None) -> pd.DataFrame:
    """Apply the looser rules to names, kingdom by kingdom as the rows say it."""
    kingdoms = rows["kingdom"].map(kingdom_of) if "kingdom" in rows else pd.Series("", index=rows.index)
    tables = []
    for kingdom, part in rows.groupby(kingdoms):
        context = {"kingdom": kingdom} if kingdom else None
        table = resolve_names(part["verbatim_name"], overrides=overrides, context=context)
        tables.append(table.set_axis(part.index))
    return pd.concat(tables).loc[rows.index]


def _with_common_kingdom(rows: pd.DataFrame, table: pd.DataFrame, resolve: Callable) -> pd.DataFrame:
    """Resolve ambiguous names again in the kingdom of the source's other names, if those are of one."""
    kingdom = kingdom_of_most(table.drop_duplicates("verbatim_name").to_dict("records"))
    unsaid = (table["name_status"] == "ambiguous") & (table["kingdom"] == "")
    if not kingdom or not unsaid.any():
        return table
    again = resolve(rows[unsaid].assign(kingdom=kingdom))
    again = again[(again["kingdom"] == kingdom) & (again["name_status"] != "unresolved")]
    table.loc[again.index] = again.assign(rule=again["rule"] + f"; {kingdom}, as the other names")
    return table


def _agrees(row: pd.Series, context: Context) -> bool:
    """Tell whether a row of the looser rules lies within what its raw row says."""
    ranks = tuple(row[list(RANKS)])
    usage = Usage("", "", row["rank"], False, row["taxon_id"], row["scientific_name"], ranks, ranks, frozenset())
    return not compare(usage, context, translate(context, NcbiUsages())).refusal


def _depth(rank: str) -> int:
    return RANKS.index(rank) if rank else -1
