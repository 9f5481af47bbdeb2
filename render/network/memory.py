"""Plans what fits into a memory budget: tile size, kept activations, length of the L-BFGS history, and where
image and optimiser are stored. No pixels.

The constants were fitted to measured peaks of the whole process (BENCHMARKS.md).
"""

import math
import re
from dataclasses import dataclass

from render.errors import UsageError
from render.network.layers import LAYERS, activation_bytes_per_pixel
from render.network.tiling import plan_tiles

# Preferred tile first. Larger tiles have less halo but save no time (measured on a CPU). One preferred size
# for every budget that allows it gives the same pixels whatever memory is free.
TILES_PX = (1024, 768, 512, 384, 256, 192, 128)
LONGEST_HISTORY, SHORTEST_HISTORY = 20, 5  # (s, y) pairs of L-BFGS; with fewer, Adam is used instead

PROCESS_BYTES = 700 * 10**6  # Python, torch, VGG-19's weights in both types, and what the allocator keeps
# Besides activations, per pixel of the tile being run and byte of a feature value: gradients and copies.
WORKING_BYTES_PER_VALUE_BYTE = 500
KEPT_MORE = 1.2  # factor on the activations of a kept tile, for its pixels and the content differences
# Share of the remaining memory that kept activations may take, so that a plan that is a little wrong still
# fits.
KEPT_SHARE = 0.8
IMAGE_BYTES = 12  # per pixel of an image: three float32
PAIR_BYTES = 12  # per pixel of an (s, y) pair: six bfloat16
# Images that exist at the same time (optimise.py). L-BFGS: the point, the next one, and both gradients; Adam:
# image, gradient, two moments and the average; SGD: image and gradient.
STATE_IMAGES = {"lbfgs": 4, "adam": 5, "sgd": 2}


@dataclass(frozen=True)
class Budget:
    """Memory that a plan may use."""

    device_bytes: int  # of the device that runs the network
    host_bytes: int | None = None  # of the machine; None if the device is its CPU and uses the same memory

    def part(self, share: float) -> "Budget":
        """This share of it, in [0, 1]."""
        return Budget(int(self.device_bytes * share), self.host_bytes and int(self.host_bytes * share))

    def __str__(self) -> str:
        return gibibytes(self.device_bytes)


@dataclass(frozen=True)
class MemoryPlan:
    """How one scale is run."""

    tile_px: int  # longest side of a tile's inner box
    tiles: int  # number of tiles
    kept: int  # tiles whose activations are kept from the first pass to the second; the others are run twice
    optimiser: str  # "lbfgs", "adam" or "sgd"
    history: int  # (s, y) pairs of L-BFGS
    at_home: (
        bool  # image and optimiser are in the device's memory; False: in the host's, and tiles are copied
    )
    peak_bytes: int  # expected peak of the device's memory; on a CPU that of the whole process

    def halved(self) -> "MemoryPlan | None":
        """The plan after memory ran out: half the tile, no kept activations. None if it cannot get
        smaller."""
        if self.tile_px // 2 < TILES_PX[-1] and not self.kept:
            return None
        tile_px = max(self.tile_px // 2, TILES_PX[-1])
        return MemoryPlan(tile_px, 0, 0, self.optimiser, self.history, self.at_home, self.peak_bytes)


@dataclass(frozen=True)
class Scene:
    """What has to fit into the memory."""

    size: tuple[int, int]  # (height, width) of the image
    layers: tuple[str, ...]  # all that are computed
    content_layers: tuple[str, ...]  # those whose features of the content image are stored
    value_bytes: int  # of one feature value
    optimiser: str  # "lbfgs", "adam" or "sgd"
    iterations: int
    photo_bytes: int = 0  # of the photograph as it was read

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1]

    def content_bytes(self) -> float:
        """Memory of the content image's features."""
        values = sum(LAYERS[name].channels / LAYERS[name].stride_px ** 2 for name in self.content_layers)
        return self.pixels * values * self.value_bytes


def plan_memory(scene: Scene, budget: Budget) -> MemoryPlan:
    """The best plan within the budget: the preferred tile and a full history if they fit; else a shorter
    history, then a smaller tile, then Adam. Raises UsageError with the budget that would work if nothing
    fits."""
    for optimiser in dict.fromkeys((scene.optimiser, "adam")):
        for tile_px in _tiles_px(scene):
            plan = _fitted(scene, budget, optimiser, tile_px)
            if plan is not None:
                return plan
    needed = smallest_bytes(scene)
    raise UsageError(
        f"--memory: {scene.size[1]} x {scene.size[0]} px need at least {gibibytes(needed, up=True)} and "
        f"there are {budget}. Use --memory {gibibytes(needed, up=True)} or more, a smaller size, or fewer "
        "--workers."
    )


