"""The grid that the user asks for: snapped to the CRS's own lattice, or another file's."""

from itertools import pairwise

import numpy as np
import pytest
import rasterio
from affine import Affine
from builders import NORTH_UP, UTM, write_raster
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Transformer
from rasterio.warp import calculate_default_transform

from geoseg.errors import InputError, UsageError
from geoseg.grid import Grid
from geoseg.io.target import target_grid

SOURCE = Grid(CRS(UTM), NORTH_UP, 200, 100)
"""2 km × 1 km at x 500 000, y 4 200 000 of UTM 18N."""


def test_the_same_crs_by_hand():
    """x 500 000 … 502 000 and y 4 199 000 … 4 200 000 on multiples of 30: 499 980 … 502 020, 4 198 980 … 4 200 000."""
    grid = target_grid("EPSG:32618,30", SOURCE)
    assert tuple(grid.transform)[:6] == (30, 0, 499_980, 0, -30, 4_200_000)
    assert (grid.width, grid.height) == (68, 34)


@given(
    st.sampled_from(["EPSG:2263", "EPSG:5070", "EPSG:3857", "EPSG:4326", "EPSG:32617"]),
    st.floats(0.3, 3.0),
    st.floats(0, 40),
)
def test_covers_the_input_and_lies_on_multiples(name, factor, angle):
    """Law: every edge a multiple of RES; no pixel of the input outside, no whole row or column too many.

    Mutation: `floor` for `ceil` on the far side.
    """
    source = Grid(CRS(UTM), NORTH_UP @ Affine.rotation(angle), 200, 100)
    size = factor * {"EPSG:4326": 1e-4, "EPSG:2263": 30.0}.get(name, 10.0)
    grid = target_grid(f"{name},{size!r}", source)
    a, _, c, _, e, f = tuple(grid.transform)[:6]
    assert (a, e) == (size, -size)
    assert [round(v / size) * size for v in (c, f)] == pytest.approx([c, f], rel=1e-12)
    along = np.linspace(0, 1, 1001)
    corners = np.array([*source.corners(), source.corners()[0]])
    frame = np.concatenate([p + along[:, None] * (q - p) for p, q in pairwise(corners)])
    cols, rows = ~grid.transform @ Transformer.from_crs(UTM, name, always_xy=True).transform(*frame.T)
    slack = 1e-3  # the frame bends between the 64 points an edge is looked at
    assert -slack <= cols.min() < 1
    assert -slack <= rows.min() < 1
    assert grid.width - 1 < cols.max() <= grid.width + slack
    assert grid.height - 1 < rows.max() <= grid.height + slack


def test_agrees_with_gdals_own_extent():
    bounds = SOURCE.bounds
    transform, width, height = calculate_default_transform(
        rasterio.CRS.from_string(UTM), rasterio.CRS.from_string("EPSG:5070"), 200, 100, *bounds, resolution=10
    )
    grid = target_grid("EPSG:5070,10", SOURCE)
    assert abs(grid.width - width) <= 2
    assert abs(grid.height - height) <= 2
    assert grid.bounds.left <= transform.c + 10


def test_a_file_gives_its_own_grid(tmp_path):
    path = write_raster(tmp_path / "n.tif", np.zeros((7, 9), "uint8"), transform=NORTH_UP @ Affine.translation(3.3, 2))
    grid = target_grid(str(path), SOURCE)
    assert (grid.width, grid.height, grid.transform) == (9, 7, NORTH_UP @ Affine.translation(3.3, 2))


def test_a_file_elsewhere_is_refused(tmp_path):
    path = write_raster(tmp_path / "n.tif", np.zeros((7, 9), "uint8"), transform=NORTH_UP @ Affine.translation(500, 0))
    with pytest.raises(InputError, match="lies wholly outside"):
        target_grid(str(path), SOURCE)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("EPSG:2154", "CRS,RES"),
        ("EPSG:99999999,10", "EPSG:2154,10"),
        ("EPSG:32618,ten", "EPSG:2154,10"),
        ("EPSG:32618,0", "positive"),
        ("EPSG:32618,-10", "positive"),
        ("EPSG:32618,nan", "positive"),
        ("EPSG:4326,1e-9", "is it meant so"),
        ("nowhere.tif", "no file"),
    ],
)
def test_other_words_are_refused(text, says):
    with pytest.raises(UsageError, match=says):
        target_grid(text, SOURCE)


def test_lon_lat_across_the_antimeridian_is_refused():
    fiji = Grid(CRS("EPSG:32760"), Affine(100, 0, 800_000, 0, -100, 8_000_000), 900, 300)
    with pytest.raises(InputError, match="antimeridian"):
        target_grid("EPSG:4326,0.001", fiji)
