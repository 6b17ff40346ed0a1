from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from arc_maps import TOLERANCES, ArcMap, arc_maps, lines, smooth_codes
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_arcs import last_rows, pack, part, slow_polygons, text_map

from geoseg.polygons.arcs import NOTHING, Arcs
from geoseg.polygons.simplify import Lenses, simplify_arcs
from geoseg.polygons.vertex_bits import VertexBits, crowded

Corner = tuple[int, int]


def cross(a: Corner, b: Corner, c: Corner) -> int:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def holds(a: Corner, b: Corner, c: Corner, at: Corner) -> bool:
    """Whether a closed triangle holds a point."""
    if cross(a, b, c) == 0:
        return shapely.LineString([a, b, c]).distance(shapely.Point(at)) == 0
    turns = [cross(a, b, at), cross(b, c, at), cross(c, a, at)]
    return min(turns) >= 0 or max(turns) <= 0


def least_left(arcs: Arcs, k: int, last_row: np.ndarray) -> int:
    """The law in words: loops keep two inner vertices, rings three, arcs of a lens that reach its last row one."""
    line = lines(arcs)[k]
    if line[0] == line[-1]:
        return 3 if arcs.ring[k] else 2
    sides = (arcs.left[k], arcs.right[k])
    around = [np.count_nonzero((arcs.left == side) | (arcs.right == side)) for side in sides]
    lowest = max(row for _, row in line)
    lens = [side == NOTHING or (n == 2 and last_row[side] + 1 == lowest) for side, n in zip(sides, around, strict=True)]
    return int(any(lens))


def slow_simplify(arcs: Arcs, last_row: np.ndarray, tolerance_px2: float, *, outer: bool) -> Arcs:
    """Visvalingam & Whyatt by the book: scan all triangles for the smallest, scan all vertices for one inside."""
    originals = lines(arcs)
    out = []
    for k, original in enumerate(originals):
        sides = (arcs.left[k], arcs.right[k])
        ring = bool(arcs.ring[k])
        line = original[:-1] if ring else list(original)
        others = {at for other in originals if other is not original for at in other}
        blocked: set[tuple[Corner, Corner, Corner]] = set()
        while outer or NOTHING not in sides:
            if len(line) - (0 if ring else 2) <= least_left(arcs, k, last_row):
                break
            inner = range(len(line)) if ring else range(1, len(line) - 1)
            corners = [(line[i - 1], line[i], line[(i + 1) % len(line)]) for i in inner]
            offers = [(abs(cross(*abc)), original.index(abc[1]), abc) for abc in corners if abc not in blocked]
            offers = [offer for offer in offers if offer[0] < 2 * tolerance_px2]
            if not offers:
                break
            *_, abc = min(offers)
            # A triangle that is blocked stays so until it is another: that is when its vertex is tried again.
            if any(holds(*abc, at) for at in others.union(line) - set(abc)):
                blocked.add(abc)
            else:
                line.remove(abc[1])
        out.append(([*line, line[0]] if ring else line, *sides, ring))
    return pack(out)


@settings(max_examples=120, deadline=None)
@given(arc_maps, st.sampled_from(TOLERANCES), st.booleans())
def test_coverage_stays_valid_and_complete(drawn: ArcMap, tolerance: float, outer: bool) -> None:
    simple = simplify_arcs(drawn.arcs, drawn.bits(), drawn.lenses(), tolerance_px2=tolerance, outer=outer)
    assert drawn.broken(simple.corners, simple, outer=outer) == ""
    if tolerance <= 0.5:
        assert lines(simple) == lines(drawn.arcs)


@settings(max_examples=80, deadline=None)
@given(arc_maps, st.sampled_from(TOLERANCES), st.booleans())
def test_equals_the_algorithm_by_the_book(drawn: ArcMap, tolerance: float, outer: bool) -> None:
    simple = simplify_arcs(drawn.arcs, drawn.bits(), drawn.lenses(), tolerance_px2=tolerance, outer=outer)
    slow = slow_simplify(drawn.arcs, last_rows(drawn.numbers), tolerance, outer=outer)
    assert lines(simple) == lines(slow)


