"""A batch as a job on a cluster: what is sent, the job on a real local head, its status, and its prints
brought back."""

import argparse
import base64
import hashlib
import http.server
import json
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

import render
from helpers.pictures import painting_pixels, photo_pixels, save, save_painting, save_photo
from helpers.profiles import printer_profile
from helpers.program import CHEAP, PROGRAM, Run
from render.cli import main, options, screen, workplace
from render.cli import submit as submit_command
from render.cli.arguments import Parser
from render.distributed import follow, jobs_api, on_head, package, submit
from render.errors import RenderError, UsageError
from render.jobs.events import Done, JobDone, JobFailed, JobStarted, Progress
from render.jobs.inputs import find_inputs
from render.jobs.job import Job, make_job, sha256
from render.jobs.ledger import Ledger
from render.jobs.plan import plan_jobs
from render.jobs.settings import Settings
from render.jobs.styles import Look, apply_settings, find_styles, load_style

NOWHERE = "http://127.0.0.1:1"
SMALL = ("--size", "48", *CHEAP)
STRANGE = """b 'quote" $HOME ; é 日本.jpg"""
RAY = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}  # else Ray takes the network interface's address for 127.0.0.1
ELSEWHERE = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN_PATH")
pytestmark = pytest.mark.usefixtures("files_are_read_anew")


@pytest.fixture
def pictures(tmp_path, monkeypatch) -> Path:
    """A working folder with two photos, one with a name to stumble over, and two styles."""
    monkeypatch.chdir(tmp_path)
    save_photo(Path("photos/a.png"))
    save(Path("photos/trip", STRANGE), photo_pixels((40, 64), 1))
    save_painting(Path("x.png"))
    save_painting(Path("y z.png"), seed=2)
    return tmp_path


def batch_words(line: str) -> list[str]:
    """Of `render batch` in a job's line of shell, but for the runner's."""
    words = shlex.split(line.split(" && exec ")[1])
    assert words[:4] == ["python", "-m", "render", "batch"]
    return [word for word in words[4:] if word not in submit.RUNNER]


# --- what is sent -------------------------------------------------------------------------------------------


def test_a_dry_run_says_what_would_be_sent_and_contacts_nobody(pictures, program):
    status, out, _ = program(
        "submit",
        "--address",
        NOWHERE,
        "--inputs",
        "photos",
        "--styles",
        "x.png",
        "impasto_nocturne",
        *SMALL,
        "--dry-run",
    )
    size = sum(path.stat().st_size for path in (*Path("photos").rglob("*.*"), Path("x.png")))
    assert status == 0
    assert NOWHERE in out and "4 files, 0.0 MB: 2 photographs, to be rendered in 2 styles each" in out
    assert "python -m render batch --inputs inputs --styles styles impasto_nocturne --size=48" in out
    assert "~/render-jobs/render-" in out and "Nothing was sent." in out and size < 50_000
    assert "plain HTTP" not in out


def test_sending_over_a_network_in_the_clear_is_said(pictures, program):
    words = ("submit", "--inputs", "photos", "--styles", "paintings", "--dry-run", "--address")
    assert "plain HTTP to another machine" in program(*words, "http://head.example.org:8265")[1]
    assert "plain HTTP" not in program(*words, "https://head.example.org")[1]
    assert "plain HTTP" not in program(*words, "http://localhost:8265")[1]


@pytest.fixture
def elaborate(pictures) -> tuple[str, ...]:
    """Words of a batch whose styles and options name files in many places."""
    save(Path("elsewhere/one.png"), painting_pixels(seed=3))
    save(Path("elsewhere/two.png"), painting_pixels(seed=4))
    save(Path("elsewhere/start 'it'.png"), photo_pixels(seed=2))
    Path("my").mkdir()
    Path("my/mixed.toml").write_text(
        'title = "A \\"mixture\\""\nauthor = "é"\n[[pictures]]\nfile = "../elsewhere/one.png"\nweight = 2.5\n'
        '[[pictures]]\nfile = "../elsewhere/two.png"\n[look]\ninit = "../elsewhere/start '
        "'it'.png\"\ncontent_weight = 1e-7\n"
        'style_loss = "gram"\nstyle_layers = { relu1_1 = 1.0, relu2_1 = 0.5 }\n',
        encoding="utf-8",
    )
    Path("printer.icc").write_bytes(printer_profile())
    return (
        "--inputs",
        "photos",
        "--styles",
        "x.png",
        "my",
        "y z.png",
        "impasto_nocturne",
        "--profile",
        "printer.icc",
        "--soft-proof",
        "printer.icc",
        "--set",
        "tv_weight=0.25",
        "--size",
        "48",
        "--format",
        "tiff",
    )


