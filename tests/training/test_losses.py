"""Losses: values by hand, and the law that what is ignored counts for nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fit_kit import fit_recipe
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from geoseg.training import losses
from geoseg.training.chips import IGNORE
from geoseg.training.losses import Loss, class_weights
from geoseg.training.recipe_fit import LOSSES, LossTerm, loss_terms

CLASSES = 4
TERMS = [*LOSSES, "focal(0)", "focal(0.5)", "gce(0.01)", "gce(1)", "sce(1)", "ce+dice", "focal+0.5*lovasz"]


def loss_of(text: str, *, smoothing: float = 0.0, weight: list[float] | None = None) -> Loss:
    options = fit_recipe(loss=text, label_smoothing=smoothing).fit
    return Loss(options, torch.tensor(weight or [1.0] * CLASSES))


def batch(seed: int, known: float = 0.5) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (2, class, 5, 6) and labels, a share of them known."""
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(0, 3, (2, CLASSES, 5, 6)).astype(np.float32))
    labels = rng.integers(0, CLASSES, (2, 5, 6))
    labels[rng.random(labels.shape) >= known] = IGNORE
    return logits, torch.from_numpy(labels)


def value_and_slope(loss: Loss, logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    logits = logits.clone().requires_grad_()
    value = loss(logits, labels)
    (slope,) = torch.autograd.grad(value, logits)
    return value.detach(), slope


def assert_ignored_counts_for_nothing(text: str, seed: int, known: float) -> None:
    """Other logits where nothing is known: the same loss, the same gradient elsewhere, none there."""
    loss = loss_of(text, smoothing=0.1, weight=[0.5, 1.0, 2.0, 0.7])
    logits, labels = batch(seed, known)
    ignored = (labels == IGNORE)[:, None].expand_as(logits)
    other = torch.where(ignored, logits.flip(1) * 2 - 1, logits)
    (value, slope), (value2, slope2) = (value_and_slope(loss, x, labels) for x in (logits, other))
    torch.testing.assert_close(value2, value)
    torch.testing.assert_close(slope2[~ignored], slope[~ignored])
    assert (slope[ignored] == 0).all()
    assert (slope2[ignored] == 0).all()


@pytest.mark.parametrize("text", TERMS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), known=st.sampled_from([0.0, 0.05, 0.5, 0.95]))
def test_ignored_pixels_change_neither_loss_nor_gradient(text, seed, known) -> None:
    assert_ignored_counts_for_nothing(text, seed, known)


@pytest.mark.parametrize("text", [name for name in LOSSES if name != "ce"])
def test_the_law_fails_when_the_unknown_counts_as_the_first_class(text, monkeypatch) -> None:
    """The mutation: `IGNORE` taken for a class. (Cross-entropy itself would refuse a label without a logit.)"""
    forward = Loss.forward
    monkeypatch.setattr(Loss, "forward", lambda self, x, y: forward(self, x, torch.where(y == IGNORE, 0, y)))
    with pytest.raises(AssertionError):
        assert_ignored_counts_for_nothing(text, 1, 0.5)


@pytest.mark.parametrize("text", TERMS)
def test_the_gradient_leads_to_the_labels(text) -> None:
    """A step down the slope makes every known pixel's label likelier, taken together, and the loss smaller."""
    logits, labels = batch(2)
    value, slope = value_and_slope(loss_of(text), logits, labels)
    step = logits - slope * (0.1 / slope.norm())
    assert loss_of(text)(step, labels) < value
    known = labels != IGNORE
    before, after = (x.log_softmax(1).gather(1, torch.where(known, labels, 0)[:, None])[:, 0] for x in (logits, step))
    assert (after - before)[known].sum() > 0


@pytest.mark.parametrize("text", TERMS)
def test_a_batch_without_labels_is_worth_nothing(text) -> None:
    logits, labels = batch(0, known=0.0)
    value, slope = value_and_slope(loss_of(text), logits, labels)
    assert value == 0
    assert (slope == 0).all()


@pytest.mark.parametrize("text", TERMS)
def test_losses_compute_in_fp32_whatever_surrounds_them(text) -> None:
    logits, labels = batch(5)
    rough = logits.bfloat16()
    expected = loss_of(text)(rough.float(), labels)
    with torch.autocast("cpu", torch.bfloat16):
        assert loss_of(text)(rough, labels) == expected


