"""A Ray actor that runs whole tasks, or tiles of another worker's."""

import os
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import ray
import torch

from render.distributed.tile_parallel import RayCrew, TileWorker
from render.errors import PictureError
from render.jobs.events import Event, JobDone, JobFailed, Progress
from render.jobs.job import sha256
from render.jobs.task import Task
from render.network import device
from render.network.features import Network
from render.painting.renderer import Renderer, TileWork
from render.painting.storage import Storage
from render.runners.worker import MakeWorker, attempt
from render.system.files import write_bytes

PROGRESS_EVERY_S = 1.0  # a step of a small scale takes far less: 64 GPUs would drown the driver


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker is, sent once, when it is started."""

    device: str
    """See Device.name."""
    precision: str
    """See Device.precision."""
    make_worker: MakeWorker
    """Makes what runs the tasks."""
    storage: Storage
    """In the output folder; workers that do not see that folder store unfinished work in one of their own."""
    memory_bytes: int | None
    """Memory of its machine or GPU that may be used; None: what is free."""
    share: float
    """The part of its machine's memory that is this worker's, on a CPU, in (0, 1]."""
    threads: int
    """CPU threads that it computes with."""
    sign: tuple[str, str]
    """Path and text of a file in the output folder: a worker that reads that text there sees the folder."""
    stall_s: float
    """A helper that is silent for so long is given up, see RayCrew."""


@dataclass(frozen=True)
class RemoteJob:
    """A task as it is sent to a worker."""

    task: Task
    files: Mapping[str, str]
    """sha256 of every file that the task reads, by its absolute path on the driver's machine."""
    contents: Mapping[str, ray.ObjectRef]
    """References to the bytes of those files that the worker does not see."""
    checkpoint: ray.ObjectRef | None = None
    """Reference to the bytes of the checkpoint of its last finished scale, for a worker that does not see the
    output folder."""
    memory_share: float = 1.0
    """Less than 1 after the task has run out of memory."""


@dataclass(frozen=True)
class MissingFiles:
    """Answer of a worker that does not see these files: it has to be sent their contents."""

    paths: tuple[str, ...]


@dataclass(frozen=True)
class ReturnedFile:
    """A file that belongs on the driver's side, written by a worker that does not see the output folder."""

    kind: Literal["checkpoint", "painting", "product"]
    data: bytes
    index: int = 0
    """Which of the task's products it is."""


@dataclass(frozen=True)
class WorkerInfo:
    """A worker that is ready."""

    node: str
    """Ray's id of its machine."""
    pid: int
    sees_output: bool
    """Whether it reads and writes the output folder in place."""


class Stopped(BaseException):
    """Raised within a task that the driver has canceled."""


