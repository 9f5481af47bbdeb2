"""A Ray actor that renders: whole jobs, or tiles of another worker's."""

import os
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import ray

from render.distributed.tile_parallel import Bench, RayCrew
from render.errors import PictureError
from render.gan.shards import Sampling, Shard
from render.jobs.events import Event, JobDone, JobFailed, Progress
from render.jobs.job import Job, sha256
from render.jobs.settings import Settings
from render.network import device
from render.painting import checkpoint
from render.painting.renderer import Keeping, TileWork
from render.runners.local import attempt, make_renderer
from render.system.files import write_bytes

PROGRESS_EVERY_S = 1.0  # a step of a small scale takes far less: 64 GPUs would drown the driver


@dataclass(frozen=True)
class Post:
    """What a worker is, sent once. device, precision: see Device; settings: of its jobs; memory_bytes: of its
    machine or GPU, None: what is free; share: the part of its machine's memory that is this worker's, on a
    CPU; threads; sign: a file in the output folder and its text, by which a worker knows that it sees that
    folder; stall_s: see RayCrew."""

    device: str
    precision: str
    settings: Settings | Sampling
    memory_bytes: int | None
    share: float
    threads: int
    sign: tuple[str, str]
    stall_s: float


@dataclass(frozen=True)
class Errand:
    """A job to be done. files: what it reads, by path: the sha256 of each; contents: those that the worker
    does not see, as references to bytes; checkpoint: the same, of the last finished scale; memory_share: less
    than 1 after it ran out."""

    job: Job
    files: Mapping[str, str]
    contents: Mapping[str, ray.ObjectRef]
    keeping: Keeping | None
    checkpoint: ray.ObjectRef | None = None
    memory_share: float = 1.0


@dataclass(frozen=True)
class Wanted:
    """Files that the worker does not see under their names."""

    paths: tuple[str, ...]


@dataclass(frozen=True)
class Brought:
    """A file that belongs on the driver's side. kind: "checkpoint", "painted", or "product": number `place`
    of the job's."""

    kind: str
    data: bytes
    place: int = 0


@dataclass(frozen=True)
class Present:
    """A worker that is ready. sees_output: whether it reads and writes the output folder in place."""

    node: str
    pid: int
    sees_output: bool


class Stopped(BaseException):
    """Raised within a job that the driver has called off."""


