"""Metadata of QGIS Deepness, read from files of all kinds."""

import json

import pytest

from geoseg.errors import ConfigError
from geoseg.model.deepness import DeepnessFacts, read_facts


def told(**values):
    return {key: json.dumps(value) for key, value in values.items()}


def test_everything_that_a_file_says():
    facts = read_facts(
        told(
            model_type="Segmentor",
            class_names={"1": "field", "0": "other"},
            resolution=300,
            tile_size=512,
            tiles_overlap=15,
            seg_thresh=0.5,
            standardization_mean=[0.5, 0.25],
            standardization_std=[0.2, 0.1],
        ),
        bands=2,
    )
    assert facts == DeepnessFacts(
        classes=("other", "field"),
        gsd_m=3.0,
        chip=512,
        overlap=0.15,
        normalization=((127.5, 51.0), (63.75, 25.5)),
        threshold=0.5,
    )


def test_a_file_without_its_keys_says_nothing():
    assert read_facts({"author": "someone"}, bands=3) == DeepnessFacts()


def test_without_standardization_it_divides_by_255():
    assert read_facts(told(resolution=10), bands=2).normalization == ((0.0, 255.0),) * 2


@pytest.mark.parametrize("names", ["{0: 'a', 1: 'b'}", '[{"0": "a", "1": "b"}]', '{"0": "a", "1": "b"}'])
@pytest.mark.parametrize("key", ["class_names", "names"])
def test_class_names_as_json_or_as_python_writes_them(names, key):
    assert read_facts({key: names}, bands=3).classes == ("a", "b")


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        (told(model_type="Detector"), "is a Detector for Deepness"),
        (told(class_names={"0": "a", "2": "b"}), r"indices \[0, 2\], not 0, 1, 2"),
        (told(class_names=[{"0": "a"}, {"0": "b"}]), "malformed"),
        (told(class_names=7), "malformed"),
        (told(standardization_mean=[0.0], standardization_std=[1.0, 1.0]), "malformed"),
        (told(resolution="fine"), "malformed"),
        ({"resolution": "import os"}, "resolution = 'import os' cannot be read"),
    ],
)
def test_nonsense_is_one_line(metadata, says):
    with pytest.raises(ConfigError, match=says) as caught:
        read_facts(metadata, bands=2)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 78
