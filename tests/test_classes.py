"""Classes: indices in arrays, codes in files, nodata never a class."""

import numpy as np
import pytest
from builders import scheme
from hypothesis import given
from hypothesis import strategies as st

from geoseg.classes import ClassScheme, LandClass, parse_color
from geoseg.errors import ConfigError

names = st.text(min_size=1, max_size=10).filter(str.strip)
groups = st.just("") | names
colors = st.tuples(*[st.integers(0, 255)] * 3)
schemes = st.lists(
    st.builds(LandClass, code=st.integers(0, 65534), name=names, color=colors, thing=st.booleans(), group=groups),
    min_size=1,
    max_size=20,
    unique_by=(lambda c: c.code, lambda c: c.name),
).map(lambda classes: ClassScheme(tuple(classes)))


@given(schemes)
def test_round_trip(classes):
    assert ClassScheme.from_json(classes.to_json()) == classes


def test_a_group_is_written_only_where_there_is_one():
    plain, grouped = LandClass(1, "a", (0, 0, 0)), LandClass(2, "b", (0, 0, 0), group="земля")
    rows = ClassScheme((plain, grouped)).to_json()
    assert [row.get("group") for row in rows] == [None, "земля"]


@given(schemes)
def test_codes_and_nodata_fit_the_type(classes):
    assert classes.dtype == ("uint8" if max(classes.codes) <= 254 else "uint16")
    assert classes.nodata == np.iinfo(classes.dtype).max
    assert classes.nodata not in classes.codes


@given(schemes)
def test_the_table_leads_from_every_index_to_its_code(classes):
    table = classes.code_of_index
    assert table.dtype == classes.dtype
    assert tuple(table[: len(classes)]) == classes.codes
    assert (table[len(classes) :] == classes.nodata).all()
    assert table[classes.no_index] == classes.nodata


@pytest.mark.parametrize(
    ("code", "dtype", "nodata"),
    [
        (254, "uint8", 255),
        (255, "uint16", 65535),
        (65534, "uint16", 65535),
        (65535, "int32", 2147483647),
        (2147483646, "int32", 2147483647),
    ],
)
def test_the_largest_code_decides_the_type(code, dtype, nodata):
    classes = ClassScheme((LandClass(1, "a", (0, 0, 0)), LandClass(code, "b", (0, 0, 0))))
    assert (classes.dtype, classes.nodata) == (dtype, nodata)


@pytest.mark.parametrize(("n", "dtype", "no_index"), [(1, "uint8", 255), (254, "uint8", 255), (255, "uint16", 65535)])
def test_many_classes_need_wide_indices(n, dtype, no_index):
    classes = scheme(n)
    assert (classes.index_dtype, classes.no_index) == (dtype, no_index)
    assert len(classes.code_of_index) == no_index + 1


def test_by_code():
    assert scheme(3).by_code(20).name == "class 1"
    with pytest.raises(KeyError):
        scheme(3).by_code(1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"code": -1}, "code -1 of 'x' is outside 0…2147483646"),
        ({"code": 2147483647}, "code 2147483647"),
        ({"name": " "}, "class 1 has an empty name"),
        ({"color": (0, 0)}, r"color \(0, 0\) of class 'x'"),
        ({"color": (0, 0, 256)}, "not three numbers 0…255"),
    ],
)
def test_bad_classes(fields, message):
    with pytest.raises(ConfigError, match=message):
        LandClass(**({"code": 1, "name": "x", "color": (0, 0, 0)} | fields))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ((), "at least one class"),
        ((LandClass(1, "a", (0, 0, 0)), LandClass(1, "b", (0, 0, 0))), "class code 1 occurs twice"),
        ((LandClass(1, "a", (0, 0, 0)), LandClass(2, "a", (0, 0, 0))), "class name 'a' occurs twice"),
    ],
)
def test_bad_schemes(classes, message):
    with pytest.raises(ConfigError, match=message):
        ClassScheme(classes)


@pytest.mark.parametrize(
    "rows",
    [
        None,
        5,
        "water",
        {"code": 1},
        [1],
        [{"code": 1, "name": "a"}],
        [{"code": "one", "name": "a", "color": "#000000"}],
        [{"code": None, "name": "a", "color": "#000000"}],
        [{"code": 1, "name": "a", "color": "#0000"}],
    ],
)
def test_malformed_lists_are_config_errors(rows):
    with pytest.raises(ConfigError):
        ClassScheme.from_json(rows)


@given(colors)
def test_colors_round_trip(color):
    land_class = LandClass(1, "x", color)
    assert parse_color(land_class.hex_color) == color
    assert parse_color(land_class.hex_color.upper().removeprefix("#")) == color


@pytest.mark.parametrize("text", ["", "#", "#12345", "#1234567", "#12345678", "#gg0000", "red", "1,2,3"])
def test_bad_colors(text):
    with pytest.raises(ConfigError, match="not of the form #rrggbb"):
        parse_color(text)
