"""One job from file to file: photograph, style images, scales, print."""

import hashlib
import math
import platform
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F

import render
from render.jobs.events import Done, Notice, Progress, Report, ignore
from render.jobs.job import Job
from render.jobs.schedule import Scale, plan_scales
from render.jobs.settings import Settings
from render.jobs.styles import Look
from render.network import optimise, weights
from render.network.device import Device, forget_freed_memory, is_out_of_memory, prepare
from render.network.features import Network
from render.network.layers import LAYERS
from render.network.memory import MemoryPlan, Scene, plan_memory
from render.network.objective import (
    ContentTarget,
    Evaluation,
    Objective,
    StyleTarget,
    TileRunner,
    Weighting,
    content_target,
    style_target,
)
from render.network.optimise import State
from render.network.tiling import Tile, borders, plan_tiles, whole
from render.network.weights import Weights
from render.painting import checkpoint
from render.painting.checkpoint import Checkpoint
from render.painting.finish import Finish, Finished, finished
from render.painting.storage import (
    Borders,
    Painting,
    Storage,
    forget_painting,
    load_painting,
    store_painting,
)
from render.pictures import color, images
from render.pictures.images import Photo
from render.pictures.paper import Layout, enough_pixels
from render.system.files import Content

DETAIL = 1.0  # share of the photograph's own detail band added to an enlarged image at the start of a scale
CACHED_TARGETS = 64  # style targets that are kept between jobs: 4.8 MB each


def weighting_of(look: Look, scale: Scale | None = None) -> Weighting:
    """What is minimised at a scale; without a scale, the look's whole objective."""
    deep = scale is None or scale.deep
    style, content = (
        layers if deep else _shallow(layers) for layers in (look.style_layers, look.content_layers)
    )
    return Weighting(
        style_layers=style,
        content_layers=content,
        # Shares are relative to their sum: the layers that stay keep the weights that they had.
        style_weight=look.style_weight * _kept_share(look, style),
        content_weight=look.content_weight,
        tv_weight=look.tv_weight,
        style_loss=look.style_loss,
        tv_form=look.tv_form,
        normalisation=look.normalisation,
        edge=look.edge,
    )


def _shallow(layers: Mapping[str, float]) -> Mapping[str, float]:
    """The layers without block 5, or all where nothing would be left."""
    kept = {
        name: weight
        for name, weight in layers.items()
        if LAYERS[name].stride_px < LAYERS["conv5_1"].stride_px
    }
    return kept if any(kept.values()) else layers


def _kept_share(look: Look, style: Mapping[str, float]) -> float:
    return 1.0 if look.normalisation == "gatys" else sum(style.values()) / sum(look.style_layers.values())


def plan(job: Job, layout: Layout) -> tuple[Scale, ...]:
    """The scales of a job."""
    return plan_scales(
        layout.picture,
        max(layout.picture),
        quality=job.settings.quality,
        style_scale=job.look.style_scale,
        cut_from=layout.crop[2:],
        on_paper=job.settings.paper is not None,
    )


def scene_of(job: Job, scale: Scale, value_bytes: int, photo_bytes: int = 0) -> Scene:
    weighting = weighting_of(job.look, scale)
    content = tuple(weighting.content_layers) if weighting.content_weight > 0 else ()
    return Scene(
        scale.size, weighting.layers, content, value_bytes, job.look.optimiser, scale.iterations, photo_bytes
    )


