"""A catalog that extends an earlier one: no image that was there moves, no class changes its side.

Takes a catalog and the earlier one; returns which rows were decided then, their exclusions, and the splits that follow
for all others. Refuses an earlier catalog of other images, and classes that names now join across the held-out line.
"""

import pandas as pd

from ..errors import InputError
from .splits import class_key, usable


def is_decided(catalog: pd.DataFrame, earlier: pd.DataFrame | None) -> pd.Series:
    """Return which images the earlier catalog decided on, a bool Series: all of its own but those it could not read."""
    return catalog["image_id"].isin(() if earlier is None else earlier.loc[earlier["width"] > 0, "image_id"])


def keep_exclusions(catalog: pd.DataFrame, earlier: pd.DataFrame) -> pd.DataFrame:
    """Exclude what the earlier catalog excluded, with its reasons.

    Parameters
    ----------
    catalog : pd.DataFrame
        Before duplicates are marked.
    earlier : pd.DataFrame
        The catalog that it extends.

    Returns
    -------
    pd.DataFrame
        A copy. An image that cannot be read any more is excluded for that; one that could not be read then is new.

    Raises
    ------
    InputError
        If none of the earlier images is here.
    """
    decided = is_decided(catalog, earlier)
    if not decided.any():
        raise InputError(
            f"data.extends names a catalog of {len(earlier)} images and none of them is here; give the earlier "
            "photographs and the new ones together (a folder of sets), or leave data.extends out"
        )
    then = catalog["image_id"].map(earlier.set_index("image_id")["excluded"])
    return catalog.assign(excluded=catalog["excluded"].mask(decided & (catalog["width"] > 0), then))


def decided_splits(catalog: pd.DataFrame, earlier: pd.DataFrame) -> tuple[pd.Series, set[str]]:
    """Return what an earlier catalog decides of the splits.

    Parameters
    ----------
    catalog : pd.DataFrame
        Usable images only; ``split`` as published, or ''.
    earlier : pd.DataFrame

    Returns
    -------
    splits : pd.Series
        The earlier split of an earlier image; ``heldout_species`` for every image of a class held out then; else
        ``split`` as it is.
    seen : set of str
        The classes that were not held out.

    Raises
    ------
    InputError
        If names that now stand for one class were held out and trained on.
    """
    old = earlier[usable(earlier)]
    own = catalog["image_id"].map(old.set_index("image_id")["split"]).fillna("")
    key = class_key(catalog)
    held, seen = set(), set()
    for keys, splits in ((class_key(old), old["split"]), (key, own)):  # names may be resolved otherwise than then
        held |= set(keys[splits == "heldout_species"])
        seen |= set(keys[splits.isin(("train", "val", "test"))])
    both = sorted(held & seen & set(key))
    if both:
        raise InputError(
            f"{len(both)} classes join names that the earlier catalog held out and trained on: {', '.join(both[:5])}; "
            "keep its names apart in a names CSV (NAMES=...), or leave data.extends out"
        )
    return own.where(own != "", catalog["split"].mask(key.isin(held), "heldout_species")), seen
