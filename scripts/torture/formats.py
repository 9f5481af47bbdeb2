"""Every format that the program reads: whole files of it, and the program's own function that reads them."""

import gzip
import json
import random
import re
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import tifffile
import torch
from PIL import Image
from safetensors.torch import save_file

from render.gan import data as gan_data
from render.gan import files as gan_files
from render.gan.architectures import ARCHITECTURES
from render.gan.facts import Recipe
from render.jobs import styles
from render.jobs.ledger import Ledger
from render.network import weights
from render.network.layers import convolutions
from render.painting import checkpoint, recolor
from render.pictures import icc, images, print_file
from scripts.torture import damage

JOB = "job"


@dataclass(frozen=True)
class Format:
    """ending: of the file's name; samples: writes whole files into a folder and gives their paths; read: the
    program's own function; it gives False for what counts as refused without an error; deeper: damages a file
    behind its own checksums."""

    name: str
    ending: str
    samples: Callable[[Path], list[Path]]
    read: Callable[[Path], object]
    text: bool = False
    deeper: Callable[[bytes, random.Random, damage.Damage], bytes] | None = None


def pixels(height: int = 40, width: int = 56) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 60, (height, width, 3))
    return np.uint8(np.stack([4 * x, 6 * y, 3 * (x + y)], -1) % 190 + noise)


# --- pictures -----------------------------------------------------------------------------------------------


def _by_pillow(ending: str, *variants: dict) -> Callable[[Path], list[Path]]:
    def samples(folder: Path) -> list[Path]:
        exif = Image.Exif()
        exif[0x0112], exif[0x010E] = 6, "by hand"
        paths = []
        for i, variant in enumerate(variants or ({},)):
            options = {"exif": exif, "icc_profile": icc.load_profile("adobe-rgb").data, **variant}
            image = Image.fromarray(pixels()).convert(options.pop("mode", "RGB"))
            paths.append(folder / f"{i}{ending}")
            image.save(paths[-1], **{name: value for name, value in options.items() if value is not None})
        return paths

    return samples


def _deep_png(folder: Path) -> list[Path]:
    cv2.imwrite(str(folder / "rgb.png"), pixels().astype(np.uint16) * 257)
    cv2.imwrite(str(folder / "grey.png"), pixels()[..., 0].astype(np.uint16) * 257)
    return [folder / "rgb.png", folder / "grey.png"]


def _tiff(folder: Path) -> list[Path]:
    deep = pixels().astype(np.uint16) * 257
    plans = {
        "8": (pixels(), {}),
        "16": (deep, {}),
        "packed": (pixels(), {"compression": "zlib"}),
        "tiles": (deep, {"tile": (16, 16), "compression": "zlib", "predictor": True}),
        "grey": (deep[..., 0], {"photometric": "minisblack"}),
    }
    for name, (values, options) in plans.items():
        tifffile.imwrite(folder / f"{name}.tif", values, **{"photometric": "rgb", **options})
    Image.fromarray(pixels()).save(
        folder / "lzw.tif", compression="tiff_lzw", icc_profile=icc.load_profile("srgb").data
    )
    return sorted(folder.glob("*.tif"))


def _read_picture(path: Path) -> bool:
    images.probe(path)
    found = images.read(path)
    return bool(np.isfinite(found.pixels).all()) or _complain("values that are not finite")


def _complain(what: str):
    raise AssertionError(what)


PLAIN = {"exif": None, "icc_profile": None}
PICTURES = (
    Format(
        "JPEG",
        ".jpg",
        _by_pillow(
            ".jpg", {}, {"progressive": True}, {"mode": "CMYK", "icc_profile": None}, {"mode": "L", **PLAIN}
        ),
        _read_picture,
    ),
    Format(
        "PNG, 8 bits",
        ".png",
        _by_pillow(".png", {}, {"mode": "RGBA"}, {"mode": "P", **PLAIN}, {"mode": "1", **PLAIN}),
        _read_picture,
        deeper=damage.png,
    ),
    Format("PNG, 16 bits", ".png", _deep_png, _read_picture, deeper=damage.png),
    Format("TIFF", ".tif", _tiff, _read_picture),
    Format("WebP", ".webp", _by_pillow(".webp", {}, {"lossless": True}, {"mode": "RGBA"}), _read_picture),
    Format("AVIF", ".avif", _by_pillow(".avif", {}, {"mode": "RGBA"}), _read_picture),
    Format(
        "JPEG 2000",
        ".jp2",
        _by_pillow(".jp2", PLAIN, {"mode": "RGBA", **PLAIN}, {"irreversible": True, **PLAIN}),
        _read_picture,
    ),
    Format("BMP", ".bmp", _by_pillow(".bmp", PLAIN, {"mode": "P", **PLAIN}), _read_picture),
    Format("GIF", ".gif", _by_pillow(".gif", {"mode": "P", **PLAIN}), _read_picture),
    Format("PPM", ".ppm", _by_pillow(".ppm", PLAIN, {"mode": "L", **PLAIN}), _read_picture),
)


