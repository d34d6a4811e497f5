"""A small model, and label sets that are cached for one session."""

from functools import partial

import pytest

from bioclip_lib.config import ModelConfig
from bioclip_lib.identify import candidates
from bioclip_lib.model import build_model, tokenize
from bioclip_lib.model.load import LoadedModel, image_transform, model_digest


@pytest.fixture(scope="session")
def model() -> LoadedModel:
    clip = build_model(ModelConfig(image_size_px=16, vision_layers=1, text_layers=1))
    tokenizer = partial(tokenize, context_length=clip.context_length)
    return LoadedModel(clip, image_transform(clip), tokenizer, "test:small", model_digest(clip))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Keep label sets in a folder of the test; backbones stay in the user's cache."""
    monkeypatch.setattr(candidates, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "labels"
