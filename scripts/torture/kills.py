"""kill -9 at proven moments, the same command again, and again, until it may finish; then everything is
compared.

python scripts/torture/kills.py --count 200 --seed 1                  all four grounds, each in its share
python scripts/torture/kills.py --ground workers --count 20           one of them
python scripts/torture/kills.py --count 1000 --minutes 30             until either is reached

A chain is one output folder: start, kill, the same command, kill, ..., finish. The result must be equal, byte
for byte, to that of a run that nobody disturbed.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import ground

DRIVER = ("planning", "ledger write", "ledger written")
JOB = (
    "scale 1",
    "scale 2",
    "checkpoint write",
    "checkpoint rename",
    "checkpoint renamed",
    "painted write",
    "painted renamed",
    "print write",
    "print rename",
    "print renamed",
)
BATCH = ("batch", *ground.LOOK, "--size", "352", "--color", "luminance", "--json", "--checkpoint-every", "0")
LONGEST = 12  # kills of a chain


@dataclass(frozen=True)
class Ground:
    """aims: (role, victim, phases) to choose from."""

    name: str
    words: tuple[str, ...]
    aims: tuple[tuple[str, str, tuple[str, ...]], ...]
    share: float
    cluster: bool = False


GROUNDS = (
    Ground("local", (), (("driver", "self", DRIVER + JOB),), 0.55),
    Ground(
        "workers",
        ("--workers", "2"),
        (("driver", "self", DRIVER), ("worker", "self", JOB), ("worker", "parent", JOB)),
        0.25,
    ),
    Ground(
        "ray",
        ("--workers", "2", "--cpus-per-worker", "1"),
        (("driver", "self", DRIVER), ("worker", "self", JOB), ("worker", "parent", JOB)),
        0.12,
        cluster=True,
    ),
    Ground(
        "tiles",
        ("--workers", "3", "--cpus-per-worker", "1"),
        (
            ("worker", "self", ("tiles",)),
            ("worker", "parent", ("tiles",)),
            ("driver", "self", ("ledger write",)),
        ),
        0.08,
        cluster=True,
    ),
)


@dataclass
class Tally:
    """kills: by (ground, victim, phase); wrong: what should not be, in words."""

    kills: Counter = field(default_factory=Counter)
    resumed: Counter = field(default_factory=Counter)  # by ground: within a scale
    chains: Counter = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def total(self) -> int:
        return sum(self.kills.values())


# ---- one chain ---------------------------------------------------------------------------------------------


class Chain:
    def __init__(
        self,
        place: Ground,
        folder: Path,
        words,
        wanted: dict[str, bytes],
        draw: random.Random,
        tally: Tally,
        stage,
    ):
        self.place, self.folder, self.words, self.wanted = place, folder, words, wanted
        self.draw, self.tally, self.stage = draw, tally, stage
        self.number = tally.chains[place.name] = tally.chains[place.name] + 1
        self.output = folder / f"prints{self.number}"
        self.begun = False  # whether a job may go on within a scale

    def __call__(self, blows: int) -> None:
        for _ in range(min(blows, LONGEST)):
            if not self._blow() or set(self._finished()) == set(self.wanted):
                break
        self._end()

    def _blow(self) -> bool:
        """Whether it fell before the batch was done."""
        role, victim, phases = self.draw.choice(self.place.aims)
        phase = self.draw.choice(phases)
        often = phase.startswith(("scale", "tiles", "checkpoint"))
        n = self.draw.randint(1, 12 if often else 1 if role == "worker" else 2)  # a worker of two has one job
        note = self.folder / f"note{self.number}-{self.tally.total}-{time.monotonic_ns()}"
        self.stage.aim(
            {"id": note.name, "phase": phase, "role": role, "n": n, "victim": victim, "note": str(note)}
        )
        before = self._finished()
        done = self._run()
        self.stage.aim(None)
        self.stage.heal()
        fell = note.exists()
        if fell:
            who = {"self": role, "parent": "raylet" if self.place.cluster else "driver"}[victim]
            self.tally.kills[self.place.name, who, phase] += 1
        self._judge(
            done,
            before,
            f"{role}/{victim} at {phase} x {n}",
            fell and (role, victim) in _ends_the_batch(self.place),
        )
        return fell

    def _run(self) -> ground.Run:
        done = ground.run(
            (*self.words, "--output", self.output.name), cwd=self.folder, environment=self.stage.environment
        )
        first: dict[str, dict] = {}
        for record in done.of("progress"):
            first.setdefault(record["output"], record)
        self.tally.resumed[self.place.name] += (
            sum(record["iteration"] > 1 for record in first.values()) if self.begun else 0
        )
        self.begun = True
        return done

    def _finished(self) -> dict[str, tuple]:
        """Prints that the ledger calls done: which file each is."""
        states = (
            (name, self.output / name)
            for name, state in ground.ledger(self.output).items()
            if state == "done"
        )
        return {name: (path.stat().st_ino, path.stat().st_mtime_ns) for name, path in states if path.exists()}

    def _judge(self, done: ground.Run, before: dict[str, tuple], blow: str, killed: bool) -> None:
        def wrong(what: str) -> None:
            self.tally.wrong.append(f"{self.place.name}, chain {self.number}, {blow}: {what}")

        found, states, after = (
            ground.prints(self.output) if self.output.exists() else {},
            ground.ledger(self.output),
            self._finished(),
        )
        for name, data in found.items():
            if data != self.wanted.get(name):
                wrong(f"{name} is altered or half")
        for name, which in before.items():
            if after.get(name) != which:
                wrong(f"{name} was finished and is lost, or was rendered again")
        for name, state in states.items():
            if state == "done" and name not in found:
                wrong(f"the ledger says {name} is done, and it is not there")
        if killed and done.status != 137:
            wrong(f"ended with status {done.status} though it was killed")
        if not killed:
            summary = (done.of("summary") or [{}])[-1]
            if done.status != (1 if summary.get("failed", True) else 0):
                wrong(
                    f"status {done.status} and the summary say different things: {summary.get('failed')} "
                    f"{done.err[-500:]}"
                )
            if "failed" in states.values() and done.status == 0:
                wrong("the ledger knows a failure and the status does not")
        if left := self.stage.orphans():
            wrong(f"still running: {left}")
        if "Traceback" in done.err:
            wrong(f"a traceback: {done.err[-800:]}")

    def _end(self) -> None:
        def wrong(what: str) -> None:
            self.tally.wrong.append(f"{self.place.name}, chain {self.number}, at the end: {what}")

        self.stage.aim(None)
        before = self._finished()
        done = self._run()
        found, states = ground.prints(self.output), ground.ledger(self.output)
        if done.status != 0:
            wrong(f"status {done.status}: {done.err[-800:]}")
        if found != self.wanted:
            wrong(
                f"not the prints of an undisturbed run: "
                f"{sorted(k for k in self.wanted if found.get(k) != self.wanted[k])}"
            )
        if set(states.values()) != {"done"}:
            wrong(f"the ledger says {states}")
        if any(self._finished().get(name) != which for name, which in before.items()):
            wrong("a finished print was rendered again")
        if left := [*ground.halves(self.output), *ground.kept(self.output)]:
            wrong(f"left behind: {[str(path.relative_to(self.folder)) for path in left]}")
        if left := self.stage.orphans():
            wrong(f"still running: {left}")


def _ends_the_batch(place: Ground) -> set[tuple[str, str]]:
    """(role, victim) whose death is the driver's."""
    return {("driver", "self")} | (set() if place.cluster else {("worker", "parent")})


