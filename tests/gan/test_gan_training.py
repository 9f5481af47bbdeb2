"""Training: the same end whether interrupted or not, what is kept, and collapse."""

import json
import math
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save as tensor_bytes
from safetensors.torch import save_file

from helpers.gan import digits, idx, squares
from helpers.pictures import save_photo, special
from helpers.program import run_here
from render.errors import DivergedError, UsageError, WeightsError
from render.gan import files, foreign, training
from render.gan.architectures import ARCHITECTURES
from render.gan.shards import Sampling, plan_shards
from render.gan.training import Epoch, Recipe, Step, Training
from render.network import device

pytestmark = pytest.mark.network

CPU = device.choose("cpu", "float32", threads=1)


@pytest.fixture(autouse=True)
def short_epochs(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(training, "FEWEST_STEPS", 4)
    yield
    torch.set_num_threads(before)


def trained(path: Path, name: str, *epochs: int, data=None, **changes) -> Training:
    """Trained to so many epochs in all, each time by a new Training, as by another process."""
    recipe = Recipe.of(ARCHITECTURES[name], 32 if name == "compact" else None, **{"batch": 8, **changes})
    for count in epochs:
        found = Training(recipe, data or squares(recipe.shape), CPU, path)
        found.run(count, lambda event: None)
    return found


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_interrupted_training_ends_with_the_very_weights_of_one_that_was_not(tmp_path, monkeypatch, name):
    monkeypatch.setattr(training, "FEWEST_STEPS", 2)
    whole = trained(
        tmp_path / "whole",
        name,
        2,
        data=squares(ARCHITECTURES[name].shape or (3, 32, 32), count=8),
        batch=4,
        critic_steps=2,
    )
    parts = trained(tmp_path / "parts", name, 1, 2, data=whole.data, batch=4, critic_steps=2)
    (a, facts_a), (b, facts_b) = files.read(whole.path), files.read(parts.path)
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    facts_a, facts_b = (
        {**facts.model_dump(), "history": [replace(epoch, seconds=0) for epoch in facts.history]}
        for facts in (facts_a, facts_b)
    )
    assert facts_a == facts_b and len(facts_a["history"]) == 2
    other = trained(tmp_path / "other", name, 1, data=whole.data, batch=4, critic_steps=2, seed=1)
    assert not torch.equal(
        files.read(other.path)[0]["ema." + next(iter(other.generator.state_dict()))],
        a["ema." + next(iter(other.generator.state_dict()))],
    )


def test_a_run_that_dies_within_an_epoch_goes_on_from_the_last_one(tmp_path):
    recipe = Recipe.of(ARCHITECTURES["fc"], batch=8)

    def die(event):
        if isinstance(event, Step) and (event.epoch, event.step) == (2, 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Training(recipe, squares(), CPU, tmp_path / "x").run(3, die)
    resumed = trained(tmp_path / "x", "fc", 3)
    assert [epoch.number for epoch in resumed.history] == [1, 2, 3]
    whole = trained(tmp_path / "whole", "fc", 3)
    assert all(
        torch.equal(a, b)
        for a, b in zip(resumed.generator.state_dict().values(), whole.generator.state_dict().values())
    )


@pytest.mark.parametrize("loss", ["minimax", "least-squares", "wasserstein", "hinge"])
def test_the_samples_come_nearer_to_the_data_with_every_loss(tmp_path, loss):
    data = squares(count=64)
    recipe = Recipe.of(ARCHITECTURES["fc"], loss=loss, batch=16, learning_rate=1e-3, ema=0.9)
    found = Training(recipe, data, CPU, tmp_path / "x")
    wanted = data.images.float().mean().item() / 255  # grey, as untrained samples are, is 0.5

    def error():
        return abs(found.samples().mean().item() - wanted)

    before = error()
    found.run(30, lambda event: None)
    assert before > 0.2 and error() < 0.8 * before


def test_the_average_follows_the_generator_slowly(tmp_path):
    slow, none = (trained(tmp_path / str(ema), "fc", 1, ema=ema) for ema in (0.999, 0.0))
    for name, mine in none.average.state_dict().items():
        assert torch.equal(mine, none.generator.state_dict()[name])
    last = slow.generator.state_dict()
    assert any(not torch.equal(mine, last[name]) for name, mine in slow.average.state_dict().items())


def test_the_checkpoint_says_what_it_is_of(tmp_path):
    trained(tmp_path / "gan.safetensors", "conv", 1)
    with safe_open(tmp_path / "gan.safetensors", "pt") as file:
        facts = json.loads(file.metadata()["render"])
    assert facts["architecture"] == "conv" and facts["shape"] == [1, 28, 28]
    assert (
        facts["recipe"]["label_noise"] == 0.05
        and facts["recipe"]["loss"] == "minimax"
        and facts["recipe"]["seed"] == 0
    )
    assert facts["data"] == {"name": "squares", "images": 40} and facts["versions"].keys() == {
        "render",
        "torch",
    }
    assert facts["history"][0]["number"] == 1


def test_another_training_is_not_gone_on_with(tmp_path):
    trained(tmp_path / "x", "fc", 1)
    with pytest.raises(UsageError, match="of a training with batch 8, not 16.*--fresh"):
        trained(tmp_path / "x", "fc", 2, batch=16)
    with pytest.raises(UsageError, match="of a training with architecture fc, not dcgan"):
        trained(tmp_path / "x", "dcgan", 2)
    with pytest.raises(UsageError, match="of a training with images 40, not 39"):
        trained(tmp_path / "x", "fc", 2, data=squares(count=39))
    (tmp_path / "y").write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match="damaged, or no safetensors file"):
        trained(tmp_path / "y", "fc", 1)


HOSTILE_HEADERS = {
    "no shape": lambda facts: facts.pop("shape"),
    "a shape of two": lambda facts: facts.update(shape=[1, 28]),
    "a shape of words": lambda facts: facts.update(shape=["a", "b", "c"]),
    "another's shape": lambda facts: facts.update(shape=[1, 29, 28]),
    "a huge shape": lambda facts: facts.update(shape=[3, 10**9, 10**9]),
    "an architecture that is a list": lambda facts: facts.update(architecture=["fc"]),
    "no recipe": lambda facts: facts.pop("recipe"),
    "a recipe that is a list": lambda facts: facts.update(recipe=[]),
    "a recipe with another key": lambda facts: facts["recipe"].update(secret=1),
    "a recipe without a key": lambda facts: facts["recipe"].pop("ema"),
    "data that is a number": lambda facts: facts.update(data=7),
    "data of no images": lambda facts: facts["data"].pop("images"),
    "a history that is a number": lambda facts: facts.update(history=3),
    "an epoch of other keys": lambda facts: facts["history"].append({"x": 1}),
    "updates that are a word": lambda facts: facts.update(updates="many"),
    "no updates": lambda facts: facts.pop("updates"),
    "updates below nought": lambda facts: facts.update(updates=-1),
}


@pytest.fixture(scope="module")
def header_and_tensors(tmp_path_factory):
    path = tmp_path_factory.mktemp("gan") / "x"
    trained(path, "fc", 1)
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["render"]), {name: file.get_tensor(name) for name in file.keys()}


