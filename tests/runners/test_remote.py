"""Pictures and prints at addresses: a real S3 server and a real web server on this machine, and file://."""

import http.server
import json
import os
import shutil
import threading
import warnings
from functools import partial
from pathlib import Path

import fsspec
import pytest

from helpers.pictures import save_painting, save_photo
from helpers.program import CHEAP
from helpers.runners import Painter
from render.errors import UsageError
from render.jobs.events import JobStarted
from render.jobs.inputs import find_inputs
from render.jobs.job import make_job
from render.jobs.ledger import Ledger
from render.jobs.settings import Settings
from render.jobs.styles import Look, load_style
from render.runners import remote
from render.runners.batch import Summary, run_batch

pytestmark = pytest.mark.usefixtures("files_are_read_anew", "few_iterations")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """A cache of one's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "render"


@pytest.fixture(scope="module")
def s3_server():
    with warnings.catch_warnings(action="ignore"):  # that it would like packages for other services
        moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def s3(s3_server, monkeypatch, tmp_path):
    """A file system with an empty bucket, as the environment describes it to this program and to those it
    starts."""
    s3fs = pytest.importorskip("s3fs")
    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    fs = fsspec.filesystem("s3")
    if fs.exists("bucket"):
        fs.rm("bucket", recursive=True)
    fs.mkdir("bucket")
    yield fs
    s3fs.S3FileSystem.clear_instance_cache()


def upload(fs, folder: Path, to: str) -> None:
    for path in folder.rglob("*.*"):
        fs.put_file(str(path), f"{to}/{path.relative_to(folder).as_posix()}")


@pytest.fixture
def pictures(tmp_path) -> Path:
    """photos/a.png, photos/italy/rome.png, and what is no picture."""
    save_photo(tmp_path / "pictures" / "photos" / "a.png")
    save_photo(tmp_path / "pictures" / "photos" / "italy" / "rome.png", seed=1)
    (tmp_path / "pictures" / "photos" / "notes.txt").write_text("no picture")
    save_photo(tmp_path / "pictures" / "photos" / ".trash" / "old.png")
    return tmp_path / "pictures"


class Told(list):
    """(address, why) of what failed."""

    def __call__(self, what, why):
        self.append((what, why))


def fetch(*entries, endings=remote.PICTURES, failed=None, **more) -> list[str]:
    failed = Told() if failed is None else failed
    found = remote.localised(entries, endings=endings, failed=failed, tell=lambda text: None, **more)
    return found


def names(entries) -> list[str]:
    return [item.name for item in find_inputs(entries)]


# --- inputs and styles --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket/a", True),
        ("https://host/a.jpg", True),
        ("photos", False),
        ("/a/b", False),
        ("C://photos", False),
        ("a/b://c", False),
        ("C:\\photos", False),
        (Path("prints"), False),
    ],
)
def test_an_address_has_a_scheme(text, expected):
    assert remote.is_remote(text) == expected


def test_a_bucket_is_fetched_with_its_sub_folders_and_names(s3, pictures):
    upload(s3, pictures, "bucket")
    entries = fetch("s3://bucket/photos")
    assert names(entries) == names([str(pictures / "photos")]) == ["a", "italy/rome"]
    assert (Path(entries[0]) / "italy" / "rome.png").read_bytes() == (
        pictures / "photos" / "italy" / "rome.png"
    ).read_bytes()


def test_files_and_globs_and_local_paths_have_the_names_that_they_have_locally(s3, pictures):
    upload(s3, pictures, "bucket")
    assert names(fetch("s3://bucket/photos/a.png")) == ["a"]
    assert names(fetch("s3://bucket/photos/*.png")) == ["a"]
    assert names(fetch("s3://bucket/photos/**/*.png")) == ["a", "rome"]
    assert names(fetch("s3://bucket/pho*")) == ["a", "italy/rome"]
    assert fetch("photos", "a*.png") == ["photos", "a*.png"]


def test_what_is_kept_is_not_fetched_again_and_what_changed_is(s3, pictures):
    upload(s3, pictures, "bucket")
    (folder,) = map(Path, fetch("s3://bucket/photos"))
    (folder / "a.png").write_bytes(b"kept")
    (folder / "italy" / "rome.png").write_bytes(b"old")
    s3.put_file(str(save_photo(pictures / "new.png", seed=3)), "bucket/photos/italy/rome.png")
    fetch("s3://bucket/photos")
    assert (folder / "a.png").read_bytes() == b"kept"
    assert (folder / "italy" / "rome.png").read_bytes() == (pictures / "new.png").read_bytes()


def test_what_is_no_longer_there_is_no_longer_an_input(s3, pictures):
    upload(s3, pictures, "bucket")
    assert names(fetch("s3://bucket/photos")) == ["a", "italy/rome"]
    s3.rm("bucket/photos/a.png")
    assert names(fetch("s3://bucket/photos")) == ["italy/rome"]


def test_the_output_is_never_searched(s3, pictures):
    upload(s3, pictures, "bucket")
    assert names(fetch("s3://bucket/photos", without="s3://bucket/photos/italy")) == ["a"]
    assert names(fetch("s3://bucket/photos", without="s3://bucket/photos/ital")) == ["a", "italy/rome"]


def test_a_file_that_is_not_there_is_told_and_the_others_are_fetched(s3, pictures):
    upload(s3, pictures, "bucket")
    failed = Told()
    assert names(fetch("s3://bucket/photos/gone.png", "s3://bucket/photos/a.png", failed=failed)) == ["a"]
    ((what, why),) = failed
    assert what == "s3://bucket/photos/gone.png" and "not there" in why and "Check the address" in why


def test_a_preset_comes_with_the_pictures_it_names(s3, pictures):
    save_painting(pictures / "styles" / "x.png")
    (pictures / "styles" / "blots.toml").write_text(
        '[[pictures]]\nfile = "x.png"\n[[pictures]]\nfile = "../photos/a.png"\n'
    )
    upload(s3, pictures, "bucket")
    (preset,) = map(Path, fetch("s3://bucket/styles/blots.toml", endings=remote.STYLES))
    assert sorted(path.name for path in preset.parent.iterdir()) == ["blots.toml", "x.png"]
    (folder,) = map(Path, fetch("s3://bucket/styles/", endings=remote.STYLES))
    assert sorted(path.name for path in folder.iterdir()) == ["blots.toml", "x.png"]


@pytest.mark.parametrize("url", ["s3://no-such-bucket/photos", "s3://no-such-bucket/*.png"])
def test_a_bucket_that_is_not_there_is_refused(s3, url):
    with pytest.raises(UsageError, match="no-such-bucket"):
        fetch(url)


def test_missing_credentials_are_named(s3, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    type(s3).clear_instance_cache()
    with pytest.raises(UsageError, match="redentials.*Check the address, the credentials"):
        fetch("s3://bucket/photos")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("gs://bucket/a.png", "pip install gcsfs"),
        ("az://bucket/a", "pip install adlfs"),
        ("nosuch://a", "Known are s3"),
    ],
)
def test_a_missing_driver_is_named_with_the_package(url, words):
    with pytest.raises(UsageError, match=words):
        fetch(url)


@pytest.mark.parametrize(
    "name",
    [
        "../../evil.png",
        "a/../../evil.png",
        "/evil.png",
        "a//evil.png",
        "./evil.png",
        "..\\evil.png",
        "C:evil.png",
        "a\0.png",
    ],
)
def test_a_name_that_leads_out_of_the_cache_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match="is no name for a file"):
        remote._within(tmp_path, name)
    assert remote._within(tmp_path, "a/..b/c d.png") == tmp_path / "a" / "..b" / "c d.png"


@pytest.fixture
def memory():
    """A file system whose keys are whatever somebody wrote, as in a bucket."""
    fs = fsspec.filesystem("memory")
    yield fs
    fs.store.clear()


def test_keys_that_climb_write_nothing_outside_the_cache(memory, pictures, tmp_path):
    upload(memory, pictures / "photos", "memory://photos")
    for key in (
        "/photos/../../../../../evil.png",
        "/photos//evil.png",
        "/photos/a\\..\\..\\evil.png",
        "/photos/a/../../evil.png",
    ):
        memory.store[key] = memory.store["/photos/a.png"]
    before = set(tmp_path.parent.rglob("*.png"))
    failed = Told()
    (folder,) = map(Path, fetch("memory://photos", failed=failed))
    assert names([str(folder)]) == ["a", "italy/rome"]
    assert [what.rpartition("photos/")[2] for what, _ in failed] == [
        "/evil.png",
        "a\\..\\..\\evil.png",
    ]  # /.. counts as hidden
    assert all("is no name for a file" in why for _, why in failed)
    assert set(tmp_path.parent.rglob("*.png")) - before == {
        folder / "a.png",
        folder / "italy" / "rome.png",
    }


@pytest.fixture
def site(pictures):
    """The address of a web server that shows the pictures' folder."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=pictures)
    handler.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_pictures_of_a_web_server_are_fetched_by_file_and_by_folder(site, pictures):
    pytest.importorskip("aiohttp")
    assert names(fetch(f"{site}/photos/")) == ["a", "italy/rome"]
    (local,) = map(Path, fetch(f"{site}/photos/italy/rome.png"))
    assert local.read_bytes() == (pictures / "photos" / "italy" / "rome.png").read_bytes()
    save_photo(pictures / "photos" / "italy" / "rome.png", seed=4)
    os.utime(pictures / "photos" / "italy" / "rome.png", (1, 1))  # a web server tells whole seconds
    fetch(f"{site}/photos/italy/rome.png")
    assert local.read_bytes() == (pictures / "photos" / "italy" / "rome.png").read_bytes()


