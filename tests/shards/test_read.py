"""The index of the images: where each JPEG lies, made once for older shards, made again where it does not fit."""

import io
import json
import shutil
import tarfile
import threading
import zlib

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bioclip_lib.catalog.splits import assign_splits
from bioclip_lib.config import ShardConfig, SplitConfig
from bioclip_lib.errors import InputError
from bioclip_lib.files.images import ImageError, resize_and_crop
from bioclip_lib.shards import read
from bioclip_lib.shards.read import SplitImages, load_images, read_image_ids, read_index, read_shards
from bioclip_lib.shards.write import write_shards

SPLITS = ["train", "val", "test", "heldout_species"]


@pytest.fixture(scope="module")
def finished(catalog) -> pd.DataFrame:
    return assign_splits(catalog, SplitConfig(heldout_fraction=0.25))


@pytest.fixture(scope="module")
def written(finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "shards"
    write_shards(finished, folder, ShardConfig(image_size_px=24, samples_per_shard=5))
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "shards")


def test_the_index_says_where_each_jpeg_lies(written, finished):
    rows = pd.read_parquet(written / "index.parquet")
    assert rows.columns.tolist() == ["image_id", "class_key", "split", "shard", "offset", "n_bytes", "crc32"]
    keys = finished.set_index("image_id")["class_key"]
    assert rows["class_key"].tolist() == keys.loc[rows["image_id"]].tolist()
    place = 0
    for tar in read_index(written).itertuples():
        with tarfile.open(written / tar.split / tar.shard) as file:
            for member in file:
                if member.name.endswith(".jpg"):
                    row, data = rows.iloc[place], file.extractfile(member).read()
                    found = (f"{row.image_id}.jpg", row.split, row.shard, row.offset, row.n_bytes, row.crc32)
                    wanted = (member.name, tar.split, tar.shard, member.offset_data, member.size, zlib.crc32(data))
                    assert found == wanted
                    place += 1
    assert place == len(rows) == 40


def test_shards_of_an_older_run_get_the_same_index_once(folder, written, monkeypatch):
    (folder / "index.parquet").unlink()
    assert read_image_ids(folder, "val") == read_image_ids(written, "val")
    assert (folder / "index.parquet").read_bytes() == (written / "index.parquet").read_bytes()
    monkeypatch.setattr(read, "read_samples", lambda path: pytest.fail(f"{path} is passed over again"))
    assert load_images(folder, SPLITS, 16)[0] == load_images(written, SPLITS, 16)[0]


def test_shards_that_cannot_be_written_to_are_read(folder, written, monkeypatch):
    def refused(*_):
        raise PermissionError(13, "Permission denied")

    (folder / "index.parquet").unlink()
    monkeypatch.setattr(read, "write_image_index", refused)
    assert read_image_ids(folder, "train") == read_image_ids(written, "train")


def flipped(path, n, seed):
    """Flip one bit of a file after the other; it is whole again at the end."""
    whole, rng = path.read_bytes(), np.random.default_rng(seed)
    for place in rng.integers(0, len(whole), n):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << rng.integers(8)]) + whole[place + 1 :])
        yield place
    path.write_bytes(whole)


def outcome(folder):
    """Return all images, or '' where they are refused with the next action."""
    try:
        ids, pixels = load_images(folder, SPLITS, 16)
        return ids, pixels.tobytes()
    except InputError as error:
        assert "rerun 01_dataset_construction" in str(error) or "no shards for split" in str(error)
        return ""


def test_a_flipped_bit_of_the_index_of_images_does_no_harm(folder):
    whole = outcome(folder)
    for place in flipped(folder / "index.parquet", 30, seed=0):
        assert outcome(folder) == whole, place


def test_no_flipped_bit_of_the_list_of_tars_gives_other_images(folder):
    whole = outcome(folder)
    found = {outcome(folder) == whole for place in flipped(folder / "index.json", 80, seed=1) if outcome(folder)}
    assert found <= {True}


def test_no_flipped_bit_of_a_tar_gives_other_images_or_samples(folder):
    whole, path = outcome(folder), folder / "val" / "shard-000000.tar"
    n_refused = 0
    for place in flipped(path, 40, seed=2):
        found = outcome(folder)
        assert found in ("", whole), place
        n_refused += found == ""
        with pytest.raises(InputError, match=r"val/shard-000000\.tar: damaged tar: its bytes"):
            next(read_shards(folder / "val"))
    assert n_refused > 0  # the others hit texts and headers, which are not read


