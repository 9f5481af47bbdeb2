"""What a person at a terminal sees of a batch: a bar with time left, a line a job, a summary; or JSON
lines."""

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape as without_markup
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from render.jobs.events import Done, Event, JobDone, JobFailed, JobStarted, Notice, Progress
from render.jobs.ledger import findings_of
from render.jobs.task import JobRef
from render.network.memory import gibibytes
from render.runners.batch import Summary
from render.runners.deadline import Deadline
from render.wording import plain

LOG_EVERY_S = 60.0  # without a terminal: one progress line a minute


def escape(text: object) -> str:
    """Text from outside as it is printed: on one line, without control characters, and no markup to rich."""
    return without_markup(plain(text))


def duration(seconds: float) -> str:
    """ "45 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class Screen(AbstractContextManager):
    """Draws events on standard error: a bar in a terminal, else a line per minute with the state of the
    batch, even when nothing has happened, because one iteration of a huge print may take longer."""

    def __init__(
        self,
        jobs: int,
        *,
        as_json: bool = False,
        until: Deadline | None = None,
        shown: Callable[[Path], str] = str,
    ):
        """
        Args:
            jobs: how many there are.
            as_json: also write each event to standard output, one JSON object per line.
            until: when no more jobs are started.
            shown: where people find the print of a path.
        """
        self.jobs, self.as_json, self.until, self.shown = jobs, as_json, until, shown
        self.console = Console(stderr=True, highlight=False, emoji=False)
        self.started = time.monotonic()
        self.ended = self.failed = 0
        self.failures: set[str] = set()  # messages that were shown
        self.now = ""
        self.lock = threading.Lock()  # the line per minute is written by a thread of its own
        self.over = threading.Event()
        self.log = threading.Thread(target=self._log, daemon=True)
        self.shares: dict[str, float] = {}  # work done of the jobs that are running, by output
        self.bar = Bar(
            TextColumn("{task.fields[place]}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[now]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("", total=max(jobs, 1), place=f"0/{jobs}", left="", now="")

    def __enter__(self):
        if self.until is not None and self.jobs:
            self._say(f"no job is started after {self.until}")
        if self.as_json:
            print(json.dumps({"event": "begin", "jobs": self.jobs}), flush=True)
        self.bar.start()
        if self.bar.disable:
            self.log.start()
        return self

    def __exit__(self, *exc):
        self.bar.stop()
        self.over.set()

    def __call__(self, event: Event) -> None:
        if self.as_json:
            print(json.dumps(as_record(event, self.shown)), flush=True)
        with self.lock:
            self._draw(event)

    def _draw(self, event: Event) -> None:
        match event:
            case JobStarted(job):
                self.shares[str(job.output)] = 0.0
                self.now = escape(job.label)
            case Progress():
                self._progress(event)
            case JobDone(job, done):
                self._ended(job)
                word = "[yellow]done, look at it[/]" if done.findings else "[green]done[/]  "
                self._say(f"{word} {escape(self.shown(job.output))}  {duration(done.seconds)}{_loss(done)}")
                for finding in done.findings:
                    self._say(f"  {escape(finding)}")
            case Notice(job, text):
                self._say(f"[yellow]note[/]   {escape(job.label)}: {escape(text)}")
            case JobFailed(job, message, _):
                self._ended(job)
                self.failed += 1
                if message not in self.failures:  # a photograph that cannot be read fails in every style
                    self.failures.add(message)
                    self._say(f"[red]failed[/] {escape(message)}")

    def _progress(self, p: Progress) -> None:
        self.shares[str(p.job.output)] = p.work
        self.now = (
            f"{escape(p.job.label)}  scale {p.scale}/{p.scales} ({max(p.size)} px)  "
            f"{p.iteration}/{p.iterations}  loss {p.loss:.4g}"
        )
        self.bar.update(
            self.task,
            completed=self._finished(),
            place=f"{self.ended}/{self.jobs}",
            left=self._left(),
            now=self.now,
        )

    def _finished(self) -> float:
        """Jobs, with the shares of those that are running."""
        return self.ended + sum(self.shares.values())

    def _left(self) -> str:
        finished = self._finished()
        elapsed = time.monotonic() - self.started
        return (
            f"{duration(elapsed / finished * (self.jobs - finished))} left"
            if finished
            else "time left unknown"
        )

    def _log(self) -> None:
        while not self.over.wait(LOG_EVERY_S):
            with self.lock:
                now = f": {self.now}" if self.shares else ""
                failed = f" ({self.failed} failed)" if self.failed else ""
                self._say(
                    f"{datetime.now():%a %H:%M}  {self.ended}/{self.jobs} ended{failed}, "
                    f"{len(self.shares)} running, "
                    f"{self._left()}{now}"
                )

    def _ended(self, job) -> None:
        self.shares.pop(str(job.output), None)
        self.ended += 1
        self.bar.update(self.task, completed=self._finished(), place=f"{self.ended}/{self.jobs}")

    def _say(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)


def _loss(done: Done) -> str:
    return "" if done.loss is None else f", loss {done.loss:.4g}"


def as_record(event: Event, shown: Callable[[Path], str] = str) -> dict:
    """An event as a JSON object."""
    job = {"photo": str(event.job.photo), "style": event.job.style, "output": shown(event.job.output)}
    match event:
        case JobStarted():
            return {"event": "started", **job}
        case Progress() as p:
            return {
                "event": "progress",
                **job,
                "scale": p.scale,
                "scales": p.scales,
                "size": list(p.size),
                "iteration": p.iteration,
                "iterations": p.iterations,
                "loss": p.loss,
                "work": round(p.work, 4),
            }
        case JobDone(_, done):
            return {
                "event": "done",
                **job,
                "seconds": round(done.seconds, 2),
                "bytes": done.bytes,
                "loss": done.loss,
                "findings": list(done.findings),
            }
        case Notice(_, text):
            return {"event": "notice", **job, "text": text}
        case JobFailed(_, message, _):
            return {"event": "failed", **job, "message": message}


def from_record(record: dict) -> Event | None:
    """The event of which `as_record` made the record; None for a record that is of no job."""
    if "output" not in record:
        return None
    job = JobRef("", Path(record["photo"]), record["style"], Path(record["output"]))
    match record["event"]:
        case "started":
            return JobStarted(job)
        case "progress":
            return Progress(
                job,
                record["scale"],
                record["scales"],
                tuple(record["size"]),
                record["iteration"],
                record["iterations"],
                record["loss"],
                record["work"],
            )
        case "done":
            return JobDone(
                job, Done(record["seconds"], record["bytes"], record["loss"], tuple(record["findings"]))
            )
        case "notice":
            return Notice(job, record["text"])
        case "failed":
            return JobFailed(job, record["message"])


def summary_record(summary: Summary) -> dict:
    failed = [{"what": what, "why": why} for what, why in summary.failed]
    look_at = [{"output": output, "finding": finding} for output, finding in summary.look_at]
    return {
        "event": "summary",
        "done": summary.done,
        "skipped": summary.skipped,
        "left": summary.left,
        "failed": failed,
        "look_at": look_at,
        "seconds": round(summary.seconds, 2),
        "pictures_per_hour": _rounded(summary.pictures_per_hour),
        "devices_busy": _rounded(summary.devices_busy),
        **_unrecorded(summary),
    }


def _unrecorded(summary: Summary) -> dict:
    """Nothing where all is well."""
    if not summary.unrecorded:
        return {}
    return {"unrecorded": summary.unrecorded, "ledger_trouble": summary.ledger_trouble}


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 3)


def notice_record(
    summary: Summary, *, output, started: datetime, exit_status: int, interrupted: bool
) -> dict:
    """What --notify's command is told: the summary, and where, when and how the run ended."""
    return {
        **summary_record(summary),
        "output": str(output),
        "host": socket.gethostname(),
        "started": started.isoformat(timespec="seconds"),
        "ended": datetime.now().astimezone().isoformat(timespec="seconds"),
        "exit_status": exit_status,
        "interrupted": interrupted,
    }