@settings(max_examples=60, deadline=None)
@given(arc_maps, st.sampled_from(TOLERANCES), st.randoms(use_true_random=False))
def test_neither_order_nor_bands_show(drawn: ArcMap, tolerance: float, random: object) -> None:
    together = simplify_arcs(drawn.arcs, drawn.bits(), drawn.lenses(), tolerance_px2=tolerance, outer=True)
    lowest = [max(row for _, row in line) for line in lines(drawn.arcs)]
    n_bands = random.randint(1, 4)  # type: ignore[attr-defined]
    seams = sorted({*(random.randint(0, drawn.numbers.shape[0]) for _ in range(n_bands)), drawn.numbers.shape[0]})  # type: ignore[attr-defined]
    bits, lenses = VertexBits(*drawn.numbers.shape), Lenses(last_rows(drawn.numbers))
    banded: dict[int, list[Corner]] = {}
    above = -1
    for seam in seams:
        # A sweep knows no vertex below its seam, and completes the arcs that end above it, in whatever order.
        bits.add(drawn.arcs.corners[drawn.arcs.corners[:, 1] <= seam])
        which = [k for k, row in enumerate(lowest) if above < row <= seam]
        random.shuffle(which)  # type: ignore[attr-defined]
        done = part(drawn.arcs, np.array(which, np.int64))
        lenses.add(done)
        banded |= zip(
            which, lines(simplify_arcs(done, bits, lenses, tolerance_px2=tolerance, outer=True)), strict=False
        )
        above = seam
    assert [banded[k] for k in range(len(lowest))] == (lines(together) if lowest else [])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 140), st.integers(0, 12)), min_size=3, max_size=60, unique=True))
def test_triangles_see_all_that_lies_in_them(points: list[Corner]) -> None:
    bits = VertexBits(12, 140)
    bits.add(np.array(points, np.int32))
    for unit in (1, 8):
        a, b, c = ((x * unit - (x > 0), y * unit - (y > 0)) if unit > 1 else (x, y) for x, y in points[:3])
        inside = sum(holds(a, b, c, (x * unit, y * unit)) for x, y in points)
        assert crowded(bits.words, a, b, c, unit, inside - 1)
        assert not crowded(bits.words, a, b, c, unit, inside)


