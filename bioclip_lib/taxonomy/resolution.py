"""Names of raw rows to taxa: what the user says, then the evidence of each label, asked of the backbones in order.

Takes raw rows, an ordered list of backbones and the user's table of names; returns one row for each distinct name in
its context, with the rule and the reason. The first lookup of `evidence` that finds a taxon which the context allows
decides; where several are left, the name is "ambiguous" and keeps what all of them share.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from .. import RANKS
from ..config import AVILIST, NCBI, DataConfig
from ..errors import InputError
from ..run import in_parts
from .backbone import Backbone, open_checklist
from .canonical import canonical_names, kingdom_of
from .decision import COLUMNS, Decision
from .evidence import full_name, with_genus
from .homonyms import Context, Said, read_said
from .labels import NOT_SAID, Label, plain_label, read_labels
from .names import clean_label
from .ncbi import ncbi
from .user import is_complete, name_of_user, ranks_of, stated_by_user, user_row

CONTEXT_COLUMNS = ("scientific_name", *RANKS)
"""The columns of raw rows that say what a name means, beside it."""

KEY = ("source", "verbatim_name", "context")
STATUSES = ("accepted", "synonym", "corrected", "unverified", "ambiguous", "unresolved")
"""How a name came out: "corrected" is an ending or a spelling, "unverified" a genus that is in doubt."""

_AT_ONCE = 20_000  # names: a row being made takes far more memory than a row of a table


def check_backbones(data: DataConfig) -> list[str]:
    """Return the paths of the checklists in ``data.backbones``; `InputError` where one is missing or given twice."""
    if not all(data.backbones) or len(set(data.backbones)) < len(data.backbones) or not data.backbones:
        raise InputError(
            f"data.backbones={','.join(data.backbones)} has an empty item or one twice; give paths of checklists, "
            f"{AVILIST} and {NCBI}, the most trusted first"
        )
    paths = [path for path in data.backbones if path not in (NCBI, AVILIST)]
    missing = [path for path in paths if not Path(path).exists()]
    if missing:
        ways = f"the folder, zip or table of a checklist, {AVILIST} or {NCBI}"
        raise InputError(f"no backbone at {missing[0]}; give {ways}")
    if data.language != "en" and not paths:
        names = f"{NCBI} and {AVILIST} have English names alone"
        raise InputError(f"data.language={data.language}: {names}; add a checklist with such names to data.backbones")
    return paths


def open_backbones(data: DataConfig) -> list[Backbone]:
    """Open the backbones of a run, the most trusted first.

    Parameters
    ----------
    data : DataConfig
        Of its ``backbones``, ``ncbi`` is NCBI Taxonomy, ``avilist`` AviList 2025 (the extra ``birds``), and others are
        paths of checklists.

    Raises
    ------
    InputError
        If one is missing, given twice or cannot be read.
    """
    check_backbones(data)
    from .avilist import avilist

    known = {NCBI: ncbi, AVILIST: avilist}
    return [known[name]() if name in known else open_checklist(name, language=data.language) for name in data.backbones]


def context_of(raw: pd.DataFrame) -> pd.Series:
    """Return what each raw row says of its taxon beside the name, as text."""
    text = pd.Series("", index=raw.index, dtype=object)
    for rank, said in _context_columns(raw).items():
        comma = (text != "").map({True: ", ", False: ""})
        text = text.where(said == "", text + comma + f"{rank} " + said)
    return text.rename("context")


def _context_columns(raw: pd.DataFrame) -> pd.DataFrame:
    """Return the `CONTEXT_COLUMNS` that there are, stripped and never missing."""
    said = raw[[column for column in CONTEXT_COLUMNS if column in raw]].fillna("").astype(str)
    return said.apply(lambda column: column.str.strip())


def resolve(
    rows: pd.DataFrame | Sequence[str],
    backbones: Sequence[Backbone] | None = None,
    said: pd.DataFrame | None = None,
    keep: Path | None = None,
) -> pd.DataFrame:
    """Resolve the distinct names of each source to the seven ranks, each in the context of its own row.

    Parameters
    ----------
    rows : DataFrame or sequence of str
        Names, or raw rows: ``verbatim_name``, and any of ``source``, ``common_name``, ``scientific_name`` (of a class
        that has another label) and the seven ranks, which are the context of the name.
        The names of a source give each other context.
    backbones : sequence of Backbone, optional
        The most trusted first, of `open_backbones`; NCBI Taxonomy alone by default.
    said : DataFrame, optional
        What the user says about class names: ``class_name`` and any of ``scientific_name``, ``common_name`` and the
        ranks. It overrides what it states and nothing else.
    keep : Path, optional
        ``run.parts``, where what is finished is kept: killed, the same call goes on there.

    Returns
    -------
    DataFrame
        `KEY` and `COLUMNS`, all str: one row a name of a source in a context, in the order in which they first occur
        in their source. ``rank`` is the deepest of the seven that is known, '' if none; ``scientific_name`` the
        taxon's own, which may lie between two ranks ("Caridea" has the rank order); ``species`` the epithet.
        ``name_status`` is one of `STATUSES`; ``rule`` tells what decided, ``reason`` why a name is not resolved, or
        not to species, and ``alternatives`` what it may mean as well.

    Raises
    ------
    InputError
        If there is no column ``verbatim_name``, an empty list of backbones, or `said` lacks ``class_name`` or names one
        class twice.

    Notes
    -----
    How contexts decide is described in `homonyms`, the evidence in `evidence`. A backbone in which a name is ambiguous
    decides, too: that a later one lists fewer homonyms does not make the name clear. The species of a genus that is a
    synonym may have gone anywhere: an unknown epithet in it stays at the family. A name that stays ambiguous, and of
    which the row says no kingdom, follows the other names of its source where nine in ten are of one kingdom.

    Examples
    --------
    >>> table = resolve(["Chuck_will_Widow", "hyptis_sp"])
    >>> table[["scientific_name", "rank", "name_status"]].values.tolist()
    [['Antrostomus carolinensis', 'species', 'accepted'], ['Hyptis', 'genus', 'accepted']]
    """
    raw = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame({"verbatim_name": list(rows)}, dtype=object)
    if "verbatim_name" not in raw.columns:
        found = ", ".join(map(str, raw.columns)) or "none"
        raise InputError(f"the records have no column verbatim_name; found {found}")
    backbones, names, by_name = _or_ncbi(backbones), _distinct(raw), stated_by_user(said)
    told = [by_name.get(name) or by_name.get(clean_label(name)) or {} for name in names["verbatim_name"]]
    contexts = read_contexts(names)
    if any(told):
        stated = read_contexts(pd.DataFrame([ranks_of(user) for user in told], columns=list(RANKS[:6])))
        contexts = [of_row | of_user for of_row, of_user in zip(contexts, stated, strict=True)]
    named = names["scientific_name"] if "scientific_name" in names else [""] * len(names)
    pairs = zip(told, named, names["verbatim_name"], strict=True)
    texts = ["" if is_complete(user) else name_of_user(user) or of_row or name for user, of_row, name in pairs]
    table = _by_common_kingdom(texts, contexts, names["source"], backbones, keep)
    by_user = [i for i, user in enumerate(told) if user]
    if by_user:
        rows = zip(by_user, table.iloc[by_user].to_dict("records"), strict=True)
        said_of = [user_row(row, told[i], lambda t, i=i: _decide([(t, contexts[i])], backbones)[0]) for i, row in rows]
        table = pd.concat([table.drop(index=by_user), pd.DataFrame(said_of, by_user, table.columns)]).sort_index()
    unnamed = (table["common_name"] == "") & (table["rank"] == "species")
    table["common_name"] = table["common_name"].mask(unnamed, names["given_name"])
    return pd.concat([names[list(KEY)], table], axis=1)


def _or_ncbi(backbones: Sequence[Backbone] | None) -> Sequence[Backbone]:
    """Return the backbones that are given, by default NCBI Taxonomy."""
    backbones = [ncbi()] if backbones is None else backbones
    if not backbones:
        raise InputError("no backbone given; give a checklist, or leave the backbones out for NCBI Taxonomy")
    return backbones


def _distinct(raw: pd.DataFrame) -> pd.DataFrame:
    """Return the distinct names of each source in their contexts, with a common name where a row gives one."""
    verbatim = raw["verbatim_name"].astype(object).map(lambda name: "" if pd.isna(name) else str(name))
    names = pd.DataFrame({"source": raw["source"] if "source" in raw else "", "verbatim_name": verbatim})
    names = pd.concat([names.fillna(""), _context_columns(raw)], axis=1).assign(context=context_of(raw))
    names["given_name"] = raw["common_name"].fillna("") if "common_name" in raw else ""
    names = names.reset_index(drop=True).sort_values("given_name", ascending=False, kind="stable")
    keys = names[list(KEY)].apply(lambda column: column.astype(str).str.replace("\0", "\ufffe", regex=False))
    names = names[~keys.duplicated()].sort_index()  # pandas takes a NUL for the end of a text
    return names.iloc[np.argsort(pd.factorize(names["source"])[0], kind="stable")].reset_index(drop=True)


def _by_common_kingdom(
    texts: Sequence[str],
    contexts: Sequence[Context],
    sources: pd.Series,
    backbones: Sequence[Backbone],
    keep: Path | None,
) -> pd.DataFrame:
    """Resolve names; ambiguous ones again in the kingdom of nine in ten genera and species of their source, if ten."""
    table = resolve_pairs(texts, contexts, backbones, keep and keep / "names")
    is_ambiguous = table["name_status"] == "ambiguous"
    unsure = table.index[is_ambiguous & (table["kingdom"] == "")]
    if unsure.empty:
        return table
    once = ~pd.DataFrame({"source": sources, "text": texts}).duplicated(keep="last")
    clear = table["kingdom"][once & ~is_ambiguous & table["rank"].isin(["genus", "species"])].groupby(sources)
    counts = {source: kingdoms.value_counts() for source, kingdoms in clear}
    common = {source: n.index[0] for source, n in counts.items() if n.iloc[0] >= max(10, 0.9 * n.sum())}
    kingdom = sources[unsure].map(common).replace("", None).dropna()
    unsure = kingdom.index
    narrowed = [{"kingdom": kingdom[i], **contexts[i]} for i in unsure]
    again = resolve_pairs([texts[i] for i in unsure], narrowed, backbones, keep and keep / "names_again")
    again = again.set_index(unsure)
    told = (again["kingdom"] == kingdom) & (again["name_status"] != "unresolved")
    again = again[told & ~again["rule"].astype(str).str.contains("of the record")]
    again["rule"] = [f"{rule}; {kingdom[i]}, as the other names" for i, rule in again["rule"].items()]
    table.loc[again.index] = again
    return table


def resolve_pairs(
    texts: Sequence[str], contexts: Sequence[Context], backbones: Sequence[Backbone], keep: Path | None = None
) -> pd.DataFrame:
    """Resolve each name in its context, a row of `COLUMNS` each; equal pairs are resolved once, parts of them kept."""
    texts = [with_genus(text, context.get("genus", "")) for text, context in zip(texts, contexts, strict=True)]
    number: dict[tuple, int] = {}
    pairs = zip(texts, (tuple(context.items()) for context in contexts), strict=True)
    places = [number.setdefault(pair, len(number)) for pair in pairs]
    distinct = [(text, dict(context)) for text, context in number]

    def decide(some: Sequence) -> Iterator[list[str]]:
        for start in range(0, len(some), _AT_ONCE):
            yield from (
                [row[column] for column in COLUMNS[1:]] for row in _decide(some[start : start + _AT_ONCE], backbones)
            )

    asked = [backbone.digest for backbone in backbones] if keep and len(distinct) > _AT_ONCE else []
    rows = in_parts(keep, distinct, decide, _AT_ONCE, __name__, asked)
    shared: dict[str, str] = {}  # each text once: of 10^6 rows most words are those of others
    parts = []
    while values := [[shared.setdefault(text, text) for text in row] for row in itertools.islice(rows, _AT_ONCE)]:
        parts.append(pd.DataFrame(values, columns=list(COLUMNS[1:]), dtype=object))
    table = pd.concat(parts) if parts else pd.DataFrame(columns=list(COLUMNS[1:]), dtype=object)
    return table.iloc[places].reset_index(drop=True)


def _decide(pairs: Sequence[tuple[str, Context]], backbones: Sequence[Backbone]) -> list[dict[str, str]]:
    """Return the row of each name in its context."""
    asked = functools.lru_cache(65_536)(lambda context: _asked(dict(context), backbones))
    rows: list[dict[str, str] | None] = []
    for text, context in pairs:  # a plain binomial that a backbone has needs no parser, which takes most of the time
        plain = plain_label(text)
        rows.append(plain and Decision(plain, context, asked(tuple(context.items()))).ask(full_name(text)))
    rest = [i for i, row in enumerate(rows) if row is None]
    labels = _labels(list(dict.fromkeys(pairs[i][0] for i in rest)))
    for i in rest:
        label, own = labels[pairs[i][0]]
        whole = {**own, **pairs[i][1]}
        rows[i] = Decision(label, whole, asked(tuple(whole.items()))).row()
    return rows


def _asked(context: Context, backbones: Sequence[Backbone]) -> list[tuple[Backbone, Said]]:
    """Return the backbones, each with what a context says in its words."""
    return [(backbone, read_said(context, backbone)) for backbone in backbones]


def _labels(texts: Sequence[str]) -> dict[str, tuple[Label, Context]]:
    """Read labels, each with the ranks that it gives itself."""
    labels = read_labels(texts)
    said = [{}] * len(labels)
    if any(label.said for label in labels):
        said = read_contexts(pd.DataFrame([label.said for label in labels], columns=list(RANKS)))
    return {label.verbatim: (label, ranks) for label, ranks in zip(labels, said, strict=True)}


def explain(name: str, backbones: Sequence[Backbone] | None = None, context: Context | None = None) -> pd.DataFrame:
    """Return how a name is decided: every usage that was considered, in order, with the verdict on it.

    Parameters
    ----------
    name : str
    backbones : sequence of Backbone, optional
        NCBI Taxonomy alone by default.
    context : mapping of rank to name, optional

    Returns
    -------
    DataFrame
        One row a usage under ``step, backbone, looked_up, authorship, usage_status, scientific_name``, the seven ranks
        and ``verdict``; a lookup that finds nothing is a row, too. The last row is the result.

    Raises
    ------
    InputError
        If `context` has a key that is no rank, or there is no backbone.
    """
    unknown = sorted(set(context or {}) - set(RANKS))
    if unknown:
        raise InputError(f"context has no rank {', '.join(unknown)}; use {', '.join(RANKS)}")
    backbones = _or_ncbi(backbones)
    (given,) = read_contexts(pd.DataFrame([dict(context or {})], index=[0]))
    ((label, own),) = _labels([with_genus(name, given.get("genus", ""))]).values()
    given = {**own, **given}
    steps: list[dict] = []
    row = Decision(label, given, _asked(given, backbones), steps).row()
    verdict = f"{row['name_status']}: {row['reason'] or row['rule']}"
    result = {**row, "step": "result", "looked_up": name, "verdict": verdict}
    first = ["step", "backbone", "looked_up", "authorship", "usage_status", "scientific_name"]
    return pd.DataFrame([*steps, result], columns=[*first, *RANKS, "verdict"], dtype=object).fillna("")


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Count names by status (rows) and deepest known rank (columns, from species up; "none" last).

    Examples
    --------
    >>> table = pd.DataFrame({"name_status": ["accepted", "unresolved"], "rank": ["species", ""]})
    >>> int(summary(table).loc["accepted", "species"])
    1
    """
    counts = pd.crosstab(table["name_status"], table["rank"].replace("", "none"))
    return counts.reindex(index=list(STATUSES), columns=[*RANKS[::-1], "none"], fill_value=0)


