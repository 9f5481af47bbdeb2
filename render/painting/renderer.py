"""One job from file to file: photograph, style pictures, scales, print."""

import hashlib
import math
import platform
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F

import render
from render.jobs.events import Done, Event, Notice, Progress
from render.jobs.job import Job
from render.jobs.schedule import Scale, plan_scales
from render.jobs.styles import Look
from render.network import optimise
from render.network.device import Device, forget_freed_memory, is_out_of_memory
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
from render.pictures import color, images
from render.pictures.images import Photo
from render.pictures.paper import Layout, enough_pixels
from render.system.files import Content

DETAIL = 1.0  # share of the photograph's own detail band added to an enlarged image at the start of a scale
CACHED_TARGETS = 64  # style targets kept: 4.8 MB each

Report = Callable[[Event], None]


def weighting_of(look: Look, scale: Scale | None = None) -> Weighting:
    """What is minimised at a scale; without one, the look's whole objective."""
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
    """Without block 5, unless nothing would be left."""
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


@dataclass(frozen=True, eq=False)
class Painted:
    """pixels: (H, W, 3) float32 in [0, 1] as the optimiser left them, rounded to 16 bits, so that it is the
    same whether they were kept or not; borders: where tiles met, (rows, columns); exact: False where they
    were read from a print that shows them less finely, which is good enough for other colours of that print
    only."""

    pixels: np.ndarray
    loss: float
    borders: tuple[tuple[int, ...], tuple[int, ...]]
    exact: bool = True


@dataclass(frozen=True)
class Keeping:
    """Where unfinished and painted pictures are kept. interval_s: between checkpoints within a scale."""

    checkpoints: Path
    painted: Path
    interval_s: float = 300.0

    @classmethod
    def under(cls, folder: Path, *, interval_s: float = 300.0) -> "Keeping":
        return cls(folder / "checkpoints", folder / "painted", interval_s)


@dataclass(frozen=True)
class TileWork:
    """What running the tiles of a scale takes, besides their pixels. kept: of how many tiles the device that
    asks can keep the activations; others plan that for themselves."""

    scene: Scene
    tile_px: int
    kept: int
    style_layers: tuple[str, ...]
    content_layers: tuple[str, ...]
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
        """Of a style picture."""

    def content_squares(self, content: torch.Tensor) -> Mapping[str, float]:
        """Has the members hold the content's features of their tiles; the sum of their squares by layer."""

    def dismiss(self) -> None: ...


Gather = Callable[[TileWork, Callable[[str], None], Network], Crew | None]


def alone(*_) -> None:
    """No crew: a Gather."""


