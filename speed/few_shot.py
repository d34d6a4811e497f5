"""Few-shot classification beside its broadcast form, time and peak memory: ``python -m speed.few_shot``.

The broadcast form subtracts every centroid from every query at once, (classes, queries, D), as the original code does.
Each measurement is a process of its own, so that the peak of one is not the peak of another; features are random, with
a direction a class.
"""

import hashlib
import json
import resource
import statistics
import sys
import time

import numpy as np

from bioclip_lib.evaluation import classifiers, few_shot

from .measuring import in_a_process, print_head, print_row

SIZES = {"Rare Species": (11_983, 512, 400), "NABirds": (48_562, 768, 555)}  # images, dimensions, classes
SHOTS = (1, 5)
N_FOLDS, N_RUNS = 5, 3
FREE_SHARE = 0.8  # of the memory that is free, the most that the broadcast form is given


def features_of(n_images, dimensions, n_classes):
    """Return features, float32, and labels: a direction a class and noise around it, classes of about equal size."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(n_images) % n_classes)
    directions = rng.standard_normal((n_classes, dimensions), dtype=np.float32)
    features = rng.standard_normal((n_images, dimensions), dtype=np.float32)
    features *= 5
    for start in range(0, n_images, 1_000):  # in place, so that the features alone set the memory at the start
        features[start : start + 1_000] += directions[labels[start : start + 1_000]]
    return features, labels


def broadcast(features, labels, train, test):
    """Predict the queries by distances to all centroids at once."""
    mean = features[train].mean(axis=0)
    shots, queries = features[train] - mean, features[test] - mean
    shots /= np.linalg.norm(shots, axis=1, keepdims=True)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    classes = np.unique(labels[train])
    centroids = np.stack([shots[labels[train] == c].mean(axis=0) for c in classes])
    distance = np.linalg.norm(centroids[:, None] - queries[None], axis=2)  # (C, 1, D) - (1, q, D) -> (C, q)
    return classes[distance.argmin(axis=0)]


def classify(name, form, n_queries=0):
    """Print as JSON the seconds of each fold, top-1, a digest of the last predictions, and the memory at its peak."""
    features, labels = features_of(*SIZES[name])
    folds = few_shot.few_shot_folds(labels, SHOTS, N_FOLDS)
    parts = [(train, test[: int(n_queries) or None]) for k in SHOTS for train, test in folds[k]]
    predict = broadcast if form == "broadcast" else classifiers.simple_shot
    start_mib, seconds, cpu_seconds, hits = _peak_mib(), [], [], []
    for train, test in parts[-1:] if form == "broadcast" else parts:  # the last 5-shot fold; all folds
        start, start_cpu = time.perf_counter(), time.process_time()
        predicted = predict(features, labels, train, test)
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - start_cpu)
        hits.append((predicted == labels[test]).mean())
    digest = hashlib.sha256(predicted.astype(np.int64).tobytes()).hexdigest()
    found = {"seconds": seconds, "cpu_seconds": cpu_seconds, "top1": float(np.mean(hits)), "digest": digest}
    print(json.dumps({**found, "mib": _peak_mib() - start_mib, "total_mib": _peak_mib()}))


def _peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _free_mib():
    with open("/proc/meminfo", encoding="ascii") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("MemAvailable"))


def _in_a_process(name, form, n_queries):
    return json.loads(in_a_process("few_shot", name, form, n_queries))


def main():
    """Print the table: one 5-shot fold in both forms, alternating; then all folds of both sets."""
    n_images, dimensions, n_classes = SIZES["Rare Species"]
    n_queries = n_images - SHOTS[-1] * n_classes
    needed = 2 * n_classes * n_queries * dimensions * 4 / 2**20  # the differences and their squares, MiB
    share = min(1.0, FREE_SHARE * _free_mib() / needed)
    asked = int(share * n_queries)
    runs = [
        {form: _in_a_process("Rare Species", form, asked) for form in ("broadcast", "product")} for _ in range(N_RUNS)
    ]
    print(f"one 5-shot fold of Rare Species size, {asked:,} of {n_queries:,} queries, alternating runs\n")
    print_head("run", "broadcast, s", "product of matrices, s", "ratio", "MiB", "MiB", "ratio", "same predictions")
    for number, run in enumerate(runs, 1):
        fold, ours = run["broadcast"]["seconds"][-1], statistics.median(run["product"]["seconds"][-N_FOLDS:])
        peaks = run["broadcast"]["mib"], run["product"]["mib"]
        same = run["broadcast"]["digest"] == run["product"]["digest"]
        print_row(number, fold, ours, fold / ours, *peaks, peaks[0] / max(1, peaks[1]), same)
    print(f"\nall folds, k = {SHOTS}, {N_FOLDS} folds: classification, peak of the whole process with its features\n")
    print_head("set", "s", "s of processor time", "MiB", "top-1")
    for name in SIZES:
        found = _in_a_process(name, "product", 0)
        print_row(name, sum(found["seconds"]), sum(found["cpu_seconds"]), found["total_mib"], found["top1"])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        classify(*sys.argv[1:])
    else:
        main()
