"""Ray's Jobs API, for which the address of the cluster's dashboard is enough. Every error names the fix."""

import asyncio
import contextlib
import json
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from render.errors import RenderError, UsageError

PROBE_S = 10  # for a first answer; Ray's own client would wait for minutes
# Ray prefers these to the address that it is given, but what the user wrote on the command line comes first.
OVERRIDES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Dashboard:
    """The Jobs API at an address such as http://localhost:8265. Raises UsageError when it cannot be used from
    here: no ray[default], an address without an answer, a wrong token, another Ray than ours."""

    def __init__(self, address: str):
        self.address = check_address(address)
        ray, sdk = _import_ray()
        _probe(self.address)
        with _explained(self.address), _without(OVERRIDES):
            self._client = sdk.JobSubmissionClient(self.address)
            # Private to Ray: its public get_version() gives the version of the API, not Ray's, and only its
            # own client knows the cluster's token. tests/distributed/test_private_names.py fails when Ray
            # renames it.
            self.ray_version = self._client._do_request("GET", "/api/version").json()["ray_version"]
        _check_versions(ray.__version__, self.ray_version, self.address)

    def submit(self, job_id: str, entrypoint: str, *, package: Path | None, facts: Mapping[str, str]) -> None:
        """Start a job.

        Args:
            package: a .zip that is unpacked into the folder that the job starts in.
            facts: stored with the job as its metadata.
        """
        environment = {} if package is None else {"working_dir": str(package)}
        with _explained(self.address):
            self._client.submit_job(
                entrypoint=entrypoint, submission_id=job_id, runtime_env=environment, metadata=dict(facts)
            )

    def job(self, job_id: str):
        """Ray's JobDetails. Raises UsageError for a job that is not there."""
        with _explained(self.address):
            try:
                return self._client.get_job_info(job_id)
            except RuntimeError as error:
                if "404" not in str(error):
                    raise
            known = [job.submission_id for job in self._client.list_jobs() if job.submission_id]
        raise UsageError(
            f"{job_id}: no job of that name at {self.address}. There: {', '.join(sorted(known)) or 'none'}."
        )

    def log(self, job_id: str) -> str:
        with _explained(self.address):
            return self._client.get_job_logs(job_id)

    def lines(self, job_id: str) -> Iterator[str]:
        """The lines of the job's log from the first one on, as they are written, until the job ends."""
        loop, rest = asyncio.new_event_loop(), ""
        tail = self._client.tail_job_logs(job_id)
        try:
            with _explained(self.address):
                while (chunk := loop.run_until_complete(anext(tail, None))) is not None:
                    *lines, rest = (rest + chunk).split("\n")
                    yield from lines
            yield from [rest] if rest else []
        finally:
            loop.run_until_complete(tail.aclose())
            loop.close()

    def delete(self, job_id: str) -> None:
        """Remove an ended job from the cluster's list."""
        with _explained(self.address):
            self._client.delete_job(job_id)


def check_address(address: str) -> str:
    """The address without its last slash. Raises UsageError when no dashboard can have it."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"--address {address}: is not the address of Ray's dashboard. Write it like "
            f"http://localhost:8265."
        )
    return address.rstrip("/")


def can_be_overheard(address: str) -> bool:
    """Whether what is sent there crosses a network unencrypted."""
    parts = urlsplit(address)
    return parts.scheme == "http" and parts.hostname not in LOOPBACK


def _import_ray():
    try:
        import aiohttp  # noqa: F401
        import ray
        import requests  # noqa: F401
        from ray import job_submission
    except ImportError as error:
        raise UsageError(
            f"the Jobs API needs Ray with its dashboard, and {error.name} is missing here. "
            "Install it: pip install 'render-prints[cluster]'."
        ) from error
    for name in ("dashboard_sdk", "job.sdk"):  # we report ourselves what is sent
        logging.getLogger(f"ray.dashboard.modules.{name}").setLevel(logging.WARNING)
    return ray, job_submission


def _probe(address: str) -> None:
    """Raises UsageError unless something like Ray's dashboard answers within PROBE_S."""
    try:
        with urllib.request.urlopen(f"{address}/api/version", timeout=PROBE_S) as answer:
            if "ray_version" in json.load(answer):
                return
        why = "another program answers"
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):  # Ray's client knows the token
            return
        why = f"it answers {error.code}, which Ray's dashboard does not"
    except ValueError:
        why = "another program answers"
    except OSError as error:
        why = str(getattr(error, "reason", error))
    raise UsageError(
        f"--address {address}: no Ray dashboard is there ({why}). Is the cluster up? From a laptop it is "
        f"reached through a "
        "tunnel: `ray dashboard distributed/ray-cluster.yaml`, `kubectl port-forward "
        "service/NAME-head-svc 8265`, or "
        "`ssh -N -L 8265:localhost:8265 HEAD`; then --address http://localhost:8265."
    )


def _check_versions(ours: str, theirs: str, address: str) -> None:
    """Raises UsageError unless both sides have the same feature release: the formats changed between them."""
    if ours.split(".")[:2] != theirs.split(".")[:2]:
        raise UsageError(
            f"{address} runs Ray {theirs}, and {ours} is installed here. Install the cluster's: "
            f"pip install 'ray[default]=={theirs}'."
        )


@contextlib.contextmanager
def _explained(address: str) -> Iterator[None]:
    """Turns Ray's and the network's errors into ours."""
    import aiohttp
    import requests
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError as error:
        raise UsageError(
            f"{address}: refuses the token, or wants one. Put the cluster's (there: `ray "
            f"get-auth-token`) into ~/.ray/auth_token "
            "or RAY_AUTH_TOKEN here, set RAY_AUTH_MODE=token, and run this again."
        ) from error
    except (requests.RequestException, aiohttp.ClientError, ConnectionError) as error:
        raise RenderError(
            f"{address}: the connection was lost ({error}). A job that was started continues: see "
            "`render status` when the cluster can be reached again."
        ) from error
    except RuntimeError as error:
        raise RenderError(f"{address}: {error}") from error


@contextlib.contextmanager
def _without(names) -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
