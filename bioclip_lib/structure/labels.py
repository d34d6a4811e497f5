"""Photographs that look mislabelled: what the others say of each, told through the tree, and the corrected table.

Takes features, labels and groups, or a run; returns tables. Features must be of a model that was not trained on these
labels, or not with these images. Refuses corrections of images that the catalog does not have.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from .. import RANKS
from ..catalog.splits import class_rows, usable
from ..catalog.table import read_catalog
from ..errors import InputError
from ..evaluation.tasks import unit_rows
from ..files.archives import split_location
from ..files.crops import split_crop
from ..model.features import read_features
from ..run import Run, atomic
from ..taxonomy.ranks import lineage_codes

MAX_IMAGES = 50_000  # that learn from each other
CLEAR, AHEAD = 0.75, 0.4  # shares of the score that a class's members usually have
_FENCE = 3.0  # interquartile ranges below the lower quartile: far out (Tukey 1977)
_TOLD = 0.5  # share of a class's images that score highest for it, before it can clearly claim others
_BLOCK = 2048
_SAID = ["image_id", "file", "label", "suggested", "shared", "own", "other", "clear", "odd", "like", "like_file"]


def suspicious_labels(features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> pd.DataFrame:
    """Find the images that the others would give another label, and those that are like no other image.

    Parameters
    ----------
    features : ndarray of shape (n, D)
        Of a model that was not trained on these labels, or not with these images.
    labels, groups : ndarray of shape (n,)
        Class and group of each image. Those of one group (an observation, a burst) are no evidence for each other; ''
        is no group.

    Returns
    -------
    DataFrame
        A row an image that scores higher for another class than for its own, or is odd: ``row`` (of the image),
        ``suggested`` (the class), ``own`` and ``other`` (the scores, about 0 to 1), ``neighbour`` (row of the nearest
        image of the suggested class), ``clear``: the score is at least `CLEAR` of what the suggested class's members
        have in the mean, and ahead of its own by `AHEAD` of it; ``odd``: its nearest image is farther than those of
        nearly all (Tukey's outer fence). The clear ones first, then the odd ones, then by the difference.

    Notes
    -----
    The scores are those of a ridge regression of the classes on centred features of unit length, from which the image
    and its group are left out (exact, by the hat matrix). It is fitted twice: what is clear the first time does not
    vouch for others the second time. An image whose class has no other group cannot be judged. Of 2,000 birds with 5 %
    of the labels moved to a sister species (3 draws), by EfficientNet-Lite0: 96 % of these were listed and 72 % clear,
    69 % of the clear ones were such, and 71 % of the first hundred (cleanlab 2.9 with a logistic regression, five
    folds, one draw: 61 %). With none moved 27 images were clear: birds have doubles.
    """
    codes, names = pd.factorize(np.asarray(labels))
    if len(names) < 2:
        return pd.DataFrame(columns=["row", "suggested", "own", "other", "neighbour", "clear", "odd"])
    values, units = centred(features), units_of(groups)
    vouching = np.ones(len(codes), bool)
    for _ in range(2):
        scores = left_out_scores(values, codes, units, vouching)
        own, suggested, other, clear = _compared(scores, codes)
        judged = _judged(codes, units, vouching)
        clear &= judged
        vouching = ~clear
    odd = _nearest_cosine(values, units)
    low, high = np.quantile(odd, [0.25, 0.75])
    odd = odd < low - _FENCE * (high - low)
    row = np.flatnonzero(((other > own) & judged) | odd)
    neighbour = [_nearest_of(values, i, codes == suggested[i], units) for i in row]
    found = {"row": row, "suggested": names[suggested[row]], "own": own[row], "other": other[row]}
    table = pd.DataFrame({**found, "neighbour": neighbour, "clear": clear[row], "odd": odd[row]})
    order = np.lexsort((table["own"] - table["other"], ~table["odd"], ~table["clear"]))
    return table.iloc[order].reset_index(drop=True)


def centred(features: np.ndarray) -> np.ndarray:
    """Centre features (n, D) and scale each row to unit length, float32."""
    features = np.asarray(features, np.float32)
    return unit_rows(features - features.mean(axis=0, dtype=np.float64).astype(np.float32))


def units_of(groups: np.ndarray) -> np.ndarray:
    """Number what is left out together: the groups, and each image that has none, (n,)."""
    own = np.array([f"\0{i}" for i in range(len(groups))], dtype=object)
    return np.unique(np.where(groups == "", own, groups).astype(str), return_inverse=True)[1]


def left_out_scores(
    values: np.ndarray, codes: np.ndarray, units: np.ndarray, vouching: np.ndarray | None = None
) -> np.ndarray:
    """Score images (n, D) for classes (n, C) by ridge regression (penalty 1) on other units that vouch, from 0 on."""
    n, weight = len(codes), np.ones(len(codes)) if vouching is None else vouching.astype(float)
    x = np.asarray(values, np.float64)
    weighted = x * weight[:, None]
    sums = np.zeros((codes.max() + 1, x.shape[1]))
    np.add.at(sums, codes, weighted)  # Y'WX: (C, D)
    inverse = np.linalg.inv(weighted.T @ x + np.eye(x.shape[1]))  # (D, D)
    hat = x @ inverse  # (n, D) @ (D, D) -> (n, D)
    scores = hat @ sums.T  # (n, D) @ (D, C) -> (n, C)
    order = np.argsort(units, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(units[order])) + 1) if n else ():
        own = hat[rows] @ weighted[rows].T  # (g, D) @ (D, g): what the unit's labels give the unit
        truth = np.zeros((len(rows), scores.shape[1]))
        truth[np.arange(len(rows)), codes[rows]] = 1
        scores[rows] = np.linalg.solve(np.eye(len(rows)) - own, scores[rows] - own @ truth)
    return scores


def _judged(codes: np.ndarray, units: np.ndarray, vouching: np.ndarray) -> np.ndarray:
    """Tell which images have one of their class in another unit that vouches for it, (n,)."""
    pair = codes.astype(np.int64) * (units.max() + 1) + units
    there = np.unique(pair[vouching])
    n_units = np.bincount(there // (units.max() + 1), minlength=codes.max() + 1)
    return n_units[codes] > np.isin(pair, there)


def _compared(scores: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return of each image the score of its own class, the best other class, its score, and whether that is clear."""
    images = np.arange(len(codes))
    own = scores[images, codes]
    usual = np.bincount(codes, own) / np.bincount(codes)
    scores[images, codes] = -np.inf
    suggested = scores.argmax(axis=1)
    other = scores[images, suggested]
    clear = (other >= CLEAR * usual[suggested]) & (other - own >= AHEAD * usual[suggested]) & (other > own)
    clear &= (np.bincount(codes, own > other) / np.bincount(codes) >= _TOLD)[suggested]  # whose score means something
    return own, suggested, other, clear


def _nearest_cosine(values: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Return the cosine of each image to its nearest of another unit, (n,)."""
    nearest = np.full(len(values), -1.0)
    for start in range(0, len(values), _BLOCK):
        near = values[start : start + _BLOCK] @ values.T  # (b, D) @ (D, n) -> (b, n)
        near[units[start : start + _BLOCK, None] == units[None, :]] = -1
        nearest[start : start + _BLOCK] = near.max(axis=1)
    return nearest


def _nearest_of(values: np.ndarray, row: int, members: np.ndarray, units: np.ndarray) -> int:
    """Return the row of the nearest image among the members, of another unit where there is one."""
    others = np.flatnonzero(members & (units != units[row]))
    others = others if len(others) else np.flatnonzero(members)
    return int(others[(values[others] @ values[row]).argmax()])


def judged_images(run: Run, table: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the rows by ``image_id``, and features of the pretrained tower, else of unseen images: a seeded part."""
    paths = sorted(run.embeddings.glob("trunk_*.parquet")) or sorted(run.embeddings.glob("trained.parquet"))
    parts = [read_features(path)[:2] for path in paths]
    rows = table.set_index("image_id").reindex([image_id for ids, _ in parts for image_id in ids])
    kept = np.flatnonzero((rows["excluded"] == "").to_numpy())
    if len(kept) > MAX_IMAGES:
        kept = np.sort(np.random.default_rng(0).choice(kept, MAX_IMAGES, replace=False))
    return rows.iloc[kept], np.concatenate([values for _, values in parts])[kept] if parts else np.zeros((0, 1))


def find_wrong_labels(run: Run, table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """List the photographs of a run that look mislabelled, by features of a pretrained tower, or of the trained model.

    Returns
    -------
    suspicious : DataFrame
        ``image_id, file, label, suggested, shared`` (the deepest rank that both share, '' where none), ``own, other,
        clear, odd`` as of `suspicious_labels`, and the nearest image of the suggested class, ``like, like_file``.
    n_judged : int
        How many were judged: at most 50,000, a seeded part.
    """
    rows, features = judged_images(run, table)
    found = suspicious_labels(features, rows["class_key"].to_numpy(str), rows["group"].to_numpy(str))
    if found.empty:
        return pd.DataFrame(columns=_SAID), len(rows)
    image, like = (rows.iloc[found[name].to_numpy(int)] for name in ("row", "neighbour"))
    label, suggested = image["class_key"].to_numpy(str), found["suggested"].to_numpy(str)
    said = {"image_id": image.index, "file": image["source_id"].to_numpy(), "label": label, "suggested": suggested}
    said |= {"shared": deepest_shared(class_rows(table), label, suggested)}
    said |= {name: found[name].round(3) for name in ("own", "other")} | {"clear": found["clear"], "odd": found["odd"]}
    return pd.DataFrame({**said, "like": like.index, "like_file": like["source_id"].to_numpy()}), len(rows)


def deepest_shared(classes: pd.DataFrame, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the deepest rank that classes share, '' where none; by the ranks of both, indexed by class."""
    codes = lineage_codes(classes)
    a, b = (codes[classes.index.get_indexer(names)] for names in (one, other))
    shared = (a == b) & (a > 0)
    depth = np.where(shared, np.arange(1, len(RANKS) + 1), 0).max(axis=1, initial=0)
    return np.array(["", *RANKS], dtype=object)[depth]


def corrected_table(table: pd.DataFrame, corrections: pd.DataFrame) -> pd.DataFrame:
    """Return the photographs as a table that the next run reads in place of the folder, with other labels for some.

    Parameters
    ----------
    corrections : DataFrame
        ``image_id`` and ``label``: a class of the catalog, any other name, or '' to leave the photograph out.

    Returns
    -------
    DataFrame
        A row an image, those that this run left out among them, in the catalog's order: ``path, class_name, source,
        group, license, rights_holder, source_url``, ``kingdom`` to ``family`` and ``scientific_name`` of the class that
        it has now (they tell its name from others; blank them where you write another ``class_name`` by hand), and
        ``label_was``, '' where nothing changed. Refuses an image that is not in the catalog or is given two labels, and
        corrections where photographs lie in archives or are boxes.
    """
    if not {"image_id", "label"} <= set(corrections):
        raise InputError(f"corrections: found {', '.join(corrections)}; give the columns image_id and label")
    labels = corrections[["image_id", "label"]].fillna("").drop_duplicates()
    unknown = labels.loc[~labels["image_id"].isin(table["image_id"]), "image_id"]
    twice = labels.loc[labels["image_id"].duplicated(), "image_id"]
    if len(unknown) or len(twice):
        what = f"{unknown.iloc[0]} is not in the catalog" if len(unknown) else f"{twice.iloc[0]} has two labels"
        raise InputError(f"corrections: {what}; take image_id from tables/suspicious.csv and one label an image")
    inside = table.loc[table["location"].map(lambda place: bool(split_crop(place)[1] or split_location(place)))]
    if len(inside) and len(labels):  # where nothing is corrected, the run is read as it was
        raise InputError(
            f"{inside['location'].iloc[0]} lies in an archive or is a box; a table of paths cannot name it: unpack the "
            "archive or write the crops, run again, and correct that run"
        )
    name_of = table[usable(table)].drop_duplicates("class_key").set_index("class_key")["verbatim_name"]
    given = labels.set_index("image_id")["label"].map(lambda label: name_of.get(label, label))
    now = table["image_id"].map(given)
    names = table["verbatim_name"].where(now.isna(), now)
    columns = table[["source", "group", "license", "rights_holder", "source_url"]]
    known = class_rows(table)
    said = known[list(RANKS[:5])].assign(scientific_name=known["scientific_name"].where(known["rank"] == "species", ""))
    key = table["class_key"].where(now.isna(), table["image_id"].map(labels.set_index("image_id")["label"]))
    columns = columns.join(said.reindex(key).fillna("").set_axis(table.index))  # what told its name from homonyms
    result = columns.assign(label_was=table["verbatim_name"].where(names != table["verbatim_name"], ""))
    result.insert(0, "class_name", names)
    result.insert(0, "path", table["location"].to_numpy())
    return result


def write_corrected(run: Run, corrections: pd.DataFrame) -> Path:
    """Write `corrected_table` as ``<run>/photographs.csv``, which ``PHOTOS=`` takes; return its path."""
    path = run.root / "photographs.csv"
    table = corrected_table(read_catalog(run.catalog), corrections)
    with atomic(path) as tmp:
        table.to_csv(tmp, index=False)
    return path
