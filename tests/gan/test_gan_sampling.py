"""Samples: the same picture for a number whatever else is made with it, files of every kind, generators from
elsewhere."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.pictures import save_painting
from helpers.program import QUICK, run_here
from render.errors import UsageError, WeightsError
from render.gan import files, foreign, sheets
from render.gan.architectures import ARCHITECTURES
from render.gan.files import Generator
from render.gan.sampling import CHUNK, Drawn, Sampler, batch_of, between, latents, latents_of, slerp
from render.gan.shards import SHARD, SMALL_SHARD, Sampling, parse_query, plan_shards, shard_size
from render.painting import checkpoint as tensor_file
from render.pictures import images
from render.system import child

pytestmark = pytest.mark.network

FC = ARCHITECTURES["fc"]


def fresh(checkpoint, name, threads=1) -> Sampler:
    return Sampler(files.load(checkpoint / name / "gan.safetensors"), threads=threads)


def made(sampler, drawn, start, stop) -> np.ndarray:
    return np.concatenate([images for _, images in sampler.samples(drawn, start, stop)])


# --- which picture is which ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fc", "dcgan", "compact"])
def test_a_sample_depends_on_seed_and_number_alone(checkpoint, name):
    batch = fresh(checkpoint, name).batch  # a chunk's, or with larger images less
    whole = made(fresh(checkpoint, name), Drawn(7), 0, batch + 40)
    assert len(np.unique(whole.reshape(len(whole), -1), axis=0)) == len(whole)
    for threads, start, stop in (
        (1, 5, 6),
        (2, batch - 1, batch + 2),
        (3, 10, batch - 3),
    ):
        assert np.array_equal(
            made(fresh(checkpoint, name, threads), Drawn(7), start, stop), whole[start:stop]
        )
    assert not np.array_equal(made(fresh(checkpoint, name), Drawn(8), 0, 4), whole[:4])


def test_chunks_come_in_order_with_their_first_number(checkpoint):
    found = list(fresh(checkpoint, "fc", threads=2).samples(Drawn(1), 250, 600))
    assert [(first, len(images)) for first, images in found] == [(250, 6), (256, 256), (512, 88)]


def test_latents_are_as_distributed_and_truncation_draws_them_in():
    uniform, normal = (Generator(torch.nn.Identity(), (96,), kind, True) for kind in ("uniform", "normal"))
    u, n = (np.concatenate([latents(g, Drawn(0), c) for c in range(15)]) for g in (uniform, normal))
    assert np.array_equal(n[CHUNK + 3], latents(normal, Drawn(0), 1)[3])
    assert (
        -1 <= u.min() < -0.99
        and 0.99 < u.max() <= 1
        and abs(u.mean()) < 0.01
        and abs(u.std() - 3**-0.5) < 0.01
    )
    assert abs(n.mean()) < 0.01 and abs(n.std() - 1) < 0.01 and n.dtype == np.float32
    assert np.allclose(latents(normal, Drawn(0, 0.5), 3), latents(normal, Drawn(0), 3) / 2)
    assert np.array_equal(latents_of(normal, Drawn(0), [130, 2]), np.stack([n[130], n[2]]))


@pytest.mark.parametrize(
    ("shape", "batch"),
    [((1, 28, 28), 256), ((3, 64, 64), 64), ((3, 256, 256), 4), ((3, 2048, 2048), 1), (None, 64)],
)
def test_large_images_come_in_smaller_batches_that_divide_a_chunk(shape, batch):
    assert batch_of(shape) == batch and CHUNK % batch == 0


def test_slerp_goes_from_end_to_end_on_the_circle():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 96)).astype(np.float32)
    b *= np.linalg.norm(a) / np.linalg.norm(b)
    assert np.allclose(slerp(a, b, 0), a, atol=1e-6) and np.allclose(slerp(a, b, 1), b, atol=1e-6)
    for t in (0.25, 0.5, 0.75):
        assert np.linalg.norm(slerp(a, b, t)) == pytest.approx(np.linalg.norm(a), rel=1e-5)
    assert np.allclose(slerp(a, 2 * a, 0.5), 1.5 * a)  # parallel: no circle


def test_an_interpolation_stops_at_every_number(checkpoint):
    generator = fresh(checkpoint, "fc").generator
    path = between(generator, Drawn(3), [4, 9, 70], 5)
    assert np.allclose(path[[0, 2, 4]], latents_of(generator, Drawn(3), [4, 9, 70]), atol=1e-6)


def test_a_grid_is_filled_row_by_row():
    sheet = sheets.grid(np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1) + 1)
    assert sheet[..., 0].tolist() == [[1, 2, 3], [4, 5, 0]]
    assert sheets.grid(np.ones((4, 2, 3, 3), np.uint8), columns=4).shape == (2, 12, 3)


def test_shards_end_at_multiples_so_that_more_leaves_the_first_as_they_are(checkpoint, tmp_path):
    settings = Sampling(checkpoint / "fc/gan.safetensors", seed=7)
    few, more = (plan_shards(settings, count, tmp_path) for count in (SHARD + 10, 3 * SHARD))
    assert [(s.start, s.stop) for s in few] == [(0, SHARD), (SHARD, SHARD + 10)]
    assert few[0] == more[0] and few[1].id != more[1].id
    assert [(s.start, s.stop) for s in plan_shards(settings, 5, tmp_path, start=SHARD - 2)] == [
        (SHARD - 2, SHARD),
        (SHARD, SHARD + 3),
    ]
    small = plan_shards(settings, SMALL_SHARD + 1, tmp_path, size=shard_size((1, 28, 28)))
    assert [(s.start, s.stop) for s in small] == [(0, SMALL_SHARD), (SMALL_SHARD, SMALL_SHARD + 1)]
    assert shard_size((3, 64, 64)) == shard_size(None) == SHARD
    assert (
        plan_shards(Sampling(settings.checkpoint, seed=8), 5, tmp_path)[0].id
        != plan_shards(settings, 5, tmp_path)[0].id
    )


# --- the command --------------------------------------------------------------------------------------------


def test_files_array_and_grid_hold_the_same_samples_and_a_rerun_makes_what_is_missing(checkpoint, tmp_path):
    path = str(checkpoint / "fc/gan.safetensors")
    count = SMALL_SHARD + 10
    words = ("gan", "sample", path, "--count", count, "--seed", "7", "--device", "cpu")
    first = run_here(*words, "--output", "png", "--json", cwd=tmp_path)
    assert first.status == 0 and len(first.of("done")) == 2, first.err
    assert [len(list((tmp_path / "png").glob("*.png"))), first.of("summary")[0]["done"]] == [count, 2]
    (tmp_path / "png/000003.png").unlink()
    again = run_here(*words, "--output", "png", "--json", cwd=tmp_path)
    assert [again.of("summary")[0][key] for key in ("done", "skipped")] == [1, 1] and (
        tmp_path / "png/000003.png"
    ).exists()
    assert run_here(*words, "--output", "npz", "--format", "npz", cwd=tmp_path).status == 0
    samples = np.load(tmp_path / "npz/samples.npz", allow_pickle=False)["samples"]
    assert samples.shape == (count, 28, 28, 1) and samples.dtype == np.uint8
    for i in (0, 3, 255, 256, count - 1):
        with Image.open(tmp_path / f"png/{i:06d}.png") as image:
            assert image.mode == "L" and np.array_equal(np.asarray(image), samples[i, ..., 0])
    assert (
        run_here(
            *words[:3],
            "--count",
            "9",
            "--seed",
            "7",
            "--format",
            "grid",
            "--output",
            "grid.png",
            cwd=tmp_path,
        ).status
        == 0
    )
    with Image.open(tmp_path / "grid.png") as image:
        assert np.array_equal(np.asarray(image)[28:56, 28:56], samples[4, ..., 0])
    assert (
        run_here(
            *words[:3],
            "--seed",
            "7",
            "--interpolate",
            "3",
            "64",
            "--frames",
            "4",
            "--output",
            "strip.png",
            cwd=tmp_path,
        ).status
        == 0
    )
    with Image.open(tmp_path / "strip.png") as image:
        strip = np.asarray(image)
    assert strip.shape == (28, 112) and np.abs(strip[:, :28].astype(int) - samples[3, ..., 0]).max() <= 1


def test_a_dry_run_says_what_and_makes_nothing(checkpoint, tmp_path):
    done = run_here(
        "gan",
        "sample",
        str(checkpoint / "compact/gan.safetensors"),
        "--count",
        "1000",
        "--output",
        "out",
        "--dry-run",
        cwd=tmp_path,
    )
    assert "1000 samples of 64 x 64 px, 2 jobs" in done.out and not (tmp_path / "out").exists()


def test_two_workers_of_this_machine_make_the_samples_of_one(checkpoint, tmp_path, monkeypatch):
    path = str(checkpoint / "fc/gan.safetensors")
    words = ("gan", "sample", path, "--count", SMALL_SHARD + 10, "--seed", "7", "--device", "cpu")
    started = []
    start = child.start
    monkeypatch.setattr(child, "start", lambda *how: started.append(how) or start(*how))
    for workers in (1, 2):
        run = run_here(*words, "--output", f"by{workers}", "--workers", workers, cwd=tmp_path)
        assert run.status == 0, run.err
        assert len(started) == (0 if workers == 1 else 2)
    one, two = (
        {p.name: p.read_bytes() for p in (tmp_path / f"by{workers}").glob("*.png")} for workers in (1, 2)
    )
    assert len(one) == SMALL_SHARD + 10 and one == two


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--timeout", "0"), "--timeout 0: must be above 0."),
        (("--timeout", "-3"), "--timeout -3: must be above 0."),
        (("--timeout", "soon"), "--timeout soon: must be a number."),
        (("--workers", "0"), "--workers 0: must be 1 or more."),
        (("--cpus-per-worker", "0"), "--cpus-per-worker 0: must be 1 or more."),
        (("--runner", "local", "--address", "auto"), "--address auto: "),
        (("--truncation", "-1"), "--truncation -1: must be 0 to 10."),
        (
            ("--format", "grid", "--workers", "2"),
            "--workers 2: one picture of all samples is made by this process",
        ),
        (("--interpolate", "1", "2", "--runner", "ray"), "--runner ray: one picture of all samples"),
    ],
)
def test_options_that_would_be_wrong_or_ignored_are_refused(checkpoint, folder, program, words, message):
    path = str(checkpoint / "fc/gan.safetensors")
    status, out, err = program("gan", "sample", path, "--output", "out", "--device", "cpu", *words)
    assert (status, out) == (2, "") and message in err, err
    assert not Path("out").exists()


@pytest.mark.parametrize("command", ["batch", "submit", "gan sample"])
@pytest.mark.parametrize("words", [("--timeout", "0"), ("--workers", "0"), ("--cpus-per-worker", "none")])
def test_the_runners_options_are_the_same_for_every_command(program, command, words):
    status, out, err = program(*command.split(), *words)
    assert (status, out) == (2, "") and f"{words[0]} {words[1]}: must be " in err


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("gone.safetensors",), 1, "no such file"),
        (("pickle.pt",), 1, "a pickle (torch.save)"),
        (("pickle.pkl",), 1, "a pickle. Opening a pickle runs programs"),
        (("other.safetensors",), 1, "not a checkpoint of `render gan train`"),
        (("future.safetensors",), 1, "of the architecture 'diffusion', which this version does not know"),
        (("swapped.safetensors",), 1, "its weights are not those of dcgan"),
        (("script.pt",), 2, "Say what its latents are: --latent 128"),
        (("script.pt", "--latent", "9"), 1, "the generator refuses latents of 64x9"),
        (("script.pt", "--latent", "axb"), 2, "--latent axb: write the shape"),
        (("flat.pt", "--latent", "8"), 1, "the generator gives 64x16, and images are"),
        (("notes.txt", "--latent", "8"), 1, "neither TorchScript (torch.jit.save) nor an exported program"),
    ],
)
def test_what_cannot_be_sampled_is_refused_and_nothing_written(
    checkpoint, tmp_path, program, monkeypatch, words, status, message
):
    monkeypatch.chdir(tmp_path)
    tensors, facts = files.read(checkpoint / "fc/gan.safetensors")
    facts = facts.model_dump()
    files.save(tmp_path / "future.safetensors", tensors, {**facts, "architecture": "diffusion"})
    files.save(tmp_path / "swapped.safetensors", tensors, {**facts, "architecture": "dcgan"})
    tensor_file.save(tmp_path / "other.safetensors", {"x": torch.zeros(1)}, {"job": "x"})
    torch.save({"x": torch.zeros(1)}, tmp_path / "pickle.pt")
    (tmp_path / "pickle.pkl").write_bytes(pickle.dumps({"x": 1}))
    (tmp_path / "notes.txt").write_text("not a network")
    flat = torch.nn.Linear(8, 16)
    torch.jit.save(
        torch.jit.trace(torch.nn.Sequential(flat, torch.nn.Unflatten(1, (1, 4, 4))), torch.zeros(2, 8)),
        tmp_path / "script.pt",
    )
    torch.jit.save(torch.jit.trace(flat, torch.zeros(2, 8)), tmp_path / "flat.pt")
    found, _, err = program("gan", "sample", *words, "--device", "cpu", "--output", "out")
    assert (found, message in err) == (status, True), err
    assert not list((tmp_path / "out").glob("*.png"))


# --- generators from elsewhere ------------------------------------------------------------------------------


def elsewhere() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(8, 3 * 16),
        torch.nn.BatchNorm1d(48),
        torch.nn.Sigmoid(),
        torch.nn.Unflatten(1, (3, 4, 4)),
    ).eval()


def exported(path, module=None):
    program = torch.export.export(
        module or elsewhere(), (torch.zeros(4, 8),), dynamic_shapes=({0: torch.export.Dim("n")},)
    )
    torch.export.save(program, path)
    return path


@pytest.mark.parametrize("kind", ["script", "exported"])
def test_torchscript_and_exported_programs_give_what_their_network_gives(tmp_path, kind):
    path = tmp_path / ("g.pt" if kind == "script" else "g.pt2")
    if kind == "script":
        torch.jit.save(torch.jit.script(elsewhere()), path)
    else:
        exported(path)
    generator = files.load(path, latent=(8,), signed=False)
    found = made(Sampler(generator), Drawn(7), 0, 70)
    with torch.no_grad():
        wanted = elsewhere()(torch.from_numpy(latents_of(generator, Drawn(7), range(70))))
    assert found.shape == (70, 4, 4, 3)
    assert np.abs(found.astype(float) - wanted.permute(0, 2, 3, 1).numpy() * 255).max() <= 0.51


class Saves(torch.nn.Module):
    def forward(self, x):
        torch.save(x, "stolen.pt")
        return x


def changed(path, name_end: str, change) -> None:
    """Rewrites one entry of an archive."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in entries if name.endswith(name_end))
    entries[name] = change(entries[name])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)