@dataclass(frozen=True)
class TileWork:
    """What running the tiles of a scale takes, besides their pixels."""

    scene: Scene
    tile_px: int
    """Side of a tile without its halo."""
    kept: int
    """Of how many tiles the device that leads can keep the activations; the others plan that for
    themselves."""
    style_layers: tuple[str, ...]
    """Those with any weight."""
    content_layers: tuple[str, ...]
    """Those with any weight."""
    edge: str
    pooling: str

    @classmethod
    def of(cls, scene: Scene, plan: MemoryPlan, weighting: Weighting, pooling: str) -> "TileWork":
        style = tuple(
            name for name, weight in weighting.style_layers.items() if weight * weighting.style_weight > 0
        )
        content = tuple(
            name for name, weight in weighting.content_layers.items() if weight * weighting.content_weight > 0
        )
        return cls(scene, plan.tile_px, plan.kept, style, content, weighting.edge, pooling)

    @property
    def tiles(self) -> tuple[Tile, ...]:
        return plan_tiles(self.scene.size, self.scene.layers, self.tile_px)


class Crew(TileRunner, Protocol):
    """Several devices, this one among them, that run the tiles of one scale together."""

    def moments(self, image: torch.Tensor, names: Sequence[str], tiles: Sequence[Tile]) -> StyleTarget:
        """The moments of a style image, (1, 3, H, W) in [0, 1], in the named layers."""
        ...

    @property
    def content(self) -> torch.Tensor:
        """The content image, (1, 3, H, W) in [0, 1]."""
        ...

    def content_squares(self) -> Mapping[str, float]:
        """Let the members compute and keep the content image's features of their tiles; returns the sum of
        their squares by layer."""
        ...

    def dismiss(self) -> None:
        """Free what the members keep."""
        ...


Gather = Callable[[TileWork, torch.Tensor, Callable[[str], None], Network], Crew | None]


def alone(work: TileWork, content: torch.Tensor, notify: Callable[[str], None], network: Network) -> None:
    """A Gather for a device without help."""


