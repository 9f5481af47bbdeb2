"""What a checkpoint of `render gan train` says of itself, beside its tensors: the header's schema."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from render.errors import UsageError, brief
from render.gan.architectures import ARCHITECTURES, Architecture

KIND: Literal["render-gan"] = "render-gan"
FORMAT: Literal[1] = 1

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Recipe:
    """What decides a training's result, beside its data and the number of epochs. shape: (C, H, W); the
    others as in Architecture."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    architecture: str
    shape: Shape
    loss: str
    learning_rate: float
    betas: tuple[float, float]
    batch: int
    critic_steps: int
    label_noise: float
    augment: str
    ema: float
    seed: int = 0

    @classmethod
    def of(cls, architecture: Architecture, size_px: int | None = None, **changes) -> "Recipe":
        """The architecture's own, but for `changes` that are not None. Raises UsageError."""
        names = ("loss", "learning_rate", "betas", "batch", "critic_steps", "label_noise", "augment", "ema")
        own = {name: getattr(architecture, name) for name in names}
        given = {name: value for name, value in changes.items() if value is not None}
        return cls(architecture.name, architecture.shape_for(size_px), **{**own, **given})


@dataclass(frozen=True)
class Epoch:
    """What became of one. discriminator, generator: mean losses; spread: of the fixed samples as a share of
    the data's; trouble: what is wrong, "" when nothing is."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    number: int
    discriminator: float
    generator: float
    spread: float
    seconds: float
    trouble: str = ""


class DataFacts(BaseModel):
    """What was learnt from."""

    name: str
    images: int = Field(ge=1)


class Origin(BaseModel):
    """Whether a file is a checkpoint at all, and of an architecture known here."""

    kind: Literal["render-gan"]
    format: Literal[1]
    architecture: str


class Facts(Origin):
    """The header, whole. Fields that a later version adds are left alone."""

    shape: Shape
    recipe: Recipe
    data: DataFacts
    history: tuple[Epoch, ...]
    updates: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _a_shape_it_can_have(self) -> "Facts":
        try:
            possible = ARCHITECTURES[self.architecture].shape_for(self.shape[1])
        except UsageError:
            possible = None
        if self.shape != possible:
            raise ValueError(f"{self.architecture} makes no pictures of the shape {brief(self.shape)}")
        return self


def problem(error) -> str:
    """The first thing that a ValidationError names, with where it is."""
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    return brief(f"{place}: {first['msg']}" if place else first["msg"])
