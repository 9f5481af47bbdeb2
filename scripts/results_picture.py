"""Composes the README's picture: rows of photograph, painting and print.

python scripts/results_picture.py --output .github/results.jpg photos/a.png presets/paintings/b.jpg
prints/a--b.png ...
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from render.pictures import images

ROW_PX, GAP_PX = 300, 10


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "pictures", nargs="+", type=Path, help="photograph, painting, print; and again for each row"
    )
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    rows = [row_of(arguments.pictures[i : i + 3]) for i in range(0, len(arguments.pictures), 3)]
    width = max(row.shape[1] for row in rows)
    page = np.concatenate([beside(row, width) for row in rows])
    Image.fromarray(np.uint8(page * 255 + 0.5)).save(arguments.output, quality=88)


def row_of(paths: list[Path]) -> np.ndarray:
    """Pictures of one height, with gaps: (ROW_PX + GAP_PX, W, 3) in [0, 1]."""
    parts = []
    for path in paths:
        pixels = images.read(path).pixels
        height, width = pixels.shape[:2]
        small = images.resize(pixels, (ROW_PX, round(width * ROW_PX / height)))
        parts.append(np.pad(small, ((0, GAP_PX), (0, GAP_PX), (0, 0)), constant_values=1.0))
    return np.concatenate(parts, axis=1)


def beside(row: np.ndarray, width: int) -> np.ndarray:
    return np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=1.0)


if __name__ == "__main__":
    main()