@pytest.mark.parametrize("name", HOSTILE_HEADERS)
def test_a_checkpoint_with_a_hostile_header_is_refused_by_name(tmp_path, header_and_tensors, name):
    header, tensors = json.loads(json.dumps(header_and_tensors[0])), header_and_tensors[1]
    HOSTILE_HEADERS[name](header)
    save_file(tensors, tmp_path / "x", {"render": json.dumps(header)})
    for use in (files.load, lambda path: trained(path, "fc", 2)):
        with pytest.raises(
            WeightsError,
            match=r"/x: .*(Copy it again, or train again|which this version does not know|not a checkpoint)",
        ):
            use(tmp_path / "x")


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"kind":' * 50_000, "1" * 5_000, "null", "[]", '"\\ud800"', '"' + "x" * 10**6 + '"'],
)
def test_a_header_that_is_no_table_is_refused_by_name(tmp_path, text):
    save_file({"a": torch.zeros(1)}, tmp_path / "x", {"render": text})
    with pytest.raises(WeightsError, match="/x: not a checkpoint of `render gan train`"):
        files.load(tmp_path / "x")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("adam.generator.0.exp_avg", torch.zeros(3)),
        ("adam.generator.nonsense", torch.zeros(1)),
        ("adam.generator.9999.step", torch.zeros(())),
        ("adam.discriminator.0.step", torch.zeros((), dtype=torch.int64)),
        ("generator.0.weight", torch.zeros(3)),
        ("discriminator.1.weight", torch.full((256, 784), math.nan)),
        ("ema.0.bias", torch.zeros(1024, dtype=torch.int64)),
    ],
)
def test_a_checkpoint_with_other_tensors_is_refused_by_name(tmp_path, header_and_tensors, key, value):
    header, tensors = header_and_tensors
    save_file({**tensors, key: value}, tmp_path / "x", {"render": json.dumps(header)})
    with pytest.raises(
        WeightsError,
        match="/x: (its weights are|the generator's optimiser is|the discriminator's optimiser is) not",
    ):
        trained(tmp_path / "x", "fc", 2)


