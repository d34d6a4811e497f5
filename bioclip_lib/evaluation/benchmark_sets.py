"""The published benchmark sets: what there is, how to get it, and what it must hold.

Takes a folder of sets; returns the table of images of each set that is there, and says of the others what to do.
The facts are a table: ``data/benchmark_sets.csv``, a set a row.
Refuses unknown sets, sets of which nothing is there, and label files without a path or a label.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .. import RANKS
from ..config import DataConfig
from ..errors import InputError
from ..files.tables import find_column, read_strings, verbatim_names
from ..run import REPOSITORY
from ..sources.read import PATH_COLUMNS, read_source

_LABEL_FILES = ("labels.csv", "metadata.csv")  # as Meta-Album and the original's evaluation name them
_OWN_PROTOCOL = "has a protocol of its own, which is not implemented"
_UNKNOWN = "not asked: rename it to the folder of a set in data/benchmark_sets.csv, or take it away"


@dataclass(frozen=True)
class BenchmarkSet:
    """A set: its name, its row of the registry, its ``images`` (`load_set`) and where they differ from the registry."""

    name: str
    facts: pd.Series
    images: pd.DataFrame
    differences: list[str]


def read_registry() -> pd.DataFrame:
    """Read the registry of benchmark sets.

    Returns
    -------
    DataFrame
        Indexed by ``set``; strings, '' where not known: ``title, group`` (bioclip or bioclip2), ``folder`` (its name in
        a folder of sets), ``layout`` (meta_album, rare_species, nabirds, any), ``label_form, text_type`` (of the
        published zero-shot numbers; '' where there are none), ``n_images, n_classes, licence, source, how_to_get,
        notes``.
    """
    return read_strings(REPOSITORY / "data" / "benchmark_sets.csv").set_index("set")


def survey_sets(root: str | Path) -> pd.DataFrame:
    """Tell which sets of the registry a folder holds.

    Parameters
    ----------
    root : str or Path
        A folder with a folder, or a label file, a set, named as in the registry: ``PLK_Mini/`` or ``PLK_Mini.csv``.

    Returns
    -------
    DataFrame
        Indexed by ``set``: ``title``, ``path`` ('' where absent) and ``to_do`` ('' where the set can be asked). Other
        folders and tables that lie there follow, ``<root>/<name>``.

    Raises
    ------
    InputError
        If `root` is not a folder.
    """
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
    """Load a set of the registry.

    Parameters
    ----------
    name : str
        A name of the registry (``rare_species``).
    root : str or Path
        As of `survey_sets`.

    Returns
    -------
    BenchmarkSet
        ``images`` has a row an image: ``filepath`` (a location that `images.open_image` reads), ``class_label`` (as
        published), ``class_key``, ``common_name``, the seven ranks ('' where the set gives none), and ``problem`` (''
        or why the image cannot be read). The key is the taxon where the set gives one: two species with one common name
        are two classes.

    Raises
    ------
    InputError
        If the set is unknown, absent, of a protocol that is not zero- or few-shot, or without paths or labels.
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
    images = _read_nabirds(path) if facts["layout"] == "nabirds" else _read_labels(path)
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
    return lines + ([f"{unlabelled:,} images without a label"] if unlabelled else [])


def _read_labels(path: Path) -> pd.DataFrame:
    """Read a label file and the folder of its images; a folder without one as any source."""
    names = [path] if path.is_file() else [path / name for name in (*_LABEL_FILES, f"{path.name}.csv")]
    file = next((name for name in names if name.is_file()), None)
    if file is None:
        return _read_any(path)
    table = read_strings(file).rename(columns={"category": "class_name"})  # Meta-Album's word
    column = find_column(file, "path", table, PATH_COLUMNS)
    folder = next((f for f in (file.parent / "images", file.with_suffix("")) if f.is_dir()), file.parent)
    ranks = table if "genus" in table else None  # without ranks beside it, "class" is the label
    return _image_table([folder / name for name in table[column]], verbatim_names(file, table), ranks)


def _read_nabirds(path: Path) -> pd.DataFrame:
    """Read NABirds: three files of lines ``<id> <value>``, and the folder ``images``."""
    images, classes, labels = (_id_lines(path / f"{name}.txt") for name in ("images", "classes", "image_class_labels"))
    lost = images.index.difference(labels.index)
    if len(lost) or not labels.isin(classes.index).all():
        raise InputError(
            f"{path}: images without a class, or classes without a name (e.g. {[*lost, *labels][0]}); unpack it again"
        )
    return _image_table([path / "images" / name for name in images], classes.loc[labels.loc[images.index]], None)


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
    return table.assign(problem=raw["problem"].to_numpy())


def _image_table(files, labels, said: pd.DataFrame | None) -> pd.DataFrame:
    """Put paths, labels and what is said of them (ranks, common name) into one table."""
    table = pd.DataFrame({"filepath": [str(file) for file in files], "class_label": [*labels]}, dtype=object)
    for column in ("common_name", *RANKS):
        table[column] = "" if said is None or column not in said else said[column].fillna("").to_numpy()
    return table.assign(problem=["" if Path(file).is_file() else "file not found" for file in files])


def class_table(images: pd.DataFrame) -> pd.DataFrame:
    """Return the classes of a set, sorted, as `class_names.class_strings` takes them.

    Parameters
    ----------
    images : DataFrame
        Of `load_set`.

    Returns
    -------
    DataFrame
        Indexed by ``class_key``: ``verbatim_name`` (the label), ``common_name``, the ranks, and ``rank``, "species"
        also of a genus with a common name, so that this is asked and not the label (`captions.name_string`).
    """
    classes = images.drop_duplicates("class_key").set_index("class_key").sort_index()
    rank = ((classes["species"] != "") | (classes["common_name"] != "")).map({True: "species", False: ""})
    return classes.assign(verbatim_name=classes["class_label"], rank=rank)[
        ["verbatim_name", "common_name", *RANKS, "rank"]
    ]
