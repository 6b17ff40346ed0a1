from __future__ import annotations

import numpy as np
import pytest
import shapely
from pyproj import CRS, Geod
from zone_kit import THREE, in_memory

from geoseg.classes import ClassScheme, LandClass
from geoseg.errors import InputError
from geoseg.zones.table import ZoneTable, areas_m2, joined

SQUARES = [shapely.box(0, 0, 1, 1), shapely.box(2, 0, 3, 1)]
GRAY = (9, 9, 9)


def table(scheme: ClassScheme, class_m2: list[list[float]], nodata: list[float], outside: list[float]) -> ZoneTable:
    return ZoneTable(
        in_memory(SQUARES[: len(class_m2)]), scheme, np.array(class_m2), np.array(nodata), np.array(outside)
    )


def test_columns_by_hand() -> None:
    found = table(THREE, [[30_000, 10_000, 0], [0, 0, 0]], [5_000, 0], [0, 20_000]).columns()
    assert found == {
        "zone": [0, 1],
        "zone_ha": [4.5, 2.0],
        "observed_ha": [4.0, 0.0],
        "unobserved_ha": [0.5, 2.0],
        "water_ha": [3.0, 0.0],
        "trees_ha": [1.0, 0.0],
        "bare_ha": [0.0, 0.0],
        "water_pct": [75.0, None],
        "trees_pct": [25.0, None],
        "bare_pct": [0.0, None],
    }
    assert list(found)[:6] == ["zone", "zone_ha", "observed_ha", "unobserved_ha", "water_ha", "trees_ha"]
    assert list(found)[6:] == ["bare_ha", "water_pct", "trees_pct", "bare_pct"]


def test_columns_of_one_name_are_told_apart() -> None:
    names = ("observed", "Water", "water", "лес", "Zone")
    scheme = ClassScheme(tuple(LandClass(n, name, GRAY) for n, name in enumerate(names)))
    columns = list(table(scheme, [[1, 2, 3, 4, 5]], [0], [0]).columns())
    assert columns[4:9] == ["observed_0_ha", "Water_ha", "water_2_ha", "лес_ha", "Zone_4_ha"]
    assert len({column.casefold() for column in columns}) == len(columns)


def test_totals_add_zones() -> None:
    assert table(THREE, [[1, 2, 3], [10, 20, 30]], [0, 0], [0, 0]).totals_m2 == {"water": 11, "trees": 22, "bare": 33}


def test_tables_are_checked() -> None:
    with pytest.raises(ValueError, match="1 zones and 3 classes"):
        table(THREE, [[1, 2]], [0], [0])


def test_classes_are_joined_by_code_and_name() -> None:
    one = ClassScheme((LandClass(5, "b", GRAY), LandClass(1, "a", GRAY)))
    two = ClassScheme((LandClass(1, "a", (1, 2, 3)), LandClass(3, "c", GRAY)))
    both = joined([("one.tif", one), ("two.tif", two)])
    assert list(zip(both.codes, both.names, strict=True)) == [(1, "a"), (3, "c"), (5, "b")]
    assert both.by_code(1).color == GRAY


@pytest.mark.parametrize("other", [LandClass(1, "x", GRAY), LandClass(2, "a", GRAY)])
def test_classes_that_contradict_are_refused(other: LandClass) -> None:
    one, two = ClassScheme((LandClass(1, "a", GRAY),)), ClassScheme((other,))
    with pytest.raises(
        InputError, match=rf"class {other.code} '{other.name}' of two\.tif is 1 'a' in one\.tif.*--legend"
    ):
        joined([("one.tif", one), ("two.tif", two)])


def test_areas_are_ground_areas_less_holes() -> None:
    holed = shapely.box(10, 40, 10.4, 40.4).difference(shapely.box(10.1, 40.1, 10.2, 40.2))
    several = shapely.MultiPolygon([shapely.box(0, 0, 0.1, 0.1), shapely.box(1, 1, 1.1, 1.1)])
    found = areas_m2(np.array([holed, shapely.Polygon(), several]), CRS(4326))
    geod = Geod(ellps="WGS84")
    dense = (shapely.segmentize(shapely.orient_polygons(g), 1e-3) for g in (holed, several))
    expected = [abs(geod.geometry_area_perimeter(g)[0]) for g in dense]
    assert found[[0, 2]] == pytest.approx(expected, rel=1e-7)
    assert found[1] == 0
    feet = areas_m2(np.array([shapely.box(9e5, 2e5, 9.1e5, 2.1e5)]), CRS(2263))
    assert feet == pytest.approx([1e8 * (1200 / 3937) ** 2], rel=1e-12)
