"""Legends: who takes whom, what is refused, and scores that are summed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.classes import ClassScheme, LandClass, generated_color
from geoseg.errors import ConfigError
from geoseg.legend import Entry, Legend, Merge

SOURCE = ClassScheme(
    (
        LandClass(10, "trees", (0, 100, 0), thing=True),
        LandClass(30, "Grass_land", (0, 200, 0), group="green"),
        LandClass(40, "cropland", (200, 0, 200)),
        LandClass(80, "water", (0, 0, 200)),
    )
)


def legend(*entries: Entry) -> Legend:
    return Legend.of(entries, "my.yaml")


def taken(legend: Legend, source: ClassScheme = SOURCE) -> dict[str, str]:
    merge = legend.onto(source)
    return {source.names[index]: merge.scheme.names[output] for index, output in enumerate(merge.index_of)}


def test_classes_are_merged_by_name_or_code_and_the_others_renamed() -> None:
    found = legend(
        Entry(1, "Grün", (1, 2, 3), "land", ("TREES", "grass land", "40")), Entry(2, "Wasser", sources=("water",))
    )
    assert taken(found) == {"trees": "Grün", "Grass_land": "Grün", "cropland": "Grün", "water": "Wasser"}
    assert found.onto(SOURCE).index_of == (0, 0, 0, 1)
    assert found.onto(SOURCE).scheme.classes[0] == LandClass(1, "Grün", (1, 2, 3), group="land")


def test_a_class_without_a_list_takes_its_own_name_before_its_own_code() -> None:
    swapped = legend(Entry(10, "water"), Entry(80, "trees"), Entry(30, "Wiese"), Entry(5, "cropland"))
    assert taken(swapped) == {"trees": "trees", "Grass_land": "Wiese", "cropland": "cropland", "water": "water"}
    assert [swapped.onto(SOURCE).scheme.codes[i] for i in swapped.onto(SOURCE).index_of] == [80, 30, 5, 10]


def test_a_code_that_another_class_takes_is_left_to_it_and_the_class_stays_empty() -> None:
    found = legend(Entry(1, "green", sources=("trees", "Grass_land", "cropland")), Entry(40, "snow"), Entry(80, "sea"))
    merge = found.onto(SOURCE)
    assert merge.index_of == (0, 0, 0, 2)
    assert merge.scheme.names == ("green", "snow", "sea")


def test_names_come_before_codes() -> None:
    source = ClassScheme((LandClass(7, "a", (0, 0, 0)), LandClass(2, "7", (0, 0, 0))))
    found = legend(Entry(1, "one", sources=("7",)), Entry(3, "two", sources=("a",)))
    assert found.onto(source).index_of == (1, 0)
    # A class that is called like a number means no code by that.
    assert taken(legend(Entry(10, "30"), Entry(30), Entry(40), Entry(80)))["trees"] == "30"


def test_what_is_left_open_comes_from_the_renamed_class_but_not_into_a_merge() -> None:
    found = legend(Entry(10), Entry(30, "Wiese"), Entry(99, "rest", sources=("cropland", "water")))
    trees, grass, rest = found.onto(SOURCE).scheme.classes
    assert trees == SOURCE.classes[0]  # name, color, and that it is a thing
    assert grass == LandClass(30, "Wiese", (0, 200, 0), group="green")
    assert rest == LandClass(99, "rest", generated_color(99))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ((Entry(10, "a"), Entry(30, "b")), r"takes no class 40 'cropland', 80 'water': list it under `from`"),
        ((Entry(1, "a", sources=("water",)), Entry(2, "b", sources=("80", "trees"))), r"'a' and 'b' take .*'water'"),
        ((Entry(1, "a", sources=("Water",)), Entry(2, "b", sources=("water",))), "'water' is taken by two classes"),
        ((Entry(1, "a"), Entry(1, "b")), "legend my.yaml: class code 1 occurs twice"),
        ((Entry(10), Entry(30), Entry(40), Entry(8)), r"takes no class 80 'water': [^;]*\.$"),
        # Fed by name, the class of code 10 does not take the trees, too.
        ((Entry(10, "water"), Entry(30), Entry(40)), r"takes no class 10 'trees'"),
        ((), "at least one class"),
        ((Entry(3_000_000_000, "a"),), "3000000000 of 'a' is outside"),
        (
            (Entry(80), Entry(1, "water", sources=("trees",)), Entry(2, "b", sources=("30", "40"))),
            "legend my.yaml: .*'water'",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(entries: tuple[Entry, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        legend(*entries).onto(SOURCE)


def test_names_that_differ_in_case_alone_must_be_written_exactly() -> None:
    source = ClassScheme((LandClass(1, "Ice", (0, 0, 0)), LandClass(2, "ice", (0, 0, 0))))
    assert legend(Entry(5, "a", sources=("Ice",)), Entry(6, "b", sources=("2",))).onto(source).index_of == (0, 1)
    with pytest.raises(ConfigError, match="takes no class 1 'Ice', 2 'ice'"):
        legend(Entry(5, "a", sources=("ICE",))).onto(source)


def test_bare_codes_are_named_by_a_first_legend() -> None:
    bare = ClassScheme((LandClass(10, "class 10", (0, 0, 0)), LandClass(80, "class 80", (0, 0, 0))))
    last = legend(Entry(1, "land", sources=("trees", "cropland")), Entry(2, "sea", sources=("water",)))
    with pytest.raises(ConfigError, match=r"named first by --legend NAMES\+my.yaml"):
        last.onto(bare)
    names = legend(Entry(10, "trees"), Entry(70, "snow"), Entry(80, "water"))  # the snow that never comes needs no home
    both = Legend(last.scheme, last.sources, last.name, last.unsaid, first=names)
    assert both.onto(bare) == Merge(last.scheme, (0, 1))


@given(st.data())
def test_merging_scores_is_summing_them(data: st.DataObject) -> None:
    n, outputs = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 5))
    index_of = tuple(data.draw(st.integers(0, outputs - 1)) for _ in range(n))
    scheme = ClassScheme(tuple(LandClass(code, f"c{code}", (0, 0, 0)) for code in range(outputs)))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    scores = rng.random((n, 5, 4), np.float32)
    scores /= scores.sum(axis=0)
    merged = Merge(scheme, index_of).scores(scores)
    indicator = np.equal.outer(np.arange(outputs), index_of).astype(float)
    np.testing.assert_allclose(merged, np.tensordot(indicator, scores.astype(float), 1), atol=1e-6)
    np.testing.assert_allclose(merged.sum(axis=0), 1, atol=1e-6)
    assert merged.dtype == np.float32
    # Pixel by pixel the same bytes, whichever window they are summed in.
    np.testing.assert_array_equal(merged[:, 1:3, 2:], Merge(scheme, index_of).scores(scores[:, 1:3, 2:]))


def test_one_to_one_scores_are_only_reordered() -> None:
    scores = np.random.default_rng(1).random((2, 3, 3), np.float32)
    scheme = ClassScheme((LandClass(1, "a", (0, 0, 0)), LandClass(2, "b", (0, 0, 0)), LandClass(3, "c", (0, 0, 0))))
    merged = Merge(scheme, (2, 0)).scores(scores)
    np.testing.assert_array_equal(merged, np.stack([scores[1], np.zeros((3, 3)), scores[0]]))
    with pytest.raises(ValueError, match="scores of 3 classes for a legend on 2"):
        Merge(scheme, (2, 0)).scores(merged)


def test_a_background_of_zeros_is_told_to_be_nodata() -> None:
    source = ClassScheme((LandClass(0, "class 0", (0, 0, 0)), LandClass(1, "class 1", (0, 0, 0))))
    with pytest.raises(ConfigError, match=r"takes no class 0 'class 0': .*-a_nodata 0"):
        legend(Entry(1, "a")).onto(source)


def test_a_legend_may_say_what_is_a_thing() -> None:
    trees, grass = LandClass(1, "trees", (0, 99, 0), thing=True), LandClass(2, "grass", (0, 200, 0))
    entries = [Entry(1, "trees"), Entry(2, "grass", thing=True)]
    merged = Legend.of(entries, "test").onto(ClassScheme((trees, grass)))
    assert [c.thing for c in merged.scheme.classes] == [True, True]
    both = Legend.of([Entry(5, "green", sources=("trees", "grass"))], "test").onto(ClassScheme((trees, grass)))
    assert [c.thing for c in both.scheme.classes] == [False]
    told = Legend.of([Entry(1, "trees", thing=False), Entry(2, "grass")], "test")
    assert [c.thing for c in told.onto(ClassScheme((trees, grass))).scheme.classes] == [False, False]
    assert told.meaning != Legend.of([Entry(1, "trees"), Entry(2, "grass")], "test").meaning