def print_summary(summary: Summary, *, output, as_json: bool) -> None:
    if as_json:
        print(json.dumps(summary_record(summary)), flush=True)
    console = Console(stderr=True, highlight=False, emoji=False)
    _print_failures(console, summary.failed)
    for what, finding in summary.look_at:
        console.print(f"[yellow]look at[/] {escape(what)}: {escape(finding)}", soft_wrap=True)
    if summary.unrecorded:
        results = "1 result is" if summary.unrecorded == 1 else f"{summary.unrecorded} results are"
        why = escape(str(summary.ledger_trouble))
        console.print(f"[red]ledger[/] could not be written ({why}): {results} not recorded", soft_wrap=True)
    parts = [f"{summary.done} done"]
    if summary.look_at:
        parts.append(f"{len({what for what, _ in summary.look_at})} of them to look at")
    if summary.skipped:
        parts.append(f"{summary.skipped} finished earlier")
    if summary.failed:
        parts.append(f"{len(summary.failed)} failed")
    if summary.left:
        parts.append(f"{summary.left} left for the next run")
    pace = ""
    hourly, busy = summary.pictures_per_hour, summary.devices_busy
    if hourly is not None and busy is not None:
        pace = f", {hourly:.{0 if hourly >= 10 else 1}f} pictures an hour, devices busy {100 * busy:.0f} %"
    console.print(
        f"{', '.join(parts)} in {duration(summary.seconds)}{pace}: {escape(str(output))}", soft_wrap=True
    )


