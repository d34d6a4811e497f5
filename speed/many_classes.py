"""Name images among very many classes: peak memory by number of images; the top five against a full sort.

``python -m speed.many_classes --classes 450000`` runs one process a number of images (n and 4 n); features and
class weights lie in files. Prints seconds and the growth of peak memory beyond the weights, and checks some images.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from bioclip_lib.evaluation import zero_shot

from .measuring import in_a_process, print_head, print_row

DIM = 128


def peak_mib():
    """Return the highest resident memory of this process so far, in MiB (getrusage would count its parent's)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def unit_rows(n, seed):
    """Return random unit-length float32 features, (n, DIM)."""
    rows = np.random.default_rng(seed).standard_normal((n, DIM), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def measure(folder, n_images):
    """Print a row: seconds, memory, and whether eight images agree with a full sort."""
    features, weights = np.load(folder / f"{n_images}.npy", mmap_mode="r"), np.load(folder / "weights.npy")
    before, start = peak_mib(), time.perf_counter()
    ranked = zero_shot.zero_shot_predict(features, weights)
    seconds, grown = time.perf_counter() - start, peak_mib() - before
    asked = np.linspace(0, len(features) - 1, 8).astype(int)
    expected = np.argsort(-(features[asked] @ weights.T), axis=1, kind="stable")[:, :5]
    exact = "exact" if (ranked[asked] == expected).all() else "NOT exact"
    print_row(n_images, len(weights), seconds, grown, exact)


def main(argv=None):
    """Run both sizes, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=450_000)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.folder:
        measure(args.folder, args.images)
        return
    print_head("images", "classes", "s", "MiB beyond the weights", "the top five")
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "weights.npy", unit_rows(args.classes, 1))
        for n in (args.images, 4 * args.images):
            np.save(Path(folder) / f"{n}.npy", unit_rows(n, 0))
            print(in_a_process("many_classes", "--images", n, "--folder", folder), end="", flush=True)


if __name__ == "__main__":
    main()
