"""Boxes to look at: ambiguous ones, spread."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.accuracy import spread as spread_module
from geoseg.accuracy.spread import spread


def field(seed: int, rows: int = 20, cols: int = 30) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 40, (rows, cols)) / 40
    values[rng.random(values.shape) < rng.choice([0, 0.3, 0.95])] = np.nan
    return values


def holds(values: np.ndarray, n: int) -> bool:
    """True when as many as can be are chosen, each once, none without a value, and the first is the very best."""
    chosen = spread(values, n)
    found = values[chosen[:, 0], chosen[:, 1]]
    enough = len(chosen) == min(n, int(np.isfinite(values).sum()))
    once = len({tuple(place) for place in chosen.tolist()}) == len(chosen)
    ranked = bool((np.diff(found) <= 0).all())
    best = not len(found) or found[0] == np.nanmax(values)
    return bool(enough and once and ranked and best and np.isfinite(found).all())


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_choices_are_ranked_distinct_and_enough(seed, n) -> None:
    assert holds(field(seed), n)


def test_mutation_a_distance_that_never_gives_way_turns_it_red(monkeypatch) -> None:
    """Named mutation: once no cell is far enough from the others, nothing more is chosen (here: told as chosen)."""
    take = spread_module._take

    def once(taken, among, row, col, *, n, apart):
        before = len(taken)
        take(taken, among, row, col, n=n, apart=max(apart, 2))
        if len(taken) == before:
            taken.append(0)

    monkeypatch.setattr(spread_module, "_take", once)
    assert not holds(np.full((3, 3), 0.5), 9)


def test_one_bad_corner_does_not_take_all() -> None:
    """The corner is the most ambiguous by far; with 8 boxes on 16 × 16 cells none is nearer than 4 cells to another."""
    values = np.full((16, 16), 0.1) + np.arange(256).reshape(16, 16) / 1e5
    values[:4, :4] = 0.9
    chosen = spread(values, 8)
    assert chosen[0].tolist() == [0, 0]
    offsets = chosen[:, None] - chosen
    apart = np.hypot(*offsets.transpose(2, 0, 1))[np.triu_indices(8, 1)]
    assert apart.min() >= 4
    assert (values[chosen[:, 0], chosen[:, 1]] > 0.5).sum() == 1


@pytest.mark.parametrize("n", [1, 4, 50])
def test_equal_cells_are_taken_in_row_order_of_their_blocks(n) -> None:
    chosen = spread(np.full((10, 10), 0.5), n)
    assert chosen[0].tolist() == [0, 0]
    assert len(chosen) == n
    assert chosen.tolist() == spread(np.full((10, 10), 0.5), n).tolist()


def test_nothing_to_choose() -> None:
    assert spread(np.full((4, 4), np.nan), 5).shape == (0, 2)
