"""What fits: tile size, kept activations, L-BFGS history and where the image lives, from the memory there is.

Plans, no pixels. The constants were fitted to measured peaks of the whole process (BENCHMARKS.md).
"""

import math
import re
from dataclasses import dataclass

from render.errors import UsageError
from render.network.layers import LAYERS, activation_bytes_per_pixel
from render.network.tiling import plan_tiles

# Preferred tile first. Larger ones would save some halo and no time (measured on a CPU); one preference for
# every budget that allows it means the same pixels whatever memory is free.
TILES_PX = (1024, 768, 512, 384, 256, 192, 128)
LONGEST_HISTORY, SHORTEST_HISTORY = 20, 5  # (s, y) pairs of L-BFGS; with fewer, Adam is used instead

PROCESS_BYTES = 700 * 10**6  # Python, torch, VGG-19's weights in both types, and what the allocator keeps
WORKING_BYTES_PER_VALUE_BYTE = (
    500  # of a tile's px, besides activations, for each byte of a feature: gradients, copies
)
KEPT_MORE = 1.2  # a kept tile also holds its pixels and the content's differences
KEPT_SHARE = (
    0.8  # of what is left over, for kept activations: a plan that is a little wrong is then still no larger
)
IMAGE_BYTES = 12  # a pixel of an image: three float32
PAIR_BYTES = 12  # a pixel of an (s, y) pair: six bfloat16
# Images between and during evaluations (optimise.py): the point, the next one, both gradients; for Adam
# image, gradient, two moments and the average.
STATE_IMAGES = {"lbfgs": 4, "adam": 5, "sgd": 2}


@dataclass(frozen=True)
class Budget:
    """device_bytes: of the device that runs the network; host_bytes: of the machine's memory when that is
    another one (None: the device is the CPU, and they are the same)."""

    device_bytes: int
    host_bytes: int | None = None

    def part(self, share: float) -> "Budget":
        return Budget(int(self.device_bytes * share), self.host_bytes and int(self.host_bytes * share))

    def __str__(self) -> str:
        return gibibytes(self.device_bytes)


@dataclass(frozen=True)
class MemoryPlan:
    """How one scale is run. kept: tiles whose activations stay between the two passes; history: of L-BFGS;
    at_home: whether image and optimiser live beside the network (False: in the host's memory, tiles travel);
    peak_bytes: expected of the device's memory, on a CPU of the whole process."""

    tile_px: int
    tiles: int
    kept: int
    optimiser: str
    history: int
    at_home: bool
    peak_bytes: int

    def halved(self) -> "MemoryPlan | None":
        """After running out of memory: half the tile and nothing kept; None when it can get no smaller."""
        if self.tile_px // 2 < TILES_PX[-1] and not self.kept:
            return None
        tile_px = max(self.tile_px // 2, TILES_PX[-1])
        return MemoryPlan(tile_px, 0, 0, self.optimiser, self.history, self.at_home, self.peak_bytes)


@dataclass(frozen=True)
class Scene:
    """What has to fit. size: (height, width); layers: all that are computed; content_layers: whose features
    of the photograph are kept; value_bytes: of a feature; photo_bytes: of the photograph as read."""

    size: tuple[int, int]
    layers: tuple[str, ...]
    content_layers: tuple[str, ...]
    value_bytes: int
    optimiser: str
    iterations: int
    photo_bytes: int = 0

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1]

    def content_bytes(self) -> float:
        values = sum(LAYERS[name].channels / LAYERS[name].stride_px ** 2 for name in self.content_layers)
        return self.pixels * values * self.value_bytes


def plan_memory(scene: Scene, budget: Budget) -> MemoryPlan:
    """The best plan within the budget: the preferred tile and a full history if they fit; else a shorter
    history, then a smaller tile, then Adam. Raises UsageError, with the number that would work, when nothing
    fits."""
    for optimiser in dict.fromkeys((scene.optimiser, "adam")):
        for tile_px in _tiles_px(scene):
            plan = _fitted(scene, budget, optimiser, tile_px)
            if plan is not None:
                return plan
    needed = smallest_bytes(scene)
    raise UsageError(
        f"--memory: {scene.size[1]} x {scene.size[0]} px need at least {gibibytes(needed, up=True)} and "
        f"there are "
        f"{budget}. Use --memory {gibibytes(needed, up=True)} or more, a smaller size, or fewer --workers."
    )


def smallest_bytes(scene: Scene) -> int:
    """The least with which a scene can be run at all."""
    tile = _tile_bytes(scene, _tiles_px(scene)[-1])[0]
    history = min(SHORTEST_HISTORY, max(1, scene.iterations - 1)) * scene.pixels * PAIR_BYTES
    homes = [_home_bytes(scene, name) + history * (name == "lbfgs") for name in {scene.optimiser, "adam"}]
    return math.ceil(PROCESS_BYTES + tile + min(homes))


