"""What has changed between two label sets: renames, splits, lumps, other ranks; and old answers among new candidates.

Takes two label sets, old and new, backbones that know synonyms, and what the user says; returns a table of changes, and
answers moved along it. Taxa are one where their names are, where a backbone accepts one for the other, where epithet,
family and common name agree, or where the user says so. An old answer is moved where it stays true whatever the
photograph shows; the others are listed with what remains true of them.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .. import RANKS
from ..taxonomy import resolve
from ..taxonomy.backbone import Backbone
from .calibrate import places
from .labels import LABEL, LabelSet, binomial

GONE, ADDED, SAME, MOVED, OTHER_RANK = "gone", "added", "same", "moved", "other rank"
RENAMED, SPLIT, LUMP, SEVERAL = "renamed", "split", "lump", "several to several"
_EVIDENCE = ("name", "given", "synonym", "epithet and common name")
_ANSWER = ["taxon", "rank", "common_name", *RANKS]
_ENDINGS = r"(?:us|a|um|is|e|er)$"  # of an epithet that follows the gender of its genus


def compare_labels(
    old: LabelSet,
    new: LabelSet,
    backbones: Sequence[Backbone] | None = None,
    links: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Tell what became of each taxon of a label set in another one.

    Parameters
    ----------
    backbones : sequence of Backbone, optional
        Of `taxonomy.open_backbones`: checklists with synonyms, asked of names that one set alone has. NCBI by default,
        which has few.
    links : DataFrame, optional
        ``old, new``: names of taxa that are one, or parts of one, as the user knows them.

    Returns
    -------
    DataFrame
        ``old, new`` (names, '' where there is none), ``change``, ``evidence`` (name, given, synonym, or "epithet and
        common name" in one family), and ``detail``: the highest rank that differs, old -> new. A row each pair of taxa
        that are linked, each old taxon that is gone, each new one without an old. `change` is one of same, moved
        (other taxa above it), renamed, other rank, split (one into several), lump (several into one), several to
        several, gone, added.
    """
    before, after = _taxa(old), _taxa(new)
    found = [_pairs(before, after, "key"), _given(before, after, links)]
    unshared = [taxa[~taxa.index.isin(found[0][side])] for side, taxa in (("old", before), ("new", after))]
    found += [_by_synonym(before, after, unshared, backbones)]
    by_epithet = _pairs(*unshared, "epithet")
    found += [by_epithet[~by_epithet["old"].duplicated(keep=False) & ~by_epithet["new"].duplicated(keep=False)]]
    pairs = pd.concat([each.assign(evidence=why) for each, why in zip(found, _EVIDENCE, strict=True)])
    pairs = pairs.drop_duplicates(["old", "new"]).sort_values(["old", "new"], ignore_index=True)
    rows = [pairs.assign(**_changes(pairs, before, after))]
    for side, taxa, change in (("old", before, GONE), ("new", after, ADDED)):
        alone = taxa.index[~taxa.index.isin(pairs[side])]
        rows.append(pd.DataFrame({side: alone, "change": change, "evidence": "", "detail": ""}))
    table = pd.concat(rows, ignore_index=True)
    for side, taxa in (("old", before), ("new", after)):
        table[side] = table[side].map(taxa["name"]).fillna("")
    return table[["old", "new", "change", "evidence", "detail"]]


