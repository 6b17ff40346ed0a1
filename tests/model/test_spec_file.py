"""A user's YAML about a network that says little about itself."""

import pytest
import yaml

from geoseg.errors import ConfigError, GeosegWarning
from geoseg.model.spec import Architecture
from geoseg.model.spec_file import Known, read_spec_yaml, spec_of

BANDS = [{"name": "red", "mean": 0.1, "std": 0.05}, {"name": "nir", "mean": 0.3, "std": 0.1}]
CLASSES = [{"code": 3, "name": "forest", "color": "#006400"}, "water"]
FULL = {"bands": BANDS, "classes": CLASSES, "gsd_m": [10, 20], "margin": 64}


def known(**more):
    return Known(**({"name": "file", "architecture": Architecture(name="fcn"), "bands": 2, "classes": 2} | more))


def spec(tmp_path, content, **more):
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(content))
    return spec_of(path, read_spec_yaml(path), known(**more))


def test_what_the_yaml_says(tmp_path):
    found = spec(tmp_path, FULL | {"name": "forests", "license": "MIT", "temperature": 0.9})
    assert (found.name, found.license, found.temperature, found.gsd_m) == ("forests", "MIT", 0.9, (10.0, 20.0))
    assert [(band.name, band.mean, band.std) for band in found.bands] == [("red", 0.1, 0.05), ("nir", 0.3, 0.1)]
    assert [(c.code, c.name) for c in found.classes.classes] == [(3, "forest"), (1, "water")]
    assert found.classes.classes[0].color == (0, 100, 0)
    assert (found.chip, found.stride, found.margin) == (512, 32, 64)
    assert found.attribution == "not stated"


def test_the_yaml_counts_before_the_file(tmp_path):
    more = {
        "class_names": ("a", "b"),
        "normalization": ((5.0, 2.0), (6.0, 3.0)),
        "more": {"chip": 256, "gsd_m": 3.0, "unit": "dn", "margin": 32},
    }
    found = spec(tmp_path, {"bands": ["red", {"name": "nir", "std": 9.0}]}, **more)
    assert [(band.mean, band.std) for band in found.bands] == [(5.0, 2.0), (6.0, 9.0)]
    assert found.bands[0].plausible == (-32768.0, 65535.0)
    assert found.classes.names == ("a", "b")
    assert (found.chip, found.gsd_m, found.unit, found.name) == (256, (3.0, 3.0), "dn", "file")
    assert spec(tmp_path, {"bands": ["red", "nir"], "chip": 512, "gsd_m": 5}, **more).chip == 512


def test_a_margin_that_nobody_measured_is_told(tmp_path):
    content = {key: value for key, value in FULL.items() if key != "margin"}
    with pytest.warns(GeosegWarning, match="margin of 128 pixels is a guess; geoseg models margin"):
        assert spec(tmp_path, content).margin == 128


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bands": None}, "names none of the model's 2 bands"),
        ({"bands": BANDS[:1]}, "names 1 of the model's 2 bands"),
        ({"bands": [BANDS[0], "nir"]}, "band nir lacks mean and std"),
        ({"bands": [BANDS[0], {"mean": 1, "std": 1}]}, "band 2 lacks name"),
        ({"bands": [BANDS[0], BANDS[0]]}, "must be present and distinct"),
        ({"bands": [BANDS[0], {"name": "nir", "mean": 0, "std": 0}]}, "std > 0"),
        ({"bands": [BANDS[0], {"name": "nir", "mean": "x", "std": 1}]}, "malformed"),
        ({"classes": ["a", "b", "c"]}, "names 3 of the model's 2 classes"),
        ({"classes": None}, "names none of the model's 2 classes"),
        ({"classes": ["a", "a"]}, "class name 'a' occurs twice"),
        ({"classes": ["a", {"code": "x", "name": "b"}]}, "malformed"),
        ({"gsd_m": None}, "lacks gsd_m"),
        ({"gsd_m": [20, 10]}, "not 0 < low"),
        ({"stride": 0}, "spec .*zero"),
        ({"chip": 500}, "not a multiple"),
        ({"chips": 512}, "no key chips; it knows name, version"),
        ({"architecture": "unet"}, "no key architecture"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, changes, says):
    content = FULL | changes
    if "stride" in changes:
        del content["margin"]
    with pytest.raises(ConfigError, match=says) as caught:
        spec(tmp_path, content)
    assert "spec.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
