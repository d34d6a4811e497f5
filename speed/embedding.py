"""Image files through a ViT-B/16: ours beside pybioclip on the same files: ``python -m speed.embedding``.

Both load the same export (random weights: as fast as trained ones). Large files are mosaics of photographs, 4,000 x
3,000 pixels, so that they have real detail; without photographs (``../shared/photos``) noise takes their place. The
ways take turns. What a large JPEG loses where it is decoded at a fraction of its size is told by the features of a
trained tower, EfficientNet-Lite0.
"""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from bioclip_lib.config import load_config
from bioclip_lib.model import encode
from bioclip_lib.model.load import export_model, image_transform, load_model
from bioclip_lib.model.towers import build_model

PHOTOGRAPHS = Path(__file__).parents[2] / "shared" / "photos" / "birds100"
BATCH, REPEATS, N_SMALL, N_LARGE = 8, 3, 16, 8
SIZES = {"model.image_size_px": 224, "model.patch_size_px": 16, "model.vision_layers": 12, "model.vision_width": 768,
         "model.text_layers": 12, "model.text_width": 512, "model.text_heads": 8, "model.embed_dim": 512}  # fmt: skip


def write_files(folder):
    """Write small files, 224 pixels high, and large ones of 12 megapixels; return their paths."""
    sources = sorted(PHOTOGRAPHS.rglob("*.jpg"))
    rng = np.random.default_rng(0)
    if sources:
        tiles = [Image.open(sources[i]).convert("RGB").resize((250, 250)) for i in rng.integers(0, len(sources), 200)]
    else:
        tiles = [Image.fromarray(rng.integers(0, 256, (250, 250, 3), dtype=np.uint8)) for _ in range(200)]
    paths = {"small": [], "12 megapixels": []}
    for i in range(N_SMALL):
        paths["small"].append(str(folder / f"small{i}.jpg"))
        tiles[i].resize((300, 224)).save(paths["small"][-1], quality=90)
    for i in range(N_LARGE):
        mosaic = Image.new("RGB", (4_000, 3_000))
        for j, tile in enumerate(rng.integers(0, len(tiles), 192)):
            mosaic.paste(tiles[tile], (250 * (j % 16), 250 * (j // 16)))
        paths["12 megapixels"].append(str(folder / f"large{i}.jpg"))
        mosaic.save(paths["12 megapixels"][-1], quality=90)
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
        ways = {
            "ours": lambda files: encode.encode_images(clip, files, batch_size=BATCH),
            "ours, all pixels decoded": lambda files: encode.encode_images(clip, files, preprocess, BATCH),
            "pybioclip": lambda files: theirs(classifier, files),
        }
        preprocess = image_transform(clip)
        print("| files | way | images/s | over pybioclip |")
        print("| --- | --- | ---: | ---: |")
        for kind, files in paths.items():
            seconds = {way: [] for way in ways}
            for _ in range(REPEATS):
                for way, embedded in ways.items():
                    start = time.perf_counter()
                    embedded(files)
                    seconds[way].append(time.perf_counter() - start)
            for way in ways:
                ratio = statistics.median(t / s for t, s in zip(seconds["pybioclip"], seconds[way], strict=True))
                print(
                    f"| {kind} | {way} | {len(files) / statistics.median(seconds[way]):.1f} | {ratio:.2f} |", flush=True
                )
        print(f"Lite0's features, scaled to full decoding, least cosine: {scaled_cosine(paths['12 megapixels']):.4f}")


def scaled_cosine(files):
    """Return the least cosine between features of files decoded at a fraction of their size and in full."""
    lite0 = load_model("efficientnet-lite0").model
    scaled, full = (encode.encode_images(lite0, files, own) for own in (None, image_transform(lite0)))
    scaled, full = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (scaled, full))
    return (scaled * full).sum(axis=1).min()


if __name__ == "__main__":
    main()
