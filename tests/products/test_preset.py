"""Presets: the shipped ones are whole, users' own take part, mistakes are named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from trees import CORNER, raster

from geoseg.errors import ConfigError, InputMissingError
from geoseg.products.preset import Preset, all_presets, load_preset, word_key
from geoseg.products.recognize import recognize
from geoseg.quality import RULES

SHIPPED = sorted(all_presets())
DRONE = """
title: Drone camera, reflectance
scale: 0.00002
nodata: 65535
files: 'CAM_(?P<scene>\\d+_(?P<time>\\d{8}T\\d{6}))_(?P<band>\\d)\\.tif'
time_format: '%Y%m%dT%H%M%S'
bands: {1: blue, 2: green, 3: red, 4: nir, 5: rededge071}
quality:
  - {file: 'CAM_{scene}_mask.tif', rule: nonzero}
"""


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_presets(name: str) -> None:
    preset = load_preset(all_presets()[name])
    tables = [preset.bands] if preset.bands else [variant.bands for variant in preset.variants.values()]
    layers = [*preset.quality, *(entry for variant in preset.variants.values() for entry in variant.quality or ())]
    assert {rule for entry in layers for rule in (entry.rule, *entry.choices) if rule} <= set(RULES)
    for bands in tables:
        assert {"red", "green", "blue"} <= {band.name for band in bands.values()}
        assert all(bands[word].name for order in preset.order for word in order)


def test_the_issues_presets_are_there() -> None:
    asked = "s2-l2a s2-l1c landsat-c2-l2 landsat-c2-l1 landsat-c1-l1 landsat-pre hls-l30 hls-s30 naip planet rgb8"
    assert set(asked.split()) <= set(SHIPPED)


def five(folder: Path) -> Path:
    for number in range(1, 6):
        raster(folder / f"CAM_0007_20240601T101112_{number}.tif", np.full((4, 4), number, np.uint16), CORNER)
    raster(folder / "CAM_0007_20240601T101112_mask.tif", np.zeros((4, 4), np.uint8), CORNER)
    return folder


def test_a_users_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = five(tmp_path / "flight")
    own = tmp_path / "presets"
    own.mkdir()
    (own / "cam.yaml").write_text(DRONE)
    by_path = recognize([folder], str(own / "cam.yaml"))
    monkeypatch.setenv("GEOSEG_SENSORS", str(own))
    assert by_path == recognize([folder], "cam") == recognize([folder])
    assert by_path is not None
    assert (by_path.sensor, by_path.scene_id) == ("cam", "0007_20240601T101112")
    assert [band.name for band in by_path.bands] == ["blue", "green", "red", "nir", "rededge071"]
    assert {(band.scale, band.offset, band.nodata) for band in by_path.bands} == {(0.00002, 0.0, 65535)}
    assert by_path.bands[0].gsd_m == pytest.approx(10, rel=2e-3)  # as the files say
    assert [layer.rule for layer in by_path.quality] == ["nonzero"]
    assert by_path.acquired is not None
    assert by_path.acquired.isoformat() == "2024-06-01T10:11:12+00:00"
    monkeypatch.setenv("GEOSEG_SENSORS", str(own / "missing"))
    with pytest.raises(ConfigError, match=r"GEOSEG_SENSORS=.*missing is no folder"):
        recognize([folder])


def test_a_preset_of_four_lines(tmp_path: Path) -> None:
    preset = tmp_path / "cam.yaml"
    preset.write_text("title: Five bands\nscale: 0.1\nbands: [blue, green, red, nir, rededge071]\n")
    path = raster(tmp_path / "x.tif", np.zeros((5, 4, 4), np.uint16), CORNER)
    product = recognize([path], str(preset))
    assert product is not None
    assert [(band.index, band.name, band.scale) for band in product.bands] == [
        (1, "blue", 0.1),
        (2, "green", 0.1),
        (3, "red", 0.1),
        (4, "nir", 0.1),
        (5, "rededge071", 0.1),
    ]


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("bands: [red]", "title", "Field required"),
        ("title: x", "file", "needs either bands or variants"),
        ("title: x\nbands: [red]\ncolour: y", "colour", "Extra inputs"),
        ("title: x\nbands: [Red Edge]", r"bands\.Red Edge\.name", "match pattern"),
        ("title: x\nbands: {B2: red, B02: blue}", "file", "'b2' means both B2 and B02"),
        ("title: x\nbands: [red]\norder: [red, nir]", "file", "order names unknown bands: nir"),
        ("title: x\nbands: [red]\nscale: 0", "scale", "greater than 0"),
        ("title: x\nbands: [red]\noffset: maybe", "offset", "valid number|'ask'"),
        ("title: x\nbands: [red]\nfiles: '(x'", "files", "no regular expression"),
        ("title: x\nbands: [red]\nfiles: 'x'", "file", r"needs a group \(\?P<band>"),
        ("title: x\nbands: [red]\nmarker: 'x'", "file", "marker needs files"),
        ("title: x\nbands: [red]\ntime_format: '%Y'", "file", "time_format needs a group"),
        ("title: x\nbands: [red]\nquality: [{file: x, rule: sclouds}]", r"quality\.0", "'sclouds' is unknown"),
        ("title: x\ntitle: y", "", "occurs twice"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, where: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"sensor preset .*mine\.yaml.*{where}.*({said})"):
        load_preset(path)


def test_a_missing_preset(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match=r"none\.yaml"):
        recognize([tmp_path / "x.tif"], str(tmp_path / "none.yaml"))


def test_words() -> None:
    assert word_key("B02") == word_key("b2") == word_key(" B2 ") == "b2"
    assert len({word_key(word) for word in ("B1", "B10", "B8A", "B08", "SR_B4", "B4")}) == 6


def test_patterns_match_in_any_case() -> None:
    preset = Preset.model_validate({"title": "x", "bands": ["red"], "files": r"A_(?P<band>\w+)\.TIF"})
    assert preset.files is not None
    assert preset.files.fullmatch("a_red.tif")


def test_asking_about_plain_files_loads_no_raster_library() -> None:
    ask = "import sys; from geoseg.products.recognize import recognize; recognize(sys.argv[1:])"
    code = f"{ask}; sys.exit('rasterio' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, __file__], check=True)
