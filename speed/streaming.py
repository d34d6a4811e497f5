"""Images a second out of the same shards: into memory, streamed, and by webdataset: ``python -m speed.streaming``.

All decode with Pillow to 48 px by the same function, on two threads or in two processes. Medians of three alternating
rounds; a stream's first round also reads the headers of its tars. The files lie in the cache of the operating system.
"""

import itertools
import statistics
import tempfile
import time
from pathlib import Path

import webdataset as wds

from bioclip_lib.shards import read, stream

SIZE_PX, BATCH, ROUNDS = 48, 128, 3
WORKERS = 2


def in_memory(folder):
    """Load the split as arrays; return the number of images."""
    return len(read.load_images(folder, ["train"], SIZE_PX)[0])


def streamed(source):
    """Read an epoch; return the number of images."""
    return sum(len(batch.image_ids) for batch in itertools.islice(source.batches(workers=WORKERS), len(source)))


def by_webdataset(folder):
    """Read an epoch shuffled as open_clip's trainer does, in two processes; return the number of images."""
    paths = [str(path) for path in sorted((folder / "train").glob("*.tar"))]
    data = wds.DataPipeline(
        wds.SimpleShardList(paths),
        wds.shuffle(2_000),
        wds.split_by_worker,
        wds.tarfile_to_samples(),
        wds.shuffle(bufsize=5_000, initial=1_000),
        wds.to_tuple("jpg", "json", "__key__"),
        wds.map_tuple(lambda data: read.decode_pixels(data, SIZE_PX)),
        wds.batched(BATCH),
    )
    loader = wds.WebLoader(data, batch_size=None, num_workers=WORKERS)
    return sum(len(images) for images, *_ in loader)


def rows(folder):
    """Measure on the train split of a folder of shards; return (stage, unit, rate) rows."""
    source = stream.ShardStream(folder, "train", BATCH, SIZE_PX)
    readers = {
        "decode shards into memory": lambda: in_memory(folder),
        "stream shards": lambda: streamed(source),
        "stream shards, first time": lambda: streamed(stream.ShardStream(folder, "train", BATCH, SIZE_PX)),
        "the same by webdataset, 2 processes": lambda: by_webdataset(folder),
    }
    in_memory(folder), streamed(source)
    rates = {name: [] for name in readers}
    for _ in range(ROUNDS):
        for name, reader in readers.items():
            start = time.perf_counter()
            n = reader()
            rates[name].append(n / (time.perf_counter() - start))
    return [(name, "images/s", statistics.median(found)) for name, found in rates.items()]


def main():
    """Print the rates for shards of synthetic images."""
    from .trainers import write_shards

    with tempfile.TemporaryDirectory() as name:
        for row in rows(write_shards(Path(name), n_images=6_000)):
            print(f"| {row[0]} | {row[2]:,.0f} {row[1]} |")


if __name__ == "__main__":
    main()
