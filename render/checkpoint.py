"""The last finished scale of an unfinished job, so that an interrupted job goes on from there."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from render.export import write_bytes


@dataclass(frozen=True)
class Checkpoint:
    """scale: how many scales are finished; image: (1, 3, H, W) float32; carried: the optimiser's, for the next scale."""

    scale: int
    image: torch.Tensor
    carried: Mapping[str, torch.Tensor]


def path_of(folder: Path, job_id: str) -> Path:
    return folder / f"{job_id}.safetensors"


def store(folder: Path, job_id: str, checkpoint: Checkpoint) -> None:
    tensors = {"image": checkpoint.image, **{f"carried.{name}": t for name, t in checkpoint.carried.items()}}
    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(path_of(folder, job_id), save(tensors, {"render": json.dumps({"job": job_id, "scale": checkpoint.scale})}))


def load(folder: Path, job_id: str) -> Checkpoint | None:
    """The stored checkpoint; None when there is none or it cannot be read (the job then starts from the beginning)."""
    path = path_of(folder, job_id)
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as f:
            facts = json.loads(f.metadata()["render"])
            job, scale = facts["job"], facts["scale"]
            tensors = {name: f.get_tensor(name) for name in f.keys()}
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        return None
    if job != job_id or "image" not in tensors:
        return None
    carried = {name.removeprefix("carried."): t for name, t in tensors.items() if name.startswith("carried.")}
    return Checkpoint(scale, tensors["image"], carried)


def forget(folder: Path, job_id: str) -> None:
    path_of(folder, job_id).unlink(missing_ok=True)
