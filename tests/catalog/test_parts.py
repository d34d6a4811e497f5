"""A catalog built part by part is the one built at once."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from bioclip_lib.catalog import parts
from bioclip_lib.catalog.assembly import build, join
from bioclip_lib.catalog.duplicates import inspect_images, mark_exact_duplicates, mark_near_duplicates
from bioclip_lib.catalog.extend import keep_exclusions, match_earlier
from bioclip_lib.catalog.leaks import find_leaks, remove_leaks
from bioclip_lib.catalog.licences import exclude_licenses
from bioclip_lib.catalog.looks import to_hex
from bioclip_lib.catalog.splits import assign_splits
from bioclip_lib.catalog.table import read_catalog, write_catalog
from bioclip_lib.config import Config, DataConfig, SplitConfig
from bioclip_lib.errors import InputError
from bioclip_lib.sources.folders import read_image_folder
from bioclip_lib.taxonomy.resolution import open_backbones, resolve
from tests.catalog.test_duplicates import read_details

NAMES = [
    ("Parus major", "Animalia", "great tit"),
    ("Parus major", "Animalia", ""),
    ("Laelia", "Plantae", ""),
    ("Laelia", "Animalia", ""),
    ("Quercus robur", "", ""),
    ("no such thing", "", ""),
    ("", "", ""),
]


@pytest.fixture
def raw(tmp_path) -> pd.DataFrame:
    """400 raw rows with what an inspection found: copies, near copies, unreadable files, blank names."""
    rng = np.random.default_rng(0)
    n = 400
    table = pd.DataFrame([NAMES[i] for i in rng.integers(0, len(NAMES), n)])
    table.columns = ["verbatim_name", "kingdom", "common_name"]
    numbers = np.where(rng.random(n) < 0.1, rng.integers(0, n, n), np.arange(n))
    looks = np.where(rng.random(n) < 0.3, rng.integers(0, n, n), numbers)
    hashes = looks.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ (looks != numbers).astype(np.uint64)
    unreadable = rng.random(n) < 0.05
    table = table.assign(
        source=np.array(["a", "b"])[np.arange(n) % 2],
        source_id=[f"{i}.jpg" for i in range(n)],
        location=[f"/x/{i}.jpg" for i in range(n)],
        sha256=[f"{i:064x}" for i in numbers],
        phash=np.where(unreadable, "", to_hex(hashes)),
        width=np.where(unreadable, 0, rng.integers(10, 99, n)),
        height=np.where(unreadable, 0, 50),
        problem=np.where(unreadable, "truncated", ""),
    )
    table.to_parquet(tmp_path / "raw.parquet", index=False)
    return table


def of_the_whole(raw, names, earlier=None, licenses=(), details=None, split=None) -> pd.DataFrame:
    """The catalog step by step, on text."""
    table = join(raw, names, raw)
    if earlier is not None:
        table = keep_exclusions(table.assign(earlier_row=match_earlier(table, earlier)), earlier)
    table = mark_exact_duplicates(exclude_licenses(table, licenses))
    table = mark_near_duplicates(table, details and details(table))
    return assign_splits(table, split or SplitConfig(), earlier)


def of_parts(raw, path, split=None, read_details=False, **data) -> pd.DataFrame:
    """The catalog that is built part by part."""
    raw.to_parquet(path / "raw.parquet", index=False)
    names = parts.resolve_file(path / "raw.parquet", DataConfig())
    out, data = path / "new folder" / "catalog.parquet", DataConfig(**data)
    parts.build_catalog_file(path / "raw.parquet", names, out, split or SplitConfig(), data, read_details=read_details)
    return read_catalog(out)


@pytest.mark.parametrize("part_rows", [7, 400, 1_000])
def test_parts_give_the_catalog_of_the_whole(raw, tmp_path, monkeypatch, part_rows):
    monkeypatch.setattr(parts, "PART_ROWS", part_rows)
    names = parts.resolve_file(tmp_path / "raw.parquet", DataConfig())
    expected = resolve(raw, open_backbones(DataConfig()))
    key = ["source", "verbatim_name", "context"]
    pd.testing.assert_frame_equal(*(t.astype(object).sort_values(key, ignore_index=True) for t in (names, expected)))
    counts = parts.build_catalog_file(
        tmp_path / "raw.parquet", names, tmp_path / "catalog.parquet", SplitConfig(), read_details=False
    )
    whole = of_the_whole(raw, names)
    built = read_catalog(tmp_path / "catalog.parquet")
    pd.testing.assert_frame_equal(built, whole)
    assert counts.sum() == len(raw) and counts[""] == (whole["excluded"] != "").sum() > 20
    assert whole["excluded"].str.startswith("near duplicate of").any()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["catalog.parquet", "raw.parquet"]


def test_a_failed_build_leaves_nothing(raw, tmp_path):
    path, out = tmp_path / "raw.parquet", tmp_path / "catalog.parquet"
    names = parts.resolve_file(path, DataConfig())
    raw.drop(columns="phash").to_parquet(path, index=False)
    with pytest.raises(InputError, match=r"has no columns \['phash'\]; inspect its images first"):
        parts.build_catalog_file(path, names, out, SplitConfig(), read_details=False)
    raw.assign(source_id="same").to_parquet(path, index=False)
    with pytest.raises(InputError, match="image_id is not unique"):
        parts.build_catalog_file(path, names, out, SplitConfig(), read_details=False)
    raw.assign(verbatim_name="new").to_parquet(path, index=False)
    with pytest.raises(ValueError, match=r"resolved once; missing: \['new'\]"):
        parts.build_catalog_file(path, names, out, SplitConfig(), read_details=False)
    assert [path.name for path in tmp_path.iterdir()] == ["raw.parquet"]


def test_row_groups_are_parts(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PART_ROWS", 150)
    names = parts.resolve_file(tmp_path / "raw.parquet", DataConfig())
    parts.build_catalog_file(
        tmp_path / "raw.parquet", names, tmp_path / "catalog.parquet", SplitConfig(), read_details=False
    )
    assert pq.ParquetFile(tmp_path / "catalog.parquet").num_row_groups == 3


@pytest.mark.parametrize("part_rows", [7, 1_000])
def test_published_splits_are_those_of_the_whole_file(raw, tmp_path, monkeypatch, part_rows):
    monkeypatch.setattr(parts, "PART_ROWS", part_rows)
    words = np.where(np.arange(400) < 300, "train", "val")  # in order: most parts have one split
    raw = raw.assign(source_split=np.where(raw["source"] == "a", words, "train"))  # b was never split
    names = resolve(raw)
    built = of_parts(raw, tmp_path)
    pd.testing.assert_frame_equal(built, of_the_whole(raw, names))
    usable = built[built["excluded"] == ""]
    assert set(usable.loc[usable["source"] == "a", "split"]) == {"train", "val"}
    assert "test" in set(usable.loc[usable["source"] == "b", "split"])


def test_an_earlier_catalog_and_licences_decide_as_in_memory(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PART_ROWS", 150)
    raw["license"] = np.array(["CC0", "CC BY 4.0", "", "all rights reserved"])[np.arange(400) % 4]
    names = resolve(raw)
    earlier = of_the_whole(raw[:200], names, split=SplitConfig(seed=3, heldout_fraction=0.5))
    write_catalog(earlier, tmp_path / "earlier.parquet")
    built = of_parts(raw, tmp_path, extends=str(tmp_path / "earlier.parquet"), licenses=("cc0", "cc-by"))
    pd.testing.assert_frame_equal(built, of_the_whole(raw, names, earlier, ("cc0", "cc-by")))
    assert (built["split"] == "heldout_species").sum() > (earlier["split"] == "heldout_species").sum() > 0
    assert built["excluded"].str.startswith("licence").any()


def test_near_hashes_are_confirmed_on_the_pixels(write_image, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PART_ROWS", 3)
    files = [write_image(tmp_path / f"{i}.jpg", (300, 280), seed=i // 2, quality=95 - i) for i in range(8)]
    rows = [(file.name, str(file), "Parus major" if i < 6 else "Quercus robur") for i, file in enumerate(files)]
    raw = pd.DataFrame(rows, columns=["source_id", "location", "verbatim_name"]).assign(source="a")
    raw = pd.concat([raw, inspect_images(raw)], axis=1)
    raw.loc[[0, 2], "phash"] = raw.loc[0, "phash"]  # of other looks
    raw.loc[[1, 3], "phash"] = raw.loc[1, "phash"]
    split = SplitConfig(min_images=1)
    built = of_parts(raw, tmp_path, split, read_details=True)
    pd.testing.assert_frame_equal(built, of_the_whole(raw, resolve(raw), details=read_details))
    assert (built["excluded"] != "").sum() < (of_parts(raw, tmp_path, split)["excluded"] != "").sum()


def test_missing_values_numbers_and_empty_columns_are_text(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PART_ROWS", 150)
    clean = raw.assign(license="", rights_holder=["7"] * 200 + [""] * 200, source_url=[""] * 399 + ["x"])
    odd = clean.astype({"source": "category", "verbatim_name": "category"})
    odd = odd.assign(license=None, rights_holder=[7] * 200 + [None] * 200, source_url=[None] * 399 + ["x"])
    odd["rights_holder"] = odd["rights_holder"].astype("Int64")
    odd["kingdom"] = odd["kingdom"].replace("", None)
    pd.testing.assert_frame_equal(of_parts(odd, tmp_path), of_the_whole(clean, resolve(clean)))
    odd.drop(columns=["sha256", "phash", "width", "height"]).to_parquet(tmp_path / "raw.parquet")
    parts.inspect_file(tmp_path / "raw.parquet", tmp_path / "inspected.parquet")
    found = pd.read_parquet(tmp_path / "inspected.parquet")
    assert found["source_url"].tolist() == clean["source_url"].tolist() and (found["license"] == "").all()


def test_a_file_without_rows_is_one_message(raw, tmp_path):
    raw[:0].to_parquet(tmp_path / "raw.parquet", index=False)
    for step in (
        lambda path: parts.resolve_file(path, DataConfig()),
        lambda path: parts.inspect_file(path, tmp_path / "inspected.parquet"),
        lambda path: parts.build_catalog_file(path, pd.DataFrame(), tmp_path / "c.parquet", SplitConfig()),
    ):
        with pytest.raises(InputError, match="has no rows"):
            step(tmp_path / "raw.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["raw.parquet"]


@pytest.mark.parametrize("part_rows", [7, 1_000])
def test_leaks_into_a_benchmark_are_removed_and_listed(raw, tmp_path, monkeypatch, part_rows):
    monkeypatch.setattr(parts, "PART_ROWS", part_rows)
    names = resolve(raw, open_backbones(DataConfig()))
    tested = raw.iloc[:30].assign(source="tested", source_id=[f"t{i}.jpg" for i in range(30)])
    benchmark = of_the_whole(tested, resolve(tested, open_backbones(DataConfig())))
    write_catalog(benchmark, tmp_path / "benchmark.parquet")
    built = of_parts(raw, tmp_path, benchmark=str(tmp_path / "benchmark.parquet"))
    whole = mark_near_duplicates(mark_exact_duplicates(join(raw, names, raw)))
    leaks = find_leaks(whole, benchmark)
    pd.testing.assert_frame_equal(built, assign_splits(remove_leaks(whole, leaks), SplitConfig()))
    listed = pd.read_csv(tmp_path / "new folder" / "leaks.csv", dtype={"distance": "Int64"})
    pd.testing.assert_frame_equal(listed.astype(object), leaks.astype(object), check_dtype=False)
    assert {"exact", "perceptual", "species hold-out"} <= set(leaks["kind"])


def photo_set(name, step):
    def read(request):
        return read_image_folder(request.getfixturevalue("photos") / name).iloc[::step].reset_index(drop=True)

    return read


FIXTURES = {
    "garden": lambda request: read_image_folder(request.getfixturevalue("image_folder")),
    "birds100": photo_set("birds100", 8),
    "leaves40": photo_set("leaves40", 8),
    "plankton111": photo_set("plankton111", 16),
    "pollen73": photo_set("pollen73", 16),
}


@pytest.mark.parametrize("name", FIXTURES)
def test_memory_and_parts_give_the_same_columns_and_reports(name, request, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PART_ROWS", 37)
    raw = FIXTURES[name](request)
    raw = pd.concat([raw, raw.iloc[:5].assign(source_id=lambda rows: "again/" + rows["source_id"])], ignore_index=True)
    number = np.arange(len(raw))
    raw = raw.assign(
        license=np.array(["CC0", "CC BY 4.0", ""])[number % 3],
        group=np.where(number % 3, (number // 4).astype(str), ""),
    )
    raw["source_split"] = np.where(number % 7 == 0, "val", np.where(number % 7 == 1, "train", ""))
    names, images = request.getfixturevalue("resolve")(raw), inspect_images(raw)
    half = build(raw.iloc[::2].reset_index(drop=True), names, images.iloc[::2].reset_index(drop=True), config_of())
    write_catalog(half.table, tmp_path / "half.parquet")
    tested = half.table.iloc[::9].assign(source="tested")
    write_catalog(tested[tested["split"] != "heldout_species"], tmp_path / "tested.parquet")
    for data in (
        {},
        {"licenses": ("cc0", "cc-by")},
        {"extends": str(tmp_path / "half.parquet")},
        {"benchmark": str(tmp_path / "tested.parquet")},
    ):
        config = config_of(**data)
        whole = build(raw, names, images, config)
        together = pd.concat([raw.drop(columns="problem"), images], axis=1)
        together.to_parquet(tmp_path / "raw.parquet", index=False)
        out = tmp_path / "catalog.parquet"
        parts.build_catalog_file(tmp_path / "raw.parquet", names, out, config.split, config.data)
        pd.testing.assert_frame_equal(read_catalog(out), whole.table)
        if "benchmark" in data:
            listed = pd.read_csv(tmp_path / "leaks.csv", dtype={"distance": "Int64"})
            pd.testing.assert_frame_equal(listed, whole.leaks, check_dtype=False)
            assert len(listed)


def config_of(**data) -> Config:
    return Config("photos", DataConfig(source="photos", merge_synonyms=True, **data), SplitConfig(min_images=1))
