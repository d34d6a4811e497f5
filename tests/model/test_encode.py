import copy

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from bioclip_lib.config import ModelConfig, load_config
from bioclip_lib.errors import InputError
from bioclip_lib.model import encode, towers
from bioclip_lib.model.encode import (
    encode_images,
    encode_images_by,
    encode_texts,
    evaluating,
    normalise_pixels,
    pixel_features,
    prepare_pixels,
    trunk_features,
)
from bioclip_lib.model.features import cached_features, read_features, write_features
from bioclip_lib.model.load import (
    PreprocessCfg,
    VisionModel,
    image_transform,
    image_transform_v2,
    load_model,
    model_digest,
    preprocess_digest,
)
from bioclip_lib.model.towers import build_model

pytestmark = pytest.mark.numerical

TINY = ModelConfig(
    image_size_px=16, vision_layers=1, vision_width=32, text_layers=1, text_width=32, text_heads=2, embed_dim=16
)
DIGESTS = {"model_digest": "m", "preprocess_digest": "p"}


@pytest.fixture(scope="module")
def tiny():
    return build_model(TINY)


@pytest.fixture(scope="module")
def lite0():
    return build_model(load_config("photos", {"model.image_size_px": 64}).model)


def noise(n, height=20, width=20, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def smooth(height, width):
    """A picture without detail finer than the resampling."""
    y, x = np.mgrid[:height, :width]
    channels = [127 + 120 * np.sin(x / 9), 127 + 120 * np.cos(y / 7), 255 * (x + y) / (height + width)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def test_image_features_are_unit_rows_that_do_not_depend_on_the_batch(tiny):
    images = noise(9)
    features = encode_images(tiny, images)
    assert features.shape == (9, 16)
    assert features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(encode_images(tiny, images, batch_size=2), features, atol=1e-6)
    np.testing.assert_allclose(encode_images(tiny, images[::-1]), features[::-1], atol=1e-6)


def test_files_and_arrays_of_the_models_size_agree(tiny, tmp_path):
    images = noise(3, 16, 16)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    np.testing.assert_allclose(encode_images(tiny, paths), encode_images(tiny, images), atol=1e-6)
    np.testing.assert_allclose(
        encode_images(tiny, [str(path) for path in paths]), encode_images(tiny, images), atol=1e-6
    )


@pytest.mark.parametrize("size", [(40, 40), (40, 60), (61, 37), (12, 9)])
def test_resizing_agrees_with_open_clips_transform(tiny, size):
    """Within the rounding to 8 bits between its two passes."""
    cfg, image = tiny.visual.preprocess_cfg, smooth(*size)
    theirs = image_transform(tiny)(Image.fromarray(image))
    ours = prepare_pixels(torch.from_numpy(image)[None], cfg)[0]
    grey_levels = (ours - theirs).abs() * 255 * torch.tensor(cfg["std"]).view(3, 1, 1)
    assert grey_levels.max() <= 2.01
    assert grey_levels.mean() < 0.5


def test_interpolation_is_the_models(tiny):
    cfg = {**tiny.visual.preprocess_cfg, "interpolation": "bilinear"}
    image = smooth(40, 40)
    theirs = image_transform_v2(PreprocessCfg(**cfg), is_train=False)(Image.fromarray(image))
    ours = prepare_pixels(torch.from_numpy(image)[None], cfg)[0]
    std = 255 * torch.tensor(cfg["std"]).view(3, 1, 1)
    assert ((ours - theirs).abs() * std).max() <= 2.01
    assert ((ours - image_transform(tiny)(Image.fromarray(image))).abs() * std).max() > 2.01


def test_several_models_share_one_decoding_of_each_file(tiny, tmp_path, monkeypatch):
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for path, image in zip(paths, noise(5, 70, 90), strict=True):
        Image.fromarray(image).save(path)
    opened, read = [], encode.open_image
    monkeypatch.setattr(encode, "open_image", lambda path, least: opened.append(path) or read(path, least))
    trunk = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 16, 16), torch.nn.Flatten())
    vision = VisionModel(trunk, {**tiny.visual.preprocess_cfg, "size": 32})
    both = encode_images_by([tiny, vision], paths, batch_size=2)
    assert sorted(opened) == paths
    np.testing.assert_allclose(both[0], encode_images(tiny, paths), atol=1e-6)
    np.testing.assert_allclose(both[1], trunk_features(vision, paths), atol=1e-5)
    arrays = noise(5, 40, 40)
    together = encode_images_by([tiny, vision], arrays, batch_size=3)
    np.testing.assert_allclose(together[0], encode_images(tiny, arrays), atol=1e-6)
    np.testing.assert_allclose(together[1], trunk_features(vision, arrays), atol=1e-5)
    assert [len(rows) for rows in encode_images_by([tiny, vision], [])] == [0, 0]


