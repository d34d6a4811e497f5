"""Leakage: the training images that a benchmark tests, their groups, and the species that it tests as never seen.

Takes a catalog and that of one or more benchmarks; returns a report, and the catalog without what leaks.
"""

import pandas as pd

from ..errors import InputError
from .duplicates import hashed_images
from .looks import near_matches
from .splits import TRAINING, group_keys, usable

LEAK_COLUMNS = ("image_id", "benchmark", "benchmark_image_id", "kind", "distance")
LEAK_KINDS = ("exact", "perceptual", "group", "species hold-out")


def find_leaks(catalog: pd.DataFrame, benchmark: pd.DataFrame) -> pd.DataFrame:
    """Find the images of train, val or no split that a benchmark tests, or whose group or held-out class it tests.

    Returns `LEAK_COLUMNS`, at most one row an image, source of `benchmark` and kind: ``exact`` (the same bytes),
    ``perceptual`` (the nearest image; distance in bits), ``group`` (another image of one observation or individual),
    ``species hold-out`` (of a class of its split ``heldout_species``; an image named to the genus may show one, too).
    """
    missing = {"image_id", "source", "sha256", "phash", "split", "excluded", "class_key"} - set(benchmark.columns)
    if missing:
        raise InputError(f"the benchmark has no columns {sorted(missing)}; build its catalog as the training set's")
    trained = usable(catalog) & catalog["split"].isin(("", *TRAINING))
    hashed, images = hashed_images(catalog, trained), catalog[trained]
    tables = [pd.DataFrame(columns=list(LEAK_COLUMNS), dtype=object)]
    for name, tested in benchmark[usable(benchmark)].sort_values("image_id").groupby("source"):
        exact = _same_value(images, tested, "sha256").assign(kind="exact", distance=0)
        near = _near_images(hashed[~hashed["image_id"].isin(exact["image_id"])], tested)
        sisters = _same_value(*(t.assign(unit=group_keys(t)) for t in (images, tested)), "unit")
        sisters = sisters[~sisters["image_id"].isin([*exact["image_id"], *near["image_id"]])]
        heldout = _same_value(images, tested[tested["split"] == "heldout_species"], "class_key")
        found = [exact, near.assign(kind="perceptual"), sisters.assign(kind="group", distance=pd.NA)]
        found.append(heldout.assign(kind="species hold-out", distance=pd.NA))
        tables.extend(table.assign(benchmark=name).astype(object) for table in found)
    leaks = pd.concat(tables, ignore_index=True)[list(LEAK_COLUMNS)].astype({"distance": "Int64"})
    return leaks.sort_values(["image_id", "benchmark", "kind"], ignore_index=True)


def _same_value(images: pd.DataFrame, tested: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return ``image_id, benchmark_image_id`` of the images that share a column's value with the first tested one."""
    first = tested.drop_duplicates(column).set_index(column)["image_id"]
    shared = images[images[column].isin(first.index)]
    return pd.DataFrame({"image_id": shared["image_id"], "benchmark_image_id": shared[column].map(first)})


def _near_images(hashed: pd.DataFrame, tested: pd.DataFrame) -> pd.DataFrame:
    """Return ``image_id, benchmark_image_id, distance`` of the hashed images that look like a tested one."""
    tested = hashed_images(tested, usable(tested))
    matches, distances = near_matches(hashed["hash"].to_numpy(), tested["hash"].to_numpy())
    near = matches >= 0
    names = tested["image_id"].to_numpy()[matches[near]]
    return pd.DataFrame(
        {"image_id": hashed["image_id"].to_numpy()[near], "benchmark_image_id": names, "distance": distances[near]}
    )


def remove_leaks(catalog: pd.DataFrame, leaks: pd.DataFrame) -> pd.DataFrame:
    """Return a copy without split where `leaks` names a usable image: ``leak into <benchmark> (<gravest kind>)``."""
    unknown = set(leaks["image_id"]) - set(catalog["image_id"])
    if unknown:
        raise InputError(f"{len(unknown)} leaking images are not in the catalog; find its leaks again")
    order = leaks.assign(gravity=leaks["kind"].map(LEAK_KINDS.index)).sort_values(["gravity", "benchmark"])
    gravest = order.drop_duplicates("image_id").set_index("image_id")
    reasons = "leak into " + gravest["benchmark"] + " (" + gravest["kind"] + ")"
    leaking = usable(catalog) & catalog["image_id"].isin(reasons.index)
    return catalog.assign(
        excluded=catalog["excluded"].mask(leaking, catalog["image_id"].map(reasons)),
        split=catalog["split"].mask(leaking, ""),
    )
