"""Training on images streamed from shards: the same as in memory, exact on resume, and what happens to broken ones."""

import itertools
import json
import math
import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from bioclip_lib.catalog.splits import assign_splits
from bioclip_lib.catalog.table import read_catalog, write_catalog
from bioclip_lib.config import ShardConfig, SplitConfig, load_config
from bioclip_lib.errors import InputError
from bioclip_lib.model.load import model_digest
from bioclip_lib.model.towers import build_model
from bioclip_lib.run import Run
from bioclip_lib.shards import stream
from bioclip_lib.shards.read import load_images
from bioclip_lib.shards.write import write_shards
from bioclip_lib.training import data as train_data
from bioclip_lib.training import loaders
from bioclip_lib.training.checkpoints import list_checkpoints
from bioclip_lib.training.loop import fit
from tests.shards.test_stream import BROKEN, damage, first_member
from tests.training.started import start
from tests.training.test_faults import kill, wait_for_checkpoints
from tests.training.test_loop import TINY, interrupt
from tests.training.test_loop import _StopError as StopError

N = 21  # training images, in shards of 4
COLUMNS = ["step", "loss", "val_loss", "grad_norm", "unreadable"]


def config_of(**train):
    settings = {**TINY, "shards.image_size_px": 20, "model.context_length": 40, "train.stream": True}
    return load_config("smoke", {**settings, **{f"train.{name}": value for name, value in train.items()}})


@pytest.fixture
def run(catalog, tmp_path):
    return write_run(Run(tmp_path / "run"), catalog)


def write_run(run, catalog):
    """Write a run up to its shards."""
    table = assign_splits(catalog, SplitConfig(heldout_fraction=0.25))
    write_catalog(table, run.catalog)
    write_shards(table, run.shards, ShardConfig(image_size_px=24, samples_per_shard=4))
    return run


def train_streamed(run, folder, config, resume=False, model=None):
    model = model or build_model(config.model)
    data = train_data.load_training_data(run, config, model)
    return model, fit(model, *data, config, Run(folder), resume=resume, progress=False)


def test_shards_and_memory_train_the_same_weights_from_the_same_batches(run, tmp_path, monkeypatch):
    config = config_of(micro_batch_size=3, token_dropout=0.2)
    streamed, log = train_streamed(run, tmp_path / "streamed", config)
    ids, _ = load_images(run.shards, ["train"], 20)
    samples = stream.ShardStream(run.shards, "train", 8, 20, config.train.seed)
    order = lambda n, size, step, seed: torch.tensor([ids.index(i) for i in samples.batch(step).image_ids])  # noqa: E731
    monkeypatch.setattr(loaders, "batch_indices", order)
    in_memory, same = train_streamed(
        run, tmp_path / "memory", config_of(micro_batch_size=3, token_dropout=0.2, stream=False)
    )
    assert model_digest(streamed) == model_digest(in_memory)
    columns = ["step", "loss", "grad_norm", "unreadable"]  # validation sees its images in another order
    assert log[columns].equals(same[columns])
    assert (log["unreadable"] == 0).all()


@pytest.mark.parametrize("streamed", [True, False])
def test_a_name_settled_after_a_training_trains_the_same_run_anew(run, catalog, streamed):
    config = config_of(stream=streamed, epochs=2.0, steps=0)

    def train():
        model, log = train_streamed(run, run.root, config, resume=True)
        files = {path.name: path.stat().st_mtime_ns for path in list_checkpoints(run.checkpoints)}
        return model_digest(model), log["loss"].tolist(), files

    first = train()
    assert train() == first
    settled = {"great tit": "Kohlmeise", "red maple": "Rotahorn"}  # as by lines of classes.csv; one may be held out
    write_run(run, catalog.replace({"common_name": settled}))
    with pytest.warns(UserWarning, match="training starts anew"):
        second = train()
    assert second[0] != first[0] and len(second[1]) == len(first[1])
    assert not set(first[2].items()) & set(second[2].items()) and train() == second


def test_labels_belong_to_the_images_and_an_epoch_has_each_once(run):
    config = config_of()
    data, _ = train_data.load_training_data(run, config, None)
    assert data.streamed and len(data.inputs) == len(data.labels) == N
    table = read_catalog(run.catalog).set_index("image_id")
    keys, classes = table["class_key"], data.inputs.classes
    loader = loaders.ShardLoader(data.inputs, 7, 0, 1, torch.device("cpu"))
    seen = []
    for step in (0, 1, 2, 1):  # on, and back
        drawn = loader.draw(step)
        ids = loader.names(drawn.index)["image_id"]
        assert drawn.labels.tolist() == [classes[keys[image_id]] for image_id in ids]
        assert drawn.inputs.shape == (7, 20, 20, 3)
        seen.append(ids)
    loader.close()
    assert sorted(itertools.chain(*seen[:3])) == sorted(table.index[table["split"] == "train"])
    assert seen[3] == seen[1]
    assert sorted(data.labels) == sorted(classes[key] for key in keys[table["split"] == "train"])


