"""Runs tasks on Ray: one worker per GPU (or per few cores), one task at a time per worker. Results stream
back as they finish; dead workers are replaced.

The driver alone reads the queue and writes the output folder's ledger. A worker that sees the files works on
them in place; the others are sent their bytes.
"""

import os
import time
from collections import deque
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from render.distributed import cluster
from render.distributed.cluster import Cluster
from render.distributed.worker import (
    Actor,
    MissingFiles,
    RemoteJob,
    ReturnedFile,
    WorkerConfig,
    WorkerInfo,
    files_of,
)
from render.errors import RenderError
from render.jobs.events import JobDone, JobFailed, JobStarted, Notice, Report
from render.jobs.job import changed
from render.jobs.task import Task
from render.network.memory import TILES_PX
from render.painting import checkpoint
from render.painting.storage import Storage
from render.pictures.images import MAX_FILE_BYTES
from render.runners.batch import Stop, never
from render.runners.worker import MakeWorker
from render.system import files
from render.system.files import write_bytes

TRIES = 3  # a task whose worker died as often is given up
STALL_S = 1800.0  # a worker that is silent for longer is killed
WAIT_S = 1.0
OUT_OF_MEMORY = "ran out of memory"
STOPPING_S = 10.0  # for workers to delete half-written files


@dataclass(frozen=True)
class RayRunner:
    """Runs tasks on a cluster that is connected."""

    cluster: Cluster
    device: str
    """Of every worker, see Device.name."""
    make_worker: MakeWorker
    """Makes what runs the tasks, in every worker."""
    storage: Storage
    """In the output folder."""
    requested: int | None = None
    """How many workers; None: as many as fit."""
    cpus_per_worker: int = 1
    """Cores of a worker without a GPU."""
    memory_bytes: int | None = None
    """See WorkerConfig."""
    stall_s: float = STALL_S
    """A worker that is silent for longer is killed."""
    tries: int = TRIES
    """A task whose worker died as often is given up."""

    def run(self, tasks: Sequence[Task], report: Report, stop: Stop = never) -> None:
        """Run the tasks and report what happens to each. A task that fails does not stop the others.

        Raises RenderError when no worker can be had.
        """
        sign = cluster.sign(self.storage.checkpoints.parent)
        try:
            _Run(self, sign, tasks, report, stop).run()
        finally:
            Path(sign[0]).unlink(missing_ok=True)

    @property
    def workers(self) -> int:
        return self.requested or max(1, self.cluster.workers(self.device, self.cpus_per_worker))

    def count(self, tasks: int) -> int:
        """Workers to start: what fits, or what was requested (an autoscaling cluster then grows). More of
        them than tasks are of use only for prints of several tiles."""
        if self.requested or self.make_worker.longest_px > TILES_PX[0]:
            return self.workers
        return min(self.workers, tasks)

    def config(self, sign: tuple[str, str]) -> WorkerConfig:
        most_cpus = max(node.cpus for node in self.cluster.nodes) or 1
        share = 1.0 if self.device != "cpu" else min(1.0, self.cpus_per_worker / most_cpus)
        return WorkerConfig(
            self.device,
            self.make_worker.precision,
            self.make_worker,
            self.storage.absolute(),
            self.memory_bytes,
            share,
            self.cpus_per_worker,
            sign,
            self.stall_s,
        )


class Waiting:
    """Tasks to do. A worker gets one of a group that it has worked on, else one of a group that no worker
    has, else any: a style's targets cost about an iteration at every scale."""

    def __init__(self, tasks: Sequence[Task]):
        self.tasks = deque(tasks)

    def __len__(self) -> int:
        return len(self.tasks)

    def next_for(self, known: set[str], elsewhere: set[str]) -> Task:
        """known, elsewhere: groups that this worker and other ones have worked on."""
        for fits in (
            lambda task: task.group in known,
            lambda task: task.group not in elsewhere,
            lambda task: True,
        ):
            for i, task in enumerate(self.tasks):
                if fits(task):
                    del self.tasks[i]
                    return task
        raise LookupError("no task is waiting")

    def put_back(self, task: Task) -> None:
        self.tasks.appendleft(task)

    def keep_only(self, ids: Container[str]) -> None:
        self.tasks = deque(task for task in self.tasks if task.id in ids)


