"""TreeOfLife-10M as published: catalog, licences and tars, whole, broken and incomplete."""

import csv
import dataclasses
import os
import uuid
from pathlib import Path

import numpy as np
import pytest

from bioclip_lib import RANKS
from bioclip_lib.catalog.assembly import join
from bioclip_lib.catalog.checks import check_input
from bioclip_lib.catalog.duplicates import inspect_images
from bioclip_lib.catalog.splits import assign_splits
from bioclip_lib.catalog.table import check_catalog
from bioclip_lib.config import DataConfig, ShardConfig, SplitConfig, load_config
from bioclip_lib.errors import InputError
from bioclip_lib.files.images import ImageError, open_image, read_bytes
from bioclip_lib.reproduce.settings import digest_of_photos
from bioclip_lib.shards.write import write_shards
from bioclip_lib.sources.columns import RAW_COLUMNS
from bioclip_lib.sources.read import read_source
from bioclip_lib.sources.treeoflife import read_treeoflife

COLUMNS = (
    *("split", "treeoflife_id", "eol_content_id", "eol_page_id", "bioscan_part", "bioscan_filename"),
    *("inat21_filename", "inat21_cls_name", "inat21_cls_num", *RANKS, "common"),
)
BIRD = ("Animalia", "Chordata", "Aves", "Passeriformes", "Corvidae", "Pica", "hudsonia")
FLY = ("Animalia", "Arthropoda", "Insecta", "Diptera", "Sciaridae", "", "")
LICENSES = (
    *("treeoflife_id", "eol_content_id", "eol_page_id", "md5", "medium_source_url", "eol_full_size_copy_url"),
    *("license_name", "copyright_owner", "license_link", "title"),
)