class Worker:
    """Used as an actor with three groups of methods: "work", one at a time; "control", answered meanwhile;
    and "life", whose one call ends with the worker."""

    def __init__(self, config: WorkerConfig):
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        self.config = config
        chosen = device.choose(
            config.device, config.precision, threads=config.threads, memory_bytes=config.memory_bytes
        )
        self.device = replace(chosen, budget=chosen.budget.part(config.share))
        self.sees_output = _reads(*config.sign)
        self.storage = config.storage if self.sees_output else self._own_storage()
        self.worker = config.make_worker.with_storage(self.storage)(self.device)
        if isinstance(self.worker, Renderer):  # the only kind that has tiles to share
            self.worker.gather = self._gather
        self.helpers: tuple = ()
        self.tile_worker: TileWorker | None = None  # while this worker helps with a scale
        # The settings of a device hold for the thread that made them, and Ray may call from others: tiles are
        # computed by one thread of our own.
        self.tile_thread = ThreadPoolExecutor(1, initializer=device.prepare, initargs=(self.device,))
        self.stopping = threading.Event()

    @cached_property
    def folder(self) -> Path:
        """This worker's own folder for files that are sent; made only when there are some."""
        return Path(tempfile.mkdtemp(prefix="render-worker-"))

    @property
    def has_folder(self) -> bool:
        return "folder" in self.__dict__

    def _own_storage(self) -> Storage:
        return Storage.under(self.folder / "stored", interval_s=self.config.storage.interval_s)

    # ---- control ----

    @ray.method(concurrency_group="control")
    def info(self) -> WorkerInfo:
        return WorkerInfo(ray.get_runtime_context().get_node_id(), os.getpid(), self.sees_output)

    @ray.method(concurrency_group="control")
    def set_helpers(self, helpers: Sequence) -> None:
        """Workers that may run tiles of this one's task, from its next scale on."""
        self.helpers = tuple(helpers)

    @ray.method(concurrency_group="life")
    def live(self) -> None:
        """Never returns: its reference fails at once when the worker dies."""
        threading.Event().wait()

    @ray.method(concurrency_group="control")
    def stop(self) -> None:
        """Cancel the running task; its half-written files are deleted."""
        self.stopping.set()

    @ray.method(concurrency_group="control")
    def clean_up(self) -> None:
        """The last call: delete this worker's files from its machine."""
        if self.has_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    # ---- work: tasks ----

    @ray.method(concurrency_group="work")
    def run(self, job: RemoteJob) -> Iterator[Event | MissingFiles | ReturnedFile]:
        """What happens to the task, its end last."""
        self.tile_worker = None
        missing = tuple(
            path
            for path, digest in job.files.items()
            if path not in job.contents and not _is_file(path, digest) and not self._holds(path, digest)
        )
        if missing:
            yield MissingFiles(missing)
            return
        try:
            task = self._local(job)
        except PictureError as error:
            yield JobFailed(job.task.ref, str(error))
            return
        for event in self._events(task, job.memory_share):
            if isinstance(event, JobDone) and not self.sees_output:
                yield from self._results(task)
                shutil.rmtree(task.folder, ignore_errors=True)
                self.storage.painting_path(task.storage_id).unlink(missing_ok=True)
            if isinstance(event, (JobDone, JobFailed)):
                self._forget_own_file(task)
            yield event

    def _events(self, task: Task, memory_share: float) -> Iterator[Event | ReturnedFile]:
        """Runs the task in a thread of its own, so that what happens can be passed on meanwhile."""
        events: queue.SimpleQueue[Event | ReturnedFile] = queue.SimpleQueue()
        passed_on = _ProgressFilter()

        def report(event: Event) -> None:
            if self.stopping.is_set():
                raise Stopped
            if isinstance(event, Progress):
                if not self.sees_output and event.scale > max(passed_on.scale, 1):
                    with suppress(FileNotFoundError):
                        path = self.storage.checkpoint_path(task.storage_id)
                        events.put(ReturnedFile("checkpoint", path.read_bytes()))
                if not passed_on.takes(event):
                    return
            events.put(event)

        def work() -> None:
            try:
                device.prepare(self.device)  # the number of threads is a setting of the thread
                self.worker.device = (
                    self.device if memory_share == 1 else device.with_less_memory(self.device, memory_share)
                )
                events.put(attempt(self.worker, task, report))
            except Stopped:
                events.put(JobFailed(task.ref, f"{task.ref.label}: canceled"))
            except BaseException as error:
                events.put(
                    JobFailed(task.ref, f"{task.ref.label}: unexpected {type(error).__name__}: {error}")
                )
                raise

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        while True:
            event = events.get()
            yield event
            if isinstance(event, (JobDone, JobFailed)):
                thread.join()
                return

    def _local(self, job: RemoteJob) -> Task:
        """The task with its files where this worker sees them."""
        local = {}
        for path, digest in job.files.items():
            if path in job.contents:
                local[path] = self._file_of(digest, path)
                if not local[path].exists():
                    write_bytes(local[path], ray.get(job.contents[path]))
            else:
                local[path] = Path(path) if _is_file(path, digest) else self._file_of(digest, path)
        task = job.task.with_files(lambda path: local[os.path.abspath(path)])
        if self.sees_output:
            return task
        if job.checkpoint is not None:
            write_bytes(self.storage.checkpoint_path(task.storage_id), ray.get(job.checkpoint))
        return task.moved(self.folder / task.id)

    def _results(self, task: Task) -> Iterator[ReturnedFile]:
        painting = self.storage.painting_path(task.storage_id)
        if painting.exists():
            yield ReturnedFile("painting", painting.read_bytes())
        for i, path in enumerate(task.products):
            if path.exists():
                yield ReturnedFile("product", path.read_bytes(), i)

    def _forget_own_file(self, task: Task) -> None:
        """Deletes a file that was sent for this task alone."""
        path = task.own_file
        if path is not None and self.has_folder and self.folder in path.parents:
            shutil.rmtree(path.parent, ignore_errors=True)

    def _file_of(self, digest: str, path: str) -> Path:
        return self.folder / "files" / digest / Path(path).name

    def _holds(self, path: str, digest: str) -> bool:
        return self.has_folder and self._file_of(digest, path).is_file()

    # ---- work: tiles ----

    @ray.method(concurrency_group="work")
    def begin_tiles(self, work: TileWork | None) -> None:
        """Prepare for a scale of another worker's job; None ends that."""
        if work is None:
            self.tile_worker = None
            return
        if not isinstance(self.worker, Renderer):
            raise TypeError(f"{type(self.worker).__name__} has no tiles to run")
        network = self.worker.network.with_pooling(work.pooling)
        self.tile_worker = TileWorker(network, work, self.device.budget)

    @ray.method(concurrency_group="work")
    def run_tile(self, name: str, *arguments):
        """Call a method of the TileWorker."""
        return self.tile_thread.submit(getattr(self.tile_worker, name), *arguments).result()

    def _gather(
        self, work: TileWork, content: torch.Tensor, notify: Callable[[str], None], network: Network
    ) -> RayCrew | None:
        helpers = self.helpers[: len(work.tiles) - 1]
        if not helpers:
            return None
        return RayCrew(TileWorker(network, work), helpers, content, notify, stall_s=self.config.stall_s)


class _ProgressFilter:
    """Passes on the first and the last step of each scale, and in between one every PROGRESS_EVERY_S."""

    def __init__(self):
        self.scale = 0  # of the last step that was passed on
        self._passed_s = 0.0

    def takes(self, step: Progress) -> bool:
        last = step.scale == step.scales and step.iteration == step.iterations
        now = time.monotonic()
        if step.scale == self.scale and not last and now - self._passed_s < PROGRESS_EVERY_S:
            return False
        self.scale, self._passed_s = step.scale, now
        return True


Actor = ray.remote(  # pyright: ignore[reportCallIssue]  Ray's annotations lack actors' options
    concurrency_groups={"work": 1, "control": 1, "life": 1}, max_restarts=0
)(Worker)


def files_of(task: Task) -> dict[str, str]:
    """sha256 of every file that the task reads, by its absolute path. Raises PictureError."""
    return {os.path.abspath(path): sha256(path) for path in task.files()}


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
