"""Ray on a cluster of two nodes: the results of threads, in order, errors as they are."""

import operator

import pytest

from bioclip_lib.cluster import CHUNK, map_ray
from bioclip_lib.config import load_config
from bioclip_lib.errors import InputError

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