@pytest.mark.parametrize("after", [3, 4])
def test_an_interrupted_streamed_training_ends_with_the_same_bits(run, tmp_path, after):
    model, log = train_streamed(run, tmp_path / "whole", config_of())
    n_threads = threading.active_count()
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, after)
        with pytest.raises(StopError):
            train_streamed(run, tmp_path / "cut", config_of())
    assert threading.active_count() == n_threads
    resumed, resumed_log = train_streamed(run, tmp_path / "cut", config_of(decode_workers=3), resume=True)
    assert model_digest(resumed) == model_digest(model)
    assert resumed_log[COLUMNS].equals(log[COLUMNS])


def train_60(root, name, resume=False):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    config = config_of(steps=60, checkpoint_every_steps=60 if resume or name == "whole" else 1, val_every_steps=60)
    try:
        return train_streamed(Run(root / "run"), root / name, config, resume)
    finally:
        torch.set_num_threads(threads)


def test_a_killed_streamed_training_resumes_with_the_same_bits(run, tmp_path):
    model, log = train_60(tmp_path, "whole")
    process = start(train_60, tmp_path, "cut")
    wait_for_checkpoints(process, tmp_path / "cut")
    kill(process)
    assert 2 <= int(list_checkpoints(tmp_path / "cut" / "checkpoints")[-1].stem[5:]) < 60
    resumed, resumed_log = train_60(tmp_path, "cut", resume=True)
    assert model_digest(resumed) == model_digest(model)
    assert resumed_log[COLUMNS].equals(log[COLUMNS])


def break_one(run):
    path = run.shards / "train" / "shard-000002.tar"
    name = first_member(path, ".jpg")
    damage(path, name, BROKEN)
    return path, name.partition(".")[0]


def test_a_corrupt_image_is_replaced_counted_and_named(run, tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "MAX_UNREADABLE", 0.05)
    path, broken = break_one(run)
    config = config_of(steps=8, batch_size=7)  # epochs of 3 steps
    with pytest.warns(UserWarning, match=rf"1 of {N} training images cannot be read.*{path.name}::{broken}") as warned:
        model, log = train_streamed(run, tmp_path / "whole", config)
    assert len(warned) == 1
    assert (
        log["unreadable"].tolist()
        == pd.read_csv(tmp_path / "whole" / "tables" / "train_log.csv")["unreadable"].tolist()
    )
    assert [log["unreadable"][i : i + 3].sum() for i in (0, 3)] == [1, 1]  # once an epoch
    with pytest.MonkeyPatch.context() as patch, pytest.warns(UserWarning, match="cannot be read"):
        interrupt(patch, 5)
        with pytest.raises(StopError):
            train_streamed(run, tmp_path / "cut", config)
    with pytest.warns(UserWarning, match="cannot be read"):
        resumed, resumed_log = train_streamed(run, tmp_path / "cut", config, resume=True)
    assert model_digest(resumed) == model_digest(model)
    assert resumed_log[COLUMNS].equals(log[COLUMNS])


@pytest.mark.filterwarnings("ignore:.*cannot be read")
def test_too_many_corrupt_images_stop_training_with_the_list(run, tmp_path):
    path, broken = break_one(run)
    n_threads = threading.active_count()
    message = rf"1 of {N} samples cannot be read \(limit 1%\): .*{path.name}::{broken}.*rerun 01"
    with pytest.raises(InputError, match=message):
        train_streamed(run, tmp_path / "out", config_of())
    assert threading.active_count() == n_threads


def test_a_loss_that_is_not_finite_leaves_the_image_ids(run, tmp_path):
    config = config_of()
    model = build_model(config.model)
    with torch.no_grad():
        model.visual.proj[0, 0] = math.nan
    with pytest.raises(InputError, match=r"the loss is nan at step 1; .*bad_batch.csv"):
        train_streamed(run, tmp_path, config, model=model)
    bad = pd.read_csv(tmp_path / "tables" / "bad_batch.csv")
    batch = stream.ShardStream(run.shards, "train", 8, 20, config.train.seed).batch(0)
    assert bad["image_id"].tolist() == batch.image_ids
    assert not bad["finite_image_features"].any()


