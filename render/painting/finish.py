"""From the painting to the file: the photograph's structure and colors, checks, paper, color profile."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from render.jobs.job import proof_path
from render.jobs.settings import Settings
from render.pictures import checks, color, export, icc, images, photoreal
from render.pictures.images import Photo
from render.pictures.paper import Layout


@dataclass(frozen=True)
class Finish:
    """How paintings are finished. Profiles are loaded before any work, so that a bad one is refused in
    time."""

    settings: Settings
    profile: icc.Profile
    """Of the print."""
    soft_proof: icc.Profile | None
    """Of the paper that a preview beside the print shows; None: no preview."""

    @classmethod
    def of(cls, settings: Settings) -> "Finish":
        """Raises UsageError for a profile or a file that cannot be made."""
        export.check_output(settings.format, bit_depth=settings.bit_depth, intent=settings.intent)
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
    """Write the print; returns what the checks found. Raises PictureError when the file cannot be written.

    Args:
        pixels: the painting, (H, W, 3) float32 sRGB in [0, 1], of layout.picture's size.
        layout: its crop is in px of `photo` as it was read.
        provenance: how the print was made, to be written into it.
        borders: where tiles met, (rows, columns).
    """
    settings = finishing.settings
    content = images.resize(images.crop(photo.pixels, layout), layout.picture)
    if settings.photoreal is not None:
        pixels = photoreal.keep_structure(pixels, content, strength=settings.photoreal)
    if settings.color in color.AFTER:
        pixels = color.recolour(settings.color, pixels, content)
    findings = tuple(
        f"{found.kind}: {found.message}" for found in checks.examine(pixels, content, borders=borders)
    )
    del content
    alpha = None
    if photo.alpha is not None:
        alpha = images.place(images.resize(images.crop(photo.alpha, layout), layout.picture), layout)
    sheet = images.place(pixels, layout)
    export.write(
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
        seen = icc.soft_proof(export.dithered(sheet), finishing.soft_proof, settings.intent)
        export.write(
            proof_path(output),
            seen.astype(np.float32) / 255,
            dpi=layout.dpi,
            provenance={**provenance, "proof_of": output.name},
        )
    return findings