def test_a_signed_web_address_is_the_file_before_its_question(site, pictures):
    (one,), (other,) = (
        fetch(f"{site}/photos/a.png?signature=abc/d.e"),
        fetch(f"{site}/photos/a.png?signature=other"),
    )
    assert names([one]) == ["a"] and Path(one).read_bytes() == (pictures / "photos" / "a.png").read_bytes()
    assert one != other and "abc" not in one


def test_a_question_mark_in_a_bucket_is_a_name(memory, pictures):
    memory.put_file(str(pictures / "photos" / "a.png"), "/photos/why? #1.png")
    assert names(fetch("memory://photos/")) == ["why? #1"]


def test_no_password_shows_in_the_cache(cache):
    assert "secret" not in str(remote._kept("outputs", "sftp://me:secret@host/prints"))
    assert remote._kept("outputs", "s3://a/b") != remote._kept("outputs", "s3://a-b")


# --- the output ---------------------------------------------------------------------------------------------


@pytest.fixture
def batch(program, files_are_read_anew, tmp_path, monkeypatch, pictures):
    """batch(*words): (status, records by event, standard error) of a batch in a working folder with photos
    and x.png."""
    monkeypatch.chdir(pictures)
    save_painting(Path("x.png"))

    def run(*words):
        status, out, err = program(
            "batch", "--inputs", "photos", "--styles", "x.png", "--size", "48", *CHEAP, *words, "--json"
        )
        records: dict[str, list] = {}
        for line in out.splitlines():
            records.setdefault(json.loads(line)["event"], []).append(json.loads(line))
        return status, records, err

    return run


