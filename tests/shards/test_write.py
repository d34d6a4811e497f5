"""Shards: what is written, what stock loaders make of it, and what happens when something breaks."""

import io
import itertools
import json
import re
import shutil
import tarfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bioclip_lib import RANKS
from bioclip_lib.catalog.splits import assign_splits
from bioclip_lib.config import ShardConfig, SplitConfig
from bioclip_lib.errors import InputError
from bioclip_lib.files.images import resize_and_crop
from bioclip_lib.run import REPOSITORY, file_sha256, workers
from bioclip_lib.shards import write
from bioclip_lib.shards.captions import DEFAULT_TEXT, SHARD_TEXTS, caption
from bioclip_lib.shards.read import load_images, read_index, read_shards
from bioclip_lib.shards.samples import encode_image, tar_member
from bioclip_lib.shards.write import write_shards

CONFIG = ShardConfig(image_size_px=24, samples_per_shard=5)
SPLIT = SplitConfig(heldout_fraction=0.25)  # 3 classes x (7 train, 1 val, 2 test), 1 class x 10 held out


@pytest.fixture(scope="module")
def finished(catalog) -> pd.DataFrame:
    return assign_splits(catalog, SPLIT)


@pytest.fixture(scope="module")
def written(finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "shards"
    write_shards(finished, folder, CONFIG)
    return folder


def test_the_index_counts_what_is_there(written, finished):
    index = read_index(written)
    assert index.groupby("split")["n_samples"].apply(list).to_dict() == {
        "train": [5, 5, 5, 5, 1], "val": [3], "test": [5, 1], "heldout_species": [5, 5]
    }  # fmt: skip
    for row in index.itertuples():
        path = written / row.split / row.shard
        assert path.stat().st_size == row.bytes
        assert file_sha256(path) == row.sha256
    assert {path.name for path in written.iterdir()} == {
        *("index.json", "index.parquet"),
        *("train", "val", "test", "heldout_species"),
    }


def test_every_tar_is_a_plain_tar_with_every_member(written):
    with tarfile.open(written / "train" / "shard-000000.tar") as tar:
        members = tar.getmembers()
    suffixes = ["jpg", *SHARD_TEXTS.values(), "txt", "json"]
    assert [m.name.partition(".")[2] for m in members] == suffixes * 5
    assert {(m.mtime, m.uid, m.gid, m.mode, m.isreg()) for m in members} == {(0, 0, 0, 0o644, True)}


def test_round_trip(written, finished):
    rows = finished.set_index("image_id")
    for split, n in {"train": 21, "val": 3, "test": 6, "heldout_species": 10}.items():
        samples = list(read_shards(written / split))
        assert {sample["image_id"] for sample in samples} == set(rows.index[rows["split"] == split])
        assert len(samples) == n
        for sample in samples:
            row = rows.loc[sample["image_id"]]
            assert sample["text"] == caption(row, DEFAULT_TEXT)
            assert sample["json"] == {"image_id": row.name} | {
                key: row[key] for key in sample["json"] if key != "image_id"
            }
            assert set(RANKS) | {"license", "class_key", "split"} <= set(sample["json"])
            assert "location" not in sample["json"]
            assert sample["image"].size == (round(row["width"] * 24 / 30), 24)
    assert next(read_shards(written / "val", "taxonTag"))["text"].startswith("a photo of kingdom ")
    with pytest.raises(InputError, match="unknown text type 'latin'"):
        next(read_shards(written / "val", "latin"))


def test_excluded_images_are_not_written(finished, tmp_path):
    gone = finished.index[finished["split"] == "train"][:3]
    catalog = finished.copy()
    catalog.loc[gone, ["split", "excluded"]] = ["", "truncated"]
    assert write_shards(catalog, tmp_path / "s", CONFIG)["n_samples"].sum() == 37
    written_ids = {sample["image_id"] for sample in read_shards(tmp_path / "s" / "train")}
    assert not written_ids & set(finished.loc[gone, "image_id"])


def test_the_same_catalog_gives_the_same_bytes_in_any_order(written, finished, tmp_path):
    index = write_shards(finished.sample(frac=1, random_state=3), tmp_path / "s", CONFIG)
    pd.testing.assert_frame_equal(index, read_index(written))


def test_the_genus_of_an_unverified_name_is_in_its_column_and_in_the_texts_where_it_is_asked_for(finished, tmp_path):
    row = finished.index[(finished["split"] == "train") & (finished["genus"] == "Parus")][0]
    catalog = finished.copy()
    catalog.loc[row, ["name_status", "species", "rank", "scientific_name"]] = ["unverified", "", "genus", "Parus"]
    for flag, expected in ((False, "Paridae"), (True, "Parus")):
        folder = tmp_path / str(flag)
        write_shards(catalog, folder, replace(CONFIG, unverified_genus=flag))
        samples = {sample["image_id"]: sample for sample in read_shards(folder / "train", "sci")}
        sample = samples[catalog["image_id"][row]]
        assert (sample["text"], sample["json"]["genus"]) == (f"a photo of {expected}.", "Parus")


def test_a_shard_is_a_mixed_sample(written, finished):
    names = finished.set_index("image_id")["verbatim_name"]
    order = [names[sample["image_id"]] for sample in read_shards(written / "train")]
    runs = 1 + sum(a != b for a, b in itertools.pairwise(order))
    assert runs > 6  # sorted by class there would be 3


@pytest.mark.parametrize(("field", "value"), [("image_size_px", 16), ("jpeg_quality", 30), ("samples_per_shard", 9)])
def test_every_setting_matters(written, finished, tmp_path, field, value):
    index = write_shards(finished, tmp_path / "s", replace(CONFIG, **{field: value}))
    assert index["sha256"].tolist() != read_index(written)["sha256"].tolist()


def test_work_that_takes_long_shows_every_sample_and_other_work_shows_nothing(finished, tmp_path, monkeypatch, capsys):
    write_shards(finished, tmp_path / "s", CONFIG)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(workers, "SHOWN_AFTER_S", 0)
    write_shards(finished, tmp_path / "s", CONFIG)
    lines = capsys.readouterr().err.replace("\r", "\n")
    for split, n in {"train": 21, "val": 3, "test": 6, "heldout_species": 10}.items():
        assert f"shards/{split}: 100%" in lines and f"| {n}/{n} [" in lines


def jpeg(size, **save) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **save)
    return buffer.getvalue()


