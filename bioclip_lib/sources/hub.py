"""Image data sets of the library `datasets`: saved to disk, an imagefolder, Parquet with an image column, a hub name.

Takes a path or a name; returns the raw table. Images stay where `datasets` has them, in Arrow files: a location is
``path/to.arrow::<column>/<row>``. Refuses a data set without an image column, and a hub name that is neither in the
cache nor to be had.
"""

import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InputError
from ..files.archives import SEPARATOR
from ..files.arrow import image_places
from ..files.dialect import PARQUET_SUFFIXES
from .columns import SPLIT_COLUMN, STATE_COLUMNS, known_columns, said_of_names, verbatim_names
from .match import check_some_image, ordered
from .walk import globbed

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_ACTION = "give a data set whose image column holds images"


def is_saved(root: Path) -> bool:
    """Tell a folder that `datasets` saved."""
    return (root / "dataset_dict.json").is_file() or (
        (root / "state.json").is_file() and (root / "dataset_info.json").is_file()
    )


def parquet_files(path: Path) -> list[Path]:
    """Return the Parquet files with images at a path, or in a folder and ``data/`` of it."""
    if path.is_file():
        found = [path] if path.suffix.lower() in PARQUET_SUFFIXES else []
    else:
        found = sorted(globbed(path, "*.parquet", "*/*.parquet"))
    return [file for file in found if _has_images(file)]


def _has_images(path: Path) -> bool:
    """Tell whether a column of a Parquet file holds encoded images."""
    try:
        return any(_is_image_type(field.type) for field in pq.read_schema(path))
    except (OSError, ValueError):
        return False


def _is_image_type(kind: pa.DataType) -> bool:
    is_image = pa.types.is_struct(kind) and {field.name for field in kind} == {"bytes", "path"}
    return is_image or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def read_dataset(path: str | Path) -> pd.DataFrame:
    """Read an image data set of the library `datasets`, split by split; ``source_id`` is ``<split>/<number>``."""
    import datasets
    import huggingface_hub

    # the folders that it may name files in: its own, and the caches
    own, caches = Path(path), (datasets.config.HF_DATASETS_CACHE, huggingface_hub.constants.HF_HUB_CACHE)
    roots = [root.resolve() for root in (*([own] if own.is_dir() else []), *map(Path, caches))]
    rows = [_split_rows(split, data, str(path), roots) for split, data in _load(path).items()]
    source = Path(path).stem or str(path)
    raw = pd.concat(rows, ignore_index=True).assign(source=source)
    return check_some_image(ordered(raw), Path(path), {}, _ACTION)


def _load(path: str | Path) -> dict:
    """Load the splits of a data set."""
    import datasets

    root = Path(path)
    try:
        if root.is_dir() and is_saved(root):
            loaded = datasets.load_from_disk(str(root))
        elif root.exists():
            splits: dict[str, list[str]] = {}  # as the hub names files: train-00000-of-...
            for file in parquet_files(root):
                match = re.match(r"(train|validation|val|test)\b", file.name)
                splits.setdefault(match[1] if match else "train", []).append(str(file.resolve()))
            loaded = datasets.load_dataset("parquet", data_files=splits)
        else:
            loaded = datasets.load_dataset(str(path))
    except Exception as error:  # the library and those below it raise nearly anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        action = (
            "repair or save it again"
            if root.exists()
            else "it is no folder; with a network unset HF_HUB_OFFLINE, else download it elsewhere and give its folder"
        )
        raise InputError(f"data set {path} cannot be loaded ({reason}); {action}") from None
    return dict(loaded) if isinstance(loaded, dict) else {str(loaded.split or "train"): loaded}


def _split_rows(split: str, data, path: str, roots: list[Path]) -> pd.DataFrame:
    """Return the raw rows of one split."""
    import datasets

    images = [name for name, feature in data.features.items() if isinstance(feature, datasets.Image)]
    images += [field.name for field in data.data.schema if field.name not in images and _is_image_type(field.type)]
    if not images:
        raise InputError(f"data set {path} has no image column: found {', '.join(data.features)}; {_ACTION}")
    others = [
        name
        for name, feature in data.features.items()
        if isinstance(feature, (datasets.ClassLabel, datasets.Value)) and "binary" not in getattr(feature, "dtype", "")
    ]
    table = data.select_columns(others).to_pandas() if others else pd.DataFrame(index=range(len(data)))
    for name in others:
        if isinstance(data.features[name], datasets.ClassLabel):
            names = data.features[name].names
            table[name] = [names[i] if 0 <= i < len(names) else "" for i in table[name].fillna(-1).astype(int)]
    table = known_columns(table.astype(object).where(table.notna(), "").astype(str))
    name = verbatim_names(Path(path), table)
    said = said_of_names(table, name).join(table[[column for column in STATE_COLUMNS if column in table]])
    places = [  # a place in an Arrow file, or a path below one of `roots`
        (f"{file}{SEPARATOR}{images[0]}/{row}", "") if has_bytes else (path, _path_problem(path, roots))
        for file in [entry["filename"] for entry in data.cache_files]
        for row, (has_bytes, path) in enumerate(image_places(file, images[0]))
    ]
    raw = pd.DataFrame(places, columns=["location", "problem"], dtype=object).assign(verbatim_name=name)
    raw["source_id"] = [f"{split}/{i}" for i in range(len(raw))]
    return pd.concat([raw, said], axis=1).assign(**{SPLIT_COLUMN: split})


def _path_problem(path: str, roots: list[Path]) -> str:
    """Return why an image that is stored as a path is not read, '' where it is."""
    if not path:
        return "no image"
    file = Path(path).resolve()
    if not any(file.is_relative_to(root) for root in roots):
        return "path that leaves the data set, not followed"
    return "" if file.is_file() else "file not found"
