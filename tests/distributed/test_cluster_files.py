"""The files for ray up, KubeRay and Slurm: what can be known of them without a cloud."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import render
from helpers.pictures import save_painting, save_photo
from helpers.program import CHEAP
from render.cli import main

ROOT = Path(__file__).parents[2]
FILES = ROOT / "distributed"
ELSEWHERE = {
    "RAY_ADDRESS",
    "RAY_API_SERVER_ADDRESS",
    "RAY_AUTH_TOKEN",
    "RAY_AUTH_TOKEN_PATH",
    "RAY_TMPDIR",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER",
}


def read(name: str) -> dict:
    return yaml.safe_load((FILES / name).read_text(encoding="utf-8"))


def without(mapping: dict, *path: str) -> dict:
    """A deep copy without one key."""
    copy = yaml.safe_load(yaml.safe_dump(mapping))
    *parents, last = path
    inner = copy
    for key in parents:
        inner = inner[int(key) if key.isdigit() else key]
    del inner[last]
    return copy


# --- ray up -------------------------------------------------------------------------------------------------


def validated(config: dict) -> dict:
    """What `ray up` itself does with the file before it talks to the cloud."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(config)
    validate_config(prepared)
    return prepared


def test_ray_up_takes_the_cluster_file():
    prepared = validated(read("ray-cluster.yaml"))
    assert (
        prepared["head_node_type"] == "head" and prepared["available_node_types"]["gpu"]["max_workers"] == 4
    )


@pytest.mark.parametrize(
    "change", [{"idle_timeout": 10}, {"max_workers": "four"}, {"head_node_type": "none"}]
)
def test_ray_up_would_refuse_a_mistake_in_it(change):
    with pytest.raises(Exception, match="idle_timeout|four|head_node_type"):
        validated(read("ray-cluster.yaml") | change)


def ray_start_words(line: str) -> list[str]:
    words = shlex.split(line)
    return words[words.index("ray") + 2 :] if "start" in words else []


def starts(config: dict) -> list[list[str]]:
    lines = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    return [words for line in lines if (words := ray_start_words(line))]


def test_ray_start_knows_every_word_of_the_cluster_file():
    from ray.scripts.scripts import start

    head, worker = starts(read("ray-cluster.yaml"))
    assert start.make_context("start", list(head)).params["dashboard_host"] == "127.0.0.1"
    assert start.make_context("start", list(worker)).params["address"] == "$RAY_HEAD_IP:6379"
    with pytest.raises(Exception, match="No such option"):
        start.make_context("start", [*head, "--dashbord-host=127.0.0.1"])


def test_every_start_of_the_cluster_file_wants_the_token():
    config = read("ray-cluster.yaml")
    lines = [
        line
        for key in ("head", "worker")
        for line in config[f"{key}_start_ray_commands"]
        if "ray start" in line
    ]
    assert len(lines) == 2 and all("RAY_AUTH_MODE=token ray start" in line for line in lines)
    assert any(there.endswith(".ray/auth_token") for there in config["file_mounts"])


# --- KubeRay ------------------------------------------------------------------------------------------------

# The fields of ray.io/v1 that the file may use, from KubeRay's API reference; below `template` they are
# Kubernetes' own.
JOB = {
    "entrypoint",
    "runtimeEnvYAML",
    "jobId",
    "submissionMode",
    "backoffLimit",
    "activeDeadlineSeconds",
    "shutdownAfterJobFinishes",
    "ttlSecondsAfterFinished",
    "suspend",
    "rayClusterSpec",
    "clusterSelector",
    "submitterPodTemplate",
    "metadata",
    "deletionStrategy",
}
CLUSTER = {
    "rayVersion",
    "authOptions",
    "headGroupSpec",
    "workerGroupSpecs",
    "enableInTreeAutoscaling",
    "autoscalerOptions",
}
HEAD = {"serviceType", "enableIngress", "rayStartParams", "template", "headService"}
WORKER = {
    "groupName",
    "replicas",
    "minReplicas",
    "maxReplicas",
    "numOfHosts",
    "rayStartParams",
    "template",
    "idleTimeoutSeconds",
}


def mistakes(job: dict) -> list[str]:
    """What is wrong with a RayJob, as far as it can be seen from here."""
    found = (
        []
        if (job.get("apiVersion"), job.get("kind")) == ("ray.io/v1", "RayJob")
        else ["not a RayJob of ray.io/v1"]
    )
    spec = job["spec"]
    cluster = spec.get("rayClusterSpec", {})
    groups = [cluster.get("headGroupSpec", {}), *cluster.get("workerGroupSpecs", [])]
    for name, fields, known, needed in (
        ("spec", spec, JOB, {"entrypoint", "rayClusterSpec"}),
        ("cluster", cluster, CLUSTER, {"rayVersion", "headGroupSpec"}),
        ("head", groups[0], HEAD, {"rayStartParams", "template"}),
        *(("worker", group, WORKER, {"groupName", "rayStartParams", "template"}) for group in groups[1:]),
    ):
        found += [f"{name}: unknown {key}" for key in set(fields) - known] + [
            f"{name}: no {key}" for key in needed - set(fields)
        ]
    for group in groups:
        found += [
            f"rayStartParams: {key} is no text"
            for key, value in group.get("rayStartParams", {}).items()
            if not isinstance(value, str)
        ]
        pod = group.get("template", {}).get("spec", {})
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        for container in pod.get("containers", []):
            found += [
                f"{container['name']}: no volume {mount['name']}"
                for mount in container.get("volumeMounts", [])
                if mount["name"] not in volumes
            ]
            requests, limits = (container["resources"][key] for key in ("requests", "limits"))
            found += ["requests and limits differ"] if requests != limits else []
        found += [] if pod.get("containers") else ["a pod without a container"]
    return found


