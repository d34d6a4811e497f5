"""The runner: each cell is trained, embedded and scored by the functions of the notebooks, once, and kept.

Takes a run, its configuration and cells; returns one tidy table of scores and one of the cells that failed. A finished
cell lies in ``<run>/ablations`` under a digest of its settings, the code that decides it and the versions of packages:
a sweep that was ended goes on after its last finished cell. The worlds of the seeds lie beside them.
"""

import contextlib
import hashlib
import io
import itertools
import json
import multiprocessing
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pandas as pd
import torch

from ..catalog.splits import assign_splits
from ..catalog.table import read_catalog, write_catalog
from ..config import DESCRIPTION, Config, deciding
from ..evaluation import contestants, draw_folds, score_few_shot, score_zero_shot
from ..model.features import trunk_table
from ..model.pretrained import CHECK_SUMS
from ..model.towers import build_model
from ..run import Run, atomic, file_sha256, remove, stages
from ..run.workers import progress
from ..shards import write_shards
from ..structure import control
from ..structure.hierarchy import score_hierarchy
from ..training import load_training_data
from .cells import Cell
from .confused import score_follow_up
from .data import loader

KEYS = ["recipe", "seed"]
COLUMNS = [*KEYS, "dataset", "task", "metric", "value", "chance", "n", "seconds"]
_OWN = ("sweep.py", "confused.py", "data.py")  # beside what is a setting of a cell
_DECIDES = ("sources/synthetic", "taxonomy", "catalog", "shards", "model", "training", "evaluation", "structure")


def run_grid(run: Run, config: Config, cells: Sequence[Cell], workers: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train and score the cells that are not there yet.

    Parameters
    ----------
    run : Run
        With a catalog where its images are photographs.
    config : Config
    cells : sequence of Cell
    workers : int
        Processes, a thread of torch each; 0: one a processor, if each has three cells or more to train.

    Returns
    -------
    scores : DataFrame
        ``recipe, seed, dataset, task, metric, value, chance, n`` and ``seconds`` (processor time of training), a row a
        number of a finished cell.
    failed : DataFrame
        ``recipe, seed, why``: cells without scores; they are tried again when the grid is run again.

    Notes
    -----
    A number decides nothing about another seed: compare cells by `over_seeds`, seed by seed.
    """
    places = [(cell, _place(run, config, cell)) for cell in cells]
    todo = {path: cell for cell, path in places if not path.is_file()}
    for cell in todo.values():  # before processes share them
        world = _world(run, cell.config(config))
        with contextlib.suppress(Exception):  # the cell says why it has no scores
            _seen(world, cell.config(config))
    failed, n_cells = [], len({path for _, path in places})
    with progress("ablations", "trainings", n_cells, done=n_cells - len(todo)) as bar:
        for path, why in _in_processes(run, config, todo, workers or _workers(len(todo))):
            failed += [(todo[path].recipe, todo[path].seed, why)] if why else []
            bar.update()
    found = [
        pd.read_parquet(path).assign(recipe=cell.recipe, seed=cell.seed) for cell, path in places if path.is_file()
    ]
    scores = pd.concat([pd.DataFrame(columns=COLUMNS), *found], ignore_index=True)[COLUMNS]
    return scores, pd.DataFrame(failed, columns=[*KEYS, "why"])


def _workers(n_cells: int) -> int:
    """Return how many processes are worth their start."""
    n_processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(n_processors, n_cells // 3))


def _place(run: Run, config: Config, cell: Cell) -> Path:
    """Return where the scores of a cell lie: under all that decides them."""
    made_of = [deciding(json.loads(json.dumps(cell.config(config).to_dict()))), cell.data]
    own = "".join(file_sha256(Path(__file__).with_name(name)) for name in _OWN)
    code = stages.code_without_comments(_DECIDES) + own
    made_of += [_photographs(run, config), code, stages.versions()]
    made_of += [_start(cell.config(config))]
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
    return run.root / "ablations" / f"{digest[:16]}.parquet"


def _start(config: Config) -> str:
    """Return the digest of the exported model that a training starts from, '' where it starts from none."""
    sums = Path(config.model.name.removeprefix("local-dir:")) / CHECK_SUMS
    return file_sha256(sums) if sums.is_file() else ""


def _photographs(run: Run, config: Config) -> str:
    """Return the digest of the catalog that photographs are split anew from; '' for an invented world."""
    return file_sha256(run.catalog) if config.data.source == "photos" else ""


def _world(run: Run, config: Config) -> Run:
    """Return the world of a seed, built where it is not there: another tree, or other splits of the photographs."""
    decides = [config.to_dict()[part] for part in ("data", "split", "shards")]
    made_of = json.dumps([decides, _photographs(run, config), stages.code_without_comments(_DECIDES[:4])])
    world = Run(
        run.root / "ablations" / f"world-{config.split.seed}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"
    )
    if (world.root / "whole").is_file():
        return world
    remove(world.root)
    world.root.mkdir(parents=True)
    if config.data.source == "synthetic":
        control.build(world, config)
        remove(world.root / "raw")
    else:
        table = assign_splits(read_catalog(run.catalog).assign(split=""), config.split)
        write_catalog(table, world.catalog)
        write_shards(table, world.shards, config.shards)
    (world.root / "whole").touch()
    return world


def _seen(world: Run, config: Config) -> Run:
    """Return where lies what a frozen tower sees of a world, computed once for all cells; else the world itself."""
    if not config.train.freeze_image_tower:
        return world
    model = config.model
    tower = [model.image_tower, model.image_size_px, model.name, model.pretrained, model.normalisation, _start(config)]
    seen = Run(world.root / f"seen-{hashlib.sha256(json.dumps(tower).encode()).hexdigest()[:12]}")
    seen.catalog, seen.shards = world.catalog, world.shards
    if not (seen.root / "whole").is_file():
        seen.embeddings.mkdir(parents=True, exist_ok=True)
        clip = build_model(config.model, seed=0)
        load_training_data(seen, config, clip)
        trunk_table(seen, clip, contestants.EvaluatedImages(seen).splits)
        (seen.root / "whole").touch()
    return seen


def _in_processes(run: Run, config: Config, todo: dict[Path, Cell], workers: int) -> Iterator[tuple[Path, str]]:
    """Train cells in several processes; yield each one's file, and why it has none, if so.

    A process that dies takes the others of its pool with it: what is left then goes on in pools of one cell.
    """
    if workers == 1:
        yield from ((path, _train_one(run.root, config, cell, path)) for path, cell in todo.items())
        return
    left, together = dict(todo), True
    while left:
        part = dict(itertools.islice(left.items(), None if together else 1))
        with ProcessPoolExecutor(min(workers, len(part)), multiprocessing.get_context("spawn")) as pool:
            futures = {pool.submit(_train_one, run.root, config, cell, path): path for path, cell in part.items()}
            for future in as_completed(futures):
                try:
                    why = future.result()
                except BrokenProcessPool:
                    if together:
                        continue
                    why = "its process died, maybe for lack of memory"
                left.pop(futures[future])
                yield futures[future], why
        together = False


def _train_one(root: Path, config: Config, cell: Cell, path: Path) -> str:
    """Train and score a cell in this process, and write its scores; return why it could not be, or ''."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the same bits, whatever the number of processes
    try:
        hidden = contextlib.redirect_stderr(io.StringIO())  # a cell's bars, under the one of all cells
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), hidden:
            warnings.simplefilter("ignore")
            scores = _scores(Run(root), cell, cell.config(config), Run(folder))
    except Exception as error:  # whatever it is, the other cells go on
        return f"{type(error).__name__}: {error}"
    finally:
        torch.set_num_threads(n_threads)
    with atomic(path) as tmp:
        scores.to_parquet(tmp, index=False)
    return ""


