"""What takes more memory than it may is refused in one line, before it is taken."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import MemoryLimitError
from geoseg.polygons.coverage import coverage
from geoseg.polygons.rings import ArcPool
from geoseg.polygons.survey import BYTES_PER_COMPONENT, Survey, survey

NOISE = np.random.default_rng(0).integers(0, 2, (400, 500)).astype(np.uint8)
FOREST = (np.random.default_rng(1).random((800, 500)) < 0.1).astype(np.uint8)  # one component open to the end


def surveyed(codes: np.ndarray, most_bytes: int | None = None) -> Survey:
    return survey(
        lambda a, b: codes[a:b], codes.shape, nodata=None, band_rows=50, keep_runs=True, most_bytes=most_bytes
    )


def swept(codes: np.ndarray, most_bytes: int | None) -> int:
    """Number of polygons."""
    batches = coverage(lambda a, b: codes[a:b], surveyed(codes), most_bytes=most_bytes)
    return sum(len(batch) for batch in batches)


def test_open_arcs_are_refused_with_what_to_do() -> None:
    with pytest.raises(MemoryLimitError) as caught:
        swept(FOREST, 1_000_000)
    text = str(caught.value)
    assert "1.0 MB of memory are left" in text
    for way_out in ("--max-vertices", "--mmu", "--max-memory"):
        assert way_out in text
    assert "\n" not in text


def test_a_polygon_too_large_to_be_made_is_refused() -> None:
    n = len(surveyed(FOREST).components)
    pool_only = max(batch.open_bytes for batch in coverage(lambda a, b: FOREST[a:b], surveyed(FOREST)))
    with pytest.raises(MemoryLimitError, match=r"polygons with \d+ vertices need"):
        swept(FOREST, 2 * pool_only)
    assert swept(FOREST, 10**9) == n


@settings(max_examples=20, deadline=None)
@given(share=st.floats(0.05, 1.0))
def test_the_arcs_never_take_more_than_they_may(share: float) -> None:
    """Mutation: the check left out of `add`, see `test_mutation_arcs_are_not_counted`."""
    assert_bounded(int(share * 6e6))


def test_mutation_arcs_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ArcPool, "_check", lambda *_: None)
    with pytest.raises(AssertionError):
        assert_bounded(500_000)


def assert_bounded(most_bytes: int) -> None:
    """Either all polygons come and the open arcs stayed below the limit, or the limit is told."""
    largest = 0
    try:
        for batch in coverage(lambda a, b: FOREST[a:b], surveyed(FOREST), most_bytes=most_bytes):
            largest = max(largest, batch.open_bytes)
    except MemoryLimitError:
        pass
    assert largest <= most_bytes


def test_the_limit_changes_nothing_else() -> None:
    free = list(coverage(lambda a, b: NOISE[a:b], surveyed(NOISE)))
    bound = list(coverage(lambda a, b: NOISE[a:b], surveyed(NOISE), most_bytes=10**9))
    assert len(free) == len(bound)
    for one, other in zip(free, bound, strict=True):
        assert np.array_equal(one.corners, other.corners)
        assert np.array_equal(one.numbers, other.numbers)


def test_too_many_components_are_refused() -> None:
    n = len(surveyed(NOISE).components)
    with pytest.raises(MemoryLimitError, match=r"components needs .*--aoi"):
        surveyed(NOISE, n * BYTES_PER_COMPONENT // 2)
    assert len(surveyed(NOISE, 2 * n * BYTES_PER_COMPONENT).components) == n


def test_the_table_takes_what_is_said() -> None:
    """Bytes a component while the table is made, the map and its runs not counted."""
    codes = np.random.default_rng(2).integers(0, 4, (1500, 1500)).astype(np.uint8)
    warm = survey(lambda a, b: codes[a:b], (100, 1500), nodata=None, band_rows=50)
    tracemalloc.start()
    found = survey(lambda a, b: codes[a:b], codes.shape, nodata=None, band_rows=50)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.components) > 20 * len(warm.components) / 2
    bands = 20 * 50 * 1500 * 4
    assert peak < BYTES_PER_COMPONENT * len(found.components) + bands
