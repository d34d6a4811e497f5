"""A catalog that extends an earlier one: no image that was there moves, no class or group changes its side.

Takes a catalog and the earlier one; returns which rows were there then, their exclusions, and the splits that follow
for all others. Refuses an earlier catalog of other images, and classes that names now join across the held-out line.
"""

import numpy as np
import pandas as pd

from ..errors import InputError


def match_earlier(catalog: pd.DataFrame, earlier: pd.DataFrame) -> pd.Series:
    """Return the position of each image in an earlier catalog, -1 where it is new: known by content, else by id.

    What could not be read then is new. Of k copies of one file as many are known as were there, by the order of ids.
    """
    known = earlier[["image_id", "sha256"]].set_axis(range(len(earlier)))[earlier["width"].to_numpy() > 0]
    known, rows = known.sort_values("image_id"), catalog[["image_id", "sha256"]]
    position = pd.Series(-1, index=catalog.index)
    for keys in (["image_id", "sha256"], ["sha256"], ["image_id"]):
        waiting, left = rows[position < 0], known.drop(index=position[position >= 0])
        if keys == ["image_id"]:  # of another content than any that was there
            waiting = waiting[~waiting["sha256"].isin(known["sha256"])]
        waiting = waiting[waiting[keys[0]].isin(left[keys[0]])].sort_values("image_id")
        pairs = _numbered(waiting, keys).merge(_numbered(left, keys), on=[*keys, "copy"])
        position[pairs["row_x"]] = pairs["row_y"].to_numpy()
    if (position < 0).all():
        raise InputError(
            f"data.extends names a catalog of {len(earlier)} images and none of them is here; give the earlier "
            "photographs and the new ones together (a folder of sets), or leave data.extends out"
        )
    return position


def _numbered(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the keys of rows, the number of each among its equals, and its index as ``row``."""
    return rows[keys].assign(copy=rows.groupby(keys).cumcount(), row=rows.index)


def keep_exclusions(catalog: pd.DataFrame, earlier: pd.DataFrame) -> pd.DataFrame:
    """Exclude what the earlier catalog excluded, with its reasons; what cannot be read any more is excluded for that.

    ``earlier_row`` is the position of `match_earlier`. Ids in a reason are those that the images have now.
    """
    row = catalog["earlier_row"].to_numpy()
    known = row >= 0
    now = pd.Series(catalog["image_id"].to_numpy()[known], index=earlier["image_id"].to_numpy()[row[known]])
    now = now[now.index != now]  # only moved ids are written anew
    reasons = earlier["excluded"].str.replace(r"(?<=duplicate of )\w+$", lambda m: now.get(m[0], m[0]), regex=True)
    then = pd.Series(reasons.to_numpy()[row], index=catalog.index)
    return catalog.assign(excluded=catalog["excluded"].mask(known & (catalog["width"] > 0), then))


def decided_splits(catalog: pd.DataFrame, earlier: pd.DataFrame) -> tuple[pd.Series, set[str]]:
    """Return the splits of usable images that an earlier catalog decides, and the classes that it did not hold out.

    An earlier image keeps its split; each image of a class held out then is held out; the others keep ``split``.
    """
    old = earlier["excluded"].to_numpy() == ""
    row = catalog["earlier_row"].to_numpy()
    splits = np.where(old[row] & (row >= 0), earlier["split"].to_numpy()[row], "")
    own = pd.Series(splits, index=catalog.index, dtype=object)
    held, seen = set(), set()
    for keys, splits in ((earlier["class_key"][old], earlier["split"][old]), (catalog["class_key"], own)):
        held |= set(keys[splits == "heldout_species"])  # names may be resolved otherwise than then
        seen |= set(keys[splits.isin(("train", "val", "test"))])
    both = sorted(held & seen & set(catalog["class_key"]))
    if both:
        raise InputError(
            f"{len(both)} classes join names that the earlier catalog held out and trained on: {', '.join(both[:5])}; "
            "keep its names apart in a names CSV (NAMES=...), or leave data.extends out"
        )
    key = catalog["class_key"]
    return own.where(own != "", catalog["split"].mask(key.isin(held), "heldout_species")), seen
