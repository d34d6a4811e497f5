"""What is asked: the evaluated images of a catalog, its classes, and the strings under which these are offered.

Each source is a data set of its own. *seen* are test images of species that were trained on, *unseen* all images of
held-out species; the candidates are the classes of the same part. Classes are keyed by taxon, never by their string.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from .. import RANKS, TEXT_TYPES
from ..catalog.splits import class_rows, group_keys, usable
from ..config import DESCRIPTION, EvaluateConfig
from ..errors import InputError
from ..model.features import FeatureTable
from ..shards.captions import SHARD_TEXTS, has_descriptions, name_string
from .statistics import difference_interval, mean_interval

PARTS = {"test": "seen", "heldout_species": "unseen"}
SCORE_COLUMNS = ["model", "dataset", "task", "metric", "value", "ci_low", "ci_high", "n", "seeds", "chance"]
MIN_SPECIES = 4  # of a probe of hierarchy: fewer have too few pairs to correlate
ASIS = "asis"
"""The text type that takes the label as published (``Tomato___Late_blight``), untouched."""
Features = Mapping[str, FeatureTable]


class StringReport(NamedTuple):
    """How classes and their strings fit: counts, the classes without a string, and those that share one."""

    n_classes: int
    n_strings: int
    unnamed: list[str]
    shared: dict[str, list[str]]


def evaluated_images(table: pd.DataFrame) -> pd.DataFrame:
    """Return the evaluated images of a catalog by ``image_id``: ``dataset, part, group``, ranks, ``class_key``."""
    rows = table[usable(table) & table["split"].isin(list(PARTS))]
    columns = rows[["image_id", "source", *RANKS, "rank", "class_key"]].rename(columns={"source": "dataset"})
    return columns.assign(part=rows["split"].map(PARTS), group=group_keys(rows)).set_index("image_id")


def rows_of(features: FeatureTable, images: pd.DataFrame) -> pd.DataFrame:
    """Return features as a frame indexed by image; refuse a table that lacks an evaluated image, or has one twice."""
    frame = pd.DataFrame(features.values, index=features.image_ids)
    if not frame.index.is_unique:
        raise InputError(f"{frame.index[frame.index.duplicated()][0]} has two rows of features; compute them again")
    missing = images.index.difference(frame.index)
    if len(missing):
        raise InputError(f"{len(missing)} evaluated images have no features (e.g. {missing[0]}); rerun 03_training")
    return frame


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Scale rows to unit length, in their own precision from float32 on; a row of zeros stays. Refuse NaN, infinity."""
    rows = np.asarray(rows)
    rows = rows.astype(np.result_type(rows.dtype, np.float32), copy=False)
    length = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    if not np.isfinite(length).all():
        raise InputError("features hold NaN or infinity; compute them again")
    return rows / np.where(length > 0, length, 1)


def with_interval(values: np.ndarray, groups: np.ndarray, bounds: tuple[float, float] = (0.0, 1.0)) -> dict:
    """Return ``value, ci_low, ci_high``: a mean and its interval for another set of classes (`mean_interval`)."""
    low, high = mean_interval(values, groups, bounds)
    return {"value": float(np.mean(values)), "ci_low": low, "ci_high": high}


def with_difference(values: np.ndarray, groups: np.ndarray | None, most: float = 1.0) -> dict:
    """Return ``value, ci_low, ci_high`` of differences, at most `most` apart, for another set of classes."""
    low, high = difference_interval(values / most, groups)
    return {"value": float(values.mean()), "ci_low": most * low, "ci_high": most * high}


def classes_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return the names of each class of a catalog, indexed by class and sorted: those of its first usable image."""
    classes = class_rows(table)
    classes = classes if DESCRIPTION in classes else classes.assign(**{DESCRIPTION: ""})
    return classes[["verbatim_name", "scientific_name", "common_name", *RANKS, "rank", DESCRIPTION]]


def asked_types(classes: pd.DataFrame, config: EvaluateConfig) -> tuple[str, ...]:
    """Return the text types that classes are asked by: those of the paper, descriptions if any, the configured one."""
    described = [DESCRIPTION] if has_descriptions(classes) else []
    return tuple(dict.fromkeys((*TEXT_TYPES, *described, config.text_type)))


def score_frame(rows: Sequence[Mapping], more: Sequence[str] = ()) -> pd.DataFrame:
    """Return rows for `append_metrics` as a table, whose numbers are numbers where there is no row, too."""
    frame = pd.DataFrame(rows, columns=[*SCORE_COLUMNS, *more])
    numbers = dict.fromkeys(("value", "ci_low", "ci_high", "chance"), float) | dict.fromkeys(("n", "seeds"), int)
    return frame.astype(numbers) if frame.empty else frame


def class_strings(classes: pd.DataFrame, text_type: str) -> pd.Series:
    """Return the string of each class (a row: ranks and names), '' where it has no such name (`name_string`)."""
    if text_type == ASIS:
        return classes["verbatim_name"].rename(text_type)
    if text_type not in (*SHARD_TEXTS, DESCRIPTION):
        raise InputError(
            f"unknown text type {text_type!r}; choose one of {', '.join((ASIS, *SHARD_TEXTS, DESCRIPTION))}"
        )
    strings = [name_string(row, text_type) for row in classes.to_dict("records")]
    return pd.Series(strings, index=classes.index, name=text_type, dtype=object)


def report_strings(strings: pd.Series) -> StringReport:
    """Tell which classes have no string, and which share one: of these the first wins every image."""
    named = strings[strings.str.strip() != ""]
    shared = {text: list(group.index) for text, group in named.groupby(named, sort=False) if len(group) > 1}
    return StringReport(len(strings), named.nunique(), list(strings.index.difference(named.index)), shared)


def unasked(table: pd.DataFrame, config: EvaluateConfig) -> pd.DataFrame:
    """Tell what cannot be asked of a catalog, and why.

    Returns
    -------
    DataFrame
        ``data set, question, why``: no row where everything can be asked.
    """
    images, rows = evaluated_images(table), []
    if images.empty:
        rows.append(("all", "any", "no image is kept for tests, of species seen or held out"))
    for dataset, group in images.groupby("dataset"):
        for part in PARTS.values():
            n = group.loc[group["part"] == part, "class_key"].nunique()
            if n < 2:
                rows.append((dataset, f"naming {part} species", f"{n} of two classes have images for tests"))
        enough = group.groupby("class_key")["group"].nunique() > max(config.shots)
        if enough.sum() < 2:
            why = f"{enough.sum()} of two classes have more than {max(config.shots)} images for tests"
            why += ", a group counting once"
            rows.append((dataset, "few-shot", why))
        species = group[group["rank"] == "species"].groupby("part")["class_key"].nunique()
        for part in PARTS.values():
            if species.get(part, 0) < MIN_SPECIES:
                why = f"{species.get(part, 0)} of {MIN_SPECIES} species have images for tests"
                rows.append((dataset, f"the hierarchy of {part} species", why))
    return pd.DataFrame(rows, columns=["data set", "question", "why"])
