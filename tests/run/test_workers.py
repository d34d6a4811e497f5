"""Ray on a cluster of two nodes: the results of threads, in order, errors as they are."""

import operator

import pandas as pd
import pytest

from bioclip_lib.catalog.assembly import join
from bioclip_lib.catalog.duplicates import IMAGE_COLUMNS, inspect_images
from bioclip_lib.catalog.parts import inspect_file
from bioclip_lib.catalog.splits import assign_splits
from bioclip_lib.config import ShardConfig, SplitConfig, load_config
from bioclip_lib.errors import InputError
from bioclip_lib.run.workers import CHUNK, map_ray
from bioclip_lib.shards.write import write_shards
from bioclip_lib.sources.folders import read_image_folder

ray = pytest.importorskip("ray", reason="Ray is not installed")


@pytest.fixture(scope="module")
def two_nodes():
    """A cluster of two nodes with one core each, on this machine."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_results_come_in_order_from_both_nodes(two_nodes):
    assert len([node for node in ray.nodes() if node["Alive"]]) == 2
    items = range(-10 * CHUNK, 3)
    assert list(map_ray(abs, items)) == [abs(i) for i in items]
    assert list(map_ray(abs, [])) == []


def test_an_error_comes_as_it_is(two_nodes):
    with pytest.raises(InputError, match=r"^unknown profile '7'; choose one of"):
        list(map_ray(load_config, [*["smoke"] * 70, "7"]))


def test_items_are_taken_as_workers_become_free(two_nodes):
    taken = []
    results = map_ray(operator.neg, (taken.append(i) or i for i in range(100 * CHUNK)))
    assert next(results) == 0
    assert len(taken) <= 10 * CHUNK
    results.close()


def test_a_data_set_built_on_the_cluster_is_the_one_built_in_threads(two_nodes, image_folder, resolve, tmp_path):
    raw = read_image_folder(image_folder)
    raw.to_parquet(tmp_path / "raw.parquet", index=False)
    inspect_file(tmp_path / "raw.parquet", tmp_path / "inspected.parquet", mapper=map_ray)
    inspected = inspect_images(raw)
    found = pd.read_parquet(tmp_path / "inspected.parquet")
    pd.testing.assert_frame_equal(found[list(IMAGE_COLUMNS)], inspected)
    catalog = assign_splits(join(raw, resolve(raw), inspected), SplitConfig())
    config = ShardConfig(image_size_px=24, samples_per_shard=7)
    index = write_shards(catalog, tmp_path / "threads", config)
    pd.testing.assert_frame_equal(write_shards(catalog, tmp_path / "ray", config, mapper=map_ray), index)
    files = [path.relative_to(tmp_path / "ray") for path in (tmp_path / "ray").rglob("*.tar")]
    assert len(files) == len(index) > 4
    assert all((tmp_path / "ray" / file).read_bytes() == (tmp_path / "threads" / file).read_bytes() for file in files)