# ---- stages: where the processes of a ground live ----------------------------------------------------------


class Stage:
    """This machine. The plan lies in a file that every process of a run looks at."""

    words: tuple[str, ...] = ()

    def __init__(self, folder: Path):
        self.plan = folder / "plan.json"
        self.mark = f"RENDER_TORTURE_RUN={folder.name}"
        self.environment = {"RENDER_TORTURE": str(self.plan), "RENDER_TORTURE_RUN": folder.name}

    def aim(self, plan: dict | None) -> None:
        self.plan.with_suffix(".new").write_text(json.dumps(plan))
        os.rename(self.plan.with_suffix(".new"), self.plan)

    def heal(self) -> None: ...

    def orphans(self) -> list[str]:
        return ground.orphans(self.mark)


class RayStage(Stage):
    """A real Ray on loopback: a head without cores, and two machines with two each; one that lost its raylet
    is replaced."""

    def __init__(self, folder: Path, cluster):
        super().__init__(folder)
        self.cluster, self.nodes = cluster, []
        self.words = ("--runner", "ray", "--address", cluster.address)
        self.heal()

    def heal(self) -> None:
        for node in [node for node in self.nodes if not node.any_processes_alive() or not _lives(node)]:
            self.cluster.remove_node(node, allow_graceful=False)
            self.nodes.remove(node)
        while len(self.nodes) < 2:
            self.nodes.append(
                self.cluster.add_node(
                    num_cpus=2, node_ip_address="127.0.0.1", object_store_memory=100 * 2**20
                )
            )
        self.cluster.wait_for_nodes(60)  # until the cluster itself knows who is dead

    def orphans(self) -> list[str]:
        """Also actors of ours that outlive their driver."""
        until = time.monotonic() + ground.CALM_S
        return [*_actors(until), *super().orphans()]