def test_files_go_through_open_clips_own_transform(tiny, tmp_path):
    """The short edge resized (bicubic), the centre cut out, pixel by pixel what the model's tower is given."""
    given = []
    hook = tiny.visual.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    for i, size in enumerate([(61, 37), (20, 90)]):
        Image.fromarray(smooth(*size)).save(tmp_path / f"{i}.png")
    encode_images(tiny, [tmp_path / "0.png", tmp_path / "1.png"])
    hook.remove()
    for i, pixels in enumerate(given[0]):
        image = Image.open(tmp_path / f"{i}.png")
        scale = 16 / min(image.size)
        small = image.resize([round(side * scale) for side in image.size], Image.Resampling.BICUBIC)
        left, top = (round((side - 16) / 2) for side in small.size)
        cut = np.asarray(small.crop((left, top, left + 16, top + 16)), np.float32) / 255
        cfg = tiny.visual.preprocess_cfg
        expected = (cut - np.array(cfg["mean"])) / np.array(cfg["std"])
        np.testing.assert_allclose(pixels.permute(1, 2, 0).numpy(), expected, atol=1e-5)


def test_efficientnet_lite0_by_its_name_is_its_trunk(lite0):
    loaded = load_model("efficientnet-lite0")
    assert loaded.tokenizer is None and loaded.model.visual.preprocess_cfg["size"] == [224, 224]
    assert model_digest(loaded.model.visual.trunk) == model_digest(lite0.visual.trunk)


def test_normalisation_is_the_models():
    cfg = {"size": 2, "mean": [0.5, 0.0, 1.0], "std": [0.5, 1.0, 2.0]}
    white = torch.full((1, 3, 2, 2), 255.0)
    assert normalise_pixels(white, cfg)[0, :, 0, 0].tolist() == [1.0, 1.0, 0.0]


def test_a_custom_transform_is_used(tiny, tmp_path):
    Image.fromarray(noise(1)[0]).save(tmp_path / "a.png")
    black = encode_images(tiny, [tmp_path / "a.png"], preprocess=lambda image: torch.zeros(3, 16, 16))
    two = encode_images(tiny, [tmp_path / "a.png"] * 2, lambda image: torch.zeros(3, 16, 16))
    np.testing.assert_allclose(two[:1], black, atol=1e-6)  # a batch of 2 may add up in another order than one of 1
    assert not np.allclose(black, encode_images(tiny, [tmp_path / "a.png"]))


def test_bf16_is_near_and_not_the_same(tiny):
    images = noise(4)
    exact, rounded = (encode_images(tiny, images, precision=p) for p in ("fp32", "bf16"))
    assert rounded.dtype == np.float32
    assert not np.array_equal(exact, rounded)
    assert (exact * rounded).sum(axis=1).min() > 0.999


@pytest.mark.parametrize(("native", "least", "used"), [(1, 1, "bf16"), (0, 1, "fp32"), (1, 10**9, "fp32")])
def test_auto_is_bf16_where_it_is_native_and_the_tower_gains_by_it(tiny, monkeypatch, native, least, used):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": native})
    monkeypatch.setattr(towers, "_GAINS_BY_BF16", least)
    images = noise(4)
    assert np.array_equal(encode_images(tiny, images), encode_images(tiny, images, precision=used))
    assert np.array_equal(encode_images_by([tiny], images)[0], encode_images(tiny, images, precision="fp32"))
    assert preprocess_digest(tiny, "auto") == preprocess_digest(tiny, used)
    assert preprocess_digest(tiny, "bf16") != preprocess_digest(tiny, "fp32") == preprocess_digest(tiny)


