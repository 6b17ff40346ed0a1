"""Trimming, resampling back, and the winning class."""

import numpy as np
import pytest
from builders import NORTH_UP, UTM, scheme
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pyproj import CRS
from scipy.ndimage import map_coordinates

from geoseg.grid import Grid, Window
from geoseg.settings import SCORE_LAYERS
from geoseg.tiling.blend import classify, trim
from geoseg.tiling.plan import plan_tiles


def plan_of(height, width, *, margin=4, gsd=None):
    grid = Grid(CRS(UTM), NORTH_UP, width, height)
    return plan_tiles(
        grid,
        chip=16 + 2 * margin,
        margin=margin,
        stride=4,
        tile=1,
        network_gsd_m=None if gsd is None else grid.gsd_m * gsd,
    )


def stitched(image, plan):
    """Every chip cut from (class, row, col) network scores mirrored at the edges, trimmed, put together."""
    pad = plan.chip
    padded = np.pad(image, [(0, 0), (pad, pad), (pad, pad)], mode="symmetric")
    out = np.full((len(image), *plan.grid.shape), np.nan, "float32")
    for tile in plan:
        for cell in tile.cells:
            read = cell.read
            rows, cols = Window(read.col_off + pad, read.row_off + pad, read.width, read.height).slices
            out[(slice(None), *cell.core.slices)] = trim(padded[:, rows, cols], cell, plan)
    return out


@given(height=st.integers(1, 60), width=st.integers(1, 60), margin=st.sampled_from([0, 4, 8]))
def test_trimming_puts_every_pixel_back(height, width, margin):
    image = np.random.default_rng(0).random((2, height, width), "float32")
    np.testing.assert_array_equal(stitched(image, plan_of(height, width, margin=margin)), image)


@given(
    height=st.integers(5, 80),
    width=st.integers(5, 80),
    gsd=st.sampled_from([2.0, 3.0, 1.7, 0.5, 0.7]),
    seed=st.integers(0, 9),
)
def test_scores_come_back_bilinearly_as_scipy_says(height, width, gsd, seed):
    """Output pixel x lies at (x + 0.5) / zoom − 0.5 network pixels; `nearest` is what clamping does at the edge."""
    plan = plan_of(height, width, gsd=gsd)
    image = np.random.default_rng(seed).random((2, *plan.network_grid.shape), "float32")
    rows, cols = ((np.arange(n) + 0.5) / plan.rows.zoom - 0.5 for n in (height, width))
    where = np.meshgrid(rows, cols, indexing="ij")
    expected = np.stack([map_coordinates(plane.astype(float), where, order=1, mode="nearest") for plane in image])
    np.testing.assert_allclose(stitched(image, plan), expected, atol=2e-6)


@given(height=st.integers(5, 60), width=st.integers(5, 60), gsd=st.sampled_from([2.0, 1.7, 0.5]))
def test_without_a_margin_no_score_comes_from_the_chips_other_side(height, width, gsd):
    """A ramp over a whole scene: a wrapped index would jump."""
    plan = plan_of(height, width, margin=0, gsd=gsd)
    ramp = np.arange(plan.network_grid.height, dtype="float32")[:, None] + np.zeros(plan.network_grid.width, "float32")
    found = stitched(ramp[None], plan)[0]
    expected = ((np.arange(height) + 0.5) / plan.rows.zoom - 0.5).clip(0, plan.network_grid.height - 1)
    assert np.abs(found - expected[:, None]).max() <= 0.5


def test_mutation_corners_instead_of_centers_turn_it_red():
    """Named mutation: x / zoom, half a pixel off."""
    plan = plan_of(40, 40, gsd=2.0)
    ramp = np.zeros((1, *plan.network_grid.shape), "float32") + np.arange(plan.network_grid.width)
    found = stitched(ramp, plan)[0, 20, 4:36]
    np.testing.assert_allclose(found, (np.arange(4, 36) + 0.5) / 2 - 0.5, rtol=1e-5)
    assert np.abs(found - np.arange(4, 36) / 2).min() > 0.2


WINDOW = Window(5, 7, 3, 1)


def test_classify_by_hand():
    """Class 1 wins, a tie goes to the first, an invalid pixel has no class."""
    scores = np.array([[0.2, 0.4, 0.9], [0.7, 0.4, 0.05], [0.1, 0.2, 0.05]], "float32")[:, None]
    found = classify(scores, np.array([[True, True, False]]), WINDOW, scheme(3), layers=("confidence",))
    assert found.index.tolist() == [[1, 0, 255]]
    assert found.scores["confidence"].tolist() == [[round(255 * 0.7), 102, 0]]
    assert found.window == WINDOW


@given(scores=hnp.arrays(np.float32, (4, 1, 3), elements=st.sampled_from([0.0, 0.25, 0.5])))
def test_ties_take_the_first_class(scores):
    found = classify(scores, np.ones((1, 3), bool), WINDOW, scheme(4))
    for col in range(3):
        column = scores[:, 0, col].tolist()
        assert found.index[0, col] == column.index(max(column))
    assert found.scores == {}


@given(p=st.floats(0, 1, width=32))
def test_codes_are_1_to_255(p):
    """0 is kept for "no class": even a vanishing score is coded 1."""
    scores = np.array([p, 0.0], "float32").reshape(2, 1, 1)
    found = classify(scores, np.ones((1, 1), bool), Window(0, 0, 1, 1), scheme(2), layers=SCORE_LAYERS)
    for name, value in (("confidence", p), ("ambiguity", 1 - p), ("probabilities", p)):
        code = int(found.scores[name].ravel()[0])
        assert 1 <= code <= 255
        assert abs(code - max(1, 255 * value)) <= 0.5 + 1e-4


@given(
    scores=hnp.arrays(
        np.float32, st.tuples(st.integers(1, 5), st.just(2), st.just(3)), elements=st.floats(0, 1, width=32)
    )
)
def test_layers_are_what_sorting_says(scores):
    """Mutation: `second` not fed from the old best."""
    valid = np.array([[True, True, False], [True, True, True]])
    found = classify(scores, valid, Window(0, 0, 3, 2), scheme(len(scores)), layers=SCORE_LAYERS).scores
    ranked = np.sort(np.concatenate([np.zeros_like(scores[:1]), scores]), axis=0)
    expected = {"confidence": ranked[-1], "ambiguity": 1 - (ranked[-1] - ranked[-2]), "probabilities": scores}
    for name, value in expected.items():
        codes = np.rint(value * np.float32(255)).clip(1, 255)
        np.testing.assert_array_equal(found[name], np.where(valid, codes, 0))


def test_many_classes_need_wide_indices():
    n = 300
    classes = scheme(n)
    scores = np.eye(n, dtype="float32")[:, None, 297:300]
    found = classify(scores, np.array([[True, True, False]]), WINDOW, classes)
    assert found.index.dtype == np.uint16
    assert found.index.tolist() == [[297, 298, 65535]]


@pytest.mark.parametrize("gsd", [None, 2.0])
def test_trim_keeps_the_type(gsd):
    plan = plan_of(20, 20, gsd=gsd)
    cell = plan[0].cells[0]
    assert trim(np.zeros((2, *cell.read.shape), "float32"), cell, plan).dtype == np.float32