PRINTS = ["a--x.png", "italy/rome--x.png"]


def there(fs, base="bucket/prints") -> list[str]:
    fs.invalidate_cache()
    return sorted(path.removeprefix(base + "/") for path in fs.find(base) if ".render" not in path)


def counts(records) -> tuple[int, int]:
    (summary,) = records["summary"]
    return summary["done"], summary["skipped"]


def test_from_bucket_to_bucket_and_the_rerun_does_nothing(s3, batch, pictures, cache):
    upload(s3, pictures, "bucket")
    words = (
        "--inputs",
        "s3://bucket/photos",
        "--styles",
        "s3://bucket/x.png",
        "--output",
        "s3://bucket/prints",
    )
    status, records, err = batch(*words)
    assert status == 0 and counts(records) == (2, 0), err
    assert there(s3) == PRINTS
    assert [done["output"] for done in records["done"]] == [f"s3://bucket/prints/{name}" for name in PRINTS]
    assert "s3://bucket/prints/a--x.png" in err and str(cache / "outputs") not in err
    status, local, _ = batch("--output", "prints")
    for name in PRINTS:  # the same files as without a bucket
        assert s3.cat_file(f"bucket/prints/{name}") == (pictures / "prints" / name).read_bytes()
    assert not list((cache / "outputs").rglob("*.png"))  # disks fill up
    assert counts(batch(*words)[1]) == (0, 2)