def planned(words, output: Path) -> dict[str, str]:
    """{output under the folder: job id} of a batch with these words, in the working folder."""
    arguments = main.parser().parse_args(["batch", *words])
    looks = [(style, apply_settings(style.look, arguments.set)) for style in find_styles(arguments.styles)]
    settings = workplace.settings_of(arguments, format=arguments.format)
    sha256.cache_clear()
    found = plan_jobs(
        find_inputs(arguments.inputs), looks, settings, output, weights_sha256="w", failed=pytest.fail
    )
    return {job.output.relative_to(output).as_posix(): job.id for job in found}


def unpacked(words, folder: Path) -> list[str]:
    """Sends the package of these words into the folder; gives the words of the batch there."""
    arguments = main.parser().parse_args(["submit", "--address", NOWHERE, *words])
    packed, what = submit_command._packed(arguments)
    package.write(packed, folder.with_suffix(".zip"))
    with zipfile.ZipFile(folder.with_suffix(".zip")) as archive:
        archive.extractall(folder)
    assert folder.with_suffix(".zip").stat().st_size < packed.bytes + sum(
        package.ENTRY_BYTES + 2 * len(item.name.encode()) for item in packed.items
    )
    return list(packed.words)


@pytest.mark.parametrize(
    "start",
    [
        (),
        ("--set", "init=elsewhere/one.png"),
        ("--set", 'init = "elsewhere/one.png"'),
        ("--set", "init=noise"),
    ],
)
def test_the_jobs_of_what_was_sent_are_those_of_the_batch_here(elaborate, monkeypatch, start):
    """Their identities are hashes of all that decides the pixels."""
    words = (*elaborate, *start)
    here = planned(words, Path("prints"))
    assert len(here) == 8 and f"trip/{STRANGE[:-4]}--mixed.tif" in here
    there = unpacked(words, Path("sent"))
    for path in ("photos", "my", "elsewhere", "x.png", "printer.icc"):
        Path(path).rename(f"away-{path}")
    monkeypatch.chdir("sent")
    assert planned(there, Path("prints")) == here
    (Path("inputs") / "a.png").write_bytes(b"other")
    assert planned(there, Path("prints")) != here


def test_the_same_files_make_the_same_package(elaborate):
    first, again = unpacked(elaborate, Path("one")), unpacked(elaborate, Path("two"))
    assert first == again and Path("one.zip").read_bytes() == Path("two.zip").read_bytes()


def test_every_option_of_the_look_reaches_the_job(pictures):
    words = [
        "--print",
        "6x4cm",
        "--dpi",
        "100",
        "--bleed",
        "2mm",
        "--fit",
        "pad",
        "--quality",
        "best",
        "--set",
        "a=1",
        "--set",
        "b={c=2, d=3}",
        "--seed",
        "-3",
        "--format",
        "tiff",
        "--color",
        "match",
        "--photoreal",
        "0.02",
        "--bit-depth",
        "16",
        "--profile",
        "adobe-rgb",
        "--intent",
        "absolute",
        "--soft-proof",
        "/p.icc",
        "--device",
        "cuda",
        "--precision",
        "float32",
        "--weights",
        "/w.pth",
        "--preprocessing",
        "caffe",
        "--memory",
        "6GiB",
        "--workers",
        "3",
        "--cpus-per-worker",
        "2",
        "--timeout",
        "5",
    ]
    parser, table = Parser(add_help=False), (*options.look_options(), *options.WORKER_OPTIONS)
    parser.add(*table)
    given = vars(parser.parse_args(words))
    assert {name for name, value in given.items() if value == parser.get_default(name)} == {"size"}
    changed = options.changed(table, argparse.Namespace(**given))
    line = submit.entrypoint(package.shared_words(["/i"], ["/s"], changed), "/o")
    there = vars(main.parser().parse_args(["batch", *batch_words(line)]))
    assert {name: there[name] for name in given} == given
    assert (there["inputs"], there["styles"], there["output"], there["json"]) == (["/i"], ["/s"], "/o", True)


