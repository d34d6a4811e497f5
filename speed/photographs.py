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

from bioclip_lib.catalog import assembly, duplicates, looks
from bioclip_lib.config import ShardConfig
from bioclip_lib.run.workers import map_threads
from bioclip_lib.shards import samples, write
from bioclip_lib.taxonomy import resolve

from .measuring import in_turn, print_head, print_row, shown

CONFIG = ShardConfig(image_size_px=224, jpeg_quality=92)
N_IMAGES, SIZE = 12, (4_000, 3_000)
REPEATS = 5
N_HASHES = 512


def write_photographs(folder, n_images, size):
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
    names = resolve(raw)
    return assembly.join(raw, names, duplicates.inspect_images(raw)).assign(split="train")


def write_plainly(table, path):
    """Write the same members the way one would by hand."""
    rows = table.to_dict("records")
    with tarfile.open(path, "w") as tar:
        for row in rows:
            image = Image.open(row["location"]).convert("RGB")
            scale = CONFIG.image_size_px / min(image.size)
            image = image.resize([round(side * scale) for side in image.size], Image.Resampling.LANCZOS)
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=CONFIG.jpeg_quality, subsampling=0)
            members = {"jpg": buffer.getvalue(), **samples.text_members(row, CONFIG)}
            for suffix, data in members.items():
                info = tarfile.TarInfo(f"{row['image_id']}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def shard_rates(folder):
    """Return images per second of `write_shards` and of the plain loop, run by run, both on one thread."""
    table = write_photographs(folder, N_IMAGES, SIZE)
    one_thread = partial(map_threads, workers=1)
    ways = {
        "ours": lambda: write.write_shards(table, folder / "shards", CONFIG, mapper=one_thread),
        "plain": lambda: write_plainly(table, folder / "plain.tar"),
    }
    return in_turn(ways, len(table), REPEATS, clock=time.process_time)


def hash_rates(size_px=224):
    """Return perceptual hashes per second of grey images in memory, on one thread, run by run."""
    images = np.random.default_rng(0).integers(0, 256, (N_HASHES, size_px, size_px), dtype=np.uint8)
    with threadpool_limits(1):
        return in_turn({"": lambda: looks.perceptual_hashes(images)}, N_HASHES, REPEATS, clock=time.process_time)[""]


def main():
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        rates = shard_rates(Path(folder))
    ours, plain, hashed = map(statistics.median, (rates["ours"], rates["plain"], hash_rates()))
    ratios = sorted(a / b for a, b in zip(rates["ours"], rates["plain"], strict=True))
    print_head("stage", "rate, of processor time")
    print_row(f"write shards, JPEGs of {SIZE[0]} x {SIZE[1]}, 1 thread", f"{shown(ours)} images/s")
    print_row("the same by a loop of Pillow and tarfile", f"{shown(plain)} images/s")
    print_row("ratio of the two, run by run", f"{ratios[0]:.1f} to {ratios[-1]:.1f} times")
    print_row("hash by look, 224 px, 1 thread", f"{shown(hashed)} images/s")


if __name__ == "__main__":
    main()
