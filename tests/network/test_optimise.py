"""Optimisers on functions whose minimum is known, and the failures they must not hide."""

import math

import pytest
import torch

from render.errors import DivergedError
from render.network import linalg, optimise
from render.network.objective import Evaluation
from render.network.optimise import Adam, Lbfgs, Sgd, State, optimiser

SHAPE = (1, 3, 8, 10)


def bowl(image):
    """A stretched bowl with its lowest point, 0, at 0.4: curvature from 1 to 100."""
    stretch = torch.logspace(0, 2, image.numel()).view(image.shape)
    off = image - 0.4
    return evaluation((stretch * off**2).sum().item(), 2 * stretch * off)


def evaluation(loss, gradient):
    return Evaluation(loss, gradient, loss, 0.0, 0.0)


def minimise(objective, image, o, **options):
    """The image is copied: optimisers work in the tensors that they are given."""
    return optimise.minimise(objective, State(image.clone(), o), **options)


def start(seed=0):
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "make, iterations, factor",
    [(lambda: Lbfgs(10), 60, 1e-4), (Adam, 300, 1e-2), (Sgd, 200, 0.05)],
    ids=["lbfgs", "adam", "sgd"],
)
def test_every_optimiser_finds_the_bottom_of_a_bowl(make, iterations, factor):
    result = minimise(bowl, start(), make(), iterations=iterations)
    assert bowl(result).loss < factor * bowl(start()).loss


def test_lbfgs_needs_far_fewer_evaluations_than_gradient_descent():
    lbfgs, sgd = (bowl(minimise(bowl, start(), o, iterations=40)).loss for o in (Lbfgs(10), Sgd()))
    assert lbfgs < sgd / 10


def test_lbfgs_direction_is_the_dense_bfgs_inverse_times_the_gradient():
    generator = torch.Generator().manual_seed(3)
    lbfgs = Lbfgs(10)
    n = 1 * 3 * 2 * 2
    a = torch.randn(n, n, generator=generator, dtype=torch.float64)
    hessian = a @ a.T + torch.eye(n, dtype=torch.float64)
    pairs = [torch.randn(n, generator=generator, dtype=torch.float64) for _ in range(4)]
    for s in pairs:
        lbfgs._remember(s.view(1, 3, 2, 2), (hessian @ s).view(1, 3, 2, 2))
    g = torch.randn(n, generator=generator, dtype=torch.float64)
    # Nocedal & Wright 2006, eq. 6.17, from H0 = (s.y / y.y) I.
    kept = [(s.bfloat16().double(), (hessian @ s).bfloat16().double()) for s in pairs]
    s, y = kept[-1]
    inverse = (s @ y) / (y @ y) * torch.eye(n, dtype=torch.float64)
    for s, y in kept:
        left = torch.eye(n, dtype=torch.float64) - torch.outer(s, y) / (s @ y)
        inverse = left @ inverse @ left.T + torch.outer(s, s) / (s @ y)
    torch.testing.assert_close(lbfgs._direction(g.view(1, 3, 2, 2).clone()).flatten(), -(inverse @ g))


def test_the_first_step_moves_two_gray_levels_whatever_the_size_of_the_loss():
    for scale in (1e-6, 1e6):
        image = torch.full(SHAPE, 0.6)
        e = bowl(image)
        moved = Lbfgs(5).step(image.clone(), evaluation(scale * e.loss, scale * e.gradient))
        assert (moved - image).abs().mean().item() == pytest.approx(2 / 255, rel=1e-3)


def test_lbfgs_never_returns_worse_than_it_has_seen():
    seen = []

    def rugged(image):
        e = bowl(image)
        e = evaluation(
            e.loss + 0.3 * torch.sin(200 * image).sum().item(), e.gradient + 60 * torch.cos(200 * image)
        )
        seen.append(e.loss)
        return e

    result = minimise(rugged, start(), Lbfgs(10), iterations=30)
    assert rugged(result).loss == min(seen)
    assert len(seen) == 31  # one evaluation an iteration, and the one above


def test_results_stay_inside_the_range_of_pixels():
    def outside(image):  # the lowest point is at 2
        return evaluation(((image - 2) ** 2).sum().item(), 2 * (image - 2))

    for o in (Lbfgs(5), Adam(), Sgd()):
        result = minimise(outside, start(), o, iterations=150)
        assert result.max() == 1 and (result >= start()).all()


def test_adam_hands_its_moments_to_a_larger_image():
    first = Adam()
    minimise(bowl, start(), first, iterations=20)
    second = Adam(carried=first.carried)
    m, v = second._moments(torch.zeros(1, 3, 16, 20))
    assert m.shape == v.shape == (1, 3, 16, 20)
    # Four times the pixels: the gradient of a mean is a quarter as large at each.
    assert v.mean().item() == pytest.approx(first.carried["v"].mean().item() / 16, rel=0.01)
    second.step(torch.zeros(1, 3, 16, 20), bowl(torch.zeros(1, 3, 16, 20)))
    assert second.carried["steps"].item() == 21