@pytest.mark.parametrize("folder", ["/a b/$HOME 'x'", "~/render-jobs/it's here"])
def test_the_shell_reads_a_folder_as_it_is_written(folder):
    seen = subprocess.run(
        ["sh", "-c", f"printf %s {submit.quoted(folder)}"], env={"HOME": "/h"}, capture_output=True, text=True
    )
    assert seen.stdout == folder.replace("~", "/h")


def test_shared_paths_are_named_and_nothing_travels(pictures, program):
    words = (
        "submit",
        "--address",
        NOWHERE,
        "--dry-run",
        "--shared",
        "--styles",
        "paintings",
        "/s/x.png",
        "--output",
        "/o",
        "--inputs",
    )
    status, out, _ = program(*words, "/i/*.jpg", "--weights", "/w.pth")
    assert status == 0 and "sends   no files, only the command" in out
    assert "--inputs '/i/*.jpg' --styles paintings /s/x.png --weights=/w.pth" in out and "--output /o" in out
    for wrong in (
        ("photos",),
        ("/i", "--weights", "w.pth"),
        ("/i", "--set", "init=start.png"),
        ("/i", "--soft-proof", "p.icc"),
    ):
        status, out, err = program(*words, *wrong)
        assert (status, out) == (2, "") and "paths are those of the cluster's machines" in err


@pytest.mark.parametrize(
    ("make", "words", "message"),
    [
        (
            None,
            ("--inputs", "gone.png"),
            "--inputs gone.png: no such file. Check the name; nothing was sent.",
        ),
        (".a.png", ("--inputs", ".a.png"), ".a.png: hidden files are passed over"),
        ("a.dat", ("--inputs", "a.dat"), "a.dat: its extension is not that of a picture. Rename it"),
        ("b/a.png", ("--inputs", "photos", "b"), "would be written by two jobs"),
        (os.fsdecode(b"photos/\xff.png"), ("--inputs", "photos"), "the name is not UTF-8"),
        (None, ("--inputs", "photos", "--output", "prints"), "--output prints: is a folder on the cluster"),
        (None, ("--inputs", "photos", "--set", "content_wait=1"), "Did you mean 'content_weight'?"),
        (None, ("--inputs", "photos", "--print", "A99"), "--print A99"),
        (None, ("--inputs", "photos", "--memory", "6"), "--memory 6"),
        (None, ("--inputs", "photos", "--profile", "p.icc"), "p.icc: no such profile"),
        (None, ("--inputs", "photos", "--weights", "w.pth"), "w.pth: No such file or directory"),
    ],
)
def test_what_the_batch_would_refuse_or_lose_is_refused_before_it_is_sent(
    pictures, program, make, words, message
):
    if make:
        save_photo(Path("p.png"))
        Path(make).parent.mkdir(exist_ok=True)
        Path("p.png").rename(make)
    status, out, err = program("submit", "--address", NOWHERE, "--styles", "x.png", *words)
    assert status in (1, 2) and out == "" and message in err


def test_more_than_ray_takes_is_refused_with_the_way_out(pictures, program):
    words = ("submit", "--address", NOWHERE, "--styles", "x.png", "--inputs", "photos", "--dry-run")
    with open("photos/large.tif", "wb") as file:
        file.truncate(package.MOST_BYTES - 10**6)
    assert program(*words)[0] == 0
    with open("photos/large.tif", "wb") as file:
        file.truncate(package.MOST_BYTES)
    status, out, err = program(*words)
    assert (
        (status, out) == (2, "")
        and "5 files with 105 MB are more than the 105 MB" in err
        and "--shared" in err
    )


# --- what comes back ----------------------------------------------------------------------------------------