def test_the_rayjob_holds_the_fields_of_its_version():
    assert mistakes(read("kuberay-rayjob.yaml")) == []


@pytest.mark.parametrize(
    ("path", "mistake"),
    [
        (("apiVersion",), "not a RayJob of ray.io/v1"),
        (("spec", "entrypoint"), "spec: no entrypoint"),
        (("spec", "rayClusterSpec", "rayVersion"), "cluster: no rayVersion"),
        (("spec", "rayClusterSpec", "workerGroupSpecs", "0", "groupName"), "worker: no groupName"),
        (
            ("spec", "rayClusterSpec", "workerGroupSpecs", "0", "template", "spec", "volumes"),
            "ray-worker: no volume shared",
        ),
    ],
)
def test_a_rayjob_with_a_field_missing_is_found(path, mistake):
    assert mistake in mistakes(without(read("kuberay-rayjob.yaml"), *path))


def test_a_rayjob_with_an_unknown_field_is_found():
    job = read("kuberay-rayjob.yaml")
    job["spec"]["shutdownAfterJobFinish"] = True
    assert mistakes(job) == ["spec: unknown shutdownAfterJobFinish"]


def test_the_rayjob_wants_a_token_and_its_versions_are_those_we_test_with():
    cluster = read("kuberay-rayjob.yaml")["spec"]["rayClusterSpec"]
    pinned = (ROOT / "scripts" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert cluster["authOptions"] == {"mode": "token"}
    assert f"ray=={cluster['rayVersion']}" in pinned
    images = {
        container["image"]
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])
        for container in group["template"]["spec"]["containers"]
    }
    assert images == {f"REGISTRY/render:{render.__version__}"}


def test_the_rayjobs_entrypoint_is_a_batch_that_render_takes():
    words = shlex.split(read("kuberay-rayjob.yaml")["spec"]["entrypoint"])
    assert words[:3] == ["python", "-m", "render"]
    arguments = main.parser().parse_args(words[3:])
    assert (arguments.runner, arguments.address, arguments.output) == ("ray", "auto", "/shared/prints")
    with pytest.raises(SystemExit):
        main.parser().parse_args([*words[3:], "--sise", "3"])


# --- Slurm --------------------------------------------------------------------------------------------------

SRUN = """#!/usr/bin/env bash
# Stands for Slurm's: runs the command on this machine, and says on which node it would have been.
while [[ $1 == --* ]]; do
    [[ $1 == --nodelist=* ]] && export NODE=${1#--nodelist=}
    shift
done
echo "$NODE $1" >> "$NODES_SEEN"
exec "$@"
"""
SCONTROL = "#!/bin/sh\nprintf 'node1\\nnode2\\n'\n"
HOSTNAME = "#!/bin/sh\necho 127.0.0.1${NODE#node}\n"  # two addresses of the loopback


@pytest.fixture
def slurm(tmp_path) -> dict[str, str]:
    """The environment of a Slurm job of two nodes, both of them this machine."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("hostname", HOSTNAME)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if key not in ELSEWHERE}
    return environment | {
        "PATH": f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "NODES_SEEN": str(tmp_path / "nodes"),
        "SLURM_JOB_ID": str(20_000 + os.getpid() % 10_000),
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_CPUS_PER_TASK": "1",
        "HOME": str(tmp_path),
    }


def ray_processes(job_id: str) -> list[str]:
    listing = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listing.splitlines() if f"/render-{job_id}/" in line and "<defunct>" not in line]


def test_the_slurm_script_is_bash():
    assert subprocess.run(["bash", "-n", FILES / "slurm.sh"]).returncode == 0


def run_slurm(environment, *words, cwd: Path) -> subprocess.CompletedProcess:
    """The script in a session of its own; standard error holds the processes that it left behind, which are
    ended."""
    script = subprocess.Popen(
        ["bash", FILES / "slurm.sh", *map(str, words)],
        cwd=cwd,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        out, _ = script.communicate(timeout=280)
    finally:
        left = ray_processes(environment["SLURM_JOB_ID"])
        for line in left:
            os.kill(int(line.split()[0]), signal.SIGKILL)
        shutil.rmtree(f"/tmp/render-{environment['SLURM_JOB_ID']}", ignore_errors=True)
    return subprocess.CompletedProcess(script.args, script.returncode, out, "\n".join(left))


# The second status is that of a batch that does all: every day the one whose batch fails in part is enough.
@pytest.mark.ray
@pytest.mark.parametrize(("more", "status"), [(["gone.png"], 1), pytest.param([], 0, marks=pytest.mark.slow)])
def test_the_slurm_script_renders_on_two_nodes_ends_as_its_batch_does_and_leaves_nothing_running(
    slurm, tmp_path, more, status
):
    save_photo(tmp_path / "photos" / "a.png")
    save_painting(tmp_path / "x.png")
    done = run_slurm(
        slurm,
        "--inputs",
        tmp_path / "photos",
        *more,
        "--styles",
        tmp_path / "x.png",
        "--output",
        tmp_path / "prints",
        "--size",
        "48",
        *CHEAP,
        cwd=tmp_path,
    )
    assert done.returncode == status, done.stdout
    assert ("gone.png: no such file" in done.stdout) == bool(status)
    assert (tmp_path / "prints" / "a--x.png").exists()
    assert (tmp_path / "nodes").read_text().splitlines() == [
        "node1 hostname",
        "node1 ray",
        "node2 hostname",
        "node2 ray",
    ]
    assert done.stderr == ""