def map_answers(answers: pd.DataFrame, old: LabelSet, new: LabelSet, changes: pd.DataFrame) -> pd.DataFrame:
    """Write old answers, of `identify` by `old`, with the taxa of new candidates, where that is exact.

    Returns
    -------
    DataFrame
        The same rows. ``taxon, rank, common_name`` and the ranks are those of `new` where the answer has one successor
        of its rank that holds all that it held, else ''. ``old_taxon`` is what was answered, ``change`` what happened
        to it, ``within`` the deepest new taxon that holds all its successors, which is true in any case. Choices and
        scores stay those of the old candidates.
    """
    asked = answers[["taxon", *RANKS]].fillna("").astype(str)
    distinct = asked.drop_duplicates(ignore_index=True)
    inside, called = places(distinct, old), _called(old.names)
    rows_of = pd.Series(range(len(new))).groupby(_called(new.names)).indices
    changes_of = changes.groupby("old").indices
    moved = {}
    for (taxon, *ranks), place in zip(distinct.to_numpy(), inside, strict=True):
        depth = max((d for d, name in enumerate(ranks) if name), default=-1)
        held = set(called[old.tree.codes[depth] == place[depth]] if depth >= 0 else [taxon] if taxon else [])
        of = changes.iloc[np.concatenate([changes_of.get(name, []) for name in held] or [[]]).astype(int)]
        rows = np.concatenate([rows_of.get(name, []) for name in set(of["new"])] or [[]]).astype(int)
        moved[(taxon, *ranks)] = _successor((taxon, ranks, depth), held == {taxon}, of["change"], rows, new)
    found = pd.DataFrame(
        [moved[row] for row in map(tuple, asked.to_numpy())], asked.index, [*_ANSWER, "change", "within"]
    )
    return answers.assign(old_taxon=asked["taxon"], **found)


def _taxa(labels: LabelSet) -> pd.DataFrame:
    """Return the taxa of a label set: ``name, depth``, the ranks, and the keys they are found by."""
    names = labels.names
    known = (names[list(RANKS)] != "").to_numpy()
    depth = np.where(known.any(axis=1), len(RANKS) - 1 - known[:, ::-1].argmax(axis=1), -1)
    taxa = names[[*RANKS, "common_name"]].assign(name=_called(names), depth=depth)
    taxa = taxa.drop_duplicates(["name", *RANKS], ignore_index=True)
    taxa["key"] = taxa["name"].str.casefold()
    stem = taxa["species"].str.rpartition(" ")[2].str.replace(_ENDINGS, "", regex=True)
    told = (stem != "") & (taxa["family"] != "") & (taxa["common_name"] != "")
    taxa["epithet"] = (taxa["family"] + " " + stem + " " + taxa["common_name"]).str.casefold().where(told, "")
    return taxa


def _pairs(before: pd.DataFrame, after: pd.DataFrame, key: str) -> pd.DataFrame:
    """Pair taxa with equal keys; of homonyms those of one kingdom, where there are."""
    one, other = before[[key, "kingdom"]].rename_axis("old"), after[[key, "kingdom"]].rename_axis("new")
    pairs = one[one[key] != ""].reset_index().merge(other.reset_index(), on=key)
    agree = pairs["kingdom_x"] == pairs["kingdom_y"]
    return pairs.loc[agree | ~agree.groupby(pairs[key]).transform("any"), ["old", "new"]]


def _given(before: pd.DataFrame, after: pd.DataFrame, links: pd.DataFrame | None) -> pd.DataFrame:
    """Pair taxa as the user says."""
    links = pd.DataFrame(columns=["old", "new"], dtype=object) if links is None else links
    texts = links[["old", "new"]].astype(str).apply(lambda column: column.str.strip().str.casefold())
    found = texts.merge(before["key"].rename_axis("o").reset_index(), left_on="old", right_on="key")
    found = found.merge(after["key"].rename_axis("n").reset_index(), left_on="new", right_on="key")
    return found[["o", "n"]].set_axis(["old", "new"], axis=1)


def _by_synonym(before: pd.DataFrame, after: pd.DataFrame, unshared: list, backbones: Sequence | None) -> pd.DataFrame:
    """Pair taxa of which one is accepted for the other; only names that one set alone has are asked."""
    asked = [_accepted(taxa, backbones) for taxa in unshared]
    sides = [taxa.assign(accepted=taxa["key"]) for taxa in (before, after)]
    for side, accepted in zip(sides, asked, strict=True):
        side.loc[accepted.index, "accepted"] = accepted
    pairs = _pairs(*sides, "accepted")
    new = pairs["old"].isin(asked[0].index) | pairs["new"].isin(asked[1].index)
    return pairs[new]


