"""WebDataset tars: written from the catalog, read back by any stock loader.

Takes a catalog with splits; writes ``<split>/shard-%06d.tar`` and ``index.json``. A sample is ``<image_id>.jpg``, a
text member per text type, a plain ``.txt`` and a ``.json``. Refuses shards that do not match their index.
"""

import itertools
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..catalog.splits import SPLITS, class_key, seeded_order, usable
from ..config import ShardConfig
from ..errors import InputError
from ..files.archives import in_compressed_tar, reading_order
from ..files.images import identify, resize_and_crop, to_rgb
from ..run import atomic, full_disk_named
from ..workers import map_threads, progress
from .captions import SHARD_TEXTS, check_text_type
from .samples import image_member, read_samples, recipe, settings_digest, tar_sample, text_members
from .spool import Spool
from .unfinished import INDEX_COLUMNS, PlannedTar, UnfinishedShards

_RERUN = "rerun 01_dataset_construction"


def write_shards(
    catalog: pd.DataFrame,
    folder: str | Path,
    config: ShardConfig,
    mapper: Callable = map_threads,
) -> pd.DataFrame:
    """Write the usable images of a catalog as shards, split by split.

    Parameters
    ----------
    catalog : pd.DataFrame
        With splits assigned.
    folder : str or Path
        Shards of an earlier call are replaced; a call that was interrupted is gone on with.
    config : ShardConfig
    mapper : callable
        `workers.map_threads` or `workers.map_ray`: who encodes.

    Returns
    -------
    pd.DataFrame
        The index: ``split, shard, n_samples, bytes, sha256``, one row a tar.

    Raises
    ------
    InputError
        If an image cannot be read, or is not the one that the catalog describes; if the disk is full; if another
        process writes there.

    Notes
    -----
    The bytes depend on catalog and configuration alone. Tars lie in ``.unfinished`` until all are written; then they
    are moved to their splits and index.json follows: without it nothing is read. After an interruption the same call
    checks the finished tars and writes the others (`shards.unfinished`).

    Within a split the order is pseudo-random, so that a tar is a mixed sample. A compressed tar cannot be read in such
    an order: its images are first encoded in the order of the archive, into a file that needs as much space again as
    these images do in the shards and is deleted at the end.
    """
    folder = Path(folder)
    if min(config.samples_per_shard, config.image_size_px) < 1 or not 1 <= config.jpeg_quality <= 100:
        raise InputError(f"{config} cannot be written; sizes are at least 1, the quality is 1 to 100")
    tars = _plan(catalog, config.samples_per_shard)
    with full_disk_named(folder), UnfinishedShards(folder) as unfinished:
        todo = unfinished.reuse(tars, config)
        with Spool(unfinished.folder / "spool", settings_digest(config)) as spool:
            _fill_spool(spool, todo, config, mapper)
            for split in dict.fromkeys(tar.split for tar in todo):
                of_split = [tar for tar in todo if tar.split == split]
                rows = (row for tar in of_split for row in tar.table.to_dict("records"))
                rows = ((row, spool.get(row["sha256"])) for row in rows)
                samples = mapper(partial(_encode_sample, config=config), rows)
                n = sum(len(tar.table) for tar in of_split)
                samples = iter(progress(f"shards/{split}", "images", n, samples))
                for tar in of_split:
                    _write_tar(unfinished, tar, itertools.islice(samples, len(tar.table)), config)
                next(samples, None)  # none is left; a progress bar ends
        return unfinished.publish(tars)


def _plan(catalog: pd.DataFrame, samples_per_shard: int) -> list[PlannedTar]:
    """Return the tars of a catalog, each with its rows, in the order of splits and shards."""
    kept = catalog[usable(catalog)]
    kept = kept.assign(class_key=class_key(kept), draw=seeded_order(kept["image_id"], seed=0))
    tars = []
    for split in SPLITS:
        table = kept[kept["split"] == split].sort_values(["draw", "image_id"])
        for i, start in enumerate(range(0, len(table), samples_per_shard)):
            tars.append(PlannedTar(split, f"shard-{i:06d}.tar", table.iloc[start : start + samples_per_shard]))
    return tars


def _fill_spool(spool: Spool, tars: Sequence[PlannedTar], config: ShardConfig, mapper: Callable) -> None:
    """Encode the images that lie in compressed tars, in the order of these."""
    tables = [tar.table.loc[tar.table["location"].map(in_compressed_tar), ["location", "sha256"]] for tar in tars]
    rows = [row for table in tables for row in table.to_dict("records") if row["sha256"] not in spool]
    if rows:
        rows = [rows[i] for i in reading_order([row["location"] for row in rows])]
        images = mapper(partial(image_member, config=config), rows)
        images = progress("shards: compressed archives", "images", len(rows), images)
        for row, image in zip(rows, images, strict=True):
            spool.add(row["sha256"], image)


class _Sample(NamedTuple):
    """An encoded sample, and the digest of the file that it was made of."""

    image_id: str
    file_sha256: str
    image: bytes
    texts: Mapping[str, bytes]


def _encode_sample(item: tuple[dict[str, str], bytes | None], config: ShardConfig) -> _Sample:
    """Encode a row of the catalog, unless its image is already encoded."""
    row, image = item
    return _Sample(row["image_id"], row["sha256"], image or image_member(row, config), text_members(row))