@dataclass(eq=False)
class _Running:
    """A task and the worker's events about it."""

    task: Task
    events: Iterator[ray.ObjectRef]
    unwritten: str = ""
    """Why a file of the task could not be written on the driver's side."""


@dataclass(eq=False)
class _Member:
    """A worker as the driver sees it."""

    actor: Any
    life: ray.ObjectRef
    """Ready when the worker is dead."""
    arriving: ray.ObjectRef | None
    """Ready when the worker can work; None afterwards."""
    info: WorkerInfo | None = None
    """None until it can work."""
    running: _Running | None = None
    """None while it has no task."""
    groups: set[str] = field(default_factory=set)
    """Of the tasks that it has worked on."""
    sent: set[str] = field(default_factory=set)
    """Files that it was sent and still has."""
    helps: "_Member | None" = None
    """Whose tiles it may be running, while it has no task."""
    probe: ray.ObjectRef | None = None
    """Ready when an idle worker has answered that it is still there."""
    heard_s: float = 0.0
    """When it last gave a sign of life."""
    why_killed: str = ""

    @property
    def idle(self) -> bool:
        return self.info is not None and self.running is None and self.helps is None


class _Run:
    """One batch."""

    def __init__(
        self,
        runner: RayRunner,
        sign: tuple[str, str],
        tasks: Sequence[Task],
        report: Report,
        stop: Stop = never,
    ):
        """sign: see WorkerConfig."""
        self.runner, self.report, self.stop = runner, report, stop
        self.storage = runner.storage.absolute()
        self.config = ray.put(runner.config(sign))
        self.waiting = Waiting(tasks)
        self.to_start = runner.count(len(tasks))
        self.members: list[_Member] = []
        self.deaths: dict[str, int] = {}  # workers that died of a task, by Task.id
        self.out_of_memory: dict[str, int] = {}  # how often a task's memory share was halved, by Task.id
        self.invisible: dict[str, set[str]] = {}  # paths that a node does not see, by its id
        self.none_ready_since_s = time.monotonic()
        self.failed_starts = 0  # in a row

    def run(self) -> None:
        try:
            for _ in range(self.to_start):
                self._start_worker()
            while self.waiting or any(member.running for member in self.members):
                self._hand_out()
                self._listen()
                self._watch()
        finally:
            self._end_workers()

    # ---- workers ----

    def _start_worker(self) -> None:
        gpus, cpus = (1, 0) if self.runner.device != "cpu" else (0, self.runner.cpus_per_worker)
        actor = Actor.options(num_gpus=gpus, num_cpus=cpus).remote(self.config)
        self.members.append(_Member(actor, actor.live.remote(), actor.info.remote()))

    def _listen(self) -> None:
        """Wait for news of any worker, and handle what has come."""
        sources = {}
        for member in self.members:
            events = None if member.running is None else member.running.events
            for source in (member.life, member.arriving, events):
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
            elif member.arriving is not None and source is member.arriving:
                self._arrived(member, member.arriving)
            elif member.running is not None and source is member.running.events:
                self._receive(member, member.running)

    def _arrived(self, member: _Member, arriving: ray.ObjectRef) -> None:
        try:
            member.info, member.arriving = ray.get(arriving), None
        except RayError:
            return  # its life has ended too, and that reference says so
        self.failed_starts = 0
        member.heard_s = time.monotonic()

    def _receive(self, member: _Member, running: _Running) -> None:
        """The next event of a worker's task."""
        task = running.task
        try:
            event = ray.get(next(running.events))
        except StopIteration:
            # Seen of a process without memory: Ray ends the task before it notices the death.
            member.why_killed = "died (its task ended without a result)"
            ray.kill(member.actor)
            self._lost(member, None)
            return
        except RayTaskError as error:  # not a death: a mistake of ours
            message = f"{task.ref.label}: unexpected {error.cause!r}. Please report it."
            self._finish(member, JobFailed(task.ref, message, str(error)))
            return
        except RayError as error:
            self._lost(member, error)
            return
        member.heard_s = time.monotonic()
        match event:
            case MissingFiles(paths):
                assert member.info is not None, "a worker with a task has arrived"
                self.invisible.setdefault(member.info.node, set()).update(paths)
                self._start(member, member.info, task)
            case ReturnedFile():
                self._write(running, event)
            case JobDone() if running.unwritten:
                self._finish(member, JobFailed(task.ref, running.unwritten))
            case JobFailed(out_of_memory=True):
                member.why_killed = OUT_OF_MEMORY
                ray.kill(member.actor)  # the memory that it holds cannot be freed otherwise
            case JobDone() | JobFailed():
                self._finish(member, event)
            case _:
                self.report(event)

    def _watch(self) -> None:
        """Kill workers that have been silent for longer than `stall_s`; raises RenderError when there has
        been no worker for so long."""
        now = time.monotonic()
        for member in self.members:
            if member.info is not None and member.running is None:
                self._probe(member, now)
            silent = now - member.heard_s > self.runner.stall_s
            if member.info is not None and silent and not member.why_killed:
                member.why_killed = f"gave no sign of life for {self.runner.stall_s:.0f} s"
                ray.kill(member.actor)
                # A process that hangs may not notice: a task on its machine kills it.
                ray.remote(num_cpus=0, max_retries=0)(_kill).options(
                    scheduling_strategy=NodeAffinitySchedulingStrategy(member.info.node, soft=False)
                ).remote(member.info.pid)
        if any(member.info is not None for member in self.members):
            self.none_ready_since_s = now
        elif now - self.none_ready_since_s > self.runner.stall_s:
            raise RenderError(
                f"no worker could start within {self.runner.stall_s:.0f} s: the cluster has no room. "
                f"What is finished is kept."
            )

    def _probe(self, member: _Member, now: float) -> None:
        """Ask a worker that has no task, and so no events, whether it is still there."""
        if member.probe is None and now - member.heard_s > self.runner.stall_s / 4:
            member.probe = member.actor.info.remote()
        elif member.probe is not None and ray.wait([member.probe], timeout=0)[0]:
            member.probe, member.heard_s = None, now

    def _lost(self, member: _Member, error: Exception | None) -> None:
        """A worker is dead: its task is tried again elsewhere, and another worker is started."""
        self.members.remove(member)
        for other in self.members:
            if other.helps is member:
                other.helps = None
        why = member.why_killed or _why(error)
        if member.info is None:
            self.failed_starts += 1
            if self.failed_starts >= self.runner.tries:
                raise RenderError(f"workers cannot start: {why}")
        if member.running is not None:
            self._try_again(member.running.task, why, why == OUT_OF_MEMORY)
        self._start_worker()

    def _try_again(self, task: Task, why: str, out_of_memory: bool) -> None:
        deaths = self.deaths[task.id] = self.deaths.get(task.id, 0) + 1
        # A kernel that is short of memory kills without a reason; so a task of which two workers died is
        # given less to use.
        if out_of_memory or deaths >= 2:
            self.out_of_memory[task.id] = self.out_of_memory.get(task.id, 0) + 1
        if deaths >= self.runner.tries:
            self.report(
                JobFailed(
                    task.ref,
                    f"{task.ref.label}: given up, its worker died {deaths} times; the last one {why}. Use a "
                    "smaller --memory or --size, or look into Ray's logs.",
                )
            )
            return
        self.report(Notice(task.ref, f"its worker {why}: it continues from its last checkpoint elsewhere"))
        self.waiting.put_back(task)

    def _end_workers(self) -> None:
        """Cancel what still runs, so that no half-written file is left, and end the workers."""
        busy = [(member, member.running) for member in self.members if member.running is not None]
        for member, _ in busy:
            member.actor.stop.remote()
        until = time.monotonic() + STOPPING_S
        while busy and time.monotonic() < until:
            for member, running in list(busy):
                with suppress(RayError, StopIteration):
                    ready, _ = ray.wait([running.events], timeout=0.1)
                    if not ready or not isinstance(ray.get(next(running.events)), (JobDone, JobFailed)):
                        continue
                busy.remove((member, running))
        leaving = [member.actor.clean_up.remote() for member in self.members if member.info is not None]
        if leaving:
            ray.wait(leaving, num_returns=len(leaving), timeout=STOPPING_S)
        for member in self.members:
            ray.kill(member.actor)

    # ---- tasks ----

    def _hand_out(self) -> None:
        if self.waiting and self.stop():
            self.waiting.keep_only(self.deaths)  # those that were running
        for member in [member for member in self.members if member.idle]:
            if not self.waiting or member.info is None:
                break
            elsewhere = set().union(*(other.groups for other in self.members if other is not member))
            task = self.waiting.next_for(member.groups, elsewhere)
            if task.id not in self.deaths:
                self.report(JobStarted(task.ref))
            self._start(member, member.info, task)
        if not self.waiting:
            self._assign_helpers()

    def _start(self, member: _Member, info: WorkerInfo, task: Task) -> None:
        member.heard_s = time.monotonic()
        member.groups.add(task.group)
        try:
            job = self._remote_job(member, info, task)
        except RenderError as error:
            self._finish(member, JobFailed(task.ref, f"{task.ref.label}: {error}"))
            return
        member.running = _Running(task, member.actor.run.options(num_returns="streaming").remote(job))

    def _remote_job(self, member: _Member, info: WorkerInfo, task: Task) -> RemoteJob:
        """The task with everything that the worker does not see. Raises PictureError."""
        hashes = files_of(task)
        invisible = self.invisible.get(info.node, set())
        # Of no use to the next task, so the worker does not keep it.
        own = task.own_file and os.path.abspath(task.own_file)
        contents = {
            path: ray.put(_bytes_of(path, digest))
            for path, digest in hashes.items()
            if path in invisible and (path == own or path not in member.sent)
        }
        member.sent |= contents.keys()
        stored = self.storage.checkpoint_path(task.storage_id)
        # Workers may have been started in another folder.
        task = task.with_files(lambda path: Path(os.path.abspath(path))).moved(
            Path(os.path.abspath(task.folder))
        )
        return RemoteJob(
            task,
            hashes,
            contents,
            ray.put(stored.read_bytes()) if not info.sees_output and stored.is_file() else None,
            0.5 ** self.out_of_memory.get(task.id, 0),
        )

    def _assign_helpers(self) -> None:
        """Fewer tasks than workers: those without one help with the tiles of the running ones, from their
        next scale on."""
        idle = [member for member in self.members if member.idle]
        busy = [member for member in self.members if member.running is not None]
        if not idle or not busy:
            return
        for i, helper in enumerate(idle):
            helper.helps = busy[i % len(busy)]
        for leader in busy:
            helpers = [member.actor for member in self.members if member.helps is leader]
            if helpers:
                leader.actor.set_helpers.remote(helpers)

    def _finish(self, member: _Member, event: JobDone | JobFailed) -> None:
        member.running = None
        for other in self.members:
            if other.helps is member:
                other.helps = None
        member.actor.set_helpers.remote([])
        self.report(event)

    def _write(self, running: _Running, file: ReturnedFile) -> None:
        task = running.task
        match file.kind:
            case "checkpoint":
                path = self.storage.checkpoint_path(task.storage_id)
            case "painting":
                path = self.storage.painting_path(task.storage_id)
            case "product":
                path = task.products[file.index]
        try:
            write_bytes(path, file.data)
        except RenderError as error:
            running.unwritten = str(error)
            return
        if path == task.output:
            checkpoint.forget(self.storage.checkpoints, task.storage_id)


def _bytes_of(path: str, sha256: str) -> bytes:
    """The content of a file that is sent. Raises PictureError when it has changed since the batch was
    planned."""
    content = files.read(Path(path), at_most_bytes=MAX_FILE_BYTES, what="file")
    if content.sha256 != sha256:
        raise changed(path)
    return content.data


def _kill(pid: int) -> None:
    """Runs as a task on the worker's machine."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if any(
            word.startswith("ray::") for word in process.cmdline()
        ):  # the system may have given the number to another process
            process.kill()


def _why(error: Exception | None) -> str:
    if _ran_out_of_memory(error):
        return OUT_OF_MEMORY
    return "died" if error is None else f"died ({cluster.reason(error)})"


def _error_of(source) -> Exception | None:
    try:
        ray.get(source)
    except RayError as error:
        return error


def _ran_out_of_memory(error: Exception | None) -> bool:
    return isinstance(error, OutOfMemoryError) or "(OOM)" in str(error)