def tol_ids(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [str(uuid.UUID(bytes=rng.bytes(16), version=4)) for _ in range(n)]


def write_csv(path: Path, columns, rows, encoding="utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def catalog_row(tol_id: str, lineage=BIRD, **fields) -> dict:
    row = {"split": "train", "treeoflife_id": tol_id, "eol_content_id": "1", "eol_page_id": "2", "common": "x"}
    return {**row, **dict(zip(RANKS, lineage, strict=True)), **fields}


@pytest.fixture
def write_tol(jpeg, write_archive):
    """Write a seeded TreeOfLife-10M of n images in sets of `per_set`; returns its folder and ids."""

    def write(root: Path, n: int = 12, per_set: int = 4, suffix: str = ".tar.gz", rows=(), encoding="utf-8"):
        ids = tol_ids(n)
        for start in range(0, n, per_set):
            files = {f"{ids[i]}.jpg": jpeg(i) for i in range(start, min(start + per_set, n))}
            write_archive(root / "dataset" / "EOL" / f"image_set_{start // per_set + 1:02d}{suffix}", files)
        lines = [catalog_row(tol_id, common="black-billed magpie") for tol_id in ids]
        lines[1].update(split="val", common="Pica hudsonia")
        lines[2].update(catalog_row(ids[2], FLY), common="Animalia-Arthropoda-Insecta-Diptera-Sciaridae")
        write_csv(root / "dataset" / "metadata" / "catalog.csv", COLUMNS, [*lines, *rows], encoding)
        said = {"license_name": "cc-by", "copyright_owner": "A. Müller, Zürich", "medium_source_url": "http://x/1"}
        lines = [{"treeoflife_id": ids[0], **said}, {"treeoflife_id": ids[1], "copyright_owner": "not provided"}]
        write_csv(root / "dataset" / "metadata" / "licenses.csv", LICENSES, lines, encoding)
        return root, ids

    return write


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_the_published_layout(tmp_path, write_tol, jpeg, suffix, encoding):
    root, ids = write_tol(tmp_path / "tol", suffix=suffix, encoding=encoding)
    raw = read_source(DataConfig(source="photos", photos=str(root)))
    assert tuple(raw.columns[:5]) == RAW_COLUMNS
    assert raw["source_id"].tolist() == ids and set(raw["problem"]) == {""} and set(raw["source"]) == {"eol"}
    assert raw["source_split"].tolist() == ["train", "val", *["train"] * 10]
    assert [read_bytes(location) for location in raw["location"]] == [jpeg(i) for i in range(12)]
    assert raw.loc[0, list(RANKS)].tolist() == list(BIRD)
    assert raw["verbatim_name"].tolist()[:3] == ["Pica hudsonia", "Pica hudsonia", "Sciaridae"]
    assert raw["common_name"].tolist()[:4] == ["black-billed magpie", "", "", "black-billed magpie"]
    said = raw[["license", "rights_holder", "source_url"]].to_numpy().tolist()
    assert said[:3] == [["cc-by", "A. Müller, Zürich", "http://x/1"], ["", "", ""], ["", "", ""]]
    assert all(isinstance(value, str) for value in raw.to_numpy().ravel())


def test_rows_without_image_and_images_without_row_stay(tmp_path, write_tol, write_archive, jpeg):
    root, ids = write_tol(tmp_path, rows=[catalog_row("not-there"), catalog_row("", common="y")])
    write_archive(root / "dataset" / "EOL" / "image_set_04.tar.gz", {"extra.jpg": jpeg(50), "notes.txt": b"x"})
    raw = read_treeoflife(root)
    assert raw["source_id"].tolist() == [*ids, "not-there", "", "extra.jpg"]
    assert raw["problem"].tolist()[12:] == ["image not found", "no treeoflife_id", "image that the table does not list"]
    assert raw.iloc[-1]["location"].endswith("image_set_04.tar.gz::extra.jpg")
    assert raw.iloc[-1]["verbatim_name"] == ""


def test_train_small_and_duplicate_ids_are_listed_again(tmp_path, write_tol):
    ids = tol_ids(12)
    root, _ = write_tol(tmp_path, rows=[catalog_row(ids[0], split="train_small"), catalog_row(ids[0])])
    raw = read_treeoflife(root)
    assert raw["source_id"].is_unique and raw["source_id"].tolist()[12:] == [f"{ids[0]}#2", f"{ids[0]}#3"]
    assert raw["source_split"].tolist()[12:] == ["train_small", "train"]
    assert raw["problem"].tolist()[12:] == 2 * ["listed again, as train_small is"]


def test_a_missing_set_is_named(tmp_path, write_tol):
    root, ids = write_tol(tmp_path)
    (root / "dataset" / "EOL" / "image_set_02.tar.gz").unlink()
    raw = read_treeoflife(root)
    reason = "image not found (image_set_02.tar.gz is missing)"
    assert raw["problem"].tolist() == [""] * 4 + [reason] * 4 + [""] * 4
    assert len(raw) == len(ids)


def test_rows_before_the_damage_of_a_set_stay(tmp_path, write_tol):
    root, _ = write_tol(tmp_path, n=40, per_set=20)
    path = root / "dataset" / "EOL" / "image_set_02.tar.gz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    raw = read_treeoflife(root)
    assert len(raw) == 40 and set(raw["problem"][:20]) == {""}
    second = raw["problem"][20:].tolist()
    n_whole = second.count("")
    assert 5 <= n_whole <= 12 and set(second[:n_whole]) == {""}
    assert second[-1] == "image not found (dataset/EOL/image_set_02.tar.gz: gzip file is truncated)"
    assert all(open_image(location).size == (16, 12) for location in raw["location"][: 20 + n_whole])


def test_hostile_members_are_rows_with_a_reason(tmp_path, write_tol, write_archive, jpeg):
    root, _ = write_tol(tmp_path, rows=[catalog_row("evil")])
    write_archive(root / "dataset" / "EOL" / "image_set_04.tar.gz", {"../../evil.jpg": jpeg(0)})
    raw = read_treeoflife(root).iloc[-1]
    assert (raw["source_id"], raw["problem"]) == ("evil", "member name leaves the archive")
    with pytest.raises(ImageError, match="leaves the archive"):
        read_bytes(raw["location"])


def test_images_of_inat21_and_bioscan_are_found_by_their_own_names(tmp_path, write_tol, jpeg):
    ids = tol_ids(14)
    rows = [
        catalog_row(ids[12], inat21_filename="abc.jpg", eol_content_id=""),
        catalog_row(ids[13], FLY, bioscan_filename="4000001.jpg", bioscan_part="1", eol_content_id=""),
    ]
    root, _ = write_tol(tmp_path, rows=rows)
    for i, name in enumerate(("inat/train/00001_A_B_C_D_E_F_g/abc.jpg", "bioscan/part1/4000001.jpg")):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(jpeg(100 + i))
    raw = read_treeoflife(root)
    assert raw["source"].tolist()[12:] == ["inat21", "bioscan"] and set(raw["problem"]) == {""}
    assert [read_bytes(location) for location in raw["location"][12:]] == [jpeg(100), jpeg(101)]


def test_images_that_the_published_archives_do_not_hold_are_no_unreadable_files(tmp_path, write_tol, resolve):
    ids = tol_ids(34)
    rows = [catalog_row(i, inat21_filename=f"{i}.jpg", eol_content_id="") for i in ids[12:]]
    rows[-1] = catalog_row(ids[-1], FLY, bioscan_filename="4.jpg", eol_content_id="")
    root, _ = write_tol(tmp_path, rows=rows)
    raw = read_treeoflife(root)
    assert raw["problem"].tolist()[12:] == [
        *["image not in the published archives: get inat21 from its makers"] * 21,
        "image not in the published archives: get bioscan from its makers",
    ]
    catalog = join(raw, resolve(raw), inspect_images(raw))
    split = SplitConfig(min_images=1, test_fraction=0, heldout_fraction=0)
    check_input(catalog, DataConfig(max_unreadable=0), split)


def test_the_published_split_is_the_split(tmp_path, write_tol, resolve):
    ids = tol_ids(12)
    root, _ = write_tol(tmp_path, rows=[catalog_row(ids[0], split="train_small")])
    raw = read_treeoflife(root)
    catalog = join(raw, resolve(raw), inspect_images(raw))
    assert catalog["split"].tolist() == ["train", "val", *["train"] * 11]
    found = assign_splits(catalog, SplitConfig(heldout_fraction=0.9))
    assert found["split"].tolist() == ["train", "val", *["train"] * 10, ""]
    check_catalog(found)


def test_a_set_without_a_published_test_says_the_ways_on_before_anything_is_trained(tmp_path, write_tol, resolve):
    root, _ = write_tol(tmp_path)
    split = SplitConfig(min_images=1)

    def built(data):
        raw = read_source(data)
        catalog = join(raw, resolve(raw), inspect_images(raw))
        check_input(catalog, data, split)
        return assign_splits(catalog, split)

    data = DataConfig(source="photos", photos=str(root))
    with pytest.raises(InputError, match=r"eol came with .* none to test on; SET=data.published_splits=false"):
        built(data)
    assert {"train", "test"} <= set(built(dataclasses.replace(data, published_splits=False))["split"])
    split = SplitConfig(min_images=1, test_fraction=0, heldout_fraction=0)
    assert set(built(data)["split"]) == {"train", "val"}


def test_catalogs_that_cannot_be_used(tmp_path, write_tol):
    root, _ = write_tol(tmp_path / "a")
    for path in (root / "dataset" / "EOL").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"none of the 12 images .* put image_set_XX\.tar\.gz"):
        read_treeoflife(root)
    write_csv(root / "dataset" / "metadata" / "catalog.csv", ["treeoflife_id", "kingdom"], [{"treeoflife_id": "x"}])
    with pytest.raises(InputError, match="has no column split"):
        read_treeoflife(root)
    (root / "dataset" / "metadata" / "catalog.csv").write_text('treeoflife_id,split\n"a,b\n')
    with pytest.raises(InputError, match="cannot be read as a table"):
        read_treeoflife(root)


def test_shards_are_written_from_the_archives(tmp_path, write_tol, resolve):
    root, _ = write_tol(tmp_path / "tol", rows=[catalog_row("not-there")])
    raw = read_treeoflife(root)
    catalog = join(raw, resolve(raw), inspect_images(raw))
    assert catalog["excluded"].tolist() == [*[""] * 12, "image not found"]
    split = SplitConfig(heldout_fraction=0.0)
    index = write_shards(assign_splits(catalog, split), tmp_path / "shards", ShardConfig())
    assert index["n_samples"].sum() == 12


def test_an_archive_that_changed_is_other_photographs(write_tol, tmp_path):
    write_tol(tmp_path)
    config = load_config("photos", {"data.photos": str(tmp_path)})
    before = digest_of_photos(config)
    assert digest_of_photos(config) == before
    archive = next(tmp_path.rglob("image_set_01.tar.gz"))
    os.utime(archive, ns=(0, 0))
    assert digest_of_photos(config) != before


def test_the_notebook_builds_a_data_set_of_it(tmp_path, write_tol, build_data_set):
    root, _ = write_tol(tmp_path / "tol", n=24, per_set=8)
    built = build_data_set(root, **{"split.test_fraction": 0, "split.heldout_fraction": 0})
    table = built["table"]
    assert (table["excluded"] == "").all() and set(table["split"]) == {"train", "val"}
    assert table["family"].value_counts().to_dict() == {"Corvidae": 23, "Sciaridae": 1}
