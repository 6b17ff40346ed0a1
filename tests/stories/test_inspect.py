"""`geoseg info`: what a raster is, whether it fits a model."""

from __future__ import annotations

import json

import numpy as np
import pytest
from builders import write_raster
from cli_kit import BANDS, cut, geoseg, reflectance_model


def info(*args) -> dict:
    done = geoseg("info", *args, "--json")
    assert done.code == 0, done.err
    assert done.err == ""
    return json.loads(done.out)


def test_info_tells_what_the_sample_is(sample) -> None:
    report = info(sample)
    assert report["grid"]["crs"] == "EPSG:32618"
    assert report["grid"]["size"] == [1024, 1024]
    assert report["grid"]["transform"] == [10, 0, 439730, 0, -10, 4176460]
    assert report["grid"]["gsd_m"] == pytest.approx(10, rel=1e-3)
    assert [band["name"] for band in report["bands"]] == list(BANDS)
    assert {(band["scale"], band["offset"], band["validity"]) for band in report["bands"]} == {(1e-4, 0, "nodata 0")}
    assert (report["radiometry"], report["proposals"], report["fits"]) == ("file", [], None)
    assert report["files"][0]["dtypes"] == ["uint16"] * 6


def test_info_for_people_says_the_same(sample, model) -> None:
    done = geoseg("info", sample, "-m", model)
    assert done.code == 0
    for part in ("1024 × 1024", "WGS 84 / UTM zone 18N (EPSG:32618)", "swir22", "model toy 1: fits"):
        assert part in done.out


def test_info_gives_the_quantiles_that_the_fit_was_judged_by(sample, model) -> None:
    report = info(sample, "-m", model)
    assert report["fits"] is True
    assert [value["name"] for value in report["values"]] == list(BANDS)
    for value in report["values"]:
        assert 0 < value["p1"] < value["p50"] < value["p99"] < 0.5
        assert value["implausible"] == 0


@pytest.mark.parametrize(
    ("flags", "change", "reason"),
    [
        (["--bands", "red=3,nir=4"], {}, "needs bands blue, green, swir16, swir22"),
        (["--scale", "1"], {}, "a missing scale?"),
        ([], {"gsd_m": (0.3, 0.5)}, "far from the 0.3…0.5 m"),
    ],
    ids=["bands", "scale", "gsd"],
)
def test_info_says_why_a_model_does_not_fit_and_run_refuses_for_that_reason(sample, tmp_path, flags, change, reason):
    model = reflectance_model(tmp_path / "m.safetensors", **change)
    told = geoseg("info", sample, "-m", model, *flags, "--json")
    report = json.loads(told.out)
    assert (told.code, report["fits"]) == (65, False)
    assert reason in report["misfit"]
    assert "does not fit" in geoseg("info", sample, "-m", model, *flags).out
    done = geoseg("run", sample, "-o", tmp_path / "out", "-m", model, *flags)
    assert done.code in {65, 78}
    assert reason in done.last
    assert not (tmp_path / "out").exists()


def test_a_collar_is_proposed_and_the_proposal_works(tmp_path) -> None:
    data = np.random.default_rng(0).integers(1, 200, (3, 90, 110)).astype("uint8")
    data[:, :12] = data[:, :, :20] = 255
    data[0, 50, 60] = 255  # one band alone is an image, however bright
    scene = write_raster(tmp_path / "collar.tif", data)
    (proposal,) = info(scene)["proposals"]
    assert "--collar 255" in proposal
    assert "of the border is 255" in proposal
    again = info(scene, "--collar", "255")
    assert again["proposals"] == []


def test_info_of_several_files(sample, model, tmp_path) -> None:
    other = cut(sample, tmp_path / "piece.tif")
    done = geoseg("info", sample, other)
    assert (done.code, [flag in done.last for flag in ("--stack", "--each", "--mosaic")]) == (2, [True] * 3)
    report = info(sample, other, "--each", "-m", model)
    assert [scene["grid"]["size"] for scene in report["scenes"]] == [[1024, 1024], [171, 150]]
    text = geoseg("info", sample, other, "--each").out
    assert text.index(str(sample)) < text.index(str(other))
