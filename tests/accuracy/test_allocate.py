"""How many points, and where: the numbers of Olofsson et al. (2014), and what must hold for any map."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.accuracy import allocate as allocate_module
from geoseg.accuracy.allocate import allocate, expected_se, sample_size, wanted_shares
from geoseg.errors import UsageError

# Olofsson et al. (2014), table 5: deforestation, forest gain, stable forest, stable non-forest.
PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])
EXPECTED = np.array([0.70, 0.60, 0.90, 0.95])


def test_olofssons_sample_size() -> None:
    """Equation 13 with the numbers of table 5: 641 points for a standard error of 0.01."""
    assert sample_size(0.01, PIXELS, EXPECTED) == 641


def test_a_small_map_needs_fewer() -> None:
    """Cochran's eq. 5.25 with its finite term, by hand: 0.16·… of 1,000 pixels that are right to 80 %."""
    assert sample_size(0.01, np.array([1000]), np.array([0.8])) == 616  # 0.16 / (0.0001 + 0.16 / 1000) = 615.4
    assert sample_size(0.0001, np.array([50]), np.array([0.8])) == 50


@pytest.mark.parametrize(
    ("allocation", "points"), [("equal", [161, 160, 160, 160]), ("proportional", [13, 10, 205, 413])]
)
def test_olofssons_allocations(allocation, points) -> None:
    """Table 6, columns "equal" (640 of 641 points are told there) and "prop"."""
    assert allocate(641, wanted_shares(allocation, PIXELS, None), PIXELS, 2).tolist() == points


def test_rare_classes_get_the_minimum_and_the_others_share_the_rest() -> None:
    points = allocate(641, wanted_shares("olofsson", PIXELS, None), PIXELS, 50)
    assert points.tolist() == [50, 50, 179, 362]
    assert points[3] / points[2] == pytest.approx(PIXELS[3] / PIXELS[2], rel=0.01)


def test_neymans_allocation_has_the_smallest_standard_error() -> None:
    neyman = allocate(641, wanted_shares("neyman", PIXELS, EXPECTED), PIXELS, 2)
    np.testing.assert_array_equal(neyman, [23, 19, 243, 356])  # n · W·√(U(1−U)) / Σ
    best = expected_se(neyman, PIXELS, EXPECTED)[1]
    assert best == pytest.approx(0.01, abs=1e-4)
    for allocation in ("equal", "proportional"):
        other = allocate(641, wanted_shares(allocation, PIXELS, None), PIXELS, 2)
        assert expected_se(other, PIXELS, EXPECTED)[1] > best


def test_expected_errors_by_hand() -> None:
    within, overall = expected_se(np.array([25, 100]), np.array([100, 100]), np.array([0.5, 0.9]))
    assert within.tolist() == pytest.approx([np.sqrt(0.75 * 0.25 / 25), 0])
    assert overall == pytest.approx(0.5 * np.sqrt(0.75 * 0.25 / 25))


def case() -> st.SearchStrategy[tuple[list[int], list[float], int, int]]:
    return st.lists(st.tuples(st.integers(1, 2000), st.just(0.0) | st.floats(1e-6, 1)), min_size=1, max_size=8).flatmap(
        lambda strata: st.tuples(
            st.just([s[0] for s in strata]), st.just([s[1] for s in strata]), st.integers(1, 60), st.floats(0, 1)
        )
    )


def is_fair(pixels: list[int], shares: list[float], minimum: int, part: float) -> bool:
    """True when points add up, stay within their bounds, and follow the shares between those."""
    there, wanted = np.array(pixels), np.array(shares)
    floor = np.minimum(there, minimum)
    total = int(floor.sum() + part * (there.sum() - floor.sum()))
    points = allocate(total, wanted, there, minimum)
    if points.sum() != total or (points < floor).any() or (points > there).any():
        return False
    free = (points > floor + 1) & (points < there - 1) & (wanted > 1e-6)
    levels = points[free] / wanted[free]
    low, high = (points[free] - 1) / wanted[free], (points[free] + 1) / wanted[free]
    return not len(levels) or bool(low.max() <= high.min() + 1e-6 * levels.max())


@given(case())
def test_points_add_up_within_their_bounds_and_follow_the_shares(given_case) -> None:
    assert is_fair(*given_case)


def test_mutation_fractions_that_are_dropped_turn_it_red(monkeypatch) -> None:
    """Named mutation: numbers are cut to whole ones and what that loses goes to nobody."""
    monkeypatch.setattr(allocate_module.np, "argsort", lambda _, **__: np.zeros(0, np.int64))
    assert not is_fair([100, 100, 100], [1, 1, 1], 2, 0.33)


def test_strata_without_a_share_take_what_others_cannot() -> None:
    assert allocate(30, np.array([1.0, 0.0]), np.array([20, 40]), 2).tolist() == [20, 10]


@pytest.mark.parametrize(
    ("total", "minimum", "message"),
    [(99, 50, r"99 points are fewer than 2 strata × --minimum 50 need \(100\)"), (301, 2, "more than the 300 pixels")],
)
def test_numbers_that_do_not_fit_are_refused(total, minimum, message) -> None:
    with pytest.raises(UsageError, match=message):
        allocate(total, np.ones(2), np.array([100, 200]), minimum)


def test_neyman_needs_something_that_varies() -> None:
    with pytest.raises(UsageError, match="give --expect"):
        wanted_shares("neyman", PIXELS, None)
    with pytest.raises(UsageError, match="nothing varies"):
        wanted_shares("neyman", PIXELS, np.ones(4))