def with_first_node(data: bytes, target: str) -> bytes:
    model = json.loads(data)
    model["graph_module"]["graph"]["nodes"][0]["target"] = target
    return json.dumps(model).encode()


@pytest.mark.parametrize(
    ("end", "change", "what"),
    [
        ("models/model.json", lambda d: with_first_node(d, "torch.hub.load"), "target: torch.hub.load"),
        (
            "models/model.json",
            lambda d: d.replace(b'"guards_code": []', b'"guards_code": ["open(1)"]'),
            "guards_code",
        ),
        (
            "models/model.json",
            lambda d: d.replace(b"Symbol('s", b"__import__('os').getcwd() or Symbol('s"),
            "expr_str",
        ),
        (
            "weights_config.json",
            lambda d: d.replace(b'"use_pickle": false', b'"use_pickle": true', 1),
            "use_pickle",
        ),
        (
            "constants_config.json",
            lambda d: b'{"config": {"x": {"path_name": "opaque_obj_0", "use_pickle": false}}}',
            "path_name",
        ),
    ],
)
def test_an_exported_program_that_could_do_more_than_compute_is_refused(tmp_path, end, change, what):
    path = exported(tmp_path / "g.pt2")
    foreign.load(path)
    changed(path, end, change)
    with pytest.raises(WeightsError, match="refused: it does more than compute") as error:
        foreign.load(path)
    assert what in str(error.value)


