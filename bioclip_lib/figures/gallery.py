"""Every figure from the tables that a run keeps: one maker a figure, for the notebooks and for ``make figures``.

``python -m bioclip_lib.figures --run runs/mini`` draws all of them again, without images, model or shards: as PDF, SVG
and PNG, with a caption and a JSON that says how each was made; result tables as LaTeX, Markdown and rounded CSV.
"""

import argparse
import datetime
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from .. import RANKS
from ..errors import InputError, as_command
from ..run import REPOSITORY, Run, atomic, file_sha256, git_commit, stages, write_json
from . import ablations, answers, data, maps, probes, scores, treemap
from .captions import CAPTIONS
from .style import LAID_OUT, in_look, keep_layout, mark_smoke, with_style
from .tables import write_tables
from .words import in_words, model_words

FORMATS = ("pdf", "svg", "png")
COUNTS, MAP, QUALITY = "tables/class_counts.csv", "tables/map.csv", "tables/map_quality.csv"
_TEXT = "dataset source model part task metric measure way why class_key split image_id rank".split()
_MODELS_ON_MAPS = ("trained", "frozen", "pixels")  # others are numbered


class Maker(NamedTuple):
    """How a figure comes from tables of a run: which notebook writes them, who draws."""

    notebook: str
    draw: Callable[..., Figure]
    tables: tuple[str, ...]


def _training(log: pd.DataFrame, counts: pd.DataFrame) -> Figure:
    """Draw the log; by chance the probe on validation images names one of their classes."""
    n_classes = counts.loc[counts["split"] == "val", "class_key"].nunique()
    return data.plot_training(log, chance=1 / n_classes if n_classes else None)


def _words(by_rank: pd.DataFrame) -> Figure:
    return data.plot_shared_words(by_rank.set_index("rank"))


_PROBES = "08_hierarchy_probes"
MAKERS = {
    "contact_sheet": Maker("00_quickstart", data.plot_contact_sheet, ("tables/contact_sheet.parquet",)),
    "taxon_counts": Maker("01_dataset_construction", data.plot_taxon_counts, (COUNTS,)),
    "taxon_treemap": Maker("01_dataset_construction", treemap.plot_taxon_treemap, (COUNTS,)),
    "caption_words": Maker("02_captions", _words, ("tables/caption_words.csv",)),
    "training": Maker("03_training", _training, ("tables/train_log.csv", COUNTS)),
    "zero_shot": Maker("04_zero_shot", scores.plot_zero_shot, ("tables/zero_shot.csv",)),
    "rank_accuracy": Maker("04_zero_shot", scores.plot_rank_accuracy, ("tables/rank_accuracy.csv",)),
    "mistakes": Maker("04_zero_shot", scores.plot_mistakes, ("tables/mistakes.csv",)),
    "risk": Maker("09_identify", answers.plot_risk, ("tables/identify_risk.csv",)),
    "saliency": Maker("09_identify", answers.plot_saliency, ("tables/identify_saliency.parquet",)),
    "few_shot": Maker("05_few_shot", scores.plot_few_shot, ("tables/few_shot.csv",)),
    "text_matrix": Maker("06_ablations", ablations.plot_text_matrix, ("tables/ablation_text_types.csv",)),
    "recipes": Maker("06_ablations", ablations.plot_recipes, ("tables/ablation_recipes.csv",)),
    "mantel": Maker(_PROBES, maps.plot_mantel, ("tables/hierarchy_null.csv",)),
    "distance_by_rank": Maker(_PROBES, maps.plot_distance_by_rank, ("tables/hierarchy_pairs.parquet",)),
    "probes": Maker(_PROBES, probes.plot_probes, ("tables/structure_probes.csv",)),
    "power": Maker(_PROBES, probes.plot_power, ("tables/power.csv",)),
    "consistency": Maker(_PROBES, probes.plot_consistency, ("tables/consistency.csv",)),
    "image_text": Maker(_PROBES, probes.plot_image_text, ("tables/modalities.csv",)),
    "overview": Maker("10_paper_figures", scores.plot_results_overview, ("metrics.csv",)),
}


def makers(run: Run) -> dict[str, Maker]:
    """Return the makers of a run's figures by name: `MAKERS`, and one a model that is on a map."""
    found, words, n = dict(MAKERS), model_words(run), 0
    columns = pd.read_csv(run.root / MAP, nrows=0).columns if (run.root / MAP).is_file() else ()
    for model in (column.removesuffix("_x") for column in columns if column.endswith("_x")):
        n += model not in _MODELS_ON_MAPS
        name = f"umap_{model}" if model in _MODELS_ON_MAPS else f"umap_model_{n}"
        plot = partial(maps.plot_map, model=model, called=words.get(model, model))
        found[name] = Maker("07_embedding_maps", plot, (MAP, QUALITY))
    return found


