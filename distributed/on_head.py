"""The commands that `render submit` and `render status` run on the cluster's head node: python -m
render.distributed.on_head."""

import argparse
import base64
import json
import logging
import os
import re
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from render import __version__
from render.errors import RenderError, UsageError
from render.jobs.job import proof_path, sha256
from render.jobs.ledger import Ledger
from render.wording import plain

DATA_BYTES = 48 * 1024  # a line of the log: 64 KiB of base64
WAIT_S = 300.0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="render.distributed.on_head", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    commands.add_parser("expect", help="fail unless this is render VERSION").add_argument("version")
    verb = commands.add_parser(
        "send", help="print finished prints as JSON lines, but for those that have.json names"
    )
    verb.add_argument("output", type=Path)
    verb.add_argument(
        "--limit", type=int, required=True, metavar="BYTES", help="start no print once so much was sent"
    )
    verb.add_argument("--forget", metavar="JOB", help="delete the log of this earlier job first")
    verb = commands.add_parser("wait", help="wait until a Ray that is being started has so many machines")
    verb.add_argument("--address", required=True)
    verb.add_argument("--nodes", type=int, required=True)
    verb.add_argument("--seconds", type=float, default=WAIT_S, help="at most (default: %(default)g)")
    arguments = parser.parse_args(argv)
    try:
        if arguments.command == "expect":
            expect(arguments.version)
        elif arguments.command == "send":
            send(arguments)
        else:
            wait(arguments.address, arguments.nodes, arguments.seconds)
    except RenderError as error:
        print(f"render: {plain(error)}", file=sys.stderr)
        return 1
    return 0


def expect(version: str) -> None:
    if version != __version__:
        raise UsageError(
            f"the cluster has render {__version__}, and the job was submitted by {version}. Install the "
            f"same on "
            "every machine and submit again; nothing was rendered."
        )


def send(arguments: argparse.Namespace) -> None:
    """Print {"event": "print", path, bytes, sha256} and its {"event": "data"} lines for every print, then
    {"event": "sent"}."""
    if arguments.forget is not None:
        forget(arguments.forget)
    output = arguments.output.expanduser()
    have = json.loads(Path("have.json").read_text(encoding="utf-8"))
    sent = sent_bytes = left = 0
    for path in finished(output):
        name = path.relative_to(output).as_posix()
        if have.get(name) == sha256(path):
            continue
        if sent_bytes >= arguments.limit:
            left += 1
            continue
        _send_file(path, name)
        sent, sent_bytes = sent + 1, sent_bytes + path.stat().st_size
    _line({"event": "sent", "files": sent, "left": left})


def finished(output: Path) -> Iterator[Path]:
    """Every finished print and its soft proof. Raises UsageError where no batch was rendered."""
    ledger = Ledger.peek(output)
    rows = ledger.rows()
    ledger.close()
    if not rows:
        raise UsageError(
            f"{output}: no batch was rendered there, on the machine where the cluster's jobs start."
        )
    for row in rows:
        path = output / row["output"]
        if row["status"] == "done" and path.is_file() and path.stat().st_size == row["bytes"]:
            yield path
            proof = proof_path(path)
            yield from [proof] if proof.is_file() else []


def forget(job_id: str) -> None:
    """Delete the log of an ended job, which is beside this one's: the base64 of whole prints would fill the
    head's disk."""
    if not re.fullmatch(r"render-fetch-[\w-]+", job_id):
        raise UsageError(f"--forget {job_id}: names no job of ours.")
    log = Path(os.path.realpath("/proc/self/fd/1"))  # Ray runs on Linux where clusters do
    if log.name.startswith("job-driver-"):
        log.with_name(f"job-driver-{job_id}.log").unlink(missing_ok=True)


def wait(address: str, nodes: int, seconds: float) -> None:
    """Wait until so many machines are alive. Raises UsageError when they are not in time."""
    end, found = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        found = max(found, alive(address))
        if found >= nodes:
            return
        time.sleep(1)
    raise UsageError(
        f"{address}: {found} of {nodes} machines have come within {seconds:g} s. The log above may say why."
    )


def alive(address: str) -> int:
    """Machines of the Ray there that are alive; 0 while nothing answers."""
    import ray

    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
        if not ray.is_initialized():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        return sum(node["Alive"] for node in ray.nodes())
    except (OSError, RuntimeError):  # not yet; ConnectionError is one of OSError
        return 0


def _send_file(path: Path, name: str) -> None:
    _line({"event": "print", "path": name, "bytes": path.stat().st_size, "sha256": sha256(path)})
    with open(path, "rb") as file:
        while piece := file.read(DATA_BYTES):
            _line({"event": "data", "base64": base64.b64encode(piece).decode()})


def _line(record: Mapping) -> None:
    print(json.dumps(record), flush=True)


if __name__ == "__main__":
    sys.exit(main())
