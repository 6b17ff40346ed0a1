"""Objects: what `--split` makes of things is what its words say on the whole map, and no band shows in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import scipy.ndimage  # type: ignore[import-untyped]
import shapely
from engine_kit import NODATA, class_maps, interpreted, text_codes
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from slow_arcs import components
from slow_mmu import slow_mmu
from test_survey import rows_of

from geoseg.errors import MemoryLimitError
from geoseg.polygons import basins, landscape, outgrow
from geoseg.polygons import objects as objects_module
from geoseg.polygons.adjacency import survey_neighbors
from geoseg.polygons.arcs import NOTHING
from geoseg.polygons.coverage import coverage
from geoseg.polygons.landscape import stretches
from geoseg.polygons.mmu import generalize
from geoseg.polygons.mmu_size import Unit
from geoseg.polygons.objects import Cells, Landcover, instance_ids, survey_cells, write_hills, write_outgrown
from geoseg.polygons.survey import Survey, survey

Codes = NDArray[Any]
THINGS = {1, 2}


@dataclass(frozen=True)
class Divided:
    """A map with its objects."""

    instances: NDArray[np.int32]
    """(row, col)."""
    found: Survey
    cells: NDArray[np.int32]
    """(row, col)."""

    def rings(self) -> list[tuple[int, ...]]:
        """Table row and vertices of every polygon, ordered."""
        out = []
        for batch in coverage(rows_of(self.cells), self.found):
            for i, polygon in enumerate(batch.geometry()):
                row = (batch.components.first[i], batch.components.code[i], batch.components.score_sum[i])
                out.append((*map(int, row), polygon.wkb))
        return sorted(out)


def landcover(codes: Codes, band_rows: int | None, unit: int = 0) -> Landcover:
    read = rows_of(codes)
    found = survey(read, codes.shape, nodata=NODATA, band_rows=band_rows)
    table = found.components
    if not unit:
        return Landcover(found, table, None, read)
    graph, sizes = survey_neighbors(found.painted_bands(read), len(table))
    merged = generalize(table.code, sizes, table.first, graph, Unit(unit))
    return Landcover(found, table.absorbed(merged.final, merged.code), merged.final, read)


def finished(cover: Landcover, cells: Cells, written: NDArray[np.int32], scores: Codes) -> Divided:
    read = cells.reader(rows_of(written))
    found, objects = survey_cells(cover, cells, read, read_scores=rows_of(scores))
    ids = np.append(instance_ids(objects), 0)
    painted = np.concatenate([painted[1:, 1:-1] for _, painted in found.painted_bands(read)])
    return Divided(ids[painted].astype(np.int32), found, read(0, len(written)))


def scores_of(codes: Codes) -> NDArray[np.uint8]:
    return np.random.default_rng(codes.size + int(codes[0, 0])).integers(0, 256, codes.shape).astype(np.uint8)


def hilly(
    codes: Codes, radius: int, depth: float, band_rows: int | None = None, unit: int = 0, *, by_scores: bool = False
) -> Divided:
    cover, written, scores = landcover(codes, band_rows, unit), np.empty(codes.shape, np.int32), scores_of(codes)

    def write(first: int, numbers: NDArray[np.int32]) -> None:
        written[first : first + len(numbers)] = numbers

    read = rows_of(scores) if by_scores else None
    cells = write_hills(cover, cover.are(THINGS), radius, depth, write, read_scores=read)
    return finished(cover, cells, written, scores)


def grown(codes: Codes, radius: int, band_rows: int | None = None, unit: int = 0) -> Divided:
    cover, written = landcover(codes, band_rows, unit), np.empty(codes.shape, np.int32)

    def write(first: int, numbers: NDArray[np.int32]) -> None:
        written[first : first + len(numbers)] = numbers

    cells = write_outgrown(cover, cover.are(THINGS), cover.are({0}), radius, write)
    return finished(cover, cells, written, scores_of(codes))


def slow_distance(numbers: NDArray[np.int64], things: NDArray[np.bool_], radius: int) -> NDArray[np.int64]:
    """min(d, R)² by trying all pixels, the frame counted as rim."""
    framed = np.pad(numbers, 1, constant_values=NOTHING)
    places = np.argwhere(framed > -9)
    out = np.zeros(numbers.shape, np.int64)
    for row, col in np.argwhere(things):
        rim = places[framed[places[:, 0], places[:, 1]] != numbers[row, col]]
        out[row, col] = min(((rim - (row + 1, col + 1)) ** 2).sum(axis=1).min(), radius**2)
    return out


def slow_scores(scores: Codes, things: NDArray[np.bool_], radius: int) -> NDArray[np.int64]:
    arm = np.concatenate([np.arange(1, radius + 2), np.arange(radius, 0, -1)])
    summed = scipy.ndimage.convolve(
        np.where(things, scores.astype(np.int64), 0), np.outer(arm, arm), mode="constant", cval=0
    )
    return np.where(things, np.maximum(summed, 1), 0)


def slow_hills(numbers: NDArray[np.int64], heights: NDArray[np.int64], tall: Any, depth: float) -> NDArray[np.int64]:
    """(row, col) name of each pixel's object: walk uphill, then join the lower of two hills, highest saddle first."""
    shape, top = numbers.shape, {}

    def near(row: int, col: int) -> list[tuple[int, int]]:
        around = [(row - 1, col), (row, col - 1), (row, col + 1), (row + 1, col)]
        inside = [(y, x) for y, x in around if 0 <= y < shape[0] and 0 <= x < shape[1]]
        return [at for at in inside if numbers[at] == numbers[row, col]]

    def rank(at: tuple[int, int]) -> tuple[int, int, int]:
        return heights[at], -at[0], -at[1]

    for start in map(tuple, np.argwhere(heights > 0).tolist()):
        at = start
        while (best := max([at, *near(*at)], key=rank)) != at:
            at = best
        top[start] = at
    order = sorted(
        {peak: min(at for at in top if top[at] == peak) for peak in set(top.values())}.items(), key=lambda p: p[1]
    )
    number = {peak: i for i, (peak, _) in enumerate(order)}
    peak = [heights[at] for at, _ in order]
    saddles: dict[tuple[int, int], int] = {}
    for at in top:
        for other in near(*at):
            pair = tuple(sorted((number[top[at]], number[top[other]])))
            if pair[0] != pair[1]:
                saddles[pair] = max(saddles.get(pair, 0), min(heights[at], heights[other]))
    name = list(range(len(order)))

    def whole(hill: int) -> int:
        while name[hill] != hill:
            hill = name[hill]
        return hill

    for pair, saddle in sorted(saddles.items(), key=lambda item: (-item[1], item[0])):
        low, high = sorted((whole(pair[0]), whole(pair[1])), key=lambda hill: (peak[hill], -hill))
        if low != high and (tall(peak[low]) - tall(saddle) < depth or peak[low] == saddle):
            name[low] = high
    out = np.full(shape, NOTHING, np.int64)
    for at, peak_at in top.items():
        out[at] = whole(number[peak_at])
    return out


