"""Two Rays for all tests of a process: starting one takes many seconds of processor time."""

import pytest

from helpers.ray import ray_cluster


@pytest.fixture(scope="session")
def ray_head():
    """A head with four cores. Ray believes in the GPUs that it is told of."""
    with ray_cluster(num_cpus=4, num_gpus=2) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def bare_head():
    """A head without cores: work is done by the nodes that a test adds, and removes."""
    with ray_cluster(num_cpus=0) as cluster:
        yield cluster