# --- presets, IDX, profiles ---------------------------------------------------------------------------------

PRESET = """title = "Impasto \\u00e9"
author = 'somebody'
licence = "CC0-1.0"
description = \"\"\"two
lines\"\"\"

[[pictures]]
file = "a.png"
weight = 1.5

[look]
style_scale = 1.5
style_layers = {relu1_1 = 1, relu2_1 = 0.5}
pooling = "average"
"""


def _presets(folder: Path) -> list[Path]:
    Image.fromarray(pixels()).save(folder / "a.png")
    preset = min(next(iter(styles.shipped_collections().values())).glob("*.toml"))
    (folder / "0.toml").write_text(PRESET, encoding="utf-8")
    (folder / "1.toml").write_bytes(
        b"\xef\xbb\xbf" + re.sub(rb'"[^"]+\.jpg"', b'"a.png"', preset.read_bytes())
    )
    return [folder / "0.toml", folder / "1.toml"]


def _read_preset(path: Path) -> None:
    """What contradicts itself in a look is found when it is applied."""
    styles.apply_settings(styles.load_style(path).look)


def idx_bytes(count: int = 3, side: int = 28) -> bytes:
    return (
        bytes((0, 0, 8, 3))
        + struct.pack(">3I", count, side, side)
        + bytes(i % 251 for i in range(count * side**2))
    )


def _idx(folder: Path) -> list[Path]:
    (folder / "train.idx3-ubyte").write_bytes(idx_bytes())
    return [folder / "train.idx3-ubyte"]


def _packed_idx(folder: Path) -> list[Path]:
    (folder / "train.gz").write_bytes(gzip.compress(idx_bytes()))
    return [folder / "train.gz"]


def _read_idx(path: Path) -> None:
    gan_data.read_idx(path, dimensions=3)


def _profiles(folder: Path) -> list[Path]:
    for name in icc.BUILT_IN:
        (folder / f"{name}.icc").write_bytes(icc.load_profile(name).data)
    return sorted(folder.glob("*.icc"))


def _read_profile(path: Path) -> None:
    profile = icc.load_profile(path)
    found = icc.convert(np.linspace(0, 1, 4 * 4 * 3, dtype=np.float32).reshape(4, 4, 3), profile)
    if not (np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1):
        raise AssertionError("a conversion to values outside [0, 1]")


# --- what the program wrote ---------------------------------------------------------------------------------


def _prints(folder: Path) -> list[Path]:
    """With the recipe of a finished print, as `recolor` reads it."""
    facts = {
        "layout": {
            "crop": [0, 0, 40, 56],
            "picture": [40, 56],
            "sheet": [40, 56],
            "offset": [0, 0],
            "dpi": 300.0,
        },
        "settings": {"size_px": 56, "color": "style"},
        "look": {},
        "painted": "abc",
        "photo_sha256": "0" * 64,
        "loss": 1.5,
    }
    for name in ("a.png", "a.jpg", "a.tif"):
        print_file.write(folder / name, np.float32(pixels()) / 255, dpi=300.0, provenance=facts)
    return sorted(folder.glob("a.*"))


def _read_print(path: Path) -> bool:
    return print_file.read_provenance(path) is not None and recolor._Known.of(path) is not None


def _checkpoints(folder: Path) -> list[Path]:
    image = torch.rand((1, 3, 8, 9), generator=torch.Generator().manual_seed(0))
    checkpoint.store(
        folder,
        JOB,
        checkpoint.Checkpoint(
            1, image, {"m": image + 1}, {"s0": image.bfloat16()}, {"state": {"iteration": 3}}
        ),
    )
    return [checkpoint.path_of(folder, JOB)]


