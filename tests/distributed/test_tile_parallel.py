"""Real Ray workers on localhost run the tiles of one image; real signals end them."""

import contextlib
import os
import signal
from pathlib import Path

import pytest
import ray
import torch

from render.jobs.settings import Settings
from render.network import device, weights
from render.network.memory import Budget, Scene
from render.network.objective import ContentTarget, Objective, Weighting, content_target, style_target
from render.network.tiling import plan_tiles
from render.painting.renderer import MakeRenderer, TileWork
from render.painting.storage import Storage

SIZE, TILE_PX = (208, 304), 112
LAYERS = {"relu1_1": 1.0, "relu2_1": 2.0}
CONFIG = dict(
    device="cpu",
    precision="float32",
    make_worker=MakeRenderer(Settings(), None),
    storage=Storage.under(Path("never-written")),
    memory_bytes=2**31,
    share=1.0,
    threads=1,
    sign=("", ""),
    stall_s=60.0,
)


@pytest.fixture(scope="module")
def cluster(ray_head):
    ray.init(address=ray_head.address, log_to_driver=False, logging_level="error")
    yield ray_head
    ray.shutdown()


@pytest.fixture
def helpers(cluster):
    from render.distributed.worker import Actor, WorkerConfig

    actors = [Actor.options(num_cpus=1).remote(WorkerConfig(**CONFIG)) for _ in range(2)]
    ray.get([actor.info.remote() for actor in actors])
    pids = [ray.get(actor.info.remote()).pid for actor in actors]
    yield actors
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def network():
    device.prepare(device.Device("cpu", "float32", 1))
    return weights.load().network()


@pytest.fixture(scope="module")
def pictures():
    g = torch.Generator().manual_seed(1)
    return [
        torch.nn.functional.interpolate(torch.rand(1, 3, 24, 36, generator=g), SIZE, mode="bicubic").clamp(
            0, 1
        )
        for _ in range(3)
    ]


def weighting(loss="wasserstein"):
    return Weighting(LAYERS, {"relu2_2": 1.0}, 1.0, 0.2, tv_weight=0.1, style_loss=loss)


def work(w, kept=1) -> TileWork:
    scene = Scene(SIZE, w.layers, tuple(w.content_layers), 4, "lbfgs", 12)
    return TileWork(scene, TILE_PX, kept, tuple(w.style_layers), tuple(w.content_layers), w.edge, "max")


def alone(network, pictures, w):
    """Objective of the local tiled twin."""
    image, style, content = pictures

    def tiled(size):
        return plan_tiles(size, w.layers, TILE_PX)

    return Objective(
        network,
        w,
        style_target(network, [(style, 1.0)], w, tiled),
        content_target(network, content, w, tiled),
        tiles=tiled(SIZE),
    )


def together(network, pictures, w, helpers, notify=lambda text: None, stall_s=60.0, kept=1):
    from render.distributed.tile_parallel import RayCrew, TileWorker

    image, style, content = pictures
    crew = RayCrew(TileWorker(network, work(w, kept)), helpers, content, notify, stall_s=stall_s)
    target = style_target(
        network, [(style, 1.0)], w, lambda size: plan_tiles(size, w.layers, TILE_PX), moments_of=crew.moments
    )
    return crew, Objective(network, w, target, ContentTarget(squares=crew.content_squares()), runner=crew)


def same(a, b) -> bool:
    return (
        a.loss == b.loss
        and a.style == b.style
        and a.content == b.content
        and torch.equal(a.gradient, b.gradient)
    )


@pytest.mark.parametrize("loss", ["gram", "wasserstein"])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_one_step_by_many_workers_is_the_local_one_to_the_bit(network, pictures, helpers, loss, count):
    w = weighting(loss)
    wanted = alone(network, pictures, w)
    crew, found = together(network, pictures, w, helpers[:count])
    for image in (pictures[0], pictures[0] * 0.9):
        assert same(found(image), wanted(image))
    assert {crew.owners[i] for i in crew.owners} >= set(range(count)), "every helper has tiles of its own"
    crew.dismiss()


