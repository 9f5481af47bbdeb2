"""Runs tasks on this machine: in this process, or in several that share its cores."""

import signal
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import NamedTuple

from render.errors import RenderError
from render.jobs.events import Event, JobDone, JobFailed, JobStarted, Notice, Report
from render.jobs.task import Task
from render.network.device import Device, with_less_memory
from render.runners.batch import Stop, never
from render.runners.worker import MakeWorker, attempt
from render.system import child, interrupts

TRIES = 3  # of a task that runs out of memory


@dataclass(frozen=True)
class LocalRunner:
    """Runs tasks in this process, or in `workers` processes."""

    device: Device
    make_worker: MakeWorker
    """Makes the worker of each process."""
    workers: int = 1
    """Processes, each with its share of the device's cores and memory."""

    def run(self, tasks: Sequence[Task], report: Report, stop: Stop = never) -> None:
        """Run the tasks, in order, and report what happens to each. A task that fails does not stop the
        others.

        A process that ran out of memory may not get it back: its task is tried again, with less, in a fresh
        process. Raises RenderError when no worker can be made in this process.
        """
        if self.workers == 1:
            waiting = deque(tasks)
            failed = self._run_here(waiting, report, stop)
            if failed is not None:
                _Processes(self, waiting, report, stop).run(failed)
        else:
            workers = max(1, min(self.workers, len(tasks)))
            share = replace(
                self.device,
                threads=max(1, self.device.threads // workers),
                budget=self.device.budget.part(1 / workers),
            )
            _Processes(replace(self, device=share, workers=workers), deque(tasks), report, stop).run()

    def _run_here(self, waiting: deque[Task], report: Report, stop: Stop) -> "_RanOut | None":
        """Ends early with the task that ran out of memory."""
        worker = self.make_worker(self.device)
        while waiting and not stop():
            task = waiting.popleft()
            report(JobStarted(task.ref))
            ended = attempt(worker, task, report)
            if isinstance(ended, JobFailed) and ended.out_of_memory:
                return _RanOut(task, ended)
            report(ended)
        return None


class _RanOut(NamedTuple):
    """A task that ran out of memory, and the event that says so."""

    task: Task
    event: JobFailed


class _Process(NamedTuple):
    """A running worker process and the connection to it."""

    process: BaseProcess
    connection: Connection

    @classmethod
    def start(cls, runner: LocalRunner) -> "_Process":
        connection, theirs = Pipe()
        with interrupts.held():  # or it could be running without our knowing of it
            process = child.start(_serve, theirs, runner)
        theirs.close()
        return cls(process, connection)


class _Slot:
    """A place for one worker process, which is started when there is a task and no process."""

    def __init__(self, runner: LocalRunner):
        self.runner = runner
        self.process: _Process | None = None  # while one is running
        self.task: Task | None = None  # while one is being worked on

    def give(self, task: Task, memory_share: float = 1.0) -> None:
        self.task = task
        if self.process is None:
            self.process = _Process.start(self.runner)
        with suppress(OSError):  # it died since its last task: reading from the connection shows it
            self.process.connection.send((task, memory_share))

    def end(self) -> None:
        if self.process is not None:
            self.process.process.terminate()

    def join(self) -> None:
        if self.process is not None:
            self.process.process.join()
            self.process = None


class _Busy(NamedTuple):
    """A slot whose process is working on a task."""

    slot: _Slot
    task: Task
    process: _Process

    def receive(self) -> Event:
        """What the process reports, or that it has died."""
        try:
            return self.process.connection.recv()
        except (EOFError, OSError):  # closed, reset, or cut off within an event
            return self._death()

    def _death(self) -> JobFailed:
        self.slot.join()
        code = self.process.process.exitcode
        if code is not None and code < 0:
            reason = f"was killed by signal {-code} (out of memory?)"
        else:
            reason = f"ended with status {code}"
        return JobFailed(
            self.task.ref,
            f"{self.task.ref.label}: its worker process {reason}. Use fewer --workers or a smaller --size.",
        )


class _Processes:
    """Runs tasks in processes. One that dies or runs out of memory is replaced."""

    def __init__(self, runner: LocalRunner, waiting: deque[Task], report: Report, stop: Stop):
        self.waiting, self.report, self.stop = waiting, report, stop
        self.budget = runner.device.budget
        self.slots = [_Slot(runner) for _ in range(runner.workers)]
        self.ran_out: dict[str, int] = {}  # how often a task ran out of memory, by Task.id

    def run(self, failed: _RanOut | None = None) -> None:
        """failed: a task that ran out of memory in another process and is tried again first."""
        try:
            slots = iter(self.slots)
            if failed is not None:
                self._handle(next(slots), failed.task, failed.event)
            for slot in slots:
                self._start_next(slot)
            while busy := list(self._busy()):
                ready = wait([each.process.connection for each in busy])
                for each in busy:
                    if each.process.connection in ready:
                        self._handle(each.slot, each.task, each.receive())
        finally:
            for slot in self.slots:
                slot.end()
            for slot in self.slots:
                slot.join()

    def _busy(self) -> Iterable[_Busy]:
        for slot in self.slots:
            if slot.task is not None and slot.process is not None:
                yield _Busy(slot, slot.task, slot.process)

    def _start_next(self, slot: _Slot) -> None:
        slot.task = None
        if self.waiting and not self.stop():
            task = self.waiting.popleft()
            self.report(JobStarted(task.ref))
            slot.give(task)

    def _handle(self, slot: _Slot, task: Task, event: Event) -> None:
        if isinstance(event, JobFailed) and event.out_of_memory and self._try_again(slot, task):
            return
        self.report(event)
        if isinstance(event, (JobDone, JobFailed)):
            self._start_next(slot)

    def _try_again(self, slot: _Slot, task: Task) -> bool:
        """Whether the task has been started again. Its process is ended in any case, because the memory that
        it holds cannot be freed otherwise."""
        slot.end()
        slot.join()
        ran_out = self.ran_out[task.id] = self.ran_out.get(task.id, 0) + 1
        if ran_out == TRIES:
            return False
        share = 0.5**ran_out
        self.report(
            Notice(
                task.ref,
                "ran out of memory: once more, in a fresh process and with "
                f"{self.budget.part(share)} at most",
            )
        )
        slot.give(task, share)
        return True


def _exit(signum, frame):
    """Not at once: a half-written file is deleted first, and a second signal must not cut that off."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)


def _serve(connection: Connection, runner: LocalRunner) -> None:
    """The worker process: runs every task that it receives, until the parent is gone."""
    signal.signal(signal.SIGTERM, _exit)
    worker = None
    try:
        while True:
            task, memory_share = connection.recv()
            try:
                worker = worker or runner.make_worker(runner.device)
            except RenderError as error:
                connection.send(JobFailed(task.ref, str(error)))
                continue
            worker.device = (
                runner.device if memory_share == 1 else with_less_memory(runner.device, memory_share)
            )
            connection.send(attempt(worker, task, connection.send))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent is gone
