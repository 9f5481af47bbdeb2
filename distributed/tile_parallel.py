"""The tiles of one print over many workers: the same sums, added in the same order, so the same picture.

The worker that has the job leads: it holds image and optimiser, runs tiles like the others, and adds up. Per
step: pixels of the tiles out, sums back; slopes out, gradients back. In between each member keeps its tiles'
pixels and, as memory allows, activations. Who owns a tile is settled while the content's features are made:
who is ready takes the next one.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import ray
import torch

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

IN_FLIGHT = 2  # tiles handed to a helper: the one it runs and the next
LEADER = -1


class Bench:
    """Runs tiles of one scale on this device, and holds what the second pass needs of them. budget: None for
    the leader, whose own plan says how many activations it can keep. Pixels come and gradients go as (1, 3,
    H, W) float32 arrays."""

    def __init__(self, network: Network, work: TileWork, budget: Budget | None = None):
        self.network, self.work, self.budget = network, work, budget
        self.tiles = work.tiles
        self.content: dict[int, dict[str, torch.Tensor]] = {}  # the photograph's features, by tile
        self.pixels: dict[int, torch.Tensor] = {}
        self.running: dict[int, tuple[torch.Tensor, Sums]] = {}
        self.step = 0

    def moments(self, pixels: np.ndarray, names: Sequence[str], tile: Tile) -> StyleTarget:
        found = tile_moments(self.network, self._shown(pixels), names, tile, edge=self.work.edge)
        return {name: moments.to("cpu") for name, moments in found.items()}

    def hold_content(self, i: int, pixels: np.ndarray) -> dict[str, float]:
        """The sums of squares of the content's features, which stay here."""
        self.content[i] = (
            dict(
                tile_features(
                    self.network,
                    self._shown(pixels),
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
        self.pixels[i] = self._shown(pixels)
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

    def _shown(self, pixels: np.ndarray) -> torch.Tensor:
        return torch.tensor(
            pixels, device=self.network.device
        )  # a copy: what Ray hands over must not be written to


class RayCrew:
    """A leader and its helpers (Ray actors with a method `bench(name, *arguments)`).

    A helper that dies, fails or says nothing for stall_s is left behind: its tiles go to the others, who make
    up what it held. notify: told of that.
    """

    def __init__(self, bench: Bench, helpers: Sequence, notify: Callable[[str], None], *, stall_s: float):
        self.mine, self.work, self.notify, self.stall_s = bench, bench.work, notify, stall_s
        self.tiles = bench.tiles
        self.helpers = dict(enumerate(helpers))
        self.owners: dict[int, int] = {}  # of the content's features, by tile
        self.summed: dict[int, int] = {}  # who has run the tile in this step
        self.step = 0
        self.image = self.content = None
        begun = ray.put(self.work)
        self.begun = {h: helper.bench_for.remote(begun) for h, helper in self.helpers.items()}
        for h, ref in self.begun.items():
            self._answer(h, ref)

    # ---- what a scale asks ----

    def moments(self, image: torch.Tensor, names: Sequence[str], tiles: Sequence[Tile]) -> StyleTarget:
        def calls(i: int, member: int) -> list:
            return [("moments", _pixels(image, tiles[i]), tuple(names), tiles[i])]

        return total_moments(found for _, found in self._in_order(len(tiles), calls, {}))

    def content_squares(self, content: torch.Tensor) -> Mapping[str, float]:
        self.content = content
        total = dict.fromkeys(self.work.content_layers, 0.0)
        for _, squares in self._in_order(len(self.tiles), self._content_calls, self.owners):
            for name, found in squares.items():
                total[name] += found
        return total

    def sums(self, image: torch.Tensor) -> Sums:
        self.image, self.step, self.summed = image, self.step + 1, {}
        total = None
        for _, sums in self._in_order(
            len(self.tiles), self._sums_calls, self.summed, prefer=self.owners, soft=True
        ):
            sums = sums.to(self.mine.network.device)
            total = sums if total is None else total + sums
        return total

    def add_gradient(
        self, image: torch.Tensor, slopes: Sequence[torch.Tensor], gradient: torch.Tensor
    ) -> None:
        own = [slope.detach().cpu() for slope in slopes]
        sent = ray.put(own)

        def calls(i: int, member: int) -> list:
            before = [] if self.summed.get(i) == member else self._sums_calls(i, member)
            return [*before, ("gradient", i, own if member == LEADER else sent)]

        for i, part in self._in_order(len(self.tiles), calls, {}, prefer=self.summed):
            self.tiles[i].outer.of(gradient).add_(torch.tensor(part, device=gradient.device))

    def dismiss(self) -> None:
        """Helpers let go of what they hold."""
        for helper in self.helpers.values():
            helper.bench_for.remote(None)
        self.helpers, self.image, self.content = {}, None, None

    # ---- who does what ----

    def _content_calls(self, i: int, member: int) -> list:
        return [("hold_content", i, _pixels(self.content, self.tiles[i]))]

    def _sums_calls(self, i: int, member: int) -> list:
        before = []
        if self.owners.get(i) != member:
            before = self._content_calls(i, member)
            self.owners[i] = member
        self.summed[i] = member
        return [*before, ("sums", i, _pixels(self.image, self.tiles[i]), self.step)]

    def _in_order(
        self,
        tiles: int,
        calls,
        owners: dict[int, int],
        prefer: Mapping[int, int] | None = None,
        *,
        soft: bool = False,
    ) -> Iterator[tuple]:
        """(tile, answer) in the tiles' order, whoever is quicker.

        calls(tile, member): what the member is asked, one after the other; the last answer counts. owners:
        filled with who took which tile. prefer: who has to take it, if still there; otherwise whoever is
        ready. soft: who has nothing left may take a tile that another one will not come to soon, and so
        members of unlike or changing speed end together.
        """
        prefer = dict(prefer or {})
        waiting = deque(range(tiles))
        flying: dict[ray.ObjectRef, tuple[int, int]] = {}  # answer to come: (tile, member)
        answers: dict[int, object] = {}
        following = 0

        def take(member: int) -> int | None:
            """The next tile for a member: its own, or one without an owner."""
            for i in waiting:
                if prefer.get(i, member) == member or (prefer[i] != LEADER and prefer[i] not in self.helpers):
                    waiting.remove(i)
                    owners[i] = member
                    return i
            if soft and (i := next(filter(comes_late, reversed(waiting)), None)) is not None:
                waiting.remove(i)
                owners[i] = member
                return i
            return None

        def comes_late(i: int) -> bool:
            """A helper that has not been asked for it has others to do first; the leader does one at a
            time."""
            return prefer[i] != LEADER or sum(prefer[j] == LEADER for j in waiting) > 1

        def land(timeout_s: float) -> bool:
            ready, _ = ray.wait(list(flying), num_returns=1, timeout=timeout_s)
            for ref in ready:
                i, h = flying.pop(ref)
                answer = self._answer(h, ref)
                if answer is _LOST:
                    self._take_back(h, i, waiting, flying)
                else:
                    answers[i] = answer
            return bool(ready)

        while following < tiles:
            for h in list(self.helpers):
                while h in self.helpers and sum(member == h for _, member in flying.values()) < IN_FLIGHT:
                    if (i := take(h)) is None:
                        break
                    flying[self._ask(h, calls(i, h))] = i, h
            while flying and land(0):
                pass
            if (i := take(LEADER)) is not None:
                for name, *arguments in calls(i, LEADER):
                    answers[i] = getattr(self.mine, name)(*arguments)
            elif flying and not land(self.stall_s):
                i, h = next(iter(flying.values()))
                self._lose(h, f"gave no sign for {self.stall_s:.0f} s")
                self._take_back(h, i, waiting, flying)
            while following in answers:
                yield following, answers.pop(following)
                following += 1

    def _ask(self, h: int, calls: list) -> ray.ObjectRef:
        for name, *arguments in calls:
            ref = self.helpers[h].bench.remote(name, *arguments)
        return ref

    def _answer(self, h: int, ref: ray.ObjectRef):
        try:
            return ray.get(ref, timeout=self.stall_s)
        except ray.exceptions.RayError as error:
            self._lose(h, reason(error))
            return _LOST

    def _lose(self, h: int, why: str) -> None:
        if self.helpers.pop(h, None) is not None:
            self.notify(f"a helper was lost ({why}): its tiles go to the others")
            for held in (self.owners, self.summed):
                for i in [i for i, member in held.items() if member == h]:
                    del held[i]

    def _take_back(self, h: int, i: int, waiting: deque, flying: dict) -> None:
        """Of a lost helper: the tile, and the others it was asked for, wait again."""
        back = {i, *(tile for tile, member in flying.values() if member == h)}
        for ref in [ref for ref, (_, member) in flying.items() if member == h]:
            del flying[ref]
        for tile in sorted(back - set(waiting), reverse=True):
            waiting.appendleft(tile)


_LOST = object()


def _pixels(image: torch.Tensor, tile: Tile) -> np.ndarray:
    return tile.outer.of(image).contiguous().cpu().numpy()
