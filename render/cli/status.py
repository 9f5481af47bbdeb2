"""`render status`: what is done, failed and running, in a folder or of a job on a cluster."""

from pathlib import Path

from render.cli.arguments import Option, Parser
from render.cli.messages import complain
from render.cli.options import CLUSTER_ADDRESS
from render.errors import RenderError, UsageError
from render.wording import plain

OPTIONS = (
    Option("what", "The output folder of a batch; with --address, the name of a job.", metavar="OUTPUT|JOB"),
    CLUSTER_ADDRESS,
    Option("--follow", "Show the job's progress until it ends.", False, kind="flag"),
    Option("--logs", "Show what the job itself has printed.", False, kind="flag"),
    Option(
        "--fetch",
        "Bring the finished prints that are not there yet to this folder.",
        parse=Path,
        metavar="FOLDER",
    ),
)


def add(commands: Parser) -> None:
    commands.command(
        "status",
        "show what is done, failed and running, in a folder or of a job on a cluster",
        "render status prints/\n"
        "  render status --address http://localhost:8265 render-20260801-213000-1a2b --fetch prints/",
        _fill,
    )


def _fill(parser: Parser) -> None:
    parser.add(*OPTIONS)
    parser.set_defaults(command=_status, only_reports=True)


def _status(arguments) -> int:
    from render.cli import screen
    from render.jobs.ledger import Ledger

    if arguments.address is not None:
        return _job_status(arguments)
    if arguments.follow or arguments.logs or arguments.fetch:
        raise UsageError(
            "--follow, --logs and --fetch are for a job on a cluster: name it with --address "
            "http://localhost:8265."
        )
    ledger = Ledger.peek(Path(arguments.what))
    rows = ledger.rows()
    ledger.close()
    if not rows:
        raise UsageError(
            f"{arguments.what}: no batch was rendered there. Name its --output folder, or a job with "
            f"--address."
        )
    return 1 if screen.print_status(rows, Path(arguments.what)) else 0


def _job_status(arguments) -> int:
    from render.cli import screen
    from render.distributed import follow
    from render.distributed.jobs_api import Dashboard

    cluster, name = Dashboard(arguments.address), arguments.what
    job = cluster.job(name)
    if arguments.logs:
        for line in cluster.lines(name) if arguments.follow else cluster.log(name).splitlines():
            print(plain(line), flush=True)
        status = _ended_status(cluster.job(name))
    elif arguments.follow:
        status = follow_job(cluster, name)
    else:
        tally = follow.tally_of(cluster.log(name))
        screen.print_job(name, job.status.lower(), tally, output=(job.metadata or {}).get("output"))
        status = _job_verdict(job, tally)
    if arguments.fetch is not None:
        brought = 0
        for path in follow.fetch(cluster, name, arguments.fetch):
            print(f"fetched {plain(path)}", flush=True)
            brought += 1
        print(f"{brought} files fetched; {plain(arguments.fetch)} holds every print that is finished")
    return status


def follow_job(cluster, name: str) -> int:
    """Draws the job's events as if it ran here."""
    from render.cli import screen
    from render.distributed import follow

    tally = follow.Tally()
    records = (record for record in map(tally.add, cluster.lines(name)) if record is not None)
    begin = next((record for record in records if record["event"] == "begin"), None)
    if begin is not None:
        with screen.Screen(begin["jobs"]) as drawn:
            for event in filter(None, map(screen.from_record, records)):
                drawn(event)
    job = follow.ended(cluster, name)
    screen.print_job(name, job.status.lower(), tally, output=(job.metadata or {}).get("output"))
    return _job_verdict(job, tally)


def _job_verdict(job, tally) -> int:
    from render.distributed import follow

    if job.status.is_terminal() and tally.summary is None:
        return complain(
            RenderError(
                f"{job.submission_id}: ended before its batch did: {follow.why_it_failed(job, tally)}"
            ),
            1,
        )
    return 1 if tally.failed else _ended_status(job)


def _ended_status(job) -> int:
    return 1 if job.status in ("FAILED", "STOPPED") else 0
