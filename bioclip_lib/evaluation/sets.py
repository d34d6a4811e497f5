"""The published benchmark sets: what there is, how to get it, what it must hold, and scores as they were published.

The facts are a table: ``data/benchmark_sets.csv``, a set a row. `score_sets` takes a run and a folder of sets
(``evaluate.sets``) and returns rows of metrics.csv whose data set and task are those of the published numbers. The
run's model and those of ``evaluate.models`` see the files themselves, each by its own preprocessing. Sets that are
absent are listed with what to do. Refuses unknown sets, label files without a path or a label, a set without two
classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from .. import RANKS
from ..catalog import read_catalog
from ..config import Config, DataConfig
from ..errors import InputError
from ..files.tables import read_strings
from ..run import REPOSITORY, Run
from ..sources.columns import PATH_COLUMNS, SPLIT_COLUMN, find_column, read_known, verbatim_names
from ..sources.read import read_source
from . import few_shot, zero_shot
from .classifiers import simple_shot
from .contestants import Contestant, file_contestants, file_features
from .tasks import class_strings, score_frame, with_interval

TEMPLATES = "original"
_LABEL_FILES = ("labels.csv", "metadata.csv")  # as Meta-Album, and the original's evaluation, name theirs
_CAMERA_TRAPS = ("desert-lion", "ENA24", "island", "ohio-small-animals", "orinoquia")
_OTHER_ORDER = "rows not in the order of the original's table (metadata.csv), which its few-shot folds follow"
_POOLED = "all pooled; asked there: five sets, each among its own classes; put their five tables into the folder"
_NO_SPLIT = "shots and queries of all images; asked there: shots of train, queries of test; keep these two folders"
_OWN_PROTOCOL = "has a protocol of its own, which is not implemented"
_UNKNOWN = "not asked: rename it to the folder of a set in data/benchmark_sets.csv, or take it away"


@dataclass(frozen=True)
class BenchmarkSet:
    """A set: its name, its row of the registry, its ``images`` (`load_set`) and where they differ from the registry."""

    name: str
    facts: pd.Series
    images: pd.DataFrame
    differences: list[str]


def score_sets(run: Run, config: Config) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Score the run's model, and those of ``evaluate.models``, on the sets that lie in ``evaluate.sets``.

    Returns
    -------
    scores : dict of set to DataFrame
        Rows for `append_metrics`: ``zero_shot`` (the text type of the set, the 81 templates of the original, all
        images) of models with a text tower, ``zero_shot/<text type>`` where a published number was asked by another
        one, ``few_shot/<k>`` (SimpleShot, of classes with more than the most shots; folds as published). Of a set that
        was published as the mean of several, that mean, with its interval for other such sets, and a row each:
        ``zero_shot/<part>``. Empty where ``evaluate.sets`` is.
    found : DataFrame
        Indexed by set: ``title, n_images`` that were asked, ``differs`` from what was published (a score beside a
        published number is worth what is empty here: counts, and how it was asked there), ``notes``, ``to_do`` to get
        an absent set, or so that one that lies there can be asked.
    """
    if not config.evaluate.sets:
        return {}, pd.DataFrame(columns=["title", "n_images", "differs", "notes", "to_do"])
    survey = survey_sets(config.evaluate.sets)
    survey = survey.join(read_registry()[["layout", "notes"]]).fillna({"notes": ""})
    survey = survey.query("layout != '' or path != ''")
    found = survey.assign(n_images=0, differs="")[["title", "n_images", "differs", "notes", "to_do"]]
    sets = {name: _readable(name, config) for name in survey.index[survey["to_do"] == ""]}
    if not sets:
        return {}, found
    own = sorted(set(read_catalog(run.catalog)["source"]) & set(sets))
    if own:
        raise InputError(
            f"{', '.join(own)}: this run has a data set of the same name, and their few-shot scores would replace each "
            "other; rename the folder of photographs and build again, or take the published set away"
        )
    contestants, scores = file_contestants(run, config, ("trained", *config.evaluate.models)), {}
    for name, loaded in sets.items():
        scores[name] = _score_set(run, config, loaded, contestants)
        found.loc[name, ["n_images", "differs"]] = [len(loaded.images), "; ".join(loaded.differences)]
    return scores, found


