"""`--max-vertices`: no polygon has more, the coverage stays exact and valid, and no band shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import rasterio.features
import scipy.ndimage  # type: ignore[import-untyped]
import shapely
from engine_kit import NODATA, SHAPES, class_maps, text_codes
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from slow_arcs import components
from test_coverage import merged_at_random

from geoseg.errors import InputError, UsageError
from geoseg.polygons import cut as cut_module
from geoseg.polygons.arcs import NOTHING, Arcs
from geoseg.polygons.components import Components
from geoseg.polygons.coverage import coverage
from geoseg.polygons.cut import Parts, cut
from geoseg.polygons.cut_kernels import Cuts, paint_cells
from geoseg.polygons.rings import PolygonBatch
from geoseg.polygons.simplify import Lenses, simplify_arcs
from geoseg.polygons.smooth import UNIT, smooth_arcs
from geoseg.polygons.survey import survey
from geoseg.polygons.vertex_bits import VertexBits

Codes = NDArray[Any]


def parts_of(codes: Codes, most: int, band_rows: int | None = None, **merged: Any) -> Parts:
    def read_rows(first: int, last: int) -> Codes:
        return codes[first:last]

    found = survey(read_rows, codes.shape, nodata=NODATA, band_rows=band_rows, read_scores=read_rows)
    return cut(read_rows, found, most, **merged)


def batches_of(parts: Parts, **options: Any) -> list[PolygonBatch]:
    drawn = coverage(parts.read_rows, parts.surveyed, final=parts.final, code=parts.code, **options)
    return [parts.described(batch) for batch in drawn]


def rings_of(batches: list[PolygonBatch]) -> list[tuple[Any, ...]]:
    """Owner's row of the table and rings of all parts, as bytes."""
    out = []
    for batch in batches:
        for i in range(len(batch)):
            first, last = batch.polygon_starts[i : i + 2]
            starts = batch.ring_starts[first : last + 1]
            lines = tuple(batch.corners[starts[j] : starts[j + 1]].tobytes() for j in range(last - first))
            out.append((tuple(int(getattr(batch.components, name)[i]) for name in Components.__annotations__), lines))
    return sorted(out)


def geometry_of(batches: list[PolygonBatch]) -> NDArray[np.object_]:
    return np.concatenate([batch.geometry() for batch in batches])


def column(batches: list[PolygonBatch], name: str) -> NDArray[np.int64]:
    return np.concatenate([getattr(batch.components, name) for batch in batches])


def n_vertices(geometry: NDArray[np.object_]) -> NDArray[np.int64]:
    """Of each polygon, without the repeated last vertex of every ring."""
    return np.asarray(shapely.get_num_coordinates(geometry) - shapely.get_num_interior_rings(geometry) - 1)


def assert_laws(codes: Codes, most: int, batches: list[PolygonBatch]) -> None:
    geometry, code, first = geometry_of(batches), column(batches, "code"), column(batches, "first")
    back = np.full(codes.shape, NODATA, np.uint8)
    if len(geometry):
        rasterio.features.rasterize(zip(geometry, code.tolist(), strict=True), out=back)
    np.testing.assert_array_equal(back, codes)
    assert n_vertices(geometry).max(initial=0) <= most
    assert shapely.is_valid(geometry).all()
    assert shapely.coverage_is_valid(geometry)
    assert shapely.area(geometry).sum() == (codes != NODATA).sum()
    numbers = components(np.where(codes == NODATA, NOTHING, codes.astype(np.int64)))
    firsts = np.unique(numbers[numbers >= 0], return_index=True)[1]
    firsts = np.flatnonzero(numbers.ravel() >= 0)[firsts]
    assert sorted(set(first.tolist())) == sorted(firsts.tolist())
    for at in firsts.tolist():
        mine = first == at
        assert set(column(batches, "n_pixels")[mine]) == {shapely.area(geometry[mine]).sum()}
        assert set(column(batches, "score_sum")[mine]) == {codes[numbers == numbers.ravel()[at]].sum(dtype=np.int64)}


@given(class_maps(most=14, classes=2), st.integers(4, 40), st.integers(1, 14))
def test_laws_of_random_maps(codes: Codes, most: int, band_rows: int) -> None:
    batches = batches_of(parts_of(codes, most, band_rows))
    assert_laws(codes, most, batches)
    assert rings_of(batches) == rings_of(batches_of(parts_of(codes, most)))


@pytest.mark.parametrize("most", [4, 6, 9])
@pytest.mark.parametrize("name", SHAPES)
def test_laws_of_special_shapes(name: str, most: int) -> None:
    codes = text_codes(SHAPES[name])
    whole = rings_of(batches_of(parts_of(codes, most)))
    for band_rows in range(1, len(codes) + 1):
        batches = batches_of(parts_of(codes, most, band_rows))
        assert_laws(codes, most, batches)
        assert rings_of(batches) == whole


