"""Which class is meant: by code, by name, as told, or not at all, with an error that says what to do."""

from __future__ import annotations

import pytest

from geoseg.accuracy.matching import Matched, Reference, match, read_pairs
from geoseg.classes import ClassScheme, LandClass, placeholder
from geoseg.errors import ConfigError, UsageError


def scheme(**codes: int) -> ClassScheme:
    return ClassScheme(
        tuple(LandClass(code, name.replace("_", " "), (code % 256, 0, 0)) for name, code in codes.items())
    )


def bare(*codes: int) -> ClassScheme:
    return ClassScheme(tuple(LandClass(code, placeholder(code), (0, 0, 0)) for code in codes))


def texts(*names: str) -> Reference:
    classes = ClassScheme(tuple(LandClass(i, name, (0, 0, 0)) for i, name in enumerate(names)))
    return Reference(classes, range(len(names)), codes_mean=False)


def all_of(classes: ClassScheme) -> Reference:
    return Reference(classes, classes.codes)


OWN = scheme(water=80, trees=10, built_up=50)


def test_codes_mean_codes() -> None:
    found = match(OWN, all_of(bare(10, 80)))
    assert found == Matched(OWN, {10: 1, 80: 0})


def test_a_map_without_names_takes_those_of_the_reference() -> None:
    found = match(bare(80, 10), all_of(scheme(trees=10, water=80)))
    assert found.scheme.names == ("water", "trees")
    assert found.warnings == ()


def test_listed_classes_that_do_not_occur_need_no_match() -> None:
    found = match(OWN, Reference(scheme(trees=10, ice=70), {10}))
    assert found.scheme == OWN
    assert found.index_of == {10: 1}


def test_a_class_of_the_reference_alone_is_told() -> None:
    found = match(OWN, all_of(scheme(trees=10, ice=70)))
    assert found.scheme.names == ("water", "trees", "built up", "ice")
    assert found.index_of == {10: 1, 70: 3}
    assert found.warnings == (
        "the map has no 70 'ice': reference pixels of these all count as wrong (--map can leave them out)",
    )


def test_other_names_of_one_code_are_told() -> None:
    (warning,) = match(OWN, all_of(scheme(Tree_cover=10, Water=80))).warnings
    assert warning == "compared by code although names differ: 10 is 'trees' in the map, 'Tree cover' in the reference"


def test_codes_that_contradict_names_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"code 10 is 'water' in the reference and 'trees' in the map, which has 'water' as 80"
    ):
        match(OWN, all_of(scheme(water=10, trees=80)))
    with pytest.raises(ConfigError, match=r"--map '10=80,80=10'"):
        match(OWN, all_of(scheme(water=10, trees=80)))


def test_nothing_in_common_suggests_the_map_by_names() -> None:
    with pytest.raises(ConfigError, match=r"no class code in common: .*--map '1=80,2=10,3=…'"):
        match(OWN, all_of(scheme(Water=1, trees=2, ice=3)))


def test_text_means_names_letter_by_letter_or_codes() -> None:
    assert match(OWN, texts("trees", "80")).index_of == {0: 1, 1: 0}
    with pytest.raises(
        ConfigError, match=r"the reference says 'Trees ', the map 'trees': names must agree letter by letter"
    ):
        match(OWN, texts("water", "Trees "))
    with pytest.raises(ConfigError, match=r"class 'ice' is none of the map's, which has 80 'water'.*--map 'ice=…'"):
        match(OWN, texts("ice"))


def test_pairs_say_what_is_what() -> None:
    found = match(OWN, all_of(bare(1, 2, 3, 4, 5)), read_pairs("1=80, 2=trees,3=10,4=none,5=77"))
    assert found.scheme.codes == (80, 10, 50, 77)
    assert found.index_of == {1: 0, 2: 1, 3: 1, 5: 3}
    assert "class 77" in found.warnings[0]
    named = match(OWN, texts("Wald", "?"), read_pairs("Wald=trees,?=none"))
    assert (named.scheme, named.index_of) == (OWN, {0: 1})


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ("1=80", r"--map leaves out class 2 of the reference; give each a class of the map, or none"),
        ("1=80,2=10,9=10", r"the reference has no class '9', but class 1, class 2"),
        ("1=80,2=forest", r"the map has no class 'forest', but 80 'water'"),
        ("1=80,class 1=10,2=10", r"'class 1' twice"),
    ],
)
def test_pairs_are_complete_and_known(pairs: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        match(OWN, all_of(bare(1, 2)), read_pairs(pairs))


def test_texts_are_listed_without_numbers_that_nobody_gave() -> None:
    with pytest.raises(ConfigError, match=r"--map leaves out 'b', 'c' of the reference"):
        match(OWN, texts("a", "b", "c"), read_pairs("a=10"))


@pytest.mark.parametrize("text", ["11", "11=", "=80", "11=80,", "11=80=90"])
def test_pairs_of_another_form(text: str) -> None:
    with pytest.raises(UsageError, match=r"REFERENCE=MAP"):
        read_pairs(text)


def test_a_class_given_twice() -> None:
    assert read_pairs("a b=1,a b = 1") == {"a b": "1"}
    with pytest.raises(UsageError, match=r"'a' twice, as '1' and '2'"):
        read_pairs("a=1,a=2")


def test_names_stay_distinct() -> None:
    found = match(
        scheme(trees=10, water=80),
        all_of(ClassScheme((LandClass(10, "trees", (0, 0, 0)), LandClass(11, "water", (0, 0, 0))))),
        None,
    )
    assert found.scheme.names == ("trees", "water", "water (11)")
