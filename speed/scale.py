"""Memory and processor time of a whole catalog at 10^5, 10^6 and 10^7 rows: ``python -m speed.scale``.

The rows are synthetic, their names those of real species: distinct names as TreeOfLife-10M has them (one in 25 rows, at
most 450,000), with their ranks as context; 1 % of the files are copies, 1 % near copies. Names and catalog are made in
a process each, so that their peak memory is their own.
"""

import re
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bioclip_lib.catalog import parts
from bioclip_lib.config import DataConfig, SplitConfig
from bioclip_lib.taxonomy.ncbi import ncbi

from .measuring import in_a_process, print_head, print_row

SIZES = (10**5, 10**6, 10**7)
BATCH = 200_000
LEAST_NAMES = 1_000
SOURCES = np.array(["eol", "inat21", "bioscan"])
BINOMIAL = re.compile(r"[A-Z][a-z]+ [a-z]{3,}")
RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")


def species_names(n):
    """Return n real species and their ranks."""
    rows = []
    for name in filter(BINOMIAL.fullmatch, ncbi().names()):
        rows.append((name, *ncbi().usages(name)[0].taxon.ranks[:6]))
        if len(rows) == n:
            return pd.DataFrame(rows, columns=["verbatim_name", *RANKS])
    raise RuntimeError(f"only {len(rows)} species")


def write_rows(path, n):
    """Write n raw rows with what an inspection of their files would have found."""
    rng = np.random.default_rng(0)
    names = species_names(min(450_000, max(LEAST_NAMES, n // 25)))
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


def resolve(raw, names):
    """Resolve the names of a file of rows; print how many, the processor time and the peak memory."""
    start = time.process_time()
    table = parts.resolve_file(raw, DataConfig())
    table.to_parquet(names, index=False)
    print(len(table), time.process_time() - start, peak())


def build(raw, names, out):
    """Build the catalog of a file of rows; print how many are excluded, the processor time and the peak memory."""
    start = time.process_time()
    names = pd.read_parquet(names, dtype_backend="pyarrow")
    counts = parts.build_catalog_file(
        raw, names, out, SplitConfig(min_images=1), DataConfig(merge_synonyms=True), False
    )
    print(counts[""], time.process_time() - start, peak())


def measure(n, folder):
    """Build one catalog; print its row of the table."""
    raw, names, out = (str(folder / f"{name}.parquet") for name in ("raw", "names", "catalog"))
    stage("write", raw, str(n))
    n_names, names_s, names_gib = stage("resolve", raw, names)
    n_excluded, build_s, build_gib = stage("build", raw, names, out)
    us_a_row = 1e6 * (names_s + build_s) / n
    print_row(n, int(n_names), int(n_excluded), names_s, build_s, us_a_row, names_gib, build_gib)


def stage(*arguments):
    """Run a stage in a process of its own; return the numbers that it prints."""
    return [float(x) for x in in_a_process("scale", *arguments).split()]


def main():
    """Measure the sizes, the smallest first."""
    head = ["rows", "distinct names", "excluded", "CPU s names", "CPU s catalog", "CPU us a row"]
    print_head(*head, "peak GiB names", "peak GiB catalog")
    for n in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            measure(n, Path(folder))


def run_stage(name, *arguments):
    """Run a stage in this process."""
    STAGES[name](*arguments)


STAGES = {"write": lambda path, n: write_rows(path, int(n)), "resolve": resolve, "build": build}

if __name__ == "__main__":
    if sys.argv[1:]:
        run_stage(*sys.argv[1:])
    else:
        main()
