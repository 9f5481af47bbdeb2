"""A batch as a job on a running Ray cluster: planned, described for the user, and sent."""

import secrets
import shlex
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from render import __version__
from render.distributed.jobs_api import Dashboard, can_be_overheard, check_address
from render.distributed.package import Package, write
from render.errors import UsageError
from render.wording import plain

RUNNER = ("--runner", "ray", "--address", "auto")


@dataclass(frozen=True)
class Submission:
    """A job as it will be submitted."""

    address: str
    """Of the cluster's dashboard."""
    job_id: str
    package: Package
    """The files to send; without items nothing is sent."""
    what: str
    """A description of the package for people."""
    output: str
    """The prints' folder on the cluster."""
    entrypoint: str
    """The job's shell command."""


def plan(address: str, package: Package, *, what: str, output: str | None) -> Submission:
    """A job with a new name. Raises UsageError for an impossible address or output.

    Args:
        what: a description of the package for people.
        output: an absolute path on the cluster; None: a new folder on the head.
    """
    if output is not None and not output.startswith("/"):
        raise UsageError(
            f"--output {output}: is a folder on the cluster, where jobs start in another folder. Write "
            f"it from / on, "
            "or leave it out."
        )
    job_id = f"render-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    output = output or f"~/render-jobs/{job_id}"
    return Submission(
        check_address(address), job_id, package, what, output, entrypoint(package.words, output)
    )


def entrypoint(words: Sequence[str], output: str) -> str:
    """The job's shell command: nothing runs where render has another version."""
    batch = shlex.join(["python", "-m", "render", "batch", *words, *RUNNER, "--json"])
    return f"{on_head('expect', __version__)} && exec {batch} --output {quoted(output)}"


def on_head(*words: str) -> str:
    return shlex.join(["python", "-m", "render.distributed.on_head", *words])


def quoted(folder: str) -> str:
    """The folder quoted for the shell, except a leading ~, for which the shell puts the home folder."""
    return f"~/{shlex.quote(folder[2:])}" if folder.startswith("~/") else shlex.quote(folder)


def describe(submission: Submission) -> str:
    """What will be sent where, for people."""
    items = submission.package.items
    sends = (
        f"{len(items)} files, {submission.package.bytes / 1e6:.1f} MB"
        if items
        else "no files, only the command"
    )
    lines = [
        f"to      {submission.address}",
        f"job     {submission.job_id}",
        f"sends   {sends}: {submission.what}",
        f"runs    {submission.entrypoint}",
        f"prints  {submission.output} on the cluster",
    ]
    if can_be_overheard(submission.address):
        lines.append(
            "note    plain HTTP to another machine: files and token can be read on the way. Safer: a tunnel, "
            "ssh -N -L 8265:localhost:8265 HEAD, and --address http://localhost:8265"
        )
    return "\n".join(map(plain, lines))


def send(submission: Submission, cluster: Dashboard) -> None:
    """Upload the package and start the job."""
    facts = {"render": __version__, "output": submission.output}
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "package.zip") if submission.package.items else None
        if package is not None:
            write(submission.package, package)
        cluster.submit(submission.job_id, submission.entrypoint, package=package, facts=facts)


def next_steps(submission: Submission) -> str:
    """Commands to paste."""
    status = f"render status --address {submission.address} {submission.job_id}"
    return "\n".join(
        [
            f"follow  {status} --follow",
            f"fetch   {status} --fetch prints",
            f"stop    ray job stop --address {submission.address} {submission.job_id}",
        ]
    )
