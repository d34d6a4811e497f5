"""Maps of saliency: found where an effect was planted, equal by hand, and judged as they deserve."""

import numpy as np
import pytest
import torch

from bioclip_lib.config import ModelConfig, SyntheticConfig
from bioclip_lib.errors import InputError
from bioclip_lib.identify import saliency
from bioclip_lib.identify.saliency import CELLS, covered, gradient_map, judge_maps, occlusion
from bioclip_lib.model import build_model, encode_images
from bioclip_lib.model.load import LoadedModel
from bioclip_lib.sources.synthetic import grow_tree, render_images
from bioclip_lib.sources.synthetic.render import body_shares

from .test_naming import label_set

SIZE = 48
ROWS = [(f"l{i}", "K", "P", "C", "O", "F", f"G{i}", "e", "") for i in range(2)]


class Corner(torch.nn.Module):
    """A model that sees the upper left corner alone: red there is the first candidate."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.visual = torch.nn.Module()
        self.visual.preprocess_cfg = {"size": SIZE, "mean": (0, 0, 0), "std": (1, 1, 1)}

    def encode_image(self, x):
        red = x[:, 0, : SIZE // 4, : SIZE // 4].mean(dim=(1, 2)) * self.scale
        return torch.stack([red, 1 - red], dim=1)


@pytest.fixture(scope="module")
def corner():
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[: SIZE // 4, : SIZE // 4, 0] = 255
    return LoadedModel(Corner(), None, None, "corner", "0"), np.stack([image, image])


@pytest.fixture(scope="module")
def tower():
    clip = build_model(ModelConfig(image_size_px=SIZE, vision_layers=2, text_layers=1))
    weights = np.random.default_rng(0).standard_normal((2, 128)).astype(np.float32)
    return LoadedModel(clip, None, None, "small", "0"), label_set(
        ROWS, weights / np.linalg.norm(weights, axis=1)[:, None]
    )


def test_occlusion_finds_what_the_model_looks_at(corner):
    model, pixels = corner
    maps = occlusion(pixels, model, label_set(ROWS), np.array([0, 1]), 5.0)
    seen = np.zeros((CELLS, CELLS), bool)
    seen[: CELLS // 4, : CELLS // 4] = True
    assert np.unravel_index(maps[0].argmax(), maps[0].shape) <= (2, 2)
    assert (maps[0][seen] > 0).all() and (maps[1][seen] < 0).all()  # for one name, against the other
    assert np.abs(maps[0][5:, 5:]).max() < 1e-6


def test_a_right_map_beats_chance_and_a_wrong_one_does_not(corner):
    model, pixels = corner
    labels, named = label_set(ROWS), np.array([0, 0])
    right = occlusion(pixels, model, labels, named, 5.0)
    body = np.zeros((2, SIZE, SIZE), np.float32)
    body[:, : SIZE // 4, : SIZE // 4] = 1
    table = judge_maps(pixels, {"right": right, "wrong": -right}, model, (labels, named, 5.0), body)
    value = table.set_index(["map", "measure"])["value"]
    assert value["right", "deletion"] < value["random", "deletion"] < value["wrong", "deletion"]
    assert value["right", "insertion"] > value["random", "insertion"] > value["wrong", "insertion"]
    assert value["right", "pointing"] == value["organism", "pointing"] == 1 and value["wrong", "pointing"] == 0
    assert value["right", "deletion"] == pytest.approx(value["organism", "deletion"], abs=0.02)


def test_cells_are_covered_by_the_mean_colour():
    image = np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    masks = np.zeros((2, CELLS, CELLS), bool)
    masks[1, 0, 0] = True
    none, one = covered(image, masks)
    assert np.array_equal(none, image)
    changed = np.argwhere((one != image).any(axis=2))
    assert changed.max() == 2 and (one[0, 0] == image.mean(axis=(0, 1)).round()).all()  # 30 pixels in 12 cells: 3, 2, 3


def test_attention_is_read_without_a_change_to_the_features(tower):
    model, labels = tower
    pixels = np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    before = encode_images(model.model, pixels, precision="fp32")
    x = saliency.prepare_pixels(torch.from_numpy(pixels), model.model.visual.preprocess_cfg)
    features, _ = saliency._of_attention(model.model.visual, x)
    np.testing.assert_allclose(saliency.normalised(features).detach().numpy(), before, atol=1e-5)
    maps = gradient_map(pixels, model, labels, np.array([0, 1, 0]), 20.0)
    assert maps.shape == (3, CELLS, CELLS) and (maps >= 0).all() and maps.std() > 0
    other = gradient_map(pixels, model, labels, np.array([1, 1, 0]), 20.0)
    assert not np.allclose(maps[0], other[0]) and np.allclose(maps[1:], other[1:], atol=1e-6)
    np.testing.assert_array_equal(encode_images(model.model, pixels, precision="fp32"), before)


def test_a_tower_that_cannot_be_read_is_refused(corner):
    model, pixels = corner
    with pytest.raises(InputError, match="no attention to read"):
        gradient_map(pixels, model, label_set(ROWS), np.array([0, 0]), 1.0)


def test_the_organism_is_where_its_genome_changes_the_image():
    tree = grow_tree(SyntheticConfig(n_species=12, n_images=144))
    index, seeds = np.arange(12), np.arange(12, dtype=np.uint64)
    shares = body_shares(tree.genomes[index], seeds, 32)
    images = render_images(tree, index, seeds, 32).astype(int)
    hue = tree.genomes.copy()
    hue[:, 4] += 2  # the first trait behind the four plans
    changed = np.abs(saliency_images(hue, seeds) - images).max(axis=3) > 12
    assert 0 <= shares.min() and shares.max() <= 1 and 0.1 < shares.mean() < 0.9
    assert changed.sum() > 100 and (shares[changed] > 0.03).mean() > 0.99


def saliency_images(genomes, seeds):
    from bioclip_lib.sources.synthetic.render import render

    return render(genomes, seeds, 32).astype(int)