def _tiles_px(scene: Scene) -> tuple[int, ...]:
    """Sizes worth trying: no second one that is one tile as well."""
    longest = max(scene.size)
    return tuple(
        px
        for i, px in enumerate(TILES_PX)
        if px < longest or i == len(TILES_PX) - 1 or TILES_PX[i + 1] < longest
    )


def _home_bytes(scene: Scene, optimiser: str) -> float:
    return scene.pixels * IMAGE_BYTES * STATE_IMAGES[optimiser] + scene.content_bytes() + scene.photo_bytes


def _tile_bytes(scene: Scene, tile_px: int) -> tuple[float, float, int]:
    """(of the tile being run, of one whose activations are kept, tiles)."""
    if not scene.layers:
        return 0.0, 0.0, 1
    tiles = plan_tiles(scene.size, scene.layers, tile_px)
    largest = max(tile.outer.pixels for tile in tiles)
    kept = largest * activation_bytes_per_pixel(scene.layers, bytes_per_value=scene.value_bytes)
    return kept + largest * WORKING_BYTES_PER_VALUE_BYTE * scene.value_bytes, KEPT_MORE * kept, len(tiles)


def _fitted(scene: Scene, budget: Budget, optimiser: str, tile_px: int) -> MemoryPlan | None:
    running, kept_each, tiles = _tile_bytes(scene, tile_px)
    home = _home_bytes(scene, optimiser)
    wanted = min(LONGEST_HISTORY, max(1, scene.iterations - 1)) if optimiser == "lbfgs" else 0
    for at_home in (True, False) if budget.host_bytes is not None else (True,):
        device_room = budget.device_bytes - PROCESS_BYTES - running
        home_room = (device_room if at_home else budget.host_bytes - PROCESS_BYTES) - home
        if min(device_room, home_room) < 0:
            continue
        history = min(wanted, int(home_room // (scene.pixels * PAIR_BYTES)))
        if history < min(wanted, SHORTEST_HISTORY):
            continue
        pairs = history * scene.pixels * PAIR_BYTES
        room = device_room - (home + pairs if at_home else 0)
        # The second pass begins with those kept: one of them is the tile being run.
        kept = min(tiles, 1 + int(KEPT_SHARE * room // kept_each)) if kept_each else 0
        used = PROCESS_BYTES + running + (home + pairs if at_home else 0) + max(0, kept - 1) * kept_each
        return MemoryPlan(tile_px, tiles, kept, optimiser, history, at_home, math.ceil(used))
    return None


def kept_by_helper(scene: Scene, tile_px: int, tiles: int, budget: Budget) -> int:
    """Of how many of its tiles a device that runs only tiles, holding no image, can keep the activations. It
    always holds its tiles' pixels and the content's features there."""
    running, kept_each, all_tiles = _tile_bytes(scene, tile_px)
    held = tiles * (scene.pixels * IMAGE_BYTES + scene.content_bytes()) / all_tiles
    room = budget.device_bytes - PROCESS_BYTES - running - held
    return min(tiles, 1 + int(max(0.0, KEPT_SHARE * room) // kept_each)) if kept_each else 0


# ---- units -------------------------------------------------------------------------------------------------

# Not pydantic.ByteSize: it takes "1,5GiB" for 1 byte, "6GiB more" for 6 GiB and "6" for 6 bytes, and its
# errors name neither the option nor a text that works.
_UNITS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "K": 2**10,
    "M": 2**20,
    "G": 2**30,
    "T": 2**40,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}


def parse_bytes(text: str) -> int:
    """ "6GiB", "6.5 GB", "800MB" -> bytes. Raises UsageError."""
    match = re.fullmatch(r"\s*(\d+(?:[.,]\d+)?)\s*([A-Za-z]*)\s*", text)
    if (
        match is None
        or match[2].upper() not in _UNITS
        or (not match[2] and float(match[1].replace(",", ".")) < 10**6)
    ):
        raise UsageError(
            f"--memory {text}: write a number and a unit, for example --memory 6GiB or --memory 800MB."
        )
    return int(float(match[1].replace(",", ".")) * _UNITS[match[2].upper()])


def gibibytes(count: float, *, up: bool = False) -> str:
    """ "5.7GiB", or "730MiB" where tenths would hide what matters, as --memory takes it; `up`: never less
    than the count."""
    rounded = math.ceil if up else round
    if count < 2**30:
        return f"{rounded(count / 2**20)}MiB"
    return f"{rounded(count / 2**30 * 10) / 10:.1f}GiB"