def test_another_machine_knows_what_is_finished_and_what_is_missing_or_cut_is_made_again(
    s3, batch, tmp_path, monkeypatch
):
    words = ("--output", "s3://bucket/prints")
    assert batch(*words)[0] == 0
    whole = s3.cat_file("bucket/prints/a--x.png")
    s3.pipe_file("bucket/prints/a--x.png", whole[:100])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    status, records, _ = batch(*words)
    assert (status, counts(records)) == (0, (1, 1)) and s3.cat_file("bucket/prints/a--x.png") == whole
    s3.rm("bucket/prints/italy/rome--x.png")
    assert counts(batch(*words)[1]) == (1, 1) and there(s3) == PRINTS
    (plan,) = batch(*words, "--dry-run")[1]["plan"]
    assert (plan["jobs"], plan["skipped"]) == (0, 2)
    planned = batch(*words, "--dry-run", "--fresh")[1]["planned"]
    assert [job["output"] for job in planned] == [f"s3://bucket/prints/{name}" for name in PRINTS]


@pytest.mark.parametrize("wrong", ["no bucket", "no credentials"])
def test_an_output_that_cannot_be_written_is_refused_before_any_work(s3, batch, monkeypatch, wrong):
    if wrong == "no credentials":
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        type(s3).clear_instance_cache()
    bucket = "no-such-bucket" if wrong == "no bucket" else "bucket"
    status, records, err = batch("--output", f"s3://{bucket}/prints")
    assert status == 2 and not records
    assert f"s3://{bucket}/prints" in err and "cannot be" in err and "Check the address" in err
    if wrong == "no bucket":
        s3.invalidate_cache()
        assert not s3.exists("no-such-bucket")  # nor is one made


def test_inputs_that_are_nowhere_are_wrong_usage(s3, batch):
    s3.pipe_file("bucket/notes/a.txt", b"no picture")
    status, records, err = batch(
        "--inputs", "s3://bucket/notes", "s3://bucket/gone.png", "--output", "prints"
    )
    assert status == 2 and not records
    assert "no pictures there" in err and "gone.png" in err


