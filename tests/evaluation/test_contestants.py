"""Features of a run: computed once, recomputed when weights or preprocessing change; models by their address."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from bioclip_lib.catalog import splits
from bioclip_lib.config import load_config
from bioclip_lib.errors import InputError
from bioclip_lib.evaluation import contestants
from bioclip_lib.model import load as loading
from bioclip_lib.model import towers
from bioclip_lib.model.load import export_model, load_model
from bioclip_lib.model.towers import build_model
from bioclip_lib.run import Run
from bioclip_lib.shards import read
from bioclip_lib.shards.write import write_shards

TINY = {"image_size_px": 16, "vision_layers": 1, "vision_width": 32, "text_layers": 1, "text_width": 32}
SETTINGS = {f"model.{key}": value for key, value in {**TINY, "text_heads": 2, "embed_dim": 16}.items()}
CONFIG = load_config("mini", SETTINGS)


@pytest.fixture(scope="module")
def vision_folder(tmp_path_factory):
    """A timm model with random weights, as timm saves it."""
    import timm
    from timm.models import save_for_hf

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tower = timm.create_model("test_vit", pretrained=False)
    folder = tmp_path_factory.mktemp("timm")
    save_for_hf(tower, folder, safe_serialization=True)
    return folder


@pytest.fixture
def run(tmp_path, catalog):
    """A run of conftest's garden with an untrained tiny model as its model."""
    run = Run(tmp_path / "run")
    write_shards(splits.assign_splits(catalog, CONFIG.split), run.shards, CONFIG.shards)
    export_model(build_model(CONFIG.model, seed=1), CONFIG.model, run.model)
    return run


@pytest.fixture
def forward_passes(monkeypatch):
    """Count the forward passes of all towers: every model that is built or loaded is hooked as it is placed."""
    calls = []

    def placed(clip, place=loading.place):
        place(clip)
        towers = (clip.visual, getattr(clip.visual, "trunk", None), getattr(clip, "ln_final", None))
        for tower in (tower for tower in towers if tower is not None):
            tower.register_forward_hook(lambda *_: calls.append(1))
        return clip

    monkeypatch.setattr("bioclip_lib.model.load.place", placed)
    monkeypatch.setattr("bioclip_lib.model.towers.place", placed)
    return calls


def ask(run, config, names):
    """What the notebooks ask for: image features, and class weights of those that have a text tower."""
    tables = contestants.load_features(run, config, names)
    encoders = [
        contestants.class_encoder(run, config, n) for n in names if n != "pixels" and not loading.is_vision_only(n)
    ]
    weights = [encoder.weights(["a tit", "a maple"], ["{}", "a photo of {}."]) for encoder in encoders]
    return [*(table.values for table in tables.values()), *weights]


def test_a_second_call_computes_no_forward_pass(run, vision_folder, forward_passes):
    names = ["trained", "random_init", "pixels", f"timm:local-dir:{vision_folder}", f"local-dir:{run.model}"]
    config = replace(CONFIG, evaluate=replace(CONFIG.evaluate, models=tuple(names[3:])))
    first = ask(run, config, names)
    n = len(forward_passes)
    assert n > 0
    again = ask(run, config, names)
    assert len(forward_passes) == n
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert np.array_equal(first[0], first[4])  # one model under two names
    lengths = np.linalg.norm(first[3], axis=1)
    assert not np.allclose(lengths, 1) and np.allclose(np.linalg.norm(first[4], axis=1), 1, atol=1e-6)


def test_a_changed_weight_preprocessing_or_cut_table_is_computed_again(run, forward_passes):
    def computes():
        before = len(forward_passes)
        ask(run, CONFIG, ["trained"])
        return len(forward_passes) - before

    both = computes()
    assert both > 0 and computes() == 0
    loaded = load_model(f"local-dir:{run.model}").model
    with torch.no_grad():
        loaded.visual.conv1.weight[0, 0, 0, 0] += 1
    export_model(loaded, CONFIG.model, run.model)
    assert computes() == both and computes() == 0
    config = run.model / "open_clip_config.json"
    (run.model / "SHA256SUMS").unlink()  # the change is meant
    config.write_text(config.read_text().replace('"interpolation": "bicubic"', '"interpolation": "bilinear"'))
    images_alone = computes()
    assert 0 < images_alone < both and computes() == 0  # the class weights stay
    table = run.embeddings / "trained.parquet"
    table.write_bytes(table.read_bytes()[:-20])
    assert computes() == images_alone and computes() == 0


