"""`Painter`, which keeps the network and the style targets between pictures, and `stylize`."""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Unpack, cast, get_args, overload

from render.api import batches
from render.api.art import Art
from render.api.inputs import Picture, Store, StyleLike, style_of
from render.api.options import (
    BATCH,
    OF_THE_PAINTER,
    PAINT,
    BatchOptions,
    DeviceName,
    PaintOptions,
    Precision,
    Preprocessing,
    check_names,
    choice,
    look_of,
    named_as_arguments,
    named_or_path,
    path_text,
    settings_of,
    whole,
)
from render.errors import ArgumentError, ArgumentTypeError, BatchError, MemoryShort, RenderError, UsageError
from render.jobs import job as jobs
from render.jobs.events import Report, ignore
from render.jobs.job import Job
from render.jobs.look import Look
from render.jobs.settings import Settings
from render.jobs.styles import Style
from render.network import weights as network_weights
from render.network.device import Device, choose, is_out_of_memory
from render.network.memory import parse_bytes
from render.painting.finish import Finish
from render.painting.renderer import MakeRenderer, Renderer
from render.runners.batch import Summary


class Painter:
    """Paints photographs in styles, on one device, with one network.

    The network is loaded at the first picture and kept, and so are the style targets of the last styles. Use
    it in a `with` statement, or `close` it, to free them and its temporary folder at once; forgotten, they go
    by themselves.

    One picture is painted at a time: a call from another thread waits for its turn. Ctrl-C ends a call, and
    the painter can be used again.

    The process is changed as `torch.set_num_threads` changes it, and where there is a GPU, so are cuDNN's
    settings: the same picture at every run.

    Args:
        device: "auto" (a GPU where torch sees one), "cpu", or "cuda" for a GPU.
        precision: of the network's features: "auto" (bfloat16 where the hardware has it), "float32" or
            "bfloat16".
        memory: the most to use, as "8GiB" or in bytes; None: 80 % of what is free when a picture begins.
        weights: VGG-19's: "caffe" (embedded), "torchvision", or a .safetensors or .pth file.
        preprocessing: what a weights file was trained with, "caffe" or "torchvision"; None: as it says.

    Raises ArgumentError, ArgumentTypeError, UsageError (no such device) and, at the first picture,
    WeightsError.
    """

    def __init__(
        self,
        *,
        device: DeviceName = "auto",
        precision: Precision = "auto",
        memory: str | int | None = None,
        weights: str | os.PathLike[str] = "caffe",
        preprocessing: Preprocessing | None = None,
    ):
        with named_as_arguments():
            self._device_name = choice("device", device, get_args(DeviceName))
            self._precision = choice("precision", precision, get_args(Precision))
            self._memory_bytes = _memory_bytes(memory)
            self._weights = named_or_path("weights", weights, tuple(network_weights.SOURCES))
            if preprocessing is not None:
                choice("preprocessing", preprocessing, get_args(Preprocessing))
            self._preprocessing = preprocessing
            self._chosen()  # a device that is not there is refused now
        self._renderer: Renderer | None = None
        self._store = Store()
        self._lock, self._busy, self._closed = threading.RLock(), False, False

    def __call__(
        self,
        photo: Picture,
        style: StyleLike,
        *,
        report: Report | None = None,
        **options: Unpack[PaintOptions],
    ) -> Art:
        """Paints one photograph in one style.

        Args:
            photo: a path; an array (H, W, 3) in sRGB, as uint8, uint16 or floats in [0, 1] (which are rounded
                to 16 bits); or a PIL image, whose profile is applied. Pillow holds 8 bits of color: for 16,
                give a path or an array.
            style: a shipped name, a preset (.toml) or a picture as for `photo`; or several, as a mapping of
                paths to weights or a list of pictures or (picture, weight) pairs. Of several, the first one's
                look counts.
            report: called with each event, as `render.Progress` for each iteration.
            options: see `PaintOptions`; the keys of a look change what the style's preset says.

        Raises ArgumentError and ArgumentTypeError (naming the argument), PictureError, PresetError,
        WeightsError, DivergedError and MemoryShort: all are RenderErrors.
        """
        check_names(options, PAINT)
        listener = _listener(report)
        with self._working():
            settings = self._settings(options)
            return self._paint(photo, style, settings, options, listener)

    @overload
    def batch(
        self,
        photos: Any,
        styles: Any,
        output: None = None,
        *,
        report: Report | None = None,
        **options: Unpack[PaintOptions],
    ) -> Iterator[Art]: ...

    @overload
    def batch(
        self,
        photos: Any,
        styles: Any,
        output: str | os.PathLike[str],
        *,
        workers: int = 1,
        fresh: bool = False,
        overwrite: bool = False,
        checkpoint_every_s: float = 300.0,
        report: Report | None = None,
        **options: Unpack[BatchOptions],
    ) -> Summary: ...

    def batch(
        self,
        photos: Any,
        styles: Any,
        output: str | os.PathLike[str] | None = None,
        *,
        workers: int = 1,
        fresh: bool = False,
        overwrite: bool = False,
        checkpoint_every_s: float = 300.0,
        report: Report | None = None,
        **options: Any,
    ) -> Iterator[Art] | Summary:
        """Paints every photograph in every style, a style at a time.

        Without `output`: an iterator that paints each picture when it is asked for. What fails is left out,
        and when all the others are done BatchError names it.

        With `output`, a folder: as `render batch`, with a ledger there, so that the same call skips what is
        finished and goes on where it was interrupted; returns a Summary, in which failures are named.

        Args:
            photos: one or a list of paths (files, folders, globs), arrays and PIL images; or a mapping of
                names to them, for the names of the files.
            styles: one or a list of shipped names, presets, pictures, folders and globs, arrays and PIL
                images; a mapping or an inner list is several with weights as one (see `__call__`).
            workers: with output: processes that share a CPU's cores. They import the main module, so a script
                guards what it does: if __name__ == "__main__".
            fresh: with output: paint again what is finished.
            overwrite: with output: replace files in a print's place that render did not make.
            checkpoint_every_s: with output: what a power cut may cost at most, within a scale.
            report: called with each event.
            options: see `PaintOptions`; with output, also `BatchOptions`.

        Raises as `__call__`, and UsageError when two prints would have one name or the folder cannot be used.
        """
        check_names(options, PAINT if output is None else BATCH)
        listener = _listener(report)
        if output is None:
            with self._working():
                settings = self._settings(options)
                plan = batches.pairs(photos, styles)
            return self._each(plan, settings, options, listener)
        with self._working():
            settings = self._settings(options)
            plan = batches.FolderPlan(
                device=self._chosen(),
                settings=settings,
                look_of=lambda style: _look(style, options, self._store),
                store=self._store,
                weights_sha256=self._weights_sha256,
                output=Path(os.path.abspath(os.fsdecode(output))),
                workers=whole("workers", workers, least=1),
                fresh=fresh,
                overwrite=overwrite,
                checkpoint_every_s=checkpoint_every_s,
            )
            return plan.run(photos, styles, listener)

    def close(self) -> None:
        """Frees the network and removes the temporary folder; the painter paints no more."""
        with self._lock:
            self._closed, self._renderer = True, None
            self._store.close()

    def __enter__(self) -> "Painter":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "network loaded" if self._renderer else "network not loaded yet"
        return f"<render.Painter on {self._chosen().name}, {self._weights}, {state}>"

    # --- within ---------------------------------------------------------------------------------------------

    @contextmanager
    def _working(self) -> Iterator[None]:
        """One call at a time, files read as they are now, temporary ones removed at its end."""
        with self._lock, named_as_arguments():
            if self._closed:
                raise UsageError("this Painter is closed: make another one.")
            if self._busy:
                raise UsageError("this Painter is painting: `report` must not call it. Use another one.")
            self._busy = True
            try:
                jobs.sha256.cache_clear()
                yield
            finally:
                self._busy = False
                self._store.clear()

    def _each(
        self, plan: Sequence[tuple[Any, Any]], settings: Settings, options: Mapping, report: Report
    ) -> Iterator[Art]:
        failed = []
        for photo, style in plan:
            try:
                with self._working():
                    art = self._paint(photo, style, settings, options, report)
            except RenderError as error:
                failed.append((batches.shown(photo, style), str(error)))
            else:
                yield art
                del art  # or it would stay while the next one is painted
        if failed:
            raise BatchError(failed)

    def _paint(
        self, photo: Any, style: Any, settings: Settings, options: Mapping[str, Any], report: Report
    ) -> Art:
        job = self._job(photo, style, settings, options)
        renderer = self._ready(settings)
        short = None
        try:
            finished, _, _ = renderer.finished(job, report)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            short = str(error).partition("\n")[0]
        if short is not None:  # outside the handler, whose traceback holds on to the tensors
            raise MemoryShort(
                f"{job.ref.label}: out of memory, with the smallest tiles too ({short}). Make the Painter "
                "with a larger memory, or choose a smaller size."
            )
        return Art(finished, settings, job.sources)

    def _job(self, photo: Any, style: Any, settings: Settings, options: Mapping[str, Any]) -> Job:
        chosen = style if isinstance(style, Style) else style_of(style, self._store)
        path = self._store.path_of(photo, "photo")
        look = _look(chosen, options, self._store)
        return jobs.make_job(
            path, chosen, look, settings, Path("art.png"), weights_sha256=self._weights_sha256
        )

    @cached_property
    def _weights_sha256(self) -> str:
        return network_weights.fingerprint(self._weights)

    def _settings(self, options: Mapping[str, Any]) -> Settings:
        settings = settings_of(
            options,
            weights=self._weights,
            preprocessing=self._preprocessing,
            precision=self._chosen().precision,
        )
        Finish.of(settings)
        return settings

    def _chosen(self) -> Device:
        return choose(self._device_name, self._precision, memory_bytes=self._memory_bytes)

    def _ready(self, settings: Settings) -> Renderer:
        """With the network loaded, and the memory that there is now."""
        device = self._chosen()
        if self._renderer is None:
            self._renderer = MakeRenderer(settings, None)(device)
        self._renderer.device = device
        return self._renderer


