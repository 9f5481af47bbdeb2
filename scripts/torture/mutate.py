"""Damaged files of every format that is read. Each is either read or refused by name: no other error, no
hang, and no word on standard error that does not name the file.

python -m scripts.torture.mutate --count 100 --seed 1          so many of each format
python -m scripts.torture.mutate --format JPEG --only 17       one case again, its file kept
"""

import argparse
import contextlib
import datetime
import faulthandler
import os
import platform
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from scripts.torture.formats import FORMATS, Format

LIMIT_S = 20.0  # of a case; on a busy machine most take a few milliseconds
MEMORY_BYTES = 8 * 10**9  # of the address space: a bomb must not take the machine with it
EXTREMES = (
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\x01",
    b"\x01\0\0\0",
    b"\x80\0\0\0",
)
WORDS = (
    "[" * 3000,
    "{",
    "}",
    "\0",
    "1" * 5000,
    "0x" + "f" * 9000,
    '"""',
    "'''",
    "nan",
    "inf",
    "-1",
    "1e999",
    "a." * 3000,
    "\ud7ff",
    "\r",
    "#",
    "=",
    "[look]\n",
    "[[pictures]]\n",
    "true",
    "2020-13-45",
    "../" * 2000,
    "\\u0000",
    "\x1b[2J",
    "é" * 300,
)


# --- damage -------------------------------------------------------------------------------------------------


def mutated(data: bytes, draw: random.Random, *, text: bool = False) -> bytes:
    """One to four kinds of damage, one after the other; never the same bytes again."""
    result = data
    while result == data:
        for _ in range(draw.choice((1, 1, 1, 2, 4))):
            result = draw.choice((*KINDS, *([_word] * len(KINDS) if text else [])))(result, draw)
    return result


def _place(data: bytes, draw: random.Random) -> int:
    """Half of the time within the head, where sizes and kinds stand."""
    return draw.randrange(min(len(data), 200) if draw.random() < 0.5 else len(data)) if data else 0


def _cut(data, draw):
    return data[: _place(data, draw)]


def _flipped(data, draw):
    result = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8, 64)) if data else 0):
        result[_place(data, draw)] ^= 1 << draw.randrange(8)
    return bytes(result)


def _extreme(data, draw):
    at = _place(data, draw)
    return data[:at] + draw.choice(EXTREMES) + data[at + 4 :]


def _emptied(data, draw):
    at, length = _place(data, draw), draw.randrange(1, 64)
    return data[:at] + bytes(len(data[at : at + length])) + data[at + length :]


def _left_out(data, draw):
    at = _place(data, draw)
    return data[:at] + data[at + draw.randrange(1, 64) :]


def _twice(data, draw):
    at = _place(data, draw)
    return data[:at] + data[at : at + draw.randrange(1, 256)] + data[at:]


def _noise(data, draw):
    at = _place(data, draw)
    return data[:at] + draw.randbytes(draw.randrange(1, 64)) + data[at:]


def _word(data, draw):
    at = _place(data, draw)
    return data[:at] + draw.choice(WORDS).encode() + data[at + draw.choice((0, 0, 5)) :]


KINDS = (_cut, _flipped, _flipped, _extreme, _extreme, _emptied, _left_out, _twice, _noise)


# --- one case -----------------------------------------------------------------------------------------------


class TookTooLong(BaseException):
    pass


@contextlib.contextmanager
def _within(limit_s: float) -> Iterator[None]:
    """Raises TookTooLong; code in C that never comes back ends the program, which then says where it was."""

    def ring(*_):
        raise TookTooLong

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    faulthandler.dump_traceback_later(3 * limit_s, exit=True)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def _heard() -> Iterator[list[bytes]]:
    """What is written to standard error meanwhile, by libraries in C too."""
    heard: list[bytes] = []
    sys.stderr.flush()
    # sys.stderr may write through a duplicate: see render.pictures.decoder_warnings.libraries_named.
    kept = {number: os.dup(number) for number in {2, sys.__stderr__.fileno()}}
    with tempfile.TemporaryFile() as file:
        for number in kept:
            os.dup2(file.fileno(), number)
        try:
            yield heard
        finally:
            sys.stderr.flush()
            for number, copy in kept.items():
                os.dup2(copy, number)
                os.close(copy)
            file.seek(0)
            heard.append(file.read())


def judge(kind: Format, path: Path) -> tuple[str, str]:
    """("accepted" | "refused" | "broken" | "unnamed", why); unnamed: as it should be, but for words on
    standard error that do not name the file, mostly of decoders in C."""
    from render.errors import RenderError

    name = "ledger.sqlite" if kind.name == "ledger" else path.name
    with _heard() as heard:
        try:
            with _within(LIMIT_S):
                verdict = ("refused" if kind.read(path) is False else "accepted"), ""
        except RenderError as error:
            verdict = (
                ("refused", str(error))
                if name in str(error)
                else ("broken", f"does not name the file: {error}")
            )
        except TookTooLong:
            verdict = "broken", f"took more than {LIMIT_S:g} s"
        except BaseException as error:  # SystemExit, and a Rust library's panics
            where = traceback.extract_tb(error.__traceback__)[-1]
            verdict = (
                "broken",
                f"{type(error).__name__}: {str(error)[:200]} ({Path(where.filename).name}:{where.lineno})",
            )
    said = heard[0].decode(errors="replace").strip()
    if said and name not in said and verdict[0] != "broken":
        verdict = "unnamed", f"says on standard error, without the file's name: {said[:200]}"
    return verdict


