"""Full disks, limits, clocks that jump, inputs that change under the batch, two drivers: each told clearly,
nothing lost.

python scripts/torture/disks.py                      everything that this machine allows
python scripts/torture/disks.py --only full limit    kinds of trouble by name (--list names them)
python scripts/torture/disks.py --count 5 --seed 3   so many of each, at most (default: all)

After each trouble the same command runs without it, and must leave what an undisturbed run leaves, byte for
byte. Mounting needs root; what cannot be had here is said in the table.
"""

import argparse
import contextlib
import errno
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import ground

BATCH = ("batch", *ground.LOOK, "--size", "352", "--color", "luminance", "--checkpoint-every", "0", "--json")
WRITES = ("checkpoint", "painted", "print", "record")  # as inside/sitecustomize.py's kind() tells them apart
TEXT_OF_FULL = ("space", "too large", "quota", "read-only", "denied", "not permitted")


@dataclass(frozen=True)
class Trouble:
    """torment(scene): brings it about and runs the batch in it; gives what is wrong, in words, or "" or why
    it cannot be had."""

    name: str
    torment: Callable[["Scene"], str]


class Refused(Exception):
    """This machine does not allow it."""


class Scene:
    """A folder with inputs, the command, and what an undisturbed run leaves."""

    def __init__(self, folder: Path, wanted: dict[str, bytes]):
        self.folder, self.wanted = folder, wanted
        self.words = (*BATCH, *ground.pictures(folder))
        self.status: int | None = None  # of the run in trouble

    def run(self, *words, **more) -> ground.Run:
        return ground.run((*self.words, *words), cwd=self.folder, **more)

    def trouble_then_calm(
        self, output: Path, *, told=TEXT_OF_FULL, after=lambda: None, more_words=(), **more
    ) -> str:
        """A run in trouble, which must say so, and the same command without it."""
        done = self.run("--output", output, *more_words, **more)
        self.status = done.status
        after()
        return _first(self.honest(done, output, told), self.calm(output))

    def honest(self, done: ground.Run, output: Path, told) -> str:
        states = ground.ledger_or_none(output)
        if done.status is None:
            return "it hangs"
        if "Traceback" in done.err:
            return f"a traceback: {done.err[-600:]}"
        if done.status == 0 and ground.prints(output) != self.wanted:
            return "status 0, and not all prints are there"
        if done.status != 0 and told and not any(word in done.err.lower() for word in told):
            return f"status {done.status} and no word of why: {done.err[-400:]!r}"
        for name, state in (states or {}).items():
            if state == "done" and (output / name).read_bytes() != self.wanted[name]:
                return f"the ledger calls {name} done, and it is not"
        return ""

    def calm(self, output: Path) -> str:
        done = self.run("--output", output)
        if done.status != 0:
            return f"afterwards: status {done.status}: {done.err[-400:]}"
        if ground.prints(output) != self.wanted:
            return "afterwards: not the prints of an undisturbed run"
        left = [*ground.halves(output), *ground.kept(output)]
        return f"afterwards: left behind: {[path.name for path in left]}" if left else ""


def _first(*wrongs: str) -> str:
    return next((wrong for wrong in wrongs if wrong), "")


# ---- disks -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def mounted(folder: Path, *words: str) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *words, str(folder)], capture_output=True, text=True)
    if done.returncode:
        raise Refused(done.stderr.strip()[:120] or "mount failed")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def full_disk(kilobytes: int) -> Callable[[Scene], str]:
    """A tmpfs that is full after so much: sooner in a checkpoint, later in a painted picture or a print."""

    def torment(scene: Scene) -> str:
        with mounted(scene.folder / "disk", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs") as disk:
            return scene.trouble_then_calm(
                disk / "prints",
                after=lambda: subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True),
            )

    return torment


def read_only(scene: Scene) -> str:
    """From the first finished print on."""
    with mounted(scene.folder / "disk", "-t", "tmpfs", "tmpfs") as disk:
        one = scene.run("--output", disk / "prints", "--inputs", scene.folder / "photos/p0.png")
        if one.status != 0:
            return f"could not begin: {one.err}"
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        return scene.trouble_then_calm(
            disk / "prints",
            after=lambda: subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True),
        )


def file_limit(size_bytes: int) -> Callable[[Scene], str]:
    """RLIMIT_FSIZE: a write beyond it fails (SIGXFSZ is ignored by Python)."""

    def torment(scene: Scene) -> str:
        return scene.trouble_then_calm(
            scene.folder / "prints",
            before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes)),
        )

    return torment


def failing(kind: str, number: int, code: int) -> Callable[[Scene], str]:
    """The n-th sync of one kind of file fails, as with a quota or a dying drive."""

    def torment(scene: Scene) -> str:
        def before():
            plain, left = os.replace, [number]

            def replace(source, target, **more):
                if str(source).endswith(".part") and _kind(target) == kind:
                    left[0] -= 1
                    if left[0] == 0:
                        raise OSError(code, os.strerror(code), str(target))
                plain(source, target, **more)

            os.replace = replace

        return scene.trouble_then_calm(
            scene.folder / "prints", before=before, told=(*TEXT_OF_FULL, "input/output")
        )

    return torment


