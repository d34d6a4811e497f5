"""Streamed samples: exact order, slices of processes, resumption, and what happens when something breaks."""

import itertools
import json
import os
import subprocess
import sys
import tarfile
import threading
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_lib.catalog.splits import assign_splits
from bioclip_lib.config import ShardConfig, SplitConfig
from bioclip_lib.errors import InputError
from bioclip_lib.run import file_sha256
from bioclip_lib.shards import stream as module
from bioclip_lib.shards.read import load_images, read_index
from bioclip_lib.shards.stream import SampleOrder, ShardStream
from bioclip_lib.shards.write import write_shards

N = 21  # training images of the fixture's catalog, in shards of 4, 4, 4, 4, 4, 1
SPLIT = SplitConfig(heldout_fraction=0.25)


@pytest.fixture(scope="module")
def finished(catalog) -> pd.DataFrame:
    return assign_splits(catalog, SPLIT)


@pytest.fixture
def folder(finished, tmp_path):
    write_shards(finished, tmp_path / "shards", ShardConfig(image_size_px=24, samples_per_shard=4))
    return tmp_path / "shards"


sizes = st.lists(st.integers(0, 12), min_size=1, max_size=9).filter(any)


@given(sizes, st.integers(1, 4), st.integers(0, 2**32), st.integers(1, 17))
@settings(max_examples=100, deadline=None)
def test_every_epoch_has_each_sample_once_however_it_is_cut(sizes, window, seed, piece):
    order, n = SampleOrder(sizes, seed, window), sum(sizes)
    whole = order.numbers(0, 3 * n)
    for epoch in whole.reshape(3, n):
        assert sorted(epoch) == list(range(n))
    starts = list(range(0, 3 * n, piece))
    pieces = {start: order.numbers(start, min(start + piece, 3 * n)) for start in reversed(starts)}
    assert np.concatenate([pieces[start] for start in starts]).tolist() == whole.tolist()


