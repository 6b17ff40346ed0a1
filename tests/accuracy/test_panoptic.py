"""Panoptic quality and object counts: cases drawn by hand, and the definition read literally on random maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.accuracy import panoptic
from geoseg.accuracy.panoptic import panoptic_figures
from geoseg.accuracy.segments import GROUND, VOID, PairTally, segment_keys

NAMES = ("ground", "tree", "house")
THINGS = np.array([False, True, True])
Map = tuple[NDArray[Any], NDArray[Any]]
"""Labels and ids."""


def drawn(text: str) -> Map:
    """'.' void, '0' ground, a b c … trees, A B C … houses."""
    rows = text.split()
    labels = np.array([[3 if c == "." else 0 if c == "0" else 1 if c.islower() else 2 for c in row] for row in rows])
    ids = np.array([[ord(c) if c.isalpha() else 0 for c in row] for row in rows])
    return labels.astype(np.uint8), ids


def figures(reference: Map, predicted: Map, rows: int = 99, thresholds: tuple[float, ...] = (0.5,)) -> dict[str, Any]:
    tally = PairTally()
    for first in range(0, len(reference[0]), rows):
        part = slice(first, first + rows)
        keys = [segment_keys(labels[part], ids[part], THINGS) for labels, ids in (reference, predicted)]
        tally.add(*keys)
    return panoptic_figures(tally.finished(), NAMES, THINGS, thresholds)


def row_of(found: dict[str, Any], name: str) -> tuple[Any, ...]:
    row = found["classes"][name]
    return row["tp"], row["fp"], row["fn"], row["pq"], row["sq"], row["rq"]


def test_the_figure_of_the_paper() -> None:
    """As figure 2 there: of three people two are found, one is missed, one is made up."""
    reference, predicted = drawn("aaaabbbb00cc"), drawn("aaa0bbbbdd00")
    found = figures(reference, predicted)
    assert row_of(found, "tree") == (2, 1, 1, (3 / 4 + 1) / 3, (3 / 4 + 1) / 2, 2 / 3)
    assert row_of(found, "ground") == (0, 1, 1, 0.0, None, 0.0)  # 0 of 5 pixels in common
    assert row_of(found, "house") == (0, 0, 0, None, None, None)
    assert found["pq"] == ((3 / 4 + 1) / 3 + 0) / 2
    assert found["things"]["sq"] == (3 / 4 + 1) / 2
    assert found["sq"] == (3 / 4 + 1) / 4
    assert found["objects"]["0.5"] == {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "tp": 2, "fp": 1, "fn": 1}


def test_half_is_not_enough() -> None:
    assert row_of(figures(drawn("aabb"), drawn("aa00")), "tree") == (1, 0, 1, 2 / 3, 1.0, 2 / 3)
    assert row_of(figures(drawn("aaaa"), drawn("aabb")), "tree")[:3] == (0, 2, 1)  # two of IoU 1/2
    assert row_of(figures(drawn("aaaaa"), drawn("aaabb")), "tree")[:4] == (1, 1, 0, 3 / 5 / 1.5)


def test_other_classes_never_match() -> None:
    found = figures(drawn("aaaa"), drawn("AAAA"))
    assert (row_of(found, "tree")[:3], row_of(found, "house")[:3]) == ((0, 0, 1), (0, 1, 0))


def test_void_is_in_no_union_and_hides_what_lies_in_it() -> None:
    """The tree reaches into the void by two pixels; of two made-up ones one lies mostly there."""
    found = figures(drawn("aa..0...00"), drawn("aaaa0bb.cc"))
    assert row_of(found, "tree") == (1, 1, 0, 1 / 1.5, 1.0, 1 / 1.5)
    exactly_half = figures(drawn("a.a0.0"), drawn("a0abb0"))
    assert row_of(exactly_half, "tree")[:3] == (1, 1, 0)
    unmapped = figures(drawn("aaaa"), drawn("a..."))
    assert row_of(unmapped, "tree")[:3] == (0, 1, 1)


def test_stuff_is_one_segment_and_a_thing_without_an_object_is_void() -> None:
    labels, ids = drawn("0a0b0")
    assert segment_keys(labels, np.where(ids == ord("b"), 0, ids), THINGS).tolist() == [[0, 97 * 3 + 1, 0, VOID, 0]]
    assert row_of(figures((labels, ids), (labels, ids)), "ground")[:4] == (1, 0, 0, 1.0)


def test_thresholds_only_take_away() -> None:
    found = figures(drawn("aaaabbbbbb"), drawn("aaa0bbbbbb"), thresholds=(0.5, 0.75, 0.9))
    assert [found["objects"][key]["tp"] for key in ("0.5", "0.75", "0.9")] == [2, 1, 1]
    assert found["objects"]["0.9"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "tp": 1, "fp": 1, "fn": 1}


def test_ground_is_no_void() -> None:
    tally = PairTally()
    tally.add(np.array([[GROUND, GROUND, VOID]]), np.array([[4, 4, 7]]))
    found = panoptic_figures(tally.finished(), NAMES, THINGS, (0.5,))
    assert found["classes"]["tree"]["fp"] == 1


def slow_figures(reference: Map, predicted: Map, threshold: float) -> dict[str, tuple[Any, ...]]:
    """Section 4 of the paper, with sets of pixels."""

    def segments(labels: NDArray[Any], ids: NDArray[Any]) -> list[tuple[int, set[int]]]:
        out = []
        for label, name in enumerate(NAMES):
            pixels = set(np.flatnonzero(labels == label).tolist())
            if name == "ground":
                out += [(label, pixels)] if pixels else []
                continue
            for number in {ids.ravel()[p] for p in pixels} - {0}:
                out.append((label, {p for p in pixels if ids.ravel()[p] == number}))
        return out

    true, told = segments(*reference), segments(*predicted)
    void = set(range(reference[0].size)) - set().union(*(pixels for _, pixels in true), set())
    out = {}
    for label, name in enumerate(NAMES):
        mine = [p for c, p in told if c == label]
        theirs = [p for c, p in true if c == label]
        ious = [[len(g & p) / len(g | (p - void)) for p in mine] for g in theirs]
        matches = [(i, j) for i, row in enumerate(ious) for j, iou in enumerate(row) if iou > threshold]
        assert len({i for i, _ in matches}) == len({j for _, j in matches}) == len(matches)  # the paper's theorem
        tp = len(matches)
        hit = {j for _, j in matches}
        fp = sum(j not in hit and len(p & void) * 2 <= len(p) for j, p in enumerate(mine))
        fn = len(theirs) - tp
        quality, weight = sum(ious[i][j] for i, j in matches), tp + fp / 2 + fn / 2
        pq, sq, rq = quality / weight if weight else None, quality / tp if tp else None, tp / weight if weight else None
        out[name] = (tp, fp, fn, pq, sq, rq)
    return out


@st.composite
def panoptic_maps(draw: st.DrawFn) -> tuple[Map, Map]:
    """Blocks of few objects, the second map a disturbed copy of the first, so that segments do match."""
    shape = draw(st.tuples(st.integers(1, 10), st.integers(1, 10)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    block = draw(st.sampled_from([1, 2, 3]))
    many = draw(st.integers(1, 4))

    def blocks(values: int) -> NDArray[Any]:
        return rng.integers(0, values, shape).repeat(block, 0).repeat(block, 1)[: shape[0], : shape[1]]

    labels, ids = blocks(4).astype(np.uint8), blocks(many + 1)
    changed = rng.random(shape) < draw(st.sampled_from([0.0, 0.1, 0.3]))
    other = np.where(changed, rng.integers(0, 4, shape), labels).astype(np.uint8)
    return (labels, ids), (other, np.where(rng.random(shape) < 0.1, blocks(many + 1), ids) + rng.integers(0, 2))


@given(panoptic_maps(), st.integers(1, 10), st.sampled_from([0.5, 0.6, 0.8]))
def test_equal_to_the_definition_in_any_bands(maps: tuple[Map, Map], rows: int, threshold: float) -> None:
    found = figures(*maps, rows, (threshold,))
    for name, (tp, fp, fn, pq, sq, rq) in slow_figures(*maps, 0.5).items():
        assert row_of(found, name)[:3] == (tp, fp, fn)
        assert row_of(found, name)[3:] == (pytest.approx(pq), pytest.approx(sq), pytest.approx(rq))
    for name, slow in slow_figures(*maps, threshold).items():
        if name != "ground":
            at = found["classes"][name]["objects"][f"{threshold:g}"]
            assert (at["tp"], at["fp"], at["fn"]) == slow[:3]
    assert found == figures(*maps, 99, (threshold,))


def test_mutation_void_counts_in_unions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named mutation: void is an ordinary segment."""
    monkeypatch.setattr(panoptic, "VOID", -99)
    found = figures(drawn("aa..0...00"), drawn("aaaa0bb.cc"))
    assert row_of(found, "tree")[:3] == (0, 3, 1)