def _lives(node) -> bool:
    return all(info.process.poll() is None for info in node.all_processes.get("raylet", ()))


def _actors(until: float) -> list[str]:
    import psutil

    def alive():
        return [
            p.info["name"]
            for p in psutil.process_iter(["name", "cmdline"])
            if any("ray::Worker" in w for w in p.info["cmdline"] or ())
        ]

    while (found := alive()) and time.monotonic() < until:
        time.sleep(0.2)
    return found


@contextmanager
def stage_for(place: Ground, folder: Path):
    if not place.cluster:
        yield Stage(folder)
        return
    from ray.cluster_utils import Cluster

    os.environ["RENDER_TORTURE"] = str(folder / "plan.json")  # for the cluster's processes
    cluster = Cluster(
        initialize_head=True,
        shutdown_at_exit=False,
        head_node_args={
            "node_ip_address": "127.0.0.1",
            "include_dashboard": False,
            "object_store_memory": 100 * 2**20,
            "num_cpus": 0,
        },
    )
    try:
        yield RayStage(folder, cluster)
    finally:
        cluster.shutdown()
        del os.environ["RENDER_TORTURE"]


# ---- the campaign ------------------------------------------------------------------------------------------


def torture(place: Ground, count: int, seed: int, until: float, tally: Tally, say=lambda text: None) -> None:
    draw = random.Random(f"{seed} {place.name}")
    aim, deadline = tally.total + count, time.monotonic() + until
    with ExitStack() as open_:
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory(prefix="render-torture-")))
        stage = open_.enter_context(stage_for(place, folder))
        words, wanted = undisturbed(place, folder, stage)
        while tally.total < aim and time.monotonic() < deadline and len(tally.wrong) < 50:
            known = len(tally.wrong)
            Chain(place, folder, words, wanted, draw, tally, stage)(aim - tally.total)
            for what in tally.wrong[known:]:
                say(f"WRONG {what}")
            say(
                f"{place.name}: {tally.total - aim + count} of {count} kills, {tally.chains[place.name]} "
                f"chains, {len(tally.wrong)} wrong"
            )


def undisturbed(place: Ground, folder: Path, stage: Stage) -> tuple[tuple[str, ...], dict[str, bytes]]:
    """(the command, what it must leave behind): made by the same runner, and equal to the local one's."""
    stage.aim(None)
    words = BATCH + ground.pictures(folder) + place.words
    if place.name == "tiles":  # one print, several tiles, and so little memory that they are small
        words = (
            BATCH + ground.pictures(folder, photos=1) + place.words + ("--size", "512", "--memory", MEMORY)
        )
    found = {}
    for name, more in (("alone", stage.words), ("again", stage.words)):
        done = ground.run((*words, *more, "--output", name), cwd=folder, environment=stage.environment)
        if done.status != 0:
            sys.exit(f"{place.name}: the undisturbed run ends with {done.status}: {done.err}")
        found[name] = ground.prints(folder / name)
    if found["alone"] != found["again"]:
        sys.exit(f"{place.name}: two undisturbed runs differ")
    return (*words, *stage.words), found["alone"]


MEMORY = "1424MiB"  # a worker has half of its machine's: three tiles


def report(tally: Tally) -> str:
    rows = [(*key, number) for key, number in sorted(tally.kills.items())]
    lines = [ground.table(("ground", "killed", "phase", "kills"), rows), ""]
    lines += [
        f"{tally.total} kills in {sum(tally.chains.values())} chains, {tally.seconds / 60:.0f} min; "
        f"after them "
        f"{sum(tally.resumed.values())} jobs went on within a scale ({dict(tally.resumed)}).",
        f"Wrong: {len(tally.wrong)} (lost, altered, half, orphaned, or a ledger or exit status that lied).",
        *tally.wrong[:40],
        ground.where_and_when(),
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ground", choices=[place.name for place in GROUNDS], action="append")
    parser.add_argument(
        "--count", type=int, default=200, help="kills, of all grounds together (default: %(default)s)"
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="at most (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    ground.prepare()
    chosen = [place for place in GROUNDS if arguments.ground is None or place.name in arguments.ground]
    tally, began = Tally(), time.monotonic()
    for place in chosen:
        share = place.share / sum(each.share for each in chosen)
        left = 60 * arguments.minutes - (time.monotonic() - began)
        torture(
            place,
            max(1, round(share * arguments.count)),
            arguments.seed,
            left,
            tally,
            lambda text: print(text, file=sys.stderr, flush=True),
        )
    tally.seconds = time.monotonic() - began
    print(report(tally))
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
