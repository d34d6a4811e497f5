"""A catalog built part by part is the one built at once."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from bioclip_lib import catalog_files
from bioclip_lib.catalog import assign_splits, build_catalog, read_catalog
from bioclip_lib.config import DataConfig, SplitConfig
from bioclip_lib.dedup import mark_exact_duplicates, mark_near_duplicates
from bioclip_lib.errors import InputError
from bioclip_lib.perceptual import to_hex
from bioclip_lib.resolution import open_backbones, resolve_raw_names

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


@pytest.mark.parametrize("part_rows", [7, 400, 1_000])
def test_parts_give_the_catalog_of_the_whole(raw, tmp_path, monkeypatch, part_rows):
    monkeypatch.setattr(catalog_files, "PART_ROWS", part_rows)
    names = catalog_files.resolve_file(tmp_path / "raw.parquet", DataConfig())
    expected = resolve_raw_names(raw, None, open_backbones(DataConfig()))
    key = ["source", "verbatim_name", "context"]
    pd.testing.assert_frame_equal(*(t.sort_values(key, ignore_index=True) for t in (names, expected)))
    counts = catalog_files.build_catalog_file(
        tmp_path / "raw.parquet", names, tmp_path / "catalog.parquet", SplitConfig()
    )
    whole = assign_splits(mark_near_duplicates(mark_exact_duplicates(build_catalog(raw, names, raw))), SplitConfig())
    built = read_catalog(tmp_path / "catalog.parquet")
    pd.testing.assert_frame_equal(built, whole)
    assert counts.sum() == len(raw) and counts[""] == (whole["excluded"] != "").sum() > 20
    assert whole["excluded"].str.startswith("near duplicate of").any()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["catalog.parquet", "raw.parquet"]


def test_a_failed_build_leaves_nothing(raw, tmp_path):
    path, out = tmp_path / "raw.parquet", tmp_path / "catalog.parquet"
    names = catalog_files.resolve_file(path, DataConfig())
    raw.drop(columns="phash").to_parquet(path, index=False)
    with pytest.raises(InputError, match=r"has no columns \['phash'\]; inspect its images first"):
        catalog_files.build_catalog_file(path, names, out, SplitConfig())
    raw.assign(source_id="same").to_parquet(path, index=False)
    with pytest.raises(InputError, match="image_id is not unique"):
        catalog_files.build_catalog_file(path, names, out, SplitConfig())
    raw.assign(verbatim_name="new").to_parquet(path, index=False)
    with pytest.raises(ValueError, match=r"resolved once; missing: \['new'\]"):
        catalog_files.build_catalog_file(path, names, out, SplitConfig())
    assert [path.name for path in tmp_path.iterdir()] == ["raw.parquet"]


def test_row_groups_are_parts(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(catalog_files, "PART_ROWS", 150)
    names = catalog_files.resolve_file(tmp_path / "raw.parquet", DataConfig())
    catalog_files.build_catalog_file(tmp_path / "raw.parquet", names, tmp_path / "catalog.parquet", SplitConfig())
    assert pq.ParquetFile(tmp_path / "catalog.parquet").num_row_groups == 3
