"""A GAN on disk: tensors in safetensors, everything else as JSON in its header."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from render import checkpoint
from render.errors import UsageError, WeightsError
from render.gan import foreign
from render.gan.architectures import ARCHITECTURES

KIND = "render-gan"
FORMAT = 1


@dataclass(frozen=True)
class Generator:
    """network: latents (N, *latent) -> images (N, C, H, W); latent: shape of one; distribution: "uniform" in [-1, 1] or
    "normal"; signed: images in [-1, 1], not [0, 1]; shape: (C, H, W), None when it is not known before a sample is made."""

    network: nn.Module
    latent: tuple[int, ...]
    distribution: str
    signed: bool
    shape: tuple[int, int, int] | None = None


def save(path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping) -> None:
    """Whole or not at all. Raises PictureError when the disk cannot take it."""
    checkpoint.save(path, tensors, {"kind": KIND, "format": FORMAT, **facts})


def read(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """(tensors, facts). Raises WeightsError for anything that `save` did not write."""
    facts = read_facts(path)
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name).clone() for name in file.keys()}, facts


def read_facts(path: Path) -> dict:
    """The header alone. Raises WeightsError."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such file. Give the gan.safetensors that `render gan train` wrote.")
    foreign.refuse_pickles(path)
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()["render"])
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: damaged, or no safetensors file ({error}). Copy it again, or train again.") from error
    except (KeyError, TypeError, ValueError):
        facts = {}
    if not isinstance(facts, dict) or facts.get("kind") != KIND or facts.get("format") != FORMAT:
        raise WeightsError(f"{path}: not a checkpoint of `render gan train`. For a generator from elsewhere export it as TorchScript "
                           "or with torch.export and add --latent.")
    if facts.get("architecture") not in ARCHITECTURES:
        raise WeightsError(f"{path}: of the architecture {facts.get('architecture')!r}, which this version does not know "
                           f"({', '.join(ARCHITECTURES)}). Use the version of render that wrote it.")
    return facts


def load(path: Path, *, latent: tuple[int, ...] | None = None, distribution: str = "normal", signed: bool = True) -> Generator:
    """A generator to sample. latent: shape of one latent, for a TorchScript file or an exported program (.pt2); then
    distribution and signed count too.

    Raises WeightsError, UsageError.
    """
    if latent is not None:
        return Generator(foreign.load(path), latent, distribution, signed)
    if foreign.is_archive(path):
        foreign.refuse_pickles(path)
        raise UsageError(f"{path}: a generator from elsewhere. Say what its latents are: --latent 128 (or 128x1x1).")
    tensors, facts = read(path)
    architecture = ARCHITECTURES[facts["architecture"]]
    shape = tuple(facts["shape"])
    network = architecture.generator(shape)
    own = {name.removeprefix("ema."): t for name, t in tensors.items() if name.startswith("ema.")}
    try:
        network.load_state_dict(own)
    except RuntimeError as error:
        raise WeightsError(f"{path}: its weights are not those of {architecture.name} ({str(error).splitlines()[-1].strip()}). "
                           "Copy it again, or train again.") from error
    return Generator(network.eval(), (architecture.latent,), architecture.distribution, architecture.signed, shape)


def parse_latent(text: str) -> tuple[int, ...]:
    """"128" or "128x1x1" -> shape of one latent. Raises UsageError."""
    sides = text.lower().split("x")
    if not all(side.isdigit() and int(side) for side in sides):
        raise UsageError(f"--latent {text}: write the shape of one latent, like 128 or 128x1x1.")
    return tuple(map(int, sides))