def test_a_program_with_something_to_unpickle_is_refused(tmp_path):
    path = exported(tmp_path / "g.pt2")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("g/data/constants/opaque_obj_0", pickle.dumps(1))
    with pytest.raises(WeightsError, match="opaque_obj_0 would be unpickled"):
        foreign.load(path)


def test_a_script_that_writes_files_is_refused(tmp_path):
    torch.jit.save(torch.jit.script(Saves()), tmp_path / "g.pt")
    with pytest.raises(WeightsError, match="refused: its script does more than compute"):
        foreign.load(tmp_path / "g.pt")
    assert not (tmp_path / "stolen.pt").exists()


def test_nothing_is_ever_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return open, (str(tmp_path / "exploded"), "w")

    for name, data in (("a.pt", None), ("b.pkl", pickle.dumps(Bomb()))):
        if data is None:
            torch.save(Bomb(), tmp_path / name)
        else:
            (tmp_path / name).write_bytes(data)
        for latent in (None, (8,)):
            with pytest.raises(WeightsError, match="a pickle"):
                files.load(tmp_path / name, latent=latent)
    path = exported(tmp_path / "c.pt2")
    bomb = io.BytesIO()
    torch.save(Bomb(), bomb)
    changed(path, "sample_inputs/model.pt", lambda _: bomb.getvalue())
    with pytest.raises(WeightsError):
        foreign.load(path)
    assert not (tmp_path / "exploded").exists()


