"""Score rasters, blending, views of a chip and the seam number, through the command line and the files it writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from builders import border_model, linear_model, write_raster
from cli_kit import CLASSES, codes_of, geoseg, names_in, reflectance_model
from rio_cogeo import cog_validate

from geoseg.io.record import verify_record

SCORES = ("--confidence", "--ambiguity", "--probabilities")
LAYERS = ("confidence", "ambiguity", "probabilities")


@pytest.fixture(scope="module")
def full(piece, model, tmp_path_factory) -> Path:
    """A run with every score raster."""
    out = tmp_path_factory.mktemp("scores") / "out"
    done = geoseg("run", piece, "-o", out, "-m", model, *SCORES, "--tile", "48")
    assert done.code == 0, done.err
    return out


def bands_of(path: Path) -> np.ndarray:
    """(class, row, col)."""
    with rasterio.open(path) as dataset:
        return dataset.read().astype(int)


def test_a_band_a_class_and_the_best_of_them_is_the_confidence(full) -> None:
    codes, bands = codes_of(full / "piece.classes.tif"), bands_of(full / "piece.probabilities.tif")
    valid = codes != 255
    with rasterio.open(full / "piece.probabilities.tif") as dataset, rasterio.open(full / "piece.classes.tif") as map_:
        assert dataset.descriptions == CLASSES.names
        assert dataset.scales == (1 / 255,) * 4
        assert dataset.nodatavals == (0,) * 4
        assert (dataset.crs, dataset.transform, dataset.shape) == (map_.crs, map_.transform, map_.shape)
    assert (bands[:, ~valid] == 0).all()
    assert (bands[:, valid] >= 1).all()
    np.testing.assert_array_equal(codes_of(full / "piece.confidence.tif"), bands.max(axis=0))
    best = np.take_along_axis(bands, np.searchsorted(CLASSES.codes, np.where(valid, codes, 1))[None], axis=0)[0]
    np.testing.assert_array_equal(best, bands.max(axis=0))
    assert np.abs(bands.sum(axis=0) - 255)[valid].max() <= 4 * 1


def test_ambiguity_is_one_less_the_lead(full) -> None:
    second, best = np.sort(bands_of(full / "piece.probabilities.tif"), axis=0)[-2:]
    found = codes_of(full / "piece.ambiguity.tif").astype(int)
    valid = codes_of(full / "piece.classes.tif") != 255
    assert (found[~valid] == 0).all()
    assert (found[valid] >= 1).all()
    assert np.abs(found - (255 - (best - second)))[valid].max() <= 2
    assert np.ptp(found[valid]) > 150


@pytest.mark.parametrize("layer", LAYERS)
def test_files_are_cogs_with_their_place_in_the_record(full, layer) -> None:
    assert cog_validate(full / f"piece.{layer}.tif", strict=True, quiet=True) == (True, [], [])
    asset = json.loads((full / "piece.json").read_text())["assets"][layer]
    assert asset["href"] == f"./piece.{layer}.tif"
    assert asset["roles"] == ["data"]
    assert "1…255" in asset["title"]
    assert verify_record(full / "piece.json") == []


def test_segment_writes_the_same_beside_its_raster(full, piece, model, tmp_path) -> None:
    call = ["segment", piece, "-o", tmp_path / "a.tif", "-m", model, "--ambiguity", "--probabilities"]
    done = geoseg(*call, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    rest = {"tif", "tif.aux.xml", "qml", "tif.json", "ambiguity.tif", "probabilities.tif", "tiles.parquet"}
    assert names_in(tmp_path) == {f"a.{r}" for r in rest}
    assert told["confidence"] is None
    for layer in LAYERS[1:]:
        assert told[layer] == str(tmp_path / f"a.{layer}.tif")
        np.testing.assert_array_equal(bands_of(tmp_path / f"a.{layer}.tif"), bands_of(full / f"piece.{layer}.tif"))
    again = json.loads(geoseg(*call, "--json").out)
    assert (again["up_to_date"], again["summary"]) == (True, told["summary"])


def test_a_new_unit_takes_every_score_raster_from_the_earlier_answer(piece, model, tmp_path) -> None:
    call = ["run", piece, "-o", tmp_path, "-m", model, *SCORES]
    assert geoseg(*call).code == 0
    before = {layer: (tmp_path / f"piece.{layer}.tif").read_bytes() for layer in LAYERS}
    done = geoseg(*call, "--mmu", "9px", "--overwrite", "--json")
    assert done.code == 0, done.err
    assert "pixels are those of piece.classes.tif" in done.err
    assert {layer: (tmp_path / f"piece.{layer}.tif").read_bytes() for layer in LAYERS} == before
    assert json.loads(done.out)["ambiguity"] == str(tmp_path / "piece.ambiguity.tif")
    assert geoseg(*call, "--overwrite").code == 0
    assert {layer: (tmp_path / f"piece.{layer}.tif").read_bytes() for layer in LAYERS} == before


def test_a_legend_merges_the_probabilities(full, piece, model, tmp_path) -> None:
    rows = "classes:\n  - {code: 5, name: wet, from: [water]}\n  - {code: 6, name: land, from: [trees, built, bare]}\n"
    (tmp_path / "legend.yaml").write_text(rows)
    output = tmp_path / "a.tif"
    flags = ["--probabilities", "--legend", tmp_path / "legend.yaml"]
    done = geoseg("segment", piece, "-o", output, "-m", model, *flags)
    assert done.code == 0, done.err
    with rasterio.open(tmp_path / "a.probabilities.tif") as dataset:
        assert dataset.descriptions == ("wet", "land")
    merged, single = bands_of(tmp_path / "a.probabilities.tif"), bands_of(full / "piece.probabilities.tif")
    np.testing.assert_array_equal(merged[0], single[0])
    assert np.abs(merged[1] - single[1:].sum(axis=0)).max() <= 3


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--blend", "taper"], '(blend: "trim" → "taper"'),
        (["--tta", "flip"], '(tta: "none" → "flip"'),
        (["--ambiguity"], '(scores: [] → ["ambiguity"]'),
    ],
)
def test_each_is_part_of_the_key(piece, model, tmp_path, flags, named) -> None:
    call = ["segment", piece, "-o", tmp_path / "a.tif", "-m", model]
    assert geoseg(*call).code == 0
    done = geoseg(*call, *flags)
    assert (done.code, named in done.last) == (73, True), done.err
    assert geoseg(*call, *flags, "--overwrite").code == 0


@pytest.fixture
def lopsided(tmp_path) -> tuple[Path, Path]:
    """A scene of 150 × 130 and a model whose kernel of radius 4 looks to one side."""
    data = np.random.default_rng(0).integers(1, 99, (2, 150, 130)).astype("uint8")
    weight = np.random.default_rng(5).normal(0, 0.02, (3, 2, 9, 9))
    scene = write_raster(tmp_path / "scene.tif", data)
    return scene, linear_model(tmp_path / "m.safetensors", weight, [0, 0, 0], margin=8).path


@pytest.mark.parametrize("flags", [["--blend", "taper"], ["--tta", "d4"], ["--blend", "taper", "--tta", "flip"]])
def test_tiles_do_not_show_whatever_the_blend(lopsided, tmp_path, flags) -> None:
    scene, model = lopsided
    for tile in (16, 1000):
        call = ["segment", scene, "-o", tmp_path / f"{tile}.tif", "-m", model, "--tile", tile, *SCORES, *flags]
        done = geoseg(*call)
        assert done.code == 0, done.err
    for rest in ("tif", *(f"{layer}.tif" for layer in LAYERS)):
        np.testing.assert_array_equal(bands_of(tmp_path / f"16.{rest}"), bands_of(tmp_path / f"1000.{rest}"))
    assert geoseg("segment", scene, "-o", tmp_path / "plain.tif", "-m", model, *SCORES).code == 0
    plain, found = (codes_of(tmp_path / f"{name}.tif") for name in ("plain", "16"))
    if "d4" in flags or "flip" in flags:
        assert (plain != found).mean() > 0.05
    else:  # half the margin covers the radius: law 3
        np.testing.assert_array_equal(plain, found)


def test_a_dry_run_tells_what_they_cost(sample, model, tmp_path) -> None:
    def told(*flags: str) -> dict:
        done = geoseg("run", sample, "-o", tmp_path, "-m", model, "--tile", "100", "--dry-run", "--json", *flags)
        return json.loads(done.out)

    plain, tapered = told(), told("--blend", "taper", "--tta", "d4")
    assert (plain["blend"], plain["views"]) == ("trim", 1)
    assert (tapered["blend"], tapered["views"]) == ("taper", 8)
    assert tapered["halo_factor"] == pytest.approx(plain["halo_factor"] * tapered["chips"] / plain["chips"], rel=0.1)
    assert tapered["chips"] > 1.8 * plain["chips"]  # 6 × 6 chips for 4 × 4 cells
    pixels = 1024 * 1024
    assert told("--probabilities")["disk_bytes"] - plain["disk_bytes"] >= 2 * 4 * pixels
    assert told("--ambiguity")["disk_bytes"] - plain["disk_bytes"] >= 2 * pixels
    text = geoseg("run", sample, "-o", tmp_path, "-m", model, "--tta", "d4", "--dry-run").out
    assert "each predicted in 8 views" in text


@pytest.mark.parametrize(
    ("radius", "says", "shares"),
    [
        (2, "seam: 0 % of pixels differ between neighboring chips at the seam, 100 % at the chip's edge", (0, 1)),
        (4, "seam: 100 % of pixels differ between neighboring chips at the seam, 100 % at the chip's edge", (1, 1)),
    ],
)
def test_the_seam_number_is_told_and_recorded(tmp_path, radius, says, shares) -> None:
    """A network that calls what lies near its chip's edge by another class; margin 4, stride 4."""
    scene = write_raster(tmp_path / "ones.tif", np.ones((70, 90), "uint8"))
    model = border_model(tmp_path / "m.safetensors", radius, stride=4).path
    done = geoseg("run", scene, "-o", tmp_path / "out", "-m", model)
    assert (done.code, says in done.out.splitlines()) == (0, True), done.out
    item = json.loads((tmp_path / "out" / "ones.json").read_text())
    expected = {"at_seam": shares[0], "at_edge": shares[1], "seam_px": 96, "edge_px": 96}
    assert item["properties"]["geoseg:seam"] == item["geoseg:summary"]["seam"] == expected
    again = geoseg("run", scene, "-o", tmp_path / "out", "-m", model)
    assert says in again.out.splitlines()


