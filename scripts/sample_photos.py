"""Copies three photographs from scikit-image's package (public domain or CC0) into a folder."""

import argparse
import importlib.util
import shutil
from pathlib import Path

PHOTOS = ("astronaut.png", "coffee.png", "rocket.jpg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    package = Path(importlib.util.find_spec("skimage").origin).parent
    for name in PHOTOS:
        if not (folder / name).exists():
            shutil.copyfile(package / "data" / name, folder / name)


if __name__ == "__main__":
    main()
