"""Image-text pairs of another collection beside those of the catalog, so that a model does not forget what it knew.

Takes a folder of tars as web data sets have them: an image (.jpg, .jpeg, .png or .webp) and its .txt of one name each,
whatever else lies beside them. Returns batches of pixels and texts. Refuses a folder without pairs, and stops where too
many of them cannot be read.
"""

import functools
import hashlib
import json
from math import ceil
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files.archives import MAX_ARCHIVES, SEPARATOR, Archive, ArchiveError, open_archive, read_member
from ..files.images import MAX_BYTES, ImageError, identify, resize_and_crop, to_rgb
from ..run import write_json
from ..run.workers import map_threads
from .samples import OVERSIZE
from .stream import SampleStream

_IMAGES = ("jpg", "jpeg", "png", "webp")
_MAX_TEXT_BYTES = 2**16


class ReplayPairs:
    """The pairs in the tars of a folder, which stay there; the file `counts` keeps how many each tar holds."""

    def __init__(self, folder: str | Path, batch_size: int, size_px: int, counts: Path) -> None:
        self.folder, self.batch_size, self.size_px = Path(folder), batch_size, size_px
        tars = sorted(path for path in self.folder.rglob("*.tar") if path.is_file())
        known = _read_counts(counts)
        keys = [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in tars]
        new = [path for path, key in zip(tars, keys, strict=True) if key not in known]
        found = dict(zip(new, map_threads(_count_pairs, new), strict=True))
        content = {key: known[key] if key in known else found[path] for path, key in zip(tars, keys, strict=True)}
        if new:
            write_json(counts, content)
        self.sizes = {path: n for path, n in zip(tars, content.values(), strict=True) if n}
        if not self.sizes:
            raise InputError(
                f"train.replay: no image with a .txt of its name in the tars of {folder}; give a folder of tars as web "
                "data sets have them, or set train.replay_batch=0"
            )

    def __len__(self) -> int:
        return sum(self.sizes.values())

    def digest(self) -> str:
        """Return the SHA-256 of the tars' names and numbers of pairs; no image is read."""
        content = [(path.relative_to(self.folder).as_posix(), n) for path, n in self.sizes.items()]
        return hashlib.sha256(repr((content, self.batch_size, self.size_px)).encode()).hexdigest()


class ReplayStream(SampleStream):
    """A stream of the tars of `ReplayPairs`; of a batch, ``class_keys`` are the texts."""

    remedy = "mend or remove those tars"

    def __init__(self, pairs: ReplayPairs, seed: int = 0, rank: int = 0, world_size: int = 1) -> None:
        self._paths, sizes = list(pairs.sizes), list(pairs.sizes.values())
        super().__init__(sizes, str(pairs.folder), pairs.batch_size, pairs.size_px, seed, (rank, world_size))

    def _read(self, number: int) -> tuple[np.ndarray, str, str] | None:
        """Read and decode one pair; None, and it is counted, where that is not possible."""
        shard, i = self.order.locate(number)
        path, name = self._paths[shard], f"pair {i}"
        try:
            name, text = _pairs(open_archive(path))[i]
            image = to_rgb(identify(read_member(path, name, MAX_BYTES)), ceil(OVERSIZE * self.size_px))
            pixels = np.asarray(resize_and_crop(image, self.size_px))
            return pixels, name, read_member(path, text, _MAX_TEXT_BYTES).decode().strip()
        except (ArchiveError, ImageError, UnicodeDecodeError) as error:
            self._pass_over(f"{path}{SEPARATOR}{name}", str(error))
        except IndexError:
            self._pass_over(f"{path}{SEPARATOR}{name}", "the tar has changed")
        return None


@functools.lru_cache(maxsize=MAX_ARCHIVES)
def _pairs(archive: Archive) -> list[tuple[str, str]]:
    """Return the names of the images of an archive that have a text, and of the text, in order."""
    found = []
    for name in archive.members:
        stem, _, suffix = name.rpartition(".")
        if suffix.lower() in _IMAGES and f"{stem}.txt" in archive.members:
            found.append((name, f"{stem}.txt"))
    return found


def _read_counts(path: Path) -> dict[str, int]:
    """Read the counts of an earlier start; none where the file is missing or damaged."""
    try:
        counts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return counts if isinstance(counts, dict) else {}


def _count_pairs(path: Path) -> int:
    try:
        return len(_pairs(open_archive(path)))
    except ArchiveError as error:
        raise InputError(f"{path}: {error}; mend or remove it") from None
