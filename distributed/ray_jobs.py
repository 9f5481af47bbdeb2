"""Runs jobs on Ray: a worker a GPU (or a few cores), a job a worker, results as they come; who dies is
replaced.

The driver alone reads the queue and writes the output folder's ledger. A worker that sees the files works on
them in place; to the others they travel as bytes.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from render.distributed import cluster
from render.distributed.cluster import Cluster
from render.distributed.worker import Actor, Brought, Errand, Post, Present, Wanted, files_of
from render.errors import RenderError
from render.gan.shards import Sampling
from render.jobs.events import Event, JobDone, JobFailed, JobStarted, Notice
from render.jobs.job import Job, changed
from render.jobs.settings import Settings
from render.network.memory import TILES_PX
from render.painting import checkpoint
from render.painting.checkpoint import path_of
from render.painting.renderer import Keeping
from render.pictures.images import MAX_FILE_BYTES
from render.runners.batch import Stop, never
from render.system import files
from render.system.files import write_bytes

TRIES = 3  # a job whose worker died as often is given up
STALL_S = 1800.0  # without a sign of life a worker is taken for hung
WAIT_S = 1.0
OUT_OF_MEMORY = "ran out of memory"
STOPPING_S = 10.0  # for workers to clear half-written files away

Report = Callable[[Event], None]


@dataclass(frozen=True)
class RayRunner:
    """Runs jobs on a cluster that is connected.

    keeping: in the output folder; wanted: workers (None: as many as fit); cpus_per_worker: of a worker
    without a GPU; memory_bytes: see Post; stall_s: see STALL_S; tries: see TRIES.
    """

    cluster: Cluster
    device: str
    settings: Settings | Sampling
    keeping: Keeping
    wanted: int | None = None
    cpus_per_worker: int = 1
    memory_bytes: int | None = None
    stall_s: float = STALL_S
    tries: int = TRIES

    def run(self, jobs: Sequence[Job], report: Report, stop: Stop = never) -> None:
        """Runs the jobs and reports what happens to each. One job's failure leaves the others alone.

        Raises RenderError when no worker can be had.
        """
        _Run(self, report, stop).run(jobs)

    @property
    def workers(self) -> int:
        return self.wanted or max(1, self.cluster.workers(self.device, self.cpus_per_worker))

    def count(self, jobs: int) -> int:
        """Workers to start: what fits, or what was asked for (an autoscaling cluster then grows). More of
        them than jobs are of use only for prints of several tiles."""
        return (
            self.workers if self.wanted or self.settings.longest_px > TILES_PX[0] else min(self.workers, jobs)
        )

    def post(self, sign: tuple[str, str]) -> Post:
        most_cpus = max(node.cpus for node in self.cluster.nodes) or 1
        share = 1.0 if self.device != "cpu" else min(1.0, self.cpus_per_worker / most_cpus)
        return Post(
            self.device,
            self.settings.precision,
            self.settings,
            self.memory_bytes,
            share,
            self.cpus_per_worker,
            sign,
            self.stall_s,
        )


class Waiting:
    """Jobs to do. A worker gets one whose style it has worked on, else one of a style that nobody has, else
    any: a style's targets cost about an iteration at every scale."""

    def __init__(self, jobs: Sequence[Job]):
        self.jobs = deque(jobs)

    def __len__(self) -> int:
        return len(self.jobs)

    def next_for(self, known: set[str], elsewhere: set[str]) -> Job:
        """known, elsewhere: styles (by name) that this worker and other ones have worked on."""
        for fits in (
            lambda job: job.group in known,
            lambda job: job.group not in elsewhere,
            lambda job: True,
        ):
            for i, job in enumerate(self.jobs):
                if fits(job):
                    del self.jobs[i]
                    return job
        raise LookupError("no job is waiting")

    def again(self, job: Job) -> None:
        self.jobs.appendleft(job)

    def keep_only(self, ids: Container[str]) -> None:
        self.jobs = deque(job for job in self.jobs if job.id in ids)