def sent_print(name="a/b.png", content=b"a print" * 100, **other) -> list[dict]:
    return [
        {"event": "print", "path": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        | other,
        *(
            {"event": "data", "base64": base64.b64encode(content[i : i + 300]).decode()}
            for i in range(0, len(content), 300)
        ),
    ]


def test_a_print_is_written_as_it_was_sent_between_other_lines(tmp_path):
    records = [
        None,
        {"event": "?"},
        *sent_print(),
        None,
        *sent_print("c.png", b""),
        {"event": "sent", "files": 2, "left": 0},
    ]
    found = [path for path, _ in follow.receive(records, tmp_path)]
    assert found == [tmp_path / "a/b.png", tmp_path / "c.png"]
    assert [path.read_bytes() for path in found] == [b"a print" * 100, b""]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (sent_print()[:-1], "was cut off on its way (100 bytes are missing)"),
        ([*sent_print()[:2], {"event": "sent"}], "was cut off"),
        (sent_print(sha256="0" * 64), "arrived otherwise than it was sent"),
        (sent_print(bytes=650), "arrived otherwise"),
        ([sent_print()[0], {"event": "data", "base64": "??"}], "was damaged on its way"),
    ],
)
def test_a_print_that_does_not_arrive_whole_is_not_there(tmp_path, records, message):
    with pytest.raises(RenderError, match=message.replace("(", r"\(").replace(")", r"\)")):
        list(follow.receive(records, tmp_path))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "name",
    [
        "../x.png",
        "/etc/x.png",
        "a/../../x.png",
        "a/../x.png",
        "",
        ".",
        "..",
        "a\\..\\x.png",
        ".render/ledger.sqlite",
        ".ssh/x.png",
        "link/x.png",
    ],
)
def test_nothing_is_written_outside_the_folder(tmp_path, name):
    folder = tmp_path / "prints"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(RenderError, match="would not lie in"):
        list(follow.receive(sent_print(name), folder))
    assert list(tmp_path.rglob("*.png")) == []
    assert follow.inside(folder, "a..b/c d.png") == folder / "a..b/c d.png"


def a_job(tmp_path, name="a--x.png") -> Job:
    style = load_style(save_painting(tmp_path / "x.png"))
    return make_job(
        save_photo(tmp_path / "a.png"),
        style,
        Look(),
        Settings(),
        tmp_path / "prints" / name,
        weights_sha256="w",
    )


def test_a_tally_counts_the_events_of_a_log(tmp_path):
    job, other = a_job(tmp_path).ref, a_job(tmp_path, "b--x.png").ref
    events = [
        JobStarted(job),
        JobStarted(other),
        Progress(other, 1, 2, (36, 48), 3, 9, 0.25, 0.5),
        JobDone(job, Done(1.5, 7, 0.25, ("dark",))),
    ]
    lines = [
        "Ray says {hello}",
        json.dumps({"event": "begin", "jobs": 3}),
        *(json.dumps(screen.as_record(event)) for event in events),
        "[36m(pid=1)[0m " + json.dumps(screen.as_record(JobFailed(a_job(tmp_path, "c.png").ref, "no"))),
        '{"event": broken',
        "",
    ]
    tally = follow.tally_of("\n".join(lines))
    assert (tally.total, tally.done, tally.running) == (3, 1, {str(other.output)})
    assert [why for _, why in tally.failed] == ["no"] and [finding for _, finding in tally.look_at] == [
        "dark"
    ]
    assert tally.now["iteration"] == 3 and tally.messages == ["Ray says {hello}", '{"event": broken']


# --- status of a folder -------------------------------------------------------------------------------------


def test_the_status_of_a_folder_tells_what_is_done_failed_and_begun(tmp_path, program):
    output = tmp_path / "prints"
    ledger = Ledger(output)
    for name in ("a.png", "b.png", "gone.png"):
        findings = ("border: dark",) if name == "b.png" else ()
        job = a_job(tmp_path, name)
        ledger.record(job, JobDone(job.ref, Done(1.0, 7, 0.5, findings)))
    (output / "a.png").touch()
    (output / "b.png").touch()
    third = a_job(tmp_path, "c.png")
    ledger.record(third, JobStarted(third.ref))
    status, out, _ = program("status", output)
    assert status == 0 and f"{output}: 2 done, 0 failed, 1 running, 1 to look at, 1 gone" in out
    assert "look at b.png: border: dark" in out and "begun   c.png" in out and "gone    gone.png" in out
    ledger.record(third, JobFailed(third.ref, "photo.png: is empty.", "Traceback"))
    ledger.close()
    status, out, _ = program("status", output)
    assert (
        status == 1
        and "failed  c.png: photo.png: is empty." in out
        and "Traceback" not in out
        and "0 running" in out
    )


def test_a_folder_without_a_batch_has_no_status(tmp_path, program):
    assert program("status", tmp_path)[0] == 2
    assert "no batch was rendered there" in program("status", tmp_path)[2]
    assert "name it with --address" in program("status", tmp_path, "--follow")[2]
    assert list(tmp_path.iterdir()) == []


# --- no cluster ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["localhost:8265", "ray://head:10001", "http://", "auto"])
def test_an_address_that_is_no_dashboards_is_refused(pictures, program, address):
    status, out, err = program("submit", "--address", address, "--inputs", "photos", "--styles", "x.png")
    assert (status, out) == (2, "") and f"--address {address}" in err and "http://localhost:8265" in err


def test_an_address_without_an_answer_is_told_before_anything_is_sent(pictures, program):
    status, out, err = program("submit", "--address", NOWHERE, "--inputs", "photos", "--styles", "x.png")
    assert (status, out) == (2, "") and f"{NOWHERE}: no Ray dashboard is there" in err and "ssh -N -L" in err


def test_another_program_at_the_address_is_no_dashboard(pictures, program):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    status, _, err = program("status", "--address", f"http://127.0.0.1:{server.server_port}", "job")
    server.shutdown()
    server.server_close()
    assert status == 2 and "it answers 404, which Ray's dashboard does not" in err


@pytest.mark.parametrize("missing", ["ray", "aiohttp"])
def test_a_missing_ray_is_told_with_what_to_install(pictures, missing):
    code = (
        f"import sys; sys.modules[{missing!r}] = None; from render.cli import main; "
        "status = main.main(sys.argv[1:]); print('then', flush=True); "
        "print(main.main([*sys.argv[1:], '--dry-run'])); sys.exit(status)"
    )
    words = ("submit", "--address", NOWHERE, "--inputs", "photos", "--styles", "x.png")
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout.startswith("then\n")
    assert done.stdout.endswith("\n0\n"), "what would be sent can be seen without it"
    assert (
        f"{missing} is missing here" in done.stderr and "pip install 'render-prints[cluster]'" in done.stderr
    )


def test_another_ray_on_the_cluster_is_told_with_what_to_install():
    jobs_api._check_versions("2.60.0", "2.60.3", NOWHERE)
    with pytest.raises(
        UsageError,
        match=r"runs Ray 2.55.1, and 2.60.0 is installed here.*pip install 'ray\[default\]==2.55.1'",
    ):
        jobs_api._check_versions("2.60.0", "2.55.1", NOWHERE)