def draw(run: Run, name: str, folder: str | Path = "") -> Figure:
    """Draw a figure from the tables of a run, write it, and return it, so that a cell that ends with it shows it.

    Parameters
    ----------
    run : Run
    name : str
        A name of `makers`.
    folder : str or Path
        Where it is written; the run's own ``figures`` if empty.

    Returns
    -------
    Figure
        Written as PDF (fonts embedded), SVG and PNG, with its caption as text, and a JSON with commit, versions,
        notebook, the run's configuration and the digests of the tables. The JSON is removed first and written last:
        where it lies, the files beside it are those it speaks of. A note of the profile smoke says: no result.

    Raises
    ------
    InputError
        If a table is missing; the message names the notebook that writes it.
    """
    known = makers(run)
    if name not in known:
        raise InputError(f"there is no figure {name!r}; choose one of {', '.join(known)}")
    maker = known[name]
    tables = [in_words(read_table(run, path, maker), model_words(run)) for path in maker.tables]
    fig = maker.draw(*tables)
    parameters = json.loads(run.config_json.read_text(encoding="utf-8")) if run.config_json.is_file() else {}
    with in_look():
        if parameters.get("profile") == "smoke":
            mark_smoke(fig)
        fig.draw_without_rendering()  # a first layout is not yet the last
    keep_layout(fig)
    made_by = {
        **{"figure": name, "notebook": maker.notebook, "run": run.name, "profile": parameters.get("profile", "")},
        **{"inputs": {path: file_sha256(run.root / path) for path in maker.tables}, "parameters": parameters},
        **{"packages": stages.versions(), "git_commit": git_commit()},
        **{"made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")},
    }
    tell = CAPTIONS["map" if name.startswith("umap_") else name]
    save_figure(fig, Path(folder or run.figures) / name, tell(*tables), made_by)
    return fig


def read_table(run: Run, path: str, maker: Maker) -> pd.DataFrame:
    """Read a table of a run; text stays text, an empty cell of numbers is missing."""
    if not (run.root / path).is_file():
        raise InputError(f"{run.root / path} is not there; run notebook {maker.notebook} of this run again")
    if path.endswith(".parquet"):
        return pd.read_parquet(run.root / path)
    table = pd.read_csv(
        run.root / path, dtype=dict.fromkeys((*_TEXT, *RANKS), str), keep_default_na=False, na_values=[""]
    )
    text = table.select_dtypes(exclude="number").columns
    return table.assign(**{column: table[column].fillna("") for column in text})


def save_figure(fig: Figure, path: Path, caption: str, made_by: dict) -> None:
    """Write a figure, its caption and how it was made; without a date the same figure is the same file."""
    made_json = path.with_name(f"{path.name}.json")
    made_json.unlink(missing_ok=True)
    dates = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": None}
    photographs = [image for image in fig.findobj(AxesImage) if np.ndim(image.get_array()) == 3]
    with in_look(LAID_OUT):
        for suffix in FORMATS:
            for image in photographs:  # where a page can hold them, as they are; PNG needs its own pixels
                image.set_interpolation(None if suffix == "png" else "none")
            with atomic(path.with_name(f"{path.name}.{suffix}")) as tmp:
                fig.savefig(tmp, format=suffix, metadata=dates[suffix])
    with atomic(path.with_name(f"{path.name}.txt")) as tmp:
        tmp.write_text(caption + "\n", encoding="utf-8")
    write_json(made_json, made_by)


def draw_all(run: Run, folder: str | Path = "") -> tuple[list[str], list[str]]:
    """Draw every figure whose tables a run keeps, and write its result tables; return names, and what is missing."""
    drawn, missing = [], []
    for name, maker in makers(run).items():
        absent = [path for path in maker.tables if not (run.root / path).is_file()]
        if absent:
            missing.append(f"{name}: {', '.join(absent)} is written by notebook {maker.notebook}")
        else:
            draw(run, name, folder)
            drawn.append(name)
    write_tables(run, Path(folder or run.figures))
    return drawn, missing


@as_command
def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser("python -m bioclip_lib.figures", description="Draw a run's figures again.")
    parser.add_argument("--run", default=str(REPOSITORY / "runs" / "mini"), help="run directory (default: runs/mini)")
    parser.add_argument("--style", default="", help="a style file of matplotlib, over the project's own")
    parser.add_argument("--width", default="", help="millimetres that a figure may take, as 85 or 180 (default: 180)")
    parser.add_argument("--to", default="", help="folder to write to (default: figures/ of the run)")
    args = parser.parse_args(argv)
    run = Run(args.run)
    if not run.tables.is_dir():
        raise InputError(f"{run.root} holds no tables of a run; pass RUN=path/to/run, or run make reproduce first")
    with with_style(args.style, _millimetres(args.width)):
        drawn, missing = draw_all(run, args.to)
    print(f"{len(drawn)} figures as {', '.join(FORMATS)} in {args.to or run.figures}")
    for line in missing:
        print(f"not drawn: {line}")
    return 0


def _millimetres(said: str) -> float | None:
    """Read a width, as 85 or 85mm; None where none is said."""
    try:
        return float(said.lower().removesuffix("mm")) if said else None
    except ValueError:
        raise InputError(f"WIDTH={said} is no width in millimetres; pass WIDTH=85, WIDTH=180, or 50 to 400") from None