# --- the campaign -------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """Of one format. broken, unnamed: (number of the case, why); see `judge`."""

    accepted: int = 0
    refused: int = 0
    broken: list[tuple[int, str]] = field(default_factory=list)
    unnamed: list[tuple[int, str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def cases(self) -> int:
        return self.accepted + self.refused + len(self.broken) + len(self.unnamed)


def case_of(kind: Format, samples: list[Path], number: int, seed: int, folder: Path) -> Path:
    """Case `number` of a format, the same for a seed whatever other cases are made."""
    draw = random.Random(f"{seed} {kind.name} {number}")
    sample = draw.choice(samples)
    path = folder / f"case{number}{kind.ending or sample.suffix}"
    data = sample.read_bytes()
    if kind.deeper is not None and draw.random() < 0.6:
        path.write_bytes(kind.deeper(data, draw, mutated))
    else:
        path.write_bytes(mutated(data, draw, text=kind.text))
    return path


def torture(
    kind: Format, numbers, seed: int, work: Path, *, until: float = float("inf"), keep: Path | None = None
) -> Tally:
    """Whole samples first: a campaign against what is refused anyway would prove nothing."""
    tally, whole = Tally(), work / "whole"
    whole.mkdir(parents=True)
    samples = kind.samples(whole)
    began_s = time.monotonic()
    for number in numbers:
        if time.monotonic() > until:
            break
        folder = work / "case"
        folder.mkdir()
        if kind.name == "preset":
            shutil.copy(whole / "a.png", folder)
        path = case_of(kind, samples, number, seed, folder)
        data = path.read_bytes()
        verdict, why = judge(kind, path)
        if verdict in ("broken", "unnamed"):
            getattr(tally, verdict).append((number, why))
            if keep is not None:
                (keep / f"{kind.name.replace(' ', '_')}-{path.name}").write_bytes(data)
        else:
            setattr(tally, verdict, getattr(tally, verdict) + 1)
        shutil.rmtree(folder)
    tally.seconds = time.monotonic() - began_s
    return tally


def check_whole(kind: Format, work: Path) -> None:
    """Raises AssertionError unless every whole sample is read (weights of a single layer are refused by
    name)."""
    for sample in kind.samples(work):
        copy = sample.with_name(f"copy{sample.suffix}")
        shutil.copy(sample, copy)
        verdict, why = judge(kind, copy)
        assert verdict == "accepted" or "no weights for conv1_2" in why, (
            f"{kind.name}, {sample.name}: {verdict}, {why}"
        )


def machine() -> str:
    """Processor, date and commit, for a table that is kept."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
        else:
            processor = platform.processor()
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True
    ).stdout.strip()
    return f"{processor}, {datetime.date.today()}, commit {commit}"


def table(tallies: dict[str, Tally]) -> str:
    lines = [
        "| format | cases | read | refused by name | words that name no file | broken | seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    rows = {
        name: (t.cases, t.accepted, t.refused, len(t.unnamed), len(t.broken), round(t.seconds, 1))
        for name, t in tallies.items()
    }
    rows["all"] = tuple(round(sum(column), 1) for column in zip(*rows.values()))
    return "\n".join(
        [*lines, *(f"| {name} | {' | '.join(f'{value}' for value in row)} |" for name, row in rows.items())]
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=60, help="of each format (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="at most, shared out among the formats"
    )
    parser.add_argument("--format", choices=[kind.name for kind in FORMATS], action="append", dest="names")
    parser.add_argument("--only", type=int, help="this case alone")
    parser.add_argument("--keep", type=Path, help="folder for the files that break something")
    options = parser.parse_args(arguments)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    kinds = [kind for kind in FORMATS if options.names is None or kind.name in options.names]
    numbers = range(options.count) if options.only is None else [options.only]
    tallies = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:
            work = Path(folder, kind.name.replace(" ", "_"))
            (work / "checked").mkdir(parents=True)
            check_whole(kind, work / "checked")
            until = time.monotonic() + options.seconds / len(kinds)
            tallies[kind.name] = torture(kind, numbers, options.seed, work, until=until, keep=options.keep)
            for number, why in [*tallies[kind.name].broken, *tallies[kind.name].unnamed]:
                print(f"{kind.name}, case {number}: {why}", flush=True)
    print(f"\n{machine()}, seed {options.seed}\n\n{table(tallies)}")
    return 1 if any(tally.broken for tally in tallies.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