@dataclass(eq=False)
class _Member:
    """A worker as the driver sees it."""

    actor: object
    life: object  # ready when it is dead
    arriving: object  # ready when it can work; None afterwards
    present: Present | None = None
    job: Job | None = None
    events: object = None  # of the job
    styles: set[str] = field(default_factory=set)
    sent: set[str] = field(default_factory=set)  # files that it holds
    unwritten: str = ""  # why the job's print could not be written here
    helps: "_Member | None" = None
    asked: object = None  # whether it is still there, while it has no job and so no events
    heard_s: float = 0.0
    why_killed: str = ""

    @property
    def idle(self) -> bool:
        return self.present is not None and self.job is None and self.helps is None


class _Run:
    """One batch."""

    def __init__(self, runner: RayRunner, report: Report, stop: Stop):
        self.runner, self.report, self.stop = runner, report, stop
        self.keeping = _absolute(runner.keeping)
        self.members: list[_Member] = []
        self.deaths: dict[str, int] = {}  # by Job.id
        self.out_of_memory: dict[str, int] = {}
        self.contents: dict[str, set[str]] = {}  # paths that travel to a node, by its id
        self.idle_since_s = time.monotonic()
        self.failed_starts = 0

    def run(self, jobs: Sequence[Job]) -> None:
        self.waiting = Waiting(jobs)
        sign = cluster.sign(self.keeping.checkpoints.parent)
        self.post = ray.put(self.runner.post(sign))
        try:
            for _ in range(self.runner.count(len(jobs))):
                self._hire()
            while self.waiting or any(member.job for member in self.members):
                self._hand_out()
                self._listen()
                self._watch()
        finally:
            self._let_go()
            Path(sign[0]).unlink(missing_ok=True)

    # ---- workers ----

    def _hire(self) -> None:
        gpus, cpus = (1, 0) if self.runner.device != "cpu" else (0, self.runner.cpus_per_worker)
        actor = Actor.options(num_gpus=gpus, num_cpus=cpus).remote(self.post)
        self.members.append(_Member(actor, actor.live.remote(), actor.present.remote()))

    def _listen(self) -> None:
        """Waits for news of anybody."""
        sources = {}
        for member in self.members:
            for source in (member.life, member.arriving, member.events):
                if source is not None:
                    sources[source] = member
        ready, _ = ray.wait(list(sources), num_returns=1, timeout=WAIT_S)
        if ready:
            ready, _ = ray.wait(list(sources), num_returns=len(sources), timeout=0)
        for source in ready:
            member = sources[source]
            if member not in self.members:
                continue
            if source is member.life:
                self._lost(member, _error_of(source))
            elif source is member.arriving:
                self._arrived(member)
            elif source is member.events:
                self._hear(member)

    def _arrived(self, member: _Member) -> None:
        try:
            member.present, member.arriving = ray.get(member.arriving), None
        except ray.exceptions.RayError:
            return  # its life has ended too: that source tells
        self.failed_starts = 0
        member.heard_s = time.monotonic()

    def _hear(self, member: _Member) -> None:
        try:
            event = ray.get(next(member.events))
        except StopIteration:
            member.events = None
            return
        except ray.exceptions.RayTaskError as error:  # not a death: a mistake of ours
            self._finish(
                member,
                JobFailed(
                    member.job,
                    f"{member.job.label}: unexpected {error.cause!r}. Please report it.",
                    str(error),
                ),
            )
            return
        except ray.exceptions.RayError as error:
            self._lost(member, error)
            return
        member.heard_s = time.monotonic()
        match event:
            case Wanted(paths):
                self.contents.setdefault(member.present.node, set()).update(paths)
                self._start(member, member.job)
            case Brought():
                self._store(member, event)
            case JobDone() if member.unwritten:
                self._finish(member, JobFailed(member.job, member.unwritten))
            case JobFailed(out_of_memory=True):
                member.why_killed = OUT_OF_MEMORY
                ray.kill(member.actor)  # what it holds is not to be had back otherwise
            case JobDone() | JobFailed():
                self._finish(member, replace(event, job=member.job))
            case _:
                self.report(replace(event, job=member.job))

    def _watch(self) -> None:
        """Kills who hangs; gives up when nobody is left for long."""
        now = time.monotonic()
        for member in self.members:
            if member.present is not None and member.job is None:
                self._ask(member, now)
            if (
                member.present is not None
                and now - member.heard_s > self.runner.stall_s
                and not member.why_killed
            ):
                member.why_killed = f"gave no sign of life for {self.runner.stall_s:.0f} s"
                ray.kill(member.actor)
                # What hangs may not hear that: its machine is told too.
                ray.remote(num_cpus=0, max_retries=0)(_kill).options(
                    scheduling_strategy=NodeAffinitySchedulingStrategy(member.present.node, soft=False)
                ).remote(member.present.pid)
        if any(member.present is not None for member in self.members):
            self.idle_since_s = now
        elif now - self.idle_since_s > self.runner.stall_s:
            raise RenderError(
                f"no worker could start within {self.runner.stall_s:.0f} s: the cluster has no room. "
                f"What is finished is kept."
            )

    def _ask(self, member: _Member, now: float) -> None:
        if member.asked is None and now - member.heard_s > self.runner.stall_s / 4:
            member.asked = member.actor.present.remote()
        elif member.asked is not None and ray.wait([member.asked], timeout=0)[0]:
            member.asked, member.heard_s = None, now

    def _lost(self, member: _Member, error: Exception | None) -> None:
        """A worker is dead: its job is tried again elsewhere, and somebody else is hired."""
        self.members.remove(member)
        for other in self.members:
            if other.helps is member:
                other.helps = None
        why = member.why_killed or _why(error)
        if member.present is None:
            self.failed_starts += 1
            if self.failed_starts >= self.runner.tries:
                raise RenderError(f"workers cannot start: {why}")
        if member.job is not None:
            self._try_again(member.job, why, why == OUT_OF_MEMORY)
        self._hire()

    def _try_again(self, job: Job, why: str, out_of_memory: bool) -> None:
        deaths = self.deaths[job.id] = self.deaths.get(job.id, 0) + 1
        # A kernel that is short of memory just kills; so whoever dies twice is given less to use.
        if out_of_memory or deaths >= 2:
            self.out_of_memory[job.id] = self.out_of_memory.get(job.id, 0) + 1
        if deaths >= self.runner.tries:
            self.report(
                JobFailed(
                    job,
                    f"{job.label}: given up, its worker died {deaths} times; the last one {why}. Use a "
                    f"smaller "
                    "--memory or --size, or look into Ray's logs.",
                )
            )
            return
        self.report(Notice(job, f"its worker {why}: it goes on from its last checkpoint elsewhere"))
        self.waiting.again(job)

    def _let_go(self) -> None:
        """Calls off what still runs, so that no half-written file is left, and ends the workers."""
        busy = [member for member in self.members if member.job is not None and member.events is not None]
        for member in busy:
            member.actor.stop.remote()
        until = time.monotonic() + STOPPING_S
        while busy and time.monotonic() < until:
            for member in list(busy):
                with suppress(ray.exceptions.RayError, StopIteration):
                    ready, _ = ray.wait([member.events], timeout=0.1)
                    if not ready or not isinstance(ray.get(next(member.events)), (JobDone, JobFailed)):
                        continue
                busy.remove(member)
        leaving = [member.actor.leave.remote() for member in self.members if member.present is not None]
        if leaving:
            ray.wait(leaving, num_returns=len(leaving), timeout=STOPPING_S)
        for member in self.members:
            ray.kill(member.actor)

    # ---- jobs ----

    def _hand_out(self) -> None:
        if self.waiting and self.stop():
            self.waiting.keep_only(self.deaths)  # those that were running
        for member in [member for member in self.members if member.idle]:
            if not self.waiting:
                break
            elsewhere = set().union(*(other.styles for other in self.members if other is not member))
            job = self.waiting.next_for(member.styles, elsewhere)
            if job.id not in self.deaths:
                self.report(JobStarted(job))
            self._start(member, job)
        if not self.waiting:
            self._lend()

    def _start(self, member: _Member, job: Job) -> None:
        member.job, member.heard_s, member.unwritten = job, time.monotonic(), ""
        member.styles.add(job.group)
        try:
            wanted = files_of(job)
            travelling = self.contents.get(member.present.node, set())
            own = job.own_file and os.path.abspath(
                job.own_file
            )  # of no use to the next job, so the worker does not hold it
            contents = {
                path: ray.put(_bytes_of(path, digest))
                for path, digest in wanted.items()
                if path in travelling and (path == own or path not in member.sent)
            }
            member.sent |= contents.keys()
        except RenderError as error:
            self._finish(member, JobFailed(job, f"{job.label}: {error}"))
            return
        stored = None
        kept = path_of(self.keeping.checkpoints, job.painted)
        if not member.present.sees_output and kept.is_file():
            stored = ray.put(kept.read_bytes())
        job = job.with_files(
            lambda path: Path(os.path.abspath(path))
        )  # workers may have been started in another folder
        errand = Errand(
            job.moved(Path(os.path.abspath(job.folder))),
            wanted,
            contents,
            self.keeping,
            stored,
            0.5 ** self.out_of_memory.get(job.id, 0),
        )
        member.events = member.actor.render.options(num_returns="streaming").remote(errand)

    def _lend(self) -> None:
        """Fewer jobs than workers: those without one help with the tiles of what runs, from its next scale
        on."""
        idle = [member for member in self.members if member.idle]
        busy = [member for member in self.members if member.job is not None]
        if not idle or not busy:
            return
        for i, helper in enumerate(idle):
            helper.helps = busy[i % len(busy)]
        for leader in busy:
            helpers = [member.actor for member in self.members if member.helps is leader]
            if helpers:
                leader.actor.lend.remote(helpers)

    def _finish(self, member: _Member, event: JobDone | JobFailed) -> None:
        member.job = member.events = None
        for other in self.members:
            if other.helps is member:
                other.helps = None
        member.actor.lend.remote([])
        self.report(event)

    def _store(self, member: _Member, brought: Brought) -> None:
        job = member.job
        match brought.kind:
            case "checkpoint":
                path = path_of(self.keeping.checkpoints, job.painted)
            case "painted":
                path = path_of(self.keeping.painted, job.painted)
            case "product":
                path = job.products[brought.place]
        try:
            write_bytes(path, brought.data)
        except RenderError as error:
            member.unwritten = str(error)
            return
        if path == job.output:
            checkpoint.forget(self.keeping.checkpoints, job.painted)


def _bytes_of(path: str, sha256: str) -> bytes:
    """A file that travels. Raises PictureError when it is no longer the one that was planned with."""
    content = files.read(Path(path), at_most_bytes=MAX_FILE_BYTES, what="file")
    if content.sha256 != sha256:
        raise changed(path)
    return content.data


def _kill(pid: int) -> None:
    """Runs on the worker's machine."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if any(word.startswith("ray::") for word in process.cmdline()):  # numbers are used again
            process.kill()


def _why(error: Exception | None) -> str:
    if _ran_out_of_memory(error):
        return OUT_OF_MEMORY
    return f"died ({cluster.reason(error)})"


def _error_of(source) -> Exception | None:
    try:
        ray.get(source)
    except ray.exceptions.RayError as error:
        return error


def _ran_out_of_memory(error: Exception | None) -> bool:
    return isinstance(error, ray.exceptions.OutOfMemoryError) or "(OOM)" in str(error)


def _absolute(keeping: Keeping) -> Keeping:
    return replace(keeping, checkpoints=keeping.checkpoints.absolute(), painted=keeping.painted.absolute())
