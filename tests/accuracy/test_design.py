"""The design of a sample: drawn alike for a seed, read back as written."""

from __future__ import annotations

import json

import numpy as np
import pytest
from builders import NORTH_UP, UTM
from pyproj import CRS
from zone_kit import THREE

from geoseg.accuracy.design import (
    Drawn,
    SampleDesign,
    Stratum,
    class_index,
    draw_ranks,
    expectations,
    interpreting_order,
)
from geoseg.errors import InputError, UsageError
from geoseg.grid import Grid


def design() -> SampleDesign:
    points = Drawn(*(np.array(v) for v in ([7, 1, 1], [0, 2, 3], [1, 1, 0], [7, 1, 1])), np.array([100.0, 99.5, 99.0]))
    strata = (Stratum(1, "water", 8, 800.5, 2, 0.9), Stratum(7, "bare", 4, 400.25, 1))
    grid = Grid(CRS(UTM), NORTH_UP, 3, 4)
    return SampleDesign({"name": "m.tif", "bytes": 3, "blake2b": "ab"}, None, grid, strata, points, {"seed": 5})


def test_a_design_reads_back_as_it_was_written() -> None:
    first = design()
    document = json.loads(json.dumps(first.to_json()))
    again = SampleDesign.from_json(document, "d.json")
    assert again.to_json() == first.to_json()
    assert (again.grid.same_as(first.grid), again.strata, again.about) == (True, first.strata, {"seed": 5})
    assert document["points"]["inclusion_probability"] == [0.25, 0.25, 0.25]
    assert document["points"]["point_id"] == [1, 2, 3]
    assert again.stratum_index.tolist() == [1, 0, 0]


def damaged(**changes: object) -> dict[str, object]:
    return design().to_json() | changes


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "no sample design of geoseg"),
        (damaged(format="other"), "no sample design of geoseg"),
        (damaged(grid={"crs": "nonsense"}), "damaged"),
        (damaged(strata=[{"code": 1}]), "damaged"),
        (damaged(strata=[]), "points by stratum"),
    ],
)
def test_what_is_no_design_is_refused(document, message) -> None:
    with pytest.raises(InputError, match=message):
        SampleDesign.from_json(document, "d.json")


def test_ranks_are_a_simple_random_sample() -> None:
    """Every pixel of 12 comes up in a quarter of 4,000 samples of 3; within five standard deviations."""
    times = np.bincount(np.concatenate([draw_ranks(seed, 7, 12, 3) for seed in range(4000)]), minlength=12)
    assert times.sum() == 12_000
    assert (np.abs(times - 1000) < 5 * np.sqrt(4000 * 0.25 * 0.75)).all()


def test_ranks_depend_on_seed_and_stratum_alone() -> None:
    ranks = draw_ranks(3, 7, 10**12, 5)
    assert ranks.tolist() == draw_ranks(3, 7, 10**12, 5).tolist()
    assert (np.diff(ranks) > 0).all()
    others = [draw_ranks(4, 7, 10**12, 5), draw_ranks(3, 8, 10**12, 5)]
    assert not any(np.intersect1d(ranks, other).size for other in others)
    assert draw_ranks(0, 1, 4, 4).tolist() == [0, 1, 2, 3]


def test_the_order_of_points_is_shuffled() -> None:
    order = interpreting_order(1, 100)
    assert sorted(order.tolist()) == list(range(100))
    assert abs(np.corrcoef(order, np.arange(100))[0, 1]) < 0.3
    assert interpreting_order(1, 100).tolist() == order.tolist() != interpreting_order(2, 100).tolist()


def test_expectations() -> None:
    present = np.array([0, 2])
    assert expectations((), THREE, present) is None
    assert expectations(("water=0.95", "0.8"), THREE, present).tolist() == [0.95, 0.8]
    assert expectations(("7=0.5", "water=1"), THREE, present).tolist() == [1, 0.5]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("watr=0.9", "0.5"), "'watr' is no class of the map; did you mean 'water'"),
        (("water=90",), "'water=90' is no accuracy"),
        (("water=",), "is no accuracy"),
        (("water=0.9",), "says nothing of trees, bare"),
    ],
)
def test_expectations_that_say_nothing_are_refused(texts, message) -> None:
    with pytest.raises(UsageError, match=message):
        expectations(texts, THREE, np.arange(3))


def test_classes_go_by_name_or_code() -> None:
    assert [class_index(text, THREE, "x") for text in ("bare", "7", "water")] == [2, 2, 0]
    with pytest.raises(UsageError, match="ref 'BARE ' is no class of the map; did you mean 'bare'"):
        class_index("BARE ", THREE, "ref")
    with pytest.raises(UsageError, match="it has water, trees, bare"):
        class_index("8", THREE, "ref")