def slow_instances(names: NDArray[np.int64]) -> NDArray[np.int64]:
    """1, 2, … by first pixel."""
    found, first = np.unique(names, return_index=True)
    order = [int(name) for _, name in sorted(zip(first, found, strict=True)) if name >= 0]
    out = np.zeros(names.shape, np.int64)
    for number, name in enumerate(order, 1):
        out[names == name] = number
    return out


def numbered(codes: Codes) -> NDArray[np.int64]:
    return components(np.where(codes == NODATA, NOTHING, codes.astype(np.int64)))


@given(class_maps(most=16), st.integers(1, 9), st.integers(1, 16))
def test_distances_are_those_to_the_rim(codes: Codes, radius: int, rows: int) -> None:
    numbers, things = numbered(codes), np.isin(codes, list(THINGS))
    np.testing.assert_array_equal(landscape_of(codes, rows, radius), slow_distance(numbers, things, radius))


@given(class_maps(most=12), st.integers(1, 5), st.integers(1, 12))
def test_smoothed_scores_are_those_of_the_things(codes: Codes, radius: int, rows: int) -> None:
    cover, scores, things = landcover(codes, rows), scores_of(codes), np.isin(codes, list(THINGS))
    read = rows_of(scores)
    found = [
        landscape.score_heights(s, cover.are(THINGS), radius, landscape.read_around(read, s, len(codes)))
        for s in cover.stretches(radius + 1)
    ]
    heights = np.concatenate([heights[1:-1, 1:-1] for heights in found])
    np.testing.assert_array_equal(heights, slow_scores(scores, things, radius))