def _look(style: Style, options: Mapping[str, Any], store: Store) -> Look:
    given = dict(options)
    start = given.get("init")
    if "init" in given and not (isinstance(start, str) and start in ("content", "noise")):
        path = store.path_of(start, "init")
        if not path.exists():
            raise ArgumentError(f"init is content, noise or a picture, and there is no file '{start}'.")
        given["init"] = str(path)
    return look_of(style.look, given)


def _listener(report: Any) -> Report:
    if report is None:
        return ignore
    if not callable(report):
        raise ArgumentTypeError(f"report is {report!r} and must be a function of one event, or None.")
    return cast(Report, report)


def _memory_bytes(memory: Any) -> int | None:
    if memory is None:
        return None
    if isinstance(memory, str):
        return parse_bytes(memory)
    if isinstance(memory, bool) or not isinstance(memory, int):
        raise ArgumentTypeError(f"memory is {memory!r} and must be a text like '8GiB', or whole bytes.")
    return whole("memory", memory, least=10**6)


# --- without a painter --------------------------------------------------------------------------------------


def stylize(
    photo: Picture,
    style: StyleLike,
    *,
    device: DeviceName = "auto",
    precision: Precision = "auto",
    memory: str | int | None = None,
    weights: str | os.PathLike[str] = "caffe",
    preprocessing: Preprocessing | None = None,
    report: Report | None = None,
    **options: Unpack[PaintOptions],
) -> Art:
    """Paints one photograph in one style: see `Painter` for the first keywords and its `__call__` for the
    others.

    The painter of the last call is kept until the process ends, so that the next one with the same device,
    precision, memory and weights does not load the network again. Make a `Painter` of your own to decide how
    long it stays.
    """
    check_names(options, (*PAINT, *OF_THE_PAINTER))
    of_the_painter = (device, precision, memory, path_text("weights", weights), preprocessing)
    for name, value in zip(OF_THE_PAINTER, of_the_painter):
        if not isinstance(value, str | int | None):
            raise ArgumentTypeError(f"{name} is {value!r} and must be a text.")
    return _kept(*of_the_painter)(photo, style, report=report, **options)


@lru_cache(maxsize=1)
def _kept(device, precision, memory, weights, preprocessing) -> Painter:
    return Painter(
        device=device, precision=precision, memory=memory, weights=weights, preprocessing=preprocessing
    )
