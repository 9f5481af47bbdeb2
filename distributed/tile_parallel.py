"""The tiles of one print over many workers: the same sums, added in the same order, so the same picture.

The worker that has the job is the leader: it holds image and optimiser, runs tiles like the others, and adds
up the results. In each step the pixels of the tiles are sent out and sums come back; then slopes are sent out
and gradients come back. In between each member keeps its tiles' pixels and, as memory allows, activations.
Which member owns a tile is decided while the content image's features are computed: whichever is ready takes
the next one.
"""

import functools
import operator
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import ray
import torch
from ray.exceptions import RayError

from render.distributed.cluster import reason
from render.network import losses
from render.network.features import Network
from render.network.memory import Budget, kept_by_helper
from render.network.objective import (
    StyleTarget,
    Sums,
    tile_features,
    tile_gradient,
    tile_moments,
    tile_sums,
    total_moments,
)
from render.network.tiling import Tile
from render.painting.renderer import TileWork

IN_FLIGHT = 2  # tiles that a helper has been sent and not answered: the one it runs and the next
LEADER = -1  # the number of the leader among the members; helpers are 0, 1, ...

Call = tuple[Any, ...]  # name of a method of TileWorker, arguments


class TileWorker:
    """Runs tiles of one scale on this device, and keeps what the second pass needs of them.

    Pixels arrive and gradients leave as (1, 3, H, W) float32 arrays.
    """

    def __init__(self, network: Network, work: TileWork, budget: Budget | None = None):
        """budget: None for the leader, whose own plan says how many activations it can keep."""
        self.network, self.work, self.budget = network, work, budget
        self.tiles = work.tiles
        self.content: dict[int, dict[str, torch.Tensor]] = {}  # the content image's features, by tile
        self.pixels: dict[int, torch.Tensor] = {}
        self.running: dict[int, tuple[torch.Tensor, Sums]] = {}
        self.step = 0

    def moments(self, pixels: np.ndarray, names: Sequence[str], tile: Tile) -> StyleTarget:
        found = tile_moments(self.network, self._tensor(pixels), names, tile, edge=self.work.edge)
        return {name: moments.to("cpu") for name, moments in found.items()}

    def hold_content(self, i: int, pixels: np.ndarray) -> dict[str, float]:
        """Compute and keep the content image's features of a tile; returns their sums of squares by layer."""
        self.content[i] = (
            dict(
                tile_features(
                    self.network,
                    self._tensor(pixels),
                    self.work.content_layers,
                    self.tiles[i],
                    edge=self.work.edge,
                )
            )
            if self.work.content_layers
            else {}
        )
        return {name: losses.squares(features).item() for name, features in self.content[i].items()}

    def sums(self, i: int, pixels: np.ndarray, step: int) -> Sums:
        if step != self.step:
            self.step = step
            self.pixels.clear()
            self.running.clear()
        self.pixels[i] = self._tensor(pixels)
        keep = len(self.running) < self._room()
        with torch.set_grad_enabled(keep):
            run = self._run(i)
        if keep:
            self.running[i] = run
        return run[1].detached().to("cpu")

    def gradient(self, i: int, slopes: Sequence[torch.Tensor]) -> np.ndarray:
        with torch.enable_grad():
            pixels, sums = self.running.pop(i) if i in self.running else self._run(i)
        slopes = [slope.to(self.network.device) for slope in slopes]
        return tile_gradient(pixels, sums, slopes).cpu().numpy()

    def _room(self) -> int:
        if self.budget is None:
            return self.work.kept
        return kept_by_helper(self.work.scene, self.work.tile_px, max(1, len(self.content)), self.budget)

    def _run(self, i: int) -> tuple[torch.Tensor, Sums]:
        pixels = self.pixels[i].detach().requires_grad_(torch.is_grad_enabled())
        return pixels, tile_sums(
            self.network, pixels, self.work.style_layers, self.content[i], self.tiles[i], edge=self.work.edge
        )

    def _tensor(self, pixels: np.ndarray) -> torch.Tensor:
        # A copy, because the arrays that Ray delivers are read-only.
        return torch.tensor(pixels, device=self.network.device)