def _accepted(taxa: pd.DataFrame, backbones: Sequence | None) -> pd.Series:
    """Return the accepted names of taxa, of those that a backbone knows at their own rank."""
    names = taxa.loc[taxa["depth"] >= 0, "name"]
    if names.empty:
        return pd.Series(dtype=object)
    found = resolve(list(names.unique()), backbones).set_index("verbatim_name").reindex(names)
    own = np.array(RANKS, dtype=object)[taxa.loc[names.index, "depth"]]
    clear = found["name_status"].isin(("accepted", "synonym")) & (found["rank"] == own)
    return pd.Series(found["scientific_name"].str.casefold().to_numpy(), names.index, dtype=object)[clear.to_numpy()]


def _changes(pairs: pd.DataFrame, before: pd.DataFrame, after: pd.DataFrame) -> dict:
    """Tell of linked taxa what happened, and the highest rank that differs."""
    n, m = len(before), len(after)
    graph = coo_matrix((np.ones(len(pairs)), (pairs["old"], n + pairs["new"])), (n + m, n + m))
    part = connected_components(graph, directed=False)[1]
    n_old, n_new = (
        np.bincount(side, minlength=part.max(initial=0) + 1)[part[pairs["old"]]] for side in np.split(part, [n])
    )
    one, other = before.loc[pairs["old"]], after.loc[pairs["new"]]
    differs = one[list(RANKS)].to_numpy() != other[list(RANKS)].to_numpy()
    highest = differs.argmax(axis=1)
    each = np.arange(len(pairs))
    a, b = (table[list(RANKS)].to_numpy()[each, highest] for table in (one, other))
    told = [f"{RANKS[d]}: {x or '-'} -> {y or '-'}" for d, x, y in zip(highest, a, b, strict=True)]
    same_name = one["key"].to_numpy() == other["key"].to_numpy()
    alone = np.select(
        [one["depth"].to_numpy() != other["depth"].to_numpy(), ~same_name, differs.any(axis=1)],
        [OTHER_RANK, RENAMED, MOVED],
        SAME,
    )
    single = [(n_old > 1) & (n_new > 1), n_new > 1, n_old > 1]
    change = np.select(single, [SEVERAL, SPLIT, LUMP], alone)
    return {"change": change, "detail": np.where(differs.any(axis=1), told, "")}


def _successor(answer: tuple, is_candidate: bool, kinds: pd.Series, rows: np.ndarray, new: LabelSet) -> tuple:
    """Return `_ANSWER`, ``change`` and ``within`` of one answer whose successors are `rows` of the new candidates."""
    (taxon, ranks, depth), nothing = answer, ("",) * len(_ANSWER)
    if not taxon or not len(rows):
        return (*nothing, GONE if taxon else "", "")
    lineages = new.names[list(RANKS)].iloc[rows]
    shared = ((lineages == lineages.iloc[0]).all() & (lineages.iloc[0] != "")).to_numpy()
    common = np.flatnonzero(shared[: None if is_candidate else depth + 1])
    now = common[-1] if len(common) else -1
    found = new.taxa(rows[:1], np.array([now])).iloc[0]
    told = found["taxon"] if now >= 0 or len(rows) == 1 else ""
    lost = (kinds == GONE).any() and told != taxon
    change = RENAMED if told != taxon else SAME if list(found[list(RANKS)]) == ranks else MOVED
    if told and now >= depth and not lost:
        return (*found[_ANSWER], kinds.iloc[0] if is_candidate else change, told)
    parted = next((kind for kind in (SEVERAL, SPLIT) if (kinds == kind).any()), MOVED)
    return (*nothing, GONE if lost else parted, told)


def _called(names: pd.DataFrame) -> np.ndarray:
    """Return what candidates are called: the deepest taxon of each, species with their genus, else the label."""
    whole = names[list(RANKS)].assign(species=binomial(names)).where(lambda table: table != "")
    return whole.ffill(axis=1)["species"].fillna(names[LABEL]).to_numpy()