def test_another_activation_with_the_same_weights_is_computed_again(run):
    before = ask(run, CONFIG, ["trained"])
    path = run.model / "open_clip_config.json"
    settings = json.loads(path.read_text())
    settings["model_cfg"]["quick_gelu"] = not settings["model_cfg"].get("quick_gelu", False)
    path.write_text(json.dumps(settings))
    (run.model / "SHA256SUMS").unlink()
    after = ask(run, CONFIG, ["trained"])
    assert all(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_other_images_under_the_same_ids_are_computed_again(run, catalog):
    before = ask(run, CONFIG, ["trained", "pixels"])
    smaller = replace(CONFIG.shards, image_size_px=24)
    write_shards(splits.assign_splits(catalog, CONFIG.split), run.shards, smaller)
    after = ask(run, CONFIG, ["trained", "pixels"])
    assert not np.array_equal(before[0], after[0]) and not np.array_equal(before[1], after[1])
    assert np.array_equal(before[2], after[2])  # class weights


def test_another_precision_is_computed_again_and_features_of_files_stay_in_fp32(
    run, forward_passes, write_image, tmp_path, monkeypatch
):
    monkeypatch.setattr(towers, "_GAINS_BY_BF16", 1)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    configs = {p: replace(CONFIG, evaluate=replace(CONFIG.evaluate, precision=p)) for p in ("fp32", "auto", "bf16")}
    fp32, auto = (contestants.load_features(run, configs[p], ["trained"])["trained"].values for p in ("fp32", "auto"))
    assert not np.array_equal(fp32, auto) and (fp32 * auto).sum(axis=1).min() > 0.999
    n = len(forward_passes)
    assert np.array_equal(contestants.load_features(run, configs["bf16"], ["trained"])["trained"].values, auto)
    assert len(forward_passes) == n  # what "auto" chose is what is stored
    files = [str(write_image(tmp_path / "a.png"))]
    of_files = []
    for config in configs.values():
        models = contestants.file_contestants(run, config, ["trained"])
        of_files.append(contestants.file_features(run, config, models, f"set_{len(of_files)}", files)["trained"])
    assert np.array_equal(of_files[0], of_files[1]) and not np.array_equal(of_files[0], of_files[2])


def test_models_of_one_size_share_the_decoded_images(run, monkeypatch):
    sizes, load = [], read.load_images
    monkeypatch.setattr(read, "load_images", lambda *a: sizes.append(a[2]) or load(*a))
    contestants.load_features(run, CONFIG, ["trained", "random_init", f"run:{run.root}", "pixels"])
    assert sizes == [16, 64]


def test_who_is_compared_and_who_can_name(run):
    models = ("ViT-B-16:openai", "timm:test_vit")
    config = replace(CONFIG, evaluate=replace(CONFIG.evaluate, models=models))
    assert contestants.few_shot_contestants(config) == ["trained", "random_init", "pixels", *models]
    assert contestants.zero_shot_contestants(config) == ["trained", "random_init", "ViT-B-16:openai"]
    by_class = load_config("smoke", {"train.objective": "classification"})
    assert contestants.zero_shot_contestants(by_class) == ["random_init"]
    with pytest.raises(InputError, match=r"timm:test_vit has no text tower .*few-shot"):
        contestants.class_encoder(run, config, "timm:test_vit")
    with pytest.raises(InputError, match=r"unknown contestant nobody; .* or give a model's address"):
        contestants.load_features(run, config, ["nobody"])


def test_a_vision_model_has_its_own_preprocessing_and_no_head(vision_folder):
    loaded = load_model(f"timm:local-dir:{vision_folder}")
    cfg = loaded.model.visual.preprocess_cfg
    assert (cfg["size"], cfg["mean"][0], loaded.tokenizer) == ((160, 160), 0.5, None)
    assert loaded.digest == load_model(f"timm:local-dir:{vision_folder}").digest
    with torch.no_grad():
        assert loaded.model.visual.trunk(torch.zeros(1, 3, 160, 160)).shape == (1, 64)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("timm:vit_small_patch14_dinov", "timm has no model .*near: .*dinov2"),
        ("timm:vit_tiny_patch16_224", "cannot be loaded .*HF_HUB_OFFLINE is set: unset it"),
        ("run:/nowhere", "/nowhere/model does not exist; give a finished run, or finish it"),
    ],
)
def test_wrong_addresses_say_what_to_do(address, message):
    with pytest.raises(InputError, match=message) as error:
        load_model(address)
    assert len(str(error.value).splitlines()) == 1
