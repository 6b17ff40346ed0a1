"""Contacts between components: pixel edges and corners, counted band by band."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.polygons.adjacency import Adjacency, Contacts, adjacency_of_band, merge_adjacency, survey_neighbors

FOUR = np.array(
    [
        [0, 0, 1, 1],
        [0, 2, 2, 1],
        [3, -1, 2, 1],
        [3, 3, -1, 4],
    ]
)


def by_hand(numbers: NDArray[np.int64], *, diagonals: bool = False) -> dict[tuple[int, int], int]:
    """Pixel by pixel."""
    edges: Counter[tuple[int, int]] = Counter()
    height, width = numbers.shape
    for (row, col), a in np.ndenumerate(numbers):
        for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
            if row + down < height and 0 <= col + right < width:
                b = numbers[row + down, col + right]
                if -1 not in {a, b} and a != b and (diagonals or not (down and right)):
                    edges[min(a, b), max(a, b)] += not (down and right)
    return dict(edges)


def framed_bands(numbers: NDArray[np.int64], rows: int) -> list[tuple[int, NDArray[np.int32]]]:
    framed = np.pad(numbers, ((1, 0), (1, 1)), constant_values=-1).astype(np.int32)
    return [(first, framed[first : first + rows + 1]) for first in range(0, len(numbers), rows)]


def borders(graph: Adjacency) -> dict[tuple[int, int], int]:
    """Pairs of a graph, after checking that both sides say the same."""
    sums: Counter[tuple[int, int]] = Counter()
    for a in range(len(graph)):
        for entry in range(graph.starts[a], graph.starts[a + 1]):
            sums[a, int(graph.to[entry])] += int(graph.length[entry])
    assert all(sums[b, a] == length for (a, b), length in sums.items())
    return {pair: length for pair, length in sums.items() if pair[0] < pair[1]}


def test_four_by_four() -> None:
    expected = {(0, 1): 1, (0, 2): 2, (0, 3): 1, (1, 2): 3, (1, 4): 1}
    a, b, length = adjacency_of_band(None, FOUR)
    assert dict(zip(zip(a.tolist(), b.tolist(), strict=True), length.tolist(), strict=True)) == expected
    a, b, length = adjacency_of_band(None, FOUR, diagonals=True)
    corners = {(2, 3): 0, (2, 4): 0}
    assert dict(zip(zip(a.tolist(), b.tolist(), strict=True), length.tolist(), strict=True)) == expected | corners


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.booleans())
def test_bands_of_any_height_give_the_same_graph(seed: int, rows: int, diagonals: bool) -> None:
    rng = np.random.default_rng(seed)
    numbers = rng.integers(-1, rng.integers(1, 12), rng.integers(1, 9, 2))
    by_row = rng.integers(1, 1000, len(numbers))
    graph, sizes = survey_neighbors(framed_bands(numbers, rows), 12, by_row, diagonals=diagonals)
    assert borders(graph) == by_hand(numbers, diagonals=diagonals)
    assert sizes.tolist() == [(by_row[:, None] * (numbers == i)).sum() for i in range(12)]


def test_a_table_that_overflows_its_slots() -> None:
    numbers = np.arange(90 * 90).reshape(90, 90)
    graph, sizes = survey_neighbors(framed_bands(numbers, 90), numbers.size)
    assert borders(graph) == by_hand(numbers)
    assert (sizes == 1).all()


def test_the_row_above_counts() -> None:
    """The mutation of the law of tilings: a band that does not look over its seam."""
    below = adjacency_of_band(FOUR[1], FOUR[2:])
    alone = adjacency_of_band(None, FOUR[2:])
    assert below.length.sum() - alone.length.sum() == 1  # 0 over 3; 2 and 1 meet themselves, nodata nobody


def test_labels_that_became_one_component_do_not_touch_themselves() -> None:
    part = Contacts(*(np.array(column, np.int32) for column in ([0, 1], [0, 2], [7, 3])))
    assert borders(merge_adjacency([part], 3)) == {(1, 2): 3}


def test_what_32_bits_cannot_count_is_refused() -> None:
    with pytest.raises(InputError, match="2147483648 components"):
        merge_adjacency([], 2**31)


def test_an_inconsistent_graph_is_refused() -> None:
    with pytest.raises(ValueError, match="end at 3"):
        Adjacency(np.array([0, 3]), np.zeros(2, np.int32), np.zeros(2, np.int32))