def slow_cells(codes: Codes, most: int) -> NDArray[np.int64]:
    """The rule in words, on pixels: split what is too long by the next smaller fitting blocks, count again."""
    whole = components(np.where(codes == NODATA, NOTHING, codes.astype(np.int64)))
    cells = [(number, 31, 0, 0) for number in range(whole.max(initial=NOTHING) + 1)]
    rows, cols = np.indices(codes.shape)
    while True:
        pieces, split = np.full(codes.shape, NOTHING, np.int64), {}
        for number, level, row, col in cells:
            inside = (whole == number) & (rows >> level == row) & (cols >> level == col)
            labels, n = scipy.ndimage.label(inside)
            pieces[labels > 0] = labels[labels > 0] + pieces.max() + (pieces.max() < 0) - 1 + (pieces.max() >= 0)
            for k in range(1, n + 1):
                split.setdefault((number, level, row, col), []).append(labels == k)
        wishes = {
            cell: [wish for piece in inside if (wish := wished(pieces, piece, most)) is not None]
            for cell, inside in split.items()
        }
        if not any(wishes.values()):
            return pieces
        cells = []
        for (number, level, row, col), wished_levels in wishes.items():
            if not wished_levels:
                cells.append((number, level, row, col))
                continue
            finer = max(wished_levels)
            inside = (whole == number) & (rows >> level == row) & (cols >> level == col)
            blocks = {(int(y), int(x)) for y, x in zip(rows[inside] >> finer, cols[inside] >> finer, strict=True)}
            cells += [(number, finer, y, x) for y, x in sorted(blocks)]


def wished(pieces: NDArray[np.int64], piece: NDArray[np.bool_], most: int) -> int | None:
    padded, mine = np.pad(pieces, 1, constant_values=NOTHING), np.pad(piece, 1)
    n = 0
    for y, x in np.ndindex(padded.shape[0] - 1, padded.shape[1] - 1):
        around = [(y, x), (y, x + 1), (y + 1, x + 1), (y + 1, x)]
        values, own = [padded[at] for at in around], [mine[at] for at in around]
        straight = (values[0] == values[1] and values[2] == values[3]) or (
            values[0] == values[3] and values[1] == values[2]
        )
        n += 0 if straight else sum(own[i] and not own[i - 1] for i in range(4))
    if n <= most:
        return None
    extent = max(np.ptp(at) + 1 for at in np.nonzero(piece))
    level, finer = 0, 1
    while 2**level < extent:
        level += 1
    while most * 4**finer < n:
        finer += 1
    return max(0, level - finer)


