"""Images a second out of the same shards: into memory, streamed, and by webdataset: ``python -m speed.streaming``.

All decode by the same function at 64 px, the size of the shards, at which training reads them, on two threads or in two
processes. Medians of three alternating rounds; the first time a stream opens its index as well. The files lie in the
cache of the operating system. ``--base ddcf194`` streams the same shards with that commit as well, in turn, each epoch
in a process of its own.
"""

import argparse
import itertools
import statistics
import tempfile
from pathlib import Path

import webdataset as wds

from bioclip_lib.shards import read, stream

from . import world
from .measuring import in_turn, print_head, print_row, shown
from .names import checkouts, on_tree

N_IMAGES, SIZE_PX, BATCH, ROUNDS = 6_000, 64, 128, 3
WORKERS = 2
EPOCH = """  # on either commit: images a second of processor time, of a stream's first epoch and of its second
import itertools, json, pathlib, sys, time
try:
    from bioclip_lib.shards.stream import ShardStream
except ImportError:
    from bioclip_lib.stream import ShardStream
folder, batch, size_px, workers = pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:])
found, source = {}, None
for epoch in ("first", "second"):
    start = time.process_time()
    source = source or ShardStream(folder, "train", batch, size_px)
    n = sum(len(part.image_ids) for part in itertools.islice(source.batches(workers=workers), len(source)))
    found[epoch] = n / (time.process_time() - start)
print(json.dumps(found))
"""


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


def beside(folder, base):
    """Stream two epochs with this tree and with an older commit, in turn; print rates of processor time."""
    arguments = [str(number) for number in (folder, BATCH, SIZE_PX, WORKERS)]
    with checkouts(base) as trees:
        rounds = [
            {title: on_tree(tree, "-c", EPOCH, *arguments) for title, tree in trees.items()} for _ in range(ROUNDS)
        ]
    print_head("streamed", *(f"{title}, images/s of processor time" for title in trees), "times, round by round")
    for epoch in rounds[0][base]:
        rates = {title: [found[title][epoch] for found in rounds] for title in trees}
        times = ", ".join(f"{ours / theirs:.1f}" for theirs, ours in zip(*rates.values(), strict=True))
        print_row(f"{epoch} epoch", *map(statistics.median, rates.values()), times)


def main(arguments=None):
    """Print the rates for shards of synthetic images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", help="an older commit, measured beside this tree")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        shards = world.write_shards(Path(folder), N_IMAGES)
        print_head("reader", "rate")
        for reader, runs in rates(shards).items():
            print_row(reader, f"{shown(statistics.median(runs))} images/s")
        if args.base:
            print()
            beside(shards, args.base)


if __name__ == "__main__":
    main()
