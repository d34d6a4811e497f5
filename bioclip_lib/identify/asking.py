"""Photographs in, a table of names out: an image a row, those that cannot be read with the reason.

`identify` returns the table; `write_answers` writes it part by part, so that an interrupted one goes on where it was.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from tqdm import tqdm

from ..errors import InputError
from ..files import write_csv
from ..files.crops import split_crop
from ..model.features import feature_rows
from ..model.load import LoadedModel, preprocess_digest
from ..run import atomic, remove, write_json
from ..run.workers import progress
from .candidates import check_texts
from .labels import LabelSet
from .naming import FLOOR, answers, name_features
from .photos import Photo, Source, features_of, list_photos

FORMATS = (".csv", ".parquet", ".json")
_PART = 1_000  # photographs


@dataclasses.dataclass(frozen=True)
class Trust:
    """How sure a model must be: ``temperature`` divides its logits, an answer has at least ``floor`` as probability.

    ``said`` tells where they come from; below ``known_from`` the highest logit is that of an unknown taxon.
    ``conformal`` is the floor that a stated coverage asks for, which `floor` may exceed.
    """

    temperature: float = 1.0
    floor: float = FLOOR
    said: str = "not calibrated"
    known_from: float = float("-inf")
    conformal: float = float("nan")


def identify(
    photos: Source | Photo | Sequence,
    labels: LabelSet,
    model: LoadedModel,
    rank: str = "species",
    k: int = 5,
    trust: Trust = Trust(),
    batch_size: int = 64,
) -> pd.DataFrame:
    """Name the taxon on each photograph, at the deepest rank that can be trusted.

    Parameters
    ----------
    photos : path, PIL image, array, `Photo`, or a sequence of these
        As `list_photos` takes them.
    labels, model
        The candidates, and the model that they were made with.
    rank : str
        Of the choices: a rank, "label" or "group"; ``k`` of them an image.
    trust : Trust
        By default not calibrated.

    Returns
    -------
    DataFrame
        One row a photograph, in order: ``file_name, problem`` ('' where it was read), ``unknown`` ("yes" where it looks
        like none of the candidates), and the columns of `naming.answers`. The probability of a taxon is the sum over
        the candidates in it; ``taxon`` is the deepest along one lineage that clears the floor, '' where not even a
        kingdom does. Refuses labels and a model that do not belong together.
    """
    check_model(labels, model)
    found = list_photos(photos)
    with progress("identify", "photos", len(found)) as bar:
        parts = _answered(found, labels, model, (rank, k, trust, batch_size), bar)
        return pd.concat((table for table, _ in parts), ignore_index=True)


def check_model(labels: LabelSet, model: LoadedModel) -> None:
    """Refuse labels that another model made, and a model whose score is no cosine."""
    if "hyperbolic" in model.address.lower():
        raise InputError(f"{model.address}: its score is hyperbolic and no cosine; choose another model")
    made_by = labels.made_of.get("model_sha256", model.digest)
    if made_by != model.digest:
        raise InputError(
            f"these labels were made with {labels.made_of['model']}, not with {model.address}; make them again with it"
        )
    check_texts(labels, model)


def _answered(
    photos: list[Photo], labels: LabelSet, model: LoadedModel, asked: tuple, bar: tqdm
) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
    """Yield the answers of a batch of photographs, and the features of those that were read."""
    waiting = iter(photos)
    for problems, features in features_of(photos, model, asked[-1]):
        names = [photo.name for photo in islice(waiting, len(problems))]
        table = pd.DataFrame({"file_name": names, "problem": problems})
        features = features if len(features) else np.zeros((0, labels.weights.shape[1]), np.float32)
        found = named(features, labels, model, asked)
        found.index = table.index[table["problem"] == ""]
        yield pd.concat([table, _filled(found, table.index)], axis=1), features
        bar.update(len(problems))


def named(features: np.ndarray, labels: LabelSet, model: LoadedModel, asked: tuple) -> pd.DataFrame:
    """Return the answers to features of photographs, or of events."""
    rank, k, trust, _ = asked
    scale = model.model.logit_scale.exp().item() / trust.temperature
    found = answers(name_features(features, labels, scale, rank, k), labels, trust.floor)
    found.insert(0, "unknown", np.where(found["max_logit"] < trust.known_from, "yes", ""))
    return found


def _filled(found: pd.DataFrame, index: pd.Index) -> pd.DataFrame:
    """Return answers with rows of nothing for what has none."""
    texts = [column for column in found if not column.startswith(("score", "max_logit"))]
    return found.reindex(index).fillna(dict.fromkeys(texts, ""))


def write_answers(
    path: str | Path,
    photos: list[Photo],
    labels: LabelSet,
    model: LoadedModel,
    *asked: object,
    embeddings: str | Path | None = None,
) -> pd.DataFrame:
    """Write the table of `identify` as .csv, .parquet or .json; what an interrupted call has named is not named again.

    `asked` are rank, k, trust and batch size. Beside the table ``<name>.made_of.json`` says how it was made; where
    photographs have events, ``<name>.events`` of the same ending names each event by the mean of the logits of its
    photographs. `embeddings` takes a feature table of the photographs that were read (`model.features.read_features`).
    """
    path = Path(path).expanduser()
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path} has none of the endings {', '.join(FORMATS)}; choose one for --out")
    check_model(labels, model)
    rank, k, trust, _ = asked
    made = {"model": model.address, "model_sha256": model.digest, "labels_sha256": labels.digest, "rank": rank, "k": k}
    made = {**made, **dataclasses.asdict(trust), "labels": labels.made_of, "n_labels": len(labels)}
    parts = path.with_name(f".{path.name}.parts")
    files = _in_parts(parts, photos, (labels, model, asked), json.dumps(made, sort_keys=True, default=str))
    table = pd.concat([pq.read_table(file).to_pandas() for file in files], ignore_index=True)
    _write(path, table)
    if any(photo.event for photo in photos):
        found = _of_events(photos, table, files, (labels, model, asked))
        _write(path.with_name(f"{path.stem}.events{path.suffix}"), found)
    if embeddings:
        _write_embeddings(Path(embeddings).expanduser(), files, model)
    write_json(path.with_name(f"{path.name}.made_of.json"), {**made, "n_photographs": len(table)})
    remove(parts)
    return table


def _in_parts(parts: Path, photos: list[Photo], using: tuple, made: str) -> list[Path]:
    """Name photographs a part at a time, each part a file with its features beside it; return the files."""
    labels, model, asked = using
    key = hashlib.sha256((made + _content(photos)).encode()).hexdigest()
    if not (parts / key).is_file():  # the parts of another question
        remove(parts)
        parts.mkdir(parents=True)
        (parts / key).touch()
    files = [parts / f"{start:09d}.parquet" for start in range(0, len(photos), _PART)]
    with progress("identify", "photos", len(photos)) as bar:
        for n, file in enumerate(files):
            some = photos[n * _PART : (n + 1) * _PART]
            if file.is_file():
                bar.update(len(some))
                continue
            tables, features = zip(*_answered(some, labels, model, asked, bar), strict=True)
            with atomic(_features(file)) as tmp, open(tmp, "wb") as out:
                np.save(out, np.concatenate(features))
            with atomic(file) as tmp:
                pd.concat(tables, ignore_index=True).to_parquet(tmp)
    return files


def _features(part: Path) -> Path:
    """Return where the features of a part lie."""
    return part.with_suffix(".npy")


def _of_events(photos: list[Photo], table: pd.DataFrame, files: list[Path], using: tuple) -> pd.DataFrame:
    """Name each event by the mean of the logits of its photographs; one without an event is one by itself."""
    labels, model, asked = using
    codes, names = pd.factorize(np.array([photo.event or photo.name for photo in photos], dtype=object))
    read = (table["problem"] == "").to_numpy()
    n_read, sums = np.bincount(codes[read], minlength=len(names)), np.zeros((len(names), labels.weights.shape[1]))
    rows = iter(np.split(codes[read], np.cumsum([len(np.load(_features(file), mmap_mode="r")) for file in files])[:-1]))
    for file, of in zip(files, rows, strict=True):
        np.add.at(sums, of, np.load(_features(file)))
    found = named((sums[n_read > 0] / n_read[n_read > 0, None]).astype(np.float32), labels, model, asked)
    found.index = np.flatnonzero(n_read)
    events = pd.DataFrame({"event": names, "n_photographs": n_read})
    events["problem"] = np.where(n_read > 0, "", "no photograph could be read")
    return pd.concat([events, _filled(found, events.index)], axis=1)


def _write_embeddings(path: Path, files: list[Path], model: LoadedModel) -> None:
    """Write the features of the photographs that were read, a part at a time."""
    digests = {"model_digest": model.digest, "preprocess_digest": preprocess_digest(model.model, "auto")}
    with atomic(path) as tmp, contextlib.ExitStack() as stack:
        writer = None
        for file in files:
            names = pq.read_table(file, columns=["file_name", "problem"]).to_pandas()
            rows = feature_rows(list(names.loc[names["problem"] == "", "file_name"]), np.load(_features(file)), digests)
            writer = writer or stack.enter_context(pq.ParquetWriter(tmp, rows.schema, write_page_checksum=True))
            writer.write_table(rows)


def _content(photos: list[Photo]) -> str:
    """Return what photographs are, by name, box, size and time."""
    files = [str(photo.source) for photo in photos]
    places = [split_crop(name)[0] for name in files]
    stats = [os.stat(name) if os.path.isfile(name) else None for name in places]
    return json.dumps(
        [(*file, stat and (stat.st_size, stat.st_mtime_ns)) for file, stat in zip(files, stats, strict=True)]
    )


def _write(path: Path, table: pd.DataFrame) -> None:
    """Write a table by the ending of its name, whole or not at all."""
    if path.suffix.lower() == ".csv":
        write_csv(table, path, digits=6)
        return
    with atomic(path) as tmp:
        if path.suffix.lower() == ".parquet":
            table.to_parquet(tmp, index=False)
        else:
            table.to_json(tmp, orient="records", indent=1, force_ascii=False)
