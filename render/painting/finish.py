"""From the painted picture to the file: the photograph's structure and colours, checks, paper, colour
profile."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from render.jobs.job import proof_path
from render.jobs.settings import Settings
from render.pictures import checks, color, icc, images, photoreal, print_file, quantize
from render.pictures.images import Photo
from render.pictures.paper import Layout


@dataclass(frozen=True)
class Finish:
    """profile, soft_proof: loaded before any work, so that a bad one is refused in time."""

    settings: Settings
    profile: icc.Profile
    soft_proof: icc.Profile | None

    @classmethod
    def of(cls, settings: Settings) -> "Finish":
        """Raises UsageError for a profile or a file that cannot be made."""
        print_file.check_output(settings.format, bit_depth=settings.bit_depth, intent=settings.intent)
        proof = None if settings.soft_proof is None else icc.load_profile(settings.soft_proof, proof=True)
        return cls(settings, icc.load_profile(settings.profile), proof)


def finish(
    output: Path,
    pixels: np.ndarray,
    photo: Photo,
    layout: Layout,
    finishing: Finish,
    *,
    provenance: Mapping,
    borders=((), ()),
) -> tuple[str, ...]:
    """Writes the print and returns what the checks found.

    pixels: (H, W, 3) float32 sRGB in [0, 1], of layout.picture's size; borders: where tiles met, (rows,
    columns). Raises PictureError when the file cannot be written.
    """
    settings = finishing.settings
    content = images.resize(images.crop(photo.pixels, layout), layout.picture)
    if settings.photoreal is not None:
        pixels = photoreal.keep_structure(pixels, content, strength=settings.photoreal)
    if settings.color in color.AFTER:
        pixels = color.recolor(settings.color, pixels, content)
    findings = tuple(
        f"{found.kind}: {found.message}" for found in checks.examine(pixels, content, borders=borders)
    )
    del content
    alpha = None
    if photo.alpha is not None:
        alpha = images.place(images.resize(images.crop(photo.alpha, layout), layout.picture), layout)
    sheet = images.place(pixels, layout)
    print_file.write(
        output,
        sheet,
        alpha=alpha,
        dpi=layout.dpi,
        provenance=provenance,
        bit_depth=settings.bit_depth,
        profile=finishing.profile,
        intent=settings.intent,
        carried=photo.carried,
    )
    if finishing.soft_proof is not None:
        seen = icc.soft_proof(quantize.dithered(sheet), finishing.soft_proof, settings.intent)
        print_file.write(
            proof_path(output),
            seen.astype(np.float32) / 255,
            dpi=layout.dpi,
            provenance={**provenance, "proof_of": output.name},
        )
    return findings
