"""Weights: the right ones, from whole files, and never executed."""

import hashlib
import http.server
import pickle
import subprocess
import sys
import threading
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from helpers.pictures import special
from render.errors import WeightsError
from render.network import weights
from render.network.layers import convolutions


@pytest.fixture(scope="module")
def caffe():
    return weights.load()


def torchvision_names(parameters):
    """{features.0.weight: ...} as torchvision numbers them."""
    import torchvision  # through the guard, which another test checks

    model = torchvision.models.vgg19(weights=None)
    names = [name for name, module in model.features.named_modules() if isinstance(module, torch.nn.Conv2d)]
    return {
        f"features.{n}.{part}": tensor.contiguous()
        for n, (name, pair) in zip(names, parameters.items())
        for part, tensor in zip(("weight", "bias"), pair)
    }


@pytest.fixture(scope="module")
def state_dict(caffe):
    from render.network.torchvision_guard import import_torchvision

    import_torchvision()
    return torchvision_names(caffe.parameters)


def test_embedded_weights_are_the_published_ones(caffe):
    assert caffe.sha256 == weights.SOURCES["caffe"].sha256 == weights.fingerprint()
    assert [(name, *reversed(w.shape[:2])) for name, (w, b) in caffe.parameters.items()] == list(
        convolutions()
    )
    # No filter of the first bank is dead.
    assert caffe.parameters["conv1_1"][0].flatten(1).norm(dim=1).min() > 0.01


def test_decoding_looks_each_code_up_in_its_table():
    stored = torch.load(weights.embedded_path(), weights_only=True)
    decoded = weights.decode_codebook(stored)
    codes, table = stored["block3_conv2_W_q"], stored["block3_conv2_W_table"]
    assert decoded["conv3_2"][0][5, 7, 1, 2] == table[codes[5, 7, 1, 2].item()]
    first = stored["block1_conv1_W_table"][stored["block1_conv1_W_q"].long()]
    assert torch.equal(decoded["conv1_1"][0], first[:, [2, 1, 0]])  # BGR to RGB


