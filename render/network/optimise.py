"""Minimizes the objective at one scale: L-BFGS, Adam and gradient descent."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from render.errors import DivergedError
from render.network.linalg import band_rows
from render.network.objective import Evaluation

Carry = Mapping[str, torch.Tensor]  # what an optimiser passes on to the next scale

ALREADY_THERE = 1e-9  # a first loss as small as this one need not fall (relative losses start near 1)
# Mean change of a pixel in the first step: about 2 gray levels (measured; torch's L-BFGS moves far less).
FIRST_MOVE = 2 / 255


@dataclass(frozen=True)
class Step:
    """Reported after every evaluation."""

    iteration: int  # from 1 to iterations
    iterations: int
    evaluation: Evaluation


@dataclass
class State:
    """A scale between two evaluations. A checkpoint stores it, so that a resumed job gives the same bits."""

    image: torch.Tensor  # the next point to evaluate, (1, 3, H, W) in [0, 1]
    optimiser: "Lbfgs | Adam | Sgd"
    iteration: int = 0  # evaluations done
    first_loss: float = math.nan
    lowest: float = math.inf  # loss so far
    highest: float = -math.inf


def minimise(
    objective: Callable[[torch.Tensor], Evaluation],
    state: State,
    *,
    iterations: int,
    report: Callable[[Step], None] = lambda step: None,
    between: Callable[[State], None] = lambda state: None,
) -> torch.Tensor:
    """The optimiser's result after `iterations` evaluations of the objective: an image (1, 3, H, W) in [0,
    1].

    Args:
        state: where to begin. It is changed in place.
        report: called after every evaluation.
        between: called before every evaluation but the first, when `state` is consistent and can be stored.

    Raises DivergedError if the loss becomes NaN or infinite, or never changes.
    """
    while True:
        evaluation = objective(state.image)
        state.iteration += 1
        i = state.iteration
        if not math.isfinite(evaluation.loss) or not torch.isfinite(evaluation.gradient.sum()):
            raise DivergedError(
                f"the loss became {evaluation.loss} at iteration {i} of {iterations}. "
                "Use --precision float32, or a smaller style_weight."
            )
        if i == 1:
            state.first_loss = evaluation.loss
        state.lowest, state.highest = min(state.lowest, evaluation.loss), max(state.highest, evaluation.loss)
        report(Step(i, iterations, evaluation))
        if i >= iterations:
            break
        state.image = state.optimiser.step(state.image, evaluation)
        del evaluation
        between(state)
    if state.optimiser.steps_after_last_evaluation:
        state.image = state.optimiser.step(state.image, evaluation)
    # If the start is a minimum already, the loss rises and falls back. If it is always the same, nothing
    # moves.
    if (
        iterations >= 5
        and state.highest - state.lowest <= 1e-7 * state.first_loss
        and state.first_loss > ALREADY_THERE
    ):
        raise DivergedError(
            f"the loss stalled: {state.first_loss:.6g} at each of {iterations} iterations. "
            "Use --precision float32, or another optimiser (--set optimiser=adam)."
        )
    return state.optimiser.result(state.image, evaluation)


class Lbfgs:
    """Limited-memory BFGS (Nocedal 1980; Liu & Nocedal 1989) in [0, 1], one evaluation per iteration.

    Departures from the papers. Pixels are clamped to [0, 1] after each step, and (s, y) pairs are differences
    of clamped points, so that no value is optimised that cannot be printed. A step that raises the loss is
    taken back and tried at a quarter of its length, instead of a line search. The first step moves by
    FIRST_MOVE. Pairs are stored in bfloat16, in half the memory: they only shape the step, and the curvature
    is computed from the rounded values, so it is consistent with them.

    Memory between evaluations: the next point, this point and its gradient, and 2 x history images in
    bfloat16. `step` works in place, in the tensors that it is given.
    """

    steps_after_last_evaluation = False  # the result must be a point whose loss is known

    carried: Carry = {}

    def __init__(self, history: int):
        self.history = history
        self.pairs: list[tuple[torch.Tensor, torch.Tensor, float]] = []  # (s, y, s.y), oldest first
        self.best: tuple[torch.Tensor, torch.Tensor] | None = None  # the best point so far, and its gradient
        self.loss = math.inf  # at that point
        self.length = 1.0  # of the step from there to the next point, relative to the first one tried

    def step(self, image: torch.Tensor, evaluation: Evaluation) -> torch.Tensor:
        """The next point to evaluate."""
        if self.best is not None:
            point, gradient = self.best
            if evaluation.loss > self.loss:
                return self._shorter(image, point, gradient)
            self._remember(
                torch.sub(image, point, out=point), torch.sub(evaluation.gradient, gradient, out=gradient)
            )
            del point, gradient  # two images that `_next` needs the memory of
        self.best, self.loss = (image, evaluation.gradient), evaluation.loss
        self.length = 1.0
        return self._next(image, evaluation.gradient)

    def result(self, image: torch.Tensor, evaluation: Evaluation) -> torch.Tensor:
        return self.best[0] if self.best is not None and self.loss < evaluation.loss else image

    def _next(self, point: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        free = _free(gradient, point)
        direction = self._direction(free.clone() if self.pairs else free)
        if self.pairs and _dot(direction, free) >= 0:  # not downhill: the pairs do not fit the objective here
            self.pairs.clear()
            direction = self._direction(free.clone())
        return direction.mul_(self.length).add_(point).clamp_(0, 1)

    def _shorter(self, image: torch.Tensor, point: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        self.length *= 0.25
        if self.length >= 1e-3:
            return image.sub_(point).mul_(0.25).add_(point)
        self.pairs.clear()  # the direction is bad: start again from the gradient
        self.length = 0.25
        return self._next(point, gradient)

    def _remember(self, s: torch.Tensor, y: torch.Tensor) -> None:
        s, y = s.bfloat16(), y.bfloat16()
        curvature = _dot(s, y)
        if curvature > 1e-10 * _dot(y, y):
            self.pairs.append((s, y, curvature))
            del self.pairs[: -self.history]

    def _direction(self, q: torch.Tensor) -> torch.Tensor:
        """-H q by the two-loop recursion (Nocedal 1980), in q's memory.

        Without pairs: -q, scaled so that pixels move by FIRST_MOVE on average.
        """
        if not self.pairs:
            return q.mul_(-FIRST_MOVE / _mean_size(q))
        factors = []
        for s, y, curvature in reversed(self.pairs):
            a = _dot(s, q) / curvature
            _add(q, y, -a)
            factors.append(a)
        _, y, curvature = self.pairs[-1]
        q.mul_(curvature / _dot(y, y))
        for (s, y, curvature), a in zip(self.pairs, reversed(factors)):
            _add(q, s, a - _dot(y, q) / curvature)
        return q.neg_()

    def tensors(self) -> dict[str, torch.Tensor]:
        """The state to store, for `restore`."""
        if self.best is None:
            return {}
        facts = torch.tensor(
            [self.loss, self.length, *(curvature for _, _, curvature in self.pairs)], dtype=torch.float64
        )
        pairs = {
            f"{name}{i}": t for i, (s, y, _) in enumerate(self.pairs) for name, t in (("s", s), ("y", y))
        }
        return {"point": self.best[0], "gradient": self.best[1], "facts": facts, **pairs}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        if tensors:
            self.best = tensors["point"], tensors["gradient"]
            self.loss, self.length, *curvatures = tensors["facts"].tolist()
            self.pairs = [(tensors[f"s{i}"], tensors[f"y{i}"], c) for i, c in enumerate(curvatures)]


class Adam:
    """Adam (Kingma & Ba 2015) in [0, 1]. The result is an exponential average of the iterates, and the
    moments are carried over to the next scale (both after Crowson, style-transfer-pytorch).

    `step` works in place, in the tensors that it is given.
    """

    steps_after_last_evaluation = True

    def __init__(
        self,
        learning_rate: float = 0.02,
        betas=(0.9, 0.99),
        average_decay: float = 0.99,
        carried: Carry | None = None,
    ):
        self.learning_rate, self.betas, self.average_decay = learning_rate, betas, average_decay
        self.carried = dict(carried or {})
        self.average: torch.Tensor | None = None
        self.averaged = 0

    def step(self, image: torch.Tensor, evaluation: Evaluation) -> torch.Tensor:
        b1, b2 = self.betas
        gradient = evaluation.gradient
        m, v = self._moments(gradient)
        t = float(self.carried.get("steps", torch.zeros(1))) + 1
        m.mul_(b1).add_(gradient, alpha=1 - b1)
        v.mul_(b2).addcmul_(gradient, gradient, value=1 - b2)
        self.carried = {"m": m, "v": v, "steps": torch.tensor([t])}
        scale = torch.div(v, 1 - b2**t, out=gradient).sqrt_().add_(1e-12)
        image.addcdiv_(m, scale, value=-self.learning_rate / (1 - b1**t)).clamp_(0, 1)
        if self.average is None:
            self.average = image.clone()
        else:
            self.average.lerp_(image, self._rate())
        self.averaged += 1
        return image

    def result(self, image: torch.Tensor, evaluation: Evaluation) -> torch.Tensor:
        return image if self.average is None else self.average

    def _rate(self) -> float:
        """Weight of the newest iterate: that of a plain mean at first, so that the start does not
        dominate."""
        return max(1 - self.average_decay, 1 / (self.averaged + 1))

    def _moments(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """First and second moments, (1, 3, H, W), at the size of `like`: resampled if they come from another
        scale.

        The loss is a mean over pixels, so the gradient of a pixel shrinks as their number grows.
        """
        if not self.carried:
            return torch.zeros_like(like), torch.zeros_like(like)
        m, v = self.carried["m"], self.carried["v"]
        if m.shape == like.shape:
            return m, v
        shrink = m[0, 0].numel() / like[0, 0].numel()
        m = F.interpolate(m, like.shape[-2:], mode="bicubic", align_corners=False).mul_(shrink)
        v = F.interpolate(v, like.shape[-2:], mode="bilinear", align_corners=False).mul_(shrink**2)
        return m, v

    def tensors(self) -> dict[str, torch.Tensor]:
        average = {} if self.average is None else {"average": self.average}
        return {**self.carried, **average, "averaged": torch.tensor([self.averaged])}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.carried = {name: tensors[name] for name in ("m", "v", "steps") if name in tensors}
        self.average, self.averaged = tensors.get("average"), int(tensors["averaged"])


class Sgd:
    """Gradient descent whose steps shrink exponentially: pixels move by FIRST_MOVE on average in the first
    step, and by a tenth of it after 100 steps.

    The step is set by its mean move and not by a factor on the gradient, so that one setting suits every loss
    and size.
    """

    steps_after_last_evaluation = True
    carried: Carry = {}

    def __init__(self, move: float = FIRST_MOVE, decay: float = 0.1 ** (1 / 100)):
        self.move, self.decay = move, decay

    def step(self, image: torch.Tensor, evaluation: Evaluation) -> torch.Tensor:
        image.add_(evaluation.gradient, alpha=-self.move / _mean_size(evaluation.gradient)).clamp_(0, 1)
        self.move *= self.decay
        return image

    def result(self, image: torch.Tensor, evaluation: Evaluation) -> torch.Tensor:
        return image

    def tensors(self) -> dict[str, torch.Tensor]:
        return {"move": torch.tensor([self.move], dtype=torch.float64)}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.move = float(tensors["move"])


def optimiser(name: str, *, history: int, carried: Carry | None = None) -> Lbfgs | Adam | Sgd:
    """The optimiser called "lbfgs", "adam" or "sgd". history: pairs of L-BFGS; carried: by Adam, from the
    last scale."""
    if name == "lbfgs":
        return Lbfgs(history)
    return Sgd() if name == "sgd" else Adam(carried=carried)


def _free(gradient: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """The gradient without the components that would push a pixel out of [0, 1]."""
    free = torch.empty_like(gradient)
    for out, g, x in _bands(free, gradient, image):
        # The lower bound is zero where x = 1 and so low elsewhere that it is none; the upper bound is zero
        # where x = 0. This takes a third of the time of comparisons and masks.
        torch.clamp(g, (x - 1).mul_(_NO_BOUND), x * _NO_BOUND, out=out)
    return free


_NO_BOUND = 3e38  # near the largest float32: a pixel 1e-30 from its limit still has a bound of 3e8


def _dot(a: torch.Tensor, b: torch.Tensor) -> float:
    """Sum of products: along each row, then over the rows of a band, then over the bands.

    This order of addition is the same for every number of threads, since even the shortest band has three
    rows, one per channel (torch would divide a single one among the threads).
    """
    return float(sum(x.float().mul(y).sum(-1).sum(dtype=torch.float64) for x, y in _bands(a, b)))


def _add(a: torch.Tensor, b: torch.Tensor, factor: float) -> None:
    """a += factor x b, in place."""
    for x, y in _bands(a, b):
        x.add_(y, alpha=factor)


def _mean_size(gradient: torch.Tensor) -> float:
    """Mean absolute value; 1 for a gradient of zeros, by which callers divide."""
    total = float(sum(x.abs().sum(-1).sum(dtype=torch.float64) for (x,) in _bands(gradient)))
    return total / gradient.numel() or 1.0


def _bands(*images: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """The images in bands: (1, 3, rows, W) of each at a time."""
    rows = band_rows(images[0])
    return zip(*(image.split(rows, dim=-2) for image in images))