@pytest.mark.parametrize("text", TERMS)
def test_sure_answers_have_finite_gradients_and_right_ones_no_loss(text) -> None:
    labels = torch.arange(CLASSES).view(1, 2, 2)
    right = torch.nn.functional.one_hot(labels, CLASSES).movedim(-1, 1).float() * 200
    for logits in (right, -right):
        value, slope = value_and_slope(loss_of(text), logits, labels)
        assert value.isfinite()
        assert slope.isfinite().all()
    assert loss_of(text)(right, labels) < 1e-5
    assert loss_of(text)(-right, labels) > 0.4


def test_pixel_losses_by_hand() -> None:
    """One pixel of probability 0.25, one of 0.5, weights 1 and 3."""
    logits = torch.tensor([[0.25, 0.5], [0.75, 0.5]]).log()[None, :, None]  # (1, 2 classes, 1, 2 pixels)
    labels = torch.tensor([[[0, 1]]])
    p, w = np.array([0.25, 0.5]), np.array([1.0, 3.0])
    expected = {
        "ce": -np.log(p),
        "focal": -((1 - p) ** 2) * np.log(p),
        "focal(1)": -(1 - p) * np.log(p),
        "gce": (1 - p**0.7) / 0.7,
        "gce(1)": 1 - p,
        "sce(0.5)": -0.5 * np.log(p) + 4 * (1 - p),
    }
    for text, pixels in expected.items():
        found = loss_of(text, weight=[1.0, 3.0])(logits, labels)
        assert float(found) == pytest.approx((pixels * w).mean(), rel=1e-5), text


def test_overlap_losses_by_hand() -> None:
    """Class 0: intersection 0.75, told 1.25, true 1. Class 1: 0.5, 0.75, 1. The ignored pixel is not in them."""
    p0 = torch.tensor([0.75, 0.5, 0.9])
    logits = torch.stack([p0, 1 - p0]).log()[None, :, None]
    labels = torch.tensor([[[0, 1, IGNORE]]])
    dice = np.mean([1 - 2 * 0.75 / 2.25, 1 - 2 * 0.5 / 1.75])
    jaccard = np.mean([1 - 0.75 / 1.5, 1 - 0.5 / 1.25])
    assert float(loss_of("dice", weight=[1.0, 1.0])(logits, labels)) == pytest.approx(dice, rel=1e-5)
    assert float(loss_of("jaccard", weight=[1.0, 1.0])(logits, labels)) == pytest.approx(jaccard, rel=1e-5)


def test_the_lovasz_loss_of_sure_answers_is_one_minus_iou() -> None:
    """On corners of the cube the Lovász extension is the set function itself (Berman et al. 2018)."""
    labels = torch.tensor([[[0, 0, 1, 1, 1, IGNORE]]])
    told = torch.tensor([[[0, 1, 1, 1, 0, 0]]])
    logits = torch.nn.functional.one_hot(told, 2).movedim(-1, 1).float() * 100
    expected = np.mean([1 - 1 / 3, 1 - 2 / 4])
    assert float(loss_of("lovasz", weight=[1.0, 1.0])(logits, labels)) == pytest.approx(expected, abs=1e-5)


def test_sums_and_factors_add_up() -> None:
    logits, labels = batch(3)
    focal, lovasz = (loss_of(name)(logits, labels) for name in ("focal(3)", "lovasz"))
    assert torch.allclose(loss_of("2*focal(3) + 0.5*lovasz")(logits, labels), 2 * focal + 0.5 * lovasz)
    assert loss_terms("2*focal(3) + .5*lovasz+gce") == (
        LossTerm(2, "focal", 3),
        LossTerm(0.5, "lovasz", 0),
        LossTerm(1, "gce", 0.7),
    )


@pytest.mark.parametrize("text", ["", "mse", "ce+", "ce*2", "dice(1)", "gce(0)", "gce(1.5)", "0*ce", "ce(", "CE"])
def test_what_is_no_loss_is_refused(text) -> None:
    with pytest.raises(ValidationError, match="loss"):
        fit_recipe(loss=text)


def test_class_weights_balance_and_leave_the_mean_pixel_alone() -> None:
    shares = np.array([0.81, 0.01, 0.18, 0.0])
    weights = class_weights(shares, 0.5).numpy()
    assert (weights * shares).sum() == pytest.approx(1, rel=1e-6)
    assert weights[1] / weights[0] == pytest.approx(9, rel=1e-6)
    assert weights[3] == 0
    assert class_weights(shares, 0.0).tolist() == [1, 1, 1, 0]
    assert losses.LOG_ZERO == -4