@settings(max_examples=60)
@given(class_maps(most=10), st.integers(1, 5), st.sampled_from([0.0, 0.3, 1.0, 2.0, 9.0]), st.booleans())
def test_hills_are_those_of_the_rule(codes: Codes, radius: int, depth: float, by_scores: bool) -> None:
    numbers, things = numbered(codes), np.isin(codes, list(THINGS))
    if by_scores:
        heights, most = slow_scores(scores_of(codes), things, radius), 255.0 * (radius + 1) ** 4
        expected = slow_hills(numbers, heights, lambda h: h / most, depth / 20)
        found = hilly(codes, radius, depth / 20, by_scores=True)
    else:
        expected = slow_hills(numbers, slow_distance(numbers, things, radius), np.sqrt, depth)
        found = hilly(codes, radius, depth)
    np.testing.assert_array_equal(found.instances, slow_instances(expected))


@settings(max_examples=80)
@given(class_maps(most=14), st.integers(1, 14), st.integers(1, 5), st.sampled_from([0.0, 0.5, 1.0]), st.booleans())
def test_no_band_shows_in_hills(codes: Codes, rows: int, radius: int, depth: float, by_scores: bool) -> None:
    whole = hilly(codes, radius, depth, by_scores=by_scores)
    banded = hilly(codes, radius, depth, rows, by_scores=by_scores)
    np.testing.assert_array_equal(banded.instances, whole.instances)
    assert banded.rings() == whole.rings()


def slow_grown(codes: Codes, radius: int) -> NDArray[np.int64]:
    names = np.where(np.isin(codes, list(THINGS)), numbered(codes), NOTHING)
    for _ in range(radius):
        padded, before = np.pad(names, 1, constant_values=NOTHING), names.copy()
        for row, col in np.argwhere((codes == 0) & (names == NOTHING)).tolist():
            around = [padded[row + y, col + x] for y, x in ((0, 1), (1, 0), (1, 2), (2, 1))]
            before[row, col] = min((name for name in around if name >= 0), default=NOTHING)
        names = before
    return names


@settings(max_examples=80)
@given(class_maps(most=14), st.integers(1, 14), st.integers(1, 6))
def test_objects_grow_as_the_rule_says_in_any_bands(codes: Codes, rows: int, radius: int) -> None:
    found = grown(codes, radius, rows)
    names = slow_grown(codes, radius)
    np.testing.assert_array_equal(found.instances, slow_instances(names))
    assert found.rings() == grown(codes, radius).rings()
    now = np.where(names >= 0, np.append(firsts(codes), 0)[names], codes)
    back = np.full(codes.shape, NODATA, np.int64)
    numbers = np.concatenate([p[1:, 1:-1] for _, p in found.found.painted_bands(rows_of(found.cells))])
    back[numbers >= 0] = found.found.components.code[numbers[numbers >= 0]]
    np.testing.assert_array_equal(back, now)


def firsts(codes: Codes) -> list[int]:
    numbers = numbered(codes)
    return [int(codes[numbers == number][0]) for number in range(numbers.max(initial=NOTHING) + 1)]


@given(class_maps(most=14), st.integers(1, 4), st.integers(1, 9))
def test_every_object_is_one_polygon_of_a_valid_coverage(codes: Codes, radius: int, rows: int) -> None:
    for found in (hilly(codes, radius, 0.4, rows), grown(codes, radius, rows)):
        batches = list(coverage(rows_of(found.cells), found.found))
        geometry = np.concatenate([batch.geometry() for batch in batches])
        assert shapely.is_valid(geometry).all()
        assert shapely.coverage_is_valid(geometry)
        assert shapely.area(geometry).sum() == (codes != NODATA).sum()
        for number in range(1, found.instances.max(initial=0) + 1):
            assert scipy.ndimage.label(found.instances == number)[1] == 1


@settings(max_examples=40)
@given(class_maps(most=10), st.integers(2, 8), st.integers(1, 10))
def test_the_unit_comes_first(codes: Codes, unit: int, rows: int) -> None:
    """Objects of a generalized map are those of the map that `--raster-out` shows."""
    small = slow_mmu(codes, NODATA, Unit(unit), None).astype(np.uint8)
    np.testing.assert_array_equal(hilly(codes, 4, 0.5, rows, unit).instances, hilly(small, 4, 0.5).instances)
    np.testing.assert_array_equal(grown(codes, 3, rows, unit).instances, grown(small, 3).instances)