class Renderer:
    """Renders jobs one after another on one device, keeping the network and the style targets between them.

    gather(work, notify, network): the crew for a scale of several tiles; None: this device alone.
    """

    def __init__(self, device: Device, weights: Weights, gather: Gather = alone):
        self.device, self.weights, self.gather = device, weights, gather
        self.network = weights.network(device=device.name, dtype=device.dtype)
        self._targets: OrderedDict[tuple, StyleTarget] = OrderedDict()

    def render(
        self,
        job: Job,
        *,
        keeping: Keeping | None = None,
        report: Report = lambda event: None,
        asked: Job | None = None,
    ) -> Done:
        """Renders a job and writes its print.

        keeping: where unfinished work is kept until the job is done, and painted pictures whose colours the
        print does not show; asked: the job that the print tells of, when this one's files are copies of that
        one's. Raises RenderError for what the user can mend.
        """
        started = time.monotonic()
        print_, how, busy_s = self.finished(job, keeping=keeping, report=report, asked=asked)
        print_.write(job.output, how)
        if keeping is not None:
            checkpoint.forget(keeping.checkpoints, job.painted)
        seconds, size_bytes = time.monotonic() - started, job.output.stat().st_size
        return Done(seconds, size_bytes, print_.provenance["loss"], print_.findings, busy_s)

    def finished(
        self,
        job: Job,
        *,
        keeping: Keeping | None = None,
        report: Report = lambda event: None,
        asked: Job | None = None,
    ) -> tuple[Finished, Finish, float]:
        """What `render` writes, how, and the seconds in which the device painted it."""
        how = Finish.of(job.settings)
        for profile in filter(None, (how.profile, how.soft_proof)):
            if Path(profile.name) in job.hashes:
                job.check(Path(profile.name), hashlib.sha256(profile.data).hexdigest())
        source = load_source(job, job.photo)
        layout = job.settings.layout(images.probe(source))
        scales = plan(job, layout)
        painted = load_painted(keeping, job.painted)
        if painted is not None and not painted.exact:
            painted = None
        if painted is None and job.settings.paper is not None and (warning := enough_pixels(layout)):
            report(Notice(job, warning))
        photo, read_layout = read_photo(source, layout)
        photo_sha256 = source.sha256
        del source
        busy_s = 0.0
        if painted is None:
            before = time.monotonic()
            painted = self._paint(job, photo, read_layout, scales, keeping, report)
            busy_s = time.monotonic() - before
            if keeping is not None:
                forget_painted(keeping, job.painted)
                if job.settings.changes_what_was_painted:
                    store_painted(keeping, job.painted, painted)
        provenance = self._provenance(asked or job, photo_sha256, layout, scales, painted.loss)
        print_ = finished(
            painted.pixels, photo, read_layout, job.settings, provenance=provenance, borders=painted.borders
        )
        return print_, how, busy_s

    def _paint(self, job, photo: Photo, layout: Layout, scales, keeping, report) -> Painted:
        # The last scale needs most: too little memory is told before the first one is painted.
        plan_memory(
            scene_of(job, scales[-1], self.device.dtype.itemsize, photo.pixels.nbytes), self.device.budget
        )
        stored = checkpoint.load(keeping.checkpoints, job.painted) if keeping is not None else None
        if stored is not None and not _goes_on(stored, scales):
            stored = None
        # Handed over and not held here: at print size each image counts.
        places = [stored or Checkpoint(0, None)]
        del stored
        total = sum(scale.pixels * scale.iterations for scale in scales)
        loss = math.nan
        for i, scale in enumerate(scales[places[0].scale :], start=places[0].scale):
            before = sum(scale.pixels * scale.iterations for scale in scales[:i])

            def tell(step: optimise.Step) -> None:
                nonlocal loss
                loss = step.evaluation.loss
                work = (before + scale.pixels * step.iteration) / total
                report(
                    Progress(job, i + 1, len(scales), scale.size, step.iteration, step.iterations, loss, work)
                )

            run = ScaleRun(self, job, i, scale, photo, layout, keeping, report)
            places.append(run(places.pop(), tell))
            if keeping is not None and i + 1 < len(scales):
                checkpoint.store(keeping.checkpoints, job.painted, places[0])
        image = places.pop().image
        return Painted(_rounded(image[0].permute(1, 2, 0).cpu().numpy()), loss, run.borders)

    def style_target(
        self, job: Job, photo: Photo, scale: Scale, network, weighting: Weighting, tiled, moments_of=None
    ) -> StyleTarget:
        """Of the style pictures at a scale; kept, because many photographs share it."""
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
                    (tensor(color.match_colours(pixels, photo.pixels) if match else pixels), picture.weight)
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
            "settings": asdict(job.settings),
            "painted": job.painted,
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


