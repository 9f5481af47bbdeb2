"""Thousands of tiny jobs in one process, or one Ray: memory must stay flat, files closed, and nothing listen
beyond loopback.

python scripts/torture/soak.py --count 2000                    one process
python scripts/torture/soak.py --count 2000 --runner ray       a Ray that the program starts itself
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import ground

EVERY = 100  # jobs between two samples
GROWTH_MB, GROWTH_FILES = 60.0, 8  # from the second sample to the last, which may not be more
STYLES = 10


@dataclass(frozen=True)
class Sample:
    """Of the program's own process, and of all that it started."""

    jobs: int
    own_mb: float
    all_mb: float
    own_files: int
    all_files: int


def soak(
    count: int, runner: str, seed: int, minutes: float, say=lambda text: None
) -> tuple[list[Sample], set[str], int]:
    """(samples, where its processes listened, jobs that were done)."""
    photos = max(1, count // STYLES)
    with tempfile.TemporaryDirectory(prefix="render-torture-") as name:
        folder = Path(name)
        inputs = list(ground.pictures(folder, photos=photos, styles=min(STYLES, count)))
        random.Random(seed).shuffle(inputs[3:])
        words = [
            "batch",
            *inputs,
            *ground.LOOK,
            "--size",
            "128",
            "--json",
            "--output",
            "prints",
            "--runner",
            runner,
        ]
        words += ["--workers", "1", "--cpus-per-worker", "1"] if runner == "ray" else []
        mark = {"RENDER_TORTURE_RUN": folder.name}
        with (folder / ".out").open("wb") as out, (folder / ".err").open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "render", *words],
                cwd=folder,
                env=os.environ | mark,
                stdout=out,
                stderr=err,
            )
            return _watched(process, folder, minutes, say)


def _watched(process, folder: Path, minutes: float, say) -> tuple[list[Sample], set[str], int]:
    mark, until = f"RENDER_TORTURE_RUN={folder.name}", time.monotonic() + 60 * minutes
    samples, heard, done = [], set(), 0
    while process.poll() is None:
        time.sleep(0.2)
        if time.monotonic() > until:
            process.terminate()
            process.wait(60)
        done = (folder / ".out").read_bytes().count(b'{"event": "done"')
        if done >= EVERY * (len(samples) + 1) and (found := sample(done, process.pid, mark)):
            samples.append(found)
            say(
                f"{found.jobs} jobs: {found.own_mb:.0f} MB and {found.own_files} files, "
                f"{found.all_mb:.0f} MB and {found.all_files} in all"
            )
        if done:
            heard |= set(ground.listening(mark))
    return samples, heard, (folder / ".out").read_bytes().count(b'{"event": "done"')


def sample(jobs: int, own: int, mark: str) -> Sample | None:
    found = {pid: _use(pid) for pid in ground.marked(mark)}
    if found.get(own) is None:
        return None
    uses = [use for use in found.values() if use is not None]
    return Sample(
        jobs, found[own][0], sum(mb for mb, _ in uses), found[own][1], sum(files for _, files in uses)
    )


def _use(pid: int) -> tuple[float, int] | None:
    """(resident MB, open files)."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None


def judged(samples: list[Sample], heard: set[str], done: int, count: int) -> list[str]:
    wrong = [f"listens beyond loopback: {each}" for each in sorted(heard) if not ground.is_loopback(each)]
    if done < count:
        wrong.append(f"{done} of {count} jobs were done")
    if len(samples) > 2:
        first, last = samples[1], samples[-1]
        if last.all_mb - first.all_mb > GROWTH_MB:
            wrong.append(f"memory grew from {first.all_mb:.0f} to {last.all_mb:.0f} MB")
        if last.all_files - first.all_files > GROWTH_FILES:
            wrong.append(f"open files grew from {first.all_files} to {last.all_files}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--runner", choices=("local", "ray"), default="local")
    parser.add_argument("--seed", type=int, default=0, help="order of the styles")
    parser.add_argument("--minutes", type=float, default=40.0)
    arguments = parser.parse_args()
    count = max(STYLES, arguments.count // STYLES * STYLES)
    began = time.monotonic()
    samples, heard, done = soak(
        count,
        arguments.runner,
        arguments.seed,
        arguments.minutes,
        lambda text: print(text, file=sys.stderr, flush=True),
    )
    rows = [(s.jobs, f"{s.own_mb:.0f}", s.own_files, f"{s.all_mb:.0f}", s.all_files) for s in samples]
    print(ground.table(("jobs", "MB", "files", "MB, all processes", "files, all"), rows))
    wrong = judged(samples, heard, done, count)
    print(
        f"\n{done} jobs, {arguments.runner}, {(time.monotonic() - began) / 60:.0f} min; {len(heard)} "
        f"sockets listened. Wrong: {len(wrong)}.",
        *wrong,
        sep="\n",
    )
    print(ground.where_and_when())
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
