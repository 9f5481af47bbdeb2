"""A GAN on disk: tensors in safetensors, everything else as JSON in its header."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import nn

from render.errors import UsageError, WeightsError, brief
from render.gan import foreign
from render.gan.architectures import ARCHITECTURES
from render.gan.facts import FORMAT, KIND, Facts, Origin, problem
from render.painting import checkpoint
from render.system import files

MOST_NUMBERS = 10**6  # of a latent
AGAIN = "Copy it again, or train again."


@dataclass(frozen=True)
class Generator:
    """A generator to sample, ours or made elsewhere."""

    network: nn.Module
    """Latents (N, *latent) -> images (N, C, H, W)."""
    latent: tuple[int, ...]
    """Shape of one latent."""
    distribution: str
    """Of the latents: "uniform" in [-1, 1] or "normal"."""
    signed: bool
    """Whether images are in [-1, 1], not in [0, 1]."""
    shape: tuple[int, int, int] | None = None
    """(C, H, W) of the images; None when it is not known before a sample is made."""


def save(path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping) -> None:
    """Write a checkpoint, whole or not at all. Raises PictureError when the disk is full or fails."""
    checkpoint.save(path, tensors, {"kind": KIND, "format": FORMAT, **facts})


def read(path: Path) -> tuple[dict[str, torch.Tensor], Facts]:
    """(tensors, facts). Raises WeightsError for anything that `save` did not write."""
    facts = read_facts(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).clone() for name in file.keys()}, facts
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise WeightsError(f"{path}: damaged ({brief(error)}). {AGAIN}") from error


def read_facts(path: Path) -> Facts:
    """The header alone. Raises WeightsError."""
    if not os.path.lexists(path):
        raise WeightsError(
            f"{brief(str(path), 400)}: no such file. Give the gan.safetensors that `render gan train` wrote."
        )
    files.check(path, what="checkpoint", error=WeightsError, at_most_bytes=foreign.MAX_BYTES)
    foreign.refuse_pickles(path)
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("render", "")
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: damaged, or no safetensors file ({brief(error)}). {AGAIN}") from error
    try:
        origin = Origin.model_validate_json(header, strict=True)
    except ValidationError as error:
        raise WeightsError(
            f"{path}: not a checkpoint of `render gan train`. For a generator from elsewhere "
            "export it as "
            "TorchScript or with torch.export and add --latent."
        ) from error
    if origin.architecture not in ARCHITECTURES:
        raise WeightsError(
            f"{path}: of the architecture {brief(repr(origin.architecture))}, which this "
            "version does not know "
            f"({', '.join(ARCHITECTURES)}). Use the version of render that wrote it."
        )
    try:
        return Facts.model_validate_json(header, strict=True)
    except ValidationError as error:
        raise WeightsError(
            f"{path}: its header is damaged, or of another version of render ({problem(error)}). {AGAIN}"
        ) from error


def restore(path: Path, network: nn.Module, tensors: Mapping[str, torch.Tensor], name: str) -> None:
    """Load the tensors into the network. Raises WeightsError when they are those of another one, or not
    finite."""
    own = network.state_dict()
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise WeightsError(
            f"{path}: its weights are not those of {name} ({str(error).splitlines()[-1].strip()}). {AGAIN}"
        ) from error
    if any(tensors[key].dtype != t.dtype or not torch.isfinite(t).all() for key, t in own.items()):
        raise WeightsError(
            f"{path}: its weights are not those of {name} (not numbers, or of another type). {AGAIN}"
        )


def load(
    path: Path, *, latent: tuple[int, ...] | None = None, distribution: str = "normal", signed: bool = True
) -> Generator:
    """A generator to sample. Raises WeightsError, UsageError.

    Args:
        latent: shape of one latent, for a TorchScript file or an exported program (.pt2); None for a
            checkpoint of ours, which says itself what the other arguments say.
        distribution: see Generator.
        signed: see Generator.
    """
    if latent is not None:
        return Generator(foreign.load(path), latent, distribution, signed)
    if os.path.isfile(path) and foreign.is_archive(path):
        foreign.refuse_pickles(path)
        raise UsageError(
            f"{path}: a generator from elsewhere. Say what its latents are: --latent 128 (or 128x1x1)."
        )
    tensors, facts = read(path)
    architecture = ARCHITECTURES[facts.architecture]
    network = architecture.generator(facts.shape)
    own = {name.removeprefix("ema."): t for name, t in tensors.items() if name.startswith("ema.")}
    restore(path, network, own, architecture.name)
    return Generator(
        network.eval(), (architecture.latent,), architecture.distribution, architecture.signed, facts.shape
    )


def parse_latent(text: str) -> tuple[int, ...]:
    """ "128" or "128x1x1" -> shape of one latent. Raises UsageError."""
    sides = text.lower().split("x")
    if not all(re.fullmatch("[0-9]{1,9}", side) and int(side) for side in sides):
        raise UsageError(f"--latent {brief(text)}: write the shape of one latent, like 128 or 128x1x1.")
    shape = tuple(map(int, sides))
    if math.prod(shape) > MOST_NUMBERS:
        raise UsageError(
            f"--latent {brief(text)}: one latent has at most {MOST_NUMBERS} numbers. Write its "
            "shape like 128 or 128x1x1."
        )
    return shape