class RayCrew:
    """A leader and its helpers (Ray actors with a method `run_tile(name, *arguments)`).

    A helper that dies, fails or is silent for `stall_s` is dropped: its tiles go to the others, who compute
    anew what it kept.
    """

    def __init__(
        self,
        leader: TileWorker,
        helpers: Sequence,
        content: torch.Tensor,
        notify: Callable[[str], None],
        *,
        stall_s: float,
    ):
        """content: the content image, (1, 3, H, W) in [0, 1]; notify(text): called when a helper is lost."""
        self.leader, self.work, self.content = leader, leader.work, content
        self.notify, self.stall_s = notify, stall_s
        self.tiles = leader.tiles
        self.helpers = dict(enumerate(helpers))
        self.owners: dict[int, int] = {}  # which member keeps the content's features, by tile
        self.summed: dict[int, int] = {}  # which member has run the tile in this step
        self.step = 0
        work = ray.put(self.work)
        begun = {h: helper.begin_tiles.remote(work) for h, helper in self.helpers.items()}
        for h, ref in begun.items():
            self.answer(h, ref)

    # ---- what a scale asks ----

    def moments(self, image: torch.Tensor, names: Sequence[str], tiles: Sequence[Tile]) -> StyleTarget:
        def calls(i: int, member: int) -> list[Call]:
            return [("moments", _pixels(image, tiles[i]), tuple(names), tiles[i])]

        return total_moments(found for _, found in _Round(self, len(tiles), calls, {}))

    def content_squares(self) -> Mapping[str, float]:
        total = dict.fromkeys(self.work.content_layers, 0.0)
        for _, squares in _Round(self, len(self.tiles), self.content_calls, self.owners):
            for name, found in squares.items():
                total[name] += found
        return total

    def sums(self, image: torch.Tensor) -> Sums:
        self.step, self.summed = self.step + 1, {}

        def calls(i: int, member: int) -> list[Call]:
            return self._sums_calls(image, i, member)

        parts = _Round(self, len(self.tiles), calls, self.summed, prefer=self.owners, soft=True)
        here = self.leader.network.device
        return functools.reduce(operator.add, (sums.to(here) for _, sums in parts))

    def add_gradient(
        self, image: torch.Tensor, slopes: Sequence[torch.Tensor], gradient: torch.Tensor
    ) -> None:
        local = [slope.detach().cpu() for slope in slopes]
        sent = ray.put(local)

        def calls(i: int, member: int) -> list[Call]:
            before = [] if self.summed.get(i) == member else self._sums_calls(image, i, member)
            return [*before, ("gradient", i, local if member == LEADER else sent)]

        for i, part in _Round(self, len(self.tiles), calls, {}, prefer=self.summed):
            self.tiles[i].outer.of(gradient).add_(torch.tensor(part, device=gradient.device))

    def dismiss(self) -> None:
        """Helpers free what they keep."""
        for helper in self.helpers.values():
            helper.begin_tiles.remote(None)
        self.helpers = {}

    # ---- calls of members ----

    def content_calls(self, i: int, member: int) -> list[Call]:
        return [("hold_content", i, _pixels(self.content, self.tiles[i]))]

    def _sums_calls(self, image: torch.Tensor, i: int, member: int) -> list[Call]:
        before = []
        if self.owners.get(i) != member:
            before = self.content_calls(i, member)
            self.owners[i] = member
        self.summed[i] = member
        return [*before, ("sums", i, _pixels(image, self.tiles[i]), self.step)]

    def send(self, h: int, calls: Sequence[Call]) -> ray.ObjectRef:
        """Have a helper make the calls; returns a reference to the last one's answer."""
        *before, last = calls
        for call in before:
            self.helpers[h].run_tile.remote(*call)
        return self.helpers[h].run_tile.remote(*last)

    def answer(self, h: int, ref: ray.ObjectRef) -> Any:
        """What the helper answered, or LOST when it did not."""
        try:
            return ray.get(ref, timeout=self.stall_s)
        except RayError as error:
            self.drop(h, reason(error))
            return LOST

    def drop(self, h: int, why: str) -> None:
        if self.helpers.pop(h, None) is not None:
            self.notify(f"a helper was lost ({why}): its tiles go to the others")
            for held in (self.owners, self.summed):
                for i in [i for i, member in held.items() if member == h]:
                    del held[i]