def test_one_chip_has_no_seam(tmp_path) -> None:
    scene = write_raster(tmp_path / "ones.tif", np.ones((20, 20), "uint8"))
    model = border_model(tmp_path / "m.safetensors", 2).path
    done = geoseg("run", scene, "-o", tmp_path / "out", "-m", model)
    assert (done.code, "seam:" in done.out) == (0, False)
    assert json.loads((tmp_path / "out" / "ones.json").read_text())["properties"]["geoseg:seam"] is None


# ── models margin ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_margin_of_a_model_is_measured_on_an_image(tmp_path) -> None:
    """A ring of weights of radius 5: no smaller margin will do; what is not valid does not count."""
    data = np.random.default_rng(0).integers(1, 255, (1, 300, 280)).astype("uint8")
    data[:, :, 200:] = 0
    scene = write_raster(tmp_path / "scene.tif", data, nodata=0)
    ring = np.zeros((2, 1, 11, 11))
    ring[0, 0, [0, -1]] = ring[0, 0, :, [0, -1]] = 0.01
    ring[1] = -ring[0]
    model = linear_model(tmp_path / "m.safetensors", ring, [-50.0, 0.0], chip=64, margin=2).path
    done = geoseg("models", "margin", scene, "-m", model, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert (told["margin"], told["file_margin"], told["chip"]) == (5, 2, 64)
    assert list(told["disagreement"]) == ["1", "2", "3", "4", "5"]
    assert told["disagreement"]["5"] == 0
    assert told["disagreement"]["4"] > told["disagreement"]["5"]
    assert told["pixels"] < 192 * 192
    text = geoseg("models", "margin", scene, "-m", model).out.splitlines()
    assert text[-1] == "toy 1 in chips of 64 px: 5 are enough; its file says 2"
    assert text[-2] == "margin    5 px: 0.000% of pixels change when it is doubled"


def test_a_margin_that_does_not_fit_its_chip_is_told_with_the_shares(tmp_path) -> None:
    data = np.random.default_rng(0).integers(1, 255, (1, 90, 90)).astype("uint8")
    weight = np.random.default_rng(1).normal(0, 0.01, (2, 1, 31, 31))
    model = linear_model(tmp_path / "m.safetensors", weight, [0, 0]).path
    done = geoseg("models", "margin", write_raster(tmp_path / "s.tif", data), "-m", model)
    assert (done.code, "in chips of 32 pixels (1 px: " in done.last) == (78, True), done.err


def test_nothing_valid_is_nothing_to_measure(tmp_path) -> None:
    scene = write_raster(tmp_path / "s.tif", np.zeros((6, 40, 40), "uint16"), nodata=0, names=["x"] * 6)
    model = reflectance_model(tmp_path / "m.safetensors")
    flags = ["--bands", "blue=1,green=2,red=3,nir=4,swir16=5,swir22=6", "--scale", "0.0001"]
    done = geoseg("models", "margin", scene, "-m", model, *flags)
    assert (done.code, "no valid pixel found to measure on" in done.last) == (65, True), done.err
