"""A real Ray on this machine."""

import contextlib

import psutil

STORE_BYTES = 100 * 2**20


@contextlib.contextmanager
def ray_cluster(**head):
    """A real Ray on localhost, with nodes to be added and removed."""
    from ray.cluster_utils import Cluster

    # At exit means signal handlers, which nodes started from another thread cannot set.
    cluster = Cluster(
        initialize_head=True,
        shutdown_at_exit=False,
        head_node_args={
            "node_ip_address": "127.0.0.1",
            "include_dashboard": False,
            "object_store_memory": STORE_BYTES,
            # That a machine is gone is seen after five seconds instead of fifteen.
            "_system_config": {"health_check_period_ms": 1000},
            **head,
        },
    )
    try:
        yield cluster
    finally:
        cluster.shutdown()


@contextlib.contextmanager
def ray_node(cluster, **node):
    """One more machine of the cluster."""
    added = cluster.add_node(node_ip_address="127.0.0.1", object_store_memory=STORE_BYTES, **node)
    try:
        yield added
    finally:
        if added in cluster.worker_nodes:
            cluster.remove_node(added)


def ray_workers(node) -> list[psutil.Process]:
    """Processes of our workers on a node."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    return [p for p in raylet.children(recursive=True) if any("Worker" in word for word in p.cmdline())]