def test_who_has_done_takes_tiles_of_who_is_late_and_the_picture_stays(network, pictures, helpers):
    w = weighting()
    wanted = alone(network, pictures, w)(pictures[0])
    crew, found = together(network, pictures, w, helpers[:1])
    for i in range(len(crew.tiles)):  # all are the helper's
        ray.get(crew.send(0, crew.content_calls(i, 0)))
        crew.owners[i] = 0
    assert same(found(pictures[0]), wanted)
    assert {-1, 0} == set(crew.owners.values())
    held = dict(crew.owners)
    assert same(found(pictures[0]), wanted) and len(set(held.values())) == 2
    crew.owners.update(dict.fromkeys(crew.owners, -1))
    crew.content_squares()  # decided anew by who is ready
    assert same(found(pictures[0]), wanted)
    crew.dismiss()


def test_the_leader_keeps_as_many_activations_as_its_plan_allows_and_the_picture_stays(
    network, pictures, helpers
):
    w = weighting()
    wanted = alone(network, pictures, w)(pictures[0])
    for kept in (0, 3):
        crew, found = together(network, pictures, w, helpers[:1], kept=kept)
        crew.sums(pictures[0])
        mine = [i for i, owner in crew.owners.items() if owner == -1]
        assert len(crew.leader.running) == min(kept, len(mine))
        assert same(found(pictures[0]), wanted)
        crew.dismiss()


PHASES = ("moments", "content_squares", "sums", "add_gradient")


# A helper that hangs is waited for; one phase of it is enough for every day.
@pytest.mark.parametrize(
    ("phase", "how"),
    [
        *(pytest.param(phase, signal.SIGKILL, id=f"{phase}-killed") for phase in PHASES),
        *(
            pytest.param(
                phase,
                signal.SIGSTOP,
                id=f"{phase}-hung",
                marks=() if phase == "sums" else pytest.mark.slow,
            )
            for phase in PHASES
        ),
    ],
)
def test_a_helper_lost_in_any_phase_costs_its_tiles_and_no_bit(
    network, pictures, helpers, phase, how, monkeypatch
):
    from render.distributed.tile_parallel import RayCrew

    w, told = weighting(), []
    wanted = alone(network, pictures, w)(pictures[0])
    victim = ray.get(helpers[0].info.remote()).pid
    plain = getattr(RayCrew, phase)

    def with_a_blow(crew, *arguments):
        send = crew.send

        def send_and_strike(h, calls):
            ref = send(h, calls)
            if h == 0 and not told_off:
                told_off.append(h)
                os.kill(victim, how)
            return ref

        crew.send = send_and_strike
        try:
            return plain(crew, *arguments)
        finally:
            crew.send = send

    told_off = []
    monkeypatch.setattr(RayCrew, phase, with_a_blow)
    crew, found = together(
        network, pictures, w, helpers, told.append, stall_s=15.0 if how == signal.SIGSTOP else 60.0
    )
    assert same(found(pictures[0]), wanted)
    assert told_off and len(told) == 1 and "a helper was lost" in told[0]
    assert list(crew.helpers) == [1]
    assert same(found(pictures[0]), wanted), "and the next step goes on without it"
    crew.dismiss()


def test_a_helper_that_fails_at_a_tile_is_left_behind(network, pictures, helpers):
    w, told = weighting(), []
    crew, found = together(network, pictures, w, helpers, told.append)
    ray.get(helpers[1].begin_tiles.remote(None))  # as after an error: it holds nothing
    assert same(found(pictures[0]), alone(network, pictures, w)(pictures[0]))
    assert len(told) == 1 and "NoneType" in told[0]


def test_a_mistake_of_the_leaders_own_is_raised(network, pictures, helpers, monkeypatch):
    from render.distributed.tile_parallel import TileWorker

    def broken(*_):
        raise RuntimeError("not enough memory")

    crew, found = together(network, pictures, weighting(), helpers)
    monkeypatch.setattr(TileWorker, "sums", broken)
    with pytest.raises(RuntimeError, match="not enough memory"):
        found(pictures[0])


def test_helpers_plan_their_own_memory():
    from render.distributed.tile_parallel import TileWorker

    w = weighting()
    large, small = (TileWorker(None, work(w), Budget(size)) for size in (2**33, 730 * 10**6))
    for tiles in (large, small):
        tiles.content = {i: {} for i in range(4)}
    assert large._room() == 4 and small._room() <= 1
    assert TileWorker(None, work(w, kept=2))._room() == 2
