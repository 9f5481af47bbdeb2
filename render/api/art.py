"""A finished picture: its pixels, how it was made, and files of it."""

import copy
import io
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from render.api.options import named_as_arguments, path_text, settings_of, whole
from render.errors import ArgumentError
from render.jobs.job import finished_id, products
from render.jobs.settings import Settings
from render.painting.finish import Finish, Finished
from render.pictures import icc, images, paper, print_file, quantize
from render.system import files

SHOWN_PX = 1024  # long side in a notebook


class Art:
    """What a photograph became in a style. Made by `render.stylize` and `render.Painter`; shows itself in a
    notebook."""

    def __init__(self, finished: Finished, settings: Settings, sources: Sequence[Path] = ()):
        sheet = np.ascontiguousarray(finished.sheet, np.float32)
        sheet.flags.writeable = False
        self._finished = replace(finished, sheet=sheet)
        self._settings, self._sources = settings, tuple(sources)

    @property
    def pixels(self) -> np.ndarray:
        """(H, W, 3) float32 sRGB in [0, 1], read-only: what files are made from, before it is rounded."""
        return self._finished.sheet

    @property
    def alpha(self) -> np.ndarray | None:
        """(H, W) float32 in [0, 1] where the photograph is transparent; None when it is opaque. Under it the
        pixels are composited over white."""
        return self._finished.alpha

    @cached_property
    def image(self) -> Image.Image:
        """RGB (RGBA where there is alpha) of 8 bits, dithered, in sRGB: as a PNG file of it."""
        return _eight_bit(self.pixels, self.alpha, self._finished.dpi)

    @property
    def loss(self) -> float:
        """What was minimized, after the last iteration (no unit)."""
        return self._finished.provenance["loss"]

    @property
    def findings(self) -> tuple[str, ...]:
        """What the automatic checks saw and a person should look at; empty when all is well."""
        return self._finished.findings

    @property
    def recipe(self) -> dict[str, Any]:
        """How it was made: photograph, style, look, settings, versions. Files of it carry the same."""
        return json.loads(json.dumps(self._finished.provenance, default=str))

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        bit_depth: int = 8,
        profile: str | os.PathLike[str] = "srgb",
        intent: str = "relative",
        dpi: float | None = None,
        quality: int = 95,
        soft_proof: str | os.PathLike[str] | None = None,
    ) -> Path:
        """Writes it, whole or not at all, in place of what is there; returns the path.

        Args:
            path: its extension names the format: .png, .jpg, .tif or .webp. A file that the picture was made
                from is never replaced.
            bit_depth: bits per channel, 8 (dithered) or 16 (PNG and TIFF).
            profile: what the file's values are in: srgb, adobe-rgb, display-p3, or an RGB .icc file.
            intent: rendering intent of that conversion: perceptual, relative, saturation or absolute.
            dpi: px an inch, written into the file; None: as painted. Not for a picture painted for a paper.
            quality: of JPEG and WebP, 0 to 100.
            soft_proof: a printer's .icc profile (CMYK too): NAME.proof.png shows what will come out of it.

        Raises ArgumentError, ArgumentTypeError, UsageError (a profile that cannot be used, a format without
        16 bits) and PictureError (a file that cannot be written).
        """
        given = {"bit_depth": bit_depth, "profile": profile, "intent": intent, "soft_proof": soft_proof}
        with named_as_arguments():
            path = Path(path_text("path", path))
            how = Finish.of(self._settings_for(path, given, dpi))
            if whole("quality", quality, least=0) > 100:
                raise ArgumentError(f"quality is {quality} and must be a whole number from 0 to 100.")
            self._refuse_sources(products(path, how.settings))
            self._as(how.settings).write(path, how, quality=quality)
        return path

    def _settings_for(self, path: Path, given: dict[str, Any], dpi: float | None) -> Settings:
        if dpi is not None:
            if self._settings.paper is not None:
                raise ArgumentError(
                    f"dpi: the picture was painted for {self._settings.paper} at {self._settings.dpi:g} px "
                    "an inch. Leave dpi out, or paint it again with another."
                )
            given = given | {"dpi": dpi}
        checked = settings_of(given)
        changes = {name: getattr(checked, name) for name in given}
        return self._settings.model_copy(update={"format": print_file.format_of(path), **changes})

    def _as(self, settings: Settings) -> Finished:
        """With the record of a file of these settings: the one that the command line would write."""
        facts = copy.deepcopy(dict(self._finished.provenance))
        facts["job"] = finished_id(facts["painted"], settings)
        facts["settings"] |= {
            name: getattr(settings, name)
            for name in ("format", "bit_depth", "profile", "intent", "soft_proof", "dpi")
        }
        facts["layout"] |= {"dpi": settings.dpi}
        return replace(self._finished, provenance=facts, dpi=settings.dpi)

    def _refuse_sources(self, paths: Sequence[Path]) -> None:
        sources = {files.identity(path): path for path in self._sources}
        for path in paths:
            source = sources.get(files.identity(path))
            if source is not None:
                raise ArgumentError(f"path {path}: the picture was made from it. Choose another name.")

    def _repr_png_(self) -> bytes:
        """For notebooks: at most SHOWN_PX on the long side."""
        size = paper.fit(self.pixels.shape[:2], SHOWN_PX)
        if max(size) >= max(self.pixels.shape[:2]):
            image = self.image
        else:
            small = None if self.alpha is None else images.resize(self.alpha, size)
            image = _eight_bit(images.resize(self.pixels, size), small, self._finished.dpi)
        stream = io.BytesIO()
        image.save(stream, "PNG")
        return stream.getvalue()

    def __repr__(self) -> str:
        facts, (height, width) = self._finished.provenance, self.pixels.shape[:2]
        findings = f", {len(self.findings)} findings" if self.findings else ""
        return (
            f"<render.Art {facts['photo']} x {facts['style']['name']}, {width} x {height} px, "
            f"loss {self.loss:.4g}{findings}>"
        )


def _eight_bit(pixels: np.ndarray, alpha: np.ndarray | None, dpi: float) -> Image.Image:
    image = Image.fromarray(quantize.dithered(pixels))
    if alpha is not None:
        image.putalpha(Image.fromarray(np.rint(np.clip(alpha, 0, 1) * np.float32(255)).astype(np.uint8)))
    image.info |= {"icc_profile": icc.load_profile("srgb").data, "dpi": (dpi, dpi)}
    return image