class Renderer:
    """Paints jobs one after another on one device, keeping the network and the style targets between them.

    A `runners.worker.Worker`.
    """

    def __init__(self, device: Device, weights: Weights, storage: Storage | None = None):
        """storage: where unfinished jobs are stored until they are done, and paintings whose colors their
        prints do not show; None: nothing is stored."""
        self.device, self.weights, self.storage = device, weights, storage
        self.gather: Gather = alone
        """gather(work, content image, notify, network): the crew for a scale of several tiles, or None for
        this device alone. notify(text): called with what a person should know."""
        self.network = weights.network(device=device.name, dtype=device.dtype)
        self._targets: OrderedDict[tuple, StyleTarget] = OrderedDict()

    def run(self, job: Job, report: Report = ignore) -> Done:
        """Paint a job and write its print. Raises RenderError for what the user can fix."""
        started = time.monotonic()
        print_, finishing, busy_s = self.finished(job, report)
        print_.write(job.output, finishing)
        if self.storage is not None:
            checkpoint.forget(self.storage.checkpoints, job.painting_id)
        seconds, size_bytes = time.monotonic() - started, job.output.stat().st_size
        return Done(seconds, size_bytes, print_.provenance["loss"], print_.findings, busy_s)

    def finished(self, job: Job, report: Report = ignore) -> tuple[Finished, Finish, float]:
        """What `run` writes, how, and the seconds in which the device worked."""
        finishing = Finish.of(job.settings)
        for profile in filter(None, (finishing.profile, finishing.soft_proof)):
            if Path(profile.name) in job.hashes:
                job.check(Path(profile.name), hashlib.sha256(profile.data).hexdigest())
        source = load_source(job, job.photo)
        photo_sha256 = source.sha256
        layout = job.settings.layout(images.probe(source))
        scales = plan(job, layout)
        painting = load_painting(self.storage, job.painting_id)
        if painting is not None and not painting.exact:
            painting = None
        if painting is None and job.settings.paper is not None and (warning := enough_pixels(layout)):
            report(Notice(job.ref, warning))
        photo, read_layout = read_photo(source, layout)
        del source
        busy_s = 0.0
        if painting is None:
            before = time.monotonic()
            painting = self._paint(job, photo, read_layout, scales, report)
            busy_s = time.monotonic() - before
            self._store(job, painting)
        provenance = self._provenance(job.original, photo_sha256, layout, scales, painting.loss)
        print_ = finished(
            painting.pixels, photo, read_layout, job.settings, provenance=provenance, borders=painting.borders
        )
        return print_, finishing, busy_s

    def _store(self, job: Job, painting: Painting) -> None:
        if self.storage is not None:
            forget_painting(self.storage, job.painting_id)
            if job.settings.changes_what_was_painted:
                store_painting(self.storage, job.painting_id, painting)

    def _paint(
        self, job: Job, photo: Photo, layout: Layout, scales: Sequence[Scale], report: Report
    ) -> Painting:
        # The last scale needs most: too little memory is reported before the first one is painted.
        plan_memory(
            scene_of(job, scales[-1], self.device.dtype.itemsize, photo.pixels.nbytes), self.device.budget
        )
        # A list, because each image is handed over and not held here: at print size every copy counts.
        state = [self._stored(job, scales)]
        total = sum(scale.pixels * scale.iterations for scale in scales)
        loss, met = math.nan, ((), ())
        for i, scale in enumerate(scales[_scale_of(state[0]) :], start=_scale_of(state[0])):
            before = sum(scale.pixels * scale.iterations for scale in scales[:i])

            def report_step(step: optimise.Step) -> None:
                nonlocal loss
                loss = step.evaluation.loss
                work = (before + scale.pixels * step.iteration) / total
                report(
                    Progress(
                        job.ref, i + 1, len(scales), scale.size, step.iteration, step.iterations, loss, work
                    )
                )

            run = ScaleRun(self, job, i, scale, photo, layout, report)
            finished = run(state.pop(), report_step)
            met = run.borders
            if self.storage is not None and i + 1 < len(scales):
                checkpoint.store(self.storage.checkpoints, job.painting_id, finished)
            state.append(finished)
            del finished
        last = state.pop()
        assert last is not None, "a job has at least one scale"
        return Painting(_rounded(last.image[0].permute(1, 2, 0).cpu().numpy()), loss, met)

    def _stored(self, job: Job, scales: Sequence[Scale]) -> Checkpoint | None:
        """Where an earlier run of the job stopped, if this version can continue from there."""
        if self.storage is None:
            return None
        stored = checkpoint.load(self.storage.checkpoints, job.painting_id)
        return stored if stored is not None and _can_continue(stored, scales) else None

    def style_target(
        self, job: Job, photo: Photo, scale: Scale, network, weighting: Weighting, tiled, moments_of=None
    ) -> StyleTarget:
        """The style images' target at a scale; kept, because many photographs share it."""
        match = job.settings.color == "match"
        key = (
            # By content: between two calls of the Python API a file may have become another picture.
            tuple((job.hashes[picture.path], picture.weight) for picture in job.style.pictures),
            scale.style_long_side_px,
            job.look.pooling,
            job.look.edge,
            tuple(weighting.style_layers.items()),
            job.hashes[job.photo] if match else None,
        )
        if key not in self._targets:
            pictures = []
            for picture in job.style.pictures:
                source = load_source(job, picture.path)
                pixels = images.read(source, long_side_px=scale.style_long_side_px).pixels
                pictures.append(
                    (tensor(color.match_colors(pixels, photo.pixels) if match else pixels), picture.weight)
                )
            self._targets[key] = style_target(network, pictures, weighting, tiled, moments_of=moments_of)
            if len(self._targets) > CACHED_TARGETS:
                self._targets.popitem(last=False)
        self._targets.move_to_end(key)
        return self._targets[key]

    def _provenance(self, job: Job, photo_sha256: str, layout: Layout, scales, loss: float) -> dict:
        return {
            "job": job.id,
            "photo": job.photo.name,
            "photo_sha256": photo_sha256,
            "style": {
                "name": job.style.name,
                "title": job.style.title,
                "author": job.style.author,
                "licence": job.style.licence,
                "pictures": [{"file": p.path.name, "weight": p.weight} for p in job.style.pictures],
            },
            "look": job.look.model_dump(mode="json"),
            "settings": job.settings.model_dump(),
            "painted": job.painting_id,
            "layout": asdict(layout),
            "scales": [
                {"height": s.size[0], "width": s.size[1], "iterations": s.iterations, "deep": s.deep}
                for s in scales
            ],
            "loss": loss,
            "weights": {"name": self.weights.name, "sha256": self.weights.sha256},
            "device": self.device.name,
            "precision": self.device.precision,
            "versions": {
                "render": render.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        }


@dataclass(frozen=True)
class MakeRenderer:
    """Makes workers that paint: a `runners.worker.MakeWorker` for jobs."""

    settings: Settings
    """Of all the jobs: which network, in which precision."""
    storage: Storage | None
    """Where the workers store unfinished jobs; None: nowhere."""

    @property
    def precision(self) -> str:
        return self.settings.precision

    @property
    def longest_px(self) -> int:
        return self.settings.longest_px

    def __call__(self, device: Device) -> Renderer:
        """Raises WeightsError."""
        prepare(device)
        found = weights.load(self.settings.weights, preprocessing=self.settings.preprocessing)
        return Renderer(device, found, self.storage)

    def with_storage(self, storage: Storage) -> "MakeRenderer":
        return replace(self, storage=storage)


class ScaleRun:
    """One scale of one job: targets, memory plan, optimisation and checkpoints."""

    def __init__(
        self,
        renderer: Renderer,
        job: Job,
        index: int,
        scale: Scale,
        photo: Photo,
        layout: Layout,
        report: Report,
    ):
        self.renderer, self.job, self.index, self.scale = renderer, job, index, scale
        self.photo, self.layout, self.report = photo, layout, report
        self.network = renderer.network.with_pooling(job.look.pooling)
        self.weighting = weighting_of(job.look, scale)
        self.scene = scene_of(job, scale, renderer.device.dtype.itemsize, photo.pixels.nbytes)
        self.plan = plan_memory(self.scene, renderer.device.budget)
        self.saved_s = time.monotonic()  # when the last checkpoint was written

    def __call__(self, at: Checkpoint | None, report_step: Callable[[optimise.Step], None]) -> Checkpoint:
        """Run the scale to its end, from where the one before ended or this one was interrupted (None: from
        the first image)."""
        if at is not None and at.facts:
            self.plan = self._as_before(_plan_in(at.facts))
        home = self.renderer.device.name if self.plan.at_home else "cpu"
        optimiser = optimise.optimiser(
            self.plan.optimiser, history=self.plan.history, carried=_on(home, at.carried if at else {})
        )
        content = tensor(images.resize(images.crop(self.photo.pixels, self.layout), self.scale.size)).to(home)
        objective = ScaleObjective(self, content)
        if at is None:
            state = State(self._first_image(content).to(home), optimiser)
        elif at.facts:
            optimiser.restore(_on(home, at.optimiser))
            state = State(at.image.to(home), optimiser, **_state_in(at.facts))
        else:
            state = State(enlarged(at.image.to(home), content, self.job.look), optimiser)
        del at, content
        self.saved_s = time.monotonic()
        try:
            image = optimise.minimise(
                objective, state, iterations=self.scale.iterations, report=report_step, between=self._store
            )
        finally:
            objective.dismiss_crew()
        return Checkpoint(self.index + 1, image, optimiser.carried)

    def _as_before(self, plan: MemoryPlan) -> MemoryPlan:
        """The interrupted run's plan, for the same bits, unless there is less memory now."""
        return (
            plan
            if plan.peak_bytes <= max(self.plan.peak_bytes, self.renderer.device.budget.device_bytes)
            else replace(self.plan, optimiser=plan.optimiser, history=min(plan.history, self.plan.history))
        )

    @property
    def borders(self) -> Borders:
        return borders(self.tiled(self.scale.size))

    def tiled(self, size: Sequence[int]) -> tuple[Tile, ...]:
        """Tiles of an image (height, width) by the memory plan as it is now."""
        layers = self.weighting.layers
        return plan_tiles(size, layers, self.plan.tile_px) if layers else whole(size)

    def notify(self, text: str) -> None:
        self.report(Notice(self.job.ref, text))

    def _store(self, state: State) -> None:
        storage = self.renderer.storage
        if storage is None or time.monotonic() - self.saved_s < storage.interval_s:
            return
        facts = {
            "plan": asdict(self.plan),
            "state": {
                "iteration": state.iteration,
                "first_loss": state.first_loss,
                "lowest": state.lowest,
                "highest": state.highest,
            },
        }
        checkpoint.store(
            storage.checkpoints,
            self.job.painting_id,
            Checkpoint(self.index, state.image, {}, state.optimiser.tensors(), facts),
        )
        self.saved_s = time.monotonic()

    def _first_image(self, content: torch.Tensor) -> torch.Tensor:
        if self.job.look.init == "content":
            return content.clone()
        if self.job.look.init == "noise":
            # Drawn on the CPU, so that every machine starts alike; as broad as photographs are.
            noise = torch.randn(
                content.shape, generator=torch.Generator().manual_seed(self.job.settings.seed)
            )
            return (0.5 + 0.2 * noise).clamp(0, 1)
        return tensor(
            images.resize(
                images.read(load_source(self.job, Path(self.job.look.init))).pixels, self.scale.size
            )
        )


class ScaleObjective:
    """What a scale minimises. When memory runs out, tiles are halved, a notice says so, and the computation
    is repeated by this device alone."""

    def __init__(self, run: ScaleRun, content: torch.Tensor):
        self._run = run
        self._crew: Crew | None = None  # while one runs the tiles
        self._objective = self._built(content)

    def __call__(self, image: torch.Tensor) -> Evaluation:
        while True:
            try:
                return self._objective(image)
            except (RuntimeError, MemoryError) as error:
                why = self._why_out_of_memory(error)
            # Outside the handler, whose traceback holds on to the tensors.
            self._halve_tiles(why)
            self._objective = self._by_this_device()

    def dismiss_crew(self) -> None:
        if self._crew is not None:
            self._crew.dismiss()
        self._crew = None

    def _built(self, content: torch.Tensor) -> Objective:
        while True:
            try:
                return self._by_all(content)
            except (RuntimeError, MemoryError) as error:
                why = self._why_out_of_memory(error)
            self._halve_tiles(why)
            self.dismiss_crew()

    def _by_all(self, content: torch.Tensor) -> Objective:
        """With a crew, if one can be had."""
        run = self._run
        crew = self._crew = self._gathered(content)
        style = run.renderer.style_target(
            run.job,
            run.photo,
            run.scale,
            run.network,
            run.weighting,
            run.tiled,
            None if crew is None else crew.moments,
        )
        if crew is not None:
            squares = ContentTarget(squares=crew.content_squares())
            return Objective(run.network, run.weighting, style, squares, runner=crew)
        return self._planned(style, content_target(run.network, content, run.weighting, run.tiled))

    def _gathered(self, content: torch.Tensor) -> Crew | None:
        run = self._run
        work = TileWork.of(run.scene, run.plan, run.weighting, run.job.look.pooling)
        if not work.scene.layers or len(work.tiles) < 2:
            return None
        return run.renderer.gather(work, content, run.notify, run.network)

    def _by_this_device(self) -> Objective:
        run, before = self._run, self._objective
        if self._crew is None:
            return self._planned(before.style, before.content)
        content = content_target(run.network, self._crew.content, run.weighting, run.tiled)
        self.dismiss_crew()
        return self._planned(before.style, content)

    def _planned(self, style: StyleTarget, content: ContentTarget) -> Objective:
        run = self._run
        return Objective(
            run.network,
            run.weighting,
            style,
            content,
            tiles=run.tiled(run.scale.size),
            kept=run.plan.kept,
        )

    def _why_out_of_memory(self, error: BaseException) -> str:
        """What the device said, in a line. Raises the error again when it is another one, or when no smaller
        tiles are left to try."""
        if not is_out_of_memory(error) or self._run.plan.halved() is None:
            raise error
        return str(error).splitlines()[0][:200]

    def _halve_tiles(self, why: str) -> None:
        run = self._run
        smaller = run.plan.halved()
        assert smaller is not None, "_why_out_of_memory has checked that"
        forget_freed_memory(run.renderer.device.name)
        run.notify(
            f"out of memory at {max(run.scale.size)} px with tiles of {run.plan.tile_px} px ({why}): "
            f"continuing with {smaller.tile_px} px"
        )
        run.plan = smaller


def _scale_of(state: Checkpoint | None) -> int:
    """The scale that is to be run next, from 0."""
    return 0 if state is None else state.scale


def _plan_in(facts: Mapping[str, Any]) -> MemoryPlan:
    """The memory plan in a checkpoint's facts. Raises KeyError, TypeError for those of another version."""
    return MemoryPlan(**facts["plan"])


def _state_in(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `optimise.State` in a checkpoint's facts. Raises KeyError, TypeError for those of another
    version."""
    if not {"iteration", "first_loss", "lowest", "highest"}.issuperset(facts["state"]):
        raise TypeError("the state has other fields")
    return facts["state"]


def _can_continue(stored: Checkpoint, scales: Sequence[Scale]) -> bool:
    """Whether this version of the program can continue from there."""
    try:
        if stored.facts:
            _plan_in(stored.facts)
            _state_in(stored.facts)
    except (KeyError, TypeError):
        return False
    return stored.scale < len(scales)


def _on(device: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: t.to(device) for name, t in tensors.items()}


def tensor(pixels: np.ndarray) -> torch.Tensor:
    """(H, W, 3) in [0, 1] -> (1, 3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]


def load_source(job: Job, path: Path) -> Content:
    """One of the job's pictures. Raises PictureError when it has changed since the job was planned."""
    source = images.load(path)
    job.check(path, source.sha256)
    return source


def read_photo(source: Content, layout: Layout) -> tuple[Photo, Layout]:
    """(the photograph, no larger than the print needs, so that a huge scan does not fill the memory; the
    layout with its crop in px of the photograph as it was read)."""
    size = images.probe(source)
    shrink = max(picture / crop for picture, crop in zip(layout.picture, layout.crop[2:]))
    if shrink >= 1:
        return images.read(source), layout
    photo = images.read(source, long_side_px=math.ceil(max(size) * shrink))
    factors = [read / full for read, full in zip(photo.size, size)] * 2
    top, left, height, width = (round(value * factor) for value, factor in zip(layout.crop, factors))
    crop = (top, left, min(height, photo.size[0] - top), min(width, photo.size[1] - left))
    return photo, replace(layout, crop=crop)


def _rounded(pixels: np.ndarray) -> np.ndarray:
    """The same array, in [0, 1], at 16 bits."""
    pixels *= 65535
    return np.divide(np.rint(pixels, out=pixels), 65535, out=pixels)


def enlarged(image: torch.Tensor, content: torch.Tensor, look: Look) -> torch.Tensor:
    """The start of a scale: the last scale's image at the new size, with the photograph's detail of the new
    octave.

    An enlarged image has no fine detail, so the loss jumps; what the photograph has there is a better guess
    than nothing (measured: BENCHMARKS.md). Without a content loss the photograph must not show.
    """
    size = content.shape[-2:]
    result = _resample(image, size)
    if look.content_weight > 0:
        low = F.interpolate(content, image.shape[-2:], mode="area")
        result.sub_(_resample(low, size), alpha=DETAIL).add_(content, alpha=DETAIL)
    return result.clamp_(0, 1)


def _resample(image: torch.Tensor, size) -> torch.Tensor:
    return F.interpolate(image, size, mode="bicubic", align_corners=False)
