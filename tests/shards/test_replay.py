"""Pairs of another collection beside those of the catalog: read where they lie, in their place, exact on resume."""

import io
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from bioclip_lib.errors import InputError
from bioclip_lib.model.encode import encode_images, encode_texts
from bioclip_lib.model.text import tokenize
from bioclip_lib.model.towers import build_model
from bioclip_lib.run import Run
from bioclip_lib.shards import replay, stream
from bioclip_lib.shards.replay import ReplayPairs, ReplayStream
from bioclip_lib.training import data as train_data
from bioclip_lib.training import distributed, loop
from bioclip_lib.training.loaders import MemoryLoader, ReplayLoader
from bioclip_lib.training.loop import fit
from tests.training.test_loop import tiny_config, tiny_images

SIZE = 20


def write_pairs(path, numbers, broken=()):
    """Write a tar as webdataset's writer does (times with fractions, hence pax headers); image i is of the grey i."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for i in numbers:
            image = io.BytesIO()
            Image.new("RGB", (30, 24), (10 * i,) * 3).save(image, "PNG" if i % 2 else "WEBP", lossless=True)
            suffix = "png" if i % 2 else "webp"
            data = b"no image" if i in broken else image.getvalue()
            for name, content in ((f"a.b/{i:04d}.{suffix}", data), (f"a.b/{i:04d}.txt", f"a text of {i}\n".encode())):
                info = tarfile.TarInfo(name)
                info.size, info.mtime = len(content), 1_700_000_000.25
                tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def folder(tmp_path):
    write_pairs(tmp_path / "tars" / "0.tar", range(5))
    write_pairs(tmp_path / "tars" / "deeper" / "1.tar", range(5, 14))
    return tmp_path / "tars"


@pytest.fixture
def pairs(folder, tmp_path):
    return ReplayPairs(folder, 4, SIZE, tmp_path / "counts.json")


def test_pairs_are_images_with_a_text_and_are_counted_once(folder, tmp_path, monkeypatch):
    with tarfile.open(folder / "0.tar", "a") as tar:
        for name in ("alone.jpg", "alone_too.txt", "a.b/0000.json"):
            tar.addfile(tarfile.TarInfo(name))
    counts = tmp_path / "counts.json"
    before = ReplayPairs(folder, 4, SIZE, counts)
    assert list(before.sizes.values()) == [5, 9] and len(before) == 14
    monkeypatch.setattr(replay, "_count_pairs", lambda path: pytest.fail(f"{path} is read again"))
    assert ReplayPairs(folder, 4, SIZE, counts).digest() == before.digest()
    monkeypatch.undo()
    write_pairs(folder / "0.tar", range(6))
    after = ReplayPairs(folder, 4, SIZE, counts)
    assert len(after) == 15 and after.digest() != before.digest()


def test_what_is_no_tar_or_no_count_is_passed_over(pairs, folder, tmp_path):
    (folder / "folder.tar").mkdir()
    (folder / "gone.tar").symlink_to(tmp_path / "nowhere.tar")
    for content in ('{"cut', "[]"):
        (tmp_path / "counts.json").write_text(content)
        assert ReplayPairs(folder, 4, SIZE, tmp_path / "counts.json").digest() == pairs.digest()


def test_processes_have_to_share_what_a_small_set_gives(folder, tmp_path, monkeypatch):
    for module in (loop, distributed):
        monkeypatch.setattr(module, "world", lambda: distributed.World(0, 3))
    data = replace(tiny_images(16), replay=ReplayPairs(folder, 15, SIZE, tmp_path / "counts.json"))
    config = tiny_config(objective="clip", batch_size=9, replay_batch=15)
    with pytest.warns(UserWarning, match=r"train\.replay_batch is 15, but there are 14 pairs to replay: a step takes"):
        loop._say_what_is_smaller(data, config.train)
    with pytest.raises(InputError, match="3 processes cannot share 14 replayed pairs evenly"):  # two would train on 14
        loop._check_shares(build_model(config.model), data, config.train)


def test_an_epoch_has_each_pair_once_and_images_keep_their_texts(pairs):
    reader = ReplayStream(pairs)
    seen = []
    for step in range(7):  # 28 places: two epochs of 14
        batch = reader.batch(step)
        greys = batch.images[:, 0, 0, 0]
        assert [f"a text of {grey // 10}" for grey in greys] == batch.class_keys
        assert reader.image_ids(batch.numbers) == batch.image_ids
        seen += list(greys // 10)
    assert sorted(seen[:14]) == sorted(seen[14:]) == list(range(14))


def test_a_batch_holds_both_in_fixed_places(pairs):
    data, config = tiny_images(16), tiny_config(replay_batch=4).train
    inputs, labels = torch.from_numpy(data.inputs), torch.from_numpy(data.labels)
    plain = MemoryLoader(inputs, labels, 8, config.seed)
    both = ReplayLoader(MemoryLoader(inputs, labels, 8, config.seed), pairs, config, 40, torch.device("cpu"))
    drawn, alone = [both.draw(step) for step in range(4)], [plain.draw(step) for step in range(4)]
    for step, (found, own) in enumerate(zip(drawn, alone, strict=True)):
        replayed = found.labels < 0
        assert replayed.tolist() == [False, False, True] * 4
        assert torch.equal(found.index[~replayed], own.index) and torch.equal(found.labels[~replayed], own.labels)
        assert torch.equal(found.inputs[~replayed], own.inputs)
        texts = [f"a text of {grey // 10}" for grey in found.inputs[replayed][:, 0, 0, 0]]
        assert torch.equal(found.texts, tokenize(texts, 40))
        assert torch.equal(-1 - found.index[replayed], torch.from_numpy(both.reader.stream.numbers(step)))
        names = both.names(found.index)["row"]
        assert names[~replayed.numpy()].tolist() == own.index.tolist() and names[2].startswith("a.b/00")
    again = both.draw(2)  # as after a resume
    assert torch.equal(again.inputs, drawn[2].inputs) and torch.equal(again.texts, drawn[2].texts)
    both.close()


def test_what_was_replayed_is_learnt(pairs, tmp_path):
    images = np.stack([np.full((SIZE, SIZE, 3), 10 * i, np.uint8) for i in range(14)])
    places = []
    for n in (4, 0):
        config = tiny_config(objective="clip", batch_size=8, replay_batch=n, steps=150, lr=3e-3, crop_area=(1.0, 1.0))
        clip, data = build_model(config.model), replace(tiny_images(16), replay=pairs if n else None)
        fit(clip, data, tiny_images(8, seed=1), config, Run(tmp_path), progress=False)
        similarity = encode_images(clip, images) @ encode_texts(clip, [f"a text of {i}" for i in range(14)]).T
        places.append((similarity > similarity.diagonal()[:, None]).sum(axis=1).mean())  # of its own text
    assert places[0] < 4 and places[1] > 5  # 6.5 by chance


def test_broken_pairs_are_replaced_counted_and_end_training_past_the_limit(folder, tmp_path, monkeypatch):
    write_pairs(folder / "0.tar", range(5), broken=[3])
    data = replace(tiny_images(16), replay=ReplayPairs(folder, 4, SIZE, tmp_path / "counts.json"))
    config = tiny_config(objective="clip", batch_size=8, replay_batch=4, steps=7)
    with pytest.raises(InputError, match=r"1 of 14 samples cannot be read.*0\.tar::a\.b/0003.*mend or remove those"):
        fit(build_model(config.model), data, tiny_images(8), config, Run(tmp_path), progress=False)
    monkeypatch.setattr(stream, "MAX_UNREADABLE", 0.1)
    with pytest.warns(UserWarning, match="1 of 14 pairs to replay cannot be read"):
        log = fit(build_model(config.model), data, tiny_images(8), config, Run(tmp_path), progress=False)
    assert log["unreadable"].sum() == 2  # once an epoch


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"replay_batch": 0}, "replay_batch is 0, but the training data have other pairs"),
        ({"replay_batch": 4, "objective": "multi_positive"}, "needs train.objective=clip"),
    ],
)
def test_settings_that_do_not_fit_are_refused(pairs, tmp_path, settings, message):
    config = tiny_config(batch_size=8, **settings)
    data = replace(tiny_images(16), replay=pairs)
    with pytest.raises(InputError, match=message):
        fit(build_model(config.model), data, tiny_images(8), config, Run(tmp_path), progress=False)


def test_a_folder_without_pairs_is_one_message(tmp_path):
    config = tiny_config(replay_batch=4)
    for folder in ("", str(tmp_path / "missing")):
        config = replace(config, train=replace(config.train, replay=folder))
        with pytest.raises(InputError, match=r"replay_batch=4 needs train.replay: a folder of tars"):
            train_data._replay(Run(tmp_path), config)
    with pytest.raises(InputError, match=r"no image with a \.txt"):
        train_data._replay(Run(tmp_path), replace(config, train=replace(config.train, replay=str(tmp_path))))
    (tmp_path / "broken.tar").write_bytes(b"no tar")
    with pytest.raises(InputError, match=r"no image with a \.txt"):
        ReplayPairs(tmp_path, 4, SIZE, tmp_path / "counts.json")