@given(sizes, st.integers(1, 4), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_samples_are_shuffled_within_a_window_of_shards(sizes, window, seed):
    sizes = [size for size in sizes if size]
    order, n = SampleOrder(sizes, seed, window), sum(sizes)
    shards = [order.locate(number)[0] for number in order.numbers(0, n)]
    assert len(set(shards)) == len(sizes)
    for shard in range(len(sizes)):  # between a shard's samples lie at most those of the other shards of its window
        places = [i for i, s in enumerate(shards) if s == shard]
        between = set(shards[places[0] : places[-1] + 1])
        assert len(between) <= window


def test_epochs_and_seeds_differ_and_shards_come_in_a_new_order():
    order = SampleOrder([50] * 8, seed=0, window_shards=2)
    epochs = order.numbers(0, 1_200).reshape(3, 400)
    assert all(not (a == b).all() for a, b in itertools.combinations(epochs, 2))
    assert len({tuple(dict.fromkeys(epoch // 50)) for epoch in epochs}) == 3
    assert (SampleOrder([50] * 8, seed=1, window_shards=2).numbers(0, 400) != epochs[0]).any()


def test_every_place_of_a_window_is_equally_likely():
    first = [SampleOrder([4, 4], seed, window_shards=2).numbers(0, 1)[0] for seed in range(1_600)]
    counts = np.bincount(first, minlength=8)
    assert ((counts - 200) ** 2 / 200).sum() < 24.3  # chi-squared of 7 degrees of freedom, p = 0.001


def test_the_order_is_the_same_in_every_version():
    assert SampleOrder([3, 2, 4], seed=5, window_shards=2).numbers(0, 9).tolist() == [6, 8, 2, 7, 5, 1, 0, 3, 4]


def test_positions_of_ten_million_samples_take_little_memory():
    rng = np.random.default_rng(0)
    order = SampleOrder(rng.integers(1_500, 2_500, 5_000), seed=0)
    assert order.n > 9_900_000
    tracemalloc.start()
    for step in (0, 3_000, 300, 40_000):  # also beyond the first epoch
        assert len(set(order.numbers(step * 1_024, (step + 1) * 1_024).tolist())) == 1_024
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20  # a permutation of all would take 80 MB


@pytest.mark.parametrize(("batch_size", "world_size"), [(1, 1), (6, 2), (6, 3), (21, 1), (20, 4)])
def test_slices_make_up_the_batches_and_batches_the_epochs(folder, finished, batch_size, world_size):
    streams = [ShardStream(folder, "train", batch_size, 16, 3, rank, world_size) for rank in range(world_size)]
    one = ShardStream(folder, "train", batch_size, 16, 3)
    assert len(one) == N // batch_size
    ids = []
    for step in range(-(-2 * N // batch_size)):
        whole, parts = one.batch(step), [stream.batch(step) for stream in streams]
        assert whole.image_ids == [i for part in parts for i in part.image_ids]
        assert np.array_equal(whole.images, np.concatenate([part.images for part in parts]))
        assert {len(part.image_ids) for part in parts} == {batch_size // world_size}
        ids += whole.image_ids
    expected = sorted(finished["image_id"][finished["split"] == "train"])
    assert sorted(ids[:N]) == sorted(ids[N : 2 * N]) == expected
    assert ids[:N] != ids[N : 2 * N]


def test_a_batch_is_what_the_shards_hold(folder, finished):
    image_ids, images = load_images(folder, ["train"], 16)
    at = {image_id: i for i, image_id in enumerate(image_ids)}
    keys = finished.set_index("image_id")["class_key"]
    batch = ShardStream(folder, "train", N, 16).batch(0)
    assert batch.images.dtype == np.uint8
    assert np.array_equal(batch.images, images[[at[i] for i in batch.image_ids]])
    assert batch.class_keys == keys.loc[batch.image_ids].tolist()


def same(a, b) -> bool:
    return a.image_ids == b.image_ids and a.class_keys == b.class_keys and np.array_equal(a.images, b.images)


@pytest.mark.parametrize("workers", [1, 3])
def test_going_on_at_a_step_is_the_same_as_never_having_stopped(folder, workers):
    whole = list(itertools.islice(ShardStream(folder, "train", 6, 16).batches(workers=workers), 9))
    rest = list(itertools.islice(ShardStream(folder, "train", 6, 16).batches(start_step=4, workers=2), 5))
    assert all(same(a, b) for a, b in zip(whole[4:], rest, strict=True))
    assert same(ShardStream(folder, "train", 6, 16).batch(7), whole[7])


def test_a_batch_larger_than_the_set_is_one_epoch(folder):
    stream = ShardStream(folder, "train", 1_000, 16)
    assert (len(stream), stream.batch_size) == (1, N)
    assert len(set(stream.batch(5).image_ids)) == N
    halves = [ShardStream(folder, "train", 1_000, 16, 0, rank, 2).batch(0).image_ids for rank in (0, 1)]
    assert [len(set(half)) for half in halves] == [10, 10]  # equal slices: one image waits for the next epoch
    assert not set(halves[0]) & set(halves[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "latin"}, "0 samples of split 'latin'"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 5, "world_size": 2}, "multiple of world_size"),
        ({"rank": 1}, "rank less than it"),
        ({"seed": -1}, "not negative"),
        ({"batch_size": 40, "world_size": 40}, "21 samples .* for 40 processes"),
    ],
)
def test_settings_that_do_not_fit_are_refused(folder, changes, message):
    given = {"split": "train", "batch_size": 4, "size_px": 16} | changes
    with pytest.raises(InputError, match=message):
        ShardStream(folder, **given)


def test_an_empty_or_unfinished_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"index\.json is missing"):
        ShardStream(tmp_path, "train", 4, 16)
    (tmp_path / "index.json").write_text("[]")
    with pytest.raises(InputError, match="0 samples"):
        ShardStream(tmp_path, "train", 4, 16)


def test_an_index_cannot_lead_out_of_its_folder(folder):
    rows = json.loads((folder / "index.json").read_text())
    rows[0]["shard"] = "../val/shard-000000.tar"
    (folder / "index.json").write_text(json.dumps(rows))
    with pytest.raises(InputError, match="other folders"):
        ShardStream(folder, "train", 4, 16)


def damage(path, name: str, content: bytes) -> None:
    """Overwrite the beginning of a tar member; its size stays."""
    with tarfile.open(path) as tar:
        info = tar.getmember(name)
    assert len(content) <= info.size
    with path.open("r+b") as file:
        file.seek(info.offset_data)
        file.write(content)


def first_member(path, suffix: str) -> str:
    with tarfile.open(path) as tar:
        return next(name for name in tar.getnames() if name.endswith(suffix))


BROKEN = b"\xff\xd8\xff" + bytes(60)


def index_anew(folder):
    """Let the index be of the tars as they are now."""
    rows = json.loads((folder / "index.json").read_text())
    for row in rows:
        row["sha256"] = file_sha256(folder / row["split"] / row["shard"])
    (folder / "index.json").write_text(json.dumps(rows))


@pytest.mark.parametrize("reason", ["changed since it was written", "truncated"])
def test_a_corrupt_sample_is_replaced_by_the_same_other_one(folder, monkeypatch, reason):
    monkeypatch.setattr(module, "MAX_UNREADABLE", 0.05)
    before = [ShardStream(folder, "train", 6, 16).batch(step) for step in range(7)]
    path = folder / "train" / "shard-000002.tar"
    name = first_member(path, ".jpg")
    damage(path, name, BROKEN)
    if reason == "truncated":  # an image that was written like this
        index_anew(folder)
    broken = name.partition(".")[0]
    stream = ShardStream(folder, "train", 6, 16)
    after = list(itertools.islice(stream.batches(), 7))
    assert stream.n_unreadable == 1
    ((location, found),) = stream.unreadable.items()
    assert location == f"{path}::{broken}.jpg"
    assert reason in found
    changed = 0
    for old, new in zip(before, after, strict=True):
        assert len(new.image_ids) == 6
        assert broken not in new.image_ids
        kept = [a == b for a, b in zip(old.image_ids, new.image_ids, strict=True)]
        assert kept == [image_id != broken for image_id in old.image_ids]
        changed += len(kept) - sum(kept)
    assert changed == 2  # once an epoch
    again = ShardStream(folder, "train", 6, 16).batches(start_step=2, workers=3)
    assert all(same(a, b) for a, b in zip(after[2:], itertools.islice(again, 5), strict=True))
    slices = [ShardStream(folder, "train", 6, 16, 0, rank, 2).batch(1) for rank in (0, 1)]
    assert slices[0].image_ids + slices[1].image_ids == after[1].image_ids


def no_header(path):
    damage_at(path, 0, bytes([7]) * 512)


def damage_at(path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def zeros(path):
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize(
    ("break_it", "reason"), [(os.remove, "No such file"), (lambda path: os.truncate(path, 700), "700 bytes")]
)
@pytest.mark.parametrize("indexed", [True, False])
def test_a_corrupt_shard_is_passed_over_and_counted(folder, monkeypatch, break_it, reason, indexed):
    check_passed_over(folder, monkeypatch, break_it, reason, indexed)


@pytest.mark.parametrize("break_it", [no_header, zeros, lambda path: damage_at(path, 700, bytes(60))])
def test_without_its_index_a_damaged_shard_is_passed_over_and_counted(folder, monkeypatch, break_it):
    check_passed_over(folder, monkeypatch, break_it, "its bytes are not those that index.json lists", False)
    assert not (folder / "index.parquet").exists()  # else a mended tar would stay out


def check_passed_over(folder, monkeypatch, break_it, reason, indexed):
    monkeypatch.setattr(module, "MAX_UNREADABLE", 0.2)
    path = folder / "train" / "shard-000001.tar"
    with tarfile.open(path) as tar:
        lost = {name.partition(".")[0] for name in tar.getnames()}
    break_it(path)
    if not indexed:
        (folder / "index.parquet").unlink()
    stream = ShardStream(folder, "train", N, 16)
    ids = stream.batch(0).image_ids
    assert len(ids) == N
    assert not lost & set(ids)
    assert (stream.n_unreadable, list(stream.unreadable)) == (4, [str(path)])
    assert reason in stream.unreadable[str(path)]
    assert same(ShardStream(folder, "train", N, 16).batch(0), ShardStream(folder, "train", N, 16).batch(0))


def test_what_is_damaged_outside_the_images_is_not_missed(folder):
    before = ShardStream(folder, "train", N, 16).batch(0)
    for path in (folder / "train").glob("*.tar"):
        damage(path, first_member(path, ".json"), b"\xff\xfe[[[[")
        no_header(path)
    assert same(ShardStream(folder, "train", N, 16).batch(0), before)


def test_too_many_corrupt_samples_stop_the_stream(folder):
    path = folder / "train" / "shard-000002.tar"
    name = first_member(path, ".jpg")
    damage(path, name, bytes(80))
    n_threads = threading.active_count()
    with pytest.raises(
        InputError, match=r"1 of 21 samples cannot be read \(limit 1%\): .*shard-000002.tar::.*jpg"
    ) as e:
        list(itertools.islice(ShardStream(folder, "train", 3, 16).batches(), 7))
    assert name in str(e.value)
    assert threading.active_count() == n_threads


def test_lost_shards_are_named_at_once(folder):
    for name in ("shard-000000.tar", "shard-000004.tar"):
        (folder / "train" / name).unlink()
    with pytest.raises(InputError, match=r"cannot be read .*shard-000000.tar \(No such file"):
        ShardStream(folder, "train", 3, 16)


def test_where_nothing_stands_in_the_stream_stops(folder, monkeypatch):
    monkeypatch.setattr(module, "MAX_UNREADABLE", 1.0)
    for path in (folder / "train").glob("*.tar"):
        zeros(path)
    with pytest.raises(InputError, match="all but unreadable"):
        ShardStream(folder, "train", 3, 16).batch(0)


def test_a_reader_that_stops_leaves_no_thread_and_no_file(folder):
    files = sorted(folder.rglob("*"))
    n_threads = threading.active_count()
    batches = ShardStream(folder, "train", 3, 16).batches(workers=3, ahead=4)
    next(batches)
    assert threading.active_count() > n_threads
    batches.close()
    assert threading.active_count() == n_threads
    assert sorted(folder.rglob("*")) == files


def test_a_killed_reader_leaves_nothing_behind(folder):
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    code = (
        "import sys; from bioclip_lib.shards.stream import ShardStream\n"
        "for batch in ShardStream(sys.argv[1], 'train', 3, 16).batches(): print(len(batch.image_ids), flush=True)"
    )
    reader = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    assert reader.stdout.readline() == "3\n"
    reader.kill()
    reader.stdout.close()
    assert reader.wait() < 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == files
    assert len(ShardStream(folder, "train", 3, 16).batch(0).image_ids) == 3


def test_what_is_read_ahead_is_bounded(folder):
    asked = []

    class Counted(ShardStream):
        def _chunks(self, step):
            asked.append(step)
            return super()._chunks(step)

    batches = Counted(folder, "train", 3, 16).batches(ahead=2)
    for done in range(1, 6):
        next(batches)
        assert asked == list(range(done + 2))
    batches.close()


def test_the_index_lists_uneven_shards(folder):
    index = read_index(folder)
    assert index["n_samples"][index["split"] == "train"].tolist() == [4, 4, 4, 4, 4, 1]