def _scores(run: Run, cell: Cell, config: Config, folder: Run) -> pd.DataFrame:
    """Train a cell in a folder, and ask its model what the notebooks ask."""
    world = _world(run, config)
    folder.catalog = world.catalog
    control.borrow(folder, _seen(world, config))
    begun = time.process_time()
    control.train(folder, folder, config, loader(cell.data))
    seconds = time.process_time() - begun
    table, features = read_catalog(world.catalog), contestants.load_features(folder, config, ["trained"])
    found = [score_few_shot(table, draw_folds(table, config.evaluate), features, {}, config.evaluate)[0]]
    rows, details = score_hierarchy(table, features, config.evaluate)
    found += [rows, *(_nearer(*keys, what["nested"]) for keys, what in details.items())]
    if contestants.can_name(config, "trained"):
        encoders = {"trained": contestants.class_encoder(folder, config, "trained")}
        found.append(score_zero_shot(table, features, encoders, config.evaluate)[0])
        if DESCRIPTION in config.train.text_types:
            found.append(score_follow_up(table, features["trained"], encoders["trained"], config.evaluate))
    return pd.concat(found)[["dataset", "task", "metric", "value", "chance", "n"]].assign(seconds=seconds)


def _nearer(dataset: str, task: str, model: str, nested: pd.DataFrame) -> pd.DataFrame:
    """Return by how much taxa of one group lie nearer than their sisters, rank by rank, as scores."""
    rows = nested.rename(columns={"nearer": "value", "n_units": "n"})
    return rows.assign(dataset=dataset, task=task + "/" + rows["rank"], metric="nearer", chance=0.0)
