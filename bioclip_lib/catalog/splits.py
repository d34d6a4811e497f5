"""Who is trained on, who is tested on, and which classes are never seen.

Takes the ids, sources, classes and groups of images, and the splits that were decided before: by the makers of a data
set, by an earlier catalog; returns a split for each.
"""

from collections.abc import Collection
from hashlib import blake2b

import numpy as np
import pandas as pd

from ..config import SplitConfig
from ..sources.columns import PUBLISHED, SPLIT_COLUMN
from .extend import decided_splits, match_earlier

SPLITS = ("train", "val", "test", "heldout_species")
_AT_ONCE = 100_000  # keys as text in memory
TRAINING = SPLITS[:2]  # all that training looks at


def usable(catalog: pd.DataFrame) -> pd.Series:
    """Return which images are not excluded, a bool Series."""
    return catalog["excluded"] == ""


def class_rows(catalog: pd.DataFrame) -> pd.DataFrame:
    """Return of each class the row of its first usable image, by ``image_id``; indexed by ``class_key``, sorted."""
    kept = catalog[usable(catalog)].sort_values("image_id")
    return kept.drop_duplicates("class_key").set_index("class_key").sort_index()


def seeded_order(keys: pd.Series, seed: int) -> np.ndarray:
    """Return a pseudo-random number in [0, 2**64) per key (uint64) that depends on key and seed alone."""
    numbers = np.empty(len(keys), np.uint64)
    for start in range(0, len(keys), _AT_ONCE):
        part = keys.iloc[start : start + _AT_ONCE].to_numpy(object)
        digests = b"".join(blake2b(f"{seed}:{key}".encode(), digest_size=8).digest() for key in part)
        numbers[start : start + len(part)] = np.frombuffer(digests, ">u8")
    return numbers


def group_keys(table: pd.DataFrame) -> pd.Series:
    """Return what may never be on two sides: source and group as one text, the ``image_id`` where there is no group."""
    if "group" not in table or (table["group"] == "").all():
        return table["image_id"]
    return table["image_id"].where(table["group"] == "", table["source"] + "\x1f" + table["group"])


def published_splits(raw: pd.DataFrame) -> pd.Series:
    """Return the splits that the makers of each source published, '' where they did not.

    A source with one split only was never split: so a data set of the hub that is called "train".
    """
    if SPLIT_COLUMN not in raw:
        return pd.Series("", index=raw.index, dtype=object)
    words = {word: PUBLISHED.get(word.lower()) or None for word in raw[SPLIT_COLUMN].unique()}
    names = raw[SPLIT_COLUMN].map(words)  # missing where it is another word
    return names.where(names.groupby(raw["source"]).transform("nunique") > 1).fillna("")