def read_contexts(records: pd.DataFrame) -> list[dict[str, str]]:
    """Return what each record says of its ranks: a kingdom is one of `KINGDOMS`, a species a binomial, or not said."""
    columns = {}
    for rank in (rank for rank in RANKS if rank in records.columns):
        values = ["" if pd.isna(value) else clean_label(value) for value in records[rank]]
        distinct = sorted({value for value in values if value.casefold() not in NOT_SAID})
        names = _context_names(rank, distinct) if distinct else {}
        columns[rank] = [names.get(value, "") for value in values]
    if columns.get("species") and columns.get("genus"):
        pairs = zip(columns["genus"], columns["species"], strict=True)
        columns["species"] = [f"{genus} {name}" if genus and name.islower() else name for genus, name in pairs]
    if "species" in columns:
        columns["species"] = [name if name.count(" ") == 1 else "" for name in columns["species"]]
    rows = zip(*columns.values(), strict=True) if columns else [()] * len(records)
    return [{rank: value for rank, value in zip(columns, row, strict=True) if value} for row in rows]


def _context_names(rank: str, values: Sequence[str]) -> dict[str, str]:
    """Return the canonical name of each value of a rank, '' of what is none; an epithet as it is."""
    authors = pa.chunked_array([[""] * len(values)], pa.string())
    names = canonical_names(pa.chunked_array([values], pa.string()), authors).display.to_pylist()
    if rank == "kingdom":
        names = [kingdom_of(name) for name in names]
    if rank == "species":
        names = [v if v.isalpha() and v.islower() else name for v, name in zip(values, names, strict=True)]
    return dict(zip(values, names, strict=True))