def _kind(path) -> str:
    return sys.modules["torture_inside"].kind(path)


def closed_log(scene: Scene) -> str:
    """Standard error on a full device, as when a log's disk is full."""

    def before():
        os.dup2(os.open("/dev/full", os.O_WRONLY), 2)

    return scene.trouble_then_calm(scene.folder / "prints", before=before, told=())


# ---- time, inputs, neighbours ------------------------------------------------------------------------------


def clock(jump_s: float) -> Callable[[Scene], str]:
    """time.time jumps at every call; monotonic clocks don't, as on a real machine whose date is set."""

    def torment(scene: Scene) -> str:
        def before():
            plain, calls = time.time, [0]

            def jumping():
                calls[0] += 1
                return plain() + (jump_s if calls[0] % 2 else 0)

            time.time = jumping

        return scene.trouble_then_calm(scene.folder / "prints", before=before, told=())

    return torment


def input_changes(change: Callable[[Path], None], told) -> Callable[[Scene], str]:
    """The second photograph changes when the first print is renamed into place, and is put back before the
    calm run."""

    def torment(scene: Scene) -> str:
        photo, safe = scene.folder / "photos/p1.png", scene.folder / "safe.png"
        shutil.copy(photo, safe)

        def before():
            plain = os.replace

            def replace(source, target, **more):
                plain(source, target, **more)
                if _kind(target) == "print":
                    change(photo)

            os.replace = replace

        return scene.trouble_then_calm(
            scene.folder / "prints", before=before, told=told, after=lambda: shutil.copy(safe, photo)
        )

    return torment


