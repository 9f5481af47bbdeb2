"""Runs jobs on this machine: in this process, or in several that share its cores."""

import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait

from render.errors import RenderError
from render.gan.rendering import ShardRenderer
from render.gan.shards import Sampling
from render.jobs.events import Event, JobDone, JobFailed, JobStarted, Notice
from render.jobs.job import Job
from render.jobs.settings import Settings
from render.network import weights
from render.network.device import Device, is_out_of_memory, prepare, with_less_memory
from render.painting.renderer import Gather, Keeping, Renderer, alone
from render.runners.batch import Stop, never
from render.system import child, interrupts

TRIES = 3  # of a job that runs out of memory

Report = Callable[[Event], None]


@dataclass(frozen=True)
class LocalRunner:
    """keeping: where unfinished jobs are kept; workers: processes, each with its share of the cores and of
    the memory."""

    device: Device
    settings: Settings | Sampling
    keeping: Keeping | None
    workers: int = 1

    def run(self, jobs: Sequence[Job], report: Report, stop: Stop = never) -> None:
        """Runs the jobs, in order, and reports what happens to each. One job's failure leaves the others
        alone.

        What ran out of memory may hold on to it: such a job is tried again, with less, in a fresh process.
        """
        if self.workers == 1:
            waiting = deque(jobs)
            failed = self._run_here(waiting, report, stop)
            if failed is not None:
                _Processes(self, report, stop).run(waiting, failed)
        else:
            workers = max(1, min(self.workers, len(jobs)))
            share = replace(
                self.device,
                threads=max(1, self.device.threads // workers),
                budget=self.device.budget.part(1 / workers),
            )
            _Processes(replace(self, device=share, workers=workers), report, stop).run(deque(jobs))

    def _run_here(self, waiting: deque[Job], report: Report, stop: Stop) -> JobFailed | None:
        """Ends early with the job that ran out of memory."""
        renderer = make_renderer(self.device, self.settings)
        while waiting and not stop():
            job = waiting.popleft()
            report(JobStarted(job))
            ended = attempt(renderer, job, self.keeping, report)
            if isinstance(ended, JobFailed) and ended.out_of_memory:
                return ended
            report(ended)
        return None


def make_renderer(
    device: Device, settings: Settings | Sampling, gather: Gather = alone
) -> Renderer | ShardRenderer:
    """What renders the jobs of these settings. gather: see Renderer."""
    prepare(device)
    if isinstance(settings, Sampling):
        return ShardRenderer(device)
    return Renderer(device, weights.load(settings.weights, preprocessing=settings.preprocessing), gather)


def attempt(
    renderer: Renderer, job: Job, keeping: Keeping | None, report: Report, asked: Job | None = None
) -> JobDone | JobFailed:
    """Renders one job; whatever goes wrong becomes an event that says so. asked: see Renderer.render."""
    try:
        return JobDone(job, renderer.render(job, keeping=keeping, report=report, asked=asked))
    except RenderError as error:
        return JobFailed(job, str(error))
    except Exception as error:
        return JobFailed(job, _explain(job, error), traceback.format_exc(), is_out_of_memory(error))


def _explain(job: Job, error: Exception) -> str:
    if is_out_of_memory(error):
        return (
            f"{job.label}: out of memory, with the smallest tiles too. Use a larger --memory, a smaller "
            f"size or fewer "
            "--workers; what is done so far is kept."
        )
    return (
        f"{job.label}: unexpected {type(error).__name__}: {error}. Please report it with the "
        f"traceback in the ledger."
    )


class _Worker:
    """Renders jobs in a process, which it starts when there is something to do and no process yet."""

    def __init__(self, runner: LocalRunner):
        self.runner = runner
        self.process, self.connection = None, None
        self.job: Job | None = None

    def give(self, job: Job, memory_share: float = 1.0) -> None:
        self.job = job
        if self.process is None:
            self.connection, theirs = Pipe()
            with interrupts.held():  # or it could be there and we not know of it
                self.process = child.start(_serve, theirs, self.runner)
            theirs.close()
        with suppress(OSError):  # it died since its last job: its end of the connection tells `hear`
            self.connection.send((job, memory_share))

    def hear(self) -> Event:
        try:
            return self.connection.recv()
        except (EOFError, OSError):  # closed, reset, or cut off within an event
            return self._death()

    def _death(self) -> JobFailed:
        self.process.join()
        code, self.process = self.process.exitcode, None
        reason = f"was killed by signal {-code} (out of memory?)" if code < 0 else f"ended with status {code}"
        return JobFailed(
            self.job,
            f"{self.job.label}: its worker process {reason}. Use fewer --workers or a smaller --size.",
        )

    def end(self) -> None:
        if self.process is not None:
            self.process.terminate()

    def wait(self) -> None:
        if self.process is not None:
            self.process.join()
            self.process = None


class _Processes:
    """Runs jobs in processes. One that dies or runs out of memory is replaced."""

    def __init__(self, runner: LocalRunner, report: Report, stop: Stop):
        self.report, self.stop = report, stop
        self.budget = runner.device.budget
        self.workers = [_Worker(runner) for _ in range(runner.workers)]
        self.ran_out: dict[str, int] = {}  # how often, by Job.id

    def run(self, waiting: deque[Job], failed: JobFailed | None = None) -> None:
        """failed: of a job that ran out of memory elsewhere and is tried again first."""
        self.waiting = waiting
        try:
            for worker in self.workers:
                if failed is None:
                    self._next(worker)
                else:
                    worker.job = failed.job
                    self._handle(worker, failed)
                    failed = None
            while busy := [worker for worker in self.workers if worker.job is not None]:
                ready = wait([worker.connection for worker in busy])
                for worker in busy:
                    if worker.connection in ready:
                        self._handle(worker, worker.hear())
        finally:
            for worker in self.workers:
                worker.end()
            for worker in self.workers:
                worker.wait()

    def _next(self, worker: _Worker) -> None:
        worker.job = None
        if self.waiting and not self.stop():
            job = self.waiting.popleft()
            self.report(JobStarted(job))
            worker.give(job)

    def _handle(self, worker: _Worker, event: Event) -> None:
        if isinstance(event, JobFailed) and event.out_of_memory and self._try_again(worker):
            return
        self.report(event)
        if isinstance(event, (JobDone, JobFailed)):
            self._next(worker)

    def _try_again(self, worker: _Worker) -> bool:
        """What it holds is not to be had back, so its process ends in any case."""
        worker.end()
        worker.wait()
        job = worker.job
        ran_out = self.ran_out[job.id] = self.ran_out.get(job.id, 0) + 1
        if ran_out == TRIES:
            return False
        share = 0.5**ran_out
        self.report(
            Notice(
                job,
                f"ran out of memory: once more, in a fresh process and with "
                f"{self.budget.part(share)} at most",
            )
        )
        worker.give(job, share)
        return True


def _leave(signum, frame):
    """Not at once: a file half written is cleared away first, and a second signal must not cut that off."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)


def _serve(connection: Connection, runner: LocalRunner) -> None:
    signal.signal(signal.SIGTERM, _leave)
    renderer = None
    try:
        while True:
            job, memory_share = connection.recv()
            try:
                renderer = renderer or make_renderer(runner.device, runner.settings)
            except RenderError as error:
                connection.send(JobFailed(job, str(error)))
                continue
            renderer.device = (
                runner.device if memory_share == 1 else with_less_memory(runner.device, memory_share)
            )
            connection.send(attempt(renderer, job, runner.keeping, connection.send))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent is gone
