"""What objects leave over and is below the minimum mapping unit goes to neighbors; objects only receive."""

from __future__ import annotations

import numpy as np
from engine_kit import text_codes
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_mmu import number, patches, slow_mmu
from test_survey import rows_of

from geoseg.polygons.adjacency import survey_neighbors
from geoseg.polygons.mmu import Generalized, generalize
from geoseg.polygons.mmu_size import Unit
from geoseg.polygons.survey import survey

CODE_OF = np.array([0, 1, 2, 1, 1, 2], np.int32)
"""(cell,) code of its class; cells 3, 4, 5 are objects."""
NODATA, FIRST_OBJECT = 255, 1000


def filled(
    cells: np.ndarray, unit: Unit, rows: int = 99, *, apart: bool = True
) -> tuple[np.ndarray, np.ndarray, Generalized]:
    """(row, col) class codes and names of components, and the table; apart=False: objects are land like the rest."""
    read = rows_of(cells)
    found = survey(read, cells.shape, nodata=NODATA, band_rows=rows)
    table = found.components
    graph, sizes = survey_neighbors(found.painted_bands(read), len(table), diagonals=unit.connect == 8)
    objects = table.code >= 3 if apart else None
    result = generalize(CODE_OF[table.code], sizes, table.first, graph, unit, objects)
    numbers = np.concatenate([painted[1:, 1:-1] for _, painted in found.painted_bands(read)])
    return np.append(result.code, NODATA)[numbers], np.append(result.final, -1)[numbers], result


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_it_is_the_law_of_units_with_objects_as_kept_classes_of_their_own(seed: int, rows: int) -> None:
    """The mutation below, objects that are land like the rest, turns it red."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(np.array([*range(6), NODATA], np.uint8), rng.integers(1, 9, 2), p=[0.15] * 6 + [0.1])
    block = int(rng.choice([1, 1, 2, 3]))
    cells = cells.repeat(block, axis=0).repeat(block, axis=1)[:9, :9]
    unit = Unit(
        int(rng.integers(0, 12)),
        {1: int(rng.integers(0, 9))},
        frozenset({2} if rng.random() < 0.2 else ()),
        8 if rng.random() < 0.5 else 4,
    )
    own = np.where(cells == NODATA, NODATA, CODE_OF[np.minimum(cells, 5)]).astype(np.int64)
    whole = [patch for patch in patches(cells, NODATA) if patch.code >= 3]
    for i, patch in enumerate(whole):
        own[patch.pixels] = FIRST_OBJECT + i
    kept = Unit(
        unit.default, unit.by_code, unit.keep | set(range(FIRST_OBJECT, FIRST_OBJECT + len(whole))), unit.connect
    )
    expected = slow_mmu(own, NODATA, kept)
    code, names, _ = filled(cells, unit, rows)
    class_of = np.array([CODE_OF[patch.code] for patch in whole] or [0])
    land = expected < FIRST_OBJECT
    np.testing.assert_array_equal(code, np.where(land, expected, class_of[np.where(land, 0, expected - FIRST_OBJECT)]))
    regions = patches(expected, NODATA)
    before, after = number(cells, NODATA), number(expected, NODATA)
    starts = np.array([before.ravel()[patch.first] for patch in regions] or [0])
    np.testing.assert_array_equal(names[after >= 0], starts[after[after >= 0]])


PARCELS = text_codes("330244 330144 330044")
PARCELS[:, 2:4] = [[0, 2], [0, 1], [0, 0]]


def test_two_fields_by_hand() -> None:
    """Fields 3 and 4 with 4 pixels of ground between them, one of class 2, and one of class 1 that is no object.

    The one of class 2 has three neighbors with a border of 1 and goes to the largest; the other then shares borders of
    2 with ground and field.
    """
    code, names, table = filled(PARCELS, Unit(3))
    assert code.tolist() == [[1, 1, 0, 1, 1, 1], [1, 1, 0, 1, 1, 1], [1, 1, 0, 0, 1, 1]]
    assert np.unique(names[code == 1]).tolist() == [names[0, 0], names[0, 3]]
    assert names[1, 3] == names[0, 4] == names[0, 3]
    assert table.changed == {(2, 1): 1}


def test_objects_of_one_class_stay_apart_where_a_sliver_joins_them() -> None:
    """Named mutation: objects are land like the rest; what a sliver touches becomes one."""
    cells = text_codes("33044 33044")
    code, names, _ = filled(cells, Unit(5))
    assert (code == 1).all()
    assert len(np.unique(names)) == 2
    _, names, _ = filled(cells, Unit(5), apart=False)
    assert len(np.unique(names)) == 1