def _truncate(photo: Path) -> None:
    os.truncate(photo, os.path.getsize(photo) // 2)


def _another(photo: Path) -> None:
    shutil.copy(photo.with_name("p0.png"), photo)


def two_drivers(scene: Scene) -> str:
    """The second is refused while the first works, and the first is not disturbed."""
    output = scene.folder / "prints"
    first = subprocess.Popen(
        [sys.executable, "-m", "render", *map(str, scene.words), "--output", str(output)],
        cwd=scene.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 60
    while not (output / ".render/checkpoints").exists() and first.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    second = scene.run("--output", output)
    status = first.wait(120)
    scene.status = second.status
    if second.status != 2 or "another batch is rendering there" not in second.err:
        return f"the second ended with {second.status}: {second.err[-300:]}"
    return f"the first ended with {status}" if status else _first(scene.calm(output))


def folded(kind: str) -> Callable[[Scene], str]:
    """On a disk that folds case two prints of one name, and a print in a photograph's place, are refused
    before any work; a batch of one name is done."""

    def torment(scene: Scene) -> str:
        with folding_disk(scene.folder, kind) as disk:
            other = scene.folder / "other/P0.png"
            other.parent.mkdir()
            shutil.copy(scene.folder / "photos/p0.png", other)
            both = scene.run("--output", disk / "prints", "--inputs", scene.folder / "photos", other)
            scene.status = both.status
            if both.status != 2 or "would be written by two jobs" not in both.err:
                return f"two prints of one folded name: status {both.status}: {both.err[-300:]}"
            photo = disk / "P0--S0.PNG"
            shutil.copy(scene.folder / "photos/p1.png", photo)
            before = photo.read_bytes()
            over = scene.run("--output", disk, "--inputs", scene.folder / "photos/p0.png", photo, "--fresh")
            if over.status != 2 or "would replace" not in over.err or photo.read_bytes() != before:
                return f"a print in a photograph's place: status {over.status}: {over.err[-300:]}"
            return scene.trouble_then_calm(disk / "prints", told=())

    return torment


MAKE_DISK = {"vfat": ("mkfs.vfat",), "ntfs": ("mkntfs", "-q", "-F", "-f")}


@contextlib.contextmanager
def folding_disk(folder: Path, kind: str) -> Iterator[Path]:
    """vfat by the kernel, NTFS by lowntfs-3g (Debian's ntfs-3g)."""
    image = folder / "disk.img"
    with image.open("wb") as file:
        file.truncate(64 * 2**20)
    for program in (MAKE_DISK[kind][0], *(["lowntfs-3g"] if kind == "ntfs" else [])):
        if shutil.which(program) is None:
            raise Refused(f"{program} is not installed")
    if (done := subprocess.run([*MAKE_DISK[kind], str(image)], capture_output=True, text=True)).returncode:
        raise Refused(done.stderr.strip()[:120])
    if kind == "vfat":
        with mounted(folder / "disk", "-o", "loop", "-t", kind, str(image)) as disk:
            yield disk
        return
    disk = folder / "disk"
    disk.mkdir()
    if (
        done := subprocess.run(
            ["lowntfs-3g", "-o", "ignore_case", str(image), str(disk)], capture_output=True, text=True
        )
    ).returncode:
        raise Refused(done.stderr.strip()[:120])
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def checkpoint_is(spoilt: Callable[[Path], None]) -> Callable[[Scene], str]:
    """A job is killed at its second scale, and its checkpoint is no more what it was: the job begins again,
    or goes on."""

    def torment(scene: Scene) -> str:
        output, note, plan = scene.folder / "prints", scene.folder / "note", scene.folder / "plan.json"
        plan.write_text(
            json.dumps(
                {"id": "1", "phase": "scale 2", "role": "driver", "n": 5, "victim": "self", "note": str(note)}
            )
        )
        scene.run("--output", output, environment={"RENDER_TORTURE": str(plan)})
        if not note.exists() or not (found := ground.kept(output)):
            return "the kill did not fall at the second scale"
        spoilt(found[0])
        scene.status = 137
        return scene.calm(output)

    return torment


def _flip(checkpoint: Path, at: float) -> None:
    data = bytearray(checkpoint.read_bytes())
    data[int(at * (len(data) - 1))] ^= 0xFF
    checkpoint.write_bytes(data)


def _in_the_header(checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes().replace(b"iteration", b"iterbtion"))


def many_workers(scene: Scene) -> str:
    """More than the machine could ever hold: refused by name, or done with as many as there is work for."""
    return scene.trouble_then_calm(
        scene.folder / "prints", told=("--workers",), more_words=("--workers", "10000")
    )


TROUBLES = (
    *(Trouble(f"full: tmpfs of {size} kB", full_disk(size)) for size in (4, 40, 120, 300, 600, 1000)),
    Trouble("read-only: from the second print on", read_only),
    *(
        Trouble(f"limit: files of {size} bytes at most", file_limit(size))
        for size in (4096, 8192, 12_288, 16_384, 65_536, 100_000)
    ),
    *(
        Trouble(f"failing: {name} of {kind} {number}", failing(kind, number, code))
        for name, code in (("quota", errno.EDQUOT), ("full", errno.ENOSPC), ("input/output", errno.EIO))
        for kind in ("checkpoint", "painted", "print")
        for number in (1, 2)
    ),
    Trouble("log: standard error is full", closed_log),
    *(Trouble(f"clock: {jump:+.0f} s", clock(jump)) for jump in (-3600.0, 86400.0 * 365)),
    Trouble("input: truncated", input_changes(_truncate, ("p1.png",))),
    Trouble("input: deleted", input_changes(lambda photo: photo.unlink(missing_ok=True), ("p1.png",))),
    Trouble("input: replaced by another picture", input_changes(_another, ("p1.png",))),
    Trouble("two drivers", two_drivers),
    Trouble("checkpoint: truncated", checkpoint_is(_truncate)),
    Trouble("checkpoint: empty", checkpoint_is(lambda path: os.truncate(path, 0))),
    Trouble("checkpoint: a bit of its length turned", checkpoint_is(lambda path: _flip(path, 0))),
    Trouble("checkpoint: a key of its facts misspelt", checkpoint_is(_in_the_header)),
    Trouble("checkpoint: a bit of its pixels turned", checkpoint_is(lambda path: _flip(path, 0.6))),
    Trouble("workers: 10000", many_workers),
    *(Trouble(f"case: {kind}", folded(kind)) for kind in MAKE_DISK),
)


def undisturbed(folder: Path) -> dict[str, bytes]:
    done = ground.run((*BATCH, *ground.pictures(folder), "--output", "wanted"), cwd=folder)
    if done.status != 0:
        sys.exit(f"the undisturbed run ends with {done.status}: {done.err}")
    return ground.prints(folder / "wanted")


def torture(
    troubles, wanted: dict[str, bytes], minutes: float, say=lambda text: None
) -> list[tuple[str, str]]:
    """(trouble, what became of it) for each."""
    rows, until = [], time.monotonic() + 60 * minutes
    for trouble in troubles:
        if time.monotonic() > until:
            rows.append((trouble.name, "not reached in the time"))
            continue
        with tempfile.TemporaryDirectory(prefix="render-torture-") as folder:
            try:
                scene = Scene(Path(folder), wanted)
                wrong = trouble.torment(scene)
                rows.append(
                    (trouble.name, f"**wrong**: {wrong}" if wrong else f"borne, with status {scene.status}")
                )
            except Refused as refusal:
                rows.append((trouble.name, f"could not be had here: {refusal}"))
        say(": ".join(rows[-1]))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", metavar="WORD", help="troubles whose name begins so")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--count", type=int, help="so many, drawn by the seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=20.0)
    arguments = parser.parse_args()
    chosen = [
        each for each in TROUBLES if arguments.only is None or each.name.startswith(tuple(arguments.only))
    ]
    if arguments.list:
        print(*(each.name for each in chosen), sep="\n")
        return 0
    if arguments.count is not None:
        chosen = random.Random(arguments.seed).sample(chosen, min(arguments.count, len(chosen)))
    ground.prepare()
    with tempfile.TemporaryDirectory(prefix="render-torture-") as folder:
        wanted = undisturbed(Path(folder))
    rows = torture(chosen, wanted, arguments.minutes, lambda text: print(text, file=sys.stderr, flush=True))
    print(ground.table(("trouble", "outcome"), rows))
    print(f"\n{ground.where_and_when()}")
    return 1 if any(outcome.startswith("**wrong") for _, outcome in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
