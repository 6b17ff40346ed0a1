"""Law 6: the minimum mapping unit on the component table does what its literal reading does on the map."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from engine_kit import interpreted, text_codes
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from slow_mmu import number, patches, slow_mmu

from geoseg.polygons import mmu, mmu_kernels
from geoseg.polygons.adjacency import survey_neighbors
from geoseg.polygons.mmu import Generalized, generalize
from geoseg.polygons.mmu_kernels import NONE, Graph, Sets
from geoseg.polygons.mmu_size import Unit
from geoseg.polygons.survey import survey

NODATA = 255
Codes = NDArray[np.integer[Any]]
Case = tuple[Codes, Unit, NDArray[np.int64] | None]


def generalized(
    codes: Codes, unit: Unit, by_row: NDArray[np.int64] | None = None, rows: int = 3, nodata: int = NODATA
) -> tuple[Codes, Codes, Generalized]:
    """The engine's own way: (row, col) codes and final numbers of a map, and the table."""

    def read_rows(first: int, last: int) -> Codes:
        return codes[first:last]

    found = survey(read_rows, (codes.shape[0], codes.shape[1]), nodata=nodata, band_rows=rows)
    table = found.components
    bands = found.painted_bands(read_rows)
    graph, sizes = survey_neighbors(bands, len(table), by_row, diagonals=unit.connect == 8)
    result = generalize(table.code, sizes, table.first, graph, unit)
    numbers = np.concatenate([painted[1:, 1:-1] for _, painted in found.painted_bands(read_rows)])
    code = np.append(result.code, nodata).astype(codes.dtype)
    return code[numbers], np.append(result.final, -1)[numbers], result


def case(seed: int) -> Case:
    """A map of up to 9 × 9 pixels, of blocks or single pixels, where sizes and borders often are equal."""
    rng = np.random.default_rng(seed)
    n, block = int(rng.integers(2, 5)), int(rng.choice([1, 1, 2, 3]))
    codes = rng.integers(0, n, rng.integers(1, 9, 2)).astype(np.uint8)
    codes[rng.random(codes.shape) < rng.choice([0, 0.1, 0.3])] = NODATA
    codes = codes.repeat(block, axis=0).repeat(block, axis=1)[:9, :9]
    unit = Unit(
        int(rng.integers(0, 15)),
        {code: int(rng.integers(0, 20)) for code in range(n) if rng.random() < 0.3},
        frozenset(code for code in range(n) if rng.random() < 0.15),
        8 if rng.random() < 0.5 else 4,
    )
    return codes, unit, rng.integers(1, 4, len(codes)) if rng.random() < 0.3 else None


def text(codes: Codes) -> str:
    return " ".join("".join("." if code == NODATA else str(code) for code in row) for row in codes.tolist())


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_law_6(seed: int, rows: int) -> None:
    codes, unit, by_row = case(seed)
    expected = slow_mmu(codes, NODATA, unit, by_row)
    now, final, table = generalized(codes, unit, by_row, rows)
    assert text(now) == text(expected)
    valid = codes != NODATA
    before, after = number(codes, NODATA), number(expected, NODATA)
    starts = np.array([patch.first for patch in patches(expected, NODATA)], np.int64)
    assert (final[valid] == before.ravel()[starts][after[valid]]).all()  # named after the first pixel
    area = np.ones(codes.shape, np.int64) if by_row is None else np.broadcast_to(by_row[:, None], codes.shape)
    changed: Counter[tuple[int, int]] = Counter()
    for pixel in np.argwhere(codes != expected).tolist():
        at = tuple(pixel)
        changed[int(codes[at]), int(expected[at])] += int(area[at])
    assert table.changed == dict(sorted(changed.items()))


