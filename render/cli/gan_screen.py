"""What a person sees of a training: a bar with time left, a line, a grid and a plot an epoch; or JSON
lines."""

import json
import time
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from render.cli.screen import LOG_EVERY_S, duration
from render.gan import sheets
from render.gan.training import Epoch, Step, Training
from render.wording import plain


class TrainingScreen(AbstractContextManager):
    """Draws Steps and Epochs, and writes `grids/epoch-0001.png`, ... and `losses.png` under `output`."""

    def __init__(self, training: Training, epochs: int, output: Path, *, as_json: bool = False):
        self.training, self.epochs, self.output, self.as_json = training, epochs, output, as_json
        self.console = Console(stderr=True, highlight=False, emoji=False)
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[now]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("", total=max(1, epochs * training.steps), epoch="", now="")
        self.before = training.epochs_done
        self.began_s = self.told_s = time.monotonic()

    def __enter__(self):
        t = self.training
        going_on = f", going on after epoch {self.before}" if self.before else ""
        self._say(
            f"{t.recipe.architecture}, {t.recipe.loss}, {len(t.data)} images of "
            f"{'x'.join(map(str, t.recipe.shape))} from "
            f"{t.data.name}; {t.steps} steps of {t.recipe.batch} an epoch{going_on}"
        )
        self.bar.start()
        return self

    def __exit__(self, *exc):
        self.bar.stop()

    def __call__(self, event: Step | Epoch) -> None:
        if isinstance(event, Step):
            self._step(event)
        else:
            self._epoch(event)

    def _step(self, step: Step) -> None:
        done = (step.epoch - 1) * step.steps + step.step
        fresh = done - self.before * step.steps
        left = (time.monotonic() - self.began_s) / fresh * (self.epochs * step.steps - done)
        now = f"{duration(left)} left, losses {step.discriminator:.3f} {step.generator:.3f}"
        self.bar.update(self.task, completed=done, epoch=f"{step.epoch}/{step.epochs}", now=now)
        if self.bar.disable and time.monotonic() - self.told_s > LOG_EVERY_S:
            self.told_s = time.monotonic()
            self._say(f"epoch {step.epoch}/{step.epochs}, step {step.step}/{step.steps}, {now}")

    def _epoch(self, epoch: Epoch) -> None:
        samples = self.training.samples()
        sheet = sheets.grid((samples.permute(0, 2, 3, 1).numpy() * 255).round().astype("uint8"))
        sheets.write_png(self.output / "grids" / f"epoch-{epoch.number:04d}.png", sheet)
        sheets.write_losses(self.output / "losses.png", self.training.history)
        if self.as_json:
            print(json.dumps({"event": "epoch", **asdict(epoch)}), flush=True)
        self._say(
            f"epoch {epoch.number}/{self.epochs}  {duration(epoch.seconds)}, discriminator "
            f"{epoch.discriminator:.3f}, generator "
            f"{epoch.generator:.3f}, spread {100 * epoch.spread:.0f} %"
        )
        if epoch.trouble:
            self._say(f"  {epoch.trouble}", style="red")

    def _say(self, text: str, *, style: str | None = None) -> None:
        self.console.print(plain(text), soft_wrap=True, markup=False, style=style)
