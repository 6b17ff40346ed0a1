from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from fit_kit import fit_recipe
from pydantic import ValidationError

from geoseg.training.schedules import make_schedule

STEPS = 100


def course(steps: int = STEPS, **fit: object) -> list[float]:
    """The learning rate of each step, as a share of its peak."""
    options = fit_recipe(**fit).fit
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=options.lr)
    schedule = make_schedule(optimizer, options, steps)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"] / options.lr)
        optimizer.step()
        schedule.step()
    return seen


@pytest.mark.parametrize(
    ("schedule", "peak", "half", "end"),
    [
        ("one-cycle", 19, 0.5, 1e-5),
        ("cosine", 5, 0.5, 0.001),
        ("poly", 0, 0.5**0.9, 0.02),
        ("constant", 0, 1.0, 1.0),
    ],
)
def test_each_course_rises_to_its_peak_and_ends_where_it_should(schedule, peak, half, end) -> None:
    seen = course(schedule=schedule)
    assert max(seen) == pytest.approx(1)
    assert seen[peak] == pytest.approx(1)
    assert all(a < b for a, b in pairwise(seen[: peak + 1]))
    assert all(a >= b for a, b in pairwise(seen[peak:]))
    middle = peak + (STEPS - peak) // 2
    assert seen[middle] == pytest.approx(half, abs=0.1)
    assert end / 10 <= seen[-1] <= end


def test_warm_up_is_a_straight_line() -> None:
    seen = course(schedule="constant", warm_up=0.1)
    assert seen[:11] == pytest.approx([(n + 1) / 11 for n in range(10)] + [1.0])


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "poly", "constant"])
@pytest.mark.parametrize("steps", [1, 2, 4, 5, 6, 10])
def test_short_trainings_have_a_course_too(schedule, steps) -> None:
    assert all(0 < share <= 1 for share in course(steps, schedule=schedule))


def test_one_cycle_needs_its_rise() -> None:
    with pytest.raises(ValidationError, match="warm_up"):
        fit_recipe(warm_up=0.0)


@pytest.mark.parametrize(
    ("fit", "says"),
    [
        ({"devices": 2, "device": "cuda:1"}, "devices: 2"),
        ({"precision": "16-mixed"}, "needs a GPU"),
        ({"patience": 0}, "patience"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(fit, says) -> None:
    with pytest.raises(ValidationError, match=says):
        fit_recipe(**fit)