# --- a cluster ----------------------------------------------------------------------------------------------


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Head:
    """A real Ray head with its dashboard, on this machine's loopback alone."""

    def __init__(self, folder: Path):
        gcs, dashboard, agent, client = free_ports(4)
        self.home, self.address = folder, f"http://127.0.0.1:{dashboard}"
        environment = {key: value for key, value in os.environ.items() if key not in ELSEWHERE}
        self.environment = (
            environment
            | RAY
            | {
                "RAY_AUTH_TOKEN": secrets.token_hex(32),
                "HOME": str(folder),
                "OMP_NUM_THREADS": "1",
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            }
        )
        self.temporary = Path(
            "/tmp", f"render-{gcs}"
        )  # not under pytest's folder: names of sockets have 107 characters
        self.log = folder / "head.log"
        words = [
            "start",
            "--head",
            "--block",
            "--node-ip-address=127.0.0.1",
            f"--port={gcs}",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={dashboard}",
            f"--dashboard-agent-listen-port={agent}",
            f"--ray-client-server-port={client}",
            "--num-cpus=2",
            "--object-store-memory=80000000",
            f"--temp-dir={self.temporary}",
        ]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ray.scripts.scripts", *words],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ready(self) -> "Head":
        while "Ray runtime started" not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.2)
        return self

    def close(self) -> None:
        """Gently first, so that Ray ends what it started in sessions of their own."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        subprocess.run(["rm", "-rf", self.temporary], check=True)

    def run(self, *words, cwd: Path, **environment) -> Run:
        words = [str(word) for word in words]
        command = [words[0], "--address", self.address, *words[1:]]
        done = subprocess.run(
            [*PROGRAM, *command],
            cwd=cwd,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Run(done.returncode, done.stdout, done.stderr)

    def start(self, line: str, job_id: str, **facts) -> None:
        """A job of ours other than `render submit` starts."""
        code = (
            "import sys; from render.distributed.jobs_api import Dashboard; import json\n"
            "Dashboard(sys.argv[1]).submit(sys.argv[2], sys.argv[3], package=None, "
            "facts=json.loads(sys.argv[4]))"
        )
        subprocess.run(
            [sys.executable, "-c", code, self.address, job_id, line, json.dumps(facts)],
            env=self.environment,
            check=True,
        )


@pytest.fixture(scope="session")
def dashboard(tmp_path_factory):
    started = Head(tmp_path_factory.mktemp("head"))
    try:
        yield started.ready()
    finally:
        started.close()


def name_in(run: Run) -> str:
    return next(line.split()[1] for line in run.out.splitlines() if line.startswith("job "))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*.*"))
        if path.is_file() and ".render" not in path.parts
    }


@pytest.fixture(scope="module")
def rendered(dashboard, tmp_path_factory):
    """(folder, name, what submit said) of a job that was followed to its end. Not to be changed."""
    folder = tmp_path_factory.mktemp("rendered")
    save_photo(folder / "photos" / "a.png")
    save(folder / "photos" / "trip" / STRANGE, photo_pixels((40, 64), 1))
    save_painting(folder / "x.png")
    save_painting(folder / "y z.png", seed=2)
    done = dashboard.run(
        "submit", "--inputs", "photos", "--styles", "x.png", "y z.png", *SMALL, "--wait", cwd=folder
    )
    return folder, name_in(done), done


def test_a_submitted_batch_is_followed_and_its_prints_come_back_as_if_rendered_here(
    dashboard, rendered, tmp_path
):
    folder, name, done = rendered
    assert done.status == 0, done.out + done.err
    assert "6 files" in done.out and "2 photographs, to be rendered in 2 styles each" in done.out
    assert (
        done.err.count("done ") == 4 and f"{name} succeeded, 4 to do: 4 done, 0 failed, 0 running" in done.out
    )

    fetched = dashboard.run("status", name, "--fetch", tmp_path / "back ü", cwd=tmp_path)
    assert fetched.status == 0 and "4 files fetched" in fetched.out, fetched.out + fetched.err
    local = subprocess.run(
        [
            *PROGRAM,
            "batch",
            "--inputs",
            "photos",
            "--styles",
            "x.png",
            "y z.png",
            *SMALL,
            "--output",
            tmp_path / "here",
        ],
        cwd=folder,
        env=dashboard.environment,
        capture_output=True,
    )
    assert local.returncode == 0
    assert contents(tmp_path / "back ü") == contents(tmp_path / "here")
    assert sorted(contents(tmp_path / "here")) == [
        "a--x.png",
        "a--y z.png",
        f"trip/{STRANGE[:-4]}--x.png",
        f"trip/{STRANGE[:-4]}--y z.png",
    ]


def test_only_what_is_missing_or_other_is_fetched_and_the_cluster_keeps_no_copy(
    dashboard, rendered, tmp_path
):
    _, name, _ = rendered
    prints = contents(dashboard.home / "render-jobs" / name)
    (tmp_path / "trip").mkdir()
    for there in list(prints)[-2:]:
        (tmp_path / there).write_bytes(prints[there])
    (tmp_path / "a--x.png").write_bytes(prints["a--y z.png"])
    code = (
        "import sys; from pathlib import Path; from render.distributed import follow, jobs_api\n"
        "print(*follow.fetch(jobs_api.Dashboard(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), "
        "limit_bytes=1), sep='\\n')"
    )
    one_a_job = subprocess.run(
        [sys.executable, "-c", code, dashboard.address, name, tmp_path],
        env=dashboard.environment,
        capture_output=True,
        text=True,
    )
    assert one_a_job.stdout.splitlines() == [f"{tmp_path}/a--x.png", f"{tmp_path}/a--y z.png"], (
        one_a_job.stderr
    )
    assert contents(tmp_path) == prints and len(prints) == 4
    logs = list(dashboard.temporary.glob("session_2*/logs/job-driver-render-fetch-*.log"))
    assert logs and not any('"event": "data"' in path.read_text() for path in logs)


def test_the_status_and_the_log_of_a_job_can_be_read_later(dashboard, rendered, tmp_path):
    _, name, _ = rendered
    status = dashboard.run("status", name, cwd=tmp_path)
    assert (
        status.status == 0
        and f"{name} succeeded, 4 to do: 4 done, 0 failed, 0 running: ~/render-jobs/{name} on the cluster"
        in status.out
    )
    log = dashboard.run("status", name, "--logs", cwd=tmp_path)
    assert log.status == 0 and '"event": "summary", "done": 4' in log.out
    followed = dashboard.run("status", name, "--logs", "--follow", cwd=tmp_path)
    assert followed.out == log.out
    assert dashboard.run("status", name, "--follow", cwd=tmp_path).err.count("done ") == 4


def test_a_job_that_is_not_there_is_told_with_those_that_are(dashboard, rendered, tmp_path):
    status = dashboard.run("status", "render-nothing", cwd=tmp_path)
    assert (
        status.status == 2
        and "render-nothing: no job of that name" in status.err
        and rendered[1] in status.err
    )


def test_a_wrong_token_is_told_with_where_to_put_the_right_one(dashboard, pictures):
    done = dashboard.run(
        "submit", "--inputs", "photos", "--styles", "x.png", cwd=pictures, RAY_AUTH_TOKEN="wrong" * 8
    )
    assert (
        (done.status, done.out) == (2, "")
        and "refuses the token, or wants one" in done.err
        and "RAY_AUTH_TOKEN" in done.err
    )


def test_the_address_on_the_command_line_goes_before_ray_s_own_variables(dashboard, rendered, tmp_path):
    assert (
        dashboard.run(
            "status", rendered[1], cwd=tmp_path, RAY_ADDRESS=NOWHERE, RAY_API_SERVER_ADDRESS=NOWHERE
        ).status
        == 0
    )


def test_one_bad_photo_of_a_shared_folder_fails_alone_and_is_told(dashboard, pictures):
    Path("photos/bad.png").write_bytes(b"no picture")
    shared = (
        "--shared",
        "--inputs",
        pictures / "photos",
        "--styles",
        pictures / "x.png",
        "--output",
        pictures / "prints out",
    )
    done = dashboard.run("submit", *shared, *SMALL, cwd=pictures)
    assert done.status == 0 and "no files, only the command" in done.out
    name = name_in(done)
    followed = dashboard.run("status", name, "--follow", cwd=pictures)
    assert followed.status == 1 and "2 done, 1 failed" in followed.out and "bad.png" in followed.out
    assert dashboard.run("status", name, cwd=pictures).status == 1
    assert sorted(contents(Path("prints out"))) == ["a--x.png", f"trip/{STRANGE[:-4]}--x.png"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            submit.on_head("expect", "0.0.9") + " && exec echo rendered",
            f"the cluster has render {render.__version__}, and the job was submitted by 0.0.9",
        ),
        (
            "python -m render_not_there",
            "No module named render_not_there. The cluster's Python has no such render: install",
        ),
        ("echo out of luck; exit 3", "out of luck"),
    ],
)
def test_a_job_that_ends_before_its_batch_says_why(dashboard, tmp_path, line, told):
    name = f"render-test-{secrets.token_hex(4)}"
    dashboard.start(line, name)
    followed = dashboard.run("status", name, "--follow", cwd=tmp_path)
    assert (
        followed.status == 1
        and told in followed.err
        and f"{name}: ended before its batch did" in followed.err
    )
    assert f"{name} failed: 0 done" in followed.out


def test_prints_that_are_not_there_cannot_be_fetched(dashboard, tmp_path):
    name = f"render-test-{secrets.token_hex(4)}"
    dashboard.start("true", name)
    assert (
        "was not started by `render submit`"
        in dashboard.run("status", name, "--fetch", tmp_path, cwd=tmp_path).err
    )
    name = f"render-test-{secrets.token_hex(4)}"
    dashboard.start("true", name, output="~/nothing here")
    fetched = dashboard.run("status", name, "--fetch", tmp_path, cwd=tmp_path)
    assert fetched.status == 1 and "nothing here: no batch was rendered there" in fetched.err


# --- on the head --------------------------------------------------------------------------------------------


def test_the_head_forgets_no_log_but_of_our_fetching(capsys):
    for name in ("../x", "render-20260801", "render-fetch-1/../../x"):
        assert on_head.main(["send", "--limit", "1", "--forget", name, "prints"]) == 1
        assert "names no job of ours" in capsys.readouterr().err


def test_waiting_for_machines_that_do_not_come_ends(capsys):
    assert on_head.main(["wait", "--address", "127.0.0.1:1", "--nodes", "2", "--seconds", "0.1"]) == 1
    assert "0 of 2 machines have come" in capsys.readouterr().err
