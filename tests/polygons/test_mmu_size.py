"""Sizes as users give them become exact integers on a grid."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from affine import Affine
from builders import UTM, scheme
from pyproj import CRS

from geoseg.errors import UsageError
from geoseg.grid import Grid
from geoseg.ground import area_model
from geoseg.polygons.mmu_size import Scale, Size, Unit, parse_class_sizes, parse_size, size_scale, unit_of

HALF_HECTARE = Size(Fraction(5000), "m2")
NINE = Size(Fraction(9), "px")


def scale_of(crs: str, transform: Affine, *sizes: Size, shape: tuple[int, int] = (20, 30)) -> Scale:
    grid = Grid(CRS(crs), transform, shape[1], shape[0])
    return size_scale(grid, area_model(grid), sizes)


def utm(gsd: float) -> Affine:
    return Affine(gsd, 0, 500_000, 0, -gsd, 4_200_000)


@pytest.mark.parametrize(
    ("text", "amount", "measure"),
    [
        ("0.5ha", 5000, "m2"),
        ("5000m2", 5000, "m2"),
        ("9px", 9, "px"),
        (" .25 ha ", 2500, "m2"),
        ("0.1ha", 1000, "m2"),  # 0.1 has no exact float
        ("0px", 0, "px"),
    ],
)
def test_sizes_are_read_exactly(text: str, amount: int, measure: str) -> None:
    assert parse_size(text) == Size(Fraction(amount), measure)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "5", "ha", "-1ha", "5 acres", "1e3m2", "0.5ha,9px", "nanha", "5HA", "1.2.3ha"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--mmu .* is no size; write .*0.5ha, 5000m2, 9px"):
        parse_size(text)


def test_class_sizes_are_read() -> None:
    assert parse_class_sizes("water=0.1ha,Trees, mixed = 9px,40=5000m2") == {
        "water": Size(Fraction(1000), "m2"),
        "Trees, mixed": NINE,
        "40": HALF_HECTARE,
    }
    assert parse_class_sizes("water=9px,") == {"water": NINE}


@pytest.mark.parametrize("text", ["", "water", "water=", "=9px", "water=9", "water=9px forest=3px", "water=9px,,a=1px"])
def test_other_class_sizes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--mmu-class"):
        parse_class_sizes(text)


def test_a_class_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="gives 'water' twice"):
        parse_class_sizes("water=9px,water=1ha")


@pytest.mark.parametrize(
    ("crs", "transform", "pixels"),
    [
        (UTM, utm(10), 50),  # exactly 50 pixels of 100 m²: those stay
        (UTM, utm(30), 6),  # 5.56 pixels
        (UTM, utm(29.999999999999), 6),
        (UTM, utm(9.999999999999), 50),  # noise of the transform does not make it 51
        (UTM, Affine(0, 10, 500_000, 10, 0, 4_200_000), 50),  # rotated, south-up
        ("EPSG:2225", Affine(100, 0, 6e6, 0, -100, 2e6), 6),  # US survey feet: 929.03 m²
        (UTM, utm(1000), 1),
    ],
)
def test_planar_grids_count_pixels(crs: str, transform: Affine, pixels: int) -> None:
    scale = scale_of(crs, transform, HALF_HECTARE, NINE)
    assert scale.by_row is None
    assert scale.steps(HALF_HECTARE) == pixels
    assert scale.steps(NINE) == 9
    assert scale.steps(Size(Fraction(5, 2), "px")) == 3


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:4326", Affine(1e-4, 0, 10, 0, -1e-4, 60)),
        ("EPSG:3857", Affine(10, 0, 1e6, 0, -10, 8e6)),
    ],
)
def test_ground_grids_count_square_millimeters(crs: str, transform: Affine) -> None:
    scale = scale_of(crs, transform, HALF_HECTARE)
    grid = Grid(CRS(crs), transform, 30, 20)
    assert scale.by_row is not None
    np.testing.assert_allclose(scale.by_row, area_model(grid).pixel_areas(grid) * 1e6, atol=0.5, rtol=0)
    assert (np.diff(scale.by_row) != 0).all()
    assert scale.steps(HALF_HECTARE) == 5_000_000_000
    with pytest.raises(ValueError, match="areas here"):
        scale.steps(NINE)


def test_units_in_pixels_count_pixels_in_every_crs() -> None:
    scale = scale_of("EPSG:4326", Affine(1e-4, 0, 10, 0, -1e-4, 60), NINE)
    assert scale.by_row is None
    assert scale.steps(NINE) == 9
    with pytest.raises(ValueError, match="differ in area"):
        scale.steps(HALF_HECTARE)


def test_pixels_and_areas_do_not_mix_where_pixels_differ() -> None:
    with pytest.raises(UsageError, match="give all sizes in ha or m2, or all in px"):
        scale_of("EPSG:4326", Affine(1e-4, 0, 10, 0, -1e-4, 60), NINE, HALF_HECTARE)


def test_the_whole_earth_fits() -> None:
    scale = scale_of("EPSG:4326", Affine(0.1, 0, -180, 0, -0.1, 90), HALF_HECTARE, shape=(1800, 3600))
    assert scale.by_row is not None
    total = int(scale.by_row.sum()) * 3600
    assert total < 2**62
    assert total * float(scale.step_m2 or 0) == pytest.approx(5.10065621724e14, rel=1e-9)  # WGS 84
    assert scale.steps(HALF_HECTARE) * float(scale.step_m2 or 0) == pytest.approx(5000, rel=1e-12)


def test_units_by_class() -> None:
    scale = scale_of(UTM, utm(10))
    unit = unit_of(HALF_HECTARE, {"class 0": NINE, "20": HALF_HECTARE}, ["class 2"], scheme=scheme(3), scale=scale)
    assert unit == Unit(50, {10: 9, 20: 50}, frozenset({30}))
    assert unit.of(np.array([10, 20, 30, 40], np.int32)).tolist() == [9, 50, 0, 50]
    assert unit_of(None, {}, [], scheme=scheme(1), scale=scale, connect=8) == Unit(0, connect=8)


def test_unknown_classes_are_refused() -> None:
    scale = scale_of(UTM, utm(10))
    with pytest.raises(UsageError, match="--mmu-class 'sea' is no class of this raster; it has: 10 class 0"):
        unit_of(None, {"sea": NINE}, [], scheme=scheme(1), scale=scale)
    with pytest.raises(UsageError, match="--keep-class 'sea'"):
        unit_of(None, {}, ["sea"], scheme=scheme(1), scale=scale)


def test_units_are_checked_at_birth() -> None:
    with pytest.raises(ValueError, match="connect=6"):
        Unit(1, connect=6)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="-1 is negative"):
        Unit(1, {2: -1})
    with pytest.raises(ValueError, match="negative"):
        Size(Fraction(-1), "px")