def test_the_models_of_the_profiles_that_run_without_a_gpu_stay_in_fp32(tiny, lite0, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    models = [tiny, lite0, build_model(load_config("mini").model)]
    assert [towers.feature_precision(model, "auto") for model in models] == ["fp32"] * 3


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_unreadable_files_are_named(tiny, tmp_path, content):
    Image.fromarray(noise(1)[0]).save(tmp_path / "good.png")
    (tmp_path / "bad.jpg").write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.jpg: .*; exclude it"):
        encode_images(tiny, [tmp_path / "good.png", tmp_path / "bad.jpg"])


def test_arrays_of_another_shape_are_refused(tiny):
    with pytest.raises(InputError, match=r"images have shape \(2, 20, 20\)"):
        encode_images(tiny, noise(2)[..., 0])


def test_models_go_back_to_the_mode_they_were_in(tiny):
    for training in (True, False):
        tiny.train(training)
        encode_images(tiny, noise(1))
        assert tiny.training is training
    with pytest.raises(RuntimeError), evaluating(tiny.train()):
        assert not torch.is_grad_enabled()
        raise RuntimeError
    assert tiny.training
    tiny.eval()


def test_trunk_features_are_what_the_head_projects(lite0):
    images = noise(6, 64, 64)
    features = trunk_features(lite0, images)
    assert features.shape == (6, 1280)
    with torch.no_grad():
        projected = torch.nn.functional.normalize(lite0.visual.head(torch.from_numpy(features)), dim=-1)
    np.testing.assert_allclose(projected.numpy(), encode_images(lite0, images), atol=1e-5)


def test_trunk_features_do_not_move_the_batch_norm(lite0):
    before = model_digest(lite0)
    lite0.train()
    first = trunk_features(lite0, noise(5, 64, 64))
    second = trunk_features(lite0, noise(5, 64, 64), batch_size=1)
    lite0.eval()
    assert model_digest(lite0) == before
    np.testing.assert_allclose(first, second, atol=1e-4)


def test_trunk_features_of_a_vit_are_what_its_projection_projects(tiny):
    images, before = noise(3, 40, 30), model_digest(tiny)
    expected = encode_images(tiny, images)
    projected = trunk_features(tiny, images) @ tiny.visual.proj.detach().numpy()
    np.testing.assert_allclose(projected / np.linalg.norm(projected, axis=1, keepdims=True), expected, atol=1e-5)
    assert model_digest(tiny) == before


def test_a_tower_without_projection_has_no_trunk_features(tiny):
    tower = copy.deepcopy(tiny)
    tower.visual.proj = None
    with pytest.raises(InputError, match="no projection of its own"):
        trunk_features(tower, noise(1, 32, 32))


def test_text_features_are_unit_rows_in_order(tiny):
    texts = ["b", "a longer text", "b", ""]
    features = encode_texts(tiny, texts)
    assert features.shape == (4, 16)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(features[0], features[2])
    np.testing.assert_allclose(encode_texts(tiny, texts, batch_size=1), features, atol=1e-5)
    assert not np.allclose(features[0], features[1])


def test_each_distinct_text_is_computed_once(tiny):
    seen = []

    def tokenizer(batch):
        from bioclip_lib.model.text import tokenize

        seen.extend(batch)
        return tokenize(batch)

    encode_texts(tiny, ["x", "y", "x", "x"], tokenizer)
    assert sorted(seen) == ["x", "y"]


def test_nothing_gives_nothing(tiny):
    assert len(encode_images(tiny, noise(0))) == 0
    assert len(encode_texts(tiny, [])) == 0


def test_pixel_features_of_two_colours():
    """Two images of one colour each differ by sign, by 1 standard deviation, in what differs at all."""
    images = np.zeros((2, 16, 16, 3), np.uint8)
    images[1, ..., 0] = 255
    features = pixel_features(images)
    assert features.shape == (2, 256)
    np.testing.assert_allclose(features[0], -features[1])
    red = np.arange(192) < 64  # the thumbnail's red channel
    np.testing.assert_allclose(np.abs(features[0, :192]), red, atol=1e-6)
    assert np.count_nonzero(features[0, 192:]) == 2  # black and red


def test_pixel_features_are_standardised_and_see_position_and_colour():
    images = noise(300, 24, 32)
    features = pixel_features(images)
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(features.std(axis=0)[np.ptp(features, axis=0) > 0], 1, atol=1e-3)
    mirrored = pixel_features(np.concatenate([images[:20], images[:20, :, ::-1]]))
    np.testing.assert_allclose(mirrored[:20, 192:], mirrored[20:, 192:], atol=1e-4)  # the histogram is the same
    assert np.abs(mirrored[:20, :192] - mirrored[20:, :192]).max() > 0.5


def test_feature_tables_round_trip(tmp_path):
    path, features = tmp_path / "f.parquet", np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    write_features(path, list("edcba"), features, "m", "p")
    image_ids, found, meta = read_features(path)
    assert image_ids == list("edcba")
    np.testing.assert_array_equal(found, features)
    assert meta == DIGESTS
    schema = pq.read_schema(path)
    assert schema.field("features").type == pa.list_(pa.float32(), 7)
    assert [item.name for item in tmp_path.iterdir()] == ["f.parquet"]


def test_feature_tables_of_no_rows_round_trip(tmp_path):
    write_features(tmp_path / "f.parquet", [], np.zeros((0, 7), np.float32), "m", "p")
    assert read_features(tmp_path / "f.parquet")[1].shape == (0, 7)


def test_rows_must_match_ids(tmp_path):
    with pytest.raises(ValueError, match="2 image ids"):
        write_features(tmp_path / "f.parquet", ["a", "b"], np.zeros((3, 2), np.float32), "m", "p")


@pytest.mark.parametrize("content", [None, b"", b"PAR1 broken", "other columns"])
def test_what_is_no_feature_table_is_refused(tmp_path, content):
    path = tmp_path / "f.parquet"
    if content == "other columns":
        pq.write_table(pa.table({"a": [1]}), path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="is no feature table"):
        read_features(path)


def test_cache_computes_only_what_changed(tmp_path):
    path, calls = tmp_path / "cache" / "f.parquet", []

    def get(ids="abc", **digests):
        def compute():
            calls.append(ids)
            return np.full((len(ids), 2), len(calls), np.float32)

        return cached_features(path, list(ids), {**DIGESTS, **digests}, compute)[0, 0]

    assert [get(), get()] == [1, 1]
    assert get(ids="acb") == 2  # another order
    assert get(ids="acb") == 2
    assert get(ids="acb", model_digest="other") == 3
    assert get(ids="acb", model_digest="other", preprocess_digest="other") == 4
    path.write_bytes(path.read_bytes()[:50])
    assert get(ids="acb", model_digest="other", preprocess_digest="other") == 5


def test_digests_tell_preprocessing_apart(tiny, lite0):
    assert preprocess_digest(tiny) == preprocess_digest(build_model(TINY, seed=4))
    assert preprocess_digest(tiny) != preprocess_digest(lite0)


def test_a_large_jpeg_is_decoded_at_a_fraction_and_means_the_same(tmp_path, photos):
    paths = sorted((photos / "birds100").rglob("*.jpg"))[:60]
    tiles = [Image.open(path).convert("RGB").resize((200, 200)) for path in paths]
    mosaic = Image.new("RGB", (2_000, 1_200))
    for i, tile in enumerate(tiles):
        mosaic.paste(tile, (200 * (i % 10), 200 * (i // 10)))
    mosaic.save(tmp_path / "large.jpg", quality=90)
    lite0 = load_model("efficientnet-lite0").model
    full = encode_images(lite0, [tmp_path / "large.jpg"], image_transform(lite0))[0]
    scaled = encode_images(lite0, [tmp_path / "large.jpg"])[0]
    assert not np.array_equal(scaled, full)
    assert scaled @ full / np.linalg.norm(scaled) / np.linalg.norm(full) > 0.995