@given(class_maps(most=12), st.integers(1, 4))
def test_nodata_around_a_raster_is_as_its_frame(codes: Codes, radius: int) -> None:
    around = np.pad(codes, 2, constant_values=NODATA)
    np.testing.assert_array_equal(hilly(around, radius, 0.5).instances[2:-2, 2:-2], hilly(codes, radius, 0.5).instances)


DUMBBELL = text_codes("1110000111 1111111111 1111111111 1110000111")
DUMBBELL[DUMBBELL == 0] = 3


def test_a_dumbbell_by_hand() -> None:
    """Two blocks of 3 × 4 joined by a bridge of two rows: the distance is 2 in the blocks and 1 on the bridge."""
    apart = hilly(DUMBBELL, 9, 1.0).instances
    assert apart.max() == 2
    assert (apart[:, :3] == 1).all()
    assert (apart[:, 7:] == 2).all()
    assert hilly(DUMBBELL, 9, 1.01).instances.max() == 1
    assert hilly(DUMBBELL, 1, 0.0).instances.max() == 1  # cut at 1 the landscape is flat


def test_a_parcel_map_by_hand() -> None:
    """Two fields, the boundary class between and beside them; two steps hand out all that is near."""
    codes = text_codes("1100113333 1100110000 1100113333")
    found = grown(codes, 2)
    edge = [1, 1, 1, 2, 2, 2, 0, 0, 0, 0]
    assert found.instances.tolist() == [edge, [1, 1, 1, 2, 2, 2, 2, 2, 0, 0], edge]
    assert found.found.components.code.tolist() == [1, 1, 3, 0, 3]


def test_a_table_of_hills_that_is_too_large() -> None:
    codes = np.ones((40, 40), np.uint8)
    codes[::2, ::2] = 3
    cover = landcover(codes, 8)
    with pytest.raises(MemoryLimitError, match=r"table of the first \d+ hills"):
        write_hills(cover, cover.are(THINGS), 3, 0.0, lambda *_: None, most_bytes=100)


WIDE = np.ones((12, 9), np.uint8)


def banded_is_whole(codes: Codes = WIDE) -> bool:
    whole, parts = hilly(codes, 5, 0.5), hilly(codes, 5, 0.5, 1)
    return bool((whole.instances == parts.instances).all())


def test_mutation_pointers_over_seams_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named mutation: the pointers over the seams between bands unite nothing."""
    assert banded_is_whole()
    monkeypatch.setattr(basins, "linked", lambda *_: np.zeros((0, 2), np.int64))
    monkeypatch.setattr(basins, "_saddles", lambda *_: (np.zeros(0, np.int64), np.zeros(0, np.int32)))
    assert not banded_is_whole()


def test_mutation_halo_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named mutation: a stretch is seen with fewer rows around it than the landscape reaches."""
    codes = np.ones((20, 40), np.uint8)
    assert (landscape_of(codes, 1) == landscape_of(codes, 20)).all()
    monkeypatch.setattr(objects_module, "stretches", lambda bands, h, halo, rows: stretches(bands, h, halo - 3, rows))
    assert not (landscape_of(codes, 1) == landscape_of(codes, 20)).all()


def landscape_of(codes: Codes, rows: int, radius: int = 6) -> NDArray[np.int32]:
    cover = landcover(codes, rows)
    things = cover.are(THINGS)
    bands = objects_module.stretches(
        cover.surveyed.painted_bands(cover.read_rows), len(codes), radius + 1, cover.surveyed.band_rows
    )
    return np.concatenate([landscape.distance_heights(s, things, radius)[1:-1, 1:-1] for s in bands])


def test_mutation_a_tie_goes_to_the_object_met_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named mutation: of two objects that reach a pixel in one step the one that is walked last wins."""
    codes = text_codes("33133 11011 33133")
    assert grown(codes, 1).instances[1, 2] == 1
    broken = interpreted(outgrow, min=lambda *both: both[1])
    monkeypatch.setattr(outgrow, "_grow", broken["_grow"])
    assert grown(codes, 1).instances[1, 2] != 1