def test_a_staircase_by_hand() -> None:
    drawn = ArcMap.of(text_map("01111", "00111", "00011", "22222"))
    stairs = next(k for k in range(len(drawn.arcs)) if {drawn.arcs.left[k], drawn.arcs.right[k]} == {0, 1})
    assert lines(drawn.arcs)[stairs] == [(1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (3, 3)]
    for tolerance, expected in (
        (0.5, [(1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (3, 3)]),
        (0.6, [(1, 0), (3, 3)]),
    ):
        simple = simplify_arcs(drawn.arcs, drawn.bits(), drawn.lenses(), tolerance_px2=tolerance)
        assert lines(simple)[stairs] == expected


def test_a_lens_keeps_its_later_line_bent() -> None:
    # 1 lies between 0 and 2, which meet left and right of it: two arcs from (1, 2) to (3, 2) are all its boundary.
    drawn = ArcMap.of(text_map("0000", "0110", "2112", "2222"))
    arcs = drawn.arcs
    simple = simplify_arcs(arcs, drawn.bits(), drawn.lenses(), tolerance_px2=np.inf)
    found = [lines(simple)[k] for k in range(len(arcs)) if 1 in {arcs.left[k], arcs.right[k]}]
    assert found == [[(1, 2), (3, 2)], [(1, 2), (3, 3), (3, 2)]]


def test_a_vertex_in_the_way_keeps_a_corner() -> None:
    # The bump of 1 may not be cut off: the one-pixel component inside it would lie outside.
    drawn = ArcMap.of(text_map("000000", "011110", "011210", "011110", "000000"))
    simple = simplify_arcs(drawn.arcs, drawn.bits(), drawn.lenses(), tolerance_px2=np.inf)
    assert [len(line) for line in lines(simple) if line[0] == line[-1]] == [5, 5, 4]
    alone = ArcMap.of(text_map("000000", "011110", "011110", "011110", "000000"))
    simple = simplify_arcs(alone.arcs, alone.bits(), alone.lenses(), tolerance_px2=np.inf)
    assert sorted(len(line) for line in lines(simple)) == [4, 5]


def test_bits_come_back_and_may_live_in_a_file(tmp_path: Path) -> None:
    drawn = ArcMap.of(smooth_codes(80, 1.5, seed=1))
    bits, on_disk = drawn.bits(), VertexBits(80, 80, tmp_path / "vertices.bits")
    on_disk.add(drawn.arcs.corners)
    before = bits.words.copy()
    simple = simplify_arcs(drawn.arcs, bits, drawn.lenses(), tolerance_px2=9.0)
    again = simplify_arcs(drawn.arcs, on_disk, drawn.lenses(), tolerance_px2=9.0)
    assert len(simple.corners) < 0.6 * len(drawn.arcs.corners)
    assert (bits.words == before).all()
    assert lines(simple) == lines(again)
    assert (tmp_path / "vertices.bits").stat().st_size == 81 * 2 * 8
    assert sum(int(word).bit_count() for word in before.flat) == len(np.unique(drawn.arcs.corners, axis=0))


@pytest.mark.parametrize(("sigma", "meters"), [(1.0, 1.1), (2.0, 2.05), (2.0, 30.0), (4.0, 3.1)])
def test_as_few_vertices_as_shapely_leaves(sigma: float, meters: float) -> None:
    drawn = ArcMap.of(smooth_codes(96, sigma, seed=2))
    simple = simplify_arcs(drawn.arcs, drawn.bits(), drawn.lenses(), tolerance_px2=meters**2, outer=True)
    raw, ours = (slow_polygons(arcs.corners, arcs.starts, arcs.left, arcs.right) for arcs in (drawn.arcs, simple))
    theirs = shapely.coverage_simplify(raw, meters)
    n_ours, n_theirs = (shapely.get_num_coordinates(polygons).sum() for polygons in (ours, theirs))
    assert 0.98 * n_theirs < n_ours < 1.1 * n_theirs


@pytest.mark.parametrize("tolerance", [-1.0, np.nan])
def test_a_tolerance_below_zero_is_refused(tolerance: float) -> None:
    drawn = ArcMap.of(text_map("01"))
    with pytest.raises(ValueError, match=r"tolerance of (-1\.0|nan) px²: give an area ≥ 0"):
        simplify_arcs(drawn.arcs, drawn.bits(), drawn.lenses(), tolerance_px2=tolerance)


def seeded_maps() -> list[ArcMap]:
    return [ArcMap.of(smooth_codes(32, sigma, seed)) for sigma in (0.8, 1.5) for seed in range(6)]


def broken_maps(*, see: bool, count: bool) -> int:
    """How many maps break a law when the sweep sees no vertices or counts no arcs."""
    n = 0
    for drawn in seeded_maps():
        bits = drawn.bits() if see else VertexBits(*drawn.numbers.shape)
        lenses = drawn.lenses() if count else Lenses(last_rows(drawn.numbers))
        simple = simplify_arcs(drawn.arcs, bits, lenses, tolerance_px2=50.0)
        n += drawn.broken(simple.corners, simple, outer=False) != ""
    return n


def test_mutations_that_break_the_coverage() -> None:
    assert broken_maps(see=True, count=True) == 0
    assert broken_maps(see=False, count=True) > 0
    assert broken_maps(see=True, count=False) > 0


def test_mutation_bits_of_dropped_vertices_stay_away() -> None:
    n = 0
    for drawn in seeded_maps():
        bits, lenses = drawn.bits(), drawn.lenses()
        right = simplify_arcs(drawn.arcs, bits, lenses, tolerance_px2=50.0)
        forgetful = []
        for k in range(len(drawn.arcs)):
            one = part(drawn.arcs, np.array([k]))
            simple = simplify_arcs(one, bits, lenses, tolerance_px2=50.0)
            forgetful += lines(simple)
            gone = set(lines(one)[0]) - set(lines(simple)[0])
            for col, row in gone:
                bits.words[row, col >> 6] &= ~np.uint64(1 << (col & 63))
        n += bool(forgetful) and forgetful != lines(right)
    assert n > 0
