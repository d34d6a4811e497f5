"""open_clip's own trainer on our shards and our export, and our trainer on its checkpoint."""

import json
import math
import re
import subprocess
import sys

import bioclip_lib.model  # noqa: F401 (before open_clip)

# isort: split
import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from bioclip_lib.catalog.splits import assign_splits
from bioclip_lib.catalog.table import write_catalog
from bioclip_lib.config import ShardConfig, SplitConfig, load_config
from bioclip_lib.evaluation.zero_shot import zero_shot_weights
from bioclip_lib.model.encode import encode_images, encode_texts
from bioclip_lib.model.load import export_model, load_model
from bioclip_lib.model.towers import build_model, model_config_dict
from bioclip_lib.run import Run
from bioclip_lib.shards.write import write_shards
from bioclip_lib.training.data import load_training_data
from bioclip_lib.training.loop import fit
from speed import trainers

SETTINGS = {
    "model.image_size_px": 16, "model.vision_layers": 1, "model.vision_width": 32, "model.text_layers": 1,
    "model.text_width": 32, "model.text_heads": 1, "model.embed_dim": 16, "shards.image_size_px": 24,
    "train.steps": 2, "train.batch_size": 4, "train.warmup_steps": 1, "train.precision": "fp32",
}  # fmt: skip
CONFIG = load_config("mini", SETTINGS)
TEMPLATES = [template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
OPEN_CLIP = "import sys; import bioclip_lib.model; from open_clip_train.main import main; main(sys.argv[1:])"


@pytest.fixture(scope="module")
def run(catalog, tmp_path_factory):
    """A run whose model open_clip's trainer has trained for two steps."""
    run = Run(tmp_path_factory.mktemp("run"))
    table = assign_splits(catalog, SplitConfig(heldout_fraction=0.25))
    write_catalog(table, run.catalog)
    write_shards(table, run.shards, ShardConfig(image_size_px=24, samples_per_shard=8))
    export_model(build_model(CONFIG.model), CONFIG.model, run.model)
    arguments = {
        "model": f"local-dir:{run.model}", "train-data": run.shards / "train" / "shard-{000000..000002}.tar",
        "dataset-type": "webdataset", "train-num-samples": 8, "batch-size": 4, "epochs": 1, "workers": 0,
        "warmup": 1, "precision": "fp32", "device": "cpu", "logs": run.root / "logs", "name": "test",
        "log-every-n-steps": 1,
    }  # fmt: skip
    command = [sys.executable, "-c", OPEN_CLIP, *(f"--{key}={value}" for key, value in arguments.items())]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2_000:]
    return run


@pytest.fixture
def photos_of_two_colours(tmp_path):
    """Files of the model's own size, so that squashing and cropping do the same."""
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for i, path in enumerate(paths):
        noise = np.random.default_rng(i).integers(0, 60, (16, 16, 3)) + np.array([[[150 * i, 60, 150 - 150 * i]]])
        Image.fromarray(noise.astype(np.uint8)).save(path)
    return paths


@pytest.fixture(scope="module")
def checkpoint(run):
    return run.root / "logs" / "test" / "checkpoints" / "epoch_1.pt"


def test_the_benchmark_runs_both_trainers_and_prints_its_tables(monkeypatch, capsys):
    def alternate(folder, sizes, jobs, *lengths):
        assert (folder / f"model-{sizes}" / "open_clip_config.json").exists()
        found = [{"loss": [1.0] * n, "cpu_s": 2.0 + n, "peak_mib": 100.0, "worker_peak_mib": 0.0} for n in lengths]
        seeds = {"speed": trainers.SPEED, "curves": trainers.CURVES}[sizes]["seeds"]
        return {job: [found] * len(seeds) for job in jobs}

    monkeypatch.setattr("speed.world.write_shards", lambda folder, n_images: None)
    monkeypatch.setattr(trainers, "alternate", alternate)
    trainers.main()
    printed = capsys.readouterr().out
    n = trainers.BATCH  # a step takes a second
    assert f"| bf16: steps alone, images a second of processor time | {n} | {n} | {n} | 1.00 | 1.00 |" in printed
    assert "| open_clip, fp32, 0 | 1.000 | 1.000 | 1.000 | 1.000 |" in printed


def test_open_clips_trainer_trains_our_export_on_our_shards(run, checkpoint):
    log = (run.root / "logs" / "test" / "out.log").read_text()
    losses = [float(loss) for loss in re.findall(r" Loss: ([\d.]+)", log)]
    assert len(losses) == 2
    assert all(0 < loss < 2 * math.log(4) for loss in losses)
    start = load_model(f"local-dir:{run.model}").model.state_dict()
    trained = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert set(trained) == set(start)
    moved = {name for name in start if not torch.equal(start[name], trained[name])}
    assert {"visual.conv1.weight", "text_projection", "token_embedding.weight"} <= moved


def test_our_trainer_goes_on_from_its_checkpoint_and_open_clip_from_ours(run, checkpoint, tmp_path):
    (tmp_path / "our-tiny.json").write_text(json.dumps(model_config_dict(CONFIG.model)))
    open_clip.add_model_config(tmp_path / "our-tiny.json")
    clip = load_model(f"our-tiny:{checkpoint}").model
    trained = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(value, trained[name]) for name, value in clip.state_dict().items())
    train, val = load_training_data(run, CONFIG, clip)
    log = fit(clip, train, val, CONFIG, Run(tmp_path / "on"), progress=False)
    assert np.isfinite(log["loss"]).all()
    export_model(clip, CONFIG.model, tmp_path / "export")
    again, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'export'}")
    assert all(torch.equal(value, clip.state_dict()[name]) for name, value in again.state_dict().items())
    assert not torch.equal(again.text_projection, trained["text_projection"])


def test_pybioclip_names_images_with_our_export(tmp_path, photos_of_two_colours):
    from bioclip import CustomLabelsClassifier  # after open_clip's shim

    model = build_model(CONFIG.model)
    export_model(model, CONFIG.model, tmp_path / "model")
    names = ["Parus major", "Pica pica", "Acer rubrum"]
    classifier = CustomLabelsClassifier(names, model_str=f"local-dir:{tmp_path / 'model'}")
    rows = classifier.predict([str(path) for path in photos_of_two_colours], k=3)
    weights = zero_shot_weights(lambda texts: encode_texts(model, texts), names, TEMPLATES)
    np.testing.assert_allclose(classifier.txt_embeddings.T.numpy(), weights, atol=1e-5)
    features = encode_images(model, np.stack([np.asarray(Image.open(path)) for path in photos_of_two_colours]))
    logits = torch.from_numpy(features @ weights.T) * model.logit_scale.exp().detach()
    scores = {(row["file_name"], row["classification"]): row["score"] for row in rows}
    for path, probabilities in zip(photos_of_two_colours, logits.softmax(dim=1).tolist(), strict=True):
        for name, probability in zip(names, probabilities, strict=True):
            assert scores[str(path), name] == pytest.approx(probability, abs=1e-4)
