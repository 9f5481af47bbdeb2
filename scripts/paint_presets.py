"""Paint the style pictures of presets/paintings: our own work, the same bytes from every run on a machine.

python scripts/paint_presets.py                            all twelve
python scripts/paint_presets.py sumi_e_ink --size 768      one, small
"""

import argparse
import difflib
import importlib
import os
import sys
import time
import zlib
from pathlib import Path

import cv2
import numpy as np

PAINTINGS = (
    "impasto_nocturne",
    "pointillist_riverbank",
    "palette_knife_oil",
    "pastel_hatching",
    "watercolour_wash",
    "sumi_e_ink",
    "woodblock_wave",
    "cubist_facets",
    "neoplastic_grid",
    "stained_glass",
    "marbling",
    "art_nouveau_curves",
)
MAX_BYTES = 1_300_000
QUALITIES = (92, 90, 88, 86)  # JPEG; the best that fits is taken
SOFTNESS_PX = (
    0,
    0.5,
    0.65,
    0.8,
    1.0,
    1.2,
)  # blur of grain too fine for MAX_BYTES; styles are used at half this size

DESCRIPTION = """\
title = "{title}"
author = "render project, scripts/paint_presets.py"
licence = "CC0-1.0"
description = "{description}"

[[pictures]]
file = "{name}.jpg"
"""


def main(arguments=None):
    """Paint what the command line names."""
    options = parse(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.names or PAINTINGS:
        started_s = time.perf_counter()
        written = paint(name, options.output, size_px=options.size)
        print(
            f"{written}  {written.stat().st_size:,} bytes  {time.perf_counter() - started_s:.1f} s",
            flush=True,
        )


def parse(arguments):
    """The options, unknown paintings refused with the nearest name."""
    parser = argparse.ArgumentParser(description="Paint the style pictures of presets/paintings.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="paintings to make; all when none is named")
    parser.add_argument("--size", type=int, default=2048, help="long side in pixels (default %(default)s)")
    parser.add_argument(
        "--output", type=Path, default=Path("presets/paintings"), help="folder (default %(default)s)"
    )
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in PAINTINGS:
            near = difflib.get_close_matches(name, PAINTINGS, n=1, cutoff=0)[0]
            parser.error(
                f"no painting is called {name!r}. Did you mean {near!r}? There are: {', '.join(PAINTINGS)}."
            )
    return options


def paint(name, folder, *, size_px):
    """Paint one picture into `folder`, with its description beside it. Returns the picture's path."""
    painter = importlib.import_module(f"painting.{name}")
    # Seeded by the name: a painting does not change when another is added or painted before it.
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    picture = painter.paint(size_px, rng)
    described = DESCRIPTION.format(name=name, title=painter.TITLE, description=painter.DESCRIPTION)
    replace_file(folder / f"{name}.toml", described.encode())
    path = folder / f"{name}.jpg"
    replace_file(path, jpeg_bytes(picture))
    return path


def jpeg_bytes(picture):
    """The picture, (height, width, 3) sRGB in [0, 1], as a 4:4:4 JPEG of at most MAX_BYTES."""
    bgr = np.round(np.clip(picture[..., ::-1], 0, 1) * 255).astype(np.uint8)
    for softness_px in SOFTNESS_PX:
        soft = cv2.GaussianBlur(bgr, (0, 0), softness_px) if softness_px else bgr
        for quality in QUALITIES:
            data = encode(soft, quality)
            if len(data) <= MAX_BYTES:
                return data
    raise RuntimeError(
        f"The painting needs {len(data):,} bytes even at JPEG quality {quality} and softened by "
        f"{softness_px} px: paint coarser grain until it fits {MAX_BYTES:,}."
    )


def encode(bgr, quality):
    """JPEG bytes without chroma subsampling: thin strokes of pure colour keep their colour."""
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_OPTIMIZE,
        1,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    encoded, data = cv2.imencode(".jpg", bgr, options)
    if not encoded:
        raise RuntimeError("OpenCV could not encode the painting as JPEG.")
    return data.tobytes()


def replace_file(path, data):
    """Write the bytes so that the file appears whole or not at all."""
    beside = path.with_name(f".{path.name}.part")
    with open(beside, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


if __name__ == "__main__":
    sys.exit(main())
