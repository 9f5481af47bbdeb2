"""From the painting to the file: the photograph's structure and colors, checks, paper, color profile."""

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
        print_file.check_output(settings.format, bit_depth=settings.bit_depth, intent=settings.intent)
        proof = None if settings.soft_proof is None else icc.load_profile(settings.soft_proof, proof=True)
        return cls(settings, icc.load_profile(settings.profile), proof)


@dataclass(frozen=True, eq=False)
class Finished:
    """A print that is ready to be written: float pixels, and all that its file says besides."""

    sheet: np.ndarray  # (H, W, 3) float32 sRGB in [0, 1], paper included
    alpha: np.ndarray | None  # (H, W) float32 in [0, 1]; None when the photograph is opaque
    dpi: float  # of the file's tag
    carried: Mapping[str, str]  # the photograph's EXIF that a print carries on
    provenance: Mapping  # how it was made, as JSON
    findings: tuple[str, ...]  # what the checks found

    def write(self, output: Path, finishing: Finish, *, quality: int = 95) -> None:
        """Whole or not at all, and the soft proof beside it. quality: of JPEG and WebP, 0 to 100. Raises
        PictureError when the file cannot be written."""
        print_file.write(
            output,
            self.sheet,
            alpha=self.alpha,
            dpi=self.dpi,
            provenance=self.provenance,
            quality=quality,
            bit_depth=finishing.settings.bit_depth,
            profile=finishing.profile,
            intent=finishing.settings.intent,
            carried=self.carried,
        )
        if finishing.soft_proof is not None:
            seen = icc.soft_proof(
                quantize.dithered(self.sheet), finishing.soft_proof, finishing.settings.intent
            )
            print_file.write(
                proof_path(output),
                seen.astype(np.float32) / 255,
                dpi=self.dpi,
                provenance={**self.provenance, "proof_of": output.name},
            )


def finished(
    pixels: np.ndarray,
    photo: Photo,
    layout: Layout,
    settings: Settings,
    *,
    provenance: Mapping,
    borders=((), ()),
) -> Finished:
    """Of a painted picture, the print.

    pixels: (H, W, 3) float32 sRGB in [0, 1], of layout.picture's size; borders: where tiles met, (rows,
    columns).
    """
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
    return Finished(sheet, alpha, layout.dpi, photo.carried, provenance, findings)


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
    print_ = finished(pixels, photo, layout, finishing.settings, provenance=provenance, borders=borders)
    print_.write(output, finishing)
    return print_.findings
