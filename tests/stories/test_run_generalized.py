"""`geoseg run` with a minimum mapping unit: the model's answer stays, all else shows the generalized map."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from cli_kit import CLASSES, codes_of, geoseg, names_in, polygons_in, states
from scipy import ndimage

from geoseg.io.record import verify_record
from geoseg.stories import run_answer


@pytest.fixture(scope="module")
def plain(piece, model, tmp_path_factory) -> Path:
    """A finished run without a unit."""
    out = tmp_path_factory.mktemp("plain")
    assert geoseg("run", piece, "-o", out, "-m", model, "--confidence").code == 0
    return out


@pytest.fixture
def no_tiles(monkeypatch) -> None:
    """From here on no tile may be computed."""

    def fail(*_: object, **_more: object) -> None:
        raise AssertionError("tiles are computed again")

    monkeypatch.setattr(run_answer, "predicted", fail)


def test_raster_polygons_and_record_agree(plain, piece, model, tmp_path) -> None:
    call = ["run", piece, "-o", tmp_path, "-m", model, "--confidence", "--mmu", "0.2ha"]
    done = geoseg(*call, "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    codes, raw = codes_of(tmp_path / "piece.classes.tif"), codes_of(tmp_path / "piece.raw.tif")
    np.testing.assert_array_equal(raw, codes_of(plain / "piece.classes.tif"))
    assert (tmp_path / "piece.raw.tif").read_bytes() == (plain / "piece.classes.tif").read_bytes()
    table = polygons_in(tmp_path / "piece.polygons.gpkg")
    for land in CLASSES.classes:
        labels, n = ndimage.label(codes == land.code)
        own = table[table.class_id == land.code]
        assert (len(own), own.n_pixels.sum()) == (n, (labels > 0).sum())
        assert result["summary"]["pixels"][land.name] == own.n_pixels.sum()
        assert result["summary"]["area_m2"][land.name] == own.area_m2.sum() == 100 * own.n_pixels.sum()
    assert table.n_pixels.min() >= 20
    assert sum(c["area_m2"] for c in result["changed"]) == (codes != raw).sum() * 100 > 0
    assert shapely.coverage_is_valid(table.geometry.array)
    scores = codes_of(tmp_path / "piece.confidence.tif").astype(int)
    first = table.index[0]
    own = ndimage.label(codes == codes.flat[first])[0]
    assert table.score[first] == scores[own == own.flat[first]].sum() / (255 * table.n_pixels[first])
    item = json.loads((tmp_path / "piece.json").read_text())
    assert {"classes", "raw", "confidence"} <= item["assets"].keys()
    assert verify_record(tmp_path / "piece.json") == []
    again = geoseg(*call)
    assert (again.code, "up to date" in again.out, "ha changed class" in again.out) == (0, True, True)


def test_the_raw_raster_is_the_input_of_the_next_vectorize(piece, model, tmp_path) -> None:
    assert geoseg("run", piece, "-o", tmp_path, "-m", model, "--confidence", "--mmu", "15px").code == 0
    assert geoseg("vectorize", tmp_path / "piece.raw.tif", "-o", tmp_path / "again.fgb", "--mmu", "15px").code == 0
    first, second = polygons_in(tmp_path / "piece.polygons.gpkg"), polygons_in(tmp_path / "again.fgb")
    assert first.drop(columns="geometry").equals(second.drop(columns="geometry"))
    assert shapely.equals(first.geometry.array, second.geometry.array).all()


def test_new_settings_of_polygons_compute_no_tile_again(plain, piece, model, tmp_path, no_tiles, sample) -> None:
    for file in plain.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    call = ["run", piece, "-o", tmp_path, "-m", model, "--confidence"]
    first = geoseg(*call, "--mmu", "20px", "--simplify", "15")
    assert (first.code, "--overwrite" in first.last) == (73, True)
    for flags in (["--mmu", "20px"], ["--mmu", "9px", "--simplify", "15"], ["--smooth"], ["--format", "fgb"], []):
        done = geoseg(*call, *flags, "--overwrite", "--json")
        assert done.code == 0, done.err
        assert "nothing changed before the polygons" in done.err
        assert verify_record(tmp_path / "piece.json") == []
        assert ("piece.raw.tif" in names_in(tmp_path)) == ("--mmu" in flags)
    for name in ("piece.classes.tif", "piece.classes.tif.aux.xml", "piece.confidence.tif", "piece.preview.png"):
        assert (tmp_path / name).read_bytes() == (plain / name).read_bytes()
    ours, theirs = (json.loads((folder / "piece.json").read_text()) for folder in (tmp_path, plain))
    assert ours["geoseg:summary"] == theirs["geoseg:summary"]


@pytest.mark.parametrize("harm", ["flip", "remove"])
def test_an_answer_that_was_touched_is_not_taken(plain, piece, model, tmp_path, harm) -> None:
    for file in plain.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    raster = tmp_path / "piece.classes.tif"
    if harm == "flip":
        content = bytearray(raster.read_bytes())
        content[-100] ^= 255
        raster.write_bytes(content)
    else:
        raster.unlink()
    done = geoseg("run", piece, "-o", tmp_path, "-m", model, "--confidence", "--simplify", "15", "--overwrite")
    assert (done.code, "nothing changed before" in done.err) == (0, False)
    np.testing.assert_array_equal(codes_of(raster), codes_of(plain / "piece.classes.tif"))


def test_other_tiles_are_another_answer(plain, piece, model, tmp_path, no_tiles) -> None:
    for file in plain.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    before = states(tmp_path)
    with pytest.raises(AssertionError, match="computed again"):
        geoseg(
            "run", piece, "-o", tmp_path, "-m", model, "--confidence", "--margin", "8", "--mmu", "9px", "--overwrite"
        )
    assert {name: state for name, state in states(tmp_path).items() if name in before} == before


def test_a_unit_that_cannot_be_is_told_before_any_work(piece, model, tmp_path, no_tiles) -> None:
    done = geoseg("run", piece, "-o", tmp_path / "out", "-m", model, "--mmu-class", "snow=1ha")
    assert (done.code, "--mmu-class 'snow' is no class" in done.last) == (2, True)
    assert not (tmp_path / "out").exists()


def test_skipped_classes_stay_in_the_generalized_raster(piece, model, tmp_path) -> None:
    done = geoseg("run", piece, "-o", tmp_path, "-m", model, "--mmu", "20px", "--skip-classes", "water", "--json")
    assert done.code == 0, done.err
    codes, raw = codes_of(tmp_path / "piece.classes.tif"), codes_of(tmp_path / "piece.raw.tif")
    np.testing.assert_array_equal(codes == 1, raw == 1)
    assert (codes != raw).any()
    summary = json.loads(done.out)["summary"]
    assert list(summary["pixels"].values()) == [int((codes == code).sum()) for code in CLASSES.codes]
    assert summary["area_m2"] == {name: 100.0 * n for name, n in summary["pixels"].items()}