LISTED = 3  # jobs named beside a cause that says nothing of which they are


def causes(failed: Iterable[tuple[str, str]]) -> list[str]:
    """A line for each cause of failure, in the order of their first. failed: (what, why)."""
    grouped: dict[tuple[str, bool], list[str]] = {}
    for what, why in failed:
        cause = why.removeprefix(f"{what}: ")
        grouped.setdefault((cause, cause == why), []).append(what)
    return [_cause(cause, whats, names_its_file) for (cause, names_its_file), whats in grouped.items()]


def _cause(cause: str, whats: list[str], names_its_file: bool) -> str:
    if len(whats) > 1 and names_its_file:
        return f"{cause} ({len(whats)} prints)"
    more = f" and {len(whats) - LISTED} more" if len(whats) > LISTED else ""
    return f"{', '.join(whats[:LISTED])}{more}: {cause}"


def _print_failures(console: Console, failed: Iterable[tuple[str, str]], mark: str = "failed") -> None:
    for line in causes(failed):
        console.print(f"[red]{mark}[/] {escape(line)}", soft_wrap=True)


def print_status(rows, output) -> int:
    """What the ledger says of an output folder, for `render status`. Gives the number of jobs that failed."""
    console = _page()
    gone = [row for row in rows if row["status"] == "done" and not (output / row["output"]).exists()]
    done = [row for row in rows if row["status"] == "done" and row not in gone]
    failed = [row for row in rows if row["status"] == "failed"]
    begun = [row for row in rows if row["status"] == "running"]
    look_at = [(row, finding) for row in done for finding in findings_of(row)]
    _print_failures(
        console, [(row["output"], _without_traceback(row["message"])) for row in failed], "failed "
    )
    for row, finding in look_at:
        console.print(f"[yellow]look at[/] {escape(row['output'])}: {escape(finding)}", soft_wrap=True)
    for row in begun:
        console.print(
            f"begun   {escape(row['output'])}  {_ago(row['started_s'])}; its batch runs, or was "
            "interrupted: the same command goes on",
            soft_wrap=True,
        )
    for row in gone:
        console.print(
            f"gone    {escape(row['output'])}  was done; the same command renders it again", soft_wrap=True
        )
    console.print(
        f"{escape(str(output))}: "
        + _counts(len(done), len(failed), len(begun), {row["output"] for row, _ in look_at})
        + (f", {len(gone)} gone" if gone else ""),
        soft_wrap=True,
    )
    return len(failed)


def _without_traceback(message) -> str:
    return str(message or "").partition("\nTraceback")[0]


def _ago(started_s) -> str:
    """Whatever a damaged ledger holds in its place."""
    if not isinstance(started_s, (int, float)):
        return "at an unknown time"
    return f"{duration(time.time() - started_s)} ago"


def _counts(done: int, failed: int, running: int, look_at) -> str:
    parts = [f"{done} done", f"{failed} failed", f"{running} running"]
    return ", ".join(parts + ([f"{len(look_at)} to look at"] if look_at else []))


def print_job(name: str, state: str, tally, *, output: str | None) -> None:
    """Where a job on a cluster stands. tally: a follow.Tally."""
    console = _page()
    _print_failures(console, tally.failed, "failed ")
    for what, finding in tally.look_at:
        console.print(f"[yellow]look at[/] {escape(what)}: {escape(finding)}", soft_wrap=True)
    if tally.now is not None and tally.running:
        now = tally.now
        console.print(
            f"now     {escape(now['output'])}  scale {now['scale']}/{now['scales']} ({max(now['size'])} px)  "
            f"{now['iteration']}/{now['iterations']}  loss {now['loss']:.4g}",
            soft_wrap=True,
        )
    to_do = "" if tally.total is None else f", {tally.total} to do"
    counts = _counts(tally.done, len(tally.failed), len(tally.running), {what for what, _ in tally.look_at})
    place = "" if output is None else f": {escape(output)} on the cluster"
    console.print(f"{escape(name)} {state}{to_do}: {counts}{place}", soft_wrap=True)