def test_a_small_plain_jpeg_is_copied_byte_by_byte():
    data = jpeg((300, 64))
    assert encode_image(data, 64, 90) is data
    exif = Image.Exif()
    exif[0x0112] = 6
    for other in (jpeg((300, 64), progressive=True), jpeg((300, 64), exif=exif), jpeg((300, 65))):
        assert encode_image(other, 64, 90) != other


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((300, 200), (96, 64)),
        ((200, 300), (64, 96)),
        ((2000, 1000), (128, 64)),
        ((50, 40), (50, 40)),
        ((9, 1800), (9, 1800)),
    ],
)
def test_the_short_side_is_scaled_down_never_up(size, expected):
    image = Image.open(io.BytesIO(encode_image(jpeg(size, progressive=True), 64, 90)))
    assert (image.size, image.mode, image.format) == (expected, "RGB", "JPEG")


def test_scaling_a_large_jpeg_averages():
    grid = np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((200, 200)))
    stripes = Image.fromarray((grid * 200 + 20).astype(np.uint8)).convert("RGB")
    buffer = io.BytesIO()
    stripes.save(buffer, "JPEG", quality=95)
    small = np.asarray(Image.open(io.BytesIO(encode_image(buffer.getvalue(), 64, 95))).convert("L")).astype(float)
    wanted = np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((8, 8))) * 200 + 20
    centres = np.kron(np.ones((8, 8)), np.pad(np.ones((4, 4)), 2)).astype(bool)
    # 12 grey levels: JPEG and the filter's ringing next to an edge
    assert small.shape == (64, 64) and np.abs(small - wanted)[centres].max() < 12


