"""Image files through a ViT-B/16: ours beside pybioclip on the same files: ``python -m speed.embedding``.

Both load the same export (random weights: as fast as trained ones). Large files are mosaics of photographs, 4,000 x
3,000 pixels, so that they have real detail; without photographs (``../shared/photos``) noise takes their place. The
ways take turns. What a large JPEG loses where it is decoded at a fraction of its size is told by the features of a
trained tower, EfficientNet-Lite0.
"""

import statistics
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from bioclip_lib.config import load_config
from bioclip_lib.model import encode
from bioclip_lib.model.load import export_model, image_transform, load_model
from bioclip_lib.model.towers import build_model

from .measuring import in_turn, print_head, print_row

PHOTOGRAPHS = Path(__file__).parents[2] / "shared" / "photos" / "birds100"
BATCH, REPEATS, N_SMALL, N_LARGE = 8, 3, 16, 8
LARGE, TILE = (4_000, 3_000), 250  # a large file is a mosaic of tiles, px
SIZES = {"model.image_size_px": 224, "model.patch_size_px": 16, "model.vision_layers": 12, "model.vision_width": 768,
         "model.text_layers": 12, "model.text_width": 512, "model.text_heads": 8, "model.embed_dim": 512}  # fmt: skip


def write_files(folder):
    """Write small files, 224 pixels high, and large ones of 12 megapixels; return their paths."""
    sources = sorted(PHOTOGRAPHS.rglob("*.jpg"))
    rng = np.random.default_rng(0)
    if sources:
        tiles = [Image.open(sources[i]).convert("RGB").resize((TILE, TILE)) for i in rng.integers(0, len(sources), 200)]
    else:
        tiles = [Image.fromarray(rng.integers(0, 256, (TILE, TILE, 3), dtype=np.uint8)) for _ in range(200)]
    paths = {"small": [], "large": []}
    for i in range(N_SMALL):
        paths["small"].append(str(folder / f"small{i}.jpg"))
        tiles[i].resize((300, 224)).save(paths["small"][-1], quality=90)
    for i in range(N_LARGE):
        mosaic, columns = Image.new("RGB", LARGE), LARGE[0] // TILE
        for j, tile in enumerate(rng.integers(0, len(tiles), columns * (LARGE[1] // TILE))):
            mosaic.paste(tiles[tile], (TILE * (j % columns), TILE * (j // columns)))
        paths["large"].append(str(folder / f"large{i}.jpg"))
        mosaic.save(paths["large"][-1], quality=90)
    return paths


def theirs(classifier, paths):
    """Embed as ``classifier.predict`` does, without what follows."""
    rows = []
    for start in range(0, len(paths), BATCH):
        images = [classifier.ensure_rgb_image(path) for path in paths[start : start + BATCH]]
        rows.append(classifier.create_image_features(images).numpy())
    return np.concatenate(rows)


def main():
    """Print the table."""
    from bioclip import CustomLabelsClassifier

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        paths = write_files(folder)
        config = load_config("mini", SIZES).model
        clip = build_model(config)
        export_model(clip, config, folder / "model")
        classifier = CustomLabelsClassifier(["a"], model_str=f"local-dir:{folder / 'model'}")
        preprocess = image_transform(clip)
        ways = {
            "ours, fp32": lambda files: encode.encode_images(clip, files, batch_size=BATCH, precision="fp32"),
            "ours, fp32, all pixels decoded": lambda files: encode.encode_images(
                clip, files, preprocess, BATCH, "fp32"
            ),
            "ours": lambda files: encode.encode_images(clip, files, batch_size=BATCH),
            "pybioclip": lambda files: theirs(classifier, files),
        }
        print_head("files", "way", "images/s", "over pybioclip")
        for kind, files in paths.items():
            rates = in_turn({way: partial(embedded, files) for way, embedded in ways.items()}, len(files), REPEATS)
            for way, found in rates.items():
                ratios = [ours / theirs for ours, theirs in zip(found, rates["pybioclip"], strict=True)]
                print_row(kind, way, statistics.median(found), f"{statistics.median(ratios):.2f}")
        print(f"Lite0's features, scaled to full decoding, least cosine: {scaled_cosine(paths['large']):.4f}")


def scaled_cosine(files):
    """Return the least cosine between features of files decoded at a fraction of their size and in full."""
    lite0 = load_model("efficientnet-lite0").model
    scaled, full = (encode.encode_images(lite0, files, own) for own in (None, image_transform(lite0)))
    scaled, full = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (scaled, full))
    return (scaled * full).sum(axis=1).min()


if __name__ == "__main__":
    main()