def _write_tar(unfinished: UnfinishedShards, tar: PlannedTar, samples: Iterable[_Sample], config: ShardConfig) -> None:
    """Write a tar under a temporary name, rename it when whole, and record it."""
    digest, n_bytes, made_of = sha256(), 0, []
    with atomic(unfinished.path(tar)) as tmp, tmp.open("wb") as file:
        for sample in samples:
            made_of.append((sample.file_sha256, sample.texts))
            data = tar_sample(sample.image_id, sample.image, sample.texts)
            n_bytes += file.write(data)
            digest.update(data)
        data = bytes(2 * tarfile.BLOCKSIZE)
        n_bytes += file.write(data)
        digest.update(data)
    unfinished.add(tar, n_bytes, digest.hexdigest(), recipe(made_of, config))


def read_index(folder: str | Path) -> pd.DataFrame:
    """Read the index of a shards folder; `InputError` where there is none (nothing written, or not finished)."""
    path = Path(folder) / "index.json"
    if not path.is_file():
        raise InputError(f"{path} is missing: no shards, or their writing was interrupted; {_RERUN}")
    return pd.DataFrame(json.loads(path.read_text(encoding="utf-8")), columns=list(INDEX_COLUMNS))


def _checked_tars(folder: Path) -> pd.DataFrame:
    """Return the index rows of one split after comparing them with what is on disk."""
    index = read_index(folder.parent)
    index = index[index["split"] == folder.name]
    found = {path.name: path.stat().st_size for path in folder.glob("*.tar")}
    listed = dict(zip(index["shard"], index["bytes"], strict=True))
    if set(found) != set(listed):
        odd = ", ".join(sorted(set(found) ^ set(listed))[:5])
        raise InputError(f"{len(listed)} shards listed, {len(found)} on disk in {folder} ({odd}); {_RERUN}")
    changed = [name for name in listed if found[name] != listed[name]]
    if changed:
        raise InputError(f"{folder / changed[0]} has {found[changed[0]]} bytes, {listed[changed[0]]} listed; {_RERUN}")
    return index


def read_shards(folder: str | Path, text_type: str | None = None) -> Iterator[dict]:
    """Read the samples of one split.

    Parameters
    ----------
    folder : str or Path
        ``shards/<split>``.
    text_type : str, optional
        A key of `shards.captions.SHARD_TEXTS`; the plain ``.txt`` if not given.

    Yields
    ------
    dict
        ``image_id``, ``image`` (PIL, decoded when first used), ``json`` (dict), ``text``.

    Raises
    ------
    InputError
        If tars are missing, too many, or of another size than the index lists; for an unknown text type.
    """
    folder, suffix = Path(folder), "txt"
    if text_type is not None:
        check_text_type(text_type)
        suffix = SHARD_TEXTS[text_type]
    for shard in _checked_tars(folder)["shard"]:
        for image_id, members in read_samples(folder / shard):
            yield {
                "image_id": image_id,
                "image": identify(members["jpg"]),
                "json": json.loads(members["json"]),
                "text": members[suffix].decode(),
            }


def read_image_ids(folder: str | Path, split: str) -> list[str]:
    """Read the image ids of one split, in the order of `load_images`, without its images."""
    folder = Path(folder) / split
    names = []
    for shard in _checked_tars(folder)["shard"]:
        with tarfile.open(folder / shard, "r:") as tar:
            names += [name for name in tar.getnames() if name.endswith(".jpg")]
    return [name.removesuffix(".jpg") for name in names]


def load_images(folder: str | Path, splits: Sequence[str], size_px: int) -> tuple[list[str], np.ndarray]:
    """Load whole splits into memory, at one size.

    Parameters
    ----------
    folder : str or Path
        The shards folder, with index.json.
    splits : sequence of str
    size_px : int
        The short edge is resized to this (bicubic, antialiased), then the centre is cropped: the geometry of CLIP's
        evaluation transform.

    Returns
    -------
    image_ids : list of str
        In the order of splits and shards.
    images : ndarray of shape (n, size_px, size_px, 3), uint8

    Raises
    ------
    InputError
        As in `read_shards`, and for an unknown split.

    Notes
    -----
    For sets that fit in memory: 10,000 images of 224 pixels take 1.5 GB.
    """
    folder = Path(folder)
    index = read_index(folder)
    unknown = set(splits) - set(index["split"])
    if unknown:
        raise InputError(f"no shards for split {sorted(unknown)} in {folder}; there are {sorted(set(index['split']))}")
    tars = [folder / split / shard for split in splits for shard in _checked_tars(folder / split)["shard"]]
    n = int(index.set_index("split").loc[list(splits), "n_samples"].sum())
    images = np.empty((n, size_px, size_px, 3), np.uint8)
    image_ids: list[str] = []
    samples = (sample for tar in tars for sample in read_samples(tar))
    for image_id, pixels in map_threads(partial(_decode, size_px=size_px), samples):
        images[len(image_ids)] = pixels
        image_ids.append(image_id)
    return image_ids, images


def _decode(sample: tuple[str, dict[str, bytes]], size_px: int) -> tuple[str, np.ndarray]:
    """Decode, resize and crop one sample: (image_id, uint8 (size_px, size_px, 3))."""
    image_id, members = sample
    return image_id, np.asarray(resize_and_crop(to_rgb(identify(members["jpg"])), size_px))
