"""Memory and processor time of a whole catalog at 10^5, 10^6 and 10^7 rows: ``python -m benchmarks.scale``.

The rows are synthetic, their names those of real species: distinct names as TreeOfLife-10M has them (one in 25 rows, at
most 450,000), with their ranks as context; 1 % of the files are copies, 1 % near copies. Each size runs in a process of
its own, so that its peak memory is its own.
"""

import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bioclip_lib import catalog_files
from bioclip_lib.backbones import ncbi_backbone
from bioclip_lib.config import DataConfig, SplitConfig

SIZES = (10**5, 10**6, 10**7)
BATCH = 200_000
SOURCES = np.array(["eol", "inat21", "bioscan"])
BINOMIAL = re.compile(r"[A-Z][a-z]+ [a-z]{3,}")
RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")


def species_names(n):
    """Return n real species and their ranks."""
    backbone, rows = ncbi_backbone(), []
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        for name in filter(BINOMIAL.fullmatch, backbone._name_to_id.keys(letter)):
            ranks = backbone.lineage(backbone.find(name)[0])
            rows.append((name, *list(ranks.values())[:6]))
            if len(rows) == n:
                return pd.DataFrame(rows, columns=["verbatim_name", *RANKS])
    raise RuntimeError(f"only {len(rows)} species")


def write_rows(path, n):
    """Write n raw rows with what an inspection of their files would have found."""
    rng = np.random.default_rng(0)
    names = species_names(min(450_000, max(1_000, n // 25)))
    weights = 1.0 / np.arange(1, len(names) + 1) ** 0.6  # a long tail
    weights /= weights.sum()
    order, writer = rng.permutation(len(names)), None
    for start in range(0, n, BATCH):
        size = min(BATCH, n - start)
        table = names.iloc[order[rng.choice(len(names), size, p=weights)]].reset_index(drop=True)
        number = np.arange(start, start + size)
        original = np.where(rng.random(size) < 0.01, rng.integers(0, start + size, size), number)
        near = np.where(rng.random(size) < 0.01, rng.integers(0, start + size, size), original)
        table["source"] = SOURCES[number % 3]
        table["source_id"] = [f"{i:08d}-0000-0000-0000-{i * 7919 % 10**12:012d}" for i in number]
        table["location"] = [
            f"/data/image_set_{i // 160_000:02d}.tar.gz::{s}.jpg"
            for i, s in zip(number, table["source_id"], strict=True)
        ]
        digests = [f"{int(i) * 0x9E3779B97F4A7C15 % 2**256:064x}" for i in original]
        hashes = (near.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) ^ (near != number).astype(np.uint64)
        table = table.assign(sha256=digests, phash=[f"{h:016x}" for h in hashes], width=640, height=480, problem="")
        part = pa.Table.from_pandas(table, preserve_index=False)
        writer = writer or pq.ParquetWriter(path, part.schema)
        writer.write_table(part)
    writer.close()


def peak():
    """Return the peak memory of this process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(n):
    """Build one catalog; print its row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        raw, out = Path(folder) / "raw.parquet", Path(folder) / "catalog.parquet"
        subprocess.run([sys.executable, "-m", "benchmarks.scale", "write", str(n), str(raw)], check=True)
        start = time.process_time()
        names = catalog_files.resolve_file(raw, DataConfig())
        resolved, peak_of_names = time.process_time() - start, peak()
        counts = catalog_files.build_catalog_file(raw, names, out, SplitConfig(), read_details=False)
        seconds = time.process_time() - start
        row = [n, len(names), resolved, seconds, 1e6 * seconds / n, counts[""]]
        print("| " + " | ".join(f"{value:,.0f}" for value in row) + f" | {peak_of_names:.2f} | {peak():.2f} |")


def main():
    """Run one size a process, the smallest first."""
    head = "rows, distinct names, CPU s names, CPU s all, CPU us a row, excluded, peak GiB names, peak GiB all".split(
        ", "
    )
    print("| " + " | ".join(head) + " |\n" + "| ---: " * len(head) + "|")
    for n in SIZES:
        subprocess.run([sys.executable, "-m", "benchmarks.scale", "measure", str(n)], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write_rows(sys.argv[3], int(sys.argv[2]))
    elif sys.argv[1:2] == ["measure"]:
        measure(int(sys.argv[2]))
    else:
        main()