@pytest.mark.parametrize("rows", [1, 3, 8, 100])
def test_bands_equal_the_plain_whole(rows, monkeypatch):
    monkeypatch.setattr(linalg, "CPU_BAND_PX", 10 * rows)
    generator = torch.Generator().manual_seed(0)
    x = torch.empty(SHAPE).uniform_(-0.5, 1.5, generator=generator).clamp_(0, 1)
    x[0, 0, 0, :3] = torch.tensor([1e-20, 1 - 2**-24, 0.5])
    g = torch.randn(SHAPE, generator=generator)
    g[0, 1, 0, :3] = 0
    pushes_out = ((x == 0) & (g > 0)) | ((x == 1) & (g < 0))
    assert pushes_out.any()
    assert torch.equal(optimise._free(g, x), torch.where(pushes_out, 0, g))
    assert optimise._dot(g, x) == pytest.approx((g.double() * x.double()).sum().item(), rel=1e-5)
    assert optimise._dot(g.bfloat16(), x) == pytest.approx(
        (g.bfloat16().double() * x.double()).sum().item(), rel=1e-5
    )
    assert optimise._mean_size(g) == pytest.approx(g.abs().mean().item(), rel=1e-6)
    added = g.clone()
    optimise._add(added, x.bfloat16(), -0.3)
    assert torch.equal(added, g.add(x.bfloat16(), alpha=-0.3))


def test_adams_result_is_an_average_and_not_the_last_iterate():
    noise = torch.Generator().manual_seed(0)
    seen = []

    def noisy(image):
        seen.append(image.clone())
        e = bowl(image)
        return evaluation(e.loss, e.gradient + 20 * torch.randn(SHAPE, generator=noise))

    result = minimise(noisy, torch.full(SHAPE, 0.5), Adam(), iterations=200)
    assert bowl(result).loss < 0.5 * bowl(seen[-1]).loss


def test_a_loss_that_is_not_a_number_is_an_error_that_names_the_iteration():
    def breaks(image, count=[0]):
        count[0] += 1
        e = bowl(image)
        return evaluation(math.nan if count[0] == 4 else e.loss, e.gradient)

    with pytest.raises(DivergedError, match="nan at iteration 4 of 10.*--precision float32"):
        minimise(breaks, start(), Lbfgs(5), iterations=10)


def test_a_gradient_that_is_infinite_is_an_error():
    with pytest.raises(DivergedError):
        minimise(
            lambda image: evaluation(1.0, torch.full_like(image, math.inf)), start(), Lbfgs(5), iterations=10
        )


def test_a_loss_that_never_changes_is_an_error_and_one_that_is_zero_is_not():
    with pytest.raises(DivergedError, match="stalled"):
        minimise(lambda image: evaluation(5.0, torch.ones_like(image)), start(), Lbfgs(5), iterations=10)
    at_rest = torch.full(SHAPE, 0.4)
    in_a_dent = lambda image: evaluation(1 + bowl(image).loss, bowl(image).gradient + 1e-9)
    assert torch.allclose(minimise(in_a_dent, at_rest, Lbfgs(5), iterations=10), at_rest, atol=1e-3)
    assert torch.equal(minimise(bowl, at_rest, Lbfgs(5), iterations=10), at_rest)


def test_every_evaluation_is_reported_in_order():
    steps = []
    minimise(bowl, start(), Adam(), iterations=7, report=steps.append)
    assert [step.iteration for step in steps] == list(range(1, 8))
    assert steps[0].evaluation.loss == bowl(start()).loss


def test_optimisers_are_made_by_name():
    assert [type(optimiser(name, history=7)) for name in ("lbfgs", "adam", "sgd")] == [Lbfgs, Adam, Sgd]
    assert optimiser("lbfgs", history=7).history == 7
    assert optimiser("adam", history=0, carried={"steps": torch.ones(1)}).carried


def test_a_longer_history_forgets_the_oldest_pair():
    lbfgs = Lbfgs(3)
    minimise(bowl, start(), lbfgs, iterations=12)
    assert len(lbfgs.pairs) == 3


@pytest.mark.parametrize("make", [lambda: Lbfgs(4), Adam, Sgd], ids=["lbfgs", "adam", "sgd"])
@pytest.mark.parametrize("stop", [1, 2, 9])
def test_an_optimiser_that_was_kept_and_restored_goes_on_to_the_same_bits(make, stop):
    class Stopped(Exception):
        pass

    kept = {}

    def keep(state):
        if state.iteration == stop:
            kept["image"] = state.image.clone()
            kept["optimiser"] = {name: tensor.clone() for name, tensor in state.optimiser.tensors().items()}
            kept["facts"] = {
                name: getattr(state, name) for name in ("iteration", "first_loss", "lowest", "highest")
            }
            raise Stopped

    rugged = lambda image: evaluation(
        bowl(image).loss + 0.3 * torch.sin(90 * image).sum().item(),
        bowl(image).gradient + 27 * torch.cos(90 * image),
    )
    whole = minimise(rugged, start(), make(), iterations=14)
    with pytest.raises(Stopped):
        minimise(rugged, start(), make(), iterations=14, between=keep)
    again = make()
    again.restore(kept["optimiser"])
    assert torch.equal(
        optimise.minimise(rugged, State(kept["image"], again, **kept["facts"]), iterations=14), whole
    )
    fresh = optimise.minimise(rugged, State(kept["image"].clone(), make(), **kept["facts"]), iterations=14)
    if stop > 1:  # without its state it goes elsewhere
        assert not torch.equal(fresh, whole)


def test_pairs_in_bfloat16_do_not_slow_lbfgs_down():
    losses = []
    for rounded in (True, False):
        o = Lbfgs(10)
        if not rounded:

            def remember(s, y):
                curvature = optimise._dot(s, y)
                if curvature > 1e-10 * optimise._dot(y, y):
                    o.pairs.append((s.clone(), y.clone(), curvature))
                    del o.pairs[:-10]

            o._remember = remember
        losses.append(bowl(minimise(bowl, start(), o, iterations=40)).loss)
    assert losses[0] < 10 * losses[1] + 1e-6
