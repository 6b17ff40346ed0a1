"""The component table does not depend on how the raster is cut into bands."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pytest
from engine_kit import NODATA, class_maps, text_codes
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from slow_arcs import components

from geoseg.polygons import survey as survey_module
from geoseg.polygons.arcs import NOTHING
from geoseg.polygons.components import Components
from geoseg.polygons.survey import Survey, run_ahead, survey


def rows_of(values: NDArray[Any]) -> Callable[[int, int], NDArray[Any]]:
    return lambda first, last: values[first:last]


def surveyed(codes: NDArray[Any], band_rows: int | None, **options: Any) -> Survey:
    return survey(rows_of(codes), codes.shape, nodata=NODATA, band_rows=band_rows, **options)


def slow_table(codes: NDArray[Any], scores: NDArray[Any]) -> list[tuple[int, ...]]:
    numbers = components(np.where(codes == NODATA, NOTHING, codes.astype(np.int64)))
    table: list[tuple[int, ...]] = []
    for number in range(numbers.max() + 1):
        places = np.flatnonzero(numbers == number)
        last_row = places[-1] // codes.shape[1]
        table.append((codes.flat[places[0]], len(places), places[0], last_row, scores.flat[places].sum(dtype=int)))
    return table


def as_rows(table: Components) -> list[tuple[int, ...]]:
    return list(zip(*(column.tolist() for column in astuple(table)), strict=True))


@given(class_maps(), st.integers(1, 9), st.booleans())
def test_the_table_is_that_of_the_whole_raster(codes: NDArray[Any], band_rows: int, keep_runs: bool) -> None:
    scores = np.random.default_rng(codes.size).integers(1, 256, codes.shape).astype(np.uint8)
    found = surveyed(codes, band_rows, read_scores=rows_of(scores), keep_runs=keep_runs)
    assert as_rows(found.components) == slow_table(codes, scores)
    assert surveyed(codes, band_rows).components.score_sum.sum() == 0
    numbers = components(np.where(codes == NODATA, NOTHING, codes.astype(np.int64)))
    above = np.full(codes.shape[1], NOTHING)
    for first, painted in found.painted_bands(rows_of(codes)):
        np.testing.assert_array_equal(painted[0, 1:-1], above)
        np.testing.assert_array_equal(painted[1:, 1:-1], numbers[first : first + band_rows])
        assert (painted[:, [0, -1]] == NOTHING).all()
        above = numbers[first + len(painted) - 2]


U = text_codes("1.1 1.1 111")


def test_a_component_that_meets_itself_below_the_seam_is_one() -> None:
    assert as_rows(surveyed(U, 1).components) == [(1, 7, 0, 2, 0)]


def test_mutation_seam_union_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    unite = survey_module.unite_over_seams
    monkeypatch.setattr(survey_module, "unite_over_seams", lambda n, _: unite(n, []))
    assert len(surveyed(U, 1).components) == 5


def test_rows_are_read_once_in_order_and_not_again_when_runs_are_kept() -> None:
    codes, read = np.zeros((10, 3), np.uint8), []

    def read_rows(first: int, last: int) -> NDArray[Any]:
        read.append((first, last))
        return codes[first:last]

    kept = survey(read_rows, (10, 3), nodata=None, band_rows=4, keep_runs=True)
    assert len(list(kept.painted_bands(read_rows))) == 3
    assert read == [(0, 4), (4, 8), (8, 10)]
    assert len(list(replace(kept, runs=()).painted_bands(read_rows))) == 3
    assert read == [(0, 4), (4, 8), (8, 10)] * 2


def test_an_error_while_reading_comes_through() -> None:
    def broken(first: int, last: int) -> NDArray[Any]:
        raise OSError(f"row {first}")

    with pytest.raises(OSError, match="row 0"):
        survey(broken, (4, 4), nodata=None, band_rows=2)


def test_absorbed_adds_up_what_was_given_away() -> None:
    table = surveyed(text_codes("1122 3322 3344"), 2, read_scores=rows_of(np.full((3, 4), 10))).components
    assert as_rows(table) == [(1, 2, 0, 0, 20), (2, 4, 2, 1, 40), (3, 4, 4, 2, 40), (4, 2, 10, 2, 20)]
    after = table.absorbed(np.array([0, 1, 0, 1]), np.array([3, 2, 3, 4], np.int32))
    assert as_rows(after) == [(3, 6, 0, 2, 60), (2, 6, 2, 2, 60), (3, 0, 4, -1, 0), (4, 0, 10, -1, 0)]
    assert table.absorbed(np.array([0, NOTHING, 2, 2])).n_pixels.tolist() == [2, 0, 6, 0]


@pytest.mark.parametrize("final", [[1, 1, 2, 3], [0, 0, 1, 3], [0, 1, 2], [0, NOTHING, 1, 3]])
def test_final_numbers_that_cannot_be(final: list[int]) -> None:
    with pytest.raises(ValueError, match=r"inconsistent|operands"):
        surveyed(text_codes("1234"), None).components.absorbed(np.array(final))


def test_columns_of_unlike_length() -> None:
    table = surveyed(text_codes("1234"), None).components
    with pytest.raises(ValueError, match=r"columns of \[3, 4\] rows for 4 components"):
        replace(table, first=table.first[:3])


def test_who_drops_the_results_does_not_wait_for_the_threads() -> None:
    """The collector of garbage may be the one who drops them, where waiting for a thread can be for good."""
    go, late = threading.Event(), threading.Event()
    rescue = threading.Timer(30, lambda: (late.set(), go.set()))
    rescue.start()
    results = run_ahead(lambda number: number == 0 or go.wait(), ((number,) for number in range(9)), threads=1)
    assert next(results)
    results.close()
    assert not late.is_set()
    go.set()
    rescue.cancel()
