"""Name images among the whole tree of life, beside pybioclip: the same answers, processor time, memory, start-up.

``python -m speed.identify --labels 450000`` writes a label set in the published layout (seeded, invented names),
injects it into pybioclip's classifier, and asks both of the same features and of the same files. Processor time counts
all threads, so that it holds on a busy machine too.
"""

import argparse
import dataclasses
import json
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bioclip_lib import RANKS
from bioclip_lib.config import ModelConfig
from bioclip_lib.identify import identify, name_features, read_labels, write_labels
from bioclip_lib.identify.labels import highest
from bioclip_lib.identify.naming import logits_of
from bioclip_lib.model import build_model, tokenize
from bioclip_lib.model.load import LoadedModel, image_transform, model_digest

from bioclip.predict import Rank, TreeOfLifeClassifier  # isort: skip (after bioclip_lib.model, which mends torchvision)

from .measuring import in_a_process, peak_mib, print_head, print_row

WHOLE_TREE = 867_455  # labels of TreeOfLife-200M
SCALE = 50.0  # hardly a label is below the least probability that pybioclip looks at
K = 5
_CHILDREN = (3, 4, 6, 8, 9, 8)  # of a taxon, on average; what is left falls to the genera


def unit_rows(n, dim, seed):
    """Return random unit-length float32 rows, (n, dim)."""
    rows = np.random.default_rng(seed).standard_normal((n, dim), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def write_published(folder, n_labels, dim, seed=0):
    """Write embeddings (dim, n_labels) and names as published beside TreeOfLife; some genera have no family."""
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.integers(0, np.prod(_CHILDREN), n_labels))
    codes = np.stack([chosen // np.prod(_CHILDREN[depth:], dtype=int) for depth in range(1, 7)], axis=1)
    names = [
        [[f"{rank[:2].title()}{code}" for rank, code in zip(RANKS, row, strict=False)] + [f"sp{i}"], f"common {i}"]
        for i, row in enumerate(codes)
    ]
    for (ranks, _), genus in zip(names, codes[:, 5], strict=True):
        ranks[4] = "" if genus % 10 == 0 else ranks[4]
    order = rng.permutation(n_labels)  # published in no order of the tree
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "txt_emb_species.json").write_text(json.dumps([names[i] for i in order]))
    np.save(folder / "txt_emb_species.npy", np.ascontiguousarray(unit_rows(n_labels, dim, seed + 1).T))


class Injected(TreeOfLifeClassifier):
    """pybioclip's classifier with a label set from a folder and a model of ours in place of downloads."""

    def __init__(self, folder, model):
        self.folder, self.ours = folder, model
        torch.nn.Module.__init__(self)
        self.device, self.recorder = "cpu", None
        self.model, self.preprocess = model.model, model.preprocess
        self.txt_embeddings, self.txt_names = self.get_txt_emb(), self.get_txt_names()
        self._subset_txt_embeddings = self._subset_txt_names = None

    def get_cached_datafile(self, filename):
        return str(self.folder / Path(filename).name)


def small_model(dim, **config):
    """Return a seeded model of this width."""
    clip = build_model(ModelConfig(embed_dim=dim, text_layers=1, **config))
    tokenizer = partial(tokenize, context_length=clip.context_length)
    return LoadedModel(clip, image_transform(clip), tokenizer, "seeded", model_digest(clip))


def cpu_s(way, repeats=3):
    """Return the least processor time of some calls, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        way()
        times.append(time.process_time() - start)
    return min(times)


def compare(folder, n_images, dim):
    """Print a row a rank: how far the scores are apart, pybioclip's from sums in float64, the taxa, processor time."""
    labels, theirs = read_labels(folder), Injected(folder, small_model(dim, image_size_px=16, vision_layers=1))
    features = unit_rows(n_images, dim, 9)
    probabilities = torch.softmax(SCALE * torch.from_numpy(features) @ theirs.txt_embeddings, dim=1)
    mine = probabilities.numpy()
    for depth, rank in reversed(list(enumerate(RANKS))):
        ask = partial(theirs.format_grouped_probs, "image", rank=Rank(depth), k=K)
        if rank == "species":
            ask = partial(theirs.format_species_probs, "image", k=K)
        found = name_features(features, labels, SCALE, rank, K)
        gap, theirs_off, same = 0.0, 0.0, True
        for i in range(n_images):
            rows = ask(probs=probabilities[i])
            n = min(len(rows), found.scores.shape[1])
            gap = max(gap, *(abs(row["score"] - s) for row, s in zip(rows[:n], found.scores[i], strict=False)))
            exact = np.bincount(labels.tree.codes[depth], mine[i].astype(float))[found.choices[i]]
            theirs_off = max(theirs_off, *(abs(row["score"] - s) for row, s in zip(rows[:n], exact, strict=False)))
            taxa = labels.names.iloc[labels.tree.first[depth][found.choices[i]]]
            same &= [row["kingdom"] + row[rank] for row in rows] == [
                kingdom + (f"{genus} {name}" if rank == "species" else name)
                for kingdom, genus, name in zip(taxa["kingdom"], taxa["genus"], taxa[rank], strict=True)
            ]
        slow = cpu_s(lambda ask=ask: ask(probs=probabilities[0]), 1)
        fast = cpu_s(lambda depth=depth: highest(labels.tree.sums(mine)[depth], K)) / n_images
        print_row(rank, gap, theirs_off, "all" if same else "NOT all", slow * 1e3, fast * 1e3, slow / fast)


def measure_memory(folder, n_images, dim):
    """Print a row: processor time an image and the growth of memory, of features named at every rank."""
    labels = read_labels(folder)
    _ = labels.tree, labels.repeats
    logits_of(unit_rows(1, dim, 0), labels, SCALE)  # the mapped weights count from here on
    before, start = peak_mib(), time.process_time()
    name_features(unit_rows(n_images, dim, 3), labels, SCALE)
    seconds = time.process_time() - start
    print_row(n_images, len(labels), seconds / n_images * 1e3, peak_mib() - before, n_images * len(labels) * 4 / 2**20)


def measure_start(folder):
    """Print a row: seconds until the first features can be named."""
    start = time.process_time()
    labels = read_labels(folder)
    _ = labels.tree, labels.repeats
    logits_of(unit_rows(1, labels.weights.shape[1], 0), labels, SCALE)
    print_row(folder.name, len(labels), time.process_time() - start)


def end_to_end(folder, n_photos, model, work):
    """Print a row: processor time a photograph of both, from files to five taxa."""
    rng = np.random.default_rng(5)
    files = [work / f"{i}.jpg" for i in range(n_photos)]
    for file in files:
        Image.fromarray(rng.integers(0, 255, (75, 100, 3), np.uint8)).resize((1600, 1200)).save(file, quality=90)
    labels, theirs = read_labels(folder), Injected(folder, model)
    _ = labels.tree, labels.repeats
    labels = dataclasses.replace(labels, made_of={})  # numbers in place of texts: of no model at all
    ours = cpu_s(lambda: identify(files, labels, model), 2) / n_photos
    other = cpu_s(lambda: theirs.predict(list(map(str, files)), Rank.SPECIES, k=K), 2) / n_photos
    print_row(n_photos, len(labels), other * 1e3, ours * 1e3, other / ours)


def main(argv=None):
    """Run all; what counts memory runs in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=int, default=450_000)
    parser.add_argument("--whole", type=int, default=WHOLE_TREE, help="labels of the measurement of memory")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--small", action="store_true", help="a small image tower in place of a ViT-B/16")
    parser.add_argument("--memory", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.memory:
        measure_memory(args.memory, args.images, args.dim)
        return
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        write_published(work / "published", args.labels, args.dim)
        write_labels(read_labels(work / "published"), work / "cached")
        head = (
            "rank",
            "largest gap of a score",
            "of theirs from float64",
            "same taxa",
            "pybioclip, ms",
            "here, all ranks, ms",
            "times",
        )
        print_head(*head)
        compare(work / "published", args.images, args.dim)
        print()
        print_head("label set", "labels", "s until the first image")
        measure_start(work / "cached")
        measure_start(work / "published")
        print()
        print_head("photographs", "labels", "pybioclip, ms", "here, ms", "times")
        tower = {"image_size_px": 16, "vision_layers": 1} if args.small else {"name": "ViT-B-16"}
        end_to_end(work / "published", 2 * args.images, small_model(args.dim, **tower), work)
        print()
        write_published(work / "whole", args.whole, args.dim)
        print_head("images", "labels", "ms an image", "MiB beyond the labels", "MiB of all probabilities")
        for n in (8 * args.images, 32 * args.images):
            print(in_a_process("identify", "--memory", work / "whole", "--images", n, "--dim", args.dim), end="")


if __name__ == "__main__":
    main()