def print_plan(
    costs,
    finished,
    summary: Summary,
    *,
    device,
    workers: int,
    as_json: bool,
    shown: Callable[[Path], str] = str,
) -> None:
    """What --dry-run shows. costs: [(job, estimate.Cost)]; finished: jobs that an earlier run finished."""
    total_s = sum(cost.seconds for _, cost in costs)
    memory_bytes = max((cost.memory_bytes for _, cost in costs), default=0) * min(workers, max(1, len(costs)))
    busiest = max((cost for _, cost in costs), key=lambda cost: cost.others_share, default=None)
    busy = busiest is not None and busiest.measured_busy
    if as_json:
        for job, cost in costs:
            print(
                json.dumps(
                    {
                        "event": "planned",
                        "photo": str(job.photo),
                        "style": job.style.name,
                        "output": shown(job.output),
                        "scales": [
                            {
                                "size": list(s.size),
                                "iterations": s.iterations,
                                "tiles": m.tiles,
                                "tile_px": m.tile_px,
                                "kept_tiles": m.kept,
                                "optimiser": m.optimiser,
                                "history": m.history,
                            }
                            for s, m in zip(cost.scales, cost.plans)
                        ],
                        "warning": cost.warning,
                        "seconds": round(cost.seconds, 1),
                        "memory_bytes": round(cost.memory_bytes),
                    }
                )
            )
        print(
            json.dumps(
                {
                    **summary_record(summary),
                    "event": "plan",
                    "jobs": len(costs),
                    "skipped": len(finished),
                    "seconds": round(total_s, 1),
                    "memory_bytes": round(memory_bytes),
                    "busy": busy,
                    "others_share": None if busiest is None else round(busiest.others_share, 2),
                }
            )
        )
        return
    console = _page()
    table = Table(box=None, pad_edge=False)
    for name in ("output", "scales (long side x iterations)", "last scale", "time", "memory"):
        table.add_column(name, overflow="fold")
    for job, cost in costs:
        scales = ", ".join(f"{max(s.size)}x{s.iterations}" for s in cost.scales)
        last = cost.plans[-1]
        tiles = f"{last.tiles} tiles of {last.tile_px} px, {last.kept} kept" if last.tiles > 1 else "1 tile"
        table.add_row(
            escape(shown(job.output)),
            scales,
            f"{tiles}, {last.optimiser}",
            duration(cost.seconds),
            gibibytes(cost.memory_bytes),
        )
    console.print(table)
    for job, cost in costs:
        if cost.warning:
            console.print(f"[yellow]note[/] {escape(job.label)}: {escape(cost.warning)}", soft_wrap=True)
    _print_failures(console, summary.failed, "cannot run")
    console.print(
        f"{len(costs)} to render, {len(finished)} finished earlier, {len(summary.failed)} cannot run. "
        f"About {duration(total_s)} and {gibibytes(memory_bytes)} (budget {device.budget}) on "
        f"{device.name} in {device.precision}, measured now. "
        "Nothing was rendered.",
        soft_wrap=True,
    )
    if busiest is not None and busy:
        console.print(
            f"[yellow]note[/] This machine is busy: other programs use {100 * busiest.others_share:.0f} "
            f"% of its processor. The "
            "time is a guess of what it takes when it does nothing else; until then it takes longer.",
            soft_wrap=True,
        )


def _page() -> Console:
    """Standard output; wide where it is a file or a pipe, so that no line is broken."""
    return Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 240)


def print_styles(styles) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("style", "title", "author", "licence"):
        table.add_column(name)
    for style in styles:
        table.add_row(*(escape(text) for text in (style.name, style.title, style.author, style.licence)))
    _page().print(table)


def print_style(style, look) -> None:
    console = _page()
    for key in ("name", "title", "author", "licence", "description"):
        console.print(f"{key:12} {escape(str(getattr(style, key)))}", soft_wrap=True)
    for picture in style.pictures:
        console.print(
            f"{'picture':12} {escape(str(picture.path))} (weight {picture.weight:g})", soft_wrap=True
        )
    for key, value in look.model_dump(mode="json").items():
        own = "  (set by this style)" if key in style.look else ""
        console.print(f"{key:16} {escape(str(value))}{own}", soft_wrap=True)


def print_keys(keys) -> None:
    console = _page()
    for entry in keys:
        console.print(
            f"[bold]{entry.key}[/] = {escape(json.dumps(entry.default))}   {escape(entry.range)}",
            soft_wrap=True,
        )
        console.print(f"    {escape(entry.description)}")