def test_validation_takes_a_bounded_choice_of_the_images(run, monkeypatch):
    _, all_of_them = train_data.load_training_data(run, config_of(), None)
    _, in_memory = train_data.load_training_data(run, config_of(stream=False), None)
    assert sorted(all_of_them.labels) == sorted(in_memory.labels)
    images = {(label, image.tobytes()) for label, image in zip(in_memory.labels, in_memory.inputs, strict=True)}
    assert {
        (label, image.tobytes()) for label, image in zip(all_of_them.labels, all_of_them.inputs, strict=True)
    } == images
    monkeypatch.setattr(train_data, "MAX_VALIDATION_PAIRS", 2)
    _, some = train_data.load_training_data(run, config_of(), None)
    assert len(some.labels) == 2


def test_a_batch_larger_than_the_set_is_one_epoch(run, tmp_path):
    _, log = train_streamed(run, tmp_path, config_of(batch_size=100, steps=2))
    assert np.isfinite(log["loss"]).all()
    assert len(log) == 2


def test_a_run_without_a_validation_split(run, tmp_path):
    table = read_catalog(run.catalog)
    table = table[table["split"] == "train"]
    bare = Run(tmp_path / "bare")
    write_catalog(table, bare.catalog)
    write_shards(table, bare.shards, ShardConfig(image_size_px=24, samples_per_shard=4))
    _, log = train_streamed(bare, tmp_path / "out", config_of())
    assert log["val_loss"].isna().all()


@pytest.mark.parametrize("streamed", [True, False])
def test_shards_that_are_missing_empty_or_of_another_catalog_are_refused(run, tmp_path, streamed):
    config = config_of(stream=streamed)
    index = run.shards / "index.json"
    index.write_text("[]")
    with pytest.raises(InputError, match=r"training images.*rerun 01_dataset_construction"):
        train_streamed(run, tmp_path, config)
    index.unlink()
    with pytest.raises(InputError, match=r"index\.json is missing"):
        train_streamed(run, tmp_path, config)


def test_a_class_that_the_catalog_lacks_is_refused(run):
    images = loaders.ShardImages(run.shards, "train", 20, {"another": 0})
    loader = loaders.ShardLoader(images, 4, 0, 1, torch.device("cpu"))
    with pytest.raises(InputError, match=r"holds class '.*', which the catalog lacks; rerun 01"):
        loader.draw(0)
    loader.close()


def test_a_catalog_of_other_images_is_refused(run):
    table = read_catalog(run.catalog)
    write_catalog(table[table["image_id"] != table["image_id"][table["split"] == "train"].iloc[0]], run.catalog)
    with pytest.raises(InputError, match=rf"{N - 1} training images in the catalog, {N} in"):
        train_data.load_training_data(run, config_of(), None)


def test_streaming_a_frozen_tower_or_data_of_the_other_kind_is_refused(run, tmp_path):
    with pytest.raises(InputError, match=r"set train\.stream=false or"):
        config = config_of(freeze_image_tower=True)
        pretrained = replace(config, model=replace(config.model, image_tower="efficientnet-lite0"))
        train_data.load_training_data(run, pretrained, None)
    model = build_model(config_of().model)
    train, val = train_data.load_training_data(run, config_of(), model)
    with pytest.raises(InputError, match=r"train\.stream=False, but the training images are in shards"):
        fit(model, train, val, config_of(stream=False), Run(tmp_path), progress=False)
    with pytest.raises(InputError, match=r"train\.stream=True, but the training images are in memory"):
        fit(model, val, val, config_of(), Run(tmp_path), progress=False)
    with pytest.raises(InputError, match=r"those of validation in shards"):
        fit(model, train, train, config_of(), Run(tmp_path), progress=False)


def test_a_digest_tells_shards_and_classes_apart(run):
    images = loaders.ShardImages(run.shards, "train", 20, {"a": 0})
    others = [
        loaders.ShardImages(run.shards, "train", 21, {"a": 0}),
        loaders.ShardImages(run.shards, "val", 20, {"a": 0}),
        loaders.ShardImages(run.shards, "train", 20, {"a": 1}),
    ]
    index = run.shards / "index.json"
    rows = json.loads(index.read_text())
    next(row for row in rows if row["split"] == "train")["sha256"] = "0" * 64
    index.write_text(json.dumps(rows))
    others.append(loaders.ShardImages(run.shards, "train", 20, {"a": 0}))
    assert len({image.digest() for image in (images, *others)}) == 5