# --- samples as inputs --------------------------------------------------------------------------------------


@pytest.mark.network
def test_samples_are_inputs_of_a_batch(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    save_painting(tmp_path / "x.png")
    path = checkpoint / "compact/gan.safetensors"
    words = ("batch", "--styles", "x.png", *QUICK, "--json", "--output", "prints")
    first = run_here(
        *words, "--inputs", f"gan:{path}?count=2&seed=7", f"gan:{path}?count=1&seed=8", cwd=tmp_path
    )
    assert first.status == 0 and len(first.of("done")) == 3, first.err
    names = sorted(str(p.relative_to(tmp_path / "prints")) for p in (tmp_path / "prints").rglob("*.png"))
    assert names == [
        "compact-seed7/000000--x.png",
        "compact-seed7/000001--x.png",
        "compact-seed8/000000--x.png",
    ]
    assert max(images.read(tmp_path / "prints" / names[0]).size) == 64
    again = run_here(*words, "--inputs", f"gan:{path}?count=2&seed=7", cwd=tmp_path)
    assert again.of("summary")[0]["skipped"] == 2 and "sampling" not in again.err
    bad = run_here(*words, "--inputs", "gan:gone?count=2", cwd=tmp_path)
    assert bad.status == 2 and "--inputs gan:gone?count=2: " in bad.err and "no such file" in bad.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gan:x?cuont=3", "'cuont' is not one of count, seed"),
        ("gan:x?count=a", "count=a is not a number"),
        ("gan:?count=3", "write it like"),
        ("gan:x?count=0", "a count of 1 or more"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(text, message):
    with pytest.raises(UsageError, match=message.replace("?", r"\?")):
        parse_query(text)


@pytest.mark.parametrize(
    "words",
    [
        "count=1000000000000",
        "start=1" + "0" * 30,
        "truncation=nan",
        "truncation=inf",
        "count=" + "1" * 5_000,
        "x" * 5_000,
    ],
)
def test_a_query_made_to_harm_is_refused_in_few_words(words):
    with pytest.raises(UsageError, match="--inputs gan:x") as error:
        parse_query(f"gan:x?{words}")
    assert len(str(error.value)) < 700


@pytest.mark.parametrize("text", ["\u00b2", "1" * 5_000, "0", "", "x", "999999x999999", "-1", "1x"])
def test_a_latent_made_to_harm_is_wrong_usage(text):
    with pytest.raises(UsageError, match="--latent") as error:
        files.parse_latent(text)
    assert len(str(error.value)) < 300


def test_a_query_says_what_and_how_many():
    assert parse_query("gan:a/b.safetensors?count=3&seed=7&start=5&truncation=0.5") == (
        Sampling(Path("a/b.safetensors"), 7, 0.5),
        3,
        5,
    )
    assert parse_query("gan:x")[1:] == (16, 0)