def _read_checkpoint(path: Path) -> bool:
    """What cannot be read is as good as none, and the job begins anew: that is its refusal."""
    target = checkpoint.path_of(path.parent, JOB)
    path.replace(target)
    return checkpoint.load(path.parent, JOB) is not None


def _gan(folder: Path) -> list[Path]:
    architecture = ARCHITECTURES["conv"]
    recipe = Recipe.of(architecture)
    tensors = {f"ema.{name}": t for name, t in architecture.generator(recipe.shape).state_dict().items()}
    gan_files.save(
        folder / "gan.safetensors",
        tensors,
        {
            "architecture": "conv",
            "shape": recipe.shape,
            "recipe": asdict(recipe),
            "data": {"name": "x", "images": 40},
            "history": [
                {
                    "number": 1,
                    "discriminator": 0.5,
                    "generator": 0.7,
                    "spread": 0.9,
                    "seconds": 1.0,
                    "trouble": "",
                }
            ],
            "updates": 7,
            "versions": {},
        },
    )
    return [folder / "gan.safetensors"]


def _small_vgg() -> dict[str, torch.Tensor]:
    """VGG-19 in few bytes: every weight the same number."""
    return {
        f"{name}.{part}": torch.full((1,), 0.01).expand(shape)
        for name, c_in, c_out in convolutions()
        for part, shape in (("weight", (c_out, c_in, 3, 3)), ("bias", (c_out,)))
    }


def _pth(folder: Path) -> list[Path]:
    torch.save(_small_vgg(), folder / "zip.pth")
    torch.save(_small_vgg(), folder / "old.pth", _use_new_zipfile_serialization=False)
    return [folder / "zip.pth", folder / "old.pth"]


def _safetensors(folder: Path) -> list[Path]:
    first = {"conv1_1.weight": torch.ones(64, 3, 3, 3), "conv1_1.bias": torch.ones(64)}
    save_file(first, folder / "first.safetensors", {"preprocessing": "torchvision"})
    return [folder / "first.safetensors"]


def _read_weights(path: Path) -> None:
    weights.load(str(path), preprocessing="torchvision")


def _ledgers(folder: Path) -> list[Path]:
    with closing(Ledger(folder)) as ledger:
        path = ledger.folder / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as database, database:
        names = [row[1] for row in database.execute("pragma table_info(jobs)")]
        for i in range(20):
            row = {
                "output": f"a{i}.png",
                "id": f"{i:020x}",
                "photo": f"/photos/{i}.jpg",
                "style": "x",
                "status": "done",
                "bytes": 1000,
                "findings": "[]",
                "settings": json.dumps({"settings": {}, "look": {}}),
            }
            row = {name: value for name, value in row.items() if name in names}
            marks = ", ".join("?" * len(row))
            database.execute(f"insert into jobs ({', '.join(row)}) values ({marks})", tuple(row.values()))
    return [path]


def _read_ledger(path: Path) -> None:
    folder = path.parent / ".render"
    folder.mkdir(exist_ok=True)
    path.replace(folder / "ledger.sqlite")
    with closing(Ledger.peek(path.parent)) as ledger:
        ledger.rows()


FORMATS = (
    *PICTURES,
    Format("preset", ".toml", _presets, _read_preset, text=True),
    Format("IDX", ".idx3-ubyte", _idx, _read_idx),
    Format("IDX, gzip", ".gz", _packed_idx, _read_idx, deeper=damage.gz),
    Format("ICC profile", ".icc", _profiles, _read_profile),
    Format("recipe in a print", "", _prints, _read_print, deeper=damage.recipe),
    Format("checkpoint", ".safetensors", _checkpoints, _read_checkpoint, deeper=damage.safetensors),
    Format("GAN checkpoint", ".safetensors", _gan, gan_files.load, deeper=damage.safetensors),
    Format("weights, safetensors", ".safetensors", _safetensors, _read_weights, deeper=damage.safetensors),
    Format("weights, pth", ".pth", _pth, _read_weights, deeper=damage.archive),
    Format("ledger", ".sqlite", _ledgers, _read_ledger),
)
