"""Pixels of strata are counted and found alike however the raster is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from builders import NORTH_UP
from hypothesis import given
from hypothesis import strategies as st
from zone_kit import THREE, class_raster

from geoseg.accuracy.design import draw_ranks
from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.ground import area_model
from geoseg.io import strata as strata_module
from geoseg.io.class_raster import open_class_raster
from geoseg.io.strata import Strata, codes_at

LONLAT = {"crs": "EPSG:4326", "transform": NORTH_UP.__class__(0.1, 0, 10, 0, -0.1, 60)}


def maps(folder: Path, seed: int, **profile: object) -> tuple[Strata, np.ndarray, np.ndarray]:
    """Strata of a small map with holes, in half of the cases of another raster; (row, col) codes of both."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 14, 2))
    codes, others = (rng.choice([1, 2, 7, 255], shape, p=[0.5, 0.25, 0.15, 0.1]).astype(np.uint8) for _ in range(2))
    raster = open_class_raster(class_raster(folder / "map.tif", codes, **profile))
    if seed % 2:
        return Strata(raster), codes, codes
    strata = open_class_raster(class_raster(folder / "strata.tif", others, **profile))
    return Strata(raster, strata), codes, np.where(codes == 255, 255, others)


def bands_of(height: int, width: int, rows: int) -> list[Window]:
    return [Window(0, row, width, min(rows, height - row)) for row in range(0, height, rows)]


def agrees(folder: Path, seed: int, rows: int) -> bool:
    """True when counts, areas and places are those that the whole array gives."""
    strata, codes, member = maps(folder, seed, **LONLAT)
    grid = strata.grid
    counts = strata.count(bands_of(grid.height, grid.width, rows))
    row_m2 = area_model(grid).pixel_areas(grid)
    ranks, expected = [], []
    for index, code in enumerate(THREE.codes):
        places = np.flatnonzero(member.ravel() == code)
        area = (row_m2[:, None] * (member == code)).sum()
        if counts.pixels[index] != len(places) or not np.isclose(counts.area_m2[index], area):
            return False
        ranks.append(draw_ranks(seed, code, len(places), min(4, len(places))))
        row, col = np.divmod(places[ranks[-1]], grid.width)
        expected += [(index, *place) for place in zip(row, col, codes[row, col], strict=True)]
    return sorted(map(tuple, strata.locate(counts, ranks).T.tolist())) == sorted(expected)


@given(st.integers(0, 2**32), st.integers(1, 14))
def test_pixels_are_the_same_for_all_bands(tmp_path_factory, seed, rows) -> None:
    assert agrees(tmp_path_factory.mktemp("strata"), seed, rows)


def test_mutation_ranks_that_start_anew_in_each_band_turn_it_red(tmp_path, monkeypatch) -> None:
    """Named mutation: what lies above a band is not counted."""
    ends = strata_module._ends
    monkeypatch.setattr(strata_module, "_ends", lambda before, counts, band: ends(0 * before, counts, band))
    assert not all(agrees(tmp_path, seed, 2) for seed in range(1, 9))


def test_areas_of_planar_maps_are_exact(tmp_path) -> None:
    strata = Strata(open_class_raster(class_raster(tmp_path / "m.tif", [[1, 1, 2], [7, 1, 255]])))
    assert strata.count().area_m2.tolist() == [300, 100, 100]


def test_strata_must_lie_on_the_maps_grid(tmp_path) -> None:
    raster = open_class_raster(class_raster(tmp_path / "m.tif", [[1, 2]]))
    moved = NORTH_UP @ NORTH_UP.translation(0.5, 0)
    other = open_class_raster(class_raster(tmp_path / "s.tif", [[1, 2]], transform=moved))
    with pytest.raises(InputError, match=r"strata .*s\.tif are not on the grid of .*m\.tif"):
        Strata(raster, other)


def test_thousands_of_classes_are_no_strata(tmp_path) -> None:
    from builders import write_raster

    path = write_raster(tmp_path / "ids.tif", np.arange(1200, dtype=np.uint16).reshape(30, 40))
    with pytest.raises(InputError, match="1200 classes, at most 1000 can be strata: merge them with --legend"):
        Strata(open_class_raster(path))


def test_a_raster_that_changed_is_noticed(tmp_path) -> None:
    path = class_raster(tmp_path / "m.tif", [[1, 2], [1, 7]])
    strata = Strata(open_class_raster(path))
    counts = strata.count()
    class_raster(path, [[2, 2], [2, 7]])
    with pytest.raises(InputError, match="changed while they were sampled"):
        strata.locate(counts, [np.array([1]), np.array([0]), np.array([0])])


def test_codes_of_single_pixels(tmp_path, monkeypatch) -> None:
    codes = np.random.default_rng(1).choice([1, 2, 7, 255], (40, 9)).astype(np.uint8)
    raster = open_class_raster(class_raster(tmp_path / "m.tif", codes))
    rows, cols = np.random.default_rng(2).integers(0, 9, (2, 50))
    monkeypatch.setattr(strata_module, "row_bands", lambda grid: bands_of(grid.height, grid.width, 3))
    assert codes_at(raster, rows * 4, cols).tolist() == codes[rows * 4, cols].tolist()
    assert codes_at(raster, rows[:0], cols[:0]).tolist() == []
