"""A Ray cluster: started on this machine or joined on a network, examined before any work, and left
afterwards."""

import contextlib
import logging
import os
import platform
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import render
from render.errors import RenderError, UsageError
from render.network.device import GPU

CPUS_PER_WORKER = 4  # on machines without a GPU: more threads gain little on tiles of 1024 px
# Ray's object store holds what is sent between processes: this share of the machine's memory, at least so
# many bytes.
OBJECTS_SHARE, OBJECTS_LEAST = 0.1, 128 * 2**20
SURVEY_S = 120.0  # for a machine to answer what it has
REACH_S = 10.0  # for the head's port to answer


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, as it describes itself."""

    id: str
    """Ray's id."""
    host: str
    cpus: int
    """Cores that it offers to Ray."""
    gpus: int
    """GPUs that it offers to Ray."""
    render: str
    """Version of this package there."""
    torch: str
    """Version of torch there."""
    precision: str
    """The faster of "float32" and "bfloat16" there."""
    problem: str = ""
    """Why it cannot be used; "" if it can."""


@dataclass(frozen=True)
class Cluster:
    """A cluster that is connected."""

    address: str | None
    """None when it was started on this machine for this run."""
    nodes: tuple[Node, ...]

    @property
    def gpus(self) -> int:
        return sum(node.gpus for node in self.nodes)

    def device(self, requested: str) -> str:
        """The device of all workers for a `--device`. Raises UsageError for a GPU when there is none."""
        if requested == GPU and not self.gpus:
            raise UsageError(
                f"--device {GPU}: no machine of {self.address or 'this Ray'} has a GPU ({self}). Add "
                f"one, or use --device cpu."
            )
        return (GPU if self.gpus else "cpu") if requested == "auto" else requested

    def precision(self, requested: str, device: str) -> str:
        """One precision for all workers: for "auto", bfloat16 where it is fast on every machine that will
        work."""
        at_work = [node for node in self.nodes if node.gpus or device == "cpu"]
        if requested != "auto":
            return requested
        return "bfloat16" if all(node.precision == "bfloat16" for node in at_work) else "float32"

    def workers(self, device: str, cpus_each: int) -> int:
        """How many workers fit at once."""
        return sum(node.gpus if device == GPU else node.cpus // cpus_each for node in self.nodes)

    def cpus_each(self, requested: int | None, workers: int | None) -> int:
        """Cores of a worker on a CPU. Raises UsageError when no machine has as many."""
        cores = [node.cpus for node in self.nodes if node.cpus]
        if requested is None:
            return max(1, min(sum(cores) // workers if workers else CPUS_PER_WORKER, min(cores)))
        if requested > max(cores):
            raise UsageError(
                f"--cpus-per-worker {requested}: the largest machine has {max(cores)} cores. Use "
                f"{max(cores)} or fewer."
            )
        return requested

    def __str__(self) -> str:
        return ", ".join(f"{node.host}: {node.cpus} cores, {node.gpus} GPUs" for node in self.nodes)


@contextlib.contextmanager
def connected(
    address: str | None, *, weights: str, preprocessing: str | None, device: str = "auto"
) -> Iterator[Cluster]:
    """A cluster that has been examined. Raises UsageError, before any work, when it cannot be reached or
    used.

    Args:
        address: of a running one ("HOST:6379", "auto"); None: one is started on this machine, on localhost
            only, and ended afterwards.
        weights: the network's, which every machine must have.
        preprocessing: see `network.weights.load`.
        device: "cpu" when GPUs will not be used.
    """
    if address is None:
        # Ray reads these when it is imported. Without the first one it replaces localhost by the address of
        # the network interface.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = import_ray()
    _silence()
    try:
        if address is None:
            _start(ray)
        else:
            _join(ray, address)
        yield Cluster(address, _survey(ray, address, weights, preprocessing, device))
    finally:
        ray.shutdown()


def import_ray():
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            f"--runner ray: Ray is not installed here ({error}). pip install 'render-prints[ray]'"
        ) from None
    return ray


def _silence() -> None:
    """Keep Ray's reports on its processes off standard output, where --json promises JSON: what they mean for
    the jobs we report ourselves.

    Private to Ray: there is no setting for it. tests/distributed/test_private_names.py fails when Ray renames
    it."""
    from ray._private import worker

    worker.print_to_stdstream = lambda *args, **kwargs: None


def _start(ray) -> None:
    import psutil

    from render.network.device import cores, memory_bytes

    objects = max(
        OBJECTS_LEAST, int(OBJECTS_SHARE * min(memory_bytes("cpu"), psutil.virtual_memory().available))
    )
    with contextlib.suppress(
        FileNotFoundError
    ):  # a small /dev/shm, as containers have: Ray would use the disk instead
        room = os.statvfs("/dev/shm")
        objects = max(OBJECTS_LEAST, min(objects, int(0.8 * room.f_bavail * room.f_frsize)))
    ray.init(
        address="local",
        num_cpus=cores(),
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=objects,
    )


def _join(ray, address: str) -> None:
    if "://" in address:
        raise UsageError(
            f"--address {address}: a batch joins the cluster itself. Use HOST:6379 from the cluster's "
            f"network, or `render submit` "
            "with the dashboard's address from elsewhere."
        )
    try:
        host, _, port = address.rpartition(":")
        if host and port.isdigit():  # Ray itself would try for a minute or more
            socket.create_connection((host, int(port)), timeout=REACH_S).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        text = " ".join(str(error).split())
        if "ersion mismatch" in text:
            raise UsageError(
                f"--address {address}: other versions there than here ({text[:300]}). Install the same "
                f"Python and "
                f"ray=={ray.__version__} on both sides."
            ) from None
        raise UsageError(
            f"--address {address}: no Ray cluster answers there ({text[:300]}). Check that it runs (`ray "
            f"status`), that the port is "
            "the head's (6379 unless chosen otherwise) and open, and, with tokens, that "
            "RAY_AUTH_MODE=token and the cluster's "
            "token are set here."
        ) from None


def _survey(
    ray, address: str | None, weights: str, preprocessing: str | None, device: str
) -> tuple[Node, ...]:
    """What every machine reports of itself. Raises UsageError for the first one that would fail its jobs."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from render.network import weights as known

    fingerprint = known.fingerprint(weights)
    alive = [node for node in ray.nodes() if node["Alive"]]
    at = {}
    for node in alive:
        gpus = node["Resources"].get("GPU", 0) if device != "cpu" else 0
        # Ray shows a task only those GPUs that it requests.
        task = ray.remote(num_cpus=0, num_gpus=0.01 if gpus else 0, max_retries=1)(_examine)
        here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        at[node["NodeID"]] = task.options(scheduling_strategy=here).remote(
            weights, preprocessing, fingerprint, int(gpus)
        )
    nodes = []
    for node in alive:
        resources = node["Resources"]
        host = node["NodeManagerHostname"]
        try:
            facts = ray.get(at[node["NodeID"]], timeout=SURVEY_S)
        except ray.exceptions.RayTaskError as error:
            facts = {
                "problem": f"render cannot be used there ({reason(error)}). "
                f"pip install render-prints=={render.__version__} on every machine"
            }
        except ray.exceptions.GetTimeoutError:
            facts = {
                "problem": f"did not answer within {SURVEY_S:.0f} s. Is it busy? Wait for it, or take it "
                f"out of the cluster"
            }
        except ray.exceptions.RayError as error:
            facts = {
                "problem": f"went away while it was examined ({reason(error)}). Run the same command again"
            }
        known = {"render": "", "torch": "", "precision": "", "problem": ""} | facts
        nodes.append(
            Node(node["NodeID"], host, int(resources.get("CPU", 0)), int(resources.get("GPU", 0)), **known)
        )
    for node in nodes:
        if node.problem:
            raise UsageError(f"{_named(address)}, machine {node.host}: {node.problem}.")
        if node.render != render.__version__:
            raise UsageError(
                f"{_named(address)}, machine {node.host}: has render {node.render}, this is "
                f"{render.__version__}. "
                "Install the same version on every machine."
            )
    if not any(node.cpus or node.gpus for node in nodes):
        raise UsageError(f"{_named(address)}: no machine offers cores or GPUs to jobs.")
    return tuple(nodes)


def reason(error: Exception) -> str:
    """One of Ray's errors in a line, without its colors and addresses: what was raised on the other machine,
    or what became of a worker."""
    cause = getattr(error, "cause", None)
    if cause is not None:
        return f"{type(cause).__name__}: {cause}".splitlines()[-1][:300]
    return " ".join(str(error).split())[:300]


def _named(address: str | None) -> str:
    return "Ray on this machine" if address is None else f"--address {address}"


def _examine(weights: str, preprocessing: str | None, fingerprint: str, gpus: int) -> dict[str, str]:
    """Runs on each machine."""
    import torch

    from render.network import device
    from render.network import weights as known

    facts = {"render": render.__version__, "torch": torch.__version__, "precision": device.choose().precision}
    if gpus and not device.gpus():
        facts["problem"] = (
            f"Ray counts {gpus} GPUs there and torch {torch.__version__} can use none. Install a GPU "
            f"build of torch and its "
            "driver, or use --device cpu"
        )
    try:
        if known.fingerprint(weights) != fingerprint:
            facts["problem"] = (
                f"--weights {weights} is another file there than here. Copy this one to every machine"
            )
        known.load(weights, preprocessing=preprocessing)
    except RenderError as error:
        facts["problem"] = f"weights: {error}"
    return facts


def sign(folder) -> tuple[str, str]:
    """(path, text) of a new file that shows a worker that it sees this folder, and not another one of the
    same name."""
    text = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(16)} {platform.system()}"
    path = os.path.join(os.path.abspath(folder), "driver")
    with open(path, "w") as file:
        file.write(text)
    return path, text