@pytest.mark.parametrize("factor", [2.0, 3.0, 4.0, 6.0, 8.0, 11.0])
def test_a_scaled_decode_is_close_to_the_full_one(factor):
    width, height = 1200, 900
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    noise = np.random.default_rng(0).standard_normal((height, width))
    natural = np.fft.irfft2(np.fft.rfft2(noise) / np.maximum(frequency, 1 / width), (height, width))
    grey = Image.fromarray((128 + 50 * natural / natural.std()).clip(0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    grey.convert("RGB").save(buffer, "JPEG", quality=90)
    scaled = Image.open(io.BytesIO(encode_image(buffer.getvalue(), round(height / factor), 100)))
    full = Image.open(buffer).convert("RGB").resize(scaled.size, Image.Resampling.LANCZOS)
    error = np.asarray(scaled, np.float64) - np.asarray(full, np.float64)
    # peak signal to noise, dB; 28 where the decoder alone scaled down
    assert 10 * np.log10(255**2 / (error**2).mean()) > 32


def test_datasets_loads_the_shards(written, finished, tmp_path):
    import datasets

    files = {split: str(written / split / "*.tar") for split in ("train", "heldout_species")}
    loaded = datasets.load_dataset("webdataset", data_files=files, cache_dir=str(tmp_path))
    assert {split: part.num_rows for split, part in loaded.items()} == {"train": 21, "heldout_species": 10}
    stream = datasets.load_dataset(
        "webdataset", data_files=files, split="train", streaming=True, cache_dir=str(tmp_path)
    )
    ours = list(read_shards(written / "train", "taxonTag_com"))
    for samples in (list(loaded["train"]), list(stream)):
        assert [sample["__key__"] for sample in samples] == [sample["image_id"] for sample in ours]
        for sample, our in zip(samples, ours, strict=True):
            assert sample["taxonTag_com.txt"] == our["text"] and sample["json"] == our["json"]
            assert np.array_equal(np.asarray(sample["jpg"]), np.asarray(our["image"]))


def test_the_documented_way_to_the_hub(written, finished, tmp_path, monkeypatch):
    text = (REPOSITORY / "data" / "README.md").read_text(encoding="utf-8")
    load, push = re.findall(r"```python\n(.*?)```", text, re.S)
    shutil.copytree(written, tmp_path / "runs" / "mini" / "shards")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    names = {}
    exec(load, names)
    compile(push, "data/README.md", "exec")  # needs the network: not run
    photos = names["photos"]
    counts = finished["split"].value_counts().to_dict()
    assert {split: part.num_rows for split, part in photos.items()} == counts
    photos["val"].to_parquet(tmp_path / "val.parquet")  # as push_to_hub does: the images are inside
    stored = pd.read_parquet(tmp_path / "val.parquet").set_index("__key__")["jpg"]
    with tarfile.open(written / "val" / "shard-000000.tar") as tar:
        images = {m.name[:-4]: tar.extractfile(m).read() for m in tar.getmembers() if m.name.endswith(".jpg")}
    assert {key: image["bytes"] for key, image in stored.items()} == images


def test_webdataset_loads_the_shards(written):
    import webdataset

    urls = sorted(str(path) for path in (written / "train").glob("*.tar"))
    dataset = webdataset.WebDataset(urls, shardshuffle=False).decode("pil").to_tuple("__key__", "jpg", "txt", "json")
    samples, ours = list(dataset), list(read_shards(written / "train"))
    assert len(samples) == 21
    for (key, image, text, fields), our in zip(samples, ours, strict=True):
        assert (key, text, fields) == (our["image_id"], our["text"], our["json"])
        assert np.array_equal(np.asarray(image), np.asarray(our["image"]))
    taxon_tag = webdataset.WebDataset(urls, shardshuffle=False).decode().to_tuple("taxontag.txt")  # lower-cased there
    assert next(iter(taxon_tag))[0] == next(read_shards(written / "train", "taxonTag"))["text"]


def test_open_clips_own_trainer_reads_the_shards(written):
    from argparse import Namespace

    import bioclip_lib.model  # noqa: F401 (before open_clip)

    # isort: split
    from open_clip_train.data import get_wds_dataset

    options = Namespace(
        train_data=str(written / "train" / "shard-{000000..000004}.tar"),
        train_num_samples=21,
        train_data_upsampling_factors=None,
        batch_size=7,
        workers=0,
        world_size=1,
        seed=0,
    )
    data = get_wds_dataset(
        options, lambda image: np.asarray(resize_and_crop(image, 16)), is_train=True, tokenizer=lambda text: [text]
    )
    texts = [text for _, batch in data.dataloader for text in batch]
    assert sorted(texts) == sorted(sample["text"] for sample in read_shards(written / "train"))


def test_a_missing_and_an_extra_tar_are_found(finished, tmp_path):
    folder = tmp_path / "s"
    write_shards(finished, folder, CONFIG)
    tar = folder / "train" / "shard-000003.tar"
    data = tar.read_bytes()
    tar.unlink()
    message = r"5 shards listed, 4 on disk in .*/s/train \(shard-000003.tar\); rerun 01_dataset_construction"
    with pytest.raises(InputError, match=message):
        list(read_shards(folder / "train"))
    with pytest.raises(InputError, match=message):
        load_images(folder, ["train"], 8)
    tar.write_bytes(data[:-512])
    with pytest.raises(
        InputError, match=rf"shard-000003.tar: damaged tar: {len(data) - 512} bytes, {len(data)} listed"
    ):
        list(read_shards(folder / "train"))
    tar.write_bytes(data)
    (folder / "train" / "shard-000005.tar").write_bytes(data)
    with pytest.raises(InputError, match="5 shards listed, 6 on disk"):
        list(read_shards(folder / "train"))
    assert len(list(read_shards(folder / "test"))) == 6


def test_shards_without_an_index_are_not_read(tmp_path):
    with pytest.raises(InputError, match=r"index\.json is missing"):
        list(read_shards(tmp_path / "s" / "train"))
    with pytest.raises(InputError, match=r"index\.json is missing"):
        load_images(tmp_path / "s", ["train"], 8)


@pytest.mark.parametrize("fails_at", [0, 20, 21, 25, 39])
def test_a_failing_write_leaves_nothing_that_looks_whole(finished, tmp_path, monkeypatch, fails_at):
    folder = tmp_path / "s"
    write_shards(finished, folder, CONFIG)
    calls = iter(range(10**6))
    encode = write._encoded

    def failing(row, **settings):
        if next(calls) == fails_at:
            raise KeyboardInterrupt
        return encode(row, **settings)

    monkeypatch.setattr(write, "_encoded", failing)
    with pytest.raises(KeyboardInterrupt):
        write_shards(finished, folder, CONFIG)
    assert [path.name for path in folder.iterdir()] == [".unfinished"]
    assert not list(folder.rglob("*.tmp"))
    with pytest.raises(InputError, match="interrupted"):
        list(read_shards(folder / "train"))


def test_a_split_that_is_no_more_leaves_no_tars(finished, tmp_path):
    write_shards(finished, tmp_path / "s", CONFIG)
    (tmp_path / "s" / ".test.12345.tmp").mkdir()  # of a process that was killed
    write_shards(finished[finished["split"] == "train"], tmp_path / "s", CONFIG)
    assert {path.name for path in (tmp_path / "s").iterdir()} == {"index.json", "index.parquet", "train"}


def test_an_image_that_changed_since_the_catalog_is_refused(finished, tmp_path, write_image):
    image = write_image(tmp_path / "a.jpg", seed=5)
    catalog = finished.copy()
    catalog.loc[0, "location"] = str(image)
    with pytest.raises(InputError, match=r"a\.jpg: changed since the catalog was built; rerun"):
        write_shards(catalog, tmp_path / "s", CONFIG)
    image.unlink()
    with pytest.raises(InputError, match=r"a\.jpg: file not found; rerun"):
        write_shards(catalog, tmp_path / "s", CONFIG)
    assert not (tmp_path / "s" / "index.json").exists()


@pytest.mark.parametrize("field", ["image_size_px", "samples_per_shard", "jpeg_quality"])
def test_impossible_settings_are_refused(finished, tmp_path, field):
    with pytest.raises(InputError, match=rf"shards\.{field} is 0; give a number from 1"):
        write_shards(finished, tmp_path / "s", replace(CONFIG, **{field: 0}))
    assert list(tmp_path.iterdir()) == []


def test_images_are_loaded_in_the_order_of_the_shards(written):
    ids, images = load_images(written, ["val", "test"], 16)
    samples = [*read_shards(written / "val"), *read_shards(written / "test")]
    assert ids == [sample["image_id"] for sample in samples]
    assert images.dtype == np.uint8 and images.shape == (9, 16, 16, 3)
    for sample, pixels in zip(samples, images, strict=True):
        assert np.array_equal(np.asarray(resize_and_crop(sample["image"].convert("RGB"), 16)), pixels)
    none_ids, none = load_images(written, [], 16)
    assert none_ids == [] and none.shape == (0, 16, 16, 3)


def test_unknown_splits_are_refused(written):
    with pytest.raises(InputError, match=r"no shards for split \['validation'\].*there are .*'val'"):
        load_images(written, ["validation"], 16)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=1500), min_size=1, max_size=5))
def test_tar_members_are_read_back_by_us_and_by_tarfile(blobs):
    tar = b"".join(tar_member(f"{i:016x}.sci_com.txt", blob) for i, blob in enumerate(blobs)) + bytes(1024)
    with tarfile.open(fileobj=io.BytesIO(tar)) as stock:
        assert [stock.extractfile(member).read() for member in stock] == blobs


def test_the_index_is_plain_json(written):
    rows = json.loads((written / "index.json").read_text())
    assert len(rows) == 10 and list(rows[0]) == ["split", "shard", "n_samples", "bytes", "sha256"]