def test_a_damaged_embedded_file_is_refused(tmp_path, monkeypatch):
    data = bytearray(weights.embedded_path().read_bytes())
    data[len(data) // 2] ^= 1
    damaged = tmp_path / "weights.bin"
    damaged.write_bytes(data)
    monkeypatch.setattr(weights, "embedded_path", lambda: damaged)
    with pytest.raises(WeightsError, match="damaged.*Reinstall"):
        weights.load()


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_a_file_gives_the_same_network(caffe, state_dict, tmp_path, ending):
    path = tmp_path / f"vgg{ending}"
    bgr = {**state_dict, "features.0.weight": state_dict["features.0.weight"].flip(1).contiguous()}
    save_file(bgr, path) if ending == ".safetensors" else torch.save(bgr, path)
    loaded = weights.load(str(path), preprocessing="caffe")
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    a, b = (w.network()(image, ["relu3_1"])["relu3_1"] for w in (caffe, loaded))
    assert torch.equal(a, b)


def test_torchvision_preprocessing_is_imagenets(state_dict, tmp_path):
    path = tmp_path / "vgg.safetensors"
    save_file(state_dict, path, {"preprocessing": "torchvision"})
    loaded = weights.load(str(path))
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    weight, bias = loaded.parameters["conv1_1"]
    normal = (image - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(1, 3, 1, 1)
    wanted = torch.nn.functional.conv2d(normal, weight, bias, padding=1)
    torch.testing.assert_close(loaded.network()(image, ["conv1_1"])["conv1_1"], wanted)


def test_a_file_of_unknown_preprocessing_asks_for_the_flag(state_dict, tmp_path):
    save_file(state_dict, tmp_path / "vgg.safetensors")
    with pytest.raises(WeightsError, match="--preprocessing caffe"):
        weights.load(str(tmp_path / "vgg.safetensors"))


class Bomb:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_pickle_that_would_run_code_is_refused(tmp_path, capsys):
    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(Bomb(), protocol=2))
    with pytest.raises(WeightsError, match="evil.pth: not a safetensors file or a plain torch state dict"):
        weights.load(str(path), preprocessing="caffe")
    assert "executed" not in capsys.readouterr().out
    pickle.loads(path.read_bytes())
    assert "executed" in capsys.readouterr().out  # the bomb is live


def test_other_files_are_refused_by_name(state_dict, tmp_path):
    cases = {
        "missing": (None, "no such file"),
        "tensor.pth": (torch.zeros(3), "not a state dict"),
        "other.pth": ({"layer.weight": torch.zeros(3)}, "not VGG-19"),
        "vgg_small.pth": ({**state_dict, "features.0.weight": torch.zeros(64, 1, 3, 3)}, "another network"),
        "nan.pth": ({**state_dict, "features.0.bias": torch.full((64,), float("nan"))}, "NaN"),
    }
    for name, (content, why) in cases.items():
        if content is not None:
            torch.save(content, tmp_path / name)
        with pytest.raises(WeightsError, match=why) as error:
            weights.load(str(tmp_path / name), preprocessing="caffe")
        assert name in str(error.value)


def test_stored_values_that_are_no_plain_numbers_are_refused_by_name(state_dict, tmp_path):
    whole = state_dict["features.0.weight"]
    values = {
        "text": "x",
        "none": None,
        "list": [1.0],
        "integers": whole.int(),
        "complex": whole.to(torch.complex64),
        "sparse": whole.to_sparse(),
        "meta": whole.to("meta"),
    }
    for name, value in values.items():
        torch.save({**state_dict, "features.0.weight": value}, tmp_path / f"{name}.pth")
        with pytest.raises(
            WeightsError, match=rf"{name}\.pth: (conv1_1 holds no plain numbers|not a safetensors)"
        ):
            weights.load(str(tmp_path / f"{name}.pth"), preprocessing="caffe")
    claims = torch.zeros(1, dtype=torch.float16).expand(
        10**6, 10**6
    )  # two bytes in the file, 4 TB as float32
    torch.save({**state_dict, "features.0.weight": claims}, tmp_path / "claims.pth")
    with pytest.raises(WeightsError, match=r"claims\.pth: conv1_1 has shape \(1000000, 1000000\)"):
        weights.load(str(tmp_path / "claims.pth"), preprocessing="caffe")


def test_a_file_that_unpacks_to_more_than_memory_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "bomb.pth"
    torch.save({"a": torch.zeros(1_000_000)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    monkeypatch.setattr(weights, "MAX_BYTES", 1_000_000)
    assert path.stat().st_size < 100_000
    with pytest.raises(WeightsError, match=r"bomb\.pth: unpacks to"):
        weights.load(str(path), preprocessing="caffe")
    with pytest.raises(WeightsError, match=r"plain\.pth: is too large"):
        weights.load(str(tmp_path / "plain.pth"), preprocessing="caffe")


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_weights_that_are_a_pipe_or_a_device_are_refused(tmp_path, kind, ending):
    path = special(tmp_path / f"vgg{ending}", kind)
    for use in (weights.load, weights.fingerprint):
        with pytest.raises(WeightsError, match=rf"vgg\{ending}: is not a regular file"):
            use(str(path))


@pytest.mark.parametrize("name", ["x" * 5_000, "a\0b", ""])
def test_weights_of_a_name_that_no_disk_can_have_are_missing(name):
    with pytest.raises(WeightsError, match="no such file|is a folder") as error:
        weights.load(name)
    assert len(str(error.value)) < 400


def test_torchvision_imports_beside_a_torch_without_its_operators():
    code = (
        "from render.network.torchvision_guard import import_torchvision as f; m = f(); "
        "print(m.models.VGG19_Weights.IMAGENET1K_V1.url)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == weights.SOURCES["torchvision"].origin


@pytest.fixture
def server(tmp_path):
    """A local server of the files in tmp_path/served."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = lambda *a: http.server.SimpleHTTPRequestHandler(*a, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


@pytest.fixture
def torchvision_url(monkeypatch, tmp_path):
    from render.network.torchvision_guard import import_torchvision

    facts = import_torchvision().models.VGG19_Weights.IMAGENET1K_V1.value
    original = facts.url
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))

    def point_at(url):
        object.__setattr__(facts, "url", url)  # a frozen dataclass

    yield point_at
    point_at(original)


def test_torchvision_weights_are_downloaded_and_checked(state_dict, server, torchvision_url, tmp_path):
    folder, address = server
    torch.save(state_dict, tmp_path / "vgg.pth")
    data = (tmp_path / "vgg.pth").read_bytes()
    name = f"vgg19-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    (folder / name).write_bytes(data)
    torchvision_url(f"{address}/{name}")
    loaded = weights.load("torchvision")
    assert torch.equal(loaded.parameters["conv5_4"][1], state_dict["features.34.bias"])
    assert loaded.preprocessing is weights.TORCHVISION


def test_a_download_whose_hash_differs_or_fails_says_so(server, torchvision_url):
    folder, address = server
    (folder / "vgg19-00000000.pth").write_bytes(b"not these")
    for url in (
        f"{address}/vgg19-00000000.pth",
        f"{address}/missing-00000000.pth",
        "http://127.0.0.1:1/x-00000000.pth",
    ):
        torchvision_url(url)
        with pytest.raises(WeightsError, match="could not be downloaded.*--weights FILE"):
            weights.load("torchvision")
