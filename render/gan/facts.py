"""The header of a checkpoint of `render gan train`: everything but the tensors."""

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
    """What decides a training's result, besides its data and the number of epochs. Fields are as in
    Architecture, unless they say otherwise."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    architecture: str
    """A name of ARCHITECTURES."""
    shape: Shape
    """(C, H, W) of the images."""
    loss: str
    learning_rate: float
    betas: tuple[float, float]
    batch: int
    critic_steps: int
    label_noise: float
    augment: str
    ema: float
    seed: int = 0
    """Of everything that is drawn at random."""

    @classmethod
    def of(cls, architecture: Architecture, size_px: int | None = None, **changes) -> "Recipe":
        """The architecture's defaults, except for `changes` that are not None. Raises UsageError."""
        names = ("loss", "learning_rate", "betas", "batch", "critic_steps", "label_noise", "augment", "ema")
        defaults = {name: getattr(architecture, name) for name in names}
        given = {name: value for name, value in changes.items() if value is not None}
        return cls(architecture.name, architecture.shape_for(size_px), **{**defaults, **given})


@dataclass(frozen=True)
class Epoch:
    """The outcome of an epoch."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    number: int
    """From 1."""
    discriminator: float
    """Its mean loss."""
    generator: float
    """Its mean loss."""
    spread: float
    """Standard deviation of the fixed samples as a share of the data's."""
    seconds: float
    trouble: str = ""
    """What is wrong with the training; "" when nothing is."""


class DataFacts(BaseModel):
    """The training data."""

    name: str
    images: int = Field(ge=1)


class Origin(BaseModel):
    """Whether a file is a checkpoint at all, and of an architecture known here."""

    kind: Literal["render-gan"]
    format: Literal[1]
    architecture: str


class Facts(Origin):
    """The whole header. Fields that a later version adds are ignored."""

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
    """The first problem that a ValidationError names, with its place."""
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    return brief(f"{place}: {first['msg']}" if place else first["msg"])
