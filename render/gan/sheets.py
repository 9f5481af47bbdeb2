"""Pictures for people: a grid of samples, a strip of an interpolation, a plot of the losses."""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from render.errors import PictureError, UsageError
from render.system.files import write_bytes


def grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """(N, H, W, C) -> one picture, filled row by row, about square unless `columns` is given; unused places
    are black."""
    count, height, width, channels = images.shape
    columns = columns or int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    sheet = np.zeros((rows * columns, height, width, channels), images.dtype)
    sheet[:count] = images
    return (
        sheet.reshape(rows, columns, height, width, channels)
        .swapaxes(1, 2)
        .reshape(rows * height, columns * width, channels)
    )


def png(image: np.ndarray) -> bytes:
    """A PNG of an image (H, W, 1 or 3), uint8, gray or RGB. Raises PictureError for one that PNG cannot
    hold."""
    done, data = cv2.imencode(".png", image[..., ::-1] if image.shape[2] == 3 else image)
    if not done:
        raise PictureError(
            f"a picture of {image.shape[1]} x {image.shape[0]} px cannot be written as PNG. Use fewer, "
            f"or --format npz."
        )
    return data.tobytes()


def write_png(path: Path, image: np.ndarray) -> None:
    """Write a PNG, whole or not at all."""
    write_bytes(path, png(image))


def write_losses(path: Path, epochs: Sequence) -> None:
    """Plot the losses of facts.Epochs."""
    pyplot = import_pyplot()
    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    numbers = [epoch.number for epoch in epochs]
    axes.plot(numbers, [epoch.discriminator for epoch in epochs], marker=".", label="discriminator")
    axes.plot(numbers, [epoch.generator for epoch in epochs], marker=".", label="generator")
    for epoch in epochs:
        if epoch.trouble:
            axes.axvline(epoch.number, color="tab:red", alpha=0.3)
    axes.set(xlabel="epoch", ylabel="mean loss")
    axes.legend()
    axes.grid(alpha=0.3)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=120, bbox_inches="tight")
    pyplot.close(figure)
    write_bytes(path, drawn.getvalue())


def import_pyplot():
    """matplotlib.pyplot, set to draw to files. Raises UsageError when it is not installed."""
    try:
        import matplotlib
    except ImportError as error:
        raise UsageError(
            "training draws its losses with matplotlib: pip install 'render-prints[gan]'"
        ) from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot
