"""Choose the demo's size and photographs so that its rendering takes a few minutes on this machine.

`scripts/demo` calls it. It measures the machine once (`render batch --dry-run --json`), says on standard
error what it chose and why, prints the size and the photographs on standard output, and keeps the choice in a
file, so that a rerun chooses the same.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from render.jobs.schedule import plan_scales

# (height, width) of the sample photographs, the cheapest first: its prints are the first on the disk.
PHOTOS: Mapping[str, tuple[int, int]] = {
    "coffee.png": (400, 600),
    "rocket.jpg": (427, 640),
    "astronaut.png": (512, 512),
}
STYLES = 12  # those in presets/paintings
QUALITY = "draft"
# Long side in px and number of photographs, the best first. At 192 px every style is still easy to recognize.
LADDER = ((512, 3), (384, 3), (288, 3), (384, 1), (288, 1), (256, 1), (224, 1), (192, 1))
LIMIT_S = 300.0  # what the rendering may take
BUDGET_S = 240.0  # what it is planned to take: the rest is for what a short measurement misses
# A small job takes this many times its estimate, which leaves out the targets, the optimizer's own step,
# reading and writing. Measured at 192 px, in processor time: 1.2 with AVX2, 1.6 with AMX.
OVERHEAD = 1.5
PROBE_PX = 288
MOST_OTHERS_SHARE = 0.95  # a processor that is busier than this is counted as this busy


@dataclass(frozen=True)
class Choice:
    """What the demo renders: each of `photos` in every shipped style."""

    size_px: int  # long side
    photos: tuple[str, ...]  # names out of PHOTOS

    @property
    def pictures(self) -> int:
        return STYLES * len(self.photos)

    def seconds(self, seconds_per_megapixel_iteration: float) -> float:
        """How long all of its pictures take, one after the other."""
        work = sum(megapixel_iterations(PHOTOS[name], self.size_px) for name in self.photos)
        return STYLES * work * seconds_per_megapixel_iteration * OVERHEAD


def megapixel_iterations(photo_size: tuple[int, int], size_px: int) -> float:
    """The work of one picture: millions of pixels times iterations, summed over its scales."""
    scales = plan_scales(photo_size, size_px, quality=QUALITY)
    return sum(scale.pixels * scale.iterations for scale in scales) / 1e6


def choose(seconds_per_megapixel_iteration: float, *, budget_s: float = BUDGET_S) -> Choice:
    """The best choice that fits into the budget; where none does, the smallest."""
    choices = [Choice(size_px, tuple(PHOTOS)[:photos]) for size_px, photos in LADDER]
    fitting = (each for each in choices if each.seconds(seconds_per_megapixel_iteration) <= budget_s)
    return next(fitting, choices[-1])


def speed_of(records: list[dict]) -> tuple[float, float]:
    """(seconds per megapixel iteration, other programs' share of the processor in [0, 1]).

    records: of a dry run of one job. Its estimate is that of an idle machine; a job gets what others leave.
    """
    planned = next(record for record in records if record["event"] == "planned")
    others_share = next(record for record in records if record["event"] == "plan")["others_share"]
    work = sum(s["size"][0] * s["size"][1] * s["iterations"] for s in planned["scales"]) / 1e6
    return planned["seconds"] / work / (1 - min(others_share, MOST_OTHERS_SHARE)), others_share


def measured(photos: Path) -> tuple[float, float]:
    """`speed_of` this machine. Renders nothing; takes a few seconds more than loading torch."""
    with tempfile.TemporaryDirectory() as empty:
        command = [sys.executable, "-m", "render", "batch", "--styles", "impasto_nocturne"]
        command += ["--inputs", str(photos / next(iter(PHOTOS))), "--output", empty]
        command += ["--size", str(PROBE_PX), "--quality", QUALITY, "--dry-run", "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        print(done.stdout, end="", file=sys.stderr)  # errors are records too
        raise SystemExit(
            "This machine could not be measured: see above. scripts/demo --size 288 does without."
        )
    return speed_of([json.loads(line) for line in done.stdout.splitlines()])


def reason(choice: Choice, seconds_per_megapixel_iteration: float, others_share: float) -> str:
    """What was chosen and why, for people."""
    total_s = choice.seconds(seconds_per_megapixel_iteration)
    which = "one photograph" if len(choice.photos) == 1 else f"{len(choice.photos)} photographs"
    lines = [
        f"This machine takes about {total_s / choice.pictures:.0f} s for a draft of {choice.size_px} px"
        + (f" (other programs use {others_share:.0%} of its processor)." if others_share > 0.2 else "."),
        f"So the demo renders {which} in {STYLES} styles, {choice.size_px} px: {choice.pictures} pictures in "
        f"about {minutes(total_s)}.",
    ]
    if total_s > LIMIT_S:
        lines.append("That is the smallest demo there is. Ctrl-C loses nothing: the same command goes on.")
    return "\n".join(lines)


def minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.0f} min"


def kept(path: Path) -> Choice | None:
    """The choice of an earlier run; None where there is none, or it is damaged or of another version."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        choice = Choice(record["size_px"], tuple(record["photos"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    known = choice.photos and set(choice.photos) <= set(PHOTOS)
    return choice if known and isinstance(choice.size_px, int) else None


def keep(choice: Choice, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"size_px": choice.size_px, "photos": choice.photos}
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="folder of the sample photographs")
    parser.add_argument("choice", type=Path, help="file that keeps the choice")
    arguments = parser.parse_args()
    choice = kept(arguments.choice)
    if choice is None:
        print("Measuring this machine ...", file=sys.stderr)
        speed = measured(arguments.photos)
        choice = choose(speed[0])
        print(reason(choice, *speed), file=sys.stderr)
        keep(choice, arguments.choice)
    else:
        print(
            f"{choice.size_px} px, {len(choice.photos)} of the photographs, as an earlier run chose "
            f"(delete {arguments.choice} to measure this machine again).",
            file=sys.stderr,
        )
    print(choice.size_px, *(arguments.photos / name for name in choice.photos))


if __name__ == "__main__":
    main()