class Worker:
    """Used as an actor with three groups of methods: "work", one at a time; "control", which answers
    meanwhile; and "life", whose one call ends with the worker."""

    def __init__(self, post: Post):
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        self.post = post
        chosen = device.choose(
            post.device, post.precision, threads=post.threads, memory_bytes=post.memory_bytes
        )
        self.device = replace(chosen, budget=chosen.budget.part(post.share))
        self.renderer = make_renderer(self.device, post.settings, self._gather)
        self.sees_output = _reads(*post.sign)
        self.helpers: tuple = ()
        self.on_the_bench: Bench | None = None
        # The settings of a renderer's device hold for this thread, and Ray may call from others: one thread
        # of our own computes.
        self.hands = ThreadPoolExecutor(1, initializer=device.prepare, initargs=(self.device,))
        self.stopping = threading.Event()

    @cached_property
    def own(self) -> Path:
        """A folder for what travels; made only where something does."""
        return Path(tempfile.mkdtemp(prefix="render-worker-"))

    # ---- control ----

    @ray.method(concurrency_group="control")
    def present(self) -> Present:
        return Present(ray.get_runtime_context().get_node_id(), os.getpid(), self.sees_output)

    @ray.method(concurrency_group="control")
    def lend(self, helpers: Sequence) -> None:
        """Workers that may run tiles of this one's job, from its next scale on."""
        self.helpers = tuple(helpers)

    @ray.method(concurrency_group="life")
    def live(self) -> None:
        """Never returns; its reference tells of a death at once."""
        threading.Event().wait()

    @ray.method(concurrency_group="control")
    def stop(self) -> None:
        """Calls the job off; half-written files are cleared away."""
        self.stopping.set()

    @ray.method(concurrency_group="control")
    def leave(self) -> None:
        """The last call: nothing of this worker stays on its machine."""
        if "own" in self.__dict__:
            shutil.rmtree(self.own, ignore_errors=True)

    # ---- work: jobs ----

    @ray.method(concurrency_group="work")
    def render(self, errand: Errand) -> Iterator[Event | Wanted | Brought]:
        """What happens to the job, its end last. Events carry no job: the driver knows it."""
        self.on_the_bench = None
        missing = tuple(
            path
            for path, digest in errand.files.items()
            if path not in errand.contents and not _is_file(path, digest) and not self._holds(path, digest)
        )
        if missing:
            yield Wanted(missing)
            return
        try:
            job, keeping = self._here(errand)
        except PictureError as error:
            yield JobFailed(None, str(error))
            return
        for event in self._events(job, keeping, errand):
            if isinstance(event, JobDone) and not self.sees_output:
                yield from self._results(job, keeping)
                shutil.rmtree(self.own / job.id, ignore_errors=True)
            if (
                isinstance(event, (JobDone, JobFailed))
                and job.own_file is not None
                and self._travelled(job.own_file)
            ):
                shutil.rmtree(job.own_file.parent, ignore_errors=True)
            yield event if isinstance(event, Brought) else replace(event, job=None)

    def _events(self, job: Job, keeping: Keeping | None, errand: Errand) -> Iterator[Event | Brought]:
        """The job is rendered in a thread of its own, so that what happens can be passed on meanwhile."""
        events: queue.SimpleQueue = queue.SimpleQueue()
        bring_from = None if self.sees_output or keeping is None else keeping.checkpoints
        scale = told_s = 0

        def report(event: Event) -> None:
            nonlocal scale, told_s
            if self.stopping.is_set():
                raise Stopped
            if isinstance(event, Progress):
                if bring_from is not None and event.scale > max(scale, 1):
                    with suppress(FileNotFoundError):
                        events.put(
                            Brought("checkpoint", checkpoint.path_of(bring_from, job.painted).read_bytes())
                        )
                last = event.scale == event.scales and event.iteration == event.iterations
                if event.scale == scale and not last and time.monotonic() - told_s < PROGRESS_EVERY_S:
                    return
                scale, told_s = event.scale, time.monotonic()
            events.put(event)

        def work() -> None:
            try:
                device.prepare(self.device)  # the number of threads is a setting of the thread
                share = errand.memory_share
                self.renderer.device = (
                    self.device if share == 1 else device.with_less_memory(self.device, share)
                )
                events.put(attempt(self.renderer, job, keeping, report, errand.job))
            except Stopped:
                events.put(JobFailed(job, f"{job.label}: called off"))
            except BaseException as error:
                events.put(JobFailed(job, f"{job.label}: unexpected {type(error).__name__}: {error}"))
                raise

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        while True:
            event = events.get()
            yield event
            if isinstance(event, (JobDone, JobFailed)):
                thread.join()
                return

    def _here(self, errand: Errand) -> tuple[Job, Keeping | None]:
        """The job with its files where this worker sees them, and where it keeps what is unfinished."""
        here = {}
        for path, digest in errand.files.items():
            if path in errand.contents:
                here[path] = self._file_of(digest, path)
                if not here[path].exists():
                    write_bytes(here[path], ray.get(errand.contents[path]))
            else:
                here[path] = Path(path) if _is_file(path, digest) else self._file_of(digest, path)
        job, keeping = errand.job.with_files(lambda path: here[os.path.abspath(path)]), errand.keeping
        if not self.sees_output:
            place = self.own / job.id
            job = job.moved(place)
            keeping = keeping and Keeping.under(place / "kept", interval_s=keeping.interval_s)
            if keeping and errand.checkpoint is not None:
                write_bytes(checkpoint.path_of(keeping.checkpoints, job.painted), ray.get(errand.checkpoint))
        return job, keeping

    def _results(self, job: Job, keeping: Keeping | None) -> Iterator[Brought]:
        painted = [] if keeping is None else [checkpoint.path_of(keeping.painted, job.painted)]
        for kind, paths in (("painted", painted), ("product", job.products)):
            for i, path in enumerate(paths):
                if path.exists():
                    yield Brought(kind, path.read_bytes(), i)

    def _travelled(self, path: Path) -> bool:
        return "own" in self.__dict__ and self.own in path.parents

    def _file_of(self, digest: str, path: str) -> Path:
        return self.own / "files" / digest / Path(path).name

    def _holds(self, path: str, digest: str) -> bool:
        return "own" in self.__dict__ and self._file_of(digest, path).is_file()

    # ---- work: tiles ----

    @ray.method(concurrency_group="work")
    def bench_for(self, work: TileWork | None) -> None:
        """Begins a scale of somebody else's job; None ends it."""
        self.on_the_bench = work and Bench(
            self.renderer.network.with_pooling(work.pooling), work, self.device.budget
        )

    @ray.method(concurrency_group="work")
    def bench(self, name: str, *arguments):
        return self.hands.submit(getattr(self.on_the_bench, name), *arguments).result()

    def _gather(self, work: TileWork, notify, network) -> RayCrew | None:
        helpers = self.helpers[: len(work.tiles) - 1]
        if not helpers:
            return None
        return RayCrew(Bench(network, work), helpers, notify, stall_s=self.post.stall_s)


Actor = ray.remote(concurrency_groups={"work": 1, "control": 1, "life": 1}, max_restarts=0)(Worker)


def files_of(job: Job | Shard) -> dict[str, str]:
    """Every file that the job reads, by path: its sha256. Raises PictureError."""
    return {os.path.abspath(path): sha256(path) for path in job.files()}


def _is_file(path: str, digest: str) -> bool:
    try:
        return sha256(Path(path)) == digest
    except PictureError:
        return False


def _reads(path: str, text: str) -> bool:
    try:
        return Path(path).read_text() == text
    except (OSError, ValueError):
        return False
