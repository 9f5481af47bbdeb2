"""One scale: steps from an image towards a lower objective."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from render.errors import DivergedError
from render.objective import Evaluation

Carry = Mapping[str, torch.Tensor]  # what an optimiser hands to the next scale

ALREADY_THERE = 1e-9  # a loss (relative: 1 is far) that need not fall
LONGEST_HISTORY, SHORTEST_HISTORY = 20, 4  # (s, y) pairs of L-BFGS
FIRST_MOVE = 2 / 255  # mean move of the first step: about 2 grey levels (measured; torch's default is far smaller)


@dataclass(frozen=True)
class Step:
    """Reported after every evaluation. iteration: from 1 to iterations."""

    iteration: int
    iterations: int
    evaluation: Evaluation


def minimise(objective: Callable[[torch.Tensor], Evaluation], image: torch.Tensor, optimiser, *, iterations: int,
             report: Callable[[Step], None] = lambda step: None) -> torch.Tensor:
    """The optimiser's result after `iterations` evaluations of the objective, in [0, 1].

    image: (1, 3, H, W) in [0, 1]. Raises DivergedError when the loss is not a number, or never changed.
    """
    seen = []
    for i in range(1, iterations + 1):
        evaluation = objective(image)
        if not math.isfinite(evaluation.loss) or not torch.isfinite(evaluation.gradient).all():
            raise DivergedError(
                f"the loss became {evaluation.loss} at iteration {i} of {iterations}. "
                "Use --precision float32, or a smaller style_weight."
            )
        seen.append(evaluation.loss)
        report(Step(i, iterations, evaluation))
        if i < iterations or optimiser.steps_after_last_evaluation:
            image = optimiser.step(image, evaluation)
    # A start that is a minimum already gives losses that rise and fall back; the same one again and again says that
    # nothing moves.
    if iterations >= 5 and max(seen) - min(seen) <= 1e-7 * seen[0] and seen[0] > ALREADY_THERE:
        raise DivergedError(
            f"the loss stalled: {seen[0]:.6g} at each of {iterations} iterations. "
            "Use --precision float32, or another optimiser (--set optimiser=adam)."
        )
    return optimiser.result(image, evaluation)


class Lbfgs:
    """Limited-memory BFGS (Nocedal 1980; Liu & Nocedal 1989) in [0, 1], one evaluation an iteration.

    Departures: pixels are clamped to [0, 1] after each step, and (s, y) pairs are taken from the clamped points, so
    that nothing is optimised that cannot be printed; a step that raised the loss is taken back and tried shorter
    instead of searched along a line; the first step moves by FIRST_MOVE.
    """

    steps_after_last_evaluation = False  # the result must be a point whose loss is known

    carried: Carry = {}

    def __init__(self, history: int):
        self.history = history
        self.pairs: list[tuple[torch.Tensor, torch.Tensor, float]] = []  # (s, y, s.y), oldest first
        self.best: tuple[torch.Tensor, Evaluation] | None = None
        self.direction: torch.Tensor | None = None
        self.length = 1.0

    def step(self, image: torch.Tensor, evaluation: Evaluation) -> torch.Tensor:
        if self.best is not None:
            point, before = self.best
            if evaluation.loss > before.loss:
                return self._shorter()
            self._remember(image - point, evaluation.gradient - before.gradient)
        self.best = (image, evaluation)
        gradient = _free(evaluation.gradient, image)
        self.direction = self._direction(gradient)
        self.length = 1.0
        if _dot(self.direction, gradient) >= 0:  # not downhill: the curvature is not to be trusted
            self.pairs.clear()
            self.direction = self._direction(gradient)
        return self._go()

    def result(self, image: torch.Tensor, evaluation: Evaluation) -> torch.Tensor:
        if self.best is not None and self.best[1].loss < evaluation.loss:
            return self.best[0]
        return image

    def _go(self) -> torch.Tensor:
        return (self.best[0] + self.length * self.direction).clamp(0, 1)

    def _shorter(self) -> torch.Tensor:
        self.length *= 0.25
        if self.length < 1e-3:  # the direction is bad: start again from the gradient
            self.pairs.clear()
            self.direction = self._direction(_free(self.best[1].gradient, self.best[0]))
            self.length = 0.25
        return self._go()

    def _remember(self, s: torch.Tensor, y: torch.Tensor) -> None:
        curvature = _dot(s, y)
        if curvature > 1e-10 * _dot(y, y):
            self.pairs.append((s, y, curvature))
            del self.pairs[: -self.history]

    def _direction(self, gradient: torch.Tensor) -> torch.Tensor:
        """-H g by the two-loop recursion; without pairs, a move of FIRST_MOVE on average."""
        if not self.pairs:
            return -gradient * (FIRST_MOVE / _mean_size(gradient))
        q = gradient.clone()
        factors = []
        for s, y, curvature in reversed(self.pairs):
            a = _dot(s, q) / curvature
            q -= a * y
            factors.append(a)
        _, y, curvature = self.pairs[-1]
        q *= curvature / _dot(y, y)
        for (s, y, curvature), a in zip(self.pairs, reversed(factors)):
            q += (a - _dot(y, q) / curvature) * s
        return -q


class Adam:
    """Adam (Kingma & Ba 2015) in [0, 1] with an exponential average of its iterates as the result; the moments are
    carried to the next scale (Crowson, style-transfer-pytorch)."""

    steps_after_last_evaluation = True

    def __init__(self, learning_rate: float = 0.02, betas=(0.9, 0.99), average_decay: float = 0.99,
                 carried: Carry | None = None):
        self.learning_rate, self.betas, self.average_decay = learning_rate, betas, average_decay
        self.carried = dict(carried or {})
        self.average: torch.Tensor | None = None
        self.averaged = 0

    def step(self, image: torch.Tensor, evaluation: Evaluation) -> torch.Tensor:
        b1, b2 = self.betas
        gradient = evaluation.gradient
        m, v = self._moments(gradient)
        t = float(self.carried.get("steps", torch.zeros(1))) + 1
        m, v = b1 * m + (1 - b1) * gradient, b2 * v + (1 - b2) * gradient.square()
        self.carried = {"m": m, "v": v, "steps": torch.tensor([t])}
        image = (image - self.learning_rate * (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + 1e-12)).clamp(0, 1)
        self.average = image if self.average is None else self.average + self._rate() * (image - self.average)
        self.averaged += 1
        return image

    def result(self, image: torch.Tensor, evaluation: Evaluation) -> torch.Tensor:
        return image if self.average is None else self.average

    def _rate(self) -> float:
        """Weight of the newest iterate: a plain mean at first, so that no start shows through the average."""
        return max(1 - self.average_decay, 1 / (self.averaged + 1))

    def _moments(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """First and second moments at the size of `like`: resampled when they come from another scale.

        The loss is a mean over pixels, so the gradient of one pixel shrinks as their number grows.
        """
        if not self.carried:
            return torch.zeros_like(like), torch.zeros_like(like)
        m, v = self.carried["m"], self.carried["v"]
        if m.shape == like.shape:
            return m, v
        shrink = m[0, 0].numel() / like[0, 0].numel()
        m = F.interpolate(m, like.shape[-2:], mode="bicubic", align_corners=False) * shrink
        v = F.interpolate(v, like.shape[-2:], mode="bilinear", align_corners=False) * shrink**2
        return m, v


class Sgd:
    """Gradient descent whose steps shrink exponentially, from FIRST_MOVE on average to a tenth in 100 steps. The mean
    move is set, not the factor before the gradient, so that one setting suits every loss and size."""

    steps_after_last_evaluation = True
    carried: Carry = {}

    def __init__(self, move: float = FIRST_MOVE, decay: float = 0.1 ** (1 / 100)):
        self.move, self.decay = move, decay

    def step(self, image: torch.Tensor, evaluation: Evaluation) -> torch.Tensor:
        image = (image - evaluation.gradient * (self.move / _mean_size(evaluation.gradient))).clamp(0, 1)
        self.move *= self.decay
        return image

    def result(self, image: torch.Tensor, evaluation: Evaluation) -> torch.Tensor:
        return image


def optimiser(name: str, *, pixels: int, memory_bytes: int, carried: Carry | None = None):
    """The optimiser called `name` ("lbfgs", "adam" or "sgd") for an image of `pixels` within `memory_bytes`."""
    history = history_of(name, pixels=pixels, memory_bytes=memory_bytes)
    if history:
        return Lbfgs(history)
    return Sgd() if name == "sgd" else Adam(carried=carried)


def history_of(name: str, *, pixels: int, memory_bytes: int) -> int:
    """Pairs of images that L-BFGS can keep; 0 for the other optimisers, and where so few fit that Adam serves better."""
    if name != "lbfgs":
        return 0
    history = min(LONGEST_HISTORY, memory_bytes // (2 * 3 * 4 * pixels))
    return history if history >= SHORTEST_HISTORY else 0


def _free(gradient: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """The gradient without the components that push a pixel out of [0, 1]."""
    stuck = ((image <= 0) & (gradient > 0)) | ((image >= 1) & (gradient < 0))
    return gradient.masked_fill(stuck, 0)


def _dot(a: torch.Tensor, b: torch.Tensor) -> float:
    """Sum of products, row by row and then the rows: an order of addition that no thread count changes."""
    return float((a * b).flatten(0, -2).sum(1).sum(dtype=torch.float64))


def _mean_size(gradient: torch.Tensor) -> float:
    size = float(gradient.abs().flatten(0, -2).sum(1).sum(dtype=torch.float64)) / gradient.numel()
    return size or 1.0  # a flat objective moves nothing