def _readable(name: str, config: Config) -> BenchmarkSet:
    """Load a set without the images that cannot be read or have no label."""
    loaded = load_set(name, config.evaluate.sets)
    images = loaded.images[(loaded.images["problem"] == "") & (loaded.images["class_label"] != "")]
    if images["class_key"].nunique() < 2:
        lines = "; ".join(loaded.differences)
        raise InputError(f"{loaded.facts['title']} has no two classes with readable images ({lines}); complete it")
    return replace(loaded, images=images)


def _score_set(run: Run, config: Config, loaded: BenchmarkSet, contestants: Mapping[str, Contestant]) -> pd.DataFrame:
    """Return the zero- and few-shot rows of all models on one set, or on each of its parts and their mean."""
    images, rows = loaded.images, []
    by_model = file_features(run, config, contestants, loaded.name, list(images["filepath"]))
    for model, values in by_model.items():
        keys, of_parts = {"model": model, "dataset": loaded.name}, []
        for part in images["part"].unique():
            inside = (images["part"] == part).to_numpy()
            asked = (loaded.facts, images[inside], values[inside])
            found = _zero_shot_rows(keys, *asked, contestants[model].encoder) + _few_shot_rows(keys, *asked, config)
            of_parts += [{**row, "part": part} for row in found]
        rows += _means(keys, pd.DataFrame(of_parts)) if (images["part"] != "").all() else []
        rows += [{**row, "task": f"{row['task']}/{row['part']}".rstrip("/")} for row in of_parts]
    return score_frame(rows)


def _means(keys: dict, rows: pd.DataFrame) -> list[dict]:
    """Return the rows of the mean over parts, each one draw, of accuracies."""
    means = []
    for (task, metric), of in rows[rows["metric"].str.contains("top")].groupby(["task", "metric"]):
        value = with_interval(of["value"].to_numpy(float), np.arange(len(of)))
        counts = {"n": of["n"].sum(), "seeds": 1, "chance": of["chance"].mean()}
        means.append({**keys, "task": task, "metric": metric, **value, **counts})
    return means


def _zero_shot_rows(
    keys: dict, facts: pd.Series, images: pd.DataFrame, values: np.ndarray, encoder: zero_shot.ClassEncoder | None
) -> list[dict]:
    """Return the rows by each text type of a set, the first being its own; none without one, or without encoder."""
    rows, labels = [], images["class_key"].to_numpy()
    for text_type in facts["text_type"].split() if encoder else ():
        strings = class_strings(class_table(images), text_type)
        weights = zero_shot.class_weights(strings, encoder, TEMPLATES)
        own = text_type == facts["text_type"].split()[0]
        scale, task = (encoder.logit_scale, "zero_shot") if own else (None, f"zero_shot/{text_type}")
        named = np.isin(labels, weights.index)  # of the others nothing is asked
        asked = (values[named], labels[named], strings[weights.index], weights, scale)
        rows += zero_shot.score_candidates({**keys, "task": task}, *asked)[0]
    return rows


def _few_shot_rows(
    keys: dict, facts: pd.Series, images: pd.DataFrame, values: np.ndarray, config: Config
) -> list[dict]:
    """Return the rows of SimpleShot on a set's folds; none where no two classes have the images."""
    cfg, rows = config.evaluate, []
    if facts["folds"] == "train to test" and (images["split"] == "test").any():
        pool, mode = np.isin(images["split"], ("train", "test")), "train to test"
    else:
        pool = (images.groupby("class_key")["class_key"].transform("size") > max(cfg.shots)).to_numpy()
        mode = "cumulative" if facts["folds"] == "cumulative" else "independent"
    images, values = images[pool], values[pool]
    labels = images["class_key"].to_numpy()
    if len(np.unique(labels)) < 2:
        return []
    if mode == "train to test":
        is_shot = (images["split"] == "train").to_numpy()
        folds = few_shot.train_to_test_folds(labels, is_shot, cfg.shots, cfg.n_folds, cfg.seed)
    else:
        folds = few_shot.few_shot_folds(labels, cfg.shots, cfg.n_folds, mode, cfg.seed)
    for k, parts in folds.items():
        ids = pd.Index(images["filepath"], name="image_id")
        answers = few_shot.fold_answers(values, labels, ids, parts, simple_shot)
        found = few_shot.score_answers({**keys, "part": "all", "k": k, "method": "simple_shot"}, answers)
        rows += [{**row, "chance": 1 / len(np.unique(labels[parts[0][0]]))} for row in found]  # who has shots
    return rows


def read_registry() -> pd.DataFrame:
    """Read the registry, indexed by ``set``; strings, '' where not known (its columns: data/README.md)."""
    return read_strings(REPOSITORY / "data" / "benchmark_sets.csv").set_index("set")


def survey_sets(root: str | Path) -> pd.DataFrame:
    """Tell which sets a folder holds, by ``set``: ``title, path`` ('' if absent), ``to_do`` ('' if it can be asked)."""
    root = Path(root).expanduser()
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; give one with a folder a benchmark set (data/benchmark_sets.csv)")
    registry = read_registry()
    paths = [_path(root, folder) for folder in registry["folder"]]
    to_do = registry["how_to_get"] + ": " + registry["source"]
    found = pd.Series(["" if path is None else str(path) for path in paths], index=registry.index)
    to_do = to_do.where(found == "", registry["layout"].map(lambda layout: "" if layout else _OWN_PROTOCOL))
    survey = pd.DataFrame({"title": registry["title"], "path": found, "to_do": to_do})
    others = [path for path in sorted(root.iterdir()) if path.is_dir() or path.suffix == ".csv"]
    others = [path for path in others if path.name.removesuffix(".csv") not in {*registry["folder"]}]
    rows = {f"{root.name}/{path.name}": ("", str(path), _UNKNOWN) for path in others if not path.name.startswith(".")}
    return pd.concat([survey, pd.DataFrame.from_dict(rows, "index", columns=survey.columns)]).rename_axis("set")


def _path(root: Path, folder: str) -> Path | None:
    """Return the folder or label file of a set; None where neither is there."""
    return next((path for path in (root / folder, root / f"{folder}.csv") if path.exists()), None)


def load_set(name: str, root: str | Path) -> BenchmarkSet:
    """Load a set of the registry from a folder of sets.

    ``images`` has a row an image: ``filepath`` (as `open_image` reads it), ``class_label`` (as published),
    ``class_key``, ``common_name``, the seven ranks ('' where the set gives none), ``part`` (of a set of several, else
    ''), ``split`` ('' where there is none), ``ordered`` (in the order of the original's table) and ``problem`` ('' or
    why the image cannot be read). The key is the taxon where the set gives one: two species with one common name are
    two classes.
    """
    registry = read_registry()
    if name not in registry.index:
        raise InputError(f"unknown benchmark set {name!r}; choose one of {', '.join(registry.index)}")
    facts = registry.loc[name]
    if not facts["layout"]:
        raise InputError(f"{facts['title']} {_OWN_PROTOCOL}; its numbers are known")
    path = _path(Path(root).expanduser(), facts["folder"])
    if path is None:
        raise InputError(f"{facts['title']} is not in {root}; {facts['how_to_get']}: {facts['source']}")
    read = {"nabirds": _read_nabirds, "camera_traps": _read_camera_traps}.get(facts["layout"], _read_labels)
    images = read(path)
    ranks = images[list(RANKS)]
    taxon = ranks.apply(lambda row: " ".join(filter(None, row)), axis=1)
    known = (ranks["genus"] != "") & (ranks["species"] != "")
    images = images.assign(class_key=taxon.where(known, images["class_label"]))
    return BenchmarkSet(name, facts, images, _differences(images, facts))


def _differences(images: pd.DataFrame, facts: pd.Series) -> list[str]:
    """Say where a set differs from what the registry expects of it."""
    found = {"n_images": len(images), "n_classes": images["class_key"].nunique()}
    lines = [
        f"{count:,} {what[2:]}, {int(facts[what]):,} expected"
        for what, count in found.items()
        if facts[what] and count != int(facts[what])
    ]
    unreadable = images.loc[images["problem"] != "", "problem"]
    lines += [f"{n:,} images: {problem}" for problem, n in unreadable.value_counts().items()]
    unlabelled = int((images["class_label"] == "").sum())
    lines += [f"{unlabelled:,} images without a label"] if unlabelled else []
    otherwise = {
        _OTHER_ORDER: facts["folds"] in ("cumulative", "independent") and not images["ordered"].all(),
        _POOLED: facts["layout"] == "camera_traps" and not (images["part"] != "").all(),
        _NO_SPLIT: facts["folds"] == "train to test" and not {"train", "test"} <= set(images["split"]),
        facts["asked_there"]: facts["asked_there"] != "",
    }
    return lines + [line for line, holds in otherwise.items() if holds]


