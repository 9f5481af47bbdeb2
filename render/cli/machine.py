"""What this machine has, and what is missing for the main job."""

import importlib.metadata
import importlib.util
import platform
import shutil
import sys

import numpy as np
import torch

import render
from render.cli import installation
from render.errors import RenderError
from render.network import device, weights
from render.network.layers import LAYERS
from render.network.memory import gibibytes
from render.system import large_pages
from render.wording import plain


def examine() -> int:
    """Prints devices, memory, weights and versions, and returns the exit status: 1 when the main job would
    not run."""
    chosen = device.choose()
    _line(
        "render",
        f"{render.__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}",
    )
    _line(
        "packages",
        ", ".join(
            f"{name} {_version(name)}"
            for name in ("torch", "numpy", "pillow", "opencv-python-headless", "pydantic", "safetensors")
        ),
    )
    _line("optional", ", ".join(f"{name} {_version(name)}" for name in ("torchvision", "ray")))
    _line("cores", f"{device.cores()} of {_processor()}")
    _line(
        "memory",
        f"{gibibytes(device.free_memory_bytes('cpu'))} free of {gibibytes(device.memory_bytes('cpu'))}",
    )
    _line("pages", large_pages.status())
    _line("budget", f"{chosen.budget} by default (--memory)")
    _line("disk here", f"{gibibytes(shutil.disk_usage('.').free)} free")
    for name in device.gpus() or ["none that torch can use"]:
        _line("GPU", name)
    _line("default", f"device {chosen.name}, features in {chosen.precision}")
    for other, what in installation.rivals().items():
        _line("WARNING", installation.advice(other, what))
    problems = _try_network(chosen)
    for problem in problems:
        _line("PROBLEM", problem)
    _line(
        "verdict",
        "cannot render yet" if problems else "ready: render batch --styles paintings --inputs photos/",
    )
    return 1 if problems else 0


def _try_network(chosen: device.Device) -> list[str]:
    """Loads the embedded weights and runs the network once."""
    try:
        loaded = weights.load()
        network = loaded.network(device=chosen.name, dtype=chosen.dtype)
        deepest = list(LAYERS)[-1]
        features = network(torch.full((1, 3, 64, 64), 0.5, device=chosen.name), [deepest])[deepest]
    except (RenderError, RuntimeError) as error:
        return [str(error)]
    if not np.isfinite(features.float().cpu().numpy()).all():
        return ["the network's features are not finite on this device: use --precision float32"]
    _line("weights", f"{loaded.name}: sha256 {loaded.sha256[:16]}... verified, network runs")
    return []


def _line(what: str, text: str) -> None:
    print(f"{what:10} {plain(text)}", file=sys.stdout)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as f:
            for line in f:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
