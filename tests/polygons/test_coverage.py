"""Laws 4 and 5 of the design: the polygons are the class map, exactly, and fit together, for every tiling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import rasterio.features
import scipy.ndimage  # type: ignore[import-untyped]
import shapely
from engine_kit import NODATA, SHAPES, class_maps, interpreted, text_codes
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely.geometry import shape
from slow_arcs import components, slow_arcs

from geoseg.polygons import ring_kernels, rings
from geoseg.polygons import survey as survey_module
from geoseg.polygons.arcs import NOTHING, Arcs
from geoseg.polygons.components import Components
from geoseg.polygons.coverage import coverage, trace_array
from geoseg.polygons.rings import ArcPool, PolygonBatch
from geoseg.polygons.survey import survey

Codes = NDArray[Any]


def in_bands(codes: Codes, band_rows: int | None = None, **options: Any) -> list[PolygonBatch]:
    def read_rows(first: int, last: int) -> Codes:
        return codes[first:last]

    found = survey(read_rows, codes.shape, nodata=NODATA, band_rows=band_rows)
    return list(coverage(read_rows, found, **options))


def by_number(batches: list[PolygonBatch]) -> dict[int, tuple[Any, ...]]:
    """Component number → its rings as bytes and its row of the table."""
    out: dict[int, tuple[Any, ...]] = {}
    for batch in batches:
        assert (np.diff(batch.numbers) > 0).all()
        for i, number in enumerate(batch.numbers.tolist()):
            first, last = batch.polygon_starts[i : i + 2]
            starts = batch.ring_starts[first : last + 1]
            line = [batch.corners[starts[j] : starts[j + 1]].tobytes() for j in range(last - first)]
            row = tuple(int(getattr(batch.components, name)[i]) for name in Components.__annotations__)
            assert number not in out
            out[number] = (line, row)
    return out


def upright(batch: PolygonBatch) -> NDArray[np.object_]:
    """The polygons as a north-up map shows them: y grows upward."""
    flipped: NDArray[np.object_] = shapely.transform(batch.geometry(), lambda xy: xy * (1, -1))
    return flipped


def assert_laws(codes: Codes, batch: PolygonBatch) -> None:
    geometry, table = batch.geometry(), batch.components
    back = np.full(codes.shape, NODATA, np.uint8)
    if len(batch):
        pairs = zip(geometry, table.code.tolist(), strict=True)
        rasterio.features.rasterize(pairs, out=back)
    np.testing.assert_array_equal(back, codes)
    for code in np.unique(codes[codes != NODATA]).tolist():
        mine = table.code == code
        assert mine.sum() == scipy.ndimage.label(codes == code)[1]
        assert shapely.area(geometry[mine]).sum() == (codes == code).sum()
    np.testing.assert_array_equal(shapely.area(geometry), table.n_pixels)
    assert shapely.is_valid(geometry).all()
    assert shapely.coverage_is_valid(geometry)
    standing = upright(batch)
    assert shapely.is_ccw(shapely.get_exterior_ring(standing)).all()
    for polygon in standing:
        assert not any(hole.is_ccw for hole in polygon.interiors)
    assert_same_as_gdal(codes, batch)


def assert_same_as_gdal(codes: Codes, batch: PolygonBatch) -> None:
    found = []
    for polygon, code in rasterio.features.shapes(codes, mask=codes != NODATA, connectivity=4):
        row, col = min((y, x) for x, y in polygon["coordinates"][0])
        found.append((int(row * codes.shape[1] + col), int(code), shape(polygon)))
    found.sort(key=lambda item: item[0])
    assert batch.components.first.tolist() == [first for first, _, _ in found]
    assert batch.components.code.tolist() == [code for _, code, _ in found]
    assert shapely.equals(batch.geometry(), np.array([polygon for _, _, polygon in found], object)).all()


@given(class_maps(most=12, classes=3))
def test_laws_of_random_maps(codes: Codes) -> None:
    assert_laws(codes, trace_array(codes, NODATA))


@pytest.mark.parametrize("name", SHAPES)
def test_laws_of_special_shapes(name: str) -> None:
    codes = text_codes(SHAPES[name])
    assert_laws(codes, trace_array(codes, NODATA))


def test_laws_of_a_large_map() -> None:
    """Large enough that arcs are forgotten on the way, and that lists grow."""
    codes = np.random.default_rng(4).integers(0, 4, (300, 200)).astype(np.uint8).repeat(2, axis=1)
    codes[codes == 3] = NODATA
    codes[:, 5] = 9  # stays open to the end, as a river or a road does, with old arcs and junctions
    whole = trace_array(codes, NODATA)
    assert len(whole) > 10_000
    assert_laws(codes, whole)
    for band_rows in (1, 7, 64):
        assert by_number(in_bands(codes, band_rows)) == by_number([whole])


@given(class_maps())
def test_every_band_height_gives_the_same_bytes(codes: Codes) -> None:
    whole = by_number([trace_array(codes, NODATA)])
    for band_rows in range(1, len(codes) + 1):
        assert by_number(in_bands(codes, band_rows)) == whole


@pytest.mark.parametrize("name", SHAPES)
def test_special_shapes_in_every_band_height(name: str) -> None:
    codes = text_codes(SHAPES[name])
    whole = by_number([trace_array(codes, NODATA)])
    for band_rows in range(1, len(codes) + 1):
        assert by_number(in_bands(codes, band_rows)) == whole


def test_a_polygon_comes_with_the_band_that_passes_its_last_row() -> None:
    batches = in_bands(text_codes("12 12 13 44 44"), 1)
    assert [batch.numbers.tolist() for batch in batches] == [[], [], [1], [0, 2], [], [3]]


def test_touching_rings_by_hand() -> None:
    """A class around a hole that it touches itself at: exterior and hole share the corner (3, 3)."""
    batch = trace_array(text_codes(SHAPES["touches itself around a hole"]), NODATA)
    polygon = batch.geometry()[0]
    assert polygon.equals(
        shapely.Polygon(
            [(0, 0), (4, 0), (4, 3), (3, 3), (3, 4), (0, 4)],
            [[(1, 1), (1, 3), (3, 3), (3, 1)]],
        )
    )
    assert len(polygon.interiors) == 1
    assert batch.components.n_pixels.tolist() == [11, 3, 1, 1]


def test_vertices_stand_at_straight_t_junctions() -> None:
    batch = trace_array(text_codes("11 23"), NODATA)
    assert shapely.get_num_coordinates(batch.geometry()).tolist() == [6, 5, 5]


def test_nodata_none_and_skipped_classes() -> None:
    codes = text_codes("1.2 1.2")
    assert trace_array(codes, None).components.code.tolist() == [1, NODATA, 2]
    assert trace_array(codes, NODATA, [2]).components.code.tolist() == [1]
    assert len(trace_array(codes, 1, [2, NODATA])) == 0


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32"])
def test_codes_of_every_width(dtype: str) -> None:
    codes = np.array([[0, 1], [np.iinfo(dtype).max, 1]], dtype)
    assert trace_array(codes, 0).components.code.tolist() == [1, np.iinfo(dtype).max]


def merged_at_random(numbers: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """(component,) final numbers: neighbors given to one another, each set known by its smallest member."""
    final = np.arange(numbers.max(initial=NOTHING) + 1)
    right, down = (numbers[:, :-1], numbers[:, 1:]), (numbers[:-1], numbers[1:])
    pairs = np.concatenate([np.stack([a.ravel(), b.ravel()], 1) for a, b in (right, down)])
    for a, b in pairs[(pairs >= 0).all(axis=1) & (rng.random(len(pairs)) < 0.2)].tolist():
        one, other = sorted((final[a], final[b]))
        final[final == other] = one
    return final


@given(class_maps(), st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_merged_components_are_those_of_the_merged_raster(codes: Codes, seed: int, band_rows: int) -> None:
    numbers = components(np.where(codes == NODATA, NOTHING, codes.astype(np.int64)))
    final = merged_at_random(numbers, np.random.default_rng(seed))
    recoded = np.append(final, NOTHING)[numbers].astype(np.int32)
    expected = trace_array(recoded, NOTHING)
    got = in_bands(codes, band_rows, final=final, code=np.arange(len(final), dtype=np.int32))
    as_numbered = {int(expected.components.code[i]): i for i in range(len(expected))}
    want = by_number([expected])
    assert by_number(got) == {number: want[i] for number, i in as_numbered.items()}


def moved(arcs: Arcs) -> Arcs:
    """Inner vertices a quarter of a pixel to the lower right; ends, and rings' first vertices, stay."""
    ends = np.concatenate([arcs.starts[:-1], arcs.starts[1:] - 1])
    corners = arcs.corners + 0.25
    corners[ends] -= 0.25
    return replace(arcs, corners=corners)  # type: ignore[arg-type]


