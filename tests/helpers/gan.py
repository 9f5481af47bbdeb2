"""Training data for GANs, and checkpoints of generators."""

import struct

import numpy as np
import torch

from render.gan.architectures import ARCHITECTURES
from render.gan.data import Data
from render.gan.training import Recipe, Training
from render.network import device


def idx(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def digits(count=50, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28), dtype=np.uint8)


def squares(shape=(1, 28, 28), count=40) -> Data:
    """Bright squares at random places: something to learn."""
    rng = np.random.default_rng(0)
    images = np.zeros((count, *shape), np.uint8)
    for image in images:
        top, left = rng.integers(0, shape[1] // 2, 2)
        image[:, top : top + shape[1] // 2, left : left + shape[1] // 2] = rng.integers(128, 256)
    return Data(torch.from_numpy(images), "squares")


def untrained_generators(folder):
    """Of generators that never learnt anything: a sample is a sample."""
    cpu = device.choose("cpu", "float32", threads=1)
    for name in ("fc", "dcgan", "compact"):
        recipe = Recipe.of(ARCHITECTURES[name], 64 if name == "compact" else None, batch=4)
        training = Training(recipe, squares(recipe.shape), cpu, folder / name / "gan.safetensors")
        training.average.train()
        for _ in range(20):  # what batch normalisation counts: with none, deep networks give one flat grey
            training.average(training.fixed[:8])
        training.save()
    return folder
