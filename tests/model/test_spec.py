"""The model's contract: what it refuses, and that it survives JSON."""

import json
import math

import pytest
from builders import linear_spec, scheme
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import ConfigError
from geoseg.model.spec import Architecture, Band, ModelSpec, check_chip

FULL = linear_spec(
    2,
    3,
    bands=(
        Band(name="red", mean=0.1, std=0.2, quantiles=(0.0, 0.1, 0.4)),
        Band(name="nir", mean=1.0, std=0.5, scale=1e4, curve="log_sigmoid", optional=True),
    ),
    training_data=({"name": "set", "license": "CC0"},),
    metrics={"held_out": {"accuracy": 0.9}},
    purpose="Für Tests – 土地",
)


def test_round_trip():
    assert ModelSpec.from_json(FULL.to_json()) == FULL


def altered(path, value):
    """The spec's JSON with one place replaced."""
    raw = json.loads(FULL.to_json())
    place = raw
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return json.dumps(raw)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["surprise"], 1, "surprise"),
        (["bands", 0, "surprise"], 1, "surprise"),
        (["architecture", "surprise"], 1, "surprise"),
        (["schema"], 99, "spec version 99, this geoseg reads 1"),
        (["bands"], [], "must be present and distinct"),
        (["bands", 1, "name"], "red", "['red', 'red'] must be present and distinct"),
        (["bands", 0, "name"], "", "no name"),
        (["bands", 0, "name"], 5, "no name, but 5"),
        (["license"], None, "license None is not text"),
        (["bands", 0, "std"], 0.0, "std > 0"),
        (["bands", 0, "std"], -1.0, "std > 0"),
        (["bands", 0, "mean"], math.nan, "finite"),
        (["bands", 0, "curve"], "cubic", "curve 'cubic'"),
        (["bands", 0, "plausible"], [1.0, 0.0], "low < high"),
        (["bands", 0, "plausible"], [1.0], "finite|low < high"),
        (["bands", 0, "quantiles"], [0.3, 0.2, 0.1], "rising"),
        (["bands", 0, "quantiles"], [math.nan, 0.2, 0.3], "rising"),
        (["bands", 0, "quantiles"], [0.1, 0.2], "rising"),
        (["bands", 0, "optional"], True, "must not be optional"),
        (["gsd_m"], [30.0, 10.0], "(30.0, 10.0)"),
        (["gsd_m"], [0.0, 10.0], "0 < low"),
        (["gsd_m"], [10.0], "malformed"),
        (["temperature"], 0.0, "temperature 0.0"),
        (["temperature"], math.nan, "temperature nan"),
        (["unit"], "radiance", "unit 'radiance'"),
        (["valid"], "most", "valid 'most'"),
        (["chip"], 30.5, "whole numbers"),
        (["chip"], "32", "whole numbers"),
        (["classes"], [], "at least one class"),
        (["classes", 0, "code"], 20, "20 occurs twice"),
        (["classes", 0, "code"], "ten", "malformed"),
        (["classes", 0, "color"], "red", "'red' is not of the form #rrggbb"),
        (["architecture", "options"], [], "options a mapping"),
        (["architecture", "encoder"], 5, "must be text"),
    ],
)
def test_bad_values_are_named(path, value, message):
    with pytest.raises(ConfigError) as caught:
        ModelSpec.from_json(altered(path, value))
    assert any(part in str(caught.value) for part in message.split("|"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "null", '"spec"', "{}", "[" * 100_000])
def test_what_is_no_spec_is_a_config_error(text):
    with pytest.raises(ConfigError, match="malformed"):
        ModelSpec.from_json(text)


def places(node, prefix=()):
    """All paths into nested lists and dicts."""
    if not isinstance(node, dict | list):
        return [prefix]
    steps = node if isinstance(node, dict) else range(len(node))
    return [prefix, *(path for step in steps for path in places(node[step], (*prefix, step)))]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@given(path=st.sampled_from(places(json.loads(FULL.to_json()))[1:]), value=json_values)
def test_any_damage_is_accepted_whole_or_a_config_error(path, value):
    """Never another exception: a damaged file must not look like a bug of geoseg."""
    text = altered(path, value)
    try:
        spec = ModelSpec.from_json(text)
    except ConfigError:
        return
    assert all(spec.band_names)
    assert ModelSpec.from_json(spec.to_json()).to_json() == spec.to_json()


@pytest.mark.parametrize(
    ("chip", "margin", "stride", "message"),
    [
        (100, 32, 32, "chip 100 is not a multiple of the model's stride 32; 96 would be"),
        (128, 30, 32, "margin 30 .* 32 would be"),
        (128, 64, 32, "chip 128 leaves nothing"),
        (128, -32, 32, "margin -32 .* 0 would be"),
        (0, 0, 32, "chip 0 .* 32 would be"),
        (-64, 0, 32, "chip -64 .* 32 would be"),
        (32, 0, 0, "stride 0"),
    ],
)
def test_chip_margin_stride(chip, margin, stride, message):
    with pytest.raises(ConfigError, match=message):
        check_chip(chip, margin, stride)


@given(cells=st.integers(1, 20), margins=st.integers(0, 5), stride=st.integers(1, 64))
def test_lattices_that_work_are_accepted(cells, margins, stride):
    check_chip((cells + 2 * margins) * stride, margins * stride, stride)


def test_specs_are_values():
    assert linear_spec(2, 3) == linear_spec(2, 3)
    assert linear_spec(2, 3) != linear_spec(2, 4)
    assert linear_spec(1, 3, classes=scheme(3)).band_names == ("b1",)
    assert Architecture(name="linear").options is not Architecture(name="linear").options


def test_training_footprints_are_boxes_of_all_data_and_nothing_else():
    box = [-75.1, 37.9, -75, 38]
    data = (
        {"name": "a", "footprints": [box, [1, 2, 3], "west", [0, 0, float("nan"), 1], None]},
        {"name": "b"},
        {"name": "c", "footprints": None},
        {"name": "d", "footprints": [(1, 2, 3, 4)]},
    )
    assert linear_spec(1, 2, training_data=data).training_footprints == [box, [1.0, 2.0, 3.0, 4.0]]