@given(class_maps(most=10, classes=2), st.integers(4, 30))
def test_parts_are_those_of_the_rule(codes: Codes, most: int) -> None:
    parts = parts_of(codes, most)
    got = np.full(codes.shape, NOTHING, np.int64)
    for first, painted in parts.surveyed.painted_bands(parts.read_rows, parts.final):
        got[first : first + len(painted) - 1] = painted[1:, 1:-1]
    expected = slow_cells(codes, most)
    pairs = np.unique(np.stack([got.ravel(), expected.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(got)) == len(np.unique(expected))


def test_a_cut_by_hand() -> None:
    """A frame of 8 × 4 pixels around another class.

    Its 8 vertices are one too many: blocks of 4 make two U of it, which have 8 again, blocks of 2 four parts of each.
    Eight cut ends then lie on the 4 corners' outline inside: blocks of 4 make two of it, each with 4 corners and 3
    cut ends; the fourth would be in the middle of its east or west side, where there is no frame.
    """
    codes = text_codes("11111111 12222221 12222221 11111111")
    assert [len(batch) for batch in batches_of(parts_of(codes, 8))] == [1, 1]
    batches = batches_of(parts_of(codes, 7))
    assert_laws(codes, 7, batches)
    first, count = column(batches, "first"), n_vertices(geometry_of(batches))
    assert sorted(count[first == 0].tolist()) == [4, 4, 4, 4, 6, 6, 6, 6]
    assert count[first == 9].tolist() == [7, 7]
    assert set(column(batches, "n_pixels")[first == 0]) == {20}


@given(class_maps(), st.integers(0, 2**32 - 1), st.integers(4, 12))
def test_merged_components_are_cut(codes: Codes, seed: int, most: int) -> None:
    numbers = components(np.where(codes == NODATA, NOTHING, codes.astype(np.int64)))
    final = merged_at_random(numbers, np.random.default_rng(seed))
    code = np.arange(len(final), dtype=np.int32)
    batches = batches_of(parts_of(codes, most, 2, final=final, code=code))
    geometry = geometry_of(batches)
    assert n_vertices(geometry).max(initial=0) <= most
    assert shapely.coverage_is_valid(geometry)
    back = np.full(codes.shape, NOTHING, np.int32)
    if len(geometry):
        rasterio.features.rasterize(zip(geometry, column(batches, "code").tolist(), strict=True), out=back)
    np.testing.assert_array_equal(back, np.append(final, NOTHING)[numbers])


@given(class_maps(most=16), st.integers(4, 20), st.sampled_from([0.0, 1.1, 4.0, np.inf]), st.booleans())
def test_simplified_and_smoothed_parts_are_valid(codes: Codes, most: int, tolerance: float, smooth: bool) -> None:
    parts = parts_of(codes, most, 5)
    bits, lenses = VertexBits(*codes.shape), Lenses(parts.table.last_row)

    def shape_arcs(arcs: Arcs) -> Arcs:
        lenses.add(arcs)
        arcs = simplify_arcs(arcs, bits, lenses, tolerance_px2=tolerance)
        return smooth_arcs(arcs, bits) if smooth else arcs

    geometry = geometry_of(batches_of(parts, see_vertices=bits.add, shape_arcs=shape_arcs))
    assert len(geometry) == len(parts.owner)
    assert shapely.is_valid(geometry).all()
    assert shapely.coverage_is_valid(geometry)
    assert shapely.area(geometry).sum() == (codes != NODATA).sum() * (UNIT**2 if smooth else 1)
    assert n_vertices(geometry).max(initial=0) <= most * (2 if smooth else 1)


def test_what_is_small_enough_is_left_alone() -> None:
    codes = text_codes(SHAPES["spiral"])
    parts = parts_of(codes, 1000)
    assert parts.final is None
    assert parts.owner.tolist() == list(range(len(parts.surveyed.components)))
    assert len(geometry_of(batches_of(parts))) == len(parts.owner)


def count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted, rounds = cut_module._outline, [0]

    def once(parts: Parts) -> Any:
        outline = counted(parts)
        rounds[0] += 1
        return outline if rounds[0] < 2 else outline._replace(n_vertices=np.zeros_like(outline.n_vertices))

    monkeypatch.setattr(cut_module, "_outline", once)


def test_mutation_parts_are_not_counted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut gives the neighbors vertices: one round is not enough."""
    codes = np.random.default_rng(0).integers(0, 2, (64, 64)).astype(np.uint8)
    assert_laws(codes, 8, batches_of(parts_of(codes, 8)))
    count_once(monkeypatch)
    with pytest.raises(AssertionError):
        assert_laws(codes, 8, batches_of(parts_of(codes, 8)))


def test_mutation_neighboring_cells_look_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = text_codes("11111111 12121212 11111111 12121212 11111111")
    n_parts, painted = len(parts_of(codes, 12).owner), cut_module.paint_cells

    def blurred(cuts: Any, numbers: Any, first: int, out: Any) -> None:
        painted(cuts, numbers, first, out)
        out[out != NOTHING] &= ~1

    count_once(monkeypatch)
    monkeypatch.setattr(cut_module, "paint_cells", blurred)
    assert len(parts_of(codes, 12).owner) < n_parts


def test_cells_of_high_numbers_stay_apart() -> None:
    """Component numbers go up to 2³¹, codes of cells beyond."""
    numbers, cells = np.array([[2**31 - 2, 2**30 - 2, 2**31 - 2, NOTHING]], np.int32), np.empty((1, 4), np.int64)
    none = Cuts(np.broadcast_to(np.int64(0), 2**31), np.zeros(0, np.int64), np.zeros(0, np.int8))
    paint_cells(none, numbers, 0, cells)
    assert cells.tolist() == [[((2**31 - 2) << 6) + 62, ((2**30 - 2) << 6) + 62, ((2**31 - 2) << 6) + 62, NOTHING]]


def test_limits_that_cannot_be_kept() -> None:
    with pytest.raises(UsageError, match="--max-vertices 3: one pixel has 4 vertices"):
        parts_of(text_codes("12"), 3)
    wide = survey(lambda first, last: np.ones((last - first, 3), np.uint8), (2, 3), nodata=None)
    object.__setattr__(wide, "shape", (2**29, 3))
    with pytest.raises(InputError, match=r"536870912 × 3 pixels cannot be cut"):
        cut(lambda first, last: np.ones((last - first, 3), np.uint8), wide, 4)


def test_rows_out_of_order_are_refused() -> None:
    parts = parts_of(text_codes(SHAPES["comb"]), 4, 1)
    parts.read_rows(0, 1)
    with pytest.raises(ValueError, match="rows 2 … 2 were read out of order: the next are from 1 on"):
        parts.read_rows(2, 3)
