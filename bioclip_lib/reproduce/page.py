"""The answer page of a run: ``index.html``, one file that opens by double click, without a network or a script.

``python -m bioclip_lib.reproduce.page RUN`` writes it of a finished run, with the tables behind it. Every name on it is
escaped by its template.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import jinja2
import pandas as pd
from IPython.display import HTML

from ..catalog import read_catalog, usable
from ..errors import InputError, as_command
from ..evaluation import read_metrics
from ..files.spreadsheets import write_csv
from ..run import REPOSITORY, Run, write_text
from ..run.manifest import read_manifest
from ..shards.thumbnails import thumbnails
from ..structure.labels import find_wrong_labels
from ..taxonomy.unsettled import names_in_words, names_to_settle
from . import answer

TOLD_APART = 0.8  # share of the photographs; features that do worse find hard cases, not wrong labels
N_PHOTOS = 6  # named right, and as many named wrong
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
)


def write_page(run: Run) -> list[str]:
    """Write what a run shows as ``index.html``; return what it says in a few lines, for a terminal.

    The tables behind it are written too, each in ``tables/``: verdicts, confused, species, suspicious, names_to_settle,
    dropped_files (CSV); and ``classes.csv`` in the run, a template for the names that stop before their species.
    """
    found, shown = _write(run)
    lines = [*answer.headline(found["verdicts"]), f"{shown['names']}."]
    n_clear = int(found["suspicious"]["clear"].sum())
    if n_clear and shown["told_apart"] >= TOLD_APART:
        lines.append(f"{n_clear} photographs look clearly like another species than the one on their label.")
    return [*lines, f"open {run.root / 'index.html'}"]


def show_answer(run: Run) -> HTML:
    """Write the answer page, as `write_page`, and return its body for a notebook to show."""
    return HTML(_write(run)[1]["body"])


def _write(run: Run) -> tuple[dict[str, pd.DataFrame], dict]:
    """Write tables and page; return the tables, and what else the page shows."""
    table = _read(run.catalog, read_catalog)
    found, shown = found_tables(run, table), _shown(run, table)
    found["suspicious"], n_judged = find_wrong_labels(run, table)
    shown["told_apart"] = 1 - (~found["suspicious"]["odd"].astype(bool)).sum() / max(1, n_judged)
    for name, rows in found.items():
        write_csv(rows, run.tables / f"{name}.csv")
    lines = found["names_to_settle"][["class_name"]].assign(scientific_name="", common_name="")
    write_csv(lines, run.root / "classes.csv")
    shown["body"] = _TEMPLATES.get_template("answer.html.j2").render(found | shown)
    write_text(run.root / "index.html", _TEMPLATES.get_template("page.html.j2").render(shown))
    return found, shown


def found_tables(run: Run, table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the tables of the page by their names."""
    results, names = _read(run.metrics_csv, read_metrics), _read(run.tables / "names.csv")
    predictions = _read(run.tables / "zero_shot_predictions.csv")
    predictions = predictions[predictions["model"] == "trained"]
    queries = _read(run.tables / "few_shot_queries.parquet", pd.read_parquet)
    return {
        "verdicts": answer.verdicts(results, queries),
        "confused": answer.confused_pairs(predictions),
        "species": answer.species_scores(predictions),
        "names_to_settle": names_to_settle(names, table),
        "dropped_files": answer.dropped_files(table),
    }


def _shown(run: Run, table: pd.DataFrame) -> dict:
    """Return what the templates need beside the tables."""
    kept, predictions = table[usable(table)], _read(run.tables / "zero_shot_predictions.csv")
    predictions = predictions[predictions["model"] == "trained"]
    conflicts = _read(run.tables / "near_conflicts.csv").merge(table, on=["source", "source_id", "class_key"])
    config = json.loads(run.config_json.read_text(encoding="utf-8"))
    file_of = table.set_index("image_id")["source_id"]
    return {
        "run": run,
        "TOLD_APART": TOLD_APART,
        "photos": config["data"]["photos"],
        "source": config["data"]["source"],
        "n_images": len(table),
        "n_classes": kept["class_key"].nunique(),
        "names": names_in_words(_read(run.tables / "names.csv"), table),
        "n_choices": predictions.groupby("part")["class_key"].nunique().to_dict(),
        "drawn": {hit: _drawn(predictions, hit == "right") for hit in ("right", "wrong")},
        "conflicts": [rows for _, rows in conflicts.groupby("group_x", sort=False)],
        "few": answer.few_images(table),
        "picture": thumbnails(run.shards),
        "file_of": file_of.get,
        "english": kept.drop_duplicates("class_key").set_index("class_key")["common_name"].get,
        "example": kept.sort_values("image_id").drop_duplicates("class_key").set_index("class_key")["image_id"].get,
        "stages": {
            name: fact for name, fact in sorted(read_manifest(run.root).stages.items()) if "versions" in fact["made_of"]
        },
        "notebooks": sorted(run.notebooks.glob("[0-9]*.ipynb")),
    }


def _read(path: Path, read: Callable | None = None) -> pd.DataFrame:
    """Read one of the run's tables, the text of a CSV as it is."""
    if not path.is_file():
        raise InputError(f"{path} is missing; the answer page needs a finished run: run its notebooks first")
    return read(path) if read else pd.read_csv(path, dtype=str, keep_default_na=False)


def _drawn(predictions: pd.DataFrame, right: bool) -> pd.DataFrame:
    """Draw some of the photographs that are named right, or wrong: of species that were trained on, if there are."""
    rows = predictions[(predictions["class_key"] == predictions["predicted"]) == right]
    rows = rows.sample(frac=1, random_state=0).sort_values("part", kind="stable")  # seen before unseen
    return pd.concat([rows.drop_duplicates(["part", "class_key"]), rows]).drop_duplicates("image_id")[:N_PHOTOS]


@as_command
def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser("python -m bioclip_lib.reproduce.page", description="Write a run's answer page.")
    parser.add_argument("run", nargs="*", default=[str(REPOSITORY / "runs" / "mini")], help="default: runs/mini")
    args = parser.parse_args(argv)
    print("\n".join(line for run in args.run for line in write_page(Run(run))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
