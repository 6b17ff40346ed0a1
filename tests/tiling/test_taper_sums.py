"""Weights of overlapping chips, and the sums that a tile makes with them: without any network."""

from __future__ import annotations

import numpy as np
import pytest
from builders import NORTH_UP, UTM
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from geoseg.grid import Grid
from geoseg.tiling import blend as blend_module
from geoseg.tiling.blend import Taper, stitcher, taper_weights
from geoseg.tiling.plan import TilePlan, plan_tiles


def plan_of(height=61, width=83, *, margin=4, cell=12, tile=1, zoom=1.0) -> TilePlan:
    grid = Grid(CRS(UTM), NORTH_UP, width, height)
    gsd = None if zoom == 1 else grid.gsd_m * zoom
    chip = cell + 2 * margin
    return plan_tiles(grid, chip=chip, margin=margin, stride=1, tile=tile, network_gsd_m=gsd, blend="taper")


shapes = st.fixed_dictionaries(
    {
        "height": st.integers(1, 70),
        "width": st.integers(1, 70),
        "margin": st.integers(1, 14),
        "cell": st.integers(4, 16),
        "zoom": st.sampled_from([1.0, 2.0, 0.5, 1.7]),
    }
)


@given(shapes)
def test_weights_are_positive_and_sum_to_one_at_every_pixel(shape):
    plan = plan_of(**shape)
    for axis in (plan.rows, plan.cols):
        total = np.zeros(axis.size)
        for cell in range(axis.count):
            first, weights = taper_weights(axis, cell)
            assert (weights > 0).all()
            start, end = axis.core(cell)
            assert first <= start
            assert first + len(weights) >= end  # each chip speaks at least for its own cell
            total[first : first + len(weights)] += weights
        np.testing.assert_allclose(total, 1, atol=1e-6)


def test_weights_by_hand():
    """Margin 2 of 4 overlap in a zone of 2 pixels on either side: sin² of 1/8, 3/8, 5/8, 7/8 of a quarter turn."""
    plan = plan_of(24, 24, margin=4, cell=12)
    first, weights = taper_weights(plan.rows, 0)
    assert first == 0
    np.testing.assert_array_equal(weights[:10], 1)
    np.testing.assert_allclose(weights[10:], np.cos(np.pi / 2 * np.array([1, 3, 5, 7]) / 8) ** 2, rtol=1e-6)
    assert taper_weights(plan.rows, 1)[0] == 10


def answers(plan, cell, seed=0):
    """Some scores of a chip, the same whoever asks."""
    return np.random.default_rng([seed, cell.row, cell.col]).random((2, *cell.read.shape), "float32")


def stitched(plan):
    """(class, row, col) of the whole raster, each pixel given exactly once."""
    out, times = np.zeros((2, *plan.grid.shape), "float32"), np.zeros(plan.grid.shape, int)
    for tile in plan:
        stitch = stitcher(plan, tile)
        parts = [part for cell in plan.reaching(tile) for part in stitch.add(cell, answers(plan, cell))]
        for window, scores in [*parts, *stitch.finish()]:
            rows, cols = window.slices
            out[:, rows, cols] = scores
            times[rows, cols] += 1
    assert (times == 1).all()
    return out


@given(shapes, st.integers(1, 90))
def test_sums_do_not_depend_on_the_tile_to_the_last_bit(shape, tile):
    np.testing.assert_array_equal(stitched(plan_of(**shape, tile=tile)), stitched(plan_of(**shape, tile=1000)))


def test_mutation_weights_anchored_to_the_tile_turn_it_red(monkeypatch):
    """Named mutation: a chip's weight rises from the tile's edge instead of from its own."""
    original = blend_module.taper_weights
    whole = stitched(plan_of(tile=1000))
    assert (stitched(plan_of(tile=24)) == whole).all()

    def anchored(axis, cell):
        first, weights = original(axis, cell)
        return first, np.roll(weights, cell % 2)

    monkeypatch.setattr(blend_module, "taper_weights", anchored)
    assert (stitched(plan_of(tile=24)) != whole).any()


def test_mutation_sums_in_another_order_turn_it_red(monkeypatch):
    """Named mutation: chips are added as they come (here: each row from the right), not in the lattice's order."""
    whole = stitched(plan_of(margin=9, cell=6, tile=1000))
    original = TilePlan.reaching

    def reaching(self, tile):
        return iter(sorted(original(self, tile), key=lambda cell: (cell.row, -cell.col)))

    monkeypatch.setattr(TilePlan, "reaching", reaching)
    found = stitched(plan_of(margin=9, cell=6, tile=24))
    assert (found != whole).any()
    np.testing.assert_allclose(found, whole, atol=1e-6)


@given(shapes)
def test_a_constant_stays_a_constant(shape):
    plan = plan_of(**shape, tile=30)
    for tile in plan:
        stitch = stitcher(plan, tile)
        parts = [
            part
            for cell in plan.reaching(tile)
            for part in stitch.add(cell, np.full((1, *cell.read.shape), 0.3, "float32"))
        ]
        for _, scores in [*parts, *stitch.finish()]:
            np.testing.assert_allclose(scores, 0.3, atol=1e-6)


def test_only_the_rows_in_reach_are_held(monkeypatch):
    """A tile of 20 rows of cells never holds more than a chip's rows and those of the next."""
    plan = plan_of(240, 24, margin=4, cell=12, tile=1000)
    (tile,) = plan
    stitch, held = Taper(plan, tile), []
    for cell in plan.reaching(tile):
        list(stitch.add(cell, answers(plan, cell)))
        held.append(stitch._sums.shape[1])
    assert max(held) <= plan.chip


@pytest.mark.parametrize("skipped", [set(), {(0, 0)}, {(1, 0), (1, 1), (1, 2)}])
def test_chips_that_are_never_sent_leave_the_others_as_they_were(skipped):
    """Pixels for which no skipped chip speaks are the same, and each is still given once or not at all."""
    plan = plan_of(36, 36, margin=4, cell=12, tile=1000)
    (tile,) = plan
    whole, stitch = stitched(plan), Taper(plan, tile)
    heard = np.ones(plan.grid.shape, bool)
    out, times = np.zeros_like(whole), np.zeros(plan.grid.shape, int)
    for cell in plan.reaching(tile):
        if (cell.row, cell.col) in skipped:
            heard[blend_module.spoken(plan, tile, cell).slices] = False
            continue
        for window, scores in stitch.add(cell, answers(plan, cell)):
            out[(slice(None), *window.slices)] = scores
            times[window.slices] += 1
    for window, scores in stitch.finish():
        out[(slice(None), *window.slices)] = scores
        times[window.slices] += 1
    assert times.max() == 1
    assert times[heard].all()
    np.testing.assert_array_equal(out[:, heard], whole[:, heard])
