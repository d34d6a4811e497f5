"""Training from published weights: any architecture of open_clip, here a toy one in a folder, through the profiles."""

import json
from dataclasses import replace

import bioclip_lib.model  # noqa: F401 (before open_clip)

# isort: split
import numpy as np
import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU

from bioclip_lib.config import ModelConfig, load_config
from bioclip_lib.errors import InputError
from bioclip_lib.evaluation.contestants import project_trunk
from bioclip_lib.model.encode import encode_images, trunk_features
from bioclip_lib.model.load import export_model, load_model, model_digest
from bioclip_lib.model.towers import build_model, model_config_dict
from bioclip_lib.run import Run
from bioclip_lib.training.data import load_training_data, start_projection
from bioclip_lib.training.loop import fit
from tests.training.test_loop import TINY, tiny_config, tiny_images


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A toy model in a folder, with the activation and the normalisation of OpenAI's weights."""
    folder, config = tmp_path_factory.mktemp("start") / "model", tiny_config().model
    export_model(build_model(config, seed=5), config, folder)
    content = json.loads((folder / "open_clip_config.json").read_text())
    content["model_cfg"]["quick_gelu"] = True
    content["preprocess_cfg"]["mean"] = [0.4, 0.5, 0.6]
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    (folder / "SHA256SUMS").unlink()  # the change is meant
    return folder


def named(start, **settings):
    return ModelConfig(name=f"local-dir:{start}", context_length=16, **settings)


@pytest.mark.parametrize("profile", ["small", "paper", "bioclip2"])
def test_the_path_of_a_profile_from_published_weights_to_an_export_of_ours(start, tmp_path, profile):
    toy = {"model.name": f"local-dir:{start}", "model.pretrained": "", "model.context_length": 16, "train.epochs": 1,
           "train.batch_size": 8, "train.val_every_steps": 3, "train.warmup_steps": 1,
           "train.stream": False, "train.replay_batch": 0}  # fmt: skip
    config = load_config(profile, toy)
    clip = build_model(config.model, seed=1)
    assert model_digest(clip) == load_model(f"local-dir:{start}").digest
    before = {name: value.clone() for name, value in clip.state_dict().items()}
    log = fit(clip, tiny_images(), tiny_images(8, seed=1), config, Run(tmp_path), progress=False)
    assert len(log) == 3 and log["loss"].notna().all() and log["lr"].iloc[0] == 1e-4
    stock, _, preprocess = open_clip.create_model_and_transforms(
        f"local-dir:{export_model(clip, config.model, tmp_path / 'model')}"
    )
    assert any(isinstance(module, QuickGELU) for module in stock.modules())
    assert tuple(preprocess.transforms[-1].mean) == (0.4, 0.5, 0.6)
    for name, value in stock.state_dict().items():
        assert torch.equal(value, clip.state_dict()[name])
    if log["skipped"].iloc[-1] < 3:
        assert not torch.equal(stock.visual.proj, before["visual.proj"])


def test_published_recipes():
    """Numbers from the model card and the training scripts."""
    paper, two = load_config("paper"), load_config("bioclip2")
    train = paper.train
    assert (train.batch_size, train.epochs, train.lr, train.warmup_steps) == (32_768, 100, 1e-4, 1_000)
    assert (train.weight_decay, train.beta1, train.beta2, train.eps) == (0.2, 0.9, 0.98, 1e-6)
    assert train.text_types == ("com", "sci", "taxon", "sci_com", "taxon_com") and train.higher_rank_share == 0
    assert train.text_mixture == "batch" and train.stream and two.train.stream
    for recipe in (paper.train, two.train):  # open_clip's augmentation
        assert recipe.crop_area == (0.9, 1.0) and not recipe.mirror
    assert (two.train.batch_size, two.train.epochs, two.train.warmup_steps) == (90_112, 30, 1_875)
    assert two.train.replay_batch == 32 * 320
    vision = [model_config_dict(config.model)["vision_cfg"] for config in (paper, two)]
    assert [(v["layers"], v["width"], v["patch_size"]) for v in vision] == [(12, 768, 16), (24, 1024, 14)]


def test_the_activation_is_that_of_the_weights():
    """open_clip's ViT-B-16 has GELU; OpenAI's weights were trained with QuickGELU."""
    assert model_config_dict(ModelConfig(name="ViT-B-16", pretrained="openai"))["quick_gelu"]
    assert not model_config_dict(ModelConfig(name="ViT-B-16", pretrained="laion2b_s34b_b88k")).get("quick_gelu")
    assert not model_config_dict(ModelConfig(name="ViT-B-16")).get("quick_gelu")


