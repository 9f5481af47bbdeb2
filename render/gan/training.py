"""Trains a generator against a discriminator, epoch by epoch; each epoch ends with a checkpoint.

Everything random in an epoch is drawn from the seed and the epoch's number, so a run that was interrupted
ends with exactly the weights of one that was not (on the same machine, with as many threads)."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

import render
from render.errors import DivergedError, UsageError, WeightsError, brief
from render.gan import files
from render.gan.architectures import ARCHITECTURES
from render.gan.augment import augmented
from render.gan.data import Data
from render.gan.facts import Epoch, Recipe
from render.gan.losses import LOSSES, gradient_penalty
from render.network.device import Device

FEWEST_STEPS = 100  # of an epoch: a small data set is shown several times
GRID = 64  # samples of fixed latents that are drawn after each epoch
# Measured on good and on collapsed runs (BENCHMARKS.md).
NOTHING_TO_LEARN = 0.02  # a discriminator's mean loss in an epoch, above that of a perfect one
WARM_UP_STEPS = 300  # of the generator: before these its samples are alike, because it has learned nothing
ALL_ALIKE = 0.1  # spread of the fixed samples below which they are all alike, as a share of the data's
PATIENCE = 3  # bad epochs in a row after which the training ends


@dataclass(frozen=True)
class Step:
    """Progress within an epoch."""

    epoch: int
    epochs: int
    step: int
    steps: int
    discriminator: float
    generator: float


class Training:
    """Networks, optimisers and history of a training."""

    def __init__(self, recipe: Recipe, data: Data, device: Device, path: Path):
        """path: of the checkpoint; when it exists, the training continues from it. Raises UsageError when it
        is of another training."""
        self.recipe, self.data, self.path = recipe, data, path
        self.at = torch.device(device.name)
        self.mixed = partial(
            torch.autocast, device.name, torch.bfloat16, enabled=device.precision == "bfloat16"
        )
        self.architecture, self.loss = ARCHITECTURES[recipe.architecture], LOSSES[recipe.loss]
        torch.manual_seed(recipe.seed)
        form = torch.channels_last if self.architecture.mixed else torch.contiguous_format
        self.generator = self.architecture.generator(recipe.shape).to(device=self.at)
        self.discriminator = self.architecture.discriminator(recipe.shape).to(device=self.at)
        for network in (self.generator, self.discriminator):
            # torch's annotations lack this one
            network.to(memory_format=form)  # pyright: ignore[reportCallIssue]
        if self.loss.penalised and any(
            isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)) for m in self.discriminator.modules()
        ):
            raise UsageError(
                f"--loss {recipe.loss}: its gradient penalty is on each sample's own gradient, and "
                f"{recipe.architecture}'s "
                "discriminator mixes those of a batch (batch normalisation). Use another loss or "
                "architecture."
            )
        self.average = self.architecture.generator(recipe.shape).to(self.at).eval()
        self.average.load_state_dict(self.generator.state_dict())
        self.optimisers = {
            name: torch.optim.Adam(network.parameters(), recipe.learning_rate, recipe.betas)
            for name, network in (("generator", self.generator), ("discriminator", self.discriminator))
        }
        self.history: list[Epoch] = []
        self.updates = 0  # steps that the average has made
        self.fixed = self.draw(GRID, torch.Generator().manual_seed(recipe.seed))
        if path.exists():
            self._restore()

    @property
    def epochs_done(self) -> int:
        return len(self.history)

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return max(FEWEST_STEPS, len(self.data) // self.recipe.batch)

    def draw(self, count: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """(count, latent): drawn on the CPU, so that every device gets the same latents."""
        size = (count, self.architecture.latent)
        if self.architecture.distribution == "uniform":
            return (2 * torch.rand(size, generator=generator) - 1).to(self.at)
        return torch.randn(size, generator=generator).to(self.at)

    def run(self, epochs: int, report: Callable[[Step | Epoch], None]) -> None:
        """Train until so many epochs are done in all. Raises DivergedError when the training has collapsed or
        its losses have become NaN; the last good checkpoint is kept."""
        while self.epochs_done < epochs:
            epoch = self._epoch(epochs, report)
            if not all(map(math.isfinite, (epoch.discriminator, epoch.generator, epoch.spread))):
                raise DivergedError(
                    f"epoch {epoch.number}: the losses are no longer numbers. The checkpoint of the "
                    f"epoch before is "
                    f"kept. Use a smaller --learning-rate than {self.recipe.learning_rate:g}, or another "
                    f"--loss."
                )
            epoch = replace(epoch, trouble=self._trouble(epoch))
            self.history.append(epoch)
            self.save()
            report(epoch)
            if len(self.history) >= PATIENCE and all(e.trouble for e in self.history[-PATIENCE:]):
                raise DivergedError(
                    f"collapsed: {epoch.trouble}, for {PATIENCE} epochs. Use another --loss or --seed, a "
                    f"smaller "
                    "--learning-rate, or more pictures."
                )

    def samples(self) -> torch.Tensor:
        """(GRID, C, H, W) of the averaged generator, at the fixed latents, in [0, 1]."""
        with torch.no_grad():
            images = self.average(self.fixed).cpu()
        return ((images + 1) / 2 if self.architecture.signed else images).clamp(0, 1)

    # ---- an epoch ----

    def _epoch(self, epochs: int, report) -> Epoch:
        began_s, number = time.monotonic(), self.epochs_done + 1
        torch.manual_seed((self.recipe.seed << 20) + number)
        losses_d, losses_g = [], []
        for step, real in enumerate(self._batches(), start=1):
            losses_d.append(self._discriminator_step(real))
            if step % self.recipe.critic_steps == 0:
                losses_g.append(self._generator_step(len(real)))
            report(
                Step(number, epochs, step, self.steps, losses_d[-1], losses_g[-1] if losses_g else math.nan)
            )
        return Epoch(number, _mean(losses_d), _mean(losses_g), self._spread(), time.monotonic() - began_s)

    def _batches(self) -> Iterator[torch.Tensor]:
        count, wanted = len(self.data), self.steps * self.recipe.batch
        order = torch.cat([torch.randperm(count) for _ in range(-(-wanted // count))])[:wanted]
        for places in order.split(self.recipe.batch):
            yield self.data.batch(places, signed=self.architecture.signed).to(self.at)

    def _discriminator_step(self, real: torch.Tensor) -> float:
        with torch.no_grad():
            fake = self._generated(len(real))
        shown_real, shown_fake = (augmented(x, self.recipe.augment) for x in (real, fake))
        with self.mixed():
            judged = self.discriminator(shown_real).float(), self.discriminator(shown_fake).float()
            reconstruction_loss = getattr(self.discriminator, "reconstruction", None)
            beside = 0.0 if reconstruction_loss is None else reconstruction_loss(shown_real)
        loss = self.loss.discriminator(*judged, self.recipe.label_noise)
        reported = loss.item()  # without what is added to it, to be compared with Loss.perfect
        if self.loss.penalised:
            beside = gradient_penalty(self.discriminator, shown_real, shown_fake)
        loss = loss + beside
        self._descend("discriminator", loss)
        return reported

    def _generator_step(self, count: int) -> float:
        self.discriminator.requires_grad_(False)
        shown = augmented(self._generated(count), self.recipe.augment)
        with self.mixed():
            judged = self.discriminator(shown).float()
        loss = self.loss.generator(judged)
        self._descend("generator", loss)
        self.discriminator.requires_grad_(True)
        self._follow()
        return loss.item()

    def _generated(self, count: int) -> torch.Tensor:
        with self.mixed():
            return self.generator(self.draw(count)).float()

    def _descend(self, name: str, loss: torch.Tensor) -> None:
        self.optimisers[name].zero_grad(set_to_none=True)
        loss.backward()
        self.optimisers[name].step()

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average a little towards the generator, faster at first; counters (of batch normalisation)
        are copied."""
        self.updates += 1
        decay = min(self.recipe.ema, (1 + self.updates) / (10 + self.updates))
        for mine, theirs in zip(self.average.state_dict().values(), self.generator.state_dict().values()):
            if mine.is_floating_point():
                mine.lerp_(theirs, 1 - decay)
            else:
                mine.copy_(theirs)

    # ---- collapse ----

    def _spread(self) -> float:
        """Standard deviation of a pixel over the fixed samples, as a share of that over images of the
        data."""
        some = self.data.images[:: max(1, len(self.data) // 512)].float() / 255
        return (self.samples().std(0).mean() / some.std(0).mean().clamp(min=1e-6)).item()

    def _trouble(self, epoch: Epoch) -> str:
        if epoch.spread < ALL_ALIKE and self.updates > WARM_UP_STEPS:
            return f"the samples are all alike ({100 * epoch.spread:.0f} % of the data's spread)"
        if self.loss.perfect is not None and epoch.discriminator - self.loss.perfect < NOTHING_TO_LEARN:
            return (
                f"the discriminator's loss is at {epoch.discriminator:.3f}: the generator has nothing "
                f"to learn from"
            )
        return ""

    # ---- the checkpoint ----

    def save(self) -> None:
        tensors = {
            f"{name}.{key}": t
            for name, network in self._networks().items()
            for key, t in network.state_dict().items()
        }
        for name, optimiser in self.optimisers.items():
            for i, state in optimiser.state_dict()["state"].items():
                tensors |= {f"adam.{name}.{i}.{key}": torch.as_tensor(t) for key, t in state.items()}
        files.save(
            self.path,
            tensors,
            {
                "architecture": self.recipe.architecture,
                "shape": self.recipe.shape,
                "recipe": asdict(self.recipe),
                "data": {"name": self.data.name, "images": len(self.data)},
                "history": [asdict(epoch) for epoch in self.history],
                "updates": self.updates,
                "versions": {"render": render.__version__, "torch": torch.__version__},
            },
        )

    def _networks(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "discriminator": self.discriminator, "ema": self.average}

    def _restore(self) -> None:
        tensors, facts = files.read(self.path)
        mine = {**asdict(self.recipe), "images": len(self.data)}
        for key, value in {**asdict(facts.recipe), "images": facts.data.images}.items():
            if mine[key] != value:
                raise UsageError(
                    f"{self.path}: of a training with {key} {brief(value)}, not "
                    f"{brief(mine[key])}. Continue with the "
                    "same, choose another --output, or begin anew with --fresh."
                )
        for name, network in self._networks().items():
            owner = f"{self.recipe.architecture}'s {name}"
            files.restore(self.path, network, _under(tensors, f"{name}."), owner)
        for name, optimiser in self.optimisers.items():
            state = _adam_state(_under(tensors, f"adam.{name}."), optimiser.param_groups[0]["params"])
            if state is None:
                raise WeightsError(
                    f"{self.path}: the {name}'s optimiser is not that of "
                    f"{self.recipe.architecture}. Copy it again, "
                    "or begin anew with --fresh."
                )
            optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
        self.history, self.updates = list(facts.history), facts.updates


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}


def _adam_state(tensors: dict[str, torch.Tensor], parameters: list[nn.Parameter]) -> dict[int, dict] | None:
    """Adam's state by the parameter's index, from tensors named "0.exp_avg", ...; None when they do not fit
    these parameters."""
    state = {}
    for i, parameter in enumerate(parameters):
        shapes = {"step": torch.Size(()), "exp_avg": parameter.shape, "exp_avg_sq": parameter.shape}
        own = {key: tensors.pop(f"{i}.{key}", None) for key in shapes}
        if all(t is None for t in own.values()):  # one that has had no gradient yet
            continue
        if any(t is None or t.shape != shapes[key] or t.dtype != torch.float32 for key, t in own.items()):
            return None
        state[i] = own
    return None if tensors else state


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan
