"""One vocabulary: what figures, tables and pages call the codes of a run."""

import json
from collections.abc import Mapping

import pandas as pd

from .. import RANKS
from ..run import Run

START = "pretrained tower, projection untrained"
MODELS = {
    "trained": "trained",
    "frozen": "pretrained tower",
    "pixels": "colours only",
    "random_init": "untrained",
    "ranks_dealt": "trained, ranks dealt out",
    "names_dealt": "trained, common names dealt out",
}
TEXT_TYPES = {
    "com": "common name",
    "sci": "scientific name",
    "taxon": "taxonomic name",
    "sci_com": "scientific + common name",
    "taxon_com": "taxonomic + common name",
    "description": "description",
}
SPLITS = {"train": "training", "val": "validation", "test": "test", "heldout_species": "held-out species"}
PARTS = {"": "all species", "all": "all species", "seen": "seen species", "unseen": "unseen species"}
DATASETS = {
    "synthetic_shuffled": "synthetic, looks shuffled",
    "synthetic_shuffled_in_kingdoms": "synthetic, looks shuffled inside kingdoms",
}
APART = (*(f"same {rank}" for rank in reversed(RANKS[:-1])), "other kingdom")  # of tree distances 1 to 7


def model_words(run: Run) -> dict[str, str]:
    """Return what the models of a run are called, by code: what is untrained depends on where its tower started."""
    found = json.loads(run.config_json.read_text(encoding="utf-8")) if run.config_json.is_file() else {}
    pretrained = found.get("model", {}).get("image_tower", "vit") != "vit"
    return {**MODELS, **({"random_init": START} if pretrained else {})}


def in_words(table: pd.DataFrame, models: Mapping[str, str] = MODELS) -> pd.DataFrame:
    """Put the codes of the columns ``model`` and ``dataset`` in words; names that are no code stay."""
    said = {"model": models, "dataset": DATASETS}
    return table.assign(**{c: table[c].map(lambda v, of=of: of.get(v, v)) for c, of in said.items() if c in table})


def task_label(task: str) -> str:
    """Put a task of metrics.csv in words.

    >>> task_label("few_shot/5/unseen"), task_label("zero_shot/seen/sci")
    ('5 shots, unseen species', 'zero-shot, seen species, scientific name')
    """
    kind, _, rest = task.partition("/")
    words = [PARTS.get(part, TEXT_TYPES.get(part, part)) for part in rest.split("/") if part]
    if kind == "few_shot" and words:
        return ", ".join([f"{words[0]} shot{'' if words[0] == '1' else 's'}", *words[1:]])
    return ", ".join([kind.replace("zero_shot", "zero-shot"), *words])


def task_place(task: str) -> tuple:
    """Return where a task stands: naming, shots, hierarchy."""
    kinds = ("zero_shot", "few_shot", "hierarchy")
    return kinds.index(task.split("/")[0]), task.count("/"), len(task), task
