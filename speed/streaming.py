"""Images a second out of the same shards: into memory, streamed, and by webdataset: ``python -m speed.streaming``.

All decode by the same function at 64 px, the size of the shards, at which training reads them, on two threads or in two
processes. Medians of three alternating rounds; the first time a stream opens its index as well. The files lie in the
cache of the operating system.
"""

import itertools
import statistics
import tempfile
from pathlib import Path

import webdataset as wds

from bioclip_lib.shards import read, stream

from . import world
from .measuring import in_turn, print_head, print_row, shown

N_IMAGES, SIZE_PX, BATCH, ROUNDS = 6_000, 64, 128, 3
WORKERS = 2


def in_memory(folder):
    """Load the split as arrays; return the number of images."""
    return len(read.load_images(folder, ["train"], SIZE_PX)[0])


def streamed(source):
    """Read an epoch of whole batches; return the number of images."""
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
        wds.map_tuple(lambda data: read.decode_jpeg(data, SIZE_PX)),
        wds.batched(BATCH),
    )
    loader = wds.WebLoader(data, batch_size=None, num_workers=WORKERS)
    return sum(len(images) for images, *_ in loader)


def rates(folder):
    """Return images per second of each reader of the train split of a folder of shards, run by run."""
    source = stream.ShardStream(folder, "train", BATCH, SIZE_PX)
    readers = {
        "into memory (`load_images`)": lambda: in_memory(folder),
        "streamed (`ShardStream`)": lambda: streamed(source),
        "streamed, first time": lambda: streamed(stream.ShardStream(folder, "train", BATCH, SIZE_PX)),
        f"webdataset, shuffled as open_clip does, {WORKERS} processes": lambda: by_webdataset(folder),
    }
    epochs_per_s = in_turn(readers, 1, ROUNDS)
    n_images = {name: reader() for name, reader in readers.items()}  # a stream leaves out what fills no batch
    return {name: [n_images[name] * each for each in found] for name, found in epochs_per_s.items()}


def main():
    """Print the rates for shards of synthetic images."""
    with tempfile.TemporaryDirectory() as folder:
        found = rates(world.write_shards(Path(folder), N_IMAGES))
    print_head("reader", "rate")
    for reader, runs in found.items():
        print_row(reader, f"{shown(statistics.median(runs))} images/s")


if __name__ == "__main__":
    main()