@given(class_maps())
def test_shaped_arcs_are_the_same_line_for_both_neighbors(codes: Codes) -> None:
    plain, shaped = in_bands(codes, 2), in_bands(codes, 2, shape_arcs=moved)
    for before, after in zip(plain, shaped, strict=True):
        np.testing.assert_array_equal(before.ring_starts, after.ring_starts)
        np.testing.assert_array_equal(before.numbers, after.numbers)
        assert set((after.corners - before.corners).ravel().tolist()) <= {0.0, 0.25}
    whole = np.concatenate([batch.geometry() for batch in shaped])
    assert shapely.coverage_is_valid(whole)


def test_vertices_are_seen_before_arcs_are_shaped() -> None:
    seen: set[tuple[int, ...]] = set()

    def shape_arcs(arcs: Arcs) -> Arcs:
        assert {tuple(corner) for corner in arcs.corners.tolist()} <= seen
        return arcs

    def see(vertices: NDArray[np.int32]) -> None:
        seen.update(map(tuple, vertices.tolist()))

    codes = text_codes(SHAPES["spiral"])
    in_bands(codes, 2, shape_arcs=shape_arcs, see_vertices=see)
    assert seen == set(map(tuple, slow_arcs(components(codes.astype(np.int64))).corners.tolist()))


