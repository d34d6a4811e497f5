"""Which class an image belongs to, who is trained on, who is tested on, and which classes are never seen.

Takes the ids, sources and names of images; returns a class and a split for each. Refuses fractions that leave no
training images.
"""

from hashlib import blake2b

import numpy as np
import pandas as pd

from .config import SplitConfig
from .errors import InputError
from .names import clean_label

SPLITS = ("train", "val", "test", "heldout_species")


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


def seeded_order(keys: pd.Series, seed: int) -> np.ndarray:
    """Return a pseudo-random number in [0, 2**64) per key (uint64) that depends on key and seed alone."""
    return np.array(
        [int.from_bytes(blake2b(f"{seed}:{key}".encode(), digest_size=8).digest(), "big") for key in keys],
        dtype=np.uint64,
    )


def split_images(table: pd.DataFrame, split: SplitConfig) -> pd.Series:
    """Split images per source and class, and hold whole classes out.

    Of every source, ``round(heldout_fraction * n_classes)`` classes are held out; a class held out in one source is
    held out in all. Of the n images of another class, ``round(test_fraction * n)`` go to test (at least one of three
    or more), ``round(val_fraction * n)`` to val, and the rest, at least one, to train.

    Parameters
    ----------
    table : pd.DataFrame
        ``source, image_id, class_key``, one row an image.
    split : SplitConfig

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
    """
    _check_fractions(split)
    heldout = table["class_key"].isin(_heldout_classes(table, split))
    seen = table[~heldout].assign(draw=seeded_order(table.loc[~heldout, "image_id"], split.seed))
    groups = seen.sort_values(["draw", "image_id"]).groupby(["source", "class_key"])
    position, n = groups.cumcount(), groups["draw"].transform("size")
    n_test, n_val = _split_sizes(n.to_numpy(), split)
    names = np.select([position < n_test, position < n_test + n_val], ["test", "val"], "train")
    result = pd.Series("heldout_species", index=table.index, dtype=object, name="split")
    result[position.index] = names
    return result


def _check_fractions(split: SplitConfig) -> None:
    """Refuse fractions that are not fractions."""
    for name in ("val_fraction", "test_fraction", "heldout_fraction"):
        if not 0 <= getattr(split, name) < 1:
            raise InputError(f"split.{name}={getattr(split, name)} is outside [0, 1); set a fraction such as 0.1")
    if split.val_fraction + split.test_fraction >= 1:
        raise InputError(
            "split.val_fraction + split.test_fraction leave nothing to train on; make their sum less than 1"
        )


def _heldout_classes(table: pd.DataFrame, split: SplitConfig) -> set[str]:
    """Choose the held-out classes of every source; a class of a single image is never one."""
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
