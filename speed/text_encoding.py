"""Encode class names: this project's batches against one forward pass a class with the whole context.

``python -m speed.text_encoding`` builds CLIP's text tower of ViT-B/16 with random weights (as fast as the trained
one) and encodes class strings of the tree of life with a few prompt templates, both ways in turn. The peers
(bioclip, bioclip-2, pybioclip, CLIP_benchmark) encode the prompts of one class at a time, each 77 tokens long. Prints
texts per second (medians), their ratio, and the largest difference between the features.
"""

import argparse
import statistics

import numpy as np

from bioclip_lib.config import load_config
from bioclip_lib.model import encode
from bioclip_lib.model.encode import normalised
from bioclip_lib.model.text import read_templates, tokenize
from bioclip_lib.model.towers import build_model

from .measuring import in_turn, print_head, print_row

TOWER = {"text_layers": 12, "text_width": 512, "text_heads": 8, "embed_dim": 512, "context_length": 77}


def class_by_class(clip, names, prompts):
    """Encode as the peers do: one forward pass a class, each text at full length."""
    rows = []
    with encode.evaluating(clip):
        for name in names:
            tokens = tokenize([prompt.format(name) for prompt in prompts])
            rows.append(normalised(clip.encode_text(tokens)).numpy())
    return np.concatenate(rows)


def main(argv=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=32)
    parser.add_argument("--templates", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args(argv)
    clip = build_model(load_config("mini", {f"model.{key}": value for key, value in TOWER.items()}).model)
    prompts = read_templates("original")[: args.templates]
    kinds = ("Panthera onca", "Animalia Chordata Mammalia Carnivora Felidae Panthera onca with common name jaguar")
    names = [f"{kinds[i % 2]} {'abcdefghij'[i // 2 % 10]}{i}" for i in range(args.classes)]
    texts = [prompt.format(name) for name in names for prompt in prompts]
    found = {}  # the features of each way
    ways = {
        "class by class": lambda: found.update(theirs=class_by_class(clip, names, prompts)),
        "`encode_texts`": lambda: found.update(ours=encode.encode_texts(clip, texts)),
    }
    theirs, ours = in_turn(ways, len(texts), args.repeats).values()
    print_head("way", "texts/s", "ratio, run by run")
    print_row("class by class", statistics.median(theirs), "1")
    print_row(
        "`encode_texts`", statistics.median(ours), ", ".join(f"{a / b:.1f}" for a, b in zip(ours, theirs, strict=True))
    )
    print(f"\n{len(texts)} texts; features differ by {np.abs(found['ours'] - found['theirs']).max():.1e} at most")


if __name__ == "__main__":
    main()