@pytest.mark.parametrize("second", [1, 2, 6])
def test_a_valid_file_is_no_pickle_whatever_its_headers_length(tmp_path, header_and_tensors, second):
    header, tensors = header_and_tensors
    data = tensor_bytes(tensors, {"render": json.dumps(header)})
    length = int.from_bytes(data[:8], "little")
    wanted = 0x80 + (second << 8) + (-(-length // 65536) << 16)
    path = tmp_path / "gan.safetensors"
    path.write_bytes(wanted.to_bytes(8, "little") + data[8 : 8 + length].ljust(wanted) + data[8 + length :])
    assert path.read_bytes()[:1] == b"\x80" and len(files.read(path)[1].history) == 1


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_is_called_one(tmp_path, protocol):
    (tmp_path / "x").write_bytes(pickle.dumps({"weights": [0.0] * 9}, protocol=protocol))
    with pytest.raises(WeightsError, match="/x: a pickle"):
        files.load(tmp_path / "x")


@pytest.mark.parametrize("latent", [None, (4,)])
def test_an_archive_whose_directory_is_damaged_is_refused_by_name(tmp_path, latent):
    path = tmp_path / "x"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"x" * 100)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"PK\1\2", b"PK\1\0"))
    assert zipfile.is_zipfile(path)
    with pytest.raises(WeightsError, match="/x: damaged"):
        files.load(path, latent=latent)


def test_a_generator_that_unpacks_to_more_than_memory_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "x"
    torch.jit.script(torch.nn.Linear(4, 4)).save(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/constants/bomb", bytes(10_000_000))
    monkeypatch.setattr(foreign, "MAX_BYTES", 1_000_000)
    assert path.stat().st_size < 100_000
    with pytest.raises(WeightsError, match="/x: unpacks to"):
        files.load(path, latent=(4,))


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_checkpoint_that_is_a_pipe_or_a_device_is_refused(tmp_path, kind):
    path = special(tmp_path / "x", kind)
    for use in (
        files.load,
        lambda path: files.load(path, latent=(4,)),
        lambda path: trained(path, "fc", 1),
        lambda path: plan_shards(Sampling(path), 1, tmp_path),
    ):
        with pytest.raises(WeightsError, match="/x: is not a regular file"):
            use(path)


def test_a_penalty_with_batch_normalisation_is_refused(tmp_path):
    with pytest.raises(UsageError, match="--loss wasserstein: its gradient penalty.*batch normalisation"):
        trained(tmp_path / "x", "compact", 1, loss="wasserstein")


# --- collapse -----------------------------------------------------------------------------------------------


def test_a_discriminator_that_tells_all_apart_is_said_and_ends_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "FEWEST_STEPS", 60)
    monkeypatch.setattr(training, "ALL_ALIKE", 0.0)
    recipe = replace(Recipe.of(ARCHITECTURES["fc"], batch=16), seed=1)
    found = Training(recipe, squares(), CPU, tmp_path / "x")
    found.optimisers["generator"].param_groups[0]["lr"] = 0.0  # it never gets better
    epochs = []
    with pytest.raises(
        DivergedError, match="collapsed: the discriminator's loss is at .* for 3 epochs. Use another --loss"
    ):
        found.run(30, lambda event: epochs.append(event) if isinstance(event, Epoch) else None)
    assert all("nothing to learn" in epoch.trouble for epoch in epochs[-3:]) and len(epochs) < 30
    assert len(files.read_facts(tmp_path / "x").history) == len(epochs)  # kept


