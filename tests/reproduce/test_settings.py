"""Settings as a user gives them: relative paths, and mistakes that are found before anything is computed."""

import pytest

from bioclip_lib.config import PROFILES, load_config
from bioclip_lib.errors import InputError
from bioclip_lib.reproduce.settings import (
    absolute,
    check_settings,
    digest_of_evaluation,
    training_files,
)


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("data.extends", "a/catalog.parquet", "{here}/a/catalog.parquet"),
        ("data.backbones", "col.zip,ncbi", "{here}/col.zip,ncbi"),
        ("data.names", "my names, 2024.csv", "{here}/my names, 2024.csv"),
        ("data.photos", "owner/name", "owner/name"),
        ("data.photos", "there/birds", "{here}/there/birds"),
        ("evaluate.sets", "sets", "{here}/sets"),
        ("evaluate.templates", "mine.txt", "{here}/mine.txt"),
        ("evaluate.templates", "none", "none"),
        ("evaluate.traits", "mine.csv", "{here}/mine.csv"),
        ("evaluate.models", "run:a,ViT-B-16:openai", "run:{here}/a,ViT-B-16:openai"),
        ("evaluate.models", "timm:local-dir:b", "timm:local-dir:{here}/b"),
        ("evaluate.models", "ViT-B-16:weights.pt", "ViT-B-16:{here}/weights.pt"),
        ("model.name", "local-dir:a/model", "local-dir:{here}/a/model"),
        ("model.name", "hf-hub:imageomics/bioclip", "hf-hub:imageomics/bioclip"),
        ("model.pretrained", "openai", "openai"),
        ("model.pretrained", "weights.pt", "{here}/weights.pt"),
        ("data.licenses", "cc0,cc-by", "cc0,cc-by"),
        ("evaluate.sets", "", ""),
    ],
)
def test_relative_paths_are_of_the_folder_of_the_command(tmp_path, monkeypatch, key, value, found):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there" / "birds").mkdir(parents=True)
    (tmp_path / "weights.pt").touch()
    assert absolute(key, value) == found.format(here=tmp_path)


@pytest.mark.parametrize(
    "mistake",
    [
        {"data.source": "photo"},
        {"data.backbones": "nowhere.zip,ncbi"},
        {"data.licenses": "free"},
        {"split.test_fraction": 2.0},
        {"model.image_tower": "resnet"},
        {"model.name": "local-dir:nowhere"},
        {"train.precision": "half"},
        {"train.steps": -5},
        {"train.crop_area": "2,3"},
        {"train.objective": "clipp"},
        {"train.text_types": "common"},
        {"evaluate.text_type": "latin"},
        {"evaluate.templates": "orginal"},
        {"evaluate.sets": "nowhere"},
        {"evaluate.traits": "nowhere.csv"},
        {"evaluate.shots": "0"},
        {"evaluate.models": "ViT-B-61:openai"},
        {"evaluate.models": "run:nowhere"},
        {"evaluate.models": "timm:resnet_51"},
        {"train.replay_batch": 4},
    ],
    ids=str,
)
def test_a_mistake_is_found_before_anything_is_computed(mistake):
    with pytest.raises(InputError):
        check_settings(load_config("smoke", mistake))


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_passes(profile, tmp_path):
    if load_config(profile).train.precision != "fp16":  # only on a GPU
        check_settings(load_config(profile, {"train.replay": str(tmp_path)}))


def test_other_content_of_what_settings_name_is_another_input(tmp_path):
    (tmp_path / "sets").mkdir()
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "mine.txt").write_text("a {}")
    config = load_config(
        "smoke",
        {
            "evaluate.templates": str(tmp_path / "mine.txt"),
            "evaluate.sets": str(tmp_path / "sets"),
            "evaluate.models": f"run:{tmp_path}/run",
        },
    )
    digests = {digest_of_evaluation(config)}
    for file, content in (("mine.txt", "an old {}"), ("sets/labels.csv", "a"), ("run/model/weights", "b")):
        (tmp_path / file).write_text(content)
        digests.add(digest_of_evaluation(config))
    assert len(digests) == 4 and digests.isdisjoint({digest_of_evaluation(load_config("smoke"))})
    assert not training_files(config)