def assign_splits(catalog: pd.DataFrame, split: SplitConfig, earlier: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return a copy with ``split`` set, '' on excluded rows: `split_images` on the usable ones.

    Images of a catalog that this one extends keep their split, its held-out classes stay held out, in new sources too,
    its groups keep their side; this goes before published splits, which stay.
    """
    if earlier is not None and "earlier_row" not in catalog:
        catalog = catalog.assign(earlier_row=match_earlier(catalog, earlier))
    columns = ["source", "image_id", "split", "class_key", "group", "earlier_row"]
    kept, seen = usable(catalog), set()
    table = catalog.loc[kept, [column for column in columns if column in catalog]]
    if earlier is not None:
        table["split"], seen = decided_splits(table, earlier)
    names = np.full(len(catalog), "", dtype=object)
    names[kept] = split_images(table.reset_index(drop=True), split, seen)
    return catalog.drop(columns="earlier_row", errors="ignore").assign(split=names)


def split_images(table: pd.DataFrame, split: SplitConfig, seen: Collection[str] = ()) -> pd.Series:
    """Split images per source and class, and hold whole classes out; return a name of `SPLITS` per row.

    Of every source, ``round(heldout_fraction * n_classes)`` classes are held out, in all sources. Of the n groups of
    another class (an image of no group is one by itself) ``round(test_fraction * n)`` go to test (at least one of three
    or more), ``round(val_fraction * n)`` to val, the rest, at least one, to train. Classes and groups are ranked by a
    hash of their key and the seed: neither the order of the rows nor other classes' images move any.

    Decided images (``split`` not '') keep their split, and the others of their group follow them. Classes `seen`, and
    those with a decided image in train, val or test, are not held out: an image decided so is then a test image, and
    so are those whose group shows a held-out class. A group of several classes counts for the one of most of its
    images; a class that is left without training images thereby gets one of its groups.
    """
    decided = table.get("split", pd.Series("", index=table.index)).rename("split")
    key, unit = table["class_key"], group_keys(table)
    has_groups = "group" in table and (table["group"] != "").any()
    seen = set(seen) | set(key[decided.isin(SPLITS[:3])])
    heldout = set(key[decided == "heldout_species"]) - seen
    bound = set(key[unit.isin(unit[decided.isin(TRAINING)])]) if has_groups else set()  # a sister is trained on
    heldout |= _heldout_classes(table[~key.isin(seen | heldout | bound)], split)
    result = decided.replace("heldout_species", "test").mask(key.isin(heldout), "heldout_species").astype(object)
    if has_groups:
        result = result.where(result != "", _sides(result, unit))
    rest = table.assign(unit=unit).loc[result == "", ["source", "class_key", "unit"]]
    homes = _homes(rest) if has_groups else rest
    drawn = _draw_splits(homes, split)
    if not has_groups:
        result[rest.index] = drawn
        return result
    result[rest.index] = rest["unit"].map(dict(zip(homes["unit"], drawn, strict=True)))
    trained = (result == "train").groupby([table["source"], key]).transform("any")
    rescued = _first_groups(rest[~trained[rest.index]], split.seed)
    result[rest.index[rest["unit"].isin(rescued)]] = "train"
    return result


def _sides(result: pd.Series, unit: pd.Series) -> pd.Series:
    """Return the side that a group's decided images are on, the first of several; '' where none is decided."""
    order = result.map({"train": 0, "val": 1, "test": 2, "heldout_species": 2})
    return order.groupby(unit).transform("min").map(dict(enumerate(SPLITS[:3]))).fillna("")


def _homes(rows: pd.DataFrame) -> pd.DataFrame:
    """Return each group once, under the class of most of its images."""
    sizes = rows.groupby(["source", "class_key", "unit"]).size().reset_index(name="n")
    return sizes.sort_values(["n", "class_key"], ascending=[False, True]).drop_duplicates("unit")


def _first_groups(rows: pd.DataFrame, seed: int) -> pd.Series:
    """Return the first group of each class in the seeded order."""
    ranked = rows.assign(draw=seeded_order(rows["unit"], seed)).sort_values(["draw", "unit"])
    return ranked.drop_duplicates(["source", "class_key"])["unit"]


def _draw_splits(units: pd.DataFrame, split: SplitConfig) -> np.ndarray:
    """Return train, val or test for each unit of the classes of each source."""
    group = units.groupby(["source", "class_key"]).ngroup().to_numpy()
    draw = seeded_order(units["unit"], split.seed)
    is_tied = len(np.unique(draw)) < len(draw)
    order = np.lexsort((units["unit"].to_numpy(dtype=object), draw, group) if is_tied else (draw, group))
    n = np.bincount(group)  # units of each class, and where it starts in this order
    position = np.arange(len(order)) - np.repeat(np.cumsum(n) - n, n)
    n_test, n_val = (np.repeat(size, n) for size in _split_sizes(n, split))
    result, names = np.empty(len(order), object), np.array(["train", "val", "test"], dtype=object)
    result[order] = names[(position < n_test + n_val).astype(np.int8) + (position < n_test)]
    return result


def _heldout_classes(table: pd.DataFrame, split: SplitConfig) -> set[str]:
    """Choose the held-out classes of every source among its undecided ones; a class of a single image is never one."""
    sizes = table["class_key"].value_counts()
    chosen: set[str] = set()
    for _, keys in table.groupby("source")["class_key"]:
        classes = pd.Series(sorted(keys.unique()), dtype=object)
        n_heldout = min(round(split.heldout_fraction * len(classes)), len(classes) - 1)
        ranked = classes[np.argsort(seeded_order(classes, split.seed), kind="stable")]
        chosen.update(ranked[ranked.map(sizes) > 1][:n_heldout])
    return chosen


def _split_sizes(n: np.ndarray, split: SplitConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of test and val units (int arrays) of classes with n units."""
    least = (n >= 3) & (split.test_fraction > 0)
    n_test = np.maximum(np.rint(split.test_fraction * n).astype(int), least)
    n_test = np.minimum(n_test, n - 1)
    n_val = np.minimum(np.rint(split.val_fraction * n).astype(int), n - 1 - n_test)
    return n_test, n_val