def smallest_bytes(scene: Scene) -> int:
    """The smallest budget with which a scene can be run at all."""
    tile = _tile_bytes(scene, _tiles_px(scene)[-1])[0]
    history = min(SHORTEST_HISTORY, max(1, scene.iterations - 1)) * scene.pixels * PAIR_BYTES
    homes = [_home_bytes(scene, name) + history * (name == "lbfgs") for name in {scene.optimiser, "adam"}]
    return math.ceil(PROCESS_BYTES + tile + min(homes))


def _tiles_px(scene: Scene) -> tuple[int, ...]:
    """Tile sizes worth trying: of those that hold the whole image in one tile, only the smallest."""
    longest = max(scene.size)
    return tuple(
        px
        for i, px in enumerate(TILES_PX)
        if px < longest or i == len(TILES_PX) - 1 or TILES_PX[i + 1] < longest
    )


def _home_bytes(scene: Scene, optimiser: str) -> float:
    """Memory of everything that has the size of the image, except the (s, y) pairs of L-BFGS."""
    return scene.pixels * IMAGE_BYTES * STATE_IMAGES[optimiser] + scene.content_bytes() + scene.photo_bytes


def _tile_bytes(scene: Scene, tile_px: int) -> tuple[float, float, int]:
    """(memory of the tile being run, memory of one whose activations are kept, number of tiles)."""
    if not scene.layers:
        return 0.0, 0.0, 1
    tiles = plan_tiles(scene.size, scene.layers, tile_px)
    largest = max(tile.outer.pixels for tile in tiles)
    kept = largest * activation_bytes_per_pixel(scene.layers, bytes_per_value=scene.value_bytes)
    return kept + largest * WORKING_BYTES_PER_VALUE_BYTE * scene.value_bytes, KEPT_MORE * kept, len(tiles)


def _fitted(scene: Scene, budget: Budget, optimiser: str, tile_px: int) -> MemoryPlan | None:
    """The plan with this optimiser and tile, or None if it does not fit."""
    running, kept_each, tiles = _tile_bytes(scene, tile_px)
    home = _home_bytes(scene, optimiser)
    wanted = min(LONGEST_HISTORY, max(1, scene.iterations - 1)) if optimiser == "lbfgs" else 0
    device_room = budget.device_bytes - PROCESS_BYTES - running
    homes = {True: device_room}  # {at_home: room for what has the size of the image}
    if budget.host_bytes is not None:
        homes[False] = budget.host_bytes - PROCESS_BYTES
    for at_home, home_room in homes.items():
        home_room -= home
        if min(device_room, home_room) < 0:
            continue
        history = min(wanted, int(home_room // (scene.pixels * PAIR_BYTES)))
        if history < min(wanted, SHORTEST_HISTORY):
            continue
        pairs = history * scene.pixels * PAIR_BYTES
        room = device_room - (home + pairs if at_home else 0)
        # The second pass begins with the kept tiles, so one of them is the tile being run, counted already.
        kept = min(tiles, 1 + int(KEPT_SHARE * room // kept_each)) if kept_each else 0
        used = PROCESS_BYTES + running + (home + pairs if at_home else 0) + max(0, kept - 1) * kept_each
        return MemoryPlan(tile_px, tiles, kept, optimiser, history, at_home, math.ceil(used))
    return None


def kept_by_helper(scene: Scene, tile_px: int, tiles: int, budget: Budget) -> int:
    """How many of its tiles' activations a helper can keep: a device that runs some tiles of an image that is
    stored elsewhere. It always holds the pixels of its tiles and the content image's features there."""
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
    """Bytes from text such as "6GiB", "6.5 GB" or "800MB". Raises UsageError."""
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
    """Bytes in the form that --memory accepts: "5.7GiB", below one GiB "730MiB". up: round up."""
    rounded = math.ceil if up else round
    if count < 2**30:
        return f"{rounded(count / 2**20)}MiB"
    return f"{rounded(count / 2**30 * 10) / 10:.1f}GiB"