@pytest.mark.parametrize(
    ("before", "unit", "after"),
    [
        ("1111 1211 1111", Unit(2), "1111 1111 1111"),
        ("1111 1221 1111", Unit(2), "1111 1221 1111"),  # exactly the unit stays
        ("1122 1322 1122", Unit(2), "1122 1122 1122"),  # three edges to 1, one to 2
        ("2213 2233 2233", Unit(2), "2233 2233 2233"),  # a longer border counts more than a larger area
        ("222133", Unit(2), "222233"),  # borders are equal: the larger
        ("33122", Unit(2), "33222"),  # areas, too: the smaller code
        ("1123222", Unit(2), "1111222"),  # of the smallest the first goes first: 2, to 1, and 3 then has a tie
        ("13222", Unit(2), "33222"),  # 1 goes first; then 3 is large enough
        ("221223333", Unit(5, {3: 1}), "222223333"),  # what is of one class on both sides of 1 becomes one of size 5
        (".1. ... 222", Unit(9), ".1. ... 222"),  # nobody to go to
        ("1.2", Unit(9), "1.2"),  # nodata absorbs nothing
        ("11311 .....", Unit(3, keep=frozenset({3})), "33333 ....."),  # kept, but it receives
        ("1222 2122 2212 2221", Unit(4), "2222 2222 2222 2222"),
        ("1222 2122 2212 2221", Unit(4, connect=8), "1222 2122 2212 2221"),  # a stream of four pixels
        ("1222 2122 2212 2222", Unit(4, connect=8), "2222 2222 2222 2222"),
        ("1222", Unit(2, {1: 1}), "1222"),  # its own class's unit
    ],
)
def test_by_hand(before: str, unit: Unit, after: str) -> None:
    assert text(generalized(text_codes(before), unit)[0]) == after


def test_a_region_is_named_after_its_first_pixel() -> None:
    _, final, table = generalized(text_codes("12333 44433"), Unit(4))
    assert final.tolist() == [[0, 0, 2, 2, 2], [0, 0, 0, 2, 2]]
    assert table.code.tolist() == [4, 4, 3, 4]
    assert table.changed == {(1, 4): 1, (2, 4): 1}


def test_a_group_without_its_middle_counts_as_two() -> None:
    """Pixels of 1 in a diagonal line of five reach a unit of 5; of a line of four each goes, though others are left."""
    line = np.full((5, 5), 2, np.uint8)
    np.fill_diagonal(line, 1)
    assert text(generalized(line, Unit(5, connect=8))[0]) == text(line)
    line[2, 2] = 3
    assert (generalized(line, Unit(5, connect=8))[0] == 2).all()


def test_ocean_sizes_do_not_overflow() -> None:
    largest = np.array([2**60, 2**60], np.int64)
    _, final, _ = generalized(text_codes("112 112"), Unit(2**61 + 1), largest)
    assert (final == 0).all()


def test_nothing_there() -> None:
    now, _, table = generalized(text_codes("... ..."), Unit(9))
    assert text(now) == "... ..."
    assert len(table) == 0
    assert table.changed == {}


# The last one has a group that is too small at first and large enough when its next member comes up.
CASES = [*(case(seed) for seed in range(150)), (text_codes("123311 321313 132311"), Unit(4, connect=8), None)]


def differing(run: Callable[[Codes, Unit, NDArray[np.int64] | None], Codes]) -> int:
    """How many of the fixed maps come out other than by the literal law."""
    return sum(text(run(*one)) != text(slow_mmu(one[0], NODATA, *one[1:])) for one in CASES)


def borders_not_added(sets: Sets, graph: Graph, name: int) -> int:
    """`find_neighbors`, but of several stretches of border the last one counts."""
    first, member = NONE, name
    while member != NONE:
        for entry in range(graph.starts[member], graph.starts[member + 1]):
            other = mmu_kernels.find(sets.parent, graph.to[entry])
            if graph.length[entry] and other != name:
                if sets.border[other] == 0:
                    sets.chain[other], first = first, other
                sets.border[other] = graph.length[entry]
        member = sets.following[member]
    return first


def larger_number_first(heap: mmu_kernels.Heap, place: int, size: int, name: int) -> bool:
    return bool(heap.size[place] < size or (heap.size[place] == size and heap.name[place] > name))


def last_neighbor_wins(sets: Sets, one: int, other: int) -> bool:
    same = sets.border[one] == sets.border[other] and sets.size[one] == sets.size[other]
    return bool(one > other if same else mmu_kernels.better(sets, one, other))


MUTATIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "equal sizes: the last one first": {"before": larger_number_first},
    "equal neighbors: the last one": {"better": last_neighbor_wins},
    "one class is not united": {"alike": lambda *_: False},
    "borders are not added": {"find_neighbors": borders_not_added},
    "groups are not seen": {"reaches": lambda *_: False},
    "groups that grew are still called small": {"forget_small": lambda *_: None},
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutations_turn_the_law_red(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = interpreted(mmu_kernels, **MUTATIONS[name])
    monkeypatch.setattr(mmu, "absorb_all", kernels["absorb_all"])
    wrong = differing(lambda codes, unit, by_row: generalized(codes, unit, by_row)[0])
    assert wrong == 0 if name == "none" else wrong > 0


def test_nodata_that_absorbs_turns_the_law_red() -> None:
    assert differing(lambda codes, unit, by_row: generalized(codes, unit, by_row, nodata=-9)[0]) > 0


def noise(size: int) -> Codes:
    return np.random.default_rng(4).integers(0, 4, (size, size)).astype(np.uint8)


def walks(size: int, unit: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Components whose contacts are looked through to measure groups, on a checkerboard."""
    seen = [0]

    def counted(*arguments: Any) -> int:
        seen[0] += 1
        return mmu_kernels.chain_alike.py_func(*arguments)  # type: ignore[no-any-return]

    monkeypatch.setattr(mmu, "absorb_all", interpreted(mmu_kernels, chain_alike=counted)["absorb_all"])
    now = generalized(np.indices((size, size)).sum(axis=0).astype(np.uint8) % 2, Unit(unit, connect=8))[0]
    assert len(np.unique(now)) == (1 if unit > size * size / 2 else 2)
    return seen[0]


@pytest.mark.parametrize("unit", [2, 72, 73, 1000])
def test_groups_are_not_walked_through_for_each_member(unit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times the pixels of a checkerboard cost four times the walks, just below the unit, too.

    Mutation: groups known to be small are walked through again.
    """
    assert walks(12, unit, monkeypatch) <= 3 * 12 * 12
    assert walks(24, 4 * unit, monkeypatch) <= 3 * 24 * 24


def test_mutation_small_groups_are_not_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmu_kernels, "SMALL", mmu_kernels.UNKNOWN)
    assert walks(12, 73, monkeypatch) > 3 * 12 * 12


@pytest.mark.parametrize("connect", [4, 8])
def test_tiling_does_not_show(connect: Any) -> None:
    codes, unit = noise(150), Unit(20, connect=connect)
    whole = generalized(codes, unit, rows=150)
    for rows in (1, 7, 64):
        banded = generalized(codes, unit, rows=rows)
        assert (banded[0] == whole[0]).all()
        assert (banded[1] == whole[1]).all()
    sizes = np.bincount(whole[1].ravel())
    assert connect == 8 or sizes[sizes > 0].min() >= 20


def test_memory_keeps_its_bound() -> None:
    codes = noise(400)
    found = survey(lambda first, last: codes[first:last], (400, 400), nodata=None)
    table = found.components
    bands = found.painted_bands(lambda first, last: codes[first:last])
    graph, sizes = survey_neighbors(bands, len(table), diagonals=True)
    generalize(table.code, sizes, table.first, graph, Unit(2, connect=8))  # compiled by now
    tracemalloc.start()
    generalize(table.code, sizes, table.first, graph, Unit(50, connect=8))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak + graph.starts.nbytes < mmu.BYTES_PER_COMPONENT * len(table)
    assert graph.to.nbytes + graph.length.nbytes == mmu.BYTES_PER_PAIR * len(graph.to) // 2


def test_tables_that_do_not_fit_are_refused() -> None:
    graph, sizes = survey_neighbors([(0, np.array([[-1, -1], [0, 1]]))], 2)
    code, first = np.array([1, 2], np.int32), np.array([0, 1])
    with pytest.raises(ValueError, match="2 codes, 1 sizes"):
        generalize(code, sizes[:1], first, graph, Unit(1))
    with pytest.raises(ValueError, match="numbered by first pixel"):
        generalize(code, sizes, first[::-1], graph, Unit(1))
    with pytest.raises(ValueError, match="size 0"):
        generalize(code, sizes * 0, first, graph, Unit(1))
