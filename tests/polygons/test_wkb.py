"""WKB as shapely writes and reads it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import shapely
from engine_kit import NODATA, SHAPES, class_maps, text_codes
from hypothesis import given

from geoseg.polygons.coverage import trace_array
from geoseg.polygons.wkb import bounds_of, polygon_sizes, write_wkb


def check(codes: np.ndarray) -> None:
    """Mutations seen red: byte order turned, rings counted for all polygons alike, one vertex less."""
    batch = trace_array(codes, NODATA)
    xy = batch.corners * 1.5 + 4e6
    data, offsets = write_wkb(xy, batch.ring_starts, batch.polygon_starts)
    found = [data[first:end].tobytes() for first, end in pairwise(offsets)]
    expected = shapely.transform(batch.geometry(), lambda corners: corners * 1.5 + 4e6)
    assert found == shapely.to_wkb(expected).tolist()
    assert np.diff(offsets).tolist() == polygon_sizes(batch.ring_starts, batch.polygon_starts).tolist()
    assert offsets[-1] == len(data)
    check_bounds(expected)
    check_bounds(np.append(expected, [shapely.multipolygons(expected), shapely.MultiPolygon()]))


def check_bounds(geometry: np.ndarray) -> None:
    """Mutation seen red: a multipolygon's head taken for a polygon's."""
    wkb = shapely.to_wkb(geometry).tolist()
    offsets = np.cumsum([0, *map(len, wkb)]).astype(np.int32)
    box = bounds_of(np.frombuffer(b"".join(wkb), np.uint8), offsets)
    empty = shapely.is_empty(geometry)
    assert np.array_equal(box[~empty], shapely.bounds(geometry[~empty]))
    assert np.isinf(box[empty]).all()


@pytest.mark.parametrize("name", SHAPES)
def test_special_shapes(name: str) -> None:
    check(text_codes(SHAPES[name]))


@given(class_maps())
def test_any_map(codes: np.ndarray) -> None:
    check(codes)
