"""Arcs against a tracer in plain Python, for every way to cut the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_kit import NODATA, SHAPES, class_maps, interpreted, text_codes
from hypothesis import given
from numpy.typing import NDArray
from slow_arcs import components, slow_arcs

from geoseg.polygons import trace, trace_kernels
from geoseg.polygons.arcs import NOTHING, Arcs
from geoseg.polygons.trace import Traced, Tracer
from geoseg.polygons.trace_kernels import EAST, SOUTH, WEST

Line = tuple[tuple[tuple[int, int], ...], int, int, bool]


def numbered(codes: NDArray[Any]) -> NDArray[np.int32]:
    return components(np.where(codes == NODATA, NOTHING, codes.astype(np.int64))).astype(np.int32)


def trace_rows(numbers: NDArray[np.int32], rows: int) -> list[Traced]:
    """The whole map in slices of so many rows."""
    framed = np.pad(numbers, 1, constant_values=NOTHING)
    tracer = Tracer(numbers.shape[1])
    starts = range(0, len(framed) - 1, rows)
    return [tracer.trace(framed[start : start + rows + 1], start) for start in starts]


def lines(*arcs: Arcs) -> list[Line]:
    out = []
    for part in arcs:
        for i in range(len(part)):
            corners = part.corners[part.starts[i] : part.starts[i + 1]].tolist()
            out.append((tuple(map(tuple, corners)), int(part.left[i]), int(part.right[i]), bool(part.ring[i])))
    return out


def oracle(numbers: NDArray[np.int32]) -> Arcs:
    return slow_arcs(numbers.astype(np.int64))


@given(class_maps())
def test_arcs_are_those_of_the_slow_tracer(codes: NDArray[Any]) -> None:
    numbers = numbered(codes)
    traced = trace_rows(numbers, len(codes) + 1)
    assert len(traced) == 1
    assert sorted(lines(traced[0].arcs)) == sorted(lines(oracle(numbers)))


@given(class_maps())
def test_slices_of_any_height_give_the_same_arcs_in_the_same_order(codes: NDArray[Any]) -> None:
    numbers = numbered(codes)
    whole = trace_rows(numbers, len(codes) + 1)[0]
    for rows in range(1, len(codes) + 1):
        parts = trace_rows(numbers, rows)
        assert lines(*(part.arcs for part in parts)) == lines(whole.arcs)
        for name in ("begins", "ends", "smallest", "junctions", "vertices"):
            joined = np.concatenate([getattr(part, name) for part in parts])
            if name == "vertices":  # the last taken lies at the bottom of the stack
                joined, expected = (np.unique(v, axis=0) for v in (joined, whole.vertices))
            else:
                expected = getattr(whole, name)
            np.testing.assert_array_equal(joined, expected)
        firsts = np.cumsum([0, *(len(part.junctions) for part in parts[:-1])])
        assert [part.first_junction for part in parts] == firsts.tolist()


@given(class_maps())
def test_vertices_are_told_before_their_arc_is_complete(codes: NDArray[Any]) -> None:
    """Every vertex in the rows swept is known, those of pending arcs, too."""
    numbers = numbered(codes)
    every = {corner for line in lines(oracle(numbers)) for corner in line[0]}
    for row, part in enumerate(trace_rows(numbers, 1)):
        assert {(col, y) for col, y in part.vertices.tolist()} == {corner for corner in every if corner[1] == row}


@pytest.mark.parametrize("name", SHAPES)
def test_special_shapes(name: str) -> None:
    numbers = numbered(text_codes(SHAPES[name]))
    for rows in range(1, len(numbers) + 2):
        got = lines(*(part.arcs for part in trace_rows(numbers, rows)))
        assert sorted(got) == sorted(lines(oracle(numbers)))


def test_one_pixel_by_hand() -> None:
    (part,) = trace_rows(np.zeros((1, 1), np.int32), 2)
    assert lines(part.arcs) == [(((0, 0), (1, 0), (1, 1), (0, 1), (0, 0)), NOTHING, 0, True)]
    assert part.begins.tolist() == part.ends.tolist() == [-1]
    assert part.smallest.tolist() == [0]


def test_a_straight_t_junction_is_a_vertex() -> None:
    """Two pixels below one that is as wide: the line between them ends in the middle of a straight one."""
    got = lines(trace_rows(numbered(text_codes("11 23")), 3)[0].arcs)
    assert (((1, 1), (1, 2)), 2, 1, False) in got
    assert (((0, 1), (1, 1)), 0, 1, False) in got
    assert (((1, 1), (2, 1)), 0, 2, False) in got


def test_slots_say_where_an_arc_leaves_its_junctions() -> None:
    part = trace_rows(numbered(text_codes("12 34")), 3)[0]
    assert [int(edges) & 15 for edges in part.junctions] == [14, 7, 15, 13, 11]  # clockwise from north: bits 0 … 3
    for line, begin, end in zip(lines(part.arcs), part.begins.tolist(), part.ends.tolist(), strict=True):
        for (x, y), (inner_x, inner_y), slot in ((*line[0][:2], begin), (*line[0][:-3:-1], end)):
            step = (int(np.sign(inner_x - x)), int(np.sign(inner_y - y)))
            assert [(0, -1), (1, 0), (0, 1), (-1, 0)][slot & 3] == step


def test_mutation_a_straight_t_is_no_junction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the third line's end there, the arc along the straight line has two components on one side."""
    numbers = numbered(text_codes("11 23"))
    names = interpreted(trace_kernels)
    meet = names["_meet"]

    def blind(chains: Any, edges: int, corner: Any, sides: Any, running: int, slot: int) -> int:
        if edges != EAST + SOUTH + WEST:
            return int(meet(chains, edges, corner, sides, running, slot))
        chains.hanging[corner[0]] = names["_new"](chains, corner, slot + 2)
        return running

    names["_meet"] = blind
    monkeypatch.setattr(trace, "sweep", names["sweep"])
    assert sorted(lines(trace_rows(numbers, 3)[0].arcs)) != sorted(lines(oracle(numbers)))
