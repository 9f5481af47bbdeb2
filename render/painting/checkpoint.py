"""Checkpoints: the state of an unfinished job, so that an interrupted one continues from there to the same
bits.

Nothing random happens within a scale: the noise that a look may start from is drawn from the job's seed
before the first one. So image, optimiser, step and memory plan are the whole state.
"""

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open

from render.errors import WeightsError
from render.system import files


@dataclass(frozen=True)
class Checkpoint:
    """Where an unfinished job stands: between two scales, or between two evaluations within one."""

    scale: int
    """How many scales are finished."""
    image: torch.Tensor
    """(1, 3, H, W) float32 in [0, 1]: of the last finished scale or, within a scale, the next point to
    evaluate."""
    carried: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """What the optimiser carries into the next scale."""
    optimiser: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """The optimiser's tensors within a scale."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Plain values within a scale: iteration, losses, memory plan; empty between two scales."""


class _Header(BaseModel):
    """The header of a stored checkpoint."""

    model_config = ConfigDict(strict=True)

    job: str
    scale: int = Field(ge=0)
    facts: dict[str, Any]


def path_of(folder: Path, painting_id: str) -> Path:
    return folder / f"{painting_id}.safetensors"


def store(folder: Path, painting_id: str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all. Raises PictureError when the disk is full or fails."""
    tensors = {
        "image": checkpoint.image,
        **{f"carried.{name}": t for name, t in checkpoint.carried.items()},
        **{f"optimiser.{name}": t for name, t in checkpoint.optimiser.items()},
    }
    facts = {"job": painting_id, "scale": checkpoint.scale, "facts": dict(checkpoint.facts)}
    save(path_of(folder, painting_id), tensors, facts)


def save(path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping) -> None:
    """Write tensors and plain facts with a checksum, whole or not at all. Raises PictureError when the disk
    is full or fails."""
    own, seen = {}, set()  # safetensors refuses two names for one memory
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        own[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    text = json.dumps(facts)
    with files.whole_file(path, needs_bytes=sum(t.nbytes for t in own.values())) as file:
        _write(file, own, {"render": text, "crc32": _checksum(own, text)})


_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def _write(file: BinaryIO, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """Write the safetensors format (its README, "Format"). The library's own `save_file` writes through
    another file of its choosing, which a killed process leaves behind, and which is not synced before it is
    renamed."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    place = 0
    widest_first = sorted(
        tensors.items(), key=lambda item: (-item[1].element_size(), item[0])
    )  # so that all are aligned
    for name, tensor in widest_first:
        end = place + tensor.nbytes
        header[name] = {
            "dtype": _TYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [place, end],
        }
        place = end
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    file.write(struct.pack("<Q", len(head)) + head)
    for _, tensor in widest_first:
        file.write(_bytes_of(tensor))


def _bytes_of(tensor: torch.Tensor) -> memoryview:
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def load(folder: Path, painting_id: str) -> Checkpoint | None:
    """The stored checkpoint; None when there is none or it cannot be read: the job then starts from the
    beginning."""
    found = read(path_of(folder, painting_id))
    if found is None:
        return None
    tensors, facts = found
    try:
        header = _Header.model_validate(facts)
        image = tensors["image"]
    except (KeyError, ValidationError):
        return None
    if (
        header.job != painting_id
        or image.dtype != torch.float32
        or image.dim() != 4
        or image.shape[:2] != (1, 3)
    ):
        return None

    def group(name: str) -> dict[str, torch.Tensor]:
        return {key.removeprefix(name): t for key, t in tensors.items() if key.startswith(name)}

    return Checkpoint(header.scale, image, group("carried."), group("optimiser."), header.facts)


def read(path: Path) -> tuple[dict[str, torch.Tensor], dict] | None:
    """(tensors, facts) of a file that `save` wrote; None when it is not there or damaged."""
    try:
        files.check(path, what="checkpoint", error=WeightsError)
        with safe_open(path, framework="pt") as f:
            tensors = {name: f.get_tensor(name).clone() for name in f.keys()}
            text, checksum = f.metadata()["render"], f.metadata()["crc32"]
        return (tensors, json.loads(text)) if checksum == _checksum(tensors, text) else None
    except (
        WeightsError,
        SafetensorError,
        OSError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        RecursionError,
    ):
        return None


def _checksum(tensors: Mapping[str, torch.Tensor], text: str) -> str:
    """CRC-32 of everything that decides the pixels: one bit that flipped on the disk would otherwise change
    the print without anybody noticing."""
    found = zlib.crc32(text.encode())
    for name, tensor in sorted(tensors.items()):
        found = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), found)
        found = zlib.crc32(_bytes_of(tensor), found)
    return f"{found:08x}"


def forget(folder: Path, painting_id: str) -> None:
    path_of(folder, painting_id).unlink(missing_ok=True)
