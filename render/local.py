"""Runs jobs on this machine: in this process, or in several that share its cores."""

import multiprocessing
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait

from render import weights
from render.batch import Stop, never
from render.device import Device, is_out_of_memory, prepare
from render.errors import RenderError
from render.events import Event, JobDone, JobFailed, JobStarted
from render.jobs import Job, Settings
from render.pipeline import Keeping, Renderer

Report = Callable[[Event], None]


@dataclass(frozen=True)
class LocalRunner:
    """keeping: where unfinished jobs are kept; workers: processes, each with its share of the cores and of the memory."""

    device: Device
    settings: Settings
    keeping: Keeping | None
    workers: int = 1

    def run(self, jobs: Sequence[Job], report: Report, stop: Stop = never) -> None:
        """Runs the jobs, in order, and reports what happens to each. One job's failure leaves the others alone."""
        if self.workers == 1:
            renderer = make_renderer(self.device, self.settings)
            for job in jobs:
                if stop():
                    break
                report(JobStarted(job))
                report(attempt(renderer, job, self.keeping, report))
        else:
            share = replace(self.device, threads=max(1, self.device.threads // self.workers),
                            budget=self.device.budget.part(1 / self.workers))
            _run_in_processes(jobs, replace(self, device=share), report, stop)


def make_renderer(device: Device, settings: Settings) -> Renderer:
    prepare(device)
    return Renderer(device, weights.load(settings.weights, preprocessing=settings.preprocessing))


def attempt(renderer: Renderer, job: Job, keeping: Keeping | None, report: Report, asked: Job | None = None) -> JobDone | JobFailed:
    """Renders one job; whatever goes wrong becomes an event that says so. asked: see Renderer.render."""
    try:
        return JobDone(job, renderer.render(job, keeping=keeping, report=report, asked=asked))
    except RenderError as error:
        return JobFailed(job, str(error))
    except Exception as error:
        return JobFailed(job, _explain(job, error), traceback.format_exc(), is_out_of_memory(error))


def _explain(job: Job, error: Exception) -> str:
    if is_out_of_memory(error):
        return (f"{job.label}: out of memory, with the smallest tiles too. Use a larger --memory, a smaller size or fewer "
                "--workers; what is done so far is kept.")
    return f"{job.label}: unexpected {type(error).__name__}: {error}. Please report it with the traceback in the ledger."


class _Worker:
    """A process that renders jobs sent to it and sends events back."""

    def __init__(self, runner: LocalRunner):
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, runner), daemon=True)
        self.process.start()
        theirs.close()
        self.job: Job | None = None

    def give(self, job: Job) -> None:
        self.job = job
        with suppress(OSError):  # it died since its last job: its end of the connection tells `_hear`
            self.connection.send(job)

    def death(self) -> JobFailed:
        self.process.join()
        code = self.process.exitcode
        reason = f"was killed by signal {-code} (out of memory?)" if code < 0 else f"ended with status {code}"
        return JobFailed(self.job, f"{self.job.label}: its worker process {reason}. Use fewer --workers or a smaller --size.")


def _run_in_processes(jobs: Sequence[Job], runner: LocalRunner, report: Report, stop: Stop) -> None:
    waiting = iter(jobs)

    def draw() -> Job | None:
        return None if stop() else next(waiting, None)

    workers = [_Worker(runner) for _ in range(min(runner.workers, len(jobs)))]
    try:
        for worker in workers:
            _next(worker, draw(), report)
        while busy := [worker for worker in workers if worker.job is not None]:
            ready = wait([worker.connection for worker in busy])
            for i, worker in enumerate(workers):
                if worker.connection in ready:
                    workers[i] = _hear(worker, draw, runner, report)
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.join()


def _next(worker: _Worker, job: Job | None, report: Report) -> None:
    worker.job = None
    if job is not None:
        report(JobStarted(job))
        worker.give(job)


def _hear(worker: _Worker, draw: Callable[[], Job | None], runner: LocalRunner, report: Report) -> _Worker:
    """Passes on one event. Returns the worker for the next job: another one when this one died."""
    try:
        event = worker.connection.recv()
    except (EOFError, OSError):  # closed, reset, or cut off within an event
        report(worker.death())
        job = draw()
        worker = worker if job is None else _Worker(runner)
        _next(worker, job, report)
        return worker
    report(event)
    if isinstance(event, (JobDone, JobFailed)):
        _next(worker, draw(), report)
    return worker


def _serve(connection: Connection, runner: LocalRunner) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # not at once: a file half written is cleared away first
    renderer = None
    try:
        while True:
            job = connection.recv()
            try:
                renderer = renderer or make_renderer(runner.device, runner.settings)
            except RenderError as error:
                connection.send(JobFailed(job, str(error)))
                continue
            connection.send(attempt(renderer, job, runner.keeping, connection.send))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent is gone