def test_an_index_of_other_shards_is_not_used(folder, finished, tmp_path):
    write_shards(finished, tmp_path / "other", ShardConfig(image_size_px=20, samples_per_shard=5))
    shutil.copy(folder / "index.parquet", tmp_path / "other")
    ids = read_image_ids(tmp_path / "other", "train")
    assert ids == read_image_ids(folder, "train")
    own = pq.read_metadata(tmp_path / "other" / "index.parquet").metadata[b"sha256"]
    assert own != pq.read_metadata(folder / "index.parquet").metadata[b"sha256"]


def zeros(data: bytes) -> bytes:
    return bytes(len(data))


def flip(data: bytes) -> bytes:
    return data[:700] + bytes([data[700] ^ 4]) + data[701:]  # within the first image


@pytest.mark.parametrize("damage", [zeros, flip])
@pytest.mark.parametrize("indexed", [True, False])
def test_a_tar_of_the_right_size_that_is_damaged_is_named(folder, damage, indexed):
    path = folder / "val" / "shard-000000.tar"
    path.write_bytes(damage(path.read_bytes()))
    if not indexed:
        (folder / "index.parquet").unlink()
    why = r"::.*\.jpg: truncated or changed since it was written" if indexed else ": damaged tar: its bytes are not"
    with pytest.raises(InputError, match=rf"val/shard-000000\.tar{why}.*; rerun 01_dataset_construction"):
        load_images(folder, ["test", "val"], 16)
    with pytest.raises(InputError, match=r"val/shard-000000\.tar: damaged tar: its bytes.*; rerun 01"):
        next(read_shards(folder / "val"))
    assert len(load_images(folder, ["test"], 16)[0]) == len(list(read_shards(folder / "test"))) == 6


@pytest.mark.parametrize("content", ['[{"split": "tr', "{}", '[{"split": 3}]', '["a"]', '[{"n_samples": "x"}]'])
def test_a_damaged_list_of_tars_is_one_message(folder, content):
    (folder / "index.json").write_text(content)
    with pytest.raises(InputError, match=r"index\.json is damaged; rerun 01_dataset_construction|no shards for split"):
        load_images(folder, ["train"], 16)


def test_a_number_that_the_list_of_tars_has_wrong_is_found(folder):
    rows = json.loads((folder / "index.json").read_text())
    rows[0]["n_samples"] = 4
    (folder / "index.json").write_text(json.dumps(rows))
    with pytest.raises(InputError, match=r"train/shard-000000\.tar: damaged tar: 5 samples, 4 listed; rerun"):
        load_images(folder, ["train"], 16)


def test_images_are_read_from_several_threads(written):
    images, found = SplitImages(written, "train"), {}

    def read_all(name):
        found[name] = [images.read(number) for number in range(len(images))]

    threads = [threading.Thread(target=read_all, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(found[name] == found[0] for name in found)
    assert all(data.startswith(b"\xff\xd8\xff") for data in found[0])


@pytest.mark.parametrize("size", [(40, 40), (64, 41), (300, 224), (120, 480)])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_both_decoders_give_the_same_pixels(size, subsampling, monkeypatch):
    pytest.importorskip("simplejpeg")
    noise = np.random.default_rng(0).integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize(size).save(buffer, "JPEG", quality=90, subsampling=subsampling)
    found = [read.decode_jpeg(buffer.getvalue(), size_px) for size_px in (16, 40, 41, 224)]
    monkeypatch.setattr(read, "simplejpeg", None)
    for pixels, size_px in zip(found, (16, 40, 41, 224), strict=True):
        assert pixels.shape == (size_px, size_px, 3)
        assert np.array_equal(pixels, read.decode_jpeg(buffer.getvalue(), size_px))


def test_what_one_decoder_refuses_the_other_judges(written):
    images = SplitImages(written, "val")
    data = images.read(0)
    cmyk = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("CMYK").save(cmyk, "JPEG")
    with Image.open(cmyk) as image:
        expected = np.asarray(resize_and_crop(image.convert("RGB"), 16))
    assert np.array_equal(read.decode_jpeg(cmyk.getvalue(), 16), expected)
    with pytest.raises(ImageError, match="truncated"):
        read.decode_jpeg(data[:-60], 16)
    huge = data.replace(b"\xff\xc0\x00\x11\x08\x00\x18", b"\xff\xc0\x00\x11\x08\xff\xff")  # as if 65,535 rows high
    assert huge != data
    with pytest.raises(ImageError, match=r"^too (large|narrow)"):
        read.decode_jpeg(huge, 16)
