"""Presets, settings, IDX files, profiles and recipes, fuzzed by coverage: what reaches new branches of a
parser is kept and damaged further. Only RenderErrors that name the file may come out.

python -m scripts.torture.fuzz --seconds 60                     all parsers, a minute each
python -m scripts.torture.fuzz --seconds 600 --parser preset --corpus FOLDER

Needs `pip install atheris`; without it the same parsers get the random damage of mutate.py, not guided.
"""

import argparse
import importlib.util
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PARSERS = ("preset", "setting", "idx", "icc", "recipe")
WATCHED = (
    "render.jobs.styles",
    "render.jobs.look",
    "render.jobs.toml",
    "render.pictures.icc",
    "render.gan.data",
    "render.pictures.print_file",
    "render.painting.recolor",
    "render.pictures.images",
    "tomllib",
)
LONGEST_BYTES = 1 << 16
LIMIT_S = 20  # of a case
MEMORY_MB = 4000


# --- one parser, in a process of its own: the fuzzer ends its process ---------------------------------------


def reader_of(name: str, folder: Path) -> tuple[Callable[[bytes], None], list[bytes]]:
    """What is fuzzed, and whole inputs to begin with."""
    from render.jobs import styles
    from scripts.torture.formats import FORMATS

    if name == "setting":
        return (lambda data: styles.apply_settings({}, [data.decode(errors="replace")])), [
            b"style_layers={relu1_1=1, pool4=0.5}",
            b"style_weight=1e3",
            b"init=noise",
            b"style_layers.relu1_1=2",
            b"pooling=average",
        ]
    format_ = {"preset": "preset", "idx": "IDX", "icc": "ICC profile", "recipe": "recipe in a print"}[name]
    kind = next(kind for kind in FORMATS if kind.name == format_)
    samples = [path for path in kind.samples(folder) if name != "recipe" or path.suffix == ".jpg"]
    path = folder / f"case{kind.ending or '.jpg'}"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        kind.read(path)

    return read, [sample.read_bytes() for sample in samples]


def refusing(read: Callable[[bytes], None], name: str) -> Callable[[bytes], None]:
    """Raises whatever may not come out."""
    from render.errors import RenderError

    def target(data: bytes) -> None:
        try:
            read(data)
        except RenderError as error:
            if name != "setting" and "case." not in str(error):
                raise AssertionError(f"does not name the file: {error}") from error

    return target


def fuzz_here(name: str, seconds: int, corpus: Path) -> None:
    guided = importlib.util.find_spec("atheris") is not None
    if guided:
        import atheris

        with atheris.instrument_imports(include=list(WATCHED)):
            import render.gan.data
            import render.painting.recolor  # noqa: F401
    with tempfile.TemporaryDirectory() as folder:
        read, samples = reader_of(name, Path(folder))
        target = refusing(read, name)
        for i, sample in enumerate(samples):
            (corpus / f"whole{i}").write_bytes(sample)
            target(sample)
        if guided:
            words = [
                f"-max_total_time={seconds}",
                f"-max_len={LONGEST_BYTES}",
                f"-timeout={LIMIT_S}",
                f"-rss_limit_mb={MEMORY_MB}",
                "-print_final_stats=1",
                f"-artifact_prefix={corpus.parent}/broken-",
                "-seed=1",
                str(corpus),
            ]
            atheris.Setup([sys.argv[0], *words], target)
            atheris.Fuzz()  # ends the process
        _unguided(target, samples, seconds)


def _unguided(target: Callable[[bytes], None], samples: list[bytes], seconds: int) -> None:
    from scripts.torture.mutate import mutated

    draw, until, count = random.Random(1), time.monotonic() + seconds, 0
    while time.monotonic() < until:
        target(mutated(draw.choice(samples), draw, text=True))
        count += 1
    print(f"stat::number_of_executed_units: {count}")


# --- all of them --------------------------------------------------------------------------------------------


def run(name: str, seconds: int, folder: Path) -> tuple[str, str]:
    """(a line of the table, what broke)."""
    corpus = folder / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    words = [
        sys.executable,
        "-m",
        "scripts.torture.fuzz",
        "--here",
        name,
        "--seconds",
        str(seconds),
        "--corpus",
        str(corpus),
    ]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=seconds + 300)
    said = done.stdout + done.stderr
    count = int((re.findall(r"number_of_executed_units: (\d+)", said) or ["0"])[-1])
    lines = (re.findall(r"\bcov: (\d+)", said) or ["-"])[-1]
    broken = "" if done.returncode == 0 else said[-3000:]
    return (
        f"| {name} | {seconds} | {count} | {lines} | {len(list(corpus.iterdir()))} | {int(bool(broken))} |",
        broken,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each parser (default: %(default)s)")
    parser.add_argument("--parser", choices=PARSERS, action="append", dest="names")
    parser.add_argument("--corpus", type=Path, help="folder that is kept, with what broke something")
    parser.add_argument("--here", choices=PARSERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here is not None:
        fuzz_here(options.here, options.seconds, options.corpus)
        return 0
    from scripts.torture.mutate import machine

    guided = importlib.util.find_spec("atheris") is not None
    with tempfile.TemporaryDirectory() as temporary:
        found = {
            name: run(name, options.seconds, options.corpus or Path(temporary))
            for name in options.names or PARSERS
        }
    for name, (_, broken) in found.items():
        if broken:
            print(f"{name}:\n{broken}\n")
    print(
        f"{machine()}, "
        f"{'guided by coverage (atheris)' if guided else 'not guided: atheris is not installed'}\n"
    )
    print(
        "| parser | seconds | cases | branches reached | kept inputs | broken |\n| --- | ---: | ---: | ---: "
        "| ---: | ---: |"
    )
    print("\n".join(line for line, _ in found.values()))
    return int(any(broken for _, broken in found.values()))


if __name__ == "__main__":
    sys.exit(main())