def _read_labels(path: Path) -> pd.DataFrame:
    """Read a label file and the folder of its images; a folder without one as any source."""
    names = [path] if path.is_file() else [path / name for name in (*_LABEL_FILES, f"{path.name}.csv")]
    file = next((name for name in names if name.is_file()), None)
    return _read_any(path) if file is None else _read_table(file, (file.parent / "images", file.with_suffix("")))


def _read_table(file: Path, folders: Sequence[Path]) -> pd.DataFrame:
    """Read a label file; its images lie in the first of the folders that is there, else beside it."""
    table = read_known(file).rename(columns={"category": "class_name"})  # Meta-Album's word
    column = find_column(file, "path", table, PATH_COLUMNS)
    folder = next((f for f in folders if f.is_dir()), file.parent)
    ranks = table if "genus" in table else None  # without ranks beside it, "class" is the label
    images = _image_table([folder / name for name in table[column]], verbatim_names(file, table), ranks)
    return images.assign(ordered=file.name != _LABEL_FILES[0])


def _read_camera_traps(path: Path) -> pd.DataFrame:
    """Read five tables and their images, as on the hub; or one table, whose folders may be those of the five."""
    tables = {part: path / f"{part}-balanced.csv" for part in _CAMERA_TRAPS}
    tables = {part: file for part, file in tables.items() if file.is_file()}
    if tables:
        parts = [
            _read_table(file, (path / "data" / "test" / part, path / "images" / part, path / part)).assign(part=part)
            for part, file in tables.items()
        ]
        return pd.concat(parts, ignore_index=True)
    images = _read_labels(path)
    folders = images["filepath"].map(lambda file: Path(file).parent.name)
    return images.assign(part=folders if folders.isin(_CAMERA_TRAPS).all() else "")


def _read_nabirds(path: Path) -> pd.DataFrame:
    """Read NABirds: three files of lines ``<id> <value>``, and the folder ``images``."""
    images, classes, labels = (_id_lines(path / f"{name}.txt") for name in ("images", "classes", "image_class_labels"))
    lost = images.index.difference(labels.index)
    if len(lost) or not labels.isin(classes.index).all():
        raise InputError(
            f"{path}: images without a class, or classes without a name (e.g. {[*lost, *labels][0]}); unpack it again"
        )
    files = [path / "images" / name for name in images]
    return _image_table(files, classes.loc[labels.loc[images.index]], None).assign(ordered=True)  # as the original's


def _id_lines(file: Path) -> pd.Series:
    """Read lines of an id, a blank and the rest."""
    if not file.is_file():
        raise InputError(f"{file} does not exist; unpack the archive of NABirds again")
    lines = file.read_text(encoding="utf-8").splitlines()
    rows = [line.strip().partition(" ") for line in lines if line.strip()]
    return pd.Series([value.strip() for _, _, value in rows], index=[key for key, _, _ in rows], dtype=object)


def _read_any(path: Path) -> pd.DataFrame:
    """Read whatever `sources.read_source` reads."""
    raw = read_source(DataConfig(photos=str(path)))
    table = _image_table(raw["location"], raw["verbatim_name"], raw)
    split = raw[SPLIT_COLUMN].to_numpy() if SPLIT_COLUMN in raw else ""
    return table.assign(problem=raw["problem"].to_numpy(), split=split)


def _image_table(files, labels, said: pd.DataFrame | None) -> pd.DataFrame:
    """Put paths, labels and what is said of them (ranks, common name) into one table."""
    table = pd.DataFrame({"filepath": [str(file) for file in files], "class_label": [*labels]}, dtype=object)
    for column in ("common_name", *RANKS):
        table[column] = "" if said is None or column not in said else said[column].fillna("").to_numpy()
    if said is not None and "subspecies" in said:
        table["species"] = (table["species"] + " " + said["subspecies"].fillna("").to_numpy()).str.strip()
    problem = ["" if Path(file).is_file() else "file not found" for file in files]
    return table.assign(problem=problem, part="", split="", ordered=False)


def class_table(images: pd.DataFrame) -> pd.DataFrame:
    """Return the classes of `load_set`'s images, sorted, as `class_strings` takes them; cases as in the original."""
    classes = images.drop_duplicates("class_key").set_index("class_key").sort_index()
    for rank in RANKS:
        classes[rank] = classes[rank].str.lower() if rank == "species" else classes[rank].str.capitalize()
    rank = ((classes["species"] != "") | (classes["common_name"] != "")).map({True: "species", False: ""})
    return classes.assign(verbatim_name=classes["class_label"], rank=rank)[
        ["verbatim_name", "common_name", *RANKS, "rank"]
    ]
