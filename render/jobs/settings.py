"""What the jobs of one batch share: size, paper, quality, colors and the file's format."""

from dataclasses import dataclass

from render.errors import UsageError
from render.pictures.paper import Layout, by_long_side, lay_out, parse_paper


@dataclass(frozen=True)
class Settings:
    """What one batch shares.

    size_px: long side of the results, unless paper ("A2", "60x90cm") says how large; dpi, bleed_mm, fit: see
    `prints.lay_out`; format, bit_depth, profile (a name or path), intent: of the file; color: one of
    colour.MODES; photoreal: strength of `photoreal.keep_structure`, None for none; soft_proof: a profile
    (path) for a preview beside the print; weights, preprocessing: see `weights.load`; precision: of the
    features ("float32" or "bfloat16").
    """

    size_px: int = 1024
    paper: str | None = None
    dpi: float = 300.0
    bleed_mm: float = 0.0
    fit: str = "fit"
    quality: str = "standard"
    seed: int = 0
    color: str = "style"
    photoreal: float | None = None
    format: str = "png"
    bit_depth: int = 8
    profile: str = "srgb"
    intent: str = "relative"
    soft_proof: str | None = None
    weights: str = "caffe"
    preprocessing: str | None = None
    precision: str = "float32"

    def layout(self, photo_size: tuple[int, int]) -> Layout:
        """Where everything lies for a photograph (height, width). Raises UsageError for a paper that makes no
        sense."""
        if self.paper is None and self.bleed_mm:
            raise UsageError(
                f"--bleed {self.bleed_mm:g}mm: there is no paper to cut. Say which: --print A4, or leave "
                f"it out."
            )
        if self.paper is None and self.fit != "fit":
            raise UsageError(
                f"--fit {self.fit}: there is no paper to {self.fit}. Say which: --print A4, or leave it out."
            )
        if self.paper is None:
            return by_long_side(photo_size, self.size_px, dpi=self.dpi)
        return lay_out(
            photo_size, parse_paper(self.paper), dpi=self.dpi, bleed_mm=self.bleed_mm, fit=self.fit
        )

    @property
    def longest_px(self) -> int:
        """The long side of the largest picture, about."""
        return max(self.layout((1000, 1000)).picture)

    @property
    def changes_what_was_painted(self) -> bool:
        """Whether the file holds other colours than the optimiser painted, so that these are kept beside
        it."""
        return self.photoreal is not None or self.color in ("luminance", "histogram")


# Settings that are applied to the painted picture, and can be changed without painting again.
FINISHING = ("color", "photoreal", "format", "bit_depth", "profile", "intent", "soft_proof")
