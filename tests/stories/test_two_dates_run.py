"""Two products as two dates: each keeps its own offset, clouds and time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from builders import linear_model
from cli_kit import codes_of, geoseg
from products.trees import safe
from rasterio.windows import Window

from geoseg.classes import ClassScheme, LandClass
from geoseg.io import compose, dates
from geoseg.io.scene import Scene
from geoseg.model.spec import Band

PIECE = Window(380, 420, 120, 96)
STEADY, MORE, LESS = 1, 2, 3
CLASSES = ClassScheme(
    (
        LandClass(STEADY, "steady", (200, 200, 200)),
        LandClass(MORE, "more", (0, 160, 0)),
        LandClass(LESS, "less", (160, 0, 0)),
    )
)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Near infrared that rises or falls by more than 0.02 from the first date to the second."""
    bands = tuple(Band(name=name, mean=0.0, std=1.0, plausible=(-0.2, 1.6)) for name in ("nir@1", "nir@2"))
    weight = np.array([[0, 0], [-1, 1], [1, -1]], float)[:, :, None, None]
    path = tmp_path_factory.mktemp("model") / "change.safetensors"
    changes = {"unit": "reflectance", "gsd_m": (8.0, 12.0), "bands": bands, "classes": CLASSES}
    return linear_model(path, weight, (0.02, 0.0, 0.0), **changes).path


@pytest.fixture(scope="module")
def ground(sample) -> tuple[dict[str, np.ndarray], rasterio.Affine]:
    """Digital numbers without an offset, and where they lie."""
    with rasterio.open(sample) as source:
        planes = source.read([3, 4], window=PIECE)
        place = source.transform @ rasterio.Affine.translation(PIECE.col_off, PIECE.row_off)
    return {"B04": planes[0], "B08": planes[1]}, place


def test_each_date_keeps_its_own_offset_clouds_and_time(ground, model, tmp_path) -> None:
    """The same ground before and after processing baseline 04.00, brighter in one corner.

    Mutation: the first date's offset applied to both.
    """
    bands, place = ground
    later = {name: np.where(dn > 0, dn + 1000, 0).astype("uint16") for name, dn in bands.items()}
    later["B08"][60:80, 60:100] += 900
    clouds = np.full((2, 48, 60), 4, "uint8")
    clouds[0, :3], clouds[1, :, :2] = 9, 9
    times = ("2021-06-17T10:05:59.024Z", "2022-09-25T10:10:19.024Z")
    first = safe(tmp_path / "a", bands, offset=None, scl=clouds[0], transform=place, start=times[0])
    second = safe(tmp_path / "b", later, offset=-1000, scl=clouds[1], transform=place, start=times[1])
    done = geoseg("run", first, second, "--dates", "-m", model, "-o", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    expected = np.full((96, 120), STEADY)
    expected[60:80, 60:100] = MORE
    expected[:6], expected[:, :4] = 255, 255
    classes = Path(json.loads(done.out)["classes"])
    np.testing.assert_array_equal(codes_of(classes), expected)
    assert classes.name == f"{first.stem}+{second.stem}.classes.tif"
    item = json.loads(classes.with_name(classes.name.replace(".classes.tif", ".json")).read_text("utf-8"))
    facts = item["properties"]
    assert (facts["start_datetime"], facts["end_datetime"]) == ("2021-06-17T10:05:59Z", "2022-09-25T10:10:19Z")
    assert len(facts["geoseg:masks"]) == 2
    assert [band["name"] for band in facts["geoseg:radiometry"]["bands"]] == ["nir@1", "nir@2"]
    assert [band["offset"] for band in facts["geoseg:radiometry"]["bands"]] == pytest.approx([0, -0.1])
    swapped = geoseg("segment", second, first, "--dates", "-m", model, "-o", tmp_path / "swapped.tif")
    assert swapped.code == 0, swapped.err
    np.testing.assert_array_equal(codes_of(tmp_path / "swapped.tif"), np.where(expected == MORE, LESS, expected))


def test_one_offset_for_both_turns_it_red(ground, model, tmp_path, monkeypatch) -> None:
    bands, place = ground
    later = {name: dn + np.uint16(1000) for name, dn in bands.items()}
    first = safe(tmp_path / "a", bands, offset=None, transform=place)
    second = safe(tmp_path / "b", later, offset=-1000, transform=place)
    command = ("segment", first, second, "--dates", "-m", model)
    assert geoseg(*command, "-o", tmp_path / "right.tif").code == 0
    assert (codes_of(tmp_path / "right.tif") == STEADY).all()

    def careless(scenes: list[Scene]) -> Scene:
        scene, own = dates.joined(scenes), scenes[0].bands[0]
        return replace(scene, bands=tuple(replace(band, offset=own.offset) for band in scene.bands))

    monkeypatch.setattr(compose, "joined", careless)
    assert geoseg(*command, "-o", tmp_path / "wrong.tif").code == 0
    assert (codes_of(tmp_path / "wrong.tif") == MORE).all()


def test_a_second_run_is_up_to_date_and_the_order_of_dates_is_part_of_the_key(ground, model, tmp_path) -> None:
    bands, place = ground
    places = [
        safe(tmp_path / n, bands, offset=None, transform=place, start=f"2021-0{n}-17T10:05:59.024Z") for n in "68"
    ]
    command = ("--dates", "-m", model, "-o", tmp_path / "c.tif")
    assert geoseg("segment", *places, *command).code == 0
    assert "up to date" in geoseg("segment", *places, *command).out
    swapped = geoseg("segment", *reversed(places), *command)
    assert (swapped.code, "--overwrite" in swapped.last) == (73, True)


def test_info_tells_the_bands_of_each_date(ground, model, tmp_path) -> None:
    bands, place = ground
    places = [
        safe(tmp_path / n, bands, offset=None, transform=place, start=f"2021-0{n}-17T10:05:59.024Z") for n in "68"
    ]
    found = json.loads(geoseg("info", *places, "--dates", "-m", model, "--json").out)
    assert found["fits"]
    assert [band["name"] for band in found["bands"]] == ["red@1", "nir@1", "red@2", "nir@2"]
    assert len(found["files"]) == 4