def test_a_print_that_could_not_be_sent_has_failed_and_is_sent_later_without_painting(batch, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    (place / "italy").write_text("a file where a folder should be")
    words = ("--output", f"file://{place}")
    status, records, err = batch(*words)
    assert status == 1 and counts(records) == (1, 0)
    (failure,) = records["failed"]
    assert (
        failure["photo"].endswith("rome.png")
        and "painted, but" in failure["message"]
        and f"file://{place}" in failure["message"]
    )
    (place / "italy").unlink()
    status, records, _ = batch(*words)
    assert status == 0 and counts(records) == (1, 1)
    assert "progress" not in records and [done["photo"] for done in records["done"]] == [
        "photos/italy/rome.png"
    ]
    assert there(fsspec.filesystem("file"), str(place)) == PRINTS
    assert counts(batch(*words)[1]) == (0, 2)


def test_fresh_paints_what_was_not_sent_again(batch, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    (place / "italy").write_text("a file where a folder should be")
    assert batch("--output", f"file://{place}")[0] == 1
    (place / "italy").unlink()
    status, records, _ = batch("--output", f"file://{place}", "--fresh")
    assert (
        status == 0
        and counts(records) == (2, 0)
        and {step["photo"] for step in records["progress"]} == {"photos/a.png", "photos/italy/rome.png"}
    )


def test_the_deadline_leaves_jobs_whose_print_waits_to_be_sent(batch, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    (place / "italy").write_text("a file where a folder should be")
    assert batch("--output", f"file://{place}")[0] == 1
    (place / "italy").unlink()
    status, records, _ = batch("--output", f"file://{place}", "--stop-at", "0.001s")
    assert status == 0 and (records["summary"][0]["done"], records["summary"][0]["left"]) == (0, 1)
    assert counts(batch("--output", f"file://{place}")[1]) == (1, 1)


def test_a_proof_is_sent_with_its_print(s3, batch, tmp_path):
    from helpers.profiles import printer_profile

    profile = tmp_path / "printer.icc"
    profile.write_bytes(printer_profile())
    assert batch("--output", "s3://bucket/prints", "--soft-proof", profile)[0] == 0
    assert there(s3) == sorted(PRINTS + [name.replace(".png", ".proof.png") for name in PRINTS])


@pytest.mark.parametrize(("every_s", "known"), [(0.0, ["done"]), (3600.0, [])])
def test_the_ledger_is_sent_along_so_that_a_machine_that_vanishes_forgets_little(
    memory, tmp_path, monkeypatch, every_s, known
):
    monkeypatch.setattr(remote, "LEDGER_EVERY_S", every_s)
    store = remote.Output.at("memory://prints")
    style = load_style(save_painting(tmp_path / "x.png"))
    jobs = [
        make_job(
            save_photo(tmp_path / f"{name}.png", seed=seed),
            style,
            Look(),
            Settings(),
            store.folder / f"{name}--x.png",
            weights_sha256="w",
        )
        for seed, name in enumerate("ab")
    ]
    seen = []

    def look(event):
        if isinstance(event, JobStarted) and event.job == jobs[1].ref:
            (tmp_path / "there" / ".render").mkdir(parents=True)
            memory.get_file(
                "/prints/.render/ledger.sqlite", str(tmp_path / "there" / ".render" / "ledger.sqlite")
            )
            ledger = Ledger.peek(tmp_path / "there")
            seen.extend(row["status"] for row in ledger.rows())
            ledger.close()

    with store.ledger() as ledger:
        run_batch(jobs, remote.Sending(Painter(), store), ledger, Summary(), look)
    assert seen == known
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    with remote.Output.at("memory://prints").ledger() as ledger:
        assert [row["status"] for row in ledger.rows()] == ["done", "done"]


def test_without_a_ledger_anywhere_prints_at_an_address_say_themselves_that_they_are_done(
    memory, batch, cache
):
    batch("--output", "memory://bucket/prints")
    memory.rm("/bucket/prints/.render", recursive=True)
    shutil.rmtree(cache / "outputs", ignore_errors=True)
    memory.put_file("photos/a.png", "/bucket/prints/italy/rome--x.png")
    status, records, said = batch("--output", "memory://bucket/prints")
    assert status == 1 and records["summary"][0]["skipped"] == 1 and records["summary"][0]["done"] == 0
    assert "memory://bucket/prints/italy/rome--x.png" in said and "--overwrite" in said
    assert not list(cache.rglob("looked-at/*.png"))
    status, records, _ = batch("--output", "memory://bucket/prints", "--overwrite")
    assert status == 0 and records["summary"][0]["done"] == 1
