"""Shards from 12-megapixel photographs, against a loop of Pillow and tarfile: ``python -m speed.photographs``.

Both write the same members, at the same size and quality, of the same files, on one thread; runs of one and of the
other alternate, so that the ratio of their medians holds on a busy machine too.
"""

import io
import statistics
import tarfile
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from threadpoolctl import threadpool_limits

from bioclip_lib.catalog import duplicates, perceptual
from bioclip_lib.catalog import table as catalog
from bioclip_lib.catalog.splits import class_key
from bioclip_lib.config import ShardConfig
from bioclip_lib.shards import samples, write
from bioclip_lib.workers import map_threads

CONFIG = ShardConfig(image_size_px=224, jpeg_quality=92)
N_IMAGES = 12


def write_photographs(folder, n_images=N_IMAGES, size=(4000, 3000)):
    """Write JPEGs (quality 90) with the spectrum of natural images, amplitude 1/f; return their catalog."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(size[1])[:, None], np.fft.rfftfreq(size[0])[None, :])
    amplitude = 1 / np.maximum(frequency, 1 / max(size))
    noise = [np.fft.irfft2(amplitude * np.fft.rfft2(rng.standard_normal(size[::-1])), size[::-1]) for _ in range(3)]
    shade, tint = noise[0] / noise[0].std(), [plane / plane.std() for plane in noise[1:]]
    planes = [128 + 50 * shade, 128 + 12 * tint[0], 128 + 12 * tint[1]]  # YCbCr: most of the contrast is brightness
    pixels = np.stack([plane.clip(0, 255).astype(np.uint8) for plane in planes], axis=2)
    (folder / "photographs").mkdir(parents=True)
    for i in range(n_images):
        moved = np.roll(pixels, 301 * i, axis=1)  # other bytes, the same cost
        Image.fromarray(moved, "YCbCr").convert("RGB").save(folder / "photographs" / f"{i:02d}.jpg", quality=90)
    paths = sorted(map(str, (folder / "photographs").glob("*.jpg")))
    raw = pd.DataFrame({"source": "bench", "source_id": [Path(p).name for p in paths], "location": paths})
    raw = raw.assign(verbatim_name="grey noise", problem="")
    names = catalog.resolve_raw_names(raw, None)
    return catalog.build_catalog(raw, names, duplicates.inspect_images(raw)).assign(split="train")


def write_plainly(table, path):
    """Write the same members the way one would by hand."""
    rows = table.assign(class_key=class_key(table)).to_dict("records")
    with tarfile.open(path, "w") as tar:
        for row in rows:
            image = Image.open(row["location"]).convert("RGB")
            scale = CONFIG.image_size_px / min(image.size)
            image = image.resize([round(side * scale) for side in image.size], Image.Resampling.LANCZOS)
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=CONFIG.jpeg_quality, subsampling=0)
            members = {"jpg": buffer.getvalue(), **samples.text_members(row)}
            for suffix, data in members.items():
                info = tarfile.TarInfo(f"{row['image_id']}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def alternate(functions, n_items, repeats=5):
    """Return the median of items per second of each function, run in turn."""
    seconds = [[] for _ in functions]
    for _ in range(repeats):
        for function, times in zip(functions, seconds, strict=True):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
    return [n_items / statistics.median(times) for times in seconds]


def shard_rates(folder):
    """Return images per second of `write_shards` and of the plain loop, both on one thread."""
    table = write_photographs(folder)
    ours = lambda: write.write_shards(table, folder / "shards", CONFIG, mapper=partial(map_threads, workers=1))  # noqa: E731
    return alternate([ours, lambda: write_plainly(table, folder / "plain.tar")], len(table))


def hash_rate(size_px=224, n_images=512):
    """Return perceptual hashes per second and core of grey images in memory."""
    images = np.random.default_rng(0).integers(0, 256, (n_images, size_px, size_px), dtype=np.uint8)
    with threadpool_limits(1):
        return alternate([lambda: perceptual.perceptual_hashes(images)], n_images)[0]


def rows():
    """Return the rows of the table of `speed`."""
    with tempfile.TemporaryDirectory() as name:
        ours, plain = shard_rates(Path(name))
    return [
        ("write shards, 12-megapixel JPEGs, 1 thread", "images/s", ours),
        ("the same by a loop of Pillow and tarfile", "images/s", plain),
        ("ratio of the two", "times", ours / plain),
        ("hash by look, 224 px, 1 thread", "images/s", hash_rate()),
    ]


if __name__ == "__main__":
    for stage, unit, rate in rows():
        print(f"{stage}: {rate:,.1f} {unit}")