class _Round:
    """One call of every tile, by whichever member is ready. Iterating over it makes the calls and gives
    (tile, answer) in the order of the tiles, whichever answer came first."""

    def __init__(
        self,
        crew: RayCrew,
        tiles: int,
        calls: Callable[[int, int], list[Call]],
        owners: dict[int, int],
        *,
        prefer: Mapping[int, int] | None = None,
        soft: bool = False,
    ):
        """
        Args:
            tiles: how many there are.
            calls: calls(tile, member) are what the member is to run, one after the other; the answer to the
                last one counts.
            owners: is filled with the member that took each tile.
            prefer: the member that has to take a tile, unless it was lost; tiles that are not in it are taken
                by whichever member is ready.
            soft: a member that has nothing left may take a tile that its preferred one will not come to soon,
                so that members of unlike or changing speed end together.
        """
        self._crew, self._tiles, self._calls, self._owners, self._soft = crew, tiles, calls, owners, soft
        self._prefer = dict(prefer or {})
        self._waiting = deque(range(tiles))
        self._in_flight: dict[ray.ObjectRef, tuple[int, int]] = {}  # answer to come: (tile, helper)
        self._answers: dict[int, Any] = {}  # those that cannot be given yet, by tile

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        following = 0
        while following < self._tiles:
            self._fill_helpers()
            while self._in_flight and self._receive(0):
                pass
            if (i := self._take(LEADER)) is not None:
                self._run_here(i)
            elif self._in_flight and not self._receive(self._crew.stall_s):
                self._give_up_a_helper()
            while following in self._answers:
                yield following, self._answers.pop(following)
                following += 1

    def _fill_helpers(self) -> None:
        for h in list(self._crew.helpers):
            while h in self._crew.helpers and self._load(h) < IN_FLIGHT:
                if (i := self._take(h)) is None:
                    break
                self._in_flight[self._crew.send(h, self._calls(i, h))] = i, h

    def _load(self, h: int) -> int:
        return sum(member == h for _, member in self._in_flight.values())

    def _take(self, member: int) -> int | None:
        """The next tile for a member: one that it has to take, or one that anybody may."""
        i = next((i for i in self._waiting if self._is_for(i, member)), None)
        if i is None and self._soft:
            i = next((i for i in reversed(self._waiting) if self._comes_late(i)), None)
        if i is not None:
            self._waiting.remove(i)
            self._owners[i] = member
        return i

    def _is_for(self, i: int, member: int) -> bool:
        preferred = self._prefer.get(i, member)
        return preferred == member or (preferred != LEADER and preferred not in self._crew.helpers)

    def _comes_late(self, i: int) -> bool:
        """A helper that has not been sent its tile has others to run first; the leader runs one at a time."""
        return self._prefer[i] != LEADER or sum(self._prefer[j] == LEADER for j in self._waiting) > 1

    def _run_here(self, i: int) -> None:
        for name, *arguments in self._calls(i, LEADER):
            self._answers[i] = getattr(self._crew.leader, name)(*arguments)

    def _receive(self, timeout_s: float) -> bool:
        """Whether an answer has come, or a helper was found dead, within this time."""
        ready, _ = ray.wait(list(self._in_flight), num_returns=1, timeout=timeout_s)
        for ref in ready:
            i, h = self._in_flight.pop(ref)
            answer = self._crew.answer(h, ref)
            if answer is LOST:
                self._take_back(h, i)
            else:
                self._answers[i] = answer
        return bool(ready)

    def _give_up_a_helper(self) -> None:
        """The one that has been silent longest."""
        i, h = next(iter(self._in_flight.values()))
        self._crew.drop(h, f"was silent for {self._crew.stall_s:.0f} s")
        self._take_back(h, i)

    def _take_back(self, h: int, i: int) -> None:
        """Tile i of a lost helper, and the others that it was sent, wait again."""
        back = {i, *(tile for tile, member in self._in_flight.values() if member == h)}
        self._in_flight = {ref: sent for ref, sent in self._in_flight.items() if sent[1] != h}
        for tile in sorted(back - set(self._waiting), reverse=True):
            self._waiting.appendleft(tile)


LOST = object()


def _pixels(image: torch.Tensor, tile: Tile) -> np.ndarray:
    return tile.outer.of(image).contiguous().cpu().numpy()
