"""Which class an image belongs to, who is trained on, who is tested on, and which classes are never seen.

Takes the ids, sources and names of images, and the splits that were decided before: by the makers of a data set, by an
earlier catalog; returns a class and a split for each. Refuses fractions that leave no training images.
"""

from collections.abc import Collection
from hashlib import blake2b

import numpy as np
import pandas as pd

from ..config import SplitConfig
from ..errors import InputError
from ..sources.match import SPLIT_COLUMN
from ..taxonomy.names import clean_label

SPLITS = ("train", "val", "test", "heldout_species")
TRAINING = SPLITS[:2]  # all that training looks at
PUBLISHED = {
    **dict.fromkeys(("train", "train_small", "train_mini", "pretrain"), "train"),
    **dict.fromkeys(("val", "validation"), "val"),
    "test": "test",
    **dict.fromkeys(("key_unseen", "val_unseen", "test_unseen", "other_heldout"), "heldout_species"),  # BIOSCAN-5M
}
"""What the makers of data sets call their splits, and what it is here."""


def class_key(catalog: pd.DataFrame) -> pd.Series:
    """Return each image's class: the species where it is known, else the cleaned verbatim name.

    Two morphotypes of one order are two classes; one species under two names is one class. Behind a name that stops at
    its genus stands the family, or the kingdom: a Laelia may be a moth or an orchid. A table that has a column
    ``class_key`` keeps it.
    """
    if "class_key" in catalog:
        return catalog["class_key"]
    names = catalog["verbatim_name"]
    labels = names.map({name: clean_label(name) or name for name in names.unique()}).astype(object)
    group = catalog["family"].where(catalog["family"] != "", catalog["kingdom"])
    labels = labels.where(catalog["rank"] != "genus", labels + " (" + group + ")")
    is_species = (catalog["rank"] == "species") & (catalog["scientific_name"] != "")
    return catalog["scientific_name"].where(is_species, labels).astype(object).rename("class_key")


def usable(catalog: pd.DataFrame) -> pd.Series:
    """Return which images are not excluded, a bool Series."""
    return catalog["excluded"] == ""


def class_rows(catalog: pd.DataFrame) -> pd.DataFrame:
    """Return of each class the row of its first usable image, by ``image_id``; indexed by ``class_key``, sorted."""
    kept = catalog[usable(catalog)].sort_values("image_id")
    rows = kept.assign(class_key=class_key(kept)).drop_duplicates("class_key")
    return rows.set_index("class_key").sort_index()


def seeded_order(keys: pd.Series, seed: int) -> np.ndarray:
    """Return a pseudo-random number in [0, 2**64) per key (uint64) that depends on key and seed alone."""
    digests = (blake2b(f"{seed}:{key}".encode(), digest_size=8).digest() for key in keys)
    return np.fromiter((int.from_bytes(digest, "big") for digest in digests), np.uint64, len(keys))


def published_splits(raw: pd.DataFrame) -> pd.Series:
    """Return the splits that the makers of each source published.

    Parameters
    ----------
    raw : pd.DataFrame
        Of `sources.read`; its ``source_split``, if any, in the words of `PUBLISHED`.

    Returns
    -------
    pd.Series
        A name of `SPLITS` per row; '' where none was published, or where a source has one split only: a data set
        of the hub that was never split is called "train".
    """
    if SPLIT_COLUMN not in raw:
        return pd.Series("", index=raw.index, dtype=object)
    names = raw[SPLIT_COLUMN].str.lower().map(PUBLISHED)  # missing where it is another word
    return names.where(names.groupby(raw["source"]).transform("nunique") > 1).fillna("")


def split_images(table: pd.DataFrame, split: SplitConfig, seen: Collection[str] = ()) -> pd.Series:
    """Split images per source and class, and hold whole classes out.

    Of every source, ``round(heldout_fraction * n_classes)`` classes are held out; a class held out in one source is
    held out in all. Of the n images of another class, ``round(test_fraction * n)`` go to test (at least one of three
    or more), ``round(val_fraction * n)`` to val, and the rest, at least one, to train.

    Parameters
    ----------
    table : pd.DataFrame
        ``source, image_id, class_key``, one row an image; and ``split``, if some images are decided, '' for the others.
    split : SplitConfig
    seen : collection of str
        Classes that are not held out, beside those with a decided image in train, val or test.

    Returns
    -------
    pd.Series
        A name of `SPLITS` per row.

    Raises
    ------
    InputError
        If a fraction is outside [0, 1), or val and test together leave nothing to train on.

    Notes
    -----
    Classes and images are ranked by a hash of their key and the seed: the split does not depend on the order of the
    rows, nor on other classes' images. Classes of one image are for training only, and one class a source is always
    trained on. Where sources share held-out classes, a source may have more of them than its own share.

    Decided images keep their split, and count in no share. The other images of a class that is decided as held out
    are held out; an image decided as held out whose class is seen elsewhere is a test image.
    """
    check_fractions(split)
    decided = table.get("split", pd.Series("", index=table.index)).rename("split")
    seen = set(seen) | set(table.loc[decided.isin(SPLITS[:3]), "class_key"])
    heldout = set(table.loc[decided == SPLITS[3], "class_key"]) - seen
    heldout |= _heldout_classes(table[~table["class_key"].isin(seen | heldout)], split)
    result = decided.replace(SPLITS[3], "test").mask(table["class_key"].isin(heldout), SPLITS[3]).astype(object)
    rest = np.flatnonzero(result == "")
    group = table[["source", "class_key"]].iloc[rest].groupby(["source", "class_key"]).ngroup().to_numpy()
    image_id = table["image_id"].iloc[rest]
    draw = seeded_order(image_id, split.seed)
    is_tied = len(np.unique(draw)) < len(draw)
    order = np.lexsort((image_id.to_numpy(dtype=object), draw, group) if is_tied else (draw, group))
    n = np.bincount(group)  # images of each class, and where it starts in this order
    position = np.arange(len(order)) - np.repeat(np.cumsum(n) - n, n)
    n_test, n_val = (np.repeat(size, n) for size in _split_sizes(n, split))
    names = np.array(["train", "val", "test"], dtype=object)
    result.iloc[rest[order]] = names[(position < n_test + n_val).astype(np.int8) + (position < n_test)]
    return result


def check_fractions(split: SplitConfig) -> None:
    """Raise `InputError` for fractions that are not fractions."""
    for name in ("val_fraction", "test_fraction", "heldout_fraction"):
        if not 0 <= getattr(split, name) < 1:
            raise InputError(f"split.{name}={getattr(split, name)} is outside [0, 1); set a fraction such as 0.1")
    if split.val_fraction + split.test_fraction >= 1:
        raise InputError(
            "split.val_fraction + split.test_fraction leave nothing to train on; make their sum less than 1"
        )


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
    """Return the numbers of test and val images (int arrays) of classes with n images.

    Examples
    --------
    >>> n_test, n_val = _split_sizes(np.array([1, 2, 3, 20]), SplitConfig(val_fraction=0.1, test_fraction=0.2))
    >>> n_test.tolist(), n_val.tolist()
    ([0, 0, 1, 4], [0, 0, 0, 2])
    """
    least = (n >= 3) & (split.test_fraction > 0)
    n_test = np.maximum(np.rint(split.test_fraction * n).astype(int), least)
    n_test = np.minimum(n_test, n - 1)
    n_val = np.minimum(np.rint(split.val_fraction * n).astype(int), n - 1 - n_test)
    return n_test, n_val