class ScaleRun:
    """One scale of one job: targets, memory plan, optimisation, checkpoints, and smaller tiles when memory
    runs out."""

    def __init__(
        self,
        renderer: Renderer,
        job: Job,
        index: int,
        scale: Scale,
        photo: Photo,
        layout: Layout,
        keeping: Keeping | None,
        report: Report,
    ):
        self.renderer, self.job, self.index, self.scale = renderer, job, index, scale
        self.photo, self.layout, self.keeping, self.report = photo, layout, keeping, report
        self.network = renderer.network.with_pooling(job.look.pooling)
        self.weighting = weighting_of(job.look, scale)
        self.scene = scene_of(job, scale, renderer.device.dtype.itemsize, photo.pixels.nbytes)
        self.plan = plan_memory(self.scene, renderer.device.budget)
        self.style = self.content = self.crew = None

    def __call__(self, at: Checkpoint, tell) -> Checkpoint:
        """From where the scale before ended, or this one was interrupted, to this one's end."""
        within = at.facts
        if within:
            self.plan = self._as_before(MemoryPlan(**within["plan"]))
        home = self.renderer.device.name if self.plan.at_home else "cpu"
        optimiser = optimise.optimiser(
            self.plan.optimiser, history=self.plan.history, carried=_on(home, at.carried)
        )
        content = tensor(images.resize(images.crop(self.photo.pixels, self.layout), self.scale.size)).to(home)
        self.objective = self._without_running_out(partial(self._objective, content))
        if within:
            optimiser.restore(_on(home, at.optimiser))
            state = State(at.image.to(home), optimiser, **within["state"])
        elif at.image is None:
            state = State(self._first_image(content).to(home), optimiser)
        else:
            state = State(enlarged(at.image.to(home), content, self.job.look), optimiser)
        del at, content
        self.saved_s = time.monotonic()
        try:
            image = optimise.minimise(
                self._evaluate, state, iterations=self.scale.iterations, report=tell, between=self._keep
            )
        finally:
            self._go_alone()
        return Checkpoint(self.index + 1, image, optimiser.carried)

    def _as_before(self, plan: MemoryPlan) -> MemoryPlan:
        """The interrupted run's plan, for the same bits, unless there is less memory now."""
        return (
            plan
            if plan.peak_bytes <= max(self.plan.peak_bytes, self.renderer.device.budget.device_bytes)
            else replace(self.plan, optimiser=plan.optimiser, history=min(plan.history, self.plan.history))
        )

    @property
    def borders(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return borders(self._tiled(self.scale.size))

    def _objective(self, content: torch.Tensor) -> Objective:
        work = TileWork.of(self.scene, self.plan, self.weighting, self.job.look.pooling)
        if work.scene.layers and len(work.tiles) > 1:
            self.crew = self.renderer.gather(
                work, lambda text: self.report(Notice(self.job, text)), self.network
            )
        self.style = self.renderer.style_target(
            self.job,
            self.photo,
            self.scale,
            self.network,
            self.weighting,
            self._tiled,
            self.crew and self.crew.moments,
        )
        if self.crew is not None:
            self.content_image = content
            known = ContentTarget(squares=self.crew.content_squares(content))
            return Objective(self.network, self.weighting, self.style, known, runner=self.crew)
        self.content = content_target(self.network, content, self.weighting, self._tiled)
        return self._planned()

    def _go_alone(self) -> None:
        if self.crew is not None:
            self.crew.dismiss()
        self.crew = None

    def _planned(self) -> Objective:
        return Objective(
            self.network,
            self.weighting,
            self.style,
            self.content,
            tiles=self._tiled(self.scale.size),
            kept=self.plan.kept,
        )

    def _tiled(self, size):
        layers = self.weighting.layers
        return plan_tiles(size, layers, self.plan.tile_px) if layers else whole(size)

    def _evaluate(self, image: torch.Tensor) -> Evaluation:
        return self._without_running_out(lambda: self.objective(image))

    def _without_running_out(self, call):
        """The call's result; when memory runs out, tiles are halved, somebody is told, and it is called
        again."""
        while True:
            failed = None
            try:
                return call()
            except (RuntimeError, MemoryError) as error:
                smaller = self.plan.halved()
                if not is_out_of_memory(error) or smaller is None:
                    raise
                failed = str(error).splitlines()[0][:200]
            # Outside the handler, whose traceback holds on to the tensors.
            forget_freed_memory(self.renderer.device.name)
            self.report(
                Notice(
                    self.job,
                    f"out of memory at {max(self.scale.size)} px with tiles of {self.plan.tile_px} px "
                    f"({failed}): going on with {smaller.tile_px} px",
                )
            )
            self.plan = smaller
            if self.crew is not None and self.style is not None:
                self.content = content_target(self.network, self.content_image, self.weighting, self._tiled)
            self._go_alone()
            if self.content is not None:
                self.objective = self._planned()

    def _keep(self, state: State) -> None:
        if self.keeping is None or time.monotonic() - self.saved_s < self.keeping.interval_s:
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
            self.keeping.checkpoints,
            self.job.painted,
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
                images.read(load_source(self.job, Path(self.job.look.init))).pixels, content.shape[-2:]
            )
        )


def _goes_on(stored: Checkpoint, scales: Sequence[Scale]) -> bool:
    """Whether this version of the program can go on from there."""
    try:
        if stored.facts:
            MemoryPlan(**stored.facts["plan"])
            State(stored.image, None, **stored.facts["state"])
    except (KeyError, TypeError):
        return False
    return stored.scale < len(scales)


def _on(device: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: t.to(device) for name, t in tensors.items()}


def tensor(pixels: np.ndarray) -> torch.Tensor:
    """(H, W, 3) in [0, 1] -> (1, 3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]


def load_source(job: Job, path: Path) -> Content:
    """One of the job's pictures, as it was when the job was planned. Raises PictureError when it has
    changed."""
    source = images.load(path)
    job.check(path, source.sha256)
    return source


def read_photo(source: Content, layout: Layout) -> tuple[Photo, Layout]:
    """The photograph no larger than the print needs, so that a huge scan is not held in memory; its crop in
    px as read."""
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


def store_painted(keeping: Keeping, painted_id: str, painted: Painted) -> None:
    """Keeps a painted picture at 16 bits, so that its colours can be finished otherwise."""
    values = torch.from_numpy(np.rint(painted.pixels * 65535).astype(np.uint16))
    facts = {"loss": painted.loss, "borders": painted.borders, "exact": painted.exact}
    checkpoint.save(checkpoint.path_of(keeping.painted, painted_id), {"pixels": values}, facts)


def load_painted(keeping: Keeping | None, painted_id: str) -> Painted | None:
    """None when it was not kept, or is damaged."""
    found = checkpoint.read(checkpoint.path_of(keeping.painted, painted_id)) if keeping is not None else None
    try:
        tensors, facts = found
        borders = tuple(map(tuple, facts["borders"]))
        return Painted(tensors["pixels"].numpy() / np.float32(65535), facts["loss"], borders, facts["exact"])
    except (TypeError, KeyError):
        return None


def forget_painted(keeping: Keeping, painted_id: str) -> None:
    """So that the next job with this identity is painted again."""
    checkpoint.forget(keeping.painted, painted_id)


def forget_unfinished(keeping: Keeping, painted_id: str) -> None:
    """Of a job that turns out to be done: its process was killed between the two."""
    checkpoint.forget(keeping.checkpoints, painted_id)


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