def most_open_bytes(height: int) -> int:
    codes = np.random.default_rng(0).integers(0, 4, (height, 100)).astype(np.uint8)
    return max(batch.open_bytes for batch in in_bands(codes, 50))


def test_memory_is_that_of_what_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    assert most_open_bytes(8_000) < 1.2 * most_open_bytes(1_000)
    monkeypatch.setattr(ArcPool, "_compact", lambda _: None)  # mutation: nothing is ever forgotten
    assert most_open_bytes(8_000) > 4 * most_open_bytes(1_000)


@given(class_maps(), st.integers(1, 3))
def test_forgetting_what_is_written_changes_no_polygon(codes: Codes, band_rows: int) -> None:
    kept = by_number(in_bands(codes, band_rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rings, "_WORTH_COMPACTING", 0)
        assert by_number(in_bands(codes, band_rows)) == kept


def test_mutation_junctions_keep_their_old_places_turns_it_red(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named mutation: arcs that stay are not told where their junctions moved."""
    codes = np.random.default_rng(0).integers(0, 3, (60, 9)).astype(np.uint8)
    kept = by_number(in_bands(codes, 1))
    forget = rings.forget_gone

    def untold(web: Any, *lists: Any) -> tuple[int, int, int]:
        slots = web.slots[~web.gone.all(axis=1)]
        left: tuple[int, int, int] = forget(web, *lists)
        web.slots[: left[0]] = slots
        return left

    monkeypatch.setattr(rings, "_WORTH_COMPACTING", 0)
    assert by_number(in_bands(codes, 1)) == kept
    monkeypatch.setattr(rings, "forget_gone", untold)
    # Whatever comes of it: other rings, places beyond the lists, a ring without an end.
    monkeypatch.setattr(rings, "walk_rings", interpreted(ring_kernels)["walk_rings"])
    monkeypatch.setattr(rings, "link_halves", interpreted(ring_kernels)["link_halves"])
    with pytest.raises((AssertionError, IndexError)):
        assert by_number(in_bands(codes, 1)) == kept


def red(monkeypatch: pytest.MonkeyPatch, codes: Codes, **broken: Callable[..., Any]) -> None:
    """The laws notice a ring kernel that was replaced."""
    assert_laws(codes, trace_array(codes, NODATA))
    monkeypatch.setattr(rings, "walk_rings", interpreted(ring_kernels)["walk_rings"])
    assert_laws(codes, trace_array(codes, NODATA))
    monkeypatch.setattr(rings, "walk_rings", interpreted(ring_kernels, **broken)["walk_rings"])
    with pytest.raises(AssertionError):
        assert_laws(codes, trace_array(codes, NODATA))


def test_mutation_rings_never_cross_over(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = text_codes(SHAPES["touches itself around a hole"])
    red(monkeypatch, codes, turn=lambda edges, arrived: 1 if edges >> ((arrived + 1) & 3) & 1 else 2)


@pytest.mark.filterwarnings("ignore:Invalid or empty shape")
def test_mutation_rings_always_cross_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two components of one class that touch diagonally stay two: crossing over, one would run into the other."""

    def wide(edges: int, arrived: int) -> int:
        return 3 if edges & 15 == 15 else int(ring_kernels.turn(edges, arrived))

    red(monkeypatch, text_codes("1122 1122 2211 2211"), turn=wide)


def test_mutation_any_ring_is_the_exterior(monkeypatch: pytest.MonkeyPatch) -> None:
    def last_half(web: ring_kernels.Web, half: int) -> int:
        while web.next_half[half >> 1, half & 1] >= 0:
            half = int(web.next_half[half >> 1, half & 1])
        return half

    red(monkeypatch, text_codes(SHAPES["ring with island"]), _smallest_half=last_half)


def test_mutation_seam_union_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = text_codes(SHAPES["comb"])
    unite = survey_module.unite_over_seams
    monkeypatch.setattr(survey_module, "unite_over_seams", lambda n, _: unite(n, []))
    assert by_number(in_bands(codes, 2)) != by_number([trace_array(codes, NODATA)])


def test_mutation_vertices_at_t_junctions_dropped() -> None:
    """The law would notice: without collinear vertices the polygons are no coverage."""
    geometry = trace_array(text_codes(SHAPES["T junctions"]), NODATA).geometry()
    assert shapely.coverage_is_valid(geometry)
    assert not shapely.coverage_is_valid(shapely.simplify(geometry, 0))


def test_batches_that_cannot_be() -> None:
    batch = trace_array(text_codes("12"), NODATA)
    with pytest.raises(ValueError, match="offsets do not end"):
        replace(batch, ring_starts=batch.ring_starts[:-1])
    with pytest.raises(ValueError, match="1 numbers, 2 components, 2 polygons"):
        replace(batch, numbers=batch.numbers[:1])
