"""Architectures, losses and augmentation of GANs."""

import pytest
import torch

from render.errors import UsageError
from render.gan.architectures import ARCHITECTURES
from render.gan.augment import augmented, colour, cutout, translation
from render.gan.losses import LOSSES, PENALTY, gradient_penalty

# Weights and biases, counted by hand from the published layers; batch and layer normalisation have two a
# channel.
GENERATORS = {
    "fc": 97 * 1024 + 1025 * 1024 + 1025 * 784,
    "dcgan": 97 * 1024 + 2 * 1024 + 1025 * 6272 + 2 * 6272 + (128 * 16 + 1) * 64 + 2 * 64 + 64 * 16 + 1,
    "wgan-gp": 97 * 1024 + 2 * 1024 + 1025 * 6272 + 2 * 6272 + (128 * 16 + 1) * 64 + 2 * 64 + 64 * 16 + 1,
    "conv": 65 * 3136 + (64 * 16 + 1) * 64 + (64 * 16 + 1) * 32 + (32 * 16 + 1) * 16 + 16 * 25 + 1,
}
DISCRIMINATORS = {
    "fc": 785 * 256 + 257 * 256 + 257,
    "dcgan": 26 * 32 + (32 * 25 + 1) * 64 + 1025 * 1024 + 1025,
    "wgan-gp": 17 * 64 + (64 * 16 + 1) * 128 + 2 * 128 + 3201 * 1024 + 1025,
    "conv": 17 * 64 + (64 * 16 + 1) * 128 + (128 * 16 + 1) * 128 + 2049,
}


def parameters(network) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", GENERATORS)
def test_the_networks_of_the_course_have_the_published_layers(name):
    a = ARCHITECTURES[name]
    assert parameters(a.generator(a.shape)) == GENERATORS[name]
    assert parameters(a.discriminator(a.shape)) == DISCRIMINATORS[name]


def test_they_are_trained_as_published():
    facts = {
        name: (
            a.latent,
            a.distribution,
            a.learning_rate,
            a.betas[0],
            a.batch,
            a.critic_steps,
            a.label_noise,
            a.loss,
        )
        for name, a in ARCHITECTURES.items()
    }
    assert facts["fc"] == (96, "uniform", 1e-3, 0.5, 128, 1, 0, "minimax")
    assert facts["dcgan"] == (96, "uniform", 1e-3, 0.5, 128, 1, 0, "minimax")
    assert facts["wgan-gp"] == (96, "uniform", 1e-3, 0.5, 128, 5, 0, "wasserstein")
    assert facts["conv"] == (64, "normal", 1e-4, 0.9, 512, 1, 0.05, "minimax")
    slopes = {
        name: {
            m.negative_slope
            for m in ARCHITECTURES[name].discriminator((1, 28, 28)).modules()
            if isinstance(m, torch.nn.LeakyReLU)
        }
        for name in GENERATORS
    }
    assert slopes == {"fc": {0.01}, "dcgan": {0.01}, "wgan-gp": {0.01}, "conv": {0.2}}


@pytest.mark.parametrize(
    ("name", "size_px"), [*((name, None) for name in GENERATORS), *(("compact", px) for px in (32, 64, 128))]
)
def test_latents_become_images_in_range_and_images_logits(name, size_px):
    torch.manual_seed(0)
    a = ARCHITECTURES[name]
    shape = a.shape_for(size_px)
    generator = a.generator(shape).eval()
    with torch.no_grad():
        images = generator(torch.randn(3, a.latent))
        logits = a.discriminator(shape).eval()(images)
    assert images.shape == (3, *shape) and logits.shape == (3,)
    assert (-1 if a.signed else 0) <= images.min() < images.max() <= 1
    assert not torch.equal(images[0], images[1])


def test_noise_is_drawn_in_training_and_always_the_same_afterwards():
    torch.manual_seed(0)
    generator = ARCHITECTURES["compact"].generator((3, 32, 32))
    for name, strength in generator.named_parameters():
        if name.endswith("strength"):
            strength.data.fill_(1.0)
    latents = torch.randn(2, 128)
    with torch.no_grad():
        assert not torch.equal(generator(latents), generator(latents))
        generator.eval()
        assert torch.equal(generator(latents), generator(latents))
        assert torch.allclose(generator(latents)[:1], generator(latents[:1]), atol=1e-5)
        saved = ARCHITECTURES["compact"].generator((3, 32, 32)).eval()
        saved.load_state_dict(generator.state_dict())
        assert torch.equal(saved(latents), generator(latents))