def test_normalisation_is_the_models_own_or_imagenets(start, tmp_path):
    own, imagenet = (build_model(named(start, normalisation=n)) for n in ("", "imagenet"))
    assert own.visual.preprocess_cfg["mean"] == [0.4, 0.5, 0.6]
    assert imagenet.visual.preprocess_cfg["mean"] == [0.485, 0.456, 0.406]
    assert imagenet.visual.preprocess_cfg["std"] == [0.229, 0.224, 0.225]
    folder = export_model(imagenet, named(start, normalisation="imagenet"), tmp_path / "model")
    assert load_model(f"local-dir:{folder}").model.visual.preprocess_cfg["std"] == [0.229, 0.224, 0.225]
    assert build_model(tiny_config().model).visual.preprocess_cfg["mean"] != [0.485, 0.456, 0.406]


def test_without_weights_the_architecture_is_left_and_the_seed_decides(start):
    a, again, other = (build_model(named(start), seed=seed, weights=False) for seed in (1, 1, 2))
    assert model_digest(a) == model_digest(again) != model_digest(other)
    assert model_digest(other) != load_model(f"local-dir:{start}").digest
    assert [v.shape for v in a.state_dict().values()] == [
        v.shape for v in build_model(named(start)).state_dict().values()
    ]


def test_weights_of_another_architecture_are_named(start, tmp_path):
    config = load_config("smoke", {**TINY, "model.embed_dim": 8}).model
    export_model(build_model(config), config, tmp_path / "model")
    (tmp_path / "model" / "open_clip_config.json").write_text((start / "open_clip_config.json").read_text())
    (tmp_path / "model" / "SHA256SUMS").unlink()
    with pytest.raises(InputError, match=r"weights are of another architecture: size mismatch for text_projection"):
        build_model(named(tmp_path / "model"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "ViT-B-61"}, "near: ViT-B-16"),
        ({"name": "ViT-B-16", "pretrained": "nothing"}, "there is openai"),
        ({"name": "ViT-B-16", "pretrained": "openai"}, "HF_HUB_OFFLINE is set"),
        ({"name": "ViT-B-16", "context_length": 64}, "set model.context_length=77"),
        ({"name": "ViT-B-16-SigLIP", "pretrained": "webli"}, "does not read CLIP's 49,408 tokens"),
        ({"name": "local-dir:/nowhere"}, "holds no open_clip_config"),
        ({"name": "hf-hub:a/b", "pretrained": "openai"}, "comes with its weights"),
        ({"normalisation": "mine"}, "choose imagenet"),
    ],
)
def test_models_that_cannot_be_started_from_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        build_model(ModelConfig(**settings))


@pytest.mark.numerical
def test_an_unreadable_configuration_is_refused(tmp_path):
    (tmp_path / "open_clip_config.json").write_text("{")
    with pytest.raises(InputError, match="no readable configuration"):
        build_model(named(tmp_path))


def test_a_whole_vit_is_frozen_but_for_its_projection(start, tmp_path):
    toy = {"model.name": f"local-dir:{start}", "model.pretrained": "", "model.context_length": 16, "train.epochs": 1,
           "train.batch_size": 8, "train.warmup_steps": 1, "train.freeze_image_tower": True,
           "train.stream": False}  # fmt: skip
    config = load_config("small", toy)
    clip = build_model(config.model)
    images = [tiny_images(), tiny_images(8, seed=1)]
    data = [replace(d, inputs=trunk_features(clip, d.inputs)) for d in images]
    assert data[0].inputs.shape == (24, 32)
    np.testing.assert_allclose(project_trunk(clip, data[0].inputs), encode_images(clip, images[0].inputs), atol=1e-6)
    start_projection(clip, data[0].inputs)
    before = {name: value.clone() for name, value in clip.state_dict().items()}
    fit(clip, *data, config, Run(tmp_path), progress=False)
    changed = {name for name, value in clip.state_dict().items() if not torch.equal(value, before[name])}
    assert {name for name in changed if name.startswith("visual.")} == {"visual.proj"}
    assert {"text_projection", "transformer.resblocks.0.ln_1.weight"} <= changed


def test_a_tower_that_nobody_trained_is_not_frozen(tmp_path):
    config = tiny_config(freeze_image_tower=True)
    for of_config in (config, replace(config, model=ModelConfig(name="ViT-B-16"))):
        with pytest.raises(InputError, match="needs a pretrained image tower"):
            load_training_data(Run(tmp_path), of_config, None)