def test_samples_that_are_all_alike_are_said_once_it_had_time_to_learn(tmp_path, monkeypatch):
    recipe = Recipe.of(ARCHITECTURES["fc"], batch=8)
    found = Training(recipe, squares(), CPU, tmp_path / "x")
    with torch.no_grad():
        for network in (found.generator, found.average):
            network[0].weight.zero_()  # the latent counts no more
    for optimiser in found.optimisers.values():
        optimiser.param_groups[0]["lr"] = 0.0
    found.run(1, lambda event: None)
    monkeypatch.setattr(training, "WARM_UP_STEPS", 5)
    found.run(2, lambda event: None)
    assert found.history[0].trouble == "" and found.history[1].trouble.startswith(
        "the samples are all alike (0 %"
    )


def test_a_healthy_epoch_has_no_trouble(tmp_path):
    assert trained(tmp_path / "x", "fc", 2, batch=16).history[-1].trouble == ""


def test_losses_that_are_no_numbers_end_the_training_and_keep_what_was(tmp_path):
    trained(tmp_path / "x", "fc", 1)
    found = Training(Recipe.of(ARCHITECTURES["fc"], batch=8), squares(), CPU, tmp_path / "x")
    with torch.no_grad():
        found.generator[0].weight.fill_(float("nan"))
    with pytest.raises(DivergedError, match="epoch 2: the losses are no longer numbers.*--learning-rate"):
        found.run(2, lambda event: None)
    assert len(files.read_facts(tmp_path / "x").history) == 1


# --- the command --------------------------------------------------------------------------------------------


def test_render_gan_train_leaves_checkpoint_grids_and_plot_and_goes_on(tmp_path):
    (tmp_path / "[/red]").mkdir(parents=True)  # no markup
    (tmp_path / "[/red]/train-images-idx3-ubyte").write_bytes(idx(digits(30)))
    words = [
        "gan",
        "train",
        "--data",
        "[/red]",
        "--architecture",
        "fc",
        "--batch",
        "4",
        "--device",
        "cpu",
        "--output",
        "out",
        "--json",
    ]
    first = run_here(*words, "--epochs", "1", cwd=tmp_path)
    assert first.status == 0 and "from [/red]; " in first.err, first.err
    again = run_here(*words, "--epochs", "2", cwd=tmp_path)
    assert (
        again.status == 0
        and [record["number"] for record in again.of("epoch")] == [2]
        and "going on after epoch 1" in again.err
    )
    out = tmp_path / "out"
    for name in ("grids/epoch-0001.png", "grids/epoch-0002.png"):
        with Image.open(out / name) as image:
            assert image.size == (224, 224) and np.asarray(image).std() > 5
    with Image.open(out / "losses.png") as image:
        assert image.size[0] > 500
    assert len(files.read_facts(out / "gan.safetensors").history) == 2
    other = run_here(*words, "--epochs", "3", "--seed", "5", cwd=tmp_path)
    assert other.status == 2 and "seed 0, not 5" in other.err
    assert run_here(*words, "--epochs", "1", "--seed", "5", "--fresh", cwd=tmp_path).status == 0


def test_bad_data_writes_nothing(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/train-images-idx3-ubyte").write_bytes(idx(digits(30))[:-1])
    for name, size in (("a", (32, 32)), ("b", (32, 40))):
        save_photo(tmp_path / f"p/{name}.png", size=size)
    for words, status, message in (
        (("d", "--architecture", "fc"), 1, "cut short"),
        (("p",), 2, "squares of one size"),
        (("d", "--augment", "noise"), 2, "'noise' is not one of colour, translation, cutout"),
    ):
        done = run_here("gan", "train", "--data", *words, "--output", "out", cwd=tmp_path)
        assert (done.status, message in done.err) == (status, True), done.err
        assert not (tmp_path / "out").exists()