def test_a_size_that_an_architecture_does_not_have_is_refused():
    with pytest.raises(UsageError, match="--size 64: fc makes pictures of 28 x 28 px"):
        ARCHITECTURES["fc"].shape_for(64)
    with pytest.raises(UsageError, match="--size 100: compact makes pictures of 32, 64, 128, 256 px"):
        ARCHITECTURES["compact"].shape_for(100)


def test_no_discriminator_with_the_penalty_mixes_samples():
    """Each sample's value is its own: the others may be anything."""
    torch.manual_seed(0)
    critic = ARCHITECTURES["wgan-gp"].discriminator((1, 28, 28))
    one, others = torch.rand(1, 1, 28, 28), torch.rand(4, 1, 28, 28)
    assert torch.allclose(critic(torch.cat([one, others]))[0], critic(torch.cat([one, 0 * others]))[0])
    mixing = ARCHITECTURES["compact"].discriminator((3, 32, 32))
    one, others = torch.rand(1, 3, 32, 32), torch.rand(4, 3, 32, 32)
    assert not torch.allclose(mixing(torch.cat([one, others]))[0], mixing(torch.cat([one, 0 * others]))[0])


# --- losses -------------------------------------------------------------------------------------------------

REAL, FAKE = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([-3.0, 0.2, 1.5])


def test_losses_are_the_papers_formulas():
    real, fake = torch.sigmoid(REAL), torch.sigmoid(FAKE)
    wanted = {
        "minimax": (-(real.log().mean() + (1 - fake).log().mean()), -fake.log().mean()),
        "least-squares": (((REAL - 1) ** 2).mean() / 2 + (FAKE**2).mean() / 2, ((FAKE - 1) ** 2).mean() / 2),
        "wasserstein": (FAKE.mean() - REAL.mean(), -FAKE.mean()),
        "hinge": ((1 - REAL).clamp(min=0).mean() + (1 + FAKE).clamp(min=0).mean(), -FAKE.mean()),
    }
    assert wanted.keys() == LOSSES.keys()
    for name, (discriminator, generator) in wanted.items():
        assert LOSSES[name].discriminator(REAL, FAKE).item() == pytest.approx(
            discriminator.item(), rel=1e-5
        ), name
        assert LOSSES[name].generator(FAKE).item() == pytest.approx(generator.item(), rel=1e-5), name


def test_label_noise_keeps_a_perfect_discriminator_from_a_loss_of_nought():
    perfect = torch.full((1000,), 30.0)
    assert LOSSES["minimax"].discriminator(perfect, -perfect) < 1e-6
    assert LOSSES["minimax"].discriminator(perfect, -perfect, 0.05).item() == pytest.approx(
        2 * 0.025 * 30, rel=0.1
    )


@pytest.mark.parametrize("slope", [1.0, 3.0])
def test_the_penalty_of_a_linear_critic_is_known(slope):
    weights = torch.rand(1, 3, 4, 4)
    weights *= slope / weights.norm()
    found = gradient_penalty(
        lambda x: (weights * x).sum((1, 2, 3)), torch.rand(5, 3, 4, 4), torch.rand(5, 3, 4, 4)
    )
    assert found.item() == pytest.approx(PENALTY * (slope - 1) ** 2, abs=1e-5)


# --- augmentation -------------------------------------------------------------------------------------------


def test_augmentation_lets_gradients_through_and_none_is_none():
    x = torch.rand(4, 3, 32, 32, requires_grad=True)
    assert augmented(x, "") is x
    torch.manual_seed(0)
    out = augmented(x, "colour,translation,cutout")
    assert out.shape == x.shape and not torch.equal(out, x)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert gradient.abs().sum() > 0


def test_translation_shifts_each_image_as_a_whole():
    torch.manual_seed(0)
    x = torch.zeros(64, 1, 32, 32)
    x[:, 0, 16, 16] = 1
    out = translation(x)
    places = out.flatten(1).argmax(1)
    assert torch.equal(out.sum((1, 2, 3)), torch.ones(64))
    shifts = torch.stack([places // 32 - 16, places % 32 - 16])
    assert shifts.abs().max() <= 4 and len(set(map(tuple, shifts.T.tolist()))) > 20
    assert (translation(torch.ones(64, 1, 32, 32)) == 0).any()  # what comes in is nought


def test_cutout_takes_at_most_a_quarter_and_colour_changes_no_place():
    torch.manual_seed(0)
    gone = (cutout(torch.ones(64, 1, 32, 32)) == 0).float().mean((1, 2, 3))
    assert 0 < gone.max() <= 0.27 and len(set(gone.tolist())) > 5
    flat = colour(torch.full((8, 3, 4, 4), 0.5))
    assert flat.std((2, 3)).max() < 1e-6 and flat.mean((1, 2, 3)).std() > 0.1
